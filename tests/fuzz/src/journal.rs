//! A line of the journal that can be read has one spelling, is one line, and reads back as itself;
//! so does every event that can be written.

use crate::given::Given;
use recordings::journal::{append_line, parse_line};
use recordings::{Answer, ChannelKind, JournalEvent, JournalLine, Micros};

pub fn holds(data: &[u8]) {
    if let Ok(line) = parse_line(data) {
        reads_back(&line);
    }
    let mut given = Given(data);
    let at = Micros(given.u64().cast_signed());
    let event = event(&mut given);
    let written = reads_back(&JournalLine { at, event });
    // What was cut is never read as something else.
    let cut = usize::try_from(given.u64()).unwrap_or(0) % written.len();
    let beginning = &written[..cut];
    assert!(
        parse_line(beginning).is_err() || beginning.trim_ascii_end() == written.trim_ascii_end()
    );
}

fn reads_back(line: &JournalLine) -> Vec<u8> {
    let mut written = Vec::new();
    append_line(&mut written, line).expect("it can be written");
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(written.ends_with(b"\n"));
    let read = parse_line(&written).expect("what was written can be read");
    assert_eq!(&read, line);
    let mut again = Vec::new();
    append_line(&mut again, &read).expect("it can be written again");
    assert_eq!(again, written);
    written
}

fn event(given: &mut Given<'_>) -> JournalEvent {
    let channel = u32::from(given.byte());
    let some = given.yes().then_some(channel);
    match given.below(9) {
        0 => JournalEvent::Request {
            channel: some,
            request: given.text(),
            detail: given.text(),
            answer: if given.yes() {
                Answer::Success
            } else {
                Answer::NotWanted
            },
        },
        1 => JournalEvent::Refused {
            channel: some,
            request: given.text(),
            code: given.text(),
            sentence: given.text(),
        },
        2 => JournalEvent::FileOperation {
            channel,
            operation: given.text(),
            path: given.text(),
            bytes: given.u64(),
            sha256: given.yes().then(|| given.text()),
            outcome: given.text(),
        },
        3 => JournalEvent::ChannelOpened {
            channel,
            kind: ChannelKind::Terminal {
                cols: u32::from(given.byte()),
                rows: u32::from(given.byte()),
                term: given.text(),
                command: given.yes().then(|| given.text()),
            },
        },
        4 => JournalEvent::ChannelOpened {
            channel,
            kind: ChannelKind::Forward {
                to: given.text(),
                from: given.text(),
            },
        },
        5 => JournalEvent::ExitSignal {
            channel,
            signal: given.text(),
            core_dumped: given.yes(),
            message: given.text(),
        },
        6 => JournalEvent::Note {
            code: given.text(),
            text: given.text(),
        },
        7 => JournalEvent::Cut {
            reason: given.text(),
        },
        _ => JournalEvent::Exit {
            channel,
            status: u32::try_from(given.u64() >> 32).unwrap_or(0),
        },
    }
}
