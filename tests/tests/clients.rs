//! The clients that operators have, unchanged: each runs a command, moves files and is recorded as
//! a session of its operator's. OpenSSH's own are in the other files; rsync, git and paramiko's
//! copies in `files.rs`, shared connections in `behaviours`.
//!
//! Needs PuTTY's tools, dropbear's client, autossh, Ansible, curl, and Python with asyncssh and
//! paramiko.

use access::Session;
use access::session::SessionState;
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Bastion, Common, Options, Way, eventually, noise};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const SIZE: usize = 3_000_017;

/// Who uses what: a client's sessions are found by its operator.
const PUTTY: usize = 0;
const DROPBEAR: usize = 1;
const PARAMIKO: usize = 2;
const ASYNCSSH: usize = 3;
const AUTOSSH: usize = 4;
const ANSIBLE: usize = 5;
const WINSCP: usize = 6;
const EDITOR: usize = 7;
const CURL: usize = 8;

/// Where the second factor was given already: for who is asked nothing.
static WARM: Common = Common::new();
/// Where it is asked for.
static COLD: Common = Common::new();

fn warm() -> Arc<Bastion> {
    WARM.bastion(|| Options {
        operators: 9,
        ..Options::logged_in_already()
    })
}

fn cold() -> Arc<Bastion> {
    COLD.bastion(|| Options {
        operators: 9,
        ..Options::default()
    })
}

#[test]
fn plink_runs_a_command_once_its_person_has_typed_the_code() {
    let bastion = cold();
    let putty = Putty::new(&bastion);
    // Without `-batch` it asks; without a terminal it reads what is typed from its input. What jumps
    // for it has no input of its own, and asks at a terminal only.
    let mut plink = putty.client("plink", Way::LoginName, "");
    plink.arg("echo in; echo told >&2; exit 7");
    let code = bastion.fresh_code(bastion.login(PUTTY));
    let ran = run(plink, format!("{code}\n").as_bytes(), PATIENCE);
    assert_eq!(ran.status, Some(7), "{ran:?}");
    assert!(ran.stdout.contains("in\n"), "{ran:?}");
    assert!(ran.stderr.contains("told\n"), "{ran:?}");
    recorded(&bastion, PUTTY, "echo in; echo told");
}

#[test]
fn puttys_tools_run_commands_and_copy_files() {
    let bastion = warm();
    for way in Way::ALL {
        let (putty, files) = (Putty::new(&bastion), Files::new());
        let mut plink = putty.client("plink", way, "-batch");
        plink.arg("cat; echo told >&2; exit 5");
        let ran = run(plink, b"sent\n", PATIENCE);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (Some(5), "sent\n"),
            "{ran:?}"
        );
        for protocol in ["-sftp", "-scp"] {
            let mut up = putty.client_without_host("pscp", way, "-batch");
            up.args([protocol, "-q"]).arg(&files.here);
            up.arg(format!("{}:{}", putty.host(way), files.there.display()));
            let _ = run(up, b"", PATIENCE).ok();
            let mut down = putty.client_without_host("pscp", way, "-batch");
            down.args([protocol, "-q"]);
            down.arg(format!("{}:{}", putty.host(way), files.there.display()));
            down.arg(&files.back);
            let _ = run(down, b"", PATIENCE).ok();
            files.came_back();
        }
        let mut psftp = putty.client_without_host("psftp", way, "-batch");
        let batch = putty.directory.path().join("batch");
        fs::write(&batch, files.sftp_batch()).unwrap();
        psftp.arg("-b").arg(&batch).arg(putty.host(way));
        let _ = run(psftp, b"", PATIENCE).ok();
        files.came_back();
        recorded(&bastion, PUTTY, &files.there.display().to_string());
    }
}

#[test]
fn dropbears_client_runs_a_command_once_its_person_has_typed_the_code() {
    let bastion = cold();
    let dropbear = Dropbear::new(&bastion);
    let mut client = dropbear.client(Way::LoginName);
    client.arg("echo in; exit 6");
    let code = bastion.fresh_code(bastion.login(DROPBEAR));
    let ran = run(client, format!("{code}\n").as_bytes(), PATIENCE);
    assert_eq!(ran.status, Some(6), "{ran:?}");
    assert!(ran.stdout.contains("in\n"), "{ran:?}");
    recorded(&bastion, DROPBEAR, "echo in; exit 6");
}

#[test]
fn dropbears_client_runs_commands_and_moves_a_file() {
    let bastion = warm();
    for way in Way::ALL {
        let (dropbear, files) = (Dropbear::new(&bastion), Files::new());
        let mut up = dropbear.client(way);
        up.arg(format!("cat > {}", files.there.display()));
        let _ = run(up, &fs::read(&files.here).unwrap(), PATIENCE).ok();
        let mut down = dropbear.client(way);
        down.arg(format!("cat {}", files.there.display()));
        let output = fs::File::create(&files.back).unwrap();
        let ended = down.stdin(Stdio::null()).stdout(output).status().unwrap();
        assert!(ended.success());
        files.came_back();
        recorded(&bastion, DROPBEAR, &files.there.display().to_string());
    }
}

#[test]
fn paramiko_answers_the_code_runs_a_command_and_copies_a_file() {
    let bastion = cold();
    for way in Way::ALL {
        let files = Files::new();
        let script = format!("{PARAMIKO_LOGIN}\n{PARAMIKO_FILES}");
        let mut python = python(&bastion, PARAMIKO, way, &script);
        python.env("CODE", bastion.fresh_code(bastion.login(PARAMIKO)));
        python.args([&files.here, &files.there, &files.back]);
        let printed = run(python, b"", PATIENCE).ok();
        assert_eq!(printed, "7 sent told\n", "{way:?}");
        files.came_back();
        recorded(&bastion, PARAMIKO, "exit 7");
    }
}

#[test]
fn asyncssh_answers_the_code_runs_a_command_and_copies_a_file() {
    let bastion = cold();
    for way in Way::ALL {
        let files = Files::new();
        let mut python = asyncssh(&bastion, ASYNCSSH, way, ASYNCSSH_FILES);
        python.env("CODE", bastion.fresh_code(bastion.login(ASYNCSSH)));
        python.args([&files.here, &files.there, &files.back]);
        let printed = run(python, b"", PATIENCE).ok();
        assert_eq!(printed, "7 sent told\n", "{way:?}");
        files.came_back();
        recorded(&bastion, ASYNCSSH, "exit 7");
    }
}

#[test]
fn many_small_files_pass_as_a_graphical_client_moves_them() {
    let bastion = warm();
    for way in Way::ALL {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for number in 0..300 {
            let folder = at("here").join(format!("folder {}", number % 7));
            fs::create_dir_all(&folder).unwrap();
            fs::write(
                folder.join(format!("fichier n° {number}")),
                noise(number * 37),
            )
            .unwrap();
        }
        let mut python = asyncssh(&bastion, WINSCP, way, SMALL_FILES);
        python.args([at("here"), at("there"), at("back")]);
        assert_eq!(run(python, b"", PATIENCE).ok(), "300\n");
        for number in 0..300 {
            let name = format!("folder {}/fichier n° {number}", number % 7);
            for place in ["there", "back"] {
                let moved = fs::read(at(place).join(&name)).unwrap();
                assert!(moved == noise(number * 37), "{way:?} {place} {name}");
            }
        }
        let session = recorded(&bastion, WINSCP, "fichier n° 299");
        let journal = bastion.journal(&session);
        let named = |operation: &str| {
            let of_files = journal.iter().filter(|line| line["operation"] == operation);
            of_files.filter(|line| line["sha256"].is_string()).count()
        };
        assert_eq!((named("upload"), named("download")), (301, 300));
    }
}

#[test]
fn an_editors_long_lived_shell_answers_beside_other_channels() {
    let bastion = warm();
    for way in Way::ALL {
        let mut python = asyncssh(&bastion, EDITOR, way, EDITORS_SHELL);
        python.arg(tempfile::tempdir_in(bastion.dir.path()).unwrap().path());
        assert_eq!(run(python, b"", PATIENCE).ok(), "100 answers\n", "{way:?}");
        recorded(&bastion, EDITOR, "exec sh");
    }
}

#[test]
fn autossh_connects_again_when_its_connection_is_lost() {
    let bastion = warm();
    for way in Way::ALL {
        let login = bastion.login(AUTOSSH).to_owned();
        let before = bastion.sessions(&login).len();
        let ssh = bastion.ssh(&login).by(way);
        let client = ssh.command_with(&["-T"]);
        let mut autossh = Command::new("autossh");
        autossh.args(["-M", "0"]).args(client.get_args());
        autossh
            .arg("echo up; exec cat")
            .env("AUTOSSH_GATETIME", "0")
            .env("AUTOSSH_POLL", "1")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut autossh = Running(autossh.spawn().unwrap());
        let mut said = BufReader::new(autossh.0.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let mut children = Command::new("pgrep");
        children.args(["-P", &autossh.0.id().to_string(), "-x", "ssh"]);
        let lost: u32 = run(children, b"", PATIENCE).ok().trim().parse().unwrap();
        e2e::bastion::signal(lost, "KILL");
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "up\nup\n", "{way:?}");
        let mut input = autossh.0.stdin.take().unwrap();
        writeln!(input, "still").unwrap();
        line.clear();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "still\n");
        drop(input);
        eventually("autossh ends", PATIENCE, || {
            autossh.0.try_wait().unwrap().is_some()
        });
        recorded(&bastion, AUTOSSH, "echo up");
        assert_eq!(bastion.sessions(&login).len(), before + 2);
    }
}

#[test]
fn ansible_copies_fills_in_templates_and_runs() {
    let bastion = warm();
    for way in Way::ALL {
        let files = Files::new();
        let folder = files.here.parent().unwrap();
        let ssh = bastion.ssh(bastion.login(ANSIBLE)).by(way);
        let (filled, play) = (folder.join("filled"), folder.join("play.yml"));
        fs::write(
            folder.join("template.j2"),
            "on {{ inventory_hostname }} {{ 6 * 7 }}\n",
        )
        .unwrap();
        fs::write(
            &play,
            format!(
                "- hosts: all\n  gather_facts: true\n  tasks:\n\
                 \x20   - copy: {{src: '{here}', dest: '{there}', mode: '0640'}}\n\
                 \x20   - template: {{src: '{template}', dest: '{filled}'}}\n\
                 \x20   - command: cat '{filled}'\n      register: said\n\
                 \x20   - assert: {{that: \"said.stdout.endswith('42')\"}}\n\
                 \x20   - fetch: {{src: '{there}', dest: '{back}', flat: true}}\n",
                here = files.here.display(),
                there = files.there.display(),
                template = folder.join("template.j2").display(),
                filled = filled.display(),
                back = files.back.display(),
            ),
        )
        .unwrap();
        fs::write(folder.join("ansible.cfg"), "").unwrap();
        // As in a configuration of ssh's, which Ansible is given whole.
        let (words, host) = (ssh.words(), ssh.host());
        let user = if way == Way::LoginName {
            ssh.user()
        } else {
            &bastion.account
        };
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let mut ansible = Command::new("ansible-playbook");
        ansible
            .args(["-i", &format!("{host},"), "-u", user])
            .arg(&play)
            .env("ANSIBLE_HOME", folder)
            .env("ANSIBLE_LOCAL_TEMP", folder)
            .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
            .env("ANSIBLE_CONFIG", folder.join("ansible.cfg"))
            .env(
                "ANSIBLE_SSH_ARGS",
                format!(
                    "{} -oControlMaster=auto -oControlPersist=2s -oControlPath={}",
                    words.join(" "),
                    folder.join("c").display()
                ),
            )
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SSH_AUTH_SOCK");
        let ran = run(ansible, b"", Duration::from_secs(120));
        let told = ran.stdout.clone();
        assert!(ran.ok().contains("failed=0"), "{told}");
        files.came_back();
        let expected = format!("on {host} 42\n");
        assert_eq!(fs::read_to_string(&filled).unwrap(), expected);
        recorded(&bastion, ANSIBLE, &files.there.display().to_string());
    }
}

#[test]
fn curl_moves_files_where_its_library_knows_the_algorithms() {
    let bastion = warm();
    let files = Files::new();
    let version = run(with(Command::new("curl"), &["--version"]), b"", PATIENCE).ok();
    let operator = bastion.operator(bastion.login(CURL));
    let url = format!("sftp://{}{}", bastion.ready.ssh, files.there.display());
    let user = format!("{}+{}+{TARGET}:", operator.login, bastion.account);
    let public = files.here.with_extension("pub");
    let mut key = Command::new("ssh-keygen");
    key.arg("-yf").arg(&operator.key);
    fs::write(&public, run(key, b"", PATIENCE).ok()).unwrap();
    let curl = |words: &[&str]| {
        let mut curl = with(Command::new("curl"), &["-sS", "-k", "-u", &user, &url]);
        curl.arg("--key")
            .arg(&operator.key)
            .arg("--pubkey")
            .arg(&public);
        run(with(curl, words), b"", PATIENCE)
    };
    let up = curl(&["-T", files.here.to_str().unwrap()]);
    if version.contains("libssh2/1.10.") {
        // Debian 12: it knows neither GCM nor encrypt-then-MAC.
        assert_eq!(up.status, Some(2), "{up:?}");
        assert!(
            up.stderr.contains("Unable to exchange encryption keys"),
            "{up:?}"
        );
        assert!(bastion.sessions(&operator.login).is_empty());
        return;
    }
    let _ = up.ok();
    let _ = curl(&["-o", files.back.to_str().unwrap()]).ok();
    files.came_back();
    recorded(&bastion, CURL, &files.there.display().to_string());
}

/// For one call of a client, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

/// A session of this operator's whose journal has `what`; every one of his has ended, sealed.
fn recorded(bastion: &Bastion, number: usize, what: &str) -> Session {
    let login = bastion.login(number);
    eventually("his sessions have ended", PATIENCE, || {
        let sessions = bastion.sessions(login);
        let ended = |session: &Session| matches!(session.state, SessionState::Ended { .. });
        !sessions.is_empty() && sessions.iter().all(ended)
    });
    let mut sessions = bastion.sessions(login).into_iter();
    let found = sessions.find(|session| {
        assert_eq!(session.target.as_str(), TARGET);
        let journal = bastion.journal(session);
        journal.iter().any(|line| {
            let texts = line.as_object().unwrap().values();
            texts
                .filter_map(|text| text.as_str())
                .any(|text| text.contains(what))
                || line.to_string().contains(what)
        })
    });
    let found = found.unwrap_or_else(|| panic!("no session of {login} with `{what}`"));
    let _ = bastion
        .admin(&["recording", "verify", found.id.as_str()])
        .ok();
    found
}

/// A file, where it is to go and where it is to come back.
struct Files {
    here: PathBuf,
    there: PathBuf,
    back: PathBuf,
    _directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("here"), noise(SIZE)).unwrap();
        Self {
            here: at("here"),
            there: at("there"),
            back: at("back"),
            _directory: directory,
        }
    }

    fn sftp_batch(&self) -> String {
        format!(
            "put {} {there}\nget {there} {}\nls {}\nquit\n",
            self.here.display(),
            self.back.display(),
            self.here.parent().unwrap().display(),
            there = self.there.display(),
        )
    }

    /// Both there and back it is what it was; neither is left for another to find.
    fn came_back(&self) {
        for path in [&self.there, &self.back] {
            assert!(fs::read(path).unwrap() == noise(SIZE), "{}", path.display());
            fs::remove_file(path).unwrap();
        }
    }
}

/// PuTTY's tools, with a key in their own format.
struct Putty<'a> {
    bastion: &'a Bastion,
    key: PathBuf,
    fingerprint: String,
    directory: TempDir,
}

impl<'a> Putty<'a> {
    fn new(bastion: &'a Bastion) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.ppk");
        let operator = bastion.operator(bastion.login(PUTTY));
        let mut puttygen = Command::new("puttygen");
        puttygen
            .arg(&operator.key)
            .args(["-O", "private", "-o"])
            .arg(&key);
        let _ = run(puttygen, b"", PATIENCE).ok();
        let mut listed = Command::new("ssh-keygen");
        listed.arg("-lf").arg(bastion.state().join("keys/host.pub"));
        let listed = run(listed, b"", PATIENCE).ok();
        Self {
            bastion,
            key,
            fingerprint: listed.split(' ').nth(1).unwrap().to_owned(),
            directory,
        }
    }

    fn host(&self, way: Way) -> String {
        match way {
            Way::Jump => TARGET.to_owned(),
            Way::LoginName | Way::Direct => {
                self.bastion.ready.ssh.split(':').next().unwrap().to_owned()
            }
        }
    }

    fn client(&self, program: &str, way: Way, batch: &str) -> Command {
        let mut client = self.client_without_host(program, way, batch);
        client.arg(self.host(way));
        client
    }

    fn client_without_host(&self, program: &str, way: Way, batch: &str) -> Command {
        let login = self.bastion.login(PUTTY);
        let port = self.bastion.ready.ssh.split(':').nth(1).unwrap();
        let account = &self.bastion.account;
        let own = format!("-i {} -hostkey {}", self.key.display(), self.fingerprint);
        let mut client = without_terminal(program);
        client.env("HOME", self.directory.path());
        client.args(own.split(' ')).args(batch.split_whitespace());
        match way {
            Way::Jump => {
                let outer = format!(
                    "plink {batch} {own} -P {port} -l {login} -nc %host:%port {}",
                    self.host(Way::LoginName)
                );
                client.args(["-P", "22", "-l", account, "-proxycmd", &outer]);
            }
            Way::LoginName | Way::Direct => {
                let user = format!("{login}+{account}+{TARGET}");
                client.args(["-P", port, "-l", &user]);
            }
        }
        client
    }
}

/// Dropbear's client, with a key in its own format.
struct Dropbear<'a> {
    bastion: &'a Bastion,
    directory: TempDir,
}

impl<'a> Dropbear<'a> {
    fn new(bastion: &'a Bastion) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let operator = bastion.operator(bastion.login(DROPBEAR));
        let mut convert = Command::new("dropbearconvert");
        convert.args(["openssh", "dropbear"]).arg(&operator.key);
        convert.arg(directory.path().join("key"));
        let _ = run(convert, b"", PATIENCE).ok();
        Self { bastion, directory }
    }

    fn client(&self, way: Way) -> Command {
        let login = self.bastion.login(DROPBEAR);
        let (host, port) = self.bastion.ready.ssh.split_once(':').unwrap();
        let account = &self.bastion.account;
        // By its whole name: for a jump it starts itself.
        let mut client = without_terminal("/usr/bin/dbclient");
        client.env("HOME", self.directory.path());
        client
            .args(["-y", "-y", "-i"])
            .arg(self.directory.path().join("key"));
        client.arg(match way {
            Way::Jump => format!("{login}@{host}^{port},{account}@{TARGET}^22"),
            Way::LoginName | Way::Direct => format!("{login}+{account}+{TARGET}@{host}^{port}"),
        });
        client
    }
}

/// What asks its person at the terminal, where there is one, asks at its input.
fn without_terminal(program: &str) -> Command {
    with(Command::new("setsid"), &["-w", program])
}

/// A script that wants to log in as this operator.
fn python(bastion: &Bastion, number: usize, way: Way, script: &str) -> Command {
    let (host, port) = bastion.ready.ssh.rsplit_once(':').unwrap();
    let operator = bastion.operator(bastion.login(number));
    let jump = if way == Way::Jump { "jump" } else { "name" };
    let mut python = Command::new("timeout");
    python
        .args(["80", "/usr/bin/python3", "-Wignore", "-c", script])
        .args([host, port, &bastion.account, jump, &operator.login])
        .arg(&operator.key);
    python
}

fn asyncssh(bastion: &Bastion, number: usize, way: Way, script: &str) -> Command {
    let script = format!("{ASYNCSSH_LOGIN}\n{script}\nasyncio.run(main())");
    python(bastion, number, way, &script)
}

fn with(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

/// A client that does not outlive its test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

const PARAMIKO_LOGIN: &str = r#"
import os, sys, paramiko
host, port, account, way, login, key, *rest = sys.argv[1:]
key = paramiko.Ed25519Key.from_private_key_file(key)
def asked(title, instructions, prompts):
    return [os.environ["CODE"] for _ in prompts]
def outer(user):
    transport = paramiko.Transport((host, int(port)))
    transport.start_client(timeout=30)
    left = transport.auth_publickey(user, key)
    assert left == ["keyboard-interactive"], left
    transport.auth_interactive(user, asked)
    return transport
if way == "jump":
    transport = paramiko.Transport(outer(login).open_channel("direct-tcpip", ("db1.chu-exemple", 22), ("127.0.0.1", 1)))
    transport.start_client(timeout=30)
    transport.auth_publickey(account, key)
else:
    transport = outer(f"{login}+{account}+db1.chu-exemple")
assert transport.is_authenticated()
"#;

const PARAMIKO_FILES: &str = r#"
here, there, back = rest
channel = transport.open_session()
channel.exec_command("cat; echo told >&2; exit 7")
channel.sendall(b"sent\n")
channel.shutdown_write()
out, err = channel.makefile().read(), channel.makefile_stderr().read()
print(channel.recv_exit_status(), out.decode().strip(), err.decode().strip())
sftp = paramiko.SFTPClient.from_transport(transport)
sftp.put(here, there)
sftp.get(there, back)
transport.close()
"#;

const ASYNCSSH_LOGIN: &str = r#"
import asyncio, os, sys, asyncssh
host, port, account, way, login, key, *rest = sys.argv[1:]
class Person(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ""
    def kbdint_challenge_received(self, name, instructions, language, prompts):
        return [os.environ["CODE"] for _ in prompts]
async def connect():
    common = dict(known_hosts=None, config=None, agent_path=None, client_keys=[key], client_factory=Person)
    if way == "jump":
        outer = await asyncssh.connect(host, int(port), username=login, **common)
        return await asyncssh.connect("db1.chu-exemple", 22, username=account, tunnel=outer, **common), outer
    connection = await asyncssh.connect(host, int(port), username=f"{login}+{account}+db1.chu-exemple", **common)
    return connection, connection
async def leave(connection, outer):
    for one in (connection, outer):
        one.close()
        await one.wait_closed()
"#;

const ASYNCSSH_FILES: &str = r#"
async def main():
    here, there, back = rest
    connection, outer = await connect()
    ran = await connection.run("cat; echo told >&2; exit 7", input="sent\n")
    print(ran.exit_status, ran.stdout.strip(), ran.stderr.strip())
    async with connection.start_sftp_client() as sftp:
        await sftp.put(here, there)
    await asyncssh.scp((connection, there), back)
    await leave(connection, outer)
"#;

const SMALL_FILES: &str = r#"
async def main():
    here, there, back = rest
    connection, outer = await connect()
    async with connection.start_sftp_client() as sftp:
        await sftp.put(here, there, recurse=True, preserve=True)
        count = 0
        async def look(path):
            nonlocal count
            for entry in await sftp.readdir(path):
                if entry.filename in (".", ".."):
                    continue
                if entry.attrs.permissions & 0o40000:
                    await look(f"{path}/{entry.filename}")
                else:
                    count += 1
        await look(there)
        await sftp.get(there, back, recurse=True, preserve=True)
        # As an editor saves: beside it, then over it.
        path = f"{there}/folder 0/fichier n° 0"
        async with sftp.open(path + ".filepart", "wb") as part:
            await part.write(b"")
        await sftp.posix_rename(path + ".filepart", path)
    print(count)
    await leave(connection, outer)
"#;

const EDITORS_SHELL: &str = r#"
async def main():
    folder, = rest
    connection, outer = await connect()
    shell = await connection.create_process("exec sh")
    answers = 0
    async def ask():
        nonlocal answers
        for number in range(100):
            shell.stdin.write(f"echo answer {number}\n")
            line = await asyncio.wait_for(shell.stdout.readline(), 30)
            assert line == f"answer {number}\n", line
            answers += 1
    async def beside(number):
        data = os.urandom(1 << 20)
        ran = await connection.run("cat", input=data, encoding=None)
        assert ran.stdout == data
        async with connection.start_sftp_client() as sftp:
            async with sftp.open(f"{folder}-{number}", "wb") as file:
                await file.write(data)
            async with sftp.open(f"{folder}-{number}", "rb") as file:
                assert await file.read() == data
    await asyncio.gather(ask(), *(beside(number) for number in range(6)))
    shell.stdin.write("exit 3\n")
    await shell.wait()
    assert shell.exit_status == 3
    print(answers, "answers")
    await leave(connection, outer)
"#;
