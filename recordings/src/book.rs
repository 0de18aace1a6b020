//! What was handed over in a session and is not durable yet, and the tallies of every channel.
//! Pure: [`crate::recorder`] calls it under a lock, [`crate::writer`] writes what it gathered.

use std::collections::BTreeMap;

use crate::asciicast::{self, Size, Subject};
use crate::channel::Channel;
use crate::journal::{
    self, ChannelKind, ChannelSummary, JournalEvent, JournalLine, Marker, Micros, SessionHeader,
    Stream, UtcMicros,
};
use crate::recorder::{Limits, RecordingFailed};
use crate::seal::{MAX_PLAIN, Position};
use crate::storage::{JOURNAL, cast_name};

const JOURNAL_STREAM: usize = 0;

pub(crate) struct Book {
    pub(crate) about: SessionHeader,
    limits: Limits,
    /// Times never run backwards in what is written, whatever the caller's clock did.
    last_at: Micros,
    streams: Streams,
    /// Apart, since the map has room for many of them from the first on.
    open: BTreeMap<u32, Box<Channel>>,
    closed: Vec<ChannelSummary>,
}

/// Text of one stream on its way to its file.
pub(crate) struct Piece {
    /// Which of the recording's streams, from 0.
    pub(crate) stream: usize,
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
    pub(crate) position: Position,
}

impl Book {
    pub(crate) fn begin(about: SessionHeader, limits: Limits) -> Result<Self, RecordingFailed> {
        let started = JournalEvent::SessionStarted(about.clone());
        let mut streams = Streams::default();
        streams.add(JOURNAL.to_owned());
        let mut book = Self {
            about,
            limits,
            last_at: Micros(0),
            streams,
            open: BTreeMap::new(),
            closed: Vec::new(),
        };
        book.line(Micros(0), started)?;
        Ok(book)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.streams.waiting < self.limits.waiting_bytes
    }

    /// Whether anything waits to be written, and whether a frame is full.
    pub(crate) fn need(&self) -> Need {
        self.streams.need
    }

    /// An event of the caller's, and its marker in the casts.
    pub(crate) fn journal(
        &mut self,
        at: Micros,
        event: JournalEvent,
    ) -> Result<(), RecordingFailed> {
        if is_the_recorders_own(&event) {
            let session = self.about.session.clone();
            return Err(RecordingFailed::NotTheCallers { session });
        }
        let at = self.clock(at);
        let marker = if self.is_shown_already(&event) {
            None
        } else {
            event.marker()
        };
        self.line(at, event)?;
        match marker {
            Some(Marker::OnChannel(channel, label)) => self.mark(at, channel, &label),
            Some(Marker::OnEveryChannel(label)) => {
                let channels: Vec<u32> = self.open.keys().copied().collect();
                for channel in channels {
                    self.mark(at, channel, &label);
                }
            }
            None => {}
        }
        Ok(())
    }

    pub(crate) fn open_channel(
        &mut self,
        at: Micros,
        number: u32,
        kind: ChannelKind,
    ) -> Result<(), RecordingFailed> {
        let was_closed = self.closed.iter().any(|summary| summary.channel == number);
        if was_closed || self.open.contains_key(&number) {
            let session = self.about.session.clone();
            return Err(RecordingFailed::ChannelTwice {
                session,
                channel: number,
            });
        }
        let at = self.clock(at);
        let mut channel = Channel::open(at, &kind, self.limits);
        if kind.has_cast() {
            channel.cast = Some(self.begin_cast(at, number, channel.size, &kind)?);
        }
        self.open.insert(number, Box::new(channel));
        self.line(
            at,
            JournalEvent::ChannelOpened {
                channel: number,
                kind,
            },
        )
    }

    pub(crate) fn output(
        &mut self,
        at: Micros,
        number: u32,
        from: Stream,
        data: &[u8],
    ) -> Result<(), RecordingFailed> {
        let at = self.clock(at);
        let Some(channel) = self.open.get_mut(&number) else {
            return Err(self.no_channel(number));
        };
        channel.count_output(from, data);
        let Some(cast) = channel.cast else {
            return Ok(());
        };
        let was_capped = channel.capped;
        self.streams
            .append(cast, |out| channel.show(at, from, data, out));
        if channel.capped && !was_capped {
            let text =
                format!("channel {number}: output beyond what is kept is counted and hashed");
            return self.line(
                at,
                JournalEvent::Note {
                    code: "capped".to_owned(),
                    text,
                },
            );
        }
        Ok(())
    }

    /// Counted and hashed, never kept.
    pub(crate) fn input(
        &mut self,
        at: Micros,
        number: u32,
        data: &[u8],
    ) -> Result<(), RecordingFailed> {
        self.clock(at);
        let Some(channel) = self.open.get_mut(&number) else {
            return Err(self.no_channel(number));
        };
        channel.count_input(data);
        Ok(())
    }

    pub(crate) fn resize(
        &mut self,
        at: Micros,
        number: u32,
        cols: u32,
        rows: u32,
    ) -> Result<(), RecordingFailed> {
        let at = self.clock(at);
        let Some(channel) = self.open.get_mut(&number) else {
            return Err(self.no_channel(number));
        };
        let size = channel.size.or_last(cols, rows);
        if let Some(cast) = channel.cast
            && size != channel.size
        {
            channel.size = size;
            let at = channel.since_opened(at);
            self.streams
                .append(cast, |out| asciicast::resize(out, at, size));
        }
        self.line(
            at,
            JournalEvent::Resize {
                channel: number,
                cols,
                rows,
            },
        )
    }

    pub(crate) fn marker(
        &mut self,
        at: Micros,
        number: u32,
        label: &str,
    ) -> Result<(), RecordingFailed> {
        let at = self.clock(at);
        if !self.open.contains_key(&number) {
            return Err(self.no_channel(number));
        }
        self.mark(at, number, label);
        Ok(())
    }

    pub(crate) fn close_channel(
        &mut self,
        at: Micros,
        number: u32,
    ) -> Result<ChannelSummary, RecordingFailed> {
        let at = self.clock(at);
        let Some(mut channel) = self.open.remove(&number) else {
            return Err(self.no_channel(number));
        };
        if let Some(cast) = channel.cast {
            self.streams.append(cast, |out| channel.end(at, out));
            self.streams.end(cast);
        }
        let summary = channel.summary(number, at);
        self.closed.push(summary.clone());
        self.line(at, JournalEvent::ChannelClosed(summary.clone()))?;
        Ok(summary)
    }

    /// Closes what is open and writes the last line; every stream gets its last frame.
    pub(crate) fn end(&mut self, at: Micros, reason: &str) -> Result<(), RecordingFailed> {
        let open: Vec<u32> = self.open.keys().copied().collect();
        for number in open {
            self.close_channel(at, number)?;
        }
        let at = self.clock(at);
        self.line(
            at,
            JournalEvent::SessionEnded {
                reason: reason.to_owned(),
            },
        )?;
        self.streams.end(JOURNAL_STREAM);
        Ok(())
    }

    /// All that waits, the journal first: a cast on disk has its line in the journal on disk.
    /// It counts as waiting until [`Book::written`].
    pub(crate) fn take(&mut self) -> Vec<Piece> {
        self.streams.take()
    }

    pub(crate) fn written(&mut self, bytes: usize) {
        self.streams.waiting = self.streams.waiting.saturating_sub(bytes);
    }

    /// The channels that were closed, in that order.
    pub(crate) fn closed(&self) -> &[ChannelSummary] {
        &self.closed
    }

    fn clock(&mut self, at: Micros) -> Micros {
        self.last_at = self.last_at.max(at);
        self.last_at
    }

    fn line(&mut self, at: Micros, event: JournalEvent) -> Result<(), RecordingFailed> {
        let mut written = Ok(());
        self.streams.append(JOURNAL_STREAM, |out| {
            written = journal::append_line(out, &JournalLine { at, event });
        });
        written.map_err(|error| self.stopped(&error.to_string()))
    }

    fn begin_cast(
        &mut self,
        at: Micros,
        number: u32,
        size: Size,
        kind: &ChannelKind,
    ) -> Result<usize, RecordingFailed> {
        let about = &self.about;
        let title = format!(
            "{} {}@{} {}",
            about.session, about.account, about.target, about.operator
        );
        let opened_at = UtcMicros(about.started_at.0.saturating_add(at.0));
        let subject = match kind {
            ChannelKind::Terminal { term, .. } => Subject::Terminal(term),
            ChannelKind::Exec { command } => Subject::Command(command),
            // Neither has a cast.
            ChannelKind::Subsystem { name } | ChannelKind::Forward { to: name, .. } => {
                Subject::Command(name)
            }
        };
        let cast = self.streams.add(cast_name(number));
        let mut written = Ok(());
        self.streams.append(cast, |out| {
            written = asciicast::header(out, size, opened_at, &title, subject);
            if let Subject::Command(command) = subject {
                asciicast::marker(out, Micros(0), &format!("exec: {command}"));
            }
        });
        written.map_err(|error| self.stopped(&error.to_string()))?;
        Ok(cast)
    }

    /// The command of an exec channel is the first thing in its cast.
    fn is_shown_already(&self, event: &JournalEvent) -> bool {
        let JournalEvent::Request {
            channel: Some(channel),
            ..
        } = event
        else {
            return false;
        };
        self.open
            .get(channel)
            .is_some_and(|channel| channel.shows_its_command)
    }

    fn mark(&mut self, at: Micros, number: u32, label: &str) {
        let Some(channel) = self.open.get(&number) else {
            return;
        };
        let Some(cast) = channel.cast else { return };
        let at = channel.since_opened(at);
        self.streams
            .append(cast, |out| asciicast::marker(out, at, label));
    }

    fn no_channel(&self, channel: u32) -> RecordingFailed {
        RecordingFailed::NoChannel {
            session: self.about.session.clone(),
            channel,
        }
    }

    fn stopped(&self, reason: &str) -> RecordingFailed {
        let session = self.about.session.clone();
        RecordingFailed::Stopped {
            session,
            reason: reason.to_owned(),
        }
    }
}

/// How much the writer is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    #[default]
    None,
    /// Something waits: within a second.
    Soon,
    /// A frame is full, or a stream ends.
    Now,
}

#[derive(Default)]
struct Streams {
    all: Vec<Pending>,
    /// Bytes handed over and not durable yet, those being written included.
    waiting: usize,
    need: Need,
}

struct Pending {
    name: String,
    text: Vec<u8>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Its last frame is to be written.
    Ending,
    Ended,
}

impl Streams {
    fn add(&mut self, name: String) -> usize {
        self.all.push(Pending {
            name,
            text: Vec::new(),
            phase: Phase::Open,
        });
        self.all.len().saturating_sub(1)
    }

    fn append(&mut self, stream: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(pending) = self.all.get_mut(stream) else {
            return;
        };
        let before = pending.text.len();
        write(&mut pending.text);
        let after = pending.text.len();
        if after == before {
            return;
        }
        self.waiting = self.waiting.saturating_add(after.saturating_sub(before));
        self.need = self.need.max(if after >= MAX_PLAIN {
            Need::Now
        } else {
            Need::Soon
        });
    }

    fn end(&mut self, stream: usize) {
        let Some(pending) = self.all.get_mut(stream) else {
            return;
        };
        pending.phase = Phase::Ending;
        self.need = self.need.max(Need::Soon);
    }

    fn take(&mut self) -> Vec<Piece> {
        self.need = Need::None;
        let mut pieces = Vec::new();
        for (stream, pending) in self.all.iter_mut().enumerate() {
            let position = match pending.phase {
                Phase::Ended => continue,
                Phase::Open if pending.text.is_empty() => continue,
                Phase::Open => Position::More,
                Phase::Ending => Position::Last,
            };
            if position == Position::Last {
                pending.phase = Phase::Ended;
            }
            let text = std::mem::take(&mut pending.text);
            pieces.push(Piece {
                stream,
                name: pending.name.clone(),
                text,
                position,
            });
        }
        pieces
    }
}

fn is_the_recorders_own(event: &JournalEvent) -> bool {
    match event {
        JournalEvent::SessionStarted(_)
        | JournalEvent::ChannelOpened { .. }
        | JournalEvent::Resize { .. }
        | JournalEvent::ChannelClosed(_)
        | JournalEvent::SessionEnded { .. } => true,
        JournalEvent::Request { .. }
        | JournalEvent::Refused { .. }
        | JournalEvent::Signal { .. }
        | JournalEvent::Eof { .. }
        | JournalEvent::Exit { .. }
        | JournalEvent::ExitSignal { .. }
        | JournalEvent::FileOperation { .. }
        | JournalEvent::Warning { .. }
        | JournalEvent::Cut { .. }
        | JournalEvent::Note { .. } => false,
    }
}
