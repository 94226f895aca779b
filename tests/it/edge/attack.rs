//! Clients of HTTP/2 that mean harm: T-06, F-22.
//!
//! Each is stopped by closing its connection or by taking no more from it. Meanwhile another client gets all its answers,
//! the process does not grow, and nothing stays behind.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Gateway, Identity, KEY, Mock, NAME, Settings, chat, chat_with, project};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, PING, PRIORITY, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, frame, literal, remembered,
};
use super::h2::{H2, block_on, request, whole};
use super::{STREAM, start};

const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;
/// Beyond the memory that ordinary work takes.
const GROWTH_KIB_MAX: u64 = 48 * 1024;
/// No attacker gets further than this.
const FRAMES_MAX: usize = 200_000;
/// As the gateway has it.
const REQUESTS_MAX: u32 = 1_000;

/// Longer than an honest client of these tests may stand still, on any machine.
const SHORT: &str = "limits: {write_timeout: 4 s, keepalive_timeout: 4 s}\n";
const BODY: &[u8] = br#"{"model":"demo/r0","messages":[{"role":"user","content":"hello"}],"stream":true}"#;

/// A gateway whose provider answers `demo/r0` by this script and `demo/r1` at once.
fn gateway(script: &str, server_lines: &str, identity: &Identity) -> (Mock, Gateway) {
    let mock = Mock::start();
    let demo = Settings::demo(project(&[script, "fast"], mock.address, ""), mock.address);
    let gateway = start(Settings { server_lines: server_lines.to_owned(), ..demo }, identity);
    (mock, gateway)
}

/// The fields of a chat request.
fn fields() -> Vec<u8> {
    let key = format!("Bearer {KEY}");
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", NAME),
        (":path", "/v1/chat/completions"),
        ("authorization", &key),
        ("content-type", "application/json"),
    ] {
        literal(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

/// A whole chat request.
fn ask(stream: u32, out: &mut Vec<u8>) {
    frame(HEADERS, END_HEADERS, stream, &fields(), out);
    frame(DATA, END_STREAM, stream, BODY, out);
}

/// Streams of a client have odd numbers.
fn stream(turn: usize) -> u32 {
    u32::try_from(turn * 2 + 1).unwrap()
}

/// One way to do harm: what it sends in its turn.
struct Attack {
    name: &'static str,
    /// Sent first.
    opening: fn(&mut Vec<u8>),
    turn: fn(usize, &mut Vec<u8>),
    /// Turns written at once.
    batch: usize,
    /// No more turns than these before the end.
    turns_max: usize,
    goaway: Option<u32>,
    /// Whether a `PING` may stand between two turns: not within a block of fields.
    may_ping: bool,
}

fn nothing(_: &mut Vec<u8>) {}

/// Begins a request whose body does not come.
fn begin(out: &mut Vec<u8>) {
    frame(HEADERS, END_HEADERS, 1, &fields(), out);
}

fn reset_at_once(turn: usize, out: &mut Vec<u8>) {
    ask(stream(turn), out);
    frame(RST_STREAM, 0, stream(turn), &8u32.to_be_bytes(), out);
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "rapid reset",
        opening: nothing,
        turn: reset_at_once,
        batch: 100,
        turns_max: 1_300,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: true,
    },
    Attack {
        name: "rapid reset, one by one",
        opening: nothing,
        turn: reset_at_once,
        batch: 1,
        turns_max: 1_200,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "resets of ours, by no window",
        opening: nothing,
        turn: |turn, out| {
            ask(stream(turn), out);
            frame(WINDOW_UPDATE, 0, stream(turn), &0x7fff_ffffu32.to_be_bytes(), out);
        },
        batch: 10,
        turns_max: 1_200,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: true,
    },
    Attack {
        name: "resets of ours, by data behind the end",
        opening: nothing,
        turn: |turn, out| {
            ask(stream(turn), out);
            frame(DATA, 0, stream(turn), b"more", out);
        },
        batch: 10,
        turns_max: 1_200,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "malformed requests",
        opening: nothing,
        turn: |turn, out| {
            let mut block = fields();
            literal(b"host", b"other.test", &mut block);
            frame(HEADERS, END_HEADERS | END_STREAM, stream(turn), &block, out);
        },
        batch: 1,
        turns_max: 100,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: true,
    },
    Attack {
        name: "fields without end",
        opening: |out| frame(HEADERS, END_STREAM, 1, &fields(), out),
        turn: |_, out| {
            let mut block = Vec::new();
            literal(b"x-a", &[b'a'; 1000], &mut block);
            frame(CONTINUATION, 0, 1, &block, out);
        },
        batch: 10,
        turns_max: 1_000,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: false,
    },
    Attack {
        name: "empty fields without end",
        opening: |out| frame(HEADERS, END_STREAM, 1, &fields(), out),
        turn: |_, out| frame(CONTINUATION, 0, 1, &[], out),
        batch: 10,
        turns_max: 1_000,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: false,
    },
    Attack {
        name: "fields that unfold",
        // 4,000 bytes are remembered once; each byte behind them means them again.
        opening: |out| {
            let mut block = fields();
            remembered(b"x-a", &[b'a'; 4_000], &mut block);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block, out);
        },
        turn: |turn, out| {
            let mut block = fields();
            block.extend([0x80 | 62; 10_000]);
            frame(HEADERS, END_HEADERS | END_STREAM, stream(turn + 1), &block, out);
        },
        batch: 1,
        turns_max: 10,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: true,
    },
    Attack {
        name: "empty data",
        opening: begin,
        turn: |_, out| frame(DATA, 0, 1, &[], out),
        batch: 100,
        turns_max: 2_000,
        goaway: Some(ENHANCE_YOUR_CALM),
        may_ping: true,
    },
    Attack {
        name: "settings",
        opening: begin,
        turn: |_, out| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0], out),
        batch: 100,
        turns_max: 5_000,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "pings",
        opening: begin,
        turn: |_, out| frame(PING, 0, 0, b"knocking", out),
        batch: 100,
        turns_max: 5_000,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "priorities",
        opening: begin,
        turn: |turn, out| frame(PRIORITY, 0, stream(turn + 1), &[0, 0, 0, 0, 16], out),
        batch: 100,
        turns_max: 5_000,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "windows",
        opening: begin,
        turn: |_, out| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes(), out),
        batch: 100,
        turns_max: 5_000,
        goaway: None,
        may_ping: true,
    },
    Attack {
        name: "unknown frames",
        opening: begin,
        turn: |_, out| frame(0x42, 0, 0, b"what is this", out),
        batch: 100,
        turns_max: 5_000,
        goaway: None,
        may_ping: true,
    },
];

impl Attack {
    /// Attacks until the connection ends, and says after how many turns.
    fn run(&self, raw: &mut Raw) -> (usize, End) {
        let mut bytes = Vec::new();
        (self.opening)(&mut bytes);
        raw.send(&bytes);
        let mut turns = 0;
        while turns < FRAMES_MAX && !raw.end.closed {
            bytes.clear();
            for turn in turns..turns + self.batch {
                (self.turn)(turn, &mut bytes);
            }
            turns += self.batch;
            raw.send(&bytes);
            self.keep_step(raw);
            if raw.end.goaway.is_some_and(|code| code != NO_ERROR) {
                break;
            }
        }
        (turns, raw.wait(DEADLINE))
    }

    /// Waits until the gateway has read what was sent, so that turns are counted as it sees them, however late it comes.
    fn keep_step(&self, raw: &mut Raw) {
        if self.may_ping {
            raw.keep_step();
        } else {
            raw.drain();
        }
    }
}

#[test]
fn t_06_attackers_are_cut_off_and_nobody_else_notices() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("hold", "", &identity);
    let edge = gateway.edge();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let healthy = scope.spawn(|| healthy_client(edge, &identity, &done));
        let before = gateway.resident_kib();
        let mut wrong = Vec::new();
        for attack in ATTACKS {
            let mut raw = Raw::open(edge, &identity, &[]);
            let (turns, end) = attack.run(&mut raw);
            let grown = gateway.resident_kib().saturating_sub(before);
            println!("{}: {turns} turns, {end:?}, {grown} KiB more", attack.name);
            let as_said = attack.goaway.is_none_or(|code| end.goaway == Some(code));
            if !end.closed || turns > attack.turns_max || grown > GROWTH_KIB_MAX || !as_said {
                wrong.push((attack.name, turns, end, grown));
            }
        }
        done.store(true, Ordering::Relaxed);
        let answers = healthy.join().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(answers >= 2, "only {answers} answers for the client beside");
    });
    assert!(gateway.peak_kib() - gateway.resident_kib() < GROWTH_KIB_MAX, "a peak of {} KiB", gateway.peak_kib());
    gateway.assert_idle();
}

/// Asks over both protocols until `done`, and counts the answers.
fn healthy_client(edge: std::net::SocketAddr, identity: &Identity, done: &AtomicBool) -> u32 {
    let mut answers = 0;
    while !done.load(Ordering::Relaxed) {
        let mut one = Client::connect_tls(edge, identity);
        one.send(&chat_with("demo/r1", STREAM));
        let reply = one.read().expect("an answer");
        assert_eq!((reply.status, reply.cut), (200, false));
        let answer = block_on(async { H2::connect(edge, identity).await.ask("demo/r1", "").await });
        assert_eq!((answer.status, answer.reset.is_some()), (200, false));
        answers += 2;
    }
    answers
}

#[test]
fn f_22_t_06_stream_without_a_window_is_given_up() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("stream/events=2000,gap_ms=1", SHORT, &identity);
    let edge = gateway.edge();
    let initial_window = 4;
    // The first may never send a byte. The second has what RFC 9113 gives to all streams together, and never more.
    for (name, settings) in [("of the stream", vec![(initial_window, 0)]), ("of the connection", Vec::new())] {
        let mut raw = Raw::open(edge, &identity, &settings);
        let mut bytes = Vec::new();
        for turn in 0..20 {
            ask(stream(turn), &mut bytes);
        }
        assert!(raw.send(&bytes));
        // Whatever is left when no stream is open ends with the idle connection.
        let end = raw.wait(DEADLINE);
        assert!(end.closed, "window {name}: {end:?}");
        assert!(end.resets >= 20, "window {name}: {end:?}");
        gateway.assert_idle();
    }
    assert_eq!(gateway.ask(&chat("demo/r1")).status, 200);
}

#[test]
fn t_06_client_that_reads_nothing_at_all_holds_nothing() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("stream/events=2000,gap_ms=1", SHORT, &identity);
    let edge = gateway.edge();
    let mut raw = Raw::open(edge, &identity, &[(4, 0x7fff_ffff)]);
    let mut bytes = Vec::new();
    frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes(), &mut bytes);
    for turn in 0..50 {
        ask(stream(turn), &mut bytes);
    }
    assert!(raw.send(&bytes));
    // The kernel holds a few MiB for it; behind them nothing moves.
    gateway.assert_idle();
    assert!(gateway.peak_kib() < 200 * 1024, "{} KiB", gateway.peak_kib());
}

#[test]
fn t_06_connection_that_rests_is_closed_with_a_farewell() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("fast", SHORT, &identity);
    let edge = gateway.edge();
    for (name, asks) in [("never asked", false), ("asked once", true)] {
        let started = Instant::now();
        let mut raw = Raw::open(edge, &identity, &[]);
        let mut bytes = Vec::new();
        if asks {
            ask(1, &mut bytes);
        }
        assert!(raw.send(&bytes));
        let end = raw.wait(DEADLINE);
        let after = started.elapsed();
        assert!(end.closed && end.goaway == Some(NO_ERROR), "{name}: {end:?}");
        assert!(after >= Duration::from_millis(3_900), "{name}: {after:?}");
        assert_eq!(end.answers, u32::from(asks), "{name}");
    }
    // A ping is no work.
    let mut raw = Raw::open(edge, &identity, &[]);
    let started = Instant::now();
    while !raw.end.closed && started.elapsed() < DEADLINE {
        let mut ping = Vec::new();
        frame(PING, 0, 0, b"knocking", &mut ping);
        raw.send(&ping);
        raw.next(Duration::from_millis(50));
    }
    assert!(raw.end.closed, "pings keep a connection open");
}

#[test]
fn t_05_handshake_without_a_word_ends_in_time() {
    let identity = Identity::new();
    // Longer than the default, so that what is set here is what counts.
    let lines = identity.server_lines().replace("edge: {", "edge: {handshake_timeout: 10 s, ");
    let mut gateway = Gateway::serve(&Settings { server_lines: lines, ..super::mock_project() });
    let edge = gateway.edge();
    let in_time = |name: &str, started: Instant| {
        let after = started.elapsed();
        assert!(after >= Duration::from_secs(9), "{name}: {after:?}");
    };
    thread::scope(|scope| {
        // Neither a byte of TLS, nor half a hello, nor TLS without HTTP/2 in it.
        for (name, bytes) in [("no byte", &b""[..]), ("half a hello", &b"\x16\x03\x01\x02\x00\x01"[..])] {
            scope.spawn(move || {
                let started = Instant::now();
                let mut tcp = TcpStream::connect(edge).unwrap();
                tcp.set_read_timeout(Some(DEADLINE)).unwrap();
                std::io::Write::write_all(&mut tcp, bytes).unwrap();
                let left = std::io::Read::read(&mut tcp, &mut [0; 64]);
                let left = left.unwrap_or_else(|error| panic!("{name}: still open: {error}"));
                assert_eq!(left, 0, "{name}");
                in_time(name, started);
            });
        }
        let started = Instant::now();
        assert!(Raw::silent(edge, &identity).wait(DEADLINE).closed);
        in_time("no preface", started);
    });
}

#[test]
fn t_06_thousandth_request_is_the_last_of_its_connection() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("fast", "", &identity);
    let edge = gateway.edge();
    let served = block_on(async {
        let client = H2::connect(edge, &identity).await;
        let mut served = 0;
        // By the book: it stops when it is told to, and every request that it could send is answered.
        while client.is_open().await {
            let mut livez = request("/livez");
            *livez.method_mut() = http::Method::GET;
            let (answer, _stream) = client.send(livez, hyper::body::Bytes::new()).await;
            let answer = whole(answer.await.unwrap()).await;
            assert_eq!((answer.status, answer.reset.is_some()), (200, false), "request {served}");
            served += 1;
        }
        served
    });
    assert!((REQUESTS_MAX..REQUESTS_MAX + 100).contains(&served), "{served}");
    let mut raw = Raw::open(edge, &identity, &[]);
    let mut turns = 0;
    // One that does not care is cut off.
    while !raw.end.closed && turns < 5_000 {
        let mut bytes = Vec::new();
        frame(HEADERS, END_HEADERS | END_STREAM, stream(turns), &fields(), &mut bytes);
        raw.send(&bytes);
        raw.keep_step();
        turns += 1;
    }
    let end = raw.wait(DEADLINE);
    assert!(end.closed && turns < 1_300, "{turns}: {end:?}");
    assert_eq!(gateway.ask(&chat("demo/r1")).status, 200);
    gateway.assert_idle();
}

#[test]
fn refusals_before_the_worker_have_our_shape() {
    let identity = Identity::new();
    let (_mock, mut gateway) = gateway("fast", "", &identity);
    let edge = gateway.edge();
    block_on(async {
        let client = H2::connect(edge, &identity).await;
        let mut long = request("/v1/chat/completions");
        long.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
        long.headers_mut().insert("x-long", "a".repeat(40 * 1024).parse().unwrap());
        let mut connect = http::Request::new(());
        *connect.method_mut() = http::Method::CONNECT;
        *connect.uri_mut() = format!("{NAME}:443").parse().unwrap();
        connect.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
        for (name, request, status) in [("too many bytes of fields", long, 431), ("CONNECT", connect, 405)] {
            let (answer, _stream) = client.send(request, hyper::body::Bytes::new()).await;
            let answer = whole(answer.await.unwrap()).await;
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let names: Vec<_> = body["error"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["message", "type", "param", "code"], "{name}");
            assert!(answer.headers.contains_key("x-request-id"), "{name}");
        }
    });
    gateway.assert_idle();
}
