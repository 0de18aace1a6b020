//! The form of a plan: what can be chosen, what was typed, and reading it back.

use crate::error::Problem;
use crate::language::{self, Words};
use crate::site::Site;
use access::forward::{self, ForwardTo};
use access::grant::{Operation, Standing};
use access::operator::Role;
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::time::Window;
use access::{AccountName, CustomerId, Grant, Operator, OperatorId, TargetId, Time};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::GrantFilter;

/// Rights looked at to fill a form.
const LOOKED_AT: i64 = 500;

/// Every operation, in the order of the form.
pub(crate) const OPERATIONS: [Operation; 5] = [
    Operation::Shell,
    Operation::Exec,
    Operation::Upload,
    Operation::Download,
    Operation::Forward,
];

/// What is typed; also what a form starts from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlanForm {
    pub(crate) purpose: String,
    pub(crate) nature: String,
    pub(crate) impact: String,
    pub(crate) rollback: String,
    pub(crate) health_data: String,
    pub(crate) accountable: String,
    pub(crate) origin: String,
    pub(crate) reference: String,
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) operators: Vec<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) accounts: Vec<String>,
    pub(crate) operations: Vec<String>,
    /// Destinations, one a line.
    pub(crate) forwards: String,
}

/// One box to tick.
pub(crate) struct Tick {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) note: String,
    pub(crate) ticked: bool,
}

/// What the form offers: the targets, accounts and people of rights in force.
pub(crate) struct Choices {
    pub(crate) targets: Vec<Tick>,
    pub(crate) accounts: Vec<Tick>,
    pub(crate) operators: Vec<Tick>,
    pub(crate) operations: Vec<Tick>,
}

impl PlanForm {
    /// An empty form for work that begins at the next full hour.
    pub(crate) fn fresh(operator: &Operator, target: Option<String>, now: Time) -> Self {
        let hour = 3_600_000_000;
        let start = Time::from_micros((now.micros() / hour + 1) * hour);
        Self {
            health_data: "possible".to_owned(),
            origin: "host".to_owned(),
            start: language::to_form(start),
            end: language::to_form(start.plus(Duration::from_hours(2))),
            operators: vec![operator.id.to_string()],
            targets: target.into_iter().collect(),
            operations: vec![Operation::Shell.code().to_owned()],
            ..Self::default()
        }
    }

    /// The form as it would have been typed for `text`.
    pub(crate) fn of(text: &PlanText) -> Self {
        let strings = |all: &mut dyn Iterator<Item = String>| all.collect();
        Self {
            purpose: text.purpose.clone(),
            nature: text.nature.clone(),
            impact: text.impact.clone(),
            rollback: text.rollback.clone(),
            health_data: match text.health_data {
                HealthDataSeen::No => "no",
                HealthDataSeen::Possible => "possible",
                HealthDataSeen::Yes => "yes",
            }
            .to_owned(),
            accountable: text.accountable.clone().unwrap_or_default(),
            origin: match text.origin {
                Origin::Host => "host",
                Origin::Customer => "customer",
            }
            .to_owned(),
            reference: text.reference.clone().unwrap_or_default(),
            start: language::to_form(text.window.start()),
            end: language::to_form(text.window.end()),
            operators: strings(&mut text.operators.iter().map(ToString::to_string)),
            targets: strings(&mut text.targets.iter().map(ToString::to_string)),
            accounts: strings(&mut text.accounts.iter().map(ToString::to_string)),
            operations: strings(&mut text.operations.iter().map(|o| o.code().to_owned())),
            forwards: lines(&text.forwards),
        }
    }

    /// The plan that was typed. Whether it can be decided on is the domain's to say.
    pub(crate) fn read(&self) -> Result<PlanText, Problem> {
        let start = language::from_form(&self.start).ok_or(Problem::Form("start"))?;
        let end = language::from_form(&self.end).ok_or(Problem::Form("end"))?;
        Ok(PlanText {
            purpose: clean(&self.purpose),
            nature: clean(&self.nature),
            impact: clean(&self.impact),
            rollback: clean(&self.rollback),
            health_data: match self.health_data.as_str() {
                "no" => HealthDataSeen::No,
                "possible" => HealthDataSeen::Possible,
                "yes" => HealthDataSeen::Yes,
                _ => return Err(Problem::Form("health-data")),
            },
            origin: match self.origin.as_str() {
                "host" => Origin::Host,
                "customer" => Origin::Customer,
                _ => return Err(Problem::Form("origin")),
            },
            accountable: some(&self.accountable),
            reference: some(&self.reference),
            operators: names(&self.operators, OperatorId::parse, "operators")?,
            targets: names(&self.targets, TargetId::parse, "targets")?,
            accounts: names(&self.accounts, AccountName::parse, "accounts")?,
            operations: operations(&self.operations)?,
            forwards: forward::parse_list(&self.forwards)
                .map_err(|error| Problem::refused("destination_invalid", &error.to_string()))?,
            window: Window::new(start, end).map_err(|_| Problem::Form("end"))?,
        })
    }

    /// What can be ticked: an operator plans on his own rights, a manager on everybody's.
    pub(crate) async fn choices(
        &self,
        site: &Site,
        by: &Operator,
        words: Words,
    ) -> Result<Choices, Problem> {
        let everybody = by.may(Role::Manager).is_ok();
        let grants = rights(site, (!everybody).then(|| by.id.clone())).await?;
        let mut targets = BTreeMap::new();
        let mut accounts = BTreeSet::new();
        for grant in &grants {
            for target in &grant.terms.scope.targets {
                targets.insert(target.clone(), grant.terms.customer.clone());
            }
            accounts.extend(grant.terms.scope.accounts.iter().cloned());
        }
        let mut operators = BTreeMap::new();
        let colleagues = colleagues(site, &targets, grants).await?;
        for id in colleagues.into_iter().chain([by.id.clone()]) {
            if let Some(operator) = site.store().operator(&id).await? {
                operators.insert(id, operator.details.name);
            }
        }
        Ok(Choices {
            targets: targets
                .into_iter()
                .map(|(target, customer)| tick(&target, &target, &customer, &self.targets))
                .collect(),
            accounts: accounts
                .into_iter()
                .map(|account| tick(&account, &account, &"", &self.accounts))
                .collect(),
            operators: operators
                .into_iter()
                .map(|(id, name)| tick(&id, &name, &id, &self.operators))
                .collect(),
            operations: OPERATIONS
                .into_iter()
                .map(|one| tick(&one.code(), &words.operation(one), &"", &self.operations))
                .collect(),
        })
    }
}

/// Whose systems the plan is about: all its targets are one customer's.
pub(crate) async fn customer_of(site: &Site, text: &PlanText) -> Result<CustomerId, Problem> {
    let mut customer = None;
    for id in &text.targets {
        let target = site.store().target(id).await?;
        let owner = target.ok_or(Problem::Form("targets"))?.details.customer;
        match &customer {
            Some(first) if *first != owner => return Err(several_customers()),
            Some(_) => {}
            None => customer = Some(owner),
        }
    }
    customer.ok_or(Problem::Form("targets"))
}

/// What crosses from one customer to another is planned, and held, separately.
pub(crate) fn several_customers() -> Problem {
    Problem::refused(
        "several_customers",
        "these systems belong to several customers; each customer's are named by themselves",
    )
}

/// The names that were ticked.
pub(crate) fn names<T: Ord, E>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
    field: &'static str,
) -> Result<BTreeSet<T>, Problem> {
    texts
        .iter()
        .map(|text| parse(text.trim()).map_err(|_| Problem::Form(field)))
        .collect()
}

/// Destinations as they are typed: one a line.
fn lines(forwards: &BTreeSet<ForwardTo>) -> String {
    let lines: Vec<String> = forwards.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The operations that were ticked.
pub(crate) fn operations(codes: &[String]) -> Result<BTreeSet<Operation>, Problem> {
    let read = |code: &String| {
        let found = OPERATIONS.into_iter().find(|one| one.code() == code);
        found.ok_or(Problem::Form("operations"))
    };
    codes.iter().map(read).collect()
}

/// A box with this value, ticked where it is among `ticked`.
pub(crate) fn tick(
    value: &impl ToString,
    text: &impl ToString,
    note: &impl ToString,
    ticked: &[String],
) -> Tick {
    let value = value.to_string();
    Tick {
        ticked: ticked.contains(&value),
        text: text.to_string(),
        note: note.to_string(),
        value,
    }
}

/// White space around it is nobody's, and line ends are one character.
pub(crate) fn clean(text: &str) -> String {
    text.trim().replace("\r\n", "\n")
}

async fn rights(site: &Site, operator: Option<OperatorId>) -> Result<Vec<Grant>, Problem> {
    let filter = GrantFilter {
        operator,
        limit: LOOKED_AT,
        ..GrantFilter::default()
    };
    let now = site.now();
    let mut grants = site.store().grants(filter).await?;
    grants.retain(|grant| {
        matches!(
            grant.standing(now),
            Standing::InForce | Standing::NotStarted
        )
    });
    Ok(grants)
}

/// Who else holds a right on these targets.
async fn colleagues(
    site: &Site,
    targets: &BTreeMap<TargetId, CustomerId>,
    mut grants: Vec<Grant>,
) -> Result<BTreeSet<OperatorId>, Problem> {
    for target in targets.keys() {
        let filter = GrantFilter {
            target: Some(target.clone()),
            limit: LOOKED_AT,
            ..GrantFilter::default()
        };
        grants.extend(site.store().grants(filter).await?);
    }
    let now = site.now();
    Ok(grants
        .into_iter()
        .filter(|grant| grant.standing(now) == Standing::InForce)
        .map(|grant| grant.terms.operator)
        .collect())
}

fn some(text: &str) -> Option<String> {
    let text = clean(text);
    (!text.is_empty()).then_some(text)
}
