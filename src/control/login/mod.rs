//! Who may enter: passwords, sessions, tokens, the first start.
//!
//! Nothing here is faster for an unknown name than for a known one, and no default password exists: the first start makes
//! a set-up token, or takes a token from its environment.

mod account;
mod authenticate;
mod first_start;
mod password;
mod second_factor;
mod session;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod totp;

pub use account::Account;
pub use first_start::{FirstStart, prepare_first_start};
pub use second_factor::Offered;
pub use session::Login;
pub use token::NewToken;

pub(super) use authenticate::{digest_of, note_environment_owns};
pub(super) use first_start::first_organization;
pub(super) use password::Passwords;
pub(super) use second_factor::place as place_of_second_factor;
pub(super) use session::checked_email;
pub(super) use throttle::Throttle;
pub(super) use token::hold_at_least;
