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
    /// The declared key: `SHA256:…`, as `ssh-keygen -l` prints it; `cert-authority SHA256:…` where
    /// an authority that is declared for the person certified another. Rows of before this was kept
    /// have none, and nobody holds it.
    #[serde(default)]
    pub key: String,
    #[serde(default = "FactorId::unknown")]
    pub factor: FactorId,
    pub proof: Proof,
    /// The certificate that was given in their place, where there was nobody to ask; `key`,
    /// `factor` and `proof` are those it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateId>,
    /// The key that the authority certified, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<Certified>,
}

/// A key that an authority certified for a person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certified {
    /// `SHA256:…` of the key itself.
    pub key: String,
    /// What the authority calls it, shortened.
    pub name: String,
    pub until: Time,
}

impl Credentials {
    /// Names them in an event.
    #[must_use]
    pub fn named_in(&self, event: Event) -> Event {
        let event = event
            .with("key", &self.key)
            .with("second_factor", self.proof)
            .with("factor", &self.factor);
        let event = match &self.certified {
            Some(certified) => event.with("certified", certified),
            None => event,
        };
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
        if let Some(certified) = &self.credentials.certified
            && now >= certified.until
        {
            return Some(format!(
                "the certificate of your key ended at {}",
                certified.until
            ));
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
