//! Lockouts: failures counted across bastions, one after the other.

use crate::audit;
use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use access::lockout::{AfterFailure, Lockout};
use access::{Event, Time};

impl Store {
    /// What is remembered under `key` (`operator:alice`, `source:192.0.2.1`).
    pub async fn lockout(&self, key: &str) -> Result<Lockout, StoreError> {
        let body: Option<String> = on!(self.reading(), c => sqlx::query_scalar(
            "SELECT body FROM lockouts WHERE key = $1",
        )
        .bind(key)
        .fetch_optional(c)
        .await?);
        read(key, body.as_deref())
    }

    /// Counts a failure, and traces it.
    pub async fn count_failure(
        &self,
        key: &str,
        event: Event,
        now: Time,
    ) -> Result<AfterFailure, StoreError> {
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        let (state, outcome) = hold(&mut tx, key).await?.failed(now);
        write(&mut tx, key, &state).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// A success forgets the failures.
    pub async fn count_success(&self, key: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let body: Option<String> = on!(tx.next(), c => sqlx::query_scalar(
            "UPDATE lockouts SET uses = uses + 1 WHERE key = $1 RETURNING body",
        )
        .bind(key)
        .fetch_optional(c)
        .await?);
        if body.is_none() {
            return Ok(());
        }
        let state = read(key, body.as_deref())?.succeeded();
        write(&mut tx, key, &state).await?;
        tx.commit().await
    }
}

/// Takes the row before it is read, so that nobody else counts meanwhile.
async fn hold(tx: &mut Tx, key: &str) -> Result<Lockout, StoreError> {
    let fresh = body(key, &Lockout::default())?;
    let body: String = on!(tx.next(), c => sqlx::query_scalar(
        "INSERT INTO lockouts (key, uses, body) VALUES ($1, 1, $2) \
         ON CONFLICT (key) DO UPDATE SET uses = lockouts.uses + 1 RETURNING body",
    )
    .bind(key)
    .bind(fresh)
    .fetch_one(c)
    .await?);
    read(key, Some(&body))
}

async fn write(tx: &mut Tx, key: &str, state: &Lockout) -> Result<(), StoreError> {
    let body = body(key, state)?;
    on!(tx.next(), c => sqlx::query("UPDATE lockouts SET body = $2 WHERE key = $1")
    .bind(key)
    .bind(body)
    .execute(c)
    .await
    .map(|_| ()))?;
    Ok(())
}

fn body(key: &str, state: &Lockout) -> Result<String, StoreError> {
    serde_json::to_string(state)
        .map_err(|_| StoreError::impossible("lockouts", key, "it cannot be written as JSON"))
}

fn read(key: &str, body: Option<&str>) -> Result<Lockout, StoreError> {
    body.map_or_else(
        || Ok(Lockout::default()),
        |body| {
            serde_json::from_str(body)
                .map_err(|_| StoreError::impossible("lockouts", key, "its body does not read"))
        },
    )
}
