//! The next snapshot in the making.
//!
//! It shares with its base everything that is not changed: one key costs a copy of one shard, one project a copy of the
//! table of pointers, whatever the number of keys and routes.
//!
//! Rules are compiled here, when the edit ends, and nowhere else: whatever was put in and in which order, each policy fits
//! the targets of the project that stands beside it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    base::{Digest, KeyHasher},
    iam::{Policy, Rule, Scope as RuleScope},
};

use super::{
    grant::Grant,
    part::ProjectPart,
    rule_book::{RuleBook, RuleOwner},
    shards::{DigestSet, Shards},
    view::{Parts, Snapshot},
};

/// Grants that have rules of their own, or whose maker has, by project.
pub(super) type Governed = HashMap<Arc<str>, Arc<DigestSet>>;

/// Changes to a snapshot, not visible to anybody before they are published.
pub struct Edit {
    hasher: Arc<KeyHasher>,
    grants: Shards,
    projects: Arc<Parts>,
    rules: RuleBook,
    governed: Arc<Governed>,
    captured: Arc<HashSet<Arc<str>>>,
    /// Projects whose policy has to be compiled, with those of their grants if the targets are others.
    stale_projects: HashMap<Arc<str>, Stale>,
    stale_grants: DigestSet,
}

/// How much of a project has to be compiled anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    /// What its own rules and those of its organization allow.
    Policy,
    /// That of its keys too.
    Targets,
}

/// What keys of one member without rules of their own share.
type MemberPolicies = HashMap<(Arc<str>, Arc<str>), Arc<Policy>>;

impl Edit {
    /// Starts from nothing: no project, no key.
    #[must_use]
    pub fn empty(hasher: KeyHasher) -> Self {
        Self {
            hasher: Arc::new(hasher),
            grants: Shards::default(),
            projects: Arc::default(),
            rules: RuleBook::default(),
            governed: Arc::default(),
            captured: Arc::default(),
            stale_projects: HashMap::new(),
            stale_grants: DigestSet::default(),
        }
    }

    pub(super) fn of(base: &Snapshot) -> Self {
        Self {
            hasher: Arc::clone(&base.hasher),
            grants: base.grants.clone(),
            projects: Arc::clone(&base.projects),
            rules: base.rules.clone(),
            governed: Arc::clone(&base.governed),
            captured: Arc::clone(&base.captured),
            stale_projects: HashMap::new(),
            stale_grants: DigestSet::default(),
        }
    }

    /// Adds or replaces a project, by its id.
    pub fn put_project(&mut self, id: Arc<str>, part: ProjectPart) {
        self.stale_projects.insert(Arc::clone(&id), Stale::Targets);
        Arc::make_mut(&mut self.projects).insert(id, Arc::new(part));
    }

    /// Removes a project: its routes are unknown from then on. Its keys and its rules stay.
    pub fn remove_project(&mut self, id: &str) {
        if self.projects.contains_key(id) {
            Arc::make_mut(&mut self.projects).remove(id);
        }
    }

    /// Says whether what requests of a project say is kept, whichever part it has now or later.
    pub fn put_captured(&mut self, id: &str, captured: bool) {
        if self.captured.contains(id) == captured {
            return;
        }
        let id: Arc<str> = id.into();
        let all = Arc::make_mut(&mut self.captured);
        if captured {
            all.insert(Arc::clone(&id));
        } else {
            all.remove(&id);
        }
        self.stale_projects.entry(id).or_insert(Stale::Policy);
    }

    /// Adds or replaces what the key with this digest may do. Its policy is made of the rules.
    pub fn put_grant(&mut self, digest: Digest, grant: Grant) {
        self.forget_governed(&digest);
        if let Some(project) = grant.scope.own()
            && self.rules.concern(grant.caller.member.as_deref(), &grant.caller.key)
        {
            let of_project = Arc::make_mut(&mut self.governed).entry(project.into()).or_default();
            Arc::make_mut(of_project).insert(digest);
            self.stale_grants.insert(digest);
        }
        self.grants.insert(digest, Arc::new(Grant { policy: None, ..grant }));
    }

    /// Removes a key: it is unknown from then on.
    pub fn remove_grant(&mut self, digest: &Digest) {
        self.forget_governed(digest);
        self.grants.remove(digest);
    }

    /// Replaces the active rules of a place. Those of a member or a key hold for the grants that are put in behind this
    /// call: whoever changes them puts the grants of those keys in again.
    pub fn put_rules(&mut self, owner: RuleOwner, rules: Vec<Rule>) {
        match &owner {
            RuleOwner::Organization(organization) => {
                let own = self.projects.iter().filter(|(_, part)| part.organization() == organization);
                for (id, _) in own {
                    self.stale_projects.entry(Arc::clone(id)).or_insert(Stale::Policy);
                }
            }
            RuleOwner::Project(id) => {
                self.stale_projects.entry(Arc::clone(id)).or_insert(Stale::Policy);
            }
            RuleOwner::Member { .. } | RuleOwner::Key(_) => {}
        }
        self.rules.put(owner, rules.into());
    }

    /// Makes the snapshot of this generation.
    #[must_use]
    pub fn finish(mut self, generation: u64) -> Snapshot {
        for (id, stale) in std::mem::take(&mut self.stale_projects) {
            self.compile_project(&id);
            if stale == Stale::Targets {
                self.stale_grants
                    .extend(self.governed.get(&id).into_iter().flat_map(|digests| digests.iter().copied()));
            }
        }
        let mut shared = MemberPolicies::new();
        for digest in std::mem::take(&mut self.stale_grants) {
            self.compile_grant(digest, &mut shared);
        }
        let any_archived = self.projects.values().any(|part| part.is_archived());
        Snapshot {
            generation,
            hasher: self.hasher,
            grants: self.grants,
            projects: self.projects,
            rules: self.rules,
            governed: self.governed,
            captured: self.captured,
            any_archived,
        }
    }

    fn compile_project(&mut self, id: &Arc<str>) {
        let Some(part) = self.projects.get(id) else {
            return;
        };
        let rules = self.rules.of_project(part.organization(), id);
        let policy = part.facts().filter(|_| !rules.is_empty()).map(|facts| Arc::new(Policy::compile(facts, &rules)));
        let captured = self.captured.contains(id);
        if policy.is_some() || part.policy().is_some() || part.is_captured() != captured {
            let part = Arc::new(part.with_policy(policy).with_captured(captured));
            Arc::make_mut(&mut self.projects).insert(Arc::clone(id), part);
        }
    }

    fn compile_grant(&mut self, digest: Digest, shared: &mut MemberPolicies) {
        let Some(grant) = self.grants.get(&digest) else {
            return;
        };
        let part = grant.scope.own().and_then(|id| self.projects.get_key_value(id));
        // Without targets there is nothing to decide: no route of the project is found.
        let policy = part.and_then(|(id, part)| {
            let (facts, member) = (part.facts()?, grant.caller.member.as_ref());
            let rules = self.rules.of_key(part.organization(), member.map(AsRef::as_ref), &grant.caller.key);
            let compile = || Arc::new(Policy::compile(facts, &rules));
            match (rules.as_slice(), member) {
                ([], _) => None,
                ([(RuleScope::Member, _)], Some(user)) => {
                    let known = shared.entry((Arc::clone(id), Arc::clone(user))).or_insert_with(compile);
                    Some(Arc::clone(known))
                }
                _ => Some(compile()),
            }
        });
        let grant = Arc::new(Grant { policy, ..Grant::clone(grant) });
        self.grants.insert(digest, grant);
    }

    /// Takes a grant out of the list of those with rules, whatever project it was of.
    fn forget_governed(&mut self, digest: &Digest) {
        let Some(project) = self.grants.get(digest).and_then(|grant| grant.scope.own().map(Arc::<str>::from)) else {
            return;
        };
        if !self.governed.get(&project).is_some_and(|digests| digests.contains(digest)) {
            return;
        }
        let governed = Arc::make_mut(&mut self.governed);
        let Some(digests) = governed.get_mut(&project) else {
            return;
        };
        Arc::make_mut(digests).remove(digest);
        if digests.is_empty() {
            governed.remove(&project);
        }
    }
}
