//! People at a real browser, with a passkey: a contact on a phone, an operator, security.
//!
//! Needs Chromium and its driver. Pictures of the pages are left in `target/screenshots`.

use access::second_factor::Proof;
use access::session::SessionState;
use e2e::bastion::TARGET;
use e2e::browser::{DESK, PHONE};
use e2e::{Bastion, Browser, Options, Ran, eventually, now};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

const CONTACT: &str = "claire.martin";
const SECURITY: &str = "samuel";
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_contact_on_a_phone_enrols_reads_approves_and_stops() {
    let bastion = Bastion::start(Options {
        open_intervention: false,
        ..Options::logged_in_already()
    });
    let alice = || bastion.ssh("alice");
    alice().run("true").refused_with("intervention_missing");
    let asked = bastion.bare("alice").run(&format!(
        "request {TARGET} --purpose 'Contrôler les sauvegardes' --impact aucun --rollback aucun --json"
    ));
    let asked: serde_json::Value = serde_json::from_str(&asked.ok()).unwrap();
    let number = asked["number"].as_str().unwrap().to_owned();

    let phone = Browser::open(PHONE);
    phone.enrol(&invitation(&bastion, CONTACT));
    phone.sees("Une intervention attend votre réponse");
    assert_eq!(phone.script("return document.documentElement.lang"), "fr");
    phone.fits();
    phone.picture("customer-home-phone");
    phone.touch("a.card.urgent");
    phone.sees("Contrôler les sauvegardes");
    phone.fits();
    phone.picture("customer-intervention-phone");
    // What is shown to be signed is what is then kept as signed.
    let shown = phone.script("return document.querySelector('[data-statement]').textContent");
    phone.touch_text("Valider avec ma clé d'accès");
    phone.sees("Décisions signées");
    phone.picture("customer-approved-phone");
    let shown: serde_json::Value = serde_json::from_str(shown.as_str().unwrap()).unwrap();
    let approved = bastion.events("intervention.approved");
    assert_eq!(approved.len(), 1);
    assert_eq!(approved[0]["who"]["id"], CONTACT);
    assert_eq!(shown["intervention"], number.as_str(), "{shown}");

    let mut client = alice()
        .motive("approved-on-a-phone")
        .spawn(&["echo running; exec sleep 300"]);
    let mut line = String::new();
    BufReader::new(client.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "running\n");
    let live = bastion.session("approved-on-a-phone");
    assert_eq!(live.intervention.as_str(), number);

    // It takes longer: asked in the terminal, read and signed on the phone.
    let asked = bastion.bare("alice");
    let asked = asked.run("extend 30m la copie est plus longue que prévu");
    assert!(asked.ok().contains("the customer decides"));
    phone.go(&bastion.ready.customer_web);
    phone.sees("Plus de temps demandé");
    phone.fits();
    phone.picture("customer-home-extension-phone");
    phone.touch("a.card.urgent");
    phone.sees("la copie est plus longue que prévu");
    phone.fits();
    phone.picture("customer-extension-phone");
    phone.touch_text("Valider avec ma clé d'accès");
    phone.sees("Demandes de prolongation");
    phone.fits();
    phone.picture("customer-extended-phone");
    let later = live.ends_at.plus(Duration::from_mins(30));
    eventually("the session follows", PATIENCE, || {
        bastion.session("approved-on-a-phone").ends_at == later
    });

    // The same page shows the session while it lives, and stops it.
    phone.go(&format!(
        "{}/interventions/{number}",
        bastion.ready.customer_web
    ));
    phone.sees("approved-on-a-phone");
    phone.type_into("#revoke-reason", "Pas pendant les urgences");
    phone.touch_text("Arrêter avec ma clé d'accès");
    let stopped = now();
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert!(
        stopped.elapsed() < Duration::from_secs(5),
        "{:?}",
        stopped.elapsed()
    );
    assert!(ended.stderr.contains("intervention_revoked"), "{ended:?}");
    phone.sees("Pas pendant les urgences");
    phone.fits();
    phone.picture("customer-stopped-phone");
    alice().run("true").refused_with("intervention_revoked");
    let _ = bastion.admin(&["audit", "verify"]).ok();
    let _ = bastion.admin(&["recording", "verify"]).ok();
}

#[test]
fn a_passkey_that_recognises_nobody_is_not_enrolled() {
    let bastion = Bastion::start(Options::default());
    let phone = Browser::that_recognises_nobody(PHONE);
    phone.go(&invitation(&bastion, CONTACT));
    phone.touch("form[data-ceremony] button");
    eventually("the page says why", PATIENCE, || {
        phone.script("return !document.querySelector('[data-trouble]').hidden") == true
    });
    assert!(phone.address().contains("/invitation"));
    phone.sees("Recommencez");
    phone.picture("invitation-not-recognised-phone");
    phone.go(&bastion.ready.customer_web);
    phone.sees("Se connecter");
}

#[test]
fn an_invitation_is_taken_once() {
    let bastion = Bastion::start(Options::default());
    let address = invitation(&bastion, CONTACT);
    let first = Browser::open(PHONE);
    first.enrol(&address);
    let second = Browser::open(PHONE);
    second.go(&address);
    second.touch("form[data-ceremony] button");
    second.sees("L'invitation a déjà servi");
    second.go(&bastion.ready.customer_web);
    second.sees("Se connecter");
}

#[test]
fn an_operator_confirms_in_the_browser_and_presses_enter() {
    let bastion = Bastion::start(Options::default());
    let desk = Browser::open(DESK);
    desk.enrol(&invitation(&bastion, "alice"));
    desk.sees("alice");
    desk.picture("host-home");
    let login = Waiting::for_a_confirmation(&bastion, "alice", "confirmed-in-the-browser");
    desk.go(&login.address);
    desk.sees(TARGET);
    desk.picture("host-confirm");
    desk.type_into("#number", &login.number);
    desk.touch("form[data-ceremony] button");
    is_over(&desk);
    desk.picture("host-confirmed");
    assert_eq!(login.enter().ok(), "in\n");
    let session = bastion.ended_session("confirmed-in-the-browser");
    assert_eq!(session.credentials.proof, Proof::Passkey, "{session:?}");
}

#[test]
fn another_number_or_another_person_confirms_nothing() {
    let bastion = Bastion::start(Options::default());
    let alice = Browser::open(DESK);
    alice.enrol(&invitation(&bastion, "alice"));
    let login = Waiting::for_a_confirmation(&bastion, "alice", "wrong-number");
    // Bob was sent the address: it is not his.
    let bob = Browser::open(DESK);
    bob.enrol(&invitation(&bastion, "bob"));
    bob.go(&login.address);
    bob.sees("Il n'y a rien ici");
    alice.go(&login.address);
    let wrong = if login.number == "11" { "12" } else { "11" };
    alice.type_into("#number", wrong);
    alice.touch("form[data-ceremony] button");
    eventually("the page says that it is wrong", PATIENCE, || {
        alice.script("return !document.querySelector('[data-trouble]').hidden") == true
    });
    alice.picture("host-confirm-wrong-number");
    // One wrong number ends it: there is no second guess.
    alice.go(&login.address);
    is_over(&alice);
    let ran = login.enter();
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(bastion.sessions("alice").is_empty());
}

#[test]
fn security_replays_a_session_after_saying_why() {
    let bastion = Bastion::start(Options::logged_in_already());
    let ran = bastion
        .ssh("alice")
        .motive("to-be-replayed")
        .option("-tt")
        .run("printf 'moment-%d\\n' $((40 + 2)); sleep 1; echo over");
    let _ = ran.ok();
    let session = bastion.ended_session("to-be-replayed");
    assert!(matches!(session.state, SessionState::Ended { .. }));

    let desk = Browser::open(DESK);
    desk.enrol(&invitation(&bastion, SECURITY));
    desk.go(&format!("{}/sessions", bastion.ready.host_web));
    desk.sees("to-be-replayed");
    desk.picture("host-sessions");
    desk.go(&format!(
        "{}/sessions/{}",
        bastion.ready.host_web, session.id
    ));
    desk.sees("to-be-replayed");
    assert!(bastion.events("replay.started").is_empty());
    desk.type_into("#purpose", "Vérification de l'incident 42");
    desk.picture("host-session");
    desk.touch("form[data-fresh] button");
    eventually(
        "the player's page is there",
        Duration::from_secs(20),
        || desk.address().contains("/replay/re-"),
    );
    let traced = bastion.events("replay.started");
    assert_eq!(traced.len(), 1);
    assert_eq!(traced[0]["who"]["id"], SECURITY);
    assert_eq!(
        traced[0]["detail"]["purpose"],
        "Vérification de l'incident 42"
    );
    // The public player shows what was on the screen.
    desk.touch(".player .ap-overlay-start, .player .ap-play-button, .player");
    eventually(
        "the player shows the moment",
        Duration::from_secs(20),
        || {
            let shown =
                desk.script("return document.querySelector('.ap-term, .ap-terminal').innerText");
            shown
                .as_str()
                .is_some_and(|text| text.contains("moment-42"))
        },
    );
    desk.fits();
    desk.picture("host-replay");
    // The address of a replay is worth nothing to anybody else.
    let stranger = Browser::open(DESK);
    stranger.go(&desk.address());
    stranger.sees("Se connecter");
}

/// A new invitation's address.
fn invitation(bastion: &Bastion, login: &str) -> String {
    let said = bastion.admin(&["invite", login]).ok();
    let address = said
        .split_whitespace()
        .find(|word| word.contains("/invitation#"))
        .expect(&said);
    // The administrator's configuration is not the demo's: only the token is taken.
    let token = address.split_once('#').unwrap().1;
    let origin = if login == CONTACT {
        &bastion.ready.customer_web
    } else {
        &bastion.ready.host_web
    };
    format!("{origin}/invitation#{token}")
}

/// The page of a confirmation asks for nothing any more.
fn is_over(browser: &Browser) {
    eventually("the confirmation is over", PATIENCE, || {
        browser.script("return document.querySelector('form[data-ceremony]') === null") == true
    });
}

/// A login that waits for its confirmation in the browser.
struct Waiting {
    client: Child,
    address: String,
    number: String,
    /// The file that makes the person press Enter.
    enter: PathBuf,
}

impl Waiting {
    fn for_a_confirmation(bastion: &Bastion, login: &str, motive: &str) -> Self {
        let directory = bastion.dir.path();
        let [question, enter] = ["question", "enter"].map(|name| directory.join(name));
        // Shows the question in a file, and answers with Enter once another file is there.
        let askpass = directory.join("askpass-and-wait");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" > '{question}.new'\nmv '{question}.new' '{question}'\n\
             while ! [ -e '{enter}' ]; do sleep 0.1; done\necho\n",
            question = question.display(),
            enter = enter.display()
        );
        fs::write(&askpass, script).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = bastion.ssh(login).motive(motive).code("").command();
        command
            .env("SSH_ASKPASS", askpass)
            .arg("echo in")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let client = command.spawn().unwrap();
        eventually("the second factor is asked for", PATIENCE, || {
            question.exists()
        });
        let said = fs::read_to_string(&question).unwrap();
        let address = said
            .split_whitespace()
            .find(|word| word.contains("/confirm/"));
        let number = said.split("(number ").nth(1).and_then(|rest| rest.get(..2));
        Self {
            client,
            address: address.expect(&said).to_owned(),
            number: number.expect(&said).to_owned(),
            enter,
        }
    }

    fn enter(self) -> Ran {
        fs::write(&self.enter, "").unwrap();
        Ran::from(self.client.wait_with_output().unwrap())
    }
}
