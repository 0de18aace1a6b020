//! The second factor of an SSH login: a code, or Enter after confirming with a passkey on the
//! host page. Asked only after the key's signature was proven.
//!
//! Every failure counts towards a lockout, per operator and per source address; a code's time step
//! is let through once, across all bastions, by the store.

use crate::clock;
use crate::secrets;
use crate::ssh::Front;
use crate::ssh::traces::Trace;
use access::confirmation::{Confirmation, ConfirmationState};
use access::second_factor::{Factor, Holder, Proof, SecondFactor};
use access::{Event, FactorId, OperatorId, Who, totp};
use std::net::IpAddr;
use std::time::Duration;
use tracing::warn;

/// How long an Enter waits for a confirmation that is not there yet.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// One login that has to prove a second factor.
pub(crate) struct Challenge {
    operator: OperatorId,
    source: IpAddr,
    /// What was asked for, as the confirmation page shows it.
    wanted: String,
    /// The confirmation opened for this connection, where the person holds a passkey.
    code: Option<String>,
}

/// A factor that was proven, and how much that is.
#[derive(Clone, Debug)]
pub(crate) struct Factored {
    pub(crate) factor: FactorId,
    pub(crate) proof: Proof,
}

/// What an answer led to.
pub(crate) enum Answer {
    Proven(Factored),
    /// Nothing was wrong, but nothing is proven yet; ask again.
    AskAgain,
    /// Wrong, and counted.
    Failed,
    /// Nobody looked at it.
    Unheard,
}

impl Challenge {
    pub(crate) const fn new(operator: OperatorId, source: IpAddr, wanted: String) -> Self {
        Self {
            operator,
            source,
            wanted,
            code: None,
        }
    }

    /// What to ask this person; opens a confirmation where he holds a passkey. `None` where
    /// nothing can be asked (locked, or the store does not answer).
    pub(crate) async fn prompt(&mut self, front: &Front) -> Option<String> {
        if is_locked(front, &self.operator, self.source).await {
            return None;
        }
        let factors = self.factors(front).await?;
        let has = |proof| factors.iter().any(|factor| factor.strength() == proof);
        if has(Proof::Passkey) {
            let confirmation = match self.code.take() {
                Some(code) => front.store.confirmation(&code).await.ok().flatten(),
                None => None,
            };
            let confirmation = match confirmation {
                Some(open) if open.state == ConfirmationState::Waiting => open,
                _ => self.open_confirmation(front).await?,
            };
            self.code = Some(confirmation.code.clone());
            let what = if has(Proof::Totp) {
                "Code, or Enter"
            } else {
                "Enter"
            };
            // All in the prompt: a client shows instructions (RFC 4256) where it likes, if at all.
            return Some(format!(
                "{what} once confirmed with your passkey at {}/confirm/{} (number {:02}): ",
                front.config.web.host_url, confirmation.code, confirmation.number
            ));
        }
        Some("Code: ".to_owned())
    }

    /// Looks at what the person typed.
    pub(crate) async fn answer(&mut self, front: &Front, typed: &str) -> Answer {
        if is_locked(front, &self.operator, self.source).await {
            return Answer::Unheard;
        }
        let typed = typed.trim();
        if !typed.is_empty() {
            return self.code_in_turn(front, typed).await;
        }
        let confirmed = self.take_confirmation(front).await;
        self.conclude(front, confirmed).await
    }

    /// Resets or raises the counts of failures.
    async fn conclude(&self, front: &Front, checked: Checked) -> Answer {
        match checked {
            Checked::Proven(factored) => {
                for key in self.lockout_keys() {
                    if let Err(error) = front.store.count_success(&key).await {
                        warn!(%error, "the count of failures could not be reset");
                        return Answer::Unheard;
                    }
                }
                Answer::Proven(factored)
            }
            Checked::NotYet => Answer::AskAgain,
            Checked::Wrong(reason) => {
                self.count_failure(front, reason).await;
                Answer::Failed
            }
            Checked::Unavailable => Answer::Unheard,
        }
    }

    /// Guesses of one operator are looked at one after the other: those sent at the same instant
    /// would all pass a lock that the first of them ought to close.
    async fn code_in_turn(&self, front: &Front, typed: &str) -> Answer {
        let turn = front.turns.of(&self.operator);
        let _turn = turn.lock().await;
        if is_locked(front, &self.operator, self.source).await {
            return Answer::Unheard;
        }
        let checked = self.check_code(front, typed).await;
        self.conclude(front, checked).await
    }

    async fn check_code(&self, front: &Front, typed: &str) -> Checked {
        let Some(factors) = self.factors(front).await else {
            return Checked::Unavailable;
        };
        for factor in factors {
            let Factor::Totp { sealed_secret } = &factor.factor else {
                continue;
            };
            let Ok(secret) = front.keys.factors.open(factor.id.as_str(), sealed_secret) else {
                warn!(factor = %factor.id, "a sealed secret does not open; was the factor key replaced?");
                continue;
            };
            if let Ok(Some(step)) = totp::matching_step(&secret, typed, clock::now()) {
                return match front.store.use_totp_step(&factor.id, step).await {
                    Ok(true) => Checked::Proven(Factored {
                        factor: factor.id,
                        proof: Proof::Totp,
                    }),
                    Ok(false) => Checked::Wrong("code_used_twice"),
                    Err(error) => {
                        warn!(%error, "a code could not be checked");
                        Checked::Unavailable
                    }
                };
            }
        }
        Checked::Wrong("wrong_code")
    }

    /// Takes this connection's confirmation, waiting a while for it.
    async fn take_confirmation(&self, front: &Front) -> Checked {
        let Some(code) = &self.code else {
            return Checked::NotYet;
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                match front.store.confirmation(code).await {
                    Ok(Some(confirmation)) => match confirmation.state {
                        ConfirmationState::Waiting => tokio::time::sleep(LOOK_AGAIN).await,
                        ConfirmationState::Confirmed { .. } => {
                            return self.take(front, confirmation).await;
                        }
                        ConfirmationState::Denied { .. } => {
                            return Checked::Wrong("confirmation_denied");
                        }
                        ConfirmationState::Used { .. } => {
                            return Checked::Wrong("confirmation_used_twice");
                        }
                    },
                    Ok(None) => return Checked::Wrong("confirmation_unknown"),
                    Err(error) => {
                        warn!(%error, "a confirmation could not be read");
                        return Checked::Unavailable;
                    }
                }
            }
        })
        .await;
        waited.unwrap_or(Checked::NotYet)
    }

    async fn take(&self, front: &Front, confirmation: Confirmation) -> Checked {
        if confirmation.operator != self.operator || confirmation.source != self.source.to_string()
        {
            return Checked::Wrong("confirmation_of_another");
        }
        let ConfirmationState::Confirmed { factor, .. } = confirmation.state.clone() else {
            return Checked::NotYet;
        };
        let Ok(taken) = confirmation.take(clock::now()) else {
            return Checked::Wrong("confirmation_over");
        };
        // Compare-and-swap: of two connections that take it, one finds it stale.
        match front.store.save(taken).await {
            Ok(_) => Checked::Proven(Factored {
                factor,
                proof: Proof::Passkey,
            }),
            Err(error) => {
                warn!(%error, "a confirmation could not be taken");
                Checked::Unavailable
            }
        }
    }

    async fn open_confirmation(&self, front: &Front) -> Option<Confirmation> {
        let (random, number) = (secrets::random::<10>().ok()?, secrets::random::<4>().ok()?);
        let number = u8::try_from(u32::from_be_bytes(number) % 100).unwrap_or(0);
        let opened = Confirmation::open(
            access::audit::hex(&random),
            self.operator.clone(),
            self.source.to_string(),
            self.wanted.clone(),
            number,
            clock::now(),
        );
        match front.store.save(opened).await {
            Ok(confirmation) => Some(confirmation),
            Err(error) => {
                warn!(%error, "a confirmation could not be opened");
                None
            }
        }
    }

    async fn factors(&self, front: &Front) -> Option<Vec<SecondFactor>> {
        match front
            .store
            .factors(&Holder::Operator(self.operator.clone()))
            .await
        {
            Ok(factors) => Some(factors),
            Err(error) => {
                warn!(%error, "the second factors could not be read");
                None
            }
        }
    }

    async fn count_failure(&self, front: &Front, reason: &str) {
        let now = clock::now();
        for key in self.lockout_keys() {
            let event = Event::new(
                "login.refused",
                Who::Operator(self.operator.clone()),
                format!("operator {}", self.operator),
                now,
            )
            .with("reason", reason)
            .with("source", self.source)
            .with("counted", &key);
            front.traces.enter(Trace::Failure { key, event }).await;
        }
    }

    fn lockout_keys(&self) -> [String; 2] {
        lockout_keys(&self.operator, self.source)
    }
}

enum Checked {
    Proven(Factored),
    NotYet,
    Wrong(&'static str),
    Unavailable,
}

/// Whether the operator or the source address is locked now. A store that does not answer locks,
/// and failures that wait to be counted do.
pub(crate) async fn is_locked(front: &Front, operator: &OperatorId, source: IpAddr) -> bool {
    if front.traces.is_stuck(clock::monotonic()) {
        return true;
    }
    for key in lockout_keys(operator, source) {
        match front.store.lockout(&key).await {
            Ok(lockout) if lockout.locked_at(clock::now()).is_none() => {}
            Ok(_) => return true,
            Err(error) => {
                warn!(%error, "a lockout could not be read");
                return true;
            }
        }
    }
    false
}

fn lockout_keys(operator: &OperatorId, source: IpAddr) -> [String; 2] {
    [format!("operator:{operator}"), format!("source:{source}")]
}
