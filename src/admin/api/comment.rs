//! What a caller says about an action.

use serde::Deserialize;
use utoipa::ToSchema;

/// A comment; goes into history and audit log.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Comment {
    /// Why it is done.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    pub(super) comment: String,
}
