//! One channel between the operator and the target, from the target's answer to `shell`, `exec` or
//! `subsystem` to the close: what either side sends is recorded, then passed on, in its order.
//!
//! It does not decide: which requests may pass is `access::request`, asked in the handler's callbacks.
//! The copies of those requests that the library also queues on the channel are skipped here; what
//! has no answer (window-change, signal, break, end-of-write) is passed on from the queue, so that
//! its place among the data is kept.
//!
//! INVARIANT: nothing reaches the operator or the target before it was handed to the recorder.
//!
//! How it stays small and never hangs. The patched library (`bastion/russh`) gives a sender its
//! window back when `wait` hands the data out here; and each direction has one message in hand, and
//! waits for the other side's window with it. So a reader that stops, stops its writer, through
//! both connections, and nothing else: at most one window per direction is queued. The two
//! directions never wait for each other, and neither waits for a channel that is gone. The work on one
//! message is allocated when it comes: most relays are idle, and keep no room for it.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::filter::{Filter, Unpassable};
use super::more_time::{self, MoreTime, Typed, Wanted};
use bytes::Bytes;
use recordings::{JournalEvent, Micros, Recorder, RecordingFailed, Side, Stream};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// For the last words to an operator or a target that may not be reading.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a target may still take in what the operator sent before he left, and end.
const GRACE: Duration = Duration::from_secs(5);

const UNRECORDED: &str = "the session can no longer be recorded, so it has ended";
const STDERR: u32 = 1;
const END_OF_WRITE: &str = "eow@openssh.com";
const BREAK: &str = "break";

/// One side's half of the channel pair. `S` is the library's message type of that side.
pub(crate) struct End<S: From<(ChannelId, ChannelMsg)>> {
    pub(crate) read: ChannelReadHalf,
    pub(crate) write: ChannelWriteHalf<S>,
}

impl<S> From<Channel<S>> for End<S>
where
    S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    fn from(channel: Channel<S>) -> Self {
        let (read, write) = channel.split();
        Self { read, write }
    }
}

/// What the session tells a running relay.
#[derive(Debug)]
pub(crate) enum Order {
    /// A sentence for the operator's terminal, such as a warning that the window ends.
    Say(String),
    /// A last sentence, and the end.
    Cut(String),
}

/// Why a relay ended. Both channels are closed then, as far as their connections still move: after
/// [`RelayEnd::Cut`] the owner also ends the connections.
#[derive(Debug)]
pub(crate) enum RelayEnd {
    /// The target closed, and all it sent was handed to the operator.
    Finished,
    /// The operator closed his channel or his connection is gone.
    OperatorLeft,
    /// The connection to the target is gone without a close.
    TargetLost,
    Cut(String),
    RecordingFailed(RecordingFailed),
}

/// When data last came from each side: what an idle limit asks. In [`Micros`] of the session.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) operator: AtomicI64,
    pub(crate) target: AtomicI64,
}

/// What the target has on the channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FarEnd {
    /// A shell, a command or a subsystem: it has an exit status, takes signals, and its stderr is
    /// where the bastion has its own words.
    Program,
    /// A connection from there: two streams of bytes and their ends.
    Socket,
}

/// Where a channel's traffic is written down before it is passed on.
pub(crate) struct Tap<'a, C> {
    pub(crate) recorder: &'a Recorder,
    /// The channel's number in the recording.
    pub(crate) channel: u32,
    pub(crate) clock: C,
    pub(crate) activity: &'a Activity,
    pub(crate) filter: &'a Filter,
    pub(crate) far_end: FarEnd,
    /// Where more time is asked for; only from a terminal.
    pub(crate) asks: Option<mpsc::Sender<Wanted>>,
}

/// Relays until one side has closed, a connection is lost, the recorder fails, or `orders` cuts (or
/// is dropped: a relay without its session ends). Takes at most [`FAREWELL`] to end, twice.
pub(crate) async fn relay<O, T, C>(
    operator: End<O>,
    target: End<T>,
    tap: Tap<'_, C>,
    mut orders: mpsc::Receiver<Order>,
) -> RelayEnd
where
    O: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    T: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    C: Fn() -> Micros + Sync,
{
    let link = Link {
        operator: operator.write,
        target: target.write,
        tap,
        said: Said::default(),
    };
    let end = {
        let upward = pin!(link.upward(operator.read));
        let downward = pin!(link.downward(target.read));
        let ordered = pin!(link.ordered(&mut orders));
        tokio::select! {
            biased;
            end = ordered => end,
            failed = link.tap.recorder.failed() => RelayEnd::RecordingFailed(failed),
            end = downward => end,
            end = upward => end,
        }
    };
    Box::pin(link.close(&end)).await;
    end
}

/// What the operator was told already: nothing follows an end of file, and a program ends once.
#[derive(Debug, Default)]
struct Said {
    eof: AtomicBool,
    exit: AtomicBool,
}

struct Link<'a, O, T, C>
where
    O: From<(ChannelId, ChannelMsg)>,
    T: From<(ChannelId, ChannelMsg)>,
{
    operator: ChannelWriteHalf<O>,
    target: ChannelWriteHalf<T>,
    tap: Tap<'a, C>,
    said: Said,
}

/// The operator's stream to the program.
enum Input {
    Open,
    Ended,
}

/// Why a message was not passed on.
enum Stop {
    /// The side it writes to is gone.
    NotTaken,
    Recording(RecordingFailed),
    /// The channel ends with this sentence.
    Broken(String),
}

impl Stop {
    /// The relay's end, where this is more than one side's that takes nothing any more.
    fn end(self) -> Option<RelayEnd> {
        match self {
            Self::NotTaken => None,
            Self::Recording(failed) => Some(RelayEnd::RecordingFailed(failed)),
            Self::Broken(sentence) => Some(RelayEnd::Cut(sentence)),
        }
    }
}

impl From<Unpassable> for Stop {
    fn from(unpassable: Unpassable) -> Self {
        match unpassable {
            Unpassable::Recording(failed) => Self::Recording(failed),
            Unpassable::Broken(sentence) => Self::Broken(sentence),
        }
    }
}

impl From<RecordingFailed> for Stop {
    fn from(failed: RecordingFailed) -> Self {
        Self::Recording(failed)
    }
}

impl From<russh::Error> for Stop {
    fn from(_: russh::Error) -> Self {
        Self::NotTaken
    }
}

impl<O, T, C> Link<'_, O, T, C>
where
    O: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    T: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    C: Fn() -> Micros + Sync,
{
    /// From the operator to the target. Ends when the operator has left.
    async fn upward(&self, mut operator: ChannelReadHalf) -> RelayEnd {
        let pump = async {
            let mut input = Input::Open;
            let mut on = Vec::new();
            let mut typing = self.tap.asks.is_some().then(MoreTime::new);
            loop {
                let message = match next_of(&mut operator, typing.as_ref()).await {
                    Ok(Some(message)) if !self.concerns(&message) => continue,
                    Ok(None) => break,
                    next => next.ok().flatten(),
                };
                let closed = matches!(message, Some(ChannelMsg::Close));
                let passed = if closed {
                    Box::pin(self.operator_closed(&input)).await
                } else {
                    if matches!(message, Some(ChannelMsg::Eof)) {
                        input = Input::Ended;
                    }
                    let work = self.message_or_patience(message, typing.as_mut(), &mut on);
                    Box::pin(work).await
                };
                match passed {
                    Ok(()) if closed => self.operator.disconnected().await,
                    Ok(()) => {}
                    Err(stop) => match stop.end() {
                        Some(end) => return end,
                        // The target takes no more; what it sent before is still on its way down.
                        None => return pending().await,
                    },
                }
            }
            RelayEnd::OperatorLeft
        };
        tokio::select! {
            end = pump => end,
            () = self.abandoned() => RelayEnd::OperatorLeft,
        }
    }

    /// What was typed at a terminal goes to the bastion's own questions first. Nothing, or anything
    /// else, gives what was kept back to the target.
    async fn message_or_patience(
        &self,
        message: Option<ChannelMsg>,
        typing: Option<&mut MoreTime>,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Stop> {
        match (message, typing) {
            (Some(ChannelMsg::Data { data }), Some(typing)) => {
                self.typed(typing.typed(data), on).await
            }
            (message, typing) => {
                if let Some(kept) = typing.and_then(MoreTime::release) {
                    self.input(kept, on).await?;
                }
                match message {
                    Some(message) => self.message_of_operator(message, on).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn typed(&self, typed: Typed, on: &mut Vec<Bytes>) -> Result<(), Stop> {
        if let Some(pass) = typed.pass {
            return self.input(pass, on).await;
        }
        // He is there, though the target hears nothing of it.
        let activity = &self.tap.activity.operator;
        activity.store(self.now().0, Ordering::Relaxed);
        if !typed.show.is_empty() {
            // An operator who does not read misses the question.
            drop_late(timeout(FAREWELL, self.show_recorded(typed.show.into())).await)?;
        }
        if let (Some(wanted), Some(asks)) = (typed.wanted, &self.tap.asks) {
            // One that is full is about to be answered.
            asks.try_send(wanted).ok();
        }
        Ok(())
    }

    /// A client closes as soon as nothing more goes either way, and then waits for the exit status;
    /// or it closes because its person has gone. Like sshd: the program's input and output end, and
    /// what it makes of that is still told.
    async fn operator_closed(&self, input: &Input) -> Result<(), Stop> {
        if matches!(input, Input::Open) {
            self.target.eof().await?;
        }
        if !self.said.eof.load(Ordering::Relaxed) {
            self.target
                .other_request(END_OF_WRITE.to_owned(), Bytes::new())
                .await?;
        }
        Ok(())
    }

    /// Completes when there is nobody left to wait for the target's end, or it has not come: also
    /// where the pump does not see the close, because what was sent before waits for the target.
    async fn abandoned(&self) {
        self.operator.closed().await;
        tokio::time::sleep(GRACE).await;
        if self.said.eof.load(Ordering::Relaxed) {
            self.operator.disconnected().await;
        }
    }

    /// From the target to the operator. Ends when the target has closed or is lost. Nothing else
    /// writes data to the operator, so that what the filter answers itself falls between two packets
    /// of the target's.
    async fn downward(&self, mut target: ChannelReadHalf) -> RelayEnd {
        let mut on = Vec::new();
        loop {
            let passed = tokio::select! {
                biased;
                message = target.wait() => match message {
                    Some(ChannelMsg::Close) => return RelayEnd::Finished,
                    Some(message) if !self.concerns(&message) => Ok(()),
                    Some(message) => Box::pin(self.message_of_target(message, &mut on)).await,
                    None => return RelayEnd::TargetLost,
                },
                answers = self.tap.filter.answers() => Box::pin(self.answer(answers)).await,
            };
            // An operator who takes no more data may still be told of the end.
            if let Err(stop) = passed
                && let Some(end) = stop.end()
            {
                return end;
            }
        }
    }

    /// Whether there is anything at the far end that this could be about.
    fn concerns(&self, message: &ChannelMsg) -> bool {
        match self.tap.far_end {
            FarEnd::Program => true,
            FarEnd::Socket => matches!(
                message,
                ChannelMsg::Data { .. } | ChannelMsg::Eof | ChannelMsg::Close
            ),
        }
    }

    async fn ordered(&self, orders: &mut mpsc::Receiver<Order>) -> RelayEnd {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Say(sentence) => {
                    // An operator who does not read misses a warning, not the cut.
                    let said = timeout(FAREWELL, Box::pin(self.say(&sentence))).await;
                    if let Err(stop) = drop_late(said)
                        && let Some(end) = stop.end()
                    {
                        return end;
                    }
                }
                Order::Cut(sentence) => return RelayEnd::Cut(sentence),
            }
        }
        RelayEnd::Cut("the session has ended".to_owned())
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the library's messages are open-ended, and what is not named does not pass"
    )]
    async fn message_of_operator(
        &self,
        message: ChannelMsg,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Stop> {
        match message {
            ChannelMsg::Data { data } => self.input(data, on).await,
            ChannelMsg::Eof => {
                self.journal(JournalEvent::Eof {
                    channel: self.tap.channel,
                    side: Side::Operator,
                })
                .await?;
                Ok(self.target.eof().await?)
            }
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                pix_width,
                pix_height,
            } => {
                let Tap {
                    recorder, channel, ..
                } = &self.tap;
                recorder
                    .resize(self.now(), *channel, col_width, row_height)
                    .await?;
                Ok(self
                    .target
                    .window_change(col_width, row_height, pix_width, pix_height)
                    .await?)
            }
            ChannelMsg::Signal { signal } => {
                self.journal(JournalEvent::Signal {
                    channel: self.tap.channel,
                    signal: format!("{signal:?}"),
                })
                .await?;
                Ok(self.target.signal(signal).await?)
            }
            ChannelMsg::OtherRequest { name, data } => self.other_request(name, data).await,
            // Stderr towards a program does not exist; requests are answered in the callbacks.
            _ => Ok(()),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the library's messages are open-ended, and what is not named does not pass"
    )]
    async fn message_of_target(
        &self,
        message: ChannelMsg,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Stop> {
        let channel = self.tap.channel;
        match message {
            ChannelMsg::Data { data } => self.output(data, on).await,
            ChannelMsg::ExtendedData { data, ext } => {
                self.target_spoke();
                self.record_output(Stream::Stderr, &data).await?;
                Ok(self.operator.extended_data_bytes(ext, data).await?)
            }
            ChannelMsg::Eof => {
                self.journal(JournalEvent::Eof {
                    channel,
                    side: Side::Target,
                })
                .await?;
                self.said.eof.store(true, Ordering::Relaxed);
                Ok(self.operator.eof().await?)
            }
            ChannelMsg::ExitStatus { exit_status } => {
                self.journal(JournalEvent::Exit {
                    channel,
                    status: exit_status,
                })
                .await?;
                self.said.exit.store(true, Ordering::Relaxed);
                Ok(self.operator.exit_status(exit_status).await?)
            }
            ChannelMsg::ExitSignal {
                signal_name,
                core_dumped,
                error_message,
                lang_tag,
            } => {
                self.journal(JournalEvent::ExitSignal {
                    channel,
                    signal: format!("{signal_name:?}"),
                    core_dumped,
                    message: error_message.clone(),
                })
                .await?;
                self.said.exit.store(true, Ordering::Relaxed);
                Ok(self
                    .operator
                    .exit_signal(signal_name, core_dumped, error_message, lang_tag)
                    .await?)
            }
            ChannelMsg::OtherRequest { name, data } if name == END_OF_WRITE => {
                Ok(self.operator.other_request(name, data).await?)
            }
            // Window adjustments are the library's; an answer to nothing asked is nobody's.
            _ => Ok(()),
        }
    }

    /// `on` is empty before and after: it is only kept from one message to the next.
    async fn input(&self, data: Bytes, on: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Tap {
            recorder,
            channel,
            activity,
            filter,
            ..
        } = &self.tap;
        let now = self.now();
        activity.operator.store(now.0, Ordering::Relaxed);
        recorder.input(now, *channel, data.clone()).await?;
        filter.operator_sent(now, data, on).await?;
        for piece in on.drain(..) {
            self.target.data_bytes(piece).await?;
        }
        Ok(())
    }

    async fn output(&self, data: Bytes, on: &mut Vec<Bytes>) -> Result<(), Stop> {
        self.target_spoke();
        self.record_output(Stream::Stdout, &data).await?;
        self.tap.filter.target_sent(self.now(), data, on).await?;
        for piece in on.drain(..) {
            self.operator.data_bytes(piece).await?;
        }
        Ok(())
    }

    async fn answer(&self, answers: Bytes) -> Result<(), Stop> {
        if self.said.eof.load(Ordering::Relaxed) {
            return Ok(());
        }
        Ok(self.operator.data_bytes(answers).await?)
    }

    /// Requests that the library does not know; it has answered them already, `break` with yes.
    async fn other_request(&self, name: String, data: Bytes) -> Result<(), Stop> {
        let channel = self.tap.channel;
        match name.as_str() {
            END_OF_WRITE => {}
            BREAK => {
                self.journal(JournalEvent::Signal {
                    channel,
                    signal: BREAK.to_owned(),
                })
                .await?;
            }
            // Refused and traced in the callbacks.
            _ => return Ok(()),
        }
        Ok(self.target.other_request(name, data).await?)
    }

    /// The bastion's own words, where they do not mix with a program's output.
    async fn say(&self, sentence: &str) -> Result<(), Stop> {
        if self.tap.far_end == FarEnd::Socket {
            return Ok(());
        }
        self.show_recorded(line(sentence)).await
    }

    async fn show_recorded(&self, words: Bytes) -> Result<(), Stop> {
        self.record_output(Stream::Stderr, &words).await?;
        self.show(words).await
    }

    async fn show(&self, line: Bytes) -> Result<(), Stop> {
        if self.said.eof.load(Ordering::Relaxed) {
            return Ok(());
        }
        Ok(self.operator.extended_data_bytes(STDERR, line).await?)
    }

    /// Closes both sides. What cannot be said in [`FAREWELL`] is not said.
    async fn close(&self, end: &RelayEnd) {
        let farewell = async {
            match end {
                RelayEnd::Finished | RelayEnd::OperatorLeft => return Ok(()),
                _ if self.tap.far_end == FarEnd::Socket => return Ok(()),
                RelayEnd::TargetLost => self.say("the connection to the target was lost").await?,
                RelayEnd::Cut(sentence) => self.say(sentence).await?,
                // The one line that is not recorded: nothing can be any more.
                RelayEnd::RecordingFailed(_) => self.show(line(UNRECORDED)).await?,
            }
            if !self.said.exit.load(Ordering::Relaxed) {
                self.operator.exit_status(255).await?;
            }
            if !self.said.eof.load(Ordering::Relaxed) {
                self.operator.eof().await?;
            }
            Ok::<(), Stop>(())
        };
        // Gone or stuck, there is nothing left to do about it here.
        let close_operator = async {
            drop(timeout(FAREWELL, farewell).await);
            drop(timeout(FAREWELL, self.operator.close()).await);
        };
        let close_target = async {
            if let (RelayEnd::Cut(_) | RelayEnd::RecordingFailed(_), FarEnd::Program) =
                (end, self.tap.far_end)
            {
                // A program without a terminal is not hung up by a close, and would go on.
                drop(timeout(FAREWELL, self.target.signal(Sig::HUP)).await);
            }
            drop(timeout(FAREWELL, self.target.close()).await);
        };
        tokio::join!(close_operator, close_target);
    }

    async fn record_output(&self, stream: Stream, data: &Bytes) -> Result<(), Stop> {
        let Tap {
            recorder, channel, ..
        } = &self.tap;
        Ok(recorder
            .output(self.now(), *channel, stream, data.clone())
            .await?)
    }

    async fn journal(&self, event: JournalEvent) -> Result<(), Stop> {
        Ok(self.tap.recorder.journal(self.now(), event).await?)
    }

    fn target_spoke(&self) {
        self.tap
            .activity
            .target
            .store(self.now().0, Ordering::Relaxed);
    }

    fn now(&self) -> Micros {
        (self.tap.clock)()
    }
}

/// The next message, or the end; while something is kept back it is not waited for long.
async fn next_of(
    operator: &mut ChannelReadHalf,
    typing: Option<&MoreTime>,
) -> Result<Option<ChannelMsg>, Elapsed> {
    if typing.is_some_and(MoreTime::holds) {
        timeout(more_time::PATIENCE, operator.wait()).await
    } else {
        Ok(operator.wait().await)
    }
}

/// What was not shown in time is not shown.
fn drop_late(shown: Result<Result<(), Stop>, Elapsed>) -> Result<(), Stop> {
    shown.unwrap_or(Ok(()))
}

/// On a line of its own, also on a terminal that is in raw mode.
fn line(sentence: &str) -> Bytes {
    Bytes::from(format!("\r\n{sentence}\r\n"))
}
