//! What a provisioning file can say. The name a thing is declared under is what it is known by.

use access::actor::ActorKind;
use access::contact::{ContactKind, Language};
use access::grant::{Basis, Operation, ReviewEvery};
use access::operator::{Network, Role};
use access::target::{HealthData, Tenancy};
use access::{AccountName, ActorId, ContactId, CustomerId, GrantId, OperatorId, TargetId, Time};
use serde::{Deserialize, Deserializer, de};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The whole file.
#[derive(Deserialize, Debug, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) customers: BTreeMap<CustomerId, WantedCustomer>,
    pub(super) contacts: BTreeMap<ContactId, WantedContact>,
    pub(super) actors: BTreeMap<ActorId, WantedActor>,
    pub(super) operators: BTreeMap<OperatorId, WantedOperator>,
    pub(super) targets: BTreeMap<TargetId, WantedTarget>,
    pub(super) grants: BTreeMap<GrantId, WantedGrant>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedCustomer {
    pub(super) name: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedContact {
    pub(super) customer: CustomerId,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) kinds: BTreeSet<ContactKind>,
    #[serde(default)]
    pub(super) language: Language,
    #[serde(default)]
    pub(super) deputy: Option<ContactId>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedActor {
    pub(super) name: String,
    pub(super) kind: ActorKind,
    #[serde(default)]
    pub(super) state: Option<WantedState>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedOperator {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) actor: ActorId,
    pub(super) roles: BTreeSet<Role>,
    /// Public keys in OpenSSH format.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    #[serde(default)]
    pub(super) sources: Vec<Network>,
    #[serde(default)]
    pub(super) language: Language,
    #[serde(default)]
    pub(super) state: Option<WantedState>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedTarget {
    pub(super) customer: CustomerId,
    pub(super) address: String,
    /// Host keys in OpenSSH format.
    #[serde(default)]
    pub(super) host_keys: Vec<String>,
    /// Files with one host key each; relative to the provisioning file.
    #[serde(default)]
    pub(super) host_key_files: Vec<PathBuf>,
    pub(super) accounts: BTreeSet<AccountName>,
    pub(super) tenancy: Tenancy,
    pub(super) health_data: HealthData,
    #[serde(default)]
    pub(super) state: Option<WantedState>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedGrant {
    pub(super) operator: OperatorId,
    pub(super) targets: BTreeSet<TargetId>,
    pub(super) accounts: BTreeSet<AccountName>,
    pub(super) operations: BTreeSet<Operation>,
    pub(super) justification: String,
    pub(super) basis: Basis,
    /// Absent: from the moment it is proposed.
    #[serde(default, deserialize_with = "time_if_any")]
    pub(super) from: Option<Time>,
    #[serde(deserialize_with = "time")]
    pub(super) until: Time,
    #[serde(default)]
    pub(super) review_every: ReviewEvery,
}

/// Whether it may work. Absent: however it stands; a suspension made elsewhere is not undone.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum WantedState {
    Active,
    Suspended,
}

/// A time as TOML writes it, with its offset, bare or quoted.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    let written = toml::Value::deserialize(from)?;
    // Whatever it is, it is said as it was written: the sentence says what a time looks like.
    let text = written
        .as_str()
        .map_or_else(|| written.to_string(), str::to_owned);
    Time::parse(&text).map_err(de::Error::custom)
}

fn time_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
    time(from).map(Some)
}
