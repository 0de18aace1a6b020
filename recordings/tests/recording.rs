//! A recording from its first line to its manifest and back, on a real disk.

use bytes::Bytes;
use recordings::recorder::{self, Limits, Recorder};
use recordings::replay;
use recordings::unseal::Ending;
use recordings::{
    Answer, ChannelKind, JournalEvent, ManifestSigner, Micros, RecordingKeyPair, SessionHeader,
    SessionId, Storage, Stream, UtcMicros,
};
use ring::rand::SystemRandom;

#[tokio::test]
async fn what_was_shown_and_asked_reads_back() {
    let desk = Desk::new();
    let recorder = desk.begin("s1").await;
    record_a_terminal(&recorder).await;
    let manifest = recorder
        .finish(
            Micros(9_000_000),
            "operator left",
            UtcMicros(2),
            &desk.signer,
        )
        .await
        .unwrap();
    assert_eq!(manifest.channels.len(), 1);
    assert_eq!(manifest.channels[0].stdout_bytes, 11);
    manifest.check_signature(&desk.signer.public_key()).unwrap();

    let replay = replay::open(&desk.storage, &id("s1"), desk.pair.private.clone()).unwrap();
    let journal = replay.journal().unwrap();
    let events: Vec<String> = journal
        .iter()
        .map(|line| {
            serde_json::to_value(line).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        events,
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
    let mut cast = Vec::new();
    assert_eq!(replay.write_cast(0, &mut cast).unwrap(), Ending::Complete);
    let text = String::from_utf8(cast).unwrap();
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        [
            r#"[0.000100,"o","hello "]"#,
            r#"[0.000200,"o","w\u001b[0m"]"#,
            r#"[0.000300,"r","120x40"]"#,
            r#"[0.000400,"m","exit 3"]"#
        ]
    );
}

struct Desk {
    root: tempfile::TempDir,
    storage: Storage,
    pair: RecordingKeyPair,
    signer: ManifestSigner,
}

impl Desk {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            storage: Storage::open(root.path()).unwrap(),
            root,
            pair: RecordingKeyPair::generate(&SystemRandom::new()).unwrap(),
            signer: ManifestSigner::from_seed(&[7; 32]).unwrap(),
        }
    }

    async fn begin(&self, session: &str) -> Recorder {
        let recipients = [self.pair.public];
        let limits = Limits::default();
        recorder::begin(&self.storage, header(session), &recipients, limits)
            .await
            .unwrap()
    }
}

async fn record_a_terminal(recorder: &Recorder) {
    let kind = ChannelKind::Terminal {
        cols: 80,
        rows: 24,
        term: "xterm".into(),
    };
    recorder.open_channel(Micros(1_000), 0, kind).await.unwrap();
    let request = JournalEvent::Request {
        channel: Some(0),
        request: "shell".into(),
        detail: String::new(),
        answer: Answer::Success,
    };
    recorder.journal(Micros(1_050), request).await.unwrap();
    let hello = Bytes::from_static(b"hello ");
    recorder
        .output(Micros(1_100), 0, Stream::Stdout, hello)
        .await
        .unwrap();
    let world = Bytes::from_static(b"w\x1b[0m");
    recorder
        .output(Micros(1_200), 0, Stream::Stdout, world)
        .await
        .unwrap();
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
    recorder.close_channel(Micros(1_500), 0).await.unwrap();
}

fn header(session: &str) -> SessionHeader {
    SessionHeader {
        session: id(session),
        operator: "claire".into(),
        actor: "claire.martin".into(),
        customer: "CHU Nord".into(),
        target: "db1".into(),
        account: "postgres".into(),
        grant: "g-1".into(),
        intervention: "INT-2026-00042".into(),
        motive: "index rebuild".into(),
        factors: vec!["key".into(), "totp".into()],
        source: "192.0.2.7".into(),
        started_at: UtcMicros(1_764_000_000_000_000),
    }
}

fn id(session: &str) -> SessionId {
    SessionId::parse(session).unwrap()
}
