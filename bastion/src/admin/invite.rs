//! `bastion invite LOGIN`: a new single-use address to enrol a passkey.

use crate::admin::{command_line, open_existing};
use crate::cli::Invite;
use crate::config::Config;
use crate::{Outcome, checkpoints, clock, say, secrets};
use access::second_factor::Holder;
use access::{ContactId, OperatorId};
use anyhow::{Context as _, Result, bail};
use std::time::Duration;
use store::Store;
use zeroize::Zeroizing;

/// How long an invitation can be used.
const LIFETIME: Duration = Duration::from_hours(24);

/// Runs the command.
pub(crate) async fn run(asked: Invite) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let holder = holder(&store, &asked.login).await?;
    let enrolled = store.factors(&holder).await?.len();
    let address = new_address(&store, &config, holder).await?;
    checkpoints::sign_after_command(&store, &config).await;
    store.close().await;
    say::line(format_args!(
        "To enrol a passkey, once, within 24 hours:\n  {}",
        *address
    ))?;
    if enrolled > 0 {
        say::line(format_args!(
            "{} has {enrolled} factor(s) already. Whoever opens this address adds one: hand it over in person. No second person is asked yet.",
            asked.login
        ))?;
    }
    Ok(Outcome::Fine)
}

/// Makes an invitation for `holder` and returns its address, which is a secret until it is used.
pub(crate) async fn new_address(
    store: &Store,
    config: &Config,
    holder: Holder,
) -> Result<Zeroizing<String>> {
    let url = match &holder {
        Holder::Operator(_) => &config.web.host_url,
        Holder::Contact(_) => &config.web.customer_url,
    };
    let token = secrets::random::<32>()?;
    let (by, now) = (command_line(), clock::now());
    let address = approval_web::invite(store, url, holder, by, LIFETIME, token, now)
        .await
        .context("cannot make an invitation")?;
    Ok(Zeroizing::new(address))
}

/// Whom a login means: `alice`, or `operator:alice` and `contact:alice` where both exist.
pub(crate) async fn holder(store: &Store, login: &str) -> Result<Holder> {
    let (kind, name) = match login.split_once(':') {
        Some((kind, name)) => (Some(kind), name),
        None => (None, login),
    };
    let operator = match OperatorId::parse(name) {
        Ok(id) if kind != Some("contact") => store.operator(&id).await?.map(|o| o.id),
        Ok(_) | Err(_) => None,
    };
    let contact = match ContactId::parse(name) {
        Ok(id) if kind != Some("operator") => store.contact(&id).await?.map(|c| c.id),
        Ok(_) | Err(_) => None,
    };
    match (operator, contact) {
        (Some(operator), None) => Ok(Holder::Operator(operator)),
        (None, Some(contact)) => Ok(Holder::Contact(contact)),
        (Some(_), Some(_)) => {
            bail!(
                "`{name}` is an operator and a contact; say `operator:{name}` or `contact:{name}`"
            )
        }
        (None, None) => bail!(
            "there is no operator and no contact `{}`",
            name.escape_debug()
        ),
    }
}
