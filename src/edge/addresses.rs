//! How many connections each address has at the edge.
//!
//! Workers count requests of HTTP/2 by the client's address too, but a client that only holds connections open never
//! reaches them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections by address; a network of 64 bits counts as one address of IPv6.
pub(super) struct Addresses {
    open: Mutex<HashMap<IpAddr, u32>>,
    each_max: u32,
}

impl Addresses {
    /// Counts up to `each_max` of one address.
    pub(super) fn new(each_max: u32) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), each_max })
    }

    /// Counts a connection until the seat is dropped; `None` when the address has too many.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let network = network_of(address);
        let mut open = self.lock();
        let count = open.entry(network).or_insert(0);
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Seat { addresses: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted connection.
pub(super) struct Seat {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.addresses.lock().entry(self.network) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_no_trace_of_it_stays() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && enter("192.0.2.1").is_none());
        let others = (enter("192.0.2.2"), enter("2001:db8::1"), enter("2001:db8::ffff"));
        assert!(others.0.is_some() && others.1.is_some() && others.2.is_some());
        assert!(enter("2001:db8::2").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        drop((second, others));
        assert!(addresses.lock().is_empty());
    }
}
