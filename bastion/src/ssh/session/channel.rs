//! One channel of a session: whether it may start, how the target is asked for it, and what passes
//! on it.

use super::asked::{ChannelRefused, Covers, Run, Start, Wish, say_and_close};
use super::opening::age;
use super::{Live, Running, append, codes, sentences};
use crate::ssh::filter::{Files, Filter, Protocol};
use crate::ssh::handler::OperatorChannel;
use crate::ssh::more_time::Wanted;
use crate::ssh::relay::{End, FarEnd, Order, RelayEnd, Tap, relay};
use crate::ssh::{Front, command, scp, sftp};
use access::forward::Endpoint;
use access::grant::Operation;
use access::request::is_ours;
use bytes::Bytes;
use recordings::{Answer, JournalEvent};
use russh::ChannelMsg;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::warn;

/// How long a target has to answer a request.
const PATIENCE: Duration = Duration::from_secs(15);

impl Live {
    /// Runs one channel from its request to its close. Refusals are said to the operator.
    pub(crate) async fn run_channel(self: &Arc<Self>, front: &Front, start: Start) {
        let operations = start.run.operations();
        let allowed = match Box::pin(self.still_permits(front, &Wish::any(operations))).await {
            Ok(allowed) => allowed,
            Err(refused) => {
                let codes: Vec<_> = operations.iter().map(|each| each.code()).collect();
                let event = self
                    .event("request.refused")
                    .with("operation", codes.join(","))
                    .with("codes", refused.codes);
                append(front, event).await;
                say_and_close(start, &refused.said).await;
                return;
            }
        };
        let number = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.running.send_modify(|running| *running += 1);
        let covers = start.run.covers(&allowed);
        self.relay_channel(front, start, number, covers).await;
        self.channels().remove(&number);
        self.running.send_modify(|running| *running -= 1);
    }

    /// Under which of its operations one more channel may start now; at least one.
    pub(crate) async fn still_permits(
        &self,
        front: &Front,
        wish: &Wish<'_>,
    ) -> Result<Vec<Operation>, ChannelRefused> {
        let question = |operation: &Operation| (Some(*operation), wish.forward_to.cloned());
        let asked = wish.operations.iter().map(question).collect();
        let login = age(front, self.proven_at);
        let denied = match self.answers_to(front, asked, login).await {
            Ok((denied, _)) => denied,
            Err(error) => {
                warn!(session.id = %self.id, %error, "the facts could not be read");
                return Err(ChannelRefused::new(
                    "unavailable",
                    "the bastion's database does not answer; try again",
                ));
            }
        };
        let mut allowed = wish.operations.to_vec();
        allowed.retain(|operation| !denied.contains_key(&question(operation)));
        if let (true, Some(denials)) = (allowed.is_empty(), denied.into_values().next()) {
            return Err(ChannelRefused {
                codes: codes(&denials),
                said: sentences(&denials),
            });
        }
        let permit = self.upstream.permit();
        let goes_there = |to: &Endpoint| to.is_listed(permit.forwards());
        allowed.retain(|operation| permit.operations().contains(operation));
        allowed.retain(|_| wish.forward_to.is_none_or(goes_there));
        if self.is_cut() || allowed.is_empty() {
            return Err(ChannelRefused::new(
                "session_over",
                "this session is over; connect again",
            ));
        }
        Ok(allowed)
    }

    async fn relay_channel(
        self: &Arc<Self>,
        front: &Front,
        start: Start,
        number: u32,
        covers: Covers,
    ) {
        let id = start.channel.id();
        let handle = start.handle.clone();
        let terminal = start.terminal.is_some() && !start.run.moves_files();
        let filter = self.filter(number, &start.run, &covers);
        let (target, start) = match Box::pin(self.start_on_target(start, number)).await {
            Ok(started) => started,
            Err((start, sentence)) => {
                if let Run::Sftp = start.run {
                    // Like the target, where it has no such subsystem.
                    handle.channel_failure(id).await.unwrap_or_default();
                    drop(start.channel.close().await);
                } else {
                    say_and_close(start, &sentence).await;
                }
                return;
            }
        };
        if handle.channel_success(id).await.is_err() {
            return;
        }
        if !start.typed_ahead.is_empty() {
            let typed = Bytes::from(start.typed_ahead);
            let recorded = self.recorder.input(self.now(), number, typed.clone());
            // Either failure ends the relay as soon as it starts.
            if recorded.await.is_ok() {
                drop(target.write.data_bytes(typed).await);
            }
        }
        let (orders, inbox) = mpsc::channel(4);
        let (asks, asked) = mpsc::channel(1);
        // A relay without its session ends: only the session has the orders for good.
        let answers = orders.downgrade();
        self.channels().insert(
            number,
            Running {
                orders,
                covers,
                terminal,
            },
        );
        if self.is_cut() {
            self.channels().remove(&number);
        }
        let operator = start.channel;
        let far_end = FarEnd::Program;
        let asks = terminal.then_some(asks);
        tokio::select! {
            () = self.carry(front, number, operator, target, inbox, &filter, far_end, asks) => {}
            () = self.ask_for_more(front, asked, answers) => {}
        }
    }

    /// Passes on what both sides of a channel send, until it is over.
    #[allow(
        clippy::too_many_arguments,
        reason = "two ends and what stands between"
    )]
    pub(crate) async fn carry(
        self: &Arc<Self>,
        front: &Front,
        number: u32,
        operator: OperatorChannel,
        target: End<russh::client::Msg>,
        orders: mpsc::Receiver<Order>,
        filter: &Filter,
        far_end: FarEnd,
        asks: Option<mpsc::Sender<Wanted>>,
    ) {
        let tap = Tap {
            recorder: &self.recorder,
            channel: number,
            clock: || self.now(),
            activity: &self.activity,
            filter,
            far_end,
            asks,
        };
        let end = relay(End::from(operator), target, tap, orders).await;
        let written = match filter.end(self.now()).await {
            Ok(()) => self.recorder.close_channel(self.now(), number).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(_) => {}
            Err(error) => {
                warn!(session.id = %self.id, %error, "a channel's end could not be recorded");
            }
        }
        let cut = match end {
            RelayEnd::RecordingFailed(error) => {
                warn!(session.id = %self.id, %error, "the recording failed");
                let event = self
                    .event("recording.failed")
                    .with("reason", error.to_string());
                append(front, event).await;
                "the session can no longer be recorded"
            }
            RelayEnd::TargetLost => "the connection to the target was lost",
            RelayEnd::Finished | RelayEnd::OperatorLeft | RelayEnd::Cut(_) => return,
        };
        // All of it: what goes on beside this channel is of the same connection and recording.
        let live = Arc::clone(self);
        tokio::spawn(async move { live.cut(cut).await });
    }

    /// What looks into the channel's data.
    fn filter(&self, number: u32, run: &Run, covers: &Covers) -> Filter {
        let (protocol, allowed) = match (run, covers) {
            (Run::Sftp, Covers::Some(allowed)) => (
                Protocol::Sftp(sftp::Conversation::new(number)),
                Arc::clone(allowed),
            ),
            (Run::Scp { scp, .. }, _) => (
                Protocol::Scp(scp::Conversation::new(number, scp.clone())),
                Arc::default(),
            ),
            (Run::Shell | Run::Exec(_) | Run::Sftp, _) => return Filter::Plain,
        };
        let files = Files::new(self.recorder.clone(), number, allowed, protocol);
        Filter::Files(Box::new(files))
    }

    /// Asks the target for the same thing. The recording knows of the channel before the target
    /// does anything.
    async fn start_on_target(
        &self,
        start: Start,
        number: u32,
    ) -> Result<(End<russh::client::Msg>, Start), (Start, String)> {
        match self.ask_target(&start, number).await {
            Ok(target) => Ok((target, start)),
            Err(sentence) => Err((start, sentence)),
        }
    }

    async fn ask_target(
        &self,
        start: &Start,
        number: u32,
    ) -> Result<End<russh::client::Msg>, String> {
        const NOT_RECORDED: &str = "the session can no longer be recorded, so nothing was started";
        let lost = |error: russh::Error| format!("the target did not answer: {error}");
        let mut channel = self
            .upstream
            .open_channel()
            .await
            .map_err(|error| error.to_string())?;
        let kind = start.run.kind(start.terminal.as_ref());
        self.recorder
            .open_channel(self.now(), number, kind)
            .await
            .map_err(|_| NOT_RECORDED.to_owned())?;
        for (name, value) in &start.env {
            self.journal_request(number, "env", &format!("{name}={value}"), Answer::Success)
                .await?;
            if !is_ours(name) {
                channel
                    .set_env(false, name.as_str(), value.as_str())
                    .await
                    .map_err(lost)?;
            }
        }
        // Files do not pass through a terminal, which would change them.
        let terminal = start.terminal.as_ref();
        if let Some(terminal) = terminal.filter(|_| !start.run.moves_files()) {
            channel
                .request_pty(
                    true,
                    &terminal.term,
                    terminal.cols,
                    terminal.rows,
                    terminal.pix_width,
                    terminal.pix_height,
                    &terminal.modes,
                )
                .await
                .map_err(lost)?;
            let answer = answer_of(&mut channel).await;
            self.journal_request(number, "pty-req", &terminal.term, answer)
                .await?;
            if answer == Answer::Failure {
                return Err("the target does not give a terminal".to_owned());
            }
        }
        let (request, detail) = match &start.run {
            Run::Shell => {
                channel.request_shell(true).await.map_err(lost)?;
                ("shell", String::new())
            }
            Run::Exec(command) | Run::Scp { command, .. } => {
                if let Some(text) = command::told(command) {
                    self.journal_told(number, text).await?;
                }
                channel.exec(true, command.as_slice()).await.map_err(lost)?;
                ("exec", start.run.command().unwrap_or_default())
            }
            Run::Sftp => {
                channel
                    .request_subsystem(true, "sftp")
                    .await
                    .map_err(lost)?;
                ("subsystem", "sftp".to_owned())
            }
        };
        let answer = answer_of(&mut channel).await;
        self.journal_request(number, request, &detail, answer)
            .await?;
        if answer == Answer::Failure {
            return Err(format!("the target refuses `{request}`"));
        }
        Ok(End::from(channel))
    }

    /// What a command line tells of files.
    async fn journal_told(&self, channel: u32, text: String) -> Result<(), String> {
        let note = JournalEvent::Note {
            code: "files_told".to_owned(),
            text: format!("channel {channel}: {text}"),
        };
        self.recorder
            .journal(self.now(), note)
            .await
            .map_err(|_| "the session can no longer be recorded".to_owned())
    }

    pub(crate) async fn journal_request(
        &self,
        channel: u32,
        request: &str,
        detail: &str,
        answer: Answer,
    ) -> Result<(), String> {
        let event = JournalEvent::Request {
            channel: Some(channel),
            request: request.to_owned(),
            detail: detail.to_owned(),
            answer,
        };
        self.recorder
            .journal(self.now(), event)
            .await
            .map_err(|_| "the session can no longer be recorded".to_owned())
    }
}

/// Waits for the target's yes or no; one that does not come is a no.
async fn answer_of(channel: &mut russh::Channel<russh::client::Msg>) -> Answer {
    let answered = async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Answer::Success,
                Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return Answer::Failure,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .unwrap_or(Answer::Failure)
}
