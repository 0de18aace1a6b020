//! The library's callbacks: the only file that names `russh::server`.
//!
//! They run inside the connection's own task, so none of them waits for a target, a recorder or a
//! person once somebody is logged in: they answer, or hand over to a task.
//!
//! INVARIANT: the order of authentication. The key's signature is proven before a second factor
//! is asked and before anything is read or written about a person.

use super::certificate::{self, NotTaken};
use super::connection::{ChannelPlace, Connection, HalfWay};
use super::key_strength;
use super::login::{Destination, Login, Wanted};
use super::second_factor::{Answer, Challenge, Factored};
use super::session::{self, NotOpened, Proven, Run, Start, Terminal, Wish};
use super::traces::Trace;
use super::{Front, Reusable, ReuseKey, menu};
use super::{command, forward, jump};
use crate::clock;
use access::credentials::Certified;
use access::request::{Request, Stage, Verdict, verdict};
use access::session::FactorUse;
use access::{Credentials, Event, FactorId, Operator, Permit, Who};
use russh::keys::{Certificate, HashAlg};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Pty};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// What the rest of the SSH side calls the operator's channel.
pub(crate) type OperatorChannel = Channel<Msg>;
/// What the rest of the SSH side calls the operator's connection.
pub(crate) type OperatorHandle = Handle;

/// Exit status of what the bastion itself refuses: what `ssh` says of its own failures.
pub(crate) const REFUSED: u32 = 255;
/// Questions of the second factor on one connection.
const MOST_QUESTIONS: u32 = 3;

/// How far a connection has come.
enum Stand {
    Unknown,
    /// The key was proven for this user name.
    Key {
        user: String,
        login: Login,
        key: ProvenKey,
        challenge: Challenge,
    },
    In {
        login: Login,
    },
}

/// The key whose signature was checked, as it is noted.
#[derive(Clone)]
struct ProvenKey {
    key: String,
    certified: Option<Certified>,
}

impl ProvenKey {
    /// The fingerprint of what signed, also where an authority stands for it.
    fn itself(&self) -> &str {
        self.certified.as_ref().map_or(&self.key, |one| &one.key)
    }
}

/// A channel that has not said yet what it wants, or has.
enum Opened {
    Fresh {
        channel: OperatorChannel,
        terminal: Option<Terminal>,
        env: Vec<(String, String)>,
    },
    Started,
}

/// The callbacks of one connection.
pub(crate) struct Handler {
    connection: Arc<Connection>,
    /// The target that a connection within another one goes to. Whoever is there is in already.
    through_to: Option<String>,
    stand: Stand,
    /// Questions of the second factor, over all keys that were proven meanwhile.
    asked: u32,
    channels: HashMap<ChannelId, Opened>,
}

impl Handler {
    /// Of a connection whose person has yet to prove who he is.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            through_to: None,
            stand: Stand::Unknown,
            asked: 0,
            channels: HashMap::new(),
        }
    }

    /// Of a connection to `target` within another one, where that was proven.
    pub(crate) fn through(connection: Arc<Connection>, target: String) -> Self {
        Self {
            through_to: Some(target),
            ..Self::new(connection)
        }
    }

    /// Takes the person of the outer connection, under the name of an account on the target.
    fn inside(&mut self, user: &str) -> Option<Auth> {
        let target = self.through_to.as_ref()?;
        let proven = self.connection.proven.get()?;
        let login = Login::through(&proven.operator, target, user).ok()?;
        self.stand = Stand::In { login };
        self.connection.logged_in.notify_one();
        Some(Auth::Accept)
    }

    fn front(&self) -> &Front {
        &self.connection.front
    }

    fn stage(&self, channel: ChannelId) -> Stage {
        match self.channels.get(&channel) {
            Some(Opened::Fresh { .. }) => Stage::Fresh,
            Some(Opened::Started) | None => Stage::Started,
        }
    }

    /// Traces a refusal without holding the connection up.
    fn refuse(&self, request: &'static str, code: &'static str, sentence: &'static str) {
        debug!(request, code, "refused");
        let connection = Arc::clone(&self.connection);
        tokio::spawn(async move { connection.trace_refused(request, code, sentence).await });
    }

    /// Lets the person in. Nobody is in before the audit log says so.
    async fn let_in(&mut self, login: Login, proven: Proven) -> Auth {
        if self.front().traces.is_stuck(clock::monotonic()) {
            warn!("a login was refused: the audit log cannot be written");
            return Auth::reject();
        }
        let event = Event::new(
            "login.succeeded",
            Who::Operator(proven.operator.clone()),
            format!("operator {}", proven.operator),
            clock::now(),
        )
        .with("source", proven.source)
        .with("second_factor_reused", proven.factor == FactorUse::Reused)
        .with("wanted", login.wanted.shown());
        let event = proven.credentials.named_in(event);
        if let Err(error) = self.front().store.append(event).await {
            warn!(%error, "a login could not be written to the audit log");
            return Auth::reject();
        }
        let operator = proven.operator.clone();
        if self.connection.proven.set(proven).is_err() {
            return Auth::reject();
        }
        self.connection.is_settled(&operator);
        self.stand = Stand::In { login };
        self.connection.logged_in.notify_one();
        Auth::Accept
    }

    /// Whether a factor that was proven a while ago still counts.
    async fn is_in_use(&self, id: &FactorId) -> bool {
        match self.front().store.factor(id).await {
            Ok(factor) => factor.is_some_and(|factor| factor.revoked_at.is_none()),
            Err(error) => {
                warn!(%error, "a second factor could not be read");
                false
            }
        }
    }

    async fn key_proven(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Option<Auth> {
        let login = Login::parse(user).ok()?;
        key_strength::is_strong(key.public_key, key.algorithm).ok()?;
        let operator = self.operator(&login).await?;
        let key = ProvenKey {
            key: key.public_key.fingerprint(HashAlg::Sha256).to_string(),
            certified: None,
        };
        if !operator.holds(&key.key) {
            return None;
        }
        self.key_stands(user, login, key).await
    }

    async fn certificate_proven(&mut self, user: &str, shown: &Certificate) -> Option<Auth> {
        let login = Login::parse(user).ok()?;
        let (connection, source) = (Arc::clone(&self.connection), self.connection.source);
        let front = &connection.front;
        let operator = self.operator(&login).await?;
        match certificate::of_our_own(front, &login, shown, source).await {
            Some(Ok(proven)) => return Some(self.let_in(login, proven).await),
            Some(Err(why)) => {
                self.trace_not_taken(&login, shown, &why).await;
                return None;
            }
            None => {}
        }
        match certificate::as_key(&operator, &login, shown, source) {
            Ok((key, certified)) => {
                let key = ProvenKey {
                    key,
                    certified: Some(certified),
                };
                self.key_stands(user, login, key).await
            }
            Err(why) => {
                debug!(%why, "a certificate was not taken");
                None
            }
        }
    }

    /// A certificate that the bastion signed and that is good for nothing may be a stolen one.
    async fn trace_not_taken(&self, login: &Login, shown: &Certificate, why: &NotTaken) {
        let event = Event::new(
            "login.refused",
            Who::Operator(login.operator.clone()),
            format!("operator {}", login.operator),
            clock::now(),
        )
        .with("reason", "certificate_not_taken")
        .with("because", why.to_string())
        .with("certificate", shown.key_id())
        .with("source", self.connection.source);
        let event = match why.code {
            Some(code) => event.with("codes", [code]),
            None => event,
        };
        self.front().traces.enter(Trace::Entry(event)).await;
    }

    /// Who is registered under that login, unless nobody can be let in now.
    async fn operator(&self, login: &Login) -> Option<Operator> {
        if self.front().traces.is_stuck(clock::monotonic()) {
            warn!("a login was refused: the audit log cannot be written");
            return None;
        }
        match self.front().store.operator(&login.operator).await {
            Ok(operator) => operator,
            Err(error) => {
                warn!(%error, "an operator could not be read");
                None
            }
        }
    }

    /// The first factor is there: whoever gave the second one lately is in, and others are asked.
    async fn key_stands(&mut self, user: &str, login: Login, key: ProvenKey) -> Option<Auth> {
        let source = self.connection.source;
        let reuse = ReuseKey {
            operator: login.operator.clone(),
            key_fingerprint: key.itself().to_owned(),
            source,
        };
        let now = clock::now();
        if let Some(reused) = self.front().reuse.proven(&reuse, now)
            && self.is_in_use(&reused.factored.factor).await
        {
            let proven = Proven {
                operator: login.operator.clone(),
                credentials: credentials(key, reused.factored),
                factor: FactorUse::Reused,
                source,
                at: reused.proven_at,
            };
            return Some(self.let_in(login, proven).await);
        }
        let challenge = Challenge::new(login.operator.clone(), source, login.wanted.shown());
        let half_way = HalfWay {
            operator: login.operator.clone(),
            key: key.itself().to_owned(),
        };
        self.stand = Stand::Key {
            user: user.to_owned(),
            login,
            key,
            challenge,
        };
        self.connection.is_half_way(half_way);
        Some(Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(&[MethodKind::KeyboardInteractive][..])),
            partial_success: true,
        })
    }

    async fn ask(&mut self) -> Auth {
        let connection = Arc::clone(&self.connection);
        let Stand::Key { challenge, .. } = &mut self.stand else {
            return Auth::reject();
        };
        self.asked += 1;
        if self.asked > MOST_QUESTIONS {
            return Auth::reject();
        }
        match challenge.prompt(&connection.front).await {
            Some(prompt) => Auth::Partial {
                name: Cow::Borrowed(""),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Owned(vec![(Cow::Owned(prompt), false)]),
            },
            None => Auth::reject(),
        }
    }

    async fn answered(&mut self, typed: &str) -> Auth {
        let connection = Arc::clone(&self.connection);
        let Stand::Key {
            login,
            key,
            challenge,
            ..
        } = &mut self.stand
        else {
            return Auth::reject();
        };
        let factored = match challenge.answer(&connection.front, typed).await {
            Answer::Proven(factored) => factored,
            Answer::AskAgain => return self.ask().await,
            Answer::Failed => {
                connection.is_settled(&login.operator);
                return Auth::reject();
            }
            Answer::Unheard => return Auth::reject(),
        };
        let (login, key) = (login.clone(), key.clone());
        let (source, proven_at) = (connection.source, session::proven_now());
        let window = Duration::from_secs(connection.front.config.ssh.reuse_second_factor_s);
        if !window.is_zero() {
            let reuse = ReuseKey {
                operator: login.operator.clone(),
                key_fingerprint: key.itself().to_owned(),
                source,
            };
            let now = clock::now();
            let proven = Reusable {
                factored: factored.clone(),
                proven_at,
            };
            connection
                .front
                .reuse
                .remember(reuse, proven, now.plus(window), now);
        }
        let proven = Proven {
            operator: login.operator.clone(),
            credentials: credentials(key, factored),
            factor: FactorUse::Fresh,
            source,
            at: proven_at,
        };
        self.let_in(login, proven).await
    }

    /// Starts what the channel asks for in a task of its own.
    fn start(&mut self, channel: ChannelId, run: Run, session: &mut Session) {
        let Some(Opened::Fresh {
            channel,
            terminal,
            env,
        }) = self.channels.insert(channel, Opened::Started)
        else {
            return;
        };
        let Stand::In { login } = &self.stand else {
            return;
        };
        let start = Start {
            channel,
            handle: session.handle(),
            terminal,
            env,
            run,
            typed_ahead: Vec::new(),
        };
        let (connection, wanted) = (Arc::clone(&self.connection), login.wanted.clone());
        tokio::spawn(async move { run_channel(connection, wanted, start).await });
    }
}

/// One channel from its request to its close.
async fn run_channel(connection: Arc<Connection>, wanted: Wanted, start: Start) {
    let Some(proven) = connection.proven.get() else {
        return;
    };
    let front = &connection.front;
    let destination = match wanted {
        Wanted::Target(destination) => destination,
        Wanted::Bastion => {
            let chosen = Box::pin(menu::run(&connection, proven, start)).await;
            if let Some((start, destination)) = chosen {
                Box::pin(run_channel(
                    Arc::clone(&connection),
                    Wanted::Target(destination),
                    start,
                ))
                .await;
            }
            return;
        }
    };
    let (wish, motive) = (Wish::any(start.run.operations()), motive(&start));
    let opened = Box::pin(connection.session_to(proven, &destination, &wish, &motive));
    let Some(opened) = opened.await else {
        return;
    };
    match opened {
        Ok(live) => live.run_channel(front, start).await,
        Err(NotOpened::Several(permits)) if start.terminal.is_some() => {
            if let Some((start, chosen)) = Box::pin(menu::choose(start, &permits)).await {
                let wanted = Wanted::Target(Destination {
                    intervention: Some(chosen),
                    ..destination
                });
                Box::pin(run_channel(Arc::clone(&connection), wanted, start)).await;
            }
        }
        Err(not_opened) => {
            session::say_and_close(start, &refusal(front, proven, &destination, &not_opened)).await;
        }
    }
}

fn credentials(key: ProvenKey, factored: Factored) -> Credentials {
    Credentials {
        key: key.key,
        certified: key.certified,
        factor: factored.factor,
        proof: factored.proof,
        certificate: None,
    }
}

/// The motive the client sent along, if any.
fn motive(start: &Start) -> String {
    let given = start
        .env
        .iter()
        .find(|(name, _)| matches!(name.as_str(), "BASTION_MOTIVE" | "LC_BASTION_MOTIVE"));
    given.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What the operator reads when no session was opened.
pub(super) fn refusal(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    why: &NotOpened,
) -> String {
    match why {
        NotOpened::Denied(denials) => session::sentences(denials),
        NotOpened::Several(permits) => {
            let list: Vec<String> = permits.iter().map(listed).collect();
            format!(
                "Refused (intervention_not_named): several interventions cover {}:\n{}\nNext: name one, as in   ssh {}+{}+{}+{}@{}",
                destination.shown(),
                list.join("\n"),
                proven.operator,
                destination.account,
                destination.target,
                permits
                    .first()
                    .map_or("INT-…", |permit| permit.intervention().as_str()),
                front.config.ssh.name,
            )
        }
        NotOpened::Target(error) => format!(
            "Refused ({}): {error}.\nNext: tell an administrator of the bastion",
            error.code()
        ),
        NotOpened::Unavailable(sentence) => format!("Refused (unavailable): {sentence}."),
    }
}

/// `INT-2026-00042  until 2026-11-24T10:00:00Z  purpose`.
pub(crate) fn listed(permit: &Permit) -> String {
    format!(
        "  {}  until {}  {}",
        permit.intervention(),
        permit.ends_at(),
        permit.purpose().replace(char::is_control, " ")
    )
}

impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        // Within another connection it was read already.
        let first = self.through_to.is_none();
        Ok(first.then(|| self.front().config.ssh.banner.clone()))
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        self.connection.progress.talks();
        Ok(self.inside(user).unwrap_or_else(only_keys))
    }

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.connection.progress.talks();
        // Whatever is offered may be signed with: an offer tells nobody which keys are known.
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if self.through_to.is_some() {
            return Ok(self.inside(user).unwrap_or_else(only_keys));
        }
        let proven = Box::pin(self.key_proven(user, key)).await;
        Ok(proven.unwrap_or_else(only_keys))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        if self.through_to.is_some() {
            return Ok(self.inside(user).unwrap_or_else(only_keys));
        }
        let answer = Box::pin(self.certificate_proven(user, certificate)).await;
        Ok(answer.unwrap_or_else(only_keys))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let proven = matches!(&self.stand, Stand::Key { user: proven, .. } if proven == user);
        if !proven {
            return Ok(only_keys());
        }
        let Some(mut answers) = response else {
            return Ok(Box::pin(self.ask()).await);
        };
        let typed = answers.next().unwrap_or_default();
        match std::str::from_utf8(&typed) {
            Ok(typed) if typed.len() <= 64 => Ok(Box::pin(self.answered(typed)).await),
            Ok(_) | Err(_) => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: OperatorChannel,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        // A channel for a session counts while the library knows it.
        let Some((reply, _)) = self.room_for("session", reply).await else {
            return Ok(());
        };
        self.channels.insert(
            channel.id(),
            Opened::Fresh {
                channel,
                terminal: None,
                env: Vec::new(),
            },
        );
        reply.accept().await;
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        // The channel has it already; nothing is waited for here.
        self.connection.touch();
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: OperatorChannel,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse_open("x11", Request::OpenX11, reply).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: OperatorChannel,
        host: &str,
        port: u32,
        from: &str,
        from_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let Stand::In { login } = &self.stand else {
            return self
                .refuse_open("direct-tcpip", Request::OpenDirectTcpip, reply)
                .await;
        };
        let wanted = login.wanted.clone();
        let Some((reply, place)) = self.room_for("direct-tcpip", reply).await else {
            return Ok(());
        };
        let (connection, host) = (Arc::clone(&self.connection), host.to_owned());
        match wanted {
            Wanted::Bastion => jump::open(connection, channel, host, port, reply, place),
            Wanted::Target(destination) => {
                let asked = forward::Asked {
                    channel,
                    host,
                    port,
                    from: from.to_owned(),
                    from_port,
                    reply,
                    place: connection.place_of_forward(place),
                };
                forward::open(connection, destination, asked);
            }
        }
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: OperatorChannel,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse_open("forwarded-tcpip", Request::OpenForwardedTcpip, reply)
            .await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: OperatorChannel,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse_open("direct-streamlocal", Request::OpenDirectStreamlocal, reply)
            .await
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        pix_width: u32,
        pix_height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.passes("pty-req", Request::Pty, channel)
            && let Some(Opened::Fresh { terminal, .. }) = self.channels.get_mut(&channel)
        {
            let modes = modes.to_vec();
            *terminal = Some(Terminal {
                term: term.to_owned(),
                cols,
                rows,
                pix_width,
                pix_height,
                modes,
            });
            return session.channel_success(channel);
        }
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        const MOST: usize = 64;
        const LONGEST: usize = 4096;
        if self.passes("env", Request::Env { name }, channel)
            && let Some(Opened::Fresh { env, .. }) = self.channels.get_mut(&channel)
            && env.len() < MOST
            && name.len() + value.len() <= LONGEST
        {
            env.push((name.to_owned(), value.to_owned()));
            return session.channel_success(channel);
        }
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        cols: u32,
        rows: u32,
        pix_width: u32,
        pix_height: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(Opened::Fresh {
            terminal: Some(terminal),
            ..
        }) = self.channels.get_mut(&channel)
        {
            (terminal.cols, terminal.rows) = (cols, rows);
            (terminal.pix_width, terminal.pix_height) = (pix_width, pix_height);
        }
        Ok(())
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.passes("shell", Request::Shell, channel) {
            self.start(channel, Run::Shell, session);
            return Ok(());
        }
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.passes("exec", command::request(command), channel) {
            self.start(channel, Run::command_line(command), session);
            return Ok(());
        }
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.passes("subsystem", Request::Subsystem { name }, channel) {
            self.start(channel, Run::Sftp, session);
            return Ok(());
        }
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.passes("x11-req", Request::X11, channel);
        session.channel_failure(channel)
    }

    async fn agent_request(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.passes("auth-agent-req", Request::Agent, channel);
        Ok(false)
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        _: &mut u32,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.refuse_global("tcpip-forward", Request::TcpipForward);
        Ok(false)
    }

    async fn cancel_tcpip_forward(
        &mut self,
        _: &str,
        _: u32,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.refuse_global("cancel-tcpip-forward", Request::TcpipForward);
        Ok(false)
    }

    async fn unknown_request(&mut self, name: &str) {
        if let Verdict::Refuse { code, sentence } = verdict(Request::Unknown { name }, Stage::Fresh)
        {
            let (connection, name) = (Arc::clone(&self.connection), shortened(name));
            tokio::spawn(async move { connection.trace_refused(&name, code, sentence).await });
        }
    }

    async fn streamlocal_forward(&mut self, _: &str, _: &mut Session) -> Result<bool, Self::Error> {
        self.refuse_global("streamlocal-forward", Request::StreamlocalForward);
        Ok(false)
    }
}

impl Handler {
    /// Asks the table; traces a refusal.
    fn passes(&self, name: &'static str, request: Request<'_>, channel: ChannelId) -> bool {
        self.connection.touch();
        match verdict(request, self.stage(channel)) {
            Verdict::Pass | Verdict::Run(_) => true,
            Verdict::Refuse { code, sentence } => {
                self.refuse(name, code, sentence);
                false
            }
        }
    }

    /// Gives `reply` back where this connection may have one more channel; answers it otherwise.
    async fn room_for(
        &self,
        name: &'static str,
        reply: ChannelOpenHandle,
    ) -> Option<(ChannelOpenHandle, ChannelPlace)> {
        self.connection.touch();
        if let Some(place) = self.connection.place(self.channels.len()) {
            return Some((reply, place));
        }
        self.refuse(
            name,
            "too_many_channels",
            "this connection has as many channels as it may",
        );
        reply.reject(ChannelOpenFailure::ResourceShortage).await;
        None
    }

    fn refuse_global(&self, name: &'static str, request: Request<'_>) {
        if let Verdict::Refuse { code, sentence } = verdict(request, Stage::Fresh) {
            self.refuse(name, code, sentence);
        }
    }

    async fn refuse_open(
        &self,
        name: &'static str,
        request: Request<'_>,
        reply: ChannelOpenHandle,
    ) -> Result<(), russh::Error> {
        self.refuse_global(name, request);
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }
}

/// What a stranger calls something, fit for a trace.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 64;
    name.escape_debug().take(LONGEST).collect()
}

/// Refused, and only a key may be tried next.
fn only_keys() -> Auth {
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(&[MethodKind::PublicKey][..])),
        partial_success: false,
    }
}
