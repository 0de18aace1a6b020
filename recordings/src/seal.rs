//! The sealed stream, written: an append-only file that only its recipients can read and that
//! anyone can check for damage.
//!
//! # The format, for whoever writes another reader
//!
//! Integers are big-endian; `‖` is concatenation; `H(x)` is SHA-256.
//!
//! ```text
//! stream  = opening frame*
//! opening = magic (8 bytes: "SEALREC" 0x01)          0x01 is the version
//!           length of header (u32)
//!           header (JSON, UTF-8, at most 256 KiB)
//!           mark (8 bytes): the first 8 bytes of H(everything before this mark)
//! frame   = length of ciphertext (u32)               17..=69 632, the 16-byte tag included
//!           length of plain text (u32)               0..=65 536
//!           last (u8)                                1 on the last frame, else 0
//!           ciphertext
//!           mark (8 bytes): the first 8 bytes of H(everything before this mark)
//! ```
//!
//! The header is an object: `session`, `stream` (its name: `journal`, `channel-3.cast`),
//! `recipients` (a list of `key`: key id, `enc`: base64 of the 32-byte encapsulated key,
//! `wrapped`: base64 of 48 bytes) and, in the journal, `about` (the session's header, in clear).
//! A key id is the first 16 hex digits of `H(public key)`.
//!
//! **Data key.** A fresh 256-bit key per stream. For each recipient it is HPKE-sealed (RFC 9180,
//! base mode, single shot) with DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
//! AES-256-GCM 0x0002; `info` = `"recording stream 1" ‖ 0x00 ‖ session ‖ 0x00 ‖ stream`,
//! `aad` = the recipient's key id. So a wrapped key opens under no other session or stream.
//!
//! **Frame `n`** (from 0): plain text is at most 64 KiB of the stream, compressed as one zstd
//! frame, then AES-256-GCM with the data key; nonce = 4 zero bytes ‖ `n` (u64); associated data =
//! `H(opening, its mark included) ‖ n (u64) ‖ the frame's first 9 bytes ‖ H(everything in the file before this
//! frame)`. Frames cut the plain text anywhere, also inside a line.
//!
//! **Complete, truncated, forged.** A stream that ends after a frame with `last` = 1 is complete.
//! One that ends between frames, or inside one, is truncated: what came before stands. Anything
//! else (lengths out of range, a mark or a tag that does not fit, bytes after the last frame) is
//! damage at that frame. Marks need no key; they find accidents, not attackers. Tags stop
//! everyone who has no data key; recipients have it, so that *who* wrote a stream is proven by
//! the signed manifest alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::{Deserializable as _, OpModeS, Serializable as _};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use crate::keys::{unwrap_private_key, wrap_private_key};

use crate::journal::SessionHeader;
use crate::keys::{self, KeyId, RecipientKey};
use crate::storage::SessionId;

pub(crate) type Kdf = hpke::kdf::HkdfSha256;
pub(crate) type HpkeAead = hpke::aead::AesGcm256;

pub(crate) const MAGIC: [u8; 8] = *b"SEALREC\x01";
pub(crate) const MARK: usize = 8;
pub(crate) const FRAME_HEAD: usize = 9;
pub(crate) const MAX_HEADER: usize = 256 * 1024;
/// Plain bytes in a frame, at most.
pub const MAX_PLAIN: usize = 64 * 1024;
pub(crate) const MAX_CIPHERTEXT: usize = 68 * 1024;
const ZSTD_LEVEL: i32 = 1;

/// The clear part of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    pub session: SessionId,
    pub stream: String,
    pub recipients: Vec<WrappedKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<SessionHeader>,
}

/// The data key, sealed to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    pub key: KeyId,
    pub enc: String,
    pub wrapped: String,
}

/// Whether more frames follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    More,
    Last,
}

impl Position {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::More => 0,
            Self::Last => 1,
        }
    }
}

/// Turns the plain text of one stream into frames, in order. Does no IO.
pub struct Sealer {
    key: LessSafeKey,
    chain: Chain,
    plain: digest::Context,
    plain_bytes: u64,
}

impl Sealer {
    /// A fresh data key, and the opening bytes of the stream.
    pub fn begin(
        session: &SessionId,
        stream: &str,
        about: Option<&SessionHeader>,
        recipients: &[RecipientKey],
    ) -> Result<(Self, Vec<u8>), SealError> {
        if recipients.is_empty() {
            return Err(SealError::NoRecipient);
        }
        let mut data_key = Zeroizing::new([0; 32]);
        random(data_key.as_mut_slice())?;
        let header = StreamHeader {
            session: session.clone(),
            stream: stream.to_owned(),
            recipients: recipients
                .iter()
                .map(|recipient| wrap(&data_key, recipient, session, stream))
                .collect::<Result<_, _>>()?,
            about: about.cloned(),
        };
        let json = serde_json::to_vec(&header).map_err(|_| SealError::HeaderTooLong)?;
        if json.len() > MAX_HEADER {
            return Err(SealError::HeaderTooLong);
        }
        let length = u32::try_from(json.len()).map_err(|_| SealError::HeaderTooLong)?;
        let mut opening = MAGIC.to_vec();
        opening.extend_from_slice(&length.to_be_bytes());
        opening.extend_from_slice(&json);
        let (chain, mark) = Chain::begin(&opening);
        opening.extend_from_slice(&mark);
        let key = keys::aes(&data_key).map_err(|_| SealError::Cipher)?;
        let plain = digest::Context::new(&digest::SHA256);
        Ok((
            Self {
                key,
                chain,
                plain,
                plain_bytes: 0,
            },
            opening,
        ))
    }

    /// Appends frames for `plain` to `out`; with [`Position::Last`] the stream is complete, and
    /// there is at least one frame.
    pub fn seal(
        &mut self,
        plain: &[u8],
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.plain.update(plain);
        self.plain_bytes = self.plain_bytes.saturating_add(plain.len() as u64);
        // One context for these frames, dropped after them: an idle stream holds none.
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| SealError::Zstd)?;
        let mut chunks = plain.chunks(MAX_PLAIN).peekable();
        if chunks.peek().is_none() && position == Position::Last {
            return self.frame(&mut zstd, &[], Position::Last, out);
        }
        while let Some(chunk) = chunks.next() {
            let here = if chunks.peek().is_none() {
                position
            } else {
                Position::More
            };
            self.frame(&mut zstd, chunk, here, out)?;
        }
        Ok(())
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.chain.frames
    }

    /// Bytes of the stream so far, opening included.
    pub fn bytes(&self) -> u64 {
        self.chain.bytes
    }

    /// SHA-256 of the stream's bytes so far: of the file, as `sha256sum` prints it.
    pub fn sha256(&self) -> String {
        keys::hex(&self.chain.sha256())
    }

    /// Plain bytes and their SHA-256 so far.
    pub fn plain(&self) -> (u64, String) {
        (
            self.plain_bytes,
            keys::hex(self.plain.clone().finish().as_ref()),
        )
    }

    fn frame(
        &mut self,
        zstd: &mut zstd::bulk::Compressor<'_>,
        plain: &[u8],
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let packed = zstd.compress(plain).map_err(|_| SealError::Zstd)?;
        let length = u32::try_from(packed.len() + keys::TAG).map_err(|_| SealError::Cipher)?;
        let plain_length = u32::try_from(plain.len()).map_err(|_| SealError::Cipher)?;
        let head = frame_head(length, plain_length, position);
        let mut sealed = packed;
        self.key
            .seal_in_place_append_tag(
                self.chain.nonce(),
                Aad::from(self.chain.associated_data(head)),
                &mut sealed,
            )
            .map_err(|_| SealError::Cipher)?;
        let mark = self.chain.take(head, &sealed);
        out.extend_from_slice(&head);
        out.extend_from_slice(&sealed);
        out.extend_from_slice(&mark);
        Ok(())
    }
}

/// Where a stream stands: what writer and reader compute alike over the bytes of the file.
#[derive(Clone)]
pub(crate) struct Chain {
    opening: [u8; 32],
    running: digest::Context,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Chain {
    /// `opening` without its mark, which comes back.
    pub(crate) fn begin(opening: &[u8]) -> (Self, [u8; MARK]) {
        let mut running = digest::Context::new(&digest::SHA256);
        running.update(opening);
        let mut chain = Self {
            opening: [0; 32],
            running,
            frames: 0,
            bytes: opening.len() as u64,
        };
        let mark = chain.mark();
        chain.opening = chain.sha256();
        (chain, mark)
    }

    /// The next frame's bytes; its mark comes back.
    pub(crate) fn take(&mut self, head: [u8; FRAME_HEAD], sealed: &[u8]) -> [u8; MARK] {
        self.running.update(&head);
        self.running.update(sealed);
        self.bytes = self
            .bytes
            .saturating_add((FRAME_HEAD + sealed.len()) as u64);
        self.frames = self.frames.saturating_add(1);
        self.mark()
    }

    pub(crate) fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        if let Some(number) = nonce.last_chunk_mut::<8>() {
            *number = self.frames.to_be_bytes();
        }
        Nonce::assume_unique_for_key(nonce)
    }

    pub(crate) fn associated_data(&self, head: [u8; FRAME_HEAD]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(32 + 8 + FRAME_HEAD + 32);
        aad.extend_from_slice(&self.opening);
        aad.extend_from_slice(&self.frames.to_be_bytes());
        aad.extend_from_slice(&head);
        aad.extend_from_slice(&self.sha256());
        aad
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        let digest = self.running.clone().finish();
        digest.as_ref().try_into().unwrap_or_default()
    }

    fn mark(&mut self) -> [u8; MARK] {
        let mark = self.sha256().first_chunk().copied().unwrap_or_default();
        self.running.update(&mark);
        self.bytes = self.bytes.saturating_add(MARK as u64);
        mark
    }
}

/// Why nothing could be sealed. None of these happen with a working system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a recording needs at least one public key to be sealed to")]
    NoRecipient,
    #[error("the public key `{0}` cannot be sealed to")]
    Recipient(KeyId),
    #[error("the stream's header is longer than 256 KiB")]
    HeaderTooLong,
    #[error("the system gave no random bytes")]
    NoRandomness,
    #[error("zstd could not compress a frame")]
    Zstd,
    #[error("a frame could not be encrypted")]
    Cipher,
}

pub(crate) fn frame_head(length: u32, plain: u32, position: Position) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    let parts = length
        .to_be_bytes()
        .into_iter()
        .chain(plain.to_be_bytes())
        .chain([position.byte()]);
    for (slot, byte) in head.iter_mut().zip(parts) {
        *slot = byte;
    }
    head
}

/// Binds a wrapped data key to its session and stream.
pub(crate) fn info(session: &SessionId, stream: &str) -> Vec<u8> {
    ["recording stream 1", session.as_str(), stream]
        .join("\0")
        .into_bytes()
}

fn wrap(
    data_key: &[u8; 32],
    recipient: &RecipientKey,
    session: &SessionId,
    stream: &str,
) -> Result<WrappedKey, SealError> {
    let key = recipient.id();
    let unusable = |_| SealError::Recipient(key.clone());
    let public =
        <keys::Kem as hpke::Kem>::PublicKey::from_bytes(recipient.as_bytes()).map_err(unusable)?;
    let mut drawn = Drawn::fresh()?;
    let (enc, wrapped) = hpke::single_shot_seal_with_rng::<HpkeAead, Kdf, keys::Kem>(
        &OpModeS::Base,
        &public,
        &info(session, stream),
        data_key,
        key.as_str().as_bytes(),
        &mut drawn,
    )
    .map_err(unusable)?;
    if drawn.exhausted {
        return Err(SealError::NoRandomness);
    }
    Ok(WrappedKey {
        enc: STANDARD.encode(enc.to_bytes()),
        wrapped: STANDARD.encode(wrapped),
        key,
    })
}

fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| SealError::NoRandomness)
}

/// Random bytes drawn beforehand. hpke wants a source that cannot fail; the system's can, and
/// must end a session, not the process. One encapsulation takes 32 bytes; if it ever took more
/// than was drawn, the result would be thrown away.
struct Drawn {
    bytes: Zeroizing<[u8; 64]>,
    used: usize,
    exhausted: bool,
}

impl Drawn {
    fn fresh() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 64]);
        random(bytes.as_mut_slice())?;
        Ok(Self {
            bytes,
            used: 0,
            exhausted: false,
        })
    }
}

impl rand_core::TryRng for Drawn {
    type Error = rand_core::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        let end = self.used.saturating_add(dst.len());
        match self.bytes.get(self.used..end) {
            Some(drawn) => dst.copy_from_slice(drawn),
            None => self.exhausted = true,
        }
        self.used = end;
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Drawn {}
