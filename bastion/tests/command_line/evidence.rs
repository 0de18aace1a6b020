//! The audit log at the command line: what proves nothing is not called whole, what only reads
//! writes nothing, and nothing is signed on another log.

use crate::host::{EXAMPLE, Host, text};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STATE: [&str; 4] = ["audit", "verify", "--state", "state"];

#[test]
fn an_export_that_proves_nothing_does_not_verify() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    let log = host.runs(&["audit", "export", "--state", "state"]);
    let lines: Vec<&str> = log.lines().collect();
    let bare: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with("{\"entry\""))
        .collect();
    let first_signed = lines
        .iter()
        .position(|line| line.contains("\"checkpoint\""));
    let changed = bare.join("\n").replacen("Leroy", "Leroi", 1);
    for (what, text) in [
        ("without checkpoints, and changed", changed),
        ("the first lines", lines[..first_signed.unwrap()].join("\n")),
        ("nothing", String::new()),
    ] {
        let said = verify_export(&host, &text, &[], 1);
        assert!(said.contains("nothing is proven"), "{what}: {said}");
        assert!(said.contains("the log does not hold"), "{what}: {said}");
    }
    let said = verify_export(&host, &log, &[], 0);
    assert!(
        said.contains("note    no checkpoints that were kept elsewhere"),
        "{said}"
    );
    // A tail that ends with a checkpoint shows only beside checkpoints that were kept elsewhere.
    let cut = lines[..=first_signed.unwrap()].join("\n");
    verify_export(&host, &cut, &[], 0);
    let kept = ["--checkpoints", "state/checkpoints.log"];
    let said = verify_export(&host, &cut, &kept, 1);
    assert!(said.contains("it was cut or rewritten"), "{said}");
    let said = verify_export(&host, &log, &kept, 0);
    assert!(said.starts_with("ok") && !said.contains("note"), "{said}");
    let missing = verify_export_fails(&host, &log, &["--checkpoints", "nowhere.log"]);
    assert!(missing.contains("cannot read `nowhere.log`"), "{missing}");
}

#[test]
fn verifying_creates_and_changes_nothing() {
    let host = Host::ready();
    fs::create_dir(host.path("copy")).unwrap();
    fs::copy(host.path("state/bastion.db"), host.path("copy/bastion.db")).unwrap();
    let database = format!("sqlite://{}", host.path("copy/bastion.db").display());
    let words = |database: &str| {
        let words = [
            "audit",
            "verify",
            "--key",
            "state/keys/audit.pub",
            "--database",
        ];
        words
            .map(str::to_owned)
            .into_iter()
            .chain([database.to_owned()])
            .collect::<Vec<_>>()
    };
    let run = |database: &str| {
        let words = words(database);
        host.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let before = fs::read(host.path("copy/bastion.db")).unwrap();
    let ran = run(&database);
    assert_eq!(
        ran.status.code(),
        Some(0),
        "{}{}",
        text(&ran.stdout),
        text(&ran.stderr)
    );
    assert!(text(&ran.stdout).contains("note    no checkpoints"));
    assert_eq!(fs::read_dir(host.path("copy")).unwrap().count(), 1);
    assert_eq!(fs::read(host.path("copy/bastion.db")).unwrap(), before);

    let nothing = format!("sqlite://{}", host.path("copy/nothing.db").display());
    let ran = run(&nothing);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        text(&ran.stderr).contains("there is no database"),
        "{}",
        text(&ran.stderr)
    );
    assert!(!host.path("copy/nothing.db").exists());
    let ran = run("sqlite:copy/bastion.db");
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        text(&ran.stderr).contains("starts with `sqlite://`"),
        "{}",
        text(&ran.stderr)
    );
    host.write("copy/empty.db", "");
    let ran = run(&format!(
        "sqlite://{}",
        host.path("copy/empty.db").display()
    ));
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        text(&ran.stderr).contains("none of the bastion's tables"),
        "{}",
        text(&ran.stderr)
    );
    assert_eq!(fs::read(host.path("copy/empty.db")).unwrap(), b"");
}

#[test]
fn a_database_that_was_cut_to_an_earlier_checkpoint_does_not_verify_beside_the_notes() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    host.python(
        "import sqlite3\n\
         db = sqlite3.connect('state/bastion.db')\n\
         for (name,) in list(db.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\")):\n\
         \x20   db.execute(f'DROP TRIGGER {name}')\n\
         keep = db.execute('SELECT min(size) FROM audit_checkpoints').fetchone()[0]\n\
         db.execute('DELETE FROM audit_entries WHERE sequence > ?', (keep,))\n\
         db.execute('DELETE FROM audit_checkpoints WHERE size > ?', (keep,))\n\
         db.execute('UPDATE audit_head SET size = ?', (keep,))\n\
         db.commit()\n",
    );
    let said = says(&host, &STATE, 1);
    assert!(said.contains("it was cut or rewritten"), "{said}");
    // The rows whose entries are gone tell too, where there are no notes.
    fs::remove_file(host.path("state/checkpoints.log")).unwrap();
    let said = says(&host, &STATE, 1);
    assert!(
        said.contains("row `chu-exemple` of `customers` is not what was written"),
        "{said}"
    );
    assert!(said.contains("checkpoints.log` is missing"), "{said}");
}

#[test]
fn a_torn_last_note_is_passed_over_and_the_next_is_whole() {
    let host = Host::ready();
    let notes = host.path("state/checkpoints.log");
    let whole = fs::read_to_string(&notes).unwrap();
    fs::write(&notes, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
    let said = says(&host, &STATE, 0);
    assert!(said.contains("note 2 was not written to its end"), "{said}");
    host.apply(EXAMPLE, &[]);
    let said = says(&host, &STATE, 0);
    assert!(said.starts_with("ok"), "{said}");
    let notes = fs::read_to_string(&notes).unwrap();
    let name = whole.lines().next().unwrap();
    assert_eq!(
        notes.lines().filter(|line| *line == name).count(),
        3,
        "{notes}"
    );
    // One that was changed is no torn one.
    host.write("state/checkpoints.log", &notes.replacen("\n— ", "\n— x", 1));
    let said = says(&host, &STATE, 1);
    assert!(said.contains("note 1 does not verify"), "{said}");
}

#[test]
fn nothing_is_signed_on_a_database_that_is_not_the_one_that_was_signed() {
    let host = Host::ready();
    let notes = fs::read(host.path("state/checkpoints.log")).unwrap();
    let other = Host::ready();
    other.apply(EXAMPLE, &[]);
    fs::copy(
        other.path("state/bastion.db"),
        host.path("state/bastion.db"),
    )
    .unwrap();
    let output = host.run(&["invite", "alice", "--state", "state"]);
    let said = text(&output.stderr);
    assert!(said.contains("does not continue the log"), "{said}");
    assert_eq!(fs::read(host.path("state/checkpoints.log")).unwrap(), notes);
    let serve = host.fails(&["serve", "ssh", "--state", "state"], 1);
    assert!(serve.contains("does not continue the log"), "{serve}");
    assert_eq!(fs::read(host.path("state/checkpoints.log")).unwrap(), notes);
}

#[test]
fn the_database_lies_where_the_configuration_says_wherever_the_command_is_started() {
    let host = Host::new();
    fs::create_dir(host.path("etc")).unwrap();
    host.write(
        "etc/bastion.toml",
        "state = 'st2'\ndatabase = 'sqlite://st2/b.db'\n[ssh]\nlisten = '127.0.0.1:0'\n",
    );
    fs::create_dir(host.path("st2")).unwrap();
    let serve = host.fails(&["serve", "ssh", "--config", "etc/bastion.toml"], 1);
    assert!(
        serve.contains("there is no database `etc/st2/b.db`"),
        "{serve}"
    );
    let init = Host::init_words();
    let words = [&["init", "--config", "etc/bastion.toml"], &init[3..]].concat();
    host.runs(&words);
    assert!(host.path("etc/st2/b.db").exists());
    assert_eq!(fs::read_dir(host.path("st2")).unwrap().count(), 0);
    says(
        &host,
        &["audit", "verify", "--config", "etc/bastion.toml"],
        0,
    );
}

#[test]
fn a_running_bastion_verifies_and_a_stopped_one_is_signed_to_its_end() {
    let host = Host::ready();
    host.write("b.toml", "state = 'state'\n[ssh]\nlisten = '127.0.0.1:0'\n");
    let mut serving = serve(&host);
    until("it has started", || {
        let said = host.run(&STATE);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said.stdout));
        host.event_names()
            .iter()
            .any(|name| name == "service.started")
    });
    stop(&mut serving);
    let said = says(&host, &STATE, 0);
    let entries = said
        .split_whitespace()
        .find_map(|word| word.parse::<i64>().ok());
    assert!(
        said.contains(&format!("signed up to entry {}\n", entries.unwrap())),
        "{said}"
    );
}

/// `serve ssh` with the configuration `b.toml`.
pub(crate) fn serve(host: &Host) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bastion"))
        .args(["serve", "ssh", "--config", "b.toml"])
        .current_dir(host.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// SIGTERM, and waits for the clean end.
pub(crate) fn stop(serving: &mut Child) {
    let id = serving.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    assert!(serving.wait().unwrap().success());
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test waits for another process"
    )]
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: not yet");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a command says where it ends with `code`.
pub(crate) fn says(host: &Host, words: &[&str], code: i32) -> String {
    let output = host.run(words);
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}{error}");
    said
}

fn verify_export(host: &Host, log: &str, more: &[&str], code: i32) -> String {
    write_log(host, log);
    says(host, &export_words(more), code)
}

fn verify_export_fails(host: &Host, log: &str, more: &[&str]) -> String {
    write_log(host, log);
    host.fails(&export_words(more), 1)
}

fn write_log(host: &Host, log: &str) {
    let end = if log.is_empty() { "" } else { "\n" };
    host.write("log.jsonl", &format!("{}{end}", log.trim_end()));
}

fn export_words<'w>(more: &[&'w str]) -> Vec<&'w str> {
    let words = [
        "audit",
        "verify",
        "--export",
        "log.jsonl",
        "--key",
        "state/keys/audit.pub",
    ];
    [&words[..], more].concat()
}
