//! The rows: every way in which somebody asks for something, each with the real client that does.

use access::grant::Operation;
use access::request::{Direction, Request};
use e2e::ssh::run;
use e2e::{Ran, Ssh, Way, eventually, free_port};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const AT_MOST: Duration = Duration::from_secs(60);
const GREETING: &[u8] = b"hello\n";
/// What is on the target to be taken away.
const SECRET: &str = "not to be seen";

/// One way to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    ShellWithTerminal,
    Shell,
    Exec,
    OldScpUpload,
    OldScpDownload,
    ScpUpload,
    ScpDownload,
    SftpPut,
    SftpGet,
    RsyncUpload,
    RsyncDownload,
    GitClone,
    GitPush,
    MinusL,
    MinusD,
    MinusW,
    /// A second client of a connection on which one has had its session.
    SecondSession,
    /// A choice in the menu of the bastion itself.
    Menu,
    /// A command of the bastion's own.
    OwnCommand,
}

use Protocol::{
    Exec, GitClone, GitPush, Menu, MinusD, MinusL, MinusW, OldScpDownload, OldScpUpload,
    OwnCommand, RsyncDownload, RsyncUpload, ScpDownload, ScpUpload, SecondSession, SftpGet,
    SftpPut, Shell, ShellWithTerminal,
};

/// The rows in which each kind of request is asked. A new kind does not compile without.
pub(super) fn rows_of(request: Request<'_>) -> &'static [Protocol] {
    match request {
        Request::Pty => &[ShellWithTerminal, Menu],
        Request::Shell => &[ShellWithTerminal, Shell, Menu],
        Request::Exec => &[
            Exec,
            RsyncUpload,
            RsyncDownload,
            GitClone,
            GitPush,
            SecondSession,
            OwnCommand,
        ],
        Request::Scp { direction } => match direction {
            Direction::Upload => &[OldScpUpload],
            Direction::Download => &[OldScpDownload],
        },
        Request::Subsystem { .. } => &[ScpUpload, ScpDownload, SftpPut, SftpGet],
        // And every row that jumps.
        Request::OpenDirectTcpip => &[MinusL, MinusD, MinusW],
        // It starts nothing.
        Request::Env { .. } => &[],
        // Refused whatever is given; the tests beside this one ask for them.
        Request::OpenDirectStreamlocal
        | Request::OpenX11
        | Request::OpenForwardedTcpip
        | Request::X11
        | Request::Agent
        | Request::TcpipForward
        | Request::StreamlocalForward
        | Request::Unknown { .. } => &[],
    }
}

impl Protocol {
    pub(super) const ALL: [Self; 19] = [
        ShellWithTerminal,
        Shell,
        Exec,
        OldScpUpload,
        OldScpDownload,
        ScpUpload,
        ScpDownload,
        SftpPut,
        SftpGet,
        RsyncUpload,
        RsyncDownload,
        GitClone,
        GitPush,
        MinusL,
        MinusD,
        MinusW,
        SecondSession,
        Menu,
        OwnCommand,
    ];

    /// As an auditor reads it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            ShellWithTerminal => "shell with a terminal",
            Shell => "shell without",
            Exec => "command",
            OldScpUpload => "scp -O there",
            OldScpDownload => "scp -O back",
            ScpUpload => "scp there",
            ScpDownload => "scp back",
            SftpPut => "sftp put",
            SftpGet => "sftp get",
            RsyncUpload => "rsync there",
            RsyncDownload => "rsync back",
            GitClone => "git clone",
            GitPush => "git push",
            MinusL => "ssh -L",
            MinusD => "ssh -D",
            MinusW => "ssh -W",
            SecondSession => "second session of a shared connection",
            Menu => "choice in the menu",
            OwnCommand => "command of the bastion's own",
        }
    }

    /// The ways by which it is asked.
    pub(super) const fn ways(self) -> &'static [Way] {
        match self {
            Menu | OwnCommand => &[Way::LoginName],
            ShellWithTerminal | Shell | Exec | OldScpUpload | OldScpDownload | ScpUpload
            | ScpDownload | SftpPut | SftpGet | RsyncUpload | RsyncDownload | GitClone
            | GitPush | MinusL | MinusD | MinusW | SecondSession => &Way::ALL,
        }
    }

    /// It needs one of these.
    pub(super) const fn operations(self) -> &'static [Operation] {
        match self {
            ShellWithTerminal | Shell | Menu => &[Operation::Shell],
            Exec | RsyncUpload | RsyncDownload | GitClone | GitPush | SecondSession => {
                &[Operation::Exec]
            }
            OldScpUpload => &[Operation::Upload],
            OldScpDownload => &[Operation::Download],
            ScpUpload | ScpDownload | SftpPut | SftpGet => {
                &[Operation::Upload, Operation::Download]
            }
            MinusL | MinusD | MinusW => &[Operation::Forward],
            OwnCommand => &[],
        }
    }

    /// Whether the client shows what it was told; of a connection through a shared one, the other
    /// client is told.
    pub(super) const fn shows_why(self, is_shared: bool) -> bool {
        match self {
            MinusL | MinusD => false,
            MinusW => !is_shared,
            ShellWithTerminal | Shell | Exec | OldScpUpload | OldScpDownload | ScpUpload
            | ScpDownload | SftpPut | SftpGet | RsyncUpload | RsyncDownload | GitClone
            | GitPush | SecondSession | Menu | OwnCommand => true,
        }
    }
}

/// What a row works with: what is here, what is there, and who listens there.
pub(super) struct Place {
    here: PathBuf,
    there: PathBuf,
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Place {
    pub(super) fn new(directory: &Path) -> Self {
        let at = |name: &str| {
            let path = directory.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (here, there, port) = (at("here"), at("there"), free_port());
        fs::write(here.join("file"), "brought").unwrap();
        fs::write(there.join("secret"), SECRET).unwrap();
        let came = greet(port);
        Self {
            here,
            there,
            port,
            came,
        }
    }

    /// With something to clone, and something to push from.
    pub(super) fn with_repository(self) -> Self {
        let (clone, bare) = (self.here.join("work"), self.repository());
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let work = ["-C", &path(&clone)];
        let me = ["-c", "user.name=t", "-c", "user.email=t@t.example"];
        let quiet = ["-q", "-m", SECRET, "--allow-empty"];
        for arguments in [
            vec!["init", "-q", "--bare", &path(&bare)],
            vec!["init", "-q", &path(&clone)],
            [&work[..], &me, &["commit"], &quiet].concat(),
            [
                &work[..],
                &["push", "-q", &path(&bare), "HEAD:refs/heads/main"],
            ]
            .concat(),
            [
                "--git-dir",
                &path(&bare),
                "symbolic-ref",
                "HEAD",
                "refs/heads/main",
            ]
            .to_vec(),
        ] {
            let _ = git(&arguments, None).ok();
        }
        self
    }

    fn repository(&self) -> PathBuf {
        self.there.join("x.git")
    }
}

/// One try of one row. `ssh` says who, to where and by which way; `name` is no other try's.
pub(super) struct Try<'a> {
    pub(super) protocol: Protocol,
    pub(super) ssh: Ssh<'a>,
    pub(super) target: &'a str,
    pub(super) account: &'a str,
    pub(super) place: &'a Place,
    pub(super) name: &'a str,
    /// The client's connection is another's, by the login name.
    pub(super) is_shared: bool,
}

/// What became of it.
pub(super) struct Became {
    pub(super) ran: Ran,
    /// Whether it did there what it wanted.
    pub(super) happened: bool,
}

impl Try<'_> {
    pub(super) fn run(&self) -> Became {
        let before = self.place.came.load(Ordering::SeqCst);
        let ran = self.ask();
        let (here, there) = (self.here(), self.there());
        let happened = match self.protocol {
            ShellWithTerminal | Shell | Exec | SecondSession | Menu | OldScpUpload | ScpUpload
            | SftpPut | RsyncUpload => there.exists(),
            OldScpDownload | ScpDownload | SftpGet | RsyncDownload => {
                fs::read_to_string(&here).is_ok_and(|text| text.contains(SECRET))
            }
            GitClone => here.join(".git/refs/heads/main").exists() || here.join(".git").exists(),
            GitPush => {
                let pushed = format!("refs/heads/{}", self.name);
                self.place.repository().join(pushed).exists()
            }
            MinusL | MinusD | MinusW => {
                let came = self.place.came.load(Ordering::SeqCst) > before;
                came || ran.stdout.contains("hello")
            }
            OwnCommand => !ran.stdout.is_empty(),
        };
        Became { ran, happened }
    }

    fn here(&self) -> PathBuf {
        self.place.here.join(self.name)
    }

    fn there(&self) -> PathBuf {
        self.place.there.join(self.name)
    }

    fn ask(&self) -> Ran {
        let ssh = &self.ssh;
        let touch = format!("touch {}", self.there().display());
        let (file, secret) = (
            self.place.here.join("file"),
            self.place.there.join("secret"),
        );
        let remote = |path: &Path| format!("{}:{}", ssh.host(), path.display());
        let arguments = |command: Command, arguments: &[&dyn AsRef<std::ffi::OsStr>]| {
            let mut command = command;
            command.args(arguments.iter().map(|one| one.as_ref()));
            run(command, b"", AT_MOST)
        };
        match self.protocol {
            ShellWithTerminal => {
                let typed = format!("{touch}\nexit\n");
                run(ssh.command_with(&["-tt"]), typed.as_bytes(), AT_MOST)
            }
            Shell => {
                let typed = format!("{touch}\n");
                run(ssh.command_with(&["-T"]), typed.as_bytes(), AT_MOST)
            }
            Exec | SecondSession => ssh.run(&touch),
            OldScpUpload | ScpUpload => {
                let up = ssh.copying("scp");
                arguments(up, &[&self.mode(), &file, &remote(&self.there())])
            }
            OldScpDownload | ScpDownload => {
                let down = ssh.copying("scp");
                arguments(down, &[&self.mode(), &remote(&secret), &self.here()])
            }
            SftpPut => self.sftp(&format!(
                "put {} {}\n",
                file.display(),
                self.there().display()
            )),
            SftpGet => self.sftp(&format!(
                "get {} {}\n",
                secret.display(),
                self.here().display()
            )),
            RsyncUpload => {
                let rsync = Command::new("rsync");
                arguments(
                    rsync,
                    &[&"-e", &ssh.shell_words(), &file, &remote(&self.there())],
                )
            }
            RsyncDownload => {
                let rsync = Command::new("rsync");
                arguments(
                    rsync,
                    &[&"-e", &ssh.shell_words(), &remote(&secret), &self.here()],
                )
            }
            GitClone => {
                let (from, to) = (remote(&self.place.repository()), self.here());
                let clone = ["clone", "-q", &from, to.to_str().unwrap()];
                git(&clone, Some(&ssh.shell_words()))
            }
            GitPush => {
                let (work, to) = (
                    self.place.here.join("work"),
                    remote(&self.place.repository()),
                );
                let branch = format!("HEAD:refs/heads/{}", self.name);
                let push = ["-C", work.to_str().unwrap(), "push", "-q", &to, &branch];
                git(&push, Some(&ssh.shell_words()))
            }
            MinusW => {
                let to = format!("localhost:{}", self.place.port);
                run(
                    ssh.command_with(&["-oLogLevel=INFO", "-W", &to]),
                    b"",
                    AT_MOST,
                )
            }
            MinusL => {
                let local = free_port();
                let forward = format!("127.0.0.1:{local}:localhost:{}", self.place.port);
                self.through(["-L", &forward], local, |_| {})
            }
            MinusD => {
                let (local, port) = (free_port(), self.place.port);
                let proxy = format!("127.0.0.1:{local}");
                self.through(["-D", &proxy], local, |stream| socks(stream, port))
            }
            Menu => self.choose(&touch),
            OwnCommand => ssh.run("whoami"),
        }
    }

    fn mode(&self) -> &'static str {
        match self.protocol {
            OldScpUpload | OldScpDownload => "-O",
            _ => "-s",
        }
    }

    fn sftp(&self, batch: &str) -> Ran {
        let mut client = self.ssh.copying("sftp");
        client.args(["-b", "-", self.ssh.host()]);
        run(client, batch.as_bytes(), AT_MOST)
    }

    /// A client that listens here; what comes through to whoever connects is its output.
    fn through(&self, forward: [&str; 2], local: u16, ask: impl FnOnce(&mut TcpStream)) -> Ran {
        let mut got = String::new();
        let connect = || {
            let mut stream = TcpStream::connect(("127.0.0.1", local)).unwrap();
            stream.set_read_timeout(Some(AT_MOST)).unwrap();
            ask(&mut stream);
            // A reset is an end too.
            stream.read_to_string(&mut got).ok();
        };
        if self.is_shared {
            let order = |order: &str| {
                let order = self
                    .ssh
                    .command_with(&[&["-O", order], &forward[..]].concat());
                run(order, b"", AT_MOST)
            };
            let ran = order("forward");
            if ran.status == Some(0) {
                connect();
                let _ = order("cancel").ok();
            }
            return Ran { stdout: got, ..ran };
        }
        let mut client = self.ssh.command_with(&[&["-N"], &forward[..]].concat());
        let mut client = client
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut has_ended = false;
        eventually("the client listens or ends", AT_MOST, || {
            has_ended = client.try_wait().unwrap().is_some();
            has_ended || listens(local)
        });
        if !has_ended {
            connect();
            client.kill().unwrap();
        }
        let ran = Ran::from(client.wait_with_output().unwrap());
        Ran { stdout: got, ..ran }
    }

    /// Reads the menu, chooses the target where it is offered, and types what is to be done there.
    fn choose(&self, command: &str) -> Ran {
        let ssh = self.ssh.command_with(&["-tt"]);
        let mut client = Command::new("timeout");
        let mut client = client
            .args(["60", "ssh"])
            .args(ssh.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shown = Vec::new();
        let output = client.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !shown.ends_with(b"\r\n> ") && output.read(&mut byte).unwrap() == 1 {
            shown.extend(byte);
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let place = format!("{}@{} ", self.account, self.target);
        let line = shown.lines().find(|line| line.contains(&place));
        let number = line.and_then(|line| line.split_whitespace().next());
        let typed = match number {
            Some(number) => format!("{number}\r{command}\rexit\r"),
            None => "quit\r".to_owned(),
        };
        let mut stdin = client.stdin.take().unwrap();
        // It may have ended by itself.
        stdin.write_all(typed.as_bytes()).ok();
        let ran = Ran::from(client.wait_with_output().unwrap());
        drop(stdin);
        Ran {
            stdout: shown + &ran.stdout,
            ..ran
        }
    }
}

fn git(arguments: &[&str], ssh: Option<&str>) -> Ran {
    let mut git = Command::new("git");
    git.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    if let Some(ssh) = ssh {
        git.env("GIT_SSH_COMMAND", ssh);
    }
    run(git, b"", AT_MOST)
}

/// Asks a proxy for `port` of localhost (RFC 1928), by name.
fn socks(stream: &mut TcpStream, port: u16) {
    let [high, low] = port.to_be_bytes();
    let name = b"localhost";
    let mut asked = vec![5, 1, 0, 3, 9];
    asked.extend(name);
    asked.extend([high, low]);
    stream.write_all(&[5, 1, 0]).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    stream.write_all(&asked).unwrap();
    // Its answer; where it is a refusal, the end follows.
    stream.read_exact(&mut [0; 10]).ok();
}

/// Whether somebody listens on this port of 127.0.0.1. Not by a connection, which would be
/// forwarded.
fn listens(port: u16) -> bool {
    let all = fs::read_to_string("/proc/net/tcp").unwrap();
    all.contains(&format!("0100007F:{port:04X} 00000000:0000 0A"))
}

/// Greets whoever connects, as long as the tests run, and counts them.
fn greet(port: u16) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            stream.unwrap().write_all(GREETING).ok();
        }
    });
    came
}
