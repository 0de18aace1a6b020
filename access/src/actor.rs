//! The legal entity an operator works for. Suspending it stops all its people (HDS v2 EXI 14).

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::ActorId;
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// The host itself or one of its subcontractors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    Host,
    Subcontractor,
}

/// Whether the people of an actor may work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ActorState {
    Active,
    Suspended { since: Time, reason: String },
}

/// One legal entity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Actor {
    pub id: ActorId,
    pub name: String,
    pub kind: ActorKind,
    #[serde(flatten)]
    pub state: ActorState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Actor {
    /// Registers an actor.
    pub fn register(
        id: ActorId,
        name: &str,
        kind: ActorKind,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        require_text("actor name", name, 2, 200)?;
        let event = Event::new("actor.registered", by, format!("actor {id}"), now)
            .with("name", name)
            .with("kind", kind);
        let actor = Self {
            id,
            name: name.to_owned(),
            kind,
            state: ActorState::Active,
            version: 0,
        };
        Ok(Changed::new(actor, event))
    }

    /// Gives the actor another name or kind.
    pub fn amend(
        mut self,
        name: &str,
        kind: ActorKind,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        require_text("actor name", name, 2, 200)?;
        let event = self
            .event("actor.amended", by, now)
            .with("before", (&self.name, self.kind))
            .with("after", (name, kind));
        name.clone_into(&mut self.name);
        self.kind = kind;
        Ok(Changed::new(self, event))
    }

    /// Stops every operator of this actor; live sessions end.
    pub fn suspend(mut self, reason: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("reason", reason, 3, 500)?;
        let event = self
            .event("actor.suspended", by, now)
            .with("reason", reason);
        self.state = ActorState::Suspended {
            since: now,
            reason: reason.to_owned(),
        };
        Ok(Changed::new(self, event))
    }

    /// Lets its operators work again.
    pub fn resume(mut self, by: Who, now: Time) -> Changed<Self> {
        let event = self.event("actor.resumed", by, now);
        self.state = ActorState::Active;
        Changed::new(self, event)
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("actor {}", self.id), now)
    }
}
