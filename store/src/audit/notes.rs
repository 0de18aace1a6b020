//! Signed notes that were kept elsewhere, one after the other: what the log must continue.
//!
//! A log that was cut or rewritten together with its checkpoints agrees with itself, and not with
//! these.

use super::note::AuditVerifier;
use std::collections::BTreeMap;
use tlog_tiles::Hash;

/// The heads that notes sign.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    /// By size; each with the number of its note in the file.
    heads: BTreeMap<i64, Vec<(usize, [u8; 32])>>,
    /// Notes that do not hold.
    pub problems: Vec<String>,
    /// Pieces of notes that were never written to their end.
    pub torn: Vec<String>,
}

impl Notes {
    /// Reads a file of notes. A piece that was torn off, as by a full disk, is no note; a whole
    /// note that does not verify is a problem.
    pub fn read(text: &str, verifier: &AuditVerifier) -> Self {
        let mut notes = Self::default();
        for (number, piece) in (1..).zip(pieces(text, &verifier.name)) {
            match verifier.open(&format!("{}\n", piece.trim_end_matches('\n'))) {
                Ok((size, root)) => notes.heads.entry(size).or_default().push((number, root)),
                Err(_) if !piece.ends_with("\n\n") || !piece.contains("\n\n— ") => notes
                    .torn
                    .push(format!("note {number} was not written to its end")),
                Err(error) => notes
                    .problems
                    .push(format!("note {number} does not verify: {error}")),
            }
        }
        notes
    }

    /// How many hold.
    pub fn count(&self) -> usize {
        self.heads.values().map(Vec::len).sum()
    }

    /// The head that covers most: size and root.
    pub fn newest(&self) -> Option<(i64, [u8; 32])> {
        let (size, heads) = self.heads.last_key_value()?;
        heads.last().map(|(_, root)| (*size, *root))
    }

    /// What the notes over `size` entries say otherwise than the log, whose root there is `root`.
    pub(super) fn held_against(&self, size: i64, root: Option<Hash>) -> Vec<String> {
        let heads = self.heads.get(&size).into_iter().flatten();
        heads
            .filter(|(_, noted)| root != Some(Hash(*noted)))
            .map(|(number, _)| {
                format!("note {number} signs another log of `{size}` entries than this one")
            })
            .collect()
    }

    /// The notes over more than `last` entries.
    pub(super) fn beyond(&self, last: i64) -> Vec<String> {
        let later = self.heads.range(last.saturating_add(1)..);
        later
            .flat_map(|(size, heads)| heads.iter().map(move |(number, _)| (size, number)))
            .map(|(size, number)| {
                format!(
                    "note {number} covers `{size}` entries, and the log ends with entry `{last}`: it was cut or rewritten"
                )
            })
            .collect()
    }
}

/// Pieces that begin with a line that is the log's name, or after the blank line that ends a note.
/// What comes before the first is one too.
fn pieces<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let mut starts = Vec::new();
    let (mut at, mut signed, mut ended) = (0, false, true);
    for line in text.split_inclusive('\n') {
        if ended || line.trim_end_matches('\n') == name {
            starts.push(at);
            signed = false;
        }
        ended = signed && line == "\n";
        signed = signed || line.starts_with("— ");
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .filter_map(|(start, end)| text.get(*start..end))
        .filter(|piece| !piece.trim().is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::note::AuditSigner;
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::Ed25519KeyPair;

    #[test]
    fn a_torn_note_is_none_wherever_it_was_torn_and_hides_no_other() {
        let signer = signer();
        let (first, second) = (note(&signer, 7), note(&signer, 9));
        for length in 1..first.len() - 1 {
            let Some(torn) = first.get(..length) else {
                continue;
            };
            for text in [
                format!("{second}{torn}"),
                format!("{torn}\n{second}"),
                format!("{torn}\n\n{second}"),
            ] {
                let notes = Notes::read(&text, &signer.verifier());
                let newest = notes.newest();
                assert_eq!(newest, Some((9, [9; 32])), "torn at {length}: {text:?}");
            }
        }
        let end = Notes::read(&format!("{second}{}", &first[..40]), &signer.verifier());
        assert_eq!((end.torn.len(), end.problems.len()), (1, 0), "{end:?}");
    }

    #[test]
    fn a_whole_note_that_was_changed_or_is_of_another_log_is_a_problem() {
        let signer = signer();
        let text = format!("{}{}", note(&signer, 7), note(&signer, 9));
        let whole = Notes::read(&text, &signer.verifier());
        assert_eq!((whole.count(), whole.problems.len()), (2, 0));
        let changed = Notes::read(&text.replacen("\n9\n", "\n8\n", 1), &signer.verifier());
        assert_eq!((changed.count(), changed.problems.len()), (1, 1));
        let other = Notes::read(&text, &self::signer().verifier());
        assert_eq!((other.count(), other.problems.len()), (0, 2));
        let mut renamed = signer.verifier();
        renamed.name = "gol".into();
        assert_eq!(Notes::read(&text, &renamed).problems.len(), 2);
        assert_eq!(Notes::read("", &renamed), Notes::default());
    }

    /// As it stands in the file: a blank line follows.
    fn note(signer: &AuditSigner, size: u8) -> String {
        let note = signer.sign(u64::from(size), Hash([size; 32])).unwrap();
        format!("{note}\n")
    }

    fn signer() -> AuditSigner {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        AuditSigner::from_pkcs8(key.as_ref(), "log").unwrap()
    }
}
