//! What every page owes its reader: a sentence where nothing is, his language, a next step.

use crate::desk::{Desk, HOST_URL};
use access::contact::Language;
use std::collections::BTreeSet;
use std::path::Path;

#[tokio::test]
async fn empty_pages_say_what_will_appear_there() {
    let desk = Desk::open().await;
    let mut victor = desk.signed_in("victor").await;
    let home = victor.get("/").await.body;
    for said in [
        "Rien ne vous attend",
        "apparaîtront ici avant tout travail",
        "Vous verrez ici chaque travail validé",
        "resteront lisibles ici",
    ] {
        assert!(home.contains(said), "{said}");
    }
    assert!(victor.get("/access").await.body.contains("apparaîtra ici"));
}

#[tokio::test]
async fn a_page_speaks_the_persons_language_until_he_switches() {
    let desk = Desk::open().await;
    let contact = desk.contact("victor").await;
    let mut details = contact.details.clone();
    details.language = Language::English;
    desk.save(contact.amend(details, crate::desk::by(), crate::desk::NOW))
        .await;
    let mut victor = desk.signed_in("victor").await;
    assert!(victor.get("/").await.body.contains("<html lang=\"en\">"));
    let switched = [("language", "fr"), ("next", "/contacts")];
    let reply = victor.post("/language", &switched).await;
    assert_eq!(reply.location(), "/contacts");
    assert!(victor.get("/").await.body.contains("<html lang=\"fr\">"));
    let mut stranger = desk.browser_of("victor").await;
    assert!(
        stranger
            .get("/sign-in")
            .await
            .body
            .contains("<html lang=\"fr\">")
    );
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let desk = Desk::open().await;
    let mut stranger = desk.browser_of("claire").await;
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example/x",
        "/\n/evil.example",
        "/ /evil.example",
        "\t//evil.example",
        "evil",
    ] {
        let reply = stranger
            .post("/language", &[("language", "en"), ("next", next)])
            .await;
        assert_eq!(reply.location(), "/", "{next}");
        let sent = next
            .replace('\t', "%09")
            .replace('\n', "%0a")
            .replace(' ', "%20");
        let page = stranger.get(&format!("/sign-in?next={sent}")).await;
        assert!(page.body.contains("data-next=\"/\""), "{next}");
    }
    let led = stranger.get("/interventions/INT-2026-00042").await;
    assert_eq!(
        led.location(),
        "/sign-in?next=/interventions/INT-2026-00042"
    );
}

#[tokio::test]
async fn a_problem_says_what_to_do_next_and_where() {
    let desk = Desk::open().await;
    let mut claire = desk.signed_in("claire").await;
    let page = claire.get("/nothing/here").await;
    assert_eq!(page.status, 404);
    assert!(
        page.body.contains("repartez de l&#39;accueil")
            || page.body.contains("repartez de l'accueil")
    );
    let long = "x".repeat(70_000);
    let page = claire.post("/language", &[("language", &long)]).await;
    assert_eq!(page.status, 413);
    assert!(page.body.contains("Raccourcissez"));
    let page = claire.post("/language", &[("language", "de")]).await;
    assert_eq!(page.status, 422);
    let page = claire.post("/", &[]).await;
    assert_eq!(page.status, 405);
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
}

#[tokio::test]
async fn assets_are_served_with_their_type_and_are_not_sent_twice() {
    let desk = Desk::open().await;
    let mut stranger = desk.browser_of("claire").await;
    for (file, kind) in [
        ("bastion.css", "text/css; charset=utf-8"),
        ("passkey.js", "text/javascript; charset=utf-8"),
        ("replay.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("asciinema-player.js", "text/javascript; charset=utf-8"),
        ("asciinema-player.css", "text/css; charset=utf-8"),
        ("asciinema-player.LICENSE.txt", "text/plain; charset=utf-8"),
    ] {
        let path = format!("/assets/{file}");
        let reply = stranger.get(&path).await;
        assert_eq!(reply.status, 200, "{file}");
        assert_eq!(reply.headers["content-type"], kind, "{file}");
        assert!(reply.body.len() > 200, "{file}");
        let request = stranger
            .request(axum::http::Method::GET, &path)
            .header("if-none-match", &reply.headers["etag"])
            .body(axum::body::Body::empty());
        assert_eq!(stranger.send(request.unwrap()).await.status, 304, "{file}");
    }
    for file in ["..%2fCargo.toml", "nothing.css"] {
        assert_eq!(stranger.get(&format!("/assets/{file}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_charter_is_accepted_by_its_reader_and_traced() {
    let desk = Desk::open().await;
    let web = approval_web::Web {
        store: desk.store.clone(),
        recordings: desk.web.recordings.clone(),
        customer_url: crate::desk::CUSTOMER_URL.into(),
        host_url: HOST_URL.into(),
        ssh_name: String::new(),
        policy: access::decide::Policy {
            charter: Some("2026-1".into()),
            ..crate::desk::policy()
        },
        trusted_proxies: Vec::new(),
        factors: access::sealed::SealingKey::new(&[7; 32]).unwrap(),
        recording_master: desk.web.recording_master.clone(),
        ..*desk.web
    };
    let router = approval_web::host(std::sync::Arc::new(web)).unwrap();
    let mut alice = crate::desk::browser::Browser::new(&router, HOST_URL);
    let invitation = desk.invite("alice").await;
    alice.enrol(&invitation).await;
    assert!(alice.get("/").await.body.contains("href=\"/charter\""));
    assert_eq!(alice.post("/charter", &[]).await.status, 303);
    assert_eq!(
        desk.operator("alice").await.charter.as_deref(),
        Some("2026-1")
    );
    assert!(!alice.get("/").await.body.contains("href=\"/charter\""));
}

/// The texts that pages and code ask for by name are all there; a name put together from a code is
/// looked for by its beginning.
#[test]
fn no_text_that_is_asked_for_is_missing() {
    let known = texts("fr");
    let mut asked = BTreeSet::new();
    for folder in ["templates", "src"] {
        for file in files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for call in [".t(\"", ".with(\"", ".count(\"", ".fill(\"", "badge(\""] {
                for part in text.split(call).skip(1) {
                    let key = part.split('"').next().unwrap();
                    // A trace's details are named without a hyphen.
                    if folder == "templates" || key.contains('-') {
                        asked.insert(key.to_owned());
                    }
                }
            }
        }
    }
    assert!(asked.len() > 150, "the texts asked for were not found");
    let missing: Vec<_> = asked.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for begins in [
        "phase-",
        "operation-",
        "role-",
        "weekday-",
        "month-",
        "problem-",
    ] {
        assert!(known.iter().any(|key| key.starts_with(begins)), "{begins}");
    }
}

#[test]
fn every_refusal_of_the_domain_is_said_in_french() {
    let known = texts("fr");
    let mut codes = BTreeSet::new();
    for file in files(&root().join("../access/src")) {
        let text = std::fs::read_to_string(file).unwrap();
        for part in text.split("Refusal::new(").skip(1) {
            let code = part.split('"').nth(1).unwrap_or_default();
            codes.insert(format!("refusal-{}", code.replace('_', "-")));
        }
    }
    assert!(codes.len() > 30, "the refusals were not found");
    // Shown as a page that is not there.
    codes.remove("refusal-another-customer");
    let missing: Vec<_> = codes.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn texts(language: &str) -> BTreeSet<String> {
    files(&root().join("locales").join(language))
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let keys = text.lines().filter_map(|line| line.split_once(" ="));
            keys.map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
