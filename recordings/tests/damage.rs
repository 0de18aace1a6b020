//! Every cut and every flipped byte: found, and named.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; the lints exempt test functions, not their helpers"
)]

mod desk;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::Bytes;
use desk::{Desk, id, say, terminal};
use recordings::manifest::State;
use recordings::recorder::{Limits, Recorder};
use recordings::unseal::{Ending, survey};
use recordings::verify::{verify_all, verify_heads};
use recordings::{JournalEvent, Micros, Stream, StreamHead};

const CAST: &str = "channel-0.cast.sealed";
const JOURNAL: &str = "journal.sealed";

#[tokio::test]
async fn a_cut_at_every_byte_of_the_last_frame_leaves_a_prefix_that_holds() {
    let desk = Desk::new();
    let (recorder, whole) = three_frames(&desk, "s1").await;
    drop(recorder);
    while desk.storage.unfinished().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cast = fs::read(desk.file("s1", CAST)).unwrap();
    let before = usize::try_from(whole.bytes).unwrap();
    assert!(cast.len() > before + 20);
    let file = OpenOptions::new()
        .write(true)
        .open(desk.file("s1", CAST))
        .unwrap();
    for length in (before..cast.len()).rev() {
        file.set_len(length as u64).unwrap();
        let manifest = desk.recover("s1").unwrap();
        let stream = &manifest.streams[1];
        assert_eq!(
            (stream.frames, stream.ciphertext_bytes),
            (whole.frames, whole.bytes)
        );
        assert_eq!(stream.ciphertext_sha256, whole.sha256);
        assert_eq!(stream.torn_bytes, (length - before) as u64);
        let report = desk.verify_without_key("s1");
        assert!(report.holds(), "cut at {length}: {report:#?}");
        // Opening with a key takes long where nothing is optimised.
        if length % 16 == 0 || length + 1 == cast.len() {
            desk.assert_holds("s1");
            let shown: String = desk
                .shown("s1", 0)
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            assert_eq!(shown, "one two ");
        }
        fs::remove_file(desk.file("s1", "manifest.json")).unwrap();
    }
}

#[tokio::test]
async fn a_finished_recording_that_was_cut_anywhere_does_not_hold() {
    let desk = Desk::new();
    let (recorder, _) = three_frames(&desk, "s1").await;
    desk.finish(&recorder, 9).await;
    for name in [CAST, JOURNAL] {
        let bytes = fs::read(desk.file("s1", name)).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(desk.file("s1", name))
            .unwrap();
        for length in (0..bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            let report = desk.verify_without_key("s1");
            let named = report.failures().any(|check| check.sentence.contains(name));
            assert!(named, "{name} cut at {length}: {report:#?}");
        }
        fs::write(desk.file("s1", name), [&bytes[..], b"\0"].concat()).unwrap();
        let report = desk.verify_without_key("s1");
        let after = report
            .failures()
            .any(|check| check.sentence.contains("after the last frame"));
        assert!(after, "{report:#?}");
        fs::write(desk.file("s1", name), &bytes).unwrap();
    }
    desk.assert_holds("s1");
}

#[tokio::test]
async fn every_flipped_byte_of_every_file_is_caught_and_named() {
    let desk = Desk::new();
    let (recorder, _) = three_frames(&desk, "s1").await;
    desk.finish(&recorder, 9).await;
    let mut flipped = 0;
    for name in desk.files("s1") {
        let bytes = fs::read(desk.file("s1", &name)).unwrap();
        for at in 0..bytes.len() {
            // In place: rewriting the whole file would wait for the disk every time.
            let file = OpenOptions::new()
                .write(true)
                .open(desk.file("s1", &name))
                .unwrap();
            file.write_all_at(&[bytes[at] ^ 1 << (at % 8)], at as u64)
                .unwrap();
            let report = desk.verify_without_key("s1");
            let named = report
                .failures()
                .any(|check| check.sentence.contains(&name));
            assert!(named, "{name}, byte {at}: {report:#?}");
            flipped += 1;
            if at % 61 == 0 {
                assert!(!desk.verify_with_key("s1").holds(), "{name}, byte {at}");
            }
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    assert!(flipped > 2_500, "{flipped}");
    desk.assert_holds("s1");
}

#[tokio::test]
async fn a_flipped_byte_is_named_with_its_frame_and_offset() {
    let desk = Desk::new();
    let (recorder, whole) = three_frames(&desk, "s1").await;
    desk.finish(&recorder, 9).await;
    let mut bytes = fs::read(desk.file("s1", CAST)).unwrap();
    let at = usize::try_from(whole.bytes).unwrap() + 15;
    bytes[at] ^= 1;
    fs::write(desk.file("s1", CAST), &bytes).unwrap();
    let sentence = format!("`{CAST}`, frame {}, byte {}: ", whole.frames, whole.bytes);
    for report in [desk.verify_without_key("s1"), desk.verify_with_key("s1")] {
        let named = report
            .failures()
            .any(|check| check.sentence.starts_with(&sentence));
        assert!(named, "{report:#?}");
    }
    let mut out = Vec::new();
    let error = desk.replay("s1").write_cast(0, &mut out).unwrap_err();
    assert!(error.to_string().starts_with(&sentence), "{error}");
    assert!(
        !String::from_utf8(out).unwrap().contains("three"),
        "a forged frame was shown"
    );
}

#[tokio::test]
async fn a_file_that_is_missing_added_or_another_sessions_is_named() {
    let desk = Desk::new();
    for session in ["s1", "s2"] {
        let (recorder, _) = three_frames(&desk, session).await;
        desk.finish(&recorder, 9).await;
    }
    let own = fs::read(desk.file("s1", CAST)).unwrap();
    let fails = |what: &str| {
        let report = desk.verify_without_key("s1");
        let named = report.failures().any(|check| check.sentence.contains(what));
        assert!(named, "{what}: {report:#?}");
    };
    fs::copy(desk.file("s2", CAST), desk.file("s1", CAST)).unwrap();
    fails("names another session");
    fs::remove_file(desk.file("s1", CAST)).unwrap();
    fails("`channel-0.cast.sealed` is in the manifest and missing");
    fs::write(desk.file("s1", CAST), &own).unwrap();
    fs::write(desk.file("s1", "channel-9.cast.sealed"), &own).unwrap();
    fails("`channel-9.cast.sealed` is not in the manifest");
    fs::remove_file(desk.file("s1", "channel-9.cast.sealed")).unwrap();
    desk.assert_holds("s1");
    fs::copy(
        desk.file("s2", "manifest.json"),
        desk.file("s1", "manifest.json"),
    )
    .unwrap();
    fails("is about session `s2`");
    fs::remove_file(desk.file("s1", "manifest.json")).unwrap();
    fails("`manifest.json` is missing");
    let reports = verify_all(&desk.storage, &desk.signer.public_key()).unwrap();
    let holds: Vec<bool> = reports
        .iter()
        .map(recordings::verify::Report::holds)
        .collect();
    assert_eq!(holds, [false, true]);
}

#[tokio::test]
async fn a_manifest_signed_by_another_host_fails() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    desk.finish(&recorder, 1).await;
    let other = recordings::ManifestSigner::from_seed(&[8; 32])
        .unwrap()
        .public_key();
    let report = recordings::verify::verify(&desk.storage, &id("s1"), &other, None);
    assert!(
        report
            .failures()
            .any(|check| check.sentence.contains("names signer")),
        "{report:#?}"
    );
}

/// One who can write files may cut a recording and have it closed as interrupted: manifest and
/// streams then agree, and only the audit log knows better.
#[tokio::test]
async fn what_the_audit_log_noted_and_is_gone_is_named() {
    let desk = Desk::new();
    let (recorder, head) = three_frames(&desk, "s1").await;
    let noted = recorder.heads();
    drop(recorder);
    while desk.storage.unfinished().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(verify_heads(&desk.storage, &id("s1"), &noted).holds());
    let cast = fs::read(desk.file("s1", CAST)).unwrap();
    fs::write(
        desk.file("s1", CAST),
        &cast[..usize::try_from(head.bytes).unwrap()],
    )
    .unwrap();
    desk.recover("s1").unwrap();
    desk.assert_holds("s1");
    let report = verify_heads(&desk.storage, &id("s1"), &noted);
    let cut = report
        .failures()
        .any(|check| check.sentence.contains("was cut before byte"));
    assert!(cut, "{report:#?}");
    assert!(verify_heads(&desk.storage, &id("s1"), &[head]).holds());
}

#[tokio::test]
async fn a_process_killed_before_the_casts_first_frame_leaves_a_cast_that_plays() {
    let desk = Desk::new();
    let (recorder, _) = three_frames(&desk, "s1").await;
    drop(recorder);
    while desk.storage.unfinished().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cast = fs::read(desk.file("s1", CAST)).unwrap();
    for length in [0, 3, 11, 100] {
        fs::write(desk.file("s1", CAST), &cast[..length]).unwrap();
        let manifest = desk.recover("s1").unwrap();
        assert_eq!(manifest.state, State::Interrupted);
        assert_eq!(manifest.streams[1].torn_bytes, length as u64);
        desk.assert_holds("s1");
        let mut out = Vec::new();
        let ending = desk.replay("s1").write_cast(0, &mut out).unwrap();
        assert!(matches!(ending, Ending::Truncated { .. }));
        assert!(out.starts_with(br#"{"version":2,"width":80,"height":24,"#));
        fs::remove_file(desk.file("s1", "manifest.json")).unwrap();
    }
}

/// A terminal whose cast has three frames or more, the last being `three`; the head before it.
async fn three_frames(desk: &Desk, session: &str) -> (Recorder, StreamHead) {
    let limits = Limits {
        flush_after: Duration::from_millis(1),
        ..Limits::default()
    };
    let recorder = desk.begin_with(session, limits).await.unwrap();
    recorder
        .open_channel(Micros(0), 0, terminal(80, 24))
        .await
        .unwrap();
    say(&recorder, 1, 0, &b"one "[..]).await;
    durable(desk, &recorder, session).await;
    say(&recorder, 2, 0, &b"two "[..]).await;
    let head = durable(desk, &recorder, session).await;
    let note = JournalEvent::Note {
        code: "n".into(),
        text: "between".into(),
    };
    recorder.journal(Micros(3), note).await.unwrap();
    let data = Bytes::from_static(b"three");
    recorder
        .output(Micros(4), 0, Stream::Stdout, data)
        .await
        .unwrap();
    durable(desk, &recorder, session).await;
    (recorder, head)
}

/// Waits until the cast has one frame more.
async fn durable(desk: &Desk, recorder: &Recorder, session: &str) -> StreamHead {
    let cast = |heads: Vec<StreamHead>| heads.into_iter().find(|head| head.stream != "journal");
    let frames = cast(recorder.heads()).map_or(0, |head| head.frames);
    loop {
        if let Some(head) = cast(recorder.heads())
            && head.frames > frames
        {
            let survey = survey(&desk.storage, &id(session), "channel-0.cast").unwrap();
            assert_eq!((survey.frames, survey.bytes), (head.frames, head.bytes));
            return head;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
