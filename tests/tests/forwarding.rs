//! Connections through a target (`-L`, `-D`, `-W`): only to what the plan lists, made by the target,
//! in the journal with destination, bytes and digests, and ended with the session.
//!
//! Needs `curl` and Python with paramiko beside OpenSSH.

use access::approval::Decision;
use access::audit::{hex, sha256};
use access::forward::parse_list;
use access::grant::Operation;
use access::plan::PlanText;
use access::session::SessionState;
use access::{Intervention, InterventionId, Operator, Session};
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Ran, Ssh, Way, decided, eventually, free_port, now, time};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;
use store::Store;

static BASTION: Common = Common::new();
/// A port of 127.0.0.1 that the plan lists, for each test that wants one.
static LISTED: LazyLock<Vec<u16>> = LazyLock::new(|| (0..8).map(|_| free_port()).collect());

const BIG: usize = 64 * 1024 * 1024;
/// From a revocation to the end of everything that it covered.
const AT_ONCE: Duration = Duration::from_secs(5);
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
        let (through, client) = only_forwarding(&bastion.ssh(who).by(way), port);
        let sent = noise(BIG, 7 + u64::from(port));
        let mut stream = connect(through);
        let mut writing = stream.try_clone().unwrap();
        let to_send = sent.clone();
        let writer = thread::spawn(move || {
            writing.write_all(&to_send).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
        drop(client);

        let session = ended(&bastion, who);
        let journal = bastion.journal(&session);
        assert_eq!(journal[0]["event"], "session_started");
        let [one] = connections(&journal).try_into().unwrap();
        assert_eq!(one.to, format!("127.0.0.1:{port}"));
        assert!(one.from.starts_with("127.0.0.1 port "), "{}", one.from);
        assert_eq!(one.answer, "success");
        let digest = hex(&sha256(&sent));
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

#[test]
fn a_plan_for_forward_that_lists_nothing_permits_nothing_and_a_list_needs_the_operation() {
    let port = free_port();
    let came = serve(port, greet);
    let bastion = Bastion::start(forwarding(Options::logged_in_already()));
    for way in Way::ALL {
        let ssh = bastion.ssh("alice").by(way).option("-oLogLevel=INFO");
        let ran = ssh.option(&format!("-W127.0.0.1:{port}"));
        ran.run_with_input(&[], b"").refused_with(NOT_LISTED);
        assert_eq!(
            bastion.ssh("alice").by(way).run("echo shell").ok(),
            "shell\n"
        );
    }
    nobody_came(&came);
    let asked = |options: &str| {
        bastion.bare("alice").run(&format!(
            "request {TARGET} --purpose 'to look at the web server' --impact none \
             --rollback none {options}"
        ))
    };
    for (options, says) in [
        ("--forward localhost:80", "`forward` is not planned"),
        (
            "--operations forward --forward *:80",
            "`*:80` is not a valid destination",
        ),
        (
            "--operations forward --forward localhost:0",
            "`localhost:0` is not",
        ),
    ] {
        let ran = asked(options);
        assert_ne!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
    let _ = asked("--operations forward --forward LOCALHOST:80 --forward [::1]:*").ok();
    let plans = bastion.events("intervention.drafted");
    let listed = &plans.last().unwrap()["detail"]["plan"]["text"]["forwards"];
    assert_eq!(*listed, serde_json::json!(["localhost:80", "[::1]:*"]));
}

#[test]
fn other_spellings_and_impossible_ports_go_nowhere() {
    let bastion = bastion();
    let port = LISTED[2];
    serve(port, greet);
    let any = free_port();
    serve(any, greet);
    let hosts = [
        ("127.0.0.1", port, "hello"),
        ("localhost", any, "hello"),
        ("LOCALHOST", any, "hello"),
        ("localhost.", any, "hello"),
        ("127.0.0.1", any, "no"),
        ("127.1", port, "no"),
        ("127.0.0.01", port, "no"),
        ("0x7f000001", port, "no"),
        ("2130706433", port, "no"),
        ("::ffff:127.0.0.1", port, "no"),
        ("::1", any, "no"),
        ("0.0.0.0", port, "no"),
        ("", port, "no"),
        ("*", port, "no"),
        ("localhost..", any, "no"),
        ("localhost\\0.example", any, "no"),
        ("localhost ", any, "no"),
        ("[127.0.0.1]", port, "no"),
        ("/var/run/docker.sock", port, "no"),
    ];
    let mut rows: Vec<(String, u32, &str)> = hosts
        .into_iter()
        .map(|(host, port, said)| (host.to_owned(), u32::from(port), said))
        .collect();
    for wrapped in [0, 65_536, 65_536 + u32::from(any), u32::MAX] {
        rows.push(("localhost".to_owned(), wrapped, "no"));
    }
    for (way, number) in Way::ALL.into_iter().zip([8, 9]) {
        let who = bastion.login(number);
        let asked: Vec<String> = rows
            .iter()
            .map(|(host, port, _)| format!("('{host}', {port})"))
            .collect();
        let script = format!("{PARAMIKO}\nask([{}])\n", asked.join(", "));
        let said = paramiko(&bastion, who, way, &script).ok();
        let expected: Vec<&str> = rows.iter().map(|(_, _, said)| *said).collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{rows:?}");
        let session = ended(&bastion, who);
        let journal = bastion.journal(&session);
        let went: Vec<_> = connections(&journal)
            .into_iter()
            .map(|one| one.to)
            .collect();
        let mut listed = vec![format!("127.0.0.1:{port}")];
        listed.extend(vec![format!("localhost:{any}"); 3]);
        assert_eq!(went, listed, "in the letters of the plan");
    }
}

#[test]
fn who_has_stopped_sending_still_reads_the_answer() {
    let bastion = bastion();
    let port = LISTED[3];
    serve(port, sum);
    for (way, number) in Way::ALL.into_iter().zip([10, 11]) {
        let (through, client) = only_forwarding(&bastion.ssh(bastion.login(number)).by(way), port);
        let mut stream = connect(through);
        stream.write_all(&vec![7; 3_000_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_of(stream), b"3000000 bytes\n", "{way:?}");
        drop(client);
        let journal = bastion.journal(&ended(&bastion, bastion.login(number)));
        let eof = |side: &str| {
            let found = journal
                .iter()
                .position(|line| line["event"] == "eof" && line["side"] == side);
            found.unwrap_or_else(|| panic!("no end of {side}: {journal:?}"))
        };
        assert!(eof("operator") < eof("target"));
    }
}

#[test]
fn a_destination_that_refuses_is_told_and_the_session_goes_on() {
    let bastion = bastion();
    let (nobody, port) = (free_port(), LISTED[4]);
    serve(port, greet);
    for (way, number) in Way::ALL.into_iter().zip([12, 13]) {
        let who = bastion.login(number);
        let local = free_port();
        let ssh = bastion.ssh(who).by(way).option("-oLogLevel=INFO");
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{nobody}"));
        let (through, client) = only_forwarding(&ssh, port);
        assert_eq!(all_of(connect(local)), b"");
        assert_eq!(all_of(connect(through)), b"hello\n");
        let said = client.end().stderr;
        assert!(
            said.contains("connect failed"),
            "the target's reason: {said}"
        );
        assert!(
            said.contains(&format!("did not open `localhost:{nobody}`")),
            "{said}"
        );
        let journal = bastion.journal(&ended(&bastion, who));
        let all = connections(&journal);
        assert_eq!(all.len(), 2, "{journal:?}");
        assert_eq!(
            (all[0].answer.as_str(), all[1].answer.as_str()),
            ("failure", "success")
        );
        assert_eq!(all[0].closed["stdout_bytes"], 0);
        assert_eq!(all[1].closed["stdout_bytes"], 6);
    }
}

#[test]
fn eight_at_once_do_not_mix() {
    let bastion = bastion();
    let port = LISTED[5];
    serve(port, echo);
    for (way, number) in Way::ALL.into_iter().zip([14, 15]) {
        let who = bastion.login(number);
        let (through, client) = only_forwarding(&bastion.ssh(who).by(way), port);
        let each = |seed: u64| {
            thread::spawn(move || {
                let sent = noise(2_000_000, seed);
                let mut stream = connect(through);
                let mut writing = stream.try_clone().unwrap();
                let to_send = sent.clone();
                let writer = thread::spawn(move || {
                    writing.write_all(&to_send).unwrap();
                    writing.shutdown(Shutdown::Write).unwrap();
                });
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                writer.join().unwrap();
                assert!(got == sent, "{seed}");
                hex(&sha256(&sent))
            })
        };
        let running: Vec<_> = (1..=8).map(each).collect();
        let mut sent: Vec<String> = running.into_iter().map(|one| one.join().unwrap()).collect();
        drop(client);
        let journal = bastion.journal(&ended(&bastion, who));
        let mut kept: Vec<String> = connections(&journal)
            .iter()
            .map(|one| one.closed["stdout_sha256"].as_str().unwrap().to_owned())
            .collect();
        sent.sort();
        kept.sort();
        assert_eq!(kept, sent);
    }
}

#[test]
fn a_connection_has_as_many_as_it_may_and_more_once_some_have_ended() {
    const MOST: usize = 32;
    let bastion = bastion();
    let port = free_port();
    serve(port, echo);
    for (way, number) in Way::ALL.into_iter().zip([19, 20]) {
        let (who, local) = (bastion.login(number), free_port());
        let ssh = bastion.ssh(who).by(way).option("-N");
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{port}"));
        let client = Going::of(ssh.spawn(&[]), local);
        let answered = |mut stream: TcpStream| {
            let asked = stream.write_all(b"?").and_then(|()| stream.read(&mut [0]));
            asked.is_ok_and(|length| length == 1).then_some(stream)
        };
        let open = || (0..MOST + 8).filter_map(|_| answered(connect(local)));
        let held: Vec<TcpStream> = open().collect();
        assert_eq!(held.len(), MOST, "{way:?}");
        drop(held);
        eventually("there is room again", Duration::from_secs(10), || {
            answered(connect(local)).is_some()
        });
        drop(client);
        // Traced beside the answer, not before it.
        eventually("the refusals are traced", Duration::from_secs(10), || {
            let refusals = bastion.events("request.refused");
            let too_many = refusals.iter().filter(|entry| {
                entry["who"]["id"] == who && entry["detail"]["codes"][0] == "too_many_channels"
            });
            too_many.count() >= 8
        });
    }
}

#[test]
fn who_never_reads_holds_nobody_up() {
    let bastion = bastion();
    let (port, pours) = (LISTED[6], free_port());
    serve(port, echo);
    serve(pours, pour);
    for (way, number) in Way::ALL.into_iter().zip([16, 17]) {
        let local = free_port();
        let ssh = bastion.ssh(bastion.login(number)).by(way);
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{pours}"));
        let (through, _client) = only_forwarding(&ssh, port);
        let stuck: Vec<TcpStream> = (0..4).map(|_| connect(local)).collect();
        thread::sleep(Duration::from_secs(2));
        let before = now();
        let mut stream = connect(through);
        for _ in 0..20 {
            stream.write_all(&[1; 1000]).unwrap();
            stream.read_exact(&mut [0; 1000]).unwrap();
        }
        let took = before.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        drop(stuck);
    }
}

#[test]
fn the_end_of_the_window_ends_what_is_open() {
    let port = free_port();
    serve(port, echo);
    let options = forwarding(Options::logged_in_already())
        .with("--forward", &format!("localhost:{port}"))
        .with("--window", "15s");
    let started = now();
    let bastion = Bastion::start(options);
    let open = Way::ALL
        .into_iter()
        .zip(["alice", "bob"])
        .map(|(way, who)| {
            let local = free_port();
            let ssh = bastion.ssh(who).by(way).option("-N");
            let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{port}"));
            let client = Going::of(ssh.spawn(&[]), local);
            let mut stream = connect(local);
            stream.write_all(b"still here").unwrap();
            stream.read_exact(&mut [0; 10]).unwrap();
            (who, client, stream)
        });
    for (who, client, stream) in open.collect::<Vec<_>>() {
        assert_eq!(all_of(stream), b"");
        assert!(started.elapsed() < Duration::from_secs(30));
        let _ = client.end();
        ended_because(&bastion, &ended(&bastion, who), "ended at");
    }
}

#[test]
fn a_revocation_ends_what_is_open_at_once() {
    let port = free_port();
    serve(port, pour);
    let options =
        forwarding(Options::logged_in_already()).with("--forward", &format!("localhost:{port}"));
    let bastion = Bastion::start(options);
    let open = |who: &str, way: Way| {
        let local = free_port();
        let ssh = bastion.ssh(who).by(way).option("-N");
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{port}"));
        let client = Going::of(ssh.spawn(&[]), local);
        let mut stream = connect(local);
        stream.read_exact(&mut [0; 10]).unwrap();
        (client, stream)
    };
    // One reads, and one does not.
    let (read, mut reading) = open("alice", Way::LoginName);
    let (unread, _stuck) = open("bob", Way::Jump);
    let revoked = now();
    bastion.rows(|store| async move {
        let contact = store.contacts().await.unwrap().remove(0);
        let one = first_intervention(&store).await;
        let changed = one.revoke_by_contact(&contact, "not now", time()).unwrap();
        store.save(changed).await.unwrap();
    });
    let mut piece = vec![0; 65_536];
    while reading.read(&mut piece).is_ok_and(|length| length > 0) {}
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
    for client in [read, unread] {
        let _ = client.end();
        assert!(revoked.elapsed() < 2 * AT_ONCE, "{:?}", revoked.elapsed());
    }
    for who in ["alice", "bob"] {
        ended_because(&bastion, &ended(&bastion, who), "intervention_revoked");
    }
}

#[test]
fn a_plan_that_lists_it_no_longer_ends_what_is_open_there() {
    let (kept, dropped) = (free_port(), free_port());
    serve(kept, echo);
    serve(dropped, echo);
    let options = forwarding(Options::logged_in_already())
        .with("--forward", &format!("localhost:{kept}"))
        .with("--forward", &format!("localhost:{dropped}"));
    let bastion = Bastion::start(options);
    let (through, client) = {
        let local = free_port();
        let ssh = bastion.ssh("alice").option("-N");
        let ssh = ssh.option(&format!("-L127.0.0.1:{local}:localhost:{dropped}"));
        (local, Going::of(ssh.spawn(&[]), local))
    };
    let mut stream = connect(through);
    stream.write_all(b"one").unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    // Amended and approved anew, faster than anybody looks.
    bastion.rows(|store| async move {
        let one = first_intervention(&store).await;
        let mut text = one.plan().text.clone();
        text.forwards = parse_list(&format!("localhost:{kept}")).unwrap();
        let requester = store.operator(&one.requested_by).await.unwrap().unwrap();
        let amended = one.amend(text, &requester, time()).unwrap();
        let amended = amended.into_parts().0;
        let signed = decided(&store, amended, Decision::Approve).await;
        store.save(signed).await.unwrap();
    });
    assert_eq!(all_of(stream), b"", "it has ended");
    let _ = client.end();
    ended_because(&bastion, &ended(&bastion, "alice"), NOT_LISTED);
    let ssh = |port: u16| {
        let ssh = bastion.ssh("alice").option("-oLogLevel=INFO");
        ssh.option(&format!("-Wlocalhost:{port}"))
            .run_with_input(&[], b"two")
    };
    ssh(dropped).refused_with(NOT_LISTED);
    assert_eq!(ssh(kept).ok(), "two");
}

#[test]
fn two_sessions_over_one_connection_obey_each_its_own_plan() {
    const OTHER: &str = "db2.chu-exemple";
    let port = free_port();
    serve(port, greet);
    let bastion = Bastion::start(
        Options {
            another_target: Some(OTHER),
            ..Options::logged_in_already()
        }
        .with("--operations", "shell,exec"),
    );
    bastion.rows(|store| async move {
        let mut text = first_intervention(&store).await.plan().text.clone();
        text.targets.retain(|target| target.as_str() == OTHER);
        text.operations = [Operation::Forward].into();
        text.forwards = parse_list(&format!("127.0.0.1:{port}")).unwrap();
        approved(&store, text).await;
    });
    let script = format!(
        "{PARAMIKO}\nfirst, second = client, inside('{OTHER}')\n\
         first.exec_command('true')[1].read()\n\
         for client in [first, second, first]:\n    ask([('127.0.0.1', {port})])\n"
    );
    let said = paramiko(&bastion, "alice", Way::Jump, &script).ok();
    assert_eq!(said, "no\nhello\nno\n");
    let by_target = || {
        let sessions = bastion.sessions("alice").into_iter();
        let over = sessions.filter(|one| one.state != SessionState::Live);
        let told = over.map(|one| (one.target.to_string(), one));
        told.collect::<std::collections::BTreeMap<_, _>>()
    };
    eventually("both have ended", Duration::from_secs(20), || {
        by_target().len() == 2
    });
    let sessions = by_target();
    let went = |target: &str| connections(&bastion.journal(&sessions[target])).len();
    assert_eq!((went(TARGET), went(OTHER)), (0, 1));
    let code = "operation_not_in_intervention";
    refused(
        &bastion,
        &sessions[TARGET],
        &format!("127.0.0.1:{port}"),
        code,
    );
}

#[test]
fn a_login_at_the_bastion_itself_forwards_nothing() {
    let bastion = bastion();
    let port = LISTED[7];
    serve(port, greet);
    let who = bastion.login(18);
    for to in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let ssh = bastion.bare(who).option("-oLogLevel=INFO");
        let ran = ssh.option(&format!("-W{to}")).run_with_input(&[], b"");
        ran.refused_with("target_unknown");
        assert_eq!(ran.stdout, "");
    }
    assert!(bastion.sessions(who).is_empty());
}

// ---- what is asked of the bastion ----

/// A client that only forwards `local` to `port` of 127.0.0.1 on the target.
fn only_forwarding(ssh: &Ssh<'_>, port: u16) -> (u16, Going) {
    let local = free_port();
    let forward = format!("127.0.0.1:{local}:127.0.0.1:{port}");
    let mut command = ssh.command_with(&["-N", "-L", &forward]);
    let piped = || std::process::Stdio::piped();
    let child = command.stdin(piped()).stdout(piped()).stderr(piped());
    (local, Going::of(child.spawn().unwrap(), local))
}

/// A client that goes on until it is dropped.
struct Going(Option<Child>);

impl Going {
    /// Once it listens.
    fn of(child: Child, local: u16) -> Self {
        let going = Self(Some(child));
        eventually("the client listens", Duration::from_secs(30), || {
            // Not by a connection, which would be forwarded.
            fs::read_to_string("/proc/net/tcp")
                .unwrap()
                .contains(&format!("0100007F:{local:04X} 00000000:0000 0A"))
        });
        going
    }

    /// What it said, once it has ended: by itself, or now.
    fn end(mut self) -> Ran {
        let mut child = self.0.take().unwrap();
        let started = now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(6) {
                child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The only session of `who`, once it has ended.
fn ended(bastion: &Bastion, who: &str) -> Session {
    let mut found = None;
    eventually("the session has ended", Duration::from_secs(20), || {
        found = bastion
            .sessions(who)
            .into_iter()
            .find(|session| session.state != SessionState::Live);
        found.is_some()
    });
    found.unwrap()
}

fn ended_because(bastion: &Bastion, session: &Session, code: &str) {
    let journal = bastion.journal(session);
    let cut = journal.iter().find(|line| line["event"] == "cut");
    let reason = cut.unwrap_or_else(|| panic!("no cut: {journal:?}"))["reason"].to_string();
    assert!(reason.contains(code), "{reason}");
    let all = connections(&journal);
    assert_eq!(all.len(), 1, "{journal:?}");
    assert!(all[0].closed["closed_at"].is_i64(), "{journal:?}");
}

/// A connection as the journal tells it.
#[derive(Debug)]
struct Told {
    to: String,
    from: String,
    answer: String,
    closed: Value,
}

fn connections(journal: &[Value]) -> Vec<Told> {
    let about = |event: &str, channel: &Value| {
        let found = journal
            .iter()
            .find(|line| line["event"] == event && line["channel"] == *channel);
        found.cloned().unwrap_or_default()
    };
    journal
        .iter()
        .filter(|line| line["event"] == "channel_opened" && line["kind"]["type"] == "forward")
        .map(|line| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let asked = about("request", &line["channel"]);
            assert_eq!(asked["request"], "direct-tcpip");
            assert_eq!(asked["detail"], line["kind"]["to"]);
            Told {
                to: text(&line["kind"]["to"]),
                from: text(&line["kind"]["from"]),
                answer: text(&asked["answer"]),
                closed: about("channel_closed", &line["channel"]),
            }
        })
        .collect()
}

/// The refusal is in the audit log, under the session, and in the session's journal.
fn refused(bastion: &Bastion, session: &Session, to: &str, code: &str) {
    let entries = bastion.events("request.refused");
    let entry = entries.iter().find(|entry| {
        entry["session"] == session.id.as_str() && entry["detail"]["forward_to"] == to
    });
    let entry = entry.unwrap_or_else(|| panic!("no refusal of {to}: {entries:?}"));
    assert_eq!(entry["detail"]["codes"][0], code);
    let journal = bastion.journal(session);
    let line = journal.iter().any(|line| {
        line["event"] == "refused"
            && line["code"] == code
            && line["sentence"]
                .as_str()
                .unwrap()
                .contains(&format!("`{to}`"))
    });
    assert!(line, "{journal:?}");
}

// ---- interventions, as the pages make them ----

async fn first_intervention(store: &Store) -> Intervention {
    let all = store::InterventionFilter {
        limit: 10,
        ..Default::default()
    };
    store.interventions(all).await.unwrap().pop().unwrap()
}

async fn approved(store: &Store, text: PlanText) {
    let id: InterventionId = store.next_intervention_id(time()).await.unwrap();
    let customer = store.customers().await.unwrap().remove(0).id;
    let by = text.operators.first().unwrap();
    let by: Operator = store.operator(by).await.unwrap().unwrap();
    let draft = Intervention::draft(id, customer, text, &by, time()).unwrap();
    let draft = store.save(draft).await.unwrap();
    let submitted = store
        .save(draft.submit(&by, time()).unwrap())
        .await
        .unwrap();
    let signed = decided(store, submitted, Decision::Approve).await;
    store.save(signed).await.unwrap();
}

// ---- what listens on the target ----

/// Listens on 127.0.0.1, as long as the tests run, and counts who came.
fn serve(port: u16, service: fn(TcpStream) -> std::io::Result<()>) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || service(stream).ok());
        }
    });
    came
}

fn nobody_came(came: &AtomicUsize) {
    assert_eq!(came.load(Ordering::Relaxed), 0, "nothing was connected to");
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream.try_clone()?, &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello\n")
}

/// Answers when it has everything.
fn sum(mut stream: TcpStream) -> std::io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    stream.write_all(format!("{} bytes\n", all.len()).as_bytes())
}

fn pour(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[42; 65_536])?;
    }
}

fn http(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nthrough\n")
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// All that comes until the end; a reset is an end too.
fn all_of(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    got
}

/// Bytes that are no text and nowhere alike.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(seed | 1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn paramiko(bastion: &Bastion, who: &str, way: Way, script: &str) -> Ran {
    let (host, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let mut python = Command::new("timeout");
    python
        .args(["100", "/usr/bin/python3", "-c", script])
        .args([host, port, &bastion.account, who])
        .arg(if way == Way::Jump { "jump" } else { "name" })
        .arg(&bastion.operator(who).key);
    run(python, b"", Duration::from_secs(120))
}

/// `ask` says what came of each: `hello`, or `no` where it was refused.
const PARAMIKO: &str = r#"
import sys, paramiko
host, port, account, who, way, key = sys.argv[1:]
key = paramiko.Ed25519Key.from_private_key_file(key)
def connect(user, sock=None):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, int(port), user, pkey=key, sock=sock, look_for_keys=False, allow_agent=False)
    return client
def inside(target):
    return connect(account, outer.get_transport().open_channel("direct-tcpip", (target, 22), ("127.0.0.1", 1)))
if way == "jump":
    outer = connect(who)
    client = inside("db1.chu-exemple")
else:
    client = connect(f"{who}+{account}+db1.chu-exemple")
def ask(rows):
    for to in rows:
        try:
            channel = client.get_transport().open_channel("direct-tcpip", to, ("127.0.0.1", 1))
            print(channel.recv(5).decode())
            channel.close()
        except paramiko.ChannelException as refused:
            print("no" if refused.code == 1 else refused)
"#;
