//! Invitations, sign-in, step-up, sign-out, and how each ends.

use crate::desk::browser::Browser;
use crate::desk::device::User;
use crate::desk::{CUSTOMER_URL, DAY, Desk, HOST_URL, MINUTE, by, contact_id, forward, now};
use access::second_factor::{Factor, Holder};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

#[tokio::test]
async fn an_invitation_enrols_one_passkey_and_signs_in() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    assert_eq!(claire.get("/").await.status, 200);
    let events = desk.events().await;
    let tail: Vec<&str> = events
        .iter()
        .rev()
        .take(4)
        .rev()
        .map(String::as_str)
        .collect();
    assert_eq!(
        tail,
        [
            "invitation.created",
            "second_factor.enrolled",
            "invitation.used",
            "sign_in.opened"
        ]
    );
}

#[tokio::test]
async fn an_invitation_works_once_and_not_after_it_expired() {
    let desk = Desk::open().await;
    let invitation = desk.invite("claire").await;
    let mut first = desk.browser_of("claire").await;
    assert_eq!(first.enrol(&invitation).await.status, 204);
    let mut second = desk.browser_of("claire").await;
    assert_eq!(second.enrol(&invitation).await.code(), "invitation");

    let late = desk.invite("paul").await;
    forward(DAY);
    let mut paul = desk.browser_of("paul").await;
    assert_eq!(paul.enrol(&late).await.code(), "invitation");
}

#[tokio::test]
async fn a_passkey_that_is_known_is_a_sentence_and_uses_no_invitation_up() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let invitation = desk.invite("paul").await;
    let token = invitation.split_once('#').unwrap().1.to_owned();
    let mut paul = desk.browser_of("paul").await;
    let options = paul
        .call("/invitation/options", &json!({ "token": token }))
        .await;
    let origin = paul.origin.clone();
    let public_key = &options.json()["publicKey"];
    let made = paul.device.create(&origin, public_key).await;
    let credential = under_another_name(made, &credential_of(&desk, "claire").await);
    let finish = json!({ "token": token, "credential": credential });
    let before = desk.events().await;
    let reply = paul.call("/invitation/finish", &finish).await;
    let said = (reply.status.as_u16(), reply.code());
    assert_eq!(said, (409, "passkey_known".to_owned()), "{}", reply.body);
    let sentence = reply.json()["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("déjà enregistrée"), "{sentence}");
    assert_eq!(desk.events().await, before, "nothing happened");
    assert_eq!(paul.enrol(&invitation).await.status, 204);
    assert_eq!(claire.sign_in("claire").await.status, 204);
}

#[tokio::test]
async fn an_invitation_of_one_origin_is_none_on_the_other() {
    let desk = Desk::open().await;
    let invitation = desk.invite("claire").await;
    let mut host = Browser::new(&desk.host, HOST_URL);
    assert_eq!(host.enrol(&invitation).await.code(), "invitation");
    let invitation = desk.invite("alice").await;
    let mut customer = Browser::new(&desk.customer, CUSTOMER_URL);
    assert_eq!(customer.enrol(&invitation).await.code(), "invitation");
}

#[tokio::test]
async fn a_passkey_signs_in_again_and_the_old_sign_in_can_be_left() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let left = claire.post("/sign-out", &[]).await;
    assert_eq!((left.status.as_u16(), left.location()), (303, "/sign-in"));
    assert_eq!(claire.get("/").await.location(), "/sign-in");
    assert_eq!(claire.sign_in("claire").await.status, 204);
    assert_eq!(claire.get("/").await.status, 200);
    assert!(desk.events().await.contains(&"sign_in.closed".to_owned()));
}

#[tokio::test]
async fn a_token_that_was_left_or_replaced_is_worth_nothing() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let stolen = claire.clone();
    claire.freshen().await;
    assert_ne!(stolen.cookies, claire.cookies);
    assert_eq!(stolen.clone().get("/").await.status, 303);
    let stolen = claire.clone();
    claire.post("/sign-out", &[]).await;
    assert_eq!(stolen.clone().get("/").await.status, 303);
}

#[tokio::test]
async fn options_for_a_login_that_does_not_exist_look_like_any_other() {
    let desk = Desk::open().await;
    desk.signed_in("claire").await;
    let mut stranger = desk.browser_of("claire").await;
    let mut shapes = Vec::new();
    for login in ["claire", "paul", "nobody", "not a login", ""] {
        let reply = stranger
            .call("/sign-in/options", &json!({ "login": login }))
            .await;
        assert_eq!(reply.status, 200, "{login}");
        let mut options = reply.json();
        let challenge = options["publicKey"]["challenge"].take();
        assert_eq!(challenge.as_str().unwrap().len(), 43, "{login}");
        shapes.push(options);
    }
    assert!(
        shapes.windows(2).all(|pair| pair[0] == pair[1]),
        "{shapes:?}"
    );
}

#[tokio::test]
async fn another_persons_passkey_does_not_sign_in() {
    let desk = Desk::open().await;
    let mut paul = desk.signed_in("paul").await;
    desk.signed_in("claire").await;
    for login in ["claire", "nobody"] {
        let reply = paul.sign_in(login).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (403, "passkey"),
            "{login}"
        );
    }
}

#[tokio::test]
async fn a_user_who_was_not_verified_does_not_sign_in() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let login = json!({ "login": "claire" });
    let reply = claire.ceremony("/sign-in", &login, User::OnlyPresent).await;
    assert_eq!(reply.code(), "passkey");
}

#[tokio::test]
async fn a_ceremony_is_used_once_and_lives_five_minutes() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let options = claire
        .call("/sign-in/options", &json!({ "login": "claire" }))
        .await;
    let kept = claire.cookies.clone();
    let answer = json!({ "credential": claire.assertion(&options, User::Verified).await });
    assert_eq!(claire.call("/sign-in/finish", &answer).await.status, 204);
    claire.cookies.clone_from(&kept);
    assert_eq!(
        claire.call("/sign-in/finish", &answer).await.code(),
        "passkey"
    );

    let options = claire
        .call("/sign-in/options", &json!({ "login": "claire" }))
        .await;
    let answer = json!({ "credential": claire.assertion(&options, User::Verified).await });
    forward(5 * MINUTE);
    assert_eq!(
        claire.call("/sign-in/finish", &answer).await.code(),
        "passkey"
    );
}

#[tokio::test]
async fn three_failures_lock_the_address_and_say_until_when() {
    let desk = Desk::open().await;
    desk.signed_in("claire").await;
    let mut paul = desk.signed_in("paul").await;
    for _ in 0..3 {
        assert_eq!(paul.sign_in("claire").await.code(), "passkey");
    }
    let locked = paul.sign_in("paul").await;
    assert_eq!(
        (locked.status.as_u16(), locked.code().as_str()),
        (429, "locked")
    );
    assert!(
        locked.json()["sentence"]
            .as_str()
            .unwrap()
            .contains("10:01")
    );
    let invitation = desk.invite("paul").await;
    assert_eq!(paul.enrol(&invitation).await.code(), "locked");
    assert_eq!(
        desk.newest("sign_in.locked").await["subject"],
        "sign_in web-source:192.0.2.1"
    );
    let ssh = desk.store.lockout("source:192.0.2.1").await.unwrap();
    assert_eq!(ssh.locked_at(now()), None, "the SSH side counts for itself");
    forward(MINUTE);
    assert_eq!(paul.sign_in("paul").await.status, 204);
}

#[tokio::test]
async fn a_lock_of_the_ssh_side_closes_no_page() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    for key in ["source:192.0.2.1", "operator:claire", "contact:claire"] {
        for _ in 0..3 {
            let event = access::Event::new("login.failed", by(), "login", now());
            let counted = desk.store.count_failure(key, event, now()).await;
            counted.unwrap();
        }
    }
    assert_eq!(claire.sign_in("claire").await.status, 204);
}

#[tokio::test]
async fn strangers_failures_neither_lock_a_login_nor_stop_who_is_signed_in() {
    let desk = Desk::open().await;
    let (one, other) = (desk.submitted().await, desk.submitted().await);
    let mut claire = desk.signed_in("claire").await;
    let mut stranger = desk.signed_in("victor").await;
    // Some from elsewhere, some from the very address of the hospital.
    for address in [9, 8, 7, 1, 1, 1] {
        stranger.source.set_ip([192, 0, 2, address].into());
        assert_eq!(stranger.sign_in("claire").await.code(), "passkey");
    }
    assert_eq!(stranger.sign_in("claire").await.code(), "locked");

    // Her address is locked for who is not signed in, and she is.
    claire.freshen().await;
    let approve = json!({ "decision": "approve" });
    let refuse = json!({ "decision": "refuse", "reason": "not today" });
    let approved = claire.decide(one.id.as_str(), &approve).await;
    assert_eq!(approved.status, 204, "{}", approved.body);
    let refused = claire.decide(other.id.as_str(), &refuse).await;
    assert_eq!(refused.status, 204, "{}", refused.body);
    let path = format!("/interventions/{}/revoke", one.id);
    let stopped = claire.post(&path, &[("reason", "not today")]).await;
    assert_eq!(stopped.status, 303, "{}", stopped.body);

    // And from anywhere else she signs in as ever.
    claire.source.set_ip([203, 0, 113, 9].into());
    assert_eq!(claire.sign_in("claire").await.status, 204);
}

#[tokio::test]
async fn failures_of_who_is_signed_in_are_traced_and_lock_nothing() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    for _ in 0..4 {
        let reply = claire
            .ceremony("/fresh", &json!({}), User::OnlyPresent)
            .await;
        assert_eq!(reply.code(), "passkey");
    }
    claire.freshen().await;
    let entry = desk.newest("sign_in.not_confirmed").await;
    assert_eq!(entry["who"]["id"], "claire");
    let events = desk.events().await;
    assert!(!events.contains(&"sign_in.locked".to_owned()));
    let mut again = claire.clone();
    assert_eq!(again.sign_in("claire").await.status, 204);
}

#[tokio::test]
async fn behind_a_proxy_each_address_is_counted_for_itself() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let mut stranger = desk.signed_in("victor").await;
    for browser in [&mut claire, &mut stranger] {
        browser.source.set_ip([10, 0, 0, 7].into());
    }
    claire.forwarded_for = Some("192.0.2.77, 198.51.100.1".to_owned());
    stranger.forwarded_for = Some("198.51.100.1, 198.51.100.2".to_owned());
    for _ in 0..3 {
        assert_eq!(stranger.sign_in("claire").await.code(), "passkey");
    }
    assert_eq!(stranger.sign_in("claire").await.code(), "locked");
    assert_eq!(
        desk.newest("sign_in.failed").await["detail"]["source"],
        "198.51.100.2"
    );
    assert_eq!(claire.sign_in("claire").await.status, 204);
    assert_eq!(
        desk.newest("sign_in.opened").await["detail"]["source"],
        "198.51.100.1"
    );
    // Who is no proxy says nothing of where he is.
    stranger.source.set_ip([10, 0, 0, 8].into());
    assert_eq!(stranger.sign_in("claire").await.code(), "passkey");
    assert_eq!(
        desk.newest("sign_in.failed").await["detail"]["source"],
        "10.0.0.8"
    );
}

#[tokio::test]
async fn an_address_that_knocks_too_often_waits() {
    let desk = Desk::open().await;
    let mut stranger = desk.browser_of("claire").await;
    let mut last = 200;
    for _ in 0..60 {
        let reply = stranger
            .call("/sign-in/options", &json!({ "login": "claire" }))
            .await;
        last = reply.status.as_u16();
        if last != 200 {
            assert_eq!(reply.code(), "too-often");
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn a_sign_in_ends_when_idle_and_after_twelve_hours() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    forward(29 * MINUTE);
    assert_eq!(claire.get("/").await.status, 200);
    forward(30 * MINUTE);
    assert_eq!(claire.get("/").await.status, 303);

    assert_eq!(claire.sign_in("claire").await.status, 204);
    for _ in 0..28 {
        forward(25 * MINUTE);
        assert_eq!(claire.get("/").await.status, 200);
    }
    forward(25 * MINUTE);
    assert_eq!(claire.get("/").await.status, 303);
    assert!(desk.events().await.contains(&"sign_in.expired".to_owned()));
}

#[tokio::test]
async fn step_up_does_not_prolong_the_day() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    for _ in 0..28 {
        forward(25 * MINUTE);
        claire.freshen().await;
    }
    forward(25 * MINUTE);
    assert_eq!(claire.get("/").await.status, 303);
}

#[tokio::test]
async fn who_was_removed_or_suspended_is_signed_out_and_stays_out() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let mut alice = desk.signed_in("alice").await;
    let mut olga = desk.signed_in("olga").await;
    desk.save(Ok(desk.contact("claire").await.remove(by(), now())))
        .await;
    desk.save(desk.operator("alice").await.suspend("left", by(), now()))
        .await;
    for (browser, login) in [(&mut claire, "claire"), (&mut alice, "alice")] {
        assert_eq!(browser.get("/").await.status, 303, "{login}");
        assert_eq!(browser.sign_in(login).await.code(), "passkey", "{login}");
    }
    assert_eq!(olga.get("/").await.status, 200);
    let actor = access::ActorId::parse("infogerance").unwrap();
    let actor = desk.store.actor(&actor).await.unwrap().unwrap();
    desk.save(actor.suspend("contract over", by(), now())).await;
    assert_eq!(olga.get("/").await.status, 303);
}

#[tokio::test]
async fn a_cookie_of_one_origin_is_worth_nothing_on_the_other() {
    let desk = Desk::open().await;
    let alice = desk.signed_in("alice").await;
    let claire = desk.signed_in("claire").await;
    let token = |browser: &Browser, name: &str| browser.cookies.get(name).unwrap().clone();
    let mut at_customer = Browser::new(&desk.customer, CUSTOMER_URL);
    at_customer.cookies.insert(
        "bastion-customer-sign-in".into(),
        token(&alice, "bastion-host-sign-in"),
    );
    assert_eq!(at_customer.get("/").await.status, 303);
    let mut at_host = Browser::new(&desk.host, HOST_URL);
    at_host.cookies.insert(
        "bastion-host-sign-in".into(),
        token(&claire, "bastion-customer-sign-in"),
    );
    assert_eq!(at_host.get("/").await.status, 303);
}

#[tokio::test]
async fn over_tls_cookies_are_bound_to_the_host_and_say_so() {
    let desk = Desk::open().await;
    let web = approval_web::Web {
        store: desk.store.clone(),
        recordings: desk.web.recordings.clone(),
        customer_url: "https://validation.example".into(),
        host_url: "https://bastion.example".into(),
        ssh_name: "bastion.example".into(),
        trusted_proxies: Vec::new(),
        policy: crate::desk::policy(),
        factors: access::sealed::SealingKey::new(&[7; 32]).unwrap(),
        recording_master: desk.web.recording_master.clone(),
        manifest_key: desk.signer.public_key(),
        ..*desk.web
    };
    let router = approval_web::customer(std::sync::Arc::new(web)).unwrap();
    let mut browser = Browser::new(&router, "https://validation.example");
    let reply = browser
        .call("/sign-in/options", &json!({ "login": "claire" }))
        .await;
    let cookie = reply.headers.get("set-cookie").unwrap().to_str().unwrap();
    assert!(
        cookie.starts_with("__Host-bastion-customer-ceremony="),
        "{cookie}"
    );
    for said in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(said), "{said}: {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn an_address_that_browsers_could_not_trust_is_not_served() {
    let desk = Desk::open().await;
    for bad in ["http://bastion.example", "https://192.0.2.1", "bastion", ""] {
        let web = approval_web::Web {
            store: desk.store.clone(),
            recordings: desk.web.recordings.clone(),
            customer_url: bad.into(),
            host_url: HOST_URL.into(),
            ssh_name: String::new(),
            trusted_proxies: Vec::new(),
            policy: crate::desk::policy(),
            factors: access::sealed::SealingKey::new(&[7; 32]).unwrap(),
            recording_master: desk.web.recording_master.clone(),
            manifest_key: desk.signer.public_key(),
            ..*desk.web
        };
        let refused = approval_web::customer(std::sync::Arc::new(web));
        assert!(refused.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_fresh_passkey_is_fresh_for_five_minutes() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let id = one.id.as_str();
    assert_eq!(
        claire
            .decide(id, &json!({ "decision": "approve" }))
            .await
            .status,
        204
    );
    forward(5 * MINUTE);
    let path = format!("/interventions/{id}/revoke");
    let stale = claire.post(&path, &[("reason", "not today")]).await;
    assert_eq!(stale.status, 403);
    assert!(stale.body.contains("clé d&#39;accès") || stale.body.contains("clé d'accès"));
    claire.freshen().await;
    assert_eq!(
        claire.post(&path, &[("reason", "not today")]).await.status,
        303
    );
}

/// The credential identifier of a contact's passkey.
async fn credential_of(desk: &Desk, contact: &str) -> Vec<u8> {
    let holder = Holder::Contact(contact_id(contact));
    let factors = desk.store.factors(&holder).await.unwrap();
    let Factor::Passkey { credential_id, .. } = &factors[0].factor else {
        panic!("no passkey");
    };
    URL_SAFE_NO_PAD.decode(credential_id).unwrap()
}

/// A new credential that calls itself by another one's identifier: without an attestation
/// anybody can say so.
fn under_another_name(mut made: Value, id: &[u8]) -> Value {
    let bytes = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
    let own = bytes(&made["rawId"]);
    assert_eq!(own.len(), id.len());
    let mut object = bytes(&made["response"]["attestationObject"]);
    let at = object.windows(own.len()).position(|part| part == own);
    let at = at.unwrap();
    object[at..at + id.len()].copy_from_slice(id);
    made["response"]["attestationObject"] = URL_SAFE_NO_PAD.encode(object).into();
    made["rawId"] = URL_SAFE_NO_PAD.encode(id).into();
    made["id"] = made["rawId"].clone();
    made
}
