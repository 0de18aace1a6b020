//! Sessions: live and past, by person, system, right and intervention; the host's side.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, value, values};
use access::session::SessionState;
use access::{CustomerId, GrantId, InterventionId, OperatorId, Session, SessionId, TargetId, Time};

const INSERT: &str = "INSERT INTO sessions (id, version, created_at, changed_at, body, \
     operator_id, target_id, grant_id, intervention_id, customer_id, motive, state, started_at) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const UPDATE: &str = "UPDATE sessions SET version = $2 + 1, changed_at = $3, body = $4, \
     operator_id = $5, target_id = $6, grant_id = $7, intervention_id = $8, customer_id = $9, \
     motive = $10, state = $11, started_at = $12 \
     WHERE id = $1 AND version = $2";

impl Row for Session {
    const TABLE: &'static str = "sessions";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         operator_id || ' ' || target_id || ' ' || grant_id || ' ' || intervention_id || ' ' || customer_id || ' ' || state || ' ' || CAST(started_at AS TEXT) || ' ' || motive \
         FROM sessions WHERE id > $1 ORDER BY id LIMIT $2";

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
        format!(
            "{} {} {} {} {} {} {} {}",
            self.operator,
            self.target,
            self.grant,
            self.intervention,
            self.customer,
            state(self),
            self.started_at.micros(),
            self.motive,
        )
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.operator.as_str())
        .bind(self.target.as_str())
        .bind(self.grant.as_str())
        .bind(self.intervention.as_str())
        .bind(self.customer.as_str())
        .bind(self.motive.as_str())
        .bind(state(self))
        .bind(self.started_at.micros())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

/// Which sessions to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    pub operator: Option<OperatorId>,
    pub target: Option<TargetId>,
    pub customer: Option<CustomerId>,
    pub intervention: Option<InterventionId>,
    pub grant: Option<GrantId>,
    /// Only those that are going on.
    pub live_only: bool,
    /// How many at most.
    pub limit: i64,
    /// Only those that started earlier, for the next page.
    pub before: Option<Time>,
}

impl Store {
    /// One session.
    pub async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM sessions WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// Sessions of every customer, newest first; the host's side.
    pub async fn sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM sessions \
             WHERE (CAST($1 AS TEXT) IS NULL OR operator_id = $1) \
               AND (CAST($2 AS TEXT) IS NULL OR target_id = $2) \
               AND (CAST($3 AS TEXT) IS NULL OR customer_id = $3) \
               AND (CAST($4 AS TEXT) IS NULL OR intervention_id = $4) \
               AND (CAST($5 AS TEXT) IS NULL OR grant_id = $5) \
               AND (CAST($6 AS TEXT) IS NULL OR state = $6) \
               AND (CAST($7 AS BIGINT) IS NULL OR started_at < $7) \
             ORDER BY started_at DESC, id DESC LIMIT $8",
        )
        .bind(filter.operator.as_ref().map(OperatorId::as_str))
        .bind(filter.target.as_ref().map(TargetId::as_str))
        .bind(filter.customer.as_ref().map(CustomerId::as_str))
        .bind(filter.intervention.as_ref().map(InterventionId::as_str))
        .bind(filter.grant.as_ref().map(GrantId::as_str))
        .bind(filter.live_only.then_some("live"))
        .bind(filter.before.map(Time::micros))
        .bind(filter.limit)
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// Every session that is going on, oldest first.
    pub async fn live_sessions(&self) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM sessions WHERE state = 'live' ORDER BY started_at, id",
        )
        .fetch_all(c)
        .await?);
        values(rows)
    }
}

const fn state(session: &Session) -> &'static str {
    match session.state {
        SessionState::Live => "live",
        SessionState::Ended { .. } => "ended",
        SessionState::Interrupted { .. } => "interrupted",
    }
}
