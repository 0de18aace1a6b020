//! The audit log: append-only entries, the leaves of a Merkle tree (RFC 6962) whose heads are
//! signed as checkpoints (C2SP).
//!
//! An entry is numbered from 1; entry `n` is leaf `n - 1`. What is deliberately absent: any way to
//! change or remove an entry.

mod checkpoint;
mod export;
mod note;
mod notes;
mod prove;
mod read;
mod rows;
mod tree;
mod verify;

pub use checkpoint::Checkpoint;
pub use export::{ExportError, export, verify_export, verify_export_with};
pub use note::{AuditSigner, AuditVerifier, NoteError};
pub use notes::Notes;
pub use read::{Entry, EntryFilter};
pub(crate) use rows::Rows;
pub use verify::{VerifyReport, verify, verify_with};

use crate::engine::{Tx, on};
use crate::error::StoreError;
use access::Event;

/// Appends an entry and its tree nodes. Its number is the size the log then has: the update of
/// that one row puts all writers of all bastions in order.
pub(crate) async fn append(tx: &mut Tx, event: &Event) -> Result<i64, StoreError> {
    let sequence: i64 = on!(tx.next(), c => sqlx::query_scalar(
        "UPDATE audit_head SET size = size + 1 WHERE id = 1 RETURNING size",
    )
    .fetch_one(c)
    .await?);
    let text = event.entry(sequence);
    on!(tx.next(), c => sqlx::query(
        "INSERT INTO audit_entries (sequence, at, name, customer_id, intervention_id, session_id, text) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sequence)
    .bind(event.at.micros())
    .bind(event.name.as_str())
    .bind(event.customer.as_ref().map(access::CustomerId::as_str))
    .bind(event.intervention.as_ref().map(access::InterventionId::as_str))
    .bind(event.session.as_ref().map(access::SessionId::as_str))
    .bind(text.as_str())
    .execute(c)
    .await
    .map(|_| ()))?;
    tree::grow(tx, sequence, &text).await?;
    Ok(sequence)
}
