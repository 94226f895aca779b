//! Tests of the whole folder, and long ones.
//!
//! Where a test reads recorded traffic it says how to get it and passes without: the recordings are not in the repository.

mod corpus;
mod edit;
mod error;
mod form;
mod json;
mod recorded;
mod request;
mod stream;
mod upstream_error;
