//! What is open on an SFTP channel, and what is asked and not answered yet. Pure, bounded.

use super::requests::Access;
use crate::ssh::files::{Broken, Tally};
use std::collections::HashMap;

/// Files and directories that may be open at once; OpenSSH's server has room for fewer.
const MOST_OPEN: usize = 4096;

/// A request of which the target has not said yet what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Open {
        path: Box<str>,
        access: Access,
    },
    OpenDirectory {
        path: Box<str>,
    },
    Close {
        of: u64,
    },
    Read {
        of: u64,
        offset: u64,
    },
    Write {
        of: u64,
    },
    ReadDirectory {
        of: u64,
    },
    Change {
        operation: &'static str,
        path: Box<str>,
    },
    Look,
}

/// One file or directory that is open.
pub(super) struct Open {
    handle: Box<[u8]>,
    pub(super) path: Box<str>,
    pub(super) what: What,
}

pub(super) enum What {
    File(Box<File>),
    Directory { names: u64 },
}

pub(super) struct File {
    pub(super) access: Access,
    pub(super) up: Tally,
    pub(super) down: Tally,
}

/// Everything that is open, by the target's name for it and by ours. The target's can be used
/// again once it was closed, ours cannot.
#[derive(Default)]
pub(super) struct Opened {
    next: u64,
    handles: HashMap<Box<[u8]>, u64>,
    open: HashMap<u64, Open>,
}

impl Opened {
    /// What the target calls `handle` is open now; also what it called so before, if that was not
    /// closed.
    pub(super) fn add(
        &mut self,
        handle: &[u8],
        path: Box<str>,
        what: What,
    ) -> Result<Option<Open>, Broken> {
        if self.open.len() >= MOST_OPEN {
            return Err(Broken(format!("more than {MOST_OPEN} files open at once")));
        }
        let number = self.next;
        self.next += 1;
        let before = self.handles.insert(handle.into(), number);
        let before = before.and_then(|before| self.open.remove(&before));
        let handle = handle.into();
        self.open.insert(number, Open { handle, path, what });
        Ok(before)
    }

    pub(super) fn number(&self, handle: &[u8]) -> Option<u64> {
        self.handles.get(handle).copied()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Open> {
        self.open.get(&number)
    }

    /// Whether it is a file and no directory.
    pub(super) fn is_file(&self, number: u64) -> bool {
        let open = self.open.get(&number);
        matches!(open.map(|open| &open.what), Some(What::File(_)))
    }

    /// What is written to this file.
    pub(super) fn up(&mut self, number: u64) -> Option<&mut Tally> {
        match &mut self.open.get_mut(&number)?.what {
            What::File(file) => Some(&mut file.up),
            What::Directory { .. } => None,
        }
    }

    /// What is read from this file.
    pub(super) fn down(&mut self, number: u64) -> Option<&mut Tally> {
        match &mut self.open.get_mut(&number)?.what {
            What::File(file) => Some(&mut file.down),
            What::Directory { .. } => None,
        }
    }

    /// How many names of this directory were told.
    pub(super) fn names(&mut self, number: u64) -> Option<&mut u64> {
        match &mut self.open.get_mut(&number)?.what {
            What::Directory { names } => Some(names),
            What::File(_) => None,
        }
    }

    /// Nothing more is asked of it.
    pub(super) fn is_closing(&mut self, number: u64) {
        if let Some(open) = self.open.get(&number) {
            self.handles.remove(&open.handle);
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        if self.handles.get(&open.handle) == Some(&number) {
            self.handles.remove(&open.handle);
        }
        Some(open)
    }

    /// All that is still open, in the order in which it was opened.
    pub(super) fn take_all(&mut self) -> Vec<Open> {
        self.handles.clear();
        let mut all: Vec<_> = self.open.drain().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, open)| open).collect()
    }
}

impl What {
    pub(super) fn file(access: Access) -> Self {
        Self::File(Box::new(File {
            access,
            up: Tally::new(),
            down: Tally::new(),
        }))
    }
}
