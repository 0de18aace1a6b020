//! How often one source address may knock at the doors that need no sign-in.

use crate::error::Problem;
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// At once, for a hospital's people behind one address.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(39);
/// Afterwards, each minute.
const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// Above this many remembered addresses those that are quiet again are forgotten.
const REMEMBERED: usize = 10_000;

/// The limit of one origin.
pub(crate) struct Knocks(RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>);

impl Knocks {
    pub(crate) fn new() -> Self {
        Self(RateLimiter::keyed(
            Quota::per_minute(PER_MINUTE).allow_burst(BURST),
        ))
    }

    /// Lets `source` pass, or says that it comes too often.
    pub(crate) fn knock(&self, source: IpAddr) -> Result<(), Problem> {
        if self.0.len() > REMEMBERED {
            self.0.retain_recent();
        }
        self.0.check_key(&source).map_err(|_| Problem::TooOften)
    }
}
