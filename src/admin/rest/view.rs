//! Values that many views share.

use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::operation::text;
use crate::base::{Id, UnixTime};

/// A time, as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub UnixTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        RefOr::T(text().format(Some(format)).description(Some("RFC 3339, UTC, with milliseconds.")).build().into())
    }
}

impl ToSchema for Time {}

impl From<UnixTime> for Time {
    fn from(time: UnixTime) -> Self {
        Self(time)
    }
}

/// An id of an object; `system` where the process itself did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdText(pub Id);

impl Serialize for IdText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl PartialSchema for IdText {
    fn schema() -> RefOr<Schema> {
        RefOr::T(text().pattern(Some("^([a-z]{2,3}_[0-9A-Za-z]{20}|system)$")).build().into())
    }
}

impl ToSchema for IdText {}

impl From<Id> for IdText {
    fn from(id: Id) -> Self {
        Self(id)
    }
}
