//! Actors: the legal entities operators work for.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::{Actor, ActorId};

const INSERT: &str = "INSERT INTO actors (id, version, created_at, changed_at, body) \
     VALUES ($1, $2 + 1, $3, $3, $4)";
const UPDATE: &str = "UPDATE actors SET version = $2 + 1, changed_at = $3, body = $4 \
     WHERE id = $1 AND version = $2";

impl Row for Actor {
    const TABLE: &'static str = "actors";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         '' \
         FROM actors WHERE id > $1 ORDER BY id LIMIT $2";

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
    /// Every actor, by name.
    pub async fn actors(&self) -> Result<Vec<Actor>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM actors ORDER BY id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One actor.
    pub async fn actor(&self, id: &ActorId) -> Result<Option<Actor>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM actors WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}
