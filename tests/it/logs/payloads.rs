//! What requests say is kept where it is asked for, sealed.

use std::{fs, path::Path};

use millrace::store::{Store, StoreError, Tx};
use serde_json::{Value, json};

use super::Site;
use crate::harness::{DEADLINE, Gateway, KEY, Mock, Reply, eventually, post};

/// In the prompt, and so in the answer of a provider that repeats it.
const CANARY: &str = "canary-of-a-prompt-0123456789";
const PROVIDER_KEY: &str = "sk-A1b2C3d4E5f6G7h8I9j0K1l2M3n4";

fn keeps(site: &Site, place: &str, value: &Value) {
    let etag = site.gateway.admin("GET", place, &[], "").header("etag").unwrap().to_owned();
    let body = json!({ "log_payloads": value }).to_string();
    let reply = site.gateway.admin("PATCH", place, &[("if-match", &etag)], &body);
    assert_eq!(reply.status, 200, "{place}: {}", reply.text());
}

impl Site {
    fn project_path(&self) -> String {
        format!("/projects/{}", self.project)
    }

    /// A chat request that says this.
    fn say(&self, route: &str, text: &str, more: &str) -> Reply {
        let content = json!(text);
        let body = format!(r#"{{"model":"demo/{route}","messages":[{{"role":"user","content":{content}}}]{more}}}"#);
        let request = String::from_utf8(post("/v1/chat/completions", &body)).unwrap();
        self.gateway.ask(request.replace(KEY, &self.key).as_bytes())
    }

    fn payload(&self, reply: &Reply) -> Reply {
        let id = reply.header("x-request-id").unwrap();
        self.gateway.admin("GET", &format!("{}/logs/{id}/payload", self.project_path()), &[], "")
    }

    /// What is kept, once it is.
    fn kept(&self, reply: &Reply) -> Value {
        let mut found = Value::Null;
        let is_kept = eventually(DEADLINE, || {
            let reply = self.payload(reply);
            found = reply.json();
            reply.status == 200
        });
        assert!(is_kept, "{found}");
        found
    }

    fn metric(&self, name: &str) -> f64 {
        self.gateway.metric(name, "").unwrap_or_else(|| panic!("no {name}"))
    }
}

/// Files of the store that hold this text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join("stored")).unwrap() {
        let path = entry.unwrap().path();
        // Sockets cannot be read.
        if fs::read(&path).is_ok_and(|bytes| memchr::memmem::find(&bytes, text.as_bytes()).is_some()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn request_and_answer_are_kept_where_it_is_asked_for_and_nowhere_in_clear() {
    let mock = Mock::start();
    let mut site = Site::new(&["fast/echo", "fault/status=500"], &mock, "usage: {request_rows: errors}\n");
    let before = site.say("r0", CANARY, "");
    site.gateway.assert_idle();
    keeps(&site, &site.project_path(), &json!(true));
    let text = format!("{CANARY} and my key {PROVIDER_KEY}, Bearer {}", &site.key);
    for (route, more, status) in [("r0", "", 200), ("r0", r#","stream":true"#, 200), ("r1", "", 502)] {
        let reply = site.say(route, &text, more);
        assert_eq!(reply.status, status, "{}", reply.text());
        let kept = site.kept(&reply);
        let request = kept["request"].as_str().unwrap();
        assert!(request.contains(&format!("{CANARY} and my key [redacted], Bearer [redacted]\"")), "{kept}");
        assert!(request.starts_with(r#"{"model":"demo/"#) && kept["request_is_cut"] == false, "{kept}");
        assert!(kept["redacted"].as_u64().unwrap() >= 2, "{kept}");
        let answer = kept["answer"].as_str().unwrap();
        assert!(!answer.contains(PROVIDER_KEY) && !answer.contains(&site.key), "{kept}");
        if more.is_empty() {
            // As the client got it, but for the secrets that the provider repeats.
            let got = reply.text();
            assert_eq!(kept["answer_bytes"].as_u64(), u64::try_from(got.len()).ok(), "{kept}");
            assert!(status == 502 || answer.starts_with("{\"id\":"), "{kept}");
            assert!(status == 200 || answer == got, "{kept}");
        } else {
            assert!(answer.starts_with("data: {") && answer.ends_with("data: [DONE]\n\n"), "{kept}");
        }
        let row = site.row(&reply);
        assert_eq!(row["status"], status, "a request whose payload is kept is a row: {row}");
    }
    assert_eq!(site.payload(&before).status, 404, "what was said before is not kept");
    assert_eq!(site.metric("millrace_payloads_stored_total"), 3.0);
    assert!(eventually(DEADLINE, || site.metric("millrace_payload_bytes_held") == 0.0));

    keeps(&site, &site.project_path(), &json!(null));
    let after = site.say("r0", CANARY, "");
    assert_eq!(after.status, 200);
    keeps(&site, &format!("/organizations/{}", site.organization), &json!(true));
    site.kept(&site.say("r0", CANARY, ""));
    assert_eq!(site.payload(&after).status, 404);
    let printed = site.gateway.printed().join("\n");
    assert!(!printed.contains(CANARY) && printed.contains("somebody read what a request said"), "{printed}");
    let copy = site.gateway.folder().join("copy.db");
    let mut command = crate::harness::program(site.gateway.folder());
    command.args(["backup", copy.to_str().unwrap(), "--data-dir", "stored"]);
    if command.output().unwrap().status.success() {
        let bytes = fs::read(&copy).unwrap();
        assert!(memchr::memmem::find(&bytes, CANARY.as_bytes()).is_none());
    }
    assert_eq!(files_with(site.gateway.folder(), CANARY), Vec::<String>::new());
    let left = site.gateway.ended();
    assert_eq!(files_with(left.path(), CANARY), Vec::<String>::new());
    // The next process opens what this one has sealed, and captures without being told again.
    let site = Site { gateway: Gateway::stored(left, 2), ..site };
    site.kept(&after_start(&site));
}

/// A request to the process that came after.
fn after_start(site: &Site) -> Reply {
    let reply = site.say("r0", CANARY, "");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

#[test]
fn values_of_the_stores_of_secrets_are_taken_out_however_they_look() {
    let mock = Mock::start();
    let site = Site::new(&["fast/echo"], &mock, "");
    let secret = "an ordinary \"sentence\" that is a password";
    let body = json!({"name": "OWN", "value": secret, "bound_origins": ["https://llm.example"]});
    site.call(("POST", &format!("{}/secrets", site.project_path())), &body, 201);
    keeps(&site, &site.project_path(), &json!(true));
    let kept = site.kept(&site.say("r0", &format!("before {secret} behind"), ""));
    let request = kept["request"].as_str().unwrap();
    assert!(request.contains("before [redacted] behind") && !request.contains("sentence"), "{kept}");
}

#[test]
fn texts_are_cut_and_without_room_they_are_dropped_and_counted_and_the_row_stays() {
    let mock = Mock::start();
    let lines = "usage: {request_rows: all, payload_bytes: 1 KiB, payload_queue_bytes: 64 KiB}\n";
    let site = Site::new(&["fast", "fast/latency_ms=6000"], &mock, lines);
    keeps(&site, &site.project_path(), &json!(true));
    let long = "word ".repeat(1_000);
    let kept = site.kept(&site.say("r0", &long, ""));
    assert_eq!(
        (kept["request_is_cut"].as_bool(), kept["answer_is_cut"].as_bool()),
        (Some(true), Some(false)),
        "{kept}"
    );
    assert!(
        kept["request"].as_str().unwrap().len() <= 1_024
            && kept["redacted"] == 0
            && kept["request_bytes"].as_u64() > Some(5_000),
        "{kept}"
    );

    // More than the room holds, all open at once.
    let content = json!(long);
    let body = format!(r#"{{"model":"demo/r1","messages":[{{"role":"user","content":{content}}}]}}"#);
    let request = String::from_utf8(post("/v1/chat/completions", &body)).unwrap().replace(KEY, &site.key);
    let mut clients: Vec<_> = (0..80).map(|_| site.gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send(request.as_bytes()));
    let replies: Vec<_> = clients.iter_mut().map(|client| client.read().expect("an answer")).collect();
    assert!(replies.iter().all(|reply| reply.status == 200));
    let dropped = site.metric("millrace_payloads_dropped_total");
    assert!((16.0..80.0).contains(&dropped), "{dropped}");
    replies.iter().for_each(|reply| drop(site.row(reply)));
    assert!(eventually(DEADLINE, || site.metric("millrace_payloads_stored_total") == 81.0 - dropped));
    assert!(eventually(DEADLINE, || site.metric("millrace_payload_bytes_held") == 0.0));
}

#[test]
fn only_the_roles_of_the_matrix_read_and_a_deleted_project_takes_all_along() {
    let mock = Mock::start();
    let site = Site::new(&["fast"], &mock, "");
    keeps(&site, &site.project_path(), &json!(true));
    let reply = site.say("r0", CANARY, "");
    site.kept(&reply);
    let path = format!("/api/v1{}/logs/{}", site.project_path(), reply.header("x-request-id").unwrap());
    for (role, of_row, of_payload) in [("project_admin", 200, 200), ("editor", 200, 403), ("viewer", 200, 403)] {
        let body = json!({"description": role, "organization_id": site.organization, "role": "member",
            "project_grants": [{"project_id": site.project, "role": role}]});
        let token = site.call(("POST", "/admin-tokens"), &body, 201)["token"].as_str().unwrap().to_owned();
        site.row(&reply);
        for (path, want) in [(path.clone(), of_row), (format!("{path}/payload"), of_payload)] {
            let mut client = crate::harness::Client::connect(site.gateway.admin);
            let head = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            );
            client.send(head.as_bytes());
            let answer = client.read().unwrap();
            assert_eq!(answer.status, want, "{role} {path}: {}", answer.text());
        }
    }
    let etag = site.gateway.admin("GET", &site.project_path(), &[], "").header("etag").unwrap().to_owned();
    let gone =
        site.gateway.admin("DELETE", &format!("{}?confirm=demo", site.project_path()), &[("if-match", &etag)], "");
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(site.payload(&reply).status, 404);
    let left = site.gateway.ended();
    assert_eq!(counts(left.path()), (0, 0), "payloads and keys");
}

impl Site {
    /// Readings of payloads in the audit log of the project, newest first.
    fn readings(&self) -> Vec<Value> {
        let path = format!("{}/audit?action=payload.read&limit=100", self.project_path());
        self.gateway.admin("GET", &path, &[], "").json()["data"].as_array().unwrap().clone()
    }
}

#[test]
fn reading_is_an_event_of_the_audit_log_that_names_reader_and_request_and_repeats_nothing() {
    let mock = Mock::start();
    let site = Site::new(&["fast/echo"], &mock, "");
    keeps(&site, &site.project_path(), &json!(true));
    let reply = site.say("r0", CANARY, "");
    assert!(eventually(DEADLINE, || site.metric("millrace_payloads_stored_total") == 1.0));
    assert!(site.readings().is_empty());
    let id = reply.header("x-request-id").unwrap();
    site.row(&reply);
    assert!(site.readings().is_empty(), "a row without what was said is no reading");
    let shown = site.payload(&reply);
    assert_eq!(shown.status, 200);
    let readings = site.readings();
    let [event] = readings.as_slice() else { panic!("{readings:?}") };
    assert_eq!((&event["object"], &event["project_id"]), (&json!(id), &json!(site.project)), "{event}");
    assert_eq!((&event["address"], &event["actor_kind"]), (&json!("127.0.0.1"), &json!("token")), "{event}");
    assert_eq!(event["request_id"].as_str(), shown.header("x-request-id"), "{event}");
    assert!(event["actor"].as_str().unwrap().starts_with("tok_") && event["at"].is_string(), "{event}");
    assert!(!event.to_string().contains(CANARY), "{event}");
    // Each reading is one; what shows nothing is none.
    assert_eq!(site.payload(&reply).status, 200);
    let unknown = site.gateway.admin("GET", &format!("{}/logs/req_unknown/payload", site.project_path()), &[], "");
    assert_eq!((unknown.status, site.readings().len()), (404, 2));
    let chain = site.gateway.admin("GET", "/audit/verify", &[], "").json();
    assert_eq!(chain["ok"], true, "{chain}");
}

#[test]
fn nothing_is_shown_while_the_reading_cannot_be_put_into_the_audit_log() {
    let mock = Mock::start();
    let site = Site::new(&["fast/echo"], &mock, "");
    keeps(&site, &site.project_path(), &json!(true));
    let reply = site.say("r0", CANARY, "");
    site.kept(&reply);
    site.row(&reply);
    let before = site.readings().len();
    // The store takes no change while its file is not in its place; what is open can still be read.
    let [file, away] = ["millrace.db", "away.db"].map(|name| site.gateway.folder().join("stored").join(name));
    fs::rename(&file, &away).unwrap();
    let refused = site.payload(&reply);
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("store_unavailable")), "{}", refused.text());
    assert!(!refused.text().contains(CANARY));
    assert_eq!(site.gateway.admin("GET", &site.project_path(), &[], "").status, 200, "reads go on");
    fs::rename(&away, &file).unwrap();
    assert!(eventually(DEADLINE, || site.payload(&reply).status == 200));
    assert_eq!(site.readings().len(), before + 1);
}

/// How many payloads and keys of projects a store holds.
fn counts(folder: &Path) -> (u64, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open(&folder.join("stored/millrace.db")).unwrap();
    let read = store.read(|tx: &dyn Tx| {
        let keys = tx.stale_payload_keys(b"no seal begins so", "", 100)?.len();
        Ok::<_, StoreError>((tx.payload_count()?, keys))
    });
    runtime.block_on(read).unwrap()
}
