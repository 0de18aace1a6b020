//! A slow, stopped or gone reader stops its writer and nothing else: nothing hangs, nothing is
//! lost, the bastion does not grow. At full size.
//!
//! Needs `gzip`, `seq`, `sha256sum` and `timeout` beside OpenSSH.

use e2e::bastion::signal;
use e2e::{Bastion, Options, Way, eventually, now};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const OPERATOR: &str = "alice";

/// What one connection may cost above idle, KiB; both directions stalled.
const ONE_STALLED: u64 = 64 * 1024;
const BOTH_STALLED: u64 = 128 * 1024;

#[test]
fn an_echo_comes_back_whole() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let got = echo(&command(bastion, way, &[]), 100 * MIB, 0);
        assert_eq!(got, digest(100 * MIB));
        memory.stayed_below(ONE_STALLED);
    });
}

#[test]
fn an_echo_comes_back_whole_to_a_reader_who_sleeps() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let got = echo(&command(bastion, way, &[]), 100 * MIB, 4);
        assert_eq!(got, digest(100 * MIB));
        memory.stayed_below(BOTH_STALLED);
    });
}

#[test]
fn an_echo_comes_back_whole_while_keys_are_exchanged() {
    each_way(|bastion, way| {
        let command = command(bastion, way, &["-oRekeyLimit=1M"]);
        assert_eq!(echo(&command, 100 * MIB, 1), digest(100 * MIB));
    });
}

#[test]
fn a_program_that_answers_every_line_on_both_outputs_does_not_hang() {
    each_way(|bastion, way| {
        let folder = bastion.dir.path();
        let (out, err) = (folder.join("out"), folder.join("err"));
        let mut ssh = within(120, &command(bastion, way, &[]));
        ssh.arg(r#"awk '{print > "/dev/stderr"; print}'"#);
        ssh.stdin(lines(8 * MIB))
            .stdout(file(&out))
            .stderr(file(&err));
        assert_eq!(ssh.status().unwrap().code(), Some(0));
        // `awk` ends the last line, which `head` has cut.
        assert_eq!(digest_of(&out, 8 * MIB), digest(8 * MIB));
        assert_eq!(digest_of(&err, 8 * MIB), digest(8 * MIB));
    });
}

#[test]
fn a_reader_who_stops_costs_no_memory() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let mut ssh = command(bastion, way, &[]);
        ssh.arg("head -c 2G /dev/zero")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut ssh = Ended(ssh.spawn().unwrap());
        let mut output = ssh.0.stdout.take().unwrap();
        output.read_exact(&mut [0; 1024]).unwrap();
        thread::sleep(Duration::from_secs(4));
        // Then the client itself stops, and with it the connection.
        signal(ssh.0.id(), "STOP");
        let reader = thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        thread::sleep(Duration::from_secs(4));
        memory.stayed_below(ONE_STALLED);
        signal(ssh.0.id(), "CONT");
        assert_eq!(
            reader.join().unwrap().unwrap(),
            2 * GIB - 1024,
            "all of it arrives after all"
        );
        assert_eq!(ssh.0.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn a_stalled_channel_holds_up_no_other_of_its_connection() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let shared = Shared::open(bastion, way);
        let mut down = shared.command();
        down.arg("head -c 2G /dev/zero")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let _down = Ended(down.spawn().unwrap());
        let mut up = shared.command();
        up.arg("sleep 60")
            .stdin(fs::File::open("/dev/zero").unwrap())
            .stdout(Stdio::null());
        let _up = Ended(up.spawn().unwrap());
        thread::sleep(Duration::from_secs(2));

        for _ in 0..5 {
            let started = now();
            assert_eq!(shared.run("echo second"), (Some(0), "second\n".to_owned()));
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{:?}",
                started.elapsed()
            );
        }
        assert_eq!(echo(&shared.command(), 50 * MIB, 0), digest(50 * MIB));
        memory.stayed_below(BOTH_STALLED);
    });
}

#[test]
fn a_gibibyte_goes_up_to_a_slower_program() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let there = bastion.dir.path().join("there.gz");
        let mut ssh = within(600, &command(bastion, way, &[]));
        ssh.arg(format!("gzip -1 > {}", there.display()))
            .stdin(lines(GIB));
        assert_eq!(ssh.status().unwrap().code(), Some(0));
        assert_eq!(
            shell(&format!("gzip -dc {} | sha256sum", there.display())),
            digest(GIB)
        );
        memory.stayed_below(ONE_STALLED);
    });
}

#[test]
fn a_gibibyte_goes_through_a_filter_and_back() {
    each_way(|bastion, way| {
        let memory = Memory::watch(bastion);
        let back = bastion.dir.path().join("back.gz");
        let mut ssh = within(600, &command(bastion, way, &[]));
        ssh.arg("gzip -1").stdin(lines(GIB)).stdout(file(&back));
        assert_eq!(ssh.status().unwrap().code(), Some(0));
        assert_eq!(
            shell(&format!("gzip -dc {} | sha256sum", back.display())),
            digest(GIB)
        );
        memory.stayed_below(ONE_STALLED);
    });
}

#[test]
fn a_client_that_is_killed_leaves_nothing_on_the_target() {
    each_way(|bastion, way| {
        let alive = bastion.dir.path().join("alive");
        // Its input is full and unread, so that the close has to pass what waits.
        let mut ssh = command(bastion, way, &[]);
        ssh.arg(format!(
            "while echo; do date +%s%N > {}; sleep 0.2; done",
            alive.display()
        ));
        ssh.stdin(fs::File::open("/dev/zero").unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut ssh = Ended(ssh.spawn().unwrap());
        eventually("the program runs", Duration::from_secs(20), || {
            alive.exists()
        });
        thread::sleep(Duration::from_secs(1));
        signal(ssh.0.id(), "KILL");
        ssh.0.wait().unwrap();
        eventually("the program ends", Duration::from_secs(15), || {
            let before = fs::read(&alive).unwrap();
            thread::sleep(Duration::from_secs(1));
            before == fs::read(&alive).unwrap()
        });
    });
}

#[test]
fn a_program_that_does_not_read_its_input_ends_at_once() {
    each_way(|bastion, way| {
        let mut ssh = within(30, &command(bastion, way, &[]));
        ssh.arg("exit 4").stdin(lines(100 * MIB));
        assert_eq!(ssh.status().unwrap().code(), Some(4));
    });
}

#[test]
fn two_hundred_short_programs_end_well() {
    each_way(|bastion, way| {
        let shared = Shared::open(bastion, way);
        for number in 0..200 {
            let expected = (Some(number % 4), format!("{number}\n"));
            assert_eq!(
                shared.run(&format!("echo {number}; exit {}", number % 4)),
                expected
            );
        }
    });
}

// --- The ways in: by login name; the transparent jump joins when the bastion answers it

/// Heavy tests one after the other: what they measure is not each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each_way(test: impl Fn(&Bastion, Way)) {
    let _alone = alone();
    for way in Way::ALL {
        println!("{way:?}");
        test(&Bastion::start(Options::default()), way);
    }
}

/// `ssh` up to and including the host, ready for a remote command.
fn command(bastion: &Bastion, way: Way, options: &[&str]) -> Command {
    let ssh = bastion.ssh(OPERATOR).by(way);
    let ssh = options.iter().fold(ssh, |ssh, option| ssh.option(option));
    ssh.command()
}

fn same_environment(command: &mut Command, as_in: &Command) {
    for (name, value) in as_in.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// One connection that further clients use without logging in.
struct Shared {
    socket: String,
    _master: Ended,
}

impl Shared {
    fn open(bastion: &Bastion, way: Way) -> Self {
        let path = bastion.dir.path().join("shared");
        let socket = format!("-oControlPath={}", path.display());
        let mut master = command(bastion, way, &["-oControlMaster=yes", &socket, "-N"]);
        let master = Ended(master.stdin(Stdio::null()).spawn().unwrap());
        eventually(
            "the shared connection stands",
            Duration::from_secs(30),
            || path.exists(),
        );
        Self {
            socket,
            _master: master,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", &self.socket, "shared"]);
        command
    }

    /// Status and stdout of a program without input.
    fn run(&self, program: &str) -> (Option<i32>, String) {
        let mut command = within(20, &self.command());
        let output = command.arg(program).stdin(Stdio::null()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }
}

// --- What is sent, and what came

/// `size` bytes of which no two places are alike: what is lost, doubled or exchanged shows.
fn lines(size: u64) -> Stdio {
    let mut source = Command::new("sh");
    source
        .arg("-c")
        .arg(generator(size))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    source.spawn().unwrap().stdout.unwrap().into()
}

fn generator(size: u64) -> String {
    format!("seq 1 1000000000 | head -c {size}")
}

fn digest(size: u64) -> String {
    shell(&format!("{} | sha256sum", generator(size)))
}

/// Of the first `size` bytes, checking that at most the end of a line follows.
fn digest_of(path: &Path, size: u64) -> String {
    let length = fs::metadata(path).unwrap().len();
    assert!(
        length == size || length == size + 1,
        "{length} bytes instead of {size}"
    );
    shell(&format!("head -c {size} {} | sha256sum", path.display()))
}

/// Sends `size` bytes through `cat` on the target to a reader who first sleeps; the digest of what
/// came back.
fn echo(ssh: &Command, size: u64, sleeps: u32) -> String {
    let mut ssh = within(180, ssh);
    ssh.arg("cat").stdin(lines(size)).stdout(Stdio::piped());
    let mut ssh = Ended(ssh.spawn().unwrap());
    let reader = Command::new("sh")
        .arg("-c")
        .arg(format!("sleep {sleeps}; sha256sum"))
        .stdin(ssh.0.stdout.take().unwrap())
        .output()
        .unwrap();
    assert_eq!(
        ssh.0.wait().unwrap().code(),
        Some(0),
        "124 is what `timeout` says"
    );
    String::from_utf8(reader.stdout).unwrap()
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn file(path: &Path) -> Stdio {
    fs::File::create(path).unwrap().into()
}

/// The same command, killed after so many seconds: a hang is a failure, not a long test.
fn within(seconds: u32, command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited
        .arg(seconds.to_string())
        .arg(command.get_program())
        .args(command.get_args());
    same_environment(&mut limited, command);
    limited
}

/// A child that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // `timeout` passes TERM on; a stopped client needs the other two.
        for name in ["TERM", "CONT"] {
            signal(self.0.id(), name);
        }
        thread::sleep(Duration::from_millis(100));
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The bastion's resident memory above what it was at first, sampled.
struct Memory {
    idle: u64,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Memory {
    fn watch(bastion: &Bastion) -> Self {
        let pid = bastion.ready.pid;
        let idle = bastion.rss_kib();
        let (peak, over) = (
            Arc::new(AtomicU64::new(idle)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, stop) = (Arc::clone(&peak), Arc::clone(&over));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                seen.fetch_max(resident(pid).unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self { idle, peak, over }
    }

    fn stayed_below(&self, limit: u64) {
        let above = self.peak.load(Ordering::Relaxed).saturating_sub(self.idle);
        println!("at most {above} KiB above idle");
        assert!(above < limit, "{above} KiB above idle, more than {limit}");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
