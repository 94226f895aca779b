//! Header lines: endings, folds, names, values, repeats, sizes.

use super::case::{BODY, Case, REFUSED, SERVED, Want, chunks, framed, head, request, shown};
use crate::harness::KEY;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = structure();
    cases.extend(hidden_codings());
    cases.extend(names());
    cases.extend(values());
    cases.extend(repeats());
    cases.extend(sizes());
    cases
}

fn one(name: &str, line: &[u8], want: Want) -> Case {
    Case::new(name, request(&[line], BODY), want)
}

fn structure() -> Vec<Case> {
    let good = String::from_utf8(request(&[], BODY)).unwrap();
    let (good_head, _) = good.split_once("\r\n\r\n").unwrap();
    let mut cases = vec![
        one("fold with a space", b"x-a: 1\r\n 2", REFUSED),
        one("fold with a tab", b"x-a: 1\r\n\t2", REFUSED),
        one("fold of nothing but a space", b"x-a: 1\r\n ", REFUSED),
        one("fold at an empty value", b"x-a:\r\n 1", REFUSED),
        one("space before the colon", b"x-a : 1", REFUSED),
        one("tab before the colon", b"x-a\t: 1", REFUSED),
        one("line without a colon", b"x-a", REFUSED),
        one("line of one space", b" ", REFUSED),
        one("empty name", b": 1", REFUSED),
        one("only a colon", b":", REFUSED),
        one("bare LF between lines", b"x-a: 1\nx-b: 2", REFUSED),
        one("bare CR between lines", b"x-a: 1\rx-b: 2", REFUSED),
        one("LF CR between lines", b"x-a: 1\n\rx-b: 2", REFUSED),
        one("CR CR LF between lines", b"x-a: 1\r\r\nx-b: 2", REFUSED),
        one("CR at the end of a value", b"x-a: 1\r", REFUSED),
        one("an empty line of CR CR LF", b"x-a: 1\r\n\r", REFUSED),
        one("colon in a value", b"x-a: b: c", SERVED),
        one("empty value", b"x-a:", SERVED),
        one("spaces around a value", b"x-a: \t b \t ", SERVED),
        Case::new("all lines end with LF", good.replace("\r\n", "\n"), REFUSED),
        Case::new("all lines end with CR", good.replace("\r\n", "\r"), REFUSED),
        Case::new("head ends with LF LF", format!("{good_head}\n\n{BODY}"), REFUSED),
        Case::new("head ends with CRLF LF", format!("{good_head}\r\n\n{BODY}"), REFUSED),
        Case::new("head ends with LF CRLF", format!("{good_head}\n\r\n{BODY}"), REFUSED),
        Case::new("one empty line before", format!("\r\n{good}"), SERVED),
        Case::new("bare LF before", format!("\n{good}"), REFUSED),
        Case::new("bare CR before", format!("\r{good}"), REFUSED),
        Case::new("space before", format!(" {good}"), REFUSED),
        Case::new("NUL before", format!("\0{good}"), REFUSED),
        Case::new("two empty lines before", format!("\r\n\r\n{good}"), SERVED),
        Case::new("first header line starts with a space", good.replacen("\r\n", "\r\n ", 1), REFUSED),
        Case::new("garbage of zeros", vec![0; 64], REFUSED),
        Case::new("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), REFUSED),
    ];
    cases.push(Case::new("body without head", BODY.as_bytes().to_vec(), REFUSED));
    cases
}

/// A transfer coding that one parser sees and another does not, beside a length.
fn hidden_codings() -> Vec<Case> {
    let length = format!("content-length: {}", BODY.len());
    let mut cases = Vec::new();
    for line in [
        b"transfer-encoding : chunked".as_slice(),
        b"transfer-encoding\t: chunked",
        b" transfer-encoding: chunked",
        b"\ttransfer-encoding: chunked",
        b"transfer-encoding\r\n : chunked",
        b"transfer-encoding:\r\n chunked",
        b"transfer-encoding:\nchunked",
        b"transfer-encoding\n: chunked",
        b"x-a: b\ntransfer-encoding: chunked",
        b"x-a: b\rtransfer-encoding: chunked",
        b"x-a: b\n\rtransfer-encoding: chunked",
        b"x-a: b\x00transfer-encoding: chunked",
        b"transfer-encoding\x00: chunked",
        b"transfer-encoding\x0b: chunked",
        b"transfer-encoding\x0c: chunked",
        b"transfer-encoding\xa0: chunked",
        b"transfer-encoding\xc2\xad: chunked",
        b"transfer_encoding: chunked",
        b"transfer encoding: chunked",
        b"transfer-encoding= chunked",
        b"transfer-encoding chunked",
        b"\"transfer-encoding\": chunked",
        b"(transfer-encoding): chunked",
        b"transfer-encoding;: chunked",
        b"transfer-encoding,: chunked",
        b"[transfer-encoding]: chunked",
        b"content_length: 4",
        b"content-length : 4",
        b" content-length: 4",
        b"x-a: b\ncontent-length: 4",
        b"x-a: b\rcontent-length: 4",
    ] {
        let bytes = framed(&[length.as_bytes(), line], BODY.as_bytes());
        cases.push(Case::new(format!("hidden {:?}, body by length", shown(line)), bytes, REFUSED));
        let bytes = framed(&[line], &chunks());
        cases.push(Case::new(format!("hidden {:?}, body in chunks", shown(line)), bytes, REFUSED));
    }
    for line in [b"transferencoding: chunked".as_slice(), b"x-transfer-encoding: chunked", b"te: chunked"] {
        let bytes = framed(&[length.as_bytes(), line], BODY.as_bytes());
        cases.push(Case::new(format!("merely another name {:?}", shown(line)), bytes, SERVED));
    }
    cases
}

/// Every byte that is no token character, in a name. The colon ends a name, CR and LF are cases of their own.
fn names() -> Vec<Case> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut cases = Vec::new();
    for byte in (0..=u8::MAX).filter(|byte| !token(*byte) && !b":\r\n".contains(byte)) {
        if byte > 0x84 && byte < 0xfb {
            continue;
        }
        let line = [b"x-a".as_slice(), &[byte], b"b: 1"].concat();
        cases.push(one(&format!("byte {byte:#04x} in a name"), &line, REFUSED));
    }
    for name in ["x_a", "_", "x-a_", "_x", "host_", "x-millrace_tags"] {
        cases.push(one(&format!("underscore in {name}"), format!("{name}: 1").as_bytes(), REFUSED));
    }
    cases.push(one("every token character but underscore", b"!#$%&'*+-.^`|~09azAZ: 1", SERVED));
    cases
}

/// Control bytes in a value; a tab is allowed, and so are bytes above 0x7f.
fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        let line = [b"x-a: b".as_slice(), &[byte], b"c"].concat();
        cases.push(one(&format!("byte {byte:#04x} in a value"), &line, REFUSED));
    }
    cases.push(one("tab in a value", b"x-a: b\tc", SERVED));
    cases.push(one("high bytes in a value", b"x-a: \x80\xa0\xff", SERVED));
    cases
}

fn repeats() -> Vec<Case> {
    let key = format!("authorization: Bearer {KEY}");
    let mut cases = vec![
        one("the key twice", key.as_bytes(), REFUSED),
        one("another key in the same field", b"authorization: Bearer mr_test_other", REFUSED),
        one("content-type twice", b"content-type: application/json", REFUSED),
        one("host twice, equal", b"host: gateway.test", REFUSED),
        one("host twice, different", b"host: other.test", REFUSED),
        one("host twice, second empty", b"host:", REFUSED),
        one("two request ids", b"x-request-id: a\r\nx-request-id: b", REFUSED),
        one("expect twice", b"expect: 100-continue\r\nexpect: 100-continue", REFUSED),
        one("an ordinary field twice", b"x-a: 1\r\nx-a: 2", SERVED),
    ];
    for line in ["x-api-key: other", "api-key: other"] {
        // Two different keys: refused by meaning, not by form, so the connection may live on.
        cases.push(one(&format!("a second key in {line}"), line.as_bytes(), Want::Answered(400)));
    }
    for field in ["x-api-key", "api-key"] {
        let same = format!("{field}: {KEY}");
        cases.push(one(&format!("the same key in {field}"), same.as_bytes(), SERVED));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let many = |count: usize| {
        let lines: Vec<Vec<u8>> = (0..count).map(|i| format!("x-{i}: 1").into_bytes()).collect();
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        request(&lines, BODY)
    };
    // A good request has four fields of its own.
    let large = |bytes: usize| {
        let rest = request(&[b"x-a: "], BODY).len() - BODY.len();
        let line = format!("x-a: {}", "a".repeat(bytes - rest));
        request(&[line.as_bytes()], BODY)
    };
    const KIB: usize = 1024;
    let too_large = Want::Refused(431);
    vec![
        Case::new("100 fields", many(96), SERVED),
        Case::new("101 fields", many(97), too_large),
        Case::new("2,000 fields", many(1996), too_large),
        Case::new("head of 32 KiB", large(32 * KIB), SERVED),
        Case::new("head of 32 KiB and one byte", large(32 * KIB + 1), too_large),
        Case::new("head of 200 KiB", large(200 * KIB), too_large),
        Case::new("name of 40 KiB", request(&[format!("{}: 1", "a".repeat(40 * KIB)).as_bytes()], BODY), too_large),
        Case::new("target of 40 KiB", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(40 * KIB)), too_large),
        Case::new("method of 40 KiB", format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(40 * KIB)), too_large),
        Case::new("a head that never ends", "a".repeat(100 * KIB), too_large),
        Case::new(
            "body over 10 MiB in chunks",
            {
                let mut bytes = head().into_bytes();
                bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                let chunk = format!("{:x}\r\n{}\r\n", 64 * KIB, "[".repeat(64 * KIB));
                bytes.extend_from_slice(chunk.repeat(161).as_bytes());
                bytes.extend_from_slice(b"0\r\n\r\n");
                bytes
            },
            Want::Refused(413),
        ),
    ]
}
