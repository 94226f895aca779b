//! The provider, the driver and the folder of one comparison.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::drive::{self, Report};

use super::process::{Process, output_to};
use super::scenario::Load;

/// Time beyond its own bounds that the driver has, for opening connections.
const DRIVE_TIME_SPARE: Duration = Duration::from_secs(180);
/// Seconds for requests in flight at the end of a run.
const GRACE_S: f64 = 10.0;

/// Which CPUs are used for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The gateway under test.
    pub(crate) gateway: usize,
    /// The mock provider, the driver and this program.
    pub(crate) load: usize,
}

/// Where one run goes.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    /// Address with path.
    pub(crate) url: String,
    /// Value of `model`.
    pub(crate) model: String,
    /// Bearer key.
    pub(crate) key: Option<String>,
}

/// What stays the same over all gateways.
pub(crate) struct Lab {
    /// Address of the provider.
    pub(crate) upstream: SocketAddr,
    /// CPUs.
    pub(crate) cores: Cores,
    program: PathBuf,
    folder: PathBuf,
    _mock: Option<Process>,
}

impl Lab {
    /// Pins this program and starts the mock provider, unless one is given.
    ///
    /// # Errors
    /// A core does not exist, or the mock does not start.
    pub(crate) fn open(cores: Cores, upstream: Option<SocketAddr>) -> anyhow::Result<Self> {
        drive::pin(cores.load)?;
        let program = std::env::current_exe()?;
        let folder = std::env::temp_dir().join(format!("loadtest-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (upstream, mock) = match upstream {
            Some(upstream) => (upstream, None),
            None => {
                let (upstream, mock) = start_mock(&program, &folder, cores)?;
                (upstream, Some(mock))
            }
        };
        Ok(Self { upstream, cores, program, folder, _mock: mock })
    }

    /// Folder for what a run writes; gone when the comparison ends.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The way without a gateway.
    pub(crate) fn direct(&self, model: &str) -> Aim {
        Aim { url: format!("http://{}/v1/chat/completions", self.upstream), model: model.to_owned(), key: None }
    }

    /// Sends one load; `meanwhile` is called every 20 ms.
    ///
    /// # Errors
    /// The driver gives no report. A report with failures is a report.
    pub(crate) fn drive(&self, load: &Load, aim: &Aim, meanwhile: impl FnMut()) -> anyhow::Result<Report> {
        let (out_path, err_path) = (self.folder.join("drive.json"), self.folder.join("drive.log"));
        let mut command = Command::new(&self.program);
        command.args(drive_args(load, aim, self.cores.load));
        if let Some(key) = &aim.key {
            // Not as an argument: those are for everybody to see.
            command.env("LOADTEST_KEY", key);
        }
        command.stdout(output_to(&out_path)?.0).stderr(output_to(&err_path)?.0);
        let mut process = Process::start(&mut command, self.cores.load, self.cores.load)?;
        let limit = Duration::try_from_secs_f64(load.duration_s + GRACE_S)? + DRIVE_TIME_SPARE;
        process.wait(limit, meanwhile)?;
        let text = std::fs::read_to_string(&out_path)?;
        let Ok(printed) = serde_json::from_str::<Printed>(&text) else {
            let said = std::fs::read_to_string(&err_path).unwrap_or_default();
            bail!("no report of the load to {}: {}", aim.url, said.trim());
        };
        Ok(printed.report)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `loadtest drive --json` prints.
#[derive(Deserialize)]
struct Printed {
    report: Report,
}

fn start_mock(program: &Path, folder: &Path, cores: Cores) -> anyhow::Result<(SocketAddr, Process)> {
    let mut command = Command::new(program);
    command.args(["mock", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--pin", &cores.load.to_string()]);
    command.stdout(Stdio::piped()).stderr(output_to(&folder.join("mock.log"))?.1);
    let mut process = Process::start(&mut command, cores.load, cores.load)?;
    let out = process.child().stdout.take().context("the mock has no output")?;
    let mut lines = BufReader::new(out).lines();
    for line in lines.by_ref().take(20) {
        if let Some(addr) = line?.strip_prefix("listening on ") {
            let addr = addr.trim().trim_start_matches("http://").parse()?;
            // The pipe is read to its end, or a mock that prints more would block.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((addr, process));
        }
    }
    let said = std::fs::read_to_string(folder.join("mock.log")).unwrap_or_default();
    bail!("the mock provider does not start: {}", said.trim())
}

/// Options of the driver for this load.
fn drive_args(load: &Load, aim: &Aim, core: usize) -> Vec<String> {
    let mut args: Vec<String> = vec!["drive".to_owned(), aim.url.clone(), "--json".to_owned()];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            args.push(format!("--{name}"));
            args.push(value);
        }
    };
    option("model", Some(aim.model.clone()));
    option("pin", Some(core.to_string()));
    option("connections", Some(load.connections.to_string()));
    option("duration", Some(load.duration_s.to_string()));
    option("grace", Some(GRACE_S.to_string()));
    option("requests", load.requests.map(|n| n.to_string()));
    option("body-bytes", load.body_bytes.map(|n| n.to_string()));
    option("rate", load.rate.map(|n| n.to_string()));
    option("ramp", load.ramp_s.map(|n| n.to_string()));
    option("events", load.events.map(|n| n.to_string()));
    for (name, wanted) in [("--stream", load.stream), ("--hold", load.hold)] {
        if wanted {
            args.push(name.to_owned());
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_gets_the_load_and_never_the_key() {
        let load = Load {
            connections: 500,
            duration_s: 6.0,
            body_bytes: Some(800),
            ramp_s: Some(0.5),
            stream: true,
            events: Some(100),
            ..Load::default()
        };
        let aim = Aim { url: "http://127.0.0.1:1/x".to_owned(), model: "m".to_owned(), key: Some("secret".to_owned()) };
        let line = drive_args(&load, &aim, 1).join(" ");
        assert_eq!(
            line,
            "drive http://127.0.0.1:1/x --json --model m --pin 1 --connections 500 --duration 6 --grace 10 \
             --body-bytes 800 --ramp 0.5 --events 100 --stream"
        );
    }
}
