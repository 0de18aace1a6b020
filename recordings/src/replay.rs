//! A recording read back with a private key: journal lines, and casts as plain asciicast files
//! that the public tools replay. Works on interrupted recordings, and on one still being written;
//! what is cut is cut at a whole line. Blocking.

use std::io::{self, Write};

use crate::asciicast::{self, Size, Subject};
use crate::journal::{self, JournalLine, SessionHeader};
use crate::keys::PrivateKey;
use crate::manifest::ManifestPublicKey;
use crate::storage::{JOURNAL, SessionId, Storage, StorageError, cast_name, channel_of};
use crate::transcript::Transcript;
use crate::unseal::{Ending, Opened, Plain, UnsealError};
use crate::verify;

/// A recording and the key that opens it.
pub struct Replay {
    storage: Storage,
    private: PrivateKey,
    about: SessionHeader,
    channels: Vec<u32>,
}

/// Opens a recording; a key it is not sealed to is refused here.
pub fn open(
    storage: &Storage,
    session: &SessionId,
    private: PrivateKey,
) -> Result<Replay, ReplayError> {
    let channels = storage
        .streams(session)?
        .iter()
        .filter_map(|name| channel_of(name))
        .collect();
    let journal = Opened::open(storage, session, JOURNAL, &private)?;
    let Some(about) = journal.header().about.clone() else {
        return Err(ReplayError::NoHeader {
            session: session.clone(),
        });
    };
    Ok(Replay {
        storage: storage.clone(),
        private,
        about,
        channels,
    })
}

impl Replay {
    pub fn about(&self) -> &SessionHeader {
        &self.about
    }

    /// The channels that have a cast, sorted.
    pub fn channels(&self) -> &[u32] {
        &self.channels
    }

    /// Where what is kept differs from the manifest that closed it: whoever is shown the rest is to
    /// be told. Empty for a recording that holds, and for one that has no manifest yet.
    pub fn differences(&self, host: &ManifestPublicKey) -> Vec<String> {
        let session = &self.about.session;
        if !self.storage.manifest_path(session).exists() {
            return Vec::new();
        }
        let report = verify::verify(&self.storage, session, host, Some(&self.private));
        report
            .failures()
            .map(|check| check.sentence.clone())
            .collect()
    }

    /// All lines of the journal; use [`Replay::write_journal`] for a long one.
    pub fn journal(&self) -> Result<Vec<JournalLine>, ReplayError> {
        let mut text = Vec::new();
        self.write_journal(&mut text)?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if !line.is_empty() {
                let line = journal::parse_line(line);
                lines.push(line.map_err(|source| ReplayError::Line { number, source })?);
            }
        }
        Ok(lines)
    }

    /// The journal as JSON lines.
    pub fn write_journal(&self, out: &mut dyn Write) -> Result<Ending, ReplayError> {
        self.write_lines(JOURNAL, out).map(|(ending, _)| ending)
    }

    /// A channel's cast as an asciicast v2 file, a frame at a time.
    pub fn write_cast(&self, channel: u32, out: &mut dyn Write) -> Result<Ending, ReplayError> {
        match self.write_lines(&cast_name(channel), out) {
            Ok((ending, written)) if written > 0 => Ok(ending),
            // Killed before its first frame: still a file that plays, showing nothing.
            Ok((ending, _)) => self.write_empty_cast(out).map(|()| ending),
            Err(ReplayError::Unseal(UnsealError::NoOpening { .. })) => self
                .write_empty_cast(out)
                .map(|()| Ending::Truncated { torn_bytes: 0 }),
            Err(error) => Err(error),
        }
    }

    /// What a channel showed, as plain text to search in.
    pub fn write_transcript(
        &self,
        channel: u32,
        out: &mut dyn Write,
    ) -> Result<Ending, ReplayError> {
        let mut transcript = Transcript::new(out);
        let ending = self.write_cast(channel, &mut transcript)?;
        transcript.finish().map_err(ReplayError::Write)?;
        Ok(ending)
    }

    fn write_lines(&self, stream: &str, out: &mut dyn Write) -> Result<(Ending, u64), ReplayError> {
        let mut opened = Opened::open(&self.storage, &self.about.session, stream, &self.private)?;
        let mut held: Vec<u8> = Vec::new();
        let mut written = 0_u64;
        loop {
            let text = match opened.next()? {
                Plain::Text(text) => text,
                Plain::End(ending) => return Ok((ending, written)),
            };
            let Some(newline) = text.iter().rposition(|byte| *byte == b'\n') else {
                held.extend_from_slice(&text);
                continue;
            };
            let (whole, rest) = text.split_at(newline.saturating_add(1));
            out.write_all(&held)
                .and_then(|()| out.write_all(whole))
                .map_err(ReplayError::Write)?;
            written = written.saturating_add(whole.len() as u64);
            held.clear();
            held.extend_from_slice(rest);
        }
    }

    fn write_empty_cast(&self, out: &mut dyn Write) -> Result<(), ReplayError> {
        let mut line = Vec::new();
        let subject = Subject::Terminal("");
        let title = self.about.session.as_str();
        asciicast::header(
            &mut line,
            Size::default(),
            self.about.started_at,
            title,
            subject,
        )
        .map_err(|source| ReplayError::Line { number: 1, source })?;
        out.write_all(&line).map_err(ReplayError::Write)
    }
}

/// Why a recording cannot be shown. What was written before stands.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    #[error("the journal of session `{session}` does not say what it is about")]
    NoHeader { session: SessionId },
    #[error("line {number} cannot be read")]
    Line {
        number: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("could not write what was read")]
    Write(#[source] io::Error),
}
