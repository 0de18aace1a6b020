//! The fixture of the tests of the whole: the real binary, real `ssh`, a real `sshd`.
//!
//! Each test starts its own bastion on a state of its own, in front of an `sshd` of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a fixture that does not come up fails the test"
)]

pub mod bastion;
pub mod ssh;
pub mod sshd;

pub use bastion::{Bastion, Options};
pub use ssh::{Ran, Ssh};
pub use sshd::Sshd;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// A port nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Waits until `done`, at most `at_most`; says what was waited for otherwise.
pub fn eventually(what: &str, at_most: Duration, mut done: impl FnMut() -> bool) {
    let started = now();
    while !done() {
        assert!(
            started.elapsed() < at_most,
            "waited {at_most:?} for: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The monotonic clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "tests wait for real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "tests live in real time")]
pub fn time() -> access::Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    access::Time::from_micros(i64::try_from(since.as_micros()).unwrap())
}
