//! `ssh -J alice@bastion root@db1.chu-exemple`: the connection that the client asks for to a target
//! ends here. Inside the channel a second SSH server shows a host certificate for that target, takes
//! the person who is in already, and everything is decided, recorded and opened as in any other way.
//!
//! INVARIANT: not one byte goes from such a channel to a target but through a session of its own.

use super::Front;
use super::connection::{self, ChannelPlace, Connection};
use super::handler::{Handler, OperatorChannel};
use super::listener::server_config;
use super::session;
use crate::secrets;
use access::grant::Standing;
use access::{OperatorId, Target, TargetId, Time};
use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::server::{ChannelOpenHandle, Config};
use russh::{ChannelOpenFailure, MethodKind};
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use store::GrantFilter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tracing::warn;

/// The port that clients ask for where nobody says another.
const SSH_PORT: u32 = 22;
/// How long a host certificate is valid before and after it is made.
const CLOCK_SKEW: Duration = Duration::from_mins(5);
const CERTIFIED_FOR: Duration = Duration::from_hours(24);
/// Targets that a refusal names.
const MOST_NAMED: usize = 20;

/// Answers a client that asks for a connection to `host` and `port`, in a task of its own.
pub(crate) fn open(
    outer: Arc<Connection>,
    channel: OperatorChannel,
    host: String,
    port: u32,
    reply: ChannelOpenHandle,
    place: ChannelPlace,
) {
    let opening: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(async move { answer(outer, channel, &host, port, reply, place).await });
    tokio::spawn(opening);
}

async fn answer(
    outer: Arc<Connection>,
    channel: OperatorChannel,
    host: &str,
    port: u32,
    reply: ChannelOpenHandle,
    place: ChannelPlace,
) {
    let Some(proven) = outer.proven.get() else {
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
        return;
    };
    if let Err(barred) = session::may_stay(&outer.front, proven).await {
        let (code, sentence) = barred.in_short();
        outer.trace_refused("direct-tcpip", code, &sentence).await;
        let said = format!("Refused ({code}): {sentence}");
        reply
            .reject_saying(ChannelOpenFailure::AdministrativelyProhibited, said)
            .await;
        return;
    }
    let config = match registered(&outer.front, host, port).await {
        Ok(target) => config_for(&outer.front, &target, crate::clock::now()),
        Err(sentence) => {
            let sentence = match sentence {
                Some(sentence) => sentence.to_owned(),
                None => unknown(&outer, host, port).await,
            };
            outer
                .trace_refused("direct-tcpip", "target_unknown", &sentence)
                .await;
            reply
                .reject_saying(
                    ChannelOpenFailure::AdministrativelyProhibited,
                    format!("Refused (target_unknown): {sentence}"),
                )
                .await;
            return;
        }
    };
    let Some(config) = config else {
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
        return;
    };
    reply.accept().await;
    let inner = Connection::new(
        Arc::clone(&outer.front),
        outer.source,
        Arc::default(),
        outer.stop.clone(),
    );
    if inner.proven.set(proven.clone()).is_err() {
        return;
    }
    let target = host.to_ascii_lowercase();
    let handler = Handler::through(Arc::clone(&inner), target);
    let (line, severed) = Line::over(channel.into_stream());
    let mut jumps = outer.jumps.lock().await;
    // Those that have ended are not kept for the whole of a long connection.
    while jumps.try_join_next().is_some() {}
    let attended = connection::attend(inner, config, line, handler, || (), move || severed.sever());
    jumps.spawn(async move {
        attended.await;
        drop(place);
    });
}

/// The registered target of this name and port; otherwise what is wrong, where that is not the name.
async fn registered(
    front: &Front,
    host: &str,
    port: u32,
) -> std::result::Result<Target, Option<&'static str>> {
    let id = TargetId::parse(&host.to_ascii_lowercase()).map_err(|_| None::<&str>)?;
    match front.store.target(&id).await {
        Ok(Some(target))
            if port == SSH_PORT || target.details.address.ends_with(&format!(":{port}")) =>
        {
            Ok(target)
        }
        Ok(_) => Err(None),
        Err(error) => {
            warn!(%error, "a target could not be read");
            Err(Some("the bastion's database does not answer; try again"))
        }
    }
}

/// Says that there is no such target, and which there are for this person.
async fn unknown(outer: &Connection, host: &str, port: u32) -> String {
    let named = format!("`{}:{port}` is no registered target", host.escape_debug());
    let Some(proven) = outer.proven.get() else {
        return named;
    };
    match targets_of(&outer.front, &proven.operator).await {
        Ok(open) if open.is_empty() => format!("{named}; no target is open to you"),
        Ok(open) => format!("{named}; yours are {}", open.join(", ")),
        Err(error) => {
            warn!(%error, "an operator's targets could not be read");
            named
        }
    }
}

/// The names of the targets that the rights of `operator` reach.
pub(crate) async fn targets_of(
    front: &Front,
    operator: &OperatorId,
) -> std::result::Result<Vec<String>, store::StoreError> {
    let filter = GrantFilter {
        operator: Some(operator.clone()),
        limit: 200,
        ..GrantFilter::default()
    };
    let grants = front.store.grants(filter).await?;
    let now = crate::clock::now();
    let mut names: Vec<String> = grants
        .into_iter()
        .filter(|grant| grant.standing(now) == Standing::InForce)
        .flat_map(|grant| grant.terms.scope.targets)
        .map(|target| target.to_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(MOST_NAMED);
    Ok(names)
}

/// The server of one target: the bastion's own key, certified as that target's.
fn config_for(front: &Front, target: &Target, now: Time) -> Option<Arc<Config>> {
    let certificate = host_certificate(front, &target.id, now)?;
    let methods = [MethodKind::None, MethodKind::PublicKey];
    Some(Arc::new(server_config(front, &methods, &[certificate])))
}

fn host_certificate(front: &Front, target: &TargetId, now: Time) -> Option<Certificate> {
    let seconds = |time: Time| u64::try_from(time.seconds()).ok();
    let key = front.keys.host.public_key();
    let nonce = secrets::random::<16>().ok()?;
    let (after, before) = (
        seconds(now.minus(CLOCK_SKEW))?,
        seconds(now.plus(CERTIFIED_FOR))?,
    );
    let mut builder = Builder::new(nonce, key, after, before).ok()?;
    builder.cert_type(CertType::Host).ok()?;
    builder.valid_principal(target.as_str()).ok()?;
    builder.key_id(format!("bastion {target}")).ok()?;
    builder.sign(&front.keys.host_ca).ok()
}

/// A stream that can be taken away from whoever reads and writes it: then reading is at its end and
/// writing fails.
struct Line<S> {
    stream: S,
    severed: Arc<AtomicBool>,
    told: Pin<Box<OwnedNotified>>,
}

/// Takes a [`Line`] away.
struct Severed {
    severed: Arc<AtomicBool>,
    tell: Arc<Notify>,
}

impl Severed {
    fn sever(&self) {
        self.severed.store(true, Ordering::Release);
        self.tell.notify_one();
    }
}

impl<S> Line<S> {
    fn over(stream: S) -> (Self, Severed) {
        let (severed, tell) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let line = Self {
            stream,
            severed: Arc::clone(&severed),
            told: Box::pin(Arc::clone(&tell).notified_owned()),
        };
        (line, Severed { severed, tell })
    }

    /// Whether it was severed; if not, the task is woken when it is.
    fn is_severed(&mut self, context: &mut Context<'_>) -> bool {
        self.severed.load(Ordering::Acquire) || self.told.as_mut().poll(context).is_ready()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.is_severed(context) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        // Polled by the task that reads, so that one waker is enough.
        if self.is_severed(context) {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.is_severed(context) {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.is_severed(context) {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}
