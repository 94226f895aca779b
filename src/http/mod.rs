//! Strict HTTP/1.1, server and client, and their runtime.
//!
//! Heads, framing, deadlines and buffers. Nothing here knows projects, models or JSON. The rules are those of RFC 9112,
//! with every lenience that has led to request smuggling taken out.

mod buffer;
mod chunk;
mod deadline;
mod downstream;
mod head;
mod lines;
mod preamble;
mod response;
mod runtime;
mod socket;
mod stream;
mod tls;
mod upstream;

pub use buffer::{Buffer, CHUNK_END, Framed, LAST_CHUNK, drop_free_buffers, trim_free_buffers};
pub use chunk::{ChunkDecoder, ChunkError, Step};
pub use deadline::{Deadline, Expired, Handle, TICK, interrupt_all, interrupt_idle, interrupt_over, sweep};
pub use downstream::{BodyKind, Downstream, DownstreamLimits, Gone, NoBody, NoHead};
pub use head::{FIELDS_CEILING, Framing, HeadError, HeadLimits, Method, Part, RequestHead, parse_request};
pub use lines::{find_end, leading_blank};
pub use preamble::{PREAMBLE_BYTES_MAX, PREAMBLE_HEAD_BYTES, Preamble, PreambleError};
pub use response::{Coding, Content, ResponseError, ResponseHead, parse_response};
pub use runtime::{Elapsed, block_on, block_on_io_uring, has_io_uring, sleep, spawn, timeout};
pub use socket::Socket;
pub use stream::Stream;
pub use tls::{RootsError, ServerName, TlsConnector, TlsStream};
pub use upstream::{Cut, Upstream};
