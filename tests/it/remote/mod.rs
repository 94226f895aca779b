//! Commands that talk to a gateway, against a scripted one.

mod admin;
mod login;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::admin::{Admin, Asked, Told, told, yaml};
use crate::harness::program;

const PROJECT: &str = "/projects/prj_00000000000000000001";
const TOKEN: &str = "mr_admin_canary";

struct Ran {
    exit: i32,
    out: String,
    err: String,
}

/// Runs a command with a token in its environment.
fn run(url: &str, args: &[&str], input: &str) -> Ran {
    let mut command = program(&std::env::temp_dir());
    command.env("MILLRACE_ADMIN_TOKEN", TOKEN);
    finish(command, url, args, input)
}

fn finish(mut command: Command, url: &str, args: &[&str], input: &str) -> Ran {
    command.args(args).env("MILLRACE_ADMIN_URL", url);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { exit: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// What every command finds out first: one organization, one project.
fn found(asked: &Asked) -> Option<Told> {
    let list = |row: Value| told(200, &json!({"data": [row], "next_cursor": null, "has_more": false}));
    let line = asked.line.as_str();
    if line.starts_with("GET /organizations?") {
        return Some(list(json!({"id": "org_00000000000000000001", "name": "default"})));
    }
    if line.starts_with("GET /organizations/org_00000000000000000001/projects?") {
        return Some(list(json!({"id": "prj_00000000000000000001", "slug": "support", "status": "PROD"})));
    }
    None
}

fn written(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("support.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn exit_status_tells_scripts_what_happened() {
    for (status, code, exit) in [
        (400, "bad_request", 1),
        (401, "not_authenticated", 4),
        (403, "not_permitted", 4),
        (404, "not_found", 1),
        (409, "illegal_transition", 5),
        (412, "stale_version", 5),
        (422, "invalid", 1),
        (503, "store_unavailable", 1),
    ] {
        let problem = json!({"status": status, "code": code, "detail": "do this", "request_id": "req_1"});
        let answer = problem.clone();
        let admin = Admin::start(move |_, _| told(status, &answer));
        let ran = run(&admin.url(), &["org", "list"], "");
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{status}: {}", ran.err);
        assert_eq!(ran.err, format!("millrace: do this\n  (status {status} {code}, request req_1)\n"));
        let ran = run(&admin.url(), &["org", "list", "--json"], "");
        assert_eq!((ran.exit, serde_json::from_str::<Value>(&ran.err).unwrap()), (exit, problem), "{status}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = run(&format!("http://{closed}"), &["org", "list"], "");
    assert_eq!(ran.exit, 3, "{}", ran.err);
    assert_eq!(run("nonsense", &["org", "list"], "").exit, 2);
    assert_eq!(run("http://127.0.0.1:1", &["org", "nonsense"], "").exit, 2);
    let folder = tempfile::tempdir().unwrap();
    let mut without_token = program(&std::env::temp_dir());
    without_token.env("XDG_CONFIG_HOME", folder.path());
    let ran = finish(without_token, "http://127.0.0.1:1", &["org", "list"], "");
    assert_eq!(ran.exit, 2);
    assert!(ran.err.contains("millrace login"), "{}", ran.err);
}

#[test]
fn list_is_a_table_for_people_and_whole_for_programs() {
    let admin = Admin::start(|asked, _| {
        if let Some(told) = found(asked).filter(|_| asked.line.starts_with("GET /organizations?")) {
            return told;
        }
        let (row, cursor) = if asked.line.contains("cursor=c1") { ("b", Value::Null) } else { ("a", json!("c1")) };
        let row = json!({"slug": row, "status": "DEV", "served_version": null, "config_state": "DRAFT"});
        told(200, &json!({"data": [row], "next_cursor": cursor, "has_more": !cursor.is_null()}))
    });
    let ran = run(&admin.url(), &["project", "list", "--status", "dev", "--query", "a&b"], "");
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("SLUG  STATUS  CONFIG  SERVED"), "{}", ran.out);
    assert_eq!((lines.len(), &lines[1][..1], &lines[2][..1]), (3, "a", "b"), "{}", ran.out);
    let asked = admin.asked();
    assert!(asked[1].line.contains("status=DEV&q=a%26b"), "{}", asked[1].line);
    assert_eq!(asked[1].header("authorization"), format!("Bearer {TOKEN}"));
    let ran = run(&admin.url(), &["project", "list", "--json"], "");
    let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((rows.len(), &rows[1]["slug"]), (2, &json!("b")));
}

/// A project that serves version 3, `a: 1`, and takes everything.
fn project(open: Option<(&'static str, &'static str)>) -> Admin {
    Admin::start(move |asked, _| {
        let line = asked.line.as_str();
        let rest = line.replace(PROJECT, "");
        match (found(asked), rest.as_str()) {
            (Some(told), _) => told,
            (_, "GET ") => told(200, &json!({"served_version": 3, "open_version": null, "generation": 7})),
            (_, "GET /config/versions/3") => yaml("a: 1\n"),
            (_, "GET /config/draft") => match open {
                Some((state, content)) => {
                    told(200, &json!({"version": 4, "state": state, "content": content})).with("etag: \"41\"")
                }
                None => told(404, &json!({"code": "not_found", "detail": "nothing is open"})),
            },
            (_, "POST /config/validate") => told(200, &json!({"problems": []})),
            (_, "PUT /config/draft") => told(200, &json!({"version": 5, "state": "DRAFT", "problems": []})),
            (_, path) if path.ends_with("/approve") => told(200, &json!({"version": 5, "state": "READY_TO_SERVE"})),
            (_, path) if path.ends_with("/serve") => {
                let workers = json!([{"id": 0, "generation": 8}, {"id": 1, "generation": 8}]);
                let version = if path.contains("/4/") { 4 } else { 5 };
                told(200, &json!({"version": version, "generation": 8, "workers": workers}))
            }
            (_, path) if path.starts_with("GET /config/diff?") => {
                told(200, &json!({"summary": {"routes": {"added": ["chat"]}}, "changes": []}))
            }
            (_, other) => panic!("unexpected {other}"),
        }
    })
}

#[test]
fn apply_makes_the_file_live_in_the_order_of_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder, "a: 2\n");
    let admin = project(None);
    let ran = run(&admin.url(), &["project", "apply", &file, "--serve", "--comment", "from main"], "");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    assert_eq!(
        admin.changes(),
        [
            format!("POST {PROJECT}/config/validate"),
            format!("PUT {PROJECT}/config/draft"),
            format!("POST {PROJECT}/config/versions/5/approve"),
            format!("POST {PROJECT}/config/versions/5/serve"),
        ]
    );
    let asked = admin.asked();
    let of = |part: &str| asked.iter().find(|asked| asked.line.contains(part)).unwrap();
    assert_eq!(of("PUT").header("if-none-match"), "*", "nothing was open");
    assert_eq!(of("PUT").json(), json!({"content": "a: 2\n", "comment": "from main"}));
    assert_eq!(of("/serve").json(), json!({"comment": "from main", "expected_generation": 7}));
    for shown in ["-a: 1\n+a: 2\n", "+ route chat\n", "version 5 is live as generation 8 on 2 worker(s)\n"] {
        assert!(ran.out.contains(shown), "{shown:?} in {}", ran.out);
    }
}

#[test]
fn apply_does_no_more_than_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |version: u32, approve: bool| {
        let path = format!("{PROJECT}/config/versions/{version}");
        let validate = format!("POST {PROJECT}/config/validate");
        let approve = approve.then(|| format!("POST {path}/approve"));
        [Some(validate), approve, Some(format!("POST {path}/serve"))].into_iter().flatten().collect::<Vec<_>>()
    };
    for (name, text, open, flags, exit, changes) in [
        ("served as it is", "a: 1\n", None, &["--serve"][..], 0, vec![]),
        ("dry run", "a: 2\n", None, &["--serve", "--dry-run"], 0, vec![format!("POST {PROJECT}/config/validate")]),
        ("draft is the file", "a: 2\n", Some(("DRAFT", "a: 2\n")), &["--serve"], 0, serve(4, true)),
        ("approved is the file", "a: 2\n", Some(("READY_TO_SERVE", "a: 2\n")), &["--serve"], 0, serve(4, false)),
        ("somebody's draft", "a: 2\n", Some(("DRAFT", "a: 9\n")), &["--serve"], 5, vec![]),
    ] {
        let admin = project(open);
        let file = written(&folder, text);
        let ran = run(&admin.url(), &[&["project", "apply", file.as_str()], flags].concat(), "");
        assert_eq!((ran.exit, admin.changes()), (exit, changes), "{name}: {}{}", ran.out, ran.err);
    }
    let admin = project(Some(("DRAFT", "a: 9\n")));
    let file = written(&folder, "a: 2\n");
    let ran = run(&admin.url(), &["project", "apply", &file, "--replace-draft", "--json"], "");
    let put = admin.asked().into_iter().find(|asked| asked.line.starts_with("PUT")).unwrap();
    assert_eq!((put.header("if-match"), put.header("content-type")), ("\"41\"", "application/yaml"));
    let result: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&result["changed"], &result["version"], &result["generation"]),
        (&json!(true), &json!(5), &Value::Null)
    );
}

#[test]
fn refused_configuration_points_into_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder, "a: 2\n");
    let problem = json!({"path": "a", "line": 1, "column": 4, "code": "wrong_type", "message": "must be a list",
        "hint": null, "severity": "error"});
    let admin =
        Admin::start(move |asked, _| found(asked).unwrap_or_else(|| told(200, &json!({ "problems": [problem] }))));
    let ran = run(&admin.url(), &["project", "validate", "support", &file], "");
    assert_eq!((ran.exit, ran.out), (1, format!("{file}:1:4: a: must be a list\n")), "{}", ran.err);
}

#[test]
fn secret_comes_from_a_pipe_and_is_never_shown() {
    let admin = Admin::start(|asked, _| {
        found(asked).unwrap_or_else(|| told(201, &json!({"id": "sec_00000000000000000001", "name": "K"})))
    });
    let args = ["secret", "create", "K", "--origin", "https://api.example", "--project", "support"];
    let ran = run(&admin.url(), &args, "sk-canary\n");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(!ran.out.contains("canary") && !ran.err.contains("canary"), "{}{}", ran.out, ran.err);
    let last = admin.asked().pop().unwrap();
    assert_eq!(last.line, format!("POST {PROJECT}/secrets"));
    let want = json!({"name": "K", "bound_origins": ["https://api.example"], "value": "sk-canary"});
    assert_eq!(last.json(), want);
    let ran = run(&admin.url(), &[&args[..], &["--value", "sk-canary"]].concat(), "");
    assert_eq!(ran.exit, 2, "no flag takes a value");
}

#[test]
fn rule_is_sent_to_its_place_in_the_form_of_its_type() {
    const KEY: &str = "key_00000000000000000001";
    const MEMBERS: &str = "GET /organizations/org_00000000000000000001/members?";
    let admin = Admin::start(|asked, _| {
        if asked.line.starts_with(MEMBERS) {
            let row = json!({"user_id": "usr_00000000000000000001", "email": "ann@example.com", "revision": 3});
            return told(200, &json!({"data": [row], "next_cursor": null, "has_more": false}));
        }
        if asked.line.starts_with("POST") && asked.line.ends_with("/explain") {
            let step = json!({"scope": "key", "step": "models", "rule_ids": ["rul_a", "rul_b"], "decided_by": ["rul_b"],
                "removed": ["small"]});
            return told(200, &json!({"allowed": false, "targets": [], "steps": [step]}));
        }
        found(asked).unwrap_or_else(|| told(201, &json!({"id": "rul_00000000000000000001"})))
    });
    let at = |place: &[&'static str], rest: &[&'static str]| {
        let mut args = vec!["rule", "add"];
        args.extend(rest);
        args.extend(place);
        run(&admin.url(), &args, "")
    };
    let organization = "/organizations/org_00000000000000000001";
    let key_place = format!("{PROJECT}/keys/{KEY}");
    for (place, rest, path, value) in [
        (&[][..], &["deny_providers", "custom:*"][..], organization, json!({"providers": ["custom:*"]})),
        (&["--project", "support"], &["allow_models", "a*", "b"], PROJECT, json!({"models": ["a*", "b"]})),
        (
            &["--project", "support", "--key", KEY],
            &["allow_pricing", "--max-input-price", "2.50", "--pricing-type", "paid"],
            &key_place,
            json!({"max_input_price": "2.50", "pricing_type": "paid"}),
        ),
        (
            &["--member", "ann@example.com"],
            &["allow_ip_cidrs", "10.0.0.0/8"],
            "/organizations/org_00000000000000000001/members/usr_00000000000000000001",
            json!({"cidrs": ["10.0.0.0/8"]}),
        ),
    ] {
        let ran = at(place, rest);
        assert_eq!((ran.exit, ran.out.as_str()), (0, "made rule rul_00000000000000000001\n"), "{}", ran.err);
        let asked = admin.asked().pop().unwrap();
        assert_eq!(asked.line, format!("POST {path}/rules"));
        let kind = rest.first().unwrap();
        assert_eq!(asked.json(), json!({"type": kind, "value": value, "status": "active"}));
    }
    let sent = admin.changes().len();
    for rest in [
        &["allow_models"][..],
        &["allow_models", "a", "--max-input-price", "1"],
        &["allow_pricing"],
        &["allow_pricing", "a"],
        &["allow_everything", "a"],
    ] {
        assert_eq!(at(&[], rest).exit, 2, "{rest:?}");
    }
    assert_eq!(admin.changes().len(), sent, "wrong usage sends nothing");

    let args = ["key", "explain", KEY, "--project", "support", "--route", "assistant", "--client-ip", "10.1.2.3"];
    let ran = run(&admin.url(), &args, "");
    assert!(ran.exit == 0 && ran.out.starts_with("refused\n") && ran.out.contains("rul_b"), "{}{}", ran.out, ran.err);
    let asked = admin.asked().pop().unwrap();
    assert_eq!(asked.json(), json!({"route": "assistant", "endpoint": "chat", "client_ip": "10.1.2.3"}));
}

#[test]
fn change_whose_answer_is_lost_is_sent_again_under_its_key() {
    let admin = Admin::start(|asked, before| match (found(asked), before) {
        (Some(told), _) => told,
        (_, 2) => told(0, &Value::Null),
        _ => told(201, &json!({"id": "key_00000000000000000001", "key": "mr_test_shown_once"})),
    });
    let ran = run(&admin.url(), &["key", "create", "--project", "support", "--description", "x"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert_eq!(ran.out.lines().next(), Some("mr_test_shown_once"));
    let asked = admin.asked();
    assert_eq!((asked.len(), &asked[2].body), (4, &asked[3].body));
    assert_eq!(asked[2].header("idempotency-key").len(), 24);
    assert_eq!(asked[2].header("idempotency-key"), asked[3].header("idempotency-key"));
}

#[test]
fn own_password_is_changed_and_the_new_session_ended() {
    let admin = Admin::start(|asked, _| match asked.line.as_str() {
        "POST /users/me/password" => {
            told(201, &json!({})).with("set-cookie: __Host-millrace_session=s2; Secure; Path=/")
        }
        _ => told(204, &Value::Null),
    });
    let ran = run(&admin.url(), &["account", "password"], "the old one\nthe new one that is long\n");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let asked = admin.asked();
    assert_eq!(asked[0].json(), json!({"current_password": "the old one", "password": "the new one that is long"}));
    assert_eq!(asked[0].header("idempotency-key"), "", "a password is kept in no answer");
    assert_eq!(
        (asked[1].line.as_str(), asked[1].header("cookie")),
        ("DELETE /sessions/current", "__Host-millrace_session=s2")
    );
    assert!(!ran.out.contains("the new one that is long"), "{}", ran.out);
}

#[test]
fn what_takes_something_away_needs_a_yes() {
    let admin = Admin::start(|asked, _| match (found(asked), asked.line.as_str()) {
        (Some(told), _) => told,
        _ => told(
            200,
            &json!({"data": [{"id": "sec_00000000000000000001", "name": "K", "user_id": "usr_00000000000000000001"}]}),
        ),
    });
    let key = "key_00000000000000000001";
    for args in [
        &["key", "delete", key, "--project", "support"][..],
        &["secret", "delete", "K", "--project", "support"],
        &["token", "delete", "tok_00000000000000000001"],
        &["member", "remove", "usr_00000000000000000001"],
        &["project", "archive", "support"],
        &["project", "unserve", "support"],
        &["account", "remove-second-factor"],
    ] {
        let changes = || admin.asked().iter().filter(|asked| !asked.line.starts_with("GET ")).count();
        let before = changes();
        let ran = run(&admin.url(), args, "y\n");
        assert_eq!((ran.exit, changes()), (2, before), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("say `--yes`"), "{args:?}: {}", ran.err);
        let ran = run(&admin.url(), &[args, &["--yes"]].concat(), "the password\n");
        assert_eq!((ran.exit, changes()), (0, before + 1), "{args:?}: {}", ran.err);
    }
}

#[test]
fn backup_copies_a_store_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let data: &Path = folder.path();
    let store = millrace::store::Store::open(&data.join("millrace.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let note = store.write(|tx| tx.put_note("said", Some(b"kept")));
    runtime.block_on(note).unwrap();
    let copy = data.join("copy.db");
    let args = ["backup", copy.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let ran = run("http://127.0.0.1:1", &args, "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run("http://127.0.0.1:1", &args, "");
    assert_eq!(again.exit, 1);
    assert!(again.err.contains("exists already"), "{}", again.err);
    let copied = millrace::store::Store::open(&copy).unwrap();
    let read = runtime.block_on(copied.read(|tx| tx.note("said"))).unwrap();
    assert_eq!(read.as_deref(), Some(&b"kept"[..]));
}

#[test]
fn limit_is_made_once_and_changed_from_then_on() {
    const KEY: &str = "key_00000000000000000001";
    let admin = Admin::start(|asked, _| {
        let row = json!({"id": "lim_00000000000000000001", "kind": "tokens", "window": "1 minute",
            "algorithm": "fixed_window"});
        match asked.line.as_str() {
            line if line.starts_with("GET") && line.contains("/limits") => {
                told(200, &json!({"data": [row], "next_cursor": null, "has_more": false})).with("etag: \"7\"")
            }
            line if line.ends_with("/keys") => told(201, &json!({"id": KEY, "key": "mr_live_x"})),
            _ => found(asked).unwrap_or_else(|| told(200, &row)),
        }
    });
    let limits = format!("{PROJECT}/limits");
    for (args, line, body) in [
        (
            &["tokens", "500", "--window", "1 minutes"][..],
            format!("PATCH {limits}/lim_00000000000000000001"),
            json!({"amount": 500, "mode": "enforce"}),
        ),
        (
            &["usd", "12.50", "--window", "1 month", "--algorithm", "calendar", "--shadow"],
            format!("POST {limits}"),
            json!({"kind": "usd", "amount": "12.50", "window": "1 month", "algorithm": "calendar", "mode": "shadow"}),
        ),
        (&["concurrent", "4"], format!("POST {limits}"), json!({"kind": "concurrent", "amount": 4, "mode": "enforce"})),
    ] {
        let ran = run(&admin.url(), &[&["limit", "set"], args, &["--project", "support"]].concat(), "");
        assert_eq!(ran.exit, 0, "{args:?}: {}", ran.err);
        let asked = admin.asked();
        let asked = asked.iter().rfind(|asked| !asked.line.starts_with("GET")).unwrap();
        assert_eq!((&asked.line, asked.json()), (&line, body), "{args:?}");
    }
    let create = ["key", "create", "--project", "support", "--description", "ci", "--usage-limit", "100"];
    let bounds = ["--period-limit", "5/12 hours", "--calendar", "--rpm", "60", "--tpm", "9", "--max-concurrent", "4"];
    let ran = run(&admin.url(), &[&create[..], &bounds].concat(), "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let period = json!({"amount": "5", "every": {"value": 12, "unit": "hour"}, "kind": "calendar"});
    let body = json!({"description": "ci", "usage_limit": "100", "period_limit": period, "requests_per_minute": 60,
        "tokens_per_minute": 9, "max_concurrent": 4});
    assert_eq!(admin.asked().last().unwrap().json(), body);
}
