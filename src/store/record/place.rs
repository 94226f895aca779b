//! Where a limit or an IAM rule stands.

use crate::base::Id;

/// At what something stands that concerns all keys below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyPlace {
    /// At an organization: over all of its keys together.
    Organization(Id),
    /// At a project: over all of its keys together.
    Project(Id),
    /// At a member: over the keys that the member made in the organization, together.
    Member {
        /// The organization.
        organization: Id,
        /// The user.
        user: Id,
    },
    /// At a key.
    Key(Id),
}

impl PolicyPlace {
    /// The owner of the counters of a limit, as accounts name it: `organization:org_...`, `project:prj_...`,
    /// `member:org_.../usr_...`, `key:key_...`.
    #[must_use]
    pub fn owner(&self) -> String {
        match self {
            Self::Organization(id) => format!("organization:{id}"),
            Self::Project(id) => format!("project:{id}"),
            Self::Member { organization, user } => format!("member:{organization}/{user}"),
            Self::Key(id) => format!("key:{id}"),
        }
    }

    /// Its scope and the id in it, as the API shows them: `("member", usr_...)`.
    #[must_use]
    pub fn scope(&self) -> (&'static str, &Id) {
        match self {
            Self::Organization(id) => ("organization", id),
            Self::Project(id) => ("project", id),
            Self::Member { user, .. } => ("member", user),
            Self::Key(id) => ("key", id),
        }
    }
}
