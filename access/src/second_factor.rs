//! Second factors: what a person holds besides the SSH key or the login name.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::{ContactId, FactorId, OperatorId};
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Whose factor it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Holder {
    Operator(OperatorId),
    Contact(ContactId),
}

impl Holder {
    /// The person as the author of an event.
    pub fn who(&self) -> Who {
        match self {
            Self::Operator(id) => Who::Operator(id.clone()),
            Self::Contact(id) => Who::Contact(id.clone()),
        }
    }
}

/// What the factor is made of. Secrets are sealed before they come here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Factor {
    /// RFC 6238; the secret sealed by the master key with this factor's id as associated data.
    Totp { sealed_secret: String },
    /// A `WebAuthn` credential: its public half and registration, as the `WebAuthn` library keeps it.
    Passkey {
        credential_id: String,
        credential: String,
    },
}

/// One enrolled second factor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SecondFactor {
    pub id: FactorId,
    pub holder: Holder,
    pub factor: Factor,
    pub enrolled_at: Time,
    pub revoked_at: Option<Time>,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl SecondFactor {
    /// Enrols a factor. The event names its kind, never its secret.
    pub fn enrol(
        id: FactorId,
        holder: Holder,
        factor: Factor,
        by: Who,
        now: Time,
    ) -> Changed<Self> {
        let enrolled = Self {
            id,
            holder,
            factor,
            enrolled_at: now,
            revoked_at: None,
            version: 0,
        };
        let event = enrolled.event("second_factor.enrolled", by, now);
        Changed::new(enrolled, event)
    }

    /// Takes the factor out of use, for good; the first time is the one that is kept.
    pub fn revoke(mut self, by: Who, now: Time) -> Changed<Self> {
        let event = self.event("second_factor.revoked", by, now);
        self.revoked_at = self.revoked_at.or(Some(now));
        Changed::new(self, event)
    }

    /// Takes somebody else's factor out of use, with the reason that the trace then names; once.
    pub fn revoke_because(
        self,
        reason: &str,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        let reason = reason.trim();
        require_text("reason", reason, 3, 2000)?;
        if self.revoked_at.is_some() {
            return Err(Refusal::new(
                "factor_revoked",
                format!("factor `{}` is out of use already", self.id),
            ));
        }
        let (revoked, event) = self.revoke(by, now).into_parts();
        Ok(Changed::new(revoked, event.with("reason", reason)))
    }

    /// Replaces the stored public half after a use (its signature counter has moved).
    pub fn used(mut self, credential: String, now: Time) -> Changed<Self> {
        let event = self.event("second_factor.used", self.holder.who(), now);
        if let Factor::Passkey {
            credential: stored, ..
        } = &mut self.factor
        {
            *stored = credential;
        }
        Changed::new(self, event)
    }

    /// How much this factor proves.
    pub const fn strength(&self) -> Proof {
        match self.factor {
            Factor::Totp { .. } => Proof::Totp,
            Factor::Passkey { .. } => Proof::Passkey,
        }
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("second_factor {}", self.id), now)
            .with("holder", &self.holder)
            .with("type", self.strength())
    }
}

/// A second factor that was proven, from weakest to strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A time-based code; can be phished.
    Totp,
    /// A confirmed passkey; cannot.
    Passkey,
}
