//! The changes to russh 0.65.1, each an exact text that must be found `times` times.
//!
//! 1. Flow control on consumption. The library gives the peer its window back when data arrives.
//!    Then only the bounded queue of a channel holds a fast sender, by blocking the task of the
//!    whole connection; two connections coupled by a relay block each other for good. Here the
//!    window comes back when the reader has taken the data (`credit.rs`), so that at most one
//!    window per channel is ever queued and the connection's task does not block on it.
//! 2. A writer that waits for the window of a channel is told when the channel is gone. As
//!    published it waits for ever.
//! 3. A server answers the close of a client when its channel's reader closes, not at once. Until
//!    then it can still say how the program ended: OpenSSH's client closes once both streams have
//!    ended and waits for the exit status, which as published is lost when it comes a moment later.
//! 4. A channel that we closed first is forgotten when the peer closes too, and its reader and the
//!    handler are told.
//! 5. A request that the library does not know reaches the channel, and can be sent:
//!    `eow@openssh.com` (without it `ssh host yes | head -1` does not end) and `break`.
//! 6. A channel that is refused can be refused with a sentence, which OpenSSH's client shows.
//! 7. What no window bounds (requests, environment, the peer's own window adjustments) is bounded:
//!    a peer that sends more than is read loses its connection instead of filling the memory.
//! 8. A server hears of requests and channels whose name the library does not know, and answers
//!    such a channel once; as published it is refused twice, and a strict client leaves.
//! 9. A connection's task ends with whoever started it.
//! 10. A client that asks for the authentication's service again before its second method, as
//!     paramiko does, is answered. As published it waits for ever.
//! 11. What a connection keeps for as long as it stands is small. Its queues have 32 places each of
//!     the size of the biggest message, so the seldom ones are behind a pointer; and its task is
//!     allocated once, not with room for its own construction beside it.
//! 12. A security key that was not touched signs nothing, as with OpenSSH's server.
//! 13. A server can answer a client that proposes AES-GCM with a configuration of its own, such as
//!     one without the cipher that this client would rather have. The client decides which of the
//!     common ciphers is taken, so the server waits a moment for what it proposes; only with
//!     OpenSSH's, which does not wait for the server.

pub(crate) struct Change {
    pub(crate) file: &'static str,
    pub(crate) times: usize,
    pub(crate) old: &'static str,
    pub(crate) new: &'static str,
}

const fn once(file: &'static str, old: &'static str, new: &'static str) -> Change {
    Change {
        file,
        times: 1,
        old,
        new,
    }
}

const fn twice(file: &'static str, old: &'static str, new: &'static str) -> Change {
    Change {
        file,
        times: 2,
        old,
        new,
    }
}

#[rustfmt::skip]
pub(crate) const CHANGES: &[Change] = &[
    // --- The channel: its credit, shared through what both ends already share.
    once("channels/mod.rs", "mod channel_ref;", "mod credit;\npub(crate) use credit::Credit;\nmod channel_ref;"),
    once("channels/mod.rs",
"    value: Arc<Mutex<u32>>,
    notifier: Arc<Notify>,
",
"    value: Arc<Mutex<u32>>,
    notifier: Arc<Notify>,
    pub(crate) credit: Arc<Credit>,
"),
    once("channels/mod.rs",
"            value: Arc::new(Mutex::new(initial)),
            notifier,
",
"            value: Arc::new(Mutex::new(initial)),
            notifier,
            credit: Credit::new(),
"),
    once("channels/mod.rs",
"pub struct ChannelReadHalf {
    pub(crate) receiver: Receiver<ChannelMsg>,
",
"pub struct ChannelReadHalf {
    pub(crate) receiver: Receiver<ChannelMsg>,
    pub(crate) credit: Arc<Credit>,
"),
    once("channels/mod.rs",
"impl ChannelReadHalf {
",
"impl Drop for ChannelReadHalf {
    fn drop(&mut self) {
        // What nobody will read counts as taken: the peer must not wait for it.
        self.receiver.close();
        while let Ok(msg) = self.receiver.try_recv() {
            self.credit.take(&msg);
        }
        self.credit.unread();
    }
}

impl ChannelReadHalf {
"),
    once("channels/mod.rs",
"        self.receiver.recv().await
",
"        self.credit.reading();
        let msg = self.receiver.recv().await?;
        self.credit.take(&msg);
        if matches!(msg, ChannelMsg::Close) {
            self.receiver.close();
        }
        Some(msg)
"),
    once("channels/mod.rs",
"ChannelReadHalf { receiver: rx }",
"ChannelReadHalf { receiver: rx, credit: window_size.credit.clone() }"),
    once("channels/io/rx.rs",
"                Some(msg) => (msg, 0),
",
"                Some(msg) => {
                    self.channel.borrow_mut().credit.take(&msg);
                    (msg, 0)
                }
"),
    once("client/mod.rs",
"                    window_size_ref.grow(window_size).await;
",
"                    window_size_ref.grow(window_size).await;
                    let credit = window_size_ref.credit.clone();
"),
    once("client/mod.rs", "ChannelReadHalf { receiver }", "ChannelReadHalf { receiver, credit }"),
    once("server/session.rs",
"                    window_size_ref.grow(window_size).await;
",
"                    window_size_ref.grow(window_size).await;
                    let credit = window_size_ref.credit.clone();
"),
    once("server/session.rs", "ChannelReadHalf { receiver }", "ChannelReadHalf { receiver, credit }"),

    // --- The session's end of the channel.
    once("channels/channel_ref.rs",
"    pub(crate) fn window_size(&self)",
"    /// Queues `msg` for the reader. Takes precedence over the sender's own `send`.
    pub(crate) async fn send(
        &self,
        msg: ChannelMsg,
    ) -> Result<(), tokio::sync::mpsc::error::SendError<ChannelMsg>> {
        use tokio::sync::mpsc::error::{SendError, TrySendError};
        let credit = &self.window_size.credit;
        if !credit.admit(&msg) {
            return Err(SendError(msg));
        }
        let queued = match self.sender.try_send(msg) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(msg)) => Err(SendError(msg)),
            Err(TrySendError::Full(msg)) if credit.is_read() => self.sender.send(msg).await,
            // Its reader is in this very task, or never comes.
            Err(TrySendError::Full(msg)) => {
                credit.overflow();
                Err(SendError(msg))
            }
        };
        if let Err(unread) = &queued {
            credit.take(&unread.0);
        }
        queued
    }

    /// The peer sends and takes nothing more; `session` answers it if the reader does not.
    pub(crate) fn peer_closed(
        &self,
        session: &std::sync::Arc<tokio::sync::Notify>,
        target: u32,
    ) {
        self.window_size.credit.attach(session, target);
        self.window_size.credit.close();
        self.window_size.notifier.notify_one();
    }

    pub(crate) fn window_size(&self)"),
    once("channels/channel_ref.rs",
"impl std::ops::Deref for ChannelRef {",
"impl Drop for ChannelRef {
    fn drop(&mut self) {
        // The session has forgotten the channel, or is gone itself.
        self.window_size.credit.close();
        self.window_size.notifier.notify_one();
    }
}

impl std::ops::Deref for ChannelRef {"),

    // --- The window: only subtracted on receipt, and no more than was granted. A channel without a
    //     reading half (opened through `Session`, read in callbacks) is topped up as published.
    once("session.rs",
"        data: &[u8],
        target: u32,
    ) -> Result<bool, crate::Error> {
",
"        data: &[u8],
        target: u32,
        has_reader: bool,
    ) -> Result<bool, crate::Error> {
"),
    once("session.rs",
"            // Ignore extra data.
            // https://tools.ietf.org/html/rfc4254#section-5.2
            if data.len() as u32 <= channel.sender_window_size {
                channel.sender_window_size -= data.len() as u32;
            }
            if channel.sender_window_size < target / 2 {
",
"            channel.sender_window_size = channel
                .sender_window_size
                .checked_sub(data.len() as u32)
                .ok_or(crate::Error::Inconsistent)?;
            if !has_reader && channel.sender_window_size < target / 2 {
"),
    once("session.rs",
"    fn flush_channel(
",
"    /// Tells the peer of what the readers have taken since.
    pub(crate) fn return_credit(
        &mut self,
        refs: &HashMap<ChannelId, crate::channels::ChannelRef>,
    ) -> Result<(), crate::Error> {
        for (id, channel_ref) in refs {
            let Some(channel) = self.channels.get_mut(id) else {
                continue;
            };
            let Some(amount) = channel_ref.window_size().credit.due() else {
                continue;
            };
            channel.sender_window_size = channel.sender_window_size.saturating_add(amount);
            push_packet!(self.write, {
                self.write.push(msg::CHANNEL_WINDOW_ADJUST);
                channel.recipient_channel.encode(&mut self.write)?;
                amount.encode(&mut self.write)?;
            });
        }
        Ok(())
    }

    /// A channel request without answer, of a name the library does not know.
    pub(crate) fn other_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        data: &[u8],
    ) -> Result<(), crate::Error> {
        if let Some(channel) = self.channels.get(&channel) {
            push_packet!(self.write, {
                self.write.push(msg::CHANNEL_REQUEST);
                channel.recipient_channel.encode(&mut self.write)?;
                name.encode(&mut self.write)?;
                0u8.encode(&mut self.write)?;
                self.write.extend_from_slice(data);
            });
        }
        Ok(())
    }

    fn flush_channel(
"),

    // --- Receipt, on both sides. Data of no length carries nothing, and a stream would take it for
    //     its end.
    once("server/encrypted.rs",
"                let target = self.target_window_size;
",
"                let target = self.target_window_size;
                if data.is_empty() {
                    return Ok(());
                }
                let has_reader = self
                    .channels
                    .get(&channel_num)
                    .map(|chan| chan.window_size().credit.attach(&self.credit, self.common.config.window_size))
                    .is_some();
"),
    once("server/encrypted.rs",
"enc.adjust_window_size(channel_num, &data, target)?",
"enc.adjust_window_size(channel_num, &data, target, has_reader)?"),
    twice("client/encrypted.rs",
"                let target = self.common.config.window_size;
",
"                let target = self.common.config.window_size;
                if data.is_empty() {
                    return Ok(());
                }
                let has_reader = self
                    .channels
                    .get(&channel_num)
                    .map(|chan| chan.window_size().credit.attach(&self.credit, target))
                    .is_some();
"),
    twice("client/encrypted.rs",
"enc.adjust_window_size(channel_num, &data, target)?",
"enc.adjust_window_size(channel_num, &data, target, has_reader)?"),

    // --- The session's loop gives the window back when a reader wakes it. Held back by `flush`
    //     while keys are exchanged, like every other message of a channel.
    once("server/session.rs",
"    pub(crate) target_window_size: u32,
",
"    pub(crate) target_window_size: u32,
    pub(crate) credit: Arc<tokio::sync::Notify>,
"),
    once("server/mod.rs",
"        target_window_size: common.config.window_size,
",
"        target_window_size: common.config.window_size,
        credit: Arc::default(),
"),
    once("server/session.rs",
"                () = &mut rekey_timer => {
",
"                () = self.credit.notified() => {
                    if let Some(ref mut enc) = self.common.encrypted {
                        enc.return_credit(&self.channels)?;
                    }
                    self.answer_unread_closes();
                }
                () = &mut rekey_timer => {
"),
    once("client/mod.rs",
"    target_window_size: u32,
    pending_reads",
"    target_window_size: u32,
    credit: Arc<tokio::sync::Notify>,
    pending_reads"),
    once("client/mod.rs",
"            target_window_size,
            priority_sender,
",
"            target_window_size,
            credit: Arc::default(),
            priority_sender,
"),
    once("client/mod.rs",
"                () = &mut rekey_timer => {
",
"                () = self.credit.notified() => {
                    if let Some(ref mut enc) = self.common.encrypted {
                        enc.return_credit(&self.channels)?;
                    }
                }
                () = &mut rekey_timer => {
"),

    // --- A rekey of ours may find one window of every channel on its way, not of one channel.
    once("server/mod.rs",
"2 * u64::from(session.common.config.window_size)",
"2 * u64::from(session.common.config.window_size) * (session.channels.len() as u64 + 1)"),
    once("client/mod.rs",
"2 * u64::from(session.common.config.window_size)",
"2 * u64::from(session.common.config.window_size) * (session.channels.len() as u64 + 1)"),

    // --- A writer never waits for the window of a channel that is gone.
    once("channels/mod.rs",
"    async fn reserve_writable_chunk(",
"    /// Completes when the peer has closed the channel or the connection is gone, also while
    /// messages are still queued for the reader.
    pub async fn closed(&self) {
        self.window_size.credit.closed().await
    }

    /// Completes when the connection is gone.
    pub async fn disconnected(&self) {
        self.sender.closed().await
    }

    /// Reports that the program ended by a signal; `exit_status` is its counterpart.
    pub async fn exit_signal(
        &self,
        signal_name: Sig,
        core_dumped: bool,
        error_message: String,
        lang_tag: String,
    ) -> Result<(), Error> {
        let msg = ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag };
        self.send_msg(msg).await
    }

    /// Sends a channel request without answer whose name the library does not know.
    pub async fn other_request(&self, name: String, data: Bytes) -> Result<(), Error> {
        self.send_msg(ChannelMsg::OtherRequest { name, data }).await
    }

    async fn reserve_writable_chunk("),
    once("channels/mod.rs",
"            let mut window_size = self.window_size.value.lock().await;
            let writable = (self.max_packet_size as usize)
",
"            let mut window_size = self.window_size.value.lock().await;
            if self.window_size.credit.is_closed() {
                self.window_size.notifier.notify_one();
                return Err(Error::SendError);
            }
            let writable = (self.max_packet_size as usize)
"),
    once("channels/mod.rs",
"            self.window_size.subscribe(),
            self.max_packet_size,
",
"            self.window_size.subscribe(),
            self.window_size.credit.clone(),
            self.max_packet_size,
"),
    once("channels/mod.rs",
"                self.write_half.window_size.subscribe(),
                self.write_half.max_packet_size,
",
"                self.write_half.window_size.subscribe(),
                self.write_half.window_size.credit.clone(),
                self.write_half.max_packet_size,
"),
    once("channels/io/mod.rs", "use crate::{Channel,", "use super::Credit;\nuse crate::{Channel,"),
    once("channels/io/tx.rs",
"use super::ChannelMsg;
",
"use super::{ChannelMsg, Credit};
"),
    once("channels/io/tx.rs",
"    max_packet_size: u32,
    ext: Option<u32>,
}
",
"    credit: Arc<Credit>,
    max_packet_size: u32,
    ext: Option<u32>,
}
"),
    once("channels/io/tx.rs",
"        window_size_notification: Arc<Notify>,
        max_packet_size: u32,
",
"        window_size_notification: Arc<Notify>,
        credit: Arc<Credit>,
        max_packet_size: u32,
"),
    once("channels/io/tx.rs",
"            window_size_fut: None,
            max_packet_size,
",
"            window_size_fut: None,
            credit,
            max_packet_size,
"),
    once("channels/io/tx.rs",
"        let send_fut = if let Some(x) = self.send_fut.as_mut() {
            x
        } else {
            let (msg, writable)",
"        if self.credit.is_closed() {
            self.notify.notify_one();
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                \"channel closed\",
            )));
        }
        let send_fut = if let Some(x) = self.send_fut.as_mut() {
            x
        } else {
            let (msg, writable)"),

    // --- The close of a client is answered by the reader's own close, or here when nobody reads.
    once("server/encrypted.rs",
"                if let Some(ref mut enc) = self.common.encrypted {
                    // Reply with CHANNEL_CLOSE per RFC 4254 Section 5.3.
                    enc.close(channel_num)?;
                }
",
"                if let Some(chan) = self.channels.get(&channel_num) {
                    chan.peer_closed(&self.credit, self.common.config.window_size);
                    let _ = chan.send(ChannelMsg::Close).await;
                    self.answer_unread_closes();
                } else {
                    self.close(channel_num)?;
                }
"),
    once("server/encrypted.rs",
"                if let Some(chan) = self.channels.get(&channel_num) {
                    chan.send(ChannelMsg::Close).await.unwrap_or(())
                }
                self.channels.remove(&channel_num);
",
""),
    once("server/session.rs",
"            enc.close(channel)
",
"            enc.close(channel)?;
            // Where the peer has closed already, the channel is over.
            if self.channels.get(&channel).is_some_and(|chan| chan.window_size().credit.is_closed()) {
                self.channels.remove(&channel);
            }
            Ok(())
"),
    once("server/session.rs",
"    /// Get a handle to this session.
    pub fn handle(",
"    pub(crate) fn answer_unread_closes(&self) {
        for (id, chan) in &self.channels {
            if chan.window_size().credit.answer() {
                // Behind what is still queued for the peer, such as the exit status.
                let (id, sender) = (*id, self.sender.sender.clone());
                tokio::spawn(async move {
                    let _ = sender.send(Msg::Channel(id, ChannelMsg::Close)).await;
                });
            }
        }
    }

    /// Get a handle to this session.
    pub fn handle("),
    once("channels/io/rx.rs", "(ChannelMsg::Eof, _)", "(ChannelMsg::Eof | ChannelMsg::Close, _)"),

    // --- The peer's answer to a close of ours.
    once("server/encrypted.rs",
"                if !self.common.is_established_channel(channel_num) {
                    return Ok(());
                }
                if let Some(chan) = self.channels.get(&channel_num) {
                    chan.peer_closed(",
"                if !self.common.is_established_channel(channel_num) {
                    if self.common.encrypted.as_ref().is_some_and(|enc| !enc.channels.contains_key(&channel_num))
                        && let Some(chan) = self.channels.remove(&channel_num)
                    {
                        let _ = chan.send(ChannelMsg::Close).await;
                        return handler.channel_close(channel_num, self).await;
                    }
                    return Ok(());
                }
                if let Some(chan) = self.channels.get(&channel_num) {
                    chan.peer_closed("),
    once("client/encrypted.rs",
"                if !self.common.is_established_channel(channel_num) {
                    return Ok(());
                }
                if let Some(ref mut enc) = self.common.encrypted {
                    // The CHANNEL_CLOSE message",
"                if !self.common.is_established_channel(channel_num) {
                    if self.common.encrypted.as_ref().is_some_and(|enc| !enc.channels.contains_key(&channel_num))
                        && let Some(chan) = self.channels.remove(&channel_num)
                    {
                        let _ = chan.send(ChannelMsg::Close).await;
                        return client.channel_close(channel_num, self).await;
                    }
                    return Ok(());
                }
                if let Some(ref mut enc) = self.common.encrypted {
                    // The CHANNEL_CLOSE message"),

    // --- Requests the library does not know. They are answered as published (with a refusal),
    //     except `break` (RFC 4335), which the relay passes on.
    once("channels/mod.rs",
"    OpenFailure(ChannelOpenFailure),
}
",
"    OpenFailure(ChannelOpenFailure),
    /// A request of a name the library does not know; `data` is what follows `want_reply`.
    OtherRequest {
        name: String,
        data: Bytes,
    },
}
"),
    once("server/encrypted.rs",
"                        warn!(\"unknown channel request {x}\");
                        self.channel_failure(channel_num)?;
",
"                        debug!(\"unknown channel request {x}\");
                        if x == \"break\" {
                            self.channel_success(channel_num)?;
                        } else {
                            self.channel_failure(channel_num)?;
                        }
                        let mut data = vec![0; r.remaining_len()];
                        map_err!(r.read(&mut data))?;
                        if let Some(chan) = self.channels.get(&channel_num) {
                            let _ = chan
                                .send(ChannelMsg::OtherRequest { name: req_type, data: data.into() })
                                .await;
                        }
"),
    once("server/session.rs",
"            Msg::Channel(id, ChannelMsg::WindowAdjusted { new_size }) => {
",
"            Msg::Channel(id, ChannelMsg::OtherRequest { name, data }) => {
                if let Some(ref mut enc) = self.common.encrypted {
                    enc.other_request(id, &name, &data)?;
                }
            }
            Msg::Channel(id, ChannelMsg::WindowAdjusted { new_size }) => {
"),
    once("client/encrypted.rs",
"                        info!(\"Unknown channel request {req:?} {wants_reply:?}\",);
",
"                        debug!(\"Unknown channel request {req:?} {wants_reply:?}\",);
                        if let Some(chan) = self.channels.get(&channel_num) {
                            let data = Bytes::copy_from_slice(r);
                            let _ = chan.send(ChannelMsg::OtherRequest { name: req, data }).await;
                        }
"),
    once("client/mod.rs",
"            Msg::Channel(id, ChannelMsg::Close) => self.close(id)?,
",
"            Msg::Channel(id, ChannelMsg::OtherRequest { name, data }) => {
                if let Some(ref mut enc) = self.common.encrypted {
                    enc.other_request(id, &name, &data)?;
                }
            }
            Msg::Channel(id, ChannelMsg::Close) => self.close(id)?,
"),

    // --- This package has another name; the identification the library announces stays.
    once("server/mod.rs", "env!(\"CARGO_PKG_NAME\")", "\"russh\""),
    once("client/mod.rs", "env!(\"CARGO_PKG_NAME\")", "\"russh\""),

    // --- The library's own unit tests build a session by hand.
    once("server/encrypted.rs",
"            target_window_size: config.window_size,
",
"            target_window_size: config.window_size,
            credit: Arc::default(),
"),
    once("server/session.rs",
"            target_window_size: config.window_size,
",
"            target_window_size: config.window_size,
            credit: Arc::default(),
"),

    // --- A refusal with a sentence.
    once("lib_inner.rs",
"    pub(crate) channel_params: ChannelParams,
}
",
"    pub(crate) channel_params: ChannelParams,
    pub(crate) sentence: Option<String>,
}
"),
    once("lib_inner.rs",
"    /// Reject the channel open request with a reason.
",
"    /// Reject the channel open request with a reason, and a sentence for the person.
    pub async fn reject_saying(mut self, reason: ChannelOpenFailure, sentence: String) {
        if let Some(mut pending) = self.inner.take() {
            pending.sentence = Some(sentence);
            let _ = self.sender.send((self.make_msg)(pending, Err(reason)));
        }
    }

    /// Reject the channel open request with a reason.
"),
    once("server/encrypted.rs",
"            channel_ref,
            channel_params,
        };
        let reply",
"            channel_ref,
            channel_params,
            sentence: None,
        };
        let reply"),
    once("client/encrypted.rs",
"                    channel_ref,
                    channel_params,
                };
                let reply",
"                    channel_ref,
                    channel_params,
                    sentence: None,
                };
                let reply"),
    once("server/session.rs",
"                        reason.description().encode(&mut enc.write)?;
                        \"en\".encode",
"                        pending.sentence.as_deref().unwrap_or(reason.description()).encode(&mut enc.write)?;
                        \"en\".encode"),

    // --- What no window bounds.
    once("server/encrypted.rs",
"let _ = chan.try_send(ChannelMsg::WindowAdjusted { new_size });",
"let _nobody_reads_it = new_size;"),
    once("client/encrypted.rs",
"let _ = chan.try_send(ChannelMsg::WindowAdjusted { new_size });",
"let _nobody_reads_it = new_size;"),
    once("server/session.rs",
"                                Ok(_) => {},
                                Err(e) => return Err(e),
",
"                                Ok(_) => {
                                    if self.channels.values().any(|channel| channel.window_size().credit.overflowed()) {
                                        return Err(crate::Error::Inconsistent.into());
                                    }
                                }
                                Err(e) => return Err(e),
"),
    once("client/mod.rs",
"                            reply(self, handler, kex_done_signal, &mut pkt).await?;
",
"                            Box::pin(reply(self, handler, kex_done_signal, &mut pkt)).await?;
                            if self.channels.values().any(|channel| channel.window_size().credit.overflowed()) {
                                return Err(crate::Error::Inconsistent.into());
                            }
"),

    // --- What the library does not know.
    once("server/mod.rs",
"    /// Used to stop the reverse-forwarding of a port, see
",
"    /// Something of a name that the library does not know was asked for; it is refused.
    fn unknown_request(&mut self, name: &str) -> impl Future<Output = ()> + Send {
        let _ = name;
        async {}
    }

    /// Used to stop the reverse-forwarding of a port, see
"),
    once("server/encrypted.rs",
"                debug!(\"unknown channel type: {typ}\");
                if let Some(ref mut enc) = self.common.encrypted {
                    msg.unknown_type(&mut enc.write)?;
                }
                Ok(())
",
"                handler.unknown_request(typ).await;
                reply.reject(ChannelOpenFailure::UnknownChannelType).await;
                Ok(())
"),
    once("server/encrypted.rs",
"                    _ => {
                        self.request_failure();
                        Ok(())
                    }
                }",
"                    other => {
                        handler.unknown_request(other).await;
                        self.request_failure();
                        Ok(())
                    }
                }"),
    once("server/encrypted.rs",
"                        debug!(\"unknown channel request {x}\");
",
"                        debug!(\"unknown channel request {x}\");
                        handler.unknown_request(x).await;
"),
    once("server/encrypted.rs",
"            ChannelType::AgentForward => {
                if let Some(ref mut enc) = self.common.encrypted {
                    msg.fail(
                        &mut enc.write,
                        msg::SSH_OPEN_ADMINISTRATIVELY_PROHIBITED,
                        b\"Unsupported channel type\",
                    )?;
                }
                Ok(())",
"            ChannelType::AgentForward => {
                handler.unknown_request(\"auth-agent@openssh.com\").await;
                reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
                Ok(())"),

    // --- Before the login.
    once("server/encrypted.rs",
"            (EncryptedState::WaitingAuthRequest(_), Some((&msg::USERAUTH_REQUEST, mut r))) => {
",
"            (EncryptedState::WaitingAuthRequest(_), Some((&msg::SERVICE_REQUEST, mut r))) => {
                let request = map_err!(String::decode(&mut r))?;
                map_err!(ensure_end(&r))?;
                if request == \"ssh-userauth\" {
                    // Its banner was shown, and what was proven stays proven.
                    map_err!(server_accept_service(None, MethodSet::empty(), &mut enc.write))?;
                }
                Ok(())
            }
            (EncryptedState::WaitingAuthRequest(_), Some((&msg::USERAUTH_REQUEST, mut r))) => {
"),

    once("server/encrypted.rs",
"Ok(Verifier::verify(&pubkey, &buf, &sig).is_ok())",
"Ok(Verifier::verify(&pubkey, &buf, &sig).is_ok() && was_touched(&sig))"),
    once("server/encrypted.rs",
"thread_local! {
    static SIGNATURE_BUFFER",
"/// Whether the holder of a security key was there: the lowest of the flags before the counter of
/// four bytes (OpenSSH PROTOCOL.u2f). Other keys have no flags.
fn was_touched(signature: &Signature) -> bool {
    match signature.algorithm() {
        ssh_key::Algorithm::SkEd25519 | ssh_key::Algorithm::SkEcdsaSha2NistP256 => {
            let flags = signature.as_bytes().iter().rev().nth(4);
            flags.is_some_and(|flags| flags & 1 == 1)
        }
        _ => true,
    }
}

thread_local! {
    static SIGNATURE_BUFFER"),

    // --- What a connection that stands keeps.
    twice("auth.rs", "        cert: Certificate,\n", "        cert: Box<Certificate>,\n"),
    once("client/mod.rs",
"    SignRequestCert {
        cert: Certificate,
",
"    SignRequestCert {
        cert: Box<Certificate>,
"),
    once("client/mod.rs",
"auth::Method::OpenSshCertificate { key, cert },",
"auth::Method::OpenSshCertificate { key, cert: Box::new(cert) },"),
    once("client/mod.rs",
"auth::Method::FutureCertificate { cert, hash_alg },",
"auth::Method::FutureCertificate { cert: Box::new(cert), hash_alg },"),
    once("client/mod.rs",
"signer.auth_sign(&cert.into(), hash_alg, data)",
"signer.auth_sign(&(*cert).into(), hash_alg, data)"),
    twice("client/encrypted.rs",
"&PublicKeyOrCertificate::Certificate(cert.clone()),",
"&PublicKeyOrCertificate::Certificate(cert.as_ref().clone()),"),

    once("auth.rs",
"    FuturePublicKey {
        key: ssh_key::PublicKey,
",
"    FuturePublicKey {
        key: Box<ssh_key::PublicKey>,
"),
    once("client/mod.rs",
"auth::Method::FuturePublicKey { key, hash_alg },",
"auth::Method::FuturePublicKey { key: Box::new(key), hash_alg },"),
    once("client/encrypted.rs",
"                                        &PublicKeyOrCertificate::PublicKey {
                                            key: key.clone(),
                                            hash_alg,
                                        },
                                        None,
                                        &mut self.common.buffer,
                                    )?;
                                    let len = self.common.buffer.len();
                                    let buf = std::mem::take(&mut self.common.buffer);

                                    self.sender
                                        .send(Reply::SignRequest {
",
"                                        &PublicKeyOrCertificate::PublicKey {
                                            key: key.as_ref().clone(),
                                            hash_alg,
                                        },
                                        None,
                                        &mut self.common.buffer,
                                    )?;
                                    let len = self.common.buffer.len();
                                    let buf = std::mem::take(&mut self.common.buffer);

                                    self.sender
                                        .send(Reply::SignRequest {
"),
    once("client/mod.rs",
"    SignRequest {
        key: ssh_key::PublicKey,
",
"    SignRequest {
        key: Box<ssh_key::PublicKey>,
"),
    once("client/mod.rs",
"signer.auth_sign(&key.into(), hash_alg, data)",
"signer.auth_sign(&(*key).into(), hash_alg, data)"),
    once("server/session.rs",
"        pending: PendingChannelOpen,
        result: Result<(), ChannelOpenFailure>,
    },
}
",
"        pending: Box<PendingChannelOpen>,
        result: Result<(), ChannelOpenFailure>,
    },
}
"),
    once("server/session.rs",
"self.finalize_channel_open_reply(pending, result)?;",
"self.finalize_channel_open_reply(*pending, result)?;"),
    once("server/encrypted.rs",
"|pending, result| Msg::ChannelOpenReply { pending, result },",
"|pending, result| Msg::ChannelOpenReply { pending: Box::new(pending), result },"),
    once("client/mod.rs",
"    ServerChannelOpenReply {
        pending: crate::PendingChannelOpen,
",
"    ServerChannelOpenReply {
        pending: Box<crate::PendingChannelOpen>,
"),
    once("client/mod.rs",
"self.finalize_server_channel_open_reply(pending, result)?;",
"self.finalize_server_channel_open_reply(*pending, result)?;"),
    once("client/encrypted.rs",
"|pending, result| Msg::ServerChannelOpenReply { pending, result },",
"|pending, result| Msg::ServerChannelOpenReply { pending: Box::new(pending), result },"),
    once("client/mod.rs",
"russh_util::runtime::spawn(session.run(stream, handler, Some(kex_done_signal)))",
"russh_util::runtime::spawn(Box::pin(session.run(stream, handler, Some(kex_done_signal))))"),
    once("server/session.rs",
"match reply(&mut self, &mut handler, &mut pkt).await {",
"match Box::pin(reply(&mut self, &mut handler, &mut pkt)).await {"),

    // --- Which configuration.
    once("server/mod.rs",
"    pub preferred: Preferred,
",
"    pub preferred: Preferred,
    /// Taken in place of this one for a client that proposes AES-GCM in both directions.
    pub for_gcm: Option<Arc<Config>>,
"),
    once("server/mod.rs",
"            preferred: Default::default(),
",
"            preferred: Default::default(),
            for_gcm: None,
"),
    once("server/mod.rs",
"    session.begin_rekey()?;

    let join",
"    // Anybody else may be waiting for the server himself.
    if session.common.config.for_gcm.is_none() || !session.common.remote_sshid.starts_with(b\"SSH-2.0-OpenSSH_\") {
        session.begin_rekey()?;
    }

    let join"),
    once("server/mod.rs",
"    if pkt.buffer.first() == Some(&msg::KEXINIT) && session.kex == SessionKexState::Idle {
        // Not currently in a rekey but received KEXINIT
        info!(\"Client has initiated re-key\");
",
"    if session.waits_for_proposal() && pkt.buffer.first() != Some(&msg::KEXINIT) {
        return Err(crate::Error::KexInit.into());
    }

    if pkt.buffer.first() == Some(&msg::KEXINIT) && session.kex == SessionKexState::Idle {
        if session.waits_for_proposal()
            && proposes_gcm(&pkt.buffer)
            && let Some(config) = session.common.config.for_gcm.clone()
        {
            session.common.config = config;
        }
"),
    once("server/mod.rs",
"async fn read_ssh_id<R: AsyncRead + Unpin>(
    config",
"/// Whether a client's KEXINIT (RFC 4253, 7.1) proposes AES-GCM in both directions.
fn proposes_gcm(kexinit: &[u8]) -> bool {
    let Some(mut lists) = kexinit.get(17..) else {
        return false;
    };
    let mut next = || {
        let list = <crate::helpers::NameList as ssh_encoding::Decode>::decode(&mut lists);
        list.map(|list| list.0).unwrap_or_default()
    };
    let (_key_exchanges, _host_keys) = (next(), next());
    let is_gcm = |name: &String| matches!(name.as_str(), \"aes128-gcm@openssh.com\" | \"aes256-gcm@openssh.com\");
    let (up, down) = (next(), next());
    up.iter().any(is_gcm) && down.iter().any(is_gcm)
}

async fn read_ssh_id<R: AsyncRead + Unpin>(
    config"),
    once("server/session.rs",
"    fn rekey_time_remaining(&self) -> Option<Duration> {
",
"    /// Whether the first proposal is still the client's to make.
    pub(crate) fn waits_for_proposal(&self) -> bool {
        self.common.encrypted.is_none() && self.kex == SessionKexState::Idle
    }

    fn rekey_time_remaining(&self) -> Option<Duration> {
        if self.waits_for_proposal() {
            // Whoever only calls itself so may be waiting.
            return Some(Duration::from_millis(500));
        }
"),
    once("server/session.rs",
"                    debug!(\"rekey time limit reached\");
",
"                    debug!(\"rekey time limit reached\");
                    if self.waits_for_proposal() {
                        self.begin_rekey()?;
                    }
"),

    // --- The end from outside.
    once("server/mod.rs",
"    join: JoinHandle<Result<(), H::Error>>,
}
",
"    join: JoinHandle<Result<(), H::Error>>,
    /// Dropped, it ends the task.
    _alive: tokio::sync::oneshot::Sender<()>,
}
"),
    once("server/mod.rs",
"    let join = russh_util::runtime::spawn(session.run(stream, handler));
",
"    let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
    let join = russh_util::runtime::spawn(Box::pin(async move {
        tokio::select! {
            ended = session.run(stream, handler) => ended,
            _ = dropped => Err(crate::Error::Disconnect.into()),
        }
    }));
"),
    once("server/mod.rs", "Ok(RunningSession { handle, join })", "Ok(RunningSession { handle, join, _alive: alive })"),
];
