//! The registers: every noun is saved, found again as it was, and listed.

use crate::world::{
    World, admin, credentials, customer_id, event, hours, later, now, number, on_both, operator_id,
    plan, target_id, terms,
};
use access::actor::ActorKind;
use access::certificate::CertificateRequest;
use access::confirmation::Confirmation;
use access::decide::choose;
use access::grant::{ReviewEvery, Standing};
use access::operator::OperatorState;
use access::plan::LONGEST_WINDOW;
use access::second_factor::{Factor, Holder, SecondFactor};
use access::session::FactorUse;
use access::time::Window;
use access::{
    Actor, ActorId, Certificate, CertificateId, FactorId, Grant, GrantId, Intervention, Time, Who,
};
use std::time::Duration;
use store::{GrantFilter, GrantUse, InterventionFilter, SessionFilter};

on_both! {
    async fn every_noun_comes_back_as_it_was_saved(world: World) {
        let store = &world.store;
        let chu = store.customer(&customer_id("chu")).await.unwrap().unwrap();
        assert_eq!((chu.version, chu.name.as_str()), (1, "Customer chu"));
        let renamed = store.save(chu.rename("CHU d'Exemple", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(renamed.version, 2);
        assert_eq!(store.customer(&renamed.id).await.unwrap(), Some(renamed));

        let contact = world.contact("clinic").await;
        let removed = store.save(contact.remove(admin(), now())).await.unwrap();
        assert_eq!(store.contact(&removed.id).await.unwrap(), Some(removed));

        let id = ActorId::parse("helper").unwrap();
        let actor = Actor::register(id, "A subcontractor", ActorKind::Subcontractor, admin(), now());
        let actor = store.save(actor.unwrap()).await.unwrap();
        let actor = store.save(actor.suspend("certificate over", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(store.actor(&actor.id).await.unwrap(), Some(actor));

        let alice = world.operator("alice").await;
        let alice = store.save(alice.accept_charter("3", now())).await.unwrap();
        assert_eq!(world.operator("alice").await, alice);

        let target = store.target(&target_id("db1.chu")).await.unwrap().unwrap();
        let target = store.save(target.disable("broken", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(store.target(&target.id).await.unwrap(), Some(target.clone()));
        store.save(target.enable(admin(), now())).await.unwrap();

        let grant = world.grant("alice", "chu", 1).await;
        assert_eq!(store.grant(&grant.id).await.unwrap(), Some(grant));
        let intervention = world.approved("alice", "chu").await;
        assert_eq!(store.intervention(&intervention.id).await.unwrap(), Some(intervention));

        let session = world.session("alice", "chu", 1).await;
        assert_eq!(store.session(&session.id).await.unwrap(), Some(session.clone()));
        let ended = session.end("left", "00", admin(), later(60)).unwrap();
        let ended = store.save(ended).await.unwrap();
        assert_eq!(store.session(&ended.id).await.unwrap(), Some(ended));

        let holder = Holder::Operator(operator_id("alice"));
        let factor = Factor::Totp { sealed_secret: "AAAA".into() };
        let factor = SecondFactor::enrol(FactorId::from_random([1; 16]), holder, factor, admin(), now());
        let factor = store.save(factor).await.unwrap();
        assert_eq!(store.factor(&factor.id).await.unwrap(), Some(factor));

        let wanted = CertificateRequest { key: "SHA256:x".into(), lasts: hours(1) };
        let issue = |n: u8, login: &str| {
            let id = CertificateId::from_random([n; 16]);
            let source = "192.0.2.1".parse().unwrap();
            Certificate::issue(id, operator_id(login), wanted.clone(), credentials(login), FactorUse::Fresh, source, now())
        };
        let known = store.save(issue(1, "alice").unwrap()).await.unwrap();
        store.save(issue(2, "bob").unwrap()).await.unwrap();
        assert_eq!(store.certificate(&known.id).await.unwrap(), Some(known.clone()));
        let in_use = async |login: Option<&str>, at| {
            let login = login.map(operator_id);
            let found = store.certificates_in_use(login.as_ref(), at).await.unwrap();
            found.into_iter().map(|one| one.operator.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(in_use(None, now()).await, ["alice", "bob"]);
        assert_eq!(in_use(Some("alice"), now()).await, ["alice"]);
        assert_eq!(in_use(None, known.ends_at).await, Vec::<String>::new());
        store.save(known.revoke("lost", admin(), now()).unwrap()).await.unwrap();
        assert_eq!(in_use(None, now()).await, ["bob"]);

        let asked = Confirmation::open("c0de".into(), operator_id("alice"), "192.0.2.1".into(), "root@db1.chu".into(), 7, now());
        let asked = store.save(asked).await.unwrap();
        assert_eq!(store.confirmation("c0de").await.unwrap(), Some(asked.clone()));
        let confirmed = asked.confirm(&operator_id("alice"), FactorId::from_random([1; 16]), 7, later(5)).unwrap();
        let confirmed = store.save(confirmed).await.unwrap();
        let used = store.save(confirmed.take(later(6)).unwrap()).await.unwrap();
        assert_eq!(store.confirmation("c0de").await.unwrap(), Some(used));
        assert_eq!(store.confirmation("none").await.unwrap(), None);
    }

    async fn registers_are_listed_by_name(world: World) {
        let names = |list: Vec<String>| list.join(" ");
        let store = &world.store;
        let customers = store.customers().await.unwrap();
        assert_eq!(names(customers.iter().map(|c| c.id.to_string()).collect()), "chu clinic");
        let operators = store.operators().await.unwrap();
        assert_eq!(names(operators.iter().map(|o| o.id.to_string()).collect()), "alice bob mona");
        let targets = store.targets().await.unwrap();
        assert_eq!(names(targets.iter().map(|t| t.id.to_string()).collect()), "db1.chu db1.clinic");
        let contacts = store.contacts().await.unwrap();
        assert_eq!(names(contacts.iter().map(|c| c.id.to_string()).collect()), "claire.chu claire.clinic");
        assert_eq!(store.actors().await.unwrap().len(), 1);
        assert_eq!(store.operator(&operator_id("nobody")).await.unwrap(), None);
        assert_eq!(store.target(&target_id("nowhere")).await.unwrap(), None);
    }

    async fn grants_are_listed_newest_first_and_page_by_page(world: World) {
        let mut ids = Vec::new();
        for (i, (login, customer)) in (0_u8..).zip([("alice", "chu"), ("bob", "chu"), ("alice", "clinic")]) {
            let at = later(u64::from(i));
            let id = GrantId::from_random([9 - i; 16]);
            let grant = Grant::propose(id.clone(), terms(login, customer), admin(), at).unwrap();
            world.store.save(grant).await.unwrap();
            ids.push(id);
        }
        let all = GrantFilter { limit: 10, ..GrantFilter::default() };
        assert_eq!(listed(&world, all.clone()).await, [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
        let first = GrantFilter { limit: 1, ..all.clone() };
        assert_eq!(listed(&world, first).await, [ids[2].clone()]);
        let rest = GrantFilter { after: Some(ids[2].clone()), ..all.clone() };
        assert_eq!(listed(&world, rest).await, [ids[1].clone(), ids[0].clone()]);
        let alice = GrantFilter { operator: Some(operator_id("alice")), ..all.clone() };
        assert_eq!(listed(&world, alice.clone()).await, [ids[2].clone(), ids[0].clone()]);
        let there = GrantFilter { target: Some(target_id("db1.chu")), ..alice };
        assert_eq!(listed(&world, there).await, [ids[0].clone()]);
        let clinic = GrantFilter { customer: Some(customer_id("clinic")), ..all };
        assert_eq!(listed(&world, clinic).await, [ids[2].clone()]);
    }

    async fn due_reviews_are_those_of_active_grants_that_go_on(world: World) {
        let due = world.grant("alice", "chu", 1).await;
        let withdrawn = world.grant("bob", "chu", 2).await;
        world.store.save(withdrawn.withdraw("left", admin(), now()).unwrap()).await.unwrap();
        let mut short = terms("bob", "clinic");
        short.validity = Window::new(now(), now().plus(hours(24 * 30))).unwrap();
        let short = Grant::propose(GrantId::from_random([3; 16]), short, Who::Bastion, now()).unwrap();
        let short = world.store.save(short).await.unwrap();
        world.store.save(short.accept_in_setup(admin(), now()).unwrap()).await.unwrap();
        let mut often = terms("mona", "chu");
        often.review_every = ReviewEvery::Quarter;
        let often = Grant::propose(GrantId::from_random([4; 16]), often, Who::Bastion, now()).unwrap();
        let often = world.store.save(often).await.unwrap();
        let often = world.store.save(often.accept_in_setup(admin(), now()).unwrap()).await.unwrap();

        let ids = |grants: Vec<Grant>| grants.into_iter().map(|g| g.id).collect::<Vec<_>>();
        let year = world.store.grants_due(now().plus_months(12), 10).await.unwrap();
        assert_eq!(ids(year), [often.id.clone(), due.id.clone()]);
        let year = world.store.grants_due(now().plus_months(12), 1).await.unwrap();
        assert_eq!(ids(year), std::slice::from_ref(&often.id));
        let quarter = world.store.grants_due(now().plus_months(3), 10).await.unwrap();
        assert_eq!(ids(quarter), [often.id]);
        assert!(world.store.grants_due(now().plus_months(2), 10).await.unwrap().is_empty());
    }

    async fn who_could_do_what_on_a_date_is_what_stood_then(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        let other = world.grant("bob", "clinic", 2).await;
        let withdrawal = grant.clone().withdraw("left", admin(), later(3600)).unwrap();
        world.store.save(withdrawal).await.unwrap();
        let as_of = async |at: Time| {
            world.store.grants_as_of(at, Some(&operator_id("alice")), Some(&target_id("db1.chu"))).await.unwrap()
        };
        let before = as_of(later(3599)).await;
        assert_eq!(before, [grant]);
        assert_eq!(before[0].standing(later(3599)), Standing::InForce);
        assert_eq!(as_of(later(3600)).await[0].standing(later(3600)), Standing::Withdrawn);
        assert!(as_of(now().minus(hours(1))).await.is_empty(), "it was not proposed yet");
        let everybody = world.store.grants_as_of(later(1), None, None).await.unwrap();
        assert_eq!(everybody.len(), 2);
        let there = world.store.grants_as_of(later(1), None, Some(&target_id("db1.clinic"))).await.unwrap();
        assert_eq!(there, [other]);
    }

    async fn a_grants_use_is_counted(world: World) {
        let grant = world.grant("alice", "chu", 1).await;
        let unused = world.store.grant_use(&grant.id).await.unwrap();
        assert_eq!(unused, GrantUse { sessions: 0, last_used: None });
        world.approved("alice", "chu").await;
        world.session("alice", "chu", 1).await;
        world.session("alice", "chu", 2).await;
        let used = world.store.grant_use(&grant.id).await.unwrap();
        assert_eq!(used, GrantUse { sessions: 2, last_used: Some(now()) });
    }

    async fn intervention_numbers_start_over_each_year_and_are_given_once(world: World) {
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let store = world.store.clone();
            tasks.push(tokio::spawn(async move { store.next_intervention_id(now()).await.unwrap() }));
        }
        let mut given = Vec::new();
        for task in tasks {
            given.push(task.await.unwrap());
        }
        given.sort();
        assert_eq!(given, (1..=20).map(number).collect::<Vec<_>>());
        let next_year = world.store.next_intervention_id(now().plus_months(2)).await.unwrap();
        assert_eq!(next_year.as_str(), "INT-2027-00001");
    }

    async fn interventions_are_listed_by_what_they_name(world: World) {
        let approved = world.approved("alice", "chu").await;
        let waiting = world.submitted("bob", "clinic").await;
        let all = InterventionFilter { limit: 10, ..InterventionFilter::default() };
        let both = shown(&world, all.clone()).await;
        assert_eq!(both, [waiting.id.clone(), approved.id.clone()]);
        let next = InterventionFilter { after: Some(waiting.id.clone()), ..all.clone() };
        assert_eq!(shown(&world, next).await, std::slice::from_ref(&approved.id));
        for (filter, expected) in [
            (InterventionFilter { operator: Some(operator_id("alice")), ..all.clone() }, &approved),
            (InterventionFilter { requested_by: Some(operator_id("bob")), ..all.clone() }, &waiting),
            (InterventionFilter { target: Some(target_id("db1.chu")), ..all.clone() }, &approved),
            (InterventionFilter { customer: Some(customer_id("clinic")), ..all.clone() }, &waiting),
            (InterventionFilter { states: vec!["approved", "closed"], ..all.clone() }, &approved),
            (InterventionFilter { states: vec!["submitted"], ..all.clone() }, &waiting),
        ] {
            assert_eq!(shown(&world, filter.clone()).await, std::slice::from_ref(&expected.id), "{filter:?}");
        }
        let none = InterventionFilter { states: vec!["draft", "sub"], ..all };
        assert!(shown(&world, none).await.is_empty());
    }

    async fn aging_lists_exactly_what_time_changes(world: World) {
        let approved = world.approved("alice", "chu").await;
        let waiting = world.submitted("alice", "clinic").await;
        let closed = world.approved("bob", "chu").await;
        let bob = world.operator("bob").await;
        world.store.save(closed.close(&bob, "done", now()).unwrap()).await.unwrap();
        let draft = Intervention::draft(number(900), customer_id("chu"), plan(&["bob"], &customer_id("chu")), &bob, now());
        world.store.save(draft.unwrap()).await.unwrap();
        let end = approved.plan().text.window.end();
        assert!(world.store.aging(end.minus(Duration::from_micros(1)), 10).await.unwrap().is_empty());
        let aging = world.store.aging(end, 10).await.unwrap();
        assert_eq!(aging.iter().map(|i| i.id.clone()).collect::<Vec<_>>(), [approved.id, waiting.id]);
        for intervention in aging {
            let aged = intervention.aged(end).expect("time changes it");
            world.store.save(aged).await.unwrap();
        }
        let much_later = end.plus(LONGEST_WINDOW);
        assert!(world.store.aging(much_later, 10).await.unwrap().is_empty());
    }

    async fn a_new_plan_changes_whom_and_what_an_intervention_is_found_by(world: World) {
        let waiting = world.submitted("alice", "chu").await;
        let alice = world.operator("alice").await;
        let amended = waiting.amend(plan(&["bob"], &customer_id("chu")), &alice, now()).unwrap();
        let amended = world.store.save(amended).await.unwrap();
        let named = |login| InterventionFilter { operator: Some(operator_id(login)), limit: 9, ..InterventionFilter::default() };
        assert!(shown(&world, named("alice")).await.is_empty());
        assert_eq!(shown(&world, named("bob")).await, std::slice::from_ref(&amended.id));
        let people = world.store.people_of(&amended).await.unwrap();
        let logins: Vec<&str> = people.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(logins, ["alice", "bob"], "the requester counts, too");
    }

    async fn sessions_are_listed_by_what_they_belong_to(world: World) {
        world.grant("alice", "chu", 1).await;
        let of_bob = world.grant("bob", "clinic", 2).await;
        let first = world.approved("alice", "chu").await;
        world.approved("bob", "clinic").await;
        let alices = world.session("alice", "chu", 1).await;
        let bobs = world.session("bob", "clinic", 2).await;
        assert_eq!(world.store.live_sessions().await.unwrap(), [alices.clone(), bobs.clone()]);
        let ended = world.store.save(alices.end("left", "00", admin(), later(9)).unwrap()).await.unwrap();
        assert_eq!(world.store.live_sessions().await.unwrap(), std::slice::from_ref(&bobs));
        let all = SessionFilter { limit: 10, ..SessionFilter::default() };
        for (filter, expected) in [
            (SessionFilter { operator: Some(operator_id("alice")), ..all.clone() }, &ended),
            (SessionFilter { target: Some(target_id("db1.clinic")), ..all.clone() }, &bobs),
            (SessionFilter { customer: Some(customer_id("chu")), ..all.clone() }, &ended),
            (SessionFilter { intervention: Some(first.id.clone()), ..all.clone() }, &ended),
            (SessionFilter { grant: Some(of_bob.id.clone()), ..all.clone() }, &bobs),
            (SessionFilter { live_only: true, ..all.clone() }, &bobs),
        ] {
            let found = world.store.sessions(filter.clone()).await.unwrap();
            assert_eq!(found, std::slice::from_ref(expected), "{filter:?}");
        }
        assert_eq!(world.store.sessions(all.clone()).await.unwrap().len(), 2);
        let earlier = SessionFilter { before: Some(now()), ..all };
        assert!(world.store.sessions(earlier).await.unwrap().is_empty());
    }

    async fn what_is_read_back_decides_as_what_was_saved(world: World) {
        world.grant("alice", "chu", 1).await;
        world.approved("alice", "chu").await;
        let alice = world.operator("alice").await;
        assert_eq!(alice.state, OperatorState::Active);
        let facts = world.store.facts(&crate::world::ask("alice", "db1.chu"), now()).await.unwrap();
        assert_eq!(choose(&facts, now()).unwrap().len(), 1);
        world.store.append(event("login.succeeded")).await.unwrap();
    }
}

async fn listed(world: &World, filter: GrantFilter) -> Vec<GrantId> {
    let found = world.store.grants(filter).await.unwrap();
    found.into_iter().map(|grant| grant.id).collect()
}

async fn shown(world: &World, filter: InterventionFilter<'_>) -> Vec<access::InterventionId> {
    let found = world.store.interventions(filter).await.unwrap();
    found
        .into_iter()
        .map(|intervention| intervention.id)
        .collect()
}
