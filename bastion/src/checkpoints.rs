//! Signs the audit log's heads, and writes each beside the database too: a log that is cut
//! together with its checkpoints agrees with itself, and not with that file.
//!
//! INVARIANT: nothing is signed on a log that does not continue the newest note of the file.

use crate::config::Config;
use crate::{clock, secrets};
use access::Time;
use anyhow::{Context as _, anyhow};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use store::audit::Notes;
use store::{AuditSigner, AuditVerifier, Store, StoreError};
use tracing::{debug, warn};

/// Holds far more than the newest note.
const TAIL: u64 = 64 * 1024;

/// Why nothing was signed.
pub(crate) enum Unsigned {
    /// The log is not the one that was signed before.
    NotThisLog(anyhow::Error),
    /// The database, the disk: the next time may do.
    NotNow(anyhow::Error),
}

impl From<Unsigned> for anyhow::Error {
    fn from(unsigned: Unsigned) -> Self {
        match unsigned {
            Unsigned::NotThisLog(error) | Unsigned::NotNow(error) => error,
        }
    }
}

/// Where checkpoints are also written.
pub(crate) fn file(state: &Path) -> PathBuf {
    state.join("checkpoints.log")
}

/// Signs what was appended since the last checkpoint and writes it beside the database too.
pub(crate) async fn sign(
    store: &Store,
    signer: &AuditSigner,
    state: &Path,
    now: Time,
) -> Result<(), Unsigned> {
    must_continue(store, &signer.verifier(), state).await?;
    match store.checkpoint(signer, now).await {
        Ok(Some(checkpoint)) => {
            let path = file(state);
            append(&path, &checkpoint.note)
                .with_context(|| format!("cannot write a checkpoint to `{}`", path.display()))
                .map_err(Unsigned::NotNow)
        }
        Ok(None) => Ok(()),
        // What cannot be right: the tree is not the one of the newest checkpoint.
        Err(error @ StoreError::Impossible { .. }) => Err(Unsigned::NotThisLog(error.into())),
        Err(error) => Err(Unsigned::NotNow(
            anyhow::Error::new(error).context("a checkpoint could not be signed"),
        )),
    }
}

/// Refuses a log that is not the one whose heads were written beside it: another database, or one
/// that was cut, rewritten or put back.
pub(crate) async fn must_continue(
    store: &Store,
    verifier: &AuditVerifier,
    state: &Path,
) -> Result<(), Unsigned> {
    let path = file(state);
    let tail = tail(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))
        .map_err(Unsigned::NotNow)?;
    if tail.trim().is_empty() {
        return Ok(());
    }
    let Some((size, root)) = Notes::read(&tail, verifier).newest() else {
        return Err(Unsigned::NotThisLog(anyhow!(
            "no note at the end of `{}` holds for this log, so nothing is signed: keep that file as evidence, and verify the log",
            path.display()
        )));
    };
    match store.begins_with(size, root).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(StoreError::Impossible { .. }) => Err(Unsigned::NotThisLog(anyhow!(
            "the database does not continue the log of `{size}` entries that `{}` was signed for, so nothing is signed: it is another one, or it was cut, rewritten or put back. Keep both as evidence; move that file away only where the database was put back on purpose",
            path.display()
        ))),
        Err(error) => Err(Unsigned::NotNow(
            anyhow::Error::new(error).context("the log could not be read"),
        )),
    }
}

/// Signs after a command has changed something, where this person may read the log's key. Where he
/// may not, the running bastion signs.
pub(crate) async fn sign_after_command(store: &Store, config: &Config) {
    let signer = match secrets::audit_signer(&config.state) {
        Ok(signer) => signer,
        Err(error) => return debug!("nothing is signed here: {error:#}"),
    };
    if let Err(error) = sign(store, &signer, &config.state, clock::now()).await {
        warn!("{:#}", anyhow::Error::from(error));
    }
}

/// The end of the file, from a whole line on; nothing where there is no file.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let start = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Appends a note and a blank line, on a line of its own. What could not be written whole is taken
/// back.
fn append(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    let written = file
        .write_all(format!("{before}{note}\n").as_bytes())
        .and_then(|()| file.sync_data());
    if written.is_err() {
        file.set_len(length)?;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_begins_on_a_line_of_its_own_whatever_was_torn_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        append(&path, "log\n1\n").unwrap();
        append(&path, "log\n2\n").unwrap();
        std::fs::write(&path, tail(&path).unwrap() + "log\n3").unwrap();
        append(&path, "log\n4\n").unwrap();
        assert_eq!(
            tail(&path).unwrap(),
            "log\n1\n\nlog\n2\n\nlog\n3\nlog\n4\n\n"
        );
        assert_eq!(tail(&directory.path().join("none")).unwrap(), "");
    }

    #[test]
    fn a_note_that_could_not_be_written_leaves_the_file_as_it_was() {
        // A disk that is full from the start.
        assert!(append(Path::new("/dev/full"), "log\n1\n").is_err());
    }
}
