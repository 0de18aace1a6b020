//! The bastion's own commands: what an operator finds when he names no target.
//!
//! With a terminal, a menu of what is open to him; without one, commands. The same transitions as
//! the pages', said in the terminal.

use super::Front;
use super::certificate;
use super::connection::Connection;
use super::console::Console;
use super::handler::{REFUSED, listed};
use super::jump;
use super::login::Destination;
use super::session::{self, NotOpened, Proven, Run, Start};
use crate::clock;
use access::forward::ForwardTo;
use access::grant::{Operation, Standing};
use access::intervention::Phase;
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::time::Window;
use access::{
    AccountName, Certificate, CertificateId, Grant, Intervention, InterventionId, OperatorId,
    Permit, Target, TargetId, Time, Who,
};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{GrantFilter, InterventionFilter, SessionFilter};

/// How much a list shows.
const MOST: i64 = 50;
/// How long a program has to send the key that a certificate is for.
const KEY_PATIENCE: Duration = Duration::from_secs(30);
const UNAVAILABLE: &str =
    "Refused (unavailable): the bastion's database does not answer; try again.";

/// `ssh alice@bastion COMMAND`.
#[derive(Parser)]
#[command(name = "ssh …@bastion", disable_version_flag = true, about = "What you may do on this bastion", styles = clap::builder::Styles::plain())]
struct Bare {
    #[command(subcommand)]
    command: BareCommand,
}

#[derive(Subcommand)]
enum BareCommand {
    /// Your interventions, and how to connect
    Interventions(Listing),
    /// Ask a customer for an intervention on one of his systems
    Request(Box<Request>),
    /// Close an intervention, saying how it went
    Close(Close),
    /// Your own latest sessions
    Sessions(Listing),
    /// Who you are here, and with which rights
    Whoami(Listing),
    /// A certificate for work without prompts:   ssh …@bastion certificate < key.pub > key-cert.pub
    Certificate(CertificateAsked),
    /// What your ssh needs to jump:   ssh -J …@bastion root@db1.chu-exemple
    KnownHosts(Listing),
}

#[derive(Args)]
struct Listing {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// It stands for your key and your second factor, from the address you come from now.
#[derive(Args)]
struct CertificateAsked {
    /// How long it lasts, such as 90m or 4h
    #[arg(long, value_name = "DURATION", value_parser = clock::duration, default_value = "1h")]
    lasts: Duration,
    /// List those of yours that are in use
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Take one out of use; what it opened ends
    #[arg(long, value_name = "CERTIFICATE", value_parser = CertificateId::parse)]
    revoke: Option<CertificateId>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Close {
    /// Its number, such as INT-2026-00042
    intervention: String,
    /// How it went
    #[arg(long)]
    outcome: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Request {
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

/// Serves a channel of a bare login. Gives back a destination where one was chosen.
pub(crate) async fn run(
    connection: &Connection,
    proven: &Proven,
    start: Start,
) -> Option<(Start, Destination)> {
    let front = &connection.front;
    if let Some(sentence) = barred(connection, proven, start.run.request()).await {
        session::say_and_close(start, &sentence).await;
        return None;
    }
    match &start.run {
        Run::Sftp => {
            let here = "There are no files on the bastion itself; name a system, as in   sftp -J …@bastion root@db1.chu-exemple";
            session::say_and_close(start, here).await;
            None
        }
        Run::Exec(command) | Run::Scp { command, .. } => {
            let command = String::from_utf8_lossy(command).into_owned();
            let mut console = Console::open(start).await?;
            let (text, status) = match words(&command) {
                Some(words) => answer(front, proven, &words, &mut console).await,
                None => ("the quotes of this command do not match".to_owned(), 2),
            };
            console.finish(&text, status).await;
            None
        }
        Run::Shell if start.terminal.is_some() => interactive(connection, proven, start).await,
        Run::Shell => {
            let console = Console::open(start).await?;
            let help =
                "Name a command, as in   ssh …@bastion help   or ask for a terminal with   ssh -t";
            console.finish(help, 2).await;
            None
        }
    }
}

/// Why this person is told nothing, if so; that is traced.
async fn barred(connection: &Connection, proven: &Proven, request: &str) -> Option<String> {
    let barred = session::may_stay(&connection.front, proven).await.err()?;
    let (code, sentence) = barred.in_short();
    connection.trace_refused(request, code, &sentence).await;
    Some(match barred {
        NotOpened::Denied(denials) => session::sentences(&denials),
        NotOpened::Several(_) | NotOpened::Target(_) | NotOpened::Unavailable(_) => {
            UNAVAILABLE.to_owned()
        }
    })
}

/// Asks which of several interventions is meant.
pub(crate) async fn choose(start: Start, permits: &[Permit]) -> Option<(Start, InterventionId)> {
    let mut console = Console::open(start).await?;
    console.line("Several interventions are open:").await;
    for (number, permit) in permits.iter().enumerate() {
        console
            .line(&format!("{:>3} {}", number + 1, listed(permit)))
            .await;
    }
    let typed = console.ask("Number (Enter for none): ").await;
    let Some(permit) = typed.and_then(|typed| pick(permits, &typed)) else {
        console.finish("Nothing was opened.", 1).await;
        return None;
    };
    Some((console.into_start(), permit.intervention().clone()))
}

async fn interactive(
    connection: &Connection,
    proven: &Proven,
    start: Start,
) -> Option<(Start, Destination)> {
    let (front, request) = (&connection.front, start.run.request());
    let mut console = Console::open(start).await?;
    loop {
        let places = match open_places(front, &proven.operator).await {
            Ok(places) => places,
            Err(error) => {
                console.finish(&format!("{error:#}"), 1).await;
                return None;
            }
        };
        console.line(&format!("Bastion: {}", proven.operator)).await;
        if places.is_empty() {
            console.line("No intervention of yours is open now.").await;
        }
        for (number, place) in places.iter().enumerate() {
            console
                .line(&format!("{:>3}  {}", number + 1, place.shown))
                .await;
        }
        let question = "A number or an arrow key to connect, or: interventions, request TARGET, sessions, whoami, help, quit\r\n> ";
        let offers: Vec<String> = places.iter().map(|place| place.shown.clone()).collect();
        let Some(typed) = console.ask_among(question, &offers).await else {
            console.finish("", 0).await;
            return None;
        };
        if let Some(sentence) = barred(connection, proven, request).await {
            console.finish(&sentence, REFUSED).await;
            return None;
        }
        match typed.trim() {
            "" => {}
            "quit" | "exit" | "q" => {
                console.finish("", 0).await;
                return None;
            }
            typed => {
                if let Some(place) = pick(&places, typed) {
                    return Some((console.into_start(), place.destination.clone()));
                }
                let words = words(typed).unwrap_or_default();
                let (text, _) = answer(front, proven, &words, &mut console).await;
                console.line(&text).await;
            }
        }
    }
}

/// Runs one command; its text and its exit status.
async fn answer(
    front: &Front,
    proven: &Proven,
    words: &[String],
    console: &mut Console,
) -> (String, u32) {
    let parsed =
        Bare::try_parse_from(std::iter::once("bastion".to_owned()).chain(words.iter().cloned()));
    let command = match parsed {
        Ok(bare) => bare.command,
        Err(error) => {
            return (
                error.render().to_string(),
                if error.use_stderr() { 2 } else { 0 },
            );
        }
    };
    let done = match command {
        BareCommand::Interventions(listing) => interventions(front, proven, &listing).await,
        BareCommand::Request(request) => self::request(front, proven, *request, console).await,
        BareCommand::Close(close) => self::close(front, proven, &close).await,
        BareCommand::Sessions(listing) => sessions(front, proven, &listing).await,
        BareCommand::Whoami(listing) => whoami(front, proven, &listing).await,
        BareCommand::Certificate(asked) => certificate(front, proven, &asked, console).await,
        BareCommand::KnownHosts(listing) => known_hosts(front, proven, &listing).await,
    };
    match done {
        Ok(text) => (text, 0),
        Err(error) => (format!("Refused: {error:#}."), 1),
    }
}

/// A line break in what somebody wrote would pass for a line of the bastion's.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One thing that can be connected to now.
struct PlaceToGo {
    shown: String,
    destination: Destination,
}

async fn open_places(front: &Front, operator: &OperatorId) -> Result<Vec<PlaceToGo>> {
    let now = clock::now();
    let mut places = Vec::new();
    for intervention in mine(front, operator).await? {
        if intervention.phase(now) != Phase::Open {
            continue;
        }
        let plan = &intervention.plan().text;
        let minutes = plan.window.end().since(now).as_secs() / 60;
        for target in &plan.targets {
            for account in &plan.accounts {
                let destination = Destination {
                    account: account.clone(),
                    target: target.to_string(),
                    intervention: Some(intervention.id.clone()),
                };
                let shown = format!(
                    "{}  {}  {minutes} min left  {}",
                    destination.shown(),
                    intervention.id,
                    on_one_line(&plan.purpose)
                );
                places.push(PlaceToGo { shown, destination });
            }
        }
    }
    Ok(places)
}

async fn mine(front: &Front, operator: &OperatorId) -> Result<Vec<Intervention>> {
    let filter = InterventionFilter {
        operator: Some(operator.clone()),
        limit: MOST,
        ..InterventionFilter::default()
    };
    front
        .store
        .interventions(filter)
        .await
        .context("the bastion's database does not answer; try again")
}

async fn interventions(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
    let now = clock::now();
    let found = mine(front, &proven.operator).await?;
    if listing.json {
        let rows: Vec<Value> = found.iter().map(|i| as_json(i, now)).collect();
        return Ok(json!({ "interventions": rows }).to_string());
    }
    if found.is_empty() {
        return Ok("You are in no intervention. Ask for one with   request TARGET".to_owned());
    }
    let mut lines = Vec::new();
    for intervention in &found {
        let plan = &intervention.plan().text;
        let (start, end) = (plan.window.start(), plan.window.end());
        lines.push(format!(
            "{}  {:<14} {start} to {end}  {}",
            intervention.id,
            intervention.phase(now).code(),
            on_one_line(&plan.purpose)
        ));
        if intervention.phase(now) == Phase::Open {
            for (target, account) in plan
                .targets
                .iter()
                .flat_map(|t| plan.accounts.iter().map(move |a| (t, a)))
            {
                lines.push(format!(
                    "    ssh {}+{account}+{target}@{}",
                    proven.operator,
                    front.config.ssh_destination()
                ));
            }
            if !plan.forwards.is_empty() {
                let to: Vec<String> = plan.forwards.iter().map(ToString::to_string).collect();
                lines.push(format!("    connections to {}", to.join(", ")));
            }
        }
    }
    Ok(lines.join("\n"))
}

fn as_json(intervention: &Intervention, now: Time) -> Value {
    let plan = &intervention.plan().text;
    json!({
        "number": intervention.id,
        "state": intervention.phase(now).code(),
        "customer": intervention.customer,
        "purpose": plan.purpose,
        "targets": plan.targets,
        "accounts": plan.accounts,
        "operators": plan.operators,
        "operations": plan.operations,
        "forwards": plan.forwards,
        "from": plan.window.start().rfc3339(),
        "until": plan.window.end().rfc3339(),
    })
}

async fn sessions(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
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
                })
            })
            .collect();
        return Ok(json!({ "sessions": rows }).to_string());
    }
    let lines = found.iter().map(|s| {
        format!(
            "{}  {}@{}  {}  {}",
            s.started_at, s.account, s.target, s.intervention, s.motive
        )
    });
    let text: Vec<String> = lines.collect();
    Ok(if text.is_empty() {
        "No session of yours yet.".to_owned()
    } else {
        text.join("\n")
    })
}

async fn whoami(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
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

async fn certificate(
    front: &Front,
    proven: &Proven,
    asked: &CertificateAsked,
    console: &mut Console,
) -> Result<String> {
    let now = clock::now();
    if let Some(id) = &asked.revoke {
        let known = front.store.certificate(id).await?;
        let Some(known) = known.filter(|one| one.operator == proven.operator) else {
            bail!("you have no certificate `{id}`; `certificate --list` lists yours");
        };
        let by = Who::Operator(proven.operator.clone());
        let revoked = front.store.save(known.revoke("no longer needed", by, now)?);
        let revoked = revoked.await?;
        return Ok(if asked.json {
            about_certificate(&revoked).to_string()
        } else {
            format!("{} is out of use", revoked.id)
        });
    }
    if asked.list {
        let mine = front.store.certificates_in_use(Some(&proven.operator), now);
        let mine = mine.await?;
        if asked.json {
            let rows: Vec<Value> = mine.iter().map(about_certificate).collect();
            return Ok(json!({ "certificates": rows }).to_string());
        }
        let lines: Vec<String> = mine
            .iter()
            .map(|one| {
                format!(
                    "{}  until {}  from {}  for {}",
                    one.id, one.ends_at, one.source, one.key
                )
            })
            .collect();
        return Ok(if lines.is_empty() {
            "No certificate of yours is in use.".to_owned()
        } else {
            lines.join("\n")
        });
    }
    let key = tokio::time::timeout(KEY_PATIENCE, console.read())
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    let (issued, signed) = certificate::issue(front, proven, &key, asked.lasts).await?;
    Ok(if asked.json {
        let mut about = about_certificate(&issued);
        if let Some(about) = about.as_object_mut() {
            about.insert("certificate".to_owned(), signed.into());
        }
        about.to_string()
    } else {
        signed
    })
}

fn about_certificate(one: &Certificate) -> Value {
    json!({
        "id": one.id, "key": one.key, "source": one.source,
        "from": one.issued_at.rfc3339(), "until": one.ends_at.rfc3339(),
        "revoked": one.revoked_at.map(Time::rfc3339),
    })
}

/// A line for `~/.ssh/known_hosts` and a section for `~/.ssh/config`, ready to paste.
async fn known_hosts(front: &Front, proven: &Proven, listing: &Listing) -> Result<String> {
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

async fn close(front: &Front, proven: &Proven, close: &Close) -> Result<String> {
    let id = InterventionId::parse(&close.intervention)?;
    let operator = front
        .store
        .operator(&proven.operator)
        .await?
        .context("you are no longer registered")?;
    let intervention = front
        .store
        .intervention(&id)
        .await?
        .with_context(|| format!("there is no intervention `{id}`"))?;
    let closed = front
        .store
        .save(intervention.close(&operator, &close.outcome, clock::now())?)
        .await?;
    Ok(if close.json {
        as_json(&closed, clock::now()).to_string()
    } else {
        format!("{id} is closed.")
    })
}

async fn request(
    front: &Front,
    proven: &Proven,
    mut request: Request,
    console: &mut Console,
) -> Result<String> {
    let now = clock::now();
    let (target, grants) = asked_target(front, proven, &request.target).await?;
    fill_in(&mut request, console).await?;
    // The answers may have been long in coming.
    if let Err(barred) = session::may_stay(front, proven).await {
        bail!("{}", barred.in_short().1);
    }
    let operator = front
        .store
        .operator(&proven.operator)
        .await?
        .context("you are no longer registered")?;
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

async fn grants_of(
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

fn pick<'a, T>(list: &'a [T], typed: &str) -> Option<&'a T> {
    let number: usize = typed.trim().parse().ok()?;
    list.get(number.checked_sub(1)?)
}

/// Splits a command as a shell would.
fn words(command: &str) -> Option<Vec<String>> {
    shlex::split(command)
}
