//! Which `Host` the admin server answers to.
//!
//! A web page can point its own name at 127.0.0.1 and then read what answers there (DNS rebinding, threat T-41). It cannot
//! choose the `Host` its visitor's browser sends, so only names and addresses that are ours are answered. The port is not
//! compared: a port mapping changes it and it proves nothing.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Whether a request that came in at the local address `local` is meant for us.
///
/// Allowed are `localhost`, loopback addresses, the address that was connected to, and `extra` (lower case, without port).
/// Exactly one `Host` is asked for; an absolute request target has to pass as well.
pub(super) fn is_ours(uri: &Uri, headers: &HeaderMap, local: IpAddr, extra: &[String]) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let target_fits = uri.authority().is_none_or(|authority| is_allowed(authority.as_str(), local, extra));
    target_fits && is_allowed(host, local, extra)
}

fn is_allowed(authority: &str, local: IpAddr, extra: &[String]) -> bool {
    let Some(host) = without_port(authority) else {
        return false;
    };
    let name = host.to_ascii_lowercase();
    if name == "localhost" || extra.contains(&name) {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    let is_bracketed = bare.len() != name.len();
    let Ok(address) = bare.parse::<IpAddr>() else {
        return false;
    };
    address.is_ipv6() == is_bracketed && (address.is_loopback() || address == local.to_canonical())
}

/// Cuts off `:port`; none when what follows the last colon is not a port.
fn without_port(authority: &str) -> Option<&str> {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Some(authority);
    };
    if host.contains(':') && !host.ends_with(']') {
        // An IPv6 address without a port keeps its last colon inside the brackets.
        return authority.ends_with(']').then_some(authority);
    }
    let is_port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    is_port.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_and_addresses_are_answered() {
        let local: IpAddr = "10.1.2.3".parse().unwrap();
        let extra = ["gateway.internal".to_owned()];
        for (authority, ours) in [
            ("localhost", true),
            ("LOCALHOST:9001", true),
            ("127.0.0.1:9001", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("[::1]:9001", true),
            ("10.1.2.3:80", true),
            ("gateway.internal:9001", true),
            ("Gateway.Internal", true),
            ("10.1.2.4", false),
            ("::1", false),
            ("[127.0.0.1]", false),
            ("evil.example", false),
            ("localhost.evil.example:9001", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:evil", false),
            ("localhost:9001@evil.example", false),
            ("evil.example@localhost", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(authority, local, &extra), ours, "{authority:?}");
        }
    }

    #[test]
    fn mapped_local_address_is_compared_as_ipv4() {
        let local: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert!(is_allowed("10.1.2.3:9001", local, &[]));
    }

    #[test]
    fn one_host_is_asked_for_and_absolute_targets_are_checked() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        for (name, target, hosts, ours) in [
            ("plain", "/livez", &["localhost"][..], true),
            ("none", "/livez", &[], false),
            ("two", "/livez", &["localhost", "localhost"], false),
            ("absolute", "http://localhost:9001/livez", &["localhost"], true),
            ("absolute foreign", "http://evil.example/livez", &["localhost"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let uri: Uri = target.parse().unwrap();
            assert_eq!(is_ours(&uri, &headers, local, &[]), ours, "{name}");
        }
    }
}
