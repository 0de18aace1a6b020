//! What time and other people do to sessions that live: it only reads, asks the decision again,
//! and cuts. Also ages interventions and signs the audit log's checkpoints.
//!
//! | part | what it does | waits for |
//! |---|---|---|
//! | `keep_time` | ends whose time is up, whose facts are too old; warns before | nothing |
//! | `ask_again` | asks the decision again | the store, each session for itself |
//! | `keep_house` | ages, notes heads, signs checkpoints | the store |
//! | `close_what_was_left` | sessions whose end could not be written | disk and store |
//!
//! INVARIANT: each part has a task of its own: a store that stalls holds no end up.

use crate::checkpoints::{self, Unsigned};
use crate::clock;
use crate::ssh::session::{Live, WARNED_AT, sentences};
use crate::ssh::{Front, recovery};
use access::{Event, Time, Who};
use anyhow::{Context as _, Result};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

const TICK: Duration = Duration::from_millis(250);
/// A session whose facts could not be read for this long ends: a revocation must reach it.
const LONGEST_DOUBT: i64 = 5_000_000;
/// Longer than any tick takes: the process itself was stopped meanwhile, and asked nothing.
const LONGEST_TICK: i64 = 2_000_000;
/// However little happens, facts are looked at again after this.
const LOOK_AGAIN: i64 = 1_500_000;
/// How long the store has to say how long the log is, and what the facts of one session are.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);
const FACTS_PATIENCE: Duration = Duration::from_secs(3);
/// Sessions that are asked about at the same time. Fewer than the store has connections, so that
/// logins are not held up.
const ASKED_AT_ONCE: usize = 8;
/// How long the store has for one thing of the house.
const HOUSE_PATIENCE: Duration = Duration::from_secs(15);
/// How often running heads and a checkpoint are written, while anything happens.
const CHECKPOINT_EVERY: i64 = 10_000_000;
const AGE_EVERY: i64 = 1_000_000;
const AGED_AT_ONCE: i64 = 100;

/// How often it is looked for sessions that were left open.
const CLOSE_EVERY: Duration = Duration::from_secs(20);

/// Runs until `stop` turns true. One part that fails ends it: sessions that nobody watches are
/// worse than none.
pub(crate) async fn run(front: Arc<Front>, stop: watch::Receiver<bool>) -> Result<()> {
    let mut parts = JoinSet::new();
    parts.spawn(until(stop.clone(), keep_time(Arc::clone(&front))));
    parts.spawn(until(stop.clone(), ask_again(Arc::clone(&front))));
    parts.spawn(until(stop.clone(), keep_house(Arc::clone(&front))));
    parts.spawn(until(stop, close_what_was_left(front)));
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the watch ended")?;
    }
    Ok(())
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

async fn until(mut stop: watch::Receiver<bool>, part: impl Future<Output = ()>) {
    tokio::select! {
        () = part => {}
        // A sender that is gone stops too.
        stopped = stop.wait_for(|stop| *stop) => drop(stopped),
    }
}

/// Ends each session whose time is up or whose facts are too old, and warns before. Never asks
/// the store anything.
async fn keep_time(front: Arc<Front>) {
    let mut last = clock::monotonic();
    let mut woken = last;
    loop {
        let (now, tick) = (clock::now(), clock::monotonic());
        if tick - last > LONGEST_TICK {
            woken = tick;
        }
        last = tick;
        for session in front.live.all() {
            let reason =
                time_is_up(&front, &session, now).or_else(|| in_doubt(&session, woken, tick));
            match reason {
                Some(reason) => cut(&session, reason),
                None => warn_before_the_end(&session, now),
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Asks the decision again for every live session, whenever anything was entered in the log (by
/// whichever bastion), and every now and then. What is not answered leaves the session in doubt.
async fn ask_again(front: Arc<Front>) {
    let mut seen = None;
    let mut looked = i64::MIN / 2;
    loop {
        let tick = clock::monotonic();
        let due = tick - looked >= LOOK_AGAIN;
        // Where it is due anyway, a log that does not answer holds nothing up.
        let head = if due { None } else { read_head(&front).await };
        if due || head.is_none() || head != seen {
            looked = tick;
            ask_about(&front, front.live.all()).await;
            // Read before the facts were: what came meanwhile is news at the next tick.
            seen = head.or(seen);
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn read_head(front: &Front) -> Option<i64> {
    match tokio::time::timeout(HEAD_PATIENCE, front.store.head()).await {
        Ok(Ok(head)) => Some(head),
        Ok(Err(error)) => {
            warn!(%error, "the length of the audit log could not be read");
            None
        }
        Err(_) => None,
    }
}

/// Some at a time, so that one that is not answered holds the others up for no longer than that.
async fn ask_about(front: &Arc<Front>, live: Vec<Arc<Live>>) {
    let mut asked = JoinSet::new();
    for session in live {
        while asked.len() >= ASKED_AT_ONCE {
            told(asked.join_next().await);
        }
        let front = Arc::clone(front);
        asked.spawn(async move { decide_again(&front, &session).await });
    }
    while let Some(ended) = asked.join_next().await {
        told(Some(ended));
    }
}

/// One that could not be asked about stays in doubt.
fn told(ended: Option<std::result::Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        warn!(%error, "the facts of a live session could not be looked at");
    }
}

async fn decide_again(front: &Front, session: &Arc<Live>) {
    // As old as the question: what changed since is not in the answer.
    let asked = clock::monotonic();
    let answer = tokio::time::timeout(FACTS_PATIENCE, session.decide_again(front)).await;
    match answer {
        Ok(Ok(Ok(goes_on))) => {
            session.agreed.store(asked, Ordering::Relaxed);
            session.follow(front, goes_on).await;
        }
        Ok(Ok(Err(denials))) => cut(session, sentences(&denials)),
        Ok(Err(error)) => {
            warn!(session.id = %session.id(), %error, "the facts of a live session could not be read");
        }
        Err(_) => {
            warn!(session.id = %session.id(), "the facts of a live session were not read in time");
        }
    }
}

/// Ages interventions, notes how far recordings have come, signs checkpoints.
async fn keep_house(front: Arc<Front>) {
    let mut aged = i64::MIN / 2;
    let mut checkpointed = clock::monotonic();
    loop {
        let (now, tick) = (clock::now(), clock::monotonic());
        if tick - aged >= AGE_EVERY {
            aged = tick;
            patiently("interventions could not be aged", age(&front, now)).await;
        }
        if tick - checkpointed >= CHECKPOINT_EVERY {
            checkpointed = tick;
            let heads = note_all_heads(&front, now);
            patiently("the heads of recordings could not be noted", heads).await;
            patiently("a checkpoint could not be signed", checkpoint(&front)).await;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Closes what could not be closed when it ended: a full disk has room again, a database answers.
async fn close_what_was_left(front: Arc<Front>) {
    let mut suspects = HashSet::new();
    loop {
        tokio::time::sleep(CLOSE_EVERY).await;
        if let Err(error) = recovery::again(&front, &mut suspects).await {
            warn!(
                error = format!("{error:#}"),
                "sessions that were left open could not be closed"
            );
        }
    }
}

async fn patiently(otherwise: &str, work: impl Future<Output = ()>) {
    if tokio::time::timeout(HOUSE_PATIENCE, work).await.is_err() {
        warn!("{otherwise} in time");
    }
}

/// Why nobody knows any more what this session may do, if so.
fn in_doubt(live: &Live, woken: i64, tick: i64) -> Option<String> {
    // What was asked before this process was stopped for a while is asked again first.
    let agreed = live.agreed.load(Ordering::Relaxed).max(woken);
    (tick - agreed >= LONGEST_DOUBT).then(|| {
        "the bastion's database does not answer; what is allowed cannot be known".to_owned()
    })
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
    let Some(minutes) = WARNED_AT
        .into_iter()
        .find(|minutes| left <= minutes * 60 && total > minutes * 60)
    else {
        return;
    };
    let live = Arc::clone(live);
    tokio::spawn(async move {
        let sentence = format!(
            "[bastion] this session ends in {minutes} min, at {}; for more time, Enter and then ~+",
            live.ends_at()
        );
        live.warn_terminals(i64::try_from(minutes).unwrap_or(0), &sentence)
            .await;
    });
}

/// Not awaited: one session that ends slowly must not keep the others.
fn cut(live: &Arc<Live>, sentence: String) {
    if !live.is_first_to_end_it() {
        return;
    }
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

/// Enters how far each stream of every live recording has come, where it has come further. The
/// first that cannot be entered ends the round: the next one tells more.
async fn note_all_heads(front: &Front, now: Time) {
    for live in front.live.all() {
        let Some((frames, heads)) = live.new_heads() else {
            continue;
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
        match front.store.append(event).await {
            Ok(_) => live.heads_are_noted(frames),
            Err(error) => {
                warn!(session.id = %row.id, %error, "the heads of a recording could not be noted yet");
                return;
            }
        }
    }
}
