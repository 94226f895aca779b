//! A gateway under test: its file, its config, its processes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::process::{LOOK_EVERY, Process, output_to};
use super::yaml;

/// Time a gateway has until it accepts connections; 50 times longer under valgrind.
const READY_TIME_MAX: Duration = Duration::from_secs(20);
/// Time a gateway has to end.
const END_TIME_MAX: Duration = Duration::from_secs(30);
/// Sockets beside those of clients and the provider.
const SOCKETS_SPARE: usize = 128;
/// Bytes of a gateway's output that an error shows.
const OUTPUT_BYTES_SHOWN: usize = 2_000;

/// A gateway file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    /// Name, as the file's.
    pub(crate) name: String,
    /// Program: a name in `PATH` or a path from the folder the command runs in.
    pub(crate) binary: String,
    /// Arguments, with placeholders.
    pub(crate) args: Vec<String>,
    /// Arguments under callgrind, where a program needs others. Default: `args`.
    #[serde(default)]
    pub(crate) callgrind_args: Option<Vec<String>>,
    /// Environment, with placeholders.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Config files: the name in the run's folder and the template beside this file.
    pub(crate) files: BTreeMap<String, String>,
    /// Arguments that print the version.
    pub(crate) version_args: Vec<String>,
    /// Path of chat completions. Default: `/v1/chat/completions`.
    #[serde(default = "path_default")]
    pub(crate) path: String,
    /// Value of `model`, with `{model}` for the mock's. Default: `{model}`.
    #[serde(default = "model_default")]
    pub(crate) model: String,
    /// Bearer key, where one is checked.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Whether it checks the key, and what else it does that a plain proxy does not.
    pub(crate) does: String,
    /// Folder of the file.
    #[serde(skip)]
    folder: PathBuf,
}

fn path_default() -> String {
    "/v1/chat/completions".to_owned()
}

fn model_default() -> String {
    "{model}".to_owned()
}

/// What a scenario asks of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Address of the provider.
    pub(crate) upstream: SocketAddr,
    /// Worker threads or processes.
    pub(crate) workers: usize,
    /// Model of the mock.
    pub(crate) model: String,
    /// Whether answers are streams.
    pub(crate) stream: bool,
    /// Client connections that it must take at once.
    pub(crate) connections: usize,
    /// CPU of the gateway.
    pub(crate) core: usize,
    /// CPU of everything else.
    pub(crate) load_core: usize,
}

/// A gateway that runs.
pub(crate) struct Running {
    /// Its file.
    pub(crate) gateway: Gateway,
    /// Value of `model` in requests to it.
    pub(crate) model: String,
    /// Its process tree.
    pub(crate) process: Process,
    listen: SocketAddr,
    folder: PathBuf,
}

/// Reads a gateway file.
///
/// # Errors
/// The file cannot be read or has the wrong form.
pub(crate) fn read(folder: &Path, name: &str) -> anyhow::Result<Gateway> {
    let path = folder.join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut gateway: Gateway = yaml::read(&text).with_context(|| path.display().to_string())?;
    if gateway.name != name {
        bail!("{}: its name is `{}`", path.display(), gateway.name);
    }
    gateway.folder = folder.to_path_buf();
    Ok(gateway)
}

/// Replaces `{name}` by its value; other braces stay, for config files have their own.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// Finds a port that is free now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Gateway {
    /// Path of the program; `None` when it is not installed.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        if self.binary.contains('/') {
            let path = PathBuf::from(&self.binary);
            return path.exists().then_some(path);
        }
        let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        folders.push(PathBuf::from("/usr/sbin"));
        folders.into_iter().map(|folder| folder.join(&self.binary)).find(|path| path.exists())
    }

    /// First line of what the program says its version is.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(self.program()?).args(&self.version_args).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().next().map(str::to_owned)
    }

    /// Starts the gateway and waits until it accepts connections; `wrapper` stands before the program.
    ///
    /// # Errors
    /// It is not installed, ends early or does not listen in time; its output is in the message.
    pub(crate) fn start(&self, setting: &Setting, wrapper: &[String], folder: PathBuf) -> anyhow::Result<Running> {
        let program = self.program().with_context(|| format!("`{}` is not installed", self.binary))?;
        std::fs::create_dir_all(&folder)?;
        let (listen, admin) = (free_address()?, free_address()?);
        let values = placeholders(setting, listen, admin, &folder);
        for (name, template) in &self.files {
            let path = self.folder.join(template);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let target = folder.join(name);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(target, fill(&text, &values))?;
        }
        let args = match &self.callgrind_args {
            Some(args) if !wrapper.is_empty() => args,
            _ => &self.args,
        };
        let mut words = wrapper
            .iter()
            .cloned()
            .chain([program.to_string_lossy().into_owned()])
            .chain(args.iter().map(|arg| fill(arg, &values)));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.envs(self.env.iter().map(|(k, v)| (k, fill(v, &values))));
        let (out, err) = output_to(&folder.join("output.log"))?;
        command.stdout(out).stderr(err);
        let mut running = Running {
            gateway: self.clone(),
            model: fill(&self.model, &values),
            process: Process::start(&mut command, setting.core, setting.load_core)?,
            listen,
            folder,
        };
        let patience = if wrapper.is_empty() { 1 } else { 50 };
        running.wait_ready(READY_TIME_MAX * patience)?;
        Ok(running)
    }
}

fn placeholders(
    setting: &Setting,
    listen: SocketAddr,
    admin: SocketAddr,
    folder: &Path,
) -> Vec<(&'static str, String)> {
    vec![
        ("listen", listen.to_string()),
        ("port", listen.port().to_string()),
        ("admin", admin.to_string()),
        ("upstream", setting.upstream.to_string()),
        ("upstream_port", setting.upstream.port().to_string()),
        ("workers", setting.workers.to_string()),
        ("connections", setting.connections.to_string()),
        ("sockets", (setting.connections * 2 + SOCKETS_SPARE).to_string()),
        ("model", setting.model.clone()),
        ("buffering", if setting.stream { "off" } else { "on" }.to_owned()),
        ("no_unless_stream", if setting.stream { "" } else { "no " }.to_owned()),
        ("dir", folder.to_string_lossy().into_owned()),
    ]
}

impl Running {
    /// Address of chat completions.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.listen, self.gateway.path)
    }

    /// Folder with its config and output.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Last lines of what it printed.
    pub(crate) fn output(&self) -> String {
        let text = std::fs::read(self.folder.join("output.log")).unwrap_or_default();
        let from = text.len().saturating_sub(OUTPUT_BYTES_SHOWN);
        String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
    }

    /// Ends it as an operator would.
    ///
    /// # Errors
    /// It does not end in time.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.process.end(Signal::SIGTERM, END_TIME_MAX)
    }

    fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect_timeout(&self.listen, limit).is_err() {
            if !self.process.is_running() || Instant::now() > deadline {
                bail!("`{}` does not listen on {}; it said:\n{}", self.gateway.name, self.listen, self.output());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_braces_kept() {
        let values = [("listen", "127.0.0.1:1".to_owned()), ("port", "1".to_owned())];
        assert_eq!(
            fill("server { listen {listen}; x {port} {other} }", &values),
            "server { listen 127.0.0.1:1; x 1 {other} }"
        );
    }

    #[test]
    fn every_gateway_of_the_repository_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateways");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "yaml") {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let gateway = read(&folder, &name).unwrap();
                for template in gateway.files.values() {
                    assert!(folder.join(template).exists(), "{name}: {template}");
                }
                names.push(name);
            }
        }
        names.sort();
        assert_eq!(names, ["haproxy", "millrace", "millrace-governed", "nginx"]);
    }
}
