//! What has to hold of each parser of ours, whatever it is given: `targets/` feeds these with a
//! fuzzer, `tests/corpus.rs` with the examples that are kept.
//!
//! | | what holds |
//! |---|---|
//! | `login_name` | what was read reads back as what was typed |
//! | `command` | what is taken for scp is nothing else for a shell |
//! | `scp` | files are told as OpenSSH's own two ends would write them, however the bytes are cut |
//! | `sftp` | nothing passes that the operations do not cover; all that passes is told, however it is cut |
//! | `journal`, `manifest` | a line and a manifest have one spelling |
//! | `stream` | of a damaged recording a true beginning is read, and nothing else |
//!
//! The parsers of the bastion are pure files of its own; they are compiled here without the rest.

#[path = "../../../bastion/src/ssh"]
#[allow(dead_code, reason = "the parsers alone, without what uses them")]
mod ssh {
    pub(crate) mod command;
    pub(crate) mod files;
    pub(crate) mod login;
    pub(crate) mod scp;
    pub(crate) mod sftp;
}

pub mod command;
mod given;
pub mod journal;
pub mod login_name;
pub mod manifest;
pub mod scp;
pub mod sftp;
pub mod stream;
