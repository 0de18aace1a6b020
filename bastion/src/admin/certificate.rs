//! `bastion certificate …`: the short-lived certificates of operators, and taking one out of use.

use crate::admin::{command_line, open_existing};
use crate::cli::{CertificateList, CertificateRevoke};
use crate::{Outcome, clock, say};
use access::Certificate;
use anyhow::{Result, bail};
use store::Store;

/// Lists those that stand for something now.
pub(crate) async fn list(asked: CertificateList) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let found = store
        .certificates_in_use(asked.login.as_ref(), clock::now())
        .await;
    store.close().await;
    let found = found?;
    if found.is_empty() {
        say::line(format_args!("no certificate is in use"))?;
    }
    for one in found {
        say::line(told(&one))?;
    }
    Ok(Outcome::Fine)
}

/// Takes one out of use, with a reason.
pub(crate) async fn revoke(asked: CertificateRevoke) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let done = revoke_in(&store, &asked).await;
    store.close().await;
    let revoked = done?;
    say::line(format_args!(
        "{} of {} is out of use; SSH sessions that were opened with it end within seconds",
        revoked.id, revoked.operator
    ))?;
    Ok(Outcome::Fine)
}

async fn revoke_in(store: &Store, asked: &CertificateRevoke) -> Result<Certificate> {
    let Some(known) = store.certificate(&asked.certificate).await? else {
        bail!(
            "there is no certificate `{}`; `bastion certificate list` lists those in use",
            asked.certificate
        );
    };
    let revoked = known.revoke(&asked.reason, command_line(), clock::now())?;
    Ok(store.save(revoked).await?)
}

fn told(one: &Certificate) -> String {
    format!(
        "{}  {}  until {}  from {}  for {}",
        one.id,
        one.operator,
        one.ends_at.rfc3339(),
        one.source,
        one.key
    )
}
