//! Second factors, enrolled and taken out of use by their holder.

use crate::desk::browser::Browser;
use crate::desk::device::{Device, User};
use crate::desk::{Desk, MINUTE, forward, now, operator_id};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::totp;
use serde_json::json;

async fn factors(desk: &Desk) -> Vec<SecondFactor> {
    let holder = Holder::Operator(operator_id("alice"));
    desk.store.factors(&holder).await.unwrap()
}

/// Asks for a generator; the secret the page shows.
async fn shown_secret(alice: &mut Browser) -> Vec<u8> {
    let page = alice.post("/factors/totp", &[]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("<svg"));
    let (_, rest) = page.body.split_once("<p class=\"secret\"><code>").unwrap();
    let (secret, _) = rest.split_once('<').unwrap();
    totp::from_base32(secret).unwrap()
}

#[tokio::test]
async fn a_generator_is_enrolled_after_its_first_right_code_and_sealed() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let secret = shown_secret(&mut alice).await;
    assert_eq!(factors(&desk).await.len(), 1, "nothing before a right code");
    let code = totp::code_at(&secret, now()).unwrap();
    let done = alice
        .post("/factors/totp/confirm", &[("code", &code)])
        .await;
    assert_eq!(done.location(), "/factors");

    // Enrolled at the same moment of the test's clock, in no order.
    let all = factors(&desk).await;
    let mut generators = all.iter().filter_map(|factor| match &factor.factor {
        Factor::Totp { sealed_secret } => Some((&factor.id, sealed_secret)),
        Factor::Passkey { .. } => None,
    });
    let (id, sealed_secret) = generators.next().unwrap();
    let opened = desk.web.factors.open(id.as_str(), sealed_secret);
    assert_eq!(opened.unwrap().as_slice(), secret);
    let step = totp::matching_step(&secret, &code, now()).unwrap().unwrap();
    let again = desk.store.use_totp_step(id, step).await.unwrap();
    assert!(!again, "the code of the enrolment opens no login");
    let page = alice.get("/factors").await.body;
    assert!(!page.contains(&*totp::base32(&secret)), "shown once");
    let trail = desk.newest("second_factor.enrolled").await.to_string();
    assert!(!trail.contains(&*totp::base32(&secret)) && !trail.contains(sealed_secret));
}

#[tokio::test]
async fn three_wrong_codes_end_the_enrolment() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let secret = shown_secret(&mut alice).await;
    for attempt in 0..2 {
        let wrong = alice
            .post("/factors/totp/confirm", &[("code", "000000")])
            .await;
        assert_eq!(wrong.status, 200, "{attempt}");
        assert!(!wrong.body.contains(&*totp::base32(&secret)), "shown once");
    }
    let over = alice
        .post("/factors/totp/confirm", &[("code", "000000")])
        .await;
    assert_eq!(over.status, 409);
    let code = totp::code_at(&secret, now()).unwrap();
    let late = alice
        .post("/factors/totp/confirm", &[("code", &code)])
        .await;
    assert_eq!(late.status, 403);
    assert_eq!(factors(&desk).await.len(), 1);
}

#[tokio::test]
async fn factors_are_changed_only_with_a_fresh_passkey() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let id = factors(&desk).await[0].id.clone();
    forward(6 * MINUTE);
    assert_eq!(alice.post("/factors/totp", &[]).await.status, 403);
    let options = alice.call("/factors/passkey/options", &json!({})).await;
    assert_eq!(options.code(), "fresh");
    assert_eq!(
        alice
            .post(&format!("/factors/{id}/revoke"), &[])
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_generator_is_confirmed_by_who_asked_for_it_and_with_a_fresh_passkey() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let mut olga = desk.signed_in("olga").await;
    let ceremony = "bastion-host-ceremony";
    let secret = shown_secret(&mut olga).await;
    let planted = olga.cookies[ceremony].clone();
    alice.cookies.insert(ceremony.to_owned(), planted);
    let code = totp::code_at(&secret, now()).unwrap();
    let path = "/factors/totp/confirm";
    let foreign = alice.post(path, &[("code", &code)]).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(factors(&desk).await.len(), 1);

    alice.freshen().await;
    forward(4 * MINUTE);
    let secret = shown_secret(&mut alice).await;
    forward(MINUTE);
    let code = totp::code_at(&secret, now()).unwrap();
    let stale = alice.post(path, &[("code", &code)]).await;
    assert_eq!(stale.status, 403, "the passkey was given five minutes ago");
    assert_eq!(factors(&desk).await.len(), 1);
    alice.freshen().await;
    let secret = shown_secret(&mut alice).await;
    let code = totp::code_at(&secret, now()).unwrap();
    let done = alice.post(path, &[("code", &code)]).await;
    assert_eq!(done.location(), "/factors", "{}", done.body);
    assert_eq!(factors(&desk).await.len(), 2);
}

#[tokio::test]
async fn a_second_passkey_works_and_the_first_can_then_be_revoked_but_not_the_last() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let first = factors(&desk).await[0].id.clone();
    let refused = alice.post(&format!("/factors/{first}/revoke"), &[]).await;
    assert!(refused.body.contains("votre seule clé"), "{}", refused.body);

    let mut other = Device::default();
    let options = alice
        .call("/factors/passkey/options", &json!({}))
        .await
        .json();
    let origin = alice.origin.clone();
    // The device that holds one already is told so by the options.
    assert_eq!(
        options["publicKey"]["excludeCredentials"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let credential = other.create(&origin, &options["publicKey"]).await;
    let done = alice
        .call(
            "/factors/passkey/finish",
            &json!({ "credential": credential }),
        )
        .await;
    assert_eq!(done.status, 204, "{}", done.body);
    assert_eq!(factors(&desk).await.len(), 2);

    let revoked = alice.post(&format!("/factors/{first}/revoke"), &[]).await;
    assert_eq!(revoked.status, 303);
    let mut with_old = desk.browser_of("alice").await;
    with_old.device = alice.device.clone();
    assert_eq!(with_old.sign_in("alice").await.code(), "passkey");
    let mut with_new = desk.browser_of("alice").await;
    with_new.device = other;
    let login = json!({ "login": "alice" });
    let reply = with_new.ceremony("/sign-in", &login, User::Verified).await;
    assert_eq!(reply.status, 204);
}

#[tokio::test]
async fn nobody_revokes_a_factor_of_somebody_else() {
    let desk = Desk::open().await;
    desk.signed_in("alice").await;
    let mut olga = desk.signed_in("olga").await;
    let id = factors(&desk).await[0].id.clone();
    assert_eq!(
        olga.post(&format!("/factors/{id}/revoke"), &[])
            .await
            .status,
        404
    );
    assert_eq!(factors(&desk).await.len(), 1);
}
