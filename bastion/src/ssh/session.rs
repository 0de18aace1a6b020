//! One recorded session: opened by a permit, kept by the watch, ended with a sealed manifest.
//!
//! ```text
//! facts ─► decide ─► permit ─► recording begins ─► session row ─► target ─► channels … ─► manifest ─► session row
//! ```
//! INVARIANT: no session without a recording, and no target before both are durable.

mod asked;
mod channel;
mod ending;
mod following;
mod opening;

pub(crate) use asked::{Covers, Run, Start, Terminal, Wish, say_and_close};
pub(crate) use following::{GoesOn, WARNED_AT};
pub(crate) use opening::{NotOpened, Proven, may_stay, open, proven_now};

use super::Front;
use super::files::Allowed;
use super::login::{Destination, ProvenAt};
use super::relay::{Activity, Order};
use super::traces::Trace;
use super::upstream::Upstream;
use crate::clock;
use access::decide::{Capacity, LoginAge, decide};
use access::grant::Operation;
use access::{Denial, Event, Session, SessionId, Time, Who};
use asked::Question;
use following::Known;
use opening::means;
use recordings::{JournalEvent, Micros, Recorder, UtcMicros};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use store::StoreError;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

/// How long running channels have to end before the connections are taken away.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Between the last words on the channels and the end of the connection.
const TIME_TO_SHOW: Duration = Duration::from_millis(500);

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
    known: Mutex<Option<Known>>,
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

#[derive(Clone)]
struct Cut {
    sentence: String,
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
        self.row().ends_at
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

    /// Asks the decision again, for everything that runs: a fact may have changed. A channel that
    /// goes on under one of two operations loses the other; what does not go on is denied.
    pub(crate) async fn decide_again(
        &self,
        front: &Front,
    ) -> Result<Result<GoesOn, Vec<Denial>>, StoreError> {
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
        let (mut denied, goes_on) = self.answers_to(front, asked, LoginAge::Young).await?;
        if let Some(denials) = denied.remove(&(None, None)) {
            return Ok(Err(denials));
        }
        for covers in running {
            let (lost, left): (Vec<_>, Vec<_>) = covers
                .questions()
                .into_iter()
                .partition(|question| denied.contains_key(question));
            if let ([question, ..], []) = (lost.as_slice(), left.as_slice()) {
                let denials = denied.remove(question).unwrap_or_default();
                return Ok(Err(denials));
            }
            if let Covers::Some(allowed) = covers {
                let lost: Vec<_> = lost.into_iter().filter_map(|(lost, _)| lost).collect();
                self.withdraw(&allowed, &lost).await;
            }
        }
        Ok(goes_on.ok_or_else(Vec::new))
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

    /// Those of `questions` that the facts do not cover now, and why; and under what it goes on, if
    /// they cover any.
    async fn answers_to(
        &self,
        front: &Front,
        questions: BTreeSet<Question>,
        login: LoginAge,
    ) -> Result<(BTreeMap<Question, Vec<Denial>>, Option<GoesOn>), StoreError> {
        let now = clock::now();
        let mut means = means(front, login);
        means.capacity = Capacity::Free;
        let mut facts = front
            .store
            .facts_of(&self.row(), means, front.config.policy())
            .await?;
        let mut denied = BTreeMap::new();
        let mut permitted = None;
        for question in questions {
            (facts.asked.operation, facts.asked.forward_to) = question.clone();
            match decide(&facts, now) {
                Ok(permit) => permitted = Some(permit),
                Err(denials) => _ = denied.insert(question, denials),
            }
        }
        let goes_on = permitted.zip(facts.intervention);
        let goes_on = goes_on.map(|(permit, intervention)| GoesOn {
            permit,
            intervention,
        });
        Ok((denied, goes_on))
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
        if self.recorder.journal(self.now(), warning).await.is_ok() {
            self.say_on_terminals(sentence);
        }
    }

    /// Commands are not disturbed. What the recording has not been told is not said.
    fn say_on_terminals(&self, sentence: &str) {
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

    /// Whether something other than the operator ends it.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
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

const fn utc(time: Time) -> UtcMicros {
    UtcMicros(time.micros())
}
