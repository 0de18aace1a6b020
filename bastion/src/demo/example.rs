//! Who and what exists in the demo: an example hospital, its contact, the host's people, a target.
//! Everything goes through the same transitions as anywhere else.

use super::passkey::SoftwarePasskey;
use super::visitor::Visitor;
use super::{Wanted, WantedTarget};
use crate::config::Config;
use crate::secrets::{self, SshKeys};
use crate::{admin, clock};
use access::actor::ActorKind;
use access::contact::{ContactDetails, ContactKind, Language};
use access::grant::{Basis, Operation, ReviewEvery, Scope, Terms};
use access::operator::{OperatorDetails, Role};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::target::{HealthData, TargetDetails, Tenancy};
use access::time::Window;
use access::{
    AccountName, Actor, ActorId, Contact, ContactId, Customer, CustomerId, Event, FactorId, Grant,
    GrantId, Operator, OperatorId, Target, TargetId, Who, totp,
};
use anyhow::{Context as _, Result};
use recordings::RecordingKeyPair;
use recordings::keys::wrap_private_key;
use ring::rand::SystemRandom;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::Store;

pub(crate) const CUSTOMER: &str = "chu-exemple";
pub(crate) const CONTACT: &str = "claire.martin";
pub(crate) const MANAGER: &str = "marie";
pub(crate) const SECURITY: &str = "samuel";
const HOST: &str = "infogerance-exemple";
const YEAR: Duration = Duration::from_hours(365 * 24);

/// The login of the `index`-th operator: alice, bob, then numbered ones.
pub(crate) fn operator_login(index: u32) -> String {
    match index {
        0 => "alice".to_owned(),
        1 => "bob".to_owned(),
        _ => format!("operator{}", index + 1),
    }
}

/// Where the demo keeps what its people hold.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("people")
}

/// The passkey file of a person.
pub(crate) fn passkey_file(state: &Path, login: &str) -> PathBuf {
    folder(state).join(format!("{login}.passkey"))
}

/// The private SSH key of an operator.
pub(crate) fn key_file(state: &Path, login: &str) -> PathBuf {
    folder(state).join(format!("{login}.key"))
}

/// The secret of an operator's code generator, base32.
pub(crate) fn totp_secret(state: &Path, login: &str) -> Result<String> {
    let path = folder(state).join(format!("{login}.totp"));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Registers everybody who is not there yet, and the targets as they are wanted now.
pub(crate) async fn register(store: &Store, config: &Config, wanted: &Wanted) -> Result<()> {
    let state = &config.state;
    std::fs::create_dir_all(folder(state))
        .context("cannot make the folder of the demo's people")?;
    let customer = CustomerId::parse(CUSTOMER)?;
    if store.customer(&customer).await?.is_none() {
        register_customer(store, state, &customer).await?;
    }
    for target in &wanted.targets {
        register_target(store, &customer, target).await?;
    }
    let keys = SshKeys::read(state)?;
    for index in 0..wanted.operators {
        let login = operator_login(index);
        if store.operator(&OperatorId::parse(&login)?).await?.is_none() {
            register_operator(store, state, &keys, &customer, &login, &wanted.targets).await?;
        }
    }
    Ok(())
}

async fn register_customer(store: &Store, state: &Path, id: &CustomerId) -> Result<()> {
    let (by, now) = (by(), clock::now());
    let pair = RecordingKeyPair::generate(&SystemRandom::new())?;
    let master = secrets::recording_master(state)?;
    let wrapped = wrap_private_key(&master, &pair.private, id.as_str().as_bytes())?;

    let host = ActorId::parse(HOST)?;
    let customer = Customer::register(
        id.clone(),
        "CHU Exemple",
        &pair.public.to_base64(),
        by.clone(),
        now,
    )?;
    let actor = Actor::register(
        host.clone(),
        "Infogérance Exemple",
        ActorKind::Host,
        by.clone(),
        now,
    )?;
    let contact = Contact::register(
        ContactId::parse(CONTACT)?,
        id.clone(),
        ContactDetails {
            name: "Claire Martin".to_owned(),
            email: "claire.martin@chu.example".to_owned(),
            kinds: BTreeSet::from([
                ContactKind::Approver,
                ContactKind::Health,
                ContactKind::Incident,
            ]),
            language: Language::French,
            deputy: None,
        },
        by.clone(),
        now,
    )?;
    let mut changes = vec![customer.into(), actor.into(), contact.into()];
    for (login, name, role) in [
        (MANAGER, "Marie Dupont", Role::Manager),
        (SECURITY, "Samuel Petit", Role::Security),
    ] {
        let details = details(&host, name, login, role, Vec::new());
        changes
            .push(Operator::register(OperatorId::parse(login)?, details, by.clone(), now)?.into());
    }
    let kept =
        Event::new("recording_key.created", by, format!("customer {id}"), now).of_customer(id);
    store.keep_recording_key(id, &wrapped, kept).await?;
    store.save_all(changes).await?;
    Ok(())
}

async fn register_target(
    store: &Store,
    customer: &CustomerId,
    wanted: &WantedTarget,
) -> Result<()> {
    let (by, now) = (by(), clock::now());
    let details = TargetDetails {
        customer: customer.clone(),
        address: wanted.address.clone(),
        host_keys: vec![wanted.host_key.clone()],
        accounts: BTreeSet::from([wanted.account.clone()]),
        tenancy: Tenancy::Dedicated,
        health_data: HealthData::Holds,
    };
    let id = TargetId::parse(&wanted.name)?;
    let changed = match store.target(&id).await? {
        Some(known) if known.details == details => return Ok(()),
        Some(known) => known.amend(details, by, now)?,
        None => Target::register(id, details, by, now)?,
    };
    store.save(changed).await?;
    Ok(())
}

async fn register_operator(
    store: &Store,
    state: &Path,
    keys: &SshKeys,
    customer: &CustomerId,
    login: &str,
    targets: &[WantedTarget],
) -> Result<()> {
    let (by, now) = (by(), clock::now());
    let id = OperatorId::parse(login)?;
    let public = new_key(&key_file(state, login), login)?;
    let details = details(
        &ActorId::parse(HOST)?,
        &format!("{login} Exemple"),
        login,
        Role::Operator,
        vec![public],
    );
    let operator = Operator::register(id.clone(), details, by.clone(), now)?;

    let secret = secrets::random::<{ totp::SECRET_BYTES }>()?;
    let factor = FactorId::from_random(secrets::random()?);
    let sealed_secret = keys
        .factors
        .seal(factor.as_str(), &secret, secrets::random()?)?;
    let file = folder(state).join(format!("{login}.totp"));
    secrets::create(
        &file,
        format!("{}\n", *totp::base32(&secret)).as_bytes(),
        0o600,
    )?;
    let holder = Holder::Operator(id.clone());
    let factor = SecondFactor::enrol(
        factor,
        holder,
        Factor::Totp { sealed_secret },
        by.clone(),
        now,
    );

    let terms = Terms {
        operator: id,
        customer: customer.clone(),
        scope: Scope {
            targets: targets
                .iter()
                .map(|target| TargetId::parse(&target.name))
                .collect::<Result<_, _>>()?,
            accounts: targets
                .iter()
                .map(|target| target.account.clone())
                .collect(),
            operations: BTreeSet::from([
                Operation::Shell,
                Operation::Exec,
                Operation::Upload,
                Operation::Download,
                Operation::Forward,
            ]),
        },
        justification: "Administration du système d'exemple, contrat de démonstration".to_owned(),
        basis: Basis::Contract,
        validity: Window::new(now, now.plus(YEAR * 2))?,
        review_every: ReviewEvery::Year,
    };
    let proposed = Grant::propose(
        GrantId::from_random(secrets::random()?),
        terms,
        by.clone(),
        now,
    )?;
    store.save_all(vec![operator.into(), factor.into()]).await?;
    let proposed = store.save(proposed).await?;
    store.save(proposed.accept_in_setup(by, now)?).await?;
    Ok(())
}

/// Gives everybody who works at a browser a passkey in a file, enrolled through the pages.
/// The web side is being served already.
pub(crate) async fn enrol_passkeys(store: &Store, config: &Config) -> Result<()> {
    let people = [
        (
            Holder::Contact(ContactId::parse(CONTACT)?),
            CONTACT,
            &config.web.customer_url,
        ),
        (
            Holder::Operator(OperatorId::parse(MANAGER)?),
            MANAGER,
            &config.web.host_url,
        ),
        (
            Holder::Operator(OperatorId::parse(SECURITY)?),
            SECURITY,
            &config.web.host_url,
        ),
    ];
    for (holder, login, url) in people {
        enrol_passkey(store, config, holder, login, url).await?;
    }
    Ok(())
}

/// Enrols one person's passkey, unless there is one.
async fn enrol_passkey(
    store: &Store,
    config: &Config,
    holder: Holder,
    login: &str,
    url: &str,
) -> Result<()> {
    let file = passkey_file(&config.state, login);
    if file.exists() {
        return Ok(());
    }
    let address = admin::invite::new_address(store, config, holder).await?;
    let token = address
        .split_once('#')
        .context("an invitation without a token")?
        .1
        .to_owned();
    let passkey = SoftwarePasskey::new(login, url)?;
    passkey.keep(&file)?;
    let visitor = Visitor::new(passkey);
    tokio::task::spawn_blocking(move || visitor.enrol(&token))
        .await
        .context("a thread ended")?
        .with_context(|| format!("the passkey of `{login}` could not be enrolled"))
}

fn details(
    actor: &ActorId,
    name: &str,
    login: &str,
    role: Role,
    keys: Vec<String>,
) -> OperatorDetails {
    OperatorDetails {
        name: name.to_owned(),
        email: format!("{login}@infogerance.example"),
        actor: actor.clone(),
        roles: BTreeSet::from([role]),
        keys,
        sources: Vec::new(),
        language: Language::French,
    }
}

/// A new ed25519 key in `path`; returns its public half.
pub(crate) fn new_key(path: &Path, comment: &str) -> Result<String> {
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&secrets::random()?));
    key.set_comment(comment.to_owned());
    secrets::create(path, key.to_openssh(LineEnding::LF)?.as_bytes(), 0o600)?;
    Ok(key.public_key().to_openssh()?)
}

/// Who set the demo up.
pub(crate) fn by() -> Who {
    Who::CommandLine("demo".to_owned())
}

/// An account as it stands in an argument.
pub(crate) fn account(text: &str) -> Result<AccountName> {
    AccountName::parse(text).with_context(|| format!("`{text}`"))
}
