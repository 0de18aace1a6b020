//! The SSH side: what operators connect to.
//!
//! | file | what it does |
//! |---|---|
//! | `listener`, `gate` | takes connections, with limits before anybody has proven anything |
//! | `algorithms` | what they are protected with |
//! | `connection` | one connection from its first byte to its last |
//! | `handler` | the library's callbacks; `access::request` says what may pass |
//! | `jump` | `ssh -J`: a connection to a target within one to the bastion |
//! | `login`, `key_strength` (pure) | what a user name means, which keys are taken |
//! | `second_factor` | a code, or a passkey confirmed on the host page |
//! | `certificate` | certificates of operators: which are issued, and which are taken |
//! | `forward` | `-L`, `-D`, `-W`: a connection from the target, where the plan lists it |
//! | `session` | one recorded session, in `session/`: what is asked, its opening, channels, longer life and end |
//! | `upstream` | the connection to the target |
//! | `relay` | one channel, recorded before it is passed on |
//! | `more_time` (pure), `extension` | `~+` in a session's terminal; asking the customer for a later end |
//! | `filter` | what looks into a channel that moves files |
//! | `sftp`, `scp`, `files` (pure) | the protocols of files, followed as they pass |
//! | `command` (pure) | what a command line asks for, and tells of files |
//! | `traces` | what is to be entered in the audit log, until it is |
//! | `menu`, `console` | the bastion's own commands, in `menu/` by what they are about |
//! | `recovery` | what a stopped bastion left open |

mod algorithms;
mod certificate;
mod command;
pub(crate) mod connection;
mod console;
mod extension;
mod files;
mod filter;
mod forward;
mod gate;
pub(crate) mod handler;
mod jump;
pub(crate) mod key_strength;
pub(crate) mod listener;
pub(crate) mod login;
mod menu;
mod more_time;
pub(crate) mod orphan;
pub(crate) mod recovery;
pub(crate) mod relay;
mod scp;
mod second_factor;
pub(crate) mod session;
mod sftp;
pub(crate) mod traces;
mod upstream;

use crate::config::Config;
use crate::secrets::SshKeys;
use access::{OperatorId, SessionId, Time};
use session::Live;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;
use traces::Traces;

/// Bytes a sender may be ahead of its reader, per channel and direction (RFC 4254, 5.2).
const WINDOW: u32 = 2 * 1024 * 1024;
/// Messages a channel can queue. More than a window of small packets holds, so that the
/// connection's own task never waits on one channel's reader.
const CHANNEL_QUEUE: usize = 200_000;

/// What the bastion calls itself, on both sides. OpenSSH says that nobody reads a program's output
/// any more (`eow@openssh.com`) only to a peer whose name begins so; without it `ssh … yes | head`
/// never ends.
const SSH_ID: &str = "SSH-2.0-OpenSSH_Bastion";

/// What every connection shares.
pub(crate) struct Front {
    pub(crate) store: Store,
    pub(crate) recordings: recordings::Storage,
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Arc<SshKeys>,
    pub(crate) live: LiveSessions,
    pub(crate) reuse: Reuse,
    pub(crate) turns: Turns<OperatorId>,
    /// Whether the audit log is still the one that was signed; no session is opened on another.
    pub(crate) log_continues: AtomicBool,
    pub(crate) traces: Traces,
}

impl Front {
    /// A front with nothing live yet.
    pub(crate) fn new(
        store: Store,
        recordings: recordings::Storage,
        config: Arc<Config>,
        keys: Arc<SshKeys>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            recordings,
            config,
            keys,
            live: LiveSessions::default(),
            reuse: Reuse::default(),
            turns: Turns::default(),
            log_continues: AtomicBool::new(true),
            traces: Traces::default(),
        })
    }
}

/// The sessions of this process, for `watch` and for a clean stop.
#[derive(Default)]
pub(crate) struct LiveSessions(Mutex<HashMap<SessionId, Arc<Live>>>);

impl LiveSessions {
    pub(crate) fn add(&self, live: &Arc<Live>) {
        self.lock().insert(live.id().clone(), Arc::clone(live));
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        // The map is whole after every operation, also one that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is done by one at a time for each of them: looking at an operator's code, opening a session
/// to a place.
pub(crate) struct Turns<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// The turn of this one, to be held meanwhile.
    pub(crate) fn of(&self, whose: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.taken();
        Arc::clone(turns.entry(whose.clone()).or_default())
    }

    /// Whether anybody has his turn or waits for it.
    pub(crate) fn any(&self) -> bool {
        !self.taken().is_empty()
    }

    /// Waits until everybody who has his turn or waits for it has had it.
    pub(crate) async fn all_over(&self) {
        let turns: Vec<_> = self.taken().values().cloned().collect();
        for turn in turns {
            drop(turn.lock().await);
        }
    }

    /// Without those that nobody holds any more.
    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<K, Arc<tokio::sync::Mutex<()>>>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns
    }
}

/// Second factors that may be reused for a while: same person, same key, same source address.
#[derive(Default)]
pub(crate) struct Reuse(Mutex<HashMap<ReuseKey, (Reusable, Time)>>);

/// A factor that was proven on an earlier connection.
#[derive(Clone)]
pub(crate) struct Reusable {
    pub(crate) factored: second_factor::Factored,
    pub(crate) proven_at: login::ProvenAt,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReuseKey {
    pub(crate) operator: OperatorId,
    pub(crate) key_fingerprint: String,
    pub(crate) source: IpAddr,
}

impl Reuse {
    /// Remembers a factor that was proven just now.
    pub(crate) fn remember(&self, key: ReuseKey, proven: Reusable, until: Time, now: Time) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| now < *until);
        known.insert(key, (proven, until));
    }

    /// The factor proven within the window, if any.
    pub(crate) fn proven(&self, key: &ReuseKey, now: Time) -> Option<Reusable> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(key)
            .filter(|(_, until)| now < *until)
            .map(|(proven, _)| proven.clone())
    }
}
