//! Every check of a recording, each with its sentence. Blocking.
//!
//! Without a private key: the manifest's signature, and that every file is, byte for byte, what
//! it says. With one: that every frame authenticates, and that journal and casts agree with the
//! manifest and with each other. Any changed byte fails a check that names its file, and in a
//! stream its frame and offset. What it cannot tell: whether a recording that is gone, its
//! manifest included, ever existed; the audit log knows.

mod content;

use serde::Serialize;

use crate::keys::{KeyId, PrivateKey};
use crate::manifest::{Manifest, ManifestPublicKey, State, StreamSummary};
use crate::recorder::StreamHead;
use crate::storage::{JOURNAL, MANIFEST, SessionId, Storage, StorageError, file_name};
use crate::unseal::{self, Survey};

/// What was checked of one recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub session: SessionId,
    pub checks: Vec<Check>,
}

/// One check. The sentence names the file it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub outcome: Outcome,
    pub sentence: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Failed,
}

impl Report {
    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        self.failures().next().is_none()
    }

    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed)
    }
}

/// Checks one recording against the host's published key, and with a recipient's private key its
/// content too.
pub fn verify(
    storage: &Storage,
    session: &SessionId,
    host: &ManifestPublicKey,
    private: Option<&PrivateKey>,
) -> Report {
    let mut report = Report {
        session: session.clone(),
        checks: Vec::new(),
    };
    let Some(manifest) = report.manifest(storage, host) else {
        return report;
    };
    report.files(storage, &manifest);
    for stream in &manifest.streams {
        report.stream(storage, &manifest, stream);
    }
    if let Some(private) = private {
        content::check(&mut report, storage, &manifest, private);
    }
    report
}

/// Checks every recording as far as no private key is needed. One that is being written is left
/// out; one that was killed and never closed fails.
pub fn verify_all(
    storage: &Storage,
    host: &ManifestPublicKey,
) -> Result<Vec<Report>, StorageError> {
    let mut reports = Vec::new();
    for session in storage.sessions()? {
        if !storage.is_being_recorded(&session) {
            reports.push(verify(storage, &session, host, None));
        }
    }
    Ok(reports)
}

/// Checks that streams still begin as they did when the audit log noted how far they had come:
/// nothing of what it knew was cut off or rewritten, whatever the manifest says.
pub fn verify_heads(storage: &Storage, session: &SessionId, heads: &[StreamHead]) -> Report {
    let mut report = Report {
        session: session.clone(),
        checks: Vec::new(),
    };
    for head in heads {
        let (file, bytes) = (file_name(&head.stream), head.bytes);
        report.check(
            match unseal::prefix_sha256(storage, session, &head.stream, bytes) {
                Ok(Some(found)) if found == head.sha256 => Ok(format!(
                    "`{file}` begins with the {bytes} bytes that were noted"
                )),
                Ok(Some(_)) => Err(format!("`{file}` was rewritten before byte {bytes}")),
                Ok(None) => Err(format!("`{file}` was cut before byte {bytes}")),
                Err(error) => Err(error.to_string()),
            },
        );
    }
    report
}

impl Report {
    fn ok(&mut self, sentence: String) {
        self.checks.push(Check {
            outcome: Outcome::Ok,
            sentence,
        });
    }

    fn failed(&mut self, sentence: String) {
        self.checks.push(Check {
            outcome: Outcome::Failed,
            sentence,
        });
    }

    fn check(&mut self, result: Result<String, String>) {
        match result {
            Ok(sentence) => self.ok(sentence),
            Err(sentence) => self.failed(sentence),
        }
    }

    fn manifest(&mut self, storage: &Storage, host: &ManifestPublicKey) -> Option<Manifest> {
        if !storage.manifest_path(&self.session).exists() {
            self.failed(format!(
                "`{MANIFEST}` is missing: the recording was never closed"
            ));
            return None;
        }
        let read = Manifest::read_bytes(storage, &self.session);
        let parsed = read.map_err(|error| error.to_string()).and_then(|bytes| {
            let parsed: Result<Manifest, _> = serde_json::from_slice(&bytes);
            match parsed {
                Ok(manifest) => Ok((bytes, manifest)),
                Err(error) => Err(format!("`{MANIFEST}` is not a manifest: {error}")),
            }
        });
        let (bytes, manifest) = match parsed {
            Ok(read) => read,
            Err(sentence) => {
                self.failed(sentence);
                return None;
            }
        };
        let canonical = manifest.to_bytes().ok();
        if canonical.as_ref() != Some(&bytes) {
            let at = canonical.map_or(0, |canonical| first_difference(&canonical, &bytes));
            self.failed(format!(
                "`{MANIFEST}`, byte {at}: this is not its canonical spelling"
            ));
        }
        if manifest.version != 1 {
            self.failed(format!("`{MANIFEST}` is of version {}", manifest.version));
        }
        if manifest.about.session != self.session {
            let other = &manifest.about.session;
            self.failed(format!("`{MANIFEST}` is about session `{other}`"));
        }
        self.check(signature(&manifest, host));
        Some(manifest)
    }

    fn files(&mut self, storage: &Storage, manifest: &Manifest) {
        let present = match storage.files(&self.session) {
            Ok(present) => present,
            Err(error) => return self.failed(error.to_string()),
        };
        let mut expected: Vec<String> = manifest
            .streams
            .iter()
            .map(|stream| file_name(&stream.stream))
            .collect();
        expected.push(MANIFEST.to_owned());
        let missing = expected.iter().filter(|name| !present.contains(name));
        let missing: Vec<String> = missing
            .map(|name| format!("`{name}` is in the manifest and missing"))
            .collect();
        let foreign = present.iter().filter(|name| !expected.contains(name));
        let foreign = foreign.map(|name| format!("`{name}` is not in the manifest"));
        let wrong: Vec<String> = missing.into_iter().chain(foreign).collect();
        if wrong.is_empty() {
            self.ok(format!(
                "all {} files are there, and no other",
                expected.len()
            ));
        }
        for sentence in wrong {
            self.failed(sentence);
        }
        if !manifest
            .streams
            .iter()
            .any(|stream| stream.stream == JOURNAL)
        {
            self.failed(format!("`{MANIFEST}` names no journal"));
        }
    }

    fn stream(&mut self, storage: &Storage, manifest: &Manifest, said: &StreamSummary) {
        let file = file_name(&said.stream);
        let found = match unseal::survey(storage, &self.session, &said.stream) {
            Ok(found) => found,
            Err(error) => return self.failed(error.to_string()),
        };
        let before = self.failures().count();
        if let Some(fault) = &found.damage {
            self.failed(fault.to_string());
        }
        if let Some(damage) = &said.damage {
            self.failed(format!(
                "`{file}` was damaged before it was closed: {damage}"
            ));
        }
        for sentence in differences(manifest, said, &found) {
            self.failed(format!("`{file}`: {sentence}"));
        }
        if self.failures().count() == before {
            let (frames, bytes) = (said.frames, said.ciphertext_bytes);
            let how = if found.complete {
                "complete"
            } else {
                "interrupted"
            };
            self.ok(format!(
                "`{file}` is what was signed: {frames} frames, {bytes} bytes, {how}"
            ));
        }
    }
}

fn signature(manifest: &Manifest, host: &ManifestPublicKey) -> Result<String, String> {
    let (signer, host_id) = (&manifest.signer, host.id());
    if *signer != host_id {
        return Err(format!(
            "`{MANIFEST}` names signer `{signer}`, the host's key is `{host_id}`"
        ));
    }
    match manifest.check_signature(host) {
        Ok(()) => Ok(format!("`{MANIFEST}` is signed by key `{signer}`")),
        Err(error) => Err(error.to_string()),
    }
}

/// What a stream is and what the manifest says of it, where they differ.
fn differences(manifest: &Manifest, said: &StreamSummary, found: &Survey) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: String, said: String| {
        if found != said {
            wrong.push(format!("{what} {found}, the manifest says {said}"));
        }
    };
    let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
    compare("frames:", found.frames.to_string(), said.frames.to_string());
    compare(
        "bytes:",
        found.bytes.to_string(),
        said.ciphertext_bytes.to_string(),
    );
    compare(
        "SHA-256",
        found.sha256.clone(),
        said.ciphertext_sha256.clone(),
    );
    compare(
        "plain bytes:",
        found.plain_bytes.to_string(),
        said.plain_bytes.to_string(),
    );
    compare(
        "torn bytes:",
        found.rest_bytes.to_string(),
        said.torn_bytes.to_string(),
    );
    compare(
        "SHA-256 of torn bytes",
        digest(&found.rest_sha256),
        digest(&said.torn_sha256),
    );
    if manifest.state == State::Finished && !found.complete {
        wrong.push(format!(
            "cut after frame {}, byte {}",
            found.frames, found.bytes
        ));
    }
    if let Some(header) = &found.header {
        let recipients: Vec<KeyId> = header.recipients.iter().map(|to| to.key.clone()).collect();
        if recipients != manifest.recipients {
            wrong.push("it is sealed to other keys than the manifest says".to_owned());
        }
        let about = (said.stream == JOURNAL).then_some(&manifest.about);
        if header.about.as_ref() != about {
            wrong.push("its header is about something else than the manifest".to_owned());
        }
    }
    wrong
}

fn first_difference(left: &[u8], right: &[u8]) -> usize {
    left.iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count()
}
