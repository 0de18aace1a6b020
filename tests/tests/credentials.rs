//! What a person proves himself with: keys, security keys, certificates of an authority that is
//! declared for him, and the bastion's own for work at which nobody can be asked; and what ends when
//! one of them is taken away.
//!
//! Needs asyncssh and libfaketime.

use access::OperatorId;
use access::second_factor::Holder;
use e2e::ssh::run;
use e2e::{Bastion, Clock, Options, Ran, Shared, Ssh, Way, eventually, now};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// "At once" is within five seconds, and the client then needs a moment to say so.
const AT_ONCE: Duration = Duration::from_secs(8);

#[test]
fn a_certificate_stands_for_both_factors_where_nobody_can_be_asked() {
    let bastion = Bastion::start(Options::default());
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    let without = bastion
        .ssh("alice")
        .key(batch.clone())
        .without_second_factor();
    assert_eq!(without.run("true").status, Some(255), "no certificate yet");
    certify(&bastion, "alice", &batch, "certificate --lasts 30m");

    let ssh = || {
        let ssh = bastion.ssh("alice").key(batch.clone());
        ssh.without_second_factor()
    };
    for way in Way::ALL {
        let motive = format!("batch-{way:?}").to_lowercase();
        let ssh = ssh().by(way).motive(&motive);
        assert_eq!(ssh.run("echo in").ok(), "in\n");
        let session = bastion.session(&motive);
        let certificate = session.credentials.certificate.clone().unwrap();
        let known = bastion.rows(|store| async move { store.certificate(&certificate).await });
        let known = known.unwrap().unwrap();
        // A session does not outlive it.
        assert_eq!(session.ends_at, known.ends_at);
        assert!(session.factor_reused, "it was not given on this connection");
        assert_eq!(session.credentials.key, known.asked_with.key);
        assert_eq!(session.credentials.factor, known.asked_with.factor);
    }
    let mut upload = ssh().copying("sftp");
    let list = bastion.dir.path().join("batch.txt");
    fs::write(&list, "pwd\n").unwrap();
    upload.arg("-b").arg(&list).arg("bastion");
    let _ = run(upload, b"", Duration::from_secs(30)).ok();

    let opened = bastion.events("session.opened");
    let issued = bastion.events("certificate.issued");
    let id = issued[0]["subject"].as_str().unwrap();
    let id = id.strip_prefix("certificate ").unwrap();
    assert!(
        opened
            .iter()
            .all(|entry| entry["detail"]["certificate"] == id)
    );
    let logins = bastion.events("login.succeeded");
    let by_it = logins.iter().filter(|e| e["detail"]["certificate"] == id);
    assert_eq!(by_it.count(), 3, "{logins:?}");
    let log = bastion.log();
    assert!(!log.contains("ssh-ed25519-cert"), "{log}");
}

#[test]
fn a_certificate_is_good_for_its_person_key_and_address_alone() {
    let bastion = Bastion::start(Options::default());
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    certify(&bastion, "alice", &batch, "certificate");
    let with = |user: &str| {
        let ssh = bastion.ssh_as("alice", user).key(batch.clone());
        ssh.without_second_factor()
    };
    let alice = bastion
        .ssh("alice")
        .key(batch.clone())
        .without_second_factor();
    assert_eq!(alice.run("echo in").ok(), "in\n");
    let bobs = format!("bob+{}+db1.chu-exemple", bastion.account);
    for (what, ran) in [
        ("as another", with(&bobs).run("true")),
        ("as another, at the bastion", with("bob").run("whoami")),
        (
            "from elsewhere",
            with("alice").from("127.0.0.9").run("whoami"),
        ),
    ] {
        assert_eq!(ran.status, Some(255), "{what}: {ran:?}");
        assert_eq!(ran.stdout, "", "{what}");
    }
    let refused = bastion.events("login.refused");
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|entry| entry["detail"]["reason"] == "certificate_not_taken")
    );

    // The certificate of another key, or signed by whoever signs for targets or for himself.
    let stolen = key(&bastion, "stolen", &["-t", "ed25519"]);
    fs::copy(beside(&batch, "-cert.pub"), beside(&stolen, "-cert.pub")).unwrap();
    let targets_authority = bastion.state().join("keys/user-ca");
    let own = key(&bastion, "own-authority", &["-t", "ed25519"]);
    let forged = key(&bastion, "forged", &["-t", "ed25519"]);
    let id = bastion.events("certificate.issued")[0]["subject"].clone();
    let id = id
        .as_str()
        .unwrap()
        .strip_prefix("certificate ")
        .unwrap()
        .to_owned();
    assert_eq!(
        bastion
            .ssh("alice")
            .key(stolen)
            .without_second_factor()
            .run("true")
            .status,
        Some(255)
    );
    for authority in [&targets_authority, &own] {
        sign(authority, &forged, &["-I", &id, "-n", "alice"]);
        let ran = bastion
            .ssh("alice")
            .key(forged.clone())
            .without_second_factor()
            .run("true");
        assert_eq!(ran.status, Some(255), "{}", authority.display());
    }
    // Nor could an operator go to a target with what he is given: it trusts another authority.
    let mut shown = Command::new("ssh-keygen");
    shown.args(["-L", "-f"]).arg(beside(&batch, "-cert.pub"));
    let shown = run(shown, b"", Duration::from_secs(10)).ok();
    let targets = fingerprint(&bastion.state().join("user-ca.pub"));
    assert!(shown.contains("Signing CA"), "{shown}");
    assert!(!shown.contains(&targets), "{shown}");
}

#[test]
fn a_certificate_is_issued_to_whoever_was_asked_for_both_factors_just_now() {
    let bastion = Bastion::start(Options::default());
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    let public = fs::read(beside(&batch, ".pub")).unwrap();
    certify(&bastion, "alice", &batch, "certificate");
    let by_it = bastion
        .bare("alice")
        .key(batch.clone())
        .without_second_factor();
    let again = by_it.run_with_input(&["certificate"], &public);
    assert!(
        again.stderr.contains("asked for the second factor"),
        "{again:?}"
    );
    assert_eq!(again.stdout, "");
    let bob = Shared::open(&bastion.bare("bob"), bastion.dir.path());
    let alices = Command::new("ssh-keygen")
        .arg("-yf")
        .arg(&bastion.operator("alice").key)
        .output()
        .unwrap()
        .stdout;
    let rsa = key(&bastion, "rsa", &["-t", "rsa", "-b", "3072"]);
    let private = fs::read(&batch).unwrap();
    for (asked, input, said) in [
        (
            "certificate --lasts 11h",
            public.clone(),
            "between a minute and 10 hours",
        ),
        (
            "certificate --lasts 5s",
            public.clone(),
            "between a minute and 10 hours",
        ),
        ("certificate", b"hello\n".to_vec(), "not a public key"),
        ("certificate", Vec::new(), "not a public key"),
        ("certificate", alices, "somebody else's key"),
        ("certificate", private, "not a public key"),
        (
            "certificate",
            fs::read(beside(&rsa, ".pub")).unwrap(),
            "ed25519",
        ),
        (
            "certificate --revoke ce-00",
            Vec::new(),
            "you have no certificate `ce-00`",
        ),
    ] {
        let ran = bob.run_with_input(asked, &input);
        assert_ne!(ran.status, Some(0), "{asked}");
        assert!(ran.stderr.contains(said), "{asked}: {ran:?}");
    }
    assert_eq!(bastion.events("certificate.issued").len(), 1);

    let reusing = Bastion::start(Options::logged_in_already());
    let _ = reusing.bare("alice").run("whoami").ok();
    let ran = reusing
        .bare("alice")
        .run_with_input(&["certificate"], &public);
    assert!(
        ran.stderr.contains("asked for the second factor"),
        "{ran:?}"
    );
}

#[test]
fn a_certificate_that_is_revoked_opens_nothing_and_ends_what_it_opened() {
    let bastion = Bastion::start(Options::default());
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    certify(&bastion, "alice", &batch, "certificate");
    let bare = Shared::open(
        &bastion
            .bare("alice")
            .key(batch.clone())
            .without_second_factor(),
        bastion.dir.path(),
    );
    let listed = bare.run("certificate --list --json").ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed["certificates"][0]["id"].as_str().unwrap().to_owned();
    let ssh = bastion
        .ssh("alice")
        .key(batch.clone())
        .without_second_factor();
    let running = Running::of(&ssh.motive("revoked"));
    let revoked = bastion.admin(&["certificate", "revoke", &id, "--reason", "laptop lost"]);
    assert!(revoked.ok().contains("is out of use"));
    running.ends_with(&bastion, "revoked", "second_factor_missing");
    let told = bare.run("whoami");
    told.refused_with("second_factor_missing");
    assert!(told.stderr.contains("was revoked"), "{told:?}");
    let ssh = bastion.ssh("alice").key(batch).without_second_factor();
    assert_eq!(ssh.run("true").status, Some(255));
    assert!(
        bastion
            .admin(&["certificate", "list"])
            .ok()
            .contains("no certificate")
    );
}

#[test]
fn a_key_or_a_factor_that_is_taken_away_ends_what_was_opened_with_it() {
    let bastion = Bastion::start(Options::logged_in_already());
    let _ = bastion.ssh("bob").run("true").ok();
    let running = Running::of(&bastion.ssh("alice").motive("key-removed"));
    let bare = Shared::open(&bastion.bare("alice"), bastion.dir.path());
    let untouched = Running::of(&bastion.ssh("bob").motive("factor-revoked"));
    let other = key(&bastion, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(beside(&other, ".pub")).unwrap();
    declare_keys(&bastion, "alice", &[other.trim()]);
    running.ends_with(&bastion, "key-removed", "operator_unknown");
    bare.run("whoami").refused_with("operator_unknown");
    let mut jump = bare.command(&["-W", "db1.chu-exemple:22"]);
    jump.stdin(Stdio::null());
    let jump = run(jump, b"", Duration::from_secs(20));
    assert_ne!(jump.status, Some(0), "{jump:?}");
    assert!(bastion.events("request.refused").iter().any(|entry| {
        entry["detail"]["request"] == "direct-tcpip"
            && entry["detail"]["codes"][0] == "operator_unknown"
    }));
    assert_eq!(bastion.ssh("alice").run("true").status, Some(255));

    let holder = Holder::Operator(OperatorId::parse("bob").unwrap());
    let factors = bastion.rows(|store| async move { store.factors(&holder).await.unwrap() });
    let used = bastion.session("factor-revoked").credentials.factor;
    assert!(factors.iter().any(|factor| factor.id == used));
    let arguments = [
        "factor",
        "revoke",
        "bob",
        used.as_str(),
        "--reason",
        "phone lost",
    ];
    let _ = bastion.admin(&arguments).ok();
    untouched.ends_with(&bastion, "factor-revoked", "second_factor_missing");
    // Nor is it reused within the window.
    let ran = bastion.ssh("bob").without_second_factor().run("true");
    assert_eq!(ran.status, Some(255), "{ran:?}");
}

#[test]
fn an_authority_that_is_declared_for_a_person_certifies_his_key() {
    let bastion = Bastion::start(Options::default());
    let authority = key(&bastion, "authority", &["-t", "ed25519"]);
    let laptop = key(&bastion, "laptop", &["-t", "ecdsa"]);
    let public = fs::read_to_string(beside(&authority, ".pub")).unwrap();
    let line = format!("cert-authority {}", public.trim());
    declare_keys(&bastion, "alice", &[&line]);

    let ssh = || bastion.ssh("alice").key(laptop.clone());
    let refused: [&[&str]; 7] = [
        &["-n", "bob"],
        &[],
        &["-n", "alice", "-h"],
        &["-n", "alice", "-O", "force-command=true"],
        &["-n", "alice", "-O", "verify-required"],
        &["-n", "alice", "-O", "source-address=192.0.2.0/24"],
        &["-n", "alice", "-V", "20250101:20250102"],
    ];
    for options in refused {
        sign(&authority, &laptop, &[&["-I", "laptop"], options].concat());
        let ran = ssh().code("000000").run("true");
        assert_eq!(ran.status, Some(255), "{options:?}: {ran:?}");
    }
    assert_eq!(ssh().questions(), Vec::<String>::new(), "nobody was asked");
    // The authority's own key is no key of hers.
    let as_key = bastion.ssh("alice").key(authority.clone()).code("000000");
    let as_key = as_key.run("true");
    assert_eq!(as_key.status, Some(255));

    let good = [
        "-I",
        "laptop",
        "-n",
        "olga,alice",
        "-O",
        "source-address=127.0.0.0/8",
    ];
    sign(&authority, &laptop, &good);
    let one_factor = ssh().without_second_factor().run("true");
    assert_eq!(one_factor.status, Some(255), "one factor is not two");
    let running = Running::of(&ssh().motive("certified"));
    let session = bastion.session("certified");
    let expected = format!(
        "cert-authority {}",
        fingerprint(&beside(&authority, ".pub"))
    );
    assert_eq!(session.credentials.key, expected);
    let certified = session.credentials.certified.unwrap();
    assert_eq!(certified.name, "laptop");
    assert_eq!(certified.key, fingerprint(&beside(&laptop, ".pub")));
    let other = key(&bastion, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(beside(&other, ".pub")).unwrap();
    declare_keys(&bastion, "alice", &[other.trim()]);
    running.ends_with(&bastion, "certified", "operator_unknown");
}

#[test]
fn a_factor_is_not_reused_by_another_key_of_the_same_authority() {
    let bastion = Bastion::start(Options::logged_in_already());
    let authority = key(&bastion, "authority", &["-t", "ed25519"]);
    let public = fs::read_to_string(beside(&authority, ".pub")).unwrap();
    let line = format!("cert-authority {}", public.trim());
    declare_keys(&bastion, "alice", &[&line]);
    let [proven, other] = ["proven", "other"].map(|name| {
        let key = key(&bastion, name, &["-t", "ed25519"]);
        sign(&authority, &key, &["-I", "laptop", "-n", "alice"]);
        key
    });
    let code = bastion.fresh_code("alice");
    let ssh = |key: &PathBuf| bastion.ssh("alice").key(key.clone());
    assert_eq!(ssh(&proven).code(&code).run("echo in").ok(), "in\n");
    let reused = ssh(&proven).without_second_factor().motive("reused");
    assert_eq!(reused.run("echo in").ok(), "in\n", "the same key may");
    assert!(bastion.session("reused").factor_reused);
    let ran = ssh(&other).without_second_factor().run("echo in");
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert_eq!(ran.stdout, "");
    let abandoned = || bastion.events("login.abandoned");
    eventually("that it was tried", Duration::from_secs(10), || {
        let key = fingerprint(&beside(&other, ".pub"));
        abandoned()
            .iter()
            .any(|entry| entry["detail"]["key"] == key)
    });
    assert_eq!(bastion.sessions("alice").len(), 2);
}

#[test]
fn whoever_is_suspended_while_his_certificate_waits_for_its_key_gets_none() {
    let bastion = Bastion::start(Options::default());
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    let waiting = WaitingForKey::of(&bastion.bare("alice"));
    let suspended = bastion.declared("alice", None, "state = 'suspended'");
    let _ = bastion.apply(&suspended).ok();
    let ran = waiting.given(&beside(&batch, ".pub"));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("operator `alice` is suspended"),
        "{ran:?}"
    );
    assert!(bastion.events("certificate.issued").is_empty());
    let in_use = bastion.rows(|store| async move {
        let all = store.certificates_in_use(None, e2e::time()).await;
        all.unwrap()
    });
    assert!(in_use.is_empty(), "{in_use:?}");
}

/// Ten minutes by the clock on the wall; that the key comes late by the other one is `login`'s own
/// test.
#[test]
fn a_key_that_comes_ten_minutes_after_the_second_factor_is_not_certified() {
    let mut clock = Clock::new();
    let bastion = Bastion::start(Options {
        environment: clock.environment(),
        ..Options::default()
    });
    let batch = key(&bastion, "batch", &["-t", "ed25519"]);
    let public = beside(&batch, ".pub");
    // Nothing else is in the way.
    let in_time = WaitingForKey::of(&bastion.bare("bob")).given(&public);
    assert!(in_time.ok().starts_with("ssh-ed25519-cert-v01@"));
    let idle = Shared::open(&bastion.bare("operator3"), bastion.dir.path());
    let waiting = WaitingForKey::of(&bastion.bare("alice"));
    clock.set_forward(11 * 60);
    eventually(
        "the bastion's clock has gone on",
        Duration::from_secs(10),
        || {
            let mut subsystem = idle.command(&["-s"]);
            subsystem.arg("netconf");
            let _ = run(subsystem, b"", Duration::from_secs(20));
            let refused = bastion.events("request.refused");
            let at = refused.last().and_then(|entry| entry["at"].as_i64());
            let at = access::Time::from_micros(at.unwrap_or_default());
            at > e2e::time().plus(Duration::from_mins(10))
        },
    );
    // Whoever was asking already, and whoever asks then.
    let asked = idle.run_with_input("certificate", &fs::read(&public).unwrap());
    for ran in [waiting.given(&public), asked] {
        assert_ne!(ran.status, Some(0), "{ran:?}");
        assert_eq!(ran.stdout, "");
        let why = "the second factor was given more than 10 minutes ago";
        assert!(ran.stderr.contains(why), "{ran:?}");
    }
    assert_eq!(bastion.events("certificate.issued").len(), 1);
}

#[test]
fn a_security_key_that_was_touched_is_one_factor() {
    let bastion = Bastion::start(Options::default());
    let public = security_key(&["public"]).ok();
    declare_keys(&bastion, "alice", &[public.trim()]);
    let port = bastion.ready.ssh.rsplit_once(':').unwrap().1;
    for flags in ["1", "5"] {
        let code = bastion.fresh_code("alice");
        let user = format!("alice+{}+db1.chu-exemple", bastion.account);
        let ran = security_key(&[port, &user, &code, flags, "echo in"]);
        assert_eq!(ran.ok(), "in\n");
        let one_factor = security_key(&[port, &user, "", flags, "echo in"]);
        assert_ne!(one_factor.status, Some(0), "{one_factor:?}");
    }
    // Software alone can have it sign, where nobody touches it.
    let code = bastion.fresh_code("alice");
    let user = format!("alice+{}+db1.chu-exemple", bastion.account);
    for flags in ["0", "4"] {
        let untouched = security_key(&[port, &user, &code, flags, "echo in"]);
        assert_ne!(untouched.status, Some(0), "{untouched:?}");
    }
    let session = bastion.sessions("alice").remove(0);
    let line = bastion.dir.path().join("security-key.pub");
    fs::write(&line, public).unwrap();
    assert_eq!(session.credentials.key, fingerprint(&line));
}

// ---- helpers ----

fn security_key(arguments: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/security_key.py");
    let mut client = Command::new("/usr/bin/python3");
    client.arg(script).args(arguments);
    run(client, b"", Duration::from_secs(60))
}

/// A new key of this kind, without a passphrase.
fn key(bastion: &Bastion, name: &str, kind: &[&str]) -> PathBuf {
    let path = bastion.dir.path().join(name);
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", "", "-C", name]).args(kind);
    make.arg("-f").arg(&path);
    let _ = run(make, b"", Duration::from_secs(60)).ok();
    path
}

/// `key-cert.pub` of `key`.
fn beside(key: &Path, ending: &str) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Asks the bastion for a certificate of `key`, with both factors, and puts it where `ssh` looks.
fn certify(bastion: &Bastion, login: &str, key: &Path, command: &str) {
    let public = fs::read(beside(key, ".pub")).unwrap();
    let given = bastion.bare(login).run_with_input(&[command], &public).ok();
    assert!(
        given.starts_with("ssh-ed25519-cert-v01@openssh.com "),
        "{given}"
    );
    fs::write(beside(key, "-cert.pub"), given).unwrap();
}

/// Signs a certificate of `key` as `ssh-keygen` does, and puts it where `ssh` looks.
fn sign(authority: &Path, key: &Path, options: &[&str]) {
    let mut sign = Command::new("ssh-keygen");
    sign.arg("-q").arg("-s").arg(authority).args(options);
    sign.arg(beside(key, ".pub"));
    let _ = run(sign, b"", Duration::from_secs(10)).ok();
}

fn fingerprint(key: &Path) -> String {
    let mut shown = Command::new("ssh-keygen");
    shown.arg("-lf").arg(key);
    let shown = run(shown, b"", Duration::from_secs(10)).ok();
    shown.split_whitespace().nth(1).unwrap().to_owned()
}

fn declare_keys(bastion: &Bastion, login: &str, keys: &[&str]) {
    let declared = bastion.declared(login, Some(keys), "");
    let _ = bastion.apply(&declared).ok();
}

/// A client that asks for a certificate and has not sent the key yet.
struct WaitingForKey {
    client: Child,
    said: BufReader<ChildStderr>,
}

impl WaitingForKey {
    /// Once the bastion has answered that the command runs.
    fn of(ssh: &Ssh<'_>) -> Self {
        let mut client = ssh
            .command_with(&["-oLogLevel=DEBUG2"])
            .arg("certificate")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(client.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("exec request accepted") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        Self { client, said }
    }

    fn given(mut self, public: &Path) -> Ran {
        let mut input = self.client.stdin.take().unwrap();
        input.write_all(&fs::read(public).unwrap()).unwrap();
        drop(input);
        let mut stderr = String::new();
        self.said.read_to_string(&mut stderr).unwrap();
        Ran {
            stderr,
            ..Ran::from(self.client.wait_with_output().unwrap())
        }
    }
}

/// A program on a target that goes on until it is ended.
struct Running {
    client: Child,
}

impl Running {
    fn of(ssh: &Ssh<'_>) -> Self {
        let mut client = ssh.spawn(&["echo running; while :; do echo on; sleep 0.3; done"]);
        let mut first = String::new();
        let output = client.stdout.as_mut().unwrap();
        BufReader::with_capacity(8, output)
            .read_line(&mut first)
            .unwrap();
        assert_eq!(first, "running\n");
        Self { client }
    }

    /// Within seconds from now, and says why.
    fn ends_with(mut self, bastion: &Bastion, motive: &str, code: &str) {
        let at = now();
        let mut rest = String::new();
        self.client
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        let ended: Ran = self.client.wait_with_output().unwrap().into();
        assert!(now().duration_since(at) < AT_ONCE, "{code}");
        ended.refused_with(code);
        eventually("the trace says why", Duration::from_secs(10), || {
            let entries = bastion.events("session.ended");
            let id = bastion.session(motive).id.to_string();
            entries.iter().any(|entry| {
                entry["session"] == id && entry["detail"]["reason"].as_str().unwrap().contains(code)
            })
        });
    }
}
