//! A sealed stream that was damaged: what is read of it is a true beginning of what was written, and
//! it ends as cut or as damaged unless it is whole. With bytes that are no stream at all, nothing is
//! read.

use crate::given::Given;
use recordings::seal::{Position, Sealer};
use recordings::unseal::{Ending, Opened, Plain, UnsealError, survey};
use recordings::{PrivateKey, RecordingKeyPair, SessionId, Storage};
use ring::rand::SystemRandom;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

const STREAM: &str = "journal";

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

struct Bench {
    _root: tempfile::TempDir,
    storage: Storage,
    session: SessionId,
    private: PrivateKey,
    file: PathBuf,
    /// The whole stream, and where its opening and frames end.
    sealed: Vec<u8>,
    ends: Vec<usize>,
    text: Vec<u8>,
}

pub fn holds(data: &[u8]) {
    let mut given = Given(data);
    if given.yes() {
        let read = BENCH.read(given.0);
        assert!(read.is_err(), "nobody sealed that");
        return;
    }
    let damaged = BENCH.damaged(&mut given);
    let seen = BENCH.read(&damaged);
    if damaged == BENCH.sealed {
        assert_eq!(seen.expect("it is whole"), Ending::Complete);
    } else if let Ok(ending) = seen {
        // What follows the last whole frame of a stream that was cut may be anything.
        assert_ne!(ending, Ending::Complete, "it was changed");
    }
}

impl Bench {
    fn new() -> Self {
        let root = match tempfile::tempdir_in("/dev/shm") {
            Ok(root) => root,
            Err(_) => tempfile::tempdir().expect("a directory"),
        };
        fs::create_dir(root.path().join("s1")).expect("a directory of a session");
        let pair = RecordingKeyPair::generate(&SystemRandom::new()).expect("a key");
        let session = SessionId::parse("s1").expect("a name");
        let (mut sealer, mut sealed) =
            Sealer::begin(&session, STREAM, None, &[pair.public]).expect("a stream");
        let mut ends = vec![sealed.len()];
        let mut text = Vec::new();
        for number in 0..5 {
            let line = format!("line {number}\n").repeat(1 + number * 10);
            let position = if number == 4 {
                Position::Last
            } else {
                Position::More
            };
            sealer
                .seal(line.as_bytes(), position, &mut sealed)
                .expect("a frame");
            text.extend_from_slice(line.as_bytes());
            ends.push(sealed.len());
        }
        let file = root.path().join("s1").join(format!("{STREAM}.sealed"));
        fs::write(&file, &sealed).expect("a file");
        Self {
            storage: Storage::of(root.path()),
            _root: root,
            session,
            private: pair.private,
            file,
            sealed,
            ends,
            text,
        }
    }

    fn damaged(&self, given: &mut Given<'_>) -> Vec<u8> {
        let mut bytes = self.sealed.clone();
        for _ in 0..8 {
            if given.is_over() {
                break;
            }
            let at = usize::try_from(given.u64() >> 32).unwrap_or(0) % (bytes.len() + 1);
            match given.below(6) {
                0 => bytes.truncate(at),
                1 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= given.byte();
                    }
                }
                2 => drop(bytes.splice(at..at, given.bytes().iter().copied())),
                3 => {
                    let more = at + given.below(256);
                    drop(bytes.drain(at..more.min(bytes.len())));
                }
                // Whole frames left out, told twice, or in another order.
                4 => {
                    let (from, to) = self.frame(given);
                    drop(bytes.splice(at..at, self.sealed[from..to].iter().copied()));
                }
                _ => {
                    let (from, to) = self.frame(given);
                    let frame = self.sealed[from..to].to_vec();
                    bytes.truncate(from);
                    bytes.extend(frame.iter().chain(&frame));
                    bytes.extend_from_slice(&self.sealed[to..]);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    }

    fn frame(&self, given: &mut Given<'_>) -> (usize, usize) {
        let number = given.below(self.ends.len() - 1);
        (self.ends[number], self.ends[number + 1])
    }

    /// Reads it as whoever has the key does. What comes out is a beginning of what was written.
    fn read(&self, bytes: &[u8]) -> Result<Ending, UnsealError> {
        fs::write(&self.file, bytes).expect("a file");
        let surveyed = survey(&self.storage, &self.session, STREAM).expect("it can be read");
        assert_eq!(surveyed.bytes + surveyed.rest_bytes, bytes.len() as u64);
        let mut opened = Opened::open(&self.storage, &self.session, STREAM, &self.private)?;
        let mut text = Vec::new();
        loop {
            match opened.next()? {
                Plain::Text(more) => {
                    text.extend_from_slice(&more);
                    assert!(
                        self.text.starts_with(&text),
                        "it reads what was not written"
                    );
                }
                Plain::End(ending) => {
                    assert_eq!(ending == Ending::Complete, surveyed.complete);
                    return Ok(ending);
                }
            }
        }
    }
}
