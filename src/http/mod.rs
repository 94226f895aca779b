//! Strict HTTP/1.1, server and client, over monoio.
//!
//! Heads, framing, deadlines and buffers. Nothing here knows projects, models or JSON. The rules are those of RFC 9112,
//! with every lenience that has led to request smuggling taken out.

mod buffer;
mod deadline;
mod socket;

pub use buffer::{Buffer, Framed, chunk_header};
pub use deadline::{Deadline, Expired, TICK, interrupt_all, interrupt_idle, sweep};
pub use socket::{Socket, set_epoll};
