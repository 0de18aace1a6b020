//! A cast as plain text, to search in: what stood on the lines of the screen, escape sequences
//! gone, a line edited before it was sent as it was sent. Pure.
//!
//! It follows a cursor within its line and no further: what a full-screen program paints comes
//! out as fragments, in the order painted. Where the exact picture matters, replay the cast.

use std::io::{self, Write};

/// Columns a line is followed to; longer ones are broken.
const WIDEST: usize = 4_096;
/// Blanks that one sequence may insert.
const MOST_BLANKS: usize = 64;
/// More of an escape sequence's parameters than anything needs.
const PARAMETERS: usize = 32;

/// Takes an asciicast v2 file through [`Write`], in any pieces, and writes its text, a line at a
/// time. [`Transcript::finish`] writes what stands on the last one.
pub struct Transcript<'a> {
    out: &'a mut dyn Write,
    held: Vec<u8>,
    line: Vec<char>,
    column: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Ground,
    Escape,
    /// One more character belongs to it.
    Designation,
    Control(String),
    /// A title or the like, until BEL or ESC `\`.
    Text,
    TextEscape,
}

impl<'a> Transcript<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            held: Vec::new(),
            line: Vec::new(),
            column: 0,
            state: State::Ground,
        }
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.end_line()
    }

    /// One line of the cast. Its header and what is not output are passed over.
    fn event(&mut self, line: &[u8]) -> io::Result<()> {
        let Ok((_, 'o', data)) = serde_json::from_slice::<(f64, char, String)>(line) else {
            return Ok(());
        };
        data.chars().try_for_each(|character| self.take(character))
    }

    fn take(&mut self, character: char) -> io::Result<()> {
        let state = std::mem::replace(&mut self.state, State::Ground);
        self.state = match (state, character) {
            (State::Ground, '\u{1b}') => State::Escape,
            (State::Ground, shown) => {
                self.show(shown)?;
                State::Ground
            }
            (State::Escape, '[') => State::Control(String::new()),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Text,
            (State::Escape, '(' | ')' | '*' | '+' | '#' | '%' | ' ') => State::Designation,
            (State::Escape | State::Designation, _)
            | (State::TextEscape, '\\')
            | (State::Text, '\u{7}') => State::Ground,
            (State::Text, '\u{1b}') => State::TextEscape,
            (State::Text | State::TextEscape, _) => State::Text,
            (State::Control(mut parameters), ' '..='?') if parameters.len() < PARAMETERS => {
                parameters.push(character);
                State::Control(parameters)
            }
            (State::Control(parameters), command) => {
                self.control(&parameters, command)?;
                State::Ground
            }
        };
        Ok(())
    }

    fn show(&mut self, character: char) -> io::Result<()> {
        match character {
            '\n' => self.end_line()?,
            '\r' => self.column = 0,
            '\u{8}' => self.column = self.column.saturating_sub(1),
            '\t' => self.put(' ')?,
            other if other.is_control() => {}
            other => self.put(other)?,
        }
        Ok(())
    }

    fn put(&mut self, character: char) -> io::Result<()> {
        if self.column >= WIDEST {
            self.end_line()?;
        }
        if self.line.len() <= self.column {
            self.line.resize(self.column.saturating_add(1), ' ');
        }
        if let Some(cell) = self.line.get_mut(self.column) {
            *cell = character;
        }
        self.column = self.column.saturating_add(1);
        Ok(())
    }

    /// ECMA-48 control functions that edit a line; one that leaves it ends it.
    fn control(&mut self, parameters: &str, command: char) -> io::Result<()> {
        let given: Option<usize> = parameters.split(';').next().and_then(|n| n.parse().ok());
        let count = given.unwrap_or(1).clamp(1, WIDEST);
        let end = self.column.saturating_add(count).min(self.line.len());
        // A jump beyond the text leaves one blank: a few bytes must not make a long line.
        let gap = self.line.len().max(self.column).saturating_add(1);
        match command {
            'C' => self.column = self.column.saturating_add(count).min(gap),
            'D' => self.column = self.column.saturating_sub(count),
            'G' => self.column = count.saturating_sub(1).min(gap),
            'K' if given.unwrap_or(0) == 0 => self.line.truncate(self.column),
            'K' if given == Some(2) => self.line.clear(),
            'P' if self.column < end => drop(self.line.drain(self.column..end)),
            '@' if self.column < self.line.len() => {
                let blanks = std::iter::repeat_n(' ', count.min(MOST_BLANKS));
                self.line.splice(self.column..self.column, blanks);
                self.line.truncate(WIDEST);
            }
            'A' | 'B' | 'E' | 'F' | 'H' | 'J' | 'd' | 'f' => self.end_line()?,
            _ => {}
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line: String = self.line.drain(..).collect();
        self.column = 0;
        let text = line.trim_end();
        if text.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{text}")
    }
}

impl Write for Transcript<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.held.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.held);
                self.event(&line)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asciicast::{self, Decoder};
    use crate::journal::Micros;

    #[test]
    fn text_stands_as_it_stood_on_the_line() {
        let cases: [(&[u8], &str); 12] = [
            (b"$ ls\r\nfile\r\n", "$ ls\nfile\n"),
            (b"\x1b[1;31mred\x1b[0m\r\n", "red\n"),
            (b"\x1b]0;title\x07$ id\r\n", "$ id\n"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
            (b"$ lss\x08\x1b[K\r\n", "$ ls\n"),
            (b"50%\r100%\r\n", "100%\n"),
            (b"abd\x08\x1b[@c\r\n", "abcd\n"),
            (b"abXc\x08\x08\x1b[P\r\n", "abc\n"),
            (b"\x1b(Bplain\x1b[?2004h\r\n", "plain\n"),
            (b"\x1b[2J\x1b[1;1Htop\x1b[5;1Hbottom", "top\nbottom\n"),
            (b"a\tb\x07\r\n\r\n\r\n", "a b\n"),
            ("é漢\x1b[2D\x1b[Cx\n".as_bytes(), "éx\n"),
        ];
        for (bytes, text) in cases {
            assert_eq!(
                transcript(bytes),
                text,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn what_never_ends_stays_bounded() {
        let wide = transcript(&b"x".repeat(10_000));
        assert_eq!(
            wide.lines().map(str::len).collect::<Vec<_>>(),
            [4_096, 4_096, 1_808]
        );
        assert_eq!(transcript(b"a\x1b[999999999Cb\x1b[9999Gc\n"), "a b c\n");
        let parameters = [b"\x1b[".to_vec(), b"1".repeat(1_000), b"mend\n".to_vec()].concat();
        assert!(transcript(&parameters).contains("mend"));
    }

    fn transcript(output: &[u8]) -> String {
        let mut cast = b"{\"version\":2,\"width\":80,\"height\":24}\n".to_vec();
        let mut decoder = Decoder::default();
        for piece in output.chunks(3) {
            asciicast::output(&mut cast, Micros(0), &mut decoder, piece);
        }
        asciicast::marker(&mut cast, Micros(0), "not output");
        let mut text = Vec::new();
        let mut transcript = Transcript::new(&mut text);
        for piece in cast.chunks(7) {
            transcript.write_all(piece).unwrap();
        }
        transcript.finish().unwrap();
        String::from_utf8(text).unwrap()
    }
}
