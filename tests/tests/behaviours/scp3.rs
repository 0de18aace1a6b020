//! scp3: from one far end to another, through the client.

use super::{noise, over_one_connection, within_a_minute};
use e2e::Way;
use std::fs;

#[test]
fn files_are_copied_from_one_far_end_to_another() {
    over_one_connection(|shared| {
        for protocol in ["-O", "-s"] {
            let here = tempfile::tempdir().unwrap();
            let at = |name: &str| here.path().join(name);
            fs::create_dir(at("tree")).unwrap();
            fs::write(at("data"), noise(500_009)).unwrap();
            fs::write(at("tree/file"), noise(7)).unwrap();
            let remote = |name: &str| format!("shared:{}", at(name).display());
            let copy = |from: &[&str], to: &str| {
                let mut scp = shared.copying("scp");
                scp.args([protocol, "-3", "-r"]);
                scp.args(from.iter().map(|from| remote(from)))
                    .arg(remote(to));
                within_a_minute(scp)
            };
            let _ = copy(&["data"], "copy").ok();
            assert!(fs::read(at("copy")).unwrap() == noise(500_009));
            let _ = copy(&["tree"], "tree2").ok();
            assert!(fs::read(at("tree2/file")).unwrap() == noise(7));
            let _ = copy(&["data", "copy"], "tree2").ok();
            assert!(fs::read(at("tree2/copy")).unwrap() == noise(500_009));
            let missing = copy(&["missing"], "copy");
            assert_eq!(missing.status, Some(1), "{protocol}: {missing:?}");
        }
    });
}

#[test]
fn files_are_copied_from_the_bastions_one_way_to_the_other() {
    let bastion = super::bastion();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("data"), noise(500_009)).unwrap();
    // The configuration of the jump names both.
    let ssh = bastion.ssh("alice").by(Way::Jump);
    // In such an address OpenSSH reads `+` as a space.
    let user = format!("alice%2B{}%2B{}", bastion.account, e2e::bastion::TARGET);
    let mut scp = ssh.copying("scp");
    scp.arg("-3").args([
        format!("{}:{}", ssh.host(), here.path().join("data").display()),
        format!(
            "scp://{user}@bastion/{}",
            here.path().join("copy").display()
        ),
    ]);
    let _ = within_a_minute(scp).ok();
    assert!(fs::read(here.path().join("copy")).unwrap() == noise(500_009));
}
