//! Lockout after failed second factors: 3 failures lock for 60 s, then longer (PGSSI-S 5.2.3.1).

use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Failures before a lock.
pub const FAILURES: u32 = 3;
const FIRST_LOCK: Duration = Duration::from_mins(1);
const LONGEST_LOCK: Duration = Duration::from_hours(1);
const FORGET_AFTER: Duration = Duration::from_hours(24);

/// What is remembered of one operator's, or one source address's, failures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lockout {
    /// Failures since the last success or lock.
    pub failures: u32,
    /// Locks within the last day.
    pub locks: u32,
    /// Until when nothing is tried.
    pub locked_until: Option<Time>,
    /// When the last failure happened.
    pub last_failure: Option<Time>,
}

/// What a failure led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterFailure {
    /// May try again.
    Open,
    /// Locked until then.
    Locked(Time),
    /// Locked until then, for the third time (or more) within a day: tell somebody.
    LockedAndAlert(Time),
}

impl Lockout {
    /// Whether it is locked at `now`, and until when.
    pub fn locked_at(&self, now: Time) -> Option<Time> {
        self.locked_until.filter(|until| now < *until)
    }

    /// Counts one failure.
    #[must_use]
    pub fn failed(mut self, now: Time) -> (Self, AfterFailure) {
        if self
            .last_failure
            .is_some_and(|last| now.since(last) >= FORGET_AFTER)
        {
            self = Self::default();
        }
        self.failures += 1;
        self.last_failure = Some(now);
        if self.failures < FAILURES {
            return (self, AfterFailure::Open);
        }
        let doublings = self.locks.min(8);
        let until = now.plus((FIRST_LOCK * 2_u32.pow(doublings)).min(LONGEST_LOCK));
        self.failures = 0;
        self.locks += 1;
        self.locked_until = Some(until);
        let outcome = if self.locks >= 3 {
            AfterFailure::LockedAndAlert(until)
        } else {
            AfterFailure::Locked(until)
        };
        (self, outcome)
    }

    /// A success forgets the failures, not the locks of the day.
    #[must_use]
    pub fn succeeded(mut self) -> Self {
        self.failures = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn three_failures_lock_for_a_minute_and_the_third_lock_alerts() {
        let mut state = Lockout::default();
        let mut now = at(0);
        let mut outcomes = Vec::new();
        for _ in 0..9 {
            let (next, outcome) = state.failed(now);
            state = next;
            outcomes.push(outcome);
            now = state.locked_at(now).unwrap_or(now);
        }
        assert_eq!(
            outcomes,
            [
                AfterFailure::Open,
                AfterFailure::Open,
                AfterFailure::Locked(at(60)),
                AfterFailure::Open,
                AfterFailure::Open,
                AfterFailure::Locked(at(180)),
                AfterFailure::Open,
                AfterFailure::Open,
                AfterFailure::LockedAndAlert(at(420)),
            ]
        );
    }

    #[test]
    fn a_success_between_failures_forgets_them() {
        let (state, _) = Lockout::default().failed(at(0));
        let (state, _) = state.failed(at(1));
        let (state, outcome) = state.succeeded().failed(at(2));
        assert_eq!(outcome, AfterFailure::Open);
        assert_eq!(state.locked_at(at(2)), None);
    }

    #[test]
    fn a_day_without_failure_starts_over() {
        let mut state = Lockout::default();
        for i in 0..3 {
            state = state.failed(at(i)).0;
        }
        let (state, outcome) = state.failed(at(100_000));
        assert_eq!((state.locks, outcome), (0, AfterFailure::Open));
    }
}
