//! What this build is: version, commit, features.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit it was built from, or `unknown`.
pub const COMMIT: &str = match option_env!("MILLRACE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// What it was built with, sorted.
pub const FEATURES: [&str; 3] = ["epoll", "io_uring", "tls-rustls"];
