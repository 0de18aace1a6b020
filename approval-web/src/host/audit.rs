//! The trail: entries, newest first, and the newest signed checkpoint. Checking the whole chain is
//! the command line's; nothing can be changed here.

use crate::error::Problem;
use crate::host::blank;
use crate::page::{self, Frame};
use crate::site::Site;
use ::access::{CustomerId, InterventionId, SessionId};
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use store::EntryFilter;

const PAGE: i64 = 100;

#[derive(Template)]
#[template(path = "host/audit.html")]
struct AuditPage {
    f: Frame,
    asked: Asked,
    head: i64,
    checkpoint: Option<String>,
    note: Option<String>,
    rows: Vec<Row>,
    /// Where the next page begins.
    before: Option<i64>,
    zone: String,
}

struct Row {
    sequence: i64,
    at: String,
    event: String,
    subject: String,
    who: String,
    text: String,
}

/// `GET /audit`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let name = Some(asked.name.trim()).filter(|name| !name.is_empty());
    let filter = EntryFilter {
        customer: blank(&asked.customer, CustomerId::parse, "customer")?,
        intervention: blank(&asked.intervention, InterventionId::parse, "intervention")?,
        session: blank(&asked.session, SessionId::parse, "session")?,
        name_prefix: name,
        limit: PAGE,
        before: asked.before,
    };
    let entries = site.store().entries_about(filter).await?;
    let checkpoint = site.store().checkpoints(1).await?.pop();
    let full = i64::try_from(entries.len()).is_ok_and(|count| count == PAGE);
    page::render(&AuditPage {
        head: site.store().head().await?,
        checkpoint: checkpoint.as_ref().map(|newest| {
            let values = [("size", newest.size.to_string()), ("at", f.time(newest.at))];
            f.fill("audit-checkpoint", &values)
        }),
        note: checkpoint.map(|newest| newest.note),
        before: entries.last().filter(|_| full).map(|last| last.sequence),
        rows: entries
            .into_iter()
            .map(|entry| {
                let value: Value = serde_json::from_str(&entry.text).unwrap_or_default();
                let text = |path: &str| {
                    let found = value.pointer(path).and_then(Value::as_str);
                    found.unwrap_or_default().to_owned()
                };
                Row {
                    sequence: entry.sequence,
                    at: f.short(entry.at),
                    event: text("/event"),
                    subject: text("/subject"),
                    who: format!("{} {}", text("/who/kind"), text("/who/id")),
                    text: entry.text,
                }
            })
            .collect(),
        zone: f.zone_at(site.now()),
        asked,
        f,
    })
}

/// What is looked for; what is empty is not.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    name: String,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    intervention: String,
    #[serde(default)]
    session: String,
    before: Option<i64>,
}
