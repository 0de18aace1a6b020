//! One customer never sees another's rows, whatever he asks for and however he names it.

use crate::world::{World, customer_id, now, number, on_both, plan};
use access::{ContactId, CustomerId, Intervention};
use store::{CustomerScope, StoreError};

on_both! {
    async fn a_customer_sees_his_own_and_nothing_of_another(world: World) {
        let (chu, clinic) = both(&world).await;
        for (scope, own) in [(&chu, "chu"), (&clinic, "clinic")] {
            let id = customer_id(own);
            assert_eq!(scope.customer().await.unwrap().unwrap().id, id);
            only(scope.contacts().await.unwrap().iter().map(|c| &c.customer), &id);
            only(scope.interventions(&[], 100).await.unwrap().iter().map(|i| &i.customer), &id);
            only(scope.sessions(100).await.unwrap().iter().map(|s| &s.customer), &id);
            only(scope.grants(100).await.unwrap().iter().map(|g| &g.terms.customer), &id);
            only(scope.targets().await.unwrap().iter().map(|t| &t.details.customer), &id);
            let entries = scope.entries(1000).await.unwrap();
            let mark = format!("\"customer\":\"{own}\"");
            assert!(!entries.is_empty() && entries.iter().all(|e| e.text.contains(&mark)));
            let other = if own == "chu" { "db1.clinic" } else { "db1.chu" };
            assert!(entries.iter().all(|e| !e.text.contains(other)), "{other} is told to {own}");
        }
    }

    async fn what_is_another_customers_is_not_there_by_name_either(world: World) {
        let (chu, clinic) = both(&world).await;
        let theirs = clinic.interventions(&[], 1).await.unwrap().remove(0);
        assert_eq!(clinic.intervention(&theirs.id).await.unwrap(), Some(theirs.clone()));
        assert_eq!(clinic.sessions_of(&theirs.id).await.unwrap().len(), 1);
        assert_eq!(chu.intervention(&theirs.id).await.unwrap(), None);
        assert!(chu.sessions_of(&theirs.id).await.unwrap().is_empty());
        let contact = ContactId::parse("claire.clinic").unwrap();
        assert_eq!(chu.contact(&contact).await.unwrap(), None);
        assert!(clinic.contact(&contact).await.unwrap().is_some());
    }

    async fn a_customer_who_is_none_sees_nothing(world: World) {
        both(&world).await;
        let nobody = world.store.of_customer(customer_id("nobody"));
        assert_eq!(nobody.customer().await.unwrap(), None);
        assert!(nobody.contacts().await.unwrap().is_empty());
        assert!(nobody.interventions(&[], 9).await.unwrap().is_empty());
        assert!(nobody.sessions(9).await.unwrap().is_empty());
        assert!(nobody.grants(9).await.unwrap().is_empty());
        assert!(nobody.targets().await.unwrap().is_empty());
        assert!(nobody.entries(9).await.unwrap().is_empty());
    }

    async fn a_draft_is_not_told_before_it_is_submitted(world: World) {
        let chu = world.store.of_customer(customer_id("chu"));
        let alice = world.operator("alice").await;
        let text = plan(&["alice"], &customer_id("chu"));
        let draft = Intervention::draft(number(1), customer_id("chu"), text, &alice, now());
        let draft = world.store.save(draft.unwrap()).await.unwrap();
        let told = async || {
            let entries = chu.entries(100).await.unwrap();
            entries.iter().filter(|e| e.text.contains("INT-2026-00001")).count()
        };
        assert_eq!(chu.intervention(&draft.id).await.unwrap(), None);
        assert!(chu.interventions(&[], 9).await.unwrap().is_empty());
        assert!(chu.interventions(&["draft"], 9).await.unwrap().is_empty());
        assert_eq!(told().await, 0);
        let submitted = world.store.save(draft.submit(&alice, now()).unwrap()).await.unwrap();
        assert_eq!(chu.interventions(&["submitted"], 9).await.unwrap(), std::slice::from_ref(&submitted));
        assert_eq!(chu.intervention(&submitted.id).await.unwrap(), Some(submitted));
        assert_eq!(told().await, 2);
    }

    async fn interventions_come_newest_first_by_state_and_no_more_than_asked(world: World) {
        let chu = world.store.of_customer(customer_id("chu"));
        let approved = world.approved("alice", "chu").await;
        let waiting = world.submitted("alice", "chu").await;
        let ids = |list: Vec<Intervention>| list.into_iter().map(|i| i.id).collect::<Vec<_>>();
        assert_eq!(ids(chu.interventions(&[], 9).await.unwrap()), [waiting.id.clone(), approved.id.clone()]);
        assert_eq!(ids(chu.interventions(&[], 1).await.unwrap()), [waiting.id]);
        assert_eq!(ids(chu.interventions(&["approved"], 9).await.unwrap()), [approved.id]);
    }

    async fn a_row_moved_to_another_customer_is_impossible_there(world: World) {
        let clinic = world.store.of_customer(customer_id("clinic"));
        let mut around = world.around().await;
        around.run("UPDATE contacts SET customer_id = 'clinic' WHERE id = 'claire.chu'").await.unwrap();
        let error = clinic.contacts().await.unwrap_err();
        assert!(matches!(error, StoreError::Impossible { table: "contacts", .. }), "{error:?}");
        let id = ContactId::parse("claire.chu").unwrap();
        assert!(clinic.contact(&id).await.is_err());
    }
}

/// Both customers with a grant, an intervention and a session each.
async fn both(world: &World) -> (CustomerScope, CustomerScope) {
    for (i, customer) in [1, 2].into_iter().zip(["chu", "clinic"]) {
        world.grant("alice", customer, i).await;
        world.approved("alice", customer).await;
        world.session("alice", customer, i).await;
    }
    let scope = |name| world.store.of_customer(customer_id(name));
    (scope("chu"), scope("clinic"))
}

fn only<'a>(owners: impl Iterator<Item = &'a CustomerId>, own: &CustomerId) {
    let owners: Vec<_> = owners.collect();
    assert!(!owners.is_empty(), "there is nothing to see");
    assert!(owners.iter().all(|owner| *owner == own), "{owners:?}");
}
