//! What every store must do, whatever database carries it.
//!
//! Each file holds one family of records, or one promise of the handle.

mod fixture;
mod people;
mod projects;
