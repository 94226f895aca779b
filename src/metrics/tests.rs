//! Recording, summing and the text of a scrape together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Labels, NanoUsd, TokenCounts, UnixTime};

use super::registry::{OVERFLOW_LABEL, Registry};
use super::scrape::Outside;
use super::series::{ENDPOINTS, Endpoint, OUTCOMES, Observation, Outcome};
use super::times::StoreBlock;
use super::worker::{PROTOCOL_ERRORS, ProtocolError};

fn labels(project: &str, target: &str) -> Arc<Labels> {
    Arc::new(Labels {
        organization: "acme".into(),
        project: project.into(),
        route: "chat".into(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        target: target.into(),
    })
}

fn seen() -> Observation {
    Observation {
        endpoint: Endpoint::Chat,
        status: 200,
        stream: false,
        duration: Duration::from_millis(9),
        overhead: Duration::from_micros(20),
        ttft: None,
        tokens: TokenCounts::default(),
        cost: NanoUsd::ZERO,
    }
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    let mut scrape = registry.scrape(Outside::default());
    assert!(!scrape.write(&mut text, usize::MAX));
    text
}

/// Value of the sample that starts with this name and these labels.
fn sample(text: &str, start: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(' ')).map(str::to_owned)
}

const ACME: &str = r#"organization="acme",project="support",route="chat",provider="openai",model="gpt-4o""#;

#[test]
fn series_is_the_same_for_the_same_shown_labels() {
    let registry = Registry::new(1);
    let first = registry.series(labels("support", "a"));
    let other_target = registry.series(labels("support", "b"));
    let other_project = registry.series(labels("sales", "a"));
    assert!(Arc::ptr_eq(&first, &other_target));
    assert!(!Arc::ptr_eq(&first, &other_project));
}

#[test]
fn counters_survive_a_reload() {
    let registry = Registry::new(1);
    registry.series(labels("support", "a")).record(0, &seen());
    registry.series(labels("support", "a")).record(0, &seen());
    let start = format!(r#"millrace_requests_total{{{ACME},endpoint="chat",status_class="2xx",stream="false"}}"#);
    assert_eq!(sample(&text(&registry), &start).as_deref(), Some("2"));
}

#[test]
fn requests_are_counted_by_endpoint_status_and_stream() {
    for (name, endpoint, status, stream, want) in [
        ("plain", Endpoint::Chat, 200, false, ("chat", "2xx", "false")),
        ("stream", Endpoint::Messages, 200, true, ("messages", "2xx", "true")),
        ("refused", Endpoint::Responses, 429, false, ("responses", "4xx", "false")),
        ("last cell", Endpoint::Other, 599, true, ("other", "5xx", "true")),
        ("client left", Endpoint::Chat, 0, true, ("chat", "none", "true")),
        ("no such status", Endpoint::Chat, 999, false, ("chat", "5xx", "false")),
    ] {
        let registry = Registry::new(1);
        let observation = Observation { endpoint, status, stream, ..seen() };
        registry.series(labels("support", "a")).record(0, &observation);
        let (endpoint, class, stream) = want;
        let start = format!(
            r#"millrace_requests_total{{{ACME},endpoint="{endpoint}",status_class="{class}",stream="{stream}"}}"#
        );
        let text = text(&registry);
        assert_eq!(sample(&text, &start).as_deref(), Some("1"), "{name}");
        let lines = text.matches("\nmillrace_requests_total{").count();
        assert_eq!(lines, 1, "{name}: only what was counted is shown");
    }
}

/// Three requests and four attempts, spread over three workers.
fn spread() -> String {
    let registry = Registry::new(3);
    let series = registry.series(labels("support", "a"));
    let observation = Observation {
        tokens: TokenCounts { input: 100, output: 10, cache_read: 7, reasoning: 3, ..TokenCounts::default() },
        ttft: Some(Duration::from_micros(2_500)),
        cost: NanoUsd(1_500_000_000),
        ..seen()
    };
    for worker in [0, 2, 2] {
        series.record(worker, &observation);
        series.record_attempt(worker, Outcome::Success);
    }
    series.record_attempt(1, Outcome::RateLimited);
    text(&registry)
}

#[test]
fn workers_and_a_scraper_at_once_lose_nothing() {
    const EACH: u64 = 50_000;
    let registry = Registry::new(2);
    let start = format!("millrace_request_duration_seconds_count{{{ACME}}}");
    let count =
        |registry: &Registry| -> u64 { sample(&text(registry), &start).map_or(0, |value| value.parse().unwrap()) };
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|worker| {
            let series = registry.series(labels("support", "a"));
            scope.spawn(move || {
                for _ in 0..EACH {
                    series.record(worker, &seen());
                }
            })
        });
        let mut last = 0;
        while !threads.iter().all(|thread| thread.is_finished()) {
            let now = count(&registry);
            assert!(now >= last, "a counter went back from {last} to {now}");
            last = now;
        }
    });
    assert_eq!(count(&registry), 2 * EACH);
}

#[test]
fn counts_of_workers_are_summed() {
    let text = spread();
    for (name, label, want) in [
        ("tokens_total", r#"type="input""#, Some("300")),
        ("tokens_total", r#"type="output""#, Some("30")),
        ("tokens_total", r#"type="cache_read""#, Some("21")),
        ("tokens_total", r#"type="cache_write""#, None),
        ("tokens_total", r#"type="reasoning""#, Some("9")),
        ("upstream_attempts_total", r#"outcome="success""#, Some("3")),
        ("upstream_attempts_total", r#"outcome="rate_limited""#, Some("1")),
    ] {
        let start = format!("millrace_{name}{{{ACME},{label}}}");
        assert_eq!(sample(&text, &start).as_deref(), want, "{start}");
    }
    assert_eq!(sample(&text, &format!("millrace_cost_usd_total{{{ACME}}}")).as_deref(), Some("4.5"));
}

#[test]
fn histograms_of_workers_are_summed() {
    let text = spread();
    let ttft = "millrace_time_to_first_token_seconds";
    let duration = "millrace_request_duration_seconds";
    let overhead = "millrace_overhead_seconds";
    for (start, want) in [
        (format!(r#"{duration}_bucket{{{ACME},le="0.005"}}"#), "0"),
        (format!(r#"{duration}_bucket{{{ACME},le="0.01"}}"#), "3"),
        (format!(r#"{duration}_bucket{{{ACME},le="+Inf"}}"#), "3"),
        (format!("{duration}_sum{{{ACME}}}"), "0.027"),
        (format!("{duration}_count{{{ACME}}}"), "3"),
        (format!(r#"{ttft}_bucket{{{ACME},le="0.00125"}}"#), "0"),
        (format!(r#"{ttft}_bucket{{{ACME},le="0.0025"}}"#), "3"),
        (format!(r#"{overhead}_bucket{{stream="false",le="0.000016"}}"#), "0"),
        (format!(r#"{overhead}_bucket{{stream="false",le="0.000024"}}"#), "3"),
        (format!(r#"{overhead}_sum{{stream="false"}}"#), "0.00006"),
    ] {
        assert_eq!(sample(&text, &start).as_deref(), Some(want), "{start}");
    }
}

#[test]
fn worker_blocks_are_shown_in_sum_and_each() {
    let registry = Registry::new(2);
    for (index, worker) in registry.workers().iter().enumerate() {
        worker.connections.inc();
        worker.connections.inc();
        worker.connections.dec();
        worker.open_streams.set(4);
        worker.dropped_rows.add(3);
        worker.upstream_reused.add(5);
        worker.protocol_error(ProtocolError::Truncated);
        worker.generation.set(7 + u64::try_from(index).unwrap());
    }
    let text = text(&registry);
    for (start, want) in [
        ("millrace_connections", "2"),
        ("millrace_open_streams", "8"),
        ("millrace_dropped_rows_total", "6"),
        (r#"millrace_upstream_connections_total{event="reused"}"#, "10"),
        (r#"millrace_upstream_connections_total{event="broken"}"#, "0"),
        (r#"millrace_protocol_errors_total{kind="truncated"}"#, "2"),
        (r#"millrace_worker_generation{worker="0"}"#, "7"),
        (r#"millrace_worker_generation{worker="1"}"#, "8"),
        (r#"millrace_worker_stall_seconds{worker="1"}"#, "0"),
    ] {
        assert_eq!(sample(&text, start).as_deref(), Some(want), "{start}");
    }
}

#[test]
fn configuration_is_shown() {
    let registry = Registry::new(1);
    registry.config_generation(3);
    registry.config_served(UnixTime(Duration::from_secs(1_700_000_000)));
    let (held, gone): (Arc<u8>, Arc<u8>) = (Arc::new(1), Arc::new(2));
    for old in [Arc::downgrade(&held), Arc::downgrade(&gone)] {
        registry.config_replaced(old);
    }
    drop(gone);
    registry.config_refused();
    registry.config_broken(vec!["bro\"ken".into()]);
    let text = text(&registry);
    for (start, want) in [
        ("millrace_config_generation", "3"),
        ("millrace_config_old_generations", "1"),
        (r#"millrace_config_serve_total{result="served"}"#, "1"),
        (r#"millrace_config_serve_total{result="refused"}"#, "1"),
        ("millrace_config_last_serve_timestamp_seconds", "1700000000"),
        (r#"millrace_config_error{project="bro\"ken"}"#, "1"),
    ] {
        assert_eq!(sample(&text, start).as_deref(), Some(want), "{start}");
    }
}

#[test]
fn times_of_changes_and_of_the_store_are_shown_without_labels() {
    let registry = Registry::new(1);
    registry.config_compiled(Duration::from_millis(9));
    registry.config_published(Duration::from_millis(2));
    registry.config_published(Duration::from_millis(700));
    let block = StoreBlock::default();
    block.waited(Duration::from_millis(1));
    block.committed(Duration::from_millis(30));
    let mut text = String::new();
    registry.scrape(Outside { store: Some(block.read()), ..Outside::default() }).write(&mut text, usize::MAX);
    for (start, want) in [
        ("millrace_config_compile_seconds_count", "1"),
        (r#"millrace_config_publish_seconds_bucket{le="0.00125"}"#, "0"),
        (r#"millrace_config_publish_seconds_bucket{le="0.0025"}"#, "1"),
        (r#"millrace_config_publish_seconds_bucket{le="0.64"}"#, "1"),
        (r#"millrace_config_publish_seconds_bucket{le="1.28"}"#, "2"),
        (r#"millrace_config_publish_seconds_bucket{le="+Inf"}"#, "2"),
        ("millrace_config_publish_seconds_sum", "0.702"),
        ("millrace_config_publish_seconds_count", "2"),
        ("millrace_store_wait_seconds_sum", "0.001"),
        (r#"millrace_store_commit_seconds_bucket{le="0.04"}"#, "1"),
    ] {
        assert_eq!(sample(&text, start).as_deref(), Some(want), "{start}");
    }
    assert!(!text.contains("millrace_store_checkpoint_seconds_count"), "nothing was written back");
}

#[test]
fn busy_share_is_that_between_two_samples() {
    let registry = Registry::new(1);
    let start = crate::base::now() + Duration::from_secs(10);
    registry.sample(start);
    registry.workers()[0].busy_us.set_total(250_000);
    registry.sample(start + Duration::from_secs(1));
    let name = r#"millrace_worker_busy_ratio{worker="0"}"#;
    assert_eq!(sample(&text(&registry), name).as_deref(), Some("0.25"));
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::new(1);
    registry.series(labels("a\"b\\c\nd", "t")).record(0, &seen());
    let text = text(&registry);
    assert!(text.contains(r#"project="a\"b\\c\nd""#));
    assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("millrace_")));
}

#[test]
fn series_beyond_the_bound_share_one_and_are_counted() {
    let registry = Registry::with_series_max(1, 2);
    for number in 0..100 {
        registry.series(labels(&format!("p{number}"), "t")).record(0, &seen());
    }
    let text = text(&registry);
    let shown: HashSet<&str> = text.lines().filter(|line| line.starts_with("millrace_requests_total{")).collect();
    assert_eq!(shown.len(), 3);
    let overflow = shown.iter().find(|line| line.contains(OVERFLOW_LABEL));
    assert!(overflow.is_some_and(|line| line.ends_with(" 98")));
    let refused = sample(&text, "millrace_series_overflow_total");
    assert_eq!(refused.as_deref(), Some("98"));
}

#[test]
fn series_that_nobody_used_is_not_shown() {
    let registry = Registry::new(1);
    let _ = registry.series(labels("support", "a"));
    assert!(!text(&registry).contains("acme"));
}

#[test]
fn pieces_join_to_the_whole_text() {
    let registry = Registry::new(2);
    for number in 0..50 {
        registry.series(labels(&format!("p{number}"), "t")).record(1, &seen());
    }
    let mut pieces = String::new();
    let mut scrape = registry.scrape(Outside::default());
    loop {
        let mut piece = String::new();
        scrape.write(&mut piece, 1_000);
        if piece.is_empty() {
            break;
        }
        pieces.push_str(&piece);
    }
    // Ages differ from one scrape to the next.
    let steady = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with("millrace_worker_heartbeat_age_seconds{"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(steady(&pieces), steady(&text(&registry)));
}

#[test]
fn families_are_declared_once_and_samples_are_unique() {
    let registry = Registry::new(2);
    for project in ["a", "b"] {
        let series = registry.series(labels(project, "t"));
        series.record(0, &seen());
        series.record(1, &Observation { stream: true, ..seen() });
        series.record_attempt(0, Outcome::Connect);
    }
    let text = text(&registry);
    let mut family = "";
    let mut declared = HashMap::new();
    let mut samples = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(declared.insert(name, kind).is_none(), "{name} twice");
            family = name;
        } else if !line.starts_with('#') {
            let (key, _) = line.rsplit_once(' ').unwrap();
            assert!(key.starts_with(family), "{key} outside its family");
            assert!(samples.insert(key), "{key} twice");
        }
    }
    assert!(text.ends_with('\n'));
    assert_eq!(declared["millrace_overhead_seconds"], "histogram");
}

#[test]
fn names_stand_at_the_index_of_their_variant() {
    for (variant, name) in [
        (Endpoint::Chat as usize, "chat"),
        (Endpoint::CountTokens as usize, "count_tokens"),
        (Endpoint::Other as usize, "other"),
    ] {
        assert_eq!(ENDPOINTS[variant], name);
    }
    assert_eq!(OUTCOMES[Outcome::Connect as usize], "connect");
    assert_eq!(OUTCOMES[Outcome::Cancelled as usize], "cancelled");
    assert_eq!(PROTOCOL_ERRORS[ProtocolError::Truncated as usize], "truncated");
}
