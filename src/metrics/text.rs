//! The Prometheus text format, version 0.0.4.
//!
//! Written in pieces, family by family, so that a scrape of many series holds neither the admin thread nor its memory.

use std::fmt::Write;
use std::sync::Arc;

use crate::base::{Labels, now};

use super::histogram::{Doubling, Fine, Total};
use super::registry::ConfigState;
use super::series::{ENDPOINTS, OUTCOMES, STATUS_CLASSES, Series, Sums, TOKEN_TYPES};
use super::worker::{PROTOCOL_ERRORS, WorkerBlock};

/// What a scrape shows and the registry cannot know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside {
    /// Usage records waiting for the admin thread.
    pub usage_queue_depth: u64,
    /// Lines of the access log that could not be written.
    pub access_lines_dropped: u64,
    /// Lines of the application log that could not be written.
    pub app_lines_dropped: u64,
}

/// Everything one scrape reads.
pub(super) struct Sources {
    pub(super) series: Vec<Arc<Series>>,
    pub(super) overflow_count: u64,
    pub(super) workers: Arc<[Arc<WorkerBlock>]>,
    pub(super) config: ConfigState,
    pub(super) busy_ppm: Vec<u64>,
    pub(super) outside: Outside,
}

/// A scrape under way.
pub struct Scrape {
    sources: Sources,
    family: usize,
    next_series: usize,
}

impl Scrape {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources,
            family: 0,
            next_series: 0,
        }
    }

    /// Appends the next part of the text until `out` holds `bytes_max` bytes or a little more; false when all is written.
    pub fn write(&mut self, out: &mut String, bytes_max: usize) -> bool {
        while out.len() < bytes_max {
            let Some(family) = SERIES_FAMILIES.get(self.family) else {
                if self.family == SERIES_FAMILIES.len() {
                    self.family += 1;
                    write_process(&self.sources, out);
                    continue;
                }
                return false;
            };
            if self.next_series == 0 {
                head(out, family.name, family.kind, family.help);
            }
            match self.sources.series.get(self.next_series) {
                Some(series) => {
                    self.next_series += 1;
                    if let Some(sums) = series.sums() {
                        (family.write)(out, &label_text(series.labels()), &sums);
                    }
                }
                None => {
                    self.family += 1;
                    self.next_series = 0;
                }
            }
        }
        true
    }
}

/// A metric that has a line or more for each series.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    write: fn(&mut String, &str, &Sums),
}

const SERIES_FAMILIES: [Family; 5] = [
    Family {
        name: "millrace_requests_total",
        kind: "counter",
        help: "Finished requests.",
        write: write_requests,
    },
    Family {
        name: "millrace_request_duration_seconds",
        kind: "histogram",
        help: "Time from the first byte of a request to the last byte of its answer.",
        write: write_duration,
    },
    Family {
        name: "millrace_time_to_first_token_seconds",
        kind: "histogram",
        help: "Time from the first byte of a request to the first content of its answer.",
        write: write_ttft,
    },
    Family {
        name: "millrace_upstream_attempts_total",
        kind: "counter",
        help: "Attempts at targets, by how they ended.",
        write: write_attempts,
    },
    Family {
        name: "millrace_tokens_total",
        kind: "counter",
        help: "Tokens of answers, as the providers stated them.",
        write: write_tokens,
    },
];

fn write_requests(out: &mut String, labels: &str, sums: &Sums) {
    let cells = ENDPOINTS.iter().flat_map(|endpoint| {
        STATUS_CLASSES
            .iter()
            .flat_map(move |class| ["false", "true"].map(|stream| (endpoint, class, stream)))
    });
    for ((endpoint, class, stream), count) in cells.zip(&sums.requests) {
        if *count > 0 {
            line(
                out,
                "millrace_requests_total",
                &[
                    labels,
                    ",endpoint=\"",
                    endpoint,
                    "\",status_class=\"",
                    class,
                    "\",stream=\"",
                    stream,
                    "\"",
                ],
                *count,
            );
        }
    }
}

fn write_duration(out: &mut String, labels: &str, sums: &Sums) {
    histogram(
        out,
        "millrace_request_duration_seconds",
        labels,
        &sums.duration,
        Doubling::bounds_us(),
    );
}

fn write_ttft(out: &mut String, labels: &str, sums: &Sums) {
    histogram(
        out,
        "millrace_time_to_first_token_seconds",
        labels,
        &sums.ttft,
        Doubling::bounds_us(),
    );
}

fn write_attempts(out: &mut String, labels: &str, sums: &Sums) {
    by_name(
        out,
        ("millrace_upstream_attempts_total", labels, "outcome"),
        &OUTCOMES,
        sums.attempts,
    );
}

fn write_tokens(out: &mut String, labels: &str, sums: &Sums) {
    by_name(
        out,
        ("millrace_tokens_total", labels, "type"),
        &TOKEN_TYPES,
        sums.tokens,
    );
}

/// The families that have no series: of workers, configuration and process.
fn write_process(sources: &Sources, out: &mut String) {
    write_worker_sums(&sources.workers, out);
    write_worker_kinds(&sources.workers, out);
    write_overhead(&sources.workers, out);
    write_each_worker(sources, out);
    write_config(&sources.config, out);
    write_rest(sources, out);
}

/// Name, help and reading of a family that is one sum over the workers.
type WorkerSum = (&'static str, &'static str, fn(&WorkerBlock) -> u64);

const WORKER_GAUGES: [WorkerSum; 3] = [
    (
        "millrace_connections",
        "Client connections open now.",
        |w| w.connections.get(),
    ),
    (
        "millrace_inflight_requests",
        "Requests being answered now.",
        |w| w.inflight_requests.get(),
    ),
    ("millrace_open_streams", "Streams being relayed now.", |w| {
        w.open_streams.get()
    }),
];

const WORKER_COUNTERS: [WorkerSum; 5] = [
    (
        "millrace_connections_accepted_total",
        "Client connections accepted.",
        |w| w.accepted.get(),
    ),
    (
        "millrace_connections_handed_over_total",
        "Accepted connections given to a less loaded worker.",
        |w| w.handed_over.get(),
    ),
    (
        "millrace_connections_refused_total",
        "Client connections closed because a limit was reached.",
        |w| w.refused_connections.get(),
    ),
    (
        "millrace_panics_total",
        "Requests ended by a fault of the gateway itself.",
        |w| w.panics.get(),
    ),
    (
        "millrace_dropped_rows_total",
        "Usage records lost because the queue was full.",
        |w| w.dropped_rows.get(),
    ),
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
    head(
        out,
        name,
        "counter",
        "Upstream connections opened, reused and broken.",
    );
    let sum = |read: fn(&WorkerBlock) -> u64| workers.iter().map(|w| read(w)).sum::<u64>();
    for (event, count) in [
        ("opened", sum(|w| w.upstream_opened.get())),
        ("reused", sum(|w| w.upstream_reused.get())),
        ("broken", sum(|w| w.upstream_broken.get())),
    ] {
        line(out, name, &["event=\"", event, "\""], count);
    }
    let name = "millrace_protocol_errors_total";
    head(
        out,
        name,
        "counter",
        "Client connections that broke the protocol.",
    );
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
    head(
        out,
        name,
        "histogram",
        "Time added by the gateway itself up to the first byte sent.",
    );
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
    let mut family =
        |name: &'static str, kind, help, read: &dyn Fn(usize, &WorkerBlock) -> Value| {
            head(out, name, kind, help);
            for (index, worker) in sources.workers.iter().enumerate() {
                let text = index.to_string();
                line(out, name, &["worker=\"", &text, "\""], read(index, worker));
            }
        };
    family(
        "millrace_worker_generation",
        "gauge",
        "Generation of the snapshot that the worker holds.",
        &|_, w| Value::Whole(w.generation.get()),
    );
    family(
        "millrace_worker_connections",
        "gauge",
        "Client connections open now on the worker.",
        &|_, w| Value::Whole(w.connections.get()),
    );
    family(
        "millrace_worker_busy_ratio",
        "gauge",
        "Busy share of the last second, from 0 to 1.",
        &|index, _| Value::Millionths(sources.busy_ppm.get(index).copied().unwrap_or(0)),
    );
    family(
        "millrace_worker_busy_seconds_total",
        "counter",
        "Busy time since the worker started.",
        &|_, w| Value::Millionths(w.busy_us.get()),
    );
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
    family(
        "millrace_worker_heartbeat_age_seconds",
        "gauge",
        "Time since the worker's loop last turned.",
        &|_, w| {
            let age = w.heartbeat_age(now).as_micros();
            Value::Millionths(u64::try_from(age).unwrap_or(u64::MAX))
        },
    );
}

fn write_config(config: &ConfigState, out: &mut String) {
    let name = "millrace_config_generation";
    head(out, name, "gauge", "Generation of the published snapshot.");
    line(out, name, &[], config.generation);
    let name = "millrace_config_serve_total";
    head(
        out,
        name,
        "counter",
        "Configurations that were to be served, by result.",
    );
    line(out, name, &["result=\"served\""], config.served);
    line(out, name, &["result=\"refused\""], config.refused);
    let name = "millrace_config_last_serve_timestamp_seconds";
    head(
        out,
        name,
        "gauge",
        "When a configuration was last published, in Unix time.",
    );
    if let Some(at) = config.last_serve {
        line(out, name, &[], at.seconds());
    }
    let name = "millrace_config_error";
    head(
        out,
        name,
        "gauge",
        "1 for each project whose stored configuration cannot be compiled.",
    );
    for project in &config.broken {
        let mut label = String::from("project=\"");
        escape(&mut label, project);
        line(out, name, &[&label, "\""], 1);
    }
}

fn write_rest(sources: &Sources, out: &mut String) {
    let outside = &sources.outside;
    let name = "millrace_usage_queue_depth";
    head(
        out,
        name,
        "gauge",
        "Usage records waiting for the admin thread.",
    );
    line(out, name, &[], outside.usage_queue_depth);
    let name = "millrace_log_lines_dropped_total";
    head(out, name, "counter", "Log lines that could not be written.");
    for (stream, count) in [
        ("access", outside.access_lines_dropped),
        ("app", outside.app_lines_dropped),
    ] {
        line(out, name, &["log=\"", stream, "\""], count);
    }
    let name = "millrace_series_overflow_total";
    head(
        out,
        name,
        "counter",
        "Sets of labels that had to share the overflow series.",
    );
    line(out, name, &[], sources.overflow_count);
    let name = "millrace_build_info";
    head(out, name, "gauge", "What was built; the value is 1.");
    let build = [
        "version=\"",
        env!("CARGO_PKG_VERSION"),
        "\",commit=\"",
        option_env!("MILLRACE_COMMIT").unwrap_or("unknown"),
        "\",features=\"\"",
    ];
    line(out, name, &build, 1);
}

/// A sample, without floating point.
#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    /// Millionths, written as a decimal fraction.
    Millionths(u64),
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Self::Whole(whole)
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    for part in [
        "# HELP ",
        name,
        " ",
        help,
        "\n# TYPE ",
        name,
        " ",
        kind,
        "\n",
    ] {
        out.push_str(part);
    }
}

/// Appends one sample; `labels` are the pieces between the braces.
fn line(out: &mut String, name: &str, labels: &[&str], value: impl Into<Value>) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        for part in labels {
            out.push_str(part);
        }
        out.push('}');
    }
    out.push(' ');
    push_value(out, value.into());
    out.push('\n');
}

fn by_name<const N: usize>(
    out: &mut String,
    (name, labels, label): (&str, &str, &str),
    names: &[&str; N],
    counts: [u64; N],
) {
    for (value, count) in names.iter().zip(counts) {
        if count > 0 {
            line(out, name, &[labels, ",", label, "=\"", value, "\""], count);
        }
    }
}

/// Appends all lines of one histogram; nothing when it never counted.
fn histogram<const N: usize>(
    out: &mut String,
    name: &str,
    labels: &str,
    total: &Total<N>,
    bounds_us: impl Iterator<Item = u64>,
) {
    if total.count() == 0 {
        return;
    }
    let bounds = bounds_us.map(Some).chain([None]);
    for (bound, count) in bounds.zip(total.cumulative()) {
        for part in [name, "_bucket{", labels, ",le=\""] {
            out.push_str(part);
        }
        match bound {
            Some(us) => push_value(out, Value::Millionths(us)),
            None => out.push_str("+Inf"),
        }
        out.push_str("\"} ");
        push_value(out, Value::Whole(count));
        out.push('\n');
    }
    for (suffix, value) in [
        ("_sum{", Value::Millionths(total.sum_us())),
        ("_count{", Value::Whole(total.count())),
    ] {
        for part in [name, suffix, labels, "} "] {
            out.push_str(part);
        }
        push_value(out, value);
        out.push('\n');
    }
}

fn push_value(out: &mut String, value: Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Whole(whole) => write!(out, "{whole}"),
        Value::Millionths(millionths) => {
            let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
            let written = write!(out, "{whole}.{rest:06}");
            let kept = out.trim_end_matches('0').trim_end_matches('.').len();
            out.truncate(kept);
            written
        }
    };
}

/// `organization="..",project="..",route="..",provider="..",model=".."`.
fn label_text(labels: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("organization=\"", &labels.organization),
        ("\",project=\"", &labels.project),
        ("\",route=\"", &labels.route),
        ("\",provider=\"", &labels.provider),
        ("\",model=\"", &labels.model),
    ] {
        text.push_str(name);
        escape(&mut text, value);
    }
    text.push('"');
    text
}

/// Escapes what the format asks for: backslash, quote and line feed.
fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
}
