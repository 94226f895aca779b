//! Exact token counts, for requests that are near a limit.
//!
//! Admission reserves a token for each byte of a body, which is never too little and mostly four times too much. Where that
//! alone makes a limit refuse, the tokens are counted: by the provider's own table, on a thread of its own that starts with
//! the first such request. What comes out is still a bound: what a provider adds to the text is in it ([`Counting`]).
//!
//! Nothing here is on the way of other requests. Tables are built when they are needed and let go when nobody has needed
//! them for a while.

mod bound;
#[cfg(test)]
mod corpus_tests;
mod counter;
mod encoding;
mod table;

pub use counter::{Counter, Counting};
pub use encoding::Encoding;
