//! The one parse of an upstream URL, into what connects.
//!
//! There is no second parser to disagree with: what is refused here never becomes a destination, and what is accepted has
//! one spelling only. Nothing is decoded, so a `%`, a backslash or a tab is a refusal, not a rewrite.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Most bytes of an upstream URL.
pub const URL_BYTES_MAX: usize = 1_024;
/// Most bytes of a host name (RFC 1035, section 2.3.4, as text without the last dot).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// How bytes travel to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text; only to addresses that an administrator allowed.
    Http,
    /// TLS with verification.
    Https,
}

impl Scheme {
    /// The port when the URL names none: 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme as text: `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The host of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name in lower-case ASCII, 1 to 253 bytes, never ending in a number or a dot.
    Name(Box<str>),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

/// Where an upstream is: scheme, host, port and path prefix. Made by [`super::Guard::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: Box<str>,
}

impl BaseUrl {
    /// How bytes travel.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, 1 to 65535; the scheme's own when the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path prefix such as `/v1`: empty, or with a first and without a last slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of the `host` header: the port is there only when it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let port = self.port;
        let own = port == self.scheme.default_port();
        match (&self.host, own) {
            (Host::Name(name), true) => name.to_string(),
            (Host::Name(name), false) => format!("{name}:{port}"),
            (Host::V4(address), true) => address.to_string(),
            (Host::V4(address), false) => format!("{address}:{port}"),
            (Host::V6(address), true) => format!("[{address}]"),
            (Host::V6(address), false) => format!("[{address}]:{port}"),
        }
    }

    /// The name that the upstream's certificate must carry; an IPv6 address stands without brackets.
    #[must_use]
    pub fn host_name(&self) -> String {
        match &self.host {
            Host::Name(name) => name.to_string(),
            Host::V4(address) => address.to_string(),
            Host::V6(address) => address.to_string(),
        }
    }

    /// The address, when the host is one and needs no resolver.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(address)),
            Host::V6(address) => Some(IpAddr::V6(address)),
        }
    }

    /// Tells whether both go to the same scheme, host and port: the place that a stored key is bound to.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.port == other.port
    }

    /// The same place without a path prefix.
    pub(super) fn without_path(self) -> Self {
        Self { path: "".into(), ..self }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Why a text is not an upstream URL. The text itself is never repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("url is longer than {URL_BYTES_MAX} bytes")]
    Length,
    /// A byte that is not printable ASCII, or a backslash.
    #[error("url must be printable ASCII without spaces and backslashes")]
    Character,
    /// No `//` after a known scheme, or another scheme.
    #[error("url must start with `https://`, or `http://` for an address an administrator allowed")]
    Scheme,
    /// `user:password@`.
    #[error("url must not hold user information (`@`)")]
    UserInformation,
    /// `?`.
    #[error("url must not hold a query (`?`)")]
    Query,
    /// `#`.
    #[error("url must not hold a fragment (`#`)")]
    Fragment,
    /// `%`.
    #[error("url must not hold percent-encoding (`%`)")]
    Percent,
    /// Nothing between `//` and the port or path.
    #[error("url has no host")]
    HostMissing,
    /// A label that is empty, too long, or of other characters; or a dot at the end.
    #[error("host must be labels of letters, digits, `-` and `_`, 1 to 63 bytes each, without a dot at the end")]
    HostName,
    /// An address in another spelling than its canonical one.
    #[error("not a canonical address: write IPv4 as `192.0.2.1`, IPv6 as `[2001:db8::1]`")]
    NotCanonical,
    /// A port that is no number from 1 to 65535 without leading zeros.
    #[error("port must be a number from 1 to 65535")]
    Port,
    /// A path with `//`, `.`, `..` or other characters.
    #[error("path must be segments of letters, digits and `-._~:@+=,!$*`, none empty, none `.` or `..`")]
    Path,
}

/// Splits `text` into its parts; says nothing about where they lead.
pub(super) fn parse(text: &str) -> Result<BaseUrl, UrlError> {
    if text.len() > URL_BYTES_MAX {
        return Err(UrlError::Length);
    }
    for byte in text.bytes() {
        match byte {
            b'%' => return Err(UrlError::Percent),
            b'?' => return Err(UrlError::Query),
            b'#' => return Err(UrlError::Fragment),
            b'\\' => return Err(UrlError::Character),
            b'!'..=b'~' => {}
            _ => return Err(UrlError::Character),
        }
    }
    let (scheme_text, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    let scheme = if scheme_text.eq_ignore_ascii_case("https") {
        Scheme::Https
    } else if scheme_text.eq_ignore_ascii_case("http") {
        Scheme::Http
    } else {
        return Err(UrlError::Scheme);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(UrlError::UserInformation);
    }
    let (host, port) = parse_authority(authority)?;
    Ok(BaseUrl { scheme, host, port: port.unwrap_or(scheme.default_port()), path: parse_path(path)? })
}

fn parse_authority(authority: &str) -> Result<(Host, Option<u16>), UrlError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']').ok_or(UrlError::NotCanonical)?;
        let port = match after.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if after.is_empty() => None,
            None => return Err(UrlError::NotCanonical),
        };
        return Ok((parse_v6(inside)?, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, digits)) if digits.contains(':') => return Err(UrlError::NotCanonical),
        Some(("", _)) => return Err(UrlError::HostMissing),
        Some((host, digits)) => (host, Some(parse_port(digits)?)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(UrlError::HostMissing);
    }
    Ok((parse_name_or_v4(host)?, port))
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    if digits.is_empty() || digits.len() > 5 || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    digits.parse().map_err(|_| UrlError::Port)
}

fn parse_v6(inside: &str) -> Result<Host, UrlError> {
    let address: Ipv6Addr = inside.parse().map_err(|_| UrlError::NotCanonical)?;
    // RFC 5952 writes a mapped address with dots; it is an IPv4 address in disguise and has its own, shorter spelling.
    if inside.contains('.') || address.to_string() != inside {
        return Err(UrlError::NotCanonical);
    }
    Ok(Host::V6(address))
}

fn parse_name_or_v4(host: &str) -> Result<Host, UrlError> {
    if ends_in_number(host) {
        // Many libraries read `0177.1`, `2130706433` and `0x7f.1` as 127.0.0.1: only the four plain numbers pass.
        let address: Ipv4Addr = host.parse().map_err(|_| UrlError::NotCanonical)?;
        if address.to_string() != host {
            return Err(UrlError::NotCanonical);
        }
        return Ok(Host::V4(address));
    }
    if host.len() > NAME_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(UrlError::HostName);
    }
    Ok(Host::Name(host.to_ascii_lowercase().into_boxed_str()))
}

/// Tells whether the last label would be read as a number by the address parsers of other libraries.
fn ends_in_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    if last.is_empty() {
        return false;
    }
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => false,
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn parse_path(path: &str) -> Result<Box<str>, UrlError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut segments = trimmed.split('/');
    // The first piece stands before the first slash and is always empty.
    segments.next();
    for segment in segments {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@+=,!$*".contains(&b);
        if matches!(segment, "" | "." | "..") || !segment.bytes().all(allowed) {
            return Err(UrlError::Path);
        }
    }
    Ok(trimmed.into())
}
