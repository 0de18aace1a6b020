//! The customer: a health establishment, the data controller. Everything belongs to one.

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::CustomerId;
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// One customer of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Customer {
    pub id: CustomerId,
    /// Full name, as on the contract.
    pub name: String,
    /// Public half of the customer's recording key (X25519, 32 bytes, base64).
    pub recording_key: String,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Customer {
    /// Registers a customer with the public half of the key his recordings will be sealed to.
    pub fn register(
        id: CustomerId,
        name: &str,
        recording_key: &str,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        require_text("customer name", name, 2, 200)?;
        let event = Event::new("customer.registered", by, format!("customer {id}"), now)
            .of_customer(&id)
            .with("name", name)
            .with("recording_key", recording_key);
        let customer = Self {
            id,
            name: name.to_owned(),
            recording_key: recording_key.to_owned(),
            version: 0,
        };
        Ok(Changed::new(customer, event))
    }

    /// Gives the customer another full name.
    pub fn rename(mut self, name: &str, by: Who, now: Time) -> Result<Changed<Self>, Refusal> {
        require_text("customer name", name, 2, 200)?;
        let event = Event::new("customer.renamed", by, format!("customer {}", self.id), now)
            .of_customer(&self.id)
            .with("before", &self.name)
            .with("after", name);
        name.clone_into(&mut self.name);
        Ok(Changed::new(self, event))
    }
}
