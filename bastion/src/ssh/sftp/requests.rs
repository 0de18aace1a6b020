//! What an SFTP client can ask (draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL, 4), and which
//! operation each of it needs. Pure.

use super::packets::Fields;
use crate::ssh::files::{Broken, shown};
use access::grant::Operation;
use std::fmt::Write as _;

pub(super) const INIT: u8 = 1;
pub(super) const WRITE: u8 = 6;
/// Room for two paths of a system's longest, and more. It is held back until it is whole.
const LONGEST_REQUEST: usize = 32 * 1024;
/// OpenSSH's servers give handles of 4 bytes, the protocol allows no more.
const LONGEST_HANDLE: usize = 256;

const READS: u32 = 0x01;
const WRITES: u32 = 0x02;
const APPENDS: u32 = 0x04;
const CREATES: u32 = 0x08;
const TRUNCATES: u32 = 0x10;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open {
        path: &'a [u8],
        access: Access,
    },
    OpenDirectory {
        path: &'a [u8],
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
    },
    ReadDirectory {
        handle: &'a [u8],
    },
    /// Tells about names and file systems, and changes nothing.
    Look,
    /// The same of something that is open.
    LookAt {
        handle: &'a [u8],
    },
    /// Changes something by its name.
    Change {
        operation: &'static str,
        path: String,
        detail: String,
    },
    /// Changes something that is open.
    ChangeOpen {
        operation: &'static str,
        handle: &'a [u8],
        detail: String,
    },
    Copy {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// Nothing that may pass.
    Unknown {
        name: String,
    },
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    flags: u32,
}

impl Access {
    /// A server that is told neither opens for reading.
    pub(super) const fn reads(self) -> bool {
        self.flags & READS != 0 || !self.changes()
    }

    pub(super) const fn writes(self) -> bool {
        self.flags & (WRITES | APPENDS) != 0
    }

    pub(super) const fn changes(self) -> bool {
        self.flags & (WRITES | APPENDS | CREATES | TRUNCATES) != 0
    }

    pub(super) const fn operation(self) -> &'static str {
        match (self.reads(), self.changes()) {
            (true, true) => "open_read_write",
            (false, true) => "open_write",
            (_, false) => "open_read",
        }
    }
}

impl Request<'_> {
    /// All of these have to be covered.
    pub(super) fn needs(&self) -> &'static [Operation] {
        match self {
            Self::Open { access, .. } => match (access.reads(), access.changes()) {
                (true, true) => &[Operation::Upload, Operation::Download],
                (false, true) => &[Operation::Upload],
                (_, false) => &[Operation::Download],
            },
            Self::Read { .. } => &[Operation::Download],
            Self::Write { .. }
            | Self::Change { .. }
            | Self::ChangeOpen { .. }
            | Self::Copy { .. } => &[Operation::Upload],
            Self::OpenDirectory { .. }
            | Self::Close { .. }
            | Self::ReadDirectory { .. }
            | Self::Look
            | Self::LookAt { .. }
            | Self::Unknown { .. } => &[],
        }
    }

    /// What was asked, and of what, for a refusal.
    pub(super) fn named(&self) -> (&'static str, String) {
        match self {
            Self::Open { path, access } => (access.operation(), shown(path)),
            Self::OpenDirectory { path } => ("open_directory", shown(path)),
            Self::Read { .. } => ("read", String::new()),
            Self::Write { .. } => ("write", String::new()),
            Self::Change {
                operation, path, ..
            } => (operation, path.clone()),
            Self::ChangeOpen { operation, .. } => (operation, String::new()),
            Self::Copy { .. } => ("copy", String::new()),
            Self::Unknown { name } => ("unknown", name.clone()),
            Self::Close { .. } => ("close", String::new()),
            Self::ReadDirectory { .. } => ("list", String::new()),
            Self::Look | Self::LookAt { .. } => ("look", String::new()),
        }
    }

    /// The open thing that it is about.
    pub(super) const fn handle(&self) -> Option<&[u8]> {
        match self {
            Self::Close { handle }
            | Self::Read { handle, .. }
            | Self::Write { handle, .. }
            | Self::ReadDirectory { handle }
            | Self::LookAt { handle }
            | Self::ChangeOpen { handle, .. } => Some(handle),
            Self::Copy { to, .. } => Some(to),
            Self::Open { .. }
            | Self::OpenDirectory { .. }
            | Self::Look
            | Self::Change { .. }
            | Self::Unknown { .. } => None,
        }
    }
}

/// How much of a request has to be there: all of it, but of what is written only where it goes.
pub(super) fn needed(kind: u8, length: usize, known: &[u8]) -> Result<usize, Broken> {
    if kind != WRITE {
        if length > LONGEST_REQUEST {
            return Err(Broken(format!("a request of {length} bytes")));
        }
        return Ok(5 + length);
    }
    let Some(handle) = super::packets::number(known, 4) else {
        return Ok(5 + 8);
    };
    let handle = handle as usize;
    if handle > LONGEST_HANDLE {
        return Err(Broken(format!("a handle of {handle} bytes")));
    }
    Ok(5 + 8 + handle + 12)
}

/// Reads a request: its number, and what it is. `length` is that of all that follows the type.
pub(super) fn parse(kind: u8, length: usize, body: &[u8]) -> Result<(u32, Request<'_>), Broken> {
    let mut fields = Fields(body);
    let id = fields.u32()?;
    let request = match kind {
        3 => Request::Open {
            path: fields.string()?,
            access: Access {
                flags: fields.u32()?,
            },
        },
        4 => Request::Close {
            handle: fields.string()?,
        },
        5 => Request::Read {
            handle: fields.string()?,
            offset: fields.u64()?,
        },
        WRITE => {
            let (handle, offset) = (fields.string()?, fields.u64()?);
            let data = fields.u32()? as usize;
            if body.len() + data != length {
                return Err(Broken("a write of another length than its own".to_owned()));
            }
            Request::Write { handle, offset }
        }
        7 | 16 | 17 | 19 => Request::Look,
        8 => Request::LookAt {
            handle: fields.string()?,
        },
        9 => change(
            "setstat",
            shown(fields.string()?),
            &attributes(&mut fields)?,
        ),
        10 => Request::ChangeOpen {
            operation: "setstat",
            handle: fields.string()?,
            detail: attributes(&mut fields)?,
        },
        11 => Request::OpenDirectory {
            path: fields.string()?,
        },
        12 => Request::ReadDirectory {
            handle: fields.string()?,
        },
        13 => change("remove", shown(fields.string()?), ""),
        14 => change("mkdir", shown(fields.string()?), &attributes(&mut fields)?),
        15 => change("rmdir", shown(fields.string()?), ""),
        18 => change("rename", pair(&mut fields)?, ""),
        20 => change("symlink", pair(&mut fields)?, ""),
        200 => extended(&mut fields)?,
        _ => Request::Unknown {
            name: format!("type {kind}"),
        },
    };
    Ok((id, request))
}

fn extended<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, Broken> {
    const LONGEST_NAME: usize = 64;
    Ok(match fields.string()? {
        b"statvfs@openssh.com"
        | b"limits@openssh.com"
        | b"expand-path@openssh.com"
        | b"home-directory"
        | b"users-groups-by-id@openssh.com" => Request::Look,
        b"fstatvfs@openssh.com" | b"fsync@openssh.com" => Request::LookAt {
            handle: fields.string()?,
        },
        b"posix-rename@openssh.com" => change("rename", pair(fields)?, ""),
        b"hardlink@openssh.com" => change("hardlink", pair(fields)?, ""),
        b"lsetstat@openssh.com" => {
            change("lsetstat", shown(fields.string()?), &attributes(fields)?)
        }
        b"copy-data" => {
            let from = fields.string()?;
            fields.u64()?;
            fields.u64()?;
            Request::Copy {
                from,
                to: fields.string()?,
            }
        }
        name => Request::Unknown {
            name: shown(name.get(..LONGEST_NAME).unwrap_or(name)),
        },
    })
}

fn change<'a>(operation: &'static str, path: String, detail: &str) -> Request<'a> {
    Request::Change {
        operation,
        path,
        detail: detail.to_owned(),
    }
}

fn pair(fields: &mut Fields<'_>) -> Result<String, Broken> {
    let (first, second) = (fields.string()?, fields.string()?);
    Ok(format!("{} -> {}", shown(first), shown(second)))
}

/// What is set, in words: `, size 0, owner 0:0, mode 0644, times`.
fn attributes(fields: &mut Fields<'_>) -> Result<String, Broken> {
    let mut text = String::new();
    let flags = fields.u32()?;
    if flags & 0x1 != 0 {
        write!(text, ", size {}", fields.u64()?).unwrap_or_default();
    }
    if flags & 0x2 != 0 {
        write!(text, ", owner {}:{}", fields.u32()?, fields.u32()?).unwrap_or_default();
    }
    if flags & 0x4 != 0 {
        write!(text, ", mode {:04o}", fields.u32()? & 0o7777).unwrap_or_default();
    }
    if flags & 0x8 != 0 {
        text.push_str(", times");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_needs_its_operations() {
        let rows: &[(u8, Vec<u8>, &str)] = &[
            (3, open(0x01), "open_read: download"),
            (3, open(0x00), "open_read: download"),
            (3, open(0x02), "open_write: upload"),
            (3, open(0x1a), "open_write: upload"),
            (3, open(0x08), "open_write: upload"),
            (3, open(0x10), "open_write: upload"),
            (3, open(0x04), "open_write: upload"),
            (3, open(0x03), "open_read_write: upload download"),
            (3, open(0x09), "open_read_write: upload download"),
            (4, strings(&["h"]), "close:"),
            (5, [strings(&["h"]), vec![0; 12]].concat(), "read: download"),
            (7, strings(&["p"]), "look:"),
            (8, strings(&["h"]), "look:"),
            (9, [strings(&["p"]), vec![0; 4]].concat(), "setstat: upload"),
            (
                10,
                [strings(&["h"]), vec![0; 4]].concat(),
                "setstat: upload",
            ),
            (11, strings(&["p"]), "open_directory:"),
            (12, strings(&["h"]), "list:"),
            (13, strings(&["p"]), "remove: upload"),
            (14, [strings(&["p"]), vec![0; 4]].concat(), "mkdir: upload"),
            (15, strings(&["p"]), "rmdir: upload"),
            (16, strings(&["p"]), "look:"),
            (17, strings(&["p"]), "look:"),
            (18, strings(&["p", "q"]), "rename: upload"),
            (19, strings(&["p"]), "look:"),
            (20, strings(&["p", "q"]), "symlink: upload"),
            (21, strings(&[]), "unknown:"),
            (200, strings(&["statvfs@openssh.com", "p"]), "look:"),
            (200, strings(&["fstatvfs@openssh.com", "h"]), "look:"),
            (200, strings(&["fsync@openssh.com", "h"]), "look:"),
            (200, strings(&["limits@openssh.com"]), "look:"),
            (200, strings(&["expand-path@openssh.com", "~"]), "look:"),
            (200, strings(&["home-directory", "u"]), "look:"),
            (200, strings(&["users-groups-by-id@openssh.com"]), "look:"),
            (
                200,
                strings(&["posix-rename@openssh.com", "p", "q"]),
                "rename: upload",
            ),
            (
                200,
                strings(&["hardlink@openssh.com", "p", "q"]),
                "hardlink: upload",
            ),
            (
                200,
                [strings(&["lsetstat@openssh.com", "p"]), vec![0; 4]].concat(),
                "lsetstat: upload",
            ),
            (
                200,
                [strings(&["copy-data", "a"]), vec![0; 16], string("b")].concat(),
                "copy: upload",
            ),
            (200, strings(&["vendor@example"]), "unknown:"),
        ];
        for (kind, body, expected) in rows {
            let body = [vec![0, 0, 0, 9], body.clone()].concat();
            let (id, request) = parse(*kind, body.len(), &body).unwrap();
            let mut found = format!("{}:", request.named().0);
            for operation in request.needs() {
                found.push(' ');
                found.push_str(operation.code());
            }
            assert_eq!((id, found.as_str()), (9, *expected), "type {kind} {body:?}");
            for cut in 0..body.len() {
                // Whatever is missing, it is said and nothing panics.
                drop(parse(*kind, cut, body.get(..cut).unwrap()));
            }
        }
    }

    #[test]
    fn what_is_set_is_said() {
        let body = [
            string("p"),
            vec![0, 0, 0, 0xf],
            9_u64.to_be_bytes().to_vec(),
            vec![0, 0, 0, 1, 0, 0, 0, 2],
            vec![0, 0, 0o201, 0o244],
            vec![0; 8],
        ]
        .concat();
        let body = [vec![0; 4], body].concat();
        let (_, request) = parse(9, body.len(), &body).unwrap();
        let Request::Change { detail, .. } = request else {
            panic!("{request:?}")
        };
        assert_eq!(detail, ", size 9, owner 1:2, mode 0644, times");
    }

    fn open(flags: u32) -> Vec<u8> {
        [string("p"), flags.to_be_bytes().to_vec(), vec![0; 4]].concat()
    }

    fn strings(words: &[&str]) -> Vec<u8> {
        words.iter().flat_map(|word| string(word)).collect()
    }

    fn string(word: &str) -> Vec<u8> {
        let length = u32::try_from(word.len()).unwrap();
        [length.to_be_bytes().as_slice(), word.as_bytes()].concat()
    }
}
