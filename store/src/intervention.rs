//! Interventions: their numbers, the register, and those that time has overtaken.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Signed, Stamp, Stored, number_or_dash, value, values};
use access::intervention::InterventionState;
use access::{Approval, CustomerId, Intervention, InterventionId, OperatorId, TargetId, Time};

const INSERT: &str = "INSERT INTO interventions (id, version, created_at, changed_at, body, \
     customer_id, requested_by, state, window_start, window_end, ages_at) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5, $6, $7, $8, $9, $10)";
const UPDATE: &str = "UPDATE interventions SET version = $2 + 1, changed_at = $3, body = $4, \
     customer_id = $5, requested_by = $6, state = $7, window_start = $8, window_end = $9, ages_at = $10 \
     WHERE id = $1 AND version = $2";

impl Row for Intervention {
    const TABLE: &'static str = "interventions";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         customer_id || ' ' || requested_by || ' ' || state || ' ' || CAST(window_start AS TEXT) || ' ' || CAST(window_end AS TEXT) || ' ' || COALESCE(CAST(ages_at AS TEXT), '-') \
         FROM interventions WHERE id > $1 ORDER BY id LIMIT $2";

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
        let window = self.plan().text.window;
        format!(
            "{} {} {} {} {} {}",
            self.customer,
            self.requested_by,
            state(self),
            window.start().micros(),
            window.end().micros(),
            number_or_dash(ages_at(self)),
        )
    }

    fn approvals(&self) -> Vec<Signed> {
        let signed = |approval: &Approval| {
            let plan = self.plan_version(approval.plan_version);
            let version = approval.plan_version;
            let stated = plan
                .filter(|plan| plan.hash() == approval.plan_hash && approval.states(self, plan));
            let wrong = match stated {
                None => Some(format!(
                    "its statement is not what was shown for plan version {version}"
                )),
                Some(plan) if !self.extends_nothing_but_the_end(plan) => Some(format!(
                    "plan version {version} is more than a later end of the one it extends"
                )),
                Some(_) => None,
            };
            Signed {
                approval: approval.clone(),
                wrong,
            }
        };
        let mut all: Vec<Signed> = self.approvals.iter().map(signed).collect();
        if let InterventionState::Approved { .. } = self.state
            && self.approval().is_none()
            && let Some(last) = all.last_mut()
        {
            last.wrong
                .get_or_insert_with(|| "it does not cover the plan as it stands".to_owned());
        }
        all
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        let window = self.plan().text.window;
        let rows = on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.customer.as_str())
        .bind(self.requested_by.as_str())
        .bind(state(self))
        .bind(window.start().micros())
        .bind(window.end().micros())
        .bind(ages_at(self).map(Time::micros))
        .execute(c)
        .await?
        .rows_affected());
        write_targets(tx, self).await?;
        write_operators(tx, self).await?;
        Ok(rows)
    }
}

/// Which interventions to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct InterventionFilter<'a> {
    /// One whom the plan names.
    pub operator: Option<OperatorId>,
    pub requested_by: Option<OperatorId>,
    pub target: Option<TargetId>,
    pub customer: Option<CustomerId>,
    /// Stored states (`draft`, `submitted`, `info_requested`, `approved`, `refused`, `withdrawn`,
    /// `expired`, `revoked`, `closed`); none means all. Whether an approved one is open is
    /// [`Intervention::phase`].
    pub states: Vec<&'a str>,
    /// How many at most.
    pub limit: i64,
    /// Only those that come after this one, for the next page.
    pub after: Option<InterventionId>,
}

impl Store {
    /// The next number of the year `now` lies in. A number that is given and not used is lost.
    pub async fn next_intervention_id(&self, now: Time) -> Result<InterventionId, StoreError> {
        let mut tx = self.begin().await?;
        let last: i64 = on!(tx.next(), c => sqlx::query_scalar(
            "INSERT INTO intervention_numbers (year, last) VALUES ($1, 1) \
             ON CONFLICT (year) DO UPDATE SET last = intervention_numbers.last + 1 \
             RETURNING last",
        )
        .bind(i64::from(now.year()))
        .fetch_one(c)
        .await?);
        tx.commit().await?;
        Ok(InterventionId::numbered(now.year(), last))
    }

    /// One intervention.
    pub async fn intervention(
        &self,
        id: &InterventionId,
    ) -> Result<Option<Intervention>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM interventions WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// Interventions of every customer, newest first; the host's side.
    pub async fn interventions(
        &self,
        filter: InterventionFilter<'_>,
    ) -> Result<Vec<Intervention>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM interventions i \
             WHERE (CAST($1 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM intervention_operators o \
                    WHERE o.intervention_id = i.id AND o.operator_id = $1)) \
               AND (CAST($2 AS TEXT) IS NULL OR requested_by = $2) \
               AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM intervention_targets t \
                    WHERE t.intervention_id = i.id AND t.target_id = $3)) \
               AND (CAST($4 AS TEXT) IS NULL OR customer_id = $4) \
               AND (CAST($5 AS TEXT) IS NULL OR $5 LIKE '%,' || state || ',%') \
               AND (CAST($6 AS TEXT) IS NULL OR (created_at, id) < \
                    (SELECT a.created_at, a.id FROM interventions a WHERE a.id = $6)) \
             ORDER BY created_at DESC, id DESC LIMIT $7",
        )
        .bind(filter.operator.as_ref().map(OperatorId::as_str))
        .bind(filter.requested_by.as_ref().map(OperatorId::as_str))
        .bind(filter.target.as_ref().map(TargetId::as_str))
        .bind(filter.customer.as_ref().map(CustomerId::as_str))
        .bind(one_of(&filter.states))
        .bind(filter.after.as_ref().map(InterventionId::as_str))
        .bind(filter.limit)
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// Those that [`Intervention::aged`] would change at `now`, the longest overdue first.
    pub async fn aging(&self, now: Time, limit: i64) -> Result<Vec<Intervention>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM interventions \
             WHERE ages_at IS NOT NULL AND ages_at <= $1 ORDER BY ages_at, id LIMIT $2",
        )
        .bind(now.micros())
        .bind(limit)
        .fetch_all(c)
        .await?);
        values(rows)
    }
}

/// Several words as `,one,two,`, in which `LIKE` finds each; nothing for none.
pub(crate) fn one_of(words: &[&str]) -> Option<String> {
    (!words.is_empty()).then(|| format!(",{},", words.join(",")))
}

async fn write_targets(tx: &mut Tx, intervention: &Intervention) -> Result<(), sqlx::Error> {
    on!(tx.next(), c => sqlx::query("DELETE FROM intervention_targets WHERE intervention_id = $1")
    .bind(intervention.id.as_str())
    .execute(c)
    .await
    .map(|_| ()))?;
    let plan = &intervention.plan().text;
    for target in &plan.targets {
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO intervention_targets (intervention_id, target_id, customer_id, window_end) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(intervention.id.as_str())
        .bind(target.as_str())
        .bind(intervention.customer.as_str())
        .bind(plan.window.end().micros())
        .execute(c)
        .await
        .map(|_| ()))?;
    }
    Ok(())
}

async fn write_operators(tx: &mut Tx, intervention: &Intervention) -> Result<(), sqlx::Error> {
    on!(tx.next(), c => sqlx::query("DELETE FROM intervention_operators WHERE intervention_id = $1")
    .bind(intervention.id.as_str())
    .execute(c)
    .await
    .map(|_| ()))?;
    for operator in &intervention.plan().text.operators {
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO intervention_operators (intervention_id, operator_id) VALUES ($1, $2)",
        )
        .bind(intervention.id.as_str())
        .bind(operator.as_str())
        .execute(c)
        .await
        .map(|_| ()))?;
    }
    Ok(())
}

const fn state(intervention: &Intervention) -> &'static str {
    match intervention.state {
        InterventionState::Draft => "draft",
        InterventionState::Submitted { .. } => "submitted",
        InterventionState::InfoRequested { .. } => "info_requested",
        InterventionState::Approved { .. } => "approved",
        InterventionState::Refused { .. } => "refused",
        InterventionState::Withdrawn { .. } => "withdrawn",
        InterventionState::Expired { .. } => "expired",
        InterventionState::Revoked { .. } => "revoked",
        InterventionState::Closed { .. } => "closed",
    }
}

/// When time alone will change it; the same rule as [`Intervention::aged`].
fn ages_at(intervention: &Intervention) -> Option<Time> {
    match intervention.state {
        InterventionState::Submitted { deadline, .. }
        | InterventionState::InfoRequested { deadline, .. } => Some(deadline),
        InterventionState::Approved { .. } => Some(intervention.plan().text.window.end()),
        InterventionState::Draft
        | InterventionState::Refused { .. }
        | InterventionState::Withdrawn { .. }
        | InterventionState::Expired { .. }
        | InterventionState::Revoked { .. }
        | InterventionState::Closed { .. } => None,
    }
}
