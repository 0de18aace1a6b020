//! `bastion init`: keys, database, the first administrator. No default password exists: he gets a
//! single-use address to enrol his passkey.

use crate::admin::{command_line, invite, open_store, operator_key};
use crate::cli::Init;
use crate::{Outcome, checkpoints, clock, say, secrets};
use access::actor::ActorKind;
use access::contact::Language;
use access::operator::{OperatorDetails, Role};
use access::second_factor::Holder;
use access::{Actor, ActorId, Event, Operator};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use store::Store;

/// The host's own short name among the actors.
const HOST: &str = "host";

/// Runs the command.
pub(crate) async fn run(asked: Init) -> Result<Outcome> {
    let config = asked.place.config()?;
    let key = std::fs::read_to_string(&asked.admin_key)
        .with_context(|| format!("cannot read `{}`", asked.admin_key.display()))?;
    let key = operator_key(&key)
        .map_err(|wrong| anyhow::anyhow!("`{}`: {wrong}", asked.admin_key.display()))?;

    let made = secrets::make(&config.state)?;
    let store = open_store(&config).await?;
    if !store.operators().await?.is_empty() {
        bail!(
            "there are operators already: `bastion apply` changes them, `bastion invite` invites them"
        );
    }
    trace_keys(&store, &made).await?;
    register(&store, &asked, key).await?;
    let holder = Holder::Operator(asked.admin.clone());
    let address = invite::new_address(&store, &config, holder).await?;
    checkpoints::sign_after_command(&store, &config).await;
    store.close().await;

    let state = config.state.display();
    say::line(format_args!("state       {state}"))?;
    say::line(format_args!(
        "keys        {state}/keys ({} made)",
        made.len()
    ))?;
    say::line(format_args!(
        "user CA     {state}/user-ca.pub   (TrustedUserCAKeys of every target)"
    ))?;
    say::line(format_args!(
        "host CA     {state}/host-ca.pub   (@cert-authority line of operators)"
    ))?;
    say::line(format_args!("first admin {}", asked.admin))?;
    say::line("")?;
    say::line("To enrol a passkey, once, within 24 hours, start `bastion serve` and open:")?;
    say::line(format_args!("  {}", *address))?;
    Ok(Outcome::Fine)
}

/// Traces which keys were made, if any.
pub(crate) async fn trace_keys(store: &Store, made: &[&str]) -> Result<()> {
    if !made.is_empty() {
        let event = Event::new("keys.created", command_line(), "keys", clock::now());
        store.append(event.with("names", made)).await?;
    }
    Ok(())
}

async fn register(store: &Store, asked: &Init, key: String) -> Result<()> {
    let (by, now) = (command_line(), clock::now());
    let actor = ActorId::parse(HOST)?;
    let host = Actor::register(
        actor.clone(),
        &asked.host_name,
        ActorKind::Host,
        by.clone(),
        now,
    )?;
    let details = OperatorDetails {
        name: asked.admin_name.clone(),
        email: asked.admin_email.clone(),
        actor,
        roles: BTreeSet::from([Role::Admin]),
        keys: vec![key],
        sources: Vec::new(),
        language: Language::default(),
    };
    let admin = Operator::register(asked.admin.clone(), details, by, now)?;
    store.save_all(vec![host.into(), admin.into()]).await?;
    Ok(())
}
