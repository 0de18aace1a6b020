//! A private `PostgreSQL` server in a directory of its own, which ends with the tests.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) struct Server {
    directory: PathBuf,
    bin: PathBuf,
    /// The shell that keeps the server: when the pipe to it closes, which the end of this process
    /// does too, it stops the server and removes its directory.
    keeper: Option<Child>,
}

static SHARED: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The server all tests of this binary share, each with a database of its own.
pub(crate) fn shared() -> &'static Server {
    SHARED.get_or_init(Server::start)
}

impl Server {
    pub(crate) fn start() -> Self {
        let bin = programs();
        let made = as_postgres("mktemp", &["-d"]).output().unwrap();
        let directory = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim());
        let data = directory.join("data");
        let initdb = bin.join("initdb");
        let out = as_postgres(
            initdb.to_str().unwrap(),
            &[
                "-A",
                "trust",
                "-U",
                "bastion",
                "-E",
                "UTF8",
                "-D",
                data.to_str().unwrap(),
            ],
        )
        .output()
        .unwrap();
        assert!(
            out.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let mut server = Self {
            directory,
            bin,
            keeper: None,
        };
        server.run();
        server
    }

    /// Runs the server, until [`Self::kill`] or the end of this process.
    pub(crate) fn run(&mut self) {
        let script = format!(
            "{}/postgres -D {data} -k {socket} -c listen_addresses= >{socket}/log 2>&1 & \
             server=$!; read end; kill -QUIT $server; wait $server; \
             if [ \"$end\" != stay ]; then rm -rf {socket}; fi",
            self.bin.display(),
            data = self.directory.join("data").display(),
            socket = self.directory.display(),
        );
        let keeper = as_postgres("sh", &["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let ready = self.bin.join("pg_isready");
        for _ in 0..300 {
            let socket = self.directory.to_str().unwrap();
            let answer = Command::new(&ready)
                .args(["-q", "-h", socket])
                .status()
                .unwrap();
            if answer.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "PostgreSQL did not start; see {}/log",
            self.directory.display()
        );
    }

    /// Kills the server as a crash does; its data stays.
    pub(crate) fn kill(&mut self) {
        use std::io::Write;
        let mut keeper = self.keeper.take().unwrap();
        keeper.stdin.take().unwrap().write_all(b"stay\n").unwrap();
        keeper.wait().unwrap();
    }

    /// A fresh database; its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let socket = self.directory.display();
        format!("postgres://bastion@localhost/{database}?host={socket}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }
}

/// The newest installed server's programs.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .max();
    installed.expect("PostgreSQL is not installed: run `apt-get install postgresql`")
}

/// The server refuses to run as root.
fn as_postgres(program: &str, arguments: &[&str]) -> Command {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir(Path::new("/"));
    command
}
