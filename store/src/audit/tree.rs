//! The Merkle tree's nodes as they are kept, and how `tlog_tiles` reads them.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tlog_tiles::{
    Error, Hash, HashReader, node_hash, record_hash, stored_hash_index,
    stored_hashes_for_record_hash,
};

const TABLE: &str = "audit_hashes";

/// A number of the log as the tree counts; the database keeps none below zero.
pub(super) const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// Where the leaf of entry `sequence` is kept.
pub(super) fn leaf_position(sequence: i64) -> i64 {
    stored_hash_index(0, unsigned(sequence - 1)).cast_signed()
}

/// The nodes a computation of `tlog_tiles` reads. It is run twice: once to learn which nodes it
/// wants, and once with them.
pub(super) enum Nodes {
    Wanted(RefCell<Vec<u64>>),
    Known(BTreeMap<u64, Hash>),
}

impl HashReader for Nodes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        match self {
            Self::Wanted(wanted) => {
                wanted.borrow_mut().extend_from_slice(indexes);
                Ok(vec![Hash::default(); indexes.len()])
            }
            Self::Known(known) => indexes
                .iter()
                .map(|index| known.get(index).copied().ok_or(Error::IndexesNotInTree))
                .collect(),
        }
    }
}

/// Which nodes `compute` wants.
fn wanted<T>(compute: &impl Fn(&Nodes) -> Result<T, Error>) -> Result<Vec<u64>, StoreError> {
    let nodes = Nodes::Wanted(RefCell::default());
    compute(&nodes).map_err(unreadable)?;
    match nodes {
        Nodes::Wanted(wanted) => Ok(wanted.into_inner()),
        Nodes::Known(_) => Ok(Vec::new()),
    }
}

/// Computes over the nodes as they are.
pub(super) async fn compute<T>(
    store: &Store,
    compute: impl Fn(&Nodes) -> Result<T, Error> + Send,
) -> Result<T, StoreError> {
    let mut known = BTreeMap::new();
    for position in wanted(&compute)? {
        let hash: Option<Vec<u8>> = on!(store.reading(), c => sqlx::query_scalar(
            "SELECT hash FROM audit_hashes WHERE position = $1",
        )
        .bind(position.cast_signed())
        .fetch_optional(c)
        .await?);
        known.insert(position, present(position, hash)?);
    }
    compute(&Nodes::Known(known)).map_err(unreadable)
}

/// Computes over the nodes as this transaction sees them.
pub(super) async fn compute_in<T>(
    tx: &mut Tx,
    compute: impl Fn(&Nodes) -> Result<T, Error> + Send,
) -> Result<T, StoreError> {
    let mut known = BTreeMap::new();
    for position in wanted(&compute)? {
        let hash: Option<Vec<u8>> = on!(tx.next(), c => sqlx::query_scalar(
            "SELECT hash FROM audit_hashes WHERE position = $1",
        )
        .bind(position.cast_signed())
        .fetch_optional(c)
        .await?);
        known.insert(position, present(position, hash)?);
    }
    compute(&Nodes::Known(known)).map_err(unreadable)
}

/// Adds the leaf of entry `sequence` and every node it completes.
pub(super) async fn grow(tx: &mut Tx, sequence: i64, text: &str) -> Result<(), StoreError> {
    let leaf = record_hash(text.as_bytes());
    let number = unsigned(sequence - 1);
    let nodes = compute_in(tx, |nodes| {
        stored_hashes_for_record_hash(number, leaf, nodes)
    })
    .await?;
    for (position, node) in (leaf_position(sequence)..).zip(nodes) {
        on!(tx.next(), c => sqlx::query("INSERT INTO audit_hashes (position, hash) VALUES ($1, $2)")
        .bind(position)
        .bind(node.0.as_slice())
        .execute(c)
        .await
        .map(|_| ()))?;
    }
    Ok(())
}

/// The nodes from `first` on, up to `last`.
pub(super) async fn nodes_between(
    store: &Store,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = on!(store.reading(), c => sqlx::query_as(
        "SELECT position, hash FROM audit_hashes WHERE position >= $1 AND position <= $2",
    )
    .bind(first)
    .bind(last)
    .fetch_all(c)
    .await?);
    Ok(rows.into_iter().collect())
}

/// A tree of which only the roots of its complete subtrees are kept, largest first: enough to
/// compute every new node and the root.
#[derive(Default)]
pub(super) struct Growing {
    peaks: Vec<(u32, Hash)>,
}

impl Growing {
    /// Adds a leaf; returns it and every node it completes, lowest first.
    pub(super) fn push(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = vec![leaf];
        let (mut level, mut node) = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(peak, _)| *peak == level) {
            node = node_hash(left, node);
            level += 1;
            completed.push(node);
        }
        self.peaks.push((level, node));
        completed
    }

    /// The root; nothing for the empty tree.
    pub(super) fn root(&self) -> Option<Hash> {
        let mut peaks = self.peaks.iter().rev().map(|(_, node)| *node);
        let last = peaks.next()?;
        Some(peaks.fold(last, |right, left| node_hash(left, right)))
    }
}

fn present(position: u64, hash: Option<Vec<u8>>) -> Result<Hash, StoreError> {
    hash.and_then(|bytes| bytes.try_into().ok())
        .map(Hash)
        .ok_or_else(|| {
            StoreError::impossible(
                TABLE,
                &position.to_string(),
                "the node is missing or too short",
            )
        })
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn unreadable(error: Error) -> StoreError {
    StoreError::impossible(TABLE, "tree", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::{stored_hash_count, tree_hash};

    #[test]
    fn a_growing_tree_has_the_nodes_and_roots_of_rfc_6962() {
        let mut growing = Growing::default();
        let mut kept = BTreeMap::new();
        for size in 1..200_u64 {
            let leaf = record_hash(&size.to_be_bytes());
            let nodes = growing.push(leaf);
            let known = Nodes::Known(kept.clone());
            assert_eq!(
                nodes,
                stored_hashes_for_record_hash(size - 1, leaf, &known).unwrap()
            );
            kept.extend((stored_hash_index(0, size - 1)..).zip(nodes));
            assert_eq!(kept.len() as u64, stored_hash_count(size));
            let root = tree_hash(size, &Nodes::Known(kept.clone())).unwrap();
            assert_eq!(growing.root(), Some(root));
        }
    }
}
