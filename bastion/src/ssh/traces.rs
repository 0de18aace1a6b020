//! What is to be entered in the audit log by itself: refused requests, failed logins, alerts. In
//! order, each with its own time, and tried until it is entered. Events of a row that changes go
//! with the row and not through here.
//!
//! INVARIANT: nothing new begins while the log cannot be written ([`Traces::is_stuck`]).
//!
//! A write whose answer was lost is tried again: an entry may be there twice, never not at all.

use super::Front;
use crate::clock;
use access::lockout::AfterFailure;
use access::{Event, Who};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::StoreError;
use tokio::sync::{Notify, oneshot};
use tracing::{error, warn};

/// Entries that wait at most. What comes then is in the program's own log alone.
const MOST: usize = 10_000;
/// Microseconds for which the first may wait before nothing new begins.
const A_MOMENT: i64 = 1_000_000;
/// How long who enters something waits for it. Longer than a moment: whoever goes on without it
/// finds the log stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the store has for one entry, and until it is asked again.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(250);

/// What an operator reads while the log cannot be written.
pub(crate) const STUCK: &str =
    "the bastion's audit log cannot be written now; nothing was opened, try again";

/// One thing to be entered.
#[derive(Clone, Debug)]
pub(crate) enum Trace {
    Entry(Event),
    /// A failure that counts under `key` towards a lockout.
    Failure {
        key: String,
        event: Event,
    },
}

/// What waits to be entered.
#[derive(Default)]
pub(crate) struct Traces {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// When the first came to be first, monotonic microseconds.
    first_since: i64,
}

struct Waiting {
    trace: Trace,
    entered: Option<oneshot::Sender<()>>,
}

impl Traces {
    /// Enters it; waits a little for that, and goes on where it takes longer.
    pub(crate) async fn enter(&self, trace: Trace) {
        let stuck = self.is_stuck(clock::monotonic());
        let Some(entered) = self.push(trace, clock::monotonic()) else {
            return;
        };
        if !stuck {
            drop(tokio::time::timeout(PATIENCE, entered).await);
        }
    }

    /// Whether the log cannot be written at `now` (monotonic): the first has waited for longer
    /// than a moment, or no more can wait.
    pub(crate) fn is_stuck(&self, now: i64) -> bool {
        let queue = self.lock();
        let waits = !queue.waiting.is_empty() && now - queue.first_since >= A_MOMENT;
        waits || queue.waiting.len() >= MOST
    }

    /// Waits until all is entered, at most for so long; what is not is said to the administrator.
    pub(crate) async fn drain(&self, at_most: Duration) {
        let emptied = async {
            while !self.lock().waiting.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(at_most, emptied).await.is_err() {
            for waiting in self.lock().waiting.drain(..) {
                waiting.trace.is_lost("the bastion stopped");
            }
        }
    }

    fn push(&self, trace: Trace, now: i64) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.lock();
        if queue.waiting.len() >= MOST {
            drop(queue);
            trace.is_lost("too many entries wait");
            return None;
        }
        if queue.waiting.is_empty() {
            queue.first_since = now;
        }
        let (entered, told) = oneshot::channel();
        queue.waiting.push_back(Waiting {
            trace,
            entered: Some(entered),
        });
        drop(queue);
        self.more.notify_one();
        Some(told)
    }

    fn first(&self) -> Option<Trace> {
        self.lock().waiting.front().map(|first| first.trace.clone())
    }

    /// The first is entered; `next` takes its place, where something follows from it.
    fn entered(&self, next: Option<Trace>, now: i64) {
        let mut queue = self.lock();
        if let Some(mut first) = queue.waiting.pop_front()
            && let Some(entered) = first.entered.take()
        {
            // Who waited may have gone on.
            entered.send(()).unwrap_or_default();
        }
        if let Some(trace) = next {
            queue.waiting.push_front(Waiting {
                trace,
                entered: None,
            });
        }
        queue.first_since = now;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole after every operation, also one that panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trace {
    fn event(&self) -> &Event {
        match self {
            Self::Entry(event) | Self::Failure { event, .. } => event,
        }
    }

    /// The program's own log is all that is left for it. Events hold no secret.
    fn is_lost(&self, why: &str) {
        let event = self.event();
        error!(
            event = event.name,
            entry = event.entry(0),
            why,
            "an event is not in the audit log"
        );
    }
}

/// Enters what waits, one after the other, for as long as the process lives. A panic loses nothing
/// and stops nothing: what was first is first still.
pub(crate) async fn write(front: Arc<Front>) {
    loop {
        let front = Arc::clone(&front);
        if let Err(failed) = tokio::spawn(async move { write_all(&front).await }).await {
            error!(%failed, "the writer of the audit log starts again");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn write_all(front: &Front) {
    let traces = &front.traces;
    loop {
        let Some(first) = traces.first() else {
            traces.more.notified().await;
            continue;
        };
        let name = &first.event().name;
        match tokio::time::timeout(STORE_PATIENCE, put(front, &first)).await {
            Ok(Ok(next)) => traces.entered(next, clock::monotonic()),
            Ok(Err(error @ StoreError::Unavailable(_))) => {
                warn!(event = name, %error, "an event could not be written to the audit log yet");
                tokio::time::sleep(AGAIN).await;
            }
            Ok(Err(error)) => {
                // Asking again changes nothing: what could not be counted is entered at least.
                warn!(event = name, %error, "an event could not be written to the audit log");
                let next = match first {
                    Trace::Failure { event, .. } => Some(Trace::Entry(event)),
                    Trace::Entry(_) => {
                        first.is_lost("the database refuses it");
                        None
                    }
                };
                traces.entered(next, clock::monotonic());
            }
            Err(_) => {
                warn!(
                    event = name,
                    "an event was not written to the audit log in time"
                );
            }
        }
    }
}

/// Writes one; says what is to be entered next, where something follows from it.
async fn put(front: &Front, trace: &Trace) -> Result<Option<Trace>, StoreError> {
    let (key, event) = match trace {
        Trace::Entry(event) => {
            front.store.append(event.clone()).await?;
            return Ok(None);
        }
        Trace::Failure { key, event } => (key, event),
    };
    let counted = front
        .store
        .count_failure(key, event.clone(), event.at)
        .await?;
    Ok(match counted {
        AfterFailure::LockedAndAlert(until) => {
            let alert = Event::new("alert.lockouts", Who::Bastion, key.clone(), event.at)
                .with("locked_until", until.rfc3339());
            Some(Trace::Entry(alert))
        }
        AfterFailure::Open | AfterFailure::Locked(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::Time;

    #[test]
    fn what_waits_for_longer_than_a_moment_is_stuck_until_it_is_entered() {
        let traces = Traces::default();
        assert!(!traces.is_stuck(i64::MAX / 2));
        let first = traces.push(entry("first"), 0);
        assert!(first.is_some() && !traces.is_stuck(A_MOMENT - 1));
        assert!(traces.is_stuck(A_MOMENT));
        assert!(traces.push(entry("second"), A_MOMENT).is_some());
        traces.entered(None, A_MOMENT);
        assert!(!traces.is_stuck(A_MOMENT), "it goes on");
        assert_eq!(traces.first().unwrap().event().name, "second");
        assert!(traces.is_stuck(2 * A_MOMENT));
    }

    #[test]
    fn no_more_wait_than_may_and_then_nothing_begins() {
        let traces = Traces::default();
        for _ in 0..MOST {
            assert!(traces.push(entry("one"), 0).is_some());
        }
        assert!(traces.is_stuck(0));
        assert!(traces.push(entry("too many"), 0).is_none());
    }

    #[test]
    fn what_follows_from_an_entry_comes_before_what_waits() {
        let traces = Traces::default();
        for name in ["failure", "later"] {
            assert!(traces.push(entry(name), 0).is_some());
        }
        traces.entered(Some(entry("alert")), 0);
        let order: Vec<String> = std::iter::from_fn(|| {
            let first = traces.first()?;
            traces.entered(None, 0);
            Some(first.event().name.clone())
        })
        .collect();
        assert_eq!(order, ["alert", "later"]);
    }

    fn entry(name: &str) -> Trace {
        let at = Time::from_micros(0);
        Trace::Entry(Event::new(name, Who::Bastion, "test", at))
    }
}
