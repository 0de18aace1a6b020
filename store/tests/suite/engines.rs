//! The databases themselves: how they are opened, and what happens while they are away.

use crate::postgres::Server;
use crate::world::{World, customer_id, event, on_both, operator_id, register_customer, signer};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use store::{Store, StoreError, audit};

on_both! {
    async fn opening_again_finds_everything_and_changes_nothing(world: World) {
        let head = world.store.head().await.unwrap();
        world.store.close().await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(again.head().await.unwrap(), head);
        assert!(again.operator(&operator_id("alice")).await.unwrap().is_some());
    }

    async fn a_closed_store_is_unavailable_for_reading_and_writing(world: World) {
        world.store.close().await;
        let read = world.store.customer(&customer_id("chu")).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        let written = world.store.save(register_customer("new")).await;
        assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    }

    async fn a_database_of_a_newer_release_is_not_opened(world: World) {
        let mut around = world.around().await;
        around
            .run("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  SELECT 9999, 'newer', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1")
            .await
            .unwrap();
        assert!(Store::open(&world.url).await.is_err());
    }
}

#[tokio::test]
async fn an_address_of_no_database_is_refused_without_repeating_it() {
    for url in [
        "mysql://root:xyzzy@localhost/x",
        "postgres://u:xyzzy@[bad",
        "",
        "sqlite:///nowhere/at/all.db",
    ] {
        let error = Store::open(url).await.unwrap_err();
        let mut said = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            said.push_str(&error.to_string());
            source = error.source();
        }
        assert!(!said.contains("xyzzy"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_sqlite_are_their_owners_alone() {
    let world = World::sqlite().await;
    let directory = world.directory.as_ref().unwrap().path();
    let mut seen = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        seen += 1;
    }
    assert_eq!(seen, 3, "the file, its log and its index");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_syncs_every_commit_and_keeps_foreign_keys() {
    let world = World::sqlite().await;
    let mut around = world.around().await;
    assert!(
        around
            .number("SELECT COUNT(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'")
            .await
            == 1
    );
    let refused = world
        .store
        .save(crate::world::register_target("db9.x", "nobody"))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sqlite_file_is_unavailable_for_writing_and_recovers() {
    let world = World::sqlite().await;
    let head = world.store.head().await.unwrap();
    let mut around = world.around().await;
    around.run("BEGIN EXCLUSIVE").await.unwrap();
    let alice = operator_id("alice");
    let (written, read) = tokio::join!(
        world.store.save(register_customer("new")),
        world.store.operator(&alice)
    );
    let error = written.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the database is not available; try again"
    );
    assert!(read.unwrap().is_some(), "readers go on");
    around.run("ROLLBACK").await.unwrap();
    world.store.save(register_customer("new")).await.unwrap();
    assert_eq!(world.store.head().await.unwrap(), head + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgresql_is_unavailable_and_recovers_with_all_it_answered() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let world = World::open(server.database().await, None).await;
    let answered = world.store.append(event("service.started")).await.unwrap();

    let mut server = tokio::task::spawn_blocking(move || {
        server.kill();
        server
    })
    .await
    .unwrap();
    let read = world.store.customers().await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let written = world.store.save(register_customer("new")).await;
    assert!(
        matches!(written, Err(StoreError::Unavailable(_))),
        "{written:?}"
    );
    let counted = world
        .store
        .use_totp_step(&access::FactorId::from_random([1; 16]), 1)
        .await;
    assert!(
        counted.is_err(),
        "a code passed while nobody could say whether it was used"
    );

    let server = tokio::task::spawn_blocking(move || {
        server.run();
        server
    })
    .await
    .unwrap();
    let mut head = world.store.head().await;
    for _ in 0..50 {
        if head.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        head = world.store.head().await;
    }
    assert_eq!(head.unwrap(), answered);
    world.store.save(register_customer("new")).await.unwrap();
    let report = audit::verify(&world.store, &signer().verifier())
        .await
        .unwrap();
    assert_eq!(
        (report.entries, report.problems),
        (answered + 1, Vec::new())
    );
    world.store.close().await;
    drop(server);
}
