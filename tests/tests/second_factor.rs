//! The second factor: asked of who has proven his key, right once, and not guessed.
//!
//! Needs asyncssh.

use access::lockout::Lockout;
use access::session::SessionState;
use access::{OperatorId, Time};
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, eventually, time};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

static BASTION: Common = Common::new();

/// Each test has an operator and a source address of its own: failures lock both.
fn bastion() -> Arc<Bastion> {
    BASTION.bastion(|| Options {
        operators: 15,
        ..Options::default()
    })
}

#[test]
fn a_wrong_code_is_refused_and_counted() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").from("127.0.1.1").code("000000");
    let ran = ssh.run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert_eq!(ssh.questions().len(), 1);
    let refused = refusals(&bastion, "alice");
    assert_eq!(
        refused.len(),
        2,
        "for the operator and for the address: {refused:?}"
    );
    assert!(
        refused
            .iter()
            .all(|event| event["detail"]["reason"] == "wrong_code")
    );
    assert_eq!(failures(&bastion, "operator:alice"), 1);
    assert_eq!(failures(&bastion, "source:127.0.1.1"), 1);
    assert!(bastion.sessions("alice").is_empty());
    // A success forgets it.
    let _ = bastion.ssh("alice").from("127.0.1.1").run("true").ok();
    assert_eq!(failures(&bastion, "operator:alice"), 0);
}

#[test]
fn what_is_no_code_is_refused() {
    let bastion = bastion();
    let long = "9".repeat(4000);
    for (source, nonsense) in [
        ("127.0.2.1", ""),
        ("127.0.2.1", " "),
        ("127.0.2.2", "' OR 1=1 --"),
        ("127.0.2.3", long.as_str()),
    ] {
        let ran = bastion.ssh("bob").from(source).code(nonsense).run("true");
        assert_eq!(ran.status, Some(255), "{nonsense:.20?} {ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(bastion.sessions("bob").is_empty());
}

#[test]
fn a_code_lets_in_once() {
    let bastion = bastion();
    let code = bastion.fresh_code_for("operator3", Duration::from_secs(20));
    let ssh = || bastion.ssh("operator3").from("127.0.3.1").code(&code);
    assert_eq!(ssh().run("echo in").ok(), "in\n");
    let again = ssh().run("echo in");
    assert_eq!(again.status, Some(255), "{again:?}");
    assert_eq!(again.stdout, "");
    let refused = refusals(&bastion, "operator3");
    assert!(
        refused
            .iter()
            .all(|event| event["detail"]["reason"] == "code_used_twice")
    );
    assert_eq!(bastion.sessions("operator3").len(), 1);
}

#[test]
fn a_code_used_by_many_at_the_same_instant_lets_one_in() {
    let bastion = bastion();
    let code = bastion.fresh_code("operator4");
    let together = Barrier::new(6);
    let statuses: Vec<_> = thread::scope(|scope| {
        let attempts: Vec<_> = (1..=6)
            .map(|number| {
                let (bastion, code, together) = (&bastion, &code, &together);
                scope.spawn(move || {
                    let source = format!("127.0.4.{number}");
                    let ssh = bastion.ssh("operator4").from(&source).code(code);
                    together.wait();
                    ssh.run("echo in")
                })
            })
            .collect();
        attempts
            .into_iter()
            .map(|attempt| attempt.join().unwrap())
            .collect()
    });
    let inside = statuses.iter().filter(|ran| ran.status == Some(0)).count();
    assert_eq!(inside, 1, "{statuses:?}");
    assert_eq!(logins(&bastion, "operator4"), 1);
    assert_eq!(bastion.sessions("operator4").len(), 1);
}

#[test]
fn three_failures_lock_the_operator_and_the_address_and_nobody_else() {
    let bastion = bastion();
    for _ in 0..3 {
        let _ = bastion
            .ssh("operator5")
            .from("127.0.5.1")
            .code("000000")
            .run("true");
    }
    for key in ["operator:operator5", "source:127.0.5.1"] {
        let left = locked_for(&bastion, key).expect("locked");
        assert!(
            left > Duration::from_secs(45) && left <= Duration::from_mins(1),
            "{left:?}"
        );
    }
    // The right code opens nothing now, from anywhere; and nobody else may come from there.
    let right = bastion.fresh_code("operator5");
    for source in ["127.0.5.1", "127.0.5.2"] {
        let ran = bastion
            .ssh("operator5")
            .from(source)
            .code(&right)
            .run("true");
        assert_eq!(ran.status, Some(255), "{ran:?}");
    }
    let neighbour = bastion.ssh("operator6").from("127.0.5.1").run("true");
    assert_eq!(neighbour.status, Some(255), "{neighbour:?}");
    assert_eq!(logins(&bastion, "operator5"), 0);
    // Others, from elsewhere, are not held up; and what was refused while locked cost no code.
    assert_eq!(
        bastion
            .ssh("operator6")
            .from("127.0.5.3")
            .run("echo in")
            .ok(),
        "in\n"
    );
    assert_eq!(
        refusals(&bastion, "operator5").len(),
        6,
        "refusals while locked are not failures"
    );
    assert!(bastion.sessions("operator5").is_empty());
}

#[test]
fn guesses_at_the_same_instant_are_no_more_than_guesses_in_a_row() {
    let bastion = bastion();
    let together = Barrier::new(12);
    thread::scope(|scope| {
        for number in 1..=12 {
            let (bastion, together) = (&bastion, &together);
            scope.spawn(move || {
                let source = format!("127.0.7.{number}");
                let ssh = bastion.ssh("operator7").from(&source).code("000000");
                together.wait();
                let _ = ssh.run("true");
            });
        }
    });
    let looked_at = refusals(&bastion, "operator7")
        .iter()
        .filter(|event| event["detail"]["counted"] == "operator:operator7")
        .count();
    assert!(
        looked_at <= 3,
        "{looked_at} codes were tried before the lock"
    );
    assert!(locked_for(&bastion, "operator:operator7").is_some());
}

#[test]
fn a_key_that_is_offered_and_cannot_sign_asks_and_writes_nothing() {
    let bastion = bastion();
    let public = bastion.dir.path().join("public-half.pub");
    fs::write(&public, public_key(&bastion, "operator8")).unwrap();
    let before = bastion.entries().len();
    let ssh = bastion
        .ssh("operator8")
        .key(public)
        .from("127.0.8.1")
        .code("000000")
        .option("-vv");
    let ran = ssh.run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(
        ran.stderr.contains("Offering public key"),
        "it was offered: {ran:?}"
    );
    assert!(ssh.questions().is_empty(), "{:?}", ssh.questions());
    let mine = |entries: &[Value]| {
        let mine = entries
            .iter()
            .filter(|entry| entry.to_string().contains("operator8"));
        mine.count()
    };
    let after = bastion.entries();
    assert_eq!(mine(&after[before..]), 0, "{:?}", &after[before..]);
    assert_eq!(failures(&bastion, "operator:operator8"), 0);
}

#[test]
fn no_other_method_is_tried_before_the_key() {
    let bastion = bastion();
    for method in [
        "keyboard-interactive",
        "password",
        "hostbased",
        "none",
        "gssapi-with-mic",
        "password,keyboard-interactive",
    ] {
        let ssh = bastion
            .ssh("operator9")
            .from("127.0.8.2")
            .code("000000")
            .option(&format!("-oPreferredAuthentications={method}"));
        let ran = ssh.run("true");
        assert_eq!(ran.status, Some(255), "{method}: {ran:?}");
        assert!(
            ran.stderr.contains("Permission denied (publickey)."),
            "{method}: {ran:?}"
        );
        assert!(
            ssh.questions().is_empty(),
            "{method}: {:?}",
            ssh.questions()
        );
    }
    assert_eq!(failures(&bastion, "operator:operator9"), 0);
}

#[test]
fn a_code_of_another_operator_does_not_let_in() {
    let bastion = Bastion::start(Options::default());
    let code = bastion.fresh_code("bob");
    let ran = bastion
        .ssh("alice")
        .from("127.0.9.1")
        .code(&code)
        .run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    // It was not used up by that either.
    assert_eq!(
        bastion
            .ssh("bob")
            .from("127.0.9.2")
            .code(&code)
            .run("echo in")
            .ok(),
        "in\n"
    );
}

#[test]
fn weak_keys_are_refused_where_they_are_declared() {
    let bastion = Bastion::start(Options::default());
    let directory = bastion.dir.path();
    for (kind, bits) in [("rsa", "2048"), ("rsa", "1024")] {
        let key = directory.join(format!("weak-{kind}-{bits}"));
        generate(&key, kind, bits);
        let applied = declare(
            &bastion,
            &fs::read_to_string(key.with_extension("pub")).unwrap(),
        );
        assert_eq!(applied.status, Some(1), "{applied:?}");
        assert!(applied.stderr.contains("too weak"), "{applied:?}");
    }
    let not_a_key = declare(&bastion, "ssh-ed25519 AAAA");
    assert_eq!(not_a_key.status, Some(1), "{not_a_key:?}");
    let operators = bastion.rows(|store| async move { store.operators().await.unwrap() });
    assert!(
        operators
            .iter()
            .all(|operator| operator.id.as_str() != "zoe"),
        "nothing was applied"
    );
}

#[test]
fn an_rsa_key_signs_with_sha_2_and_never_with_sha_1() {
    let bastion = Bastion::start(Options::default());
    let key = bastion.dir.path().join("rsa");
    generate(&key, "rsa", "3072");
    let applied = declare(
        &bastion,
        &fs::read_to_string(key.with_extension("pub")).unwrap(),
    );
    let _ = applied.ok();
    let ssh = |algorithm: &str| {
        bastion
            .ssh_as("alice", "zoe")
            .key(key.clone())
            .from("127.0.10.1")
            .code("000000")
            .option(&format!("-oPubkeyAcceptedAlgorithms={algorithm}"))
    };
    let sha1 = ssh("ssh-rsa");
    let ran = sha1.run("whoami");
    assert!(
        ran.stderr.contains("Permission denied (publickey)."),
        "{ran:?}"
    );
    assert!(sha1.questions().is_empty());
    // With SHA-2 the key is taken: zoe is asked for the factor that she does not have.
    for algorithm in ["rsa-sha2-512", "rsa-sha2-256"] {
        let ran = ssh(algorithm).run("whoami");
        assert_eq!(ran.status, Some(255), "{ran:?}");
    }
    assert!(
        !ssh("rsa-sha2-512").questions().is_empty(),
        "the key alone passed"
    );
    assert_eq!(logins(&bastion, "zoe"), 0);
}

#[test]
fn a_second_factor_is_asked_for_every_connection_unless_its_reuse_is_allowed() {
    let asked = bastion();
    let ssh = asked.ssh("operator8").from("127.0.11.1");
    let _ = ssh.run("true").ok();
    let batch = asked
        .ssh("operator8")
        .from("127.0.11.1")
        .without_second_factor()
        .run("true");
    assert_eq!(batch.status, Some(255), "{batch:?}");
    // Whoever has only the key leaves a trace of it.
    eventually("that he went away", Duration::from_secs(10), || {
        let abandoned = asked.events("login.abandoned");
        abandoned.iter().any(|event| {
            event["who"]["id"] == "operator8"
                && event["detail"]["key"]
                    .as_str()
                    .unwrap()
                    .starts_with("SHA256:")
                && event["detail"]["source"] == "127.0.11.1"
        })
    });

    let reusing = Bastion::start(Options::logged_in_already());
    let _ = reusing.ssh("alice").motive("reused").run("true").ok();
    let session = reusing.ended_session("reused");
    assert!(session.factor_reused, "and the trace says so");
    assert!(matches!(session.state, SessionState::Ended { .. }));
    // Not from another address, and not with another key.
    let elsewhere = reusing
        .ssh("alice")
        .from("127.0.11.2")
        .without_second_factor()
        .run("true");
    assert_eq!(elsewhere.status, Some(255), "{elsewhere:?}");
}

#[test]
fn two_people_on_one_connection_gain_nothing_from_each_other() {
    let bastion = bastion();
    let key = |who: &str| format!("key={who}={}", bastion.operator(who).key.display());
    let abandoned = |one: &str, other: &str, whose: &[&str]| {
        let counted = || {
            let events = bastion.events("login.abandoned");
            let of = |who: &str| events.iter().filter(|e| e["who"]["id"] == who).count();
            (of(one), of(other))
        };
        let of = |who: &str| whose.iter().filter(|one| **one == who).count();
        let expected = (of(one), of(other));
        eventually("what was left half way", Duration::from_secs(10), || {
            counted() == expected
        });
    };

    // Both keys, and the right code of the first: it is the second who is asked.
    let (one, other) = ("operator10", "operator11");
    let code = bastion.fresh_code_for(one, Duration::from_secs(20));
    let said = in_turn(
        &bastion,
        "127.0.12.1",
        &[&key(one), &key(other), &format!("code={one}={code}")],
    );
    assert!(said.contains("out:"), "{said}");
    abandoned(one, other, &[one, other]);
    assert_eq!((logins(&bastion, one), logins(&bastion, other)), (0, 0));
    assert_eq!(failures(&bastion, &format!("operator:{one}")), 0);
    // It was not used up by that.
    let ssh = bastion.ssh(one).from("127.0.12.1").code(&code);
    assert_eq!(ssh.run("echo in").ok(), "in\n");

    // The same under the other's name: it is no code of his.
    let (one, other) = ("operator12", "operator13");
    let code = bastion.fresh_code(one);
    let said = in_turn(
        &bastion,
        "127.0.12.2",
        &[&key(one), &key(other), &format!("code={other}={code}")],
    );
    assert!(said.contains("out:"), "{said}");
    // Of the other, the wrong code tells.
    abandoned(one, other, &[one]);
    let refused = refusals(&bastion, other);
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused[0]["detail"]["reason"], "wrong_code");
    assert!(refusals(&bastion, one).is_empty());

    // An answer to a question that another key has overtaken; then his own.
    let (one, other) = ("operator14", "operator15");
    let (first, second) = (bastion.fresh_code(one), bastion.fresh_code(other));
    let said = in_turn(
        &bastion,
        "127.0.12.3",
        &[
            &key(one),
            &format!("ask={one}"),
            &key(other),
            &format!("answer={first}"),
        ],
    );
    assert!(said.contains("out:"), "{said}");
    abandoned(one, other, &[one, other]);
    let said = in_turn(
        &bastion,
        "127.0.12.3",
        &[&key(one), &key(other), &format!("code={other}={second}")],
    );
    let who = said
        .split_once("in: ")
        .unwrap_or_else(|| panic!("{said}"))
        .1;
    let who: Value = serde_json::from_str(who).unwrap();
    assert_eq!(who["operator"], other);
    assert_eq!((logins(&bastion, one), logins(&bastion, other)), (0, 1));
    // Whose key it was that nobody followed up is told all the same.
    abandoned(one, other, &[one, other, one]);
}

/// What became of a connection that proves these in turn.
fn in_turn(bastion: &Bastion, source: &str, steps: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/in_turn.py");
    let port = bastion.ready.ssh.rsplit_once(':').unwrap().1;
    let mut client = Command::new("/usr/bin/python3");
    client.arg(script).args([port, source]).args(steps);
    run(client, b"", Duration::from_secs(60)).ok()
}

fn refusals(bastion: &Bastion, login: &str) -> Vec<Value> {
    let events = bastion.events("login.refused");
    events
        .into_iter()
        .filter(|event| event["who"]["id"] == login)
        .collect()
}

fn logins(bastion: &Bastion, login: &str) -> usize {
    let events = bastion.events("login.succeeded");
    events
        .iter()
        .filter(|event| event["who"]["id"] == login)
        .count()
}

fn lockout(bastion: &Bastion, key: &str) -> Lockout {
    let key = key.to_owned();
    bastion.rows(|store| async move { store.lockout(&key).await.unwrap() })
}

fn failures(bastion: &Bastion, key: &str) -> u32 {
    lockout(bastion, key).failures
}

fn locked_for(bastion: &Bastion, key: &str) -> Option<Duration> {
    let now: Time = time();
    lockout(bastion, key)
        .locked_at(now)
        .map(|until| until.since(now))
}

fn public_key(bastion: &Bastion, login: &str) -> String {
    let id = OperatorId::parse(login).unwrap();
    let operator = bastion.rows(|store| async move { store.operator(&id).await.unwrap().unwrap() });
    operator.details.keys[0].clone()
}

fn generate(path: &std::path::Path, kind: &str, bits: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Declares an operator `zoe` with this key.
fn declare(bastion: &Bastion, key: &str) -> Ran {
    let actor = bastion.rows(|store| async move { store.actors().await.unwrap() })[0]
        .id
        .clone();
    bastion.apply(&format!(
        "[operators.zoe]\nname = 'Zoé'\nemail = 'zoe@host.example'\nactor = '{actor}'\n\
         roles = ['operator']\nkeys = ['{}']\n",
        key.trim()
    ))
}
