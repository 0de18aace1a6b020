//! `bastion apply FILE`: brings the registers to what a file declares. Says what it will do, does
//! it in one transaction, and does nothing the second time.

mod file;
mod grants;
mod plan;
mod registers;

use crate::admin::{command_line, open_existing};
use crate::cli::Apply;
use crate::config::Config;
use crate::declared::{Declared, Faults};
use crate::{Outcome, checkpoints, clock, say, secrets};
use access::{CustomerId, Event};
use anyhow::{Context as _, Result};
use file::Wanted;
use plan::{Known, Plan, Pruning, Setup};
use recordings::keys::{self, PrivateKey};
use std::path::Path;
use store::{GrantFilter, Store};

/// The setting that tells whether the set-up was closed, and its value then.
const SETUP: &str = "setup";
const CLOSED: &str = "closed";
/// More grants than this are not read back by one `apply`.
const MANY: i64 = 1_000_000;

/// Runs the command.
pub(crate) async fn run(asked: Apply) -> Result<Outcome> {
    let config = asked.place.config()?;
    let store = open_existing(&config).await?;
    let outcome = apply(&store, &config, &asked).await;
    store.close().await;
    outcome
}

async fn apply(store: &Store, config: &Config, asked: &Apply) -> Result<Outcome> {
    let pruning = if asked.prune {
        Pruning::Prune
    } else {
        Pruning::LeaveAlone
    };
    let plan = plan_of(store, &asked.file, pruning, asked.close_setup).await?;
    for line in plan.lines() {
        say::line(line)?;
    }
    if plan.changes_nothing() {
        say::line("nothing to change")?;
        return Ok(Outcome::Fine);
    }
    if asked.dry_run {
        say::line(format_args!(
            "{} to make; nothing was changed (--dry-run)",
            plan.count()
        ))?;
        return Ok(Outcome::Fine);
    }
    let count = plan.count();
    carry_out(store, config, plan).await?;
    checkpoints::sign_after_command(store, config).await;
    say::line(format_args!("{count} made"))?;
    Ok(Outcome::Fine)
}

/// What must change for the registers to be as `file` declares.
async fn plan_of(store: &Store, file: &Path, pruning: Pruning, close: bool) -> Result<Plan> {
    let one = |fault| Faults(vec![fault]);
    let declared = Declared::read(file).map_err(one)?;
    let wanted: Wanted = declared.parse().map_err(one)?;
    let known = known(store).await?;
    let setup = match (store.setting(SETUP).await?.as_deref(), close) {
        (Some(CLOSED), _) => Setup::Closed,
        (_, true) => Setup::Closing,
        (_, false) => Setup::Open,
    };
    let plan = Plan::make(
        &declared,
        &wanted,
        &known,
        pruning,
        setup,
        &command_line(),
        clock::now(),
    )?;
    Ok(plan)
}

async fn known(store: &Store) -> Result<Known> {
    Ok(Known {
        customers: store.customers().await?,
        contacts: store.contacts().await?,
        actors: store.actors().await?,
        operators: store.operators().await?,
        targets: store.targets().await?,
        grants: store
            .grants(GrantFilter {
                limit: MANY,
                ..GrantFilter::default()
            })
            .await?,
    })
}

/// Keeps the new customers' keys, then makes every change in one transaction. A key whose customer
/// was then not registered is of no use to anybody and is replaced by the next run.
async fn carry_out(store: &Store, config: &Config, plan: Plan) -> Result<()> {
    let by = command_line();
    if !plan.keys.is_empty() {
        let master = secrets::recording_master(&config.state)?;
        for (customer, private) in &plan.keys {
            let wrapped = wrap(&master, private, customer)?;
            let event = Event::new(
                "recording_key.created",
                by.clone(),
                format!("customer {customer}"),
                clock::now(),
            )
            .of_customer(customer);
            store.keep_recording_key(customer, &wrapped, event).await?;
        }
    }
    let closes = plan.closes_setup();
    store.save_all(plan.changes()).await?;
    if closes {
        let event = Event::new("setup.closed", by, "setup", clock::now());
        store.set_setting(SETUP, CLOSED, event).await?;
    }
    Ok(())
}

fn wrap(master: &[u8; 32], private: &PrivateKey, customer: &CustomerId) -> Result<Vec<u8>> {
    keys::wrap_private_key(master, private, customer.as_str().as_bytes())
        .with_context(|| format!("cannot keep the recording key of `{customer}`"))
}
