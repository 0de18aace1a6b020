//! Files through the bastion: what arrives is what was sent, the journal names each with its
//! SHA-256, and a direction that is not covered is refused in the protocol's own words.
//!
//! Needs `rsync`, `git`, `sha256sum` and Python with paramiko beside OpenSSH.

use access::grant::{Operation, Scope};
use access::review::{Attestations, Review, ReviewDecision};
use access::{OperatorId, Session};
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, Shared, Ssh, Way, eventually, noise_of, time};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

static BASTION: Common = Common::new();

const BIG: usize = 64 * 1024 * 1024;

fn bastion() -> Arc<Bastion> {
    BASTION.bastion(Options::logged_in_already)
}

#[test]
fn scp_copies_both_ways_and_each_file_is_in_the_journal() {
    let bastion = bastion();
    for mode in ["-s", "-O"] {
        for way in Way::ALL {
            let (place, name) = (Place::new(&bastion), format!("scp{mode}-{way:?}"));
            let ssh = bastion.ssh("alice").by(way).motive(&format!("{name}-up"));
            let mut up = ssh.copying("scp");
            up.args([mode, "-rp"]).arg(&place.here).arg(format!(
                "{}:{}",
                ssh.host(),
                place.there.display()
            ));
            let _ = within_two_minutes(up).ok();
            place.arrived(&place.here, &place.there);
            place.named(&bastion, &format!("{name}-up"), "upload");

            let ssh = bastion.ssh("alice").by(way).motive(&format!("{name}-down"));
            let mut down = ssh.copying("scp");
            down.args([mode, "-rp"])
                .arg(format!("{}:{}", ssh.host(), place.there.display()))
                .arg(&place.back);
            let _ = within_two_minutes(down).ok();
            place.arrived(&place.here, &place.back);
            place.named(&bastion, &format!("{name}-down"), "download");
        }
    }
}

#[test]
fn sftp_in_a_batch_does_all_it_can() {
    let bastion = bastion();
    for way in Way::ALL {
        let (place, motive) = (Place::new(&bastion), format!("sftp-b-{way:?}"));
        let there = place.there.display();
        let batch = format!(
            "put -r {here} {there}\nget -r {there} {back}\nls -la {there}\ncd {there}\n\
             mkdir new\nput {here}/dir0/file0 new/a\nrename new/a new/b\nchmod 600 new/b\n\
             symlink b new/link\nln new/b new/hard\ndf\nreget {there}/new/b {back}/again\n\
             rm new/b\nrm new/link\nrm new/hard\nrmdir new\n",
            here = place.here.display(),
            back = place.back.display(),
        );
        let ran = sftp(&bastion.ssh("bob").by(way).motive(&motive), &batch);
        let _ = ran.ok();
        place.arrived(&place.here, &place.there);
        place.arrived_but(&place.here, &place.back, "again");
        place.named(&bastion, &motive, "upload");
        place.named(&bastion, &motive, "download");
        let journal = bastion.journal(&bastion.ended_session(&motive));
        for (operation, path) in [
            ("mkdir", "new"),
            ("rename", "new/a -> "),
            ("setstat", "new/b"),
            ("symlink", "b -> "),
            ("hardlink", "new/b -> "),
            ("remove", "new/hard"),
            ("rmdir", "new"),
            ("list", "files"),
        ] {
            let done = operations(&journal, operation);
            assert!(
                done.iter().any(|line| {
                    text(line, "path").contains(path) && text(line, "outcome").starts_with("done")
                }),
                "{operation} {path}: {done:?}"
            );
            if operation != "list" {
                assert!(
                    done.iter()
                        .any(|line| text(line, "outcome").starts_with("asked")),
                    "{operation} was written down before it was done"
                );
            }
        }
        verified(&bastion, &bastion.ended_session(&motive));
    }
}

#[test]
fn rsync_works_and_is_told() {
    let bastion = bastion();
    for way in Way::ALL {
        let (place, name) = (Place::new(&bastion), format!("rsync-{way:?}"));
        for (direction, from, to) in [
            ("upload", &place.here, &place.there),
            ("download", &place.there, &place.back),
        ] {
            let motive = format!("{name}-{direction}");
            let ssh = bastion.ssh("alice").by(way).motive(&motive);
            let remote = |path: &Path| format!("{}:{}/", ssh.host(), path.display());
            let local = |path: &Path| format!("{}/", path.display());
            let mut rsync = Command::new("rsync");
            rsync.args(["-a", "-e", &ssh.shell_words()]);
            if direction == "upload" {
                rsync.args([local(from), remote(to)]);
            } else {
                rsync.args([remote(from), local(to)]);
            }
            let _ = within_two_minutes(rsync).ok();
            let journal = bastion.journal(&bastion.ended_session(&motive));
            let told = format!("rsync, {direction}: {}/", place.there.display());
            assert!(
                journal
                    .iter()
                    .any(|line| line["event"] == "note" && text(line, "text").contains(&told)),
                "{told}: {journal:?}"
            );
        }
        place.arrived(&place.here, &place.there);
        place.arrived(&place.here, &place.back);
    }
}

#[test]
fn git_clones_and_pushes_and_is_told() {
    let bastion = bastion();
    for way in Way::ALL {
        let place = Place::empty(&bastion);
        let (bare, clone) = (place.there.join("x.git"), place.back.join("x"));
        let _ = git(&["init", "-q", "--bare", bare.to_str().unwrap()], "").ok();
        let motive = format!("git-{way:?}");
        let ssh = bastion.ssh("bob").by(way).motive(&motive);
        let url = format!("{}:{}", ssh.host(), bare.display());
        let _ = git(
            &["clone", "-q", &url, clone.to_str().unwrap()],
            &ssh.shell_words(),
        )
        .ok();
        fs::write(clone.join("file"), "content").unwrap();
        let at = ["-C", clone.to_str().unwrap()];
        let me = ["-c", "user.name=t", "-c", "user.email=t@t.example"];
        let _ = git(&[&at[..], &["add", "file"]].concat(), "").ok();
        let commit = [&at[..], &me[..], &["commit", "-qm", "one"]].concat();
        let _ = git(&commit, "").ok();
        let pushed = format!("{motive}-pushed");
        let ssh = bastion.ssh("bob").by(way).motive(&pushed);
        let push = [&at[..], &["push", "-q", "origin", "HEAD:main"]].concat();
        let _ = git(&push, &ssh.shell_words()).ok();
        let heads = git(&["--git-dir", bare.to_str().unwrap(), "log", "main"], "").ok();
        assert!(heads.contains("one"), "{heads}");
        for (motive, told) in [(motive, "git, download: "), (pushed, "git, upload: ")] {
            let told = format!("{told}{}", bare.display());
            let journal = bastion.journal(&bastion.ended_session(&motive));
            assert!(
                journal
                    .iter()
                    .any(|line| line["event"] == "note" && text(line, "text").contains(&told)),
                "{told}: {journal:?}"
            );
        }
    }
}

#[test]
fn paramiko_copies_both_ways() {
    let bastion = bastion();
    for way in Way::ALL {
        let (place, motive) = (Place::new(&bastion), format!("paramiko-{way:?}"));
        let mut python = paramiko(&bastion, way, PARAMIKO);
        python
            .args([&place.here, &place.there, &place.back])
            .arg(&motive);
        let _ = within_two_minutes(python).ok();
        place.arrived(&place.here, &place.there);
        place.arrived(&place.here, &place.back);
        place.named(&bastion, &motive, "upload");
        place.named(&bastion, &motive, "download");
    }
}

#[test]
fn refusals_do_not_disturb_a_download_of_the_same_channel() {
    let bastion = Bastion::start(only("download"));
    for way in Way::ALL {
        let (place, motive) = (Place::new(&bastion), format!("mixed-{way:?}"));
        let script = PARAMIKO.split("# What is copied").next().unwrap();
        let script = format!("{script}\n{MIXED}");
        let mut python = paramiko(&bastion, way, &script);
        python
            .args([&place.here.join("big"), &place.there, &place.back])
            .arg(&motive);
        let printed = within_two_minutes(python).ok();
        assert_eq!(
            printed.trim(),
            format!("{} refused 256", digests(&place.here)["big"])
        );
        assert!(!place.there.exists());
        let journal = bastion.journal(&bastion.ended_session(&motive));
        let refused = journal.iter().filter(|line| line["event"] == "refused");
        assert_eq!(refused.count(), 256);
    }
}

#[test]
fn without_upload_nothing_is_written_and_reading_goes_on() {
    let bastion = Bastion::start(only("shell,exec,download"));
    for way in Way::ALL {
        let place = Place::new(&bastion);
        fs::create_dir_all(&place.there).unwrap();
        let (kept, there) = (place.there.join("kept"), place.there.display());
        fs::write(&kept, "kept as it was").unwrap();
        let motive = format!("no-upload-{way:?}");
        let batch = format!(
            "-put {here}/big {there}/big\n-rename {there}/kept {there}/moved\n-rm {there}/kept\n\
             -mkdir {there}/new\n-rmdir {there}\n-symlink {there}/kept {there}/link\n\
             -ln {there}/kept {there}/hard\n-chmod 777 {there}/kept\n\
             get {there}/kept {back}\nls {there}\n",
            here = place.here.display(),
            back = place.back.display(),
        );
        fs::create_dir_all(&place.back).unwrap();
        let ran = sftp(&bastion.ssh("alice").by(way).motive(&motive), &batch);
        assert_eq!(
            ran.stderr
                .to_lowercase()
                .matches("permission denied")
                .count(),
            8,
            "{ran:?}"
        );
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert_eq!(
            fs::read_to_string(place.back.join("kept")).unwrap(),
            "kept as it was"
        );
        let left: Vec<_> = fs::read_dir(&place.there).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept as it was");
        let journal = bastion.journal(&bastion.ended_session(&motive));
        for operation in [
            "open_write",
            "rename",
            "remove",
            "mkdir",
            "rmdir",
            "symlink",
            "hardlink",
            "setstat",
        ] {
            assert!(
                journal.iter().any(|line| line["event"] == "refused"
                    && text(line, "request") == format!("sftp {operation}")
                    && text(line, "sentence").contains(there.to_string().as_str())),
                "{operation}: {journal:?}"
            );
            assert!(operations(&journal, operation).is_empty(), "{operation}");
        }
        // The old protocol is one direction from the start.
        let ssh = bastion.ssh("alice").by(way);
        let mut up = ssh.copying("scp");
        up.arg("-O")
            .arg(place.here.join("big"))
            .arg(format!("{}:{there}/big", ssh.host()));
        let refused = within_two_minutes(up);
        assert!(refused.stderr.contains("Refused ("), "{refused:?}");
        assert!(!place.there.join("big").exists());
        let mut down = ssh.copying("scp");
        down.arg("-O")
            .arg(format!("{}:{there}/kept", ssh.host()))
            .arg(place.back.join("old"));
        let _ = within_two_minutes(down).ok();
    }
}

#[test]
fn without_download_nothing_is_read_and_writing_goes_on() {
    let bastion = Bastion::start(only("upload"));
    for way in Way::ALL {
        let place = Place::new(&bastion);
        fs::create_dir_all(&place.there).unwrap();
        fs::create_dir_all(&place.back).unwrap();
        let there = place.there.display();
        fs::write(place.there.join("secret"), "not to be read").unwrap();
        let motive = format!("no-download-{way:?}");
        let batch = format!(
            "-get {there}/secret {back}/secret\nput {here}/dir0/file0 {there}/new\nls {there}\n\
             rename {there}/new {there}/newer\n",
            here = place.here.display(),
            back = place.back.display(),
        );
        let ran = sftp(&bastion.ssh("bob").by(way).motive(&motive), &batch);
        assert!(
            ran.stderr.to_lowercase().contains("permission denied"),
            "{ran:?}"
        );
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert_eq!(
            fs::read(place.there.join("newer")).unwrap(),
            fs::read(place.here.join("dir0/file0")).unwrap()
        );
        let read = fs::read(place.back.join("secret")).unwrap_or_default();
        assert_eq!(read, b"", "nothing of it came");
        let ssh = bastion.ssh("bob").by(way);
        let mut down = ssh.copying("scp");
        down.arg("-O")
            .arg(format!("{}:{there}/secret", ssh.host()))
            .arg(place.back.join("old"));
        let refused = within_two_minutes(down);
        assert!(refused.stderr.contains("Refused ("), "{refused:?}");
        assert!(!place.back.join("old").exists());
        // Nor by a command.
        let ran = bastion.ssh("bob").by(way).run("echo in");
        ran.refused_with("operation_not_in_intervention");
    }
}

#[test]
fn what_could_be_more_than_scp_needs_exec() {
    let bastion = Bastion::start(only("upload,download"));
    let canary = bastion.dir.path().join("canary");
    for command in [
        format!("scp -t x; touch {}", canary.display()),
        format!("scp -f \"$(touch {})\"", canary.display()),
        format!("scp -f `touch {}`", canary.display()),
        format!("scp -f x | touch {}", canary.display()),
        format!("scp -S{} -t x", canary.display()),
        "/tmp/scp -t x".to_owned(),
        "id".to_owned(),
    ] {
        let ran = bastion.ssh("alice").run(&command);
        ran.refused_with("operation_not_in_intervention");
    }
    assert!(!canary.exists());
}

#[test]
fn a_direction_that_is_taken_back_is_refused_in_the_session_that_runs() {
    let bastion = Bastion::start(Options::logged_in_already());
    let place = Place::new(&bastion);
    fs::create_dir_all(&place.there).unwrap();
    let ssh = bastion.ssh("alice").motive("taken-back");
    let mut client = ssh.copying("sftp");
    let mut client = client
        .args(["-q", ssh.host()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    let there = place.there.display();
    let file = place.here.join("dir0/file0");
    let file = file.display();
    writeln!(input, "put {file} {there}/before").unwrap();
    eventually("the first arrives", Duration::from_secs(20), || {
        place.there.join("before").exists()
    });
    reduce_to_reading(&bastion, "alice");
    eventually("the watch has noticed", Duration::from_secs(10), || {
        bastion.log().contains("is not covered any more")
    });
    writeln!(input, "put {file} {there}/after").unwrap();
    writeln!(
        input,
        "get {there}/before {}",
        place.here.join("read").display()
    )
    .unwrap();
    drop(input);
    let ran = Ran::from(client.wait_with_output().unwrap());
    assert!(
        ran.stderr.to_lowercase().contains("permission denied"),
        "{ran:?}"
    );
    assert!(!place.there.join("after").exists());
    assert!(place.here.join("read").exists(), "reading goes on: {ran:?}");
    let journal = bastion.journal(&bastion.ended_session("taken-back"));
    assert!(
        journal.iter().any(|line| line["event"] == "warning"),
        "{journal:?}"
    );
}

#[test]
fn a_client_that_speaks_no_sftp_is_told_and_loses_its_channel_only() {
    let bastion = bastion();
    let shared = Shared::open(&bastion.ssh("bob").motive("nonsense"), bastion.dir.path());
    let mut subsystem = shared.command(&["-s"]);
    subsystem.arg("sftp");
    let ran = run(subsystem, &[0xff; 64], Duration::from_secs(20));
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(ran.stderr.contains("cannot be followed"), "{ran:?}");
    assert_eq!(shared.run("echo goes on").ok(), "goes on\n");
    drop(shared);
    let journal = bastion.journal(&bastion.ended_session("nonsense"));
    assert!(
        journal
            .iter()
            .any(|line| line["event"] == "refused" && line["code"] == "protocol_not_followed"),
        "{journal:?}"
    );
}

/// A person's right, reviewed and reduced to everything but uploads.
fn reduce_to_reading(bastion: &Bastion, login: &str) {
    let login = OperatorId::parse(login).unwrap();
    bastion.rows(|store| async move {
        let filter = store::GrantFilter {
            operator: Some(login),
            limit: 10,
            ..store::GrantFilter::default()
        };
        let grant = store.grants(filter).await.unwrap().remove(0);
        let mut scope: Scope = grant.terms.scope.clone();
        scope.operations.remove(&Operation::Upload);
        let reviewer = OperatorId::parse("marie").unwrap();
        let reviewer = store.operator(&reviewer).await.unwrap().unwrap();
        let review = Review {
            reviewer: reviewer.id.clone(),
            decision: ReviewDecision::Reduce { scope },
            attestations: Attestations::ALL,
            comment: "nothing is uploaded any more".to_owned(),
            at: time(),
        };
        store
            .save(grant.review(&reviewer, review, time()).unwrap())
            .await
            .unwrap();
    });
}

fn only(operations: &str) -> Options {
    Options::logged_in_already().with("--operations", operations)
}

/// A tree of small files beside a big one, where it is to go and where it is to come back.
struct Place {
    here: PathBuf,
    there: PathBuf,
    back: PathBuf,
    _directory: TempDir,
}

impl Place {
    fn empty(bastion: &Bastion) -> Self {
        let directory = tempfile::tempdir_in(bastion.dir.path()).unwrap();
        let at = |name: &str| directory.path().join(name);
        Self {
            here: at("here/files"),
            there: at("there/files"),
            back: at("back/files"),
            _directory: directory,
        }
        .with_parents()
    }

    fn with_parents(self) -> Self {
        for path in [&self.here, &self.there, &self.back] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        self
    }

    fn new(bastion: &Bastion) -> Self {
        let place = Self::empty(bastion);
        for directory in 0..5 {
            let directory = place.here.join(format!("dir{directory}"));
            fs::create_dir_all(&directory).unwrap();
            for file in 0..30 {
                let bytes = noise_of(file * 997 + 1, file as u64 + 1);
                fs::write(directory.join(format!("file{file}")), bytes).unwrap();
            }
        }
        fs::write(place.here.join("dir0/nothing"), "").unwrap();
        fs::write(place.here.join("dir1/un été"), "accents and a space").unwrap();
        fs::write(place.here.join("big"), noise_of(BIG, 99)).unwrap();
        place
    }

    fn arrived(&self, from: &Path, to: &Path) {
        self.arrived_but(from, to, "");
    }

    fn arrived_but(&self, from: &Path, to: &Path, besides: &str) {
        let mut arrived = digests(to);
        arrived.remove(besides);
        let sent = digests(from);
        assert!(sent.len() > 150, "{}", sent.len());
        assert_eq!(sent, arrived);
    }

    /// Each file is in the session's journal, with its digest.
    fn named(&self, bastion: &Bastion, motive: &str, operation: &str) {
        let journal = bastion.journal(&bastion.ended_session(motive));
        let lines = operations(&journal, operation);
        for (path, digest) in digests(&self.here) {
            let found = lines.iter().any(|line| {
                text(line, "path").ends_with(&format!("/{path}"))
                    && line["sha256"] == digest.as_str()
                    && text(line, "outcome").starts_with("done")
            });
            assert!(found, "{motive}: {operation} {path} {digest}: {lines:?}");
        }
        let notes: Vec<_> = lines
            .iter()
            .filter(|l| text(l, "outcome").contains("not in order"))
            .collect();
        assert!(notes.is_empty(), "{notes:?}");
    }
}

fn digests(root: &Path) -> BTreeMap<String, String> {
    let mut summed = Command::new("sh");
    summed
        .current_dir(root)
        .args(["-c", "find . -type f -print0 | xargs -0 sha256sum -z"]);
    let summed = run(summed, b"", Duration::from_secs(60)).ok();
    let lines = summed.split('\0').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (digest, path) = line.split_once("  ").unwrap();
            (path.trim_start_matches("./").to_owned(), digest.to_owned())
        })
        .collect()
}

fn operations<'a>(journal: &'a [Value], operation: &str) -> Vec<&'a Value> {
    journal
        .iter()
        .filter(|line| line["event"] == "file_operation" && line["operation"] == operation)
        .collect()
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

fn verified(bastion: &Bastion, session: &Session) {
    let _ = bastion
        .admin(&["recording", "verify", session.id.as_str()])
        .ok();
}

fn sftp(ssh: &Ssh<'_>, batch: &str) -> Ran {
    let mut client = ssh.copying("sftp");
    client.args(["-b", "-", ssh.host()]);
    run(client, batch.as_bytes(), Duration::from_secs(120))
}

fn git(arguments: &[&str], ssh: &str) -> Ran {
    let mut git = Command::new("git");
    git.args(arguments)
        .env("GIT_SSH_COMMAND", ssh)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    within_two_minutes(git)
}

/// A script that wants what is here, what is to be there, what is to come back, and a motive.
fn paramiko(bastion: &Bastion, way: Way, script: &str) -> Command {
    let (host, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let mut python = Command::new("timeout");
    python
        .args(["100", "/usr/bin/python3", "-c", script])
        .args([host, port, &bastion.account])
        .arg(if way == Way::Jump { "jump" } else { "name" })
        .arg(&bastion.operator("alice").key);
    python
}

fn within_two_minutes(command: Command) -> Ran {
    run(command, b"", Duration::from_secs(120))
}

const PARAMIKO: &str = r#"
import os, sys, paramiko
host, port, account, way, key, here, there, back, motive = sys.argv[1:]
key = paramiko.Ed25519Key.from_private_key_file(key)
def connect(user, sock=None):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, int(port), user, pkey=key, sock=sock, look_for_keys=False, allow_agent=False)
    return client
if way == "jump":
    outer = connect("alice")
    client = connect(account, outer.get_transport().open_channel("direct-tcpip", ("db1.chu-exemple", 22), ("127.0.0.1", 1)))
else:
    client = connect(f"alice+{account}+db1.chu-exemple")
channel = client.get_transport().open_session()
channel.set_environment_variable("BASTION_MOTIVE", motive)
channel.invoke_subsystem("sftp")
sftp = paramiko.SFTPClient(channel)
# What is copied
def each(root):
    for path, directories, files in os.walk(root):
        yield os.path.relpath(path, root), files
sftp.mkdir(there)
for directory, files in each(here):
    if directory != ".":
        sftp.mkdir(f"{there}/{directory}")
    for name in files:
        sftp.put(f"{here}/{directory}/{name}", f"{there}/{os.path.normpath(directory + '/' + name)}")
for directory, files in each(here):
    os.makedirs(f"{back}/{directory}", exist_ok=True)
    assert sorted(sftp.listdir(f"{there}/{directory}")) == sorted(os.listdir(f"{here}/{directory}"))
    for name in files:
        sftp.get(f"{there}/{os.path.normpath(directory + '/' + name)}", f"{back}/{directory}/{name}")
client.close()
"#;

const MIXED: &str = r#"
import hashlib
digest, refused = hashlib.sha256(), 0
with sftp.open(here, "rb") as big:
    big.prefetch(os.path.getsize(here))
    while True:
        piece = big.read(262144)
        if not piece:
            break
        digest.update(piece)
        try:
            sftp.mkdir(there)
        except PermissionError:
            refused += 1
print(digest.hexdigest(), "refused", refused)
client.close()
"#;
