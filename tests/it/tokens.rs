//! Requests near a limit of tokens: counted, never past it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{DEADLINE, Gateway, Settings, eventually, post};

/// 4,400 bytes in 1,000 tokens; the built-in provider bills a token for four bytes of the request.
const WORDS: &str = "the quick brown fox. ";
const ASKED: usize = 1_000;
const THREADS: usize = 50;

fn chat(route: &str, repeats: usize) -> Vec<u8> {
    let content = WORDS.repeat(repeats);
    let body =
        json!({"model": format!("demo/{route}"), "max_tokens": 20, "messages": [{"role": "user", "content": content}]});
    post("/v1/chat/completions", &body.to_string())
}

/// A route of a model that is counted and one of a model that is not, each with this much input an hour.
fn gateway(input: u64) -> Gateway {
    let limit = format!("token_limiting: {{input: {{max_token: {input}, window_size: 1 hour}}}}");
    let project = format!(
        "chat_models:\n  - {{model_id: counted, model: mock/gpt-4o}}\n  - {{model_id: other, model: mock/any}}\nroutes:\n  \
         counted: {{chat_models: [counted], {limit}}}\n  other: {{chat_models: [other], {limit}}}\n  warm: {{chat_models: \
         [counted], {limit}}}\n"
    );
    let projects = vec![("demo".to_owned(), project)];
    Gateway::serve(&Settings { projects, workers: Some(2), ..Settings::default() })
}

/// Whether the thread that counts was started.
fn counts(gateway: &Gateway) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .any(|name| name.trim() == "millrace-tokens")
}

#[test]
fn request_that_its_bytes_alone_keep_out_is_counted_and_admitted() {
    let gateway = gateway(4_000);
    let request = |route| chat(route, 400);
    let refused = gateway.ask(&request("other"));
    assert_eq!(refused.status, 429, "8,400 bytes are more than 4,000 tokens can be: {}", refused.text());
    // The first count builds its table; on a busy machine that may take longer than a request waits.
    let admitted = eventually(DEADLINE, || gateway.ask(&request("counted")).status == 200);
    assert!(admitted, "2,100 tokens fit into 4,000");
    assert_eq!(gateway.ask(&request("counted")).status, 429, "what is left is not enough, counted or not");
    gateway.assert_idle();
}

#[test]
fn request_that_cannot_fit_is_refused_without_a_count() {
    let gateway = gateway(1_000);
    assert_eq!(gateway.ask(&chat("counted", 400)).status, 429);
    assert!(!counts(&gateway), "nothing was counted");
    assert_eq!(gateway.ask(&chat("counted", 10)).status, 200, "210 bytes fit as they are");
    assert!(!counts(&gateway), "nothing had to be counted");
    gateway.assert_idle();
}

#[test]
fn of_a_thousand_counted_requests_at_once_no_more_pass_than_the_limit_has_tokens() {
    let limit = 30_000;
    let gateway = gateway(limit);
    let warm = eventually(DEADLINE, || gateway.ask(&chat("warm", 1_450)).status == 200);
    assert!(warm, "the table is built");
    let (left, passed) = (AtomicUsize::new(ASKED), AtomicUsize::new(0));
    let mut statuses = BTreeMap::new();
    thread::scope(|scope| {
        let run = || {
            let (mut client, mut seen) = (gateway.client(), Vec::new());
            let request = chat("counted", 400);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                client.send(&request);
                let reply = client.read().expect("an answer");
                let billed = reply.json()["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
                passed.fetch_add(usize::try_from(billed).unwrap(), Ordering::Relaxed);
                seen.push(reply.status);
                if reply.closes() {
                    client = gateway.client();
                }
            }
            seen
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        for status in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *statuses.entry(status).or_insert(0) += 1;
        }
    });
    let used = u64::try_from(passed.into_inner()).unwrap();
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200, 429], "{statuses:?}");
    assert!(used <= limit, "{used} tokens of {limit}");
    // By bytes the room that a request of 2,100 tokens leaves is over when less than 8,400 are left.
    assert!(used + 8_400 > limit + 4_200, "counts did not admit what bytes would not: {used} tokens, {statuses:?}");
    gateway.assert_idle();
}
