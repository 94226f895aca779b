//! The provider of the load generator, scripted or replayed.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::process::Process;

/// A running `loadtest mock` or `loadtest replay`.
pub(crate) struct Mock {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Mock {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with more arguments than its address.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        Self::run("mock", &args)
    }

    /// Serves the recorded exchanges in the folder `corpus`.
    pub(crate) fn replay(corpus: &Path) -> Self {
        Self::run("replay", &[OsStr::new("--corpus"), corpus.as_os_str()])
    }

    fn run(name: &str, args: &[&OsStr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.args([name, "--listen", "127.0.0.1:0"]).args(args);
        let mut process = Process::start(command, folder.path());
        let address = process.address_after("listening on ");
        Self { address, _process: process, _folder: folder }
    }
}

/// The built load generator: `LOADTEST_BIN`, else built once beside the gateway.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("LOADTEST_BIN") {
            return given.into();
        }
        let beside = PathBuf::from(env!("CARGO_BIN_EXE_millrace")).with_file_name("loadtest");
        let release = beside.parent().is_some_and(|folder| folder.ends_with("release"));
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-p", "loadtest"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if release {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "cannot build the load generator");
        beside
    })
}
