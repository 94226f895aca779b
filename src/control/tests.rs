//! What the tests of the control plane stand on.

use std::{os::unix::net::UnixDatagram, sync::Arc};

use tempfile::TempDir;

use crate::{
    base::{Id, IdKind, Secret, unix_time},
    limit::Meters,
    metrics::Registry,
    shared::{Shared, tests::shared_with},
    snapshot::{Registries, Snapshot},
    store::{
        ApiKey, Member, Order, Organization, OrganizationRole, OrganizationStatus, PageRequest, ProjectGrant,
        ProjectRole, Store, Tx, User,
    },
    upstream::{Guard, Origins, Resolver, Rules},
    usage::{Catalogue, Queue},
};

use super::{
    Actor, Control, ControlError, ControlParts, DraftText, Expected, Intent, Keeper, Membership, NewKey, NewProject,
    PolicySite, ProjectState, Publisher, Vault, first_of, load, open_egress, open_pepper,
};

/// A configuration that serves one route.
pub(crate) const GOOD: &str = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [m]}}\n";
/// One that does not.
pub(crate) const BAD: &str = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [n]}}\n";

/// The master key of every test, 32 times, so that a restart opens what an earlier process sealed.
pub(crate) const MASTER_KEY: &str = "5a";

/// A control plane over a store in a folder of its own, with a data plane without workers unless asked for.
pub(crate) struct Rig {
    pub(crate) control: Arc<Control>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) organization: Id,
    pub(crate) owner: Actor,
    pub(crate) folder: TempDir,
    registries: Registries,
    _ears: Vec<UnixDatagram>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with_workers(0).await
    }

    pub(crate) async fn with_workers(workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("millrace.db")).unwrap();
        let organization = Id::random(IdKind::Organization).unwrap();
        let row = organization_row(&organization, "default");
        store.write(move |tx| Ok::<_, ControlError>(tx.insert_organization(&row)?)).await.unwrap();
        Self::over(folder, store, organization, (workers, &MASTER_KEY.repeat(32))).await
    }

    /// The same folder after the end of the process.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_with(&MASTER_KEY.repeat(32)).await
    }

    /// As [`Self::restarted`], with these lines in the master key file.
    pub(crate) async fn restarted_with(self, keys: &str) -> Self {
        let Self { control, shared, organization, folder, .. } = self;
        drop((control, shared));
        let store = Store::open(&folder.path().join("millrace.db")).unwrap();
        Self::over(folder, store, organization, (0, keys)).await
    }

    /// A process with a book, as the server starts it: what was spent before is known before anything is compiled. These
    /// prices are those of its operator's file. Its workers are the caller's, and see what is published. `settled` runs on the thread of the store before anything else does.
    pub(crate) async fn with_book(
        (folder, organization): (TempDir, Id),
        (workers, prices): (usize, Catalogue),
        settled: impl FnOnce() + Send + 'static,
    ) -> (Self, Keeper) {
        let store = Store::open(&folder.path().join("millrace.db")).unwrap();
        let first = |_: &mut dyn Tx| {
            settled();
            Ok::<_, ControlError>(())
        };
        store.write(first).await.unwrap();
        let mut registries = registries(workers);
        registries.meters = Arc::new(Meters::with_ledger());
        registries.prices.store(prices);
        let keeper = Keeper::open(store.clone(), Arc::<Meters>::clone(&registries.meters)).await.unwrap();
        registries.metrics.workers().iter().for_each(|block| block.generation.set(u64::MAX));
        let (rows, keys) = (Queue::default(), MASTER_KEY.repeat(32));
        (Self::of(folder, store, organization, (registries, 0, rows, &keys)).await, keeper)
    }

    /// The folder, after the end of the process.
    pub(crate) fn into_folder(self) -> TempDir {
        let Self { control, shared, folder, registries, .. } = self;
        drop((control, shared, registries));
        folder
    }

    async fn over(folder: TempDir, store: Store, organization: Id, (workers, keys): (usize, &str)) -> Self {
        Self::of(folder, store, organization, (registries(workers), workers, Queue::new(8), keys)).await
    }

    async fn of(
        folder: TempDir,
        store: Store,
        organization: Id,
        (registries, workers, queue, keys): (Registries, usize, Queue, &str),
    ) -> Self {
        let metrics = Arc::clone(&registries.metrics);
        let vault = Vault::parse(keys).unwrap();
        let pepper = open_pepper(&store, &vault).await.unwrap();
        open_egress(&store, &registries).await.unwrap();
        let edit = load(&store, (&vault, &pepper), &registries).await.unwrap();
        let meters = Arc::clone(&registries.meters);
        let (shared, ears) = shared_with(workers, first_of(edit, &registries), (metrics, meters, queue));
        let publisher = Arc::new(Publisher::new(Arc::clone(&shared), registries.clone()));
        let owner = actor(&organization, OrganizationRole::Owner, Vec::new());
        let control =
            Arc::new(Control::new(ControlParts { store, vault: Arc::new(vault), pepper, publisher, files: None }));
        Self { control, shared, organization, owner, folder, registries, _ears: ears }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registries.metrics
    }

    pub(crate) fn served(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load()
    }

    pub(crate) async fn project(&self, name: &str) -> ProjectState {
        let new = NewProject { name: name.to_owned(), ..NewProject::default() };
        self.control.create_project(&self.owner, &self.organization, new).await.unwrap()
    }

    /// Creates a project and returns its id.
    pub(crate) async fn project_id(&self, name: &str) -> Id {
        self.project(name).await.project.id
    }

    pub(crate) async fn state(&self, id: &Id) -> ProjectState {
        self.control.project(&self.owner, id).await.unwrap()
    }

    /// Saves a text over whatever is open; returns its number.
    pub(crate) async fn save(&self, id: &Id, text: &str) -> u32 {
        self.save_as(&self.owner, id, text).await.unwrap()
    }

    pub(crate) async fn save_as(&self, actor: &Actor, id: &Id, text: &str) -> Result<u32, ControlError> {
        let expected = self.open_now(id).await;
        let draft = DraftText { text: text.as_bytes().to_vec(), comment: String::new() };
        self.control.save_draft(actor, id, expected, draft).await.map(|saved| saved.version.number)
    }

    /// What a caller who has just read the open version expects.
    pub(crate) async fn open_now(&self, id: &Id) -> Expected {
        match self.control.open_version(&self.owner, id).await {
            Ok(open) => Expected::Open(super::version_revision(&open.version)),
            Err(_) => Expected::NoneOpen,
        }
    }

    pub(crate) async fn approve(&self, id: &Id, number: u32) {
        self.control.approve(&self.owner, id, number, String::new()).await.unwrap();
    }

    /// Saves, approves and serves a text; returns its number.
    pub(crate) async fn serve(&self, id: &Id, text: &str) -> u32 {
        let number = self.save(id, text).await;
        self.approve(id, number).await;
        self.control.serve(&self.owner, id, number, Intent::default()).await.unwrap();
        number
    }

    /// Names of the routes that are live, with the version that serves them.
    pub(crate) fn live(&self, id: &Id) -> Vec<(String, Option<u64>)> {
        let snapshot = self.served();
        let Some(part) = snapshot.project(id.as_str()) else {
            return Vec::new();
        };
        part.routes().iter().map(|route| (route.full_name.to_string(), part.version())).collect()
    }
}

fn registries(workers: usize) -> Registries {
    let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
    let resolver = Resolver::with_name_servers(Arc::clone(&guard), Vec::new(), |_| {});
    Registries::new(Arc::new(Registry::new(workers)), Arc::new(Origins::new(guard, resolver)))
}

pub(crate) fn organization_row(id: &Id, name: &str) -> Organization {
    Organization {
        id: id.clone(),
        name: name.to_owned(),
        status: OrganizationStatus::Active,
        project_limit: 10,
        active_key_limit: None,
        default_retention_days: 30,
        log_payloads: false,
        require_second_approver: false,
        created_at: unix_time(),
        revision: 1,
    }
}

pub(crate) fn actor(organization: &Id, role: OrganizationRole, grants: Vec<ProjectGrant>) -> Actor {
    let id = Id::random(IdKind::User).unwrap();
    let membership = Membership { organization: organization.clone(), role, grants };
    Actor {
        author: id.clone(),
        name: format!("{}@example.com", id.as_str()),
        id,
        instance_admin: false,
        memberships: vec![membership],
        ..Actor::system()
    }
}

/// A member with one role in one project.
pub(crate) fn member(organization: &Id, project: &Id, role: ProjectRole) -> Actor {
    let grants = vec![ProjectGrant { project: project.clone(), role }];
    actor(organization, OrganizationRole::Member, grants)
}

pub(crate) fn page(limit: u32) -> PageRequest {
    PageRequest { limit, after: None, order: Order::Ascending }
}

/// The kind of a refusal, for tables.
pub(crate) fn kind<T>(outcome: &Result<T, ControlError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(ControlError::NotFound) => "not_found",
        Err(ControlError::NotPermitted(_)) => "not_permitted",
        Err(ControlError::LimitReached(_)) => "limit_reached",
        Err(ControlError::SecondPersonRequired(_)) => "second_person_required",
        Err(ControlError::IllegalTransition(_)) => "illegal_transition",
        Err(ControlError::GenerationConflict(_)) => "generation_conflict",
        Err(ControlError::ServeInProgress(_)) => "serve_in_progress",
        Err(ControlError::NameTaken(_)) => "name_taken",
        Err(ControlError::SlugTaken(_)) => "slug_taken",
        Err(ControlError::SlugLocked) => "slug_locked",
        Err(ControlError::ProjectArchived) => "project_archived",
        Err(ControlError::FileOwned(_)) => "file_owned",
        Err(ControlError::Stale { .. }) => "stale",
        Err(ControlError::TooLarge(_)) => "too_large",
        Err(ControlError::Invalid(_)) => "invalid",
        Err(ControlError::ConfigInvalid(_)) => "config_invalid",
        Err(ControlError::Unavailable(_)) => "unavailable",
        Err(_) => "other",
    }
}

/// A user of the store who is a member of the rig's organization.
pub(crate) async fn person(rig: &Rig, role: OrganizationRole, grants: Vec<ProjectGrant>) -> Actor {
    let actor = actor(&rig.organization, role, grants.clone());
    let user = User {
        id: actor.id.clone(),
        email: actor.name.to_lowercase(),
        password_hash: None,
        instance_admin: false,
        created_at: unix_time(),
        revision: 1,
    };
    let member = Member {
        organization: rig.organization.clone(),
        user: user.id.clone(),
        email: user.email.clone(),
        role,
        grants,
        active_key_limit: None,
        last_seen_at: None,
        created_at: unix_time(),
        revision: 1,
    };
    let insert = rig.control.store().write(move |tx| {
        tx.insert_user(&user)?;
        tx.insert_member(&member)
    });
    insert.await.unwrap();
    actor
}

/// A project that serves `chat` by the model `mock/m`, with a key that an owner of its organization made.
pub(super) struct World {
    pub(super) rig: Rig,
    pub(super) project: Id,
    pub(super) maker: Actor,
    pub(super) key: ApiKey,
    pub(super) text: Secret,
}

impl World {
    pub(super) async fn new() -> Self {
        let rig = Rig::new().await;
        let project = rig.project_id("chat").await;
        rig.serve(&project, GOOD).await;
        let maker = person(&rig, OrganizationRole::Owner, Vec::new()).await;
        let (key, text) = make_key(&rig, &maker, &project).await;
        Self { rig, project, maker, key, text }
    }

    /// Places over the key, the widest first, and the key.
    pub(super) fn sites(&self) -> [PolicySite; 4] {
        let organization = self.rig.organization.clone();
        [
            PolicySite::Organization(organization.clone()),
            PolicySite::Project(self.project.clone()),
            PolicySite::Member { organization, user: self.maker.author.clone() },
            self.at_key(),
        ]
    }

    pub(super) fn at_key(&self) -> PolicySite {
        PolicySite::Key { project: self.project.clone(), key: self.key.id.clone() }
    }
}

/// A key without limits and rules of its own.
pub(crate) async fn make_key(rig: &Rig, maker: &Actor, project: &Id) -> (ApiKey, Secret) {
    let new = NewKey { description: "test".to_owned(), ..NewKey::default() };
    rig.control.create_key(maker, project, new).await.unwrap()
}
