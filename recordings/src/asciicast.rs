//! asciicast v2 lines that asciinema 2.2 and asciinema-player 3.18 accept. Pure: bytes in, bytes
//! appended to a buffer out.
//!
//! The public tools refuse sizes of 0×0, lone surrogates, and time running backwards. So a size
//! is the last good one or 80×24, text comes from a decoder that only yields whole characters,
//! and the caller's times never decrease. There is no exit event in v2: an exit code is a marker.

use std::io::Write as _;

use serde::Serialize;

use crate::journal::{Micros, UtcMicros};

/// Columns and rows, neither of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    cols: u32,
    rows: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

impl Size {
    /// What `ssh -tt` without a terminal sends is 0×0: a zero keeps the last good value. A
    /// number no player could draw is cut down.
    #[must_use]
    pub fn or_last(self, cols: u32, rows: u32) -> Self {
        let sensible = |asked: u32, last: u32| if asked == 0 { last } else { asked.min(9_999) };
        Self {
            cols: sensible(cols, self.cols),
            rows: sensible(rows, self.rows),
        }
    }
}

/// The first line of a cast.
pub fn header(
    out: &mut Vec<u8>,
    size: Size,
    opened_at: UtcMicros,
    title: &str,
    subject: Subject<'_>,
) -> serde_json::Result<()> {
    let (command, term) = match subject {
        Subject::Command(command) => (Some(command), None),
        Subject::Terminal(term) => (None, Some(Env { term })),
    };
    let header = Header {
        version: 2,
        width: size.cols,
        height: size.rows,
        timestamp: opened_at.0.div_euclid(1_000_000),
        command,
        title,
        env: term,
    };
    serde_json::to_writer(&mut *out, &header)?;
    out.push(b'\n');
    Ok(())
}

/// What a cast shows: a command's output, or a terminal of some type (`TERM`).
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    Command(&'a str),
    Terminal(&'a str),
}

/// An output event with the whole characters of `bytes`, or nothing if there is none yet.
pub fn output(out: &mut Vec<u8>, at: Micros, decoder: &mut Decoder, bytes: &[u8]) {
    event(out, at, 'o', |out| decoder.decode(bytes, out));
}

/// What a stream's end leaves undecided: an unfinished character stands as U+FFFD.
pub fn output_end(out: &mut Vec<u8>, at: Micros, decoder: &mut Decoder) {
    event(out, at, 'o', |out| decoder.end(out));
}

/// A resize event.
pub fn resize(out: &mut Vec<u8>, at: Micros, size: Size) {
    event(out, at, 'r', |out| {
        escape(out, &format!("{}x{}", size.cols, size.rows));
    });
}

/// A marker, which players show on the time line.
pub fn marker(out: &mut Vec<u8>, at: Micros, label: &str) {
    event(out, at, 'm', |out| escape(out, label));
}

/// Turns one stream of bytes into whole characters across packets. One per stream: stdout and
/// stderr interleave in a channel, their characters do not.
#[derive(Debug, Default)]
pub struct Decoder {
    held: [u8; 3],
    held_len: usize,
    replaced: u64,
}

impl Decoder {
    /// Bytes replaced by U+FFFD so far.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let rest = self.finish_held(bytes, out);
        self.decode_fresh(rest, out);
    }

    /// Completes a character begun by an earlier packet; what is left of this packet comes back.
    fn finish_held<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let mut rest = bytes;
        while self.held_len > 0 {
            let Some((next, after)) = rest.split_first() else {
                return rest;
            };
            let mut trial = [0; 4];
            let held = self.held.get(..self.held_len).unwrap_or_default();
            for (slot, byte) in trial.iter_mut().zip(held.iter().chain([next])) {
                *slot = *byte;
            }
            let trial = trial.get(..=self.held_len).unwrap_or_default();
            match std::str::from_utf8(trial) {
                Ok(text) => {
                    escape(out, text);
                    self.held_len = 0;
                    rest = after;
                }
                Err(error) if error.error_len().is_none() => {
                    self.hold(trial);
                    rest = after;
                }
                // The held bytes were never a character; the new byte is judged on its own.
                Err(_) => self.replace_held(out),
            }
        }
        rest
    }

    fn decode_fresh(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(text) => return escape(out, text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            escape(out, std::str::from_utf8(valid).unwrap_or_default());
            let Some(bad) = error.error_len() else {
                return self.hold(rest);
            };
            self.replace(bad, out);
            bytes = rest.get(bad..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.held_len > 0 {
            self.replace_held(out);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held_len = bytes.len().min(self.held.len());
        for (slot, byte) in self.held.iter_mut().zip(bytes) {
            *slot = *byte;
        }
    }

    fn replace_held(&mut self, out: &mut Vec<u8>) {
        let held = self.held_len;
        self.held_len = 0;
        self.replace(held, out);
    }

    fn replace(&mut self, bad: usize, out: &mut Vec<u8>) {
        self.replaced = self.replaced.saturating_add(bad as u64);
        out.extend_from_slice("\u{fffd}".as_bytes());
    }
}

#[derive(Serialize)]
struct Header<'a> {
    version: u8,
    width: u32,
    height: u32,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Env<'a>>,
}

#[derive(Serialize)]
struct Env<'a> {
    #[serde(rename = "TERM")]
    term: &'a str,
}

/// `[seconds,"code","data"]`; taken back if `data` turns out empty, since an event that shows
/// nothing helps no one.
fn event(out: &mut Vec<u8>, at: Micros, code: char, data: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    let micros = at.0.max(0);
    // Writing into a Vec cannot fail.
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if write!(out, "[{whole}.{fraction:06},\"{code}\",\"").is_err() {
        return out.truncate(before);
    }
    let opened = out.len();
    data(out);
    if out.len() == opened {
        return out.truncate(before);
    }
    out.extend_from_slice(b"\"]\n");
}

/// The inside of a JSON string (RFC 8259 §7), copied in runs: most output needs no escape.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|b| *b < 0x20 || matches!(b, b'"' | b'\\'))
    {
        let (run, special) = rest.split_at(at);
        out.extend_from_slice(run);
        let Some((byte, after)) = special.split_first() else {
            return;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let hex = |nibble: u8| {
                    if nibble < 10 {
                        b'0' + nibble
                    } else {
                        b'a' + nibble - 10
                    }
                };
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(control >> 4), hex(control & 15)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_independent_reader_understands_header_and_output() {
        let mut out = Vec::new();
        let at = UtcMicros(1_700_000_000_999_999);
        header(
            &mut out,
            Size::default(),
            at,
            "t",
            Subject::Terminal("xterm"),
        )
        .unwrap();
        output(
            &mut out,
            Micros(1_000_001),
            &mut Decoder::default(),
            b"a\x1b[0m\"\\\x01\r\n\t\x7f",
        );
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.lines();
        let first: asciicast::Header = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((first.version, first.width, first.height), (2, 80, 24));
        let entry: asciicast::Entry = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert!((entry.time - 1.000_001).abs() < 1e-9);
        assert_eq!(entry.event_data, "a\u{1b}[0m\"\\\u{1}\r\n\t\u{7f}");
    }

    #[test]
    fn a_size_of_zero_keeps_the_last_good_one() {
        let size = Size::default().or_last(0, 0);
        assert_eq!(size, Size { cols: 80, rows: 24 });
        let size = size.or_last(132, 43).or_last(0, 50).or_last(u32::MAX, 0);
        assert_eq!(
            size,
            Size {
                cols: 9_999,
                rows: 50
            }
        );
    }

    #[test]
    fn characters_come_out_whole_wherever_they_are_split() {
        let text = "aé漢🦀z\u{10ffff}é";
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    decoded(&pieces),
                    (text.to_owned(), 0),
                    "split at {first}, {second}"
                );
            }
        }
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decoded(&bytewise), (text.to_owned(), 0));
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_and_counted_however_they_are_split() {
        let cases: [(&[u8], &str, u64); 7] = [
            (b"a\xffb", "a\u{fffd}b", 1),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", 3), // a lone surrogate
            (b"\xf0\x9f\xa6", "\u{fffd}", 3),                 // a character never finished
            (b"\xe6\xbcA", "\u{fffd}A", 2),
            (b"\xc3\xc3\xa9", "\u{fffd}é", 1),
            (b"\x80\x80", "\u{fffd}\u{fffd}", 2),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}", 4), // beyond Unicode
        ];
        for (bytes, text, replaced) in cases {
            for split in 0..=bytes.len() {
                let pieces = [&bytes[..split], &bytes[split..]];
                assert_eq!(
                    decoded(&pieces),
                    (text.into(), replaced),
                    "{bytes:x?} at {split}"
                );
            }
        }
    }

    #[test]
    fn a_packet_with_no_whole_character_makes_no_event() {
        let mut out = Vec::new();
        output(&mut out, Micros(1), &mut Decoder::default(), b"\xf0\x9f");
        assert_eq!(out, b"");
    }

    #[test]
    fn resizes_and_markers_are_events() {
        let mut out = Vec::new();
        resize(&mut out, Micros(-5), Size::default());
        marker(&mut out, Micros(2_000_000), "exit \"0\"");
        let lines = "[0.000000,\"r\",\"80x24\"]\n[2.000000,\"m\",\"exit \\\"0\\\"\"]\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    fn decoded(pieces: &[&[u8]]) -> (String, u64) {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in pieces {
            output(&mut out, Micros(0), &mut decoder, piece);
        }
        output_end(&mut out, Micros(0), &mut decoder);
        let text = out
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice::<(f64, char, String)>(line)
                    .unwrap()
                    .2
            })
            .collect();
        (text, decoder.replaced())
    }
}
