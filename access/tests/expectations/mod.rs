//! What each fact says by itself, and which facts fall silent where another is missing.
//!
//! This says nothing of how `decide` works: it is what `decide` is held against.

use crate::fixtures::*;
use access::credentials::{Certified, Given};
use access::decide::{Arming, Capacity, Code, LoginAge, Recording, Supervision};
use access::forward::{Endpoint, parse_list};
use access::grant::{GrantState, Operation};
use access::operator::{Network, OperatorState, Role};
use access::plan::PlanText;
use access::second_factor::{Holder, Proof};
use access::target::TargetState;
use access::{Certificate, CustomerId, FactorId, Facts, Intervention, Time};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What each value of each fact says by itself, everything else being good. The first value of
/// each dimension is the good one.
#[allow(
    clippy::too_many_lines,
    reason = "it is the table: one line per value, nothing else"
)]
pub(crate) fn groups() -> Vec<Group> {
    use Code as C;
    vec![
        group(
            "person",
            vec![
                dimension(
                    "operator",
                    vec![
                        v("active", &[], |_| {}),
                        v("unknown", &[C::OperatorUnknown, C::GrantMissing], |c| {
                            c.facts.operator = None;
                        }),
                        v("suspended", &[C::OperatorSuspended], |c| {
                            c.operator(|o| {
                                o.state = OperatorState::Suspended {
                                    since: NOW,
                                    reason: "left".into(),
                                };
                            });
                        }),
                    ],
                ),
                dimension(
                    "role",
                    vec![
                        v("works on targets", &[], |_| {}),
                        v("works on targets and runs the platform", &[], |c| {
                            c.operator(|o| o.details.roles = roles(&[Role::Operator, Role::Admin]));
                        }),
                        v(
                            "auditor, manager, security and admin alone",
                            &[C::OperatorUnknown],
                            |c| {
                                c.operator(|o| {
                                    o.details.roles = roles(&[
                                        Role::Auditor,
                                        Role::Manager,
                                        Role::Security,
                                        Role::Admin,
                                    ]);
                                });
                            },
                        ),
                    ],
                ),
                dimension(
                    "actor",
                    vec![
                        v("active", &[], |_| {}),
                        v("missing", &[C::ActorSuspended], |c| c.facts.actor = None),
                        v("another than the operator's", &[C::ActorSuspended], |c| {
                            let mut other = actor();
                            other.id = access::ActorId::parse("another").unwrap();
                            c.facts.actor = Some(other);
                        }),
                        v("suspended", &[C::ActorSuspended], |c| {
                            let stopped = actor().suspend("certificate lapsed", by(), NOW).unwrap();
                            c.facts.actor = Some(stopped.into_parts().0);
                        }),
                    ],
                ),
                dimension(
                    "charter",
                    vec![
                        v("none asked for, none accepted", &[], |_| {}),
                        v("none asked for, one accepted", &[], |c| {
                            c.charter(None, Some("2025"));
                        }),
                        v("asked for and accepted", &[], |c| {
                            c.charter(Some("2026"), Some("2026"));
                        }),
                        v(
                            "asked for, an older one accepted",
                            &[C::CharterNotAccepted],
                            |c| {
                                c.charter(Some("2026"), Some("2025"));
                            },
                        ),
                        v("asked for, none accepted", &[C::CharterNotAccepted], |c| {
                            c.charter(Some("2026"), None);
                        }),
                    ],
                ),
                dimension(
                    "proof",
                    vec![
                        v("passkey", &[], |_| {}),
                        v("passkey, where a passkey is asked for", &[], |c| {
                            c.proof(Some(Proof::Passkey), Proof::Passkey);
                        }),
                        v("code", &[], |c| c.proof(Some(Proof::Totp), Proof::Totp)),
                        v(
                            "code, where a passkey is asked for",
                            &[C::SecondFactorTooWeak],
                            |c| {
                                c.proof(Some(Proof::Totp), Proof::Passkey);
                            },
                        ),
                        v("none", &[C::SecondFactorMissing], |c| {
                            c.proof(None, Proof::Totp);
                        }),
                        v(
                            "none, where a passkey is asked for",
                            &[C::SecondFactorMissing],
                            |c| {
                                c.proof(None, Proof::Passkey);
                            },
                        ),
                    ],
                ),
            ],
        ),
        group(
            "credentials",
            vec![
                dimension(
                    "key",
                    vec![
                        v("declared", &[], |_| {}),
                        v("declared beside another", &[], |c| {
                            c.operator(|o| o.details.keys.insert(0, "ssh-rsa AAAA".into()));
                        }),
                        v("declared no more", &[C::OperatorUnknown], |c| {
                            c.operator(|o| o.details.keys = vec!["ssh-rsa AAAA".into()]);
                        }),
                        v("none is declared", &[C::OperatorUnknown], |c| {
                            c.operator(|o| o.details.keys.clear());
                        }),
                    ],
                ),
                dimension(
                    "factor",
                    vec![
                        v("in use", &[], |_| {}),
                        v("out of use since", &[C::SecondFactorMissing], |c| {
                            c.given(|g| g.factor.as_mut().unwrap().revoked_at = Some(NOW));
                        }),
                        v("no longer there", &[C::SecondFactorMissing], |c| {
                            c.given(|g| g.factor = None);
                        }),
                        v("somebody else's", &[C::SecondFactorMissing], |c| {
                            c.given(|g| {
                                let holder = Holder::Operator(olga().id);
                                g.factor.as_mut().unwrap().holder = holder;
                            });
                        }),
                        v("another one", &[C::SecondFactorMissing], |c| {
                            c.given(|g| {
                                let id = FactorId::from_random([8; 16]);
                                g.factor.as_mut().unwrap().id = id;
                            });
                        }),
                    ],
                ),
                dimension(
                    "certificate",
                    vec![
                        v("none was given", &[], |_| {}),
                        v("lasts", &[], |c| c.certified(|_| {})),
                        v("has ended", &[C::SecondFactorMissing], |c| {
                            c.certified(|known| known.ends_at = NOW);
                        }),
                        v("starts later", &[C::SecondFactorMissing], |c| {
                            c.certified(|known| known.issued_at = NOW.plus(INSTANT));
                        }),
                        v("revoked", &[C::SecondFactorMissing], |c| {
                            c.certified(|known| known.revoked_at = Some(NOW));
                        }),
                        v("for another address", &[C::SecondFactorMissing], |c| {
                            c.certified(|known| known.source = "192.0.2.98".parse().unwrap());
                        }),
                        v("somebody else's", &[C::SecondFactorMissing], |c| {
                            c.certified(|known| known.operator = olga().id);
                        }),
                        v(
                            "asked for with another key",
                            &[C::SecondFactorMissing],
                            |c| {
                                c.certified(|known| known.asked_with.key = "SHA256:x".into());
                            },
                        ),
                        v("of an authority, lasts", &[], |c| {
                            c.given(|g| g.credentials.certified = Some(by_authority()));
                        }),
                        v(
                            "of an authority, has ended",
                            &[C::SecondFactorMissing],
                            |c| {
                                c.given(|g| {
                                    let ended = Certified {
                                        until: NOW,
                                        ..by_authority()
                                    };
                                    g.credentials.certified = Some(ended);
                                });
                            },
                        ),
                        v("unknown", &[C::SecondFactorMissing], |c| {
                            c.certified(|_| {});
                            c.given(|g| g.certificate = None);
                        }),
                    ],
                ),
            ],
        ),
        group(
            "login",
            vec![dimension(
                "login",
                vec![
                    v("today's", &[], |_| {}),
                    v("too long ago", &[C::SecondFactorMissing], |c| {
                        c.facts.means.login = LoginAge::Old;
                    }),
                ],
            )],
        ),
        group(
            "place",
            vec![
                dimension(
                    "address",
                    vec![
                        v("anywhere is agreed", &[], |_| {}),
                        v("in the agreed network", &[], |c| {
                            c.sources(&["192.0.2.0/24"]);
                        }),
                        v("in the second agreed network", &[], |c| {
                            c.sources(&["2001:db8::/32", "192.0.2.99"]);
                        }),
                        v(
                            "outside of the agreed networks",
                            &[C::SourceAddressRefused],
                            |c| {
                                c.sources(&["198.51.100.0/24", "2001:db8::/32"]);
                            },
                        ),
                    ],
                ),
                dimension(
                    "written",
                    vec![
                        v("as IPv4", &[], |_| {}),
                        v("as IPv6", &[], |c| {
                            c.facts.place.source = "::ffff:192.0.2.99".parse().unwrap();
                        }),
                    ],
                ),
                dimension(
                    "country",
                    vec![
                        v("known, not looked at", &[], |_| {}),
                        v("unknown, not looked at", &[], |c| c.country(None, None)),
                        v("agreed", &[], |c| {
                            c.country(Some("FR"), Some(&["BE", "FR"]));
                        }),
                        v("not agreed", &[C::SourceCountryRefused], |c| {
                            c.country(Some("US"), Some(&["BE", "FR"]));
                        }),
                        v(
                            "agreed, in other letters",
                            &[C::SourceCountryRefused],
                            |c| {
                                c.country(Some("fr"), Some(&["BE", "FR"]));
                            },
                        ),
                        v("unknown", &[C::SourceCountryRefused], |c| {
                            c.country(None, Some(&["BE", "FR"]));
                        }),
                        v("none is agreed", &[C::SourceCountryRefused], |c| {
                            c.country(Some("FR"), Some(&[]));
                        }),
                    ],
                ),
            ],
        ),
        group(
            "target",
            vec![
                dimension(
                    "target",
                    vec![
                        v("enabled", &[], |_| {}),
                        v("unknown", &[C::TargetUnknown], |c| c.facts.target = None),
                        v("disabled", &[C::TargetDisabled], |c| {
                            c.target(|t| {
                                t.state = TargetState::Disabled {
                                    since: NOW,
                                    reason: "retired".into(),
                                };
                            });
                        }),
                    ],
                ),
                dimension(
                    "host keys",
                    vec![
                        v("pinned", &[], |_| {}),
                        v("none", &[C::HostKeyNotPinned], |c| {
                            c.target(|t| t.details.host_keys.clear());
                        }),
                        v("an empty line", &[C::HostKeyNotPinned], |c| {
                            c.target(|t| t.details.host_keys = vec![String::new(), " ".into()]);
                        }),
                    ],
                ),
                dimension(
                    "account on the target",
                    vec![
                        v("registered", &[], |_| {}),
                        v("not registered", &[C::AccountNotGranted], |c| {
                            c.target(|t| t.details.accounts = one(account("postgres")));
                        }),
                    ],
                ),
            ],
        ),
        group(
            "grant",
            vec![
                dimension(
                    "right",
                    vec![
                        v("in force", &[], |_| {}),
                        v("none", &[C::GrantMissing], |c| c.facts.grant = None),
                        v("proposed only", &[C::GrantMissing], |c| {
                            c.facts.grant = Some(proposed_grant());
                        }),
                        v("starts an instant later", &[C::GrantNotStarted], |c| {
                            c.validity(NOW.plus(INSTANT), NOW.plus(DAY));
                        }),
                        v("starts now", &[], |c| c.validity(NOW, NOW.plus(DAY))),
                        v("ends an instant later", &[], |c| {
                            c.validity(NOW.minus(DAY), NOW.plus(INSTANT));
                        }),
                        v("ends now", &[C::GrantExpired], |c| {
                            c.validity(NOW.minus(DAY), NOW);
                        }),
                        v("ended", &[C::GrantExpired], |c| {
                            c.validity(NOW.minus(2 * DAY), NOW.minus(DAY));
                        }),
                        v("withdrawn", &[C::GrantWithdrawn], |c| {
                            c.grant(|g| {
                                *g = g
                                    .clone()
                                    .withdraw("moved on", by(), NOW)
                                    .unwrap()
                                    .into_parts()
                                    .0;
                            });
                        }),
                        v("review due an instant later", &[], |c| {
                            c.review_due(NOW.plus(INSTANT));
                        }),
                        v("review due now", &[C::GrantReviewOverdue], |c| {
                            c.review_due(NOW);
                        }),
                        v("review overdue", &[C::GrantReviewOverdue], |c| {
                            c.review_due(NOW.minus(DAY));
                        }),
                    ],
                ),
                dimension(
                    "right's holder",
                    vec![
                        v("the operator", &[], |_| {}),
                        v("another", &[C::GrantMissing], |c| {
                            c.grant(|g| g.terms.operator = olga().id);
                        }),
                    ],
                ),
                dimension(
                    "right's targets",
                    vec![
                        v("with this one", &[], |_| {}),
                        v("others", &[C::GrantMissing], |c| {
                            c.grant(|g| g.terms.scope.targets = one(target_id("db2.chu-exemple")));
                        }),
                        v("none", &[C::GrantMissing], |c| {
                            c.grant(|g| g.terms.scope.targets.clear());
                        }),
                    ],
                ),
                dimension(
                    "right's customer",
                    vec![
                        v("the target's", &[], |_| {}),
                        v("another", &[C::GrantMissing], |c| {
                            c.grant(|g| g.terms.customer = other_customer());
                        }),
                    ],
                ),
                dimension(
                    "right's accounts",
                    vec![
                        v("with this one", &[], |_| {}),
                        v("others", &[C::AccountNotGranted], |c| {
                            c.grant(|g| g.terms.scope.accounts = one(account("postgres")));
                        }),
                        v("the same in other letters", &[C::AccountNotGranted], |c| {
                            c.grant(|g| g.terms.scope.accounts = one(account("Root")));
                        }),
                    ],
                ),
            ],
        ),
        group(
            "operation",
            vec![dimension(
                "operation",
                vec![
                    v("asked for, in the right and in the plan", &[], |_| {}),
                    v(
                        "asked for, not in the right",
                        &[C::OperationNotGranted],
                        |c| {
                            c.operations(Some(Operation::Download));
                        },
                    ),
                    v(
                        "asked for, not in the plan",
                        &[C::OperationNotInIntervention],
                        |c| {
                            c.operations(Some(Operation::Upload));
                        },
                    ),
                    v(
                        "asked for, in neither",
                        &[
                            C::OperationNotGranted,
                            C::OperationNotInIntervention,
                            C::DestinationNotInIntervention,
                        ],
                        |c| c.operations(Some(Operation::Forward)),
                    ),
                    v("a connection to where the plan lists", &[], |c| {
                        c.forward("db.internal", 5432, &["db.internal:5432"]);
                    }),
                    v("a connection to any port of a host", &[], |c| {
                        c.forward("localhost", 1, &["db.internal:5432", "localhost:*"]);
                    }),
                    v(
                        "a connection to where the plan does not list",
                        &[C::DestinationNotInIntervention],
                        |c| c.forward("db.internal", 5433, &["db.internal:5432"]),
                    ),
                    v(
                        "a connection to another name of the same place",
                        &[C::DestinationNotInIntervention],
                        |c| c.forward("127.0.0.1", 5432, &["localhost:5432"]),
                    ),
                    v(
                        "a connection, where the plan lists no place",
                        &[C::DestinationNotInIntervention],
                        |c| c.forward("localhost", 5432, &[]),
                    ),
                    v(
                        "connections, where the plan lists no place",
                        &[C::DestinationNotInIntervention],
                        |c| {
                            c.forward("localhost", 5432, &[]);
                            c.facts.asked.forward_to = None;
                        },
                    ),
                    v("not said yet", &[], |c| c.operations(None)),
                    v(
                        "not said yet, and right and plan share none",
                        &[C::OperationNotInIntervention],
                        |c| {
                            c.operations(None);
                            c.text(|t| t.operations = one(Operation::Download));
                        },
                    ),
                ],
            )],
        ),
        group(
            "intervention",
            vec![
                dimension(
                    "state",
                    vec![
                        v("approved", &[], |_| {}),
                        v("none", &[C::InterventionMissing], |c| c.plan = None),
                        v("draft", &[C::InterventionNotApproved], |c| c.state("draft")),
                        v("submitted", &[C::InterventionNotApproved], |c| {
                            c.state("submitted");
                        }),
                        v("info_requested", &[C::InterventionNotApproved], |c| {
                            c.state("info_requested");
                        }),
                        v("refused", &[C::InterventionNotApproved], |c| {
                            c.state("refused");
                        }),
                        v("withdrawn", &[C::InterventionNotApproved], |c| {
                            c.state("withdrawn");
                        }),
                        v("expired", &[C::InterventionNotApproved], |c| {
                            c.state("expired");
                        }),
                        v("revoked", &[C::InterventionRevoked], |c| c.state("revoked")),
                        v("closed", &[C::InterventionOver], |c| c.state("closed")),
                        v(
                            "approved, without an approval on file",
                            &[C::InterventionNotApproved],
                            |c| {
                                c.state("unsigned");
                            },
                        ),
                        v(
                            "approved, by a statement that was made up",
                            &[C::InterventionNotApproved],
                            |c| {
                                c.state("made up");
                            },
                        ),
                        v(
                            "approved, the plan altered since",
                            &[C::InterventionNotApproved],
                            |c| {
                                c.state("altered");
                            },
                        ),
                    ],
                ),
                dimension(
                    "window",
                    vec![
                        v("now is inside", &[], |_| {}),
                        v("opens now", &[], |c| c.window(NOW, NOW.plus(HOUR))),
                        v(
                            "opens an instant later",
                            &[C::InterventionNotStarted],
                            |c| {
                                c.window(NOW.plus(INSTANT), NOW.plus(HOUR));
                            },
                        ),
                        v("ends an instant later", &[], |c| {
                            c.window(NOW.minus(HOUR), NOW.plus(INSTANT));
                        }),
                        v("ends now", &[C::InterventionOver], |c| {
                            c.window(NOW.minus(HOUR), NOW);
                        }),
                        v("ended", &[C::InterventionOver], |c| {
                            c.window(NOW.minus(2 * HOUR), NOW.minus(HOUR));
                        }),
                    ],
                ),
                dimension(
                    "plan's operators",
                    vec![
                        v("with this one", &[], |_| {}),
                        v("others", &[C::OperatorNotInIntervention], |c| {
                            c.text(|t| t.operators = one(olga().id));
                        }),
                    ],
                ),
                dimension(
                    "plan's targets",
                    vec![
                        v("with this one", &[], |_| {}),
                        v("others", &[C::TargetNotInIntervention], |c| {
                            c.text(|t| t.targets = one(target_id("db2.chu-exemple")));
                        }),
                    ],
                ),
                dimension(
                    "plan's accounts",
                    vec![
                        v("with this one", &[], |_| {}),
                        v("others", &[C::TargetNotInIntervention], |c| {
                            c.text(|t| t.accounts = one(account("postgres")));
                        }),
                    ],
                ),
                dimension(
                    "plan's customer",
                    vec![
                        v("the target's", &[], |_| {}),
                        v("another", &[C::TargetNotInIntervention], |c| {
                            if let Some(plan) = &mut c.plan {
                                plan.customer = other_customer();
                            }
                        }),
                    ],
                ),
            ],
        ),
        group(
            "means",
            vec![
                dimension(
                    "arming",
                    vec![
                        v("not asked for", &[], |_| {}),
                        v("armed", &[], |c| c.facts.means.arming = Arming::Armed),
                        v("missing", &[C::InterventionNotArmed], |c| {
                            c.facts.means.arming = Arming::Missing;
                        }),
                    ],
                ),
                dimension(
                    "supervisor",
                    vec![
                        v("not asked for", &[], |_| {}),
                        v("present", &[], |c| {
                            c.facts.means.supervision = Supervision::Present;
                        }),
                        v("absent", &[C::SupervisorAbsent], |c| {
                            c.facts.means.supervision = Supervision::Absent;
                        }),
                    ],
                ),
                dimension(
                    "recording",
                    vec![
                        v("available", &[], |_| {}),
                        v("unavailable", &[C::RecordingUnavailable], |c| {
                            c.facts.means.recording = Recording::Unavailable;
                        }),
                    ],
                ),
                dimension(
                    "capacity",
                    vec![
                        v("free", &[], |_| {}),
                        v("reached", &[C::CapacityReached], |c| {
                            c.facts.means.capacity = Capacity::Reached;
                        }),
                    ],
                ),
                dimension(
                    "session",
                    vec![
                        v("a new one", &[], |_| {}),
                        v("lives for an hour of eight", &[], |c| {
                            c.facts.since = Some(NOW.minus(HOUR));
                        }),
                        v(
                            "lives for eight hours of eight",
                            &[C::CapacityReached],
                            |c| {
                                c.facts.since = Some(NOW.minus(8 * HOUR));
                            },
                        ),
                    ],
                ),
            ],
        ),
    ]
}

/// A dimension or a value, and the codes it does not say.
type Silence = (&'static str, &'static [Code]);

/// Who falls silent where something else is missing: of each dimension, or value, the codes that
/// are not said; all where none is named. What is silent makes nothing else silent.
const SILENT: &[(&str, &[Silence])] = &[
    (
        "operator: unknown",
        &[
            ("role", &[]),
            ("actor", &[]),
            ("charter", &[]),
            ("address", &[]),
            ("right", &[]),
            ("right's holder", &[]),
            ("right's targets", &[]),
            ("right's customer", &[]),
            ("right's accounts", &[]),
            ("account on the target", &[]),
            ("operation", &[Code::OperationNotGranted]),
            (SHARE_NONE, &[]),
            ("plan's operators", &[]),
            ("key", &[]),
            ("factor", &[]),
            ("certificate", &[]),
        ],
    ),
    ("proof: none", &[("key", &[])]),
    ("proof: none, where a passkey is asked for", &[("key", &[])]),
    (
        "target: unknown",
        &[
            ("host keys", &[]),
            ("account on the target", &[]),
            ("right's targets", &[]),
            ("right's customer", &[]),
            ("plan's targets", &[]),
            ("plan's accounts", &[]),
            ("plan's customer", &[]),
        ],
    ),
    (
        "right: none",
        &[
            ("right's holder", &[]),
            ("right's targets", &[]),
            ("right's customer", &[]),
            ("right's accounts", &[]),
            ("account on the target", &[]),
            ("operation", &[Code::OperationNotGranted]),
            (SHARE_NONE, &[]),
        ],
    ),
    ("right's holder: another", ANOTHERS_RIGHT),
    ("right's targets: others", ANOTHERS_RIGHT),
    ("right's targets: none", ANOTHERS_RIGHT),
    ("right's customer: another", ANOTHERS_RIGHT),
    (
        "state: none",
        &[
            ("window", &[]),
            ("plan's operators", &[]),
            ("plan's targets", &[]),
            ("plan's accounts", &[]),
            ("plan's customer", &[]),
            (
                "operation",
                &[
                    Code::OperationNotInIntervention,
                    Code::DestinationNotInIntervention,
                ],
            ),
        ],
    ),
    ("state: draft", &[("window", &[])]),
    ("state: submitted", &[("window", &[])]),
    ("state: info_requested", &[("window", &[])]),
    ("state: refused", &[("window", &[])]),
    ("state: withdrawn", &[("window", &[])]),
    ("state: expired", &[("window", &[])]),
    ("state: revoked", &[("window", &[])]),
    ("state: closed", &[("window", &[])]),
];

/// A right that is not this person's on this target is as good as none, whatever it says.
const ANOTHERS_RIGHT: &[Silence] = &[
    ("right", &[]),
    ("right's accounts", &[]),
    ("account on the target", &[]),
    ("operation", &[Code::OperationNotGranted]),
    (SHARE_NONE, &[]),
];

const SHARE_NONE: &str = "operation: not said yet, and right and plan share none";

/// The codes that `values` say together, in the order of [`Code::ALL`].
pub(crate) fn expected(values: &[Chosen]) -> Vec<Code> {
    let mut said: Vec<(&Chosen, Vec<Code>)> = values
        .iter()
        .map(|chosen| (chosen, chosen.value.codes.to_vec()))
        .collect();
    for (speaker, silenced) in SILENT {
        let speaks = said
            .iter()
            .any(|(chosen, codes)| chosen.label() == *speaker && !codes.is_empty());
        if !speaks {
            continue;
        }
        for (chosen, codes) in &mut said {
            for (whom, which) in *silenced {
                if *whom == chosen.dimension || *whom == chosen.label() {
                    codes.retain(|code| !which.is_empty() && !which.contains(code));
                }
            }
        }
    }
    let union: BTreeSet<Code> = said.into_iter().flat_map(|(_, codes)| codes).collect();
    Code::ALL
        .into_iter()
        .filter(|code| union.contains(code))
        .collect()
}

pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) dimensions: Vec<Dimension>,
}

pub(crate) struct Dimension {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, Copy)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) codes: &'static [Code],
    pub(crate) set: fn(&mut Case),
}

/// One value of one dimension.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    pub(crate) dimension: &'static str,
    pub(crate) value: Value,
}

impl Dimension {
    pub(crate) fn chosen(&self) -> impl Iterator<Item = Chosen> {
        self.values.iter().map(|value| Chosen {
            dimension: self.name,
            value: *value,
        })
    }
}

impl Chosen {
    pub(crate) fn label(&self) -> String {
        format!("{}: {}", self.dimension, self.value.name)
    }
}

pub(crate) fn group(name: &'static str, dimensions: Vec<Dimension>) -> Group {
    Group { name, dimensions }
}

pub(crate) fn dimension(name: &'static str, values: Vec<Value>) -> Dimension {
    Dimension { name, values }
}

pub(crate) fn v(name: &'static str, codes: &'static [Code], set: fn(&mut Case)) -> Value {
    Value { name, codes, set }
}

pub(crate) fn all_values() -> Vec<Chosen> {
    groups()
        .iter()
        .flat_map(|group| &group.dimensions)
        .flat_map(Dimension::chosen)
        .collect()
}

/// Every way to choose one value of each dimension.
pub(crate) fn combinations(dimensions: &[Dimension]) -> Vec<Vec<Chosen>> {
    dimensions.iter().fold(vec![Vec::new()], |begun, next| {
        begun
            .iter()
            .flat_map(|chosen| {
                next.chosen().map(move |one| {
                    let mut longer = chosen.clone();
                    longer.push(one);
                    longer
                })
            })
            .collect()
    })
}

pub(crate) fn facts_of(values: &[Chosen]) -> Facts {
    let mut case = GOOD.clone();
    for chosen in values {
        (chosen.value.set)(&mut case);
    }
    case.finish()
}

pub(crate) static GOOD: LazyLock<Case> = LazyLock::new(|| Case {
    facts: good_facts(),
    plan: Some(PlanCase {
        customer: customer_id(),
        text: plan_text(),
        state: "approved",
    }),
});

/// Facts being changed. The intervention is made last, by the people who may, as `plan` says.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) facts: Facts,
    pub(crate) plan: Option<PlanCase>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct PlanCase {
    customer: CustomerId,
    text: PlanText,
    state: &'static str,
}

impl Case {
    pub(crate) fn finish(mut self) -> Facts {
        if self.plan == GOOD.plan {
            return self.facts;
        }
        self.facts.intervention = self.plan.map(|plan| match plan.state {
            "unsigned" => {
                let mut approved = intervention(&plan.customer, &plan.text, "approved");
                approved.approvals.clear();
                approved
            }
            "made up" => {
                let mut approved = intervention(&plan.customer, &plan.text, "approved");
                approved.approvals[0].statement =
                    access::approval::Statement::from_text("I approve".to_owned());
                approved
            }
            "altered" => altered(&intervention(&plan.customer, &plan.text, "approved")),
            state => intervention(&plan.customer, &plan.text, state),
        });
        self.facts
    }

    fn operator(&mut self, change: impl FnOnce(&mut access::Operator)) {
        if let Some(operator) = &mut self.facts.operator {
            change(operator);
        }
    }

    fn target(&mut self, change: impl FnOnce(&mut access::Target)) {
        if let Some(target) = &mut self.facts.target {
            change(target);
        }
    }

    pub(crate) fn grant(&mut self, change: impl FnOnce(&mut access::Grant)) {
        if let Some(grant) = &mut self.facts.grant {
            change(grant);
        }
    }

    pub(crate) fn text(&mut self, change: impl FnOnce(&mut PlanText)) {
        if let Some(plan) = &mut self.plan {
            change(&mut plan.text);
        }
    }

    fn state(&mut self, state: &'static str) {
        if let Some(plan) = &mut self.plan {
            plan.state = state;
        }
    }

    fn window(&mut self, start: Time, end: Time) {
        self.text(|text| text.window = window(start, end));
    }

    fn validity(&mut self, start: Time, end: Time) {
        self.grant(|grant| grant.terms.validity = window(start, end));
    }

    pub(crate) fn review_due(&mut self, due: Time) {
        self.grant(|grant| {
            if let GrantState::Active { review_due, .. } = &mut grant.state {
                *review_due = due;
            }
        });
    }

    fn charter(&mut self, asked: Option<&str>, accepted: Option<&str>) {
        self.facts.policy.charter = asked.map(str::to_owned);
        self.operator(|operator| operator.charter = accepted.map(str::to_owned));
    }

    fn given(&mut self, change: impl FnOnce(&mut Given)) {
        if let Some(given) = &mut self.facts.given {
            change(given);
        }
    }

    fn certified(&mut self, change: impl FnOnce(&mut Certificate)) {
        self.given(|given| {
            *given = certified(given.clone());
            change(given.certificate.as_mut().unwrap());
        });
    }

    fn proof(&mut self, proof: Option<Proof>, weakest: Proof) {
        self.facts.given = proof.map(given);
        self.facts.policy.weakest_proof = weakest;
    }

    fn sources(&mut self, networks: &[&str]) {
        let sources = networks.iter().map(|n| Network::parse(n).unwrap());
        self.operator(|operator| operator.details.sources = sources.collect());
    }

    fn country(&mut self, from: Option<&str>, agreed: Option<&[&str]>) {
        self.facts.place.country = from.map(str::to_owned);
        self.facts.policy.countries =
            agreed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// A connection is asked for, and the right and the plan cover `forward`, to these.
    fn forward(&mut self, host: &str, port: u32, listed: &[&str]) {
        self.operations(Some(Operation::Forward));
        self.facts.asked.forward_to = Some(Endpoint::parse(host, port).unwrap());
        self.grant(|grant| _ = grant.terms.scope.operations.insert(Operation::Forward));
        self.text(|text| {
            text.operations.insert(Operation::Forward);
            text.forwards = parse_list(&listed.join("\n")).unwrap();
        });
    }

    fn operations(&mut self, asked: Option<Operation>) {
        self.facts.asked.operation = asked;
    }
}

/// The same row after somebody wrote another rollback into its plan, past every transition.
pub(crate) fn altered(approved: &Intervention) -> Intervention {
    let mut row = serde_json::to_value(approved).unwrap();
    row["plan"]["text"]["rollback"] = "none".into();
    serde_json::from_value(row).unwrap()
}

pub(crate) fn roles(roles: &[Role]) -> BTreeSet<Role> {
    roles.iter().copied().collect()
}
