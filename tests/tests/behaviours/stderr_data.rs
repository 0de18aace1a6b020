//! stderr-data: what a program writes to its standard error arrives, apart from its output.

use super::{fed, noise, over_one_connection, with};
use std::fs;

#[test]
fn standard_output_and_error_stay_apart() {
    over_one_connection(|shared| {
        let ran = shared.run("echo out; echo err >&2; echo out again");
        assert_eq!(ran.stdout, "out\nout again\n");
        assert_eq!(ran.stderr, "err\n");
        assert_eq!(ran.status, Some(0));
    });
}

#[test]
fn errors_arrive_whole_with_and_without_input_and_output() {
    let bytes = noise(1_000_003);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("data"), &bytes).unwrap();
        let data = here.path().join("data");
        for options in [&[][..], &["-n"]] {
            for output in ["exec >/dev/null; ", "exec >&-; "] {
                let program = format!("{output}sleep 0.05; cat {} >&2", data.display());
                for program in [program.clone(), format!("exec sh -c '{program}'")] {
                    let client = with(shared.command(options), [program.as_str()]);
                    let ran = fed(client, b"", 1);
                    assert_eq!(ran.status, Some(0), "{program}");
                    assert!(ran.stderr == bytes, "{program}: {}", ran.stderr.len());
                    assert!(ran.stdout.is_empty());
                }
            }
        }
    });
}

#[test]
fn both_outputs_at_once_arrive_whole() {
    let bytes = noise(3_000_001);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("data"), &bytes).unwrap();
        let data = here.path().join("data");
        let program = format!("cat {0} & cat {0} >&2; wait", data.display());
        let ran = fed(with(shared.command(&[]), [program.as_str()]), b"", 1);
        assert!(ran.stdout == bytes && ran.stderr == bytes);
        assert_eq!(ran.status, Some(0));
    });
}
