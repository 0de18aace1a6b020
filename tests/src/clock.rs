//! The time of day as a bastion under test is told it. Needs libfaketime.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A clock of the day that only the bastion sees.
pub struct Clock {
    directory: TempDir,
}

impl Clock {
    /// Goes right.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    #[must_use]
    pub fn new() -> Self {
        let clock = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::write(clock.file(), "+0").unwrap();
        clock
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// So many seconds behind.
    pub fn set_back(&mut self, seconds: u64) {
        self.set(&format!("-{seconds}"));
    }

    /// So many seconds ahead.
    pub fn set_forward(&mut self, seconds: u64) {
        self.set(&format!("+{seconds}"));
    }

    fn set(&mut self, offset: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// What a bastion needs in its environment to go by it. Its monotonic clock stays right.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|kind| format!("/usr/lib/{kind}/faketime/libfaketimeMT.so.1"));
        let library = library.into_iter().find(|path| Path::new(path).exists());
        let library = library.expect("libfaketime is installed (apt-get install libfaketime)");
        let variables = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}
