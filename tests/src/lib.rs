//! The fixture of the tests of the whole: the real binary, real `ssh`, a real `sshd`.
//!
//! A test starts its own bastion on a state of its own, in front of an `sshd` of its own; where
//! nothing it does can be seen by another, the tests of a file share one ([`Common`]).

pub mod bastion;
pub mod browser;
mod clock;
pub mod decision;
mod keeper;
pub mod postgres;
pub mod shared;
pub mod ssh;
pub mod sshd;
pub mod terminal;

pub use bastion::{Another, Bastion, Options};
pub use browser::Browser;
pub use clock::Clock;
pub use decision::decided;
pub use postgres::Postgres;
pub use shared::Shared;
pub use ssh::{Ran, Ssh, Way};
pub use sshd::Sshd;
pub use terminal::terminal;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// One bastion for those tests of a file that run at the same time; it ends with the last.
pub struct Common(Mutex<Weak<Bastion>>);

impl Common {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "only ever made in a static")]
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The running one, or a new one.
    pub fn bastion(&self, options: impl FnOnce() -> Options) -> Arc<Bastion> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bastion) = known.upgrade() {
            return bastion;
        }
        let bastion = Arc::new(Bastion::start(options()));
        *known = Arc::downgrade(&bastion);
        bastion
    }
}

/// A port nobody listens on, and no other test of this process is given. Below the ports that the
/// system gives to outgoing connections, so that none of those takes it first.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = std::process::id() * 64 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + turn % 20_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
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

/// Bytes that are no text and nowhere alike.
#[must_use]
pub fn noise(size: usize) -> Vec<u8> {
    noise_of(size, 0)
}

/// The same, others for each seed.
#[must_use]
pub fn noise_of(size: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(2 * seed + 1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
