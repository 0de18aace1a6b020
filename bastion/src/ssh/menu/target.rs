//! The systems one has a right on, and how `ssh` reaches them.

use super::intervention::mine;
use super::{Listing, MOST, left};
use crate::clock;
use crate::ssh::Front;
use crate::ssh::jump;
use crate::ssh::session::Proven;
use access::grant::{Operation, Standing};
use access::intervention::Phase;
use access::{AccountName, Grant, Intervention, OperatorId, TargetId, Time};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::GrantFilter;

/// A system, with what all rights in force of one person together allow there.
pub(super) struct Granted {
    pub(super) id: TargetId,
    accounts: BTreeSet<AccountName>,
    operations: BTreeSet<Operation>,
    /// When the last of those rights ends or is to be reviewed.
    until: Time,
}

pub(super) async fn targets(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
    let now = clock::now();
    let granted = granted(front, &proven.operator, now).await?;
    let mut open = mine(front, &proven.operator).await?;
    open.retain(|one| one.phase(now) == Phase::Open);
    if listing.json {
        let rows: Vec<Value> = granted.iter().map(|one| as_json(one, &open, now)).collect();
        return Ok(json!({ "targets": rows }).to_string());
    }
    if granted.is_empty() {
        return Ok("You have no right in force on any system; ask a manager.".to_owned());
    }
    let mut lines = Vec::new();
    for one in &granted {
        lines.push(format!(
            "{}  {}  {}  right until {}",
            one.id,
            joined(one.accounts.iter().map(AccountName::as_str)),
            joined(one.operations.iter().map(|operation| operation.code())),
            one.until
        ));
        let here: Vec<&Intervention> = one.open_among(&open).collect();
        for intervention in &here {
            let end = intervention.plan().text.window.end();
            lines.push(format!(
                "    {} is open, {}",
                intervention.id,
                left(end, now)
            ));
        }
        if here.is_empty() {
            lines.push(format!(
                "    nothing is open; ask with   request {}",
                one.id
            ));
        }
    }
    Ok(lines.join("\n"))
}

/// The systems that `operator` has a right in force on, by name.
pub(super) async fn granted(
    front: &Front,
    operator: &OperatorId,
    now: Time,
) -> Result<Vec<Granted>> {
    let mut grants = grants_of(front, operator, None).await?;
    grants.retain(|grant| grant.standing(now) == Standing::InForce);
    let mut by_name: BTreeMap<TargetId, Granted> = BTreeMap::new();
    for grant in &grants {
        let (scope, end) = (&grant.terms.scope, grant.terms.validity.end());
        let until = grant.review_due().map_or(end, |due| due.min(end));
        for id in &scope.targets {
            let known = by_name.entry(id.clone()).or_insert_with(|| Granted {
                id: id.clone(),
                accounts: BTreeSet::new(),
                operations: BTreeSet::new(),
                until,
            });
            known.accounts.extend(scope.accounts.iter().cloned());
            known.operations.extend(scope.operations.iter().copied());
            known.until = known.until.max(until);
        }
    }
    Ok(by_name.into_values().collect())
}

impl Granted {
    fn open_among<'a>(
        &'a self,
        open: &'a [Intervention],
    ) -> impl Iterator<Item = &'a Intervention> {
        let here = |one: &&Intervention| one.plan().text.targets.contains(&self.id);
        open.iter().filter(here)
    }
}

fn as_json(one: &Granted, open: &[Intervention], now: Time) -> Value {
    let open: Vec<Value> = one
        .open_among(open)
        .map(|intervention| {
            let end = intervention.plan().text.window.end();
            json!({
                "number": intervention.id, "until": end.rfc3339(),
                "seconds_left": end.since(now).as_secs(),
            })
        })
        .collect();
    json!({
        "target": one.id, "accounts": one.accounts, "operations": one.operations,
        "right_until": one.until.rfc3339(), "open": open,
    })
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// A line for `~/.ssh/known_hosts` and a section for `~/.ssh/config`, ready to paste.
pub(super) async fn known_hosts(
    front: &Front,
    proven: &Proven,
    listing: &Listing,
) -> Result<String> {
    let targets = jump::targets_of(front, &proven.operator)
        .await
        .context("the bastion's database does not answer; try again")?;
    if targets.is_empty() {
        bail!("no system is open to you; ask a manager for a right");
    }
    let patterns = patterns(&targets);
    let authority = front
        .keys
        .host_ca
        .public_key()
        .to_openssh()
        .context("the host authority's key")?;
    let ssh = &front.config.ssh;
    let known = format!("@cert-authority {} {authority}", patterns.join(","));
    let config = format!(
        "Host {}\n    ProxyJump {}@{}:{}",
        patterns.join(" "),
        proven.operator,
        ssh.name,
        ssh.listen.port()
    );
    Ok(if listing.json {
        json!({ "known_hosts": known, "config": config, "targets": targets }).to_string()
    } else {
        format!("# One line of ~/.ssh/known_hosts\n{known}\n\n# In ~/.ssh/config\n{config}")
    })
}

/// `*.chu-exemple` for all that end so; a name without a dot as it is.
fn patterns(targets: &[String]) -> Vec<String> {
    let mut patterns: Vec<String> = targets
        .iter()
        .map(|target| match target.split_once('.') {
            Some((_, rest)) => format!("*.{rest}"),
            None => target.clone(),
        })
        .collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

pub(super) async fn grants_of(
    front: &Front,
    operator: &OperatorId,
    target: Option<&TargetId>,
) -> Result<Vec<Grant>> {
    let filter = GrantFilter {
        operator: Some(operator.clone()),
        target: target.cloned(),
        limit: MOST,
        ..GrantFilter::default()
    };
    front
        .store
        .grants(filter)
        .await
        .context("the bastion's database does not answer; try again")
}
