//! A recording whose session never came to be: the store failed at the opening, or the bastion was
//! killed in between. The log says so, with the manifest's digest, so that nobody has to wonder
//! whether its session was taken away.

use crate::clock;
use access::{CustomerId, Event, InterventionId, SessionId, Who};
use anyhow::{Context as _, Result};
use recordings::Manifest;
use std::time::Duration;
use store::{EntryFilter, Store};
use tracing::{info, warn};

/// How often it is tried again, a second apart.
const KEEP_TRYING: u32 = 60;
/// How such a recording ends.
pub(crate) const NOT_OPENED: &str = "the session was not opened";
/// The entry that names it.
pub(crate) const ORPHANED: &str = "recording.orphaned";
/// The entry that a session begins with; with it, a recording has or had a session.
pub(crate) const OPENED: &str = "session.opened";

/// Settles it as soon as the store answers again; after a minute it is the next start's.
pub(super) fn settle_later(store: Store, manifest: Manifest) {
    tokio::spawn(async move {
        for _ in 0..KEEP_TRYING {
            match settle(&store, &manifest).await {
                Ok(()) => return,
                Err(error) => {
                    let session = &manifest.about.session;
                    warn!(session.id = %session, "a recording without a session could not be traced yet: {error:#}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
}

/// Traces a recording that has no session; once is enough. A session that was opened all the same,
/// though its writer was told otherwise, is ended.
pub(super) async fn settle(store: &Store, manifest: &Manifest) -> Result<()> {
    let id = SessionId::parse(manifest.about.session.as_str())?;
    let digest = manifest.digest()?;
    if let Some(session) = store.session(&id).await? {
        let ended = session.end(NOT_OPENED, &digest, Who::Bastion, clock::now());
        if let Ok(ended) = ended {
            store.save(ended).await?;
        }
        return Ok(());
    }
    let about = EntryFilter {
        session: Some(id.clone()),
        limit: 100,
        ..EntryFilter::default()
    };
    for entry in store.entries_about(about).await? {
        let entry: serde_json::Value = serde_json::from_str(&entry.text)
            .with_context(|| format!("entry {} of the log cannot be read", entry.sequence))?;
        let name = entry.get("event").and_then(serde_json::Value::as_str);
        if name == Some(OPENED) {
            // Whoever takes a session's row away does not get it explained.
            warn!(session.id = %id, "the audit log has this session, and the database does not: verify both");
            return Ok(());
        }
        if name == Some(ORPHANED) {
            return Ok(());
        }
    }
    store.append(event(&id, manifest, &digest)).await?;
    info!(session.id = %id, "a recording whose session was not opened was traced");
    Ok(())
}

fn event(id: &SessionId, manifest: &Manifest, digest: &str) -> Event {
    let about = &manifest.about;
    let event = Event::new(
        ORPHANED,
        Who::Bastion,
        format!("session {id}"),
        clock::now(),
    )
    .in_session(id)
    .with("manifest_sha256", digest)
    .with("operator", &about.operator)
    .with("target", &about.target)
    .with("reason", &manifest.reason);
    let event = match CustomerId::parse(&about.customer) {
        Ok(customer) => event.of_customer(&customer),
        Err(_) => event,
    };
    match InterventionId::parse(&about.intervention) {
        Ok(intervention) => event.in_intervention(&intervention),
        Err(_) => event,
    }
}
