//! What a direct `sshd` does, the bastion does: one file for each behaviour that OpenSSH's own
//! regress scripts check, named after them. Each test runs at a direct `sshd` first, which proves
//! the test, and then through the bastion by both ways in.
//!
//! Needs `scp` and `sftp` beside OpenSSH's client and server. Forwarding is not here.

mod banner;
mod broken_pipe;
mod connect;
mod envpass;
mod exit_status;
mod exit_status_signal;
mod integrity;
mod multiplex;
mod rekey;
mod scp;
mod scp3;
mod sftp;
mod stderr_after_eof;
mod stderr_data;
mod transfer;
mod yes_head;

use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, Shared, Ssh, Way, noise};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

/// One for all that change nothing of it.
fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

/// Runs `test` at each of the three places, the direct one first.
fn everywhere(test: impl Fn(&Bastion, Way)) {
    let bastion = bastion();
    for way in Way::AND_DIRECT {
        println!("{way:?}");
        test(&bastion, way);
    }
}

/// The same with a client there.
fn each_place(test: impl Fn(Ssh<'_>)) {
    everywhere(|bastion, way| test(bastion.ssh("alice").by(way)));
}

/// The same with a connection there that stands, for tests of many short programs.
fn over_one_connection(test: impl Fn(&Shared)) {
    everywhere(|bastion, way| test(&connection(bastion, way)));
}

fn connection(bastion: &Bastion, way: Way) -> Shared {
    Shared::open(&bastion.ssh("alice").by(way), bastion.dir.path())
}

/// What a client printed, byte for byte.
struct Printed {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a client with this input, written in pieces of this size.
fn fed(mut client: Command, input: &[u8], piece: usize) -> Printed {
    let mut client = Running(
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdin = client.0.stdin.take().unwrap();
    let mut output = client.0.stdout.take().unwrap();
    let mut errors = client.0.stderr.take().unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in input.chunks(piece) {
                // The far end may stop reading; that is its business.
                if stdin.write_all(piece).is_err() {
                    break;
                }
            }
        });
        scope.spawn(|| errors.read_to_end(&mut stderr).unwrap());
        output.read_to_end(&mut stdout).unwrap();
    });
    Printed {
        status: client.ends(),
        stdout,
        stderr,
    }
}

/// `command` with these words behind it.
fn with<const N: usize>(mut command: Command, words: [&str; N]) -> Command {
    command.args(words);
    command
}

/// Runs a client without input; one that hangs fails the test.
fn within_a_minute(command: Command) -> Ran {
    run(command, b"", Duration::from_secs(60))
}

/// A client that does not outlive its test.
struct Running(Child);

impl Running {
    /// Its exit status, once it ends.
    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        e2e::eventually("the client ends", Duration::from_secs(60), || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
