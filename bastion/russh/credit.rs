//! What the consumer of a channel has taken of it and the session has not yet given back to the
//! peer as window, and whether the channel is still there.
//!
//! Ours; build.rs puts it beside the library's `channels/`. One per channel, shared by the session
//! (which gives the window back), the reading half (which takes) and the writing halves (which
//! must not wait for the window of a channel that is gone).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, Semaphore};

use super::ChannelMsg;

#[derive(Debug)]
pub(crate) struct Credit {
    taken: AtomicU32,
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
        let (ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) = msg else {
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
