//! Holds the rows against the log: each is the newest version that an entry names, each version in
//! the history is named by an entry with its digest, and nothing that was named is gone. Approvals
//! are checked down to the signature of the passkey that was enrolled.
//!
//! What is not looked at: the tables of targets and people beside grants and interventions, which
//! only find candidates; sign-in sessions, invitations, lockouts and settings, which are no rows of
//! the trade.

use super::read::Entry;
use crate::engine::{Store, on};
use crate::error::StoreError;
use crate::row::{self, ROW, Row, RowNamed, Signed, value};
use access::audit::{hex, sha256};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::{Approval, Time};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// How many rows are held in memory at once.
const PAGE: i64 = 1000;

/// A row as it is kept: id, version, `created_at`, `changed_at`, body, derived columns.
type Kept = (String, i64, i64, i64, String, String);
/// A version as the history keeps it: noun, id, version, at, body.
type Past = (String, String, i64, i64, String);

/// Everything that entries name, and what was found of it.
pub(crate) struct Rows {
    store: Store,
    /// By table, then id: every version, oldest first.
    named: HashMap<String, HashMap<String, Vec<Version>>>,
    /// Newer than what the log named when it was read; the entries that came since tell.
    young: Vec<Young>,
    approvals: Vec<Signed>,
    passkeys: HashMap<String, Vec<Passkey>>,
    read: i64,
    problems: Vec<String>,
}

struct Version {
    number: i64,
    at: i64,
    sha256: [u8; 32],
    /// Whether the history has it.
    kept: bool,
}

struct Young {
    table: String,
    id: String,
    version: i64,
    body_sha256: [u8; 32],
}

/// A passkey as it was enrolled.
struct Passkey {
    holder: Holder,
    enrolled_at: Time,
    revoked_at: Option<Time>,
    /// The parts of its public key, as the registration keeps them.
    key: Option<Vec<Vec<u8>>>,
}

/// Whether that is why: 42P01 is `undefined_table` with `PostgreSQL`.
fn lacks_the_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
    })
}

impl Rows {
    pub(super) fn of(store: &Store) -> Self {
        Self {
            store: store.clone(),
            named: HashMap::new(),
            young: Vec::new(),
            approvals: Vec::new(),
            passkeys: HashMap::new(),
            read: 0,
            problems: Vec::new(),
        }
    }

    /// Learns which row an entry wrote, if any.
    pub(super) fn learn(&mut self, at: i64, text: &str) {
        let Some(named) = named_in(text) else {
            return;
        };
        let Some(sha256) = digest_of(&named.body_sha256) else {
            self.problems.push(format!(
                "an entry names `{}` in `{}` with no digest of its body",
                named.id, named.table
            ));
            return;
        };
        let of_table = self.named.entry(named.table).or_default();
        of_table.entry(named.id).or_default().push(Version {
            number: named.version,
            at,
            sha256,
            kept: false,
        });
    }

    /// Reads every row and every version, after the entries up to `head` were learned. Returns how
    /// many rows there are and what is wrong.
    pub(super) async fn held(mut self, head: i64) -> Result<(i64, Vec<String>), StoreError> {
        row::hold(&mut self).await?;
        self.hold_history().await?;
        self.grow_old(head).await?;
        self.hold_approvals();
        Ok((self.read, self.problems))
    }

    /// Holds one table against what the entries name.
    pub(crate) async fn hold<T: Row>(&mut self) -> Result<(), StoreError> {
        let mut after = String::new();
        let mut seen = Vec::new();
        loop {
            let page: Result<Vec<Kept>, sqlx::Error> = on!(self.store.reading(), c => sqlx::query_as(T::KEPT)
                .bind(&after)
                .bind(PAGE)
                .fetch_all(c)
                .await);
            let page = match page {
                // A copy that is older than the table; rows that the log names of it are gone.
                Err(error) if lacks_the_table(&error) => Vec::new(),
                page => page?,
            };
            let Some(last) = page.last() else { break };
            after.clone_from(&last.0);
            for row in page {
                seen.push(row.0.clone());
                self.row::<T>(row);
            }
        }
        let named = self.named.get(T::TABLE).into_iter().flat_map(HashMap::keys);
        let seen: std::collections::HashSet<String> = seen.into_iter().collect();
        let mut gone: Vec<String> = named.filter(|id| !seen.contains(*id)).cloned().collect();
        gone.sort();
        for id in gone {
            self.problems.push(format!(
                "row `{id}` of `{}` is gone: the log names it, and the table does not have it",
                T::TABLE
            ));
        }
        Ok(())
    }

    fn row<T: Row>(&mut self, (id, version, created_at, changed_at, body, derived): Kept) {
        self.read += 1;
        let wrong = |what: &str| Some(format!("row `{id}` of `{}` {what}", T::TABLE));
        let digest = sha256(body.as_bytes());
        let versions = self.named.get(T::TABLE).and_then(|ids| ids.get(&id));
        let versions = versions.map_or(&[][..], Vec::as_slice);
        let newest = versions.iter().map(|named| named.number).max();
        let own = versions.iter().find(|named| named.number == version);
        let first = versions.iter().find(|named| named.number == 1);
        let problem = match (own, newest) {
            (Some(_), Some(newest)) if newest > version => wrong(&format!(
                "is put back to version {version}: the log names version {newest}"
            )),
            (Some(own), _) if own.sha256 != digest => {
                wrong("was changed: its body is not what the log names")
            }
            (Some(own), _)
                if own.at != changed_at || first.is_none_or(|first| first.at != created_at) =>
            {
                wrong("was changed: its times are not those of its entries")
            }
            (Some(_), _) => None,
            (None, newest) if newest.is_none_or(|newest| newest < version) => {
                self.young.push(Young {
                    table: T::TABLE.to_owned(),
                    id: id.clone(),
                    version,
                    body_sha256: digest,
                });
                None
            }
            (None, _) => wrong(&format!("has version {version}, which no entry names")),
        };
        let problem = match value::<T>((id.clone(), version, body)) {
            Ok(value) => {
                self.approvals.extend(value.approvals());
                let columns = (value.derived() != derived)
                    .then(|| wrong("was changed: its columns say otherwise than its body"));
                problem.or(columns.flatten())
            }
            Err(error) => problem.or_else(|| Some(error.to_string())),
        };
        self.problems.extend(problem);
    }

    async fn hold_history(&mut self) -> Result<(), StoreError> {
        let (mut noun, mut id, mut version) = (String::new(), String::new(), 0_i64);
        loop {
            let page: Vec<Past> = on!(self.store.reading(), c => sqlx::query_as(
                "SELECT noun, id, version, at, body FROM history \
                 WHERE (noun, id, version) > ($1, $2, $3) ORDER BY noun, id, version LIMIT $4",
            )
            .bind(&noun)
            .bind(&id)
            .bind(version)
            .bind(PAGE)
            .fetch_all(c)
            .await?);
            let Some(last) = page.last() else { break };
            (noun, id, version) = (last.0.clone(), last.1.clone(), last.2);
            for past in page {
                self.past(past);
            }
        }
        let mut missing = Vec::new();
        for (table, ids) in &self.named {
            for (id, versions) in ids {
                missing.extend(versions.iter().filter(|named| !named.kept).map(|named| {
                    let version = named.number;
                    format!("version {version} of `{id}` in `{table}` is gone from the history")
                }));
            }
        }
        missing.sort();
        self.problems.extend(missing);
        Ok(())
    }

    fn past(&mut self, (table, id, version, at, body): Past) {
        let digest = sha256(body.as_bytes());
        if table == SecondFactor::TABLE {
            self.enrolment(&body);
        }
        let versions = self
            .named
            .get_mut(&table)
            .and_then(|ids| ids.get_mut(&id))
            .map_or(&mut [][..], Vec::as_mut_slice);
        let newest = versions.iter().map(|named| named.number).max();
        match versions.iter_mut().find(|named| named.number == version) {
            Some(named) => {
                named.kept = true;
                if named.sha256 != digest || named.at != at {
                    self.problems.push(format!(
                        "version {version} of `{id}` in the history of `{table}` was changed"
                    ));
                }
            }
            None if newest.is_none_or(|newest| newest < version) => self.young.push(Young {
                table,
                id,
                version,
                body_sha256: digest,
            }),
            None => self.problems.push(format!(
                "version {version} of `{id}` in the history of `{table}` is named by no entry"
            )),
        }
    }

    /// What was newer than the log when it was read is named by what was appended meanwhile.
    async fn grow_old(&mut self, head: i64) -> Result<(), StoreError> {
        let mut after = head;
        let mut since: HashMap<(String, String, i64), [u8; 32]> = HashMap::new();
        while !self.young.is_empty() {
            let page: Vec<Entry> = self.store.entries(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for named in page.iter().filter_map(|entry| named_in(&entry.text)) {
                if let Some(sha256) = digest_of(&named.body_sha256) {
                    since.insert((named.table, named.id, named.version), sha256);
                }
            }
        }
        for young in std::mem::take(&mut self.young) {
            let (table, id, version) = (young.table, young.id, young.version);
            let sentence = format!(
                "row `{id}` of `{table}` is not what was written: no entry names its version {version}"
            );
            if since.get(&(table, id, version)) != Some(&young.body_sha256)
                && !self.problems.contains(&sentence)
            {
                self.problems.push(sentence);
            }
        }
        Ok(())
    }

    /// Every version of a passkey says the same of its key; the newest says whether it was revoked.
    fn enrolment(&mut self, body: &str) {
        let Ok(factor) = serde_json::from_str::<SecondFactor>(body) else {
            return;
        };
        if let Factor::Passkey {
            credential_id,
            credential,
        } = factor.factor
        {
            let all = self.passkeys.entry(credential_id).or_default();
            all.push(Passkey {
                holder: factor.holder,
                enrolled_at: factor.enrolled_at,
                revoked_at: factor.revoked_at,
                key: registered_key(&credential),
            });
        }
    }

    fn hold_approvals(&mut self) {
        for Signed { approval, wrong } in std::mem::take(&mut self.approvals) {
            if let Some(sentence) = wrong.or_else(|| self.not_signed(&approval)) {
                self.problems.push(format!(
                    "the decision of `{}` on `{}` does not hold: {sentence}",
                    approval.approver, approval.intervention
                ));
            }
        }
    }

    /// Why a decision was not signed by its approver's own passkey.
    fn not_signed(&self, approval: &Approval) -> Option<String> {
        let assertion = &approval.assertion;
        if let Err(fault) = assertion.verify(&approval.statement.challenge()) {
            return Some(fault.to_string());
        }
        let approver = Holder::Contact(approval.approver.clone());
        let enrolled = self.passkeys.get(&assertion.credential_id);
        let own: Vec<&Passkey> = enrolled
            .into_iter()
            .flatten()
            .filter(|passkey| passkey.holder == approver && passkey.enrolled_at <= approval.at)
            .collect();
        if own.is_empty() {
            return Some("its passkey was not enrolled for its approver then".to_owned());
        }
        let revoked = |passkey: &&Passkey| passkey.revoked_at.is_some_and(|at| at < approval.at);
        if own.iter().any(revoked) {
            return Some("its passkey had been revoked by then".to_owned());
        }
        let key = kept_key(&assertion.public_key);
        let same = |passkey: &&Passkey| passkey.key.is_some() && passkey.key == key;
        (!own.iter().all(same))
            .then(|| "its public key is not the one of the enrolled passkey".to_owned())
    }
}

fn named_in(text: &str) -> Option<RowNamed> {
    #[derive(Deserialize)]
    struct Told {
        detail: HashMap<String, Value>,
    }
    let mut told: Told = serde_json::from_str(text).ok()?;
    serde_json::from_value(told.detail.remove(ROW)?).ok()
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(byte).collect();
    let digest: [u8; 32] = bytes?.try_into().ok()?;
    // One spelling.
    (hex(&digest) == text).then_some(digest)
}

/// The parts of a COSE key as an assertion keeps it.
fn kept_key(public_key: &str) -> Option<Vec<Vec<u8>>> {
    let key: Value = serde_json::from_str(public_key).ok()?;
    let part = |label: &str| key.get(label).and_then(bytes_of);
    match key.get("1")?.as_i64()? {
        1 => Some(vec![part("-2")?]),
        2 => Some(vec![part("-2")?, part("-3")?]),
        3 => Some(vec![part("-1")?, part("-2")?]),
        _ => None,
    }
}

/// The same of a registration, as the `WebAuthn` library keeps it.
fn registered_key(credential: &str) -> Option<Vec<Vec<u8>>> {
    let kept: Value = serde_json::from_str(credential).ok()?;
    let key = kept.pointer("/cred/cred/key")?;
    let part = |place: &str| key.pointer(place).and_then(bytes_of);
    if key.get("EC_EC2").is_some() {
        Some(vec![part("/EC_EC2/x")?, part("/EC_EC2/y")?])
    } else if key.get("EC_OKP").is_some() {
        Some(vec![part("/EC_OKP/x")?])
    } else {
        Some(vec![part("/RSA/n")?, part("/RSA/e")?])
    }
}

/// Bytes as base64url, or as a list of numbers.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    match value {
        Value::String(text) => URL_SAFE_NO_PAD.decode(text).ok(),
        Value::Array(_) => serde_json::from_value(value.clone()).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
