//! `bastion demo`: the whole product on embedded defaults, with an example hospital to try it on.
//! Same code and same configuration as `serve`; nothing of the product is weakened for it.
//!
//! | file | what it is |
//! |---|---|
//! | `example` | who and what exists |
//! | `practice_target` | a real shell to connect to |
//! | `passkey`, `visitor` | somebody at a browser, without the browser |
//! | `story` | the main job played from refusal to verified evidence |

mod example;
mod passkey;
mod practice_target;
mod story;
mod visitor;

use crate::config::Config;
use crate::serve::{self, Side};
use crate::{clock, output as say, secrets};
use access::forward::ForwardTo;
use access::grant::Operation;
use access::intervention::Phase;
use access::operator::Role;
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::time::Window;
use access::{AccountName, Intervention, InterventionId, Operator, OperatorId, TargetId, totp};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use example::{CONTACT, MANAGER, SECURITY};
use passkey::SoftwarePasskey;
use practice_target::PracticeTarget;
use russh::keys::PrivateKey;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use store::{InterventionFilter, Store};
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use visitor::Visitor;

/// The practice target's name.
const TARGET: &str = "db1.chu-exemple";
const ACCOUNT: &str = "root";

/// `bastion demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Play the story by itself and exit 0 only if every step went as it must.
    #[arg(long, conflicts_with = "headless")]
    story: bool,
    /// For scripts: print one line of JSON when ready, stop on SIGTERM.
    #[arg(long)]
    headless: bool,
    /// The contact of a demo that is running approves this intervention, with a passkey in a file.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["story", "headless"], value_parser = InterventionId::parse)]
    approve: Option<InterventionId>,
    /// The state directory; made where it is missing, continued where it is not.
    #[arg(long, value_name = "DIR", default_value = "bastion-demo")]
    state: PathBuf,
    /// Where to listen for SSH.
    #[arg(long, value_name = "ADDR")]
    ssh: Option<SocketAddr>,
    /// Where the customer origin listens.
    #[arg(long, value_name = "ADDR")]
    customer_web: Option<SocketAddr>,
    /// Where the host origin listens.
    #[arg(long, value_name = "ADDR")]
    host_web: Option<SocketAddr>,
    /// How many operators, `alice` first.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=1000))]
    operators: u32,
    /// A real sshd in place of the practice target; it must trust DIR/user-ca.pub. Repeatable.
    #[arg(long, value_name = "NAME=ACCOUNT@HOST:PORT=HOSTKEYFILE")]
    target: Vec<String>,
    /// Have an approved intervention open, on every target, for every operator.
    #[arg(long)]
    open_intervention: bool,
    /// How long that window is, such as `8h` or `20s`.
    #[arg(long, value_name = "DURATION", value_parser = clock::duration, default_value = "8h")]
    window: Duration,
    /// What that intervention covers.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = operation, default_value = "shell,exec,upload,download")]
    operations: Vec<Operation>,
    /// Where connections through the targets may go in it, with `forward` among the operations.
    #[arg(long, value_name = "HOST:PORT", value_parser = ForwardTo::parse)]
    forward: Vec<ForwardTo>,
    /// Let one second factor stand for further connections this long: for measuring; the trace
    /// says so.
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    reuse_second_factor: Option<Duration>,
    /// The longest a session may last.
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    session_limit: Option<Duration>,
    /// How long after a login its connection opens anything new.
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    login_limit: Option<Duration>,
    /// A session in which nothing happens ends after this.
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    idle_limit: Option<Duration>,
    /// The database, in place of the embedded one: `postgres://…`.
    #[arg(
        long,
        value_name = "URL",
        env = "BASTION_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
}

/// What the demo is to have.
struct Wanted {
    operators: u32,
    targets: Vec<WantedTarget>,
}

/// A target as an argument names it.
struct WantedTarget {
    name: String,
    account: AccountName,
    address: String,
    host_key: String,
}

/// Everything up and served.
struct Running {
    config: Config,
    store: Store,
    ssh: SocketAddr,
    serving: JoinHandle<Result<()>>,
}

/// Runs the command.
pub(crate) async fn run(asked: DemoArgs) -> Result<ExitCode> {
    let config = configuration(&asked)?;
    if let Some(id) = &asked.approve {
        approve(&config, id).await?;
        say::line(format_args!("{id} is approved by {CONTACT}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    secrets::make(&config.state)?;
    let (stop, stopped) = stop_switch()?;
    let running = start(&asked, config, stopped).await?;
    if asked.open_intervention && !is_one_open(&running.store).await? {
        let (operations, forwards) = (asked.operations.iter(), asked.forward.iter());
        let covered = (operations.copied().collect(), forwards.cloned().collect());
        open_intervention(&running, asked.window, covered).await?;
    }
    if asked.story {
        let outcome = story::play(&running).await;
        stop.send_replace(true);
        running.end().await?;
        outcome?;
        return story::verify(&asked).await;
    }
    if asked.headless {
        say::line(ready(&running).await?)?;
    } else {
        say::line(by_hand(&running)?)?;
    }
    running.end().await?;
    Ok(ExitCode::SUCCESS)
}

impl Running {
    async fn end(self) -> Result<()> {
        self.serving.await.context("the bastion's task ended")?
    }
}

fn configuration(asked: &DemoArgs) -> Result<Config> {
    let state = std::path::absolute(&asked.state).context("the state directory")?;
    let mut config = Config::in_state(&state);
    config.database.clone_from(&asked.database);
    if let Some(address) = asked.ssh {
        config.ssh.listen = address;
    }
    let ports = [asked.customer_web, asked.host_web];
    ensure!(
        ports
            .into_iter()
            .flatten()
            .all(|address| address.port() != 0),
        "the web origins need a port of their own: their addresses are written into passkeys"
    );
    if let Some(address) = asked.customer_web {
        config.web.customer_listen = address;
        config.web.customer_url = format!("http://localhost:{}", address.port());
    }
    if let Some(address) = asked.host_web {
        config.web.host_listen = address;
        config.web.host_url = format!("http://localhost:{}", address.port());
    }
    if let Some(reuse) = asked.reuse_second_factor {
        config.ssh.reuse_second_factor_s = reuse.as_secs();
    }
    if let Some(limit) = asked.session_limit {
        config.ssh.session_limit_s = limit.as_secs();
    }
    if let Some(limit) = asked.login_limit {
        config.ssh.login_limit_s = limit.as_secs();
    }
    if let Some(limit) = asked.idle_limit {
        config.ssh.idle_limit_s = limit.as_secs();
    }
    Ok(config)
}

/// Turns true at a signal, or when the story is over.
fn stop_switch() -> Result<(Sender<bool>, Receiver<bool>)> {
    let (stop, stopped) = watch::channel(false);
    let (mut signal, from_signal) = (serve::stop_at_signal()?, stop.clone());
    tokio::spawn(async move {
        if signal.wait_for(|stop| *stop).await.is_ok() {
            from_signal.send_replace(true);
        }
    });
    Ok((stop, stopped))
}

async fn start(asked: &DemoArgs, config: Config, stopped: Receiver<bool>) -> Result<Running> {
    let targets = match asked.target.as_slice() {
        [] => vec![practice(&config.state).await?],
        given => given
            .iter()
            .map(|text| given_target(text))
            .collect::<Result<_>>()?,
    };
    let wanted = Wanted {
        operators: asked.operators,
        targets,
    };
    let store = Store::open(&config.database_url())
        .await
        .context("cannot open the database")?;
    example::register(&store, &config, &wanted).await?;

    let ready = serve::prepare(config.clone(), Side::Both).await?;
    let ssh = ready.ssh_address().context("the SSH side has no address")?;
    let serving = tokio::spawn(ready.serve(stopped));
    example::enrol_passkeys(&store, &config).await?;
    Ok(Running {
        config,
        store,
        ssh,
        serving,
    })
}

/// Starts the practice target on a free port of the loopback interface.
async fn practice(state: &Path) -> Result<WantedTarget> {
    let key = state.join("practice-host-key");
    if !key.exists() {
        example::new_key(&key, "practice target")?;
    }
    let host_key = PrivateKey::read_openssh_file(&key).context("the practice target's host key")?;
    let home = state.join("practice-home");
    std::fs::create_dir_all(&home).context("the practice target's home")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("the practice target cannot listen")?;
    let address = listener
        .local_addr()
        .context("the practice target's address")?;
    let wanted = WantedTarget {
        name: TARGET.to_owned(),
        account: example::account(ACCOUNT)?,
        address: address.to_string(),
        host_key: host_key
            .public_key()
            .to_openssh()
            .context("the practice target's host key")?,
    };
    let user_ca = secrets::ssh_public(state, secrets::USER_CA)?;
    tokio::spawn(practice_target::serve(
        PracticeTarget {
            host_key,
            user_ca,
            home,
        },
        listener,
    ));
    Ok(wanted)
}

/// Reads `NAME=ACCOUNT@HOST:PORT=HOSTKEYFILE`.
fn given_target(text: &str) -> Result<WantedTarget> {
    let wrong = || format!("`--target {text}` is not NAME=ACCOUNT@HOST:PORT=HOSTKEYFILE");
    let (name, rest) = text.split_once('=').with_context(wrong)?;
    let (place, file) = rest.split_once('=').with_context(wrong)?;
    let (account, address) = place.split_once('@').with_context(wrong)?;
    let host_key =
        std::fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"))?;
    Ok(WantedTarget {
        name: TargetId::parse(name)?.to_string(),
        account: example::account(account)?,
        address: address.to_owned(),
        host_key: host_key.trim().to_owned(),
    })
}

/// Whether a state that is continued has an open intervention already.
async fn is_one_open(store: &Store) -> Result<bool> {
    let now = clock::now();
    let approved = InterventionFilter {
        states: vec!["approved"],
        limit: 100,
        ..InterventionFilter::default()
    };
    let mut found = store.interventions(approved).await?.into_iter();
    Ok(found.any(|intervention| intervention.phase(now) == Phase::Open))
}

/// Has an intervention approved by the contact's passkey, for every operator on every target.
async fn open_intervention(
    running: &Running,
    window: Duration,
    (operations, forwards): (BTreeSet<Operation>, BTreeSet<ForwardTo>),
) -> Result<InterventionId> {
    let (store, now) = (&running.store, clock::now());
    let mut operators: Vec<Operator> = store.operators().await?;
    operators.retain(|operator| operator.may(Role::Operator).is_ok());
    let requester = operators.first().context("the demo has no operator")?;
    let targets = store.targets().await?;
    let text = PlanText {
        purpose: "Vérification de routine des sauvegardes de la base".to_owned(),
        nature: "maintenance".to_owned(),
        impact: "aucune interruption attendue".to_owned(),
        rollback: "aucune modification à défaire".to_owned(),
        health_data: HealthDataSeen::No,
        origin: Origin::Host,
        accountable: None,
        reference: None,
        operators: operators
            .iter()
            .map(|operator| operator.id.clone())
            .collect(),
        targets: targets.iter().map(|target| target.id.clone()).collect(),
        accounts: targets
            .iter()
            .flat_map(|target| target.details.accounts.clone())
            .collect(),
        operations,
        forwards,
        window: Window::new(now, now.plus(window))?,
    };
    let customer = targets
        .first()
        .context("the demo has no target")?
        .details
        .customer
        .clone();
    let id = store.next_intervention_id(now).await?;
    let draft = store
        .save(Intervention::draft(id, customer, text, requester, now)?)
        .await?;
    let submitted = store.save(draft.submit(requester, clock::now())?).await?;
    approve(&running.config, &submitted.id).await?;
    Ok(submitted.id)
}

/// The contact reads the intervention's page and approves it with a passkey.
async fn approve(config: &Config, id: &InterventionId) -> Result<()> {
    let (contact, id) = (visitor(config, CONTACT)?, id.clone());
    in_thread(move || {
        contact.sign_in()?;
        let page = contact.get(&format!("/interventions/{id}"))?;
        ensure!(
            page.contains(id.as_str()),
            "the page of `{id}` does not name it"
        );
        let (version, sha256) = visitor::hidden(&page, "plan_version")
            .zip(visitor::hidden(&page, "plan_sha256"))
            .with_context(|| format!("the page of `{id}` has nothing to approve"))?;
        let read = json!({
            "decision": "approve",
            "plan_version": version,
            "plan_sha256": sha256,
        });
        contact
            .ceremony(&format!("/interventions/{id}/decision"), &read)
            .map(drop)
    })
    .await
}

/// Somebody of the demo at a browser.
fn visitor(config: &Config, login: &str) -> Result<Visitor> {
    Ok(Visitor::new(SoftwarePasskey::read(
        &example::passkey_file(&config.state, login),
    )?))
}

/// Runs what blocks on a thread of its own.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a thread ended")?
}

/// What scripts are told, one line of JSON.
async fn ready(running: &Running) -> Result<Value> {
    let (config, store, state) = (&running.config, &running.store, &running.config.state);
    let now = clock::now();
    let mut operators = Vec::new();
    for operator in store.operators().await? {
        let login = operator.id.as_str();
        let key = example::key_file(state, login);
        if key.exists() {
            let totp = example::totp_secret(state, login)?;
            operators.push(json!({ "login": login, "key": key, "totp": totp }));
        }
    }
    let filter = InterventionFilter {
        limit: 100,
        ..InterventionFilter::default()
    };
    let interventions = store
        .interventions(filter)
        .await?
        .into_iter()
        .map(|intervention| {
            let plan = &intervention.plan().text;
            json!({
                "number": intervention.id,
                "state": intervention.phase(now).code(),
                "targets": plan.targets,
                "operators": plan.operators,
                "until": plan.window.end().rfc3339(),
            })
        });
    let targets = store
        .targets()
        .await?
        .into_iter()
        .map(|target| json!({ "name": target.id, "accounts": target.details.accounts }));
    let holders = |logins: &[&str]| -> Vec<Value> {
        let one = |login: &&str| json!({ "login": login, "passkey": example::passkey_file(state, login) });
        logins.iter().map(one).collect()
    };
    Ok(json!({
        "ssh": running.ssh.to_string(),
        "customer_web": config.web.customer_url,
        "host_web": config.web.host_url,
        "pid": std::process::id(),
        "state": state,
        "database": config.database_url(),
        "recordings": config.recordings_path(),
        "user_ca": state.join("user-ca.pub"),
        "host_ca": state.join("host-ca.pub"),
        "operators": operators,
        "targets": targets.collect::<Vec<_>>(),
        "interventions": interventions.collect::<Vec<_>>(),
        "contacts": holders(&[CONTACT]),
        "staff": holders(&[MANAGER, SECURITY]),
    }))
}

/// The story to try by hand, commands ready to copy.
fn by_hand(running: &Running) -> Result<String> {
    let (config, state) = (&running.config, running.config.state.display());
    let alice = example::operator_login(0);
    let secret = code_secret(&config.state, &alice)?;
    let code = totp::code_at(&secret, clock::now())?;
    let port = running.ssh.port();
    let ssh = format!(
        "ssh -p {port} -i {} -o IdentitiesOnly=yes",
        example::key_file(&config.state, &alice).display()
    );
    Ok(format!(
        "\
The bastion is running, with an example hospital (CHU Exemple). State: {state}

  operators   alice, bob            contact   {CONTACT}
  manager     {MANAGER}                 security  {SECURITY}
  ssh         {host_name}, port {port}
  customer    {customer}
  host        {host}

Try it, as Alice (her code now: {code}; her secret for an authenticator: {base32}):

  1. {ssh} {alice}+{ACCOUNT}+{TARGET}@localhost
       two factors, no intervention: refused, with the next step
  2. {ssh} {alice}@localhost \"request {TARGET} --purpose 'Check the backup' --impact none --rollback none\"
       asks the hospital
  3. target/release/bastion demo --approve INT-… --state {state}
       the contact approves, with a passkey kept in a file. For a real passkey in your browser:
       target/release/bastion invite {CONTACT} --state {state}
  4. {ssh} {alice}+{ACCOUNT}+{TARGET}@localhost
       in, recorded; the shell runs as you, on this machine, in {state}/practice-home
  5. target/release/bastion recording list --state {state}
     target/release/bastion audit verify --state {state}

Each code is taken once: wait for the next one between two logins.
Stop with Ctrl-C; the state is continued next time.",
        host_name = config.ssh.name,
        customer = config.web.customer_url,
        host = config.web.host_url,
        base32 = *totp::base32(&secret),
    ))
}

/// The secret of an operator's code generator.
fn code_secret(state: &Path, login: &str) -> Result<Vec<u8>> {
    totp::from_base32(&example::totp_secret(state, login)?).context("the demo's code secret")
}

/// Who takes part, in order.
fn operator_id(index: u32) -> Result<OperatorId> {
    Ok(OperatorId::parse(&example::operator_login(index))?)
}

/// Reads the code of an operation.
fn operation(text: &str) -> Result<Operation> {
    [
        Operation::Shell,
        Operation::Exec,
        Operation::Upload,
        Operation::Download,
        Operation::Forward,
    ]
    .into_iter()
    .find(|operation| operation.code() == text)
    .with_context(|| format!("`{text}` is no operation"))
}
