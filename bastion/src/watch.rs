//! What time and other people do to sessions that live: it only reads, asks the decision again,
//! and cuts. Also ages interventions and signs the audit log's checkpoints.

use crate::checkpoints::{self, Unsigned};
use crate::clock;
use crate::ssh::Front;
use crate::ssh::session::{Live, append, sentences};
use access::{Event, Time, Who};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, warn};

const TICK: Duration = Duration::from_millis(250);
/// A session whose facts could not be read for this long ends: a revocation must reach it.
const LONGEST_DOUBT: i64 = 5_000_000;
/// However little happens, facts are looked at again after this.
const LOOK_AGAIN: i64 = 2_000_000;
/// How often running heads and a checkpoint are written, while anything happens.
const CHECKPOINT_EVERY: i64 = 10_000_000;
const AGE_EVERY: i64 = 1_000_000;
const AGED_AT_ONCE: i64 = 100;

/// Runs until `stop` turns true; then signs a last checkpoint.
pub(crate) async fn run(front: Arc<Front>, mut stop: watch::Receiver<bool>) {
    let mut state = Watch {
        seen: -1,
        looked: 0,
        aged: 0,
        checkpointed: clock::monotonic(),
    };
    loop {
        state.tick(&front).await;
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            stopped = stop.wait_for(|stop| *stop) => return drop(stopped),
        }
    }
}

/// Signs what was appended since the last checkpoint. On a log that is not the one that was signed
/// before, nothing is signed and no session is opened any more.
pub(crate) async fn checkpoint(front: &Front) {
    let (state, audit) = (&front.config.state, &front.keys.audit);
    match checkpoints::sign(&front.store, audit, state, clock::now()).await {
        Ok(()) => front.log_continues.store(true, Ordering::Relaxed),
        Err(Unsigned::NotThisLog(error)) => {
            error!("{error:#}; no session is opened");
            front.log_continues.store(false, Ordering::Relaxed);
        }
        Err(Unsigned::NotNow(error)) => warn!("{error:#}"),
    }
}

struct Watch {
    /// Entries of the audit log when facts were last looked at.
    seen: i64,
    looked: i64,
    aged: i64,
    checkpointed: i64,
}

impl Watch {
    async fn tick(&mut self, front: &Arc<Front>) {
        let (now, tick) = (clock::now(), clock::monotonic());
        let live = front.live.all();
        for session in &live {
            if let Some(reason) = time_is_up(front, session, now) {
                cut(session, reason);
            } else {
                warn_before_the_end(session, now);
            }
        }
        self.look_at_facts(front, &live, tick).await;
        if tick - self.aged >= AGE_EVERY {
            self.aged = tick;
            age(front, now).await;
        }
        if tick - self.checkpointed >= CHECKPOINT_EVERY {
            self.checkpointed = tick;
            for session in &live {
                note_heads(front, session, now).await;
            }
            checkpoint(front).await;
        }
    }

    /// Asks the decision again for every live session, whenever anything was entered in the log
    /// (by whichever bastion), and every now and then.
    async fn look_at_facts(&mut self, front: &Arc<Front>, live: &[Arc<Live>], tick: i64) {
        if live.is_empty() {
            return;
        }
        let head = front.store.head().await;
        let news = match &head {
            Ok(head) => *head != self.seen,
            Err(_) => true,
        };
        if !news && tick - self.looked < LOOK_AGAIN {
            return;
        }
        self.looked = tick;
        for session in live {
            match session.decide_again(front).await {
                Ok(Ok(())) => session.agreed.store(clock::monotonic(), Ordering::Relaxed),
                Ok(Err(denials)) => {
                    session.agreed.store(clock::monotonic(), Ordering::Relaxed);
                    cut(session, sentences(&denials));
                }
                Err(error) => {
                    warn!(session.id = %session.id(), %error, "the facts of a live session could not be read");
                    if clock::monotonic() - session.agreed.load(Ordering::Relaxed) >= LONGEST_DOUBT
                    {
                        let sentence = "the bastion's database does not answer; what is allowed cannot be known";
                        cut(session, sentence.to_owned());
                    }
                }
            }
        }
        if let Ok(head) = head {
            self.seen = head;
        }
    }
}

/// Why time ends this session now, if it does.
fn time_is_up(front: &Front, live: &Live, now: Time) -> Option<String> {
    if now >= live.ends_at() {
        return Some(format!(
            "the time of this session ended at {}",
            live.ends_at()
        ));
    }
    // The clock went back before the session's start: nothing about its window is known any more.
    if now < live.row().started_at {
        return Some("the bastion's clock went back; connect again".to_owned());
    }
    let limit = i64::try_from(front.config.ssh.idle_limit_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    if live.idle_micros() >= limit {
        return Some(match front.config.ssh.idle_limit_s {
            seconds @ 0..60 => format!("nothing happened for {seconds} seconds"),
            seconds => format!("nothing happened for {} minutes", seconds / 60),
        });
    }
    None
}

/// 10, 5 and 1 minutes before.
fn warn_before_the_end(live: &Arc<Live>, now: Time) {
    let left = live.ends_at().since(now).as_secs();
    let total = live.ends_at().since(live.row().started_at).as_secs();
    let Some(minutes) = [1, 5, 10]
        .into_iter()
        .find(|minutes| left <= minutes * 60 && total > minutes * 60)
    else {
        return;
    };
    let live = Arc::clone(live);
    tokio::spawn(async move {
        let sentence = format!(
            "[bastion] this session ends in {minutes} min, at {}",
            live.ends_at()
        );
        live.warn_terminals(i64::try_from(minutes).unwrap_or(0), &sentence)
            .await;
    });
}

/// Not awaited: one session that ends slowly must not keep the others.
fn cut(live: &Arc<Live>, sentence: String) {
    let live = Arc::clone(live);
    tokio::spawn(async move { live.cut(&sentence).await });
}

async fn age(front: &Front, now: Time) {
    let aging = match front.store.aging(now, AGED_AT_ONCE).await {
        Ok(aging) => aging,
        Err(error) => {
            warn!(%error, "interventions could not be aged");
            return;
        }
    };
    for intervention in aging {
        let id = intervention.id.clone();
        let Some(changed) = intervention.aged(now) else {
            continue;
        };
        // Stale: somebody, or another bastion, was faster.
        if let Err(error) = front.store.save(changed).await {
            warn!(intervention.id = %id, %error, "an intervention could not be aged");
        }
    }
}

/// Enters how far each stream of a live recording has come, where it has come further.
async fn note_heads(front: &Front, live: &Live, now: Time) {
    let Some(heads) = live.new_heads() else {
        return;
    };
    let row = live.row();
    let event = Event::new(
        "recording.heads",
        Who::Bastion,
        format!("session {}", row.id),
        now,
    )
    .of_customer(&row.customer)
    .in_intervention(&row.intervention)
    .in_session(&row.id)
    .with("streams", heads);
    append(front, event).await;
}
