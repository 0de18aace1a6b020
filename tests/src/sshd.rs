//! A real OpenSSH server that trusts the bastion's user certificates and nothing else; or, to prove
//! what is asked of the bastion, one that is reached without it.

use crate::{eventually, free_port, keeper};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running `sshd` on 127.0.0.1; killed when dropped.
///
/// `more` are further lines of its configuration, each with its end of line.
pub struct Sshd {
    pub port: u16,
    /// Its public host key.
    pub host_key: PathBuf,
    /// What it logs.
    pub log: PathBuf,
    config: PathBuf,
    child: Child,
}

impl Sshd {
    /// Starts one in `dir`, trusting the certificate authority in the file `user_ca` (which may
    /// appear later).
    #[must_use]
    pub fn start(dir: &Path, user_ca: &Path, more: &str) -> Self {
        let authority = format!(
            "AuthorizedKeysFile none\nTrustedUserCAKeys {}\n{more}",
            user_ca.display()
        );
        Self::start_trusting(dir, &authority)
    }

    /// The same without a bastion before it: whoever holds the private half of `key` is in.
    #[must_use]
    pub fn start_direct(dir: &Path, key: &Path, more: &str) -> Self {
        let key = format!("AuthorizedKeysFile {}\n{more}", key.display());
        Self::start_trusting(dir, &key)
    }

    fn start_trusting(dir: &Path, trusted: &str) -> Self {
        let port = free_port();
        fs::create_dir_all(dir).unwrap();
        let key = dir.join("host_key");
        new_key(&key);
        let log = dir.join("sshd.log");
        let config = dir.join("sshd_config");
        // What this machine's shells do when they start is no part of any test.
        let home = dir.join("home");
        fs::create_dir_all(&home).unwrap();
        fs::write(
            &config,
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\n\
                 StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nPubkeyAuthentication yes\n\
                 AcceptEnv LANG LC_*\n\
                 ExposeAuthInfo yes\nMaxStartups 200\nMaxSessions 200\nUseDNS no\nPrintMotd no\nLogLevel VERBOSE\n\
                 Subsystem sftp internal-sftp\nSetEnv HOME={}\n{trusted}",
                key.display(),
                home.display(),
            ),
        )
        .unwrap();
        // Where sshd keeps its unprivileged half; a package's service would have made it.
        if current_user() == "root" {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let child = run(&config, &log);
        let sshd = Self {
            port,
            host_key: dir.join("host_key.pub"),
            log,
            config,
            child,
        };
        sshd.wait();
        sshd
    }

    /// Everybody it has let in, as its log says: `Accepted publickey for root from …`.
    #[must_use]
    pub fn accepted(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains("Accepted publickey"))
            .map(str::to_owned)
            .collect()
    }

    /// Stops it; the port refuses then.
    pub fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again on the same port, with another host key.
    pub fn restart_with_another_host_key(&mut self) {
        self.stop();
        let key = self.host_key.with_extension("");
        fs::remove_file(&key).unwrap();
        fs::remove_file(&self.host_key).unwrap();
        new_key(&key);
        self.child = run(&self.config, &self.log);
        self.wait();
    }

    fn wait(&self) {
        let port = self.port;
        eventually("sshd listens", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The user the tests run as: the account on the target.
#[must_use]
pub fn current_user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A fresh ed25519 key pair at `path`.
pub fn new_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success(), "ssh-keygen");
}

fn run(config: &Path, log: &Path) -> Child {
    // Goes with the run, whatever becomes of it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "/usr/sbin/sshd", "-D", "-e", "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .unwrap(),
        );
    keeper::spawn(command).expect("sshd is installed (apt-get install openssh-server)")
}
