//! The short-lived certificate: who gets one, for how long, and what it stands for.

#![cfg(test)]

mod fixtures;

use access::second_factor::Proof;
use access::session::FactorUse;
use access::{Certificate, Credentials, Refusal};
use fixtures::*;
use std::net::IpAddr;
use std::time::Duration;

fn plain() -> Credentials {
    given(Proof::Totp).credentials
}

fn home() -> IpAddr {
    "192.0.2.99".parse().unwrap()
}

#[test]
fn none_is_issued_without_a_factor_that_was_asked_for_on_this_connection() {
    let by_certificate = certified(given(Proof::Passkey)).credentials;
    for (what, factor, with) in [
        ("reused", FactorUse::Reused, plain()),
        ("by certificate", FactorUse::Fresh, by_certificate),
    ] {
        let refused = issue(factor, with, HOUR).unwrap_err();
        assert_eq!(refused.code, "second_factor_not_fresh", "{what}");
    }
}

#[test]
fn none_lasts_longer_than_a_working_day() {
    for (lasts, issued) in [
        (Duration::ZERO, false),
        (Duration::from_secs(59), false),
        (Duration::from_mins(1), true),
        (access::certificate::LONGEST, true),
        (access::certificate::LONGEST + INSTANT, false),
        (Duration::MAX, false),
    ] {
        let outcome = issue(FactorUse::Fresh, plain(), lasts);
        assert_eq!(outcome.is_ok(), issued, "{lasts:?}");
        if let Err(refused) = outcome {
            assert_eq!(refused.code, "certificate_too_long");
        }
    }
}

#[test]
fn none_lasts_longer_than_the_certificate_of_the_key_it_was_asked_for_with() {
    let with = Credentials {
        certified: Some(by_authority()),
        ..plain()
    };
    let issued = issue(FactorUse::Fresh, with, HOUR).unwrap();
    assert_eq!(issued.value().ends_at, by_authority().until);
}

#[test]
fn it_stands_for_what_it_was_asked_with_and_names_itself() {
    let known = certificate(&plain());
    let stood_for = known.credentials(&alice().id, CERTIFIED, home(), NOW);
    let expected = Credentials {
        certificate: Some(known.id),
        ..plain()
    };
    assert_eq!(stood_for, Ok(expected));
}

#[test]
fn it_stands_for_nothing_with_another_key_person_address_or_time() {
    type Use = fn(&Certificate) -> Result<Credentials, Refusal>;
    let rows: [(&str, Use, &str); 6] = [
        (
            "key",
            |c| c.credentials(&alice().id, KEY, home(), NOW),
            "certificate_of_another",
        ),
        (
            "person",
            |c| c.credentials(&olga().id, CERTIFIED, home(), NOW),
            "certificate_over",
        ),
        (
            "address",
            |c| c.credentials(&alice().id, CERTIFIED, "192.0.2.98".parse().unwrap(), NOW),
            "certificate_over",
        ),
        (
            "after its end",
            |c| c.credentials(&alice().id, CERTIFIED, home(), c.ends_at),
            "certificate_over",
        ),
        (
            "before its start",
            |c| c.credentials(&alice().id, CERTIFIED, home(), c.issued_at.minus(INSTANT)),
            "certificate_over",
        ),
        (
            "after it was revoked",
            |c| {
                let revoked = c.clone().revoke("lost", by(), NOW).unwrap().into_parts().0;
                revoked.credentials(&alice().id, CERTIFIED, home(), NOW)
            },
            "certificate_over",
        ),
    ];
    for (what, used, code) in rows {
        assert_eq!(
            used(&certificate(&plain())).unwrap_err().code,
            code,
            "{what}"
        );
    }
}

#[test]
fn it_is_revoked_once_and_with_a_reason() {
    let known = certificate(&plain());
    assert!(known.clone().revoke(" ", by(), NOW).is_err());
    let revoked = known.revoke("lost", by(), NOW).unwrap().into_parts().0;
    let again = revoked.revoke("lost", by(), NOW).unwrap_err();
    assert_eq!(again.code, "certificate_revoked");
}
