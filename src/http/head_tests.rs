//! Which request heads are taken and which are refused.
#![allow(clippy::too_many_lines)]

use super::super::lines::find_end;
use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 32 * 1024, fields_max: 100 };

fn parse(text: &str) -> Result<RequestHead, HeadError> {
    let mut seen = 0;
    let end = find_end(text.as_bytes(), &mut seen, LIMITS.bytes_max)?.ok_or(HeadError::Malformed)?;
    parse_request(&text.as_bytes()[..end], LIMITS)
}

#[test]
fn ordinary_head_is_read() {
    let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a:9000\r\nAuthorization: Bearer k\r\ncontent-length: 12\r\nContent-Type: application/json\r\n\r\n";
    let head = parse(text).unwrap();
    let of = |part: &Part| std::str::from_utf8(part.of(text.as_bytes())).unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(of(&head.path), "/v1/chat/completions");
    assert!(head.has_query && head.keep_alive && head.is_1_1);
    assert_eq!(head.framing, Framing::Length(12));
    assert_eq!(of(head.authorization.as_ref().unwrap()), "Bearer k");
    assert_eq!(of(head.content_type.as_ref().unwrap()), "application/json");
}

#[test]
fn empty_lines_in_front_move_what_was_found() {
    let text = "\r\nPUT /v1/x?y HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n\r\n";
    let head = parse(text).unwrap();
    let of = |part: &Part| std::str::from_utf8(part.of(text.as_bytes())).unwrap();
    assert_eq!((of(&head.method_text), of(&head.path), head.len), ("PUT", "/v1/x", text.len()));
    assert_eq!(head.x_api_key.as_ref().map(of), Some("k"));
}

#[test]
fn tags_may_be_repeated_and_metadata_may_not() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nx-rb-tags: a=1\r\nX-Millrace-Tags: b=2\r\nx-millrace-tags:  c=3 \r\n\
                x-millrace-metadata: {}\r\nx-millrace-no-fallback: true\r\n\r\n";
    let head = parse(text).unwrap();
    let of = |part: &Part| std::str::from_utf8(part.of(text.as_bytes())).unwrap();
    assert_eq!(head.tags.iter().map(of).collect::<Vec<_>>(), ["a=1", "b=2", "c=3"]);
    assert_eq!(head.metadata.as_ref().map(of), Some("{}"));
    assert_eq!(head.no_fallback.as_ref().map(of), Some("true"));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().tags.capacity(), 0);
    for name in ["x-millrace-metadata", "x-millrace-no-fallback", "x-millrace-timeout-ms"] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n{name}: 1\r\n\r\n");
        assert_eq!(parse(&text), Err(HeadError::Repeated), "{name}");
    }
}

#[test]
fn ambiguous_heads_are_refused() {
    for (name, head, want) in [
        (
            "both framings",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadError::BothFramings,
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            HeadError::ContentLength,
        ),
        ("list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", HeadError::ContentLength),
        ("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", HeadError::ContentLength),
        (
            "16 digits",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000\r\n\r\n",
            HeadError::ContentLength,
        ),
        (
            "gzip, chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "two codings",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadError::TransferEncoding,
        ),
        ("identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", HeadError::TransferEncoding),
        ("1.0 with a body", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\n", HeadError::OldVersionBody),
        ("bare line feed", "GET / HTTP/1.1\nHost: a\r\n\r\n", HeadError::BareLineEnd),
        ("folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", HeadError::Malformed),
        ("space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", HeadError::Malformed),
        ("empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", HeadError::Malformed),
        ("bare carriage return", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", HeadError::Malformed),
        ("NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n", HeadError::Malformed),
        ("no host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", HeadError::Host),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HeadError::Host),
        ("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HeadError::Host),
        ("other authority", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Target),
        ("authority form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Target),
        ("fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Target),
        ("expect", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", HeadError::Expect),
        ("upgrade", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", HeadError::Forbidden),
        ("connection upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", HeadError::Forbidden),
        ("connect", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Forbidden),
        ("trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Forbidden),
        ("underscore", "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n", HeadError::Underscore),
        (
            "two keys in one name",
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: a\r\n\r\n",
            HeadError::Repeated,
        ),
        ("version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", HeadError::Version),
    ] {
        assert_eq!(parse(head).map(|_| ()), Err(want), "{name}");
    }
}

#[test]
fn head_is_found_at_any_cut() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnext";
    for cut in 0..text.len() {
        let mut seen = 0;
        let first = find_end(&text[..cut], &mut seen, 1024).unwrap();
        let end = first.or_else(|| find_end(text, &mut seen, 1024).unwrap());
        assert_eq!(end, Some(text.len() - 4), "cut at {cut}");
    }
}

#[test]
fn old_version_keeps_alive_only_when_asked() {
    for (head, keep_alive) in [
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ] {
        assert_eq!(parse(head).map(|head| head.keep_alive), Ok(keep_alive), "{head}");
    }
}

#[test]
fn sizes_are_bounded() {
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(100));
    assert_eq!(parse(&many).map(|_| ()), Err(HeadError::TooManyFields));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(33_000));
    assert_eq!(parse(&long).map(|_| ()), Err(HeadError::TooLarge));
}
