//! What the admin server is told by the rest of the process.

use std::sync::Arc;

use crate::control::Keeper;
use crate::limit::Meters;
use crate::metrics::Registry;
use crate::usage::Queue;

use super::output::Output;
use super::rest::Api;

/// What the admin server reads from the rest of the process.
pub struct AdminState {
    /// All metrics; its worker blocks also tell `/livez` which worker is alive.
    pub registry: Arc<Registry>,
    /// Usage records on their way, for their depth.
    pub queue: Arc<Queue>,
    /// The counters of limits, for how far they were passed.
    pub meters: Arc<Meters>,
    /// The book of usage; none where nothing is stored.
    pub keeper: Option<Arc<Keeper>>,
    /// Where log lines go, for how many were lost.
    pub output: Arc<Output>,
    /// Asked by `/readyz`; must not block.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// Names accepted in `Host` besides the loopback names and the address that was connected to, without port. Lower case.
    pub hosts: Vec<String>,
    /// The API over the control plane; none where nothing is stored.
    pub api: Option<Arc<Api>>,
}

/// Whether the process can serve, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Whether clients may be sent here.
    pub ready: bool,
    /// What was looked at; shown by `/readyz?verbose`. A failed check does not make `ready` false by itself.
    pub checks: Vec<Check>,
}

/// One thing that was looked at for [`Readiness`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is, such as `worker 0` or `project support`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Why not, or more about it; may be empty. Never a secret.
    pub message: String,
}
