//! The private half of each customer's recording key, wrapped by a master key that is not here.

use crate::audit;
use crate::engine::{Store, on};
use crate::error::StoreError;
use access::{CustomerId, Event};

impl Store {
    /// Keeps the wrapped key, and traces it. A key kept for a customer who was then not registered
    /// is replaced; a registered customer's never is, since his recordings need it.
    pub async fn keep_recording_key(
        &self,
        customer: &CustomerId,
        wrapped: &[u8],
        event: Event,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        let rows = on!(tx.next(), c => sqlx::query(
            "INSERT INTO recording_keys (customer_id, wrapped) VALUES ($1, $2) \
             ON CONFLICT (customer_id) DO UPDATE SET wrapped = excluded.wrapped \
             WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = excluded.customer_id)",
        )
        .bind(customer.as_str())
        .bind(wrapped)
        .execute(c)
        .await?
        .rows_affected());
        if rows != 1 {
            return Err(StoreError::Conflict {
                what: format!(
                    "the recording key of `{customer}` is kept already and is never replaced"
                ),
            });
        }
        tx.commit().await
    }

    /// The wrapped key.
    pub async fn recording_key(
        &self,
        customer: &CustomerId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(on!(self.reading(), c => sqlx::query_scalar(
            "SELECT wrapped FROM recording_keys WHERE customer_id = $1",
        )
        .bind(customer.as_str())
        .fetch_optional(c)
        .await?))
    }
}
