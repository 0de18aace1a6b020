//! Who asks for connections: `ssh`, and paramiko where that would not ask.

use super::services::connect;
use access::audit::{hex, sha256};
use e2e::ssh::run;
use e2e::{Bastion, Ran, Ssh, Way, eventually, free_port, now};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// Sends these through `port`, behind which they are echoed, and gives their digest once all came
/// back.
pub(super) fn there_and_back(port: u16, sent: Vec<u8>) -> String {
    let mut stream = connect(port);
    let mut writing = stream.try_clone().unwrap();
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            writing.write_all(&sent).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut got).unwrap();
    });
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    hex(&sha256(&sent))
}

/// A client that only forwards a port of here to `host` and `port`, as the target sees them.
pub(super) fn only_forwarding(ssh: &Ssh<'_>, host: &str, port: u16) -> (u16, Going) {
    let local = free_port();
    let forward = format!("127.0.0.1:{local}:{host}:{port}");
    let mut command = ssh.command_with(&["-N", "-L", &forward]);
    let piped = || std::process::Stdio::piped();
    let child = command.stdin(piped()).stdout(piped()).stderr(piped());
    (local, Going::of(child.spawn().unwrap(), local))
}

/// A client that goes on until it is dropped.
pub(super) struct Going(Option<Child>);

impl Going {
    /// Once it listens.
    pub(super) fn of(child: Child, local: u16) -> Self {
        let going = Self(Some(child));
        eventually("the client listens", Duration::from_secs(30), || {
            // Not by a connection, which would be forwarded.
            fs::read_to_string("/proc/net/tcp")
                .unwrap()
                .contains(&format!("0100007F:{local:04X} 00000000:0000 0A"))
        });
        going
    }

    /// What it said, once it has ended: by itself, or now.
    pub(super) fn end(mut self) -> Ran {
        let mut child = self.0.take().unwrap();
        let started = now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(6) {
                child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

pub(super) fn paramiko(bastion: &Bastion, who: &str, way: Way, script: &str) -> Ran {
    let (host, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let mut python = Command::new("timeout");
    python
        .args(["100", "/usr/bin/python3", "-c", script])
        .args([host, port, &bastion.account, who])
        .arg(if way == Way::Jump { "jump" } else { "name" })
        .arg(&bastion.operator(who).key);
    run(python, b"", Duration::from_secs(120))
}

/// `ask` says what came of each: `hello`, or `no` where it was refused.
pub(super) const PARAMIKO: &str = r#"
import sys, paramiko
host, port, account, who, way, key = sys.argv[1:]
key = paramiko.Ed25519Key.from_private_key_file(key)
def connect(user, sock=None):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, int(port), user, pkey=key, sock=sock, look_for_keys=False, allow_agent=False)
    return client
def inside(target):
    return connect(account, outer.get_transport().open_channel("direct-tcpip", (target, 22), ("127.0.0.1", 1)))
if way == "jump":
    outer = connect(who)
    client = inside("db1.chu-exemple")
else:
    client = connect(f"{who}+{account}+db1.chu-exemple")
def ask(rows):
    for to in rows:
        try:
            channel = client.get_transport().open_channel("direct-tcpip", to, ("127.0.0.1", 1))
            print(channel.recv(5).decode())
            channel.close()
        except paramiko.ChannelException as refused:
            print("no" if refused.code == 1 else refused)
"#;
