//! Histories that once failed.
