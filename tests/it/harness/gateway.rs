//! The gateway as a process: demo, file mode, metrics.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::process::{DEADLINE, Process, eventually};

/// The key that every gateway of these tests knows; its check characters hold.
pub(crate) const KEY: &str = "mr_test_000000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA359g7Y";

/// The first operator's token in store mode.
pub(crate) const OPERATOR: &str = "mr_admin_00000000000000000000000000000000";

/// What a file-mode gateway is started with.
#[derive(Default)]
pub(crate) struct Settings {
    /// Lines for the server file beside the listeners, folders and egress.
    pub(crate) server_lines: String,
    /// Slug and text of each project file.
    pub(crate) projects: Vec<(String, String)>,
    /// Name and text of more files beside the server file, readable by their owner only.
    pub(crate) files: Vec<(String, String)>,
    /// Ports on 127.0.0.1 where upstreams listen.
    pub(crate) ports: Vec<u16>,
    /// Number of workers, 1 unless said.
    pub(crate) workers: Option<u16>,
}

impl Settings {
    /// One project `demo`; `upstream` is the only address that it may call.
    pub(crate) fn demo(project: String, upstream: SocketAddr) -> Self {
        Self { projects: vec![("demo".to_owned(), project)], ports: vec![upstream.port()], ..Self::default() }
    }
}

/// A project with one route for each model of the provider at `upstream`; the routes are called `r0`, `r1` and so on.
pub(crate) fn project(models: &[&str], upstream: SocketAddr, more_lines: &str) -> String {
    let mut text = "chat_models:\n".to_owned();
    for (index, model) in models.iter().enumerate() {
        writeln!(text, "  - model_id: m{index}\n    model: \"openai/{model}\"").unwrap();
        writeln!(text, "    credentials: {{base_url: \"http://{upstream}/v1\"}}").unwrap();
        for line in more_lines.lines() {
            writeln!(text, "    {line}").unwrap();
        }
    }
    text.push_str("routes:\n");
    for index in 0..models.len() {
        writeln!(text, "  r{index}: {{chat_models: [m{index}]}}").unwrap();
    }
    text
}

/// A running gateway.
pub(crate) struct Gateway {
    /// The data plane.
    pub(crate) address: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    process: Process,
    folder: TempDir,
    /// The first operator's token.
    operator: String,
}

impl Gateway {
    /// `millrace demo` with the built-in mock provider.
    pub(crate) fn demo(workers: u16) -> Self {
        Self::demo_with(workers, &[])
    }

    /// `millrace demo` with more arguments.
    pub(crate) fn demo_with(workers: u16, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program(folder.path());
        command
            .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--key", KEY, "--workers", &workers.to_string()])
            .args(args);
        Self::start(command, folder)
    }

    /// `millrace serve -c FILE` over files in a directory of its own.
    pub(crate) fn serve(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir(at.join("projects")).unwrap();
        let mut slugs = Vec::new();
        for (slug, text) in &settings.projects {
            fs::write(at.join(format!("projects/{slug}.yaml")), text).unwrap();
            slugs.push(slug.as_str());
        }
        for (name, text) in &settings.files {
            write_private(&at.join(name), text);
        }
        write_private(&at.join("keys.yaml"), &keys_file(&slugs));
        write_private(&at.join("millrace.yaml"), &server_file(at, settings));
        let mut command = program(at);
        command.arg("serve").arg("-c").arg(at.join("millrace.yaml"));
        Self::start(command, folder)
    }

    /// The demo, in a shell that would let it leave a core dump.
    pub(crate) fn demo_without_limit_of_cores() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let serve = program(folder.path());
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""])
            .arg(serve.get_program())
            .current_dir(folder.path());
        command.args([
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--key",
            KEY,
            "--workers",
            "1",
        ]);
        Self::start(command, folder)
    }

    /// `millrace serve` without files of projects: what is served is kept in this folder and changed by the admin API.
    pub(crate) fn stored(folder: TempDir, workers: u16) -> Self {
        Self::stored_by(folder, workers, ("", &[("MILLRACE_ADMIN_TOKEN", OPERATOR)]))
    }

    /// As [`Self::stored`], with more lines in its settings.
    pub(crate) fn stored_with(folder: TempDir, workers: u16, more_lines: &str) -> Self {
        Self::stored_by(folder, workers, (more_lines, &[("MILLRACE_ADMIN_TOKEN", OPERATOR)]))
    }

    /// As [`Self::stored`], with two workers, another token of the first operator and these variables.
    pub(crate) fn stored_as(folder: TempDir, operator: &str, variables: &[(&str, &str)]) -> Self {
        Self { operator: operator.to_owned(), ..Self::stored_by(folder, 2, ("", variables)) }
    }

    fn stored_by(folder: TempDir, workers: u16, (more_lines, variables): (&str, &[(&str, &str)])) -> Self {
        let at = folder.path();
        let mut text = format!("listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\ndata_dir: stored\n{more_lines}");
        writeln!(text, "runtime: {{workers: {workers}}}").unwrap();
        text.push_str(
            "limits: {admin_reads_per_minute: 1000000, admin_writes_per_minute: 1000000, \
             max_connections_per_address: 2000}\n",
        );
        write_private(&at.join("millrace.yaml"), &text);
        let mut command = program(at);
        command.arg("serve").arg("-c").arg(at.join("millrace.yaml")).envs(variables.iter().copied());
        Self::start(command, folder)
    }

    /// As [`Self::stored`], for these projects as files: the API shows them.
    pub(crate) fn of_files(folder: TempDir, projects: &[(&str, &str)]) -> Self {
        let at = folder.path();
        fs::create_dir(at.join("projects")).unwrap();
        for (slug, text) in projects {
            fs::write(at.join(format!("projects/{slug}.yaml")), text).unwrap();
        }
        let settings = Settings { server_lines: "data_dir: stored\n".to_owned(), ..Settings::default() };
        write_private(&at.join("keys.yaml"), &keys_file(&projects.iter().map(|(slug, _)| *slug).collect::<Vec<_>>()));
        write_private(&at.join("millrace.yaml"), &server_file(at, &settings));
        let mut command = program(at);
        command.arg("serve").arg("-c").arg(at.join("millrace.yaml")).env("MILLRACE_ADMIN_TOKEN", OPERATOR);
        Self::start(command, folder)
    }

    /// Ends it by SIGTERM and returns what it leaves.
    pub(crate) fn ended(mut self) -> TempDir {
        self.signal(Signal::SIGTERM);
        let status = self.wait(DEADLINE);
        assert!(status.success(), "{status}");
        self.folder
    }

    /// Ends it by SIGKILL, unless it has ended, and returns what it leaves.
    pub(crate) fn killed(self) -> TempDir {
        let Self { process, folder, .. } = self;
        drop(process);
        folder
    }

    /// The same store in a new process, after [`Self::killed`].
    pub(crate) fn again(self, workers: u16) -> Self {
        Self::stored(self.killed(), workers)
    }

    /// The organization that exists from the start.
    pub(crate) fn organization(&self) -> String {
        let reply = self.admin("GET", "/organizations", &[], "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Creates a project in it and returns the project's id.
    pub(crate) fn make_project(&self, organization: &str, name: &str) -> String {
        let body = format!("{{\"name\":\"{name}\"}}");
        let reply = self.admin("POST", &format!("/organizations/{organization}/projects"), &[], &body);
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// What it has written to its standard error so far.
    pub(crate) fn stderr_text(&self) -> String {
        self.process.stderr_text()
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One request of the first operator to the admin API.
    pub(crate) fn admin(&self, method: &str, path: &str, extra: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\n");
        write!(head, "authorization: Bearer {}\r\nconnection: close\r\n", self.operator).unwrap();
        for (name, value) in extra {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let kind = if extra.iter().any(|(name, _)| *name == "content-type") || body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\n"
        };
        write!(head, "{kind}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut client = Client::connect(self.admin);
        client.send(head.as_bytes());
        client.read().expect("an answer of the admin API")
    }

    fn start(command: Command, folder: TempDir) -> Self {
        let mut process = Process::start(command, folder.path());
        let address = process.address_after("listening on http://");
        let admin = process.address_after("admin on http://");
        Self { address, admin, process, folder, operator: OPERATOR.to_owned() }
    }

    /// Where it offers TLS.
    pub(crate) fn edge(&mut self) -> SocketAddr {
        self.process.address_after("edge on https://")
    }

    /// A new connection to the data plane.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Reply {
        let mut client = self.client();
        client.send(request);
        client.read().expect("an answer")
    }

    /// Sum of all series of `name` whose labels contain `label`; `None` when there is none.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let values: Vec<f64> = self.series(name, label).into_iter().map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Every series of `name` whose labels contain `label`.
    pub(crate) fn series(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut client = Client::connect(self.admin);
        client.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let reply = client.read().expect("metrics");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let pick = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(name)?;
            let whole = labels.is_empty() || labels.starts_with('{');
            (whole && labels.contains(label)).then(|| (labels.to_owned(), value.parse().unwrap()))
        };
        reply.text().lines().filter(|line| !line.starts_with('#')).filter_map(pick).collect()
    }

    /// Waits until no request is in flight; what every test ends with.
    pub(crate) fn assert_idle(&self) {
        let idle = eventually(DEADLINE, || self.metric("millrace_inflight_requests", "") == Some(0.0));
        assert!(idle, "in flight: {:?}", self.series("millrace_inflight_requests", ""));
    }

    /// Lines of its log that were not yet asked for.
    pub(crate) fn printed(&mut self) -> Vec<String> {
        self.process.printed()
    }

    /// Replaces a project file by renaming, as editors and deployment tools do.
    pub(crate) fn write_project(&self, slug: &str, text: &str) {
        let projects = self.folder.path().join("projects");
        let next = self.folder.path().join("next.yaml");
        fs::write(&next, text).unwrap();
        fs::rename(&next, projects.join(format!("{slug}.yaml"))).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn wait(&mut self, at_most: Duration) -> ExitStatus {
        self.process.wait(at_most)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// Resident memory that is no file, in KiB.
    pub(crate) fn anonymous_kib(&self) -> u64 {
        self.status_kib("RssAnon:")
    }

    /// Most resident memory since the start, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// The executable under test, without a variable of the person who runs the tests.
pub(crate) fn program(folder: &Path) -> Command {
    let path = std::env::var_os("MILLRACE_BIN");
    let mut command = Command::new(path.unwrap_or_else(|| env!("CARGO_BIN_EXE_millrace").into()));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

fn server_file(at: &Path, settings: &Settings) -> String {
    let mut text = String::new();
    writeln!(text, "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0").unwrap();
    writeln!(text, "runtime: {{workers: {}}}", settings.workers.unwrap_or(1)).unwrap();
    writeln!(text, "projects_dir: {}", at.join("projects").display()).unwrap();
    writeln!(text, "keys_file: {}", at.join("keys.yaml").display()).unwrap();
    if !settings.ports.is_empty() {
        let once: BTreeSet<_> = settings.ports.iter().collect();
        let ports: Vec<_> = once.iter().map(|port| port.to_string()).collect();
        let list = ports.join(", ");
        writeln!(text, "egress:\n  allow:\n    - cidr: 127.0.0.1/32\n      ports: [{list}]").unwrap();
    }
    text.push_str(&settings.server_lines);
    text
}

fn keys_file(slugs: &[&str]) -> String {
    let mut digest = String::new();
    for byte in Sha256::digest(KEY.as_bytes()) {
        write!(digest, "{byte:02x}").unwrap();
    }
    format!("keys:\n  - id: tests\n    digest: \"sha256:{digest}\"\n    projects: [{}]\n", slugs.join(", "))
}

/// Keys and settings are refused when others may read them.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
