//! Two bastions on one database are one: what is used, locked or revoked at one is so at the other.
//!
//! Needs PostgreSQL.

use access::session::SessionState;
use e2e::{Another, Bastion, Options, Postgres, Ran, now};
use std::io::{BufRead as _, BufReader};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

#[test]
fn a_code_used_at_both_at_the_same_instant_lets_one_in() {
    let (_database, one, other) = two(Options::default());
    for login in ["alice", "bob", "operator3"] {
        let code = one.fresh_code(login);
        let together = Barrier::new(2);
        let ran: Vec<Ran> = thread::scope(|scope| {
            let attempts = [&one.ready.ssh, &other.address].map(|address| {
                let (one, code, together) = (&one, &code, &together);
                scope.spawn(move || {
                    let ssh = one.ssh(login).at(address).code(code);
                    together.wait();
                    ssh.run("echo in")
                })
            });
            attempts
                .into_iter()
                .map(|attempt| attempt.join().unwrap())
                .collect()
        });
        let inside = ran.iter().filter(|ran| ran.stdout == "in\n").count();
        assert_eq!(inside, 1, "{ran:?}");
        assert_eq!(one.sessions(login).len(), 1);
    }
}

#[test]
fn failures_at_one_lock_at_the_other() {
    let (_database, one, other) = two(Options::default());
    let wrong = |address: &str, source: &str| {
        let ran = one
            .ssh("bob")
            .at(address)
            .from(source)
            .code("000000")
            .run("echo in");
        assert_eq!(ran.status, Some(255), "{ran:?}");
    };
    wrong(&one.ready.ssh, "127.0.5.1");
    wrong(&other.address, "127.0.5.2");
    wrong(&one.ready.ssh, "127.0.5.3");
    for address in [&one.ready.ssh, &other.address] {
        let ran = one.ssh("bob").at(address).from("127.0.5.4").run("echo in");
        assert_eq!(ran.status, Some(255), "{address}: {ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(
        one.ssh("alice").at(&other.address).run("echo in").ok(),
        "in\n",
        "nobody else is locked"
    );
}

#[test]
fn one_starts_stops_and_revokes_while_the_other_has_a_session() {
    let (_database, one, other) = two(Options::default());
    let ssh = one.ssh("bob").motive("on-one");
    let mut client = ssh.spawn(&["echo running; exec sleep 300"]);
    let mut line = String::new();
    BufReader::new(client.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "running\n");

    // A third starts, and stops: what lives at the first is not what a stopped bastion left.
    drop(one.another());
    assert_eq!(one.session("on-one").state, SessionState::Live);

    // Alice takes the intervention back, at the other.
    let number = one.ready.interventions[0]["number"].as_str().unwrap();
    let closed = one
        .bare("alice")
        .at(&other.address)
        .run(&format!("close {number} --outcome done"));
    let revoked = now();
    let _ = closed.ok();
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert!(
        revoked.elapsed() < Duration::from_secs(5),
        "{:?}",
        revoked.elapsed()
    );
    assert!(ended.stderr.contains("intervention_over"), "{ended:?}");
    let session = one.ended_session("on-one");
    let _ = one
        .admin(&["recording", "verify", session.id.as_str()])
        .ok();
    let _ = one.admin(&["audit", "verify"]).ok();
}

/// A database, and two bastions on it.
fn two(options: Options) -> (Postgres, Bastion, Another) {
    let database = Postgres::start();
    let one = Bastion::start(Options {
        database: Some(database.url()),
        ..options
    });
    let other = one.another();
    (database, one, other)
}
