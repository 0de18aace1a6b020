//! My work: my interventions and what to type for them, my rights, my second factors.

use crate::error::Problem;
use crate::host::commands;
use crate::host::grant;
use crate::host::interventions::{self, Row};
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use crate::vocabulary::{Badge, list};
use access::grant::Standing;
use access::intervention::Phase;
use access::operator::Role;
use access::second_factor::Proof;
use access::{Grant, Intervention, Operator};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use store::{GrantFilter, InterventionFilter};

const LOOKED_AT: i64 = 100;
const LATELY: usize = 8;

#[derive(Template)]
#[template(path = "host/home.html")]
struct HomePage {
    f: Frame,
    open: Vec<Open>,
    coming: Vec<Row>,
    lately: Vec<Row>,
    rights: Vec<Right>,
    menu: String,
    known_hosts: String,
    passkeys: usize,
    generators: usize,
    /// What waits for the person in other roles, each with where.
    duties: Vec<(&'static str, String)>,
    may_plan: bool,
    charter: Option<String>,
}

/// An intervention whose window is open.
struct Open {
    row: Row,
    left: String,
    ways: Vec<commands::Ways>,
}

struct Right {
    id: String,
    standing: Badge,
    customer: String,
    targets: String,
    accounts: String,
    operations: String,
    review_due: String,
    until: String,
}

/// `GET /`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, visit }: AsOperator,
) -> Result<Response, Problem> {
    let now = site.now();
    let wanted = InterventionFilter {
        limit: LOOKED_AT,
        ..InterventionFilter::default()
    };
    let mine = interventions::of(&site, &operator, wanted).await?;
    let (mut open, mut coming, mut lately) = (Vec::new(), Vec::new(), Vec::new());
    for one in mine {
        match one.phase(now) {
            Phase::Open if one.plan().text.operators.contains(&operator.id) => open.push(one),
            Phase::Draft
            | Phase::Submitted
            | Phase::InfoRequested
            | Phase::Approved
            | Phase::Open => coming.push(one),
            Phase::Over
            | Phase::Refused
            | Phase::Withdrawn
            | Phase::Expired
            | Phase::Revoked
            | Phase::Closed => lately.push(one),
        }
    }
    lately.truncate(LATELY);
    let factors = site.store().factors(&visit.session.holder).await?;
    let proofs = |wanted: Proof| {
        factors
            .iter()
            .filter(|one| one.strength() == wanted)
            .count()
    };
    let charter = site.web.policy.charter.clone();
    let page = HomePage {
        open: opened(&site, &f, &operator, open).await?,
        coming: interventions::rows(&site, &f, &coming, now).await?,
        lately: interventions::rows(&site, &f, &lately, now).await?,
        rights: rights(&site, &f, &operator).await?,
        duties: duties(&site, &f, &operator).await?,
        menu: commands::menu(&site, &operator),
        known_hosts: commands::known_hosts(&site, &operator),
        passkeys: proofs(Proof::Passkey),
        generators: proofs(Proof::Totp),
        may_plan: crate::PLANNERS
            .iter()
            .any(|role| operator.may(*role).is_ok()),
        charter: charter.filter(|version| operator.charter.as_ref() != Some(version)),
        f,
    };
    page::render(&page)
}

async fn opened(
    site: &Site,
    f: &Frame,
    operator: &Operator,
    open: Vec<Intervention>,
) -> Result<Vec<Open>, Problem> {
    let now = site.now();
    let rows = interventions::rows(site, f, &open, now).await?;
    Ok(rows
        .into_iter()
        .zip(open)
        .map(|(row, one)| Open {
            row,
            left: f.span(now, one.plan().text.window.end()),
            ways: commands::of_intervention(site, operator, &one),
        })
        .collect())
}

/// Reviews that come due, for who decides on rights; live sessions, for who watches over them.
async fn duties(
    site: &Site,
    f: &Frame,
    operator: &Operator,
) -> Result<Vec<(&'static str, String)>, Problem> {
    let holds = |roles: &[Role]| roles.iter().any(|role| operator.may(*role).is_ok());
    let mut duties = Vec::new();
    if holds(crate::RIGHTS_DECIDED) {
        let horizon = site.now().plus(grant::CAMPAIGN);
        let due = site.store().grants_due(horizon, LOOKED_AT).await?;
        duties.push(("/grants?due=yes", f.count("work-reviews", due.len())));
    }
    if holds(crate::SESSIONS) {
        let live = site.store().live_sessions().await?;
        duties.push(("/sessions?live=yes", f.count("work-live", live.len())));
    }
    Ok(duties)
}

async fn rights(site: &Site, f: &Frame, operator: &Operator) -> Result<Vec<Right>, Problem> {
    let filter = GrantFilter {
        operator: Some(operator.id.clone()),
        limit: LOOKED_AT,
        ..GrantFilter::default()
    };
    let now = site.now();
    let grants = site.store().grants(filter).await?;
    let shown = |grant: &&Grant| match grant.standing(now) {
        Standing::Proposed | Standing::NotStarted | Standing::InForce | Standing::ReviewOverdue => {
            true
        }
        Standing::Expired | Standing::Withdrawn => false,
    };
    Ok(grants
        .iter()
        .filter(shown)
        .map(|grant| Right {
            id: grant.id.to_string(),
            standing: f.standing(grant.standing(now)),
            customer: grant.terms.customer.to_string(),
            targets: list(&grant.terms.scope.targets),
            accounts: list(&grant.terms.scope.accounts),
            operations: f.operations(&grant.terms.scope.operations),
            review_due: grant
                .review_due()
                .map_or_else(String::new, |due| f.day(due)),
            until: f.day(grant.terms.validity.end()),
        })
        .collect())
}
