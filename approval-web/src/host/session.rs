//! Sessions: find one, and what is known of it without opening its recording.

use crate::error::Problem;
use crate::host::{blank, load};
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use crate::vocabulary::{Badge, People};
use ::access::session::SessionState;
use ::access::{CustomerId, InterventionId, OperatorId, Session, SessionId, TargetId, Time};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use store::{EntryFilter, SessionFilter};

const PAGE: i64 = 50;
const REPLAYS_SHOWN: i64 = 50;

#[derive(Template)]
#[template(path = "host/sessions.html")]
struct SessionsPage {
    f: Frame,
    asked: Asked,
    rows: Vec<Row>,
    /// Where the next page begins.
    before: Option<i64>,
    zone: String,
}

#[derive(Template)]
#[template(path = "host/session.html")]
struct SessionPage {
    f: Frame,
    row: Row,
    customer: String,
    proof: String,
    source: String,
    grant: String,
    plan_version: u32,
    outcome: Option<String>,
    manifest: Option<String>,
    own: bool,
    live: bool,
    replays: Vec<Replayed>,
    zone: String,
}

/// One session in a list.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) who: String,
    pub(crate) target: String,
    pub(crate) intervention: String,
    pub(crate) motive: String,
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    pub(crate) state: Badge,
}

/// Who looked at the recording, and what for.
struct Replayed {
    by: String,
    at: String,
    purpose: String,
}

/// `GET /sessions`
pub(crate) async fn list(
    State(site): State<Arc<Site>>,
    f: Frame,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let filter = SessionFilter {
        operator: blank(&asked.operator, OperatorId::parse, "operators")?,
        target: blank(&asked.target, TargetId::parse, "targets")?,
        customer: blank(&asked.customer, CustomerId::parse, "customer")?,
        intervention: blank(&asked.intervention, InterventionId::parse, "intervention")?,
        grant: None,
        live_only: asked.live.is_some(),
        limit: PAGE,
        before: asked.before.map(Time::from_micros),
    };
    let sessions = site.store().sessions(filter).await?;
    let people = people_of(&site, &sessions).await?;
    let full = i64::try_from(sessions.len()).is_ok_and(|count| count == PAGE);
    page::render(&SessionsPage {
        before: sessions
            .last()
            .filter(|_| full)
            .map(|last| last.started_at.micros()),
        rows: sessions
            .iter()
            .map(|one| Row::of(one, &f, &people))
            .collect(),
        zone: f.zone_at(site.now()),
        asked,
        f,
    })
}

/// `GET /sessions/{id}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let one = session(&site, &id).await?;
    let people = people_of(&site, std::slice::from_ref(&one)).await?;
    let customer = site.store().customer(&one.customer).await?;
    let (outcome, manifest) = match &one.state {
        SessionState::Live => (None, None),
        SessionState::Ended {
            reason,
            manifest_sha256,
            ..
        } => (Some(reason.clone()), Some(manifest_sha256.clone())),
        SessionState::Interrupted {
            manifest_sha256, ..
        } => (
            Some(f.t("session-was-interrupted")),
            Some(manifest_sha256.clone()),
        ),
    };
    page::render(&SessionPage {
        row: Row::of(&one, &f, &people),
        customer: customer.map_or_else(|| one.customer.to_string(), |customer| customer.name),
        proof: f.proof(one.credentials.proof),
        source: one.source.to_string(),
        grant: one.grant.to_string(),
        plan_version: one.plan_version,
        live: outcome.is_none(),
        outcome,
        manifest,
        own: one.operator == operator.id,
        replays: replays(&site, &one, &f).await?,
        zone: f.zone_at(site.now()),
        f,
    })
}

/// One session, whosever it is.
pub(crate) async fn session(site: &Site, id: &str) -> Result<Session, Problem> {
    load(SessionId::parse(id), async |id| {
        site.store().session(&id).await
    })
    .await
}

/// The people a list of sessions names.
pub(crate) async fn people_of(site: &Site, sessions: &[Session]) -> Result<People, Problem> {
    let ids = sessions.iter().map(|one| one.operator.clone()).collect();
    Ok(People::look_up(site.store(), ids).await?)
}

async fn replays(site: &Site, one: &Session, f: &Frame) -> Result<Vec<Replayed>, Problem> {
    let filter = EntryFilter {
        session: Some(one.id.clone()),
        name_prefix: Some(super::replay::STARTED),
        limit: REPLAYS_SHOWN,
        ..EntryFilter::default()
    };
    let entries = site.store().entries_about(filter).await?;
    let read = entries.iter().map(|entry| {
        let value: Value = serde_json::from_str(&entry.text).unwrap_or_default();
        let text = |path: &str| {
            let found = value.pointer(path).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        Replayed {
            by: text("/who/id"),
            at: f.time(entry.at),
            purpose: text("/detail/purpose"),
        }
    });
    Ok(read.collect())
}

impl Row {
    pub(crate) fn of(session: &Session, f: &Frame, people: &People) -> Self {
        let to = match &session.state {
            SessionState::Live => None,
            SessionState::Ended { at, .. } | SessionState::Interrupted { at, .. } => Some(*at),
        };
        Self {
            id: session.id.to_string(),
            who: people.name(&session.operator),
            target: format!("{}@{}", session.account, session.target),
            intervention: session.intervention.to_string(),
            motive: session.motive.clone(),
            from: f.short(session.started_at),
            to: to.map(|at| f.short(at)),
            state: f.session(&session.state),
        }
    }
}

/// What is looked for; what is empty is not.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    operator: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    intervention: String,
    live: Option<String>,
    before: Option<i64>,
}
