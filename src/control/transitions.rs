//! The life of a version: which action leads to which state.
//!
//! One pure function over states. Who may act, and whether the configuration compiles, is decided elsewhere.

use crate::store::VersionState;

/// What can happen to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Another draft is saved.
    Save,
    /// Somebody says that it may be served.
    Approve,
    /// The approval is taken back.
    Withdraw,
    /// The draft is dropped.
    Discard,
    /// It becomes live.
    Serve,
    /// It stops being live, with or without a successor.
    Unserve,
    /// It becomes live again.
    RollBack,
    /// Its text becomes a new draft.
    Copy,
    /// Its project is put away.
    Archive,
}

/// Why an action is not possible in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illegal {
    /// Approved already.
    ApprovedAlready,
    /// Live; what changes it is a new draft.
    Live,
    /// Replaced, dropped, or live once.
    History,
    /// Not approved yet.
    ApproveFirst,
    /// Live already.
    LiveAlready,
    /// A draft has no approval.
    NothingToWithdraw,
    /// A live version has an approval that is used.
    WithdrawLive,
    /// Live; it cannot be dropped.
    UnserveFirst,
    /// Not live.
    NotServed,
    /// It was never live, so there is nothing to go back to.
    NeverServed,
    /// It is the open version itself.
    OpenAlready,
}

impl Action {
    /// Every action.
    pub const ALL: &[Self] = &[
        Self::Save,
        Self::Approve,
        Self::Withdraw,
        Self::Discard,
        Self::Serve,
        Self::Unserve,
        Self::RollBack,
        Self::Copy,
        Self::Archive,
    ];
}

/// What the text of a refusal may name.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Number of the version.
    pub number: u32,
    /// Who approved it, and when.
    pub approved: Option<(String, String)>,
    /// Generation of the project.
    pub generation: u64,
}

impl Illegal {
    /// Says why, and what can be done instead.
    #[must_use]
    pub fn detail(self, facts: &Facts) -> String {
        let Facts { number, approved, generation } = facts;
        match self {
            Self::ApprovedAlready => {
                let by = approved.as_ref().map_or(String::new(), |(name, time)| format!(" by {name} at {time}"));
                format!("version {number} is already approved{by}; serve it, or withdraw the approval to change it")
            }
            Self::Live => format!("version {number} is live; save a new draft to change it"),
            Self::History => format!("version {number} is history; copy it to a draft, or roll back to it"),
            Self::ApproveFirst => {
                format!("version {number} is a draft; approve it first: `POST .../versions/{number}/approve`")
            }
            Self::LiveAlready => format!("version {number} is already live as generation {generation}"),
            Self::NothingToWithdraw => format!("nothing to withdraw; approve version {number} first"),
            Self::WithdrawLive => format!("nothing to withdraw: version {number} is live; unserve or save a new draft"),
            Self::UnserveFirst => format!("version {number} is live; unserve it first"),
            Self::NotServed => "nothing is served; serve an approved version, or roll back".to_owned(),
            Self::NeverServed => {
                format!("version {number} was never served; approve and serve it instead")
            }
            Self::OpenAlready => format!("version {number} is the open version already; save a draft to change it"),
        }
    }
}

/// The state of a version after an action.
///
/// # Errors
/// [`Illegal`] when the state does not allow the action.
pub fn next(state: VersionState, action: Action) -> Result<VersionState, Illegal> {
    use VersionState::{Discarded, Draft, ReadyToServe, Served, Superseded};
    match (action, state) {
        (Action::Save | Action::Discard, Draft | ReadyToServe) => Ok(Discarded),
        // A new draft and a project that is put away leave alone what is not theirs.
        (Action::Save, Served | Superseded | Discarded) => Ok(state),
        (Action::Archive, Draft | ReadyToServe | Superseded | Discarded) => Ok(state),
        (Action::Copy, Served | Superseded | Discarded) => Ok(state),
        (Action::Copy, Draft | ReadyToServe) => Err(Illegal::OpenAlready),
        (Action::Approve, Draft) => Ok(ReadyToServe),
        (Action::Approve, ReadyToServe) => Err(Illegal::ApprovedAlready),
        (Action::Approve, Served) => Err(Illegal::Live),
        (Action::Withdraw, ReadyToServe) => Ok(Draft),
        (Action::Withdraw, Draft) => Err(Illegal::NothingToWithdraw),
        (Action::Withdraw, Served) => Err(Illegal::WithdrawLive),
        (Action::Discard, Served) => Err(Illegal::UnserveFirst),
        (Action::Serve, ReadyToServe) | (Action::RollBack, Superseded) => Ok(Served),
        (Action::Serve, Draft) => Err(Illegal::ApproveFirst),
        (Action::Serve | Action::RollBack, Served) => Err(Illegal::LiveAlready),
        (Action::RollBack, Draft | ReadyToServe | Discarded) => Err(Illegal::NeverServed),
        (Action::Unserve | Action::Archive, Served) => Ok(Superseded),
        (Action::Unserve, Draft | ReadyToServe | Superseded | Discarded) => Err(Illegal::NotServed),
        (Action::Approve | Action::Withdraw | Action::Discard | Action::Serve, Superseded | Discarded) => {
            Err(Illegal::History)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row an action: what becomes of a draft, an approved, a live, a replaced and a dropped version.
    #[test]
    fn s1_08_each_state_allows_what_the_table_says() {
        use Illegal::{
            ApproveFirst, ApprovedAlready, History, Live, LiveAlready, NeverServed, NotServed, NothingToWithdraw,
            OpenAlready, UnserveFirst, WithdrawLive,
        };
        use VersionState::{Discarded, Draft, ReadyToServe, Served, Superseded};
        let table = [
            (Action::Save, [Ok(Discarded), Ok(Discarded), Ok(Served), Ok(Superseded), Ok(Discarded)]),
            (Action::Approve, [Ok(ReadyToServe), Err(ApprovedAlready), Err(Live), Err(History), Err(History)]),
            (Action::Withdraw, [Err(NothingToWithdraw), Ok(Draft), Err(WithdrawLive), Err(History), Err(History)]),
            (Action::Discard, [Ok(Discarded), Ok(Discarded), Err(UnserveFirst), Err(History), Err(History)]),
            (Action::Serve, [Err(ApproveFirst), Ok(Served), Err(LiveAlready), Err(History), Err(History)]),
            (Action::Unserve, [Err(NotServed), Err(NotServed), Ok(Superseded), Err(NotServed), Err(NotServed)]),
            (Action::RollBack, [Err(NeverServed), Err(NeverServed), Err(LiveAlready), Ok(Served), Err(NeverServed)]),
            (Action::Copy, [Err(OpenAlready), Err(OpenAlready), Ok(Served), Ok(Superseded), Ok(Discarded)]),
            (Action::Archive, [Ok(Draft), Ok(ReadyToServe), Ok(Superseded), Ok(Superseded), Ok(Discarded)]),
        ];
        assert_eq!(table.map(|(action, _)| action), *Action::ALL);
        for (action, wanted) in table {
            for (state, want) in [Draft, ReadyToServe, Served, Superseded, Discarded].into_iter().zip(wanted) {
                assert_eq!(next(state, action), want, "{action:?} of {state:?}");
            }
        }
    }

    #[test]
    fn refusals_say_what_can_be_done_instead() {
        let facts = Facts {
            number: 7,
            approved: Some(("ann@example.com".to_owned(), "2026-11-22T00:00:00.000Z".to_owned())),
            generation: 4,
        };
        for (illegal, said) in [
            (Illegal::ApprovedAlready, "already approved by ann@example.com at 2026-11-22T00:00:00.000Z; serve it, or"),
            (Illegal::Live, "it is live; save a new draft"),
            (Illegal::History, "copy it to a draft, or roll back to it"),
            (Illegal::ApproveFirst, "approve it first: `POST .../versions/7/approve`"),
            (Illegal::LiveAlready, "already live as generation 4"),
            (Illegal::NothingToWithdraw, "nothing to withdraw; approve"),
            (Illegal::WithdrawLive, "unserve or save a new draft"),
            (Illegal::UnserveFirst, "unserve it first"),
            (Illegal::NotServed, "nothing is served"),
            (Illegal::NeverServed, "approve and serve it instead"),
            (Illegal::OpenAlready, "save a draft to change it"),
        ] {
            let text = illegal.detail(&facts).replace("version 7 is live", "it is live");
            assert!(text.contains(said), "{illegal:?}: {text}");
        }
    }
}
