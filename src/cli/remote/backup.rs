//! `millrace backup`: a copy of the store, also while in use.
//!
//! The copy is made from the file itself: no token is needed, nothing secret crosses the network, and it works when the
//! gateway does not. It needs the rights of the gateway's user on its machine.

use std::path::PathBuf;

use anyhow::Context as _;
use millrace::store::Store;

use super::args::BackupArgs;
use super::failure::Failure;
use crate::cli::documents::{read, settings};
use crate::cli::print::out;

/// Copies one state of the store into a new file.
pub(super) fn run(args: &BackupArgs) -> Result<(), Failure> {
    let store = folder(args)?.join("millrace.db");
    Store::copy(&store, &args.file).with_context(|| format!("cannot copy {}", store.display()))?;
    let said = format!(
        "copied {} to {}; keep the master key file elsewhere: without it the secrets in the copy cannot be opened\n",
        store.display(),
        args.file.display()
    );
    out(&said).map(drop).map_err(Failure::from)
}

/// The folder that was named, else that of the settings.
fn folder(args: &BackupArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.data_dir {
        return Ok(folder.clone());
    }
    let text = read(&args.config).map_err(|refusal| vec![refusal]);
    match text.and_then(|text| settings(&text, &args.config)) {
        Ok(settings) => Ok(settings.server.data_dir),
        Err(refusals) => {
            let lines: Vec<_> = refusals.iter().map(|refusal| refusal.problem.render(&refusal.file)).collect();
            Err(Failure::Usage(format!(
                "{}\ngive `--data-dir`, or `-c` with the settings of the gateway",
                lines.join("\n")
            )))
        }
    }
}
