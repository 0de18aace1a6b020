//! A plan as people read it before it is decided: every field of what is signed. The host's preview
//! and the contact's page show this very view.

use crate::language::Words;
use crate::vocabulary::{Badge, People, list};
use access::Intervention;
use access::intervention::InterventionState;

/// All that a plan says, in the reader's language.
pub(crate) struct PlanView {
    pub(crate) customer: String,
    pub(crate) version: u32,
    pub(crate) requested_by: String,
    pub(crate) written_at: String,
    pub(crate) purpose: String,
    pub(crate) nature: String,
    pub(crate) impact: String,
    pub(crate) rollback: String,
    pub(crate) health: Badge,
    pub(crate) accountable: Option<String>,
    pub(crate) origin: String,
    pub(crate) reference: Option<String>,
    pub(crate) operators: Vec<String>,
    pub(crate) targets: String,
    pub(crate) accounts: String,
    pub(crate) operations: String,
    pub(crate) forwards: Vec<String>,
    pub(crate) window: String,
}

impl PlanView {
    pub(crate) fn of(one: &Intervention, customer: &str, words: Words, people: &People) -> Self {
        let plan = one.plan();
        let text = &plan.text;
        Self {
            customer: customer.to_owned(),
            version: plan.number,
            requested_by: people.name(&one.requested_by),
            written_at: words.time(plan.written_at),
            purpose: text.purpose.clone(),
            nature: text.nature.clone(),
            impact: text.impact.clone(),
            rollback: text.rollback.clone(),
            health: words.health_data(text.health_data),
            accountable: text.accountable.clone(),
            origin: words.origin(text.origin),
            reference: text.reference.clone(),
            operators: text.operators.iter().map(|id| people.name(id)).collect(),
            targets: list(&text.targets),
            accounts: list(&text.accounts),
            operations: words.operations(&text.operations),
            forwards: text.forwards.iter().map(ToString::to_string).collect(),
            window: words.window(text.window),
        }
    }
}

/// How an intervention ended, in one sentence.
pub(crate) fn outcome(one: &Intervention, words: Words, people: &People) -> Option<String> {
    let (key, by, text, at) = match &one.state {
        InterventionState::Revoked { by, reason, at } => (
            "outcome-revoked",
            people.who(words, by),
            reason.clone(),
            *at,
        ),
        InterventionState::Closed { by, outcome, at } => (
            "outcome-closed",
            people.who(words, by),
            outcome.clone(),
            *at,
        ),
        InterventionState::Refused { by, reason, at } => {
            ("outcome-refused", by.to_string(), reason.clone(), *at)
        }
        InterventionState::Withdrawn { by, at } => {
            ("outcome-withdrawn", people.name(by), String::new(), *at)
        }
        InterventionState::Expired { at } => ("outcome-expired", String::new(), String::new(), *at),
        InterventionState::Draft
        | InterventionState::Submitted { .. }
        | InterventionState::InfoRequested { .. }
        | InterventionState::Approved { .. } => return None,
    };
    let values = [("by", by), ("text", text), ("at", words.time(at))];
    Some(words.fill(key, &values))
}
