//! A contact's decision: the server composes the statement, its SHA-256 is the passkey's challenge,
//! and what was signed is kept whole.
//!
//! INVARIANT: only the version that his page showed is signed. The page's forms name it, and both
//! calls compare it with the one that waits now.

use crate::ceremony;
use crate::customer::intervention;
use crate::error::Problem;
use crate::passkey::Listed;
use crate::sign_in::{AsContact, asserted_by};
use crate::site::Site;
use crate::source::Source;
use ::access::approval::{Decision, Statement};
use ::access::intervention::Signed;
use ::access::{ContactId, Intervention, InterventionId};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum_extra::extract::CookieJar;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use store::Saving;
use webauthn_rs::prelude::PublicKeyCredential;

/// What a kept ceremony is about.
#[derive(Serialize, Deserialize)]
struct About {
    intervention: InterventionId,
    contact: ContactId,
    decision: Decision,
    nonce: String,
    statement: Statement,
}

/// `POST /interventions/{id}/decision/options`
pub(crate) async fn options(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsContact { contact, visit }: AsContact,
    jar: CookieJar,
    Json(asked): Json<Wanted>,
) -> Result<(CookieJar, Json<Value>), Problem> {
    let one = intervention(&site, &contact, &id).await?;
    let (decision, read) = asked.parts();
    let people = site.store().people_of(&one).await?;
    let nonce = URL_SAFE_NO_PAD.encode(site.random::<32>()?);
    let statement = one.statement(&contact, &people, &decision, &nonce, site.now())?;
    read.must_be_the_plan_of(&one)?;
    let factors = site.store().factors(&visit.session.holder).await?;
    let (options, state) =
        site.passkeys
            .begin_assertion(&factors, Some(statement.challenge()), Listed::Yes)?;
    let answer = json!({ "statement": statement.text(), "publicKey": options.public_key });
    let about = About {
        intervention: one.id,
        contact: contact.id,
        decision,
        nonce,
        statement,
    };
    let jar = ceremony::begin(&site, jar, "decision", about, state).await?;
    Ok((jar, Json(answer)))
}

/// `POST /interventions/{id}/decision/finish`: the decision and the passkey's use go together.
pub(crate) async fn finish(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Source(source): Source,
    AsContact { contact, visit }: AsContact,
    jar: CookieJar,
    Json(asked): Json<Signing>,
) -> Result<StatusCode, Problem> {
    let (about, state): (About, Value) = ceremony::take(&site, &jar, "decision").await?;
    let one = intervention(&site, &contact, &id).await?;
    if about.intervention != one.id || about.contact != contact.id {
        return Err(Problem::not_verified("the ceremony is of another decision"));
    }
    asked.read.must_be_the_plan_of(&one)?;
    let now = site.now();
    let verified = asserted_by(&site, &visit, &asked.credential, state, source).await?;
    let people = site.store().people_of(&one).await?;
    let signed = Signed {
        statement: about.statement,
        nonce: about.nonce,
        assertion: verified.assertion,
    };
    let decided = one.decide(&contact, &people, about.decision, signed, now)?;
    let mut changes: Vec<Saving> = verified.used.into_iter().map(Saving::from).collect();
    changes.push(decided.into());
    site.store().save_all(changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the contact wants to decide.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    decision: Way,
    #[serde(default)]
    reason: String,
    #[serde(flatten)]
    read: PlanRead,
}

/// What the browser's `navigator.credentials.get()` gave, and once more the plan that was read.
#[derive(Deserialize)]
pub(crate) struct Signing {
    credential: PublicKeyCredential,
    #[serde(flatten)]
    read: PlanRead,
}

/// The plan that the contact's page showed, as its forms name it; empty where they do not.
#[derive(Deserialize)]
struct PlanRead {
    #[serde(default)]
    plan_version: String,
    #[serde(default)]
    plan_sha256: String,
}

impl PlanRead {
    /// Refuses where somebody edited the plan after the page was opened, or no page was.
    fn must_be_the_plan_of(&self, one: &Intervention) -> Result<(), Problem> {
        let plan = one.awaited();
        if self.plan_version == plan.number.to_string() && self.plan_sha256 == plan.hash() {
            return Ok(());
        }
        Err(Problem::refused(
            "plan_changed",
            "the plan has changed since this page was opened, and nothing was signed; \
             reload the page, read the plan again, then decide",
        ))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Approve,
    Refuse,
}

impl Wanted {
    fn parts(self) -> (Decision, PlanRead) {
        let decision = match self.decision {
            Way::Approve => Decision::Approve,
            Way::Refuse => Decision::Refuse {
                reason: self.reason.trim().to_owned(),
            },
        };
        (decision, self.read)
    }
}
