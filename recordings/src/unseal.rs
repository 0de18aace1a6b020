//! The sealed stream, read and judged. The format is in [`crate::seal`].
//!
//! A stream is complete, truncated, or damaged, and damage has a file, a frame and a byte offset.
//! [`survey`] needs no key and finds accidents; [`Opened`] has the key and believes nothing that
//! does not authenticate. Blocking.

mod walk;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::{Deserializable as _, OpModeR};
use ring::aead::{Aad, LessSafeKey};
use ring::digest;
use zeroize::Zeroizing;

use crate::keys::{self, KeyId, PrivateKey};
use crate::seal::{HpkeAead, Kdf, MAX_PLAIN, StreamHeader, info};
use crate::storage::{SessionId, Storage, StorageError};
use walk::{Step, Walk, fill};

/// How a stream that holds together ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its last frame is marked as last.
    Complete,
    /// It was cut; so many bytes of an unfinished frame follow what stands.
    Truncated { torn_bytes: u64 },
}

/// Something that no cut explains.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{file}`, {place}, byte {offset}: {damage}")]
pub struct Fault {
    pub file: String,
    pub place: Place,
    /// Where the opening or frame begins in the file.
    pub offset: u64,
    pub damage: Damage,
}

/// Which part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Opening,
    Frame(u64),
    AfterLastFrame,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::Frame(number) => write!(f, "frame {number}"),
            Self::AfterLastFrame => f.write_str("after the last frame"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("this is not a sealed stream of version 1")]
    NotAStream,
    #[error("its header cannot be read")]
    Header,
    #[error("its header names another session or stream")]
    Misplaced,
    #[error("its lengths are impossible")]
    Lengths,
    #[error("its mark does not fit")]
    Mark,
    #[error("it does not authenticate")]
    Forged,
    #[error("it does not decompress to its length")]
    Compression,
    #[error("there are bytes that belong to nothing")]
    Trailing,
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Damaged(#[from] Fault),
    #[error("`{file}` was cut before its first frame")]
    NoOpening { file: String },
    #[error("`{file}` is not sealed to key `{key}`")]
    NotARecipient { file: String, key: KeyId },
    #[error("`{file}` does not open with key `{key}`")]
    WrongKey { file: String, key: KeyId },
}

/// What can be said of a stream without any key.
#[derive(Clone, Debug)]
pub struct Survey {
    pub header: Option<StreamHeader>,
    pub frames: u64,
    /// Bytes of the opening and of all whole frames, and their SHA-256 in hex.
    pub bytes: u64,
    pub sha256: String,
    pub plain_bytes: u64,
    /// What follows them.
    pub rest_bytes: u64,
    pub rest_sha256: Option<String>,
    pub complete: bool,
    pub damage: Option<Fault>,
}

/// Walks a stream's frames without decrypting any.
pub fn survey(
    storage: &Storage,
    session: &SessionId,
    stream: &str,
) -> Result<Survey, StorageError> {
    let mut survey = Survey {
        header: None,
        frames: 0,
        bytes: 0,
        sha256: keys::hex(digest::digest(&digest::SHA256, b"").as_ref()),
        plain_bytes: 0,
        rest_bytes: 0,
        rest_sha256: None,
        complete: false,
        damage: None,
    };
    match Walk::open(storage, session, stream) {
        Ok(mut walk) => {
            loop {
                match walk.next() {
                    Ok(Step::Frame(_)) => {}
                    Ok(Step::End(ending)) => break survey.complete = ending == Ending::Complete,
                    Err(UnsealError::Damaged(fault)) => break survey.damage = Some(fault),
                    Err(UnsealError::Storage(error)) => return Err(error),
                    Err(
                        UnsealError::NoOpening { .. }
                        | UnsealError::NotARecipient { .. }
                        | UnsealError::WrongKey { .. },
                    ) => break,
                }
            }
            survey.frames = walk.chain.frames;
            survey.bytes = walk.chain.bytes;
            survey.sha256 = keys::hex(&walk.chain.sha256());
            survey.plain_bytes = walk.plain_bytes;
            survey.header = Some(walk.header);
        }
        Err(UnsealError::Storage(error)) => return Err(error),
        Err(UnsealError::Damaged(fault)) => survey.damage = Some(fault),
        Err(
            UnsealError::NoOpening { .. }
            | UnsealError::NotARecipient { .. }
            | UnsealError::WrongKey { .. },
        ) => {}
    }
    (survey.rest_bytes, survey.rest_sha256) = rest(storage, session, stream, survey.bytes)?;
    Ok(survey)
}

/// A stream opened with a recipient's private key.
pub struct Opened {
    walk: Walk,
    key: LessSafeKey,
    plain: digest::Context,
}

impl Opened {
    pub fn open(
        storage: &Storage,
        session: &SessionId,
        stream: &str,
        private: &PrivateKey,
    ) -> Result<Self, UnsealError> {
        let walk = Walk::open(storage, session, stream)?;
        let key = unwrap(&walk.header, private, &walk.file)?;
        Ok(Self {
            walk,
            key,
            plain: digest::Context::new(&digest::SHA256),
        })
    }

    pub fn header(&self) -> &StreamHeader {
        &self.walk.header
    }

    /// The next frame's plain text, or how the stream ends.
    #[expect(clippy::should_implement_trait, reason = "its end says something")]
    pub fn next(&mut self) -> Result<Plain, UnsealError> {
        let before = self.walk.here();
        let frame = match self.walk.next()? {
            Step::Frame(frame) => frame,
            Step::End(ending) => return Ok(Plain::End(ending)),
        };
        let fault = |damage| Fault {
            damage,
            ..before.clone()
        };
        let mut sealed = frame.sealed;
        let packed = self
            .key
            .open_in_place(frame.nonce, Aad::from(frame.associated_data), &mut sealed)
            .map_err(|_| fault(Damage::Forged))?;
        let plain = zstd::bulk::decompress(packed, frame.plain_bytes)
            .map_err(|_| fault(Damage::Compression))?;
        if plain.len() != frame.plain_bytes {
            return Err(fault(Damage::Compression).into());
        }
        self.plain.update(&plain);
        Ok(Plain::Text(plain))
    }

    /// Plain bytes and their SHA-256 so far.
    pub fn plain(&self) -> (u64, String) {
        (
            self.walk.plain_bytes,
            keys::hex(self.plain.clone().finish().as_ref()),
        )
    }
}

/// What [`Opened::next`] yields.
pub enum Plain {
    Text(Vec<u8>),
    End(Ending),
}

/// SHA-256 in hex of a stream's first bytes; `None` if it has fewer.
pub(crate) fn prefix_sha256(
    storage: &Storage,
    session: &SessionId,
    stream: &str,
    bytes: u64,
) -> Result<Option<String>, StorageError> {
    let path = storage.stream_path(session, stream);
    let file = File::open(&path).map_err(StorageError::at("open", &path))?;
    let (read, sha256) =
        digest_of(&mut file.take(bytes)).map_err(StorageError::at("read", &path))?;
    Ok((read == bytes).then_some(sha256))
}

/// What lies in a file from `offset` on: how much, and its SHA-256.
fn rest(
    storage: &Storage,
    session: &SessionId,
    stream: &str,
    offset: u64,
) -> Result<(u64, Option<String>), StorageError> {
    let path = storage.stream_path(session, stream);
    let mut file = File::open(&path).map_err(StorageError::at("open", &path))?;
    let read = file
        .seek(SeekFrom::Start(offset))
        .and_then(|_| digest_of(&mut file));
    let (bytes, sha256) = read.map_err(StorageError::at("read", &path))?;
    Ok((bytes, (bytes > 0).then_some(sha256)))
}

fn digest_of(reader: &mut impl Read) -> io::Result<(u64, String)> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; MAX_PLAIN];
    let mut bytes = 0_u64;
    loop {
        let got = fill(reader, &mut buffer)?;
        if got == 0 {
            return Ok((bytes, keys::hex(sha256.finish().as_ref())));
        }
        sha256.update(buffer.get(..got).unwrap_or_default());
        bytes = bytes.saturating_add(got as u64);
    }
}

fn unwrap(
    header: &StreamHeader,
    private: &PrivateKey,
    file: &str,
) -> Result<LessSafeKey, UnsealError> {
    let not = |key: KeyId| UnsealError::NotARecipient {
        file: file.to_owned(),
        key,
    };
    let Ok(public) = private.public() else {
        return Err(not(KeyId::of(&[])));
    };
    let key = public.id();
    let Some(wrapped) = header.recipients.iter().find(|to| to.key == key) else {
        return Err(not(key));
    };
    let wrong = || UnsealError::WrongKey {
        file: file.to_owned(),
        key: key.clone(),
    };
    let enc = STANDARD.decode(&wrapped.enc).map_err(|_| wrong())?;
    let enc = <keys::Kem as hpke::Kem>::EncappedKey::from_bytes(&enc).map_err(|_| wrong())?;
    let ciphertext = STANDARD.decode(&wrapped.wrapped).map_err(|_| wrong())?;
    let data_key = hpke::single_shot_open::<HpkeAead, Kdf, keys::Kem>(
        &OpModeR::Base,
        &private.for_hpke().map_err(|_| wrong())?,
        &enc,
        &info(&header.session, &header.stream),
        &ciphertext,
        key.as_str().as_bytes(),
    );
    let data_key = Zeroizing::new(data_key.map_err(|_| wrong())?);
    let data_key: &[u8; 32] = data_key.as_slice().try_into().map_err(|_| wrong())?;
    keys::aes(data_key).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RecordingKeyPair;
    use crate::seal::{FRAME_HEAD, MAGIC, MARK, Position, Sealer};
    use ring::rand::SystemRandom;

    #[test]
    fn a_stream_reads_back_frame_by_frame() {
        let bench = Bench::new();
        let long = "line\n".repeat(30_000);
        let mut sealer = bench.sealer("journal");
        let mut bytes = std::mem::take(&mut sealer.1);
        sealer
            .0
            .seal(long.as_bytes(), Position::More, &mut bytes)
            .unwrap();
        sealer.0.seal(b"", Position::Last, &mut bytes).unwrap();
        bench.write("journal", &bytes);
        let (text, ending) = bench.read("journal").unwrap();
        assert_eq!((text, ending), (long, Ending::Complete));
        assert_eq!(
            sealer.0.frames(),
            4,
            "150,000 bytes in frames of 64 KiB, and the last"
        );
        assert_eq!(sealer.0.bytes(), bytes.len() as u64);
        let survey = survey(&bench.storage, &bench.session, "journal").unwrap();
        assert_eq!(
            (survey.frames, survey.plain_bytes, survey.complete),
            (4, 150_000, true)
        );
        assert_eq!(survey.sha256, sealer.0.sha256());
    }

    /// Marks need no key, so a forger fits them to what he changed; tags he cannot fit.
    #[test]
    fn frames_changed_dropped_or_moved_by_one_who_fits_the_marks_do_not_authenticate() {
        let bench = Bench::new();
        let (opening, frames) = bench.three_frames("journal");
        let [first, second, third] = [&frames[0], &frames[1], &frames[2]];
        let mut changed = second.clone();
        changed[FRAME_HEAD + 3] ^= 1;
        let mut not_last = third.clone();
        not_last[8] = 0;
        let mut last = second.clone();
        last[8] = 1;
        let mut longer = second.clone();
        longer[7] ^= 1;
        let forgeries: [(&str, Vec<&Vec<u8>>, u64); 7] = [
            ("changed", vec![first, &changed, third], 1),
            ("dropped", vec![first, third], 1),
            ("swapped", vec![second, first, third], 0),
            ("repeated", vec![first, first, second, third], 1),
            (
                "last frame made a middle one",
                vec![first, second, &not_last],
                2,
            ),
            ("middle frame made the last", vec![first, &last], 1),
            ("another plain length", vec![first, &longer, third], 1),
        ];
        for (what, frames, at) in forgeries {
            bench.write("journal", &refit(&opening, &frames));
            let survey = survey(&bench.storage, &bench.session, "journal").unwrap();
            assert_eq!(survey.damage, None, "{what}: the marks should fit");
            let Err(UnsealError::Damaged(fault)) = bench.read("journal") else {
                panic!("{what}: it was believed");
            };
            assert_eq!(
                (fault.place, fault.damage),
                (Place::Frame(at), Damage::Forged),
                "{what}"
            );
        }
        bench.write("journal", &refit(&opening, &[first, second, third]));
        assert_eq!(bench.read("journal").unwrap().0, "one two three ");
    }

    #[test]
    fn a_header_changed_by_one_who_fits_the_marks_does_not_authenticate() {
        let bench = Bench::new();
        let (opening, frames) = bench.three_frames("journal");
        let text = String::from_utf8_lossy(&opening[12..opening.len() - MARK]).into_owned();
        let changed = text.replacen("\"journal\"", "\"journal\" ", 1);
        let mut forged = MAGIC.to_vec();
        forged.extend_from_slice(&u32::try_from(changed.len()).unwrap().to_be_bytes());
        forged.extend_from_slice(changed.as_bytes());
        forged.extend_from_slice(&[0; MARK]);
        bench.write(
            "journal",
            &refit(&forged, &frames.iter().collect::<Vec<_>>()),
        );
        let Err(UnsealError::Damaged(fault)) = bench.read("journal") else {
            panic!("a changed header was believed");
        };
        assert_eq!(
            (fault.place, fault.damage),
            (Place::Frame(0), Damage::Forged)
        );
    }

    #[test]
    fn a_stream_does_not_open_under_another_name_or_session() {
        let bench = Bench::new();
        let (opening, frames) = bench.three_frames("journal");
        let whole = refit(&opening, &frames.iter().collect::<Vec<_>>());
        bench.write("channel-1.cast", &whole);
        let Err(UnsealError::Damaged(fault)) = bench.read("channel-1.cast") else {
            panic!("a journal was read as a cast");
        };
        assert_eq!(fault.damage, Damage::Misplaced);
        // Its header renamed to fit, the data key still does not open.
        let text = String::from_utf8_lossy(&opening[12..opening.len() - MARK]).into_owned();
        let renamed = text.replacen("\"journal\"", "\"channel-1.cast\"", 1);
        let mut forged = MAGIC.to_vec();
        forged.extend_from_slice(&u32::try_from(renamed.len()).unwrap().to_be_bytes());
        forged.extend_from_slice(renamed.as_bytes());
        forged.extend_from_slice(&[0; MARK]);
        let forged = refit(&forged, &frames.iter().collect::<Vec<_>>());
        bench.write("channel-1.cast", &forged);
        let refused = bench.read("channel-1.cast");
        assert!(
            matches!(refused, Err(UnsealError::WrongKey { .. })),
            "{refused:?}"
        );
    }

    struct Bench {
        _root: tempfile::TempDir,
        storage: Storage,
        session: SessionId,
        pair: RecordingKeyPair,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("s1")).unwrap();
            Self {
                storage: Storage::open(root.path()).unwrap(),
                _root: root,
                session: SessionId::parse("s1").unwrap(),
                pair: RecordingKeyPair::generate(&SystemRandom::new()).unwrap(),
            }
        }

        fn sealer(&self, stream: &str) -> (Sealer, Vec<u8>) {
            Sealer::begin(&self.session, stream, None, &[self.pair.public]).unwrap()
        }

        /// Opening with its mark; frames without theirs.
        fn three_frames(&self, stream: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
            let (mut sealer, opening) = self.sealer(stream);
            let mut frame = |text: &str, position| {
                let mut out = Vec::new();
                sealer.seal(text.as_bytes(), position, &mut out).unwrap();
                out.truncate(out.len() - MARK);
                out
            };
            let (more, last) = (Position::More, Position::Last);
            let frames = vec![
                frame("one ", more),
                frame("two ", more),
                frame("three ", last),
            ];
            (opening, frames)
        }

        fn write(&self, stream: &str, bytes: &[u8]) {
            std::fs::write(self.storage.stream_path(&self.session, stream), bytes).unwrap();
        }

        fn read(&self, stream: &str) -> Result<(String, Ending), UnsealError> {
            let private = &self.pair.private;
            let mut opened = Opened::open(&self.storage, &self.session, stream, private)?;
            let mut text = Vec::new();
            loop {
                match opened.next()? {
                    Plain::Text(more) => text.extend_from_slice(&more),
                    Plain::End(ending) => return Ok((String::from_utf8(text).unwrap(), ending)),
                }
            }
        }
    }

    /// A stream of these parts, with marks that fit.
    fn refit(opening: &[u8], frames: &[&Vec<u8>]) -> Vec<u8> {
        let mut out = opening[..opening.len() - MARK].to_vec();
        let mark = |out: &mut Vec<u8>| {
            let sha256 = digest::digest(&digest::SHA256, out);
            out.extend_from_slice(&sha256.as_ref()[..MARK]);
        };
        mark(&mut out);
        for frame in frames {
            out.extend_from_slice(frame);
            mark(&mut out);
        }
        out
    }
}
