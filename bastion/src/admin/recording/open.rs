//! A recording opened with its customer's key, shown as text or written as files.

use crate::admin::{command_line, open_existing};
use crate::cli::{Opening, RecordingCat, RecordingExport};
use crate::config::Config;
use crate::{Outcome, checkpoints, clock, say, secrets};
use access::session::SessionState;
use access::{CustomerId, Event, Session};
use anyhow::{Context as _, Result, bail, ensure};
use recordings::replay::{self, Replay};
use recordings::unseal::Ending;
use recordings::{Manifest, PrivateKey, SessionId, Storage, keys};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use store::Store;
use tracing::{error, warn};

/// The file of the journal in an export.
const JOURNAL: &str = "journal.jsonl";

/// Shows what all channels showed, as plain text.
pub(crate) async fn cat(asked: RecordingCat) -> Result<Outcome> {
    let Opened { replay, wrong } = opened(&asked.opening, "cat").await?;
    for channel in replay.channels() {
        say::line(format_args!("--- channel {channel}"))?;
        let ending = replay.write_transcript(*channel, &mut io::stdout().lock())?;
        warn_if_cut(*channel, &ending);
    }
    Ok(outcome(&wrong))
}

/// Writes a cast, or a directory with every cast and the journal. Nothing is overwritten.
pub(crate) async fn export(asked: RecordingExport) -> Result<Outcome> {
    let path = &asked.output;
    ensure!(!path.exists(), "`{}` is there already", path.display());
    let Opened { replay, wrong } = opened(&asked.opening, "export").await?;
    if path
        .extension()
        .is_some_and(|extension| extension == "cast")
    {
        let [channel] = replay.channels() else {
            bail!(
                "the recording has {} channels with a cast; name a directory instead of `{}`",
                replay.channels().len(),
                path.display()
            );
        };
        write_cast(&replay, *channel, path)?;
    } else {
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot create `{}`", path.display()))?;
        for channel in replay.channels() {
            write_cast(
                &replay,
                *channel,
                &path.join(format!("channel-{channel}.cast")),
            )?;
        }
        let mut journal = new_file(&path.join(JOURNAL))?;
        replay.write_journal(&mut journal)?;
    }
    say::line(format_args!("written to `{}`", path.display()))?;
    Ok(outcome(&wrong))
}

/// A recording that was opened, and what in it is not as it was signed.
pub(super) struct Opened {
    pub(super) replay: Replay,
    pub(super) wrong: Vec<String>,
}

/// What is shown is shown all the same: it may be all that is left. But it is not taken for whole.
pub(super) fn outcome(wrong: &[String]) -> Outcome {
    if wrong.is_empty() {
        return Outcome::Fine;
    }
    for sentence in wrong {
        error!(
            "what is shown is not what was recorded: {}",
            say::visible(sentence)
        );
    }
    Outcome::Failed
}

/// Traces that the recording is opened, by whom and why, and only then opens it.
pub(super) async fn opened(asked: &Opening, how: &str) -> Result<Opened> {
    let purpose = asked.purpose.trim();
    ensure!(
        purpose.chars().count() >= 3,
        "`--purpose` says nothing; it is entered in the audit log"
    );
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let opened = open(&store, &config, asked, purpose, how).await;
    store.close().await;
    opened
}

async fn open(
    store: &Store,
    config: &Config,
    asked: &Opening,
    purpose: &str,
    how: &str,
) -> Result<Opened> {
    let session = store
        .session(&asked.session)
        .await?
        .with_context(|| format!("there is no session `{}`", asked.session))?;
    let private = private_key(store, config, &session.customer).await?;
    let event = Event::new(
        "recording.opened",
        command_line(),
        format!("session {}", session.id),
        clock::now(),
    )
    .of_customer(&session.customer)
    .in_intervention(&session.intervention)
    .in_session(&session.id)
    .with("purpose", purpose)
    .with("how", how);
    store.append(event).await?;
    // INVARIANT: the entry is durable from here on; only now is anything read.
    checkpoints::sign_after_command(store, config).await;
    let storage = Storage::of(config.recordings_path());
    let id = SessionId::parse(session.id.as_str())?;
    let replay = replay::open(&storage, &id, private)?;
    let mut wrong = replay.differences(&secrets::manifest_public(&config.state)?);
    wrong.extend(another_manifest(&storage, &id, &session));
    Ok(Opened { replay, wrong })
}

/// A recording whose session has ended has the manifest that it ended with.
fn another_manifest(storage: &Storage, id: &SessionId, session: &Session) -> Option<String> {
    let (SessionState::Ended {
        manifest_sha256, ..
    }
    | SessionState::Interrupted {
        manifest_sha256, ..
    }) = &session.state
    else {
        return None;
    };
    let digest = Manifest::read(storage, id).and_then(|manifest| manifest.digest());
    match digest {
        Ok(digest) if digest == *manifest_sha256 => None,
        Ok(_) => Some("`manifest.json` is not the one that the session ended with".to_owned()),
        Err(error) => Some(format!("{error}, and the session has ended")),
    }
}

/// The key that opens a customer's recordings.
pub(super) async fn private_key(
    store: &Store,
    config: &Config,
    customer: &CustomerId,
) -> Result<PrivateKey> {
    let master = secrets::recording_master(&config.state)?;
    let wrapped = store
        .recording_key(customer)
        .await?
        .with_context(|| format!("the recording key of `{customer}` is not kept here"))?;
    keys::unwrap_private_key(&master, &wrapped, customer.as_str().as_bytes())
        .with_context(|| format!("cannot open the recording key of `{customer}`"))
}

/// Says in the log that a channel does not go to its end.
pub(super) fn warn_if_cut(channel: u32, ending: &Ending) {
    if *ending != Ending::Complete {
        warn!(
            channel,
            "the recording does not go to its end: this is what was durable"
        );
    }
}

fn write_cast(replay: &Replay, channel: u32, path: &Path) -> Result<()> {
    let mut file = new_file(path)?;
    let ending = replay.write_cast(channel, &mut file)?;
    warn_if_cut(channel, &ending);
    Ok(())
}

/// A file that was not there, for its owner alone.
fn new_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create `{}`", path.display()))
}
