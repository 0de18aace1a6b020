//! Second factors, and the time steps of code generators, of which each works once.

use crate::audit;
use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, number_or_dash, value, values, write};
use access::second_factor::{Factor, Holder, SecondFactor};
use access::{Changed, ContactId, Event, FactorId, OperatorId, Time};

const INSERT: &str = "INSERT INTO second_factors (id, version, created_at, changed_at, body, operator_id, contact_id, credential_id, revoked_at) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5, $6, $7, $8)";
const UPDATE: &str = "UPDATE second_factors SET version = $2 + 1, changed_at = $3, body = $4, operator_id = $5, contact_id = $6, credential_id = $7, revoked_at = $8 \
     WHERE id = $1 AND version = $2";

impl Row for SecondFactor {
    const TABLE: &'static str = "second_factors";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         COALESCE(operator_id, '-') || ' ' || COALESCE(contact_id, '-') || ' ' || COALESCE(credential_id, '-') || ' ' || COALESCE(CAST(revoked_at AS TEXT), '-') \
         FROM second_factors WHERE id > $1 ORDER BY id LIMIT $2";

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn set_version(&mut self, version: i64) {
        self.version = version;
    }

    fn derived(&self) -> String {
        format!(
            "{} {} {} {}",
            operator_of(&self.holder).unwrap_or("-"),
            contact_of(&self.holder).unwrap_or("-"),
            credential_id(&self.factor).unwrap_or("-"),
            number_or_dash(self.revoked_at),
        )
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(operator_of(&self.holder))
        .bind(contact_of(&self.holder))
        .bind(credential_id(&self.factor))
        .bind(self.revoked_at.map(Time::micros))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// What the holder can prove himself with; revoked factors are not among them.
    pub async fn factors(&self, holder: &Holder) -> Result<Vec<SecondFactor>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM second_factors \
             WHERE (operator_id = $1 OR contact_id = $2) AND revoked_at IS NULL \
             ORDER BY created_at, id",
        )
        .bind(operator_of(holder))
        .bind(contact_of(holder))
        .fetch_all(c)
        .await?);
        values(rows)
    }

    /// One factor, revoked or not.
    pub async fn factor(&self, id: &FactorId) -> Result<Option<SecondFactor>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM second_factors WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// The passkey with this credential identifier, unless it was revoked.
    pub async fn passkey_by_credential(
        &self,
        credential_id: &str,
    ) -> Result<Option<SecondFactor>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM second_factors \
             WHERE credential_id = $1 AND revoked_at IS NULL",
        )
        .bind(credential_id)
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// Takes a factor out of use and ends every web sign-in of its holder, in one transaction;
    /// `ended` is the entry of the latter and is given their number. Returns that number.
    pub async fn revoke_and_sign_out(
        &self,
        revoked: Changed<SecondFactor>,
        ended: Event,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let holder = write(&mut tx, revoked).await?.holder;
        let gone = on!(tx.next(), c => sqlx::query(
            "DELETE FROM web_sessions WHERE operator_id = $1 OR contact_id = $2",
        )
        .bind(operator_of(&holder))
        .bind(contact_of(&holder))
        .execute(c)
        .await?
        .rows_affected());
        audit::append(&mut tx, &ended.with("sign_ins", gone)).await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// Uses up time step `step` of a code generator: true once, and never for an older step, for
    /// one that was revoked or for one that is unknown. One statement, so that two bastions asked
    /// at the same instant cannot both be told yes.
    pub async fn use_totp_step(&self, id: &FactorId, step: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let used = on!(tx.next(), c => sqlx::query(
            "INSERT INTO totp_steps (factor_id, step) \
             SELECT id, $2 FROM second_factors WHERE id = $1 AND revoked_at IS NULL \
             ON CONFLICT (factor_id) DO UPDATE SET step = excluded.step \
             WHERE totp_steps.step < excluded.step",
        )
        .bind(id.as_str())
        .bind(step)
        .execute(c)
        .await?
        .rows_affected());
        tx.commit().await?;
        Ok(used == 1)
    }
}

/// The holder, where he is an operator.
pub(crate) fn operator_of(holder: &Holder) -> Option<&str> {
    match holder {
        Holder::Operator(id) => Some(id.as_str()),
        Holder::Contact(_) => None,
    }
}

/// The holder, where he is a contact.
pub(crate) fn contact_of(holder: &Holder) -> Option<&str> {
    match holder {
        Holder::Operator(_) => None,
        Holder::Contact(id) => Some(id.as_str()),
    }
}

/// The holder from the two columns; exactly one of them is filled.
pub(crate) fn holder(operator: Option<String>, contact: Option<String>) -> Option<Holder> {
    match (operator, contact) {
        (Some(id), None) => OperatorId::try_from(id).ok().map(Holder::Operator),
        (None, Some(id)) => ContactId::try_from(id).ok().map(Holder::Contact),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn credential_id(factor: &Factor) -> Option<&str> {
    match factor {
        Factor::Totp { .. } => None,
        Factor::Passkey { credential_id, .. } => Some(credential_id),
    }
}
