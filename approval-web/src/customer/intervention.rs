//! One intervention as the contact reads it: the whole text he would sign, and afterwards what was
//! done. Signing is `decision`'s.

use crate::customer::{intervention, scope};
use crate::error::Problem;
use crate::extension::{self, ExtensionView};
use crate::page::{self, Frame};
use crate::plan::{self, PlanView};
use crate::sign_in::AsContact;
use crate::site::Site;
use crate::vocabulary::{Badge, People};
use ::access::approval::Decision;
use ::access::intervention::{InterventionState, Message, Phase};
use ::access::{Contact, Intervention, Operator, Session, Time};
use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Stands in the shown statement where the server's random value will be.
const NONCE_SHOWN: &str = "…";

#[derive(Template)]
#[template(path = "customer/intervention.html")]
struct InterventionPage {
    f: Frame,
    number: String,
    plan: PlanView,
    /// More time that somebody asks for; all that a decision would be about.
    extension: Option<ExtensionView>,
    extensions: Vec<ExtensionView>,
    /// The version that waits for a decision, as the forms name it.
    awaited_version: u32,
    awaited_hash: String,
    phase: Badge,
    deadline: Option<String>,
    left: Option<String>,
    decision: Decidable,
    may_revoke: bool,
    outcome: Option<String>,
    decisions: Vec<Decided>,
    messages: Vec<Said>,
    sessions: Vec<SessionRow>,
    zone: String,
}

/// Whether this contact may decide now.
enum Decidable {
    /// He may; this is the statement he would sign to approve.
    Yes { statement: String },
    /// It waits, but not for him, or not now; why.
    No { why: String },
    /// Nothing waits.
    Over,
}

impl Decidable {
    fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

struct Decided {
    what: Badge,
    by: String,
    at: String,
    version: u32,
    reason: Option<String>,
    statement: String,
}

struct Said {
    by: String,
    at: String,
    text: String,
    mine: bool,
}

struct SessionRow {
    who: String,
    target: String,
    motive: String,
    from: String,
    to: Option<String>,
    state: Badge,
}

/// `GET /interventions/{id}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsContact { contact, .. }: AsContact,
) -> Result<Response, Problem> {
    let one = intervention(&site, &contact, &id).await?;
    let now = site.now();
    let scope = scope(&site, &contact);
    let sessions = scope.sessions_of(&one.id).await?;
    let operators = site.store().people_of(&one).await?;
    let mentioned = sessions
        .iter()
        .map(|session| &session.operator)
        .chain(&one.plan().text.operators)
        .chain([&one.requested_by])
        .chain(extension::askers(&one));
    let people = People::look_up(site.store(), mentioned.cloned().collect()).await?;
    let customer = scope.customer().await?;
    let customer = customer.map_or_else(|| contact.customer.to_string(), |c| c.name);
    let words = f.words();
    let deadline = deadline(&one).filter(|until| now < *until);
    let page = InterventionPage {
        number: one.id.to_string(),
        plan: PlanView::of(&one, &customer, words, &people),
        extension: ExtensionView::waiting(&one, words, &people, now),
        extensions: ExtensionView::past(&one, words, &people),
        awaited_version: one.awaited().number,
        awaited_hash: one.awaited().hash(),
        phase: words.phase(one.phase(now)),
        deadline: deadline.map(|until| words.time(until)),
        left: deadline.map(|until| words.span(now, until)),
        decision: decidable(&one, &contact, &operators, &f, now),
        may_revoke: matches!(one.phase(now), Phase::Approved | Phase::Open)
            && contact.may_approve().is_ok(),
        outcome: plan::outcome(&one, words, &people),
        decisions: one
            .approvals
            .iter()
            .rev()
            .map(|approval| {
                let reason = match &approval.decision {
                    Decision::Approve => None,
                    Decision::Refuse { reason } => Some(reason.clone()),
                };
                Decided {
                    what: words.decision(&approval.decision),
                    by: approval.approver.to_string(),
                    at: words.time(approval.at),
                    version: approval.plan_version,
                    reason,
                    statement: approval.statement.text().to_owned(),
                }
            })
            .collect(),
        messages: one
            .messages
            .iter()
            .map(|message| said(message, &contact, &f, &people))
            .collect(),
        sessions: sessions
            .iter()
            .map(|session| row(session, &f, &people))
            .collect(),
        zone: words.zone_at(now),
        f,
    };
    page::render(&page)
}

/// `POST /interventions/{id}/question`
pub(crate) async fn ask(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsContact { contact, .. }: AsContact,
    Form(form): Form<Question>,
) -> Result<Redirect, Problem> {
    let one = intervention(&site, &contact, &id).await?;
    let asked = one.ask(&contact, form.question.trim(), site.now())?;
    site.store().save(asked).await?;
    Ok(Redirect::to(&format!("/interventions/{id}")))
}

/// `POST /interventions/{id}/revoke`: live sessions end.
pub(crate) async fn revoke(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsContact { contact, visit }: AsContact,
    Form(form): Form<Reason>,
) -> Result<Redirect, Problem> {
    let now = site.now();
    visit.must_be_fresh(now)?;
    let one = intervention(&site, &contact, &id).await?;
    let revoked = one.revoke_by_contact(&contact, form.reason.trim(), now)?;
    site.store().save(revoked).await?;
    Ok(Redirect::to(&format!("/interventions/{id}")))
}

fn decidable(
    one: &Intervention,
    contact: &Contact,
    people: &[Operator],
    f: &Frame,
    now: Time,
) -> Decidable {
    match one.phase(now) {
        Phase::InfoRequested => Decidable::No {
            why: f.t("decision-waits-for-answer"),
        },
        Phase::Approved | Phase::Open if one.waiting_extension(now).is_none() => Decidable::Over,
        Phase::Submitted | Phase::Approved | Phase::Open => {
            match one.statement(contact, people, &Decision::Approve, NONCE_SHOWN, now) {
                Ok(statement) => Decidable::Yes {
                    statement: statement.text().to_owned(),
                },
                Err(refusal) => Decidable::No {
                    why: f.refusal(&refusal),
                },
            }
        }
        Phase::Draft
        | Phase::Over
        | Phase::Refused
        | Phase::Withdrawn
        | Phase::Expired
        | Phase::Revoked
        | Phase::Closed => Decidable::Over,
    }
}

/// Until when somebody has to answer: the contact, or whoever he asked.
pub(crate) fn deadline(one: &Intervention) -> Option<Time> {
    match one.state {
        InterventionState::InfoRequested { deadline, .. } => Some(deadline),
        InterventionState::Submitted { .. } | InterventionState::Approved { .. } => {
            one.decidable_until()
        }
        InterventionState::Draft
        | InterventionState::Refused { .. }
        | InterventionState::Withdrawn { .. }
        | InterventionState::Expired { .. }
        | InterventionState::Revoked { .. }
        | InterventionState::Closed { .. } => None,
    }
}

fn said(message: &Message, contact: &Contact, f: &Frame, people: &People) -> Said {
    Said {
        by: people.who(f.words(), &message.by),
        at: f.time(message.at),
        text: message.text.clone(),
        mine: message.by == ::access::Who::Contact(contact.id.clone()),
    }
}

fn row(session: &Session, f: &Frame, people: &People) -> SessionRow {
    use ::access::session::SessionState;
    let to = match &session.state {
        SessionState::Live => None,
        SessionState::Ended { at, .. } | SessionState::Interrupted { at, .. } => Some(*at),
    };
    SessionRow {
        who: people.name(&session.operator),
        target: format!("{}@{}", session.account, session.target),
        motive: session.motive.clone(),
        from: f.short(session.started_at),
        to: to.map(|at| f.short(at)),
        state: f.session(&session.state),
    }
}

#[derive(Deserialize)]
pub(crate) struct Question {
    question: String,
}

#[derive(Deserialize)]
pub(crate) struct Reason {
    reason: String,
}
