//! What the tests record with: a storage in a temporary directory, keys, a session.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use recordings::recorder::{self, Limits, Recorder, RecordingError};
use recordings::replay::{self, Replay};
use recordings::verify::{Report, verify};
use recordings::{
    ChannelKind, Manifest, ManifestSigner, Micros, RecordingKeyPair, SessionHeader, SessionId,
    Storage, Stream, UtcMicros,
};
use ring::rand::SystemRandom;

pub(crate) struct Desk {
    pub(crate) root: tempfile::TempDir,
    pub(crate) storage: Storage,
    pub(crate) pair: RecordingKeyPair,
    pub(crate) signer: ManifestSigner,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            storage: Storage::open(root.path()).unwrap(),
            root,
            pair: pair(),
            signer: ManifestSigner::from_seed(&[7; 32]).unwrap(),
        }
    }

    pub(crate) async fn begin(&self, session: &str) -> Recorder {
        self.begin_with(session, Limits::default()).await.unwrap()
    }

    pub(crate) async fn begin_with(
        &self,
        session: &str,
        limits: Limits,
    ) -> Result<Recorder, RecordingError> {
        recorder::begin(&self.storage, header(session), &[self.pair.public], limits).await
    }

    pub(crate) async fn finish(&self, recorder: &Recorder, at: i64) -> Manifest {
        recorder
            .finish(Micros(at), "operator left", ENDED_AT, &self.signer)
            .await
            .unwrap()
    }

    pub(crate) fn recover(&self, session: &str) -> Result<Manifest, RecordingError> {
        recorder::recover(&self.storage, &id(session), ENDED_AT, &self.signer)
    }

    pub(crate) fn replay(&self, session: &str) -> Replay {
        replay::open(&self.storage, &id(session), self.pair.private.clone()).unwrap()
    }

    pub(crate) fn cast(&self, session: &str, channel: u32) -> String {
        let mut cast = Vec::new();
        self.replay(session).write_cast(channel, &mut cast).unwrap();
        String::from_utf8(cast).unwrap()
    }

    /// What a cast shows, without its times.
    pub(crate) fn shown(&self, session: &str, channel: u32) -> Vec<(char, String)> {
        let cast = self.cast(session, channel);
        let mut last = 0.0;
        let mut events = Vec::new();
        for line in cast.lines().skip(1) {
            let (at, code, data): (f64, char, String) = serde_json::from_str(line).unwrap();
            assert!(at >= last, "time runs backwards at {line}");
            last = at;
            events.push((code, data));
        }
        events
    }

    pub(crate) fn events(&self, session: &str) -> Vec<String> {
        let lines = self.replay(session).journal().unwrap();
        let name = |line| {
            serde_json::to_value(line).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        lines.iter().map(name).collect()
    }

    pub(crate) fn verify_without_key(&self, session: &str) -> Report {
        verify(&self.storage, &id(session), &self.signer.public_key(), None)
    }

    pub(crate) fn verify_with_key(&self, session: &str) -> Report {
        let private = Some(&self.pair.private);
        verify(
            &self.storage,
            &id(session),
            &self.signer.public_key(),
            private,
        )
    }

    pub(crate) fn assert_holds(&self, session: &str) {
        for report in [
            self.verify_without_key(session),
            self.verify_with_key(session),
        ] {
            assert!(report.holds(), "{report:#?}");
        }
    }

    pub(crate) fn file(&self, session: &str, name: &str) -> PathBuf {
        self.root.path().join(session).join(name)
    }

    pub(crate) fn files(&self, session: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join(session)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) const ENDED_AT: UtcMicros = UtcMicros(1_764_000_060_000_000);

pub(crate) fn pair() -> RecordingKeyPair {
    RecordingKeyPair::generate(&SystemRandom::new()).unwrap()
}

pub(crate) fn id(session: &str) -> SessionId {
    SessionId::parse(session).unwrap()
}

pub(crate) fn header(session: &str) -> SessionHeader {
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

pub(crate) fn terminal(cols: u32, rows: u32) -> ChannelKind {
    ChannelKind::Terminal {
        cols,
        rows,
        term: "xterm-256color".into(),
        command: None,
    }
}

pub(crate) fn exec(command: &str) -> ChannelKind {
    ChannelKind::Exec {
        command: command.into(),
    }
}

pub(crate) async fn say(recorder: &Recorder, at: i64, channel: u32, text: impl Into<Bytes>) {
    recorder
        .output(Micros(at), channel, Stream::Stdout, text.into())
        .await
        .unwrap();
}
