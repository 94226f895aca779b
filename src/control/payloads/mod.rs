//! What requests and answers said, for projects that keep it.
//!
//! Off unless a project or its organization says so. Workers copy what is kept into a bounded room and hand it over with the
//! record of the request; [`Payloads`] takes secrets out, seals it under the key of its project and stores it, beside the
//! book of usage and never in its way. Nothing of it is written anywhere in clear. Retention forgets payloads with the rows
//! of their requests; a deleted project takes its key along.

mod cipher;
mod joined;
mod keeper;
mod read;
mod redact;
mod switch;
#[cfg(test)]
mod tests;

pub use cipher::PayloadText;
pub(in crate::control) use cipher::place_of_payload_key;
pub use keeper::{Payloads, keep_payloads};
