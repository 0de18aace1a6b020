//! `ssh -J alice@bastion root@db1.chu-exemple`: unchanged commands, and every one of them decided,
//! recorded and ended by itself.

use access::session::SessionState;
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Bastion, Options, Ran, Shared, Ssh, Way, eventually};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[test]
fn a_command_through_a_jump_is_a_session_as_any_other() {
    let bastion = Bastion::start(Options::default());
    let ssh = bastion.ssh("alice").by(Way::Jump).motive("by-jump");
    let ran = ssh.run_with_input(&["cat; echo told >&2; exit 7"], b"said\n");
    assert_eq!(ran.status, Some(7), "{ran:?}");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("said\n", "told\n")
    );
    let session = bastion.ended_session("by-jump");
    assert_eq!(session.operator.as_str(), "alice");
    assert_eq!(session.target.as_str(), TARGET);
    let journal = bastion.journal(&session);
    assert!(
        journal
            .iter()
            .any(|line| line["event"] == "exit" && line["status"] == 7)
    );
    let _ = bastion
        .admin(&["recording", "verify", session.id.as_str()])
        .ok();
    // One login, one session; the second factor was asked for once.
    assert_eq!(bastion.events("login.succeeded").len(), 1);
    assert_eq!(bastion.sessions("alice").len(), 1);
}

#[test]
fn a_terminal_through_a_jump_has_its_size() {
    let bastion = Bastion::start(Options::default());
    let script = format!(
        "stty rows 33 cols 111; {} stty size",
        shown(&bastion.ssh("alice").by(Way::Jump).option("-tt").command())
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]);
    for (name, value) in bastion.ssh("alice").command().get_envs() {
        if let Some(value) = value {
            terminal.env(name, value);
        }
    }
    let ran = run(terminal, b"", Duration::from_secs(30));
    assert!(ran.stdout.contains("33 111"), "{ran:?}");
}

#[test]
fn without_the_second_factor_there_is_no_jump() {
    let bastion = Bastion::start(Options::default());
    for ssh in [
        bastion.ssh("alice").without_second_factor(),
        bastion.ssh("bob").code("000000"),
    ] {
        let ran = ssh.by(Way::Jump).run("echo in");
        assert_eq!(ran.status, Some(255), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(bastion.sshd.accepted().is_empty());
    assert!(bastion.events("session.opened").is_empty());
}

#[test]
fn a_jump_is_refused_for_the_same_reasons_and_in_the_same_words() {
    let bastion = Bastion::start(Options {
        open_intervention: false,
        ..Options::logged_in_already()
    });
    let by = |way| bastion.ssh("alice").by(way).run("echo in");
    let [direct, jumped] = Way::ALL.map(by);
    jumped.refused_with("intervention_missing");
    assert_eq!(direct.stderr, jumped.stderr);
    let other = bastion
        .ssh("alice")
        .by(Way::Jump)
        .option("-oUser=nobody-here")
        .run("echo in");
    other.refused_with("account_not_granted");
    assert!(bastion.sshd.accepted().is_empty());
}

#[test]
fn a_jump_to_what_is_not_registered_is_refused_with_what_is() {
    let bastion = Bastion::start(Options::logged_in_already());
    let direct = format!("127.0.0.1:{}", bastion.sshd.port);
    for place in [
        "db9.chu-exemple:22",
        "127.0.0.1:22",
        &direct,
        &format!("{TARGET}:80"),
    ] {
        let mut ssh = bastion.bare("alice").option("-oLogLevel=INFO").option("-W");
        ssh = ssh.option(place);
        let ran = run(ssh.command(), b"", Duration::from_secs(20));
        assert_ne!(ran.status, Some(0), "{place}: {ran:?}");
        assert_eq!(ran.stdout, "", "{place}");
        assert!(
            ran.stderr.contains("Refused (target_unknown)"),
            "{place}: {ran:?}"
        );
        assert!(
            ran.stderr.contains(&format!("yours are {TARGET}")),
            "{place}: {ran:?}"
        );
    }
    eventually("the refusals are written", Duration::from_secs(10), || {
        bastion.events("request.refused").len() == 4
    });
    assert!(bastion.sshd.accepted().is_empty());
}

#[test]
fn what_is_jumped_to_is_the_bastion_and_shows_that_targets_certificate() {
    let bastion = Bastion::start(Options::logged_in_already());
    let as_other = bastion
        .ssh("alice")
        .by(Way::Jump)
        .option("-oHostKeyAlias=db2.chu-exemple")
        .run("echo in");
    assert_eq!(as_other.status, Some(255), "{as_other:?}");
    assert_eq!(as_other.stdout, "");
    // The target's own key is not what the client sees.
    let known = bastion.dir.path().join("only-the-target");
    let key = std::fs::read_to_string(&bastion.sshd.host_key).unwrap();
    std::fs::write(&known, format!("{TARGET} {key}")).unwrap();
    let as_target = bastion
        .ssh("alice")
        .by(Way::Jump)
        .option(&format!("-oUserKnownHostsFile={}", known.display()))
        .run("echo in");
    assert_eq!(as_target.status, Some(255), "{as_target:?}");
}

#[test]
fn what_a_client_needs_is_printed_ready_to_paste() {
    let bastion = Bastion::start(Options::logged_in_already());
    let said = bastion.bare("alice").run("known-hosts").ok();
    let line = said
        .lines()
        .find(|line| line.starts_with("@cert-authority "));
    let section = said.split_once("# In ~/.ssh/config\n").unwrap().1;
    let known = bastion.dir.path().join("pasted-known-hosts");
    std::fs::write(&known, line.unwrap()).unwrap();
    let config = bastion.dir.path().join("pasted-config");
    let key = bastion.operator("alice").key.display();
    let own = format!(
        "{section}\n    User {}\n    UserKnownHostsFile {}\n    IdentityFile none\n\
         Match host localhost\n    IdentityFile {key}\n    IdentitiesOnly yes\n\
         Match all\n    StrictHostKeyChecking yes\n    BatchMode yes\n    LogLevel ERROR\n",
        bastion.account,
        known.display(),
    );
    // The bastion's own key is known from before.
    let (_, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let mine = std::fs::read_to_string(bastion.state().join("keys/host.pub")).unwrap();
    let file = format!(
        "{}[localhost]:{port} {mine}",
        std::fs::read_to_string(&known).unwrap() + "\n"
    );
    std::fs::write(&known, file).unwrap();
    let own = own.replace(
        "Match host localhost\n",
        &format!(
            "Match host localhost\n    UserKnownHostsFile {}\n",
            known.display()
        ),
    );
    std::fs::write(&config, own).unwrap();
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&config).args([TARGET, "echo in"]);
    let ran = run(ssh, b"", Duration::from_secs(20));
    assert_eq!(ran.ok(), "in\n");
    let json: serde_json::Value =
        serde_json::from_str(&bastion.bare("alice").run("known-hosts --json").ok()).unwrap();
    assert_eq!(json["targets"][0], TARGET);
}

#[test]
fn jumps_over_one_connection_are_sessions_of_their_own() {
    let bastion = Bastion::start(Options::default());
    // One login at the bastion; each client jumps over it.
    let outer = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    let mut clients: Vec<Jumped> = (0..3)
        .map(|number| Jumped::on(&bastion, &outer, &format!("jump-{number}")))
        .collect();
    assert_eq!(bastion.events("login.succeeded").len(), 1);
    let sessions = bastion.sessions("alice");
    assert_eq!(sessions.len(), 3);
    // One of them ends; the others go on.
    let first = clients.remove(0);
    first.end();
    let session = bastion.ended_session("jump-0");
    assert!(matches!(session.state, SessionState::Ended { .. }));
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.say("still"), "still\n");
        let motive = format!("jump-{}", number + 1);
        assert_eq!(bastion.session(&motive).state, SessionState::Live);
    }
    // The outer connection goes: so do they, sealed.
    drop(outer);
    for motive in ["jump-1", "jump-2"] {
        let session = bastion.ended_session(motive);
        let _ = bastion
            .admin(&["recording", "verify", session.id.as_str()])
            .ok();
    }
}

#[test]
fn a_session_that_is_lost_beside_a_jump_ends_alone() {
    let bastion = Bastion::start(Options {
        another_target: Some("db2.chu-exemple"),
        ..Options::default()
    });
    let outer = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    let mut jumped = Jumped::on(&bastion, &outer, "beside-the-menu");
    // The menu's second choice is the other target, on the same connection.
    let mut menu = outer.command(&["-tt"]);
    menu.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut menu = menu.stderr(Stdio::piped()).spawn().unwrap();
    // The target's server for that session goes, as when its machine is reset.
    let typed = b"2\nkill -9 $PPID\n";
    menu.stdin.as_mut().unwrap().write_all(typed).unwrap();
    let said = Ran::from(menu.wait_with_output().unwrap());
    assert!(
        said.stdout.contains("connection to the target was lost")
            || said.stderr.contains("connection to the target was lost"),
        "{said:?}"
    );
    eventually(
        "the lost session has ended",
        Duration::from_secs(10),
        || {
            let sessions = bastion.sessions("alice");
            let states: Vec<_> = sessions
                .iter()
                .map(|one| one.state == SessionState::Live)
                .collect();
            states.len() == 2 && states.iter().filter(|live| **live).count() == 1
        },
    );
    assert_eq!(jumped.say("still"), "still\n");
    assert_eq!(bastion.session("beside-the-menu").state, SessionState::Live);
}

#[test]
fn a_bastion_that_stops_says_so_through_a_jump_and_seals() {
    let mut bastion = Bastion::start(Options::default());
    let ssh = bastion.ssh("alice").by(Way::Jump).motive("stopped");
    let mut client = ssh.spawn(&["echo running; exec sleep 300"]);
    let mut line = String::new();
    BufReader::new(client.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "running\n");
    bastion.stop();
    let ended = Ran::from(client.wait_with_output().unwrap());
    assert!(
        ended.stderr.contains("the bastion is being stopped"),
        "{ended:?}"
    );
    assert_eq!(ended.status, Some(255));
    let session = bastion.ended_session("stopped");
    assert!(
        matches!(session.state, SessionState::Ended { .. }),
        "{session:?}"
    );
}

/// A client that jumps over a connection that stands.
struct Jumped {
    client: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Jumped {
    fn on(bastion: &Bastion, outer: &Shared, motive: &str) -> Self {
        let proxy = shown(&outer.command(&["-W", "%h:%p"]));
        let ssh: Ssh<'_> = bastion.ssh("alice").by(Way::Jump).motive(motive);
        let mut client = ssh
            .option("-oProxyJump=none")
            .option(&format!("-oProxyCommand={proxy}"))
            .command()
            .arg("echo ready; cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(client.stdout.take().unwrap());
        let mut jumped = Self { client, output };
        let mut line = String::new();
        jumped.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        jumped
    }

    fn say(&mut self, word: &str) -> String {
        let stdin = self.client.stdin.as_mut().unwrap();
        writeln!(stdin, "{word}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn end(mut self) {
        drop(self.client.stdin.take());
        assert!(self.client.wait().unwrap().success());
    }
}

impl Drop for Jumped {
    fn drop(&mut self) {
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

/// A command as a shell would read it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect::<Vec<_>>()
        .join(" ")
}
