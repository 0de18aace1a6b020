//! Recording keys: one X25519 pair per customer, and one per auditor. What records has the public
//! halves only; a private half is kept wrapped by a master key.
//!
//! A wrapped private half is `nonce (12 bytes) ‖ AES-256-GCM ciphertext and tag (48 bytes)`; the
//! associated data is the caller's, and binds it to its customer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes that AES-GCM adds.
pub(crate) const TAG: usize = 16;

pub(crate) type Kem = hpke::kem::X25519HkdfSha256;

/// Names a public key: the first 16 hex digits of its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    pub fn of(public_key: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, public_key);
        Self(hex(digest.as_ref().get(..8).unwrap_or_default()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key that a recording is sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecipientKey([u8; 32]);

impl RecipientKey {
    /// Points of small order are refused when sealing, by HPKE itself.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| KeyError::NotAPublicKey)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| KeyError::NotAPublicKey)
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// The private half of a recording key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl PrivateKey {
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn public(&self) -> Result<RecipientKey, KeyError> {
        let public = Kem::sk_to_pk(&self.for_hpke()?);
        Ok(RecipientKey(public.to_bytes().into()))
    }

    pub(crate) fn for_hpke(&self) -> Result<<Kem as hpke::Kem>::PrivateKey, KeyError> {
        <Kem as hpke::Kem>::PrivateKey::from_bytes(self.0.as_slice())
            .map_err(|_| KeyError::NotAPrivateKey)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// Both halves.
#[derive(Clone, Debug)]
pub struct RecordingKeyPair {
    pub public: RecipientKey,
    pub private: PrivateKey,
}

impl RecordingKeyPair {
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill(bytes.as_mut_slice())
            .map_err(|_| KeyError::NoRandomness)?;
        let private = PrivateKey(bytes);
        Ok(Self {
            public: private.public()?,
            private,
        })
    }
}

/// Encrypts a private half under the master key; `aad` names the customer it belongs to.
pub fn wrap_private_key(
    master: &[u8; 32],
    private: &PrivateKey,
    aad: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| KeyError::NoRandomness)?;
    let mut sealed = private.as_bytes().to_vec();
    aes(master)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed,
        )
        .map_err(|_| KeyError::NotAPrivateKey)?;
    let mut wrapped = nonce.to_vec();
    wrapped.append(&mut sealed);
    Ok(wrapped)
}

/// The reverse; another master key or another customer's `aad` does not open it.
pub fn unwrap_private_key(
    master: &[u8; 32],
    wrapped: &[u8],
    aad: &[u8],
) -> Result<PrivateKey, KeyError> {
    let Some((nonce, sealed)) = wrapped.split_first_chunk::<NONCE_LEN>() else {
        return Err(KeyError::NotOpened);
    };
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let opened = aes(master)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut sealed,
        )
        .map_err(|_| KeyError::NotOpened)?;
    let bytes = <[u8; 32]>::try_from(&*opened).map_err(|_| KeyError::NotOpened)?;
    Ok(PrivateKey(Zeroizing::new(bytes)))
}

/// Why a key is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a recording's public key is 32 bytes in base64")]
    NotAPublicKey,
    #[error("a recording's private key is 32 bytes")]
    NotAPrivateKey,
    #[error("the wrapped private key does not open with this master key for this customer")]
    NotOpened,
    #[error("the system gave no random bytes")]
    NoRandomness,
}

pub(crate) fn aes(key: &[u8; 32]) -> Result<LessSafeKey, KeyError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyError::NotAPrivateKey)?;
    Ok(LessSafeKey::new(key))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail; a short digest would fail every comparison anyway.
            write!(text, "{byte:02x}").ok();
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_half_opens_only_with_its_master_key_and_customer() {
        let pair = pair();
        let wrapped = wrap_private_key(&[1; 32], &pair.private, b"CHU Nord").unwrap();
        let opened = unwrap_private_key(&[1; 32], &wrapped, b"CHU Nord").unwrap();
        assert_eq!(opened.as_bytes(), pair.private.as_bytes());
        assert_eq!(opened.public().unwrap(), pair.public);
        for (master, aad) in [([2; 32], &b"CHU Nord"[..]), ([1; 32], b"CHU Sud")] {
            let refused = unwrap_private_key(&master, &wrapped, aad);
            assert_eq!(refused.unwrap_err(), KeyError::NotOpened);
        }
        for at in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[at] ^= 1;
            assert!(
                unwrap_private_key(&[1; 32], &flipped, b"CHU Nord").is_err(),
                "byte {at}"
            );
            assert!(unwrap_private_key(&[1; 32], &wrapped[..at], b"CHU Nord").is_err());
        }
    }

    #[test]
    fn a_public_key_reads_back_from_its_text_and_is_named_by_16_hex_digits() {
        let public = pair().public;
        assert_eq!(
            RecipientKey::from_base64(&public.to_base64()).unwrap(),
            public
        );
        assert_eq!(public.id().as_str().len(), 16);
        for text in ["", "AAAA", "not base64!"] {
            assert_eq!(
                RecipientKey::from_base64(text),
                Err(KeyError::NotAPublicKey),
                "{text}"
            );
        }
    }

    #[test]
    fn a_private_key_does_not_print() {
        assert_eq!(format!("{:?}", pair().private), "PrivateKey(..)");
    }

    fn pair() -> RecordingKeyPair {
        RecordingKeyPair::generate(&SystemRandom::new()).unwrap()
    }
}
