//! The forwarded body.

use serde_json::{Value, json};

use crate::wire::{Defaults, Edits, Endpoint, Limits, Prompt, RequestView, view_request};

fn view(endpoint: Endpoint, body: &str) -> RequestView {
    view_request(endpoint, body.as_bytes(), &Limits::default()).unwrap()
}

/// Gives the forwarded body and checks that pieces, length and copy agree.
fn forward(edits: &Edits<'_>, body: &str) -> String {
    let mut out = Vec::new();
    edits.write(body.as_bytes(), &mut out);
    let pieces: Vec<&[u8]> = edits.pieces(body.as_bytes()).collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(pieces.concat(), out);
    assert_eq!(edits.body_bytes(body.len()), out.len());
    String::from_utf8(out).unwrap()
}

#[test]
fn only_the_model_changes_and_nothing_else() {
    let body = " {\"a\" : [ 1 ] ,\"model\" : \"team/chat\", \"unknown\":{\"x\":\"é\\u0041\"} }\n";
    let view = view(Endpoint::Chat, body);
    let mut edits = Edits::new();
    assert_eq!(forward(&edits, body), body, "without edits");
    edits.set_model(&view, b"\"gpt-4o\"");
    assert_eq!(forward(&edits, body), body.replace("team/chat", "gpt-4o"));
    assert_eq!(edits.pieces(body.as_bytes()).count(), 3);
}

#[test]
fn usage_is_asked_for_whatever_the_client_wrote() {
    for (options, want) in [
        ("", r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{ }"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"include_usage":true}"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"a":1,"include_usage": false}"#, r#","stream_options":{"a":1,"include_usage": true}"#),
        (r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"a":1}"#, r#","stream_options":{"include_usage":true,"a":1}"#),
    ] {
        let body = format!(r#"{{"model":"m","stream":true{options}}}"#);
        let view = view(Endpoint::Chat, &body);
        let mut edits = Edits::new();
        edits.ask_for_usage(&view, body.as_bytes());
        assert_eq!(forward(&edits, &body), format!(r#"{{"model":"m","stream":true{want}}}"#), "{options}");
    }
}

#[test]
fn defaults_fill_only_what_the_client_left_out() {
    let mut defaults = Defaults::default();
    assert!(defaults.is_empty());
    defaults.push("temperature", "0.2");
    defaults.push("max_tokens", "100");
    defaults.push("stop", r#"["a","b"]"#);
    for (name, body, want) in [
        ("none set", r#"{"model":"m"}"#, r#"{"model":"m","temperature":0.2,"max_tokens":100,"stop":["a","b"]}"#),
        (
            "one set",
            r#"{"model":"m","temperature":1}"#,
            r#"{"model":"m","temperature":1,"max_tokens":100,"stop":["a","b"]}"#,
        ),
        (
            "set to null",
            r#"{"stop":null,"model":"m" }"#,
            r#"{"stop":null,"model":"m" ,"temperature":0.2,"max_tokens":100}"#,
        ),
        (
            "spelt with escapes",
            r#"{"model":"m","sto\u0070":1}"#,
            r#"{"model":"m","sto\u0070":1,"temperature":0.2,"max_tokens":100}"#,
        ),
        (
            "the same cap by another name",
            r#"{"model":"m","max_completion_tokens":5}"#,
            r#"{"model":"m","max_completion_tokens":5,"temperature":0.2,"stop":["a","b"]}"#,
        ),
        (
            "only set deeper",
            r#"{"model":"m","x":{"stop":1}}"#,
            r#"{"model":"m","x":{"stop":1},"temperature":0.2,"max_tokens":100,"stop":["a","b"]}"#,
        ),
    ] {
        let view = view(Endpoint::Chat, body);
        let mut edits = Edits::new();
        edits.add_defaults(&view, body.as_bytes(), &defaults);
        assert_eq!(forward(&edits, body), want, "{name}");
    }
}

#[test]
fn a_prompt_stands_first() {
    let prompt = Prompt::new("developer", "Be \"kind\".\n");
    let text = "Be \"kind\".\n";
    let system = json!({"role": "developer", "content": text});
    for (name, endpoint, body, want) in [
        (
            "chat",
            Endpoint::Chat,
            r#"{"messages":[{"role":"user"}],"model":"m"}"#,
            json!({"messages": [system, {"role": "user"}], "model": "m"}),
        ),
        ("chat, empty", Endpoint::Chat, r#"{"messages":[ ],"model":"m"}"#, json!({"messages": [system], "model": "m"})),
        ("chat, none", Endpoint::Chat, r#"{"model":"m"}"#, json!({"model": "m"})),
        (
            "responses",
            Endpoint::Responses,
            r#"{"model":"m","input":"x"}"#,
            json!({"model": "m", "input": "x", "instructions": text}),
        ),
        (
            "responses, null",
            Endpoint::Responses,
            r#"{"instructions":null,"model":"m"}"#,
            json!({"instructions": text, "model": "m"}),
        ),
        (
            "responses, empty",
            Endpoint::Responses,
            r#"{"instructions":"","model":"m"}"#,
            json!({"instructions": text, "model": "m"}),
        ),
        (
            "responses, set",
            Endpoint::Responses,
            r#"{"instructions":"Be \u0062rief.","model":"m"}"#,
            json!({"instructions": format!("{text}\n\nBe brief."), "model": "m"}),
        ),
        ("embeddings", Endpoint::Embeddings, r#"{"model":"m","input":"x"}"#, json!({"model": "m", "input": "x"})),
    ] {
        let view = view(endpoint, body);
        let mut edits = Edits::new();
        edits.add_prompt(endpoint, &view, body.as_bytes(), &prompt);
        let sent: Value = serde_json::from_str(&forward(&edits, body)).unwrap();
        assert_eq!(sent, want, "{name}");
    }
}

#[test]
fn all_edits_together_give_the_expected_document_in_any_order_of_names() {
    let prompt = Prompt::new("system", "p");
    let mut defaults = Defaults::default();
    defaults.push("seed", "7");
    let members = [r#""model":"a/b""#, r#""messages":[1]"#, r#""stream_options":{"include_usage":false}"#, r#""x":[]"#];
    let want = json!({
        "model": "up", "messages": [{"role": "system", "content": "p"}, 1],
        "stream_options": {"include_usage": true}, "x": [], "seed": 7,
    });
    for turn in 0..4 {
        let mut turned = members;
        turned.rotate_left(turn);
        let body = format!("{{{}}}", turned.join(" , "));
        let view = view(Endpoint::Chat, &body);
        let mut edits = Edits::new();
        edits.add_defaults(&view, body.as_bytes(), &defaults);
        edits.ask_for_usage(&view, body.as_bytes());
        edits.set_model(&view, b"\"up\"");
        edits.add_prompt(Endpoint::Chat, &view, body.as_bytes(), &prompt);
        let sent: Value = serde_json::from_str(&forward(&edits, &body)).unwrap();
        assert_eq!(sent, want, "{body}");
    }
}
