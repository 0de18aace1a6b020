//! Copies the source of russh out of Cargo's registry into `OUT_DIR` and applies `changes.rs`.
//!
//! The source is found by asking Cargo itself, through a manifest of three lines with the lock file
//! of the workspace: so its checksum is verified, vendored and mirrored registries work, and only
//! this one package is fetched.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod changes;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    for path in ["build.rs", "changes.rs", "credit.rs", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let version = env::var("CARGO_PKG_VERSION")?;
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let source = source_of_russh(&version, &here, &out)?.join("src");
    let copy = out.join("russh");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_tree(&source, &copy)?;
    fs::copy(here.join("credit.rs"), copy.join("channels/credit.rs"))?;
    for change in changes::CHANGES {
        apply(change, &copy)?;
    }
    leave_out_tests(&copy)
}

/// The folder into which Cargo unpacked the library.
fn source_of_russh(version: &str, here: &Path, out: &Path) -> Result<PathBuf, Failure> {
    let lock = here
        .ancestors()
        .map(|folder| folder.join("Cargo.lock"))
        .find(|lock| lock.is_file())
        .ok_or("no `Cargo.lock` in the workspace: russh is taken from the version locked there")?;

    let probe = out.join("probe");
    fs::create_dir_all(probe.join("src"))?;
    fs::write(probe.join("src/lib.rs"), "")?;
    fs::write(
        probe.join("Cargo.toml"),
        format!(
            "[package]\nname = \"probe\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             russh = {{ version = \"={version}\", default-features = false, \
             features = [\"flate2\", \"ring\", \"rsa\"] }}\n"
        ),
    )?;

    // Without the network first: it is needed only when the package was never fetched.
    let mut said = String::new();
    for network in [&["--offline"][..], &[]] {
        fs::copy(&lock, probe.join("Cargo.lock"))?;
        let answer = Command::new(env::var("CARGO")?)
            .current_dir(here) // where the workspace's Cargo configuration applies
            .args(["metadata", "--format-version", "1", "--filter-platform"])
            .arg(env::var("TARGET")?)
            .arg("--manifest-path")
            .arg(probe.join("Cargo.toml"))
            .args(network)
            .output()?;
        if answer.status.success() {
            return manifest_folder(&answer.stdout, version);
        }
        said = String::from_utf8_lossy(&answer.stderr).into_owned();
    }
    Err(format!("cargo does not find the source of russh {version}: {said}").into())
}

fn manifest_folder(metadata: &[u8], version: &str) -> Result<PathBuf, Failure> {
    let metadata: serde_json::Value = serde_json::from_slice(metadata)?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["name"] == "russh" && package["version"] == version)
        .find_map(|package| package["manifest_path"].as_str())
        .and_then(|manifest| Path::new(manifest).parent())
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("cargo names no package russh {version}").into())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or(OsStr::new("")));
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            // Not `fs::copy`: vendored and registry files may be read-only.
            fs::write(target, fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// INVARIANT: a change whose anchor is not found exactly as often as it says stops the build; a new
/// version of the library is never compiled half changed.
fn apply(change: &changes::Change, copy: &Path) -> Result<(), Failure> {
    let path = copy.join(change.file);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("russh has no file `{}`: {error}", change.file))?;
    let found = text.matches(change.old).count();
    if found != change.times {
        return Err(format!(
            "russh `src/{}` has this text {found} times instead of {}, \
             so the change for it in bastion/russh/changes.rs has to be looked at again:\n{}",
            change.file, change.times, change.old
        )
        .into());
    }
    fs::write(&path, text.replace(change.old, change.new))?;
    Ok(())
}

/// `cargo clippy --all-targets` builds this library for testing too; its tests need crates of their
/// own, and were run where it was published.
fn leave_out_tests(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            leave_out_tests(&path)?;
        } else {
            let text = fs::read_to_string(&path)?;
            let text = text.replace("#[cfg(test)]", "#[cfg(any())]");
            fs::write(&path, text.replace("#[cfg(all(test, ", "#[cfg(all(any(), "))?;
        }
    }
    Ok(())
}
