//! Start order and drain order of the process.
//!
//! Reads like a table of contents. [`run`] prepares the process, binds the listeners and gives two threads of control to
//! the chassis: the admin thread, which starts everything else, and the crew, which watches the workers. What the admin
//! thread does, from the guard to the last log line, stands in [`admin_thread`].

mod admin_thread;
mod attend;
mod chassis;
mod crew;
mod error;
mod ground;
mod resolution_log;
mod settings;
mod source;
mod store_mode;

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
    /// Called once with the addresses of the data plane and the admin plane, when requests are answered.
    pub ready: Ready,
}

/// Told the addresses of the data plane and the admin plane.
pub type Ready = Box<dyn FnOnce(SocketAddr, SocketAddr) + Send + Sync>;

/// Runs until a signal ends it.
///
/// # Errors
/// [`ServerError`].
pub fn run(launch: Launch) -> Result<(), ServerError> {
    prepare_process();
    set_level(log_level(&launch.server, |name| std::env::var(name).ok())?);
    let ground = Ground::prepare(&launch.server)?;
    let mut chassis = Chassis::new(&launch.server.data_dir);
    let (crew, orders) = crew::new();
    let (admin_thread, verdict) = AdminThread::new(launch, ground, orders);
    let admin = chassis.add(admin_thread);
    chassis.add_after(crew, &admin);
    chassis.run(verdict)
}
