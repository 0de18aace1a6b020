//! `bastion factor …`: the passkeys and code generators of a person, and taking a lost or stolen
//! one out of use when its holder cannot.

use crate::admin::invite::holder;
use crate::admin::{command_line, open_existing};
use crate::cli::{FactorList, FactorRevoke};
use crate::{Outcome, clock, say};
use access::Event;
use access::second_factor::{Holder, Proof, SecondFactor};
use anyhow::{Context as _, Result, bail};
use store::Store;

/// Lists what a person can prove himself with.
pub(crate) async fn list(asked: FactorList) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let factors = factors(&store, &asked.login).await;
    store.close().await;
    let factors = factors?;
    if factors.is_empty() {
        say::line(format_args!("{} has no factor", asked.login))?;
    }
    for factor in factors {
        say::line(told(&factor))?;
    }
    Ok(Outcome::Fine)
}

/// Takes one out of use, with a reason, and ends every web sign-in of its holder.
pub(crate) async fn revoke(asked: FactorRevoke) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let done = revoke_in(&store, &asked).await;
    store.close().await;
    let (factor, sign_ins) = done?;
    say::line(format_args!(
        "{} is out of use; {sign_ins} web sign-in(s) of {} ended",
        asked.factor, asked.login
    ))?;
    say::line(format_args!(
        "SSH sessions that were opened with it end within seconds."
    ))?;
    if factor.strength() == Proof::Passkey {
        say::line(format_args!(
            "For a new passkey: bastion invite {}",
            asked.login
        ))?;
    }
    Ok(Outcome::Fine)
}

async fn revoke_in(store: &Store, asked: &FactorRevoke) -> Result<(SecondFactor, u64)> {
    let mine = factors(store, &asked.login).await?;
    let Some(factor) = mine.into_iter().find(|one| one.id == asked.factor) else {
        bail!(
            "{} has no factor `{}` in use; `bastion factor list {0}` lists them",
            asked.login,
            asked.factor
        );
    };
    let (by, now) = (command_line(), clock::now());
    let subject = factor.holder.who().to_string();
    let ended = Event::new("sign_in.ended", by.clone(), subject, now)
        .with("because_of", format!("second_factor {}", factor.id));
    let revoked = factor.clone().revoke_because(&asked.reason, by, now)?;
    let sign_ins = store
        .revoke_and_sign_out(revoked, ended)
        .await
        .context("cannot take the factor out of use")?;
    Ok((factor, sign_ins))
}

async fn factors(store: &Store, login: &str) -> Result<Vec<SecondFactor>> {
    let holder: Holder = holder(store, login).await?;
    Ok(store.factors(&holder).await?)
}

/// A factor on one line; never its secret.
fn told(factor: &SecondFactor) -> String {
    let kind = match factor.strength() {
        Proof::Passkey => "passkey",
        Proof::Totp => "code generator",
    };
    format!(
        "{}  {kind}  enrolled {}",
        factor.id,
        factor.enrolled_at.rfc3339()
    )
}
