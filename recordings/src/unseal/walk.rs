//! A stream's bytes, opening and frames, as far as no key is needed.

use std::fs::File;
use std::io::{self, BufReader, Read};

use ring::aead::Nonce;

use super::{Damage, Ending, Fault, Place, UnsealError};
use crate::keys;
use crate::seal::{
    Chain, FRAME_HEAD, MAGIC, MARK, MAX_CIPHERTEXT, MAX_HEADER, MAX_PLAIN, Position, StreamHeader,
    frame_head,
};
use crate::storage::{SessionId, Storage, StorageError, file_name};

/// Frame after frame, marks checked. The chain stands after the last frame that was whole.
pub(super) struct Walk {
    reader: BufReader<File>,
    pub(super) file: String,
    read: Box<dyn Fn(io::Error) -> StorageError + Send + Sync>,
    pub(super) header: StreamHeader,
    pub(super) chain: Chain,
    pub(super) plain_bytes: u64,
    ended: bool,
}

pub(super) enum Step {
    Frame(Frame),
    End(Ending),
}

pub(super) struct Frame {
    pub(super) nonce: Nonce,
    pub(super) associated_data: Vec<u8>,
    pub(super) sealed: Vec<u8>,
    pub(super) plain_bytes: usize,
}

impl Walk {
    pub(super) fn open(
        storage: &Storage,
        session: &SessionId,
        stream: &str,
    ) -> Result<Self, UnsealError> {
        let path = storage.stream_path(session, stream);
        let opened = File::open(&path).map_err(StorageError::at("open", &path))?;
        let mut reader = BufReader::with_capacity(MAX_CIPHERTEXT, opened);
        let read = Box::new(StorageError::at("read", &path));
        let file = file_name(stream);
        let opening = opening(&mut reader, &file).map_err(|error| error.with(&read))?;
        let fault = |damage| Fault {
            file: file.clone(),
            place: Place::Opening,
            offset: 0,
            damage,
        };
        let (chain, expected) = Chain::begin(&opening.bytes);
        if opening.mark != expected {
            return Err(fault(Damage::Mark).into());
        }
        let json = opening.bytes.get(MAGIC.len() + 4..).unwrap_or_default();
        let header: StreamHeader =
            serde_json::from_slice(json).map_err(|_| fault(Damage::Header))?;
        if header.session != *session || header.stream != stream {
            return Err(fault(Damage::Misplaced).into());
        }
        Ok(Self {
            reader,
            file,
            read,
            header,
            chain,
            plain_bytes: 0,
            ended: false,
        })
    }

    /// Where the next frame begins, as a fault to fill in.
    pub(super) fn here(&self) -> Fault {
        Fault {
            file: self.file.clone(),
            place: Place::Frame(self.chain.frames),
            offset: self.chain.bytes,
            damage: Damage::Forged,
        }
    }

    pub(super) fn next(&mut self) -> Result<Step, UnsealError> {
        let fault = |here: Fault, damage| UnsealError::from(Fault { damage, ..here });
        let mut head = [0; FRAME_HEAD];
        let got = fill(&mut self.reader, &mut head).map_err(&self.read)?;
        if got == 0 && self.ended {
            return Ok(Step::End(Ending::Complete));
        }
        if self.ended {
            let here = Fault {
                place: Place::AfterLastFrame,
                ..self.here()
            };
            return Err(fault(here, Damage::Trailing));
        }
        if got < FRAME_HEAD {
            return Ok(Step::End(Ending::Truncated {
                torn_bytes: got as u64,
            }));
        }
        let Some((length, plain_bytes, position)) = lengths(head) else {
            return Err(fault(self.here(), Damage::Lengths));
        };
        let mut sealed = vec![0; length + MARK];
        let got = fill(&mut self.reader, &mut sealed).map_err(&self.read)?;
        if got < sealed.len() {
            let torn_bytes = (FRAME_HEAD + got) as u64;
            return Ok(Step::End(Ending::Truncated { torn_bytes }));
        }
        let mark = sealed.split_off(length);
        let (nonce, associated_data) = (self.chain.nonce(), self.chain.associated_data(head));
        let mut after = self.chain.clone();
        if after.take(head, &sealed) != *mark {
            return Err(fault(self.here(), Damage::Mark));
        }
        self.chain = after;
        self.plain_bytes = self.plain_bytes.saturating_add(plain_bytes as u64);
        self.ended = position == Position::Last;
        Ok(Step::Frame(Frame {
            nonce,
            associated_data,
            sealed,
            plain_bytes,
        }))
    }
}

struct Opening {
    /// Without the mark.
    bytes: Vec<u8>,
    mark: [u8; MARK],
}

enum OpeningError {
    Io(io::Error),
    Other(UnsealError),
}

impl OpeningError {
    fn with(self, read: &dyn Fn(io::Error) -> StorageError) -> UnsealError {
        match self {
            Self::Io(error) => read(error).into(),
            Self::Other(error) => error,
        }
    }
}

fn opening(reader: &mut impl Read, file: &str) -> Result<Opening, OpeningError> {
    let cut = || {
        OpeningError::Other(UnsealError::NoOpening {
            file: file.to_owned(),
        })
    };
    let fault = |damage| {
        let (file, place) = (file.to_owned(), Place::Opening);
        OpeningError::Other(
            Fault {
                file,
                place,
                offset: 0,
                damage,
            }
            .into(),
        )
    };
    let mut magic = [0; MAGIC.len()];
    let got = fill(reader, &mut magic).map_err(OpeningError::Io)?;
    if !MAGIC.starts_with(magic.get(..got).unwrap_or_default()) {
        return Err(fault(Damage::NotAStream));
    }
    let mut length = [0; 4];
    if fill(reader, &mut length).map_err(OpeningError::Io)? < length.len() {
        return Err(cut());
    }
    let header = u32::from_be_bytes(length) as usize;
    if header > MAX_HEADER {
        return Err(fault(Damage::Lengths));
    }
    let mut rest = vec![0; header + MARK];
    if fill(reader, &mut rest).map_err(OpeningError::Io)? < rest.len() {
        return Err(cut());
    }
    let mark = rest.split_off(header);
    let bytes = [&magic[..], &length, &rest].concat();
    Ok(Opening {
        bytes,
        mark: mark.try_into().unwrap_or_default(),
    })
}

/// Ciphertext length, plain length, position; `None` if no writer makes such a frame.
fn lengths(head: [u8; FRAME_HEAD]) -> Option<(usize, usize, Position)> {
    let (length, rest) = head.split_first_chunk()?;
    let (plain, rest) = rest.split_first_chunk()?;
    let (last, _) = rest.split_first()?;
    let (length, plain) = (u32::from_be_bytes(*length), u32::from_be_bytes(*plain));
    let position = if *last == 0 {
        Position::More
    } else {
        Position::Last
    };
    let (ciphertext, text) = (length as usize, plain as usize);
    let possible = ciphertext > keys::TAG && ciphertext <= MAX_CIPHERTEXT && text <= MAX_PLAIN;
    (possible && frame_head(length, plain, position) == head)
        .then_some((ciphertext, text, position))
}

/// Reads until `buffer` is full or the file ends; how much there was.
pub(super) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..)
        && !rest.is_empty()
    {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_allocated() {
        let head = |length, plain| lengths(frame_head(length, plain, Position::More));
        assert!(head(17, 0).is_some());
        for (length, plain) in [(16, 0), (0, 0), (u32::MAX, 0), (100, 65_537), (69_633, 1)] {
            assert!(head(length, plain).is_none(), "{length}, {plain}");
        }
        let mut strange = frame_head(17, 0, Position::More);
        strange[8] = 2;
        assert!(lengths(strange).is_none());
    }
}
