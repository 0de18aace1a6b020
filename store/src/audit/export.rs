//! The log as JSON lines that verify without any database: `{"entry":…}` with the canonical JSON
//! that the tree hashes, and `{"checkpoint":…}` after the last entry it covers.

use super::note::AuditVerifier;
use super::notes::Notes;
use super::tree::Growing;
use super::verify::{VerifyReport, read_text};
use crate::engine::Store;
use crate::error::StoreError;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use tlog_tiles::{Hash, record_hash};

const PAGE: i64 = 1000;

/// An export that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the log could not be read")]
    Store(#[from] StoreError),
    #[error("the export could not be written")]
    Write(#[from] std::io::Error),
}

/// Writes the whole log as it stands now.
pub async fn export(store: &Store, mut out: impl Write) -> Result<(), ExportError> {
    let head = store.head().await?;
    let mut after = 0;
    while after < head {
        let entries = store.entries(after, PAGE.min(head - after)).await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            break;
        };
        let mut checkpoints = store
            .checkpoints_after(after, PAGE)
            .await?
            .into_iter()
            .peekable();
        for entry in &entries {
            writeln!(out, r#"{{"entry":{}}}"#, entry.text)?;
            while let Some(checkpoint) = checkpoints.next_if(|c| c.size <= entry.sequence) {
                let line = json!({"checkpoint": {
                    "at": checkpoint.at.micros(),
                    "note": checkpoint.note,
                    "size": checkpoint.size,
                }});
                writeln!(out, "{line}")?;
            }
        }
        after = last;
    }
    // What was signed beyond the last entry is what shows that the tail is gone.
    for checkpoint in store.checkpoints_after(after, PAGE).await? {
        if checkpoint.size > head {
            let line = json!({"checkpoint": {
                "at": checkpoint.at.micros(),
                "note": checkpoint.note,
                "size": checkpoint.size,
            }});
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Verifies an export with nothing but the public key of the log's signer.
pub fn verify_export(
    lines: impl BufRead,
    verifier: &AuditVerifier,
) -> Result<VerifyReport, std::io::Error> {
    verify_export_with(lines, verifier, &Notes::default())
}

/// The same, and against notes that were kept elsewhere.
pub fn verify_export_with(
    mut lines: impl BufRead,
    verifier: &AuditVerifier,
    notes: &Notes,
) -> Result<VerifyReport, std::io::Error> {
    let report = VerifyReport {
        problems: notes.problems.clone(),
        ..VerifyReport::default()
    };
    let mut check = Check {
        verifier,
        notes,
        report,
        tree: Growing::default(),
        last: 0,
        unmatched: 0,
    };
    let mut number = 0_u64;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        check.line(number, &line);
        line.clear();
    }
    let beyond = notes.beyond(check.last);
    check.report.problems.extend(beyond);
    Ok(check.report)
}

struct Check<'v> {
    verifier: &'v AuditVerifier,
    notes: &'v Notes,
    report: VerifyReport,
    tree: Growing,
    last: i64,
    unmatched: u64,
}

impl Check<'_> {
    fn line(&mut self, number: u64, line: &[u8]) {
        let text = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok());
        let entry = text
            .and_then(|text| text.strip_prefix(r#"{"entry":"#))
            .and_then(|text| text.strip_suffix('}'));
        if let Some(entry) = entry {
            return self.entry(entry);
        }
        let checkpoint = text
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .and_then(|mut value| value.get_mut("checkpoint").map(Value::take));
        match checkpoint {
            Some(checkpoint) => self.checkpoint(number, &checkpoint),
            None => self.report.problem(format!(
                "line `{number}` is neither an entry nor a checkpoint"
            )),
        }
    }

    fn entry(&mut self, text: &str) {
        self.report.entries += 1;
        let own = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|value| value.get("sequence").and_then(Value::as_i64));
        let expected = self.last + 1;
        let sequence = match own {
            Some(own) if own > expected => {
                let before = own - 1;
                self.report
                    .problem(format!("entries `{expected}` to `{before}` are missing"));
                own
            }
            Some(own) if own < expected => {
                self.report
                    .problem(format!("entry `{own}` comes after entry `{}`", self.last));
                return;
            }
            Some(_) | None => expected,
        };
        match read_text(sequence, text) {
            // One without a time is as old as can be.
            Ok(value) => self
                .report
                .add_unsigned(value.get("at").and_then(Value::as_i64).unwrap_or(0)),
            Err(sentence) => self.report.problem(sentence),
        }
        self.tree.push(record_hash(text.as_bytes()));
        self.last = sequence;
        let differing = self.notes.held_against(sequence, self.tree.root());
        self.report.problems.extend(differing);
    }

    fn checkpoint(&mut self, number: u64, checkpoint: &Value) {
        self.report.checkpoints += 1;
        let note = checkpoint.get("note").and_then(Value::as_str).unwrap_or("");
        let (size, root) = match self.verifier.open(note) {
            Ok((size, root)) => (size, Hash(root)),
            Err(error) => {
                self.report.problem(format!(
                    "the checkpoint in line `{number}` does not hold: {error}"
                ));
                return;
            }
        };
        if checkpoint.get("size").and_then(Value::as_i64) != Some(size) {
            self.report.problem(format!(
                "the checkpoint in line `{number}` was changed: its note covers `{size}` entries"
            ));
        } else if size > self.last {
            let last = self.last;
            self.report.problem(format!(
                "the checkpoint in line `{number}` covers `{size}` entries, but the log before it ends with entry `{last}`"
            ));
        } else if size < self.last {
            self.report.problem(format!(
                "the checkpoint of `{size}` entries in line `{number}` is not in its place"
            ));
        } else if self.tree.root() == Some(root) {
            self.report.add_signed(size);
        } else {
            self.unmatched += 1;
            if self.unmatched == 1 {
                let signed = self.report.signed;
                self.report.problem(format!(
                    "the checkpoint of `{size}` entries does not match: an entry after `{signed}` was changed since it was signed"
                ));
            }
        }
    }
}
