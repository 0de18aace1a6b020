//! `-L`, `-D`, `-W` and what VS Code opens: a connection through a target to a host and port that
//! the plan lists. The target makes it, never the bastion. It is a channel of the session: decided,
//! recorded, counted, cut and ended like any other, and where there is no session yet, it opens one.
//!
//! INVARIANT: what the target is asked for is what was decided on, in the same letters.

use super::connection::{ChannelPlace, Connection};
use super::filter::Filter;
use super::handler::{self, OperatorChannel};
use super::login::Destination;
use super::relay::{End, FarEnd};
use super::session::{self, Covers, Live, NotOpened, Running, Wish};
use access::forward::Endpoint;
use recordings::{Answer, ChannelKind};
use russh::ChannelOpenFailure;
use russh::server::ChannelOpenHandle;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tracing::warn;

/// What clients call it (RFC 4254, 7.2).
const REQUEST: &str = "direct-tcpip";

/// A connection that a client asks for.
pub(crate) struct Asked {
    pub(crate) channel: OperatorChannel,
    pub(crate) host: String,
    pub(crate) port: u32,
    /// What connected to the client, as the client says.
    pub(crate) from: String,
    pub(crate) from_port: u32,
    pub(crate) reply: ChannelOpenHandle,
    pub(crate) place: ChannelPlace,
}

/// Why there is no connection: for the client, and for the person.
struct Refused {
    reason: ChannelOpenFailure,
    said: String,
}

impl Refused {
    fn prohibited(said: impl Into<String>) -> Self {
        Self {
            reason: ChannelOpenFailure::AdministrativelyProhibited,
            said: said.into(),
        }
    }

    fn failed(said: impl Into<String>) -> Self {
        Self {
            reason: ChannelOpenFailure::ConnectFailed,
            said: said.into(),
        }
    }
}

/// Answers a client that asks for a connection through `destination`, in a task of its own.
pub(crate) fn open(connection: Arc<Connection>, destination: Destination, asked: Asked) {
    let opening: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(async move { answer(&connection, &destination, asked).await });
    tokio::spawn(opening);
}

async fn answer(connection: &Arc<Connection>, destination: &Destination, asked: Asked) {
    let opened = match Endpoint::parse(&asked.host, asked.port) {
        Ok(to) => session_for(connection, destination, &to)
            .await
            .map(|live| (live, to)),
        Err(error) => Err(invalid(connection, &error.to_string()).await),
    };
    match opened {
        Ok((live, to)) => live.forward(connection, to, asked).await,
        Err(refused) => reject(asked.reply, refused).await,
    }
}

/// The client shows it on one line.
async fn reject(reply: ChannelOpenHandle, refused: Refused) {
    let words: Vec<&str> = refused.said.split_whitespace().collect();
    reply.reject_saying(refused.reason, words.join(" ")).await;
}

async fn invalid(connection: &Connection, sentence: &str) -> Refused {
    const CODE: &str = "destination_invalid";
    connection.trace_refused(REQUEST, CODE, sentence).await;
    Refused::prohibited(format!("Refused ({CODE}): {sentence}."))
}

/// The session it belongs to. Where there is none, the refused request is traced beside the refused
/// session.
async fn session_for(
    connection: &Arc<Connection>,
    destination: &Destination,
    to: &Endpoint,
) -> Result<Arc<Live>, Refused> {
    let over = || Refused::failed("the connection has ended");
    let proven = connection.proven.get().ok_or_else(over)?;
    let wish = Wish::forward(to);
    let opened = connection.session_to(proven, destination, &wish, "");
    let not_opened = match opened.await.ok_or_else(over)? {
        Ok(live) => return Ok(live),
        Err(not_opened) => not_opened,
    };
    let (code, _) = not_opened.in_short();
    connection
        .trace_refused(REQUEST, code, &not_covered(to))
        .await;
    let said = handler::refusal(&connection.front, proven, destination, &not_opened);
    Err(match not_opened {
        NotOpened::Denied(_) | NotOpened::Several(_) => Refused::prohibited(said),
        NotOpened::Target(_) | NotOpened::Unavailable(_) => Refused::failed(said),
    })
}

fn not_covered(to: &Endpoint) -> String {
    format!("a connection to `{to}` is not covered")
}

impl Live {
    /// Opens the connection, and passes on what goes through it until it is over.
    async fn forward(self: &Arc<Self>, connection: &Connection, to: Endpoint, asked: Asked) {
        if let Err(refused) = self.may_forward(connection, &to).await {
            return reject(asked.reply, refused).await;
        }
        let number = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.running.send_modify(|running| *running += 1);
        self.run_forward(connection, &to, asked, number).await;
        self.channels().remove(&number);
        self.running.send_modify(|running| *running -= 1);
    }

    /// Asks the decision; a refusal is in the journal and in the audit log.
    async fn may_forward(&self, connection: &Connection, to: &Endpoint) -> Result<(), Refused> {
        let front = &connection.front;
        let Err(refused) = self.still_permits(front, &Wish::forward(to)).await else {
            return Ok(());
        };
        if connection.may_be_refused_again() {
            let code = refused.codes.first().copied().unwrap_or_default();
            self.journal_refused(REQUEST, code, &not_covered(to)).await;
            let event = self
                .event("request.refused")
                .with("request", REQUEST)
                .with("source", connection.source)
                .with("forward_to", to.to_string())
                .with("codes", refused.codes);
            session::append(front, event).await;
        }
        Err(Refused::prohibited(refused.said))
    }

    /// The recording knows of the connection before the target does.
    async fn run_forward(
        self: &Arc<Self>,
        connection: &Connection,
        to: &Endpoint,
        asked: Asked,
        number: u32,
    ) {
        const NOT_RECORDED: &str = "the session can no longer be recorded, so nothing was opened";
        let (orders, mut inbox) = mpsc::channel(4);
        let running = Running {
            orders,
            covers: Covers::Forward(to.clone()),
            terminal: false,
        };
        self.channels().insert(number, running);
        if self.is_cut() {
            self.channels().remove(&number);
        }
        let kind = ChannelKind::Forward {
            to: to.to_string(),
            from: origin(&asked),
        };
        let recorded = self.recorder.open_channel(self.now(), number, kind).await;
        if recorded.is_err() {
            return reject(asked.reply, Refused::failed(NOT_RECORDED)).await;
        }
        let opened = tokio::select! {
            biased;
            // Whatever the order: a connection that is not there yet is none.
            _ = inbox.recv() => Err(Refused::failed("this session is over; connect again")),
            opened = self.connect(to, &asked, number) => opened,
        };
        match opened {
            Ok(target) => {
                asked.reply.accept().await;
                let (front, filter, far_end) = (&connection.front, Filter::Plain, FarEnd::Socket);
                self.carry(
                    front,
                    number,
                    asked.channel,
                    target,
                    inbox,
                    &filter,
                    far_end,
                    None,
                )
                .await;
            }
            Err(refused) => {
                if let Err(error) = self.recorder.close_channel(self.now(), number).await {
                    warn!(session.id = %self.id(), %error, "a channel's end could not be recorded");
                }
                reject(asked.reply, refused).await;
            }
        }
        drop(asked.place);
    }

    /// Has the target connect, and writes its answer down.
    async fn connect(
        &self,
        to: &Endpoint,
        asked: &Asked,
        number: u32,
    ) -> Result<End<russh::client::Msg>, Refused> {
        let from = asked
            .from
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let opened = self.upstream.open_connection(to, from, asked.from_port);
        let opened = opened.await;
        let answer = match &opened {
            Ok(_) => Answer::Success,
            Err(_) => Answer::Failure,
        };
        self.journal_request(number, REQUEST, &to.to_string(), answer)
            .await
            .map_err(Refused::failed)?;
        opened.map(End::from).map_err(|reason| Refused {
            said: format!("the target did not open `{to}`: {}", why(&reason)),
            reason,
        })
    }
}

/// The target's own reason, in words (RFC 4254, 5.1).
fn why(reason: &ChannelOpenFailure) -> &str {
    match reason {
        ChannelOpenFailure::AdministrativelyProhibited => "it does not permit it",
        ChannelOpenFailure::ConnectFailed => "there was no connection from there",
        ChannelOpenFailure::UnknownChannelType => "it does not know such connections",
        ChannelOpenFailure::ResourceShortage => "it has no room for it",
        ChannelOpenFailure::Other { .. } => "its reason has no name",
    }
}

/// What connected to the client, fit for the journal.
fn origin(asked: &Asked) -> String {
    const LONGEST: usize = 64;
    let host: String = asked.from.escape_debug().take(LONGEST).collect();
    format!("{host} port {}", asked.from_port)
}
