//! What a command says: whole lines to standard output, and why it failed to standard error.

use anyhow::{Context as _, Result};
use std::fmt;
use std::io::{self, Write as _};

/// Says one line.
pub(crate) fn line(text: impl fmt::Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").context(NOT_WRITTEN)
}

/// Writes bytes as they are, at once.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context(NOT_WRITTEN)
}

/// Says on standard error why the command failed, with its causes. A reader that went away
/// (`| head`) is told nothing.
pub(crate) fn failure(error: &anyhow::Error) {
    let gone = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    if !gone {
        // Nobody is left to be told where standard error cannot be written either.
        writeln!(io::stderr().lock(), "bastion: {error:#}").unwrap_or_default();
    }
}

/// Text that others wrote, on one line and without control characters: it cannot steer the
/// terminal it is shown on.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

const NOT_WRITTEN: &str = "cannot write to standard output";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(
            visible("a\x1b]0;x\x07\nb é"),
            "a\u{fffd}]0;x\u{fffd}\u{fffd}b é"
        );
    }
}
