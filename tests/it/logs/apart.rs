//! Nothing of one project reaches another: I-22.
//!
//! Every request of both says who it is of, and a provider repeats what it is told. Then everything that can be read on behalf of
//! one project is searched for what the other has said.

use std::thread;

use serde_json::json;

use super::Site;
use crate::harness::{Client, DEADLINE, Gateway, KEY, Mock, Reply, eventually, post, project};

const ASKED: usize = 60;
/// In each request of the first project and of the second.
const MARKS: [&str; 2] = ["mark-of-amber", "mark-of-birch"];

/// A request with a mark where clients can put one, good or wrong by its number.
fn request(slug: &str, (mark, number): (&str, usize), key: &str) -> Vec<u8> {
    let said = json!(format!("{mark} {number}"));
    let (model, more) = match number % 6 {
        0 | 1 => (format!("{slug}/r0"), ""),
        2 => (format!("{slug}/r0"), r#","stream":true"#),
        // Unknown, refused by the provider, and broken.
        3 => (format!("{slug}/{mark}"), ""),
        4 => (format!("{slug}/r1"), ""),
        _ => (format!("{slug}/r0"), r#","max_tokens":"many""#),
    };
    let body = format!(r#"{{"model":"{model}","user":{said},"messages":[{{"role":"user","content":{said}}}]{more}}}"#);
    let text = String::from_utf8(post("/v1/chat/completions", &body)).unwrap();
    let lines = format!("\r\nuser-agent: {mark}\r\nx-millrace-tags: of={mark}\r\nx-request-id: {mark}-{number}\r\n");
    text.replacen("\r\n", &lines, 1).replace(KEY, key).into_bytes()
}

/// Asks with one key again and again, and searches each answer for the other's mark.
fn ask_all(gateway: &Gateway, slug: &str, own: usize, key: &str) {
    let mut client = gateway.client();
    for number in 0..ASKED {
        client.send(&request(slug, (MARKS[own], number), key));
        let reply = client.read().expect("an answer");
        let shown = format!("{:?} {}", reply.headers, reply.text());
        assert!(!shown.contains(MARKS[1 - own]), "{slug} {number}: {shown}");
        let is_echoed = !matches!(number % 6, 0 | 1) || reply.text().contains(MARKS[own]);
        assert!(is_echoed, "{slug} {number}: {} {shown}", reply.status);
        if reply.closes() {
            client = gateway.client();
        }
    }
}

fn read(gateway: &Gateway, path: &str, token: &str) -> Reply {
    let mut client = Client::connect(gateway.admin);
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    client.send(head.as_bytes());
    client.read().unwrap()
}

#[test]
fn i_22_nothing_that_one_project_says_is_ever_shown_to_another() {
    let mock = Mock::start();
    let models = ["fast/echo", "fault/status=400"];
    let site = Site::new(&models, &mock, "usage: {request_rows: all}\n");
    let other = site.gateway.make_project(&site.organization, "other");
    let other_key = site.make_key(&other);
    site.serve(&other, &project(&models, mock.address, ""));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| ask_all(&site.gateway, "demo", 0, &site.key));
            scope.spawn(|| ask_all(&site.gateway, "other", 1, &other_key));
        }
    });
    site.gateway.assert_idle();
    for (own, id) in [(0, &site.project), (1, &other)] {
        let body = json!({"description": "viewer", "organization_id": site.organization, "role": "member",
            "project_grants": [{"project_id": id, "role": "viewer"}]});
        let token = site.call(("POST", "/admin-tokens"), &body, 201)["token"].as_str().unwrap().to_owned();
        let at = |rest: &str| read(&site.gateway, &format!("/api/v1/projects/{id}{rest}"), &token);
        let rows = || at("/logs/export").text().lines().count();
        assert!(eventually(DEADLINE, || rows() == 2 * ASKED), "{} rows of {}", rows(), 2 * ASKED);
        for rest in [
            "/logs?limit=100",
            "/logs/export",
            "/logs/export?format=csv",
            "/analytics?granularity=day&group_by=route",
            "/routes",
        ] {
            let shown = at(rest);
            assert!(!shown.text().contains(MARKS[1 - own]), "{rest}: {}", shown.text());
            assert_eq!(shown.status, 200, "{rest}: {}", shown.text());
        }
        let foreign = format!("/api/v1/projects/{}/logs?limit=1", if own == 0 { &other } else { &site.project });
        assert_eq!(read(&site.gateway, &foreign, &token).status, 404);
    }
    let metrics = read(&site.gateway, "/metrics", "").text();
    assert!(metrics.contains("millrace_requests_total"), "{metrics}");
    assert!(MARKS.iter().all(|mark| !metrics.contains(mark)), "what clients say is no label");
}
