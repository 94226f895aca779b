//! Limits of seconds of audio, exact under load.

use std::sync::Barrier;
use std::thread;

use crate::harness::{DEADLINE, Gateway, Reply, eventually};

use super::{Provider, ask, field, file, form, gateway, post, transcribe};

/// Statuses of so many transcriptions, one behind the other.
fn statuses(gateway: &Gateway, route: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| transcribe(gateway, route, &[]).status).collect()
}

#[test]
fn every_algorithm_holds_seconds() {
    for (name, lines) in [
        ("fixed", "window_size: 1 hour, max_duration_seconds: 10"),
        ("aligned", "algorithm: aligned_fixed_window, window_size: 1 day, max_duration_seconds: 10"),
        ("sliding", "algorithm: sliding_window, window_size: 1 hour, max_duration_seconds: 10"),
        ("bucket", "algorithm: token_bucket, window_size: 1 day, max_duration_seconds: 10"),
        ("burst", "algorithm: token_bucket, window_size: 31 days, max_duration_seconds: 100, burst: 10"),
        ("key", "window_size: 1 hour, max_duration_seconds: 10, scope: key"),
        ("group", "window_size: 1 hour, max_duration_seconds: 10, scope: group"),
    ] {
        let provider = Provider::start();
        let gateway = gateway(&provider, &format!(", duration_limiting: {{{lines}}}"));
        // 3.3 seconds are reserved as 4 and settled as 4, as 3.3 of a verbose answer, or as 3.3 of the file.
        assert_eq!(statuses(&gateway, "seconds", 3), [200, 200, 429], "{name}");
        assert_eq!(statuses(&gateway, "verbose", 3), [200, 200, 429], "{name}: 6.6 of 10, and no 4 more");
        assert_eq!(statuses(&gateway, "exact", 7), [200; 7], "{name}: settled to a second each");
        gateway.assert_idle();
    }
}

#[test]
fn refusal_says_what_is_left_and_when() {
    let provider = Provider::start();
    let limited = gateway(&provider, ", duration_limiting: {window_size: 1 hour, max_duration_seconds: 6}");
    assert_eq!(transcribe(&limited, "seconds", &[]).status, 200);
    let reply = transcribe(&limited, "seconds", &[]);
    let error = reply.json()["error"].clone();
    assert_eq!(
        (reply.status, &error["type"], &error["code"]),
        (429, &"requests".into(), &"rate_limit_exceeded".into())
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("limit of the route reached: 6 seconds of audio in 1h0m0s"), "{message}");
    assert!(message.contains("this request may need 4 seconds of audio, 2 seconds of audio free"), "{message}");
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds));
    assert!(reply.header("retry-after-ms").is_some());
    assert_eq!(provider.count(), 1, "what is refused is not sent");
    let refused = limited.metric("millrace_rate_limited_total", "kind=\"audio\"");
    assert_eq!(refused, Some(1.0));
    // What can never fit is not worth another try, and 0 blocks all audio.
    for (max, want) in [(3, "it will never fit: send a shorter file"), (0, "nothing is allowed")] {
        let gateway = gateway(&provider, &format!(", duration_limiting: {{max_duration_seconds: {max}}}"));
        let reply = transcribe(&gateway, "seconds", &[]);
        assert_eq!((reply.status, reply.header("x-should-retry")), (429, Some("false")), "{max}");
        assert!(reply.text().contains(want), "{max}: {}", reply.text());
    }
}

#[test]
fn answers_tell_the_seconds_that_are_left() {
    let provider = Provider::start();
    let limited = gateway(&provider, ", duration_limiting: {window_size: 1 hour, max_duration_seconds: 6}");
    let names = ["limit", "remaining", "reset"].map(|name| format!("x-ratelimit-{name}-audio-seconds"));
    // Settled once the answer is written: it tells what was left while its own 4 were reserved.
    for (status, remaining) in [(200, "2"), (429, "2")] {
        let reply = transcribe(&limited, "seconds", &[]);
        let [limit, left, reset] = [0, 1, 2].map(|at| reply.header(&names[at]));
        assert_eq!((reply.status, limit, left), (status, Some("6"), Some(remaining)));
        assert!(reset.is_some_and(|reset| reset.ends_with('s')), "{reset:?}");
    }
    let free = transcribe(&gateway(&provider, ""), "seconds", &[]);
    assert_eq!((free.status, names.map(|name| free.header(&name).is_some())), (200, [false; 3]));
}

/// What a file says of its own length is no bound: what the provider heard is paid and counted.
#[test]
fn file_that_lies_about_its_length_is_billed_as_the_provider_heard_it() {
    const M4A: &[u8] = include_bytes!("../../fixtures/audio/tone.m4a");
    let mut lie = M4A.to_vec();
    let head = memchr::memmem::find(&lie, b"mvhd").unwrap();
    // A thousandth of a second.
    lie[head + 20..head + 24].copy_from_slice(&[0, 0, 0, 1]);
    let provider = Provider::start();
    let limited = gateway(&provider, ", duration_limiting: {window_size: 1 hour, max_duration_seconds: 10}");
    let ask = || limited.ask(&post(&form(&[field("model", "demo/long"), file(&lie)])));
    let reply = ask();
    // 600 seconds at 0.006 USD a minute.
    assert_eq!((reply.status, super::cost(&reply)), (200, Some("0.060000000")));
    assert_eq!(ask().status, 429, "the limit is passed once, by what was heard");
    limited.assert_idle();
    // Without a figure the last cue of subtitles tells, and a text nothing: then it is the least that its size allows.
    let free = gateway(&provider, "");
    for (model, format, cost) in [("vtt", "vtt", "0.000330000"), ("text", "text", "0.000012500")] {
        let parts = [field("model", &format!("demo/{model}")), field("response_format", format), file(&lie)];
        let reply = free.ask(&post(&form(&parts)));
        assert_eq!((reply.status, super::cost(&reply)), (200, Some(cost)), "{model}");
    }
}

#[test]
fn shadow_reports_and_refuses_nothing() {
    let provider = Provider::start();
    let gateway =
        gateway(&provider, ", duration_limiting: {max_duration_seconds: 5, window_size: 1 hour, shadow: true}");
    assert_eq!(statuses(&gateway, "seconds", 3), [200; 3]);
    // It is counted with the settlement, behind the answer.
    let counted = || gateway.metric("millrace_shadow_limited_total", "kind=\"audio\"");
    assert!(eventually(DEADLINE, || counted() == Some(2.0)), "{:?}", counted());
}

#[test]
fn what_was_not_heard_is_given_back() {
    let provider = Provider::start();
    let gateway = gateway(&provider, ", duration_limiting: {max_duration_seconds: 4, window_size: 1 hour}");
    // The provider refused, or failed: nothing was heard.
    assert_eq!(statuses(&gateway, "error", 3), [400; 3]);
    assert_eq!(statuses(&gateway, "down", 3), [502; 3]);
    // A stream that broke off was heard: its file counts.
    let cut = |route: &str| transcribe(&gateway, route, &[field("stream", "true")]);
    assert!(cut("cut").cut);
    assert_eq!(cut("cut").status, 429);
    // What nobody can measure is reserved by its size, a second for 1,000 bytes.
    let unknown = |bytes: usize| post(&form(&[field("model", "demo/exact"), file(&vec![7; bytes])]));
    assert_eq!(gateway.ask(&unknown(4_001)).status, 429);
    assert_eq!(gateway.ask(&unknown(4_000)).status, 200);
    gateway.assert_idle();
}

/// 200 at once against room for ten, with one, two and four workers.
#[test]
fn i_11_ten_of_two_hundred_at_once_pass() {
    const ASKED: usize = 200;
    const THREADS: usize = 8;
    let provider = Provider::start();
    for workers in [1, 2, 4] {
        let lines = ", duration_limiting: {max_duration_seconds: 40, window_size: 5 minutes}";
        let mut settings = crate::harness::Settings::demo(super::project(&provider, lines), provider.address);
        settings.workers = Some(workers);
        settings.server_lines = "log: {access: false}\n".to_owned();
        let gateway = Gateway::serve(&settings);
        let start = Barrier::new(THREADS);
        let replies: Vec<Reply> = thread::scope(|scope| {
            let asking: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut clients: Vec<_> = (0..ASKED / THREADS).map(|_| gateway.client()).collect();
                        start.wait();
                        // What is reserved is what is stated: nothing comes back for an eleventh.
                        clients.iter_mut().for_each(|client| client.send(&ask("seconds", &[])));
                        clients.iter_mut().map(|client| client.read().unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect()
        });
        let passed = replies.iter().filter(|reply| reply.status == 200).count();
        let refused = replies.iter().filter(|reply| reply.status == 429).count();
        assert_eq!((passed, refused), (10, ASKED - 10), "{workers} workers");
        gateway.assert_idle();
    }
}
