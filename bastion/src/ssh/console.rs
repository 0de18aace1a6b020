//! The bastion's own words on an operator's channel, before or without a session: lines out,
//! lines in. Holds no secret and reaches no target.

use super::session::Start;
use russh::ChannelMsg;
use std::collections::VecDeque;

/// The longest line that is read.
const LONGEST_LINE: usize = 2048;

const ESCAPE: u8 = 0x1b;

#[derive(Clone, Copy)]
enum Key {
    Byte(u8),
    Up,
    Down,
    Other,
}

/// What a line has come to.
enum Typed {
    More,
    Line(String),
    End,
}

/// A channel that the bastion itself speaks on.
pub(crate) struct Console {
    start: Start,
    /// What came after the line that was read last.
    ahead: VecDeque<u8>,
    /// Something stands behind the cursor that the next key takes away.
    offered: bool,
}

impl Console {
    /// Tells the client that its request goes ahead. `None` where it is gone.
    pub(crate) async fn open(start: Start) -> Option<Self> {
        start
            .handle
            .channel_success(start.channel.id())
            .await
            .ok()?;
        Some(Self {
            start,
            ahead: VecDeque::new(),
            offered: false,
        })
    }

    /// The channel back, for a session to go on with; with what was typed ahead.
    pub(crate) fn into_start(mut self) -> Start {
        self.start.typed_ahead = self.ahead.into();
        self.start
    }

    /// One line. An operator who is gone misses it.
    pub(crate) async fn line(&self, text: &str) {
        self.write(&format!("{text}\n")).await;
    }

    /// Asks and reads a line; `None` at the end of input, at Ctrl-C and at Ctrl-D.
    pub(crate) async fn ask(&mut self, question: &str) -> Option<String> {
        self.write(question).await;
        self.read_line().await
    }

    /// The same, where the arrow keys go through `offers`: each puts its number on the line, with
    /// what it stands for beside it.
    pub(crate) async fn ask_among(&mut self, question: &str, offers: &[String]) -> Option<String> {
        self.write(question).await;
        let prompt = question.rsplit('\n').next().unwrap_or_default();
        let mut line = Vec::new();
        let mut at = None;
        loop {
            match self.next_key().await? {
                Key::Byte(byte) => match self.typed(byte, &mut line).await {
                    Typed::More => {}
                    Typed::Line(text) => return Some(text),
                    Typed::End => return None,
                },
                Key::Up | Key::Down if offers.is_empty() => {}
                key @ (Key::Up | Key::Down) => {
                    let next = moved(at, key, offers.len());
                    at = Some(next);
                    line = (next + 1).to_string().into_bytes();
                    let offer = offers.get(next).map(String::as_str).unwrap_or_default();
                    self.show(prompt, next + 1, offer).await;
                }
                Key::Other => {}
            }
        }
    }

    /// The number on the line, what it stands for behind it, and the cursor between the two.
    async fn show(&mut self, prompt: &str, number: usize, offer: &str) {
        // A terminal that does not tell its size says 0.
        let cols = self.start.terminal.as_ref().map_or(0, |t| t.cols);
        let cols = if cols == 0 { 80 } else { cols };
        let before = format!("{prompt}{number}");
        let room = usize::try_from(cols)
            .unwrap_or(80)
            .saturating_sub(before.len() + 3);
        let offer: String = offer.chars().take(room).collect();
        self.offered = true;
        // Erase the line (ECMA-48: EL), write, and come back to where the cursor was saved (DECSC).
        let shown = format!("\r\u{1b}[K{before}\u{1b}7  {offer}\u{1b}8");
        self.write(&shown).await;
    }

    /// A line that a program sends, such as a key.
    pub(crate) async fn read(&mut self) -> Option<String> {
        self.read_line().await
    }

    /// The same, only where there is somebody to answer.
    pub(crate) async fn ask_at_terminal(&mut self, question: &str) -> Option<String> {
        if self.start.terminal.is_some() {
            self.ask(question).await
        } else {
            None
        }
    }

    /// Last words (on stderr where it failed), the exit status, and the end.
    pub(crate) async fn finish(self, text: &str, status: u32) {
        let text = text.trim_end();
        if !text.is_empty() {
            if status == 0 || self.start.terminal.is_some() {
                self.line(text).await;
            } else {
                drop(
                    self.start
                        .channel
                        .extended_data_bytes(1, format!("{text}\n").into_bytes())
                        .await,
                );
            }
        }
        drop(self.start.channel.exit_status(status).await);
        drop(self.start.channel.eof().await);
        drop(self.start.channel.close().await);
    }

    async fn write(&self, text: &str) {
        let text = if self.start.terminal.is_some() {
            text.replace("\r\n", "\n").replace('\n', "\r\n")
        } else {
            text.to_owned()
        };
        drop(self.start.channel.data_bytes(text.into_bytes()).await);
    }

    async fn new_line(&self) {
        if self.start.terminal.is_some() {
            self.write("\n").await;
        }
    }

    /// A terminal in raw mode shows nothing by itself: what is typed is echoed here.
    async fn read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            if let Key::Byte(byte) = self.next_key().await? {
                match self.typed(byte, &mut line).await {
                    Typed::More => {}
                    Typed::Line(text) => return Some(text),
                    Typed::End => return None,
                }
            }
        }
    }

    async fn typed(&mut self, byte: u8, line: &mut Vec<u8>) -> Typed {
        if std::mem::take(&mut self.offered) {
            self.write("\u{1b}[K").await;
        }
        match byte {
            b'\r' | b'\n' => {
                self.new_line().await;
                return Typed::Line(String::from_utf8_lossy(line).trim().to_owned());
            }
            0x03 | 0x04 => {
                self.new_line().await;
                return Typed::End;
            }
            0x7f | 0x08 if self.start.terminal.is_some() && erase_last(line) => {
                self.write("\u{8} \u{8}").await;
            }
            // Other control characters do nothing.
            0..0x20 | 0x7f => {}
            _ if line.len() < LONGEST_LINE => {
                line.push(byte);
                if self.start.terminal.is_some() {
                    drop(self.start.channel.data_bytes(vec![byte]).await);
                }
            }
            _ => {}
        }
        Typed::More
    }

    /// One key. What a terminal sends for the others begins with an escape, too, and means nothing
    /// here (ECMA-48, 5.4: up to a byte from `@` on).
    async fn next_key(&mut self) -> Option<Key> {
        let byte = self.next_byte().await?;
        if byte != ESCAPE || self.start.terminal.is_none() {
            return Some(Key::Byte(byte));
        }
        match self.next_byte().await? {
            b'[' | b'O' => {}
            control @ 0..0x20 => return Some(Key::Byte(control)),
            _ => return Some(Key::Other),
        }
        loop {
            match self.next_byte().await? {
                control @ 0..0x20 => return Some(Key::Byte(control)),
                b'A' => return Some(Key::Up),
                b'B' => return Some(Key::Down),
                0x40..=0x7e => return Some(Key::Other),
                _ => {}
            }
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what is no input, size or end is nothing to a line"
    )]
    async fn next_byte(&mut self) -> Option<u8> {
        loop {
            if let Some(byte) = self.ahead.pop_front() {
                return Some(byte);
            }
            match self.start.channel.wait().await? {
                ChannelMsg::Data { data } => self.ahead.extend(data),
                // The session that follows has the terminal as it is then.
                ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    pix_width,
                    pix_height,
                } => {
                    if let Some(terminal) = &mut self.start.terminal {
                        (terminal.cols, terminal.rows) = (col_width, row_height);
                        (terminal.pix_width, terminal.pix_height) = (pix_width, pix_height);
                    }
                }
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                _ => {}
            }
        }
    }
}

/// Where an arrow leads among `many`, round the ends.
const fn moved(at: Option<usize>, key: Key, many: usize) -> usize {
    let last = many.saturating_sub(1);
    match (key, at) {
        (Key::Up, Some(at)) if at > 0 => at - 1,
        (Key::Up, _) => last,
        (_, Some(at)) if at < last => at + 1,
        _ => 0,
    }
}

/// Takes the last character off, all of its bytes.
pub(super) fn erase_last(line: &mut Vec<u8>) -> bool {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            return true;
        }
    }
    false
}

/// A line break in what somebody wrote would pass for a line of the bastion's.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_round() {
        for (at, key, next) in [
            (None, Key::Down, 0),
            (None, Key::Up, 2),
            (Some(0), Key::Up, 2),
            (Some(0), Key::Down, 1),
            (Some(2), Key::Down, 0),
            (Some(2), Key::Up, 1),
        ] {
            assert_eq!(moved(at, key, 3), next);
        }
        assert_eq!(moved(Some(0), Key::Down, 1), 0);
    }

    #[test]
    fn backspace_takes_a_whole_character() {
        let mut line = "aé".as_bytes().to_vec();
        assert!(erase_last(&mut line));
        assert_eq!(line, b"a");
        assert!(erase_last(&mut line));
        assert!(!erase_last(&mut line));
    }
}
