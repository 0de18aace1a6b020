//! One connection that several clients share (`ControlMaster`): one session, many channels.

use crate::ssh::run;
use crate::{Ran, Ssh, eventually};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A connection that stands; ended when dropped.
pub struct Shared {
    directory: TempDir,
    master: Child,
}

impl Shared {
    /// Connects as `ssh` says; the socket lies in `directory`.
    #[must_use]
    pub fn open(ssh: &Ssh<'_>, directory: &Path) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        let socket = directory.path().join("s");
        // Before the host, so that it is no remote command.
        let mut command = ssh.command_with(&[
            "-N",
            "-oControlMaster=yes",
            &format!("-oControlPath={}", socket.display()),
        ]);
        let master = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(
            "the shared connection stands",
            Duration::from_secs(30),
            || socket.exists(),
        );
        Self { directory, master }
    }

    /// Where clients find it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// A client of this connection, with these options; add the remote command.
    #[must_use]
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-oLogLevel=ERROR"])
            .arg(format!("-oControlPath={}", self.socket().display()))
            .args(options)
            .arg("shared");
        command
    }

    /// `scp` or `sftp` over this connection; the host is `shared`.
    #[must_use]
    pub fn copying(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "none", "-oLogLevel=ERROR"]);
        command.arg(format!("-oControlPath={}", self.socket().display()));
        command
    }

    /// Whether the connection has ended.
    pub fn has_ended(&mut self) -> bool {
        self.master.try_wait().unwrap().is_some()
    }

    /// Runs a program with this input.
    #[must_use]
    pub fn run_with_input(&self, program: &str, input: &[u8]) -> Ran {
        let mut command = self.command(&[]);
        command.arg(program);
        run(command, input, Duration::from_secs(60))
    }

    /// Runs a program without input.
    #[must_use]
    pub fn run(&self, program: &str) -> Ran {
        self.run_with_input(program, b"")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.master.kill().ok();
        self.master.wait().ok();
    }
}
