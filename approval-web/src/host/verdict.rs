//! Whether a recording is the one that was signed and traced when its session ended: the badge
//! over a replay. Says nothing of a session that still goes on.
//!
//! Without the customer's key: the manifest and its signature, and every file byte for byte.

use crate::error::Problem;
use crate::site::Site;
use ::access::Session;
use ::access::session::SessionState;
use recordings::verify::verify;
use recordings::{Manifest, ManifestPublicKey, SessionId, Storage};
use serde::Deserialize;
use std::time::Duration;
use store::EntryFilter;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long the page waits for a long recording to be read.
const PATIENCE: Duration = Duration::from_secs(15);
/// What the session's end is traced as.
const ENDED: [&str; 2] = ["session.ended", "session.interrupted"];

/// What the badge says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The session goes on; nothing is signed yet.
    StillWritten,
    /// Every check holds.
    Intact,
    /// At least one does not; the log of the service says which.
    Differs,
    /// Too long a recording to be read while a page waits.
    Unchecked,
}

impl Verdict {
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::StillWritten => "replay-still-written",
            Self::Intact => "replay-intact",
            Self::Differs => "replay-differs",
            Self::Unchecked => "replay-unchecked",
        }
    }

    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::StillWritten | Self::Intact => "good",
            Self::Unchecked => "wait",
            Self::Differs => "bad",
        }
    }
}

/// Reads the recording once, away from the threads that answer everybody else.
pub(crate) async fn of(site: &Site, one: &Session) -> Result<Verdict, Problem> {
    let kept = match &one.state {
        SessionState::Live => return Ok(Verdict::StillWritten),
        SessionState::Ended {
            manifest_sha256, ..
        }
        | SessionState::Interrupted {
            manifest_sha256, ..
        } => manifest_sha256.clone(),
    };
    let Some(traced) = traced(site, one).await? else {
        tracing::error!(session.id = %one.id, "the log does not name one manifest for a session that ended");
        return Ok(Verdict::Differs);
    };
    if traced != kept {
        tracing::error!(session.id = %one.id, "the session's row names another manifest than the log");
        return Ok(Verdict::Differs);
    }
    let id = SessionId::parse(one.id.as_str()).map_err(|error| Problem::broken(&error))?;
    let (storage, host) = (site.web.recordings.clone(), site.web.manifest_key);
    let reading = spawn_blocking(move || read(&storage, &id, &host, &traced));
    match timeout(PATIENCE, reading).await {
        Ok(verdict) => verdict.map_err(|error| Problem::broken(&error)),
        Err(_) => Ok(Verdict::Unchecked),
    }
}

/// The digest of the manifest that the log names; `None` unless it names exactly one.
async fn traced(site: &Site, one: &Session) -> Result<Option<String>, Problem> {
    let mut named = Vec::new();
    for name in ENDED {
        let filter = EntryFilter {
            session: Some(one.id.clone()),
            name_prefix: Some(name),
            limit: 2,
            ..EntryFilter::default()
        };
        for entry in site.store().entries_about(filter).await? {
            let entry: Traced =
                serde_json::from_str(&entry.text).map_err(|error| Problem::broken(&error))?;
            named.push(entry.detail.manifest_sha256);
        }
    }
    let mut named = named.into_iter();
    Ok(named.next().filter(|_| named.next().is_none()))
}

fn read(storage: &Storage, id: &SessionId, host: &ManifestPublicKey, traced: &str) -> Verdict {
    let report = verify(storage, id, host, None);
    for check in report.failures() {
        tracing::error!(session.id = %id, "a recording does not verify: {}", check.sentence);
    }
    let digest = Manifest::read(storage, id).and_then(|manifest| manifest.digest());
    let is_traced = digest.is_ok_and(|digest| digest == traced);
    if !is_traced {
        tracing::error!(session.id = %id, "the manifest is not the one that the log names");
    }
    if report.holds() && is_traced {
        Verdict::Intact
    } else {
        Verdict::Differs
    }
}

/// What is read of the entry of a session's end.
#[derive(Deserialize)]
struct Traced {
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    manifest_sha256: String,
}
