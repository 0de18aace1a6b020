//! Who is signed in, and how one comes to be: a passkey, after an invitation or after a login name.
//!
//! Everything that happens here is an audit event. Before a passkey is verified the answer is the
//! same for a login that exists and for one that does not.

use crate::ceremony;
use crate::cookie::{self, Kind, Token};
use crate::error::Problem;
use crate::page::{self, Frame, SignInPage};
use crate::passkey::{Listed, Verified};
use crate::site::Site;
use crate::source::Source;
use access::actor::ActorState;
use access::contact::{ContactState, Language};
use access::lockout::AfterFailure;
use access::operator::OperatorState;
use access::second_factor::{Holder, SecondFactor};
use access::{Contact, CustomerId, Event, Operator, Time, Who};
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Redirect, Response};
use axum_extra::extract::CookieJar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use store::WebSession;
use webauthn_rs::prelude::PublicKeyCredential;

/// Without a request for this long, the sign-in is over.
const IDLE: Duration = Duration::from_mins(30);
/// Whatever happens, it is over after this.
const LONGEST: Duration = Duration::from_hours(12);
/// A request is noted when the last note is older than this.
const NOTED_EVERY: Duration = Duration::from_mins(1);
/// How long a passkey counts as just given.
const FRESH: Duration = Duration::from_mins(5);

/// Somebody signed in, for the time of one request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) session: WebSession,
    pub(crate) person: Person,
    pub(crate) language: Language,
}

/// Whoever it is.
#[derive(Clone, Debug)]
pub(crate) enum Person {
    Contact(Contact),
    Operator(Operator),
}

/// A contact signed in on the customer origin.
pub(crate) struct AsContact {
    pub(crate) contact: Contact,
    pub(crate) visit: Visit,
}

/// A person of the host signed in on the host origin.
pub(crate) struct AsOperator {
    pub(crate) operator: Operator,
    pub(crate) visit: Visit,
}

impl Person {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Contact(contact) => &contact.details.name,
            Self::Operator(operator) => &operator.details.name,
        }
    }

    fn language(&self) -> Language {
        match self {
            Self::Contact(contact) => contact.details.language,
            Self::Operator(operator) => operator.details.language,
        }
    }

    fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::Contact(contact) => Some(&contact.customer),
            Self::Operator(_) => None,
        }
    }
}

impl Visit {
    /// Refuses where the passkey was not given within the last five minutes.
    pub(crate) fn must_be_fresh(&self, now: Time) -> Result<(), Problem> {
        if now < self.session.fresh_until {
            Ok(())
        } else {
            Err(Problem::Fresh)
        }
    }
}

impl<S: Sync> FromRequestParts<S> for AsContact {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visit = of_request(parts)?;
        match visit.person.clone() {
            Person::Contact(contact) => Ok(Self { contact, visit }),
            Person::Operator(_) => Err(Problem::Forbidden),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for AsOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visit = of_request(parts)?;
        match visit.person.clone() {
            Person::Operator(operator) => Ok(Self { operator, visit }),
            Person::Contact(_) => Err(Problem::Forbidden),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        of_request(parts)
    }
}

fn of_request(parts: &Parts) -> Result<Visit, Problem> {
    parts.extensions.get().cloned().ok_or(Problem::SignIn)
}

/// Who sent this cookie; refused where the sign-in is over, or the person is no longer one who may
/// sign in: the sign-in then ends.
pub(crate) async fn visit(site: &Site, jar: &CookieJar) -> Result<Visit, Problem> {
    let sha256 = cookie::sent(site, jar, Kind::SignIn).ok_or(Problem::SignIn)?;
    let session = site.store().web_session(&sha256).await?;
    let session = session
        .filter(|session| session.origin == site.origin)
        .ok_or(Problem::SignIn)?;
    let now = site.now();
    if now >= session.ends_at || now.since(session.seen_at) >= IDLE {
        close(site, &session, "sign_in.expired").await?;
        return Err(Problem::SignIn);
    }
    let Some(person) = active(site, &session.holder).await? else {
        close(site, &session, "sign_in.ended").await?;
        return Err(Problem::SignIn);
    };
    if now.since(session.seen_at) >= NOTED_EVERY {
        site.store().touch_web_session(&sha256, now).await?;
    }
    let language = person.language();
    Ok(Visit {
        session,
        person,
        language,
    })
}

/// `GET /sign-in`
pub(crate) async fn page(f: Frame, Query(query): Query<NextPage>) -> Result<Response, Problem> {
    let next = page::local_path(query.next.as_deref());
    page::render(&SignInPage { f, next })
}

/// `POST /sign-in/options`
pub(crate) async fn options(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    jar: CookieJar,
    Json(asked): Json<Login>,
) -> Result<(CookieJar, Json<Value>), Problem> {
    let attempt = Attempt::by(&site, asked.login, source).await?;
    let (options, state) = site
        .passkeys
        .begin_assertion(&attempt.factors, None, Listed::No)?;
    let jar = ceremony::begin(&site, jar, "sign-in", attempt.login, state).await?;
    Ok((jar, Json(json!({ "publicKey": options.public_key }))))
}

/// `POST /sign-in/finish`
pub(crate) async fn finish(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    jar: CookieJar,
    Json(asked): Json<Asserted>,
) -> Result<(CookieJar, StatusCode), Problem> {
    let (login, state): (String, Value) = ceremony::take(&site, &jar, "sign-in").await?;
    let attempt = Attempt::by(&site, login, source).await?;
    let verified =
        site.passkeys
            .end_assertion(&asked.credential, state, attempt.factors, site.now());
    let (Ok(verified), Some(person)) = (verified, attempt.person) else {
        failed(&site, source).await?;
        return Err(Problem::Passkey);
    };
    site.store().count_success(&source_key(source)).await?;
    if let Some(used) = verified.used {
        site.store().save(used).await?;
    }
    let jar = open(&site, jar, &verified.factor.holder, &person, source).await?;
    Ok((jar, StatusCode::NO_CONTENT))
}

/// `POST /fresh/options`
pub(crate) async fn fresh_options(
    State(site): State<Arc<Site>>,
    jar: CookieJar,
    visit: Visit,
) -> Result<(CookieJar, Json<Value>), Problem> {
    let factors = site.store().factors(&visit.session.holder).await?;
    let (options, state) = site.passkeys.begin_assertion(&factors, None, Listed::Yes)?;
    let jar = ceremony::begin(&site, jar, "fresh", &visit.session.holder, state).await?;
    Ok((jar, Json(json!({ "publicKey": options.public_key }))))
}

/// `POST /fresh/finish`: the sign-in goes on under a new token.
pub(crate) async fn fresh_finish(
    State(site): State<Arc<Site>>,
    Source(source): Source,
    jar: CookieJar,
    visit: Visit,
    Json(asked): Json<Asserted>,
) -> Result<(CookieJar, StatusCode), Problem> {
    let (holder, state): (Holder, Value) = ceremony::take(&site, &jar, "fresh").await?;
    if holder != visit.session.holder {
        return Err(Problem::not_verified("the ceremony is somebody else's"));
    }
    let verified = asserted_by(&site, &visit, &asked.credential, state, source).await?;
    if let Some(used) = verified.used {
        site.store().save(used).await?;
    }
    let now = site.now();
    let token = Token::fresh(&site)?;
    let session = WebSession {
        token_sha256: token.sha256,
        seen_at: now,
        fresh_until: now.plus(FRESH),
        ..visit.session.clone()
    };
    let event = event(&site, "sign_in.confirmed", &visit.session.holder, now);
    site.store().open_web_session(session, event).await?;
    close(&site, &visit.session, "sign_in.replaced").await?;
    let jar = cookie::give(&site, jar, Kind::SignIn, token);
    Ok((jar, StatusCode::NO_CONTENT))
}

/// `POST /sign-out`
pub(crate) async fn sign_out(
    State(site): State<Arc<Site>>,
    jar: CookieJar,
    visit: Visit,
) -> Result<(CookieJar, Redirect), Problem> {
    close(&site, &visit.session, "sign_in.closed").await?;
    let jar = cookie::take(&site, jar, Kind::SignIn);
    Ok((jar, Redirect::to("/sign-in")))
}

/// A verified passkey of the person who is signed in; its use is the caller's to save. A failure
/// is traced and locks nobody: whoever is signed in is never kept from saying no.
pub(crate) async fn asserted_by(
    site: &Site,
    visit: &Visit,
    credential: &PublicKeyCredential,
    state: Value,
    source: IpAddr,
) -> Result<Verified, Problem> {
    let (holder, now) = (&visit.session.holder, site.now());
    let factors = site.store().factors(holder).await?;
    let verified = site.passkeys.end_assertion(credential, state, factors, now);
    if verified.is_err() {
        let event = event(site, "sign_in.not_confirmed", holder, now).with("source", source);
        site.store().append(event).await?;
    }
    verified
}

/// Signs `person` in: a new token, and a trace.
pub(crate) async fn open(
    site: &Site,
    jar: CookieJar,
    holder: &Holder,
    person: &Person,
    source: IpAddr,
) -> Result<CookieJar, Problem> {
    let now = site.now();
    let token = Token::fresh(site)?;
    let mut event = event(site, "sign_in.opened", holder, now).with("source", source);
    if let Some(customer) = person.customer() {
        event = event.of_customer(customer);
    }
    let session = WebSession {
        token_sha256: token.sha256,
        origin: site.origin,
        holder: holder.clone(),
        created_at: now,
        seen_at: now,
        ends_at: now.plus(LONGEST),
        fresh_until: now.plus(FRESH),
    };
    site.store().open_web_session(session, event).await?;
    let jar = cookie::take(site, jar, Kind::Ceremony);
    Ok(cookie::give(site, jar, Kind::SignIn, token))
}

/// Counts a failure against the address, and traces it. Never against a login: a passkey cannot be
/// guessed, and a lock would let strangers keep a contact from refusing or stopping work.
pub(crate) async fn failed(site: &Site, source: IpAddr) -> Result<(), Problem> {
    let (now, key) = (site.now(), source_key(source));
    let event = |name: &str, who| Event::new(name, who, format!("sign_in {key}"), now);
    let failure = event("sign_in.failed", Who::Unknown(source.to_string()))
        .with("origin", site.name())
        .with("source", source);
    let (until, alert) = match site.store().count_failure(&key, failure, now).await? {
        AfterFailure::Open => return Ok(()),
        AfterFailure::Locked(until) => (until, false),
        AfterFailure::LockedAndAlert(until) => (until, true),
    };
    let locked = event("sign_in.locked", Who::Bastion)
        .with("until", until.rfc3339())
        .with("alert", alert);
    site.store().append(locked).await?;
    Ok(())
}

/// Lets an address that is not signed in try, unless it comes too often or has failed too often.
pub(crate) async fn may_try(site: &Site, source: IpAddr) -> Result<(), Problem> {
    site.knocks.knock(source)?;
    let lockout = site.store().lockout(&source_key(source)).await?;
    match lockout.locked_at(site.now()) {
        Some(until) => Err(Problem::Locked(until)),
        None => Ok(()),
    }
}

/// Apart from the key of the SSH side: a failed code there locks no page, and the reverse.
fn source_key(source: IpAddr) -> String {
    format!("web-source:{source}")
}

/// The person behind a holder, where he may sign in.
pub(crate) async fn active(site: &Site, holder: &Holder) -> Result<Option<Person>, Problem> {
    match holder {
        Holder::Contact(id) => Ok(site
            .store()
            .contact(id)
            .await?
            .filter(|contact| matches!(contact.state, ContactState::Active))
            .map(Person::Contact)),
        Holder::Operator(id) => {
            let Some(operator) = site.store().operator(id).await? else {
                return Ok(None);
            };
            let actor = site.store().actor(&operator.details.actor).await?;
            let works = matches!(operator.state, OperatorState::Active)
                && actor.is_some_and(|actor| matches!(actor.state, ActorState::Active));
            Ok(works.then_some(Person::Operator(operator)))
        }
    }
}

async fn close(site: &Site, session: &WebSession, name: &str) -> Result<(), Problem> {
    let event = event(site, name, &session.holder, site.now());
    site.store()
        .close_web_session(&session.token_sha256, event)
        .await?;
    Ok(())
}

fn event(site: &Site, name: &str, holder: &Holder, now: Time) -> Event {
    let who = holder.who();
    let subject = who.to_string();
    Event::new(name, who, subject, now).with("origin", site.name())
}

pub(crate) fn login_of(holder: &Holder) -> &str {
    match holder {
        Holder::Operator(id) => id.as_str(),
        Holder::Contact(id) => id.as_str(),
    }
}

/// One try to sign in: who it would be, and with what.
struct Attempt {
    login: String,
    person: Option<Person>,
    factors: Vec<SecondFactor>,
}

impl Attempt {
    /// Refused alike, for logins that exist and those that do not, when too much was tried.
    async fn by(site: &Site, login: String, source: IpAddr) -> Result<Self, Problem> {
        may_try(site, source).await?;
        let Some(holder) = site.holder(&login) else {
            return Ok(Self {
                login: login.chars().take(64).collect(),
                person: None,
                factors: Vec::new(),
            });
        };
        let person = active(site, &holder).await?;
        let factors = site.store().factors(&holder).await?;
        let factors = if person.is_some() {
            factors
        } else {
            Vec::new()
        };
        Ok(Self {
            login,
            person,
            factors,
        })
    }
}

/// Where to go after signing in; a path of this origin or nothing.
#[derive(Deserialize)]
pub(crate) struct NextPage {
    pub(crate) next: Option<String>,
}

/// A login name, as typed.
#[derive(Deserialize)]
pub(crate) struct Login {
    login: String,
}

/// What the browser's `navigator.credentials.get()` gave.
#[derive(Deserialize)]
pub(crate) struct Asserted {
    pub(crate) credential: PublicKeyCredential,
}
