//! An HTTP/1.1 server that plays scripted answers.
//!
//! The mock provider and the replay of recorded traffic share it. A request becomes a [`Plan`], which is a
//! list of [`Step`]s: writes, waits and ways to end. Deciding is a plain function, so it is tested without
//! sockets; only the player touches the network. It must stay cheap, since it is the peer in measurements,
//! and it must be able to break every rule of HTTP, since faults are its purpose.

mod admin;
#[cfg(test)]
mod client;
mod connection;
mod delay;
mod listen;
mod openai;
mod plan;
mod play;
mod request;
mod split;
mod truth;

pub(crate) use admin::reply;
#[cfg(test)]
pub(crate) use client::{Answer, Client, Ended};
pub(crate) use delay::Delay;
#[cfg(test)]
pub(crate) use listen::{IoDriver, for_tests, for_tests_on};
pub(crate) use listen::{ListenArgs, start, wait_for_signal};
pub(crate) use openai::{Endpoint, Fields};
pub(crate) use plan::{After, Digits, EventRun, Handler, Plan, Seat, Step, chunk, head};
#[cfg(test)]
pub(crate) use play::now_us;
pub(crate) use request::Request;
pub(crate) use split::{Split, split_randomly};
pub(crate) use truth::sha256_hex;
