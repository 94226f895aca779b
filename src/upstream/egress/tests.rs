//! Tests of the egress guard: its rules and own listeners.

use std::net::{IpAddr, SocketAddr};

use super::{Allow, EgressError, Guard, Ports, Rules, Scheme, UrlError};

pub(super) fn guard(allow: &[(&str, &str)], own: &[&str]) -> Guard {
    let allow = allow
        .iter()
        .map(|(cidr, ports)| Allow { cidr: cidr.parse().unwrap(), ports: ports.parse().unwrap() })
        .collect();
    let rules = Rules { allow, ports: None };
    let mut guard = Guard::new(rules, own.iter().map(|a| a.parse().unwrap()).collect());
    guard.local_addresses = || Some(vec!["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()]);
    guard
}

/// Names the kind of a refusal without its particulars, so that one table can hold all of them.
pub(super) fn kind(error: EgressError) -> &'static str {
    match error {
        EgressError::Url(UrlError::Length) => "length",
        EgressError::Url(UrlError::Character) => "character",
        EgressError::Url(UrlError::Scheme) => "scheme",
        EgressError::Url(UrlError::UserInformation) => "user",
        EgressError::Url(UrlError::Query) => "query",
        EgressError::Url(UrlError::Fragment) => "fragment",
        EgressError::Url(UrlError::Percent) => "percent",
        EgressError::Url(UrlError::HostMissing) => "missing",
        EgressError::Url(UrlError::HostName) => "name",
        EgressError::Url(UrlError::NotCanonical) => "canonical",
        EgressError::Url(UrlError::Port) => "port form",
        EgressError::Url(UrlError::Path) => "path",
        EgressError::Port { .. } => "port",
        EgressError::Plain => "plain",
        EgressError::Range { .. } => "range",
        EgressError::OwnListener { .. } => "own",
        EgressError::NoAddress => "none",
    }
}

/// Every URL is refused for the reason of its group.
pub(super) fn assert_refused(groups: &[(&str, &[&str])]) {
    let guard = guard(&[], &[]);
    let mut wrong = Vec::new();
    for (want, urls) in groups {
        for url in *urls {
            match guard.parse(url) {
                Err(error) if kind(error) == *want => {}
                other => wrong.push(format!("{url:?}: want {want}, got {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every URL is accepted, becomes the text beside it, and that text stays the same when it is read again.
pub(super) fn assert_accepted(forms: &[(&str, &str)]) {
    let guard = guard(&[], &[]);
    for (text, want) in forms {
        let url = guard.parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(url.to_string(), *want, "{text}");
        assert_eq!(guard.parse(want), Ok(url), "{text}: parsed again");
    }
}

#[test]
fn administrator_opens_exactly_what_is_listed() {
    let guard = guard(
        &[
            ("10.1.0.0/16", "8000-8010,443"),
            ("127.0.0.1", "11434"),
            ("fd00::/8", "any"),
            ("64:ff9b::/96", "443"),
            ("1.1.1.1", "9999"),
        ],
        &[],
    );
    for (scheme, address, want) in [
        (Scheme::Http, "10.1.2.3:8000", None),
        (Scheme::Https, "10.1.2.3:443", None),
        (Scheme::Http, "10.1.2.3:8011", Some("range")),
        (Scheme::Https, "10.2.0.1:8000", Some("range")),
        (Scheme::Http, "127.0.0.1:11434", None),
        (Scheme::Http, "127.0.0.2:11434", Some("range")),
        (Scheme::Https, "127.0.0.1:443", Some("range")),
        (Scheme::Http, "[fd00::1]:1", None),
        (Scheme::Http, "[fc00::1]:1", Some("range")),
        (Scheme::Https, "1.1.1.1:9999", None),
        (Scheme::Http, "1.1.1.1:9999", None),
        (Scheme::Http, "1.1.1.1:443", Some("plain")),
        (Scheme::Https, "1.1.1.2:9999", Some("port")),
        // An opened translator opens no private network behind it.
        (Scheme::Https, "[64:ff9b::808:808]:443", None),
        (Scheme::Https, "[64:ff9b::a00:1]:443", Some("range")),
        (Scheme::Https, "[64:ff9b::a01:1]:443", None),
        (Scheme::Https, "[64:ff9b::7f00:1]:443", Some("range")),
        (Scheme::Https, "[::ffff:10.1.2.3]:443", Some("range")),
        (Scheme::Https, "1.1.1.1:0", Some("port")),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let got = guard.permit(scheme, address).err().map(kind);
        assert_eq!(got, want, "{scheme:?} {address}");
    }
}

#[test]
fn embedded_addresses_are_judged_when_the_outer_range_is_open() {
    let guard = guard(&[("::/0", "any")], &[]);
    for (address, want) in [
        ("2606:4700::1", None),
        ("fd00::1", None),
        ("::1", None),
        ("::7f00:1", Some("range")),
        ("::ffff:127.0.0.1", Some("range")),
        ("::ffff:0:a9fe:a9fe", Some("range")),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::c0a8:1", Some("range")),
        ("64:ff9b:1::7f00:1", Some("range")),
        ("64:ff9b:1::808:808", None),
        ("64:ff9b:1:a9fe:a9:fe00::", Some("range")),
        ("64:ff9b:1:7f:0:1::", Some("range")),
        ("64:ff9b:1:0:a:0:100::", Some("range")),
        ("2002:a00:1::1", Some("range")),
        ("2002:808:808::1", None),
        ("2001:0:808:808::f5ff:fffe", Some("range")),
        ("2001:0:7f00:1::f7f7:f7f7", Some("range")),
        ("2001:0:808:808::f7f7:f7f7", None),
        ("fe80::5efe:a00:1", Some("range")),
        ("fe80::200:5efe:a00:1", Some("range")),
        ("fe80::5efe:808:808", None),
    ] {
        let ip: IpAddr = address.parse().unwrap();
        let got = guard.permit(Scheme::Https, SocketAddr::new(ip, 443));
        assert_eq!(got.err().map(kind), want, "{address}");
    }
}

#[test]
fn own_listeners_stay_closed_whatever_is_listed() {
    let all = [("0.0.0.0/0", "any"), ("::/0", "any")];
    for (own, address, want) in [
        ("127.0.0.1:9001", "127.0.0.1:9001", Some("own")),
        ("127.0.0.1:9001", "127.0.0.1:9000", None),
        ("127.0.0.1:9001", "127.0.0.2:9001", None),
        ("127.0.0.1:9001", "0.0.0.0:9001", Some("own")),
        ("127.0.0.1:9001", "[::]:9001", Some("own")),
        ("127.0.0.1:9001", "[::ffff:127.0.0.1]:9001", Some("own")),
        ("127.0.0.1:9001", "[64:ff9b::7f00:1]:9001", Some("own")),
        ("0.0.0.0:9000", "127.0.0.1:9000", Some("own")),
        ("0.0.0.0:9000", "127.8.8.8:9000", Some("own")),
        ("0.0.0.0:9000", "203.0.113.9:9000", Some("own")),
        ("0.0.0.0:9000", "203.0.113.10:9000", None),
        ("0.0.0.0:9000", "203.0.113.9:8000", None),
        ("0.0.0.0:9000", "[::1]:9000", Some("own")),
        ("[::]:9000", "203.0.113.9:9000", Some("own")),
        ("[::]:9000", "[2001:db8::9]:9000", Some("own")),
        ("[::]:9000", "[2001:db8::a]:9000", None),
        ("[::]:9000", "[2002:cb00:7109::1]:9000", Some("own")),
    ] {
        let guard = guard(&all, &[own]);
        let got = guard.permit(Scheme::Http, address.parse().unwrap());
        assert_eq!(got.err().map(kind), want, "own {own}, to {address}");
    }
}

#[test]
fn unreadable_interfaces_count_as_own() {
    let mut guard = guard(&[("0.0.0.0/0", "any")], &["0.0.0.0:9000"]);
    guard.local_addresses = || None;
    let got = guard.permit(Scheme::Http, "1.1.1.1:9000".parse().unwrap());
    assert_eq!(got.err().map(kind), Some("own"));
}

#[test]
fn interfaces_of_this_machine_are_seen() {
    let addresses = super::interface_addresses().unwrap();
    assert!(addresses.contains(&"127.0.0.1".parse().unwrap()), "{addresses:?}");
}

#[test]
fn one_bad_answer_refuses_all() {
    let guard = guard(&[], &[]);
    let url = guard.parse("https://api.example").unwrap();
    for (case, addresses, want) in [
        ("none", &[][..], Some("none")),
        ("good", &["1.1.1.1", "2606:4700::1"][..], None),
        ("last is private", &["1.1.1.1", "10.0.0.1"][..], Some("range")),
        ("first is private", &["fd00::1", "1.1.1.1"][..], Some("range")),
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(guard.permit_all(&url, &addresses).err().map(kind), want, "{case}");
    }
}

#[test]
fn listed_port_lets_a_name_pass_as_text_only() {
    let guard = guard(&[("10.1.0.0/16", "7000")], &[]);
    let url = guard.parse("http://model.internal:7000/v1").unwrap();
    let ip = |text: &str| [text.parse::<IpAddr>().unwrap()];
    assert_eq!(guard.permit_all(&url, &ip("10.1.0.1")), Ok(()));
    assert_eq!(guard.permit_all(&url, &ip("10.2.0.1")).err().map(kind), Some("range"));
    assert_eq!(guard.permit_all(&url, &ip("1.1.1.1")).err().map(kind), Some("plain"));
    let other = guard.parse("http://model.internal:7001/v1");
    assert_eq!(other.err().map(kind), Some("plain"));
}

#[test]
fn blocks_and_ports_are_written_strictly() {
    for (text, good) in [
        ("10.0.0.0/8", true),
        ("10.0.0.1", true),
        ("0.0.0.0/0", true),
        ("::/0", true),
        ("fd00::/8", true),
        ("2001:db8::1/128", true),
        ("10.0.0.1/8", false),
        ("10.0.0.0/33", false),
        ("10.0.0.0/", false),
        ("10.0.0.0/+8", false),
        ("10.0.0.0/8/8", false),
        ("10.0.0/8", false),
        ("010.0.0.0/8", false),
        ("fd00::1/8", false),
        ("FD00::/8", false),
        ("fd00::/129", false),
        ("fd00::/1000", false),
        ("localhost", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<super::Cidr>().is_ok(), good, "{text:?}");
    }
    for (text, good) in [
        ("any", true),
        ("443", true),
        ("443,8000-8999", true),
        ("443, 80", true),
        ("1-65535", true),
        ("0", false),
        ("0-10", false),
        ("65536", false),
        ("9-8", false),
        ("", false),
        ("443,", false),
        ("+443", false),
        ("a-b", false),
        ("1-2-3", false),
    ] {
        assert_eq!(text.parse::<Ports>().is_ok(), good, "{text:?}");
    }
    assert!(!Ports::any().contains(0));
    assert!(Ports::one(7).contains(7));
}

#[test]
fn refusals_repeat_no_secret() {
    let guard = guard(&[], &[]);
    for url in [
        "https://user:canary@api.example",
        "https://api.example/canary?x",
        "https://api.example/canary/..",
        "canary://api.example",
        "https://api.example:canary",
    ] {
        let error = guard.parse(url).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{url}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{url}: {error:?}");
    }
}

#[test]
fn what_is_opened_later_counts_at_once_and_own_listeners_stay_closed() {
    let guard = guard(&[], &["127.0.0.1:9000", "0.0.0.0:9001"]);
    let asks = |url: &str| guard.parse(url).map(drop).map_err(kind);
    let allow = |cidr: &str, ports: &str| Allow { cidr: cidr.parse().unwrap(), ports: ports.parse().unwrap() };
    assert_eq!(asks("http://127.0.0.1:8080/v1"), Err("range"));
    guard.open(vec![allow("127.0.0.0/8", "any"), allow("203.0.113.0/24", "9001")]);
    assert_eq!(asks("http://127.0.0.1:8080/v1"), Ok(()));
    assert_eq!(asks("http://127.0.0.1:9000/v1"), Err("own"));
    assert_eq!(asks("http://203.0.113.9:9001/v1"), Err("own"), "an address of this machine");
    assert_eq!(asks("http://203.0.113.8:9001/v1"), Ok(()));
    guard.open(Vec::new());
    assert_eq!(asks("http://127.0.0.1:8080/v1"), Err("range"));
}
