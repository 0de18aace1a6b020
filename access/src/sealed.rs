//! Secrets that are kept in the database: sealed with a key that is not there, and bound to the
//! row they belong to, so that a copied ciphertext opens nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// A key that seals secrets (AES-256-GCM). Prints nothing of itself.
pub struct SealingKey(LessSafeKey);

/// A secret that could not be sealed or opened. Says nothing of the secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed secret of `{0}` does not open with this key")]
pub struct SealError(String);

impl SealingKey {
    /// A key from its 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, SealError> {
        UnboundKey::new(&AES_256_GCM, bytes)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| SealError("the key itself".to_owned()))
    }

    /// Seals `secret` for the row called `row`. `nonce` is 12 random bytes, never used twice.
    /// Returns the nonce and the ciphertext, base64.
    pub fn seal(
        &self,
        row: &str,
        secret: &[u8],
        nonce: [u8; NONCE_LEN],
    ) -> Result<String, SealError> {
        let mut sealed = secret.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| SealError(row.to_owned()))?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(BASE64.encode(out))
    }

    /// Opens what was sealed for the row called `row`.
    pub fn open(&self, row: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let wrong = || SealError(row.to_owned());
        let mut bytes = Zeroizing::new(BASE64.decode(sealed).map_err(|_| wrong())?);
        let (nonce, ciphertext) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(row.as_bytes()), ciphertext)
            .map_err(|_| wrong())?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_for_its_row_and_for_no_other() {
        let key = SealingKey::new(&[7; 32]).unwrap();
        let sealed = key.seal("fa-1", b"secret", [1; 12]).unwrap();
        assert_eq!(key.open("fa-1", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(
            key.open("fa-2", &sealed).unwrap_err(),
            SealError("fa-2".into())
        );
        let other = SealingKey::new(&[8; 32]).unwrap();
        assert!(other.open("fa-1", &sealed).is_err());
        for bad in ["", "AAAA", "!", &sealed[..sealed.len() - 2]] {
            assert!(key.open("fa-1", bad).is_err(), "{bad}");
        }
    }
}
