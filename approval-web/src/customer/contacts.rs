//! Our contacts: is our list right?

use crate::customer::scope;
use crate::error::Problem;
use crate::page::{self, Frame};
use crate::sign_in::AsContact;
use crate::site::Site;
use ::access::contact::ContactState;
use ::access::{ContactId, Who};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "customer/contacts.html")]
struct ContactsPage {
    f: Frame,
    contacts: Vec<Row>,
    removed: Vec<String>,
}

struct Row {
    id: String,
    name: String,
    email: String,
    kinds: Vec<String>,
    deputy: Option<String>,
    confirmed: Option<String>,
    me: bool,
}

/// `GET /contacts`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsContact { contact, .. }: AsContact,
) -> Result<Response, Problem> {
    let (mut contacts, mut removed) = (Vec::new(), Vec::new());
    for one in scope(&site, &contact).contacts().await? {
        if let ContactState::Removed { at } = one.state {
            let values = [("name", one.details.name), ("at", f.day(at))];
            removed.push(f.fill("contact-removed", &values));
            continue;
        }
        let kinds = one.details.kinds.iter();
        contacts.push(Row {
            me: one.id == contact.id,
            id: one.id.to_string(),
            name: one.details.name,
            email: one.details.email,
            kinds: kinds.map(|kind| f.contact_kind(*kind)).collect(),
            deputy: one.details.deputy.map(|deputy| deputy.to_string()),
            confirmed: one.confirmed_at.map(|at| f.day(at)),
        });
    }
    page::render(&ContactsPage {
        f,
        contacts,
        removed,
    })
}

/// `POST /contacts/{id}/confirm`
pub(crate) async fn confirm(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsContact { contact, .. }: AsContact,
) -> Result<Redirect, Problem> {
    let id = ContactId::parse(&id).map_err(|_| Problem::NotFound)?;
    let one = scope(&site, &contact).contact(&id).await?;
    let one = one
        .filter(|one| matches!(one.state, ContactState::Active))
        .ok_or(Problem::NotFound)?;
    let confirmed = one.confirm(Who::Contact(contact.id), site.now());
    site.store().save(confirmed).await?;
    Ok(Redirect::to("/contacts"))
}
