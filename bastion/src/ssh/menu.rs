//! The bastion's own commands: what an operator finds when he names no target.
//!
//! With a terminal, a menu of what is open to him; without one, commands. The same transitions as
//! the pages', said in the terminal.

mod certificate;
mod intervention;
mod person;
mod request;
mod target;

use super::Front;
use super::connection::Connection;
use super::console::{Console, on_one_line};
use super::extension::Why;
use super::handler::{REFUSED, listed};
use super::login::Destination;
use super::session::{self, NotOpened, Proven, Run, Start};
use crate::clock;
use access::intervention::Phase;
use access::{InterventionId, OperatorId, Permit, Time};
use anyhow::{Context as _, Result, bail};
use certificate::CertificateAsked;
use clap::{Args, Parser, Subcommand};
use intervention::{Close, Extend};
use request::Request;
use serde_json::json;

/// How much a list shows.
const MOST: i64 = 50;
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
    /// The systems you have a right on, and what is open there now
    Targets(Listing),
    /// Ask a customer for an intervention on one of his systems
    Request(Box<Request>),
    /// Ask the customer for more time, as in   extend 30m the copy takes longer
    Extend(Extend),
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
    const WORDS: &str = "A number or an arrow key, or: interventions, targets, request TARGET, extend, close, sessions, certificate --list, whoami, help, quit\r\n> ";
    let (front, request) = (&connection.front, start.run.request());
    let mut console = Console::open(start).await?;
    loop {
        let choices = match choices(front, &proven.operator).await {
            Ok(choices) => choices,
            Err(error) => {
                console.finish(&format!("{error:#}"), 1).await;
                return None;
            }
        };
        let title = format!("\nBastion: {}, {}", proven.operator, clock::now());
        console.line(&title).await;
        if !choices
            .iter()
            .any(|one| matches!(one.does, Does::Connect(_)))
        {
            console.line("No intervention of yours is open now.").await;
        }
        for (number, choice) in choices.iter().enumerate() {
            let line = format!("{:>3}  {}", number + 1, choice.shown);
            console.line(&line).await;
        }
        let offers: Vec<String> = choices.iter().map(|choice| choice.shown.clone()).collect();
        let Some(typed) = console.ask_among(WORDS, &offers).await else {
            console.finish("", 0).await;
            return None;
        };
        if let Some(sentence) = barred(connection, proven, request).await {
            console.finish(&sentence, REFUSED).await;
            return None;
        }
        let words = match pick(&choices, &typed).map(|choice| &choice.does) {
            Some(Does::Connect(destination)) => {
                return Some((console.into_start(), destination.clone()));
            }
            Some(Does::Run(words)) => words.clone(),
            None => words(typed.trim()).unwrap_or_else(|| vec![typed.clone()]),
        };
        match words.first().map(String::as_str) {
            None => {}
            Some("quit" | "exit" | "q") => {
                console.finish("", 0).await;
                return None;
            }
            Some(_) => {
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
        BareCommand::Interventions(listing) => {
            intervention::interventions(front, proven, &listing).await
        }
        BareCommand::Targets(listing) => target::targets(front, proven, &listing).await,
        BareCommand::Request(request) => request::request(front, proven, *request, console).await,
        BareCommand::Extend(extend) => intervention::extend(front, proven, &extend, console).await,
        BareCommand::Close(close) => intervention::close(front, proven, &close, console).await,
        BareCommand::Sessions(listing) => person::sessions(front, proven, &listing).await,
        BareCommand::Whoami(listing) => person::whoami(front, proven, &listing).await,
        BareCommand::Certificate(asked) => {
            certificate::certificate(front, proven, &asked, console).await
        }
        BareCommand::KnownHosts(listing) => target::known_hosts(front, proven, &listing).await,
    };
    match done {
        Ok(text) => (text, 0),
        Err(error) => {
            let why = Why::of(&error);
            let as_json = words.iter().any(|word| word == "--json");
            let text = if as_json {
                json!({ "refused": { "code": why.code, "sentence": why.sentence } }).to_string()
            } else {
                why.said()
            };
            (text, 1)
        }
    }
}

/// One line of the menu.
struct Choice {
    shown: String,
    does: Does,
}

enum Does {
    Connect(Destination),
    Run(Vec<String>),
}

/// Where one can connect now; then what can be asked for and closed; then the systems where nothing
/// is open.
async fn choices(front: &Front, operator: &OperatorId) -> Result<Vec<Choice>> {
    let now = clock::now();
    let (mut connect, mut change, mut ask) = (Vec::new(), Vec::new(), Vec::new());
    let run = |words: &[&str], shown: String| Choice {
        shown,
        does: Does::Run(words.iter().map(|word| (*word).to_owned()).collect()),
    };
    let mut open = intervention::mine(front, operator).await?;
    open.retain(|one| one.phase(now) == Phase::Open);
    for one in &open {
        let (id, plan) = (one.id.as_str(), &one.plan().text);
        let left = left(plan.window.end(), now);
        for (target, account) in one.plan().text.places() {
            let destination = Destination {
                account: account.clone(),
                target: target.to_string(),
                intervention: Some(one.id.clone()),
            };
            let shown = destination.shown();
            let purpose = on_one_line(&plan.purpose);
            connect.push(Choice {
                shown: format!("{shown}  {id}  {left}  {purpose}"),
                does: Does::Connect(destination),
            });
        }
        match one.waiting_extension(now) {
            Some(waiting) => change.push(run(
                &["interventions"],
                format!(
                    "{id}  time until {} is asked for",
                    waiting.text.window.end()
                ),
            )),
            None => change.push(run(&["extend", id], format!("{id}  ask for more time"))),
        }
        change.push(run(&["close", id], format!("{id}  close it")));
    }
    for target in target::granted(front, operator, now).await? {
        let here = |one: &access::Intervention| one.plan().text.targets.contains(&target.id);
        if !open.iter().any(here) {
            let name = target.id.as_str();
            let shown = format!("{name}  nothing is open; ask for an intervention");
            ask.push(run(&["request", name], shown));
        }
    }
    connect.extend(change);
    connect.extend(ask);
    Ok(connect)
}

/// Whoever took long to answer may have been barred meanwhile.
async fn must_be_here_still(front: &Front, proven: &Proven) -> Result<()> {
    if let Err(barred) = session::may_stay(front, proven).await {
        bail!("{}", barred.in_short().1);
    }
    Ok(())
}

async fn registered(front: &Front, proven: &Proven) -> Result<access::Operator> {
    let operator = front.store.operator(&proven.operator).await?;
    operator.context("you are no longer registered")
}

/// How long until then, as one reads it at night.
fn left(until: Time, now: Time) -> String {
    match until.since(now).as_secs() {
        seconds @ 0..60 => format!("{seconds} s left"),
        seconds @ 60..7200 => format!("{} min left", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h {:02} left", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} days left", seconds / 86_400),
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
