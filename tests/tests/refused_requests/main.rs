//! What is asked beside a shell or a command is refused and traced, and the session goes on; and in
//! `matrix`, every protocol is refused under every condition that is missing.

mod matrix;

use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, free_port};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(|| Options {
        operators: 14,
        ..Options::logged_in_already()
    })
}

#[test]
fn a_forward_to_a_port_of_the_target_is_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let port = free_port();
    // The target's own sshd speaks first: anything read would have passed the bastion.
    let ssh = bastion.ssh("alice").motive("forward-L").option(&format!(
        "-L127.0.0.1:{port}:127.0.0.1:{}",
        bastion.sshd.port
    ));
    let mut client = ssh.spawn(&["echo ready; cat"]);
    let mut ready = [0; 6];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let mut got = Vec::new();
    let mut through = TcpStream::connect(("127.0.0.1", port)).unwrap();
    through
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    through.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"", "nothing came through");
    client
        .stdin
        .take()
        .unwrap()
        .write_all(b"goes on\n")
        .unwrap();
    let left = Ran::from(client.wait_with_output().unwrap());
    assert_eq!(left.ok(), "goes on\n");
    traced(&bastion, "alice", "direct-tcpip", "forward-L");
}

#[test]
fn a_proxy_to_anywhere_is_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let port = free_port();
    let ssh = bastion
        .ssh("bob")
        .motive("forward-D")
        .option(&format!("-D127.0.0.1:{port}"));
    let mut client = ssh.spawn(&["echo ready; cat"]);
    let mut ready = [0; 6];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let mut proxy = TcpStream::connect(("127.0.0.1", port)).unwrap();
    proxy
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let [high, low] = bastion.sshd.port.to_be_bytes();
    proxy.write_all(&[5, 1, 0]).unwrap();
    proxy.read_exact(&mut [0; 2]).unwrap();
    proxy
        .write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low])
        .unwrap();
    let mut got = Vec::new();
    proxy.read_to_end(&mut got).ok();
    assert!(!got.windows(4).any(|part| part == b"SSH-"), "{got:?}");
    client
        .stdin
        .take()
        .unwrap()
        .write_all(b"goes on\n")
        .unwrap();
    assert_eq!(
        Ran::from(client.wait_with_output().unwrap()).ok(),
        "goes on\n"
    );
    traced(&bastion, "bob", "direct-tcpip", "forward-D");
}

#[test]
fn a_forward_to_a_socket_is_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let here = bastion.dir.path().join("here.sock");
    let there = bastion.dir.path().join("there.sock");
    let _listens = UnixListener::bind(&there).unwrap();
    let ssh = bastion
        .ssh("operator3")
        .motive("forward-socket")
        .option(&format!("-L{}:{}", here.display(), there.display()));
    let mut client = ssh.spawn(&["echo ready; cat"]);
    let mut ready = [0; 6];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let mut through = std::os::unix::net::UnixStream::connect(&here).unwrap();
    through
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut got = Vec::new();
    through.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"");
    client
        .stdin
        .take()
        .unwrap()
        .write_all(b"goes on\n")
        .unwrap();
    assert_eq!(
        Ran::from(client.wait_with_output().unwrap()).ok(),
        "goes on\n"
    );
    traced(
        &bastion,
        "operator3",
        "direct-streamlocal",
        "forward-socket",
    );
}

#[test]
fn remote_forwards_are_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let port = free_port();
    let socket = bastion.dir.path().join("remote.sock");
    for (operator, option, request, motive) in [
        (
            "operator4",
            format!("-R{port}:127.0.0.1:1"),
            "tcpip-forward",
            "forward-R",
        ),
        (
            "operator5",
            format!("-R{}:127.0.0.1:1", socket.display()),
            "streamlocal-forward",
            "forward-R-socket",
        ),
    ] {
        let ran = bastion
            .ssh(operator)
            .motive(motive)
            .option(&option)
            .run("echo goes on");
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert_eq!(ran.stdout, "goes on\n");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!socket.exists());
        in_the_audit_log(&bastion, operator, request);
        // A client that insists is told, and ends.
        let insists = bastion
            .ssh(operator)
            .option(&option)
            .option("-oExitOnForwardFailure=yes")
            .run("echo goes on");
        assert_eq!(insists.status, Some(255), "{insists:?}");
    }
}

#[test]
fn a_display_and_an_agent_are_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let display = bastion.ssh("operator6").motive("display").option("-X");
    let mut command = display.command();
    command
        .env("DISPLAY", ":77")
        .arg("echo \"display[$DISPLAY]\"");
    let ran = run(command, b"", Duration::from_secs(20));
    assert_eq!(ran.stdout, "display[]\n", "{ran:?}");
    in_the_audit_log(&bastion, "operator6", "x11-req");

    let socket = bastion.dir.path().join("agent.sock");
    let _agent = Agent::start(&socket);
    let agent = bastion.ssh("operator7").motive("agent").option("-A");
    let mut command = agent.command();
    command
        .env("SSH_AUTH_SOCK", &socket)
        .arg("echo \"agent[$SSH_AUTH_SOCK]\"");
    let ran = run(command, b"", Duration::from_secs(20));
    assert_eq!(ran.stdout, "agent[]\n", "{ran:?}");
    in_the_audit_log(&bastion, "operator7", "auth-agent-req");
}

#[test]
fn file_transfers_that_are_not_planned_are_refused_and_nothing_is_written() {
    let bastion = Bastion::start(Options::logged_in_already().with("--operations", "shell,exec"));
    let local = bastion.dir.path().join("local");
    let remote = bastion.dir.path().join("remote");
    fs::write(&local, "content").unwrap();
    for mode in ["-s", "-O"] {
        let ssh = bastion.ssh("alice");
        let mut scp = ssh.copying("scp");
        scp.arg(mode)
            .arg(&local)
            .arg(format!("bastion:{}", remote.display()));
        let ran = run(scp, b"", Duration::from_secs(20));
        ran.refused_with("operation_not_in_intervention");
        assert!(!remote.exists());
        let mut scp = ssh.copying("scp");
        let back = bastion.dir.path().join("back");
        scp.arg(mode).arg("bastion:/etc/hostname").arg(&back);
        let ran = run(scp, b"", Duration::from_secs(20));
        ran.refused_with("operation_not_in_intervention");
        assert!(!back.exists());
    }
    let mut sftp = bastion.ssh("bob").copying("sftp");
    sftp.arg("bastion");
    let ran = run(sftp, b"ls /\n", Duration::from_secs(20));
    ran.refused_with("operation_not_in_intervention");
    assert!(!ran.stdout.contains("etc"), "{ran:?}");
    for (operator, at_least) in [("alice", 4), ("bob", 1)] {
        let refused = bastion.events("session.refused");
        let mine = refused
            .iter()
            .filter(|entry| entry["who"]["id"] == operator);
        assert!(mine.count() >= at_least, "{refused:?}");
    }
}

#[test]
fn a_refused_subsystem_beside_a_session_is_in_its_journal() {
    let bastion = bastion();
    let shared = e2e::Shared::open(
        &bastion.ssh("operator11").motive("beside"),
        bastion.dir.path(),
    );
    let _ = shared.run("echo first").ok();
    let mut subsystem = shared.command(&["-s"]);
    subsystem.arg("netconf");
    let ran = run(subsystem, b"", Duration::from_secs(20));
    assert_ne!(ran.status, Some(0), "{ran:?}");
    assert_eq!(shared.run("echo goes on").ok(), "goes on\n");
    drop(shared);
    traced(&bastion, "operator11", "subsystem", "beside");
}

#[test]
fn a_tunnel_device_is_refused_and_the_session_goes_on() {
    let bastion = bastion();
    let ssh = bastion.ssh("operator12").motive("tunnel").option("-w0:0");
    let ran = ssh.run("echo goes on");
    // Where the client may not open a device of its own, it does not even ask.
    let asked = ran.stderr.contains("Tunnel forwarding failed");
    assert_eq!(ran.ok(), "goes on\n");
    if asked {
        // It is asked for before there is a session.
        in_the_audit_log(&bastion, "operator12", "tun@openssh.com");
    }
}

#[test]
fn a_bare_connection_to_anywhere_is_refused_before_any_session() {
    let bastion = bastion();
    let stdio = bastion
        .ssh("operator13")
        .option(&format!("-W127.0.0.1:{}", bastion.sshd.port));
    let ran = stdio.run_with_input(&[], b"");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(!ran.stdout.contains("SSH-"), "{ran:?}");
    in_the_audit_log(&bastion, "operator13", "direct-tcpip");
    assert!(bastion.sessions("operator13").is_empty());
}

/// The refusal is in the audit log, under the session, and in the session's journal.
fn traced(bastion: &Bastion, operator: &str, request: &str, motive: &str) {
    let session = bastion.ended_session(motive);
    let entries = in_the_audit_log(bastion, operator, request);
    assert!(
        entries
            .iter()
            .any(|entry| entry["session"] == session.id.as_str()),
        "{entries:?}"
    );
    let journal = bastion.journal(&session);
    assert!(
        journal
            .iter()
            .any(|line| line["event"] == "refused" && line["request"] == request),
        "{journal:?}"
    );
    assert!(
        journal.last().unwrap()["event"] == "session_ended",
        "nothing follows the end: {journal:?}"
    );
}

fn in_the_audit_log(bastion: &Bastion, operator: &str, request: &str) -> Vec<Value> {
    let entries = bastion.events("request.refused");
    let mine: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry["who"]["id"] == operator && entry["detail"]["request"] == request)
        .collect();
    assert!(
        !mine.is_empty(),
        "no refused `{request}` of {operator} in the audit log"
    );
    mine
}

/// The system's own agent.
struct Agent(std::process::Child);

impl Agent {
    fn start(socket: &std::path::Path) -> Self {
        let agent = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        e2e::eventually("the agent listens", Duration::from_secs(5), || {
            socket.exists()
        });
        Self(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
