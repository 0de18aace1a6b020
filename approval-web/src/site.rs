//! What one origin works with: the shared [`Web`], and what is the origin's own.

use crate::Web;
use crate::error::Problem;
use crate::passkey::Passkeys;
use crate::rate::Knocks;
use access::Time;
use access::second_factor::Holder;
use std::sync::Arc;
use store::{Origin, Store};
use webauthn_rs::prelude::Url;

/// An origin that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address is none, has no domain name, or is neither `https` nor `http://localhost`.
    #[error("`{0}` is not an address like `https://validation.bastion.example`")]
    Address(String),
    /// The library refuses the address.
    #[error("passkeys cannot be bound to `{0}`")]
    Passkeys(String),
}

/// One of the two origins.
pub(crate) struct Site {
    pub(crate) web: Arc<Web>,
    pub(crate) origin: Origin,
    /// Scheme, host and port as a browser's `Origin` header says them.
    pub(crate) address: String,
    /// Whether browsers reach it over TLS.
    pub(crate) transport: Transport,
    pub(crate) passkeys: Passkeys,
    pub(crate) knocks: Knocks,
}

/// How browsers reach the origin; plain only on `localhost`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tls,
    Plain,
}

impl Site {
    pub(crate) fn new(web: Arc<Web>, origin: Origin) -> Result<Self, WebError> {
        let text = match origin {
            Origin::Customer => &web.customer_url,
            Origin::Host => &web.host_url,
        };
        let wrong = || WebError::Address(text.clone());
        let url = Url::parse(text).map_err(|_| wrong())?;
        let domain = url.domain().ok_or_else(wrong)?;
        let transport = match (url.scheme(), domain) {
            ("https", _) => Transport::Tls,
            ("http", "localhost") => Transport::Plain,
            (_, _) => return Err(wrong()),
        };
        let passkeys =
            Passkeys::bound_to(domain, &url).map_err(|_| WebError::Passkeys(text.clone()))?;
        let address = url.origin().ascii_serialization();
        Ok(Self {
            web,
            origin,
            address,
            transport,
            passkeys,
            knocks: Knocks::new(),
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.web.store
    }

    pub(crate) fn now(&self) -> Time {
        (self.web.clock)()
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        (self.web.random)(&mut bytes)
            .map_err(|_| Problem::broken("the system gave no random bytes"))?;
        Ok(bytes)
    }

    /// Whose accounts this origin knows, from the login typed; `None` where it cannot be one.
    pub(crate) fn holder(&self, login: &str) -> Option<Holder> {
        match self.origin {
            Origin::Customer => access::ContactId::parse(login).ok().map(Holder::Contact),
            Origin::Host => access::OperatorId::parse(login).ok().map(Holder::Operator),
        }
    }

    /// What pages call this origin: `customer` or `host`.
    pub(crate) const fn name(&self) -> &'static str {
        match self.origin {
            Origin::Customer => "customer",
            Origin::Host => "host",
        }
    }
}
