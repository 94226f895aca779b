//! A row says how its request was decided on.

use serde_json::{Value, json};

use super::Site;
use crate::harness::{KEY, Mock, Reply, post};

const ALL_ROWS: &str = "usage: {request_rows: all}\n";

/// `step outcome subject; ` of each step.
fn steps(row: &Value) -> String {
    let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    let steps = row["decisions"].as_array().unwrap_or_else(|| panic!("{row}")).iter();
    let texts = steps.map(|step| format!("{} {} {}", text(step, "step"), text(step, "outcome"), text(step, "subject")));
    texts.map(|step| step.trim_end().to_owned()).collect::<Vec<_>>().join("; ")
}

impl Site {
    /// A chat request by a client that names itself, to a model as it is written.
    fn name(&self, key: &str, model: &str, more: &str) -> Reply {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]{more}}}"#);
        let request = String::from_utf8(post("/v1/chat/completions", &body)).unwrap().replace(KEY, key);
        let request = request.replace("host:", "user-agent: OpenAI/Python 1.54.0\r\nhost:");
        self.gateway.ask(request.as_bytes())
    }

    /// A key with more fields, its id, and that of its object.
    fn key_with(&self, more: &Value) -> (String, String) {
        let mut body = json!({"description": "test"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.call(("POST", &format!("/projects/{}/keys", self.project)), &body, 201);
        (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    }
}

#[test]
fn row_tells_each_step_as_far_as_the_request_got() {
    let mock = Mock::start();
    let site = Site::new(&["fast", "fault/status=500", "fault/status=400"], &mock, ALL_ROWS);
    let key = site.key.clone();
    let passed = |route: &str| {
        format!(
            "route found demo/{route}; rules none; target only m{}; limits none; credential own only_own",
            &route[1..]
        )
    };
    for (model, more, finish, want) in [
        ("demo/r0", "", "completed", passed("r0")),
        ("demo/r0", r#","stream":true"#, "completed", passed("r0")),
        ("r0", "", "completed", passed("r0").replace("demo/", "")),
        ("demo/r1", "", "upstream_error", passed("r1")),
        ("demo/r2", "", "client_error", passed("r2")),
        ("demo/none", "", "client_error", "route not_found demo/none".to_owned()),
        ("demo/r0", r#","max_tokens":"x""#, "completed", passed("r0")),
    ] {
        let reply = site.name(&key, model, more);
        let row = site.row(&reply);
        let all = steps(&row);
        let (first, rest) = all.split_once("; ").unwrap();
        assert!(first.starts_with("key accepted key_"), "{model}: {all}");
        assert_eq!((rest, &row["finish_reason"]), (&*want, &json!(finish)), "{model}{more}: {row}");
        assert_eq!((&row["requested_model"], &row["user_agent"]), (&json!(model), &json!("OpenAI/Python 1.54.0")));
        let organization = if row["route"] == "" { "" } else { &site.organization };
        assert_eq!(row["organization"], json!(organization), "{row}");
        let ms = |name: &str| row[name].as_f64().unwrap_or_default();
        assert!(ms("first_byte_ms") > 0.0 && ms("first_byte_ms") <= ms("duration_ms"), "{row}");
        let phases = row["phases"].as_object().unwrap_or_else(|| panic!("{row}"));
        let spent: f64 = phases.values().map(|phase| phase.as_f64().unwrap()).sum();
        assert!(spent > 0.0 && spent <= ms("duration_ms") + 0.01, "each is a part of it: {row}");
        let is_sent = model != "demo/none";
        assert_eq!((phases.len(), phases["upstream_ms"].as_f64().unwrap() > 0.0), (7, is_sent), "{row}");
        let parts = &row["cost_parts"];
        let nano = |usd: &Value| usd.as_str().map_or(0, |usd| usd.replace('.', "").parse::<u64>().unwrap());
        let sum: u64 = parts.as_object().iter().flat_map(|parts| parts.values()).map(nano).sum();
        assert_eq!(sum, nano(&row["cost"]), "{row}");
        assert_eq!(parts.is_null(), nano(&row["cost"]) == 0, "{row}");
    }
}

#[test]
fn refusal_names_the_rules_or_the_limit_that_decided() {
    let mock = Mock::start();
    let site = Site::new(&["fast", "fast"], &mock, "usage: {request_rows: errors}\n");
    let rules = json!([{"type": "allow_routes", "value": {"routes": ["r1"]}}]);
    let (ruled, id) = site.key_with(&json!({"rules": rules}));
    let made = site.gateway.admin("GET", &format!("/projects/{}/keys/{id}/rules", site.project), &[], "").json();
    let row = site.row(&site.name(&ruled, "demo/r0", ""));
    assert_eq!(steps(&row), format!("key accepted {id}; route found demo/r0; rules denied key"), "{row}");
    let denied = &row["decisions"][2];
    assert_eq!(denied["rules"], json!([made["data"][0]["id"]]), "{row}");
    assert!(denied["reason"].as_str().unwrap().starts_with("rules of the key do not allow this route"), "{row}");
    // What passes leaves no row here, so that it costs nothing.
    let passed = site.name(&ruled, "demo/r1", "");
    assert_eq!(passed.status, 200);

    // A limit of requests is asked before the route is known, one in money behind it.
    let (rate, id) = site.key_with(&json!({"requests_per_minute": 0}));
    let row = site.row(&site.name(&rate, "demo/r0", ""));
    assert_eq!(steps(&row), format!("key accepted {id}; limits refused key"), "{row}");
    assert_eq!(row["decisions"][1]["reason"], json!("the limit of the key is 0: nothing is allowed"), "{row}");
    assert_eq!(row["phases"], Value::Null, "nobody counts what may be no row");
    let (poor, id) = site.key_with(&json!({"usage_limit": "0.000001"}));
    let row = site.row(&site.name(&poor, "demo/r0", ""));
    let want = format!("key accepted {id}; route found demo/r0; rules none; target only m0; limits refused key");
    assert_eq!((steps(&row), &row["finish_reason"]), (want, &json!("client_error")), "{row}");
    assert!(row["decisions"][4]["reason"].as_str().unwrap().contains("may need"), "{row}");

    let list = |query: &str| site.gateway.admin("GET", &format!("/projects/{}/logs{query}", site.project), &[], "");
    assert_eq!(list("?finish=client_error").json()["data"].as_array().unwrap().len(), 3);
    assert_eq!(list("?finish=completed").json()["data"], json!([]));
    let refused = list("?finish=done");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("`length_limit`"), "{}", refused.text());
    let unknown = site.gateway.admin("GET", &format!("/projects/{}/logs/{}", site.project, "x"), &[], "");
    assert_eq!(unknown.status, 404);
    let text = site.gateway.admin("GET", &format!("/projects/{}/logs/export?format=csv", site.project), &[], "").text();
    let heading = text.lines().next().unwrap();
    assert!(
        ["finish_reason", "phases", "decisions", "user_agent", "cost_parts"].iter().all(|name| heading.contains(name)),
        "{heading}"
    );
    let id = passed.header("x-request-id").unwrap();
    assert_eq!(site.gateway.admin("GET", &format!("/projects/{}/logs/{id}", site.project), &[], "").status, 404);
}
