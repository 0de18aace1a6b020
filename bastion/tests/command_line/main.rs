//! The binary as it is typed at the host's command line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests are tests too"
)]

mod evidence;
mod host;
mod recording;

use host::{ADMIN_KEY, EXAMPLE, Host, text};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const CONFIGURATION: &str = include_str!("../../example/bastion.toml");
/// The passkey of the contact in [`ENROLLED`].
const LOST: &str = "fa-1";
/// A passkey of the contact, two sign-ins of his and one of somebody else, as the pages write them.
const ENROLLED: &str = r#"
import json, sqlite3
db = sqlite3.connect("state/bastion.db")
body = {"id": "fa-1", "holder": {"kind": "contact", "id": "dsi.chu-exemple"},
        "factor": {"type": "passkey", "credential_id": "c", "credential": "{}"},
        "enrolled_at": 1, "revoked_at": None, "version": 1}
db.execute("INSERT INTO second_factors (id, version, created_at, changed_at, body, contact_id, credential_id)"
           " VALUES (?, 1, 1, 1, ?, 'dsi.chu-exemple', 'c')", (body["id"], json.dumps(body)))
for token, origin, operator, contact in [(1, "customer", None, "dsi.chu-exemple"),
                                         (2, "customer", None, "dsi.chu-exemple"), (3, "host", "bruno", None)]:
    db.execute("INSERT INTO web_sessions (token_sha256, origin, operator_id, contact_id, created_at, seen_at,"
               " ends_at, fresh_until) VALUES (?, ?, ?, ?, 1, 1, 4000000000000000, 1)",
               (bytes([token]) * 32, origin, operator, contact))
db.commit()
"#;
const ONE_SIGN_IN_LEFT: &str = r#"
import sqlite3
left = sqlite3.connect("state/bastion.db").execute("SELECT operator_id FROM web_sessions").fetchall()
assert left == [("bruno",)], left
"#;
/// 2048 bits.
const WEAK_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCnIGhINVxlLdKQ1erY/UVwn5KmUO5tH4jWe+TkHnTdZ+99dFWG9AD7ioFpwk2OI3QOaUt1JzuCIkTCF3ApnQk4evKpW9a2gMs7Tk1f6Bv/9WR6xx3rU33LnARgbA0KBSh+K+RRjIj3dfWpYi11ffiJXpYfh/LQiB4gpHbwDQeITgBkMho0WUEAZM3tuj21aIHO1VuvOtxf6fQfunVksAuu7oVd/bd5OOA6VBFJJPkoZtYxEvCkv7RIOEUn5WEN2l1NV+9F4WhLx308dfheBTL02Q6H9SxDDZbaXCsGxacVQBbivG+31mUqqZr49l2H8tiqu2BTfPJN+fGKP3/vWngp weak";

#[test]
fn init_makes_keys_for_their_owner_alone_and_prints_one_invitation() {
    let host = Host::new();
    let said = host.init();
    assert_eq!(
        said.matches("http://localhost:8081/invitation#").count(),
        1,
        "{said}"
    );
    let mut private = 0;
    for entry in fs::read_dir(host.path("state/keys")).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.extension().is_none() {
            assert_eq!(mode, 0o600, "{path:?}");
            private += 1;
        }
    }
    assert_eq!(private, 8);
    assert!(host.path("state/user-ca.pub").exists() && host.path("state/host-ca.pub").exists());

    let keys = fs::read(host.path("state/keys/user-ca")).unwrap();
    let again = host.fails(&Host::init_words(), 1);
    assert!(again.contains("there are operators already"), "{again}");
    assert_eq!(fs::read(host.path("state/keys/user-ca")).unwrap(), keys);
    // The invitation's secret is in no file.
    let token = said
        .split('#')
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let database = fs::read(host.path("state/bastion.db")).unwrap();
    assert!(
        !database
            .windows(token.len())
            .any(|bytes| bytes == token.as_bytes())
    );
}

#[test]
fn applying_twice_has_nothing_to_change() {
    let host = Host::ready();
    let plan = host.apply(EXAMPLE, &["--dry-run"]);
    assert!(
        plan.contains("+ customer chu-exemple") && plan.contains("nothing was changed"),
        "{plan}"
    );
    let first = host.apply(EXAMPLE, &[]);
    for line in [
        "+ customer chu-exemple",
        "+ contact dsi.chu-exemple",
        "+ operator bruno",
        "+ target db1.chu-exemple",
        "accept (set-up) bruno as postgres on db1.chu-exemple",
    ] {
        assert!(first.contains(line), "{line}: {first}");
    }
    let entries = host.entries();
    let second = host.apply(EXAMPLE, &[]);
    assert!(second.contains("nothing to change"), "{second}");
    assert_eq!(host.entries(), entries);
}

#[test]
fn what_the_file_does_not_name_is_left_alone_or_pruned() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    let (rest, _) = EXAMPLE.split_once("[grants.bruno-db1]").unwrap();
    let left = host.apply(rest, &[]);
    assert!(
        left.contains("nothing to change") && left.contains("left alone"),
        "{left}"
    );
    // The administrator that `init` made is not in the file: pruning would leave nobody.
    let refused = host.refuses_to_apply(rest, &["--prune"]);
    assert!(
        refused.contains("no active administrator would remain"),
        "{refused}"
    );
    let with_admin = format!(
        "{rest}\n[operators.alice]\nname = 'Alice Durand'\nemail = 'alice@hebergeur.example'\n\
         actor = 'host'\nroles = ['admin']\nkeys = ['{}']\n",
        ADMIN_KEY.trim()
    );
    let pruned = host.apply(&with_admin, &["--prune"]);
    assert!(pruned.contains("- grant bruno-db1"), "{pruned}");
    assert!(
        host.apply(&with_admin, &["--prune"])
            .contains("nothing to change")
    );
}

#[test]
fn a_weak_key_is_refused_with_its_line() {
    let host = Host::ready();
    let file = EXAMPLE.replace(key_of(EXAMPLE, "bruno"), WEAK_KEY);
    let line = 1 + file
        .lines()
        .position(|line| line.contains(WEAK_KEY))
        .unwrap();
    let entries = host.entries();
    let error = host.refuses_to_apply(&file, &[]);
    let said = format!("registers.toml, line {line}, `operators.bruno.keys[0]`: ");
    assert!(
        error.contains(&said) && error.contains("too weak"),
        "{error}"
    );
    assert_eq!(host.entries(), entries);
}

#[test]
fn what_is_no_time_is_told_what_a_time_looks_like() {
    let host = Host::ready();
    let until = EXAMPLE
        .lines()
        .find(|line| line.starts_with("until"))
        .unwrap();
    for wrong in [
        "until = 2029",
        "until = 'soon'",
        "until = 2029-01-01",
        "until = true",
    ] {
        let error = host.refuses_to_apply(&EXAMPLE.replace(until, wrong), &[]);
        assert!(
            error.contains(".until`: ")
                && error.contains("is not a time like `2026-11-24T09:00:00+01:00`"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn an_authority_is_nobodys_key() {
    let host = Host::ready();
    let own = key_of(EXAMPLE, "bruno");
    let keys_of_bruno = |keys: &[&str]| {
        let line = EXAMPLE.lines().find(|line| line.contains(own)).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
        EXAMPLE.replace(line, &format!("keys = [{}]", keys.join(", ")))
    };
    // The administrator's key is known from `init`, and not in the file.
    let of_alice = format!("cert-authority {}", ADMIN_KEY.trim());
    let of_bruno = format!("cert-authority {own}");
    for (keys, index, said) in [
        (
            vec![own, of_alice.as_str()],
            1,
            "an authority for `bruno` and `alice`'s own key",
        ),
        (
            vec![own, of_bruno.as_str()],
            0,
            "an authority for `bruno` and `bruno`'s own key",
        ),
    ] {
        let entries = host.entries();
        let error = host.refuses_to_apply(&keys_of_bruno(&keys), &[]);
        let at =
            format!("`operators.bruno.keys[{index}]`: is {said}; an authority is nobody's key");
        assert!(error.contains(&at), "{error}");
        assert_eq!(host.entries(), entries, "nothing was applied");
    }
    // Nor later, where the one of the two is known and not in the file.
    host.apply(&keys_of_bruno(&[&of_bruno]), &[]);
    let zoe = format!(
        "[operators.zoe]\nname = 'Zoé'\nemail = 'zoe@hebergeur.example'\nactor = 'host'\n\
         roles = ['operator']\nkeys = ['{own}']\n"
    );
    let error = host.refuses_to_apply(&zoe, &[]);
    let said = "`operators.zoe.keys[0]`: is an authority for `bruno` and `zoe`'s own key";
    assert!(error.contains(said), "{error}");
    // It certifies as many people as one likes.
    host.apply(&zoe.replace(own, &of_bruno), &[]);
}

#[test]
fn a_key_belongs_to_one_person_and_every_fault_is_said() {
    let host = Host::ready();
    let file = EXAMPLE
        .replace(key_of(EXAMPLE, "bruno"), ADMIN_KEY.trim())
        .replace(
            "targets = [\"db1.chu-exemple\"]",
            "targets = [\"db2.chu-exemple\"]",
        );
    let error = host.refuses_to_apply(&file, &[]);
    assert!(error.contains("is `alice`'s key"), "{error}");
    assert!(
        error.contains("there is no target `db2.chu-exemple`"),
        "{error}"
    );
}

#[test]
fn once_the_set_up_is_closed_rights_are_only_proposed() {
    let host = Host::ready();
    let closed = host.apply(EXAMPLE, &["--close-setup"]);
    assert!(
        closed.contains("accept (set-up)") && closed.contains("close;"),
        "{closed}"
    );
    let more = EXAMPLE.to_owned()
        + &EXAMPLE[EXAMPLE.find("[grants.bruno-db1]").unwrap()..]
            .replace("bruno-db1", "bruno-more");
    let said = host.apply(&more, &[]);
    assert!(said.contains("+ grant bruno-more"), "{said}");
    assert!(
        said.contains("two people approve it on the pages") && !said.contains("accept"),
        "{said}"
    );
    let names = host.event_names();
    let of = |name: &str| names.iter().filter(|n| *n == name).count();
    assert_eq!(
        (of("grant.proposed"), of("setup.closed")),
        (2, 1),
        "{names:?}"
    );
    let again = host.apply(&more, &["--close-setup"]);
    assert!(
        again.contains("nothing to change") && again.contains("waits for two people"),
        "{again}"
    );
}

#[test]
fn a_person_is_invited_on_his_own_side() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    let operator = host.runs(&["invite", "bruno", "--state", "state"]);
    assert!(
        operator.contains("http://localhost:8081/invitation#"),
        "{operator}"
    );
    let contact = host.runs(&["invite", "dsi.chu-exemple", "--state", "state"]);
    assert!(
        contact.contains("http://localhost:8080/invitation#"),
        "{contact}"
    );
    let nobody = host.fails(&["invite", "nobody", "--state", "state"], 1);
    assert!(
        nobody.contains("no operator and no contact `nobody`"),
        "{nobody}"
    );
}

#[test]
fn a_lost_passkey_is_taken_out_of_use_with_a_reason_and_its_holder_signed_out() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    host.python(ENROLLED);
    let listed = host.runs(&["factor", "list", "dsi.chu-exemple", "--state", "state"]);
    assert!(
        listed.contains(LOST) && listed.contains("passkey"),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 1, "{listed}");

    let revoke = |login: &str, reason: &str| {
        let words = ["factor", "revoke", login, LOST, "--state", "state"];
        host.run(&[&words[..], &["--reason", reason]].concat())
    };
    for (login, reason, said) in [
        ("dsi.chu-exemple", " ", "`reason` is missing"),
        ("bruno", "not his", "has no factor"),
        ("operator:dsi.chu-exemple", "no operator", "there is no"),
    ] {
        let refused = revoke(login, reason);
        assert_eq!(refused.status.code(), Some(1), "{login}");
        let error = text(&refused.stderr);
        assert!(error.contains(said), "{error}");
    }
    let revoked = |name: &String| name == "second_factor.revoked";
    assert!(!host.event_names().iter().any(revoked), "nothing happened");

    let done = revoke("contact:dsi.chu-exemple", "left in a train");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let done = text(&done.stdout);
    assert!(done.contains("2 web sign-in(s)"), "{done}");
    let log = host.runs(&["audit", "export", "--state", "state"]);
    let revoked = log.lines().find(|line| line.contains("left in a train"));
    let revoked: serde_json::Value = serde_json::from_str(revoked.unwrap()).unwrap();
    assert_eq!(revoked["entry"]["event"], "second_factor.revoked");
    assert_eq!(revoked["entry"]["who"]["kind"], "command_line");
    let ended = log.lines().find(|line| line.contains("sign_in.ended"));
    let ended: serde_json::Value = serde_json::from_str(ended.unwrap()).unwrap();
    assert_eq!(ended["entry"]["detail"]["sign_ins"], 2);
    host.python(ONE_SIGN_IN_LEFT);

    let listed = host.runs(&["factor", "list", "dsi.chu-exemple", "--state", "state"]);
    assert!(listed.contains("has no factor"), "{listed}");
    let again = revoke("dsi.chu-exemple", "left in a train");
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_with_line_and_key() {
    let host = Host::new();
    host.write("bastion.toml", CONFIGURATION);
    let sound = host.runs(&["check-config", "bastion.toml"]);
    assert!(
        sound.contains("is sound") && sound.contains("bastion.example -p 2222"),
        "{sound}"
    );
    host.write(
        "bastion.toml",
        "[ssh]\nmax_channels = 0\n\n[web]\nhost_url = 'http://b.example'\n",
    );
    let wrong = host.fails(&["check-config", "bastion.toml"], 1);
    assert!(
        wrong.contains("bastion.toml, line 2, `ssh.max_channels`: "),
        "{wrong}"
    );
    assert!(
        wrong.contains("bastion.toml, line 5, `web.host_url`: "),
        "{wrong}"
    );
    host.write(
        "bastion.toml",
        "recordings = ''\n[ssh]\nmax_sessions = 0\nlisten = '127.0.0.1:8080'\n[web]\n\
         customer_url = 'https://b.example'\nhost_url = 'https://b.example:443'\n",
    );
    let wrong = host.fails(&["check-config", "bastion.toml"], 1);
    for key in [
        "recordings",
        "ssh.max_sessions",
        "web.customer_listen",
        "web.host_url",
    ] {
        assert!(wrong.contains(&format!("`{key}`: is ")), "{key}: {wrong}");
    }
    host.write("bastion.toml", "[ssh]\nlisten_on = 1\n");
    let wrong = host.fails(&["check-config", "bastion.toml"], 1);
    assert!(
        wrong.contains("line 2, `ssh.listen_on`: unknown field"),
        "{wrong}"
    );
}

#[test]
fn a_fresh_log_holds_and_one_changed_character_does_not() {
    let host = Host::ready();
    host.apply(EXAMPLE, &[]);
    let said = host.runs(&["audit", "verify", "--state", "state"]);
    assert!(said.starts_with("ok"), "{said}");

    host.write(
        "log.jsonl",
        &host.runs(&["audit", "export", "--state", "state"]),
    );
    let exported = [
        "audit",
        "verify",
        "--export",
        "log.jsonl",
        "--key",
        "state/keys/audit.pub",
    ];
    assert!(host.runs(&exported).starts_with("ok"));
    let log = fs::read_to_string(host.path("log.jsonl")).unwrap();
    host.write("log.jsonl", &log.replacen("Leroy", "Leroi", 1));

    host.python(
        "import sqlite3\n\
         db = sqlite3.connect('state/bastion.db')\n\
         for (name,) in list(db.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\")):\n\
         \x20   db.execute(f'DROP TRIGGER {name}')\n\
         n = db.execute(\"SELECT min(sequence) FROM audit_entries WHERE text LIKE '%Leroy%'\").fetchone()[0]\n\
         db.execute(\"UPDATE audit_entries SET text = replace(text, 'Leroy', 'Leroi') WHERE sequence = ?\", (n,))\n\
         db.commit()\n\
         open('changed', 'w').write(str(n))\n",
    );
    let changed = fs::read_to_string(host.path("changed")).unwrap();
    let output = host.run(&["audit", "verify", "--state", "state"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("entry `{changed}` was changed")),
        "{said}"
    );
    assert!(said.contains("the log does not hold"), "{said}");
}

#[test]
fn an_export_is_held_against_the_logs_own_key_only() {
    let host = Host::ready();
    host.write(
        "log.jsonl",
        &host.runs(&["audit", "export", "--state", "state"]),
    );
    host.write("other.pub", "bastion-1+00000000+AQAA");
    let wrong = host.fails(
        &[
            "audit",
            "verify",
            "--export",
            "log.jsonl",
            "--key",
            "other.pub",
        ],
        1,
    );
    assert!(
        wrong.contains("is not an audit log's public key"),
        "{wrong}"
    );
}

#[test]
fn a_recording_is_opened_only_for_a_purpose_and_only_if_it_exists() {
    let host = Host::ready();
    assert_eq!(host.runs(&["recording", "list", "--state", "state"]), "");
    assert_eq!(
        host.runs(&["recording", "verify", "--state", "state"]),
        "0 recordings, 0 failed\n"
    );
    let unsaid = host.fails(&["recording", "cat", "s-1", "--state", "state"], 2);
    assert!(unsaid.contains("--purpose"), "{unsaid}");
    let none = host.fails(
        &[
            "recording",
            "cat",
            "s-1",
            "--state",
            "state",
            "--purpose",
            "a complaint",
        ],
        1,
    );
    assert!(none.contains("there is no session `s-1`"), "{none}");
    let missing = host.run(&["recording", "verify", "s-1", "--state", "state"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stdout).contains("FAILED  its recording is missing"));
}

#[test]
fn what_reads_makes_no_empty_database() {
    let host = Host::new();
    fs::create_dir(host.path("state")).unwrap();
    let error = host.fails(&["recording", "list", "--state", "state"], 1);
    assert!(error.contains("there is no database"), "{error}");
    assert!(!host.path("state/bastion.db").exists());
}

#[test]
fn a_command_line_that_means_nothing_ends_with_two() {
    let host = Host::new();
    let rows: [&[&str]; 4] = [
        &[],
        &["unknown"],
        &["apply"],
        &["serve", "--state", "a", "--config", "b"],
    ];
    for words in rows {
        host.fails(words, 2);
    }
    assert!(host.runs(&["--help"]).contains("recording"));
}

/// The key in a file whose comment is `comment`.
fn key_of<'a>(file: &'a str, comment: &str) -> &'a str {
    let end = format!(" {comment}\"");
    let line = file.lines().find(|line| line.contains(&end)).unwrap();
    line.split('"').nth(1).unwrap()
}
