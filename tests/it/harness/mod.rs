//! The real gateway, the scripted provider and a raw client.
//!
//! Processes are killed when their handle drops, each has a directory of its own, and everything has a deadline.

mod black_hole;
mod client;
mod gateway;
mod holding;
mod mock;
mod names;
mod process;
mod strace;
mod tls;
mod tls_client;

pub(crate) use black_hole::BlackHole;
pub(crate) use client::{Client, Reply, chat, chat_with, post};
pub(crate) use gateway::{Gateway, KEY, OPERATOR, Settings, program, project};
pub(crate) use holding::Holding;
pub(crate) use mock::Mock;
pub(crate) use names::{NameServer, Says};
pub(crate) use process::{DEADLINE, eventually};
pub(crate) use strace::{Tracer, may_trace};
pub(crate) use tls::{Authority, Seen, TlsProvider};

/// A whole plain answer of a provider.
pub(crate) const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"any","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
pub(crate) use tls_client::{Identity, NAME, TlsStream};
