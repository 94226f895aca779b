//! Whoever follows requests sees them as they end.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Site, outcomes};
use crate::harness::{Client, DEADLINE, Gateway, Mock, OPERATOR, eventually, program};

/// Opens a tail with this token; returns it behind its head.
fn follow(gateway: &Gateway, (project, query): (&str, &str), token: &str) -> (Client, u16) {
    let mut client = Client::connect(gateway.admin);
    let head = format!(
        "GET /api/v1/projects/{project}/logs/tail{query} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer \
         {token}\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    client.send(head.as_bytes());
    let status = client.read_head().expect("a head").status;
    (client, status)
}

fn opened(site: &Site, query: &str) -> Client {
    let (mut client, status) = follow(&site.gateway, (&site.project, query), OPERATOR);
    assert_eq!(status, 200);
    assert!(client.read_until(b": following\n\n"));
    client
}

#[test]
fn tail_shows_requests_that_are_not_stored_and_only_those_asked_for() {
    let mock = Mock::start();
    let site = Site::new(&["fast", "fault/status=500"], &mock, "usage: {request_rows: errors}\n");
    let (mut all, mut failed) = (opened(&site, ""), opened(&site, "?route=r1&status=5xx"));
    let left = opened(&site, "");
    assert_eq!(site.gateway.metric("millrace_log_tails", ""), Some(3.0));
    drop(left);
    assert!(eventually(DEADLINE, || site.gateway.metric("millrace_log_tails", "") == Some(2.0)), "who left is gone");
    let replies = ["r0", "r1"].map(|route| site.ask(route, ""));
    let ids = replies.each_ref().map(|reply| reply.header("x-request-id").unwrap());
    for tail in [&mut all, &mut failed] {
        assert!(tail.read_until(format!("\"request_id\":\"{}\"", ids[1]).as_bytes()));
    }
    let wrong = site.gateway.admin("GET", &format!("/projects/{}/logs/tail?status=x", site.project), &[], "");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    site.gateway.signal(Signal::SIGTERM);
    for (tail, want) in [(&mut all, &ids[..]), (&mut failed, &ids[1..])] {
        let text = String::from_utf8(tail.read_to_close()).unwrap();
        let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let rows =
            events.map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|row| row["reason"].is_null());
        let rows: Vec<_> = rows.collect();
        let seen: Vec<_> = rows.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(seen, want, "{text}");
    }
}

#[test]
fn t_22_tail_shows_no_other_project_and_ends_with_its_token() {
    let mock = Mock::start();
    let site = Site::new(&["fast"], &mock, "");
    let other = site.gateway.make_project(&site.organization, "other");
    let body = json!({"description": "viewer", "organization_id": site.organization, "role": "member",
        "project_grants": [{"project_id": other, "role": "viewer"}]});
    let token = site.call(("POST", "/admin-tokens"), &body, 201);
    let text = token["token"].as_str().unwrap();
    assert_eq!(follow(&site.gateway, (&site.project, ""), text).1, 404);
    let (mut client, status) = follow(&site.gateway, (&other, ""), text);
    assert_eq!(status, 200);
    site.ask("r0", "");
    let path = format!("/admin-tokens/{}", token["id"].as_str().unwrap());
    let gone = site.gateway.admin("DELETE", &path, &[("if-match", "\"1\"")], "");
    assert_eq!(gone.status, 204, "{}", gone.text());
    let seen = String::from_utf8(client.read_to_close()).unwrap();
    assert!(seen.contains("event: end\ndata: {\"reason\":\"revoked\"}"), "{seen}");
    assert!(!seen.contains("event: request"), "{seen}");
}

#[test]
fn seventeenth_tail_is_refused_and_a_drain_ends_all() {
    let mock = Mock::start();
    let mut site = Site::new(&["fast/latency_ms=6000"], &mock, "");
    let mut open: Vec<_> = (0..16).map(|_| opened(&site, "")).collect();
    let refused = site.gateway.admin("GET", &format!("/projects/{}/logs/tail", site.project), &[], "");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("limit_reached")), "{}", refused.text());
    // A process without open requests ends at once, and its tails with it.
    let mut slow = site.gateway.client();
    slow.send(&site.request("r0", ""));
    assert!(eventually(DEADLINE, || site.gateway.metric("millrace_inflight_requests", "") == Some(1.0)));
    site.gateway.signal(Signal::SIGTERM);
    for client in &mut open {
        assert!(client.read_until(b"event: end\ndata: {\"reason\":\"draining\"}"));
    }
    assert_eq!(slow.read().expect("an answer").status, 200);
    drop(open);
    assert!(site.gateway.wait(DEADLINE).success());
}

#[test]
fn command_follows_until_it_has_enough() {
    let mock = Mock::start();
    let site = Site::new(&["fast"], &mock, "");
    let command = |more: &[&str]| -> Command {
        let mut command = program(site.gateway.folder());
        command.args(["logs", "tail", "demo", "--limit", "2"]).args(more).env("MILLRACE_ADMIN_TOKEN", OPERATOR);
        command.env("MILLRACE_ADMIN_URL", format!("http://{}", site.gateway.admin));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for json in [true, false] {
        let child = command(if json { &["--json", "--route", "r0"] } else { &[] }).spawn().unwrap();
        assert!(eventually(DEADLINE, || site.gateway.metric("millrace_log_tails", "") == Some(1.0)));
        let asked = [(); 2].map(|()| site.ask("r0", ""));
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(asked.iter().all(|reply| out.contains(reply.header("x-request-id").unwrap())), "{out}");
        let lines: Vec<_> = out.lines().collect();
        if json {
            let rows: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((rows.len(), outcomes(&rows[0]).as_str()), (2, "success 200; "), "{out}");
        } else {
            assert!(lines.len() == 3 && lines[0].starts_with("AT ") && lines[1].contains(" r0 "), "{out}");
        }
        assert!(eventually(DEADLINE, || site.gateway.metric("millrace_log_tails", "") == Some(0.0)));
    }
}
