//! Customers: the host's register of them.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::{Customer, CustomerId};

const INSERT: &str = "INSERT INTO customers (id, version, created_at, changed_at, body) \
     VALUES ($1, $2 + 1, $3, $3, $4)";
const UPDATE: &str = "UPDATE customers SET version = $2 + 1, changed_at = $3, body = $4 \
     WHERE id = $1 AND version = $2";

impl Row for Customer {
    const TABLE: &'static str = "customers";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         '' \
         FROM customers WHERE id > $1 ORDER BY id LIMIT $2";

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
        String::new()
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// Every customer, by name.
    pub async fn customers(&self) -> Result<Vec<Customer>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM customers ORDER BY id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One customer.
    pub async fn customer(&self, id: &CustomerId) -> Result<Option<Customer>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM customers WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}
