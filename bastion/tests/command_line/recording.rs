//! Recordings at the command line: one session recorded as the bastion records, then opened and
//! verified with the binary.

use crate::evidence::{says, serve, stop, until};
use crate::host::{EXAMPLE, Host, text};
use access::grant::Operation;
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::second_factor::Proof;
use access::session::SessionState;
use access::time::Window;
use access::{
    AccountName, Credentials, CustomerId, Event, FactorId, GrantId, Intervention, OperatorId,
    Session, TargetId, Time, Who,
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
/// One that was begun and never opened.
const LEFT: &str = "s-20260704-2";
const VERIFY: [&str; 4] = ["recording", "verify", "--state", "state"];
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
fn a_session_that_was_given_to_somebody_else_is_found() {
    let host = recorded();
    host.python(
        "import sqlite3\n\
         db = sqlite3.connect('state/bastion.db')\n\
         db.execute(\"UPDATE sessions SET operator_id = 'alice', grant_id = 'alice-db1', motive = 'Holiday', \
         body = replace(replace(replace(body, '\\\"bruno\\\"', '\\\"alice\\\"'), 'bruno-db1', 'alice-db1'), 'Repair the slow index', 'Holiday')\")\n\
         db.commit()\n",
    );
    let said = says(&host, &VERIFY, 1);
    for sentence in [
        "operator: the database says `alice`, the audit log says `bruno`",
        "grant: the database says `alice-db1`, the audit log says `bruno-db1`",
        "motive: the database says `Holiday`, the audit log says `Repair the slow index`",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert!(!said.contains("the manifest says"), "{said}");
    let said = says(&host, &["audit", "verify", "--state", "state"], 1);
    let changed = format!("row `{SESSION}` of `sessions` was changed: its body");
    assert!(said.contains(&changed), "{said}");
}

#[test]
fn a_session_that_is_gone_with_its_recording_is_missed() {
    let host = recorded();
    host.python(
        "import sqlite3\n\
         db = sqlite3.connect('state/bastion.db')\n\
         db.execute('DELETE FROM sessions')\n\
         db.commit()\n",
    );
    let said = says(&host, &VERIFY, 1);
    assert!(
        said.contains("FAILED  the database does not know of this session"),
        "{said}"
    );
    fs::remove_dir_all(host.path("state/recordings").join(SESSION)).unwrap();
    let said = says(&host, &VERIFY, 1);
    assert!(said.contains(SESSION), "{said}");
    assert!(
        said.contains("FAILED  the database does not know of this session"),
        "{said}"
    );
    assert!(said.contains("FAILED  its recording is missing"), "{said}");
    let said = says(&host, &["audit", "verify", "--state", "state"], 1);
    assert!(
        said.contains(&format!("row `{SESSION}` of `sessions` is gone")),
        "{said}"
    );
    // Nor does the next start explain it away.
    host.write("b.toml", "state = 'state'\n[ssh]\nlisten = '127.0.0.1:0'\n");
    let mut serving = serve(&host);
    until("it has started", || {
        host.event_names()
            .iter()
            .any(|name| name == "service.started")
    });
    stop(&mut serving);
    assert!(
        !host
            .event_names()
            .iter()
            .any(|name| name == "recording.orphaned")
    );
    says(&host, &VERIFY, 1);
}

#[test]
fn a_finished_recording_that_was_cut_is_not_shown_as_if_it_was_whole() {
    let host = recorded();
    let path = host
        .path("state/recordings")
        .join(SESSION)
        .join("channel-0.cast.sealed");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    for words in [
        &["cat"][..],
        &["play", "--speed", "100", "--idle-limit", "0"],
        &["export", "-o", "out"],
    ] {
        let (how, more) = words.split_first().unwrap();
        let place = [
            "recording",
            how,
            SESSION,
            "--state",
            "state",
            "--purpose",
            "complaint 17",
        ];
        let said = host.fails(&[&place[..], more].concat(), 1);
        assert!(
            said.contains("what is shown is not what was recorded: `channel-0.cast.sealed`"),
            "{how}: {said}"
        );
    }
    assert!(
        host.path("out/channel-1.cast").exists(),
        "what is left is still shown"
    );
    fs::write(&path, &whole).unwrap();
    host.runs(&[&CAT[..], &["--purpose", "complaint 17"]].concat());
    // Nor one whose manifest is gone, though its session has ended.
    fs::remove_file(path.with_file_name("manifest.json")).unwrap();
    let said = host.fails(&[&CAT[..], &["--purpose", "complaint 17"]].concat(), 1);
    assert!(said.contains("and the session has ended"), "{said}");
}

#[test]
fn a_recording_whose_session_never_came_to_be_is_traced_at_the_next_start() {
    let host = recorded();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(begin_and_leave(&host));
    drop(runtime);
    let said = says(&host, &VERIFY, 1);
    assert!(said.contains(LEFT), "{said}");
    host.write("b.toml", "state = 'state'\n[ssh]\nlisten = '127.0.0.1:0'\n");
    for _ in 0..2 {
        let mut serving = serve(&host);
        until("the recording is traced", || {
            host.event_names()
                .iter()
                .any(|name| name == "recording.orphaned")
        });
        until("it has started", || {
            host.event_names().last().unwrap() == "audit.exported"
                && host
                    .event_names()
                    .iter()
                    .any(|name| name == "service.started")
        });
        stop(&mut serving);
    }
    let names = host.event_names();
    let traced = names
        .iter()
        .filter(|name| *name == "recording.orphaned")
        .count();
    assert_eq!(traced, 1, "{names:?}");
    let said = says(&host, &VERIFY, 0);
    assert!(
        said.contains("its session was never opened, and the audit log says so"),
        "{said}"
    );
    // Its files are evidence as any others.
    let path = host
        .path("state/recordings")
        .join(LEFT)
        .join("journal.sealed");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    says(&host, &VERIFY, 1);
}

/// Begins to record a session that is never opened, as a bastion that is killed in between.
async fn begin_and_leave(host: &Host) {
    let url = format!("sqlite://{}", host.path("state/bastion.db").display());
    let store = Store::open(&url).await.unwrap();
    let id = access::SessionId::parse(SESSION).unwrap();
    let session = store.session(&id).await.unwrap().unwrap();
    let customer = store.customer(&session.customer).await.unwrap().unwrap();
    let to = RecipientKey::from_base64(&customer.recording_key).unwrap();
    let storage = Storage::open(host.path("state/recordings")).unwrap();
    let mut header = header(&session);
    header.session = recordings::SessionId::parse(LEFT).unwrap();
    let recorder = recordings::recorder::begin(&storage, header, &[to], Limits::default()).await;
    drop(recorder.unwrap());
    store.close().await;
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
    store.append(opened(&session)).await.unwrap();
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
        forwards: BTreeSet::new(),
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
        credentials: Credentials {
            key: "SHA256:of-the-key".to_owned(),
            factor: FactorId::parse("fa-bruno").unwrap(),
            proof: Proof::Totp,
            certificate: None,
            certified: None,
        },
        factor_reused: false,
        source: "192.0.2.7".parse().unwrap(),
        started_at: now,
        ends_at: end,
        state: SessionState::Live,
        version: 0,
    }
}

/// The entry that a permit's session begins with.
fn opened(session: &Session) -> Event {
    let by = Who::Operator(session.operator.clone());
    let subject = format!("session {}", session.id);
    Event::new("session.opened", by, subject, session.started_at)
        .of_customer(&session.customer)
        .in_intervention(&session.intervention)
        .in_session(&session.id)
        .with("target", &session.target)
        .with("account", &session.account)
        .with("grant", &session.grant)
        .with("motive", &session.motive)
        .with("source", session.source)
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
