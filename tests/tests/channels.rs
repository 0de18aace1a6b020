//! What passes beside bytes: a terminal's size and signals, and the end of a client. What is also
//! asked of a direct server is in `behaviours`, the bulk of it in `flow_control.rs`.

use e2e::{Bastion, Common, Options, Way, eventually, terminal, time};
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

#[test]
fn the_window_size_and_its_changes_reach_the_target() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").option("-tt").motive("window-size");
    let typed = terminal(
        &ssh.command(),
        r#"
resize(53, 17)
start("stty size; echo ready; read x; stty size; exit")
expect("17 53")
expect("ready")
resize(101, 29)
send("\n")
expect("29 101")
"#,
    );
    assert!(typed.status.success(), "{typed:?}");
    let journal = bastion.journal(&bastion.ended_session("window-size"));
    let resizes: Vec<_> = journal
        .iter()
        .filter(|line| line["event"] == "resize")
        .collect();
    let last = resizes.last().unwrap();
    assert_eq!((&last["cols"], &last["rows"]), (&101.into(), &29.into()));
}

#[test]
fn control_characters_at_the_terminal_are_signals_on_the_target() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").option("-tt");
    let typed = terminal(
        &ssh.command(),
        r#"
start("trap 'echo caught-$((20+3)); exit 6' INT; echo ready; while :; do sleep 0.1; done")
expect("ready")
send("\x03")
expect("caught-23")
exits(6)
"#,
    );
    assert!(typed.status.success(), "{typed:?}");
}

#[test]
fn more_time_is_asked_for_in_the_sessions_own_terminal_by_both_ways_in() {
    let bastion = bastion();
    for (way, motive) in [
        (Way::LoginName, "asks-by-name"),
        (Way::Jump, "asks-by-jump"),
    ] {
        let file = bastion.dir.path().join(motive);
        let ssh = bastion.ssh("bob").by(way).motive(motive).option("-tt");
        // What is typed before, within and after; `~~` is OpenSSH's own word for
        // one `~`, which reaches the target once nothing has followed it.
        let script = r#"
start("echo rea''dy; cat > 'FILE'; echo sa''ved")
expect("ready")
send("before\r")
expect("before\r\n")
send("~+")
expect("how many minutes? (Ctrl-C: none) [30] ")
send("soon\r")
expect("A number of minutes")
send("45\r")
expect("Why? The customer reads it: ")
send("the copy is slow\r")
expect("instead of")
expect("is asked for")
send("after ~+\r")
expect("after ~+\r\n")
send("~+")
expect("how many minutes")
send("\x03")
expect("nothing was asked for\r\n")
send("\r")
expect("\r\n")
send("~~")
expect("~")
send("+\r")
expect("+\r\n")
send("~/bin\r")
expect("~/bin\r\n")
send("\x04")
expect("saved")
exits(0)
"#;
        let typed = terminal(
            &ssh.command(),
            &script.replace("FILE", &file.to_string_lossy()),
        );
        assert!(typed.status.success(), "{way:?}: {typed:?}");
        let reached = std::fs::read_to_string(&file).unwrap();
        assert_eq!(reached, "before\nafter ~+\n\n~+\n~/bin\n", "{way:?}");

        let session = bastion.ended_session(motive);
        let journal = bastion.journal(&session);
        let noted = |line: &&serde_json::Value| line["code"] == "extension_asked";
        let notes: Vec<_> = journal.iter().filter(noted).collect();
        assert_eq!(notes.len(), 1, "{journal:?}");
        let cast = bastion.cast(&session, 0);
        assert!(
            cast.contains("the copy is slow"),
            "the dialogue is on the screen"
        );
        let waiting = refuse_what_waits(&bastion);
        let extends = waiting.extends.unwrap();
        assert_eq!(extends.reason, "the copy is slow");
        assert_eq!(waiting.author.as_str(), "bob");
        let more = waiting.text.window.end().since(extends.end);
        assert_eq!(more, Duration::from_mins(45));
    }
}

#[test]
fn without_a_terminal_every_byte_is_the_targets() {
    let bastion = bastion();
    let reached = bastion.ssh("bob").run_with_input(&["cat"], b"~+");
    assert_eq!(reached.ok(), "~+");
}

#[test]
fn a_client_that_is_killed_leaves_no_program_behind() {
    let bastion = bastion();
    let ssh = bastion.ssh("alice").motive("killed-client").option("-tt");
    let mut client = Running(ssh.spawn(&["echo $$; exec sleep 300"]));
    let mut pid = String::new();
    BufReader::new(client.0.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    let pid = pid.trim().to_owned();
    let alive = || std::path::Path::new("/proc").join(&pid).exists();
    assert!(alive());
    e2e::bastion::signal(client.0.id(), "KILL");
    eventually("the program ends", Duration::from_secs(15), || !alive());
    let _ = bastion.ended_session("killed-client");
}

/// A client that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The customer's contact says no, so that it may be asked again.
fn refuse_what_waits(bastion: &Bastion) -> access::Plan {
    bastion.rows(|store| async move {
        let open = store::InterventionFilter {
            limit: 9,
            ..store::InterventionFilter::default()
        };
        let found = store.interventions(open).await.unwrap();
        let one = found
            .into_iter()
            .find(|one| one.waiting_extension(time()).is_some());
        let one = one.expect("an extension that waits");
        let waiting = one.awaited().clone();
        let refused = e2e::decided(&store, one, refusal(), time()).await;
        store.save(refused).await.unwrap();
        waiting
    })
}

fn refusal() -> access::approval::Decision {
    access::approval::Decision::Refuse {
        reason: "not tonight".to_owned(),
    }
}
