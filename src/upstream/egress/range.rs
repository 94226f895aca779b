//! Address ranges: which addresses are not the public internet.
//!
//! The list is that of the IANA special-purpose registries and everything outside `2000::/3`. An IPv6 address that carries
//! an IPv4 address inside is judged by both, because a translator on the way would deliver it to the inner one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

fn widen(bits: u32) -> u128 {
    u128::from(bits)
}

fn in_block(block: u128, other: u128, prefix: u8) -> bool {
    // A shift by 128 would overflow: prefix 0 holds every address.
    match 128_u32.checked_sub(u32::from(prefix)) {
        Some(128) => true,
        Some(host_bits) => (block ^ other) >> host_bits == 0,
        None => false,
    }
}

struct Block4(Ipv4Addr, u8, &'static str);
struct Block6(Ipv6Addr, u8, &'static str);

const fn v4(a: u8, b: u8, c: u8, prefix: u8, name: &'static str) -> Block4 {
    Block4(Ipv4Addr::new(a, b, c, 0), prefix, name)
}

const fn v6(head: [u16; 6], prefix: u8, name: &'static str) -> Block6 {
    let [a, b, c, d, e, f] = head;
    Block6(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), prefix, name)
}

const DENIED_4: [Block4; 16] = [
    v4(0, 0, 0, 8, "this network, 0.0.0.0/8"),
    v4(10, 0, 0, 8, "private, 10.0.0.0/8"),
    v4(100, 64, 0, 10, "carrier shared, 100.64.0.0/10"),
    v4(127, 0, 0, 8, "loopback, 127.0.0.0/8"),
    // A public number that every Azure machine reaches: the platform's own agent channel.
    Block4(Ipv4Addr::new(168, 63, 129, 16), 32, "Azure platform, 168.63.129.16"),
    v4(169, 254, 0, 16, "link-local, 169.254.0.0/16"),
    v4(172, 16, 0, 12, "private, 172.16.0.0/12"),
    v4(192, 0, 0, 24, "protocol assignments, 192.0.0.0/24"),
    v4(192, 0, 2, 24, "documentation, 192.0.2.0/24"),
    v4(192, 88, 99, 24, "6to4 relay, 192.88.99.0/24"),
    v4(192, 168, 0, 16, "private, 192.168.0.0/16"),
    v4(198, 18, 0, 15, "benchmarking, 198.18.0.0/15"),
    v4(198, 51, 100, 24, "documentation, 198.51.100.0/24"),
    v4(203, 0, 113, 24, "documentation, 203.0.113.0/24"),
    v4(224, 0, 0, 4, "multicast, 224.0.0.0/4"),
    v4(240, 0, 0, 4, "reserved, 240.0.0.0/4"),
];

/// The first match names the range in messages, so that the narrow ones stand before the wide ones.
const DENIED_6: [Block6; 19] = [
    Block6(Ipv6Addr::UNSPECIFIED, 128, "unspecified, ::"),
    Block6(Ipv6Addr::LOCALHOST, 128, "loopback, ::1"),
    v6([0; 6], 96, "IPv4-compatible, ::/96"),
    v6([0, 0, 0, 0, 0, 0xffff], 96, "IPv4-mapped, ::ffff:0:0/96"),
    v6([0, 0, 0, 0, 0xffff, 0], 96, "IPv4-translated, ::ffff:0:0:0/96"),
    v6([0x64, 0xff9b, 0, 0, 0, 0], 96, "NAT64, 64:ff9b::/96"),
    v6([0x64, 0xff9b, 1, 0, 0, 0], 48, "local NAT64, 64:ff9b:1::/48"),
    v6([0x100, 0, 0, 0, 0, 0], 64, "discard, 100::/64"),
    v6([0x2001, 0, 0, 0, 0, 0], 23, "protocol assignments, 2001::/23"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0], 32, "documentation, 2001:db8::/32"),
    v6([0x2002, 0, 0, 0, 0, 0], 16, "6to4, 2002::/16"),
    v6([0x3fff, 0, 0, 0, 0, 0], 20, "documentation, 3fff::/20"),
    v6([0x5f00, 0, 0, 0, 0, 0], 16, "segment routing, 5f00::/16"),
    v6([0xfc00, 0, 0, 0, 0, 0], 7, "unique local, fc00::/7"),
    v6([0xfe80, 0, 0, 0, 0, 0], 10, "link-local, fe80::/10"),
    v6([0xfec0, 0, 0, 0, 0, 0], 10, "site-local, fec0::/10"),
    v6([0xff00, 0, 0, 0, 0, 0], 8, "multicast, ff00::/8"),
    // The registry hands out global unicast from 2000::/3 only; the rest is not the internet today.
    v6([0, 0, 0, 0, 0, 0], 3, "not global unicast, outside 2000::/3"),
    v6([0x4000, 0, 0, 0, 0, 0], 2, "not global unicast, outside 2000::/3"),
];

/// Names the denied range that holds `address` itself, without a look at what may be embedded in it.
pub(super) fn denied_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => DENIED_4
            .iter()
            .find(|block| in_block(widen(block.0.to_bits()), widen(v4.to_bits()), block.1 + 96))
            .map(|block| block.2),
        IpAddr::V6(v6) => DENIED_6
            .iter()
            .find(|block| in_block(block.0.to_bits(), v6.to_bits(), block.1))
            .map(|block| block.2)
            // 0x8000::/1 is what the two wide blocks above leave over.
            .or_else(|| (v6.to_bits() >> 127 == 1).then_some("not global unicast, outside 2000::/3")),
    }
}

/// Lists the IPv4 addresses that a translator or tunnel may read out of an IPv6 address; at most four.
///
/// Covers compatible, mapped, translated (RFC 7915), NAT64 (RFC 6052), local NAT64 (RFC 8215), 6to4, Teredo (server and
/// client) and ISATAP. `::` and `::1` carry none.
pub(super) fn embedded(address: Ipv6Addr) -> SmallVec<[Ipv4Addr; 4]> {
    let mut found = SmallVec::new();
    let [a, b, c, d, e, f, g, h] = address.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = joined(g, h);
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if address.to_bits() > 1 => found.push(last),
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            found.push(last);
        }
        [0x64, 0xff9b, 1, ..] => local_nat64(address, &mut found),
        [0x2002, high, low, ..] => found.push(joined(high, low)),
        [0x2001, 0, high, low, ..] => {
            found.push(joined(high, low));
            found.push(joined(!g, !h));
        }
        _ => {}
    }
    // ISATAP stands behind any prefix (RFC 5214): 00-00-5E-FE or 02-00-5E-FE, then the address.
    if e & !0x0200 == 0 && f == 0x5efe {
        found.push(last);
    }
    found
}

/// Adds what each layout of RFC 6052 would read, because only the translator knows the length of its prefix.
///
/// Readings in 0.0.0.0/8 are dropped: no translator delivers them, and every other layout leaves such a reading.
fn local_nat64(address: Ipv6Addr, found: &mut SmallVec<[Ipv4Addr; 4]>) {
    let [_, _, _, _, _, _, o6, o7, _, o9, o10, o11, o12, o13, o14, o15] = address.octets();
    for reading in [[o6, o7, o9, o10], [o7, o9, o10, o11], [o9, o10, o11, o12], [o12, o13, o14, o15]] {
        let [first, ..] = reading;
        if first != 0 {
            found.push(Ipv4Addr::from(reading));
        }
    }
}
