//! Confirmations of SSH logins by a passkey.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value};
use access::confirmation::Confirmation;

const INSERT: &str = "INSERT INTO confirmations (id, version, created_at, changed_at, body, operator_id) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5)";
const UPDATE: &str = "UPDATE confirmations SET version = $2 + 1, changed_at = $3, body = $4, operator_id = $5 \
     WHERE id = $1 AND version = $2";

impl Row for Confirmation {
    const TABLE: &'static str = "confirmations";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         operator_id \
         FROM confirmations WHERE id > $1 ORDER BY id LIMIT $2";

    fn id(&self) -> &str {
        &self.code
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn set_version(&mut self, version: i64) {
        self.version = version;
    }

    fn derived(&self) -> String {
        self.operator.to_string()
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.operator.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// The confirmation under this code.
    pub async fn confirmation(&self, code: &str) -> Result<Option<Confirmation>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM confirmations WHERE id = $1",
        )
        .bind(code)
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}
