//! scp: what OpenSSH's script copies, by the old protocol and by the new one; over a connection that
//! stands. With a connection of its own, and what the journal says of it, it is in `files.rs`.

use super::{noise, over_one_connection, within_a_minute};
use e2e::{Ran, Shared};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
fn files_and_directories_are_copied_both_ways() {
    each_protocol(|copy| {
        let files = Files::new();
        let (data, one, two) = (files.at("data"), files.at("one"), files.at("two"));
        // A file to a file, a file to a directory; to there and back.
        let _ = copy.up(&[&data], &files.at("copy")).ok();
        same(&data, &files.at("copy"));
        let _ = copy.down("copy", &files, &files.at("again")).ok();
        same(&data, &files.at("again"));
        let _ = copy.up(&[&data], &one).ok();
        same(&data, &one.join("data"));
        fs::remove_file(&data).unwrap();
        let _ = copy.down("copy", &files, &two).ok();
        same(&files.at("copy"), &two.join("copy"));
        // Several at once, and names that match a pattern there.
        let _ = copy.up(&[&files.at("copy"), &files.at("again")], &two).ok();
        same(&files.at("copy"), &two.join("again"));
        let _ = copy.down("two/*a*", &files, &files.at("empty")).ok();
        same(&files.at("copy"), &files.at("empty/again"));
    });
}

#[test]
fn trees_are_copied_with_their_modes_and_times() {
    each_protocol(|copy| {
        let files = Files::new();
        let (tree, data) = (files.at("tree"), files.at("data"));
        fs::create_dir_all(tree.join("deep/er")).unwrap();
        fs::copy(&data, tree.join("deep/file")).unwrap();
        fs::copy(&data, tree.join("deep/er/un été")).unwrap();
        fs::set_permissions(tree.join("deep/file"), fs::Permissions::from_mode(0o741)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let file = fs::File::options().write(true).open(tree.join("deep/file"));
        file.unwrap().set_modified(time).unwrap();
        let _ = copy.with("-rp").up(&[&tree], &files.at("there")).ok();
        let _ = copy
            .with("-rp")
            .down("there", &files, &files.at("back"))
            .ok();
        for place in ["there", "back"] {
            let copied = files.at(place);
            same(&tree.join("deep/er/un été"), &copied.join("deep/er/un été"));
            let found = fs::metadata(copied.join("deep/file")).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, 0o741);
            assert_eq!(found.modified().unwrap(), time);
        }
    });
}

#[test]
fn what_cannot_be_copied_is_said() {
    each_protocol(|copy| {
        let files = Files::new();
        let (data, other) = (files.at("data"), files.at("other"));
        let missing = copy.down("missing", &files, &files.at("copy"));
        assert!(missing.stderr.contains("No such file"), "{missing:?}");
        for refused in [
            missing,
            copy.down("none*", &files, &files.at("copy")),
            copy.up(&[&data, &other], &data),
            copy.up(&[&data], &files.at("no/such/directory")),
        ] {
            assert_ne!(refused.status, Some(0), "{refused:?}");
            assert_ne!(refused.stderr, "");
        }
        assert!(fs::read(&data).unwrap() == noise(200_003));
        assert!(!files.at("copy").exists());
    });
}

#[test]
fn a_name_is_no_command() {
    each_protocol(|copy| {
        let files = Files::new();
        let name = "metachar `touch ran`; touch ran";
        fs::copy(files.at("data"), files.at(name)).unwrap();
        let _ = copy.up(&[&files.at(name)], &files.at("one")).ok();
        same(&files.at("data"), &files.at("one").join(name));
        assert!(!files.at("ran").exists() && !files.at("one/ran").exists());
    });
}

/// One place and one of scp's two protocols.
struct Copy<'a> {
    shared: &'a Shared,
    options: Vec<&'a str>,
}

impl Copy<'_> {
    fn with(&self, option: &'static str) -> Copy<'_> {
        let mut options: Vec<&str> = self.options.clone();
        options.push(option);
        Copy {
            shared: self.shared,
            options,
        }
    }

    fn up(&self, from: &[&Path], to: &Path) -> Ran {
        let mut scp = self.shared.copying("scp");
        scp.args(&self.options).args(from);
        scp.arg(format!("shared:{}", to.display()));
        within_a_minute(scp)
    }

    fn down(&self, from: &str, files: &Files, to: &Path) -> Ran {
        let mut scp = self.shared.copying("scp");
        let from = files.at(from);
        scp.args(&self.options);
        scp.arg(format!("shared:{}", from.display()));
        within_a_minute({
            scp.arg(to);
            scp
        })
    }
}

fn each_protocol(test: impl Fn(Copy<'_>)) {
    over_one_connection(|shared| {
        for protocol in ["-O", "-s"] {
            println!("scp {protocol}");
            let options = vec![protocol];
            test(Copy { shared, options });
        }
    });
}

/// A file and some empty directories.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for directory in ["one", "two", "empty"] {
            fs::create_dir(files.at(directory)).unwrap();
        }
        fs::write(files.at("data"), noise(200_003)).unwrap();
        fs::write(files.at("other"), noise(3)).unwrap();
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn same(one: &Path, other: &Path) {
    let (one, other) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    assert!(one == other, "{} and {} bytes", one.len(), other.len());
}
