//! A disk that fails under a running gateway (F-41, F-42).
//!
//! `strace` makes the system calls of the real program fail. The data plane goes on, the API says why it changes nothing, nothing
//! that was answered is lost, and all is well again by itself when the disk is.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, KEY, Tracer, chat, eventually};

fn text_of(number: u64) -> String {
    format!("chat_models: [{{model_id: m, model: mock/model-{number}}}]\nroutes: {{chat: {{chat_models: [m]}}}}\n")
}

/// One project that is served, and a key for it.
struct Site {
    gateway: Gateway,
    id: String,
    key: String,
}

impl Site {
    fn new() -> Self {
        let gateway = Gateway::stored(tempfile::tempdir().unwrap(), 2);
        let organization = gateway.organization();
        let id = gateway.make_project(&organization, "demo");
        let body = json!({"description": "tests"}).to_string();
        let made = gateway.admin("POST", &format!("/projects/{id}/keys"), &[], &body);
        let key = made.json()["key"].as_str().unwrap().to_owned();
        Self { gateway, id, key }
    }

    fn call(&self, method: &str, rest: &str, extra: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.gateway.admin(method, &format!("/projects/{}{rest}", self.id), extra, &body);
        (reply.status, if reply.body.is_empty() { Value::Null } else { reply.json() })
    }

    /// Saves and approves a text; returns its number.
    fn ready(&self, number: u64) -> u64 {
        let open = self.gateway.admin("GET", &format!("/projects/{}/config/draft", self.id), &[], "");
        let condition = match open.header("etag") {
            Some(tag) if open.status == 200 => ("if-match", tag),
            _ => ("if-none-match", "*"),
        };
        let (status, saved) = self.call("PUT", "/config/draft", &[condition], &json!({"content": text_of(number)}));
        assert_eq!(status, 200, "{saved}");
        let version = saved["version"].as_u64().unwrap();
        let (status, approved) = self.call("POST", &format!("/config/versions/{version}/approve"), &[], &Value::Null);
        assert_eq!(status, 200, "{approved}");
        version
    }

    fn serve(&self, version: u64) -> (u16, Value) {
        self.call("POST", &format!("/config/versions/{version}/serve"), &[], &Value::Null)
    }

    /// The version that the data plane answers with, on connections of both workers.
    fn served(&self) -> u64 {
        let request = String::from_utf8(chat("demo/chat")).unwrap().replace(KEY, &self.key);
        let ask = || {
            let reply = self.gateway.ask(request.as_bytes());
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.header("x-millrace-config").unwrap().parse().unwrap()
        };
        let seen: [u64; 4] = std::array::from_fn(|_| ask());
        assert!(seen.iter().all(|version| *version == seen[0]), "{seen:?}");
        seen[0]
    }

    /// The version that the API says is served.
    fn reported(&self) -> u64 {
        let (status, project) = self.call("GET", "", &[], &Value::Null);
        assert_eq!(status, 200, "{project}");
        project["served_version"].as_u64().unwrap()
    }

    fn make_key(&self, description: &str) -> (u16, Value) {
        self.call("POST", "/keys", &[], &json!({ "description": description }))
    }

    fn key_names(&self) -> Vec<String> {
        let (status, listed) = self.call("GET", "/keys?limit=100", &[], &Value::Null);
        assert_eq!(status, 200, "{listed}");
        let names = listed["data"].as_array().unwrap().iter();
        names.map(|key| key["description"].as_str().unwrap().to_owned()).collect()
    }
}

/// Starts a fault in all threads of the gateway.
fn inject(site: &Site, what: &str) -> Option<Tracer> {
    Tracer::attach(site.gateway.folder(), &["-f"], what, &site.gateway.id().to_string())
}

/// Runs one fault from its begin to its end; returns how many changes were answered before the first that was refused.
fn run(site: &mut Site, kept: &mut Vec<String>, (what, says): (&str, &str)) -> Option<usize> {
    let before = site.served();
    let next = site.ready(before + 1);
    let faults = inject(site, what)?;
    let mut answered = 0;
    let refused = loop {
        let name = format!("{what} {answered}");
        match site.make_key(&name) {
            (201, _) => kept.push(name),
            refused => break refused,
        }
        answered += 1;
        assert!(answered < 100, "{what}: nothing fails");
    };
    let text = refused.1.to_string();
    assert_eq!(refused.0, 503, "{what}: {text}");
    assert!(text.contains("the store is not available") && text.contains(says), "{what}: {text}");
    // As long as it lasts: no change is answered, everything else is.
    for _ in 0..3 {
        assert_eq!(site.make_key("refused").0, 503, "{what}");
        let (status, text) = site.serve(next);
        assert_eq!(status, 503, "{what}: {text}");
        assert_eq!((site.served(), site.reported()), (before, before), "{what}");
    }
    drop(faults);
    assert!(eventually(DEADLINE, || site.serve(next).0 == 200), "{what}: not well again by itself");
    assert_eq!((site.served(), site.reported()), (next, next), "{what}");
    Some(answered)
}

#[test]
fn f_41_f_42_failing_disk_stops_changes_and_nothing_else() {
    let mut site = Site::new();
    let first = site.ready(1);
    assert_eq!(site.serve(first).0, 200);
    let mut kept = vec!["tests".to_owned()];
    for (what, says) in [
        ("fsync,fdatasync:error=EIO:when=1+", "the disk fails"),
        ("fsync,fdatasync:error=EIO:when=2+", "the disk fails"),
        ("fsync,fdatasync:error=EIO:when=7+", "the disk fails"),
        ("pwrite64:error=EIO:when=1+", "the disk fails"),
        ("pwrite64:error=EIO:when=12+", "the disk fails"),
        // What a program sees whose file system was made read-only by the kernel after an error. A remount by hand is refused
        // by the kernel as long as the file is open.
        ("pwrite64,ftruncate,fsync,fdatasync:error=EROFS:when=1+", "disk fails"),
        ("pwrite64,ftruncate,fsync,fdatasync:error=EROFS:when=5+", "disk fails"),
    ] {
        let Some(answered) = run(&mut site, &mut kept, (what, says)) else { return };
        println!("{what}: {answered} changes were answered before");
    }
    let before: SocketAddr = site.gateway.address;
    let (served, Site { gateway, id, key }) = (site.served(), site);
    let site = Site { gateway: gateway.again(2), id, key };
    assert_ne!(site.gateway.address, before);
    assert_eq!((site.served(), site.reported()), (served, served), "after a kill");
    let names = site.key_names();
    assert!(kept.iter().all(|name| names.contains(name)), "{kept:?} were answered, {names:?} are there");
    let found = site.gateway.admin("GET", "/audit/verify", &[], "").json();
    assert_eq!(found["ok"], true, "{found}");
}
