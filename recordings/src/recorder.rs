//! A session being recorded. Handing something over is recording it: it lies in a bounded buffer
//! at once and on disk within a second. A slow disk slows the session; nothing is dropped; a disk
//! that fails, or takes nothing any more, ends it.
//!
//! There is no queue of messages. A call hashes, decodes and appends under a lock, so output that
//! is not kept costs one hash and no memory, and a session that does nothing holds no buffer. A
//! writer task per session takes what has gathered when a frame is full or a second has passed,
//! and seals, writes and syncs it on a blocking thread.
//!
//! Bound: `waiting_bytes` of text, plus what one call makes of its own packet (a byte is at most
//! six bytes of JSON).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task;

pub use crate::journal::ChannelKind;
pub use crate::recover::recover;

use crate::book::{Book, Need};
use crate::journal::{ChannelSummary, JournalEvent, Micros, SessionHeader, Stream, UtcMicros};
use crate::keys::RecipientKey;
use crate::manifest::{Manifest, ManifestError, ManifestSigner, State};
use crate::seal::SealError;
use crate::storage::{SessionId, Storage, StorageError};
use crate::writer::Files;

/// What one recording may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes handed over and not on disk yet; beyond it the session waits.
    pub waiting_bytes: usize,
    /// Output of a command that is kept in its cast; the rest is counted and hashed.
    pub exec_bytes: u64,
    /// What is kept in addition for every second a command runs. Without it, a command that
    /// first writes `exec_bytes` of noise would hide the shell it becomes.
    pub exec_bytes_per_second: u64,
    /// After this long, what was handed over is on its way to the disk.
    pub flush_after: Duration,
    /// A disk that has not taken what it was given for so long has failed.
    pub stalled_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_bytes: 1024 * 1024,
            exec_bytes: 16 * 1024 * 1024,
            exec_bytes_per_second: 4 * 1024,
            flush_after: Duration::from_secs(1),
            stalled_after: Duration::from_secs(30),
        }
    }
}

/// A handle on a session being recorded; clones record the same session. When the last one is
/// dropped without [`Recorder::finish`], what was handed over is written and the recording stays
/// unfinished, for [`recover`].
#[derive(Clone)]
pub struct Recorder {
    live: Arc<Live>,
}

/// How far a stream has come: for the audit log, every 10 s. `sha256` is that of the file's first
/// `bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHead {
    pub stream: String,
    pub frames: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// Begins a recording: when this returns, its directory, the journal's opening and the
/// `session_started` line are on disk. A session that has a recording is refused.
pub async fn begin(
    storage: &Storage,
    header: SessionHeader,
    recipients: &[RecipientKey],
    limits: Limits,
) -> Result<Recorder, RecordingError> {
    let mut book = Book::begin(header.clone(), limits)?;
    let first = book.take();
    let (storage, recipients) = (storage.clone(), recipients.to_vec());
    let to = storage.clone();
    let begun = task::spawn_blocking(move || {
        let files = Files::begin(&to, header, recipients, &first)?;
        Ok::<_, RecordingError>((files, first.iter().map(|piece| piece.text.len()).sum()))
    });
    let (files, bytes) = begun.await.map_err(RecordingError::Thread)??;
    book.written(bytes);
    let heads = files.head(0).into_iter().collect();
    let shared = Arc::new(Shared {
        storage,
        state: Mutex::new(Recording {
            book,
            heads,
            phase: Phase::Open,
        }),
        work: Notify::new(),
        now: Notify::new(),
        room: Notify::new(),
        outcome: watch::Sender::new(Outcome::Running),
    });
    task::spawn(write_until_the_end(Arc::clone(&shared), files, limits));
    Ok(Recorder {
        live: Arc::new(Live { shared }),
    })
}

impl Recorder {
    /// A line in the journal, and its marker in the casts. Events that other calls write
    /// (`session_started`, `channel_opened`, `resize`, `channel_closed`, `session_ended`) are
    /// refused here.
    pub async fn journal(&self, at: Micros, event: JournalEvent) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.journal(at, event))
            .await
    }

    /// Begins the channel's cast. Channels are numbered once in a session: a number that was
    /// closed does not open again.
    pub async fn open_channel(
        &self,
        at: Micros,
        channel: u32,
        kind: ChannelKind,
    ) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.open_channel(at, channel, kind))
            .await
    }

    pub async fn output(
        &self,
        at: Micros,
        channel: u32,
        from: Stream,
        data: Bytes,
    ) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.output(at, channel, from, &data))
            .await
    }

    /// Counts what the operator sent, and hashes it where nobody else does; it is never kept.
    pub async fn input(
        &self,
        at: Micros,
        channel: u32,
        data: Bytes,
    ) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.input(at, channel, &data))
            .await
    }

    /// A line in the journal as asked, and an event in the cast with a size players accept.
    pub async fn resize(
        &self,
        at: Micros,
        channel: u32,
        cols: u32,
        rows: u32,
    ) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.resize(at, channel, cols, rows))
            .await
    }

    /// A marker in the channel's cast, beyond those that journal events make by themselves.
    pub async fn marker(
        &self,
        at: Micros,
        channel: u32,
        text: impl AsRef<str>,
    ) -> Result<(), RecordingFailed> {
        self.live
            .shared
            .record(|book| book.marker(at, channel, text.as_ref()))
            .await
    }

    pub async fn close_channel(
        &self,
        at: Micros,
        channel: u32,
    ) -> Result<ChannelSummary, RecordingFailed> {
        self.live
            .shared
            .record(|book| book.close_channel(at, channel))
            .await
    }

    /// Ends the recording: open channels are closed, every stream gets its last frame, and the
    /// manifest is signed; all durable when this returns. If it fails, or is dropped halfway, the
    /// recording stays unfinished.
    pub async fn finish(
        &self,
        at: Micros,
        reason: &str,
        ended_at: UtcMicros,
        signer: &ManifestSigner,
    ) -> Result<Manifest, RecordingError> {
        let shared = &self.live.shared;
        shared.close(at, reason)?;
        let files = shared.sealed().await?;
        let manifest = shared.manifest(&files, reason, ended_at)?.sign(signer)?;
        let (storage, bytes) = (shared.storage.clone(), manifest.to_bytes()?);
        let session = manifest.about.session.clone();
        let written = task::spawn_blocking(move || {
            let written = storage.write_manifest(&session, &bytes);
            // The journal's lock is let go only now: nobody takes this for interrupted.
            drop(files);
            written
        });
        written.await.map_err(RecordingError::Thread)??;
        Ok(manifest)
    }

    /// Resolves when the recording could not be written, and the session has to end. Never
    /// resolves otherwise.
    pub async fn failed(&self) -> RecordingFailed {
        let mut outcome = self.live.shared.outcome.subscribe();
        loop {
            if let Outcome::Failed(failed) = &*outcome.borrow_and_update() {
                return failed.clone();
            }
            if outcome.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What is on disk of every stream.
    pub fn heads(&self) -> Vec<StreamHead> {
        self.live
            .shared
            .lock()
            .map(|recording| recording.heads.clone())
            .unwrap_or_default()
    }
}

/// What every call answers once the recording cannot go on: the session has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingFailed {
    #[error("the recording of session `{session}` stopped: {reason}")]
    Stopped { session: SessionId, reason: String },
    #[error("the recording of session `{session}` has ended")]
    Ended { session: SessionId },
    #[error("session `{session}` has no open channel `{channel}`")]
    NoChannel { session: SessionId, channel: u32 },
    #[error("session `{session}` had a channel `{channel}` before")]
    ChannelTwice { session: SessionId, channel: u32 },
    #[error("the recorder of session `{session}` writes this event itself")]
    NotTheCallers { session: SessionId },
}

/// Why a recording did not begin or end well.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Failed(#[from] RecordingFailed),
    #[error("session `{session}` is being recorded")]
    StillRecording { session: SessionId },
    #[error("the recording of session `{session}` has no readable journal")]
    NoJournal { session: SessionId },
    #[error("the thread that writes recordings ended")]
    Thread(#[source] task::JoinError),
}

struct Live {
    shared: Arc<Shared>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

struct Shared {
    storage: Storage,
    state: Mutex<Recording>,
    /// Something waits to be written.
    work: Notify,
    /// It should not wait for the second to pass.
    now: Notify,
    /// Something was written, or nothing will be any more.
    room: Notify,
    outcome: watch::Sender<Outcome>,
}

struct Recording {
    book: Book,
    heads: Vec<StreamHead>,
    phase: Phase,
}

impl Recording {
    fn note_heads(&mut self, files: &Files, touched: &[usize]) {
        for stream in touched {
            let Some(head) = files.head(*stream) else {
                continue;
            };
            match self.heads.get_mut(*stream) {
                Some(known) => *known = head,
                None => self.heads.push(head),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// `finish` was called; the writer writes the rest and hands back the files.
    Closing,
    /// No handle is left; the writer writes the rest and goes.
    Abandoned,
}

enum Outcome {
    Running,
    /// Until `finish` takes the files.
    Sealed(Option<Box<Files>>),
    Failed(RecordingFailed),
}

impl Shared {
    /// Waits for room, then records. INVARIANT: nothing is appended after a failure.
    async fn record<T>(
        &self,
        entry: impl FnOnce(&mut Book) -> Result<T, RecordingFailed>,
    ) -> Result<T, RecordingFailed> {
        loop {
            let room = self.room.notified();
            {
                let mut recording = self.open()?;
                if recording.book.has_room() {
                    let before = recording.book.need();
                    let recorded = entry(&mut recording.book);
                    self.wake(before, recording.book.need());
                    return recorded;
                }
            }
            room.await;
        }
    }

    fn close(&self, at: Micros, reason: &str) -> Result<(), RecordingFailed> {
        let mut recording = self.open()?;
        recording.book.end(at, reason)?;
        recording.phase = Phase::Closing;
        drop(recording);
        self.wake(Need::None, Need::Now);
        self.room.notify_waiters();
        Ok(())
    }

    fn abandon(&self) {
        if let Ok(mut recording) = self.lock()
            && recording.phase == Phase::Open
        {
            recording.phase = Phase::Abandoned;
        }
        self.wake(Need::None, Need::Now);
    }

    fn wake(&self, before: Need, after: Need) {
        if before == Need::None && after != Need::None {
            self.work.notify_one();
        }
        if before != Need::Now && after == Need::Now {
            self.now.notify_one();
        }
    }

    /// The recording, if it takes anything more.
    fn open(&self) -> Result<MutexGuard<'_, Recording>, RecordingFailed> {
        if let Outcome::Failed(failed) = &*self.outcome.borrow() {
            return Err(failed.clone());
        }
        let recording = self.lock()?;
        if recording.phase != Phase::Open {
            return Err(RecordingFailed::Ended {
                session: recording.book.about.session.clone(),
            });
        }
        Ok(recording)
    }

    /// A panic under the lock may have left half an entry: that is a failure of the recording.
    fn lock(&self) -> Result<MutexGuard<'_, Recording>, RecordingFailed> {
        self.state.lock().map_err(|poisoned| {
            let session = poisoned.get_ref().book.about.session.clone();
            RecordingFailed::Stopped {
                session,
                reason: "it panicked".to_owned(),
            }
        })
    }

    async fn sealed(&self) -> Result<Box<Files>, RecordingFailed> {
        let mut outcome = self.outcome.subscribe();
        let ended = || RecordingFailed::Ended {
            session: self.session(),
        };
        outcome
            .wait_for(|outcome| !matches!(outcome, Outcome::Running))
            .await
            .map_err(|_| ended())
            .map(drop)?;
        let mut taken = Err(ended());
        self.outcome.send_if_modified(|outcome| {
            match outcome {
                Outcome::Sealed(files) => taken = files.take().ok_or_else(ended),
                Outcome::Failed(failed) => taken = Err(failed.clone()),
                Outcome::Running => {}
            }
            false
        });
        taken
    }

    fn manifest(
        &self,
        files: &Files,
        reason: &str,
        ended_at: UtcMicros,
    ) -> Result<Manifest, RecordingFailed> {
        let recording = self.lock()?;
        Ok(Manifest {
            version: 1,
            state: State::Finished,
            about: recording.book.about.clone(),
            ended_at,
            reason: reason.to_owned(),
            streams: files.summaries(),
            channels: recording.book.closed().to_vec(),
            recipients: files.recipients().iter().map(RecipientKey::id).collect(),
            signer: crate::keys::KeyId::of(&[]),
            signature: String::new(),
        })
    }

    fn fail(&self, reason: String) {
        let failed = RecordingFailed::Stopped {
            session: self.session(),
            reason,
        };
        tracing::error!(session.id = %self.session(), "{failed}");
        self.outcome.send_replace(Outcome::Failed(failed));
        self.room.notify_waiters();
    }

    fn session(&self) -> SessionId {
        let recording = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        recording.book.about.session.clone()
    }
}

async fn write_until_the_end(shared: Arc<Shared>, mut files: Files, limits: Limits) {
    loop {
        shared.work.notified().await;
        tokio::select! {
            () = shared.now.notified() => {}
            () = tokio::time::sleep(limits.flush_after) => {}
        }
        let (pieces, phase) = match shared.lock() {
            Ok(mut recording) => (recording.book.take(), recording.phase),
            Err(failed) => return shared.fail(failed.to_string()),
        };
        let bytes = pieces.iter().map(|piece| piece.text.len()).sum();
        let touched: Vec<usize> = pieces.iter().map(|piece| piece.stream).collect();
        let written = task::spawn_blocking(move || {
            let written = files.write(&pieces);
            (files, written)
        });
        // From here on durable, or failed.
        files = match tokio::time::timeout(limits.stalled_after, written).await {
            Ok(Ok((files, Ok(())))) => files,
            Ok(Ok((_, Err(error)))) => return shared.fail(chain(&error)),
            Ok(Err(error)) => return shared.fail(chain(&error)),
            Err(_) => return shared.fail("the disk takes nothing any more".to_owned()),
        };
        if let Ok(mut recording) = shared.lock() {
            recording.book.written(bytes);
            recording.note_heads(&files, &touched);
        }
        shared.room.notify_waiters();
        match phase {
            Phase::Open => {}
            Phase::Closing => {
                shared
                    .outcome
                    .send_replace(Outcome::Sealed(Some(Box::new(files))));
                return;
            }
            Phase::Abandoned => return,
        }
    }
}

/// An error and its causes in one sentence: what is answered must be cloned.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
