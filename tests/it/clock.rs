//! A wall clock that jumps: F-59, I-17.
//!
//! `libfaketime` stands between the program and the wall clock and leaves the steady one alone. Where it is not installed the
//! test says so and passes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Client, DEADLINE, Gateway, OPERATOR, chat, chat_with, eventually};
use crate::keys::{Project, text, with_key};

/// What each limit allows in its window.
const ALLOWED: usize = 3;
/// Routes with a window of a day each, one without any, and one whose answer takes some seconds.
const ROUTES: &str = "chat_models:\n  - {model_id: m, model: mock/m}\n  - model_id: slow\n    model: mock/slow\n    params: \
    {token_delay_ms: 200, response_text: \"one two three four five six seven eight nine ten eleven twelve\"}\nroutes:\n  \
    aligned: {chat_models: [m], rate_limiting: {max_requests: 3, window_size: 1 day, algorithm: aligned_fixed_window}}\n  \
    fixed: {chat_models: [m], rate_limiting: {max_requests: 3, window_size: 1 day, algorithm: fixed_window}}\n  \
    sliding: {chat_models: [m], rate_limiting: {max_requests: 3, window_size: 1 day, algorithm: sliding_window}}\n  \
    bucket: {chat_models: [m], rate_limiting: {max_requests: 3, window_size: 1 day, algorithm: token_bucket}}\n  \
    free: {chat_models: [m]}\n  slow: {chat_models: [slow]}\n";

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        println!("skipped: there is no libfaketime");
    }
    found
}

/// Sets the wall clock; it goes on from there.
fn set(clock: &Path, to: &str) {
    let next = clock.with_extension("next");
    fs::write(&next, format!("@{to}\n")).unwrap();
    fs::rename(&next, clock).unwrap();
}

fn start(folder: tempfile::TempDir, library: &Path, clock: &Path) -> Gateway {
    let (library, clock) = (library.to_str().unwrap(), clock.to_str().unwrap());
    let variables = [
        ("MILLRACE_ADMIN_TOKEN", OPERATOR),
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", clock),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
        ("TZ", "UTC"),
    ];
    Gateway::stored_as(folder, OPERATOR, &variables)
}

/// Asks until the limit refuses; returns how many passed.
fn spend(gateway: &Gateway, route: &str, key: &str) -> usize {
    let mut passed = 0;
    loop {
        let reply = gateway.ask(&with_key(&chat(&format!("demo/{route}")), key));
        match reply.status {
            200 => passed += 1,
            429 => return passed,
            // A busy disk keeps a lease waiting; it comes later.
            503 => assert_eq!(reply.json()["error"]["code"], "ledger_unavailable", "{}", reply.text()),
            _ => panic!("{route}: {}", reply.text()),
        }
        assert!(passed <= 2 * ALLOWED, "{route} has no limit");
    }
}

#[test]
fn f_59_i_17_no_jump_of_the_clock_resets_a_limit_twice_or_ends_what_is_open() {
    let Some(library) = library() else { return };
    let place = tempfile::tempdir().unwrap();
    let clock = place.path().join("clock");
    set(&clock, "2026-11-15 12:00:00");
    let project = Project::on(start(tempfile::tempdir().unwrap(), &library, &clock));
    project.serve(ROUTES);
    let made = |name: &str| project.call(("POST", &project.path("/keys")), &[], &json!({"description": name}), 201);
    let key = text(&made("days"), "key");
    let month = made("month");
    let limits = project.path(&format!("/keys/{}/limits", text(&month, "id")));
    let body = json!({"kind": "requests", "amount": ALLOWED, "window": "1 month", "algorithm": "calendar"});
    project.call(("POST", &limits), &[], &body, 201);
    let month = text(&month, "key");
    // Which of them may be used again: the day and the month of the calendar go by the clock, but never back; all others go by
    // the time that has really passed.
    for (when, hour, of_day, of_month, of_length) in [
        ("2026-11-15 12:00:00", "15 Nov 2026 12:", ALLOWED, ALLOWED, ALLOWED),
        ("2026-11-15 13:00:00", "15 Nov 2026 13:", 0, 0, 0),
        ("2026-11-15 11:00:00", "15 Nov 2026 11:", 0, 0, 0),
        ("2026-12-15 12:00:00", "15 Dec 2026 12:", ALLOWED, ALLOWED, 0),
        ("2026-11-15 12:00:00", "15 Nov 2026 12:", 0, 0, 0),
        ("2026-12-15 12:00:00", "15 Dec 2026 12:", 0, 0, 0),
        ("2026-12-31 23:30:00", "31 Dec 2026 23:", ALLOWED, 0, 0),
        ("2027-01-01 00:00:01", "01 Jan 2027 00:", ALLOWED, ALLOWED, 0),
        ("2026-12-31 23:30:00", "31 Dec 2026 23:", 0, 0, 0),
    ] {
        let mut stream = project.gateway.client();
        stream.send(&with_key(&chat_with("demo/slow", r#","stream":true"#), &key));
        assert!(stream.read_until(b"data:"), "{when}");
        set(&clock, when);
        await_hour(&project.gateway, &key, hour);
        let now = project.gateway.admin("GET", "/organizations", &[], "");
        assert_eq!(now.status, 200, "{when}: the token of the operator");
        let seen = ["aligned", "fixed", "sliding", "bucket"].map(|route| spend(&project.gateway, route, &key));
        assert_eq!(seen, [of_day, of_length, of_length, of_length], "{when}");
        assert_eq!(spend(&project.gateway, "free", &month), of_month, "{when}: the month of a key");
        assert_eq!(project.gateway.ask(&with_key(&chat("demo/free"), &key)).status, 200, "{when}");
        finish(&mut stream, when);
    }
    // Over a restart in the past nothing is free again either. How long the process was away, only the clock can say.
    set(&clock, "2026-11-15 11:00:00");
    let project = project.restarted_by(|folder| start(folder, &library, &clock));
    for route in ["aligned", "fixed", "sliding", "bucket"] {
        assert_eq!(spend(&project.gateway, route, &key), 0, "{route}, after a restart");
    }
    assert_eq!(spend(&project.gateway, "free", &month), 0, "the month, after a restart");
    let listed = project.call(("GET", &limits), &[], &Value::Null, 200);
    assert_eq!(listed["data"][0]["posted"], json!(ALLOWED), "{listed}");
    project.gateway.assert_idle();
}

/// Waits until every worker has looked at the clock, which each does once a second.
fn await_hour(gateway: &Gateway, key: &str, hour: &str) {
    // More connections than workers, at once, so that each worker has some.
    let mut clients: Vec<_> = (0..8).map(|_| gateway.client()).collect();
    let ask = with_key(&chat("demo/free"), key);
    let seen = eventually(DEADLINE, || {
        clients.iter_mut().all(|client| {
            client.send(&ask);
            client.read().unwrap().header("date").unwrap().contains(hour)
        })
    });
    assert!(seen, "a worker does not see {hour}");
}

/// The stream that was open over the jump ends as if nothing had been.
fn finish(stream: &mut Client, when: &str) {
    assert!(stream.read_until(b"data: [DONE]"), "{when}: a stream was cut");
}
