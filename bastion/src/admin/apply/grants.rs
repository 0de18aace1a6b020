//! The grants' part of a plan. A decided right is never rewritten: other terms are another grant.

use super::file::{Wanted, WantedGrant};
use super::plan::{Draft, Pruning, Setup, Sign};
use super::registers::vanished;
use crate::declared::Place;
use access::grant::{GrantState, Scope, Terms};
use access::time::Window;
use access::{CustomerId, Grant, GrantId, OperatorId, TargetId};
use std::collections::BTreeSet;

/// Why `--prune` withdraws one.
const NOT_DECLARED: &str = "not in the declared state any more";

/// Plans all grants.
pub(super) fn plan(draft: &mut Draft<'_>, wanted: &Wanted) {
    for (id, entry) in &wanted.grants {
        let place = Place::default().key("grants").key(id.as_str());
        let Some(customer) = check(draft, wanted, &place, entry) else {
            continue;
        };
        match draft.known.grants.iter().find(|g| g.id == *id) {
            None => propose(draft, &place, id, entry, customer),
            Some(known) => compare(draft, &place, known, entry),
        }
    }
    for known in &draft.known.grants {
        let withdrawn = matches!(known.state, GrantState::Withdrawn { .. });
        if wanted.grants.contains_key(&known.id) || withdrawn {
            continue;
        }
        if draft.pruning == Pruning::LeaveAlone && !declared_here(&known.id) {
            // Given on the host page, as rights usually are: nothing the file should know of.
            continue;
        }
        let changed = |d: &Draft<'_>| known.clone().withdraw(NOT_DECLARED, d.by.clone(), d.now);
        let place = Place::default().key("grants");
        vanished(
            draft,
            &place,
            format!("grant {}", known.id),
            "withdraw",
            changed,
        );
    }
}

/// Grants given on the host page have random names.
fn declared_here(id: &GrantId) -> bool {
    !id.as_str().starts_with("gr-")
}

/// Checks what a grant refers to. Returns the one customer it is about.
fn check(
    draft: &mut Draft<'_>,
    wanted: &Wanted,
    place: &Place,
    entry: &WantedGrant,
) -> Option<CustomerId> {
    let operator = &entry.operator;
    if !wanted.operators.contains_key(operator)
        && !draft.known.operators.iter().any(|o| o.id == *operator)
    {
        draft.fault(
            &place.key("operator"),
            format!("there is no operator `{operator}`"),
        );
    }
    let mut customers = BTreeSet::new();
    for target in &entry.targets {
        let Some((customer, accounts)) = target_of(draft, wanted, target) else {
            draft.fault(
                &place.key("targets"),
                format!("there is no target `{target}`"),
            );
            continue;
        };
        customers.insert(customer);
        for account in entry.accounts.difference(&accounts) {
            let sentence = format!("`{target}` has no account `{account}`");
            draft.fault(&place.key("accounts"), sentence);
        }
    }
    if customers.len() > 1 {
        draft.fault(
            &place.key("targets"),
            "belong to several customers; a right is about one",
        );
        return None;
    }
    customers.pop_first()
}

/// The customer and the accounts of a target, as they will be.
fn target_of(
    draft: &Draft<'_>,
    wanted: &Wanted,
    target: &TargetId,
) -> Option<(CustomerId, BTreeSet<access::AccountName>)> {
    if let Some(declared) = wanted.targets.get(target) {
        return Some((declared.customer.clone(), declared.accounts.clone()));
    }
    let known = draft.known.targets.iter().find(|t| t.id == *target)?;
    Some((
        known.details.customer.clone(),
        known.details.accounts.clone(),
    ))
}

fn propose(
    draft: &mut Draft<'_>,
    place: &Place,
    id: &GrantId,
    entry: &WantedGrant,
    customer: CustomerId,
) {
    let start = entry.from.unwrap_or(draft.now);
    let validity = match Window::new(start, entry.until) {
        Ok(validity) => validity,
        Err(error) => return draft.fault(&place.key("until"), error.to_string()),
    };
    let terms = Terms {
        operator: entry.operator.clone(),
        customer,
        scope: scope(entry),
        justification: entry.justification.clone(),
        basis: entry.basis,
        validity,
        review_every: entry.review_every,
    };
    let proposed = Grant::propose(id.clone(), terms, draft.by.clone(), draft.now);
    let subject = format!("grant {id}");
    let what = told(&entry.operator, entry);
    match draft.setup {
        Setup::Closed => {
            let what = format!("propose {what}; two people approve it on the pages");
            draft.change(place, (Sign::Create, subject, what), proposed);
        }
        Setup::Open | Setup::Closing => {
            let next = proposed.as_ref().ok().map(|proposed| {
                let mut grant = proposed.value().clone();
                grant.version += 1;
                grant
            });
            let what = format!("propose and accept (set-up) {what}");
            draft.change(place, (Sign::Create, subject, what), proposed);
            if let Some(grant) = next {
                let accepted = grant.accept_in_setup(draft.by.clone(), draft.now);
                draft.and(place, accepted);
            }
        }
    }
}

fn compare(draft: &mut Draft<'_>, place: &Place, known: &Grant, entry: &WantedGrant) {
    let subject = format!("grant {}", known.id);
    if let GrantState::Withdrawn { .. } = known.state {
        let sentence = format!(
            "`{}` was withdrawn; declare the right under another name",
            known.id
        );
        return draft.fault(place, sentence);
    }
    if let Some(what) = differing(known, entry) {
        let sentence = format!(
            "{what} of `{}` is not what was decided (or a review reduced it); a decided right is never rewritten, declare another one",
            known.id
        );
        return draft.fault(&place.key(what), sentence);
    }
    if let GrantState::Proposed { .. } = known.state {
        match draft.setup {
            Setup::Closed => draft.line(Sign::Note, subject, "waits for two people"),
            Setup::Open | Setup::Closing => {
                let accepted = known.clone().accept_in_setup(draft.by.clone(), draft.now);
                draft.change(
                    place,
                    (Sign::Amend, subject, "accept (set-up)".to_owned()),
                    accepted,
                );
            }
        }
    }
}

/// The first key that says something else than what was decided.
fn differing(known: &Grant, entry: &WantedGrant) -> Option<&'static str> {
    let terms = &known.terms;
    let rows = [
        ("operator", terms.operator == entry.operator),
        ("targets", terms.scope.targets == entry.targets),
        ("accounts", terms.scope.accounts == entry.accounts),
        ("operations", terms.scope.operations == entry.operations),
        ("justification", terms.justification == entry.justification),
        ("basis", terms.basis == entry.basis),
        (
            "from",
            entry.from.is_none_or(|from| terms.validity.start() == from),
        ),
        ("until", terms.validity.end() == entry.until),
        ("review_every", terms.review_every == entry.review_every),
    ];
    rows.into_iter().find(|(_, same)| !same).map(|(key, _)| key)
}

fn scope(entry: &WantedGrant) -> Scope {
    Scope {
        targets: entry.targets.clone(),
        accounts: entry.accounts.clone(),
        operations: entry.operations.clone(),
    }
}

fn told(operator: &OperatorId, entry: &WantedGrant) -> String {
    let accounts: Vec<&str> = entry
        .accounts
        .iter()
        .map(access::AccountName::as_str)
        .collect();
    let targets: Vec<&str> = entry.targets.iter().map(TargetId::as_str).collect();
    format!(
        "{operator} as {} on {}",
        accounts.join(", "),
        targets.join(", ")
    )
}
