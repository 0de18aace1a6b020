//! What is left behind: each transition's event, each value as it is kept, and the hashes that
//! outlive this program. Also what is not even taken: names and texts that read as others.

#![cfg(test)]

mod fixtures;

use access::actor::ActorKind;
use access::approval::Decision;
use access::audit::hex;
use access::contact::ContactKind;
use access::forward::parse_list;
use access::grant::Operation;
use access::operator::Role;
use access::review::ReviewDecision;
use access::second_factor::{Factor, Holder, Proof, SecondFactor};
use access::session::FactorUse;
use access::{
    Actor, Changed, Contact, Customer, Event, FactorId, Grant, Intervention, Operator, Refusal,
    Session, Target, Time, Who, decide,
};
use fixtures::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn the_event_of_each_transition_says_what_who_whose_and_about_what() {
    let rows: Vec<Row> = [
        register_events(),
        grant_events(),
        intervention_events(),
        extension_events(),
        session_events(),
    ]
    .concat();
    for (event, name, who, subject) in &rows {
        let who = match *who {
            "root" => by(),
            "bastion" => Who::Bastion,
            "claire" => Who::Contact(claire().id),
            operator => Who::Operator(operator_id(operator)),
        };
        assert_eq!(event.name, *name);
        assert_eq!(event.who, who, "{name}");
        assert_eq!(event.subject, *subject, "{name}");
        assert_eq!(event.at, NOW, "{name}");
        let noun = name.split('.').next().unwrap();
        let of_platform =
            ["actor", "operator", "second_factor", "certificate", "login"].contains(&noun);
        let customer = (!of_platform).then(customer_id);
        assert_eq!(event.customer, customer, "{name}");
        let of_intervention = ["intervention", "session"].contains(&noun);
        assert_eq!(event.intervention.is_some(), of_intervention, "{name}");
        assert_eq!(event.session.is_some(), noun == "session", "{name}");
        round_trip(event);
    }
    let mut names: Vec<&str> = rows.iter().map(|row| row.1).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "no two transitions share a name");
}

#[test]
fn an_event_tells_what_was_decided_in_full() {
    let submitted = intervention(&customer_id(), &plan_text(), "submitted");
    let signed = signed(&submitted, &claire(), &Decision::Approve);
    let statement = hex(&signed.statement.challenge());
    let hash = submitted.plan().hash();
    let approved = submitted
        .decide(&claire(), &people(), Decision::Approve, signed, NOW)
        .unwrap();
    let detail = &approved.event().detail;
    assert_eq!(detail["plan_version"], 1);
    assert_eq!(detail["plan_sha256"], json!(hash));
    assert_eq!(detail["statement_sha256"], json!(statement));
    assert_eq!(detail["decision"], json!({"decision": "approve"}));
    assert_eq!(detail["assertion"], json!(assertion()));

    let permit = decide(&good_facts(), NOW).unwrap();
    let opened = Session::open(session("live").id, &permit, "", FactorUse::Reused, NOW).unwrap();
    let detail = &opened.event().detail;
    for (key, value) in [
        ("target", json!("db1.chu-exemple")),
        ("account", json!("root")),
        ("motive", json!("replace the disk of the archive")),
        ("second_factor", json!("passkey")),
        ("factor", json!(passkey_id())),
        ("key", json!(KEY)),
        ("second_factor_reused", json!(true)),
        ("source", json!("192.0.2.99")),
        ("ends_at", json!("2026-11-24T11:00:00Z")),
    ] {
        assert_eq!(detail[key], value, "{key}");
    }
}

#[test]
fn no_event_holds_a_secret() {
    let totp = Factor::Totp {
        sealed_secret: "s3cr3t".into(),
    };
    let holder = Holder::Contact(claire().id);
    let enrolled = SecondFactor::enrol(FactorId::from_random([3; 16]), holder, totp, by(), NOW);
    let revoked = enrolled.value().clone().revoke(by(), NOW);
    for event in [enrolled.event(), revoked.event()] {
        let entry = event.entry(1);
        assert!(!entry.contains("s3cr3t"), "{entry}");
        assert!(entry.contains(r#""type":"totp""#), "{entry}");
    }
}

#[test]
fn every_value_in_every_state_reads_back_as_it_was_kept() {
    round_trip(&customer());
    for actor in [
        actor(),
        actor().suspend("lapsed", by(), NOW).unwrap().into_parts().0,
    ] {
        round_trip(&actor);
    }
    let mut operator = alice();
    operator.details.sources = vec![access::operator::Network::parse("2001:db8::/32").unwrap()];
    round_trip(&operator);
    let operator = operator.accept_charter("2026", NOW).into_parts().0;
    round_trip(&operator);
    round_trip(&operator.suspend("left", by(), NOW).unwrap().into_parts().0);
    let mut old = serde_json::to_value(session("live")).unwrap();
    for field in ["key", "factor"] {
        old.as_object_mut().unwrap().remove(field);
    }
    let old: Session = serde_json::from_value(old).unwrap();
    assert!(old.credentials.key.is_empty(), "and nobody holds that");
    let with = certified(given(Proof::Passkey));
    round_trip(&with.credentials);
    round_trip(&with.certificate.unwrap());
    round_trip(&target());
    round_trip(
        &target()
            .disable("retired", by(), NOW)
            .unwrap()
            .into_parts()
            .0,
    );
    round_trip(&claire());
    round_trip(&claire().confirm(by(), NOW).into_parts().0);
    round_trip(&claire().remove(by(), NOW).into_parts().0);
    for state in GRANT_STATES {
        round_trip(&grant(state));
    }
    for decision in [
        ReviewDecision::Keep,
        ReviewDecision::Reduce { scope: scope() },
        ReviewDecision::Withdraw,
    ] {
        let reviewed = active_grant()
            .review(&bob(), review(&bob(), decision), NOW)
            .unwrap();
        round_trip(reviewed.value());
    }
    for state in STATES {
        let kept = intervention(&customer_id(), &plan_text(), state);
        round_trip(&kept);
        if state == "approved" {
            let later = plan_text().window.end().plus(HOUR);
            let asked = kept
                .clone()
                .ask_extension(later, "it takes longer", &alice(), NOW)
                .unwrap()
                .into_parts()
                .0;
            round_trip(&asked);
            for decision in [Decision::Approve, refusal_by_customer()] {
                let signed = signed(&asked, &claire(), &decision);
                let decided = asked
                    .clone()
                    .decide(&claire(), &people(), decision, signed, NOW);
                round_trip(decided.unwrap().value());
            }
            round_trip(asked.aged(plan_text().window.end()).unwrap().value());
            round_trip(
                &kept
                    .amend(plan_text(), &alice(), NOW)
                    .unwrap()
                    .into_parts()
                    .0,
            );
        }
    }
    for state in SESSION_STATES {
        round_trip(&session(state));
    }
    for state in CONFIRMATION_STATES {
        round_trip(&confirmation(state));
    }
    for factor in factors() {
        round_trip(&factor.clone());
        round_trip(&factor.revoke(by(), NOW).into_parts().0);
    }
}

#[test]
fn a_row_that_cannot_be_is_not_read() {
    let grant = serde_json::to_value(active_grant()).unwrap();
    let approved = intervention(&customer_id(), &plan_text(), "approved");
    let intervention = serde_json::to_value(approved).unwrap();
    let session = serde_json::to_value(session("live")).unwrap();
    let rows: [(&str, Change); 6] = [
        ("a state nobody knows", |v| v["state"] = json!("open")),
        ("no state", |v| {
            _ = v.as_object_mut().unwrap().remove("state");
        }),
        ("no name", |v| v["id"] = json!("../x")),
        ("a name in capitals", |v| v["id"] = json!("GR-1")),
        ("no id", |v| _ = v.as_object_mut().unwrap().remove("id")),
        ("no version", |v| {
            _ = v.as_object_mut().unwrap().remove("version");
        }),
    ];
    for (what, change) in rows {
        assert!(
            changed::<Grant>(&grant, change).is_err(),
            "grant with {what}"
        );
        assert!(
            changed::<Intervention>(&intervention, change).is_err(),
            "intervention with {what}"
        );
        assert!(
            changed::<Session>(&session, change).is_err(),
            "session with {what}"
        );
    }
    let rows: [(&str, Change); 5] = [
        ("grant", |v| _ = v.as_object_mut().unwrap().remove("grant")),
        ("intervention", |v| v["intervention"] = Value::Null),
        ("motive", |v| v["motive"] = Value::Null),
        ("proof", |v| v["proof"] = Value::Null),
        ("operator", |v| v["operator"] = Value::Null),
    ];
    for (what, change) in rows {
        assert!(
            changed::<Session>(&session, change).is_err(),
            "session without {what}"
        );
    }
    let backwards: Change = |v| v["terms"]["validity"]["end"] = json!(0);
    assert!(changed::<Grant>(&grant, backwards).is_err());
    let backwards: Change = |v| v["plan"]["text"]["window"]["end"] = json!(0);
    assert!(changed::<Intervention>(&intervention, backwards).is_err());
    let due: Change = |v| _ = v.as_object_mut().unwrap().remove("review_due");
    assert!(
        changed::<Grant>(&grant, due).is_err(),
        "active without a review"
    );
}

/// Evidence already given refers to these: another value here breaks what customers hold.
#[test]
fn hashes_are_those_that_were_given_out() {
    let submitted = intervention(&customer_id(), &plan_text(), "submitted");
    assert_eq!(
        submitted.plan().hash(),
        "9651f8fea3da10ee6e4f6db8473f64d1f65011dc199940b21fd985fd3f162a0c"
    );
    let signed = signed(&submitted, &claire(), &Decision::Approve);
    assert_eq!(
        signed.statement.text(),
        r#"{"approver":"claire","customer":"chu-exemple","decision":{"decision":"approve"},"intervention":"INT-2026-00042","nonce":"bm9uY2U","plan":{"accountable":"Dr Martin","accounts":["root"],"health_data":"possible","impact":"none is expected","nature":"hardware","operations":["shell","exec","download"],"operators":["alice"],"origin":"host","purpose":"replace the disk of the archive","reference":"CHG-7","rollback":"put the old disk back","targets":["db1.chu-exemple"],"window":{"end":1795518000000000,"start":1795507200000000}},"plan_sha256":"9651f8fea3da10ee6e4f6db8473f64d1f65011dc199940b21fd985fd3f162a0c","plan_version":1,"requested_by":"alice","type":"bastion-approval-v1"}"#
    );
    assert_eq!(
        hex(&signed.statement.challenge()),
        "a6b5808a6523b0e0aca1fa81e71c9b2369b9fe20fc1a4d3379dd08cfecfe3369"
    );
}

#[test]
fn a_hash_changes_with_every_word_of_the_plan() {
    let draft = intervention(&customer_id(), &plan_text(), "draft");
    let kept = serde_json::to_value(draft.plan()).unwrap();
    let mut hashes = vec![draft.plan().hash()];
    let left_out = "forwards".to_owned();
    assert!(kept["text"].get(&left_out).is_none(), "no list, no line");
    for key in kept["text"].as_object().unwrap().keys().chain([&left_out]) {
        let mut other = plan_text();
        match key.as_str() {
            "purpose" => other.purpose.push('.'),
            "nature" => other.nature.push('.'),
            "impact" => other.impact.push('.'),
            "rollback" => other.rollback.push('.'),
            "health_data" => other.health_data = access::plan::HealthDataSeen::Yes,
            "origin" => other.origin = access::plan::Origin::Customer,
            "accountable" => other.accountable = Some("Dr Durand".into()),
            "reference" => other.reference = None,
            "operators" => _ = other.operators.insert(olga().id),
            "targets" => _ = other.targets.insert(target_id("db2.chu-exemple")),
            "accounts" => _ = other.accounts.insert(account("postgres")),
            "operations" => _ = other.operations.insert(Operation::Forward),
            "forwards" => {
                other.operations.insert(Operation::Forward);
                other.forwards = parse_list("localhost:5432").unwrap();
            }
            "window" => other.window = window(plan_text().window.start(), NOW.plus(DAY)),
            new => panic!("`{new}` is new: it must change the hash too"),
        }
        hashes.push(intervention(&customer_id(), &other, "draft").plan().hash());
    }
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_destinations_of_connections_are_in_what_is_signed() {
    let mut text = plan_text();
    text.operations.insert(Operation::Forward);
    let without = intervention(&customer_id(), &text, "submitted");
    text.forwards = parse_list("localhost:* DB.internal:5432 [2001:DB8::1]:443").unwrap();
    let with = intervention(&customer_id(), &text, "submitted");
    let statement = |one| signed(one, &claire(), &Decision::Approve).statement;
    assert!(!statement(&without).text().contains("forwards"));
    let shown = r#""forwards":["db.internal:5432","localhost:*","[2001:db8::1]:443"]"#;
    assert!(
        statement(&with).text().contains(shown),
        "{}",
        statement(&with).text()
    );
    assert_ne!(with.plan().hash(), without.plan().hash());
    let mut row = serde_json::to_value(&with).unwrap();
    assert_eq!(
        serde_json::from_value::<Intervention>(row.clone()).unwrap(),
        with
    );
    for other in ["LOCALHOST:*", "*:80", "localhost:0", "[2001:db8::0:1]:443"] {
        row["plan"]["text"]["forwards"] = json!([other]);
        assert!(
            serde_json::from_value::<Intervention>(row.clone()).is_err(),
            "{other}"
        );
    }
}

#[test]
fn a_time_is_never_written_later_than_it_is() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (999_999, "1970-01-01T00:00:00Z"),
        (1_000_000, "1970-01-01T00:00:01Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ] {
        assert_eq!(Time::from_micros(micros).rfc3339(), text);
    }
    let last = plan_text().window.end().minus(INSTANT);
    assert!(last.rfc3339() < plan_text().window.end().rfc3339());
    for extreme in [i64::MIN, i64::MAX].map(Time::from_micros) {
        assert!(!extreme.rfc3339().is_empty());
    }
}

#[test]
fn an_address_that_could_be_taken_for_another_is_not_registered() {
    for bad in [
        "",
        "alice",
        "@host.example",
        "alice@",
        "alice@host@example",
        "alice @host.example",
        " alice@host.example",
        "alice@host.example\n",
        "alice@host.example.",
        ".alice@host.example",
        "al..ice@host.example",
        "alice@host..example",
        "alice@host.example\u{200b}",
        "аlice@host.example",
        "alice@hôte.example",
        "ALİCE@host.example",
    ] {
        let mut details = operator_details("alice", Role::Operator);
        details.email = bad.into();
        let outcome = Operator::register(alice().id, details, by(), NOW);
        assert_eq!(refused(outcome), "email_invalid", "{bad:?}");
        let mut details = contact_details("claire", ContactKind::Approver);
        details.email = bad.into();
        let outcome = Contact::register(claire().id, customer_id(), details, by(), NOW);
        assert_eq!(refused(outcome), "email_invalid", "{bad:?}");
    }
    for good in ["alice@host.example", "a.b+c@xn--hte-fna.example", "A@B"] {
        let mut details = operator_details("alice", Role::Operator);
        details.email = good.into();
        assert!(
            Operator::register(alice().id, details, by(), NOW).is_ok(),
            "{good}"
        );
    }
}

#[test]
fn a_target_has_one_address_that_reads_in_one_way() {
    let with = |address: &str| {
        let mut details = target_details();
        details.address = address.into();
        Target::register(target().id, details, by(), NOW).map(|_| ())
    };
    for good in [
        "192.0.2.10:22",
        "db1.chu.example:2222",
        "[2001:db8::1]:22",
        "db_1:65535",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ":22",
        "db1",
        "db1:0",
        "db1:65536",
        "db1:ssh",
        "2001:db8::1:22",
        "[db1]:22",
        "[]:22",
        "root@db1:22",
        "db1 :22",
        "db1/x:22",
        "db1\n:22",
        "dß1:22",
    ] {
        assert_eq!(refused(with(bad)), "address_invalid", "{bad:?}");
    }
}

#[test]
fn a_key_is_one_line() {
    for bad in [
        "",
        " ",
        "ssh-ed25519 AAAA\nssh-ed25519 BBBB",
        "ssh-ed25519 AAAA\u{0}",
    ] {
        let mut details = target_details();
        details.host_keys = vec!["ssh-ed25519 AAAA".into(), bad.into()];
        let outcome = Target::register(target().id, details, by(), NOW);
        assert_eq!(refused(outcome), "key_invalid", "{bad:?}");
        let mut details = operator_details("alice", Role::Operator);
        details.keys = vec![bad.into()];
        let outcome = Operator::register(alice().id, details, by(), NOW);
        assert_eq!(refused(outcome), "key_invalid", "{bad:?}");
    }
}

#[test]
fn nobody_is_registered_without_a_name_and_something_to_do() {
    let mut details = operator_details("alice", Role::Operator);
    details.roles.clear();
    let outcome = Operator::register(alice().id, details, by(), NOW);
    assert_eq!(refused(outcome), "operator_without_role");
    let mut details = contact_details("claire", ContactKind::Approver);
    details.kinds.clear();
    let outcome = Contact::register(claire().id, customer_id(), details, by(), NOW);
    assert_eq!(refused(outcome), "contact_without_kind");
    let mut details = target_details();
    details.accounts.clear();
    let outcome = Target::register(target().id, details, by(), NOW);
    assert_eq!(refused(outcome), "target_without_account");
    for name in ["", " ", "\u{200b}\u{200b}", "x"] {
        let outcome = Customer::register(customer_id(), name, "AAAA", by(), NOW);
        assert_eq!(refused(outcome), "text_missing", "{name:?}");
        let outcome = Actor::register(actor().id, name, ActorKind::Host, by(), NOW);
        assert_eq!(refused(outcome), "text_missing", "{name:?}");
    }
}

// ---- one row per transition: the event, its name, its author, its subject ----

type Row = (Event, &'static str, &'static str, &'static str);

#[allow(
    clippy::too_many_lines,
    reason = "a flat table: one row per transition, nothing else"
)]
fn register_events() -> Vec<Row> {
    let (customer_subject, target_subject) = ("customer chu-exemple", "target db1.chu-exemple");
    let actor_subject = "actor infogerance";
    let certificate_subject = "certificate ce-09090909090909090909090909090909";
    let factor_subject = "second_factor fa-03030303030303030303030303030303";
    let details = || operator_details("alice", Role::Operator);
    let contact = || contact_details("claire", ContactKind::Approver);
    let host = ActorKind::Host;
    let [factor, _] = factors();
    let holder = Holder::Operator(alice().id);
    let registered = Customer::register(customer_id(), "Hospital", "AAAA", by(), NOW);
    let confirm = |number| confirmation("waiting").confirm(&alice().id, passkey_id(), number, NOW);
    vec![
        (
            event(registered),
            "customer.registered",
            "root",
            customer_subject,
        ),
        (
            event(customer().rename("Hospital", by(), NOW)),
            "customer.renamed",
            "root",
            customer_subject,
        ),
        (
            event(Actor::register(actor().id, "Host", host, by(), NOW)),
            "actor.registered",
            "root",
            actor_subject,
        ),
        (
            event(actor().amend("Host", host, by(), NOW)),
            "actor.amended",
            "root",
            actor_subject,
        ),
        (
            event(actor().suspend("lapsed", by(), NOW)),
            "actor.suspended",
            "root",
            actor_subject,
        ),
        (
            said(actor().resume(by(), NOW)),
            "actor.resumed",
            "root",
            actor_subject,
        ),
        (
            event(Operator::register(alice().id, details(), by(), NOW)),
            "operator.registered",
            "root",
            "operator alice",
        ),
        (
            event(alice().amend(details(), by(), NOW)),
            "operator.amended",
            "root",
            "operator alice",
        ),
        (
            event(alice().suspend("left", by(), NOW)),
            "operator.suspended",
            "root",
            "operator alice",
        ),
        (
            event(alice().resume(by(), NOW)),
            "operator.resumed",
            "root",
            "operator alice",
        ),
        (
            said(alice().accept_charter("2026", NOW)),
            "operator.charter_accepted",
            "alice",
            "operator alice",
        ),
        (
            event(Target::register(target().id, target_details(), by(), NOW)),
            "target.registered",
            "root",
            target_subject,
        ),
        (
            event(target().amend(target_details(), by(), NOW)),
            "target.amended",
            "root",
            target_subject,
        ),
        (
            event(target().disable("retired", by(), NOW)),
            "target.disabled",
            "root",
            target_subject,
        ),
        (
            said(target().enable(by(), NOW)),
            "target.enabled",
            "root",
            target_subject,
        ),
        (
            event(Contact::register(
                claire().id,
                customer_id(),
                contact(),
                by(),
                NOW,
            )),
            "contact.registered",
            "root",
            "contact claire",
        ),
        (
            event(claire().amend(contact(), by(), NOW)),
            "contact.amended",
            "root",
            "contact claire",
        ),
        (
            said(claire().confirm(by(), NOW)),
            "contact.confirmed",
            "root",
            "contact claire",
        ),
        (
            said(claire().remove(by(), NOW)),
            "contact.removed",
            "root",
            "contact claire",
        ),
        (
            said(SecondFactor::enrol(
                factor.id.clone(),
                holder,
                factor.factor.clone(),
                by(),
                NOW,
            )),
            "second_factor.enrolled",
            "root",
            factor_subject,
        ),
        (
            said(factor.clone().used("{}".into(), NOW)),
            "second_factor.used",
            "alice",
            factor_subject,
        ),
        (
            said(factor.revoke(by(), NOW)),
            "second_factor.revoked",
            "root",
            factor_subject,
        ),
        (
            event(issue(
                FactorUse::Fresh,
                given(Proof::Totp).credentials,
                HOUR,
            )),
            "certificate.issued",
            "alice",
            certificate_subject,
        ),
        (
            event(certificate(&given(Proof::Totp).credentials).revoke("lost", by(), NOW)),
            "certificate.revoked",
            "root",
            certificate_subject,
        ),
        (
            event(confirm(42)),
            "login.confirmed",
            "alice",
            "operator alice",
        ),
        (event(confirm(7)), "login.denied", "alice", "operator alice"),
        (
            event(confirmation("confirmed").take(NOW)),
            "login.confirmation_used",
            "alice",
            "operator alice",
        ),
    ]
}

fn grant_events() -> Vec<Row> {
    let subject = "grant gr-07070707070707070707070707070707";
    let keep = || review(&bob(), ReviewDecision::Keep);
    let proposed = Grant::propose(proposed_grant().id, terms(), by(), NOW);
    vec![
        (event(proposed), "grant.proposed", "root", subject),
        (
            event(proposed_grant().approve(&bob(), NOW)),
            "grant.approved",
            "bob",
            subject,
        ),
        (
            event(proposed_grant().accept_in_setup(by(), NOW)),
            "grant.accepted_in_setup",
            "root",
            subject,
        ),
        (
            event(active_grant().review(&bob(), keep(), NOW)),
            "grant.reviewed",
            "bob",
            subject,
        ),
        (
            event(active_grant().call_for_review(NOW, by(), NOW)),
            "grant.review_called",
            "root",
            subject,
        ),
        (
            event(active_grant().withdraw("moved on", by(), NOW)),
            "grant.withdrawn",
            "root",
            subject,
        ),
    ]
}

fn intervention_events() -> Vec<Row> {
    let subject = "intervention INT-2026-00042";
    let at = |state| intervention(&customer_id(), &plan_text(), state);
    let decided = |decision: Decision| {
        let open = at("submitted");
        let signed = signed(&open, &claire(), &decision);
        event(open.decide(&claire(), &people(), decision, signed, NOW))
    };
    let drafted = Intervention::draft(at("draft").id, customer_id(), plan_text(), &alice(), NOW);
    // Ends at NOW, so that time alone may do something then.
    let mut ending = plan_text();
    ending.window = window(NOW.minus(HOUR), NOW);
    let aged = |state| {
        said(
            intervention(&customer_id(), &ending, state)
                .aged(NOW)
                .unwrap(),
        )
    };
    let by_time = aged("approved");
    assert_eq!(
        (by_time.name.as_str(), &by_time.who),
        ("intervention.closed", &Who::Bastion)
    );
    let by_security = event(at("approved").revoke_by_security(&sam(), "stop", NOW));
    assert_eq!(by_security.name, "intervention.revoked");
    assert_eq!(by_security.who, Who::Operator(sam().id));
    vec![
        (event(drafted), "intervention.drafted", "alice", subject),
        (
            event(at("draft").submit(&alice(), NOW)),
            "intervention.submitted",
            "alice",
            subject,
        ),
        (
            event(at("draft").amend(plan_text(), &alice(), NOW)),
            "intervention.amended",
            "alice",
            subject,
        ),
        (
            event(at("submitted").ask(&claire(), "which disk?", NOW)),
            "intervention.info_requested",
            "claire",
            subject,
        ),
        (
            event(at("info_requested").answer(&alice(), "sdb", NOW)),
            "intervention.answered",
            "alice",
            subject,
        ),
        (
            decided(Decision::Approve),
            "intervention.approved",
            "claire",
            subject,
        ),
        (
            decided(refusal_by_customer()),
            "intervention.refused",
            "claire",
            subject,
        ),
        (
            event(at("submitted").withdraw(&alice(), NOW)),
            "intervention.withdrawn",
            "alice",
            subject,
        ),
        (
            event(at("approved").revoke_by_contact(&claire(), "stop", NOW)),
            "intervention.revoked",
            "claire",
            subject,
        ),
        (
            event(at("approved").close(&alice(), "done", NOW)),
            "intervention.closed",
            "alice",
            subject,
        ),
        (
            aged("submitted"),
            "intervention.expired",
            "bastion",
            subject,
        ),
    ]
}

fn extension_events() -> Vec<Row> {
    let subject = "intervention INT-2026-00042";
    let later = plan_text().window.end().plus(HOUR);
    let approved = || intervention(&customer_id(), &plan_text(), "approved");
    let asked = || approved().ask_extension(later, "it takes longer", &alice(), NOW);
    let decided = |decision: Decision| {
        let open = asked().unwrap().into_parts().0;
        let signed = signed(&open, &claire(), &decision);
        event(open.decide(&claire(), &people(), decision, signed, NOW))
    };
    vec![
        (
            event(asked()),
            "intervention.extension_asked",
            "alice",
            subject,
        ),
        (
            decided(Decision::Approve),
            "intervention.extended",
            "claire",
            subject,
        ),
        (
            decided(refusal_by_customer()),
            "intervention.extension_refused",
            "claire",
            subject,
        ),
    ]
}

fn session_events() -> Vec<Row> {
    let subject = "session se-09090909090909090909090909090909";
    let permit = decide(&good_facts(), NOW).unwrap();
    let id = session("live").id;
    let opened = Session::open(id, &permit, "", FactorUse::Fresh, NOW);
    let mut shorter = session("live");
    shorter.ends_at = NOW.plus(HOUR);
    vec![
        (event(opened), "session.opened", "alice", subject),
        (
            said(shorter.follow(&permit, NOW).unwrap().unwrap()),
            "session.continued",
            "bastion",
            subject,
        ),
        (
            event(session("live").end("logout", "ab12", by(), NOW)),
            "session.ended",
            "root",
            subject,
        ),
        (
            event(session("live").interrupt("ab12", NOW)),
            "session.interrupted",
            "bastion",
            subject,
        ),
    ]
}

// ---- helpers ----

type Change = fn(&mut Value);

fn event<T: std::fmt::Debug>(outcome: Result<Changed<T>, Refusal>) -> Event {
    said(outcome.unwrap())
}

fn said<T>(changed: Changed<T>) -> Event {
    changed.into_parts().1
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap();
    assert_eq!(&back, value, "{text}");
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

fn changed<T: DeserializeOwned>(
    row: &Value,
    change: fn(&mut Value),
) -> Result<T, serde_json::Error> {
    let mut row = row.clone();
    change(&mut row);
    serde_json::from_value(row)
}

fn factors() -> [SecondFactor; 2] {
    let passkey = Factor::Passkey {
        credential_id: "Y3JlZA".into(),
        credential: "{}".into(),
    };
    let totp = Factor::Totp {
        sealed_secret: "c2VhbGVk".into(),
    };
    [passkey, totp].map(|factor| {
        let holder = Holder::Operator(alice().id);
        SecondFactor::enrol(FactorId::from_random([3; 16]), holder, factor, by(), NOW)
            .into_parts()
            .0
    })
}
