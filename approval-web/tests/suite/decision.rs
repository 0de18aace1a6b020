//! What a contact signs, what is kept of it, and everything that must not count as a signature.

use crate::desk::device::User;
use crate::desk::{Desk, HOUR, by, customer_id, forward, now, plan_text};
use access::approval::Decision;
use access::intervention::{InterventionState, Phase};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};

fn approve() -> Value {
    json!({ "decision": "approve" })
}

/// The form's fields with what the device signed.
fn signed(fields: &Value, credential: Value) -> Value {
    let mut fields = fields.clone();
    fields["credential"] = credential;
    fields
}

#[tokio::test]
async fn a_kept_approval_verifies_offline_over_the_whole_plan() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 204, "{}", reply.body);

    let kept = desk.intervention(&one.id).await;
    let approval = kept.approvals.last().unwrap();
    assert_eq!(approval.decision, Decision::Approve);
    assert_eq!(approval.approver.as_str(), "claire");
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let assertion = &approval.assertion;

    let client_data = bytes(&assertion.client_data_json);
    let said: Value = serde_json::from_slice(&client_data).unwrap();
    let challenge =
        URL_SAFE_NO_PAD.encode(access::audit::sha256(approval.statement.text().as_bytes()));
    assert_eq!(said["challenge"], challenge);
    assert_eq!(said["type"], "webauthn.get");
    assert_eq!(said["origin"], "http://localhost:8080");

    let key: Value = serde_json::from_str(&assertion.public_key).unwrap();
    assert_eq!(
        (&key["1"], &key["3"], &key["-1"]),
        (&json!(2), &json!(-7), &json!(1))
    );
    let mut point = vec![4];
    point.extend(bytes(key["-2"].as_str().unwrap()));
    point.extend(bytes(key["-3"].as_str().unwrap()));
    let data = bytes(&assertion.authenticator_data);
    assert_eq!(data[..32], access::audit::sha256(b"localhost"));
    assert_eq!(data[32] & 0x05, 0x05, "present and verified");
    let mut signed = data.clone();
    signed.extend(access::audit::sha256(&client_data));
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
    key.verify(&signed, &bytes(&assertion.signature)).unwrap();
    signed[40] ^= 1;
    assert!(key.verify(&signed, &bytes(&assertion.signature)).is_err());

    let statement: Value = serde_json::from_str(approval.statement.text()).unwrap();
    assert_eq!(
        statement["plan"]["purpose"],
        "replace the disk of the archive"
    );
    assert_eq!(statement["plan_sha256"], kept.plan().hash());
}

#[tokio::test]
async fn a_refusal_is_signed_with_its_reason() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let fields = json!({ "decision": "refuse", "reason": "pas cette semaine" });
    assert_eq!(claire.decide(one.id.as_str(), &fields).await.status, 204);
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.phase(now()), Phase::Refused);
    let statement = kept.approvals.last().unwrap().statement.text().to_owned();
    assert!(statement.contains("pas cette semaine"));

    let one = desk.submitted().await;
    let silent = claire
        .decide(one.id.as_str(), &json!({ "decision": "refuse" }))
        .await;
    assert_eq!(silent.code(), "text_missing");
}

#[tokio::test]
async fn an_assertion_over_another_text_is_refused() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let other = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let path =
        |id: &access::InterventionId, step: &str| format!("/interventions/{id}/decision/{step}");

    let this = claire.read(one.id.as_str(), &approve()).await;
    let that = claire.read(other.id.as_str(), &approve()).await;

    // Signed for the other intervention, brought for this one.
    let wrong = claire.call(&path(&other.id, "options"), &that).await;
    let credential = claire.assertion(&wrong, User::Verified).await;
    claire.call(&path(&one.id, "options"), &this).await;
    let answer = signed(&this, credential);
    let reply = claire.call(&path(&one.id, "finish"), &answer).await;
    assert_eq!(reply.code(), "passkey");

    // Signed in good order, but for another path.
    let right = claire.call(&path(&other.id, "options"), &that).await;
    let credential = claire.assertion(&right, User::Verified).await;
    let answer = signed(&this, credential);
    let reply = claire.call(&path(&one.id, "finish"), &answer).await;
    assert_eq!(reply.code(), "passkey");

    // A refusal that was signed is no approval: the kept decision is the one that was asked for.
    let mut refuse = this.clone();
    refuse["decision"] = "refuse".into();
    refuse["reason"] = "no, thank you".into();
    let asked = claire.call(&path(&one.id, "options"), &refuse).await;
    let credential = claire.assertion(&asked, User::Verified).await;
    let forged = signed(&this, credential);
    assert_eq!(
        claire.call(&path(&one.id, "finish"), &forged).await.status,
        204
    );
    assert_eq!(
        desk.intervention(&one.id).await.phase(now()),
        Phase::Refused
    );
    assert_eq!(
        desk.intervention(&other.id).await.phase(now()),
        Phase::Submitted
    );
}

#[tokio::test]
async fn an_assertion_counts_once() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let base = format!("/interventions/{}/decision", one.id);
    let asked = claire.read(one.id.as_str(), &approve()).await;
    let options = claire.call(&format!("{base}/options"), &asked).await;
    let kept = claire.cookies.clone();
    let answer = signed(&asked, claire.assertion(&options, User::Verified).await);
    let finish = format!("{base}/finish");
    assert_eq!(claire.call(&finish, &answer).await.status, 204);
    claire.cookies = kept;
    assert_eq!(claire.call(&finish, &answer).await.code(), "passkey");
    assert_eq!(desk.intervention(&one.id).await.approvals.len(), 1);
}

#[tokio::test]
async fn a_plan_edited_between_reading_and_signing_is_not_approved() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let base = format!("/interventions/{}/decision", one.id);
    let asked = claire.read(one.id.as_str(), &approve()).await;
    let options = claire.call(&format!("{base}/options"), &asked).await;
    let answer = signed(&asked, claire.assertion(&options, User::Verified).await);

    let mut text = plan_text();
    text.purpose.push('.');
    let alice = desk.operator("alice").await;
    desk.save(one.clone().amend(text, &alice, now())).await;

    let reply = claire.call(&format!("{base}/finish"), &answer).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (409, "plan_changed")
    );
    assert!(
        reply.json()["sentence"]
            .as_str()
            .unwrap()
            .contains("Le plan a changé")
    );
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.phase(now()), Phase::Submitted);
    assert!(kept.approvals.is_empty());
}

#[tokio::test]
async fn a_plan_edited_after_the_page_was_opened_is_not_even_signed() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let opened = claire.read(one.id.as_str(), &approve()).await;
    assert_eq!(opened["plan_version"], "1");
    assert_eq!(opened["plan_sha256"], one.plan().hash());

    let mut text = plan_text();
    text.rollback = "none".into();
    let alice = desk.operator("alice").await;
    let edited = desk.save(one.clone().amend(text, &alice, now())).await;

    let path = format!("/interventions/{}/decision", one.id);
    let mut refusal = opened.clone();
    refusal["decision"] = "refuse".into();
    refusal["reason"] = "not like this".into();
    let mut other_text = opened.clone();
    other_text["plan_version"] = "2".into();
    let mut other_version = claire.read(one.id.as_str(), &approve()).await;
    other_version["plan_version"] = "1".into();
    for fields in [&opened, &refusal, &other_text, &other_version, &approve()] {
        let reply = claire.ceremony(&path, fields, User::Verified).await;
        let said = (reply.status.as_u16(), reply.code());
        assert_eq!(said, (409, "plan_changed".to_owned()), "{fields}");
        let sentence = reply.json()["sentence"].as_str().unwrap().to_owned();
        assert!(sentence.contains("relisez le plan"), "{sentence}");
    }
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.phase(now()), Phase::Submitted);
    assert_eq!((kept.version, kept.approvals.len()), (edited.version, 0));

    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    let kept = desk.intervention(&one.id).await;
    assert_eq!(kept.approvals.last().unwrap().plan_version, 2);
}

#[tokio::test]
async fn a_signature_without_the_plan_that_was_read_decides_nothing() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let base = format!("/interventions/{}/decision", one.id);
    let asked = claire.read(one.id.as_str(), &approve()).await;
    let options = claire.call(&format!("{base}/options"), &asked).await;
    let answer = json!({ "credential": claire.assertion(&options, User::Verified).await });
    let reply = claire.call(&format!("{base}/finish"), &answer).await;
    assert_eq!(reply.code(), "plan_changed");
    assert!(desk.intervention(&one.id).await.approvals.is_empty());
}

#[tokio::test]
async fn a_user_who_was_not_verified_approves_nothing() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let path = format!("/interventions/{}/decision", one.id);
    let asked = claire.read(one.id.as_str(), &approve()).await;
    let reply = claire.ceremony(&path, &asked, User::OnlyPresent).await;
    assert_eq!(reply.code(), "passkey");
    assert_eq!(
        desk.intervention(&one.id).await.phase(now()),
        Phase::Submitted
    );
}

#[tokio::test]
async fn a_passkey_revoked_meanwhile_signs_nothing() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let base = format!("/interventions/{}/decision", one.id);
    let asked = claire.read(one.id.as_str(), &approve()).await;
    let options = claire.call(&format!("{base}/options"), &asked).await;
    let answer = signed(&asked, claire.assertion(&options, User::Verified).await);
    let holder = access::second_factor::Holder::Contact(crate::desk::contact_id("claire"));
    for factor in desk.store.factors(&holder).await.unwrap() {
        desk.save(Ok(factor.revoke(by(), now()))).await;
    }
    let reply = claire.call(&format!("{base}/finish"), &answer).await;
    assert_eq!(reply.code(), "passkey");
    assert_eq!(
        desk.intervention(&one.id).await.phase(now()),
        Phase::Submitted
    );
}

#[tokio::test]
async fn who_asked_for_the_work_does_not_approve_it() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let contact = desk.contact("claire").await;
    let mut details = contact.details.clone();
    details.email = "ALICE@host.example".into();
    desk.save(contact.amend(details, by(), now())).await;
    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.code(), "approver_is_requester");
    let page = claire.get(&format!("/interventions/{}", one.id)).await;
    assert!(page.body.contains("personne ne valide son propre travail"));
    assert!(!page.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn a_contact_who_is_no_approver_reads_and_does_not_decide() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut paul = desk.signed_in("paul").await;
    let page = paul.get(&format!("/interventions/{}", one.id)).await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("value=\"approve\""));
    let reply = paul.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.code(), "contact_not_approver");
}

#[tokio::test]
async fn another_customers_contact_finds_nothing() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut victor = desk.signed_in("victor").await;
    let base = format!("/interventions/{}", one.id);
    assert_eq!(victor.get(&base).await.status, 404);
    let fields = [("reason", "because"), ("question", "what is this?")];
    for step in ["question", "revoke"] {
        let reply = victor.post(&format!("{base}/{step}"), &fields).await;
        assert_eq!(reply.status, 404, "{step}");
    }
    let reply = victor.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.status, 404);
    assert!(!victor.get("/").await.body.contains(one.id.as_str()));
    assert!(!victor.get("/access").await.body.contains("chu-exemple"));
    assert_eq!(
        victor.post("/contacts/claire/confirm", &[]).await.status,
        404
    );
    assert_eq!(desk.intervention(&one.id).await.version, one.version);
}

#[tokio::test]
async fn a_draft_is_nobodys_but_its_authors() {
    let desk = Desk::open().await;
    let alice = desk.operator("alice").await;
    let id = desk.store.next_intervention_id(now()).await.unwrap();
    let draft =
        access::Intervention::draft(id, customer_id("chu-exemple"), plan_text(), &alice, now());
    let draft = desk.save(draft).await;
    let mut claire = desk.signed_in("claire").await;
    assert_eq!(
        claire
            .get(&format!("/interventions/{}", draft.id))
            .await
            .status,
        404
    );
    assert!(!claire.get("/").await.body.contains(draft.id.as_str()));
}

#[tokio::test]
async fn a_question_holds_the_decision_until_it_is_answered() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    let path = format!("/interventions/{}", one.id);
    let asked = claire
        .post(
            &format!("{path}/question"),
            &[("question", "Quel disque ?")],
        )
        .await;
    assert_eq!(asked.location(), path);
    let page = claire.get(&path).await;
    assert!(page.body.contains("Quel disque ?"));
    assert!(!page.body.contains("value=\"approve\""));
    let alice = desk.operator("alice").await;
    let one = desk.intervention(&one.id).await;
    desk.save(one.answer(&alice, "Celui de l'archive", now()))
        .await;
    assert!(claire.get(&path).await.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn an_approval_can_be_taken_back_with_a_reason() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    let mut claire = desk.signed_in("claire").await;
    claire.decide(one.id.as_str(), &approve()).await;
    let path = format!("/interventions/{}/revoke", one.id);
    let silent = claire.post(&path, &[("reason", " ")]).await;
    assert_eq!(silent.status, 409);
    assert!(silent.body.contains("motif"));
    assert_eq!(
        claire
            .post(&path, &[("reason", "plus besoin")])
            .await
            .status,
        303
    );
    let kept = desk.intervention(&one.id).await;
    assert!(matches!(kept.state, InterventionState::Revoked { .. }));
}

#[tokio::test]
async fn after_the_deadline_nothing_is_decided() {
    let desk = Desk::open().await;
    let one = desk.submitted().await;
    forward(4 * HOUR);
    let mut claire = desk.signed_in("claire").await;
    let reply = claire.decide(one.id.as_str(), &approve()).await;
    assert_eq!(reply.code(), "deadline_over");
}
