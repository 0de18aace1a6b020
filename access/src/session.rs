//! The session: one connection to one account of one target, under one grant and one
//! intervention, with its motive. None of these links can be missing: it is made from a permit.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::credentials::Credentials;
use crate::decide::Permit;
use crate::ids::{
    AccountName, CustomerId, GrantId, InterventionId, OperatorId, SessionId, TargetId,
};
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where a session stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SessionState {
    Live,
    /// Ended in good order; the manifest of its recording is sealed.
    Ended {
        at: Time,
        reason: String,
        manifest_sha256: String,
    },
    /// The bastion stopped before it could end; closed by the next start.
    Interrupted {
        at: Time,
        manifest_sha256: String,
    },
}

/// One session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub operator: OperatorId,
    pub customer: CustomerId,
    pub target: TargetId,
    pub account: AccountName,
    pub grant: GrantId,
    pub intervention: InterventionId,
    pub plan_version: u32,
    pub motive: String,
    #[serde(flatten)]
    pub credentials: Credentials,
    /// Whether the second factor was given for this connection, or reused within the window.
    pub factor_reused: bool,
    pub source: IpAddr,
    pub started_at: Time,
    pub ends_at: Time,
    #[serde(flatten)]
    pub state: SessionState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

/// Whether the second factor was proven on this very connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorUse {
    Fresh,
    /// Within the reuse window of an earlier connection; said in the trace.
    Reused,
}

impl Session {
    /// Opens a session with a permit that is still fresh. An empty `motive` stands for the plan's
    /// purpose.
    pub fn open(
        id: SessionId,
        permit: &Permit,
        motive: &str,
        factor: FactorUse,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        permit.must_be_fresh(now)?;
        let motive = if motive.trim().is_empty() {
            permit.purpose()
        } else {
            motive.trim()
        };
        require_text("motive", motive, 3, 2000)?;
        let session = Self {
            id,
            operator: permit.operator().clone(),
            customer: permit.customer().clone(),
            target: permit.target().id.clone(),
            account: permit.account().clone(),
            grant: permit.grant().clone(),
            intervention: permit.intervention().clone(),
            plan_version: permit.plan_version(),
            motive: motive.to_owned(),
            credentials: permit.credentials().clone(),
            factor_reused: factor == FactorUse::Reused,
            source: permit.source(),
            started_at: now,
            ends_at: permit.ends_at(),
            state: SessionState::Live,
            version: 0,
        };
        let event = session
            .event(
                "session.opened",
                Who::Operator(session.operator.clone()),
                now,
            )
            .with("target", &session.target)
            .with("account", &session.account)
            .with("grant", &session.grant)
            .with("plan_version", session.plan_version)
            .with("motive", &session.motive)
            .with("second_factor_reused", session.factor_reused)
            .with("source", session.source)
            .with("ends_at", session.ends_at.rfc3339());
        let event = session.credentials.named_in(event);
        Ok(Changed::new(session, event))
    }

    /// Goes on under what is permitted now: until then, under that version of the plan. `None` where
    /// nothing of that has changed. The permit is one for this very session, decided anew.
    pub fn follow(mut self, permit: &Permit, now: Time) -> Result<Option<Changed<Self>>, Refusal> {
        self.must_live()?;
        permit.must_be_fresh(now)?;
        if !self.is_permitted_by(permit) {
            return Err(Refusal::new(
                "another_permit",
                format!("session `{}` is not what was permitted", self.id),
            ));
        }
        let (version, ends_at) = (permit.plan_version(), permit.ends_at());
        if (self.plan_version, self.ends_at) == (version, ends_at) {
            return Ok(None);
        }
        let event = self
            .event("session.continued", Who::Bastion, now)
            .with("plan_version_before", self.plan_version)
            .with("plan_version", version)
            .with("ends_at_before", self.ends_at.rfc3339())
            .with("ends_at", ends_at.rfc3339());
        (self.plan_version, self.ends_at) = (version, ends_at);
        Ok(Some(Changed::new(self, event)))
    }

    /// Ends it in good order.
    pub fn end(
        mut self,
        reason: &str,
        manifest_sha256: &str,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        self.must_live()?;
        let event = self
            .event("session.ended", by, now)
            .with("reason", reason)
            .with("manifest_sha256", manifest_sha256);
        self.state = SessionState::Ended {
            at: now,
            reason: reason.to_owned(),
            manifest_sha256: manifest_sha256.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    /// Closes a session that a stopped bastion left open.
    pub fn interrupt(mut self, manifest_sha256: &str, now: Time) -> Result<Changed<Self>, Refusal> {
        self.must_live()?;
        let event = self
            .event("session.interrupted", Who::Bastion, now)
            .with("manifest_sha256", manifest_sha256);
        self.state = SessionState::Interrupted {
            at: now,
            manifest_sha256: manifest_sha256.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    fn is_permitted_by(&self, permit: &Permit) -> bool {
        self.operator == *permit.operator()
            && self.customer == *permit.customer()
            && self.target == permit.target().id
            && self.account == *permit.account()
            && self.grant == *permit.grant()
            && self.intervention == *permit.intervention()
            && self.credentials == *permit.credentials()
            && self.source == permit.source()
    }

    fn must_live(&self) -> Result<(), Refusal> {
        match self.state {
            SessionState::Live => Ok(()),
            SessionState::Ended { .. } | SessionState::Interrupted { .. } => Err(Refusal::new(
                "session_ended",
                format!("session `{}` has ended already", self.id),
            )),
        }
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("session {}", self.id), now)
            .of_customer(&self.customer)
            .in_intervention(&self.intervention)
            .in_session(&self.id)
    }
}
