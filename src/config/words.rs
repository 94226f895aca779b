//! The forms of text that keys accept: names, addresses, dates.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::{Cidr, Digest, UnixTime};

use super::address::parse_base_url;
use super::model::Provider;
use super::problem::{Code, shown};
use super::table::Word;

type Verdict = Result<(), (Code, String)>;

/// Names that no project may have: they would be mistaken for a provider or a path.
const RESERVED_SLUGS: [&str; 14] = [
    "openai",
    "groq",
    "openrouter",
    "deepseek",
    "mistralai",
    "mistral",
    "mock",
    "anthropic",
    "google-genai",
    "azure",
    "auto",
    "api",
    "v1",
    "admin",
];

pub(super) const ID: Word = Word { name: "a name", pattern: None, check: |text| printable(text, 128) };
pub(super) const MODEL_ID: Word = Word {
    name: "a model id",
    pattern: Some("^[ -~]{1,128}$"),
    check: |text| {
        if !text.is_ascii() {
            return bad("only ASCII characters are accepted");
        }
        printable(text, 128)
    },
};
pub(super) const MODEL_NAME: Word = Word {
    name: "`provider/name`",
    pattern: Some("^[^/]+/.+$"),
    check: |text| match text.split_once('/') {
        Some((provider, name)) if !provider.trim().is_empty() && !name.trim().is_empty() => printable(text, 256),
        _ => bad("the form is `provider/name`, such as `openai/gpt-4o-mini`"),
    },
};
pub(super) const ROUTE_NAME: Word = Word {
    name: "a route name",
    pattern: Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    check: |text| {
        if is_route_name(text) {
            return Ok(());
        }
        bad("a route name has 1 to 64 letters, digits, `.`, `_` or `-` and begins with a letter or digit")
    },
};
pub(super) const SECRET_NAME: Word = Word {
    name: "a secret name",
    pattern: Some("^[A-Za-z0-9_.-]{1,64}$"),
    check: |text| {
        if is_secret_name(text) {
            return Ok(());
        }
        bad("a secret name has 1 to 64 letters, digits, `_`, `.` or `-`")
    },
};
pub(super) const PROJECT_SLUG: Word =
    Word { name: "a project slug", pattern: Some("^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"), check: check_slug };
pub(super) const PROJECT_ROUTE: Word = Word {
    name: "`project/route`",
    pattern: Some("^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    check: |text| match text.split_once('/') {
        Some((project, route)) if is_route_name(route) => check_slug(project),
        _ => bad("the form is `project/route`"),
    },
};
pub(super) const BASE_URL: Word = Word {
    name: "an address",
    pattern: Some("^https?://[^@#?%\\s]+$"),
    check: |text| parse_base_url(text).map(|_| ()),
};
pub(super) const SOCKET: Word = Word {
    name: "an address and a port",
    pattern: None,
    check: |text| match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => bad("the form is `ADDRESS:PORT`, such as `0.0.0.0:9000` or `[::1]:9000`"),
    },
};
pub(super) const NAME_SERVER: Word = Word {
    name: "the address of a name server",
    pattern: None,
    check: |text| match parse_name_server(text) {
        Some(_) => Ok(()),
        None => bad("the form is `ADDRESS` or `ADDRESS:PORT`, such as `10.0.0.53`, `127.0.0.1:8600` or `[::1]:53`"),
    },
};
pub(super) const HOST: Word = Word {
    name: "a host name",
    pattern: Some(
        "^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$",
    ),
    check: |text| {
        if is_host(text) {
            return Ok(());
        }
        bad("a host is a name such as `gateway.internal` or an IPv4 address, without scheme and port")
    },
};
pub(super) const CIDR: Word = Word {
    name: "a network",
    pattern: None,
    check: |text| match parse_cidr(text) {
        Ok(_) => Ok(()),
        Err(message) => Err((Code::BadValue, message)),
    },
};
pub(super) const PATH: Word = Word { name: "a path", pattern: None, check: |text| printable(text, 4_096) };
pub(super) const SMTP_URL: Word = Word {
    name: "the address of a mail server",
    pattern: Some("^smtps?://[^\\s]+$"),
    check: |text| {
        // The text may hold a password, so no message repeats it.
        printable(text, 1_024)?;
        let rest = text.strip_prefix("smtps://").or_else(|| text.strip_prefix("smtp://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        if authority.is_empty() || text.contains(' ') {
            return bad("the form is `smtps://USER:PASSWORD@HOST:PORT` or `smtp://HOST:PORT?tls=required`");
        }
        if text.starts_with("smtp://") && authority.contains('@') && !text.ends_with("?tls=required") {
            return bad("a password needs TLS: `smtps://`, or `?tls=required` at the end");
        }
        Ok(())
    },
};
pub(super) const MAILBOX: Word = Word {
    name: "a sender",
    pattern: None,
    check: |text| {
        printable(text, 320)?;
        match text.rsplit_once('@') {
            Some((before, after)) if !before.trim().is_empty() && !after.trim().is_empty() => Ok(()),
            _ => bad("the form is `alerts@example.com` or `Millrace <alerts@example.com>`"),
        }
    },
};
pub(super) const DIGEST: Word = Word {
    name: "a digest",
    pattern: Some("^sha256:[0-9A-Fa-f]{64}$"),
    check: |text| match Digest::parse(text) {
        Ok(_) => Ok(()),
        Err(_) if text.starts_with("mr_") => Err((
            Code::LiteralSecret,
            "the key itself does not belong here; write its digest, as `millrace key new` prints it".to_owned(),
        )),
        Err(error) => bad(&error.to_string()),
    },
};
pub(super) const TIME: Word = Word {
    name: "a time",
    pattern: None,
    check: |text| match parse_time(text) {
        Some(_) => Ok(()),
        None => bad("the form is RFC 3339, such as `2027-01-31T00:00:00Z`"),
    },
};

fn bad(message: &str) -> Verdict {
    Err((Code::BadValue, message.to_owned()))
}

fn printable(text: &str, chars_max: usize) -> Verdict {
    if text.is_empty() {
        return bad("must not be empty");
    }
    if text.chars().count() > chars_max {
        return Err((Code::OutOfRange, format!("at most {chars_max} characters are accepted")));
    }
    if text.chars().any(char::is_control) {
        return bad("only printable characters are accepted");
    }
    Ok(())
}

/// Underscores are no part of host names by RFC 952, but of those that container networks give out.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_route_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether a text may name a secret.
pub(super) fn is_secret_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn check_slug(text: &str) -> Verdict {
    let form = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if !form {
        return bad(
            "a project slug has 1 to 63 small letters, digits or `-`, and begins and ends with a letter or digit",
        );
    }
    if RESERVED_SLUGS.contains(&text) {
        return bad(&format!("`{text}` is reserved"));
    }
    Ok(())
}

/// Checks the slug of a project, which is the name of its file without `.yaml`.
///
/// # Errors
/// What is expected of a slug, in one sentence.
pub fn project_slug(file_stem: &str) -> Result<String, String> {
    match check_slug(file_stem) {
        Ok(()) => Ok(file_stem.to_owned()),
        Err((_, message)) => Err(message),
    }
}

/// Finds a provider of this version by the name in `model: provider/name`.
#[must_use]
pub fn find_provider(text: &str) -> Option<Provider> {
    let folded = text.to_ascii_lowercase().replace('_', "-");
    if folded == "mistral" {
        return Some(Provider::Mistral);
    }
    Provider::ALL.into_iter().find(|p| p.name() == folded)
}

/// Providers that are known but not served by this version.
pub(super) const PROVIDERS_LATER: [&str; 3] = ["anthropic", "google-genai", "azure"];

/// Reads the address of a name server; its port is 53 unless it is written.
pub(super) fn parse_name_server(text: &str) -> Option<SocketAddr> {
    let server = text.parse().or_else(|_| text.parse().map(|address| SocketAddr::new(address, 53))).ok()?;
    (server.port() > 0).then_some(server)
}

/// Reads `ADDRESS/PREFIX`, or an address for a network of one.
pub(super) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let form = || "the form is `ADDRESS/PREFIX`, such as `10.0.0.0/8`".to_owned();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| form())?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| form())?
        }
        Some(_) => return Err(form()),
    };
    if prefix > bits {
        return Err(format!("the prefix is at most {bits}"));
    }
    let first = first_address(address, prefix);
    if first != address {
        return Err(format!("the network begins at `{first}`: write `{first}/{prefix}`"));
    }
    format!("{address}/{prefix}").parse::<Cidr>().map_err(|error| error.to_string())
}

fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Reads an RFC 3339 date and time, with `Z` or an offset. A leap second counts as the second after it.
#[must_use]
pub fn parse_time(text: &str) -> Option<UnixTime> {
    let (date, clock) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !digits || !in_range {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let utc = seconds.checked_sub(offset_seconds(zone)?)?;
    let nanos =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
    Some(UnixTime(Duration::new(u64::try_from(utc).ok()?, nanos)))
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut out = [0i64; 3];
    let mut parts = text.split(separator);
    for (slot, width) in out.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hour, minute, _] = numbers(&format!("{}:00", zone.get(1..)?), ':', [2, 2, 2])?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 3_600 + minute * 60))
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let years = (1970..year).map(|y| 365 + i64::from(is_leap(y)));
    let months = (1..month).map(|m| days_in(year, m));
    years.chain(months).sum()
}

/// Names an unknown provider for a message.
pub(super) fn shown_provider(text: &str) -> String {
    format!("unknown provider `{}`", shown(text, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_follow_the_rule_of_projects() {
        let long = "a".repeat(63);
        let longer = "a".repeat(64);
        for (slug, want) in [
            ("a", true),
            ("support-2", true),
            (long.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a_b", false),
            ("ü", false),
            ("openai", false),
            ("v1", false),
        ] {
            assert_eq!(project_slug(slug).is_ok(), want, "{slug}");
        }
    }

    #[test]
    fn networks_are_read_in_canonical_form_only() {
        for (text, want) in [
            ("10.0.0.0/8", true),
            ("127.0.0.1", true),
            ("fd00::/8", true),
            ("0.0.0.0/0", true),
            ("10.0.0.1/8", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/", false),
            ("010.0.0.0/8", false),
            ("example.com", false),
        ] {
            assert_eq!(parse_cidr(text).is_ok(), want, "{text}");
        }
    }

    #[test]
    fn times_are_read_as_rfc_3339() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00.000Z")),
            ("2027-03-01T12:30:05.25Z", Some("2027-03-01T12:30:05.250Z")),
            ("2028-02-29T01:00:00+02:00", Some("2028-02-28T23:00:00.000Z")),
            ("1999-12-31t23:59:60-00:30", Some("2000-01-01T00:30:00.000Z")),
            ("2027-02-29T00:00:00Z", None),
            ("2027-01-01", None),
            ("2027-01-01T00:00:00", None),
            ("2027-01-01T24:00:00Z", None),
            ("2027-1-1T00:00:00Z", None),
            ("2027-01-01T00:00:00.Z", None),
            ("2027-01-01T00:00:00+é", None),
            ("1969-12-31T23:59:59Z", None),
        ] {
            let got = parse_time(text).map(UnixTime::rfc3339);
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
