//! The checks that need a private key: what the frames hold.

use std::borrow::Cow;

use ring::digest;
use serde::Deserialize;

use super::Report;
use crate::journal::{self, ChannelSummary, JournalEvent, JournalLine, Micros};
use crate::keys::{self, PrivateKey};
use crate::manifest::{Manifest, State, StreamSummary};
use crate::storage::{JOURNAL, Storage, cast_name, channel_of, file_name};
use crate::unseal::{Ending, Opened, Plain};

pub(super) fn check(
    report: &mut Report,
    storage: &Storage,
    manifest: &Manifest,
    private: &PrivateKey,
) {
    let mut journal = Journal::default();
    for stream in &manifest.streams {
        // Killed before its opening was on disk: there is nothing to read.
        if manifest.state == State::Interrupted && stream.ciphertext_bytes == 0 {
            continue;
        }
        let result = if stream.stream == JOURNAL {
            read(storage, manifest, stream, private, |line| {
                journal.take(line)
            })
        } else {
            check_cast(storage, manifest, stream, private)
        };
        let file = file_name(&stream.stream);
        report.check(result.map(|lines| format!("`{file}` authenticates: {lines} lines")));
    }
    let file = file_name(JOURNAL);
    report.check(match journal.disagreement(manifest) {
        None => Ok(format!(
            "`{file}` agrees with the manifest, and every channel has its cast"
        )),
        Some(sentence) => Err(format!("`{file}`: {sentence}")),
    });
}

/// Reads a stream to its end and compares it with what was signed; its lines are counted. An
/// unfinished last line of an interrupted stream is not a line.
fn read(
    storage: &Storage,
    manifest: &Manifest,
    said: &StreamSummary,
    private: &PrivateKey,
    mut line: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<u64, String> {
    let file = file_name(&said.stream);
    let opened = Opened::open(storage, &manifest.about.session, &said.stream, private);
    let mut opened = opened.map_err(|error| error.to_string())?;
    let mut held: Vec<u8> = Vec::new();
    let mut lines = 0_u64;
    let ending = loop {
        let text = match opened.next().map_err(|error| error.to_string())? {
            Plain::Text(text) => text,
            Plain::End(ending) => break ending,
        };
        held.extend_from_slice(&text);
        let mut rest = held.as_slice();
        while let Some(newline) = rest.iter().position(|byte| *byte == b'\n') {
            let (whole, after) = rest.split_at(newline);
            lines = lines.saturating_add(1);
            line(whole).map_err(|wrong| format!("`{file}`, line {lines}: {wrong}"))?;
            rest = after.get(1..).unwrap_or_default();
        }
        held = rest.to_vec();
    };
    let (bytes, sha256) = opened.plain();
    if ending == Ending::Complete && !held.is_empty() {
        return Err(format!(
            "`{file}` ends inside line {}",
            lines.saturating_add(1)
        ));
    }
    if bytes != said.plain_bytes
        || said
            .plain_sha256
            .as_ref()
            .is_some_and(|said| *said != sha256)
    {
        return Err(format!("`{file}` holds another text than was signed"));
    }
    if said.events.is_some_and(|said| said != lines) {
        return Err(format!(
            "`{file}` has {lines} lines, not as many as were signed"
        ));
    }
    Ok(lines)
}

/// What the journal says, as far as the manifest can be held against it.
#[derive(Default)]
struct Journal {
    last_at: Micros,
    lines: u64,
    started: Option<JournalEvent>,
    last: Option<JournalEvent>,
    casts: Vec<u32>,
    closed: Vec<ChannelSummary>,
}

impl Journal {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let JournalLine { at, event } =
            journal::parse_line(line).map_err(|error| error.to_string())?;
        if at < self.last_at {
            return Err("time runs backwards".to_owned());
        }
        self.last_at = at;
        self.lines = self.lines.saturating_add(1);
        if let JournalEvent::ChannelOpened { channel, kind } = &event
            && kind.has_cast()
        {
            self.casts.push(*channel);
        }
        if let JournalEvent::ChannelClosed(summary) = &event {
            self.closed.push(summary.clone());
        }
        if self.lines == 1 {
            self.started = Some(event.clone());
        }
        self.last = Some(event);
        Ok(())
    }

    fn disagreement(&self, manifest: &Manifest) -> Option<String> {
        let about = JournalEvent::SessionStarted(manifest.about.clone());
        if self.started.as_ref() != Some(&about) {
            return Some("its first line is not the start of this session".to_owned());
        }
        let finished = manifest.state == State::Finished;
        if finished {
            let ended = JournalEvent::SessionEnded {
                reason: manifest.reason.clone(),
            };
            if self.last.as_ref() != Some(&ended) {
                return Some("its last line is not the end of this session".to_owned());
            }
            if self.closed != manifest.channels {
                return Some("its channels are not those that were signed".to_owned());
            }
        }
        let has_stream = |name: &String| manifest.streams.iter().any(|s| s.stream == *name);
        let mut names = self.casts.iter().map(|channel| cast_name(*channel));
        // A kill may come between a journal line and the file it announces.
        if finished && let Some(name) = names.find(|name| !has_stream(name)) {
            return Some(format!("`{}` is missing", file_name(&name)));
        }
        let channels = manifest
            .streams
            .iter()
            .filter_map(|s| channel_of(&s.stream));
        let unknown = channels
            .into_iter()
            .find(|channel| !self.casts.contains(channel));
        unknown.map(|channel| format!("it knows no channel `{channel}`, which has a cast"))
    }
}

#[derive(Deserialize)]
struct CastHeader {
    version: u32,
    width: u32,
    height: u32,
}

struct Cast {
    header: Option<CastHeader>,
    last: f64,
    shown: digest::Context,
}

fn check_cast(
    storage: &Storage,
    manifest: &Manifest,
    said: &StreamSummary,
    private: &PrivateKey,
) -> Result<u64, String> {
    let shown = digest::Context::new(&digest::SHA256);
    let mut cast = Cast {
        header: None,
        last: 0.0,
        shown,
    };
    let lines = read(storage, manifest, said, private, |line| cast.take(line))?;
    let channel = channel_of(&said.stream);
    let summary = manifest
        .channels
        .iter()
        .find(|summary| Some(summary.channel) == channel);
    // Where nothing was left out or replaced, what is shown is what was sent, byte for byte.
    if let Some(summary) = summary
        && !summary.capped
        && summary.replaced_invalid_utf8 == 0
        && summary.stderr_bytes == 0
        && keys::hex(cast.shown.finish().as_ref()) != summary.stdout_sha256
    {
        let file = file_name(&said.stream);
        return Err(format!("`{file}` does not show the bytes that were sent"));
    }
    Ok(lines)
}

impl Cast {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        if self.header.is_none() {
            let header: CastHeader = serde_json::from_slice(line).map_err(unreadable)?;
            if header.version != 2 || header.width == 0 || header.height == 0 {
                return Err("this is not the header of an asciicast v2".to_owned());
            }
            self.header = Some(header);
            return Ok(());
        }
        let (at, code, data): (f64, char, Cow<'_, str>) =
            serde_json::from_slice(line).map_err(unreadable)?;
        if at < self.last {
            return Err("time runs backwards".to_owned());
        }
        self.last = at;
        match code {
            'o' => self.shown.update(data.as_bytes()),
            'r' | 'm' => {}
            other => return Err(format!("there is no event `{other}`")),
        }
        Ok(())
    }
}
