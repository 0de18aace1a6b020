//! `bastion audit export` and `bastion audit verify`: the log as lines, and whether it holds.

use crate::admin::{command_line, open_existing, open_to_read};
use crate::cli::{AuditExport, AuditVerify, Place};
use crate::{Outcome, checkpoints, clock, say, secrets};
use access::Event;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use store::AuditVerifier;
use store::audit::{Notes, VerifyReport};

/// Writes the log to standard output. That it left the bastion is its own last entry.
pub(crate) async fn export(asked: AuditExport) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let event = Event::new("audit.exported", command_line(), "audit log", clock::now());
    store.append(event).await?;
    checkpoints::sign_after_command(&store, &config).await;
    let mut out = io::BufWriter::new(io::stdout());
    store::audit::export(&store, &mut out).await?;
    out.flush().context("cannot write to standard output")?;
    store.close().await;
    Ok(Outcome::Fine)
}

/// Checks the log, in its database or as it was exported, and says every problem. Writes nothing.
pub(crate) async fn verify(asked: AuditVerify) -> Result<Outcome> {
    let key = public_key(&asked)?;
    // Read before the log: whatever is signed meanwhile comes after both.
    let beside = Beside::read(&asked, &key)?;
    let report = if let Some(path) = &asked.export {
        let cannot = || format!("cannot read `{}`", path.display());
        let file = BufReader::new(File::open(path).with_context(cannot)?);
        store::audit::verify_export_with(file, &key, beside.notes()).with_context(cannot)?
    } else {
        let mut config = place(&asked).config()?;
        config.database = asked.database.clone().or(config.database);
        let store = open_to_read(&config).await?;
        let report = store::audit::verify_with(&store, &key, beside.notes()).await;
        store.close().await;
        report?
    };
    said(&report.at(clock::now()), &beside)
}

/// The checkpoints that were written beside the database, or that somebody kept elsewhere.
enum Beside {
    Kept(PathBuf, Notes),
    Missing(PathBuf, Notes),
    NotNamed(Notes),
}

impl Beside {
    fn read(asked: &AuditVerify, key: &AuditVerifier) -> Result<Self> {
        let whole_state = asked.database.is_none() && asked.export.is_none();
        let (path, named) = match &asked.checkpoints {
            Some(path) => (path.clone(), true),
            None if whole_state => (checkpoints::file(&place(asked).config()?.state), false),
            None => return Ok(Self::NotNamed(Notes::default())),
        };
        match std::fs::read(&path) {
            Ok(bytes) => {
                let notes = Notes::read(&String::from_utf8_lossy(&bytes), key);
                Ok(Self::Kept(path, notes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => {
                Ok(Self::Missing(path, Notes::default()))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    const fn notes(&self) -> &Notes {
        match self {
            Self::Kept(_, notes) | Self::Missing(_, notes) | Self::NotNamed(notes) => notes,
        }
    }

    /// What it was worth, one line each.
    fn lines(&self) -> Vec<String> {
        const UNSEEN: &str = "a tail that was cut together with its checkpoints would not show";
        match self {
            Self::Kept(path, notes) => {
                let path = path.display();
                let torn = notes.torn.iter().map(|torn| format!("`{path}`: {torn}"));
                let mut lines: Vec<String> = torn.collect();
                if notes.count() == 0 {
                    lines.push(format!("`{path}` has no checkpoint: {UNSEEN}"));
                }
                lines
            }
            Self::Missing(path, _) => vec![format!("`{}` is missing: {UNSEEN}", path.display())],
            Self::NotNamed(_) => vec![format!(
                "no checkpoints that were kept elsewhere were named (`--checkpoints FILE`): {UNSEEN}"
            )],
        }
    }
}

fn said(report: &VerifyReport, beside: &Beside) -> Result<Outcome> {
    for problem in &report.problems {
        say::line(format_args!("FAILED  {}", say::visible(problem)))?;
    }
    let counted = format!(
        "{} entries, {} checkpoints, {} rows; signed up to entry {}",
        report.entries, report.checkpoints, report.rows, report.signed
    );
    let outcome = if report.problems.is_empty() {
        say::line(format_args!("ok      the log holds: {counted}"))?;
        Outcome::Fine
    } else {
        say::line(format_args!("FAILED  the log does not hold: {counted}"))?;
        Outcome::Failed
    };
    for line in beside.lines() {
        say::line(format_args!("note    {}", say::visible(&line)))?;
    }
    Ok(outcome)
}

fn public_key(asked: &AuditVerify) -> Result<AuditVerifier> {
    match &asked.key {
        Some(path) => secrets::read_audit_public(path),
        None => secrets::audit_public(&place(asked).config()?.state),
    }
}

fn place(asked: &AuditVerify) -> Place {
    Place {
        config: asked.config.clone(),
        state: asked.state.clone(),
    }
}
