//! Start order and drain order of the process.
//!
//! Reads like a table of contents. [`run`] prepares the process, binds the listeners and gives its parts to the
//! chassis: the admin thread, which starts everything else, the crew, which watches the workers, and the edge, where there
//! is one. What the admin thread does, from the guard to the last log line, stands in [`admin_thread`].

mod admin_thread;
mod attend;
mod book;
mod chassis;
mod crew;
mod edge;
mod error;
mod ground;
mod heartbeats;
mod resolution_log;
mod settings;
mod source;
mod store_mode;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::{base::log::set_level, config::Server};

pub use self::error::ServerError;
pub use self::settings::{egress_rules, ttl_bounds};
pub use self::source::Source;

use self::{
    admin_thread::AdminThread,
    chassis::Chassis,
    ground::Ground,
    settings::{log_level, prepare_process},
};

/// What is to run.
pub struct Launch {
    /// The settings of the process.
    pub server: Server,
    /// What it serves.
    pub source: Source,
    /// Called once, when requests are answered.
    pub ready: Ready,
}

/// Told where the process listens.
pub type Ready = Box<dyn FnOnce(Listening) + Send + Sync>;

/// Where the process listens; a port 0 of the settings is the one that the kernel chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The data plane.
    pub data: SocketAddr,
    /// The admin plane.
    pub admin: SocketAddr,
    /// TLS and HTTP/2, if offered.
    pub edge: Option<SocketAddr>,
}

/// Runs until a signal ends it.
///
/// # Errors
/// [`ServerError`].
pub fn run(launch: Launch) -> Result<(), ServerError> {
    prepare_process();
    set_level(log_level(&launch.server, |name| std::env::var(name).ok())?);
    let ground = Ground::prepare(&launch.server)?;
    let (edge, edge_handle) = edge::prepare(&launch.server, &ground)?.unzip();
    let mut chassis = Chassis::new(&launch.server.data_dir);
    let (crew, orders) = crew::new();
    let (admin_thread, verdict) = AdminThread::new(launch, ground, edge_handle, orders);
    let admin = chassis.add(admin_thread);
    let crew = chassis.add_after(crew, &admin);
    if let Some(edge) = edge {
        chassis.add_after(edge, &crew);
    }
    chassis.run(verdict)
}
