//! The columns: every code of the decision, and how its condition is taken away from a bastion that
//! runs. Everything else stays given, so that each refusal names that condition alone.

use super::protocol::Protocol;
use access::approval::Decision;
use access::decide::Code;
use access::forward::parse_list;
use access::grant::{Basis, GrantState, Operation, ReviewEvery, Scope, Terms};
use access::operator::Role;
use access::plan::PlanText;
use access::review::{Attestations, Review, ReviewDecision};
use access::time::Window;
use access::{
    AccountName, Actor, Changed, Contact, ContactId, Customer, CustomerId, Grant, GrantId,
    Intervention, Operator, OperatorId, Target, TargetId, Time, Who,
};
use e2e::bastion::TARGET;
use e2e::{decided, decision, time};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{GrantFilter, Saving, Store};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// An account that every target of the test has beside the one that is asked for.
const OTHER_ACCOUNT: &str = "nobody";
/// A target from which nothing is taken away and to which nobody goes.
const SPARE: &str = "spare.chu-exemple";
/// Whose recordings cannot be sealed once his key is gone.
const CUSTOMER_WITHOUT_KEY: &str = "clinique-exemple";

/// How a condition is missing in the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Staged {
    /// From a target of its own, for everybody.
    AtItsTarget,
    /// At a bastion beside the first that is configured so.
    AtABastionWith(&'static str),
    /// From everybody, on connections that stand: they were let in before.
    FromEverybody,
    /// It cannot be missing; where it is tested instead.
    Not(&'static str),
}

/// The column of each code. A new code does not compile without.
pub(super) const fn staged(code: Code) -> Staged {
    match code {
        Code::TargetUnknown
        | Code::TargetDisabled
        | Code::HostKeyNotPinned
        | Code::GrantMissing
        | Code::GrantNotStarted
        | Code::GrantExpired
        | Code::GrantWithdrawn
        | Code::GrantReviewOverdue
        | Code::AccountNotGranted
        | Code::OperationNotGranted
        | Code::InterventionMissing
        | Code::InterventionNotApproved
        | Code::InterventionNotStarted
        | Code::InterventionOver
        | Code::InterventionRevoked
        | Code::OperatorNotInIntervention
        | Code::TargetNotInIntervention
        | Code::OperationNotInIntervention
        | Code::DestinationNotInIntervention
        | Code::RecordingUnavailable => Staged::AtItsTarget,
        Code::CharterNotAccepted => Staged::AtABastionWith("[policy]\ncharter = '2026'\n"),
        Code::SecondFactorTooWeak => {
            Staged::AtABastionWith("[policy]\nweakest_proof = 'passkey'\n")
        }
        Code::CapacityReached => Staged::AtABastionWith("max_sessions = 1\n"),
        Code::OperatorUnknown
        | Code::OperatorSuspended
        | Code::ActorSuspended
        | Code::SourceAddressRefused
        | Code::SecondFactorMissing => Staged::FromEverybody,
        Code::SourceCountryRefused => Staged::Not(
            "no configuration can ask for it yet (bastion/src/config.rs); access/tests/decide.table",
        ),
        Code::InterventionNotArmed => {
            Staged::Not("no customer can ask to arm yet; access/tests/decide.table")
        }
        Code::SupervisorAbsent => {
            Staged::Not("nobody can ask for supervision yet; access/tests/decide.table")
        }
    }
}

/// How the test takes it away, for the auditor's table.
pub(super) const fn how(code: Code) -> &'static str {
    match code {
        Code::OperatorUnknown => "the key is no longer declared for the person",
        Code::OperatorSuspended => "the person is suspended",
        Code::ActorSuspended => "the company is suspended",
        Code::CharterNotAccepted => "the bastion asks for a charter that nobody accepted",
        Code::SecondFactorMissing => "the certificate that stands for it is revoked",
        Code::SecondFactorTooWeak => "the bastion asks for a passkey, a code was given",
        Code::SourceAddressRefused => "the person may come from another network alone",
        Code::SourceCountryRefused => "the person comes from another country",
        Code::TargetUnknown => "the target was never registered",
        Code::TargetDisabled => "the target is disabled",
        Code::HostKeyNotPinned => "the target's host key is taken out of the register",
        Code::GrantMissing => "the right is reduced to another target",
        Code::GrantNotStarted => "the right starts tomorrow",
        Code::GrantExpired => "the right ended yesterday",
        Code::GrantWithdrawn => "the right is withdrawn",
        Code::GrantReviewOverdue => "the right's review is due now",
        Code::AccountNotGranted => "the right is reduced to another account",
        Code::OperationNotGranted => "the right is reduced to all operations but the one",
        Code::InterventionMissing => "the only intervention is amended to another target",
        Code::InterventionNotApproved => "the intervention is amended and not approved anew",
        Code::InterventionNotArmed => "the customer has not armed the intervention",
        Code::InterventionNotStarted => "the window opens in an hour",
        Code::InterventionOver => "the window ended an hour ago",
        Code::InterventionRevoked => "security revokes the intervention",
        Code::OperatorNotInIntervention => "the intervention is amended to another person",
        Code::TargetNotInIntervention => "the intervention is amended to another account there",
        Code::OperationNotInIntervention => "the intervention is amended to all but the operation",
        Code::DestinationNotInIntervention => "the intervention is amended to another destination",
        Code::SupervisorAbsent => "the supervisor is not connected",
        Code::RecordingUnavailable => "the customer's recording key is no key",
        Code::CapacityReached => "the bastion may hold one session, and holds it",
    }
}

/// Why a row is not asked under a code, if so.
pub(super) fn not_asked(protocol: Protocol, code: Code) -> Option<&'static str> {
    match (protocol, code) {
        (Protocol::MinusL | Protocol::MinusD | Protocol::MinusW, _) => None,
        (_, Code::DestinationNotInIntervention) => Some("it goes to no destination"),
        (
            Protocol::OwnCommand,
            Code::OperatorUnknown
            | Code::OperatorSuspended
            | Code::ActorSuspended
            | Code::SecondFactorMissing,
        ) => None,
        (Protocol::OwnCommand, _) => Some("it reaches no target"),
        (
            Protocol::Menu,
            Code::TargetUnknown
            | Code::InterventionMissing
            | Code::InterventionNotApproved
            | Code::InterventionNotStarted
            | Code::InterventionOver
            | Code::InterventionRevoked
            | Code::OperatorNotInIntervention
            | Code::TargetNotInIntervention,
        ) => Some("the menu does not offer it"),
        (Protocol::SecondSession, Code::TargetUnknown) => Some("there is no first"),
        (Protocol::SecondSession, Code::InterventionMissing) => {
            Some("the first has one; see target_not_in_intervention")
        }
        (Protocol::SecondSession, Code::CharterNotAccepted | Code::SecondFactorTooWeak) => {
            Some("a configuration is read when the bastion starts, before any first")
        }
        (Protocol::SecondSession, Code::CapacityReached) => {
            Some("it is a channel of the first, which has its place")
        }
        (Protocol::SecondSession, Code::RecordingUnavailable) => {
            Some("the first's recording goes on, or its end ends both (`recording`)")
        }
        _ => None,
    }
}

/// Whether the condition is the only one that is missing.
pub(super) fn is_alone(protocol: Protocol, code: Code) -> bool {
    match code {
        // What is not there is in no right and no intervention either.
        Code::TargetUnknown => false,
        // Without the operation there are no destinations.
        Code::OperationNotInIntervention => protocol.operations() != [Operation::Forward],
        _ => true,
    }
}

/// The target from which the condition of `code` is taken away; where that is an operation, the one
/// from which the operations of `protocol` are.
pub(super) fn target_of(code: Code, protocol: Protocol) -> String {
    let name = code.as_str().replace('_', "-");
    if !is_of_an_operation(code) {
        return format!("{name}.chu-exemple");
    }
    let operations = protocol.operations().iter().map(|one| one.code());
    let operations: Vec<&str> = operations.collect();
    format!("{name}-{}.chu-exemple", operations.join("-"))
}

const fn is_of_an_operation(code: Code) -> bool {
    matches!(
        code,
        Code::OperationNotGranted | Code::OperationNotInIntervention
    )
}

const fn is_of_a_grant(code: Code) -> bool {
    matches!(
        code,
        Code::GrantMissing
            | Code::GrantNotStarted
            | Code::GrantExpired
            | Code::GrantWithdrawn
            | Code::GrantReviewOverdue
            | Code::AccountNotGranted
            | Code::OperationNotGranted
    )
}

/// A target of the test's, everything given there until its condition is taken away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Column {
    pub(super) code: Code,
    pub(super) target: String,
    /// Those that are missing, where operations are.
    operations: BTreeSet<Operation>,
}

/// Every one whose condition is taken away from a target of its own.
pub(super) fn columns() -> BTreeSet<Column> {
    let codes = Code::ALL.into_iter();
    let codes = codes.filter(|code| staged(*code) == Staged::AtItsTarget);
    let each = codes.flat_map(|code| {
        let rows = Protocol::ALL.into_iter();
        let rows = rows.filter(move |protocol| not_asked(*protocol, code).is_none());
        rows.map(move |protocol| Column {
            code,
            target: target_of(code, protocol),
            operations: protocol.operations().iter().copied().collect(),
        })
    });
    each.map(|column| {
        let operations = match is_of_an_operation(column.code) {
            true => column.operations,
            false => BTreeSet::new(),
        };
        Column {
            operations,
            ..column
        }
    })
    .collect()
}

/// Registers the targets, with a right of each of `operators` and an approved intervention for all
/// of them on each: nothing is missing.
pub(super) async fn give(store: Store, operators: Vec<OperatorId>, account: String) {
    register_another_customer(&store).await;
    register_targets(&store, &account).await;
    give_grants(&store, &operators, &account).await;
    for column in registered() {
        let text = plan(&column, &operators, &account);
        let by = store.operator(&operators[0]).await.unwrap().unwrap();
        let id = store.next_intervention_id(time()).await.unwrap();
        let draft = Intervention::draft(id, customer_of(&column), text, &by, time()).unwrap();
        let draft = store.save(draft).await.unwrap();
        let submitted = store.save(draft.submit(&by, time()).unwrap()).await;
        let approved = decided(&store, submitted.unwrap(), Decision::Approve, time()).await;
        store.save(approved).await.unwrap();
    }
}

fn registered() -> impl Iterator<Item = Column> {
    let all = columns().into_iter();
    all.filter(|column| column.code != Code::TargetUnknown)
}

fn customer_of(column: &Column) -> CustomerId {
    let customer = match column.code {
        Code::RecordingUnavailable => CUSTOMER_WITHOUT_KEY,
        _ => "chu-exemple",
    };
    CustomerId::parse(customer).unwrap()
}

async fn register_another_customer(store: &Store) {
    let known = store.customers().await.unwrap().remove(0);
    let contact = store.contacts().await.unwrap().remove(0);
    let id = CustomerId::parse(CUSTOMER_WITHOUT_KEY).unwrap();
    let key = &known.recording_key;
    let customer = Customer::register(id.clone(), "Clinique Exemple", key, by(), time());
    let contact = Contact::register(
        ContactId::parse("jeanne.petit").unwrap(),
        id,
        contact.details,
        by(),
        time(),
    );
    let changes = vec![customer.unwrap().into(), contact.unwrap().into()];
    store.save_all(changes).await.unwrap();
}

async fn register_targets(store: &Store, account: &str) {
    let known = TargetId::parse(TARGET).unwrap();
    let known: Target = store.target(&known).await.unwrap().unwrap();
    let spare = (SPARE.to_owned(), known.details.customer.clone());
    let columns = registered().map(|column| (column.target.clone(), customer_of(&column)));
    let registered = columns.chain([spare]).map(|(target, customer)| {
        let mut details = known.details.clone();
        details.accounts = accounts(account);
        details.customer = customer;
        let id = TargetId::parse(&target).unwrap();
        let registered = Target::register(id, details, by(), time());
        Saving::from(registered.unwrap())
    });
    store.save_all(registered.collect()).await.unwrap();
}

/// A right of each person on each target from which a right's condition is taken away, and one
/// on all other targets of each customer's.
async fn give_grants(store: &Store, operators: &[OperatorId], account: &str) {
    let mut scopes: Vec<(CustomerId, BTreeSet<TargetId>)> = Vec::new();
    for column in registered() {
        let (customer, target) = (
            customer_of(&column),
            TargetId::parse(&column.target).unwrap(),
        );
        if is_of_a_grant(column.code) {
            // With another target, which it can be reduced to.
            let spare = TargetId::parse(SPARE).unwrap();
            scopes.push((customer, [target, spare].into()));
            continue;
        }
        let of_customer = |(one, targets): &&mut (CustomerId, BTreeSet<TargetId>)| {
            *one == customer && !targets.iter().any(|target| target.as_str() == SPARE)
        };
        match scopes.iter_mut().find(of_customer) {
            Some((_, targets)) => {
                targets.insert(target);
            }
            None => scopes.push((customer, [target].into())),
        }
    }
    let mut changes = Vec::new();
    for operator in operators {
        for (customer, targets) in &scopes {
            let terms = Terms {
                operator: operator.clone(),
                customer: customer.clone(),
                scope: Scope {
                    targets: targets.clone(),
                    accounts: accounts(account),
                    operations: all_operations(),
                },
                justification: "what the matrix takes away".to_owned(),
                basis: Basis::Contract,
                validity: Window::new(time().minus(HOUR), time().plus(365 * DAY)).unwrap(),
                review_every: ReviewEvery::Year,
            };
            let number = u128::try_from(changes.len()).unwrap();
            let id = GrantId::from_random(number.to_be_bytes());
            let proposed = Grant::propose(id, terms, by(), time()).unwrap();
            let mut saved = proposed.value().clone();
            saved.version += 1;
            changes.push(proposed.into());
            changes.push(saved.accept_in_setup(by(), time()).unwrap().into());
        }
    }
    store.save_all(changes).await.unwrap();
}

fn plan(column: &Column, operators: &[OperatorId], account: &str) -> PlanText {
    PlanText {
        purpose: format!("to be refused for {}", column.code.as_str()),
        nature: "maintenance".to_owned(),
        impact: "none".to_owned(),
        rollback: "none".to_owned(),
        health_data: access::plan::HealthDataSeen::No,
        origin: access::plan::Origin::Host,
        accountable: None,
        reference: None,
        operators: operators.iter().cloned().collect(),
        targets: [TargetId::parse(&column.target).unwrap()].into(),
        accounts: accounts(account),
        operations: all_operations(),
        forwards: parse_list("localhost:*").unwrap(),
        window: Window::new(time(), time().plus(8 * HOUR)).unwrap(),
    }
}

/// Takes the condition of `column` away.
pub(super) async fn take_away(store: Store, column: Column) {
    let id = TargetId::parse(&column.target).unwrap();
    let changes: Vec<Saving> = match column.code {
        Code::TargetDisabled => {
            let target = store.target(&id).await.unwrap().unwrap();
            vec![target.disable("taken away", by(), time()).unwrap().into()]
        }
        Code::HostKeyNotPinned => {
            let target = store.target(&id).await.unwrap().unwrap();
            let mut details = target.details.clone();
            details.host_keys.clear();
            vec![target.amend(details, by(), time()).unwrap().into()]
        }
        Code::RecordingUnavailable => {
            let customer = store.customer(&customer_of(&column)).await;
            let mut customer = customer.unwrap().unwrap();
            customer.recording_key = "no key".to_owned();
            let renamed = customer.rename("Clinique sans clé", by(), time());
            vec![renamed.unwrap().into()]
        }
        code if is_of_a_grant(code) => {
            let all = GrantFilter {
                limit: 100_000,
                ..GrantFilter::default()
            };
            let grants = store.grants(all).await.unwrap().into_iter();
            let reviewer = someone(&store, Role::Manager).await;
            grants
                .filter(|grant| grant.terms.scope.targets.contains(&id))
                .map(|grant| without(grant, &column, &reviewer).into())
                .collect()
        }
        _ => vec![unfit(&store, &column, &id).await.into()],
    };
    assert!(!changes.is_empty(), "{column:?}");
    store.save_all(changes).await.unwrap();
}

/// A right that lacks what `column` takes away.
fn without(mut grant: Grant, column: &Column, reviewer: &Operator) -> Changed<Grant> {
    let (now, mut scope) = (time(), grant.terms.scope.clone());
    let GrantState::Active { review_due, .. } = grant.state else {
        panic!("{grant:?}");
    };
    match column.code {
        Code::GrantNotStarted => {
            grant.terms.validity = Window::new(now.plus(DAY), now.plus(2 * DAY)).unwrap();
            return grant.call_for_review(review_due, by(), now).unwrap();
        }
        Code::GrantExpired => {
            grant.terms.validity = Window::new(now.minus(2 * DAY), now.minus(DAY)).unwrap();
            return grant.call_for_review(review_due, by(), now).unwrap();
        }
        Code::GrantReviewOverdue => return grant.call_for_review(now, by(), now).unwrap(),
        Code::GrantWithdrawn => return grant.withdraw("taken away", by(), now).unwrap(),
        Code::GrantMissing => {
            scope
                .targets
                .remove(&TargetId::parse(&column.target).unwrap());
        }
        Code::AccountNotGranted => scope.accounts = [other_account()].into(),
        Code::OperationNotGranted => scope.operations.retain(|o| !column.operations.contains(o)),
        other => panic!("{other:?} is no right's"),
    }
    let review = Review {
        reviewer: reviewer.id.clone(),
        decision: ReviewDecision::Reduce { scope },
        attestations: Attestations::ALL,
        comment: "taken away".to_owned(),
        at: now,
    };
    grant.review(reviewer, review, now).unwrap()
}

/// The intervention on the column's target, without what `column` takes away.
async fn unfit(store: &Store, column: &Column, target: &TargetId) -> Changed<Intervention> {
    let all = store::InterventionFilter {
        limit: 1000,
        ..Default::default()
    };
    let mut all = store.interventions(all).await.unwrap().into_iter();
    let one = all
        .find(|one| one.plan().text.targets.contains(target))
        .unwrap();
    let (mut text, mut at) = (one.plan().text.clone(), time());
    match column.code {
        Code::InterventionRevoked => {
            let security = someone(store, Role::Security).await;
            return one.revoke_by_security(&security, "taken away", at).unwrap();
        }
        Code::InterventionNotApproved => {
            let by = store.operator(&one.requested_by).await.unwrap().unwrap();
            text.impact = "much".to_owned();
            return one.amend(text, &by, at).unwrap();
        }
        Code::InterventionMissing => text.targets = [TargetId::parse(SPARE).unwrap()].into(),
        Code::InterventionNotStarted => {
            text.window = Window::new(at.plus(HOUR), at.plus(2 * HOUR)).unwrap();
        }
        Code::InterventionOver => {
            text.window = Window::new(at.minus(2 * HOUR), at.minus(HOUR)).unwrap();
            at = at.minus(3 * HOUR);
        }
        Code::OperatorNotInIntervention => {
            text.operators = [someone(store, Role::Manager).await.id].into();
        }
        Code::TargetNotInIntervention => text.accounts = [other_account()].into(),
        Code::OperationNotInIntervention => {
            text.operations.retain(|o| !column.operations.contains(o));
            if !text.operations.contains(&Operation::Forward) {
                text.forwards.clear();
            }
        }
        Code::DestinationNotInIntervention => text.forwards = parse_list("localhost:1").unwrap(),
        other => panic!("{other:?} is no intervention's"),
    }
    decision::amended(store, one, text, at).await
}

/// Takes the condition of `code` from everybody; and gives it back, where that can be.
pub(super) async fn from_everybody(store: Store, everybody: Vec<OperatorId>, code: Code) -> Before {
    let mut before = Before::default();
    let mut changes: Vec<Saving> = Vec::new();
    if code == Code::ActorSuspended {
        let first = store.operator(&everybody[0]).await.unwrap().unwrap();
        let actor = store.actor(&first.details.actor).await.unwrap().unwrap();
        let suspended = actor.suspend("taken away", by(), time()).unwrap();
        before.actor = Some(suspended.value().clone());
        changes.push(suspended.into());
    }
    if code == Code::SecondFactorMissing {
        let certificates = store.certificates_in_use(None, time()).await.unwrap();
        let revoked = certificates.into_iter().map(|one| {
            let revoked = one.revoke("taken away", by(), time());
            Saving::from(revoked.unwrap())
        });
        changes.extend(revoked);
    }
    for id in &everybody {
        let operator: Operator = store.operator(id).await.unwrap().unwrap();
        let mut details = operator.details.clone();
        let changed = match code {
            Code::OperatorSuspended => operator.clone().suspend("taken away", by(), time()),
            Code::OperatorUnknown => {
                details.keys.clear();
                operator.clone().amend(details, by(), time())
            }
            Code::SourceAddressRefused => {
                let elsewhere = access::operator::Network::parse("192.0.2.0/24").unwrap();
                details.sources = vec![elsewhere];
                operator.clone().amend(details, by(), time())
            }
            Code::ActorSuspended | Code::SecondFactorMissing => continue,
            other => panic!("{other:?} is taken from nobody"),
        };
        before.operators.push(operator);
        changes.push(changed.unwrap().into());
    }
    store.save_all(changes).await.unwrap();
    before
}

/// What is given back.
#[derive(Default)]
pub(super) struct Before {
    operators: Vec<Operator>,
    actor: Option<Actor>,
}

pub(super) async fn give_back(store: Store, before: Before) {
    let mut changes: Vec<Saving> = Vec::new();
    if let Some(mut actor) = before.actor {
        actor.version += 1;
        changes.push(actor.resume(by(), time()).into());
    }
    for operator in before.operators {
        let now: Operator = store.operator(&operator.id).await.unwrap().unwrap();
        let changed = if now.state == operator.state {
            now.amend(operator.details, by(), time())
        } else {
            now.resume(by(), time())
        };
        changes.push(changed.unwrap().into());
    }
    store.save_all(changes).await.unwrap();
}

async fn someone(store: &Store, role: Role) -> Operator {
    let all = store.operators().await.unwrap();
    all.into_iter().find(|one| one.may(role).is_ok()).unwrap()
}

fn all_operations() -> BTreeSet<Operation> {
    [
        Operation::Shell,
        Operation::Exec,
        Operation::Upload,
        Operation::Download,
        Operation::Forward,
    ]
    .into()
}

fn accounts(account: &str) -> BTreeSet<AccountName> {
    [AccountName::parse(account).unwrap(), other_account()].into()
}

fn other_account() -> AccountName {
    AccountName::parse(OTHER_ACCOUNT).unwrap()
}

fn by() -> Who {
    Who::CommandLine("test".to_owned())
}

/// A time far enough back for a certificate to be over.
pub(super) fn long_ago() -> Time {
    time().minus(3 * HOUR)
}
