//! Logs of requests over sockets: attempts, tails, payloads.

mod apart;
mod attempts;
mod decisions;
mod payloads;
mod searches;
mod tail;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, KEY, Mock, Reply, chat_with, eventually};

/// A gateway with a store, and one project whose routes are called as the scripts of its provider.
struct Site {
    gateway: Gateway,
    organization: String,
    project: String,
    key: String,
}

impl Site {
    /// Route `r0` has the first of these models, and so on.
    fn new(models: &[&str], upstream: &Mock, more_lines: &str) -> Self {
        let gateway = Gateway::stored_with(tempfile::tempdir().unwrap(), 2, more_lines);
        let organization = gateway.organization();
        let project = gateway.make_project(&organization, "demo");
        let mut site = Self { gateway, organization, project, key: String::new() };
        let port = upstream.address.port().to_string();
        site.call(("POST", "/instance/egress-rules"), &json!({"network": "127.0.0.1/32", "ports": port}), 201);
        site.key = site.make_key(&site.project);
        let text = crate::harness::project(
            models,
            upstream.address,
            "retry_safe: true\ntimeouts: {connect: 8 s, \
            first_byte: 8 s, idle: 8 s, total: 30 s}\ninput_cost_per_million_tokens: 1\noutput_cost_per_million_tokens: 1",
        );
        site.serve(&site.project, &text);
        site
    }

    fn call(&self, (method, path): (&str, &str), body: &Value, status: u16) -> Value {
        let reply = self.gateway.admin(method, path, &[], &body.to_string());
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    fn make_key(&self, project: &str) -> String {
        let made = self.call(("POST", &format!("/projects/{project}/keys")), &json!({"description": "test"}), 201);
        made["key"].as_str().unwrap().to_owned()
    }

    fn serve(&self, project: &str, text: &str) {
        let config = format!("/projects/{project}/config");
        let open = self.gateway.admin("GET", &format!("{config}/draft"), &[], "");
        let condition = match open.header("etag") {
            Some(tag) if open.status == 200 => ("if-match", tag),
            _ => ("if-none-match", "*"),
        };
        let yaml = ("content-type", "application/yaml");
        let saved = self.gateway.admin("PUT", &format!("{config}/draft"), &[condition, yaml], text);
        assert_eq!(saved.status, 200, "{}", saved.text());
        for action in ["approve", "serve"] {
            let path = format!("{config}/versions/{}/{action}", saved.json()["version"]);
            let done = self.gateway.admin("POST", &path, &[], "");
            assert_eq!(done.status, 200, "{}", done.text());
        }
    }

    /// A chat request with the key of the project.
    fn request(&self, route: &str, more: &str) -> Vec<u8> {
        let text = String::from_utf8(chat_with(&format!("demo/{route}"), more)).unwrap();
        text.replace(KEY, &self.key).into_bytes()
    }

    fn ask(&self, route: &str, more: &str) -> Reply {
        self.gateway.ask(&self.request(route, more))
    }

    /// The stored row of an answer.
    fn row(&self, reply: &Reply) -> Value {
        let id = reply.header("x-request-id").unwrap();
        let path = format!("/projects/{}/logs/{id}", self.project);
        let mut found = Value::Null;
        let is_stored = eventually(DEADLINE, || {
            let reply = self.gateway.admin("GET", &path, &[], "");
            found = reply.json();
            reply.status == 200
        });
        assert!(is_stored, "{found}");
        found
    }
}

/// `outcome status` of each attempt of a row.
fn outcomes(row: &Value) -> String {
    row["attempts"].as_array().unwrap().iter().fold(String::new(), |mut text, attempt| {
        let _ = write!(text, "{} {}; ", attempt["outcome"].as_str().unwrap(), attempt["status"]);
        text
    })
}
