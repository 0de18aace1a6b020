//! A real PostgreSQL that a test can stop.

use crate::bastion::signal;
use crate::sshd::current_user;
use crate::{eventually, free_port};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A PostgreSQL of this test's own.
pub struct Postgres {
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Makes and starts one.
    #[must_use]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((user, group)) = Self::user() {
            chown(directory.path(), Some(user), Some(group)).unwrap();
            chown(&data, Some(user), Some(group)).unwrap();
        }
        let made = Self::command("initdb", directory.path())
            .args([
                "-A",
                "trust",
                "-U",
                "bastion",
                "--no-sync",
                "-E",
                "UTF8",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let mut database = Self {
            directory,
            port: free_port(),
            child: None,
        };
        database.start_again();
        database
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://bastion@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it on the same data and the same port.
    pub fn start_again(&mut self) {
        let mut command = Self::command("postgres", self.directory.path());
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-h",
                "127.0.0.1",
                "-c",
                "fsync=off",
            ])
            .args(["-c", "unix_socket_directories="])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let port = self.port;
        eventually("PostgreSQL answers", Duration::from_secs(20), || {
            let ready = Command::new(Self::program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status();
            ready.is_ok_and(|status| status.success())
        });
    }

    /// Stops it where it stands (SIGSTOP): connections stay open and nothing answers any more.
    pub fn suspend(&self) {
        for process in self.processes() {
            signal(process, "STOP");
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        for process in self.processes() {
            signal(process, "CONT");
        }
    }

    /// At once, without waiting for its clients.
    pub fn stop(&mut self) {
        // What stands still takes no notice.
        self.resume();
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "QUIT");
            child.wait().unwrap();
        }
    }

    /// The first process, which starts the others, and then those.
    fn processes(&self) -> Vec<u32> {
        let Some(first) = self.child.as_ref().map(Child::id) else {
            return Vec::new();
        };
        let others = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let others = others.unwrap_or_default();
        let others = others.split_whitespace().map(|id| id.parse().unwrap());
        std::iter::once(first).chain(others).collect()
    }

    fn program(name: &str) -> PathBuf {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
        let found = versions.map(|version| version.unwrap().path().join("bin").join(name));
        found
            .filter(|path| path.exists())
            .max()
            .expect("PostgreSQL is installed")
    }

    /// It refuses to run as root.
    fn user() -> Option<(u32, u32)> {
        (current_user() == "root").then(|| {
            let id = |flag: &str| {
                let out = Command::new("id")
                    .args([flag, "postgres"])
                    .output()
                    .unwrap();
                String::from_utf8(out.stdout)
                    .unwrap()
                    .trim()
                    .parse()
                    .expect("the user postgres")
            };
            (id("-u"), id("-g"))
        })
    }

    fn command(name: &str, directory: &Path) -> Command {
        let program = Self::program(name);
        let mut command = match Self::user() {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={group}"),
                    "--clear-groups",
                    "--pdeathsig=KILL",
                ]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(directory);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}
