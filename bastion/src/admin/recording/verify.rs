//! `bastion recording verify`: each recording against its manifest, the audit log, the database,
//! and with the customer's key where it can be read against its own content.

use crate::admin::open_to_read;
use crate::admin::recording::open::private_key;
use crate::cli::RecordingVerify;
use crate::config::Config;
use crate::ssh::orphan::{OPENED, ORPHANED};
use crate::{Outcome, say, secrets};
use access::session::SessionState;
use access::{CustomerId, Session, SessionId};
use anyhow::{Context as _, Result};
use recordings::recorder::StreamHead;
use recordings::verify::{self as checks, Check};
use recordings::{Manifest, ManifestPublicKey, SessionHeader, Storage};
use serde::Deserialize;
use std::collections::BTreeSet;
use store::{Entry, EntryFilter, SessionFilter, Store};

/// More of them than this are not checked by one command.
const MANY: i64 = 1_000_000;
/// Entries that are held in memory at once while the log is searched for sessions.
const PAGE: i64 = 10_000;

/// Checks the named recordings, or all, and says each check.
pub(crate) async fn verify(asked: RecordingVerify) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_to_read(&config).await?;
    let outcome = verify_in(&store, &config, asked.sessions).await;
    store.close().await;
    outcome
}

async fn verify_in(store: &Store, config: &Config, named: Vec<SessionId>) -> Result<Outcome> {
    let checker = Checker {
        store,
        config,
        storage: Storage::of(config.recordings_path()),
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
    /// What lies there, what the database knows of and what the log saw begin: none of them may miss
    /// what another has.
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
        let mut before = None;
        loop {
            let page = self
                .store
                .entries_about(EntryFilter {
                    name_prefix: Some(OPENED),
                    limit: PAGE,
                    before,
                    ..EntryFilter::default()
                })
                .await?;
            let Some(last) = page.last() else { break };
            before = Some(last.sequence);
            for entry in &page {
                all.extend(Entered::read(entry)?.session);
            }
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
        let noted = self.noted(session).await?;
        let manifest = Manifest::read(&self.storage, &id).ok();
        let about = manifest.as_ref().map(|manifest| &manifest.about);
        let mut found = links(row.as_ref(), &noted, manifest.as_ref());
        if !self.storage.root().join(id.as_str()).is_dir() {
            found.push(Said::Failed("its recording is missing".to_owned()));
            return Ok(found);
        }
        let customer = match (&row, about) {
            (Some(row), _) => Some(row.customer.clone()),
            (None, Some(about)) => CustomerId::parse(&about.customer).ok(),
            (None, None) => None,
        };
        let private = match &customer {
            Some(customer) => private_key(self.store, self.config, customer).await,
            None => Err(anyhow::anyhow!("nothing says whose it is")),
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
        let heads = checks::verify_heads(storage, &id, &noted.heads);
        found.extend(heads.checks.into_iter().map(Said::from));
        if let Some(manifest) = &manifest {
            found.extend(digests(&manifest.digest()?, row.as_ref(), &noted));
        }
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

    /// What the audit log says of it.
    async fn noted(&self, session: &SessionId) -> Result<Noted> {
        let entries = self
            .store
            .entries_about(EntryFilter {
                session: Some(session.clone()),
                limit: MANY,
                ..EntryFilter::default()
            })
            .await?;
        let mut noted = Noted::default();
        // Newest first: read from the oldest.
        for entry in entries.iter().rev() {
            let entered = Entered::read(entry)?;
            match entered.event.as_str() {
                OPENED => noted.opened = noted.opened.or(Some(entered)),
                ORPHANED => noted.orphaned = entered.detail.manifest_sha256.or(noted.orphaned),
                "recording.heads" => noted.heads.extend(entered.detail.streams),
                "session.ended" | "session.interrupted" => {
                    noted.signed = entered.detail.manifest_sha256.or(noted.signed);
                }
                _ => {}
            }
        }
        Ok(noted)
    }
}

/// What the audit log says of one session.
#[derive(Default)]
struct Noted {
    opened: Option<Entered>,
    /// How far the streams had come.
    heads: Vec<StreamHead>,
    /// The digest of the manifest that it ended with.
    signed: Option<String>,
    /// The digest of a manifest whose session was never opened.
    orphaned: Option<String>,
}

impl Noted {
    /// Whether the log knows this manifest as one that never had a session.
    fn explains(&self, digest: &str) -> bool {
        self.opened.is_none() && self.orphaned.as_deref() == Some(digest)
    }
}

/// Who did what to whom and why: row, manifest and log say the same.
fn links(row: Option<&Session>, noted: &Noted, manifest: Option<&Manifest>) -> Vec<Said> {
    if row.is_none()
        && let Some(digest) = manifest.and_then(|manifest| manifest.digest().ok())
        && noted.explains(&digest)
    {
        let sentence = "its session was never opened, and the audit log says so";
        return vec![Said::Ok(sentence.to_owned())];
    }
    let told = [
        ("database", row.map(of_row)),
        ("audit log", noted.opened.as_ref().map(of_entry)),
        (
            "manifest",
            manifest.map(|manifest| of_header(&manifest.about)),
        ),
    ];
    let mut found = Vec::new();
    for (place, links) in &told {
        match (*place, links) {
            ("manifest", _) | (_, Some(_)) => {}
            (place, None) => found.push(Said::Failed(format!(
                "the {place} does not know of this session"
            ))),
        }
    }
    // The log is held by its signatures: it is what the others are compared with, where it is there.
    let order = [1, 0, 2];
    let mut known = order
        .iter()
        .filter_map(|place| told.get(*place))
        .filter_map(|(place, links)| links.as_ref().map(|links| (*place, links)));
    if let Some((first, says)) = known.next() {
        for (place, links) in known {
            for ((what, right), (_, own)) in says.iter().zip(links) {
                if right != own {
                    found.push(Said::Failed(format!(
                        "{what}: the {place} says `{own}`, the {first} says `{right}`"
                    )));
                }
            }
        }
    }
    if found.is_empty() {
        let sentence = "database, audit log and manifest name the same operator, target, account, grant, intervention and motive";
        found.push(Said::Ok(sentence.to_owned()));
    }
    found
}

type Links = [(&'static str, String); 8];

fn of_row(row: &Session) -> Links {
    [
        ("operator", row.operator.to_string()),
        ("customer", row.customer.to_string()),
        ("target", row.target.to_string()),
        ("account", row.account.to_string()),
        ("grant", row.grant.to_string()),
        ("intervention", row.intervention.to_string()),
        ("motive", row.motive.clone()),
        ("source", row.source.to_string()),
    ]
}

fn of_header(about: &SessionHeader) -> Links {
    [
        ("operator", about.operator.clone()),
        ("customer", about.customer.clone()),
        ("target", about.target.clone()),
        ("account", about.account.clone()),
        ("grant", about.grant.clone()),
        ("intervention", about.intervention.clone()),
        ("motive", about.motive.clone()),
        ("source", about.source.clone()),
    ]
}

fn of_entry(entry: &Entered) -> Links {
    let detail = &entry.detail;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        ("operator", text(&entry.who.id)),
        ("customer", text(&entry.customer)),
        ("target", text(&detail.target)),
        ("account", text(&detail.account)),
        ("grant", text(&detail.grant)),
        ("intervention", text(&entry.intervention)),
        ("motive", text(&detail.motive)),
        ("source", text(&detail.source)),
    ]
}

/// The manifest is the one that the session ended with, says the database and says the log.
fn digests(digest: &str, row: Option<&Session>, noted: &Noted) -> Vec<Said> {
    if row.is_none() && noted.explains(digest) {
        let sentence = "`manifest.json` is the one that the audit log names as without a session";
        return vec![Said::Ok(sentence.to_owned())];
    }
    let kept = row.and_then(|row| match &row.state {
        SessionState::Live => None,
        SessionState::Ended {
            manifest_sha256, ..
        }
        | SessionState::Interrupted {
            manifest_sha256, ..
        } => Some(manifest_sha256.as_str()),
    });
    [("database", kept), ("audit log", noted.signed.as_deref())]
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

/// What is read of an entry about a session.
#[derive(Deserialize)]
struct Entered {
    event: String,
    who: By,
    customer: Option<String>,
    intervention: Option<String>,
    session: Option<SessionId>,
    detail: Detail,
}

impl Entered {
    fn read(entry: &Entry) -> Result<Self> {
        serde_json::from_str(&entry.text)
            .with_context(|| format!("entry {} of the audit log cannot be read", entry.sequence))
    }
}

#[derive(Deserialize)]
struct By {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    /// Of `recording.heads`.
    #[serde(default)]
    streams: Vec<StreamHead>,
    /// Of `session.ended`, `session.interrupted` and `recording.orphaned`.
    #[serde(default)]
    manifest_sha256: Option<String>,
    /// Of `session.opened`, from here on.
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    grant: Option<String>,
    #[serde(default)]
    motive: Option<String>,
    #[serde(default)]
    source: Option<String>,
}
