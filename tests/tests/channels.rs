//! What a program does on the target is what the operator's client sees: bytes, their order and
//! their end. The bulk of it is in `flow_control.rs`.

use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Shared, eventually};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

#[test]
fn standard_output_and_error_stay_apart() {
    let bastion = bastion();
    let ran = bastion
        .ssh("alice")
        .run("echo out; echo err >&2; echo out again");
    assert_eq!(ran.stdout, "out\nout again\n");
    assert_eq!(ran.stderr, "err\n");
    assert_eq!(ran.status, Some(0));
}

#[test]
fn the_exit_status_is_the_programs_own() {
    let bastion = bastion();
    let shared = bastion.share("alice");
    for status in [0, 1, 4, 5, 44, 127, 254, 255] {
        assert_eq!(shared.run(&format!("exit {status}")).status, Some(status));
    }
    let missing = shared.run("/no/such/program");
    assert_eq!(missing.status, Some(127));
    assert!(missing.stderr.contains("/no/such/program"), "{missing:?}");
}

#[test]
fn a_program_ended_by_a_signal_is_seen_to_have_ended_so() {
    let bastion = bastion();
    for signal in ["TERM", "KILL", "SEGV"] {
        let motive = format!("signal-{signal}");
        let ssh = bastion.ssh("alice").motive(&motive);
        let ran = ssh.run(&format!("echo before; exec sh -c 'kill -{signal} $$'"));
        assert_eq!(ran.stdout, "before\n");
        assert_eq!(ran.status, Some(255), "as ssh reports it: {ran:?}");
        let journal = bastion.journal(&bastion.ended_session(&motive));
        let ends = journal.iter().find(|line| line["event"] == "exit_signal");
        let ends = ends.unwrap_or_else(|| panic!("{journal:?}"));
        assert_eq!(ends["signal"], signal);
    }
}

#[test]
fn the_end_of_input_passes_both_ways() {
    let bastion = bastion();
    let shared = bastion.share("bob");
    let ran = shared.run_with_input("cat; echo after the end", b"some input\n");
    assert_eq!(ran.stdout, "some input\nafter the end\n");
    // The target ends its output and goes on reading.
    let file = bastion.dir.path().join("read-after-eof");
    let program = format!("exec 1>&- 2>&-; cat > {}", file.display());
    let ran = shared.run_with_input(&program, b"still read\n");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "still read\n");
    let mut nothing = shared.command(&["-n"]);
    nothing.arg("cat; echo empty");
    assert_eq!(
        run(nothing, b"not sent", Duration::from_secs(20)).stdout,
        "empty\n"
    );
}

#[test]
fn input_of_any_size_comes_back_as_it_was() {
    let bastion = bastion();
    let shared = bastion.share("alice");
    for size in [
        0,
        1,
        10,
        100,
        1000,
        32 * 1024 - 1,
        32 * 1024,
        64 * 1024 + 1,
        256 * 1024,
        1024 * 1024,
    ] {
        let input = noise(size);
        assert!(
            bytes_of(&shared, "cat", &input) == input,
            "{size} bytes came back otherwise"
        );
    }
}

#[test]
fn a_line_of_a_mebibyte_and_bytes_that_are_no_text_pass_unchanged() {
    let bastion = bastion();
    let shared = bastion.share("bob");
    let line = [vec![b'x'; 1024 * 1024], vec![b'\n']].concat();
    assert!(bytes_of(&shared, "cat", &line) == line);
    let nonsense: Vec<u8> = (0..=255).cycle().take(4096).collect();
    assert!(bytes_of(&shared, "cat", &nonsense) == nonsense);
    let broken = b"\xff\xfe\xc3(\xed\xa0\x80 \xf0\x9f".to_vec();
    assert!(bytes_of(&shared, "cat", &broken) == broken);
}

#[test]
fn a_long_command_and_one_with_any_bytes_arrive_whole() {
    let bastion = bastion();
    let shared = bastion.share("alice");
    let words = "word ".repeat(20_000);
    let counted = shared.run(&format!("echo '{words}' | wc -w"));
    assert_eq!(counted.ok().trim(), "20000");
    let strange = "\u{1b}]0;title\u{7}é\u{202e}";
    let printed = shared.run(&format!("printf '%s' '{strange}'"));
    assert_eq!(printed.ok(), strange);
}

#[test]
fn errors_after_the_end_of_output_arrive() {
    let bastion = bastion();
    let ran = bastion
        .ssh("bob")
        .run("echo out; exec 1>&-; sleep 0.3; echo late >&2; exit 3");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("out\n", "late\n")
    );
    assert_eq!(ran.status, Some(3));
}

#[test]
fn a_reader_that_has_enough_ends_the_program() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice");
    let mut client = Running(
        ssh.command()
            .arg("yes; echo ended > /dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    let mut output = BufReader::new(client.0.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    drop(output);
    assert_eq!(line, "y\n");
    client.ends_within(Duration::from_secs(15));
}

#[test]
fn a_program_that_reads_nothing_of_its_input_ends_well() {
    let bastion = bastion();
    let ran = bastion
        .ssh("bob")
        .run_with_input(&["exit 4"], &noise(4 * 1024 * 1024));
    assert_eq!(ran.status, Some(4), "{ran:?}");
}

#[test]
fn a_job_left_behind_does_not_keep_the_client() {
    let bastion = bastion();
    let ran = bastion
        .ssh("bob")
        .run("sleep 300 </dev/null >/dev/null 2>&1 & echo $!");
    let left: u32 = ran.ok().trim().parse().unwrap();
    e2e::bastion::signal(left, "KILL");
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
fn the_terminals_type_and_the_language_pass_and_nothing_else_does() {
    let bastion = bastion();
    let ssh = bastion
        .ssh("bob")
        .option("-oSetEnv=LANG=fr_FR.UTF-8 LC_ALL=C LD_PRELOAD=/evil.so BASTION_MOTIVE=environment PATH=/evil")
        .option("-tt");
    let mut command = ssh.command();
    command.env("TERM", "xterm-256color").arg("env");
    let ran = run(command, b"", Duration::from_secs(20));
    for expected in ["LANG=fr_FR.UTF-8", "LC_ALL=C", "TERM=xterm-256color"] {
        assert!(ran.stdout.contains(expected), "no {expected} in {ran:?}");
    }
    for refused in ["LD_PRELOAD", "BASTION_MOTIVE", "/evil"] {
        assert!(!ran.stdout.contains(refused), "{refused} in {ran:?}");
    }
    let refused = bastion.events("request.refused");
    let of_env = refused
        .iter()
        .filter(|event| event["detail"]["request"] == "env")
        .count();
    assert!(
        of_env >= 2,
        "LD_PRELOAD and PATH are in the audit log: {refused:?}"
    );
}

#[test]
fn many_channels_of_one_connection_do_not_mix() {
    let bastion = bastion();
    let shared = bastion.share("bob");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let shared = &shared;
            scope.spawn(move || {
                let ran = shared.run_with_input(
                    &format!("cat; echo {number} >&2; exit {number}"),
                    format!("input {number}\n").repeat(500).as_bytes(),
                );
                assert_eq!(ran.status, Some(number));
                assert_eq!(ran.stdout, format!("input {number}\n").repeat(500));
                assert_eq!(ran.stderr, format!("{number}\n"));
            });
        }
    });
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

/// Bytes that are no text and nowhere alike.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn bytes_of(shared: &Shared, program: &str, input: &[u8]) -> Vec<u8> {
    let mut command = shared.command(&[]);
    let mut client = command
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        stdout.read_to_end(&mut output).unwrap();
    });
    assert!(client.wait().unwrap().success());
    output
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

impl Running {
    fn ends_within(&mut self, at_most: Duration) {
        eventually("the client ends", at_most, || {
            self.0.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
