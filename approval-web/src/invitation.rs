//! Invitations: a link that enrols one passkey, once, and signs in. The token travels in the
//! link's fragment, which browsers never send; only its hash is kept.

use crate::ceremony;
use crate::cookie;
use crate::error::Problem;
use crate::page::{self, Frame, InvitationPage};
use crate::passkey;
use crate::sign_in::{self, login_of};
use crate::site::Site;
use crate::source::Source;
use access::second_factor::{Holder, SecondFactor};
use access::{Event, FactorId, Time, Who};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum_extra::extract::CookieJar;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{Invitation, Origin, Store, StoreError};
use webauthn_rs::prelude::RegisterPublicKeyCredential;

/// Invites `holder` to enrol a passkey on his origin, whose address is `url`. `token` is random
/// and used for nothing else. The address returned is the invitation: hand it to that person only.
pub async fn invite(
    store: &Store,
    url: &str,
    holder: Holder,
    by: Who,
    lifetime: Duration,
    token: [u8; 32],
    now: Time,
) -> Result<String, StoreError> {
    let expires_at = now.plus(lifetime);
    let subject = holder.who().to_string();
    let mut event = Event::new("invitation.created", by.clone(), subject, now)
        .with("expires_at", expires_at.rfc3339());
    if let Holder::Contact(id) = &holder
        && let Some(contact) = store.contact(id).await?
    {
        event = event.of_customer(&contact.customer);
    }
    let invitation = Invitation {
        token_sha256: access::audit::sha256(&token),
        holder,
        invited_by: by,
        expires_at,
    };
    store.invite(invitation, event).await?;
    let token = URL_SAFE_NO_PAD.encode(token);
    Ok(format!("{}/invitation#{token}", url.trim_end_matches('/')))
}

/// `GET /invitation`
pub(crate) async fn page(f: Frame) -> Result<Response, Problem> {
    page::render(&InvitationPage { f })
}

/// `POST /invitation/options`
pub(crate) async fn options(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    jar: CookieJar,
    Json(asked): Json<Shown>,
) -> Result<(CookieJar, Json<Value>), Problem> {
    let found = find(&site, &asked.token, source).await?;
    let holder = &found.invitation.holder;
    let enrolled = site.store().factors(holder).await?;
    let (login, name) = (login_of(holder), found.person.name());
    let (options, state) = site
        .passkeys
        .begin_enrolment(holder, login, name, &enrolled)?;
    let about = About {
        token_sha256: found.invitation.token_sha256,
        holder: holder.clone(),
    };
    let jar = ceremony::begin(&site, jar, "invitation", about, state).await?;
    let answer = json!({ "publicKey": options.public_key, "login": login, "name": name });
    Ok((jar, Json(answer)))
}

/// `POST /invitation/finish`
pub(crate) async fn finish(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    jar: CookieJar,
    Json(asked): Json<Enrolled>,
) -> Result<(CookieJar, StatusCode), Problem> {
    let (about, state): (About, Value) = ceremony::take(&site, &jar, "invitation").await?;
    let found = find(&site, &asked.token, source).await?;
    let invitation = found.invitation;
    if about.token_sha256 != invitation.token_sha256 || about.holder != invitation.holder {
        return Err(Problem::not_verified(
            "the ceremony is another invitation's",
        ));
    }
    let factor = site.passkeys.end_enrolment(&asked.credential, state)?;
    let now = site.now();
    let holder = invitation.holder;
    let (id, who) = (FactorId::from_random(site.random()?), holder.who());
    let enrolled = SecondFactor::enrol(id, holder.clone(), factor, who.clone(), now);
    let event = Event::new("invitation.used", who.clone(), who.to_string(), now)
        .with("invited_by", &invitation.invited_by)
        .with("source", source);
    let used = site
        .store()
        .enrol_invited(&invitation.token_sha256, enrolled, event)
        .await
        .map_err(passkey::not_enrolled)?;
    if !used {
        return Err(Problem::Invitation);
    }
    let jar = sign_in::open(&site, jar, &holder, &found.person, source).await?;
    Ok((jar, StatusCode::NO_CONTENT))
}

struct Found {
    invitation: Invitation,
    person: sign_in::Person,
}

/// The invitation behind a token, where it is of this origin and still good. Everything else is
/// one and the same refusal, and counts against the address.
async fn find(site: &Site, token: &str, source: IpAddr) -> Result<Found, Problem> {
    sign_in::may_try(site, source).await?;
    let invitation = match cookie::hash_of(token) {
        Some(sha256) => site.store().invitation(&sha256, site.now()).await?,
        None => None,
    };
    if let Some(invitation) = invitation.filter(|found| is_of(site, &found.holder))
        && let Some(person) = sign_in::active(site, &invitation.holder).await?
    {
        return Ok(Found { invitation, person });
    }
    sign_in::failed(site, source).await?;
    Err(Problem::Invitation)
}

fn is_of(site: &Site, holder: &Holder) -> bool {
    match (site.origin, holder) {
        (Origin::Customer, Holder::Contact(_)) | (Origin::Host, Holder::Operator(_)) => true,
        (Origin::Customer, Holder::Operator(_)) | (Origin::Host, Holder::Contact(_)) => false,
    }
}

/// What the kept ceremony is for.
#[derive(Serialize, Deserialize)]
struct About {
    token_sha256: [u8; 32],
    holder: Holder,
}

/// The token of the link.
#[derive(Deserialize)]
pub(crate) struct Shown {
    token: String,
}

/// The token again, and what the browser's `navigator.credentials.create()` gave.
#[derive(Deserialize)]
pub(crate) struct Enrolled {
    token: String,
    credential: RegisterPublicKeyCredential,
}
