//! Closes a recording whose process was killed. No key is needed and no stream is touched: what
//! is whole is counted and hashed, what is torn is said, and the manifest is signed as interrupted.

use crate::journal::UtcMicros;
use crate::keys::KeyId;
use crate::manifest::{Manifest, ManifestSigner, State, StreamSummary};
use crate::recorder::RecordingError;
use crate::seal::StreamHeader;
use crate::storage::{JOURNAL, SessionId, Storage, StorageError};
use crate::unseal::{self, Survey};

/// Blocking. Refuses a recording that has a manifest, and one that is still being written.
pub fn recover(
    storage: &Storage,
    session: &SessionId,
    at: UtcMicros,
    signer: &ManifestSigner,
) -> Result<Manifest, RecordingError> {
    if storage.manifest_path(session).exists() {
        return Err(StorageError::Exists {
            session: session.clone(),
        }
        .into());
    }
    let Some(lock) = storage.lock(session)? else {
        return Err(RecordingError::StillRecording {
            session: session.clone(),
        });
    };
    let no_journal = || RecordingError::NoJournal {
        session: session.clone(),
    };
    let mut header: Option<StreamHeader> = None;
    let mut streams = Vec::new();
    for stream in storage.streams(session)? {
        let survey = unseal::survey(storage, session, &stream)?;
        if stream == JOURNAL {
            header.clone_from(&survey.header);
        }
        streams.push(summary(stream, survey));
    }
    let header = header.ok_or_else(no_journal)?;
    let recipients: Vec<KeyId> = header.recipients.iter().map(|to| to.key.clone()).collect();
    let manifest = Manifest {
        version: 1,
        state: State::Interrupted,
        about: header.about.ok_or_else(no_journal)?,
        ended_at: at,
        reason: "interrupted".to_owned(),
        streams,
        channels: Vec::new(),
        recipients,
        signer: signer.public_key().id(),
        signature: String::new(),
    };
    let manifest = manifest.sign(signer)?;
    storage.write_manifest(session, &manifest.to_bytes()?)?;
    drop(lock);
    Ok(manifest)
}

fn summary(stream: String, survey: Survey) -> StreamSummary {
    StreamSummary {
        stream,
        frames: survey.frames,
        ciphertext_bytes: survey.bytes,
        ciphertext_sha256: survey.sha256,
        plain_bytes: survey.plain_bytes,
        plain_sha256: None,
        events: None,
        torn_bytes: survey.rest_bytes,
        torn_sha256: survey.rest_sha256,
        damage: survey.damage.map(|fault| fault.to_string()),
    }
}
