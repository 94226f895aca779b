//! Why a client's body is refused.

use std::fmt;

use super::error::ErrorCase;
use super::json_place::{JsonFault, offset};
use super::request::MODEL_BYTES_MAX;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError {
    /// What is wrong.
    pub fault: BodyFault,
    /// Offset in the body at which it was noticed, in bytes.
    pub at: u32,
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// Not strict JSON, or nested or filled beyond the limits.
    Json(JsonFault),
    /// JSON, but not an object.
    NotAnObject,
    /// `model` is missing.
    ModelMissing,
    /// `model` is no string of the allowed form.
    ModelForm,
    /// The named field has a wrong type; what is expected follows.
    Type(&'static str, &'static str),
    /// The named field stands twice.
    Duplicate(&'static str),
    /// The named field is spelt with escapes or in other letter case.
    Spelling(&'static str),
    /// The named array has too many elements.
    TooMany(&'static str),
}

impl BodyError {
    pub(super) fn new(fault: BodyFault, at: usize) -> Self {
        Self { fault, at: offset(at) }
    }

    /// Gives the row of the error table.
    #[must_use]
    pub const fn case(self) -> ErrorCase {
        match self.fault {
            BodyFault::Json(_) | BodyFault::NotAnObject => ErrorCase::BadJson,
            BodyFault::Duplicate(_) => ErrorCase::DuplicateField,
            _ => ErrorCase::BadField,
        }
    }

    /// Names the field for `error.param`.
    #[must_use]
    pub const fn param(self) -> Option<&'static str> {
        match self.fault {
            BodyFault::Json(_) | BodyFault::NotAnObject => None,
            BodyFault::ModelMissing | BodyFault::ModelForm => Some("model"),
            BodyFault::Type(name, _)
            | BodyFault::Duplicate(name)
            | BodyFault::Spelling(name)
            | BodyFault::TooMany(name) => Some(name),
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            BodyFault::Json(fault) => write!(f, "the body is not valid JSON: {fault}")?,
            BodyFault::NotAnObject => write!(f, "the body must be a JSON object")?,
            BodyFault::ModelMissing => return write!(f, "`model` is missing"),
            BodyFault::ModelForm => write!(
                f,
                "`model` must be a string of 1 to {MODEL_BYTES_MAX} letters, digits and `.`, `_`, `/`, `-`, without escapes"
            )?,
            BodyFault::Type(name, want) => write!(f, "`{name}` must be {want}")?,
            BodyFault::Duplicate(name) => write!(f, "`{name}` stands twice")?,
            BodyFault::Spelling(name) => {
                write!(f, "`{name}` must be spelt exactly so, without escapes")?;
            }
            BodyFault::TooMany(name) => write!(f, "`{name}` has too many elements")?,
        }
        write!(f, " (at byte {})", self.at)
    }
}

impl std::error::Error for BodyError {}
