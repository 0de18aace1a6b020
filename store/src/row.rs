//! INVARIANT: no state changes without a trace. The row, its history and its audit entry are one
//! transaction; there is no other way to write a row.

use crate::audit::{self, Rows};
use crate::engine::{Store, Tx};
use crate::error::StoreError;
use crate::history;
use access::audit::{hex, sha256};
use access::confirmation::Confirmation;
use access::second_factor::SecondFactor;
use access::{
    Actor, Certificate, Changed, Contact, Customer, Event, Grant, Intervention, Operator, Session,
    Target, Time,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::future::Future;

/// A value of the trade that has a row of its own.
pub trait Kept: Row {}

/// How a value becomes a row: its key columns are derived from it in the file of its noun.
pub trait Row: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its table.
    const TABLE: &'static str;
    /// Its primary key.
    fn id(&self) -> &str;
    /// The version it was read at; 0 for a new one.
    fn version(&self) -> i64;
    /// Gives it the version it is about to be saved under.
    fn set_version(&mut self, version: i64);
    /// Reads rows after the id `$1`, at most `$2`: id, version, `created_at`, `changed_at`, body,
    /// and the derived columns as [`Row::derived`] writes them.
    const KEPT: &'static str;
    /// What the columns beside the body must say, as one text.
    fn derived(&self) -> String;
    /// The approvals it carries, where it carries any.
    fn approvals(&self) -> Vec<Signed> {
        Vec::new()
    }
    /// Inserts it, or updates the row that still has the version it was read at. Returns the
    /// number of rows that were written.
    fn write<'a>(
        &'a self,
        tx: &'a mut Tx,
        stamp: &'a Stamp<'a>,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send + 'a;
}

/// A decision that somebody signed, and what is wrong with its statement, if anything is.
pub struct Signed {
    pub(crate) approval: access::Approval,
    pub(crate) wrong: Option<String>,
}

/// What every row is written with.
pub struct Stamp<'a> {
    pub(crate) id: &'a str,
    /// The version the row has now; 0 where there is none yet.
    pub(crate) was: i64,
    pub(crate) at: i64,
    pub(crate) body: &'a str,
}

impl Stamp<'_> {
    /// The statement to use.
    pub(crate) const fn text(&self, insert: &'static str, update: &'static str) -> &'static str {
        if self.was == 0 { insert } else { update }
    }
}

/// Where in an entry's detail the row it wrote is named.
pub(crate) const ROW: &str = "row";

/// A row as an entry names it.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowNamed {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) version: i64,
    /// SHA-256 of the body as it is kept, lower-case hexadecimal.
    pub(crate) body_sha256: String,
}

impl RowNamed {
    fn of(table: &str, id: &str, version: i64, body: &str) -> Self {
        Self {
            table: table.to_owned(),
            id: id.to_owned(),
            version,
            body_sha256: hex(&sha256(body.as_bytes())),
        }
    }
}

/// A row as it is read: id, version, body.
pub(crate) type Stored = (String, i64, String);

macro_rules! kept {
    ($($noun:ident),+) => {
        $(
            impl Kept for $noun {}
            impl From<Changed<$noun>> for Saving {
                fn from(changed: Changed<$noun>) -> Self {
                    Self::$noun(Box::new(changed))
                }
            }
        )+

        /// One change among several that are saved together.
        #[derive(Debug)]
        pub enum Saving {
            $(
                #[doc = concat!("A change of one `", stringify!($noun), "`.")]
                $noun(Box<Changed<$noun>>),
            )+
        }

        /// Holds the rows of every noun against the log.
        pub(crate) async fn hold(rows: &mut Rows) -> Result<(), StoreError> {
            $(rows.hold::<$noun>().await?;)+
            Ok(())
        }

        impl Saving {
            async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
                match self {
                    $(Self::$noun(changed) => write(tx, *changed).await.map(|_| ()),)+
                }
            }
        }
    };
}
kept!(
    Customer,
    Contact,
    Actor,
    Operator,
    Target,
    Grant,
    Intervention,
    Session,
    SecondFactor,
    Confirmation,
    Certificate
);

impl Store {
    /// Saves one change: the row (compared by version and swapped), its history and its entry.
    /// Returns the value with its new version.
    pub async fn save<T: Kept>(&self, changed: Changed<T>) -> Result<T, StoreError> {
        let mut tx = self.begin().await?;
        let saved = write(&mut tx, changed).await?;
        tx.commit().await?;
        Ok(saved)
    }

    /// Saves several changes, all or none.
    pub async fn save_all(&self, changes: Vec<Saving>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for change in changes {
            change.write(&mut tx).await?;
        }
        tx.commit().await
    }

    /// Appends an event that changes no row. Returns its sequence number.
    pub async fn append(&self, event: Event) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        let sequence = audit::append(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(sequence)
    }
}

/// INVARIANT: the entry comes first, since it takes the head of the log: all writers of all
/// bastions take that one lock before any other and so cannot wait for each other in a circle.
/// It names the row, its version and the digest of its body: what the signed log says stands, and
/// a row that says otherwise was changed.
pub(crate) async fn write<T: Row>(tx: &mut Tx, changed: Changed<T>) -> Result<T, StoreError> {
    let (mut value, event) = changed.into_parts();
    let was = value.version();
    value.set_version(was + 1);
    let body = serde_json::to_string(&value).map_err(|_| {
        StoreError::impossible(T::TABLE, value.id(), "it cannot be written as JSON")
    })?;
    let event = event.with(ROW, RowNamed::of(T::TABLE, value.id(), was + 1, &body));
    audit::append(tx, &event).await?;
    let stamp = Stamp {
        id: value.id(),
        was,
        at: event.at.micros(),
        body: &body,
    };
    let refused = |error| StoreError::of_row(T::TABLE, value.id(), error);
    if value.write(tx, &stamp).await.map_err(refused)? != 1 {
        return Err(StoreError::Stale {
            table: T::TABLE,
            id: value.id().to_owned(),
        });
    }
    history::add(tx, T::TABLE, &stamp).await.map_err(refused)?;
    Ok(value)
}

/// A time that may be absent, as [`Row::derived`] writes it.
pub(crate) fn number_or_dash(time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.micros().to_string())
}

/// The value of a row. What the row says of itself must be what its body says.
pub(crate) fn value<T: Row>((id, version, body): Stored) -> Result<T, StoreError> {
    let value: T = serde_json::from_str(&body).map_err(|error| {
        let place = format!("its body does not read, at column {}", error.column());
        StoreError::impossible(T::TABLE, &id, place)
    })?;
    if value.id() != id || value.version() != version {
        let what = "its body is of another row or another version";
        return Err(StoreError::impossible(T::TABLE, &id, what));
    }
    Ok(value)
}

/// The values of several rows; one that cannot be right spoils them all.
pub(crate) fn values<T: Row>(rows: Vec<Stored>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(value).collect()
}
