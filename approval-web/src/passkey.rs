//! Passkeys (W3C Web Authentication): enrolment, sign-in, and an assertion over a given challenge.
//!
//! The server's half of a ceremony is text that the caller keeps in the store, for one use. User
//! verification is always required. Decides nothing about people: who may do what is `sign_in`'s
//! and the pages'.

use crate::error::Problem;
use access::approval::Assertion;
use access::second_factor::{Factor, Holder, SecondFactor};
use access::{Changed, Time};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use store::StoreError;
use webauthn_rs::prelude::{
    COSEKey, COSEKeyType, CreationChallengeResponse, Passkey, PasskeyAuthentication,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    RequestChallengeResponse, Url, Uuid, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};
use webauthn_rs_proto::{AuthenticatorSelectionCriteria, ResidentKeyRequirement};

/// The passkeys of one origin.
pub(crate) struct Passkeys(Webauthn);

/// Whether the browser is told which credentials will do. Before sign-in it is not: the answer for
/// a login that exists and for one that does not is then the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    Yes,
    No,
}

/// A verified assertion.
pub(crate) struct Verified {
    /// The factor that signed.
    pub(crate) factor: SecondFactor,
    /// The factor after this use, where its signature counter has moved.
    pub(crate) used: Option<Changed<SecondFactor>>,
    /// What is kept as evidence.
    pub(crate) assertion: Assertion,
}

impl Passkeys {
    pub(crate) fn bound_to(domain: &str, url: &Url) -> Result<Self, WebauthnError> {
        WebauthnBuilder::new(domain, url)?
            .rp_name("Bastion")
            .build()
            .map(Self)
    }

    /// Begins the enrolment of a discoverable passkey that verifies its user.
    pub(crate) fn begin_enrolment(
        &self,
        holder: &Holder,
        login: &str,
        name: &str,
        enrolled: &[SecondFactor],
    ) -> Result<(CreationChallengeResponse, Value), Problem> {
        let known = passkeys(enrolled)
            .map(|(_, passkey)| passkey.map(|p| p.cred_id().clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut options, state) = self
            .0
            .start_passkey_registration(handle(holder), login, name, Some(known))
            .map_err(|error| Problem::broken(&error))?;
        options.public_key.authenticator_selection = options
            .public_key
            .authenticator_selection
            .map(|selection| AuthenticatorSelectionCriteria {
                resident_key: Some(ResidentKeyRequirement::Required),
                require_resident_key: true,
                ..selection
            });
        Ok((options, kept(&state)?))
    }

    /// Ends an enrolment: what to keep of the new passkey.
    pub(crate) fn end_enrolment(
        &self,
        credential: &RegisterPublicKeyCredential,
        state: Value,
    ) -> Result<Factor, Problem> {
        let state: PasskeyRegistration = read(state)?;
        let passkey = self
            .0
            .finish_passkey_registration(credential, &state)
            .map_err(|error| Problem::not_verified(&error))?;
        Ok(Factor::Passkey {
            credential_id: URL_SAFE_NO_PAD.encode(passkey.cred_id()),
            credential: kept_text(&passkey)?,
        })
    }

    /// Begins an assertion by one of `factors`, over `challenge` where one is given.
    pub(crate) fn begin_assertion(
        &self,
        factors: &[SecondFactor],
        challenge: Option<[u8; 32]>,
        listed: Listed,
    ) -> Result<(RequestChallengeResponse, Value), Problem> {
        let known = passkeys(factors)
            .map(|(_, passkey)| passkey)
            .collect::<Result<Vec<_>, _>>()?;
        let (mut options, state) = self
            .0
            .start_passkey_authentication(&known)
            .map_err(|error| Problem::broken(&error))?;
        let mut state = kept(&state)?;
        if let Some(challenge) = challenge {
            let place = state
                .pointer_mut("/ast/challenge")
                .ok_or_else(|| Problem::broken("the kept state of a ceremony has no challenge"))?;
            *place = Value::String(URL_SAFE_NO_PAD.encode(challenge));
            options.public_key.challenge = challenge.to_vec();
        }
        if listed == Listed::No {
            options.public_key.allow_credentials = Vec::new();
        }
        Ok((options, state))
    }

    /// Ends an assertion; `factors` are the person's as they stand now, so that one that was
    /// revoked meanwhile signs nothing.
    pub(crate) fn end_assertion(
        &self,
        credential: &PublicKeyCredential,
        state: Value,
        factors: Vec<SecondFactor>,
        now: Time,
    ) -> Result<Verified, Problem> {
        let state: PasskeyAuthentication = read(state)?;
        let result = self
            .0
            .finish_passkey_authentication(credential, &state)
            .map_err(|error| Problem::not_verified(&error))?;
        if !result.user_verified() {
            return Err(Problem::not_verified(&"the user was not verified"));
        }
        let (factor, mut passkey) = owner(factors, result.cred_id())?;
        let assertion = evidence(credential, &passkey);
        let used = match passkey.update_credential(&result) {
            Some(true) => Some(factor.clone().used(kept_text(&passkey)?, now)),
            Some(false) => None,
            None => return Err(Problem::not_verified(&"the credential is another one")),
        };
        Ok(Verified {
            factor,
            used,
            assertion,
        })
    }
}

/// Why an enrolled passkey was not saved: the one conflict there can be is a credential that is
/// somebody's already.
pub(crate) fn not_enrolled(error: StoreError) -> Problem {
    match error {
        StoreError::Conflict { what } => {
            tracing::info!("a passkey was not enrolled: {what}");
            Problem::refused(
                "passkey_known",
                "this passkey is enrolled already, or was; nothing was changed, so try again \
                 with another one",
            )
        }
        StoreError::Stale { .. }
        | StoreError::NotFound { .. }
        | StoreError::Impossible { .. }
        | StoreError::Unavailable(_) => error.into(),
    }
}

/// The name an authenticator knows the account by: stable, and says nothing of the person.
fn handle(holder: &Holder) -> Uuid {
    let text = match holder {
        Holder::Operator(id) => format!("operator:{id}"),
        Holder::Contact(id) => format!("contact:{id}"),
    };
    let digest = u128::from_be_bytes(
        access::audit::sha256(text.as_bytes())
            .first_chunk()
            .copied()
            .unwrap_or_default(),
    );
    Uuid::from_u128(digest)
}

fn passkeys(
    factors: &[SecondFactor],
) -> impl Iterator<Item = (&SecondFactor, Result<Passkey, Problem>)> {
    factors.iter().filter_map(|factor| match &factor.factor {
        Factor::Passkey { credential, .. } => Some((
            factor,
            serde_json::from_str(credential).map_err(|error| Problem::broken(&error)),
        )),
        Factor::Totp { .. } => None,
    })
}

fn owner(factors: Vec<SecondFactor>, id: &[u8]) -> Result<(SecondFactor, Passkey), Problem> {
    for factor in factors {
        let Factor::Passkey { credential, .. } = &factor.factor else {
            continue;
        };
        let passkey: Passkey =
            serde_json::from_str(credential).map_err(|error| Problem::broken(&error))?;
        if passkey.cred_id().as_slice() == id {
            return Ok((factor, passkey));
        }
    }
    Err(Problem::not_verified(&"the passkey was revoked meanwhile"))
}

/// Everything needed to check the signature years later, without this program.
fn evidence(credential: &PublicKeyCredential, passkey: &Passkey) -> Assertion {
    let response = &credential.response;
    Assertion {
        credential_id: URL_SAFE_NO_PAD.encode(passkey.cred_id()),
        client_data_json: URL_SAFE_NO_PAD.encode(&response.client_data_json),
        authenticator_data: URL_SAFE_NO_PAD.encode(&response.authenticator_data),
        signature: URL_SAFE_NO_PAD.encode(&response.signature),
        public_key: cose_key(passkey.get_public_key()).to_string(),
    }
}

/// A COSE key (RFC 9052) under its integer labels, byte strings as base64url without padding.
fn cose_key(key: &COSEKey) -> Value {
    // The library's discriminants are the registered COSE numbers.
    let algorithm = key.type_ as i32;
    match &key.key {
        COSEKeyType::EC_EC2(ec) => json!({
            "1": 2,
            "3": algorithm,
            "-1": ec.curve.clone() as i32,
            "-2": URL_SAFE_NO_PAD.encode(&ec.x),
            "-3": URL_SAFE_NO_PAD.encode(&ec.y),
        }),
        COSEKeyType::EC_OKP(okp) => json!({
            "1": 1,
            "3": algorithm,
            "-1": okp.curve.clone() as i32,
            "-2": URL_SAFE_NO_PAD.encode(&okp.x),
        }),
        COSEKeyType::RSA(rsa) => json!({
            "1": 3,
            "3": algorithm,
            "-1": URL_SAFE_NO_PAD.encode(&rsa.n),
            "-2": URL_SAFE_NO_PAD.encode(rsa.e),
        }),
    }
}

fn kept(state: &impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(state).map_err(|error| Problem::broken(&error))
}

fn kept_text(passkey: &Passkey) -> Result<String, Problem> {
    serde_json::to_string(passkey).map_err(|error| Problem::broken(&error))
}

fn read<T: serde::de::DeserializeOwned>(state: Value) -> Result<T, Problem> {
    serde_json::from_value(state).map_err(|error| Problem::broken(&error))
}
