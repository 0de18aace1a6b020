//! The two databases behind one set of query texts, and how they are opened.

use crate::error::StoreError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{Postgres, SqlSafeStr, Sqlite, Transaction};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// How long a statement waits for a lock, and a caller for a connection, before it is told to try
/// again.
const PATIENCE: Duration = Duration::from_secs(5);

const SQLITE: [(i64, &str, &str); 2] = [
    (
        1,
        "bastion",
        include_str!("../../migrations/sqlite/0001_bastion.sql"),
    ),
    (
        2,
        "certificates",
        include_str!("../../migrations/sqlite/0002_certificates.sql"),
    ),
];
const POSTGRES: [(i64, &str, &str); 2] = [
    (
        1,
        "bastion",
        include_str!("../../migrations/postgres/0001_bastion.sql"),
    ),
    (
        2,
        "certificates",
        include_str!("../../migrations/postgres/0002_certificates.sql"),
    ),
];

/// One thing per engine.
#[derive(Clone)]
pub(crate) enum Engine<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// Compiles one body for both drivers; `$c` is what executes there. The text of a query is a
/// literal that both engines read the same way.
macro_rules! on {
    ($engine:expr, $c:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Sqlite($c) => $body,
            $crate::engine::Engine::Postgres($c) => $body,
        }
    };
}
pub(crate) use on;

/// `SQLite` has one writer at a time; giving it a pool of one makes writers queue here, in order.
#[derive(Clone)]
struct Files {
    write: SqlitePool,
    read: SqlitePool,
}

/// Everything that is kept. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Store {
    engine: Engine<Files, PgPool>,
}

impl Store {
    /// Opens the database at `url` (`sqlite:///path/bastion.db` or `postgres://…`) and brings its
    /// tables up to date. A new `SQLite` file is readable by its owner alone.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        match Scheme::of(url)? {
            Scheme::Sqlite => Self::open_sqlite(url).await,
            Scheme::Postgres => Self::open_postgres(url).await,
        }
    }

    /// The same, only where there is a database that was initialised: an empty one that was made
    /// by mistake would be served, and signed, as if nothing had ever happened.
    pub async fn open_existing(url: &str) -> Result<Self, StoreError> {
        let there = Self::open_to_read(url).await?;
        let head = there.head().await;
        there.close().await;
        if head? == 0 {
            return Err(no_database("the database was never initialised"));
        }
        Self::open(url).await
    }

    /// Opens an initialised database for nothing but reading: nothing is created, nothing is
    /// brought up to date, and a copy that cannot be written will do.
    pub async fn open_to_read(url: &str) -> Result<Self, StoreError> {
        let store = match Scheme::of(url)? {
            Scheme::Sqlite => Self::read_sqlite(url).await?,
            Scheme::Postgres => Self::read_postgres(url).await?,
        };
        if store.has_tables().await? {
            return Ok(store);
        }
        store.close().await;
        Err(no_database("the database has none of the bastion's tables"))
    }

    /// Finishes what is under way and closes every connection.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(files) => {
                files.read.close().await;
                files.write.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    /// What a query that only reads runs on.
    pub(crate) const fn reading(&self) -> Engine<&SqlitePool, &PgPool> {
        match &self.engine {
            Engine::Sqlite(files) => Engine::Sqlite(&files.read),
            Engine::Postgres(pool) => Engine::Postgres(pool),
        }
    }

    /// Begins a transaction that writes. It is rolled back unless it is committed.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match &self.engine {
            Engine::Sqlite(files) => Tx(Engine::Sqlite(
                files.write.begin_with("BEGIN IMMEDIATE").await?,
            )),
            Engine::Postgres(pool) => Tx(Engine::Postgres(pool.begin().await?)),
        })
    }

    async fn open_sqlite(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        create_private(options.get_filename())?;
        let writer = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = PoolOptions::<Sqlite>::new()
            .acquire_timeout(PATIENCE)
            // Nobody hangs up on a file; and each connection is looked at when it is given back.
            .test_before_acquire(false);
        let write = pool.clone().max_connections(1).connect_with(writer).await?;
        migrator(&SQLITE).run(&write).await?;
        let read = pool
            .max_connections(8)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self {
            engine: Engine::Sqlite(Files { write, read }),
        })
    }

    async fn read_sqlite(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(false)
            .read_only(true)
            .busy_timeout(PATIENCE);
        let file = options.get_filename();
        if !file.is_file() {
            let what = format!("there is no database `{}`", file.display());
            return Err(no_database(&what));
        }
        // Without a write-ahead log beside it nobody has it open, and everything is in the one
        // file: so it can be read where nothing can be written.
        let immutable = !beside(file, "-wal").exists();
        let read = PoolOptions::<Sqlite>::new()
            .acquire_timeout(PATIENCE)
            .max_connections(8)
            .connect_with(options.immutable(immutable))
            .await?;
        Ok(Self {
            engine: Engine::Sqlite(Files {
                write: read.clone(),
                read,
            }),
        })
    }

    async fn read_postgres(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?.options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "30s"),
        ]);
        let pool = PoolOptions::<Postgres>::new()
            .acquire_timeout(PATIENCE)
            .max_connections(4)
            .connect_with(options)
            .await?;
        Ok(Self {
            engine: Engine::Postgres(pool),
        })
    }

    async fn has_tables(&self) -> Result<bool, StoreError> {
        let found: i64 = match self.reading() {
            Engine::Sqlite(c) => {
                sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'audit_head'")
                    .fetch_one(c)
                    .await?
            }
            Engine::Postgres(c) => {
                sqlx::query_scalar("SELECT COUNT(to_regclass('audit_head'))")
                    .fetch_one(c)
                    .await?
            }
        };
        Ok(found == 1)
    }

    async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        // A bastion that stalls inside a transaction must not hold up the others.
        let options = PgConnectOptions::from_str(url)?.options([
            ("lock_timeout", "5s"),
            ("statement_timeout", "30s"),
            ("idle_in_transaction_session_timeout", "15s"),
        ]);
        let pool = PoolOptions::<Postgres>::new()
            .acquire_timeout(PATIENCE)
            .max_connections(16)
            .connect_with(options)
            .await?;
        migrator(&POSTGRES).run(&pool).await?;
        Ok(Self {
            engine: Engine::Postgres(pool),
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.engine {
            Engine::Sqlite(_) => "Store(SQLite)",
            Engine::Postgres(_) => "Store(PostgreSQL)",
        })
    }
}

/// A transaction that writes.
pub struct Tx(Engine<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>);

impl Tx {
    /// What the next statement runs on.
    pub(crate) fn next(&mut self) -> Engine<&mut SqliteConnection, &mut PgConnection> {
        match &mut self.0 {
            Engine::Sqlite(tx) => Engine::Sqlite(&mut **tx),
            Engine::Postgres(tx) => Engine::Postgres(&mut **tx),
        }
    }

    /// Makes everything durable. On an error nobody knows whether it is.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        on!(self.0, tx => tx.commit().await?);
        Ok(())
    }
}

enum Scheme {
    Sqlite,
    Postgres,
}

impl Scheme {
    /// The address is not repeated: it may carry a password.
    fn of(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite://") {
            Ok(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres)
        } else {
            Err(StoreError::Conflict {
                what: "the address of a database starts with `sqlite://` or `postgres://`"
                    .to_owned(),
            })
        }
    }
}

fn no_database(what: &str) -> StoreError {
    StoreError::Conflict {
        what: format!("{what}; `bastion init` makes one"),
    }
}

/// The file that `SQLite` puts beside `path` under this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn migrator(texts: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = texts
        .iter()
        .map(|(version, name, text)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                text.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}

/// Creates the file, so that it is never readable by others, not even for a moment. `SQLite` gives
/// the files it puts beside it the same rights.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(sqlx::Error::Io(error)))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
