//! IAM rules over sockets: at once, and by the true address.

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, KEY, Reply, chat, eventually};
use crate::keys::{Project, text, with_key};

const TWO_ROUTES: &str = "chat_models: [{model_id: m, model: mock/m}, {model_id: n, model: mock/n}]\n\
                          routes: {chat: {chat_models: [m]}, other: {chat_models: [n]}}\n";

/// Makes a key; returns the path of its object and its text.
fn key(project: &Project, body: &Value) -> (String, String) {
    let made = project.call(("POST", &project.path("/keys")), &[], body, 201);
    (project.path(&format!("/keys/{}", text(&made, "id"))), text(&made, "key"))
}

fn get(project: &Project, path: &str, key: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\n\r\n");
    project.gateway.ask(request.as_bytes())
}

fn listed(project: &Project, key: &str) -> Vec<String> {
    let models = get(project, "/v1/models", key).json();
    models["data"].as_array().unwrap().iter().map(|model| text(model, "id")).collect()
}

/// Removes a rule as it is now.
fn remove(project: &Project, path: &str) {
    let shown = project.gateway.admin("GET", path, &[], "");
    project.call(("DELETE", path), &[("if-match", shown.header("etag").unwrap())], &Value::Null, 204);
}

#[test]
fn rule_refuses_at_once_on_every_worker_and_no_longer_when_it_is_gone() {
    let project = Project::new();
    project.serve(TWO_ROUTES);
    let (at, key) = key(&project, &json!({"description": "app"}));
    let organization = format!("/organizations/{}", project.organization);
    // More connections than workers: each worker answers some.
    let everywhere = |want: u16| (0..8).for_each(|_| assert_eq!(project.ask(&key).status, want));
    everywhere(200);
    for place in [organization, project.path(""), at.clone()] {
        let body = json!({"type": "deny_models", "value": {"models": ["mock/m"]}});
        let made = project.call(("POST", &format!("{place}/rules")), &[], &body, 201);
        let rule = text(&made, "id");
        everywhere(403);
        let refused = project.ask(&key);
        let error = &refused.json()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!("permission_error"), &json!("model_not_allowed")));
        assert_eq!(refused.header("x-should-retry"), Some("false"));
        let message = text(error, "message");
        let scope = text(&made, "scope");
        assert!(message.contains(&rule) && message.contains(&scope), "{message}");
        let told = refused.text();
        assert!(
            !told.contains("demo/other") && !told.contains("mock/n") && refused.header("x-millrace-model").is_none(),
            "{told}"
        );

        assert_eq!(listed(&project, &key), ["demo/other"]);
        assert_eq!(get(&project, "/v1/models/demo%2Fchat", &key).status, 404);
        assert_eq!(get(&project, "/v1/models/demo%2Fother", &key).status, 200);
        assert_eq!(get(&project, "/v1/key", &key).json()["routes"], json!(["demo/other"]));
        let question = json!({"route": "chat", "client_ip": "127.0.0.1"});
        let said = project.call(("POST", &format!("{at}/explain")), &[], &question, 200);
        assert_eq!((&said["allowed"], &said["steps"][0]["decided_by"]), (&json!(false), &json!([rule])));
        assert_eq!(said["steps"][0]["removed"], json!(["m"]));

        remove(&project, &format!("{place}/rules/{rule}"));
        everywhere(200);
        assert_eq!(listed(&project, &key), ["demo/chat", "demo/other"]);
    }
}

#[test]
fn key_with_rules_is_bound_from_its_first_request_on() {
    let project = Project::new();
    project.serve(TWO_ROUTES);
    let rules = json!([{"type": "allow_routes", "value": {"routes": ["other"]}}]);
    let (at, key) = key(&project, &json!({"description": "app", "rules": rules}));
    assert_eq!((project.ask(&key).status, listed(&project, &key)), (403, vec!["demo/other".to_owned()]));
    let rules = project.call(("GET", &format!("{at}/rules")), &[], &Value::Null, 200);
    assert_eq!(rules["data"][0]["value"], json!({"routes": ["other"]}));
    let bad = json!({"description": "app", "rules": [{"type": "allow_routes", "value": {}}]});
    let refused = project.call(("POST", &project.path("/keys")), &[], &bad, 422);
    assert_eq!(refused["errors"][0]["path"], json!("rules.0.value.routes"), "{refused}");
    let unknown = json!({"type": "allow_everything", "value": {}});
    project.call(("POST", &format!("{at}/rules")), &[], &unknown, 422);
}

/// Sends a chat request with these lines in its head.
fn ask_with(project: &Project, key: &str, lines: &str) -> u16 {
    let request = String::from_utf8(chat("demo/chat")).unwrap().replacen("\r\n", &format!("\r\n{lines}"), 1);
    project.gateway.ask(&with_key(request.as_bytes(), key)).status
}

#[test]
fn spoofed_forwarded_address_is_ignored() {
    assert!(String::from_utf8(chat("x")).unwrap().contains(KEY));
    let inside =
        json!({"description": "app", "rules": [{"type": "allow_ip_cidrs", "value": {"cidrs": ["10.0.0.0/8"]}}]});
    let trusting = |lines| {
        let project = Project::on(Gateway::stored_with(tempfile::tempdir().unwrap(), 1, lines));
        project.serve(TWO_ROUTES);
        let key = key(&project, &inside).1;
        (project, key)
    };
    let nobody = trusting("");
    let loopback = trusting("trusted_proxies: [127.0.0.0/8, 192.0.2.0/24]\n");
    for (name, lines, without, with) in [
        ("no header", "", 403, 403),
        ("from inside", "x-forwarded-for: 10.1.2.3\r\n", 403, 200),
        ("said by the client, outside", "x-forwarded-for: 10.1.2.3, 203.0.113.9\r\n", 403, 403),
        ("in a line of its own", "x-forwarded-for: 10.1.2.3\r\nX-Forwarded-For: 203.0.113.9\r\n", 403, 403),
        ("through two proxies", "x-forwarded-for: 10.1.2.3, 192.0.2.7\r\n", 403, 200),
        ("mapped", "x-forwarded-for: ::ffff:10.1.2.3\r\n", 403, 200),
        ("unknown", "x-forwarded-for: 10.1.2.3, unknown\r\n", 403, 403),
        ("another field", "x-real-ip: 10.1.2.3\r\nforwarded: for=10.1.2.3\r\n", 403, 403),
    ] {
        assert_eq!(ask_with(&nobody.0, &nobody.1, lines), without, "{name}, nobody trusted");
        assert_eq!(ask_with(&loopback.0, &loopback.1, lines), with, "{name}, loopback trusted");
    }
    // An address that is not known is refused by rules that deny some, too.
    let deny = json!({"description": "app", "rules": [{"type": "deny_ip_cidrs", "value": {"cidrs": ["10.0.0.0/8"]}}]});
    let (_, key) = key(&loopback.0, &deny);
    let answers = ["x-forwarded-for: 203.0.113.9\r\n", "x-forwarded-for: unknown\r\n", "x-forwarded-for: 10.0.0.1\r\n"];
    assert_eq!(answers.map(|lines| ask_with(&loopback.0, &key, lines)), [200, 403, 403]);
}

/// Rules that come and go under load: each answer is one or the other, and none after the call is the old one.
#[test]
fn hundred_changes_under_load_are_each_seen_at_once() {
    let project = Project::new();
    project.serve(TWO_ROUTES);
    let (at, key) = key(&project, &json!({"description": "app"}));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let asked: [std::sync::atomic::AtomicU32; 2] = Default::default();
    // Each change has some load from both.
    let is_asked = || {
        let counts = || [0, 1].map(|lane: usize| asked[lane].load(std::sync::atomic::Ordering::Relaxed));
        let before = counts();
        let all = || counts().iter().zip(before).all(|(now, before)| *now > before + 1);
        assert!(eventually(DEADLINE, all), "nobody is answered");
    };
    let body = json!({"type": "deny_models", "value": {"models": ["*"]}});
    std::thread::scope(|scope| {
        let load: Vec<_> = asked
            .each_ref()
            .into_iter()
            .map(|asked| {
                let (project, key, stop) = (&project, &key, &stop);
                scope.spawn(move || {
                    let mut seen = [0u32; 2];
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        match project.ask(key).status {
                            200 => seen[0] += 1,
                            403 => seen[1] += 1,
                            other => panic!("{other}"),
                        }
                        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        for _ in 0..50 {
            let made = project.call(("POST", &format!("{at}/rules")), &[], &body, 201);
            assert_eq!(project.ask(&key).status, 403);
            is_asked();
            remove(&project, &format!("{at}/rules/{}", text(&made, "id")));
            assert_eq!(project.ask(&key).status, 200);
            is_asked();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for seen in load {
            let [allowed, refused] = seen.join().unwrap();
            assert!(allowed > 0 && refused > 0, "{allowed} {refused}");
        }
    });
}
