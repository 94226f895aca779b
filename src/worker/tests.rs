//! One worker over real sockets, with parts of every kind.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    base::KeyHasher,
    config::{ProjectContext, check_project},
    metrics::Registry,
    shared::{Shared, tests::shared},
    snapshot::{Edit, Grant, ProjectPart, ProjectSource, Registries, Scope, Snapshot, compile_project},
    upstream::{Allow, Guard, Origins, Resolver, Rules},
};

use super::{Driver, Pinning, Plan, bind_all, spawn};

/// A worker at work until it is dropped.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(super) fn start(first: Snapshot, registry: Arc<Registry>) -> Self {
        let (shared, mut ears) = shared(1, first, registry);
        let listener = bind_all("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let ear = ears.remove(0);
        let plan = Plan { index: 0, pinning: Pinning::None, driver: Driver::Epoll, listener, edge_listener: None, ear };
        let thread = Some(spawn(plan, Arc::clone(&shared), ()).unwrap());
        Self { address, shared, thread }
    }

    /// Sends one request with this key and returns the whole answer.
    fn ask(&self, key: &str, line: &str, body: &str) -> String {
        self.ask_with(key, (line, "connection: close\r\n"), body)
    }

    /// The same with more fields of the head, each with its line end.
    pub(super) fn ask_with(&self, key: &str, (line, fields): (&str, &str), body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: a\r\n{fields}x-api-key: {key}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

const MOCK: &str = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [m]}}\n";

/// A project of this text that may reach servers of this machine.
pub(super) fn served(slug: &str, text: &str, registry: &Arc<Registry>) -> ProjectPart {
    let local = Allow { cidr: "127.0.0.0/8".parse().unwrap(), ports: "1-65535".parse().unwrap() };
    let guard = Arc::new(Guard::new(Rules { allow: vec![local], ports: None }, Vec::new()));
    let resolver = Resolver::with_name_servers(Arc::clone(&guard), Vec::new(), |_| {});
    let registries = Registries::new(Arc::clone(registry), Arc::new(Origins::new(guard, resolver)));
    let source = ProjectSource {
        id: slug.into(),
        slug: slug.into(),
        organization: "acme".into(),
        version: Some(17),
        file: String::new(),
        created: 0,
        config: check_project(text.as_bytes(), ProjectContext::default()).unwrap().config,
        secrets: Arc::default(),
        provider_keys: Vec::new(),
        organization_prices: Vec::new(),
        funding: Default::default(),
    };
    compile_project(&source, &registries).ok().unwrap()
}

pub(super) fn put_key(edit: &mut Edit, hasher: &KeyHasher, (key, project): (&str, &str)) {
    let scope = Scope::Project(project.into());
    let grant = Grant {
        caller: Arc::new(crate::base::Caller::of_key(key)),
        limits: crate::limit::LimitSet::default(),
        scope,
        routes: None,
        enabled: true,
        expires: None,
        policy: None,
    };
    edit.put_grant(hasher.digest(key.as_bytes()), grant);
}

#[test]
fn state_of_the_keys_project_decides_the_answer() {
    let (hasher, registry) = (KeyHasher::keyed(&[5; 32]), Arc::new(Registry::new(1)));
    let mut edit = Edit::empty(hasher.clone());
    edit.put_project("prj_live".into(), served("live", MOCK, &registry));
    edit.put_project("prj_broken".into(), ProjectPart::broken("broken"));
    edit.put_project("prj_archived".into(), ProjectPart::archived("archived"));
    for (key, project) in
        [("k-live", "prj_live"), ("k-broken", "prj_broken"), ("k-archived", "prj_archived"), ("k-none", "prj_none")]
    {
        put_key(&mut edit, &hasher, (key, project));
    }
    let running = Running::start(edit.finish(1), registry);
    let (post, list) = ("POST /v1/chat/completions", "GET /v1/models");
    for (name, key, line, model, status, has) in [
        ("served", "k-live", post, "live/chat", "200 OK", "\r\nx-millrace-config: 17\r\n"),
        ("served, bare name", "k-live", post, "chat", "200 OK", "\r\nx-millrace-generation: 1\r\n"),
        ("foreign project", "k-live", post, "broken/chat", "404 Not Found", "model_not_found"),
        ("broken", "k-broken", post, "broken/chat", "503 Service Unavailable", "\"code\":\"config_error\""),
        ("nothing served", "k-none", post, "live/chat", "404 Not Found", "model_not_found"),
        ("archived", "k-archived", post, "archived/chat", "410 Gone", "\"code\":\"project_archived\""),
        ("archived, any body", "k-archived", post, "live/chat", "410 Gone", "\r\nx-should-retry: false\r\n"),
        ("archived, listing", "k-archived", list, "", "410 Gone", "project_archived"),
        ("unknown key", "k-other", post, "archived/chat", "401 Unauthorized", "invalid_api_key"),
        ("listing", "k-live", list, "", "200 OK", "\"id\":\"live/chat\""),
        ("empty listing", "k-broken", list, "", "200 OK", "\"data\":[]"),
    ] {
        let body = if line == list { String::new() } else { format!("{{\"model\":\"{model}\",\"messages\":[]}}") };
        let answer = running.ask(key, line, &body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(has), "{name}: {answer}");
    }
}

/// A tick confirms too, but only every 50 ms: whoever publishes right behind one waits as long. It is the bell that makes some
/// faster; on a busy machine not all, so it is enough that some are.
#[test]
fn idle_worker_confirms_a_snapshot_at_its_bell() {
    let registry = Arc::new(Registry::new(1));
    let running = Running::start(Edit::empty(KeyHasher::Plain).finish(1), Arc::clone(&registry));
    let block = registry.worker(0).unwrap();
    let confirm = |generation| {
        let published = Instant::now();
        running.shared.publish(running.shared.snapshot.load().edit().finish(generation));
        while block.generation.get() != generation {
            assert!(published.elapsed() < Duration::from_secs(60), "generation {generation} was never confirmed");
            std::thread::yield_now();
        }
        published.elapsed()
    };
    let by_bell = (2..=1_000).map(confirm).skip(1).filter(|took| *took < Duration::from_millis(25));
    assert_eq!(by_bell.take(10).count(), 10, "nothing but the tick confirms");
}
