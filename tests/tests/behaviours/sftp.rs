//! sftp: with every size of request and number of them under way; and what sftp-cmds asks.

use super::{noise, over_one_connection};
use e2e::ssh::run;
use e2e::{Ran, Shared};
use std::fs;
use std::time::Duration;

#[test]
fn files_arrive_whole_whatever_the_size_and_number_of_requests() {
    let bytes = noise(400_009);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        let at = |name: &str| here.path().join(name);
        fs::write(at("data"), &bytes).unwrap();
        for (size, requests) in [
            ("1000", "1"),
            ("1000", "64"),
            ("32768", "2"),
            ("32768", "100"),
            ("64000", "10"),
            ("250000", "3"),
        ] {
            let batch = format!(
                "get {data} {got}\nput {data} {put}\n",
                data = at("data").display(),
                got = at("got").display(),
                put = at("put").display()
            );
            let _ = sftp(shared, &["-B", size, "-R", requests], &batch).ok();
            for name in ["got", "put"] {
                assert!(
                    fs::read(at(name)).unwrap() == bytes,
                    "{size} {requests} {name}"
                );
                fs::remove_file(at(name)).unwrap();
            }
        }
    });
}

#[test]
fn what_is_interrupted_is_continued() {
    let bytes = noise(300_007);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        let at = |name: &str| here.path().join(name);
        fs::write(at("data"), &bytes).unwrap();
        fs::write(at("got"), &bytes[..100_000]).unwrap();
        fs::write(at("put"), &bytes[..123]).unwrap();
        let batch = format!(
            "reget {data} {got}\nreput {data} {put}\n",
            data = at("data").display(),
            got = at("got").display(),
            put = at("put").display()
        );
        let _ = sftp(shared, &[], &batch).ok();
        assert!(fs::read(at("got")).unwrap() == bytes);
        assert!(fs::read(at("put")).unwrap() == bytes);
    });
}

#[test]
fn the_far_ends_own_errors_are_told() {
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        let missing = here.path().join("missing");
        let missing = missing.display();
        for command in ["get", "rm", "rmdir", "chdir", "rename x"] {
            let ran = sftp(shared, &[], &format!("{command} {missing}\n"));
            assert_eq!(ran.status, Some(1), "{command}: {ran:?}");
            let said = ran.stderr.to_lowercase();
            assert!(
                said.contains("no such file") || said.contains("not found"),
                "{said}"
            );
        }
    });
}

fn sftp(shared: &Shared, options: &[&str], batch: &str) -> Ran {
    let mut client = shared.copying("sftp");
    client.args(["-b", "-"]).args(options).arg("shared");
    run(client, batch.as_bytes(), Duration::from_secs(60))
}
