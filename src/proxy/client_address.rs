//! Where a request comes from: peer, or client of a proxy.
//!
//! What stands in `X-Forwarded-For` is read from the right, where the nearest proxy wrote, and only as far as each writer is
//! one of ours. Whatever a client put in before that is never looked at (reference: eclipse-ecsp, CVE-2026-110726).

use std::net::{IpAddr, SocketAddr};

use crate::{
    base::Cidr,
    http::{Part, RequestHead},
};

/// The address of the client: the right-most entry of `X-Forwarded-For` that is none of a trusted proxy, else the peer.
/// None when a trusted proxy names something that is no address.
#[must_use]
pub(super) fn client_address(trusted: &[Cidr], peer: IpAddr, head: &RequestHead, bytes: &[u8]) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    if head.forwarded_for.is_empty() || !is_trusted(trusted, peer) {
        return Some(peer);
    }
    let fields = head.forwarded_for.iter().rev().map(|field: &Part| field.of(bytes));
    let mut entries = fields.flat_map(|field| field.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    // An empty entry says nothing; RFC 9110 lets lists have some.
    let said = entries.by_ref().filter(|entry| !entry.is_empty()).find_map(|entry| match address_of(entry) {
        Some(address) if is_trusted(trusted, address) => None,
        other => Some(other),
    });
    said.unwrap_or(Some(peer))
}

fn is_trusted(trusted: &[Cidr], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Reads an address, also with a port as some proxies write it.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address =
        bracketed.unwrap_or(text).parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use crate::http::{HeadLimits, parse_request};

    use super::*;

    fn seen(trusted: &[&str], peer: &str, fields: &[&str]) -> Option<String> {
        let trusted: Vec<Cidr> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut text = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n".to_owned();
        for field in fields {
            text += &format!("X-Forwarded-For: {field}\r\n");
        }
        text += "\r\n";
        let head = parse_request(text.as_bytes(), HeadLimits { bytes_max: 8_192, fields_max: 64 }).unwrap();
        let found = client_address(&trusted, peer.parse().unwrap(), &head, text.as_bytes());
        found.map(|address| address.to_string())
    }

    #[test]
    fn client_is_the_right_most_that_is_no_proxy_of_ours() {
        let ours = &["10.0.0.0/8", "fd00::/8"][..];
        for (name, trusted, peer, fields, want) in [
            ("no proxies", &[][..], "10.0.0.1", &["192.0.2.1"][..], Some("10.0.0.1")),
            ("stranger", ours, "203.0.113.9", &["192.0.2.1"], Some("203.0.113.9")),
            ("no header", ours, "10.0.0.1", &[], Some("10.0.0.1")),
            ("one entry", ours, "10.0.0.1", &["192.0.2.1"], Some("192.0.2.1")),
            ("spoofed on the left", ours, "10.0.0.1", &["192.0.2.66, 192.0.2.1"], Some("192.0.2.1")),
            ("through two of ours", ours, "10.0.0.1", &["192.0.2.66, 192.0.2.1, 10.9.9.9"], Some("192.0.2.1")),
            (
                "spoofed in a line of its own",
                ours,
                "10.0.0.1",
                &["192.0.2.66", "192.0.2.1, 10.9.9.9"],
                Some("192.0.2.1"),
            ),
            ("last line is all ours", ours, "10.0.0.1", &["192.0.2.1", "10.9.9.9"], Some("192.0.2.1")),
            ("all ours", ours, "10.0.0.1", &["10.1.1.1, 10.2.2.2"], Some("10.0.0.1")),
            ("empty entries", ours, "10.0.0.1", &["192.0.2.1,, "], Some("192.0.2.1")),
            ("no address", ours, "10.0.0.1", &["192.0.2.1, unknown"], None),
            ("no address on the left", ours, "10.0.0.1", &["unknown, 192.0.2.1"], Some("192.0.2.1")),
            ("port", ours, "10.0.0.1", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("IPv6", ours, "fd00::1", &["[2001:db8::1]:443"], Some("2001:db8::1")),
            ("IPv6 in brackets", ours, "fd00::1", &["[2001:db8::1]"], Some("2001:db8::1")),
            ("mapped entry", ours, "10.0.0.1", &["::ffff:192.0.2.1"], Some("192.0.2.1")),
            ("mapped peer", ours, "::ffff:10.0.0.1", &["192.0.2.1"], Some("192.0.2.1")),
            ("mapped proxy", ours, "10.0.0.1", &["192.0.2.1, ::ffff:10.0.0.7"], Some("192.0.2.1")),
        ] {
            assert_eq!(seen(trusted, peer, fields).as_deref(), want, "{name}");
        }
    }
}
