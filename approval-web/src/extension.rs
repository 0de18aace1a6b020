//! Questions for more time as people read them: who asked, why, until when instead of when, and
//! what became of it. Both origins show this very view.

use crate::language::Words;
use crate::vocabulary::{Badge, People};
use access::approval::Decision;
use access::extension::Fate;
use access::plan::Extends;
use access::{Intervention, OperatorId, Plan, Time};

/// One question for more time.
pub(crate) struct ExtensionView {
    version: u32,
    pub(crate) by: String,
    pub(crate) at: String,
    pub(crate) reason: String,
    pub(crate) until: String,
    pub(crate) instead: String,
    pub(crate) state: Badge,
    /// What whoever refused it said.
    pub(crate) answer: Option<String>,
}

impl ExtensionView {
    /// The one that waits for the customer, if one does.
    pub(crate) fn waiting(
        one: &Intervention,
        words: Words,
        people: &People,
        now: Time,
    ) -> Option<Self> {
        let plan = one.waiting_extension(now)?;
        let extends = plan.extends.as_ref()?;
        let state = words.badge("extension-waits", "wait");
        Some(Self::of(plan, extends, state, None, words, people))
    }

    /// All others, the newest first.
    pub(crate) fn past(one: &Intervention, words: Words, people: &People) -> Vec<Self> {
        let mut past: Vec<Self> = one
            .earlier_plans
            .iter()
            .chain([one.plan()])
            .filter_map(|plan| {
                let extends = plan.extends.as_ref()?;
                let state = words.badge("extension-approved", "good");
                let by = approver(one, plan);
                Some(Self::of(plan, extends, state, by, words, people))
            })
            .collect();
        past.extend(one.ended_extensions.iter().filter_map(|ended| {
            let extends = ended.plan.extends.as_ref()?;
            let (state, answer) = match &ended.fate {
                Fate::Refused { by, reason } => (
                    words.badge("extension-refused", "bad"),
                    Some(format!("{by} : {reason}")),
                ),
                Fate::Unanswered => (words.badge("extension-unanswered", "quiet"), None),
                Fate::Overtaken => (words.badge("extension-overtaken", "quiet"), None),
            };
            Some(Self::of(&ended.plan, extends, state, answer, words, people))
        }));
        past.sort_by_key(|one| std::cmp::Reverse(one.version));
        past
    }

    fn of(
        plan: &Plan,
        extends: &Extends,
        state: Badge,
        answer: Option<String>,
        words: Words,
        people: &People,
    ) -> Self {
        Self {
            version: plan.number,
            by: people.name(&plan.author),
            at: words.time(plan.written_at),
            reason: extends.reason.clone(),
            until: words.time(plan.text.window.end()),
            instead: words.time(extends.end),
            state,
            answer,
        }
    }
}

/// Everybody who ever asked for more time.
pub(crate) fn askers(one: &Intervention) -> impl Iterator<Item = &OperatorId> {
    one.versions()
        .filter(|plan| plan.extends.is_some())
        .map(|plan| &plan.author)
}

fn approver(one: &Intervention, plan: &Plan) -> Option<String> {
    one.approvals
        .iter()
        .find(|approval| {
            approval.plan_version == plan.number && approval.decision == Decision::Approve
        })
        .map(|approval| approval.approver.to_string())
}
