//! My second factors: passkeys and code generators, enrolled and taken out of use by their holder.

use crate::ceremony;
use crate::error::Problem;
use crate::page::{self, Frame};
use crate::passkey;
use crate::sign_in::{AsOperator, Visit};
use crate::site::Site;
use access::second_factor::{Factor, Holder, SecondFactor};
use access::{FactorId, totp};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, Json};
use axum_extra::extract::CookieJar;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use webauthn_rs::prelude::RegisterPublicKeyCredential;
use zeroize::Zeroizing;

/// Wrong codes before a new secret is needed.
const TRIES: u8 = 3;

#[derive(Template)]
#[template(path = "host/factors.html")]
struct FactorsPage {
    f: Frame,
    passkeys: Vec<Row>,
    generators: Vec<Row>,
}

struct Row {
    id: String,
    since: String,
    last: bool,
}

#[derive(Template)]
#[template(path = "host/totp.html")]
struct TotpPage {
    f: Frame,
    /// The secret, the first time only.
    shown: Option<Shown>,
    wrong: bool,
}

struct Shown {
    qr: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// A code generator that is being enrolled; its secret is sealed already.
#[derive(Serialize, Deserialize)]
struct Pending {
    holder: Holder,
    id: FactorId,
    sealed_secret: String,
    tries: u8,
}

/// `GET /factors`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { visit, .. }: AsOperator,
) -> Result<Response, Problem> {
    let factors = site.store().factors(&visit.session.holder).await?;
    let (passkeys, generators): (Vec<_>, Vec<_>) = factors
        .into_iter()
        .partition(|factor| matches!(factor.factor, Factor::Passkey { .. }));
    let last = passkeys.len() == 1;
    let row = |factor: SecondFactor, last| Row {
        since: f.time(factor.enrolled_at),
        id: factor.id.to_string(),
        last,
    };
    page::render(&FactorsPage {
        passkeys: passkeys.into_iter().map(|one| row(one, last)).collect(),
        generators: generators.into_iter().map(|one| row(one, false)).collect(),
        f,
    })
}

/// `POST /factors/passkey/options`
pub(crate) async fn passkey_options(
    State(site): State<Arc<Site>>,
    AsOperator { operator, visit }: AsOperator,
    jar: CookieJar,
) -> Result<(CookieJar, Json<Value>), Problem> {
    visit.must_be_fresh(site.now())?;
    let holder = &visit.session.holder;
    let enrolled = site.store().factors(holder).await?;
    let (options, state) = site.passkeys.begin_enrolment(
        holder,
        operator.id.as_str(),
        &operator.details.name,
        &enrolled,
    )?;
    let jar = ceremony::begin(&site, jar, "enrol", holder, state).await?;
    Ok((jar, Json(json!({ "publicKey": options.public_key }))))
}

/// `POST /factors/passkey/finish`
pub(crate) async fn passkey_finish(
    State(site): State<Arc<Site>>,
    AsOperator { visit, .. }: AsOperator,
    jar: CookieJar,
    Json(asked): Json<Created>,
) -> Result<StatusCode, Problem> {
    let (holder, state): (Holder, Value) = ceremony::take(&site, &jar, "enrol").await?;
    if holder != visit.session.holder {
        return Err(Problem::not_verified("the ceremony is somebody else's"));
    }
    let factor = site.passkeys.end_enrolment(&asked.credential, state)?;
    enrol(&site, &visit, FactorId::from_random(site.random()?), factor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /factors/totp`: makes a secret and shows it, once.
pub(crate) async fn totp_begin(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { operator, visit }: AsOperator,
    jar: CookieJar,
) -> Result<Response, Problem> {
    visit.must_be_fresh(site.now())?;
    let secret = Zeroizing::new(site.random::<{ totp::SECRET_BYTES }>()?);
    let id = FactorId::from_random(site.random()?);
    let sealed_secret = site
        .web
        .factors
        .seal(id.as_str(), secret.as_slice(), site.random()?)
        .map_err(|error| Problem::broken(&error))?;
    let address = totp::enrolment_address(secret.as_slice(), operator.id.as_str())
        .map_err(|error| Problem::broken(&error))?;
    let shown = Shown {
        qr: drawn(&address)?,
        secret: totp::base32(secret.as_slice()),
    };
    let pending = Pending {
        holder: visit.session.holder.clone(),
        id,
        sealed_secret,
        tries: 0,
    };
    let jar = ceremony::begin(&site, jar, "totp", pending, Value::Null).await?;
    let page = page::render(&TotpPage {
        f,
        shown: Some(shown),
        wrong: false,
    })?;
    Ok((jar, page).into_response())
}

/// `POST /factors/totp/confirm`: enrolled only once a code of it was right.
pub(crate) async fn totp_confirm(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsOperator { visit, .. }: AsOperator,
    jar: CookieJar,
    Form(form): Form<Code>,
) -> Result<Response, Problem> {
    visit.must_be_fresh(site.now())?;
    let (pending, _): (Pending, Value) = ceremony::take(&site, &jar, "totp").await?;
    if pending.holder != visit.session.holder {
        return Err(Problem::not_verified("the ceremony is somebody else's"));
    }
    let secret = site
        .web
        .factors
        .open(pending.id.as_str(), &pending.sealed_secret)
        .map_err(|error| Problem::broken(&error))?;
    let step = totp::matching_step(&secret, &form.code, site.now())
        .map_err(|error| Problem::broken(&error))?;
    let Some(step) = step else {
        let tries = pending.tries + 1;
        if tries >= TRIES {
            return Err(Problem::refused(
                "code_wrong",
                "three codes were wrong; start again with a new secret",
            ));
        }
        let again = Pending { tries, ..pending };
        let jar = ceremony::begin(&site, jar, "totp", again, Value::Null).await?;
        let page = page::render(&TotpPage {
            f,
            shown: None,
            wrong: true,
        })?;
        return Ok((jar, page).into_response());
    };
    let factor = Factor::Totp {
        sealed_secret: pending.sealed_secret,
    };
    enrol(&site, &visit, pending.id.clone(), factor).await?;
    // The code that was shown here does not also open a login.
    site.store().use_totp_step(&pending.id, step).await?;
    Ok(Redirect::to("/factors").into_response())
}

/// `POST /factors/{id}/revoke`
pub(crate) async fn revoke(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { visit, .. }: AsOperator,
) -> Result<Redirect, Problem> {
    let now = site.now();
    visit.must_be_fresh(now)?;
    let mine = site.store().factors(&visit.session.holder).await?;
    let is_passkey = |one: &SecondFactor| matches!(one.factor, Factor::Passkey { .. });
    let passkeys = mine.iter().filter(|one| is_passkey(one)).count();
    let one = mine.into_iter().find(|one| one.id.as_str() == id);
    let one = one.ok_or(Problem::NotFound)?;
    if is_passkey(&one) && passkeys == 1 {
        return Err(Problem::refused(
            "last_passkey",
            "this is your only passkey; add another one first, or you could not sign in again",
        ));
    }
    let revoked = one.revoke(visit.session.holder.who(), now);
    site.store().save(revoked).await?;
    Ok(Redirect::to("/factors"))
}

async fn enrol(site: &Site, visit: &Visit, id: FactorId, factor: Factor) -> Result<(), Problem> {
    let holder = visit.session.holder.clone();
    let who = holder.who();
    let enrolled = SecondFactor::enrol(id, holder, factor, who, site.now());
    let saved = site.store().save(enrolled).await;
    saved.map(drop).map_err(passkey::not_enrolled)
}

/// The address as a picture inside the page; nothing but squares.
fn drawn(address: &str) -> Result<Zeroizing<String>, Problem> {
    let code = QrCode::new(address.as_bytes()).map_err(|error| Problem::broken(&error))?;
    let picture = Zeroizing::new(
        code.render::<svg::Color<'_>>()
            .min_dimensions(220, 220)
            .build(),
    );
    let start = picture.find("<svg").unwrap_or_default();
    Ok(Zeroizing::new(
        picture.get(start..).unwrap_or_default().to_owned(),
    ))
}

/// What the browser's `navigator.credentials.create()` gave.
#[derive(Deserialize)]
pub(crate) struct Created {
    credential: RegisterPublicKeyCredential,
}

#[derive(Deserialize)]
pub(crate) struct Code {
    code: String,
}
