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
    /// No form, or one that two readers could read differently.
    Form(FormFault),
    /// JSON, but not an object.
    NotAnObject,
    /// `model` is missing.
    ModelMissing,
    /// `file` is missing.
    FileMissing,
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

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// Something stands before the first delimiter.
    #[error("it must begin with its boundary")]
    Start,
    /// The boundary stands where it delimits nothing, or is followed by something.
    #[error("its boundary stands where it delimits nothing")]
    Delimiter,
    /// No last delimiter.
    #[error("it ends before its last boundary")]
    End,
    /// Something stands behind the last delimiter.
    #[error("something stands behind its last boundary")]
    Trailing,
    /// A line of a part's head is none, or stands twice.
    #[error("the head of a part is malformed")]
    Head,
    /// The head of a part is too long.
    #[error("the head of a part is too long")]
    HeadBytes,
    /// Not one plain name.
    #[error("a part needs one `content-disposition: form-data` with one plain `name`")]
    Disposition,
    /// A part is encoded.
    #[error("a part must not be encoded")]
    Encoding,
    /// A field that would change how text is read.
    #[error("`_charset_` is not accepted; fields are UTF-8")]
    Charset,
    /// Too many parts.
    #[error("it has too many parts")]
    Parts,
    /// Too much text beside the file.
    #[error("its fields are too long")]
    TextBytes,
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
            BodyFault::Json(_) | BodyFault::NotAnObject | BodyFault::Form(_) => None,
            BodyFault::FileMissing => Some("file"),
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
            BodyFault::Form(fault) => write!(f, "the form is malformed: {fault}")?,
            BodyFault::FileMissing => return write!(f, "`file` is missing"),
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
