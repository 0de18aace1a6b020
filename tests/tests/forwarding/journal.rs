//! What the session's journal and the audit log say of connections.

use access::Session;
use access::session::SessionState;
use e2e::{Bastion, eventually};
use serde_json::Value;
use std::time::Duration;

/// The only session of `who`, once it has ended.
pub(super) fn ended(bastion: &Bastion, who: &str) -> Session {
    let mut found = None;
    eventually("the session has ended", Duration::from_secs(20), || {
        found = bastion
            .sessions(who)
            .into_iter()
            .find(|session| session.state != SessionState::Live);
        found.is_some()
    });
    found.unwrap()
}

/// A connection as the journal tells it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) to: String,
    pub(super) from: String,
    pub(super) answer: String,
    pub(super) closed: Value,
}

pub(super) fn connections(journal: &[Value]) -> Vec<Told> {
    let about = |event: &str, channel: &Value| {
        let found = journal
            .iter()
            .find(|line| line["event"] == event && line["channel"] == *channel);
        found.cloned().unwrap_or_default()
    };
    journal
        .iter()
        .filter(|line| line["event"] == "channel_opened" && line["kind"]["type"] == "forward")
        .map(|line| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let asked = about("request", &line["channel"]);
            assert_eq!(asked["request"], "direct-tcpip");
            assert_eq!(asked["detail"], line["kind"]["to"]);
            Told {
                to: text(&line["kind"]["to"]),
                from: text(&line["kind"]["from"]),
                answer: text(&asked["answer"]),
                closed: about("channel_closed", &line["channel"]),
            }
        })
        .collect()
}

/// The refusal is in the audit log, under the session, and in the session's journal.
pub(super) fn refused(bastion: &Bastion, session: &Session, to: &str, code: &str) {
    let entries = bastion.events("request.refused");
    let entry = entries.iter().find(|entry| {
        entry["session"] == session.id.as_str() && entry["detail"]["forward_to"] == to
    });
    let entry = entry.unwrap_or_else(|| panic!("no refusal of {to}: {entries:?}"));
    assert_eq!(entry["detail"]["codes"][0], code);
    let journal = bastion.journal(session);
    let line = journal.iter().any(|line| {
        line["event"] == "refused"
            && line["code"] == code
            && line["sentence"]
                .as_str()
                .unwrap()
                .contains(&format!("`{to}`"))
    });
    assert!(line, "{journal:?}");
}
