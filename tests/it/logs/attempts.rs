//! Every attempt of a request stands in its row.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Site, outcomes};
use crate::harness::{DEADLINE, Mock, eventually};

const ALL_ROWS: &str = "usage: {request_rows: all}\n";

#[test]
fn i_05_row_shows_each_attempt_with_its_end_its_time_and_its_cost() {
    let mock = Mock::start();
    let models = ["fast", "fault/status=500", "fault/status=401", "fault/stall", "fault/body=badjson", "fault/refused"];
    let site = Site::new(&models, &mock, ALL_ROWS);
    for (route, stream, want) in [
        ("r0", false, "success 200; "),
        ("r0", true, "success 200; "),
        ("r1", false, "server_error 500; "),
        ("r2", false, "auth 401; "),
        ("r3", false, "timeout 0; "),
        ("r4", false, "invalid 200; "),
    ] {
        let reply = site.ask(route, if stream { r#","stream":true"# } else { "" });
        let row = site.row(&reply);
        assert_eq!(outcomes(&row), want, "{route}: {row}");
        let attempt = &row["attempts"][0];
        assert_eq!((row["attempt_count"].as_u64(), attempt["credential"].as_str()), (Some(1), Some("own")), "{row}");
        assert_eq!((&attempt["tokens"], &attempt["cost"]), (&row["tokens"], &row["cost"]), "{row}");
        assert_eq!(attempt["target"], format!("m{}", &route[1..]), "{row}");
        assert_eq!(attempt["maybe_billed"], matches!(route, "r3" | "r4"), "{row}");
        let (took, whole) = (attempt["duration_ms"].as_f64().unwrap(), row["duration_ms"].as_f64().unwrap());
        assert!(took > 0.0 && took <= whole, "{row}");
    }
    let unknown = site.row(&site.ask("none", ""));
    assert!(unknown["attempts"].as_array().unwrap().is_empty() && unknown["attempt_count"] == 0, "{unknown}");
    site.gateway.assert_idle();
}

/// The row of a client that has left; nobody told it the id of its request.
fn cancelled_row(site: &Site) -> Value {
    let path = format!("/projects/{}/logs?status=none", site.project);
    let mut rows = Value::Null;
    eventually(DEADLINE, || {
        rows = site.gateway.admin("GET", &path, &[], "").json()["data"].clone();
        rows.as_array().is_some_and(|rows| !rows.is_empty())
    });
    rows[0].clone()
}

#[test]
fn silent_resend_and_a_client_that_left_are_attempts_of_their_rows() {
    let mock = Mock::start();
    // No row but of errors and of several attempts: a resend is one of them.
    let models = ["fault/close-on-reuse", "fault/stall"];
    let site = Site::new(&models, &mock, "usage: {request_rows: errors}\n");
    let mut client = site.gateway.client();
    let replies = [(); 2].map(|()| {
        client.send(&site.request("r0", ""));
        client.read().expect("an answer")
    });
    let row = site.row(&replies[1]);
    assert_eq!((outcomes(&row).as_str(), row["attempt_count"].as_u64()), ("reset 0; success 200; ", Some(1)), "{row}");
    let [first, second] = [&row["attempts"][0], &row["attempts"][1]];
    assert_eq!((first["cost"].as_str(), first["tokens"]["input"].as_u64()), (Some("0.000000000"), Some(0)), "{row}");
    assert_eq!((&second["cost"], &second["tokens"]), (&row["cost"], &row["tokens"]), "{row}");
    let id = replies[0].header("x-request-id").unwrap();
    let single = site.gateway.admin("GET", &format!("/projects/{}/logs/{id}", site.project), &[], "");
    assert_eq!(single.status, 404, "one attempt that succeeded is no row of its own here: {}", single.text());

    let mut client = site.gateway.client();
    client.send(&site.request("r1", ""));
    assert!(eventually(DEADLINE, || site.gateway.metric("millrace_inflight_requests", "") == Some(1.0)));
    // The end of a client that just sent its request means only that it sends no more.
    thread::sleep(Duration::from_millis(100));
    drop(client);
    let row = cancelled_row(&site);
    assert_eq!(outcomes(&row), "cancelled 0; ", "{row}");
    assert_eq!(row["attempts"][0]["maybe_billed"], true, "{row}");
    site.gateway.assert_idle();
}

#[test]
fn export_holds_the_attempts_of_each_row() {
    let mock = Mock::start();
    let site = Site::new(&["fast", "fault/status=500"], &mock, ALL_ROWS);
    for route in ["r0", "r1"] {
        site.row(&site.ask(route, ""));
    }
    let path = format!("/projects/{}/logs/export", site.project);
    let lines = site.gateway.admin("GET", &path, &[], "");
    let rows: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<_> = rows.iter().map(outcomes).collect();
    assert_eq!(found, ["success 200; ", "server_error 500; "], "{}", lines.text());
    let sheet = site.gateway.admin("GET", &format!("{path}?format=csv"), &[], "").text();
    assert!(sheet.contains(",attempt_count,attempts,") && sheet.contains(r#"""outcome"":""server_error"""#), "{sheet}");
}
