//! One channel of a session: what went through it, and what of its output is shown. Pure.

use ring::digest;

use crate::asciicast::{self, Decoder, Size};
use crate::journal::{ChannelKind, ChannelSummary, Micros, Stream};
use crate::keys;
use crate::recorder::Limits;

/// A capped channel goes on being shown once this much is allowed again, so that there are few
/// gaps rather than many.
const RESUME: u64 = 4 * 1024;

/// One channel while it is open.
pub(crate) struct Channel {
    opened_at: Micros,
    /// Which of the recording's streams is its cast.
    pub(crate) cast: Option<usize>,
    pub(crate) shows_its_command: bool,
    pub(crate) size: Size,
    allowance: Allowance,
    stdin: Tally,
    stdout: Source,
    stderr: Source,
    pub(crate) capped: bool,
}

impl Channel {
    pub(crate) fn open(at: Micros, kind: &ChannelKind, limits: Limits) -> Self {
        // What moves files is hashed file by file by whoever follows it; hashing it twice costs as
        // much again.
        let tally = match kind {
            ChannelKind::Terminal { .. }
            | ChannelKind::Exec { .. }
            | ChannelKind::Forward { .. } => Tally::new,
            ChannelKind::Subsystem { .. } => Tally::unhashed,
        };
        let source = |tally| Source {
            tally,
            decoder: Decoder::default(),
            recorded: 0,
            gap: 0,
        };
        let size = Size::default();
        let capped = Allowance::Capped {
            bytes: limits.exec_bytes,
            per_second: limits.exec_bytes_per_second,
        };
        let (size, allowance) = match kind {
            ChannelKind::Terminal { cols, rows, .. } => {
                (size.or_last(*cols, *rows), Allowance::All)
            }
            // A shell, which tells by nothing but its output what was done in it.
            ChannelKind::Exec { command } if command.is_empty() => (size, Allowance::All),
            ChannelKind::Exec { .. }
            | ChannelKind::Subsystem { .. }
            | ChannelKind::Forward { .. } => (size, capped),
        };
        Self {
            opened_at: at,
            cast: None,
            shows_its_command: matches!(kind, ChannelKind::Exec { .. }),
            size,
            allowance,
            stdin: tally(),
            stdout: source(tally()),
            stderr: source(Tally::new()),
            capped: false,
        }
    }

    pub(crate) fn since_opened(&self, at: Micros) -> Micros {
        Micros(at.0.saturating_sub(self.opened_at.0))
    }

    pub(crate) fn count_output(&mut self, from: Stream, data: &[u8]) {
        self.source(from).tally.add(data);
    }

    pub(crate) fn count_input(&mut self, data: &[u8]) {
        self.stdin.add(data);
    }

    /// Output into the cast, as far as it is allowed; a gap is marked where it begins and ends.
    /// Each way out has an allowance of its own, so that noise on one does not hide the other.
    pub(crate) fn show(&mut self, at: Micros, from: Stream, data: &[u8], out: &mut Vec<u8>) {
        let at = self.since_opened(at);
        let length = data.len() as u64;
        let allowance = self.allowance;
        let source = self.source(from);
        let room = source.room(allowance, at);
        if source.gap > 0 {
            if room < length.saturating_add(RESUME) {
                source.gap = source.gap.saturating_add(length);
                return;
            }
            source.mark_gap(at, out);
        }
        let kept = usize::try_from(room).map_or(data, |room| data.get(..room).unwrap_or(data));
        source.recorded = source.recorded.saturating_add(kept.len() as u64);
        asciicast::output(out, at, &mut source.decoder, kept);
        source.gap = length.saturating_sub(kept.len() as u64);
        if source.gap > 0 {
            asciicast::output_end(out, at, &mut source.decoder);
            asciicast::marker(
                out,
                at,
                "capped: what follows is counted and hashed, not kept",
            );
            self.capped = true;
        }
    }

    pub(crate) fn end(&mut self, at: Micros, out: &mut Vec<u8>) {
        let at = self.since_opened(at);
        for source in [&mut self.stdout, &mut self.stderr] {
            asciicast::output_end(out, at, &mut source.decoder);
            source.mark_gap(at, out);
        }
    }

    pub(crate) fn summary(&self, channel: u32, closed_at: Micros) -> ChannelSummary {
        let replaced = |source: &Source| source.decoder.replaced();
        ChannelSummary {
            channel,
            opened_at: self.opened_at,
            closed_at,
            stdin_bytes: self.stdin.bytes,
            stdin_sha256: self.stdin.digest(),
            stdout_bytes: self.stdout.tally.bytes,
            stdout_sha256: self.stdout.tally.digest(),
            stderr_bytes: self.stderr.tally.bytes,
            stderr_sha256: self.stderr.tally.digest(),
            recorded_bytes: self.stdout.recorded.saturating_add(self.stderr.recorded),
            replaced_invalid_utf8: replaced(&self.stdout).saturating_add(replaced(&self.stderr)),
            capped: self.capped,
        }
    }

    fn source(&mut self, from: Stream) -> &mut Source {
        match from {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// How much of a channel's output is kept.
#[derive(Clone, Copy)]
enum Allowance {
    All,
    /// So much at once, and so much more with every second: a shell behind a bulk transfer in
    /// the same command is seen again.
    Capped {
        bytes: u64,
        per_second: u64,
    },
}

/// Bytes that went one way, counted and, but for files, hashed.
struct Tally {
    bytes: u64,
    sha256: Option<digest::Context>,
}

impl Tally {
    fn new() -> Self {
        Self {
            bytes: 0,
            sha256: Some(digest::Context::new(&digest::SHA256)),
        }
    }

    fn unhashed() -> Self {
        Self {
            bytes: 0,
            sha256: None,
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(data);
        }
    }

    fn digest(&self) -> String {
        let sha256 = self.sha256.clone().map(digest::Context::finish);
        sha256.map_or_else(String::new, |digest| keys::hex(digest.as_ref()))
    }
}

/// One way out of the target: its bytes, and its unfinished character.
struct Source {
    tally: Tally,
    decoder: Decoder,
    recorded: u64,
    /// Bytes left out since the cast last showed anything of it.
    gap: u64,
}

impl Source {
    fn room(&self, allowance: Allowance, since_opened: Micros) -> u64 {
        let Allowance::Capped { bytes, per_second } = allowance else {
            return u64::MAX;
        };
        let seconds = u64::try_from(since_opened.0).unwrap_or(0) / 1_000_000;
        bytes
            .saturating_add(per_second.saturating_mul(seconds))
            .saturating_sub(self.recorded)
    }

    fn mark_gap(&mut self, at: Micros, out: &mut Vec<u8>) {
        if self.gap > 0 {
            asciicast::marker(out, at, &format!("{} bytes were not kept", self.gap));
            self.gap = 0;
        }
    }
}
