//! What recording costs: `cargo run --release -p recordings --example throughput`.
//!
//! 1 GiB through `output` and `input` in pieces of 32 KiB, a terminal's worth of kept output,
//! and the memory of 500 sessions that do nothing.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a program that measures reads the clock, prints, and may stop at the first error"
)]

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use recordings::recorder::{self, Limits, Recorder};
use recordings::{
    ChannelKind, ManifestSigner, Micros, RecordingKeyPair, SessionHeader, SessionId, Storage,
    Stream, UtcMicros,
};
use ring::rand::{SecureRandom as _, SystemRandom};

const PIECE: usize = 32 * 1024;
const MIB: usize = 1024 * 1024;
const IDLE: usize = 500;

#[tokio::main]
async fn main() {
    let root = tempfile::tempdir().unwrap();
    let storage = Storage::open(root.path()).unwrap();
    let pair = RecordingKeyPair::generate(&SystemRandom::new()).unwrap();
    let signer = ManifestSigner::from_seed(&[1; 32]).unwrap();

    let before = resident_kib();
    let mut idle = Vec::new();
    for n in 0..IDLE {
        let session = begin(&storage, &pair, &format!("idle-{n}")).await;
        let kind = ChannelKind::Terminal {
            cols: 80,
            rows: 24,
            term: "xterm".into(),
            command: None,
        };
        session.open_channel(Micros(0), 0, kind).await.unwrap();
        idle.push(session);
    }
    // Long enough for what they have to write to be written.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let each = (resident_kib() - before) / IDLE as f64;
    println!("{IDLE} idle sessions with a terminal: {each:.1} KiB resident each");
    drop(idle);

    let piece = Bytes::from(log_text());
    let recorder = begin(&storage, &pair, "capped").await;
    let kind = ChannelKind::Exec {
        command: "cat".into(),
    };
    recorder.open_channel(Micros(0), 0, kind).await.unwrap();
    measure(
        "output of a command, capped at 16 MiB",
        1024 * MIB / PIECE,
        async |at| {
            recorder
                .output(at, 0, Stream::Stdout, piece.clone())
                .await
                .unwrap();
        },
    )
    .await;
    measure("input", 1024 * MIB / PIECE, async |at| {
        recorder.input(at, 0, piece.clone()).await.unwrap();
    })
    .await;
    recorder
        .finish(Micros(0), "done", UtcMicros(0), &signer)
        .await
        .unwrap();

    let noise = Bytes::from(noise());
    for (name, piece) in [("a terminal", piece), ("noise to a terminal", noise)] {
        let recorder = begin(&storage, &pair, &name.replace(' ', "-")).await;
        let kind = ChannelKind::Terminal {
            cols: 80,
            rows: 24,
            term: "xterm".into(),
            command: None,
        };
        recorder.open_channel(Micros(0), 0, kind).await.unwrap();
        let what = format!("output of {name}, all kept");
        measure(&what, 256 * MIB / PIECE, async |at| {
            recorder
                .output(at, 0, Stream::Stdout, piece.clone())
                .await
                .unwrap();
        })
        .await;
        recorder
            .finish(Micros(0), "done", UtcMicros(0), &signer)
            .await
            .unwrap();
    }
    println!("peak resident memory: {:.0} KiB", status_kib("VmHWM:"));
}

async fn measure(what: &str, pieces: usize, record: impl AsyncFn(Micros)) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    for n in 0..pieces {
        // As if the pieces came one per 30 µs.
        record(Micros(i64::try_from(n).unwrap() * 30)).await;
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let mib = (pieces * PIECE / MIB) as f64;
    println!(
        "{what}: {mib} MiB, {:.0} MiB/s, {:.2} s of CPU per GiB",
        mib / wall,
        cpu * 1024.0 / mib
    );
}

async fn begin(storage: &Storage, pair: &RecordingKeyPair, session: &str) -> Recorder {
    let header = SessionHeader {
        session: SessionId::parse(session).unwrap(),
        operator: "claire".into(),
        actor: "claire.martin".into(),
        customer: "CHU Nord".into(),
        target: "db1".into(),
        account: "postgres".into(),
        grant: "g-1".into(),
        intervention: "INT-2026-00042".into(),
        motive: "index rebuild".into(),
        factors: vec!["key".into()],
        source: "192.0.2.7".into(),
        started_at: UtcMicros(1_764_000_000_000_000),
    };
    recorder::begin(storage, header, &[pair.public], Limits::default())
        .await
        .unwrap()
}

/// What a log looks like to a compressor: half of it repeats, half does not.
fn log_text() -> String {
    let (mut text, mut noise) = (String::with_capacity(PIECE + 64), 1_u64);
    while text.len() < PIECE {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let line = format!("\u{1b}[32minfo\u{1b}[0m db: checkpoint {noise:016x} done\r\n");
        text.push_str(&line);
    }
    text.truncate(PIECE);
    text
}

/// What a compressed file looks like on a screen.
fn noise() -> Vec<u8> {
    let mut bytes = vec![0; PIECE];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

fn resident_kib() -> f64 {
    status_kib("VmRSS:")
}

fn status_kib(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time of this process; the kernel counts in hundredths.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<f64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap())
        .collect();
    fields.iter().sum::<f64>() / 100.0
}
