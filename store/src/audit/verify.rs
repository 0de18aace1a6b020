//! Checks the whole log: every entry, every node of the tree, every checkpoint, and every row that
//! an entry names.
//!
//! Trusts nothing that the database says of itself: leaves are hashed anew from the entries, and
//! only a checkpoint's signature makes a root right.

use super::checkpoint::Checkpoint;
use super::note::AuditVerifier;
use super::notes::Notes;
use super::rows::Rows;
use super::tree::{Growing, leaf_position, nodes_between};
use crate::engine::{Store, on};
use crate::error::StoreError;
use access::Time;
use access::audit::canonical;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tlog_tiles::{Hash, record_hash};

/// How many entries are held in memory at once.
const PAGE: i64 = 1000;

/// How long an entry may go without a checkpoint over it.
const SIGNED_WITHIN: Duration = Duration::from_mins(1);

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// Entries that were there and read.
    pub entries: i64,
    /// Checkpoints that were read.
    pub checkpoints: i64,
    /// How many entries the newest checkpoint covers that holds; what follows is not signed yet.
    pub signed: i64,
    /// Rows that were held against the log; none where only entries were there to read.
    pub rows: i64,
    /// The times of entries that no checkpoint covers: earliest and latest.
    pub unsigned: Option<(Time, Time)>,
    /// One sentence for each thing that is wrong; none for a log that is whole.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// The same with what makes it prove nothing at `now`: no entry, no signature, or a tail that
    /// should have been signed by now. A running bastion signs every ten seconds, and once more
    /// when it stops.
    #[must_use]
    pub fn at(mut self, now: Time) -> Self {
        if self.entries == 0 {
            self.problem("there is no entry, so nothing is proven");
        } else if self.signed == 0 {
            self.problem("no checkpoint that holds covers any entry, so nothing is proven");
        } else if let Some((earliest, latest)) = self.unsigned {
            let (signed, entries) = (self.signed, self.entries);
            if now.since(earliest) > SIGNED_WITHIN {
                self.problem(format!(
                    "entries after `{signed}`, of {entries}, are not signed, and the first is of {earliest}: no bastion has signed since"
                ));
            } else if latest.since(now) > SIGNED_WITHIN {
                self.problem(format!(
                    "entries after `{signed}`, of {entries}, are not signed, and one is of {latest}, which is to come"
                ));
            }
        }
        self
    }

    pub(super) fn problem(&mut self, sentence: impl Into<String>) {
        self.problems.push(sentence.into());
    }

    /// An entry that no checkpoint covers yet.
    pub(super) fn add_unsigned(&mut self, at: i64) {
        let at = Time::from_micros(at);
        let (earliest, latest) = self.unsigned.unwrap_or((at, at));
        self.unsigned = Some((earliest.min(at), latest.max(at)));
    }

    /// A checkpoint that holds covers the first `size` entries.
    pub(super) fn add_signed(&mut self, size: i64) {
        self.signed = size;
        self.unsigned = None;
    }
}

/// An entry with the columns it is found by.
type Row = (
    i64,
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
);

/// Verifies the log of `store` against the public key of its signer.
pub async fn verify(store: &Store, verifier: &AuditVerifier) -> Result<VerifyReport, StoreError> {
    verify_with(store, verifier, &Notes::default()).await
}

/// The same, and against notes that were kept elsewhere; they are to be read before.
pub async fn verify_with(
    store: &Store,
    verifier: &AuditVerifier,
    elsewhere: &Notes,
) -> Result<VerifyReport, StoreError> {
    // Read first: whatever is appended meanwhile comes after both.
    let newest = store
        .checkpoints(1)
        .await?
        .pop()
        .map_or(0, |newest| newest.size);
    let head = store.head().await?;
    let mut check = Check::new(verifier, elsewhere, Rows::of(store));
    let mut after = 0;
    while after < head {
        let last = (after + PAGE).min(head);
        let rows = rows_between(store, after, last).await?;
        let nodes = nodes_between(store, leaf_position(after + 1), leaf_position(last + 1) - 1);
        let checkpoints = store.checkpoints_after(after, PAGE).await?;
        check.page(after, last, rows, &nodes.await?, checkpoints);
        after = last;
    }
    check.end();
    if newest > head {
        check.report.problem(format!(
            "the newest checkpoint covers `{newest}` entries, but the log ends with entry `{head}`: its tail was cut"
        ));
    }
    check.report.problems.extend(elsewhere.beyond(head));
    no_strays(store, &mut check.report).await?;
    let mut report = check.report;
    let (rows, problems) = check.rows.held(head).await?;
    report.rows = rows;
    report.problems.extend(problems);
    Ok(report)
}

/// Entries beyond the head, which no writer of this program leaves.
async fn no_strays(store: &Store, report: &mut VerifyReport) -> Result<(), StoreError> {
    let last: Option<i64> = on!(store.reading(), c => sqlx::query_scalar(
        "SELECT MAX(sequence) FROM audit_entries",
    )
    .fetch_one(c)
    .await?);
    let head = store.head().await?;
    if let Some(last) = last.filter(|last| *last > head) {
        report.problem(format!(
            "there is an entry `{last}`, but the log counts `{head}` entries"
        ));
    }
    Ok(())
}

async fn rows_between(store: &Store, after: i64, last: i64) -> Result<Vec<Row>, StoreError> {
    Ok(on!(store.reading(), c => sqlx::query_as(
        "SELECT sequence, at, name, customer_id, intervention_id, session_id, text \
         FROM audit_entries WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence",
    )
    .bind(after)
    .bind(last)
    .fetch_all(c)
    .await?))
}

struct Check<'v> {
    verifier: &'v AuditVerifier,
    notes: &'v Notes,
    rows: Rows,
    report: VerifyReport,
    /// The tree over the entries as they are.
    told: Growing,
    /// The tree over the leaves as they are kept. Where the two differ, a checkpoint says which of
    /// the two was changed.
    kept: Growing,
    missing: Option<(i64, i64)>,
    unmatched: i64,
}

impl<'v> Check<'v> {
    fn new(verifier: &'v AuditVerifier, notes: &'v Notes, rows: Rows) -> Self {
        let report = VerifyReport {
            problems: notes.problems.clone(),
            ..VerifyReport::default()
        };
        Self {
            verifier,
            notes,
            rows,
            report,
            told: Growing::default(),
            kept: Growing::default(),
            missing: None,
            unmatched: 0,
        }
    }

    fn page(
        &mut self,
        after: i64,
        last: i64,
        rows: Vec<Row>,
        nodes: &BTreeMap<i64, Vec<u8>>,
        checkpoints: Vec<Checkpoint>,
    ) {
        let mut rows = rows.into_iter().peekable();
        let mut checkpoints = checkpoints.into_iter().peekable();
        for sequence in after + 1..=last {
            let row = rows.next_if(|row| row.0 == sequence);
            self.entry(sequence, row.as_ref(), nodes);
            while let Some(checkpoint) = checkpoints.next_if(|c| c.size == sequence) {
                self.checkpoint(&checkpoint);
            }
            let differing = self.notes.held_against(sequence, self.told.root());
            self.report.problems.extend(differing);
        }
    }

    fn entry(&mut self, sequence: i64, row: Option<&Row>, nodes: &BTreeMap<i64, Vec<u8>>) {
        let position = leaf_position(sequence);
        let kept = nodes
            .get(&position)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .map(Hash);
        let told = row.map(|row| record_hash(row.6.as_bytes()));
        match row {
            Some(row) => {
                self.end_of_gap();
                self.report.entries += 1;
                self.report.add_unsigned(row.1);
                self.rows.learn(row.1, &row.6);
                let differs = || {
                    (kept.is_some() && told != kept).then(|| {
                        format!(
                            "entry `{sequence}` was changed: it is not what the tree has under its number"
                        )
                    })
                };
                self.report.problems.extend(wrong_in(row).or_else(differs));
            }
            None => self.gap(sequence),
        }
        let leaf = told.or(kept).unwrap_or_default();
        let told = self.told.push(leaf);
        let kept = self.kept.push(kept.unwrap_or(leaf));
        for (place, (told, kept)) in (position..).zip(told.iter().zip(&kept)) {
            match nodes.get(&place) {
                Some(node) if node[..] == told.0 || node[..] == kept.0 => {}
                Some(_) => self.report.problem(format!(
                    "node `{place}` of the tree, completed by entry `{sequence}`, was changed"
                )),
                None => self.report.problem(format!(
                    "node `{place}` of the tree, completed by entry `{sequence}`, is missing"
                )),
            }
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.report.checkpoints += 1;
        let size = checkpoint.size;
        let root = match self.verifier.open(&checkpoint.note) {
            Ok((signed, root)) if signed == size && root == checkpoint.root => Hash(root),
            Ok(_) => {
                self.report.problem(format!(
                    "the checkpoint of `{size}` entries was changed: its note says otherwise than its row"
                ));
                return;
            }
            Err(error) => {
                self.report.problem(format!(
                    "the checkpoint of `{size}` entries does not hold: {error}"
                ));
                return;
            }
        };
        if self.told.root() == Some(root) {
            self.report.add_signed(size);
        } else if self.kept.root() != Some(root) {
            self.unmatched += 1;
            if self.unmatched == 1 {
                let signed = self.report.signed;
                self.report.problem(format!(
                    "the checkpoint of `{size}` entries does not match the log: something after entry `{signed}` was rewritten since it was signed"
                ));
            }
        }
    }

    fn end(&mut self) {
        self.end_of_gap();
        if self.unmatched > 1 {
            let later = self.unmatched - 1;
            self.report
                .problem(format!("`{later}` later checkpoints do not match either"));
        }
    }

    fn gap(&mut self, sequence: i64) {
        let first = self.missing.map_or(sequence, |(first, _)| first);
        self.missing = Some((first, sequence));
    }

    fn end_of_gap(&mut self) {
        match self.missing.take() {
            Some((first, last)) if first == last => {
                self.report.problem(format!("entry `{first}` is missing"));
            }
            Some((first, last)) => self
                .report
                .problem(format!("entries `{first}` to `{last}` are missing")),
            None => {}
        }
    }
}

/// What is wrong with an entry by itself.
fn wrong_in(row: &Row) -> Option<String> {
    let (sequence, at, name, customer, intervention, session, text) = row;
    let value = match read_text(*sequence, text) {
        Ok(value) => value,
        Err(sentence) => return Some(sentence),
    };
    let says = |key: &str, column: Option<&str>| value.get(key).and_then(Value::as_str) == column;
    let agrees = value.get("at").and_then(Value::as_i64) == Some(*at)
        && says("event", Some(name))
        && says("customer", customer.as_deref())
        && says("intervention", intervention.as_deref())
        && says("session", session.as_deref());
    (!agrees)
        .then(|| format!("entry `{sequence}` was changed: its columns say otherwise than its text"))
}

/// The JSON of an entry that is canonical and carries its own number.
pub(super) fn read_text(sequence: i64, text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|_| format!("entry `{sequence}` was changed: it does not read as JSON"))?;
    if canonical(&value) != text {
        return Err(format!(
            "entry `{sequence}` was changed: it is not canonical JSON"
        ));
    }
    match value.get("sequence").and_then(Value::as_i64) {
        Some(own) if own == sequence => Ok(value),
        Some(own) => Err(format!(
            "entry `{sequence}` is not in its place: it says that it is entry `{own}`"
        )),
        None => Err(format!("entry `{sequence}` was changed: it has no number")),
    }
}
