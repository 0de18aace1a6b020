//! Confirming an SSH login with a passkey in the browser: bound to one connection, single use,
//! alive for three minutes.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::{FactorId, OperatorId};
use crate::refusal::Refusal;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a confirmation can be given.
pub const ALIVE: Duration = Duration::from_mins(3);

/// A login that waits for a passkey.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// Short random name in the address; knowing it gives nothing without the passkey.
    pub code: String,
    pub operator: OperatorId,
    /// Source address of the connection that waits.
    pub source: String,
    /// What was asked, as typed: `root@db1.chu-exemple`, or nothing.
    pub wanted: String,
    /// Two digits shown in the terminal, asked for on the page.
    pub number: u8,
    pub created_at: Time,
    #[serde(flatten)]
    pub state: ConfirmationState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

/// Where a confirmation stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ConfirmationState {
    Waiting,
    /// This passkey was verified.
    Confirmed {
        at: Time,
        #[serde(default = "FactorId::unknown")]
        factor: FactorId,
    },
    /// The number typed was wrong, or the person said it was not him.
    Denied {
        at: Time,
    },
    /// The connection took it; it is of no further use.
    Used {
        at: Time,
    },
}

impl Confirmation {
    /// Opens a confirmation for a connection whose key was proven. `number` is below 100.
    pub fn open(
        code: String,
        operator: OperatorId,
        source: String,
        wanted: String,
        number: u8,
        now: Time,
    ) -> Changed<Self> {
        let opened = Self {
            code,
            operator,
            source,
            wanted,
            number: number % 100,
            created_at: now,
            state: ConfirmationState::Waiting,
            version: 0,
        };
        let event = opened.event("login.confirmation_asked", now);
        Changed::new(opened, event)
    }

    /// Records that passkey `factor` of `by` was verified, who typed `number`. A wrong number
    /// spends the confirmation.
    pub fn confirm(
        mut self,
        by: &OperatorId,
        factor: FactorId,
        number: u8,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.must_wait(now)?;
        if *by != self.operator {
            return Err(Refusal::new(
                "confirmation_of_another",
                format!("this login is `{}`'s, not `{by}`'s", self.operator),
            ));
        }
        let (state, name) = if number == self.number {
            (
                ConfirmationState::Confirmed { at: now, factor },
                "login.confirmed",
            )
        } else {
            (ConfirmationState::Denied { at: now }, "login.denied")
        };
        self.state = state;
        let event = self.event(name, now);
        Ok(Changed::new(self, event))
    }

    /// Takes the confirmation for the connection that waited; works once.
    pub fn take(mut self, now: Time) -> Result<Changed<Self>, Refusal> {
        match self.state {
            ConfirmationState::Confirmed { .. } if self.alive_at(now) => {
                self.state = ConfirmationState::Used { at: now };
                let event = self.event("login.confirmation_used", now);
                Ok(Changed::new(self, event))
            }
            ConfirmationState::Confirmed { .. }
            | ConfirmationState::Waiting
            | ConfirmationState::Denied { .. }
            | ConfirmationState::Used { .. } => Err(Refusal::new(
                "not_confirmed",
                "this login was not confirmed with a passkey",
            )),
        }
    }

    fn must_wait(&self, now: Time) -> Result<(), Refusal> {
        match self.state {
            ConfirmationState::Waiting if self.alive_at(now) => Ok(()),
            ConfirmationState::Waiting
            | ConfirmationState::Confirmed { .. }
            | ConfirmationState::Denied { .. }
            | ConfirmationState::Used { .. } => Err(Refusal::new(
                "confirmation_over",
                "this confirmation was used or is older than three minutes; connect again",
            )),
        }
    }

    fn alive_at(&self, now: Time) -> bool {
        now >= self.created_at && now < self.created_at.plus(ALIVE)
    }

    fn event(&self, name: &str, now: Time) -> Event {
        let by = Who::Operator(self.operator.clone());
        Event::new(name, by, format!("operator {}", self.operator), now)
            .with("source", &self.source)
            .with("wanted", &self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Confirmation {
        let alice = OperatorId::parse("alice").unwrap();
        let now = Time::from_micros(0);
        Confirmation::open(
            "c0de".into(),
            alice,
            "192.0.2.1".into(),
            "root@db1".into(),
            42,
            now,
        )
        .into_parts()
        .0
    }

    fn passkey() -> FactorId {
        FactorId::from_random([7; 16])
    }

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_confirmed_login_is_taken_once() {
        let alice = OperatorId::parse("alice").unwrap();
        let confirmed = opened()
            .confirm(&alice, passkey(), 42, at(1))
            .unwrap()
            .into_parts()
            .0;
        let used = confirmed.take(at(2)).unwrap().into_parts().0;
        assert_eq!(used.take(at(3)).unwrap_err().code, "not_confirmed");
    }

    #[test]
    fn a_wrong_number_spends_the_confirmation() {
        let alice = OperatorId::parse("alice").unwrap();
        let denied = opened()
            .confirm(&alice, passkey(), 41, at(1))
            .unwrap()
            .into_parts()
            .0;
        assert_eq!(
            denied
                .clone()
                .confirm(&alice, passkey(), 42, at(1))
                .unwrap_err()
                .code,
            "confirmation_over"
        );
        assert_eq!(denied.take(at(1)).unwrap_err().code, "not_confirmed");
    }

    #[test]
    fn three_minutes_later_it_is_too_late() {
        let alice = OperatorId::parse("alice").unwrap();
        assert_eq!(
            opened()
                .confirm(&alice, passkey(), 42, at(180))
                .unwrap_err()
                .code,
            "confirmation_over"
        );
        let confirmed = opened()
            .confirm(&alice, passkey(), 42, at(179))
            .unwrap()
            .into_parts()
            .0;
        assert_eq!(confirmed.take(at(180)).unwrap_err().code, "not_confirmed");
    }

    #[test]
    fn another_persons_passkey_confirms_nothing() {
        let bob = OperatorId::parse("bob").unwrap();
        assert_eq!(
            opened()
                .confirm(&bob, passkey(), 42, at(1))
                .unwrap_err()
                .code,
            "confirmation_of_another"
        );
    }
}
