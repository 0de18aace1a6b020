//! Short-lived certificates of operators.

use crate::engine::{Store, Tx, on};
use crate::error::StoreError;
use crate::row::{Row, Stamp, Stored, number_or_dash, value, values};
use access::{Certificate, CertificateId, OperatorId, Time};

const INSERT: &str = "INSERT INTO certificates (id, version, created_at, changed_at, body, operator_id, ends_at, revoked_at) \
     VALUES ($1, $2 + 1, $3, $3, $4, $5, $6, $7)";
const UPDATE: &str = "UPDATE certificates SET version = $2 + 1, changed_at = $3, body = $4, operator_id = $5, ends_at = $6, revoked_at = $7 \
     WHERE id = $1 AND version = $2";

impl Row for Certificate {
    const TABLE: &'static str = "certificates";
    const KEPT: &'static str = "SELECT id, version, created_at, changed_at, body, \
         operator_id || ' ' || CAST(ends_at AS TEXT) || ' ' || COALESCE(CAST(revoked_at AS TEXT), '-') \
         FROM certificates WHERE id > $1 ORDER BY id LIMIT $2";

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
            "{} {} {}",
            self.operator,
            self.ends_at.micros(),
            number_or_dash(self.revoked_at),
        )
    }

    async fn write(&self, tx: &mut Tx, stamp: &Stamp<'_>) -> Result<u64, sqlx::Error> {
        on!(tx.next(), c => sqlx::query(stamp.text(INSERT, UPDATE))
        .bind(stamp.id)
        .bind(stamp.was)
        .bind(stamp.at)
        .bind(stamp.body)
        .bind(self.operator.as_str())
        .bind(self.ends_at.micros())
        .bind(self.revoked_at.map(Time::micros))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}

impl Store {
    /// One certificate, whatever has become of it.
    pub async fn certificate(&self, id: &CertificateId) -> Result<Option<Certificate>, StoreError> {
        let row: Option<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM certificates WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        row.map(value).transpose()
    }

    /// Those of `operator`, or of everybody, that are in use at `now`; the first to end come first.
    pub async fn certificates_in_use(
        &self,
        operator: Option<&OperatorId>,
        now: Time,
    ) -> Result<Vec<Certificate>, StoreError> {
        let rows: Vec<Stored> = on!(self.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM certificates \
             WHERE (CAST($1 AS TEXT) IS NULL OR operator_id = $1) AND ends_at > $2 \
               AND revoked_at IS NULL \
             ORDER BY ends_at, id",
        )
        .bind(operator.map(OperatorId::as_str))
        .bind(now.micros())
        .fetch_all(c)
        .await?);
        values(rows)
    }
}
