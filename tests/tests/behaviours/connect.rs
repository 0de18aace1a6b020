//! connect, proxy-connect, try-ciphers: whoever knows any of the algorithms gets in.

use super::{each_place, everywhere, fed, noise, with};

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
