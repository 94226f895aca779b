//! Blocks of addresses as one sorted table.

use std::net::IpAddr;

use crate::base::Cidr;

/// The addresses of some blocks: ranges that neither overlap nor touch, in order. A search takes their logarithm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    /// The addresses that lie in any of these blocks.
    pub(super) fn of<'a>(blocks: impl Iterator<Item = &'a Cidr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for block in blocks {
            match (block.first(), block.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // Both ends of a block are of one family.
                _ => {}
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    /// Whether an address lies in one of them. An IPv4-mapped one is asked as IPv4 by the caller.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }
}

/// Sorts and joins ranges that overlap. Blocks are nested or apart, so only a contained one can.
fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut kept: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        if kept.last().is_none_or(|(_, end)| *end < first) {
            kept.push((first, last));
        }
    }
    kept.into()
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], wanted: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= wanted);
    let before = behind.checked_sub(1).and_then(|at| ranges.get(at));
    before.is_some_and(|(_, last)| wanted <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_agrees_with_its_blocks() {
        let blocks: Vec<Cidr> =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "0.0.0.0/32", "255.255.255.255", "fd00::/8", "fd12::/16", "::1"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let ranges = Ranges::of(blocks.iter());
        assert_eq!((ranges.v4.len(), ranges.v6.len()), (4, 2));
        for text in [
            "0.0.0.0",
            "0.0.0.1",
            "9.255.255.255",
            "10.0.0.0",
            "10.1.2.3",
            "10.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.7",
            "192.0.2.8",
            "255.255.255.254",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "fcff:ffff::",
            "fd00::",
            "fd12::9",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "fe00::",
        ] {
            let address: IpAddr = text.parse().unwrap();
            let want = blocks.iter().any(|block| block.contains(address));
            assert_eq!(ranges.contain(address), want, "{text}");
        }
    }
}
