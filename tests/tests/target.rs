//! Targets that are gone, changed, hostile or silent; and what a target's own log says.

use access::session::SessionState;
use e2e::bastion::signal;
use e2e::sshd::new_key;
use e2e::{Bastion, Options, Ran, Shared, eventually, now};
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn a_target_that_is_down_is_said_to_be() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    bastion.sshd.stop();
    let ran = bastion.ssh("alice").motive("down").run("true");
    ran.refused_with("target_unreachable");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(ran.stderr.contains("Next: "), "{ran:?}");
    not_opened(&bastion, "down", "target_unreachable");
}

#[test]
fn a_changed_host_key_blocks_and_nothing_is_sent() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    assert_eq!(bastion.ssh("alice").run("echo before").ok(), "before\n");
    let before = bastion.sshd.accepted().len();
    bastion.sshd.restart_with_another_host_key();
    let ran = bastion.ssh("alice").motive("another-key").run("echo after");
    ran.refused_with("host_key_mismatch");
    assert_eq!(ran.stdout, "");
    assert_eq!(bastion.sshd.accepted().len(), before);
    let log = fs::read_to_string(&bastion.sshd.log).unwrap();
    let after = log.rsplit("Server listening").next().unwrap();
    assert!(
        !after.contains("root"),
        "not even the account was named: {after}"
    );
    assert!(!after.contains("ED25519-CERT"), "{after}");
    not_opened(&bastion, "another-key", "host_key_mismatch");
}

#[test]
fn what_is_no_ssh_server_is_refused() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    bastion.sshd.stop();
    let listener = TcpListener::bind(("127.0.0.1", bastion.sshd.port)).unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    let greetings: [&[u8]; 5] = [
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"\0\xff\xfe garbage \x1b[2J",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-then-nonsense\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        &[b'x'; 300_000],
    ];
    thread::spawn(move || {
        for greeting in greetings {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting).ok();
            stream
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).ok();
            kept.lock().unwrap().extend(got);
        }
    });
    let before = bastion.rss_kib();
    for number in 0..greetings.len() {
        let motive = format!("garbage-{number}");
        let started = now();
        let ran = bastion
            .ssh("alice")
            .motive(&motive)
            .run("echo secret-command");
        ran.refused_with("target_protocol_error");
        assert_eq!(ran.stdout, "");
        assert!(
            !ran.stderr.contains('\u{1b}'),
            "what the target says is not shown: {ran:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(20));
        not_opened(&bastion, &motive, "target_protocol_error");
    }
    assert!(bastion.rss_kib() < before + 16 * 1024);
    let received = received.lock().unwrap();
    let received = String::from_utf8_lossy(&received);
    assert!(
        !received.contains("secret-command") && !received.contains("alice"),
        "{received}"
    );
}

#[test]
fn a_target_that_accepts_and_says_nothing_is_given_up_and_holds_up_nobody() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    bastion.sshd.stop();
    let listener = TcpListener::bind(("127.0.0.1", bastion.sshd.port)).unwrap();
    let silent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).ok();
        got
    });
    let started = now();
    let waiting = bastion
        .ssh("alice")
        .motive("silent-target")
        .spawn(&["true"]);
    // Somebody else is served meanwhile.
    let meanwhile = bastion.bare("bob").run("whoami").ok();
    assert!(meanwhile.contains("bob") && started.elapsed() < Duration::from_secs(10));
    let ran = Ran::from(waiting.wait_with_output().unwrap());
    ran.refused_with("target_too_slow");
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    not_opened(&bastion, "silent-target", "target_too_slow");
    let got = silent.join().unwrap();
    assert!(got.len() < 4096, "only the greeting was sent");
}

#[test]
fn a_session_is_cut_and_sealed_in_time_while_its_connection_opens_another() {
    let mut bastion = Bastion::start(Options {
        another_target: Some("db2.chu-exemple"),
        ..Options::logged_in_already()
    });
    let shared = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    let by_menu = |choice: &str| {
        let mut menu = shared.command(&["-tt"]);
        menu.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut menu = menu.stderr(Stdio::null()).spawn().unwrap();
        let stdin = menu.stdin.as_mut().unwrap();
        stdin.write_all(choice.as_bytes()).unwrap();
        menu
    };
    let mut first = by_menu("1\necho started-$((1+1))\n");
    let output = BufReader::new(first.stdout.take().unwrap());
    assert!(
        output
            .lines()
            .any(|line| line.unwrap().contains("started-2"))
    );
    let other = bastion.another_sshd.as_mut().unwrap();
    other.stop();
    let listener = TcpListener::bind(("127.0.0.1", other.port)).unwrap();
    let mut second = by_menu("2\n");
    let (silent, _) = listener.accept().unwrap();

    let key = bastion.dir.path().join("another");
    new_key(&key);
    let key = fs::read_to_string(key.with_extension("pub")).unwrap();
    let declared = bastion.declared("alice", Some(&[key.trim()]), "");
    let _ = bastion.apply(&declared).ok();
    // Long before the target is given up.
    eventually("the first one has ended", Duration::from_secs(8), || {
        let sessions = bastion.sessions("alice");
        let [_, first] = sessions.as_slice() else {
            return false;
        };
        first.state != SessionState::Live
    });
    // The other one was still being opened.
    silent.set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    let error = (&silent).read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(silent);
    second.kill().unwrap();
    second.wait().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_client_that_leaves_while_the_target_is_dialled_leaves_no_session() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    bastion.sshd.stop();
    let listener = TcpListener::bind(("127.0.0.1", bastion.sshd.port)).unwrap();
    let mut impatient = bastion.ssh("alice").motive("impatient").spawn(&["true"]);
    let (_silent, _) = listener.accept().unwrap();
    impatient.kill().unwrap();
    impatient.wait().unwrap();
    let session = bastion.ended_session("impatient");
    let SessionState::Ended { reason, .. } = &session.state else {
        panic!("{session:?}");
    };
    assert_eq!(reason, "target_too_slow");
    assert!(
        bastion
            .rows(|store| async move { store.live_sessions().await.unwrap() })
            .is_empty()
    );
}

#[test]
fn a_target_that_goes_away_ends_the_session() {
    let bastion = Bastion::start(Options::logged_in_already());
    let mut client = bastion
        .ssh("alice")
        .motive("lost")
        .spawn(&["echo $PPID; sleep 300"]);
    let mut line = String::new();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let server: u32 = line.trim().parse().unwrap();
    // The target's server for this connection, as when its machine is reset.
    signal(server, "KILL");
    let ran = Ran::from(client.wait_with_output().unwrap());
    assert!(
        ran.stderr.contains("the connection to the target was lost"),
        "{ran:?}"
    );
    assert_eq!(ran.status, Some(255));
    let session = bastion.ended_session("lost");
    let SessionState::Ended { reason, .. } = &session.state else {
        panic!("{session:?}")
    };
    assert_eq!(reason, "the connection to the target was lost");
    assert_eq!(bastion.ssh("alice").run("echo again").ok(), "again\n");
}

#[test]
fn the_targets_own_log_names_person_intervention_and_session() {
    let bastion = Bastion::start(Options::logged_in_already());
    let shown = bastion
        .ssh("alice")
        .motive("credential")
        .run("cat $SSH_USER_AUTH")
        .ok();
    let session = bastion.ended_session("credential");
    let number = bastion.ready.interventions[0]["number"].as_str().unwrap();
    let id = format!("alice {number} {}", session.id);
    let accepted = bastion.sshd.accepted();
    assert_eq!(accepted.len(), 1);
    assert!(accepted[0].contains(&format!("ID {id} ")), "{accepted:?}");

    let certificate = bastion.dir.path().join("session-cert.pub");
    fs::write(&certificate, shown.trim().trim_start_matches("publickey ")).unwrap();
    let told = Command::new("ssh-keygen")
        .env("TZ", "UTC")
        .args(["-L", "-f"])
        .arg(&certificate)
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let line = |label: &str| {
        let found = told
            .lines()
            .find(|line| line.trim_start().starts_with(label));
        found
            .unwrap_or_else(|| panic!("no {label} in {told}"))
            .trim()
            .to_owned()
    };
    assert!(line("Type:").contains("user certificate"));
    assert!(line("Key ID:").contains(&id));
    let valid = line("Valid:");
    let end = session.ends_at.rfc3339();
    let seconds = access::Time::parse(&format!("{}Z", valid.rsplit(' ').next().unwrap())).unwrap();
    assert!(
        seconds.seconds().abs_diff(session.ends_at.seconds()) <= 1,
        "the certificate ends with the permit: {valid} {end}"
    );
    assert!(told.contains("source-address 127.0.0.1"), "{told}");
    let after = told.split("Principals:").nth(1).unwrap();
    assert_eq!(after.lines().nth(1).unwrap().trim(), bastion.account);
    let extensions = told.split("Extensions:").nth(1).unwrap();
    assert_eq!(extensions.trim(), "permit-pty", "and nothing else: {told}");
    // The operator cannot go past the bastion with anything he holds.
    let direct = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-oBatchMode=yes",
            "-oStrictHostKeyChecking=no",
        ])
        .args([
            "-oUserKnownHostsFile=/dev/null",
            "-oIdentitiesOnly=yes",
            "-i",
        ])
        .arg(&bastion.operator("alice").key)
        .args([
            "-p",
            &bastion.sshd.port.to_string(),
            "-l",
            &bastion.account,
            "127.0.0.1",
            "true",
        ])
        .output()
        .unwrap();
    assert_eq!(direct.status.code(), Some(255));
}

#[test]
fn every_session_has_a_key_of_its_own() {
    let bastion = Bastion::start(Options::logged_in_already());
    let keys: Vec<String> = (0..3)
        .map(|_| bastion.ssh("alice").run("cat $SSH_USER_AUTH").ok())
        .collect();
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    let state = fs::read_dir(bastion.state()).unwrap();
    for file in state
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
    {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(
            !keys.iter().any(|key| text.contains(key.trim())),
            "{}",
            file.display()
        );
    }
}

/// No session lives, its row says why, and the audit log.
fn not_opened(bastion: &Bastion, motive: &str, code: &str) {
    let session = bastion.ended_session(motive);
    let SessionState::Ended { reason, .. } = &session.state else {
        panic!("{session:?}")
    };
    assert_eq!(reason, code);
    let refused = bastion.events("session.refused");
    assert!(
        refused
            .iter()
            .any(|event| event["detail"]["codes"][0] == code),
        "{refused:?}"
    );
    let verified = bastion.admin(&["recording", "verify", session.id.as_str()]);
    let _ = verified.ok();
}
