//! Configuration changes under load fail and mix nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, DEADLINE, Gateway, Settings, chat, chat_with, eventually};

/// A configuration in which the text of an answer and the name of its model carry the same number.
fn numbered(number: usize) -> String {
    let words = vec![format!("text-{number}"); 20].join(" ");
    format!(
        "chat_models:\n  - model_id: m\n    model: mock/model-{number}\n    params:\n      response_text: \
         {words}\nroutes:\n  chat: {{chat_models: [m]}}\n"
    )
}

fn serve(slugs: &[&str]) -> Gateway {
    let projects = slugs.iter().map(|slug| ((*slug).to_owned(), numbered(0))).collect();
    Gateway::serve(&Settings { projects, workers: Some(2), ..Settings::default() })
}

/// The numbers in an answer, from the text and from the model's name.
fn numbers(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for marker in ["text-", "model-"] {
        for (at, _) in text.match_indices(marker) {
            let digits: String = text[at + marker.len()..].chars().take_while(char::is_ascii_digit).collect();
            found.extend(digits.parse::<usize>());
        }
    }
    found
}

/// Which configuration answered; panics when several did.
fn one_number(client: &mut Client, route: &str, stream: bool) -> usize {
    client.send(&if stream { chat_with(route, r#","stream":true"#) } else { chat(route) });
    let reply = client.read().expect("an answer");
    assert_eq!((reply.status, reply.cut), (200, false), "{}", reply.text());
    let mut seen = numbers(&reply.text());
    seen.extend(reply.header("x-millrace-model").map(numbers).unwrap_or_default());
    assert!(seen.len() > 1, "no numbers in {}", reply.text());
    seen.dedup();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1, "an answer of several configurations: {seen:?}");
    seen[0]
}

// F-60, I-16.
#[test]
fn hundred_reloads_under_load_fail_nothing_and_mix_nothing() {
    const RELOADS: usize = 100;
    let gateway = serve(&["demo"]);
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|lane| {
                let (gateway, ended, asked) = (&gateway, &ended, &asked);
                scope.spawn(move || {
                    let mut client = gateway.client();
                    let (mut served, mut newest) = (0_usize, 0);
                    while !ended.load(Ordering::Relaxed) {
                        // A connection serves at most 1,000 requests.
                        if served % 500 == 499 {
                            client = gateway.client();
                        }
                        let number = one_number(&mut client, "demo/chat", lane % 2 == 1);
                        assert!(number >= newest, "configuration {number} after {newest} on one connection");
                        newest = number;
                        served += 1;
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    served
                })
            })
            .collect();
        for number in 1..=RELOADS {
            gateway.write_project("demo", &numbered(number));
            let started = Instant::now();
            gateway.signal(Signal::SIGHUP);
            let visible = eventually(DEADLINE, || one_number(&mut gateway.client(), "demo/chat", false) == number);
            // Every reload has some load.
            let before = asked.load(Ordering::Relaxed);
            let is_asked = eventually(DEADLINE, || asked.load(Ordering::Relaxed) > before);
            if !visible || !is_asked {
                ended.store(true, Ordering::Relaxed);
            }
            assert!(visible && is_asked, "configuration {number} never answered, or nobody else was");
            slowest = slowest.max(started.elapsed());
        }
        ended.store(true, Ordering::Relaxed);
        let served: usize = lanes.into_iter().map(|lane| lane.join().unwrap()).sum();
        println!("{RELOADS} reloads, {served} requests, slowest visible after {slowest:?}");
    });
    gateway.assert_idle();
}

// F-61.
#[test]
fn bad_file_changes_nothing_and_is_reported() {
    let gateway = serve(&["demo", "other"]);
    let served = |slug: &str| one_number(&mut gateway.client(), &format!("{slug}/chat"), false);
    let errors = |slug: &str| gateway.metric("millrace_config_error", &format!("project=\"{slug}\""));
    let refused = || gateway.metric("millrace_config_serve_total", "result=\"refused\"").unwrap_or(0.0);
    assert_eq!(errors("demo").unwrap_or(0.0), 0.0);
    for bad in ["routes: [", "routes: {chat: {chat_models: [nobody]}}\n", "unknown_key: 1\n", "\u{0}", "- a\n- b\n"] {
        let before = refused();
        gateway.write_project("demo", bad);
        gateway.signal(Signal::SIGHUP);
        assert!(eventually(DEADLINE, || refused() > before), "{bad:?} was not refused");
        let reported = eventually(DEADLINE, || errors("demo") == Some(1.0));
        assert!(reported, "{bad:?}: {:?}", gateway.series("millrace_config_error", ""));
        assert_eq!(errors("other").unwrap_or(0.0), 0.0, "{bad:?}");
        assert_eq!((served("demo"), served("other")), (0, 0), "{bad:?} changed what is served");
    }
    gateway.write_project("demo", &numbered(9));
    gateway.write_project("other", &numbered(8));
    gateway.signal(Signal::SIGHUP);
    assert!(eventually(DEADLINE, || (served("demo"), served("other")) == (9, 8)));
    assert!(
        eventually(DEADLINE, || errors("demo").unwrap_or(0.0) == 0.0),
        "{:?}",
        gateway.series("millrace_config_error", "")
    );
}
