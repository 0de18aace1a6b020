//! Which keys are taken. Pure.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

/// The shortest RSA key that is taken, in bits (ANSSI cryptography guide 2.04).
const SHORTEST_RSA: usize = 3072;

/// Whether this key, under this signature algorithm, is strong enough to be looked at.
pub(crate) fn is_strong(key: &PublicKey, signed_with: &Algorithm) -> Result<(), WeakKey> {
    match signed_with {
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256 | HashAlg::Sha512),
        } => rsa_is_long_enough(key),
        Algorithm::Ed25519
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256
        | Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256 | EcdsaCurve::NistP384 | EcdsaCurve::NistP521,
        } => Ok(()),
        Algorithm::Rsa { .. } | Algorithm::Dsa | Algorithm::Other(_) | _ => Err(WeakKey(format!(
            "`{}` is not accepted",
            signed_with.as_str()
        ))),
    }
}

/// The same for a key that is being declared, whatever it will sign with.
pub(crate) fn may_be_declared(key: &PublicKey) -> Result<(), WeakKey> {
    if let KeyData::Rsa(_) = key.key_data() {
        rsa_is_long_enough(key)
    } else {
        is_strong(key, &key.algorithm())
    }
}

/// A key that is not taken, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is too weak: {0}; use ed25519, ecdsa or rsa of at least 3072 bits")]
pub(crate) struct WeakKey(String);

fn rsa_is_long_enough(key: &PublicKey) -> Result<(), WeakKey> {
    let bits = if let KeyData::Rsa(rsa) = key.key_data() {
        usize::try_from(rsa.key_size()).unwrap_or(0)
    } else {
        0
    };
    if bits < SHORTEST_RSA {
        return Err(WeakKey(format!("rsa of {bits} bits")));
    }
    Ok(())
}
