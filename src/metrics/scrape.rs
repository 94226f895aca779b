//! Everything that is counted, as one text for Prometheus.
//!
//! Written in pieces, family by family, so that a scrape of many series holds neither the admin thread nor its memory.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Labels;

use super::histogram::Doubling;
use super::process::write_process;
use super::registry::ConfigState;
use super::series::{ENDPOINTS, OUTCOMES, STATUS_CLASSES, Series, Sums, TOKEN_TYPES};
use super::text::{Value, escape, head, histogram, line};
use super::times::{StoreTimes, Times};
use super::worker::WorkerBlock;

/// What a scrape shows and the registry cannot know.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Usage records waiting for the admin thread.
    pub usage_queue_depth: u64,
    /// Lines of the access log that could not be written.
    pub access_lines_dropped: u64,
    /// Lines of the application log that could not be written.
    pub app_lines_dropped: u64,
    /// Largest amount by which a settlement passed a limit in money.
    pub limit_overshoot_nanousd: u64,
    /// What is kept of prompts and answers; none where nothing is stored.
    pub payloads: Option<Payloads>,
    /// Those who follow requests; none where nothing is stored.
    pub tails: Option<Following>,
    /// State of the book of usage; none where nothing is stored.
    pub book: Option<Book>,
    /// How long the store takes; none where nothing is stored.
    pub store: Option<StoreTimes>,
}

/// What is kept of prompts and answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payloads {
    /// Bytes that are not stored yet.
    pub held_bytes: u64,
    /// Payloads that were stored.
    pub stored: u64,
    /// Payloads that were dropped.
    pub dropped: u64,
}

/// Who follows requests as they end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Following {
    /// Tails that are open.
    pub count: u64,
    /// Rows that all tails have lost.
    pub lost: u64,
}

/// What the book of usage says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Book {
    /// How far it was from itself when it was compared last, in nano-USD.
    pub unreconciled: u64,
    /// How long the oldest record waits to be stored.
    pub last_commit_age: Duration,
    /// Records that wait in memory for the next commit.
    pub batch_rows: u64,
    /// Records that were stored.
    pub stored_rows: u64,
    /// Whether the last commit failed.
    pub failing: bool,
}

/// Everything one scrape reads.
pub(super) struct Sources {
    pub(super) series: Vec<Arc<Series>>,
    pub(super) overflow_count: u64,
    pub(super) workers: Arc<[Arc<WorkerBlock>]>,
    pub(super) config: ConfigState,
    /// How long compilations and publications took.
    pub(super) changes: [Times; 2],
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
        Self { sources, family: 0, next_series: 0 }
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

const SERIES_FAMILIES: [Family; 7] = [
    Family { name: "millrace_requests_total", kind: "counter", help: "Finished requests.", write: write_requests },
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
    Family {
        name: "millrace_audio_seconds_total",
        kind: "counter",
        help: "Seconds of audio that transcriptions heard, as the providers stated them or as long as the files are.",
        write: write_audio,
    },
    Family {
        name: "millrace_cost_usd_total",
        kind: "counter",
        help: "What answers cost in USD, by the prices that were served with them.",
        write: write_cost,
    },
];

fn write_requests(out: &mut String, labels: &str, sums: &Sums) {
    let cells = ENDPOINTS.iter().flat_map(|endpoint| {
        STATUS_CLASSES.iter().flat_map(move |class| ["false", "true"].map(|stream| (endpoint, class, stream)))
    });
    for ((endpoint, class, stream), count) in cells.zip(&sums.requests) {
        if *count > 0 {
            line(
                out,
                "millrace_requests_total",
                &[labels, ",endpoint=\"", endpoint, "\",status_class=\"", class, "\",stream=\"", stream, "\""],
                *count,
            );
        }
    }
}

fn write_duration(out: &mut String, labels: &str, sums: &Sums) {
    histogram(out, "millrace_request_duration_seconds", labels, &sums.duration, Doubling::bounds_us());
}

fn write_ttft(out: &mut String, labels: &str, sums: &Sums) {
    histogram(out, "millrace_time_to_first_token_seconds", labels, &sums.ttft, Doubling::bounds_us());
}

fn write_attempts(out: &mut String, labels: &str, sums: &Sums) {
    by_name(out, ("millrace_upstream_attempts_total", labels, "outcome"), &OUTCOMES, sums.attempts);
}

fn write_tokens(out: &mut String, labels: &str, sums: &Sums) {
    by_name(out, ("millrace_tokens_total", labels, "type"), &TOKEN_TYPES, sums.tokens);
}

fn write_audio(out: &mut String, labels: &str, sums: &Sums) {
    if sums.audio_millis > 0 {
        let billionths = sums.audio_millis.saturating_mul(1_000_000);
        line(out, "millrace_audio_seconds_total", &[labels], Value::Billionths(billionths));
    }
}

fn write_cost(out: &mut String, labels: &str, sums: &Sums) {
    if sums.cost_nano > 0 {
        line(out, "millrace_cost_usd_total", &[labels], Value::Billionths(sums.cost_nano));
    }
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
