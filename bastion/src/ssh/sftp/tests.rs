#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these events come from here"
)]

use super::*;
use access::grant::Operation;

const SHA_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn an_upload_and_a_download_are_named_with_their_digests() {
    let mut lines = Vec::new();
    for cut in 1..40 {
        let mut talk = Talk::new(&BOTH_WAYS);
        talk.cut = cut;
        let (asked, answered) = whole_conversation();
        for (request, answer) in asked.iter().zip(&answered) {
            talk.asks(request).unwrap();
            talk.answers(answer).unwrap();
        }
        assert_eq!(talk.at_target, asked.concat(), "pieces of {cut}");
        assert_eq!(talk.at_operator, answered.concat(), "pieces of {cut}");
        talk.end();
        lines.push(talk.lines());
    }
    let expected = [
        "open_write /up asked",
        "open_write /up done",
        "close /up done",
        &format!("upload /up 3 {SHA_ABC} done"),
        "open_read /down done",
        "close /down done",
        &format!("download /down 3 {SHA_ABC} done"),
        "open_directory /dir done",
        "list /dir done, 2 names",
        "setstat /up asked, mode 0600",
        "setstat /up permission denied",
    ];
    for found in &lines {
        assert_eq!(found, &expected);
    }
}

#[test]
fn pipelined_requests_are_followed_at_every_cut() {
    let (asked, answered) = whole_conversation();
    // Everything that does not wait for a handle, in one piece, and cut in two at each byte.
    let up = [asked[0].clone(), looks(0), looks(1), looks(2)].concat();
    let down = [
        answered[0].clone(),
        status(100, 0),
        status(102, 2),
        status(101, 0),
    ]
    .concat();
    for at in 0..=up.len() {
        let mut talk = Talk::new(&BOTH_WAYS);
        talk.asks(&up[..at]).unwrap();
        talk.asks(&up[at..]).unwrap();
        talk.answers(&down[..at.min(down.len())]).unwrap();
        talk.answers(&down[at.min(down.len())..]).unwrap();
        assert_eq!((&talk.at_target, &talk.at_operator), (&up, &down), "{at}");
    }
}

#[test]
fn each_change_is_refused_without_upload_and_the_channel_lives_on() {
    let path = |kind| packet(kind, &[number4(7), string("/x")]);
    let pairs = |kind| packet(kind, &[number4(7), string("/x"), string("/y")]);
    let extended = |name: &str| {
        packet(
            200,
            &[
                number4(7),
                string(name),
                string("/x"),
                string("/y"),
                number4(0),
            ],
        )
    };
    let rows = [
        ("open_write", open(7, "/x", 0x1a)),
        ("open_write", open(7, "/x", 0x04)),
        ("open_read_write", open(7, "/x", 0x03)),
        (
            "setstat",
            packet(9, &[number4(7), string("/x"), number4(0)]),
        ),
        ("remove", path(13)),
        ("mkdir", packet(14, &[number4(7), string("/x"), number4(0)])),
        ("rmdir", path(15)),
        ("rename", pairs(18)),
        ("symlink", pairs(20)),
        ("rename", extended("posix-rename@openssh.com")),
        ("hardlink", extended("hardlink@openssh.com")),
        (
            "lsetstat",
            packet(
                200,
                &[
                    number4(7),
                    string("lsetstat@openssh.com"),
                    string("/x"),
                    number4(0),
                ],
            ),
        ),
    ];
    for (operation, request) in rows {
        for cut in [1, 5, 1000] {
            let mut talk = Talk::greeted(&[Operation::Download]);
            talk.cut = cut;
            talk.asks(&request).unwrap();
            assert_eq!(talk.at_target, b"", "{operation} did not pass");
            assert_eq!(talk.refusal(), (7, PERMISSION_DENIED), "{operation}");
            let refused = talk.lines().pop().unwrap();
            assert!(
                refused.starts_with(&format!("refused sftp {operation}: ")),
                "{refused}"
            );
            assert!(refused.contains("/x"), "{refused}");
            // The same number again: the session lives on.
            talk.asks(&packet(17, &[number4(7), string("/x")])).unwrap();
            assert_ne!(talk.at_target, b"");
        }
    }
}

#[test]
fn reading_is_refused_without_download() {
    let mut talk = Talk::greeted(&[Operation::Upload]);
    talk.asks(&open(1, "/x", 1)).unwrap();
    assert_eq!(talk.refusal(), (1, PERMISSION_DENIED));
    talk.asks(&open(1, "/x", 0)).unwrap();
    assert_eq!(talk.refusal(), (1, PERMISSION_DENIED));
    assert_eq!(talk.at_target, b"");
    // One that is open for writing is not read either.
    talk.asks(&open(2, "/x", 2)).unwrap();
    talk.answers(&packet(102, &[number4(2), string("h")]))
        .unwrap();
    talk.at_target.clear();
    talk.asks(&read(3, 0, 10)).unwrap();
    assert_eq!(
        (talk.refusal(), talk.at_target.as_slice()),
        ((3, PERMISSION_DENIED), &b""[..])
    );
}

#[test]
fn a_direction_that_is_withdrawn_is_refused_from_then_on() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    talk.asks(&open(1, "/x", 2)).unwrap();
    talk.answers(&packet(102, &[number4(1), string("h")]))
        .unwrap();
    talk.asks(&write(2, 0, b"abc")).unwrap();
    talk.allowed.withdraw(Operation::Upload);
    talk.at_target.clear();
    talk.asks(&write(3, 3, b"more")).unwrap();
    assert_eq!(
        (talk.refusal(), talk.at_target.as_slice()),
        ((3, PERMISSION_DENIED), &b""[..])
    );
    talk.end();
    let lines = talk.lines();
    assert!(
        lines.contains(&format!("upload /x 3 {SHA_ABC} not closed")),
        "{lines:?}"
    );
}

#[test]
fn a_refusal_falls_between_two_packets_of_the_targets() {
    let (_, answered) = whole_conversation();
    let data = answered[5].clone();
    for at in 0..=data.len() {
        let mut talk = Talk::greeted(&[Operation::Download]);
        talk.asks(&open(4, "/down", 1)).unwrap();
        talk.answers(&packet(102, &[number4(4), string("h")]))
            .unwrap();
        talk.asks(&read(5, 0, 10)).unwrap();
        talk.at_operator.clear();
        talk.answers(&data[..at]).unwrap();
        talk.asks(&packet(13, &[number4(9), string("/x")])).unwrap();
        let early = talk.conversation.answers();
        let between = talk.at_operator.is_empty() || at == data.len();
        assert_eq!(early.is_some(), between, "{at}");
        talk.at_operator.extend(early.unwrap_or_default());
        talk.answers(&data[at..]).unwrap();
        let refusal = status_packet(9, PERMISSION_DENIED, "Permission denied");
        let mut ways = [
            [data.clone(), refusal.clone()].concat(),
            [refusal, data.clone()].concat(),
        ];
        ways.sort();
        assert!(
            ways.contains(&talk.at_operator),
            "{at}: {:?}",
            talk.at_operator
        );
    }
}

#[test]
fn what_is_not_known_is_unsupported() {
    for request in [
        packet(200, &[number4(1), string("vendor@example"), string("x")]),
        packet(21, &[number4(1)]),
        packet(77, &[number4(1), string("x")]),
    ] {
        let mut talk = Talk::greeted(&BOTH_WAYS);
        talk.asks(&request).unwrap();
        assert_eq!(
            (talk.refusal(), talk.at_target.as_slice()),
            ((1, OP_UNSUPPORTED), &b""[..])
        );
    }
}

#[test]
fn nothing_passes_to_what_is_not_open_here() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    for request in [
        read(1, 0, 10),
        write(2, 0, b"abc"),
        packet(4, &[number4(3), string("h")]),
    ] {
        talk.asks(&request).unwrap();
        assert_eq!(talk.refusal().1, FAILURE);
    }
    // Nor to what is being closed.
    talk.asks(&open(1, "/x", 2)).unwrap();
    talk.answers(&packet(102, &[number4(1), string("h")]))
        .unwrap();
    talk.asks(&packet(4, &[number4(2), string("h")])).unwrap();
    talk.at_target.clear();
    talk.asks(&write(3, 0, b"abc")).unwrap();
    assert_eq!(
        (talk.refusal(), talk.at_target.as_slice()),
        ((3, FAILURE), &b""[..])
    );
}

#[test]
fn a_directory_has_no_contents() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    talk.asks(&packet(11, &[number4(1), string("/dir")]))
        .unwrap();
    talk.answers(&packet(102, &[number4(1), string("h")]))
        .unwrap();
    talk.at_target.clear();
    talk.asks(&write(2, 0, b"abc")).unwrap();
    assert_eq!(talk.refusal(), (2, FAILURE));
    talk.asks(&read(3, 0, 10)).unwrap();
    assert_eq!(talk.refusal(), (3, FAILURE));
    assert!(talk.at_target.is_empty());
}

#[test]
fn what_does_not_pass_in_order_is_noted() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    talk.asks(&open(1, "/x", 2)).unwrap();
    talk.answers(&packet(102, &[number4(1), string("h")]))
        .unwrap();
    talk.asks(&write(2, 3, b"def")).unwrap();
    talk.asks(&write(3, 0, b"abc")).unwrap();
    talk.answers(&status(2, 0)).unwrap();
    talk.answers(&status(3, 4)).unwrap();
    talk.asks(&packet(4, &[number4(4), string("h")])).unwrap();
    talk.answers(&status(4, 0)).unwrap();
    let last = talk.lines().pop().unwrap();
    for said in ["began at byte 3", "not in order", "1 pieces were not taken"] {
        assert!(last.contains(said), "{last}");
    }
}

#[test]
fn a_later_version_is_not_spoken() {
    let mut talk = Talk::new(&BOTH_WAYS);
    talk.asks(&[0, 0, 0, 5, 1, 0, 0, 0, 6]).unwrap();
    assert_eq!(talk.at_target, [0, 0, 0, 5, 1, 0, 0, 0, 3]);
    let broken = talk.answers(&[0, 0, 0, 5, 2, 0, 0, 0, 6]);
    assert!(broken.is_err());
}

#[test]
fn what_cannot_be_followed_ends_the_channel() {
    let huge = [0, 4, 0, 1, 3];
    let ups: &[(&str, Vec<u8>)] = &[
        ("a packet of 262145 bytes", huge.to_vec()),
        ("a packet of 0 bytes", vec![0, 0, 0, 0, 3]),
        ("a request of", packet(13, &[vec![0; 32 * 1024 + 1]])),
        ("used twice", [looks(0), looks(0)].concat()),
        ("too short", packet(3, &[number4(1)])),
        ("too short", packet(13, &[number4(1), number4(100)])),
        ("a handle of", packet(6, &[number4(1), number4(257)])),
        (
            "another length",
            packet(6, &[number4(1), string("h"), vec![0; 8], number4(1)]),
        ),
    ];
    for (expected, bytes) in ups {
        let mut talk = Talk::greeted(&BOTH_WAYS);
        let Err(Broken(why)) = talk.asks(bytes) else {
            panic!("{expected}")
        };
        assert!(why.contains(expected), "{why}");
    }
    let downs: &[(&str, Vec<u8>)] = &[
        ("not asked", status(9, 0)),
        ("not SFTP", packet(50, &[number4(100)])),
        ("not SFTP", b"Welcome to this machine".to_vec()),
        (
            "does not answer",
            packet(103, &[number4(100), string("data")]),
        ),
        ("does not answer", packet(102, &[number4(100), string("h")])),
    ];
    for (expected, bytes) in downs {
        let mut talk = Talk::greeted(&BOTH_WAYS);
        talk.asks(&looks(0)).unwrap();
        match talk.answers(bytes) {
            // Text reads as a length that is too long.
            Err(Broken(why)) => assert!(
                why.contains(expected) || why.starts_with("a packet of"),
                "{why}"
            ),
            Ok(()) => panic!("{expected}"),
        }
    }
    let mut talk = Talk::new(&BOTH_WAYS);
    assert!(talk.asks(&looks(0)).is_err(), "it begins with the version");
}

#[test]
fn a_change_that_was_not_answered_is_told_at_the_end() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    talk.asks(&packet(13, &[number4(1), string("/x")])).unwrap();
    talk.end();
    assert_eq!(talk.lines(), ["remove /x asked", "remove /x not answered"]);
}

#[test]
fn the_operator_waits_while_too_much_is_not_answered() {
    let mut talk = Talk::greeted(&BOTH_WAYS);
    for id in 0..u32::try_from(MOST_ASKED).unwrap() {
        assert!(talk.conversation.has_room());
        talk.asks(&packet(17, &[number4(id), string("/x")]))
            .unwrap();
    }
    assert!(!talk.conversation.has_room());
    talk.answers(&status(0, 0)).unwrap();
    assert!(talk.conversation.has_room());
}

const BOTH_WAYS: [Operation; 2] = [Operation::Upload, Operation::Download];

/// A conversation, and what came of it on both sides.
struct Talk {
    conversation: Conversation,
    allowed: Allowed,
    /// In pieces of so many bytes.
    cut: usize,
    at_target: Vec<u8>,
    at_operator: Vec<u8>,
    events: Vec<JournalEvent>,
}

impl Talk {
    fn new(operations: &[Operation]) -> Self {
        Self {
            conversation: Conversation::new(4),
            allowed: Allowed::new(operations),
            cut: usize::MAX,
            at_target: Vec::new(),
            at_operator: Vec::new(),
            events: Vec::new(),
        }
    }

    fn greeted(operations: &[Operation]) -> Self {
        let mut talk = Self::new(operations);
        talk.asks(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
        talk.answers(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).unwrap();
        talk.at_target.clear();
        talk.at_operator.clear();
        talk
    }

    fn asks(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for piece in bytes.chunks(self.cut) {
            let mut on = Vec::new();
            let events = &mut self.events;
            let out = &mut Out {
                on: &mut on,
                events,
            };
            let data = Bytes::copy_from_slice(piece);
            self.conversation.operator_sent(&data, &self.allowed, out)?;
            self.at_target.extend(on.concat());
        }
        Ok(())
    }

    fn answers(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for piece in bytes.chunks(self.cut) {
            let mut on = Vec::new();
            let events = &mut self.events;
            let out = &mut Out {
                on: &mut on,
                events,
            };
            self.conversation
                .target_sent(&Bytes::copy_from_slice(piece), out)?;
            self.at_operator.extend(on.concat());
        }
        Ok(())
    }

    fn end(&mut self) {
        let events = self.conversation.end();
        self.events.extend(events);
    }

    /// Number and status of the one answer that waits.
    fn refusal(&mut self) -> (u32, u32) {
        let answer = self.conversation.answers().unwrap();
        let mut fields = Fields(&answer[5..]);
        assert_eq!((answer.len() - 4, answer[4]), (answer[3].into(), STATUS));
        (fields.u32().unwrap(), fields.u32().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.events.iter().map(line).collect()
    }
}

fn line(event: &JournalEvent) -> String {
    match event {
        JournalEvent::FileOperation {
            operation,
            path,
            bytes,
            sha256: Some(sha256),
            outcome,
            ..
        } => format!("{operation} {path} {bytes} {sha256} {outcome}"),
        JournalEvent::FileOperation {
            operation,
            path,
            outcome,
            ..
        } => format!("{operation} {path} {outcome}"),
        JournalEvent::Refused {
            request, sentence, ..
        } => format!("refused {request}: {sentence}"),
        _ => panic!("{event:?}"),
    }
}

/// Requests and their answers, one by one.
fn whole_conversation() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let rows = [
        (
            vec![0, 0, 0, 5, 1, 0, 0, 0, 3],
            vec![0, 0, 0, 5, 2, 0, 0, 0, 3],
        ),
        (
            open(1, "/up", 0x1a),
            packet(102, &[number4(1), string("h")]),
        ),
        (write(2, 0, b"abc"), status(2, 0)),
        (packet(4, &[number4(3), string("h")]), status(3, 0)),
        (open(4, "/down", 1), packet(102, &[number4(4), string("h")])),
        (read(5, 0, 10), packet(103, &[number4(5), string("abc")])),
        (read(6, 3, 10), status(6, 1)),
        (packet(4, &[number4(7), string("h")]), status(7, 0)),
        (
            packet(11, &[number4(8), string("/dir")]),
            packet(102, &[number4(8), string("d")]),
        ),
        (
            packet(12, &[number4(9), string("d")]),
            packet(104, &[number4(9), number4(2), vec![1; 50]]),
        ),
        (packet(12, &[number4(10), string("d")]), status(10, 1)),
        (packet(4, &[number4(11), string("d")]), status(11, 0)),
        (
            packet(
                9,
                &[number4(12), string("/up"), number4(4), number4(0o100_600)],
            ),
            status(12, 3),
        ),
    ];
    rows.into_iter().unzip()
}

fn looks(number: u32) -> Vec<u8> {
    packet(17, &[number4(100 + number), string("/x")])
}

fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    packet(3, &[number4(id), string(path), number4(flags), number4(0)])
}

fn read(id: u32, offset: u64, length: u32) -> Vec<u8> {
    let offset = offset.to_be_bytes().to_vec();
    packet(5, &[number4(id), string("h"), offset, number4(length)])
}

fn write(id: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let offset = offset.to_be_bytes().to_vec();
    packet(
        6,
        &[
            number4(id),
            string("h"),
            offset,
            number4(length),
            data.to_vec(),
        ],
    )
}

fn status(id: u32, code: u32) -> Vec<u8> {
    packet(101, &[number4(id), number4(code), string(""), string("")])
}

fn packet(kind: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let body = fields.concat();
    let length = u32::try_from(body.len() + 1).unwrap();
    [length.to_be_bytes().as_slice(), &[kind], &body].concat()
}

fn string(word: &str) -> Vec<u8> {
    let length = u32::try_from(word.len()).unwrap();
    [length.to_be_bytes().as_slice(), word.as_bytes()].concat()
}

fn number4(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
