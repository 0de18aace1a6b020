//! The charter everybody accepts before he may open a session, where the host has one.

use crate::error::Problem;
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use askama::Template;
use axum::extract::State;
use axum::response::{Redirect, Response};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "host/charter.html")]
struct CharterPage {
    f: Frame,
    version: String,
    accepted: bool,
}

/// `GET /charter`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let version = site.web.policy.charter.clone().ok_or(Problem::NotFound)?;
    let accepted = operator.charter.as_ref() == Some(&version);
    page::render(&CharterPage {
        f,
        version,
        accepted,
    })
}

/// `POST /charter`
pub(crate) async fn accept(
    State(site): State<Arc<Site>>,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let version = site.web.policy.charter.as_ref().ok_or(Problem::NotFound)?;
    let accepted = operator.accept_charter(version, site.now());
    site.store().save(accepted).await?;
    Ok(Redirect::to("/"))
}
