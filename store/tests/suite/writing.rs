//! Writing: the row, its history and its entry in one transaction, on both engines.

use crate::world::{World, admin, event, now, on_both, operator_id, register_customer};
use access::{Grant, GrantId, Who};
use store::StoreError;

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
        let (one, two) = (grant.clone(), grant.clone());
        world.store.save(one.withdraw("left", admin(), now()).unwrap()).await.unwrap();
        let before = world.store.head().await.unwrap();
        let late = world.store.save(two.withdraw("left", admin(), now()).unwrap()).await;
        assert!(matches!(late, Err(StoreError::Stale { table: "grants", .. })), "{late:?}");
        assert_eq!(world.store.head().await.unwrap(), before, "an entry was left behind");
    }
}
