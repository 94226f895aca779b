//! What one API key may use.

use std::sync::Arc;

use crate::{
    base::{Caller, UnixTime, unix_time},
    iam::Policy,
    limit::LimitSet,
};

/// What a key may do. Compiled when a snapshot is published.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whose key it is.
    pub caller: Arc<Caller>,
    /// Limits of the key, its maker, its project and its organization.
    pub limits: LimitSet,
    /// Whose routes the key may use.
    pub scope: Scope,
    /// Full names `project/route`, if the key is bound to some of them.
    pub routes: Option<Box<[Box<str>]>>,
    /// Whether the key may be used at all.
    pub enabled: bool,
    /// From when on it may not.
    pub expires: Option<UnixTime>,
    /// What the rules of the key and of its maker allow; none without such rules. Set when a snapshot is made.
    pub policy: Option<Arc<Policy>>,
}

/// The projects whose routes a key may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The one project that the key belongs to, by its id.
    Project(Arc<str>),
    /// File mode, where the id of a project is its slug. Sorted; made by [`Scope::slugs`].
    Slugs(Box<[Arc<str>]>),
}

impl Scope {
    /// The projects that a file of keys names.
    #[must_use]
    pub fn slugs<'a>(slugs: impl IntoIterator<Item = &'a str>) -> Self {
        let mut slugs: Box<[Arc<str>]> = slugs.into_iter().map(Arc::from).collect();
        slugs.sort();
        Self::Slugs(slugs)
    }

    /// Ids of the projects.
    #[must_use]
    pub fn ids(&self) -> &[Arc<str>] {
        match self {
            Self::Project(id) => std::slice::from_ref(id),
            Self::Slugs(slugs) => slugs,
        }
    }

    /// Id of the one project in which a bare route name is looked up; none when the key has several, because a bare name
    /// could then change its meaning with the order of a list.
    #[must_use]
    pub fn own(&self) -> Option<&str> {
        match self.ids() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Id of the project that may have this slug; whether it has is for the caller to see.
    pub(super) fn id_for(&self, slug: &str) -> Option<&str> {
        match self {
            Self::Project(id) => Some(id),
            Self::Slugs(slugs) => {
                let at = slugs.binary_search_by(|known| (**known).cmp(slug)).ok()?;
                slugs.get(at).map(AsRef::as_ref)
            }
        }
    }
}

impl Grant {
    /// Whether the key is enabled and not expired. The clock is asked only when the key can expire.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.enabled && self.expires.is_none_or(|expires| unix_time() < expires)
    }

    /// Whether the key may use a route of its projects, given by its full name.
    #[must_use]
    pub fn may_call(&self, full_name: &str) -> bool {
        self.routes.as_ref().is_none_or(|routes| routes.iter().any(|route| **route == *full_name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn grant() -> Grant {
        Grant {
            caller: Arc::new(Caller::of_key("k")),
            limits: LimitSet::default(),
            scope: Scope::slugs(["b", "a"]),
            routes: None,
            enabled: true,
            expires: None,
            policy: None,
        }
    }

    #[test]
    fn key_knows_its_projects_and_no_others() {
        let scope = Scope::slugs(["c", "a", "b"]);
        assert_eq!(scope.ids().iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b", "c"]);
        for (slug, want) in [("a", Some("a")), ("c", Some("c")), ("d", None), ("", None)] {
            assert_eq!(scope.id_for(slug), want, "{slug}");
        }
        assert_eq!((scope.own(), Scope::slugs(["a"]).own()), (None, Some("a")));
        assert_eq!(Scope::Project("prj_1".into()).own(), Some("prj_1"));
    }

    #[test]
    fn expired_or_disabled_key_is_invalid() {
        let expired = Grant { expires: Some(UnixTime(Duration::from_secs(1))), ..grant() };
        let disabled = Grant { enabled: false, ..grant() };
        assert!(grant().is_valid() && !expired.is_valid() && !disabled.is_valid());
    }
}
