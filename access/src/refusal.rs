//! Why a transition was refused: a sentence for the person, with a stable code.

use crate::ids::{is_unseen, turns_text};

/// A transition that may not happen. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// Stable code, snake case.
    pub code: &'static str,
    /// One sentence, lower case, no full stop, that names the thing and the next step.
    pub sentence: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }
}

/// Refuses an empty or over-long text that a person must give, and one that would read as another
/// than it is: what is approved, reviewed or kept as evidence is what a person sees.
pub(crate) fn require_text(
    what: &'static str,
    text: &str,
    at_least: usize,
    at_most: usize,
) -> Result<(), Refusal> {
    let acts = |c: char| (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || turns_text(c);
    if text.chars().any(acts) {
        return Err(Refusal::new(
            "text_not_plain",
            format!("`{what}` holds control characters or changes its direction; write plain text"),
        ));
    }
    let length = text.trim().chars().count();
    let seen = text.trim().chars().filter(|c| !is_unseen(*c)).count();
    if seen < at_least {
        return Err(Refusal::new(
            "text_missing",
            format!("`{what}` is missing or too short; write at least {at_least} characters"),
        ));
    }
    if length > at_most {
        return Err(Refusal::new(
            "text_too_long",
            format!("`{what}` has {length} characters; at most {at_most} are kept, shorten it"),
        ));
    }
    Ok(())
}
