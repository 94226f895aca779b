//! Prices of an organization: for its own credentials only.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{BY_MODE, Scene, usd};
use crate::harness::{DEADLINE, Gateway, OPERATOR, Reply, eventually, program};

impl Scene {
    fn put_prices(&self, input: &str, output: &str) -> Value {
        let path = format!("/organizations/{}/prices", self.organization);
        let etag = self.gateway.admin("GET", &path, &[], "").header("etag").unwrap().to_owned();
        let body = json!({"prices": [{"model": "openai/gpt-4o*", "input": input, "output": output}]}).to_string();
        let put = self.gateway.admin("PUT", &path, &[("if-match", &etag)], &body);
        assert_eq!(put.status, 200, "{}", put.text());
        put.json()
    }

    /// The stored row of an answer.
    fn row(&self, answer: &Reply) -> Value {
        let path = format!("/projects/{}/logs/{}", self.project, answer.header("x-request-id").unwrap());
        let mut row = Value::Null;
        let stored = eventually(DEADLINE, || {
            let reply = self.gateway.admin("GET", &path, &[], "");
            row = reply.json();
            reply.status == 200
        });
        assert!(stored, "{row}");
        row
    }
}

pub(super) fn millrace(gateway: &Gateway, args: &[&str], token: &str) -> (i32, String) {
    let mut command: Command = program(&std::env::temp_dir());
    command.args(args).env("MILLRACE_ADMIN_URL", format!("http://{}", gateway.admin));
    command.env("MILLRACE_ADMIN_TOKEN", token).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code().unwrap(), out + &err)
}

#[test]
fn organization_prices_bill_own_credentials_and_never_those_of_the_platform() {
    let scene = Scene::with_settings("usage: {request_rows: all}\n");
    scene.enter_own_key();
    scene.serve(BY_MODE);
    let unpriced = scene.ask();
    assert_eq!((unpriced.status, unpriced.header("x-millrace-cost-usd")), (200, None), "{}", unpriced.text());
    let row = scene.row(&unpriced);
    assert_eq!((row["unpriced"].as_bool(), row["price_source"].as_str()), (Some(true), Some("")), "{row}");

    let tokens = scene.provider.state.prompt_tokens.load(Ordering::Relaxed);
    let mut generation = row["generation"].as_u64().unwrap();
    for (input, output, each) in [("3", "6.5", tokens * 3_000 + 6_500), ("0.000001", "0", tokens.div_ceil(1_000))] {
        assert_eq!(scene.put_prices(input, output)["prices"][0]["source"], "organization");
        let priced = scene.ask();
        assert_eq!(priced.header("x-millrace-cost-usd"), Some(usd(each).as_str()), "{input}");
        let row = scene.row(&priced);
        assert_eq!((row["price_source"].as_str(), row["cost"].as_str()), (Some("organization"), Some(&*usd(each))));
        assert_eq!((row["price_date"].is_null(), row["fallback"].as_bool()), (true, Some(false)), "{row}");
        let later = row["generation"].as_u64().unwrap();
        assert!(later > generation, "a change of prices is a new generation");
        generation = later;
    }

    // The platform is paid what it asks for, whatever its customer states.
    scene.provider.state.refuses_own.store(true, Ordering::Relaxed);
    assert_eq!(scene.pay("topup", "first", "1").status, 200);
    let paid = scene.ask();
    assert_eq!((paid.status, paid.header("x-millrace-cost-usd")), (200, Some(&*usd(scene.cost()))), "{}", paid.text());
    let row = scene.row(&paid);
    assert_eq!((row["price_source"].as_str(), row["fallback"].as_bool()), (Some("catalogue"), Some(true)), "{row}");
    assert!(row["price_date"].as_str().is_some_and(|date| date.len() == 10), "{row}");
    scene.serve(&format!("mode: credits\n{BY_MODE}"));
    assert_eq!(scene.ask().header("x-millrace-cost-usd"), Some(&*usd(scene.cost())));
}

#[test]
fn command_changes_prices_one_by_one_and_shows_their_source() {
    let scene = Scene::new();
    let run = |args: &[&str]| millrace(&scene.gateway, &[&["prices", "organization"], args].concat(), OPERATOR);
    let set = ["set", "openai/gpt-4o*", "--input", "2.25", "--output", "9", "--per-request", "0.000000001"];
    assert_eq!(run(&set).0, 0);
    let set = ["set", "groq/llama", "--input", "0.1", "--output", "0.2", "--cached-input", "0.05"];
    let fees =
        ["--per-web-search", "0.01", "--per-image", "0.000000002", "--image-input", "0.3", "--image-output", "4"];
    let (exit, said) = run(&[&set[..], &fees].concat());
    assert_eq!(exit, 0, "{said}");
    let (_, shown) = run(&["list"]);
    assert!(shown.contains("openai/gpt-4o*") && shown.contains("0.050000000"), "{shown}");
    assert_eq!(shown.matches("organization").count(), 2, "{shown}");
    assert_eq!(run(&["remove", "openai/gpt-4o*"]).0, 0);
    assert_eq!(run(&["remove", "openai/gpt-4o*"]).0, 1, "it is gone");
    let (exit, said) = run(&["set", "nobody/x", "--input", "1", "--output", "1"]);
    assert!(exit == 1 && said.contains("unknown provider"), "{exit} {said}");
    let (_, shown) = run(&["list", "--json"]);
    let rows: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), rows[0]["model"].as_str()), (1, Some("groq/llama")), "{shown}");
    // They were written anew with the removal of the other one.
    let kept =
        ["per_web_search", "per_image", "image_input", "image_output"].map(|name| rows[0][name].as_str().unwrap());
    assert_eq!(kept, ["0.010000000", "0.000000002", "0.300000000", "4.000000000"], "{shown}");
}

#[test]
fn token_reaches_the_instance_only_if_it_was_made_for_it() {
    let scene = Scene::new();
    let token = |more: &[&str]| {
        let args = [&["token", "create", "--description", "ci", "--role", "owner", "--json"], more].concat();
        let (exit, said) = millrace(&scene.gateway, &args, OPERATOR);
        assert_eq!(exit, 0, "{said}");
        let made: Value = serde_json::from_str(&said).unwrap();
        (made["token"].as_str().unwrap().to_owned(), made["instance_admin"].as_bool().unwrap())
    };
    for (more, is_instance, exit) in [(&[][..], false, 4), (&["--instance"], true, 0)] {
        let (token, shown) = token(more);
        assert_eq!(shown, is_instance);
        assert_eq!(millrace(&scene.gateway, &["instance", "settings"], &token).0, exit, "{more:?}");
        assert_eq!(millrace(&scene.gateway, &["project", "list"], &token).0, 0, "{more:?}");
        let again = ["token", "create", "--description", "more", "--role", "owner", "--expires", "1 day", "--instance"];
        assert_eq!(millrace(&scene.gateway, &again, &token).0, exit, "{more:?}");
    }
    let (_, listed) = millrace(&scene.gateway, &["token", "list"], OPERATOR);
    assert!(listed.contains("INSTANCE") && listed.matches(" yes ").count() == 2, "{listed}");
}
