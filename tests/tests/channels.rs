//! What passes beside bytes: a terminal's size and signals, and the end of a client. What is also
//! asked of a direct server is in `behaviours`, the bulk of it in `flow_control.rs`.

use e2e::{Bastion, Common, Options, eventually};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

#[test]
fn the_window_size_and_its_changes_reach_the_target() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").option("-tt").motive("window-size");
    let typed = terminal(
        &ssh.command(),
        r#"
resize(53, 17)
start("stty size; echo ready; read x; stty size; exit")
expect("17 53")
expect("ready")
resize(101, 29)
send("\n")
expect("29 101")
"#,
    );
    assert!(typed.status.success(), "{typed:?}");
    let journal = bastion.journal(&bastion.ended_session("window-size"));
    let resizes: Vec<_> = journal
        .iter()
        .filter(|line| line["event"] == "resize")
        .collect();
    let last = resizes.last().unwrap();
    assert_eq!((&last["cols"], &last["rows"]), (&101.into(), &29.into()));
}

#[test]
fn control_characters_at_the_terminal_are_signals_on_the_target() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").option("-tt");
    let typed = terminal(
        &ssh.command(),
        r#"
start("trap 'echo caught-$((20+3)); exit 6' INT; echo ready; while :; do sleep 0.1; done")
expect("ready")
send("\x03")
expect("caught-23")
exits(6)
"#,
    );
    assert!(typed.status.success(), "{typed:?}");
}

#[test]
fn a_client_that_is_killed_leaves_no_program_behind() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").motive("killed-client").option("-tt");
    let mut client = Running(ssh.spawn(&["echo $$; exec sleep 300"]));
    let mut pid = String::new();
    BufReader::new(client.0.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    let pid = pid.trim().to_owned();
    let alive = || std::path::Path::new("/proc").join(&pid).exists();
    assert!(alive());
    e2e::bastion::signal(client.0.id(), "KILL");
    eventually("the program ends", Duration::from_secs(15), || !alive());
    let _ = bastion.ended_session("killed-client");
}

/// Runs a client in a terminal, as `script` tells (see there for the words).
fn terminal(client: &Command, script: &str) -> std::process::Output {
    let mut python = Command::new("timeout");
    python.args(["40", "python3", "-c"]);
    python.arg(format!("{TERMINAL}\n{}", script.trim()));
    python.arg(client.get_program()).args(client.get_args());
    for (name, value) in client.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    python.stdin(Stdio::null()).output().unwrap()
}

const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios, time
size = (80, 24)
child = master = None
seen = b""
def resize(columns, rows):
    global size
    size = (columns, rows)
    if master is not None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(child, signal.SIGWINCH)
def start(program):
    global child, master
    master, end = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    child = os.fork()
    if child == 0:
        os.close(master)
        os.login_tty(end)
        os.execvp(sys.argv[1], sys.argv[1:] + [program])
    os.close(end)
def send(text):
    os.write(master, text.encode())
def expect(text):
    global seen
    while text.encode() not in seen:
        try:
            more = os.read(master, 4096)
        except OSError:
            more = b""
        if not more:
            sys.exit(f"no {text!r} in {seen!r}")
        seen += more
    seen = seen[seen.index(text.encode()) + len(text):]
def exits(status):
    try:
        while os.read(master, 4096):
            pass
    except OSError:
        pass
    found = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if found != status:
        sys.exit(f"exit status {found}")
"#;

/// A client that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
