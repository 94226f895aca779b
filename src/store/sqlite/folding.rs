//! How far minutes are folded into hours and days.
//!
//! A fold goes through projects, buckets and dimensions in their order, and a transaction takes a bounded number of roll-ups:
//! all other changes wait for it. So there is one place in each project up to which its minutes are in wider sums.

use super::tx::SqliteTx;
use crate::store::tx::{Notes, Outcome};

/// The beginning of the first minute that is in no hour of any project yet, in seconds since 1970.
const FOLDED: &str = "rollups_folded";
/// The fold that is under way: where it ends, and the last place it has been at.
const FOLDING: &str = "rollups_folding";

/// A bucket and a dimension of a project. What is not behind it is folded.
pub(super) type Mark = (u64, i64);

/// State of the fold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    /// Minutes before it are folded, whatever their project.
    pub(super) done: u64,
    /// Those from `done` to before `target` are being folded.
    pub(super) under_way: Option<UnderWay>,
}

/// A fold that is not complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) target: u64,
    /// The last roll-up that was folded. Projects before its project are done.
    pub(super) project: String,
    pub(super) mark: Mark,
}

impl Folded {
    pub(super) fn up_to(done: u64) -> Self {
        Self { done, under_way: None }
    }

    /// The mark of one project.
    pub(super) fn mark(&self, project: &str) -> Mark {
        match &self.under_way {
            Some(under_way) if project < under_way.project.as_str() => (under_way.target, i64::MIN),
            Some(under_way) if project == under_way.project => under_way.mark,
            _ => (self.done, i64::MIN),
        }
    }
}

impl UnderWay {
    fn to_bytes(&self) -> Vec<u8> {
        let (bucket, dimension) = self.mark;
        let numbers = [self.target.to_le_bytes(), bucket.to_le_bytes(), dimension.to_le_bytes()];
        [numbers.as_flattened(), self.project.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (target, rest) = bytes.split_first_chunk()?;
        let (bucket, rest) = rest.split_first_chunk()?;
        let (dimension, project) = rest.split_first_chunk()?;
        let mark = (u64::from_le_bytes(*bucket), i64::from_le_bytes(*dimension));
        let project = std::str::from_utf8(project).ok()?.to_owned();
        Some(Self { target: u64::from_le_bytes(*target), project, mark })
    }
}

impl SqliteTx<'_> {
    pub(super) fn folded(&self) -> Outcome<Folded> {
        let done = self.note(FOLDED)?.and_then(|bytes| bytes.try_into().ok());
        let under_way = self.note(FOLDING)?.and_then(|bytes| UnderWay::from_bytes(&bytes));
        Ok(Folded { done: done.map(u64::from_le_bytes).unwrap_or_default(), under_way })
    }

    pub(super) fn put_folded(&mut self, folded: &Folded) -> Outcome<()> {
        self.put_note(FOLDED, Some(&folded.done.to_le_bytes()))?;
        let under_way = folded.under_way.as_ref().map(UnderWay::to_bytes);
        self.put_note(FOLDING, under_way.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_one_mark() {
        let under_way = UnderWay { target: 300, project: "prj_m".to_owned(), mark: (180, 7) };
        assert_eq!(UnderWay::from_bytes(&under_way.to_bytes()).as_ref(), Some(&under_way));
        assert_eq!(UnderWay::from_bytes(&[1; 23]), None);
        let folded = Folded { done: 120, under_way: Some(under_way) };
        for (project, want) in [("prj_a", (300, i64::MIN)), ("prj_m", (180, 7)), ("prj_z", (120, i64::MIN))] {
            assert_eq!(folded.mark(project), want, "{project}");
        }
        assert_eq!(Folded::up_to(60).mark("prj_a"), (60, i64::MIN));
    }
}
