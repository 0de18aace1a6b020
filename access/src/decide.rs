//! The one decision: may this person open this session now, and if not, why not?
//!
//! A flat conjunction of rules over [`Facts`]. All missing conditions come back, in the order of
//! [`Code::ALL`]. The same function is asked again for live sessions whenever a fact changes.
//! What is deliberately absent: any exception, any role that passes a rule, any clock.

use crate::actor::{Actor, ActorState};
use crate::credentials::{Credentials, Given};
use crate::forward::{Endpoint, ForwardTo};
use crate::grant::{Grant, Operation, Standing};
use crate::ids::{AccountName, CustomerId, GrantId, InterventionId, OperatorId, printable};
use crate::intervention::{Intervention, Phase};
use crate::operator::{Operator, OperatorState, Role};
use crate::refusal::Refusal;
use crate::second_factor::Proof;
use crate::target::{Target, TargetState};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// One candidate: one operator, one grant, one intervention, one target, one thing asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// Who asks; `None` where nobody is registered under that login.
    pub operator: Option<Operator>,
    /// Whom he works for.
    pub actor: Option<Actor>,
    /// What he proved himself with, and what has become of it.
    pub given: Option<Given>,
    pub place: Place,
    /// Where he wants to go; `None` where nothing is registered under that name.
    pub target: Option<Target>,
    pub asked: Asked,
    pub grant: Option<Grant>,
    pub intervention: Option<Intervention>,
    pub means: Means,
    pub policy: Policy,
    /// When the session began, for one that lives already; `None` for a new one.
    pub since: Option<Time>,
}

/// From where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub source: IpAddr,
    /// ISO 3166 code of the country the address belongs to, where that is known.
    pub country: Option<String>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The name that was typed, for the refusal's sentence.
    pub operator: String,
    /// The name that was typed.
    pub target: String,
    pub account: AccountName,
    /// `None` before the client has said what it wants: every operation may still come.
    pub operation: Option<Operation>,
    /// Where a connection through the target wants to go.
    pub forward_to: Option<Endpoint>,
}

/// What must be at hand besides rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Means {
    pub recording: Recording,
    pub capacity: Capacity,
    pub arming: Arming,
    pub supervision: Supervision,
    pub login: LoginAge,
}

/// Whether the login is young enough for anything new to be opened on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginAge {
    Young,
    /// What was proven then says nothing of who sits there now.
    Old,
}

/// Whether a session can be recorded now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recording {
    Available,
    Unavailable,
}

/// Whether one more session fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capacity {
    Free,
    Reached,
}

/// Whether the customer wants to arm each window himself, and has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arming {
    NotAsked,
    Armed,
    Missing,
}

/// Whether somebody must watch, and does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supervision {
    NotAsked,
    Present,
    Absent,
}

/// What the platform asks of everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The charter version everybody must have accepted; `None` where there is no charter.
    pub charter: Option<String>,
    /// Countries one may come from (ISO 3166); `None` where the country is not looked at.
    pub countries: Option<BTreeSet<String>>,
    /// The weakest second factor that will do.
    pub weakest_proof: Proof,
    /// The longest a session may last.
    pub session_limit: Duration,
    /// How an operator reaches the bastion, for the next step: `bastion.example`.
    pub ssh_name: String,
    /// The host origin's address, for the next step: `https://bastion.example`.
    pub host_web: String,
}

/// Everything a decision can miss, in the order in which it is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nobody is registered under that login, or he does not hold the role that works on targets,
    /// or the key is not his (any more).
    OperatorUnknown,
    OperatorSuspended,
    ActorSuspended,
    CharterNotAccepted,
    /// None was proven, or too long ago, or what was proven is out of use.
    SecondFactorMissing,
    SecondFactorTooWeak,
    SourceAddressRefused,
    SourceCountryRefused,
    TargetUnknown,
    TargetDisabled,
    HostKeyNotPinned,
    GrantMissing,
    GrantNotStarted,
    GrantExpired,
    GrantWithdrawn,
    GrantReviewOverdue,
    AccountNotGranted,
    OperationNotGranted,
    InterventionMissing,
    /// Also where what a row calls approved carries no signed approval of its plan as it stands.
    InterventionNotApproved,
    InterventionNotArmed,
    InterventionNotStarted,
    InterventionOver,
    InterventionRevoked,
    OperatorNotInIntervention,
    TargetNotInIntervention,
    /// Also where nothing was said yet and right and plan share no operation.
    OperationNotInIntervention,
    /// Also where it lists none and `forward` is asked for.
    DestinationNotInIntervention,
    SupervisorAbsent,
    RecordingUnavailable,
    /// No further session fits, or this one has lasted as long as one may.
    CapacityReached,
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Self; 31] = [
        Self::OperatorUnknown,
        Self::OperatorSuspended,
        Self::ActorSuspended,
        Self::CharterNotAccepted,
        Self::SecondFactorMissing,
        Self::SecondFactorTooWeak,
        Self::SourceAddressRefused,
        Self::SourceCountryRefused,
        Self::TargetUnknown,
        Self::TargetDisabled,
        Self::HostKeyNotPinned,
        Self::GrantMissing,
        Self::GrantNotStarted,
        Self::GrantExpired,
        Self::GrantWithdrawn,
        Self::GrantReviewOverdue,
        Self::AccountNotGranted,
        Self::OperationNotGranted,
        Self::InterventionMissing,
        Self::InterventionNotApproved,
        Self::InterventionNotArmed,
        Self::InterventionNotStarted,
        Self::InterventionOver,
        Self::InterventionRevoked,
        Self::OperatorNotInIntervention,
        Self::TargetNotInIntervention,
        Self::OperationNotInIntervention,
        Self::DestinationNotInIntervention,
        Self::SupervisorAbsent,
        Self::RecordingUnavailable,
        Self::CapacityReached,
    ];

    /// The stable code as it is printed and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OperatorUnknown => "operator_unknown",
            Self::OperatorSuspended => "operator_suspended",
            Self::ActorSuspended => "actor_suspended",
            Self::CharterNotAccepted => "charter_not_accepted",
            Self::SecondFactorMissing => "second_factor_missing",
            Self::SecondFactorTooWeak => "second_factor_too_weak",
            Self::SourceAddressRefused => "source_address_refused",
            Self::SourceCountryRefused => "source_country_refused",
            Self::TargetUnknown => "target_unknown",
            Self::TargetDisabled => "target_disabled",
            Self::HostKeyNotPinned => "host_key_not_pinned",
            Self::GrantMissing => "grant_missing",
            Self::GrantNotStarted => "grant_not_started",
            Self::GrantExpired => "grant_expired",
            Self::GrantWithdrawn => "grant_withdrawn",
            Self::GrantReviewOverdue => "grant_review_overdue",
            Self::AccountNotGranted => "account_not_granted",
            Self::OperationNotGranted => "operation_not_granted",
            Self::InterventionMissing => "intervention_missing",
            Self::InterventionNotApproved => "intervention_not_approved",
            Self::InterventionNotArmed => "intervention_not_armed",
            Self::InterventionNotStarted => "intervention_not_started",
            Self::InterventionOver => "intervention_over",
            Self::InterventionRevoked => "intervention_revoked",
            Self::OperatorNotInIntervention => "operator_not_in_intervention",
            Self::TargetNotInIntervention => "target_not_in_intervention",
            Self::OperationNotInIntervention => "operation_not_in_intervention",
            Self::DestinationNotInIntervention => "destination_not_in_intervention",
            Self::SupervisorAbsent => "supervisor_absent",
            Self::RecordingUnavailable => "recording_unavailable",
            Self::CapacityReached => "capacity_reached",
        }
    }
}

/// One missing condition, with what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Denial {
    pub code: Code,
    /// One sentence, lower case, no full stop.
    pub sentence: String,
    /// The next step for the person.
    pub next: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Refused ({}): {}.\nNext: {}",
            self.code.as_str(),
            self.sentence,
            self.next
        )
    }
}

/// INVARIANT: the only key to a target. Made by [`decide`] alone, taken by value by what connects,
/// never stored: what is kept for longer than [`Permit::FRESH_FOR`] opens nothing.
#[derive(PartialEq, Debug)]
#[must_use = "a permit that is not used opens nothing"]
pub struct Permit {
    operator: OperatorId,
    customer: CustomerId,
    target: Target,
    account: AccountName,
    grant: GrantId,
    intervention: InterventionId,
    plan_version: u32,
    purpose: String,
    operations: BTreeSet<Operation>,
    forwards: BTreeSet<ForwardTo>,
    credentials: Credentials,
    source: IpAddr,
    decided_at: Time,
    ends_at: Time,
}

impl Permit {
    /// How long after the decision a session may be opened: a motive is typed, a target dialled.
    pub const FRESH_FOR: Duration = Duration::from_mins(2);

    pub const fn operator(&self) -> &OperatorId {
        &self.operator
    }
    pub const fn customer(&self) -> &CustomerId {
        &self.customer
    }
    pub const fn target(&self) -> &Target {
        &self.target
    }
    pub const fn account(&self) -> &AccountName {
        &self.account
    }
    pub const fn grant(&self) -> &GrantId {
        &self.grant
    }
    pub const fn intervention(&self) -> &InterventionId {
        &self.intervention
    }
    pub const fn plan_version(&self) -> u32 {
        self.plan_version
    }
    /// The plan's purpose: the motive, where the person gives no other.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }
    /// What both the grant and the plan allow.
    pub const fn operations(&self) -> &BTreeSet<Operation> {
        &self.operations
    }
    /// Where connections through the target may go, as the plan lists it.
    pub const fn forwards(&self) -> &BTreeSet<ForwardTo> {
        &self.forwards
    }
    /// What the person proved himself with.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }
    pub const fn source(&self) -> IpAddr {
        self.source
    }
    /// The earliest of the window's end, the grant's end, its review, the session limit and the end
    /// of the certificate that was given, if one was.
    pub const fn ends_at(&self) -> Time {
        self.ends_at
    }

    /// Refuses a permit that was kept: what it rests on may have been revoked since.
    pub(crate) fn must_be_fresh(&self, now: Time) -> Result<(), Refusal> {
        if now < self.ends_at && now.since(self.decided_at) <= Self::FRESH_FOR {
            return Ok(());
        }
        Err(Refusal::new(
            "permit_stale",
            format!(
                "this was permitted at {} and is no longer; connect again",
                self.decided_at
            ),
        ))
    }
}

/// May this session be opened at `now`? Yes is a [`Permit`]; no is every condition that is missing.
pub fn decide(facts: &Facts, now: Time) -> Result<Permit, Vec<Denial>> {
    let denials: Vec<Denial> = RULES
        .iter()
        .filter_map(|(code, rule)| rule(facts, now).map(|reason| reason.denial(*code)))
        .collect();
    if !denials.is_empty() {
        return Err(denials);
    }
    permit(facts, now)
}

/// Whether whoever logged in may still be here, whatever he wants to do: he, whom he works for and
/// what he proved himself with. Of the facts, only those about the person are looked at.
pub fn may_stay(facts: &Facts, now: Time) -> Result<(), Vec<Denial>> {
    let about_him = [
        Code::OperatorSuspended,
        Code::ActorSuspended,
        Code::SecondFactorMissing,
    ];
    let rules = RULES.iter().filter(|(code, _)| about_him.contains(code));
    let unknown: (Code, Rule) = (Code::OperatorUnknown, nobody);
    let denials: Vec<Denial> = std::iter::once(&unknown)
        .chain(rules)
        .filter_map(|(code, rule)| rule(facts, now).map(|reason| reason.denial(*code)))
        .collect();
    if denials.is_empty() {
        Ok(())
    } else {
        Err(denials)
    }
}

/// The decision over several candidates: every permit, or the denials of the nearest candidate
/// (the one that lacks least; the first among equals).
pub fn choose(candidates: &[Facts], now: Time) -> Result<Vec<Permit>, Vec<Denial>> {
    let mut permits = Vec::new();
    let mut nearest: Option<Vec<Denial>> = None;
    for facts in candidates {
        match decide(facts, now) {
            Ok(permit) => permits.push(permit),
            Err(denials) if nearest.as_ref().is_none_or(|n| denials.len() < n.len()) => {
                nearest = Some(denials);
            }
            Err(_) => {}
        }
    }
    if permits.is_empty() {
        Err(nearest.unwrap_or_else(|| vec![incomplete()]))
    } else {
        Ok(permits)
    }
}

/// A rule says why not, or nothing.
type Rule = fn(&Facts, Time) -> Option<Reason>;

struct Reason {
    sentence: String,
    next: String,
}

impl Reason {
    fn denial(self, code: Code) -> Denial {
        Denial {
            code,
            sentence: self.sentence,
            next: self.next,
        }
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "every rule ends with it and returns an option"
)]
fn because(sentence: String, next: impl Into<String>) -> Option<Reason> {
    Some(Reason {
        sentence,
        next: next.into(),
    })
}

/// Nobody is registered under that login, or not with that key.
fn nobody(f: &Facts, _: Time) -> Option<Reason> {
    let Some(operator) = &f.operator else {
        return because(
            format!("there is no operator `{}`", printable(&f.asked.operator)),
            "check the login name",
        );
    };
    let key = &f.given.as_ref()?.credentials.key;
    (!operator.holds(key)).then_some(())?;
    because(
        format!("key `{}` is not one of `{}`'s", printable(key), operator.id),
        "log in with a key that is declared for you",
    )
}

fn without_role(f: &Facts) -> Option<Reason> {
    let operator = f.operator.as_ref()?;
    (!operator.details.roles.contains(&Role::Operator)).then_some(())?;
    because(
        format!(
            "`{}` is not registered as one who works on targets",
            operator.id
        ),
        "ask an administrator for the role `operator`",
    )
}

/// Every rule with its code, in the order of [`Code::ALL`].
const RULES: [(Code, Rule); 31] = [
    (Code::OperatorUnknown, |f, now| {
        nobody(f, now).or_else(|| without_role(f))
    }),
    (Code::OperatorSuspended, |f, _| {
        match &f.operator.as_ref()?.state {
            OperatorState::Active => None,
            OperatorState::Suspended { .. } => because(
                format!("operator `{}` is suspended", printable(&f.asked.operator)),
                "ask an administrator of the bastion",
            ),
        }
    }),
    (Code::ActorSuspended, |f, _| {
        let operator = f.operator.as_ref()?;
        match f
            .actor
            .as_ref()
            .filter(|actor| actor.id == operator.details.actor)
            .map(|actor| &actor.state)
        {
            Some(ActorState::Active) => None,
            Some(ActorState::Suspended { .. }) | None => because(
                format!("the people of `{}` are suspended", operator.details.actor),
                "ask an administrator of the bastion",
            ),
        }
    }),
    (Code::CharterNotAccepted, |f, _| {
        let charter = f.policy.charter.as_ref()?;
        if f.operator.as_ref()?.charter.as_ref() == Some(charter) {
            return None;
        }
        because(
            format!("charter `{charter}` was not accepted"),
            format!("read and accept it at {}/charter", f.policy.host_web),
        )
    }),
    (Code::SecondFactorMissing, |f, now| match &f.given {
        Some(_) if f.means.login == LoginAge::Old => because(
            "you logged in too long ago for anything new".to_owned(),
            "log in again",
        ),
        Some(given) => because(
            given.why_not(f.operator.as_ref()?, f.place.source, now)?,
            "log in again",
        ),
        None => because(
            "no second factor was proven".to_owned(),
            "connect again and give a code or confirm with a passkey",
        ),
    }),
    (Code::SecondFactorTooWeak, |f, _| {
        let given = f.given.as_ref()?;
        (given.credentials.proof < f.policy.weakest_proof).then_some(())?;
        because(
            "a code is not enough here; a passkey is asked for".to_owned(),
            format!(
                "connect again and confirm with a passkey; enrol one at {}",
                f.policy.host_web
            ),
        )
    }),
    (Code::SourceAddressRefused, |f, _| {
        let sources = &f.operator.as_ref()?.details.sources;
        if sources.is_empty()
            || sources
                .iter()
                .any(|network| network.contains(f.place.source))
        {
            return None;
        }
        because(
            format!("address `{}` is not one you may come from", f.place.source),
            "connect from an agreed network",
        )
    }),
    (Code::SourceCountryRefused, |f, _| {
        let allowed = f.policy.countries.as_ref()?;
        match &f.place.country {
            Some(country) if allowed.contains(country) => None,
            Some(country) => because(
                format!("country `{country}` is not one you may come from"),
                "connect from an agreed country",
            ),
            None => because(
                "the country you come from is not known".to_owned(),
                "connect from an agreed network",
            ),
        }
    }),
    (Code::TargetUnknown, |f, _| match f.target {
        Some(_) => None,
        None => because(
            format!("there is no target `{}`", printable(&f.asked.target)),
            format!(
                "list yours with   ssh {}@{} interventions",
                printable(&f.asked.operator),
                f.policy.ssh_name
            ),
        ),
    }),
    (Code::TargetDisabled, |f, _| {
        match &f.target.as_ref()?.state {
            TargetState::Enabled => None,
            TargetState::Disabled { .. } => because(
                format!("target `{}` is disabled", printable(&f.asked.target)),
                "ask an administrator of the bastion",
            ),
        }
    }),
    (Code::HostKeyNotPinned, |f, _| {
        let pinned = &f.target.as_ref()?.details.host_keys;
        if pinned.iter().all(|key| key.trim().is_empty()) {
            return because(
                format!("no host key of `{}` is pinned", printable(&f.asked.target)),
                "ask an administrator to register its host key",
            );
        }
        None
    }),
    (Code::GrantMissing, |f, _| match f.matching_grant() {
        Some(grant) if grant_is_decided(grant) => None,
        Some(_) | None => because(
            format!("you hold no right on {}", f.destination()),
            "ask a manager for a named right",
        ),
    }),
    (Code::GrantNotStarted, |f, now| {
        let grant = f.matching_grant()?;
        (grant.standing(now) == Standing::NotStarted).then_some(())?;
        because(
            format!(
                "your right on {} starts at {}",
                f.destination(),
                grant.terms.validity.start()
            ),
            "wait for it, or ask a manager",
        )
    }),
    (Code::GrantExpired, |f, now| {
        let grant = f.matching_grant()?;
        (grant.standing(now) == Standing::Expired).then_some(())?;
        because(
            format!(
                "your right on {} ended at {}",
                f.destination(),
                grant.terms.validity.end()
            ),
            "ask a manager for a new one",
        )
    }),
    (Code::GrantWithdrawn, |f, now| {
        (f.matching_grant()?.standing(now) == Standing::Withdrawn).then_some(())?;
        because(
            format!("your right on {} was withdrawn", f.destination()),
            "ask a manager",
        )
    }),
    (Code::GrantReviewOverdue, |f, now| {
        let grant = f.matching_grant()?;
        (grant.standing(now) == Standing::ReviewOverdue).then_some(())?;
        because(
            format!("the review of your right on {} is overdue", f.destination()),
            format!(
                "ask a manager to review grant {} at {}/grants/{}",
                grant.id, f.policy.host_web, grant.id
            ),
        )
    }),
    (Code::AccountNotGranted, |f, _| {
        let grant = f.matching_grant()?;
        let on_target = f
            .target
            .as_ref()
            .is_none_or(|t| t.details.accounts.contains(&f.asked.account));
        if on_target && grant.terms.scope.accounts.contains(&f.asked.account) {
            return None;
        }
        because(
            format!("your right does not cover {}", f.destination()),
            "use a granted account, or ask a manager",
        )
    }),
    (Code::OperationNotGranted, |f, _| {
        let operation = f.asked.operation?;
        if f.matching_grant()?
            .terms
            .scope
            .operations
            .contains(&operation)
        {
            return None;
        }
        because(
            format!(
                "your right does not cover `{}` on {}",
                operation.code(),
                f.destination()
            ),
            "ask a manager",
        )
    }),
    (Code::InterventionMissing, |f, _| match f.intervention {
        Some(_) => None,
        None => because(
            format!("no approved intervention covers {} now", f.destination()),
            f.how_to_request(),
        ),
    }),
    (Code::InterventionNotApproved, |f, now| {
        let intervention = f.intervention.as_ref()?;
        match intervention.phase(now) {
            Phase::Draft | Phase::Submitted | Phase::InfoRequested => because(
                format!("{} is not approved yet", intervention.id),
                format!(
                    "wait for the customer's answer; follow it at {}/interventions/{}",
                    f.policy.host_web, intervention.id
                ),
            ),
            Phase::Refused | Phase::Withdrawn | Phase::Expired => because(
                format!(
                    "{} was not approved ({})",
                    intervention.id,
                    intervention.phase(now).code()
                ),
                f.how_to_request(),
            ),
            Phase::Approved | Phase::Open | Phase::Over if intervention.approval().is_none() => {
                because(
                    format!(
                        "no signed approval of {} covers its plan as it stands",
                        intervention.id
                    ),
                    "tell security",
                )
            }
            Phase::Approved | Phase::Open | Phase::Over | Phase::Revoked | Phase::Closed => None,
        }
    }),
    (Code::InterventionNotArmed, |f, _| match f.means.arming {
        Arming::NotAsked | Arming::Armed => None,
        Arming::Missing => because(
            "the customer has not armed the intervention".to_owned(),
            "call the customer's contact",
        ),
    }),
    (Code::InterventionNotStarted, |f, now| {
        let intervention = f.intervention.as_ref()?;
        (intervention.phase(now) == Phase::Approved).then_some(())?;
        let start = intervention.plan().text.window.start();
        because(
            format!("{} opens at {start}", intervention.id),
            "connect again then",
        )
    }),
    (Code::InterventionOver, |f, now| {
        let intervention = f.intervention.as_ref()?;
        match intervention.phase(now) {
            Phase::Over | Phase::Closed => {
                because(format!("{} is over", intervention.id), f.how_to_request())
            }
            Phase::Draft
            | Phase::Submitted
            | Phase::InfoRequested
            | Phase::Approved
            | Phase::Open
            | Phase::Refused
            | Phase::Withdrawn
            | Phase::Expired
            | Phase::Revoked => None,
        }
    }),
    (Code::InterventionRevoked, |f, now| {
        let intervention = f.intervention.as_ref()?;
        (intervention.phase(now) == Phase::Revoked).then_some(())?;
        because(
            format!("{} was revoked", intervention.id),
            "call the customer's contact or security",
        )
    }),
    (Code::OperatorNotInIntervention, |f, _| {
        let (intervention, operator) = (f.intervention.as_ref()?, f.operator.as_ref()?);
        if intervention.plan().text.operators.contains(&operator.id) {
            return None;
        }
        because(
            format!("{} does not name `{}`", intervention.id, operator.id),
            format!(
                "ask `{}` to add you, which the customer approves anew",
                intervention.requested_by
            ),
        )
    }),
    (Code::TargetNotInIntervention, |f, _| {
        let intervention = f.intervention.as_ref()?;
        let plan = &intervention.plan().text;
        let target = f.target.as_ref()?;
        let covered = intervention.customer == target.details.customer
            && plan.targets.contains(&target.id)
            && plan.accounts.contains(&f.asked.account);
        if covered {
            return None;
        }
        because(
            format!("{} does not cover {}", intervention.id, f.destination()),
            f.how_to_request(),
        )
    }),
    (Code::OperationNotInIntervention, |f, _| {
        let intervention = f.intervention.as_ref()?;
        let planned = &intervention.plan().text.operations;
        match f.asked.operation {
            Some(operation) if planned.contains(&operation) => None,
            Some(operation) => because(
                format!("{} does not cover `{}`", intervention.id, operation.code()),
                f.how_to_request(),
            ),
            None if planned.is_disjoint(&f.matching_grant()?.terms.scope.operations) => because(
                format!("{} covers nothing that your right does", intervention.id),
                f.how_to_request(),
            ),
            None => None,
        }
    }),
    (Code::DestinationNotInIntervention, |f, _| {
        let intervention = f.intervention.as_ref()?;
        let listed = &intervention.plan().text.forwards;
        match (&f.asked.forward_to, f.asked.operation) {
            (Some(endpoint), _) if endpoint.is_listed(listed) => None,
            (Some(endpoint), _) => because(
                format!("{} does not list `{endpoint}`", intervention.id),
                f.how_to_request_with(&format!(" --operations forward --forward {endpoint}")),
            ),
            (None, Some(Operation::Forward)) if listed.is_empty() => because(
                format!("{} lists no destination", intervention.id),
                f.how_to_request(),
            ),
            (None, _) => None,
        }
    }),
    (Code::SupervisorAbsent, |f, _| match f.means.supervision {
        Supervision::NotAsked | Supervision::Present => None,
        Supervision::Absent => because(
            "the supervisor is not connected".to_owned(),
            "ask the supervisor to join, then connect again",
        ),
    }),
    (Code::RecordingUnavailable, |f, _| match f.means.recording {
        Recording::Available => None,
        Recording::Unavailable => because(
            "the session could not be recorded".to_owned(),
            "tell an administrator of the bastion",
        ),
    }),
    (Code::CapacityReached, |f, now| match f.means.capacity {
        Capacity::Free if now < f.longest_end(now) => None,
        Capacity::Free => because(
            "the session has lasted as long as one may".to_owned(),
            "connect again",
        ),
        Capacity::Reached => because(
            "the bastion holds as many sessions as it may".to_owned(),
            "try again in a minute",
        ),
    }),
];

impl Facts {
    /// The grant, where it is this operator's, on this target, of this target's customer.
    fn matching_grant(&self) -> Option<&Grant> {
        let (grant, operator) = (self.grant.as_ref()?, self.operator.as_ref()?);
        let on_target = self.target.as_ref().is_none_or(|target| {
            grant.terms.scope.targets.contains(&target.id)
                && grant.terms.customer == target.details.customer
        });
        (grant.terms.operator == operator.id && on_target).then_some(grant)
    }

    /// When the session limit ends the session, new or live.
    fn longest_end(&self, now: Time) -> Time {
        self.since.unwrap_or(now).plus(self.policy.session_limit)
    }

    fn destination(&self) -> String {
        format!("{}@{}", self.asked.account, printable(&self.asked.target))
    }

    fn how_to_request(&self) -> String {
        self.how_to_request_with("")
    }

    fn how_to_request_with(&self, options: &str) -> String {
        let (operator, target) = (
            printable(&self.asked.operator),
            printable(&self.asked.target),
        );
        format!(
            "ask for one with   ssh {operator}@{} request {target}{options}   or at {}/interventions/new?target={target}",
            self.policy.ssh_name, self.policy.host_web
        )
    }
}

/// A proposed grant is no right yet; to its holder it is as good as missing.
fn grant_is_decided(grant: &Grant) -> bool {
    !matches!(grant.state, crate::grant::GrantState::Proposed { .. })
}

fn permit(facts: &Facts, now: Time) -> Result<Permit, Vec<Denial>> {
    let (Some(operator), Some(target), Some(grant), Some(intervention), Some(given)) = (
        &facts.operator,
        &facts.target,
        facts.matching_grant(),
        &facts.intervention,
        &facts.given,
    ) else {
        // The rules have refused every such case; a rule that is lost must not open a door.
        return Err(vec![incomplete()]);
    };
    let plan = intervention.plan();
    let review = grant.review_due().unwrap_or(now);
    let ends_at = plan
        .text
        .window
        .end()
        .min(grant.terms.validity.end())
        .min(review)
        .min(facts.longest_end(now));
    let ends_at = match &given.certificate {
        Some(certificate) => ends_at.min(certificate.ends_at),
        None => ends_at,
    };
    let ends_at = match &given.credentials.certified {
        Some(certified) => ends_at.min(certified.until),
        None => ends_at,
    };
    let operations = plan
        .text
        .operations
        .intersection(&grant.terms.scope.operations)
        .copied()
        .collect();
    Ok(Permit {
        operator: operator.id.clone(),
        customer: target.details.customer.clone(),
        target: target.clone(),
        account: facts.asked.account.clone(),
        grant: grant.id.clone(),
        intervention: intervention.id.clone(),
        plan_version: plan.number,
        purpose: plan.text.purpose.clone(),
        operations,
        forwards: plan.text.forwards.clone(),
        credentials: given.credentials.clone(),
        source: facts.place.source,
        decided_at: now,
        ends_at,
    })
}

fn incomplete() -> Denial {
    Denial {
        code: Code::OperatorUnknown,
        sentence: "a fact is missing for this decision".to_owned(),
        next: "tell an administrator of the bastion".to_owned(),
    }
}
