//! scp as it is followed, beside the two ends of OpenSSH's own scp as its source has them: whatever
//! the other side sends, the files that pass are told with their digests, in order, or it is said
//! that they can no longer be followed.

use crate::given::{Given, pieces};
use crate::ssh::command::scp;
use crate::ssh::files::shown;
use crate::ssh::scp::Conversation;
use recordings::JournalEvent;
use ring::digest::{SHA256, digest};

/// What OpenSSH reads at most of a line.
const LONGEST: usize = 2047;
const DEEPEST: usize = 256;
const MOST_OWED: usize = 64;

/// A file of which something passed: what it is called, its bytes, their digest.
type Passed = (String, u64, String);

pub fn holds(data: &[u8]) {
    let mut given = Given(data);
    match given.below(3) {
        0 => cut_anywhere(&mut given),
        1 => uploaded(&mut given),
        _ => downloaded(&mut given),
    }
}

/// The same bytes are told in the same words, in whatever pieces they come.
fn cut_anywhere(given: &mut Given<'_>) {
    let upload = given.yes();
    let mut cuts = Given(given.bytes());
    let (mut whole, mut cut) = (Followed::new(upload), Followed::new(upload));
    while !given.is_over() {
        let from_sender = given.yes();
        let said = given.bytes();
        whole.said(from_sender, said);
        for piece in pieces(said, &mut cuts) {
            cut.said(from_sender, piece);
        }
    }
    assert_eq!(whole.end(), cut.end());
}

/// An operator sends what he likes to a target's scp.
fn uploaded(given: &mut Given<'_>) {
    let waits = given.yes();
    let (mut decisions, mut cuts) = (Given(given.bytes()), Given(given.bytes()));
    let sent = stretched(given);
    let sink = Sink::reads(&sent, &mut decisions);
    let mut followed = Followed::new(true);
    let mut answers = sink.answers.iter().peekable();
    let mut at = 0;
    let mut owed = 0;
    loop {
        while let Some((_, answer)) = answers.next_if(|(after, _)| *after <= at) {
            if !waits && owed < MOST_OWED / 2 && cuts.yes() {
                // Said later: the sender did not wait for it.
                owed += 1;
                followed.later.extend_from_slice(answer);
                continue;
            }
            let late = std::mem::take(&mut followed.later);
            followed.said(false, &late);
            followed.said(false, answer);
        }
        if at >= sent.len() {
            break;
        }
        let next = answers.peek().map_or(sent.len(), |(after, _)| *after);
        let end = if waits {
            next.min(sent.len())
        } else {
            sent.len()
        };
        let end = end.min(at + 1 + cuts.below(64));
        followed.said(true, &sent[at..end]);
        at = end;
    }
    let late = std::mem::take(&mut followed.later);
    followed.said(false, &late);
    let (told, lost) = (followed.told_files(), followed.is_lost());
    if lost {
        let may = [sink.gave_up, sink.longest > LONGEST, sink.deepest > DEEPEST];
        let expected_to = !waits || may.contains(&true);
        assert!(
            expected_to,
            "it could be followed: {:?}",
            followed.end().last()
        );
    } else if sink.gave_up {
        assert!(
            told.starts_with(&sink.passed),
            "{told:?}\n{:?}",
            sink.passed
        );
    } else {
        assert_eq!(told, sink.passed);
    }
}

/// A target's scp sends files to an operator who answers what he likes, also in advance.
fn downloaded(given: &mut Given<'_>) {
    let (mut tree, mut ahead) = (Given(given.bytes()), Given(given.bytes()));
    let answers = stretched(given);
    let source = Source::sends(&answers, &mut tree);
    let mut followed = Followed::new(false);
    let mut answered = 0;
    for (after, sent) in &source.sent {
        let until = (*after + ahead.below(8)).min(answers.len()).max(answered);
        followed.said(false, &answers[answered..until]);
        answered = until;
        for piece in pieces(sent, &mut ahead) {
            followed.said(true, piece);
        }
    }
    followed.said(false, &answers[answered..source.answered.max(answered)]);
    let told = followed.told_files();
    if followed.is_lost() {
        assert!(
            source.longest > LONGEST || source.exited,
            "it could be followed: {:?}",
            followed.end()
        );
    } else {
        assert_eq!(told, source.passed);
    }
}

/// A fuzzer seldom makes long lines: `0xff N X` is X sixteen times N times.
fn stretched(given: &mut Given<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    while !given.is_over() {
        match given.byte() {
            0xff => {
                let many = 16 * usize::from(given.byte());
                let byte = given.byte();
                out.resize(out.len() + many, byte);
            }
            byte => out.push(byte),
        }
    }
    out
}

struct Followed {
    conversation: Conversation,
    upload: bool,
    events: Vec<JournalEvent>,
    later: Vec<u8>,
    ended: bool,
}

impl Followed {
    fn new(upload: bool) -> Self {
        let command = if upload {
            &b"scp -rpt /there"[..]
        } else {
            &b"scp -rpf /there"[..]
        };
        let command = scp(command).expect("it is scp");
        Self {
            conversation: Conversation::new(1, command),
            upload,
            events: Vec::new(),
            later: Vec::new(),
            ended: false,
        }
    }

    fn said(&mut self, from_sender: bool, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if from_sender == self.upload {
            self.conversation.operator_sent(data, &mut self.events);
        } else {
            self.conversation.target_sent(data, &mut self.events);
        }
    }

    fn end(&mut self) -> &[JournalEvent] {
        if !self.ended {
            self.ended = true;
            let last = self.conversation.end();
            self.events.extend(last);
        }
        &self.events
    }

    fn is_lost(&mut self) -> bool {
        let mut notes = self.end().iter();
        notes.any(
            |event| matches!(event, JournalEvent::Note { code, .. } if code == "scp_not_followed"),
        )
    }

    /// Files of which anything passed.
    fn told_files(&mut self) -> Vec<Passed> {
        let told = self.end().iter().filter_map(|event| match event {
            JournalEvent::FileOperation {
                path,
                bytes,
                sha256: Some(sha256),
                ..
            } if *bytes > 0 => Some((path.clone(), *bytes, sha256.clone())),
            _ => None,
        });
        told.collect()
    }
}

/// The end that takes files, as OpenSSH's `sink()` does.
#[derive(Default)]
struct Sink {
    /// What it answers once it has read so many bytes.
    answers: Vec<(usize, Vec<u8>)>,
    passed: Vec<Passed>,
    /// It read something that it ends for.
    gave_up: bool,
    longest: usize,
    deepest: usize,
    at: usize,
    within: Vec<Vec<u8>>,
}

impl Sink {
    fn reads(sent: &[u8], decisions: &mut Given<'_>) -> Self {
        let mut sink = Self::default();
        sink.answer(b"\0");
        sink.gave_up = sink.records(sent, decisions).is_none();
        if sink.gave_up {
            sink.answer(b"\x01scp: protocol error\n");
        }
        sink
    }

    /// `None` where it ends for what it read; otherwise nothing more is sent.
    fn records(&mut self, sent: &[u8], decisions: &mut Given<'_>) -> Option<()> {
        while self.at < sent.len() {
            let line = self.line(sent, LONGEST);
            let is_whole = line.ends_with(b"\n");
            if !is_whole && line.len() < LONGEST {
                return Some(());
            }
            let record = line.strip_suffix(b"\n").unwrap_or(line);
            let (kind, rest) = record.split_first()?;
            match kind {
                1 => {}
                b'E' => {
                    self.answer(b"\0");
                    self.within.pop()?;
                }
                b'T' if !rest.is_empty() => self.answer(b"\0"),
                b'C' | b'D' => {
                    let (size, name) = named(rest)?;
                    if decisions.below(4) == 3 {
                        self.answer(b"\x01scp: /there: Permission denied\n");
                    } else if *kind == b'D' {
                        self.answer(b"\0");
                        self.within.push(name.to_vec());
                        self.deepest = self.deepest.max(self.within.len());
                    } else {
                        self.answer(b"\0");
                        self.file(sent, size, name, decisions)?;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn file(
        &mut self,
        sent: &[u8],
        size: u64,
        name: &[u8],
        decisions: &mut Given<'_>,
    ) -> Option<()> {
        let left = &sent[self.at..];
        let size_here = usize::try_from(size).map_or(left.len(), |size| size.min(left.len()));
        let contents = &left[..size_here];
        self.at += size_here;
        let end = sent.get(self.at).copied();
        let path = [&self.within[..], &[name.to_vec()]].concat().join(&b'/');
        self.passed.extend(passed(true, &path, contents));
        let Some(end) = end else {
            return Some(());
        };
        match end {
            0 => self.at += 1,
            1 => {
                let line = self.line(sent, 1 + LONGEST);
                if !line.ends_with(b"\n") && line.len() < 1 + LONGEST {
                    return Some(());
                }
            }
            _ => return None,
        }
        if decisions.below(8) == 7 {
            self.answer(b"\x01scp: /there: No space left on device\n");
        } else {
            self.answer(b"\0");
        }
        Some(())
    }

    fn line<'s>(&mut self, sent: &'s [u8], room: usize) -> &'s [u8] {
        let left = &sent[self.at..];
        let whole = left.iter().position(|byte| *byte == b'\n');
        let whole = whole.map_or(left.len(), |end| end + 1);
        self.longest = self.longest.max(whole);
        let line = &left[..whole.min(room)];
        self.at += line.len();
        line
    }

    fn answer(&mut self, said: &[u8]) {
        self.answers.push((self.at, said.to_vec()));
    }
}

/// `0644 5 name`.
fn named(record: &[u8]) -> Option<(u64, &[u8])> {
    let (mode, rest) = record.split_at_checked(4)?;
    let rest = rest.strip_prefix(b" ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (size, rest) = rest.split_at(digits);
    let name = rest.strip_prefix(b" ")?;
    if !mode.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    let read = name.split(|byte| *byte == 0).next()?;
    let is_one = !read.is_empty() && read != b"." && read != b".." && !read.contains(&b'/');
    is_one.then_some((size, name))
}

/// The end that sends files, as OpenSSH's `source()` does.
#[derive(Default)]
struct Source {
    /// What it sends once it has read so many bytes of answers.
    sent: Vec<(usize, Vec<u8>)>,
    passed: Vec<Passed>,
    exited: bool,
    answered: usize,
    longest: usize,
}

enum Answered {
    Yes,
    No,
}

impl Source {
    fn sends(answers: &[u8], tree: &mut Given<'_>) -> Self {
        let mut source = Self::default();
        source.exited = source.tree(answers, tree).is_none();
        source
    }

    fn tree(&mut self, answers: &[u8], tree: &mut Given<'_>) -> Option<()> {
        let mut within: Vec<Vec<u8>> = Vec::new();
        self.response(answers)?;
        while !tree.is_over() {
            let kind = tree.below(8);
            let name = [
                b"n",
                &[b'a' + u8::try_from(tree.below(26)).unwrap_or(0)][..],
            ]
            .concat();
            match kind {
                0 if within.len() < 20 => {
                    self.send([b"D0755 0 ", &name[..], b"\n"].concat());
                    if let Answered::Yes = self.response(answers)? {
                        within.push(name);
                    }
                }
                1 if !within.is_empty() => {
                    self.send(b"E\n".to_vec());
                    self.response(answers)?;
                    within.pop();
                }
                2 => self.send(b"\x01scp: x: Permission denied\n".to_vec()),
                kind => {
                    if kind == 3 {
                        self.send(b"T1 0 1 0\n".to_vec());
                        if let Answered::No = self.response(answers)? {
                            continue;
                        }
                    }
                    let contents = tree.bytes();
                    let record = format!("C0644 {} ", contents.len());
                    self.send([record.as_bytes(), &name, b"\n"].concat());
                    if let Answered::No = self.response(answers)? {
                        continue;
                    }
                    within.push(name);
                    self.passed
                        .extend(passed(false, &within.join(&b'/'), contents));
                    within.pop();
                    let end = if kind == 4 {
                        &b"\x01scp: x: Input/output error\n"[..]
                    } else {
                        b"\0"
                    };
                    self.send([contents, end].concat());
                    self.response(answers)?;
                }
            }
        }
        Some(())
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.sent.push((self.answered, bytes));
    }

    /// `None` where it ends for the answer, or waits for one for ever.
    fn response(&mut self, answers: &[u8]) -> Option<Answered> {
        let left = &answers[self.answered..];
        let (mark, rest) = left.split_first()?;
        if *mark == 0 {
            self.answered += 1;
            return Some(Answered::Yes);
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        let whole = end.map_or(rest.len(), |end| end + 1);
        self.longest = self.longest.max(whole + 1);
        self.answered += 1 + whole.min(LONGEST);
        if end.is_none() && whole < LONGEST {
            return None;
        }
        (*mark == 1).then_some(Answered::No)
    }
}

/// An empty file has no contents that could pass.
fn passed(upload: bool, path: &[u8], contents: &[u8]) -> Option<Passed> {
    let arrow = if upload { "<-" } else { "->" };
    let sha256 = recordings::keys::hex(digest(&SHA256, contents).as_ref());
    let path = format!("/there {arrow} {}", shown(path));
    (!contents.is_empty()).then_some((path, contents.len() as u64, sha256))
}
