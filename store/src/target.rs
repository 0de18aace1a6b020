//! Targets: the systems of all customers, as the host sees them.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::{Target, TargetId};

const INSERT: &str = "INSERT INTO targets (id, version, created_at, changed_at, body, customer_id) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5)";
const UPDATE: &str = "UPDATE targets SET version = $2 + 1, changed_at = $3, body = $4, customer_id = $5 \
     WHERE id = $1 AND version = $2";

impl Row for Target {
    const TABLE: &'static str = "targets";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         customer_id \
         FROM targets WHERE id > $1 ORDER BY id LIMIT $2";

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn set_version(&mut self, version: i64) {
        self.version = version;
    }

    fn derived(&self) -> String {
        self.details.customer.to_string()
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.details.customer.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// Every target of every customer; the host's side.
    pub async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM targets ORDER BY id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One target; the host's side.
    pub async fn target(&self, id: &TargetId) -> Result<Option<Target>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM targets WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}
