//! The main job, played from the first refusal to the verified evidence: the system's own `ssh`,
//! the real pages, a passkey in a file. Every step says what happened; the first that does not go
//! as it must ends the story.

use super::{
    ACCOUNT, Running, TARGET, approve, example, in_thread, open_intervention, operator_id, visitor,
};
use crate::config::Config;
use crate::{clock, output as say};
use access::grant::Operation;
use access::session::SessionState;
use access::{InterventionId, OperatorId, Session, SessionId, Time, totp};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use store::{GrantFilter, SessionFilter};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// The longest any single step may take.
const PATIENCE: Duration = Duration::from_secs(100);
const HELLO: &str = "hello-42";

/// Plays everything that needs the bastion running.
pub(super) async fn play(running: &Running) -> Result<()> {
    let mut story = Story::new(running)?;
    let (alice, bob) = (operator_id(0)?, operator_id(1)?);

    step("ssh with the key alone", story.key_alone(&alice)).await?;
    step(
        "ssh with both factors, no intervention",
        story.no_intervention(&alice),
    )
    .await?;
    let id = step("alice asks for an intervention", story.request(&alice)).await?;
    step(
        "the contact reads it and approves with a passkey",
        story.approved(&id),
    )
    .await?;
    step("bob, whom it does not name", story.not_named(&bob)).await?;
    let master = step("ssh again, exec: in", story.exec(&alice)).await?;
    let shell = step("an interactive shell beside it: in", story.shell(&alice)).await?;
    let session = step(
        "the window ends: the session is cut",
        story.cut(&alice, shell, master),
    )
    .await?;
    step(
        "security replays what was on the screen",
        story.replay(&session),
    )
    .await?;
    step(
        "a second intervention is approved",
        story.second_intervention(),
    )
    .await?;
    step(
        "the review of alice's right falls due: refused",
        story.review_due(&alice),
    )
    .await?;
    step(
        "the manager's review keeps the right: in again",
        story.reviewed(&alice),
    )
    .await?;
    Ok(())
}

/// Checks the evidence once the bastion has stopped, with the commands an auditor would type.
pub(super) async fn verify(asked: &super::DemoArgs) -> Result<ExitCode> {
    let config = super::configuration(asked)?;
    let evidence = Evidence { config };
    step("recording verify", evidence.recordings()).await?;
    step("audit verify", evidence.audit()).await?;
    step(
        "one byte of a recording flipped: named",
        evidence.flipped_recording(),
    )
    .await?;
    step(
        "one byte of the audit log flipped: named",
        evidence.flipped_audit(),
    )
    .await?;
    say::line(format_args!(
        "\nThe evidence is in {}",
        evidence.config.state.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs one step and says what came of it.
async fn step<T: Told>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let started = clock::monotonic();
    let done = tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| bail!("not done in {PATIENCE:?}"));
    let milliseconds = (clock::monotonic() - started) / 1000;
    let (seconds, hundredths) = (milliseconds / 1000, milliseconds % 1000 / 10);
    match done {
        Ok(done) => {
            say::line(format_args!("✓ {name}  {seconds}.{hundredths:02} s"))?;
            for line in done.told().lines() {
                say::line(format_args!("    {line}"))?;
            }
            Ok(done)
        }
        Err(error) => {
            say::line(format_args!("✗ {name}  {seconds}.{hundredths:02} s"))?;
            Err(error.context(format!("the story stopped at: {name}")))
        }
    }
}

/// What a step has to show.
trait Told {
    fn told(&self) -> String;
}

impl Told for String {
    fn told(&self) -> String {
        self.clone()
    }
}

impl Told for InterventionId {
    fn told(&self) -> String {
        self.to_string()
    }
}

impl Told for SessionId {
    fn told(&self) -> String {
        format!("session {self}")
    }
}

/// A client left running, and what it said so far.
struct Client {
    child: Child,
    said: String,
}

impl Told for Client {
    fn told(&self) -> String {
        self.said.clone()
    }
}

/// What a finished client said.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Checks that it was refused with this code, and gives the bastion's own words.
    fn refused_with(&self, code: &str) -> Result<String> {
        let words: Vec<&str> = self
            .stderr
            .lines()
            .skip_while(|line| !line.starts_with("Refused"))
            .take_while(|line| line.starts_with("Refused") || line.starts_with("Next"))
            .collect();
        let words = words.join("\n");
        ensure!(
            self.status != Some(0)
                && self.stdout.is_empty()
                && words.contains(&format!("Refused ({code})")),
            "not refused with `{code}`: {self}"
        );
        ensure!(words.contains("Next: "), "no next step: {self}");
        Ok(words)
    }
}

impl Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "status {:?}, stdout {:?}, stderr {:?}",
            self.status, self.stdout, self.stderr
        )
    }
}

struct Story<'a> {
    running: &'a Running,
    askpass: PathBuf,
    /// The last code step used, by login.
    steps: HashMap<OperatorId, i64>,
}

impl<'a> Story<'a> {
    fn new(running: &'a Running) -> Result<Self> {
        let askpass = example::folder(&running.config.state).join("askpass");
        if !askpass.exists() {
            crate::secrets::create(
                &askpass,
                b"#!/bin/sh\nprintf '%s\\n' \"$DEMO_CODE\"\n",
                0o700,
            )?;
        }
        Ok(Self {
            running,
            askpass,
            steps: HashMap::new(),
        })
    }

    async fn key_alone(&self, who: &OperatorId) -> Result<String> {
        let mut ssh = self.ssh(who, &destination(who), None);
        let ran = finish(ssh.arg("true"), "").await?;
        ensure!(
            ran.status == Some(255) && ran.stderr.contains("Permission denied"),
            "{ran}"
        );
        ensure!(self.sessions(who).await?.is_empty(), "a session was opened");
        Ok(ran.stderr.lines().last().unwrap_or_default().to_owned())
    }

    async fn no_intervention(&mut self, who: &OperatorId) -> Result<String> {
        let code = self.fresh_code(who).await?;
        finish(self.ssh(who, &destination(who), Some(code)).arg("true"), "")
            .await?
            .refused_with("intervention_missing")
    }

    async fn request(&mut self, who: &OperatorId) -> Result<InterventionId> {
        let code = self.fresh_code(who).await?;
        let command = format!(
            "request {TARGET} --purpose 'Vérifier la sauvegarde de cette nuit' --impact aucun \
             --rollback 'rien à défaire' --minutes 1 --json"
        );
        let ran = finish(self.ssh(who, who.as_str(), Some(code)).arg(command), "").await?;
        ensure!(ran.status == Some(0), "{ran}");
        let asked: Value =
            serde_json::from_str(ran.stdout.trim()).with_context(|| ran.to_string())?;
        ensure!(
            asked.get("state").and_then(Value::as_str) == Some("submitted"),
            "{asked}"
        );
        Ok(InterventionId::parse(
            asked
                .get("number")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )?)
    }

    async fn approved(&self, id: &InterventionId) -> Result<String> {
        approve(&self.running.config, id).await?;
        let approved = self
            .running
            .store
            .intervention(id)
            .await?
            .context("it is gone")?;
        let approval = approved.approvals.last().context("no approval was kept")?;
        Ok(format!(
            "{} signed {}",
            approval.approver,
            access::audit::hex(&approval.statement.challenge())
        ))
    }

    async fn not_named(&mut self, who: &OperatorId) -> Result<String> {
        let code = self.fresh_code(who).await?;
        let ran = finish(self.ssh(who, &destination(who), Some(code)).arg("true"), "").await?;
        ran.refused_with("operator_not_in_intervention")
    }

    /// Opens a shared connection, which asks for the second factor once, and runs a command.
    async fn exec(&mut self, who: &OperatorId) -> Result<Client> {
        let code = self.fresh_code(who).await?;
        let mut master = self.ssh(who, &destination(who), Some(code));
        master.args(["-M", "-N", "-S"]).arg(socket());
        master
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = master
            .kill_on_drop(true)
            .spawn()
            .context("cannot run ssh")?;
        while !socket().exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut ssh = self.shared(who);
        let ran = finish(ssh.arg("echo out; echo err >&2; exit 3"), "").await?;
        ensure!(
            ran.status == Some(3) && ran.stdout == "out\n" && ran.stderr.contains("err\n"),
            "{ran}"
        );
        Ok(Client {
            child,
            said: "stdout, stderr and exit status 3 arrived".to_owned(),
        })
    }

    async fn shell(&self, who: &OperatorId) -> Result<Client> {
        let mut ssh = self.shared(who);
        let mut child = ssh
            .arg("-tt")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run ssh")?;
        let input = child.stdin.as_mut().context("no input")?;
        input
            .write_all(b"echo hello-$((20 + 22))\n")
            .await
            .context("the shell takes no input")?;
        let mut said = String::new();
        let output = child.stdout.as_mut().context("no output")?;
        while !said.contains(HELLO) {
            use tokio::io::AsyncReadExt as _;
            let mut piece = [0; 1024];
            let read = output
                .read(&mut piece)
                .await
                .context("the shell says nothing")?;
            ensure!(read > 0, "the shell ended: {said}");
            said.push_str(&String::from_utf8_lossy(
                piece.get(..read).unwrap_or_default(),
            ));
        }
        Ok(Client {
            child,
            said: format!("the shell answered {HELLO}"),
        })
    }

    async fn cut(&self, who: &OperatorId, shell: Client, mut master: Client) -> Result<SessionId> {
        let output = shell
            .child
            .wait_with_output()
            .await
            .context("the shell's client")?;
        let now = clock::now();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        ensure!(
            said.contains("the time of this session ended"),
            "no word about the end: {said}"
        );
        ensure!(
            output.status.code() == Some(255),
            "exit status {:?}",
            output.status.code()
        );
        master.child.wait().await.context("the shared connection")?;
        let session = self.ended(who).await?;
        let late = now.since(session.ends_at);
        ensure!(
            now >= session.ends_at && late < Duration::from_secs(5),
            "cut {late:?} after {}",
            session.ends_at
        );
        Ok(session.id)
    }

    async fn replay(&self, session: &SessionId) -> Result<String> {
        let (security, id) = (
            visitor(&self.running.config, example::SECURITY)?,
            session.clone(),
        );
        in_thread(move || {
            security.sign_in()?;
            security.freshen()?;
            let purpose = "Vérification par sondage de la semaine";
            let place =
                security.post_form(&format!("/sessions/{id}/replay"), &[("purpose", purpose)])?;
            security.get(&place)?;
            for channel in 0..8 {
                let Ok(cast) = security.get(&format!("{place}/channel-{channel}.cast")) else {
                    continue;
                };
                if cast.contains(HELLO) {
                    return Ok(format!(
                        "channel {channel}: {} lines of asciicast",
                        cast.lines().count()
                    ));
                }
            }
            bail!("no cast shows `{HELLO}`");
        })
        .await
    }

    async fn second_intervention(&self) -> Result<InterventionId> {
        open_intervention(
            self.running,
            Duration::from_mins(10),
            (
                BTreeSet::from([Operation::Shell, Operation::Exec]),
                BTreeSet::new(),
            ),
        )
        .await
    }

    async fn review_due(&mut self, who: &OperatorId) -> Result<String> {
        let store = &self.running.store;
        for grant in store.grants(grants_of(who)).await? {
            let now = clock::now();
            store
                .save(grant.call_for_review(now, example::by(), now)?)
                .await?;
        }
        let code = self.fresh_code(who).await?;
        let ran = finish(self.ssh(who, &destination(who), Some(code)).arg("true"), "").await?;
        ran.refused_with("grant_review_overdue")
    }

    async fn reviewed(&mut self, who: &OperatorId) -> Result<String> {
        for grant in self.running.store.grants(grants_of(who)).await? {
            let (manager, id) = (
                visitor(&self.running.config, example::MANAGER)?,
                grant.id.clone(),
            );
            in_thread(move || {
                manager.sign_in()?;
                manager.freshen()?;
                let review = [
                    ("decision", "keep"),
                    ("nominative", "yes"),
                    ("justified", "yes"),
                    ("necessary", "yes"),
                    ("comment", "Toujours nécessaire : contrat en cours"),
                ];
                manager.post_form(&format!("/grants/{id}/review"), &review)
            })
            .await?;
        }
        let code = self.fresh_code(who).await?;
        let ran = finish(
            self.ssh(who, &destination(who), Some(code)).arg("echo in"),
            "",
        )
        .await?;
        ensure!(ran.status == Some(0) && ran.stdout == "in\n", "{ran}");
        Ok("kept, with three attestations".to_owned())
    }

    /// The system's `ssh` with nothing of this machine's configuration.
    fn ssh(&self, who: &OperatorId, user: &str, code: Option<String>) -> Command {
        let state = &self.running.config.state;
        let known_hosts = example::folder(state).join("known_hosts");
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "StrictHostKeyChecking=accept-new",
        ])
        .args(["-o", "LogLevel=INFO", "-o", "NumberOfPasswordPrompts=1"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .arg("-i")
        .arg(example::key_file(state, who.as_str()))
        .args(["-p", &self.running.ssh.port().to_string(), "-l", user])
        .env_remove("SSH_AUTH_SOCK");
        match code {
            Some(code) => ssh
                .env("SSH_ASKPASS", &self.askpass)
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env("DEMO_CODE", code),
            None => ssh.args(["-o", "BatchMode=yes"]),
        };
        ssh.arg(self.running.ssh.ip().to_string());
        ssh
    }

    /// One more channel on the shared connection.
    fn shared(&self, who: &OperatorId) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-S"])
            .arg(socket())
            .args(["-l", &destination(who)])
            .arg(self.running.ssh.ip().to_string());
        ssh
    }

    /// A code that was not used yet: three steps are good at any moment, each once.
    async fn fresh_code(&mut self, who: &OperatorId) -> Result<String> {
        let secret = super::code_secret(&self.running.config.state, who.as_str())?;
        loop {
            let current = clock::now().seconds() / 30;
            let last = self.steps.get(who).copied().unwrap_or(0);
            let next = (last + 1).max(current - 1);
            if next <= current + 1 {
                self.steps.insert(who.clone(), next);
                return Ok(totp::code_at(
                    &secret,
                    Time::from_micros(next * 30_000_000),
                )?);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn sessions(&self, who: &OperatorId) -> Result<Vec<Session>> {
        let filter = SessionFilter {
            operator: Some(who.clone()),
            limit: 10,
            ..SessionFilter::default()
        };
        Ok(self.running.store.sessions(filter).await?)
    }

    /// The latest session, once its row says that it has ended.
    async fn ended(&self, who: &OperatorId) -> Result<Session> {
        loop {
            let session = self
                .sessions(who)
                .await?
                .into_iter()
                .next()
                .context("no session")?;
            if let SessionState::Ended { .. } = session.state {
                return Ok(session);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Not in the state: a socket's path is short.
fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("bastion-story-{}", std::process::id()))
}

fn destination(who: &OperatorId) -> String {
    format!("{who}+{ACCOUNT}+{TARGET}")
}

fn grants_of(who: &OperatorId) -> GrantFilter {
    GrantFilter {
        operator: Some(who.clone()),
        limit: 10,
        ..GrantFilter::default()
    }
}

async fn finish(command: &mut Command, input: &str) -> Result<Ran> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run ssh: is an SSH client installed?")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A client that ends before it reads all is looked at below.
        stdin.write_all(input.as_bytes()).await.ok();
    }
    let output = child.wait_with_output().await.context("the client")?;
    Ok(Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What is left when the bastion has stopped.
struct Evidence {
    config: Config,
}

impl Evidence {
    async fn recordings(&self) -> Result<String> {
        let ran = bastion(&["recording", "verify"], &self.config.state).await?;
        ensure!(ran.status == Some(0), "{ran}");
        Ok(last_line(&ran.stdout))
    }

    async fn audit(&self) -> Result<String> {
        let ran = bastion(&["audit", "verify"], &self.config.state).await?;
        ensure!(ran.status == Some(0), "{ran}");
        Ok(last_line(&ran.stdout))
    }

    async fn flipped_recording(&self) -> Result<String> {
        let copy = self.copy("flipped-recording")?;
        let journal = std::fs::read_dir(copy.join("recordings"))?
            .filter_map(Result::ok)
            .map(|session| session.path().join("journal.sealed"))
            .find(|journal| journal.exists())
            .context("no journal to flip a byte of")?;
        let mut bytes = std::fs::read(&journal)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        std::fs::write(&journal, bytes)?;
        let ran = bastion(&["recording", "verify"], &copy).await?;
        named(&ran, "journal")
    }

    async fn flipped_audit(&self) -> Result<String> {
        let copy = self.copy("flipped-audit")?;
        let database = copy.join("bastion.db");
        let mut bytes = std::fs::read(&database)?;
        let (what, other) = (
            b"\"event\":\"session.opened\"".as_slice(),
            b"\"event\":\"session.opfned\"",
        );
        let at = bytes.windows(what.len()).position(|window| window == what);
        let at = at.context("no entry to flip a byte of")?;
        if let Some(place) = bytes.get_mut(at..at + what.len()) {
            place.copy_from_slice(other);
        }
        std::fs::write(&database, bytes)?;
        let ran = bastion(&["audit", "verify"], &copy).await?;
        named(&ran, "entry")
    }

    /// The evidence without one private key, as an auditor would be given it.
    fn copy(&self, name: &str) -> Result<PathBuf> {
        let (state, copy) = (&self.config.state, self.config.state.join(name));
        copy_tree(&self.config.recordings_path(), &copy.join("recordings"))?;
        std::fs::copy(state.join("bastion.db"), copy.join("bastion.db"))
            .context("cannot copy the database")?;
        std::fs::create_dir_all(copy.join("keys"))?;
        for key in ["audit.pub", "manifest.pub"] {
            std::fs::copy(state.join("keys").join(key), copy.join("keys").join(key))
                .context(key)?;
        }
        Ok(copy)
    }
}

/// The binary itself, as somebody would type it.
async fn bastion(arguments: &[&str], state: &Path) -> Result<Ran> {
    let mut command = Command::new(std::env::current_exe().context("where the binary is")?);
    command.args(arguments).arg("--state").arg(state);
    finish(&mut command, "").await
}

/// The line that says what is wrong.
fn named(ran: &Ran, what: &str) -> Result<String> {
    ensure!(ran.status == Some(1), "not noticed: {ran}");
    let wrong = ran
        .stdout
        .lines()
        .chain(ran.stderr.lines())
        .find(|line| line.contains(what) && !line.trim_start().starts_with("ok"));
    Ok(wrong
        .with_context(|| format!("not named: {ran}"))?
        .trim()
        .to_owned())
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
