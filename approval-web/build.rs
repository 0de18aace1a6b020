//! Fetches the player of recordings from npm, as `package-lock.json` pins it, for `src/assets.rs` to
//! embed. Runs again only when the lock changes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const INPUTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
const WANTED: [(&str, &str); 3] = [
    (
        "dist/bundle/asciinema-player.min.js",
        "asciinema-player.min.js",
    ),
    ("dist/bundle/asciinema-player.css", "asciinema-player.css"),
    ("LICENSE", "LICENSE"),
];

fn main() -> Result<(), Box<dyn Error>> {
    for input in INPUTS {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=locales");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let npm = out.join("npm");
    fs::create_dir_all(&npm)?;
    for input in INPUTS {
        fs::copy(input, npm.join(input)).map_err(|e| format!("cannot read `{input}`: {e}"))?;
    }
    install(&npm)?;
    let player = out.join("player");
    fs::create_dir_all(&player)?;
    for (from, to) in WANTED {
        let from = npm.join("node_modules/asciinema-player").join(from);
        fs::copy(&from, player.join(to))
            .map_err(|e| format!("the player lacks `{}`: {e}", from.display()))?;
    }
    Ok(())
}

fn install(folder: &Path) -> Result<(), Box<dyn Error>> {
    let done = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .output()
        .map_err(|e| {
            format!(
                "`npm` could not be run ({e}). The player of recordings comes from npm when this \
                 crate is built: install Node.js with npm (on Debian: apt install npm) and build again"
            )
        })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("`npm ci` failed; the lock is approval-web/package-lock.json:\n{said}").into())
}
