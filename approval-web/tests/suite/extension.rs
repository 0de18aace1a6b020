//! More time: asked for on the host's page, read and signed on the contact's, and nothing else.

use crate::desk::{Desk, HOUR, MINUTE, forward, now, operator_id};
use access::Intervention;
use access::intervention::Phase;
use serde_json::{Value, json};

const WHY: &str = "la copie est plus longue que prévu";

#[tokio::test]
async fn it_is_asked_for_on_the_hosts_page_and_signed_on_the_contacts() {
    let desk = Desk::open().await;
    let one = approved(&desk).await;
    let end = one.plan().text.window.end();
    let mut alice = desk.signed_in("alice").await;
    let mut claire = desk.signed_in("claire").await;
    let path = format!("/interventions/{}", one.id);
    let before = alice.get(&path).await.body;
    assert!(before.contains("Demander plus de temps"), "{before}");
    let asked = alice
        .post(
            &format!("{path}/extension"),
            &[("minutes", "45"), ("text", WHY)],
        )
        .await;
    assert_eq!(
        (asked.status.as_u16(), asked.location()),
        (303, path.as_str())
    );
    let after = alice.get(&path).await.body;
    assert!(
        after.contains(WHY) && after.contains("attend le client"),
        "{after}"
    );
    assert!(!after.contains("Demander plus de temps"), "one at a time");
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.plan(), one.plan(), "nothing is different yet");

    let home = claire.get("/").await.body;
    assert!(
        home.contains("Une intervention attend votre réponse"),
        "{home}"
    );
    assert!(home.contains("Plus de temps demandé"), "{home}");
    let page = claire.get(&path).await.body;
    for said in [WHY, "Au lieu de", "Tout le reste", "Alice of the host"] {
        let here = page.contains(said) || page.contains(&said.replace("Alice", "alice"));
        assert!(here, "{said}: {page}");
    }
    assert!(!page.contains("/question"), "there is nothing to ask back");
    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 204, "{}", reply.body);

    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.plan().text.window.end(), end.plus(45 * MINUTE));
    let statement: Value = serde_json::from_str(kept.approval().unwrap().statement.text()).unwrap();
    assert_eq!(statement["plan_version"], 2);
    assert_eq!(statement["plan_sha256"], kept.plan().hash());
    assert_eq!(statement["extends"]["reason"], WHY);
    let event = desk.newest("intervention.extended").await;
    assert_eq!(event["who"]["id"], "claire");
    for browser in [&mut alice, &mut claire] {
        let page = browser.get(&path).await.body;
        assert!(page.contains("accordée") && page.contains(WHY), "{page}");
    }
}

#[tokio::test]
async fn a_refusal_is_signed_and_leaves_the_end() {
    let desk = Desk::open().await;
    let one = asked(&desk, approved(&desk).await).await;
    let mut claire = desk.signed_in("claire").await;
    let fields = json!({ "decision": "refuse", "reason": "pas cette nuit" });
    assert_eq!(claire.decide(one.id.as_str(), &fields).await.status, 204);
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.plan(), one.plan());
    assert_eq!(kept.approvals.len(), 2);
    assert!(kept.approval().is_some());
    let page = claire.get(&format!("/interventions/{}", one.id)).await.body;
    assert!(
        page.contains("refusée") && page.contains("pas cette nuit"),
        "{page}"
    );
    let home = claire.get("/").await.body;
    assert!(home.contains("Rien ne vous attend"), "{home}");
}

/// The page of the plan names version 1, that of the question version 2.
#[tokio::test]
async fn a_page_that_showed_another_version_signs_nothing() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let submitted = desk.submitted().await;
    let first = claire.read(submitted.id.as_str(), &approve()).await;
    let reply = claire.decide(submitted.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    let open = asked(&desk, desk.intervention(&submitted.id).await).await;
    let second = claire.read(open.id.as_str(), &approve()).await;
    assert_eq!(
        (&second["plan_version"], &first["plan_version"]),
        (&json!("2"), &json!("1"))
    );
    let path = format!("/interventions/{}/decision", open.id);
    let mut half = second.clone();
    half["plan_sha256"] = first["plan_sha256"].clone();
    let bare = approve();
    for fields in [&first, &half, &bare] {
        let options = claire.call(&format!("{path}/options"), fields).await;
        assert_eq!(options.code(), "plan_changed", "{fields}");
    }

    // Asked again with another end, while the old page was being signed.
    let options = claire.call(&format!("{path}/options"), &second).await;
    let verified = crate::desk::device::User::Verified;
    let credential = claire.assertion(&options, verified).await;
    let alice = desk.operator("alice").await;
    let amended = desk
        .save(open.amend(crate::desk::plan_text(), &alice, now()))
        .await;
    let mut answer = second.clone();
    answer["credential"] = credential;
    let reply = claire.call(&format!("{path}/finish"), &answer).await;
    assert_eq!(reply.code(), "plan_changed");
    let kept = desk.intervention(&amended.id).await;
    assert_eq!(kept.phase(now()), Phase::Submitted);
    assert_eq!(kept.approval(), None);
}

#[tokio::test]
async fn unanswered_at_the_end_it_can_be_answered_no_more() {
    let desk = Desk::open().await;
    let one = asked(&desk, approved(&desk).await).await;
    let mut claire = desk.signed_in("claire").await;
    let read = claire.read(one.id.as_str(), &approve()).await;
    let end = one.plan().text.window.end();
    while now() < end {
        forward(20 * MINUTE);
        claire.get("/").await;
    }
    let path = format!("/interventions/{}/decision/options", one.id);
    let reply = claire.call(&path, &read).await;
    assert_eq!(reply.code(), "deadline_over", "{}", reply.body);
    let page = claire.get(&format!("/interventions/{}", one.id)).await.body;
    assert!(!page.contains("data-statement"), "nothing to sign: {page}");
    let home = claire.get("/").await.body;
    assert!(home.contains("Rien ne vous attend"), "{home}");
}

#[tokio::test]
async fn who_is_not_in_the_intervention_asks_for_nothing() {
    let desk = Desk::open().await;
    let one = approved(&desk).await;
    let path = format!("/interventions/{}/extension", one.id);
    let fields = [("minutes", "30"), ("text", WHY)];
    let mut bob = desk.signed_in("bob").await;
    let page = bob.get(&format!("/interventions/{}", one.id)).await.body;
    assert!(!page.contains("Demander plus de temps"), "{page}");
    let reply = bob.post(&path, &fields).await;
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(
        reply.body.contains("ni le demandeur ni un opérateur"),
        "{}",
        reply.body
    );
    let mut sam = desk.signed_in("sam").await;
    assert_eq!(sam.post(&path, &fields).await.status, 403);
    let mut claire = desk.signed_in("claire").await;
    assert_eq!(
        claire.post(&path, &fields).await.status,
        404,
        "not her origin"
    );
    let mut alice = desk.signed_in("alice").await;
    for minutes in ["0", "-5", "soon", "", "99999"] {
        let reply = alice
            .post(&path, &[("minutes", minutes), ("text", WHY)])
            .await;
        assert_eq!(reply.status, 409, "{minutes}: {}", reply.body);
    }
    assert_eq!(desk.intervention(&one.id).await.version, one.version);
}

// ---- helpers ----

fn approve() -> Value {
    json!({ "decision": "approve" })
}

async fn approved(desk: &Desk) -> Intervention {
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    desk.intervention(&one.id).await
}

async fn asked(desk: &Desk, one: Intervention) -> Intervention {
    let alice = desk.operator("alice").await;
    assert_eq!(alice.id, operator_id("alice"));
    let until = one.plan().text.window.end().plus(HOUR);
    desk.save(one.ask_extension(until, WHY, &alice, now()))
        .await
}
