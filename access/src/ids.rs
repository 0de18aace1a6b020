//! Names and identifiers: parsed once at the edge, never compared as bare text inside.
//!
//! People, customers and targets are identified by the short names they are declared under
//! (`alice`, `chu-exemple`, `db1.chu-exemple`), so that evidence reads without a lookup.
//! Grants, sessions and factors carry random identifiers; interventions their number.

use serde::{Deserialize, Serialize};

/// A text that is not a valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

const SHORT: &str =
    "1 to 64 lower-case letters, digits, `-`, `_` or `.`, starting with a letter or digit";
const ACCOUNT: &str =
    "1 to 32 letters, digits, `-`, `_`, `.` or `$`, starting with a letter or `_`";
const NUMBER: &str = "`INT-`, a year, `-` and at least five digits, as in `INT-2026-00042`";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a text that follows this name's rule.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if $valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { kind: $kind, text: printable(text), rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// A customer's short name, such as `chu-exemple`.
    CustomerId, "customer name", is_short, SHORT
);
name!(
    /// A contact's login on the customer origin, such as `claire.martin`.
    ContactId, "contact name", is_short, SHORT
);
name!(
    /// An actor's short name, such as `infogerance-exemple`.
    ActorId, "actor name", is_short, SHORT
);
name!(
    /// An operator's login, such as `alice`. Never contains `+`, which separates login names.
    OperatorId, "operator login", is_short, SHORT
);
name!(
    /// A target's name, such as `db1.chu-exemple`.
    TargetId, "target name", is_short, SHORT
);
name!(
    /// A login on a target, such as `root`.
    AccountName, "account name", is_account, ACCOUNT
);
name!(
    /// An intervention's number, such as `INT-2026-00042`.
    InterventionId, "intervention number", is_number, NUMBER
);
name!(
    /// A grant's identifier, random.
    GrantId, "grant identifier", is_short, SHORT
);
name!(
    /// A session's identifier, random.
    SessionId, "session identifier", is_short, SHORT
);
name!(
    /// A second factor's identifier, random.
    FactorId, "factor identifier", is_short, SHORT
);
name!(
    /// A short-lived certificate's identifier, random.
    CertificateId, "certificate identifier", is_short, SHORT
);

impl FactorId {
    /// Of what was proven before it was kept.
    pub(crate) fn unknown() -> Self {
        Self("unknown".to_owned())
    }
}

impl InterventionId {
    /// The `sequence`-th intervention of `year`: `INT-2026-00042`.
    pub fn numbered(year: i16, sequence: i64) -> Self {
        Self(format!("INT-{year:04}-{sequence:05}"))
    }
}

macro_rules! random {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// An identifier made of 128 random bits.
            pub fn from_random(bits: [u8; 16]) -> Self {
                Self(format!(
                    concat!($prefix, "-{:032x}"),
                    u128::from_be_bytes(bits)
                ))
            }
        }
    };
}

random!(GrantId, "gr");
random!(SessionId, "se");
random!(FactorId, "fa");
random!(CertificateId, "ce");

fn is_short(text: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&text.len())
        && text.bytes().next().is_some_and(starts)
        && text.bytes().all(allowed)
        && !text.contains("..")
}

fn is_account(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'$');
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(allowed)
}

fn is_number(text: &str) -> bool {
    let Some((year, sequence)) = text
        .strip_prefix("INT-")
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    year.len() == 4
        && (5..=9).contains(&sequence.len())
        && year
            .bytes()
            .chain(sequence.bytes())
            .all(|b| b.is_ascii_digit())
}

/// What may be shown of a text that was typed: at most 64 characters; what a terminal or a page
/// would act on, or not show, is replaced.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| {
            if c.is_control() || turns_text(c) || is_unseen(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Characters that change the direction of the text after them, so that it reads as another one
/// (Unicode UAX 9, explicit formatting; UTS 55).
pub(crate) const fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that nobody sees (Unicode, default ignorable code points).
pub(crate) const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_login_names_or_paths_are_refused() {
        for bad in [
            "",
            "a+b",
            "../x",
            "a..b",
            "A",
            "-a",
            ".a",
            "a b",
            "a\n",
            "é",
            &"a".repeat(65),
        ] {
            assert!(OperatorId::parse(bad).is_err(), "{bad:?}");
            assert!(TargetId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["alice", "db1.chu-exemple", "a", "9lives"] {
            assert!(TargetId::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn account_names_follow_the_targets_rules() {
        for good in ["root", "_apt", "Administrateur", "svc$"] {
            assert!(AccountName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1x", "a b", "a+b", "a/b", "é"] {
            assert!(AccountName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervention_numbers_carry_their_year() {
        let number = InterventionId::numbered(2026, 42);
        assert_eq!(number.as_str(), "INT-2026-00042");
        assert_eq!(InterventionId::parse("INT-2026-00042").unwrap(), number);
        for bad in [
            "INT-26-00042",
            "INT-2026-42",
            "int-2026-00042",
            "INT-2026-0004x",
            "INT-2026-",
        ] {
            assert!(InterventionId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_without_control_characters() {
        let error = OperatorId::parse("a\u{1b}[31m").unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
