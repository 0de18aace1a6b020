//! Writing: the row, its history and its entry in one transaction, on both engines.

use crate::world::{
    Around, World, admin, customer_id, event, now, on_both, open_session, register_customer,
    register_operator, signer, target_id, terms,
};
use access::decide::choose;
use access::{CustomerId, Grant, GrantId};
use std::collections::BTreeSet;
use store::{Store, StoreError, audit};

on_both! {
    async fn a_saved_value_has_its_entry_and_its_history(world: World) {
        let before = world.store.head().await.unwrap();
        let grant = world.grant("alice", "chu", 1).await;
        assert_eq!(grant.version, 2);
        assert_eq!(world.store.head().await.unwrap(), before + 2);
        let entries = world.store.entries(before, 10).await.unwrap();
        assert!(entries[0].text.contains("grant.proposed"), "{}", entries[0].text);
        let mut around = world.around().await;
        let versions = around.number("SELECT COUNT(*) FROM history WHERE noun = 'grants'").await;
        assert_eq!(versions, 2);
    }

    async fn of_two_changes_of_one_version_the_second_is_stale(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        let withdrawn = grant.withdraw("left", admin(), now()).unwrap();
        world.store.save(withdrawn.clone()).await.unwrap();
        let before = counts(&world).await;
        let late = world.store.save(withdrawn).await;
        assert!(matches!(late, Err(StoreError::Stale { table: "grants", .. })), "{late:?}");
        assert_eq!(counts(&world).await, before, "something was left behind");
    }

    async fn of_two_changes_at_once_one_is_saved_and_one_is_stale(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        let change = || grant.clone().withdraw("left", admin(), now()).unwrap();
        let before = world.store.head().await.unwrap();
        let (one, two) = tokio::join!(world.store.save(change()), world.store.save(change()));
        assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
        let lost = one.err().or(two.err());
        assert!(matches!(lost, Some(StoreError::Stale { .. })), "{lost:?}");
        assert_eq!(world.store.head().await.unwrap(), before + 1);
    }

    async fn a_value_whose_name_is_taken_is_a_conflict_and_leaves_nothing(world: World) {
        let before = counts(&world).await;
        let taken = world.store.save(register_customer("chu")).await.unwrap_err();
        assert_eq!(
            taken.to_string(),
            "`chu` in `customers` exists already, or shares what must be unique"
        );
        assert_eq!(counts(&world).await, before);
    }

    async fn a_failing_entry_leaves_no_row(world: World) {
        let before = counts(&world).await;
        let mut around = world.around().await;
        break_inserts_into(&mut around, "audit_entries").await;
        let failed = world.store.save(register_customer("new")).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        assert_eq!(world.store.customer(&customer_id("new")).await.unwrap(), None);
        assert_eq!(counts(&world).await, before);
    }

    async fn a_failing_node_of_the_tree_leaves_no_row(world: World) {
        let before = counts(&world).await;
        let mut around = world.around().await;
        break_inserts_into(&mut around, "audit_hashes").await;
        assert!(world.store.save(register_customer("new")).await.is_err());
        assert_eq!(counts(&world).await, before);
    }

    async fn a_failing_row_leaves_no_entry(world: World) {
        let before = counts(&world).await;
        let mut around = world.around().await;
        break_inserts_into(&mut around, "customers").await;
        assert!(world.store.save(register_customer("new")).await.is_err());
        assert_eq!(counts(&world).await, before);
    }

    async fn a_failing_history_leaves_neither_row_nor_entry(world: World) {
        let before = counts(&world).await;
        let mut around = world.around().await;
        break_inserts_into(&mut around, "history").await;
        assert!(world.store.save(register_customer("new")).await.is_err());
        assert_eq!(world.store.customer(&customer_id("new")).await.unwrap(), None);
        assert_eq!(counts(&world).await, before);
    }

    async fn a_failing_part_of_a_row_leaves_no_other_part(world: World) {
        let before = counts(&world).await;
        let mut unknown = terms("alice", "chu");
        unknown.scope.targets = BTreeSet::from([target_id("db1.chu"), target_id("nowhere")]);
        let grant = Grant::propose(GrantId::from_random([1; 16]), unknown, admin(), now());
        let refused = world.store.save(grant.unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("not registered"), "{refused}");
        assert_eq!(counts(&world).await, before);
    }

    async fn several_changes_are_saved_all_or_none(world: World) {
        let before = counts(&world).await;
        let bad = vec![
            register_customer("new").into(),
            register_operator("carol").into(),
            register_customer("chu").into(),
        ];
        assert!(matches!(world.store.save_all(bad).await, Err(StoreError::Conflict { .. })));
        assert_eq!(counts(&world).await, before);
        let good = vec![register_customer("new").into(), register_operator("carol").into()];
        world.store.save_all(good).await.unwrap();
        assert_eq!(world.operator("carol").await.version, 1);
        assert_eq!(world.store.head().await.unwrap(), before.0 + 2);
    }

    async fn a_right_on_another_customers_system_is_refused_by_the_database(world: World) {
        let mut crossing = terms("alice", "chu");
        crossing.scope.targets = BTreeSet::from([target_id("db1.clinic")]);
        let grant = Grant::propose(GrantId::from_random([1; 16]), crossing, admin(), now());
        let refused = world.store.save(grant.unwrap()).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }

    async fn the_database_refuses_a_session_that_lacks_a_link_or_crosses_customers(world: World) {
        world.grant("alice", "chu", 1).await;
        world.grant("bob", "chu", 2).await;
        let elsewhere = world.grant("alice", "clinic", 3).await;
        world.approved("alice", "chu").await;
        world.session("alice", "chu", 1).await;
        let of_bob = GrantId::from_random([2; 16]);
        let mut around = world.around().await;
        for column in ["operator_id", "target_id", "grant_id", "intervention_id", "customer_id", "motive"] {
            let refused = around.run(&format!("UPDATE sessions SET {column} = NULL")).await;
            assert!(refused.is_err(), "{column} may be missing");
        }
        for wrong in [
            "motive = '  '".to_owned(),
            "grant_id = 'nothing'".to_owned(),
            "customer_id = 'clinic'".to_owned(),
            "target_id = 'db1.clinic'".to_owned(),
            format!("grant_id = '{}'", elsewhere.id),
            format!("grant_id = '{of_bob}'"),
        ] {
            let refused = around.run(&format!("UPDATE sessions SET {wrong}")).await;
            assert!(refused.is_err(), "{wrong}");
        }
    }

    async fn a_session_on_a_right_that_is_not_kept_is_refused(world: World) {
        world.grant("alice", "chu", 1).await;
        let open = world.approved("alice", "chu").await;
        let ask = crate::world::ask("alice", "db1.chu");
        let mut facts = world.store.facts(&ask, now()).await.unwrap();
        let grant = facts[0].grant.as_mut().unwrap();
        grant.id = GrantId::from_random([9; 16]);
        let permit = choose(&facts, now()).unwrap().remove(0);
        assert_eq!(*permit.intervention(), open.id);
        let refused = world.store.save(open_session(&permit, 1)).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        assert!(world.store.live_sessions().await.unwrap().is_empty());
    }

    async fn a_row_whose_body_is_of_another_row_is_impossible(world: World) {
        let mut around = world.around().await;
        around
            .run("UPDATE customers SET body = (SELECT body FROM customers WHERE id = 'clinic') WHERE id = 'chu'")
            .await
            .unwrap();
        let error = world.store.customer(&customer_id("chu")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "row `chu` of `customers` cannot be right: its body is of another row or another version"
        );
        assert!(world.store.customers().await.is_err(), "one bad row spoils the list");
    }

    async fn a_body_that_does_not_read_is_impossible_and_not_repeated(world: World) {
        let mut around = world.around().await;
        around.run("UPDATE customers SET body = '{\"secret\": \"xyzzy\"}' WHERE id = 'chu'").await.unwrap();
        let error = world.store.customer(&customer_id("chu")).await.unwrap_err();
        assert!(matches!(error, StoreError::Impossible { table: "customers", .. }), "{error:?}");
        assert!(!format!("{error:?}{error}").contains("xyzzy"), "{error:?}");
    }

    async fn two_writers_at_once_get_different_numbers_and_leave_no_gap(world: World) {
        let other = Store::open(&world.url).await.unwrap();
        let before = world.store.head().await.unwrap();
        let mut tasks = Vec::new();
        for store in [world.store.clone(), other] {
            for _ in 0..10 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    let mut numbers = Vec::new();
                    for _ in 0..5 {
                        numbers.push(store.append(event("service.started")).await.unwrap());
                    }
                    numbers
                }));
            }
        }
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.extend(task.await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (before + 1..=before + 100).collect::<Vec<i64>>());
        let report = audit::verify(&world.store, &signer().verifier()).await.unwrap();
        assert_eq!((report.entries, report.problems), (before + 100, Vec::new()));
    }

    async fn a_write_that_is_given_up_halfway_leaves_nothing(world: World) {
        let before = counts(&world).await;
        for turns in 0..40 {
            let save = world.store.save(register_customer("new"));
            let given_up = give_up_after(turns, save).await;
            if let Some(saved) = given_up {
                saved.unwrap();
                break;
            }
            // Whoever gets the head of the log now comes after what was given up.
            let mut around = world.around().await;
            around.run("UPDATE audit_head SET size = size").await.unwrap();
            let now = counts(&world).await;
            if now.0 > before.0 {
                let saved = world.store.customer(&CustomerId::parse("new").unwrap()).await;
                assert!(saved.unwrap().is_some(), "an entry without its row");
                break;
            }
            assert_eq!(now, before, "after {turns} turns");
        }
        let report = audit::verify(&world.store, &signer().verifier()).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

/// Polls a future this many times and then drops it.
async fn give_up_after<T>(turns: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..turns {
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        });
        if let Some(value) = polled.await {
            return Some(value);
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    None
}

/// How many entries, nodes, versions and rows there are.
async fn counts(world: &World) -> (i64, Vec<i64>) {
    let mut around = world.around().await;
    let mut numbers = Vec::new();
    for table in [
        "audit_entries",
        "audit_hashes",
        "history",
        "customers",
        "operators",
        "grants",
        "grant_targets",
    ] {
        numbers.push(
            around
                .number(&format!("SELECT COUNT(*) FROM {table}"))
                .await,
        );
    }
    (world.store.head().await.unwrap(), numbers)
}

async fn break_inserts_into(around: &mut Around, table: &str) {
    let text = match around {
        Around::Sqlite(_) => format!(
            "CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk'); END"
        ),
        Around::Postgres(_) => format!(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'disk'; END; $$; \
             CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
        ),
    };
    around.run(&text).await.unwrap();
}
