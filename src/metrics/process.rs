//! The metrics of workers, configuration and process.

use std::sync::Arc;

use crate::base::{COMMIT, FEATURES, VERSION, now};

use super::histogram::{Doubling, Fine, Total};
use super::refusals::write_refusals;
use super::registry::ConfigState;
use super::scrape::{Book, Following, Payloads, Sources};
use super::text::{Value, escape, head, histogram, line};
use super::times::{StoreTimes, Times};
use super::worker::{PROTOCOL_ERRORS, WorkerBlock};

/// The families that have no series: of workers, configuration and process.
pub(super) fn write_process(sources: &Sources, out: &mut String) {
    write_worker_sums(&sources.workers, out);
    write_worker_kinds(&sources.workers, out);
    write_refusals(&sources.workers, out);
    write_overhead(&sources.workers, out);
    write_each_worker(sources, out);
    write_config(&sources.config, out);
    write_times(&CHANGE_TIMES, &sources.changes, out);
    write_rest(sources, out);
    if let Some(payloads) = &sources.outside.payloads {
        write_payloads(payloads, out);
    }
    if let Some(tails) = &sources.outside.tails {
        write_tails(tails, out);
    }
    if let Some(book) = &sources.outside.book {
        write_book(book, out);
    }
    if let Some(StoreTimes(times)) = &sources.outside.store {
        write_times(&STORE_TIMES, times, out);
    }
}

/// Name, help and reading of a family that is one sum over the workers.
type WorkerSum = (&'static str, &'static str, fn(&WorkerBlock) -> u64);

const WORKER_GAUGES: [WorkerSum; 3] = [
    ("millrace_connections", "Client connections open now.", |w| w.connections.get()),
    ("millrace_inflight_requests", "Requests being answered now.", |w| w.inflight_requests.get()),
    ("millrace_open_streams", "Streams being relayed now.", |w| w.open_streams.get()),
];

const WORKER_COUNTERS: [WorkerSum; 6] = [
    ("millrace_connections_accepted_total", "Client connections accepted.", |w| w.accepted.get()),
    ("millrace_connections_handed_over_total", "Accepted connections given to a less loaded worker.", |w| {
        w.handed_over.get()
    }),
    ("millrace_connections_refused_total", "Client connections closed because a limit was reached.", |w| {
        w.refused_connections.get()
    }),
    (
        "millrace_config_outdated_streams_total",
        "Streams ended because their configuration was replaced too often.",
        |w| w.outdated_streams.get(),
    ),
    ("millrace_panics_total", "Requests ended by a fault of the gateway itself.", |w| w.panics.get()),
    ("millrace_dropped_rows_total", "Usage records lost because the queue was full.", |w| w.dropped_rows.get()),
];

fn write_worker_sums(workers: &[Arc<WorkerBlock>], out: &mut String) {
    let gauges = WORKER_GAUGES.iter().map(|family| ("gauge", family));
    let counters = WORKER_COUNTERS.iter().map(|family| ("counter", family));
    for (kind, (name, help, read)) in gauges.chain(counters) {
        head(out, name, kind, help);
        line(out, name, &[], workers.iter().map(|w| read(w)).sum::<u64>());
    }
}

fn write_worker_kinds(workers: &[Arc<WorkerBlock>], out: &mut String) {
    let name = "millrace_upstream_connections_total";
    head(out, name, "counter", "Upstream connections opened, reused and broken.");
    let sum = |read: fn(&WorkerBlock) -> u64| workers.iter().map(|w| read(w)).sum::<u64>();
    for (event, count) in [
        ("opened", sum(|w| w.upstream_opened.get())),
        ("reused", sum(|w| w.upstream_reused.get())),
        ("broken", sum(|w| w.upstream_broken.get())),
    ] {
        line(out, name, &["event=\"", event, "\""], count);
    }
    let name = "millrace_protocol_errors_total";
    head(out, name, "counter", "Client connections that broke the protocol.");
    let mut counts = [0u64; PROTOCOL_ERRORS.len()];
    for worker in workers {
        for (sum, count) in counts.iter_mut().zip(worker.protocol_errors()) {
            *sum += count;
        }
    }
    for (kind, count) in PROTOCOL_ERRORS.iter().zip(counts) {
        line(out, name, &["kind=\"", kind, "\""], count);
    }
}

fn write_overhead(workers: &[Arc<WorkerBlock>], out: &mut String) {
    let name = "millrace_overhead_seconds";
    head(out, name, "histogram", "Time added by the gateway itself up to the first byte sent.");
    for (index, labels) in ["stream=\"false\"", "stream=\"true\""].iter().enumerate() {
        let mut total = Total::default();
        for worker in workers {
            worker.add_overhead_to(index, &mut total);
        }
        histogram(out, name, labels, &total, Fine::bounds_us());
    }
}

fn write_each_worker(sources: &Sources, out: &mut String) {
    let now = now();
    let mut family = |name: &'static str, kind, help, read: &dyn Fn(usize, &WorkerBlock) -> Value| {
        head(out, name, kind, help);
        for (index, worker) in sources.workers.iter().enumerate() {
            let text = index.to_string();
            line(out, name, &["worker=\"", &text, "\""], read(index, worker));
        }
    };
    family("millrace_worker_generation", "gauge", "Generation of the snapshot that the worker holds.", &|_, w| {
        Value::Whole(w.generation.get())
    });
    family("millrace_worker_connections", "gauge", "Client connections open now on the worker.", &|_, w| {
        Value::Whole(w.connections.get())
    });
    family("millrace_worker_busy_ratio", "gauge", "Busy share of the last second, from 0 to 1.", &|index, _| {
        Value::Millionths(sources.busy_ppm.get(index).copied().unwrap_or(0))
    });
    family("millrace_worker_busy_seconds_total", "counter", "Busy time since the worker started.", &|_, w| {
        Value::Millionths(w.busy_us.get())
    });
    family(
        "millrace_worker_stall_seconds",
        "gauge",
        "Longest time the worker's loop was held up in the last one to two minutes.",
        &|_, w| Value::Millionths(w.stall_us_max(now)),
    );
    family(
        "millrace_worker_stalls_total",
        "counter",
        "Times the worker's loop was held up for 200 ms or more.",
        &|_, w| Value::Whole(w.stalls()),
    );
    family("millrace_worker_heartbeat_age_seconds", "gauge", "Time since the worker's loop last turned.", &|_, w| {
        let age = w.heartbeat_age(now).as_micros();
        Value::Millionths(u64::try_from(age).unwrap_or(u64::MAX))
    });
}

fn write_config(config: &ConfigState, out: &mut String) {
    let name = "millrace_config_generation";
    head(out, name, "gauge", "Generation of the published snapshot.");
    line(out, name, &[], config.generation);
    let name = "millrace_config_old_generations";
    head(out, name, "gauge", "Replaced configurations of projects that a request or stream still uses.");
    line(out, name, &[], u64::try_from(config.old_generations()).unwrap_or(u64::MAX));
    let name = "millrace_config_serve_total";
    head(out, name, "counter", "Configurations that were to be served, by result.");
    line(out, name, &["result=\"served\""], config.served);
    line(out, name, &["result=\"refused\""], config.refused);
    let name = "millrace_config_last_serve_timestamp_seconds";
    head(out, name, "gauge", "When a configuration was last published, in Unix time.");
    if let Some(at) = config.last_serve {
        line(out, name, &[], at.seconds());
    }
    let name = "millrace_config_error";
    head(out, name, "gauge", "1 for each project whose stored configuration cannot be compiled.");
    for project in &config.broken {
        let mut label = String::from("project=\"");
        escape(&mut label, project);
        line(out, name, &[&label, "\""], 1);
    }
}

/// Histograms without labels: name and help.
type TimeFamily = (&'static str, &'static str);

const CHANGE_TIMES: [TimeFamily; 2] = [
    ("millrace_config_compile_seconds", "Time to check and compile a configuration that was to be served."),
    ("millrace_config_publish_seconds", "Time from the publication of a change until every worker showed it."),
];

const STORE_TIMES: [TimeFamily; 3] = [
    ("millrace_store_wait_seconds", "Time that changes waited for their transaction to begin."),
    ("millrace_store_commit_seconds", "Time that commits took to be on disk, their sync included."),
    ("millrace_store_checkpoint_seconds", "Time to write the log of the store back into its file, its syncs included."),
];

fn write_times<const N: usize>(families: &[TimeFamily; N], times: &[Times; N], out: &mut String) {
    for ((name, help), Times(total)) in families.iter().zip(times) {
        head(out, name, "histogram", help);
        histogram(out, name, "", total, Doubling::bounds_us());
    }
}

fn write_book(book: &Book, out: &mut String) {
    let age = u64::try_from(book.last_commit_age.as_micros()).unwrap_or(u64::MAX);
    write_singles(
        out,
        [
            (
                "millrace_ledger_unreconciled_nanousd",
                "gauge",
                "How far the books of usage are apart; anything but 0 is a fault.",
                Value::Whole(book.unreconciled),
            ),
            (
                "millrace_ledger_last_commit_age_seconds",
                "gauge",
                "How long the oldest usage waits to be stored; 0 when none does.",
                Value::Millionths(age),
            ),
            (
                "millrace_ledger_failing",
                "gauge",
                "1 while usage cannot be stored; it is kept, and a full queue refuses requests.",
                Value::Whole(u64::from(book.failing)),
            ),
            (
                "millrace_usage_batch_rows",
                "gauge",
                "Usage records in memory for the next commit.",
                Value::Whole(book.batch_rows),
            ),
            (
                "millrace_usage_stored_rows_total",
                "counter",
                "Usage records that were stored.",
                Value::Whole(book.stored_rows),
            ),
        ],
    );
}

fn write_payloads(payloads: &Payloads, out: &mut String) {
    write_singles(
        out,
        [
            (
                "millrace_payload_bytes_held",
                "gauge",
                "Bytes of prompts and answers in memory that are to be kept and not stored yet.",
                Value::Whole(payloads.held_bytes),
            ),
            (
                "millrace_payloads_stored_total",
                "counter",
                "Requests whose prompt and answer were stored.",
                Value::Whole(payloads.stored),
            ),
            (
                "millrace_payloads_dropped_total",
                "counter",
                "Requests whose prompt and answer were not kept for lack of room, or could not be sealed.",
                Value::Whole(payloads.dropped),
            ),
        ],
    );
}

fn write_tails(tails: &Following, out: &mut String) {
    write_singles(
        out,
        [
            (
                "millrace_log_tails",
                "gauge",
                "Tails of the log of requests that are open now.",
                Value::Whole(tails.count),
            ),
            (
                "millrace_log_tail_rows_lost_total",
                "counter",
                "Rows that tails did not show because their reader was too slow.",
                Value::Whole(tails.lost),
            ),
        ],
    );
}

/// Families of one sample without labels: name, kind, help and value.
fn write_singles<const N: usize>(out: &mut String, families: [(&str, &str, &str, Value); N]) {
    for (name, kind, help, value) in families {
        head(out, name, kind, help);
        line(out, name, &[], value);
    }
}

fn write_rest(sources: &Sources, out: &mut String) {
    let outside = &sources.outside;
    let name = "millrace_usage_queue_depth";
    head(out, name, "gauge", "Usage records waiting for the admin thread.");
    line(out, name, &[], outside.usage_queue_depth);
    let name = "millrace_limit_overshoot_nanousd_max";
    head(out, name, "gauge", "Largest amount by which an answer passed a limit in money, since the start.");
    line(out, name, &[], outside.limit_overshoot_nanousd);
    let name = "millrace_log_lines_dropped_total";
    head(out, name, "counter", "Log lines that could not be written.");
    for (stream, count) in [("access", outside.access_lines_dropped), ("app", outside.app_lines_dropped)] {
        line(out, name, &["log=\"", stream, "\""], count);
    }
    let name = "millrace_series_overflow_total";
    head(out, name, "counter", "Sets of labels that had to share the overflow series.");
    line(out, name, &[], sources.overflow_count);
    let name = "millrace_build_info";
    head(out, name, "gauge", "What was built; the value is 1.");
    let features = FEATURES.join(",");
    let build = ["version=\"", VERSION, "\",commit=\"", COMMIT, "\",features=\"", &features, "\""];
    line(out, name, &build, 1);
}
