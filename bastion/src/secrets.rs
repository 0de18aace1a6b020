//! Randomness, and the key files under `<state>/keys/`: who may read which.
//!
//! INVARIANT: what faces operators ([`SshKeys`]) cannot read old recordings; what faces the web
//! ([`WebKeys`]) cannot reach targets. Each reads its own files and no other.
//!
//! One file per key, 0600 in a directory 0700, made once by `bastion init` and never overwritten;
//! the public halves lie beside them. A key file that others can read is refused.

use access::sealed::SealingKey;
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use recordings::{ManifestPublicKey, ManifestSigner};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use store::{AuditSigner, AuditVerifier};
use zeroize::Zeroizing;

/// What `serve ssh` may read.
pub(crate) struct SshKeys {
    /// How the bastion proves itself to operators.
    pub(crate) host: PrivateKey,
    /// Signs the short-lived certificates that targets trust.
    pub(crate) user_ca: PrivateKey,
    /// Signs the certificates by which operators know a target behind the bastion.
    pub(crate) host_ca: PrivateKey,
    /// Signs the short-lived certificates of operators. Another key than `user_ca`, so that no
    /// target takes one.
    pub(crate) operator_ca: PrivateKey,
    /// Signs checkpoints of the audit log.
    pub(crate) audit: AuditSigner,
    /// Signs the manifests of recordings.
    pub(crate) manifest: ManifestSigner,
    /// Opens enrolled second factors.
    pub(crate) factors: SealingKey,
}

/// What `serve web` may read.
pub(crate) struct WebKeys {
    /// Opens enrolled second factors.
    pub(crate) factors: SealingKey,
    /// Opens the customers' recording keys.
    pub(crate) recording_master: Zeroizing<[u8; 32]>,
    /// What manifests are checked with.
    pub(crate) manifest: ManifestPublicKey,
}

/// `N` random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with randomness of the operating system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| anyhow::anyhow!("the system gave no random bytes"))
}

impl SshKeys {
    /// Reads the keys of the side that faces operators.
    pub(crate) fn read(state: &Path) -> Result<Self> {
        let keys = Keys::of(state);
        Ok(Self {
            host: keys.ssh(HOST)?,
            user_ca: keys.ssh(USER_CA)?,
            host_ca: keys.ssh(HOST_CA)?,
            operator_ca: keys.ssh(OPERATOR_CA)?,
            audit: keys.audit()?,
            manifest: ManifestSigner::from_pkcs8(&keys.pkcs8(MANIFEST)?)
                .context("`keys/manifest` is not a key")?,
            factors: keys.factors()?,
        })
    }
}

impl WebKeys {
    /// Reads the keys of the side that faces the web.
    pub(crate) fn read(state: &Path) -> Result<Self> {
        let keys = Keys::of(state);
        Ok(Self {
            factors: keys.factors()?,
            recording_master: recording_master(state)?,
            manifest: manifest_public(state)?,
        })
    }
}

/// The key that opens the customers' recording keys.
pub(crate) fn recording_master(state: &Path) -> Result<Zeroizing<[u8; 32]>> {
    Keys::of(state).secret(RECORDING_MASTER)
}

/// The published key that manifests are checked with.
pub(crate) fn manifest_public(state: &Path) -> Result<ManifestPublicKey> {
    let path = Keys::of(state).public(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| cannot("read", &path))?;
    ManifestPublicKey::from_base64(&text).with_context(|| format!("`{}`", path.display()))
}

/// The key that signs checkpoints of the audit log.
pub(crate) fn audit_signer(state: &Path) -> Result<AuditSigner> {
    Keys::of(state).audit()
}

/// The published key that the audit log is checked with, from `<state>/keys/audit.pub`.
pub(crate) fn audit_public(state: &Path) -> Result<AuditVerifier> {
    read_audit_public(&Keys::of(state).public(AUDIT))
}

/// The same from any file: one line `name+hash+key`, as the C2SP signed note format writes it.
pub(crate) fn read_audit_public(path: &Path) -> Result<AuditVerifier> {
    let text = fs::read_to_string(path).with_context(|| cannot("read", path))?;
    verifier_from_line(text.trim())
        .with_context(|| format!("`{}` is not an audit log's public key", path.display()))
}

/// A public SSH key of the bastion: `user-ca`, `host-ca` or `host`.
pub(crate) fn ssh_public(state: &Path, which: &str) -> Result<PublicKey> {
    let path = Keys::of(state).public(which);
    PublicKey::read_openssh_file(&path).with_context(|| cannot("read", &path))
}

/// Makes every key that is missing; says which were made. What is there stays as it is.
pub(crate) fn make(state: &Path) -> Result<Vec<&'static str>> {
    make_directory(state)?;
    let keys = Keys::of(state);
    make_directory(&keys.directory)?;
    let mut made = Vec::new();
    for name in [HOST, USER_CA, HOST_CA, OPERATOR_CA] {
        keys.make(name, Keys::new_ssh, &mut made)?;
    }
    for name in [AUDIT, MANIFEST] {
        keys.make(name, Keys::new_signing, &mut made)?;
    }
    for name in [FACTORS, RECORDING_MASTER] {
        keys.make(name, Keys::new_secret, &mut made)?;
    }
    for name in [USER_CA, HOST_CA] {
        let text =
            fs::read(keys.public(name)).with_context(|| cannot("read", &keys.public(name)))?;
        replace_public(&state.join(format!("{name}.pub")), &text)?;
    }
    Ok(made)
}

pub(crate) const HOST: &str = "host";
pub(crate) const USER_CA: &str = "user-ca";
pub(crate) const HOST_CA: &str = "host-ca";
const OPERATOR_CA: &str = "operator-ca";
const AUDIT: &str = "audit";
const MANIFEST: &str = "manifest";
const FACTORS: &str = "factors";
const RECORDING_MASTER: &str = "recording-master";
/// The algorithm byte of Ed25519 in a C2SP signed note's key.
const NOTE_ED25519: u8 = 1;

struct Keys {
    directory: PathBuf,
}

/// A new private half and, for a pair, its public half.
struct NewKey {
    private: Zeroizing<Vec<u8>>,
    public: Option<String>,
}

impl Keys {
    fn of(state: &Path) -> Self {
        Self {
            directory: state.join("keys"),
        }
    }

    fn private(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn public(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pub"))
    }

    /// Reads a private file; one that others can read is no secret any more.
    fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let path = self.private(name);
        let about = fs::metadata(&path)
            .with_context(|| format!("{}; `bastion init` makes the keys", cannot("read", &path)))?;
        let mode = about.mode() & 0o777;
        let for_others = mode & 0o077;
        ensure!(
            for_others == 0,
            "`{}` has mode {mode:04o}: a key that others can read is refused; make a new one, or `chmod 0600` it if nobody did",
            path.display()
        );
        let bytes = fs::read(&path).with_context(|| cannot("read", &path))?;
        Ok(Zeroizing::new(bytes))
    }

    fn ssh(&self, name: &str) -> Result<PrivateKey> {
        let text = self.read(name)?;
        PrivateKey::from_openssh(&*text)
            .with_context(|| format!("`keys/{name}` is not a private key in OpenSSH's format"))
    }

    fn pkcs8(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let text = self.read(name)?;
        let decoded = BASE64.decode(text.trim_ascii());
        // The cause would repeat bytes of the key.
        let Ok(document) = decoded else {
            bail!("`keys/{name}` is not base64");
        };
        Ok(Zeroizing::new(document))
    }

    fn secret(&self, name: &str) -> Result<Zeroizing<[u8; 32]>> {
        let bytes = self.pkcs8(name)?;
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(secret) => Ok(Zeroizing::new(secret)),
            Err(_) => bail!("`keys/{name}` is not 32 bytes in base64"),
        }
    }

    fn factors(&self) -> Result<SealingKey> {
        SealingKey::new(&*self.secret(FACTORS)?).context("`keys/factors` is not a key")
    }

    fn audit(&self) -> Result<AuditSigner> {
        let document = self.pkcs8(AUDIT)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document)
            .map_err(|_| anyhow::anyhow!("`keys/audit` is not a key"))?;
        let name = log_name(pair.public_key().as_ref());
        AuditSigner::from_pkcs8(&document, &name).context("`keys/audit` is not a key")
    }

    fn make(
        &self,
        name: &'static str,
        new: fn(&str) -> Result<NewKey>,
        made: &mut Vec<&'static str>,
    ) -> Result<()> {
        let path = self.private(name);
        if path.exists() {
            return Ok(());
        }
        let key = new(name)?;
        if let Some(public) = &key.public {
            // First, so that a private half never lies there without it.
            replace_public(&self.public(name), public.as_bytes())?;
        }
        create(&path, &key.private, 0o600)?;
        made.push(name);
        Ok(())
    }

    fn new_ssh(name: &str) -> Result<NewKey> {
        let seed = Zeroizing::new(random::<32>()?);
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        key.set_comment(format!("bastion {name}"));
        let private = key
            .to_openssh(LineEnding::LF)
            .context("cannot write a new key")?;
        let public = key
            .public_key()
            .to_openssh()
            .context("cannot write a new key")?;
        Ok(NewKey {
            private: Zeroizing::new(private.as_bytes().to_vec()),
            public: Some(format!("{public}\n")),
        })
    }

    fn new_signing(name: &str) -> Result<NewKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref())
            .map_err(|_| anyhow::anyhow!("cannot read a new key back"))?;
        let public = pair.public_key().as_ref();
        let line = if name == AUDIT {
            verifier_line(&log_name(public), public)
        } else {
            BASE64.encode(public)
        };
        Ok(NewKey {
            private: Zeroizing::new(format!("{}\n", BASE64.encode(document.as_ref())).into_bytes()),
            public: Some(format!("{line}\n")),
        })
    }

    fn new_secret(_: &str) -> Result<NewKey> {
        let secret = Zeroizing::new(random::<32>()?);
        Ok(NewKey {
            private: Zeroizing::new(format!("{}\n", BASE64.encode(*secret)).into_bytes()),
            public: None,
        })
    }
}

/// What the log signs its checkpoints as: stays the same as long as the key does.
fn log_name(public: &[u8]) -> String {
    let mark: String = access::audit::hex(digest(&SHA256, public).as_ref())
        .chars()
        .take(8)
        .collect();
    format!("bastion-{mark}")
}

/// A C2SP signed note's verifier key: `name+hash+base64(algorithm ‖ key)`.
fn verifier_line(name: &str, public: &[u8]) -> String {
    let mut key = vec![NOTE_ED25519];
    key.extend_from_slice(public);
    let hashed = digest(&SHA256, &[name.as_bytes(), b"\n", &key].concat());
    let mark: String = access::audit::hex(hashed.as_ref())
        .chars()
        .take(8)
        .collect();
    format!("{name}+{mark}+{}", BASE64.encode(key))
}

fn verifier_from_line(line: &str) -> Option<AuditVerifier> {
    let (name, rest) = line.split_once('+')?;
    let (_, key) = rest.split_once('+')?;
    let key = BASE64.decode(key).ok()?;
    let (algorithm, public) = key.split_first()?;
    let public_key = <[u8; 32]>::try_from(public).ok()?;
    (*algorithm == NOTE_ED25519 && verifier_line(name, public) == line).then(|| AuditVerifier {
        name: name.to_owned(),
        public_key,
    })
}

/// Makes a directory only its owner can enter, or checks that the one there is so.
fn make_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| cannot("create", path))
}

/// Creates a file that must not be there.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| cannot("create", path))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(|| cannot("write", path))
}

/// Writes a public half, whatever was there.
fn replace_public(path: &Path, content: &[u8]) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| cannot("replace", path)),
    }
    create(path, content, 0o644)
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_for_their_owner_alone_and_never_overwritten() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(make(state.path()).unwrap().len(), 8);
        let before = contents(state.path());
        assert!(make(state.path()).unwrap().is_empty());
        assert_eq!(contents(state.path()), before);
        for (path, _) in before {
            let mode = fs::metadata(&path).unwrap().mode() & 0o777;
            let public = path.extension().is_some_and(|e| e == "pub");
            assert_eq!(mode, if public { 0o644 } else { 0o600 }, "{path:?}");
        }
        let keys = fs::metadata(state.path().join("keys")).unwrap();
        assert_eq!(keys.mode() & 0o777, 0o700);
    }

    #[test]
    fn each_side_reads_with_only_its_own_files_there() {
        let state = tempfile::tempdir().unwrap();
        make(state.path()).unwrap();
        let keys = state.path().join("keys");
        fs::rename(keys.join(RECORDING_MASTER), state.path().join("kept")).unwrap();
        SshKeys::read(state.path()).unwrap();
        assert!(WebKeys::read(state.path()).is_err());
        fs::rename(state.path().join("kept"), keys.join(RECORDING_MASTER)).unwrap();
        for name in [HOST, USER_CA, HOST_CA, MANIFEST] {
            fs::remove_file(keys.join(name)).unwrap();
        }
        WebKeys::read(state.path()).unwrap();
        assert!(SshKeys::read(state.path()).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_and_named() {
        let state = tempfile::tempdir().unwrap();
        make(state.path()).unwrap();
        let path = state.path().join("keys").join(USER_CA);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SshKeys::read(state.path()).err().unwrap().to_string();
        assert!(
            error.contains("user-ca") && error.contains("0640"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_key_is_named_without_being_shown() {
        let state = tempfile::tempdir().unwrap();
        make(state.path()).unwrap();
        let path = state.path().join("keys").join(FACTORS);
        fs::write(&path, "c2VjcmV0").unwrap();
        let error = format!("{:#}", SshKeys::read(state.path()).err().unwrap());
        assert!(
            error.contains("factors") && !error.contains("c2Vj"),
            "{error}"
        );
    }

    #[test]
    fn the_logs_public_key_reads_back_and_a_changed_one_does_not() {
        let line = verifier_line("bastion-1", &[7; 32]);
        let read = verifier_from_line(&line).unwrap();
        assert_eq!(
            (read.name.as_str(), read.public_key),
            ("bastion-1", [7; 32])
        );
        assert!(verifier_from_line(&line.replace("bastion-1", "bastion-2")).is_none());
        assert!(verifier_from_line("bastion-1").is_none());
    }

    fn contents(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(state.join("keys"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect();
        all.sort();
        all
    }
}
