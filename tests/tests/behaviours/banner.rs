//! banner: what is shown before the login arrives whole, of any length.

use super::within_a_minute;
use e2e::{Bastion, Options, Sshd, Way};
use std::fs;

const LENGTHS: [usize; 6] = [0, 10, 100, 1000, 10_000, 100_000];

#[test]
fn a_banner_of_any_length_is_shown_whole_and_before_anybody_is_in() {
    let bastion = Bastion::start(Options::default());
    let file = bastion.dir.path().join("banner");
    bastion.direct();
    let direct = Sshd::start_direct(
        &bastion.dir.path().join("with-banner"),
        &bastion.dir.path().join("keys-of-operators"),
        &format!("Banner {}\n", file.display()),
    );
    for length in LENGTHS {
        let text = banner(length);
        fs::write(&file, &text).unwrap();
        let other = bastion.another_with(&format!("banner = '''{text}'''\n"));
        for (way, address) in [
            (Way::Direct, &format!("127.0.0.1:{}", direct.port)),
            (Way::LoginName, &other.address),
            (Way::Jump, &other.address),
        ] {
            let ssh = bastion.ssh("alice").without_second_factor();
            let ssh = ssh.by(way).at(address).option("-v");
            // Of any key that is offered: the direct server shows it before it takes one.
            let mut client = ssh.command();
            client.arg("echo in");
            let ran = within_a_minute(client);
            assert!(ran.stderr.contains(&text), "{way:?}: {length} bytes");
            let is_in = if way == Way::Direct { "in\n" } else { "" };
            assert_eq!(ran.stdout, is_in, "{way:?}");
        }
    }
}

/// Lines that differ, so that what is lost or doubled shows.
fn banner(length: usize) -> String {
    let lines = (0..).map(|number| format!("banner line {number}: accès réservé\n"));
    let mut text = String::new();
    for line in lines {
        if text.len() + line.len() > length {
            break;
        }
        text.push_str(&line);
    }
    let left = length - text.len();
    text + &"x".repeat(left.saturating_sub(1)) + if left > 0 { "\n" } else { "" }
}
