//! What was done, kept so that it convinces years later: the recording format as a library.
//!
//! It knows nothing of access rights, SQL, SSH or HTTP. One recording is one directory of sealed
//! streams and, once ended, a signed manifest:
//!
//! ```text
//! <root>/<session>/journal.sealed            every request, answer, refusal, warning: the truth
//!                  channel-<n>.cast.sealed   one asciicast v2 per terminal or exec channel
//!                  manifest.json             sizes, digests, summaries; Ed25519
//! ```
//!
//! In reading order:
//!
//! - [`journal`] (pure): the session's header, the events, a line;
//! - [`asciicast`] (pure): terminal output as text that the public players accept;
//! - [`keys`]: recording keys and how their private halves are kept;
//! - [`seal`]: the sealed stream, written; [`unseal`]: the same, read and judged;
//! - [`storage`]: where recordings lie;
//! - [`recorder`]: a session being recorded, and [`recorder::recover`] for one that was killed;
//! - [`manifest`]: what is signed at the end;
//! - [`replay`]: a recording read back with a private key;
//! - [`transcript`] (pure): a cast as text to search in;
//! - [`verify`]: every check, each with its sentence.
//!
//! INVARIANT: what records holds public keys only, and a recording that cannot be written ends
//! the session.

pub mod asciicast;
mod book;
mod canonical;
mod channel;
pub mod journal;
pub mod keys;
pub mod manifest;
pub mod recorder;
mod recover;
pub mod replay;
pub mod seal;
pub mod storage;
pub mod transcript;
pub mod unseal;
pub mod verify;
mod writer;

pub use journal::{
    Answer, ChannelKind, ChannelSummary, JournalEvent, JournalLine, Micros, SessionHeader, Side,
    Stream, UtcMicros,
};
pub use keys::{KeyId, PrivateKey, RecipientKey, RecordingKeyPair};
pub use manifest::{Manifest, ManifestPublicKey, ManifestSigner};
pub use recorder::{Limits, Recorder, RecordingError, RecordingFailed, StreamHead};
pub use storage::{SessionId, Storage};
