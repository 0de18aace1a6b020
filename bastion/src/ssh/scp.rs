//! scp's own protocol (`scp -O`, and what was there before SFTP), followed as it passes: one side
//! sends records and contents, the other answers each with a byte or with a sentence. Pure.
//!
//! Nothing is refused here: the direction is that of the command, which was decided before. A
//! record that cannot be followed is noted; what comes after is only counted and hashed.

use super::command::ScpCommand;
use super::files::{Tally, shown};
use access::request::Direction;
use recordings::JournalEvent;
use std::collections::VecDeque;
use std::mem;

/// The longest line that is followed, its end included: OpenSSH reads so much at most, and takes
/// what does not fit for the next one.
const LONGEST: usize = 2047;
/// Directories within each other.
const DEEPEST: usize = 256;
/// Answers that may be owed, or given in advance, at once. Nobody sends on before he was answered,
/// but for clients that send one file whole.
const MOST_OWED: usize = 64;
const UNANSWERED: &str = "more than was answered";
const TOO_LONG: &str = "a sentence that is too long";

/// One scp channel.
pub(crate) struct Conversation {
    channel: u32,
    command: ScpCommand,
    /// Names of the directories that it is in.
    within: Vec<String>,
    stand: Stand,
    answer: Answer,
    owed: VecDeque<Owed>,
    /// Answers to what was not sent yet: whoever takes files can give them, and whoever sends files
    /// reads them one by one as he comes to it.
    early: VecDeque<Said>,
}

/// An answer: a sentence where it did not go well.
type Said = Option<String>;

/// How far the side that sends files has come.
enum Stand {
    Record(Vec<u8>),
    /// A file was offered, and nothing was said to it yet.
    Offered(File),
    Contents {
        file: File,
        left: u64,
    },
    /// After a file's contents: whether they could be read.
    Trailer(File),
    /// A sentence, up to its end; of a file, where it is behind its contents.
    Sentence {
        of: Option<File>,
        text: Vec<u8>,
    },
    Lost(Box<Tally>),
}

impl Stand {
    const fn file(&self) -> Option<&File> {
        match self {
            Self::Offered(file)
            | Self::Contents { file, .. }
            | Self::Trailer(file)
            | Self::Sentence { of: Some(file), .. } => Some(file),
            Self::Record(_) | Self::Sentence { of: None, .. } | Self::Lost(_) => None,
        }
    }
}

/// How far the side that takes files has come.
enum Answer {
    Byte,
    Sentence(Vec<u8>),
}

/// What the next answer is to.
enum Owed {
    /// The taker speaks first.
    Beginning,
    Offer,
    Directory,
    /// The end of a directory, or times.
    Other,
    Contents(Box<File>),
}

/// One file on its way.
struct File {
    path: String,
    mode: String,
    size: u64,
    tally: Tally,
}

enum Record {
    File(Box<File>),
    Directory(String),
    End,
    Times,
    NotFollowed,
}

impl Conversation {
    pub(crate) fn new(channel: u32, command: ScpCommand) -> Self {
        Self {
            channel,
            command,
            within: Vec::new(),
            stand: Stand::Record(Vec::new()),
            answer: Answer::Byte,
            owed: VecDeque::from([Owed::Beginning]),
            early: VecDeque::new(),
        }
    }

    pub(crate) fn operator_sent(&mut self, data: &[u8], events: &mut Vec<JournalEvent>) {
        match self.command.direction {
            Direction::Upload => self.sent(data, events),
            Direction::Download => self.answered(data, events),
        }
    }

    pub(crate) fn target_sent(&mut self, data: &[u8], events: &mut Vec<JournalEvent>) {
        match self.command.direction {
            Direction::Upload => self.answered(data, events),
            Direction::Download => self.sent(data, events),
        }
    }

    /// The channel is over: what was under way.
    pub(crate) fn end(&mut self) -> Vec<JournalEvent> {
        let mut events = Vec::new();
        for owed in mem::take(&mut self.owed) {
            if let Owed::Contents(file) = owed {
                events.push(self.passed(&file, "not answered"));
            }
        }
        let stand = mem::replace(&mut self.stand, Stand::Record(Vec::new()));
        if let Some(file) = stand.file() {
            let outcome = format!("broken off, {} bytes were announced", file.size);
            events.push(self.passed(file, &outcome));
        }
        if let Stand::Lost(rest) = stand {
            events.push(note(format!(
                "channel {}: {} bytes were not followed, SHA-256 {}",
                self.channel,
                rest.bytes,
                rest.sha256()
            )));
        }
        events
    }

    /// From the side that sends files.
    fn sent(&mut self, mut data: &[u8], events: &mut Vec<JournalEvent>) {
        while !data.is_empty() {
            let stand = mem::replace(&mut self.stand, Stand::Record(Vec::new()));
            (self.stand, data) = match stand {
                Stand::Record(line) => self.record(line, data, events),
                // Sent without waiting for the answer: taken for accepted.
                Stand::Offered(file) => (contents(file), data),
                Stand::Contents { mut file, left } => {
                    let piece =
                        usize::try_from(left).map_or(data, |left| data.get(..left).unwrap_or(data));
                    file.tally.add(piece);
                    let left = left.saturating_sub(piece.len() as u64);
                    let stand = if left > 0 {
                        Stand::Contents { file, left }
                    } else {
                        Stand::Trailer(file)
                    };
                    (stand, data.get(piece.len()..).unwrap_or_default())
                }
                Stand::Trailer(file) => self.trailer(file, data, events),
                Stand::Sentence { of, text } => self.sentence(of, text, data, events),
                Stand::Lost(mut rest) => {
                    rest.add(data);
                    (Stand::Lost(rest), Default::default())
                }
            };
            while !self.owed.is_empty()
                && !matches!(self.stand, Stand::Lost(_))
                && let Some(said) = self.early.pop_front()
            {
                self.settle(said, events);
            }
        }
    }

    fn record<'d>(
        &mut self,
        mut line: Vec<u8>,
        data: &'d [u8],
        events: &mut Vec<JournalEvent>,
    ) -> (Stand, &'d [u8]) {
        let end = data.iter().position(|byte| *byte == b'\n');
        let (part, rest) = match end {
            Some(end) => data.split_at_checked(end + 1).unwrap_or((data, &[])),
            None => (data, Default::default()),
        };
        let is_a_sentence = matches!(line.first().or(data.first()), Some(1 | 2));
        if is_a_sentence {
            let (of, text) = (None, line);
            return (Stand::Sentence { of, text }, data);
        }
        if line.len() + part.len() > LONGEST {
            return self.lose("a record that is too long", &[&line, data].concat(), events);
        }
        line.extend_from_slice(part);
        if end.is_none() {
            return (Stand::Record(line), rest);
        }
        if self.owes_too_much() {
            return self.lose(UNANSWERED, &[&line, rest].concat(), events);
        }
        let record = line.strip_suffix(b"\n").unwrap_or(&line);
        let owed = match self.read(record) {
            Record::NotFollowed => {
                let rest = [&line, rest].concat();
                return self.lose("a record that is none", &rest, events);
            }
            Record::File(file) => {
                events.push(self.note(
                    &file.path,
                    file.size,
                    &format!("begun, mode {}", file.mode),
                ));
                self.owed.push_back(Owed::Offer);
                return (Stand::Offered(*file), rest);
            }
            Record::Directory(_) if self.within.len() >= DEEPEST => {
                let rest = [&line, rest].concat();
                return self.lose("directories within too many others", &rest, events);
            }
            Record::Directory(name) => {
                self.within.push(name);
                let path = self.path("");
                events.push(JournalEvent::FileOperation {
                    channel: self.channel,
                    operation: format!("{}_directory", self.command.direction.operation().code()),
                    path,
                    bytes: 0,
                    sha256: None,
                    outcome: "begun".to_owned(),
                });
                Owed::Directory
            }
            Record::End => {
                self.within.pop();
                Owed::Other
            }
            Record::Times => Owed::Other,
        };
        self.owed.push_back(owed);
        (Stand::Record(Vec::new()), rest)
    }

    /// A record, without the end of its line.
    fn read(&self, line: &[u8]) -> Record {
        let followed = match line.split_first() {
            Some((b'C', rest)) => named(rest).map(|(mode, size, name)| {
                Record::File(Box::new(File {
                    path: self.path(&name),
                    mode,
                    size,
                    tally: Tally::new(),
                }))
            }),
            Some((b'D', rest)) => named(rest).map(|(_, _, name)| Record::Directory(name)),
            Some((b'E', _)) => Some(Record::End),
            Some((b'T', _)) => Some(Record::Times),
            _ => None,
        };
        followed.unwrap_or(Record::NotFollowed)
    }

    fn trailer<'d>(
        &mut self,
        file: File,
        data: &'d [u8],
        events: &mut Vec<JournalEvent>,
    ) -> (Stand, &'d [u8]) {
        let Some((byte, rest)) = data.split_first() else {
            return (Stand::Trailer(file), data);
        };
        match byte {
            0 => {
                if self.owes_too_much() {
                    events.push(self.passed(&file, "not answered"));
                    return self.lose(UNANSWERED, data, events);
                }
                self.owed.push_back(Owed::Contents(Box::new(file)));
                (Stand::Record(Vec::new()), rest)
            }
            1 | 2 => {
                let (of, text) = (Some(file), Vec::new());
                (Stand::Sentence { of, text }, data)
            }
            _ => {
                events.push(self.passed(&file, "followed by what is no end"));
                self.lose("no end of a file", data, events)
            }
        }
    }

    fn sentence<'d>(
        &mut self,
        of: Option<File>,
        mut text: Vec<u8>,
        data: &'d [u8],
        events: &mut Vec<JournalEvent>,
    ) -> (Stand, &'d [u8]) {
        let Some((ended, rest)) = line(&mut text, data) else {
            events.extend(of.map(|file| self.passed(&file, "followed by what is no end")));
            return self.lose(TOO_LONG, &[&text, data].concat(), events);
        };
        if !ended {
            return (Stand::Sentence { of, text }, rest);
        }
        let stand = Stand::Record(Vec::new());
        events.push(self.said(without_mark(&text)));
        if let Some(mut file) = of {
            file.tally.failed();
            if self.owes_too_much() {
                events.push(self.passed(&file, "not answered"));
                return self.lose(UNANSWERED, &[text.as_slice(), b"\n", rest].concat(), events);
            }
            self.owed.push_back(Owed::Contents(Box::new(file)));
        }
        (stand, rest)
    }

    /// From the side that takes files.
    fn answered(&mut self, mut data: &[u8], events: &mut Vec<JournalEvent>) {
        while let Some((byte, rest)) = data.split_first() {
            if let Stand::Lost(_) = self.stand {
                return;
            }
            match &mut self.answer {
                Answer::Byte if *byte == 0 => {
                    data = rest;
                    self.has_answered(None, events);
                }
                // Any other byte is a no, with a sentence.
                Answer::Byte => self.answer = Answer::Sentence(Vec::new()),
                Answer::Sentence(text) => {
                    let Some((ended, rest)) = line(text, data) else {
                        self.answer = Answer::Byte;
                        self.give_up(TOO_LONG, "not followed to its end", events);
                        return;
                    };
                    data = rest;
                    if ended {
                        let said = shown(without_mark(text));
                        self.answer = Answer::Byte;
                        self.has_answered(Some(said), events);
                    }
                }
            }
        }
    }

    /// Something was answered: what is owed an answer, or what is to come.
    fn has_answered(&mut self, said: Said, events: &mut Vec<JournalEvent>) {
        if !self.owed.is_empty() {
            self.settle(said, events);
        } else if self.early.len() < MOST_OWED {
            self.early.push_back(said);
        } else {
            self.give_up("answers to nothing", "not followed to its end", events);
        }
    }

    fn settle(&mut self, said: Said, events: &mut Vec<JournalEvent>) {
        let failed = said.is_some();
        let outcome = said.unwrap_or_else(|| "done".to_owned());
        match self.owed.pop_front() {
            Some(Owed::Contents(file)) => events.push(self.passed(&file, &outcome)),
            Some(Owed::Offer) => {
                let stand = mem::replace(&mut self.stand, Stand::Record(Vec::new()));
                self.stand = match stand {
                    Stand::Offered(file) if failed => {
                        events.push(self.note(&file.path, 0, &outcome));
                        Stand::Record(Vec::new())
                    }
                    Stand::Offered(file) => contents(file),
                    Stand::Record(_)
                    | Stand::Contents { .. }
                    | Stand::Trailer(_)
                    | Stand::Sentence { .. }
                    | Stand::Lost(_) => stand,
                };
                if failed && !self.is_at_a_beginning() {
                    let sent = "contents of a file that was not taken";
                    self.give_up(sent, &outcome, events);
                }
            }
            Some(Owed::Directory) if failed => {
                events.push(self.said(outcome.as_bytes()));
                if self.is_at_a_beginning() {
                    self.within.pop();
                } else {
                    let sent = "contents of a directory that was not taken";
                    self.give_up(sent, "not followed to its end", events);
                }
            }
            Some(Owed::Directory | Owed::Other | Owed::Beginning) | None => {
                if failed {
                    events.push(self.said(outcome.as_bytes()));
                }
            }
        }
    }

    /// Whether nothing was sent since what was answered last.
    fn is_at_a_beginning(&self) -> bool {
        self.owed.is_empty() && matches!(&self.stand, Stand::Record(line) if line.is_empty())
    }

    /// The same as [`Conversation::lose`]; what was under way is told first.
    fn give_up(&mut self, what: &str, outcome: &str, events: &mut Vec<JournalEvent>) {
        let stand = mem::replace(&mut self.stand, Stand::Record(Vec::new()));
        events.extend(stand.file().map(|file| self.passed(file, outcome)));
        self.stand = self.lose(what, &[], events).0;
    }

    fn owes_too_much(&self) -> bool {
        self.owed.len() >= MOST_OWED
    }

    /// From here on it is not followed any more.
    fn lose<'d>(
        &self,
        what: &str,
        data: &[u8],
        events: &mut Vec<JournalEvent>,
    ) -> (Stand, &'d [u8]) {
        events.push(note(format!(
            "channel {}: {what}; what follows is only counted and hashed",
            self.channel
        )));
        let mut rest = Box::new(Tally::new());
        rest.add(data);
        (Stand::Lost(rest), Default::default())
    }

    /// `/srv/x <- tree/a`: what one side calls it, and where the other was told to put it.
    fn path(&self, name: &str) -> String {
        let mut sent = self.within.join("/");
        if !sent.is_empty() && !name.is_empty() {
            sent.push('/');
        }
        sent.push_str(name);
        let arrow = match self.command.direction {
            Direction::Upload => "<-",
            Direction::Download => "->",
        };
        format!("{} {arrow} {sent}", self.command.path)
    }

    fn passed(&self, file: &File, outcome: &str) -> JournalEvent {
        JournalEvent::FileOperation {
            channel: self.channel,
            operation: self.command.direction.operation().code().to_owned(),
            path: file.path.clone(),
            bytes: file.tally.bytes,
            sha256: Some(file.tally.sha256()),
            outcome: format!("{outcome}, mode {}{}", file.mode, file.tally.notes()),
        }
    }

    fn note(&self, path: &str, bytes: u64, outcome: &str) -> JournalEvent {
        JournalEvent::FileOperation {
            channel: self.channel,
            operation: format!("{}_offer", self.command.direction.operation().code()),
            path: path.to_owned(),
            bytes,
            sha256: None,
            outcome: outcome.to_owned(),
        }
    }

    fn said(&self, text: &[u8]) -> JournalEvent {
        JournalEvent::Note {
            code: "scp_said".to_owned(),
            text: format!("channel {}: {}", self.channel, shown(text.trim_ascii())),
        }
    }
}

fn contents(file: File) -> Stand {
    if file.size == 0 {
        return Stand::Trailer(file);
    }
    let left = file.size;
    Stand::Contents { file, left }
}

fn note(text: String) -> JournalEvent {
    JournalEvent::Note {
        code: "scp_not_followed".to_owned(),
        text,
    }
}

/// A sentence begins with the byte that says that it is one, or with any other that is no yes.
fn without_mark(text: &[u8]) -> &[u8] {
    match text.split_first() {
        Some((1 | 2, said)) => said,
        Some(_) | None => text,
    }
}

/// Reads on to the end of a sentence. Whether it has ended, and the rest; `None` where it is too
/// long.
fn line<'d>(text: &mut Vec<u8>, data: &'d [u8]) -> Option<(bool, &'d [u8])> {
    let end = data.iter().position(|byte| *byte == b'\n');
    let part = data.get(..end.unwrap_or(data.len())).unwrap_or_default();
    // Its end counts, too.
    if text.len() + part.len() >= LONGEST {
        return None;
    }
    text.extend_from_slice(part);
    let rest = data.get(part.len() + usize::from(end.is_some())..);
    Some((end.is_some(), rest.unwrap_or_default()))
}

/// `0644 5 name`.
fn named(record: &[u8]) -> Option<(String, u64, String)> {
    let text = |part: &[u8]| std::str::from_utf8(part).ok().map(str::to_owned);
    let mut parts = record.splitn(3, |byte| *byte == b' ');
    let mode = text(parts.next()?).filter(|mode| mode.bytes().all(|b| matches!(b, b'0'..=b'7')))?;
    let size = text(parts.next()?)?.parse().ok()?;
    let name = parts.next().filter(|name| !name.is_empty())?;
    (mode.len() == 4).then(|| (mode, size, shown(name)))
}

#[cfg(test)]
mod tests;
