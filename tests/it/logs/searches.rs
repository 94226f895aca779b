//! Searches and pictures: reserved, billed and shown.

use serde_json::{Value, json};

use super::Site;
use crate::harness::{DEADLINE, KEY, Mock, Reply, eventually, post};

const PRICES: &str = "prices:\n  - {model: \"openai/*\", input: 0, output: 1, image_output: 50, per_web_search: 0.01, \
                      per_image: 0.002}\n";

/// A site whose routes have those prices.
fn site(models: &[&str], mock: &Mock) -> Site {
    let site = Site::new(&["fast"], mock, "usage: {request_rows: all}\n");
    site.serve(&site.project, &format!("{PRICES}{}", crate::harness::project(models, mock.address, "")));
    site
}

impl Site {
    fn poor_key(&self, usd: &str) -> String {
        let body = json!({"description": "test", "usage_limit": usd});
        let made = self.call(("POST", &format!("/projects/{}/keys", self.project)), &body, 201);
        made["key"].as_str().unwrap().to_owned()
    }

    fn send(&self, key: &str, (path, route): (&str, &str), more: &str) -> Reply {
        let said =
            if path == "/v1/responses" { r#""input":"a""# } else { r#""messages":[{"role":"user","content":"a"}]"# };
        let body = format!(r#"{{"model":"demo/{route}",{said}{more}}}"#);
        let request = String::from_utf8(post(path, &body)).unwrap().replace(KEY, key);
        self.gateway.ask(request.as_bytes())
    }
}

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

#[test]
fn searches_and_pictures_are_billed_and_shown() {
    let mock = Mock::start();
    let site = site(&["fast/searches=3,pictures=4,completion=10", "stream/gap_ms=0,events=5,searches=2"], &mock);
    // 6 tokens of text and 4 of pictures; 3 searches.
    let whole = ("0.030206000", [3, 4, 0], ["0.000006000", "0.000200000", "0.030000000"]);
    let stream = ("0.020005000", [2, 0, 0], ["0.000005000", "0.000000000", "0.020000000"]);
    for (path, route, more, (cost, [searches, drawn, made], parts)) in [
        (CHAT, "r0", "", whole),
        (RESPONSES, "r0", "", whole),
        (CHAT, "r1", r#","stream":true"#, stream),
        (RESPONSES, "r1", r#","stream":true"#, stream),
    ] {
        let reply = site.send(&site.key, (path, route), more);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let row = site.row(&reply);
        assert_eq!(row["cost"], cost, "{path} {route}: {row}");
        let tokens = &row["tokens"];
        let counts = ["web_searches", "image_output", "images"].map(|name| tokens[name].as_u64().unwrap());
        assert_eq!(counts, [searches, drawn, made], "{path} {route}: {tokens}");
        let shown = ["output", "image", "search"].map(|name| row["cost_parts"][name].as_str().unwrap().to_owned());
        assert_eq!(shown, parts, "{path} {route}");
    }
    let usage = format!("/projects/{}/analytics", site.project);
    let mut seen = Value::Null;
    let is_summed = eventually(DEADLINE, || {
        seen = site.gateway.admin("GET", &usage, &[], "").json();
        let text = seen.to_string();
        text.contains("\"web_searches\":10") && text.contains("\"image_output\":8")
    });
    assert!(is_summed, "{seen}");
    let sheet =
        site.gateway.admin("GET", &format!("/projects/{}/logs/export?format=csv", site.project), &[], "").text();
    let heading = sheet.lines().next().unwrap();
    assert!(heading.contains("web_searches") && heading.contains("image_output"), "{heading}");
}

/// A key with 5 cents: a request passes if all that it may cost is less.
#[test]
fn reservation_covers_the_searches_that_a_request_allows() {
    let mock = Mock::start();
    let site = site(&["fast", "fast/searches=7", "fast/searches=4000000000"], &mock);
    let search = |more: &str| format!(r#","tools":[{{"type":"web_search"{more}}}]"#);
    for (name, path, more, is_admitted) in [
        ("no search", CHAT, String::new(), true),
        (
            "a function of that name",
            CHAT,
            r#","tools":[{"type":"function","function":{"name":"web_search"}}]"#.into(),
            true,
        ),
        ("as often as it likes", RESPONSES, search(""), false),
        ("at most 4 times", CHAT, search(r#","max_uses":4"#), true),
        ("at most 5 times", CHAT, search(r#","max_uses":5"#), false),
        ("at most 2 times for each of 2 answers", CHAT, search(r#","max_uses":2"#) + r#","n":2"#, true),
        ("at most 3 times for each of 2 answers", CHAT, search(r#","max_uses":3"#) + r#","n":2"#, false),
        ("4 calls of all tools", RESPONSES, search("") + r#","max_tool_calls":4"#, true),
        ("by its own option", CHAT, r#","web_search_options":{}"#.into(), false),
        ("by a plugin", CHAT, r#","plugins":[{"id":"web"}]"#.into(), false),
    ] {
        // Pictures have a price here too: 4 for each answer are reserved.
        let key = site.poor_key(if more.contains("\"n\":2") { "0.065" } else { "0.0525" });
        let reply = site.send(
            &key,
            (path, "r0"),
            &format!(r#"{more}{}"#, if path == CHAT { r#","max_tokens":50"# } else { r#","max_output_tokens":50"# }),
        );
        assert_eq!(reply.status, if is_admitted { 200 } else { 429 }, "{name}: {}", reply.text());
    }

    // A model that searches unasked is billed for it, and then known for it.
    let reply = site.send(&site.key, (CHAT, "r1"), "");
    assert_eq!(reply.header("x-millrace-cost-usd"), Some("0.070020000"), "{}", reply.text());
    for (usd, status) in [("0.07", 429), ("0.1", 200)] {
        let reply = site.send(&site.poor_key(usd), (CHAT, "r1"), r#","max_tokens":50"#);
        assert_eq!(reply.status, status, "{usd}: {}", reply.text());
    }
    let row = site.row(&site.send(&site.key, (CHAT, "r2"), ""));
    assert_eq!((&row["cost"], &row["usage_suspect"]), (&json!("10.000020000"), &json!(true)), "{row}");
}
