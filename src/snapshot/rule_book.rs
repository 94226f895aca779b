//! The rules of a snapshot, by the place where they stand.

use std::{collections::HashMap, sync::Arc};

use crate::iam::{Rule, Scope};

/// Where rules stand, by the ids of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RuleOwner {
    /// At an organization.
    Organization(Arc<str>),
    /// At a project.
    Project(Arc<str>),
    /// At a member of an organization: they bind the keys that the member made.
    Member {
        /// The organization.
        organization: Arc<str>,
        /// The member.
        user: Arc<str>,
    },
    /// At a key.
    Key(Arc<str>),
}

/// Rules of one place.
type Rules = Arc<[Rule]>;

/// Rules at one user as a member, by organization.
type OfUser = Vec<(Arc<str>, Rules)>;

/// Active rules by place; places without rules are not in it. A change copies one of the maps.
#[derive(Clone, Default)]
pub(super) struct RuleBook {
    organizations: Arc<HashMap<Arc<str>, Rules>>,
    projects: Arc<HashMap<Arc<str>, Rules>>,
    /// By user, then by organization.
    members: Arc<HashMap<Arc<str>, OfUser>>,
    keys: Arc<HashMap<Arc<str>, Rules>>,
}

impl RuleBook {
    /// Replaces the rules of a place; none removes it.
    pub(super) fn put(&mut self, owner: RuleOwner, rules: Rules) {
        let (map, id) = match owner {
            RuleOwner::Organization(id) => (&mut self.organizations, id),
            RuleOwner::Project(id) => (&mut self.projects, id),
            RuleOwner::Key(id) => (&mut self.keys, id),
            RuleOwner::Member { organization, user } => {
                let members = Arc::make_mut(&mut self.members);
                let of_user = members.entry(Arc::clone(&user)).or_default();
                of_user.retain(|(known, _)| *known != organization);
                if !rules.is_empty() {
                    of_user.push((organization, rules));
                }
                if of_user.is_empty() {
                    members.remove(&user);
                }
                return;
            }
        };
        if rules.is_empty() {
            if map.contains_key(&id) {
                Arc::make_mut(map).remove(&id);
            }
        } else {
            Arc::make_mut(map).insert(id, rules);
        }
    }

    /// The rules of a project and of its organization, in the order of scopes.
    pub(super) fn of_project(&self, organization: &str, project: &str) -> Vec<(Scope, Rules)> {
        let organization = self.organizations.get(organization).map(|rules| (Scope::Organization, Arc::clone(rules)));
        let project = self.projects.get(project).map(|rules| (Scope::Project, Arc::clone(rules)));
        organization.into_iter().chain(project).collect()
    }

    /// The rules of a key and of who made it, in the order of scopes.
    pub(super) fn of_key(&self, organization: &str, member: Option<&str>, key: &str) -> Vec<(Scope, Rules)> {
        let of_user = member.and_then(|user| self.members.get(user)).map(Vec::as_slice).unwrap_or_default();
        let of_member = of_user.iter().find(|(known, _)| **known == *organization);
        let member = of_member.map(|(_, rules)| (Scope::Member, Arc::clone(rules)));
        let key = self.keys.get(key).map(|rules| (Scope::Key, Arc::clone(rules)));
        member.into_iter().chain(key).collect()
    }

    /// Whether a key has rules of its own, or its maker has some in any organization.
    pub(super) fn concern(&self, member: Option<&str>, key: &str) -> bool {
        self.keys.contains_key(key) || member.is_some_and(|user| self.members.contains_key(user))
    }
}
