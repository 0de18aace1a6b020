//! How an operator gets in, and what he reads when he does not.

use access::session::SessionState;
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::sshd::new_key;
use e2e::{Bastion, Common, Options, eventually, now};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

static BASTION: Common = Common::new();

/// Each test has operators of its own: their codes are not used up by another.
fn bastion() -> Arc<Bastion> {
    BASTION.bastion(|| Options {
        operators: 10,
        ..Options::default()
    })
}

#[test]
fn a_key_alone_is_refused_and_nothing_reaches_the_target() {
    let bastion = Bastion::start(Options::default());
    let ran = bastion.ssh("alice").without_second_factor().run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(bastion.sshd.accepted().is_empty());
    assert!(bastion.sessions("alice").is_empty());
    assert!(bastion.events("login.succeeded").is_empty());
    assert!(bastion.events("session.opened").is_empty());
}

/// By ssh-audit, which those who test a bastion from outside begin with.
#[test]
fn an_audit_of_the_algorithms_finds_none_that_fails() {
    // Of its own: who audits has used up what his address may do.
    let bastion = Bastion::start(Options::default());
    let found = Audit::of(&bastion.ready.ssh);
    assert_eq!(found.notes("fail"), [] as [&str; 0], "{}", found.0);
    // No key exchange that is weaker than curve25519, and those beside it are the whole of them.
    assert_eq!(
        found.algorithms("kex"),
        [
            "mlkem768x25519-sha256",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "ext-info-s",
            "kex-strict-s-v00@openssh.com"
        ]
    );
    let post_quantum = "does not provide protection against post-quantum attacks";
    assert_eq!(found.notes("warn"), [post_quantum; 2], "{}", found.0);
    assert_eq!(found.0["compression"], serde_json::json!(["none"]));
    // It says that it knows AES-GCM, and is offered nothing that Terrapin could be made of; nor can
    // connections be made as fast as one likes.
    assert_eq!(found.0["additional_notes"], serde_json::json!([]));

    let strict = bastion.another_with("algorithms = 'strict'\n");
    let found = Audit::of(&strict.address);
    assert_eq!(
        found.notes("fail"),
        found.notes("warn"),
        "there is neither: {}",
        found.0
    );
    assert_eq!(
        found.algorithms("kex"),
        [
            "mlkem768x25519-sha256",
            "ext-info-s",
            "kex-strict-s-v00@openssh.com"
        ]
    );
    assert_eq!(found.algorithms("key"), ["ssh-ed25519"]);
    assert_eq!(
        found.algorithms("enc"),
        ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"]
    );
    assert_eq!(
        found.0["additional_notes"],
        serde_json::json!([]),
        "{}",
        found.0
    );
    // A client that knows nothing of it stays outside.
    let (host, port) = strict.address.rsplit_once(':').unwrap();
    let mut older = Command::new("ssh");
    older.args(["-F", "none", "-oBatchMode=yes", "-p", port, host]);
    older.arg("-oKexAlgorithms=curve25519-sha256");
    let ran = run(older, b"", Duration::from_secs(20));
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(
        ran.stderr.contains("no matching key exchange method"),
        "{ran:?}"
    );
}

#[test]
fn both_factors_without_an_intervention_are_refused_with_the_next_step() {
    let bastion = Bastion::start(Options {
        open_intervention: false,
        ..Options::default()
    });
    let ran = bastion.ssh("alice").run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert_eq!(ran.stdout, "");
    ran.refused_with("intervention_missing");
    assert!(ran.stderr.contains("Next: "), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("request {TARGET}")),
        "the next step can be copied: {ran:?}"
    );
    assert!(bastion.sshd.accepted().is_empty());
    assert!(bastion.sessions("alice").is_empty());
    let refused = bastion.events("session.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["detail"]["codes"][0], "intervention_missing");
}

#[test]
fn an_unknown_operator_and_a_wrong_key_are_refused_alike() {
    let bastion = bastion();
    let stranger = bastion.dir.path().join("stranger");
    if !stranger.exists() {
        new_key(&stranger);
    }
    let entries = |name: &str| {
        let all = bastion.entries();
        all.iter()
            .filter(|entry| entry.to_string().contains(name))
            .count()
    };
    let before = entries("\"bob\"");
    let attempt = |user: &str| {
        let ssh = bastion
            .ssh_as("alice", user)
            .key(stranger.clone())
            .from("127.0.0.2")
            .code("123456");
        let started = now();
        let ran = ssh.run("true");
        assert!(ssh.questions().is_empty(), "nobody is asked for a code");
        (ran, started.elapsed())
    };
    let target = format!("{}+{TARGET}", bastion.account);
    let (known, known_took) = attempt(&format!("bob+{target}"));
    let (unknown, unknown_took) = attempt(&format!("ghost+{target}"));
    let (nonsense, _) = attempt("Not A Name");
    let (bare, _) = attempt("ghost");
    let said = |ran: &e2e::Ran| ran.stderr.replace(char::is_whitespace, "");
    let (known_said, unknown_said) = (said(&known), said(&unknown));
    assert!(
        known_said.contains("Permissiondenied(publickey)"),
        "{known:?}"
    );
    assert_eq!(
        known_said.replace("bob+", "X+"),
        unknown_said.replace("ghost+", "X+")
    );
    assert!(
        said(&nonsense).ends_with("Permissiondenied(publickey)."),
        "{nonsense:?}"
    );
    assert!(
        said(&bare).ends_with("Permissiondenied(publickey)."),
        "{bare:?}"
    );
    assert_eq!(known.status, unknown.status);
    let apart = known_took.abs_diff(unknown_took);
    assert!(
        apart < Duration::from_millis(400),
        "{known_took:?} {unknown_took:?}"
    );
    // Nobody has proven anything, so nothing is written, however often it is tried.
    assert_eq!(entries("ghost"), 0);
    assert_eq!(entries("\"bob\""), before);
}

#[test]
fn an_unknown_target_and_an_unknown_account_are_refused() {
    let bastion = bastion();
    let user = format!("operator3+{}+no-such-target", bastion.account);
    let ran = bastion.ssh_as("operator3", &user).run("true");
    ran.refused_with("target_unknown");
    let user = format!("operator3+nobody+{TARGET}");
    let ran = bastion.ssh_as("operator3", &user).run("true");
    ran.refused_with("account_not_granted");
    assert_eq!(ran.status, Some(255));
    assert!(bastion.sessions("operator3").is_empty());
    let refused = bastion.events("session.refused");
    let mine = refused
        .iter()
        .filter(|event| event["who"]["id"] == "operator3")
        .count();
    assert_eq!(mine, 2);
}

#[test]
fn an_operator_whom_the_intervention_does_not_name_is_refused() {
    let mut bastion = Bastion::start(Options {
        operators: 2,
        ..Options::default()
    });
    bastion.restart_with_one_more_operator();
    let ran = bastion.ssh("operator3").run("true");
    ran.refused_with("operator_not_in_intervention");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(ran.stderr.contains("Next: "), "{ran:?}");
    assert!(bastion.sessions("operator3").is_empty());
    assert!(bastion.sshd.accepted().is_empty());
}

#[test]
fn a_command_and_a_shell_run_on_the_target() {
    let bastion = bastion();
    let command = bastion
        .ssh("operator4")
        .motive("a-command")
        .run("echo $SSH_CONNECTION");
    let printed = command.ok();
    assert!(
        printed.contains(&bastion.sshd.port.to_string()),
        "the target itself answered: {printed}"
    );
    let shell = bastion
        .ssh("operator4")
        .motive("a-shell")
        .option("-tt")
        .run_with_input(&[], b"tty; echo shell-$((20+3)); exit 3\n");
    assert_eq!(shell.status, Some(3), "{shell:?}");
    assert!(shell.stdout.contains("shell-23"), "{shell:?}");
    assert!(shell.stdout.contains("/dev/pts/"), "{shell:?}");
    for motive in ["a-command", "a-shell"] {
        let session = bastion.ended_session(motive);
        let SessionState::Ended { reason, .. } = &session.state else {
            panic!("{session:?}");
        };
        assert_eq!(reason, "the operator left");
    }
}

#[test]
fn two_channels_of_one_connection_are_one_session_with_two_casts() {
    let bastion = bastion();
    let shared = e2e::Shared::open(
        &bastion.ssh("operator5").motive("two-channels"),
        bastion.dir.path(),
    );
    // The motive goes with the channel that opens the session.
    let mut first = shared.command(&["-oSetEnv=BASTION_MOTIVE=two-channels"]);
    first.arg("echo first");
    assert_eq!(run(first, b"", Duration::from_secs(20)).ok(), "first\n");
    let mut second = shared.command(&["-tt"]);
    second.arg("tty && echo second");
    let second = run(second, b"", Duration::from_secs(20)).ok();
    assert!(
        second.contains("/dev/pts/") && second.contains("second"),
        "{second}"
    );
    drop(shared);
    let session = bastion.ended_session("two-channels");
    assert_eq!(bastion.sessions("operator5").len(), 1);
    let exported = bastion.exported(&session);
    let casts = |number| std::fs::read_to_string(exported.file(&format!("channel-{number}.cast")));
    assert!(casts(0).unwrap().contains("first"));
    assert!(casts(1).unwrap().contains("second"));
    assert!(casts(2).is_err(), "and no third");
}

#[test]
fn an_intervention_can_be_named() {
    let bastion = bastion();
    let number = bastion.ready.interventions[0]["number"].as_str().unwrap();
    let at = format!("operator6+{}+{TARGET}", bastion.account);
    let named = bastion
        .ssh_as("operator6", &format!("{at}+{number}"))
        .motive("a-named-one");
    assert_eq!(named.run("echo named").ok(), "named\n");
    assert_eq!(bastion.session("a-named-one").intervention.as_str(), number);
    let other = bastion
        .ssh_as("operator6", &format!("{at}+INT-2020-00001"))
        .run("true");
    other.refused_with("intervention_missing");
    assert_eq!(bastion.sessions("operator6").len(), 1);
}

#[test]
fn the_bastion_itself_answers_commands() {
    let bastion = bastion();
    let number = bastion.ready.interventions[0]["number"].as_str().unwrap();
    let shared = bastion_itself(&bastion, "operator7");
    let listed = shared.run("interventions").ok();
    assert!(listed.contains(number), "{listed}");
    assert!(
        listed.contains(&format!("operator7+{}+{TARGET}", bastion.account)),
        "how to connect can be copied: {listed}"
    );
    let listed: Value = serde_json::from_str(&shared.run("interventions --json").ok()).unwrap();
    assert_eq!(listed["interventions"][0]["number"], number);
    assert_eq!(listed["interventions"][0]["state"], "open");

    let who = shared.run("whoami").ok();
    assert!(who.contains("operator7") && who.contains(TARGET), "{who}");
    let who: Value = serde_json::from_str(&shared.run("whoami --json").ok()).unwrap();
    assert_eq!(who["operator"], "operator7");
    assert_eq!(who["second_factor"], "totp");
    assert_eq!(who["grants"][0]["standing"], "in_force");

    let help = shared.run("help").ok();
    for command in ["interventions", "request", "close", "sessions", "whoami"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(shared.run("sessions").ok().contains("No session"));

    let unknown = shared.run("interventoins");
    assert_eq!(unknown.status, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("interventions"), "{unknown:?}");
    assert_eq!(unknown.stdout, "");
    let quotes = shared.run("close 'x");
    assert_eq!(quotes.status, Some(2), "{quotes:?}");
    let shell = shared.run("sh -c id");
    assert_eq!(shell.status, Some(2), "{shell:?}");
    assert!(!shell.stdout.contains("uid="));
    drop(shared);
    assert!(bastion.sessions("operator7").is_empty());
}

#[test]
fn an_intervention_is_asked_for_from_the_terminal() {
    let bastion = bastion();
    let shared = bastion_itself(&bastion, "operator8");
    let asked = || {
        let events = bastion.events("intervention.submitted");
        let mine = events
            .iter()
            .filter(|event| event["who"]["id"] == "operator8");
        mine.count()
    };
    let incomplete = shared.run(&format!("request {TARGET}"));
    assert_eq!(incomplete.status, Some(1), "{incomplete:?}");
    for missing in ["--purpose", "--impact", "--rollback"] {
        assert!(incomplete.stderr.contains(missing), "{incomplete:?}");
    }
    let nowhere = shared.run("request no-such-target --purpose 'a good reason'");
    assert_eq!(nowhere.status, Some(1), "{nowhere:?}");
    assert_eq!(asked(), 0, "nothing was asked of the customer");

    let whole = format!(
        "request {TARGET} --purpose 'replace the failing disk' --impact 'none' --rollback 'put it back'"
    );
    let submitted = shared.run(&whole).ok();
    assert!(submitted.contains("INT-"), "{submitted}");
    let submitted: Value =
        serde_json::from_str(&shared.run(&format!("{whole} --json")).ok()).unwrap();
    assert_eq!(submitted["state"], "submitted");
    assert_eq!(submitted["operators"][0], "operator8");
    assert_eq!(asked(), 2);
    let number = submitted["number"].as_str().unwrap();
    // What was asked for opens nothing.
    let user = format!("operator8+{}+{TARGET}+{number}", bastion.account);
    bastion
        .ssh_as("operator8", &user)
        .run("true")
        .refused_with("intervention_not_approved");
}

#[test]
fn the_bare_login_tells_what_is_open_and_what_can_be_asked() {
    let bastion = bastion();
    let bare = bastion_itself(&bastion, "operator10");
    let told = bare.run("targets").ok();
    assert!(told.contains(TARGET) && told.contains("left"), "{told}");
    let told: Value = serde_json::from_str(&bare.run("targets --json").ok()).unwrap();
    let target = &told["targets"][0];
    assert_eq!(target["target"], TARGET);
    assert_eq!(target["accounts"][0], bastion.account.as_str());
    assert!(
        target["open"][0]["seconds_left"].as_u64().unwrap() > 0,
        "{told}"
    );
    let number = target["open"][0]["number"].as_str().unwrap();
    for (asked, sentence) in [
        ("extend", "say how much longer, and why"),
        ("extend 30m", "say how much longer, and why"),
        ("extend soon because", "neither how much longer"),
        (
            "extend INT-2020-00001 30m because",
            "there is no intervention",
        ),
        (
            "extend 2020-01-01T00:00:00Z because",
            "(extension_not_later)",
        ),
        ("extend 60d because", "(window_too_long)"),
        ("close INT-2020-00001", "say how it went"),
    ] {
        let refused = bare.run(asked);
        assert_eq!(refused.status, Some(1), "{asked}: {refused:?}");
        assert!(refused.stderr.contains(sentence), "{asked}: {refused:?}");
    }
    let refused = bare.run(&format!("extend {number} 60d because --json"));
    let refused: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(refused["refused"]["code"], "window_too_long");
}

#[test]
fn more_time_is_asked_for_in_the_menu() {
    let bastion = Bastion::start(Options::logged_in_already());
    let script = r#"
start("")
expect("left")
expect("ask for more time")
send("\x1b[B\x1b[B")
expect("ask for more time")
send("\r")
expect("How many minutes more? [30] ")
send("\r")
expect("Why? ")
send("the copy is slow\r")
expect("the customer decides")
expect("is asked for")
expect("close it")
send("3\r")
expect("How did it go? ")
send("done\r")
expect("is closed")
expect("nothing is open; ask for an intervention")
send("quit\r")
exits(0)
"#;
    let menu = bastion.bare("alice").option("-tt");
    let menu = menu.command();
    let typed = e2e::terminal(&menu, script);
    assert!(typed.status.success(), "{typed:?}");
    let closed = bastion.events("intervention.closed");
    assert_eq!(closed[0]["detail"]["extension"], "overtaken");
    assert_eq!(closed[0]["detail"]["outcome"], "done");
}

#[test]
fn the_menu_leads_to_the_target() {
    let bastion = bastion();
    let menu = bastion
        .bare("operator9")
        .option("-tt")
        .motive("by-the-menu")
        .run_with_input(
            &[],
            b"whoami\r\x1b[C\x1b[B\recho reached-$((20+3)); exit 4\r",
        );
    assert!(menu.stdout.contains("operator9 from 127.0.0.1"), "{menu:?}");
    assert!(menu.stdout.contains(&format!("@{TARGET}")), "{menu:?}");
    // The arrow shows what it chooses.
    let shown = format!("\x1b[K> 1\x1b7  {}@{TARGET}", bastion.account);
    assert!(menu.stdout.contains(&shown), "{menu:?}");
    assert!(menu.stdout.contains("reached-23"), "{menu:?}");
    assert_eq!(menu.status, Some(4), "{menu:?}");
    let session = bastion.ended_session("by-the-menu");
    assert!(bastion.cast(&session, 0).contains("reached-23"));

    let left = bastion
        .bare("operator9")
        .option("-tt")
        .run_with_input(&[], b"7\r$(id)\r\x1b[B\x7fquit\r");
    assert_eq!(left.status, Some(0), "{left:?}");
    assert!(!left.stdout.contains("uid="), "{left:?}");
    let gone = bastion
        .bare("operator9")
        .option("-tt")
        .run_with_input(&[], b"whoami\r\x04");
    assert_eq!(gone.status, Some(0), "Ctrl-D leaves: {gone:?}");
    let without = bastion.bare("operator9").run_with_input(&[], b"");
    assert_eq!(without.status, Some(2), "no terminal, no menu: {without:?}");
    assert!(without.stderr.contains("help"), "{without:?}");
    assert_eq!(bastion.sessions("operator9").len(), 1);
}

fn bastion_itself(bastion: &Bastion, login: &str) -> e2e::Shared {
    let shared = e2e::Shared::open(&bastion.bare(login), bastion.dir.path());
    eventually("the login is traced", Duration::from_secs(5), || {
        let events = bastion.events("login.succeeded");
        events.iter().any(|event| event["who"]["id"] == login)
    });
    shared
}

/// What ssh-audit says of a server, as it says it to programs.
struct Audit(Value);

impl Audit {
    fn of(address: &str) -> Self {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ssh-audit/bin/ssh-audit");
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new(&program);
        command.args(["-jj", "-p", port, host]);
        let ran = run(command, b"", Duration::from_secs(60));
        let found: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| {
            panic!("{} ({error}): {ran:?}", program.display());
        });
        assert_eq!(found["cves"], serde_json::json!([]), "{found}");
        Self(found)
    }

    fn algorithms(&self, kind: &str) -> Vec<&str> {
        let named = self.0[kind].as_array().unwrap().iter();
        named.filter_map(|one| one["algorithm"].as_str()).collect()
    }

    /// All notes of this weight, of algorithms of every kind.
    fn notes(&self, weight: &str) -> Vec<&str> {
        let kinds = ["kex", "key", "enc", "mac"].iter();
        kinds
            .flat_map(|kind| self.0[kind].as_array().unwrap())
            .filter_map(|one| one["notes"][weight].as_array())
            .flatten()
            .map(|note| note.as_str().unwrap())
            .collect()
    }
}
