//! More time for an approved intervention: a version of its plan with a later end, and nothing else
//! changed, that the customer approves like any plan.
//!
//! ```text
//! approved ─ask─► approved, and an extension waits ─approve─► approved, later end
//!                                                  ├─ refuse ───────► approved, same end
//!                                                  ├─ window ends ──► closed (unanswered is never a yes)
//!                                                  └─ amend, close, revoke ─► as ever, and it is gone
//! ```
//! While it waits nothing is different: the version in force stays the plan.

use crate::approval::Decision;
use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::contact::Contact;
use crate::ids::ContactId;
use crate::intervention::{Intervention, InterventionState};
use crate::operator::Operator;
use crate::plan::{Extends, Plan};
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// An extension that was not approved, with what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndedExtension {
    pub plan: Plan,
    #[serde(flatten)]
    pub fate: Fate,
    pub at: Time,
}

/// Why an extension came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    Refused {
        by: ContactId,
        reason: String,
    },
    /// The window that it was asked for ended first.
    Unanswered,
    /// The intervention was amended, closed or revoked.
    Overtaken,
}

impl Fate {
    /// Its stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unanswered => "unanswered",
            Self::Overtaken => "overtaken",
        }
    }
}

impl Intervention {
    /// The requester, or an operator whom the plan names, asks for a later end: before the one that
    /// is approved has come, and one at a time.
    pub fn ask_extension(
        mut self,
        until: Time,
        reason: &str,
        by: &Operator,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.only_those_it_names(by)?;
        let InterventionState::Approved { .. } = self.state else {
            return Err(self.not_possible("extended"));
        };
        self.must_be_in_time("extended", now)?;
        if let Some(waiting) = &self.extension {
            return Err(Refusal::new(
                "extension_pending",
                format!(
                    "`{}` asked already for time until {}; the customer has not decided yet",
                    waiting.author,
                    waiting.text.window.end()
                ),
            ));
        }
        require_text("reason", reason, 3, 2000)?;
        let end = self.plan.text.window.end();
        let Some(text) = self.plan.until(until) else {
            return Err(Refusal::new(
                "extension_not_later",
                format!(
                    "`{}` lasts until {end} already; ask for a later end",
                    self.id
                ),
            ));
        };
        text.check(now)?;
        let plan = Plan {
            number: self.next_version(),
            text,
            author: by.id.clone(),
            written_at: now,
            extends: Some(Extends {
                version: self.plan.number,
                end,
                reason: reason.to_owned(),
            }),
        };
        let who = Who::Operator(by.id.clone());
        let event = self
            .event("intervention.extension_asked", who, now)
            .with("plan", &plan)
            .with("plan_sha256", plan.hash());
        self.extension = Some(plan);
        Ok(Changed::new(self, event))
    }

    /// The version with a later end that waits for the customer, if one does. Time alone ends it,
    /// whether or not that was written down yet.
    pub fn waiting_extension(&self, now: Time) -> Option<&Plan> {
        self.extension
            .as_ref()
            .filter(|_| self.decidable_until().is_some_and(|until| now < until))
    }

    /// The version that a contact's decision would be about: an extension that waits, or the plan.
    pub fn awaited(&self) -> &Plan {
        self.extension.as_ref().unwrap_or(&self.plan)
    }

    /// Whether a version that says it only extends an earlier one does so; others say nothing.
    pub fn extends_nothing_but_the_end(&self, plan: &Plan) -> bool {
        plan.extends.as_ref().is_none_or(|extends| {
            let earlier = self.plan_version(extends.version);
            earlier.is_some_and(|earlier| plan.only_extends(earlier))
        })
    }

    /// What the customer's decision makes of it.
    pub(crate) fn settle_extension(
        &mut self,
        extension: Plan,
        contact: &Contact,
        decision: &Decision,
        now: Time,
    ) {
        match decision {
            Decision::Approve => {
                let before = std::mem::replace(&mut self.plan, extension);
                self.earlier_plans.push(before);
            }
            Decision::Refuse { reason } => self.ended_extensions.push(EndedExtension {
                plan: extension,
                fate: Fate::Refused {
                    by: contact.id.clone(),
                    reason: reason.clone(),
                },
                at: now,
            }),
        }
    }

    /// One that waits comes to nothing with what `event` tells, which then says so.
    pub(crate) fn end_extension(&mut self, fate: Fate, event: Event) -> Event {
        let Some(plan) = self.extension.take() else {
            return event;
        };
        let told = event
            .with("extension_version", plan.number)
            .with("extension", fate.code());
        self.ended_extensions.push(EndedExtension {
            plan,
            fate,
            at: told.at,
        });
        told
    }
}
