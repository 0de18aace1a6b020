//! The end of a session: the recording is sealed, and the row says so however long the store takes.

use super::{LAST_WORDS, Live, append, utc};
use crate::clock;
use crate::ssh::Front;
use access::session::SessionState;
use access::{Event, Session, Who};
use recordings::{Manifest, Micros, Recorder};
use std::time::Duration;
use store::StoreError;
use tracing::{error, info, warn};

/// How long the end of a session is written again while the store does not answer, and how long
/// the store has each time.
const KEEP_TRYING: i64 = 60_000_000;
const STORE_PATIENCE: Duration = Duration::from_secs(10);

impl Live {
    /// Ends it for good, once the operator's connection is gone: the recording is sealed, the row
    /// says so, the target is left.
    pub(crate) async fn end(&self, front: &Front) {
        self.wait_for_channels(LAST_WORDS).await;
        self.upstream.close().await;
        if let Some(opened) = self.upstream.refused_channels() {
            let sentence = format!("the target opened {opened} channel(s) of its own");
            self.journal_refused("channel-open by the target", "target_refused", &sentence)
                .await;
        }
        let (reason, by) = match self.cut.get() {
            Some(cut) => (cut.sentence.clone(), Who::Bastion),
            None => (
                "the operator left".to_owned(),
                Who::Operator(self.row().operator),
            ),
        };
        end_row(front, &self.recorder, self.row(), self.now(), &reason, by).await;
        front.live.remove(&self.id);
        // Whoever waits for the end does so no longer.
        self.over.notify_one();
        info!(session.id = %self.id, reason, "session ended");
    }
}

/// Seals the recording and writes the session's end. While the store does not answer it is tried
/// again for a minute; after that, and where the recording cannot be sealed, it is left to
/// `recovery`.
pub(super) async fn end_row(
    front: &Front,
    recorder: &Recorder,
    mut session: Session,
    at: Micros,
    reason: &str,
    by: Who,
) {
    let now = clock::now();
    let manifest = recorder
        .finish(at, reason, utc(now), &front.keys.manifest)
        .await;
    let Some(digest) = digest_of(manifest.as_ref().ok()) else {
        let error = manifest
            .err()
            .map_or_else(|| "no digest".to_owned(), |error| error.to_string());
        warn!(session.id = %session.id, error, "a recording could not be sealed yet");
        let event = Event::new(
            "recording.failed",
            Who::Bastion,
            format!("session {}", session.id),
            now,
        )
        .of_customer(&session.customer)
        .in_intervention(&session.intervention)
        .in_session(&session.id)
        .with("reason", error);
        append(front, event).await;
        return;
    };
    let began = clock::monotonic();
    while clock::monotonic() - began < KEEP_TRYING {
        let Ok(ended) = session.clone().end(reason, &digest, by.clone(), now) else {
            return;
        };
        match tokio::time::timeout(STORE_PATIENCE, front.store.save(ended)).await {
            Ok(Ok(_)) => return,
            // Its end was moved, and the answer was not heard; or somebody else has ended it.
            Ok(Err(StoreError::Stale { .. })) => match newer(front, &session).await {
                Some(newer) => session = newer,
                None => return,
            },
            Ok(Err(error)) => {
                warn!(session.id = %session.id, %error, "a session's end could not be written yet");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(_) => {
                warn!(session.id = %session.id, "a session's end was not written in time");
            }
        }
    }
    error!(session.id = %session.id, reason, by = %by, "a session's end is not written; it will be closed as interrupted");
}

/// The row as it is kept, where it is another version and lives still.
async fn newer(front: &Front, session: &Session) -> Option<Session> {
    let kept = tokio::time::timeout(STORE_PATIENCE, front.store.session(&session.id));
    let kept = kept.await.ok()?.ok()??;
    (matches!(kept.state, SessionState::Live) && kept.version != session.version).then_some(kept)
}

fn digest_of(manifest: Option<&Manifest>) -> Option<String> {
    manifest.and_then(|manifest| manifest.digest().ok())
}
