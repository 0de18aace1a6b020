//! An operator's interventions in the terminal: what they are, how to connect, closing one, and
//! asking for more time.

use super::{Listing, MOST, left, must_be_here_still, on_one_line, registered};
use crate::clock;
use crate::ssh::Front;
use crate::ssh::console::Console;
use crate::ssh::extension::{self, Until};
use crate::ssh::session::Proven;
use access::intervention::Phase;
use access::plan::Plan;
use access::{Intervention, InterventionId, OperatorId, Time};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;
use store::InterventionFilter;

#[derive(Args)]
pub(super) struct Close {
    /// Its number, such as INT-2026-00042
    intervention: String,
    /// How it went
    #[arg(long)]
    outcome: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The number may be left out where one of yours is open.
#[derive(Args)]
pub(super) struct Extend {
    /// Which (INT-2026-00042), how much longer (30m, 2h) or until when (2026-11-24T18:00:00+01:00),
    /// and why
    #[arg(value_name = "[INT-…] 30m WHY…")]
    words: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn mine(front: &Front, operator: &OperatorId) -> Result<Vec<Intervention>> {
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

pub(super) async fn interventions(
    front: &Front,
    proven: &Proven,
    listing: &Listing,
) -> Result<String> {
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
        let phase = intervention.phase(now);
        let left = if phase == Phase::Open {
            format!("  {}", left(end, now))
        } else {
            String::new()
        };
        lines.push(format!(
            "{}  {:<14} {start} to {end}{left}  {}",
            intervention.id,
            phase.code(),
            on_one_line(&plan.purpose)
        ));
        if let Some(waiting) = intervention.waiting_extension(now) {
            lines.push(format!(
                "    time until {} is asked for by {}; the customer decides",
                waiting.text.window.end(),
                waiting.author
            ));
        }
        if phase == Phase::Open {
            for (target, account) in plan.places() {
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

pub(super) fn as_json(intervention: &Intervention, now: Time) -> Value {
    let plan = &intervention.plan().text;
    let is_open = intervention.phase(now) == Phase::Open;
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
        "seconds_left": is_open.then(|| plan.window.end().since(now).as_secs()),
        "plan_version": intervention.plan().number,
        "extension": intervention.waiting_extension(now).map(waiting_as_json),
    })
}

fn waiting_as_json(waiting: &Plan) -> Value {
    json!({
        "until": waiting.text.window.end().rfc3339(),
        "plan_version": waiting.number,
        "asked_by": waiting.author,
        "asked_at": waiting.written_at.rfc3339(),
        "reason": waiting.extends.as_ref().map(|extends| &extends.reason),
    })
}

pub(super) async fn close(
    front: &Front,
    proven: &Proven,
    close: &Close,
    console: &mut Console,
) -> Result<String> {
    let id = InterventionId::parse(&close.intervention)?;
    let outcome = match &close.outcome {
        Some(outcome) => outcome.clone(),
        None => console
            .ask_at_terminal("How did it go? ")
            .await
            .context("say how it went with   --outcome \"…\"")?,
    };
    must_be_here_still(front, proven).await?;
    let operator = registered(front, proven).await?;
    let intervention = front
        .store
        .intervention(&id)
        .await?
        .with_context(|| format!("there is no intervention `{id}`"))?;
    let closed = front
        .store
        .save(intervention.close(&operator, &outcome, clock::now())?)
        .await?;
    Ok(if close.json {
        as_json(&closed, clock::now()).to_string()
    } else {
        format!("{id} is closed.")
    })
}

pub(super) async fn extend(
    front: &Front,
    proven: &Proven,
    extend: &Extend,
    console: &mut Console,
) -> Result<String> {
    const HOW: &str = "say how much longer, and why, as in   extend 30m the copy takes longer";
    let said = Said::read(&extend.words)?;
    let id = match said.intervention {
        Some(id) => id,
        None => the_one_that_is_open(front, &proven.operator).await?,
    };
    let until = match said.until {
        Some(until) => until,
        None => match console
            .ask_at_terminal("How many minutes more? [30] ")
            .await
        {
            Some(answer) if answer.is_empty() => Until::Later(Duration::from_mins(30)),
            Some(answer) => until(&answer)?,
            None => bail!(HOW),
        },
    };
    let reason = if said.reason.is_empty() {
        let asked = console.ask_at_terminal("Why? The customer reads it: ");
        asked.await.context(HOW)?
    } else {
        said.reason
    };
    must_be_here_still(front, proven).await?;
    let asked = extension::ask(front, &proven.operator, &id, until, &reason).await?;
    Ok(if extend.json {
        as_json(&asked.intervention, clock::now()).to_string()
    } else {
        asked.said()
    })
}

/// What `extend` was told, as far as it was.
struct Said {
    intervention: Option<InterventionId>,
    until: Option<Until>,
    reason: String,
}

impl Said {
    fn read(words: &[String]) -> Result<Self> {
        let (intervention, words) = match words.split_first() {
            Some((first, rest)) if first.starts_with("INT-") => {
                (Some(InterventionId::parse(first)?), rest)
            }
            _ => (None, words),
        };
        let (until, words) = match words.split_first() {
            Some((first, rest)) => (Some(until(first)?), rest),
            None => (None, words),
        };
        Ok(Self {
            intervention,
            until,
            reason: words.join(" "),
        })
    }
}

/// `30m` and `30` are half an hour more; a time is the new end.
fn until(text: &str) -> Result<Until> {
    if let Ok(minutes) = text.parse::<u32>() {
        return Ok(Until::Later(Duration::from_mins(minutes.into())));
    }
    if let Ok(more) = clock::duration(text) {
        return Ok(Until::Later(more));
    }
    let time = Time::parse(text).ok().with_context(|| {
        format!(
            "`{}` is neither how much longer, such as `30m` or `2h`, nor an end such as \
             `2026-11-24T18:00:00+01:00`",
            text.escape_debug()
        )
    })?;
    Ok(Until::At(time))
}

/// An open one of his own, where there is but one.
async fn the_one_that_is_open(front: &Front, operator: &OperatorId) -> Result<InterventionId> {
    let now = clock::now();
    let mut open = mine(front, operator).await?;
    open.retain(|one| one.phase(now) == Phase::Open);
    match open.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => bail!("no intervention of yours is open; ask for one with   request TARGET"),
        several => {
            let numbers: Vec<&str> = several.iter().map(|one| one.id.as_str()).collect();
            bail!(
                "several are open: {}; name one, as in   extend {} 30m the copy takes longer",
                numbers.join(", "),
                numbers.first().unwrap_or(&"INT-…")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_extend_is_told_is_read() {
        let rows = [
            ("", "- - -"),
            ("30m", "- 1800 -"),
            ("30 the copy is slow", "- 1800 the copy is slow"),
            ("INT-2026-00042", "INT-2026-00042 - -"),
            ("INT-2026-00042 2h why", "INT-2026-00042 7200 why"),
            (
                "2026-11-24T18:00:00+01:00 why",
                "- 2026-11-24T17:00:00Z why",
            ),
        ];
        for (words, expected) in rows {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let said = Said::read(&words).unwrap();
            let id = said
                .intervention
                .map_or("-".to_owned(), |id| id.to_string());
            let until = match said.until {
                None => "-".to_owned(),
                Some(Until::Later(more)) => more.as_secs().to_string(),
                Some(Until::At(time)) => time.to_string(),
            };
            let reason = if said.reason.is_empty() {
                "-"
            } else {
                &said.reason
            };
            assert_eq!(format!("{id} {until} {reason}"), expected, "{words:?}");
        }
        for wrong in ["soon", "INT-x 30m", "-5m", "INT-2026-00042 later"] {
            let words: Vec<String> = wrong.split_whitespace().map(str::to_owned).collect();
            assert!(Said::read(&words).is_err(), "{wrong}");
        }
    }
}
