//! Entries as they are read: in order, or by what they are about.

use crate::engine::{Store, on};
use crate::error::StoreError;
use access::{CustomerId, InterventionId, SessionId, Time};

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From 1, without a gap.
    pub sequence: i64,
    pub at: Time,
    /// Canonical JSON (RFC 8785); what the leaf of the tree is the hash of.
    pub text: String,
}

impl Entry {
    pub(crate) fn of_rows(rows: Vec<(i64, i64, String)>) -> Vec<Self> {
        rows.into_iter()
            .map(|(sequence, at, text)| Self {
                sequence,
                at: Time::from_micros(at),
                text,
            })
            .collect()
    }
}

/// Which entries to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter<'a> {
    pub customer: Option<CustomerId>,
    pub intervention: Option<InterventionId>,
    pub session: Option<SessionId>,
    /// The beginning of the event's name: `intervention.`.
    pub name_prefix: Option<&'a str>,
    /// How many at most.
    pub limit: i64,
    /// Only those with a smaller number, for the next page.
    pub before: Option<i64>,
}

/// One text per index, so that each uses its own.
macro_rules! about {
    ($first:literal) => {
        concat!(
            "SELECT sequence, at, text FROM audit_entries WHERE ",
            $first,
            " AND (CAST($1 AS TEXT) IS NULL OR session_id = $1) \
              AND (CAST($2 AS TEXT) IS NULL OR intervention_id = $2) \
              AND (CAST($3 AS TEXT) IS NULL OR customer_id = $3) \
              AND (CAST($4 AS TEXT) IS NULL OR SUBSTR(name, 1, LENGTH($4)) = $4) \
              AND sequence < $5 \
              ORDER BY sequence DESC LIMIT $6"
        )
    };
}

impl Store {
    /// The number of entries, which is the number of the newest.
    pub async fn head(&self) -> Result<i64, StoreError> {
        Ok(on!(self.reading(), c => sqlx::query_scalar(
            "SELECT size FROM audit_head WHERE id = 1",
        )
        .fetch_one(c)
        .await?))
    }

    /// Entries after number `after`, oldest first.
    pub async fn entries(&self, after: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
        let rows = on!(self.reading(), c => sqlx::query_as(
            "SELECT sequence, at, text FROM audit_entries WHERE sequence > $1 \
             ORDER BY sequence LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await?);
        Ok(Entry::of_rows(rows))
    }

    /// Entries about something, newest first; the host's side.
    pub async fn entries_about(&self, filter: EntryFilter<'_>) -> Result<Vec<Entry>, StoreError> {
        let text = match (&filter.session, &filter.intervention, &filter.customer) {
            (Some(_), _, _) => about!("session_id = $1"),
            (None, Some(_), _) => about!("intervention_id = $2"),
            (None, None, Some(_)) => about!("customer_id = $3"),
            (None, None, None) => about!("sequence > 0"),
        };
        let rows = on!(self.reading(), c => sqlx::query_as(text)
            .bind(filter.session.as_ref().map(SessionId::as_str))
            .bind(filter.intervention.as_ref().map(InterventionId::as_str))
            .bind(filter.customer.as_ref().map(CustomerId::as_str))
            .bind(filter.name_prefix)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.limit)
            .fetch_all(c)
            .await?);
        Ok(Entry::of_rows(rows))
    }
}
