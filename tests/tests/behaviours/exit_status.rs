//! exit-status: the program's own, whatever became of its output.

use super::{each_place, over_one_connection, with, within_a_minute};
use std::process::Stdio;

const STATUSES: [i32; 8] = [0, 1, 4, 5, 44, 127, 254, 255];

#[test]
fn the_exit_status_is_the_programs_own() {
    over_one_connection(|shared| {
        for status in STATUSES {
            let program = format!("exit {status}");
            assert_eq!(shared.run(&program).status, Some(status));
        }
        let without_input = with(shared.command(&["-n"]), ["exit 44"]);
        assert_eq!(within_a_minute(without_input).status, Some(44));
        let missing = shared.run("/no/such/program");
        assert_eq!(missing.status, Some(127));
        assert!(missing.stderr.contains("/no/such/program"), "{missing:?}");
    });
}

#[test]
fn a_program_ends_for_the_operator_as_it_ended_on_the_target() {
    over_one_connection(|shared| {
        for (program, status, printed) in [
            ("true", 0, ""),
            ("false", 1, ""),
            ("echo early; exit 0", 0, "early\n"),
            (
                "cat; echo after the end of input",
                0,
                "after the end of input\n",
            ),
            // The client closes when both outputs have; the status comes after.
            ("echo out; exec >&- 2>&-; sleep 0.3; exit 3", 3, "out\n"),
            ("exec >&- 2>&-; exit 44", 44, ""),
            ("exec </dev/null; exec >&- 2>&-; sleep 0.3; exit 4", 4, ""),
        ] {
            let ran = shared.run(program);
            assert_eq!(
                (ran.status, ran.stdout.as_str()),
                (Some(status), printed),
                "{program}"
            );
        }
    });
}

#[test]
fn the_exit_status_comes_also_to_a_client_whose_own_output_is_closed() {
    each_place(|ssh| {
        let mut client = with(ssh.command(), ["exec >&- 2>&-; sleep 0.3; exit 7"]);
        client
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert_eq!(client.status().unwrap().code(), Some(7));
    });
}

#[test]
fn a_job_left_behind_does_not_keep_the_client() {
    over_one_connection(|shared| {
        let ran = shared.run("sleep 300 </dev/null >/dev/null 2>&1 & echo $!; exit 9");
        assert_eq!(ran.status, Some(9));
        let left: u32 = ran.stdout.trim().parse().unwrap();
        e2e::bastion::signal(left, "KILL");
    });
}
