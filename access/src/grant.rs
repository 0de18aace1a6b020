//! The grant: one person's named, justified and necessary right, reviewed each year.
//!
//! `proposed → active → withdrawn`; expiry and an overdue review are computed from its dates, so
//! that a right stops by itself, without anybody or anything having to act.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::{AccountName, CustomerId, GrantId, OperatorId, TargetId};
use crate::operator::{Operator, Role};
use crate::refusal::{Refusal, require_text};
use crate::review::{Review, ReviewDecision};
use crate::time::{Time, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What may be done on a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An interactive shell.
    Shell,
    /// One command.
    Exec,
    /// Files towards the target.
    Upload,
    /// Files from the target.
    Download,
    /// Connections through the target.
    Forward,
}

impl Operation {
    /// The operation's stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Forward => "forward",
        }
    }
}

/// On what a right is based.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    Contract,
    Role,
    CustomerRequest,
    Change,
}

/// How often a right is reviewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewEvery {
    /// At the latest after twelve months.
    #[default]
    Year,
    /// Every three months: shared technical accounts (`SecNumCloud` 9.4.c).
    Quarter,
}

impl ReviewEvery {
    const fn months(self) -> i8 {
        match self {
            Self::Year => 12,
            Self::Quarter => 3,
        }
    }
}

/// What a right reaches; nothing in it is ever empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scope {
    pub targets: BTreeSet<TargetId>,
    pub accounts: BTreeSet<AccountName>,
    pub operations: BTreeSet<Operation>,
}

impl Scope {
    fn check(&self) -> Result<(), Refusal> {
        if self.targets.is_empty() || self.accounts.is_empty() || self.operations.is_empty() {
            return Err(Refusal::new(
                "scope_empty",
                "a right names at least one target, one account and one operation",
            ));
        }
        Ok(())
    }

    fn lies_within(&self, wider: &Self) -> bool {
        self.targets.is_subset(&wider.targets)
            && self.accounts.is_subset(&wider.accounts)
            && self.operations.is_subset(&wider.operations)
    }
}

/// What is proposed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The one natural person who holds the right.
    pub operator: OperatorId,
    pub customer: CustomerId,
    #[serde(flatten)]
    pub scope: Scope,
    /// Why the person needs it.
    pub justification: String,
    pub basis: Basis,
    /// From when to when at most; the review may end it earlier.
    pub validity: Window,
    #[serde(default)]
    pub review_every: ReviewEvery,
}

/// Where a grant stands, as far as people decide it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GrantState {
    Proposed {
        by: Who,
        at: Time,
        /// Who approved it first, where its proposer is no person who has proven who he is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconded_by: Option<OperatorId>,
    },
    Active {
        proposed_by: Who,
        approved_by: Who,
        at: Time,
        review_due: Time,
    },
    Withdrawn {
        by: Who,
        at: Time,
        reason: String,
    },
}

/// How a grant stands at one moment, dates included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Proposed,
    NotStarted,
    InForce,
    ReviewOverdue,
    Expired,
    Withdrawn,
}

/// One named right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub terms: Terms,
    #[serde(flatten)]
    pub state: GrantState,
    /// Every review, oldest first; never overwritten.
    pub reviews: Vec<Review>,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Grant {
    /// Proposes a right. The holder cannot propose his own.
    pub fn propose(
        id: GrantId,
        terms: Terms,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        terms.scope.check()?;
        require_text("justification", &terms.justification, 10, 2000)?;
        if by == Who::Operator(terms.operator.clone()) {
            return Err(own_right(&terms.operator));
        }
        let state = GrantState::Proposed {
            by: by.clone(),
            at: now,
            seconded_by: None,
        };
        let grant = Self {
            id,
            terms,
            state,
            reviews: Vec::new(),
            version: 0,
        };
        let event = grant
            .event("grant.proposed", by, now)
            .with("terms", &grant.terms);
        Ok(Changed::new(grant, event))
    }

    /// A second person puts a proposed right in force; proposer, approver and holder all differ.
    /// Where it was proposed at the command line, by a name that proves nothing, it takes two
    /// people: the first only seconds it.
    pub fn approve(mut self, by: &Operator, now: Time) -> Result<Changed<Self>, Refusal> {
        by.may(Role::Manager).or_else(|_| by.may(Role::Security))?;
        let approver = Who::Operator(by.id.clone());
        let (proposed_by, first) = self.proposer()?;
        if by.id == self.terms.operator {
            return Err(own_right(&by.id));
        }
        if approver == proposed_by || first.as_ref() == Some(&by.id) {
            return Err(Refusal::new(
                "same_person",
                format!(
                    "`{}` proposed or approved this right already; ask a second person",
                    by.id
                ),
            ));
        }
        let by_a_person = matches!(proposed_by, Who::Operator(_));
        if by_a_person || first.is_some() {
            return Ok(self.activate(proposed_by, approver, "grant.approved", now));
        }
        let event = self.event("grant.seconded", approver, now);
        if let GrantState::Proposed { seconded_by, .. } = &mut self.state {
            *seconded_by = Some(by.id.clone());
        }
        Ok(Changed::new(self, event))
    }

    /// Puts a proposed right in force while the platform is being set up, when there may be
    /// nobody else yet, but not by the holder's own hand. The caller has checked that the set-up
    /// is still open; the trace says so.
    pub fn accept_in_setup(self, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        let (proposed_by, _) = self.proposer()?;
        if by == Who::Operator(self.terms.operator.clone()) {
            return Err(own_right(&self.terms.operator));
        }
        Ok(self.activate(proposed_by, by, "grant.accepted_in_setup", now))
    }

    /// Records a review, made at `now` whatever it says. The reviewer is never the holder.
    pub fn review(
        mut self,
        reviewer: &Operator,
        mut review: Review,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        reviewer
            .may(Role::Manager)
            .or_else(|_| reviewer.may(Role::Security))?;
        if reviewer.id == self.terms.operator {
            return Err(own_right(&reviewer.id));
        }
        if review.reviewer != reviewer.id {
            return Err(Refusal::new(
                "reviewer_differs",
                format!(
                    "this review is said to be `{}`'s, not `{}`'s",
                    review.reviewer, reviewer.id
                ),
            ));
        }
        review.check()?;
        review.at = now;
        let by = Who::Operator(reviewer.id.clone());
        let GrantState::Active {
            proposed_by,
            approved_by,
            at,
            ..
        } = self.state.clone()
        else {
            return Err(self.not_active());
        };
        let event = self
            .event("grant.reviewed", by.clone(), now)
            .with("review", &review);
        match &review.decision {
            ReviewDecision::Keep => {}
            ReviewDecision::Reduce { scope } => {
                scope.check()?;
                if !scope.lies_within(&self.terms.scope) {
                    return Err(Refusal::new(
                        "scope_wider",
                        "a review can only reduce a right; propose another one for what it lacks",
                    ));
                }
                self.terms.scope = scope.clone();
            }
            ReviewDecision::Withdraw => {
                self.state = GrantState::Withdrawn {
                    by,
                    at: now,
                    reason: review.comment.clone(),
                };
                self.reviews.push(review);
                return Ok(Changed::new(self, event));
            }
        }
        let review_due = now.plus_months(self.terms.review_every.months());
        let event = event.with("review_due", review_due.rfc3339());
        self.state = GrantState::Active {
            proposed_by,
            approved_by,
            at,
            review_due,
        };
        self.reviews.push(review);
        Ok(Changed::new(self, event))
    }

    /// Ends a right, proposed or active; live sessions end.
    pub fn withdraw(mut self, reason: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("reason", reason, 3, 2000)?;
        if let GrantState::Withdrawn { .. } = self.state {
            return Err(self.not_active());
        }
        let event = self
            .event("grant.withdrawn", by.clone(), now)
            .with("reason", reason);
        self.state = GrantState::Withdrawn {
            by,
            at: now,
            reason: reason.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    /// Moves the date of the next review nearer, so that it can be asked for before it is due.
    pub fn call_for_review(
        mut self,
        due: Time,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        let GrantState::Active {
            proposed_by,
            approved_by,
            at,
            review_due,
        } = self.state.clone()
        else {
            return Err(self.not_active());
        };
        if due > review_due {
            return Err(Refusal::new(
                "review_postponed",
                "a review can be called earlier, never put off; review the right instead",
            ));
        }
        let event = self
            .event("grant.review_called", by, now)
            .with("review_due", due.rfc3339());
        self.state = GrantState::Active {
            proposed_by,
            approved_by,
            at,
            review_due: due,
        };
        Ok(Changed::new(self, event))
    }

    /// When the next review is due, for an active grant. Never later than its period after the
    /// last review (or the approval), whatever a row says.
    pub fn review_due(&self) -> Option<Time> {
        match self.state {
            GrantState::Active { review_due, at, .. } => {
                let last = self.reviews.last().map_or(at, |review| review.at);
                let latest = last.plus_months(self.terms.review_every.months());
                Some(review_due.min(latest))
            }
            GrantState::Proposed { .. } | GrantState::Withdrawn { .. } => None,
        }
    }

    /// How the grant stands at `now`.
    pub fn standing(&self, now: Time) -> Standing {
        match self.state {
            GrantState::Proposed { .. } => Standing::Proposed,
            GrantState::Withdrawn { .. } => Standing::Withdrawn,
            GrantState::Active { .. } if now < self.terms.validity.start() => Standing::NotStarted,
            GrantState::Active { .. } if now >= self.terms.validity.end() => Standing::Expired,
            GrantState::Active { .. } if self.review_due().is_none_or(|due| now >= due) => {
                Standing::ReviewOverdue
            }
            GrantState::Active { .. } => Standing::InForce,
        }
    }

    /// Who proposed it, and who seconded it.
    fn proposer(&self) -> Result<(Who, Option<OperatorId>), Refusal> {
        match &self.state {
            GrantState::Proposed {
                by, seconded_by, ..
            } => Ok((by.clone(), seconded_by.clone())),
            GrantState::Active { .. } | GrantState::Withdrawn { .. } => Err(Refusal::new(
                "grant_not_proposed",
                format!("grant `{}` was decided already", self.id),
            )),
        }
    }

    fn activate(
        mut self,
        proposed_by: Who,
        approved_by: Who,
        name: &str,
        now: Time,
    ) -> Changed<Self> {
        let review_due = now.plus_months(self.terms.review_every.months());
        let event = self
            .event(name, approved_by.clone(), now)
            .with("review_due", review_due.rfc3339());
        self.state = GrantState::Active {
            proposed_by,
            approved_by,
            at: now,
            review_due,
        };
        Changed::new(self, event)
    }

    fn not_active(&self) -> Refusal {
        Refusal::new(
            "grant_not_active",
            format!("grant `{}` is not active", self.id),
        )
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("grant {}", self.id), now)
            .of_customer(&self.terms.customer)
            .with("operator", &self.terms.operator)
    }
}

fn own_right(holder: &OperatorId) -> Refusal {
    Refusal::new(
        "own_right",
        format!(
            "`{holder}` cannot propose, approve or review a right of his own; ask a second person"
        ),
    )
}
