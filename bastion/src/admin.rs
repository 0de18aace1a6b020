//! Commands at the host's own command line: provisioning, and reading the evidence.
//!
//! Whoever may read the state directory may run them; each change and each reading is traced
//! under his name at the operating system.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod certificate;
pub(crate) mod check_config;
pub(crate) mod factor;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod recording;

use crate::config::Config;
use access::Who;
use access::operator::CERT_AUTHORITY;
use anyhow::{Context as _, Result};
use russh::keys::PublicKey;
use std::os::unix::fs::MetadataExt as _;
use store::Store;

/// Opens the database of this configuration.
pub(crate) async fn open_store(config: &Config) -> Result<Store> {
    Store::open(&config.database_url())
        .await
        .context("cannot open the database")
}

/// Opens the database only where there is one that was initialised: nobody but `init` makes one.
pub(crate) async fn open_existing(config: &Config) -> Result<Store> {
    Store::open_existing(&config.database_url())
        .await
        .context("cannot open the database")
}

/// The same for what only reads: a copy that cannot be written will do, and nothing is created.
pub(crate) async fn open_to_read(config: &Config) -> Result<Store> {
    Store::open_to_read(&config.database_url())
        .await
        .context("cannot open the database")
}

/// Who sits at the command line: the name the operating system knows him by. Read from the
/// process itself, not from the environment, which anybody can set.
pub(crate) fn command_line() -> Who {
    let Ok(about) = std::fs::metadata("/proc/self") else {
        return Who::CommandLine("unknown".to_owned());
    };
    let uid = about.uid().to_string();
    let name = std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|users| login_of(&users, &uid));
    Who::CommandLine(name.unwrap_or_else(|| format!("uid {uid}")))
}

/// Reads a public key as people paste it; one that is too weak is refused.
pub(crate) fn public_key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let Ok(key) = PublicKey::from_openssh(text) else {
        return Err("is not a public key in OpenSSH's format (`ssh-ed25519 AAAA…`)".to_owned());
    };
    match crate::ssh::key_strength::may_be_declared(&key) {
        Ok(()) => Ok(text.to_owned()),
        Err(weak) => Err(weak.to_string()),
    }
}

/// The same of an operator, where it may also be an authority of his.
pub(crate) fn operator_key(text: &str) -> Result<String, String> {
    match text.trim().strip_prefix(CERT_AUTHORITY) {
        Some(key) => Ok(format!("{CERT_AUTHORITY}{}", public_key(key)?)),
        None => public_key(text),
    }
}

/// The user of `passwd`(5) text that has this id.
fn login_of(users: &str, uid: &str) -> Option<String> {
    users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| {
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_at_the_command_line_is_named_as_the_system_knows_him() {
        let users = "root:x:0:0:root:/root:/bin/sh\nmarie:x:1000:1000::/home/marie:/bin/sh\n";
        assert_eq!(login_of(users, "1000").as_deref(), Some("marie"));
        assert_eq!(login_of(users, "1001"), None);
        assert!(matches!(command_line(), Who::CommandLine(_)));
    }
}
