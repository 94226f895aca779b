//! Tests of the resolver against a scripted name server.

use std::collections::HashSet;

use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{RData, Record, RecordType},
};
use tokio::{
    net::{TcpListener, UdpSocket as Socket},
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
};

use super::*;
use crate::upstream::{
    address::Status,
    egress::{Allow, EgressError, Rules},
};

/// What the name server says to every question.
#[derive(Clone)]
enum Says {
    Addresses(&'static [&'static str], u32),
    Code(ResponseCode),
    Nothing,
}

/// A resolver, its scripted name server, and what it reported.
struct Stage {
    resolver: Resolver,
    script: Arc<Mutex<Says>>,
    events: UnboundedReceiver<Event>,
    asked: Arc<Mutex<HashSet<String>>>,
    running: JoinHandle<()>,
}

const SHORT: Timing = Timing {
    ttl_min: Duration::from_millis(10),
    ttl_max: Duration::from_secs(300),
    stale: Duration::from_secs(300),
    retry_min: Duration::from_millis(1),
    retry_max: Duration::from_millis(20),
    lookup_max: Duration::from_millis(200),
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Ends a test that would hang.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened for 20 s")
}

impl Stage {
    async fn new(says: Says, rules: Rules) -> Self {
        let (socket, tcp) = name_server_sockets().await;
        let server = socket.local_addr().unwrap();
        let script = Arc::new(Mutex::new(says));
        let asked = Arc::new(Mutex::new(HashSet::new()));
        tokio::spawn(serve(socket, tcp, Arc::clone(&script), Arc::clone(&asked)));
        let (sender, events) = unbounded_channel();
        let observe = move |event| drop(sender.send(event));
        let mut inner = Inner::new(Arc::new(Guard::new(rules, Vec::new())), vec![server], Box::new(observe));
        inner.timing = SHORT;
        inner.has_route = |_| true;
        let resolver = Resolver(Arc::new(inner));
        let running = tokio::spawn(resolver.clone().run(std::future::pending()));
        Self { resolver, script, events, asked, running }
    }

    fn track(&self, url: &str) -> Arc<Addresses> {
        self.resolver.track(&self.resolver.0.guard.parse(url).unwrap())
    }

    fn say(&self, says: Says) {
        *self.script.lock().unwrap() = says;
    }

    /// The next event that `wanted` accepts; others are skipped, since lookups go on all the time.
    async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = soon(self.events.recv()).await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn failure(&mut self, wanted: ResolveError) -> bool {
        match self.event(|event| matches!(event, Event::Failed { error, .. } if *error == wanted)).await {
            Event::Failed { kept, .. } => kept,
            other => panic!("{other:?}"),
        }
    }
}

/// A port over UDP, and the same over TCP: held but not served, so that a second try there meets silence and no stranger.
async fn name_server_sockets() -> (Socket, TcpListener) {
    for _ in 0..100 {
        let socket = Socket::bind("127.0.0.1:0").await.unwrap();
        // Another test may have a connection on that port.
        if let Ok(tcp) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, tcp);
        }
    }
    panic!("no port is free over both");
}

async fn serve(socket: Socket, tcp: TcpListener, script: Arc<Mutex<Says>>, asked: Arc<Mutex<HashSet<String>>>) {
    let mut packet = [0; 4_096];
    let _held = tcp;
    loop {
        let (bytes, from) = socket.recv_from(&mut packet).await.unwrap();
        let question = Message::from_vec(&packet[..bytes]).unwrap();
        let query = question.queries[0].clone();
        asked.lock().unwrap().insert(format!("{} {}", query.name(), query.query_type()));
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        let says = script.lock().unwrap().clone();
        match says {
            Says::Nothing => continue,
            Says::Code(code) => answer.metadata.response_code = code,
            Says::Addresses(all, ttl) => {
                for ip in all.iter().map(|ip| ip.parse::<IpAddr>().unwrap()) {
                    if ip.is_ipv4() == (query.query_type() == RecordType::A) {
                        answer.add_answer(Record::from_rdata(query.name().clone(), ttl, RData::from(ip)));
                    }
                }
            }
        }
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

fn picks(addresses: &Addresses) -> Vec<String> {
    (0..addresses.count()).filter_map(|turn| addresses.pick(turn)).map(|a| a.to_string()).collect()
}

#[test]
fn both_families_are_asked_and_answers_published() {
    runtime().block_on(async {
        let mut stage =
            Stage::new(Says::Addresses(&["1.1.1.1", "1.0.0.1", "2606:4700::1"], 60), Rules::default()).await;
        let addresses = stage.track("https://API.example:8443/v1");
        assert_eq!((addresses.status(), addresses.pick(0)), (Status::Unresolved, None));
        soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
        assert_eq!(picks(&addresses), ["1.1.1.1:8443", "1.0.0.1:8443", "[2606:4700::1]:8443"]);
        let event = stage.event(|_| true).await;
        assert!(
            matches!(&event, Event::Resolved { host, addresses } if &**host == "api.example" && addresses.len() == 3)
        );
        let asked = stage.asked.lock().unwrap().clone();
        assert_eq!(asked, HashSet::from(["api.example. A".to_owned(), "api.example. AAAA".to_owned()]));
    });
}

#[test]
fn life_follows_the_answer_within_bounds() {
    for (name, ttl, want) in [
        ("zero is raised", 0, Duration::from_millis(10)),
        ("kept", 60, Duration::from_secs(60)),
        ("a day is cut", 86_400, Duration::from_secs(300)),
    ] {
        runtime().block_on(async {
            let stage = Stage::new(Says::Addresses(&["1.1.1.1"], ttl), Rules::default()).await;
            let addresses = stage.track("https://api.example");
            let before = now();
            soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
            let State::Known { fresh_until, stale_until, .. } = &*addresses.load() else { panic!("{name}") };
            // The library counts an answer's life from its arrival, in whole seconds.
            let (least, most) = (before + want.saturating_sub(Duration::from_secs(1)), now() + want);
            assert!(
                (least..=most).contains(fresh_until),
                "{name}: {:?}",
                fresh_until.saturating_duration_since(before)
            );
            assert_eq!(stale_until.saturating_duration_since(*fresh_until), Duration::from_secs(300), "{name}");
        });
    }
}

#[test]
fn new_answer_replaces_the_old_one() {
    runtime().block_on(async {
        let mut stage = Stage::new(Says::Addresses(&["1.1.1.1"], 0), Rules::default()).await;
        let addresses = stage.track("https://api.example");
        stage.event(|event| matches!(event, Event::Resolved { .. })).await;
        assert_eq!(picks(&addresses), ["1.1.1.1:443"]);
        stage.say(Says::Addresses(&["8.8.8.8", "2001:4860::8888"], 60));
        stage.event(|event| matches!(event, Event::Resolved { addresses, .. } if addresses.len() == 2)).await;
        soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
        assert_eq!(picks(&addresses), ["8.8.8.8:443", "[2001:4860::8888]:443"]);
    });
}

#[test]
fn trouble_fails_a_new_name_and_keeps_a_known_one() {
    for (name, says, error) in [
        ("NXDOMAIN", Says::Code(ResponseCode::NXDomain), ResolveError::NotFound),
        ("SERVFAIL", Says::Code(ResponseCode::ServFail), ResolveError::Server),
        ("REFUSED", Says::Code(ResponseCode::Refused), ResolveError::Server),
        ("no address", Says::Addresses(&[], 60), ResolveError::NoAddress),
        ("timeout", Says::Nothing, ResolveError::Timeout),
    ] {
        runtime().block_on(async {
            let mut stage = Stage::new(says.clone(), Rules::default()).await;
            let addresses = stage.track("https://api.example");
            assert!(!stage.failure(error).await, "{name}: kept nothing");
            assert_eq!(addresses.status(), Status::Failed(error), "{name}");
            assert_eq!(addresses.pick(0), None, "{name}");

            stage.say(Says::Addresses(&["1.1.1.1"], 0));
            stage.event(|event| matches!(event, Event::Resolved { .. })).await;
            stage.say(says);
            assert!(stage.failure(error).await, "{name}: kept the good answer");
            assert_eq!(addresses.pick(0), Some("1.1.1.1:443".parse().unwrap()), "{name}");
        });
    }
}

#[test]
fn name_that_turns_private_loses_its_good_addresses() {
    for (name, answer, bad) in [
        ("loopback", &["127.0.0.1"][..], "127.0.0.1"),
        ("metadata", &["169.254.169.254"][..], "169.254.169.254"),
        ("mixed", &["1.1.1.1", "10.0.0.1"][..], "10.0.0.1"),
        ("mixed families", &["1.1.1.1", "fd00::1"][..], "fd00::1"),
        ("mapped", &["1.1.1.1", "::ffff:1.1.1.1"][..], "::ffff:1.1.1.1"),
        ("NAT64", &["64:ff9b::7f00:1"][..], "64:ff9b::7f00:1"),
    ] {
        runtime().block_on(async {
            let mut stage = Stage::new(Says::Addresses(&["1.1.1.1"], 0), Rules::default()).await;
            let addresses = stage.track("https://rebind.example");
            stage.event(|event| matches!(event, Event::Resolved { .. })).await;
            assert_eq!(picks(&addresses), ["1.1.1.1:443"], "{name}");

            stage.say(Says::Addresses(answer, 0));
            let event = stage.event(|event| matches!(event, Event::Failed { .. })).await;
            let Event::Failed { error: ResolveError::Denied(EgressError::Range { address, .. }), kept, .. } = event
            else {
                panic!("{name}: {event:?}")
            };
            assert_eq!((address, kept), (bad.parse().unwrap(), false), "{name}");
            assert!(matches!(addresses.status(), Status::Failed(ResolveError::Denied(_))), "{name}");
            assert_eq!((addresses.count(), addresses.pick(0)), (0, None), "{name}");

            // A name server in trouble afterwards does not bring the old answer back.
            stage.say(Says::Code(ResponseCode::ServFail));
            assert!(!stage.failure(ResolveError::Server).await, "{name}");
            assert_eq!(addresses.pick(0), None, "{name}");

            stage.say(Says::Addresses(&["1.0.0.1"], 60));
            stage.event(|event| matches!(event, Event::Resolved { .. })).await;
            soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
            assert_eq!(picks(&addresses), ["1.0.0.1:443"], "{name}");
        });
    }
}

#[test]
fn listed_network_may_be_reached_by_name() {
    runtime().block_on(async {
        let allow = vec![Allow { cidr: "10.1.0.0/16".parse().unwrap(), ports: "8000".parse().unwrap() }];
        let stage = Stage::new(Says::Addresses(&["10.1.2.3"], 60), Rules { allow, ports: None }).await;
        let listed = stage.track("http://vllm.example:8000/v1");
        let other_port = stage.track("https://vllm.example:8001/v1");
        soon(stage.resolver.first_lookups(&[Arc::clone(&listed), Arc::clone(&other_port)])).await;
        assert_eq!(picks(&listed), ["10.1.2.3:8000"]);
        assert!(matches!(other_port.status(), Status::Failed(ResolveError::Denied(_))));
    });
}

#[test]
fn unreachable_family_is_left_out() {
    runtime().block_on(async {
        let mut stage = Stage::new(Says::Addresses(&["1.1.1.1", "2606:4700::1"], 60), Rules::default()).await;
        stage.running.abort();
        let guard = Arc::clone(&stage.resolver.0.guard);
        for (name, route, want) in [
            ("no IPv6", (|a: SocketAddr| a.is_ipv4()) as fn(SocketAddr) -> bool, &["1.1.1.1:443"][..]),
            ("no network", |_| false, &["1.1.1.1:443", "[2606:4700::1]:443"][..]),
        ] {
            let mut inner = Inner::new(Arc::clone(&guard), stage.resolver.0.source.servers.clone(), Box::new(|_| {}));
            inner.has_route = route;
            stage.resolver = Resolver(Arc::new(inner));
            let running = tokio::spawn(stage.resolver.clone().run(std::future::pending()));
            let addresses = stage.track("https://api.example");
            soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
            assert_eq!(picks(&addresses), want, "{name}");
            running.abort();
        }
    });
}

#[test]
fn one_upstream_is_looked_up_once_and_forgotten_when_unused() {
    runtime().block_on(async {
        let mut stage = Stage::new(Says::Addresses(&["1.1.1.1"], 0), Rules::default()).await;
        let first = stage.track("https://api.example/v1");
        let second = stage.track("https://API.example:443/v2");
        assert!(Arc::ptr_eq(&first, &second));
        let other_port = stage.track("https://api.example:8443");
        assert!(!Arc::ptr_eq(&first, &other_port));
        stage.event(|event| matches!(event, Event::Resolved { .. })).await;
        drop((first, second, other_port));
        for _ in 0..2 {
            stage.event(|event| matches!(event, Event::Forgotten { .. })).await;
        }
        assert!(stage.resolver.0.hosts().known.is_empty());
        let again = stage.track("https://api.example/v1");
        soon(stage.resolver.first_lookups(&[Arc::clone(&again)])).await;
        assert_eq!(picks(&again), ["1.1.1.1:443"]);
    });
}

#[test]
fn literal_address_needs_no_resolver() {
    let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
    let resolver = Resolver::new(Arc::clone(&guard), Vec::new(), bounds(1, 300), |event| panic!("{event:?}"));
    for (url, want) in [("https://1.1.1.1/v1", "1.1.1.1:443"), ("https://[2606:4700::1]:8443", "[2606:4700::1]:8443")] {
        let addresses = resolver.track(&guard.parse(url).unwrap());
        assert_eq!(picks(&addresses), [want], "{url}");
        assert_eq!(addresses.status(), Status::Fresh { until: None }, "{url}");
    }
}

#[test]
fn hosts_file_is_honoured_and_guarded() {
    runtime().block_on(async {
        let stage = Stage::new(Says::Code(ResponseCode::NXDomain), Rules::default()).await;
        let addresses = stage.track("https://localhost");
        soon(stage.resolver.first_lookups(&[Arc::clone(&addresses)])).await;
        assert!(matches!(addresses.status(), Status::Failed(ResolveError::Denied(_))), "{:?}", addresses.status());
        assert!(stage.asked.lock().unwrap().is_empty());
    });
}

#[test]
fn run_ends_at_shutdown() {
    runtime().block_on(async {
        let stage = Stage::new(Says::Nothing, Rules::default()).await;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let running = tokio::spawn(stage.resolver.clone().run(async move { stopped.notified().await }));
        stop.notify_one();
        soon(running).await.unwrap();
    });
}

fn bounds(min_s: u64, max_s: u64) -> TtlBounds {
    TtlBounds { min: Duration::from_secs(min_s), max: Duration::from_secs(max_s) }
}

#[test]
fn settings_bound_the_life_of_an_answer() {
    for (name, ttl, want) in
        [("given", bounds(7, 90), (7, 90)), ("equal", bounds(5, 5), (5, 5)), ("crossed", bounds(60, 5), (60, 60))]
    {
        let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
        let timing = Resolver::new(guard, Vec::new(), ttl, |_| {}).0.timing;
        assert_eq!((timing.ttl_min.as_secs(), timing.ttl_max.as_secs()), want, "{name}");
    }
}

#[test]
fn waits_grow_and_stay_within_bounds() {
    for (failures, seconds) in [(0, 1), (1, 2), (4, 16), (5, 30), (31, 30), (32, 30), (u32::MAX, 30)] {
        assert_eq!(TIMING.back_off(failures), Duration::from_secs(seconds), "{failures}");
    }
    let minute = Duration::from_secs(60);
    for _ in 0..1_000 {
        assert!((Duration::from_secs(42)..=Duration::from_secs(54)).contains(&early(minute)));
        assert!((Duration::from_secs(48)..=Duration::from_secs(72)).contains(&spread(minute)));
    }
}
