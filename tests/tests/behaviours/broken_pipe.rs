//! broken-pipe: a reader or a program that takes no more harms nothing else.

use super::{Running, each_place, fed, noise, over_one_connection, with};
use std::process::Stdio;

#[test]
fn a_client_whose_reader_is_gone_ends_without_a_word() {
    each_place(|ssh| {
        let mut client = with(ssh.command(), ["echo 1; echo 2"]);
        client
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut client = Running(client.spawn().unwrap());
        drop(client.0.stdout.take());
        client.ends();
    });
}

#[test]
fn a_program_that_reads_nothing_of_its_input_ends_well() {
    let input = noise(4 * 1024 * 1024);
    each_place(|ssh| {
        let ran = fed(with(ssh.command(), ["exit 4"]), &input, 32 * 1024);
        assert_eq!(ran.status, Some(4));
    });
}

#[test]
fn a_program_that_closes_its_input_goes_on_writing() {
    let input = noise(4 * 1024 * 1024);
    over_one_connection(|shared| {
        let program = "exec <&-; sleep 0.2; echo still; exit 6";
        let ran = fed(with(shared.command(&[]), [program]), &input, 32 * 1024);
        assert_eq!(
            (ran.status, ran.stdout.as_slice()),
            (Some(6), &b"still\n"[..])
        );
        assert_eq!(shared.run("echo goes on").ok(), "goes on\n");
    });
}
