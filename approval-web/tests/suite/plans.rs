//! From the host's form to the contact's page: what is written there is what is read here.

use crate::desk::browser::Browser;
use crate::desk::{Desk, HOUR, customer_id, forward, now, plan_text};
use access::intervention::{InterventionState, Phase};
use access::plan::HealthDataSeen;
use access::{Intervention, InterventionId};
use serde_json::json;

/// The form as a browser sends it: 24 November 2026, 11:00 to 13:00 in Paris.
const FORM: [(&str, &str); 14] = [
    ("purpose", "Remplacer le disque de l'archive"),
    ("nature", "Matériel"),
    ("impact", "Archives inaccessibles dix minutes"),
    ("rollback", "Remettre l'ancien disque"),
    ("health_data", "possible"),
    ("accountable", "Dr Martin"),
    ("origin", "host"),
    ("reference", "CHG-7"),
    ("start", "2026-11-24T11:00"),
    ("end", "2026-11-24T13:00"),
    ("operators", "alice"),
    ("operators", "olga"),
    ("targets", "db1.chu-exemple"),
    ("accounts", "root"),
];

fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let replaced = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let mut fields: Vec<_> = FORM
        .iter()
        .copied()
        .chain([("operations", "shell"), ("operations", "upload")])
        .filter(|(name, _)| !replaced(name))
        .collect();
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    fields
}

async fn drafted(desk: &Desk, alice: &mut Browser) -> Intervention {
    let reply = alice.post("/interventions", &form(&[])).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    let id = reply.location().rsplit('/').next().unwrap().to_owned();
    desk.intervention(&InterventionId::parse(&id).unwrap())
        .await
}

#[tokio::test]
async fn what_is_written_is_kept_as_a_draft_of_the_targets_customer() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let draft = drafted(&desk, &mut alice).await;
    assert_eq!(draft.phase(now()), Phase::Draft);
    assert_eq!(draft.customer, customer_id("chu-exemple"));
    let text = &draft.plan().text;
    assert_eq!(text.purpose, "Remplacer le disque de l'archive");
    assert_eq!(text.window.start().rfc3339(), "2026-11-24T10:00:00Z");
    assert_eq!(text.window.end().rfc3339(), "2026-11-24T12:00:00Z");
    assert_eq!(text.operators.len(), 2);
    assert_eq!(text.operations.len(), 2);
    assert_eq!(text.health_data, HealthDataSeen::Possible);
}

#[tokio::test]
async fn the_preview_is_what_the_contact_reads() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let mut claire = desk.signed_in("claire").await;
    let path = format!("/interventions/{}", drafted(&desk, &mut alice).await.id);
    let plan = |body: &str| {
        let start = body
            .find("<dl class=\"plan\">")
            .expect("the page shows the plan");
        let end = body[start..].find("</dl>").unwrap();
        body[start..start + end].to_owned()
    };
    let preview = plan(&alice.get(&path).await.body);
    assert!(preview.contains("Archives inaccessibles dix minutes"));
    assert!(preview.contains("de 11:00 à 13:00 (heure de Paris)"));
    assert_eq!(
        claire.get(&path).await.status,
        404,
        "a draft is its author's"
    );
    let sent = alice.post(&format!("{path}/submit"), &[]).await;
    assert_eq!(sent.location(), path);
    assert_eq!(plan(&claire.get(&path).await.body), preview);
}

#[tokio::test]
async fn a_draft_and_what_one_is_not_part_of_are_not_there() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let draft = drafted(&desk, &mut alice).await;
    let path = format!("/interventions/{}", draft.id);
    for login in ["olga", "bob", "sam", "ada"] {
        let mut other = desk.signed_in(login).await;
        assert_eq!(other.get(&path).await.status, 404, "{login}");
        let listed = other.get("/interventions").await;
        assert!(!listed.body.contains(draft.id.as_str()), "{login}");
    }
    let others = desk.submitted().await;
    let path = format!("/interventions/{}", others.id);
    for (login, status) in [("olga", 404), ("bob", 200), ("sam", 200), ("ada", 200)] {
        let mut other = desk.signed_in(login).await;
        assert_eq!(other.get(&path).await.status, status, "{login}");
    }
    let mut olga = desk.signed_in("olga").await;
    for step in ["submit", "withdraw", "close", "edit", "answer"] {
        let fields = form(&[("text", "anything at all")]);
        let reply = olga.post(&format!("{path}/{step}"), &fields).await;
        assert_eq!(reply.status, 404, "{step}");
    }
    assert_eq!(desk.intervention(&others.id).await.version, others.version);
}

#[tokio::test]
async fn a_form_that_cannot_be_a_plan_is_refused_with_a_sentence() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let rows = [
        (("purpose", "court"), 409, "« objet »"),
        (("accountable", ""), 409, "responsabilité"),
        (("start", "2026-11-24T14:00"), 422, "« fin »"),
        (("end", "hier"), 422, "« fin »"),
        (("end", "2026-11-24T09:30"), 422, "« fin »"),
        (("end", "2027-01-24T09:30"), 409, "31 jours"),
        (("targets", "../etc"), 422, "« système »"),
        (("targets", "nowhere"), 422, "« système »"),
        (("targets", ""), 422, "« système »"),
        (("operations", "reboot"), 422, "« opérations »"),
        (("accounts", ""), 409, "au moins"),
        (("health_data", "perhaps"), 422, "données de santé"),
    ];
    for (change, status, said) in rows {
        let reply = alice.post("/interventions", &form(&[change])).await;
        let body = reply.body.replace("&#39;", "'");
        assert_eq!(reply.status, status, "{change:?}");
        assert!(body.contains(said), "{change:?}: {body}");
    }
    let both = [
        ("targets", "db1.chu-exemple"),
        ("targets", "web1.clinique-voisine"),
    ];
    let reply = alice.post("/interventions", &form(&both)).await;
    assert!(reply.body.contains("plusieurs clients"), "{}", reply.body);
}

#[tokio::test]
async fn destinations_are_typed_one_a_line_and_read_by_the_contact_before_she_signs() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let typed = [
        ("operations", "forward"),
        (
            "forwards",
            "LOCALHOST:*\r\n[2001:DB8::1]:443\r\nlocalhost:*\r\n",
        ),
    ];
    let reply = alice.post("/interventions", &form(&typed)).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    let path = reply.location().to_owned();
    let edit = alice.get(&format!("{path}/edit")).await.body;
    assert!(
        edit.contains("localhost:*\n[2001:db8::1]:443</textarea>"),
        "{edit}"
    );
    alice.post(&format!("{path}/submit"), &[]).await;
    let mut claire = desk.signed_in("claire").await;
    for (language, title) in [
        ("fr", "Connexions à travers le système, vers"),
        ("en", "Connections through the system, to where"),
    ] {
        let fields = [("language", language), ("back", "/")];
        claire.post("/language", &fields).await;
        let page = claire.get(&path).await.body;
        assert!(page.contains(title), "{page}");
        assert!(
            page.contains("<li>localhost:*</li><li>[2001:db8::1]:443</li>"),
            "{page}"
        );
    }
    let id = InterventionId::parse(path.rsplit('/').next().unwrap()).unwrap();
    let signed = json!({ "decision": "approve" });
    assert_eq!(claire.decide(id.as_str(), &signed).await.status, 204);
    let one = desk.intervention(&id).await;
    let statement = one.approvals[0].statement.text();
    let listed = r#""forwards":["localhost:*","[2001:db8::1]:443"]"#;
    assert!(statement.contains(listed), "{statement}");
}

#[tokio::test]
async fn a_refused_form_comes_back_with_all_that_was_typed() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let one = drafted(&desk, &mut alice).await;
    let edit = format!("/interventions/{}/edit", one.id);
    let many: Vec<String> = (1..=17).map(|port| format!("h:{port}")).collect();
    let many = many.join("\n");
    let rows = [
        ("forward", "localhost:80\nlocalhost:0", "« localhost:0 »"),
        ("forward", "*:80", "« *:80 »"),
        ("forward", many.as_str(), "au plus 16"),
        ("shell", "localhost:80", "sans l'opération"),
    ];
    for path in ["/interventions", edit.as_str()] {
        for (operation, typed, said) in rows {
            let fields = form(&[("operations", operation), ("forwards", typed)]);
            let reply = alice.post(path, &fields).await;
            let body = reply.body.replace("&#39;", "'");
            assert_eq!(reply.status, 409, "{body}");
            assert!(body.contains(said), "{said}: {body}");
            assert!(body.contains(&format!("{typed}</textarea>")), "{body}");
            assert!(body.contains("value=\"CHG-7\""), "{body}");
            assert!(body.contains(&format!("action=\"{path}\"")), "{body}");
        }
    }
    assert_eq!(desk.intervention(&one.id).await.plan().number, 1);
}

#[tokio::test]
async fn an_edit_voids_the_approval_and_the_contact_decides_anew() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let mut claire = desk.signed_in("claire").await;
    let one = drafted(&desk, &mut alice).await;
    let path = format!("/interventions/{}", one.id);
    alice.post(&format!("{path}/submit"), &[]).await;
    claire
        .decide(one.id.as_str(), &json!({ "decision": "approve" }))
        .await;
    assert_eq!(
        desk.intervention(&one.id).await.phase(now()),
        Phase::Approved
    );
    let page = alice.get(&format!("{path}/edit")).await;
    assert!(
        page.body.contains("value=\"CHG-7\""),
        "the form is filled in"
    );
    let edited = form(&[("rollback", "Revenir à la sauvegarde")]);
    assert_eq!(
        alice.post(&format!("{path}/edit"), &edited).await.status,
        303
    );
    let kept = desk.intervention(&one.id).await;
    assert_eq!(
        (kept.phase(now()), kept.plan().number),
        (Phase::Submitted, 2)
    );
    assert!(
        claire
            .get(&path)
            .await
            .body
            .contains("Revenir à la sauvegarde")
    );
}

#[tokio::test]
async fn a_question_is_answered_and_the_work_is_closed_with_its_outcome() {
    let desk = Desk::open().await;
    let mut alice = desk.signed_in("alice").await;
    let mut claire = desk.signed_in("claire").await;
    let one = desk.submitted().await;
    let path = format!("/interventions/{}", one.id);
    claire
        .post(
            &format!("{path}/question"),
            &[("question", "Quel disque ?")],
        )
        .await;
    assert!(alice.get(&path).await.body.contains("Quel disque ?"));
    let answer = [("text", "Celui de l'archive")];
    assert_eq!(
        alice.post(&format!("{path}/answer"), &answer).await.status,
        303
    );
    claire
        .decide(one.id.as_str(), &json!({ "decision": "approve" }))
        .await;

    forward(20 * crate::desk::MINUTE);
    assert_eq!(alice.get("/").await.status, 200);
    forward(25 * crate::desk::MINUTE);
    assert_eq!(alice.get("/").await.status, 200);
    forward(20 * crate::desk::MINUTE);
    let home = alice.get("/").await.body;
    assert!(
        home.contains("ssh -J alice@bastion.example:2222 root@db1.chu-exemple"),
        "{home}"
    );
    let direct = format!(
        "ssh -p 2222 alice+root+db1.chu-exemple+{}@bastion.example",
        one.id
    );
    assert!(home.contains(&direct), "{home}");

    let outcome = [("text", "Disque remplacé, archive vérifiée")];
    assert_eq!(
        alice.post(&format!("{path}/close"), &outcome).await.status,
        303
    );
    let kept = desk.intervention(&one.id).await;
    assert!(matches!(kept.state, InterventionState::Closed { .. }));
}

#[tokio::test]
async fn both_ways_lead_to_every_account_of_every_system_of_the_plan() {
    let desk = Desk::open().await;
    let alice = desk.operator("alice").await;
    let id = desk.store.next_intervention_id(now()).await.unwrap();
    let mut text = plan_text();
    text.accounts
        .insert(access::AccountName::parse("postgres").unwrap());
    let draft = Intervention::draft(id, customer_id("chu-exemple"), text, &alice, now());
    let draft = desk.save(draft).await;
    let one = desk.save(draft.submit(&alice, now())).await;
    let mut claire = desk.signed_in("claire").await;
    let approve = json!({ "decision": "approve" });
    assert_eq!(claire.decide(one.id.as_str(), &approve).await.status, 204);
    forward(HOUR);
    let mut alice = desk.signed_in("alice").await;
    for path in ["/".to_owned(), format!("/interventions/{}", one.id)] {
        let page = alice.get(&path).await.body;
        for account in ["root", "postgres"] {
            let number = &one.id;
            for way in [
                format!("ssh -p 2222 alice+{account}+db1.chu-exemple+{number}@bastion.example"),
                format!("ssh -J alice@bastion.example:2222 {account}@db1.chu-exemple"),
            ] {
                assert!(
                    page.contains(&format!("<code>{way}</code>")),
                    "{way}: {page}"
                );
            }
        }
        let known = "<code>ssh -p 2222 alice@bastion.example known-hosts</code>";
        assert!(page.contains(known), "{page}");
    }
}

#[tokio::test]
async fn security_stops_an_intervention_with_a_fresh_passkey() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let one = desk.submitted().await;
    claire
        .decide(one.id.as_str(), &json!({ "decision": "approve" }))
        .await;
    let path = format!("/interventions/{}/revoke", one.id);
    let mut bob = desk.signed_in("bob").await;
    assert_eq!(bob.post(&path, &[("text", "no more")]).await.status, 403);
    let mut sam = desk.signed_in("sam").await;
    forward(6 * crate::desk::MINUTE);
    assert_eq!(
        sam.post(&path, &[("text", "incident en cours")])
            .await
            .status,
        403
    );
    sam.freshen().await;
    assert_eq!(
        sam.post(&path, &[("text", "incident en cours")])
            .await
            .status,
        303
    );
    assert_eq!(
        desk.intervention(&one.id).await.phase(now()),
        Phase::Revoked
    );
}

#[tokio::test]
async fn a_right_is_proposed_by_one_and_put_in_force_by_another() {
    let desk = Desk::open().await;
    let mut mia = desk.signed_in("mia").await;
    let fields = [
        ("operator", "olga"),
        ("targets", "db1.chu-exemple"),
        ("accounts", "root"),
        ("operations", "shell"),
        ("justification", "astreinte des bases de données"),
        ("basis", "contract"),
        ("start", "2026-11-24T00:00"),
        ("end", "2027-11-24T00:00"),
        ("review_every", "year"),
    ];
    let proposed = mia.post("/grants", &fields).await;
    assert_eq!(proposed.status, 303, "{}", proposed.body);
    let path = proposed.location().to_owned();
    let own = mia.post(&format!("{path}/approve"), &[]).await;
    assert!(own.body.contains("deuxième personne"), "{}", own.body);
    let mut olga = desk.signed_in("olga").await;
    assert_eq!(olga.get(&path).await.status, 200, "its holder may read it");
    let mut alice = desk.signed_in("alice").await;
    assert_eq!(
        alice.get(&path).await.status,
        404,
        "nobody else of her role"
    );
    let mut bob = desk.signed_in("bob").await;
    assert_eq!(bob.post(&format!("{path}/approve"), &[]).await.status, 303);
    assert!(olga.get("/").await.body.contains("en vigueur"));
    let forged = [("operator", "mia")];
    let fields: Vec<_> = fields[1..].iter().copied().chain(forged).collect();
    assert_eq!(
        mia.post("/grants", &fields).await.status,
        409,
        "no right for oneself"
    );
}

#[tokio::test]
async fn a_review_can_leave_less_and_never_more() {
    let desk = Desk::open().await;
    let mut sam = desk.signed_in("sam").await;
    let id = access::GrantId::from_random([7; 16]);
    let path = format!("/grants/{id}/review");
    let attested = [
        ("decision", "reduce"),
        ("nominative", "yes"),
        ("justified", "yes"),
        ("necessary", "yes"),
        ("comment", "les commandes suffisent"),
        ("targets", "db1.chu-exemple"),
        ("accounts", "root"),
    ];
    let reduce = |operation| {
        let mut fields = attested.to_vec();
        fields.push(("operations", operation));
        fields
    };
    assert_eq!(sam.post(&path, &reduce("download")).await.status, 409);
    assert_eq!(sam.post(&path, &reduce("exec")).await.status, 303);
    let kept = desk.store.grant(&id).await.unwrap().unwrap();
    assert_eq!(kept.terms.scope.operations.len(), 1);
    assert_eq!(kept.reviews.len(), 1);
}

#[tokio::test]
async fn who_reviews_sees_what_comes_due() {
    let desk = Desk::open().await;
    let mut bob = desk.signed_in("bob").await;
    assert!(bob.get("/").await.body.contains("Aucun droit à revoir"));
    let id = access::GrantId::from_random([7; 16]);
    let grant = desk.store.grant(&id).await.unwrap().unwrap();
    let soon = now().plus(30 * crate::desk::DAY);
    let called = grant.call_for_review(soon, crate::desk::by(), now());
    desk.save(called).await;
    assert!(bob.get("/").await.body.contains("1 droit à revoir"));
    let list = bob.get("/grants?due=yes").await.body;
    assert!(list.contains(id.as_str()), "{list}");
    let mut alice = desk.signed_in("alice").await;
    assert!(!alice.get("/").await.body.contains("à revoir d"));
}
