//! One recorded session: opened by a permit, kept by the watch, ended with a sealed manifest.
//!
//! ```text
//! facts ─► decide ─► permit ─► recording begins ─► session row ─► target ─► channels … ─► manifest ─► session row
//! ```
//! INVARIANT: no session without a recording, and no target before both are durable.

use super::command::{self, ScpCommand};
use super::files::{Allowed, BOTH};
use super::filter::{Files, Filter, Protocol};
use super::handler::{OperatorChannel, OperatorHandle};
use super::login::{Destination, ProvenAt};
use super::orphan::{self, NOT_OPENED};
use super::relay::{Activity, End, FarEnd, Order, RelayEnd, Tap, relay};
use super::traces::{self, Trace};
use super::upstream::{self, Upstream, UpstreamError};
use super::{Front, requests, scp, sftp};
use crate::{clock, secrets};
use access::decide::{
    Arming, Capacity, Code, LoginAge, Means, Place, Recording, Supervision, choose, decide,
};
use access::forward::Endpoint;
use access::grant::Operation;
use access::second_factor::Proof;
use access::session::FactorUse;
use access::{
    AccountName, Credentials, Denial, Event, OperatorId, Permit, Session, SessionId, Time, Who,
};
use bytes::Bytes;
use recordings::{
    Answer, ChannelKind, JournalEvent, Manifest, Micros, RecipientKey, Recorder, SessionHeader,
    UtcMicros,
};
use russh::ChannelMsg;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use store::{Ask, StoreError};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{error, info, warn};

/// How long running channels have to end before the connections are taken away.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Between the last words on the channels and the end of the connection.
const TIME_TO_SHOW: Duration = Duration::from_millis(500);
/// How long a target has to answer a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the end of a session is written again while the store does not answer, and how long
/// the store has each time.
const KEEP_TRYING: i64 = 60_000_000;
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// A person whose key and second factor were proven on this connection.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) operator: OperatorId,
    pub(crate) credentials: Credentials,
    pub(crate) factor: FactorUse,
    pub(crate) source: IpAddr,
    /// When the second factor was proven, on this connection or the one it is reused from.
    pub(crate) at: ProvenAt,
}

impl Proven {
    /// Whether anything new may be opened with it now.
    pub(crate) fn age(&self, front: &Front) -> LoginAge {
        age(front, self.at)
    }
}

/// Now, for what is being proven.
pub(crate) fn proven_now() -> ProvenAt {
    ProvenAt {
        day: clock::now(),
        tick: clock::monotonic(),
    }
}

fn age(front: &Front, proven_at: ProvenAt) -> LoginAge {
    let limit = Duration::from_secs(front.config.ssh.login_limit_s);
    proven_at.age(limit, proven_now())
}

/// Why a session was not opened; every one of these was traced already.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Denied(Vec<Denial>),
    /// Several interventions fit and none was named.
    Several(Vec<Permit>),
    Target(UpstreamError),
    /// Something of the bastion's own does not work; a sentence and a next step.
    Unavailable(&'static str),
}

impl NotOpened {
    /// The first code, and sentence and next step on one line.
    pub(crate) fn in_short(&self) -> (&'static str, String) {
        match self {
            Self::Denied(denials) => denials.first().map_or_else(
                || ("unavailable", "nothing can be decided now".to_owned()),
                |first| {
                    let said = format!("{}; {}", first.sentence, first.next);
                    (first.code.as_str(), said)
                },
            ),
            Self::Several(_) => ("intervention_not_named", "name one".to_owned()),
            Self::Target(error) => (error.code(), error.to_string()),
            Self::Unavailable(sentence) => ("unavailable", (*sentence).to_owned()),
        }
    }
}

/// A session that is going on.
pub(crate) struct Live {
    id: SessionId,
    pub(super) recorder: Recorder,
    pub(super) upstream: Upstream,
    row: Mutex<Session>,
    proven_at: ProvenAt,
    started: i64,
    activity: Activity,
    channels: Mutex<HashMap<u32, Running>>,
    pub(super) next_channel: AtomicU32,
    pub(super) running: watch::Sender<usize>,
    /// Why it ends, where something other than the operator ends it.
    cut: OnceLock<Cut>,
    /// Tells the operator's connection to end.
    pub(crate) over: Notify,
    /// When the facts were last read and agreed, monotonic microseconds.
    pub(crate) agreed: AtomicI64,
    warned: AtomicI64,
    /// Whether the watch is ending it already.
    ending: AtomicBool,
    /// Frames that were entered in the audit log.
    noted: AtomicU64,
}

pub(super) struct Running {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) covers: Covers,
    pub(super) terminal: bool,
}

/// What a running channel goes on under.
#[derive(Clone)]
pub(super) enum Covers {
    /// This, or it does not go on.
    One(Operation),
    /// As many of these as are left, and at least one.
    Some(Arc<Allowed>),
    /// A connection through the target to there, or it does not go on.
    Forward(Endpoint),
}

impl Covers {
    fn questions(&self) -> Vec<Question> {
        match self {
            Self::One(operation) => vec![(Some(*operation), None)],
            Self::Some(allowed) => {
                let each = |operation| (Some(operation), None);
                allowed.operations().into_iter().map(each).collect()
            }
            Self::Forward(to) => vec![(Some(Operation::Forward), Some(to.clone()))],
        }
    }
}

/// What the decision is asked about: an operation, and where a connection goes.
type Question = (Option<Operation>, Option<Endpoint>);

/// What a channel wants before it starts: any of these operations, and for a connection, to where.
pub(crate) struct Wish<'a> {
    pub(crate) operations: &'a [Operation],
    pub(crate) forward_to: Option<&'a Endpoint>,
}

impl<'a> Wish<'a> {
    /// One of these, and no connection.
    pub(crate) const fn any(operations: &'a [Operation]) -> Self {
        Self {
            operations,
            forward_to: None,
        }
    }

    /// A connection through the target.
    pub(crate) const fn forward(to: &'a Endpoint) -> Self {
        Self {
            operations: &[Operation::Forward],
            forward_to: Some(to),
        }
    }
}

#[derive(Clone)]
struct Cut {
    sentence: String,
}

/// What runs on a channel.
pub(crate) enum Run {
    Shell,
    Exec(Vec<u8>),
    /// A command that is scp's far end and nothing else.
    Scp {
        command: Vec<u8>,
        scp: ScpCommand,
    },
    Sftp,
}

impl Run {
    /// What a command line runs.
    pub(crate) fn command_line(command: &[u8]) -> Self {
        match command::scp(command) {
            Some(scp) => Self::Scp {
                command: command.to_vec(),
                scp,
            },
            None => Self::Exec(command.to_vec()),
        }
    }

    /// It may start under any of these.
    pub(crate) const fn operations(&self) -> &'static [Operation] {
        match self {
            Self::Shell => &[Operation::Shell],
            Self::Exec(_) => &[Operation::Exec],
            Self::Scp { scp, .. } => match scp.direction {
                command::Direction::Upload => &[Operation::Upload],
                command::Direction::Download => &[Operation::Download],
            },
            Self::Sftp => &BOTH,
        }
    }

    const fn moves_files(&self) -> bool {
        match self {
            Self::Scp { .. } | Self::Sftp => true,
            Self::Shell | Self::Exec(_) => false,
        }
    }

    /// What it goes on under, where `allowed` were found to be covered.
    fn covers(&self, allowed: &[Operation]) -> Covers {
        match (self, self.operations()) {
            (Self::Sftp, _) | (_, []) => Covers::Some(Arc::new(Allowed::new(allowed))),
            (_, [operation, ..]) => Covers::One(*operation),
        }
    }

    fn command(&self) -> Option<String> {
        match self {
            Self::Shell | Self::Sftp => None,
            Self::Exec(command) | Self::Scp { command, .. } => {
                Some(String::from_utf8_lossy(command).into_owned())
            }
        }
    }

    /// What of it is recorded. Files are counted, hashed and named, but not kept.
    fn kind(&self, terminal: Option<&Terminal>) -> ChannelKind {
        match (self, terminal) {
            (Self::Sftp, _) => ChannelKind::Subsystem {
                name: "sftp".to_owned(),
            },
            (Self::Scp { .. }, _) => ChannelKind::Subsystem {
                name: self.command().unwrap_or_default(),
            },
            (Self::Shell | Self::Exec(_), Some(terminal)) => ChannelKind::Terminal {
                cols: terminal.cols,
                rows: terminal.rows,
                term: terminal.term.clone(),
                command: self.command(),
            },
            (Self::Shell | Self::Exec(_), None) => ChannelKind::Exec {
                command: self.command().unwrap_or_default(),
            },
        }
    }
}

/// A terminal that was asked for.
pub(crate) struct Terminal {
    pub(crate) term: String,
    pub(crate) cols: u32,
    pub(crate) rows: u32,
    pub(crate) pix_width: u32,
    pub(crate) pix_height: u32,
    pub(crate) modes: Vec<(russh::Pty, u32)>,
}

/// Why one more channel was not started.
pub(super) struct ChannelRefused {
    pub(super) codes: Vec<&'static str>,
    pub(super) said: String,
}

impl ChannelRefused {
    fn new(code: &'static str, sentence: &str) -> Self {
        Self {
            codes: vec![code],
            said: format!("Refused ({code}): {sentence}."),
        }
    }
}

/// A channel of the operator's that has said what it wants.
pub(crate) struct Start {
    pub(crate) channel: OperatorChannel,
    pub(crate) handle: OperatorHandle,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) run: Run,
    /// What was typed in the menu behind the choice that led here; the target's to read.
    pub(crate) typed_ahead: Vec<u8>,
}

/// Decides, records, opens. The order is an invariant. It is opened under a permit for any of the
/// operations of `wish`, in their order.
pub(crate) async fn open(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    motive: &str,
) -> Result<Arc<Live>, NotOpened> {
    if front.traces.is_stuck(clock::monotonic()) {
        let stuck = NotOpened::Unavailable(traces::STUCK);
        trace_refusal(front, proven, destination, wish, &stuck).await;
        return Err(stuck);
    }
    let now = clock::now();
    let permit = match permit_for_any(front, proven, destination, wish, now).await {
        Ok(permit) => permit,
        Err(not_opened) => {
            trace_refusal(front, proven, destination, wish, &not_opened).await;
            return Err(not_opened);
        }
    };
    let opened = open_with(front, proven, permit, motive, now).await;
    if let Err(not_opened) = &opened {
        trace_refusal(front, proven, destination, wish, not_opened).await;
    }
    opened
}

async fn permit_for_any(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    now: Time,
) -> Result<Permit, NotOpened> {
    let mut denied = Err(NotOpened::Denied(Vec::new()));
    for operation in wish.operations {
        let question = (Some(*operation), wish.forward_to.cloned());
        let means = means(front, proven.age(front));
        match permit_for(front, proven, destination, question, means, now).await {
            Err(NotOpened::Denied(denials)) => denied = Err(NotOpened::Denied(denials)),
            decided => return decided,
        }
    }
    denied
}

fn ask<'a>(
    front: &Front,
    proven: &'a Proven,
    destination: &'a Destination,
    (operation, forward_to): Question,
    means: Means,
) -> Ask<'a> {
    Ask {
        operator: proven.operator.as_str(),
        target: &destination.target,
        account: destination.account.clone(),
        operation,
        forward_to,
        intervention: destination.intervention.clone(),
        credentials: Some(proven.credentials.clone()),
        place: Place {
            source: proven.source,
            country: None,
        },
        means,
        policy: front.config.policy(),
        since: None,
    }
}

/// Whether whoever logged in may still be here, whatever he wants to do.
pub(crate) async fn may_stay(front: &Front, proven: &Proven) -> Result<(), NotOpened> {
    let now = clock::now();
    // No target has an empty name, and so none of its accounts is looked at.
    let Ok(account) = AccountName::parse("nobody") else {
        return Err(NotOpened::Denied(Vec::new()));
    };
    let nowhere = Destination {
        account,
        target: String::new(),
        intervention: None,
    };
    let means = means(front, proven.age(front));
    let facts = front
        .store
        .facts(&ask(front, proven, &nowhere, (None, None), means), now)
        .await
        .map_err(|error| store_failed(&error))?;
    match facts.first() {
        Some(facts) => access::decide::may_stay(facts, now).map_err(NotOpened::Denied),
        None => Err(NotOpened::Denied(Vec::new())),
    }
}

async fn permit_for(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    question: Question,
    means: Means,
    now: Time,
) -> Result<Permit, NotOpened> {
    let ask = ask(front, proven, destination, question, means);
    let candidates = front
        .store
        .facts(&ask, now)
        .await
        .map_err(|error| store_failed(&error))?;
    let mut permits = choose(&candidates, now).map_err(NotOpened::Denied)?;
    // Of several grants under one intervention, the one that reaches furthest.
    permits.sort_by_key(|permit| std::cmp::Reverse(permit.ends_at()));
    let mut distinct: Vec<Permit> = Vec::new();
    for permit in permits {
        if distinct
            .iter()
            .all(|known| known.intervention() != permit.intervention())
        {
            distinct.push(permit);
        }
    }
    match distinct.len() {
        0 | 1 => distinct.pop().ok_or_else(|| NotOpened::Denied(Vec::new())),
        _ => Err(NotOpened::Several(distinct)),
    }
}

async fn open_with(
    front: &Front,
    proven: &Proven,
    permit: Permit,
    motive: &str,
    now: Time,
) -> Result<Arc<Live>, NotOpened> {
    let unavailable =
        |_| NotOpened::Unavailable("the session could not be prepared; tell an administrator");
    let id = SessionId::from_random(secrets::random::<16>().map_err(unavailable)?);
    let changed = Session::open(id.clone(), &permit, motive, proven.factor, now).map_err(|_| {
        NotOpened::Unavailable("the motive is too short or too long; give another one")
    })?;

    let recorder = match begin_recording(front, changed.value(), now).await {
        Ok(recorder) => recorder,
        Err(reason) => {
            warn!(session.id = %id, reason, "a recording could not begin");
            return Err(NotOpened::Denied(vec![recording_unavailable()]));
        }
    };
    let started = clock::monotonic();
    let session = match front.store.save(changed).await {
        Ok(session) => session,
        Err(error) => {
            let ended = recorder.finish(Micros(0), NOT_OPENED, utc(now), &front.keys.manifest);
            match ended.await {
                Ok(manifest) => orphan::settle_later(front.store.clone(), manifest),
                Err(error) => {
                    warn!(session.id = %id, %error, "a recording without a session could not be closed");
                }
            }
            return Err(store_failed(&error));
        }
    };
    match upstream::connect(permit, &id, &front.keys).await {
        Ok(upstream) => {
            let live = Arc::new(Live {
                id,
                recorder,
                upstream,
                row: Mutex::new(session),
                proven_at: proven.at,
                started,
                activity: Activity::default(),
                channels: Mutex::default(),
                next_channel: AtomicU32::new(0),
                running: watch::Sender::new(0),
                cut: OnceLock::new(),
                over: Notify::new(),
                agreed: AtomicI64::new(clock::monotonic()),
                warned: AtomicI64::new(i64::MAX),
                ending: AtomicBool::new(false),
                noted: AtomicU64::new(0),
            });
            front.live.add(&live);
            info!(session.id = %live.id, "session opened");
            Ok(live)
        }
        Err(error) => {
            let at = Micros(clock::monotonic() - started);
            end_row(front, &recorder, session, at, error.code(), Who::Bastion).await;
            Err(NotOpened::Target(error))
        }
    }
}

impl Live {
    pub(crate) const fn id(&self) -> &SessionId {
        &self.id
    }

    /// The row as last saved.
    pub(crate) fn row(&self) -> Session {
        self.row
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a channel that wants to go there may join.
    pub(crate) fn goes_to(&self, destination: &Destination) -> bool {
        let row = self.row();
        let named = destination.intervention.as_ref();
        row.target.as_str() == destination.target
            && row.account == destination.account
            && named.is_none_or(|intervention| *intervention == row.intervention)
    }

    pub(crate) fn ends_at(&self) -> Time {
        self.upstream.permit().ends_at()
    }

    /// Whether nobody has begun to end it from outside yet; true once.
    pub(crate) fn is_first_to_end_it(&self) -> bool {
        !self.ending.swap(true, Ordering::Relaxed)
    }

    /// The running heads of the recording's streams, where they have moved since they were noted,
    /// and how many frames that is.
    pub(crate) fn new_heads(&self) -> Option<(u64, Vec<Value>)> {
        let heads = self.recorder.heads();
        let frames = heads.iter().map(|head| head.frames).sum();
        if self.noted.load(Ordering::Relaxed) == frames {
            return None;
        }
        let told = heads.iter().map(|head| {
            json!({ "stream": head.stream, "frames": head.frames, "bytes": head.bytes, "sha256": head.sha256 })
        });
        Some((frames, told.collect()))
    }

    /// So many frames are in the audit log.
    pub(crate) fn heads_are_noted(&self, frames: u64) {
        self.noted.store(frames, Ordering::Relaxed);
    }

    /// Microseconds since the last byte of either side.
    pub(crate) fn idle_micros(&self) -> i64 {
        let last = self
            .activity
            .operator
            .load(Ordering::Relaxed)
            .max(self.activity.target.load(Ordering::Relaxed));
        self.now().0 - last
    }

    /// Runs one channel from its request to its close. Refusals are said to the operator.
    pub(crate) async fn run_channel(self: &Arc<Self>, front: &Front, start: Start) {
        let operations = start.run.operations();
        let allowed = match Box::pin(self.still_permits(front, &Wish::any(operations))).await {
            Ok(allowed) => allowed,
            Err(refused) => {
                let codes: Vec<_> = operations.iter().map(|each| each.code()).collect();
                let event = self
                    .event("request.refused")
                    .with("operation", codes.join(","))
                    .with("codes", refused.codes);
                append(front, event).await;
                say_and_close(start, &refused.said).await;
                return;
            }
        };
        let number = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.running.send_modify(|running| *running += 1);
        let covers = start.run.covers(&allowed);
        self.relay_channel(front, start, number, covers).await;
        self.channels().remove(&number);
        self.running.send_modify(|running| *running -= 1);
    }

    /// Asks the decision again, for everything that runs: a fact may have changed. A channel that
    /// goes on under one of two operations loses the other; what does not go on is denied.
    pub(crate) async fn decide_again(
        &self,
        front: &Front,
    ) -> Result<Result<(), Vec<Denial>>, StoreError> {
        let running: Vec<Covers> = self
            .channels()
            .values()
            .map(|running| running.covers.clone())
            .collect();
        let mut asked: BTreeSet<Question> = running.iter().flat_map(Covers::questions).collect();
        if asked.is_empty() {
            asked.insert((None, None));
        }
        // A login that grows old ends nothing that runs.
        let mut denied = self.denied_of(front, asked, LoginAge::Young).await?;
        if let Some(denials) = denied.remove(&(None, None)) {
            return Ok(Err(denials));
        }
        for covers in running {
            let (lost, left): (Vec<_>, Vec<_>) = covers
                .questions()
                .into_iter()
                .partition(|question| denied.contains_key(question));
            if let ([question, ..], []) = (lost.as_slice(), left.as_slice()) {
                return Ok(denied.remove(question).map_or(Ok(()), Err));
            }
            if let Covers::Some(allowed) = covers {
                let lost: Vec<_> = lost.into_iter().filter_map(|(lost, _)| lost).collect();
                self.withdraw(&allowed, &lost).await;
            }
        }
        Ok(Ok(()))
    }

    /// Takes these operations from a channel that goes on without them.
    async fn withdraw(&self, allowed: &Allowed, lost: &[Operation]) {
        for operation in lost {
            allowed.withdraw(*operation);
            let text = format!("`{}` is not covered any more", operation.code());
            info!(session.id = %self.id, "{text}");
            let warning = JournalEvent::Warning { text };
            if let Err(error) = self.recorder.journal(self.now(), warning).await {
                warn!(session.id = %self.id, %error, "a withdrawal could not be recorded");
            }
        }
    }

    /// Those of `questions` that the facts do not cover now, and why.
    async fn denied_of(
        &self,
        front: &Front,
        questions: BTreeSet<Question>,
        login: LoginAge,
    ) -> Result<BTreeMap<Question, Vec<Denial>>, StoreError> {
        let now = clock::now();
        let mut means = means(front, login);
        means.capacity = Capacity::Free;
        let mut facts = front
            .store
            .facts_of(&self.row(), means, front.config.policy())
            .await?;
        let mut denied = BTreeMap::new();
        for question in questions {
            (facts.asked.operation, facts.asked.forward_to) = question.clone();
            if let Err(denials) = decide(&facts, now) {
                denied.insert(question, denials);
            }
        }
        Ok(denied)
    }

    /// Ends it from outside. The sentence is said to the operator and kept in the trace.
    pub(crate) async fn cut(&self, sentence: &str) {
        if self
            .cut
            .set(Cut {
                sentence: sentence.to_owned(),
            })
            .is_err()
        {
            // Whoever cut first is saying so; his words come before the end of the connection.
            self.wait_for_channels(LAST_WORDS).await;
            tokio::time::sleep(TIME_TO_SHOW).await;
            self.over.notify_one();
            return;
        }
        info!(session.id = %self.id, reason = sentence, "session cut");
        let journaled = self.recorder.journal(
            self.now(),
            JournalEvent::Cut {
                reason: sentence.to_owned(),
            },
        );
        if let Err(error) = journaled.await {
            warn!(session.id = %self.id, %error, "the cut could not be recorded");
        }
        let orders: Vec<_> = self
            .channels()
            .values()
            .map(|running| running.orders.clone())
            .collect();
        for order in orders {
            // A channel that is ending already takes no orders.
            order.try_send(Order::Cut(sentence.to_owned())).ok();
        }
        self.wait_for_channels(LAST_WORDS).await;
        // A client that shares its connection still has the last words to show.
        tokio::time::sleep(TIME_TO_SHOW).await;
        self.over.notify_one();
    }

    /// Warns on the session's terminals; commands are not disturbed.
    pub(crate) async fn warn_terminals(&self, minutes: i64, sentence: &str) {
        if self.warned.fetch_min(minutes, Ordering::Relaxed) <= minutes {
            return;
        }
        let warning = JournalEvent::Warning {
            text: sentence.to_owned(),
        };
        if self.recorder.journal(self.now(), warning).await.is_err() {
            return;
        }
        let orders: Vec<_> = self
            .channels()
            .values()
            .filter(|running| running.terminal)
            .map(|running| running.orders.clone())
            .collect();
        for order in orders {
            order.try_send(Order::Say(sentence.to_owned())).ok();
        }
    }

    /// Ends it for good, once the operator's connection is gone: the recording is sealed, the row
    /// says so, the target is left.
    pub(crate) async fn end(&self, front: &Front) {
        self.wait_for_channels(LAST_WORDS).await;
        self.upstream.close().await;
        if let Some(opened) = self.upstream.refused_channels() {
            let sentence = format!("the target opened {opened} channel(s) of its own");
            self.journal_refused("channel-open by the target", "target_refused", &sentence)
                .await;
        }
        let (reason, by) = match self.cut.get() {
            Some(cut) => (cut.sentence.clone(), Who::Bastion),
            None => (
                "the operator left".to_owned(),
                Who::Operator(self.row().operator),
            ),
        };
        end_row(front, &self.recorder, self.row(), self.now(), &reason, by).await;
        front.live.remove(&self.id);
        // Whoever waits for the end does so no longer.
        self.over.notify_one();
        info!(session.id = %self.id, reason, "session ended");
    }

    /// Writes down a request that was refused.
    pub(crate) async fn journal_refused(&self, request: &str, code: &str, sentence: &str) {
        let refused = JournalEvent::Refused {
            channel: None,
            request: request.to_owned(),
            code: code.to_owned(),
            sentence: sentence.to_owned(),
        };
        if let Err(error) = self.recorder.journal(self.now(), refused).await {
            warn!(session.id = %self.id, %error, "a refusal could not be recorded");
        }
    }

    /// Under which of its operations one more channel may start now; at least one.
    pub(super) async fn still_permits(
        &self,
        front: &Front,
        wish: &Wish<'_>,
    ) -> Result<Vec<Operation>, ChannelRefused> {
        let question = |operation: &Operation| (Some(*operation), wish.forward_to.cloned());
        let asked = wish.operations.iter().map(question).collect();
        let login = age(front, self.proven_at);
        let denied = match self.denied_of(front, asked, login).await {
            Ok(denied) => denied,
            Err(error) => {
                warn!(session.id = %self.id, %error, "the facts could not be read");
                return Err(ChannelRefused::new(
                    "unavailable",
                    "the bastion's database does not answer; try again",
                ));
            }
        };
        let mut allowed = wish.operations.to_vec();
        allowed.retain(|operation| !denied.contains_key(&question(operation)));
        if let (true, Some(denials)) = (allowed.is_empty(), denied.into_values().next()) {
            return Err(ChannelRefused {
                codes: codes(&denials),
                said: sentences(&denials),
            });
        }
        let permit = self.upstream.permit();
        let goes_there = |to: &Endpoint| to.is_listed(permit.forwards());
        allowed.retain(|operation| permit.operations().contains(operation));
        allowed.retain(|_| wish.forward_to.is_none_or(goes_there));
        if self.is_cut() || allowed.is_empty() {
            return Err(ChannelRefused::new(
                "session_over",
                "this session is over; connect again",
            ));
        }
        Ok(allowed)
    }

    async fn relay_channel(
        self: &Arc<Self>,
        front: &Front,
        start: Start,
        number: u32,
        covers: Covers,
    ) {
        let id = start.channel.id();
        let handle = start.handle.clone();
        let terminal = start.terminal.is_some() && !start.run.moves_files();
        let filter = self.filter(number, &start.run, &covers);
        let (target, start) = match Box::pin(self.start_on_target(start, number)).await {
            Ok(started) => started,
            Err((start, sentence)) => {
                if let Run::Sftp = start.run {
                    // Like the target, where it has no such subsystem.
                    handle.channel_failure(id).await.unwrap_or_default();
                    drop(start.channel.close().await);
                } else {
                    say_and_close(start, &sentence).await;
                }
                return;
            }
        };
        if handle.channel_success(id).await.is_err() {
            return;
        }
        if !start.typed_ahead.is_empty() {
            let typed = Bytes::from(start.typed_ahead);
            let recorded = self.recorder.input(self.now(), number, typed.clone());
            // Either failure ends the relay as soon as it starts.
            if recorded.await.is_ok() {
                drop(target.write.data_bytes(typed).await);
            }
        }
        let (orders, inbox) = mpsc::channel(4);
        self.channels().insert(
            number,
            Running {
                orders,
                covers,
                terminal,
            },
        );
        if self.is_cut() {
            self.channels().remove(&number);
        }
        let operator = start.channel;
        let far_end = FarEnd::Program;
        self.carry(front, number, operator, target, inbox, &filter, far_end)
            .await;
    }

    /// Passes on what both sides of a channel send, until it is over.
    #[allow(
        clippy::too_many_arguments,
        reason = "two ends and what stands between"
    )]
    pub(super) async fn carry(
        self: &Arc<Self>,
        front: &Front,
        number: u32,
        operator: OperatorChannel,
        target: End<russh::client::Msg>,
        orders: mpsc::Receiver<Order>,
        filter: &Filter,
        far_end: FarEnd,
    ) {
        let tap = Tap {
            recorder: &self.recorder,
            channel: number,
            clock: || self.now(),
            activity: &self.activity,
            filter,
            far_end,
        };
        let end = relay(End::from(operator), target, tap, orders).await;
        let written = match filter.end(self.now()).await {
            Ok(()) => self.recorder.close_channel(self.now(), number).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(_) => {}
            Err(error) => {
                warn!(session.id = %self.id, %error, "a channel's end could not be recorded");
            }
        }
        let cut = match end {
            RelayEnd::RecordingFailed(error) => {
                warn!(session.id = %self.id, %error, "the recording failed");
                let event = self
                    .event("recording.failed")
                    .with("reason", error.to_string());
                append(front, event).await;
                "the session can no longer be recorded"
            }
            RelayEnd::TargetLost => "the connection to the target was lost",
            RelayEnd::Finished | RelayEnd::OperatorLeft | RelayEnd::Cut(_) => return,
        };
        // All of it: what goes on beside this channel is of the same connection and recording.
        let live = Arc::clone(self);
        tokio::spawn(async move { live.cut(cut).await });
    }

    /// Whether something other than the operator ends it.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    /// What looks into the channel's data.
    fn filter(&self, number: u32, run: &Run, covers: &Covers) -> Filter {
        let (protocol, allowed) = match (run, covers) {
            (Run::Sftp, Covers::Some(allowed)) => (
                Protocol::Sftp(sftp::Conversation::new(number)),
                Arc::clone(allowed),
            ),
            (Run::Scp { scp, .. }, _) => (
                Protocol::Scp(scp::Conversation::new(number, scp.clone())),
                Arc::default(),
            ),
            (Run::Shell | Run::Exec(_) | Run::Sftp, _) => return Filter::Plain,
        };
        let files = Files::new(self.recorder.clone(), number, allowed, protocol);
        Filter::Files(Box::new(files))
    }

    /// Asks the target for the same thing. The recording knows of the channel before the target
    /// does anything.
    async fn start_on_target(
        &self,
        start: Start,
        number: u32,
    ) -> Result<(End<russh::client::Msg>, Start), (Start, String)> {
        match self.ask_target(&start, number).await {
            Ok(target) => Ok((target, start)),
            Err(sentence) => Err((start, sentence)),
        }
    }

    async fn ask_target(
        &self,
        start: &Start,
        number: u32,
    ) -> Result<End<russh::client::Msg>, String> {
        const NOT_RECORDED: &str = "the session can no longer be recorded, so nothing was started";
        let lost = |error: russh::Error| format!("the target did not answer: {error}");
        let mut channel = self
            .upstream
            .open_channel()
            .await
            .map_err(|error| error.to_string())?;
        let kind = start.run.kind(start.terminal.as_ref());
        self.recorder
            .open_channel(self.now(), number, kind)
            .await
            .map_err(|_| NOT_RECORDED.to_owned())?;
        for (name, value) in &start.env {
            self.journal_request(number, "env", &format!("{name}={value}"), Answer::Success)
                .await?;
            if !requests::is_ours(name) {
                channel
                    .set_env(false, name.as_str(), value.as_str())
                    .await
                    .map_err(lost)?;
            }
        }
        // Files do not pass through a terminal, which would change them.
        let terminal = start.terminal.as_ref();
        if let Some(terminal) = terminal.filter(|_| !start.run.moves_files()) {
            channel
                .request_pty(
                    true,
                    &terminal.term,
                    terminal.cols,
                    terminal.rows,
                    terminal.pix_width,
                    terminal.pix_height,
                    &terminal.modes,
                )
                .await
                .map_err(lost)?;
            let answer = answer_of(&mut channel).await;
            self.journal_request(number, "pty-req", &terminal.term, answer)
                .await?;
            if answer == Answer::Failure {
                return Err("the target does not give a terminal".to_owned());
            }
        }
        let (request, detail) = match &start.run {
            Run::Shell => {
                channel.request_shell(true).await.map_err(lost)?;
                ("shell", String::new())
            }
            Run::Exec(command) | Run::Scp { command, .. } => {
                if let Some(text) = command::told(command) {
                    self.journal_told(number, text).await?;
                }
                channel.exec(true, command.as_slice()).await.map_err(lost)?;
                ("exec", start.run.command().unwrap_or_default())
            }
            Run::Sftp => {
                channel
                    .request_subsystem(true, "sftp")
                    .await
                    .map_err(lost)?;
                ("subsystem", "sftp".to_owned())
            }
        };
        let answer = answer_of(&mut channel).await;
        self.journal_request(number, request, &detail, answer)
            .await?;
        if answer == Answer::Failure {
            return Err(format!("the target refuses `{request}`"));
        }
        Ok(End::from(channel))
    }

    /// What a command line tells of files.
    async fn journal_told(&self, channel: u32, text: String) -> Result<(), String> {
        let note = JournalEvent::Note {
            code: "files_told".to_owned(),
            text: format!("channel {channel}: {text}"),
        };
        self.recorder
            .journal(self.now(), note)
            .await
            .map_err(|_| "the session can no longer be recorded".to_owned())
    }

    pub(super) async fn journal_request(
        &self,
        channel: u32,
        request: &str,
        detail: &str,
        answer: Answer,
    ) -> Result<(), String> {
        let event = JournalEvent::Request {
            channel: Some(channel),
            request: request.to_owned(),
            detail: detail.to_owned(),
            answer,
        };
        self.recorder
            .journal(self.now(), event)
            .await
            .map_err(|_| "the session can no longer be recorded".to_owned())
    }

    async fn wait_for_channels(&self, at_most: Duration) {
        let mut running = self.running.subscribe();
        // Those that do not end in time end with the connections.
        drop(tokio::time::timeout(at_most, running.wait_for(|running| *running == 0)).await);
    }

    pub(super) fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Running>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Micros {
        Micros(clock::monotonic() - self.started)
    }

    pub(super) fn event(&self, name: &str) -> Event {
        let row = self.row();
        Event::new(
            name,
            Who::Operator(row.operator.clone()),
            format!("session {}", row.id),
            clock::now(),
        )
        .of_customer(&row.customer)
        .in_intervention(&row.intervention)
        .in_session(&row.id)
    }
}

/// Enters it in the audit log; while that cannot be written it waits there for its turn.
pub(crate) async fn append(front: &Front, event: Event) {
    front.traces.enter(Trace::Entry(event)).await;
}

/// Tells the operator why, on the channel that asked, and closes it.
pub(crate) async fn say_and_close(start: Start, sentence: &str) {
    let Start {
        channel,
        handle,
        terminal,
        ..
    } = start;
    let id = channel.id();
    let newline = if terminal.is_some() { "\r\n" } else { "\n" };
    let mut text = sentence.lines().collect::<Vec<_>>().join(newline);
    text.push_str(newline);
    // The operator may be gone; then there is nobody to tell.
    handle.channel_success(id).await.unwrap_or_default();
    drop(channel.extended_data_bytes(1, text.into_bytes()).await);
    drop(channel.exit_status(super::handler::REFUSED).await);
    drop(channel.eof().await);
    drop(channel.close().await);
}

/// All denials as the person reads them.
pub(crate) fn sentences(denials: &[Denial]) -> String {
    denials
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn codes(denials: &[Denial]) -> Vec<&'static str> {
    denials.iter().map(|denial| denial.code.as_str()).collect()
}

async fn begin_recording(front: &Front, session: &Session, now: Time) -> Result<Recorder, String> {
    let customer = front
        .store
        .customer(&session.customer)
        .await
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("customer `{}` is not registered", session.customer))?;
    let actor = front
        .store
        .operator(&session.operator)
        .await
        .map_err(|error| error.to_string())?
        .map_or_else(String::new, |operator| operator.details.actor.to_string());
    let key =
        RecipientKey::from_base64(&customer.recording_key).map_err(|error| error.to_string())?;
    let mut factors = vec!["key".to_owned()];
    factors.push(match session.credentials.proof {
        Proof::Totp => "totp".to_owned(),
        Proof::Passkey => "passkey".to_owned(),
    });
    if session.factor_reused {
        factors.push("reused".to_owned());
    }
    let header = SessionHeader {
        session: recordings::SessionId::parse(session.id.as_str())
            .map_err(|error| error.to_string())?,
        operator: session.operator.to_string(),
        actor,
        customer: session.customer.to_string(),
        target: session.target.to_string(),
        account: session.account.to_string(),
        grant: session.grant.to_string(),
        intervention: session.intervention.to_string(),
        motive: session.motive.clone(),
        factors,
        source: session.source.to_string(),
        started_at: utc(now),
    };
    let limits = recordings::Limits {
        exec_bytes: front.config.ssh.exec_record_cap,
        ..recordings::Limits::default()
    };
    recordings::recorder::begin(&front.recordings, header, &[key], limits)
        .await
        .map_err(|error| error.to_string())
}

/// Seals the recording and writes the session's end. While the store does not answer it is tried
/// again for a minute; after that, and where the recording cannot be sealed, it is left to
/// `recovery`.
async fn end_row(
    front: &Front,
    recorder: &Recorder,
    session: Session,
    at: Micros,
    reason: &str,
    by: Who,
) {
    let now = clock::now();
    let manifest = recorder
        .finish(at, reason, utc(now), &front.keys.manifest)
        .await;
    let Some(digest) = digest_of(manifest.as_ref().ok()) else {
        let error = manifest
            .err()
            .map_or_else(|| "no digest".to_owned(), |error| error.to_string());
        warn!(session.id = %session.id, error, "a recording could not be sealed yet");
        let event = Event::new(
            "recording.failed",
            Who::Bastion,
            format!("session {}", session.id),
            now,
        )
        .of_customer(&session.customer)
        .in_intervention(&session.intervention)
        .in_session(&session.id)
        .with("reason", error);
        append(front, event).await;
        return;
    };
    let began = clock::monotonic();
    while clock::monotonic() - began < KEEP_TRYING {
        let Ok(ended) = session.clone().end(reason, &digest, by.clone(), now) else {
            return;
        };
        match tokio::time::timeout(STORE_PATIENCE, front.store.save(ended)).await {
            Ok(Ok(_) | Err(StoreError::Stale { .. })) => return,
            Ok(Err(error)) => {
                warn!(session.id = %session.id, %error, "a session's end could not be written yet");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(_) => {
                warn!(session.id = %session.id, "a session's end was not written in time");
            }
        }
    }
    error!(session.id = %session.id, reason, by = %by, "a session's end is not written; it will be closed as interrupted");
}

fn digest_of(manifest: Option<&Manifest>) -> Option<String> {
    manifest.and_then(|manifest| manifest.digest().ok())
}

/// Waits for the target's yes or no; one that does not come is a no.
async fn answer_of(channel: &mut russh::Channel<russh::client::Msg>) -> Answer {
    let answered = async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Answer::Success,
                Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return Answer::Failure,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .unwrap_or(Answer::Failure)
}

fn means(front: &Front, login: LoginAge) -> Means {
    let full = front.live.count() >= front.config.ssh.max_sessions;
    let recording = if front.log_continues.load(Ordering::Relaxed) {
        Recording::Available
    } else {
        Recording::Unavailable
    };
    Means {
        recording,
        capacity: if full {
            Capacity::Reached
        } else {
            Capacity::Free
        },
        arming: Arming::NotAsked,
        supervision: Supervision::NotAsked,
        login,
    }
}

fn store_failed(error: &StoreError) -> NotOpened {
    warn!(%error, "the store did not answer");
    NotOpened::Unavailable("the bastion's database does not answer; nothing was opened, try again")
}

async fn trace_refusal(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    why: &NotOpened,
) {
    let event = Event::new(
        "session.refused",
        Who::Operator(proven.operator.clone()),
        format!("target {}", destination.target),
        clock::now(),
    )
    .with("account", &destination.account)
    .with("source", proven.source);
    let mut event = proven.credentials.named_in(event);
    if let Some(to) = wish.forward_to {
        event = event.with("forward_to", to.to_string());
    }
    let event = match why {
        NotOpened::Denied(denials) => event.with("codes", codes(denials)),
        NotOpened::Several(permits) => event.with("codes", ["intervention_not_named"]).with(
            "interventions",
            permits.iter().map(Permit::intervention).collect::<Vec<_>>(),
        ),
        NotOpened::Target(error) => event.with("codes", [error.code()]),
        NotOpened::Unavailable(sentence) => event
            .with("codes", ["unavailable"])
            .with("reason", sentence),
    };
    let event = match front
        .store
        .target(&match access::TargetId::parse(&destination.target) {
            Ok(id) => id,
            Err(_) => return append(front, event).await,
        })
        .await
    {
        Ok(Some(target)) => event.of_customer(&target.details.customer),
        Ok(None) | Err(_) => event,
    };
    append(front, event).await;
}

fn recording_unavailable() -> Denial {
    Denial {
        code: Code::RecordingUnavailable,
        sentence: "the session could not be recorded".to_owned(),
        next: "tell an administrator of the bastion".to_owned(),
    }
}

const fn utc(time: Time) -> UtcMicros {
    UtcMicros(time.micros())
}
