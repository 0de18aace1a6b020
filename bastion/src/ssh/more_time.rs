//! `~+` at the start of a line of a session's terminal: two questions of the bastion's own, and
//! what is typed meanwhile does not reach the target. Pure; what is asked for goes to the session.
//!
//! OpenSSH's client takes `~` at the start of a line for itself and sends on what it does not know,
//! so `~+` comes from it in one piece; from others as two, the second of which is waited for, for
//! [`PATIENCE`]. In the midst of anything else, as a paste is, it means nothing. Whoever means the
//! two characters leaves that time between them.

use super::console::erase_last;
use bytes::Bytes;
use std::time::Duration;

/// How long a `~` at the start of a line is kept back.
pub(crate) const PATIENCE: Duration = Duration::from_millis(800);
/// The longest answer that is read.
const LONGEST: usize = 400;
/// What Enter alone asks for.
const MINUTES: u64 = 30;
/// As many minutes as the longest window has.
const MOST: u64 = 31 * 24 * 60;

const OPENING: &str =
    "\r\n[bastion] For more time than was approved: how many minutes? (Ctrl-C: none) [30] ";
const WHY: &str = "\r\n[bastion] Why? The customer reads it: ";
const AGAIN: &str = "\r\n[bastion] A number of minutes: [30] ";
const NOTHING: &str = "\r\n[bastion] nothing was asked for\r\n";

const ENTER: [u8; 2] = [b'\r', b'\n'];
/// Ctrl-C, Ctrl-D and Escape.
const LEAVE: [u8; 3] = [0x03, 0x04, 0x1b];
const BACKSPACE: [u8; 2] = [0x08, 0x7f];

/// More time, as somebody asked for it in his session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) more: Duration,
    pub(crate) reason: String,
}

/// What becomes of what was typed.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Typed {
    /// For the target.
    pub(crate) pass: Option<Bytes>,
    /// For the operator's screen.
    pub(crate) show: Vec<u8>,
    pub(crate) wanted: Option<Wanted>,
}

/// Where one terminal's typing stands.
pub(crate) struct MoreTime {
    place: Place,
}

enum Place {
    LineStart,
    InLine,
    /// A `~` at the start of a line has not been passed on yet.
    Held,
    Minutes(Vec<u8>),
    Reason(Duration, Vec<u8>),
}

impl MoreTime {
    /// A new terminal is at the start of its first line.
    pub(crate) const fn new() -> Self {
        Self {
            place: Place::LineStart,
        }
    }

    /// Whether something is kept back that [`Self::release`] gives.
    pub(crate) const fn holds(&self) -> bool {
        matches!(self.place, Place::Held)
    }

    /// What was kept back, for the target: nothing followed in time, or nothing will.
    pub(crate) fn release(&mut self) -> Option<Bytes> {
        self.holds().then(|| {
            self.place = Place::InLine;
            Bytes::from_static(b"~")
        })
    }

    /// One packet of the operator's.
    pub(crate) fn typed(&mut self, data: Bytes) -> Typed {
        match (&mut self.place, data.as_ref()) {
            (Place::LineStart, b"~+") | (Place::Held, b"+") => {
                self.place = Place::Minutes(Vec::new());
                Typed {
                    show: OPENING.into(),
                    ..Typed::default()
                }
            }
            (Place::LineStart, b"~") => {
                self.place = Place::Held;
                Typed::default()
            }
            (Place::Held, _) => {
                let both = [b"~", data.as_ref()].concat();
                self.passed(Bytes::from(both))
            }
            (Place::LineStart | Place::InLine, _) => self.passed(data),
            (Place::Minutes(_) | Place::Reason(..), _) => self.answered(&data),
        }
    }

    fn passed(&mut self, data: Bytes) -> Typed {
        if let Some(last) = data.last() {
            self.place = if ENTER.contains(last) {
                Place::LineStart
            } else {
                Place::InLine
            };
        }
        Typed {
            pass: Some(data),
            ..Typed::default()
        }
    }

    /// What follows the end of the questions in the same packet is nobody's.
    fn answered(&mut self, data: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for byte in data {
            match std::mem::replace(&mut self.place, Place::LineStart) {
                Place::Minutes(line) => match edited(line, *byte, &mut typed.show) {
                    Edited::More(line) => self.place = Place::Minutes(line),
                    Edited::Line(line) => self.place = after_minutes(&line, &mut typed.show),
                    Edited::Left => return typed,
                },
                Place::Reason(more, line) => match edited(line, *byte, &mut typed.show) {
                    Edited::More(line) => self.place = Place::Reason(more, line),
                    Edited::Line(line) if line.is_empty() => {
                        typed.show.extend(WHY.bytes());
                        self.place = Place::Reason(more, Vec::new());
                    }
                    Edited::Line(reason) => {
                        typed.show.extend(ENTER);
                        typed.wanted = Some(Wanted { more, reason });
                        return typed;
                    }
                    Edited::Left => return typed,
                },
                Place::LineStart | Place::InLine | Place::Held => return typed,
            }
        }
        typed
    }
}

/// What one key has made of a line.
enum Edited {
    More(Vec<u8>),
    Line(String),
    Left,
}

fn edited(mut line: Vec<u8>, byte: u8, show: &mut Vec<u8>) -> Edited {
    if ENTER.contains(&byte) {
        return Edited::Line(String::from_utf8_lossy(&line).trim().to_owned());
    }
    if LEAVE.contains(&byte) {
        show.extend(NOTHING.bytes());
        return Edited::Left;
    }
    if BACKSPACE.contains(&byte) {
        if erase_last(&mut line) {
            show.extend(b"\x08 \x08");
        }
    } else if byte >= 0x20 && line.len() < LONGEST {
        line.push(byte);
        show.push(byte);
    }
    Edited::More(line)
}

fn after_minutes(line: &str, show: &mut Vec<u8>) -> Place {
    let minutes = if line.is_empty() {
        Some(MINUTES)
    } else {
        line.parse().ok()
    };
    if let Some(minutes @ 1..=MOST) = minutes {
        show.extend(WHY.bytes());
        return Place::Reason(Duration::from_secs(minutes * 60), Vec::new());
    }
    show.extend(AGAIN.bytes());
    Place::Minutes(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_keys_at_the_start_of_a_line_are_kept_back() {
        // Packets, and what reaches the target.
        let rows: [(&[&str], &str, bool); 14] = [
            (&["ls\r", "~+"], "ls\r", true),
            (&["~+"], "", true),
            (&["ls\n", "~", "+"], "ls\n", true),
            (&["ls\r", "~", "/bin\r"], "ls\r~/bin\r", false),
            (&["ls\r", "~/bin\r"], "ls\r~/bin\r", false),
            (&["ls\r", "~", "~", "+"], "ls\r~~+", false),
            (&["ls\r", "~", "~+"], "ls\r~~+", false),
            (&["echo ", "~+", "\r"], "echo ~+\r", false),
            (&["a\r~+\rb\r"], "a\r~+\rb\r", false),
            (&["a\r", "~+\rb\r"], "a\r~+\rb\r", false),
            (&["a\r~+"], "a\r~+", false),
            (
                &["\u{1b}[200~~+\u{1b}[201~"],
                "\u{1b}[200~~+\u{1b}[201~",
                false,
            ),
            (&["a\r", "", "~+"], "a\r", true),
            (&["a\r", "+~", "+"], "a\r+~+", false),
        ];
        for (packets, reached, opened) in rows {
            let (passed, shown, wanted) = play(packets);
            assert_eq!(passed, reached, "{packets:?}");
            assert_eq!(shown == OPENING, opened, "{packets:?}: {shown:?}");
            assert_eq!(wanted, None);
        }
    }

    #[test]
    fn a_tilde_that_nothing_follows_is_passed_on() {
        let mut typing = MoreTime::new();
        assert_eq!(typing.release(), None);
        assert_eq!(typing.typed("~".into()), Typed::default());
        assert!(typing.holds());
        assert_eq!(typing.release(), Some("~".into()));
        assert_eq!(typing.typed("+".into()).pass, Some("+".into()), "as it is");
    }

    #[test]
    fn minutes_and_a_reason_are_asked_for_and_nothing_reaches_the_target() {
        type Row<'a> = (&'a [&'a str], Option<(u64, &'a str)>);
        let rows: [Row<'_>; 9] = [
            (&["\r", "slow copy\r"], Some((30, "slow copy"))),
            (
                &[
                    "4",
                    "5",
                    "\r",
                    "slow",
                    "\u{7f}\u{7f}\u{7f}\u{7f}é",
                    "\u{8}x y\r",
                ],
                Some((45, "x y")),
            ),
            (
                &["much\r", "0\r", "99999\r", "5\r", "why\r"],
                Some((5, "why")),
            ),
            (&["\r", "\r", "  \r", "why\r"], Some((30, "why"))),
            (&["\rwhy\rrm -rf /\r"], Some((30, "why"))),
            (&["\u{3}"], None),
            (&["5\r", "because\u{1b}[A"], None),
            (&["5\r", "\u{4}"], None),
            (&["5"], None),
        ];
        for (answers, expected) in rows {
            let packets: Vec<&str> = ["id\r", "~+"].iter().chain(answers).copied().collect();
            let (passed, shown, wanted) = play(&packets);
            assert_eq!(passed, "id\r", "{answers:?}");
            assert!(shown.starts_with(OPENING), "{shown:?}");
            let wanted = wanted.map(|wanted| (wanted.more, wanted.reason));
            let expected =
                expected.map(|(minutes, reason)| (Duration::from_mins(minutes), reason.to_owned()));
            assert_eq!(wanted, expected, "{answers:?}");
        }
    }

    #[test]
    fn after_the_questions_the_terminal_is_the_targets_again() {
        for leave in ["\u{3}", "\u{1b}", "\rwhy\r"] {
            let (passed, _, _) = play(&["~+", leave, "id\r", "~", "x"]);
            assert_eq!(passed, "id\r~x", "{leave:?}");
            let (passed, shown, _) = play(&["~+", leave, "~+"]);
            assert_eq!(passed, "");
            assert!(shown.ends_with(OPENING), "it may be asked again at once");
        }
    }

    #[test]
    fn an_answer_has_an_end() {
        let long = "x".repeat(3 * LONGEST);
        let (passed, _, wanted) = play(&["~+", "\r", &long, "\r"]);
        assert_eq!(passed, "");
        assert_eq!(wanted.unwrap().reason.len(), LONGEST);
    }

    fn play(packets: &[&str]) -> (String, String, Option<Wanted>) {
        let mut typing = MoreTime::new();
        let (mut passed, mut shown, mut wanted) = (Vec::new(), Vec::new(), None);
        for packet in packets {
            let typed = typing.typed(Bytes::copy_from_slice(packet.as_bytes()));
            passed.extend(typed.pass.unwrap_or_default());
            shown.extend(typed.show);
            wanted = typed.wanted.or(wanted);
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(passed), text(shown), wanted)
    }
}
