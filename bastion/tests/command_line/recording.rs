//! Recordings at the command line: one session recorded as the bastion records, then opened and
//! verified with the binary.

use crate::host::{EXAMPLE, Host, text};
use access::grant::Operation;
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::second_factor::Proof;
use access::session::SessionState;
use access::time::Window;
use access::{
    AccountName, CustomerId, Event, GrantId, Intervention, OperatorId, Session, TargetId, Time, Who,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use recordings::{
    ChannelKind, Limits, ManifestSigner, Micros, RecipientKey, SessionHeader, Storage, Stream,
    UtcMicros,
};
use std::collections::BTreeSet;
use std::fs;
use store::Store;

const SESSION: &str = "s-20260704-1";
const CAT: [&str; 5] = ["recording", "cat", SESSION, "--state", "state"];

#[test]
fn what_was_recorded_is_listed_and_shown_as_text() {
    let host = recorded();
    let list = host.runs(&["recording", "list", "--state", "state"]);
    for said in [
        SESSION,
        "bruno",
        "postgres@db1.chu-exemple",
        "Repair the slow index",
        "ended",
    ] {
        assert!(list.contains(said), "{said}: {list}");
    }
    let shown = host.runs(&[&CAT[..], &["--purpose", "complaint 17"]].concat());
    assert_eq!(
        shown,
        "--- channel 0\n$ id\nuid=26(postgres)\n--- channel 1\ndone\n"
    );
}

#[test]
fn the_log_names_who_opened_it_and_why_before_a_byte_is_read() {
    let host = recorded();
    fs::remove_file(journal(&host)).unwrap();
    host.fails(&[&CAT[..], &["--purpose", "complaint 17"]].concat(), 1);
    let log = host.runs(&["audit", "export", "--state", "state"]);
    let opened: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("recording.opened"))
        .collect();
    assert_eq!(opened.len(), 1, "{log}");
    assert!(
        opened[0].contains("complaint 17") && opened[0].contains(SESSION),
        "{opened:?}"
    );
    // No purpose, no entry and no recording.
    host.fails(&CAT, 2);
    host.fails(&[&CAT[..], &["--purpose", " "]].concat(), 1);
    let again = host.runs(&["audit", "export", "--state", "state"]);
    assert_eq!(again.matches("recording.opened").count(), 1);
}

#[test]
fn it_is_played_with_pauses_cut() {
    let host = recorded();
    let words = [
        "recording",
        "play",
        SESSION,
        "--state",
        "state",
        "--purpose",
        "complaint 17",
    ];
    let fast = [&words[..], &["--speed", "100", "--idle-limit", "0.1"]].concat();
    let played = host.runs(&fast);
    assert!(
        played.contains("$ id\r\nuid=26(postgres)\r\n") && played.contains("done"),
        "{played}"
    );
    let one = host.runs(&[&fast[..], &["--channel", "1"]].concat());
    assert!(one.contains("done") && !one.contains("postgres"), "{one}");
    host.fails(&[&fast[..], &["--channel", "7"]].concat(), 1);
}

#[test]
fn it_is_exported_as_files_and_nothing_is_overwritten() {
    let host = recorded();
    let words = [
        "recording",
        "export",
        SESSION,
        "--state",
        "state",
        "--purpose",
        "complaint 17",
    ];
    let to = |path| [&words[..], &["-o", path]].concat();
    let several = host.fails(&to("out.cast"), 1);
    assert!(several.contains("2 channels"), "{several}");
    host.runs(&to("out"));
    let cast = fs::read_to_string(host.path("out/channel-0.cast")).unwrap();
    assert!(
        cast.starts_with("{\"version\":2,") && cast.contains("postgres"),
        "{cast}"
    );
    let journal = fs::read_to_string(host.path("out/journal.jsonl")).unwrap();
    assert!(journal.contains("session_started") && journal.contains("session_ended"));
    let twice = host.fails(&to("out"), 1);
    assert!(twice.contains("is there already"), "{twice}");
}

#[test]
fn it_verifies_until_a_byte_is_changed() {
    let host = recorded();
    let verify = ["recording", "verify", "--state", "state"];
    let said = host.runs(&verify);
    for check in [
        "is signed by key",
        "`journal.sealed` begins with the",
        "is the one that the database names",
        "is the one that the audit log names",
        "1 recordings, 0 failed",
    ] {
        assert!(said.contains(check), "{check}: {said}");
    }
    let path = journal(&host);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = host.run(&verify);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failed = |line: &str| {
        line.contains("FAILED") && line.contains("`journal.sealed`") && line.contains("byte ")
    };
    assert!(said.lines().any(failed), "{said}");
    assert!(said.ends_with("1 recordings, 1 failed\n"), "{said}");
}

#[test]
fn a_recording_that_is_gone_or_signed_anew_is_found() {
    let host = recorded();
    let verify = ["recording", "verify", "--state", "state"];
    host.python(
        "import sqlite3\n\
         db = sqlite3.connect('state/bastion.db')\n\
         db.execute(\"UPDATE sessions SET body = replace(body, 'manifest_sha256\\\":\\\"', 'manifest_sha256\\\":\\\"00')\")\n\
         db.commit()\n",
    );
    let said = text(&host.run(&verify).stdout);
    assert!(
        said.contains("the database names 00")
            && said.contains("is the one that the audit log names"),
        "{said}"
    );
    fs::remove_dir_all(host.path("state/recordings").join(SESSION)).unwrap();
    let output = host.run(&verify);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAILED  its recording is missing"));
}

#[test]
fn without_the_customers_key_the_rest_is_still_verified() {
    let host = recorded();
    fs::remove_file(host.path("state/keys/recording-master")).unwrap();
    let said = host.runs(&["recording", "verify", SESSION, "--state", "state"]);
    assert!(
        said.contains("content not read") && said.contains("is signed by key"),
        "{said}"
    );
    host.fails(&[&CAT[..], &["--purpose", "complaint 17"]].concat(), 1);
}

/// A host with one session that has ended.
fn recorded() -> Host {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(record(&host));
    host
}

async fn record(host: &Host) {
    let url = format!("sqlite://{}", host.path("state/bastion.db").display());
    let store = Store::open(&url).await.unwrap();
    let now = Time::parse("2027-07-04T10:00:00Z").unwrap();
    let session = session(&store, now).await;
    let customer = store.customer(&session.customer).await.unwrap().unwrap();
    let to = RecipientKey::from_base64(&customer.recording_key).unwrap();
    let storage = Storage::open(host.path("state/recordings")).unwrap();
    let recorder =
        recordings::recorder::begin(&storage, header(&session), &[to], Limits::default())
            .await
            .unwrap();
    let terminal = ChannelKind::Terminal {
        cols: 80,
        rows: 24,
        term: "xterm".to_owned(),
        command: None,
    };
    let exec = ChannelKind::Exec {
        command: "reindex".to_owned(),
    };
    for (channel, kind, bytes) in [
        (0, terminal, &b"$ id\r\nuid=26(postgres)\r\n"[..]),
        (1, exec, &b"done\n"[..]),
    ] {
        let at = |seconds: i64| Micros((i64::from(channel) * 60 + seconds) * 1_000_000);
        recorder.open_channel(at(1), channel, kind).await.unwrap();
        let bytes = bytes.to_vec().into();
        recorder
            .output(at(30), channel, Stream::Stdout, bytes)
            .await
            .unwrap();
        recorder.close_channel(at(31), channel).await.unwrap();
    }
    let pkcs8 = fs::read_to_string(host.path("state/keys/manifest")).unwrap();
    let signer = ManifestSigner::from_pkcs8(&BASE64.decode(pkcs8.trim()).unwrap()).unwrap();
    let manifest = recorder
        .finish(
            Micros(200_000_000),
            "logout",
            UtcMicros(now.micros()),
            &signer,
        )
        .await
        .unwrap();
    let heads = Event::new(
        "recording.heads",
        Who::Bastion,
        format!("session {SESSION}"),
        now,
    )
    .in_session(&session.id)
    .with("streams", recorder.heads());
    store.append(heads).await.unwrap();
    let digest = manifest.digest().unwrap();
    let ended = session.end("logout", &digest, Who::Bastion, now).unwrap();
    store.save(ended).await.unwrap();
    store.close().await;
}

/// A session as its permit would open it.
async fn session(store: &Store, now: Time) -> Session {
    let operator = OperatorId::parse("bruno").unwrap();
    let bruno = store.operator(&operator).await.unwrap().unwrap();
    let customer = CustomerId::parse("chu-exemple").unwrap();
    let target = TargetId::parse("db1.chu-exemple").unwrap();
    let account = AccountName::parse("postgres").unwrap();
    let end = Time::parse("2027-07-04T18:00:00Z").unwrap();
    let plan = PlanText {
        purpose: "Repair the slow index".to_owned(),
        nature: "Maintenance".to_owned(),
        impact: "None expected".to_owned(),
        rollback: "Restore from backup".to_owned(),
        health_data: HealthDataSeen::No,
        origin: Origin::Host,
        accountable: None,
        reference: None,
        operators: BTreeSet::from([operator.clone()]),
        targets: BTreeSet::from([target.clone()]),
        accounts: BTreeSet::from([account.clone()]),
        operations: BTreeSet::from([Operation::Shell]),
        window: Window::new(now, end).unwrap(),
    };
    let id = store.next_intervention_id(now).await.unwrap();
    let draft = Intervention::draft(id.clone(), customer.clone(), plan, &bruno, now).unwrap();
    store.save(draft).await.unwrap();
    Session {
        id: access::SessionId::parse(SESSION).unwrap(),
        operator,
        customer,
        target,
        account,
        grant: GrantId::parse("bruno-db1").unwrap(),
        intervention: id,
        plan_version: 1,
        motive: "Repair the slow index".to_owned(),
        proof: Proof::Totp,
        factor_reused: false,
        source: "192.0.2.7".parse().unwrap(),
        started_at: now,
        ends_at: end,
        state: SessionState::Live,
        version: 0,
    }
}

fn header(session: &Session) -> SessionHeader {
    SessionHeader {
        session: recordings::SessionId::parse(session.id.as_str()).unwrap(),
        operator: session.operator.to_string(),
        actor: "infogerance".to_owned(),
        customer: session.customer.to_string(),
        target: session.target.to_string(),
        account: session.account.to_string(),
        grant: session.grant.to_string(),
        intervention: session.intervention.to_string(),
        motive: session.motive.clone(),
        factors: vec!["totp".to_owned()],
        source: session.source.to_string(),
        started_at: UtcMicros(session.started_at.micros()),
    }
}

fn journal(host: &Host) -> std::path::PathBuf {
    host.path("state/recordings")
        .join(SESSION)
        .join("journal.sealed")
}
