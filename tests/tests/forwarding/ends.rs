//! What ends a connection that is open: the window, a revocation, a plan that lists it no longer.

use super::client::only_forwarding;
use super::journal::{connections, ended};
use super::plans::first_intervention;
use super::services::{all_of, connect, echo, pour, serve};
use super::{NOT_LISTED, forwarding};
use access::Session;
use access::forward::parse_list;
use e2e::{Bastion, Options, Way, decision, free_port, now, time};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// From a revocation to the end of everything that it covered.
const AT_ONCE: Duration = Duration::from_secs(5);

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
            let (local, client) = only_forwarding(&bastion.ssh(who).by(way), "localhost", port);
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
        let (local, client) = only_forwarding(&bastion.ssh(who).by(way), "localhost", port);
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
    let (through, client) = only_forwarding(&bastion.ssh("alice"), "localhost", dropped);
    let mut stream = connect(through);
    stream.write_all(b"one").unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    // Amended and approved anew, faster than anybody looks.
    bastion.rows(|store| async move {
        let one = first_intervention(&store).await;
        let mut text = one.plan().text.clone();
        text.forwards = parse_list(&format!("localhost:{kept}")).unwrap();
        let amended = decision::amended(&store, one, text, time()).await;
        store.save(amended).await.unwrap();
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

fn ended_because(bastion: &Bastion, session: &Session, code: &str) {
    let journal = bastion.journal(session);
    let cut = journal.iter().find(|line| line["event"] == "cut");
    let reason = cut.unwrap_or_else(|| panic!("no cut: {journal:?}"))["reason"].to_string();
    assert!(reason.contains(code), "{reason}");
    let all = connections(&journal);
    assert_eq!(all.len(), 1, "{journal:?}");
    assert!(all[0].closed["closed_at"].is_i64(), "{journal:?}");
}
