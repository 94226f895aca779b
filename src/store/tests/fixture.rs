//! A store in a folder of its own, and records to put in.

use std::{future::Future, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{
    base::{Id, UnixTime},
    store::{
        Order, Outcome, PageRequest, Store, StoreError, Tx,
        record::{
            ActorKind, ApiKey, AuditEvent, KeyStatus, Lifecycle, Member, Mode, Organization, OrganizationRole,
            OrganizationStatus, Project, User, Version, VersionState,
        },
    },
};

/// An open store; the folder goes with it.
pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) folder: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::open(&folder.path().join("millrace.db")).unwrap(), folder }
    }

    /// One with the organization `org_a`.
    pub(super) fn with_organization() -> Self {
        let fixture = Self::new();
        fixture.write(|tx| tx.insert_organization(&organization("org_a"))).unwrap();
        fixture
    }

    /// One with the organization `org_a` and its project `prj_a`.
    pub(super) fn with_project() -> Self {
        let fixture = Self::with_organization();
        fixture.write(|tx| tx.insert_project(&project("prj_a", "a"))).unwrap();
        fixture
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("millrace.db")
    }

    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        block_on(self.store.write::<T, StoreError>(work))
    }

    pub(super) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Tx) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        block_on(self.store.read::<T, StoreError>(work))
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(super) fn id(text: &str) -> Id {
    Id::stored(text)
}

pub(super) fn at(milliseconds: u64) -> UnixTime {
    UnixTime(Duration::from_millis(milliseconds))
}

pub(super) fn page(limit: u32, order: Order) -> PageRequest {
    PageRequest { limit, after: None, order }
}

/// Every page of a list with `limit` rows each; `mark` is the place of a row as a cursor keeps it.
pub(super) fn pages<T: Send + 'static>(
    order: Order,
    limit: u32,
    mark: impl Fn(&T) -> (i64, String),
    list: impl Fn(PageRequest) -> crate::store::Page<T>,
) -> Vec<T> {
    let mut request = page(limit, order);
    let mut found = Vec::new();
    loop {
        let page = list(request.clone());
        assert!(page.rows.len() <= limit as usize, "a page is never longer than asked for");
        request.after = page.rows.last().map(&mark);
        let more = page.has_more;
        assert!(!more || page.rows.len() == limit as usize, "a page with more behind it is full");
        found.extend(page.rows);
        if !more {
            return found;
        }
    }
}

pub(super) fn organization(name: &str) -> Organization {
    Organization {
        id: id(name),
        name: format!("Organization {name}"),
        status: OrganizationStatus::Active,
        project_limit: 10,
        active_key_limit: Some(7),
        default_retention_days: 30,
        log_payloads: true,
        require_second_approver: false,
        created_at: at(1_000),
        revision: 1,
    }
}

pub(super) fn user(name: &str, email: &str) -> User {
    User {
        id: id(name),
        email: email.to_owned(),
        password_hash: Some("$argon2id$...".to_owned()),
        instance_admin: false,
        created_at: at(1_000),
        revision: 1,
    }
}

pub(super) fn member(organization: &str, user: &str, email: &str) -> Member {
    Member {
        organization: id(organization),
        user: id(user),
        email: email.to_owned(),
        role: OrganizationRole::Member,
        grants: Vec::new(),
        active_key_limit: None,
        last_seen_at: None,
        created_at: at(1_000),
        revision: 1,
    }
}

/// A project of `org_a`.
pub(super) fn project(name: &str, slug: &str) -> Project {
    Project {
        id: id(name),
        organization: id("org_a"),
        name: slug.to_owned(),
        slug: slug.to_owned(),
        ever_served: false,
        description: String::new(),
        environment: "development".to_owned(),
        tags: vec![("team".to_owned(), "search".to_owned())],
        mode: Mode::Hybrid,
        caching_enabled: Some(false),
        cache_duration_seconds: 60,
        require_second_approver: None,
        retention_days: Some(3),
        log_payloads: None,
        lifecycle: Lifecycle::Active,
        served_version: None,
        open_version: Some(1),
        last_version: 1,
        generation: 0,
        created_at: at(1_000),
        updated_at: at(2_000),
        created_by: id("usr_a"),
        revision: 1,
    }
}

/// A version of `prj_a` with the text `text`, and its digest.
pub(super) fn version(number: u32, state: VersionState) -> Version {
    use sha2::{Digest as _, Sha256};
    Version {
        project: id("prj_a"),
        number,
        state,
        digest: Sha256::digest(b"text").into(),
        size: 4,
        author: id("usr_a"),
        created_at: at(u64::from(number) * 1_000),
        comment: "first try".to_owned(),
        problems: "[]".to_owned(),
        approver: None,
        approved_at: None,
        approve_comment: String::new(),
        copied_from: None,
        replaces: None,
        served_at: None,
    }
}

/// A key of `prj_a`; `number` makes it unlike others.
pub(super) fn key(number: u8) -> ApiKey {
    ApiKey {
        id: id(&format!("key_{number:03}")),
        project: id("prj_a"),
        public_id: format!("mr_live_{number:03}"),
        last4: "abcd".to_owned(),
        digest: [number; 32],
        old_digest: None,
        old_expires_at: None,
        description: "for tests".to_owned(),
        status: KeyStatus::Active,
        expires_at: Some(at(9_000)),
        group: Some("batch".to_owned()),
        created_by: id("usr_a"),
        created_at: at(1_000),
        last_used_at: None,
        revision: 1,
    }
}

pub(super) fn event(action: &str) -> AuditEvent {
    AuditEvent {
        at: at(5_000),
        actor_kind: ActorKind::User,
        actor: "usr_a".to_owned(),
        address: "192.0.2.1".to_owned(),
        action: action.to_owned(),
        object: "prj_a".to_owned(),
        organization: Some(id("org_a")),
        project: Some(id("prj_a")),
        before: String::new(),
        after: "{\"name\":\"a\"}".to_owned(),
        request_id: "req_1".to_owned(),
        comment: "why not".to_owned(),
    }
}
