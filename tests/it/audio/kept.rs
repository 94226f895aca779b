//! Forms and answers of projects with `log_payloads`.

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, Reply, eventually};
use crate::keys::{Project, text, with_key};

use super::{BOUNDARY, TONE, field, file, form, post};

/// Asks with a form of these parts beside model and file.
fn ask(project: &Project, key: &str, more: &[Vec<u8>]) -> Reply {
    let parts = [vec![field("model", "demo/notes"), file(TONE)], more.to_vec()].concat();
    let request = post(&form(&parts));
    let at = memchr::memmem::find(&request, b"\r\n\r\n").unwrap();
    project.gateway.ask(&[with_key(&request[..at], key), request[at..].to_vec()].concat())
}

fn kept(project: &Project, reply: &Reply) -> Value {
    let path = project.path(&format!("/logs/{}/payload", reply.header("x-request-id").unwrap()));
    let mut found = Value::Null;
    let is_kept = eventually(DEADLINE, || {
        let reply = project.gateway.admin("GET", &path, &[], "");
        found = reply.json();
        reply.status == 200
    });
    assert!(is_kept, "{found}");
    found
}

#[test]
fn form_and_answer_are_kept_without_the_sound() {
    let lines = "usage: {payload_bytes: 1 KiB}\n";
    let project = Project::on(Gateway::stored_with(tempfile::tempdir().unwrap(), 2, lines));
    project.serve(
        "transcription_models: [{model_id: ear, model: mock/ear}]\n\
         routes: {notes: {transcription_models: [ear]}}\n",
    );
    let made = project.call(("POST", &project.path("/keys")), &[], &json!({"description": "app"}), 201);
    let key = text(&made, "key");
    let place = project.path("");
    let etag = project.gateway.admin("GET", &place, &[], "").header("etag").unwrap().to_owned();
    project.call(("PATCH", &place), &[("if-match", &etag)], &json!({"log_payloads": true}), 200);

    let secret = "sk-A1b2C3d4E5f6G7h8I9j0K1l2M3n4";
    let digest = "sha256:7b790414d908fab7f4b650a6357ee6f5eb5e0c9591c35443af7324c4178c74e9";
    for (format, begins) in [("json", "{\"text\":"), ("text", "Hello from Millrace")] {
        let said = field("prompt", &format!("Names: Ada, {secret}"));
        let reply = ask(&project, &key, &[field("response_format", format), said]);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let kept = kept(&project, &reply);
        let request = kept["request"].as_str().unwrap();
        let sound = format!("Content-Type: audio/wav\r\n\r\n[{} bytes, {digest}]\r\n--{BOUNDARY}", TONE.len());
        assert!(request.contains(&sound), "{request}");
        assert!(request.contains("name=\"model\"\r\n\r\ndemo/notes\r\n"), "{request}");
        assert!(request.contains("Names: Ada, [redacted]\r\n") && !request.contains(secret), "{request}");
        assert!(!request.contains("RIFF") && kept["request_is_cut"] == false, "{kept}");
        let answer = kept["answer"].as_str().unwrap();
        assert!(answer == reply.text() && answer.starts_with(begins), "{kept}");
    }
    // Bounded as any text.
    let reply = ask(&project, &key, &[field("prompt", &"word ".repeat(1_000))]);
    let kept = kept(&project, &reply);
    assert_eq!((reply.status, &kept["request_is_cut"]), (200, &json!(true)), "{kept}");
    assert!(kept["request"].as_str().unwrap().len() <= 1_024, "{kept}");
}
