//! Keys and secrets over the admin API of a real process.

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, KEY, Reply, chat, eventually};

const GOOD: &str = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [m]}}\n";
/// A configuration whose model names a secret; nothing listens at its address.
const NAMES: &str = "chat_models:\n  - model_id: m\n    model: openai/m\n    credentials: {api_key: !secret OPENAI, \
                     base_url: \"https://llm.example/v1\"}\nroutes: {chat: {chat_models: [m]}}\n";
const CANARY: &str = "sk-canary-7Yt0Qa52LmNx";

/// A project `demo` on a gateway with a store.
pub(crate) struct Project {
    pub(crate) gateway: Gateway,
    pub(crate) organization: String,
    id: String,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self::on(Gateway::stored(tempfile::tempdir().unwrap(), 2))
    }

    pub(crate) fn on(gateway: Gateway) -> Self {
        let mut this = Self { gateway, organization: String::new(), id: String::new() };
        let organizations = this.call(("GET", "/organizations"), &[], &Value::Null, 200);
        this.organization = text(&organizations["data"][0], "id");
        let path = format!("/organizations/{}/projects", this.organization);
        this.id = text(&this.call(("POST", &path), &[], &json!({"name": "demo"}), 201), "id");
        this
    }

    /// The same in a new process, after the old one was ended by SIGTERM.
    pub(crate) fn restarted(self) -> Self {
        self.restarted_by(|folder| Gateway::stored(folder, 2))
    }

    /// As [`Self::restarted`], with a start of one's own.
    pub(crate) fn restarted_by(self, start: impl FnOnce(tempfile::TempDir) -> Gateway) -> Self {
        Self { gateway: start(self.gateway.ended()), ..self }
    }

    pub(crate) fn call(
        &self,
        (method, path): (&str, &str),
        extra: &[(&str, &str)],
        body: &Value,
        status: u16,
    ) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.gateway.admin(method, path, extra, &body);
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", self.id)
    }

    pub(crate) fn serve(&self, config: &str) {
        let path = self.path("/config/draft");
        let open = self.gateway.admin("GET", &path, &[], "");
        let condition = match open.header("etag") {
            Some(tag) if open.status == 200 => ("if-match", tag),
            _ => ("if-none-match", "*"),
        };
        let saved = self.call(("PUT", &path), &[condition], &json!({"content": config}), 200);
        let version = self.path(&format!("/config/versions/{}", saved["version"]));
        self.call(("POST", &format!("{version}/approve")), &[], &Value::Null, 200);
        self.call(("POST", &format!("{version}/serve")), &[], &Value::Null, 200);
    }

    /// A call of the data plane with a key.
    pub(crate) fn ask(&self, key: &str) -> Reply {
        self.gateway.ask(&with_key(&chat("demo/chat"), key))
    }
}

pub(crate) fn with_key(request: &[u8], key: &str) -> Vec<u8> {
    String::from_utf8(request.to_vec()).unwrap().replace(KEY, key).into_bytes()
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}")).to_owned()
}

#[test]
fn key_made_over_the_api_works_until_it_is_disabled_rolled_or_deleted() {
    let project = Project::new();
    project.serve(GOOD);
    let keys = project.path("/keys");
    let made = project.call(("POST", &keys), &[], &json!({"description": "app"}), 201);
    let (id, first) = (text(&made, "id"), text(&made, "key"));
    assert_eq!(text(&made, "masked"), format!("{}...{}", text(&made, "public_id"), &first[first.len() - 4..]));
    assert_eq!(project.ask(&first).status, 200);
    let at = format!("{keys}/{id}");
    for path in [&keys, &at] {
        let shown = project.call(("GET", path), &[], &Value::Null, 200).to_string();
        assert!(shown.contains(&id) && !shown.contains(&first), "{shown}");
    }

    let own = format!("GET /v1/key HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {first}\r\n\r\n");
    let own = project.gateway.ask(own.as_bytes());
    assert_eq!(own.status, 200, "{}", own.text());
    assert_eq!(own.json()["routes"], json!(["demo/chat"]));
    assert_eq!(own.json()["id"], made["public_id"]);

    project.call(("POST", &format!("{at}/disable")), &[], &json!({"comment": "leaked"}), 200);
    assert_eq!(project.ask(&first).status, 401, "no worker accepts it when the call has returned");
    project.call(("POST", &format!("{at}/disable")), &[], &Value::Null, 409);
    project.call(("POST", &format!("{at}/enable")), &[], &Value::Null, 200);
    assert_eq!(project.ask(&first).status, 200);

    let rolled = project.call(("POST", &format!("{at}/roll")), &[], &json!({"overlap_seconds": 60}), 200);
    let second = text(&rolled, "key");
    assert_eq!((project.ask(&first).status, project.ask(&second).status), (200, 200));
    project.call(("POST", &format!("{at}/roll")), &[], &json!({"overlap_seconds": 60}), 409);
    let third = text(&project.call(("POST", &format!("{at}/roll")), &[], &Value::Null, 200), "key");
    let answers = [&first, &second, &third].map(|key| project.ask(key).status);
    assert_eq!(answers, [401, 401, 200]);

    project.call(("DELETE", &at), &[], &Value::Null, 428);
    project.call(("DELETE", &at), &[("if-match", "\"1\"")], &Value::Null, 412);
    let shown = project.gateway.admin("GET", &at, &[], "");
    let tag = shown.header("etag").unwrap();
    project.call(("DELETE", &at), &[("if-match", tag)], &Value::Null, 204);
    assert_eq!(project.ask(&third).status, 401);
    project.call(("GET", &at), &[], &Value::Null, 404);
}

#[test]
fn fields_of_keys_that_are_not_as_they_must_be_are_refused() {
    let project = Project::new();
    for (field, value) in [
        ("usage_limit", json!(5)),
        ("usage_limit", json!("-1")),
        ("period_limit", json!({"amount": "5", "kind": "rolling"})),
        ("period_limit", json!({"amount": "5", "every": {"value": 1, "unit": "minute"}, "kind": "rolling"})),
        ("period_limit", json!({"amount": "5", "every": {"value": 13, "unit": "month"}, "kind": "calendar"})),
        ("requests_per_minute", json!(-1)),
        ("tokens_per_minute", json!("9")),
        ("max_concurrent", json!(1.5)),
        ("usage_total", json!("0")),
    ] {
        let body = json!({"description": "x", field: value});
        let refused = project.call(("POST", &project.path("/keys")), &[], &body, 422);
        assert!(refused.to_string().contains(field), "{refused}");
    }
    for body in [
        json!({}),
        json!({"description": " "}),
        json!({"description": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"description": "x", "expires_at": "tomorrow"}),
        json!({"description": "x", "id": "key_00000000000000000000"}),
    ] {
        project.call(("POST", &project.path("/keys")), &[], &body, 422);
    }
}

#[test]
fn value_of_a_secret_is_answered_logged_and_stored_nowhere() {
    let project = Project::new();
    let secrets = project.path("/secrets");
    let body = json!({"name": "OPENAI", "value": CANARY, "bound_origins": ["https://llm.example"]});
    let made = project.call(("POST", &secrets), &[], &body, 201);
    project.serve(NAMES);
    let key = text(&project.call(("POST", &project.path("/keys")), &[], &json!({"description": "app"}), 201), "key");
    let at = format!("{secrets}/{}", text(&made, "id"));
    let listed = project.call(("GET", &secrets), &[], &Value::Null, 200);
    let metrics = project.gateway.series("millrace_requests_total", "status");
    for shown in [made.to_string(), listed.to_string(), format!("{metrics:?}")] {
        assert!(!shown.contains(CANARY), "{shown}");
    }
    project.call(("DELETE", &at), &[("if-match", "\"1\"")], &Value::Null, 409);
    let moved = json!({"bound_origins": ["https://other.example"]});
    let moved = project.call(("PATCH", &at), &[("if-match", "\"1\"")], &moved, 200);
    assert_eq!(moved["value"], Value::Null);
    let answer = project.ask(&key);
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (503, json!("config_error")),
        "{}",
        answer.text()
    );

    let mut gateway = project.gateway;
    let printed = gateway.printed().join("\n");
    let folder = gateway.ended();
    assert!(!printed.contains(CANARY));
    for entry in std::fs::read_dir(folder.path().join("stored")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
    }
}

#[test]
fn what_clients_used_is_summed_up_listed_and_exported_and_outlives_the_process() {
    let mut project = Project::new();
    project.serve(GOOD);
    let key = text(&project.call(("POST", &project.path("/keys")), &[], &json!({"description": "app"}), 201), "key");
    for _ in 0..20 {
        assert_eq!(project.ask(&key).status, 200);
    }
    let wrong = project.gateway.ask(&with_key(&chat("demo/none"), &key));
    assert_eq!(wrong.status, 404);
    let sums = format!("{}?granularity=day&group_by=status", project.path("/analytics"));
    let requests = |project: &Project| {
        let answer = project.call(("GET", &sums), &[], &Value::Null, 200);
        (answer["total"]["requests"].as_u64().unwrap(), answer["total"]["errors"].as_u64().unwrap())
    };
    assert!(eventually(DEADLINE, || requests(&project) == (21, 1)), "{:?}", requests(&project));
    assert!(project.gateway.metric("millrace_usage_stored_rows_total", "") >= Some(21.0));

    // Beside the one that failed there is a share of the others.
    let failed = project.call(("GET", &project.path("/logs?status=4xx")), &[], &Value::Null, 200);
    let row = &failed["data"][0];
    assert_eq!((row["status"].clone(), row["request_id"].clone()), (json!(404), json!(wrong.header("x-request-id"))));
    let one = format!("/logs/{}", text(row, "request_id"));
    assert_eq!(project.call(("GET", &project.path(&one)), &[], &Value::Null, 200), *row);
    let csv = project.gateway.admin("GET", &project.path("/logs/export?format=csv&status=404"), &[], "");
    assert_eq!(csv.text().lines().count(), 2, "{}", csv.text());
    assert!(csv.text().starts_with("request_id,at,") && csv.text().contains(&text(row, "request_id")));
    let lines = project.gateway.admin("GET", &project.path("/logs/export"), &[], "").text();
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
    let ledger = format!("/organizations/{}/ledger", project.organization);
    project.call(("GET", &ledger), &[], &Value::Null, 200);

    let folder = project.gateway.ended();
    project.gateway = Gateway::stored(folder, 1);
    assert_eq!(requests(&project), (21, 1));
}
