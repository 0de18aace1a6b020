//! Operators: the host's people and its subcontractors'.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::{Intervention, Operator, OperatorId};
use std::collections::BTreeSet;

const INSERT: &str = "INSERT INTO operators (id, version, created_at, changed_at, body, actor_id) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5)";
const UPDATE: &str = "UPDATE operators SET version = $2 + 1, changed_at = $3, body = $4, actor_id = $5 \
     WHERE id = $1 AND version = $2";

impl Row for Operator {
    const TABLE: &'static str = "operators";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         actor_id \
         FROM operators WHERE id > $1 ORDER BY id LIMIT $2";

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
        self.details.actor.to_string()
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.details.actor.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// Every operator, by login.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM operators ORDER BY id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One operator.
    pub async fn operator(&self, id: &OperatorId) -> Result<Option<Operator>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM operators WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }
}

impl Store {
    /// The requester of `intervention` and every operator its plan names; what
    /// [`Intervention::decide`] wants.
    pub async fn people_of(
        &self,
        intervention: &Intervention,
    ) -> Result<Vec<Operator>, StoreError> {
        let mut named: BTreeSet<&OperatorId> = intervention.plan().text.operators.iter().collect();
        named.insert(&intervention.requested_by);
        let mut people = Vec::with_capacity(named.len());
        for id in named {
            people.extend(self.operator(id).await?);
        }
        Ok(people)
    }
}
