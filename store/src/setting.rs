//! Settings that live in the database, so that every bastion has the same.

use crate::audit;
use crate::engine::{Store, on};
use crate::error::StoreError;
use access::Event;

impl Store {
    /// The value under `key`.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(on!(self.reading(), c => sqlx::query_scalar(
            "SELECT value FROM settings WHERE key = $1",
        )
        .bind(key)
        .fetch_optional(c)
        .await?))
    }

    /// Sets it, and traces it.
    pub async fn set_setting(
        &self,
        key: &str,
        value: &str,
        event: Event,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(c)
        .await
        .map(|_| ()))?;
        tx.commit().await
    }
}
