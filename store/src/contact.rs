//! Contacts: the people customers name, as the host sees them.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::{Contact, ContactId};

const INSERT: &str = "INSERT INTO contacts (id, version, created_at, changed_at, body, customer_id) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5)";
const UPDATE: &str = "UPDATE contacts SET version = $2 + 1, changed_at = $3, body = $4, customer_id = $5 \
     WHERE id = $1 AND version = $2";

impl Row for Contact {
    const TABLE: &'static str = "contacts";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         customer_id \
         FROM contacts WHERE id > $1 ORDER BY id LIMIT $2";

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
        self.customer.to_string()
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.customer.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// Every contact of every customer; the host's side.
    pub async fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM contacts ORDER BY id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One contact; the host's side.
    pub async fn contact(&self, id: &ContactId) -> Result<Option<Contact>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM contacts WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}
