//! Who proves nothing takes little from others, for a short time, and leaves no trace in the
//! database; who is in has his limits too.

use e2e::{Bastion, Options, Ran, eventually, now};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn connections_that_never_log_in_keep_nobody_out_and_are_gone_after_the_grace_time() {
    let bastion = Bastion::start(Options::logged_in_already());
    let alice = || bastion.ssh("alice").from("127.0.3.1");
    let _ = alice().run("true").ok();
    let address: SocketAddr = bastion.ready.ssh.parse().unwrap();
    let (entries, before) = (bastion.entries().len(), bastion.rss_kib());
    let started = now();
    let strangers: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let talking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        // Half of them say something, slowly.
        let stops = Stops(&talking);
        let talkers = strangers.iter().step_by(2);
        scope.spawn(|| talk(talkers.collect(), &talking));
        // From elsewhere one gets in, at once, all the while.
        for _ in 0..5 {
            let asked = now();
            assert_eq!(alice().without_second_factor().run("echo in").ok(), "in\n");
            assert!(
                asked.elapsed() < Duration::from_secs(5),
                "{:?}",
                asked.elapsed()
            );
        }
        let grown = bastion.rss_kib().saturating_sub(before);
        println!("{grown} KiB for 200 strangers and 5 sessions");
        assert!(grown < 24 * 1024, "{grown} KiB");
        for stranger in &strangers {
            gone_by(stranger, started + Duration::from_secs(40));
        }
        drop(stops);
    });
    assert!(
        started.elapsed() > Duration::from_secs(25),
        "the grace time is 30 s"
    );
    let written = bastion.entries();
    for entry in &written[entries..] {
        // What alice did, and nothing for anybody else.
        assert!(
            entry["who"]["id"] == "alice" || entry["event"] == "recording.heads",
            "{entry}"
        );
    }
    assert_eq!(
        bastion.ssh("bob").run("echo afterwards").ok(),
        "afterwards\n"
    );
}

/// Two thousand strangers from fifty addresses, who come again when they are sent away: silent, with
/// an identification that never ends, with garbage.
#[test]
fn a_flood_of_strangers_leaves_who_is_in_alone_and_lets_others_in() {
    let bastion = Bastion::start(Options::logged_in_already());
    let shared = bastion.share("alice");
    let mut cat = shared
        .command(&[])
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut echo = |word: &[u8; 6]| {
        input.write_all(word).unwrap();
        let mut back = [0; 6];
        output.read_exact(&mut back).unwrap();
        assert_eq!(&back, word);
    };
    echo(b"before");
    let (sockets, memory, entries) = (bastion.sockets(), bastion.rss_kib(), bastion.entries());
    let flood = Flood::of(&bastion);
    for word in [b"during", b"amidst", b"within", b"inside"] {
        echo(word);
        assert_eq!(bastion.ssh("bob").run("echo in").ok(), "in\n");
    }
    // A hundred strangers, two files each, and what bob had.
    assert!(
        bastion.sockets() <= sockets + 220,
        "{} of {sockets}",
        bastion.sockets()
    );
    let grown = bastion.rss_kib().saturating_sub(memory);
    assert!(grown < 32 * 1024, "{grown} KiB");
    drop(flood);
    eventually("their places are free", Duration::from_secs(20), || {
        bastion.sockets() <= sockets
    });
    echo(b"after!");
    drop(input);
    assert!(cat.wait().unwrap().success());
    let strangers = bastion.entries().len() - entries.len();
    // Of bob's four sessions, and the log's own.
    assert!(strangers < 60, "{strangers} entries");
}

/// Whoever takes all the places of an address and then says nothing gives them up to who means it.
#[test]
fn held_places_are_given_up_to_who_logs_in_from_the_same_address() {
    let bastion = Bastion::start(Options::logged_in_already());
    let address: SocketAddr = bastion.ready.ssh.parse().unwrap();
    let _strangers: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let held = now();
    eventually("alice is in", Duration::from_secs(15), || {
        bastion.ssh("alice").run("echo in").stdout == "in\n"
    });
    assert!(
        held.elapsed() < Duration::from_secs(20),
        "and not because the others' 30 s were over"
    );
}

#[test]
fn one_address_takes_no_more_than_its_share_of_places() {
    let bastion = Bastion::start(Options::logged_in_already());
    let address: SocketAddr = bastion.ready.ssh.parse().unwrap();
    let strangers: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let greeted = strangers
        .iter()
        .filter(|stranger| {
            stranger
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            let mut greeting = [0; 4];
            (&mut &**stranger).read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
        })
        .count();
    assert_eq!(greeted, 20, "of 60 from one address");
    drop(strangers);
    eventually("there are places again", Duration::from_secs(5), || {
        bastion.ssh("alice").run("echo in").status == Some(0)
    });
}

#[test]
fn of_forty_channels_at_once_every_one_is_answered() {
    let bastion = Bastion::start(Options::logged_in_already());
    let shared = bastion.share("alice");
    let marker = bastion.dir.path().join("go-on");
    let program = format!(
        "while ! [ -e {} ]; do sleep 0.1; done; echo done",
        marker.display()
    );
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = shared.command(&[]);
            client
                .arg(&program)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            client.spawn().unwrap()
        })
        .collect();
    // All of them are on the connection before the first may end.
    std::thread::sleep(Duration::from_secs(2));
    std::fs::write(&marker, "").unwrap();
    let ran: Vec<Ran> = clients
        .into_iter()
        .map(|client| Ran::from(client.wait_with_output().unwrap()))
        .collect();
    let served = ran
        .iter()
        .filter(|ran| ran.status == Some(0) && ran.stdout == "done\n")
        .count();
    let refused = ran
        .iter()
        .filter(|ran| ran.status == Some(255) && ran.stdout.is_empty())
        .count();
    assert_eq!(served + refused, 40, "{ran:?}");
    // OpenSSH's own server is asked for at most ten a connection by default; ours says 32.
    assert!((30..=32).contains(&served), "{served} served");
    assert_eq!(shared.run("echo goes on").ok(), "goes on\n");
    let refusals = bastion.events("request.refused");
    assert!(
        refusals
            .iter()
            .any(|event| event["detail"]["codes"][0] == "too_many_channels")
    );
}

#[test]
fn a_huge_user_name_is_refused_and_costs_nothing() {
    let bastion = Bastion::start(Options::logged_in_already());
    let before = bastion.rss_kib();
    let entries = bastion.entries().len();
    for name in [
        "x".repeat(30_000),
        format!("alice+{}+db1", "x".repeat(20_000)),
        "+".repeat(20_000),
        "alice+root+db1\n\x1b]0;owned\x07".to_owned(),
    ] {
        let ran = bastion
            .ssh_as("alice", &name)
            .from("127.0.4.1")
            .code("000000")
            .run("true");
        assert_eq!(ran.status, Some(255), "{:.200}", format!("{ran:?}"));
    }
    assert_eq!(bastion.entries().len(), entries);
    assert!(bastion.rss_kib() < before + 8 * 1024);
    assert!(
        !bastion.log().contains("\x1b]0;owned"),
        "control characters are not logged"
    );
    assert_eq!(bastion.ssh("alice").run("echo in").ok(), "in\n");
}

#[test]
fn a_flood_of_variables_is_cut_off() {
    let bastion = Bastion::start(Options::logged_in_already());
    let before = bastion.rss_kib();
    let mut ssh = bastion.ssh("alice").motive("many-variables");
    for number in 0..500 {
        ssh = ssh.option(&format!("-oSetEnv=LC_{number}={}", "v".repeat(100)));
    }
    // One SetEnv counts, the first; so all in one.
    let all: Vec<String> = (0..500)
        .map(|number| format!("LC_N{number}={}", "v".repeat(100)))
        .collect();
    let one = bastion
        .ssh("bob")
        .option(&format!("-oSetEnv={}", all.join(" ")));
    let _ = ssh.run("true").ok();
    let ran = one.run("env | grep -c ^LC_N");
    let passed: usize = ran.stdout.trim().parse().unwrap();
    assert!(passed <= 64, "{passed} variables passed");
    assert!(bastion.rss_kib() < before + 16 * 1024);
    assert_eq!(bastion.ssh("bob").run("echo in").ok(), "in\n");
}

#[test]
fn a_flood_of_refused_requests_ends_the_connection_and_does_not_fill_the_log() {
    let bastion = Bastion::start(Options::logged_in_already());
    let all: Vec<String> = (0..2000).map(|number| format!("EVIL_{number}=v")).collect();
    let before = bastion.entries().len();
    let ran = bastion
        .ssh("alice")
        .option(&format!("-oSetEnv={}", all.join(" ")))
        .run("echo in");
    assert_ne!(ran.status, Some(0), "{ran:?}");
    eventually("the refusals are written", Duration::from_secs(10), || {
        bastion.events("request.refused").len() >= 200
    });
    let written = bastion.entries().len() - before;
    assert!(written <= 210, "{written} entries by one connection");
    assert_eq!(bastion.ssh("bob").run("echo in").ok(), "in\n");
}

#[test]
fn a_thousand_short_connections_leave_nothing_behind() {
    let bastion = Bastion::start(Options::logged_in_already());
    let address: SocketAddr = bastion.ready.ssh.parse().unwrap();
    let _ = bastion.ssh("alice").run("true").ok();
    let before = (bastion.rss_kib(), bastion.sockets());
    for number in 0..1000 {
        let mut stream = TcpStream::connect(address).unwrap();
        if number % 2 == 0 {
            stream.write_all(b"SSH-2.0-hello\r\n").ok();
        }
    }
    // Through the key exchange, too, once so many have been from here.
    for _ in 0..10 {
        eventually("a key is shown", Duration::from_secs(10), || {
            let port = address.port().to_string();
            let scan = Command::new("ssh-keyscan")
                .args(["-t", "ed25519", "-T", "5", "-p", &port, "127.0.0.1"])
                .output()
                .unwrap();
            String::from_utf8_lossy(&scan.stdout).contains("ssh-ed25519")
        });
    }
    eventually("they are closed", Duration::from_secs(10), || {
        bastion.sockets() <= before.1
    });
    let grown = bastion.rss_kib().saturating_sub(before.0);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

/// The strangers of `hostile/flood.py`; gone when dropped.
struct Flood(Child);

impl Flood {
    /// Once every one of them has come.
    fn of(bastion: &Bastion) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/flood.py");
        let (_, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(port)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "flooding\n");
        Self(child)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Ends the talking with the test, however it ends.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Garbage, a greeting and then garbage, and what is no greeting at all, piece by piece.
fn talk(strangers: Vec<&TcpStream>, talking: &AtomicBool) {
    let words: [&[u8]; 3] = [b"x", b"SSH-2.0-x\r\n\0\0", b"\xff\0\xff"];
    for number in 0.. {
        for (mut stranger, word) in strangers
            .iter()
            .copied()
            .zip(words.iter().cycle().skip(number % 3))
        {
            stranger.write_all(word).ok();
        }
        if !talking.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Reads until the other side has closed; reset will do, too.
fn gone_by(mut stranger: &TcpStream, latest: Instant) {
    loop {
        let left = latest.saturating_duration_since(now());
        assert!(!left.is_zero(), "one is still there");
        stranger.set_read_timeout(Some(left)).unwrap();
        match stranger.read(&mut [0; 4096]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
