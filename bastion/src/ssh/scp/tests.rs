#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these events come from here"
)]

use super::*;
use crate::ssh::command::scp;

const SHA_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const SHA_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn a_tree_is_named_with_its_digests_at_every_cut() {
    let steps: &[(&[u8], &[u8])] = &[
        (b"", b"\0"),
        (b"T1 0 1 0\n", b"\0"),
        (b"D0755 0 tree\n", b"\0"),
        (b"C0644 3 a\n", b"\0"),
        (b"abc\0", b"\0"),
        (b"C0600 0 empty\n", b"\0"),
        (b"\0", b"\0"),
        (b"E\n", b"\0"),
    ];
    let upload = [
        "upload_directory /dst <- tree begun".to_owned(),
        "upload_offer /dst <- tree/a begun, mode 0644".to_owned(),
        format!("upload /dst <- tree/a 3 {SHA_ABC} done, mode 0644"),
        "upload_offer /dst <- tree/empty begun, mode 0600".to_owned(),
        format!("upload /dst <- tree/empty 0 {SHA_NOTHING} done, mode 0600"),
    ];
    for cut in 1..20 {
        let mut talk = Talk::new("scp -rt /dst", cut);
        for (sent, answer) in steps {
            talk.sends(sent);
            talk.answers(answer);
        }
        talk.end();
        assert_eq!(talk.lines(), upload, "pieces of {cut}");
        let mut talk = Talk::new("scp -rf /dst", cut);
        for (sent, answer) in steps {
            talk.sends(sent);
            talk.answers(answer);
        }
        talk.end();
        let download: Vec<_> = upload
            .iter()
            .map(|line| line.replace("upload", "download").replace("<-", "->"))
            .collect();
        assert_eq!(talk.lines(), download, "pieces of {cut}");
    }
}

#[test]
fn a_file_that_is_not_taken_has_no_contents() {
    let mut talk = Talk::new("scp -t /dst", 3);
    talk.answers(b"\0");
    talk.sends(b"C0644 3 a\n");
    talk.answers(b"\x01scp: /dst: Permission denied\n");
    talk.sends(b"C0644 3 b\n");
    talk.answers(b"\0");
    talk.sends(b"abc\0");
    talk.answers(b"\0");
    let lines = talk.lines();
    assert_eq!(
        lines[1],
        "upload_offer /dst <- a scp: /dst: Permission denied"
    );
    assert_eq!(
        lines[3],
        format!("upload /dst <- b 3 {SHA_ABC} done, mode 0644")
    );
}

#[test]
fn a_disk_that_is_full_shows_in_the_outcome() {
    let mut talk = Talk::new("scp -t /dst", 100);
    talk.answers(b"\0");
    talk.sends(b"C0644 3 a\n");
    talk.answers(b"\0");
    talk.sends(b"abc\0");
    talk.answers(b"\x01No space left on device\n");
    let last = talk.lines().pop().unwrap();
    assert!(
        last.ends_with("No space left on device, mode 0644"),
        "{last}"
    );
}

#[test]
fn a_client_that_does_not_wait_is_followed() {
    let mut talk = Talk::new("scp -t /dst", 1000);
    talk.sends(b"C0644 3 a\nabc\0");
    talk.answers(b"\0\0\0");
    let last = talk.lines().pop().unwrap();
    assert_eq!(
        last,
        format!("upload /dst <- a 3 {SHA_ABC} done, mode 0644")
    );
}

#[test]
fn what_cannot_be_followed_is_noted_and_counted() {
    let long = vec![b'C'; LONGEST + 1];
    let rows: &[&[u8]] = &[
        b"X what\nmore",
        b"C0644 x a\nmore",
        b"C0644 3\nmore",
        b"C0648 3 a\nmore",
        b"\nmore",
        long.as_slice(),
    ];
    for sent in rows {
        let mut talk = Talk::new("scp -t /dst", 7);
        talk.answers(b"\0");
        talk.sends(sent);
        talk.end();
        let lines = talk.lines();
        assert!(
            lines[0].contains("what follows is only counted"),
            "{lines:?}"
        );
        assert!(lines[1].contains("bytes were not followed"), "{lines:?}");
    }
    let mut talk = Talk::new("scp -t /dst", 7);
    talk.answers(b"\0");
    // Contents sent before the answer, which is a no: what they became is not known.
    talk.sends(b"C0644 3 a\nab");
    talk.answers(b"\x01no\n");
    talk.sends(b"C0644 3 hidden\n");
    talk.end();
    let lines = talk.lines();
    assert!(lines[1].starts_with("upload /dst <- a 2 "), "{lines:?}");
    assert!(lines[2].contains("only counted and hashed"), "{lines:?}");
}

/// What OpenSSH's own scp takes for the next line must not pass for the end of this one.
#[test]
fn a_sentence_that_is_too_long_hides_no_file() {
    let long = [b"\x01".as_slice(), &[b'x'; 2046]].concat();
    let mut talk = Talk::new("scp -t /dst", 100);
    talk.answers(b"\0");
    talk.sends(&long);
    talk.sends(b"C0644 3 hidden\nabc\0");
    talk.end();
    assert!(talk.lines()[0].contains("too long; what follows is only counted"));

    let mut talk = Talk::new("scp -t /dst", 100);
    talk.answers(b"\0");
    talk.sends(b"C0644 3 a\n");
    talk.answers(b"\0");
    talk.sends(b"abc");
    talk.sends(&long);
    talk.sends(b"C0644 3 hidden\nabc\0");
    talk.end();
    let lines = talk.lines();
    assert!(lines[1].starts_with("upload /dst <- a 3 "), "{lines:?}");
    assert!(lines[2].contains("too long; what follows is only counted"));

    let mut talk = Talk::new("scp -f /src", 100);
    talk.answers(&long);
    talk.sends(b"C0644 3 hidden\n");
    talk.end();
    assert!(talk.lines()[0].contains("too long; what follows is only counted"));
}

/// scp takes any answer but a zero for a no, up to the end of its line.
#[test]
fn any_other_answer_is_a_no() {
    let mut talk = Talk::new("scp -f /src", 1);
    talk.answers(b"\0");
    talk.sends(b"C0644 100 a\n");
    talk.answers(b"no!\n");
    talk.sends(b"C0644 3 b\n");
    talk.answers(b"\0");
    talk.sends(b"abc\0");
    talk.answers(b"\0");
    let lines = talk.lines();
    assert_eq!(lines[1], "download_offer /src -> a no!");
    assert_eq!(
        lines[3],
        format!("download /src -> b 3 {SHA_ABC} done, mode 0644")
    );
}

/// Whoever takes files can answer in advance: it is read when what it answers was sent.
#[test]
fn answers_in_advance_are_of_what_comes() {
    let mut talk = Talk::new("scp -f /src", 5);
    talk.answers(b"\0\x01no\n\0\0");
    talk.sends(b"C0644 100 a\n");
    talk.sends(b"C0644 3 b\nabc\0");
    let lines = talk.lines();
    assert_eq!(lines[1], "download_offer /src -> a no");
    assert_eq!(
        lines[3],
        format!("download /src -> b 3 {SHA_ABC} done, mode 0644")
    );
    let mut talk = Talk::new("scp -f /src", 5);
    talk.answers(&[0; 100]);
    assert!(talk.lines()[0].contains("answers to nothing"));
}

/// What is in a directory that was not made is elsewhere, or nowhere.
#[test]
fn contents_of_a_directory_that_was_not_taken_are_not_named() {
    let mut talk = Talk::new("scp -rt /dst", 100);
    talk.answers(b"\0");
    talk.sends(b"D0755 0 x\n");
    talk.answers(b"\x01no\n");
    talk.sends(b"C0644 3 a\n");
    assert_eq!(
        talk.lines()[2],
        "upload_offer /dst <- a begun, mode 0644",
        "it is in the one above"
    );
    let mut talk = Talk::new("scp -rt /dst", 100);
    talk.answers(b"\0");
    talk.sends(b"D0755 0 x\nC0644 3 a\n");
    talk.answers(b"\x01no\n");
    let lines = talk.lines();
    assert!(lines.last().unwrap().contains("only counted"), "{lines:?}");
}

#[test]
fn what_was_broken_off_is_told_at_the_end() {
    let mut talk = Talk::new("scp -f /src", 7);
    talk.sends(b"C0644 10 a\n");
    talk.answers(b"\0\0");
    talk.sends(b"abc");
    talk.end();
    let last = talk.lines().pop().unwrap();
    assert!(
        last.contains(&format!("3 {SHA_ABC} broken off, 10 bytes")),
        "{last}"
    );
}

#[test]
fn a_sentence_is_noted() {
    let mut talk = Talk::new("scp -f /src", 4);
    talk.answers(b"\0");
    talk.sends(b"\x01scp: /src: No such file or directory\n");
    talk.sends(b"C0644 3 b\n");
    let lines = talk.lines();
    assert!(lines[0].contains("No such file or directory"), "{lines:?}");
    assert!(
        lines[1].starts_with("download_offer /src -> b"),
        "{lines:?}"
    );
}

struct Talk {
    conversation: Conversation,
    upload: bool,
    cut: usize,
    events: Vec<JournalEvent>,
}

impl Talk {
    fn new(command: &str, cut: usize) -> Self {
        let command = scp(command.as_bytes()).unwrap();
        Self {
            upload: command.direction == Direction::Upload,
            conversation: Conversation::new(4, command),
            cut,
            events: Vec::new(),
        }
    }

    /// The side that has the files.
    fn sends(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.cut) {
            if self.upload {
                self.conversation.operator_sent(piece, &mut self.events);
            } else {
                self.conversation.target_sent(piece, &mut self.events);
            }
        }
    }

    /// The side that takes them.
    fn answers(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.cut) {
            if self.upload {
                self.conversation.target_sent(piece, &mut self.events);
            } else {
                self.conversation.operator_sent(piece, &mut self.events);
            }
        }
    }

    fn end(&mut self) {
        let events = self.conversation.end();
        self.events.extend(events);
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
        JournalEvent::Note { text, .. } => text.clone(),
        _ => panic!("{event:?}"),
    }
}
