//! Ends, refusals and bytes of many connections at once: none is another's.

use super::client::{only_forwarding, there_and_back};
use super::journal::{connections, ended};
use super::services::{all_of, connect, echo, greet, pour, serve, sum};
use super::{LISTED, bastion};
use e2e::{Way, eventually, free_port, noise_of, now};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

#[test]
fn who_has_stopped_sending_still_reads_the_answer() {
    let bastion = bastion();
    let port = LISTED[3];
    serve(port, sum);
    for (way, number) in Way::ALL.into_iter().zip([10, 11]) {
        let (through, client) = only_forwarding(
            &bastion.ssh(bastion.login(number)).by(way),
            "127.0.0.1",
            port,
        );
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
        let (through, client) = only_forwarding(&ssh, "127.0.0.1", port);
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
        let (through, client) = only_forwarding(&bastion.ssh(who).by(way), "127.0.0.1", port);
        let each =
            |seed: u64| thread::spawn(move || there_and_back(through, noise_of(2_000_000, seed)));
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
        let who = bastion.login(number);
        let (local, client) = only_forwarding(&bastion.ssh(who).by(way), "localhost", port);
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
        let (through, _client) = only_forwarding(&ssh, "127.0.0.1", port);
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
