//! Asking a customer for an intervention, in the terminal.

use super::intervention::as_json;
use super::must_be_here_still;
use super::registered;
use super::target::grants_of;
use crate::clock;
use crate::ssh::Front;
use crate::ssh::console::Console;
use crate::ssh::session::Proven;
use access::forward::ForwardTo;
use access::grant::{Operation, Standing};
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::time::Window;
use access::{AccountName, Grant, Intervention, OperatorId, Target, TargetId, Time};
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Args)]
pub(super) struct Request {
    /// The system, such as db1.chu-exemple
    target: String,
    /// Why: the customer reads it, and every session carries it as its motive
    #[arg(long)]
    purpose: Option<String>,
    /// What it does to security and availability
    #[arg(long)]
    impact: Option<String>,
    /// How it is undone
    #[arg(long)]
    rollback: Option<String>,
    /// What kind of work
    #[arg(long, default_value = "maintenance")]
    nature: String,
    /// How long, from now (or from --from)
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// When it starts, such as 2026-11-24T14:00:00+01:00
    #[arg(long)]
    from: Option<String>,
    /// An account on the system; repeat for several
    #[arg(long = "account")]
    accounts: Vec<String>,
    /// What will be done: shell, exec, upload, download, forward
    #[arg(long, value_delimiter = ',', default_value = "shell,exec")]
    operations: Vec<Doing>,
    /// Where `forward` may go, such as `localhost:5432` or `localhost:*`; repeat for several
    #[arg(long = "forward", value_name = "HOST:PORT", value_parser = ForwardTo::parse)]
    forwards: Vec<ForwardTo>,
    /// A colleague who takes part; repeat for several
    #[arg(long = "with")]
    colleagues: Vec<String>,
    /// Whether health data will be seen
    #[arg(long, default_value = "no")]
    health_data: Seen,
    /// Under whose responsibility health data is seen
    #[arg(long)]
    accountable: Option<String>,
    /// A ticket number elsewhere
    #[arg(long)]
    reference: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Doing {
    Shell,
    Exec,
    Upload,
    Download,
    Forward,
}

#[derive(Clone, Copy, ValueEnum)]
enum Seen {
    No,
    Possible,
    Yes,
}

pub(super) async fn request(
    front: &Front,
    proven: &Proven,
    mut request: Request,
    console: &mut Console,
) -> Result<String> {
    let now = clock::now();
    let (target, grants) = asked_target(front, proven, &request.target).await?;
    fill_in(&mut request, console).await?;
    must_be_here_still(front, proven).await?;
    let operator = registered(front, proven).await?;
    let plan = plan(&request, &target, &grants, proven, now)?;
    let id = front.store.next_intervention_id(now).await?;
    let customer = target.details.customer.clone();
    let draft = Intervention::draft(id, customer.clone(), plan, &operator, now)?;
    let draft = front.store.save(draft).await?;
    let submitted = front.store.save(draft.submit(&operator, now)?).await?;
    if request.json {
        return Ok(as_json(&submitted, now).to_string());
    }
    let name = front
        .store
        .customer(&customer)
        .await?
        .map_or_else(|| customer.to_string(), |customer| customer.name);
    Ok(format!(
        "{} is asked for; {name} decides. Nothing is open before.\nFollow it with   ssh {}@{} interventions   or at {}/interventions/{}",
        submitted.id,
        proven.operator,
        front.config.ssh_destination(),
        front.config.web.host_url,
        submitted.id
    ))
}

/// The target and the rights in force on it; without one there is nothing to ask a customer for.
async fn asked_target(front: &Front, proven: &Proven, name: &str) -> Result<(Target, Vec<Grant>)> {
    let unknown = || {
        format!(
            "there is no target `{}` that you have a right on",
            name.escape_debug()
        )
    };
    let id = TargetId::parse(name).ok().with_context(unknown)?;
    let target = front.store.target(&id).await?.with_context(unknown)?;
    let mut grants = grants_of(front, &proven.operator, Some(&id)).await?;
    grants.retain(|grant| grant.standing(clock::now()) == Standing::InForce);
    if grants.is_empty() {
        bail!("you hold no right in force on `{id}`; ask a manager first");
    }
    Ok((target, grants))
}

/// Asks at the terminal for what was not given; without a terminal, says what is missing.
async fn fill_in(request: &mut Request, console: &mut Console) -> Result<()> {
    let questions = [
        (&mut request.purpose, "--purpose", "Why is this needed? "),
        (
            &mut request.impact,
            "--impact",
            "What does it do to security and availability? ",
        ),
        (&mut request.rollback, "--rollback", "How is it undone? "),
    ];
    let mut missing = Vec::new();
    for (field, option, question) in questions {
        if field.is_some() {
            continue;
        }
        match console.ask_at_terminal(question).await {
            Some(answer) => *field = Some(answer),
            None => missing.push(format!("{option} \"…\"")),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the customer needs to know more; add   {}",
        missing.join(" ")
    )
}

fn plan(
    request: &Request,
    target: &Target,
    grants: &[Grant],
    proven: &Proven,
    now: Time,
) -> Result<PlanText> {
    let start = match &request.from {
        Some(from) => Time::parse(from)?,
        None => now,
    };
    let window = Window::new(
        start,
        start.plus(Duration::from_secs(u64::from(request.minutes) * 60)),
    )
    .context("--minutes must be at least 1")?;
    let mut operators = BTreeSet::from([proven.operator.clone()]);
    for colleague in &request.colleagues {
        operators.insert(OperatorId::parse(colleague)?);
    }
    Ok(PlanText {
        purpose: request.purpose.clone().unwrap_or_default(),
        nature: request.nature.clone(),
        impact: request.impact.clone().unwrap_or_default(),
        rollback: request.rollback.clone().unwrap_or_default(),
        health_data: match request.health_data {
            Seen::No => HealthDataSeen::No,
            Seen::Possible => HealthDataSeen::Possible,
            Seen::Yes => HealthDataSeen::Yes,
        },
        origin: Origin::Host,
        accountable: request.accountable.clone(),
        reference: request.reference.clone(),
        operators,
        targets: BTreeSet::from([target.id.clone()]),
        accounts: accounts(request, target, grants)?,
        operations: request
            .operations
            .iter()
            .map(|doing| doing.operation())
            .collect(),
        forwards: request.forwards.iter().cloned().collect(),
        window,
    })
}

/// The accounts asked for, or the only one the person has a right on.
fn accounts(request: &Request, target: &Target, grants: &[Grant]) -> Result<BTreeSet<AccountName>> {
    let granted: BTreeSet<AccountName> = grants
        .iter()
        .flat_map(|grant| {
            grant
                .terms
                .scope
                .accounts
                .intersection(&target.details.accounts)
        })
        .cloned()
        .collect();
    if request.accounts.is_empty() {
        if granted.len() == 1 {
            return Ok(granted);
        }
        let names: Vec<&str> = granted.iter().map(AccountName::as_str).collect();
        bail!(
            "say which account with --account; you have a right on: {}",
            names.join(", ")
        );
    }
    let mut asked = BTreeSet::new();
    for name in &request.accounts {
        let account = AccountName::parse(name)?;
        if !granted.contains(&account) {
            bail!("you hold no right on `{account}@{}`", target.id);
        }
        asked.insert(account);
    }
    Ok(asked)
}

impl Doing {
    const fn operation(self) -> Operation {
        match self {
            Self::Shell => Operation::Shell,
            Self::Exec => Operation::Exec,
            Self::Upload => Operation::Upload,
            Self::Download => Operation::Download,
            Self::Forward => Operation::Forward,
        }
    }
}
