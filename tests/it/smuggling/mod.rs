//! Requests that two parsers could read differently.
//!
//! Every case is sent on a fresh connection, on one that served a request before, and behind a good request in the
//! same write. Behind each case stands a canary: a perfectly good request that must never be answered once the case
//! broke the protocol, because then nobody knows any more where a request begins.

mod case;
mod framing;
mod heads;
mod lines;

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Client, Gateway, Identity, KEY, Reply, Settings, chat};

use case::{BODY, Case, Want, request};

/// In the canary's request id, which every answer repeats.
const CANARY: &str = "canary-canary-canary";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Fresh,
    KeptAlive,
    SameWrite,
}

fn all_cases() -> Vec<Case> {
    let mut cases = heads::cases();
    cases.extend(lines::cases());
    cases.extend(framing::cases());
    cases
}

/// A good request; `x-request-id` shows in its answer.
fn canary() -> String {
    format!(
        "GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\nx-request-id: {CANARY}\r\n\r\n"
    )
}

fn is_canary(reply: &Reply) -> bool {
    reply.header("x-request-id") == Some(CANARY)
}

/// What went wrong with one case, if anything.
fn run(mut client: Client, case: &Case, before: Before) -> Result<(), String> {
    let mut bytes = Vec::new();
    match before {
        Before::Fresh => {}
        Before::KeptAlive => {
            client.send(&chat("demo/chat"));
            expect(client.read().as_ref(), 200)?;
        }
        Before::SameWrite => bytes.extend(chat("demo/chat")),
    }
    bytes.extend_from_slice(&case.bytes);
    bytes.extend_from_slice(canary().as_bytes());
    client.send(&bytes);
    if case.half_close {
        client.half_close();
    }
    if before == Before::SameWrite {
        expect(client.read().as_ref(), 200)?;
    }
    check(&mut client, case)
}

fn check(client: &mut Client, case: &Case) -> Result<(), String> {
    match case.want {
        Want::Refused(status) => refused(client, status),
        Want::Gone => nothing_more(client),
        Want::ServedAndClosed(status) => {
            expect(client.read().as_ref(), status)?;
            nothing_more(client)
        }
        Want::Served(status) => {
            expect(client.read().as_ref(), status)?;
            canary_answered(client)
        }
        Want::ServedOrClosed(status) => {
            let reply = client.read();
            expect(reply.as_ref(), status)?;
            // Whether the rest can be dropped is found out only behind the answer, so the end may come unannounced.
            client.read().map_or(Ok(()), |behind| answers_canary(&behind))
        }
        Want::Answered(status) => {
            let reply = client.read();
            expect(reply.as_ref(), status)?;
            let reply = reply.unwrap();
            openai_shape(&reply)?;
            if reply.closes() { nothing_more(client) } else { canary_answered(client) }
        }
        Want::ThenRefused(status) => {
            let reply = client.read();
            expect(reply.as_ref(), status)?;
            if reply.unwrap().closes() { nothing_more(client) } else { refused(client, 400) }
        }
    }
}

fn refused(client: &mut Client, status: u16) -> Result<(), String> {
    let reply = client.read();
    expect(reply.as_ref(), status)?;
    let reply = reply.unwrap();
    if !reply.closes() {
        return Err(format!("{status} without `connection: close`"));
    }
    openai_shape(&reply)?;
    nothing_more(client)
}

fn canary_answered(client: &mut Client) -> Result<(), String> {
    answers_canary(&client.read().ok_or("closed instead of the canary's answer")?)
}

fn answers_canary(reply: &Reply) -> Result<(), String> {
    if reply.status == 200 && is_canary(reply) {
        return Ok(());
    }
    Err(format!("{} instead of the canary's answer: {:.200}", reply.status, reply.text()))
}

/// The answer of the case itself: this status, and not the canary's.
fn expect(reply: Option<&Reply>, status: u16) -> Result<(), String> {
    match reply {
        Some(reply) if is_canary(reply) => Err(format!("THE CANARY WAS ANSWERED with {}", reply.status)),
        Some(reply) if reply.status == status => Ok(()),
        Some(reply) => Err(format!("{}, wanted {status}: {:.200}", reply.status, reply.text())),
        None => Err(format!("closed without an answer, wanted {status}")),
    }
}

/// All four fields, always present.
fn openai_shape(reply: &Reply) -> Result<(), String> {
    let body: serde_json::Value =
        serde_json::from_slice(&reply.body).map_err(|error| format!("{error} in {:?}", reply.text()))?;
    let error = body.get("error").and_then(|error| error.as_object()).ok_or("no `error` object")?;
    let names: BTreeSet<_> = error.keys().map(String::as_str).collect();
    let all = BTreeSet::from(["message", "type", "param", "code"]);
    if names == all { Ok(()) } else { Err(format!("error with {names:?}")) }
}

fn nothing_more(client: &mut Client) -> Result<(), String> {
    let rest = client.read_to_close();
    if rest.is_empty() { Ok(()) } else { Err(format!("more came: {:.300}", String::from_utf8_lossy(&rest))) }
}

fn run_all(gateway: &Gateway, connect: impl Fn() -> Client) {
    let cases = all_cases();
    let mut failures = Vec::new();
    for case in &cases {
        for before in [Before::Fresh, Before::KeptAlive, Before::SameWrite] {
            if let Err(why) = run(connect(), case, before) {
                failures.push(format!("{} ({before:?}): {why}", case.name));
            }
        }
        let mut next = connect();
        next.send(&chat("demo/chat"));
        assert_eq!(next.read().map(|reply| reply.status), Some(200), "the connection after {:?}", case.name);
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} failed:\n  {}", cases.len() * 3, failures.join("\n  "));
    gateway.assert_idle();
}

#[test]
fn no_request_behind_a_broken_one_is_answered() {
    let gateway = Gateway::demo(1);
    run_all(&gateway, || gateway.client());
}

#[test]
fn no_request_behind_a_broken_one_is_answered_through_the_edge() {
    let identity = Identity::new();
    let project = "chat_models: [{model_id: m, model: mock/chat}]\nroutes: {chat: {chat_models: [m]}}\n";
    let projects = vec![("demo".to_owned(), project.to_owned())];
    let mut gateway =
        Gateway::serve(&Settings { server_lines: identity.server_lines(), projects, ..Settings::default() });
    let edge = gateway.edge();
    run_all(&gateway, || Client::connect_tls(edge, &identity));
}

#[test]
fn good_requests_cut_anywhere_are_served() {
    let gateway = Gateway::demo(1);
    let good = request(&[], BODY);
    let mut client = gateway.client();
    for cut in (1..good.len()).step_by(7) {
        client.send(&good[..cut]);
        client.send(&good[cut..]);
        let reply = client.read().expect("an answer");
        assert_eq!(reply.status, 200, "cut at {cut}: {}", reply.text());
    }
}

#[test]
fn cases_are_many_and_named_once() {
    let cases = all_cases();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        *names.entry(&case.name).or_default() += 1;
    }
    let twice: Vec<_> = names.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "named twice: {twice:?}");
    assert!(cases.len() >= 300, "{} cases", cases.len());
}
