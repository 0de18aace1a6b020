//! The only file that reads a clock; everywhere else time is an argument.

use access::Time;
use anyhow::{Context as _, Result, bail};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of day, UTC. A clock set before 1970 reads as 1970: every window is then closed.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place where the clock is read"
)]
pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Microseconds since this was first asked; never goes back.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place where the clock is read"
)]
pub(crate) fn monotonic() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Reads `90`, `90s`, `15m`, `8h` or `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        unit => bail!("`{unit}` is not one of `s`, `m`, `h`, `d`"),
    };
    let total = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds));
    total
        .map(Duration::from_secs)
        .with_context(|| format!("`{text}` is not a duration like `90s` or `8h`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_run_forward() {
        let (day, tick) = (now(), monotonic());
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now() > day && monotonic() > tick);
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("8h", 28_800),
            ("2d", 172_800),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds));
        }
        for bad in ["", "m", "1w", "-1s", "1.5h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
