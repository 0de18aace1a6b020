//! Each transition against each state: allowed from exactly those the domain names, refused from
//! all others; and by whom.

#![cfg(test)]

mod fixtures;

use access::approval::Decision;
use access::confirmation::{ALIVE, Confirmation};
use access::contact::ContactKind;
use access::forward::{ForwardTo, parse_list};
use access::grant::{Operation, ReviewEvery, Scope, Standing};
use access::intervention::{Phase, Signed};
use access::operator::Role;
use access::review::{Attested, ReviewDecision};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::session::FactorUse;
use access::{
    Changed, Contact, FactorId, Grant, GrantId, Intervention, InterventionId, Operator, Permit,
    Refusal, Session, SessionId, Time, Who, decide,
};
use fixtures::*;
use std::time::Duration;

// ---- the intervention ----

#[test]
fn an_intervention_moves_along_the_domains_arrows_and_no_others() {
    type Step = fn(Intervention) -> Result<Changed<Intervention>, Refusal>;
    type Arrows = &'static [(&'static str, &'static str)];
    let steps: [(&str, Step, Arrows); 13] = [
        (
            "submit",
            |i| i.submit(&alice(), NOW),
            &[("draft", "submitted")],
        ),
        (
            "amend",
            |i| i.amend(plan_text(), &alice(), NOW),
            &[
                ("draft", "draft"),
                ("submitted", "submitted"),
                ("info_requested", "submitted"),
                ("approved", "submitted"),
            ],
        ),
        (
            "ask",
            |i| i.ask(&claire(), "which disk?", NOW),
            &[("submitted", "info_requested")],
        ),
        (
            "answer",
            |i| i.answer(&alice(), "sdb", NOW),
            &[("info_requested", "submitted")],
        ),
        (
            "approve",
            |i| decision(i, &claire(), &people(), Decision::Approve, NOW),
            &[("submitted", "approved")],
        ),
        (
            "refuse",
            |i| decision(i, &claire(), &people(), refusal_by_customer(), NOW),
            &[("submitted", "refused")],
        ),
        (
            "withdraw",
            |i| i.withdraw(&alice(), NOW),
            &[
                ("draft", "withdrawn"),
                ("submitted", "withdrawn"),
                ("info_requested", "withdrawn"),
            ],
        ),
        (
            "revoke by contact",
            |i| i.revoke_by_contact(&claire(), "stop", NOW),
            &[("approved", "revoked")],
        ),
        (
            "revoke by security",
            |i| i.revoke_by_security(&sam(), "stop", NOW),
            &[("approved", "revoked")],
        ),
        (
            "close",
            |i| i.close(&alice(), "done", NOW),
            &[("approved", "closed")],
        ),
        (
            "time, before the end",
            |i| aged(i, end().minus(INSTANT)),
            &[],
        ),
        ("time, at the very end", |i| aged(i, end()), AT_THE_END),
        (
            "time, long after",
            |i| aged(i, end().plus(900 * DAY)),
            AT_THE_END,
        ),
    ];
    for (name, step, arrows) in steps {
        for from in STATES {
            let before = intervention(&customer_id(), &plan_text(), from);
            let to = arrows.iter().find(|(start, _)| *start == from);
            match (step(before), to) {
                (Ok(changed), Some((_, to))) => {
                    assert_eq!(state_of(changed.value()), *to, "{name} from {from}");
                }
                (Err(refusal), None) => {
                    assert_eq!(refusal.code, "wrong_state", "{name} from {from}");
                }
                (outcome, to) => panic!("{name} from {from}: {outcome:?}, expected {to:?}"),
            }
        }
    }
}

const AT_THE_END: &[(&str, &str)] = &[
    ("submitted", "expired"),
    ("info_requested", "expired"),
    ("approved", "closed"),
];

#[test]
fn only_the_requester_moves_his_request() {
    type Step = fn(Intervention, &Operator) -> Result<Changed<Intervention>, Refusal>;
    let steps: [(&str, Step); 4] = [
        ("draft", |i, by| i.submit(by, NOW)),
        ("submitted", |i, by| i.amend(plan_text(), by, NOW)),
        ("info_requested", |i, by| i.answer(by, "sdb", NOW)),
        ("submitted", |i, by| i.withdraw(by, NOW)),
    ];
    for (from, step) in steps {
        let open = || intervention(&customer_id(), &plan_text(), from);
        assert_eq!(refused(step(open(), &olga())), "not_requester", "{from}");
        assert_eq!(refused(step(open(), &sam())), "role_missing", "{from}");
        let suspended = suspended(alice());
        assert_eq!(refused(step(open(), &suspended)), "operator_suspended");
    }
}

#[test]
fn only_operators_and_managers_ask_for_an_intervention() {
    for (role, may) in [
        (Role::Operator, true),
        (Role::Manager, true),
        (Role::Security, false),
        (Role::Auditor, false),
        (Role::Admin, false),
    ] {
        let id = InterventionId::numbered(2026, 1);
        let drafted = Intervention::draft(id, customer_id(), plan_text(), &person("x", role), NOW);
        assert_eq!(drafted.is_ok(), may, "{role:?}");
    }
}

#[test]
fn nobody_but_an_own_active_independent_approver_decides() {
    let with_email = |email: &str| {
        let mut contact = claire();
        contact.details.email = email.into();
        contact
    };
    let rows: [(&str, Contact, &str); 9] = [
        (
            "same address",
            with_email("alice@host.example"),
            "approver_is_requester",
        ),
        (
            "in capitals",
            with_email("Alice@HOST.example"),
            "approver_is_requester",
        ),
        (
            "with white space",
            with_email(" alice@host.example\t"),
            "approver_is_requester",
        ),
        (
            "with a final dot",
            with_email("alice@host.example."),
            "approver_is_requester",
        ),
        (
            "a named operator",
            with_email("OLGA@host.example"),
            "approver_is_requester",
        ),
        (
            "another customer's",
            contact("claire", other_customer(), ContactKind::Approver),
            "another_customer",
        ),
        (
            "removed",
            claire().remove(by(), NOW).into_parts().0,
            "contact_removed",
        ),
        (
            "not an approver",
            contact("claire", customer_id(), ContactKind::Dpo),
            "contact_not_approver",
        ),
        (
            "health contact",
            contact("claire", customer_id(), ContactKind::Health),
            "contact_not_approver",
        ),
    ];
    let mut text = plan_text();
    text.operators.insert(olga().id);
    for (what, contact, code) in rows {
        for choice in [Decision::Approve, refusal_by_customer()] {
            let open = intervention(&customer_id(), &text, "submitted");
            let shown = open.statement(&contact, &people(), &choice, NONCE, NOW);
            assert_eq!(
                refused(shown),
                code,
                "{what}: nothing is even shown to sign"
            );
            let outcome = decision(open, &contact, &people(), choice, NOW);
            assert_eq!(refused(outcome), code, "{what}");
        }
    }
}

#[test]
fn a_contact_who_cannot_decide_can_neither_ask_nor_revoke() {
    let removed = claire().remove(by(), NOW).into_parts().0;
    let stranger = contact("claire", other_customer(), ContactKind::Approver);
    for (contact, code) in [(removed, "contact_removed"), (stranger, "another_customer")] {
        let open = intervention(&customer_id(), &plan_text(), "submitted");
        assert_eq!(refused(open.ask(&contact, "which disk?", NOW)), code);
        let approved = intervention(&customer_id(), &plan_text(), "approved");
        assert_eq!(
            refused(approved.revoke_by_contact(&contact, "stop", NOW)),
            code
        );
    }
}

#[test]
fn a_named_operator_who_is_not_registered_stops_the_decision() {
    let open = intervention(&customer_id(), &plan_text(), "submitted");
    let outcome = decision(open.clone(), &claire(), &[], Decision::Approve, NOW);
    assert_eq!(refused(outcome), "person_unknown");
    let outcome = decision(open, &claire(), &[olga()], Decision::Approve, NOW);
    assert_eq!(refused(outcome), "person_unknown");
}

#[test]
fn what_was_signed_must_be_this_very_decision() {
    let open = intervention(&customer_id(), &plan_text(), "submitted");
    let right = signed(&open, &claire(), &Decision::Approve);
    let amended = open.clone().amend(plan_text(), &alice(), NOW).unwrap();
    let other_contact = contact("yves", customer_id(), ContactKind::Approver);
    let elsewhere = intervention(&other_customer(), &plan_text(), "submitted");
    let spaced = format!("{} ", right.statement.text());
    let rows: [(&str, Signed); 6] = [
        (
            "another version",
            signed(amended.value(), &claire(), &Decision::Approve),
        ),
        (
            "another decision",
            signed(&open, &claire(), &refusal_by_customer()),
        ),
        (
            "another approver",
            signed(&open, &other_contact, &Decision::Approve),
        ),
        (
            "another customer",
            signed(&elsewhere, &claire(), &Decision::Approve),
        ),
        (
            "another nonce",
            Signed {
                nonce: "b3RoZXI".into(),
                ..right.clone()
            },
        ),
        (
            "another text",
            Signed {
                statement: access::approval::Statement::from_text(spaced),
                ..right.clone()
            },
        ),
    ];
    for (what, signed) in rows {
        let outcome = open
            .clone()
            .decide(&claire(), &people(), Decision::Approve, signed, NOW);
        assert_eq!(refused(outcome), "statement_differs", "{what}");
    }
    let outcome = open.decide(&claire(), &people(), Decision::Approve, right, NOW);
    assert_eq!(state_of(outcome.unwrap().value()), "approved");
}

#[test]
fn an_answer_at_the_deadline_is_too_late() {
    let open = || intervention(&customer_id(), &plan_text(), "submitted");
    let on_time = end().minus(INSTANT);
    assert!(decision(open(), &claire(), &people(), Decision::Approve, on_time).is_ok());
    for late in [end(), end().plus(DAY)] {
        for choice in [Decision::Approve, refusal_by_customer()] {
            let outcome = decision(open(), &claire(), &people(), choice, late);
            assert_eq!(refused(outcome), "deadline_over");
        }
    }
}

/// Whether or not the bastion has already written down that it is over.
#[test]
fn what_time_has_ended_is_not_brought_back_to_life() {
    let mut later = plan_text();
    later.window = window(end().plus(HOUR), end().plus(2 * HOUR));
    for (from, at, code) in [
        ("submitted", end(), "deadline_over"),
        ("info_requested", end(), "deadline_over"),
        ("approved", end(), "deadline_over"),
    ] {
        let over = intervention(&customer_id(), &plan_text(), from);
        assert_eq!(
            refused(over.amend(later.clone(), &alice(), at)),
            code,
            "{from}"
        );
    }
    let asked = intervention(&customer_id(), &plan_text(), "info_requested");
    assert_eq!(
        refused(asked.answer(&alice(), "sdb", end())),
        "deadline_over"
    );
    let open = intervention(&customer_id(), &plan_text(), "submitted");
    assert_eq!(
        refused(open.ask(&claire(), "which disk?", end())),
        "deadline_over"
    );
}

#[test]
fn an_edit_makes_a_new_version_and_keeps_the_old_one() {
    let approved = intervention(&customer_id(), &plan_text(), "approved");
    let first = approved.plan().clone();
    assert!(approved.approval().is_some());
    let amended = approved
        .amend(plan_text(), &alice(), NOW)
        .unwrap()
        .into_parts()
        .0;
    assert_eq!(amended.plan().number, 2);
    assert_ne!(
        amended.plan().hash(),
        first.hash(),
        "even where no word changed"
    );
    assert_eq!(amended.earlier_plans, [first]);
    assert_eq!(amended.approvals.len(), 1, "history is kept");
    assert_eq!(amended.approval(), None, "and counts no longer");
}

#[test]
fn an_approval_whose_statement_was_not_shown_for_signing_is_none() {
    let approved = intervention(&customer_id(), &plan_text(), "approved");
    let text = approved.approvals[0].statement.text().to_owned();
    let made_up = [
        "I approve everything".to_owned(),
        "{}".to_owned(),
        r#"{"nonce":"bm9uY2U"}"#.to_owned(),
        format!("{text} "),
        text.replace("\"decision\":\"approve\"", "\"decision\":\"refuse\""),
        text.replace("\"approver\":\"claire\"", "\"approver\":\"somebody\""),
        text.replace("\"shell\"", "\"shell\",\"upload\""),
    ];
    for other in made_up {
        assert_ne!(other, text);
        let mut forged = approved.clone();
        forged.approvals[0].statement = access::approval::Statement::from_text(other.clone());
        assert_eq!(forged.approval(), None, "{other}");
    }
    // Another nonce is another statement, and one of this plan still: the assertion tells.
    let mut renewed = approved.clone();
    renewed.approvals[0].statement =
        access::approval::Statement::from_text(text.replace("bm9uY2U", "b3RoZXI"));
    assert!(renewed.approval().is_some());
}

#[test]
fn a_plan_nobody_could_decide_on_is_not_taken() {
    type Change = fn(&mut access::plan::PlanText);
    let rows: [(&str, Change, &str); 21] = [
        ("purpose", |t| t.purpose = "short".into(), "text_missing"),
        ("spaces", |t| t.purpose = " ".repeat(40), "text_missing"),
        (
            "unseen",
            |t| t.purpose = "\u{200b}".repeat(40),
            "text_missing",
        ),
        ("turned", |t| t.purpose.push('\u{202e}'), "text_not_plain"),
        ("control", |t| t.rollback.push('\u{1b}'), "text_not_plain"),
        ("long", |t| t.purpose = "x".repeat(2001), "text_too_long"),
        ("nature", |t| t.nature.clear(), "text_missing"),
        ("impact", |t| t.impact.clear(), "text_missing"),
        ("rollback", |t| t.rollback.clear(), "text_missing"),
        ("operators", |t| t.operators.clear(), "plan_incomplete"),
        ("targets", |t| t.targets.clear(), "plan_incomplete"),
        ("accounts", |t| t.accounts.clear(), "plan_incomplete"),
        ("operations", |t| t.operations.clear(), "plan_incomplete"),
        (
            "over",
            |t| t.window = window(NOW.minus(HOUR), NOW),
            "window_over",
        ),
        (
            "too long a window",
            |t| t.window = window(NOW, NOW.plus(31 * DAY + INSTANT)),
            "window_too_long",
        ),
        (
            "nobody accountable",
            |t| t.accountable = None,
            "accountable_missing",
        ),
        (
            "accountable",
            |t| t.accountable = Some(" ".into()),
            "accountable_missing",
        ),
        (
            "accountable, unseen",
            |t| t.accountable = Some("\u{200b}\u{200b}".into()),
            "accountable_missing",
        ),
        (
            "reference",
            |t| t.reference = Some("\u{202e}7-GHC".into()),
            "text_not_plain",
        ),
        (
            "destinations without forward",
            |t| t.forwards = parse_list("localhost:80").unwrap(),
            "destinations_without_forward",
        ),
        (
            "destinations",
            |t| {
                t.operations.insert(Operation::Forward);
                t.forwards = (1..=17).map(destination).collect();
            },
            "too_many_destinations",
        ),
    ];
    let id = || InterventionId::numbered(2026, 1);
    for (what, change, code) in rows {
        let mut text = plan_text();
        change(&mut text);
        let drafted = Intervention::draft(id(), customer_id(), text.clone(), &alice(), NOW);
        assert_eq!(refused(drafted), code, "{what}");
        let open = intervention(&customer_id(), &plan_text(), "submitted");
        assert_eq!(refused(open.amend(text, &alice(), NOW)), code, "{what}");
    }
    let mut longest = plan_text();
    longest.window = window(NOW, NOW.plus(31 * DAY));
    assert!(Intervention::draft(id(), customer_id(), longest, &alice(), NOW).is_ok());
}

#[test]
fn a_draft_whose_window_went_by_is_not_submitted() {
    let draft = intervention(&customer_id(), &plan_text(), "draft");
    assert_eq!(refused(draft.submit(&alice(), end())), "window_over");
}

#[test]
fn only_its_own_people_close_an_intervention() {
    let mut text = plan_text();
    text.operators = one(olga().id);
    let approved = || intervention(&customer_id(), &text, "approved");
    assert!(approved().close(&alice(), "done", NOW).is_ok(), "requester");
    assert!(approved().close(&olga(), "done", NOW).is_ok(), "operator");
    let stranger = person("zoe", Role::Operator);
    assert_eq!(
        refused(approved().close(&stranger, "done", NOW)),
        "not_in_intervention"
    );
    assert_eq!(
        refused(approved().close(&suspended(olga()), "done", NOW)),
        "operator_suspended"
    );
    assert_eq!(refused(approved().close(&olga(), "", NOW)), "text_missing");
}

#[test]
fn only_security_revokes_on_the_hosts_side() {
    for role in [Role::Operator, Role::Manager, Role::Auditor, Role::Admin] {
        let approved = intervention(&customer_id(), &plan_text(), "approved");
        let outcome = approved.revoke_by_security(&person("x", role), "stop", NOW);
        assert_eq!(refused(outcome), "role_missing", "{role:?}");
    }
    let approved = intervention(&customer_id(), &plan_text(), "approved");
    let outcome = approved.revoke_by_security(&suspended(sam()), "stop", NOW);
    assert_eq!(refused(outcome), "operator_suspended");
}

#[test]
fn a_revoked_intervention_is_refused_at_once() {
    let mut facts = good_facts();
    assert!(decide(&facts, NOW).is_ok());
    let revoked = facts.intervention.take().unwrap();
    let revoked = revoked.revoke_by_security(&sam(), "stop", NOW).unwrap();
    facts.intervention = Some(revoked.into_parts().0);
    let denials = decide(&facts, NOW).unwrap_err();
    assert_eq!(denials[0].code, access::decide::Code::InterventionRevoked);
}

#[test]
fn the_phase_follows_the_window_to_the_instant() {
    let approved = intervention(&customer_id(), &plan_text(), "approved");
    let start = plan_text().window.start();
    for (now, phase) in [
        (start.minus(INSTANT), Phase::Approved),
        (start, Phase::Open),
        (end().minus(INSTANT), Phase::Open),
        (end(), Phase::Over),
    ] {
        assert_eq!(approved.phase(now), phase, "{now}");
    }
}

// ---- the grant ----

#[test]
fn a_grant_moves_along_the_domains_arrows_and_no_others() {
    type Step = fn(Grant) -> Result<Changed<Grant>, Refusal>;
    type Arrows = &'static [(&'static str, &'static str)];
    let steps: [(&str, Step, Arrows, &str); 7] = [
        (
            "approve",
            |g| g.approve(&bob(), NOW),
            &[("proposed", "active")],
            "grant_not_proposed",
        ),
        (
            "accept in set-up",
            |g| g.accept_in_setup(by(), NOW),
            &[("proposed", "active")],
            "grant_not_proposed",
        ),
        (
            "keep",
            |g| g.review(&bob(), review(&bob(), ReviewDecision::Keep), NOW),
            &[("active", "active")],
            "grant_not_active",
        ),
        (
            "reduce",
            |g| {
                let decision = ReviewDecision::Reduce { scope: scope() };
                g.review(&bob(), review(&bob(), decision), NOW)
            },
            &[("active", "active")],
            "grant_not_active",
        ),
        (
            "withdraw by review",
            |g| g.review(&bob(), review(&bob(), ReviewDecision::Withdraw), NOW),
            &[("active", "withdrawn")],
            "grant_not_active",
        ),
        (
            "withdraw",
            |g| g.withdraw("moved on", by(), NOW),
            &[("proposed", "withdrawn"), ("active", "withdrawn")],
            "grant_not_active",
        ),
        (
            "call for review",
            |g| g.call_for_review(NOW, by(), NOW),
            &[("active", "active")],
            "grant_not_active",
        ),
    ];
    for (name, step, arrows, code) in steps {
        for from in GRANT_STATES {
            let to = arrows.iter().find(|(start, _)| *start == from);
            match (step(grant(from)), to) {
                (Ok(changed), Some((_, to))) => {
                    assert_eq!(state_of(changed.value()), *to, "{name} from {from}");
                }
                (Err(refusal), None) => assert_eq!(refusal.code, code, "{name} from {from}"),
                (outcome, to) => panic!("{name} from {from}: {outcome:?}, expected {to:?}"),
            }
        }
    }
}

#[test]
fn proposer_approver_holder_and_reviewer_of_a_right_differ() {
    let id = || GrantId::from_random([1; 16]);
    let holder = Who::Operator(alice().id);
    let own = Grant::propose(id(), terms(), holder.clone(), NOW);
    assert_eq!(refused(own), "own_right", "holder proposes");
    let mut manager = alice();
    manager.details.roles.insert(Role::Manager);
    let own = proposed_grant().approve(&manager, NOW);
    assert_eq!(refused(own), "own_right", "holder approves");
    let own = proposed_grant().accept_in_setup(holder, NOW);
    assert_eq!(refused(own), "own_right", "holder accepts in set-up");
    let by_bob = Grant::propose(id(), terms(), Who::Operator(bob().id), NOW).unwrap();
    let own = by_bob.into_parts().0.approve(&bob(), NOW);
    assert_eq!(refused(own), "same_person", "proposer approves");
    let own = active_grant().review(&manager, review(&manager, ReviewDecision::Keep), NOW);
    assert_eq!(refused(own), "own_right", "holder reviews");
    let lent = active_grant().review(&bob(), review(&manager, ReviewDecision::Keep), NOW);
    assert_eq!(refused(lent), "reviewer_differs", "in another's name");
}

#[test]
fn a_right_proposed_at_the_command_line_takes_two_people() {
    let by = Who::CommandLine("root".to_owned());
    let proposed = Grant::propose(GrantId::from_random([1; 16]), terms(), by, NOW).unwrap();
    let first = bob();
    let seconded = proposed.into_parts().0.approve(&first, NOW).unwrap();
    assert_eq!(seconded.event().name, "grant.seconded");
    let grant = seconded.into_parts().0;
    assert_eq!(grant.standing(NOW), Standing::Proposed);
    let again = grant.clone().approve(&first, NOW);
    assert_eq!(refused(again), "same_person", "one person twice");
    let second = person("carol", Role::Security);
    let approved = grant.approve(&second, NOW).unwrap();
    assert_eq!(approved.event().name, "grant.approved");
    assert_eq!(approved.into_parts().0.standing(NOW), Standing::InForce);
}

#[test]
fn only_managers_and_security_give_and_review_rights() {
    for (role, may) in [
        (Role::Manager, true),
        (Role::Security, true),
        (Role::Operator, false),
        (Role::Auditor, false),
        (Role::Admin, false),
    ] {
        let person = person("x", role);
        let keep = || review(&person, ReviewDecision::Keep);
        assert_eq!(
            proposed_grant().approve(&person, NOW).is_ok(),
            may,
            "{role:?}"
        );
        assert_eq!(
            active_grant().review(&person, keep(), NOW).is_ok(),
            may,
            "{role:?}"
        );
        let stopped = suspended(person.clone());
        assert!(proposed_grant().approve(&stopped, NOW).is_err(), "{role:?}");
        assert!(
            active_grant().review(&stopped, keep(), NOW).is_err(),
            "{role:?}"
        );
    }
}

#[test]
fn a_right_is_kept_only_with_all_three_attestations() {
    for missing in 0..3 {
        for decision in [
            ReviewDecision::Keep,
            ReviewDecision::Reduce { scope: scope() },
        ] {
            let mut incomplete = review(&bob(), decision);
            let given = &mut incomplete.attestations;
            match missing {
                0 => given.nominative = Attested::No,
                1 => given.justified = Attested::No,
                _ => given.necessary = Attested::No,
            }
            let outcome = active_grant().review(&bob(), incomplete, NOW);
            assert_eq!(refused(outcome), "attestation_missing", "{missing}");
        }
    }
    let mut withdraw = review(&bob(), ReviewDecision::Withdraw);
    withdraw.attestations.necessary = Attested::No;
    assert!(active_grant().review(&bob(), withdraw, NOW).is_ok());
    let mut silent = review(&bob(), ReviewDecision::Keep);
    silent.comment.clear();
    assert_eq!(
        refused(active_grant().review(&bob(), silent, NOW)),
        "text_missing"
    );
}

#[test]
fn a_review_never_widens_a_right() {
    type Change = fn(&mut Scope);
    let rows: [(Change, &str); 6] = [
        (
            |s| _ = s.targets.insert(target_id("db2.chu-exemple")),
            "scope_wider",
        ),
        (
            |s| _ = s.accounts.insert(account("postgres")),
            "scope_wider",
        ),
        (
            |s| _ = s.operations.insert(Operation::Forward),
            "scope_wider",
        ),
        (|s| s.targets.clear(), "scope_empty"),
        (|s| s.accounts.clear(), "scope_empty"),
        (|s| s.operations.clear(), "scope_empty"),
    ];
    for (change, code) in rows {
        let mut scope = scope();
        change(&mut scope);
        let decision = ReviewDecision::Reduce { scope };
        let outcome = active_grant().review(&bob(), review(&bob(), decision), NOW);
        assert_eq!(refused(outcome), code);
    }
    let mut less = scope();
    less.operations = one(Operation::Shell);
    let decision = ReviewDecision::Reduce {
        scope: less.clone(),
    };
    let reduced = active_grant()
        .review(&bob(), review(&bob(), decision), NOW)
        .unwrap();
    assert_eq!(reduced.value().terms.scope, less);
}

#[test]
fn a_right_to_nothing_or_for_no_reason_is_not_proposed() {
    type Change = fn(&mut access::grant::Terms);
    let rows: [(Change, &str); 5] = [
        (|t| t.scope.targets.clear(), "scope_empty"),
        (|t| t.scope.accounts.clear(), "scope_empty"),
        (|t| t.scope.operations.clear(), "scope_empty"),
        (|t| t.justification = "because".into(), "text_missing"),
        (|t| t.justification = "\u{2060}".repeat(20), "text_missing"),
    ];
    for (change, code) in rows {
        let mut terms = terms();
        change(&mut terms);
        let outcome = Grant::propose(GrantId::from_random([1; 16]), terms, by(), NOW);
        assert_eq!(refused(outcome), code);
    }
}

#[test]
fn a_review_moves_the_next_one_by_its_period_and_dates_itself() {
    for (every, due) in [
        (ReviewEvery::Year, "2027-11-24T09:00:00Z"),
        (ReviewEvery::Quarter, "2027-02-24T09:00:00Z"),
    ] {
        let mut grant = active_grant();
        grant.terms.review_every = every;
        let mut future = review(&bob(), ReviewDecision::Keep);
        future.at = NOW.plus(300 * DAY);
        let kept = grant.review(&bob(), future, NOW).unwrap().into_parts().0;
        assert_eq!(kept.review_due().unwrap().rfc3339(), due);
        assert_eq!(kept.reviews[0].at, NOW, "not the date it claims");
    }
}

#[test]
fn a_review_is_called_forward_and_never_put_off() {
    let due = active_grant().review_due().unwrap();
    let later = active_grant().call_for_review(due.plus(INSTANT), by(), NOW);
    assert_eq!(refused(later), "review_postponed");
    let called = active_grant()
        .call_for_review(NOW, by(), NOW)
        .unwrap()
        .into_parts()
        .0;
    assert_eq!(called.standing(NOW.minus(INSTANT)), Standing::InForce);
    assert_eq!(called.standing(NOW), Standing::ReviewOverdue);
    let back = called.clone().call_for_review(due, by(), NOW);
    assert_eq!(refused(back), "review_postponed", "nor back again");
    let reviewed = called
        .review(&bob(), review(&bob(), ReviewDecision::Keep), NOW)
        .unwrap();
    assert_eq!(reviewed.value().standing(NOW), Standing::InForce);
}

#[test]
fn a_row_that_claims_a_later_review_than_its_period_allows_stops_in_time() {
    let mut row = serde_json::to_value(active_grant()).unwrap();
    row["review_due"] = i64::MAX.into();
    row["terms"]["validity"]["end"] = i64::MAX.into();
    let grant: Grant = serde_json::from_value(row).unwrap();
    let due = active_grant().review_due().unwrap();
    assert_eq!(grant.review_due(), Some(due));
    assert_eq!(grant.standing(due), Standing::ReviewOverdue);
}

#[test]
fn between_decisions_a_right_only_ever_gets_less() {
    let rank = |standing| match standing {
        Standing::Proposed => 0,
        Standing::NotStarted => 1,
        Standing::InForce => 2,
        Standing::ReviewOverdue => 3,
        Standing::Expired => 4,
        Standing::Withdrawn => 5,
    };
    let mut numbers = Numbers(42);
    for _ in 0..2000 {
        let mut terms = terms();
        let start = NOW.plus(numbers.below(500) * DAY).minus(250 * DAY);
        terms.validity = window(start, start.plus(INSTANT + numbers.below(800) * DAY));
        let id = GrantId::from_random([1; 16]);
        let manager = Who::Operator(person("paul", Role::Manager).id);
        let proposed = Grant::propose(id, terms, manager, NOW)
            .unwrap()
            .into_parts()
            .0;
        let mut grant = proposed.approve(&bob(), NOW).unwrap().into_parts().0;
        if numbers.below(2) == 0 {
            let due = NOW.plus(numbers.below(360) * DAY);
            grant = grant
                .call_for_review(due, by(), NOW)
                .unwrap()
                .into_parts()
                .0;
        }
        if numbers.below(10) == 0 {
            grant = grant
                .withdraw("moved on", by(), NOW)
                .unwrap()
                .into_parts()
                .0;
        }
        let mut now = NOW.minus(300 * DAY);
        let mut before = rank(grant.standing(now));
        for _ in 0..40 {
            now = now.plus(numbers.below(40) * DAY + INSTANT * numbers.below(3));
            let after = rank(grant.standing(now));
            assert!(after >= before, "{grant:?} at {now}");
            before = after;
        }
    }
}

#[test]
fn a_period_of_months_is_never_longer_than_the_calendar_says() {
    let mut day = Time::parse("1999-12-31T23:59:59Z").unwrap();
    for _ in 0..200_000 {
        for (months, longest) in [(3, 92), (12, 366)] {
            let later = day.plus_months(months);
            assert!(later > day && later.since(day) <= longest * DAY, "{day}");
        }
        day = day.plus(DAY);
    }
    for extreme in [i64::MIN, i64::MAX, i64::MAX - 1] {
        let extreme = Time::from_micros(extreme);
        assert_eq!(extreme.plus_months(12), extreme, "due at once");
    }
    let last = Time::parse("9999-06-01T00:00:00Z").unwrap();
    assert_eq!(last.plus_months(12), last, "due at once");
}

// ---- the session ----

#[test]
fn a_session_ends_once() {
    type Step = fn(Session) -> Result<Changed<Session>, Refusal>;
    let steps: [(Step, &str); 2] = [
        (|s| s.end("logout", "ab12", by(), NOW), "ended"),
        (|s| s.interrupt("ab12", NOW), "interrupted"),
    ];
    for (step, to) in steps {
        for from in SESSION_STATES {
            let outcome = step(session(from));
            if from == "live" {
                assert_eq!(state_of(outcome.unwrap().value()), to);
            } else {
                assert_eq!(refused(outcome), "session_ended", "{from} to {to}");
            }
        }
    }
}

#[test]
fn a_session_always_has_a_motive() {
    let longest = "x".repeat(2000);
    for (typed, motive) in [
        ("look at the disk", Ok("look at the disk")),
        ("  look at the disk\n", Ok("look at the disk")),
        ("", Ok("replace the disk of the archive")),
        (" \t\n", Ok("replace the disk of the archive")),
        (longest.as_str(), Ok(longest.as_str())),
        (&"x".repeat(2001), Err("text_too_long")),
        ("ok", Err("text_missing")),
        ("\u{200b}\u{200b}\u{200b}", Err("text_missing")),
        ("the disk\u{1b}[2J", Err("text_not_plain")),
        ("the \u{202e}disk", Err("text_not_plain")),
    ] {
        let outcome = open(&permit(), typed, NOW);
        let kept = outcome.as_ref().map(|c| c.value().motive.as_str());
        assert_eq!(kept.map_err(|refusal| refusal.code), motive, "{typed:?}");
    }
}

#[test]
fn a_session_carries_everything_it_was_permitted_for() {
    let permit = permit();
    let opened = open(&permit, "", NOW).unwrap().into_parts().0;
    assert_eq!(&opened.operator, permit.operator());
    assert_eq!(&opened.customer, permit.customer());
    assert_eq!(opened.target, permit.target().id);
    assert_eq!(&opened.account, permit.account());
    assert_eq!(&opened.grant, permit.grant());
    assert_eq!(&opened.intervention, permit.intervention());
    assert_eq!(opened.plan_version, permit.plan_version());
    assert_eq!(opened.source, permit.source());
    assert_eq!((opened.started_at, opened.ends_at), (NOW, permit.ends_at()));
    assert!(opened.factor_reused, "said in the trace");
}

#[test]
fn a_permit_that_was_kept_opens_nothing() {
    let fresh = NOW.plus(Permit::FRESH_FOR);
    assert!(open(&permit(), "", fresh).is_ok());
    assert_eq!(
        refused(open(&permit(), "", fresh.plus(INSTANT))),
        "permit_stale"
    );
    assert_eq!(refused(open(&permit(), "", end())), "permit_stale");
    let mut facts = good_facts();
    facts.policy.session_limit = Duration::from_secs(5);
    let short = decide(&facts, NOW).unwrap();
    let over = NOW.plus(Duration::from_secs(5));
    assert_eq!(refused(open(&short, "", over)), "permit_stale");
}

// ---- people, systems, factors ----

#[test]
fn who_is_suspended_may_nothing_until_another_resumes_him() {
    let every = [
        Role::Operator,
        Role::Manager,
        Role::Security,
        Role::Auditor,
        Role::Admin,
    ];
    for held in every {
        for asked in every {
            let may = person("x", held).may(asked);
            assert_eq!(may.is_ok(), held == asked, "{held:?} {asked:?}");
        }
        assert_eq!(
            refused(suspended(person("x", held)).may(held)),
            "operator_suspended"
        );
    }
    let own = suspended(alice()).resume(Who::Operator(alice().id), NOW);
    assert_eq!(refused(own), "own_right");
    let resumed = suspended(alice()).resume(by(), NOW).unwrap().into_parts().0;
    assert!(resumed.may(Role::Operator).is_ok());
    assert_eq!(refused(alice().suspend("", by(), NOW)), "text_missing");
    let again = suspended(alice()).suspend("still away", by(), NOW).unwrap();
    assert_eq!(state_of(again.value()), "suspended");
}

#[test]
fn nobody_gives_himself_a_wider_reach() {
    type Change = fn(&mut access::operator::OperatorDetails);
    let rows: [(&str, Change, bool); 6] = [
        ("roles", |d| _ = d.roles.insert(Role::Admin), false),
        (
            "actor",
            |d| d.actor = access::ActorId::parse("another").unwrap(),
            false,
        ),
        ("networks", |d| d.sources.clear(), false),
        ("e-mail", |d| d.email = "x@host.example".into(), false),
        ("keys", |d| d.keys.push("ssh-ed25519 AAAA".into()), true),
        ("name", |d| d.name = "Alice Martin".into(), true),
    ];
    let mut alice = alice();
    alice.details.sources = vec![access::operator::Network::parse("192.0.2.0/24").unwrap()];
    for (what, change, own) in rows {
        let mut details = alice.details.clone();
        change(&mut details);
        let myself = Who::Operator(alice.id.clone());
        let outcome = alice.clone().amend(details.clone(), myself, NOW);
        assert_eq!(outcome.is_ok(), own, "{what}");
        assert!(alice.clone().amend(details, by(), NOW).is_ok(), "{what}");
    }
    for (kind, email, own) in [
        (ContactKind::Approver, "claire@hospital.example", true),
        (ContactKind::Dpo, "claire@hospital.example", false),
        (ContactKind::Approver, "x@hospital.example", false),
    ] {
        let mut details = contact_details("claire", kind);
        details.email = email.into();
        let myself = Who::Contact(claire().id);
        let outcome = claire().amend(details.clone(), myself, NOW);
        assert_eq!(outcome.is_ok(), own, "{kind:?} {email}");
        assert!(claire().amend(details, by(), NOW).is_ok());
    }
}

#[test]
fn what_was_removed_or_revoked_stays_so_with_its_first_date() {
    let later = NOW.plus(DAY);
    let removed = claire().remove(by(), NOW).into_parts().0;
    let details = contact_details("claire", ContactKind::Approver);
    let still = removed.clone().amend(details, by(), later).unwrap();
    assert_eq!(refused(still.value().may_approve()), "contact_removed");
    let still = removed.clone().confirm(by(), later);
    assert_eq!(refused(still.value().may_approve()), "contact_removed");
    assert_eq!(
        removed.clone().remove(by(), later).value().state,
        removed.state
    );

    let revoked = passkey().revoke(by(), NOW).into_parts().0;
    assert_eq!(revoked.revoked_at, Some(NOW));
    assert_eq!(
        revoked.clone().revoke(by(), later).value().revoked_at,
        Some(NOW)
    );
    let used = revoked.used("{}".into(), later);
    assert_eq!(used.value().revoked_at, Some(NOW));
}

#[test]
fn a_use_moves_a_passkeys_counter_and_nothing_of_a_code_generator() {
    let used = passkey().used("counter 2".into(), NOW).into_parts().0;
    let Factor::Passkey { credential, .. } = used.factor else {
        panic!("it was a passkey");
    };
    assert_eq!(credential, "counter 2");
    let totp = Factor::Totp {
        sealed_secret: "sealed".into(),
    };
    let mut generator = passkey();
    generator.factor = totp.clone();
    assert_eq!(generator.used("x".into(), NOW).value().factor, totp);
}

#[test]
fn actors_and_targets_stop_and_start_again() {
    let stopped = actor().suspend("certificate lapsed", by(), NOW).unwrap();
    assert_eq!(state_of(stopped.value()), "suspended");
    let again = stopped
        .into_parts()
        .0
        .suspend("still lapsed", by(), NOW)
        .unwrap();
    assert_eq!(state_of(again.value()), "suspended");
    let resumed = again.into_parts().0.resume(by(), NOW).into_parts().0;
    assert_eq!(state_of(&resumed), "active");
    assert_eq!(state_of(resumed.resume(by(), NOW).value()), "active");

    let closed = target().disable("retired", by(), NOW).unwrap();
    assert_eq!(state_of(closed.value()), "disabled");
    let again = closed.into_parts().0.disable("retired", by(), NOW).unwrap();
    let opened = again.into_parts().0.enable(by(), NOW).into_parts().0;
    assert_eq!(state_of(&opened), "enabled");
    assert_eq!(state_of(opened.enable(by(), NOW).value()), "enabled");
}

#[test]
fn a_target_never_changes_hands() {
    let mut details = target_details();
    details.customer = other_customer();
    let outcome = target().amend(details, by(), NOW);
    assert_eq!(refused(outcome), "target_of_another_customer");
}

#[test]
fn a_confirmation_moves_along_its_arrows_and_no_others() {
    type Step = fn(Confirmation) -> Result<Changed<Confirmation>, Refusal>;
    type Arrows = &'static [(&'static str, &'static str)];
    let steps: [(&str, Step, Arrows); 4] = [
        (
            "right number",
            |c| c.confirm(&alice().id, passkey_id(), 42, NOW),
            &[("waiting", "confirmed")],
        ),
        (
            "wrong number",
            |c| c.confirm(&alice().id, passkey_id(), 43, NOW),
            &[("waiting", "denied")],
        ),
        ("take", |c| c.take(NOW), &[("confirmed", "used")]),
        ("take too late", |c| c.take(NOW.plus(ALIVE)), &[]),
    ];
    for (name, step, arrows) in steps {
        for from in CONFIRMATION_STATES {
            let to = arrows.iter().find(|(start, _)| *start == from);
            match (step(confirmation(from)), to) {
                (Ok(changed), Some((_, to))) => {
                    assert_eq!(state_of(changed.value()), *to, "{name} from {from}");
                }
                (Err(_), None) => {}
                (outcome, to) => panic!("{name} from {from}: {outcome:?}, expected {to:?}"),
            }
        }
    }
    let early = confirmation("waiting").confirm(&alice().id, passkey_id(), 42, NOW.minus(INSTANT));
    assert_eq!(
        refused(early),
        "confirmation_over",
        "before it was asked for"
    );
}

// ---- helpers ----

fn decision(
    intervention: Intervention,
    contact: &Contact,
    people: &[Operator],
    decision: Decision,
    now: Time,
) -> Result<Changed<Intervention>, Refusal> {
    let signed = signed(&intervention, contact, &decision);
    intervention.decide(contact, people, decision, signed, now)
}

/// What time does, as a transition.
fn aged(intervention: Intervention, now: Time) -> Result<Changed<Intervention>, Refusal> {
    intervention.aged(now).ok_or(Refusal {
        code: "wrong_state",
        sentence: "time changes nothing".into(),
    })
}

fn destination(port: u16) -> ForwardTo {
    ForwardTo::parse(&format!("localhost:{port}")).unwrap()
}

fn end() -> Time {
    plan_text().window.end()
}

fn suspended(operator: Operator) -> Operator {
    operator
        .suspend("on leave", by(), NOW)
        .unwrap()
        .into_parts()
        .0
}

fn permit() -> Permit {
    decide(&good_facts(), NOW).unwrap()
}

fn open(permit: &Permit, motive: &str, now: Time) -> Result<Changed<Session>, Refusal> {
    let id = SessionId::from_random([9; 16]);
    Session::open(id, permit, motive, FactorUse::Reused, now)
}

fn passkey() -> SecondFactor {
    let factor = Factor::Passkey {
        credential_id: "Y3JlZA".into(),
        credential: "counter 1".into(),
    };
    let id = FactorId::from_random([3; 16]);
    SecondFactor::enrol(id, Holder::Operator(alice().id), factor, by(), NOW)
        .into_parts()
        .0
}

/// Always the same numbers (Knuth's MMIX generator); a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % limit
    }
}
