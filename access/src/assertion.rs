//! A kept `WebAuthn` assertion, checked years later with nothing but what was kept: the statement's
//! challenge, what the browser and the authenticator said, and the credential's public key.
//!
//! What it does not tell: whose credential it was. The register of second factors does, and the
//! audit log holds that.

use crate::approval::Assertion;
use crate::audit::sha256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// The person was present, and was verified (Web Authentication, 6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
/// Where the flags are: after the hash of the relying party's identifier.
const FLAGS: usize = 32;

/// Why an assertion proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssertionFault {
    #[error("what the browser said does not read")]
    ClientData,
    #[error("it is not an assertion over this statement")]
    Challenge,
    #[error("what the authenticator said is too short")]
    AuthenticatorData,
    #[error("the authenticator did not verify the person")]
    NotVerified,
    #[error("the public key does not read")]
    Key,
    #[error("the algorithm of the public key is not known here")]
    Algorithm,
    #[error("the signature is not of this public key")]
    Signature,
}

impl Assertion {
    /// Checks that the kept public key signed exactly `challenge`, its user verified.
    pub fn verify(&self, challenge: &[u8; 32]) -> Result<(), AssertionFault> {
        let client = decode(&self.client_data_json).ok_or(AssertionFault::ClientData)?;
        let said: Value =
            serde_json::from_slice(&client).map_err(|_| AssertionFault::ClientData)?;
        let word = |key: &str| said.get(key).and_then(Value::as_str);
        let over = BASE64URL.encode(challenge);
        if word("type") != Some("webauthn.get") || word("challenge") != Some(over.as_str()) {
            return Err(AssertionFault::Challenge);
        }
        let mut signed =
            decode(&self.authenticator_data).ok_or(AssertionFault::AuthenticatorData)?;
        let flags = *signed.get(FLAGS).ok_or(AssertionFault::AuthenticatorData)?;
        if flags & (PRESENT | VERIFIED) != PRESENT | VERIFIED {
            return Err(AssertionFault::NotVerified);
        }
        signed.extend_from_slice(&sha256(&client));
        let signature = decode(&self.signature).ok_or(AssertionFault::Signature)?;
        self.key()?.verify(&signed, &signature)
    }

    fn key(&self) -> Result<Key, AssertionFault> {
        let key: Value = serde_json::from_str(&self.public_key).map_err(|_| AssertionFault::Key)?;
        let number = |label: &str| key.get(label).and_then(Value::as_i64);
        let bytes = |label: &str| {
            let text = key.get(label).and_then(Value::as_str);
            text.and_then(decode).ok_or(AssertionFault::Key)
        };
        // Key type, algorithm and curve, as RFC 9053 numbers them.
        match (number("1"), number("3"), number("-1")) {
            (Some(2), Some(-7), Some(1)) => Ok(Key::Point(
                &ECDSA_P256_SHA256_ASN1,
                point(&bytes("-2")?, &bytes("-3")?),
            )),
            (Some(2), Some(-35), Some(2)) => Ok(Key::Point(
                &ECDSA_P384_SHA384_ASN1,
                point(&bytes("-2")?, &bytes("-3")?),
            )),
            (Some(1), Some(-8), Some(6)) => Ok(Key::Point(&ED25519, bytes("-2")?)),
            (Some(3), Some(-257), None) => Ok(Key::Rsa {
                n: bytes("-1")?,
                e: bytes("-2")?,
            }),
            (_, _, _) => Err(AssertionFault::Algorithm),
        }
    }
}

enum Key {
    Point(&'static dyn VerificationAlgorithm, Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Key {
    fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), AssertionFault> {
        match self {
            Self::Point(algorithm, key) => {
                UnparsedPublicKey::new(*algorithm, key).verify(signed, signature)
            }
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                signed,
                signature,
            ),
        }
        .map_err(|_| AssertionFault::Signature)
    }
}

/// An uncompressed point (SEC 1).
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    const CHALLENGE: [u8; 32] = [7; 32];

    #[test]
    fn an_assertion_holds_for_its_challenge_and_key_only() {
        let kept = by_p256(PRESENT | VERIFIED);
        assert_eq!(kept.verify(&CHALLENGE), Ok(()));
        assert_eq!(kept.verify(&[8; 32]), Err(AssertionFault::Challenge));
        let other = Assertion {
            public_key: by_p256(5).public_key,
            ..kept
        };
        assert_eq!(other.verify(&CHALLENGE), Err(AssertionFault::Signature));
    }

    #[test]
    fn an_edwards_key_does_too() {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
        let key = json!({"1": 1, "3": -8, "-1": 6, "-2": BASE64URL.encode(pair.public_key())});
        let kept = assertion(5, &key, |signed| pair.sign(signed).as_ref().to_vec());
        assert_eq!(kept.verify(&CHALLENGE), Ok(()));
    }

    #[test]
    fn a_person_who_was_not_verified_signed_nothing() {
        for flags in [0, PRESENT, VERIFIED] {
            let kept = by_p256(flags);
            assert_eq!(kept.verify(&CHALLENGE), Err(AssertionFault::NotVerified));
        }
    }

    #[test]
    fn one_changed_byte_of_any_part_is_noticed() {
        let kept = by_p256(5);
        let parts: [fn(&mut Assertion) -> &mut String; 3] = [
            |kept| &mut kept.client_data_json,
            |kept| &mut kept.authenticator_data,
            |kept| &mut kept.signature,
        ];
        for part in parts {
            let length = decode(part(&mut kept.clone())).unwrap().len();
            for at in 0..length {
                let mut changed = kept.clone();
                let text = part(&mut changed);
                let mut bytes = decode(text).unwrap();
                bytes[at] ^= 1;
                *text = BASE64URL.encode(bytes);
                assert!(changed.verify(&CHALLENGE).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_does_not_read_is_said() {
        let kept = by_p256(5);
        let none = Assertion {
            public_key: "{}".into(),
            ..kept.clone()
        };
        assert_eq!(none.verify(&CHALLENGE), Err(AssertionFault::Algorithm));
        let short = Assertion {
            authenticator_data: "AA".into(),
            ..kept
        };
        assert_eq!(
            short.verify(&CHALLENGE),
            Err(AssertionFault::AuthenticatorData)
        );
    }

    fn by_p256(flags: u8) -> Assertion {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let key = json!({
            "1": 2, "3": -7, "-1": 1, "-2": BASE64URL.encode(x), "-3": BASE64URL.encode(y),
        });
        assertion(flags, &key, |signed| {
            pair.sign(&random, signed).unwrap().as_ref().to_vec()
        })
    }

    fn assertion(flags: u8, key: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Assertion {
        let client = json!({
            "type": "webauthn.get",
            "challenge": BASE64URL.encode(CHALLENGE),
            "origin": "https://bastion.example",
        })
        .to_string();
        let mut signed = vec![1; FLAGS];
        signed.push(flags);
        signed.extend_from_slice(&[0; 4]);
        let authenticator_data = BASE64URL.encode(&signed);
        signed.extend_from_slice(&sha256(client.as_bytes()));
        Assertion {
            credential_id: "cred".into(),
            client_data_json: BASE64URL.encode(client),
            authenticator_data,
            signature: BASE64URL.encode(sign(&signed)),
            public_key: key.to_string(),
        }
    }
}
