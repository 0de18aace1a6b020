//! Interventions: planned, previewed as the contact will read them, submitted, answered, closed.

use crate::error::Problem;
use crate::extension::{self, ExtensionView};
use crate::guard::SaysItself;
use crate::host::blank;
use crate::host::commands;
use crate::host::plan_form::{self, Choices, PlanForm};
use crate::page::{self, Frame};
use crate::plan::{self, PlanView};
use crate::sign_in::AsOperator;
use crate::site::Site;
use crate::vocabulary::{Badge, People, list};
use access::intervention::{InterventionState, Phase};
use access::operator::Role;
use access::session::SessionState;
use access::{CustomerId, Intervention, InterventionId, Operator, OperatorId, TargetId, Time};
use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form as ManyForm;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{InterventionFilter, SessionFilter};

const SHOWN: i64 = 100;

#[derive(Template)]
#[template(path = "host/interventions.html")]
struct ListPage {
    f: Frame,
    rows: Vec<Row>,
    filter: Filter,
    may_plan: bool,
}

/// One intervention in a list.
pub(crate) struct Row {
    pub(crate) number: String,
    pub(crate) purpose: String,
    pub(crate) customer: String,
    pub(crate) systems: String,
    pub(crate) who: String,
    pub(crate) window: String,
    pub(crate) phase: Badge,
}

#[derive(Template)]
#[template(path = "host/plan_form.html")]
struct FormPage {
    f: Frame,
    /// The intervention that is edited; none for a new one.
    number: Option<String>,
    /// What is wrong with what was typed.
    trouble: Option<String>,
    form: PlanForm,
    choices: Choices,
}

#[derive(Template)]
#[template(path = "host/intervention.html")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what the template shows or not, each by itself"
)]
struct InterventionPage {
    f: Frame,
    number: String,
    plan: PlanView,
    phase: Badge,
    draft: bool,
    waits: bool,
    asked: bool,
    may_edit: bool,
    may_close: bool,
    may_extend: bool,
    may_stop: bool,
    extension: Option<ExtensionView>,
    extensions: Vec<ExtensionView>,
    outcome: Option<String>,
    left: Option<String>,
    messages: Vec<(String, String, String)>,
    decisions: Vec<(Badge, String)>,
    sessions: Vec<SessionRow>,
    sees_sessions: bool,
    ways: Vec<commands::Ways>,
    known_hosts: String,
}

struct SessionRow {
    id: String,
    who: String,
    target: String,
    from: String,
    to: String,
    state: Badge,
}

/// `GET /interventions`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let now = site.now();
    let wanted = InterventionFilter {
        customer: blank(&filter.customer, CustomerId::parse, "customer")?,
        target: blank(&filter.target, TargetId::parse, "target")?,
        operator: blank(&filter.operator, OperatorId::parse, "operator")?,
        states: Some(filter.state.as_str())
            .filter(|state| !state.is_empty())
            .into_iter()
            .collect(),
        limit: SHOWN,
        ..InterventionFilter::default()
    };
    let mut found = if sees_all(&operator) {
        site.store().interventions(wanted).await?
    } else {
        of(&site, &operator, wanted).await?
    };
    found.retain(|one| may_see(&operator, one));
    let rows = rows(&site, &f, &found, now).await?;
    page::render(&ListPage {
        f,
        rows,
        filter,
        may_plan: may_plan(&operator),
    })
}

/// The interventions a person asked for or works in, newest first.
pub(crate) async fn of(
    site: &Site,
    operator: &Operator,
    wanted: InterventionFilter<'_>,
) -> Result<Vec<Intervention>, Problem> {
    let id = Some(operator.id.clone());
    let named = InterventionFilter {
        operator: id.clone(),
        ..wanted.clone()
    };
    let asked = InterventionFilter {
        requested_by: id,
        ..wanted
    };
    let mut found = site.store().interventions(named).await?;
    let seen: BTreeSet<InterventionId> = found.iter().map(|one| one.id.clone()).collect();
    let asked = site.store().interventions(asked).await?;
    found.extend(asked.into_iter().filter(|one| !seen.contains(&one.id)));
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(found)
}

/// Interventions as a list shows them.
pub(crate) async fn rows(
    site: &Site,
    f: &Frame,
    found: &[Intervention],
    now: Time,
) -> Result<Vec<Row>, Problem> {
    let mentioned = found.iter().flat_map(|one| &one.plan().text.operators);
    let people = People::look_up(site.store(), mentioned.cloned().collect()).await?;
    Ok(found
        .iter()
        .map(|one| Row {
            number: one.id.to_string(),
            purpose: one.plan().text.purpose.clone(),
            customer: one.customer.to_string(),
            systems: list(&one.plan().text.targets),
            who: people.names(&one.plan().text.operators),
            window: f.window(one.plan().text.window),
            phase: f.phase(one.phase(now)),
        })
        .collect())
}

/// `GET /interventions/new`
pub(crate) async fn new_page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
    Query(query): Query<NewQuery>,
) -> Result<Response, Problem> {
    let form = PlanForm::fresh(&operator, query.target, site.now());
    let choices = form.choices(&site, &operator, f.words()).await?;
    page::render(&FormPage {
        f,
        number: None,
        trouble: None,
        form,
        choices,
    })
}

/// `POST /interventions`: a draft, which nobody else sees.
pub(crate) async fn create(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
    ManyForm(form): ManyForm<PlanForm>,
) -> Result<Response, Problem> {
    match draft(&site, &operator, &form).await {
        Ok(id) => Ok(to(&id).into_response()),
        Err(problem) => typed_again(&site, f, &operator, None, form, problem).await,
    }
}

async fn draft(site: &Site, by: &Operator, form: &PlanForm) -> Result<InterventionId, Problem> {
    let text = form.read()?;
    let customer = plan_form::customer_of(site, &text).await?;
    let now = site.now();
    let id = site.store().next_intervention_id(now).await?;
    let draft = Intervention::draft(id, customer, text, by, now)?;
    Ok(site.store().save(draft).await?.id)
}

/// The form with all that was typed, and what is wrong with it.
async fn typed_again(
    site: &Site,
    f: Frame,
    by: &Operator,
    number: Option<String>,
    form: PlanForm,
    problem: Problem,
) -> Result<Response, Problem> {
    if !matches!(problem, Problem::Refused(_) | Problem::Form(_)) {
        return Err(problem);
    }
    let choices = form.choices(site, by, f.words()).await?;
    let mut response = page::render(&FormPage {
        trouble: Some(page::text_of(f.words(), &problem)),
        f,
        number,
        form,
        choices,
    })?;
    *response.status_mut() = problem.status();
    response.extensions_mut().insert(SaysItself);
    Ok(response)
}

/// `GET /interventions/{id}/edit`
pub(crate) async fn edit_page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let one = find(&site, &operator, &id).await?;
    if one.requested_by != operator.id {
        return Err(Problem::NotFound);
    }
    let form = PlanForm::of(&one.plan().text);
    let choices = form.choices(&site, &operator, f.words()).await?;
    page::render(&FormPage {
        f,
        number: Some(one.id.to_string()),
        trouble: None,
        form,
        choices,
    })
}

/// `POST /interventions/{id}/edit`: a new version of the plan; what was approved counts no longer.
pub(crate) async fn edit(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
    ManyForm(form): ManyForm<PlanForm>,
) -> Result<Response, Problem> {
    let one = find(&site, &operator, &id).await?;
    let number = Some(one.id.to_string());
    match amend(&site, &operator, one, &form).await {
        Ok(id) => Ok(to(&id).into_response()),
        Err(problem) => typed_again(&site, f, &operator, number, form, problem).await,
    }
}

async fn amend(
    site: &Site,
    by: &Operator,
    one: Intervention,
    form: &PlanForm,
) -> Result<InterventionId, Problem> {
    let text = form.read()?;
    if plan_form::customer_of(site, &text).await? != one.customer {
        return Err(plan_form::several_customers());
    }
    let amended = one.amend(text, by, site.now())?;
    Ok(site.store().save(amended).await?.id)
}

/// `POST /interventions/{id}/submit`
pub(crate) async fn submit(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let one = find(&site, &operator, &id).await?;
    let submitted = one.submit(&operator, site.now())?;
    Ok(to(&site.store().save(submitted).await?.id))
}

/// `POST /interventions/{id}/answer`
pub(crate) async fn answer(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
    Form(form): Form<Said>,
) -> Result<Redirect, Problem> {
    let one = find(&site, &operator, &id).await?;
    let answered = one.answer(&operator, &plan_form::clean(&form.text), site.now())?;
    Ok(to(&site.store().save(answered).await?.id))
}

/// `POST /interventions/{id}/withdraw`
pub(crate) async fn withdraw(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let one = find(&site, &operator, &id).await?;
    let withdrawn = one.withdraw(&operator, site.now())?;
    Ok(to(&site.store().save(withdrawn).await?.id))
}

/// `POST /interventions/{id}/close`
pub(crate) async fn close(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
    Form(form): Form<Said>,
) -> Result<Redirect, Problem> {
    let one = find(&site, &operator, &id).await?;
    let closed = one.close(&operator, &plan_form::clean(&form.text), site.now())?;
    Ok(to(&site.store().save(closed).await?.id))
}

/// `POST /interventions/{id}/extension`: the customer is asked for more time.
pub(crate) async fn extend(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, .. }: AsOperator,
    Form(form): Form<MoreTime>,
) -> Result<Redirect, Problem> {
    let one = find(&site, &operator, &id).await?;
    let more = Duration::from_mins(form.minutes.trim().parse::<u32>().unwrap_or(0).into());
    let until = one.plan().text.window.end().plus(more);
    let reason = plan_form::clean(&form.text);
    let asked = one.ask_extension(until, &reason, &operator, site.now())?;
    Ok(to(&site.store().save(asked).await?.id))
}

/// `POST /interventions/{id}/revoke`: security stops it; live sessions end.
pub(crate) async fn revoke(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, visit }: AsOperator,
    Form(form): Form<Said>,
) -> Result<Redirect, Problem> {
    let now = site.now();
    visit.must_be_fresh(now)?;
    let one = find(&site, &operator, &id).await?;
    let revoked = one.revoke_by_security(&operator, &plan_form::clean(&form.text), now)?;
    Ok(to(&site.store().save(revoked).await?.id))
}

/// `GET /interventions/{id}`
pub(crate) async fn one_page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let one = find(&site, &operator, &id).await?;
    let now = site.now();
    let filter = SessionFilter {
        intervention: Some(one.id.clone()),
        limit: SHOWN,
        ..SessionFilter::default()
    };
    let sessions = site.store().sessions(filter).await?;
    let mentioned = sessions
        .iter()
        .map(|session| &session.operator)
        .chain(&one.plan().text.operators)
        .chain([&one.requested_by])
        .chain(extension::askers(&one));
    let people = People::look_up(site.store(), mentioned.cloned().collect()).await?;
    let customer = site.store().customer(&one.customer).await?;
    let customer = customer.map_or_else(|| one.customer.to_string(), |c| c.name);
    let words = f.words();
    let phase = one.phase(now);
    let mine = one.requested_by == operator.id;
    let named = one.plan().text.operators.contains(&operator.id);
    let approved = matches!(phase, Phase::Approved | Phase::Open);
    let page = InterventionPage {
        number: one.id.to_string(),
        plan: PlanView::of(&one, &customer, words, &people),
        phase: words.phase(phase),
        draft: mine && phase == Phase::Draft,
        waits: mine
            && matches!(
                phase,
                Phase::Draft | Phase::Submitted | Phase::InfoRequested
            ),
        asked: mine && phase == Phase::InfoRequested,
        may_edit: mine
            && (approved
                || matches!(
                    phase,
                    Phase::Draft | Phase::Submitted | Phase::InfoRequested
                )),
        may_close: (mine || named) && approved,
        may_extend: (mine || named) && approved && one.waiting_extension(now).is_none(),
        extension: ExtensionView::waiting(&one, words, &people, now),
        extensions: ExtensionView::past(&one, words, &people),
        may_stop: approved && operator.may(Role::Security).is_ok(),
        outcome: plan::outcome(&one, words, &people),
        left: (phase == Phase::Open).then(|| words.span(now, one.plan().text.window.end())),
        messages: one
            .messages
            .iter()
            .map(|m| (people.who(words, &m.by), words.time(m.at), m.text.clone()))
            .collect(),
        decisions: decisions(&one, &f),
        sessions: sessions
            .iter()
            .map(|session| SessionRow {
                id: session.id.to_string(),
                who: people.name(&session.operator),
                target: format!("{}@{}", session.account, session.target),
                from: words.short(session.started_at),
                to: ended(&session.state).map_or_else(String::new, |at| words.short(at)),
                state: words.session(&session.state),
            })
            .collect(),
        sees_sessions: crate::SESSIONS
            .iter()
            .any(|role| operator.may(*role).is_ok()),
        known_hosts: commands::known_hosts(&site, &operator),
        ways: if named && phase == Phase::Open {
            commands::of_intervention(&site, &operator, &one)
        } else {
            Vec::new()
        },
        f,
    };
    page::render(&page)
}

/// When a session ended.
pub(crate) fn ended(state: &SessionState) -> Option<Time> {
    match state {
        SessionState::Live => None,
        SessionState::Ended { at, .. } | SessionState::Interrupted { at, .. } => Some(*at),
    }
}

fn decisions(one: &Intervention, f: &Frame) -> Vec<(Badge, String)> {
    one.approvals
        .iter()
        .rev()
        .map(|approval| {
            let values = [
                ("by", approval.approver.to_string()),
                ("at", f.time(approval.at)),
                ("version", approval.plan_version.to_string()),
            ];
            (
                f.decision(&approval.decision),
                f.fill("decided-by", &values),
            )
        })
        .collect()
}

/// The intervention, where the person may see it.
async fn find(site: &Site, operator: &Operator, id: &str) -> Result<Intervention, Problem> {
    let id = InterventionId::parse(id).map_err(|_| Problem::NotFound)?;
    let found = site.store().intervention(&id).await?;
    found
        .filter(|one| may_see(operator, one))
        .ok_or(Problem::NotFound)
}

/// A draft is its author's; the rest is for who works in it, and for who watches over all.
fn may_see(operator: &Operator, one: &Intervention) -> bool {
    if matches!(one.state, InterventionState::Draft) {
        return one.requested_by == operator.id;
    }
    sees_all(operator)
        || one.requested_by == operator.id
        || one.plan().text.operators.contains(&operator.id)
}

fn sees_all(operator: &Operator) -> bool {
    [Role::Manager, Role::Security, Role::Auditor]
        .iter()
        .any(|role| operator.may(*role).is_ok())
}

fn may_plan(operator: &Operator) -> bool {
    crate::PLANNERS
        .iter()
        .any(|role| operator.may(*role).is_ok())
}

fn to(id: &InterventionId) -> Redirect {
    Redirect::to(&format!("/interventions/{id}"))
}

/// What a list is narrowed to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    state: String,
    customer: String,
    target: String,
    operator: String,
}

#[derive(Deserialize)]
pub(crate) struct NewQuery {
    target: Option<String>,
}

/// How much longer, and why.
#[derive(Deserialize)]
pub(crate) struct MoreTime {
    minutes: String,
    text: String,
}

/// A text that goes with an action.
#[derive(Deserialize)]
pub(crate) struct Said {
    text: String,
}
