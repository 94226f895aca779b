//! Store mode as a process: projects through the admin API.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millrace::base::{Id, IdKind, unix_time};
use millrace::control::{ControlError, Vault, open_pepper, prepare_first_start};
use millrace::store::{ApiKey, KeyStatus, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, DEADLINE, Gateway, KEY, Reply, chat, chat_with, eventually};

/// A configuration in which the text of an answer and the name of its model carry the same number.
fn numbered(number: u64) -> String {
    let words = vec![format!("text-{number}"); 20].join(" ");
    format!(
        "chat_models:\n  - model_id: m\n    model: mock/model-{number}\n    params:\n      response_text: \
         {words}\nroutes:\n  chat: {{chat_models: [m]}}\n"
    )
}

/// A gateway with a store, and the organization that exists from the start.
struct Stored {
    gateway: Gateway,
    organization: String,
}

impl Stored {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let organization =
            with_store(folder.path(), async |store| prepare_first_start(store, None).await.unwrap().organization);
        Self { gateway: Gateway::stored(folder, 2), organization: organization.as_str().to_owned() }
    }

    /// Ends the process, lets `change` work on its folder, and starts it again.
    fn restarted(self, change: impl FnOnce(&Path)) -> Self {
        let Self { gateway, organization } = self;
        let folder: TempDir = gateway.ended();
        change(folder.path());
        Self { gateway: Gateway::stored(folder, 2), organization }
    }

    /// Creates a project and gives it the key of all tests; returns the id.
    fn project_with_key(self, name: &str) -> (Self, String) {
        let id = self.project(name);
        let project = Id::parse(IdKind::Project, &id).unwrap();
        let this = self.restarted(|folder| {
            with_store(folder, async |store| {
                let vault = Vault::open(&folder.join("stored/master.key"), false).unwrap();
                let digest = open_pepper(store, &vault).await.unwrap().digest(KEY);
                let key = key_row(project, digest);
                store.write(move |tx| Ok::<_, ControlError>(tx.insert_key(&key)?)).await.unwrap();
            });
        });
        (this, id)
    }

    fn project(&self, name: &str) -> String {
        let path = format!("/organizations/{}/projects", self.organization);
        let made = self.call(("POST", &path), &[], &json!({ "name": name }).to_string(), 201);
        made["id"].as_str().unwrap().to_owned()
    }

    fn call(&self, (method, path): (&str, &str), extra: &[(&str, &str)], body: &str, status: u16) -> Value {
        let reply = self.gateway.admin(method, path, extra, body);
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    /// Saves a text over whatever is open; returns its number.
    fn save(&self, id: &str, text: &str) -> u64 {
        let path = format!("/projects/{id}/config/draft");
        let open = self.gateway.admin("GET", &path, &[], "");
        let condition = match open.header("etag") {
            Some(tag) if open.status == 200 => ("if-match", tag),
            _ => ("if-none-match", "*"),
        };
        let saved = self.call(("PUT", &path), &[condition, ("content-type", "application/yaml")], text, 200);
        saved["version"].as_u64().unwrap()
    }

    /// Saves, approves and serves a text; returns its number.
    fn serve(&self, id: &str, text: &str) -> u64 {
        let number = self.save(id, text);
        self.call(("POST", &format!("/projects/{id}/config/versions/{number}/approve")), &[], "", 200);
        let served = self.call(("POST", &format!("/projects/{id}/config/versions/{number}/serve")), &[], "", 200);
        assert_eq!(served["version"], number);
        let workers = served["workers"].as_array().unwrap();
        assert!(workers.len() == 2 && workers.iter().all(|one| one["generation"] == served["generation"]), "{served}");
        number
    }

    fn ask(&self, route: &str) -> Reply {
        self.gateway.ask(&chat(route))
    }
}

/// Opens the store of a process that does not run.
fn with_store<T>(folder: &Path, work: impl AsyncFnOnce(&Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open(&folder.join("stored/millrace.db")).unwrap();
    runtime.block_on(work(&store))
}

fn key_row(project: Id, digest: [u8; 32]) -> ApiKey {
    ApiKey {
        id: Id::random(IdKind::Key).unwrap(),
        project,
        public_id: "mr_test_000000000000".to_owned(),
        last4: "9g7Y".to_owned(),
        digest,
        old_digest: None,
        old_expires_at: None,
        description: "tests".to_owned(),
        status: KeyStatus::Active,
        expires_at: None,
        group: None,
        created_by: Id::stored("system"),
        created_at: unix_time(),
        last_used_at: None,
        revision: 1,
    }
}

fn header_number(reply: &Reply, name: &str) -> u64 {
    let value = reply.header(name).unwrap_or_else(|| panic!("no `{name}` in {:?}", reply.headers));
    value.parse().unwrap()
}

/// The version that answered, by its header, by its text and by its model; panics when they differ.
fn one_version(client: &mut Client, stream: bool) -> (u64, u64) {
    client.send(&if stream { chat_with("demo/chat", r#","stream":true"#) } else { chat("demo/chat") });
    let reply = client.read().expect("an answer");
    assert_eq!((reply.status, reply.cut), (200, false), "{}", reply.text());
    let version = header_number(&reply, "x-millrace-config");
    assert_eq!(reply.header("x-millrace-model"), Some(format!("model-{version}").as_str()));
    let text = reply.text();
    for (at, _) in text.match_indices("text-") {
        let digits: String = text[at + 5..].chars().take_while(char::is_ascii_digit).collect();
        assert_eq!(digits, version.to_string(), "an answer of several versions");
    }
    assert!(text.contains("text-"), "{text}");
    (version, header_number(&reply, "x-millrace-generation"))
}

// I-16: route, answer and generation of each request are of one version, which never goes back.
#[test]
fn f_60_s1_33_hundred_serves_under_load_fail_nothing_and_mix_nothing() {
    const SERVES: usize = 100;
    let (stored, id) = Stored::new().project_with_key("demo");
    // Version 1 is the empty draft: the first text is version 2, and so on.
    stored.serve(&id, &numbered(2));
    let (ended, live, asked) = (AtomicBool::new(false), AtomicU64::new(2), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|lane| {
                let (stored, ended, live, asked) = (&stored, &ended, &live, &asked);
                scope.spawn(move || {
                    let mut client = stored.gateway.client();
                    let (mut served, mut newest) = (0_usize, (0, 0));
                    while !ended.load(Ordering::Relaxed) {
                        // A connection serves at most 1,000 requests.
                        if served % 500 == 499 {
                            client = stored.gateway.client();
                        }
                        let promised = live.load(Ordering::Acquire);
                        let seen = one_version(&mut client, lane % 2 == 1);
                        assert!(seen.0 >= promised, "version {} after the answer of serving {promised}", seen.0);
                        assert!(seen.0 >= newest.0 && seen.1 >= newest.1, "{seen:?} after {newest:?}");
                        newest = seen;
                        served += 1;
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    served
                })
            })
            .collect();
        let changes = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            for number in 3..3 + SERVES as u64 {
                let saved = stored.save(&id, &numbered(number));
                assert_eq!(saved, number);
                let path = |action| format!("/projects/{id}/config/versions/{number}/{action}");
                stored.call(("POST", &path("approve")), &[], "", 200);
                let started = Instant::now();
                let served = stored.call(("POST", &path("serve")), &[], "", 200);
                slowest = slowest.max(started.elapsed());
                assert_eq!(served["generation"], number - 1);
                live.store(number, Ordering::Release);
                // Every serve has some load.
                let before = asked.load(Ordering::Relaxed);
                assert!(eventually(DEADLINE, || asked.load(Ordering::Relaxed) > before), "nobody is served");
            }
            slowest
        });
        let changed = changes.join();
        ended.store(true, Ordering::Relaxed);
        let served: usize = lanes.into_iter().map(|lane| lane.join().unwrap()).sum();
        slowest = slowest.max(changed.unwrap());
        println!("{SERVES} serves, {served} requests, slowest serve {slowest:?}");
    });
    stored.gateway.assert_idle();
    // Everything is there after the end of the process.
    let stored = stored.restarted(|_| {});
    assert_eq!(one_version(&mut stored.gateway.client(), false).0, 2 + SERVES as u64);
}

#[test]
fn s1_20_s1_24_route_is_reachable_from_serve_to_unserve() {
    let (stored, id) = Stored::new().project_with_key("demo");
    let status = |route| stored.ask(route).status;
    assert_eq!(status("demo/chat"), 404, "a draft");
    let number = stored.save(&id, &numbered(2));
    stored.call(("POST", &format!("/projects/{id}/config/versions/{number}/approve")), &[], "", 200);
    assert_eq!(status("demo/chat"), 404, "approved, S1-23");
    stored.call(("POST", &format!("/projects/{id}/config/versions/{number}/serve")), &[], "", 200);
    assert_eq!((status("demo/chat"), status("chat")), (200, 200), "S1-16, S1-35");
    let listed = stored.gateway.ask(
        format!("GET /v1/models HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n")
            .as_bytes(),
    );
    assert!(listed.text().contains("\"demo/chat\""), "S1-25: {}", listed.text());
    let routes = stored.call(("GET", &format!("/projects/{id}/routes")), &[], "", 200);
    assert_eq!(routes["data"][0]["model"], "demo/chat");
    stored.call(("POST", &format!("/projects/{id}/config/unserve")), &[], "", 200);
    assert_eq!(status("demo/chat"), 404);
    stored.call(("POST", &format!("/projects/{id}/config/rollback")), &[], "", 200);
    assert_eq!(status("demo/chat"), 200);
    stored.call(("POST", &format!("/projects/{id}/archive")), &[], "", 200);
    let reply = stored.ask("demo/chat");
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (410, Some("project_archived")));
    stored.call(("POST", &format!("/projects/{id}/restore")), &[], "", 200);
    assert_eq!(status("demo/chat"), 404);
    stored.call(("POST", &format!("/projects/{id}/config/rollback")), &[], "", 200);
    assert_eq!(status("demo/chat"), 200);
    let tag = stored.gateway.admin("GET", &format!("/projects/{id}"), &[], "");
    let tag = tag.header("etag").unwrap();
    stored.call(("DELETE", &format!("/projects/{id}?confirm=demo")), &[("if-match", tag)], "", 204);
    assert_eq!(status("demo/chat"), 401, "the key went with its project");
}

#[test]
fn f_62_damaged_configuration_answers_503_and_leaves_the_others_alone() {
    let (stored, id) = Stored::new().project_with_key("demo");
    stored.serve(&id, &numbered(2));
    let other = stored.project("other");
    stored.serve(&other, &numbered(2));
    let stored = stored.restarted(|folder| {
        let database = rusqlite::Connection::open(folder.join("stored/millrace.db")).unwrap();
        let sql = "UPDATE version_texts SET text = x'00' WHERE project = ?1 AND number = 2";
        assert_eq!(database.execute(sql, [&id]).unwrap(), 1);
    });
    let reply = stored.ask("demo/chat");
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("config_error")));
    assert_eq!(stored.gateway.metric("millrace_config_error", "project=\"demo\""), Some(1.0));
    let routes = stored.call(("GET", &format!("/projects/{other}/routes")), &[], "", 200);
    assert_eq!(routes["data"].as_array().unwrap().len(), 1, "the other one serves");
    // The way out is another version.
    let number = stored.serve(&id, &numbered(3));
    assert_eq!((number, stored.ask("demo/chat").status), (3, 200));
}

#[test]
fn refusals_of_the_api_have_the_documented_codes() {
    let stored = Stored::new();
    let id = stored.project("demo");
    let path = |rest: &str| format!("/projects/{id}{rest}");
    let foreign = "/projects/prj_00000000000000000000";
    let yaml = [("content-type", "application/yaml"), ("if-none-match", "*")];
    let big = "#".repeat((1 << 20) + 1);
    for (name, method, at, extra, body, status, code) in [
        ("serve a draft", "POST", path("/config/versions/1/serve"), &[][..], "", 409, "illegal_transition"),
        (
            "old generation",
            "POST",
            path("/config/unserve"),
            &[],
            r#"{"expected_generation":7}"#,
            409,
            "generation_conflict",
        ),
        ("nothing served", "POST", path("/config/unserve"), &[], "", 409, "illegal_transition"),
        ("no earlier", "POST", path("/config/rollback"), &[], "{}", 409, "illegal_transition"),
        ("no condition", "PUT", path("/config/draft"), &yaml[..1], "a: 1", 428, "if_match_required"),
        ("one is open", "PUT", path("/config/draft"), &yaml, "a: 1", 412, "stale_version"),
        ("too large", "PUT", path("/config/draft"), &yaml, big.as_str(), 413, "too_large"),
        ("unknown version", "GET", path("/config/versions/99"), &[], "", 404, "not_found"),
        ("nothing served to compare", "GET", path("/config/diff"), &[], "", 404, "not_found"),
        ("format", "GET", path("/config/diff?from=1&to=1&format=html"), &[], "", 422, "invalid"),
        ("no such project", "GET", foreign.to_owned(), &[], "", 404, "not_found"),
        ("name with ..", "GET", path("/routes/..%2f..%2fetc"), &[], "", 404, "not_found"),
        ("no confirmation", "DELETE", path(""), &[("if-match", "\"1\"")], "", 422, "invalid"),
        ("unknown field", "PATCH", path(""), &[("if-match", "\"1\"")], r#"{"state":"SERVED"}"#, 422, "invalid"),
        ("status is derived", "PATCH", path(""), &[("if-match", "\"1\"")], r#"{"status":"PROD"}"#, 422, "invalid"),
        ("stale", "PATCH", path(""), &[("if-match", "\"99\"")], r#"{"name":"x"}"#, 412, "stale_version"),
    ] {
        let reply = stored.call((method, &at), extra, body, status);
        assert_eq!(reply["code"], code, "{name}: {reply}");
    }
    let empty = stored.call(("PATCH", &path("")), &[("if-match", "\"1\"")], "{}", 200);
    assert_eq!(empty["name"], "demo");
    let problems =
        stored.call(("POST", &path("/config/validate")), &[("content-type", "application/yaml")], "route: {}\n", 200);
    assert_eq!(problems["problems"][0]["code"], "unknown_key");
    let diff = stored.call(("GET", &path("/config/diff?from=1&to=open")), &[], "", 200);
    assert_eq!((diff["from"].as_u64(), diff["changes"].as_array().map(Vec::len)), (Some(1), Some(0)));
}

#[test]
fn files_are_shown_by_the_api_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let organization =
        with_store(folder.path(), async |store| prepare_first_start(store, None).await.unwrap().organization);
    let gateway = Gateway::of_files(folder, &[("demo", &numbered(2))]);
    let stored = Stored { gateway, organization: organization.as_str().to_owned() };
    let listed = stored.call(("GET", &format!("/organizations/{organization}/projects")), &[], "", 200);
    let demo = &listed["data"][0];
    assert_eq!((demo["slug"].as_str(), demo["status"].as_str()), (Some("demo"), Some("PROD")));
    let id = demo["id"].as_str().unwrap();
    let yaml = [("accept", "application/yaml")];
    let text = stored.gateway.admin("GET", &format!("/projects/{id}/config/versions/1"), &yaml, "").text();
    assert_eq!(text, numbered(2));
    let routes = stored.call(("GET", &format!("/projects/{id}/routes")), &[], "", 200);
    assert_eq!((routes["data"][0]["model"].as_str(), &routes["data"][0]["version"]), (Some("demo/chat"), &Value::Null));
    let draft = [("if-none-match", "*"), ("content-type", "application/yaml")];
    let seen = [("if-match", "\"1\"")];
    for (method, path, extra, body) in [
        ("POST", format!("/organizations/{organization}/projects"), &[][..], r#"{"name":"x"}"#),
        ("PATCH", format!("/projects/{id}"), &seen, "{}"),
        ("DELETE", format!("/projects/{id}?confirm=demo"), &seen, ""),
        ("POST", format!("/projects/{id}/archive"), &[], ""),
        ("PUT", format!("/projects/{id}/config/draft"), &draft, "a: 1"),
        ("POST", format!("/projects/{id}/config/versions/1/approve"), &[], ""),
        ("POST", format!("/projects/{id}/config/versions/1/serve"), &[], ""),
        ("POST", format!("/projects/{id}/config/unserve"), &[], ""),
        ("POST", format!("/projects/{id}/config/rollback"), &[], ""),
    ] {
        let refused = stored.call((method, &path), extra, body, 403);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("projects_dir"), "{method} {path}: {detail}");
    }
    stored.gateway.write_project("demo", &numbered(3));
    let path = format!("/projects/{id}/config/versions/1");
    let shown = || stored.gateway.admin("GET", &path, &yaml, "").text();
    assert!(eventually(DEADLINE, || shown() == numbered(3)), "{}", shown());
}
