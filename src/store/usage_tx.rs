//! What a transaction can do with roll-ups and requests.

use super::{
    query::{Page, PageRequest},
    record::{Dimension, RequestFilter, RequestRow, Rollup, Span, TagPlace, TagTally},
    tx::Outcome,
};
use crate::{
    base::{Id, UnixTime},
    usage::Record,
};

/// Roll-ups, by project, bucket and dimension.
pub trait Rollups {
    /// The number of a dimension, which is stored if it is new.
    fn dimension(&mut self, dimension: &Dimension) -> Outcome<i64>;
    /// Adds to the minute that holds a bucket, and to hour and day if that minute was folded into them already.
    fn add_rollup(&mut self, project: &str, rollup: &Rollup) -> Outcome<()>;
    /// Adds what was in minutes before a time to their hours and days, once; up to an hour of minutes and so many roll-ups
    /// in one call. True when there is more to fold.
    fn fold_rollups(&mut self, before: UnixTime, count: u32) -> Outcome<bool>;
    /// Adds to a tag of an hour; more values of a project's tags than are kept in an hour count under
    /// [`super::OTHER_TAG`].
    fn add_tag(&mut self, organization: &str, place: &TagPlace, tally: &TagTally) -> Outcome<()>;
    /// Calls `each` with the sums of a project from one time to before another, as [`Span::part_of`] keeps them.
    fn rollups(&self, project: &str, span: Span, between: (u64, u64), each: &mut dyn FnMut(Rollup)) -> Outcome<()>;
    /// The minutes of a day at which hours are kept in parts, and since when, in seconds since 1970.
    fn hour_cuts(&self) -> Outcome<Vec<(u64, u64)>>;
    /// Calls `each` with the sums of tags of a project from one time to before another.
    fn tags(&self, project: &str, between: (u64, u64), each: &mut dyn FnMut(TagPlace, TagTally)) -> Outcome<()>;
    /// Every dimension of a project.
    fn dimensions(&self, project: &str) -> Outcome<Vec<(i64, Dimension)>>;
    /// Projects of an organization that anything was counted under, or of all.
    fn counted_projects(&self, organization: Option<&str>) -> Outcome<Vec<String>>;
    /// Cost and fee of everything that was counted for a project, in nano-USD.
    fn rolled_up(&self, project: &str) -> Outcome<(i64, i64)>;
    /// Forgets up to `count` roll-ups of a project and span from before a time; true when there may be more.
    fn forget_rollups(&mut self, project: &str, span: Span, before: UnixTime, count: u32) -> Outcome<bool>;
}

/// Rows of single requests.
pub trait Requests {
    /// Adds a row.
    fn insert_request(&mut self, project: &str, dimension: i64, record: &Record) -> Outcome<()>;
    /// Rows of a project, by time.
    fn requests(&self, filter: &RequestFilter, page: &PageRequest) -> Outcome<Page<RequestRow>>;
    /// The newest row of a project with this id of a request.
    fn request(&self, project: &str, request_id: &str) -> Outcome<Option<RequestRow>>;
    /// Forgets up to `count` rows of a project from before a time; true when there may be more.
    fn forget_requests(&mut self, project: &str, before: UnixTime, count: u32) -> Outcome<bool>;
    /// How long rows are kept, in days, by project: the project's own setting, else its organization's.
    fn retentions(&self) -> Outcome<Vec<(Id, u32)>>;
}
