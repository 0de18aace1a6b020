//! Where recordings lie: a directory that holds one directory per session. Another backend would
//! go here.
//!
//! Directories are 0700, files 0600. While a session is being recorded its journal is locked, so
//! that nobody closes it as interrupted under the recorder's hands; the lock ends with the process.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const MANIFEST: &str = "manifest.json";
const SEALED: &str = ".sealed";
const LONGEST_ID: usize = 128;

/// Names a session, and is safe as the name of a directory: 1 to 128 ASCII letters, digits,
/// `-`, `_` and `.`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    pub fn parse(text: &str) -> Result<Self, BadSessionId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if !first || text.len() > LONGEST_ID || !text.bytes().all(allowed) {
            return Err(BadSessionId);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SessionId {
    type Error = BadSessionId;

    fn try_from(text: String) -> Result<Self, BadSessionId> {
        Self::parse(&text)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

/// The text is not repeated: it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session id is 1 to 128 letters, digits, `-`, `_` or `.`, and starts with a letter or digit"
)]
pub struct BadSessionId;

/// The recordings of this host.
#[derive(Clone, Debug)]
pub struct Storage {
    root: PathBuf,
}

impl Storage {
    /// Opens the directory, or makes it (0700).
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root = root.into();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&root);
        made.map_err(StorageError::at("create", &root))?;
        Ok(Self { root })
    }

    /// The same, for reading: a directory that is not there holds no recording.
    pub fn of(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every session that has a recording, sorted by id.
    pub fn sessions(&self) -> Result<Vec<SessionId>, StorageError> {
        let read = StorageError::at("read", &self.root);
        let mut sessions = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sessions),
            Err(error) => return Err(read(error)),
        };
        for entry in entries {
            let entry = entry.map_err(&read)?;
            let name = entry.file_name();
            // What is no session's directory is not ours, or was never begun (`.new-…`).
            if !entry.file_type().map_err(&read)?.is_dir() {
                continue;
            }
            if let Some(id) = name.to_str().and_then(|name| SessionId::parse(name).ok()) {
                sessions.push(id);
            }
        }
        sessions.sort();
        Ok(sessions)
    }

    /// Recordings without a manifest that nobody is writing: their process was killed.
    pub fn unfinished(&self) -> Result<Vec<SessionId>, StorageError> {
        let mut unfinished = Vec::new();
        for session in self.sessions()? {
            if !self.manifest_path(&session).exists() && !self.is_being_recorded(&session) {
                unfinished.push(session);
            }
        }
        Ok(unfinished)
    }

    /// Removes a recording and all its files: the retention period is over. The tombstone is the
    /// caller's.
    pub fn remove(&self, session: &SessionId) -> Result<(), StorageError> {
        let dir = self.dir(session);
        fs::remove_dir_all(&dir).map_err(StorageError::at("remove", &dir))?;
        sync_dir(&self.root)
    }

    pub(crate) fn dir(&self, session: &SessionId) -> PathBuf {
        self.root.join(session.as_str())
    }

    pub(crate) fn manifest_path(&self, session: &SessionId) -> PathBuf {
        self.dir(session).join(MANIFEST)
    }

    pub(crate) fn stream_path(&self, session: &SessionId, stream: &str) -> PathBuf {
        self.dir(session).join(file_name(stream))
    }

    /// The names of the files in a recording, sorted.
    pub(crate) fn files(&self, session: &SessionId) -> Result<Vec<String>, StorageError> {
        let dir = self.dir(session);
        let read = StorageError::at("read", &dir);
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(&read)? {
            names.push(
                entry
                    .map_err(&read)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort();
        Ok(names)
    }

    /// The names of the streams in a recording: the journal first, then casts by channel.
    pub(crate) fn streams(&self, session: &SessionId) -> Result<Vec<String>, StorageError> {
        let files = self.files(session)?;
        let mut streams: Vec<String> = files
            .iter()
            .filter_map(|file| file.strip_suffix(SEALED))
            .map(str::to_owned)
            .collect();
        streams.sort_by_key(|stream| (stream != JOURNAL, channel_of(stream), stream.clone()));
        Ok(streams)
    }

    /// Makes the directory of a session that is about to begin, under a name that is no session's
    /// yet: [`NewDir::publish`] makes it one, so that a recording exists whole or not at all.
    pub(crate) fn new_dir(&self, session: &SessionId) -> Result<NewDir, StorageError> {
        let target = self.dir(session);
        if target.exists() {
            return Err(StorageError::Exists {
                session: session.clone(),
            });
        }
        let path = self.root.join(format!(".new-{session}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(NewDir {
                path,
                target,
                session: session.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StorageError::Exists {
                    session: session.clone(),
                })
            }
            Err(error) => Err(StorageError::at("create", &path)(error)),
        }
    }

    /// Writes the manifest whole or not at all, never over another one.
    pub(crate) fn write_manifest(
        &self,
        session: &SessionId,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let path = self.manifest_path(session);
        if path.exists() {
            return Err(StorageError::Exists {
                session: session.clone(),
            });
        }
        let partial = self.dir(session).join(".manifest.new");
        let write = StorageError::at("write", &partial);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(&write)?;
        file.write_all(bytes).map_err(&write)?;
        file.sync_all().map_err(&write)?;
        fs::rename(&partial, &path).map_err(StorageError::at("write", &path))?;
        // Durable from here on.
        sync_dir(&self.dir(session))
    }

    /// Takes the lock a recorder holds; `None` if one does.
    pub(crate) fn lock(&self, session: &SessionId) -> Result<Option<File>, StorageError> {
        let path = self.stream_path(session, JOURNAL);
        let file = File::open(&path).map_err(StorageError::at("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(StorageError::at("lock", &path)(error)),
        }
    }

    pub(crate) fn is_being_recorded(&self, session: &SessionId) -> bool {
        matches!(self.lock(session), Ok(None))
    }
}

/// A recording's directory before it has its name. Removed again if it never gets it.
pub(crate) struct NewDir {
    path: PathBuf,
    target: PathBuf,
    session: SessionId,
}

impl NewDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From here on the recording exists.
    pub(crate) fn publish(self) -> Result<PathBuf, StorageError> {
        sync_dir(&self.path)?;
        if self.target.exists() {
            return Err(StorageError::Exists {
                session: self.session.clone(),
            });
        }
        fs::rename(&self.path, &self.target).map_err(StorageError::at("create", &self.target))?;
        if let Some(root) = self.target.parent() {
            sync_dir(root)?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        // Gone already if it was published; otherwise it holds nothing that anyone was told of.
        fs::remove_dir_all(&self.path).ok();
    }
}

/// Why storage did not do it. The cause is in `source`.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("session `{session}` already has a recording")]
    Exists { session: SessionId },
    #[error("could not {action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    pub(crate) fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path: path.clone(),
            source,
        }
    }
}

pub(crate) fn file_name(stream: &str) -> String {
    format!("{stream}{SEALED}")
}

pub(crate) fn cast_name(channel: u32) -> String {
    format!("channel-{channel}.cast")
}

/// The channel whose cast a stream is.
pub(crate) fn channel_of(stream: &str) -> Option<u32> {
    stream
        .strip_prefix("channel-")?
        .strip_suffix(".cast")?
        .parse()
        .ok()
}

/// Creates a file that is not there yet, 0600.
pub(crate) fn create(path: &Path) -> Result<File, StorageError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(StorageError::at("create", path))
}

/// Makes new names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(StorageError::at("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_that_could_leave_its_directory_is_refused() {
        let long = "a".repeat(LONGEST_ID + 1);
        let refused = [
            "", ".", "..", "../x", "/etc", "a/b", "a\0b", ".hidden", "a b", "-x", "é", "a\n", &long,
        ];
        for text in refused {
            assert_eq!(SessionId::parse(text), Err(BadSessionId), "{text:?}");
            assert!(
                serde_json::from_value::<SessionId>(text.into()).is_err(),
                "{text:?}"
            );
        }
        for text in ["a", "ses_01J", "2026-11-24.7", &long[1..]] {
            assert_eq!(SessionId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_directory_that_never_began_is_no_recording_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open(root.path()).unwrap();
        let id = SessionId::parse("s1").unwrap();
        let first = storage.new_dir(&id).unwrap();
        assert!(matches!(
            storage.new_dir(&id),
            Err(StorageError::Exists { .. })
        ));
        assert_eq!(storage.sessions().unwrap(), []);
        drop(first);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn casts_come_after_the_journal_in_the_order_of_channels() {
        assert_eq!(channel_of("channel-12.cast"), Some(12));
        assert_eq!(channel_of("channel-x.cast"), None);
        assert_eq!(file_name(&cast_name(3)), "channel-3.cast.sealed");
    }
}
