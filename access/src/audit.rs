//! Audit events, and the canonical JSON (RFC 8785) under which they are hashed and kept.
//!
//! Appending, the Merkle tree and checkpoints are the store's; here is only what an entry says.

use crate::ids::{ContactId, CustomerId, InterventionId, OperatorId, SessionId};
use crate::time::Time;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Who did it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Who {
    /// A person of the host or of a subcontractor.
    Operator(OperatorId),
    /// A person named by the customer.
    Contact(ContactId),
    /// Somebody at the host's command line; the operating system's user name.
    CommandLine(String),
    /// Somebody who proved nothing; the source address.
    Unknown(String),
    /// The bastion itself (a window that ended, a restart).
    Bastion,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator(id) => write!(f, "operator {id}"),
            Self::Contact(id) => write!(f, "contact {id}"),
            Self::CommandLine(user) => write!(f, "command line ({user})"),
            Self::Unknown(source) => write!(f, "unknown ({source})"),
            Self::Bastion => f.write_str("bastion"),
        }
    }
}

/// One thing that happened, before it has a place in the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Stable name, `noun.verb`: `intervention.approved`.
    pub name: String,
    /// Who did it.
    pub who: Who,
    /// When it happened.
    pub at: Time,
    /// Whose systems it is about; absent for what concerns the platform alone.
    pub customer: Option<CustomerId>,
    /// The intervention it belongs to, where there is one.
    pub intervention: Option<InterventionId>,
    /// The session it belongs to, where there is one.
    pub session: Option<SessionId>,
    /// What it is about, as `noun id`.
    pub subject: String,
    /// Everything else; integers, text, booleans, lists and maps of them. Never a secret.
    pub detail: Map<String, Value>,
}

impl Event {
    /// An event called `name`, done by `who` about `subject`, without further detail.
    pub fn new(name: &str, who: Who, subject: impl Into<String>, at: Time) -> Self {
        Self {
            name: name.to_owned(),
            who,
            at,
            customer: None,
            intervention: None,
            session: None,
            subject: subject.into(),
            detail: Map::new(),
        }
    }

    /// The same event, about this customer's systems.
    #[must_use]
    pub fn of_customer(mut self, customer: &CustomerId) -> Self {
        self.customer = Some(customer.clone());
        self
    }

    /// The same event, belonging to this intervention.
    #[must_use]
    pub fn in_intervention(mut self, intervention: &InterventionId) -> Self {
        self.intervention = Some(intervention.clone());
        self
    }

    /// The same event, belonging to this session.
    #[must_use]
    pub fn in_session(mut self, session: &SessionId) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// The same event with one more detail. A value that cannot be written as JSON is kept as null.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.detail.insert(key.to_owned(), value);
        self
    }

    /// The canonical JSON of this event as entry number `sequence` of the log.
    pub fn entry(&self, sequence: i64) -> String {
        let value = json!({
            "at": self.at.micros(),
            "customer": self.customer,
            "detail": self.detail,
            "event": self.name,
            "intervention": self.intervention,
            "sequence": sequence,
            "session": self.session,
            "subject": self.subject,
            "time": self.at.rfc3339(),
            "who": self.who,
        });
        canonical(&value)
    }
}

/// Canonical JSON (RFC 8785): keys sorted, no white space. Numbers must be integers, which is
/// all that is ever written here; a fraction is kept as text so that it cannot be read two ways.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a `String` cannot fail.
            write!(out, "{byte:02x}").unwrap_or(());
            out
        })
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(map.get(key).unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Number(n) if n.is_f64() => out.push_str(&Value::String(n.to_string()).to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_nothing_is_padded() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "é\n\u{7f}\u{1}"});
        assert_eq!(
            canonical(&value),
            "{\"a\":\"é\\n\u{7f}\\u0001\",\"b\":[1,{\"a\":true,\"z\":null}]}"
        );
    }

    #[test]
    fn keys_are_sorted_by_utf16_units_as_rfc_8785_asks() {
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "\u{20ac}": 3});
        assert_eq!(
            canonical(&value),
            "{\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }

    #[test]
    fn the_same_event_always_makes_the_same_entry() {
        let event = Event::new(
            "service.started",
            Who::Bastion,
            "service ssh",
            Time::from_micros(1_000_000),
        )
        .with("b", 1)
        .with("a", "x");
        assert_eq!(
            event.entry(7),
            r#"{"at":1000000,"customer":null,"detail":{"a":"x","b":1},"event":"service.started","intervention":null,"sequence":7,"session":null,"subject":"service ssh","time":"1970-01-01T00:00:01Z","who":{"kind":"bastion"}}"#
        );
    }
}
