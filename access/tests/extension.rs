//! More time: who may ask for it, when, and how somebody would cheat with it.

#![cfg(test)]

mod fixtures;

use access::approval::{Decision, Statement};
use access::contact::ContactKind;
use access::decide::Code;
use access::extension::Fate;
use access::forward::parse_list;
use access::grant::Operation;
use access::intervention::{Phase, Signed};
use access::operator::Role;
use access::plan::{LONGEST_WINDOW, PlanText};
use access::session::FactorUse;
use access::{Changed, Contact, Facts, Intervention, Operator, Refusal, Session, Time, decide};
use fixtures::*;
use serde_json::json;
use std::time::Duration;

const WHY: &str = "the copy takes longer";

#[test]
fn an_approved_extension_is_the_plan_with_a_later_end_and_nothing_else() {
    let before = approved();
    let asked = asked();
    assert_eq!(asked.plan(), before.plan(), "a question changes nothing");
    assert_eq!(asked.approval(), before.approval());
    assert_eq!(asked.phase(end()), Phase::Over);
    let extended = decided(&asked, Decision::Approve);
    assert_eq!(extended.plan().number, 2);
    assert_eq!(extended.earlier_plans, [before.plan().clone()]);
    let mut same = extended.plan().text.clone();
    assert_eq!(same.window, window(NOW.minus(HOUR), later()));
    same.window = before.plan().text.window;
    assert_eq!(same, before.plan().text);
    assert!(extended.plan().only_extends(before.plan()));
    assert_eq!(extended.phase(end()), Phase::Open);
    assert_eq!(extended.phase(later()), Phase::Over);
    assert_eq!(extended.waiting_extension(NOW), None);
    let approval = extended.approval().expect("signed for this version");
    assert_eq!(approval.plan_version, 2);
    assert_eq!(extended.approvals.len(), 2, "the first one is kept");
    let extends = extended.plan().extends.clone().unwrap();
    assert_eq!((extends.version, extends.end), (1, end()));
    assert_eq!(extends.reason, WHY);
    // And again, from there.
    let again = extended
        .ask_extension(later().plus(HOUR), WHY, &alice(), NOW)
        .unwrap();
    let again = decided(again.value(), Decision::Approve);
    assert_eq!(again.plan().number, 3);
    assert_eq!(again.phase(later()), Phase::Open);
    assert_eq!(again.earlier_plans.len(), 2);
}

#[test]
fn what_is_signed_says_why_and_instead_of_which_end() {
    let signed = signed(&asked(), &claire(), &Decision::Approve);
    let text: serde_json::Value = serde_json::from_str(signed.statement.text()).unwrap();
    assert_eq!(text["type"], "bastion-approval-v1");
    assert_eq!(text["plan_version"], 2);
    assert_eq!(text["plan"]["window"]["end"], json!(later()));
    assert_eq!(
        text["extends"],
        json!({"version": 1, "end": end(), "reason": WHY})
    );
}

#[test]
fn a_plan_without_extension_is_kept_and_signed_as_ever() {
    let kept = serde_json::to_string(&approved()).unwrap();
    for word in ["extends", "extension"] {
        assert!(!kept.contains(word), "{kept}");
    }
    let statement = signed(
        &intervention(&customer_id(), &plan_text(), "submitted"),
        &claire(),
        &Decision::Approve,
    );
    assert!(!statement.statement.text().contains("extends"));
}

#[test]
fn it_is_asked_by_those_the_plan_names_and_the_requester_alone() {
    let mut text = plan_text();
    text.operators = one(olga().id);
    let rows: [(&str, Operator, Result<(), &str>); 7] = [
        ("the requester", alice(), Ok(())),
        ("a named operator", olga(), Ok(())),
        (
            "another operator",
            person("otto", Role::Operator),
            Err("not_in_intervention"),
        ),
        (
            "another manager",
            person("paul", Role::Manager),
            Err("not_in_intervention"),
        ),
        ("security", sam(), Err("role_missing")),
        (
            "the requester, suspended",
            suspended(alice()),
            Err("operator_suspended"),
        ),
        (
            "a named operator, suspended",
            suspended(olga()),
            Err("operator_suspended"),
        ),
    ];
    for (what, by, expected) in rows {
        let open = intervention(&customer_id(), &text, "approved");
        let outcome = open.ask_extension(later(), WHY, &by, NOW);
        let outcome = outcome.map(|_| ()).map_err(|refusal| refusal.code);
        assert_eq!(outcome, expected, "{what}");
    }
}

#[test]
fn it_is_asked_while_the_intervention_is_approved_and_its_window_not_over() {
    for state in STATES {
        let one = intervention(&customer_id(), &plan_text(), state);
        let outcome = one.ask_extension(later(), WHY, &alice(), NOW);
        match (state, outcome) {
            ("approved", Ok(_)) => {}
            ("approved", Err(refusal)) => panic!("{refusal}"),
            (_, outcome) => assert_eq!(refused(outcome), "wrong_state", "{state}"),
        }
    }
    let at = |now: Time| approved().ask_extension(later(), WHY, &alice(), now);
    assert!(at(NOW.minus(2 * HOUR)).is_ok(), "before it opens");
    assert!(at(end().minus(INSTANT)).is_ok());
    for over in [end(), end().plus(HOUR)] {
        assert_eq!(refused(at(over)), "deadline_over");
    }
}

#[test]
fn one_waits_at_a_time_and_asks_for_a_later_end_within_the_longest_window() {
    let again = asked().ask_extension(later().plus(HOUR), WHY, &alice(), NOW);
    assert_eq!(refused(again), "extension_pending");
    let longest = NOW.minus(HOUR).plus(LONGEST_WINDOW);
    for (until, why, code) in [
        (end(), WHY, "extension_not_later"),
        (end().minus(HOUR), WHY, "extension_not_later"),
        (NOW.minus(2 * HOUR), WHY, "extension_not_later"),
        (longest.plus(INSTANT), WHY, "window_too_long"),
        (later(), "", "text_missing"),
        (later(), "a\u{202e}bc", "text_not_plain"),
        (later(), "a\u{1b}[2Jbc", "text_not_plain"),
    ] {
        let outcome = approved().ask_extension(until, why, &alice(), NOW);
        assert_eq!(refused(outcome), code, "{until} {why:?}");
    }
    assert!(
        approved()
            .ask_extension(longest, WHY, &alice(), NOW)
            .is_ok()
    );
}

#[test]
fn a_refused_one_leaves_the_window_and_its_number_is_never_given_again() {
    let refused_one = decided(&asked(), refusal_by_customer());
    assert_eq!(refused_one.plan(), approved().plan());
    assert!(refused_one.approval().is_some());
    assert_eq!(state_of(&refused_one), "approved");
    let [ended] = refused_one.ended_extensions.as_slice() else {
        panic!("{refused_one:?}");
    };
    assert_eq!(ended.fate.code(), "refused");
    assert_eq!(refused_one.plan_version(2), Some(&ended.plan));
    assert!(refused_one.approvals[1].states(&refused_one, &ended.plan));
    let again = refused_one
        .clone()
        .ask_extension(later(), WHY, &alice(), NOW)
        .unwrap();
    assert_eq!(again.value().awaited().number, 3);
    let amended = refused_one.amend(plan_text(), &alice(), NOW).unwrap();
    assert_eq!(amended.value().plan().number, 3);
}

#[test]
fn unanswered_it_ends_with_the_window_it_was_asked_for() {
    let late = decision(asked(), &claire(), &people(), Decision::Approve, end());
    assert_eq!(refused(late), "deadline_over");
    assert!(asked().waiting_extension(end().minus(INSTANT)).is_some());
    assert_eq!(asked().waiting_extension(end()), None);
    assert!(asked().aged(end().minus(INSTANT)).is_none());
    let (closed, event) = asked().aged(end()).unwrap().into_parts();
    assert_eq!(state_of(&closed), "closed");
    assert_eq!(closed.plan().text.window.end(), end());
    assert_eq!(closed.ended_extensions[0].fate, Fate::Unanswered);
    assert_eq!(event.detail["extension"], "unanswered");
    let mut facts = good_facts();
    facts.intervention = Some(asked());
    let permit = decide(&facts, NOW).unwrap();
    assert_eq!((permit.ends_at(), permit.plan_version()), (end(), 1));
    let denied: Vec<Code> = decide(&facts, end())
        .unwrap_err()
        .iter()
        .map(|denial| denial.code)
        .collect();
    assert_eq!(denied, [Code::InterventionOver]);
}

#[test]
fn what_ends_or_changes_the_intervention_ends_it() {
    type Step = fn(Intervention) -> Result<Changed<Intervention>, Refusal>;
    let steps: [(&str, Step); 4] = [
        ("amend", |i| i.amend(plan_text(), &alice(), NOW)),
        ("close", |i| i.close(&alice(), "done", NOW)),
        ("revoke", |i| i.revoke_by_contact(&claire(), "stop", NOW)),
        ("security", |i| i.revoke_by_security(&sam(), "stop", NOW)),
    ];
    for (what, step) in steps {
        let (ended, event) = step(asked()).unwrap().into_parts();
        assert_eq!(ended.waiting_extension(NOW), None, "{what}");
        assert_eq!(ended.ended_extensions[0].fate, Fate::Overtaken, "{what}");
        assert_eq!(event.detail["extension"], "overtaken", "{what}");
        assert_eq!(event.detail["extension_version"], 2, "{what}");
        // Signed before, sent after.
        let signed = signed(&asked(), &claire(), &Decision::Approve);
        let outcome = ended.decide(&claire(), &people(), Decision::Approve, signed, NOW);
        let code = refused(outcome);
        assert!(
            ["wrong_state", "statement_differs"].contains(&code),
            "{what}: {code}"
        );
    }
}

#[test]
fn it_is_approved_by_whoever_could_approve_the_plan_and_nobody_else() {
    let with_email = |email: &str| {
        let mut contact = claire();
        contact.details.email = email.into();
        contact
    };
    let mut text = plan_text();
    text.operators.insert(olga().id);
    let asked_by_olga = || {
        intervention(&customer_id(), &text, "approved")
            .ask_extension(later(), WHY, &olga(), NOW)
            .unwrap()
            .into_parts()
            .0
    };
    let rows: [(&str, Contact, &str); 5] = [
        (
            "the requester's own mailbox",
            with_email("Alice@host.example."),
            "approver_is_requester",
        ),
        (
            "the mailbox of whoever asked",
            with_email("olga@host.example"),
            "approver_is_requester",
        ),
        (
            "another customer's",
            contact("claire", other_customer(), ContactKind::Approver),
            "another_customer",
        ),
        (
            "not an approver",
            contact("claire", customer_id(), ContactKind::Incident),
            "contact_not_approver",
        ),
        (
            "removed",
            claire().remove(by(), NOW).into_parts().0,
            "contact_removed",
        ),
    ];
    for (what, contact, code) in rows {
        for choice in [Decision::Approve, refusal_by_customer()] {
            let shown = asked_by_olga().statement(&contact, &people(), &choice, NONCE, NOW);
            assert_eq!(refused(shown), code, "{what}: nothing is shown to sign");
            let outcome = decision(asked_by_olga(), &contact, &people(), choice, NOW);
            assert_eq!(refused(outcome), code, "{what}");
        }
    }
    assert!(
        decision(
            asked_by_olga(),
            &claire(),
            &people(),
            Decision::Approve,
            NOW
        )
        .is_ok()
    );
}

#[test]
fn a_signature_over_anything_else_extends_nothing() {
    let asked = asked();
    let right = signed(&asked, &claire(), &Decision::Approve);
    let another_end = approved()
        .ask_extension(later().plus(HOUR), WHY, &alice(), NOW)
        .unwrap();
    let another_reason = approved()
        .ask_extension(later(), "the disk is slow", &alice(), NOW)
        .unwrap();
    let submitted = intervention(&customer_id(), &plan_text(), "submitted");
    let first = &approved().approvals[0];
    let replayed = |statement: Statement| Signed {
        statement,
        ..right.clone()
    };
    let edited = |from: &str, to: &str| {
        let text = right.statement.text();
        assert!(text.contains(from), "{text}");
        replayed(Statement::from_text(text.replace(from, to)))
    };
    let rows: [(&str, Signed); 9] = [
        (
            "the plan before",
            signed(&submitted, &claire(), &Decision::Approve),
        ),
        ("its approval again", replayed(first.statement.clone())),
        (
            "another end",
            signed(another_end.value(), &claire(), &Decision::Approve),
        ),
        (
            "another reason",
            signed(another_reason.value(), &claire(), &Decision::Approve),
        ),
        (
            "the refusal",
            signed(&asked, &claire(), &refusal_by_customer()),
        ),
        (
            "one more account",
            edited(
                r#""accounts":["root"]"#,
                r#""accounts":["postgres","root"]"#,
            ),
        ),
        (
            "another version",
            edited(r#""plan_version":2"#, r#""plan_version":3"#),
        ),
        (
            "without what it extends",
            edited(r#""version":1"#, r#""version":0"#),
        ),
        (
            "another nonce",
            Signed {
                nonce: "b3RoZXI".into(),
                ..right.clone()
            },
        ),
    ];
    for (what, signed) in rows {
        let outcome = asked
            .clone()
            .decide(&claire(), &people(), Decision::Approve, signed, NOW);
        assert_eq!(refused(outcome), "statement_differs", "{what}");
    }
    let outcome = asked.decide(&claire(), &people(), Decision::Approve, right.clone(), NOW);
    let extended = outcome.unwrap().into_parts().0;
    let outcome = extended.decide(&claire(), &people(), Decision::Approve, right, NOW);
    assert_eq!(refused(outcome), "wrong_state", "signed once, used once");
}

/// Whoever can write rows: each of these is seen, since the statement is of another text, or the
/// version says of itself what it is not.
#[test]
fn an_extension_that_was_written_by_hand_is_none() {
    type Change = fn(&mut PlanText);
    let rows: [(&str, Change); 6] = [
        ("a later end", |t| {
            t.window = window(NOW, later().plus(HOUR));
        }),
        ("an earlier start", |t| {
            t.window = window(NOW.minus(2 * HOUR), later());
        }),
        ("an operator", |t| _ = t.operators.insert(olga().id)),
        ("an account", |t| _ = t.accounts.insert(account("postgres"))),
        ("an operation", |t| {
            _ = t.operations.insert(Operation::Upload);
        }),
        ("a destination", |t| {
            t.forwards = parse_list("localhost:5432").unwrap();
        }),
    ];
    let extended = decided(&asked(), Decision::Approve);
    let first = extended.earlier_plans[0].clone();
    for (what, change) in rows {
        let mut row = serde_json::to_value(&extended).unwrap();
        let mut plan = extended.plan().clone();
        change(&mut plan.text);
        assert!(
            !plan.only_extends(&first) || what == "a later end",
            "{what}"
        );
        row["plan"] = serde_json::to_value(&plan).unwrap();
        let forged: Intervention = serde_json::from_value(row).unwrap();
        assert_eq!(forged.approval(), None, "{what}");
        let mut facts = good_facts();
        facts.intervention = Some(forged);
        let denials = decide(&facts, NOW).unwrap_err();
        assert_eq!(denials[0].code, Code::InterventionNotApproved, "{what}");
    }
    // A question that was moved into the place of the plan.
    let mut row = serde_json::to_value(asked()).unwrap();
    row["plan"] = row["extension"].clone();
    let forged: Intervention = serde_json::from_value(row).unwrap();
    assert_eq!(forged.approval(), None);
    // A question that asks for more than his page shows is not even shown for signing.
    let mut row = serde_json::to_value(asked()).unwrap();
    let mut plan = asked().awaited().clone();
    plan.text.operators.insert(olga().id);
    row["extension"] = serde_json::to_value(&plan).unwrap();
    let forged: Intervention = serde_json::from_value(row).unwrap();
    let shown = forged.statement(&claire(), &people(), &Decision::Approve, NONCE, NOW);
    assert_eq!(refused(shown), "statement_differs");
    let outcome = decision(forged, &claire(), &people(), Decision::Approve, NOW);
    assert_eq!(refused(outcome), "statement_differs");
    // A question that waits in a state in which nothing is asked decides nothing.
    let mut row = serde_json::to_value(intervention(&customer_id(), &plan_text(), "submitted"));
    let row = row.as_mut().unwrap();
    row["extension"] = serde_json::to_value(asked().awaited()).unwrap();
    let forged: Intervention = serde_json::from_value(row.clone()).unwrap();
    let outcome = decision(forged, &claire(), &people(), Decision::Approve, NOW);
    assert_eq!(refused(outcome), "wrong_state");
}

#[test]
fn a_session_goes_on_until_the_earliest_of_all_ends() {
    let mut facts = good_facts();
    facts.since = Some(NOW);
    let open = |facts: &Facts| {
        let permit = decide(facts, NOW).unwrap();
        Session::open(session("live").id, &permit, "", FactorUse::Fresh, NOW)
            .unwrap()
            .into_parts()
            .0
    };
    let opened = open(&facts);
    let follow = |facts: &Facts| {
        let permit = decide(facts, NOW).unwrap();
        opened.clone().follow(&permit, NOW).unwrap()
    };
    assert!(follow(&facts).is_none(), "nothing has changed");
    facts.intervention = Some(asked());
    assert!(follow(&facts).is_none(), "a question changes nothing");
    facts.intervention = Some(decided(&asked(), Decision::Approve));
    let (longer, event) = follow(&facts).unwrap().into_parts();
    assert_eq!((longer.ends_at, longer.plan_version), (later(), 2));
    assert_eq!(event.name, "session.continued");
    assert_eq!(event.detail["plan_version"], 2);
    assert_eq!(event.detail["ends_at_before"], end().rfc3339());
    assert_eq!(event.detail["ends_at"], later().rfc3339());
    // What is not the window's ends it as before.
    let half = Duration::from_mins(150);
    facts.policy.session_limit = half;
    let (bounded, _) = follow(&facts).unwrap().into_parts();
    assert_eq!(bounded.ends_at, NOW.plus(half));
}

#[test]
fn a_session_follows_no_permit_but_its_own() {
    let mut facts = good_facts();
    facts.since = Some(NOW);
    let mut stale = good_facts();
    stale.intervention = Some(decided(&asked(), Decision::Approve));
    let permit = decide(&stale, NOW).unwrap();
    let late = NOW.plus(access::Permit::FRESH_FOR).plus(INSTANT);
    assert_eq!(
        refused(session("live").follow(&permit, late)),
        "permit_stale"
    );
    for state in ["ended", "interrupted"] {
        assert_eq!(
            refused(session(state).follow(&permit, NOW)),
            "session_ended"
        );
    }
    let mut elsewhere = session("live");
    elsewhere.account = account("postgres");
    assert_eq!(refused(elsewhere.follow(&permit, NOW)), "another_permit");
    let mut another = session("live");
    another.source = "192.0.2.98".parse().unwrap();
    assert_eq!(refused(another.follow(&permit, NOW)), "another_permit");
}

// ---- helpers ----

fn suspended(operator: Operator) -> Operator {
    let changed = operator.suspend("on leave", by(), NOW);
    changed.unwrap().into_parts().0
}

fn end() -> Time {
    plan_text().window.end()
}

fn later() -> Time {
    end().plus(HOUR)
}

fn approved() -> Intervention {
    intervention(&customer_id(), &plan_text(), "approved")
}

fn asked() -> Intervention {
    let changed = approved().ask_extension(later(), WHY, &alice(), NOW);
    changed.unwrap().into_parts().0
}

fn decided(open: &Intervention, choice: Decision) -> Intervention {
    let changed = decision(open.clone(), &claire(), &people(), choice, NOW);
    changed.unwrap().into_parts().0
}

fn decision(
    open: Intervention,
    by: &Contact,
    people: &[Operator],
    choice: Decision,
    now: Time,
) -> Result<Changed<Intervention>, Refusal> {
    let signed = signed(&open, by, &choice);
    open.decide(by, people, choice, signed, now)
}
