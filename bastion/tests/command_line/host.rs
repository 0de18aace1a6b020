//! A host on which commands are typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What the example declares.
pub(crate) const EXAMPLE: &str = include_str!("../../example/chu-exemple.toml");
/// The first administrator's.
pub(crate) const ADMIN_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINTCqGs83HnGb3y+wDrr8Vs2zQtSiaUuN4AZSmmstc29 alice\n";

/// A host with a directory of its own.
pub(crate) struct Host {
    directory: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        host.write("alice.pub", ADMIN_KEY);
        host
    }

    /// One on which `init` has run.
    pub(crate) fn ready() -> Self {
        let host = Self::new();
        host.init();
        host
    }

    pub(crate) fn init(&self) -> String {
        self.runs(&Self::init_words())
    }

    pub(crate) fn init_words() -> [&'static str; 13] {
        [
            "init",
            "--state",
            "state",
            "--admin",
            "alice",
            "--admin-name",
            "Alice Durand",
            "--admin-email",
            "alice@hebergeur.example",
            "--admin-key",
            "alice.pub",
            "--host-name",
            "Hébergeur Exemple SAS",
        ]
    }

    pub(crate) fn apply(&self, registers: &str, options: &[&str]) -> String {
        self.write("registers.toml", registers);
        self.runs(&[&["apply", "registers.toml", "--state", "state"], options].concat())
    }

    pub(crate) fn refuses_to_apply(&self, registers: &str, options: &[&str]) -> String {
        self.write("registers.toml", registers);
        self.fails(
            &[&["apply", "registers.toml", "--state", "state"], options].concat(),
            1,
        )
    }

    /// How many entries the log has.
    pub(crate) fn entries(&self) -> usize {
        let said = self.runs(&["audit", "verify", "--state", "state"]);
        let number = said.split_whitespace().find_map(|word| word.parse().ok());
        number.unwrap()
    }

    pub(crate) fn event_names(&self) -> Vec<String> {
        let log = self.runs(&["audit", "export", "--state", "state"]);
        let name = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["entry"]["event"].as_str().map(str::to_owned)
        };
        log.lines().filter_map(name).collect()
    }

    pub(crate) fn runs(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let (said, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}{error}");
        said
    }

    pub(crate) fn fails(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        let (said, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}{error}");
        error
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bastion"))
            .args(words)
            .current_dir(self.directory.path())
            .env_remove("BASTION_LOG")
            .output()
            .unwrap()
    }

    pub(crate) fn python(&self, program: &str) {
        let output = Command::new("python3")
            .args(["-c", program])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
