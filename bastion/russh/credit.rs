//! What the consumer of a channel has taken of it and the session has not yet given back to the
//! peer as window, and whether the channel is still there.
//!
//! Ours; build.rs puts it beside the library's `channels/`. One per channel, shared by the session
//! (which gives the window back), the reading half (which takes) and the writing halves (which
//! must not wait for the window of a channel that is gone).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, Semaphore};

use super::ChannelMsg;

/// What a peer can have queued beside the data that a window bounds: requests and their texts.
const MOST_BESIDE: usize = 512 * 1024;
/// What a queued message costs, its text aside.
const MESSAGE: usize = 64;

#[derive(Debug)]
pub(crate) struct Credit {
    taken: AtomicU32,
    /// Bytes queued that no window bounds.
    beside: AtomicUsize,
    /// Somebody reads the channel, and not the task that queues.
    reading: AtomicBool,
    /// More was sent than is queued: the connection has to end.
    overflowed: AtomicBool,
    /// The session to wake, and from how many bytes on it is worth a message to the peer.
    session: OnceLock<(Arc<Notify>, u32)>,
    /// Never has a permit; closed when the peer has closed or the channel is gone.
    open: Semaphore,
    /// The reading half is gone.
    unread: AtomicBool,
    /// A close of the peer that no reader can answer is answered once.
    answered: AtomicBool,
}

impl Credit {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicU32::new(0),
            beside: AtomicUsize::new(0),
            reading: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            session: OnceLock::new(),
            open: Semaphore::new(0),
            unread: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        })
    }

    /// Called by the session before the first data is queued.
    pub(crate) fn attach(&self, session: &Arc<Notify>, target: u32) {
        self.session
            .get_or_init(|| (Arc::clone(session), (target / 2).max(1)));
    }

    /// The consumer has taken `msg`, or nobody ever will. Cannot overflow: the session refuses
    /// what is beyond the window, so at most one window is outstanding.
    pub(crate) fn take(&self, msg: &ChannelMsg) {
        self.reading();
        let (ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) = msg else {
            self.beside.fetch_sub(cost(msg), Ordering::AcqRel);
            return;
        };
        let Some((session, worth)) = self.session.get() else {
            return;
        };
        let len = data.len() as u32;
        let before = self.taken.fetch_add(len, Ordering::AcqRel);
        if before < *worth && before.saturating_add(len) >= *worth {
            session.notify_one();
        }
    }

    /// Whether `msg` may be queued: data is bounded by the window, all else here.
    pub(crate) fn admit(&self, msg: &ChannelMsg) -> bool {
        let cost = cost(msg);
        if cost == 0 {
            return true;
        }
        let before = self.beside.fetch_add(cost, Ordering::AcqRel);
        // One request of any size that a packet has is always taken.
        if before > 0 && before.saturating_add(cost) > MOST_BESIDE {
            self.beside.fetch_sub(cost, Ordering::AcqRel);
            self.overflow();
            return false;
        }
        true
    }

    /// Somebody reads from now on.
    pub(crate) fn reading(&self) {
        self.reading.store(true, Ordering::Release);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.reading.load(Ordering::Acquire)
    }

    pub(crate) fn overflow(&self) {
        self.overflowed.store(true, Ordering::Release);
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// What to give back now, if it is worth a message.
    pub(crate) fn due(&self) -> Option<u32> {
        let (_, worth) = self.session.get()?;
        (self.taken.load(Ordering::Acquire) >= *worth).then(|| self.taken.swap(0, Ordering::AcqRel))
    }

    pub(crate) fn close(&self) {
        self.open.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.open.is_closed()
    }

    /// The reading half goes.
    pub(crate) fn unread(&self) {
        self.unread.store(true, Ordering::Release);
        if self.is_closed()
            && let Some((session, _)) = self.session.get()
        {
            session.notify_one();
        }
    }

    /// Whether the session has to answer a close of the peer, because nobody else will; once.
    pub(crate) fn answer(&self) -> bool {
        self.is_closed()
            && self.unread.load(Ordering::Acquire)
            && !self.answered.swap(true, Ordering::AcqRel)
    }

    /// Completes when the peer has closed the channel, or it is gone.
    pub(crate) async fn closed(&self) {
        let _never_granted = self.open.acquire().await;
    }
}

/// What a message costs that no window bounds.
fn cost(msg: &ChannelMsg) -> usize {
    let text = match msg {
        ChannelMsg::Data { .. } | ChannelMsg::ExtendedData { .. } => return 0,
        ChannelMsg::RequestPty { term, terminal_modes, .. } => {
            term.len() + terminal_modes.len() * size_of::<(crate::Pty, u32)>()
        }
        ChannelMsg::Exec { command, .. } => command.len(),
        ChannelMsg::RequestSubsystem { name, .. } => name.len(),
        ChannelMsg::RequestX11 {
            x11_authentication_protocol,
            x11_authentication_cookie,
            ..
        } => x11_authentication_protocol.len() + x11_authentication_cookie.len(),
        ChannelMsg::SetEnv {
            variable_name,
            variable_value,
            ..
        } => variable_name.len() + variable_value.len(),
        ChannelMsg::ExitSignal {
            error_message,
            lang_tag,
            ..
        } => error_message.len() + lang_tag.len(),
        ChannelMsg::OtherRequest { name, data } => name.len() + data.len(),
        _ => 0,
    };
    MESSAGE + text
}
