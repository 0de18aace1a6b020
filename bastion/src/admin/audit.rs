//! `bastion audit export` and `bastion audit verify`: the log as lines, and whether it holds.

use crate::admin::{command_line, open_existing};
use crate::cli::{AuditExport, AuditVerify, Place};
use crate::config::Config;
use crate::{Outcome, clock, say, secrets, watch};
use access::Event;
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use store::audit::VerifyReport;
use store::{AuditVerifier, Store};

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
        let report = verify_both(&store, &key, &asked, &config).await;
        store.close().await;
        report?
    };
    said(&report)
}

/// The database, and the checkpoints that were written beside it: a log that was cut together with
/// its checkpoints agrees with itself, and not with those.
async fn verify_both(
    store: &Store,
    key: &AuditVerifier,
    asked: &AuditVerify,
    config: &Config,
) -> Result<VerifyReport> {
    let mut report = store::audit::verify(store, key).await?;
    let beside = config.state.join(watch::CHECKPOINTS);
    if asked.database.is_some() || !beside.exists() {
        return Ok(report);
    }
    let text = std::fs::read_to_string(&beside)
        .with_context(|| format!("cannot read `{}`", beside.display()))?;
    let known: HashMap<i64, [u8; 32]> = store
        .checkpoints(i64::MAX)
        .await?
        .into_iter()
        .map(|checkpoint| (checkpoint.size, checkpoint.root))
        .collect();
    report.problems.extend(strays(&text, &known, key));
    Ok(report)
}

/// What the notes beside the database say otherwise than the database.
fn strays(text: &str, known: &HashMap<i64, [u8; 32]>, key: &AuditVerifier) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = text.split_terminator("\n\n").collect();
    for (number, note) in parts.chunks(2).enumerate() {
        let note = format!("{}\n", note.join("\n\n"));
        let name = format!("note {} of `{}`", number + 1, watch::CHECKPOINTS);
        match key.open(&note) {
            Ok((size, root)) => match known.get(&size) {
                Some(kept) if *kept == root => {}
                Some(_) => problems.push(format!(
                    "{name} signs another log of `{size}` entries than the database keeps"
                )),
                None => problems.push(format!(
                    "{name} covers `{size}` entries, and the database has no such checkpoint: the log was cut or rewritten"
                )),
            },
            Err(error) => problems.push(format!("{name} does not verify: {error}")),
        }
    }
    problems
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
