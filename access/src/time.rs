//! Points in time: microseconds since the Unix epoch, UTC. Reads no clock.

use jiff::{RoundMode, Timestamp, TimestampRound, ToSpan, Unit, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// `micros` since the Unix epoch, UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch, UTC.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads an RFC 3339 timestamp such as `2026-11-24T09:00:00+01:00`.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        text.parse::<Timestamp>()
            .map(|t| Self(t.as_microsecond()))
            .map_err(|_| TimeError(text.to_owned()))
    }

    /// This time and `by` more. Saturates at the end of the representable range.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(by)))
    }

    /// This time less `by`. Saturates at the start of the representable range.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(by)))
    }

    /// `months` civil months later in UTC: 31 January and one month is 28 (or 29) February.
    /// Where the calendar (years -9999 to 9999) does not reach, this very time: what is due then
    /// is due at once, and no right lasts longer for it.
    #[must_use]
    pub fn plus_months(self, months: i8) -> Self {
        let Ok(start) = Timestamp::from_microsecond(self.0) else {
            return self;
        };
        let later = start
            .to_zoned(TimeZone::UTC)
            .checked_add(i32::from(months).months());
        later.map_or(self, |zoned| Self(zoned.timestamp().as_microsecond()))
    }

    /// How long from `earlier` to this time; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, to the second, rounded down: `2026-11-24T08:00:00Z`. Never a second that
    /// has not come, so that nothing reads as having happened after a window that was still open.
    pub fn rfc3339(self) -> String {
        let down = TimestampRound::new()
            .smallest(Unit::Second)
            .mode(RoundMode::Floor);
        let whole = self.timestamp().round(down).unwrap_or(self.timestamp());
        whole.to_string()
    }

    /// The calendar year in UTC.
    pub fn year(self) -> i16 {
        self.timestamp().to_zoned(TimeZone::UTC).year()
    }

    /// The same point for the `jiff` library; clamped to its range.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A text that is not a timestamp.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time like `2026-11-24T09:00:00+01:00`")]
pub struct TimeError(String);

/// A span with its start and its end; `start < end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "RawWindow")]
pub struct Window {
    start: Time,
    end: Time,
}

#[derive(Deserialize)]
struct RawWindow {
    start: Time,
    end: Time,
}

impl TryFrom<RawWindow> for Window {
    type Error = WindowError;
    fn try_from(raw: RawWindow) -> Result<Self, WindowError> {
        Self::new(raw.start, raw.end)
    }
}

impl Window {
    /// From `start` (included) to `end` (excluded).
    pub fn new(start: Time, end: Time) -> Result<Self, WindowError> {
        if start < end {
            Ok(Self { start, end })
        } else {
            Err(WindowError { start, end })
        }
    }

    /// The first instant inside.
    pub const fn start(self) -> Time {
        self.start
    }

    /// The first instant after.
    pub const fn end(self) -> Time {
        self.end
    }

    /// Where `now` stands: before, inside or after.
    pub fn at(self, now: Time) -> Position {
        if now < self.start {
            Position::Before
        } else if now < self.end {
            Position::Inside
        } else {
            Position::After
        }
    }
}

/// Where a time stands in regard to a [`Window`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    Before,
    Inside,
    After,
}

/// A window that ends before it starts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the window ends at `{end}`, which is not after its start `{start}`")]
pub struct WindowError {
    start: Time,
    end: Time,
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_after_a_leap_day_is_the_28th_of_february() {
        let leap = Time::parse("2028-02-29T12:00:00Z").unwrap();
        assert_eq!(leap.plus_months(12).rfc3339(), "2029-02-28T12:00:00Z");
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_refused() {
        let t = Time::from_micros(5);
        assert!(Window::new(t, t).is_err());
        assert!(serde_json::from_str::<Window>(r#"{"start":5,"end":4}"#).is_err());
    }

    #[test]
    fn the_end_of_a_window_is_outside_of_it() {
        let window = Window::new(Time::from_micros(1), Time::from_micros(3)).unwrap();
        assert_eq!(window.at(Time::from_micros(0)), Position::Before);
        assert_eq!(window.at(Time::from_micros(1)), Position::Inside);
        assert_eq!(window.at(Time::from_micros(2)), Position::Inside);
        assert_eq!(window.at(Time::from_micros(3)), Position::After);
    }

    #[test]
    fn a_time_that_is_no_time_is_named_in_the_error() {
        assert_eq!(
            Time::parse("tomorrow").unwrap_err().to_string(),
            "`tomorrow` is not a time like `2026-11-24T09:00:00+01:00`"
        );
    }
}
