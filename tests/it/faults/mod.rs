//! Providers that die, stall or lie, by the fault matrix.
//!
//! The scripted provider makes the faults; what must hold is the same for all: a stream never ends cleanly unless the
//! provider ended it, nothing of a broken exchange reaches the next one, and no request stays in flight.

mod early;
mod idle;
mod pile;
mod reach;
mod table;
mod tls;

use crate::harness::{Client, Gateway, Mock, Reply, Settings, chat, chat_with, project};

use table::{CASES, Fault, Want};

/// The scripted provider puts this where no client may ever see it.
const NOT_FOR_CLIENTS: [&str; 2] = ["belongs to nobody", "sk-canary"];

/// Short, so that a stall takes seconds and not a minute; no shorter than a starved machine needs for an honest answer.
const TIMEOUTS: &str = "timeouts: {connect: 12 s, first_byte: 12 s, idle: 8 s, total: 40 s}";

/// The `data:` texts of a stream, with any kind of line end.
fn events(reply: &Reply) -> Vec<String> {
    let text = reply.text().replace("\r\n", "\n").replace('\r', "\n");
    let field = |line: &str| line.strip_prefix("data:").map(|rest| rest.trim_start().to_owned());
    let event = |block: &str| block.lines().filter_map(field).collect::<Vec<_>>().join("\n");
    text.trim_start_matches('\u{feff}').split("\n\n").map(event).filter(|event| !event.is_empty()).collect()
}

fn is_error(event: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
    let error = value.get("error").and_then(|error| error.as_object());
    error.is_some_and(|error| ["message", "type", "param", "code"].iter().all(|name| error.contains_key(*name)))
}

fn whole(reply: &Reply, stream: bool) -> Result<(), String> {
    if reply.status != 200 || reply.cut {
        return Err(format!("status {}, cut {}: {:.200}", reply.status, reply.cut, reply.text()));
    }
    // A provider may answer a streaming request with a whole object; it is passed as what it is.
    let is_stream = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !stream || !is_stream {
        let value: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
        let answered = value.is_some_and(|value| value.get("choices").is_some());
        return if answered { Ok(()) } else { Err(format!("no answer: {:.200}", reply.text())) };
    }
    let events = events(reply);
    let ends = events.iter().filter(|event| *event == "[DONE]").count();
    if ends == 1 && events.last().is_some_and(|event| event == "[DONE]") && !events.iter().any(|e| is_error(e)) {
        return Ok(());
    }
    Err(format!("{ends} ends among {} events, last {:?}", events.len(), events.last()))
}

/// The stream began, then ended with one error event and without an end mark.
fn broken(reply: &Reply) -> Result<(), String> {
    let events = events(reply);
    let last_is_error = events.last().is_some_and(|event| is_error(event));
    if reply.status == 200 && last_is_error && !events.iter().any(|event| event == "[DONE]") {
        return Ok(());
    }
    Err(format!("status {}, {} events, last {:?}", reply.status, events.len(), events.last()))
}

fn refused(reply: &Reply, status: u16) -> Result<(), String> {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status == status && !reply.cut && is_error(&body.to_string()) {
        return Ok(());
    }
    Err(format!("status {}, wanted {status}: {:.200}", reply.status, reply.text()))
}

fn check(reply: &Reply, fault: &Fault) -> Result<(), String> {
    if let Some(leak) = NOT_FOR_CLIENTS.iter().find(|text| reply.text().contains(**text)) {
        return Err(format!("{leak:?} reached the client"));
    }
    match fault.want {
        Want::Whole => whole(reply, fault.stream),
        Want::Status(status) => refused(reply, status),
        Want::Broken => broken(reply),
        Want::BrokenOr(status) => broken(reply).or_else(|_| refused(reply, status)),
        Want::WholeOr(status) => whole(reply, fault.stream).or_else(|_| refused(reply, status)),
        Want::WholeOrBroken => whole(reply, fault.stream).or_else(|_| broken(reply)).or_else(|_| refused(reply, 502)),
    }
}

fn ask(client: &mut Client, route: usize, stream: bool) -> Option<Reply> {
    let more = if stream { r#","stream":true"# } else { "" };
    client.send(&chat_with(&format!("demo/r{route}"), more));
    client.read()
}

/// A gateway in front of the scripted provider; route 0 is honest, the others are these scripts.
fn gateway_for(scripts: &[&str], mock: &Mock) -> Gateway {
    let models: Vec<&str> = [&["fast"], scripts].concat();
    Gateway::serve(&Settings::demo(project(&models, mock.address, TIMEOUTS), mock.address))
}

/// Runs one case, then an honest request, on one connection as long as it stays open.
fn run(gateway: &Gateway, route: usize, fault: &Fault) -> Result<(), String> {
    let mut client = gateway.client();
    let reply = ask(&mut client, route, fault.stream).ok_or("closed without an answer")?;
    check(&reply, fault)?;
    let must_close = reply.cut || reply.closes();
    let next = if must_close { None } else { ask(&mut client, 0, false) };
    let next = match next {
        Some(next) => next,
        None => gateway.ask(&chat("demo/r0")),
    };
    whole(&next, false).map_err(|why| format!("the next request: {why}"))
}

#[test]
fn each_fault_of_a_provider_ends_as_the_matrix_says() {
    let mock = Mock::start();
    let scripts: Vec<&str> = CASES.iter().map(|fault| fault.script).collect();
    let gateway = gateway_for(&scripts, &mock);
    let mut failures = Vec::new();
    // Several at once: the stalls would otherwise take a second each.
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..8)
            .map(|lane| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mine = CASES.iter().enumerate().filter(|(index, _)| index % 8 == lane);
                    let one = |(index, fault): (usize, &Fault)| {
                        let kind = if fault.stream { "stream" } else { "plain" };
                        let failed = run(gateway, index + 1, fault).err();
                        failed.map(|why| format!("{} {} ({kind}): {why}", fault.id, fault.script))
                    };
                    mine.filter_map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        for lane in lanes {
            failures.extend(lane.join().unwrap());
        }
    });
    failures.sort();
    assert!(failures.is_empty(), "{} of {} failed:\n  {}", failures.len(), CASES.len(), failures.join("\n  "));
    gateway.assert_idle();
    let streams = gateway.metric("millrace_open_streams", "").unwrap_or(0.0);
    assert!(streams == 0.0, "{streams} streams are still open");
}

#[test]
fn each_row_that_a_provider_can_cause_is_named_by_a_test() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("table.rs"),
        include_str!("early.rs"),
        include_str!("idle.rs"),
        include_str!("pile.rs"),
        include_str!("reach.rs"),
        include_str!("tls.rs"),
    ];
    let named = |row: &String| sources.iter().any(|source| source.contains(row.as_str()));
    let missing: Vec<String> = (1..=23).map(|row| format!("F-{row:02}")).filter(|row| !named(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn refused_connection_is_told_at_once() {
    // F-01 and F-11: a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::serve(&Settings::demo(project(&["fast"], free, TIMEOUTS), free));
    let mut client = gateway.client();
    for turn in 0..20 {
        // Who waits for the time of a connection gets 504.
        let reply = ask(&mut client, 0, turn % 2 == 0).expect("an answer");
        refused(&reply, 502).unwrap();
        assert_eq!(reply.json()["error"]["code"], "upstream_error");
        assert_eq!(reply.header("x-millrace-attempts"), Some("1"));
    }
    let refusals = gateway.metric("millrace_upstream_attempts_total", "outcome=\"connect\"");
    assert_eq!(refusals, Some(20.0), "{:?}", gateway.series("millrace_upstream_attempts_total", ""));
    gateway.assert_idle();
}

#[test]
fn compression_bombs_cost_bounded_memory() {
    // F-18: 64 MiB more at the peak, whatever the bomb would grow to.
    let mock = Mock::start();
    let models = ["fast", "fault/gzip=bomb", "fault/gzip=nested", "fault/gzip=lie"];
    // The provider packs its bomb when first asked, which takes it some seconds.
    let patience = "timeouts: {connect: 20 s, first_byte: 40 s, idle: 40 s, total: 40 s}";
    let gateway = Gateway::serve(&Settings::demo(project(&models, mock.address, patience), mock.address));
    whole(&gateway.ask(&chat("demo/r0")), false).unwrap();
    let before = gateway.peak_kib();
    let mut client = gateway.client();
    for route in [1, 2, 3, 1, 2, 3] {
        refused(&ask(&mut client, route, false).expect("an answer"), 502).unwrap();
    }
    let grown = gateway.peak_kib().saturating_sub(before);
    assert!(grown <= 64 * 1024, "{grown} KiB at the peak");
    gateway.assert_idle();
}

#[test]
fn resend_on_a_dead_reused_connection_is_an_attempt_unless_it_is_safe() {
    // F-10: the provider closes the kept connection when the second request arrives, with no byte of an answer.
    let mock = Mock::start();
    let models = ["fault/close-on-reuse", "fault/close-on-reuse=reset"];
    for (name, retry_safe, attempts) in [("counted", "", "2"), ("silent", "\nretry_safe: true", "1")] {
        let lines = format!("{TIMEOUTS}{retry_safe}");
        for script in models {
            // One gateway a script: targets at one address share their idle connections.
            let gateway = Gateway::serve(&Settings::demo(project(&[script], mock.address, &lines), mock.address));
            let mut client = gateway.client();
            for (turn, want) in [("first", "1"), ("second", attempts)] {
                let reply = ask(&mut client, 0, false).expect("an answer");
                assert_eq!(reply.status, 200, "{name}, {script}, {turn}: {}", reply.text());
                assert_eq!(reply.header("x-millrace-attempts"), Some(want), "{name}, {script}, {turn}");
            }
            gateway.assert_idle();
        }
    }
}

#[test]
fn provider_headers_never_reach_the_client() {
    let mock = Mock::start();
    let gateway = gateway_for(&["fault/leakheaders"], &mock);
    for stream in [false, true] {
        let reply = ask(&mut gateway.client(), 1, stream).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        for (name, value) in &reply.headers {
            let name = name.to_ascii_lowercase();
            let ours = name.starts_with("x-millrace-") || name.starts_with("x-ratelimit-");
            let known = [
                "content-type",
                "content-length",
                "transfer-encoding",
                "connection",
                "date",
                "server",
                "cache-control",
                "x-request-id",
                "x-accel-buffering",
                "openai-processing-ms",
                "openai-version",
                "traceparent",
            ];
            assert!(ours || known.contains(&name.as_str()), "{name}: {value}");
        }
        assert_eq!(reply.header("server").unwrap_or("millrace"), "millrace");
    }
}

#[test]
fn rate_limit_of_the_provider_is_passed_with_its_pause() {
    // F-06: seconds and milliseconds at least and at most; what is no time at all becomes a second.
    let mock = Mock::start();
    let cases = [
        ("fault/status=429", 1_000..=1_000),
        ("fault/status=429,retry_after=5", 5_000..=5_000),
        ("fault/status=429,retry_after=5,retry_after_ms=250", 250..=250),
        ("fault/status=429,retry_after=5,retry_after_ms=soon", 5_000..=5_000),
        // The date has whole seconds, and the request takes its time.
        ("fault/status=429,retry_after=date:30", 15_000..=30_000),
        ("fault/status=429,retry_after=date:100000", 60_000..=60_000),
        ("fault/status=429,retry_after=past", 0..=0),
        ("fault/status=429,retry_after=huge", 60_000..=60_000),
        ("fault/status=429,retry_after=negative", 1_000..=1_000),
        ("fault/status=429,retry_after=text", 1_000..=1_000),
    ];
    let scripts: Vec<&str> = cases.iter().map(|(script, _)| *script).collect();
    let gateway = gateway_for(&scripts, &mock);
    for (index, (script, want)) in cases.iter().enumerate() {
        for stream in [false, true] {
            let reply = ask(&mut gateway.client(), index + 1, stream).expect("an answer");
            assert_eq!(reply.status, 429, "{script}: {}", reply.text());
            let error = &reply.json()["error"];
            assert_eq!(error["type"], "requests", "{script}: {error}");
            let number = |name: &str| reply.header(name).unwrap_or_else(|| panic!("{script}: {name}")).parse::<u64>();
            let (seconds, millis) = (number("retry-after").unwrap(), number("retry-after-ms").unwrap());
            assert!(want.contains(&millis), "{script}: {millis} ms");
            assert_eq!(seconds, millis.div_ceil(1_000), "{script}");
        }
    }
}
