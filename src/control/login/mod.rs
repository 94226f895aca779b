//! Who may enter: passwords, sessions, tokens, the first start.
//!
//! Nothing here is faster for an unknown name than for a known one, and no default password exists: the first start makes
//! a set-up token, or takes a token from its environment.

mod authenticate;
mod password;
mod session;
mod throttle;
mod token;

pub use authenticate::Credentials;
pub use session::Login;
pub use token::NewToken;

pub(super) use authenticate::digest_of;
pub(super) use password::Passwords;
pub(super) use session::{checked_email, first_organization};
pub(super) use throttle::Throttle;
pub(super) use token::hold_at_least;

/// Note that names the organization `default`, which exists from the start.
pub(super) const FIRST_ORGANIZATION_NOTE: &str = "first_organization";
