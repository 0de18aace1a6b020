//! What file transfers have in common, whatever their protocol: the directions, what passed of a
//! file, and what a parser gives out. Pure.

use access::grant::Operation;
use bytes::Bytes;
use recordings::JournalEvent;
use ring::digest;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// The operations that move files.
pub(crate) const BOTH: [Operation; 2] = [Operation::Upload, Operation::Download];

/// What file operations a running channel has. Only ever less: what was withdrawn does not come
/// back to a channel that runs.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    upload: AtomicBool,
    download: AtomicBool,
}

impl Allowed {
    pub(crate) fn new(operations: &[Operation]) -> Self {
        Self {
            upload: AtomicBool::new(operations.contains(&Operation::Upload)),
            download: AtomicBool::new(operations.contains(&Operation::Download)),
        }
    }

    pub(crate) fn covers(&self, operation: Operation) -> bool {
        match operation {
            Operation::Upload => self.upload.load(Ordering::Relaxed),
            Operation::Download => self.download.load(Ordering::Relaxed),
            Operation::Shell | Operation::Exec | Operation::Forward => false,
        }
    }

    /// What is left.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        BOTH.into_iter().filter(|each| self.covers(*each)).collect()
    }

    /// Takes one of them back.
    pub(crate) fn withdraw(&self, operation: Operation) {
        match operation {
            Operation::Upload => self.upload.store(false, Ordering::Relaxed),
            Operation::Download => self.download.store(false, Ordering::Relaxed),
            Operation::Shell | Operation::Exec | Operation::Forward => {}
        }
    }
}

/// What a parser makes of a piece of data: what goes on, in order, and what is to be in the journal
/// before it does.
pub(crate) struct Out<'a> {
    pub(crate) on: &'a mut Vec<Bytes>,
    pub(crate) events: &'a mut Vec<JournalEvent>,
}

/// Why a channel's protocol can no longer be followed: the channel ends. A sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

/// Bytes of one file that went one way.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    began_at: Option<u64>,
    next: u64,
    in_order: bool,
    failed: u32,
    sha256: digest::Context,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            bytes: 0,
            began_at: None,
            next: 0,
            in_order: true,
            failed: 0,
            sha256: digest::Context::new(&digest::SHA256),
        }
    }

    /// So many bytes of the file's `offset` come next.
    pub(crate) fn piece(&mut self, offset: u64, length: u64) {
        if self.began_at.is_none() {
            self.began_at = Some(offset);
        } else if offset != self.next {
            self.in_order = false;
        }
        self.next = offset.saturating_add(length);
    }

    pub(crate) fn add(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        self.sha256.update(data);
    }

    /// A piece was not taken.
    pub(crate) fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    pub(crate) fn sha256(&self) -> String {
        recordings::keys::hex(self.sha256.clone().finish().as_ref())
    }

    /// What is to be known of the digest: it is of the bytes in the order in which they passed.
    pub(crate) fn notes(&self) -> String {
        let mut notes = String::new();
        if let Some(offset) = self.began_at.filter(|offset| *offset > 0) {
            write!(notes, "; began at byte {offset}").unwrap_or_default();
        }
        if !self.in_order {
            notes.push_str("; not in order, the digest is of the bytes as they passed");
        }
        if self.failed > 0 {
            write!(notes, "; {} pieces were not taken", self.failed).unwrap_or_default();
        }
        notes
    }
}

/// Bytes as a person reads them; those that are no text stay apart from each other.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_says_whether_its_bytes_passed_in_order() {
        let mut tally = Tally::new();
        tally.piece(0, 2);
        tally.add(b"ab");
        tally.piece(2, 1);
        tally.add(b"c");
        assert_eq!(tally.notes(), "");
        assert_eq!(
            tally.sha256(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        tally.piece(2, 1);
        tally.failed();
        assert!(tally.notes().contains("not in order"));
        assert!(tally.notes().contains("1 pieces were not taken"));
        let mut resumed = Tally::new();
        resumed.piece(100, 1);
        assert_eq!(resumed.notes(), "; began at byte 100");
    }

    #[test]
    fn names_that_are_no_text_stay_apart() {
        assert_eq!(shown("é".as_bytes()), "é");
        assert_ne!(shown(b"a\xff"), shown(b"a\xfe"));
    }

    #[test]
    fn what_was_withdrawn_does_not_come_back() {
        let allowed = Allowed::new(&BOTH);
        allowed.withdraw(Operation::Upload);
        assert_eq!(allowed.operations(), [Operation::Download]);
        assert!(!allowed.covers(Operation::Exec));
    }
}
