//! The bastion's own words on an operator's channel, before or without a session: lines out,
//! lines in. Holds no secret and reaches no target.

use super::session::Start;
use russh::ChannelMsg;
use std::collections::VecDeque;

/// The longest line that is read.
const LONGEST_LINE: usize = 2048;

/// A channel that the bastion itself speaks on.
pub(crate) struct Console {
    start: Start,
    /// What came after the line that was read last.
    ahead: VecDeque<u8>,
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
            let byte = self.next_byte().await?;
            match byte {
                b'\r' | b'\n' => {
                    self.new_line().await;
                    return Some(String::from_utf8_lossy(&line).trim().to_owned());
                }
                0x03 | 0x04 => {
                    self.new_line().await;
                    return None;
                }
                0x7f | 0x08 if self.start.terminal.is_some() && erase_last(&mut line) => {
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

/// Takes the last character off, all of its bytes.
fn erase_last(line: &mut Vec<u8>) -> bool {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backspace_takes_a_whole_character() {
        let mut line = "aé".as_bytes().to_vec();
        assert!(erase_last(&mut line));
        assert_eq!(line, b"a");
        assert!(erase_last(&mut line));
        assert!(!erase_last(&mut line));
    }
}
