//! Takes connections. Before anybody has proven anything: a cap on all of them, one per source
//! address, a deadline for the login whatever is sent, and not one row written.

use super::handler::{Connection, Handler};
use super::{CHANNEL_QUEUE, Front, SSH_ID, WINDOW, preferred};
use anyhow::{Context as _, Result};
use russh::server::{Config, run_stream};
use russh::{MethodKind, MethodSet, SshId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// How long a connection has to say its last words once it has to end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Takes connections until `stop` turns true; then ends them all, sealed.
pub(crate) async fn run(
    front: Arc<Front>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let config = Arc::new(server_config(&front));
    let gate = Arc::new(Gate::new(&front));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(entry) = gate.enter(peer.ip()) else {
                        debug!(%peer, "turned away: too many connections");
                        continue;
                    };
                    let (front, config, stop) = (Arc::clone(&front), Arc::clone(&config), stop.clone());
                    connections.spawn(attend(front, config, stream, peer, entry, stop));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others must end first.
                    warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's end was not waited for");
                }
            }
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    info!(connections = connections.len(), "stopping");
    // Each cuts its own session.
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// One connection, and the end of its session whatever became of it.
///
/// INVARIANT: a panic ends one session, never the bastion; and it ends it sealed.
async fn attend(
    front: Arc<Front>,
    config: Arc<Config>,
    stream: TcpStream,
    peer: SocketAddr,
    entry: Entry,
    stop: watch::Receiver<bool>,
) {
    let connection = Connection::new(Arc::clone(&front), peer.ip().to_canonical());
    let served = serve(front, config, stream, Arc::clone(&connection), entry, stop);
    match tokio::spawn(served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, error = format!("{error:#}"), "connection ended"),
        Err(error) => warn!(%peer, %error, "a connection ended with a panic"),
    }
    connection.finish().await;
}

/// One connection, from its first byte to its last.
async fn serve(
    front: Arc<Front>,
    config: Arc<Config>,
    stream: TcpStream,
    connection: Arc<Connection>,
    entry: Entry,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    stream.set_nodelay(true).context("the socket")?;
    let stream = stream.into_std().context("the socket")?;
    let socket = stream.try_clone().context("the socket")?;
    let stream = TcpStream::from_std(stream).context("the socket")?;
    let grace = tokio::time::sleep(Duration::from_secs(front.config.ssh.login_grace_s));
    tokio::pin!(grace);

    let handler = Handler::new(Arc::clone(&connection));
    let mut session = tokio::select! {
        started = run_stream(config, stream, handler) => started.context("no SSH")?,
        () = &mut grace => {
            socket.shutdown(Shutdown::Both).ok();
            anyhow::bail!("no SSH within the login's time");
        }
    };
    let handle = session.handle();
    let mut entry = entry;
    let mut over = false;
    let result = loop {
        tokio::select! {
            result = &mut session => {
                over = true;
                break result.context("the connection");
            }
            () = connection.logged_in.notified() => entry.logged_in(),
            () = &mut grace, if entry.unauthenticated.is_some() => {
                socket.shutdown(Shutdown::Both).ok();
                break Err(anyhow::anyhow!("no login in time"));
            }
            () = connection.end.notified() => {
                break end(&handle, &mut session, &mut over).await;
            }
            () = stopped(&mut stop) => {
                if let Some(live) = connection.live().await {
                    live.cut("the bastion is being stopped").await;
                }
                break end(&handle, &mut session, &mut over).await;
            }
        }
    };
    // Whatever is left of it: the library's task ends when its socket does.
    socket.shutdown(Shutdown::Both).ok();
    if !over {
        drop(tokio::time::timeout(LAST_WORDS, &mut session).await);
    }
    result
}

/// Resolves once the bastion is asked to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone stops too.
    stop.wait_for(|stop| *stop)
        .await
        .map(drop)
        .unwrap_or_default();
}

async fn end(
    handle: &russh::server::Handle,
    session: &mut russh::server::RunningSession<Handler>,
    over: &mut bool,
) -> Result<()> {
    let goodbye = handle.disconnect(
        russh::Disconnect::ByApplication,
        "the session has ended".to_owned(),
        "en".to_owned(),
    );
    drop(tokio::time::timeout(LAST_WORDS, goodbye).await);
    match tokio::time::timeout(LAST_WORDS, session).await {
        Ok(result) => {
            *over = true;
            result.context("the connection")
        }
        Err(_) => Ok(()),
    }
}

fn server_config(front: &Front) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed(SSH_ID)),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![front.keys.host.clone()],
        window_size: WINDOW,
        channel_buffer_size: CHANNEL_QUEUE,
        preferred: preferred(),
        max_auth_attempts: front.config.ssh.max_attempts,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    }
}

/// Counts connections: all of them, and those of one address that have not logged in.
struct Gate {
    all: Arc<Semaphore>,
    unauthenticated: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most_by_address: usize,
}

/// One connection's place. Dropped when the connection ends.
struct Entry {
    _all: OwnedSemaphorePermit,
    unauthenticated: Option<(OwnedSemaphorePermit, FromAddress)>,
}

/// One of an address's unauthenticated connections.
struct FromAddress {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Gate {
    fn new(front: &Front) -> Self {
        let ssh = &front.config.ssh;
        Self {
            all: Arc::new(Semaphore::new(ssh.max_connections)),
            unauthenticated: Arc::new(Semaphore::new(ssh.max_unauthenticated)),
            by_address: Arc::default(),
            most_by_address: ssh.max_unauthenticated_per_address,
        }
    }

    /// A place for one more connection from `address`, if there is one.
    fn enter(&self, address: IpAddr) -> Option<Entry> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let unauthenticated = Arc::clone(&self.unauthenticated).try_acquire_owned().ok()?;
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= self.most_by_address {
            return None;
        }
        *count += 1;
        drop(by_address);
        let from = FromAddress {
            address,
            by_address: Arc::clone(&self.by_address),
        };
        Some(Entry {
            _all: all,
            unauthenticated: Some((unauthenticated, from)),
        })
    }
}

impl Entry {
    /// Gives the place of an unauthenticated connection back; the connection goes on.
    fn logged_in(&mut self) {
        self.unauthenticated = None;
    }
}

impl Drop for FromAddress {
    fn drop(&mut self) {
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
