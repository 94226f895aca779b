//! Past usage at other prices, over sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace::base::unix_time;
use millrace::control::{Keeper, Leases};
use millrace::limit::Meters;
use millrace::store::{LedgerEntry, LedgerKind, Store};
use serde_json::{Value, json};

use super::{BY_MODE, Ending, Scene, entries, nano, usd};
use crate::harness::{Client, DEADLINE, OPERATOR, Reply, eventually, program};

/// Nano-USD a token where the configuration states a price.
const IN: u64 = 1_000;
const OUT: u64 = 2_000;
const PRICES: &str = "prices: [{model: openai/gpt-4o-mini, input: 1, output: 2}]\n";
/// Requests beyond what one transaction of a run changes, where each has a row of its own.
const MANY: u64 = 520;

impl Scene {
    fn path(&self) -> String {
        format!("/projects/{}/usage/reprice", self.project)
    }

    /// What was served in the last day, with these fields beside.
    fn order(&self, more: &Value) -> Value {
        let day = std::time::Duration::from_secs(86_400);
        let now = unix_time();
        let from = millrace::base::UnixTime(now.0.saturating_sub(day));
        let mut order = json!({"from": from.rfc3339(), "to": now.rfc3339(), "comment": "wrong price"});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    }

    fn reprice(&self, key: &str, more: &Value) -> Reply {
        self.gateway.admin("POST", &self.path(), &[("idempotency-key", key)], &self.order(more).to_string())
    }

    fn dry(&self) -> Value {
        // Each is another request, since it says until when it looks.
        let key = format!("dry-{}", unix_time().0.as_nanos());
        let reply = self.reprice(&key, &json!({}));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["id"], Value::Null);
        reply.json()["total"].clone()
    }

    /// All that analytics count for the project.
    fn total(&self) -> Value {
        let path = format!("/projects/{}/analytics?granularity=minute", self.project);
        self.gateway.admin("GET", &path, &[], "").json()["total"].clone()
    }

    /// Waits until so many requests are counted.
    fn counted(&self, requests: u64) {
        assert!(eventually(DEADLINE, || self.total()["requests"] == requests), "{}", self.total());
    }

    /// What each request costs since its price was corrected.
    fn corrected_cost(&self) -> u64 {
        self.provider.state.prompt_tokens.load(Ordering::Relaxed) * IN + OUT
    }

    /// Serves so many requests of an own key at an address of which no table knows a price.
    fn unpriced(settings: &str, requests: u64) -> Self {
        let scene = Self::with_settings(settings);
        scene.enter_own_key();
        scene.serve(BY_MODE);
        let mut client = Client::connect(scene.gateway.address);
        for number in 0..requests {
            client.send(&scene.request(&format!("x-millrace-tags: part={}\r\n", number % 3)));
            let reply = client.read().expect("an answer");
            assert_eq!((reply.status, reply.header("x-millrace-cost-usd")), (200, None), "{}", reply.text());
        }
        scene.counted(requests);
        scene
    }
}

/// What the books of a store are apart, and the entries of runs that priced usage again.
fn books(folder: &Path) -> (u64, Vec<LedgerEntry>) {
    let of_runs = entries(folder).into_iter().filter(|entry| entry.kind == LedgerKind::Reprice).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open(&folder.join("stored/millrace.db")).unwrap();
    let apart = runtime.block_on(async {
        let leases = Arc::new(Meters::in_memory()) as Arc<dyn Leases>;
        Keeper::open(store, leases).await.unwrap().compare().await.unwrap()
    });
    (apart, of_runs)
}

fn sum(entries: &[LedgerEntry], account: &str) -> i64 {
    entries.iter().filter(|entry| entry.account == account).map(|entry| entry.amount).sum()
}

#[test]
fn unpriced_requests_are_priced_later_in_every_book() {
    let scene = Scene::unpriced("usage: {request_rows: all}\n", 9);
    let before = scene.total();
    assert_eq!((&before["unpriced"], &before["cost"]), (&json!(9), &json!(usd(0))));
    assert_eq!(scene.dry()["without_price"], 9, "nobody states a price yet");

    scene.serve(&format!("{BY_MODE}{PRICES}"));
    let cost = usd(9 * scene.corrected_cost());
    let dry = scene.dry();
    assert_eq!((&dry["new_cost"], &dry["difference"], &dry["newly_priced"]), (&json!(cost), &json!(cost), &json!(9)));
    assert_eq!(scene.total()["cost"], before["cost"], "a dry run changes nothing");

    let done = scene.reprice("july", &json!({"dry_run": false}));
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!((&done.json()["state"], &done.json()["total"]["new_cost"]), (&json!("done"), &json!(cost)));
    let after = scene.total();
    assert_eq!((&after["cost"], &after["unpriced"], &after["requests"]), (&json!(cost), &json!(0), &json!(9)));
    let again = scene.reprice("july", &json!({"dry_run": false}));
    // The body holds the time, so it is another request under the same key.
    assert_eq!(again.status, 422, "{}", again.text());
    let once_more = scene.reprice("august", &json!({"dry_run": false})).json();
    assert_eq!(once_more["total"]["difference"], usd(0), "{once_more}");

    let logs = scene.gateway.admin("GET", &format!("/projects/{}/logs", scene.project), &[], "").json();
    let row = &logs["data"][0];
    assert_eq!((&row["cost"], &row["price_source"]), (&Value::Null, &json!("")), "a row stays as it was written");
    assert_eq!(row["corrected"]["cost"], usd(scene.corrected_cost()), "{row}");
    assert_eq!(
        (&row["corrected"]["price_source"], &row["corrected"]["reprice"]),
        (&json!("prices"), &done.json()["id"])
    );
    let path = format!("/projects/{}/analytics?group_by=tag", scene.project);
    let tags = scene.gateway.admin("GET", &path, &[], "").json();
    let of_tags: i128 = tags["rows"].as_array().unwrap().iter().map(|row| nano(&row["cost"])).sum();
    assert_eq!(of_tags, nano(&json!(cost)), "{tags}");
    let runs = scene.gateway.admin("GET", &scene.path(), &[], "").json();
    assert_eq!(runs["data"].as_array().unwrap().len(), 2, "{runs}");
    let path = format!("/projects/{}/audit?action=usage.reprice", scene.project);
    assert_eq!(scene.gateway.admin("GET", &path, &[], "").json()["data"].as_array().unwrap().len(), 2);

    let project = scene.project.clone();
    let Scene { gateway, .. } = scene;
    let (apart, found) = books(gateway.ended().path());
    assert_eq!((apart, found.len()), (0, 1), "{found:?}");
    assert_eq!(i128::from(sum(&found, &format!("cost:{project}"))), nano(&json!(cost)));
}

#[test]
fn what_cannot_be_priced_again_is_refused_and_says_why() {
    let scene = Scene::unpriced("", 1);
    let unnamed = scene.gateway.admin("POST", &scene.path(), &[], &scene.order(&json!({})).to_string());
    assert_eq!(unnamed.status, 400, "{}", unnamed.text());
    for (name, more, field) in [
        ("unknown version", json!({"version": 99}), "version"),
        ("future", json!({"to": "2999-01-01T00:00:00Z"}), "to"),
        ("the wrong way round", json!({"to": "2026-01-01T00:00:00Z"}), "to"),
        ("part of an old day", json!({"from": "2026-01-01T01:00:00Z"}), "from"),
        ("both", json!({"version": 1, "prices": "served"}), "version"),
        ("no such prices", json!({"prices": "mine"}), "prices"),
        ("version for the platform", json!({"version": 1, "credential": "platform"}), "version"),
        ("unknown field", json!({"models": "x"}), "models"),
    ] {
        let refused = scene.reprice(&name.replace(' ', "-"), &more);
        assert_eq!(refused.status, 422, "{name}: {}", refused.text());
        assert_eq!(refused.json()["errors"][0]["path"], field, "{name}: {}", refused.text());
    }
    let token = json!({"description": "reader", "role": "auditor", "organization_id": scene.organization});
    let token = scene.gateway.admin("POST", "/admin-tokens", &[], &token.to_string()).json();
    let reader = token["token"].as_str().unwrap_or_else(|| panic!("{token}"));
    let refused = post(scene.gateway.admin, &scene, (reader, "reader"));
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("not_permitted")), "{}", refused.text());
}

/// The order of a run that is not dry, as bytes.
fn order(scene: &Scene, (token, key): (&str, &str)) -> Vec<u8> {
    let body = scene.order(&json!({"dry_run": false})).to_string();
    format!(
        "POST /api/v1{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        scene.path(),
        body.len()
    )
    .into_bytes()
}

fn post(admin: SocketAddr, scene: &Scene, proof: (&str, &str)) -> Reply {
    let mut client = Client::connect(admin);
    client.send(&order(scene, proof));
    client.read().expect("an answer")
}

#[test]
fn run_that_is_killed_has_happened_once_or_not_at_all() {
    let mut scene = Scene::unpriced("usage: {request_rows: all}\n", MANY);
    scene.serve(&format!("{BY_MODE}{PRICES}"));
    let cost = usd(MANY * scene.corrected_cost());
    let dry = scene.dry();
    assert_eq!((&dry["by_rows"], &dry["new_cost"]), (&json!(MANY), &json!(cost)));
    for is_begun in [true, false] {
        let mut client = Client::connect(scene.gateway.admin);
        client.send(&order(&scene, (OPERATOR, &format!("killed-{is_begun}"))));
        // From the first commit of the run on it is a matter of luck how far it comes; so is whether it begins at all.
        if is_begun {
            let listed = || scene.gateway.admin("GET", &scene.path(), &[], "").json()["data"].clone();
            assert!(eventually(DEADLINE, || listed() != json!([])), "{}", listed());
        }
        scene = scene.again(Ending::Kill);
        let runs = || scene.gateway.admin("GET", &scene.path(), &[], "").json()["data"].clone();
        let is_done = |runs: Value| runs.as_array().unwrap().iter().all(|run| run["state"] == "done");
        assert!(eventually(DEADLINE, || is_done(runs())), "{}", runs());
        let total = scene.total();
        assert!([usd(0), cost.clone()].contains(&total["cost"].as_str().unwrap().to_owned()), "{total}");
        assert_eq!(total["cost"] == cost.as_str(), total["unpriced"] == 0, "{total}");
    }
    assert_eq!(scene.reprice("last", &json!({"dry_run": false})).status, 200);
    assert_eq!(scene.total()["cost"], cost);
    let project = scene.project.clone();
    let Scene { gateway, .. } = scene;
    let (apart, found) = books(gateway.ended().path());
    assert_eq!((apart, i128::from(sum(&found, &format!("cost:{project}")))), (0, nano(&json!(cost))), "{found:?}");
}

#[test]
fn credits_get_back_what_was_charged_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("prices.txt");
    let head = "#millrace-prices 1 source=contract date=2026-11-01 unit=usd_per_million_tokens\n@openai\n";
    std::fs::write(&table, format!("{head}gpt-4o-mini in=30 out=30\n")).unwrap();
    let scene = Scene::with_settings(&format!("prices_file: {}\n", table.display()));
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    assert_eq!(scene.pay("topup", "first", "1").status, 200);
    let wrong = (scene.provider.state.prompt_tokens.load(Ordering::Relaxed) + 1) * 30_000;
    for _ in 0..3 {
        assert_eq!(scene.ask().header("x-millrace-cost-usd"), Some(usd(wrong).as_str()));
    }
    scene.counted(3);
    assert_eq!(scene.settled()["spent"], usd(3 * wrong).as_str());
    // The next process has no such table.
    let scene = scene.again(Ending::Clean);
    let platform = json!({"credential": "platform", "dry_run": false});
    let done = scene.reprice("back", &platform);
    assert_eq!(done.status, 200, "{}", done.text());
    let right = 3 * scene.cost();
    assert_eq!(done.json()["total"]["new_cost"], usd(right), "{}", done.text());
    let left = usd(1_000_000_000 - right);
    assert_eq!(scene.credits()["balance"], left, "{}", scene.credits());
    assert_eq!(scene.reprice("twice", &platform).json()["total"]["difference"], usd(0));
    let scene = scene.again(Ending::Kill);
    assert_eq!((&scene.credits()["balance"], &scene.total()["cost"]), (&json!(left), &json!(usd(right))));
}

#[test]
fn command_shows_what_would_change_and_changes_it_when_told() {
    let scene = Scene::unpriced("", 2);
    scene.serve(&format!("{BY_MODE}{PRICES}"));
    let cost = usd(2 * scene.corrected_cost());
    let order = scene.order(&json!({}));
    let run = |more: &[&str]| {
        let url = format!("http://{}", scene.gateway.admin);
        let times = ["--from", order["from"].as_str().unwrap(), "--to", order["to"].as_str().unwrap()];
        let mut command = program(scene.gateway.folder());
        command.env("MILLRACE_ADMIN_TOKEN", OPERATOR).args(["prices", "reprice", "chat", "--admin-url", &url]);
        if !more.contains(&"--list") {
            command.args(times);
        }
        let output = command.args(more).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (status, text) = run(&[]);
    assert!(status == 0 && text.contains(&format!("nothing was changed; `--apply` makes it {cost} USD")), "{text}");
    let (status, text) = run(&["--apply"]);
    assert!(status == 2 && text.contains("--yes"), "{status} {text}");
    assert_eq!(scene.total()["cost"], usd(0));
    let (status, text) = run(&["--apply", "--yes", "--key", "july"]);
    assert!(status == 0 && text.contains("gpt-4o-mini") && text.contains(&cost), "{text}");
    assert_eq!(scene.total()["cost"], cost);
    let (status, text) = run(&["--list"]);
    assert!(status == 0 && text.contains("rpr_") && text.contains("done"), "{text}");
    assert_eq!(run(&["--version", "99"]).0, 1);
}
