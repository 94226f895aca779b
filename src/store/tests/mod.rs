//! What every store must do, whatever database carries it.
//!
//! Each file holds one family of records, or one promise of the handle.

mod access;
mod audit;
mod damage;
mod fixture;
mod handle;
mod keys;
mod limits;
mod notes;
mod open;
mod people;
mod projects;
mod requests;
mod rules;
mod secrets;
mod versions;
