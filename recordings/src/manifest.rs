//! What is signed when a recording ends: every size, digest and summary, and who did what to whom.
//!
//! `manifest.json` is canonical JSON (RFC 8785), one spelling, no final newline: its SHA-256 is
//! [`Manifest::digest`]. `signature` is Ed25519 over `"recording manifest 1" ‖ 0x00 ‖` the same
//! canonical JSON without its member `signature`.

use std::fmt;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::canonical;
use crate::journal::{ChannelSummary, SessionHeader, UtcMicros};
use crate::keys::{self, KeyId};
use crate::storage::{SessionId, Storage, StorageError};

const CONTEXT: &[u8] = b"recording manifest 1\0";

/// The end of a recording, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: u32,
    pub state: State,
    pub about: SessionHeader,
    pub ended_at: UtcMicros,
    pub reason: String,
    /// The journal first, then the casts.
    pub streams: Vec<StreamSummary>,
    /// Empty if interrupted: what closes a killed recording cannot read it.
    pub channels: Vec<ChannelSummary>,
    pub recipients: Vec<KeyId>,
    pub signer: KeyId,
    pub signature: String,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every stream has its last frame.
    Finished,
    /// The recording process was killed; what was durable stands, up to one second before.
    Interrupted,
}

/// One stream. Digests are SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSummary {
    pub stream: String,
    pub frames: u64,
    /// Bytes of the opening and of all whole frames, and their digest.
    pub ciphertext_bytes: u64,
    pub ciphertext_sha256: String,
    pub plain_bytes: u64,
    /// Of the plain text: journal lines, or the cast. Unknown if interrupted.
    pub plain_sha256: Option<String>,
    /// Journal lines, or a cast's header and events. Unknown if interrupted.
    pub events: Option<u64>,
    /// What follows the last whole frame of an interrupted stream.
    pub torn_bytes: u64,
    pub torn_sha256: Option<String>,
    /// What was wrong with it when it was closed, other than being cut short.
    pub damage: Option<String>,
}

impl Manifest {
    /// SHA-256 of the file, in lower-case hex: what the audit log enters.
    pub fn digest(&self) -> Result<String, ManifestError> {
        let bytes = self.to_bytes()?;
        Ok(keys::hex(digest::digest(&digest::SHA256, &bytes).as_ref()))
    }

    /// The file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        canonical::bytes(self).map_err(ManifestError::Unreadable)
    }

    pub fn read(storage: &Storage, session: &SessionId) -> Result<Self, ManifestError> {
        let bytes = Self::read_bytes(storage, session)?;
        serde_json::from_slice(&bytes).map_err(ManifestError::Unreadable)
    }

    pub(crate) fn read_bytes(
        storage: &Storage,
        session: &SessionId,
    ) -> Result<Vec<u8>, ManifestError> {
        let path = storage.manifest_path(session);
        fs::read(&path).map_err(|error| StorageError::at("read", &path)(error).into())
    }

    /// Whether the host's key signed exactly this.
    pub fn check_signature(&self, key: &ManifestPublicKey) -> Result<(), ManifestError> {
        let refused = ManifestError::Signature {
            signer: self.signer.clone(),
        };
        let Ok(signature) = STANDARD.decode(&self.signature) else {
            return Err(refused);
        };
        let key = UnparsedPublicKey::new(&ED25519, key.0);
        key.verify(&self.signed_bytes()?, &signature)
            .map_err(|_| refused)
    }

    pub(crate) fn sign(mut self, signer: &ManifestSigner) -> Result<Self, ManifestError> {
        self.signer = signer.public_key().id();
        self.signature = STANDARD.encode(signer.0.sign(&self.signed_bytes()?));
        Ok(self)
    }

    fn signed_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let json =
            canonical::bytes_without(self, "signature").map_err(ManifestError::Unreadable)?;
        Ok([CONTEXT, &json].concat())
    }
}

/// The host's private key for manifests.
pub struct ManifestSigner(Ed25519KeyPair);

impl ManifestSigner {
    /// From the 32-byte seed (RFC 8032 private key).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ManifestError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| ManifestError::Key)?;
        Ok(Self(pair))
    }

    /// From PKCS#8, version 1 or 2.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, ManifestError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(document).map_err(|_| ManifestError::Key)?;
        Ok(Self(pair))
    }

    /// A new key and its seed, which the caller keeps.
    pub fn generate(rng: &dyn SecureRandom) -> Result<(Self, Zeroizing<[u8; 32]>), ManifestError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(seed.as_mut_slice())
            .map_err(|_| ManifestError::Key)?;
        Ok((Self::from_seed(&seed)?, seed))
    }

    pub fn public_key(&self) -> ManifestPublicKey {
        ManifestPublicKey(self.0.public_key().as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Debug for ManifestSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManifestSigner({})", self.public_key().id())
    }
}

/// The host's published key: all that a reader needs to check a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestPublicKey([u8; 32]);

impl ManifestPublicKey {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn from_base64(text: &str) -> Result<Self, ManifestError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| ManifestError::Key)?;
        bytes.try_into().map(Self).map_err(|_| ManifestError::Key)
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("`manifest.json` is not a manifest")]
    Unreadable(#[source] serde_json::Error),
    #[error("the signature of `manifest.json` by key `{signer}` does not fit")]
    Signature { signer: KeyId },
    #[error("the key for manifests is not an Ed25519 key")]
    Key,
}
