//! The registers' part of a plan: customers, contacts, actors, operators, targets.

use super::file::{Wanted, WantedContact, WantedOperator, WantedState, WantedTarget};
use super::plan::{Draft, Pruning, Sign};
use crate::admin::{operator_key, public_key};
use crate::declared::Place;
use access::actor::ActorState;
use access::contact::{ContactDetails, ContactState};
use access::operator::{CERT_AUTHORITY, OperatorDetails, OperatorState, fingerprint_of};
use access::target::{TargetDetails, TargetState};
use access::{Actor, Changed, Contact, Customer, Operator, OperatorId, Refusal, Target};
use recordings::RecordingKeyPair;
use ring::rand::SystemRandom;
use std::collections::BTreeMap;

/// Why `--prune` ends something.
const NOT_DECLARED: &str = "not in the declared state any more";
const DECLARED_SUSPENDED: &str = "declared suspended";

/// Plans all registers, in the order in which they refer to each other.
pub(super) fn plan(draft: &mut Draft<'_>, wanted: &Wanted) {
    customers(draft, wanted);
    actors(draft, wanted);
    operators(draft, wanted);
    contacts(draft, wanted);
    targets(draft, wanted);
}

fn customers(draft: &mut Draft<'_>, wanted: &Wanted) {
    for (id, entry) in &wanted.customers {
        let place = Place::default().key("customers").key(id.as_str());
        let subject = format!("customer {id}");
        match draft.known.customers.iter().find(|c| c.id == *id) {
            Some(known) if known.name == entry.name => {}
            Some(known) => {
                let changed = known
                    .clone()
                    .rename(&entry.name, draft.by.clone(), draft.now);
                let what = format!("rename to `{}`", entry.name);
                draft.change(&place, (Sign::Amend, subject, what), changed);
            }
            None => {
                let pair = match RecordingKeyPair::generate(&SystemRandom::new()) {
                    Ok(pair) => pair,
                    Err(error) => return draft.fault(&place, error.to_string()),
                };
                let public = pair.public.to_base64();
                let changed = Customer::register(
                    id.clone(),
                    &entry.name,
                    &public,
                    draft.by.clone(),
                    draft.now,
                );
                draft.change(
                    &place,
                    (
                        Sign::Create,
                        subject,
                        format!("register `{}`, with a recording key of its own", entry.name),
                    ),
                    changed,
                );
                draft.key(id.clone(), pair.private);
            }
        }
    }
    for known in &draft.known.customers {
        if !wanted.customers.contains_key(&known.id) {
            // A customer's evidence outlives the contract: there is no way to remove one.
            draft.line(
                Sign::Note,
                format!("customer {}", known.id),
                "not in the file, left alone",
            );
        }
    }
}

fn actors(draft: &mut Draft<'_>, wanted: &Wanted) {
    for (id, entry) in &wanted.actors {
        let place = Place::default().key("actors").key(id.as_str());
        let subject = format!("actor {id}");
        let (by, now) = (draft.by.clone(), draft.now);
        let known = draft.known.actors.iter().find(|a| a.id == *id);
        let current = match known {
            Some(known) if known.name == entry.name && known.kind == entry.kind => known.clone(),
            Some(known) => {
                let changed = known
                    .clone()
                    .amend(&entry.name, entry.kind, by.clone(), now);
                let next = next(&changed, |a| a.version += 1);
                draft.change(
                    &place,
                    (Sign::Amend, subject.clone(), "amend".to_owned()),
                    changed,
                );
                let Some(next) = next else { continue };
                next
            }
            None => {
                let changed = Actor::register(id.clone(), &entry.name, entry.kind, by.clone(), now);
                let next = next(&changed, |a| a.version += 1);
                draft.change(
                    &place,
                    (
                        Sign::Create,
                        subject.clone(),
                        format!("register `{}`", entry.name),
                    ),
                    changed,
                );
                let Some(next) = next else { continue };
                next
            }
        };
        match (&current.state, entry.state) {
            (ActorState::Active, Some(WantedState::Suspended)) => {
                let changed = current.suspend(DECLARED_SUSPENDED, by, now);
                draft.change(
                    &place,
                    (Sign::End, subject, "suspend; its people stop".to_owned()),
                    changed,
                );
            }
            (ActorState::Suspended { .. }, Some(WantedState::Active)) => {
                let changed = Ok(current.resume(by, now));
                draft.change(&place, (Sign::Amend, subject, "resume".to_owned()), changed);
            }
            (ActorState::Suspended { reason, .. }, None) => {
                draft.line(
                    Sign::Note,
                    subject,
                    format!("suspended ({reason}), left so"),
                );
            }
            (ActorState::Active, Some(WantedState::Active) | None)
            | (ActorState::Suspended { .. }, Some(WantedState::Suspended)) => {}
        }
    }
    for known in &draft.known.actors {
        if wanted.actors.contains_key(&known.id) || known.state != ActorState::Active {
            continue;
        }
        // The first administrator's actor is made by `init`, before there is a file.
        draft.line(
            Sign::Note,
            format!("actor {}", known.id),
            "not in the file, left alone",
        );
    }
}

fn operators(draft: &mut Draft<'_>, wanted: &Wanted) {
    keys_are_one_persons_each(draft, wanted);
    for (id, entry) in &wanted.operators {
        let place = Place::default().key("operators").key(id.as_str());
        let subject = format!("operator {id}");
        let (by, now) = (draft.by.clone(), draft.now);
        if !wanted.actors.contains_key(&entry.actor)
            && !draft.known.actors.iter().any(|a| a.id == entry.actor)
        {
            draft.fault(
                &place.key("actor"),
                format!("there is no actor `{}`", entry.actor),
            );
        }
        let details = operator_details(draft, &place, entry);
        let known = draft.known.operators.iter().find(|o| o.id == *id);
        let current = match known {
            Some(known) if known.details == details => known.clone(),
            Some(known) => {
                let what = format!("amend {}", differing(&known.details, &details));
                let changed = known.clone().amend(details, by.clone(), now);
                let next = next(&changed, |o| o.version += 1);
                draft.change(&place, (Sign::Amend, subject.clone(), what), changed);
                let Some(next) = next else { continue };
                next
            }
            None => {
                let what = format!("register `{}`", details.name);
                let changed = Operator::register(id.clone(), details, by.clone(), now);
                let next = next(&changed, |o| o.version += 1);
                draft.change(&place, (Sign::Create, subject.clone(), what), changed);
                let Some(next) = next else { continue };
                next
            }
        };
        match (&current.state, entry.state) {
            (OperatorState::Active, Some(WantedState::Suspended)) => {
                let changed = current.suspend(DECLARED_SUSPENDED, by, now);
                draft.change(&place, (Sign::End, subject, "suspend".to_owned()), changed);
            }
            (OperatorState::Suspended { .. }, Some(WantedState::Active)) => {
                let changed = current.resume(by, now);
                draft.change(&place, (Sign::Amend, subject, "resume".to_owned()), changed);
            }
            (OperatorState::Suspended { reason, .. }, None) => {
                draft.line(
                    Sign::Note,
                    subject,
                    format!("suspended ({reason}), left so"),
                );
            }
            (OperatorState::Active, Some(WantedState::Active) | None)
            | (OperatorState::Suspended { .. }, Some(WantedState::Suspended)) => {}
        }
    }
    for known in &draft.known.operators {
        if wanted.operators.contains_key(&known.id) || known.state != OperatorState::Active {
            continue;
        }
        let changed = |d: &Draft<'_>| known.clone().suspend(NOT_DECLARED, d.by.clone(), d.now);
        let place = Place::default().key("operators");
        vanished(
            draft,
            &place,
            format!("operator {}", known.id),
            "suspend",
            changed,
        );
    }
}

fn operator_details(
    draft: &mut Draft<'_>,
    place: &Place,
    entry: &WantedOperator,
) -> OperatorDetails {
    let keys = usable_keys(draft, &place.key("keys"), &entry.keys, operator_key);
    OperatorDetails {
        name: entry.name.clone(),
        email: entry.email.clone(),
        actor: entry.actor.clone(),
        roles: entry.roles.clone(),
        keys,
        sources: entry.sources.clone(),
        language: entry.language,
    }
}

fn usable_keys(
    draft: &mut Draft<'_>,
    place: &Place,
    keys: &[String],
    read: fn(&str) -> Result<String, String>,
) -> Vec<String> {
    let mut usable = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        match read(key) {
            Ok(key) => usable.push(key),
            Err(sentence) => draft.fault(&place.index(index), sentence),
        }
    }
    usable
}

/// A key names one natural person: the same one twice would be a shared account. Nor is an
/// authority anybody's key: whoever logs in with it would make keys for others.
fn keys_are_one_persons_each(draft: &mut Draft<'_>, wanted: &Wanted) {
    let mut holders: BTreeMap<String, String> = BTreeMap::new();
    let mut authorities: BTreeMap<String, String> = BTreeMap::new();
    for known in &draft.known.operators {
        if wanted.operators.contains_key(&known.id) {
            continue;
        }
        for key in known
            .details
            .keys
            .iter()
            .filter_map(|key| fingerprint_of(key))
        {
            match key.strip_prefix(CERT_AUTHORITY) {
                None => holders.insert(key, known.id.to_string()),
                Some(key) => authorities.insert(key.to_owned(), known.id.to_string()),
            };
        }
    }
    let declared = || {
        wanted.operators.iter().flat_map(|(id, entry)| {
            let keys = entry.keys.iter().enumerate();
            keys.filter_map(move |(index, key)| Some((id, index, fingerprint_of(key)?)))
        })
    };
    for (id, index, key) in declared() {
        let Some(authority) = key.strip_prefix(CERT_AUTHORITY) else {
            let holder = holders.entry(key).or_insert_with(|| id.to_string());
            if holder != id.as_str() {
                let sentence = format!("is `{holder}`'s key; a key belongs to one person");
                draft.fault(&key_of(id, index), sentence);
            }
            continue;
        };
        authorities.insert(authority.to_owned(), id.to_string());
    }
    for (id, index, key) in declared() {
        let plain = key.strip_prefix(CERT_AUTHORITY).unwrap_or(&key);
        let (Some(holder), Some(certified)) = (holders.get(plain), authorities.get(plain)) else {
            continue;
        };
        let sentence = format!(
            "is an authority for `{certified}` and `{holder}`'s own key; an authority is nobody's key"
        );
        draft.fault(&key_of(id, index), sentence);
    }
}

fn key_of(id: &OperatorId, index: usize) -> Place {
    let place = Place::default().key("operators").key(id.as_str());
    place.key("keys").index(index)
}

fn contacts(draft: &mut Draft<'_>, wanted: &Wanted) {
    // A deputy may be declared after the contact he stands for.
    for (id, entry) in &wanted.contacts {
        let place = Place::default().key("contacts").key(id.as_str());
        let subject = format!("contact {id}");
        contact_refers_to_what_is_there(draft, wanted, &place, entry);
        let details = ContactDetails {
            name: entry.name.clone(),
            email: entry.email.clone(),
            kinds: entry.kinds.clone(),
            language: entry.language,
            deputy: entry.deputy.clone(),
        };
        let (by, now) = (draft.by.clone(), draft.now);
        match draft.known.contacts.iter().find(|c| c.id == *id) {
            Some(known) if known.customer != entry.customer => draft.fault(
                &place.key("customer"),
                format!(
                    "`{id}` is a contact of `{}` and stays there; use another name",
                    known.customer
                ),
            ),
            Some(known) if known.state != ContactState::Active => draft.fault(
                &place,
                format!("`{id}` was removed; declare the person under another name"),
            ),
            Some(known) if known.details == details => {}
            Some(known) => {
                let what = format!("amend {}", differing(&known.details, &details));
                let changed = known.clone().amend(details, by, now);
                draft.change(&place, (Sign::Amend, subject, what), changed);
            }
            None => {
                let what = format!("register `{}` of {}", details.name, entry.customer);
                let changed =
                    Contact::register(id.clone(), entry.customer.clone(), details, by, now);
                draft.change(&place, (Sign::Create, subject, what), changed);
            }
        }
    }
    for known in &draft.known.contacts {
        if wanted.contacts.contains_key(&known.id) || known.state != ContactState::Active {
            continue;
        }
        let changed = |d: &Draft<'_>| Ok::<_, Refusal>(known.clone().remove(d.by.clone(), d.now));
        let place = Place::default().key("contacts");
        vanished(
            draft,
            &place,
            format!("contact {}", known.id),
            "remove",
            changed,
        );
    }
}

fn contact_refers_to_what_is_there(
    draft: &mut Draft<'_>,
    wanted: &Wanted,
    place: &Place,
    entry: &WantedContact,
) {
    customer_is_there(draft, wanted, &place.key("customer"), &entry.customer);
    let Some(deputy) = &entry.deputy else { return };
    let of = |customer: &access::CustomerId| *customer == entry.customer;
    let declared = wanted.contacts.get(deputy).is_some_and(|c| of(&c.customer));
    let known = draft
        .known
        .contacts
        .iter()
        .any(|c| c.id == *deputy && of(&c.customer));
    if !declared && !known {
        let sentence = format!("`{}` has no contact `{deputy}`", entry.customer);
        draft.fault(&place.key("deputy"), sentence);
    }
}

fn customer_is_there(
    draft: &mut Draft<'_>,
    wanted: &Wanted,
    place: &Place,
    customer: &access::CustomerId,
) {
    if !wanted.customers.contains_key(customer)
        && !draft.known.customers.iter().any(|c| c.id == *customer)
    {
        draft.fault(place, format!("there is no customer `{customer}`"));
    }
}

fn targets(draft: &mut Draft<'_>, wanted: &Wanted) {
    for (id, entry) in &wanted.targets {
        let place = Place::default().key("targets").key(id.as_str());
        let subject = format!("target {id}");
        let (by, now) = (draft.by.clone(), draft.now);
        customer_is_there(draft, wanted, &place.key("customer"), &entry.customer);
        let details = target_details(draft, &place, entry);
        let known = draft.known.targets.iter().find(|t| t.id == *id);
        let current = match known {
            Some(known) if known.details == details => known.clone(),
            Some(known) => {
                let what = format!("amend {}", differing(&known.details, &details));
                let changed = known.clone().amend(details, by.clone(), now);
                let next = next(&changed, |t| t.version += 1);
                draft.change(&place, (Sign::Amend, subject.clone(), what), changed);
                let Some(next) = next else { continue };
                next
            }
            None => {
                let what = format!("register {} of {}", details.address, details.customer);
                let changed = Target::register(id.clone(), details, by.clone(), now);
                let next = next(&changed, |t| t.version += 1);
                draft.change(&place, (Sign::Create, subject.clone(), what), changed);
                let Some(next) = next else { continue };
                next
            }
        };
        match (&current.state, entry.state) {
            (TargetState::Enabled, Some(WantedState::Suspended)) => {
                let changed = current.disable(DECLARED_SUSPENDED, by, now);
                draft.change(&place, (Sign::End, subject, "disable".to_owned()), changed);
            }
            (TargetState::Disabled { .. }, Some(WantedState::Active)) => {
                let changed = Ok(current.enable(by, now));
                draft.change(&place, (Sign::Amend, subject, "enable".to_owned()), changed);
            }
            (TargetState::Disabled { reason, .. }, None) => {
                draft.line(Sign::Note, subject, format!("disabled ({reason}), left so"));
            }
            (TargetState::Enabled, Some(WantedState::Active) | None)
            | (TargetState::Disabled { .. }, Some(WantedState::Suspended)) => {}
        }
    }
    for known in &draft.known.targets {
        if wanted.targets.contains_key(&known.id) || known.state != TargetState::Enabled {
            continue;
        }
        let changed = |d: &Draft<'_>| known.clone().disable(NOT_DECLARED, d.by.clone(), d.now);
        let place = Place::default().key("targets");
        vanished(
            draft,
            &place,
            format!("target {}", known.id),
            "disable",
            changed,
        );
    }
}

fn target_details(draft: &mut Draft<'_>, place: &Place, entry: &WantedTarget) -> TargetDetails {
    let mut host_keys = usable_keys(draft, &place.key("host_keys"), &entry.host_keys, public_key);
    for (index, file) in entry.host_key_files.iter().enumerate() {
        let path = draft.declared.directory().join(file);
        let read = std::fs::read_to_string(&path)
            .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
            .and_then(|text| public_key(&text));
        match read {
            Ok(key) => host_keys.push(key),
            Err(sentence) => draft.fault(&place.key("host_key_files").index(index), sentence),
        }
    }
    TargetDetails {
        customer: entry.customer.clone(),
        address: entry.address.clone(),
        host_keys,
        accounts: entry.accounts.clone(),
        tenancy: entry.tenancy,
        health_data: entry.health_data,
    }
}

/// What the file does not name any more: ended with `--prune`, left alone without.
pub(super) fn vanished<S: Into<store::Saving>>(
    draft: &mut Draft<'_>,
    place: &Place,
    subject: String,
    what: &str,
    changed: impl FnOnce(&Draft<'_>) -> Result<S, Refusal>,
) {
    match draft.pruning {
        Pruning::LeaveAlone => draft.line(Sign::Note, subject, "not in the file, left alone"),
        Pruning::Prune => {
            let changed = changed(draft);
            let what = format!("{what}: {NOT_DECLARED}");
            draft.change(place, (Sign::End, subject, what), changed);
        }
    }
}

/// The value as it will be once saved, for a second change in the same transaction. A row that is
/// saved moves to its next version.
fn next<T: Clone>(changed: &Result<Changed<T>, Refusal>, saved: impl FnOnce(&mut T)) -> Option<T> {
    let mut value = changed.as_ref().ok()?.value().clone();
    saved(&mut value);
    Some(value)
}

/// Which fields of two details differ, for the plan's line.
fn differing<T: serde::Serialize>(before: &T, after: &T) -> String {
    let fields = |details: &T| match serde_json::to_value(details) {
        Ok(serde_json::Value::Object(fields)) => fields,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names: Vec<&str> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, _)| name.as_str())
        .collect();
    names.join(", ")
}
