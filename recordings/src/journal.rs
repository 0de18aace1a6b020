//! The journal: everything that was asked, answered, refused and done in a session, one JSON
//! line each, in order. Pure. It holds no terminal content.
//!
//! A cast alone can hide what was requested beside it; the journal is the truth, and
//! [`JournalEvent::marker`] says what of it is shown in the casts.

use serde::{Deserialize, Serialize};

use crate::storage::SessionId;

/// Microseconds since the session started, from one monotonic clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// Microseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UtcMicros(pub i64);

/// Who did what to whom and why, known before the first byte. It is readable without any key:
/// in the journal's stream header and in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeader {
    pub session: SessionId,
    pub operator: String,
    pub actor: String,
    pub customer: String,
    pub target: String,
    pub account: String,
    pub grant: String,
    pub intervention: String,
    pub motive: String,
    pub factors: Vec<String>,
    pub source: String,
    pub started_at: UtcMicros,
}

/// What a channel was opened for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChannelKind {
    Terminal {
        cols: u32,
        rows: u32,
        term: String,
        /// What runs in it, where that is no shell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    Exec {
        command: String,
    },
    /// Also scp's far end, by its command.
    Subsystem {
        name: String,
    },
    /// A connection from the target to `to` (`host:port`), for what connected to the client at
    /// `from`.
    Forward {
        to: String,
        from: String,
    },
}

impl ChannelKind {
    /// Terminals and commands have a cast; a connection is counted and hashed; a subsystem speaks a binary protocol, which is counted,
    /// and whose operations are journal lines, each file with its digest.
    pub fn has_cast(&self) -> bool {
        match self {
            Self::Terminal { .. } | Self::Exec { .. } => true,
            Self::Subsystem { .. } | Self::Forward { .. } => false,
        }
    }
}

/// Which way out of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Operator,
    Target,
}

/// What was answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Success,
    Failure,
    /// The asking side wanted no reply.
    NotWanted,
}

/// One thing that happened. `channel` is absent where a request concerns the whole connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JournalEvent {
    SessionStarted(SessionHeader),
    ChannelOpened {
        channel: u32,
        kind: ChannelKind,
    },
    Request {
        channel: Option<u32>,
        request: String,
        detail: String,
        answer: Answer,
    },
    Refused {
        channel: Option<u32>,
        request: String,
        code: String,
        sentence: String,
    },
    Resize {
        channel: u32,
        cols: u32,
        rows: u32,
    },
    Signal {
        channel: u32,
        signal: String,
    },
    Eof {
        channel: u32,
        side: Side,
    },
    Exit {
        channel: u32,
        status: u32,
    },
    ExitSignal {
        channel: u32,
        signal: String,
        core_dumped: bool,
        message: String,
    },
    ChannelClosed(ChannelSummary),
    FileOperation {
        channel: u32,
        operation: String,
        path: String,
        bytes: u64,
        sha256: Option<String>,
        outcome: String,
    },
    Warning {
        text: String,
    },
    Cut {
        reason: String,
    },
    Note {
        code: String,
        text: String,
    },
    SessionEnded {
        reason: String,
    },
}

/// What went through a channel, whether or not it was kept. Digests are SHA-256 of the raw bytes
/// in lower-case hex. A subsystem's input and output have none: its files have one each, in
/// `file_operation` lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSummary {
    pub channel: u32,
    pub opened_at: Micros,
    pub closed_at: Micros,
    pub stdin_bytes: u64,
    pub stdin_sha256: String,
    pub stdout_bytes: u64,
    pub stdout_sha256: String,
    pub stderr_bytes: u64,
    pub stderr_sha256: String,
    /// Raw bytes of output that are in the cast.
    pub recorded_bytes: u64,
    /// Bytes that were not UTF-8 and stand as U+FFFD in the cast.
    pub replaced_invalid_utf8: u64,
    /// Whether output went beyond what is kept of one channel.
    pub capped: bool,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    pub at: Micros,
    #[serde(flatten)]
    pub event: JournalEvent,
}

/// Where a journal event is shown in casts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    OnChannel(u32, String),
    OnEveryChannel(String),
}

impl JournalEvent {
    /// What a player shows of this event, if anything. Written beside the line by the recorder.
    pub fn marker(&self) -> Option<Marker> {
        match self {
            Self::Refused {
                channel: Some(channel),
                request,
                sentence,
                ..
            } => Some(Marker::OnChannel(
                *channel,
                format!("refused: {request}: {sentence}"),
            )),
            Self::Refused {
                channel: None,
                request,
                sentence,
                ..
            } => Some(Marker::OnEveryChannel(format!(
                "refused: {request}: {sentence}"
            ))),
            Self::Request {
                channel: Some(channel),
                request,
                detail,
                ..
            } if request == "exec" => Some(Marker::OnChannel(*channel, format!("exec: {detail}"))),
            Self::Signal { channel, signal } => {
                Some(Marker::OnChannel(*channel, format!("signal {signal}")))
            }
            Self::Exit { channel, status } => {
                Some(Marker::OnChannel(*channel, format!("exit {status}")))
            }
            Self::ExitSignal {
                channel, signal, ..
            } => Some(Marker::OnChannel(
                *channel,
                format!("exit on signal {signal}"),
            )),
            Self::FileOperation {
                channel,
                operation,
                path,
                bytes,
                ..
            } => Some(Marker::OnChannel(
                *channel,
                format!("{operation}: {path} ({bytes} bytes)"),
            )),
            Self::Warning { text } => Some(Marker::OnEveryChannel(format!("warning: {text}"))),
            Self::Cut { reason } => Some(Marker::OnEveryChannel(format!("cut: {reason}"))),
            Self::SessionStarted(_)
            | Self::ChannelOpened { .. }
            | Self::Request { .. }
            | Self::Resize { .. }
            | Self::Eof { .. }
            | Self::ChannelClosed(_)
            | Self::Note { .. }
            | Self::SessionEnded { .. } => None,
        }
    }
}

/// A line as it stands in the stream, its newline included.
pub fn append_line(out: &mut Vec<u8>, line: &JournalLine) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

/// Reads one line back; a stranger's unknown event is an error, never skipped.
pub fn parse_line(line: &[u8]) -> serde_json::Result<JournalLine> {
    serde_json::from_slice(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let line = JournalLine {
            at: Micros(1_500_000),
            event: JournalEvent::Refused {
                channel: Some(2),
                request: "x11-req".into(),
                code: "channel_request".into(),
                sentence: "no \"X11\"\nhere".into(),
            },
        };
        let mut out = Vec::new();
        append_line(&mut out, &line).unwrap();
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
        assert!(out.starts_with(br#"{"at":1500000,"event":"refused","channel":2,"#));
        assert_eq!(parse_line(&out).unwrap(), line);
    }

    #[test]
    fn a_summary_is_flat_in_its_line() {
        let text = r#"{"at":3,"event":"channel_closed","channel":1,"opened_at":1,"closed_at":3,
            "stdin_bytes":0,"stdin_sha256":"","stdout_bytes":18446744073709551615,"stdout_sha256":"",
            "stderr_bytes":0,"stderr_sha256":"","recorded_bytes":0,"replaced_invalid_utf8":0,
            "capped":true}"#;
        let line = parse_line(text.as_bytes()).unwrap();
        let JournalEvent::ChannelClosed(summary) = line.event else {
            panic!("{line:?}")
        };
        assert_eq!(summary.stdout_bytes, u64::MAX);
    }

    #[test]
    fn an_unknown_event_is_not_skipped() {
        assert!(parse_line(br#"{"at":1,"event":"telepathy"}"#).is_err());
    }

    #[test]
    fn a_cut_shows_in_every_cast_and_a_note_in_none() {
        let cut = JournalEvent::Cut {
            reason: "window ended".into(),
        };
        assert_eq!(
            cut.marker(),
            Some(Marker::OnEveryChannel("cut: window ended".into()))
        );
        let note = JournalEvent::Note {
            code: "a".into(),
            text: "b".into(),
        };
        assert_eq!(note.marker(), None);
    }
}
