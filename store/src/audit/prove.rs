//! Proofs that show one entry, or that nothing was rewritten, without showing anything else.

use super::tree::{compute, unsigned};
use crate::engine::Store;
use crate::error::StoreError;
use tlog_tiles::{Hash, prove_record, prove_tree, tree_hash};

impl Store {
    /// That entry `sequence` is among the first `size` (RFC 6962, 2.1.1).
    pub async fn inclusion_proof(
        &self,
        sequence: i64,
        size: i64,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        self.must_have("audit_entries", sequence, size).await?;
        let record = unsigned(sequence - 1);
        let proof = compute(self, |nodes| prove_record(unsigned(size), record, nodes)).await?;
        Ok(bytes(proof))
    }

    /// That the first `from` entries are the beginning of the first `to` (RFC 6962, 2.1.2).
    pub async fn consistency_proof(&self, from: i64, to: i64) -> Result<Vec<[u8; 32]>, StoreError> {
        self.must_have("audit_checkpoints", from, to).await?;
        let proof = compute(self, |nodes| {
            prove_tree(unsigned(to), unsigned(from), nodes)
        })
        .await?;
        Ok(bytes(proof))
    }

    /// Whether the log still begins with the `size` entries whose tree had this root.
    pub async fn begins_with(&self, size: i64, root: [u8; 32]) -> Result<bool, StoreError> {
        if size < 1 || size > self.head().await? {
            return Ok(false);
        }
        let own = compute(self, |nodes| tree_hash(unsigned(size), nodes)).await?;
        Ok(own.0 == root)
    }

    /// Refuses numbers that are not `1 <= number <= size <= head`.
    async fn must_have(
        &self,
        table: &'static str,
        number: i64,
        size: i64,
    ) -> Result<(), StoreError> {
        if 1 <= number && number <= size && size <= self.head().await? {
            return Ok(());
        }
        Err(StoreError::NotFound {
            table,
            id: format!("{number} of {size}"),
        })
    }
}

fn bytes(proof: Vec<Hash>) -> Vec<[u8; 32]> {
    proof.into_iter().map(|hash| hash.0).collect()
}
