//! `bastion recording verify`: each recording against its manifest, the audit log, the database,
//! and with the customer's key where it can be read against its own content.

use crate::admin::open_existing;
use crate::admin::recording::open::private_key;
use crate::cli::RecordingVerify;
use crate::config::Config;
use crate::{Outcome, say, secrets};
use access::session::SessionState;
use access::{Session, SessionId};
use anyhow::{Context as _, Result};
use recordings::recorder::StreamHead;
use recordings::verify::{self as checks, Check};
use recordings::{Manifest, ManifestPublicKey, Storage};
use serde::Deserialize;
use std::collections::BTreeSet;
use store::{EntryFilter, SessionFilter, Store};

/// More of them than this are not checked by one command.
const MANY: i64 = 1_000_000;

/// Checks the named recordings, or all, and says each check.
pub(crate) async fn verify(asked: RecordingVerify) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let outcome = verify_in(&store, &config, asked.sessions).await;
    store.close().await;
    outcome
}

async fn verify_in(store: &Store, config: &Config, named: Vec<SessionId>) -> Result<Outcome> {
    let checker = Checker {
        store,
        config,
        storage: Storage::open(config.recordings_path())?,
        host: secrets::manifest_public(&config.state)?,
    };
    let sessions = if named.is_empty() {
        checker.all().await?
    } else {
        named.into_iter().collect()
    };
    let mut failed = 0_usize;
    for session in &sessions {
        say::line(session)?;
        let found = checker.check(session).await?;
        let holds = found
            .iter()
            .all(|said| matches!(said, Said::Ok(_) | Said::Note(_)));
        for said in &found {
            say::line(said)?;
        }
        failed = failed.saturating_add(usize::from(!holds));
    }
    say::line(format_args!(
        "{} recordings, {failed} failed",
        sessions.len()
    ))?;
    Ok(if failed == 0 {
        Outcome::Fine
    } else {
        Outcome::Failed
    })
}

/// One line of what was found.
enum Said {
    Ok(String),
    Failed(String),
    /// Neither: something that could not be looked at.
    Note(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, sentence) = match self {
            Self::Ok(sentence) => ("ok    ", sentence),
            Self::Failed(sentence) => ("FAILED", sentence),
            Self::Note(sentence) => ("note  ", sentence),
        };
        write!(f, "  {sign}  {}", say::visible(sentence))
    }
}

impl From<Check> for Said {
    fn from(check: Check) -> Self {
        match check.outcome {
            checks::Outcome::Ok => Self::Ok(check.sentence),
            checks::Outcome::Failed => Self::Failed(check.sentence),
        }
    }
}

struct Checker<'a> {
    store: &'a Store,
    config: &'a Config,
    storage: Storage,
    host: ManifestPublicKey,
}

impl Checker<'_> {
    /// What lies there and what the database knows of: neither may miss what the other has.
    async fn all(&self) -> Result<BTreeSet<SessionId>> {
        let rows = self
            .store
            .sessions(SessionFilter {
                limit: MANY,
                ..SessionFilter::default()
            })
            .await?;
        let mut all: BTreeSet<SessionId> = rows.into_iter().map(|row| row.id).collect();
        for lying in self.storage.sessions()? {
            all.insert(SessionId::parse(lying.as_str()).with_context(|| format!("`{lying}`"))?);
        }
        Ok(all)
    }

    async fn check(&self, session: &SessionId) -> Result<Vec<Said>> {
        let id = recordings::SessionId::parse(session.as_str())?;
        let row = self.store.session(session).await?;
        if self.is_live(&id)? {
            return Ok(vec![Said::Note(
                "is being recorded; verify it once it ended".to_owned(),
            )]);
        }
        let mut found = Vec::new();
        if !self.storage.root().join(id.as_str()).is_dir() {
            found.push(Said::Failed("its recording is missing".to_owned()));
            return Ok(found);
        }
        let private = match &row {
            Some(row) => private_key(self.store, self.config, &row.customer).await,
            None => Err(anyhow::anyhow!("the database has no such session")),
        };
        let (storage, host) = (&self.storage, &self.host);
        let report = match private {
            Ok(private) => checks::verify(storage, &id, host, Some(&private)),
            Err(error) => {
                found.push(Said::Note(format!("content not read: {error:#}")));
                checks::verify(storage, &id, host, None)
            }
        };
        found.extend(report.checks.into_iter().map(Said::from));
        let (heads, signed) = self.noted(session).await?;
        let heads = checks::verify_heads(storage, &id, &heads);
        found.extend(heads.checks.into_iter().map(Said::from));
        found.extend(self.digests(&id, row.as_ref(), signed.as_deref()));
        Ok(found)
    }

    /// Whether somebody holds it open: it has no manifest, and it is not one that was left behind.
    fn is_live(&self, id: &recordings::SessionId) -> Result<bool> {
        let lies = self.storage.sessions()?.contains(id);
        let closed = self
            .storage
            .root()
            .join(id.as_str())
            .join("manifest.json")
            .exists();
        Ok(lies && !closed && !self.storage.unfinished()?.contains(id))
    }

    /// What the audit log noted: how far the streams had come, and the manifest's digest.
    async fn noted(&self, session: &SessionId) -> Result<(Vec<StreamHead>, Option<String>)> {
        let entries = self
            .store
            .entries_about(EntryFilter {
                session: Some(session.clone()),
                limit: MANY,
                ..EntryFilter::default()
            })
            .await?;
        let (mut heads, mut signed) = (Vec::new(), None);
        // Newest first: read from the oldest.
        for entry in entries.iter().rev() {
            let noted: Noted = serde_json::from_str(&entry.text).with_context(|| {
                format!("entry {} of the audit log cannot be read", entry.sequence)
            })?;
            if noted.event == "recording.heads" {
                heads.extend(noted.detail.streams);
            }
            signed = noted.detail.manifest_sha256.or(signed);
        }
        Ok((heads, signed))
    }

    /// The manifest is the one that the session ended with, says the database and says the log.
    fn digests(
        &self,
        id: &recordings::SessionId,
        row: Option<&Session>,
        logged: Option<&str>,
    ) -> Vec<Said> {
        let read = Manifest::read(&self.storage, id).and_then(|manifest| manifest.digest());
        let Ok(digest) = read else {
            // What is wrong with the manifest was said.
            return Vec::new();
        };
        let kept = row.and_then(|row| match &row.state {
            SessionState::Live => None,
            SessionState::Ended {
                manifest_sha256, ..
            }
            | SessionState::Interrupted {
                manifest_sha256, ..
            } => Some(manifest_sha256.as_str()),
        });
        [("database", kept), ("audit log", logged)]
            .into_iter()
            .map(|(place, known)| match known {
                Some(known) if known == digest => {
                    Said::Ok(format!("`manifest.json` is the one that the {place} names"))
                }
                Some(known) => Said::Failed(format!(
                    "`manifest.json` has the SHA-256 {digest}, the {place} names {known}"
                )),
                None => Said::Failed(format!("the {place} names no manifest for this session")),
            })
            .collect()
    }
}

/// What is read of an entry about a session.
#[derive(Deserialize)]
struct Noted {
    event: String,
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    /// Of `recording.heads`.
    #[serde(default)]
    streams: Vec<StreamHead>,
    /// Of `session.ended` and `session.interrupted`.
    #[serde(default)]
    manifest_sha256: Option<String>,
}
