//! The audit log and the register: everything is there, linked, and cannot be changed unseen; and
//! no secret is in any of it.

use e2e::bastion::TARGET;
use e2e::{Bastion, Common, Options, Ran, eventually};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(|| Options {
        operators: 6,
        ..Options::default()
    })
}

#[test]
fn a_session_names_right_intervention_motive_and_factors() {
    let bastion = bastion();
    let _ = bastion.ssh("alice").motive("ticket-4711").run("true").ok();
    let _ = bastion.ssh("alice").run("true").ok();
    let given = bastion.ended_session("ticket-4711");
    let number = bastion.ready.interventions[0]["number"].as_str().unwrap();
    let (intervention, grant) = bastion.rows(|store| {
        let (intervention, grant) = (given.intervention.clone(), given.grant.clone());
        async move {
            let intervention = store.intervention(&intervention).await.unwrap().unwrap();
            (intervention, store.grant(&grant).await.unwrap().unwrap())
        }
    });
    assert_eq!(given.intervention.as_str(), number);
    assert_eq!(grant.terms.operator.as_str(), "alice");
    assert!(grant.terms.scope.targets.contains(&given.target));
    let by_default = bastion.ended_session(&intervention.plan().text.purpose);
    assert_eq!(by_default.grant, given.grant);

    let entries = bastion.events("session.opened");
    let entry = entries
        .iter()
        .find(|entry| entry["session"] == given.id.as_str())
        .unwrap();
    assert_eq!(entry["intervention"], number);
    assert_eq!(entry["detail"]["grant"], given.grant.as_str());
    assert_eq!(entry["detail"]["motive"], "ticket-4711");
    assert_eq!(entry["detail"]["second_factor"], "totp");
    assert_eq!(entry["detail"]["second_factor_reused"], false);
    assert_eq!(entry["detail"]["source"], "127.0.0.1");
    assert_eq!(entry["detail"]["target"], TARGET);
    let started = &bastion.journal(&given)[0];
    assert_eq!(started["intervention"], number);
    assert_eq!(started["motive"], "ticket-4711");
    assert_eq!(started["factors"], serde_json::json!(["key", "totp"]));
}

#[test]
fn whatever_happens_is_an_entry() {
    let bastion = bastion();
    let wrong = bastion
        .ssh("bob")
        .from("127.0.2.1")
        .code("000000")
        .run("true");
    assert_eq!(wrong.status, Some(255));
    let user = format!("bob+{}+elsewhere", bastion.account);
    bastion
        .ssh_as("bob", &user)
        .run("true")
        .refused_with("target_unknown");
    let _ = bastion.ssh("bob").motive("an-entry").run("true").ok();
    let session = bastion.ended_session("an-entry");
    let _ = bastion.cast(&session, 0);
    let entries = bastion.entries();
    let of_bob = |name: &str| {
        let found = entries.iter().find(|entry| {
            entry["event"] == name
                && (entry["who"]["id"] == "bob" || entry["session"] == session.id.as_str())
        });
        found.unwrap_or_else(|| panic!("no {name} of bob")).clone()
    };
    assert_eq!(of_bob("login.refused")["detail"]["reason"], "wrong_code");
    assert_eq!(of_bob("login.succeeded")["detail"]["source"], "127.0.0.1");
    assert_eq!(
        of_bob("session.refused")["detail"]["codes"][0],
        "target_unknown"
    );
    for name in ["session.opened", "session.ended", "recording.opened"] {
        let _ = of_bob(name);
    }
    for name in [
        "service.started",
        "customer.registered",
        "grant.proposed",
        "intervention.submitted",
        "intervention.approved",
    ] {
        assert!(
            entries.iter().any(|entry| entry["event"] == name),
            "no {name}"
        );
    }
    let numbers: Vec<i64> = entries
        .iter()
        .map(|entry| entry["sequence"].as_i64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no number is missing"
    );
}

#[test]
fn the_log_verifies_and_one_changed_character_is_named() {
    let bastion = Bastion::start(Options::default());
    let _ = bastion.ssh("alice").run("true").ok();
    signed_to_the_end(&bastion);
    let key = bastion.state().join("keys/audit.pub");
    let database = copy_of(&bastion, "untouched");
    let _ = verify(&bastion, &database, &key).ok();

    let total = bastion.entries().len();
    for (sequence, change) in [
        (
            1,
            "UPDATE audit_entries SET text = replace(text, 'demo', 'dem0') WHERE sequence = ?",
        ),
        (
            3,
            "UPDATE audit_entries SET text = replace(text, '\"sequence\":3', '\"sequence\":4') WHERE sequence = ?",
        ),
        (
            total - 1,
            "UPDATE audit_entries SET text = substr(text, 1, length(text) - 2) || 'x}' WHERE sequence = ?",
        ),
        (total / 2, "DELETE FROM audit_entries WHERE sequence = ?"),
    ] {
        let database = copy_of(&bastion, &format!("changed-{sequence}"));
        let changed = change_rows(&database, change, sequence);
        assert_eq!(changed, 1, "{change}");
        let report = verify(&bastion, &database, &key);
        assert_eq!(report.status, Some(1), "{change} {report:?}");
        let said = format!("{}{}", report.stdout, report.stderr);
        assert!(
            said.contains(&sequence.to_string()),
            "entry {sequence} is not named: {said}"
        );
    }
}

#[test]
fn a_cut_tail_of_the_log_is_missed() {
    let bastion = Bastion::start(Options::default());
    let _ = bastion.ssh("alice").run("true").ok();
    signed_to_the_end(&bastion);
    let key = bastion.state().join("keys/audit.pub");
    let total = bastion.entries().len();
    let database = copy_of(&bastion, "cut");
    assert_eq!(
        change_rows(
            &database,
            "DELETE FROM audit_entries WHERE sequence = ?",
            total
        ),
        1
    );
    let report = verify(&bastion, &database, &key);
    assert_eq!(report.status, Some(1), "{report:?}");
}

/// Where the one who cuts knows the tables: head, hashes and checkpoints go with the entries. The
/// notes beside the database still tell.
#[test]
fn a_tail_that_is_cut_with_its_checkpoints_is_missed() {
    let mut bastion = Bastion::start(Options::default());
    let _ = bastion.ssh("alice").run("true").ok();
    signed_to_the_end(&bastion);
    let total = bastion.entries().len();
    let database = copy_of(&bastion, "cut-well");
    let script = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    db.execute(f"DROP TRIGGER {name}")
keep = int(sys.argv[2])
db.execute("DELETE FROM audit_entries WHERE sequence > ?", (keep,))
db.execute("DELETE FROM audit_checkpoints WHERE size > ?", (keep,))
db.execute("UPDATE audit_head SET size = ?", (keep,))
db.commit()
"#;
    python(
        script,
        &[database.to_str().unwrap(), &(total / 2).to_string()],
    );
    bastion.stop();
    let live = bastion.state().join("bastion.db");
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(live.with_file_name(format!("bastion.db{suffix}"))).ok();
    }
    fs::copy(&database, &live).unwrap();
    let report = bastion.admin(&["audit", "verify"]);
    assert_eq!(report.status, Some(1), "{report:?}");
}

#[test]
fn an_export_verifies_without_the_database() {
    let bastion = Bastion::start(Options::default());
    let _ = bastion.ssh("alice").run("true").ok();
    signed_to_the_end(&bastion);
    let export = bastion.dir.path().join("export.jsonl");
    let text = bastion.admin(&["audit", "export"]).ok();
    let key = bastion.dir.path().join("the-published-key");
    fs::copy(bastion.state().join("keys/audit.pub"), &key).unwrap();
    let verify = |text: &str| {
        fs::write(&export, text).unwrap();
        let words = [
            "audit",
            "verify",
            "--export",
            export.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        Ran::from(bastion.command(&words))
    };
    let _ = verify(&text).ok();
    let lines: Vec<&str> = text.lines().collect();
    // An entry: of several checkpoints the newest proves what the others did.
    let entries: Vec<usize> = (0..lines.len())
        .filter(|line| lines[*line].contains("\"entry\""))
        .collect();
    let mut without_one = lines.clone();
    without_one.remove(entries[entries.len() / 2]);
    let mut swapped = lines.clone();
    swapped.swap(entries[1], entries[2]);
    // The last entry that is signed is gone, and its signature is not.
    let signed = lines
        .iter()
        .rposition(|line| line.contains("\"checkpoint\""))
        .unwrap();
    let mut cut = lines[..=signed].to_vec();
    cut.remove(signed - 1);
    for (what, changed) in [
        ("a changed word", text.replacen("alice", "mallory", 1)),
        ("a missing line", without_one.join("\n")),
        ("two lines swapped", swapped.join("\n")),
        ("a cut tail", cut.join("\n")),
    ] {
        let report = verify(&format!("{}\n", changed.trim_end()));
        assert_eq!(report.status, Some(1), "{what}: {report:?}");
    }
    // Somebody else's key does not do.
    let other = Bastion::start(Options::default());
    fs::copy(other.state().join("keys/audit.pub"), &key).unwrap();
    assert_eq!(verify(&text).status, Some(1));
}

#[test]
fn the_log_takes_no_change_through_the_database_itself() {
    let bastion = bastion();
    let database = copy_of(&bastion, "guarded");
    for change in [
        "UPDATE audit_entries SET text = 'x'",
        "DELETE FROM audit_entries",
    ] {
        let script = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute(sys.argv[2])";
        let refused = Command::new("python3")
            .args(["-c", script])
            .arg(&database)
            .arg(change)
            .output()
            .unwrap();
        assert!(!refused.status.success(), "{change}");
    }
}

#[test]
fn no_secret_is_in_the_database_the_log_or_the_recordings() {
    let bastion = Bastion::start(Options {
        environment: vec![("BASTION_LOG".to_owned(), "debug".to_owned())],
        ..Options::default()
    });
    let code = bastion.fresh_code("alice");
    let wrong = "999123";
    let _ = bastion
        .ssh("alice")
        .code(&code)
        .motive("canaries")
        .run("echo done")
        .ok();
    let _ = bastion.ssh("bob").from("127.0.9.9").code(wrong).run("true");
    let _ = bastion.journal(&bastion.ended_session("canaries"));
    signed_to_the_end(&bastion);

    let operator = bastion.operator("alice");
    let secret = access::totp::from_base32(&operator.totp).unwrap();
    let private = fs::read_to_string(&operator.key).unwrap();
    let body: String = private
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let mut canaries: Vec<(&str, Vec<u8>)> = vec![
        ("the code", format!("\"{code}\"").into_bytes()),
        ("a wrong code", format!("\"{wrong}\"").into_bytes()),
        ("the code secret", operator.totp.clone().into_bytes()),
        ("the code secret's bytes", secret),
        (
            "the operator's private key",
            body.as_bytes()[100..140].to_vec(),
        ),
    ];
    for key in fs::read_dir(bastion.state().join("keys")).unwrap() {
        let path = key.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let inner: String = text
            .lines()
            .filter(|line| !line.starts_with("---"))
            .collect();
        let piece = inner.as_bytes();
        let from = piece.len().saturating_sub(60);
        canaries.push((
            "a key of the bastion",
            piece[from..from + 30.min(piece.len() - from)].to_vec(),
        ));
    }
    let keys = bastion.state().join("keys");
    let people = bastion.state().join("people");
    let mut places = files_under(bastion.state());
    places.retain(|path| !path.starts_with(&keys) && !path.starts_with(&people));
    places.push(bastion.dir.path().join("bastion.log"));
    places.push(bastion.sshd.log.clone());
    let mut looked_at = 0;
    for place in places {
        let bytes = fs::read(&place).unwrap();
        looked_at += bytes.len();
        for (what, canary) in &canaries {
            let found = bytes
                .windows(canary.len())
                .any(|part| part == canary.as_slice());
            assert!(!found, "{what} is in {}", place.display());
        }
    }
    assert!(looked_at > 50_000, "{looked_at} bytes were looked at");
    let export = bastion.admin(&["audit", "export"]).ok();
    for (what, canary) in &canaries {
        let found = export
            .as_bytes()
            .windows(canary.len())
            .any(|part| part == canary.as_slice());
        assert!(!found, "{what} is in the audit log");
    }
}

/// Waits until a checkpoint covers every entry.
fn signed_to_the_end(bastion: &Bastion) {
    eventually(
        "a checkpoint over everything",
        Duration::from_secs(25),
        || {
            bastion.rows(|store| async move {
                let newest = store.checkpoints(1).await.unwrap();
                let signed = newest.first().map(|checkpoint| checkpoint.size);
                signed == Some(store.head().await.unwrap())
            })
        },
    );
}

/// The database as it is now, in a file of its own.
fn copy_of(bastion: &Bastion, name: &str) -> PathBuf {
    let copy = bastion.dir.path().join(format!("{name}.db"));
    let script =
        "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    let database = bastion.ready.database.trim_start_matches("sqlite://");
    python(script, &[database, copy.to_str().unwrap()]);
    copy
}

/// Changes rows as somebody does who has the file and knows how; how many.
fn change_rows(database: &Path, change: &str, sequence: usize) -> usize {
    let script = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    db.execute(f"DROP TRIGGER {name}")
before = db.execute("SELECT group_concat(text) FROM audit_entries").fetchall()
print(db.execute(sys.argv[2], (int(sys.argv[3]),)).rowcount)
assert db.execute("SELECT group_concat(text) FROM audit_entries").fetchall() != before
db.commit()
"#;
    let database = database.to_str().unwrap();
    python(script, &[database, change, &sequence.to_string()])
        .trim()
        .parse()
        .unwrap()
}

fn python(script: &str, arguments: &[&str]) -> String {
    let ran = Command::new("python3")
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).unwrap()
}

fn verify(bastion: &Bastion, database: &Path, key: &Path) -> Ran {
    let url = format!("sqlite://{}", database.display());
    Ran::from(bastion.command(&[
        "audit",
        "verify",
        "--database",
        &url,
        "--key",
        key.to_str().unwrap(),
    ]))
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}
