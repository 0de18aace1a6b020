//! What the bastion stands on fails for a while: the database, the clock. Doubt refuses and ends;
//! and when all is well again, all goes on.
//!
//! Needs PostgreSQL and libfaketime.

use access::session::SessionState;
use e2e::ssh::run;
use e2e::{Bastion, Clock, Options, Postgres, Ran, eventually, now};
use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

#[test]
fn while_the_database_is_gone_nothing_opens_and_what_runs_ends() {
    let mut database = Postgres::start();
    let bastion = Bastion::start(Options {
        database: Some(database.url()),
        operators: 4,
        ..Options::logged_in_already()
    });
    assert_eq!(bastion.ssh("alice").run("echo before").ok(), "before\n");

    let ssh = bastion.ssh("bob").motive("in-doubt");
    let mut client = ssh.spawn(&["echo running; while sleep 0.2; do echo on; done"]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    // Somebody who is in but has opened nothing yet.
    let waiting = bastion.share("operator3");

    database.stop();
    let gone = now();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let took = gone.elapsed();
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert!(
        ended
            .stderr
            .contains("the bastion's database does not answer"),
        "{ended:?}"
    );
    assert_eq!(ended.status, Some(255));
    assert!(took < Duration::from_secs(15), "cut after {took:?}");
    assert!(
        took > Duration::from_secs(3),
        "a short stutter ends nothing: {took:?}"
    );

    let accepted = bastion.sshd.accepted().len();
    let refused = waiting.run("echo without a database");
    assert_eq!(refused.status, Some(255), "{refused:?}");
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("try again"), "{refused:?}");
    let login = run(bastion.ssh("alice").command(), b"", Duration::from_secs(60));
    assert_eq!(login.status, Some(255), "{login:?}");
    assert_eq!(
        bastion.sshd.accepted().len(),
        accepted,
        "no target was reached"
    );

    database.start_again();
    eventually("the bastion works again", Duration::from_secs(30), || {
        bastion.ssh("alice").run("echo after").stdout == "after\n"
    });
    eventually(
        "the cut session has its end",
        Duration::from_secs(30),
        || {
            bastion
                .find_session("in-doubt")
                .is_some_and(|session| session.state != SessionState::Live)
        },
    );
    let session = bastion.ended_session("in-doubt");
    let SessionState::Ended { reason, .. } = &session.state else {
        panic!("{session:?}")
    };
    assert!(reason.contains("database does not answer"), "{reason}");
    let _ = bastion.admin(&["recording", "verify"]).ok();
    let _ = bastion.admin(&["audit", "verify"]).ok();
}

/// A database that stands still answers nobody and refuses nobody: each question is waited for.
#[test]
fn while_the_database_stands_still_every_session_ends_and_none_late() {
    let database = Postgres::start();
    let bastion = Bastion::start(
        Options {
            database: Some(database.url()),
            operators: 8,
            ..Options::logged_in_already()
        }
        .with("--session-limit", "30s"),
    );
    let started = now();
    let clients: Vec<_> = bastion
        .ready
        .operators
        .iter()
        .map(|operator| {
            let ssh = bastion.ssh(&operator.login).motive(&operator.login);
            let mut client = ssh.spawn(&["echo running; while sleep 0.2; do echo on; done"]);
            let mut output = BufReader::new(client.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "running\n");
            (client, output, now())
        })
        .collect();
    database.suspend();
    let still = now();
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "the sessions have not ended by themselves: {:?}",
        started.elapsed()
    );
    let ends: Vec<_> = clients
        .into_iter()
        .map(|(client, mut output, opened)| {
            std::thread::spawn(move || {
                let mut rest = String::new();
                output.read_to_string(&mut rest).unwrap();
                let at = now();
                (Ran::from(client.wait_with_output().unwrap()), opened, at)
            })
        })
        .collect();
    let ends: Vec<_> = ends.into_iter().map(|end| end.join().unwrap()).collect();
    database.resume();
    for (ran, opened, at) in &ends {
        assert_eq!(ran.status, Some(255), "{ran:?}");
        assert!(
            at.duration_since(*opened) < Duration::from_secs(33),
            "{:?} after it was opened: {ran:?}",
            at.duration_since(*opened)
        );
        assert!(
            at.duration_since(still) < Duration::from_secs(10),
            "in doubt for {:?}: {ran:?}",
            at.duration_since(still)
        );
    }
    for operator in &bastion.ready.operators {
        let session = bastion.ended_session(&operator.login);
        assert!(
            matches!(session.state, SessionState::Ended { .. }),
            "{session:?}"
        );
    }
}

#[test]
fn a_short_stutter_of_the_database_ends_nothing() {
    let mut database = Postgres::start();
    let bastion = Bastion::start(Options {
        database: Some(database.url()),
        ..Options::logged_in_already()
    });
    let ssh = bastion.ssh("alice").motive("stutter");
    let mut client = ssh.spawn(&[
        "echo running; i=0; while [ $i -lt 40 ]; do sleep 0.2; echo on; i=$((i+1)); done; exit 5",
    ]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    database.stop();
    database.start_again();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert_eq!(ended.status, Some(5), "{ended:?}");
    assert_eq!(rest, "on\n".repeat(40));
}

#[test]
fn what_is_refused_while_the_log_cannot_be_written_is_in_it_afterwards() {
    let bastion = Bastion::start(Options {
        operators: 4,
        ..Options::logged_in_already()
    });
    let (asking, opening) = (bastion.share("alice"), bastion.share("bob"));
    let wrong = bastion.ssh("operator3").from("127.0.30.1").code("000000");
    let lock = WriteLock::hold(&bastion.ready.database, 9);

    let mut subsystem = asking.command(&["-s"]);
    subsystem.arg("netconf");
    assert_ne!(run(subsystem, b"", Duration::from_secs(20)).status, Some(0));
    // Nothing new begins meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    let opened = opening.run("echo without a log");
    opened.refused_with("unavailable");
    assert_eq!(opened.stdout, "");
    assert!(opened.stderr.contains("audit log"), "{opened:?}");
    for login in [bastion.ssh("operator4").run("true"), wrong.run("true")] {
        assert_eq!(login.status, Some(255), "{login:?}");
    }
    let released = lock.released();

    for (name, login) in [("request.refused", "alice"), ("session.refused", "bob")] {
        let mut entry = None;
        eventually(name, Duration::from_secs(10), || {
            let entries = bastion.events(name);
            entry = entries.into_iter().find(|e| e["who"]["id"] == login);
            entry.is_some()
        });
        let at = access::Time::from_micros(entry.unwrap()["at"].as_i64().unwrap());
        assert!(at < released, "it keeps its own time");
    }
    assert!(bastion.find_session("echo without a log").is_none());
    eventually("everything goes on", Duration::from_secs(10), || {
        opening.run("echo with a log").stdout == "with a log\n"
    });
    assert_eq!(bastion.ssh("operator4").run("echo in").ok(), "in\n");
    let _ = bastion.admin(&["audit", "verify"]).ok();
}

#[test]
fn what_cannot_be_written_before_a_stop_is_in_the_programs_own_log() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let asking = bastion.share("alice");
    let lock = WriteLock::hold(&bastion.ready.database, 40);
    let mut subsystem = asking.command(&["-s"]);
    subsystem.arg("netconf");
    assert_ne!(run(subsystem, b"", Duration::from_secs(20)).status, Some(0));
    bastion.stop_within(Duration::from_secs(40));
    let log = bastion.log();
    let lost = log
        .lines()
        .find(|line| line.contains("an event is not in the audit log"))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(lost.contains("ERROR"), "{lost}");
    assert!(lost.contains("request.refused"), "{lost}");
    assert!(lost.contains("alice"), "{lost}");
    drop(lock);
}

#[test]
fn no_window_opens_again_when_the_clock_goes_back() {
    let mut clock = Clock::new();
    let bastion = Bastion::start(
        Options {
            environment: clock.environment(),
            ..Options::logged_in_already()
        }
        .with("--window", "12s"),
    );
    let _ = bastion.ssh("alice").motive("in-time").run("true").ok();
    eventually("the window is closed", Duration::from_secs(30), || {
        !bastion.events("intervention.closed").is_empty()
    });
    bastion
        .ssh("alice")
        .run("true")
        .refused_with("intervention_over");
    // To a moment at which the window was open.
    let opened = bastion.session("in-time").started_at;
    clock.set_back(e2e::time().since(opened).as_secs());
    eventually(
        "the bastion's clock has gone back",
        Duration::from_secs(10),
        || {
            let ran = bastion.ssh("bob").run("true");
            ran.refused_with("intervention_over");
            let refused = bastion.events("session.refused");
            let at = access::Time::from_micros(refused.last().unwrap()["at"].as_i64().unwrap());
            at < e2e::time().minus(Duration::from_secs(3))
        },
    );
    assert_eq!(
        bastion.sshd.accepted().len(),
        1,
        "only the first reached the target"
    );
}

#[test]
fn a_session_that_starts_in_the_future_is_cut() {
    let mut clock = Clock::new();
    let bastion = Bastion::start(Options {
        environment: clock.environment(),
        ..Options::logged_in_already()
    });
    let ssh = bastion.ssh("alice").motive("from-the-future");
    let mut client = ssh.spawn(&["echo running; exec sleep 300"]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let started = now();
    clock.set_back(3600);
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(ended.stderr.contains("clock went back"), "{ended:?}");
    assert_eq!(ended.status, Some(255));
    let session = bastion.ended_session("from-the-future");
    assert!(
        matches!(session.state, SessionState::Ended { .. }),
        "{session:?}"
    );
    let _ = bastion
        .admin(&["recording", "verify", session.id.as_str()])
        .ok();
    // Entries of an hour ago, as this clock sees them, are signed by now or never.
    eventually("the log is signed", Duration::from_secs(20), || {
        bastion.admin(&["audit", "verify"]).status == Some(0)
    });
}

/// The embedded database, locked against every other writer for a while.
struct WriteLock {
    holder: std::process::Child,
}

impl WriteLock {
    fn hold(database: &str, seconds: u32) -> Self {
        let script = "\
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
time.sleep(float(sys.argv[2]))
db.execute('ROLLBACK')";
        let mut holder = std::process::Command::new("python3")
            .args(["-c", script, database.trim_start_matches("sqlite://")])
            .arg(seconds.to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "locked\n");
        Self { holder }
    }

    /// Waits for its end, and says when that was.
    fn released(mut self) -> access::Time {
        assert!(self.holder.wait().unwrap().success());
        e2e::time()
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
