//! Slows down whoever guesses, and locks nobody out for ever.
//!
//! Each wrong login doubles the wait for its account and for its address, up to a bound; a right one forgets the account.
//! An account under attack can still be entered: the wait ends, and it is counted for each pair of account and address
//! as well as for the address, so that a stranger cannot keep its owner out. A login counts as wrong from its start until
//! it is found to be right: a hundred guesses sent at once wait like a hundred sent one after the other.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use crate::base::Instant;

/// Wrong logins that cost no wait.
const FREE: u32 = 3;
/// First wait; it doubles with each further wrong login.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A wrong login is forgotten after this time without another.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Entries kept; the oldest make room.
const ENTRIES_MAX: usize = 10_000;

/// Wrong logins by whom and from where.
#[derive(Default)]
pub(in crate::control) struct Throttle {
    failures: HashMap<String, Failures>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn open_again(self) -> Instant {
        let doublings = self.count.saturating_sub(FREE);
        if doublings == 0 {
            return self.last;
        }
        let factor = 1u32.checked_shl(doublings - 1).unwrap_or(u32::MAX);
        self.last + FIRST_WAIT.saturating_mul(factor).min(WAIT_MAX)
    }
}

impl Throttle {
    /// Begins a login, which counts as wrong until [`Self::succeeded`] is told otherwise.
    ///
    /// # Errors
    /// How long it has to wait; nothing is counted then.
    pub(in crate::control) fn begin(&mut self, account: &str, address: &str, now: Instant) -> Result<(), Duration> {
        if let Some(wait) = self.wait(account, address, now) {
            return Err(wait);
        }
        self.failed(account, address, now);
        Ok(())
    }

    /// How long this login has to wait; none when it may be tried now.
    fn wait(&self, account: &str, address: &str, now: Instant) -> Option<Duration> {
        let waits = names(account, address).into_iter().filter_map(|name| self.failures.get(&name));
        let longest = waits.map(|failures| failures.open_again().saturating_duration_since(now)).max()?;
        (!longest.is_zero()).then_some(longest)
    }

    fn failed(&mut self, account: &str, address: &str, now: Instant) {
        self.make_room(now);
        for name in names(account, address) {
            let failures = self.failures.entry(name).or_insert(Failures { count: 0, last: now });
            if now.saturating_duration_since(failures.last) > FORGOTTEN_AFTER {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// Forgets the wrong logins of an account from an address; those for other accounts from there stay.
    pub(in crate::control) fn succeeded(&mut self, account: &str, address: &str) {
        let [pair, address] = names(account, address);
        self.failures.remove(&pair);
        if let Some(failures) = self.failures.get_mut(&address) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.failures.len() + 2 <= ENTRIES_MAX {
            return;
        }
        self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) <= FORGOTTEN_AFTER);
        while self.failures.len() + 2 > ENTRIES_MAX {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else {
                return;
            };
            self.failures.remove(&oldest);
        }
    }
}

/// The pair, then the address alone. One line has 2^64 addresses of IPv6, so those are counted by their network.
fn names(account: &str, address: &str) -> [String; 2] {
    let origin = match address.parse::<Ipv6Addr>() {
        Ok(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        Err(_) => address.to_owned(),
    };
    [format!("{origin} {account}"), origin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::now;

    #[test]
    fn wait_grows_to_its_bound_and_ends() {
        let start = now();
        let mut throttle = Throttle::default();
        for (count, want_s) in
            [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (6, 4), (7, 8), (8, 16), (9, 32), (10, 60), (11, 60)]
        {
            throttle.failed("a@b", "10.0.0.1", start);
            let wait = throttle.wait("a@b", "10.0.0.1", start).unwrap_or_default();
            assert_eq!(wait, Duration::from_secs(want_s), "after {count}");
        }
        assert_eq!(throttle.wait("a@b", "10.0.0.1", start + WAIT_MAX), None, "nobody is locked out for ever");
    }

    #[test]
    fn owner_gets_in_while_a_stranger_guesses() {
        let start = now();
        let mut throttle = Throttle::default();
        for _ in 0..10_000 {
            throttle.failed("a@b", "10.0.0.1", start);
        }
        assert_eq!(throttle.wait("a@b", "10.0.0.2", start), None);
        assert!(throttle.wait("c@d", "10.0.0.1", start).is_some(), "the stranger's address waits for every account");
        throttle.succeeded("a@b", "10.0.0.1");
        assert!(throttle.wait("a@b", "10.0.0.1", start).is_some(), "the address still waits");
    }

    #[test]
    fn guesses_sent_at_once_wait_too() {
        let start = now();
        let mut throttle = Throttle::default();
        let begun = (0..100).filter(|_| throttle.begin("a@b", "10.0.0.1", start).is_ok()).count();
        assert_eq!(begun, 4, "the free ones, and the one that begins the wait");
    }

    #[test]
    fn right_login_leaves_no_wait() {
        let start = now();
        let mut throttle = Throttle::default();
        for _ in 0..100 {
            assert_eq!(throttle.begin("a@b", "10.0.0.1", start), Ok(()));
            throttle.succeeded("a@b", "10.0.0.1");
        }
    }

    #[test]
    fn neighbours_of_one_network_are_one() {
        let start = now();
        let mut throttle = Throttle::default();
        for index in 0..10 {
            throttle.failed("a@b", &format!("2001:db8::{index:x}"), start);
        }
        assert!(throttle.wait("a@b", "2001:db8::ffff", start).is_some());
        assert_eq!(throttle.wait("a@b", "2001:db8:0:1::1", start), None);
    }

    #[test]
    fn memory_is_bounded() {
        let start = now();
        let mut throttle = Throttle::default();
        for index in 0..(ENTRIES_MAX + 100) {
            throttle.failed("a@b", &format!("address {index}"), start);
        }
        assert!(throttle.failures.len() <= ENTRIES_MAX);
    }
}
