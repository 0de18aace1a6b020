//! What a channel asks for, before anything is started: which operations that takes, where it
//! goes, and what it goes on under.

use crate::ssh::command::{self, ScpCommand};
use crate::ssh::files::{Allowed, BOTH};
use crate::ssh::handler::{OperatorChannel, OperatorHandle, REFUSED};
use access::forward::Endpoint;
use access::grant::Operation;
use access::request::Direction;
use recordings::ChannelKind;
use std::sync::Arc;

/// What a running channel goes on under.
#[derive(Clone)]
pub(crate) enum Covers {
    /// This, or it does not go on.
    One(Operation),
    /// As many of these as are left, and at least one.
    Some(Arc<Allowed>),
    /// A connection through the target to there, or it does not go on.
    Forward(Endpoint),
}

impl Covers {
    pub(super) fn questions(&self) -> Vec<Question> {
        match self {
            Self::One(operation) => vec![(Some(*operation), None)],
            Self::Some(allowed) => {
                let each = |operation| (Some(operation), None);
                allowed.operations().into_iter().map(each).collect()
            }
            Self::Forward(to) => vec![(Some(Operation::Forward), Some(to.clone()))],
        }
    }
}

/// What the decision is asked about: an operation, and where a connection goes.
pub(super) type Question = (Option<Operation>, Option<Endpoint>);

/// What a channel wants before it starts: any of these operations, and for a connection, to where.
pub(crate) struct Wish<'a> {
    pub(crate) operations: &'a [Operation],
    pub(crate) forward_to: Option<&'a Endpoint>,
}

impl<'a> Wish<'a> {
    /// One of these, and no connection.
    pub(crate) const fn any(operations: &'a [Operation]) -> Self {
        Self {
            operations,
            forward_to: None,
        }
    }

    /// A connection through the target.
    pub(crate) const fn forward(to: &'a Endpoint) -> Self {
        Self {
            operations: &[Operation::Forward],
            forward_to: Some(to),
        }
    }
}

/// What runs on a channel.
pub(crate) enum Run {
    Shell,
    Exec(Vec<u8>),
    /// A command that is scp's far end and nothing else.
    Scp {
        command: Vec<u8>,
        scp: ScpCommand,
    },
    Sftp,
}

impl Run {
    /// What a command line runs.
    pub(crate) fn command_line(command: &[u8]) -> Self {
        match command::scp(command) {
            Some(scp) => Self::Scp {
                command: command.to_vec(),
                scp,
            },
            None => Self::Exec(command.to_vec()),
        }
    }

    /// It may start under any of these.
    pub(crate) const fn operations(&self) -> &'static [Operation] {
        match self {
            Self::Shell => &[Operation::Shell],
            Self::Exec(_) => &[Operation::Exec],
            Self::Scp { scp, .. } => match scp.direction {
                Direction::Upload => &[Operation::Upload],
                Direction::Download => &[Operation::Download],
            },
            Self::Sftp => &BOTH,
        }
    }

    /// What a client calls the request (RFC 4254, 6.5).
    pub(crate) const fn request(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec(_) | Self::Scp { .. } => "exec",
            Self::Sftp => "subsystem",
        }
    }

    pub(super) const fn moves_files(&self) -> bool {
        match self {
            Self::Scp { .. } | Self::Sftp => true,
            Self::Shell | Self::Exec(_) => false,
        }
    }

    /// What it goes on under, where `allowed` were found to be covered.
    pub(super) fn covers(&self, allowed: &[Operation]) -> Covers {
        match (self, self.operations()) {
            (Self::Sftp, _) | (_, []) => Covers::Some(Arc::new(Allowed::new(allowed))),
            (_, [operation, ..]) => Covers::One(*operation),
        }
    }

    pub(super) fn command(&self) -> Option<String> {
        match self {
            Self::Shell | Self::Sftp => None,
            Self::Exec(command) | Self::Scp { command, .. } => {
                Some(String::from_utf8_lossy(command).into_owned())
            }
        }
    }

    /// What of it is recorded. Files are counted, hashed and named, but not kept.
    pub(super) fn kind(&self, terminal: Option<&Terminal>) -> ChannelKind {
        match (self, terminal) {
            (Self::Sftp, _) => ChannelKind::Subsystem {
                name: "sftp".to_owned(),
            },
            (Self::Scp { .. }, _) => ChannelKind::Subsystem {
                name: self.command().unwrap_or_default(),
            },
            (Self::Shell | Self::Exec(_), Some(terminal)) => ChannelKind::Terminal {
                cols: terminal.cols,
                rows: terminal.rows,
                term: terminal.term.clone(),
                command: self.command(),
            },
            (Self::Shell | Self::Exec(_), None) => ChannelKind::Exec {
                command: self.command().unwrap_or_default(),
            },
        }
    }
}

/// A terminal that was asked for.
pub(crate) struct Terminal {
    pub(crate) term: String,
    pub(crate) cols: u32,
    pub(crate) rows: u32,
    pub(crate) pix_width: u32,
    pub(crate) pix_height: u32,
    pub(crate) modes: Vec<(russh::Pty, u32)>,
}

/// Why one more channel was not started.
pub(crate) struct ChannelRefused {
    pub(crate) codes: Vec<&'static str>,
    pub(crate) said: String,
}

impl ChannelRefused {
    pub(super) fn new(code: &'static str, sentence: &str) -> Self {
        Self {
            codes: vec![code],
            said: format!("Refused ({code}): {sentence}."),
        }
    }
}

/// A channel of the operator's that has said what it wants.
pub(crate) struct Start {
    pub(crate) channel: OperatorChannel,
    pub(crate) handle: OperatorHandle,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) run: Run,
    /// What was typed in the menu behind the choice that led here; the target's to read.
    pub(crate) typed_ahead: Vec<u8>,
}

/// Tells the operator why, on the channel that asked, and closes it.
pub(crate) async fn say_and_close(start: Start, sentence: &str) {
    let Start {
        channel,
        handle,
        terminal,
        ..
    } = start;
    let id = channel.id();
    let newline = if terminal.is_some() { "\r\n" } else { "\n" };
    let mut text = sentence.lines().collect::<Vec<_>>().join(newline);
    text.push_str(newline);
    // The operator may be gone; then there is nobody to tell.
    handle.channel_success(id).await.unwrap_or_default();
    drop(channel.extended_data_bytes(1, text.into_bytes()).await);
    drop(channel.exit_status(REFUSED).await);
    drop(channel.eof().await);
    drop(channel.close().await);
}
