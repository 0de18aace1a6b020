//! SFTP as it is followed, beside a plain reading of what came out on both sides: only what the
//! operations cover has passed, and every byte of a file that passed is told with its digest;
//! however the bytes are cut.

use crate::given::{Given, pieces};
use crate::ssh::files::{Allowed, Out};
use crate::ssh::sftp::Conversation;
use access::grant::Operation;
use bytes::Bytes;
use recordings::JournalEvent;
use recordings::keys::hex;
use ring::digest::{Context, SHA256};
use std::collections::{BTreeMap, HashMap};

const OPERATIONS: [&[Operation]; 4] = [
    &[],
    &[Operation::Upload],
    &[Operation::Download],
    &[Operation::Upload, Operation::Download],
];

pub fn holds(data: &[u8]) {
    let mut given = Given(data);
    let operations = OPERATIONS[given.below(4)];
    let mut cuts = Given(given.bytes());
    let (mut whole, mut cut) = (Followed::new(operations), Followed::new(operations));
    while !given.is_over() && !whole.is_broken && !cut.is_broken {
        let (from_operator, said) = message(&mut given);
        whole.said(from_operator, &said);
        for piece in pieces(&said, &mut cuts) {
            cut.said(from_operator, piece);
        }
    }
    whole.end();
    cut.end();
    assert_eq!(whole.is_broken, cut.is_broken);
    if whole.is_broken {
        // Of the piece in which it broke nothing passes; whole, that is more.
        assert!(cut.at_target.starts_with(&whole.at_target));
        assert!(cut.at_operator.starts_with(&whole.at_operator));
    } else {
        assert_eq!(whole.at_target, cut.at_target);
        assert_eq!(whole.at_operator, cut.at_operator);
        assert_eq!(whole.events, cut.events);
        whole.tells_what_passed(operations);
    }
}

/// A few packets of one side, most of them good ones.
fn message(given: &mut Given<'_>) -> (bool, Vec<u8>) {
    let from_operator = given.yes();
    let mut said = Vec::new();
    for _ in 0..=given.below(3) {
        if given.below(16) == 15 {
            said.extend_from_slice(given.bytes());
        } else if from_operator {
            said.extend(request(given));
        } else {
            said.extend(answer(given));
        }
    }
    (from_operator, said)
}

fn request(given: &mut Given<'_>) -> Vec<u8> {
    const KINDS: [u8; 20] = [
        3, 3, 4, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 200, 1, 0,
    ];
    const NAMES: [&str; 5] = [
        "fsync@openssh.com",
        "copy-data",
        "posix-rename@openssh.com",
        "statvfs@openssh.com",
        "vendor@example",
    ];
    let kind = KINDS[given.below(KINDS.len())];
    let id = number(u32::try_from(given.below(8)).unwrap_or(0));
    let name = string(given.some(1));
    let body = match kind {
        1 => number(u32::from(given.byte())),
        3 => [id, name, number(u32::from(given.byte())), number(0)].concat(),
        5 => [id, name, offset(given), number(100)].concat(),
        6 => [id, name, offset(given), string(given.bytes())].concat(),
        9 | 10 | 14 => [id, name, number(0)].concat(),
        18 => [id, name, string(b"other")].concat(),
        200 => {
            let extension = string(NAMES[given.below(NAMES.len())].as_bytes());
            [
                id,
                extension,
                name,
                offset(given),
                offset(given),
                string(given.some(1)),
            ]
            .concat()
        }
        0 => given.bytes().to_vec(),
        _ => [id, name].concat(),
    };
    let kind = if kind == 0 { given.byte() } else { kind };
    packet(kind, &body)
}

fn answer(given: &mut Given<'_>) -> Vec<u8> {
    const KINDS: [u8; 8] = [101, 101, 102, 102, 103, 103, 104, 2];
    let kind = KINDS[given.below(KINDS.len())];
    let id = number(u32::try_from(given.below(8)).unwrap_or(0));
    let body = match kind {
        2 => number(3),
        101 => [id, number(u32::from(given.byte() & 7))].concat(),
        102 => [id, string(given.some(1))].concat(),
        103 => [id, string(given.bytes())].concat(),
        _ => [id, number(1), string(b"n"), string(b"n"), number(0)].concat(),
    };
    packet(kind, &body)
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = number(u32::try_from(body.len() + 1).unwrap_or(0));
    [&length[..], &[kind], body].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [
        number(u32::try_from(bytes.len()).unwrap_or(0)),
        bytes.to_vec(),
    ]
    .concat()
}

fn number(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn offset(given: &mut Given<'_>) -> Vec<u8> {
    u64::from(given.byte()).to_be_bytes().to_vec()
}

struct Followed {
    conversation: Conversation,
    allowed: Allowed,
    at_target: Vec<u8>,
    at_operator: Vec<u8>,
    /// What passed, in its order: from the operator or not, and the bytes.
    passed: Vec<(bool, Vec<u8>)>,
    events: Vec<JournalEvent>,
    is_broken: bool,
}

impl Followed {
    fn new(operations: &[Operation]) -> Self {
        Self {
            conversation: Conversation::new(1),
            allowed: Allowed::new(operations),
            at_target: Vec::new(),
            at_operator: Vec::new(),
            passed: Vec::new(),
            events: Vec::new(),
            is_broken: false,
        }
    }

    fn said(&mut self, from_operator: bool, data: &[u8]) {
        if self.is_broken {
            return;
        }
        let data = Bytes::copy_from_slice(data);
        let mut on = Vec::new();
        let mut out = Out {
            on: &mut on,
            events: &mut self.events,
        };
        let followed = if from_operator {
            self.conversation
                .operator_sent(&data, &self.allowed, &mut out)
        } else {
            self.conversation.target_sent(&data, &mut out)
        };
        self.is_broken = followed.is_err();
        if self.is_broken {
            return;
        }
        let on = on.concat();
        if from_operator {
            self.at_target.extend_from_slice(&on);
        } else {
            self.at_operator.extend_from_slice(&on);
        }
        self.passed.push((from_operator, on));
        if let Some(answers) = self.conversation.answers() {
            self.at_operator.extend_from_slice(&answers);
        }
    }

    fn end(&mut self) {
        let last = self.conversation.end();
        self.events.extend(last);
    }

    fn tells_what_passed(&self, operations: &[Operation]) {
        let mut told: BTreeMap<(&str, u64, &str), usize> = BTreeMap::new();
        for event in &self.events {
            if let JournalEvent::FileOperation {
                operation,
                bytes: bytes @ 1..,
                sha256: Some(sha256),
                ..
            } = event
            {
                *told.entry((operation, *bytes, sha256)).or_default() += 1;
            }
        }
        let files = Reading::of(&self.passed, operations).files;
        let mut passed: BTreeMap<(&str, u64, &str), usize> = BTreeMap::new();
        let files: Vec<_> = files
            .into_iter()
            .flat_map(|file| [("upload", file.up), ("download", file.down)])
            .filter(|(_, (bytes, _))| *bytes > 0)
            .map(|(operation, (bytes, sha256))| (operation, bytes, hex(sha256.finish().as_ref())))
            .collect();
        for (operation, bytes, sha256) in &files {
            *passed.entry((operation, *bytes, sha256)).or_default() += 1;
        }
        assert_eq!(told, passed);
    }
}

/// What passed, read from its beginning by the letter of the protocol.
struct Reading {
    operator: Vec<u8>,
    target: Vec<u8>,
    asked: HashMap<u32, (u8, Option<usize>)>,
    handles: HashMap<Vec<u8>, usize>,
    files: Vec<File>,
}

struct File {
    up: (u64, Context),
    down: (u64, Context),
}

impl Reading {
    fn of(passed: &[(bool, Vec<u8>)], operations: &[Operation]) -> Self {
        let mut reading = Self {
            operator: Vec::new(),
            target: Vec::new(),
            asked: HashMap::new(),
            handles: HashMap::new(),
            files: Vec::new(),
        };
        for (from_operator, bytes) in passed {
            if *from_operator {
                reading.operator.extend_from_slice(bytes);
                while let Some(packet) = take_packet(&mut reading.operator) {
                    reading.request(&packet, operations);
                }
            } else {
                reading.target.extend_from_slice(bytes);
                while let Some(packet) = take_packet(&mut reading.target) {
                    reading.answer(&packet);
                }
            }
        }
        reading.rest();
        reading
    }

    fn request(&mut self, packet: &[u8], operations: &[Operation]) {
        let kind = packet[4];
        if kind == 1 {
            return;
        }
        let needs = |operation| assert!(operations.contains(&operation), "type {kind} has passed");
        let mut fields = Given(&packet[5..]);
        let id = long(&mut fields);
        let name = text(&mut fields);
        let mut of = None;
        match kind {
            3 => {
                let flags = long(&mut fields);
                if flags & 0x1e != 0 {
                    needs(Operation::Upload);
                }
                if flags & 1 != 0 || flags & 0x1e == 0 {
                    needs(Operation::Download);
                }
            }
            5 => needs(Operation::Download),
            6 | 9 | 10 | 13 | 14 | 15 | 18 | 20 => needs(Operation::Upload),
            4 | 7 | 8 | 11 | 12 | 16 | 17 | 19 => {}
            200 => match name.as_slice() {
                b"copy-data" | b"posix-rename@openssh.com" => needs(Operation::Upload),
                b"hardlink@openssh.com" | b"lsetstat@openssh.com" => needs(Operation::Upload),
                name => assert_ne!(name, b"vendor@example"),
            },
            _ => panic!("type {kind} has passed"),
        }
        if matches!(kind, 4 | 5 | 6 | 8 | 10 | 12) {
            of = self.handles.get(&name).copied();
            assert!(of.is_some(), "something that is not open: {name:?}");
        }
        if kind == 4 {
            self.handles.remove(&name);
        }
        if kind == 6 {
            let data = &packet[5 + 4 + 4 + name.len() + 8 + 4..];
            add(of.map(|of| &mut self.files[of].up), data);
        }
        self.asked.insert(id, (kind, of));
    }

    fn answer(&mut self, packet: &[u8]) {
        let kind = packet[4];
        let mut fields = Given(&packet[5..]);
        let id = long(&mut fields);
        if kind == 2 {
            return;
        }
        let said = packet.get(17..).unwrap_or_default();
        let own: [&[u8]; 3] = [b"Permission denied", b"Operation unsupported", b"Failure"];
        if kind == 101 && own.iter().any(|own| said.starts_with(own)) {
            // The bastion's own, between two of the target's.
            return;
        }
        let (asked, of) = self.asked.remove(&id).expect("it was asked");
        match (kind, asked) {
            (102, 3 | 11) => {
                let handle = text(&mut fields);
                self.handles.insert(handle, self.files.len());
                let nothing = || (0, Context::new(&SHA256));
                self.files.push(File {
                    up: nothing(),
                    down: nothing(),
                });
            }
            (103, 5) => add(of.map(|of| &mut self.files[of].down), &packet[5 + 4 + 4..]),
            _ => {}
        }
    }

    /// Contents that were not whole at the end count as far as they came.
    fn rest(&mut self) {
        let (operator, target) = (self.operator.clone(), self.target.clone());
        if operator.get(4) == Some(&6) {
            let handle = text(&mut Given(&operator[9..]));
            let of = self.handles.get(&handle).copied();
            let data = operator.get(5 + 4 + 4 + handle.len() + 8 + 4..);
            add(
                of.map(|of| &mut self.files[of].up),
                data.unwrap_or_default(),
            );
        }
        if target.get(4) == Some(&103) && target.len() > 13 {
            let id = long(&mut Given(&target[5..]));
            let of = self.asked.get(&id).and_then(|(_, of)| *of);
            add(of.map(|of| &mut self.files[of].down), &target[13..]);
        }
    }
}

fn add(of: Option<&mut (u64, Context)>, data: &[u8]) {
    let (bytes, sha256) = of.expect("a file that is open");
    *bytes += data.len() as u64;
    sha256.update(data);
}

fn take_packet(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = long(&mut Given(stream.get(..4)?)) as usize;
    (stream.len() >= 4 + length).then(|| stream.drain(..4 + length).collect())
}

fn long(fields: &mut Given<'_>) -> u32 {
    let mut bytes = [0; 4];
    let given = fields.some(4);
    bytes[..given.len()].copy_from_slice(given);
    u32::from_be_bytes(bytes)
}

fn text(fields: &mut Given<'_>) -> Vec<u8> {
    let length = long(fields) as usize;
    fields.some(length).to_vec()
}
