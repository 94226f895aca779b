//! `POST /v1/audio/transcriptions`: forms in, text out.

mod kept;
mod limits;
mod provider;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Client, DEADLINE, Gateway, KEY, Reply, Settings, eventually};
use crate::keys::{Project, text, with_key};

use provider::Provider;

const BOUNDARY: &str = "----form-7d3a";
/// 3.3 seconds of a tone.
const TONE: &[u8] = include_bytes!("../../fixtures/audio/tone.wav");
const MODELS: [&str; 16] = [
    "seconds",
    "exact",
    "long",
    "verbose",
    "silent",
    "tokens",
    "text",
    "vtt",
    "odd-type",
    "page",
    "error",
    "down",
    "false-200",
    "stream",
    "marked",
    "cut",
];

/// A route for each model of the provider.
fn project(provider: &Provider, route_lines: &str) -> String {
    let mut text = "transcription_models:\n".to_owned();
    for model in MODELS {
        writeln!(
            text,
            "  - {{model_id: {model}, model: openai/{model}, credentials: {{base_url: \"http://{}/v1\"}}}}",
            provider.address
        )
        .unwrap();
    }
    text += "prices:\n  - {model: openai/tokens, input: 6, output: 10}\n  \
             - {model: openai/*, input: 0, output: 0, per_audio_minute: 0.006}\nroutes:\n";
    for model in MODELS {
        writeln!(text, "  {model}: {{transcription_models: [{model}]{route_lines}}}").unwrap();
    }
    text
}

fn gateway(provider: &Provider, route_lines: &str) -> Gateway {
    let mut settings = Settings::demo(project(provider, route_lines), provider.address);
    settings.server_lines = "limits: {audio_bytes: 64 KiB, body_bytes: 4 KiB}\n".to_owned();
    Gateway::serve(&settings)
}

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"tone.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

fn head(more: &str) -> String {
    format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\n\
         content-type: multipart/form-data; boundary={BOUNDARY}\r\n{more}"
    )
}

fn post(body: &[u8]) -> Vec<u8> {
    [head(&format!("content-length: {}\r\n\r\n", body.len())).as_bytes(), body].concat()
}

/// A transcription of the tone by a route of the project `demo`.
fn ask(route: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let parts = [vec![field("model", &format!("demo/{route}")), file(TONE)], more.to_vec()].concat();
    post(&form(&parts))
}

fn transcribe(gateway: &Gateway, route: &str, more: &[Vec<u8>]) -> Reply {
    gateway.ask(&ask(route, more))
}

fn cost(reply: &Reply) -> Option<&str> {
    reply.header("x-millrace-cost-usd")
}

#[test]
fn form_is_passed_on_byte_for_byte_but_for_its_model() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    let model = || field("model", "demo/seconds");
    let more = || {
        [
            field("language", "de"),
            field("timestamp_granularities[]", "word"),
            field("timestamp_granularities[]", "segment"),
        ]
        .concat()
    };
    for parts in
        [vec![model(), file(TONE), more()], vec![more(), file(TONE), model()], vec![file(TONE), model(), more()]]
    {
        let body = form(&parts);
        let reply = gateway.ask(&post(&body));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json(), json!({"text": "Hello", "usage": {"type": "duration", "seconds": 4}}));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let seen = provider.last();
        let at = memchr::memmem::find(&body, b"demo/seconds").unwrap();
        assert_eq!(seen.body, [&body[..at], b"seconds", &body[at + 12..]].concat());
        assert!(seen.head.starts_with("POST /v1/audio/transcriptions HTTP/1.1\r\n"), "{}", seen.head);
        let types = seen.head.lines().filter(|line| line.starts_with("content-type: "));
        assert_eq!(types.collect::<Vec<_>>(), [format!("content-type: multipart/form-data; boundary={BOUNDARY}")]);
        assert!(!seen.head.contains(KEY) && !seen.head.contains("authorization"), "{}", seen.head);
    }
    // A boundary that has to be quoted stays so.
    let body = form(&[model(), file(TONE)]);
    let body: Vec<u8> = String::from_utf8_lossy(&body).replace(BOUNDARY, "a b=c").into_bytes();
    let odd = head(&format!("content-length: {}\r\n\r\n", body.len())).replace(BOUNDARY, "\"a b=c\"");
    assert_eq!(gateway.ask(&[odd.as_bytes(), &body].concat()).status, 200);
    assert!(provider.last().head.contains("content-type: multipart/form-data; boundary=\"a b=c\"\r\n"));
    gateway.assert_idle();
}

#[test]
fn form_may_come_in_any_pieces() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    let body = form(&[field("model", "demo/seconds"), file(b"RIFF\r\n--\r\n--?"), field("language", "de")]);
    let mut client = gateway.client();
    let seen = |client: &mut Client, name: &str| {
        let reply = client.read().unwrap();
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        provider.last().body
    };
    client.send(&post(&body));
    let want = seen(&mut client, "at once");
    let head = head("transfer-encoding: chunked\r\n\r\n");
    for at in 1..body.len() {
        client.send(head.as_bytes());
        for piece in [&body[..at], &body[at..]] {
            client.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        client.send(b"0\r\n\r\n");
        assert_eq!(seen(&mut client, &format!("cut at {at}")), want, "cut at {at}");
    }
    // Every byte in a chunk and a write of its own.
    client.send(head.as_bytes());
    for byte in &body {
        client.send(&[b"1\r\n", &[*byte][..], b"\r\n"].concat());
    }
    client.send(b"0\r\n\r\n");
    assert_eq!(seen(&mut client, "single bytes"), want);
}

#[test]
fn answer_is_relayed_whatever_it_is_written_as() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    let text = [field("response_format", "text")];
    let utf8 = "text/plain; charset=utf-8";
    // Cost: 0.006 USD a minute of what is stated, else of the 3.3 seconds of the file.
    for (route, more, content_type, body, paid) in [
        ("verbose", &[][..], "application/json", "\"text\":\"Hello\"}", Some("0.000330000")),
        ("silent", &[], "application/json", "{\"text\":\"Hello\"}", Some("0.000330000")),
        ("seconds", &[], "application/json", "\"seconds\":4}}", Some("0.000400000")),
        ("tokens", &[], "application/json", "\"total_tokens\":35}}", Some("0.000218000")),
        ("text", &text, utf8, "Hello\n", Some("0.000330000")),
        ("vtt", &text, "text/vtt", "-> 00:03.300\nHello\n", Some("0.000330000")),
        ("odd-type", &text, utf8, "Hello\n", Some("0.000330000")),
        ("seconds", &text, "application/json", "\"seconds\":4}}", Some("0.000400000")),
    ] {
        let reply = transcribe(&gateway, route, more);
        assert_eq!(reply.status, 200, "{route}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some(content_type), "{route}");
        assert!(reply.text().ends_with(body), "{route}: {}", reply.text());
        assert_eq!(cost(&reply), paid, "{route}");
        assert_eq!(reply.header("x-millrace-model"), Some(route));
    }
    for (route, more, status, code) in [
        ("text", &[][..], 502, json!("upstream_error")),
        ("page", &text, 502, json!("upstream_error")),
        ("page", &[], 502, json!("upstream_error")),
        ("false-200", &[], 502, json!("upstream_error")),
        ("error", &text, 400, json!("invalid_value")),
        ("down", &[], 502, json!("upstream_error")),
        ("stream", &[], 502, json!("upstream_error")),
    ] {
        let reply = transcribe(&gateway, route, more);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &code), "{route}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"), "{route}");
    }
    // More than the file can have is not billed: its 3.3 seconds are 4 whole ones.
    assert_eq!(cost(&transcribe(&gateway, "long", &[])), Some("0.000400000"));
    assert!(gateway.metric("millrace_audio_seconds_total", "model=\"verbose\"").is_some_and(|heard| heard == 3.3));
    let requests = gateway.metric("millrace_requests_total", "endpoint=\"transcriptions\"");
    assert!(requests.is_some_and(|count| count > 0.0));
    gateway.assert_idle();
}

#[test]
fn stream_ends_as_its_provider_ended() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    let streamed = [field("stream", "true")];
    let reply = transcribe(&gateway, "stream", &streamed);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(!reply.cut && reply.text().matches("transcript.text.delta").count() == 2, "{}", reply.text());
    // Its own end, no marker of ours, and what it cost.
    assert!(reply.text().ends_with("\"seconds\":4,\"cost\":0.000400000}}\n\n"), "{}", reply.text());
    let reply = transcribe(&gateway, "marked", &streamed);
    assert!(!reply.cut && reply.text().ends_with("\"text\":\"Hello\"}\n\ndata: [DONE]\n\n"), "{}", reply.text());
    let reply = transcribe(&gateway, "cut", &streamed);
    assert!(reply.cut && !reply.text().contains("[DONE]"), "{}", reply.text());
    let last = reply.text().trim_end().rsplit_once("data: ").unwrap().1.to_owned();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["error"]["code"], "upstream_error");
    // A provider that does not stream answers as it does.
    let reply = transcribe(&gateway, "seconds", &streamed);
    assert_eq!((reply.status, reply.json()["text"].as_str()), (200, Some("Hello")));
    gateway.assert_idle();
}

#[test]
fn each_mistake_of_a_form_has_its_row() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    let (model, audio) = (field("model", "demo/seconds"), file(TONE));
    let good = form(&[model.clone(), audio.clone()]);
    let typed = |content_type: &str| {
        let typed = format!("content-type: {content_type}");
        let plain = format!("content-type: multipart/form-data; boundary={BOUNDARY}");
        [head(&format!("content-length: {}\r\n\r\n", good.len())).replace(&plain, &typed).as_bytes(), &good].concat()
    };
    let invalid = "invalid_value";
    for (name, request, status, code, param) in [
        ("JSON", typed("application/json"), 415, "unsupported_media_type", None),
        ("no boundary", typed("multipart/form-data"), 415, "unsupported_media_type", None),
        ("another boundary", typed("multipart/form-data; boundary=other"), 400, invalid, None),
        ("no model", post(&form(std::slice::from_ref(&audio))), 400, invalid, Some("model")),
        ("no file", post(&form(std::slice::from_ref(&model))), 400, invalid, Some("file")),
        (
            "model twice",
            post(&form(&[model.clone(), audio.clone(), model.clone()])),
            400,
            "duplicate_field",
            Some("model"),
        ),
        (
            "file twice",
            post(&form(&[model.clone(), audio.clone(), audio.clone()])),
            400,
            "duplicate_field",
            Some("file"),
        ),
        (
            "other spelling",
            post(&form(&[model.clone(), audio.clone(), field("Model", "x")])),
            400,
            invalid,
            Some("model"),
        ),
        ("stream", post(&form(&[model.clone(), audio.clone(), field("stream", "yes")])), 400, invalid, Some("stream")),
        ("cut", post(&good[..good.len() - 6]), 400, invalid, None),
        ("too large", post(&form(&[model.clone(), file(&[0; 70 << 10])])), 413, "request_too_large", None),
        (
            "unknown route",
            post(&form(&[field("model", "demo/nothing"), audio.clone()])),
            404,
            "model_not_found",
            Some("model"),
        ),
    ] {
        let before = provider.count();
        let reply = gateway.ask(&request);
        let body = reply.json();
        assert_eq!(reply.status, status, "{name}: {body}");
        assert_eq!(body["error"]["code"], code, "{name}: {body}");
        assert_eq!(body["error"]["param"].as_str(), param, "{name}: {body}");
        assert_eq!(body["error"].as_object().map(serde_json::Map::len), Some(4), "{name}");
        assert_eq!(provider.count(), before, "{name} was sent");
    }
    gateway.assert_idle();
}

#[test]
fn forms_have_a_limit_of_their_own() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "");
    // A form that comes in chunks is too large once so much of it is here.
    let mut client = gateway.client();
    client.send(head("transfer-encoding: chunked\r\n\r\n").as_bytes());
    for _ in 0..70 {
        client.send(&[&b"400\r\n"[..], &[b'x'; 1_024], b"\r\n"].concat());
    }
    assert_eq!(client.read().unwrap().status, 413);
    // Other bodies keep their own limit, which is smaller here.
    let large = format!("{{\"model\":\"demo/seconds\",\"user\":\"{}\"}}", "x".repeat(5_000));
    assert_eq!(gateway.ask(&crate::harness::post("/v1/chat/completions", &large)).status, 413);
    // A route without such a model, and the method.
    let get = ask("seconds", &[]);
    let get = String::from_utf8_lossy(&get).replacen("POST", "GET", 1).into_bytes();
    let reply = gateway.ask(&get);
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST, OPTIONS")));
    let chat = crate::harness::post("/v1/chat/completions", r#"{"model":"demo/seconds","messages":[]}"#);
    assert_eq!(gateway.ask(&chat).status, 404);
    gateway.assert_idle();
}

#[test]
fn demo_transcribes_without_a_provider() {
    let gateway = Gateway::demo(1);
    let reply = transcribe(&gateway, "transcribe", &[]);
    assert_eq!((reply.status, reply.json()["usage"]["seconds"].as_u64()), (200, Some(4)), "{}", reply.text());
    let reply = transcribe(&gateway, "transcribe", &[field("response_format", "text")]);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(reply.text().starts_with("Hello from Millrace"));
    let reply = transcribe(&gateway, "transcribe", &[field("stream", "true")]);
    assert!(!reply.cut && reply.text().contains("transcript.text.done"), "{}", reply.text());
    gateway.assert_idle();
}

/// Limits of a key over the API, the row of a request, sums of usage, and prices of the organization.
#[test]
fn audio_is_kept_in_limits_rows_and_sums() {
    let rows = "usage: {request_rows: all}\n";
    let project = Project::on(Gateway::stored_with(tempfile::tempdir().unwrap(), 2, rows));
    project.serve(
        "transcription_models: [{model_id: ear, model: mock/ear}]\n\
         prices: [{model: mock/ear, input: 0, output: 0, per_audio_minute: 0.006}]\n\
         routes: {notes: {transcription_models: [ear]}}\n",
    );
    let made = project.call(("POST", &project.path("/keys")), &[], &json!({"description": "app"}), 201);
    let key = text(&made, "key");
    let limits = project.path(&format!("/keys/{}/limits", text(&made, "id")));
    let limit = json!({"kind": "audio", "amount": 10, "window": "1 hour"});
    project.call(("POST", &limits), &[], &limit, 201);
    let asked = || {
        let request = ask("notes", &[]);
        // The form is no text: only its head holds the key.
        let at = memchr::memmem::find(&request, b"\r\n\r\n").unwrap();
        project.gateway.ask(&[with_key(&request[..at], &key), request[at..].to_vec()].concat())
    };
    let replies: Vec<Reply> = (0..3).map(|_| asked()).collect();
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 429], "4 + 4 of 10 seconds, and no 4 more");
    let refusal = replies[2].json();
    assert_eq!(refusal["error"]["code"], "rate_limit_exceeded", "{refusal}");
    assert!(text(&refusal["error"], "message").contains("10 seconds of audio"), "{refusal}");
    assert!(replies[2].header("retry-after").is_some());
    let shown = &project.call(("GET", &limits), &[], &Value::Null, 200)["data"][0];
    let figures = ["amount", "posted", "pending", "remaining"].map(|name| shown[name].as_u64());
    assert_eq!(figures, [Some(10), Some(8), Some(0), Some(2)], "{shown}");
    let own = format!("GET /v1/key HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\n\r\n");
    let own = project.gateway.ask(own.as_bytes()).json();
    assert_eq!((&own["limits"][0]["kind"], &own["limits"][0]["remaining"]), (&json!("audio"), &json!(2)), "{own}");

    let id = replies[0].header("x-request-id").unwrap().to_owned();
    let mut row = Value::Null;
    let is_stored = eventually(DEADLINE, || {
        let reply = project.gateway.admin("GET", &project.path(&format!("/logs/{id}")), &[], "");
        row = reply.json();
        reply.status == 200
    });
    assert!(is_stored, "{row}");
    assert_eq!((&row["endpoint"], &row["tokens"]["audio_ms"]), (&json!("transcriptions"), &json!(4_000)), "{row}");
    assert_eq!((&row["cost"], &row["cost_parts"]["audio"]), (&json!("0.000400000"), &json!("0.000400000")), "{row}");
    let usage =
        project.call(("GET", &project.path("/analytics?granularity=day&group_by=route")), &[], &Value::Null, 200);
    assert!(usage.to_string().contains("\"audio_ms\":8000"), "{usage}");
}
