//! Replaying a recording: the purpose is asked and traced first, and only then are bytes shown, to
//! that person, in that sign-in, for an hour.
//!
//! INVARIANT: what opens a recording is the log itself. Without the entry there is no replay.

use crate::error::Problem;
use crate::guard::WithPlayer;
use crate::host::session::session;
use crate::host::verdict;
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use crate::site::Site;
use crate::vocabulary::Badge;
use ::access::audit::hex;
use ::access::{Event, Operator, Refusal, Session, Who};
use askama::Template;
use axum::Form;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect, Response};
use recordings::replay::{self, Replay};
use recordings::{ChannelKind, JournalEvent, JournalLine, Micros, keys};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use store::{EntryFilter, WebSession};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

/// The event without which nothing is shown.
pub(crate) const STARTED: &str = "replay.started";
/// How long a replay stays open.
const OPEN_FOR: Duration = Duration::from_hours(1);
/// Replays of one session that are looked through, newest first.
const LOOKED_AT: i64 = 200;
/// Pieces of a recording on their way to the reader, and how large each is at least.
const QUEUED: usize = 8;
const PIECE: usize = 32 * 1024;
const SHORTEST_PURPOSE: usize = 10;
const LONGEST_PURPOSE: usize = 500;

#[derive(Template)]
#[template(path = "host/replay.html")]
struct ReplayPage {
    f: Frame,
    session: String,
    replay: String,
    who: String,
    target: String,
    motive: String,
    channels: Vec<u32>,
    chapters: Vec<Chapter>,
    connections: Vec<Connection>,
    verdict: Badge,
}

/// A connection through the target; without an end where the journal has none.
struct Connection {
    to: String,
    from: String,
    opened: String,
    closed: String,
    sent: String,
    received: String,
}

/// A moment worth jumping to.
struct Chapter {
    /// `1` or nothing where it concerns the whole session.
    channel: Option<u32>,
    /// Seconds since the session started, as the player counts.
    seconds: String,
    clock: String,
    text: String,
}

/// `POST /sessions/{id}/replay`
pub(crate) async fn start(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    AsOperator { operator, visit }: AsOperator,
    Form(form): Form<Wanted>,
) -> Result<Redirect, Problem> {
    let now = site.now();
    visit.must_be_fresh(now)?;
    let one = session(&site, &id).await?;
    not_his_own(&one, &operator)?;
    let purpose = form.purpose()?;
    let replay = format!("re-{}", hex(&site.random::<16>()?));
    let who = Who::Operator(operator.id);
    let event = Event::new(STARTED, who, format!("session {}", one.id), now)
        .of_customer(&one.customer)
        .in_intervention(&one.intervention)
        .in_session(&one.id)
        .with("purpose", purpose)
        .with("replay", &replay)
        .with("sign_in", visit.session.created_at);
    site.store().append(event).await?;
    Ok(Redirect::to(&format!(
        "/sessions/{}/replay/{replay}",
        one.id
    )))
}

/// `GET /sessions/{id}/replay/{replay}`: the player.
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path((id, replay)): Path<(String, String)>,
    f: Frame,
    AsOperator { operator, visit }: AsOperator,
) -> Result<Response, Problem> {
    let one = opened(&site, &id, &replay, &operator, &visit.session).await?;
    let recording = recording(&site, &one).await?;
    let (read, verdict) = tokio::join!(chapters(recording), verdict::of(&site, &one));
    let ((channels, lines), verdict) = (read?, verdict?);
    let page = ReplayPage {
        session: one.id.to_string(),
        replay,
        who: one.operator.to_string(),
        target: format!("{}@{}", one.account, one.target),
        motive: one.motive.clone(),
        channels,
        connections: connections(&lines),
        chapters: lines.iter().filter_map(|line| chapter(line, &f)).collect(),
        verdict: Badge {
            text: f.t(verdict.key()),
            class: verdict.class(),
        },
        f,
    };
    let mut response = page::render(&page)?;
    response.extensions_mut().insert(WithPlayer);
    Ok(response)
}

/// `GET /sessions/{id}/replay/{replay}/{file}`: `journal`, `channel-N.cast` or `channel-N.txt`.
pub(crate) async fn file(
    State(site): State<Arc<Site>>,
    Path((id, replay, file)): Path<(String, String, String)>,
    AsOperator { operator, visit }: AsOperator,
) -> Result<Response, Problem> {
    let wanted = Wish::parse(&file).ok_or(Problem::NotFound)?;
    let one = opened(&site, &id, &replay, &operator, &visit.session).await?;
    let recording = recording(&site, &one).await?;
    if wanted
        .channel()
        .is_some_and(|n| !recording.channels().contains(&n))
    {
        return Err(Problem::NotFound);
    }
    let (sender, receiver) = mpsc::channel(QUEUED);
    spawn_blocking(move || {
        let mut pipe = Pipe::new(sender);
        let written = wanted.write(&recording, &mut pipe);
        if let Err(error) = written.and_then(|()| pipe.flush()) {
            // The reader went away, or the recording does not read to its end: he sees the cut.
            tracing::warn!("a replay was cut: {error}");
            pipe.cut(error);
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([(CONTENT_TYPE, wanted.content_type())], body).into_response())
}

/// The session of a replay that this very person opened in this very sign-in.
async fn opened(
    site: &Site,
    id: &str,
    replay: &str,
    operator: &Operator,
    signed_in: &WebSession,
) -> Result<Session, Problem> {
    let one = session(site, id).await?;
    not_his_own(&one, operator)?;
    let filter = EntryFilter {
        session: Some(one.id.clone()),
        name_prefix: Some(STARTED),
        limit: LOOKED_AT,
        ..EntryFilter::default()
    };
    let who = serde_json::to_value(Who::Operator(operator.id.clone()))
        .map_err(|error| Problem::broken(&error))?;
    let now = site.now();
    let entries = site.store().entries_about(filter).await?;
    let found = entries.iter().any(|entry| {
        let value: Value = serde_json::from_str(&entry.text).unwrap_or_default();
        let is = |path: &str, wanted: &Value| value.pointer(path) == Some(wanted);
        now.since(entry.at) < OPEN_FOR
            && is("/event", &Value::from(STARTED))
            && is("/who", &who)
            && is("/detail/replay", &Value::from(replay))
            && is(
                "/detail/sign_in",
                &Value::from(signed_in.created_at.micros()),
            )
    });
    if found {
        Ok(one)
    } else {
        Err(Problem::NotFound)
    }
}

fn not_his_own(one: &Session, operator: &Operator) -> Result<(), Problem> {
    if one.operator != operator.id {
        return Ok(());
    }
    Err(Problem::Refused(Refusal {
        code: "own_session",
        sentence: format!(
            "`{}` cannot replay a session of his own; ask a second person",
            operator.id
        ),
    }))
}

/// The recording, opened with the customer's key.
async fn recording(site: &Site, one: &Session) -> Result<Replay, Problem> {
    let wrapped = site.store().recording_key(&one.customer).await?;
    let wrapped = wrapped.ok_or_else(|| {
        Problem::broken(&format!(
            "the recording key of `{}` is not kept",
            one.customer
        ))
    })?;
    let aad = one.customer.as_str().as_bytes();
    let private = keys::unwrap_private_key(&site.web.recording_master, &wrapped, aad)
        .map_err(|error| Problem::broken(&error))?;
    let id = recorded(one)?;
    let storage = site.web.recordings.clone();
    blocking(move || replay::open(&storage, &id, private)).await
}

fn recorded(one: &Session) -> Result<recordings::SessionId, Problem> {
    recordings::SessionId::parse(one.id.as_str()).map_err(|error| Problem::broken(&error))
}

/// The channels, and the journal as far as it reads: where it does not, the badge says so.
async fn chapters(recording: Replay) -> Result<(Vec<u32>, Vec<JournalLine>), Problem> {
    blocking(move || {
        let lines = recording.journal().unwrap_or_else(|error| {
            tracing::error!("the journal of a replay does not read: {error}");
            Vec::new()
        });
        Ok((recording.channels().to_vec(), lines))
    })
    .await
}

/// Reads files away from the threads that answer everybody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, replay::ReplayError> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work)
        .await
        .map_err(|error| Problem::broken(&error))?
        .map_err(|error| Problem::broken(&error))
}

fn chapter(line: &JournalLine, f: &Frame) -> Option<Chapter> {
    use recordings::journal::Marker;
    let (channel, text) = match (&line.event, line.event.marker()) {
        (_, Some(Marker::OnChannel(channel, text))) => (Some(channel), text),
        (_, Some(Marker::OnEveryChannel(text))) => (None, text),
        (JournalEvent::ChannelOpened { channel, kind }, None) => (Some(*channel), opening(kind, f)),
        (JournalEvent::SessionEnded { reason }, None) => {
            (None, f.with("chapter-ended", "reason", reason))
        }
        (_, None) => return None,
    };
    Some(Chapter {
        channel,
        seconds: seconds(line.at),
        clock: clock(line.at),
        text,
    })
}

fn opening(kind: &ChannelKind, f: &Frame) -> String {
    match kind {
        ChannelKind::Terminal { .. } => f.t("chapter-terminal"),
        ChannelKind::Exec { command } => f.with("chapter-exec", "command", command),
        ChannelKind::Subsystem { name } => f.with("chapter-subsystem", "name", name),
        ChannelKind::Forward { to, .. } => f.with("chapter-forward", "to", to),
    }
}

/// The connections through the target, in the order in which they were opened.
fn connections(lines: &[JournalLine]) -> Vec<Connection> {
    let mut closed = BTreeMap::new();
    for line in lines {
        if let JournalEvent::ChannelClosed(summary) = &line.event {
            closed.insert(summary.channel, summary);
        }
    }
    let row = |line: &JournalLine| {
        let JournalEvent::ChannelOpened {
            channel,
            kind: ChannelKind::Forward { to, from },
        } = &line.event
        else {
            return None;
        };
        let end = closed.get(channel);
        Some(Connection {
            to: to.clone(),
            from: from.clone(),
            opened: clock(line.at),
            closed: end.map_or_else(String::new, |end| clock(end.closed_at)),
            sent: end.map_or_else(String::new, |end| end.stdin_bytes.to_string()),
            received: end.map_or_else(String::new, |end| end.stdout_bytes.to_string()),
        })
    };
    lines.iter().filter_map(row).collect()
}

fn seconds(at: Micros) -> String {
    let micros = at.0.max(0);
    format!("{}.{:03}", micros / 1_000_000, micros % 1_000_000 / 1000)
}

fn clock(at: Micros) -> String {
    let seconds = at.0.max(0) / 1_000_000;
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds % 3600 / 60,
        seconds % 60
    )
}

/// What is asked of a recording.
#[derive(Clone, Copy)]
enum Wish {
    Journal,
    Cast(u32),
    Transcript(u32),
}

impl Wish {
    fn parse(file: &str) -> Option<Self> {
        if file == "journal" {
            return Some(Self::Journal);
        }
        let (number, ending) = file.strip_prefix("channel-")?.split_once('.')?;
        let number = number.parse().ok()?;
        match ending {
            "cast" => Some(Self::Cast(number)),
            "txt" => Some(Self::Transcript(number)),
            _ => None,
        }
    }

    const fn channel(self) -> Option<u32> {
        match self {
            Self::Journal => None,
            Self::Cast(number) | Self::Transcript(number) => Some(number),
        }
    }

    fn write(self, recording: &Replay, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Journal => recording.write_journal(out),
            Self::Cast(channel) => recording.write_cast(channel, out),
            Self::Transcript(channel) => recording.write_transcript(channel, out),
        }
        .map(drop)
        .map_err(io::Error::other)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Journal => "application/x-ndjson",
            Self::Cast(_) => "application/x-asciicast",
            Self::Transcript(_) => "text/plain; charset=utf-8",
        }
    }
}

/// From the thread that decrypts to the reader, a piece at a time; a slow reader slows it.
struct Pipe {
    sender: Sender<io::Result<Bytes>>,
    held: Vec<u8>,
}

impl Pipe {
    const fn new(sender: Sender<io::Result<Bytes>>) -> Self {
        Self {
            sender,
            held: Vec::new(),
        }
    }

    fn cut(self, error: io::Error) {
        self.sender.blocking_send(Err(error)).ok();
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.held));
        let sent = self.sender.blocking_send(Ok(piece));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Why somebody wants to see a recording.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    purpose: String,
}

impl Wanted {
    fn purpose(&self) -> Result<&str, Problem> {
        let purpose = self.purpose.trim();
        let length = purpose.chars().count();
        let plain = !purpose
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        if plain && (SHORTEST_PURPOSE..=LONGEST_PURPOSE).contains(&length) {
            Ok(purpose)
        } else {
            Err(Problem::Form("replay-purpose"))
        }
    }
}
