//! What a list is asked for: filters, order, position.

use super::record::{Lifecycle, VersionState};
use crate::base::{Id, UnixTime};

/// Direction of a list over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

/// One page of a list, by time and id: no row is lost or shown twice when others come or go meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows at most, 1 to 100.
    pub limit: u32,
    /// The last row of the page before: its time in milliseconds, and its id or number as text.
    pub after: Option<(i64, String)>,
    /// The direction.
    pub order: Order,
}

/// Rows of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// Which projects are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectFilter {
    /// Only these; none is all.
    pub among: Option<Vec<Id>>,
    /// Only those of which something is served, or nothing.
    pub served: Option<bool>,
    /// Only this lifecycle; none is both.
    pub lifecycle: Option<Lifecycle>,
    /// Only this environment.
    pub environment: Option<String>,
    /// Only with this tag, and its value if one is given.
    pub tag: Option<(String, Option<String>)>,
    /// Only with this text in name, slug or description; taken literally.
    pub text: Option<String>,
}

/// Which versions are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VersionFilter {
    /// Only this state.
    pub state: Option<VersionState>,
    /// Only of this author.
    pub author: Option<Id>,
    /// Only from then on.
    pub since: Option<UnixTime>,
    /// Only before.
    pub until: Option<UnixTime>,
}

/// Which keys are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyFilter {
    /// Only of this creator.
    pub created_by: Option<Id>,
    /// Only this status.
    pub status: Option<super::record::KeyStatus>,
    /// Only of this group.
    pub group: Option<String>,
}

/// Which audit events are listed. Those of an organization include those of its projects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// Only of this organization.
    pub organization: Option<Id>,
    /// Only of this project.
    pub project: Option<Id>,
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only about this object.
    pub object: Option<String>,
    /// Only from the request with this id.
    pub request_id: Option<String>,
    /// Only from then on.
    pub since: Option<UnixTime>,
    /// Only before.
    pub until: Option<UnixTime>,
}
