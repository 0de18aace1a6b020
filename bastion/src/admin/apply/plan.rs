//! The plan: what must change, computed before anything does. Pure but for the new customers' keys
//! and the host key files, which are read.

use super::file::Wanted;
use super::{grants, registers};
use crate::declared::{Declared, Fault, Faults, Place};
use access::operator::{OperatorState, Role};
use access::{Actor, Contact, Customer, CustomerId, Grant, Operator, Refusal, Target, Time, Who};
use recordings::PrivateKey;
use std::fmt;
use store::Saving;

/// What the registers hold.
#[derive(Default)]
pub(super) struct Known {
    pub(super) customers: Vec<Customer>,
    pub(super) contacts: Vec<Contact>,
    pub(super) actors: Vec<Actor>,
    pub(super) operators: Vec<Operator>,
    pub(super) targets: Vec<Target>,
    pub(super) grants: Vec<Grant>,
}

/// What happens to what the file does not name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pruning {
    LeaveAlone,
    /// Suspended, removed, disabled or withdrawn; never deleted.
    Prune,
}

/// Whether the platform is still being set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Setup {
    /// Rights are accepted as they are declared.
    Open,
    /// The same for the last time: this run closes the set-up.
    Closing,
    /// Rights are only proposed; two people approve them.
    Closed,
}

/// What kind of line of the plan it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    Create,
    Amend,
    End,
    Note,
}

/// One line of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) sign: Sign,
    pub(super) subject: String,
    pub(super) what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Create => '+',
            Sign::Amend => '~',
            Sign::End => '-',
            Sign::Note => ' ',
        };
        write!(f, "{sign} {:<34} {}", self.subject, self.what)
    }
}

/// Everything that will be done.
pub(super) struct Plan {
    lines: Vec<Line>,
    changes: Vec<Saving>,
    /// Private halves of new customers' recording keys.
    pub(super) keys: Vec<(CustomerId, PrivateKey)>,
    setup: Setup,
}

/// What the parts of the plan are made with.
pub(super) struct Draft<'a> {
    pub(super) declared: &'a Declared,
    pub(super) known: &'a Known,
    pub(super) pruning: Pruning,
    pub(super) setup: Setup,
    pub(super) by: &'a Who,
    pub(super) now: Time,
    lines: Vec<Line>,
    changes: Vec<Saving>,
    keys: Vec<(CustomerId, PrivateKey)>,
    faults: Vec<Fault>,
}

impl Plan {
    /// Compares what is wanted with what is known. Every fault comes back, not the first.
    pub(super) fn make(
        declared: &Declared,
        wanted: &Wanted,
        known: &Known,
        pruning: Pruning,
        setup: Setup,
        by: &Who,
        now: Time,
    ) -> Result<Self, Faults> {
        let mut draft = Draft {
            declared,
            known,
            pruning,
            setup,
            by,
            now,
            lines: Vec::new(),
            changes: Vec::new(),
            keys: Vec::new(),
            faults: Vec::new(),
        };
        registers::plan(&mut draft, wanted);
        grants::plan(&mut draft, wanted);
        draft.check_who_remains();
        if setup == Setup::Closing {
            draft.line(
                Sign::Amend,
                "set-up",
                "close; from now on a right needs two people",
            );
        }
        if !draft.faults.is_empty() {
            return Err(Faults(draft.faults));
        }
        Ok(Self {
            lines: draft.lines,
            changes: draft.changes,
            keys: draft.keys,
            setup,
        })
    }

    /// The plan as it is shown.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether everything is as declared already.
    pub(super) fn changes_nothing(&self) -> bool {
        self.changes.is_empty() && !self.closes_setup()
    }

    /// How much there is to do: `3 changes`.
    pub(super) fn count(&self) -> String {
        match self.lines.iter().filter(|l| l.sign != Sign::Note).count() {
            1 => "1 change".to_owned(),
            n => format!("{n} changes"),
        }
    }

    /// Whether this run ends the set-up.
    pub(super) fn closes_setup(&self) -> bool {
        self.setup == Setup::Closing
    }

    /// The changes, in the order in which they refer to each other.
    pub(super) fn changes(self) -> Vec<Saving> {
        self.changes
    }
}

impl Draft<'_> {
    /// Adds a line.
    pub(super) fn line(&mut self, sign: Sign, subject: impl Into<String>, what: impl Into<String>) {
        self.lines.push(Line {
            sign,
            subject: subject.into(),
            what: what.into(),
        });
    }

    /// Adds a change with its line; a refused one is a fault at its place.
    pub(super) fn change<S: Into<Saving>>(
        &mut self,
        place: &Place,
        line: (Sign, String, String),
        changed: Result<S, Refusal>,
    ) {
        match changed {
            Ok(changed) => {
                self.changes.push(changed.into());
                self.line(line.0, line.1, line.2);
            }
            Err(refusal) => self.fault(place, refusal.sentence),
        }
    }

    /// Adds a change that shares the line of the one before.
    pub(super) fn and<S: Into<Saving>>(&mut self, place: &Place, changed: Result<S, Refusal>) {
        match changed {
            Ok(changed) => self.changes.push(changed.into()),
            Err(refusal) => self.fault(place, refusal.sentence),
        }
    }

    /// Keeps the private half of a new customer's key until the plan is carried out.
    pub(super) fn key(&mut self, customer: CustomerId, private: PrivateKey) {
        self.keys.push((customer, private));
    }

    /// Something is wrong with the file.
    pub(super) fn fault(&mut self, place: &Place, sentence: impl Into<String>) {
        self.faults.push(self.declared.fault(place, sentence));
    }

    /// An administrator must remain, and once the set-up is closed somebody who can approve.
    fn check_who_remains(&mut self) {
        let mut people: Vec<Operator> = self.known.operators.clone();
        for change in &self.changes {
            if let Saving::Operator(changed) = change {
                people.retain(|person| person.id != changed.value().id);
                people.push(changed.value().clone());
            }
        }
        let holds = |role: Role| {
            people.iter().any(|person| {
                person.state == OperatorState::Active && person.details.roles.contains(&role)
            })
        };
        let (admin, approver) = (
            holds(Role::Admin),
            holds(Role::Manager) || holds(Role::Security),
        );
        let operators = Place::default().key("operators");
        if !admin && !people.is_empty() {
            self.fault(
                &operators,
                "no active administrator would remain; declare one",
            );
        }
        if self.setup == Setup::Closing && !approver {
            self.fault(
                &operators,
                "nobody could approve rights once the set-up is closed; declare a `manager` or `security`",
            );
        }
    }
}
