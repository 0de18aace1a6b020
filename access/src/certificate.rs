//! The short-lived certificate for work at which nobody can be asked (`sftp -b`, Ansible): asked
//! for with both factors, it stands for both, from one address, until it ends or is revoked.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::credentials::Credentials;
use crate::ids::{CertificateId, OperatorId};
use crate::refusal::{Refusal, require_text};
use crate::session::FactorUse;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// How long one lasts where nothing is said.
pub const USUAL: Duration = Duration::from_hours(1);
/// A working day.
pub const LONGEST: Duration = Duration::from_hours(10);
const SHORTEST: Duration = Duration::from_mins(1);

/// One certificate that was issued. The bastion keeps no copy of what it signed: this says what
/// it stands for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    pub id: CertificateId,
    pub operator: OperatorId,
    /// The key it was made for: `SHA256:…`; declared for nobody as a rule.
    pub key: String,
    /// What was proven when it was asked for.
    pub asked_with: Credentials,
    /// The only address it may be used from.
    pub source: IpAddr,
    pub issued_at: Time,
    pub ends_at: Time,
    pub revoked_at: Option<Time>,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateRequest {
    /// The key that it is for: `SHA256:…`.
    pub key: String,
    pub lasts: Duration,
}

impl Certificate {
    /// Issues one to `operator` on a connection from `source` that proved `with`.
    pub fn issue(
        id: CertificateId,
        operator: OperatorId,
        wanted: CertificateRequest,
        with: Credentials,
        factor: FactorUse,
        source: IpAddr,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        if with.certificate.is_some() || factor == FactorUse::Reused {
            return Err(Refusal::new(
                "second_factor_not_fresh",
                "a certificate is issued on a connection that was asked for the second factor; \
                 connect with your key and give it",
            ));
        }
        if !(SHORTEST..=LONGEST).contains(&wanted.lasts) {
            return Err(Refusal::new(
                "certificate_too_long",
                format!(
                    "a certificate lasts between a minute and {} hours",
                    LONGEST.as_secs() / 3600
                ),
            ));
        }
        let ends_at = now.plus(wanted.lasts);
        let ends_at = match &with.certified {
            Some(certified) => ends_at.min(certified.until),
            None => ends_at,
        };
        let issued = Self {
            id,
            operator,
            key: wanted.key,
            asked_with: with,
            source,
            issued_at: now,
            ends_at,
            revoked_at: None,
            version: 0,
        };
        let by = Who::Operator(issued.operator.clone());
        let event = issued
            .event("certificate.issued", by, now)
            .with("for_key", &issued.key)
            .with("source", issued.source)
            .with("ends_at", issued.ends_at.rfc3339());
        let event = issued.asked_with.named_in(event);
        Ok(Changed::new(issued, event))
    }

    /// Takes it out of use; what it opened ends. Once.
    pub fn revoke(mut self, reason: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        let reason = reason.trim();
        require_text("reason", reason, 3, 2000)?;
        if self.revoked_at.is_some() {
            return Err(Refusal::new(
                "certificate_revoked",
                format!("certificate `{}` is out of use already", self.id),
            ));
        }
        let event = self
            .event("certificate.revoked", by, now)
            .with("reason", reason);
        self.revoked_at = Some(now);
        Ok(Changed::new(self, event))
    }

    /// What a connection from `source` that proved `key` under it at `now` is let in with, or why
    /// it is not.
    pub fn credentials(
        &self,
        operator: &OperatorId,
        key: &str,
        source: IpAddr,
        now: Time,
    ) -> Result<Credentials, Refusal> {
        if key != self.key {
            return Err(Refusal::new(
                "certificate_of_another",
                format!("certificate `{}` was made for another key", self.id),
            ));
        }
        if let Some(sentence) = self.why_not(operator, source, now) {
            return Err(Refusal::new("certificate_over", sentence));
        }
        Ok(Credentials {
            certificate: Some(self.id.clone()),
            ..self.asked_with.clone()
        })
    }

    /// Why it stands for nothing where `operator` comes from `source` at `now`, if so.
    pub(crate) fn why_not(
        &self,
        operator: &OperatorId,
        source: IpAddr,
        now: Time,
    ) -> Option<String> {
        if *operator != self.operator || source.to_canonical() != self.source.to_canonical() {
            return Some(format!(
                "certificate `{}` is somebody else's, or from another address",
                self.id
            ));
        }
        if self.revoked_at.is_some() {
            return Some(format!("certificate `{}` was revoked", self.id));
        }
        if now >= self.ends_at || now < self.issued_at {
            return Some(format!(
                "certificate `{}` ended at {}",
                self.id, self.ends_at
            ));
        }
        None
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("certificate {}", self.id), now)
            .with("operator", &self.operator)
    }
}
