//! Who one is here, and what one has done.

use super::target::grants_of;
use super::{Listing, MOST};
use crate::clock;
use crate::ssh::Front;
use crate::ssh::session::Proven;
use access::session::SessionState;
use access::{AccountName, Session, TargetId, Time};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use store::SessionFilter;

pub(super) async fn sessions(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
    let filter = SessionFilter {
        operator: Some(proven.operator.clone()),
        limit: MOST,
        ..SessionFilter::default()
    };
    let found = front
        .store
        .sessions(filter)
        .await
        .context("the bastion's database does not answer; try again")?;
    if listing.json {
        let rows: Vec<Value> = found
            .iter()
            .map(|s| {
                json!({
                    "id": s.id, "target": s.target, "account": s.account, "intervention": s.intervention,
                    "motive": s.motive, "started": s.started_at.rfc3339(), "state": s.state,
                    "until": s.ends_at.rfc3339(), "plan_version": s.plan_version,
                })
            })
            .collect();
        return Ok(json!({ "sessions": rows }).to_string());
    }
    let lines = found.iter().map(|s| {
        format!(
            "{}  {}@{}  {}  {}  {}",
            s.started_at,
            s.account,
            s.target,
            s.intervention,
            how_it_stands(s),
            super::on_one_line(&s.motive)
        )
    });
    let text: Vec<String> = lines.collect();
    Ok(if text.is_empty() {
        "No session of yours yet.".to_owned()
    } else {
        text.join("\n")
    })
}

fn how_it_stands(session: &Session) -> String {
    match &session.state {
        SessionState::Live => format!("live until {}", session.ends_at),
        SessionState::Ended { at, .. } => format!("ended at {at}"),
        SessionState::Interrupted { at, .. } => format!("interrupted at {at}"),
    }
}

pub(super) async fn whoami(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
    let now = clock::now();
    let grants = grants_of(front, &proven.operator, None).await?;
    if listing.json {
        let rows: Vec<Value> = grants
            .iter()
            .map(|g| {
                json!({
                    "grant": g.id, "standing": g.standing(now), "targets": g.terms.scope.targets,
                    "accounts": g.terms.scope.accounts, "operations": g.terms.scope.operations,
                    "review_due": g.review_due().map(Time::rfc3339),
                })
            })
            .collect();
        let who = json!({ "operator": proven.operator, "second_factor": proven.credentials.proof, "source": proven.source, "grants": rows });
        return Ok(who.to_string());
    }
    let mut lines = vec![format!("{} from {}", proven.operator, proven.source)];
    for grant in &grants {
        let accounts: Vec<&str> = grant
            .terms
            .scope
            .accounts
            .iter()
            .map(AccountName::as_str)
            .collect();
        let targets: Vec<&str> = grant
            .terms
            .scope
            .targets
            .iter()
            .map(TargetId::as_str)
            .collect();
        let due = grant
            .review_due()
            .map_or_else(String::new, |due| format!(", review due {due}"));
        let standing = serde_json::to_value(grant.standing(now))
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        lines.push(format!(
            "  {} on {}: {standing}{due}",
            accounts.join(", "),
            targets.join(", ")
        ));
    }
    if grants.is_empty() {
        lines.push("  no right on any system; ask a manager".to_owned());
    }
    Ok(lines.join("\n"))
}
