//! A thousand requests at once against room for ten.
//!
//! I-19: exactly ten are answered 200 and all others 429, for requests, tokens and money, whatever the number of workers. What the
//! provider reports is what was reserved, so nothing is given back that an eleventh could take.
//! `MILLRACE_BURST_ROUNDS` sets how often, 2 unless told; each round has a route, and so counters, of its own.

use std::{
    env,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::json;

use crate::harness::{DEADLINE, Gateway, KEY, Mock, Settings, chat};
use crate::keys::{Project, text, with_key};

const ASKED: usize = 1_000;
const ALLOWED: u64 = 10;
/// Each has its part of a thousand connections; every one carries one request of a round.
const THREADS: usize = 8;
/// A line for each of millions of requests would cost more than the requests.
const QUIET: &str = "log: {access: false}\n";
/// Rounds of each kind in one life of the gateway: a project has 2,000 routes at most.
const LIFE: usize = 250;
/// Tokens that a reservation adds to the bytes of a body.
const FRAME_TOKENS: usize = 16;
const OUTPUT_TOKENS: u64 = 50;
const KINDS: [&str; 3] = ["requests", "tokens", "money"];

fn rounds() -> usize {
    env::var("MILLRACE_BURST_ROUNDS").map_or(2, |text| text.parse().unwrap())
}

/// How many rounds of each kind each life of the gateway has.
fn lives() -> impl Iterator<Item = usize> {
    let rounds = rounds();
    (0..rounds).step_by(LIFE).map(move |first| LIFE.min(rounds - first))
}

fn request(kind: &str, round: usize, key: &str) -> Vec<u8> {
    with_key(&chat(&format!("demo/{kind}-{round:05}")), key)
}

/// What a request of this kind reserves for its input.
fn input_tokens(kind: &str) -> u64 {
    let request = request(kind, 0, KEY);
    let head = memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4;
    u64::try_from(request.len() - head + FRAME_TOKENS).unwrap()
}

fn limit(kind: &str, window: &str) -> String {
    let (input, output) = (ALLOWED * input_tokens(kind), ALLOWED * OUTPUT_TOKENS);
    match kind {
        "requests" => format!("rate_limiting: {{max_requests: {ALLOWED}, window_size: {window}}}"),
        "tokens" => format!(
            "token_limiting: {{input: {{max_token: {input}, window_size: {window}}}, output: {{max_token: {output}, \
             window_size: {window}}}}}"
        ),
        // One micro-USD a token.
        _ => format!(
            "budget_limiting: {{max_budget: \"{:.6}\", window_size: {window}}}",
            f64::from(u32::try_from(input + output).unwrap()) / 1e6
        ),
    }
}

/// A route for each kind and round, each with its own counters.
fn project((provider, rounds): (SocketAddr, usize), window: &str) -> String {
    let mut text = "chat_models:\n".to_owned();
    for kind in KINDS {
        let prompt = input_tokens(kind);
        writeln!(
            text,
            "  - model_id: {kind}\n    model: \"openai/fast/latency_ms=5,prompt={prompt},completion={OUTPUT_TOKENS}\"\n    \
             credentials: {{base_url: \"http://{provider}/v1\"}}\n    max_output_tokens: {OUTPUT_TOKENS}\n    \
             input_cost_per_million_tokens: 1\n    output_cost_per_million_tokens: 1"
        )
        .unwrap();
    }
    text.push_str("routes:\n");
    for kind in KINDS {
        for round in 0..rounds {
            writeln!(text, "  {kind}-{round:05}: {{chat_models: [{kind}], {}}}", limit(kind, window)).unwrap();
        }
    }
    text
}

/// One connection that reads as little of an answer as this test needs: most of its time is the gateway's then.
struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Line {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Status and text of the next answer, and whether it is the last.
    fn read(&mut self) -> (u16, Vec<u8>, bool) {
        loop {
            let head = memchr::memmem::find(&self.unread, b"\r\n\r\n").map(|end| &self.unread[..end + 4]);
            if let Some(head) = head {
                let at = memchr::memmem::find(head, b"content-length: ").expect("a length") + 16;
                let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
                let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
                if self.unread.len() >= head.len() + length {
                    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
                    let is_last = memchr::memmem::find(head, b"connection: close").is_some();
                    let answer = self.unread.drain(..head.len() + length).collect();
                    return (status, answer, is_last);
                }
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).expect("an answer");
            assert!(count > 0, "closed behind {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }
}

/// How many of a thousand are answered 200 in each round; all others must be refused by the limit.
fn burst(gateway: &Gateway, (kind, rounds): (&str, usize), key: &str) -> Vec<u64> {
    let passed: Vec<AtomicU64> = (0..rounds).map(|_| AtomicU64::new(0)).collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut lines: Vec<Line> = (0..ASKED / THREADS).map(|_| Line::to(gateway.address)).collect();
                for (round, passed) in passed.iter().enumerate() {
                    let request = request(kind, round, key);
                    start.wait();
                    lines.iter_mut().for_each(|line| line.stream.write_all(&request).unwrap());
                    for line in &mut lines {
                        let (mut status, mut answer, mut is_last) = line.read();
                        // A lease that a busy disk keeps waiting for too long: nothing is spent, and the client asks again.
                        while status == 503 && memchr::memmem::find(&answer, b"ledger_unavailable").is_some() {
                            line.stream.write_all(&request).unwrap();
                            (status, answer, is_last) = line.read();
                        }
                        assert!(matches!(status, 200 | 429), "{kind} {round}: {}", String::from_utf8_lossy(&answer));
                        passed.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                        if is_last {
                            *line = Line::to(gateway.address);
                        }
                    }
                }
            });
        }
    });
    passed.into_iter().map(AtomicU64::into_inner).collect()
}

fn check(gateway: &Gateway, rounds: usize, (key, name): (&str, &str)) {
    for kind in KINDS {
        let begun = Instant::now();
        let passed = burst(gateway, (kind, rounds), key);
        let wrong: Vec<_> = passed.iter().enumerate().filter(|(_, passed)| **passed != ALLOWED).collect();
        assert!(wrong.is_empty(), "{name}, {kind}: round and number that passed: {wrong:?}");
        let each = begun.elapsed().as_millis() / u128::try_from(rounds).unwrap();
        println!("{name}, {kind}: {rounds} rounds of {each} ms, {ALLOWED} of {ASKED} passed in each");
    }
    gateway.assert_idle();
}

#[test]
fn i_11_ten_of_a_thousand_at_once_pass_with_counters_in_memory() {
    let mock = Mock::start();
    for workers in [1, 2, 4] {
        for rounds in lives() {
            let mut settings = Settings::demo(project((mock.address, rounds), "5 minutes"), mock.address);
            settings.workers = Some(workers);
            settings.server_lines = format!("limits: {{max_connections_per_address: 2000}}\n{QUIET}");
            let gateway = Gateway::serve(&settings);
            check(&gateway, rounds, (KEY, &format!("in memory, {workers} workers")));
        }
    }
}

#[test]
fn i_11_ten_of_a_thousand_at_once_pass_with_leases_on_disk() {
    let mock = Mock::start();
    let egress = format!("egress: {{allow: [{{cidr: 127.0.0.1/32, ports: [{}]}}]}}\n{QUIET}", mock.address.port());
    for workers in [1, 2, 4] {
        for rounds in lives() {
            let project = Project::on(Gateway::stored_with(tempfile::tempdir().unwrap(), workers, &egress));
            project.serve(&self::project((mock.address, rounds), "1 day"));
            let made = project.call(("POST", &project.path("/keys")), &[], &json!({"description": "load"}), 201);
            let name = format!("leased, {workers} workers");
            check(&project.gateway, rounds, (&text(&made, "key"), &name));
        }
    }
}
