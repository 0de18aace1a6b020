//! How people prove themselves: factors, lockouts, web sign-in. Everything that works once works
//! once, however many ask at the same instant.

use crate::world::{World, admin, customer_id, event, later, now, on_both, operator_id};
use access::lockout::{AfterFailure, Lockout};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::{ContactId, FactorId};
use store::{Invitation, Origin, Store, StoreError, WebSession};

on_both! {
    async fn a_code_used_fifty_times_at_once_works_once(world: World) {
        let factor = totp(&world, 1).await;
        let other = Store::open(&world.url).await.unwrap();
        let mut tasks = Vec::new();
        for i in 0..50 {
            let store = if i % 2 == 0 { world.store.clone() } else { other.clone() };
            let id = factor.id.clone();
            tasks.push(tokio::spawn(async move { store.use_totp_step(&id, 1000).await.unwrap() }));
        }
        let mut worked = 0;
        for task in tasks {
            worked += u8::from(task.await.unwrap());
        }
        assert_eq!(worked, 1);
    }

    async fn a_code_of_an_earlier_step_never_works_again(world: World) {
        let factor = totp(&world, 1).await;
        let step = async |step| world.store.use_totp_step(&factor.id, step).await.unwrap();
        let answers = [step(1000).await, step(999).await, step(1000).await, step(1001).await, step(1001).await];
        assert_eq!(answers, [true, false, false, true, false]);
    }

    async fn a_code_of_a_revoked_or_unknown_factor_never_works(world: World) {
        let factor = totp(&world, 1).await;
        let id = factor.id.clone();
        world.store.save(factor.revoke(admin(), now())).await.unwrap();
        assert!(!world.store.use_totp_step(&id, 1).await.unwrap());
        assert!(!world.store.use_totp_step(&FactorId::from_random([9; 16]), 1).await.unwrap());
    }

    async fn factors_are_the_holders_own_and_not_revoked(world: World) {
        let alices = totp(&world, 1).await;
        let gone = totp(&world, 2).await;
        world.store.save(gone.revoke(admin(), now())).await.unwrap();
        let claire = Holder::Contact(ContactId::parse("claire.chu").unwrap());
        let key = passkey(&world, 3, claire.clone(), "cred-3").await;
        assert_eq!(enrolled_here(&world, &alices.holder.clone()).await, [alices]);
        assert_eq!(world.store.factors(&claire).await.unwrap(), std::slice::from_ref(&key));
        let bob = Holder::Operator(operator_id("bob"));
        assert!(enrolled_here(&world, &bob).await.is_empty());
        assert_eq!(world.store.passkey_by_credential("cred-3").await.unwrap(), Some(key.clone()));
        assert_eq!(world.store.passkey_by_credential("cred-4").await.unwrap(), None);
        let used = world.store.save(key.used("{\"counter\":2}".into(), now())).await.unwrap();
        assert_eq!(world.store.passkey_by_credential("cred-3").await.unwrap(), Some(used.clone()));
        world.store.save(used.revoke(admin(), now())).await.unwrap();
        assert_eq!(world.store.passkey_by_credential("cred-3").await.unwrap(), None);
    }

    async fn one_passkey_is_one_persons(world: World) {
        passkey(&world, 1, Holder::Operator(operator_id("alice")), "cred").await;
        let again = enrolled(2, Holder::Operator(operator_id("bob")), Factor::Passkey { credential_id: "cred".into(), credential: "{}".into() });
        let refused = world.store.save(again).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }

    async fn failures_counted_at_once_are_all_counted(world: World) {
        let other = Store::open(&world.url).await.unwrap();
        let before = world.store.head().await.unwrap();
        let mut tasks = Vec::new();
        for i in 0..12 {
            let store = if i % 2 == 0 { world.store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(async move {
                store.count_failure("operator:alice", event("login.failed"), now()).await.unwrap()
            }));
        }
        let mut locks = 0;
        for task in tasks {
            locks += u8::from(task.await.unwrap() != AfterFailure::Open);
        }
        assert_eq!(locks, 4, "every third of twelve failures locks");
        let state = world.store.lockout("operator:alice").await.unwrap();
        assert_eq!((state.failures, state.locks), (0, 4));
        assert!(state.locked_at(later(1)).is_some());
        assert_eq!(world.store.head().await.unwrap(), before + 12, "each failure is traced");
        assert_eq!(world.store.lockout("operator:bob").await.unwrap(), Lockout::default());
    }

    async fn a_success_forgets_the_failures_and_writes_nothing_where_there_are_none(world: World) {
        let fail = async || world.store.count_failure("source:192.0.2.1", event("login.failed"), now()).await.unwrap();
        fail().await;
        fail().await;
        world.store.count_success("source:192.0.2.1").await.unwrap();
        assert_eq!(fail().await, AfterFailure::Open);
        world.store.count_success("source:192.0.2.2").await.unwrap();
        let mut around = world.around().await;
        assert_eq!(around.number("SELECT COUNT(*) FROM lockouts").await, 1);
    }

    async fn a_web_session_lives_from_its_opening_to_its_closing(world: World) {
        let before = world.store.head().await.unwrap();
        let session = web_session(1, later(3600));
        world.store.open_web_session(session.clone(), event("web.signed_in")).await.unwrap();
        let token = session.token_sha256;
        assert_eq!(world.store.web_session(&token).await.unwrap(), Some(session.clone()));
        world.store.touch_web_session(&token, later(20)).await.unwrap();
        world.store.touch_web_session(&token, later(10)).await.unwrap();
        world.store.freshen_web_session(&token, later(300)).await.unwrap();
        let seen = world.store.web_session(&token).await.unwrap().unwrap();
        assert_eq!(seen, WebSession { seen_at: later(20), fresh_until: later(300), ..session });
        world.store.close_web_session(&token, event("web.signed_out")).await.unwrap();
        world.store.close_web_session(&token, event("web.signed_out")).await.unwrap();
        assert_eq!(world.store.web_session(&token).await.unwrap(), None);
        assert_eq!(world.store.head().await.unwrap(), before + 2, "closing twice is traced once");
        let gone = world.store.touch_web_session(&token, later(30)).await;
        assert!(matches!(gone, Err(StoreError::NotFound { table: "web_sessions", .. })));
        assert!(world.store.freshen_web_session(&token, later(30)).await.is_err());
    }

    async fn a_web_session_of_a_contact_stays_on_the_customers_origin(world: World) {
        let session = WebSession {
            origin: Origin::Customer,
            holder: Holder::Contact(ContactId::parse("claire.chu").unwrap()),
            ..web_session(2, later(60))
        };
        world.store.open_web_session(session.clone(), event("web.signed_in")).await.unwrap();
        assert_eq!(world.store.web_session(&[2; 32]).await.unwrap(), Some(session.clone()));
        let twice = world.store.open_web_session(session, event("web.signed_in")).await;
        assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
        let nobody = Holder::Contact(ContactId::parse("nobody").unwrap());
        let unknown = WebSession { holder: nobody, ..web_session(3, later(60)) };
        assert!(world.store.open_web_session(unknown, event("web.signed_in")).await.is_err());
        let late = WebSession { created_at: later(61), ..web_session(4, later(99)) };
        world.store.open_web_session(late, event("web.signed_in")).await.unwrap();
        assert_eq!(world.store.web_session(&[2; 32]).await.unwrap(), None, "ended ones are forgotten");
    }

    async fn an_invitation_used_twenty_times_at_once_enrols_one_factor(world: World) {
        let invitation = invitation(1);
        world.store.invite(invitation.clone(), event("contact.invited")).await.unwrap();
        assert_eq!(world.store.invitation(&[1; 32], now()).await.unwrap(), Some(invitation.clone()));
        let before = world.store.head().await.unwrap();
        let mut tasks = Vec::new();
        for i in 0..20 {
            let store = world.store.clone();
            tasks.push(tokio::spawn(async move {
                let event = event("invitation.used");
                store.enrol_invited(&[1; 32], invited(i, &format!("cred-{i}")), event).await.unwrap()
            }));
        }
        let mut worked = 0;
        for task in tasks {
            worked += u8::from(task.await.unwrap());
        }
        assert_eq!(worked, 1);
        assert_eq!(world.store.invitation(&[1; 32], now()).await.unwrap(), None);
        assert_eq!(world.store.factors(&invitation.holder).await.unwrap().len(), 1);
        assert_eq!(world.store.head().await.unwrap(), before + 2, "enrolled and used, once each");
    }

    async fn an_invitation_that_expired_or_never_was_enrols_nothing(world: World) {
        world.store.invite(invitation(1), event("contact.invited")).await.unwrap();
        assert_eq!(world.store.invitation(&[1; 32], later(60)).await.unwrap(), None);
        let before = world.store.head().await.unwrap();
        let use_it = async |token: u8, at| {
            let event = access::Event::new("invitation.used", admin(), "test", at);
            let enrolled = invited(token, &format!("cred-{token}"));
            world.store.enrol_invited(&[token; 32], enrolled, event).await.unwrap()
        };
        assert!(!use_it(1, later(60)).await);
        assert!(!use_it(2, now()).await);
        assert!(world.store.factors(&invitation(1).holder).await.unwrap().is_empty());
        assert_eq!(world.store.head().await.unwrap(), before, "nothing is traced that did not happen");
        assert!(use_it(1, later(59)).await);
    }

    async fn a_credential_that_is_known_uses_no_invitation_up(world: World) {
        passkey(&world, 9, Holder::Operator(operator_id("alice")), "cred").await;
        world.store.invite(invitation(1), event("contact.invited")).await.unwrap();
        let before = world.store.head().await.unwrap();
        let refused = world.store.enrol_invited(&[1; 32], invited(1, "cred"), event("invitation.used")).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        assert!(world.store.factors(&invitation(1).holder).await.unwrap().is_empty());
        assert_eq!(world.store.head().await.unwrap(), before);
        assert_eq!(world.store.invitation(&[1; 32], now()).await.unwrap(), Some(invitation(1)));
        assert!(world.store.enrol_invited(&[1; 32], invited(2, "cred-2"), event("invitation.used")).await.unwrap());
    }

    async fn a_factor_taken_out_of_use_ends_every_sign_in_of_its_holder_and_of_nobody_else(world: World) {
        let stolen = totp(&world, 1).await;
        let bobs = WebSession { holder: Holder::Operator(operator_id("bob")), ..web_session(3, later(3600)) };
        for session in [web_session(1, later(3600)), web_session(2, later(3600)), bobs.clone()] {
            world.store.open_web_session(session, event("web.signed_in")).await.unwrap();
        }
        let before = world.store.head().await.unwrap();
        let revoke = || stolen.clone().revoke_because("stolen from a car", admin(), now()).unwrap();
        let gone = world.store.revoke_and_sign_out(revoke(), event("sign_in.ended")).await.unwrap();
        assert_eq!(gone, 2);
        assert!(enrolled_here(&world, &stolen.holder).await.is_empty());
        for token in [[1; 32], [2; 32]] {
            assert_eq!(world.store.web_session(&token).await.unwrap(), None);
        }
        assert_eq!(world.store.web_session(&[3; 32]).await.unwrap(), Some(bobs));
        let entries = world.store.entries(before, 10).await.unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].text.contains("stolen from a car"), "{}", entries[0].text);
        assert!(entries[1].text.contains("\"sign_ins\":2"), "{}", entries[1].text);
        let again = world.store.revoke_and_sign_out(revoke(), event("sign_in.ended")).await;
        assert!(matches!(again, Err(StoreError::Stale { .. })), "{again:?}");
        assert_eq!(world.store.head().await.unwrap(), before + 2);
    }

    async fn a_ceremony_is_taken_once_by_its_kind_and_in_time(world: World) {
        let store = &world.store;
        let keep = async |id: u8| store.keep_ceremony([id; 32], "sign-in", "{}", later(60)).await.unwrap();
        keep(1).await;
        assert_eq!(store.take_ceremony(&[1; 32], "enrol", now()).await.unwrap(), None);
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { store.take_ceremony(&[1; 32], "sign-in", later(59)).await.unwrap() }));
        }
        let mut taken = Vec::new();
        for task in tasks {
            taken.extend(task.await.unwrap());
        }
        assert_eq!(taken, ["{}"]);
        keep(2).await;
        keep(3).await;
        assert_eq!(store.take_ceremony(&[2; 32], "sign-in", later(60)).await.unwrap(), None);
        assert_eq!(store.take_ceremony(&[3; 32], "sign-in", now()).await.unwrap(), None, "it expired when time had come to");
    }

    async fn a_registered_customers_recording_key_is_never_replaced(world: World) {
        let new = customer_id("new");
        let keep = async |bytes: &[u8]| world.store.keep_recording_key(&new, bytes, event("recording_key.kept")).await;
        keep(b"one").await.unwrap();
        keep(b"two").await.unwrap();
        world.store.save(crate::world::register_customer("new")).await.unwrap();
        let before = world.store.head().await.unwrap();
        let refused = keep(b"three").await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        assert_eq!(world.store.recording_key(&new).await.unwrap(), Some(b"two".to_vec()));
        assert_eq!(world.store.head().await.unwrap(), before);
        assert_eq!(world.store.recording_key(&customer_id("chu")).await.unwrap(), None);
    }

    async fn a_setting_is_what_was_set_last_and_each_change_is_traced(world: World) {
        let before = world.store.head().await.unwrap();
        assert_eq!(world.store.setting("setup").await.unwrap(), None);
        for value in ["open", "closed"] {
            world.store.set_setting("setup", value, event("setup.changed")).await.unwrap();
        }
        assert_eq!(world.store.setting("setup").await.unwrap().as_deref(), Some("closed"));
        assert_eq!(world.store.head().await.unwrap(), before + 2);
    }
}

fn enrolled(number: u8, holder: Holder, factor: Factor) -> access::Changed<SecondFactor> {
    SecondFactor::enrol(
        FactorId::from_random([number; 16]),
        holder,
        factor,
        admin(),
        now(),
    )
}

/// What this holder has beside the code generator that everybody is given at first.
async fn enrolled_here(world: &World, holder: &Holder) -> Vec<SecondFactor> {
    let mut factors = world.store.factors(holder).await.unwrap();
    factors.retain(|factor| !["fa-alice", "fa-bob"].contains(&factor.id.as_str()));
    factors
}

async fn totp(world: &World, number: u8) -> SecondFactor {
    let holder = Holder::Operator(operator_id("alice"));
    let factor = Factor::Totp {
        sealed_secret: "AAAA".into(),
    };
    world
        .store
        .save(enrolled(number, holder, factor))
        .await
        .unwrap()
}

async fn passkey(world: &World, number: u8, holder: Holder, credential: &str) -> SecondFactor {
    let factor = Factor::Passkey {
        credential_id: credential.into(),
        credential: "{}".into(),
    };
    world
        .store
        .save(enrolled(number, holder, factor))
        .await
        .unwrap()
}

fn web_session(number: u8, ends_at: access::Time) -> WebSession {
    WebSession {
        token_sha256: [number; 32],
        origin: Origin::Host,
        holder: Holder::Operator(operator_id("alice")),
        created_at: now(),
        seen_at: now(),
        ends_at,
        fresh_until: now(),
    }
}

/// The passkey of whom [`invitation`] invites.
fn invited(number: u8, credential: &str) -> access::Changed<SecondFactor> {
    let factor = Factor::Passkey {
        credential_id: credential.into(),
        credential: "{}".into(),
    };
    enrolled(number, invitation(number).holder, factor)
}

fn invitation(number: u8) -> Invitation {
    Invitation {
        token_sha256: [number; 32],
        holder: Holder::Contact(ContactId::parse("claire.chu").unwrap()),
        invited_by: admin(),
        expires_at: later(60),
    }
}
