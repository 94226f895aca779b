//! Request lines, hosts, versions, and local answers.

use super::case::{BODY, Case, REFUSED, SERVED, Want, framed, key_lines, request};
use crate::harness::KEY;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = hosts();
    cases.extend(targets());
    cases.extend(versions());
    cases.extend(methods());
    cases.extend(switches());
    cases.extend(local_answers());
    cases.extend(bodies_without_use());
    cases
}

/// A good request with another request line and host lines.
fn with(line: &str, host_lines: &str) -> Vec<u8> {
    let keys = key_lines();
    format!("{line}\r\n{host_lines}{keys}content-length: {}\r\n\r\n{BODY}", BODY.len()).into_bytes()
}

const LINE: &str = "POST /v1/chat/completions HTTP/1.1";
const HOST: &str = "host: gateway.test\r\n";

fn hosts() -> Vec<Case> {
    let mut cases = vec![Case::new("no host", with(LINE, ""), REFUSED)];
    for value in [
        "",
        " ",
        "a b",
        "gateway.test evil.test",
        "gateway.test, evil.test",
        "user@gateway.test",
        "gateway.test/x",
        "gateway.test?x",
        "gateway.test#x",
        "gateway.test\\x",
        "gateway.test\tx",
        "<gateway.test>",
        "\"gateway.test\"",
        "gateway.test{}",
        "gateway.test|x",
        "gateway.test^x",
        "gâteway.test",
    ] {
        cases.push(Case::new(format!("host {value:?}"), with(LINE, &format!("host: {value}\r\n")), REFUSED));
    }
    for value in ["gateway.test:9000", "127.0.0.1", "[::1]:80", "GATEWAY.test"] {
        cases.push(Case::new(format!("good host {value:?}"), with(LINE, &format!("host: {value}\r\n")), SERVED));
    }
    cases
}

fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    let line = |target: &str| format!("POST {target} HTTP/1.1");
    for target in [
        "v1/chat/completions",
        "gateway.test/v1/chat/completions",
        "",
        "http:/v1/chat/completions",
        "http:///v1/chat/completions",
        "http://other.test/v1/chat/completions",
        "http://gateway.test",
        "http://gateway.test:81/v1/chat/completions",
        "http://u@gateway.test/v1/chat/completions",
        "http://gateway.test@other.test/v1/chat/completions",
        "ftp://gateway.test/v1/chat/completions",
        "file:///etc/passwd",
        "gateway.test:443",
        "*",
        "/v1/chat/completions#x",
        "/v1/chat completions",
        "/v1/chat/completions HTTP/1.1",
        "/v1/chat/\tcompletions",
        "/v1/chat/\u{1}completions",
        "/v1/chat/\0completions",
        "/v1/chat/\u{7f}completions",
        "/v1/chat/\rcompletions",
        "/v1/chat/\ncompletions",
        "?x=/v1/chat/completions",
    ] {
        cases.push(Case::new(format!("target {target:?}"), with(&line(target), HOST), REFUSED));
    }
    // Well formed, but no path we know: one parse, an exact table, no decoding.
    for target in [
        "/",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/%63hat/completions",
        "/v1%2Fchat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions;x",
        "/v1/chat/completions;/../models",
        "/V1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions.",
        "/v1/chat",
        "/v1",
        "/v2/chat/completions",
        "/metrics",
        "/api/v1/projects",
        "/%2e%2e/",
        "/v1/chat/completions%20",
        "/v1/chat/completions%3Fx",
    ] {
        cases.push(Case::new(format!("path {target:?}"), with(&line(target), HOST), Want::Answered(404)));
    }
    for target in ["http://gateway.test/v1/chat/completions", "HTTP://GATEWAY.TEST/v1/chat/completions"] {
        cases.push(Case::new(format!("absolute {target:?}"), with(&line(target), HOST), SERVED));
    }
    cases.push(Case::new("a query", with(&line("/v1/chat/completions?api-version=1"), HOST), SERVED));
    cases
}

fn versions() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [
        " HTTP/1.2",
        " HTTP/2.0",
        " HTTP/2",
        " HTTP/3",
        " HTTP/0.9",
        " HTTP/1",
        " HTTP/1.",
        " HTTP/.1",
        " HTTP/11",
        " HTTP/1.10",
        " HTTP/01.1",
        " HTTP/1.01",
        " HTTP/1,1",
        " HTTP/1-1",
        " HTTP/-1.1",
        " HTTP/+1.1",
        " HTTP/1.1x",
        " HTTP/1.1 ",
        " HTTP/1.1\t",
        " http/1.1",
        " Http/1.1",
        " HTTPS/1.1",
        " HTTP1.1",
        " HTTP /1.1",
        " HTTP/ 1.1",
        " XHTTP/1.1",
        " ICY/1.1",
        " HTTP/1.1 HTTP/1.1",
        "",
        " ",
        "\tHTTP/1.1",
        "  HTTP/1.1",
        " HTTP/1.\u{b9}",
    ] {
        let line = format!("POST /v1/chat/completions{version}");
        cases.push(Case::new(format!("version {version:?}"), with(&line, HOST), REFUSED));
    }
    let get = |version: &str, more: &str| {
        format!("GET /v1/models {version}\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\n{more}\r\n")
    };
    let chunked = framed(&[b"transfer-encoding: chunked"], b"0\r\n\r\n");
    let old = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    cases.extend([
        Case::new("HTTP/1.0 without a body", get("HTTP/1.0", ""), Want::ServedAndClosed(200)),
        Case::new("HTTP/1.0 keep-alive", get("HTTP/1.0", "connection: keep-alive\r\n"), SERVED),
        Case::new("HTTP/1.0 with a length", old(request(&[], BODY)), REFUSED),
        Case::new("HTTP/1.0 with chunks", old(chunked), REFUSED),
        Case::new("HTTP/1.1 with close", get("HTTP/1.1", "connection: close\r\n"), Want::ServedAndClosed(200)),
        Case::new("close among options", get("HTTP/1.1", "connection: x, Close ,y\r\n"), Want::ServedAndClosed(200)),
        Case::new("HTTP/0.9", "GET /v1/models\r\n\r\n", REFUSED),
        Case::new("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
        Case::new("an answer instead of a request", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", REFUSED),
    ]);
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["CONNECT", "TRACE", "PO ST", "PO\tST", "POST\0", "PO(ST", "\"POST\"", "PÖST", "", "POST:", "@"] {
        let line = format!("{method} /v1/chat/completions HTTP/1.1");
        cases.push(Case::new(format!("method {method:?}"), with(&line, HOST), REFUSED));
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "post", "Post", "PROPFIND", "X", "POSTX", "GPOST"] {
        let line = format!("{method} /v1/chat/completions HTTP/1.1");
        cases.push(Case::new(format!("method {method:?} not here"), with(&line, HOST), Want::Answered(405)));
    }
    cases.push(Case::new("CONNECT an authority", with("CONNECT gateway.test:443 HTTP/1.1", HOST), REFUSED));
    cases.push(Case::new("models by POST", with("POST /v1/models HTTP/1.1", HOST), Want::Answered(405)));
    cases
}

fn switches() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "upgrade: websocket\r\nconnection: upgrade",
        "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP",
        "upgrade: websocket",
        "upgrade:",
        "connection: upgrade",
        "connection: keep-alive, Upgrade",
        "upgrade: TLS/1.0",
        "expect: 200-ok",
        "expect:",
        "expect: 100-continue, x",
        "expect: 100-continue;x",
        "expect: 100",
        "expect: 100-continu",
        "expect: x, 100-continue",
    ] {
        cases.push(Case::new(format!("switch {line:?}"), request(&[line.as_bytes()], BODY), REFUSED));
    }
    for line in
        ["expect: 100-continue", "expect: 100-Continue", "connection: keep-alive", "connection: te\r\nte: trailers"]
    {
        cases.push(Case::new(format!("allowed {line:?}"), request(&[line.as_bytes()], BODY), SERVED));
    }
    cases
}

/// Refused by meaning before the body is read: the body is dropped whole, or the connection ends. In each body stands a
/// request of its own, which must stay data.
fn local_answers() -> Vec<Case> {
    let canary = super::canary();
    let mut cases = Vec::new();
    let chunked = format!("{:x}\r\n{canary}\r\n0\r\n\r\n", canary.len());
    for (name, line, keys, status) in [
        ("unknown path", "POST /v1/nothing HTTP/1.1", key_lines(), 404),
        ("wrong method", "DELETE /v1/chat/completions HTTP/1.1", key_lines(), 405),
        ("no key", LINE, "content-type: application/json\r\n".to_owned(), 401),
        ("unknown key", LINE, key_lines().replace("mr_test_0", "mr_test_1"), 401),
        ("odd key", LINE, key_lines().replace("Bearer ", "Basic "), 401),
        ("other type", LINE, key_lines().replace("application/json", "text/plain"), 415),
        ("not JSON", LINE, key_lines(), 400),
    ] {
        let head = format!("{line}\r\n{HOST}{keys}");
        let length = format!("{head}content-length: {}\r\n\r\n{canary}", canary.len());
        cases.push(Case::new(format!("{name}, body by length"), length, Want::Answered(status)));
        let bytes = format!("{head}transfer-encoding: chunked\r\n\r\n{chunked}");
        cases.push(Case::new(format!("{name}, body in chunks"), bytes, Want::Answered(status)));
        let large = format!("{canary}{}", " ".repeat(300_000));
        let bytes = format!("{head}content-length: {}\r\n\r\n{large}", large.len());
        cases.push(Case::new(format!("{name}, large body"), bytes, Want::Answered(status)));
    }
    let late = format!("{LINE}\r\n{HOST}expect: 100-continue\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    cases.push(Case::new("no key, but waiting for 100", late, Want::Answered(401)));
    let unknown = BODY.replace("demo/chat", "demo/nothing");
    cases.push(Case::new("unknown model", request(&[], &unknown), Want::Answered(404)));
    cases
}

/// Bodies on requests that need none: 0.CL and CL.0.
fn bodies_without_use() -> Vec<Case> {
    let canary = super::canary();
    let get = format!("GET /v1/models HTTP/1.1\r\n{HOST}authorization: Bearer {KEY}\r\n");
    let length = canary.len();
    let half = canary.len() / 2;
    vec![
        Case::new("GET with a body", format!("{get}content-length: {length}\r\n\r\n{canary}"), SERVED),
        Case::new("GET with length 0", format!("{get}content-length: 0\r\n\r\n"), SERVED),
        Case::new(
            "GET with chunks",
            format!("{get}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{canary}\r\n0\r\n\r\n"),
            Want::ServedOrClosed(200),
        ),
        Case::new(
            "GET with half a canary as body",
            format!("{get}content-length: {half}\r\n\r\n{}", &canary[..half]),
            SERVED,
        ),
        Case::new("chat with length 0", framed(&[b"content-length: 0"], b""), Want::Answered(400)),
        Case::new("chat without framing", framed(&[], b""), Want::Answered(400)),
    ]
}
