//! The people a customer names: who approves, who is told (HDS v2 EXI 11 and EXI 20).

use crate::audit::{Event, Who};
use crate::changed::Changed;
use crate::ids::{ContactId, CustomerId};
use crate::refusal::{Refusal, require_text};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a contact is there for; one person may be several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// Can designate a health professional entitled to the data (EXI 11).
    Health,
    /// To be told of incidents (EXI 20).
    Incident,
    /// Decides on interventions.
    Approver,
    /// The customer's data protection officer.
    Dpo,
}

/// The language a person reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "fr")]
    French,
    #[serde(rename = "en")]
    English,
}

/// Whether a contact may still act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContactState {
    Active,
    /// Kept for the trail, can do nothing any more.
    Removed {
        at: Time,
    },
}

/// What the customer says about a contact; all that `apply` declares.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContactDetails {
    /// Full name.
    pub name: String,
    /// Address for notices; also how one person is recognised on both sides.
    pub email: String,
    pub kinds: BTreeSet<ContactKind>,
    #[serde(default)]
    pub language: Language,
    /// Who answers when this contact does not.
    #[serde(default)]
    pub deputy: Option<ContactId>,
}

/// One person named by a customer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Contact {
    pub id: ContactId,
    pub customer: CustomerId,
    #[serde(flatten)]
    pub details: ContactDetails,
    /// When the customer last confirmed that this contact is right.
    pub confirmed_at: Option<Time>,
    #[serde(flatten)]
    pub state: ContactState,
    /// Row version, for compare-and-swap; 0 before the first save.
    pub version: i64,
}

impl Contact {
    /// Registers a contact of `customer`.
    pub fn register(
        id: ContactId,
        customer: CustomerId,
        details: ContactDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        let event = Event::new("contact.registered", by, format!("contact {id}"), now)
            .of_customer(&customer)
            .with("details", &details);
        let contact = Self {
            id,
            customer,
            details,
            confirmed_at: None,
            state: ContactState::Active,
            version: 0,
        };
        Ok(Changed::new(contact, event))
    }

    /// Replaces what is known about this contact. Nobody gives himself a power, nor another
    /// address than the one by which he is recognised on both sides.
    pub fn amend(
        mut self,
        details: ContactDetails,
        by: Who,
        now: Time,
    ) -> Result<Changed<Self>, Refusal> {
        check(&details)?;
        if by == Who::Contact(self.id.clone())
            && (details.kinds != self.details.kinds || details.email != self.details.email)
        {
            return Err(Refusal::new(
                "own_right",
                format!(
                    "`{}` cannot change his own kinds or e-mail address; ask the host",
                    self.id
                ),
            ));
        }
        let event = self
            .event("contact.amended", by, now)
            .with("before", &self.details)
            .with("after", &details);
        self.details = details;
        Ok(Changed::new(self, event))
    }

    /// Takes every power away from this contact; the trail stays.
    pub fn remove(mut self, by: Who, now: Time) -> Changed<Self> {
        let event = self.event("contact.removed", by, now);
        self.state = match self.state {
            ContactState::Active => ContactState::Removed { at: now },
            ContactState::Removed { at } => ContactState::Removed { at },
        };
        Changed::new(self, event)
    }

    /// Records that the customer confirmed this contact.
    pub fn confirm(mut self, by: Who, now: Time) -> Changed<Self> {
        let event = self.event("contact.confirmed", by, now);
        self.confirmed_at = Some(now);
        Changed::new(self, event)
    }

    /// Whether this contact may decide on interventions.
    pub fn may_approve(&self) -> Result<(), Refusal> {
        match self.state {
            ContactState::Removed { .. } => Err(Refusal::new(
                "contact_removed",
                format!(
                    "`{}` is no longer a contact of `{}`",
                    self.id, self.customer
                ),
            )),
            ContactState::Active if !self.details.kinds.contains(&ContactKind::Approver) => {
                Err(Refusal::new(
                    "contact_not_approver",
                    format!(
                        "`{}` is not an approver of `{}`; ask one of its approvers",
                        self.id, self.customer
                    ),
                ))
            }
            ContactState::Active => Ok(()),
        }
    }

    fn event(&self, name: &str, by: Who, now: Time) -> Event {
        Event::new(name, by, format!("contact {}", self.id), now).of_customer(&self.customer)
    }
}

fn check(details: &ContactDetails) -> Result<(), Refusal> {
    require_text("contact name", &details.name, 2, 200)?;
    check_email(&details.email)?;
    if details.kinds.is_empty() {
        return Err(Refusal::new(
            "contact_without_kind",
            "a contact needs at least one kind: `health`, `incident`, `approver` or `dpo`",
        ));
    }
    Ok(())
}

/// Refuses what cannot be an address to write to. Plain ASCII only, so that no two addresses look
/// the same; an internationalised domain is written in its `xn--` form.
pub(crate) fn check_email(email: &str) -> Result<(), Refusal> {
    let looks_right = email.split_once('@').is_some_and(|(local, domain)| {
        !domain.contains('@') && has_full_labels(local) && has_full_labels(domain)
    });
    if looks_right && email.len() <= 254 && email.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Refusal::new(
            "email_invalid",
            format!("`{}` is not an e-mail address", email.escape_debug()),
        ))
    }
}

fn has_full_labels(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty())
}

/// Whether two addresses reach the same person: case, white space around and a final dot are
/// ignored. Another box of the same person (`alice+x@…`) is not recognised.
pub(crate) fn same_mailbox(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('.').to_lowercase();
    plain(one) == plain(other)
}
