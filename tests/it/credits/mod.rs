//! Credits over sockets: who pays, how much, and never more.

mod agreed;
mod allowance;
mod live;
mod provider;
mod reprice;
mod unreachable;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use millrace::base::Id;
use millrace::store::{LedgerEntry, LedgerFilter, LedgerKind, Order, PageRequest, Store, StoreError};
use serde_json::{Value, json};

use crate::harness::{Client, DEADLINE, Gateway, Reply, eventually};
use provider::{OWN, PLATFORM, Provider};

/// Nano-USD a token of `openai/gpt-4o-mini`, by the built-in table.
const INPUT: u64 = 150;
const OUTPUT: u64 = 600;
/// Tokens that are reserved beside the bytes of a body.
const FRAME: u64 = 16;

const BY_MODE: &str = "chat_models: [{model_id: m, model: openai/gpt-4o-mini}]\nroutes: {chat: {chat_models: [m]}}\n";

/// A gateway whose platform has a credential at a provider of ours, and an organization with one project.
struct Scene {
    gateway: Gateway,
    provider: Provider,
    organization: String,
    project: String,
    key: String,
}

impl Scene {
    fn new() -> Self {
        Self::with_settings("")
    }

    fn with_settings(more_lines: &str) -> Self {
        let gateway = Gateway::stored_with(tempfile::tempdir().unwrap(), 2, more_lines);
        let provider = Provider::start();
        let organization = gateway.organization();
        let project = gateway.make_project(&organization, "chat");
        let mut scene = Self { gateway, provider, organization, project, key: String::new() };
        let port = scene.provider.address.port().to_string();
        scene.call(("POST", "/instance/egress-rules"), &json!({"network": "127.0.0.1/32", "ports": port}), 201);
        let base_url = format!("http://{}/v1", scene.provider.address);
        let credential = json!({"provider": "openai", "value": PLATFORM, "base_url": base_url});
        scene.call(("PUT", "/instance/platform-credentials"), &credential, 200);
        let path = format!("/projects/{}/keys", scene.project);
        let made = scene.call(("POST", &path), &json!({"description": "test"}), 201);
        scene.key = made["key"].as_str().unwrap().to_owned();
        let exact = u64::try_from(scene.body().len()).unwrap() + FRAME;
        scene.provider.state.prompt_tokens.store(exact, Ordering::Relaxed);
        scene
    }

    fn call(&self, (method, path): (&str, &str), body: &Value, status: u16) -> Value {
        let reply = self.gateway.admin(method, path, &[], &body.to_string());
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    fn credits(&self) -> Value {
        let reply = self.gateway.admin("GET", &format!("/organizations/{}/credits", self.organization), &[], "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    fn pay(&self, kind: &str, key: &str, amount: &str) -> Reply {
        let body = json!({"amount": amount, "comment": "test"}).to_string();
        let path = format!("/organizations/{}/credits/{kind}", self.organization);
        self.gateway.admin("POST", &path, &[("idempotency-key", key)], &body)
    }

    fn set_fee(&self, percent: &str) {
        let path = format!("/organizations/{}/credits/fee", self.organization);
        self.call(("PUT", &path), &json!({"fee_percent": percent}), 200);
    }

    /// Saves a text; returns its number.
    fn save(&self, text: &str) -> u64 {
        let path = format!("/projects/{}/config/draft", self.project);
        let open = self.gateway.admin("GET", &path, &[], "");
        let condition = match open.header("etag") {
            Some(tag) if open.status == 200 => ("if-match", tag),
            _ => ("if-none-match", "*"),
        };
        let saved = self.gateway.admin("PUT", &path, &[condition, ("content-type", "application/yaml")], text);
        assert_eq!(saved.status, 200, "{}", saved.text());
        saved.json()["version"].as_u64().unwrap()
    }

    fn approve(&self, text: &str) -> (u64, Reply) {
        let number = self.save(text);
        let path = format!("/projects/{}/config/versions/{number}/approve", self.project);
        (number, self.gateway.admin("POST", &path, &[], ""))
    }

    fn serve(&self, text: &str) {
        let (number, approved) = self.approve(text);
        assert_eq!(approved.status, 200, "{}", approved.text());
        let path = format!("/projects/{}/config/versions/{number}/serve", self.project);
        let served = self.gateway.admin("POST", &path, &[], "");
        assert_eq!(served.status, 200, "{}", served.text());
    }

    fn enter_own_key(&self) {
        let base_url = format!("http://{}/v1", self.provider.address);
        let body = json!({"provider": "openai", "label": "own", "value": OWN, "base_url": base_url});
        self.call(("POST", &format!("/projects/{}/provider-keys", self.project)), &body, 201);
    }

    /// A request whose cost is what is reserved for it, to the nano-USD.
    fn body(&self) -> &'static str {
        r#"{"model":"chat/chat","max_tokens":1,"messages":[{"role":"user","content":"hello"}]}"#
    }

    fn cost(&self) -> u64 {
        self.provider.state.prompt_tokens.load(Ordering::Relaxed) * INPUT + OUTPUT
    }

    fn request(&self, more: &str) -> Vec<u8> {
        let (key, body) = (&self.key, self.body());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\n\
             {more}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn ask(&self) -> Reply {
        self.ask_with("")
    }

    fn ask_with(&self, more: &str) -> Reply {
        self.gateway.ask(&self.request(more))
    }

    /// Waits until no request is open and everything is settled.
    fn settled(&self) -> Value {
        self.gateway.assert_idle();
        let settled = eventually(DEADLINE, || self.credits()["reserved"] == usd(0).as_str());
        assert!(settled, "{}", self.credits());
        self.credits()
    }

    /// Starts a new process over what this one leaves.
    fn again(self, kill: Ending) -> Self {
        let Self { gateway, provider, organization, project, key } = self;
        let folder = match kill {
            Ending::Clean => gateway.ended(),
            Ending::Kill => gateway.killed(),
        };
        Self { gateway: Gateway::stored(folder, 2), provider, organization, project, key }
    }
}

enum Ending {
    Clean,
    Kill,
}

fn usd(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

fn nano(text: &Value) -> i128 {
    text.as_str().unwrap().replace('.', "").parse().unwrap()
}

fn code(reply: &Reply) -> String {
    reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Every entry of the ledger, from a store whose process has ended.
fn entries(folder: &Path) -> Vec<LedgerEntry> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open(&folder.join("stored/millrace.db")).unwrap();
    let page = PageRequest { limit: 1_000_000, after: None, order: Order::Ascending };
    let read = store.read(move |tx| Ok::<_, StoreError>(tx.ledger(&LedgerFilter::default(), &page)?.rows));
    runtime.block_on(read).unwrap()
}

/// What the entries of an organization's credits add up to: paid in, spent, fees among it.
fn sums(entries: &[LedgerEntry], organization: &str) -> (i128, i128, i128) {
    let sum = |account: &str, fits: fn(LedgerKind) -> bool| -> i128 {
        let fitting = entries.iter().filter(|entry| entry.account == account && fits(entry.kind));
        fitting.map(|entry| i128::from(entry.amount)).sum()
    };
    let spent = format!("credits:{organization}/usd/total");
    (
        sum(&format!("credits:{organization}"), |_| true),
        sum(&spent, |_| true),
        sum(&spent, |kind| kind == LedgerKind::Fee),
    )
}

#[test]
fn balance_for_n_requests_serves_exactly_n_of_many_at_once() {
    const PAID: u64 = 60;
    const CLIENTS: usize = 16;
    let scene = Scene::new();
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    scene.set_fee("10");
    let each = scene.cost() + scene.cost().div_ceil(10);

    let empty = scene.ask();
    assert_eq!((empty.status, code(&empty).as_str()), (402, "insufficient_credits"), "{}", empty.text());
    assert_eq!(empty.header("x-should-retry"), Some("false"));
    assert_eq!(scene.provider.state.by_platform.load(Ordering::Relaxed), 0, "nothing was sent");

    // One nano-USD short of one more.
    assert_eq!(scene.pay("topup", "first", &usd(PAID * each + each - 1)).status, 200);
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(scene.gateway.address);
                loop {
                    client.send(&scene.request(""));
                    let reply = client.read().expect("an answer");
                    match reply.status {
                        200 => {
                            served.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(reply.header("x-millrace-credential"), Some("platform"));
                            assert_eq!(reply.header("x-millrace-cost-usd"), Some(usd(scene.cost()).as_str()));
                            assert_eq!(reply.header("x-millrace-fee-usd"), Some(usd(each - scene.cost()).as_str()));
                        }
                        // Reserved by others at this moment: it may still come.
                        429 => assert_eq!(reply.header("retry-after"), Some("1"), "{}", reply.text()),
                        402 => break,
                        _ => panic!("{}", reply.text()),
                    }
                }
            });
        }
    });
    assert_eq!(served.load(Ordering::Relaxed), PAID);
    assert_eq!(scene.provider.state.by_platform.load(Ordering::Relaxed), PAID);
    let left = scene.settled();
    assert_eq!((left["spent"].as_str(), left["balance"].as_str()), (Some(&*usd(PAID * each)), Some(&*usd(each - 1))));

    // A new limit without a new configuration, and the missing nano-USD is all it takes.
    assert_eq!(scene.pay("adjust", "second", "0.000000001").status, 200);
    assert_eq!((scene.ask().status, scene.ask().status), (200, 402));
}

#[test]
fn repeated_top_up_counts_once_and_nobody_tops_up_without_a_key() {
    let scene = Scene::new();
    let path = format!("/organizations/{}/credits/topup", scene.organization);
    let unnamed = scene.gateway.admin("POST", &path, &[], r#"{"amount":"5"}"#);
    assert_eq!(unnamed.status, 400, "{}", unnamed.text());
    let first = scene.pay("topup", "invoice-7", "5.25");
    let again = scene.pay("topup", "invoice-7", "5.25");
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!((first.text(), again.header("idempotency-replayed")), (again.text(), Some("true")));
    assert_eq!(scene.pay("topup", "invoice-7", "6").status, 422, "another amount under the same key");
    assert_eq!(scene.credits()["balance"], "5.250000000");
    for (kind, amount) in
        [("topup", "0"), ("topup", "-1"), ("topup", "1.0000000001"), ("adjust", "0"), ("adjust", "-5.26")]
    {
        assert_eq!(scene.pay(kind, &format!("{kind}{amount}"), amount).status, 422, "{kind} {amount}");
    }
    assert_eq!(scene.pay("adjust", "back", "-5.25").status, 200);
    assert_eq!(scene.credits()["balance"], "0.000000000");

    // The record of the first answer may be gone: the ledger still knows the operation.
    let scene = scene.again(Ending::Clean);
    let folder = scene.gateway.folder().to_owned();
    let forgotten = scene.again(Ending::Clean);
    assert_eq!(forgotten.credits()["paid_in"], "0.000000000");
    let Scene { gateway, organization, .. } = forgotten;
    let left = gateway.ended();
    let found = entries(left.path());
    let (paid_in, spent, _) = sums(&found, &organization);
    assert_eq!((paid_in, spent, found.len()), (0, 0, 2), "{} {found:?}", folder.display());
}

#[test]
fn platform_serves_after_a_refused_own_key_where_that_is_allowed() {
    let scene = Scene::new();
    scene.enter_own_key();
    scene.serve(BY_MODE);
    let own = scene.ask();
    assert_eq!((own.status, own.header("x-millrace-credential")), (200, Some("own")), "{}", own.text());
    assert_eq!((own.header("x-millrace-attempts"), own.header("x-millrace-fee-usd")), (Some("1"), None));

    scene.provider.state.refuses_own.store(true, Ordering::Relaxed);
    let unpaid = scene.ask();
    assert_eq!((unpaid.status, code(&unpaid).as_str()), (402, "insufficient_credits"), "{}", unpaid.text());
    assert_eq!(scene.provider.state.by_platform.load(Ordering::Relaxed), 0);

    assert_eq!(scene.pay("topup", "first", "1").status, 200);
    let paid = scene.ask();
    assert_eq!((paid.status, paid.header("x-millrace-credential")), (200, Some("platform")), "{}", paid.text());
    assert_eq!((paid.header("x-millrace-attempts"), paid.header("x-millrace-fee-usd")), (Some("2"), Some(&*usd(0))));
    assert_eq!(paid.header("x-millrace-cost-usd"), Some(&*usd(scene.cost())));
    assert_eq!(scene.settled()["spent"], usd(scene.cost()).as_str(), "own keys cost no credits");

    let path = format!("/projects/{}/logs/{}", scene.project, paid.header("x-request-id").unwrap());
    let mut row = Value::Null;
    eventually(DEADLINE, || {
        row = scene.gateway.admin("GET", &path, &[], "").json();
        row["attempts"].is_array()
    });
    let tried = |index: usize| {
        let attempt = &row["attempts"][index];
        (attempt["credential"].clone(), attempt["outcome"].clone(), attempt["status"].clone(), attempt["cost"].clone())
    };
    assert_eq!(tried(0), (json!("own"), json!("auth"), json!(401), json!(usd(0))), "{row}");
    let last = row["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["step"], &last["outcome"]), (&json!("fallback"), &json!("platform")), "{row}");
    assert_eq!(tried(1), (json!("platform"), json!("success"), json!(200), json!(usd(scene.cost()))), "{row}");

    let forbidden = scene.ask_with("x-millrace-no-fallback: true\r\n");
    assert_eq!(
        (forbidden.status, forbidden.header("x-millrace-credential")),
        (502, Some("own")),
        "{}",
        forbidden.text()
    );
    scene.serve(&format!("allow_paid_fallback: false\n{BY_MODE}"));
    let refused = scene.ask();
    assert_eq!((refused.status, refused.header("x-millrace-credential")), (502, Some("own")), "{}", refused.text());
    scene.serve(&format!("mode: api-keys\n{BY_MODE}"));
    assert_eq!(scene.ask().status, 502);
    assert_eq!(scene.provider.state.by_platform.load(Ordering::Relaxed), 1);

    scene.serve(BY_MODE);
    scene.provider.state.platform_status.store(500, Ordering::Relaxed);
    let failed = scene.ask();
    assert_eq!((failed.status, failed.header("x-millrace-credential")), (502, Some("platform")), "{}", failed.text());
    assert_eq!(scene.settled()["spent"], usd(scene.cost()).as_str(), "what failed costs nothing");
}

#[test]
fn mode_of_the_configuration_comes_before_the_setting_of_the_project() {
    let scene = Scene::new();
    scene.serve(BY_MODE);
    let path = format!("/projects/{}", scene.project);
    let show = || scene.gateway.admin("GET", &path, &[], "");
    let set = |mode: &str| {
        let etag = show().header("etag").unwrap().to_owned();
        scene.gateway.admin("PATCH", &path, &[("if-match", &etag)], &json!({ "mode": mode }).to_string())
    };
    let effective = || show().json()["effective"]["mode"].clone();
    assert_eq!(effective(), json!({"value": "hybrid", "from": "project"}));
    // Without an own key nothing would be left to serve with.
    let refused = set("api-keys");
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].as_str()), (422, Some("no_credential")));
    assert_eq!(set("credits").status, 200);
    assert_eq!(effective(), json!({"value": "credits", "from": "project"}));
    scene.enter_own_key();
    let by_setting = scene.ask();
    assert_eq!(by_setting.status, 402, "own keys are not used: {}", by_setting.text());
    scene.serve(&format!("mode: api-keys\n{BY_MODE}"));
    assert_eq!(effective(), json!({"value": "api-keys", "from": "configuration"}));
    assert_eq!(show().json()["mode"], "credits");
    let by_document = scene.ask();
    assert_eq!((by_document.status, by_document.header("x-millrace-credential")), (200, Some("own")));

    let secret = "chat_models:\n  - model_id: m\n    model: openai/gpt-4o-mini\n    credentials: {base_url: \
                  \"https://models.example.com/v1\"}\nroutes: {chat: {chat_models: [m]}}\n";
    for (text, want) in [
        (format!("mode: credits\n{secret}"), "conflict"),
        (format!("mode: credits\n{}", BY_MODE.replace("openai/", "groq/")), "no_credential"),
        (format!("mode: api-keys\n{}", BY_MODE.replace("openai/", "groq/")), "no_credential"),
        (format!("mode: credits\n{}", BY_MODE.replace("gpt-4o-mini", "no-such-model")), "unpriced_model"),
    ] {
        let (_, refused) = scene.approve(&text);
        let errors = refused.json()["errors"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = errors.iter().filter_map(|error| error["code"].as_str()).collect();
        assert!(refused.status == 422 && found.contains(&want), "{want}: {} {}", refused.status, refused.text());
    }
}

#[test]
fn platform_credential_that_is_needed_stays_and_its_value_is_shown_nowhere() {
    let scene = Scene::new();
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    let listed = scene.gateway.admin("GET", "/instance/platform-credentials", &[], "");
    assert!(listed.status == 200 && !listed.text().contains(PLATFORM), "{}", listed.text());
    let row = &listed.json()["data"][0];
    assert_eq!((row["provider"].as_str(), row["used_by"][0].as_str()), (Some("openai"), Some("`chat` version 2")));
    let path = format!("/instance/platform-credentials/{}", row["id"].as_str().unwrap());
    assert_eq!(scene.gateway.admin("DELETE", &path, &[], "").status, 409);
    scene.serve("routes: {}\n");
    assert_eq!(scene.gateway.admin("DELETE", &path, &[], "").status, 204);
    let (_, refused) = scene.approve(&format!("mode: credits\n{BY_MODE}"));
    assert_eq!(refused.status, 422, "{}", refused.text());
}

#[test]
fn ledger_adds_up_to_the_balance_after_every_end() {
    let mut scene = Scene::new();
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    scene.set_fee("2.5");
    assert_eq!(scene.pay("topup", "first", "3").status, 200);
    let fee = (scene.cost() * 25).div_ceil(1_000);
    let mut acknowledged = 0;
    for round in 0..4 {
        for _ in 0..20 {
            assert_eq!(scene.ask().status, 200);
            acknowledged += i128::from(scene.cost() + fee);
        }
        let before = scene.settled();
        let ending = if round % 2 == 0 { Ending::Clean } else { Ending::Kill };
        scene = scene.again(ending);
        let after = scene.credits();
        assert_eq!(after["fee_percent"], "2.50", "{after}");
        let reserve = nano(&after["spent"]) - nano(&before["spent"]);
        // A killed process has spent what it had leased: never less than it has told, and not more than a part.
        assert!(if round % 2 == 0 { reserve == 0 } else { (0..500_000_000).contains(&reserve) }, "{before} {after}");
        assert!(nano(&after["spent"]) >= acknowledged, "{after}");
        assert_eq!(nano(&after["balance"]), nano(&after["paid_in"]) - nano(&after["spent"]));
    }
    let shown = scene.credits();
    let Scene { gateway, organization, .. } = scene;
    let left = gateway.ended();
    let found = entries(left.path());
    let (paid_in, spent, fees) = sums(&found, &organization);
    assert_eq!((paid_in, spent), (nano(&shown["paid_in"]), nano(&shown["spent"])));
    assert!((1..=80 * i128::from(fee)).contains(&fees), "{fees}");
    let of_organization = |entry: &&LedgerEntry| entry.account.starts_with("credits:");
    assert!(found.iter().filter(of_organization).all(|entry| entry.organization == organization), "{found:?}");
    assert!(Id::stored(&organization).as_str().starts_with("org_"));
}
