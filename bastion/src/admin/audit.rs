//! `bastion audit export` and `bastion audit verify`: the log as lines, and whether it holds.

use crate::admin::{command_line, open_existing};
use crate::cli::{AuditExport, AuditVerify, Place};
use crate::{Outcome, clock, say, secrets};
use access::Event;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use store::AuditVerifier;
use store::audit::VerifyReport;

/// Writes the log to standard output. That it left the bastion is its own last entry.
pub(crate) async fn export(asked: AuditExport) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let event = Event::new("audit.exported", command_line(), "audit log", clock::now());
    store.append(event).await?;
    let mut out = io::BufWriter::new(io::stdout());
    store::audit::export(&store, &mut out).await?;
    out.flush().context("cannot write to standard output")?;
    store.close().await;
    Ok(Outcome::Fine)
}

/// Checks the log, in its database or as it was exported, and says every problem.
pub(crate) async fn verify(asked: AuditVerify) -> Result<Outcome> {
    let key = public_key(&asked)?;
    let report = if let Some(path) = &asked.export {
        let cannot = || format!("cannot read `{}`", path.display());
        let file = File::open(path).with_context(cannot)?;
        store::audit::verify_export(BufReader::new(file), &key).with_context(cannot)?
    } else {
        let mut config = place(&asked).config()?;
        config.database = asked.database.clone().or(config.database);
        let store = open_existing(&config).await?;
        let report = store::audit::verify(&store, &key).await;
        store.close().await;
        report?
    };
    said(&report)
}

fn said(report: &VerifyReport) -> Result<Outcome> {
    for problem in &report.problems {
        say::line(format_args!("FAILED  {}", say::visible(problem)))?;
    }
    let counted = format!(
        "{} entries, {} checkpoints; signed up to entry {}",
        report.entries, report.checkpoints, report.signed
    );
    if report.problems.is_empty() {
        say::line(format_args!("ok      the log holds: {counted}"))?;
        return Ok(Outcome::Fine);
    }
    say::line(format_args!("FAILED  the log does not hold: {counted}"))?;
    Ok(Outcome::Failed)
}

fn public_key(asked: &AuditVerify) -> Result<AuditVerifier> {
    match &asked.key {
        Some(path) => secrets::read_audit_public(path),
        None => secrets::audit_public(&state(asked)?),
    }
}

fn state(asked: &AuditVerify) -> Result<PathBuf> {
    Ok(place(asked).config()?.state)
}

fn place(asked: &AuditVerify) -> Place {
    Place {
        config: asked.config.clone(),
        state: asked.state.clone(),
    }
}
