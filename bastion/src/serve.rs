//! Runs the product: the side that faces operators, the side that faces the web, or both.
//!
//! INVARIANT: each side reads its own keys and no other's. The only file that names
//! `approval_web`.

use crate::cli::{self, Serve};
use crate::config::Config;
use crate::secrets::{self, SshKeys, WebKeys};
use crate::ssh::{Front, listener, recovery, traces};
use crate::{Outcome, admin, checkpoints, clock, say, watch};
use access::{Event, Who};
use anyhow::{Context as _, Result};
use approval_web::Web;
use axum::Router;
use recordings::Storage;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tracing::info;

/// How long a stop waits for what is still to be entered in the audit log.
const LAST_ENTRIES: Duration = Duration::from_secs(15);

/// Runs the command until SIGTERM or SIGINT.
pub(crate) async fn run(asked: Serve) -> Result<Outcome> {
    let config = asked.place.config()?;
    let side = match asked.side {
        Some(cli::Side::Ssh) => Side::Ssh,
        Some(cli::Side::Web) => Side::Web,
        None => Side::Both,
    };
    let stopped = stop_at_signal()?;
    let ready = prepare(config, side).await?;
    for line in ready.where_to_go() {
        say::line(line)?;
    }
    ready.serve(stopped).await?;
    Ok(Outcome::Fine)
}

/// Which side of the product a process runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Ssh,
    Web,
    Both,
}

impl Side {
    const fn code(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Web => "web",
            Self::Both => "both",
        }
    }
}

/// Everything bound and opened; nothing is served yet.
pub(crate) struct Ready {
    config: Arc<Config>,
    store: Store,
    side: Side,
    ssh: Option<(Arc<Front>, TcpListener)>,
    web: Option<[(Router, TcpListener); 2]>,
}

/// Opens the store, reads the keys of `side`, binds its addresses and closes what a stopped
/// bastion left open.
pub(crate) async fn prepare(config: Config, side: Side) -> Result<Ready> {
    let store = admin::open_existing(&config).await?;
    let recordings =
        Storage::open(config.recordings_path()).context("cannot open the recordings")?;
    let config = Arc::new(config);
    let ssh = match side {
        Side::Ssh | Side::Both => Some(prepare_ssh(&config, &store, &recordings).await?),
        Side::Web => None,
    };
    let web = match side {
        Side::Web | Side::Both => Some(prepare_web(&config, &store, &recordings).await?),
        Side::Ssh => None,
    };
    Ok(Ready {
        config,
        store,
        side,
        ssh,
        web,
    })
}

impl Ready {
    /// The address operators connect to, where this process serves them.
    pub(crate) fn ssh_address(&self) -> Option<SocketAddr> {
        self.ssh
            .as_ref()
            .and_then(|(_, listener)| listener.local_addr().ok())
    }

    /// What is listening where, one line each.
    fn where_to_go(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(address) = self.ssh_address() {
            lines.push(format!("ssh       {address}"));
        }
        if self.web.is_some() {
            lines.push(format!("customer  {}", self.config.web.customer_url));
            lines.push(format!("host      {}", self.config.web.host_url));
        }
        lines
    }

    /// Serves until `stop` turns true; then ends every session sealed and signs a last checkpoint.
    pub(crate) async fn serve(self, stop: Receiver<bool>) -> Result<()> {
        let Self {
            config,
            store,
            side,
            ssh,
            web,
        } = self;
        let said = |name: &str| {
            Event::new(
                name,
                Who::Bastion,
                format!("service {}", side.code()),
                clock::now(),
            )
            .with("version", env!("CARGO_PKG_VERSION"))
            .with(
                "second_factor_reused_for_s",
                config.ssh.reuse_second_factor_s,
            )
        };
        store.append(said("service.started")).await?;
        if let Some((front, _)) = &ssh {
            // From the first moment on there is something to verify.
            watch::checkpoint(front).await;
        }
        info!(side = side.code(), "serving");
        let mut tasks = JoinSet::new();
        for (router, listener) in web.into_iter().flatten() {
            tasks.spawn(serve_web(router, listener, stop.clone()));
        }
        let front = ssh.map(|(front, listener)| {
            tasks.spawn(listener::run(Arc::clone(&front), listener, stop.clone()));
            let (watched, stop) = (Arc::clone(&front), stop.clone());
            tasks.spawn(watch::run(watched, stop));
            // Lives on while the others end: each may have something left to enter.
            tokio::spawn(traces::write(Arc::clone(&front)));
            front
        });
        let ended = all_of(&mut tasks).await;
        if let Some(front) = &front {
            front.traces.drain(LAST_ENTRIES).await;
        }
        store.append(said("service.stopped")).await?;
        if let Some(front) = front {
            watch::checkpoint(&front).await;
        }
        store.close().await;
        ended
    }
}

/// Turns true at SIGTERM or SIGINT.
pub(crate) fn stop_at_signal() -> Result<Receiver<bool>> {
    let (stop, stopped): (Sender<bool>, _) = channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        // Kept, so that nobody takes its end for a stop.
        std::future::pending::<()>().await;
    });
    Ok(stopped)
}

/// The first task that fails stops the process: half a bastion is worse than none.
async fn all_of(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task ended")??;
    }
    Ok(())
}

async fn prepare_ssh(
    config: &Arc<Config>,
    store: &Store,
    recordings: &Storage,
) -> Result<(Arc<Front>, TcpListener)> {
    let keys = Arc::new(SshKeys::read(&config.state)?);
    checkpoints::must_continue(store, &keys.audit.verifier(), &config.state).await?;
    let front = Front::new(store.clone(), recordings.clone(), Arc::clone(config), keys);
    let listener = bind(config.ssh.listen, "ssh.listen").await?;
    recovery::run(&front).await?;
    Ok((front, listener))
}

async fn prepare_web(
    config: &Config,
    store: &Store,
    recordings: &Storage,
) -> Result<[(Router, TcpListener); 2]> {
    let keys = WebKeys::read(&config.state)?;
    let web = Arc::new(Web {
        store: store.clone(),
        recordings: recordings.clone(),
        customer_url: config.web.customer_url.clone(),
        host_url: config.web.host_url.clone(),
        ssh_name: config.ssh.name.clone(),
        ssh_port: config.ssh.listen.port(),
        trusted_proxies: config.web.trusted_proxies(),
        policy: config.policy(),
        factors: keys.factors,
        recording_master: keys.recording_master,
        manifest_key: keys.manifest,
        clock: clock::now,
        random: |bytes| secrets::fill(bytes).map_err(|_| ring::error::Unspecified),
    });
    Ok([
        (
            approval_web::customer(Arc::clone(&web)).context("the customer origin")?,
            bind(config.web.customer_listen, "web.customer_listen").await?,
        ),
        (
            approval_web::host(web).context("the host origin")?,
            bind(config.web.host_listen, "web.host_listen").await?,
        ),
    ])
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on `{address}` (`{key}`)"))
}

async fn serve_web(router: Router, listener: TcpListener, mut stop: Receiver<bool>) -> Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stopped = async move {
        stop.wait_for(|stop| *stop)
            .await
            .map(drop)
            .unwrap_or_default();
    };
    axum::serve(listener, service)
        .with_graceful_shutdown(stopped)
        .await
        .context("the web side")
}
