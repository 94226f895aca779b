//! A project draws no more of the credits than it may.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::{BY_MODE, Ending, Scene, nano};
use crate::harness::{DEADLINE, eventually};

fn usd(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

impl Scene {
    fn limits(&self) -> String {
        format!("/projects/{}/limits", self.project)
    }

    fn allow(&self, amount: u64) -> Value {
        self.call(("POST", &self.limits()), &json!({"kind": "credits", "amount": usd(amount)}), 201)
    }

    fn drawn(&self) -> i128 {
        let shown = self.gateway.admin("GET", &self.limits(), &[], "").json();
        nano(&shown["data"][0]["posted"])
    }
}

#[test]
fn burst_draws_exactly_the_allowance_and_the_rest_of_the_balance_stays() {
    let scene = Scene::new();
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    assert_eq!(scene.pay("topup", "first", "10").status, 200);
    let made = scene.allow(7 * scene.cost());
    assert_eq!((&made["kind"], nano(&made["amount"])), (&json!("credits"), i128::from(7 * scene.cost())), "{made}");
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..4 {
                    // What others hold may still be given back: only a used up allowance is final.
                    let mut reply = scene.ask();
                    while reply.status == 429 || reply.status == 503 {
                        reply = scene.ask();
                    }
                    assert!(matches!(reply.status, 200 | 402), "{}", reply.text());
                    passed.fetch_add(u64::from(reply.status == 200), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.load(Ordering::Relaxed), 7);
    let spent = i128::from(7 * scene.cost());
    assert!(eventually(DEADLINE, || scene.drawn() == spent && nano(&scene.credits()["spent"]) == spent));
    let refused = scene.ask();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (402, Some("insufficient_credits")));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("the project may draw ") && message.contains("0 USD left"), "{message}");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(
        scene.gateway.metric("millrace_budget_rejected_total", r#"scope="allowance""#).is_some_and(|count| count > 0.0)
    );

    // A larger allowance holds at once, and none at all leaves the balance as the only bound.
    let path = format!("{}/{}", scene.limits(), made["id"].as_str().unwrap());
    let etag = scene.gateway.admin("GET", &path, &[], "").header("etag").unwrap().to_owned();
    let body = json!({"amount": usd(8 * scene.cost())}).to_string();
    let raised = scene.gateway.admin("PATCH", &path, &[("if-match", &etag)], &body);
    assert_eq!(raised.status, 200, "{}", raised.text());
    assert_eq!((scene.ask().status, scene.ask().status), (200, 402));
    let etag = raised.header("etag").unwrap().to_owned();
    assert_eq!(scene.gateway.admin("DELETE", &path, &[("if-match", &etag)], "").status, 204);
    assert_eq!((scene.ask().status, scene.ask().status), (200, 200));
    let events = scene.gateway.admin(
        "GET",
        &format!("/projects/{}/audit?object={}", scene.project, made["id"].as_str().unwrap()),
        &[],
        "",
    );
    let actions: Vec<_> =
        events.json()["data"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["limit.delete", "limit.update", "limit.create"].map(Value::from));
}

#[test]
fn own_keys_draw_on_no_allowance_and_a_kill_forgets_nothing_of_it() {
    let mut scene = Scene::new();
    scene.serve(&format!("mode: hybrid\n{BY_MODE}"));
    assert_eq!(scene.pay("topup", "first", "10").status, 200);
    scene.allow(6 * scene.cost());
    for (at, kind) in [("organizations", &scene.organization), ("projects", &scene.project)] {
        let key = if at == "projects" { "concurrent" } else { "total" };
        let body = json!({"kind": "credits", "amount": "1", "algorithm": key, "window": null});
        let refused = scene.gateway.admin("POST", &format!("/{at}/{kind}/limits"), &[], &body.to_string());
        assert_eq!(refused.status, 422, "{}", refused.text());
    }
    for ending in [Ending::Clean, Ending::Kill] {
        let before = scene.drawn();
        assert_eq!((scene.ask().status, scene.ask().status), (200, 200));
        let told = before + i128::from(2 * scene.cost());
        scene = scene.again(ending);
        assert!(scene.drawn() >= told, "{} of {told}", scene.drawn());
    }
    let mut passed = 0;
    while scene.ask().status == 200 {
        passed += 1;
        assert!(passed <= 2, "more than the allowance");
    }
    // With a key of its own the project needs no credits.
    scene.enter_own_key();
    let served = scene.ask();
    assert_eq!((served.status, served.header("x-millrace-credential")), (200, Some("own")), "{}", served.text());
}
