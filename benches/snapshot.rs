//! Finding a route in a snapshot, and changing one.
//!
//! Rivals: for a change a copy of all tables; for a lookup the same snapshot behind `RwLock<Arc<_>>`, and one locked map
//! that has keys and routes together. The readers run on one thread, then on two at once: a lock costs most when somebody
//! else holds it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex, RwLock};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::base::{Digest, KeyHasher};
use millrace::config::{At, KeyEntry, Position, ProjectContext, check_project};
use millrace::metrics::Registry;
use millrace::snapshot::{
    Edit, Grant, Handle, ProjectPart, ProjectSource, Registries, Route, Scope, Snapshot, Sources, compile,
    compile_project,
};
use millrace::upstream::{Guard, Origins, Resolver, Rules, TtlBounds};

/// A project has so many routes and keys, if there are that many at all.
const ROUTES_A_PROJECT: usize = 1_000;
/// Walks over all entries in an order that no cache foresees.
const STRIDE: usize = 7_919;
const READERS: usize = 2;

/// One key and the route that its client names.
struct Call {
    key: String,
    model: String,
}

fn calls(count: usize) -> Vec<Call> {
    (0..count)
        .map(|at| Call {
            key: format!("mr_test_{at:012}_0123456789012345678901234567890123456789012_012345"),
            model: format!("project-{}/route-{}", at / ROUTES_A_PROJECT, at % ROUTES_A_PROJECT),
        })
        .collect()
}

fn at(value: String) -> At<String> {
    At { value, at: Position::START, path: "bench".into() }
}

fn project(number: usize, routes: usize) -> ProjectSource {
    let mut text = String::from("chat_models:\n  - model_id: fake\n    model: mock/gateway\nroutes:\n");
    for route in 0..routes {
        text += &format!("  route-{route}:\n    chat_models: [fake]\n");
    }
    let slug = format!("project-{number}");
    let config = check_project(text.as_bytes(), ProjectContext::default()).unwrap().config;
    ProjectSource {
        id: slug.as_str().into(),
        slug: slug.as_str().into(),
        organization: "acme".into(),
        version: None,
        file: slug,
        created: 0,
        config,
        secrets: Arc::default(),
        provider_keys: Vec::new(),
        organization_prices: Vec::new(),
        funding: Default::default(),
    }
}

fn keys(calls: &[Call]) -> Vec<KeyEntry> {
    calls
        .iter()
        .enumerate()
        .map(|(number, call)| KeyEntry {
            id: at(format!("key-{number}")),
            digest: Digest::of(call.key.as_bytes()),
            description: None,
            projects: vec![at(call.model.split('/').next().unwrap().to_owned())],
            routes: None,
            enabled: true,
            expires: None,
        })
        .collect()
}

fn registries() -> Registries {
    let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
    let ttl = TtlBounds { min: Duration::from_secs(1), max: Duration::from_secs(300) };
    let resolver = Resolver::new(Arc::clone(&guard), Vec::new(), ttl, |_| {});
    Registries::new(Arc::new(Registry::new(1)), Arc::new(Origins::new(guard, resolver)))
}

fn compiled(calls: &[Call]) -> Snapshot {
    let projects = calls.chunks(ROUTES_A_PROJECT).enumerate().map(|(n, part)| project(n, part.len())).collect();
    let sources = Sources { projects, keys: keys(calls), keys_file: "keys.yaml".into() };
    compile(sources, &registries(), 1).map_err(|refusals| format!("{refusals:?}")).unwrap().0
}

/// The same projects with keys of one project each, as a store holds them: under a pepper.
fn keyed(calls: &[Call]) -> Snapshot {
    let (hasher, registries) = (KeyHasher::keyed(&[7; 32]), registries());
    let mut edit = Edit::empty(hasher.clone());
    for (number, part) in calls.chunks(ROUTES_A_PROJECT).enumerate() {
        let source = project(number, part.len());
        edit.put_project(Arc::clone(&source.id), compile_project(&source, &registries).ok().unwrap());
        for call in part {
            edit.put_grant(hasher.digest(call.key.as_bytes()), grant_of(&source.id));
        }
    }
    edit.finish(1)
}

fn grant_of(project: &Arc<str>) -> Grant {
    let scope = Scope::Project(Arc::clone(project));
    Grant {
        caller: Arc::new(millrace::base::Caller::of_key("key")),
        limits: millrace::limit::LimitSet::default(),
        scope,
        routes: None,
        enabled: true,
        expires: None,
        policy: None,
    }
}

/// What stands behind the one lock.
struct Tables {
    grants: HashMap<Digest, Arc<Grant>>,
    routes: HashMap<Box<str>, Arc<Route>>,
}

impl Tables {
    fn copied(snapshot: &Snapshot, calls: &[Call]) -> Self {
        let mut tables = Self { grants: HashMap::new(), routes: HashMap::new() };
        for call in calls {
            let grant = snapshot.grant(call.key.as_bytes()).unwrap();
            let route = snapshot.route(grant, &call.model).unwrap();
            tables.grants.insert(Digest::of(call.key.as_bytes()), Arc::clone(grant));
            tables.routes.insert(call.model.as_str().into(), Arc::clone(route.route));
        }
        tables
    }

    fn route(&self, grant: &Grant, model: &str) -> Option<Arc<Route>> {
        let route = self.routes.get(model)?;
        let slug = model.split('/').next()?;
        let own = grant.scope.ids().iter().any(|id| **id == *slug);
        (own && grant.may_call(&route.full_name)).then(|| Arc::clone(route))
    }
}

/// The same snapshot thrice; each is asked for the route of a call.
struct Rivals {
    calls: Vec<Call>,
    grants: Vec<Arc<Grant>>,
    handle: Handle,
    keyed: Handle,
    locked: RwLock<Arc<Snapshot>>,
    map: Mutex<Tables>,
}

type Lookup = fn(&Rivals, usize) -> usize;

impl Rivals {
    fn new(count: usize) -> Self {
        let calls = calls(count);
        let handle = Handle::new(compiled(&calls));
        let keyed = Handle::new(keyed(&calls));
        let snapshot = handle.load();
        assert_eq!(snapshot.route_count(), count);
        let grants = calls.iter().map(|call| Arc::clone(snapshot.grant(call.key.as_bytes()).unwrap())).collect();
        let map = Mutex::new(Tables::copied(&snapshot, &calls));
        Self { calls, grants, handle, keyed, locked: RwLock::new(snapshot), map }
    }

    fn swap(&self, at: usize) -> usize {
        self.find(&self.handle.load(), at)
    }

    fn rwlock(&self, at: usize) -> usize {
        let snapshot = Arc::clone(&self.locked.read().unwrap());
        self.find(&snapshot, at)
    }

    fn mutex(&self, at: usize) -> usize {
        let (call, grant) = (self.calls.get(at).unwrap(), self.grants.get(at).unwrap());
        let route = self.map.lock().unwrap().route(grant, &call.model).unwrap();
        route.full_name.len()
    }

    fn find(&self, snapshot: &Snapshot, at: usize) -> usize {
        let (call, grant) = (self.calls.get(at).unwrap(), self.grants.get(at).unwrap());
        snapshot.route(grant, &call.model).unwrap().route.full_name.len()
    }

    /// With the key as the client sends it: its SHA-256 is most of the time.
    fn swap_by_key(&self, at: usize) -> usize {
        self.find_by_key(&self.handle.load(), at)
    }

    /// The same under a pepper: one compression more.
    fn swap_by_peppered_key(&self, at: usize) -> usize {
        self.find_by_key(&self.keyed.load(), at)
    }

    fn find_by_key(&self, snapshot: &Snapshot, at: usize) -> usize {
        let call = self.calls.get(at).unwrap();
        let grant = snapshot.grant(call.key.as_bytes()).unwrap();
        snapshot.route(grant, &call.model).unwrap().route.full_name.len()
    }

    /// Replaces one key, as a disabling does, and throws the result away.
    fn change_key(&self, at: usize) -> usize {
        let mut edit = self.keyed.load().edit();
        edit.remove_grant(&KeyHasher::Plain.digest(self.calls.get(at).unwrap().key.as_bytes()));
        edit.put_grant(Digest::of(self.calls.get(at).unwrap().key.as_bytes()), grant_of(&"project-0".into()));
        edit.finish(2).generation().try_into().unwrap()
    }

    /// Replaces one project by a compiled one.
    fn change_project(&self, _at: usize) -> usize {
        let mut edit = self.keyed.load().edit();
        edit.put_project("project-0".into(), ProjectPart::archived("project-0"));
        edit.finish(2).generation().try_into().unwrap()
    }

    /// The rival of both: a copy of all tables.
    fn copy_all(&self, _at: usize) -> usize {
        let tables = self.map.lock().unwrap();
        (tables.grants.clone(), tables.routes.clone()).0.len()
    }

    fn mutex_by_key(&self, at: usize) -> usize {
        let call = self.calls.get(at).unwrap();
        let digest = Digest::of(call.key.as_bytes());
        let tables = self.map.lock().unwrap();
        let grant = tables.grants.get(&digest).filter(|grant| grant.is_valid()).unwrap();
        let route = tables.route(grant, &call.model).unwrap();
        route.full_name.len()
    }

    fn next(&self, at: usize) -> usize {
        (at + STRIDE) % self.calls.len()
    }

    /// Time from the first reader's start to the last one's end, each with `count` lookups. The readers read the clock
    /// themselves: the thread that waits for them may be woken late.
    fn contended(&self, count: u64, lookup: Lookup) -> Duration {
        let barrier = Barrier::new(READERS);
        let read = &|mut at: usize| {
            barrier.wait();
            let started = Instant::now();
            for _ in 0..count {
                at = self.next(at);
                black_box(lookup(self, at));
            }
            (started, Instant::now())
        };
        let spans: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> =
                (0..READERS).map(|reader| scope.spawn(move || read(reader % self.calls.len()))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        let first = spans.iter().map(|(started, _)| *started).min().unwrap();
        spans.iter().map(|(_, ended)| *ended).max().unwrap() - first
    }
}

const ROUTE_LOOKUPS: [(&str, Lookup); 3] =
    [("load_route", Rivals::swap), ("rival_rwlock_arc", Rivals::rwlock), ("rival_mutex_map", Rivals::mutex)];
const KEY_LOOKUPS: [(&str, Lookup); 3] = [
    ("load_key_route", Rivals::swap_by_key),
    ("load_peppered_key_route", Rivals::swap_by_peppered_key),
    ("rival_mutex_map_key", Rivals::mutex_by_key),
];
const CHANGES: [(&str, Lookup); 3] = [
    ("change_key", Rivals::change_key),
    ("change_project", Rivals::change_project),
    ("rival_copy_all", Rivals::copy_all),
];

fn bench(c: &mut Criterion) {
    for count in [1, 1_000, 100_000] {
        let rivals = Rivals::new(count);
        let mut group = c.benchmark_group(format!("snapshot/{count}"));
        for (name, lookup) in ROUTE_LOOKUPS.into_iter().chain(KEY_LOOKUPS).chain(CHANGES) {
            let mut at = 0;
            group.bench_function(name, |b| {
                b.iter(|| {
                    at = rivals.next(at);
                    lookup(black_box(&rivals), at)
                });
            });
        }
        for (name, lookup) in ROUTE_LOOKUPS {
            group.bench_function(format!("{name}/two_threads"), |b| {
                b.iter_custom(|count| rivals.contended(count, lookup));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
