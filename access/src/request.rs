//! What may pass on an operator's connection: one table, one place, default deny.
//!
//! Whatever a client can ask on a connection or a channel has a row in [`verdict`]; a new kind of
//! request does not compile without one, nor does the test that takes every condition away from
//! every protocol. What is deliberately absent: how a client says it on the wire.

use crate::grant::Operation;

/// Everything a client can ask for, beside a channel for a session, which is only counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// A connection through the target (`-L`, `-D`, `-W`, `-J`).
    OpenDirectTcpip,
    /// The same to a Unix socket.
    OpenDirectStreamlocal,
    OpenX11,
    OpenForwardedTcpip,
    Pty,
    Env {
        name: &'a str,
    },
    Shell,
    Exec,
    /// A command that is scp's far end and nothing else.
    Scp {
        direction: Direction,
    },
    Subsystem {
        name: &'a str,
    },
    X11,
    Agent,
    /// `-R`.
    TcpipForward,
    /// `-R` with a Unix socket.
    StreamlocalForward,
    /// Anything of a name that is none of these, a channel's kind or a request's.
    Unknown {
        name: &'a str,
    },
}

/// Which way files go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Upload,
    Download,
}

impl Direction {
    /// What it takes.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Upload => Operation::Upload,
            Self::Download => Operation::Download,
        }
    }
}

/// Whether the channel has started its shell, command or subsystem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing runs yet.
    Fresh,
    Started,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Passed on, and written in the journal.
    Pass,
    /// Passed on if the permit covers one of these operations.
    Run(&'static [Operation]),
    /// Refused and traced.
    Refuse {
        code: &'static str,
        sentence: &'static str,
    },
}

/// The table. `stage` is that of the channel concerned; [`Stage::Fresh`] for the connection.
pub fn verdict(request: Request<'_>, stage: Stage) -> Verdict {
    match (request, stage) {
        (Request::Pty, Stage::Fresh) => Verdict::Pass,
        // A jump where the login names no target; that is not asked here.
        (Request::OpenDirectTcpip, _) => Verdict::Run(&[Operation::Forward]),
        (Request::OpenDirectStreamlocal, _) => {
            refuse("forward_refused", "forwarding of Unix sockets is refused")
        }
        (Request::OpenX11 | Request::X11, _) => refuse("x11_refused", "X11 forwarding is refused"),
        (Request::OpenForwardedTcpip | Request::TcpipForward | Request::StreamlocalForward, _) => {
            refuse("forward_refused", "remote forwarding is refused")
        }
        (Request::Agent, _) => refuse(
            "agent_refused",
            "agent forwarding is refused: the bastion uses its own credential",
        ),
        (Request::Env { name }, Stage::Fresh) if env_may_pass(name) => Verdict::Pass,
        (Request::Env { .. }, Stage::Fresh) => {
            refuse("env_refused", "this environment variable is refused")
        }
        (Request::Shell, Stage::Fresh) => Verdict::Run(&[Operation::Shell]),
        (Request::Exec, Stage::Fresh) => Verdict::Run(&[Operation::Exec]),
        (Request::Scp { direction }, Stage::Fresh) => Verdict::Run(match direction {
            Direction::Upload => &[Operation::Upload],
            Direction::Download => &[Operation::Download],
        }),
        // What of it passes is decided for each of its requests.
        (Request::Subsystem { name: "sftp" }, Stage::Fresh) => {
            Verdict::Run(&[Operation::Upload, Operation::Download])
        }
        (Request::Subsystem { .. }, Stage::Fresh) => {
            refuse("subsystem_refused", "no subsystem is offered but sftp")
        }
        (Request::Unknown { name }, _) if is_usual(name) => Verdict::Pass,
        (Request::Unknown { .. }, _) => {
            refuse("unknown_request", "the bastion does not know this request")
        }
        (
            Request::Pty
            | Request::Env { .. }
            | Request::Shell
            | Request::Exec
            | Request::Scp { .. }
            | Request::Subsystem { .. },
            Stage::Started,
        ) => refuse("channel_started", "something runs on this channel already"),
    }
}

/// What clients ask or tell as a matter of course: whether anybody is there, how they count, and
/// what is passed on from the channel itself.
fn is_usual(name: &str) -> bool {
    matches!(
        name,
        "keepalive@openssh.com"
            | "no-more-sessions@openssh.com"
            | "hostkeys-prove-00@openssh.com"
            | "eow@openssh.com"
            | "break"
            | "winadj@putty.projects.tartarus.org"
            | "simple@putty.projects.tartarus.org"
    )
}

/// Whether this variable goes on to the target or is the bastion's own.
fn env_may_pass(name: &str) -> bool {
    name == "LANG" || name == "TERM" || name.starts_with("LC_") || is_ours(name)
}

/// Variables for the bastion itself; they do not go on to the target.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("BASTION_") || name.starts_with("LC_BASTION_")
}

const fn refuse(code: &'static str, sentence: &'static str) -> Verdict {
    Verdict::Refuse { code, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a row for each request")]
    fn only_the_listed_requests_pass() {
        let rows = [
            (Request::OpenDirectTcpip, Stage::Fresh, "run forward"),
            (
                Request::OpenDirectStreamlocal,
                Stage::Fresh,
                "forward_refused",
            ),
            (Request::OpenX11, Stage::Fresh, "x11_refused"),
            (Request::OpenForwardedTcpip, Stage::Fresh, "forward_refused"),
            (Request::Pty, Stage::Fresh, "pass"),
            (Request::Pty, Stage::Started, "channel_started"),
            (Request::Env { name: "LANG" }, Stage::Fresh, "pass"),
            (Request::Env { name: "LC_ALL" }, Stage::Fresh, "pass"),
            (
                Request::Env {
                    name: "BASTION_MOTIVE",
                },
                Stage::Fresh,
                "pass",
            ),
            (
                Request::Env { name: "LD_PRELOAD" },
                Stage::Fresh,
                "env_refused",
            ),
            (Request::Env { name: "" }, Stage::Fresh, "env_refused"),
            (
                Request::Env { name: "LANG" },
                Stage::Started,
                "channel_started",
            ),
            (Request::Shell, Stage::Fresh, "run shell"),
            (Request::Shell, Stage::Started, "channel_started"),
            (Request::Exec, Stage::Fresh, "run exec"),
            (Request::Exec, Stage::Started, "channel_started"),
            (
                Request::Scp {
                    direction: Direction::Upload,
                },
                Stage::Fresh,
                "run upload",
            ),
            (
                Request::Scp {
                    direction: Direction::Download,
                },
                Stage::Fresh,
                "run download",
            ),
            (
                Request::Scp {
                    direction: Direction::Upload,
                },
                Stage::Started,
                "channel_started",
            ),
            (
                Request::Subsystem { name: "sftp" },
                Stage::Fresh,
                "run upload download",
            ),
            (
                Request::Subsystem { name: "sftp" },
                Stage::Started,
                "channel_started",
            ),
            (
                Request::Subsystem { name: "netconf" },
                Stage::Fresh,
                "subsystem_refused",
            ),
            (
                Request::Unknown {
                    name: "tun@openssh.com",
                },
                Stage::Fresh,
                "unknown_request",
            ),
            (
                Request::Unknown {
                    name: "keepalive@openssh.com",
                },
                Stage::Fresh,
                "pass",
            ),
            (Request::X11, Stage::Fresh, "x11_refused"),
            (Request::Agent, Stage::Fresh, "agent_refused"),
            (Request::TcpipForward, Stage::Fresh, "forward_refused"),
            (Request::StreamlocalForward, Stage::Fresh, "forward_refused"),
        ];
        for (request, stage, expected) in rows {
            let answer = match verdict(request, stage) {
                Verdict::Pass => "pass".to_owned(),
                Verdict::Run(operations) => {
                    let codes: Vec<_> = operations.iter().map(|each| each.code()).collect();
                    format!("run {}", codes.join(" "))
                }
                Verdict::Refuse { code, .. } => code.to_owned(),
            };
            assert_eq!(answer, expected, "{request:?} {stage:?}");
        }
    }
}
