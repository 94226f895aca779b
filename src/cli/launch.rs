//! From flags and files to a running gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use millrace::base::Secret;
use millrace::config::Server;
use millrace::snapshot::{Refusal, Sources};

use super::args::ServeArgs;
use super::load::{Loaded, load};
use super::print::report_problems;
use super::{REFUSED, WRONG_USAGE};

/// Reads the sources again, for a reload. Problems leave the served configuration as it is.
pub(crate) type Reload = Box<dyn Fn() -> Result<Sources, Vec<Refusal>> + Send>;

/// Everything a gateway is started with.
#[expect(dead_code, reason = "read by the server, which is not part of this build yet")]
pub(crate) struct Launch {
    /// The settings, with flags and variables applied and paths resolved.
    pub(crate) server: Server,
    /// Projects, keys and secrets, checked but not compiled.
    pub(crate) sources: Sources,
    /// How to read the sources again; none when they come from memory.
    pub(crate) reload: Option<Reload>,
    /// The key to print, for the demo.
    pub(crate) demo_key: Option<Secret>,
}

/// `millrace serve`.
pub(crate) fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let Loaded { mut server, sources, warnings } = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(refusals) => {
            report_problems(refusals.iter().map(|refusal| (refusal.file.as_str(), &refusal.problem)));
            return Ok(ExitCode::from(REFUSED));
        }
    };
    report_problems(warnings.iter().map(|refusal| (refusal.file.as_str(), &refusal.problem)));
    args.overrides.apply(&mut server);
    if let Some(folder) = args.data_dir {
        server.data_dir = folder;
    }
    let path: PathBuf = args.config;
    let reload: Reload = Box::new(move || {
        let loaded = load(&path)?;
        Ok(loaded.sources)
    });
    start(Launch { server, sources, reload: Some(reload), demo_key: None })
}

/// Starts the gateway and returns when it has stopped.
pub(crate) fn start(launch: Launch) -> anyhow::Result<ExitCode> {
    if let Err(error) = launch.server.check_listeners() {
        super::print::report(&error.into());
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    // The call of the server stands here as soon as there is one.
    bail!("this build cannot serve yet")
}
