//! Confirming an SSH login with a passkey: the page that the terminal names. Only the person whose
//! login it is finds it.

use crate::ceremony;
use crate::error::Problem;
use crate::page::{self, Frame};
use crate::passkey::Listed;
use crate::sign_in::{AsOperator, Asserted, asserted_by};
use crate::site::Site;
use crate::source::Source;
use ::access::confirmation::{Confirmation, ConfirmationState};
use ::access::{OperatorId, Refusal};
use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum_extra::extract::CookieJar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "host/confirm.html")]
struct ConfirmPage {
    f: Frame,
    code: String,
    source: String,
    wanted: String,
    asked_at: String,
    /// What became of it, where it waits no longer.
    over: Option<String>,
}

/// What a kept ceremony is about.
#[derive(Serialize, Deserialize)]
struct About {
    code: String,
    number: u8,
}

/// `GET /confirm/{code}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(code): Path<String>,
    f: Frame,
    AsOperator { operator, .. }: AsOperator,
) -> Result<Response, Problem> {
    let one = confirmation(&site, &operator.id, &code).await?;
    let over = match one.state {
        ConfirmationState::Waiting => None,
        ConfirmationState::Confirmed { .. } => Some("confirm-done"),
        ConfirmationState::Denied { .. } => Some("confirm-denied"),
        ConfirmationState::Used { .. } => Some("confirm-used"),
    };
    page::render(&ConfirmPage {
        asked_at: f.time(one.created_at),
        over: over.map(|key| f.t(key)),
        code: one.code,
        source: one.source,
        wanted: one.wanted,
        f,
    })
}

/// `POST /confirm/{code}/options`
pub(crate) async fn options(
    State(site): State<Arc<Site>>,
    Path(code): Path<String>,
    AsOperator { operator, visit }: AsOperator,
    jar: CookieJar,
    Json(asked): Json<Wanted>,
) -> Result<(CookieJar, Json<Value>), Problem> {
    let number = asked.number.read()?;
    let one = confirmation(&site, &operator.id, &code).await?;
    let factors = site.store().factors(&visit.session.holder).await?;
    let (options, state) = site.passkeys.begin_assertion(&factors, None, Listed::Yes)?;
    let about = About {
        code: one.code,
        number,
    };
    let jar = ceremony::begin(&site, jar, "confirm", about, state).await?;
    Ok((jar, Json(json!({ "publicKey": options.public_key }))))
}

/// `POST /confirm/{code}/finish`: a wrong number spends the confirmation.
pub(crate) async fn finish(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    Path(code): Path<String>,
    AsOperator { operator, visit }: AsOperator,
    jar: CookieJar,
    Json(asked): Json<Asserted>,
) -> Result<StatusCode, Problem> {
    let (about, state): (About, Value) = ceremony::take(&site, &jar, "confirm").await?;
    let one = confirmation(&site, &operator.id, &code).await?;
    if about.code != one.code {
        return Err(Problem::not_verified("the ceremony is of another login"));
    }
    let now = site.now();
    let verified = asserted_by(&site, &visit, &asked.credential, state, source).await?;
    let confirmed = one.confirm(&operator.id, verified.factor.id, about.number, now)?;
    if let Some(used) = verified.used {
        site.store().save(used).await?;
    }
    match site.store().save(confirmed).await?.state {
        ConfirmationState::Confirmed { .. } => Ok(StatusCode::NO_CONTENT),
        ConfirmationState::Waiting
        | ConfirmationState::Denied { .. }
        | ConfirmationState::Used { .. } => Err(Problem::Refused(Refusal {
            code: "number_wrong",
            sentence: "this is not the number in your terminal, and the login is refused; \
                       connect again"
                .to_owned(),
        })),
    }
}

/// The person's own; anybody else's is not there.
async fn confirmation(
    site: &Site,
    operator: &OperatorId,
    code: &str,
) -> Result<Confirmation, Problem> {
    let found = site.store().confirmation(code).await?;
    found
        .filter(|one| one.operator == *operator)
        .ok_or(Problem::NotFound)
}

/// The number typed.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    number: Number,
}

/// As a number, or as a form's text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u8),
    Text(String),
}

impl Number {
    fn read(self) -> Result<u8, Problem> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.trim().parse().map_err(|_| Problem::Form("number")),
        }
    }
}
