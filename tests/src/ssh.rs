//! The system's own `ssh`, as an operator would run it, with nothing of this machine's
//! configuration.

use crate::bastion::TARGET;
use crate::{Bastion, Shared, now};
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// One call of `ssh`.
pub struct Ssh<'a> {
    bastion: &'a Bastion,
    login: String,
    user: String,
    code: Code,
    key: PathBuf,
    source: String,
    address: String,
    options: Vec<String>,
    way: Way,
    target: String,
    /// The socket of a connection that is there already.
    over: Option<PathBuf>,
}

/// How a client reaches a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `alice+root+db1.chu-exemple@bastion`.
    LoginName,
    /// `-J alice@bastion root@db1.chu-exemple`.
    Jump,
    /// Without the bastion: what proves that a test asks for nothing but what `sshd` gives.
    Direct,
}

impl Way {
    /// Both through the bastion.
    pub const ALL: [Self; 2] = [Self::LoginName, Self::Jump];
    /// The one without it first.
    pub const AND_DIRECT: [Self; 3] = [Self::Direct, Self::LoginName, Self::Jump];
}

/// The address that clients come from if nothing else is said.
pub(crate) const LOCALHOST: &str = "127.0.0.1";

enum Code {
    Fresh,
    None,
    Given(String),
}

/// What a finished call said.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Ssh<'a> {
    pub(crate) fn new(bastion: &'a Bastion, login: &str, user: Option<String>) -> Self {
        Self {
            bastion,
            login: login.to_owned(),
            user: user.unwrap_or_else(|| login.to_owned()),
            code: Code::Fresh,
            key: bastion.operator(login).key.clone(),
            source: LOCALHOST.to_owned(),
            address: bastion.ready.ssh.clone(),
            options: Vec::new(),
            way: Way::LoginName,
            target: TARGET.to_owned(),
            over: None,
        }
    }

    /// To another target than every test bastion's own.
    #[must_use]
    pub fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self.user = format!("{}+{}+{target}", self.login, self.bastion.account);
        self
    }

    /// Over a connection to the bastion that stands: nobody logs in.
    #[must_use]
    pub fn over(mut self, shared: &Shared) -> Self {
        self.over = Some(shared.socket());
        self
    }

    /// To the target, this way.
    #[must_use]
    pub fn by(mut self, way: Way) -> Self {
        self.way = way;
        if way == Way::Direct {
            self.address = format!("127.0.0.1:{}", self.bastion.direct().port);
            self.user.clone_from(&self.bastion.account);
            self.code = Code::None;
        }
        self
    }

    /// Answers the second factor's question with this instead of a right code.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        self.code = Code::Given(code.to_owned());
        self
    }

    /// Cannot answer any question, as in a script.
    #[must_use]
    pub fn without_second_factor(mut self) -> Self {
        self.code = Code::None;
        self
    }

    /// Another key than the operator's.
    #[must_use]
    pub fn key(mut self, key: PathBuf) -> Self {
        self.key = key;
        self
    }

    /// Comes from this address of this machine (`127.0.0.0/8`), for failures that lock an address.
    #[must_use]
    pub fn from(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// To this address, where another bastion listens.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// Says why; one word, by which a test finds its session again.
    #[must_use]
    pub fn motive(self, motive: &str) -> Self {
        self.option(&format!("-oSetEnv=BASTION_MOTIVE={motive}"))
    }

    /// A further option, such as `-tt`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// The command, ready to be given arguments; for what `run` cannot express.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command_with(&[])
    }

    /// Where it connects to first.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a client names to get there.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.way {
            Way::LoginName => "bastion",
            Way::Direct => "direct",
            Way::Jump => &self.target,
        }
    }

    /// `scp` or `sftp` with what this `ssh` is given, ready for its own arguments. For whom a code
    /// need not be asked.
    #[must_use]
    pub fn copying(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut words = self.words().into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-l" => command.arg(format!("-oUser={}", words.next().unwrap())),
                _ => command.arg(word),
            };
        }
        command.env_remove("SSH_AUTH_SOCK");
        command
    }

    /// The same as a shell reads it, for programs that run `ssh` themselves.
    #[must_use]
    pub fn shell_words(&self) -> String {
        let words = self.words();
        let quoted = words.iter().map(|word| format!(" '{word}'"));
        format!("ssh{}", quoted.collect::<String>())
    }

    /// The user name a client gives.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Everything before the host.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let command = self.command();
        let words = command.get_args().map(|word| word.to_str().unwrap());
        let mut words: Vec<_> = words.map(str::to_owned).collect();
        words.pop();
        words
    }

    /// The questions that were asked of the person, over all calls so far.
    #[must_use]
    pub fn questions(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.bastion.dir.path().join("questions"));
        asked
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with(&format!("({}@", self.user)))
            .map(str::to_owned)
            .collect()
    }

    /// The same with further options, which come before the host.
    #[must_use]
    pub fn command_with(&self, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config());
        let ask = match &self.code {
            Code::Fresh if self.bastion.needs_no_code(&self.login, &self.source) => None,
            Code::None => None,
            Code::Given(code) => Some(code.clone()),
            Code::Fresh => Some(self.bastion.fresh_code(&self.login)),
        };
        if let Some(code) = ask {
            command
                .env("SSH_ASKPASS", self.askpass())
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env("TEST_CODE", code);
        } else {
            // Who cannot be asked.
            command.env("SSH_ASKPASS_REQUIRE", "never");
        }
        if self.way != Way::Jump {
            // Some are no words of a configuration.
            command.args(["-l", &self.user]);
        }
        command
            .args(&self.options)
            .args(options)
            .arg(self.host())
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    /// The client's configuration, in a file: options on the command line do not reach a jump's
    /// first connection.
    fn config(&self) -> PathBuf {
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let directory = self.bastion.dir.path();
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("ssh-config-{number}"));
        let (host, port) = self.address.rsplit_once(':').unwrap();
        let batch = match &self.code {
            Code::Fresh if self.bastion.needs_no_code(&self.login, &self.source) => "yes",
            Code::None => "yes",
            Code::Given(_) | Code::Fresh => "no",
        };
        let known_hosts = directory.join("known_hosts");
        let mut text = format!(
            "Host bastion direct\n HostName {host}\n Port {port}\n IdentityFile {}\n \
             IdentitiesOnly yes\n StrictHostKeyChecking accept-new\n UserKnownHostsFile {}\n \
             BindAddress {}\n LogLevel ERROR\n ConnectTimeout 20\n BatchMode {batch}\n \
             NumberOfPasswordPrompts 1\n",
            self.key.display(),
            known_hosts.display(),
            self.source,
        );
        if let Some(socket) = &self.over {
            text.push_str(&format!(" ControlPath {}\n", socket.display()));
        }
        if self.way == Way::Jump {
            let target = &self.target;
            let authority = directory.join("known_targets");
            let key = fs::read_to_string(self.bastion.state().join("host-ca.pub")).unwrap();
            // Others may be reading it.
            let written = directory.join(format!("known_targets-{number}"));
            fs::write(&written, format!("@cert-authority *.chu-exemple {key}")).unwrap();
            fs::rename(&written, &authority).unwrap();
            text.push_str(&format!(
                "Host {target}\n ProxyJump {}@bastion\n User {}\n IdentityFile none\n \
                 IdentitiesOnly yes\n StrictHostKeyChecking yes\n UserKnownHostsFile {}\n \
                 LogLevel ERROR\n BatchMode yes\n",
                self.login,
                self.bastion.account,
                authority.display(),
            ));
        }
        fs::write(&path, text).unwrap();
        path
    }

    /// The program that `ssh` asks for the code, and that notes what it was asked.
    fn askpass(&self) -> PathBuf {
        let directory = self.bastion.dir.path();
        let askpass = directory.join("askpass");
        if !askpass.exists() {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o755)
                .open(&askpass)
                .unwrap();
            let questions = directory.join("questions");
            file.write_all(
                format!(
                    "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{}'\nprintf '%s\\n' \"$TEST_CODE\"\n",
                    questions.display()
                )
                .as_bytes(),
            )
            .unwrap();
        }
        askpass
    }

    /// Runs it to its end with this remote command (none: a shell) and this input.
    #[must_use]
    pub fn run_with_input(&self, remote: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command();
        command.args(remote);
        run(command, input, Duration::from_secs(60))
    }

    /// Runs it to its end with this remote command and no input.
    #[must_use]
    pub fn run(&self, remote: &str) -> Ran {
        self.run_with_input(&[remote], b"")
    }

    /// Starts it and leaves it running; stdin stays open.
    #[must_use]
    pub fn spawn(&self, remote: &[&str]) -> Child {
        self.command()
            .args(remote)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Ran {
    /// Checks that it went well, and gives what it printed.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.stdout
    }

    /// Checks that the bastion refused it with this code.
    pub fn refused_with(&self, code: &str) {
        assert_ne!(self.status, Some(0), "{self:?}");
        assert!(
            self.stderr.contains(&format!("Refused ({code})")),
            "no `{code}` in {self:?}"
        );
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `command` to its end; one that does not end in time fails the test.
#[must_use]
pub fn run(mut command: Command, input: &[u8], at_most: Duration) -> Ran {
    let shown = format!("{:?}", command.get_args().collect::<Vec<&OsStr>>());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The far end may stop reading; that is its business.
    let feeder = std::thread::spawn(move || stdin.write_all(&input).ok());
    let started = now();
    let pid = child.id();
    let (done, waiter) = (
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
        child,
    );
    let watched = std::sync::Arc::clone(&done);
    let watcher = std::thread::spawn(move || {
        while !watched.load(std::sync::atomic::Ordering::Relaxed) {
            if started.elapsed() > at_most {
                crate::bastion::signal(pid, "KILL");
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let output = waiter.wait_with_output().unwrap();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let killed = watcher.join().unwrap();
    feeder.join().unwrap();
    let ran = Ran::from(output);
    assert!(!killed, "did not end within {at_most:?}: {shown} {ran:?}");
    ran
}
