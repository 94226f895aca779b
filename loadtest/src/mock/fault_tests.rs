//! Tests of the faults: each by what is on the wire.

use super::tests::{DONE, contains, mock, request};
use super::*;
use crate::serve::{Client, Ended, IoDriver, for_tests, for_tests_on};

/// Model, streamed or not, how the connection ends, what is on the wire, what is not.
type Case = (&'static str, bool, Ended, &'static [&'static str], &'static [&'static str]);

/// A request on a fresh connection, and what came back until it ended or nothing more is expected.
fn raw(address: std::net::SocketAddr, case: &Case) -> (Vec<u8>, Ended) {
    let (model, stream, want, present, _) = case;
    let mut client = Client::connect(address);
    client.post("/v1/chat/completions", &request(model, *stream));
    let is_enough = |wire: &[u8]| *want == Ended::Open && present.iter().all(|part| contains(wire, part));
    let (mut wire, ended) = client.drain_until(is_enough);
    if ended != Ended::Open {
        return (wire, ended);
    }
    let (more, ended) = client.drain(100);
    wire.extend_from_slice(&more);
    (wire, ended)
}

const STOP: &str = "\"finish_reason\":\"stop\"";
const LAST: &str = "\r\n0\r\n\r\n";

const CUTS: &[Case] = &[
    ("fault/reset", false, Ended::Reset, &[], &["HTTP"]),
    ("fault/reset", true, Ended::Reset, &[], &["HTTP"]),
    ("fault/reset@at=midhead", false, Ended::Reset, &["HTTP/1.1 200"], &["\r\n\r\n"]),
    ("fault/reset@at=body", false, Ended::Reset, &["\r\n\r\n{\"id\""], &["usage"]),
    ("fault/reset@at=body", true, Ended::Reset, &["\r\n\r\n", "data: {"], &["finish_reason"]),
    ("fault/reset@chunk=7", true, Ended::Reset, &["w0000006"], &["w0000007", STOP]),
    ("fault/fin@chunk=0", true, Ended::Fin, &["\"role\":\"assistant\""], &["w0000000"]),
    ("fault/fin", false, Ended::Fin, &[], &["HTTP"]),
    ("fault/fin@chunk=4", false, Ended::Fin, &["content-length: 600\r\n"], &["usage"]),
    ("fault/close@chunk=2", true, Ended::Fin, &["w0000001"], &["w0000002", LAST]),
    ("fault/stall", false, Ended::Open, &[], &["HTTP"]),
    ("fault/stall@chunk=3", true, Ended::Open, &["w0000002"], &["w0000003"]),
];

const STATUSES: &[Case] = &[
    (
        "fault/status=429,retry_after=5",
        false,
        Ended::Open,
        &["429 Too Many", "retry-after: 5\r\n", "rate_limit_exceeded"],
        &[],
    ),
    ("fault/status=429,retry_after=date:30", true, Ended::Open, &["retry-after: ", " GMT\r\n"], &["event-stream"]),
    (
        "fault/status=503,retry_after=negative,retry_after_ms=0",
        false,
        Ended::Open,
        &["retry-after: -5\r\n", "retry-after-ms: 0\r\n"],
        &[],
    ),
    ("fault/status=429,retry_after=huge", false, Ended::Open, &["retry-after: 1000000000\r\n"], &[]),
    ("fault/status", false, Ended::Open, &["HTTP/1.1 500", "\"type\":\"server_error\""], &[]),
    (
        "fault/status=400,code=context_length_exceeded",
        false,
        Ended::Open,
        &["\"code\":\"context_length_exceeded\""],
        &[],
    ),
    ("fault/status=529,shape=anthropic", false, Ended::Open, &["overloaded_error", "\"request_id\""], &[]),
    ("fault/status=429,shape=gemini", false, Ended::Open, &["  \"error\": {", "RESOURCE_EXHAUSTED"], &[]),
    ("fault/status=400,shape=gemini-sse", true, Ended::Open, &["content-type: text/event-stream\r\n"], &["data:"]),
    ("fault/status=422,shape=mistral", false, Ended::Open, &["{\"detail\":"], &[]),
    ("fault/status=400,shape=bedrock", false, Ended::Open, &["x-amzn-errortype: "], &[]),
    ("fault/status=500,shape=deepseek", false, Ended::Open, &["application/octet-stream"], &[]),
    ("fault/status=502,shape=html", false, Ended::Open, &["<h1>502</h1>"], &[]),
    ("fault/status=500,shape=empty", false, Ended::Open, &["content-length: 0\r\n"], &["content-type"]),
    ("fault/status=401,shape=leak", false, Ended::Open, &["sk-canary-", "set-cookie"], &[]),
    ("fault/status=500,message_bytes=20000", false, Ended::Open, &["!!!!"], &[]),
    ("fault/redirect", false, Ended::Open, &["HTTP/1.1 302", "location: http://169.254.169.254/"], &[]),
    ("fault/redirect=307,to=loop", false, Ended::Open, &["HTTP/1.1 307", "location: /v1/"], &[]),
];

const CONTENTS: &[Case] = &[
    ("fault/body", false, Ended::Open, &["[}"], &[]),
    ("fault/body=truncated", false, Ended::Open, &["content-length: 300\r\n"], &["usage"]),
    ("fault/body=html", false, Ended::Open, &["text/html", "<html>"], &[]),
    ("fault/body=empty", false, Ended::Open, &["content-length: 0\r\n"], &[]),
    ("fault/body=error", false, Ended::Open, &["HTTP/1.1 200", "{\"error\":"], &[]),
    ("fault/body=blank", false, Ended::Open, &["\r\n\r\n\n    ", STOP], &[]),
    ("fault/body=duplicate", false, Ended::Open, &["{\"id\":\"twice\",\"id\":"], &[]),
    ("fault/body=null", false, Ended::Open, &["\r\n\r\nnull"], &[]),
    ("fault/body=deep", false, Ended::Open, &["[[[[", "]]]]"], &[]),
    ("fault/form", true, Ended::Open, &["application/json"], &["data:"]),
    ("fault/form=stream", false, Ended::Open, &["text/event-stream", DONE], &[]),
    ("fault/form=type", false, Ended::Open, &["application/octet-stream", STOP], &[]),
    ("fault/no-done", true, Ended::Open, &[STOP, LAST], &["DONE"]),
    ("fault/no-finish", true, Ended::Open, &["w0000019", LAST], &["DONE", STOP]),
    ("fault/no-finish@done", true, Ended::Open, &[DONE], &[STOP]),
    ("fault/empty-stream", true, Ended::Open, &["\r\n\r\n0\r\n\r\n"], &["data:"]),
    ("fault/empty-stream@done", true, Ended::Open, &[DONE], &["choices"]),
    ("fault/after-done", true, Ended::Open, &["data: [DONE]\n\n\r\nfa\r\ndata: "], &[]),
    ("fault/error-event", true, Ended::Open, &["w0000002", "data: {\"error\":", LAST], &["w0000003", "DONE"]),
    ("fault/error-event=groq,chunk=1", true, Ended::Open, &["event: error\n", "\"status_code\":400"], &["w0000001"]),
    ("fault/error-event=openrouter,goes_on", true, Ended::Open, &["\"error\":{\"code\":502", "w0000003", DONE], &[]),
    ("fault/error-event=gpustack", true, Ended::Open, &["\nerror: {\"error\""], &["DONE"]),
    ("fault/event", true, Ended::Open, &["\"content\":\"\n\n", "w0000003", DONE], &["w0000002"]),
    ("fault/event=glued", true, Ended::Open, &["null}]}{\"id\""], &[]),
    ("fault/event=nul", true, Ended::Open, &["\"\0w0000002"], &[]),
];

const FRAMINGS: &[Case] = &[
    ("fault/garbage", false, Ended::Fin, &["SSH-2.0"], &["HTTP/1.1"]),
    ("fault/garbage=binary", false, Ended::Fin, &[], &["HTTP/1.1"]),
    ("fault/garbage=http09", false, Ended::Fin, &[STOP], &["HTTP/1.1"]),
    ("fault/badhead", false, Ended::Open, &["200 OK\r\nthis line has no colon\r\n", STOP], &[]),
    ("fault/badhead=fold", false, Ended::Open, &["x-fold: 1\r\n  continued\r\n"], &[]),
    ("fault/badhead=space", true, Ended::Open, &["x-space : 1\r\n", DONE], &[]),
    ("fault/badhead=nul", false, Ended::Open, &["x-nul: a\0b\r\n"], &[]),
    ("fault/badhead=status", false, Ended::Open, &["HTTP/1.1 abc OK\r\ncontent-type"], &[]),
    ("fault/badhead=version", false, Ended::Open, &["HTTP/9.9 200 OK\r\ncontent-type"], &[]),
    ("fault/bighead=100", false, Ended::Open, &["x-big: aaaa"], &[]),
    ("fault/manyheaders=3", false, Ended::Open, &["x-many: 1\r\nx-many: 1\r\nx-many: 1\r\n"], &[]),
    ("fault/leakheaders", false, Ended::Open, &["set-cookie: ", "alt-svc: ", STOP], &[]),
    ("fault/length", false, Ended::Open, &["content-length: 500\r\n", "usage"], &[]),
    ("fault/length=long", false, Ended::Fin, &["content-length: 700\r\n", "usage"], &[]),
    ("fault/length=two", false, Ended::Open, &["content-length: 600\r\ncontent-length: 601\r\n"], &[]),
    ("fault/length=same", false, Ended::Open, &["content-length: 600\r\ncontent-length: 600\r\n"], &[]),
    ("fault/length=both", false, Ended::Open, &["content-length: 600\r\ntransfer-encoding: chunked\r\n", LAST], &[]),
    ("fault/length=sign", false, Ended::Open, &["content-length: +600\r\n"], &[]),
    ("fault/length=huge", false, Ended::Fin, &["content-length: 99999999999999999999999\r\n"], &[]),
    ("fault/chunked", false, Ended::Fin, &["transfer-encoding: chunked", STOP], &[LAST]),
    ("fault/chunked", true, Ended::Fin, &[DONE], &[LAST]),
    ("fault/chunked=badsize", true, Ended::Fin, &["\r\nxyz\r\n"], &[]),
    ("fault/chunked=hugesize", false, Ended::Fin, &["\r\nfffffffffffffffff\r\n"], &[]),
    ("fault/chunked=longer", false, Ended::Fin, &["\r\n2\r\nhello\r\n"], &[]),
    ("fault/chunked=notail", false, Ended::Fin, &["\r\n0\r\n"], &[LAST]),
    ("fault/chunked=trailers", true, Ended::Open, &["\r\n0\r\nx-trailer: canary\r\n"], &[]),
    ("fault/chunked=badtrailer", false, Ended::Fin, &["\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n"], &[LAST]),
    ("fault/chunked=extension", true, Ended::Open, &["\r\n2;name=\"a;b\"\r\n"], &[]),
    ("fault/chunked=barelf", false, Ended::Fin, &["\n0\n\n"], &[]),
    ("fault/chunked=close", true, Ended::Fin, &["connection: close", DONE], &["transfer-encoding"]),
    (
        "fault/interim=3",
        false,
        Ended::Open,
        &["HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 ", "HTTP/1.1 200 OK", STOP],
        &[],
    ),
    ("fault/upgrade", false, Ended::Fin, &["HTTP/1.1 101 Switching Protocols\r\n", "switched"], &[]),
    ("fault/nocontent", false, Ended::Open, &["HTTP/1.1 204 No Content\r\ncontent-length: 600\r\n", STOP], &[]),
    ("fault/surplus", false, Ended::Open, &["}HTTP/1.1 200 OK\r\n", "canary"], &[]),
    ("fault/surplus=bytes", true, Ended::Open, &["\r\n0\r\n\r\ncanary! "], &[]),
    ("fault/early@after_ms=20", false, Ended::Open, &["}HTTP/1.1 200 OK\r\n", "canary"], &[]),
    ("fault/idle-close@after_ms=20", false, Ended::Fin, &[STOP], &[]),
    ("fault/idle-close=reset,after_ms=20", true, Ended::Reset, &[DONE], &[]),
    ("fault/close-on-reuse", false, Ended::Open, &[STOP], &[]),
    ("fault/gzip", false, Ended::Open, &["content-encoding: gzip\r\n", "\u{1f}"], &[STOP]),
    ("fault/gzip=truncated", true, Ended::Open, &["content-encoding: gzip\r\n"], &["data:"]),
    ("fault/gzip=corrupt", false, Ended::Open, &["content-encoding: gzip\r\n"], &[STOP]),
    ("fault/gzip=nested", false, Ended::Open, &["content-encoding: gzip, gzip\r\n"], &[STOP]),
    ("fault/gzip=lie", false, Ended::Open, &["content-encoding: gzip\r\n", STOP], &[]),
    ("fault/gzip=unknown", false, Ended::Open, &["content-encoding: x-mock\r\n"], &[]),
];

const TEXTS: &[Case] = &[
    ("fault/lines", true, Ended::Open, &["null}]}\r\n\r\n", "data: [DONE]\r\n\r\n"], &["}\n"]),
    ("fault/lines=cr", true, Ended::Open, &["data: [DONE]\r\r"], &["}\n", DONE]),
    ("fault/lines=bom", true, Ended::Open, &["\u{feff}data: {", DONE], &[]),
    ("fault/lines=nospace", true, Ended::Open, &["data:[DONE]\n\n"], &["data: "]),
    ("fault/lines=noblank", true, Ended::Open, &["data: [DONE]\n\r\n0\r\n"], &[DONE]),
    ("fault/lines=twodata", true, Ended::Open, &[",\ndata: \"object\""], &[]),
    ("fault/lines=fields", true, Ended::Open, &["id: 0\nretry: 1000\n", DONE], &[]),
    ("fault/onebyte", true, Ended::Open, &["\r\n1\r\nd\r\n1\r\na\r\n1\r\nt\r\n1\r\na\r\n1\r\n:\r\n"], &["data"]),
    ("fault/dribble@ms=0", false, Ended::Open, &["HTTP/1.1 200 OK", STOP], &[]),
    ("fault/random-cuts=3", true, Ended::Open, &["\r\n0\r\n\r\n"], &[]),
    ("fault/glue", true, Ended::Open, &["null}]}\n\ndata: {", DONE], &[]),
    ("fault/bigline=5000", true, Ended::Open, &["xxxxx", "\r\n1388\r\ndata: ", DONE], &[]),
    ("fault/bigevent=5000", true, Ended::Open, &["xxx\ndata: xxx", DONE], &[]),
    ("fault/tinyfields=3", true, Ended::Open, &["data\ndata\ndata\n\n", DONE], &[]),
    ("fault/nodelimiter=50", true, Ended::Open, &["data: xxxxx", LAST], &["\n\n"]),
    ("fault/comments=2,ms=1", true, Ended::Open, &[": mock\n\n\r\n8\r\n: mock\n\n", DONE], &[]),
    ("fault/forever@ms=1000", true, Ended::Open, &["w0000000"], &["w0000001"]),
    ("fault/usage", false, Ended::Open, &[STOP], &["usage"]),
    ("fault/usage=negative", false, Ended::Open, &["\"prompt_tokens\":-50"], &[]),
    ("fault/usage=huge", true, Ended::Open, &["\"completion_tokens\":1000000000000000", DONE], &[]),
    ("fault/usage=null", true, Ended::Open, &["\"usage\":null", DONE], &[]),
    ("fault/usage=twice", false, Ended::Open, &["\"total_tokens\":2", "\"usage\":", "\"total_tokens\":120"], &[]),
    ("fault/usage=twice", true, Ended::Open, &["\"total_tokens\":2", "\"total_tokens\":120", DONE], &[]),
    ("fault/usage=late", true, Ended::Open, &["data: [DONE]\n\n\r\n1", "}}}\n\n\r\n0\r\n\r\n"], &[]),
    ("fault/usage=early", true, Ended::Open, &["\"total_tokens\":101", "\"total_tokens\":120", DONE], &[]),
    ("fault/usage=unasked", true, Ended::Open, &["\"choices\":[],\"usage\":{", DONE], &[]),
    ("fault/usage=groq", true, Ended::Open, &["\"x_groq\":{\"id\":\"req_mock\",\"usage\":{", DONE], &[]),
];

fn check(cases: &[Case]) {
    check_on(cases, IoDriver::Epoll);
}

fn check_on(cases: &[Case], driver: IoDriver) {
    let address = for_tests_on(mock(), driver);
    // All at once: most wait for a silence.
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || {
                let (wire, ended) = raw(address, case);
                let (model, _, want, present, absent) = case;
                let text = String::from_utf8_lossy(&wire);
                assert_eq!(ended, *want, "{model}: {text}");
                for part in *present {
                    assert!(contains(&wire, part), "{model} lacks {part:?}: {text}");
                }
                for part in *absent {
                    assert!(!contains(&wire, part), "{model} has {part:?}: {text}");
                }
            });
        }
    });
}

#[test]
fn answers_break_off_where_they_should() {
    check_on(CUTS, IoDriver::Epoll);
    check_on(CUTS, IoDriver::Auto);
}

#[test]
fn statuses_have_their_shapes_and_headers() {
    check(STATUSES);
}

#[test]
fn contents_are_wrong_as_named() {
    check(CONTENTS);
}

#[test]
fn framings_are_wrong_as_named() {
    check(FRAMINGS);
}

#[test]
fn texts_and_usages_are_as_named() {
    check(TEXTS);
}

#[test]
fn broken_characters_are_broken() {
    let mut client = Client::connect(for_tests(mock()));
    client.post("/v1/chat/completions", &request("fault/event=utf8", true));
    let answer = client.answer();
    assert!(std::str::from_utf8(&answer.body).is_err());
}

#[test]
fn packed_bodies_unpack_or_fail_as_named() {
    let address = for_tests(mock());
    for (model, want) in [
        ("fault/gzip", Some(600)),
        ("fault/gzip=truncated", None),
        ("fault/gzip=corrupt", None),
        ("fault/gzip=lie", None),
        ("fault/gzip=bomb", Some((128 << 20) + 40)),
    ] {
        let mut client = Client::connect(address);
        client.post("/v1/chat/completions", &request(model, false));
        let packed = client.answer().body;
        let mut unpacked = flate2::read::GzDecoder::new(packed.as_slice());
        let bytes = std::io::copy(&mut unpacked, &mut std::io::sink()).ok();
        assert_eq!(bytes, want, "{model}");
        assert!(packed.len() < 200_000, "{model}");
    }
}

#[test]
fn every_fault_has_a_case() {
    let cases = [CUTS, STATUSES, CONTENTS, FRAMINGS, TEXTS].concat();
    for name in fault::names() {
        let prefix = format!("fault/{name}");
        let is_its = |model: &str| {
            model.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', '@', ',']))
        };
        assert!(cases.iter().any(|case| is_its(case.0)), "{name}");
    }
}

#[test]
fn readme_has_the_table_of_faults() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&fault::table()), "replace the table by the output of `loadtest mock --scripts`");
}

#[test]
fn reused_connections_close_without_an_answer() {
    let address = for_tests(mock());
    for (model, want) in [("fault/close-on-reuse", Ended::Fin), ("fault/close-on-reuse=reset", Ended::Reset)] {
        let mut client = Client::connect(address);
        client.post("/v1/chat/completions", &request(model, false));
        assert_eq!(client.answer().status, 200, "{model}");
        client.post("/v1/chat/completions", &request("fast", false));
        assert_eq!(client.drain(1_000), (Vec::new(), want), "{model}");
    }
}

#[test]
fn faults_strike_the_first_n_times_only() {
    let mut client = Client::connect(for_tests(mock()));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        client.post("/v1/chat/completions", &request("fault/status=503,first=2", false));
        statuses.push(client.answer().status);
    }
    client.send(b"DELETE /__counters HTTP/1.1\r\n\r\n");
    client.answer();
    client.post("/v1/chat/completions", &request("fault/status=503,first=2", false));
    statuses.push(client.answer().status);
    assert_eq!(statuses, [503, 503, 200, 200, 503]);
}
