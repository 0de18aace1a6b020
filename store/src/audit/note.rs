//! Signed notes (C2SP signed-note, tlog-checkpoint) with Ed25519, made and checked with ring.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tlog_tiles::{Checkpoint as Head, Hash};

/// The signature type of Ed25519 in a key identifier.
const ED25519_TYPE: u8 = 1;

/// A note or a key that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the signing key does not read as PKCS #8 for Ed25519")]
    Key,
    #[error("`{0}` is not the name of a log: it is empty, or has a space or a `+`")]
    Name(String),
    #[error("the note is not a signed checkpoint")]
    Malformed,
    #[error("the note is of another log")]
    OtherLog,
    #[error("the note carries no valid signature of `{0}`")]
    Signature(String),
}

/// Signs the heads of the log.
pub struct AuditSigner {
    name: String,
    key: Ed25519KeyPair,
}

impl AuditSigner {
    /// A signer from its private key (PKCS #8, version 1 or 2). `name` is the log's name, such as
    /// `bastion.example/audit`.
    pub fn from_pkcs8(bytes: &[u8], name: &str) -> Result<Self, NoteError> {
        let nameless = name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+');
        if nameless {
            return Err(NoteError::Name(name.escape_debug().to_string()));
        }
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(|_| NoteError::Key)?;
        Ok(Self {
            name: name.to_owned(),
            key,
        })
    }

    /// What checks this signer's notes; holds no secret.
    pub fn verifier(&self) -> AuditVerifier {
        let mut public_key = [0; 32];
        public_key.copy_from_slice(self.key.public_key().as_ref());
        AuditVerifier {
            name: self.name.clone(),
            public_key,
        }
    }

    /// The signed note over a head.
    pub(super) fn sign(&self, size: u64, root: Hash) -> Result<String, NoteError> {
        let head = Head::new(&self.name, size, root, "").map_err(|_| NoteError::Malformed)?;
        let text = String::from_utf8(head.to_bytes()).map_err(|_| NoteError::Malformed)?;
        let mut signature = self.verifier().key_id().to_vec();
        signature.extend_from_slice(self.key.sign(text.as_bytes()).as_ref());
        Ok(format!(
            "{text}\n— {} {}\n",
            self.name,
            BASE64.encode(signature)
        ))
    }
}

impl std::fmt::Debug for AuditSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditSigner({})", self.name)
    }
}

/// Checks the heads of the log: its name and its public key, which the host publishes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditVerifier {
    pub name: String,
    pub public_key: [u8; 32],
}

impl AuditVerifier {
    /// The size and root of a signed note, where its signature holds.
    pub fn open(&self, note: &str) -> Result<(i64, [u8; 32]), NoteError> {
        // The text ends with the last blank line, and keeps its own line end.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let text = format!("{text}\n");
        if !signatures
            .lines()
            .any(|line| self.has_signed(line, text.as_bytes()))
        {
            return Err(NoteError::Signature(self.name.clone()));
        }
        let head = Head::from_bytes(text.as_bytes()).map_err(|_| NoteError::Malformed)?;
        if head.origin() != self.name {
            return Err(NoteError::OtherLog);
        }
        let size = i64::try_from(head.size()).map_err(|_| NoteError::Malformed)?;
        Ok((size, head.hash().0))
    }

    /// The first four bytes of SHA-256 over name, line feed, type and key.
    fn key_id(&self) -> [u8; 4] {
        let mut bytes = self.name.as_bytes().to_vec();
        bytes.extend_from_slice(b"\n");
        bytes.push(ED25519_TYPE);
        bytes.extend_from_slice(&self.public_key);
        let [a, b, c, d, ..] = access::audit::sha256(&bytes);
        [a, b, c, d]
    }

    fn has_signed(&self, line: &str, text: &[u8]) -> bool {
        let signature = line
            .strip_prefix("— ")
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| *name == self.name)
            .and_then(|(_, signature)| BASE64.decode(signature).ok());
        signature
            .as_deref()
            .and_then(|bytes| bytes.strip_prefix(&self.key_id()))
            .is_some_and(|signature| {
                UnparsedPublicKey::new(&ED25519, self.public_key)
                    .verify(text, signature)
                    .is_ok()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    fn signer(name: &str) -> AuditSigner {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        AuditSigner::from_pkcs8(key.as_ref(), name).unwrap()
    }

    #[test]
    fn a_note_has_the_form_of_c2sp() {
        let note = signer("bastion.example/audit")
            .sign(7, Hash([3; 32]))
            .unwrap();
        let lines: Vec<&str> = note.split('\n').collect();
        assert_eq!(
            lines[..4],
            ["bastion.example/audit", "7", &BASE64.encode([3; 32]), ""]
        );
        assert!(lines[4].starts_with("— bastion.example/audit "), "{note}");
        assert_eq!(lines[5..], [""]);
    }

    #[test]
    fn a_note_opens_for_its_key_and_name_only() {
        let signer = signer("log");
        let note = signer.sign(7, Hash([3; 32])).unwrap();
        assert_eq!(signer.verifier().open(&note), Ok((7, [3; 32])));
        let mut other = self::signer("log").verifier();
        assert_eq!(other.open(&note), Err(NoteError::Signature("log".into())));
        other = signer.verifier();
        other.name = "gol".into();
        assert_eq!(other.open(&note), Err(NoteError::Signature("gol".into())));
    }

    #[test]
    fn a_changed_byte_of_a_note_is_noticed_wherever_it_is() {
        let signer = signer("log");
        let note = signer.sign(1_234, Hash([3; 32])).unwrap();
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(signer.verifier().open(&changed).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_log_has_a_name_without_spaces() {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        for bad in ["", "a b", "a+b", "a\nb"] {
            assert!(
                AuditSigner::from_pkcs8(key.as_ref(), bad).is_err(),
                "{bad:?}"
            );
        }
        assert!(matches!(
            AuditSigner::from_pkcs8(b"no key", "log"),
            Err(NoteError::Key)
        ));
    }
}
