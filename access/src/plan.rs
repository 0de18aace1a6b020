//! The plan of an intervention: what a contact reads before he decides. Versioned; each version
//! has a hash.

use crate::audit::{canonical, hex, sha256};
use crate::forward::{self, ForwardTo};
use crate::grant::Operation;
use crate::ids::{AccountName, OperatorId, TargetId};
use crate::refusal::{Refusal, require_text};
use crate::time::{Time, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whether health data will be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthDataSeen {
    No,
    Possible,
    Yes,
}

/// Who wanted the work (HDS v2 EXI 05.E).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Host,
    Customer,
}

/// What a plan says; all that a person writes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanText {
    /// Why: the motive every session of the intervention carries.
    pub purpose: String,
    /// What kind of work.
    pub nature: String,
    /// What it does to security and availability.
    pub impact: String,
    /// How it is undone.
    pub rollback: String,
    pub health_data: HealthDataSeen,
    pub origin: Origin,
    /// Under whose responsibility health data is seen (PGSSI-S 5.1.1.8).
    #[serde(default)]
    pub accountable: Option<String>,
    /// A ticket number elsewhere.
    #[serde(default)]
    pub reference: Option<String>,
    pub operators: BTreeSet<OperatorId>,
    pub targets: BTreeSet<TargetId>,
    pub accounts: BTreeSet<AccountName>,
    pub operations: BTreeSet<Operation>,
    /// Where `forward` may go; it goes nowhere else. A plan that lists nothing says nothing of it,
    /// neither in what is kept nor in what is signed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forwards: BTreeSet<ForwardTo>,
    pub window: Window,
}

/// The longest window that can be asked for.
pub const LONGEST_WINDOW: std::time::Duration = std::time::Duration::from_hours(31 * 24);

impl PlanText {
    /// Each account of each system.
    pub fn places(&self) -> impl Iterator<Item = (&TargetId, &AccountName)> {
        let accounts = &self.accounts;
        let at = move |target| accounts.iter().map(move |account| (target, account));
        self.targets.iter().flat_map(at)
    }

    /// Refuses a plan that a contact could not decide on.
    pub(crate) fn check(&self, now: Time) -> Result<(), Refusal> {
        require_text("purpose", &self.purpose, 10, 2000)?;
        require_text("nature", &self.nature, 3, 2000)?;
        require_text("impact", &self.impact, 3, 2000)?;
        require_text("rollback", &self.rollback, 3, 2000)?;
        for (what, text) in [
            ("accountable", &self.accountable),
            ("reference", &self.reference),
        ] {
            require_text(what, text.as_deref().unwrap_or_default(), 0, 200)?;
        }
        if self.operators.is_empty()
            || self.targets.is_empty()
            || self.accounts.is_empty()
            || self.operations.is_empty()
        {
            return Err(Refusal::new(
                "plan_incomplete",
                "a plan names at least one operator, one target, one account and one operation",
            ));
        }
        forward::check(&self.forwards, &self.operations)?;
        if self.window.end() <= now {
            return Err(Refusal::new(
                "window_over",
                "the window is already over; choose a later end",
            ));
        }
        if self.window.end().since(self.window.start()) > LONGEST_WINDOW {
            return Err(Refusal::new(
                "window_too_long",
                "a window is at most 31 days long; split the work",
            ));
        }
        if self.health_data != HealthDataSeen::No
            && self
                .accountable
                .as_deref()
                .is_none_or(|name| require_text("accountable", name, 2, 200).is_err())
        {
            return Err(Refusal::new(
                "accountable_missing",
                "health data may be seen: name the person under whose responsibility that happens",
            ));
        }
        Ok(())
    }
}

/// One version of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// 1 for the first.
    pub number: u32,
    pub text: PlanText,
    pub author: OperatorId,
    pub written_at: Time,
    /// Where it is an earlier version with a later end, and nothing else. A version that is not
    /// says nothing of it, neither in what is kept nor in what is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<Extends>,
}

/// Why a version asks for more time, and of which one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extends {
    /// The version that was in force when it was asked for.
    pub version: u32,
    /// The end that one had.
    pub end: Time,
    pub reason: String,
}

impl Plan {
    /// This version with a later end.
    pub(crate) fn until(&self, end: Time) -> Option<PlanText> {
        let window = Window::new(self.text.window.start(), end).ok()?;
        (end > self.text.window.end()).then(|| PlanText {
            window,
            ..self.text.clone()
        })
    }

    /// Whether it is `earlier` with a later end, and says so.
    pub fn only_extends(&self, earlier: &Self) -> bool {
        self.extends.as_ref().is_some_and(|extends| {
            extends.version == earlier.number && extends.end == earlier.text.window.end()
        }) && earlier.until(self.text.window.end()).as_ref() == Some(&self.text)
    }

    /// SHA-256 of the canonical JSON (RFC 8785) of this version, lower-case hexadecimal.
    pub fn hash(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        hex(&sha256(canonical(&value).as_bytes()))
    }
}
