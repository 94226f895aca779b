//! Pingora's `Server` as the frame of the process, set safely.
//!
//! Pingora gives each part a runtime of one thread, starts them in order and holds the process until its end. Signals and
//! the drain are ours: Pingora's own way sleeps its whole grace time and cuts what is still open. It is told to stop only
//! when everything has drained, and then at once.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use pingora_core::{
    server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, configuration::ServerConf},
    services::{ServiceHandle, ServiceWithDependents},
};
use tokio::sync::oneshot;

use super::error::ServerError;

/// How the process ended, said once by the admin thread.
pub(super) type Verdict = Result<(), ServerError>;

/// The frame of the process.
pub(super) struct Chassis {
    server: Server,
}

impl Chassis {
    /// Makes a frame without parts.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { server: Server::new_with_opt_and_conf(None, conf(data_dir)) }
    }

    /// Adds a part with a thread of its own.
    pub(super) fn add(&mut self, part: impl ServiceWithDependents + 'static) -> ServiceHandle {
        self.server.add_service(part)
    }

    /// Adds a part that is started when another is ready.
    pub(super) fn add_after(
        &mut self,
        part: impl ServiceWithDependents + 'static,
        other: &ServiceHandle,
    ) -> ServiceHandle {
        let handle = self.add(part);
        handle.add_dependency(other);
        handle
    }

    /// Starts the parts and holds the calling thread until the verdict is there.
    ///
    /// # Errors
    /// The verdict's, or [`ServerError::AdminDied`] when none came.
    pub(super) fn run(self, verdict: oneshot::Receiver<Verdict>) -> Verdict {
        let said = Arc::new(OnceLock::new());
        let end = End { verdict: Mutex::new(Some(verdict)), said: Arc::clone(&said) };
        self.server.run(RunArgs { shutdown_signal: Box::new(end) });
        Arc::into_inner(said).and_then(OnceLock::into_inner).unwrap_or(Err(ServerError::AdminDied))
    }
}

/// The keys of Pingora's own settings that matter; nobody can set them from outside.
fn conf(data_dir: &Path) -> ServerConf {
    let inside = |name: &str| data_dir.join(name).display().to_string();
    ServerConf {
        daemon: false,
        error_log: None,
        // Not used: without the flags that Pingora's command line has it neither forks nor takes over descriptors. But
        // its defaults lie in the folder that all users share (threat T-62).
        pid_file: inside("millrace.pid"),
        upgrade_sock: inside("upgrade.sock"),
        // A thread a part. Parts that want more say so.
        threads: 1,
        work_stealing: true,
        max_blocking_threads: Some(4),
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        // Repeating a request is the decision of a worker.
        max_retries: 0,
        upstream_debug_ssl_keylog: false,
        ..ServerConf::default()
    }
}

/// Tells Pingora to stop when the verdict is there, or can never be there.
struct End {
    verdict: Mutex<Option<oneshot::Receiver<Verdict>>>,
    said: Arc<OnceLock<Verdict>>,
}

#[async_trait]
impl ShutdownSignalWatch for End {
    async fn recv(&self) -> ShutdownSignal {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(verdict) = verdict
            && let Ok(verdict) = verdict.await
        {
            // Empty until now: there is one verdict.
            let _ = self.said.set(verdict);
        }
        ShutdownSignal::FastShutdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Act = fn(oneshot::Sender<Verdict>);

    struct Part(Option<oneshot::Sender<Verdict>>, Act);

    #[async_trait]
    impl pingora_core::services::Service for Part {
        async fn start_service(
            &mut self,
            _: Option<pingora_core::server::ListenFds>,
            _: pingora_core::server::ShutdownWatch,
            _: usize,
        ) {
            if let Some(sender) = self.0.take() {
                (self.1)(sender);
            }
        }

        fn name(&self) -> &str {
            "part"
        }
    }

    #[test]
    fn run_ends_with_the_verdict_and_without_one_by_an_error() {
        for (name, act, want) in [
            ("good", (|sender| sender.send(Ok(())).unwrap()) as Act, "Ok(())"),
            ("bad", |sender| sender.send(Err(ServerError::WorkerDied)).unwrap(), "Err(WorkerDied)"),
            ("gone", drop, "Err(AdminDied)"),
        ] {
            let mut chassis = Chassis::new(Path::new("/nowhere"));
            let (sender, verdict) = oneshot::channel();
            chassis.add(Part(Some(sender), act));
            assert_eq!(format!("{:?}", chassis.run(verdict)), want, "{name}");
        }
    }

    #[test]
    fn nothing_of_pingora_lies_in_a_shared_folder() {
        let conf = conf(Path::new("/var/lib/millrace"));
        assert!(conf.pid_file.starts_with("/var/lib/millrace/") && conf.upgrade_sock.starts_with("/var/lib/millrace/"));
        assert_eq!((conf.daemon, conf.max_retries, conf.error_log), (false, 0, None));
    }
}
