//! What an operator proved himself with, kept so that taking it away reaches what was opened with it.

use crate::audit::Event;
use crate::certificate::Certificate;
use crate::ids::{CertificateId, FactorId};
use crate::operator::Operator;
use crate::second_factor::{Holder, Proof, SecondFactor};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A key whose signature was checked, and a second factor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// The declared key: `SHA256:…`, as `ssh-keygen -l` prints it.
    pub key: String,
    pub factor: FactorId,
    pub proof: Proof,
    /// The certificate that was given in their place, where there was nobody to ask; `key`,
    /// `factor` and `proof` are those it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateId>,
}

impl Credentials {
    /// Names them in an event.
    #[must_use]
    pub fn named_in(&self, event: Event) -> Event {
        let event = event
            .with("key", &self.key)
            .with("second_factor", self.proof)
            .with("factor", &self.factor);
        match &self.certificate {
            Some(certificate) => event.with("certificate", certificate),
            None => event,
        }
    }
}

/// What has become of them since.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    pub credentials: Credentials,
    /// As it stands now; `None` where there is none.
    pub factor: Option<SecondFactor>,
    /// As it stands now; `None` where there is none, or none was given.
    pub certificate: Option<Certificate>,
}

impl Given {
    /// Why it proves no second factor of `operator`'s, from `source` at `now`, if so.
    pub(crate) fn why_not(&self, operator: &Operator, source: IpAddr, now: Time) -> Option<String> {
        let factor = self.factor.as_ref().filter(|factor| {
            factor.id == self.credentials.factor
                && factor.holder == Holder::Operator(operator.id.clone())
                && factor.strength() == self.credentials.proof
                && factor.revoked_at.is_none()
        });
        if factor.is_none() {
            return Some("the second factor you logged in with is out of use".to_owned());
        }
        let id = self.credentials.certificate.as_ref()?;
        let certificate = self.certificate.as_ref().filter(|known| {
            let with = &known.asked_with;
            known.id == *id
                && with.key == self.credentials.key
                && with.factor == self.credentials.factor
        });
        match certificate {
            Some(certificate) => certificate.why_not(&operator.id, source, now),
            None => Some(format!("there is no certificate `{id}`")),
        }
    }
}
