//! Projects, versions of their configuration, activations.

use super::text_enum::text_enum;
use crate::base::{Id, UnixTime};

text_enum! {
    /// Where provider credentials come from.
    Mode {
        /// Own credentials, else those of the platform.
        Hybrid = "hybrid",
        /// Own credentials only.
        ApiKeys = "api-keys",
        /// Credentials of the platform only.
        Credits = "credits",
    }
}

text_enum! {
    /// Whether a project can be used.
    Lifecycle {
        /// It can.
        Active = "active",
        /// Put away: its keys get 410, everything is kept.
        Archived = "archived",
    }
}

/// A project: settings that are live at once. Its configuration is in [`Version`].
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// `prj_...`
    pub id: Id,
    /// The organization.
    pub organization: Id,
    /// 1 to 255 characters, unique in the organization ignoring case.
    pub name: String,
    /// The `project` part of `project/route`; unique in the organization.
    pub slug: String,
    /// Whether it was ever served, which locks the slug.
    pub ever_served: bool,
    /// Up to 2,000 characters.
    pub description: String,
    /// A label such as `production`.
    pub environment: String,
    /// Up to 20 pairs, sorted by key.
    pub tags: Vec<(String, String)>,
    /// Where credentials come from.
    pub mode: Mode,
    /// Default of caching; none leaves it to the configuration.
    pub caching_enabled: Option<bool>,
    /// Default life of cached answers, 10 to 31,536,000 seconds.
    pub cache_duration_seconds: u32,
    /// Whether approval needs another person; none as the organization.
    pub require_second_approver: Option<bool>,
    /// Days that logs are kept; none as the organization.
    pub retention_days: Option<u32>,
    /// Whether prompts and answers are kept; none as the organization.
    pub log_payloads: Option<bool>,
    /// Whether it can be used.
    pub lifecycle: Lifecycle,
    /// Number of the version that is live.
    pub served_version: Option<u32>,
    /// Number of the version that is `DRAFT` or `READY_TO_SERVE`.
    pub open_version: Option<u32>,
    /// Number of the newest version.
    pub last_version: u32,
    /// Activations so far.
    pub generation: u64,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// Who made it: id of a user or token.
    pub created_by: Id,
    /// Rises by one with each change; its `ETag`.
    pub revision: u64,
}

text_enum! {
    /// State of one version.
    VersionState {
        /// Work in progress.
        Draft = "DRAFT",
        /// Checked and approved.
        ReadyToServe = "READY_TO_SERVE",
        /// Live.
        Served = "SERVED",
        /// History: was live.
        Superseded = "SUPERSEDED",
        /// History: a draft that was replaced or dropped.
        Discarded = "DISCARDED",
    }
}

/// One configuration: an immutable text and what happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The project.
    pub project: Id,
    /// 1, 2, 3, ... in the project.
    pub number: u32,
    /// Its state.
    pub state: VersionState,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
    /// Bytes of the text.
    pub size: u32,
    /// Who saved it: id of a user or token.
    pub author: Id,
    /// When.
    pub created_at: UnixTime,
    /// What the author said about it, up to 2,000 characters.
    pub comment: String,
    /// Problems found when it was saved, as a JSON list.
    pub problems: String,
    /// Who approved it; none again after a withdrawal.
    pub approver: Option<Id>,
    /// When.
    pub approved_at: Option<UnixTime>,
    /// What the approver said.
    pub approve_comment: String,
    /// The version it was copied from.
    pub copied_from: Option<u32>,
    /// The draft that this one replaced, for the rule of four eyes.
    pub replaces: Option<u32>,
    /// When it last became live.
    pub served_at: Option<UnixTime>,
}

text_enum! {
    /// Why another version became live, or none.
    ActivationKind {
        /// An approved version was served.
        Serve = "serve",
        /// An earlier version was served again.
        Rollback = "rollback",
        /// Nothing is served any more.
        Unserve = "unserve",
        /// The project was archived.
        Archive = "archive",
    }
}

/// One step of what was live: the history is linear.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// The project.
    pub project: Id,
    /// 1, 2, 3, ... in the project.
    pub generation: u64,
    /// What became live.
    pub version: Option<u32>,
    /// Why.
    pub kind: ActivationKind,
    /// Who did it.
    pub actor: Id,
    /// When.
    pub at: UnixTime,
    /// What the actor said.
    pub comment: String,
}
