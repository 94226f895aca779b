//! Who is there, and what they may be given.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    bill::Price,
    history::{KEYS, MEMBERS, PROJECTS},
};
use crate::{
    base::{Id, IdKind, Secret, frozen},
    control::{
        Actor, ControlError, Keeper, NewPlatformCredential, PolicySite,
        tests::{Rig, actor, make_key, organization_row, person},
    },
    limit::{CalendarUnit, Kind, Window},
    store::{ApiKey, LimitAlgorithm, LimitKind, OrganizationRole, Store},
    usage::{Catalogue, PriceSource, PriceTable},
};

/// Workers whose requests share everything.
pub(super) const WORKERS: usize = 4;
/// When every history begins, in seconds since 1970.
pub(super) const START_S: u64 = 1_800_000_012;
/// What the model of every project writes at most.
pub(super) const OUTPUT_MAX: u64 = 2_000;
/// What the platform charges, in pico-USD a token.
pub(super) const PLATFORM: Price = Price { input: 300_000, output: 1_200_000 };
/// The operator's file that says so.
const PRICES: &str = "#millrace-prices 1 source=t date=2026-11-01 unit=pico_usd_per_token\n@openai\n\
                      m in=300000 out=1200000\n";

/// Where a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    Organization,
    Project(usize),
    Member(usize),
    Key(usize),
}

/// A limit that histories may set: where, of what, over which time, and how much a level is.
pub(super) struct ListedLimit {
    pub(super) site: Site,
    pub(super) kind: Kind,
    pub(super) window: Window,
    pub(super) unit: u64,
}

const fn listed(site: Site, kind: Kind, window: Window, unit: u64) -> ListedLimit {
    ListedLimit { site, kind, window, unit }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const DAY: Window = Window::Calendar(CalendarUnit::Day, 1);

pub(super) const LIMITS: &[ListedLimit] = &[
    listed(Site::Organization, Kind::Money, Window::Total, 1_500_000),
    listed(Site::Organization, Kind::Requests, Window::Fixed(minutes(1)), 2),
    listed(Site::Organization, Kind::TotalTokens, Window::Sliding(minutes(60)), 700),
    listed(Site::Project(0), Kind::Money, DAY, 500_000),
    listed(Site::Project(1), Kind::Money, Window::Fixed(minutes(60)), 500_000),
    listed(Site::Project(2), Kind::Requests, Window::Fixed(minutes(60)), 1),
    listed(Site::Project(0), Kind::OutputTokens, Window::Aligned(minutes(60)), 400),
    listed(Site::Member(0), Kind::Concurrent, Window::Open, 1),
    listed(Site::Member(1), Kind::InputTokens, Window::Bucket(minutes(60)), 300),
    listed(Site::Member(0), Kind::Money, Window::Sliding(minutes(1)), 400_000),
    listed(Site::Key(0), Kind::Requests, Window::Sliding(minutes(60)), 1),
    listed(Site::Key(1), Kind::Money, Window::Total, 400_000),
    listed(Site::Key(2), Kind::OutputTokens, Window::Fixed(minutes(1)), 300),
    listed(Site::Key(3), Kind::TotalTokens, DAY, 500),
    listed(Site::Key(4), Kind::Money, Window::Bucket(minutes(1)), 400_000),
    listed(Site::Key(5), Kind::Requests, Window::Total, 1),
];

/// A limit of a route as its configuration has it.
pub(super) struct RouteBound {
    pub(super) is_keyed: bool,
    pub(super) kind: Kind,
    pub(super) window: Window,
    pub(super) max: u64,
}

const fn bound(is_keyed: bool, kind: Kind, window: Window, max: u64) -> RouteBound {
    RouteBound { is_keyed, kind, window, max }
}

/// Limits of a route, as text and as what they mean.
pub(super) const BOUNDS: &[(&str, &[RouteBound])] = &[
    ("", &[]),
    (
        ", rate_limiting: {max_requests: 4, window_size: 60, scope: key}",
        &[bound(true, Kind::Requests, Window::Fixed(minutes(1)), 4)],
    ),
    (
        ", budget_limiting: {max_budget: \"0.002\", window_size: 1 hour, algorithm: sliding_window}",
        &[bound(false, Kind::Money, Window::Sliding(minutes(60)), 2_000_000)],
    ),
    (
        ", budget_limiting: {max_budget: \"0.001\", window_size: 1 hour, scope: key}, \
         token_limiting: {output: {max_tokens: 900, window_size: 1 hour}}",
        &[
            bound(false, Kind::OutputTokens, Window::Fixed(minutes(60)), 900),
            bound(true, Kind::Money, Window::Fixed(minutes(60)), 1_000_000),
        ],
    ),
    (
        ", concurrency_limiting: {max_concurrent: 2}, rate_limiting: {max_requests: 6, window_size: 1 hour}",
        &[bound(false, Kind::Requests, Window::Fixed(minutes(60)), 6), bound(false, Kind::Concurrent, Window::Open, 2)],
    ),
];

/// The words of a limit for the API.
pub(super) fn words(limit: &ListedLimit) -> (LimitKind, Option<String>, LimitAlgorithm) {
    let kind = match limit.kind {
        Kind::Requests => LimitKind::Requests,
        Kind::InputTokens => LimitKind::TokensInput,
        Kind::OutputTokens => LimitKind::TokensOutput,
        Kind::TotalTokens => LimitKind::Tokens,
        Kind::Money => LimitKind::Usd,
        Kind::AudioMillis => LimitKind::Audio,
        Kind::Concurrent => LimitKind::Concurrent,
    };
    let text = |length: Duration| Some(format!("{} minutes", length.as_secs() / 60));
    let (window, algorithm) = match limit.window {
        Window::Fixed(length) => (text(length), LimitAlgorithm::FixedWindow),
        Window::Aligned(length) => (text(length), LimitAlgorithm::AlignedFixedWindow),
        Window::Sliding(length) => (text(length), LimitAlgorithm::SlidingWindow),
        Window::Bucket(length) => (text(length), LimitAlgorithm::TokenBucket),
        Window::Calendar(..) => (Some("1 day".to_owned()), LimitAlgorithm::Calendar),
        Window::Total => (None, LimitAlgorithm::Total),
        Window::Open => (None, LimitAlgorithm::Concurrent),
    };
    (kind, window, algorithm)
}

/// The text of a project: which model it serves, at which price, within which bounds.
pub(super) fn project_text(project: usize, (input, output): (u64, u64), bounds: usize, on_cancel: usize) -> String {
    let on_cancel = ["estimate", "drain", "free"][on_cancel];
    // In 100 pico-USD a token, so in ten thousandths of a USD a million tokens.
    let usd = |price: u64| format!("\"{}.{:04}\"", price / 10_000, price % 10_000);
    let own = format!(
        ", credentials: {{base_url: \"https://api.openai.com/v1\"}}, input_cost_per_million_tokens: {}, \
         output_cost_per_million_tokens: {}",
        usd(input),
        usd(output)
    );
    let (mode, own) = [("api-keys", own.as_str()), ("credits", ""), ("hybrid", own.as_str())][project];
    let (bounds, _) = BOUNDS[bounds];
    format!(
        "mode: {mode}\nchat_models: [{{model_id: m, model: openai/m, max_output_tokens: {OUTPUT_MAX}, on_cancel: {on_cancel}{own}}}]\n\
         routes: {{chat: {{chat_models: [m]{bounds}}}}}\n"
    )
}

/// A store in which everybody is there, and nothing was spent.
pub(super) struct Template {
    folder: TempDir,
    pub(super) organization: Id,
    pub(super) admin: Actor,
    pub(super) projects: Vec<Id>,
    pub(super) members: Vec<Id>,
    pub(super) keys: Vec<(ApiKey, Secret)>,
    /// Events of the audit log.
    pub(super) audited: u64,
}

/// The prices of the first version of each project.
pub(super) const FIRST_PRICE: (u64, u64) = (1_000, 4_000);

impl Template {
    pub(super) fn get(tokio: &Runtime) -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| tokio.block_on(Self::make()))
    }

    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let organization = Id::random(IdKind::Organization).unwrap();
        let row = organization_row(&organization, "default");
        let store = Store::open(&folder.path().join("millrace.db")).unwrap();
        store.write(move |tx| Ok::<_, ControlError>(tx.insert_organization(&row)?)).await.unwrap();
        drop(store);
        let (rig, keeper) = start((folder, organization.clone()), clocks(0)).await;
        let admin = Actor { instance_admin: true, ..actor(&organization, OrganizationRole::Owner, Vec::new()) };
        let platform = NewPlatformCredential {
            provider: "openai".to_owned(),
            value: Secret::new("sk-platform-0123456789".to_owned()),
            base_url: None,
        };
        rig.control.enter_platform_credential(&admin, platform).await.unwrap();
        let (mut projects, mut makers, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for project in 0..PROJECTS {
            let id = rig.project_id(&format!("p{project}")).await;
            rig.serve(&id, &project_text(project, FIRST_PRICE, 0, 0)).await;
            projects.push(id);
        }
        for _ in 0..MEMBERS {
            makers.push(person(&rig, OrganizationRole::Owner, Vec::new()).await);
        }
        for key in 0..KEYS {
            keys.push(make_key(&rig, &makers[member_of(key)], &projects[project_of(key)]).await);
        }
        let audited = audited(&rig).await;
        let members = makers.into_iter().map(|maker| maker.author).collect();
        drop(keeper);
        let folder = rig.into_folder();
        Self { folder, organization, admin, projects, members, keys, audited }
    }

    /// A copy of it, to be spent in.
    pub(super) fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let from = entry.unwrap().path();
            let is_book = from.file_name().unwrap().to_str().unwrap().starts_with("millrace.db");
            if is_book && !from.to_str().unwrap().ends_with("lock") {
                fs::copy(&from, copy.path().join(from.file_name().unwrap())).unwrap();
            }
        }
        copy
    }

    pub(super) fn site(&self, site: Site) -> PolicySite {
        match site {
            Site::Organization => PolicySite::Organization(self.organization.clone()),
            Site::Project(project) => PolicySite::Project(self.projects[project].clone()),
            Site::Member(member) => {
                PolicySite::Member { organization: self.organization.clone(), user: self.members[member].clone() }
            }
            Site::Key(key) => {
                let project = self.projects[project_of(key)].clone();
                PolicySite::Key { project, key: self.keys[key].0.id.clone() }
            }
        }
    }

    /// The name of a counter's owner in accounts.
    pub(super) fn owner(&self, site: Site) -> String {
        match site {
            Site::Organization => format!("organization:{}", self.organization),
            Site::Project(project) => format!("project:{}", self.projects[project]),
            Site::Member(member) => format!("member:{}/{}", self.organization, self.members[member]),
            Site::Key(key) => format!("key:{}", self.keys[key].0.id),
        }
    }
}

pub(super) fn project_of(key: usize) -> usize {
    key % PROJECTS
}

pub(super) fn member_of(key: usize) -> usize {
    key / PROJECTS
}

/// Both clocks so long after the start.
pub(super) fn clocks(since_ns: u64) -> (Duration, Duration) {
    let since = Duration::from_nanos(since_ns);
    (Duration::from_secs(1_000) + since, Duration::from_secs(START_S) + since)
}

/// A process over a folder at a time.
pub(super) async fn start(place: (TempDir, Id), at: (Duration, Duration)) -> (Rig, Keeper) {
    frozen::set(Some(at));
    let prices = Catalogue::new(Some(Arc::new(PriceTable::new(PRICES, PriceSource::File).unwrap())));
    Rig::with_book(place, (WORKERS, prices), move || frozen::set(Some(at))).await
}

/// How many events the audit log has; it is whole.
pub(super) async fn audited(rig: &Rig) -> u64 {
    match rig.control.store().read(crate::store::verify_chain).await.unwrap() {
        crate::store::Chain::Whole { entries, .. } => entries,
        broken => panic!("{broken:?}"),
    }
}
