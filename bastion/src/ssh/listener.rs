//! Takes connections. Before anybody has proven anything: a cap on all of them, one per source
//! address, a deadline for the login whatever is sent, and not one row written.

use super::connection::{self, Connection, stopped};
use super::handler::Handler;
use super::{CHANNEL_QUEUE, Front, SSH_ID, WINDOW, preferred, preferred_over_gcm};
use anyhow::Result;
use russh::keys::Certificate;
use russh::server::Config;
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

/// Takes connections until `stop` turns true; then ends them all, sealed.
pub(crate) async fn run(
    front: Arc<Front>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let config = Arc::new(server_config(&front, &[MethodKind::PublicKey], &[]));
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

/// One connection, over a socket.
async fn attend(
    front: Arc<Front>,
    config: Arc<Config>,
    stream: TcpStream,
    peer: SocketAddr,
    mut entry: Entry,
    stop: watch::Receiver<bool>,
) {
    let Some((stream, socket)) = twice(stream) else {
        debug!(%peer, "the socket was gone");
        return;
    };
    let connection = Connection::new(front, peer.ip().to_canonical(), stop);
    let handler = Handler::new(Arc::clone(&connection));
    let unauthenticated = entry.unauthenticated.take();
    let logged_in = move || drop(unauthenticated);
    let sever = move || {
        socket.shutdown(Shutdown::Both).ok();
    };
    connection::attend(connection, config, stream, handler, logged_in, sever).await;
    drop(entry);
}

/// The socket once to read and write, and once to shut down whatever becomes of the first.
fn twice(stream: TcpStream) -> Option<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true).ok()?;
    let stream = stream.into_std().ok()?;
    let socket = stream.try_clone().ok()?;
    Some((TcpStream::from_std(stream).ok()?, socket))
}

/// What every connection of operators begins with.
pub(crate) fn server_config(
    front: &Front,
    methods: &[MethodKind],
    certificates: &[Certificate],
) -> Config {
    let config = |preferred, for_gcm| Config {
        server_id: SshId::Standard(Cow::Borrowed(SSH_ID)),
        methods: MethodSet::from(methods),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![front.keys.host.clone()],
        certificates: certificates.to_vec(),
        window_size: WINDOW,
        channel_buffer_size: CHANNEL_QUEUE,
        preferred,
        for_gcm,
        max_auth_attempts: front.config.ssh.max_attempts,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    };
    let for_gcm = config(preferred_over_gcm(), None);
    config(preferred(), Some(Arc::new(for_gcm)))
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
