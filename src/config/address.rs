//! Addresses of providers: the form of a base URL.
//!
//! The form only: whether an address may be reached is decided by the egress guard when a target is compiled and again
//! at each connection, because it depends on what the administrator allowed and on what a name resolves to.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::problem::Code;

/// A base URL in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl {
    /// Whether it is `https`; else `http`.
    pub(super) tls: bool,
    /// Host name in small letters, or an address literal; IPv6 without brackets.
    pub(super) host: String,
    /// Port, the scheme's own when not written.
    pub(super) port: u16,
    /// Path without a trailing slash; empty for `/`.
    pub(super) path: String,
}

/// Splits a base URL and refuses every form that two parsers could read in two ways.
///
/// # Errors
/// The code and the reason: `egress_denied` for an address literal that is not canonical, else `bad_value`.
pub(super) fn parse_base_url(text: &str) -> Result<BaseUrl, (Code, String)> {
    let bad = |message: &str| (Code::BadValue, message.to_owned());
    let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err(bad("an address begins with `https://` or `http://`"));
    };
    if text.len() > 2_048 {
        return Err(bad("an address has at most 2,048 characters"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>', '`']) {
        return Err(bad(
            "an address has only ASCII letters, digits and `-._~:/`; write international names in their `xn--` form",
        ));
    }
    if text.contains(['?', '#']) {
        return Err(bad("an address has no query and no fragment"));
    }
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at_checked(slash).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(bad("an address has no user name or password; use `credentials.api_key`"));
    }
    if authority.contains('%') {
        return Err(bad("`%` is not accepted in a host"));
    }
    let path = path.trim_end_matches('/');
    if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") {
        return Err(bad("the path has an empty part, `.` or `..`"));
    }
    let (host, port) = split_port(authority)?;
    let host = check_host(host)?;
    let default_port = if tls { 443 } else { 80 };
    Ok(BaseUrl { tls, host, port: port.unwrap_or(default_port), path: path.to_owned() })
}

/// Splits `host:port`; brackets stay with the host.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), (Code, String)> {
    let bracket_end = authority.rfind(']').map_or(0, |index| index + 1);
    let tail = authority.get(bracket_end..).unwrap_or_default();
    let Some(colon) = tail.find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at_checked(bracket_end + colon).unwrap_or((authority, ""));
    let digits = port.get(1..).unwrap_or_default();
    let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if canonical => Ok((host, Some(port))),
        _ => Err((Code::BadValue, "a port is a number from 1 to 65535".to_owned())),
    }
}

fn check_host(host: &str) -> Result<String, (Code, String)> {
    let not_canonical = || {
        (
            Code::EgressDenied,
            "not a canonical address: write four decimal numbers, or IPv6 in its shortest form".to_owned(),
        )
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| not_canonical())?;
        // A mapped IPv4 address would reach the IPv4 host by another name.
        if address.to_string() != inner || address.to_ipv4_mapped().is_some() {
            return Err(not_canonical());
        }
        return Ok(inner.to_owned());
    }
    let bad = |message: &str| Err((Code::BadValue, message.to_owned()));
    if host.is_empty() {
        return bad("the host is missing");
    }
    if host.len() > 253 {
        return bad("a host has at most 253 characters");
    }
    for label in host.split('.') {
        let form = (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !form {
            return bad(
                "a host is made of labels of letters, digits and `-`, without an empty one or a dot at the end",
            );
        }
    }
    // A last label that is a number makes the whole host an address (WHATWG URL, "ends in a number").
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric {
        let address: Ipv4Addr = host.parse().map_err(|_| not_canonical())?;
        if address.to_string() != host {
            return Err(not_canonical());
        }
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_split() {
        for (text, tls, host, port, path) in [
            ("https://api.openai.com/v1", true, "api.openai.com", 443, "/v1"),
            ("http://127.0.0.1:8000/v1/", false, "127.0.0.1", 8000, "/v1"),
            ("https://[2606:4700::1]:8443", true, "2606:4700::1", 8443, ""),
            ("http://vLLM:80/", false, "vllm", 80, ""),
        ] {
            let want = BaseUrl { tls, host: host.to_owned(), port, path: path.to_owned() };
            assert_eq!(parse_base_url(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn ambiguous_addresses_are_refused() {
        use Code::{BadValue, EgressDenied};
        for (text, want) in [
            ("ftp://a/v1", BadValue),
            ("HTTPS://a/v1", BadValue),
            ("https://", BadValue),
            ("https:///v1", BadValue),
            ("https://user@host/v1", BadValue),
            ("https://user:pw@host/v1", BadValue),
            ("https://host/v1?x=1", BadValue),
            ("https://host/v1#x", BadValue),
            ("https://ho%73t/v1", BadValue),
            ("https://host./v1", BadValue),
            ("https://a..b/v1", BadValue),
            ("https://hôst/v1", BadValue),
            ("https://host:0/v1", BadValue),
            ("https://host:080/v1", BadValue),
            ("https://host:65536/v1", BadValue),
            ("https://host:/v1", BadValue),
            ("https://host:+80/v1", BadValue),
            ("https://a/../v1", BadValue),
            ("https://a//v1", BadValue),
            ("https://a\\b/v1", BadValue),
            ("https://[::1/v1", BadValue),
            ("http://0x7f.1/v1", EgressDenied),
            ("http://0177.1/v1", EgressDenied),
            ("http://2130706433/v1", EgressDenied),
            ("http://127.1/v1", EgressDenied),
            ("http://127.0.0.01/v1", EgressDenied),
            ("http://1.2.3.4.5/v1", EgressDenied),
            ("http://0x7f000001/v1", EgressDenied),
            ("http://[::ffff:127.0.0.1]/v1", EgressDenied),
            ("http://[0:0:0:0:0:0:0:1]/v1", EgressDenied),
            ("http://[zz]/v1", EgressDenied),
        ] {
            let got = parse_base_url(text).map_err(|(code, _)| code);
            assert_eq!(got, Err(want), "{text}");
        }
    }
}
