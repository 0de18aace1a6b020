//! The SSH side: what operators connect to.
//!
//! | file | what it does |
//! |---|---|
//! | `listener` | takes connections, with limits before anybody has proven anything |
//! | `connection` | one connection from its first byte to its last |
//! | `handler` | the library's callbacks |
//! | `jump` | `ssh -J`: a connection to a target within one to the bastion |
//! | `login` (pure) | what a user name means, which keys are taken |
//! | `second_factor` | a code, or a passkey confirmed on the host page |
//! | `certificate` | certificates of operators: which are issued, and which are taken |
//! | `requests` (pure) | what may pass: one table, default deny |
//! | `forward` | `-L`, `-D`, `-W`: a connection from the target, where the plan lists it |
//! | `session` | one recorded session, in `session/`: what is asked, its opening, channels, longer life and end |
//! | `upstream` | the connection to the target |
//! | `relay` | one channel, recorded before it is passed on |
//! | `more_time` (pure), `extension` | `~+` in a session's terminal; asking the customer for a later end |
//! | `filter` | what looks into a channel that moves files |
//! | `sftp`, `scp`, `files` (pure) | the protocols of files, followed as they pass |
//! | `command` (pure) | what a command line tells of files |
//! | `traces` | what is to be entered in the audit log, until it is |
//! | `menu`, `console` | the bastion's own commands, in `menu/` by what they are about |
//! | `recovery` | what a stopped bastion left open |

mod certificate;
mod command;
pub(crate) mod connection;
mod console;
mod extension;
mod files;
mod filter;
mod forward;
pub(crate) mod handler;
mod jump;
pub(crate) mod listener;
pub(crate) mod login;
mod menu;
mod more_time;
pub(crate) mod orphan;
pub(crate) mod recovery;
pub(crate) mod relay;
mod requests;
mod scp;
mod second_factor;
pub(crate) mod session;
mod sftp;
pub(crate) mod traces;
mod upstream;

use crate::config::Config;
use crate::secrets::SshKeys;
use access::{OperatorId, SessionId, Time};
use russh::Preferred;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use session::Live;
use std::borrow::Cow;
use std::collections::HashMap;
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
    pub(crate) turns: Turns,
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

/// Whose code is being looked at, for one at a time of each operator.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<OperatorId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The turn of this operator, to be held while his code is looked at.
    pub(crate) fn of(&self, operator: &OperatorId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(operator.clone()).or_default())
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

/// The algorithms of both sides: post-quantum hybrid first, no SHA-1, no compression (ANSSI
/// OpenSSH note R15, cryptography guide 2.04).
fn preferred() -> Preferred {
    use russh::{cipher, compression, kex, mac};
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Cow::Borrowed(&[
            Algorithm::Ed25519,
            Algorithm::SkEd25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            },
            Algorithm::SkEcdsaSha2NistP256,
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::AES_256_CTR,
            cipher::CHACHA20_POLY1305,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}
