//! The host's evidence: SSH logins confirmed, recordings replayed, rights reviewed; and what must
//! not happen.

use crate::desk::browser::Browser;
use crate::desk::device::User;
use crate::desk::{
    Desk, HOUR, MINUTE, by, customer_id, forward, now, operator_id, plan_text, policy, random,
    target_id,
};
use access::confirmation::{Confirmation, ConfirmationState};
use access::decide::{Arming, Capacity, LoginAge, Means, Place, Recording, Supervision};
use access::grant::Operation;
use access::operator::fingerprint_of;
use access::second_factor::{Factor, Holder, SecondFactor};
use access::session::FactorUse;
use access::target::TargetDetails;
use access::{AccountName, Credentials, FactorId, GrantId, Intervention, Session, SessionId};
use recordings::{
    ChannelKind, Limits, Micros, RecipientKey, SessionHeader, Stream, UtcMicros, recorder,
};
use serde_json::json;
use std::path::PathBuf;
use store::Ask;

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const SECRET_LINE: &str = "patient-4711-was-here";

#[tokio::test]
async fn an_ssh_login_is_confirmed_by_its_own_person_with_the_number_of_the_terminal() {
    let desk = Desk::open().await;
    waiting(&desk, "c0de").await;
    let (mut alice, mut olga) = (desk.signed_in("alice").await, desk.signed_in("olga").await);
    let page = alice.get("/confirm/c0de").await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("root@db1.chu-exemple"));
    assert!(!page.body.contains("value=\"42\""));
    assert_eq!(olga.get("/confirm/c0de").await.status, 404);
    let number = json!({ "number": 42 });
    let reply = olga
        .ceremony("/confirm/c0de", &number, User::Verified)
        .await;
    assert_eq!(reply.status, 404);
    let typed = json!({ "number": "42" });
    let reply = alice
        .ceremony("/confirm/c0de", &typed, User::OnlyPresent)
        .await;
    assert_eq!(reply.status, 403);
    assert_eq!(state(&desk).await, ConfirmationState::Waiting);
    let reply = alice
        .ceremony("/confirm/c0de", &number, User::Verified)
        .await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    let confirmed = ConfirmationState::Confirmed {
        at: now(),
        factor: alices(&desk).await.factor,
    };
    assert_eq!(state(&desk).await, confirmed);
}

#[tokio::test]
async fn a_wrong_number_refuses_the_login() {
    let desk = Desk::open().await;
    waiting(&desk, "c0de").await;
    let mut alice = desk.signed_in("alice").await;
    let reply = alice
        .ceremony("/confirm/c0de", &json!({ "number": 41 }), User::Verified)
        .await;
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(matches!(
        state(&desk).await,
        ConfirmationState::Denied { .. }
    ));
}

#[tokio::test]
async fn a_recording_is_shown_only_after_purpose_and_passkey_are_in_the_trail() {
    let desk = Desk::open().await;
    let session = recorded(&desk).await;
    let path = format!("/sessions/{}/replay", session.id);
    let purpose = [("purpose", "the yearly sample of the auditor")];

    let mut bob = desk.signed_in("bob").await;
    assert_eq!(bob.post(&path, &purpose).await.status, 403);
    let mut alice = desk.signed_in("alice").await;
    assert_eq!(alice.post(&path, &purpose).await.status, 403);
    let mut ada = desk.signed_in("ada").await;
    let page = ada.get(&format!("/sessions/{}", session.id)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    forward(6 * MINUTE);
    let reply = ada.post(&path, &purpose).await;
    assert_eq!(reply.status, 403);
    ada.freshen().await;
    assert!(
        ada.post(&path, &[("purpose", " ")])
            .await
            .status
            .is_client_error()
    );
    assert!(ada.post(&path, &[]).await.status.is_client_error());
    assert!(!desk.events().await.contains(&"replay.started".to_owned()));

    let reply = ada.post(&path, &purpose).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    let opened = reply.location().to_owned();
    let entry = desk.newest("replay.started").await;
    assert_eq!(entry["detail"]["purpose"], purpose[0].1);
    assert_eq!(entry["who"]["id"], "ada");
    assert_eq!(entry["session"], session.id.as_str());

    let page = ada.get(&opened).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("asciinema-player.js"));
    for told in [
        "connexion vers db.internal:5432",
        "127.0.0.1 port 40000",
        "0:00:00 – 0:00:04",
        ">1234<",
        ">567890<",
    ] {
        assert!(page.body.contains(told), "{told}: {}", page.body);
    }
    assert!(!page.body.contains("channel-2.cast"), "it has no cast");
    assert_eq!(
        ada.get(&format!("{opened}/channel-2.cast")).await.status,
        404
    );
    assert!(
        page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("wasm-unsafe-eval")
    );
    let cast = ada.get(&format!("{opened}/channel-1.cast")).await;
    assert_eq!(cast.status, 200);
    assert!(cast.body.contains(SECRET_LINE), "{}", cast.body);
    assert_eq!(cast.headers["cache-control"], "no-store");
    let text = ada.get(&format!("{opened}/channel-1.txt")).await;
    assert!(text.body.contains(SECRET_LINE), "{}", text.body);
    assert!(
        ada.get(&format!("{opened}/journal"))
            .await
            .body
            .contains("session_ended")
    );
    assert_eq!(
        ada.get(&format!("{opened}/channel-2.cast")).await.status,
        404
    );
    assert_eq!(
        ada.get(&format!("{opened}/manifest.json")).await.status,
        404
    );

    let mut sam = desk.signed_in("sam").await;
    for file in ["", "/journal", "/channel-1.cast", "/channel-1.txt"] {
        let reply = sam.get(&format!("{opened}{file}")).await;
        assert_eq!(reply.status, 404, "{file}");
        assert!(!reply.body.contains(SECRET_LINE));
    }
    forward(HOUR);
    let mut again = ada.clone();
    assert!(again.sign_in("ada").await.status.is_success());
    assert_eq!(
        again.get(&format!("{opened}/channel-1.cast")).await.status,
        404
    );
}

const INTACT: &str = "signé, complet et conforme à la trace";
const DIFFERS: &str = "diffère de ce qui a été signé et tracé";

#[tokio::test]
async fn the_badge_over_a_replay_depends_on_every_byte() {
    let desk = Desk::open().await;
    let session = recorded(&desk).await;
    let mut ada = desk.signed_in("ada").await;
    let page = replayed(&mut ada, &session).await;
    assert!(ada.get(&page).await.body.contains(INTACT));
    for file in [
        "channel-1.cast.sealed",
        "journal.sealed",
        "manifest.json",
        "foreign",
    ] {
        let path = files_of(&desk, &session).join(file);
        let whole = std::fs::read(&path).ok();
        let cut = match &whole {
            Some(whole) if file == "channel-1.cast.sealed" => after_first_frame(whole),
            Some(whole) => &whole[..whole.len() - 1],
            None => b"not of this session",
        };
        std::fs::write(&path, cut).unwrap();
        let shown = ada.get(&page).await;
        assert_eq!(shown.status, 200, "{file}: {}", shown.body);
        assert!(shown.body.contains(DIFFERS), "{file}: {}", shown.body);
        assert!(!shown.body.contains(INTACT), "{file}");
        match whole {
            Some(whole) => std::fs::write(&path, whole).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        assert!(ada.get(&page).await.body.contains(INTACT), "{file}");
    }
    std::fs::remove_file(files_of(&desk, &session).join("channel-1.cast.sealed")).unwrap();
    assert!(ada.get(&page).await.body.contains(DIFFERS));
}

#[tokio::test]
async fn the_badge_over_a_replay_asks_the_log_and_not_the_row_alone() {
    let desk = Desk::open().await;
    let session = recorded(&desk).await;
    let mut ada = desk.signed_in("ada").await;
    let page = replayed(&mut ada, &session).await;
    assert!(ada.get(&page).await.body.contains(INTACT));

    // Row and manifest still agree; the log names a second end.
    let event = access::Event::new("session.ended", by(), "session", now())
        .in_session(&session.id)
        .with("manifest_sha256", "00");
    desk.store.append(event).await.unwrap();
    assert!(ada.get(&page).await.body.contains(DIFFERS));
}

#[tokio::test]
async fn nobody_replays_a_session_of_his_own_whatever_his_roles() {
    let desk = Desk::open().await;
    let session = recorded(&desk).await;
    let alice = desk.operator("alice").await;
    let mut details = alice.details.clone();
    details.roles.insert(access::operator::Role::Security);
    desk.save(alice.amend(details, crate::desk::by(), now()))
        .await;
    let mut alice = desk.signed_in("alice").await;
    let page = format!("/sessions/{}", session.id);
    assert!(!alice.get(&page).await.body.contains("name=\"purpose\""));
    let purpose = [("purpose", "to see what was recorded of me")];
    let reply = alice.post(&format!("{page}/replay"), &purpose).await;
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(!desk.events().await.contains(&"replay.started".to_owned()));
}

#[tokio::test]
async fn a_right_is_kept_only_with_all_three_attestations_and_never_by_its_holder() {
    let desk = Desk::open().await;
    let id = GrantId::from_random([7; 16]);
    let path = format!("/grants/{id}/review");
    let mut bob = desk.signed_in("bob").await;
    let page = bob.get(&format!("/grants/{id}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let all = [
        ("decision", "keep"),
        ("nominative", "yes"),
        ("justified", "yes"),
        ("necessary", "yes"),
        ("comment", "still on call"),
    ];
    for missing in 1..4 {
        let mut fields = all.to_vec();
        fields.remove(missing);
        assert_eq!(bob.post(&path, &fields).await.status, 409, "{missing}");
    }
    assert!(
        desk.store
            .grant(&id)
            .await
            .unwrap()
            .unwrap()
            .reviews
            .is_empty()
    );
    let mut alice = desk.signed_in("alice").await;
    assert_eq!(alice.post(&path, &all).await.status, 403);
    let mut ada = desk.signed_in("ada").await;
    assert_eq!(ada.post(&path, &all).await.status, 403);
    assert_eq!(bob.post(&path, &all).await.status, 303);
    assert_eq!(
        desk.store.grant(&id).await.unwrap().unwrap().reviews.len(),
        1
    );
}

#[tokio::test]
async fn what_people_write_is_shown_and_never_run() {
    let desk = Desk::open().await;
    let id = desk.store.next_intervention_id(now()).await.unwrap();
    let alice = desk.operator("alice").await;
    let mut text = plan_text();
    text.purpose = "<script>alert(1)</script> replace the disk".into();
    text.nature = "\"><img src=x onerror=alert(1)>".into();
    let customer = customer_id("chu-exemple");
    let draft = Intervention::draft(id, customer, text, &alice, now());
    let draft = desk.save(draft).await;
    let one = desk.save(draft.submit(&alice, now())).await;
    let page = format!("/interventions/{}", one.id);
    let (mut claire, mut sam) = (desk.signed_in("claire").await, desk.signed_in("sam").await);
    for reply in [
        claire.get("/").await,
        claire.get(&page).await,
        sam.get("/interventions").await,
        sam.get(&page).await,
        sam.get("/audit").await,
    ] {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.body.contains("alert(1)"));
        assert!(!reply.body.contains("<script>alert"), "{}", reply.body);
        assert!(!reply.body.contains("<img src=x"), "{}", reply.body);
    }
}

#[tokio::test]
async fn the_lists_open_for_their_roles() {
    let desk = Desk::open().await;
    let session = recorded(&desk).await;
    let mut sam = desk.signed_in("sam").await;
    for path in [
        "/",
        "/sessions",
        "/sessions?operator=alice&live=",
        "/grants",
        "/audit",
        "/audit?name=session.",
    ] {
        let reply = sam.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(
            !reply.body.contains("Unknown localization"),
            "{path}: {}",
            reply.body
        );
    }
    assert!(
        sam.get("/sessions")
            .await
            .body
            .contains(session.id.as_str())
    );
    let mut alice = desk.signed_in("alice").await;
    for path in ["/sessions", "/grants", "/audit"] {
        assert_eq!(alice.get(path).await.status, 403, "{path}");
    }
    nobody(&desk).await;
}

async fn nobody(desk: &Desk) {
    let mut browser = Browser::new(&desk.host, "http://localhost:8081");
    for path in ["/sessions", "/grants", "/audit", "/confirm/c0de"] {
        assert_eq!(browser.get(path).await.status, 303, "{path}");
    }
}

/// Where the recording of a session lies.
fn files_of(desk: &Desk, session: &Session) -> PathBuf {
    desk.web.recordings.root().join(session.id.as_str())
}

/// A sealed stream as far as its first frame goes (`recordings::seal` says how it is written).
fn after_first_frame(stream: &[u8]) -> &[u8] {
    let length = |at: usize| {
        let bytes = stream[at..at + 4].try_into().unwrap();
        usize::try_from(u32::from_be_bytes(bytes)).unwrap()
    };
    let opening = 8 + 4 + length(8) + 8;
    let end = opening + 9 + length(opening) + 8;
    assert!(end < stream.len(), "there is only one frame");
    &stream[..end]
}

/// The path of a replay that was opened in good order.
async fn replayed(browser: &mut Browser, session: &Session) -> String {
    let path = format!("/sessions/{}/replay", session.id);
    browser.freshen().await;
    let purpose = [("purpose", "the yearly sample of the auditor")];
    let reply = browser.post(&path, &purpose).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    reply.location().to_owned()
}

async fn waiting(desk: &Desk, code: &str) {
    let opened = Confirmation::open(
        code.into(),
        operator_id("alice"),
        "192.0.2.9".into(),
        "root@db1.chu-exemple".into(),
        42,
        now(),
    );
    desk.save(Ok(opened)).await;
}

/// What `alice` logs in with by SSH: her passkey where she has one here, or a code generator.
async fn alices(desk: &Desk) -> Credentials {
    let holder = Holder::Operator(operator_id("alice"));
    let mut factors = desk.store.factors(&holder).await.unwrap();
    let factor = if let Some(factor) = factors.pop() {
        factor
    } else {
        let mut bits = [0; 16];
        random(&mut bits).unwrap();
        let id = FactorId::from_random(bits);
        let factor = Factor::Totp {
            sealed_secret: "AAAA".into(),
        };
        desk.save(Ok(SecondFactor::enrol(id, holder, factor, by(), now())))
            .await
    };
    Credentials {
        key: fingerprint_of("ssh-ed25519 AAAA").unwrap(),
        proof: factor.strength(),
        factor: factor.id,
        certificate: None,
        certified: None,
    }
}

async fn state(desk: &Desk) -> ConfirmationState {
    desk.store
        .confirmation("c0de")
        .await
        .unwrap()
        .unwrap()
        .state
}

async fn pin_host_key(desk: &Desk) {
    let target = desk
        .store
        .target(&target_id("db1.chu-exemple"))
        .await
        .unwrap()
        .unwrap();
    let details = TargetDetails {
        host_keys: vec![HOST_KEY.into()],
        ..target.details.clone()
    };
    desk.save(target.amend(details, by(), now())).await;
}

/// A session of `alice`'s, recorded and ended.
async fn recorded(desk: &Desk) -> Session {
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let reply = claire
        .decide(one.id.as_str(), &json!({ "decision": "approve" }))
        .await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    forward(HOUR);
    pin_host_key(desk).await;
    let source = "192.0.2.9".parse().unwrap();
    let ask = Ask {
        operator: "alice",
        target: "db1.chu-exemple",
        account: AccountName::parse("root").unwrap(),
        operation: Some(Operation::Shell),
        forward_to: None,
        intervention: None,
        credentials: Some(alices(desk).await),
        place: Place {
            source,
            country: None,
        },
        means: Means {
            recording: Recording::Available,
            capacity: Capacity::Free,
            arming: Arming::NotAsked,
            supervision: Supervision::NotAsked,
            login: LoginAge::Young,
        },
        policy: policy(),
        since: None,
    };
    let facts = desk.store.facts(&ask, now()).await.unwrap();
    let permit = access::decide(&facts[0], now()).unwrap();
    let mut bits = [0; 16];
    random(&mut bits).unwrap();
    let id = SessionId::from_random(bits);
    let live = desk
        .save(Session::open(id, &permit, "", FactorUse::Fresh, now()))
        .await;
    let customer = desk.store.customer(&live.customer).await.unwrap().unwrap();
    let recipient = RecipientKey::from_base64(&customer.recording_key).unwrap();
    let header = SessionHeader {
        session: recordings::SessionId::parse(live.id.as_str()).unwrap(),
        operator: live.operator.to_string(),
        actor: "infogerance".into(),
        customer: live.customer.to_string(),
        target: live.target.to_string(),
        account: live.account.to_string(),
        grant: live.grant.to_string(),
        intervention: live.intervention.to_string(),
        motive: live.motive.clone(),
        factors: vec!["passkey".into()],
        source: live.source.to_string(),
        started_at: UtcMicros(now().micros()),
    };
    let storage = &desk.web.recordings;
    let record = recorder::begin(storage, header, &[recipient], Limits::default())
        .await
        .unwrap();
    let kind = ChannelKind::Terminal {
        cols: 80,
        rows: 24,
        term: "xterm".into(),
        command: None,
    };
    record.open_channel(Micros(1_000), 1, kind).await.unwrap();
    let shown = format!("{SECRET_LINE}\r\n");
    record
        .output(Micros(2_000), 1, Stream::Stdout, shown.into_bytes().into())
        .await
        .unwrap();
    // More than one frame holds.
    let much = "x".repeat(100_000);
    record
        .output(Micros(3_000), 1, Stream::Stdout, much.into_bytes().into())
        .await
        .unwrap();
    // A connection through the system.
    let kind = ChannelKind::Forward {
        to: "db.internal:5432".into(),
        from: "127.0.0.1 port 40000".into(),
    };
    record.open_channel(Micros(3_000), 2, kind).await.unwrap();
    let (sent, received) = (vec![1; 1234].into(), vec![2; 567_890].into());
    record.input(Micros(3_100), 2, sent).await.unwrap();
    record
        .output(Micros(3_200), 2, Stream::Stdout, received)
        .await
        .unwrap();
    record.close_channel(Micros(4_000_000), 2).await.unwrap();
    let ended = UtcMicros(now().micros() + 5_000_000);
    let manifest = record
        .finish(Micros(5_000_000), "logout", ended, &desk.signer)
        .await
        .unwrap();
    let digest = manifest.digest().unwrap();
    let who = access::Who::Operator(live.operator.clone());
    desk.save(live.end("logout", &digest, who, now())).await
}
