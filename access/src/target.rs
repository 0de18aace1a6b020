//! The target: one SSH-reachable system of one customer, with pinned host keys.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::{AccountName, CustomerId, TargetId};
use crate::operator::check_keys;
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// Whether the system is the customer's alone (HDS v2 EXI 15: he may read its traces).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenancy {
    Dedicated,
    Shared,
}

/// Whether health data can be seen there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthData {
    Holds,
    None,
}

/// Whether connections are made to it at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TargetState {
    Enabled,
    Disabled { since: Time, reason: String },
}

/// What is declared about a target; all that `apply` sets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TargetDetails {
    pub customer: CustomerId,
    /// `host:port` (`[2001:db8::1]:22`), the only address ever dialled.
    pub address: String,
    /// Pinned host keys in OpenSSH format (`ssh-ed25519 AAAA…`); none pinned, none reached.
    #[serde(default)]
    pub host_keys: Vec<String>,
    pub accounts: BTreeSet<AccountName>,
    pub tenancy: Tenancy,
    pub health_data: HealthData,
}

/// One system of one customer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    pub id: TargetId,
    #[serde(flatten)]
    pub details: TargetDetails,
    #[serde(flatten)]
    pub state: TargetState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Target {
    /// Registers a target.
    pub fn register(
        id: TargetId,
        details: TargetDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        let event = Event::new("target.registered", by, format!("target {id}"), now)
            .of_customer(&details.customer)
            .with("details", &details);
        Ok(Changed::new(
            Self {
                id,
                details,
                state: TargetState::Enabled,
                version: 0,
            },
            event,
        ))
    }

    /// Replaces what is declared. A target never changes hands: register another one instead.
    pub fn amend(
        mut self,
        details: TargetDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        if details.customer != self.details.customer {
            return Err(Refusal::new(
                "target_of_another_customer",
                format!(
                    "`{}` belongs to `{}` and stays there; register a new target",
                    self.id, self.details.customer
                ),
            ));
        }
        let event = self
            .event("target.amended", by, now)
            .with("before", &self.details)
            .with("after", &details);
        self.details = details;
        Ok(Changed::new(self, event))
    }

    /// Closes the target to everybody; live sessions end.
    pub fn disable(mut self, reason: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("reason", reason, 3, 500)?;
        let event = self
            .event("target.disabled", by, now)
            .with("reason", reason);
        self.state = TargetState::Disabled {
            since: now,
            reason: reason.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    /// Opens it again.
    pub fn enable(mut self, by: Who, now: Time) -> Changed<Self> {
        let event = self.event("target.enabled", by, now);
        self.state = TargetState::Enabled;
        Changed::new(self, event)
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("target {}", self.id), now).of_customer(&self.details.customer)
    }
}

fn check(details: &TargetDetails) -> Result<(), Refusal> {
    let port = details
        .address
        .rsplit_once(':')
        .filter(|(host, _)| is_host(host))
        .map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(1..))) {
        return Err(Refusal::new(
            "address_invalid",
            format!(
                "`{}` is not an address like `192.0.2.10:22`",
                details.address.escape_debug()
            ),
        ));
    }
    if details.accounts.is_empty() {
        return Err(Refusal::new(
            "target_without_account",
            "a target needs at least one account, such as `root`",
        ));
    }
    check_keys(&details.host_keys)
}

/// A name, an IPv4 address, or an IPv6 address in brackets: what can be read in one way only.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        }
    }
}
