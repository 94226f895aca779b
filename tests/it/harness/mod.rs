//! The real gateway, the scripted provider and a raw client.
//!
//! Processes are killed when their handle drops, each has a directory of its own, and everything has a deadline.

mod client;
mod gateway;
mod mock;
mod process;
mod tls;

pub(crate) use client::{Client, Reply, chat, chat_with};
pub(crate) use gateway::{Gateway, KEY, Settings, project};
pub(crate) use mock::Mock;
pub(crate) use process::{DEADLINE, eventually};
pub(crate) use tls::{Identity, NAME, TlsStream};
