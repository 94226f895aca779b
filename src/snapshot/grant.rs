//! What one API key may use.

use std::sync::Arc;

use crate::base::{UnixTime, unix_time};

/// What a key may do. Compiled when a snapshot is published.
#[derive(Debug)]
pub struct Grant {
    /// Public id of the key, for logs and records.
    pub key_id: Arc<str>,
    /// Slugs of the projects whose routes the key may use.
    pub projects: Box<[Box<str>]>,
    /// Full names `project/route`, if the key is bound to some of them.
    pub routes: Option<Box<[Box<str>]>>,
    /// Whether the key may be used at all.
    pub enabled: bool,
    /// From when on it may not.
    pub expires: Option<UnixTime>,
}

impl Grant {
    /// Whether the key is enabled and not expired. The clock is asked only when the key can expire.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.enabled && self.expires.is_none_or(|expires| unix_time() < expires)
    }

    /// Whether the key may use a route, given as its project and its full name.
    #[must_use]
    pub fn may_use(&self, project: &str, full_name: &str) -> bool {
        self.projects.iter().any(|slug| **slug == *project)
            && self.routes.as_ref().is_none_or(|routes| routes.iter().any(|route| **route == *full_name))
    }

    /// The one project in which a bare route name is looked up; none when the key has several, because a bare name could
    /// then change its meaning with the order of a list.
    #[must_use]
    pub fn own_project(&self) -> Option<&str> {
        match &*self.projects {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn grant(routes: Option<&[&str]>) -> Grant {
        Grant {
            key_id: "k".into(),
            projects: ["a", "b"].map(Box::from).into(),
            routes: routes.map(|routes| routes.iter().map(|route| Box::from(*route)).collect()),
            enabled: true,
            expires: None,
        }
    }

    #[test]
    fn key_uses_its_projects_and_routes_only() {
        for (name, routes, project, route, want) in [
            ("own project", None, "a", "a/chat", true),
            ("foreign project", None, "c", "c/chat", false),
            ("bound to it", Some(&["a/chat"][..]), "a", "a/chat", true),
            ("bound to another", Some(&["b/chat"][..]), "a", "a/chat", false),
            ("bound to a foreign one", Some(&["c/chat"][..]), "c", "c/chat", false),
        ] {
            assert_eq!(grant(routes).may_use(project, route), want, "{name}");
        }
    }

    #[test]
    fn expired_or_disabled_key_is_invalid() {
        let expired = Grant { expires: Some(UnixTime(Duration::from_secs(1))), ..grant(None) };
        let disabled = Grant { enabled: false, ..grant(None) };
        assert!(grant(None).is_valid() && !expired.is_valid() && !disabled.is_valid());
    }
}
