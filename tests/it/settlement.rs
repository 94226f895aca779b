//! What requests are billed that do not end as they should.
//!
//! The provider may bill what it has received, whatever became of the answer; and it may add to a request what its body does
//! not show. A limit that forgot either could be passed at will.

use std::{thread, time::Duration};

use crate::harness::{DEADLINE, Gateway, Mock, Reply, Settings, chat, eventually, post};

/// One micro-USD a token of input, nothing else.
fn project(mock: &Mock, models: &[(&str, &str)]) -> String {
    let mut text = "chat_models:\n".to_owned();
    for (name, model) in models {
        text += &format!(
            "  - model_id: {name}\n    model: \"openai/{model}\"\n    credentials: {{base_url: \"http://{}/v1\"}}\n    \
             input_cost_per_million_tokens: 1\n    output_cost_per_million_tokens: 0\n",
            mock.address
        );
    }
    text += "routes:\n";
    for (name, _) in models {
        text += &format!(
            "  {name}:\n    chat_models: [{name}]\n    timeouts: {{connect: 6 s, first_byte: 6 s}}\n    \
             token_limiting: {{input: {{max_token: 1000000, window_size: 5 minutes}}}}\n"
        );
    }
    text
}

fn cost(reply: &Reply) -> &str {
    reply.header("x-millrace-cost-usd").expect("a price")
}

#[test]
fn i_08_what_the_body_does_not_show_is_billed_as_reported() {
    let mock = Mock::start();
    let gateway = Gateway::serve(&Settings::demo(project(&mock, &[("r", "fast/prompt=5000")]), mock.address));
    let mut client = gateway.client();
    let mut ask = |more: &str| {
        let input = if more.starts_with(r#","input""#) { "" } else { r#","input":"hello""# };
        let body = format!(r#"{{"model":"demo/r"{input}{more}}}"#);
        client.send(&post("/v1/responses", &body));
        let reply = client.read().unwrap();
        assert_eq!(reply.status, 200, "{more}: {}", reply.text());
        reply
    };
    assert!(cost(&ask("")) < "0.000200000", "a body of 40 bytes cannot have 5,000 tokens");
    let messages = r#","input":[{"role":"user","content":"hello"},{"type":"message","id":"msg_1","role":"assistant"}]"#;
    assert!(cost(&ask(messages)) < "0.000200000", "an item that stands in the body is no reference");
    for more in [
        r#","previous_response_id":"resp_1""#,
        r#","conversation":"conv_1""#,
        r#","prompt":{"id":"pmpt_1"}"#,
        r#","input":[{"role":"user","content":"hello"},{"type":"item_reference","id":"msg_1"}]"#,
        r#","input":[{"role":"user","content":"hello"},{"id":"msg_1"}]"#,
        r#","input":[{"role":"user","content":"hello"},{"type":"reasoning","id":"rs_1","summary":[]}]"#,
        r#","tools":[{"type":"web_search_preview"}]"#,
        r#","tools":[{"type":"file_search","vector_store_ids":["v"]}]"#,
        r#","tools":[{"type":"mcp","server_label":"s","server_url":"https://s.example"}]"#,
    ] {
        assert_eq!(cost(&ask(more)), "0.005000000", "{more}");
    }
    gateway.assert_idle();
}

#[test]
fn f_24_client_that_leaves_before_the_answer_is_billed_for_its_request() {
    let mock = Mock::start();
    // Only the client's leaving ends it.
    let text = project(&mock, &[("r", "fault/stall")]).replace("first_byte: 6 s", "first_byte: 5 minutes");
    let gateway = Gateway::serve(&Settings::demo(text, mock.address));
    let mut client = gateway.client();
    client.send(&chat("demo/r"));
    assert!(eventually(DEADLINE, || gateway.metric("millrace_inflight_requests", "") == Some(1.0)));
    // The end of a client that just sent its request means only that it sends no more.
    thread::sleep(Duration::from_millis(100));
    drop(client);
    gateway.assert_idle();
    assert!(gateway.metric("millrace_cost_usd_total", "route=\"r\"").unwrap_or(0.0) > 0.0, "nothing is billed");
}

#[test]
fn f_03_request_that_was_sent_and_not_answered_in_time_is_billed() {
    let mock = Mock::start();
    let models = [("silent", "fault/stall"), ("refused", "fault/status=500"), ("odd", "fault/body=badjson")];
    let gateway = Gateway::serve(&Settings::demo(project(&mock, &models), mock.address));
    let mut client = gateway.client();
    for (route, is_billed) in [("silent", true), ("refused", false), ("odd", true)] {
        client.send(&chat(&format!("demo/{route}")));
        let reply = client.read().unwrap();
        assert!(reply.status >= 500, "{route}: {}", reply.text());
        if reply.closes() {
            client = gateway.client();
        }
        gateway.assert_idle();
        let billed = gateway.metric("millrace_cost_usd_total", &format!("route=\"{route}\"")).unwrap_or(0.0);
        assert_eq!(billed > 0.0, is_billed, "{route}: {billed}");
    }
}

/// Half a token for four characters is the least that an answer can have cost, and ten million tokens more than any.
#[test]
fn i_08_figures_that_cannot_be_true_are_cut_and_flagged_without_any_limit() {
    let mock = Mock::start();
    let models = [
        ("low", "fast/size=8000,prompt=50,completion=1"),
        ("low-stream", "stream/events=400,gap_ms=0,bytes=60,prompt=50,completion=1"),
        ("huge", "fast/prompt=99000000,completion=99000000"),
        ("honest", "fast/size=8000,prompt=50,completion=1600"),
    ];
    let text =
        project(&mock, &models).replace("output_cost_per_million_tokens: 0", "output_cost_per_million_tokens: 1");
    let text: String =
        text.lines().filter(|line| !line.contains("token_limiting")).map(|line| format!("{line}\n")).collect();
    let mut gateway = Gateway::serve(&Settings::demo(text, mock.address));
    let mut client = gateway.client();
    for (route, stream) in [("low", false), ("low-stream", true), ("huge", false), ("honest", false)] {
        let body =
            format!(r#"{{"model":"demo/{route}","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
        client.send(&post("/v1/chat/completions", &body));
        assert_eq!(client.read().unwrap().status, 200, "{route}");
    }
    gateway.assert_idle();
    let mut lines = Vec::new();
    let is_logged = eventually(DEADLINE, || {
        lines.extend(gateway.printed().into_iter().filter(|line| line.contains("\"tokens_output\"")));
        lines.len() == models.len()
    });
    assert!(is_logged, "{lines:?}");
    let counts: Vec<(u64, u64)> = lines
        .iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let count = |name: &str| line[name].as_u64().unwrap();
            (count("tokens_input"), count("tokens_output"))
        })
        .collect();
    let [low, low_stream, huge, honest] = counts[..] else { panic!("{counts:?}") };
    assert_eq!((low.0, low_stream.0), (50, 50));
    assert!((600..=1_000).contains(&low.1) && (100..=450).contains(&low_stream.1), "{counts:?}");
    assert!(huge.0 < 200 && huge.1 == 4_096, "{counts:?}");
    assert_eq!(honest, (50, 1_600));
    let suspect = gateway.metric("millrace_requests_total", "");
    assert_eq!(suspect, Some(4.0));
}

/// Without a limit nothing was reserved; but no model reads or writes more at once than its window.
#[test]
fn i_08_figures_above_the_window_of_a_listed_model_are_cut_to_it() {
    let mock = Mock::start();
    let models = [
        ("within", "fast/prompt=900,completion=800"),
        ("above", "fast/prompt=5000,completion=6000"),
        ("said", "fast/size=8000,prompt=50,completion=6000"),
    ];
    let text: String =
        project(&mock, &models).lines().filter(|line| !line.contains("_limiting")).fold(String::new(), |text, line| {
            let is_price = line.contains("_cost_per_million_tokens");
            if is_price { text } else { text + line + "\n" }
        });
    let mut settings = Settings::demo(text, mock.address);
    settings.server_lines = "prices_file: prices.txt\n".to_owned();
    let table = "#millrace-prices 1 source=test date=2026-11-01 unit=usd_per_million_tokens\n\
                 @own hosts=127.0.0.1\nfast/* in=1 out=1000 context=1000 max_out=300\n";
    settings.files.push(("prices.txt".to_owned(), table.to_owned()));
    let gateway = Gateway::serve(&settings);
    let mut client = gateway.client();
    let mut ask = |route: &str, more: &str| {
        let body = format!(r#"{{"model":"demo/{route}"{more},"messages":[{{"role":"user","content":"hi"}}]}}"#);
        client.send(&post("/v1/chat/completions", &body));
        let reply = client.read().unwrap();
        assert_eq!(reply.status, 200, "{route}: {}", reply.text());
        cost(&reply).to_owned()
    };
    assert_eq!(ask("within", ""), "0.800900000", "what can be true is billed as stated");
    assert_eq!(ask("above", ""), "0.301000000", "the window, and the longest answer");
    assert_eq!(ask("above", r#","n":8"#), "6.001000000", "of eight answers together nothing is known");
    let said = ask("said", "");
    assert!(said.as_str() > "0.600050000" && said.as_str() < "1.000050000", "less than half of what was said: {said}");
    gateway.assert_idle();
}

#[test]
fn cost_of_a_stream_stands_in_the_usage_that_its_client_asked_for() {
    let mock = Mock::start();
    let models = [("priced", "stream/events=3,gap_ms=0,bytes=20,prompt=50,completion=9")];
    let priced =
        project(&mock, &models).replace("output_cost_per_million_tokens: 0", "output_cost_per_million_tokens: 2");
    let unpriced: String = priced
        .lines()
        .filter(|line| !line.contains("_cost_per_million_tokens"))
        .map(|line| format!("{line}\n"))
        .collect();
    for (text, want) in [(priced, Some("0.000068000")), (unpriced, None)] {
        let gateway = Gateway::serve(&Settings::demo(text, mock.address));
        let mut client = gateway.client();
        let mut ask = |options: &str| {
            let body = format!(
                r#"{{"model":"demo/priced","stream":true{options},"messages":[{{"role":"user","content":"hi"}}]}}"#
            );
            client.send(&post("/v1/chat/completions", &body));
            let reply = client.read().unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.text().to_string()
        };
        let asked = ask(r#","stream_options":{"include_usage":true}"#);
        let told: Vec<&str> = asked.split("\"cost\":").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        assert_eq!(told, want.into_iter().collect::<Vec<_>>(), "{asked}");
        assert!(asked.ends_with("data: [DONE]\n\n"), "{asked}");
        let not_asked = ask("");
        assert!(!not_asked.contains("\"cost\"") && !not_asked.contains("\"usage\":{"), "{not_asked}");
        gateway.assert_idle();
    }
}
