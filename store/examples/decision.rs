//! How long a decision takes: 100,000 grants and 100,000 interventions in a `SQLite` file, and
//! random questions.
//!
//! `cargo run --release -p store --example decision [directory]`

use access::actor::ActorKind;
use access::approval::{Assertion, Decision, Statement};
use access::contact::{ContactDetails, ContactKind, Language};
use access::decide::{
    Arming, Capacity, LoginAge, Means, Place, Policy, Recording, Supervision, choose,
};
use access::grant::{Basis, Operation, ReviewEvery, Scope, Terms};
use access::intervention::Signed;
use access::operator::{OperatorDetails, Role, fingerprint_of};
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::second_factor::{Factor, Holder, Proof, SecondFactor};
use access::target::{HealthData, TargetDetails, Tenancy};
use access::time::Window;
use access::{
    AccountName, Actor, ActorId, Changed, Contact, ContactId, Credentials, Customer, CustomerId,
    FactorId, Grant, GrantId, Intervention, InterventionId, Operator, OperatorId, Target, TargetId,
    Time, Who,
};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};
use store::{Ask, Saving, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CUSTOMERS: u64 = 50;
const OPERATORS: u64 = 200;
const TARGETS: u64 = 2_000;
const GRANTS: u64 = 100_000;
const INTERVENTIONS: u64 = 100_000;
const QUESTIONS: u64 = 2_000;
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const HOUR: Duration = Duration::from_hours(1);

#[tokio::main]
async fn main() -> Result<()> {
    let mut out = std::io::stdout();
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(directory)?;
    let url = format!("sqlite://{}/bastion.db", directory.path().display());
    let store = Store::open(&url).await?;
    let now = Time::parse("2026-11-24T09:00:00Z")?;

    let begun = instant();
    fill(&store, now).await?;
    writeln!(out, "filled in {:.0?}", begun.elapsed())?;

    let mut times = Vec::new();
    let mut permits = 0;
    let mut random = Random(1);
    for _ in 0..QUESTIONS {
        let customer = random.below(CUSTOMERS);
        let (operator, target) = (
            operator_name(random.below(OPERATORS)),
            target_name(customer, random.below(TARGETS / CUSTOMERS)),
        );
        let ask = ask(&operator, &target)?;
        let begun = instant();
        let facts = store.facts(&ask, now).await?;
        let chosen = choose(&facts, now);
        times.push(begun.elapsed());
        permits += usize::from(chosen.is_ok());
    }
    times.sort_unstable();
    let at = |part: usize| {
        times
            .get(times.len() * part / 1000)
            .copied()
            .unwrap_or_default()
    };
    writeln!(
        out,
        "{QUESTIONS} decisions ({permits} permits): p50 {:?}, p95 {:?}, p99 {:?}, longest {:?}",
        at(500),
        at(950),
        at(990),
        at(999)
    )?;
    store.close().await;
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "measuring is what this example is for"
)]
fn instant() -> Instant {
    Instant::now()
}

/// Everybody and everything, in transactions of a thousand changes.
async fn fill(store: &Store, now: Time) -> Result<()> {
    let actor = Actor::register(
        ActorId::parse("host")?,
        "The host",
        ActorKind::Host,
        Who::Bastion,
        now,
    )?;
    let mut changes: Vec<Saving> = vec![actor.into()];
    let mut operators = Vec::new();
    for i in 0..OPERATORS {
        let operator = operator(i, now)?;
        operators.push(operator.value().clone());
        changes.push(operator.into());
        changes.push(generator(&operator_name(i), now)?.into());
    }
    let mut contacts = Vec::new();
    for i in 0..CUSTOMERS {
        let id = customer_id(i)?;
        changes.push(Customer::register(id, "A customer", "AAAA", Who::Bastion, now)?.into());
        let contact = contact(i, now)?;
        contacts.push(contact.value().clone());
        changes.push(contact.into());
        for n in 0..TARGETS / CUSTOMERS {
            changes.push(target(i, n, now)?.into());
        }
    }
    store.save_all(changes).await?;

    let mut random = Random(2);
    for chunk in 0..GRANTS / 1000 {
        let mut changes: Vec<Saving> = Vec::new();
        for i in 0..1000 {
            changes.push(grant(chunk * 1000 + i, &mut random, now)?.into());
        }
        store.save_all(changes).await?;
    }
    for chunk in 0..INTERVENTIONS / 1000 {
        let mut changes: Vec<Saving> = Vec::new();
        for i in 0..1000 {
            let number = chunk * 1000 + i;
            changes.push(intervention(number, &operators, &contacts, &mut random, now)?.into());
        }
        store.save_all(changes).await?;
    }
    Ok(())
}

/// A right on three systems of one customer, in force.
fn grant(number: u64, random: &mut Random, now: Time) -> Result<Changed<Grant>> {
    let customer = random.below(CUSTOMERS);
    let mut targets = BTreeSet::new();
    for _ in 0..3 {
        targets.insert(TargetId::parse(&target_name(
            customer,
            random.below(TARGETS / CUSTOMERS),
        ))?);
    }
    let terms = Terms {
        operator: OperatorId::parse(&operator_name(random.below(OPERATORS)))?,
        customer: customer_id(customer)?,
        scope: Scope {
            targets,
            accounts: BTreeSet::from([AccountName::parse("root")?]),
            operations: BTreeSet::from([Operation::Shell]),
        },
        justification: "keeps the databases running".to_owned(),
        basis: Basis::Contract,
        validity: Window::new(now.minus(HOUR), now.plus(HOUR * 24 * 300))?,
        review_every: ReviewEvery::Year,
    };
    let id = GrantId::from_random(u128::from(number).to_be_bytes());
    let proposed = Grant::propose(id, terms, Who::Bastion, now)?.into_parts().0;
    Ok(proposed.accept_in_setup(Who::Bastion, now)?)
}

/// An approved intervention on three systems of one customer for four operators. One in ten is
/// open; the others were within the last year.
fn intervention(
    number: u64,
    operators: &[Operator],
    contacts: &[Contact],
    random: &mut Random,
    now: Time,
) -> Result<Changed<Intervention>> {
    let customer = random.below(CUSTOMERS);
    let mut targets = BTreeSet::new();
    for _ in 0..3 {
        targets.insert(TargetId::parse(&target_name(
            customer,
            random.below(TARGETS / CUSTOMERS),
        ))?);
    }
    let mut named = BTreeSet::new();
    for _ in 0..4 {
        named.insert(OperatorId::parse(&operator_name(random.below(OPERATORS)))?);
    }
    let written = if random.below(10) == 0 {
        now.minus(HOUR)
    } else {
        now.minus(HOUR * u32::try_from(2 + random.below(8000))?)
    };
    let text = PlanText {
        purpose: "replace the failed disk of the database".to_owned(),
        nature: "maintenance".to_owned(),
        impact: "none expected".to_owned(),
        rollback: "put the old disk back".to_owned(),
        health_data: HealthDataSeen::No,
        origin: Origin::Host,
        accountable: None,
        reference: None,
        operators: named,
        targets,
        accounts: BTreeSet::from([AccountName::parse("root")?]),
        operations: BTreeSet::from([Operation::Shell]),
        forwards: BTreeSet::new(),
        window: Window::new(written, written.plus(HOUR * 2))?,
    };
    let by = operators.first().ok_or("there is no operator")?;
    let contact = contacts
        .get(usize::try_from(customer)?)
        .ok_or("there is no contact")?;
    let id = InterventionId::numbered(2026, i64::try_from(number)? + 1);
    let draft = Intervention::draft(id, customer_id(customer)?, text, by, written)?
        .into_parts()
        .0;
    let waiting = draft.submit(by, written)?.into_parts().0;
    let signed = Signed {
        statement: Statement::compose(&waiting, &Decision::Approve, &contact.id, "00"),
        nonce: "00".to_owned(),
        assertion: Assertion {
            credential_id: "A".repeat(43),
            client_data_json: "A".repeat(200),
            authenticator_data: "A".repeat(50),
            signature: "A".repeat(96),
            public_key: "{}".to_owned(),
        },
    };
    Ok(waiting.decide(contact, operators, Decision::Approve, signed, written)?)
}

fn operator(number: u64, now: Time) -> Result<Changed<Operator>> {
    let name = operator_name(number);
    let details = OperatorDetails {
        name: "An operator".to_owned(),
        email: format!("{name}@host.example"),
        actor: ActorId::parse("host")?,
        roles: BTreeSet::from([Role::Operator]),
        keys: vec![KEY.to_owned()],
        sources: Vec::new(),
        language: Language::French,
    };
    Ok(Operator::register(
        OperatorId::parse(&name)?,
        details,
        Who::Bastion,
        now,
    )?)
}

/// What an operator proves himself with: the one key and a code generator.
fn credentials(operator: &str) -> Result<Credentials> {
    Ok(Credentials {
        key: fingerprint_of(KEY).ok_or("the key has no fingerprint")?,
        factor: FactorId::parse(&format!("fa-{operator}"))?,
        proof: Proof::Totp,
        certificate: None,
        certified: None,
    })
}

fn generator(operator: &str, now: Time) -> Result<Changed<SecondFactor>> {
    let factor = Factor::Totp {
        sealed_secret: "AAAA".to_owned(),
    };
    let holder = Holder::Operator(OperatorId::parse(operator)?);
    let id = credentials(operator)?.factor;
    Ok(SecondFactor::enrol(id, holder, factor, Who::Bastion, now))
}

fn contact(customer: u64, now: Time) -> Result<Changed<Contact>> {
    let details = ContactDetails {
        name: "A contact".to_owned(),
        email: format!("contact{customer}@customer.example"),
        kinds: BTreeSet::from([ContactKind::Approver]),
        language: Language::French,
        deputy: None,
    };
    let id = ContactId::parse(&format!("contact{customer}"))?;
    Ok(Contact::register(
        id,
        customer_id(customer)?,
        details,
        Who::Bastion,
        now,
    )?)
}

fn target(customer: u64, number: u64, now: Time) -> Result<Changed<Target>> {
    let details = TargetDetails {
        customer: customer_id(customer)?,
        address: "192.0.2.10:22".to_owned(),
        host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        accounts: BTreeSet::from([AccountName::parse("root")?]),
        tenancy: Tenancy::Dedicated,
        health_data: HealthData::Holds,
    };
    let id = TargetId::parse(&target_name(customer, number))?;
    Ok(Target::register(id, details, Who::Bastion, now)?)
}

fn ask<'a>(operator: &'a str, target: &'a str) -> Result<Ask<'a>> {
    Ok(Ask {
        operator,
        target,
        account: AccountName::parse("root")?,
        operation: Some(Operation::Shell),
        forward_to: None,
        intervention: None,
        credentials: Some(credentials(operator)?),
        place: Place {
            source: "192.0.2.1".parse()?,
            country: None,
        },
        means: Means {
            recording: Recording::Available,
            capacity: Capacity::Free,
            arming: Arming::NotAsked,
            supervision: Supervision::NotAsked,
            login: LoginAge::Young,
        },
        policy: Policy {
            charter: None,
            countries: None,
            weakest_proof: Proof::Totp,
            session_limit: HOUR * 8,
            ssh_name: "bastion.example".to_owned(),
            host_web: "https://bastion.example".to_owned(),
        },
        since: None,
    })
}

fn operator_name(number: u64) -> String {
    format!("operator{number}")
}

fn target_name(customer: u64, number: u64) -> String {
    format!("db{number}.customer{customer}")
}

fn customer_id(number: u64) -> Result<CustomerId> {
    Ok(CustomerId::parse(&format!("customer{number}"))?)
}

/// The same sequence at each run (xorshift).
struct Random(u64);

impl Random {
    const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
