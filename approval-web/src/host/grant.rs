//! Rights: the list with its facts, one right, its approval by a second person and its review.

use crate::error::Problem;
use crate::host::plan_form::{Tick, names, operations, tick};
use crate::host::session::Row;
use crate::host::{blank, load};
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use crate::vocabulary::{Badge, People, list as in_one_line};
use ::access::grant::{GrantState, Scope};
use ::access::operator::Role;
use ::access::review::{Attestations, Attested, ReviewDecision};
use ::access::{
    AccountName, CustomerId, Grant, GrantId, Operator, OperatorId, Review, TargetId, Who,
};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Redirect, Response};
use axum_extra::extract::Form;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{GrantFilter, GrantUse, SessionFilter};

const PAGE: i64 = 100;
/// Reviews that come due within this are what there is to do.
pub(crate) const CAMPAIGN: Duration = Duration::from_hours(60 * 24);
const SESSIONS_SHOWN: i64 = 10;

#[derive(Template)]
#[template(path = "host/grants.html")]
struct GrantsPage {
    f: Frame,
    asked: Asked,
    rights: Vec<Right>,
    after: Option<String>,
    may_propose: bool,
}

#[derive(Template)]
#[template(path = "host/grant.html")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one for each thing the page offers or not"
)]
struct GrantPage {
    f: Frame,
    right: Right,
    customer: String,
    proposed_by: String,
    approved_by: Option<String>,
    withdrawn: Option<String>,
    reviews: Vec<Reviewed>,
    sessions: Vec<Row>,
    may_approve: bool,
    may_review: bool,
    own: bool,
    sees_sessions: bool,
    /// What a review may leave of it.
    scope: Vec<(&'static str, String, Vec<Tick>)>,
    zone: String,
}

/// A right with the facts that its review needs.
struct Right {
    id: String,
    who: String,
    customer: String,
    standing: Badge,
    targets: String,
    accounts: String,
    operations: String,
    justification: String,
    basis: String,
    from: String,
    until: String,
    due: Option<String>,
    used: String,
}

struct Reviewed {
    by: String,
    at: String,
    decision: String,
    comment: String,
}

/// `GET /grants`
pub(crate) async fn list(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let filter = GrantFilter {
        operator: blank(&asked.operator, OperatorId::parse, "operators")?,
        target: blank(&asked.target, TargetId::parse, "targets")?,
        customer: blank(&asked.customer, CustomerId::parse, "customer")?,
        limit: PAGE,
        after: blank(&asked.after, GrantId::parse, "grant")?,
    };
    let grants = match asked.due {
        Some(_) => {
            let horizon = site.now().plus(CAMPAIGN);
            site.store().grants_due(horizon, PAGE).await?
        }
        None => site.store().grants(filter).await?,
    };
    let full = i64::try_from(grants.len()).is_ok_and(|count| count == PAGE);
    let after = grants
        .last()
        .filter(|_| full && asked.due.is_none())
        .map(|last| last.id.to_string());
    let holders = grants.iter().map(|grant| grant.terms.operator.clone());
    let people = People::look_up(site.store(), holders.collect()).await?;
    let mut rights = Vec::new();
    for grant in &grants {
        rights.push(Right::of(&site, grant, &f, &people).await?);
    }
    page::render(&GrantsPage {
        f,
        asked,
        rights,
        after,
        may_propose: operator.may(Role::Manager).is_ok(),
    })
}

/// `GET /grants/{id}`: for who watches over rights, and for its holder.
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let one = grant(&site, &id).await?;
    let own = one.terms.operator == operator.id;
    if !own && !crate::RIGHTS.iter().any(|role| operator.may(*role).is_ok()) {
        return Err(Problem::NotFound);
    }
    let people = People::look_up(site.store(), mentioned(&one)).await?;
    let customer = site.store().customer(&one.terms.customer).await?;
    let filter = SessionFilter {
        grant: Some(one.id.clone()),
        limit: SESSIONS_SHOWN,
        ..SessionFilter::default()
    };
    let sessions = site.store().sessions(filter).await?;
    let words = f.words();
    let (proposed_by, approved_by, withdrawn) = match &one.state {
        GrantState::Proposed {
            by, seconded_by, ..
        } => {
            let seconded = seconded_by.as_ref().map(|first| people.name(first));
            (people.who(words, by), seconded, None)
        }
        GrantState::Active {
            proposed_by,
            approved_by,
            ..
        } => (
            people.who(words, proposed_by),
            Some(people.who(words, approved_by)),
            None,
        ),
        GrantState::Withdrawn { by, at, reason } => {
            let values = [
                ("by", people.who(words, by)),
                ("at", words.time(*at)),
                ("text", reason.clone()),
            ];
            let said = words.fill("grant-withdrawn-by", &values);
            (String::new(), None, Some(said))
        }
    };
    let decides = decides(&operator) && !own;
    page::render(&GrantPage {
        right: Right::of(&site, &one, &f, &people).await?,
        customer: customer.map_or_else(|| one.terms.customer.to_string(), |c| c.name),
        may_approve: decides && waits_for(&one, &operator),
        may_review: decides && matches!(one.state, GrantState::Active { .. }),
        own,
        sees_sessions: crate::SESSIONS
            .iter()
            .any(|role| operator.may(*role).is_ok()),
        scope: boxes(&one, &f),
        proposed_by,
        approved_by,
        withdrawn,
        reviews: one
            .reviews
            .iter()
            .rev()
            .map(|review| Reviewed {
                by: people.name(&review.reviewer),
                at: f.time(review.at),
                decision: f.review(&review.decision),
                comment: review.comment.clone(),
            })
            .collect(),
        sessions: sessions
            .iter()
            .map(|one| Row::of(one, &f, &people))
            .collect(),
        zone: f.zone_at(site.now()),
        f,
    })
}

/// `POST /grants/{id}/approve`: by a second person.
pub(crate) async fn approve(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let one = grant(&site, &id).await?;
    let approved = one.approve(&operator, site.now())?;
    site.store().save(approved).await?;
    Ok(Redirect::to(&format!("/grants/{id}")))
}

/// `POST /grants/{id}/review`
pub(crate) async fn review(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
    Form(form): Form<Filled>,
) -> Result<Redirect, Problem> {
    let one = grant(&site, &id).await?;
    let now = site.now();
    let review = Review {
        reviewer: operator.id.clone(),
        decision: form.decision()?,
        attestations: form.attestations(),
        comment: form.comment.trim().to_owned(),
        at: now,
    };
    let reviewed = one.review(&operator, review, now)?;
    site.store().save(reviewed).await?;
    Ok(Redirect::to(&format!("/grants/{id}")))
}

/// `POST /grants/{id}/call-review`: asks for a review at once; until then the right is suspended.
pub(crate) async fn call_review(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let one = grant(&site, &id).await?;
    let now = site.now();
    let called = one.call_for_review(now, Who::Operator(operator.id), now)?;
    site.store().save(called).await?;
    Ok(Redirect::to(&format!("/grants/{id}")))
}

async fn grant(site: &Site, id: &str) -> Result<Grant, Problem> {
    load(GrantId::parse(id), async |id| site.store().grant(&id).await).await
}

/// Whether a proposed right can still use this person's approval.
fn waits_for(one: &Grant, operator: &Operator) -> bool {
    match &one.state {
        GrantState::Proposed {
            by, seconded_by, ..
        } => {
            *by != Who::Operator(operator.id.clone()) && seconded_by.as_ref() != Some(&operator.id)
        }
        GrantState::Active { .. } | GrantState::Withdrawn { .. } => false,
    }
}

fn decides(operator: &Operator) -> bool {
    let may = |role| operator.may(role).is_ok();
    may(Role::Manager) || may(Role::Security)
}

fn mentioned(one: &Grant) -> BTreeSet<OperatorId> {
    let by = match &one.state {
        GrantState::Proposed { by, .. } | GrantState::Withdrawn { by, .. } => vec![by],
        GrantState::Active {
            proposed_by,
            approved_by,
            ..
        } => vec![proposed_by, approved_by],
    };
    let by = by.into_iter().filter_map(|who| match who {
        Who::Operator(id) => Some(id.clone()),
        Who::Contact(_) | Who::CommandLine(_) | Who::Unknown(_) | Who::Bastion => None,
    });
    let reviewers = one.reviews.iter().map(|review| review.reviewer.clone());
    by.chain(reviewers)
        .chain([one.terms.operator.clone()])
        .collect()
}

impl Right {
    async fn of(site: &Site, grant: &Grant, f: &Frame, people: &People) -> Result<Self, Problem> {
        let used = site.store().grant_use(&grant.id).await?;
        let terms = &grant.terms;
        Ok(Self {
            id: grant.id.to_string(),
            who: people.name(&terms.operator),
            customer: terms.customer.to_string(),
            standing: f.standing(grant.standing(site.now())),
            targets: in_one_line(&terms.scope.targets),
            accounts: in_one_line(&terms.scope.accounts),
            operations: f.operations(&terms.scope.operations),
            justification: terms.justification.clone(),
            basis: f.basis(terms.basis),
            from: f.day(terms.validity.start()),
            until: f.day(terms.validity.end()),
            due: grant.review_due().map(|due| f.day(due)),
            used: use_of(&used, f),
        })
    }
}

/// Everything the right reaches, to be kept or not.
fn boxes(one: &Grant, f: &Frame) -> Vec<(&'static str, String, Vec<Tick>)> {
    let scope = &one.terms.scope;
    let targets = scope.targets.iter().map(|id| tick(id, id, &"", &[]));
    let accounts = scope.accounts.iter().map(|name| tick(name, name, &"", &[]));
    let operations = scope
        .operations
        .iter()
        .map(|one| tick(&one.code(), &f.operation(*one), &"", &[]));
    vec![
        ("targets", f.t("plan-targets"), targets.collect()),
        ("accounts", f.t("plan-accounts"), accounts.collect()),
        ("operations", f.t("plan-operations"), operations.collect()),
    ]
}

fn use_of(used: &GrantUse, f: &Frame) -> String {
    match used.last_used {
        Some(last) => {
            let values = [
                ("sessions", used.sessions.to_string()),
                ("last", f.day(last)),
            ];
            f.fill("grant-used", &values)
        }
        None => f.t("grant-never-used"),
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
    after: String,
    /// Only those whose review comes due, soonest first.
    due: Option<String>,
}

/// A review as it was filled in; a box that is not ticked is not sent.
#[derive(Deserialize)]
pub(crate) struct Filled {
    decision: Way,
    nominative: Option<String>,
    justified: Option<String>,
    necessary: Option<String>,
    #[serde(default)]
    comment: String,
    /// What is kept of the right where it is reduced.
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    operations: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Keep,
    Reduce,
    Withdraw,
}

impl Filled {
    fn decision(&self) -> Result<ReviewDecision, Problem> {
        Ok(match self.decision {
            Way::Keep => ReviewDecision::Keep,
            Way::Withdraw => ReviewDecision::Withdraw,
            Way::Reduce => ReviewDecision::Reduce {
                scope: Scope {
                    targets: names(&self.targets, TargetId::parse, "targets")?,
                    accounts: names(&self.accounts, AccountName::parse, "accounts")?,
                    operations: operations(&self.operations)?,
                },
            },
        })
    }

    fn attestations(&self) -> Attestations {
        let ticked = |text: &Option<String>| match text.as_deref() {
            Some("yes" | "on" | "true") => Attested::Yes,
            Some(_) | None => Attested::No,
        };
        Attestations {
            nominative: ticked(&self.nominative),
            justified: ticked(&self.justified),
            necessary: ticked(&self.necessary),
        }
    }
}
