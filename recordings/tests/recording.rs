//! A recording from its first line to its manifest and back, on a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; the lints exempt test functions, not their helpers"
)]

mod desk;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use desk::{Desk, exec, header, id, pair, say, terminal};
use recordings::recorder::{self, Limits, RecordingError, RecordingFailed};
use recordings::storage::StorageError;
use recordings::unseal::{Ending, UnsealError};
use recordings::{Answer, ChannelKind, JournalEvent, Manifest, Micros, Stream, replay};
use ring::digest::{SHA256, digest};

#[tokio::test]
async fn what_was_shown_and_asked_reads_back() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(1_000), 0, terminal(100, 30))
        .await
        .unwrap();
    let request = JournalEvent::Request {
        channel: Some(0),
        request: "shell".into(),
        detail: String::new(),
        answer: Answer::Success,
    };
    recorder.journal(Micros(1_050), request).await.unwrap();
    say(&recorder, 1_100, 0, &b"hello "[..]).await;
    say(&recorder, 1_200, 0, &b"w\x1b[0m"[..]).await;
    recorder
        .input(Micros(1_200), 0, Bytes::from_static(b"secret"))
        .await
        .unwrap();
    recorder.resize(Micros(1_300), 0, 120, 40).await.unwrap();
    let exit = JournalEvent::Exit {
        channel: 0,
        status: 3,
    };
    recorder.journal(Micros(1_400), exit).await.unwrap();
    let summary = recorder.close_channel(Micros(1_500), 0).await.unwrap();
    let manifest = desk.finish(&recorder, 1_600).await;

    assert_eq!(
        (
            summary.stdin_bytes,
            summary.stdout_bytes,
            summary.stderr_bytes
        ),
        (6, 11, 0)
    );
    assert_eq!(summary.stdin_sha256, sha256(b"secret"));
    assert_eq!(summary.stdout_sha256, sha256(b"hello w\x1b[0m"));
    assert_eq!(manifest.channels, [summary]);
    assert_eq!(
        desk.events("s1"),
        [
            "session_started",
            "channel_opened",
            "request",
            "resize",
            "exit",
            "channel_closed",
            "session_ended"
        ]
    );
    let cast = desk.cast("s1", 0);
    assert_eq!(
        cast.lines().collect::<Vec<_>>(),
        [
            r#"{"version":2,"width":100,"height":30,"timestamp":1764000000,"title":"s1 postgres@db1 claire","env":{"TERM":"xterm-256color"}}"#,
            r#"[0.000100,"o","hello "]"#,
            r#"[0.000200,"o","w\u001b[0m"]"#,
            r#"[0.000300,"r","120x40"]"#,
            r#"[0.000400,"m","exit 3"]"#
        ]
    );
    desk.assert_holds("s1");
}

#[tokio::test]
async fn input_is_nowhere_in_the_recording_and_nothing_is_readable_without_the_key() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(1), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 2, 0, &b"shown on the screen"[..]).await;
    recorder
        .input(Micros(3), 0, Bytes::from_static(b"typed password"))
        .await
        .unwrap();
    desk.finish(&recorder, 4).await;
    for name in desk.files("s1") {
        let bytes = fs::read(desk.file("s1", &name)).unwrap();
        assert!(!contains(&bytes, b"shown on the screen"), "{name}");
        assert!(!contains(&bytes, b"typed password"), "{name}");
    }
    assert!(!desk.cast("s1", 0).contains("typed"));
    let mut journal = Vec::new();
    assert_eq!(
        desk.replay("s1").write_journal(&mut journal).unwrap(),
        Ending::Complete
    );
    assert!(!contains(&journal, b"typed"));
}

#[tokio::test]
async fn files_belong_to_their_owner_alone() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(1), 7, exec("id"))
        .await
        .unwrap();
    desk.finish(&recorder, 2).await;
    assert_eq!(
        desk.files("s1"),
        ["channel-7.cast.sealed", "journal.sealed", "manifest.json"]
    );
    for name in desk.files("s1") {
        let mode = fs::metadata(desk.file("s1", &name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(desk.root.path().join("s1"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn the_manifest_on_disk_is_the_one_that_was_answered() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    let manifest = desk.finish(&recorder, 5).await;
    let bytes = fs::read(desk.file("s1", "manifest.json")).unwrap();
    assert_eq!(Manifest::read(&desk.storage, &id("s1")).unwrap(), manifest);
    assert_eq!(manifest.digest().unwrap(), sha256(&bytes));
    let journal = fs::read(desk.file("s1", "journal.sealed")).unwrap();
    assert_eq!(manifest.streams[0].ciphertext_sha256, sha256(&journal));
    assert_eq!(manifest.streams[0].events, Some(2));
}

#[tokio::test]
async fn either_of_two_recipients_reads_and_a_third_does_not() {
    let desk = Desk::new();
    let (auditor, stranger) = (pair(), pair());
    let to = [desk.pair.public, auditor.public];
    let limits = Limits::default();
    let recorder = recorder::begin(&desk.storage, header("s1"), &to, limits)
        .await
        .unwrap();
    recorder
        .open_channel(Micros(1), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 2, 0, &b"for both"[..]).await;
    let manifest = desk.finish(&recorder, 3).await;
    assert_eq!(
        manifest.recipients,
        [desk.pair.public.id(), auditor.public.id()]
    );
    for private in [desk.pair.private.clone(), auditor.private] {
        let replay = replay::open(&desk.storage, &id("s1"), private).unwrap();
        let mut cast = Vec::new();
        replay.write_cast(0, &mut cast).unwrap();
        assert!(contains(&cast, b"for both"));
    }
    let refused = replay::open(&desk.storage, &id("s1"), stranger.private);
    let Err(replay::ReplayError::Unseal(UnsealError::NotARecipient { key, .. })) = refused else {
        panic!("a stranger read the recording");
    };
    assert_eq!(key, stranger.public.id());
}

#[tokio::test]
async fn a_recording_for_nobody_is_refused_and_leaves_nothing() {
    let desk = Desk::new();
    let refused = recorder::begin(&desk.storage, header("s1"), &[], Limits::default()).await;
    assert!(matches!(refused.err(), Some(RecordingError::Seal(_))));
    assert_eq!(fs::read_dir(desk.root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn two_recorders_of_one_session_are_refused() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    let refused = desk.begin_with("s1", Limits::default()).await;
    let Err(RecordingError::Storage(StorageError::Exists { session })) = refused else {
        panic!("a second recorder began");
    };
    assert_eq!(session, id("s1"));
    desk.finish(&recorder, 1).await;
    assert!(desk.begin_with("s1", Limits::default()).await.is_err());
    desk.assert_holds("s1");
}

#[tokio::test]
async fn stdout_and_stderr_interleave_without_breaking_each_others_characters() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, exec("make"))
        .await
        .unwrap();
    let pieces: [(Stream, &[u8]); 4] = [
        (Stream::Stdout, b"caf\xc3"),
        (Stream::Stderr, b"na\xc3"),
        (Stream::Stdout, b"\xa9\n"),
        (Stream::Stderr, b"\xafve\n"),
    ];
    for (at, (stream, bytes)) in (1..).zip(pieces) {
        let data = Bytes::from_static(bytes);
        recorder.output(Micros(at), 0, stream, data).await.unwrap();
    }
    let summary = recorder.close_channel(Micros(9), 0).await.unwrap();
    assert_eq!(summary.replaced_invalid_utf8, 0);
    assert_eq!(summary.stderr_sha256, sha256("naïve\n".as_bytes()));
    desk.finish(&recorder, 10).await;
    let shown = desk.shown("s1", 0);
    let texts: Vec<&str> = shown.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["exec: make", "caf", "na", "é\n", "ïve\n"]);
    desk.assert_holds("s1");
}

#[tokio::test]
async fn invalid_utf8_is_replaced_in_the_cast_and_whole_in_the_digest() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, exec("cat photo"))
        .await
        .unwrap();
    say(&recorder, 1, 0, &b"\xff\xd8ok\xed\xa0\x80\xf0\x9f"[..]).await;
    let summary = recorder.close_channel(Micros(2), 0).await.unwrap();
    assert_eq!(summary.replaced_invalid_utf8, 7);
    assert_eq!(
        summary.stdout_sha256,
        sha256(b"\xff\xd8ok\xed\xa0\x80\xf0\x9f")
    );
    desk.finish(&recorder, 3).await;
    let shown: String = desk
        .shown("s1", 0)
        .into_iter()
        .skip(1)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(shown, "\u{fffd}\u{fffd}ok\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_size_of_zero_is_never_in_a_cast_and_always_in_the_journal() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, terminal(0, 0))
        .await
        .unwrap();
    recorder.resize(Micros(1), 0, 0, 0).await.unwrap();
    recorder.resize(Micros(2), 0, 132, 0).await.unwrap();
    recorder.resize(Micros(3), 0, 0, 43).await.unwrap();
    desk.finish(&recorder, 4).await;
    let cast = desk.cast("s1", 0);
    assert!(
        cast.starts_with(r#"{"version":2,"width":80,"height":24,"#),
        "{cast}"
    );
    let shown = desk.shown("s1", 0);
    assert_eq!(
        shown,
        [('r', "132x24".to_owned()), ('r', "132x43".to_owned())]
    );
    let lines = desk.replay("s1").journal().unwrap();
    let zero = JournalEvent::Resize {
        channel: 0,
        cols: 0,
        rows: 0,
    };
    assert!(lines.iter().any(|line| line.event == zero));
}

#[tokio::test]
async fn a_clock_that_goes_backwards_stands_still_in_what_is_written() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(5_000_000), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 6_000_000, 0, &b"a"[..]).await;
    say(&recorder, 1, 0, &b"b"[..]).await;
    say(&recorder, -9, 0, &b"c"[..]).await;
    desk.finish(&recorder, i64::MIN).await;
    let lines: Vec<String> = desk
        .cast("s1", 0)
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect();
    let stands = [
        r#"[1.000000,"o","a"]"#,
        r#"[1.000000,"o","b"]"#,
        r#"[1.000000,"o","c"]"#,
    ];
    assert_eq!(lines, stands);
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_line_of_a_mebibyte_is_one_line() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    let text = "é\"\n".repeat(1024 * 1024 / 4);
    recorder
        .journal(Micros(1), JournalEvent::Warning { text: text.clone() })
        .await
        .unwrap();
    recorder
        .open_channel(Micros(2), 0, terminal(80, 24))
        .await
        .unwrap();
    let data = Bytes::from(text.clone());
    recorder
        .output(Micros(3), 0, Stream::Stdout, data)
        .await
        .unwrap();
    desk.finish(&recorder, 4).await;
    let lines = desk.replay("s1").journal().unwrap();
    assert_eq!(lines[1].event, JournalEvent::Warning { text: text.clone() });
    assert_eq!(desk.shown("s1", 0), [('o', text)]);
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_command_that_writes_without_end_is_capped_counted_and_hashed() {
    let desk = Desk::new();
    let limits = Limits {
        exec_bytes: 1_000,
        ..Limits::default()
    };
    let recorder = desk.begin_with("s1", limits).await.unwrap();
    recorder
        .open_channel(Micros(0), 0, exec("yes"))
        .await
        .unwrap();
    for _ in 0..10 {
        say(&recorder, 1, 0, "y".repeat(300)).await;
    }
    let summary = recorder.close_channel(Micros(2), 0).await.unwrap();
    assert_eq!(
        (summary.stdout_bytes, summary.recorded_bytes),
        (3_000, 1_000)
    );
    assert_eq!(summary.stdout_sha256, sha256(&[b'y'; 3_000]));
    assert!(summary.capped);
    desk.finish(&recorder, 3).await;
    let shown = desk.shown("s1", 0);
    let output: usize = shown.iter().filter(|e| e.0 == 'o').map(|e| e.1.len()).sum();
    assert_eq!(output, 1_000);
    let markers: Vec<_> = shown
        .into_iter()
        .filter(|e| e.0 == 'm')
        .map(|e| e.1)
        .collect();
    assert_eq!(
        markers,
        [
            "exec: yes",
            "capped: what follows is counted and hashed, not kept",
            "2000 bytes were not kept"
        ]
    );
    assert!(desk.events("s1").contains(&"note".to_owned()));
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_shell_behind_a_flood_in_the_same_command_is_seen_again() {
    let desk = Desk::new();
    let limits = Limits {
        exec_bytes: 1_000,
        ..Limits::default()
    };
    let recorder = desk.begin_with("s1", limits).await.unwrap();
    recorder
        .open_channel(Micros(0), 0, exec("yes | head -c 1G; sh"))
        .await
        .unwrap();
    say(&recorder, 1, 0, "y".repeat(50_000)).await;
    say(&recorder, 900_000, 0, &b"too soon"[..]).await;
    say(&recorder, 3_000_000, 0, &b"uid=0(root)"[..]).await;
    desk.finish(&recorder, 4_000_000).await;
    let shown = desk.shown("s1", 0);
    assert!(
        shown.contains(&('m', "49008 bytes were not kept".to_owned())),
        "{shown:?}"
    );
    assert!(shown.contains(&('o', "uid=0(root)".to_owned())));
    assert!(!shown.contains(&('o', "too soon".to_owned())));
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_terminal_is_never_capped() {
    let desk = Desk::new();
    let limits = Limits {
        exec_bytes: 10,
        ..Limits::default()
    };
    let recorder = desk.begin_with("s1", limits).await.unwrap();
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 1, 0, "x".repeat(200_000)).await;
    let summary = recorder.close_channel(Micros(2), 0).await.unwrap();
    assert_eq!((summary.recorded_bytes, summary.capped), (200_000, false));
}

#[tokio::test]
async fn a_subsystem_is_counted_and_has_no_cast() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    let sftp = ChannelKind::Subsystem {
        name: "sftp".into(),
    };
    recorder.open_channel(Micros(0), 0, sftp).await.unwrap();
    say(&recorder, 1, 0, &b"\x00\x00\x00\x05"[..]).await;
    let operation = JournalEvent::FileOperation {
        channel: 0,
        operation: "get".into(),
        path: "/etc/hosts".into(),
        bytes: 12,
        sha256: None,
        outcome: "ok".into(),
    };
    recorder.journal(Micros(2), operation).await.unwrap();
    let summary = recorder.close_channel(Micros(3), 0).await.unwrap();
    assert_eq!((summary.stdout_bytes, summary.recorded_bytes), (4, 0));
    assert_eq!(summary.stdout_sha256, "", "its files are hashed one by one");
    assert_eq!(summary.stderr_sha256.len(), 64);
    desk.finish(&recorder, 4).await;
    assert_eq!(desk.files("s1"), ["journal.sealed", "manifest.json"]);
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_command_is_marked_once_and_also_in_a_terminal() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    recorder
        .open_channel(Micros(0), 1, exec("id"))
        .await
        .unwrap();
    for channel in [0, 1] {
        let request = JournalEvent::Request {
            channel: Some(channel),
            request: "exec".into(),
            detail: "id".into(),
            answer: Answer::Success,
        };
        recorder.journal(Micros(1), request).await.unwrap();
    }
    desk.finish(&recorder, 2).await;
    for channel in [0, 1] {
        assert_eq!(desk.shown("s1", channel), [('m', "exec: id".to_owned())]);
    }
}

#[tokio::test]
async fn a_cut_and_a_refusal_are_marked_in_the_casts() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    recorder
        .open_channel(Micros(0), 1, exec("id"))
        .await
        .unwrap();
    let refused = JournalEvent::Refused {
        channel: Some(0),
        request: "x11-req".into(),
        code: "x11".into(),
        sentence: "no X11 here".into(),
    };
    recorder.journal(Micros(1), refused).await.unwrap();
    recorder
        .marker(Micros(2), 1, "supervisor looks on")
        .await
        .unwrap();
    let cut = JournalEvent::Cut {
        reason: "the window ended".into(),
    };
    recorder.journal(Micros(3), cut).await.unwrap();
    desk.finish(&recorder, 4).await;
    let labels = |channel| -> Vec<String> {
        desk.shown("s1", channel)
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    };
    assert_eq!(
        labels(0),
        ["refused: x11-req: no X11 here", "cut: the window ended"]
    );
    assert_eq!(
        labels(1),
        ["exec: id", "supervisor looks on", "cut: the window ended"]
    );
}

#[tokio::test]
async fn a_channel_that_is_not_open_or_was_open_before_is_refused() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    recorder
        .open_channel(Micros(0), 0, exec("id"))
        .await
        .unwrap();
    recorder.close_channel(Micros(1), 0).await.unwrap();
    let twice = recorder.open_channel(Micros(2), 0, exec("id")).await;
    assert!(matches!(
        twice,
        Err(RecordingFailed::ChannelTwice { channel: 0, .. })
    ));
    let data = Bytes::from_static(b"x");
    let unknown = recorder.output(Micros(3), 9, Stream::Stdout, data).await;
    assert!(matches!(
        unknown,
        Err(RecordingFailed::NoChannel { channel: 9, .. })
    ));
    let own = JournalEvent::SessionEnded {
        reason: "forged".into(),
    };
    assert!(recorder.journal(Micros(4), own).await.is_err());
    desk.finish(&recorder, 5).await;
    assert!(matches!(
        recorder.marker(Micros(6), 0, "late").await,
        Err(RecordingFailed::Ended { .. })
    ));
    assert!(
        recorder
            .finish(Micros(7), "", desk::ENDED_AT, &desk.signer)
            .await
            .is_err()
    );
    desk.assert_holds("s1");
}

#[tokio::test]
async fn heads_are_digests_of_what_is_on_disk() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    let at_once = recorder.heads();
    assert_eq!(at_once.len(), 1);
    let journal = fs::read(desk.file("s1", "journal.sealed")).unwrap();
    assert_eq!(
        (at_once[0].stream.as_str(), at_once[0].frames),
        ("journal", 1)
    );
    assert_eq!(at_once[0].bytes, journal.len() as u64);
    assert_eq!(at_once[0].sha256, sha256(&journal));
    recorder
        .open_channel(Micros(0), 0, exec("id"))
        .await
        .unwrap();
    desk.finish(&recorder, 1).await;
    for head in recorder.heads() {
        let file = fs::read(desk.file("s1", &format!("{}.sealed", head.stream))).unwrap();
        assert_eq!(
            (head.bytes, head.sha256),
            (file.len() as u64, sha256(&file))
        );
    }
    assert_eq!(recorder.heads().len(), 2);
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
