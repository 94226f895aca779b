//! Dialects of providers: bytes to bytes, no sockets.
//!
//! A closed set. Today every provider here speaks the OpenAI wire; they differ in address and in when they state usage.

mod mock;
mod openai;

pub use mock::{Draw, Mock, MockStream};
pub use openai::{HeadTextError, asks_usage, request_head};
