//! Checkpoints: signed heads of the log. They leave the machine, so that a cut tail shows.

use super::note::AuditSigner;
use super::tree::{compute_in, unsigned};
use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use access::Time;
use tlog_tiles::tree_hash;

const TABLE: &str = "audit_checkpoints";

/// One signed head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// How many entries it covers.
    pub size: i64,
    /// The root of the tree over them.
    pub root: [u8; 32],
    /// The signed note (C2SP).
    pub note: String,
    /// When it was signed.
    pub at: Time,
}

type Columns = (i64, Vec<u8>, String, i64);

impl Checkpoint {
    fn read((size, root, note, at): Columns) -> Result<Self, StoreError> {
        let root = root
            .try_into()
            .map_err(|_| StoreError::impossible(TABLE, &size.to_string(), "its root is short"))?;
        Ok(Self {
            size,
            root,
            note,
            at: Time::from_micros(at),
        })
    }
}

impl Store {
    /// Signs the head of the log; `None` where the newest checkpoint covers it already.
    ///
    /// Nothing is signed on top of a tree that does not continue the newest checkpoint.
    pub async fn checkpoint(
        &self,
        signer: &AuditSigner,
        now: Time,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let newest = self.checkpoints(1).await?.pop();
        if self.head().await? == newest.map_or(0, |checkpoint| checkpoint.size) {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        // Taken like a writer takes it, so that two bastions do not sign at once.
        let size: i64 = on!(tx.next(), c => sqlx::query_scalar(
            "UPDATE audit_head SET size = size WHERE id = 1 RETURNING size",
        )
        .fetch_one(c)
        .await?);
        if let Some(newest) = newest_in(&mut tx).await? {
            if newest.size == size {
                return Ok(None);
            }
            must_continue(&mut tx, &newest, size).await?;
        }
        let root = compute_in(&mut tx, |nodes| tree_hash(unsigned(size), nodes)).await?;
        let unsigned_note =
            |_| StoreError::impossible(TABLE, &size.to_string(), "it does not sign");
        let note = signer.sign(unsigned(size), root).map_err(unsigned_note)?;
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO audit_checkpoints (size, at, root, note) VALUES ($1, $2, $3, $4)",
        )
        .bind(size)
        .bind(now.micros())
        .bind(root.0.as_slice())
        .bind(note.as_str())
        .execute(c)
        .await
        .map(|_| ()))?;
        tx.commit().await?;
        Ok(Some(Checkpoint {
            size,
            root: root.0,
            note,
            at: now,
        }))
    }

    /// The newest checkpoints, newest first.
    pub async fn checkpoints(&self, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let rows: Vec<Columns> = on!(self.reading(), c => sqlx::query_as(
            "SELECT size, root, note, at FROM audit_checkpoints ORDER BY size DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(c)
        .await?);
        rows.into_iter().map(Checkpoint::read).collect()
    }

    /// Checkpoints that cover more than `after` entries, smallest first.
    pub(super) async fn checkpoints_after(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let rows: Vec<Columns> = on!(self.reading(), c => sqlx::query_as(
            "SELECT size, root, note, at FROM audit_checkpoints WHERE size > $1 \
             ORDER BY size LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await?);
        rows.into_iter().map(Checkpoint::read).collect()
    }
}

async fn newest_in(tx: &mut Tx) -> Result<Option<Checkpoint>, StoreError> {
    let row: Option<Columns> = on!(tx.next(), c => sqlx::query_as(
        "SELECT size, root, note, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1",
    )
    .fetch_optional(c)
    .await?);
    row.map(Checkpoint::read).transpose()
}

async fn must_continue(tx: &mut Tx, newest: &Checkpoint, size: i64) -> Result<(), StoreError> {
    let broken = |what: &str| StoreError::impossible(TABLE, &newest.size.to_string(), what);
    if size < newest.size {
        return Err(broken(
            "the log is shorter than what was signed; its tail was cut",
        ));
    }
    let root = compute_in(tx, |nodes| tree_hash(unsigned(newest.size), nodes)).await?;
    if root.0 != newest.root {
        return Err(broken(
            "the tree is not the one that was signed; nothing more is signed on it",
        ));
    }
    Ok(())
}
