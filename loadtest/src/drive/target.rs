//! Where the load goes: an `http://` address on loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};

/// Path used when the address has none.
const PATH_DEFAULT: &str = "/v1/chat/completions";

/// Address and path of a server under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Loopback address and port.
    pub(crate) addr: SocketAddr,
    /// Path with its query, from the first `/`.
    pub(crate) path: String,
}

/// Reads `http://HOST:PORT[/path]`; refuses everything that is not loopback.
///
/// A load generator pointed at somebody else's machine is an attack, so there is no switch for it.
///
/// # Errors
/// Another scheme, a missing port, a name other than `localhost`, or an address off loopback.
pub(crate) fn parse(url: &str) -> anyhow::Result<Target> {
    let rest = url.strip_prefix("http://").with_context(|| format!("`{url}` must start with `http://`"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, PATH_DEFAULT),
    };
    let path = if path == "/" { PATH_DEFAULT } else { path };
    if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        bail!("the path of `{url}` has a space or control character");
    }
    let addr = match authority.strip_prefix("localhost:") {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse()?),
        None => authority
            .parse()
            .with_context(|| format!("`{authority}` must be an address and a port, such as `127.0.0.1:8080`"))?,
    };
    if !addr.ip().is_loopback() {
        bail!("`{authority}` is not a loopback address; load is sent to this machine only");
    }
    Ok(Target { addr, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_accepted() {
        for (url, addr, path) in [
            ("http://127.0.0.1:80", "127.0.0.1:80", PATH_DEFAULT),
            ("http://127.0.0.9:80/", "127.0.0.9:80", PATH_DEFAULT),
            ("http://localhost:8080/x?y", "127.0.0.1:8080", "/x?y"),
            ("http://[::1]:9/v1/embeddings", "[::1]:9", "/v1/embeddings"),
        ] {
            let target = parse(url).unwrap();
            assert_eq!(target.addr.to_string(), addr, "{url}");
            assert_eq!(target.path, path, "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for url in [
            "http://10.0.0.1:80/",
            "http://192.0.2.1:80/",
            "http://[2001:db8::1]:80/",
            "http://0.0.0.0:80/",
            "http://example.com:80/",
            "http://127.0.0.1/",
            "https://127.0.0.1:443/",
            "127.0.0.1:80",
            "http://127.0.0.1:80/a b",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
