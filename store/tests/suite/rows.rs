//! The rows against the log: whatever is changed, put back, made up or taken away by force is
//! named, on either engine.

use crate::world::{
    Around, World, ask, assertion, decision, enrolment, event, now, on_both, passkey_key,
    register_customer, signer,
};
use access::approval::{Decision, Statement};
use access::grant::Operation;
use access::second_factor::Holder;
use access::time::Window;
use access::{Intervention, Plan};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::StoreError;
use store::audit::verify;

on_both! {
    async fn rows_as_they_were_written_hold(world: World) {
        lived_in(&world).await;
        assert_eq!(problems(&world).await, Vec::<String>::new());
    }

    async fn an_entry_names_the_row_it_wrote(world: World) {
        let before = world.store.head().await.unwrap();
        world.store.save(register_customer("new")).await.unwrap();
        let entry = world.store.entries(before, 1).await.unwrap().remove(0);
        let entry: serde_json::Value = serde_json::from_str(&entry.text).unwrap();
        let row = &entry["detail"]["row"];
        assert_eq!(row["table"], "customers");
        assert_eq!(row["id"], "new");
        assert_eq!(row["version"], 1);
        assert_eq!(row["body_sha256"].as_str().unwrap().len(), 64);
        let plain = world.store.append(event("service.started")).await.unwrap();
        let entry = world.store.entries(plain - 1, 1).await.unwrap().remove(0);
        assert!(!entry.text.contains("body_sha256"), "{}", entry.text);
    }

    async fn whatever_is_done_to_a_row_by_force_is_named(world: World) {
        let (grant, intervention, session) = lived_in(&world).await;
        let mut around = world.around().await;
        around.disarm().await;
        for table in TABLES {
            around.run(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await.unwrap();
        }
        let rows: [(&str, String, &[&str]); 12] = [
            ("a session given to somebody else",
                "UPDATE sessions SET operator_id = 'bob', grant_id = (SELECT id FROM grants WHERE operator_id = 'bob'), \
                 motive = 'another', body = REPLACE(REPLACE(body, '\"alice\"', '\"bob\"'), 'disk full', 'another')".into(),
                &[&format!("row `{session}` of `sessions` was changed: its body")]),
            ("its columns alone",
                "UPDATE sessions SET motive = 'another'".into(),
                &[&format!("row `{session}` of `sessions` was changed: its columns")]),
            ("its version too",
                "UPDATE sessions SET version = 2, body = REPLACE(REPLACE(body, 'disk full', 'another'), '\"version\":1', '\"version\":2')".into(),
                &[&format!("row `{session}` of `sessions` is not what was written: no entry names its version 2")]),
            ("its time",
                "UPDATE sessions SET created_at = created_at - 1".into(),
                &[&format!("row `{session}` of `sessions` was changed: its times")]),
            ("a session gone", "DELETE FROM sessions".into(),
                &[&format!("row `{session}` of `sessions` is gone")]),
            ("a session gone with its history",
                format!("DELETE FROM sessions; DELETE FROM history WHERE id = '{session}'"),
                &[&format!("row `{session}` of `sessions` is gone"),
                  &format!("version 1 of `{session}` in `sessions` is gone from the history")]),
            ("a right put back to what it was",
                format!("UPDATE grants SET version = 1, changed_at = created_at, state = 'proposed', review_due = NULL, \
                         body = (SELECT h.body FROM history h WHERE h.id = '{grant}' AND h.version = 1) WHERE id = '{grant}'"),
                &[&format!("row `{grant}` of `grants` is put back to version 1: the log names version 2")]),
            ("a right that its entries do not know",
                format!("UPDATE grants SET valid_until = valid_until + 1 WHERE id = '{grant}'"),
                &[&format!("row `{grant}` of `grants` was changed: its columns")]),
            ("a customer out of nowhere",
                "INSERT INTO customers (id, version, created_at, changed_at, body) \
                 SELECT 'zoo', version, created_at, changed_at, REPLACE(body, '\"chu\"', '\"zoo\"') FROM customers WHERE id = 'chu'".into(),
                &["row `zoo` of `customers` is not what was written: no entry names its version 1"]),
            ("a version of the history",
                format!("UPDATE history SET body = REPLACE(body, 'databases', 'mainframe') WHERE id = '{grant}' AND version = 1"),
                &[&format!("version 1 of `{grant}` in the history of `grants` was changed")]),
            ("a version made up",
                "INSERT INTO history (noun, id, version, at, body) SELECT noun, id, 9, at, body FROM history WHERE id = 'chu'".into(),
                &["row `chu` of `customers` is not what was written: no entry names its version 9"]),
            ("a body that does not read",
                format!("UPDATE interventions SET body = '{{}}' WHERE id = '{intervention}'"),
                &[&format!("row `{intervention}` of `interventions` was changed: its body")]),
        ];
        for (what, text, sentences) in rows {
            around.run(&text).await.unwrap();
            let said = problems(&world).await;
            for sentence in sentences {
                assert!(said.iter().any(|p| p.contains(sentence)), "{what}: {sentence:?} is not in {said:#?}");
            }
            assert!(said.len() <= 2, "{what} is said too often: {said:#?}");
            put_back(&mut around).await;
            assert_eq!(problems(&world).await, Vec::<String>::new(), "after {what} was put back");
        }
    }

    async fn an_approval_with_a_made_up_statement_or_signature_does_not_hold(world: World) {
        let approved = world.approved("alice", "chu").await;
        let contact = world.contact("chu").await;
        let stated = |nonce: &str| Statement::compose(&approved, &Decision::Approve, &contact.id, nonce);
        let rows: [(&str, Forge<'_>, &str); 5] = [
            ("a made-up statement",
                Box::new(|i| i.approvals[0].statement = Statement::from_text("I approve".into())),
                "its statement is not what was shown for plan version 1"),
            ("the right statement, never signed",
                Box::new(|i| i.approvals[0].statement = stated("other")),
                "it is not an assertion over this statement"),
            ("a changed signature",
                Box::new(|i| i.approvals[0].assertion.signature = "AAAA".into()),
                "the signature is not of this public key"),
            ("a credential nobody enrolled",
                Box::new(|i| i.approvals[0].assertion.credential_id = "mine".into()),
                "its passkey was not enrolled for its approver then"),
            ("an approver who enrolled it later",
                Box::new(|i| i.approvals[0].at = now().minus(crate::world::hours(1))),
                "its passkey was not enrolled for its approver then"),
        ];
        let mut around = world.around().await;
        let kept = serde_json::to_string(&approved).unwrap();
        for (what, forge, sentence) in rows {
            let mut forged = approved.clone();
            forge(&mut forged);
            let body = serde_json::to_string(&forged).unwrap();
            set_body(&mut around, &body).await;
            let said = problems(&world).await.join("\n");
            assert!(said.contains(&format!("the decision of `claire.chu` on `{}` does not hold: {sentence}", approved.id)), "{what}: {said}");
            set_body(&mut around, &kept).await;
            assert_eq!(problems(&world).await, Vec::<String>::new(), "{what}");
        }
    }

    async fn every_version_that_was_asked_for_and_every_decision_on_it_is_held(world: World) {
        let extended = lengthened(&world).await;
        assert_eq!(problems(&world).await, Vec::<String>::new());
        let in_force = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap().remove(0);
        let window = in_force.intervention.unwrap().plan().text.window;
        assert_eq!(window.end(), extended.plan().text.window.end(), "the decision sees the later end");
        assert!(world.store.aging(window.end().minus(crate::world::hours(1)), 9).await.unwrap().is_empty());
        assert_eq!(world.store.aging(window.end(), 9).await.unwrap().len(), 1);
        let later = window.end().plus(crate::world::hours(5));
        let wider = |plan: &mut Plan| {
            plan.text.window = Window::new(plan.text.window.start(), later).unwrap();
        };
        let rows: [(&str, ForgeRow<'_>, &str); 5] = [
            ("a later end than was signed", Box::new(|row| edit(row, "/plan", wider)), "its statement is not what was shown for plan version 3"),
            ("what was refused", Box::new(|row| edit(row, "/ended_extensions/0/plan", wider)), "its statement is not what was shown for plan version 2"),
            ("a refusal's version taken away", Box::new(|row| _ = row.as_object_mut().unwrap().remove("ended_extensions")),
                "its statement is not what was shown for plan version 2"),
            ("the version it extends", Box::new(|row| edit(row, "/earlier_plans/0", wider)), "is not what was shown for plan version 1"),
            ("a question moved into the place of the plan", Box::new(|row| {
                    let before = row["plan"].clone();
                    row["earlier_plans"].as_array_mut().unwrap().push(before);
                    row["plan"] = row["extension"].clone();
                }),
                "it does not cover the plan as it stands"),
        ];
        let mut around = world.around().await;
        let asked = world.store.intervention(&extended.id).await.unwrap().unwrap();
        let asked = asked.ask_extension(later, "once more", &world.operator("alice").await, now()).unwrap();
        let kept = serde_json::to_value(world.store.save(asked).await.unwrap()).unwrap();
        for (what, forge, sentence) in rows {
            let mut row = kept.clone();
            forge(&mut row);
            set_body(&mut around, &row.to_string()).await;
            let said = problems(&world).await.join("\n");
            assert!(said.contains(sentence), "{what}: {said}");
        }
    }

    // Signed by the contact's own passkey, whatever page he was shown.
    async fn a_signed_version_that_extends_more_than_the_end_does_not_hold(world: World) {
        let waiting = asked_for_more(&world).await;
        let contact = world.contact("chu").await;
        let people = world.store.people_of(&waiting).await.unwrap();
        let extended = decision(waiting, &contact, &people, Decision::Approve);
        let mut row = serde_json::to_value(world.store.save(extended).await.unwrap()).unwrap();
        edit(&mut row, "/plan", |plan| _ = plan.text.operations.insert(Operation::Upload));
        let mut forged: Intervention = serde_json::from_value(row).unwrap();
        let statement = Statement::compose(&forged, &Decision::Approve, &contact.id, "00");
        let hash = forged.plan().hash();
        let signed = forged.approvals.last_mut().unwrap();
        signed.assertion = assertion(&contact, statement.challenge());
        (signed.statement, signed.plan_hash) = (statement, hash);
        assert_eq!(forged.approval(), None, "nor does a login believe it");
        let mut around = world.around().await;
        set_body(&mut around, &serde_json::to_string(&forged).unwrap()).await;
        let said = problems(&world).await.join("\n");
        assert!(said.contains("plan version 2 is more than a later end of the one it extends"), "{said}");
    }

    async fn of_two_bastions_that_decide_on_an_extension_one_does(world: World) {
        let waiting = asked_for_more(&world).await;
        let contact = world.contact("chu").await;
        let people = world.store.people_of(&waiting).await.unwrap();
        let here = decision(waiting.clone(), &contact, &people, Decision::Approve);
        let there = decision(waiting.clone(), &contact, &people, refusal());
        world.store.save(here).await.unwrap();
        let late = world.store.save(there).await;
        assert!(matches!(late, Err(StoreError::Stale { table: "interventions", .. })), "{late:?}");
        let alice = world.operator("alice").await;
        let closed = world.store.save(waiting.close(&alice, "done", now()).unwrap()).await;
        assert!(matches!(closed, Err(StoreError::Stale { .. })), "{closed:?}");
        assert_eq!(problems(&world).await, Vec::<String>::new());
    }

    async fn a_signature_by_another_key_than_the_enrolled_one_does_not_hold(world: World) {
        let waiting = world.submitted("alice", "chu").await;
        let contact = world.contact("chu").await;
        let mut other = passkey_key();
        other[5] ^= 1;
        world.store.save(enrolment(Holder::Contact(contact.id.clone()), &other)).await.unwrap();
        let id = waiting.id.clone();
        world.approve(waiting).await;
        let said = problems(&world).await;
        assert_eq!(said, [format!("the decision of `claire.chu` on `{id}` does not hold: its public key is not the one of the enrolled passkey")]);
        assert!(assertion(&contact, [1; 32]).verify(&[1; 32]).is_ok());
    }

    async fn rows_written_while_the_log_is_verified_are_no_problem(world: World) {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (world.store.clone(), Arc::clone(&stop));
        let writing = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                store.save(register_customer(&format!("new{number}"))).await.unwrap();
            }
            number
        });
        for _ in 0..20 {
            assert_eq!(problems(&world).await, Vec::<String>::new());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writing.await.unwrap() > 0);
    }
}

const TABLES: [&str; 5] = [
    "customers",
    "grants",
    "interventions",
    "sessions",
    "history",
];

type ForgeRow<'a> = Box<dyn Fn(&mut serde_json::Value) + Send + 'a>;

fn edit(row: &mut serde_json::Value, place: &str, change: impl Fn(&mut Plan)) {
    let place = row.pointer_mut(place).unwrap();
    let mut plan: Plan = serde_json::from_value(place.clone()).unwrap();
    change(&mut plan);
    *place = serde_json::to_value(&plan).unwrap();
}

fn refusal() -> Decision {
    Decision::Refuse {
        reason: "not tonight".into(),
    }
}

async fn asked_for_more(world: &World) -> Intervention {
    let approved = world.approved("alice", "chu").await;
    ask_for_more(world, approved).await
}

async fn ask_for_more(world: &World, open: Intervention) -> Intervention {
    let later = open.plan().text.window.end().plus(crate::world::hours(1));
    let alice = world.operator("alice").await;
    let asked = open.ask_extension(later, "slow copy", &alice, now());
    world.store.save(asked.unwrap()).await.unwrap()
}

/// Asked twice: refused, then approved.
async fn lengthened(world: &World) -> Intervention {
    let waiting = asked_for_more(world).await;
    let contact = world.contact("chu").await;
    let people = world.store.people_of(&waiting).await.unwrap();
    let refused = decision(waiting, &contact, &people, refusal());
    let refused = world.store.save(refused).await.unwrap();
    let waiting = ask_for_more(world, refused).await;
    let extended = decision(waiting, &contact, &people, Decision::Approve);
    world.store.save(extended).await.unwrap()
}

type Forge<'a> = Box<dyn Fn(&mut Intervention) + Send + 'a>;

/// Two rights, an approved intervention and a session of alice's; the ids of hers.
async fn lived_in(world: &World) -> (String, String, String) {
    let grant = world.grant("alice", "chu", 1).await;
    world.grant("bob", "chu", 2).await;
    let intervention = world.approved("alice", "chu").await;
    let session = world.session("alice", "chu", 1).await;
    (
        grant.id.to_string(),
        intervention.id.to_string(),
        session.id.to_string(),
    )
}

async fn problems(world: &World) -> Vec<String> {
    let verifier = signer().verifier();
    let report = verify(&world.store, &verifier).await.unwrap();
    report.problems
}

async fn put_back(around: &mut Around) {
    around
        .run("DELETE FROM sessions; DELETE FROM history; DELETE FROM customers WHERE id = 'zoo'")
        .await
        .unwrap();
    for table in ["sessions", "history"] {
        around
            .run(&format!("INSERT INTO {table} SELECT * FROM saved_{table}"))
            .await
            .unwrap();
    }
    around
        .run(
            "UPDATE grants SET version = s.version, changed_at = s.changed_at, state = s.state, \
             review_due = s.review_due, valid_until = s.valid_until, body = s.body \
             FROM saved_grants s WHERE s.id = grants.id; \
             UPDATE interventions SET body = s.body FROM saved_interventions s \
             WHERE s.id = interventions.id",
        )
        .await
        .unwrap();
}

/// Rewrites the one intervention as if it had been written so: the row, the history and the entry.
async fn set_body(around: &mut Around, body: &str) {
    let body = body.replace('\'', "''");
    around
        .run(&format!("UPDATE interventions SET body = '{body}'"))
        .await
        .unwrap();
}
