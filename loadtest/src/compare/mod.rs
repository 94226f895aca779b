//! Compares gateways side by side on one core.
//!
//! Absolute numbers of a shared machine mean little. So every gateway runs on the same core in the same minutes, in
//! turn, against the same provider, and what is printed is the ratio to a plain nginx within the round.

mod contest;
mod figures;
mod flame;
mod gateway;
mod lab;
mod process;
mod save;
mod scenario;
mod seat;
mod summary;
mod tools;
mod yaml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use contest::{Extras, Outcome};
use gateway::Gateway;
use lab::{Cores, Lab};
use save::Origin;
use scenario::Scenario;

/// Options of this command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Scenario files.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// Folder of gateway files.
    #[arg(long, default_value = "loadtest/gateways")]
    gateways: PathBuf,
    /// Only these gateways, and the baseline of each scenario.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Program of a gateway, as `NAME=PATH`.
    #[arg(long = "bin")]
    bins: Vec<String>,
    /// Rounds, instead of the scenario's.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each run, instead of the scenario's.
    #[arg(long)]
    duration: Option<f64>,
    /// Most drift of the direct way within a round in percent, instead of the scenario's.
    #[arg(long)]
    floor_drift_max: Option<f64>,
    /// CPU of the gateways.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// CPU of the mock provider and the driver.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Use the provider at this loopback address instead of starting the mock.
    #[arg(long)]
    upstream: Option<SocketAddr>,
    /// Also count user instructions under callgrind.
    #[arg(long)]
    callgrind: bool,
    /// Also count system calls with strace.
    #[arg(long)]
    syscalls: bool,
    /// Also sample call stacks of the one gateway named by `--only` and draw them into this SVG.
    #[arg(long)]
    flamegraph: Option<PathBuf>,
    /// Keep the results in a folder named by date and machine.
    #[arg(long)]
    save: bool,
    /// Folder of kept results.
    #[arg(long, default_value = "loadtest/results")]
    results: PathBuf,
    /// Name of the machine in the folder's name, instead of its processor's.
    #[arg(long)]
    machine: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A broken file, a baseline that does not run, too much noise, or any failed request.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let scenarios = args.scenarios()?;
    if args.core == args.load_core {
        bail!("the gateway needs a core of its own: `--core` and `--load-core` are the same");
    }
    if args.upstream.is_some_and(|addr| !addr.ip().is_loopback()) {
        bail!("the provider must be on loopback");
    }
    if args.flamegraph.is_some() && (args.only.len() != 1 || scenarios.len() != 1) {
        bail!("`--flamegraph` draws one gateway in one scenario: name it with `--only`");
    }
    let cores = Cores { gateway: args.core, load: args.load_core };
    let lab = Lab::open(cores, args.upstream)?;
    let why_no_counters = tools::why_no_counters();
    let extras = Extras {
        callgrind: args.callgrind,
        system_calls: args.syscalls,
        profile: args.flamegraph.as_ref().map(|_| lab.folder().to_path_buf()),
        counters: why_no_counters.is_none(),
    };
    let mut outcomes = Vec::new();
    let mut texts = Vec::new();
    for scenario in &scenarios {
        let gateways = args.gateways(scenario)?;
        let outcome = contest::run(&lab, scenario, &gateways, &extras)?;
        let text = summary::text(&outcome, why_no_counters.as_deref());
        println!("{text}");
        texts.push(text);
        outcomes.push(outcome);
    }
    if let (Some(path), [name], [scenario]) = (&args.flamegraph, &*args.only, &*scenarios) {
        let recorded = lab.folder().join(format!("{}-{name}.perf", scenario.name));
        draw(&recorded, path, &format!("{}, {name}", scenario.name))?;
    }
    if args.save {
        let origin = Origin::of_this_machine(args.machine.as_deref());
        let folder = save::save(&args.results, &origin, &outcomes, &texts.join("\n"))?;
        println!("kept in {}", folder.display());
    }
    verdict(&outcomes)
}

/// Fails when anything failed, after everything was printed and kept.
fn verdict(outcomes: &[Outcome]) -> anyhow::Result<()> {
    for outcome in outcomes {
        let name = &outcome.scenario.name;
        if !outcome.absent.is_empty() {
            bail!("{name}: not every gateway ran");
        }
        for entry in &outcome.entries {
            if !entry.reports.iter().all(crate::drive::Report::is_clean) {
                bail!("{name}: {} has failed requests", entry.name);
            }
        }
    }
    Ok(())
}

fn draw(recorded: &Path, path: &Path, title: &str) -> anyhow::Result<()> {
    let output = Command::new("perf").args(["script", "-i"]).arg(recorded).output().context("perf script")?;
    if !output.status.success() {
        bail!("perf script: {}", String::from_utf8_lossy(&output.stderr));
    }
    let origin = Origin::of_this_machine(None);
    let title = format!("{title}, {}, {}, commit {}: {}", origin.date, origin.processor, origin.commit, origin.command);
    let svg = flame::draw(&String::from_utf8_lossy(&output.stdout), &title)?;
    std::fs::write(path, svg).with_context(|| path.display().to_string())
}

impl Args {
    fn scenarios(&self) -> anyhow::Result<Vec<Scenario>> {
        self.scenarios
            .iter()
            .map(|path| {
                let mut scenario = scenario::read(path)?;
                scenario.rounds = self.rounds.unwrap_or(scenario.rounds).max(1);
                if let Some(duration_s) = self.duration {
                    scenario.drive.duration_s = duration_s;
                }
                if let Some(percent) = self.floor_drift_max {
                    scenario.floor_drift_percent_max = percent;
                }
                Ok(scenario)
            })
            .collect()
    }

    fn gateways(&self, scenario: &Scenario) -> anyhow::Result<Vec<Gateway>> {
        // A picture needs no ratio, so no baseline.
        let baseline = self.flamegraph.is_none().then_some(&scenario.baseline);
        let wanted = |name: &String| self.only.is_empty() || self.only.contains(name) || Some(name) == baseline;
        let mut gateways = Vec::new();
        for name in scenario.gateways.iter().filter(|name| wanted(name)) {
            let mut gateway = gateway::read(&self.gateways, name)?;
            for bin in &self.bins {
                let (of, path) = bin.split_once('=').with_context(|| format!("`--bin {bin}` must be `NAME=PATH`"))?;
                if of == name {
                    path.clone_into(&mut gateway.binary);
                }
            }
            gateways.push(gateway);
        }
        Ok(gateways)
    }
}
