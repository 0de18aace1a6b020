//! French first, English second: every text of the pages by its key, and dates as people say them.
//!
//! Times are shown in the time of Paris, with the zone named.

use access::contact::Language;
use access::time::Window;
use access::{Refusal, Time};
use fluent_templates::fluent_bundle::FluentValue;
use fluent_templates::{LanguageIdentifier, Loader, langid, static_loader};
use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::borrow::Cow;
use std::collections::HashMap;

static_loader! {
    static TEXTS = {
        locales: "./locales",
        fallback_language: "fr",
        customise: |bundle| bundle.set_use_isolating(false),
    };
}

const FRENCH: LanguageIdentifier = langid!("fr");
const ENGLISH: LanguageIdentifier = langid!("en");
const ZONE: &str = "Europe/Paris";

/// The words of one language, for a template to ask by key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words(pub(crate) Language);

impl Words {
    /// The text under `key`.
    pub(crate) fn t(self, key: &str) -> String {
        self.find(key, None)
    }

    /// The text under `key` with one thing named in it.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "templates hand over what they have, borrowed or not"
    )]
    pub(crate) fn with(self, key: &str, name: &'static str, value: impl ToString) -> String {
        self.fill(key, &[(name, value.to_string())])
    }

    /// The text under `key` with a number in it, in the right plural.
    pub(crate) fn count(self, key: &str, count: usize) -> String {
        let number = FluentValue::from(count);
        self.find(key, Some(&HashMap::from([(Cow::from("count"), number)])))
    }

    /// The text under `key` with several things named in it.
    pub(crate) fn fill(self, key: &str, values: &[(&'static str, String)]) -> String {
        self.find(key, Some(&arguments(values)))
    }

    fn try_fill(self, key: &str, values: &[(&'static str, String)]) -> Option<String> {
        TEXTS.try_lookup_complete(&self.identifier(), key, Some(&arguments(values)))
    }

    /// The code of the language, for the page's `lang`.
    pub(crate) const fn code(self) -> &'static str {
        match self.0 {
            Language::French => "fr",
            Language::English => "en",
        }
    }

    /// A day and a time, the zone named: `mardi 24 novembre 2026 à 10:00 (heure de Paris)`.
    pub(crate) fn time(self, at: Time) -> String {
        let zoned = local(at);
        self.fill(
            "time-full",
            &[
                ("day", self.civil_day(&zoned)),
                ("clock", clock(&zoned)),
                ("zone", self.zone(&zoned)),
            ],
        )
    }

    /// A day without its time: `24 novembre 2026`.
    pub(crate) fn day(self, at: Time) -> String {
        let zoned = local(at);
        self.fill(
            "time-day",
            &[
                ("day", zoned.day().to_string()),
                ("month", self.month(&zoned)),
                ("year", zoned.year().to_string()),
            ],
        )
    }

    /// For tables, where the zone is named in the heading: `24/11/2026 10:00:03`.
    pub(crate) fn short(self, at: Time) -> String {
        let zoned = local(at);
        let (year, month, day) = (zoned.year(), zoned.month(), zoned.day());
        let clock = format!("{}:{:02}", clock(&zoned), zoned.second());
        match self.0 {
            Language::French => format!("{day:02}/{month:02}/{year} {clock}"),
            Language::English => format!("{year}-{month:02}-{day:02} {clock}"),
        }
    }

    /// From when to when, the day said once where it is one.
    pub(crate) fn window(self, window: Window) -> String {
        let (start, end) = (local(window.start()), local(window.end()));
        let key = if start.date() == end.date() {
            "window-one-day"
        } else {
            "window-days"
        };
        self.fill(
            key,
            &[
                ("day", self.civil_day(&start)),
                ("from", clock(&start)),
                ("last", self.civil_day(&end)),
                ("to", clock(&end)),
                ("zone", self.zone(&end)),
            ],
        )
    }

    /// How long, in the largest two units that matter: `2 h 30 min`.
    pub(crate) fn span(self, from: Time, to: Time) -> String {
        let seconds = to.since(from).as_secs();
        let (days, hours, minutes) = (
            seconds / 86_400,
            seconds % 86_400 / 3600,
            seconds % 3600 / 60,
        );
        let day = match self.0 {
            Language::French => "j",
            Language::English => "d",
        };
        match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds} s"),
            (0, 0, _) => format!("{minutes} min"),
            (0, _, _) => format!("{hours} h {minutes:02} min"),
            (_, _, _) => format!("{days} {day} {hours} h"),
        }
    }

    /// The zone by which `at` is shown.
    pub(crate) fn zone_at(self, at: Time) -> String {
        self.zone(&local(at))
    }

    /// Why the trade says no: in French by its code; in English as it is said.
    pub(crate) fn refusal(self, refusal: &Refusal) -> String {
        let key = format!("refusal-{}", refusal.code.replace('_', "-"));
        let named = refusal.sentence.split('`').nth(1).unwrap_or_default();
        let field = format!("field-{}", named.replace(' ', "-"));
        let named = self
            .try_fill(&field, &[])
            .unwrap_or_else(|| named.to_owned());
        let translated = match self.0 {
            Language::English => None,
            Language::French => self.try_fill(&key, &[("named", named)]),
        };
        translated.unwrap_or_else(|| sentence(&refusal.sentence))
    }

    fn civil_day(self, zoned: &Zoned) -> String {
        let weekday = format!("weekday-{}", zoned.weekday().to_monday_one_offset());
        self.fill(
            "time-weekday",
            &[
                ("weekday", self.t(&weekday)),
                ("day", zoned.day().to_string()),
                ("month", self.month(zoned)),
                ("year", zoned.year().to_string()),
            ],
        )
    }

    fn month(self, zoned: &Zoned) -> String {
        self.t(&format!("month-{}", zoned.month()))
    }

    fn zone(self, zoned: &Zoned) -> String {
        if zoned.time_zone().iana_name() == Some(ZONE) {
            self.t("zone-paris")
        } else {
            "UTC".to_owned()
        }
    }

    fn find(
        self,
        key: &str,
        values: Option<&HashMap<Cow<'static, str>, FluentValue<'_>>>,
    ) -> String {
        TEXTS.lookup_complete(&self.identifier(), key, values)
    }

    const fn identifier(self) -> LanguageIdentifier {
        match self.0 {
            Language::French => FRENCH,
            Language::English => ENGLISH,
        }
    }
}

fn arguments<'a>(
    values: &'a [(&'static str, String)],
) -> HashMap<Cow<'static, str>, FluentValue<'a>> {
    values
        .iter()
        .map(|(name, value)| (Cow::from(*name), FluentValue::from(value.as_str())))
        .collect()
}

/// The point in time of a form's `2026-11-24T10:00`, in the time of Paris. A time that the change
/// to summer time leaves out is the next one that exists.
pub(crate) fn from_form(text: &str) -> Option<Time> {
    let civil: DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(zone()).ok()?;
    Some(Time::from_micros(zoned.timestamp().as_microsecond()))
}

/// A point in time as a form's field takes it.
pub(crate) fn to_form(at: Time) -> String {
    local(at).strftime("%Y-%m-%dT%H:%M").to_string()
}

fn local(at: Time) -> Zoned {
    at.timestamp().to_zoned(zone())
}

/// UTC stands in where the zone's rules are not to be had; it is then named so.
fn zone() -> TimeZone {
    TimeZone::get(ZONE).unwrap_or(TimeZone::UTC)
}

fn clock(zoned: &Zoned) -> String {
    format!("{:02}:{:02}", zoned.hour(), zoned.minute())
}

/// The domain's lower-case sentences as a page says them.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FR: Words = Words(Language::French);
    const EN: Words = Words(Language::English);

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn window(start: &str, end: &str) -> Window {
        Window::new(at(start), at(end)).unwrap()
    }

    #[test]
    fn times_are_those_of_paris_and_say_so() {
        let winter = at("2026-11-24T08:05:09Z");
        assert_eq!(
            FR.time(winter),
            "mardi 24 novembre 2026 à 09:05 (heure de Paris)"
        );
        assert_eq!(
            EN.time(winter),
            "Tuesday 24 November 2026 at 09:05 (Paris time)"
        );
        assert_eq!(FR.short(winter), "24/11/2026 09:05:09");
        assert_eq!(
            FR.time(at("2026-07-14T08:05:00Z")),
            "mardi 14 juillet 2026 à 10:05 (heure de Paris)"
        );
    }

    #[test]
    fn a_window_says_its_day_once() {
        let one = window("2026-11-24T08:00:00Z", "2026-11-24T10:00:00Z");
        assert_eq!(
            FR.window(one),
            "mardi 24 novembre 2026, de 09:00 à 11:00 (heure de Paris)"
        );
        let night = window("2026-11-24T22:00:00Z", "2026-11-25T04:00:00Z");
        assert_eq!(
            FR.window(night),
            "du mardi 24 novembre 2026 à 23:00 au mercredi 25 novembre 2026 à 05:00 (heure de Paris)"
        );
    }

    #[test]
    fn a_form_is_read_as_it_was_written_also_when_clocks_change() {
        for text in ["2026-11-24T09:30", "2026-07-14T23:59", "2027-03-28T03:30"] {
            assert_eq!(to_form(from_form(text).unwrap()), text);
        }
        // 02:30 does not exist on that night; the clock then says 03:30.
        assert_eq!(
            to_form(from_form("2027-03-28T02:30").unwrap()),
            "2027-03-28T03:30"
        );
        for bad in ["", "tomorrow", "2026-13-01T00:00", "2026-11-24T25:00"] {
            assert!(from_form(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn plurals_are_french_in_french() {
        assert_eq!(FR.count("work-passkeys", 0), "0 clé d'accès");
        assert_eq!(FR.count("work-passkeys", 2), "2 clés d'accès");
        assert_eq!(EN.count("work-passkeys", 0), "0 passkeys");
    }

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        let rows = [
            (59, "59 s"),
            (90, "1 min"),
            (5400, "1 h 30 min"),
            (180_000, "2 j 2 h"),
        ];
        for (seconds, said) in rows {
            let from = at("2026-11-24T08:00:00Z");
            assert_eq!(FR.span(from, from.plus(Duration::from_secs(seconds))), said);
        }
    }
}
