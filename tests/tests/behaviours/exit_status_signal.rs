//! exit-status-signal: a program ended by a signal is seen to have ended so.

use super::{bastion, everywhere};
use e2e::Way;

#[test]
fn a_program_ended_by_a_signal_is_seen_to_have_ended_so() {
    everywhere(|bastion, way| {
        for signal in ["TERM", "KILL", "SEGV"] {
            let ssh = bastion.ssh("alice").by(way);
            let ran = ssh.run(&format!("echo before; exec sh -c 'kill -{signal} $$'"));
            assert_eq!(ran.stdout, "before\n");
            assert_eq!(ran.status, Some(255), "as ssh reports it: {ran:?}");
        }
    });
}

#[test]
fn the_client_is_told_which_signal_it_was_and_so_is_the_journal() {
    let bastion = bastion();
    for way in Way::AND_DIRECT {
        for signal in ["TERM", "KILL", "SEGV", "USR1"] {
            let motive = format!("signal-{way:?}-{signal}");
            let ssh = bastion.ssh("bob").by(way).motive(&motive).option("-v");
            let ran = ssh.run(&format!("exec sh -c 'kill -{signal} $$'"));
            assert!(ran.stderr.contains("rtype exit-signal"), "{ran:?}");
            if way == Way::Direct {
                continue;
            }
            let journal = bastion.journal(&bastion.ended_session(&motive));
            let ends = journal.iter().find(|line| line["event"] == "exit_signal");
            let ends = ends.unwrap_or_else(|| panic!("{journal:?}"));
            assert_eq!(ends["signal"], signal);
        }
    }
}
