//! Certificates of operators: the short-lived ones that the bastion issues for work at which nobody
//! can be asked, and those of an authority that is declared for a person, which count as his key.
//!
//! The library has checked the signatures, that the certificate's key signed, and the dates;
//! everything else that makes a certificate good is checked here (OpenSSH `PROTOCOL.certkeys`).

use super::Front;
use super::key_strength;
use super::login::Login;
use super::session::{self, Proven};
use crate::{clock, secrets};
use access::certificate::CertificateRequest;
use access::credentials::Certified;
use access::decide::LoginAge;
use access::operator::Network;
use access::session::FactorUse;
use access::{Certificate, CertificateId, Operator, Time};
use anyhow::{Context as _, Result, bail};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate as Signed, HashAlg, PublicKey};
use std::net::IpAddr;
use std::time::Duration;
use tracing::warn;

/// What a certificate may be valid before it was made: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_mins(1);
const SOURCE_ADDRESS: &str = "source-address";
/// How long after the second factor was given a certificate is issued on its strength.
const ASKED_LATELY: Duration = Duration::from_mins(10);
/// Of one person at a time.
const MOST_IN_USE: usize = 32;
/// How much of a name that an authority gave is kept.
const LONGEST_NAME: usize = 64;

/// Issues one for the key in `text` to whoever is on this connection, and says what to save.
pub(crate) async fn issue(
    front: &Front,
    proven: &Proven,
    text: &str,
    lasts: Duration,
) -> Result<(Certificate, String)> {
    let key = PublicKey::from_openssh(text.trim()).map_err(|_| {
        anyhow::anyhow!(
            "this is not a public key in OpenSSH's format (`ssh-ed25519 AAAA…`); send one on standard input, as in   certificate < key.pub"
        )
    })?;
    is_certifiable(key.key_data())?;
    let wanted = CertificateRequest {
        key: key.fingerprint(HashAlg::Sha256).to_string(),
        lasts,
    };
    // The key may have been long in coming.
    if let Err(barred) = session::may_stay(front, proven).await {
        bail!("{}", barred.in_short().1);
    }
    if proven.at.age(ASKED_LATELY, session::proven_now()) == LoginAge::Old {
        bail!(
            "the second factor was given more than {} minutes ago; connect again",
            ASKED_LATELY.as_secs() / 60
        );
    }
    let now = clock::now();
    belongs_to_nobody_else(front, proven, &wanted.key).await?;
    let in_use = front
        .store
        .certificates_in_use(Some(&proven.operator), now)
        .await
        .context("the bastion's database does not answer; try again")?;
    if in_use.len() >= MOST_IN_USE {
        bail!(
            "{MOST_IN_USE} certificates of yours are in use; revoke one with   certificate --revoke ID"
        );
    }
    let issued = Certificate::issue(
        CertificateId::from_random(secrets::random::<16>()?),
        proven.operator.clone(),
        wanted,
        proven.credentials.clone(),
        proven.factor,
        proven.source,
        now,
    )?;
    // Signed first: what cannot be signed is not in the log as issued.
    let signed = sign(front, issued.value(), &key).context("the certificate cannot be signed")?;
    let issued = front
        .store
        .save(issued)
        .await
        .context("the bastion's database does not answer; try again")?;
    Ok((issued, signed))
}

/// With somebody else's key in the certificate, he would be this person.
async fn belongs_to_nobody_else(front: &Front, proven: &Proven, key: &str) -> Result<()> {
    let everybody = front
        .store
        .operators()
        .await
        .context("the bastion's database does not answer; try again")?;
    if everybody
        .iter()
        .any(|one| one.id != proven.operator && one.holds(key))
    {
        bail!("this is somebody else's key; send one of your own");
    }
    Ok(())
}

fn sign(front: &Front, issued: &Certificate, key: &PublicKey) -> Result<String> {
    let nonce = secrets::random::<16>()?;
    let after = u64::try_from(issued.issued_at.minus(CLOCK_SKEW).seconds())?;
    let before = u64::try_from(issued.ends_at.seconds())?;
    let mut builder = Builder::new(nonce, key, after, before)?;
    builder.cert_type(CertType::User)?;
    builder.valid_principal(issued.operator.as_str())?;
    builder.key_id(issued.id.as_str())?;
    builder.critical_option(SOURCE_ADDRESS, issued.source.to_canonical().to_string())?;
    let mut signed = builder.sign(&front.keys.operator_ca)?;
    signed.set_comment(format!("{} {}", issued.operator, issued.id));
    Ok(signed.to_openssh()?)
}

/// Why nobody is let in with a certificate.
#[derive(Debug, thiserror::Error)]
#[error("{because}")]
pub(crate) struct NotTaken {
    because: String,
    /// What is missing, where that has a code.
    pub(crate) code: Option<&'static str>,
}

fn not_taken(because: impl Into<String>) -> NotTaken {
    NotTaken {
        because: because.into(),
        code: None,
    }
}

fn missing(code: &'static str, because: String) -> NotTaken {
    NotTaken {
        because,
        code: Some(code),
    }
}

/// Who shows a certificate of the bastion's own, with what it stands for. `None` where it is
/// another authority's.
pub(crate) async fn of_our_own(
    front: &Front,
    login: &Login,
    shown: &Signed,
    source: IpAddr,
) -> Option<Result<Proven, NotTaken>> {
    if shown.signature_key() != front.keys.operator_ca.public_key().key_data() {
        return None;
    }
    Some(stands_for(front, login, shown, source).await)
}

async fn stands_for(
    front: &Front,
    login: &Login,
    shown: &Signed,
    source: IpAddr,
) -> Result<Proven, NotTaken> {
    names(shown, login, source)?;
    let id = CertificateId::parse(shown.key_id()).map_err(|error| not_taken(error.to_string()))?;
    let known = front.store.certificate(&id).await.map_err(|error| {
        warn!(%error, "a certificate could not be read");
        not_taken("the database does not answer")
    })?;
    let known = known.ok_or_else(|| not_taken(format!("certificate `{id}` was never issued")))?;
    let key = PublicKey::from(shown.public_key().clone());
    let key = key.fingerprint(HashAlg::Sha256).to_string();
    let credentials = known
        .credentials(&login.operator, &key, source, clock::now())
        .map_err(|refused| missing(refused.code, refused.sentence))?;
    let proven = Proven {
        operator: login.operator.clone(),
        credentials,
        // It was not given on this connection.
        factor: FactorUse::Reused,
        source,
        at: session::proven_now(),
    };
    match session::may_stay(front, &proven).await {
        Ok(()) => Ok(proven),
        Err(barred) => {
            let (code, sentence) = barred.in_short();
            Err(missing(code, sentence))
        }
    }
}

/// What is noted as the person's key where an authority that is declared for him signed this, and
/// which key that is.
pub(crate) fn as_key(
    operator: &Operator,
    login: &Login,
    shown: &Signed,
    source: IpAddr,
) -> Result<(String, Certified), NotTaken> {
    let authority = PublicKey::from(shown.signature_key().clone());
    let key = format!(
        "{}{}",
        access::operator::CERT_AUTHORITY,
        authority.fingerprint(HashAlg::Sha256)
    );
    if !operator.holds(&key) {
        return Err(not_taken(format!("`{key}` is not declared for the person")));
    }
    names(shown, login, source)?;
    let certified = Certified {
        key: PublicKey::from(shown.public_key().clone())
            .fingerprint(HashAlg::Sha256)
            .to_string(),
        name: shown.key_id().escape_debug().take(LONGEST_NAME).collect(),
        until: until(shown),
    };
    Ok((key, certified))
}

/// When it ends; one without an end (2^64 - 1) ends with time itself.
fn until(shown: &Signed) -> Time {
    let seconds = i64::try_from(shown.valid_before()).unwrap_or(i64::MAX);
    Time::from_micros(seconds.saturating_mul(1_000_000))
}

/// A user's certificate, of a strong key, for this person by name, from this address, under no
/// condition that is not understood (`force-command`, `verify-required`, …).
fn names(shown: &Signed, login: &Login, source: IpAddr) -> Result<(), NotTaken> {
    if shown.cert_type() != CertType::User {
        return Err(not_taken("it is no user's certificate"));
    }
    let now = u64::try_from(clock::now().seconds()).unwrap_or_default();
    if !(shown.valid_after()..shown.valid_before()).contains(&now) {
        return Err(not_taken("it is not valid now"));
    }
    is_certifiable(shown.public_key()).map_err(|error| not_taken(error.to_string()))?;
    is_certifiable(shown.signature_key()).map_err(|error| not_taken(error.to_string()))?;
    // One that names nobody would be everybody's.
    let principals = shown.valid_principals();
    if !principals
        .iter()
        .any(|name| name == login.operator.as_str())
    {
        return Err(not_taken(format!("it does not name `{}`", login.operator)));
    }
    for (option, value) in shown.critical_options().iter() {
        if option != SOURCE_ADDRESS {
            return Err(not_taken(format!("its option `{option}` is not supported")));
        }
        let networks: Option<Vec<Network>> = value
            .split(',')
            .map(|network| Network::parse(network.trim()).ok())
            .collect();
        let inside = networks.is_some_and(|all| all.iter().any(|one| one.contains(source)));
        if !inside {
            return Err(not_taken("it is for another address"));
        }
    }
    Ok(())
}

/// RSA is left out: which hash a certificate's key signed with is not told, and it may be SHA-1.
fn is_certifiable(key: &KeyData) -> Result<()> {
    let key = PublicKey::from(key.clone());
    key_strength::may_be_declared(&key)?;
    if matches!(key.key_data(), KeyData::Rsa(_)) {
        bail!(
            "certificates are taken for ed25519 and ecdsa keys; make one with   ssh-keygen -t ed25519"
        );
    }
    Ok(())
}
