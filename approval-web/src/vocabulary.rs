//! The trade's words in the reader's language.

use crate::language::Words;
use access::actor::ActorKind;
use access::approval::Decision;
use access::contact::ContactKind;
use access::grant::{Basis, Operation, Standing};
use access::intervention::Phase;
use access::operator::Role;
use access::plan::{HealthDataSeen, Origin};
use access::review::ReviewDecision;
use access::second_factor::Proof;
use access::session::SessionState;
use access::{Operator, OperatorId, Who};
use std::collections::{BTreeMap, BTreeSet};
use store::{Store, StoreError};

/// A word, and the class under which the style sheet knows it.
#[derive(Clone, Debug)]
pub(crate) struct Badge {
    pub(crate) text: String,
    pub(crate) class: &'static str,
}

impl Words {
    pub(crate) fn operation(self, operation: Operation) -> String {
        self.t(&format!("operation-{}", operation.code()))
    }

    pub(crate) fn operations<'a>(self, all: impl IntoIterator<Item = &'a Operation>) -> String {
        let words: Vec<String> = all.into_iter().map(|o| self.operation(*o)).collect();
        words.join(", ")
    }

    pub(crate) fn health_data(self, seen: HealthDataSeen) -> Badge {
        let (key, class) = match seen {
            HealthDataSeen::No => ("health-no", "good"),
            HealthDataSeen::Possible => ("health-possible", "warn"),
            HealthDataSeen::Yes => ("health-yes", "bad"),
        };
        self.badge(key, class)
    }

    pub(crate) fn origin(self, origin: Origin) -> String {
        self.t(match origin {
            Origin::Host => "origin-host",
            Origin::Customer => "origin-customer",
        })
    }

    pub(crate) fn phase(self, phase: Phase) -> Badge {
        let class = match phase {
            Phase::Submitted => "wait",
            Phase::InfoRequested => "warn",
            Phase::Approved => "good",
            Phase::Open => "live",
            Phase::Refused | Phase::Revoked => "bad",
            Phase::Draft | Phase::Over | Phase::Withdrawn | Phase::Expired | Phase::Closed => {
                "quiet"
            }
        };
        self.badge(&format!("phase-{}", phase.code().replace('_', "-")), class)
    }

    pub(crate) fn decision(self, decision: &Decision) -> Badge {
        match decision {
            Decision::Approve => self.badge("decided-approved", "good"),
            Decision::Refuse { .. } => self.badge("decided-refused", "bad"),
        }
    }

    pub(crate) fn standing(self, standing: Standing) -> Badge {
        let (key, class) = match standing {
            Standing::Proposed => ("standing-proposed", "wait"),
            Standing::NotStarted => ("standing-not-started", "quiet"),
            Standing::InForce => ("standing-in-force", "good"),
            Standing::ReviewOverdue => ("standing-review-overdue", "bad"),
            Standing::Expired => ("standing-expired", "quiet"),
            Standing::Withdrawn => ("standing-withdrawn", "quiet"),
        };
        self.badge(key, class)
    }

    pub(crate) fn session(self, state: &SessionState) -> Badge {
        let (key, class) = match state {
            SessionState::Live => ("session-live", "live"),
            SessionState::Ended { .. } => ("session-ended", "quiet"),
            SessionState::Interrupted { .. } => ("session-interrupted", "warn"),
        };
        self.badge(key, class)
    }

    pub(crate) fn contact_kind(self, kind: ContactKind) -> String {
        self.t(match kind {
            ContactKind::Health => "contact-health",
            ContactKind::Incident => "contact-incident",
            ContactKind::Approver => "contact-approver",
            ContactKind::Dpo => "contact-dpo",
        })
    }

    pub(crate) fn role(self, role: Role) -> String {
        self.t(&format!("role-{}", role.code()))
    }

    pub(crate) fn basis(self, basis: Basis) -> String {
        self.t(match basis {
            Basis::Contract => "basis-contract",
            Basis::Role => "basis-role",
            Basis::CustomerRequest => "basis-customer-request",
            Basis::Change => "basis-change",
        })
    }

    pub(crate) fn actor_kind(self, kind: ActorKind) -> String {
        self.t(match kind {
            ActorKind::Host => "actor-host",
            ActorKind::Subcontractor => "actor-subcontractor",
        })
    }

    pub(crate) fn review(self, decision: &ReviewDecision) -> String {
        self.t(match decision {
            ReviewDecision::Keep => "review-keep",
            ReviewDecision::Reduce { .. } => "review-reduce",
            ReviewDecision::Withdraw => "review-withdraw",
        })
    }

    pub(crate) fn proof(self, proof: Proof) -> String {
        self.t(match proof {
            Proof::Totp => "proof-totp",
            Proof::Passkey => "proof-passkey",
        })
    }

    pub(crate) fn who(self, who: &Who) -> String {
        match who {
            Who::Operator(id) => id.to_string(),
            Who::Contact(id) => id.to_string(),
            Who::CommandLine(user) => self.with("who-command-line", "user", user),
            Who::Unknown(source) => self.with("who-unknown", "source", source),
            Who::Bastion => self.t("who-bastion"),
        }
    }

    pub(crate) fn badge(self, key: &str, class: &'static str) -> Badge {
        Badge {
            text: self.t(key),
            class,
        }
    }
}

/// Several names in one line.
pub(crate) fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    words.join(", ")
}

/// The people of the host by name, as far as a page mentions them.
#[derive(Default)]
pub(crate) struct People(BTreeMap<OperatorId, Operator>);

impl People {
    /// Looks up everybody in `ids`.
    pub(crate) async fn look_up(
        store: &Store,
        ids: BTreeSet<OperatorId>,
    ) -> Result<Self, StoreError> {
        let mut found = BTreeMap::new();
        for id in ids {
            if let Some(operator) = store.operator(&id).await? {
                found.insert(id, operator);
            }
        }
        Ok(Self(found))
    }

    /// `Alice Durand (alice)`; the login alone where nobody is registered under it.
    pub(crate) fn name(&self, id: &OperatorId) -> String {
        match self.0.get(id) {
            Some(operator) => format!("{} ({id})", operator.details.name),
            None => id.to_string(),
        }
    }

    pub(crate) fn names<'a>(&self, ids: impl IntoIterator<Item = &'a OperatorId>) -> String {
        list(ids.into_iter().map(|id| self.name(id)))
    }

    pub(crate) fn get(&self, id: &OperatorId) -> Option<&Operator> {
        self.0.get(id)
    }

    pub(crate) fn who(&self, words: Words, who: &Who) -> String {
        match who {
            Who::Operator(id) => self.name(id),
            Who::Contact(_) | Who::CommandLine(_) | Who::Unknown(_) | Who::Bastion => {
                words.who(who)
            }
        }
    }
}
