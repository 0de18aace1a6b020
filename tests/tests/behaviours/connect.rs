//! connect, proxy-connect, try-ciphers: whoever knows any of the algorithms gets in.

use super::{bastion, each_place, everywhere, fed, noise, with, within_a_minute};
use e2e::Way;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn a_connection_is_made_and_ends() {
    each_place(|ssh| {
        let ran = ssh.run("true");
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    });
}

#[test]
fn a_shell_without_a_terminal_reads_its_commands() {
    each_place(|ssh| {
        let ran = ssh.run_with_input(&[], b"echo $((40+2))\nexit 5\n");
        assert_eq!(ran.stdout, "42\n");
        assert_eq!(ran.status, Some(5));
    });
}

#[test]
fn every_cipher_and_every_key_exchange_moves_bytes_unchanged() {
    let bytes = noise(300_000);
    everywhere(|bastion, way| {
        for algorithms in [
            [
                "-oCiphers=aes256-gcm@openssh.com",
                "-oKexAlgorithms=curve25519-sha256",
            ],
            [
                "-oCiphers=aes128-gcm@openssh.com",
                "-oKexAlgorithms=curve25519-sha256@libssh.org",
            ],
            [
                "-oCiphers=chacha20-poly1305@openssh.com",
                "-oRekeyLimit=100k",
            ],
            [
                "-oCiphers=aes256-ctr",
                "-oMACs=hmac-sha2-256-etm@openssh.com",
            ],
            [
                "-oCiphers=aes256-ctr",
                "-oMACs=hmac-sha2-512-etm@openssh.com",
            ],
        ] {
            let ssh = bastion.ssh("alice").by(way);
            let ssh = ssh.option(algorithms[0]).option(algorithms[1]);
            let back = fed(with(ssh.command(), ["cat"]), &bytes, 32 * 1024);
            assert_eq!(back.status, Some(0), "{algorithms:?}");
            assert!(back.stdout == bytes, "{algorithms:?}");
        }
    });
}

#[test]
fn aes_gcm_is_taken_whatever_the_client_would_rather_have() {
    let bastion = bastion();
    for way in Way::ALL {
        let ssh = bastion.ssh("alice").by(way);
        for preferred in ["chacha20-poly1305@openssh.com", "aes256-ctr"] {
            let ciphers = format!("-oCiphers={preferred},aes128-gcm@openssh.com");
            let ran = with(ssh.command_with(&["-v", &ciphers]), ["true"]);
            let ran = within_a_minute(ran);
            assert_eq!(ran.status, Some(0), "{ran:?}");
            let taken: Vec<_> = ran
                .stderr
                .lines()
                .filter(|line| line.contains(" cipher: "))
                .collect();
            assert!(taken.len() >= 2, "{ran:?}");
            assert!(
                taken.iter().all(|line| line.contains("aes128-gcm")),
                "{taken:?}"
            );
        }
    }
}

#[test]
fn whoever_calls_himself_openssh_and_waits_for_the_server_is_served() {
    let bastion = bastion();
    let mut stream = TcpStream::connect(bastion.ready.ssh.as_str()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(b"SSH-2.0-OpenSSH_8.2\r\n").unwrap();
    let mut got = Vec::new();
    let proposal = b"chacha20-poly1305@openssh.com";
    while !got.windows(proposal.len()).any(|part| part == proposal) {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the bastion hung up: {got:?}");
        got.extend_from_slice(&part[..read]);
    }
}
