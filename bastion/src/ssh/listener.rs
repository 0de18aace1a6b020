//! Takes connections. Before anybody has proven anything: few places (`gate`), a deadline for the
//! login whatever is sent, and not one row written.

use super::connection::{self, Connection, stopped};
use super::gate::{Entry, Gate, Place};
use super::handler::Handler;
use super::{CHANNEL_QUEUE, Front, SSH_ID, WINDOW, algorithms};
use crate::clock;
use anyhow::Result;
use russh::keys::Certificate;
use russh::server::Config;
use russh::{MethodKind, MethodSet, SshId};
use std::borrow::Cow;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// Takes connections until `stop` turns true; then ends them all, sealed.
pub(crate) async fn run(
    front: Arc<Front>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let config = Arc::new(server_config(&front, &[MethodKind::PublicKey], &[]));
    let gate = Gate::new(&front.config.ssh);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some((stream, socket)) = twice(stream) else {
                        debug!(%peer, "the socket was gone");
                        continue;
                    };
                    let Some(entry) = gate.enter(peer.ip(), severing(&socket), clock::monotonic()) else {
                        debug!(%peer, "turned away: too many connections");
                        continue;
                    };
                    let connection = Came { stream, socket, peer, entry };
                    let (front, config, stop) = (Arc::clone(&front), Arc::clone(&config), stop.clone());
                    connections.spawn(attend(front, config, connection, stop));
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

/// A connection that was let through the gate.
struct Came {
    stream: TcpStream,
    socket: Arc<std::net::TcpStream>,
    peer: SocketAddr,
    entry: Entry,
}

/// One connection, over a socket.
async fn attend(front: Arc<Front>, config: Arc<Config>, came: Came, stop: watch::Receiver<bool>) {
    let mut entry = came.entry;
    let stranger = entry.stranger.take();
    let progress = stranger.as_ref().map(Place::progress).unwrap_or_default();
    let source = came.peer.ip().to_canonical();
    let connection = Connection::new(front, source, progress, stop);
    let handler = Handler::new(Arc::clone(&connection));
    let logged_in = move || stranger.map(Place::logged_in).unwrap_or_default();
    let sever = severing(&came.socket);
    connection::attend(connection, config, came.stream, handler, logged_in, sever).await;
    drop(entry);
}

/// The socket once to read and write, and once to shut down whatever becomes of the first.
fn twice(stream: TcpStream) -> Option<(TcpStream, Arc<std::net::TcpStream>)> {
    stream.set_nodelay(true).ok()?;
    let stream = stream.into_std().ok()?;
    let socket = Arc::new(stream.try_clone().ok()?);
    Some((TcpStream::from_std(stream).ok()?, socket))
}

fn severing(socket: &Arc<std::net::TcpStream>) -> impl Fn() + Send + use<> {
    let socket = Arc::clone(socket);
    move || {
        socket.shutdown(Shutdown::Both).ok();
    }
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
    let algorithms = front.config.ssh.algorithms;
    let for_gcm = algorithms::where_gcm_is_known(algorithms);
    let for_gcm = for_gcm.map(|preferred| Arc::new(config(preferred, None)));
    config(algorithms::offered(algorithms), for_gcm)
}
