//! Load generator, mock provider and comparisons for Millrace.
//!
//! Everything here talks to loopback only, bounded in time and count.

fn main() {}
