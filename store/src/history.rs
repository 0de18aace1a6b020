//! Every version of every row, kept for ever: what stood on date D is a query.

use crate::engine::{Tx, on};
use crate::row::Stamp;

/// Adds one version. The table refuses every change of what it holds.
pub(crate) async fn add(
    tx: &mut Tx,
    noun: &'static str,
    stamp: &Stamp<'_>,
) -> Result<(), sqlx::Error> {
    on!(tx.next(), c => sqlx::query(
        "INSERT INTO history (noun, id, version, at, body) VALUES ($1, $2, $3 + 1, $4, $5)",
    )
    .bind(noun)
    .bind(stamp.id)
    .bind(stamp.was)
    .bind(stamp.at)
    .bind(stamp.body)
    .execute(c)
    .await
    .map(|_| ()))
}
