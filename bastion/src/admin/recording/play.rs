//! A recording played in this terminal: at the speed it happened, long pauses cut.
//!
//! What is played was written by a target, and steers the terminal as it did then.

use crate::admin::recording::open::{Opened, opened, outcome, warn_if_cut};
use crate::cli::RecordingPlay;
use crate::{Outcome, say};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::signal::ctrl_c;
use tokio::time::sleep;

/// Leaves the alternate screen, shows the cursor, ends colours, bracketed paste and mouse reports:
/// what a program that was cut off leaves behind.
const AS_BEFORE: &[u8] =
    b"\x1b[?1049l\x1b[?25h\x1b[0m\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\r\n";

/// Plays one channel, or all one after the other, until the end or Ctrl-C.
pub(crate) async fn play(asked: RecordingPlay) -> Result<Outcome> {
    let Opened { replay, wrong } = opened(&asked.opening, "play").await?;
    let channels: Vec<u32> = match asked.channel {
        Some(channel) => {
            let known = replay.channels().contains(&channel);
            ensure!(known, "the recording has no cast of channel {channel}");
            vec![channel]
        }
        None => replay.channels().to_vec(),
    };
    for channel in channels {
        say::line(format_args!("--- channel {channel}"))?;
        let mut cast = Vec::new();
        let ending = replay.write_cast(channel, &mut cast)?;
        let played = tokio::select! {
            played = play_cast(&cast, asked.speed, asked.idle_limit) => Some(played),
            _ = ctrl_c() => None,
        };
        say::bytes(AS_BEFORE)?;
        warn_if_cut(channel, &ending);
        match played {
            Some(played) => played?,
            None => break,
        }
    }
    Ok(outcome(&wrong))
}

async fn play_cast(cast: &[u8], speed: f64, longest: f64) -> Result<()> {
    let mut before = 0.0;
    // The first line is the header.
    for line in cast
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter(|line| !line.is_empty())
    {
        let (at, code, data): (f64, char, String) =
            serde_json::from_slice(line).context("the cast has a line that is no event")?;
        sleep(pause(at - before, speed, longest)).await;
        before = at;
        if code == 'o' {
            say::bytes(data.as_bytes())?;
        }
    }
    Ok(())
}

/// How long to wait where `seconds` passed.
fn pause(seconds: f64, speed: f64, longest: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.min(longest) / speed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_capped_then_shortened() {
        let rows = [
            (1.0, 1.0, 2.0, 1000),
            (60.0, 1.0, 2.0, 2000),
            (60.0, 4.0, 2.0, 500),
            (-1.0, 1.0, 2.0, 0),
        ];
        for (seconds, speed, longest, millis) in rows {
            assert_eq!(
                pause(seconds, speed, longest),
                Duration::from_millis(millis)
            );
        }
    }
}
