//! The operator: one natural person of an actor, with roles, keys and a state.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::contact::{Language, check_email};
use crate::ids::{ActorId, OperatorId};
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a person of the host's side may do beside working on targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Works on targets.
    Operator,
    /// Gives grants and runs reviews.
    Manager,
    /// Replays and reviews.
    Security,
    /// Reads everything, changes nothing.
    Auditor,
    /// Runs the platform.
    Admin,
}

/// Whether the person may work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OperatorState {
    Active,
    Suspended { since: Time, reason: String },
}

/// What is declared about an operator; all that `apply` sets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorDetails {
    /// Full name.
    pub name: String,
    /// Address for notices; also how one person is recognised on both sides.
    pub email: String,
    pub actor: ActorId,
    pub roles: BTreeSet<Role>,
    /// Public keys in OpenSSH format (`ssh-ed25519 AAAA… comment`); `cert-authority` before one
    /// makes it an authority whose certificates for this person count as a key of his.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Networks the person may come from; empty means anywhere.
    #[serde(default)]
    pub sources: Vec<Network>,
    #[serde(default)]
    pub language: Language,
}

/// One natural person of an actor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operator {
    pub id: OperatorId,
    #[serde(flatten)]
    pub details: OperatorDetails,
    /// The version of the charter the person accepted last.
    pub charter: Option<String>,
    #[serde(flatten)]
    pub state: OperatorState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Operator {
    /// Registers an operator.
    pub fn register(
        id: OperatorId,
        details: OperatorDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        let event = Event::new("operator.registered", by, format!("operator {id}"), now)
            .with("details", &details);
        let operator = Self {
            id,
            details,
            charter: None,
            state: OperatorState::Active,
            version: 0,
        };
        Ok(Changed::new(operator, event))
    }

    /// Replaces what is declared about this person. Nobody gives himself a role, another actor,
    /// another network, nor another address than the one by which he is recognised on both sides.
    pub fn amend(
        mut self,
        details: OperatorDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        let same_reach = details.roles == self.details.roles
            && details.actor == self.details.actor
            && details.sources == self.details.sources
            && details.email == self.details.email;
        if by == Who::Operator(self.id.clone()) && !same_reach {
            return Err(Refusal::new(
                "own_right",
                format!(
                    "`{}` cannot change his own roles, actor, networks or e-mail address; ask another administrator",
                    self.id
                ),
            ));
        }
        let event = self
            .event("operator.amended", by, now)
            .with("before", &self.details)
            .with("after", &details);
        self.details = details;
        Ok(Changed::new(self, event))
    }

    /// Stops this person; live sessions end.
    pub fn suspend(mut self, reason: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("reason", reason, 3, 500)?;
        let event = self
            .event("operator.suspended", by, now)
            .with("reason", reason);
        self.state = OperatorState::Suspended {
            since: now,
            reason: reason.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    /// Lets this person work again; not by his own hand.
    pub fn resume(mut self, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        if by == Who::Operator(self.id.clone()) {
            return Err(Refusal::new(
                "own_right",
                format!("`{}` cannot end his own suspension", self.id),
            ));
        }
        let event = self.event("operator.resumed", by, now);
        self.state = OperatorState::Active;
        Ok(Changed::new(self, event))
    }

    /// Records that the person accepted this version of the charter.
    pub fn accept_charter(mut self, version: &str, now: Time) -> Changed<Self> {
        let by = Who::Operator(self.id.clone());
        let event = self
            .event("operator.charter_accepted", by, now)
            .with("charter", version);
        self.charter = Some(version.to_owned());
        Changed::new(self, event)
    }

    /// Whether the person is active and holds `role`.
    pub fn may(&self, role: Role) -> Result<(), Refusal> {
        match &self.state {
            OperatorState::Suspended { .. } => Err(Refusal::new(
                "operator_suspended",
                format!("`{}` is suspended", self.id),
            )),
            OperatorState::Active if self.details.roles.contains(&role) => Ok(()),
            OperatorState::Active => Err(Refusal::new(
                "role_missing",
                format!("`{}` does not hold the role `{}`", self.id, role.code()),
            )),
        }
    }

    /// Whether a key with this fingerprint (`SHA256:…`) is one of those declared for the person;
    /// comments do not count.
    pub fn holds(&self, fingerprint: &str) -> bool {
        let keys = self.details.keys.iter();
        keys.filter_map(|key| fingerprint_of(key))
            .any(|known| known == fingerprint)
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("operator {}", self.id), now)
    }
}

impl Role {
    /// The role's stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Manager => "manager",
            Self::Security => "security",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

fn check(details: &OperatorDetails) -> Result<(), Refusal> {
    require_text("operator name", &details.name, 2, 200)?;
    check_email(&details.email)?;
    if details.roles.is_empty() {
        return Err(Refusal::new(
            "operator_without_role",
            "an operator needs at least one role: `operator`, `manager`, `security`, `auditor` or `admin`",
        ));
    }
    check_keys(&details.keys)
}

/// What stands before an authority among the keys, as in `authorized_keys` (sshd(8)), and before
/// its fingerprint.
pub const CERT_AUTHORITY: &str = "cert-authority ";

/// `SHA256:…` of a key in OpenSSH format, as `ssh-keygen -l` prints it: the digest of the key as it
/// is on the wire (RFC 4253, 6.6). Of an authority it begins with [`CERT_AUTHORITY`], so that no key
/// is taken for one nor one for a key.
pub fn fingerprint_of(key: &str) -> Option<String> {
    if let Some(authority) = key.trim_start().strip_prefix(CERT_AUTHORITY) {
        let authority = fingerprint_of(authority).filter(|one| !one.starts_with(CERT_AUTHORITY))?;
        return Some(format!("{CERT_AUTHORITY}{authority}"));
    }
    let blob = STANDARD.decode(key.split_whitespace().nth(1)?).ok()?;
    let digest = digest(&SHA256, &blob);
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(digest)))
}

/// Refuses a key that is empty or more than one line; what kind it is, is seen when it is used.
pub(crate) fn check_keys(keys: &[String]) -> Result<(), Refusal> {
    match keys
        .iter()
        .find(|key| key.trim().is_empty() || key.chars().any(char::is_control))
    {
        None => Ok(()),
        Some(key) => Err(Refusal::new(
            "key_invalid",
            format!(
                "`{}` is not one line like `ssh-ed25519 AAAA…`",
                key.escape_debug()
            ),
        )),
    }
}

/// A network in CIDR notation, such as `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads an address, alone or with `/` and a prefix length.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = || {
            Refusal::new(
                "network_invalid",
                format!(
                    "`{}` is not a network like `192.0.2.0/24`",
                    text.escape_debug()
                ),
            )
        };
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| invalid())?,
            None => widest,
        };
        if prefix > widest {
            Err(invalid())
        } else {
            Ok(Self { address, prefix })
        }
    }

    /// Whether `address` lies inside. An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = Refusal;
    fn try_from(text: String) -> Result<Self, Refusal> {
        Self::parse(&text)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_no_authority_and_an_authority_no_key() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==";
        let plain = "SHA256:xGib3+FptS+cITct2V7iFK9qKkm/QSPPdJstK0JtCps";
        let rows = [
            (key.to_owned(), Some(plain.to_owned())),
            (format!("  {key} alice at work"), Some(plain.to_owned())),
            (
                format!("cert-authority {key}"),
                Some(format!("cert-authority {plain}")),
            ),
            (format!("cert-authority cert-authority {key}"), None),
            (format!("restrict {key}"), None),
            ("ssh-ed25519 not-base64!".to_owned(), None),
            ("ssh-ed25519".to_owned(), None),
            (String::new(), None),
        ];
        for (line, fingerprint) in rows {
            assert_eq!(fingerprint_of(&line), fingerprint, "{line}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let rows = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, inside) in rows {
            let network = Network::parse(network).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
    }

    #[test]
    fn a_network_that_is_none_is_refused_and_named() {
        for bad in [
            "",
            "192.0.2.0/33",
            "192.0.2/24",
            "x",
            "::/129",
            "192.0.2.0/-1",
        ] {
            assert!(
                Network::parse(bad).unwrap_err().sentence.contains(bad),
                "{bad}"
            );
        }
    }
}
