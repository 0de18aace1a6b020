//! integrity: one bit that was changed on the way ends the connection, and nothing that follows it
//! is delivered.

use super::{Printed, fed, noise, with};
use e2e::bastion::TARGET;
use e2e::{Bastion, Options, Sshd, Way};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const SIZE: usize = 1_500_000;
/// In the middle of what is moved, whatever the login takes.
const MIDDLE: usize = 700_000;

const CIPHERS: [&[&str]; 4] = [
    &["-oCiphers=aes256-gcm@openssh.com"],
    &["-oCiphers=chacha20-poly1305@openssh.com"],
    &[
        "-oCiphers=aes256-ctr",
        "-oMACs=hmac-sha2-256-etm@openssh.com",
    ],
    &[
        "-oCiphers=aes256-ctr",
        "-oMACs=hmac-sha2-512-etm@openssh.com",
    ],
];

#[test]
fn a_changed_bit_in_an_upload_ends_the_connection_and_what_follows_is_not_delivered() {
    let bytes = noise(SIZE);
    each_cipher(Flow::Up, |bastion, ssh, case| {
        let there = bastion.dir.path().join(format!("integrity-{case}"));
        let up = format!("cat > {}", there.display());
        let ran = fed(with(ssh.command(), [up.as_str()]), &bytes, 32 * 1024);
        assert_eq!(ran.status, Some(255), "{case}");
        // None of it, where the program had not begun.
        is_a_beginning(&fs::read(&there).unwrap_or_default(), &bytes, case);
    });
}

#[test]
fn a_changed_bit_in_a_download_ends_the_connection_and_what_follows_is_not_delivered() {
    let bytes = noise(SIZE);
    each_cipher(Flow::Down, |bastion, ssh, case| {
        let there = bastion.dir.path().join(format!("integrity-{case}"));
        fs::write(&there, &bytes).unwrap();
        let down = format!("cat {}", there.display());
        let ran = fed(with(ssh.command(), [down.as_str()]), b"", 1);
        assert_eq!(ran.status, Some(255), "{case}");
        is_a_beginning(&ran.stdout, &bytes, case);
    });
}

#[test]
fn a_changed_bit_before_the_keys_are_agreed_lets_nobody_in() {
    let bastion = super::bastion();
    for way in Way::AND_DIRECT {
        for flow in [Flow::Up, Flow::Down] {
            // In the version, and in what each side says it can do.
            for at in [10, 300, 900] {
                let ssh = bastion.ssh("alice").by(way);
                let proxy = Proxy::start(ssh.address().to_owned(), flow, at);
                let ran = ssh.at(&proxy.address).run("echo in");
                assert!(proxy.has_changed(), "{way:?} {flow:?} {at}");
                assert_eq!(ran.status, Some(255), "{way:?} {flow:?} {at}: {ran:?}");
                assert_eq!(ran.stdout, "");
            }
        }
    }
}

#[test]
fn a_changed_bit_between_the_bastion_and_the_target_is_not_delivered_either() {
    let bytes = noise(SIZE);
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("user-ca.pub");
    let sshd = Sshd::start(directory.path(), &authority, "");
    for flow in [Flow::Up, Flow::Down] {
        let proxy = Proxy::start(format!("127.0.0.1:{}", sshd.port), flow, MIDDLE);
        let target = format!(
            "db2.chu-exemple={}@{}={}",
            e2e::sshd::current_user(),
            proxy.address,
            sshd.host_key.display()
        );
        let bastion = Bastion::start(Options::logged_in_already().with("--target", &target));
        fs::copy(bastion.state().join("user-ca.pub"), &authority).unwrap();
        let user = format!("alice+{}+db2.chu-exemple", bastion.account);
        let ssh = bastion.ssh_as("alice", &user).motive("changed");
        let there = directory.path().join(format!("{flow:?}"));
        if matches!(flow, Flow::Down) {
            fs::write(&there, &bytes).unwrap();
        }
        let (program, input) = match flow {
            Flow::Up => (format!("cat > {}", there.display()), bytes.as_slice()),
            Flow::Down => (format!("cat {}", there.display()), &b""[..]),
        };
        let Printed {
            status,
            stdout,
            stderr,
        } = fed(with(ssh.command(), [program.as_str()]), input, 32 * 1024);
        assert!(proxy.has_changed());
        assert_eq!(status, Some(255));
        let said = String::from_utf8_lossy(&stderr);
        assert!(
            said.contains("the connection to the target was lost"),
            "{said}"
        );
        let arrived = match flow {
            Flow::Up => fs::read(&there).unwrap_or_default(),
            Flow::Down => stdout,
        };
        is_a_beginning(&arrived, &bytes, &format!("{flow:?}"));
        let session = bastion.ended_session("changed");
        let _ = bastion
            .admin(&["recording", "verify", session.id.as_str()])
            .ok();
    }
}

/// Runs `test` through a proxy that changes a bit in the middle, at each place with each cipher.
fn each_cipher(flow: Flow, test: impl Fn(&Bastion, &e2e::Ssh<'_>, &str)) {
    let bastion = super::bastion();
    for way in Way::AND_DIRECT {
        for (number, cipher) in CIPHERS.iter().enumerate() {
            let case = format!("{flow:?}-{way:?}-{number}");
            let ssh = bastion.ssh("bob").by(way).motive(&case);
            let ssh = cipher.iter().fold(ssh, |ssh, option| ssh.option(option));
            // Of a jump, what changes is in the connection around it.
            let proxy = Proxy::start(ssh.address().to_owned(), flow, MIDDLE + number);
            test(&bastion, &ssh.at(&proxy.address), &case);
            assert!(proxy.has_changed(), "{case}");
            if way != Way::Direct {
                let session = bastion.ended_session(&case);
                assert_eq!(session.target.as_str(), TARGET);
            }
        }
    }
}

/// Some of it, in order, and not all of it.
fn is_a_beginning(arrived: &[u8], whole: &[u8], case: &str) {
    assert!(
        arrived.len() < MIDDLE + 1000,
        "{case}: {} bytes",
        arrived.len()
    );
    assert!(whole.starts_with(arrived), "{case}: other bytes");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    /// From the client.
    Up,
    Down,
}

/// Passes everything on but one bit.
struct Proxy {
    address: String,
    changed: Arc<AtomicBool>,
}

impl Proxy {
    /// Changes the lowest bit of the byte `at` of each connection's `flow` to `server`.
    fn start(server: String, flow: Flow, at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let changed = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            address,
            changed: Arc::clone(&changed),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                let [from_client, from_server] = ends;
                let bit = Arc::clone(&changed);
                let (up, down) = match flow {
                    Flow::Up => (Some(at), None),
                    Flow::Down => (None, Some(at)),
                };
                let (up_bit, down_bit) = (Arc::clone(&bit), bit);
                thread::spawn(move || pass(from_client, server, up, &up_bit));
                thread::spawn(move || pass(from_server, client, down, &down_bit));
            }
        });
        proxy
    }

    fn has_changed(&self) -> bool {
        self.changed.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, change: Option<usize>, changed: &AtomicBool) {
    let (mut passed, mut piece) = (0, vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if let Some(at) = change
            && (passed..passed + length).contains(&at)
        {
            piece[at - passed] ^= 1;
            changed.store(true, Ordering::SeqCst);
        }
        passed += length;
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // Ends are passed on as well.
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
}
