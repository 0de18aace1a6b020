//! The only file that reads a clock; everywhere else time is an argument.

use access::Time;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_run_forward() {
        let (day, tick) = (now(), monotonic());
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now() > day && monotonic() > tick);
    }
}
