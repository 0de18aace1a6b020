//! One SSH connection of an operator's, from its first byte to its last, and what its callbacks,
//! channels and ends share. It comes from the listener, or through another one (`jump`).

use super::gate::Progress;
use super::handler::Handler;
use super::login::Destination;
use super::session::{self, Live, NotOpened, Proven, Wish};
use super::traces::Trace;
use super::{Front, Turns};
use crate::clock;
use access::{AccountName, Event, OperatorId, Who};
use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use russh::server::{Config, Handle, RunningSession, run_stream};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// How long a connection has to say its last words once it has to end.
const LAST_WORDS: Duration = Duration::from_secs(3);
const STOPPED: &str = "the bastion is being stopped";
/// Refusals that one connection can have traced; then it is ended.
const MOST_REFUSALS: u32 = 200;
/// It is looked whether nothing happens any more this many times within the idle limit, and not more
/// often than that: a thousand idle connections wake nobody.
const LOOKS: u32 = 60;
const NOT_OFTENER: Duration = Duration::from_secs(1);

/// What a connection's callbacks, its channels and whoever ends it share.
pub(crate) struct Connection {
    pub(crate) front: Arc<Front>,
    pub(crate) source: IpAddr,
    pub(crate) proven: OnceLock<Proven>,
    /// Before anybody is in.
    pub(crate) progress: Arc<Progress>,
    /// Keys that were proven, and no second factor yet.
    half_way: std::sync::Mutex<Vec<HalfWay>>,
    /// Opened by the first channel that needs them; one for each place that is gone to.
    sessions: std::sync::Mutex<Sessions>,
    /// Held while a session is opened: a second channel to the same place waits and joins.
    openings: Turns<Place>,
    /// Connections that run inside this one.
    pub(crate) jumps: Mutex<JoinSet<()>>,
    /// How many there are, those that are still being opened included.
    pub(crate) places: Arc<AtomicUsize>,
    /// How many connections through targets there are, those that are being opened included.
    forwards: Arc<AtomicUsize>,
    /// Somebody is logged in.
    pub(crate) logged_in: Notify,
    /// The connection has to end.
    pub(crate) end: Notify,
    /// The bastion is asked to stop.
    pub(crate) stop: watch::Receiver<bool>,
    refusals: AtomicU32,
    /// When anything was asked for or typed last, monotonic microseconds.
    active: AtomicI64,
}

/// Somebody whose first factor alone is known: his key may be in other hands.
#[derive(PartialEq, Eq)]
pub(crate) struct HalfWay {
    pub(crate) operator: OperatorId,
    pub(crate) key: String,
}

/// An account on a target.
type Place = (String, AccountName);

/// The sessions of a connection. A channel that asks for one after the connection is gone opens
/// none: nobody would end it.
enum Sessions {
    Open(Vec<Arc<Live>>),
    Gone,
}

/// One of a connection's channels, as long as it is held.
pub(crate) struct ChannelPlace(Arc<AtomicUsize>);

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connection {
    pub(crate) fn new(
        front: Arc<Front>,
        source: IpAddr,
        progress: Arc<Progress>,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            front,
            source,
            proven: OnceLock::new(),
            progress,
            half_way: std::sync::Mutex::default(),
            sessions: std::sync::Mutex::new(Sessions::Open(Vec::new())),
            openings: Turns::default(),
            jumps: Mutex::default(),
            places: Arc::default(),
            forwards: Arc::default(),
            logged_in: Notify::new(),
            end: Notify::new(),
            stop,
            refusals: AtomicU32::new(0),
            active: AtomicI64::new(clock::monotonic()),
        })
    }

    /// Ends what ran on this connection. Called when the connection is gone.
    async fn finish(&self) {
        self.trace_abandoned().await;
        let was = std::mem::replace(&mut *self.sessions(), Sessions::Gone);
        if let Sessions::Open(sessions) = was {
            let ends = sessions.iter().map(|live| live.end(&self.front));
            join_all(ends).await;
        }
        // Whoever is opening one finds the connection gone, and ends it.
        self.openings.all_over().await;
        self.wait_for_jumps().await;
    }

    /// Notes that somebody has come half way.
    pub(crate) fn is_half_way(&self, half_way: HalfWay) {
        self.progress.has_a_key();
        let mut known = self.half_way.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&half_way) {
            known.push(half_way);
        }
    }

    /// What came of this person's key is traced.
    pub(crate) fn is_settled(&self, operator: &OperatorId) {
        let mut known = self.half_way.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|half_way| half_way.operator != *operator);
    }

    /// A key that was proven and a second factor that was never given are traced: whoever has only
    /// a key looks like that.
    async fn trace_abandoned(&self) {
        let half_way =
            std::mem::take(&mut *self.half_way.lock().unwrap_or_else(PoisonError::into_inner));
        for HalfWay { operator, key } in half_way {
            let event = Event::new(
                "login.abandoned",
                Who::Operator(operator.clone()),
                format!("operator {operator}"),
                clock::now(),
            )
            .with("key", key)
            .with("source", self.source);
            self.front.traces.enter(Trace::Entry(event)).await;
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // The list is whole after every operation, also one that panicked.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sessions of this connection that go on.
    pub(crate) fn live(&self) -> Vec<Arc<Live>> {
        match &*self.sessions() {
            Sessions::Open(sessions) => sessions.clone(),
            Sessions::Gone => Vec::new(),
        }
    }

    /// The session of this connection to `destination`, opened where there is none yet; nothing
    /// where the connection is gone.
    pub(super) async fn session_to(
        self: &Arc<Self>,
        proven: &Proven,
        destination: &Destination,
        wish: &Wish<'_>,
        motive: &str,
    ) -> Option<Result<Arc<Live>, NotOpened>> {
        let place = (destination.target.clone(), destination.account.clone());
        let turn = self.openings.of(&place);
        let _opening = turn.lock().await;
        match &*self.sessions() {
            Sessions::Gone => return None,
            Sessions::Open(open) => {
                if let Some(live) = open.iter().find(|live| live.goes_to(destination)) {
                    return Some(Ok(Arc::clone(live)));
                }
            }
        }
        let opened = session::open(&self.front, proven, destination, wish, motive).await;
        if let Ok(live) = &opened
            && !self.keeps(live)
        {
            if *self.stop.borrow() {
                live.cut(STOPPED).await;
            }
            Box::pin(live.end(&self.front)).await;
            return None;
        }
        Some(opened)
    }

    /// Takes a session in, unless the connection went while it was opened.
    fn keeps(self: &Arc<Self>, live: &Arc<Live>) -> bool {
        match &mut *self.sessions() {
            Sessions::Open(open) => open.push(Arc::clone(live)),
            Sessions::Gone => return false,
        }
        self.watch_over(live);
        true
    }

    /// Ends the connection when `live` is over; where other sessions or jumps go on over it, or are
    /// being opened, only `live`.
    fn watch_over(self: &Arc<Self>, live: &Arc<Live>) {
        let (connection, live) = (Arc::clone(self), Arc::downgrade(live));
        tokio::spawn(async move {
            let Some(live) = live.upgrade() else {
                return;
            };
            live.over.notified().await;
            if connection.lets_go(&live) {
                Box::pin(live.end(&connection.front)).await;
            } else {
                connection.end.notify_one();
            }
        });
    }

    /// Forgets a session that is over, where the connection goes on without it.
    fn lets_go(&self, live: &Live) -> bool {
        let jumps = self.places.load(Ordering::Acquire) > 0;
        let mut sessions = self.sessions();
        let Sessions::Open(open) = &mut *sessions else {
            return false;
        };
        let others = open.iter().any(|other| other.id() != live.id());
        let goes_on = jumps || others || self.openings.any();
        if goes_on {
            open.retain(|other| other.id() != live.id());
        }
        goes_on
    }

    /// One more channel, where it may have one.
    pub(crate) fn place(&self, open: usize) -> Option<ChannelPlace> {
        let before = self.places.fetch_add(1, Ordering::AcqRel);
        let place = ChannelPlace(Arc::clone(&self.places));
        let forwards = self.forwards.load(Ordering::Acquire);
        (open + before + forwards < self.front.config.ssh.max_channels).then_some(place)
    }

    /// The place of one that is a connection through a target. It ends with its session, so that no
    /// session outlives its end for it.
    pub(super) fn place_of_forward(&self, place: ChannelPlace) -> ChannelPlace {
        drop(place);
        self.forwards.fetch_add(1, Ordering::AcqRel);
        ChannelPlace(Arc::clone(&self.forwards))
    }

    /// Something was asked for or typed.
    pub(crate) fn touch(&self) {
        self.active.store(clock::monotonic(), Ordering::Relaxed);
    }

    /// Whether somebody is in, has nothing open and has done nothing for longer than one may. A
    /// session's own silence is the watch's to judge.
    fn is_idle(&self) -> bool {
        let Ok(mut jumps) = self.jumps.try_lock() else {
            return false;
        };
        while jumps.try_join_next().is_some() {}
        let limit = i64::try_from(self.front.config.ssh.idle_limit_s).unwrap_or(i64::MAX);
        let silent = clock::monotonic() - self.active.load(Ordering::Relaxed);
        self.proven.get().is_some()
            && matches!(&*self.sessions(), Sessions::Open(open) if open.is_empty())
            && !self.openings.any()
            && jumps.is_empty()
            && silent >= limit.saturating_mul(1_000_000)
    }

    async fn wait_for_jumps(&self) {
        while let Some(ended) = self.jumps.lock().await.join_next().await {
            if let Err(error) = ended {
                warn!(%error, "the end of a connection within a connection was not waited for");
            }
        }
    }

    /// Counts a refusal that is to be traced; too many of them end the connection.
    pub(super) fn may_be_refused_again(&self) -> bool {
        let fewer = self.refusals.fetch_add(1, Ordering::Relaxed) < MOST_REFUSALS;
        if !fewer {
            self.end.notify_one();
        }
        fewer
    }

    /// Writes down a refused request; too many of them end the connection.
    pub(crate) async fn trace_refused(&self, request: &str, code: &str, sentence: &str) {
        let Some(proven) = self.proven.get() else {
            return;
        };
        if !self.may_be_refused_again() {
            return;
        }
        let mut event = Event::new(
            "request.refused",
            Who::Operator(proven.operator.clone()),
            format!("operator {}", proven.operator),
            clock::now(),
        )
        .with("request", request)
        .with("codes", [code])
        .with("source", self.source);
        let sessions = self.live();
        for live in &sessions {
            live.journal_refused(request, code, sentence).await;
        }
        if let [live] = sessions.as_slice() {
            let row = live.row();
            event = event
                .of_customer(&row.customer)
                .in_intervention(&row.intervention)
                .in_session(&row.id);
        }
        session::append(&self.front, event).await;
    }
}

/// Serves one connection to its end, and ends its session whatever became of it. `sever` takes the
/// stream away; `logged_in` is called once somebody is.
///
/// INVARIANT: a panic ends one session, never the bastion; and it ends it sealed.
pub(crate) async fn attend<S>(
    connection: Arc<Connection>,
    config: Arc<Config>,
    stream: S,
    handler: Handler,
    logged_in: impl FnOnce() + Send + 'static,
    sever: impl Fn() + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = serve(
        Arc::clone(&connection),
        config,
        stream,
        handler,
        logged_in,
        sever,
    );
    let source = connection.source;
    match tokio::spawn(served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%source, error = format!("{error:#}"), "connection ended"),
        Err(error) => warn!(%source, %error, "a connection ended with a panic"),
    }
    // Apart, since there is room for it as long as the connection stands.
    Box::pin(connection.finish()).await;
}

async fn serve<S>(
    connection: Arc<Connection>,
    config: Arc<Config>,
    stream: S,
    handler: Handler,
    logged_in: impl FnOnce() + Send,
    sever: impl Fn() + Send,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let grace = connection.front.config.ssh.login_grace_s;
    let grace = tokio::time::sleep(Duration::from_secs(grace));
    tokio::pin!(grace);
    let mut session = tokio::select! {
        started = run_stream(config, stream, handler) => started.context("no SSH")?,
        () = &mut grace => {
            sever();
            anyhow::bail!("no SSH within the login's time");
        }
    };
    let handle = session.handle();
    let mut stop = connection.stop.clone();
    let mut logged_in = Some(logged_in);
    let mut over = false;
    let idle_limit = Duration::from_secs(connection.front.config.ssh.idle_limit_s);
    let mut look = tokio::time::interval((idle_limit / LOOKS).max(NOT_OFTENER));
    let result = loop {
        tokio::select! {
            result = &mut session => {
                over = true;
                break result.context("the connection");
            }
            () = connection.logged_in.notified() => {
                if let Some(logged_in) = logged_in.take() {
                    logged_in();
                }
            }
            () = &mut grace, if logged_in.is_some() => {
                sever();
                break Err(anyhow::anyhow!("no login in time"));
            }
            _ = look.tick() => {
                if connection.is_idle() {
                    connection.end.notify_one();
                }
            }
            () = connection.end.notified() => {
                break end(&handle, &mut session, &mut over).await;
            }
            () = stopped(&mut stop) => {
                // Each says its own last words, on this connection.
                drop(tokio::time::timeout(3 * LAST_WORDS, connection.wait_for_jumps()).await);
                let sessions = connection.live();
                let cuts = sessions
                    .iter()
                    .map(|live| live.cut(STOPPED));
                join_all(cuts).await;
                break end(&handle, &mut session, &mut over).await;
            }
        }
    };
    // Whatever is left of it: the library's task ends when its stream does.
    sever();
    if !over {
        // One that is stuck in itself ends when it is dropped here.
        drop(tokio::time::timeout(LAST_WORDS, session).await);
    }
    result
}

/// Resolves once the bastion is asked to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone stops too.
    stop.wait_for(|stop| *stop)
        .await
        .map(drop)
        .unwrap_or_default();
}

async fn end(
    handle: &Handle,
    session: &mut RunningSession<Handler>,
    over: &mut bool,
) -> Result<()> {
    let goodbye = handle.disconnect(
        russh::Disconnect::ByApplication,
        "the session has ended".to_owned(),
        "en".to_owned(),
    );
    drop(tokio::time::timeout(LAST_WORDS, goodbye).await);
    match tokio::time::timeout(LAST_WORDS, session).await {
        Ok(result) => {
            *over = true;
            result.context("the connection")
        }
        Err(_) => Ok(()),
    }
}
