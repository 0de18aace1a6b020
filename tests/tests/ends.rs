//! What ends a session from outside, how soon, and what everybody is told: the operator in his
//! terminal, the program on the target, the trace.

use access::approval::Decision;
use access::grant::Operation;
use access::intervention::InterventionState;
use access::review::{Attestations, Review, ReviewDecision};
use access::session::SessionState;
use access::{InterventionId, Operator, OperatorId, Who};
use e2e::bastion::{TARGET, signal};
use e2e::{Bastion, Options, Ran, Shared, Ssh, Way, eventually, now, time};
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// A revocation reaches a session within this.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_session_ends_with_its_window() {
    let bastion = Bastion::start(Options::logged_in_already().with("--window", "15s"));
    let terminal = Going::on(&bastion, "alice", "in-a-window", Where::Terminal);
    let command = Going::on(&bastion, "bob", "in-a-window-too", Where::Command);
    let ends_at = bastion.session("in-a-window").ends_at;
    let (terminal, command) = (terminal.wait(), command.wait());
    assert!(time() >= ends_at, "not before");
    assert!(
        time().since(ends_at) < Duration::from_secs(5),
        "and not long after"
    );
    for ended in [&terminal, &command] {
        ended.says("the time of this session ended at");
        assert_eq!(ended.ran.status, Some(255), "{:?}", ended.ran);
    }
    terminal.leaves_nothing_on_the_target();
    assert!(terminal.hung_up.exists(), "a terminal's program is hung up");
    command.leaves_nothing_on_the_target();
    ended_because(&bastion, "in-a-window", "the time of this session ended at");
    let cast = bastion.cast(&bastion.session("in-a-window"), 0);
    assert!(cast.contains("the time of this session ended at"), "{cast}");
    bastion
        .ssh("alice")
        .run("true")
        .refused_with("intervention_over");
    eventually("the intervention is closed", Duration::from_secs(5), || {
        !bastion.events("intervention.closed").is_empty()
    });
}

#[test]
fn a_session_that_the_customer_extends_lives_on_beyond_the_old_end() {
    let bastion = Bastion::start(Options::logged_in_already().with("--window", "30s"));
    let mut terminal = Going::on(&bastion, "alice", "extended", Where::Terminal);
    let by_jump = bastion.ssh("bob").motive("extended-too").by(Way::Jump);
    let mut command = Going::with(&bastion, &by_jump, "extended-too", Where::Command);
    let old_end = bastion.session("extended").ends_at;
    let said = bastion
        .bare("alice")
        .run("extend 10m the copy takes longer --json")
        .ok();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let number = said["number"].as_str().unwrap();
    assert_eq!(said["extension"]["reason"], "the copy takes longer");
    assert_eq!(said["until"], old_end.rfc3339(), "nothing is different yet");
    assert_eq!(bastion.session("extended").ends_at, old_end);
    bastion
        .bare("bob")
        .run("extend 5m me too")
        .refused_with("extension_pending");

    let session = bastion.session("extended");
    eventually("the terminal is told", Duration::from_secs(10), || {
        // What is durable by now, which may be nothing yet.
        let opened = bastion.exported(&session);
        std::fs::read_to_string(opened.file("channel-0.cast"))
            .is_ok_and(|shown| shown.contains("alice asked for time until"))
    });
    let state = bastion.state().to_str().unwrap();
    let approved = bastion.command(&["demo", "--approve", number, "--state", state]);
    assert!(approved.status.success(), "{approved:?}");
    let new_end = old_end.plus(Duration::from_secs(600));
    for motive in ["extended", "extended-too"] {
        eventually("the session follows", Duration::from_secs(10), || {
            bastion.session(motive).ends_at == new_end
        });
        assert_eq!(bastion.session(motive).plan_version, 2);
    }
    eventually("the old end is past", Duration::from_secs(30), || {
        time() > old_end.plus(Duration::from_secs(2))
    });
    terminal.still_runs();
    command.still_runs();
    for motive in ["extended", "extended-too"] {
        assert_eq!(bastion.session(motive).state, SessionState::Live);
    }
    let again = bastion
        .ssh("operator3")
        .motive("opened-after")
        .run("echo in");
    assert_eq!(again.ok(), "in\n");

    drop(command);
    drop(terminal.client.stdin.take());
    terminal.client.kill().unwrap();
    let shown = terminal.wait();
    shown.says("alice asked for time until");
    shown.says("[bastion] extended until");
    let session = bastion.ended_session("extended");
    let journal = bastion.journal(&session);
    for code in ["extension", "extended"] {
        assert!(
            journal.iter().any(|line| line["code"] == code),
            "{code}: {journal:?}"
        );
    }
    let continued = bastion.events("session.continued");
    assert_eq!(continued.len(), 2, "{continued:?}");
    assert!(
        continued
            .iter()
            .all(|entry| entry["detail"]["plan_version"] == 2
                && entry["detail"]["ends_at"] == new_end.rfc3339())
    );
    assert!(
        bastion
            .cast(&session, 0)
            .contains("[bastion] extended until")
    );
    let _ = bastion.admin(&["audit", "verify"]).ok();
    let _ = bastion.admin(&["recording", "verify"]).ok();
}

#[test]
fn a_session_whose_extension_is_refused_or_not_answered_ends_at_the_old_end() {
    let bastion = Bastion::start(Options::logged_in_already().with("--window", "20s"));
    let terminal = Going::on(&bastion, "alice", "not-extended", Where::Terminal);
    let ends_at = bastion.session("not-extended").ends_at;
    let asked = bastion
        .bare("alice")
        .run("extend 10m the copy takes longer");
    assert!(asked.ok().contains("the customer decides"));
    bastion.rows(|store| async move {
        let id = first_intervention(&store).await;
        let one = store.intervention(&id).await.unwrap().unwrap();
        let no = Decision::Refuse {
            reason: "not tonight".to_owned(),
        };
        let refused = e2e::decided(&store, one, no, time()).await;
        store.save(refused).await.unwrap();
    });
    let _ = bastion.bare("bob").run("extend 20m it really does").ok();
    let ended = terminal.wait();
    assert!(time() >= ends_at, "not before");
    assert!(time().since(ends_at) < AT_ONCE, "and not long after");
    ended.says("[bastion] not extended: claire.martin refused (not tonight)");
    ended.says("the time of this session ended at");
    ended.leaves_nothing_on_the_target();
    ended_because(
        &bastion,
        "not-extended",
        "the time of this session ended at",
    );
    assert!(bastion.events("session.continued").is_empty());
    eventually("the intervention is closed", AT_ONCE, || {
        !bastion.events("intervention.closed").is_empty()
    });
    let closed = bastion.events("intervention.closed").remove(0);
    assert_eq!(closed["detail"]["extension"], "unanswered");
    let late = bastion.bare("alice").run("extend 10m once more");
    assert_eq!(late.status, Some(1), "{late:?}");
    assert!(
        late.stderr.contains("no intervention of yours is open"),
        "{late:?}"
    );
}

#[test]
fn a_session_ends_when_the_customer_revokes() {
    let bastion = Bastion::start(Options::logged_in_already());
    let terminal = Going::on(&bastion, "alice", "revoked", Where::Terminal);
    let command = Going::on(&bastion, "bob", "revoked-too", Where::Command);
    let revoked = now();
    bastion.rows(|store| async move {
        let id = first_intervention(&store).await;
        let contact = store.contacts().await.unwrap().remove(0);
        let intervention = store.intervention(&id).await.unwrap().unwrap();
        let changed = intervention
            .revoke_by_contact(&contact, "not now", time())
            .unwrap();
        store.save(changed).await.unwrap();
    });
    for going in [terminal, command] {
        let ended = going.wait();
        assert!(ended.at.duration_since(revoked) < AT_ONCE);
        ended.says("Refused (intervention_revoked)");
        assert_eq!(ended.ran.status, Some(255), "{:?}", ended.ran);
        ended.leaves_nothing_on_the_target();
    }
    ended_because(&bastion, "revoked", "intervention_revoked");
    bastion
        .ssh("alice")
        .run("true")
        .refused_with("intervention_revoked");
}

#[test]
fn a_session_ends_when_security_revokes() {
    let bastion = Bastion::start(Options::logged_in_already());
    let going = Going::on(&bastion, "alice", "revoked-by-security", Where::Command);
    let revoked = now();
    bastion.rows(|store| async move {
        let id = first_intervention(&store).await;
        let security: Operator = store
            .operators()
            .await
            .unwrap()
            .into_iter()
            .find(|operator| operator.may(access::operator::Role::Security).is_ok())
            .unwrap();
        let intervention = store.intervention(&id).await.unwrap().unwrap();
        let changed = intervention
            .revoke_by_security(&security, "an alert", time())
            .unwrap();
        let saved = store.save(changed).await.unwrap();
        assert!(matches!(saved.state, InterventionState::Revoked { .. }));
    });
    let ended = going.wait();
    assert!(ended.at.duration_since(revoked) < AT_ONCE);
    ended.says("Refused (intervention_revoked)");
    ended_because(&bastion, "revoked-by-security", "intervention_revoked");
}

#[test]
fn a_session_ends_when_the_person_the_right_or_the_company_does() {
    let bastion = Bastion::start(Options {
        operators: 5,
        ..Options::logged_in_already()
    });
    let suspended = Going::on(&bastion, "alice", "suspended", Where::Terminal);
    let withdrawn = Going::on(&bastion, "bob", "withdrawn", Where::Command);
    let mut untouched = Going::on(&bastion, "operator3", "untouched", Where::Command);
    let at = now();
    let suspended_alice = bastion.declared("alice", None, "state = 'suspended'");
    let _ = bastion.apply(&suspended_alice).ok();
    let ended = suspended.wait();
    assert!(ended.at.duration_since(at) < AT_ONCE);
    ended.says("Refused (operator_suspended)");
    ended_because(&bastion, "suspended", "operator_suspended");

    let at = now();
    bastion.rows(|store| async move {
        let filter = store::GrantFilter {
            operator: Some(OperatorId::parse("bob").unwrap()),
            limit: 10,
            ..store::GrantFilter::default()
        };
        let grant = store.grants(filter).await.unwrap().remove(0);
        let by = Who::CommandLine("test".to_owned());
        store
            .save(grant.withdraw("no longer needed", by, time()).unwrap())
            .await
            .unwrap();
    });
    let ended = withdrawn.wait();
    assert!(ended.at.duration_since(at) < AT_ONCE);
    ended.says("Refused (grant_withdrawn)");
    ended_because(&bastion, "withdrawn", "grant_withdrawn");

    untouched.still_runs();
    let actor = bastion.rows(|store| async move { store.actors().await.unwrap().remove(0) });
    let kind = serde_json::to_value(actor.kind).unwrap();
    let at = now();
    let suspended_actor = format!(
        "[actors.{}]\nname = '{}'\nkind = {kind}\nstate = 'suspended'\n",
        actor.id, actor.name
    );
    let _ = bastion.apply(&suspended_actor).ok();
    let ended = untouched.wait();
    assert!(ended.at.duration_since(at) < AT_ONCE);
    ended.says("Refused (actor_suspended)");
    for operator in ["alice", "bob", "operator3"] {
        assert_eq!(bastion.ssh(operator).run("true").status, Some(255));
    }
    bastion
        .ssh("operator4")
        .run("true")
        .refused_with("actor_suspended");
    // Nor does the bastion itself tell him anything any more.
    for command in ["interventions", "whoami", "sessions --json", "help"] {
        let told = bastion.bare("alice").run(command);
        told.refused_with("operator_suspended");
        assert_eq!(told.stdout, "", "{command}");
    }
}

#[test]
fn a_right_that_is_reduced_ends_what_it_covers_no_more() {
    let bastion = Bastion::start(Options::logged_in_already());
    let command = Going::on(&bastion, "bob", "commands-no-more", Where::Command);
    let at = now();
    bastion.rows(|store| async move {
        let filter = store::GrantFilter {
            operator: Some(OperatorId::parse("bob").unwrap()),
            limit: 10,
            ..store::GrantFilter::default()
        };
        let grant = store.grants(filter).await.unwrap().remove(0);
        let mut scope = grant.terms.scope.clone();
        scope.operations.remove(&Operation::Exec);
        let manager = OperatorId::parse("marie").unwrap();
        let manager = store.operator(&manager).await.unwrap().unwrap();
        let review = Review {
            reviewer: manager.id.clone(),
            decision: ReviewDecision::Reduce { scope },
            attestations: Attestations::ALL,
            comment: "shells are enough".to_owned(),
            at: time(),
        };
        let reviewed = grant.review(&manager, review, time()).unwrap();
        store.save(reviewed).await.unwrap();
    });
    let ended = command.wait();
    assert!(ended.at.duration_since(at) < AT_ONCE);
    ended.says("Refused (operation_not_granted)");
    ended_because(&bastion, "commands-no-more", "operation_not_granted");
    bastion
        .ssh("bob")
        .run("true")
        .refused_with("operation_not_granted");
}

#[test]
fn a_silent_session_ends_and_one_that_says_something_does_not() {
    let bastion = Bastion::start(Options::logged_in_already().with("--idle-limit", "4s"));
    let mut busy = Going::on(&bastion, "alice", "busy", Where::Command);
    let silent = bastion.ssh("bob").motive("silent").spawn(&["sleep 300"]);
    let started = now();
    let ran = Ran::from(silent.wait_with_output().unwrap());
    assert!(started.elapsed() > Duration::from_secs(4));
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(ran.stderr.contains("nothing happened for"), "{ran:?}");
    assert!(!ran.stderr.contains("for 0 minutes"), "{ran:?}");
    assert_eq!(ran.status, Some(255));
    ended_because(&bastion, "silent", "nothing happened for");
    busy.still_runs();
    assert_eq!(bastion.session("busy").state, SessionState::Live);
}

#[test]
fn a_connection_on_which_nothing_happens_ends_and_one_that_is_used_does_not() {
    let bastion = Bastion::start(Options::logged_in_already().with("--idle-limit", "4s"));
    let through = bastion.ssh("bob").motive("through").by(Way::Jump);
    let mut through = Going::with(&bastion, &through, "through", Where::Command);
    let started = now();
    // Nobody has opened anything on it; and somebody has asked something once.
    let mut connections = [
        bastion.share("alice"),
        Shared::open(&bastion.bare("operator3"), bastion.dir.path()),
    ];
    assert!(connections[1].run("whoami").ok().contains("operator3"));
    eventually("both have ended", Duration::from_secs(15), || {
        connections.iter_mut().all(Shared::has_ended)
    });
    assert!(started.elapsed() > Duration::from_secs(4));
    through.still_runs();
}

#[test]
fn a_login_grows_too_old_for_anything_new_and_ends_nothing_that_runs() {
    let bastion = Bastion::start(Options::default().with("--login-limit", "15s"));
    let used = bastion.share("alice");
    let unused = bastion.share("bob");
    let bare = Shared::open(&bastion.bare("operator3"), bastion.dir.path());
    let mut program = used.command(&[]);
    program.arg("echo running; while :; do echo going on; sleep 0.3; done");
    let mut program = program.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap()).lines();
    assert_eq!(output.next().unwrap().unwrap(), "running");
    assert!(bare.run("whoami").ok().contains("operator3"));
    assert_eq!(used.run("echo young").ok(), "young\n");
    std::thread::sleep(Duration::from_secs(16));

    for (connection, asked) in [(&used, "true"), (&unused, "true"), (&bare, "whoami")] {
        let ran = connection.run(asked);
        ran.refused_with("second_factor_missing");
        assert!(ran.stderr.contains("log in again"), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
    let mut jump = bare.command(&["-W", &format!("{TARGET}:22")]);
    jump.stdin(Stdio::null());
    assert!(!jump.output().unwrap().status.success());
    let refused = bastion.events("request.refused");
    for (login, request) in [("alice", "operation"), ("operator3", "request")] {
        assert!(
            refused.iter().any(|entry| entry["who"]["id"] == login
                && entry["detail"][request].is_string()
                && entry["detail"]["codes"][0] == "second_factor_missing"),
            "{login}: {refused:?}"
        );
    }
    assert!(bastion.sessions("bob").is_empty());
    for line in output.by_ref().take(5) {
        assert_eq!(line.unwrap(), "going on");
    }
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!(bastion.ssh("bob").run("echo again").ok(), "again\n");
}

#[test]
fn no_session_is_longer_than_a_session_may_be() {
    let bastion = Bastion::start(Options::logged_in_already().with("--session-limit", "6s"));
    let going = Going::on(&bastion, "alice", "too-long", Where::Command);
    let session = bastion.session("too-long");
    assert_eq!(
        session.ends_at.since(session.started_at),
        Duration::from_secs(6)
    );
    let ended = going.wait();
    ended.says("the time of this session ended at");
    ended_because(&bastion, "too-long", "the time of this session ended at");
    // The intervention is still open: one may come again.
    assert_eq!(bastion.ssh("alice").run("echo again").ok(), "again\n");
}

#[test]
fn a_bastion_that_is_stopped_ends_its_sessions_and_seals_them() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let terminal = Going::on(&bastion, "alice", "stopped", Where::Terminal);
    let command = Going::on(&bastion, "bob", "stopped-too", Where::Command);
    bastion.stop();
    for going in [terminal, command] {
        let ended = going.wait();
        ended.says("the bastion is being stopped");
        assert_eq!(ended.ran.status, Some(255), "{:?}", ended.ran);
        ended.leaves_nothing_on_the_target();
    }
    // Nothing runs any more: what is read now is what was left.
    ended_because(&bastion, "stopped", "the bastion is being stopped");
    ended_because(&bastion, "stopped-too", "the bastion is being stopped");
    let _ = bastion.admin(&["recording", "verify"]).ok();
    let _ = bastion.admin(&["audit", "verify"]).ok();
    bastion.restart();
    assert!(
        bastion.events("session.interrupted").is_empty(),
        "nothing was left open"
    );
    assert_eq!(bastion.ssh("alice").run("echo again").ok(), "again\n");
}

async fn first_intervention(store: &store::Store) -> InterventionId {
    let filter = store::InterventionFilter {
        limit: 1,
        ..store::InterventionFilter::default()
    };
    store.interventions(filter).await.unwrap().remove(0).id
}

/// The row says so, and the journal.
fn ended_because(bastion: &Bastion, motive: &str, sentence: &str) {
    let session = bastion.ended_session(motive);
    let SessionState::Ended { reason, .. } = &session.state else {
        panic!("{session:?}");
    };
    assert!(reason.contains(sentence), "{reason}");
    let journal = bastion.journal(&session);
    let last = journal.last().unwrap();
    assert_eq!(last["event"], "session_ended");
    assert!(
        last["reason"].as_str().unwrap().contains(sentence),
        "{last}"
    );
    assert!(
        journal.iter().any(|line| line["event"] == "cut"),
        "{journal:?}"
    );
    let entries = bastion.events("session.ended");
    let entry = entries
        .iter()
        .find(|entry| entry["session"] == session.id.as_str())
        .unwrap();
    assert_eq!(entry["who"]["kind"], "bastion");
}

enum Where {
    Terminal,
    Command,
}

/// A program that goes on until it is ended, and notes when it is hung up.
struct Going {
    client: Child,
    output: BufReader<ChildStdout>,
    pid: u32,
    hung_up: PathBuf,
}

/// How it ended.
struct Ended {
    ran: Ran,
    at: Instant,
    pid: u32,
    hung_up: PathBuf,
}

impl Going {
    fn on(bastion: &Bastion, login: &str, motive: &str, place: Where) -> Self {
        let ssh = bastion.ssh(login).motive(motive);
        Self::with(bastion, &ssh, motive, place)
    }

    fn with(bastion: &Bastion, ssh: &Ssh<'_>, motive: &str, place: Where) -> Self {
        let hung_up = bastion.dir.path().join(format!("hung-up-{motive}"));
        let program = format!(
            "trap 'echo > {}; exit' HUP; echo $$; while :; do echo going on; sleep 0.3; done",
            hung_up.display()
        );
        let mut command = match place {
            Where::Terminal => ssh.command_with(&["-tt"]),
            Where::Command => ssh.command(),
        };
        let mut client = command
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(client.stdout.take().unwrap());
        let mut pid = String::new();
        output.read_line(&mut pid).unwrap();
        let Ok(pid) = pid.trim().parse() else {
            let mut error = String::new();
            client
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut error)
                .unwrap();
            panic!("no program: {pid:?} {error}");
        };
        Self {
            client,
            output,
            pid,
            hung_up,
        }
    }

    fn still_runs(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "going on");
        assert!(self.client.try_wait().unwrap().is_none());
    }

    fn wait(mut self) -> Ended {
        let mut stdout = String::new();
        self.output.read_to_string(&mut stdout).unwrap();
        let mut stderr = String::new();
        self.client
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        let status = self.client.wait().unwrap().code();
        Ended {
            at: now(),
            ran: Ran {
                status,
                stdout,
                stderr,
            },
            pid: self.pid,
            hung_up: self.hung_up.clone(),
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if matches!(self.client.try_wait(), Ok(None)) {
            self.client.kill().ok();
            self.client.wait().ok();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // What the bastion did not end does not outlive its test.
        signal(self.pid, "KILL");
    }
}

impl Ended {
    fn says(&self, sentence: &str) {
        let ran = &self.ran;
        assert!(
            ran.stderr.contains(sentence) || ran.stdout.contains(sentence),
            "{ran:?}"
        );
    }

    fn leaves_nothing_on_the_target(&self) {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        eventually(
            "the program on the target ends",
            Duration::from_secs(5),
            || !process.exists(),
        );
    }
}
