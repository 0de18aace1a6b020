//! The yearly review of one grant: keep, reduce or withdraw (HDS activity 5, a).

use crate::grant::Scope;
use crate::ids::OperatorId;
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// What the reviewer attests, one by one: the three adjectives of the regulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attestations {
    /// The right is one natural person's.
    pub nominative: Attested,
    /// Its reason still holds.
    pub justified: Attested,
    /// Nothing smaller would do.
    pub necessary: Attested,
}

/// Whether something was attested.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attested {
    Yes,
    No,
}

impl Attestations {
    /// All three attested.
    pub const ALL: Self = Self {
        nominative: Attested::Yes,
        justified: Attested::Yes,
        necessary: Attested::Yes,
    };

    fn all_given(self) -> bool {
        self == Self::ALL
    }
}

/// What the reviewer decides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum ReviewDecision {
    Keep,
    /// Keep less: the new scope lies within the old one.
    Reduce {
        scope: Scope,
    },
    Withdraw,
}

/// One recorded review.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Review {
    pub reviewer: OperatorId,
    #[serde(flatten)]
    pub decision: ReviewDecision,
    pub attestations: Attestations,
    pub comment: String,
    pub at: Time,
}

impl Review {
    /// Refuses a review that says less than it must.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        require_text("comment", &self.comment, 3, 2000)?;
        match self.decision {
            ReviewDecision::Withdraw => Ok(()),
            ReviewDecision::Keep | ReviewDecision::Reduce { .. }
                if self.attestations.all_given() =>
            {
                Ok(())
            }
            ReviewDecision::Keep | ReviewDecision::Reduce { .. } => Err(Refusal::new(
                "attestation_missing",
                "a right is kept only if it is attested to be nominative, justified and necessary, each by itself",
            )),
        }
    }
}
