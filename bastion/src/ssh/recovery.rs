//! What a stopped bastion left open: its recordings are closed as interrupted, its sessions too.
//! Runs before the first connection is taken.

use super::{Front, orphan};
use crate::clock;
use access::{Session, Time};
use anyhow::{Context as _, Result};
use recordings::{Manifest, SessionId, UtcMicros};
use tracing::{info, warn};

/// Closes every recording without a manifest, then every session row that still says live and
/// whose recording lies here; and traces recordings that have no session.
pub(crate) async fn run(front: &Front) -> Result<()> {
    let now = clock::now();
    let (storage, keys) = (front.recordings.clone(), std::sync::Arc::clone(&front.keys));
    let recordings = storage
        .unfinished()
        .context("cannot look for unfinished recordings")?;
    for id in recordings {
        let (storage, keys, session) = (storage.clone(), std::sync::Arc::clone(&keys), id.clone());
        let closed = tokio::task::spawn_blocking(move || {
            recordings::recorder::recover(
                &storage,
                &session,
                UtcMicros(now.micros()),
                &keys.manifest,
            )
        })
        .await
        .context("a thread ended")?;
        match closed {
            Ok(_) => info!(session.id = %id, "recording closed as interrupted"),
            // Another bastion on the same directory is writing it.
            Err(error) => warn!(session.id = %id, %error, "a recording was left as it is"),
        }
    }
    for session in front.store.live_sessions().await? {
        close(front, session, now).await?;
    }
    for id in storage.sessions().context("cannot list the recordings")? {
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
    let closed = session.interrupt(&manifest.digest()?, now)?;
    match front.store.save(closed).await {
        Ok(_) => info!(session.id = %id, "session closed as interrupted"),
        Err(error) => warn!(session.id = %id, %error, "a session could not be closed"),
    }
    Ok(())
}
