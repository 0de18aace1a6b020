//! Asking for more time in the terminal: the bare command and a session's own terminal ask in the
//! same way, and are told the same.

use super::Front;
use crate::clock;
use access::grant::Standing;
use access::plan::Plan;
use access::{Intervention, InterventionId, OperatorId, Refusal, TargetId, Time};
use anyhow::{Context as _, Result};
use std::time::Duration;
use store::{GrantFilter, StoreError};

/// How many rights are looked at for each system.
const MOST: i64 = 50;

/// The end that is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So much later than the one that is approved.
    Later(Duration),
    At(Time),
}

/// A question that the customer has now.
pub(crate) struct Asked {
    pub(crate) intervention: Intervention,
    pub(crate) waiting: Plan,
    /// What ends before the new end would, all the same.
    pub(crate) bounds: Vec<String>,
}

/// Asks the customer of `id` for a later end.
pub(crate) async fn ask(
    front: &Front,
    operator: &OperatorId,
    id: &InterventionId,
    until: Until,
    reason: &str,
) -> Result<Asked> {
    let operator = front
        .store
        .operator(operator)
        .await?
        .context("you are no longer registered")?;
    let intervention = front
        .store
        .intervention(id)
        .await?
        .with_context(|| format!("there is no intervention `{id}`"))?;
    let now = clock::now();
    let until = match until {
        Until::Later(by) => intervention.plan().text.window.end().plus(by),
        Until::At(time) => time,
    };
    let asked = intervention.ask_extension(until, reason, &operator, now)?;
    let intervention = match front.store.save(asked).await {
        Err(StoreError::Stale { .. }) => {
            return Err(anyhow::anyhow!(
                "`{id}` was changed by somebody else meanwhile; ask again"
            ));
        }
        saved => saved?,
    };
    let bounds = bounds(front, &operator.id, &intervention, until, now).await?;
    Ok(Asked {
        waiting: intervention.awaited().clone(),
        intervention,
        bounds,
    })
}

/// Why something was not done, with its code where it has one.
pub(crate) struct Why {
    pub(crate) code: Option<&'static str>,
    pub(crate) sentence: String,
}

impl Why {
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        Self {
            code: error.downcast_ref::<Refusal>().map(|refusal| refusal.code),
            sentence: format!("{error:#}"),
        }
    }

    pub(crate) fn said(&self) -> String {
        let sentence = &self.sentence;
        match self.code {
            Some(code) => format!("Refused ({code}): {sentence}."),
            None => format!("Refused: {sentence}."),
        }
    }
}

impl Asked {
    /// What is asked for, who decides, and what happens meanwhile.
    pub(crate) fn said(&self) -> String {
        let now = self.intervention.plan().text.window.end();
        let mut said = format!(
            "{}: time until {} instead of {now} is asked for; the customer decides, and without \
             his answer it ends at {now}.",
            self.intervention.id,
            self.waiting.text.window.end(),
        );
        for bound in &self.bounds {
            said.push(' ');
            said.push_str(bound);
        }
        said
    }
}

/// Of each system the right that reaches furthest, where it does not reach as far.
async fn bounds(
    front: &Front,
    operator: &OperatorId,
    intervention: &Intervention,
    until: Time,
    now: Time,
) -> Result<Vec<String>> {
    let plan = &intervention.plan().text;
    let mut bounds = Vec::new();
    if !plan.operators.contains(operator) {
        return Ok(bounds);
    }
    for target in &plan.targets {
        let ends = right_ends(front, operator, target, now).await?;
        if let Some(ends) = ends.filter(|ends| *ends < until) {
            bounds.push(format!(
                "Your own right on {target} ends at {ends} or is to be reviewed then; ask a manager."
            ));
        }
    }
    Ok(bounds)
}

/// When the last right in force of `operator` on `target` ends or falls due.
pub(crate) async fn right_ends(
    front: &Front,
    operator: &OperatorId,
    target: &TargetId,
    now: Time,
) -> Result<Option<Time>> {
    let filter = GrantFilter {
        operator: Some(operator.clone()),
        target: Some(target.clone()),
        limit: MOST,
        ..GrantFilter::default()
    };
    let grants = front.store.grants(filter).await?;
    Ok(grants
        .iter()
        .filter(|grant| grant.standing(now) == Standing::InForce)
        .map(|grant| {
            let end = grant.terms.validity.end();
            grant.review_due().map_or(end, |due| due.min(end))
        })
        .max())
}
