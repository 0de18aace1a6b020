//! A right, proposed by a manager. A second person puts it in force (`grant`).

use crate::error::Problem;
use crate::host::plan_form::{OPERATIONS, Tick, clean, names, operations, several_customers, tick};
use crate::language;
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use access::grant::{Basis, ReviewEvery, Scope, Terms};
use access::operator::Role;
use access::time::Window;
use access::{AccountName, CustomerId, Grant, GrantId, OperatorId, TargetId, Who};
use askama::Template;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum_extra::extract::Form;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "host/grant_form.html")]
struct FormPage {
    f: Frame,
    operators: Vec<Tick>,
    targets: Vec<Tick>,
    accounts: Vec<Tick>,
    operations: Vec<Tick>,
    start: String,
    end: String,
}

/// `GET /grants/new`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let targets = site.store().targets().await?;
    let accounts: BTreeSet<AccountName> = targets
        .iter()
        .flat_map(|target| target.details.accounts.iter().cloned())
        .collect();
    let operators = site.store().operators().await?;
    let now = site.now();
    let page = FormPage {
        operators: operators
            .iter()
            .filter(|one| one.id != operator.id && one.may(Role::Operator).is_ok())
            .map(|one| tick(&one.id, &one.details.name, &one.id, &[]))
            .collect(),
        targets: targets
            .iter()
            .map(|one| tick(&one.id, &one.id, &one.details.customer, &[]))
            .collect(),
        accounts: accounts
            .iter()
            .map(|one| tick(one, one, &"", &[]))
            .collect(),
        operations: OPERATIONS
            .into_iter()
            .map(|one| tick(&one.code(), &f.operation(one), &"", &[]))
            .collect(),
        start: language::to_form(now),
        end: language::to_form(now.plus_months(12)),
        f,
    };
    page::render(&page)
}

/// `POST /grants`
pub(crate) async fn propose(
    State(site): State<Arc<Site>>,
    AsOperator { operator, .. }: AsOperator,
    Form(form): Form<NewForm>,
) -> Result<Redirect, Problem> {
    let scope = Scope {
        targets: names(&form.targets, TargetId::parse, "targets")?,
        accounts: names(&form.accounts, AccountName::parse, "accounts")?,
        operations: operations(&form.operations)?,
    };
    let mut customer: Option<CustomerId> = None;
    for id in &scope.targets {
        let target = site.store().target(id).await?;
        let owner = target.ok_or(Problem::Form("targets"))?.details.customer;
        if customer.as_ref().is_some_and(|first| *first != owner) {
            return Err(several_customers());
        }
        customer = Some(owner);
    }
    let start = language::from_form(&form.start).ok_or(Problem::Form("start"))?;
    let end = language::from_form(&form.end).ok_or(Problem::Form("end"))?;
    let terms = Terms {
        operator: OperatorId::parse(&form.operator).map_err(|_| Problem::Form("operators"))?,
        customer: customer.ok_or(Problem::Form("targets"))?,
        scope,
        justification: clean(&form.justification),
        basis: match form.basis.as_str() {
            "contract" => Basis::Contract,
            "role" => Basis::Role,
            "customer_request" => Basis::CustomerRequest,
            "change" => Basis::Change,
            _ => return Err(Problem::Form("basis")),
        },
        validity: Window::new(start, end).map_err(|_| Problem::Form("end"))?,
        review_every: match form.review_every.as_str() {
            "year" => ReviewEvery::Year,
            "quarter" => ReviewEvery::Quarter,
            _ => return Err(Problem::Form("review-every")),
        },
    };
    if site.store().operator(&terms.operator).await?.is_none() {
        return Err(Problem::Form("operators"));
    }
    let id = GrantId::from_random(site.random()?);
    let proposed = Grant::propose(id, terms, Who::Operator(operator.id), site.now())?;
    let saved = site.store().save(proposed).await?;
    Ok(Redirect::to(&format!("/grants/{}", saved.id)))
}

/// What was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewForm {
    operator: String,
    targets: Vec<String>,
    accounts: Vec<String>,
    operations: Vec<String>,
    justification: String,
    basis: String,
    start: String,
    end: String,
    review_every: String,
}
