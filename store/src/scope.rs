//! INVARIANT: what a customer's side asks for is asked of one customer. There is no query on that
//! side that could be made without saying which.

use crate::audit::Entry;
use crate::engine::{Store, on};
use crate::error::StoreError;
use crate::intervention::one_of;
use crate::row::{Row, Stored, value, values};
use access::{
    Contact, ContactId, Customer, CustomerId, Grant, Intervention, InterventionId, Session, Target,
};

/// The store as one customer sees it: his own, and nothing of anybody else. What is asked for by a
/// name that is another customer's is not there.
#[derive(Clone, Debug)]
pub struct CustomerScope {
    store: Store,
    customer: CustomerId,
}

impl Store {
    /// The store as `customer` sees it.
    pub fn of_customer(&self, customer: CustomerId) -> CustomerScope {
        CustomerScope {
            store: self.clone(),
            customer,
        }
    }
}

impl CustomerScope {
    /// The customer himself.
    pub async fn customer(&self) -> Result<Option<Customer>, StoreError> {
        self.store.customer(&self.customer).await
    }

    /// His contacts, removed ones included, by name.
    pub async fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM contacts WHERE customer_id = $1 ORDER BY id",
        )
        .bind(self.customer.as_str())
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// One of his contacts.
    pub async fn contact(&self, id: &ContactId) -> Result<Option<Contact>, StoreError> {
        let row: Option<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM contacts WHERE customer_id = $1 AND id = $2",
        )
        .bind(self.customer.as_str())
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        self.own_one(row.map(value).transpose()?)
    }

    /// His interventions in these stored states (none means all), newest first. A draft is nobody
    /// else's but its author's, so it is not among them.
    pub async fn interventions(
        &self,
        states: &[&str],
        limit: i64,
    ) -> Result<Vec<Intervention>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM interventions \
             WHERE customer_id = $1 AND state <> 'draft' \
               AND (CAST($2 AS TEXT) IS NULL OR $2 LIKE '%,' || state || ',%') \
             ORDER BY created_at DESC, id DESC LIMIT $3",
        )
        .bind(self.customer.as_str())
        .bind(one_of(states))
        .bind(limit)
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// One of his interventions, unless it is a draft.
    pub async fn intervention(
        &self,
        id: &InterventionId,
    ) -> Result<Option<Intervention>, StoreError> {
        let row: Option<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM interventions \
             WHERE customer_id = $1 AND id = $2 AND state <> 'draft'",
        )
        .bind(self.customer.as_str())
        .bind(id.as_str())
        .fetch_optional(c)
        .await?);
        self.own_one(row.map(value).transpose()?)
    }

    /// Sessions on his systems, newest first.
    pub async fn sessions(&self, limit: i64) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM sessions WHERE customer_id = $1 \
             ORDER BY started_at DESC, id DESC LIMIT $2",
        )
        .bind(self.customer.as_str())
        .bind(limit)
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// The sessions of one of his interventions, oldest first.
    pub async fn sessions_of(
        &self,
        intervention: &InterventionId,
    ) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM sessions \
             WHERE customer_id = $1 AND intervention_id = $2 ORDER BY started_at, id",
        )
        .bind(self.customer.as_str())
        .bind(intervention.as_str())
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// Rights on his systems, newest first.
    pub async fn grants(&self, limit: i64) -> Result<Vec<Grant>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM grants WHERE customer_id = $1 \
             ORDER BY created_at DESC, id DESC LIMIT $2",
        )
        .bind(self.customer.as_str())
        .bind(limit)
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// His systems, by name.
    pub async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        let rows: Vec<Stored> = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT id, version, body FROM targets WHERE customer_id = $1 ORDER BY id",
        )
        .bind(self.customer.as_str())
        .fetch_all(c)
        .await?);
        self.own(values(rows)?)
    }

    /// What the log says about him, newest first; drafts are not told before they are submitted.
    pub async fn entries(&self, limit: i64) -> Result<Vec<Entry>, StoreError> {
        let rows = on!(self.store.reading(), c => sqlx::query_as(
            "SELECT sequence, at, text FROM audit_entries e WHERE customer_id = $1 \
               AND NOT EXISTS (SELECT 1 FROM interventions i \
                               WHERE i.id = e.intervention_id AND i.state = 'draft') \
             ORDER BY sequence DESC LIMIT $2",
        )
        .bind(self.customer.as_str())
        .bind(limit)
        .fetch_all(c)
        .await?);
        Ok(Entry::of_rows(rows))
    }

    /// The column said whose the row is; the value must say the same.
    fn own<T: Owned>(&self, found: Vec<T>) -> Result<Vec<T>, StoreError> {
        for value in &found {
            if *value.owner() != self.customer {
                let what = "its columns and its body name different customers";
                return Err(StoreError::impossible(T::TABLE, value.id(), what));
            }
        }
        Ok(found)
    }

    fn own_one<T: Owned>(&self, found: Option<T>) -> Result<Option<T>, StoreError> {
        Ok(self.own(found.into_iter().collect())?.pop())
    }
}

/// What belongs to a customer.
trait Owned: Row {
    fn owner(&self) -> &CustomerId;
}

impl Owned for Contact {
    fn owner(&self) -> &CustomerId {
        &self.customer
    }
}

impl Owned for Intervention {
    fn owner(&self) -> &CustomerId {
        &self.customer
    }
}

impl Owned for Session {
    fn owner(&self) -> &CustomerId {
        &self.customer
    }
}

impl Owned for Grant {
    fn owner(&self) -> &CustomerId {
        &self.terms.customer
    }
}

impl Owned for Target {
    fn owner(&self) -> &CustomerId {
        &self.details.customer
    }
}
