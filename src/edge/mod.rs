//! TLS and HTTP/2 for clients, in front of the workers.
//!
//! A part of the chassis with threads of its own. It ends TLS; what happens inside depends on the protocol agreed on. The
//! bytes of HTTP/1.1 go to a worker as they are ([`tunnel`]): there is no second parser that could read them differently.
//! Each stream of HTTP/2 ([`streams`]) becomes one request of HTTP/1.1 by Pingora's proxy ([`downgrade`]). Either way a connection to a
//! worker serves one client, begins with who that is ([`hop`]), and is treated by the worker like any other.
//!
//! The edge holds no keys of clients, no configuration and no counters. Where it fails, plain HTTP goes on.

mod addresses;
mod certificates;
mod connection;
mod downgrade;
mod frames;
mod hop;
mod listen;
mod plan;
mod streams;
mod tunnel;

use async_trait::async_trait;
use pingora_core::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};

use crate::base::log::{Level, Value, emit};

pub use certificates::{CertificateError, CertificateStamp, Certificates, Pair};
pub use plan::{Limits, Plan};

/// The part of the chassis that faces clients of TLS.
pub struct Edge {
    threads: usize,
    plan: Option<Plan>,
}

impl Edge {
    /// Makes the part. It accepts connections when the chassis starts it.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { threads: plan.threads, plan: Some(plan) }
    }
}

#[async_trait]
impl ServiceWithDependents for Edge {
    async fn start_service(
        &mut self,
        _inherited: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        _ready: ServiceReadyNotifier,
    ) {
        let Some(plan) = self.plan.take() else { return };
        if let Err(error) = listen::run(plan).await {
            let text = error.to_string();
            emit(
                Level::Error,
                "the edge cannot accept connections; plain HTTP goes on",
                &[("error", Value::Text(&text))],
            );
        }
    }

    fn name(&self) -> &str {
        "edge"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}
