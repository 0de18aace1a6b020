//! multiplex: everything over one connection, at the same time.

use super::within_a_minute;
use super::{Running, connection, everywhere, fed, noise, over_one_connection, with};
use e2e::ssh::run;
use e2e::{Shared, Way, now};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

const MIB: usize = 1024 * 1024;

#[test]
fn programs_files_and_variables_pass_over_a_connection_that_stands() {
    everywhere(|bastion, way| {
        let here = tempfile::tempdir().unwrap();
        let at = |name: &str| here.path().join(name);
        fs::write(at("data"), noise(MIB)).unwrap();
        // Which variables pass, the connection's own client says.
        let ssh = bastion.ssh("alice").by(way).option("-oSendEnv=LC_TEST");
        let shared = Shared::open(&ssh, bastion.dir.path());
        let check = within_a_minute(shared.command(&["-Ocheck"]));
        assert_eq!(check.status, Some(0), "{check:?}");
        assert_eq!(shared.run("exit 44").status, Some(44));
        let mut language = shared.command(&["-oSendEnv=LC_TEST"]);
        language.env("LC_TEST", "passed").arg("echo $LC_TEST");
        assert_eq!(within_a_minute(language).ok(), "passed\n");
        let data = at("data").display().to_string();
        for (program, options) in [("scp", &["-O"][..]), ("scp", &["-s"])] {
            let mut copy = shared.copying(program);
            copy.args(options).arg(&data);
            copy.arg(format!("shared:{}", at("copy").display()));
            let _ = within_a_minute(copy).ok();
            assert!(fs::read(at("copy")).unwrap() == noise(MIB));
            fs::remove_file(at("copy")).unwrap();
        }
        let mut sftp = shared.copying("sftp");
        sftp.args(["-b", "-", "shared"]);
        let batch = format!("get {data} {}\n", at("copy").display());
        let _ = run(sftp, batch.as_bytes(), Duration::from_secs(60)).ok();
        assert!(fs::read(at("copy")).unwrap() == noise(MIB));
    });
}

#[test]
fn a_connection_that_is_told_to_stop_lets_its_last_program_end() {
    everywhere(|bastion, way| {
        let mut shared = connection(bastion, way);
        let mut last = Open::on(&shared, "cat; exit 3");
        let stop = within_a_minute(shared.command(&["-Ostop"]));
        assert_eq!(stop.status, Some(0), "{stop:?}");
        assert_eq!(last.say("still"), "still\n");
        assert_eq!(last.end(), Some(3));
        e2e::eventually("the connection ends", Duration::from_secs(20), || {
            shared.has_ended()
        });
    });
}

#[test]
fn many_channels_of_one_connection_do_not_mix() {
    over_one_connection(|shared| {
        std::thread::scope(|scope| {
            for number in 0..16 {
                scope.spawn(move || {
                    let input = format!("input {number}\n").repeat(500);
                    let program = format!("cat; echo {number} >&2; exit {number}");
                    let ran = shared.run_with_input(&program, input.as_bytes());
                    assert_eq!(ran.status, Some(number));
                    assert_eq!(ran.stdout, input);
                    assert_eq!(ran.stderr, format!("{number}\n"));
                });
            }
        });
    });
}

#[test]
fn thirty_two_channels_stand_at_once_and_each_answers() {
    over_one_connection(|shared| {
        let mut channels: Vec<Open> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..32)
                .map(|number| {
                    let program = format!("cat; exit {number}");
                    scope.spawn(move || Open::on(shared, &program))
                })
                .collect();
            opened.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (number, channel) in channels.iter_mut().enumerate() {
            assert_eq!(
                channel.say(&format!("channel {number}")),
                format!("channel {number}\n")
            );
        }
        // As each goes, the others stay.
        for (number, channel) in channels.into_iter().enumerate() {
            assert_eq!(channel.end(), Some(i32::try_from(number).unwrap()));
        }
        assert_eq!(shared.run("echo one more").ok(), "one more\n");
    });
}

#[test]
fn the_end_of_input_passes_both_ways() {
    over_one_connection(|shared| {
        let ran = shared.run_with_input("cat; echo after the end", b"some input\n");
        assert_eq!(ran.stdout, "some input\nafter the end\n");
        let nothing = with(shared.command(&["-n"]), ["cat; echo empty"]);
        let nothing = run(nothing, b"not sent", Duration::from_secs(20));
        assert_eq!(nothing.stdout, "empty\n");
    });
}

#[test]
fn a_channel_that_is_closed_in_one_direction_stays_open_in_the_other() {
    over_one_connection(|shared| {
        // The target ends its output and goes on reading.
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("read-after-eof");
        let program = format!("exec 1>&- 2>&-; cat > {}", file.display());
        let ran = fed(
            with(shared.command(&[]), [program.as_str()]),
            &noise(MIB),
            10_000,
        );
        assert_eq!(ran.status, Some(0));
        assert!(fs::read(&file).unwrap() == noise(MIB));
        // The operator ends his input, and the target goes on writing; eight of them at once.
        let program = format!("cat >/dev/null; cat {}; exit 5", file.display());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let client = with(shared.command(&[]), [program.as_str()]);
                    let ran = fed(client, b"a line\n", 7);
                    assert_eq!(ran.status, Some(5));
                    assert!(ran.stdout == noise(MIB));
                });
            }
        });
    });
}

#[test]
fn a_shell_answers_beside_a_big_copy_and_a_silent_session() {
    const SIZE: usize = 16 * MIB;
    let here = tempfile::tempdir().unwrap();
    let at = |name: &str| here.path().join(name);
    fs::write(at("data"), noise(SIZE)).unwrap();
    everywhere(|bastion, way| {
        let shared = connection(bastion, way);
        let mut silent = Open::on(&shared, "cat");
        let mut shell = Open::start(with(shared.command(&["-tt"]), ["sh"]));
        shell.say_and_find("stty -echo; PS1=; echo ready-$((1+1))", "ready-2");
        let mut copy = shared.copying("scp");
        copy.arg(at("data"))
            .arg(format!("shared:{}", at("copy").display()));
        let mut copy = Running(copy.stdout(Stdio::null()).spawn().unwrap());
        let mut answers = 0;
        while copy.0.try_wait().unwrap().is_none() {
            let asked = now();
            shell.say_and_find(
                &format!("echo answer-$(({answers}+1))"),
                &format!("answer-{}", answers + 1),
            );
            answers += 1;
            let took = asked.elapsed();
            assert!(
                took < Duration::from_secs(5),
                "{way:?}: an answer took {took:?}"
            );
        }
        assert_eq!(copy.ends(), Some(0));
        assert!(answers > 2, "{way:?}: {answers}");
        assert!(fs::read(at("copy")).unwrap() == fs::read(at("data")).unwrap());
        assert_eq!(silent.say("still"), "still\n");
        shell.say_and_find("exit 6", "");
        assert_eq!(shell.end(), Some(6));
        assert_eq!(silent.end(), Some(0));
        fs::remove_file(at("copy")).unwrap();
    });
}

#[test]
fn the_status_of_a_program_that_closed_its_output_comes_as_from_a_direct_server() {
    // What a direct server does is what the bastion does, also where nobody has written down what.
    let bastion = super::bastion();
    let programs = [
        "exec >&- 2>&-; exit 3",
        "exec >&- 2>&-; sleep 0.3; exit 3",
        "exec <&- >&- 2>&-; sleep 0.3; exit 3",
        "(sleep 0.5; exit 4) & exit 3",
        "exec >&- 2>&-; sleep 0.2; kill -TERM $$",
        "exec 0>&-; echo out; exit 3",
    ];
    let ended = |way: Way| {
        let shared = connection(&bastion, way);
        programs.map(|program| {
            let ran = shared.run(program);
            (program, ran.status, ran.stdout)
        })
    };
    let direct = ended(Way::Direct);
    for way in Way::ALL {
        assert_eq!(ended(way), direct, "{way:?}");
    }
}

/// A program that stands on a connection.
struct Open {
    client: Running,
    output: BufReader<ChildStdout>,
}

impl Open {
    /// Says when it is there.
    fn on(shared: &Shared, program: &str) -> Self {
        let program = format!("echo ready; {program}");
        let mut open = Self::start(with(shared.command(&[]), [program.as_str()]));
        let mut line = String::new();
        open.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        open
    }

    fn start(mut client: std::process::Command) -> Self {
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut client = Running(client.spawn().unwrap());
        let output = BufReader::new(client.0.stdout.take().unwrap());
        Self { client, output }
    }

    fn say(&mut self, word: &str) -> String {
        writeln!(self.client.0.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Reads until this has come.
    fn say_and_find(&mut self, word: &str, found: &str) {
        writeln!(self.client.0.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut said = String::new();
        while !said.contains(found) {
            assert!(self.output.read_line(&mut said).unwrap() > 0, "{said}");
        }
    }

    fn end(mut self) -> Option<i32> {
        drop(self.client.0.stdin.take());
        std::io::copy(&mut self.output.by_ref(), &mut std::io::sink()).unwrap();
        self.client.ends()
    }
}
