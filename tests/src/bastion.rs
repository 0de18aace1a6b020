//! The bastion under test: `bastion demo --headless` in front of a real `sshd`.

use crate::ssh::{LOCALHOST, run};
use crate::sshd::{Sshd, current_user};
use crate::{Ran, Shared, Ssh, eventually, free_port, keeper};
use access::session::SessionState;
use access::{OperatorId, Session};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use store::{SessionFilter, Store};
use tempfile::TempDir;

/// The name of the target in front of which every test bastion stands.
pub const TARGET: &str = "db1.chu-exemple";

/// How a bastion is started.
#[derive(Clone)]
pub struct Options {
    pub operators: u32,
    /// An approved intervention whose window is open, for every operator.
    pub open_intervention: bool,
    /// For tests that log in often; `None` asks for the second factor every time.
    pub reuse_second_factor: Option<&'static str>,
    /// A database other than the embedded one.
    pub database: Option<String>,
    /// Variables of the bastion's environment.
    pub environment: Vec<(String, String)>,
    /// The name of another target, with an `sshd` of its own.
    pub another_target: Option<&'static str>,
    /// Further lines of the target's `sshd_config`, and of that of the server without a bastion.
    pub target_config: &'static str,
    /// Further arguments.
    pub more: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            operators: 3,
            open_intervention: true,
            reuse_second_factor: None,
            database: None,
            environment: Vec::new(),
            another_target: None,
            target_config: "",
            more: Vec::new(),
        }
    }
}

impl Options {
    /// For files whose subject is not the login: every operator logs in once, the second factor
    /// then stands for all that follows from the same address.
    #[must_use]
    pub fn logged_in_already() -> Self {
        Self {
            reuse_second_factor: Some("2h"),
            ..Self::default()
        }
    }

    /// With a further argument of `bastion demo`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.more.extend([name.to_owned(), value.to_owned()]);
        self
    }
}

/// What the bastion says when it is ready.
#[derive(Debug, Deserialize)]
pub struct Ready {
    pub ssh: String,
    pub customer_web: String,
    pub host_web: String,
    pub pid: u32,
    pub state: PathBuf,
    pub database: String,
    pub recordings: PathBuf,
    pub operators: Vec<OperatorAccess>,
    pub interventions: Vec<Value>,
    pub contacts: Vec<Value>,
}

/// What an operator holds.
#[derive(Debug, Clone, Deserialize)]
pub struct OperatorAccess {
    pub login: String,
    /// File of the private key.
    pub key: PathBuf,
    /// Secret of the code generator, base32.
    pub totp: String,
}

/// A running bastion; stopped when dropped.
pub struct Bastion {
    pub ready: Ready,
    pub sshd: Sshd,
    pub another_sshd: Option<Sshd>,
    direct: OnceLock<Sshd>,
    pub dir: TempDir,
    /// The account on the target.
    pub account: String,
    options: Options,
    ports: [u16; 3],
    child: Child,
    /// The last code step used, by login.
    steps: Mutex<HashMap<String, i64>>,
    /// Who needs no second factor from the usual address any more.
    reused: Mutex<Vec<String>>,
}

impl Bastion {
    /// Starts one on a fresh state.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sshd = Sshd::start(
            &dir.path().join("target"),
            &dir.path().join("state/user-ca.pub"),
            options.target_config,
        );
        let another_sshd = options.another_target.map(|_| {
            Sshd::start(
                &dir.path().join("another-target"),
                &dir.path().join("state/user-ca.pub"),
                "",
            )
        });
        let ports = [free_port(), free_port(), free_port()];
        let mut targets = vec![(TARGET, &sshd)];
        targets.extend(options.another_target.zip(another_sshd.as_ref()));
        let (child, ready) = launch(&dir, &targets, &options, ports);
        let steps = Mutex::default();
        let bastion = Self {
            ready,
            sshd,
            another_sshd,
            direct: OnceLock::new(),
            dir,
            account: current_user(),
            options,
            ports,
            child,
            steps,
            reused: Mutex::default(),
        };
        bastion.log_everybody_in();
        bastion
    }

    /// An ssh client of `login`, at the target, as one login name.
    #[must_use]
    pub fn ssh(&self, login: &str) -> Ssh<'_> {
        Ssh::new(
            self,
            login,
            Some(format!("{login}+{}+{TARGET}", self.account)),
        )
    }

    /// A server as the target's, without the bastion before it: what a test asks of the bastion it
    /// asks of this one first. Every operator's key opens it.
    pub fn direct(&self) -> &Sshd {
        self.direct.get_or_init(|| {
            let keys = self.dir.path().join("keys-of-operators");
            let each = self.ready.operators.iter().map(|operator| {
                let mut public = Command::new("ssh-keygen");
                public.arg("-yf").arg(&operator.key);
                run(public, b"", Duration::from_secs(20)).ok()
            });
            fs::write(&keys, each.collect::<String>()).unwrap();
            let dir = self.dir.path().join("direct");
            Sshd::start_direct(&dir, &keys, self.options.target_config)
        })
    }

    /// An ssh client of `login`, at the bastion itself.
    #[must_use]
    pub fn bare(&self, login: &str) -> Ssh<'_> {
        Ssh::new(self, login, None)
    }

    /// An ssh client of `login`, with this user name.
    #[must_use]
    pub fn ssh_as(&self, login: &str, user: &str) -> Ssh<'_> {
        Ssh::new(self, login, Some(user.to_owned()))
    }

    /// The login of the operator with this number.
    #[must_use]
    pub fn login(&self, number: usize) -> &str {
        &self.ready.operators[number].login
    }

    /// A connection of `login` to the target that further clients share.
    #[must_use]
    pub fn share(&self, login: &str) -> Shared {
        Shared::open(&self.ssh(login), self.dir.path())
    }

    /// What `login` holds.
    #[must_use]
    pub fn operator(&self, login: &str) -> &OperatorAccess {
        self.ready
            .operators
            .iter()
            .find(|o| o.login == login)
            .expect("an operator of the demo")
    }

    /// A code that was not used yet. Three steps are valid at any moment; when they are used up,
    /// waits for the next.
    #[must_use]
    pub fn fresh_code(&self, login: &str) -> String {
        self.fresh_code_for(login, Duration::from_secs(8))
    }

    /// One that is still valid after so long.
    #[must_use]
    pub fn fresh_code_for(&self, login: &str, valid: Duration) -> String {
        let secret = access::totp::from_base32(&self.operator(login).totp).unwrap();
        loop {
            let now = crate::time().seconds();
            let current = now / 30;
            let mut steps = self.steps.lock().unwrap();
            let last = steps.get(login).copied().unwrap_or(0);
            let first_valid = crate::time().plus(valid).seconds() / 30 - 1;
            let next = (last + 1).max(first_valid);
            if next <= current + 1 {
                steps.insert(login.to_owned(), next);
                let at = access::Time::from_micros(next * 30 * 1_000_000);
                return access::totp::code_at(&secret, at).unwrap();
            }
            drop(steps);
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Runs the binary's command line as it is given.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(binary()).args(arguments).output().unwrap()
    }

    /// Runs the binary's command line on this bastion's state, as an administrator would.
    #[must_use]
    pub fn admin(&self, arguments: &[&str]) -> Ran {
        // Others may be reading theirs.
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let config = self.dir.path().join(format!("admin-{number}.toml"));
        let text = format!(
            "state = '{}'\ndatabase = '{}'\n",
            self.state().display(),
            self.ready.database
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(&config);
        run(command, b"", Duration::from_secs(60))
    }

    /// Declares this, beside an administrator, as `bastion apply` reads it.
    #[must_use]
    pub fn apply(&self, declared: &str) -> Ran {
        let actor = self.rows(|store| async move { store.actors().await.unwrap().remove(0).id });
        let administrator = format!(
            "[operators.ada]\nname = 'Ada'\nemail = 'ada@host.example'\nactor = '{actor}'\n\
             roles = ['admin']\n"
        );
        let file = self.dir.path().join("declared.toml");
        fs::write(&file, format!("{administrator}{declared}")).unwrap();
        self.admin(&["apply", file.to_str().unwrap()])
    }

    /// What `apply` reads of an operator as he is declared, with these keys in place of his own
    /// where some are given, and `more`.
    #[must_use]
    pub fn declared(&self, login: &str, keys: Option<&[&str]>, more: &str) -> String {
        let id = OperatorId::parse(login).unwrap();
        let operator =
            self.rows(|store| async move { store.operator(&id).await.unwrap().unwrap() });
        let details = operator.details;
        let keys = match keys {
            Some(keys) => serde_json::to_string(keys).unwrap(),
            None => serde_json::to_string(&details.keys).unwrap(),
        };
        format!(
            "[operators.{login}]\nname = '''{}'''\nemail = '''{}'''\nactor = '''{}'''\nroles = {}\n\
             keys = {keys}\nlanguage = {}\n{more}\n",
            details.name,
            details.email,
            details.actor,
            serde_json::to_string(&details.roles).unwrap(),
            serde_json::to_string(&details.language).unwrap(),
        )
    }

    /// What a register holds, or a change to it as a page or another bastion would make it.
    pub fn rows<T, F: Future<Output = T>>(&self, ask: impl FnOnce(Store) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::open(&self.ready.database).await.unwrap();
            let answer = ask(store.clone()).await;
            store.close().await;
            answer
        })
    }

    /// The sessions of `login`, newest first.
    #[must_use]
    pub fn sessions(&self, login: &str) -> Vec<Session> {
        let filter = SessionFilter {
            operator: Some(OperatorId::parse(login).unwrap()),
            limit: 1000,
            ..SessionFilter::default()
        };
        self.rows(|store| async move { store.sessions(filter).await.unwrap() })
    }

    /// The session with this motive, once there is one.
    #[must_use]
    pub fn session(&self, motive: &str) -> Session {
        let mut found = None;
        eventually(
            &format!("the session `{motive}`"),
            Duration::from_secs(20),
            || {
                found = self.find_session(motive);
                found.is_some()
            },
        );
        found.unwrap()
    }

    /// The session with this motive, once it has ended.
    #[must_use]
    pub fn ended_session(&self, motive: &str) -> Session {
        let mut found = None;
        eventually(
            &format!("the end of session `{motive}`"),
            Duration::from_secs(20),
            || {
                found = self
                    .find_session(motive)
                    .filter(|session| session.state != SessionState::Live);
                found.is_some()
            },
        );
        found.unwrap()
    }

    /// The session with this motive, if there is one.
    #[must_use]
    pub fn find_session(&self, motive: &str) -> Option<Session> {
        let all = SessionFilter {
            limit: 1000,
            ..SessionFilter::default()
        };
        let sessions = self.rows(|store| async move { store.sessions(all).await.unwrap() });
        sessions
            .into_iter()
            .find(|session| session.motive == motive)
    }

    /// The journal of a session, opened as whoever may read it does.
    #[must_use]
    pub fn journal(&self, session: &Session) -> Vec<Value> {
        let text = fs::read_to_string(self.exported(session).file("journal.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One cast of a session, as a plain file.
    #[must_use]
    pub fn cast(&self, session: &Session, channel: u32) -> String {
        let name = format!("channel-{channel}.cast");
        fs::read_to_string(self.exported(session).file(&name)).unwrap()
    }

    /// A directory with the journal and the casts of a session, opened.
    #[must_use]
    pub fn exported(&self, session: &Session) -> Exported {
        let directory = tempfile::tempdir_in(self.dir.path()).unwrap();
        let path = directory.path().join("opened");
        let arguments = [
            "recording",
            "export",
            session.id.as_str(),
            "-o",
            path.to_str().unwrap(),
            "--purpose",
            "looked at by a test",
        ];
        let _ = self.admin(&arguments).ok();
        Exported { directory }
    }

    /// What the bastion has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("bastion.log")).unwrap_or_default()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.ready.state
    }

    /// Resident memory of the bastion, KiB.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.ready.pid)).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Its open sockets. Its connections to the database are files, and its pool's to keep.
    #[must_use]
    pub fn sockets(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.ready.pid))
            .unwrap()
            .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
            .filter(|open| open.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// kill -9: nothing is closed, nothing is written.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again with one operator more, whom no intervention names.
    pub fn restart_with_one_more_operator(&mut self) {
        self.stop();
        self.options.operators += 1;
        self.restart();
    }

    /// SIGTERM, and waits for the clean end.
    pub fn stop(&mut self) {
        self.stop_within(Duration::from_secs(20));
    }

    /// The same, where it may take longer.
    pub fn stop_within(&mut self, at_most: Duration) {
        signal(self.child.id(), "TERM");
        eventually("the bastion stops", at_most, || {
            self.child.try_wait().unwrap().is_some()
        });
    }

    /// Starts it again on the same state.
    pub fn restart(&mut self) {
        // What was open before is open still.
        self.options.open_intervention = false;
        let mut targets = vec![(TARGET, &self.sshd)];
        let another = self.options.another_target.zip(self.another_sshd.as_ref());
        targets.extend(another);
        let (child, ready) = launch(&self.dir, &targets, &self.options, self.ports);
        self.child = child;
        self.ready = ready;
        self.log_everybody_in();
    }

    /// The audit log, one JSON value an entry. Read without `audit export`, which is an entry too.
    #[must_use]
    pub fn entries(&self) -> Vec<Value> {
        let entries = self.rows(|store| async move { store.entries(0, 1_000_000).await.unwrap() });
        let texts = entries
            .iter()
            .map(|entry| serde_json::from_str(&entry.text));
        texts.map(Result::unwrap).collect()
    }

    /// The entries with this event name.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.entries()
            .into_iter()
            .filter(|entry| entry["event"] == name)
            .collect()
    }

    /// A second bastion on the same database and the same keys: `serve ssh`, as on another machine.
    #[must_use]
    pub fn another(&self) -> Another {
        self.another_with("")
    }

    /// The same with these further lines in its section `[ssh]`.
    #[must_use]
    pub fn another_with(&self, ssh: &str) -> Another {
        let port = free_port();
        let config = self.dir.path().join(format!("another-{port}.toml"));
        let text = format!(
            "state = '{}'\ndatabase = '{}'\n[ssh]\nlisten = '127.0.0.1:{port}'\n{ssh}",
            self.state().display(),
            self.ready.database
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(config.with_extension("log")).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .arg(binary())
            .args(["serve", "ssh", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = keeper::spawn(command).unwrap();
        eventually("another bastion listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let address = format!("127.0.0.1:{port}");
        Another { address, child }
    }

    pub(crate) fn needs_no_code(&self, login: &str, source: &str) -> bool {
        source == LOCALHOST
            && self
                .reused
                .lock()
                .unwrap()
                .iter()
                .any(|known| known == login)
    }

    fn log_everybody_in(&self) {
        self.reused.lock().unwrap().clear();
        if self.options.reuse_second_factor.is_none() {
            return;
        }
        for operator in &self.ready.operators {
            let _ = self.bare(&operator.login).run("whoami").ok();
            self.reused.lock().unwrap().push(operator.login.clone());
        }
    }
}

/// A second bastion beside the first; stopped when dropped.
pub struct Another {
    /// Where operators reach it.
    pub address: String,
    child: Child,
}

impl Drop for Another {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The plain files of one recording; gone when dropped.
pub struct Exported {
    directory: TempDir,
}

impl Exported {
    /// `journal.jsonl` or `channel-N.cast`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("opened").join(name)
    }
}

impl Drop for Bastion {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the bastion's log ---\n{}", self.log());
        }
    }
}

/// The binary under test, built by `tests/run` before the tests.
#[must_use]
pub fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("BASTION_BIN") {
        return PathBuf::from(path);
    }
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("bastion");
    assert!(
        path.exists(),
        "`{}` is missing: `cargo build --release --bin bastion` first, or run tests/run",
        path.display()
    );
    path
}

/// Sends a signal.
pub fn signal(pid: u32, name: &str) {
    Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
}

fn launch(
    dir: &TempDir,
    targets: &[(&str, &Sshd)],
    options: &Options,
    ports: [u16; 3],
) -> (Child, Ready) {
    let state = dir.path().join("state");
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.path().join("bastion.log"))
        .unwrap();
    let [ssh, customer, host] = ports;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        .arg(binary())
        .args(["demo", "--headless", "--state"])
        .arg(&state)
        .args(["--ssh", &format!("127.0.0.1:{ssh}")])
        .args(["--customer-web", &format!("127.0.0.1:{customer}")])
        .args(["--host-web", &format!("127.0.0.1:{host}")])
        .args(["--operators", &options.operators.to_string()]);
    for (name, sshd) in targets {
        command.arg("--target").arg(format!(
            "{name}={}@127.0.0.1:{}={}",
            current_user(),
            sshd.port,
            sshd.host_key.display()
        ));
    }
    if options.open_intervention {
        command.arg("--open-intervention");
    }
    if let Some(window) = options.reuse_second_factor {
        command.args(["--reuse-second-factor", window]);
    }
    if let Some(database) = &options.database {
        command.args(["--database", database]);
    }
    command
        .args(&options.more)
        .envs(options.environment.iter().cloned())
        .env(
            "BASTION_LOG",
            std::env::var("BASTION_LOG").unwrap_or_else(|_| "info".to_owned()),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = keeper::spawn(command).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    match serde_json::from_str(&line) {
        Ok(ready) => (child, ready),
        Err(error) => {
            let log = fs::read_to_string(dir.path().join("bastion.log")).unwrap_or_default();
            panic!("the bastion did not get ready ({error}): {line:?}\n{log}");
        }
    }
}
