//! Invitations to enrol a passkey: one link, one use. Only the hash of the link's token is kept.

use crate::audit;
use crate::engine::{Store, on};
use crate::error::StoreError;
use crate::row::write;
use crate::second_factor::{contact_of, holder, operator_of};
use crate::web_session::short;
use access::second_factor::{Holder, SecondFactor};
use access::{Changed, Event, Time, Who};

const TABLE: &str = "invitations";

/// One invitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// SHA-256 of the token in the link.
    pub token_sha256: [u8; 32],
    /// Who may enrol with it.
    pub holder: Holder,
    pub invited_by: Who,
    pub expires_at: Time,
}

impl Store {
    /// Keeps an invitation, and traces it.
    pub async fn invite(&self, invitation: Invitation, event: Event) -> Result<(), StoreError> {
        let id = short(&invitation.token_sha256);
        let invited_by = serde_json::to_string(&invitation.invited_by)
            .map_err(|_| StoreError::impossible(TABLE, &id, "it cannot be written as JSON"))?;
        let mut tx = self.begin().await?;
        audit::append(&mut tx, &event).await?;
        on!(tx.next(), c => sqlx::query(
            "INSERT INTO invitations (token_sha256, operator_id, contact_id, invited_by, expires_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(invitation.token_sha256.as_slice())
        .bind(operator_of(&invitation.holder))
        .bind(contact_of(&invitation.holder))
        .bind(invited_by)
        .bind(invitation.expires_at.micros())
        .execute(c)
        .await
        .map(|_| ()))
        .map_err(|error| StoreError::of_row(TABLE, &id, error))?;
        tx.commit().await
    }

    /// The invitation of this token, where it is neither used nor expired at `now`.
    pub async fn invitation(
        &self,
        token_sha256: &[u8; 32],
        now: Time,
    ) -> Result<Option<Invitation>, StoreError> {
        let row: Option<(Option<String>, Option<String>, String, i64)> = on!(self.reading(), c => sqlx::query_as(
                "SELECT operator_id, contact_id, invited_by, expires_at FROM invitations \
                 WHERE token_sha256 = $1 AND used_at IS NULL AND expires_at > $2",
            )
            .bind(token_sha256.as_slice())
            .bind(now.micros())
            .fetch_optional(c)
            .await?);
        let Some((operator, contact, invited_by, expires_at)) = row else {
            return Ok(None);
        };
        let wrong = || StoreError::impossible(TABLE, &short(token_sha256), "it does not read");
        Ok(Some(Invitation {
            token_sha256: *token_sha256,
            holder: holder(operator, contact).ok_or_else(wrong)?,
            invited_by: serde_json::from_str(&invited_by).map_err(|_| wrong())?,
            expires_at: Time::from_micros(expires_at),
        }))
    }

    /// Uses it up for the factor it enrols: the invitation, the factor, its entry and `event` are
    /// one transaction. True once, and never after it expired; a factor that cannot be saved (its
    /// credential is known already) is a [`StoreError::Conflict`] and leaves the invitation good.
    pub async fn enrol_invited(
        &self,
        token_sha256: &[u8; 32],
        enrolled: Changed<SecondFactor>,
        event: Event,
    ) -> Result<bool, StoreError> {
        let at = event.at.micros();
        let mut tx = self.begin().await?;
        write(&mut tx, enrolled).await?;
        audit::append(&mut tx, &event).await?;
        let used = on!(tx.next(), c => sqlx::query(
            "UPDATE invitations SET used_at = $2 \
             WHERE token_sha256 = $1 AND used_at IS NULL AND expires_at > $2",
        )
        .bind(token_sha256.as_slice())
        .bind(at)
        .execute(c)
        .await?
        .rows_affected());
        if used != 1 {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }
}
