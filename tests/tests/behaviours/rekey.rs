//! rekey: new keys in the middle of a transfer, whoever asks for them, change none of its bytes.

use super::{Printed, fed, noise, with};
use e2e::{Bastion, Options, Way};

const SIZE: usize = 4 * 1024 * 1024;

#[test]
fn bytes_arrive_unchanged_while_the_client_asks_for_new_keys() {
    let bastion = super::bastion();
    echoes_unchanged(&bastion, &["-oRekeyLimit=1M"], SIZE / 1024 / 1024);
}

#[test]
fn bytes_arrive_unchanged_while_the_target_asks_for_new_keys() {
    let bastion = Bastion::start(Options {
        target_config: "RekeyLimit 1M\n",
        ..Options::logged_in_already()
    });
    // The bastion's own keys with the operator are another matter.
    echoes_unchanged(&bastion, &[], 0);
    // Both sides at once.
    echoes_unchanged(&bastion, &["-oRekeyLimit=1M"], SIZE / 1024 / 1024);
}

#[test]
fn new_keys_in_time_leave_a_silent_session_standing() {
    let bastion = super::bastion();
    for way in Way::AND_DIRECT {
        let ssh = bastion.ssh("alice").by(way).option("-v");
        let ssh = ssh.option("-oRekeyLimit=default 1");
        let program = "for i in 1 2; do sleep 1.3; echo $i; done";
        let ran = ssh.run(program);
        assert!(exchanges(&ran.stderr) > 1, "{way:?}: {}", ran.stderr);
        assert_eq!(ran.ok(), "1\n2\n");
    }
}

fn echoes_unchanged(bastion: &Bastion, options: &[&str], at_least: usize) {
    let bytes = noise(SIZE);
    for way in Way::AND_DIRECT {
        let ssh = bastion.ssh("bob").by(way).option("-v");
        let ssh = options.iter().fold(ssh, |ssh, option| ssh.option(option));
        let Printed {
            status,
            stdout,
            stderr,
        } = fed(with(ssh.command(), ["cat"]), &bytes, 64 * 1024);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status, Some(0), "{way:?}: {stderr}");
        assert!(stdout == bytes, "{way:?}: {} bytes came back", stdout.len());
        assert!(
            exchanges(&stderr) > at_least,
            "{way:?}: {}",
            exchanges(&stderr)
        );
    }
}

/// How often keys were exchanged, as the client says.
fn exchanges(said: &str) -> usize {
    said.matches("SSH2_MSG_NEWKEYS received").count()
}
