//! The facts of a decision: every candidate that matters, and what the decision makes of them.

use crate::world::{
    MEANS, World, admin, ask, credentials, customer_id, hours, later, now, number, on_both,
    open_session, operator_id, plan, policy, register_operator, target_id, terms,
};
use access::certificate::CertificateRequest;
use access::decide::{Code, choose};
use access::forward::{Endpoint, parse_list};
use access::grant::{Operation, Scope};
use access::plan::PlanText;
use access::session::FactorUse;
use access::time::Window;
use access::{
    AccountName, Certificate, CertificateId, Facts, Grant, GrantId, Intervention, InterventionId,
};
use std::collections::BTreeSet;
use store::Ask;

on_both! {
    async fn an_unknown_operator_is_one_candidate_without_operator(world: World) {
        world.approved("alice", "chu").await;
        let facts = world.store.facts(&ask("nobody", "db1.chu"), now()).await.unwrap();
        assert_eq!(facts.len(), 1);
        assert!(facts[0].operator.is_none() && facts[0].actor.is_none() && facts[0].target.is_some());
        assert!(facts[0].intervention.is_none(), "nothing is told of others' interventions");
        assert!(codes(&facts).contains(&Code::OperatorUnknown));
        let odd = world.store.facts(&ask("a'; DROP TABLE grants; --", "\u{1b}[31m"), now()).await.unwrap();
        assert_eq!(odd.len(), 1);
    }

    async fn an_unknown_target_is_one_candidate_without_target(world: World) {
        world.grant("alice", "chu", 1).await;
        let facts = world.store.facts(&ask("alice", "nowhere"), now()).await.unwrap();
        assert_eq!(facts.len(), 1);
        assert!(facts[0].operator.is_some() && facts[0].actor.is_some() && facts[0].target.is_none());
        assert!(codes(&facts).contains(&Code::TargetUnknown));
    }

    async fn who_holds_no_grant_gets_a_candidate_without_one(world: World) {
        world.grant("bob", "chu", 1).await;
        world.grant("alice", "clinic", 2).await;
        let open = world.approved("alice", "chu").await;
        let facts = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].grant, None, "another's right or another system's came");
        assert_eq!(facts[0].intervention.as_ref().map(|i| &i.id), Some(&open.id));
        assert_eq!(codes(&facts), [Code::GrantMissing]);
    }

    async fn who_has_no_intervention_gets_a_candidate_without_one(world: World) {
        world.grant("alice", "chu", 1).await;
        world.approved("alice", "clinic").await;
        let facts = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(facts.len(), 1);
        assert!(facts[0].grant.is_some());
        assert_eq!(codes(&facts), [Code::InterventionMissing]);
    }

    async fn an_intervention_that_does_not_name_him_lets_the_refusal_say_so(world: World) {
        world.grant("bob", "chu", 1).await;
        world.approved("alice", "chu").await;
        let facts = world.store.facts(&ask("bob", "db1.chu"), now()).await.unwrap();
        assert_eq!(codes(&facts), [Code::OperatorNotInIntervention]);
        let own = world.submitted("bob", "chu").await;
        let facts = world.store.facts(&ask("bob", "db1.chu"), now()).await.unwrap();
        assert_eq!(interventions(&facts), [own.id], "those that do not name him are left out now");
        assert_eq!(codes(&facts), [Code::InterventionNotApproved]);
    }

    async fn somebody_elses_draft_is_nobodys_business(world: World) {
        world.grant("bob", "chu", 1).await;
        let alice = world.operator("alice").await;
        let text = plan(&["alice", "bob"], &customer_id("chu"));
        let draft = Intervention::draft(number(1), customer_id("chu"), text, &alice, now());
        world.store.save(draft.unwrap()).await.unwrap();
        let facts = world.store.facts(&ask("bob", "db1.chu"), now()).await.unwrap();
        assert_eq!(codes(&facts), [Code::InterventionMissing]);
        let own = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert!(codes(&own).contains(&Code::InterventionNotApproved));
    }

    async fn several_open_interventions_make_several_permits_and_a_named_one_makes_one(world: World) {
        world.grant("alice", "chu", 1).await;
        let first = world.approved("alice", "chu").await;
        let second = world.approved("alice", "chu").await;
        let waiting = world.submitted("alice", "chu").await;
        let facts = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(interventions(&facts), [first.id.clone(), second.id.clone(), waiting.id.clone()]);
        assert_eq!(choose(&facts, now()).unwrap().len(), 2);

        for (named, permits) in [(&second.id, 1), (&waiting.id, 0), (&number(77), 0)] {
            let ask = Ask { intervention: Some(named.clone()), ..ask("alice", "db1.chu") };
            let facts = world.store.facts(&ask, now()).await.unwrap();
            assert_eq!(facts.len(), 1, "{named}");
            let chosen = choose(&facts, now()).unwrap_or_default();
            assert_eq!(chosen.len(), permits, "{named}");
            assert!(chosen.iter().all(|permit| permit.intervention() == named));
        }
    }

    async fn of_several_interventions_the_one_that_lists_a_destination_permits_it(world: World) {
        let mut terms = terms("alice", "chu");
        terms.scope.operations.insert(Operation::Forward);
        let grant = Grant::propose(GrantId::from_random([1; 16]), terms, admin(), now()).unwrap();
        let grant = world.store.save(grant).await.unwrap();
        world.store.save(grant.accept_in_setup(admin(), now()).unwrap()).await.unwrap();
        let listed = "localhost:* [2001:db8::1]:443";
        let lists = with_destinations(&world, listed).await;
        with_destinations(&world, "db.internal:5432").await;
        let kept = world.store.intervention(&lists.id).await.unwrap().unwrap();
        assert_eq!(kept, lists);
        assert_eq!(kept.plan().text.forwards, parse_list(listed).unwrap());
        let to = |host, port| Ask {
            operation: Some(Operation::Forward),
            forward_to: Some(Endpoint::parse(host, port).unwrap()),
            ..ask("alice", "db1.chu")
        };
        let facts = world.store.facts(&to("localhost", 5432), now()).await.unwrap();
        let permits = choose(&facts, now()).unwrap();
        assert_eq!(permits.iter().map(access::Permit::intervention).collect::<Vec<_>>(), [&lists.id]);
        let facts = world.store.facts(&to("127.0.0.1", 5432), now()).await.unwrap();
        assert_eq!(codes(&facts), [Code::DestinationNotInIntervention]);
        let now = later(60);
        let alice = world.operator("alice").await;
        let mut text = kept.plan().text.clone();
        text.forwards.clear();
        let amended = world.store.save(kept.amend(text, &alice, now).unwrap()).await.unwrap();
        let earlier = world.store.intervention(&lists.id).await.unwrap().unwrap().earlier_plans;
        assert_eq!(earlier, amended.earlier_plans);
        assert_eq!(earlier[0].text.forwards, parse_list(listed).unwrap());
    }

    async fn an_intervention_named_for_another_system_is_refused_as_such(world: World) {
        world.grant("alice", "chu", 1).await;
        world.approved("alice", "chu").await;
        let elsewhere = world.approved("alice", "clinic").await;
        let ask = Ask { intervention: Some(elsewhere.id), ..ask("alice", "db1.chu") };
        let facts = world.store.facts(&ask, now()).await.unwrap();
        assert_eq!(codes(&facts), [Code::TargetNotInIntervention]);
    }

    async fn open_ones_come_first_then_not_started_then_waiting_then_past(world: World) {
        world.grant("alice", "chu", 1).await;
        let past = world.approved("alice", "chu").await;
        let alice = world.operator("alice").await;
        world.store.save(past.clone().close(&alice, "done", now()).unwrap()).await.unwrap();
        let waiting = world.submitted("alice", "chu").await;
        let soon = with_window(&world, 24, 26).await;
        let sooner = with_window(&world, 12, 14).await;
        let open = world.approved("alice", "chu").await;
        let facts = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(
            interventions(&facts),
            [open.id.clone(), sooner.id.clone(), soon.id, waiting.id, past.id.clone()]
        );
        let over = world.store.facts(&ask("alice", "db1.chu"), now().plus(hours(3))).await.unwrap();
        assert_eq!(interventions(&over)[0], sooner.id, "what was open is over now");
        let forgotten = world.store.facts(&ask("alice", "db1.chu"), now().plus(hours(24 * 32))).await.unwrap();
        assert_eq!(codes_at(&forgotten, 24 * 32), [Code::InterventionMissing]);
    }

    async fn no_number_of_useless_grants_or_interventions_hides_the_useful_one(world: World) {
        let useful = world.grant("alice", "chu", 99).await;
        for i in 0..20 {
            let withdrawn = world.grant("alice", "chu", i).await;
            world.store.save(withdrawn.withdraw("not needed", admin(), later(1)).unwrap()).await.unwrap();
        }
        for i in 20..30 {
            other_account(&world, i).await;
        }
        let open = world.approved("alice", "chu").await;
        for _ in 0..20 {
            world.submitted("alice", "chu").await;
        }
        let facts = world.store.facts(&ask("alice", "db1.chu"), later(2)).await.unwrap();
        assert!(facts.len() <= 64, "{}", facts.len());
        let permits = choose(&facts, later(2)).unwrap();
        assert_eq!(permits.len(), 1);
        assert_eq!((permits[0].grant(), permits[0].intervention()), (&useful.id, &open.id));
    }

    async fn a_target_taken_away_by_a_review_is_not_granted_any_more(world: World) {
        let mut wide = terms("alice", "chu");
        world.store.save(crate::world::register_target("db2.chu", "chu")).await.unwrap();
        wide.scope.targets.insert(target_id("db2.chu"));
        let grant = Grant::propose(GrantId::from_random([1; 16]), wide, admin(), now()).unwrap();
        let grant = world.store.save(grant).await.unwrap();
        let grant = world.store.save(grant.accept_in_setup(admin(), now()).unwrap()).await.unwrap();
        let ask = ask("alice", "db2.chu");
        assert!(world.store.facts(&ask, now()).await.unwrap()[0].grant.is_some());
        let mut mona = world.operator("mona").await;
        mona.version = 1;
        let review = access::Review {
            reviewer: mona.id.clone(),
            decision: access::review::ReviewDecision::Reduce { scope: Scope { ..terms("alice", "chu").scope } },
            attestations: access::review::Attestations::ALL,
            comment: "only one is needed".into(),
            at: now(),
        };
        world.store.save(grant.review(&mona, review, now()).unwrap()).await.unwrap();
        assert_eq!(world.store.facts(&ask, now()).await.unwrap()[0].grant, None);
    }

    async fn the_facts_of_a_live_session_follow_every_later_change(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        let open = world.approved("alice", "chu").await;
        let session = world.session("alice", "chu", 1).await;
        let missing = async || {
            let facts = world.store.facts_of(&session, MEANS, policy()).await.unwrap();
            codes(&[facts])
        };
        assert!(missing().await.is_empty());
        let store = &world.store;
        let alice = world.operator("alice").await;
        let suspended = store.save(alice.suspend("left", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::OperatorSuspended]);
        store.save(suspended.resume(admin(), now()).unwrap()).await.unwrap();
        let actor = store.actors().await.unwrap().remove(0);
        let actor = store.save(actor.suspend("audit", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::ActorSuspended]);
        store.save(actor.resume(admin(), now())).await.unwrap();
        let target = store.target(&target_id("db1.chu")).await.unwrap().unwrap();
        let target = store.save(target.disable("fire", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::TargetDisabled]);
        store.save(target.enable(admin(), now())).await.unwrap();
        assert!(missing().await.is_empty());
        let alice = world.operator("alice").await;
        let (with, mut without) = (alice.details.clone(), alice.details.clone());
        without.keys = vec!["ssh-ed25519 AAAB".into()];
        let alice = store.save(alice.amend(without, admin(), now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::OperatorUnknown]);
        store.save(alice.amend(with, admin(), now()).unwrap()).await.unwrap();
        assert!(missing().await.is_empty());
        store.save(grant.withdraw("left", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::GrantWithdrawn]);
        let contact = world.contact("chu").await;
        store.save(open.revoke_by_contact(&contact, "stop", now()).unwrap()).await.unwrap();
        assert_eq!(missing().await, [Code::GrantWithdrawn, Code::InterventionRevoked]);
    }

    async fn a_factor_that_is_revoked_is_missing_to_what_was_opened_with_it(world: World) {
        world.grant("alice", "chu", 1).await;
        world.approved("alice", "chu").await;
        let session = world.session("alice", "chu", 1).await;
        let factor = world.store.factor(&session.credentials.factor).await.unwrap().unwrap();
        world.store.save(factor.revoke(admin(), now())).await.unwrap();
        let facts = world.store.facts_of(&session, MEANS, policy()).await.unwrap();
        assert_eq!(codes(&[facts]), [Code::SecondFactorMissing]);
        let candidates = world.store.facts(&ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(codes(&candidates), [Code::SecondFactorMissing]);
    }

    async fn a_certificate_that_is_revoked_ends_what_it_opened(world: World) {
        world.grant("alice", "chu", 1).await;
        world.approved("alice", "chu").await;
        let store = &world.store;
        let (source, wanted) = ("192.0.2.1".parse().unwrap(), CertificateRequest { key: "SHA256:x".into(), lasts: hours(1) });
        let id = CertificateId::from_random([1; 16]);
        let issued = Certificate::issue(id, operator_id("alice"), wanted, credentials("alice"), FactorUse::Fresh, source, now());
        let certificate = store.save(issued.unwrap()).await.unwrap();
        let given = certificate.credentials(&operator_id("alice"), "SHA256:x", source, now()).unwrap();
        let ask = Ask { credentials: Some(given), ..ask("alice", "db1.chu") };
        let permit = choose(&store.facts(&ask, now()).await.unwrap(), now()).unwrap().remove(0);
        assert_eq!(permit.ends_at(), certificate.ends_at);
        let session = store.save(open_session(&permit, 1)).await.unwrap();
        store.save(certificate.revoke("lost", admin(), now()).unwrap()).await.unwrap();
        let facts = store.facts_of(&session, MEANS, policy()).await.unwrap();
        assert_eq!(codes(&[facts]), [Code::SecondFactorMissing]);
    }

    async fn the_facts_of_a_session_are_its_own_grant_and_intervention_not_a_better_one(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        world.approved("alice", "chu").await;
        let session = world.session("alice", "chu", 1).await;
        world.store.save(grant.withdraw("moved", admin(), now()).unwrap()).await.unwrap();
        world.grant("alice", "chu", 2).await;
        let facts = world.store.facts_of(&session, MEANS, policy()).await.unwrap();
        assert_eq!(facts.grant.as_ref().map(|g| &g.id), Some(&session.grant));
        assert_eq!(facts.since, Some(session.started_at));
        assert_eq!(codes(&[facts]), [Code::GrantWithdrawn]);
    }

    async fn what_is_asked_is_passed_on_as_it_was_asked(world: World) {
        world.store.save(register_operator("carol")).await.unwrap();
        let ask = Ask { operation: None, credentials: None, since: Some(now()), ..ask("carol", "db1.chu") };
        let facts = world.store.facts(&ask, now()).await.unwrap().remove(0);
        assert_eq!(facts.operator.unwrap().id, operator_id("carol"));
        assert_eq!((facts.given, facts.asked.operation, facts.since), (None, None, Some(now())));
        assert_eq!((facts.place, facts.means, facts.policy), (ask.place, ask.means, ask.policy));
    }
}

fn codes(candidates: &[Facts]) -> Vec<Code> {
    codes_at(candidates, 0)
}

fn codes_at(candidates: &[Facts], in_hours: u64) -> Vec<Code> {
    match choose(candidates, now().plus(hours(in_hours))) {
        Ok(_) => Vec::new(),
        Err(denials) => denials.into_iter().map(|denial| denial.code).collect(),
    }
}

fn interventions(candidates: &[Facts]) -> Vec<InterventionId> {
    let ids = candidates
        .iter()
        .filter_map(|facts| facts.intervention.as_ref());
    ids.map(|intervention| intervention.id.clone()).collect()
}

async fn with_window(world: &World, from: u64, to: u64) -> Intervention {
    let mut text = plan(&["alice"], &customer_id("chu"));
    text.window = Window::new(now().plus(hours(from)), now().plus(hours(to))).unwrap();
    approved(world, text).await
}

async fn with_destinations(world: &World, listed: &str) -> Intervention {
    let mut text = plan(&["alice"], &customer_id("chu"));
    text.operations.insert(Operation::Forward);
    text.forwards = parse_list(listed).unwrap();
    approved(world, text).await
}

async fn approved(world: &World, text: PlanText) -> Intervention {
    let id = world.store.next_intervention_id(now()).await.unwrap();
    let alice = world.operator("alice").await;
    let draft = Intervention::draft(id, customer_id("chu"), text, &alice, now()).unwrap();
    let draft = world.store.save(draft).await.unwrap();
    let waiting = world
        .store
        .save(draft.submit(&alice, now()).unwrap())
        .await
        .unwrap();
    world.approve(waiting).await
}

/// A right in force on the same system for another account.
async fn other_account(world: &World, number: u8) {
    let mut terms = terms("alice", "chu");
    terms.scope.accounts = BTreeSet::from([AccountName::parse("postgres").unwrap()]);
    terms.scope.operations = BTreeSet::from([Operation::Shell]);
    let grant = Grant::propose(GrantId::from_random([number; 16]), terms, admin(), later(1));
    let grant = world.store.save(grant.unwrap()).await.unwrap();
    world
        .store
        .save(grant.accept_in_setup(admin(), later(1)).unwrap())
        .await
        .unwrap();
}
