//! The price that is shown is the price that is billed.

use serde_json::{Value, json};

use super::{BY_MODE, Scene, agreed::millrace, nano};
use crate::harness::OPERATOR;

impl Scene {
    fn live_prices(&self) -> Value {
        let routes = self.gateway.admin("GET", &format!("/projects/{}/routes", self.project), &[], "").json();
        routes["data"][0]["chat"]["prices"].clone()
    }

    /// Runs `millrace prices project`; gives its exit status, and what it wrote to both outputs.
    fn prices(&self, args: &[&str]) -> (i32, String) {
        let command = ["prices", "project", "chat"];
        millrace(&self.gateway, &[&command[..], args].concat(), OPERATOR)
    }
}

#[test]
fn live_price_names_its_source_and_follows_what_is_stated() {
    let scene = Scene::new();
    scene.serve(&format!("mode: hybrid\n{BY_MODE}"));
    let shown = scene.live_prices();
    assert_eq!((&shown["own"], &shown["platform"]["source"]), (&Value::Null, &json!("catalogue")), "{shown}");
    assert_eq!(shown["platform"]["tiers"][0]["input"], "0.150000000", "{shown}");
    assert_eq!(scene.pay("topup", "first", "1").status, 200);

    scene.enter_own_key();
    let path = format!("/organizations/{}/prices", scene.organization);
    let etag = scene.gateway.admin("GET", &path, &[], "").header("etag").unwrap().to_owned();
    let prices = json!({"prices": [{"model": "openai/gpt-4o-mini", "input": "1", "output": "2", "image_output": "40", "per_request": "0.5",
            "per_web_search": "0.01", "per_image": "0.04"}]});
    let put = scene.gateway.admin("PUT", &path, &[("if-match", &etag)], &prices.to_string());
    assert_eq!(put.status, 200, "{}", put.text());
    let shown = scene.live_prices();
    assert_eq!((&shown["own"]["source"], &shown["platform"]["source"]), (&json!("organization"), &json!("catalogue")));
    let own = &shown["own"];
    assert_eq!((&own["per_web_search"], &own["per_image"]), (&json!("0.010000000"), &json!("0.040000000")), "{own}");
    assert_eq!(
        (&own["tiers"][0]["image_output"], &own["tiers"][0]["image_input"]),
        (&json!("40.000000000"), &own["tiers"][0]["input"])
    );
    let reply = scene.ask();
    let cost = nano(&json!(reply.header("x-millrace-cost-usd").unwrap()));
    let tokens = i128::from((scene.cost() - super::OUTPUT) / super::INPUT);
    let per = |name: &str| nano(&own["tiers"][0][name]) / 1_000_000;
    assert_eq!(cost, nano(&own["per_request"]) + tokens * per("input") + per("output"), "{shown}");

    let (status, text) = scene.prices(&[]);
    assert_eq!(status, 0, "{text}");
    for words in [["own", "organization", "1.000000000"], ["platform", "catalogue", "0.150000000"]] {
        let line = text.lines().find(|line| words.iter().all(|word| line.split_whitespace().any(|said| said == *word)));
        assert!(line.is_some_and(|line| line.contains("openai/gpt-4o-mini")), "{words:?}: {text}");
    }
    let (status, text) = scene.prices(&["openai/gpt-4o", "--json"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("no live route of the project has `openai/gpt-4o`"), "{text}");

    scene.serve(&format!("prices: [{{model: openai/gpt-4o-mini, input: 3, output: 4}}]\n{BY_MODE}"));
    assert_eq!(scene.live_prices()["own"]["source"], "prices");
}
