//! A software authenticator that holds one passkey, as a person's telephone would.

use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use serde_json::{Value, json};
use std::pin::Pin;
use webauthn_rs::prelude::Url;

/// The client's type names a crate that nobody else needs; a macro does without it.
macro_rules! client {
    ($held:expr, $user:expr) => {{
        let mut authenticator =
            Authenticator::new(Aaguid::new_empty(), $held, $user, RustCryptoBackend);
        authenticator.set_make_credentials_with_signature_counter(true);
        Client::new(authenticator).allows_insecure_localhost(true)
    }};
}

/// One device.
#[derive(Clone, Default)]
pub(crate) struct Device {
    held: Option<Passkey>,
}

/// Whether the person shows a finger or only touches.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum User {
    Verified,
    OnlyPresent,
}

impl Device {
    /// `navigator.credentials.create()`
    pub(crate) async fn create(&mut self, origin: &str, options: &Value) -> Value {
        let mut client = client!(self.held.take(), User::Verified);
        let request = serde_json::from_value(json!({ "publicKey": options })).unwrap();
        let origin = Url::parse(origin).unwrap();
        let created = client
            .register(&origin, request, DefaultClientData)
            .await
            .unwrap();
        self.held.clone_from(client.authenticator().store());
        serde_json::to_value(created).unwrap()
    }

    /// `navigator.credentials.get()`; `None` where the device holds nothing that would do.
    pub(crate) async fn get(&mut self, origin: &str, options: &Value, user: User) -> Option<Value> {
        let mut options = options.clone();
        if user == User::OnlyPresent {
            options["userVerification"] = "discouraged".into();
        }
        let mut client = client!(self.held.clone(), user);
        let request = serde_json::from_value(json!({ "publicKey": options })).unwrap();
        let origin = Url::parse(origin).unwrap();
        let asserted = client
            .authenticate(&origin, request, DefaultClientData)
            .await
            .ok()?;
        self.held.clone_from(client.authenticator().store());
        Some(serde_json::to_value(asserted).unwrap())
    }
}

/// Written out as `async_trait` writes it.
impl UserValidationMethod for User {
    type PasskeyItem = Passkey;

    fn check_user<'a, 'life0, 'async_trait>(
        &'life0 self,
        _hint: UiHint<'a, Passkey>,
        _presence: bool,
        _verification: bool,
    ) -> Pin<Box<dyn Future<Output = Result<UserCheck, Ctap2Error>> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let verification = *self == Self::Verified;
        Box::pin(async move {
            Ok(UserCheck {
                presence: true,
                verification,
            })
        })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(*self == Self::Verified)
    }
}
