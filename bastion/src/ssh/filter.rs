//! What stands between recording and sending on a channel: nothing, or a parser that follows a file
//! transfer. Writes what the parser says to the journal before anything passes, and lets the
//! downward pump know when there is an answer of the bastion's own.

use super::files::{Allowed, Broken, Out};
use super::{scp, sftp};
use bytes::Bytes;
use recordings::{JournalEvent, Micros, Recorder, RecordingFailed};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Looks into the data between recording and sending.
pub(crate) enum Filter {
    /// Lets everything pass.
    Plain,
    Files(Box<Files>),
}

/// Why a piece of data does not pass, and nothing more.
pub(crate) enum Unpassable {
    Recording(RecordingFailed),
    /// The channel ends, with this sentence.
    Broken(String),
}

impl From<RecordingFailed> for Unpassable {
    fn from(failed: RecordingFailed) -> Self {
        Self::Recording(failed)
    }
}

/// A channel on which files pass.
pub(crate) struct Files {
    recorder: Recorder,
    channel: u32,
    allowed: Arc<Allowed>,
    protocol: Mutex<Protocol>,
    /// Something was answered or taken: the operator may be read from again.
    room: Notify,
    /// An answer of our own may wait.
    refused: Notify,
}

/// What is spoken on it. Never locked across an await.
pub(crate) enum Protocol {
    Sftp(sftp::Conversation),
    Scp(scp::Conversation),
}

impl Protocol {
    const fn name(&self) -> &'static str {
        match self {
            Self::Sftp(_) => "sftp",
            Self::Scp(_) => "scp",
        }
    }
}

impl Filter {
    /// What goes on to the target, in order; none of it where this fails.
    pub(crate) async fn operator_sent(
        &self,
        now: Micros,
        data: Bytes,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Unpassable> {
        let Self::Files(files) = self else {
            on.push(data);
            return Ok(());
        };
        files.wait_for_room().await;
        let mut events = Vec::new();
        let mut out = Out {
            on,
            events: &mut events,
        };
        let followed = match &mut *files.protocol() {
            Protocol::Sftp(sftp) => {
                let followed = sftp.operator_sent(&data, &files.allowed, &mut out);
                if sftp.has_answers() {
                    files.refused.notify_one();
                }
                followed
            }
            Protocol::Scp(scp) => {
                scp.operator_sent(&data, out.events);
                out.on.push(data);
                Ok(())
            }
        };
        files.passed(now, events, followed).await
    }

    /// What goes on to the operator, our own answers included.
    pub(crate) async fn target_sent(
        &self,
        now: Micros,
        data: Bytes,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Unpassable> {
        let Self::Files(files) = self else {
            on.push(data);
            return Ok(());
        };
        let mut events = Vec::new();
        let mut out = Out {
            on,
            events: &mut events,
        };
        let followed = match &mut *files.protocol() {
            Protocol::Sftp(sftp) => sftp.target_sent(&data, &mut out),
            Protocol::Scp(scp) => {
                scp.target_sent(&data, out.events);
                out.on.push(data);
                Ok(())
            }
        };
        files.room.notify_one();
        files.passed(now, events, followed).await
    }

    /// Answers of our own, as soon as there are any and the target's stream stands between two
    /// packets. May be dropped and called again.
    pub(crate) async fn answers(&self) -> Bytes {
        let Self::Files(files) = self else {
            return pending().await;
        };
        loop {
            files.refused.notified().await;
            if let Protocol::Sftp(sftp) = &mut *files.protocol()
                && let Some(answers) = sftp.answers()
            {
                files.room.notify_one();
                return answers;
            }
        }
    }

    /// The channel is over: what was under way is written down.
    pub(crate) async fn end(&self, now: Micros) -> Result<(), RecordingFailed> {
        let Self::Files(files) = self else {
            return Ok(());
        };
        let events = match &mut *files.protocol() {
            Protocol::Sftp(sftp) => sftp.end(),
            Protocol::Scp(scp) => scp.end(),
        };
        for event in events {
            files.recorder.journal(now, event).await?;
        }
        Ok(())
    }
}

impl Files {
    pub(crate) fn new(
        recorder: Recorder,
        channel: u32,
        allowed: Arc<Allowed>,
        protocol: Protocol,
    ) -> Self {
        Self {
            recorder,
            channel,
            allowed,
            protocol: Mutex::new(protocol),
            room: Notify::new(),
            refused: Notify::new(),
        }
    }

    async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            let has_room = match &*self.protocol() {
                Protocol::Sftp(sftp) => sftp.has_room(),
                Protocol::Scp(_) => true,
            };
            if has_room {
                return;
            }
            room.await;
        }
    }

    async fn passed(
        &self,
        now: Micros,
        events: Vec<JournalEvent>,
        followed: Result<(), Broken>,
    ) -> Result<(), Unpassable> {
        for event in events {
            self.recorder.journal(now, event).await?;
        }
        let Err(Broken(why)) = followed else {
            return Ok(());
        };
        let name = self.protocol().name();
        let sentence = format!("this {name} channel has ended, since it cannot be followed: {why}");
        let refused = JournalEvent::Refused {
            channel: Some(self.channel),
            request: name.to_owned(),
            code: "protocol_not_followed".to_owned(),
            sentence: sentence.clone(),
        };
        self.recorder.journal(now, refused).await?;
        Err(Unpassable::Broken(sentence))
    }

    fn protocol(&self) -> MutexGuard<'_, Protocol> {
        // A parser that panicked ends its session; what it knew is still told.
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
