//! Grants: named rights, by person, by system, by review date, and as they stood on a date.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, number_or_dash, value, values};
use access::grant::GrantState;
use access::{CustomerId, Grant, GrantId, OperatorId, TargetId, Time};

const INSERT: &str = "INSERT INTO grants (id, version, created_at, changed_at, body, \
     operator_id, customer_id, state, valid_from, valid_until, review_due) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5, $6, $7, $8, $9, $10)";
const UPDATE: &str = "UPDATE grants SET version = $2 + 1, changed_at = $3, body = $4, \
     operator_id = $5, customer_id = $6, state = $7, valid_from = $8, valid_until = $9, review_due = $10 \
     WHERE id = $1 AND version = $2";

impl Row for Grant {
    const TABLE: &'static str = "grants";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         operator_id || ' ' || customer_id || ' ' || state || ' ' || CAST(valid_from AS TEXT) || ' ' || CAST(valid_until AS TEXT) || ' ' || COALESCE(CAST(review_due AS TEXT), '-') \
         FROM grants WHERE id > $1 ORDER BY id LIMIT $2";

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
        let validity = self.terms.validity;
        format!(
            "{} {} {} {} {} {}",
            self.terms.operator,
            self.terms.customer,
            state(self),
            validity.start().micros(),
            validity.end().micros(),
            number_or_dash(self.review_due()),
        )
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        let rows = on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.terms.operator.as_str())
        .bind(self.terms.customer.as_str())
        .bind(state(self))
        .bind(self.terms.validity.start().micros())
        .bind(self.terms.validity.end().micros())
        .bind(self.review_due().map(Time::micros))
        .execute(c)
        .await?
        .rows_affected());
        on!(tx.next(), c => sqlx::query("DELETE FROM grant_targets WHERE grant_id = $1")
        .bind(stamp.id)
        .execute(c)
        .await
        .map(|_| ()))?;
        for target in &self.terms.scope.targets {
            on!(tx.next(), c => sqlx::query(
                "INSERT INTO grant_targets (grant_id, target_id, customer_id, operator_id) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(stamp.id)
            .bind(target.as_str())
            .bind(self.terms.customer.as_str())
            .bind(self.terms.operator.as_str())
            .execute(c)
            .await
            .map(|_| ()))?;
        }
        Ok(rows)
    }
}

/// Which grants to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    pub operator: Option<OperatorId>,
    pub target: Option<TargetId>,
    pub customer: Option<CustomerId>,
    /// How many at most.
    pub limit: i64,
    /// Only those that come after this one, for the next page.
    pub after: Option<GrantId>,
}

/// How often a grant was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrantUse {
    pub sessions: i64,
    pub last_used: Option<Time>,
}

impl Store {
    /// One grant.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM grants WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// Grants of every customer, newest first; the host's side.
    pub async fn grants(&self, filter: GrantFilter) -> Result<Vec<Grant>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM grants g \
             WHERE (CAST($1 AS TEXT) IS NULL OR operator_id = $1) \
               AND (CAST($2 AS TEXT) IS NULL OR EXISTS \
                    (SELECT 1 FROM grant_targets t WHERE t.grant_id = g.id AND t.target_id = $2)) \
               AND (CAST($3 AS TEXT) IS NULL OR customer_id = $3) \
               AND (CAST($4 AS TEXT) IS NULL OR (created_at, id) < \
                    (SELECT a.created_at, a.id FROM grants a WHERE a.id = $4)) \
             ORDER BY created_at DESC, id DESC LIMIT $5",
        )
        .bind(filter.operator.as_ref().map(OperatorId::as_str))
        .bind(filter.target.as_ref().map(TargetId::as_str))
        .bind(filter.customer.as_ref().map(CustomerId::as_str))
        .bind(filter.after.as_ref().map(GrantId::as_str))
        .bind(filter.limit)
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// Active grants whose review is due at `before` or earlier and that do not end by themselves
    /// until then; the longest due first.
    pub async fn grants_due(&self, before: Time, limit: i64) -> Result<Vec<Grant>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM grants \
             WHERE review_due IS NOT NULL AND review_due <= $1 AND valid_until > review_due \
             ORDER BY review_due, id LIMIT $2",
        )
        .bind(before.micros())
        .bind(limit)
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// Every grant as it stood at `at`, proposed and withdrawn ones included: who could do what
    /// is what [`Grant::standing`] says of it at that same time.
    pub async fn grants_as_of(
        &self,
        at: Time,
        operator: Option<&OperatorId>,
        target: Option<&TargetId>,
    ) -> Result<Vec<Grant>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT h.id, h.version, h.body FROM grants g \
             JOIN history h ON h.noun = 'grants' AND h.id = g.id \
             WHERE (CAST($2 AS TEXT) IS NULL OR g.operator_id = $2) \
               AND h.version = (SELECT MAX(version) FROM history \
                                WHERE noun = 'grants' AND id = g.id AND at <= $1) \
             ORDER BY h.id",
        )
        .bind(at.micros())
        .bind(operator.map(OperatorId::as_str))
        .fetch_all(c)
        .await?);
        let mut grants: Vec<Grant> = values(rows)?;
        // A review may have taken the target away since, so that only the old body knows it.
        grants.retain(|grant| target.is_none_or(|t| grant.terms.scope.targets.contains(t)));
        Ok(grants)
    }

    /// How often a grant was used, for its review.
    pub async fn grant_use(&self, id: &GrantId) -> Result<GrantUse, StoreError> {
        let (sessions, last): (i64, Option<i64>) = on!(self.reading(), c => sqlx::query_as(
            "SELECT COUNT(*), MAX(started_at) FROM sessions WHERE grant_id = $1",
        )
        .bind(id.as_str())
        .fetch_one(c)
        .await?);
        Ok(GrantUse {
            sessions,
            last_used: last.map(Time::from_micros),
        })
    }
}

const fn state(grant: &Grant) -> &'static str {
    match grant.state {
        GrantState::Proposed { .. } => "proposed",
        GrantState::Active { .. } => "active",
        GrantState::Withdrawn { .. } => "withdrawn",
    }
}
