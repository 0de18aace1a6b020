//! Killed processes, full disks, removed directories, slow disks: real ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; the lints exempt test functions, not their helpers"
)]

mod desk;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use desk::{Desk, exec, id, say, terminal};
use recordings::manifest::State;
use recordings::recorder::{Limits, RecordingError, RecordingFailed};
use recordings::{JournalEvent, Micros, Stream};

/// Where a test runs itself again as another process, this names the storage it shares with it.
const CHILD: &str = "RECORDINGS_TEST_CHILD";

#[tokio::test]
async fn a_recording_dropped_in_the_middle_is_closed_as_interrupted_and_holds() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 1, 0, &b"half a session"[..]).await;
    assert_eq!(desk.storage.unfinished().unwrap(), []);
    let alive = desk.recover("s1");
    assert!(
        matches!(alive, Err(RecordingError::StillRecording { .. })),
        "{alive:?}"
    );
    drop(recorder);
    while desk.storage.unfinished().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let manifest = desk.recover("s1").unwrap();
    assert_eq!(manifest.state, State::Interrupted);
    assert_eq!(manifest.about.motive, "index rebuild");
    assert_eq!(desk.storage.unfinished().unwrap(), []);
    assert_eq!(desk.shown("s1", 0), [('o', "half a session".to_owned())]);
    assert_eq!(desk.events("s1"), ["session_started", "channel_opened"]);
    desk.assert_holds("s1");
    assert!(desk.recover("s1").is_err(), "it was closed twice");
}

#[test]
fn a_killed_process_loses_at_most_the_last_second() {
    if let Ok(root) = std::env::var(CHILD) {
        return record_until_killed(&root);
    }
    let desk = Desk::new();
    let mut child = again("a_killed_process_loses_at_most_the_last_second", &desk)
        .spawn()
        .unwrap();
    let handed_over = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let ticks = handed_over.filter_map(|line| line.strip_prefix("tick ")?.parse::<u64>().ok());
    // 100 ticks a second, so that tick 250 comes at least 1.5 s after tick 100.
    ticks.take_while(|tick| *tick < 250).for_each(drop);
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(desk.storage.unfinished().unwrap(), [id("killed")]);
    let mut key = desk::pair();
    key.private = fs::read(desk.root.path().join(".private-key"))
        .map(|bytes| {
            recordings::PrivateKey::from_bytes(<[u8; 32]>::try_from(bytes).unwrap().into())
        })
        .unwrap();
    let desk = Desk { pair: key, ..desk };
    let manifest = desk.recover("killed").unwrap();
    assert_eq!(manifest.state, State::Interrupted);
    desk.assert_holds("killed");
    let shown: String = desk
        .shown("killed", 0)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert!(shown.contains("tick 100\n"), "{shown}");
}

#[test]
fn a_full_disk_ends_the_session_and_what_was_written_stands() {
    if let Ok(root) = std::env::var(CHILD) {
        return record_until_the_disk_is_full(&root);
    }
    let desk = Desk::new();
    let child = again(
        "a_full_disk_ends_the_session_and_what_was_written_stands",
        &desk,
    );
    // A file of this process may have 100 KiB: the write beyond fails as on a full disk.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""]);
    limited
        .arg(child.get_program())
        .args(child.get_args())
        .env(CHILD, desk.root.path());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let private = fs::read(desk.root.path().join(".private-key")).unwrap();
    let mut pair = desk::pair();
    pair.private =
        recordings::PrivateKey::from_bytes(<[u8; 32]>::try_from(private).unwrap().into());
    let desk = Desk { pair, ..desk };
    let manifest = desk.recover("full").unwrap();
    let cast = &manifest.streams[1];
    assert!(cast.frames >= 1 && cast.torn_bytes > 0, "{cast:?}");
    desk.assert_holds("full");
    assert!(!desk.shown("full", 0).is_empty());
}

#[tokio::test]
async fn a_directory_that_is_gone_ends_the_session() {
    let desk = Desk::new();
    let limits = Limits {
        flush_after: Duration::from_millis(10),
        ..Limits::default()
    };
    let recorder = desk.begin_with("s1", limits).await.unwrap();
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    fs::remove_dir_all(desk.root.path().join("s1")).unwrap();
    say(&recorder, 1, 0, &b"who sees this?"[..]).await;
    let failed = recorder.failed().await;
    assert!(
        matches!(failed, RecordingFailed::Stopped { .. }),
        "{failed}"
    );
    let data = Bytes::from_static(b"x");
    assert_eq!(
        recorder.output(Micros(2), 0, Stream::Stdout, data).await,
        Err(failed)
    );
    assert!(recorder.close_channel(Micros(3), 0).await.is_err());
    assert!(
        recorder
            .finish(Micros(4), "", desk::ENDED_AT, &desk.signer)
            .await
            .is_err()
    );
}

#[test]
fn a_slow_disk_slows_the_session_and_drops_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let desk = Desk::new();
    let text: Bytes = (0..2_000_000_u32)
        .map(|n| b'a' + u8::try_from(n % 23).unwrap())
        .collect();
    let waited = runtime.block_on(async {
        let limits = Limits {
            waiting_bytes: 200_000,
            ..Limits::default()
        };
        let recorder = desk.begin_with("s1", limits).await.unwrap();
        recorder
            .open_channel(Micros(0), 0, terminal(80, 24))
            .await
            .unwrap();
        // The only thread that writes is busy: to the recorder, that is a slow disk.
        let slow = Duration::from_millis(300);
        let busy = tokio::task::spawn_blocking(move || std::thread::sleep(slow));
        let began = tokio::time::Instant::now();
        for at in 0..200_usize {
            let piece = text.slice(at * 10_000..(at + 1) * 10_000);
            let at = Micros(i64::try_from(at).unwrap());
            recorder.output(at, 0, Stream::Stdout, piece).await.unwrap();
        }
        let waited = began.elapsed();
        busy.await.unwrap();
        desk.finish(&recorder, 1_000).await;
        waited
    });
    assert!(
        waited >= Duration::from_millis(250),
        "the session ran ahead of its disk"
    );
    let shown: String = desk
        .shown("s1", 0)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(shown.as_bytes(), text);
    desk.assert_holds("s1");
}

#[test]
fn a_disk_that_takes_nothing_any_more_ends_the_session() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let desk = Desk::new();
    runtime.block_on(async {
        let limits = Limits {
            flush_after: Duration::from_millis(1),
            stalled_after: Duration::from_millis(50),
            ..Limits::default()
        };
        let recorder = desk.begin_with("s1", limits).await.unwrap();
        let busy = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(1)));
        recorder
            .open_channel(Micros(0), 0, terminal(80, 24))
            .await
            .unwrap();
        let failed = recorder.failed().await;
        assert!(!busy.is_finished(), "it waited for the disk");
        assert!(
            failed.to_string().contains("takes nothing any more"),
            "{failed}"
        );
        assert_eq!(recorder.close_channel(Micros(1), 0).await, Err(failed));
    });
}

#[tokio::test]
async fn a_session_whose_storage_is_a_file_does_not_begin() {
    let desk = Desk::new();
    fs::write(desk.root.path().join("s1"), b"in the way").unwrap();
    assert!(desk.begin_with("s1", Limits::default()).await.is_err());
    assert_eq!(
        fs::read(desk.root.path().join("s1")).unwrap(),
        b"in the way"
    );
}

/// This test program again, to run one test in a process of its own.
fn again(test: &str, desk: &Desk) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, desk.root.path());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn record_until_killed(root: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let desk = child_desk(root);
        let recorder = desk.begin("killed").await;
        recorder
            .open_channel(Micros(0), 0, terminal(80, 24))
            .await
            .unwrap();
        for tick in 0_i64.. {
            let data = Bytes::from(format!("tick {tick}\n"));
            recorder
                .output(Micros(tick * 10_000), 0, Stream::Stdout, data)
                .await
                .unwrap();
            println!("tick {tick}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

fn record_until_the_disk_is_full(root: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let desk = child_desk(root);
        let recorder = desk.begin("full").await;
        recorder
            .open_channel(Micros(0), 0, exec("cat /dev/urandom"))
            .await
            .unwrap();
        let mut noise = 1_u32;
        let failed = loop {
            let letters = (0..10_000).map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b' ' + u8::try_from(noise >> 26).unwrap()
            });
            let data: Bytes = letters.collect();
            if let Err(failed) = recorder.output(Micros(1), 0, Stream::Stdout, data).await {
                break failed;
            }
        };
        assert_eq!(recorder.failed().await, failed);
        assert!(failed.to_string().contains("could not write"), "{failed}");
        let warning = JournalEvent::Warning {
            text: "too late".into(),
        };
        assert_eq!(recorder.journal(Micros(2), warning).await, Err(failed));
    });
}

/// The parent's storage; the key of this process is left for it to read with.
fn child_desk(root: &str) -> Desk {
    let desk = Desk::new();
    fs::write(format!("{root}/.private-key"), desk.pair.private.as_bytes()).unwrap();
    Desk {
        storage: recordings::Storage::open(root).unwrap(),
        ..desk
    }
}
