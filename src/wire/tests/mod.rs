//! Tests of the folder as a whole, and those too long to stand beside their code.
//!
//! Where a test reads recorded traffic it says how to get it and passes without: the recordings are not in the repository.

mod corpus;
mod edit;
mod json;
mod recorded;
mod request;
mod stream;
mod upstream_error;
