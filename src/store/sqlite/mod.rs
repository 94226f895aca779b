//! The store in one SQLite file.
//!
//! `open.rs` makes and opens the file, `schema.rs` brings it up to date, `writer.rs` and `reader.rs` run jobs over a
//! [`SqliteTx`](tx::SqliteTx); the other files answer one trait each. Times are kept to the millisecond. No value ever
//! becomes part of a statement's text: they are bound.

mod access;
mod alerts;
mod attempts;
mod audit;
mod backup;
mod columns;
mod decisions;
mod fault;
mod folding;
mod keys;
mod ledger;
mod limits;
mod notes;
mod open;
mod payloads;
mod people;
mod prices;
mod projects;
mod reader;
mod reprices;
mod requests;
mod rollups;
mod rules;
mod schema;
mod seals;
mod secrets;
mod select;
mod tx;
mod versions;
mod writer;

pub use rollups::OTHER_TAG;

pub(super) use open::{copy, open};
