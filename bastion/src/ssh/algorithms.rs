//! What connections are protected with: ANSSI's OpenSSH note R15 and cryptography guide 2.04. No
//! SHA-1 and no compression anywhere; strict key exchange, which undoes Terrapin (CVE-2023-48795),
//! with all who know it.

use crate::config::Algorithms;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

/// What operators are offered.
pub(super) fn offered(algorithms: Algorithms) -> Preferred {
    match algorithms {
        Algorithms::Default => preferred(),
        Algorithms::Strict => Preferred {
            kex: Cow::Borrowed(STRICT_KEX),
            cipher: Cow::Borrowed(GCM),
            ..preferred()
        },
    }
}

/// What a client that knows AES-GCM is offered in place of it, where that is less: which it takes
/// is its own choice, and OpenSSH's prefers a stream cipher, and AES-CTR with a MAC of its own after
/// that. GCM also costs the least.
pub(super) fn where_gcm_is_known(algorithms: Algorithms) -> Option<Preferred> {
    match algorithms {
        Algorithms::Default => Some(Preferred {
            cipher: Cow::Borrowed(GCM),
            ..preferred()
        }),
        Algorithms::Strict => None,
    }
}

/// What is spoken with targets, and by default with operators: post-quantum hybrid first.
pub(super) fn preferred() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::AES_256_CTR,
            cipher::CHACHA20_POLY1305,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const GCM: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];

/// The library knows one post-quantum hybrid.
const STRICT_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Of operators' keys. The bastion's own is ed25519.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::ssh_key::private::Ed25519Keypair;
    use russh::keys::{PrivateKey, PublicKeyOrCertificate};
    use russh::{Error, Names, client, server};
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn strict_is_spoken_with_whoever_knows_it_and_with_nobody_else() {
        let names = meets(preferred()).await.unwrap();
        assert_eq!(names.kex, kex::MLKEM768X25519_SHA256);
        assert_eq!(names.cipher, cipher::AES_256_GCM);
        assert!(names.strict_kex());
        for older in [
            Preferred {
                kex: Cow::Borrowed(&[kex::CURVE25519]),
                ..preferred()
            },
            Preferred {
                cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]),
                ..preferred()
            },
        ] {
            assert!(meets(older).await.is_err());
        }
    }

    /// What a client that speaks `theirs` and the strict profile agree on.
    async fn meets(theirs: Preferred) -> Result<Names, Error> {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let ours = server::Config {
            keys: vec![key],
            preferred: offered(Algorithms::Strict),
            ..server::Config::default()
        };
        let theirs = client::Config {
            preferred: theirs,
            ..client::Config::default()
        };
        let (here, there) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(server::run_stream(Arc::new(ours), there, Nobody));
        let agreed = Agreed::default();
        let client = client::connect_stream(Arc::new(theirs), here, agreed.clone()).await;
        served.abort();
        client?;
        let names = agreed.0.lock().unwrap().take();
        names.ok_or(Error::Inconsistent)
    }

    struct Nobody;

    impl server::Handler for Nobody {
        type Error = Error;
    }

    #[derive(Clone, Default)]
    struct Agreed(Arc<Mutex<Option<Names>>>);

    impl client::Handler for Agreed {
        type Error = Error;

        async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Error> {
            Ok(true)
        }

        async fn kex_done(
            &mut self,
            _: Option<&[u8]>,
            names: &Names,
            _: &mut client::Session,
        ) -> Result<(), Error> {
            *self.0.lock().unwrap() = Some(names.clone());
            Ok(())
        }
    }
}
