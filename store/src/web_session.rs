//! Web sign-in: sessions and the state of ceremonies under way. Only hashes of tokens are kept.

use crate::audit;
use crate::engine::{Store, on};
use crate::error::StoreError;
use crate::second_factor::{contact_of, holder, operator_of};
use access::audit::hex;
use access::second_factor::Holder;
use access::{Event, Time};

const TABLE: &str = "web_sessions";

/// Which of the two web origins a session belongs to; a cookie of one is worth nothing on the
/// other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Customer,
    Host,
}

impl Origin {
    const fn code(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Host => "host",
        }
    }

    fn parse(code: &str) -> Option<Self> {
        match code {
            "customer" => Some(Self::Customer),
            "host" => Some(Self::Host),
            _ => None,
        }
    }
}

/// One person signed in with one browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebSession {
    /// SHA-256 of the cookie's token.
    pub token_sha256: [u8; 32],
    pub origin: Origin,
    pub holder: Holder,
    pub created_at: Time,
    /// The last request.
    pub seen_at: Time,
    /// The absolute end.
    pub ends_at: Time,
    /// Until when the second factor counts as just given.
    pub fresh_until: Time,
}

type Columns = (String, Option<String>, Option<String>, i64, i64, i64, i64);

impl Store {
    /// Keeps a new session; those that have ended by its beginning are forgotten.
    pub async fn open_web_session(
        &self,
        session: WebSession,
        event: Event,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        on!(tx.next(), c => sqlx::query("DELETE FROM web_sessions WHERE ends_at <= $1")
        .bind(session.created_at.micros())
        .execute(c)
        .await
        .map(|_| ()))?;
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO web_sessions (token_sha256, origin, operator_id, contact_id, \
             created_at, seen_at, ends_at, fresh_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(session.token_sha256.as_slice())
        .bind(session.origin.code())
        .bind(operator_of(&session.holder))
        .bind(contact_of(&session.holder))
        .bind(session.created_at.micros())
        .bind(session.seen_at.micros())
        .bind(session.ends_at.micros())
        .bind(session.fresh_until.micros())
        .execute(c)
        .await
        .map(|_| ()))
        .map_err(|error| StoreError::of_row(TABLE, &short(&session.token_sha256), error))?;
        tx.commit().await
    }

    /// The session of this token, ended or not: its times are the caller's to judge.
    pub async fn web_session(
        &self,
        token_sha256: &[u8; 32],
    ) -> Result<Option<WebSession>, StoreError> {
        let row: Option<Columns> = on!(self.reading(), c => sqlx::query_as(
            "SELECT origin, operator_id, contact_id, created_at, seen_at, ends_at, fresh_until \
             FROM web_sessions WHERE token_sha256 = $1",
        )
        .bind(token_sha256.as_slice())
        .fetch_optional(c)
        .await?);
        row.map(|row| read(token_sha256, row)).transpose()
    }

    /// Notes a request; never an earlier one than the last.
    pub async fn touch_web_session(
        &self,
        token_sha256: &[u8; 32],
        seen_at: Time,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let rows = on!(tx.next(), c => sqlx::query(
            "UPDATE web_sessions SET seen_at = CASE WHEN seen_at < $2 THEN $2 ELSE seen_at END \
             WHERE token_sha256 = $1",
        )
        .bind(token_sha256.as_slice())
        .bind(seen_at.micros())
        .execute(c)
        .await?
        .rows_affected());
        found(token_sha256, rows)?;
        tx.commit().await
    }

    /// Notes that the second factor was just given.
    pub async fn freshen_web_session(
        &self,
        token_sha256: &[u8; 32],
        fresh_until: Time,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let rows = on!(tx.next(), c => sqlx::query(
            "UPDATE web_sessions SET fresh_until = $2 WHERE token_sha256 = $1",
        )
        .bind(token_sha256.as_slice())
        .bind(fresh_until.micros())
        .execute(c)
        .await?
        .rows_affected());
        found(token_sha256, rows)?;
        tx.commit().await
    }

    /// Forgets the session and traces it. Where it is gone already there is nothing to trace.
    pub async fn close_web_session(
        &self,
        token_sha256: &[u8; 32],
        event: Event,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        let rows = on!(tx.next(), c => sqlx::query("DELETE FROM web_sessions WHERE token_sha256 = $1")
        .bind(token_sha256.as_slice())
        .execute(c)
        .await?
        .rows_affected());
        if rows == 0 {
            return Ok(());
        }
        tx.commit().await
    }

    /// Keeps the server's half of a ceremony (JSON) until it is taken; expired ones are forgotten
    /// as they are met.
    pub async fn keep_ceremony(
        &self,
        id_sha256: [u8; 32],
        kind: &str,
        state: &str,
        expires_at: Time,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO ceremonies (id_sha256, kind, state, expires_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(id_sha256.as_slice())
        .bind(kind)
        .bind(state)
        .bind(expires_at.micros())
        .execute(c)
        .await
        .map(|_| ()))
        .map_err(|error| StoreError::of_row("ceremonies", &short(&id_sha256), error))?;
        tx.commit().await
    }

    /// Takes the ceremony, once, where it is of this kind and has not expired.
    pub async fn take_ceremony(
        &self,
        id_sha256: &[u8; 32],
        kind: &str,
        now: Time,
    ) -> Result<Option<String>, StoreError> {
        let mut tx = self.begin().await?;
        let taken: Option<(String, i64)> = on!(tx.next(), c => sqlx::query_as(
            "DELETE FROM ceremonies WHERE id_sha256 = $1 AND kind = $2 RETURNING state, expires_at",
        )
        .bind(id_sha256.as_slice())
        .bind(kind)
        .fetch_optional(c)
        .await?);
        on!(tx.next(), c => sqlx::query("DELETE FROM ceremonies WHERE expires_at <= $1")
        .bind(now.micros())
        .execute(c)
        .await
        .map(|_| ()))?;
        tx.commit().await?;
        Ok(taken
            .filter(|(_, expires_at)| now.micros() < *expires_at)
            .map(|(state, _)| state))
    }
}

fn read(token_sha256: &[u8; 32], row: Columns) -> Result<WebSession, StoreError> {
    let (origin, operator, contact, created_at, seen_at, ends_at, fresh_until) = row;
    let wrong = || StoreError::impossible(TABLE, &short(token_sha256), "its holder does not read");
    Ok(WebSession {
        token_sha256: *token_sha256,
        origin: Origin::parse(&origin).ok_or_else(wrong)?,
        holder: holder(operator, contact).ok_or_else(wrong)?,
        created_at: Time::from_micros(created_at),
        seen_at: Time::from_micros(seen_at),
        ends_at: Time::from_micros(ends_at),
        fresh_until: Time::from_micros(fresh_until),
    })
}

fn found(token_sha256: &[u8; 32], rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::NotFound {
            table: TABLE,
            id: short(token_sha256),
        })
    }
}

/// Enough of a hash to tell rows apart in a sentence.
pub(crate) fn short(sha256: &[u8; 32]) -> String {
    hex(sha256).chars().take(8).collect()
}
