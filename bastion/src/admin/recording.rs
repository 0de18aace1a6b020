//! `bastion recording …`: what was recorded, listed, opened and verified.
//!
//! INVARIANT: a recording is opened for a purpose, and the audit log names both before the first
//! byte of it is read.

mod open;
mod play;
mod verify;

pub(crate) use open::{cat, export};
pub(crate) use play::play;
pub(crate) use verify::verify;

use crate::admin::open_to_read;
use crate::cli::RecordingList;
use crate::{Outcome, say};
use access::Session;
use access::session::SessionState;
use anyhow::Result;
use store::SessionFilter;

/// Lists the sessions, newest first: who, where, for which intervention and why.
pub(crate) async fn list(asked: RecordingList) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_to_read(&config).await?;
    let sessions = store
        .sessions(SessionFilter {
            limit: asked.limit,
            ..SessionFilter::default()
        })
        .await;
    store.close().await;
    for session in sessions? {
        say::line(told(&session))?;
    }
    Ok(Outcome::Fine)
}

/// A session on one line.
fn told(session: &Session) -> String {
    let state = match &session.state {
        SessionState::Live => "live".to_owned(),
        SessionState::Ended { at, reason, .. } => {
            format!("ended {} ({})", at.rfc3339(), say::visible(reason))
        }
        SessionState::Interrupted { at, .. } => format!("interrupted {}", at.rfc3339()),
    };
    format!(
        "{}  {}  {}  {}@{}  {}  {state}  {}",
        session.started_at.rfc3339(),
        session.id,
        session.operator,
        session.account,
        session.target,
        session.intervention,
        say::visible(&session.motive)
    )
}
