//! A scenario file: which gateways, which load, how often.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::yaml;

/// Most rounds of a scenario.
const ROUNDS_MAX: usize = 100;

/// What a number is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// A request answered whole and right.
    Request,
    /// An event before `[DONE]`.
    Event,
    /// A stream that is held open.
    Stream,
}

impl Unit {
    /// Name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Event => "event",
            Self::Stream => "stream",
        }
    }
}

/// One scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Name, as the file's.
    pub(crate) name: String,
    /// One sentence of what it shows.
    pub(crate) about: String,
    /// Gateways by name of their files, in the order they run.
    pub(crate) gateways: Vec<String>,
    /// Gateway that ratios refer to.
    pub(crate) baseline: String,
    /// What costs are divided by.
    pub(crate) unit: Unit,
    /// Rounds; medians are over rounds.
    pub(crate) rounds: usize,
    /// Worker threads or processes of each gateway. Default: 1.
    #[serde(default = "one")]
    pub(crate) workers: usize,
    /// Starts each gateway anew for each of its turns: for memory, and where the pools of all together would exhaust
    /// the provider's descriptors. Default: `false`.
    #[serde(default)]
    pub(crate) fresh: bool,
    /// Model of the mock provider: says what it answers.
    pub(crate) mock_model: String,
    /// The load.
    pub(crate) drive: Load,
    /// Most drift of the floor's median between two rounds, in percent. Default: 20.
    #[serde(default = "drift_default")]
    pub(crate) floor_drift_percent_max: f64,
    /// Requests of the two runs under callgrind. Default: 500 and 2,500.
    #[serde(default = "callgrind_default")]
    pub(crate) callgrind_requests: (u64, u64),
    /// Connections under callgrind, where everything is 50 times slower. Default: 8.
    #[serde(default = "eight")]
    pub(crate) callgrind_connections: usize,
}

/// The load of a scenario: options of `loadtest drive`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) connections: usize,
    /// Seconds of each run.
    pub(crate) duration_s: f64,
    /// Seconds of the run straight to the provider. Default: 2.
    #[serde(default)]
    pub(crate) floor_duration_s: Option<f64>,
    /// Seconds of the run that warms up, once. Default: 1.
    #[serde(default)]
    pub(crate) warm_up_s: Option<f64>,
    /// Length of the request body.
    #[serde(default)]
    pub(crate) body_bytes: Option<usize>,
    /// Open loop, requests a second.
    #[serde(default)]
    pub(crate) rate: Option<f64>,
    /// Seconds over which first requests are spread.
    #[serde(default)]
    pub(crate) ramp_s: Option<f64>,
    /// Most requests of each run.
    #[serde(default)]
    pub(crate) requests: Option<u64>,
    /// Server-sent events.
    #[serde(default)]
    pub(crate) stream: bool,
    /// Events of each stream.
    #[serde(default)]
    pub(crate) events: Option<u64>,
    /// Streams that stay open.
    #[serde(default)]
    pub(crate) hold: bool,
}

fn one() -> usize {
    1
}

fn eight() -> usize {
    8
}

fn drift_default() -> f64 {
    20.0
}

fn callgrind_default() -> (u64, u64) {
    (500, 2_500)
}

/// Reads and checks a scenario file.
///
/// # Errors
/// The file cannot be read, has the wrong form, or contradicts itself.
pub(crate) fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let scenario = parse(&text).with_context(|| path.display().to_string())?;
    Ok(scenario)
}

fn parse(text: &str) -> anyhow::Result<Scenario> {
    let scenario: Scenario = yaml::read(text)?;
    if !scenario.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        bail!("`name` may have lower-case letters, digits and `-`");
    }
    if !scenario.gateways.contains(&scenario.baseline) {
        bail!("baseline `{}` is not among `gateways`", scenario.baseline);
    }
    if scenario.rounds == 0 || scenario.rounds > ROUNDS_MAX {
        bail!("`rounds` must be 1 to {ROUNDS_MAX}");
    }
    if scenario.callgrind_requests.0 == 0 || scenario.callgrind_requests.0 >= scenario.callgrind_requests.1 {
        bail!("`callgrind_requests` must be two growing numbers");
    }
    let load = &scenario.drive;
    let fits = match scenario.unit {
        Unit::Request => !load.stream && !load.hold,
        Unit::Event => load.stream && !load.hold,
        Unit::Stream => load.hold && !load.stream,
    };
    if !fits {
        bail!("unit `{}` does not fit `stream` and `hold` of the load", scenario.unit.name());
    }
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: a-1\nabout: x\ngateways: [nginx, millrace]\nbaseline: nginx\nunit: request\n\
        rounds: 3\nmock_model: fast\ndrive: {connections: 4, duration_s: 1}\n";

    #[test]
    fn defaults_are_as_documented() {
        let scenario = parse(GOOD).unwrap();
        assert_eq!(scenario.workers, 1);
        assert_eq!(scenario.floor_drift_percent_max, 20.0);
        assert_eq!(scenario.callgrind_requests, (500, 2_500));
        assert!(!scenario.drive.stream);
    }

    #[test]
    fn contradictions_are_refused() {
        for (name, from, to) in [
            ("name", "a-1", "../a"),
            ("baseline", "baseline: nginx", "baseline: envoy"),
            ("rounds", "rounds: 3", "rounds: 0"),
            ("unit", "unit: request", "unit: event"),
            ("unknown field", "about: x", "about: x\nabuot: y"),
            ("callgrind", "rounds: 3", "rounds: 3\ncallgrind_requests: [5, 5]"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{name}");
            assert!(parse(&text).is_err(), "{name}");
        }
    }

    #[test]
    fn every_scenario_of_the_repository_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let scenario = read(&path).unwrap();
            assert_eq!(path.file_stem().unwrap().to_str().unwrap(), scenario.name);
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }
}
