//! Sends load to a loopback address and reports all of it.
//!
//! A closed loop measures what a server can do; an open loop measures how long clients wait. Both count every answer
//! that is not whole and right as a failure of a named kind. Runs end by count and by time, always.

mod answer;
mod connection;
mod dial;
mod engine;
mod events;
mod floor;
mod pace;
mod plan;
mod report;
mod request;
mod tally;
mod target;
#[cfg(test)]
mod tests;
mod timer;

use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;

pub(crate) use floor::drift;
pub(crate) use report::Report;

use floor::Floor;
use pace::Loop;
use plan::{Mode, Plan, REQUESTS_MAX};
use request::Ask;

/// Options of this command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Address such as `http://127.0.0.1:8080/v1/chat/completions`; loopback only.
    url: String,
    /// Connections, kept alive.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Most requests; without it only the duration ends the run.
    #[arg(long)]
    requests: Option<u64>,
    /// Seconds after which no request starts; for `--hold`, how long streams stay open.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds for requests in flight after the end.
    #[arg(long, default_value_t = 10.0)]
    grace: f64,
    /// Seconds over which the first requests of a closed loop are spread.
    #[arg(long, default_value_t = 0.0)]
    ramp: f64,
    /// Open loop: requests a second, each timed from when it was due.
    #[arg(long)]
    rate: Option<f64>,
    /// Length of the request body; padded in its message.
    #[arg(long)]
    body_bytes: Option<usize>,
    /// Value of `model`.
    #[arg(long, default_value = "fast")]
    model: String,
    /// Bearer key.
    #[arg(long, env = "LOADTEST_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Ask for server-sent events; each stream must end with `[DONE]`.
    #[arg(long)]
    stream: bool,
    /// Events that each stream must have before `[DONE]`.
    #[arg(long, requires = "stream")]
    events: Option<u64>,
    /// Open one stream a connection, keep them for the duration, then close.
    #[arg(long, conflicts_with_all = ["stream", "rate", "floor"])]
    hold: bool,
    /// Text that must stand in the first 4 KiB of a JSON answer; empty checks nothing.
    #[arg(long, default_value = "\"choices\"")]
    expect: String,
    /// Run on this CPU only.
    #[arg(long)]
    pin: Option<usize>,
    /// Address of the provider itself: the same run goes there before and after.
    #[arg(long)]
    floor: Option<String>,
    /// Model for the floor, where the gateway names it differently.
    #[arg(long, requires = "floor")]
    floor_model: Option<String>,
    /// Most drift of the floor's median between before and after, in percent.
    #[arg(long, default_value_t = 10.0)]
    floor_drift_max: f64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Bad options, an address off loopback, a server that cannot be reached, a floor that drifted, or any failed request.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let plan = args.plan()?;
    if let Some(cpu) = args.pin {
        pin(cpu)?;
    }
    let (report, floor) = match args.floor_plan(&plan)? {
        None => (engine::run(&plan)?, None),
        Some(floor_plan) => {
            let before = engine::run(&floor_plan).context("floor before")?;
            let report = engine::run(&plan)?;
            let after = engine::run(&floor_plan).context("floor after")?;
            let floor = Floor::between(&before, &after, args.floor_drift_max)?;
            (report, Some(floor))
        }
    };
    let added_us = floor.as_ref().and_then(|floor| floor.added_us(&report));
    if args.json {
        let all = json!({"report": report, "floor": floor, "added_p50_us": added_us});
        println!("{all}");
    } else {
        print!("{report}");
        if let (Some(floor), Some(added_us)) = (&floor, added_us) {
            println!(
                "floor        p50 {:.1} us before, {:.1} after, drift {:.1} %\nadded        {added_us:.1} us at p50",
                floor.before_us, floor.after_us, floor.drift_percent
            );
        }
    }
    if !report.is_clean() {
        bail!("not every request was answered right: {}", report.failures());
    }
    Ok(())
}

impl Args {
    fn plan(&self) -> anyhow::Result<Plan> {
        let mode = match (self.hold, self.stream) {
            (true, _) => Mode::Hold,
            (false, true) => Mode::Stream,
            (false, false) => Mode::Json,
        };
        Ok(Plan {
            target: target::parse(&self.url)?,
            source: dial::source_of_this_run(),
            ask: Ask {
                model: self.model.clone(),
                key: self.key.clone(),
                body_bytes: self.body_bytes,
                stream: mode != Mode::Json,
            },
            mode,
            shape: self.rate.map_or(Loop::Closed, |rate| Loop::Open { rate }),
            connections: self.connections,
            requests_max: self.requests.unwrap_or(REQUESTS_MAX),
            duration: seconds(self.duration)?,
            grace: seconds(self.grace)?,
            ramp: seconds(self.ramp)?,
            events: self.events,
            expect: self.expect.clone(),
        })
    }

    fn floor_plan(&self, plan: &Plan) -> anyhow::Result<Option<Plan>> {
        let Some(url) = &self.floor else {
            return Ok(None);
        };
        let mut floor = plan.clone();
        floor.target = target::parse(url)?;
        floor.ask.key = None;
        if let Some(model) = &self.floor_model {
            floor.ask.model.clone_from(model);
        }
        Ok(Some(floor))
    }
}

fn seconds(value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("`{value}` is not a time"))
}

/// Keeps this thread, and the threads and processes it starts from now on, on one CPU.
///
/// # Errors
/// The machine has no such CPU, or it is not allowed here.
pub(crate) fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("pinning to CPU {cpu}"))
}
