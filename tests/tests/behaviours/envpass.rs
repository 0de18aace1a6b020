//! envpass: the language passes, and nothing else does. The target takes the same (`AcceptEnv`).

use super::each_place;
use e2e::Way;
use e2e::ssh::run;
use std::time::Duration;

#[test]
fn the_language_passes_and_nothing_else_does() {
    each_place(|ssh| {
        let ssh = ssh.option("-oSetEnv=LANG=fr_FR.UTF-8 LC_ALL=C LC_MESSAGES=de LC_NAME= _XXX=no LD_PRELOAD=/evil.so PATH=/evil");
        let ran = ssh.run("env");
        for expected in ["LANG=fr_FR.UTF-8", "LC_ALL=C", "LC_MESSAGES=de", "LC_NAME="] {
            assert!(
                ran.stdout.lines().any(|line| line == expected),
                "no {expected} in {ran:?}"
            );
        }
        for refused in ["_XXX", "LD_PRELOAD", "/evil"] {
            assert!(!ran.stdout.contains(refused), "{refused} in {ran:?}");
        }
    });
}

#[test]
fn variables_are_sent_from_the_clients_own() {
    each_place(|ssh| {
        let mut client = ssh.option("-oSendEnv=LC_* NOT_THIS").command();
        client
            .env("LC_TEST", "a value = with 'all' of \"it\"")
            .env("NOT_THIS", "x");
        client.arg("printf '%s|%s' \"$LC_TEST\" \"$NOT_THIS\"");
        let ran = run(client, b"", Duration::from_secs(20));
        assert_eq!(ran.ok(), "a value = with 'all' of \"it\"|");
    });
}

#[test]
fn the_terminals_type_passes_and_a_motive_stays_with_the_bastion() {
    let bastion = super::bastion();
    for way in Way::AND_DIRECT {
        let ssh = bastion.ssh("bob").by(way).option("-tt");
        let ssh = ssh.option("-oSetEnv=BASTION_MOTIVE=environment LD_PRELOAD=/evil.so PATH=/evil");
        let mut command = ssh.command();
        command.env("TERM", "xterm-256color").arg("env");
        let ran = run(command, b"", Duration::from_secs(20));
        assert!(ran.stdout.contains("TERM=xterm-256color"), "{ran:?}");
        assert!(!ran.stdout.contains("BASTION_MOTIVE"), "{ran:?}");
    }
    let refused = bastion.events("request.refused");
    let of_env = refused
        .iter()
        .filter(|event| event["detail"]["request"] == "env")
        .count();
    assert!(
        of_env >= 4,
        "LD_PRELOAD and PATH are in the audit log: {refused:?}"
    );
}
