//! What a client types as its user name, and how long a login stands. Pure.

use access::decide::LoginAge;
use access::ids::NameError;
use access::{AccountName, InterventionId, OperatorId, Time};
use std::time::Duration;

/// A parsed user name: `alice`, `alice+root+db1.chu-exemple` or
/// `alice+root+db1.chu-exemple+INT-2026-00042`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Login {
    pub(crate) operator: OperatorId,
    pub(crate) wanted: Wanted,
}

/// Where the person wants to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Nowhere: the bastion itself, its menu and commands.
    Bastion,
    Target(Destination),
}

/// An account on a target, under a named intervention or whichever fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Destination {
    pub(crate) account: AccountName,
    /// As typed; it may be no target at all.
    pub(crate) target: String,
    pub(crate) intervention: Option<InterventionId>,
}

impl Login {
    /// Reads a user name. `+` separates, since it survives scp, rsync, git and Ansible.
    pub(crate) fn parse(user: &str) -> Result<Self, NameError> {
        let mut parts = user.splitn(4, '+');
        let operator = OperatorId::parse(parts.next().unwrap_or_default())?;
        let Some(account) = parts.next() else {
            return Ok(Self {
                operator,
                wanted: Wanted::Bastion,
            });
        };
        let account = AccountName::parse(account)?;
        let target = access::TargetId::parse(parts.next().unwrap_or_default())?.to_string();
        let intervention = parts.next().map(InterventionId::parse).transpose()?;
        Ok(Self {
            operator,
            wanted: Wanted::Target(Destination {
                account,
                target,
                intervention,
            }),
        })
    }
}

impl Login {
    /// Reads the user name of a connection to `target` within one of `operator`'s: `root`, or
    /// `root+INT-2026-00042`.
    pub(crate) fn through(
        operator: &OperatorId,
        target: &str,
        user: &str,
    ) -> Result<Self, NameError> {
        let (account, intervention) = match user.split_once('+') {
            Some((account, number)) => (account, Some(InterventionId::parse(number)?)),
            None => (user, None),
        };
        Ok(Self {
            operator: operator.clone(),
            wanted: Wanted::Target(Destination {
                account: AccountName::parse(account)?,
                target: target.to_owned(),
                intervention,
            }),
        })
    }
}

impl Wanted {
    /// As a person would say it: `root@db1.chu-exemple`, or nothing.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Bastion => String::new(),
            Self::Target(destination) => destination.shown(),
        }
    }
}

impl Destination {
    /// `root@db1.chu-exemple`.
    pub(crate) fn shown(&self) -> String {
        format!("{}@{}", self.account, self.target)
    }
}

/// When a second factor was proven, by both clocks: one tells of a machine that slept, the other
/// does not go back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProvenAt {
    pub(crate) day: Time,
    /// Monotonic microseconds.
    pub(crate) tick: i64,
}

impl ProvenAt {
    /// Whether anything new may be opened on it still.
    pub(crate) fn age(self, limit: Duration, now: Self) -> LoginAge {
        let ran = u64::try_from(now.tick - self.tick).unwrap_or(0);
        if now.day.since(self.day) < limit && Duration::from_micros(ran) < limit {
            LoginAge::Young
        } else {
            LoginAge::Old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_read_as_people_type_them() {
        let alice = OperatorId::parse("alice").unwrap();
        assert_eq!(
            Login::parse("alice").unwrap(),
            Login {
                operator: alice.clone(),
                wanted: Wanted::Bastion
            }
        );
        let destination = |intervention: Option<&str>| {
            Wanted::Target(Destination {
                account: AccountName::parse("root").unwrap(),
                target: "db1.chu-exemple".into(),
                intervention: intervention.map(|i| InterventionId::parse(i).unwrap()),
            })
        };
        assert_eq!(
            Login::parse("alice+root+db1.chu-exemple").unwrap().wanted,
            destination(None)
        );
        assert_eq!(
            Login::parse("alice+root+db1.chu-exemple+INT-2026-00042")
                .unwrap()
                .wanted,
            destination(Some("INT-2026-00042"))
        );
    }

    #[test]
    fn a_login_is_too_old_by_whichever_clock_says_so() {
        let at = |day: i64, tick: i64| ProvenAt {
            day: Time::from_micros(day * 1_000_000),
            tick: tick * 1_000_000,
        };
        let limit = Duration::from_secs(10);
        for (day, tick, age) in [
            (100, 0, LoginAge::Young),
            (109, 9, LoginAge::Young),
            (110, 9, LoginAge::Old),
            (109, 10, LoginAge::Old),
            // The clock went back.
            (50, 9, LoginAge::Young),
            (50, 10, LoginAge::Old),
        ] {
            assert_eq!(at(100, 0).age(limit, at(day, tick)), age, "{day} {tick}");
        }
    }

    #[test]
    fn what_is_no_user_name_is_refused() {
        for bad in [
            "",
            "+",
            "alice+",
            "alice+root",
            "alice+root+",
            "alice++db1",
            "Alice",
            "alice+root+db1+",
            "alice+root+db1+INT-1",
            "alice+root+db1+INT-2026-00042+x",
            "alice+root+../x",
            "alice\0",
        ] {
            assert!(Login::parse(bad).is_err(), "{bad:?}");
        }
    }
}
