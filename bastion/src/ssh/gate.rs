//! Who may come in before he has proven anything. Places are few: all of them, and those of one
//! network. Who comes too often has to slow down; and where all places are taken, whoever has had
//! his time and said nothing makes room, so that connections that are merely held keep nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// Connections of one network whose clients never ask to be let in: so many at once, as it has places,
/// and one more each 200 ms. Whoever has exchanged keys and asked gives his turn back.
const TURN: i64 = 200_000;
/// A client that means to log in has exchanged keys before this, in microseconds.
const LONG_ENOUGH: i64 = 3_000_000;
/// How often it is looked which networks need no longer be remembered, in entries.
const LOOK_AGAIN: u64 = 256;

/// Counts connections: all of them, and those that have not logged in.
pub(super) struct Gate {
    all: Arc<Semaphore>,
    strangers: Arc<Mutex<Strangers>>,
}

/// One connection's place. Dropped when the connection ends.
pub(super) struct Entry {
    _all: OwnedSemaphorePermit,
    pub(super) stranger: Option<Place>,
}

/// The place of somebody who has not logged in.
pub(super) struct Place {
    number: u64,
    progress: Arc<Progress>,
    strangers: Arc<Mutex<Strangers>>,
}

/// How far somebody has come who has not logged in; nothing was heard of him at first.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

const TALKING: u8 = 1;
const KEY_PROVEN: u8 = 2;

impl Progress {
    /// Keys were exchanged, and he asks to be let in.
    pub(crate) fn talks(&self) {
        self.0.fetch_max(TALKING, Ordering::Relaxed);
    }

    /// He has one of the keys that are known.
    pub(crate) fn has_a_key(&self) {
        self.0.fetch_max(KEY_PROVEN, Ordering::Relaxed);
    }

    fn stage(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Strangers {
    most: usize,
    most_of_one: usize,
    next: u64,
    here: HashMap<u64, Stranger>,
    networks: HashMap<IpAddr, Network>,
}

struct Stranger {
    network: IpAddr,
    since: i64,
    progress: Arc<Progress>,
    sever: Box<dyn Fn() + Send>,
}

#[derive(Default)]
struct Network {
    here: usize,
    /// Until when its turns are taken, monotonic microseconds.
    taken_until: i64,
}

impl Gate {
    pub(super) fn new(ssh: &crate::config::Ssh) -> Self {
        Self {
            all: Arc::new(Semaphore::new(ssh.max_connections)),
            strangers: Arc::new(Mutex::new(Strangers {
                most: ssh.max_unauthenticated,
                most_of_one: ssh.max_unauthenticated_per_address,
                next: 0,
                here: HashMap::new(),
                networks: HashMap::new(),
            })),
        }
    }

    /// A place for one more connection from `address`, if there is one or one can be had. `sever`
    /// ends the connection, should it have to make room.
    pub(super) fn enter(
        &self,
        address: IpAddr,
        sever: impl Fn() + Send + 'static,
        now: i64,
    ) -> Option<Entry> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let progress = Arc::<Progress>::default();
        let stranger = Stranger {
            network: network_of(address),
            since: now,
            progress: Arc::clone(&progress),
            sever: Box::new(sever),
        };
        let number = lock(&self.strangers).enter(stranger, now)?;
        Some(Entry {
            _all: all,
            stranger: Some(Place {
                number,
                progress,
                strangers: Arc::clone(&self.strangers),
            }),
        })
    }
}

impl Place {
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// He has logged in, and is no stranger any more.
    pub(super) fn logged_in(self) {
        self.progress.talks();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.strangers).leave(self.number);
    }
}

impl Strangers {
    fn enter(&mut self, stranger: Stranger, now: i64) -> Option<u64> {
        if self.next.is_multiple_of(LOOK_AGAIN) {
            self.networks
                .retain(|_, network| network.here > 0 || network.taken_until > now);
        }
        let number = self.next;
        self.next += 1;
        let turns = i64::try_from(self.most_of_one).unwrap_or(i64::MAX);
        let network = self.networks.entry(stranger.network).or_default();
        let taken_until = network.taken_until.max(now).saturating_add(TURN);
        if taken_until - now > turns.saturating_mul(TURN) {
            return None;
        }
        if network.here >= self.most_of_one {
            let of_his =
                |one: &Stranger| one.network == stranger.network && one.has_overstayed(now);
            self.make_room(of_his)?;
        } else if self.here.len() >= self.most {
            let his = network.here;
            let (fullest, most) = self.fullest()?;
            if most > his + 1 {
                self.make_room(|one| one.network == fullest)?;
            } else {
                self.make_room(|one| one.has_overstayed(now))?;
            }
        }
        let network = self.networks.entry(stranger.network).or_default();
        network.here += 1;
        network.taken_until = taken_until;
        self.here.insert(number, stranger);
        Some(number)
    }

    /// Ends the connection of one of these who has come least far, of several the oldest.
    fn make_room(&mut self, of: impl Fn(&Stranger) -> bool) -> Option<()> {
        let has_no_key = |one: &Stranger| one.progress.stage() < KEY_PROVEN;
        let candidates = self.here.iter();
        let (number, _) = candidates
            .filter(|(_, one)| has_no_key(one) && of(one))
            .min_by_key(|(number, one)| (one.progress.stage(), one.since, **number))?;
        let number = *number;
        let gone = self.leave(number)?;
        debug!(network = %gone.network, "had to make room");
        (gone.sever)();
        Some(())
    }

    /// The network that has most places, and how many.
    fn fullest(&self) -> Option<(IpAddr, usize)> {
        let networks = self.networks.iter();
        networks
            .map(|(address, network)| (*address, network.here))
            .max_by_key(|(address, here)| (*here, *address))
    }

    fn leave(&mut self, number: u64) -> Option<Stranger> {
        let gone = self.here.remove(&number)?;
        if let Some(network) = self.networks.get_mut(&gone.network) {
            network.here = network.here.saturating_sub(1);
            if gone.progress.stage() >= TALKING {
                network.taken_until -= TURN;
            }
        }
        Some(gone)
    }
}

impl Stranger {
    fn has_overstayed(&self, now: i64) -> bool {
        now - self.since >= LONG_ENOUGH
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn lock(strangers: &Mutex<Strangers>) -> MutexGuard<'_, Strangers> {
    strangers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ssh;
    use std::sync::atomic::AtomicUsize;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn one_network_takes_no_more_than_its_share_and_has_to_slow_down() {
        let door = Door::new(100, 20);
        let held: Vec<_> = (0..60).filter_map(|_| door.knock("192.0.2.1", 0)).collect();
        assert_eq!(held.len(), 20);
        assert!(door.knock("192.0.2.2", 0).is_some(), "another address");
        drop(held);
        // Its places are free again, its turns are not.
        assert!(door.knock("192.0.2.1", 0).is_none());
        let later = (0..300).filter(|n| door.knock("192.0.2.1", n * SECOND / 100).is_some());
        assert_eq!(later.count(), 14, "five a second, in less than three");
        assert_eq!(door.severed(), 0);
    }

    #[test]
    fn who_logs_in_or_asks_to_gives_his_turn_back() {
        let door = Door::new(100, 20);
        for _ in 0..1000 {
            let mut entry = door.knock("192.0.2.1", 0).unwrap();
            entry.stranger.take().unwrap().logged_in();
            let refused = door.knock("192.0.2.1", 0).unwrap();
            refused.stranger.as_ref().unwrap().progress().talks();
        }
        assert_eq!(lock(&door.gate.strangers).here.len(), 0);
    }

    #[test]
    fn who_has_had_his_time_makes_room_for_another() {
        let door = Door::new(100, 20);
        let mut held: Vec<_> = (0..20).filter_map(|_| door.knock("192.0.2.1", 0)).collect();
        assert!(door.knock("192.0.2.1", SECOND).is_none(), "all are young");
        held[0].stranger.as_ref().unwrap().progress().has_a_key();
        held[1].stranger.as_ref().unwrap().progress().talks();
        let mut came = Vec::new();
        for number in 0..19 {
            assert_eq!(door.severed(), number);
            came.extend(door.knock("192.0.2.1", 10 * SECOND));
        }
        assert_eq!(door.severed(), 19);
        assert!(door.was_severed(1), "he talked, and was the last");
        assert!(!door.was_severed(0), "he had a key");
        // Those who were sent away leave no hole when they are gone.
        held.clear();
        assert_eq!(lock(&door.gate.strangers).here.len(), came.len());
    }

    #[test]
    fn many_from_few_networks_keep_nobody_out_who_comes_from_elsewhere() {
        let door = Door::new(100, 20);
        let held: Vec<_> = (0..100)
            .filter_map(|n| door.knock(&format!("192.0.2.{}", n % 10), 0))
            .collect();
        assert_eq!(held.len(), 100);
        let _came = door.knock("198.51.100.1", 0).unwrap();
        assert_eq!(door.severed(), 1, "one of those who have most");
        assert!(door.knock("192.0.2.1", 0).is_none(), "they get no more");
    }

    #[test]
    fn as_many_from_each_network_make_room_only_once_they_had_their_time() {
        let door = Door::new(10, 20);
        let held: Vec<_> = (0..10)
            .filter_map(|n| door.knock(&format!("192.0.2.{n}"), 0))
            .collect();
        assert_eq!(held.len(), 10);
        assert!(door.knock("198.51.100.1", SECOND).is_none());
        assert!(door.knock("198.51.100.1", 4 * SECOND).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_and_nobody_is_remembered_for_ever() {
        let door = Door::new(100, 2);
        let held = [
            door.knock("2001:db8::1", 0),
            door.knock("2001:db8::2:1", 0),
            door.knock("2001:db8::3:1", 0),
        ];
        assert!(held[2].is_none());
        assert!(door.knock("2001:db8:0:1::1", 0).is_some());
        drop(held);
        for number in 0..10_000_i64 {
            let (a, b) = (number / 256 % 256, number % 256);
            drop(door.knock(&format!("10.0.{a}.{b}"), number * SECOND));
        }
        assert!(lock(&door.gate.strangers).networks.len() <= 300);
    }

    struct Door {
        gate: Gate,
        knocks: AtomicUsize,
        severed: Arc<Mutex<Vec<usize>>>,
    }

    impl Door {
        fn new(most: usize, most_of_one: usize) -> Self {
            let ssh = Ssh {
                max_unauthenticated: most,
                max_unauthenticated_per_address: most_of_one,
                ..Ssh::default()
            };
            Self {
                gate: Gate::new(&ssh),
                knocks: AtomicUsize::new(0),
                severed: Arc::default(),
            }
        }

        fn knock(&self, from: &str, now: i64) -> Option<Entry> {
            let number = self.knocks.fetch_add(1, Ordering::Relaxed);
            let severed = Arc::clone(&self.severed);
            let sever = move || severed.lock().unwrap().push(number);
            self.gate.enter(from.parse().unwrap(), sever, now)
        }

        fn severed(&self) -> usize {
            self.severed.lock().unwrap().len()
        }

        fn was_severed(&self, number: usize) -> bool {
            self.severed.lock().unwrap().contains(&number)
        }
    }
}
