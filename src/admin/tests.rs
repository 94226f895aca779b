//! The admin server over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AdminState, Check, Output, Readiness, serve};
use crate::base::{Labels, NanoUsd, TokenCounts, now};
use crate::metrics::{Endpoint, HEARTBEAT_MAX, Observation, Registry};
use crate::usage::Queue;

struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Arc::new(Registry::new(2));
        let ready = Arc::new(AtomicBool::new(true));
        let of_state = Arc::clone(&ready);
        let state = AdminState {
            meters: Arc::new(crate::limit::Meters::in_memory()),
            keeper: None,
            registry: Arc::clone(&registry),
            queue: Arc::new(Queue::new(8)),
            output: Arc::new(Output::start(std::io::sink()).unwrap()),
            readiness: Box::new(move || Readiness {
                ready: of_state.load(Relaxed),
                checks: vec![Check {
                    name: "project \"broken\"".into(),
                    ok: false,
                    message: "does not compile".into(),
                }],
            }),
            hosts: vec!["gateway.internal".into()],
            api: None,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, state, stopped));
        Self { address, registry, ready, stop, task }
    }

    /// Sends raw bytes and reads until the server closes.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn request(&self, method: &str, target: &str, host: &str) -> String {
        self.raw(&format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    async fn get(&self, target: &str) -> String {
        self.request("GET", target, "localhost").await
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.block_on(bounded).unwrap();
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

fn has_header(answer: &str, line: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().any(|found| found.eq_ignore_ascii_case(line))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn paths_and_methods_have_their_status() {
    run(async {
        let server = Server::start().await;
        for (method, target, want) in [
            ("GET", "/livez", "200"),
            ("GET", "/healthz", "200"),
            ("GET", "/health", "200"),
            ("HEAD", "/livez", "200"),
            ("GET", "/readyz", "200"),
            ("GET", "/readyz?verbose", "200"),
            ("GET", "/metrics", "200"),
            ("GET", "/", "404"),
            ("GET", "/livez/", "404"),
            ("GET", "/livez%00", "404"),
            ("GET", "/../livez", "404"),
            ("POST", "/v1/chat/completions", "404"),
            ("POST", "/livez", "405"),
            ("DELETE", "/metrics", "405"),
            ("OPTIONS", "/readyz", "405"),
        ] {
            let answer = server.request(method, target, "localhost").await;
            assert_eq!(status(&answer), want, "{method} {target}");
            assert!(has_header(&answer, "x-content-type-options: nosniff"), "{method} {target}");
            assert!(has_header(&answer, "cache-control: no-store"), "{method} {target}");
        }
    });
}

#[test]
fn errors_are_problems() {
    run(async {
        let server = Server::start().await;
        for (name, method, target, host) in [
            ("unknown path", "GET", "/script", "localhost"),
            ("wrong method", "PUT", "/metrics", "localhost"),
            ("foreign host", "GET", "/metrics", "evil.example"),
        ] {
            let answer = server.request(method, target, host).await;
            assert!(has_header(&answer, "content-type: application/problem+json"), "{name}: {answer}");
            let problem: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
            assert_eq!(problem["status"].to_string(), status(&answer), "{name}");
            assert!(!answer.contains("script"), "{name}: echoes the client");
        }
        let answer = server.request("PUT", "/metrics", "localhost").await;
        assert!(has_header(&answer, "allow: GET,HEAD"), "{answer}");
    });
}

#[test]
fn foreign_host_is_misdirected() {
    run(async {
        let server = Server::start().await;
        let own = server.address.to_string();
        for (host, want) in [
            ("localhost:9001", "200"),
            ("[::1]:9001", "200"),
            (own.as_str(), "200"),
            ("gateway.internal", "200"),
            ("evil.example", "421"),
            ("10.0.0.1", "421"),
            ("127.0.0.1.nip.example", "421"),
        ] {
            let answer = server.request("GET", "/livez", host).await;
            assert_eq!(status(&answer), want, "{host}");
        }
        for (name, head, want) in [
            ("no host", "GET /livez HTTP/1.1\r\n", "421"),
            ("old version without host", "GET /livez HTTP/1.0\r\n", "421"),
            ("two hosts", "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", "421"),
            ("absolute", "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n", "421"),
            ("path unknown as well", "GET /x HTTP/1.1\r\nHost: evil.example\r\n", "421"),
        ] {
            let answer = server.raw(&format!("{head}Connection: close\r\n\r\n")).await;
            assert_eq!(status(&answer), want, "{name}");
        }
    });
}

#[test]
fn readiness_is_asked_each_time_and_told_in_full_when_verbose() {
    run(async {
        let server = Server::start().await;
        let answer = server.get("/readyz").await;
        assert_eq!(body(&answer), r#"{"status":"ok"}"#);
        server.ready.store(false, Relaxed);
        let answer = server.get("/readyz?verbose").await;
        assert_eq!(status(&answer), "503");
        let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(value["status"], "unavailable");
        assert_eq!(value["checks"][0]["name"], "project \"broken\"");
        let answer = server.get("/livez").await;
        assert_eq!(status(&answer), "200", "alive although not ready");
    });
}

#[test]
fn metrics_show_what_was_recorded() {
    run(async {
        let server = Server::start().await;
        let labels = Labels { project: "support".into(), ..Labels::default() };
        let seen = Observation {
            endpoint: Endpoint::Chat,
            status: 200,
            stream: true,
            duration: Duration::from_millis(5),
            overhead: Duration::from_micros(20),
            ttft: None,
            tokens: TokenCounts::default(),
            cost: NanoUsd::ZERO,
        };
        server.registry.series(Arc::new(labels)).record(1, &seen);
        let answer = server.get("/metrics").await;
        assert!(has_header(&answer, "content-type: text/plain; version=0.0.4; charset=utf-8"));
        assert!(answer.contains(r#"project="support""#));
        assert!(answer.contains("millrace_usage_queue_depth 0\n"));
        assert!(answer.contains("millrace_build_info{version="));
        assert!(answer.contains(r#",features="epoll,io_uring,tls-rustls"} 1"#), "as `version --json` lists them");
    });
}

#[test]
fn large_scrape_arrives_whole() {
    run(async {
        let server = Server::start().await;
        let seen = Observation {
            endpoint: Endpoint::Chat,
            status: 200,
            stream: true,
            duration: Duration::from_millis(5),
            overhead: Duration::from_micros(20),
            ttft: Some(Duration::from_millis(5)),
            tokens: TokenCounts::default(),
            cost: NanoUsd::ZERO,
        };
        for number in 0..2_000 {
            let labels = Labels { project: format!("p{number}").into(), ..Labels::default() };
            server.registry.series(Arc::new(labels)).record(0, &seen);
        }
        let answer = server.get("/metrics").await;
        assert!(has_header(&answer, "transfer-encoding: chunked"));
        // A line may be cut by a chunk header, so nearly all must be found.
        let requests = answer.matches("\nmillrace_requests_total{").count();
        assert!((1_990..=2_000).contains(&requests), "{requests}");
        assert!(answer.ends_with("\r\n0\r\n\r\n"));
        assert!(answer.contains("millrace_build_info{version="));
    });
}

#[test]
fn dead_worker_fails_livez() {
    run(async {
        let server = Server::start().await;
        // The first heartbeat of worker 0 lies ahead; worker 1 never gave one and counts from the start.
        let [first, _] = server.registry.workers() else {
            panic!("two workers");
        };
        first.beat(now() + Duration::from_secs(3_600), Duration::ZERO);
        let answer = server.get("/livez?verbose").await;
        assert_eq!(status(&answer), "200");
        assert!(answer.contains(r#""name":"worker 1","ok":true"#), "{answer}");
        let late = now() + HEARTBEAT_MAX;
        let checks = super::routes::liveness(&server.registry, late);
        let oks: Vec<bool> = checks.iter().map(|check| check.ok).collect();
        assert_eq!(oks, [true, false]);
    });
}

#[test]
fn shutdown_ends_the_server_and_its_idle_connections() {
    run(async {
        let server = Server::start().await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        server.stop.send(true).unwrap();
        let mut rest = Vec::new();
        let ended = async {
            idle.read_to_end(&mut rest).await.unwrap();
            server.task.await.unwrap().unwrap();
        };
        let well_before_cut = super::serve::DRAIN_MAX / 2;
        tokio::time::timeout(well_before_cut, ended).await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    });
}

#[test]
fn head_beyond_its_bound_is_refused() {
    run(async {
        let server = Server::start().await;
        // One byte more would be left unread and reset the connection before the answer is read.
        let mut head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nx: {}", "x".repeat(16 * 1024));
        head.truncate(16 * 1024);
        let answer = server.raw(&head).await;
        assert_eq!(status(&answer), "431");
    });
}

#[test]
fn connections_beyond_the_bound_wait_for_a_free_place() {
    run(async {
        let server = Server::start().await;
        let mut open = Vec::new();
        for _ in 0..super::serve::CONNECTIONS_MAX {
            open.push(TcpStream::connect(server.address).await.unwrap());
        }
        let answer = server.get("/livez");
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(200), answer.as_mut()).await;
        assert!(early.is_err(), "answered beyond the bound");
        drop(open);
        assert_eq!(status(&answer.await), "200");
    });
}
