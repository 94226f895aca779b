//! The driver against small servers over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::engine;
use super::pace::Loop;
use super::plan::{Mode, Plan};
use super::report::Report;
use super::request::Ask;
use super::target;

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"choices\":[]}";

/// Serves every request of every connection with `answer`; `None` stands for closing after it.
fn serve(answer: &'static str, closes: bool, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve_one(stream, answer, closes, delay));
        }
    });
    addr
}

fn serve_one(mut stream: TcpStream, answer: &str, closes: bool, delay: Duration) {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Ok(length) = stream.read(&mut piece) else {
            return;
        };
        if length == 0 {
            return;
        }
        seen.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&seen);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let wanted: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if body.len() < wanted {
            continue;
        }
        seen.clear();
        std::thread::sleep(delay);
        if stream.write_all(answer.as_bytes()).is_err() || closes {
            return;
        }
    }
}

fn plan(addr: SocketAddr) -> Plan {
    Plan {
        target: target::parse(&format!("http://{addr}/v1/chat/completions")).unwrap(),
        source: Ipv4Addr::LOCALHOST,
        ask: Ask { model: "fast".to_owned(), key: None, body_bytes: Some(500), stream: false },
        mode: Mode::Json,
        shape: Loop::Closed,
        connections: 3,
        requests_max: 30,
        duration: Duration::from_secs(10),
        grace: Duration::from_millis(200),
        ramp: Duration::ZERO,
        events: None,
        expect: "\"choices\"".to_owned(),
    }
}

fn faults(report: &Report) -> Vec<(&str, u64)> {
    report.faults.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

#[test]
fn closed_loop_sends_exactly_its_requests() {
    let report = engine::run(&plan(serve(JSON, false, Duration::ZERO))).unwrap();
    assert_eq!((report.ok, report.failed), (30, 0), "{report}");
    assert_eq!(report.body_bytes, 30 * 14);
    assert_eq!(report.reconnects, 0);
    assert_eq!(report.latency.unwrap().count, 30);
    assert!(report.is_clean());
}

#[test]
fn failures_are_counted_by_kind() {
    for (name, answer, closes, fault) in [
        ("status", "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", false, "status"),
        ("text missing", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false, "mismatch"),
        ("short", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"choices\"", true, "truncated"),
        ("closed", "", true, "reset"),
        ("not HTTP", "220 smtp ready\r\n", true, "malformed"),
    ] {
        let mut plan = plan(serve(answer, closes, Duration::ZERO));
        plan.requests_max = 4;
        let report = engine::run(&plan).unwrap();
        assert_eq!(report.ok, 0, "{name}");
        assert_eq!(faults(&report), [(fault, 4)], "{name}");
        assert!(!report.is_clean(), "{name}");
    }
}

#[test]
fn a_silent_server_ends_as_unfinished() {
    let mut plan = plan(serve(JSON, false, Duration::from_secs(60)));
    plan.duration = Duration::from_secs(3);
    let report = engine::run(&plan).unwrap();
    assert_eq!(faults(&report), [("unfinished", 3)]);
}

#[test]
fn streams_are_counted_and_checked() {
    const TWO: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        9\r\ndata: a\n\n\r\n17\r\ndata: b\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    const NO_DONE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n";
    for (name, answer, events, ok) in [
        ("whole", TWO, Some(2), 6),
        ("any count", TWO, None, 6),
        ("wrong count", TWO, Some(3), 0),
        ("no end", NO_DONE, None, 0),
    ] {
        let mut plan = plan(serve(answer, false, Duration::ZERO));
        plan.mode = Mode::Stream;
        plan.ask.stream = true;
        plan.events = events;
        plan.requests_max = 6;
        let report = engine::run(&plan).unwrap();
        assert_eq!(report.ok, ok, "{name}: {report}");
        assert_eq!(report.failed, 6 - ok, "{name}");
        assert_eq!(report.first_event.unwrap().count, 6, "{name}");
    }
}

/// One connection and a server of 20 ms answer 50 a second. Asked for 200 a second, a request waits ever longer; a
/// driver that timed only from the sending would report 20 ms.
#[test]
fn open_loop_shows_the_wait_that_a_slow_server_causes() {
    let mut plan = plan(serve(JSON, false, Duration::from_millis(20)));
    plan.connections = 1;
    plan.shape = Loop::Open { rate: 200.0 };
    plan.duration = Duration::from_millis(400);
    plan.requests_max = 1_000;
    let report = engine::run(&plan).unwrap();
    assert!(report.missed > 40, "80 were due, 20 fit: {report}");
    assert!(report.latency.unwrap().max_us > 200_000.0, "{report}");
    assert!(!report.is_clean());
}

#[test]
fn held_streams_stay_open_and_early_ends_are_failures() {
    const OPEN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n";
    for (name, closes, ok) in [("open", false, 3), ("ends", true, 0)] {
        let mut plan = plan(serve(OPEN, closes, Duration::ZERO));
        plan.mode = Mode::Hold;
        plan.ask.stream = true;
        plan.duration = Duration::from_secs(3);
        let report = engine::run(&plan).unwrap();
        assert_eq!(report.ok, ok, "{name}: {report}");
        assert_eq!(report.failed, 3 - ok, "{name}: {report}");
    }
}
