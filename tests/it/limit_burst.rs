//! A thousand requests at once against room for ten.
//!
//! Exactly ten are answered 200 and all others 429, for requests, tokens and money, whatever the number of workers. What the
//! provider reports is what was reserved, so nothing is given back that an eleventh could take.
//! `MILLRACE_BURST_ROUNDS` sets how often, 2 unless told; each round has counters of its own.

use std::{
    env,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::json;

use crate::harness::{Client, Gateway, KEY, Mock, Settings, chat};
use crate::keys::{Project, text, with_key};

const ASKED: usize = 1_000;
const ALLOWED: u64 = 10;
const THREADS: usize = 50;
/// Connections of one thread; each carries two requests of a round.
const CONNECTIONS: usize = ASKED / THREADS / 2;
/// Tokens that a reservation adds to the bytes of a body.
const FRAME_TOKENS: usize = 16;
const OUTPUT_TOKENS: u64 = 50;
const KINDS: [&str; 3] = ["requests", "tokens", "money"];

fn rounds() -> usize {
    env::var("MILLRACE_BURST_ROUNDS").map_or(2, |text| text.parse().unwrap())
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
fn project(provider: SocketAddr, window: &str) -> String {
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
        for round in 0..rounds() {
            writeln!(text, "  {kind}-{round:05}: {{chat_models: [{kind}], {}}}", limit(kind, window)).unwrap();
        }
    }
    text
}

/// How many of a thousand are answered 200; all others must be refused by the limit.
fn burst(gateway: &Gateway, key: &str, kind: &str) -> Vec<u64> {
    let passed: Vec<AtomicU64> = (0..rounds()).map(|_| AtomicU64::new(0)).collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.client()).collect();
                for (round, passed) in passed.iter().enumerate() {
                    let request = request(kind, round, key);
                    start.wait();
                    for _ in 0..2 {
                        clients.iter_mut().for_each(|client| client.send(&request));
                        for client in &mut clients {
                            let reply = client.read().expect("an answer");
                            assert!(matches!(reply.status, 200 | 429), "{kind} {round}: {}", reply.text());
                            passed.fetch_add(u64::from(reply.status == 200), Ordering::Relaxed);
                            if reply.closes() {
                                *client = gateway.client();
                            }
                        }
                    }
                }
            });
        }
    });
    passed.into_iter().map(AtomicU64::into_inner).collect()
}

fn check(gateway: &Gateway, key: &str, name: &str) {
    for kind in KINDS {
        let passed = burst(gateway, key, kind);
        let wrong: Vec<_> = passed.iter().enumerate().filter(|(_, passed)| **passed != ALLOWED).collect();
        assert!(wrong.is_empty(), "{name}, {kind}: round and number that passed: {wrong:?}");
        println!("{name}, {kind}: {} rounds, {ALLOWED} of {ASKED} passed in each", passed.len());
    }
    gateway.assert_idle();
}

#[test]
fn i_11_ten_of_a_thousand_at_once_pass_with_counters_in_memory() {
    let mock = Mock::start();
    for workers in [1, 2, 4] {
        let mut settings = Settings::demo(project(mock.address, "5 minutes"), mock.address);
        settings.workers = Some(workers);
        let gateway = Gateway::serve(&settings);
        check(&gateway, KEY, &format!("in memory, {workers} workers"));
    }
}

#[test]
fn i_11_ten_of_a_thousand_at_once_pass_with_leases_on_disk() {
    let mock = Mock::start();
    let egress = format!("egress: {{allow: [{{cidr: 127.0.0.1/32, ports: [{}]}}]}}\n", mock.address.port());
    for workers in [1, 2, 4] {
        let gateway = Gateway::stored_with(tempfile::tempdir().unwrap(), workers, &egress);
        let project = Project::on(gateway);
        project.serve(&self::project(mock.address, "1 day"));
        let made = project.call(("POST", &project.path("/keys")), &[], &json!({"description": "load"}), 201);
        check(&project.gateway, &text(&made, "key"), &format!("leased, {workers} workers"));
    }
}
