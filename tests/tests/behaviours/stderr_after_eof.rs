//! stderr-after-eof: what a program writes to its standard error after its output has ended.

use super::{fed, noise, over_one_connection, with};
use std::fs;

#[test]
fn errors_after_the_end_of_output_arrive_whole() {
    let bytes = noise(1_000_003);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("data"), &bytes).unwrap();
        let data = here.path().join("data");
        for end in ["exec >/dev/null", "exec >&-"] {
            let program = format!(
                "exec sh -c 'echo out; sleep 0.2; {end}; sleep 0.2; cat {} >&2; sleep 0.2; exit 3'",
                data.display()
            );
            let ran = fed(with(shared.command(&[]), [program.as_str()]), b"", 1);
            assert_eq!(ran.status, Some(3), "{end}");
            assert_eq!(ran.stdout, b"out\n");
            assert!(ran.stderr == bytes, "{end}: {}", ran.stderr.len());
        }
    });
}
