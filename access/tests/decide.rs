//! The decision against a table of expectations: what each fact says by itself, and which facts
//! fall silent where another is missing. The table says nothing of how `decide` works.
//!
//! `decide.table` is the same in words an auditor reads; `UPDATE_TABLE=1` accepts a change of it.

#![cfg(test)]

mod expectations;
mod fixtures;

use access::approval::Decision;
use access::decide::{Code, choose, may_stay};
use access::forward::{Endpoint, parse_list};
use access::grant::Operation;
use access::second_factor::Proof;
use access::{Facts, Permit, Time, decide};
use expectations::*;
use fixtures::*;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

#[test]
fn every_combination_within_a_group_is_decided_as_expected() {
    for group in groups() {
        let mut count = 0;
        for values in combinations(&group.dimensions) {
            check(&values);
            count += 1;
        }
        println!("{}: {count} combinations", group.name);
    }
}

#[test]
fn every_pair_of_values_across_groups_is_decided_as_expected() {
    let groups = groups();
    let mut count = 0;
    for (i, first) in groups.iter().enumerate() {
        for second in groups.iter().skip(i + 1) {
            for one in first.dimensions.iter().flat_map(Dimension::chosen) {
                for other in second.dimensions.iter().flat_map(Dimension::chosen) {
                    check(&[one, other]);
                    count += 1;
                }
            }
        }
    }
    println!("{count} pairs");
}

/// Where a rule were removed, the case in which its code is the only denial would be permitted.
#[test]
fn every_rule_alone_refuses_some_case() {
    let mut alone = BTreeSet::new();
    for value in all_values() {
        if let Err(denials) = decide(&facts_of(&[value]), NOW)
            && let [only] = denials.as_slice()
        {
            alone.insert(only.code);
        }
    }
    assert_eq!(alone, BTreeSet::from(Code::ALL));
}

#[test]
fn the_table_for_auditors_is_what_is_decided() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decide.table");
    let table = table();
    if std::env::var_os("UPDATE_TABLE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (now, before)) in table.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, before, "line {} of decide.table", number + 1);
    }
    assert_eq!(table, kept, "decide.table has other lines");
}

#[test]
fn every_code_is_named_in_the_domain_and_in_order() {
    let mut sorted = Code::ALL;
    sorted.sort();
    assert_eq!(sorted, Code::ALL);
    for code in Code::ALL {
        let text = serde_json::to_value(code).unwrap();
        assert_eq!(text, code.as_str());
    }
}

#[test]
fn a_permit_says_what_was_decided() {
    let facts = good_facts();
    let permit = decide(&facts, NOW).unwrap();
    assert_eq!(permit.operator(), &alice().id);
    assert_eq!(permit.customer(), &customer_id());
    assert_eq!(permit.target(), &target());
    assert_eq!(permit.account(), &account("root"));
    assert_eq!(Some(permit.grant()), facts.grant.as_ref().map(|g| &g.id));
    assert_eq!(permit.intervention().as_str(), "INT-2026-00042");
    assert_eq!(permit.plan_version(), 1);
    assert_eq!(permit.purpose(), "replace the disk of the archive");
    assert_eq!(
        permit.operations(),
        &BTreeSet::from([Operation::Shell, Operation::Exec]),
        "neither what the plan alone allows nor what the right alone allows"
    );
    assert_eq!(permit.credentials(), &given(Proof::Passkey).credentials);
    assert_eq!(permit.source(), facts.place.source);
}

#[test]
fn a_permit_ends_with_whatever_ends_first() {
    type Set = fn(&mut Case);
    let rows: [(&str, Set, Duration); 9] = [
        ("window", |_| {}, 2 * HOUR),
        (
            "grant",
            |c| c.grant(|g| g.terms.validity = window(NOW.minus(DAY), NOW.plus(HOUR))),
            HOUR,
        ),
        ("review", |c| c.review_due(NOW.plus(HOUR / 2)), HOUR / 2),
        (
            "certificate of an authority",
            |c| {
                let given = c.facts.given.as_mut().unwrap();
                given.credentials.certified = Some(by_authority());
            },
            HOUR / 4,
        ),
        (
            "certificate",
            |c| c.facts.given = c.facts.given.take().map(certified),
            HOUR / 2,
        ),
        (
            "session limit",
            |c| c.facts.policy.session_limit = HOUR / 3,
            HOUR / 3,
        ),
        (
            "session limit of a live session",
            |c| {
                c.facts.policy.session_limit = HOUR;
                c.facts.since = Some(NOW.minus(HOUR / 2));
            },
            HOUR / 2,
        ),
        (
            "an instant",
            |c| {
                c.text(|t| t.window = window(NOW.minus(HOUR), NOW.plus(INSTANT)));
            },
            INSTANT,
        ),
        (
            "the longest session limit there is",
            |c| c.facts.policy.session_limit = Duration::MAX,
            2 * HOUR,
        ),
    ];
    for (what, set, left) in rows {
        let mut case = GOOD.clone();
        set(&mut case);
        let permit = decide(&case.finish(), NOW).unwrap();
        assert_eq!(permit.ends_at(), NOW.plus(left), "{what}");
    }
}

#[test]
fn a_session_at_its_own_end_is_refused_when_it_is_asked_about_again() {
    let mut facts = good_facts();
    facts.since = Some(NOW);
    facts.policy.session_limit = HOUR;
    let ends_at = decide(&facts, NOW).unwrap().ends_at();
    assert!(decide(&facts, ends_at.minus(INSTANT)).is_ok());
    assert_eq!(codes(&facts, ends_at), [Code::CapacityReached]);
}

#[test]
fn no_session_is_opened_for_no_time_at_all() {
    let mut facts = good_facts();
    facts.policy.session_limit = Duration::ZERO;
    assert_eq!(codes(&facts, NOW), [Code::CapacityReached]);
}

#[test]
fn an_edited_plan_is_refused_until_it_is_approved_anew() {
    let mut facts = good_facts();
    let approved = facts.intervention.take().unwrap();
    let mut wider = plan_text();
    wider.accounts.insert(account("postgres"));
    let amended = approved.amend(wider, &alice(), NOW).unwrap().into_parts().0;
    facts.intervention = Some(amended.clone());
    assert_eq!(codes(&facts, NOW), [Code::InterventionNotApproved]);
    let signed = signed(&amended, &claire(), &Decision::Approve);
    let approved = amended
        .decide(&claire(), &people(), Decision::Approve, signed, NOW)
        .unwrap()
        .into_parts()
        .0;
    facts.intervention = Some(approved);
    assert_eq!(decide(&facts, NOW).unwrap().plan_version(), 2);
}

#[test]
fn a_destination_written_into_an_approved_plan_opens_nothing() {
    let mut text = plan_text();
    text.operations.insert(Operation::Forward);
    text.forwards = parse_list("localhost:5432").unwrap();
    let approved = intervention(&customer_id(), &text, "approved");
    let mut facts = good_facts();
    let grant = facts.grant.as_mut().unwrap();
    grant.terms.scope.operations.insert(Operation::Forward);
    facts.asked.operation = Some(Operation::Forward);
    facts.asked.forward_to = Some(Endpoint::parse("localhost", 5432).unwrap());
    facts.intervention = Some(approved.clone());
    let permit = decide(&facts, NOW).unwrap();
    assert_eq!(*permit.forwards(), text.forwards);
    let mut row = serde_json::to_value(&approved).unwrap();
    let list = &mut row["plan"]["text"]["forwards"];
    list.as_array_mut().unwrap().push("localhost:22".into());
    facts.intervention = Some(serde_json::from_value(row).unwrap());
    facts.asked.forward_to = Some(Endpoint::parse("localhost", 22).unwrap());
    assert_eq!(codes(&facts, NOW), [Code::InterventionNotApproved]);
}

#[test]
fn a_right_whose_review_was_called_forward_stops_at_that_moment() {
    let mut facts = good_facts();
    let called = active_grant()
        .call_for_review(NOW.plus(HOUR), by(), NOW)
        .unwrap();
    facts.grant = Some(called.into_parts().0);
    assert_eq!(decide(&facts, NOW).unwrap().ends_at(), NOW.plus(HOUR));
    assert_eq!(
        codes(&facts, NOW.plus(HOUR)),
        [Code::GrantReviewOverdue],
        "not flagged, stopped"
    );
}

#[test]
fn time_extremes_open_nothing() {
    for now in [i64::MIN, -1, 0, i64::MAX].map(Time::from_micros) {
        assert!(decide(&good_facts(), now).is_err(), "{now}");
    }
}

#[test]
fn what_was_typed_is_shown_without_anything_that_changes_the_terminal() {
    let mut facts = good_facts();
    facts.operator = None;
    facts.target = None;
    facts.asked.operator = "al\u{1b}[2Jice\u{202e}".into();
    facts.asked.target = "db\u{7}\n1\u{2066}\u{200b}".into();
    for denial in decide(&facts, NOW).unwrap_err() {
        for text in [denial.sentence, denial.next] {
            for bad in ['\u{1b}', '\u{202e}', '\u{7}', '\n', '\u{2066}', '\u{200b}'] {
                assert!(!text.contains(bad), "{text:?}");
            }
        }
    }
}

#[test]
fn among_several_refusals_the_nearest_is_said() {
    let far = with(&[
        ("operator", "suspended"),
        ("recording", "unavailable"),
        ("proof", "none"),
    ]);
    let near = with(&[("state", "submitted")]);
    let as_near = with(&[("state", "revoked")]);
    let denials = choose(&[far.clone(), near, as_near], NOW).unwrap_err();
    let said: Vec<Code> = denials.iter().map(|d| d.code).collect();
    assert_eq!(said, [Code::InterventionNotApproved]);
    assert_eq!(choose(&[far], NOW).unwrap_err().len(), 3);
}

#[test]
fn whoever_logged_in_stays_as_long_as_he_and_his_credentials_stand() {
    let said = |names: &[(&str, &str)]| match may_stay(&with(names), NOW) {
        Ok(()) => Vec::new(),
        Err(denials) => denials.iter().map(|denial| denial.code).collect(),
    };
    for (fact, code) in [
        (("operator", "unknown"), Code::OperatorUnknown),
        (("key", "declared no more"), Code::OperatorUnknown),
        (("operator", "suspended"), Code::OperatorSuspended),
        (("actor", "suspended"), Code::ActorSuspended),
        (("factor", "out of use since"), Code::SecondFactorMissing),
        (("certificate", "revoked"), Code::SecondFactorMissing),
        (("login", "too long ago"), Code::SecondFactorMissing),
        (("proof", "none"), Code::SecondFactorMissing),
    ] {
        assert_eq!(said(&[fact]), [code], "{fact:?}");
    }
    let role = ("role", "auditor, manager, security and admin alone");
    for fact in [
        role,
        ("right", "none"),
        ("state", "none"),
        ("target", "unknown"),
    ] {
        assert_eq!(said(&[fact]), [], "{fact:?}");
    }
}

#[test]
fn every_candidate_that_is_permitted_comes_back_in_order() {
    let refused = with(&[("state", "closed")]);
    let mut short = GOOD.clone();
    short.facts.policy.session_limit = HOUR;
    let permits = choose(&[good_facts(), refused, short.finish()], NOW).unwrap();
    let ends: Vec<Time> = permits.iter().map(Permit::ends_at).collect();
    assert_eq!(ends, [NOW.plus(2 * HOUR), NOW.plus(HOUR)]);
}

#[test]
fn without_any_candidate_the_answer_is_no_and_says_something() {
    assert!(!choose(&[], NOW).unwrap_err().is_empty());
}

#[test]
fn a_refusal_reads_as_the_domain_says() {
    let denials = decide(&with(&[("state", "none")]), NOW).unwrap_err();
    assert_eq!(
        denials[0].to_string(),
        "Refused (intervention_missing): no approved intervention covers root@db1.chu-exemple now.\n\
         Next: ask for one with   ssh alice@bastion.example request db1.chu-exemple   \
         or at https://bastion.example/interventions/new?target=db1.chu-exemple"
    );
}

fn check(values: &[Chosen]) {
    let facts = facts_of(values);
    let expected = expected(values);
    let label = || {
        let labels: Vec<String> = values.iter().map(Chosen::label).collect();
        labels.join("; ")
    };
    match decide(&facts, NOW) {
        Ok(permit) => {
            assert_eq!(expected, [], "permitted: {}", label());
            assert!(permit.ends_at() > NOW, "ends at once: {}", label());
            assert!(!permit.operations().is_empty(), "empty: {}", label());
        }
        Err(denials) => {
            let said: Vec<Code> = denials.iter().map(|d| d.code).collect();
            assert_eq!(said, expected, "{}", label());
            for denial in denials {
                assert!(!denial.sentence.is_empty() && !denial.sentence.ends_with('.'));
                assert!(!denial.next.is_empty(), "{}: no next step", label());
            }
        }
    }
}

fn codes(facts: &Facts, now: Time) -> Vec<Code> {
    let denials = decide(facts, now).unwrap_err();
    denials.iter().map(|denial| denial.code).collect()
}

/// The good facts with these values, named by dimension and value.
fn with(names: &[(&str, &str)]) -> Facts {
    let chosen: Vec<Chosen> = names
        .iter()
        .map(|(dimension, value)| {
            all_values()
                .into_iter()
                .find(|c| c.dimension == *dimension && c.value.name == *value)
                .unwrap()
        })
        .collect();
    facts_of(&chosen)
}

fn table() -> String {
    let mut rows = vec![["fact", "code", "sentence", "next step"].map(str::to_owned)];
    let mut groups_start = Vec::new();
    for group in groups() {
        groups_start.push((rows.len(), group.name));
        for chosen in group.dimensions.iter().flat_map(Dimension::chosen) {
            match decide(&facts_of(&[chosen]), NOW) {
                Ok(_) => rows.push([chosen.label(), "-".into(), "permitted".into(), "-".into()]),
                Err(denials) => rows.extend(denials.into_iter().map(|denial| {
                    let code = denial.code.as_str().to_owned();
                    [chosen.label(), code, denial.sentence, denial.next]
                })),
            }
        }
    }
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max();
    let [fact, code, sentence] = [0, 1, 2].map(|i| width(i).unwrap_or(0));
    let mut out = HEADER.to_owned();
    for (number, row) in rows.iter().enumerate() {
        if let Some((_, name)) = groups_start.iter().find(|(start, _)| *start == number) {
            writeln!(out, "\n[{name}]").unwrap();
        }
        let [a, b, c, d] = row;
        writeln!(out, "{a:fact$} | {b:code$} | {c:sentence$} | {d}").unwrap();
    }
    out
}

const HEADER: &str = "\
# Each row changes one fact while every other one is good, and says what the bastion then answers: the code, the sentence and the next step.
# Written by the test of the decision, which fails where the two differ: a change of policy is a change of this file.
# Chaque ligne change un seul fait, tous les autres étant bons, et dit ce que le bastion répond alors : le code, la phrase et la suite à donner.
# Écrit par le test de la décision, qui échoue en cas d'écart : un changement de politique est une modification de ce fichier.

";
