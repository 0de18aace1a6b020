//! SFTP, protocol 3 with OpenSSH's extensions, followed as it passes: each request is allowed or
//! refused by the operations that the channel has at that moment, and is in the journal with what
//! became of it. Pure; `filter.rs` writes the journal and wakes the relay.
//!
//! INVARIANT: what the operator asks goes on only if it is of a file or directory that was opened
//! here, and what the target answers only if it was asked. So nothing of a file passes that is not
//! counted.
//!
//! | file | what it is |
//! |---|---|
//! | `packets` | where packets begin and end |
//! | `requests` | what can be asked, and what it needs |
//! | `opened` | what is open, and what is not answered yet |

mod opened;
mod packets;
mod requests;

use super::files::{Allowed, Broken, Out, Tally, shown};
use bytes::Bytes;
use opened::{Asked, Open, Opened, What};
use packets::{Fate, Fields, Packets, Stream};
use recordings::JournalEvent;
use requests::{INIT, Request};
use std::collections::HashMap;

/// The version that is spoken, whatever the client would like: later ones are other protocols.
const VERSION: u32 = 3;
/// Beyond this many unanswered requests the operator is not read from any more, until the target
/// has answered.
const MOST_ASKED: usize = 16 * 1024;
/// The same for refusals that the operator has not taken yet, in bytes.
const MOST_REFUSED: usize = 64 * 1024;

const END_OF_FILE: u32 = 1;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const OP_UNSUPPORTED: u32 = 8;

/// One SFTP channel.
pub(crate) struct Conversation {
    up: Stream,
    down: Stream,
    table: Table,
}

struct Table {
    channel: u32,
    stand: Stand,
    asked: HashMap<u32, Asked>,
    opened: Opened,
    /// Answers of our own, for the operator.
    answers: Vec<u8>,
    events: Vec<JournalEvent>,
}

enum Stand {
    New,
    /// The client said which version it speaks.
    Greeted,
    /// So did the target.
    Speaking,
}

impl Conversation {
    pub(crate) fn new(channel: u32) -> Self {
        Self {
            up: Stream::default(),
            down: Stream::default(),
            table: Table {
                channel,
                stand: Stand::New,
                asked: HashMap::new(),
                opened: Opened::default(),
                answers: Vec::new(),
                events: Vec::new(),
            },
        }
    }

    /// Requests. What is refused is answered in [`Conversation::answers`].
    pub(crate) fn operator_sent(
        &mut self,
        data: &Bytes,
        allowed: &Allowed,
        out: &mut Out<'_>,
    ) -> Result<(), Broken> {
        let mut asks = Operator {
            table: &mut self.table,
            allowed,
        };
        let followed = self.up.follow(data, &mut asks, out.on);
        out.events.append(&mut self.table.events);
        followed
    }

    /// Answers, those of our own between them.
    pub(crate) fn target_sent(&mut self, data: &Bytes, out: &mut Out<'_>) -> Result<(), Broken> {
        let mut answers = Target {
            table: &mut self.table,
        };
        let followed = self.down.follow(data, &mut answers, out.on);
        out.events.append(&mut self.table.events);
        followed
    }

    /// Whether the operator may be read from.
    pub(crate) fn has_room(&self) -> bool {
        self.table.asked.len() < MOST_ASKED && self.table.answers.len() < MOST_REFUSED
    }

    /// Whether there are answers of our own.
    pub(crate) const fn has_answers(&self) -> bool {
        !self.table.answers.is_empty()
    }

    /// Our own answers, where they fall between two packets of the target's.
    pub(crate) fn answers(&mut self) -> Option<Bytes> {
        if self.down.is_between() {
            self.table.take_answers()
        } else {
            None
        }
    }

    /// The channel is over: what was open, and what was not answered.
    pub(crate) fn end(&mut self) -> Vec<JournalEvent> {
        let table = &mut self.table;
        let mut asked: Vec<_> = table.asked.drain().collect();
        asked.sort_unstable_by_key(|(id, _)| *id);
        for (_, asked) in asked {
            if let Some((operation, path)) = named(&asked) {
                table.note(operation, path, "not answered".to_owned());
            }
        }
        for open in table.opened.take_all() {
            table.closed(&open, "not closed");
        }
        std::mem::take(&mut table.events)
    }
}

/// What an unanswered request was, where it is of those that are in the journal.
fn named(asked: &Asked) -> Option<(&'static str, &str)> {
    match asked {
        Asked::Open { path, access } => Some((access.operation(), path)),
        Asked::OpenDirectory { path } => Some(("open_directory", path)),
        Asked::Change { operation, path } => Some((operation, path)),
        Asked::Close { .. }
        | Asked::Read { .. }
        | Asked::Write { .. }
        | Asked::ReadDirectory { .. }
        | Asked::Look => None,
    }
}

/// The direction of the requests.
struct Operator<'a> {
    table: &'a mut Table,
    allowed: &'a Allowed,
}

impl Packets for Operator<'_> {
    fn needed(&self, kind: u8, length: usize, known: &[u8]) -> Result<usize, Broken> {
        requests::needed(kind, length, known)
    }

    fn begins(&mut self, kind: u8, length: usize, head: &[u8]) -> Result<Fate, Broken> {
        if matches!(self.table.stand, Stand::New) {
            return self.greeting(kind, head);
        }
        let (id, request) = requests::parse(kind, length, head)?;
        if self.table.asked.contains_key(&id) {
            return Err(Broken(format!("the number {id} is used twice at once")));
        }
        if let Request::Unknown { name } = &request {
            let text = format!("`{name}` is not known");
            self.table
                .refuse(id, OP_UNSUPPORTED, &request, "unknown_operation", &text);
            return Ok(Fate::Dropped);
        }
        for operation in request.needs() {
            if !self.allowed.covers(*operation) {
                let text = format!("`{}` is not covered", operation.code());
                let code = "operation_not_covered";
                self.table
                    .refuse(id, PERMISSION_DENIED, &request, code, &text);
                return Ok(Fate::Dropped);
            }
        }
        let Some(asked) = self.table.asked_for(&request) else {
            let text = "this file is not open here";
            self.table
                .refuse(id, FAILURE, &request, "unknown_handle", text);
            return Ok(Fate::Dropped);
        };
        let fate = match &asked {
            Asked::Write { of } => {
                let data = length.saturating_sub(head.len());
                self.table.write_begins(*of, &request, data);
                Fate::PassesWith(*of)
            }
            Asked::Open { .. }
            | Asked::OpenDirectory { .. }
            | Asked::Close { .. }
            | Asked::Read { .. }
            | Asked::ReadDirectory { .. }
            | Asked::Change { .. }
            | Asked::Look => Fate::Passes,
        };
        if let Asked::Close { of } = asked {
            self.table.opened.is_closing(of);
        }
        self.table.announce(&request, &asked);
        self.table.asked.insert(id, asked);
        Ok(fate)
    }

    fn content(&mut self, of: u64, data: &[u8]) {
        if let Some(up) = self.table.opened.up(of) {
            up.add(data);
        }
    }

    fn between(&mut self) -> Option<Bytes> {
        None
    }
}

impl Operator<'_> {
    /// The first packet, with a version that is spoken here.
    fn greeting(&mut self, kind: u8, head: &[u8]) -> Result<Fate, Broken> {
        let wanted = Fields(head).u32();
        let Some(wanted) = wanted.ok().filter(|_| kind == INIT) else {
            return Err(Broken("it did not begin as SFTP does".to_owned()));
        };
        self.table.stand = Stand::Greeted;
        if wanted <= VERSION {
            return Ok(Fate::Passes);
        }
        let mut greeting = vec![0, 0, 0, 5, INIT];
        greeting.extend(VERSION.to_be_bytes());
        Ok(Fate::Instead(Bytes::from(greeting)))
    }
}

/// The direction of the answers.
struct Target<'a> {
    table: &'a mut Table,
}

const VERSION_IS: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

impl Packets for Target<'_> {
    fn needed(&self, kind: u8, length: usize, _: &[u8]) -> Result<usize, Broken> {
        match kind {
            VERSION_IS | ATTRS | EXTENDED_REPLY => Ok(9),
            STATUS | DATA | NAME => Ok(13),
            HANDLE => Ok(5 + length),
            _ => Err(Broken(format!(
                "the target sent what is not SFTP (type {kind})"
            ))),
        }
    }

    fn begins(&mut self, kind: u8, length: usize, head: &[u8]) -> Result<Fate, Broken> {
        let mut fields = Fields(head);
        let id = fields.u32()?;
        if kind == VERSION_IS {
            return self.greeting(id);
        }
        let Some(asked) = self.table.asked.remove(&id) else {
            return Err(Broken("the target answered what was not asked".to_owned()));
        };
        match (kind, asked) {
            (DATA, Asked::Read { of, offset }) => {
                let data = fields.u32()? as usize;
                if data + 8 != length {
                    return Err(Broken(
                        "an answer of another length than its own".to_owned(),
                    ));
                }
                let Some(down) = self.table.opened.down(of) else {
                    let late = "the target answered a read after the file's close";
                    return Err(Broken(late.to_owned()));
                };
                down.piece(offset, data as u64);
                return Ok(Fate::PassesWith(of));
            }
            (HANDLE, Asked::Open { path, access }) => {
                let what = What::file(access);
                self.table
                    .opened(fields.string()?, access.operation(), path, what)?;
            }
            (HANDLE, Asked::OpenDirectory { path }) => {
                let what = What::Directory { names: 0 };
                self.table
                    .opened(fields.string()?, "open_directory", path, what)?;
            }
            (NAME, Asked::ReadDirectory { of }) => {
                let more = u64::from(fields.u32()?);
                if let Some(names) = self.table.opened.names(of) {
                    *names = names.saturating_add(more);
                }
            }
            (STATUS, asked) => {
                let code = fields.u32()?;
                self.table.answered(asked, code);
            }
            (NAME | ATTRS | EXTENDED_REPLY, Asked::Look) => {}
            (kind, asked) => {
                // Told at the end as not answered.
                self.table.asked.insert(id, asked);
                return Err(Broken(format!(
                    "the target answered with what does not answer (type {kind})"
                )));
            }
        }
        Ok(Fate::Passes)
    }

    fn content(&mut self, of: u64, data: &[u8]) {
        if let Some(down) = self.table.opened.down(of) {
            down.add(data);
        }
    }

    fn between(&mut self) -> Option<Bytes> {
        self.table.take_answers()
    }
}

impl Target<'_> {
    fn greeting(&mut self, version: u32) -> Result<Fate, Broken> {
        if !matches!(self.table.stand, Stand::Greeted) || version > VERSION {
            return Err(Broken(format!("the target speaks SFTP {version}")));
        }
        self.table.stand = Stand::Speaking;
        Ok(Fate::Passes)
    }
}

impl Table {
    /// How an answer to `request` will be understood; `None` where it is of something that is not
    /// open.
    fn asked_for(&self, request: &Request<'_>) -> Option<Asked> {
        let of = match request.handle() {
            Some(handle) => self.opened.number(handle)?,
            None => 0,
        };
        let has_contents = matches!(request, Request::Read { .. } | Request::Write { .. });
        if has_contents && !self.opened.is_file(of) {
            return None;
        }
        Some(match request {
            Request::Open { path, access } => Asked::Open {
                path: shown(path).into(),
                access: *access,
            },
            Request::OpenDirectory { path } => Asked::OpenDirectory {
                path: shown(path).into(),
            },
            Request::Close { .. } => Asked::Close { of },
            Request::Read { offset, .. } => Asked::Read {
                of,
                offset: *offset,
            },
            Request::Write { .. } => Asked::Write { of },
            Request::ReadDirectory { .. } => Asked::ReadDirectory { of },
            Request::Change {
                operation, path, ..
            } => Asked::Change {
                operation,
                path: path.as_str().into(),
            },
            Request::ChangeOpen { operation, .. } => Asked::Change {
                operation,
                path: self.opened.get(of)?.path.clone(),
            },
            Request::Copy { from, .. } => {
                let from = self.opened.get(self.opened.number(from)?)?;
                let to = self.opened.get(of)?;
                Asked::Change {
                    operation: "copy",
                    path: format!("{} -> {}", from.path, to.path).into(),
                }
            }
            Request::Look | Request::LookAt { .. } | Request::Unknown { .. } => Asked::Look,
        })
    }

    /// What changes something is in the journal before the target hears of it.
    fn announce(&mut self, request: &Request<'_>, asked: &Asked) {
        let (operation, path) = match asked {
            Asked::Open { path, access } if access.changes() => (access.operation(), path),
            Asked::Change { operation, path } => (*operation, path),
            Asked::Open { .. }
            | Asked::OpenDirectory { .. }
            | Asked::Close { .. }
            | Asked::Read { .. }
            | Asked::Write { .. }
            | Asked::ReadDirectory { .. }
            | Asked::Look => return,
        };
        let detail = match request {
            Request::Change { detail, .. } | Request::ChangeOpen { detail, .. } => detail.as_str(),
            Request::Open { .. }
            | Request::OpenDirectory { .. }
            | Request::Close { .. }
            | Request::Read { .. }
            | Request::Write { .. }
            | Request::ReadDirectory { .. }
            | Request::Look
            | Request::LookAt { .. }
            | Request::Copy { .. }
            | Request::Unknown { .. } => "",
        };
        self.note(operation, path, format!("asked{detail}"));
    }

    fn write_begins(&mut self, of: u64, request: &Request<'_>, data: usize) {
        if let Request::Write { offset, .. } = request
            && let Some(up) = self.opened.up(of)
        {
            up.piece(*offset, data as u64);
        }
    }

    fn opened(
        &mut self,
        handle: &[u8],
        operation: &'static str,
        path: Box<str>,
        what: What,
    ) -> Result<(), Broken> {
        self.note(operation, &path, "done".to_owned());
        if let Some(before) = self.opened.add(handle, path, what)? {
            self.closed(&before, "not closed");
        }
        Ok(())
    }

    /// The target said how it went.
    fn answered(&mut self, asked: Asked, code: u32) {
        match asked {
            Asked::Write { of } if code != 0 => {
                if let Some(up) = self.opened.up(of) {
                    up.failed();
                }
            }
            Asked::Read { of, .. } if code != END_OF_FILE => {
                if let Some(down) = self.opened.down(of) {
                    down.failed();
                }
            }
            Asked::Close { of } => {
                if let Some(open) = self.opened.remove(of) {
                    self.closed(&open, outcome(code));
                }
            }
            Asked::Open { path, access } => {
                self.note(access.operation(), &path, outcome(code).to_owned());
            }
            Asked::OpenDirectory { path } => {
                self.note("open_directory", &path, outcome(code).to_owned());
            }
            Asked::Change { operation, path } => {
                self.note(operation, &path, outcome(code).to_owned());
            }
            // All is well, or there is no more.
            Asked::Write { .. }
            | Asked::Read { .. }
            | Asked::ReadDirectory { .. }
            | Asked::Look => {}
        }
    }

    /// What passed of something that was open.
    fn closed(&mut self, open: &Open, outcome: &str) {
        match &open.what {
            What::Directory { names } => {
                self.note("list", &open.path, format!("{outcome}, {names} names"));
            }
            What::File(file) => {
                self.note("close", &open.path, outcome.to_owned());
                for (operation, tally, meant) in [
                    ("upload", &file.up, file.access.writes()),
                    ("download", &file.down, file.access.reads()),
                ] {
                    if meant || tally.bytes > 0 {
                        self.passed(operation, &open.path, tally, outcome);
                    }
                }
            }
        }
    }

    fn passed(&mut self, operation: &str, path: &str, tally: &Tally, outcome: &str) {
        self.events.push(JournalEvent::FileOperation {
            channel: self.channel,
            operation: operation.to_owned(),
            path: path.to_owned(),
            bytes: tally.bytes,
            sha256: Some(tally.sha256()),
            outcome: format!("{outcome}{}", tally.notes()),
        });
    }

    fn note(&mut self, operation: &str, path: &str, outcome: String) {
        self.events.push(JournalEvent::FileOperation {
            channel: self.channel,
            operation: operation.to_owned(),
            path: path.to_owned(),
            bytes: 0,
            sha256: None,
            outcome,
        });
    }

    /// Answers in the target's place, and says so in the journal.
    fn refuse(&mut self, id: u32, status: u32, request: &Request<'_>, code: &str, text: &str) {
        let said = match status {
            PERMISSION_DENIED => "Permission denied",
            OP_UNSUPPORTED => "Operation unsupported",
            _ => "Failure",
        };
        self.answers.extend(status_packet(id, status, said));
        let (operation, named) = request.named();
        let open = request
            .handle()
            .and_then(|handle| self.opened.number(handle));
        let path = open.and_then(|open| self.opened.get(open));
        let path = path.map_or(named, |open| open.path.to_string());
        self.events.push(JournalEvent::Refused {
            channel: Some(self.channel),
            request: format!("sftp {operation}"),
            code: code.to_owned(),
            sentence: if path.is_empty() {
                text.to_owned()
            } else {
                format!("{text}: {path}")
            },
        });
    }

    fn take_answers(&mut self) -> Option<Bytes> {
        if self.answers.is_empty() {
            return None;
        }
        Some(Bytes::from(std::mem::take(&mut self.answers)))
    }
}

fn status_packet(id: u32, status: u32, said: &str) -> Vec<u8> {
    let words = u32::try_from(said.len()).unwrap_or(0);
    let mut packet = Vec::with_capacity(64);
    packet.extend((1 + 4 + 4 + 4 + words + 4).to_be_bytes());
    packet.push(STATUS);
    for field in [id, status, words] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(said.as_bytes());
    packet.extend([0; 4]);
    packet
}

/// What a status says.
const fn outcome(code: u32) -> &'static str {
    match code {
        0 => "done",
        END_OF_FILE => "end of file",
        2 => "no such file",
        PERMISSION_DENIED => "permission denied",
        FAILURE => "failure",
        5 => "bad message",
        6 => "no connection",
        7 => "connection lost",
        OP_UNSUPPORTED => "unsupported",
        _ => "an error that is not of the protocol",
    }
}

#[cfg(test)]
mod tests;
