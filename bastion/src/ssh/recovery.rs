//! What was left open: by a bastion that stopped, before the first connection is taken; and by this
//! one, where a recording could not be sealed or an end not be written, as soon as that can be done.

use super::{Front, orphan};
use crate::clock;
use access::{Session, Time, Who};
use anyhow::{Context as _, Result};
use recordings::manifest::State;
use recordings::{Manifest, SessionId, UtcMicros};
use std::collections::HashSet;
use std::sync::Arc;
use tracing::{info, warn};

/// Closes every recording without a manifest, then every session row that still says live and
/// whose recording lies here; and traces recordings that have no session.
pub(crate) async fn run(front: &Front) -> Result<()> {
    let now = clock::now();
    let recordings = front
        .recordings
        .unfinished()
        .context("cannot look for unfinished recordings")?;
    for id in recordings {
        // Another bastion on the same directory may be writing it.
        if let Err(error) = seal(front, &id, now).await {
            warn!(session.id = %id, error = format!("{error:#}"), "a recording was left as it is");
        }
    }
    for session in front.store.live_sessions().await? {
        close(front, session, now).await?;
    }
    for id in front
        .recordings
        .sessions()
        .context("cannot list the recordings")?
    {
        settle_without_session(front, &id).await?;
    }
    Ok(())
}

/// A recording that was begun, and whose session never came to be.
async fn settle_without_session(front: &Front, id: &SessionId) -> Result<()> {
    let known = access::SessionId::parse(id.as_str());
    let Ok(session) = known else { return Ok(()) };
    if front.store.session(&session).await?.is_some() {
        return Ok(());
    }
    match Manifest::read(&front.recordings, id) {
        Ok(manifest) => orphan::settle(&front.store, &manifest).await,
        // Another bastion is about to open its session.
        Err(error) => {
            warn!(session.id = %id, %error, "a recording has no session and no manifest");
            Ok(())
        }
    }
}

/// Closes the sessions that are live nowhere in this process though their row says so and their
/// recording lies here. `suspects` are those that were found the last time: whoever is found twice
/// is not just opening or ending.
pub(crate) async fn again(front: &Front, suspects: &mut HashSet<access::SessionId>) -> Result<()> {
    let running: HashSet<_> = front
        .live
        .all()
        .iter()
        .map(|live| live.id().clone())
        .collect();
    let mut left = front.store.live_sessions().await?;
    left.retain(|session| !running.contains(&session.id));
    let found = left.iter().map(|session| session.id.clone()).collect();
    let before = std::mem::replace(suspects, found);
    for session in left {
        let id = SessionId::parse(session.id.as_str())?;
        let is_here = front.recordings.root().join(id.as_str()).is_dir();
        if !before.contains(&session.id) || !is_here {
            continue;
        }
        let now = clock::now();
        if Manifest::read(&front.recordings, &id).is_err()
            && let Err(error) = seal(front, &id, now).await
        {
            warn!(session.id = %id, error = format!("{error:#}"), "a recording is not sealed yet");
            continue;
        }
        close(front, session, now).await?;
    }
    Ok(())
}

/// Closes a recording without a manifest as interrupted; refuses one that is being written.
async fn seal(front: &Front, id: &SessionId, now: Time) -> Result<()> {
    let (storage, keys) = (front.recordings.clone(), Arc::clone(&front.keys));
    let session = id.clone();
    let closed = tokio::task::spawn_blocking(move || {
        let at = UtcMicros(now.micros());
        recordings::recorder::recover(&storage, &session, at, &keys.manifest)
    });
    closed.await.context("a thread ended")??;
    info!(session.id = %id, "recording closed as interrupted");
    Ok(())
}

async fn close(front: &Front, session: Session, now: Time) -> Result<()> {
    let id = session.id.clone();
    let recording = SessionId::parse(id.as_str())?;
    let manifest = match Manifest::read(&front.recordings, &recording) {
        Ok(manifest) => manifest,
        Err(error) => {
            // Live on another bastion, or its recording lies elsewhere.
            warn!(session.id = %id, %error, "a live session has no manifest here");
            return Ok(());
        }
    };
    let digest = manifest.digest()?;
    let closed = match manifest.state {
        // Only its row was not written.
        State::Finished => {
            let at = Time::from_micros(manifest.ended_at.0);
            session.end(&manifest.reason, &digest, Who::Bastion, at)?
        }
        State::Interrupted => session.interrupt(&digest, now)?,
    };
    match front.store.save(closed).await {
        Ok(_) => info!(session.id = %id, manifest.state = ?manifest.state, "session closed"),
        Err(error) => warn!(session.id = %id, %error, "a session could not be closed"),
    }
    Ok(())
}
