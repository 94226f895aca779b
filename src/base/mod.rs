//! Units, clock, secrets and keys: imports nothing of ours.
//!
//! What every other row may use. Nothing here knows HTTP, YAML or projects.

mod build;
mod caller;
mod cidr;
mod clock;
mod decimal;
mod digest;
mod fast_map;
mod fee;
mod finish;
mod hex;
mod http_date;
mod id;
mod instant;
mod json_line;
mod key;
mod key_hasher;
mod labels;
pub mod log;
mod memory;
mod money;
#[cfg(test)]
mod recorded;
mod request_id;
mod secret;
mod stream_end;
mod swap;
mod tenure;
mod turns;
mod units;
mod words;

pub use build::{COMMIT, FEATURES, VERSION};
pub use caller::{Caller, Charge, Moving};
pub use cidr::{Cidr, CidrError};
#[cfg(test)]
pub(crate) use clock::frozen;
pub use clock::{Civil, UnixTime, now, unix_time};
pub use decimal::Decimal;
pub use digest::{Digest, DigestError};
pub use fast_map::{FastHash, FastMap};
pub use fee::{FeeRate, FeeRateError};
pub use finish::Finish;
pub use hex::hex16;
pub use id::{Id, IdKind, push_random};
pub use instant::Instant;
pub use json_line::{JsonLine, TEXT_BYTES_MAX};
pub use key::{KeyFormError, Kind as KeyKind, generate_key, key_id, renew_key, verify_key_form};
pub use key_hasher::KeyHasher;
pub use labels::{Labels, TokenCounts};
pub use memory::{Idle, Rest, Settler, return_free_memory};
pub use money::{MoneyError, NanoUsd, PicoUsd};
#[cfg(test)]
pub(crate) use recorded::recorded_lines;
pub use request_id::{REQUEST_ID_BYTES_MAX, RequestId};
pub use secret::Secret;
pub use stream_end::{OnCancel, OnExhausted};
pub use swap::Swap;
pub use tenure::Tenure;
pub use turns::{TURN_BYTES, Turns, at_once, yield_now};
pub use units::{ByteSize, UnitError, parse_byte_size, parse_duration};
pub(crate) use words::words;
