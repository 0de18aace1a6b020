//! A session goes on for as long as is permitted now: a later end that the customer approved moves
//! its own, and its people read on their terminals what became of a question for more time.

use super::Live;
use crate::clock;
use crate::ssh::Front;
use crate::ssh::console::on_one_line;
use crate::ssh::extension::{self, Until};
use crate::ssh::more_time::Wanted;
use crate::ssh::relay::Order;
use access::decide::Permit;
use access::extension::Fate;
use access::session::SessionState;
use access::{Intervention, Session, Time};
use recordings::JournalEvent;
use std::future::pending;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::StoreError;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Minutes before the end at which terminals are warned.
pub(crate) const WARNED_AT: [u64; 3] = [1, 5, 10];
/// How long the store has for a new end; it is tried again when the decision is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Under what a session goes on: what was decided anew, on which intervention.
pub(crate) struct GoesOn {
    pub(crate) permit: Permit,
    pub(crate) intervention: Intervention,
}

/// What of an intervention's extensions this session's people know already.
pub(super) struct Known {
    waiting: Option<u32>,
    ended: usize,
}

impl Known {
    /// What there was when a session began; all that came since is news to it.
    fn at(began: Time, intervention: &Intervention) -> Self {
        let ended = &intervention.ended_extensions;
        Self {
            waiting: intervention
                .waiting_extension(began)
                .filter(|plan| plan.written_at < began)
                .map(|plan| plan.number),
            ended: ended.iter().filter(|ended| ended.at < began).count(),
        }
    }
}

impl Live {
    /// Its end becomes the one that is permitted now. Until row and entry say so, the old one
    /// stays; whatever fails here is tried again with the next decision.
    pub(crate) async fn follow(&self, front: &Front, goes_on: GoesOn) {
        let now = clock::now();
        let GoesOn {
            permit,
            intervention,
        } = goes_on;
        for sentence in self.news(&intervention, now) {
            self.tell("extension", &sentence).await;
        }
        let before = self.row();
        let changed = match before.clone().follow(&permit, now) {
            Ok(Some(changed)) => changed,
            Ok(None) => return,
            Err(error) => {
                warn!(session.id = %self.id, %error, "a session could not follow what is permitted");
                return;
            }
        };
        match tokio::time::timeout(PATIENCE, front.store.save(changed)).await {
            Ok(Ok(after)) => self.has_moved(&before, after, &intervention, now).await,
            // Written already, and the answer was not heard.
            Ok(Err(StoreError::Stale { .. })) => self.read_again(front).await,
            Ok(Err(error)) => {
                warn!(session.id = %self.id, %error, "a session's new end could not be written yet");
            }
            Err(_) => {
                warn!(session.id = %self.id, "a session's new end was not written in time");
            }
        }
    }

    async fn has_moved(&self, before: &Session, after: Session, of: &Intervention, now: Time) {
        let ends_at = after.ends_at;
        let anew = before.plan_version != after.plan_version;
        let extended = anew && of.plan().extends.is_some();
        self.set_row(after);
        // After the end has moved: nobody is warned of the old one any more.
        self.warned
            .store(warned_by(ends_at, now), Ordering::Relaxed);
        info!(session.id = %self.id, %ends_at, "session goes on");
        let until = of.plan().text.window.end();
        let sentence = match of.approval().filter(|_| extended) {
            Some(approval) if ends_at < until => format!(
                "[bastion] {} is extended until {until} by {}; this session ends at {ends_at} all \
                 the same: your right, its review, your certificate or the longest session ends then",
                of.id, approval.approver
            ),
            Some(approval) => format!("[bastion] extended until {until} by {}", approval.approver),
            None if anew => format!(
                "[bastion] this session goes on under version {} of the plan, until {ends_at}",
                of.plan().number
            ),
            None => format!("[bastion] this session now ends at {ends_at}"),
        };
        self.tell("extended", &sentence).await;
    }

    /// The row as it is kept, where it says more than is known here.
    async fn read_again(&self, front: &Front) {
        match tokio::time::timeout(PATIENCE, front.store.session(&self.id)).await {
            Ok(Ok(Some(row))) if matches!(row.state, SessionState::Live) => self.set_row(row),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => {
                warn!(session.id = %self.id, %error, "a session's row could not be read");
            }
        }
    }

    /// What has become of questions for more time since this was last asked.
    fn news(&self, intervention: &Intervention, now: Time) -> Vec<String> {
        let waiting = intervention.waiting_extension(now);
        let ended = &intervention.ended_extensions;
        let is = Known {
            waiting: waiting.map(|plan| plan.number),
            ended: ended.len(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let was = known
            .replace(is)
            .unwrap_or_else(|| Known::at(self.row().started_at, intervention));
        let refused = ended
            .iter()
            .skip(was.ended)
            .filter_map(|ended| match &ended.fate {
                Fate::Refused { by, reason } => Some(format!(
                    "[bastion] not extended: {by} refused ({}); the end stays {}",
                    on_one_line(reason),
                    intervention.plan().text.window.end()
                )),
                Fate::Unanswered | Fate::Overtaken => None,
            });
        let asked = waiting
            .filter(|plan| was.waiting != Some(plan.number))
            .map(|plan| {
                format!(
                    "[bastion] {} asked for time until {}; the customer decides",
                    plan.author,
                    plan.text.window.end()
                )
            });
        refused.chain(asked).collect()
    }

    fn set_row(&self, row: Session) {
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
    }

    /// Asks for what was typed at one of its terminals, and says there what came of it. Never ends
    /// by itself.
    pub(super) async fn ask_for_more(
        &self,
        front: &Front,
        mut asked: mpsc::Receiver<Wanted>,
        orders: mpsc::WeakSender<Order>,
    ) {
        while let Some(wanted) = asked.recv().await {
            let row = self.row();
            let until = Until::Later(wanted.more);
            let asking = extension::ask(
                front,
                &row.operator,
                &row.intervention,
                until,
                &wanted.reason,
            );
            // Allocated when it comes, which for most sessions is never.
            let said = match Box::pin(asking).await {
                Ok(asked) => {
                    self.knows_of(asked.waiting.number, &asked.intervention);
                    asked.said()
                }
                Err(error) => extension::Why::of(&error).said(),
            };
            let sentence = format!("[bastion] {said}");
            if Box::pin(self.note("extension_asked", &sentence)).await
                && let Some(orders) = orders.upgrade()
            {
                orders.try_send(Order::Say(sentence)).ok();
            }
        }
        pending::<()>().await;
    }

    /// Its people need not be told of what one of them has just asked for.
    fn knows_of(&self, waiting: u32, intervention: &Intervention) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known {
            waiting: Some(waiting),
            ended: intervention.ended_extensions.len(),
        });
    }

    /// A line on its terminals, and in the journal.
    pub(crate) async fn tell(&self, code: &str, sentence: &str) {
        if self.note(code, sentence).await {
            self.say_on_terminals(sentence);
        }
    }

    /// In the journal; whether it is there.
    async fn note(&self, code: &str, sentence: &str) -> bool {
        let note = JournalEvent::Note {
            code: code.to_owned(),
            text: sentence.to_owned(),
        };
        let noted = self.recorder.journal(self.now(), note).await;
        if let Err(error) = &noted {
            warn!(session.id = %self.id, %error, "what a session was told could not be recorded");
        }
        noted.is_ok()
    }
}

/// The warnings that a new end leaves unsaid, since it is nearer than they tell.
fn warned_by(ends_at: Time, now: Time) -> i64 {
    let left = ends_at.since(now).as_secs();
    let passed = WARNED_AT.into_iter().find(|minutes| left <= minutes * 60);
    passed
        .and_then(|minutes| i64::try_from(minutes).ok())
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_end_is_warned_of_at_what_is_still_ahead() {
        let now = Time::from_micros(0);
        for (seconds, passed) in [
            (601, i64::MAX),
            (600, 10),
            (301, 10),
            (300, 5),
            (61, 5),
            (60, 1),
            (1, 1),
        ] {
            let ends_at = now.plus(Duration::from_secs(seconds));
            assert_eq!(warned_by(ends_at, now), passed, "{seconds}");
        }
    }
}
