//! Certificates for work without prompts.

use crate::clock;
use crate::ssh::Front;
use crate::ssh::certificate;
use crate::ssh::console::Console;
use crate::ssh::session::Proven;
use access::{Certificate, CertificateId, Time, Who};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a program has to send the key that a certificate is for.
const KEY_PATIENCE: Duration = Duration::from_secs(30);

/// It stands for your key and your second factor, from the address you come from now.
#[derive(Args)]
pub(super) struct CertificateAsked {
    /// How long it lasts, such as 90m or 4h
    #[arg(long, value_name = "DURATION", value_parser = clock::duration, default_value = "1h")]
    lasts: Duration,
    /// List those of yours that are in use
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Take one out of use; what it opened ends
    #[arg(long, value_name = "CERTIFICATE", value_parser = CertificateId::parse)]
    revoke: Option<CertificateId>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn certificate(
    front: &Front,
    proven: &Proven,
    asked: &CertificateAsked,
    console: &mut Console,
) -> Result<String> {
    let now = clock::now();
    if let Some(id) = &asked.revoke {
        let known = front.store.certificate(id).await?;
        let Some(known) = known.filter(|one| one.operator == proven.operator) else {
            bail!("you have no certificate `{id}`; `certificate --list` lists yours");
        };
        let by = Who::Operator(proven.operator.clone());
        let revoked = front.store.save(known.revoke("no longer needed", by, now)?);
        let revoked = revoked.await?;
        return Ok(if asked.json {
            about_certificate(&revoked).to_string()
        } else {
            format!("{} is out of use", revoked.id)
        });
    }
    if asked.list {
        let mine = front.store.certificates_in_use(Some(&proven.operator), now);
        let mine = mine.await?;
        if asked.json {
            let rows: Vec<Value> = mine.iter().map(about_certificate).collect();
            return Ok(json!({ "certificates": rows }).to_string());
        }
        let lines: Vec<String> = mine
            .iter()
            .map(|one| {
                format!(
                    "{}  until {}  from {}  for {}",
                    one.id, one.ends_at, one.source, one.key
                )
            })
            .collect();
        return Ok(if lines.is_empty() {
            "No certificate of yours is in use.".to_owned()
        } else {
            lines.join("\n")
        });
    }
    let key = tokio::time::timeout(KEY_PATIENCE, console.read())
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    let (issued, signed) = certificate::issue(front, proven, &key, asked.lasts).await?;
    Ok(if asked.json {
        let mut about = about_certificate(&issued);
        if let Some(about) = about.as_object_mut() {
            about.insert("certificate".to_owned(), signed.into());
        }
        about.to_string()
    } else {
        signed
    })
}

fn about_certificate(one: &Certificate) -> Value {
    json!({
        "id": one.id, "key": one.key, "source": one.source,
        "from": one.issued_at.rfc3339(), "until": one.ends_at.rfc3339(),
        "revoked": one.revoked_at.map(Time::rfc3339),
    })
}
