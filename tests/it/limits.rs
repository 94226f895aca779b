//! Limits over sockets: exact under load, and over a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{Client, Gateway, Reply, chat, chat_with};
use crate::keys::{Project, text, with_key};

/// A model whose answers have 12 tokens of 0.001 USD each; requests cost nothing.
const PRICED: &str = "chat_models:\n  - {model_id: m, model: mock/m, input_cost_per_million_tokens: 0, \
                      output_cost_per_million_tokens: 1000}\nroutes: {chat: {chat_models: [m]}}\n";
/// What an answer costs, in nano-USD.
const COST: u64 = 12_000_000;

/// A request that reserves exactly what its answer uses.
pub(crate) fn exact(key: &str) -> Vec<u8> {
    with_key(&chat_with("demo/chat", r#","max_tokens":12"#), key)
}

pub(crate) fn priced(workers: u16) -> Project {
    let project = Project::on(Gateway::stored(tempfile::tempdir().unwrap(), workers));
    project.serve(PRICED);
    project
}

/// Makes a key; returns the path of its object and its text.
pub(crate) fn key(project: &Project, body: &Value) -> (String, String) {
    let made = project.call(("POST", &project.path("/keys")), &[], body, 201);
    (project.path(&format!("/keys/{}", text(&made, "id"))), text(&made, "key"))
}

/// Changes an object as it is now.
fn change(project: &Project, path: &str, body: &Value) -> Value {
    let shown = project.gateway.admin("GET", path, &[], "");
    project.call(("PATCH", path), &[("if-match", shown.header("etag").unwrap())], body, 200)
}

pub(crate) fn shown(project: &Project, path: &str) -> Value {
    project.call(("GET", path), &[], &Value::Null, 200)
}

pub(crate) fn error(reply: &Reply) -> (u16, String) {
    (reply.status, text(&reply.json()["error"], "code"))
}

/// How often each status came, of so many requests that 64 connections send at once.
fn burst(project: &Project, request: &[u8], count: usize) -> BTreeMap<u16, usize> {
    let left = AtomicUsize::new(count);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let run = || {
        let mut client: Option<Client> = None;
        let mut seen = Vec::new();
        while take() {
            let open = client.get_or_insert_with(|| project.gateway.client());
            open.send(request);
            let mut reply = open.read().expect("an answer");
            // A lease that a busy disk keeps waiting for too long: nothing is spent, and the client asks again.
            while reply.status == 503 && error(&reply).1 == "ledger_unavailable" {
                open.send(request);
                reply = open.read().expect("an answer");
            }
            seen.push(reply.status);
            if reply.closes() {
                client = None;
            }
        }
        seen
    };
    let mut statuses = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(run)).collect();
        for status in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *statuses.entry(status).or_default() += 1;
        }
    });
    statuses
}

#[test]
fn requests_a_minute_are_exact_and_told_in_headers() {
    let project = priced(2);
    let (at, key) = key(&project, &json!({"description": "app", "requests_per_minute": 3}));
    for left in ["2", "1", "0"] {
        let reply = project.ask(&key);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-ratelimit-limit-requests"), Some("3"));
        assert_eq!(reply.header("x-ratelimit-remaining-requests"), Some(left));
    }
    let refused = project.ask(&key);
    assert_eq!(error(&refused), (429, "rate_limit_exceeded".to_owned()), "{}", refused.text());
    let number = |name: &str| refused.header(name).unwrap_or_else(|| panic!("no {name}")).parse::<u64>().unwrap();
    let (seconds, millis) = (number("retry-after"), number("retry-after-ms"));
    assert!((1..=60).contains(&seconds) && millis <= 60_000 && millis.div_ceil(1_000) == seconds, "{seconds} {millis}");
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    assert!(refused.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
    assert_ne!(refused.header("x-should-retry"), Some("false"), "waiting helps");

    let own = format!("GET /v1/key HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\n\r\n");
    let own = project.gateway.ask(own.as_bytes());
    assert_eq!(own.status, 200, "also over the limit");
    let limit = &own.json()["limits"][0];
    assert_eq!((&limit["scope"], &limit["limit"], &limit["remaining"]), (&json!("key"), &json!(3), &json!(0)));
    assert!(limit["resets_at"].is_string(), "{limit}");

    let listed = shown(&project, &format!("{at}/limits"));
    let row = &listed["data"][0];
    assert_eq!((&row["kind"], &row["limit"], &row["posted"]), (&json!("requests"), &json!(3), &json!(3)), "{row}");
    let raised = change(&project, &at, &json!({"requests_per_minute": 4}));
    assert_eq!(raised["requests_per_minute"], 4);
    assert_eq!((project.ask(&key).status, project.ask(&key).status), (200, 429), "what was used stays used");
    change(&project, &at, &json!({"requests_per_minute": null}));
    assert_eq!(project.ask(&key).status, 200);
    project.gateway.assert_idle();
}

#[test]
fn money_is_spent_once_over_a_restart_and_flows_again_when_raised() {
    let mut project = priced(1);
    let (at, key) = key(&project, &json!({"description": "app", "usage_limit": "0.036"}));
    let ask = |project: &Project| project.gateway.ask(&exact(&key));
    for _ in 0..2 {
        assert_eq!(ask_leased(&project, &key), 200);
    }
    assert_eq!(shown(&project, &at)["usage_total"], "0.024000000");
    project = project.restarted();
    assert_eq!(shown(&project, &at)["usage_total"], "0.024000000");
    assert_eq!(ask_leased(&project, &key), 200);
    let refused = ask(&project);
    assert_eq!(error(&refused), (429, "insufficient_quota".to_owned()), "{}", refused.text());
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(refused.header("retry-after"), None, "time alone does not help");
    let raised = change(&project, &at, &json!({"usage_limit": "0.048"}));
    assert_eq!((&raised["usage_limit"], &raised["usage_total"]), (&json!("0.048000000"), &json!("0.036000000")));
    assert_eq!((ask_leased(&project, &key), ask_leased(&project, &key)), (200, 429));
    change(&project, &at, &json!({"usage_limit": "0"}));
    assert_eq!(ask_leased(&project, &key), 429);
    change(&project, &at, &json!({"usage_limit": null}));
    assert_eq!(ask_leased(&project, &key), 200);
    project.gateway.assert_idle();
}

#[test]
fn member_limit_counts_over_all_keys_of_the_member() {
    let project = priced(2);
    let organization = format!("/organizations/{}", project.organization);
    let body = json!({"email": "ada@example.com", "role": "admin"});
    let invited = project.call(("POST", &format!("{organization}/invitations")), &[], &body, 201);
    let body = json!({"token": invited["token"], "password": "correct horse battery"}).to_string();
    let joined = project.gateway.admin("POST", "/invitations/accept", &[], &body);
    let cookie = joined.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let own = |_| {
        let body = json!({"description": "own"}).to_string();
        let request = format!(
            "POST /api/v1{} HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\nx-millrace-request: 1\r\ncookie: {cookie}\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n{body}",
            project.path("/keys"),
            body.len()
        );
        let mut client = Client::connect(project.gateway.admin);
        client.send(request.as_bytes());
        let made = client.read().unwrap();
        assert_eq!(made.status, 201, "{}", made.text());
        text(&made.json(), "key")
    };
    let [first, second] = [(), ()].map(own);
    let (_, other) = key(&project, &json!({"description": "of nobody"}));
    let members = shown(&project, &format!("{organization}/members"));
    let user = text(&members["data"][0], "user_id");
    let at = format!("{organization}/members/{user}");
    change(&project, &at, &json!({"usage_limit": "0.024"}));
    let ask = |key: &str| project.gateway.ask(&exact(key));
    assert_eq!([&first, &second].map(|key| ask(key).status), [200, 200]);
    for key in [&first, &second] {
        let refused = ask(key);
        assert_eq!(error(&refused), (429, "insufficient_quota".to_owned()));
        assert!(text(&refused.json()["error"], "message").contains("member"), "{}", refused.text());
    }
    assert_eq!(ask(&other).status, 200);
    assert_eq!(shown(&project, &at)["usage_total"], "0.024000000");
    project.gateway.assert_idle();
}

#[test]
fn of_a_thousand_requests_at_once_exactly_ten_pass_a_project_limit() {
    for workers in [1, 2] {
        let project = priced(workers);
        let (_, key) = key(&project, &json!({"description": "app"}));
        let body = json!({"kind": "requests", "amount": 10, "window": "1 hour"});
        let made = project.call(("POST", &project.path("/limits")), &[], &body, 201);
        let got = burst(&project, &with_key(&chat("demo/chat"), &key), 1_000);
        assert_eq!(got, BTreeMap::from([(200, 10), (429, 990)]), "{workers} workers");
        let limit = shown(&project, &project.path(&format!("/limits/{}", text(&made, "id"))));
        assert_eq!((&limit["posted"], &limit["pending"]), (&json!(10), &json!(0)), "{limit}");
        project.gateway.assert_idle();
    }
}

#[test]
fn of_a_thousand_requests_at_once_money_pays_for_exactly_ten() {
    for workers in [1, 2] {
        let project = priced(workers);
        let (_, key) = key(&project, &json!({"description": "app"}));
        let body = json!({"kind": "usd", "amount": "0.12", "window": "1 month", "algorithm": "calendar"});
        let made = project.call(("POST", &project.path("/limits")), &[], &body, 201);
        let got = burst(&project, &exact(&key), 1_000);
        assert_eq!(got, BTreeMap::from([(200, 10), (429, 990)]), "{workers} workers");
        let limit = shown(&project, &project.path(&format!("/limits/{}", text(&made, "id"))));
        let spent = usd(10 * COST);
        assert_eq!((text(&limit, "posted"), text(&limit, "pending")), (spent, usd(0)), "{limit}");
        project.gateway.assert_idle();
    }
}

/// Asks until a lease is there; a busy disk may keep it waiting for longer than a request does.
fn ask_leased(project: &Project, key: &str) -> u16 {
    loop {
        let reply = project.gateway.ask(&exact(key));
        if reply.status != 503 || error(&reply).1 != "ledger_unavailable" {
            return reply.status;
        }
    }
}

#[test]
fn i_21_project_spends_what_its_keys_spend_and_none_passes_its_limit() {
    let project = priced(2);
    let keys = ["a", "b", "c"].map(|name| key(&project, &json!({"description": name, "usage_limit": "1"})));
    let made = project.call(("POST", &project.path("/limits")), &[], &json!({"kind": "usd", "amount": "0.06"}), 201);
    let asked: Vec<u16> = (0..9).map(|turn: usize| ask_leased(&project, &keys[turn % 3].1)).collect();
    assert_eq!(asked, [200, 200, 200, 200, 200, 429, 429, 429, 429]);
    let spent = keys.map(|(at, _)| text(&shown(&project, &at), "usage_total"));
    assert_eq!(spent, [2, 2, 1].map(|answers| usd(answers * COST)));
    let limit = shown(&project, &project.path(&format!("/limits/{}", text(&made, "id"))));
    assert_eq!((text(&limit, "posted"), text(&limit, "pending")), (usd(5 * COST), usd(0)), "{limit}");
}

fn usd(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

#[test]
fn money_and_models_without_a_price_exclude_each_other() {
    let unpriced = "chat_models:\n  - {model_id: m, model: openai/llama, credentials: {base_url: \"https://llm.example/v1\"}}\n\
                    routes: {chat: {chat_models: [m]}}\n";
    let project = Project::new();
    project.serve(unpriced);
    let limits = project.path("/limits");
    let money = json!({"kind": "usd", "amount": "1"});
    let refused = project.call(("POST", &limits), &[], &money, 422).to_string();
    assert!(refused.contains("openai/llama") && refused.contains("demo/chat"), "{refused}");
    let body = json!({"description": "app", "usage_limit": "1"});
    assert!(project.call(("POST", &project.path("/keys")), &[], &body, 422).to_string().contains("usage_limit"));
    project.call(("POST", &limits), &[], &json!({"kind": "requests", "amount": 9, "window": "1 minute"}), 201);
    project.serve(PRICED);
    project.call(("POST", &limits), &[], &money, 201);
    project.call(("POST", &limits), &[], &money, 409);

    let draft = project.path("/config/draft");
    let saved = project.call(("PUT", &draft), &[("if-none-match", "*")], &json!({"content": unpriced}), 200);
    let version = project.path(&format!("/config/versions/{}", saved["version"]));
    let refused = project.call(("POST", &format!("{version}/approve")), &[], &Value::Null, 422);
    assert!(refused.to_string().contains("unpriced_model"), "{refused}");
}
