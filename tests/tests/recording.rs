//! What is kept of a session: whole, in order, readable by the public tools, and never without
//! showing that it was changed. No recording, no session.

use access::Session;
use access::session::SessionState;
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, eventually, now};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

#[test]
fn the_journal_has_every_request_and_its_answer_in_order() {
    let bastion = bastion();
    let ssh = bastion
        .ssh("alice")
        .option("-tt")
        .option("-oSetEnv=BASTION_MOTIVE=journal LANG=C");
    let mut command = ssh.command();
    command.env("TERM", "vt100").arg("echo shown; exit 7");
    assert_eq!(run(command, b"", Duration::from_secs(20)).status, Some(7));
    let journal = bastion.journal(&bastion.ended_session("journal"));
    let told: Vec<String> = journal.iter().map(told).collect();
    let expected = [
        "session_started",
        "channel_opened",
        "request env BASTION_MOTIVE=journal success",
        "request env LANG=C success",
        "request pty-req vt100 success",
        "request exec echo shown; exit 7 success",
        "exit 7",
        "channel_closed",
        "session_ended",
    ];
    let kept: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|line| *line != "eof" && *line != "resize")
        .collect();
    assert_eq!(kept, expected);
    let times: Vec<i64> = journal
        .iter()
        .map(|line| line["at"].as_i64().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_command_and_a_terminal_are_shown_as_they_were_and_the_public_player_takes_them() {
    let bastion = bastion();
    let printed = "accents: é ü, colour: \u{1b}[31mred\u{1b}[0m, wide: 漢字";
    let program = format!("printf '%s\\n' '{printed}'; printf 'bad \\377 byte\\n'; echo err >&2");
    let _ = bastion.ssh("bob").motive("a-cast").run(&program).ok();
    let _ = bastion
        .ssh("bob")
        .motive("a-terminal")
        .option("-tt")
        .run(&program)
        .ok();
    for motive in ["a-cast", "a-terminal"] {
        let session = bastion.ended_session(motive);
        let exported = bastion.exported(&session);
        let cast = exported.file("channel-0.cast");
        let text = fs::read_to_string(&cast).unwrap();
        let shown = output_of(&text);
        assert!(shown.contains(printed), "{motive}: {shown:?}");
        assert!(shown.contains("bad \u{fffd} byte"), "{motive}: {shown:?}");
        assert!(shown.contains("err"), "{motive}: {shown:?}");
        assert_eq!(fs::metadata(&cast).unwrap().permissions().mode() & 0o077, 0);
        let played = played(&cast);
        assert!(played.contains("wide: 漢字"), "{motive}: {played:?}");
        verified(&bastion, &session);
    }
}

#[test]
fn a_password_typed_without_echo_is_nowhere_in_the_recording() {
    let bastion = bastion();
    let secret = "correct-horse-battery-staple";
    let ssh = bastion.ssh("alice").motive("a-password").option("-tt");
    let mut client = ssh
        .spawn(&["stty -echo; echo ready; read x; stty echo; echo length-${#x}; read y; echo $y"]);
    let mut input = client.stdin.take().unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    wait_for(&mut output, "ready");
    input.write_all(format!("{secret}\n").as_bytes()).unwrap();
    wait_for(&mut output, &format!("length-{}", secret.len()));
    input.write_all(b"seen-by-all\n").unwrap();
    wait_for(&mut output, "seen-by-all");
    drop(input);
    client.wait().unwrap();
    let session = bastion.ended_session("a-password");
    let exported = bastion.exported(&session);
    let cast = fs::read_to_string(exported.file("channel-0.cast")).unwrap();
    let journal = fs::read_to_string(exported.file("journal.jsonl")).unwrap();
    assert!(
        cast.contains("seen-by-all"),
        "what the terminal showed is there"
    );
    for (name, text) in [
        ("cast", &cast),
        ("journal", &journal),
        ("log", &bastion.log()),
    ] {
        assert!(!text.contains(secret), "the {name} has the password");
    }
}

#[test]
fn a_recording_is_unreadable_without_its_key() {
    let bastion = bastion();
    let _ = bastion
        .ssh("bob")
        .motive("sealed")
        .run("echo plain-canary-5151")
        .ok();
    let session = bastion.ended_session("sealed");
    assert!(bastion.cast(&session, 0).contains("plain-canary-5151"));
    for file in files_of(&bastion, &session) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(17).any(|part| part == b"plain-canary-5151");
        assert!(!found, "{}", file.display());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn any_changed_byte_of_any_file_is_named() {
    let bastion = bastion();
    let shared = e2e::Shared::open(&bastion.ssh("alice").motive("changed"), bastion.dir.path());
    let _ = shared.run("seq 1 2000").ok();
    let _ = shared.run("echo second").ok();
    drop(shared);
    let session = bastion.ended_session("changed");
    let files = files_of(&bastion, &session);
    assert_eq!(files.len(), 4, "journal, two casts, manifest: {files:?}");
    verified(&bastion, &session);
    for file in &files {
        let whole = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let length = whole.len();
        for position in [
            0,
            1,
            length / 5,
            length / 3,
            length / 2,
            length * 4 / 5,
            length - 2,
            length - 1,
        ] {
            let mut changed = whole.clone();
            changed[position] ^= 0x01;
            fs::write(file, &changed).unwrap();
            not_verified(&bastion, &session, name);
        }
        for cut in [0, 1, length / 2, length - 1] {
            fs::write(file, &whole[..cut]).unwrap();
            not_verified(&bastion, &session, name);
        }
        fs::write(file, [whole.as_slice(), b"\0"].concat()).unwrap();
        not_verified(&bastion, &session, name);
        fs::remove_file(file).unwrap();
        not_verified(&bastion, &session, name);
        fs::write(file, &whole).unwrap();
        verified(&bastion, &session);
    }
}

#[test]
fn a_recording_that_is_gone_is_missed() {
    let bastion = Bastion::start(Options::logged_in_already());
    for motive in ["kept", "taken-away", "swapped"] {
        let _ = bastion
            .ssh("alice")
            .motive(motive)
            .run("echo something")
            .ok();
    }
    let (kept, gone) = (
        bastion.ended_session("kept"),
        bastion.ended_session("taken-away"),
    );
    let swapped = bastion.ended_session("swapped");
    let all = || bastion.admin(&["recording", "verify"]);
    let _ = all().ok();
    let folder = |session: &Session| bastion.ready.recordings.join(session.id.as_str());
    fs::rename(folder(&gone), bastion.dir.path().join("elsewhere")).unwrap();
    let missed = all();
    assert_eq!(missed.status, Some(1), "{missed:?}");
    assert!(missed.stdout.contains(gone.id.as_str()), "{missed:?}");
    assert!(missed.stdout.contains("FAILED"), "{missed:?}");
    // Another recording in its place does not do.
    fs::create_dir(folder(&gone)).unwrap();
    for file in fs::read_dir(folder(&kept)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder(&gone).join(file.file_name())).unwrap();
    }
    assert_eq!(all().status, Some(1));
    fs::remove_dir_all(folder(&gone)).unwrap();
    fs::rename(bastion.dir.path().join("elsewhere"), folder(&gone)).unwrap();
    let _ = all().ok();
    // Nor do two that have changed places.
    fs::rename(folder(&swapped), bastion.dir.path().join("third")).unwrap();
    fs::rename(folder(&kept), folder(&swapped)).unwrap();
    fs::rename(bastion.dir.path().join("third"), folder(&kept)).unwrap();
    assert_eq!(all().status, Some(1));
}

#[test]
fn a_killed_bastion_loses_at_most_the_last_second() {
    let mut bastion = Bastion::start(Options::logged_in_already());
    let ssh = bastion.ssh("alice").motive("killed");
    let mut client = ssh.spawn(&["i=0; while :; do echo mark-$i; i=$((i+1)); sleep 0.1; done"]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    wait_for(&mut output, "mark-30");
    bastion.kill();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    client.wait().unwrap();
    let seen = rest.lines().filter_map(number_of).max().unwrap_or(30);
    bastion.restart();
    let session = bastion.ended_session("killed");
    assert!(
        matches!(session.state, SessionState::Interrupted { .. }),
        "{session:?}"
    );
    assert!(bastion.events("session.interrupted").len() == 1);
    verified(&bastion, &session);
    let exported = bastion.exported(&session);
    let cast = exported.file("channel-0.cast");
    let text = fs::read_to_string(&cast).unwrap();
    assert!(text.ends_with('\n'), "cut at a whole line");
    for line in text.lines() {
        let _: Value = serde_json::from_str(line).unwrap();
    }
    let shown = output_of(&text);
    let marks: Vec<u32> = shown.lines().filter_map(number_of).collect();
    assert_eq!(
        marks,
        (0..u32::try_from(marks.len()).unwrap()).collect::<Vec<_>>(),
        "none is missing"
    );
    let last = *marks.last().unwrap();
    assert!(last + 13 >= seen, "the operator saw {seen}, kept is {last}");
    assert!(played(&cast).contains(&format!("mark-{last}")));
    // It goes on being evidence: its end cannot be cut further.
    let file = bastion
        .ready
        .recordings
        .join(session.id.as_str())
        .join("channel-0.cast.sealed");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    not_verified(&bastion, &session, "channel-0.cast.sealed");
}

#[test]
fn without_a_place_to_record_nothing_is_opened_and_what_runs_ends() {
    if e2e::sshd::current_user() != "root" {
        println!("skipped: a full disk is made by mounting one, which needs root");
        return;
    }
    let bastion = Bastion::start(Options::logged_in_already());
    let disk = Disk::mount(&bastion.ready.recordings);
    let ssh = bastion.ssh("alice").motive("disk-fills");
    let mut client = ssh.spawn(&["echo $$; while seq 1 200; do sleep 0.05; done"]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut program = String::new();
    output.read_line(&mut program).unwrap();
    let program = PathBuf::from(format!("/proc/{}", program.trim()));
    assert!(program.exists());
    wait_for(&mut output, "200");
    let reader = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    disk.fill();
    let started = now();
    let ended = Ran::from(client.wait_with_output().unwrap());
    reader.join().unwrap().unwrap();
    assert!(
        ended.stderr.contains("can no longer be recorded"),
        "{ended:?}"
    );
    assert_eq!(ended.status, Some(255), "{ended:?}");
    eventually(
        "the program on the target ends",
        Duration::from_secs(10),
        || !program.exists(),
    );
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
    eventually(
        "the failure is in the audit log",
        Duration::from_secs(10),
        || !bastion.events("recording.failed").is_empty(),
    );

    let before = bastion.sshd.accepted().len();
    let refused = bastion
        .ssh("bob")
        .motive("disk-full")
        .run("echo not recorded");
    refused.refused_with("recording_unavailable");
    assert_eq!(refused.stdout, "");
    assert_eq!(
        bastion.sshd.accepted().len(),
        before,
        "the target was not reached"
    );
    assert!(bastion.find_session("disk-full").is_none());

    disk.empty();
    let _ = bastion
        .ssh("bob")
        .motive("disk-again")
        .run("echo recorded")
        .ok();
    verified(&bastion, &bastion.ended_session("disk-again"));
    // What could not be sealed is closed now that it can be, by the bastion that runs.
    let mut left = None;
    eventually(
        "the session is closed as interrupted",
        Duration::from_secs(90),
        || {
            left = bastion.find_session("disk-fills");
            left.as_ref()
                .is_some_and(|session| session.state != SessionState::Live)
        },
    );
    let left = left.unwrap();
    assert!(
        matches!(left.state, SessionState::Interrupted { .. }),
        "{left:?}"
    );
    verified(&bastion, &left);
}

#[test]
fn a_session_that_the_database_refused_leaves_a_recording_that_the_log_explains() {
    let bastion = Bastion::start(Options::logged_in_already());
    let around = |text: &str| {
        let script = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute(sys.argv[2])";
        let database = bastion.ready.database.trim_start_matches("sqlite://");
        let ran = Command::new("python3")
            .args(["-c", script, database, text])
            .status();
        assert!(ran.unwrap().success(), "{text}");
    };
    around(
        "CREATE TRIGGER broken BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'disk'); END",
    );
    let refused = bastion
        .ssh("alice")
        .motive("not-opened")
        .run("echo not opened");
    assert_eq!(refused.stdout, "", "{refused:?}");
    assert!(refused.stderr.contains("nothing was opened"), "{refused:?}");
    assert!(bastion.sshd.accepted().is_empty());
    eventually("the log explains it", Duration::from_secs(20), || {
        bastion.events("recording.orphaned").len() == 1
    });
    around("DROP TRIGGER broken");
    assert!(bastion.find_session("not-opened").is_none());
    let _ = bastion.ssh("alice").motive("opened").run("true").ok();
    let _ = bastion.ended_session("opened");
    let verified = bastion.admin(&["recording", "verify"]).ok();
    assert!(verified.contains("2 recordings, 0 failed"), "{verified}");
}

#[test]
fn a_directory_that_cannot_be_written_opens_nothing() {
    let bastion = Bastion::start(Options::logged_in_already());
    let directory = bastion.ready.recordings.clone();
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file stands in its place").unwrap();
    let refused = bastion
        .ssh("alice")
        .motive("no-directory")
        .run("echo not recorded");
    refused.refused_with("recording_unavailable");
    assert_eq!(refused.stdout, "");
    assert!(bastion.sshd.accepted().is_empty());
    let refusals = bastion.events("session.refused");
    assert_eq!(
        refusals.last().unwrap()["detail"]["codes"][0],
        "recording_unavailable"
    );
}

#[test]
fn reading_a_recording_needs_a_purpose_and_is_traced_before() {
    let bastion = bastion();
    let _ = bastion.ssh("bob").motive("read").run("echo read me").ok();
    let session = bastion.ended_session("read");
    let mine = || {
        let opened = bastion.events("recording.opened");
        let mine = opened
            .into_iter()
            .filter(|entry| entry["session"] == session.id.as_str());
        mine.collect::<Vec<_>>()
    };
    let id = session.id.as_str();
    let without = bastion.admin(&["recording", "cat", id]);
    assert_eq!(without.status, Some(2), "{without:?}");
    let empty = bastion.admin(&["recording", "cat", id, "--purpose", " "]);
    assert_eq!(empty.status, Some(1), "{empty:?}");
    assert!(mine().is_empty());
    assert!(!without.stdout.contains("read me") && !empty.stdout.contains("read me"));
    let read = bastion.admin(&["recording", "cat", id, "--purpose", "a complaint"]);
    assert!(read.ok().contains("read me"));
    let opened = mine();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0]["detail"]["purpose"], "a complaint");
    assert_eq!(opened[0]["who"]["kind"], "command_line");
}

/// A journal line in a few words.
fn told(line: &Value) -> String {
    let event = line["event"].as_str().unwrap();
    let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    match event {
        "request" => format!(
            "request {} {} {}",
            word("request"),
            word("detail"),
            word("answer")
        ),
        "exit" => format!("exit {}", line["status"]),
        other => other.to_owned(),
    }
}

fn wait_for(output: &mut impl std::io::BufRead, text: &str) {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "no {text:?} came");
        if line.contains(text) {
            return;
        }
    }
}

fn number_of(line: &str) -> Option<u32> {
    line.trim().strip_prefix("mark-")?.parse().ok()
}

/// What a cast shows, without times.
fn output_of(cast: &str) -> String {
    let events = cast
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event[1] == "o")
        .map(|event| event[2].as_str().unwrap().to_owned())
        .collect()
}

/// What the public player shows of it.
fn played(cast: &Path) -> String {
    let shown = Command::new("timeout")
        .args(["30", "script", "-qec"])
        .arg(format!("asciinema cat {}", cast.display()))
        .arg("/dev/null")
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{text}");
    text
}

fn files_of(bastion: &Bastion, session: &Session) -> Vec<PathBuf> {
    let folder = bastion.ready.recordings.join(session.id.as_str());
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn verified(bastion: &Bastion, session: &Session) {
    let _ = bastion
        .admin(&["recording", "verify", session.id.as_str()])
        .ok();
}

fn not_verified(bastion: &Bastion, session: &Session, file: &str) {
    let ran = bastion.admin(&["recording", "verify", session.id.as_str()]);
    assert_eq!(ran.status, Some(1), "{file}: {ran:?}");
    let failed = ran
        .stdout
        .lines()
        .any(|line| line.contains("FAILED") && line.contains(file));
    assert!(failed, "{file} is not named: {ran:?}");
}

/// A small disk of its own, gone when dropped.
struct Disk {
    mounted: PathBuf,
}

impl Disk {
    fn mount(at: &Path) -> Self {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "bastion-test"])
            .arg(at)
            .status()
            .unwrap();
        assert!(done.success(), "mount");
        Self {
            mounted: at.to_owned(),
        }
    }

    fn fill(&self) {
        let file = fs::File::create(self.mounted.join(".ballast")).unwrap();
        let piece = [0; 4096];
        while (&file).write(&piece).is_ok_and(|written| written > 0) {}
    }

    fn empty(&self) {
        fs::remove_file(self.mounted.join(".ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.mounted).status();
        assert!(done.is_ok_and(|status| status.success()), "umount");
    }
}
