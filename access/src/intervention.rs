//! The intervention: a plan, a window, named people and systems, validated beforehand.
//!
//! ```text
//! draft ─submit─► submitted ◄─answer── info_requested
//!                    │ └───────ask────────▲
//!                    ├─ refuse ─► refused      ├─ withdraw ─► withdrawn
//!                    ├─ deadline ─► expired    └─ approve ─► approved ─► closed | revoked
//! ```
//! Whether an approved intervention is open is computed from its window. An edit makes a new plan
//! version and voids every approval of the old one. More time is `extension`'s.

use crate::approval::{Approval, Assertion, Decision, Statement};
use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::contact::{Contact, same_mailbox};
use crate::extension::{EndedExtension, Fate};
use crate::ids::{ContactId, CustomerId, InterventionId, OperatorId};
use crate::operator::{Operator, Role};
use crate::plan::{Plan, PlanText};
use crate::refusal::{Refusal, require_text};
use crate::time::{Position, Time};
use serde::{Deserialize, Serialize};

/// Where an intervention stands, as far as people decide it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InterventionState {
    Draft,
    /// Waits for the customer until the deadline; unanswered is never a yes.
    Submitted {
        at: Time,
        deadline: Time,
    },
    /// The customer asked something; waits for the answer.
    InfoRequested {
        by: ContactId,
        question: String,
        at: Time,
        deadline: Time,
    },
    Approved {
        at: Time,
    },
    Refused {
        by: ContactId,
        reason: String,
        at: Time,
    },
    Withdrawn {
        by: OperatorId,
        at: Time,
    },
    Expired {
        at: Time,
    },
    Revoked {
        by: Who,
        reason: String,
        at: Time,
    },
    Closed {
        by: Who,
        outcome: String,
        at: Time,
    },
}

/// How an intervention stands at one moment, its window included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Draft,
    Submitted,
    InfoRequested,
    /// Approved, and the window has not opened.
    Approved,
    Open,
    /// Approved, and the window is over.
    Over,
    Refused,
    Withdrawn,
    Expired,
    Revoked,
    Closed,
}

impl Phase {
    /// The phase's stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::InfoRequested => "info_requested",
            Self::Approved => "approved",
            Self::Open => "open",
            Self::Over => "over",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Closed => "closed",
        }
    }
}

/// A message between requester and contact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub by: Who,
    pub text: String,
    pub at: Time,
}

/// One intervention.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intervention {
    pub id: InterventionId,
    pub customer: CustomerId,
    pub requested_by: OperatorId,
    /// The version of the plan that counts.
    pub(crate) plan: Plan,
    /// Those that counted before, oldest first.
    pub earlier_plans: Vec<Plan>,
    /// A version with a later end that waits for the customer. Until he has approved it, it is
    /// nothing but a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<Plan>,
    /// Those that were never approved, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_extensions: Vec<EndedExtension>,
    /// Every decision ever signed, on whatever version, oldest first.
    pub approvals: Vec<Approval>,
    pub messages: Vec<Message>,
    #[serde(flatten)]
    pub state: InterventionState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Intervention {
    /// Starts a draft. Nobody else sees it before it is submitted.
    pub fn draft(
        id: InterventionId,
        customer: CustomerId,
        text: PlanText,
        by: &Operator,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        may_request(by)?;
        text.check(now)?;
        let plan = Plan {
            number: 1,
            text,
            author: by.id.clone(),
            written_at: now,
            extends: None,
        };
        let intervention = Self {
            id,
            customer,
            requested_by: by.id.clone(),
            plan,
            earlier_plans: Vec::new(),
            extension: None,
            ended_extensions: Vec::new(),
            approvals: Vec::new(),
            messages: Vec::new(),
            state: InterventionState::Draft,
            version: 0,
        };
        let event = intervention
            .event("intervention.drafted", Who::Operator(by.id.clone()), now)
            .with("plan", &intervention.plan)
            .with("plan_sha256", intervention.plan.hash());
        Ok(Changed::new(intervention, event))
    }

    /// Sends the draft to the customer; the deadline is the end of the window at the latest.
    pub fn submit(mut self, by: &Operator, now: Time) -> Result<Changed<Self>, Refusal> {
        self.only_requester(by)?;
        let InterventionState::Draft = self.state else {
            return Err(self.not_possible("submitted"));
        };
        self.plan.text.check(now)?;
        let deadline = self.plan.text.window.end();
        let event = self
            .event("intervention.submitted", Who::Operator(by.id.clone()), now)
            .with("deadline", deadline.rfc3339());
        self.state = InterventionState::Submitted { at: now, deadline };
        Ok(Changed::new(self, event))
    }

    /// Writes a new version of the plan. Approvals of the old one count no longer; the customer
    /// decides anew. What time has ended stays ended.
    pub fn amend(
        mut self,
        text: PlanText,
        by: &Operator,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.only_requester(by)?;
        self.must_be_in_time("amended", now)?;
        text.check(now)?;
        let state = match self.state {
            InterventionState::Draft => InterventionState::Draft,
            InterventionState::Submitted { .. }
            | InterventionState::InfoRequested { .. }
            | InterventionState::Approved { .. } => InterventionState::Submitted {
                at: now,
                deadline: text.window.end(),
            },
            InterventionState::Refused { .. }
            | InterventionState::Withdrawn { .. }
            | InterventionState::Expired { .. }
            | InterventionState::Revoked { .. }
            | InterventionState::Closed { .. } => return Err(self.not_possible("amended")),
        };
        let plan = Plan {
            number: self.next_version(),
            text,
            author: by.id.clone(),
            written_at: now,
            extends: None,
        };
        let event = self
            .event("intervention.amended", Who::Operator(by.id.clone()), now)
            .with("plan", &plan)
            .with("plan_sha256", plan.hash());
        let event = self.end_extension(Fate::Overtaken, event);
        self.earlier_plans
            .push(std::mem::replace(&mut self.plan, plan));
        self.state = state;
        Ok(Changed::new(self, event))
    }

    /// The customer asks something before he decides.
    pub fn ask(
        mut self,
        contact: &Contact,
        question: &str,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.only_own_approver(contact)?;
        self.must_be_in_time("asked about", now)?;
        require_text("question", question, 3, 2000)?;
        let InterventionState::Submitted { deadline, .. } = self.state else {
            return Err(self.not_possible("asked about"));
        };
        let by = Who::Contact(contact.id.clone());
        let event = self
            .event("intervention.info_requested", by.clone(), now)
            .with("question", question);
        self.messages.push(Message {
            by,
            text: question.to_owned(),
            at: now,
        });
        self.state = InterventionState::InfoRequested {
            by: contact.id.clone(),
            question: question.to_owned(),
            at: now,
            deadline,
        };
        Ok(Changed::new(self, event))
    }

    /// The requester answers.
    pub fn answer(
        mut self,
        by: &Operator,
        answer: &str,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.only_requester(by)?;
        self.must_be_in_time("answered", now)?;
        require_text("answer", answer, 1, 2000)?;
        let InterventionState::InfoRequested { deadline, .. } = self.state else {
            return Err(self.not_possible("answered"));
        };
        let who = Who::Operator(by.id.clone());
        let event = self
            .event("intervention.answered", who.clone(), now)
            .with("answer", answer);
        self.messages.push(Message {
            by: who,
            text: answer.to_owned(),
            at: now,
        });
        self.state = InterventionState::Submitted { at: now, deadline };
        Ok(Changed::new(self, event))
    }

    /// What `contact` would sign for `decision` now; refused where the decision could not be taken.
    /// `people` are the requester and every operator the plan names.
    pub fn statement(
        &self,
        contact: &Contact,
        people: &[Operator],
        decision: &Decision,
        nonce: &str,
        now: Time,
    ) -> Result<Statement, Refusal> {
        self.may_decide(contact, people, decision, now)?;
        Ok(Statement::compose(self, decision, &contact.id, nonce))
    }

    /// Records a signed decision. The caller has verified the assertion over the statement's
    /// challenge; here it is checked that the statement is this decision on this very plan, and
    /// that the contact is none of `people`: the requester and every operator the plan names.
    pub fn decide(
        mut self,
        contact: &Contact,
        people: &[Operator],
        decision: Decision,
        signed: Signed,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.may_decide(contact, people, &decision, now)?;
        let expected = Statement::compose(&self, &decision, &contact.id, &signed.nonce);
        if expected != signed.statement {
            return Err(Refusal::new(
                "statement_differs",
                "what was signed is not the plan as it stands now; read it again and decide anew",
            ));
        }
        let by = Who::Contact(contact.id.clone());
        let name = match (&decision, &self.extension) {
            (Decision::Approve, None) => "intervention.approved",
            (Decision::Refuse { .. }, None) => "intervention.refused",
            (Decision::Approve, Some(_)) => "intervention.extended",
            (Decision::Refuse { .. }, Some(_)) => "intervention.extension_refused",
        };
        let (version, hash) = (self.awaited().number, self.awaited().hash());
        let event = self
            .event(name, by, now)
            .with("plan_version", version)
            .with("plan_sha256", &hash)
            .with(
                "statement_sha256",
                crate::audit::hex(&signed.statement.challenge()),
            )
            .with("assertion", &signed.assertion)
            .with("decision", &decision);
        let event = match &self.extension {
            Some(extension) => event.with("until", extension.text.window.end().rfc3339()),
            None => event,
        };
        match self.extension.take() {
            Some(extension) => self.settle_extension(extension, contact, &decision, now),
            None => self.state = decided(contact, &decision, now),
        }
        self.approvals.push(Approval {
            intervention: self.id.clone(),
            customer: self.customer.clone(),
            plan_version: version,
            plan_hash: hash,
            approver: contact.id.clone(),
            decision,
            statement: signed.statement,
            assertion: signed.assertion,
            at: now,
        });
        Ok(Changed::new(self, event))
    }

    /// The requester takes it back before it was decided.
    pub fn withdraw(mut self, by: &Operator, now: Time) -> Result<Changed<Self>, Refusal> {
        self.only_requester(by)?;
        match self.state {
            InterventionState::Draft
            | InterventionState::Submitted { .. }
            | InterventionState::InfoRequested { .. } => {}
            InterventionState::Approved { .. }
            | InterventionState::Refused { .. }
            | InterventionState::Withdrawn { .. }
            | InterventionState::Expired { .. }
            | InterventionState::Revoked { .. }
            | InterventionState::Closed { .. } => return Err(self.not_possible("withdrawn")),
        }
        let event = self.event("intervention.withdrawn", Who::Operator(by.id.clone()), now);
        self.state = InterventionState::Withdrawn {
            by: by.id.clone(),
            at: now,
        };
        Ok(Changed::new(self, event))
    }

    /// The customer takes his approval back; live sessions end within 5 s.
    pub fn revoke_by_contact(
        self,
        contact: &Contact,
        reason: &str,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.only_own_approver(contact)?;
        self.revoke(Who::Contact(contact.id.clone()), reason, now)
    }

    /// Security stops it; live sessions end within 5 s.
    pub fn revoke_by_security(
        self,
        by: &Operator,
        reason: &str,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        by.may(Role::Security)?;
        self.revoke(Who::Operator(by.id.clone()), reason, now)
    }

    /// A named operator closes it, saying how it went.
    pub fn close(
        mut self,
        by: &Operator,
        outcome: &str,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        require_text("outcome", outcome, 3, 2000)?;
        self.only_those_it_names(by)?;
        let InterventionState::Approved { .. } = self.state else {
            return Err(self.not_possible("closed"));
        };
        let who = Who::Operator(by.id.clone());
        let event = self
            .event("intervention.closed", who.clone(), now)
            .with("outcome", outcome);
        let event = self.end_extension(Fate::Overtaken, event);
        self.state = InterventionState::Closed {
            by: who,
            outcome: outcome.to_owned(),
            at: now,
        };
        Ok(Changed::new(self, event))
    }

    /// What time alone does to it at `now`: an unanswered one expires at its deadline, an approved
    /// one closes at its window's end. `None` where time changes nothing.
    pub fn aged(mut self, now: Time) -> Option<Changed<Self>> {
        match self.state {
            InterventionState::Submitted { .. } | InterventionState::InfoRequested { .. }
                if self.due().is_some_and(|due| now >= due) =>
            {
                let event = self.event("intervention.expired", Who::Bastion, now);
                self.state = InterventionState::Expired { at: now };
                Some(Changed::new(self, event))
            }
            InterventionState::Approved { .. } if self.due().is_some_and(|due| now >= due) => {
                let outcome = "the window ended".to_owned();
                let event = self
                    .event("intervention.closed", Who::Bastion, now)
                    .with("outcome", &outcome);
                let event = self.end_extension(Fate::Unanswered, event);
                self.state = InterventionState::Closed {
                    by: Who::Bastion,
                    outcome,
                    at: now,
                };
                Some(Changed::new(self, event))
            }
            InterventionState::Draft
            | InterventionState::Submitted { .. }
            | InterventionState::InfoRequested { .. }
            | InterventionState::Approved { .. }
            | InterventionState::Refused { .. }
            | InterventionState::Withdrawn { .. }
            | InterventionState::Expired { .. }
            | InterventionState::Revoked { .. }
            | InterventionState::Closed { .. } => None,
        }
    }

    /// The version of the plan that counts: the newest, but for an extension that was not approved.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The signed approval of this very plan: its statement is, to the letter, what was shown for
    /// signing. Without one, what a row calls approved is not.
    pub fn approval(&self) -> Option<&Approval> {
        if !self.extends_nothing_but_the_end(&self.plan) {
            return None;
        }
        let hash = self.plan.hash();
        self.approvals.iter().rev().find(|approval| {
            approval.decision == Decision::Approve
                && approval.intervention == self.id
                && approval.customer == self.customer
                && approval.plan_version == self.plan.number
                && approval.plan_hash == hash
                && approval.states(self, &self.plan)
        })
    }

    /// The plan as it stood in version `number`, or as it was asked for.
    pub fn plan_version(&self, number: u32) -> Option<&Plan> {
        self.versions().find(|plan| plan.number == number)
    }

    /// Every version that ever counted, waits or was not approved; in no order.
    pub fn versions(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(&self.plan)
            .chain(&self.earlier_plans)
            .chain(&self.extension)
            .chain(self.ended_extensions.iter().map(|ended| &ended.plan))
    }

    /// A number that no version ever had: what was signed on one stays about that one.
    pub(crate) fn next_version(&self) -> u32 {
        let newest = self.versions().map(|plan| plan.number).max();
        newest.unwrap_or_default() + 1
    }

    /// How it stands at `now`.
    pub fn phase(&self, now: Time) -> Phase {
        match self.state {
            InterventionState::Draft => Phase::Draft,
            InterventionState::Submitted { .. } => Phase::Submitted,
            InterventionState::InfoRequested { .. } => Phase::InfoRequested,
            InterventionState::Approved { .. } => match self.plan.text.window.at(now) {
                Position::Before => Phase::Approved,
                Position::Inside => Phase::Open,
                Position::After => Phase::Over,
            },
            InterventionState::Refused { .. } => Phase::Refused,
            InterventionState::Withdrawn { .. } => Phase::Withdrawn,
            InterventionState::Expired { .. } => Phase::Expired,
            InterventionState::Revoked { .. } => Phase::Revoked,
            InterventionState::Closed { .. } => Phase::Closed,
        }
    }

    /// When time alone ends its state: the deadline of an unanswered one, the window's end of an
    /// approved one.
    const fn due(&self) -> Option<Time> {
        match self.state {
            InterventionState::Submitted { deadline, .. }
            | InterventionState::InfoRequested { deadline, .. } => Some(deadline),
            InterventionState::Approved { .. } => Some(self.plan.text.window.end()),
            InterventionState::Draft
            | InterventionState::Refused { .. }
            | InterventionState::Withdrawn { .. }
            | InterventionState::Expired { .. }
            | InterventionState::Revoked { .. }
            | InterventionState::Closed { .. } => None,
        }
    }

    /// Until when a contact may decide on what waits, if anything does: a plan, or more time, which
    /// lapses with the window it was asked for.
    pub const fn decidable_until(&self) -> Option<Time> {
        match (&self.state, &self.extension) {
            (InterventionState::Submitted { deadline, .. }, None) => Some(*deadline),
            (InterventionState::Approved { .. }, Some(_)) => Some(self.plan.text.window.end()),
            (
                InterventionState::Draft
                | InterventionState::Submitted { .. }
                | InterventionState::InfoRequested { .. }
                | InterventionState::Approved { .. }
                | InterventionState::Refused { .. }
                | InterventionState::Withdrawn { .. }
                | InterventionState::Expired { .. }
                | InterventionState::Revoked { .. }
                | InterventionState::Closed { .. },
                _,
            ) => None,
        }
    }

    /// Refuses what would bring back to life what time has ended, whether or not that was
    /// written down yet.
    pub(crate) fn must_be_in_time(&self, what: &str, now: Time) -> Result<(), Refusal> {
        match self.due() {
            Some(due) if now >= due => Err(Refusal::new(
                "deadline_over",
                format!(
                    "the time of `{}` ended at {due} and it cannot be {what}; ask for a new one",
                    self.id
                ),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn revoke(mut self, by: Who, reason: &str, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("reason", reason, 3, 2000)?;
        let InterventionState::Approved { .. } = self.state else {
            return Err(self.not_possible("revoked"));
        };
        let event = self
            .event("intervention.revoked", by.clone(), now)
            .with("reason", reason);
        let event = self.end_extension(Fate::Overtaken, event);
        self.state = InterventionState::Revoked {
            by,
            reason: reason.to_owned(),
            at: now,
        };
        Ok(Changed::new(self, event))
    }

    fn may_decide(
        &self,
        contact: &Contact,
        people: &[Operator],
        decision: &Decision,
        now: Time,
    ) -> Result<(), Refusal> {
        self.only_own_approver(contact)?;
        self.is_independent(contact, people)?;
        if let Decision::Refuse { reason } = decision {
            require_text("reason", reason, 3, 2000)?;
        }
        let Some(deadline) = self.decidable_until() else {
            return Err(self.not_possible("decided"));
        };
        // His page shows the plan and the later end: nothing else may be in what he signs.
        if !self.extends_nothing_but_the_end(self.awaited()) {
            return Err(Refusal::new(
                "statement_differs",
                format!(
                    "what is asked for on `{}` is more than a later end",
                    self.id
                ),
            ));
        }
        if now >= deadline {
            return Err(Refusal::new(
                "deadline_over",
                format!(
                    "the time to decide on `{}` is over; unanswered counts as refused",
                    self.id
                ),
            ));
        }
        Ok(())
    }

    /// Refuses a contact who is, under his e-mail address, also the requester or a named operator.
    fn is_independent(&self, contact: &Contact, people: &[Operator]) -> Result<(), Refusal> {
        let named = std::iter::once(&self.requested_by).chain(&self.plan.text.operators);
        for id in named {
            let Some(person) = people.iter().find(|person| person.id == *id) else {
                return Err(Refusal::new(
                    "person_unknown",
                    format!("`{id}`, whom the plan names, is not a registered operator"),
                ));
            };
            if same_mailbox(&person.details.email, &contact.details.email) {
                return Err(Refusal::new(
                    "approver_is_requester",
                    format!(
                        "`{}` and operator `{id}` are the same person; nobody approves his own work",
                        contact.id
                    ),
                ));
            }
        }
        Ok(())
    }

    fn only_requester(&self, by: &Operator) -> Result<(), Refusal> {
        may_request(by)?;
        if by.id == self.requested_by {
            Ok(())
        } else {
            Err(Refusal::new(
                "not_requester",
                format!("`{}` was requested by `{}`", self.id, self.requested_by),
            ))
        }
    }

    /// The requester, and those whom the plan that counts names.
    pub(crate) fn only_those_it_names(&self, by: &Operator) -> Result<(), Refusal> {
        may_request(by)?;
        if by.id == self.requested_by || self.plan.text.operators.contains(&by.id) {
            return Ok(());
        }
        Err(Refusal::new(
            "not_in_intervention",
            format!(
                "`{}` is neither the requester nor an operator of `{}`",
                by.id, self.id
            ),
        ))
    }

    fn only_own_approver(&self, contact: &Contact) -> Result<(), Refusal> {
        if contact.customer != self.customer {
            return Err(Refusal::new(
                "another_customer",
                format!("there is no intervention `{}`", self.id),
            ));
        }
        contact.may_approve()
    }

    pub(crate) fn not_possible(&self, what: &str) -> Refusal {
        let state = serde_json::to_value(&self.state)
            .ok()
            .and_then(|v| v.get("state").and_then(|s| s.as_str().map(str::to_owned)))
            .unwrap_or_default();
        Refusal::new(
            "wrong_state",
            format!("`{}` is {state} and cannot be {what} now", self.id),
        )
    }

    pub(crate) fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("intervention {}", self.id), now)
            .of_customer(&self.customer)
            .in_intervention(&self.id)
    }
}

/// A statement with the assertion over it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub statement: Statement,
    pub nonce: String,
    pub assertion: Assertion,
}

fn decided(contact: &Contact, decision: &Decision, now: Time) -> InterventionState {
    match decision {
        Decision::Approve => InterventionState::Approved { at: now },
        Decision::Refuse { reason } => InterventionState::Refused {
            by: contact.id.clone(),
            reason: reason.clone(),
            at: now,
        },
    }
}

fn may_request(by: &Operator) -> Result<(), Refusal> {
    by.may(Role::Operator).or_else(|_| by.may(Role::Manager))
}
