//! Connections through a target (`-L`, `-D`, `-W`): only to what the plan lists, made by the target,
//! in the journal with destination, bytes and digests, and ended with the session.
//!
//! Needs `curl` and Python with paramiko beside OpenSSH.

mod client;
mod ends;
mod flow;
mod journal;
mod plans;
mod services;

use client::{Going, only_forwarding, there_and_back};
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, Way, free_port, noise_of};
use journal::{connections, ended, refused};
use services::{all_of, connect, echo, greet, http, nobody_came, serve};
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static BASTION: Common = Common::new();
/// A port of 127.0.0.1 that the plan lists, for each test that wants one.
static LISTED: LazyLock<Vec<u16>> = LazyLock::new(|| (0..8).map(|_| free_port()).collect());

const BIG: usize = 64 * 1024 * 1024;
const NOT_LISTED: &str = "destination_not_in_intervention";

/// The plan lists [`LISTED`] on 127.0.0.1, and every port of `localhost`.
fn bastion() -> Arc<Bastion> {
    BASTION.bastion(|| {
        let options = Options {
            operators: 24,
            ..Options::logged_in_already()
        };
        let listed = LISTED.iter().map(|port| format!("127.0.0.1:{port}"));
        listed
            .chain(["localhost:*".to_owned()])
            .fold(forwarding(options), |options, one| {
                options.with("--forward", &one)
            })
    })
}

fn forwarding(options: Options) -> Options {
    options.with("--operations", "shell,exec,forward")
}

#[test]
fn minus_l_carries_64_mib_each_way_and_the_journal_has_its_bytes_and_digests() {
    let bastion = bastion();
    let port = LISTED[0];
    serve(port, echo);
    for (way, number) in Way::ALL.into_iter().zip([0, 1]) {
        let who = bastion.login(number);
        let (through, client) = only_forwarding(&bastion.ssh(who).by(way), "127.0.0.1", port);
        let digest = there_and_back(through, noise_of(BIG, 7 + u64::from(port)));
        drop(client);

        let session = ended(&bastion, who);
        let journal = bastion.journal(&session);
        assert_eq!(journal[0]["event"], "session_started");
        let [one] = connections(&journal).try_into().unwrap();
        assert_eq!(one.to, format!("127.0.0.1:{port}"));
        assert!(one.from.starts_with("127.0.0.1 port "), "{}", one.from);
        assert_eq!(one.answer, "success");
        for side in ["stdin", "stdout"] {
            assert_eq!(one.closed[format!("{side}_bytes")], BIG, "{way:?}");
            assert_eq!(one.closed[format!("{side}_sha256")], digest, "{way:?}");
        }
        assert!(one.closed["opened_at"].as_i64() < one.closed["closed_at"].as_i64());
        // Nothing of it is kept: a connection has no cast.
        assert_eq!(one.closed["recorded_bytes"], 0);
        for arguments in [
            vec!["recording", "verify"],
            vec!["recording", "list"],
            vec!["audit", "verify"],
        ] {
            let _ = bastion.admin(&arguments).ok();
        }
    }
}

#[test]
fn minus_d_goes_to_what_is_listed_and_nowhere_else() {
    let bastion = bastion();
    let (any, unlisted) = (free_port(), free_port());
    serve(any, http);
    let came = serve(unlisted, http);
    for (way, number) in Way::ALL.into_iter().zip([2, 3]) {
        let who = bastion.login(number);
        let proxy = free_port();
        let ssh = bastion
            .ssh(who)
            .by(way)
            .option("-N")
            .option(&format!("-D127.0.0.1:{proxy}"));
        let client = Going::of(ssh.spawn(&[]), proxy);
        let curl = |url: &str| {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--noproxy", "", "--socks5-hostname"])
                .arg(format!("127.0.0.1:{proxy}"))
                .arg(url);
            run(curl, b"", Duration::from_secs(20))
        };
        assert_eq!(curl(&format!("http://localhost:{any}/")).ok(), "through\n");
        // The same place by another name, and no place of the plan.
        for url in [
            format!("http://127.0.0.1:{unlisted}/"),
            format!("http://db.internal:{any}/"),
        ] {
            let ran = curl(&url);
            assert_ne!(ran.status, Some(0), "{url}: {ran:?}");
            assert!(!ran.stdout.contains("through"), "{url}: {ran:?}");
        }
        assert_eq!(curl(&format!("http://localhost:{any}/")).ok(), "through\n");
        drop(client);
        let session = ended(&bastion, who);
        let journal = bastion.journal(&session);
        let went: Vec<_> = connections(&journal)
            .into_iter()
            .map(|one| one.to)
            .collect();
        assert_eq!(went, vec![format!("localhost:{any}"); 2]);
        refused(
            &bastion,
            &session,
            &format!("127.0.0.1:{unlisted}"),
            NOT_LISTED,
        );
        refused(
            &bastion,
            &session,
            &format!("db.internal:{any}"),
            NOT_LISTED,
        );
    }
    nobody_came(&came);
}

#[test]
fn minus_w_reaches_what_is_listed_and_says_why_it_does_not_reach_the_rest() {
    let bastion = bastion();
    let (port, unlisted) = (LISTED[1], free_port());
    serve(port, echo);
    let came = serve(unlisted, echo);
    for (way, number) in Way::ALL.into_iter().zip([4, 5]) {
        let who = bastion.login(number);
        let to = |port: u16| {
            let ssh = bastion.ssh(who).by(way).option("-oLogLevel=INFO");
            ssh.option(&format!("-W127.0.0.1:{port}"))
                .run_with_input(&[], b"there and back\n")
        };
        assert_eq!(to(port).ok(), "there and back\n");
        let session = ended(&bastion, who);
        let ran = to(unlisted);
        ran.refused_with(NOT_LISTED);
        assert_eq!(ran.stdout, "");
        let said = ran.stderr.replace('\n', " ");
        assert!(said.contains("administratively prohibited"), "{said}");
        let next = format!("request {TARGET} --operations forward --forward 127.0.0.1:{unlisted}");
        assert!(said.contains(&next), "{said}");
        let sessions = bastion.sessions(who);
        assert_eq!(sessions.len(), 1, "what is refused opens no session");
        assert_eq!(sessions[0].id, session.id);
    }
    nobody_came(&came);
}

#[test]
fn what_is_not_listed_is_refused_and_traced_and_the_session_goes_on() {
    let bastion = bastion();
    let unlisted = free_port();
    let came = serve(unlisted, greet);
    for (way, number) in Way::ALL.into_iter().zip([6, 7]) {
        let (who, local) = (bastion.login(number), free_port());
        let ssh = bastion.ssh(who).by(way).option("-oLogLevel=INFO");
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:127.0.0.1:{unlisted}"));
        let mut client = ssh.spawn(&["echo ready; cat"]);
        let mut ready = [0; 6];
        let stdout = client.stdout.as_mut().unwrap();
        stdout.read_exact(&mut ready).unwrap();
        for _ in 0..3 {
            assert_eq!(all_of(connect(local)), b"", "nothing came through");
        }
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"goes on\n").unwrap();
        drop(stdin);
        let left = Ran::from(client.wait_with_output().unwrap());
        assert!(left.stderr.contains(NOT_LISTED), "{left:?}");
        assert_eq!(left.ok(), "goes on\n");
        let session = ended(&bastion, who);
        refused(
            &bastion,
            &session,
            &format!("127.0.0.1:{unlisted}"),
            NOT_LISTED,
        );
        assert!(connections(&bastion.journal(&session)).is_empty());
    }
    nobody_came(&came);
}
