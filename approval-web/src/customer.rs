//! The contacts' pages. Everything is asked of the contact's own customer.

pub(crate) mod access;
pub(crate) mod contacts;
pub(crate) mod decision;
pub(crate) mod home;
pub(crate) mod intervention;

use crate::error::Problem;
use crate::site::Site;
use ::access::{Contact, Intervention, InterventionId};
use store::CustomerScope;

/// The store as the contact's customer sees it.
pub(crate) fn scope(site: &Site, contact: &Contact) -> CustomerScope {
    site.store().of_customer(contact.customer.clone())
}

/// One of his customer's interventions; another customer's is not there.
pub(crate) async fn intervention(
    site: &Site,
    contact: &Contact,
    id: &str,
) -> Result<Intervention, Problem> {
    let id = InterventionId::parse(id).map_err(|_| Problem::NotFound)?;
    let found = scope(site, contact).intervention(&id).await?;
    found.ok_or(Problem::NotFound)
}
