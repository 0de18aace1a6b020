//! What can go wrong with the store, said without any data of the database.

use sqlx::error::{DatabaseError, ErrorKind};

/// A read or write that did not happen. Fail closed: deny, and let the person try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the row since it was read; nothing was written.
    #[error("`{id}` in `{table}` was changed by somebody else meanwhile; look at it again")]
    Stale { table: &'static str, id: String },
    /// There is no such row.
    #[error("there is no `{id}` in `{table}`")]
    NotFound { table: &'static str, id: String },
    /// The database refused the row by one of its constraints; nothing was written.
    #[error("{what}")]
    Conflict { what: String },
    /// A row that cannot have been written by this program.
    #[error("row `{id}` of `{table}` cannot be right: {what}")]
    Impossible {
        table: &'static str,
        id: String,
        what: String,
    },
    /// The database did not answer, or not in time. It is not known whether a write happened.
    #[error("the database is not available; try again")]
    Unavailable(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Unavailable(sqlx::Error::Migrate(Box::new(error)))
    }
}

impl StoreError {
    /// What a failed statement about row `id` of `table` means.
    pub(crate) fn of_row(table: &'static str, id: &str, error: sqlx::Error) -> Self {
        let kind = error.as_database_error().map(DatabaseError::kind);
        let what = match kind {
            Some(ErrorKind::UniqueViolation) => "exists already, or shares what must be unique",
            Some(ErrorKind::ForeignKeyViolation) => {
                "names something that is not registered, or that is another customer's"
            }
            Some(ErrorKind::NotNullViolation | ErrorKind::CheckViolation) => {
                "lacks something the database asks for"
            }
            Some(ErrorKind::ExclusionViolation | ErrorKind::Other | _) | None => {
                return Self::Unavailable(error);
            }
        };
        Self::Conflict {
            what: format!("`{id}` in `{table}` {what}"),
        }
    }

    /// A row that this program cannot have written.
    pub(crate) fn impossible(table: &'static str, id: &str, what: impl Into<String>) -> Self {
        Self::Impossible {
            table,
            id: id.to_owned(),
            what: what.into(),
        }
    }
}
