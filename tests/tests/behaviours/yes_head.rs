//! yes-head: a program that never ends by itself, and a reader that has enough.

use super::{Running, each_place, with, within_a_minute};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

#[test]
fn two_thousand_lines_of_an_endless_program_arrive() {
    each_place(|ssh| {
        let program = "while true; do echo yes; done | head -2000";
        let ran = within_a_minute(with(ssh.command(), [program]));
        assert_eq!(ran.ok().lines().count(), 2000);
    });
}

#[test]
fn a_program_ends_when_its_reader_has_closed() {
    each_place(|ssh| {
        let mut client = with(ssh.command(), ["yes"]);
        client
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut client = Running(client.spawn().unwrap());
        let mut line = String::new();
        let mut output = BufReader::new(client.0.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        drop(output);
        assert_eq!(line, "y\n");
        // The program dies of SIGPIPE.
        assert_eq!(client.ends(), Some(255));
    });
}
