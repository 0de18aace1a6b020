//! Operators' clients and targets that do what neither does of its own accord: they cost little,
//! hide nothing, and end nobody's session but their own.
//!
//! Needs asyncssh.

use access::session::SessionState;
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Bastion, Options, Ran, Shared, eventually, now};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The Python that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn requests_that_nobody_reads_fill_no_memory_and_end_the_connection() {
    let bastion = Bastion::start(Options::default());
    for (operator, deed) in [
        ("alice", &["requests", "3000", "200000"]),
        ("bob", &["requests", "300000", "1"]),
        ("operator3", &["variables", "3000", "200000"]),
    ] {
        let (memory, sockets) = (bastion.rss_kib(), bastion.sockets());
        let ran = hostile_operator(&bastion, operator, deed);
        println!("{deed:?} {} KiB", bastion.rss_kib().saturating_sub(memory));
        assert!(
            bastion.rss_kib() < memory + 48 * 1024,
            "{deed:?}: {} KiB more",
            bastion.rss_kib() - memory
        );
        assert!(ran.stdout.contains("ended"), "{deed:?}: {ran:?}");
        // Nothing of it stays.
        eventually("its connection is gone", Duration::from_secs(15), || {
            bastion.sockets() <= sockets
        });
    }
    assert_eq!(bastion.ssh("alice").run("echo in").ok(), "in\n");
    // Of each connection no more than is of use.
    assert!(bastion.events("request.refused").len() <= 3 * 201);
}

#[test]
fn channels_that_nobody_offers_are_refused_and_traced() {
    let bastion = Bastion::start(Options::default());
    let ran = hostile_operator(&bastion, "alice", &["channels"]);
    assert!(!ran.stdout.contains("opened"), "{ran:?}");
    eventually("each is traced", Duration::from_secs(10), || {
        let traced = bastion.events("request.refused");
        let requests: Vec<_> = traced
            .iter()
            .filter_map(|entry| entry["detail"]["request"].as_str())
            .collect();
        [
            "tun@openssh.com",
            "auth-agent@openssh.com",
            "x11",
            "forwarded-tcpip",
            "direct-streamlocal",
            "example@example.com",
        ]
        .iter()
        .all(|kind| requests.contains(kind))
    });
}

#[test]
fn refused_jumps_take_no_places() {
    let bastion = Bastion::start(Options::default());
    let shared = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    for _ in 0..40 {
        let mut jump = shared.command(&["-W", "db9.chu-exemple:22"]);
        jump.stdin(Stdio::null());
        let ran = run(jump, b"", Duration::from_secs(10));
        assert_ne!(ran.status, Some(0), "{ran:?}");
    }
    let _ = shared.run("whoami").ok();
}

#[test]
fn a_channel_that_goes_elsewhere_is_a_session_of_its_own() {
    let bastion = Bastion::start(Options {
        another_target: Some("db2.chu-exemple"),
        ..Options::default()
    });
    let shared = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    let ports: Vec<String> = ["1", "2"]
        .iter()
        .map(|choice| {
            let menu = shared.command(&["-tt"]);
            let typed =
                format!("{choice}\necho at-$(echo $SSH_CONNECTION | cut -d' ' -f4)-here\nexit\n");
            let ran = run(menu, typed.as_bytes(), Duration::from_secs(20));
            let at = ran
                .stdout
                .split("at-")
                .filter_map(|rest| rest.split_once("-here"))
                .map(|(port, _)| port.to_owned())
                .find(|port| port.parse::<u16>().is_ok());
            at.unwrap_or_else(|| panic!("{ran:?}"))
        })
        .collect();
    assert_ne!(ports[0], ports[1], "both at one target");
    drop(shared);
    eventually("both have ended", Duration::from_secs(10), || {
        let sessions = bastion.sessions("alice");
        sessions.len() == 2 && sessions.iter().all(|s| s.state != SessionState::Live)
    });
    let mut targets: Vec<_> = bastion
        .sessions("alice")
        .iter()
        .map(|session| session.target.to_string())
        .collect();
    targets.sort();
    assert_eq!(targets, [TARGET, "db2.chu-exemple"]);
}

#[test]
fn a_target_that_loses_a_channel_loses_the_session() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let _target = HostileTarget::instead_of(&mut bastion);
    let shared = bastion.share("alice");
    let mut ticking = shared
        .command(&[])
        .arg("tick")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(ticking.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "tick\n");
    let reader = std::thread::spawn(move || output.read_to_string(&mut String::new()));
    let _input = ticking.stdin.take();
    let lost = now();
    let ran = shared.run("lose");
    assert!(
        ran.stderr.contains("connection to the target was lost"),
        "{ran:?}"
    );
    let other = Ran::from(ticking.wait_with_output().unwrap());
    reader.join().unwrap().unwrap();
    assert!(
        lost.elapsed() < Duration::from_secs(12),
        "{:?}",
        lost.elapsed()
    );
    assert!(
        other.stderr.contains("connection to the target was lost"),
        "{other:?}"
    );
    eventually("the session has ended", Duration::from_secs(10), || {
        let sessions = bastion.sessions("alice");
        sessions
            .iter()
            .all(|session| session.state != SessionState::Live)
    });
}

#[test]
fn a_target_that_opens_channels_is_left_and_costs_nothing() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let _target = HostileTarget::instead_of(&mut bastion);
    let memory = bastion.rss_kib();
    let ran = bastion.ssh("alice").motive("opens").run("open");
    assert!(
        ran.stderr.contains("connection to the target was lost"),
        "{ran:?}"
    );
    assert!(bastion.rss_kib() < memory + 16 * 1024);
    let session = bastion.ended_session("opens");
    let journal = bastion.journal(&session);
    assert!(
        journal
            .iter()
            .any(|line| line["event"] == "refused" && line["code"] == "target_refused"),
        "{journal:?}"
    );
}

#[test]
fn what_a_target_runs_without_saying_so_is_in_the_recording() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let target = HostileTarget::instead_of(&mut bastion);
    let ssh = bastion.ssh("alice").option("-tt").motive("withheld");
    let mut client = ssh.spawn(&["withhold this"]);
    eventually("the target runs it", Duration::from_secs(10), || {
        fs::read_to_string(&target.log)
            .unwrap()
            .contains("withhold this")
    });
    client.kill().unwrap();
    client.wait().unwrap();
    let session = bastion.ended_session("withheld");
    let journal = bastion.journal(&session);
    assert!(
        journal
            .iter()
            .any(|line| line.to_string().contains("withhold this")),
        "{journal:?}"
    );
}

#[test]
fn noise_on_one_stream_hides_nothing_on_the_other_nor_in_a_shell() {
    let bastion = Bastion::start(Options::logged_in_already());
    let noise = "head -c 17000000 /dev/zero | tr '\\0' x | fold -w 63 >&2";
    let ssh = bastion.ssh("alice").motive("noisy-command");
    let ran = ssh.run(&format!("{noise}; echo still-$((40 + 2))-seen"));
    assert_eq!(ran.stdout, "still-42-seen\n");
    let session = bastion.ended_session("noisy-command");
    assert!(bastion.cast(&session, 0).contains("still-42-seen"));

    let shell = bastion.ssh("bob").motive("noisy-shell").option("-T");
    let script =
        format!("{noise}\n{noise}\nfor i in 1 2 3; do echo $i-$((40 + 2))-seen >&2; done\n");
    let ran = shell.run_with_input(&[], script.as_bytes());
    assert!(ran.stderr.contains("3-42-seen"));
    let session = bastion.ended_session("noisy-shell");
    let cast = bastion.cast(&session, 0);
    for number in 1..=3 {
        assert!(cast.contains(&format!("{number}-42-seen")));
    }
}

/// Runs the client of `hostile/bad_client.py` to its end.
fn hostile_operator(bastion: &Bastion, operator: &str, deed: &[&str]) -> Ran {
    let (_, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let mut command = Command::new(PYTHON);
    command
        .arg(script("bad_client.py"))
        .args([port, operator])
        .arg(&bastion.operator(operator).key)
        .arg(bastion.fresh_code(operator))
        .args(deed);
    let ran = run(command, b"", Duration::from_secs(60));
    assert!(ran.stdout.starts_with("logged in"), "{ran:?}");
    ran
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("hostile")
        .join(name)
}

/// The server of `hostile/bad_target.py`, at the place and with the key of the bastion's target.
struct HostileTarget {
    child: Child,
    log: PathBuf,
}

impl HostileTarget {
    fn instead_of(bastion: &mut Bastion) -> Self {
        bastion.sshd.stop();
        let log = bastion.dir.path().join("hostile.log");
        let child = Command::new(PYTHON)
            .arg(script("bad_target.py"))
            .arg(bastion.sshd.port.to_string())
            .arg(bastion.sshd.host_key.with_extension(""))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        eventually(
            "the hostile target listens",
            Duration::from_secs(20),
            || fs::read_to_string(&log).unwrap().contains("listens"),
        );
        Self { child, log }
    }
}

impl Drop for HostileTarget {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
