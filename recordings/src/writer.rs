//! Text into sealed files, durably. Blocking: the recorder calls it off the async threads.
//!
//! INVARIANT: when [`Files::write`] has answered yes, every byte it was given is on disk.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::book::Piece;
use crate::journal::SessionHeader;
use crate::keys::RecipientKey;
use crate::manifest::StreamSummary;
use crate::recorder::{RecordingError, StreamHead};
use crate::seal::{Position, Sealer};
use crate::storage::{self, JOURNAL, Storage, StorageError};

/// The files of one recording.
pub(crate) struct Files {
    dir: PathBuf,
    about: SessionHeader,
    recipients: Vec<RecipientKey>,
    streams: Vec<SealedFile>,
}

struct SealedFile {
    path: PathBuf,
    /// Closed after the last frame; the journal's stays open, for its lock.
    file: Option<File>,
    sealer: Sealer,
    lines: u64,
}

impl Files {
    /// Makes the directory with the journal in it and the first lines, all durable.
    pub(crate) fn begin(
        storage: &Storage,
        about: SessionHeader,
        recipients: Vec<RecipientKey>,
        first: &[Piece],
    ) -> Result<Self, RecordingError> {
        let new = storage.new_dir(&about.session)?;
        let dir = new.path().to_owned();
        let mut files = Self {
            dir,
            about,
            recipients,
            streams: Vec::new(),
        };
        files.write(first)?;
        files.lock_journal()?;
        files.dir = new.publish()?;
        for stream in &mut files.streams {
            let name = stream
                .path
                .file_name()
                .map(PathBuf::from)
                .unwrap_or_default();
            stream.path = files.dir.join(name);
        }
        Ok(files)
    }

    /// Seals and writes, in order; durable when it returns.
    pub(crate) fn write(&mut self, pieces: &[Piece]) -> Result<(), RecordingError> {
        for piece in pieces {
            let mut out = Vec::new();
            if self.streams.len() <= piece.stream {
                out = self.create(&piece.name)?;
            }
            let Some(stream) = self.streams.get_mut(piece.stream) else {
                continue;
            };
            stream.write(piece, out)?;
        }
        Ok(())
    }

    /// How far a stream has come.
    pub(crate) fn head(&self, stream: usize) -> Option<StreamHead> {
        self.streams.get(stream).map(SealedFile::head)
    }

    pub(crate) fn summaries(&self) -> Vec<StreamSummary> {
        self.streams.iter().map(SealedFile::summary).collect()
    }

    pub(crate) fn recipients(&self) -> &[RecipientKey] {
        &self.recipients
    }

    /// Makes a stream's file and its name durable; its opening bytes come back, to be written
    /// with its first frame.
    fn create(&mut self, name: &str) -> Result<Vec<u8>, RecordingError> {
        let about = (name == JOURNAL).then_some(&self.about);
        let (sealer, opening) = Sealer::begin(&self.about.session, name, about, &self.recipients)?;
        let path = self.dir.join(storage::file_name(name));
        let file = storage::create(&path)?;
        // The first one's name becomes durable when its directory is published.
        if !self.streams.is_empty() {
            storage::sync_dir(&self.dir)?;
        }
        self.streams.push(SealedFile {
            path,
            file: Some(file),
            sealer,
            lines: 0,
        });
        Ok(opening)
    }

    fn lock_journal(&self) -> Result<(), RecordingError> {
        let Some(journal) = self.streams.first() else {
            return Ok(());
        };
        let Some(file) = &journal.file else {
            return Ok(());
        };
        let locked = file.try_lock().map_err(io::Error::from);
        Ok(locked.map_err(StorageError::at("lock", &journal.path))?)
    }
}

impl SealedFile {
    fn write(&mut self, piece: &Piece, mut out: Vec<u8>) -> Result<(), RecordingError> {
        self.sealer.seal(&piece.text, piece.position, &mut out)?;
        let lines = piece.text.split(|byte| *byte == b'\n').skip(1).count();
        self.lines = self.lines.saturating_add(lines as u64);
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        append(file, &out).map_err(StorageError::at("write", &self.path))?;
        if piece.position == Position::Last && piece.name != JOURNAL {
            self.file = None;
        }
        Ok(())
    }

    fn head(&self) -> StreamHead {
        StreamHead {
            stream: stream_name(&self.path),
            frames: self.sealer.frames(),
            bytes: self.sealer.bytes(),
            sha256: self.sealer.sha256(),
        }
    }

    fn summary(&self) -> StreamSummary {
        let (plain_bytes, plain_sha256) = self.sealer.plain();
        StreamSummary {
            stream: stream_name(&self.path),
            frames: self.sealer.frames(),
            ciphertext_bytes: self.sealer.bytes(),
            ciphertext_sha256: self.sealer.sha256(),
            plain_bytes,
            plain_sha256: Some(plain_sha256),
            events: Some(self.lines),
            torn_bytes: 0,
            torn_sha256: None,
            damage: None,
        }
    }
}

/// Writes all of it and waits for the disk. A file that was removed meanwhile takes bytes without
/// complaint; nobody would ever read them, so it counts as a failure.
fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()?;
    if file.metadata()?.nlink() == 0 {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the file was removed",
        ));
    }
    Ok(())
}

fn stream_name(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
