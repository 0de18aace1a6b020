//! The facts a decision is made from: one query, every candidate, no judgement.
//!
//! What may be done with them is `access::decide`'s to say; here only what is written is found.

use crate::engine::{Store, on};
use crate::error::StoreError;
use crate::row::{Row, Stored, value};
use access::credentials::Given;
use access::decide::{Asked, Means, Place, Policy};
use access::forward::Endpoint;
use access::grant::{Operation, Standing};
use access::intervention::Phase;
use access::second_factor::SecondFactor;
use access::{
    AccountName, Actor, Certificate, CertificateId, Credentials, Facts, Grant, Intervention,
    InterventionId, Operator, Session, Target, Time,
};
use std::time::Duration;

/// Candidates of each kind that are given to the decision.
const CANDIDATES: usize = 8;
/// How long after its window an intervention is still worth being named in a refusal.
const REMEMBERED: Duration = Duration::from_hours(24 * 30);

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The login that was typed.
    pub operator: &'a str,
    /// The target's name that was typed.
    pub target: &'a str,
    pub account: AccountName,
    /// `None` before the client has said what it wants.
    pub operation: Option<Operation>,
    /// Where a connection through the target wants to go.
    pub forward_to: Option<Endpoint>,
    /// Where the person named one, only that one counts.
    pub intervention: Option<InterventionId>,
    /// What the person proved himself with; `None` before he has.
    pub credentials: Option<Credentials>,
    pub place: Place,
    pub means: Means,
    pub policy: Policy,
    /// When the session began, for one that lives already.
    pub since: Option<Time>,
}

/// Everything that bears on one operator and one target, from one statement and so from one moment.
#[derive(Default)]
struct Found {
    operator: Option<Operator>,
    actor: Option<Actor>,
    target: Option<Target>,
    grants: Vec<Grant>,
    interventions: Vec<Intervention>,
    factor: Option<SecondFactor>,
    certificate: Option<Certificate>,
}

impl Store {
    /// Every candidate for `ask`, the likeliest first; never empty. An unknown operator or target
    /// makes one candidate that lacks it.
    pub async fn facts(&self, ask: &Ask<'_>, now: Time) -> Result<Vec<Facts>, StoreError> {
        let mut found = self.find(ask, now).await?;
        let given = ask.credentials.clone().map(|given| found.given(given));
        let bare = Facts {
            operator: found.operator,
            actor: found.actor,
            given,
            place: ask.place.clone(),
            target: found.target,
            asked: Asked {
                operator: ask.operator.to_owned(),
                target: ask.target.to_owned(),
                account: ask.account.clone(),
                operation: ask.operation,
                forward_to: ask.forward_to.clone(),
            },
            grant: None,
            intervention: None,
            means: ask.means,
            policy: ask.policy.clone(),
            since: ask.since,
        };
        if bare.operator.is_none() || bare.target.is_none() {
            return Ok(vec![bare]);
        }
        let grants = nearest_grants(found.grants, ask, now);
        let interventions = nearest_interventions(found.interventions, ask, now);
        Ok(grants
            .iter()
            .flat_map(|grant| {
                interventions.iter().map(|intervention| Facts {
                    grant: grant.clone(),
                    intervention: intervention.clone(),
                    ..bare.clone()
                })
            })
            .collect())
    }

    /// The facts of a live session as they stand now: its very operator, target, grant and
    /// intervention, whatever has become of them. The country is not kept with a session; where a
    /// policy looks at it, the caller puts the connection's own into `place`.
    pub async fn facts_of(
        &self,
        session: &Session,
        means: Means,
        policy: Policy,
    ) -> Result<Facts, StoreError> {
        let rows: Vec<(String, String, i64, String)> = on!(self.reading(), c => sqlx::query_as(
            "SELECT 'operators' AS noun, id, version, body FROM operators WHERE id = $1 \
             UNION ALL SELECT 'actors', a.id, a.version, a.body FROM operators o \
                       JOIN actors a ON a.id = o.actor_id WHERE o.id = $1 \
             UNION ALL SELECT 'targets', id, version, body FROM targets WHERE id = $2 \
             UNION ALL SELECT 'grants', id, version, body FROM grants WHERE id = $3 \
             UNION ALL SELECT 'interventions', id, version, body FROM interventions WHERE id = $4 \
             UNION ALL SELECT 'second_factors', id, version, body FROM second_factors WHERE id = $5 \
             UNION ALL SELECT 'certificates', id, version, body FROM certificates WHERE id = $6",
        )
        .bind(session.operator.as_str())
        .bind(session.target.as_str())
        .bind(session.grant.as_str())
        .bind(session.intervention.as_str())
        .bind(session.credentials.factor.as_str())
        .bind(certificate_of(Some(&session.credentials)))
        .fetch_all(c)
        .await?);
        let mut found = Found::default();
        for (noun, id, version, body) in rows {
            found.add(&noun, (id, version, body))?;
        }
        let given = found.given(session.credentials.clone());
        Ok(Facts {
            operator: found.operator,
            actor: found.actor,
            given: Some(given),
            place: Place {
                source: session.source,
                country: None,
            },
            target: found.target,
            asked: Asked {
                operator: session.operator.to_string(),
                target: session.target.to_string(),
                account: session.account.clone(),
                operation: None,
                forward_to: None,
            },
            grant: found.grants.pop(),
            intervention: found.interventions.pop(),
            means,
            policy,
            since: Some(session.started_at),
        })
    }

    /// One statement. Grants in force come before those that are not, newer before older;
    /// interventions that name the operator before those that do not, then open, not started,
    /// submitted, and those that ended lately. Somebody else's draft is nobody's business.
    async fn find(&self, ask: &Ask<'_>, now: Time) -> Result<Found, StoreError> {
        let rows: Vec<(String, i64, String, i64, String)> = on!(self.reading(), c => sqlx::query_as(
            "SELECT 'operators' AS noun, CAST(0 AS BIGINT) AS n, id, version, body \
                 FROM operators WHERE id = $1 \
             UNION ALL SELECT 'actors', 0, a.id, a.version, a.body \
                 FROM operators o JOIN actors a ON a.id = o.actor_id WHERE o.id = $1 \
             UNION ALL SELECT 'targets', 0, id, version, body FROM targets WHERE id = $2 \
             UNION ALL SELECT 'grants', n, id, version, body FROM (\
                 SELECT g.id, g.version, g.body, ROW_NUMBER() OVER (ORDER BY \
                     CASE WHEN g.state <> 'active' THEN 2 \
                          WHEN g.valid_from <= $3 AND $3 < g.valid_until AND $3 < g.review_due THEN 0 \
                          ELSE 1 END, \
                     g.created_at DESC, g.id) AS n \
                 FROM grant_targets t JOIN grants g ON g.id = t.grant_id \
                 WHERE t.operator_id = $1 AND t.target_id = $2) AS of_grants WHERE n <= 32 \
             UNION ALL SELECT 'interventions', 0, id, version, body FROM interventions WHERE id = $5 \
             UNION ALL SELECT 'second_factors', 0, id, version, body FROM second_factors WHERE id = $6 \
             UNION ALL SELECT 'certificates', 0, id, version, body FROM certificates WHERE id = $7 \
             UNION ALL SELECT 'interventions', n, id, version, body FROM (\
                 SELECT id, version, body, ROW_NUMBER() OVER (ORDER BY unnamed, place, \
                     CASE WHEN place = 1 THEN window_start ELSE -window_end END, id) AS n \
                 FROM (SELECT i.id, i.version, i.body, i.window_start, i.window_end, \
                           CASE WHEN EXISTS (SELECT 1 FROM intervention_operators o \
                                WHERE o.intervention_id = i.id AND o.operator_id = $1) \
                                THEN 0 ELSE 1 END AS unnamed, \
                           CASE WHEN i.state = 'approved' AND i.window_end <= $3 THEN 3 \
                                WHEN i.state = 'approved' AND i.window_start <= $3 THEN 0 \
                                WHEN i.state = 'approved' THEN 1 \
                                WHEN i.state IN ('draft', 'submitted', 'info_requested') THEN 2 \
                                ELSE 3 END AS place \
                       FROM intervention_targets t JOIN interventions i ON i.id = t.intervention_id \
                       WHERE CAST($5 AS TEXT) IS NULL AND t.target_id = $2 AND t.window_end > $4 \
                         AND (i.state <> 'draft' OR i.requested_by = $1)) AS placed\
                 ) AS of_interventions WHERE n <= 32 \
             ORDER BY noun, n",
        )
        .bind(ask.operator)
        .bind(ask.target)
        .bind(now.micros())
        .bind(now.minus(REMEMBERED).micros())
        .bind(ask.intervention.as_ref().map(InterventionId::as_str))
        .bind(ask.credentials.as_ref().map(|given| given.factor.as_str()))
        .bind(certificate_of(ask.credentials.as_ref()))
        .fetch_all(c)
        .await?);
        let mut found = Found::default();
        for (noun, _, id, version, body) in rows {
            found.add(&noun, (id, version, body))?;
        }
        Ok(found)
    }
}

impl Found {
    fn add(&mut self, noun: &str, row: Stored) -> Result<(), StoreError> {
        match noun {
            Operator::TABLE => self.operator = Some(value(row)?),
            Actor::TABLE => self.actor = Some(value(row)?),
            Target::TABLE => self.target = Some(value(row)?),
            Grant::TABLE => self.grants.push(value(row)?),
            Intervention::TABLE => self.interventions.push(value(row)?),
            SecondFactor::TABLE => self.factor = Some(value(row)?),
            Certificate::TABLE => self.certificate = Some(value(row)?),
            _ => {}
        }
        Ok(())
    }

    fn given(&mut self, credentials: Credentials) -> Given {
        Given {
            credentials,
            factor: self.factor.take(),
            certificate: self.certificate.take(),
        }
    }
}

fn certificate_of(given: Option<&Credentials>) -> Option<&str> {
    given?.certificate.as_ref().map(CertificateId::as_str)
}

/// The grants to try, or the absence of any. Those in force that cover what is asked come first,
/// so that no number of others can hide them.
fn nearest_grants(mut grants: Vec<Grant>, ask: &Ask<'_>, now: Time) -> Vec<Option<Grant>> {
    grants.sort_by_key(|grant| {
        let scope = &grant.terms.scope;
        let serves = grant.standing(now) == Standing::InForce
            && scope.accounts.contains(&ask.account)
            && ask.operation.is_none_or(|o| scope.operations.contains(&o));
        !serves
    });
    grants.truncate(CANDIDATES);
    or_none(grants)
}

/// The interventions to try, or the absence of any. Where one names the operator, those that do
/// not are left out; otherwise they let the refusal say that he is not named. Open ones that cover
/// what is asked come first.
fn nearest_interventions(
    mut found: Vec<Intervention>,
    ask: &Ask<'_>,
    now: Time,
) -> Vec<Option<Intervention>> {
    let names = |i: &Intervention| {
        let operators = &i.plan().text.operators;
        operators.iter().any(|o| o.as_str() == ask.operator)
    };
    if found.iter().any(names) {
        found.retain(names);
    }
    found.sort_by_key(|i| {
        let plan = &i.plan().text;
        let serves = i.phase(now) == Phase::Open
            && plan.accounts.contains(&ask.account)
            && ask.operation.is_none_or(|o| plan.operations.contains(&o))
            && ask
                .forward_to
                .as_ref()
                .is_none_or(|to| to.is_listed(&plan.forwards));
        !serves
    });
    found.truncate(CANDIDATES);
    or_none(found)
}

fn or_none<T>(found: Vec<T>) -> Vec<Option<T>> {
    if found.is_empty() {
        vec![None]
    } else {
        found.into_iter().map(Some).collect()
    }
}
