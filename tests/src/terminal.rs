//! A client in a terminal of its own, as a person sits at one.

use std::process::{Command, Output, Stdio};

/// Runs a client in a terminal, as `script` tells (see there for the words).
#[must_use]
pub fn terminal(client: &Command, script: &str) -> Output {
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
def late(*_):
    sys.exit(f"still waiting, after {seen!r}")
signal.signal(signal.SIGALRM, late)
signal.alarm(35)
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
