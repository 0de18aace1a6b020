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
    recorded: u64,
    /// Bytes left out since the cast last showed anything.
    gap: u64,
    pub(crate) capped: bool,
}

impl Channel {
    pub(crate) fn open(at: Micros, kind: &ChannelKind, limits: Limits) -> Self {
        let source = || Source {
            tally: Tally::new(),
            decoder: Decoder::default(),
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
            ChannelKind::Exec { .. } | ChannelKind::Subsystem { .. } => (size, capped),
        };
        Self {
            opened_at: at,
            cast: None,
            shows_its_command: matches!(kind, ChannelKind::Exec { .. }),
            size,
            allowance,
            stdin: Tally::new(),
            stdout: source(),
            stderr: source(),
            recorded: 0,
            gap: 0,
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
    pub(crate) fn show(&mut self, at: Micros, from: Stream, data: &[u8], out: &mut Vec<u8>) {
        let at = self.since_opened(at);
        let length = data.len() as u64;
        let room = self.room(at);
        if self.gap > 0 {
            if room < length.saturating_add(RESUME) {
                self.gap = self.gap.saturating_add(length);
                return;
            }
            asciicast::marker(out, at, &format!("{} bytes were not kept", self.gap));
            self.gap = 0;
        }
        let kept = usize::try_from(room).map_or(data, |room| data.get(..room).unwrap_or(data));
        self.recorded = self.recorded.saturating_add(kept.len() as u64);
        asciicast::output(out, at, &mut self.source(from).decoder, kept);
        self.gap = length.saturating_sub(kept.len() as u64);
        if self.gap > 0 {
            self.capped = true;
            asciicast::output_end(out, at, &mut self.stdout.decoder);
            asciicast::output_end(out, at, &mut self.stderr.decoder);
            asciicast::marker(
                out,
                at,
                "capped: what follows is counted and hashed, not kept",
            );
        }
    }

    pub(crate) fn end(&mut self, at: Micros, out: &mut Vec<u8>) {
        let at = self.since_opened(at);
        asciicast::output_end(out, at, &mut self.stdout.decoder);
        asciicast::output_end(out, at, &mut self.stderr.decoder);
        if self.gap > 0 {
            asciicast::marker(out, at, &format!("{} bytes were not kept", self.gap));
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
            recorded_bytes: self.recorded,
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

    fn room(&self, since_opened: Micros) -> u64 {
        let Allowance::Capped { bytes, per_second } = self.allowance else {
            return u64::MAX;
        };
        let seconds = u64::try_from(since_opened.0).unwrap_or(0) / 1_000_000;
        bytes
            .saturating_add(per_second.saturating_mul(seconds))
            .saturating_sub(self.recorded)
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

/// Bytes that went one way, counted and hashed.
struct Tally {
    bytes: u64,
    sha256: digest::Context,
}

impl Tally {
    fn new() -> Self {
        Self {
            bytes: 0,
            sha256: digest::Context::new(&digest::SHA256),
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        self.sha256.update(data);
    }

    fn digest(&self) -> String {
        keys::hex(self.sha256.clone().finish().as_ref())
    }
}

/// One way out of the target: its bytes, and its unfinished character.
struct Source {
    tally: Tally,
    decoder: Decoder,
}
