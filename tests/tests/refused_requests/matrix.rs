//! Every protocol × every missing condition: each cell is a real client that wants something of a
//! target, through a bastion where one condition alone is missing. It fails, nothing of it reaches
//! the target, there is no session, and the audit log has the refusal with its code.
//!
//! Each row passes once where everything is given, and each target lets a command pass before its
//! condition is taken away; otherwise the cells would prove nothing. That nothing else is missing
//! shows in each refusal: it names one code.
//!
//! A kind of request without a row ([`protocol::rows_of`]) and a code without a column
//! ([`condition::staged`]) do not compile. `matrix.table` is the same for an auditor to read;
//! `UPDATE_TABLE=1` accepts a change of it.

mod condition;
mod protocol;

use access::certificate::CertificateRequest;
use access::decide::Code;
use access::request::{Direction, Request, Stage, Verdict, verdict};
use access::session::FactorUse;
use access::{Certificate, CertificateId, OperatorId};
use condition::{Column, Staged, not_asked, staged};
use e2e::bastion::TARGET;
use e2e::ssh::run;
use e2e::{Another, Bastion, Options, Shared, Ssh, Way};
use protocol::{Became, Place, Protocol, Try};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use store::SessionFilter;

/// Tries at the same time.
const AT_ONCE: usize = 6;
const SOON: Duration = Duration::from_secs(20);

#[test]
fn where_one_condition_is_missing_no_protocol_passes_and_each_refusal_is_traced() {
    let matrix = Matrix::start();
    matrix.every_row_passes_where_nothing_is_missing();
    matrix.second_sessions_end_with_their_condition();
    matrix.at_targets_that_lack_one();
    matrix.at_bastions_that_ask_for_more();
    matrix.on_connections_of_people_who_lost_one();
    matrix.at_logins_without_a_second_factor();
    matrix.is_as_expected();
}

#[test]
fn every_request_that_starts_something_has_its_rows() {
    let direction = |direction| Request::Scp { direction };
    let requests = [
        Request::OpenDirectTcpip,
        Request::OpenDirectStreamlocal,
        Request::OpenX11,
        Request::OpenForwardedTcpip,
        Request::Pty,
        Request::Env { name: "LANG" },
        Request::Shell,
        Request::Exec,
        direction(Direction::Upload),
        direction(Direction::Download),
        Request::Subsystem { name: "sftp" },
        Request::Subsystem { name: "netconf" },
        Request::X11,
        Request::Agent,
        Request::TcpipForward,
        Request::StreamlocalForward,
        Request::Unknown { name: "anything" },
    ];
    let mut seen = Vec::new();
    for request in requests {
        let rows = protocol::rows_of(request);
        seen.extend(rows);
        match verdict(request, Stage::Fresh) {
            Verdict::Run(operations) => {
                assert!(!rows.is_empty(), "{request:?}");
                for row in rows.iter().filter(|row| **row != Protocol::OwnCommand) {
                    assert_eq!(row.operations(), operations, "{request:?} {row:?}");
                }
            }
            Verdict::Pass | Verdict::Refuse { .. } => {}
        }
    }
    for row in Protocol::ALL {
        assert!(seen.contains(&row), "{row:?} asks for nothing");
    }
}

#[test]
fn the_table_for_auditors_is_what_is_tried() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused_requests/matrix.table");
    let table = table();
    if std::env::var_os("UPDATE_TABLE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(table, kept, "matrix.table is another one");
}

/// A row, by one way, asked by an operator of its own: what the log says of him is of that row.
struct Row {
    protocol: Protocol,
    way: Way,
    login: String,
    /// Certified for both factors.
    key: PathBuf,
    /// Certified long ago.
    ended: PathBuf,
    place: Place,
    /// Somebody is in already, and has opened nothing yet.
    standing: Option<Shared>,
}

struct Matrix {
    bastion: Bastion,
    rows: Vec<Row>,
    /// Who holds the only session that there may be.
    holder: PathBuf,
    wrong: Mutex<Vec<String>>,
    tried: Mutex<usize>,
}

/// What must not grow.
#[derive(PartialEq, Debug)]
struct Reached {
    connections_at_the_target: usize,
    sessions: usize,
}

impl Matrix {
    fn start() -> Self {
        let rows = Protocol::ALL.into_iter();
        let rows = rows.flat_map(|row| row.ways().iter().map(move |way| (row, *way)));
        let rows: Vec<(Protocol, Way)> = rows.collect();
        let options = Options {
            operators: u32::try_from(rows.len()).unwrap() + 1,
            ..Options::default()
        };
        let bastion = Bastion::start(
            options
                .with("--operations", "shell,exec,upload,download,forward")
                .with("--forward", "localhost:*"),
        );
        let holder = certified(&bastion, bastion.login(rows.len()));
        let logins: Vec<String> = (0..rows.len())
            .map(|number| bastion.login(number).to_owned())
            .collect();
        let operators = logins.iter().map(|login| OperatorId::parse(login).unwrap());
        let (operators, account) = (operators.collect(), bastion.account.clone());
        bastion.rows(|store| condition::give(store, operators, account));
        let made = Mutex::new(Vec::new());
        together(rows.into_iter().zip(logins), |((protocol, way), login)| {
            let place = Place::new(&bastion.dir.path().join("matrix").join(&login));
            let place = match protocol {
                Protocol::GitClone | Protocol::GitPush => place.with_repository(),
                _ => place,
            };
            let key = certified(&bastion, &login);
            let ended = ended_certificate(&bastion, &login);
            let mut row = Row {
                protocol,
                way,
                login,
                key,
                ended,
                place,
                standing: None,
            };
            if protocol != Protocol::SecondSession {
                let ssh = row.outer(&bastion, TARGET);
                row.standing = Some(Shared::open(&ssh, bastion.dir.path()));
            }
            made.lock().unwrap().push(row);
        });
        Self {
            bastion,
            rows: made.into_inner().unwrap(),
            holder,
            wrong: Mutex::default(),
            tried: Mutex::default(),
        }
    }

    fn every_row_passes_where_nothing_is_missing(&self) {
        together(&self.rows, |row| {
            let ssh = row.ssh(&self.bastion, TARGET);
            let became = self.attempt(row, ssh, TARGET, "control", false);
            if !became.happened {
                self.is_wrong(
                    row,
                    "nothing is missing",
                    &format!("refused: {:?}", became.ran),
                );
            }
        });
        self.is_as_expected();
    }

    /// The first session of each is the control of the target that it goes to.
    fn second_sessions_end_with_their_condition(&self) {
        let seconds = |row: &&Row| row.protocol == Protocol::SecondSession;
        let seconds: Vec<&Row> = self.rows.iter().filter(seconds).collect();
        together(condition::columns(), |column| {
            let asked = not_asked(Protocol::SecondSession, column.code).is_none();
            let asked = asked
                && column.target == condition::target_of(column.code, Protocol::SecondSession);
            let (target, code) = (column.target.clone(), column.code);
            let first = |row: &&Row| {
                let shared = row.shared(&self.bastion, &target);
                self.first_session(row, &shared, &target);
                shared
            };
            if code == Code::TargetUnknown {
                return;
            }
            let standing: Vec<Shared> = seconds.iter().map(first).collect();
            self.bastion
                .rows(|store| condition::take_away(store, column));
            if asked {
                for (row, shared) in seconds.iter().zip(&standing) {
                    self.second_session(row, shared, &target, code);
                }
            }
        });
        self.expect_seconds(Code::ALL.into_iter().filter(|code| {
            staged(*code) == Staged::AtItsTarget
                && not_asked(Protocol::SecondSession, *code).is_none()
        }));
    }

    fn at_targets_that_lack_one(&self) {
        let (before, from) = (self.reached(), self.entries().len());
        let codes = Code::ALL.into_iter();
        let codes: Vec<Code> = codes
            .filter(|code| staged(*code) == Staged::AtItsTarget)
            .collect();
        together(self.single_rows(), |row| {
            for code in row.asked(&codes) {
                let target = condition::target_of(code, row.protocol);
                let ssh = row.ssh(&self.bastion, &target);
                // What matters by a jump is inside of it.
                let ssh = match (&row.standing, row.way) {
                    (Some(shared), Way::Jump) => ssh.over(shared),
                    _ => ssh,
                };
                self.cell(row, ssh, &target, code, false);
            }
        });
        self.expect(from, &codes);
        self.nothing_more_than(&before, "targets that lack one");
    }

    fn at_bastions_that_ask_for_more(&self) {
        for code in Code::ALL {
            let Staged::AtABastionWith(configured) = staged(code) else {
                continue;
            };
            let another = self.bastion.another_with(configured);
            let _held = (code == Code::CapacityReached).then(|| self.hold_a_session(&another));
            let (before, from) = (self.reached(), self.entries().len());
            together(self.single_rows(), |row| {
                for code in row.asked(&[code]) {
                    let ssh = row.ssh(&self.bastion, TARGET).at(&another.address);
                    self.cell(row, ssh, TARGET, code, false);
                }
            });
            self.expect(from, &[code]);
            self.nothing_more_than(&before, code.as_str());
        }
    }

    fn on_connections_of_people_who_lost_one(&self) {
        let operators = self
            .rows
            .iter()
            .map(|row| OperatorId::parse(&row.login).unwrap());
        let operators: Vec<OperatorId> = operators.collect();
        let mut codes: Vec<Code> = Code::ALL
            .into_iter()
            .filter(|code| staged(*code) == Staged::FromEverybody)
            .collect();
        // What is not given back comes last.
        codes.sort_by_key(|code| *code == Code::SecondFactorMissing);
        for code in codes {
            let seconds: Vec<(&Row, Shared)> = self
                .rows
                .iter()
                .filter(|row| row.protocol == Protocol::SecondSession)
                .map(|row| {
                    let shared = row.shared(&self.bastion, TARGET);
                    self.first_session(row, &shared, TARGET);
                    (row, shared)
                })
                .collect();
            let all = operators.clone();
            let (before, from) = (self.reached(), self.entries().len());
            let taken = self
                .bastion
                .rows(|store| condition::from_everybody(store, all, code));
            for (row, shared) in &seconds {
                self.second_session(row, shared, TARGET, code);
            }
            together(self.single_rows(), |row| {
                for code in row.asked(&[code]) {
                    let ssh = row.ssh(&self.bastion, TARGET);
                    let shared = row.standing.as_ref().unwrap();
                    let is_shared = row.way == Way::LoginName;
                    self.cell(row, ssh.over(shared), TARGET, code, is_shared);
                }
            });
            self.expect(from, &[code]);
            self.expect_seconds([code]);
            self.nothing_more_than(&before, code.as_str());
            self.bastion
                .rows(|store| condition::give_back(store, taken));
        }
    }

    /// By whoever has the key alone, and with certificates that are good for nothing any more.
    fn at_logins_without_a_second_factor(&self) {
        let (before, from) = (self.reached(), self.entries().len());
        together(&self.rows, |row| {
            // Where nobody waits for an answer, a second factor of a minute ago is none.
            let own = self.bastion.operator(&row.login).key.clone();
            for (name, key) in [
                ("key-alone", own),
                ("revoked-certificate", row.key.clone()),
                ("ended-certificate", row.ended.clone()),
            ] {
                let ssh = row.ssh(&self.bastion, TARGET).key(key);
                let became = self.attempt(row, ssh, TARGET, name, false);
                self.must_have_failed(row, name, &became);
            }
        });
        let entries = self.entries().split_off(from);
        for row in &self.rows {
            let of_row = |event: &str| {
                let mine = entries.iter().filter(|entry| {
                    entry["event"] == event && entry["who"]["id"] == row.login.as_str()
                });
                mine.collect::<Vec<_>>()
            };
            if of_row("login.abandoned").len() != 1 {
                self.is_wrong(row, "key alone", "it is not in the audit log");
            }
            let over = of_row("login.refused").into_iter().filter(|entry| {
                entry["detail"]["reason"] == "certificate_not_taken"
                    && entry["detail"]["codes"][0] == "certificate_over"
            });
            if over.count() != 2 {
                self.is_wrong(row, "certificates", "they are not in the audit log");
            }
            if !of_row("login.succeeded").is_empty() {
                self.is_wrong(row, "no second factor", "somebody was let in");
            }
        }
        self.nothing_more_than(&before, "no second factor");
    }

    // ---- one cell ----

    fn cell(&self, row: &Row, ssh: Ssh<'_>, target: &str, code: Code, is_shared: bool) {
        let became = self.attempt(row, ssh, target, code.as_str(), is_shared);
        self.must_have_failed(row, code.as_str(), &became);
        let said = format!("{}{}", became.ran.stdout, became.ran.stderr);
        let is_told = said.contains(&format!("Refused ({})", code.as_str()));
        // What is told of the outer connection of a jump is not shown by the inner client.
        let inside = staged(code) == Staged::AtItsTarget && code != Code::TargetUnknown;
        let shows = row.protocol.shows_why(is_shared) && (row.way == Way::LoginName || inside);
        if shows && !is_told {
            self.is_wrong(row, code.as_str(), &format!("not told: {:?}", became.ran));
        }
    }

    fn must_have_failed(&self, row: &Row, condition: &str, became: &Became) {
        if became.happened {
            self.is_wrong(row, condition, &format!("it happened: {:?}", became.ran));
        }
        let listens = matches!(row.protocol, Protocol::MinusL | Protocol::MinusD);
        if became.ran.status == Some(0) && !listens {
            self.is_wrong(row, condition, &format!("no failure: {:?}", became.ran));
        }
    }

    fn attempt(
        &self,
        row: &Row,
        ssh: Ssh<'_>,
        target: &str,
        name: &str,
        is_shared: bool,
    ) -> Became {
        *self.tried.lock().unwrap() += 1;
        Try {
            protocol: row.protocol,
            ssh,
            target,
            account: &self.bastion.account,
            place: &row.place,
            name,
            is_shared,
        }
        .run()
    }

    fn first_session(&self, row: &Row, shared: &Shared, target: &str) {
        let first = shared.run("echo first");
        if first.stdout != "first\n" {
            self.is_wrong(row, target, &format!("nothing is missing yet: {first:?}"));
        }
    }

    fn second_session(&self, row: &Row, shared: &Shared, target: &str, code: Code) {
        let marker = self
            .bastion
            .dir
            .path()
            .join(format!("second-{}-{target}", row.login));
        let ran = shared.run(&format!("touch {}", marker.display()));
        let became = Became {
            ran,
            happened: marker.exists(),
        };
        self.must_have_failed(row, code.as_str(), &became);
    }

    // ---- what the bastion and the target say of it ----

    /// Each cell of these columns is in the audit log from the entry `from` on.
    fn expect(&self, from: usize, codes: &[Code]) {
        let mut missing = Vec::new();
        // Some are written beside the answer.
        let written = || {
            let entries = self.entries().split_off(from);
            let refused = refusals(&entries);
            missing = self
                .single_rows()
                .flat_map(|row| row.asked(codes).into_iter().map(move |code| (row, code)))
                .filter(|(row, code)| {
                    let of_row = refused.get(row.login.as_str()).into_iter().flatten();
                    !of_row.clone().any(|codes| row.is_refusal(*code, codes))
                })
                .map(|(row, code)| (row.login.clone(), code, refused.get(&row.login).cloned()))
                .collect();
            missing.is_empty()
        };
        if !within(SOON, written) {
            for (login, code, instead) in missing {
                let row = self.rows.iter().find(|row| row.login == login).unwrap();
                let what = format!("it is not in the audit log; there is {instead:?}");
                self.is_wrong(row, code.as_str(), &what);
            }
        }
    }

    /// Either the second client was refused, or the whole connection had ended before for the same
    /// reason.
    fn expect_seconds(&self, codes: impl IntoIterator<Item = Code>) {
        let rows = self.rows.iter();
        let rows: Vec<&Row> = rows
            .filter(|row| row.protocol == Protocol::SecondSession)
            .collect();
        for code in codes {
            for row in &rows {
                let written = || {
                    self.entries().iter().any(|entry| {
                        let refused = entry["detail"]["codes"][0] == code.as_str();
                        let reason = entry["detail"]["reason"].as_str().unwrap_or_default();
                        let ended =
                            entry["event"] == "session.ended" && reason.contains(code.as_str());
                        entry["who"]["id"] == row.login.as_str() && refused || {
                            ended && entry.to_string().contains(row.login.as_str())
                        }
                    })
                };
                if !within(SOON, written) {
                    self.is_wrong(row, code.as_str(), "it is not in the audit log");
                }
            }
        }
    }

    fn reached(&self) -> Reached {
        let log = fs::read_to_string(&self.bastion.sshd.log).unwrap();
        let connections = log
            .lines()
            .filter(|line| line.starts_with("Connection from"));
        let all = SessionFilter {
            limit: 1_000_000,
            ..SessionFilter::default()
        };
        let sessions = self
            .bastion
            .rows(|store| async move { store.sessions(all).await.unwrap().len() });
        Reached {
            connections_at_the_target: connections.count(),
            sessions,
        }
    }

    /// What was tried since has made no connection to the target and no session.
    fn nothing_more_than(&self, before: &Reached, tried: &str) {
        let now = self.reached();
        if now != *before {
            let said = format!("{tried}: there was {before:?}, there is {now:?}");
            self.wrong.lock().unwrap().push(said);
        }
    }

    fn entries(&self) -> Vec<Value> {
        self.bastion.entries()
    }

    /// Those whose clients have a connection or a login of their own.
    fn single_rows(&self) -> impl Iterator<Item = &Row> {
        let rows = self.rows.iter();
        rows.filter(|row| row.protocol != Protocol::SecondSession)
    }

    fn hold_a_session(&self, another: &Another) -> Held {
        let login = self.bastion.login(self.rows.len());
        let ssh = self.bastion.ssh(login).key(self.holder.clone());
        let ssh = ssh.without_second_factor().at(&another.address);
        let mut client = ssh.spawn(&["echo in; sleep 300"]);
        let mut said = [0; 3];
        client
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        Held(client)
    }

    fn is_wrong(&self, row: &Row, condition: &str, what: &str) {
        let said = format!("{:?} by {:?}, {condition}: {what}", row.protocol, row.way);
        self.wrong.lock().unwrap().push(said);
    }

    fn is_as_expected(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} cells:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        println!("{} tries", self.tried.lock().unwrap());
    }
}

impl Row {
    /// A client as this row's, with its certificate.
    fn ssh<'a>(&self, bastion: &'a Bastion, target: &str) -> Ssh<'a> {
        let ssh = match self.protocol {
            Protocol::Menu | Protocol::OwnCommand => bastion.bare(&self.login),
            _ => bastion.ssh(&self.login).to(target).by(self.way),
        };
        ssh.key(self.key.clone()).without_second_factor()
    }

    /// The first connection that a client as this row's makes: to the bastion.
    fn outer<'a>(&self, bastion: &'a Bastion, target: &str) -> Ssh<'a> {
        match self.way {
            Way::Jump => bastion
                .bare(&self.login)
                .key(self.key.clone())
                .without_second_factor(),
            Way::LoginName | Way::Direct => self.ssh(bastion, target),
        }
    }

    /// A connection to the target that clients share.
    fn shared(&self, bastion: &Bastion, target: &str) -> Shared {
        Shared::open(&self.ssh(bastion, target), bastion.dir.path())
    }

    fn asked(&self, codes: &[Code]) -> Vec<Code> {
        let asked = |code: &Code| not_asked(self.protocol, *code).is_none();
        codes.iter().copied().filter(asked).collect()
    }

    fn is_refusal(&self, code: Code, codes: &[String]) -> bool {
        let first = codes.first().is_some_and(|first| first == code.as_str());
        first && (codes.len() == 1 || !condition::is_alone(self.protocol, code))
    }
}

/// A client that goes on until it is dropped.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The codes of each refusal, by login.
fn refusals(entries: &[Value]) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut refused: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for entry in entries {
        let event = entry["event"].as_str().unwrap();
        if !matches!(event, "session.refused" | "request.refused") {
            continue;
        }
        let codes = entry["detail"]["codes"].as_array().unwrap().iter();
        let codes = codes.map(|code| code.as_str().unwrap().to_owned());
        let login = entry["who"]["id"].as_str().unwrap().to_owned();
        refused.entry(login).or_default().push(codes.collect());
    }
    refused
}

/// Does it for each, some at a time.
fn together<T: Send>(all: impl IntoIterator<Item = T, IntoIter: Send>, work: impl Fn(T) + Sync) {
    let left = Mutex::new(all.into_iter());
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(one) = next() {
                    work(one);
                }
            });
        }
    });
}

fn within(at_most: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = e2e::now();
    loop {
        if done() {
            return true;
        }
        if started.elapsed() > at_most {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A key that the bastion certified for an hour.
fn certified(bastion: &Bastion, login: &str) -> PathBuf {
    let key = bastion.dir.path().join(format!("{login}-certified"));
    e2e::sshd::new_key(&key);
    let public = fs::read(key.with_extension("pub")).unwrap();
    let bare = bastion.bare(login);
    let given = bare.run_with_input(&["certificate"], &public).ok();
    fs::write(certificate_of(&key), given).unwrap();
    key
}

/// A key with a certificate of the bastion's authority whose time is over by the bastion's own word
/// alone: by its dates it is good.
fn ended_certificate(bastion: &Bastion, login: &str) -> PathBuf {
    let key = bastion.dir.path().join(format!("{login}-ended"));
    e2e::sshd::new_key(&key);
    let mut shown = Command::new("ssh-keygen");
    shown.arg("-lf").arg(&key);
    let shown = run(shown, b"", SOON).ok();
    let fingerprint = shown.split_whitespace().nth(1).unwrap().to_owned();
    let operator = OperatorId::parse(login).unwrap();
    let id = bastion.rows(|store| async move {
        let in_use = store
            .certificates_in_use(Some(&operator), e2e::time())
            .await;
        let asked_with = in_use.unwrap().remove(0).asked_with;
        let number = operator
            .as_str()
            .bytes()
            .fold(0_u128, |sum, byte| sum * 256 + u128::from(byte));
        let issued = Certificate::issue(
            CertificateId::from_random(number.to_be_bytes()),
            operator,
            CertificateRequest {
                key: fingerprint,
                lasts: access::certificate::USUAL,
            },
            asked_with,
            FactorUse::Fresh,
            "127.0.0.1".parse().unwrap(),
            condition::long_ago(),
        );
        store.save(issued.unwrap()).await.unwrap().id
    });
    let mut sign = Command::new("ssh-keygen");
    sign.arg("-q")
        .arg("-s")
        .arg(bastion.state().join("keys/operator-ca"))
        .args(["-I", id.as_str(), "-n", login, "-V", "-1h:+1h"])
        .arg(key.with_extension("pub"));
    let _ = run(sign, b"", SOON).ok();
    key
}

fn certificate_of(key: &Path) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push("-cert.pub");
    path.into()
}

/// One block for each code: how it is missing, and which rows are refused for it.
fn table() -> String {
    let mut table = String::from(
        "# Every protocol under every missing condition, as the test of the matrix tries it with real clients:\n\
         # each fails, nothing of it reaches the target, there is no session, and the audit log has the code.\n\
         # Each by the login name (alice+root+db1@bastion) and through a jump (-J alice@bastion root@db1).\n\
         # Chaque protocole sous chaque condition manquante, tel que le test l'essaie avec de vrais clients :\n\
         # chacun échoue, rien n'atteint le système, il n'y a pas de session, et le journal porte le code.\n",
    );
    for code in Code::ALL {
        let _ = write!(table, "\n[{}] {}\n", code.as_str(), condition::how(code));
        if let Staged::Not(why) = staged(code) {
            let _ = writeln!(table, "not tried here: {why}");
            continue;
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut refused = Vec::new();
        for row in Protocol::ALL {
            match not_asked(row, code) {
                None => refused.push(row.name()),
                Some(why) => reasons.entry(why).or_default().push(row.name()),
            }
        }
        let _ = writeln!(table, "refused: {}", refused.join(", "));
        for (why, rows) in reasons {
            let _ = writeln!(table, "not asked, since {why}: {}", rows.join(", "));
        }
    }
    table.push_str(
        "\n[at the login] the key alone; a certificate that was revoked; a certificate that ended\n\
         refused: every row\n",
    );
    table
}

/// So that no column is forgotten where codes share one.
#[test]
fn every_code_that_is_staged_at_a_target_has_one() {
    let named: BTreeSet<Code> = condition::columns()
        .iter()
        .map(|column: &Column| column.code)
        .collect();
    for code in Code::ALL {
        assert_eq!(
            named.contains(&code),
            staged(code) == Staged::AtItsTarget,
            "{code:?}"
        );
    }
}
