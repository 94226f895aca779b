//! The rules that all endpoints share, over a router.

mod site;

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::{Code, RateLimits, document};
use site::{CREATED, FINISHED, HELD, JSON, PROJECT, Site, TOKEN, endpoints, run};

#[test]
fn refusals_have_their_status_and_code() {
    run(async {
        let site = Site::open();
        let act = format!("POST /things/{PROJECT}/3/act");
        let put = format!("PUT /things/{PROJECT}");
        let delete = format!("DELETE /things/{PROJECT}");
        let show = format!("GET /things/{PROJECT}");
        let none = "if-none-match: *";
        for (name, lines, body, status, code) in [
            ("nobody", &["GET /things"][..], "", 401, "not_authenticated"),
            ("unknown token", &["GET /things", "authorization: Bearer x"], "", 401, "not_authenticated"),
            ("other scheme", &["GET /things", "authorization: Basic token-a"], "", 401, "not_authenticated"),
            ("two tokens", &["GET /things", TOKEN, TOKEN], "", 401, "not_authenticated"),
            ("an API key", &["GET /things", "authorization: Bearer mr_live_1"], "", 401, "not_authenticated"),
            ("401 before 422", &["GET /things?x=1"], "", 401, "not_authenticated"),
            ("unknown parameter", &["GET /things?x=1", TOKEN], "", 422, "invalid"),
            ("parameter twice", &["GET /things?q=1&q=2", TOKEN], "", 422, "invalid"),
            ("parameter where none is", &[&format!("{show}?q=1"), TOKEN], "", 422, "invalid"),
            ("limit of 0", &["GET /things?limit=0", TOKEN], "", 422, "invalid"),
            ("limit of 101", &["GET /things?limit=101", TOKEN], "", 422, "invalid"),
            ("limit of x", &["GET /things?limit=x", TOKEN], "", 422, "invalid"),
            ("unknown order", &["GET /things?order=up", TOKEN], "", 422, "invalid"),
            ("made up cursor", &["GET /things?cursor=00", TOKEN], "", 422, "invalid"),
            ("no id", &["GET /things/prj_1", TOKEN], "", 404, "not_found"),
            ("another id", &["GET /things/prj_00000000000000000001", TOKEN], "", 404, "not_found"),
            ("path is not UTF-8", &["GET /things/%ff", TOKEN], "", 404, "not_found"),
            ("version 0", &[&act.replace("/3/", "/0/"), TOKEN], "", 404, "not_found"),
            ("version +3", &[&act.replace("/3/", "/+3/"), TOKEN], "", 404, "not_found"),
            ("version 03", &[&act.replace("/3/", "/03/"), TOKEN], "", 404, "not_found"),
            ("type not to be had", &["GET /things", TOKEN, "accept: text/html"], "", 406, "not_acceptable"),
            ("no type", &["POST /things", TOKEN], r#"{"name":"x"}"#, 415, "unsupported_media_type"),
            ("form", &["POST /things", TOKEN, "content-type: text/plain"], "{}", 415, "unsupported_media_type"),
            (
                "latin",
                &["POST /things", TOKEN, "content-type: application/json; charset=latin1"],
                "{}",
                415,
                "unsupported_media_type",
            ),
            ("gzip", &["POST /things", TOKEN, JSON, "content-encoding: gzip"], "{}", 415, "unsupported_media_type"),
            ("not JSON", &["POST /things", TOKEN, JSON], "{", 400, "malformed_json"),
            ("missing field", &["POST /things", TOKEN, JSON], "{}", 422, "invalid"),
            ("server's field", &["POST /things", TOKEN, JSON], r#"{"name":"x","id":"y"}"#, 422, "invalid"),
            ("no If-Match", &[&delete, TOKEN], "", 428, "if_match_required"),
            ("stale", &[&delete, TOKEN, "if-match: \"6\""], "", 412, "stale_version"),
            ("foreign tag", &[&delete, TOKEN, "if-match: \"x\""], "", 412, "stale_version"),
            ("weak tag", &[&delete, TOKEN, "if-match: W/\"7\""], "", 412, "stale_version"),
            ("any tag", &[&delete, TOKEN, "if-match: *"], "", 412, "stale_version"),
            ("two tags", &[&delete, TOKEN, "if-match: \"7\"", "if-match: \"7\""], "", 400, "bad_request"),
            ("nothing known", &[&put, TOKEN, "content-type: application/yaml"], "a: 1", 428, "if_match_required"),
            ("both known", &[&put, TOKEN, none, "if-match: \"7\""], "a: 1", 400, "bad_request"),
            ("bad key", &["POST /things", TOKEN, JSON, "idempotency-key: a b"], "{}", 400, "bad_request"),
            ("store is down", &["GET /broken", TOKEN], "", 503, "store_unavailable"),
        ] {
            let seen = site.ask(lines, body).await;
            assert_eq!((seen.status, seen.code().as_str()), (status, code), "{name}: {}", seen.text);
            assert_eq!(seen.header("content-type"), "application/problem+json", "{name}");
            assert_eq!(seen.json()["request_id"], "req_00000000000000000000000000000005", "{name}");
            assert_eq!(seen.json()["status"], status, "{name}");
        }
    });
}

#[test]
fn answers_have_their_headers() {
    run(async {
        let site = Site::open();
        let made = site.ask(&["POST /things", TOKEN, JSON], r#"{"name":"x"}"#).await;
        assert_eq!((made.status, made.header("etag")), (201, "\"1\""));
        assert_eq!(made.header("location"), format!("/api/v1/things/{PROJECT}"));
        let shown = site.ask(&[&format!("GET /things/{PROJECT}"), TOKEN], "").await;
        assert_eq!((shown.status, shown.header("etag")), (200, "\"7\""));
        assert_eq!(shown.json(), json!({"name": "127.0.0.1", "at": "1970-01-01T00:00:00.001Z"}));
        let exact = site.ask(&[&format!("GET /things/{PROJECT}"), TOKEN, "accept: application/yaml"], "").await;
        assert_eq!((exact.header("content-type"), exact.text.as_str()), ("application/yaml", "a: 1 # exact\n"));
        let stale = site.ask(&[&format!("DELETE /things/{PROJECT}"), TOKEN, "if-match: \"6\""], "").await;
        assert_eq!(stale.header("etag"), "\"7\"", "412 tells the present one");
        let gone = site.ask(&[&format!("DELETE /things/{PROJECT}"), TOKEN, "if-match: \"7\""], "").await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        let nobody = site.ask(&["GET /things"], "").await;
        assert_eq!(nobody.header("www-authenticate"), "Bearer");
        let without_body = site.ask(&[&format!("POST /things/{PROJECT}/3/act"), TOKEN], "").await;
        assert_eq!(without_body.json()["name"], "3");
        let open = site.ask(&["POST /enter"], "").await;
        assert_eq!(open.json()["name"], "127.0.0.1");
    });
}

#[test]
fn configuration_has_one_mebibyte_as_yaml_or_json() {
    run(async {
        let site = Site::open();
        let put = format!("PUT /things/{PROJECT}");
        let yaml = [put.as_str(), TOKEN, "if-none-match: *", "content-type: application/yaml"];
        let json = [put.as_str(), TOKEN, "if-none-match: *", JSON];
        let most = 1 << 20;
        let quoted = |count| format!(r#"{{"content":"{}","comment":"c"}}"#, "\\n".repeat(count));
        for (name, lines, body, status) in [
            ("most YAML", &yaml, "a".repeat(most), 200),
            ("YAML and one more", &yaml, "a".repeat(most + 1), 413),
            ("most JSON", &json, quoted(most), 200),
            ("JSON and one more", &json, quoted(most + 1), 413),
            ("beyond every bound", &yaml, "a".repeat(3 * most), 413),
        ] {
            let seen = site.ask(lines, body).await;
            assert_eq!(seen.status, status, "{name}: {}", seen.text);
            if status == 413 {
                assert_eq!(seen.code(), "too_large", "{name}");
            }
        }
        let seen = site.ask(&json, quoted(3)).await;
        assert_eq!(seen.json()["name"], "Absent 3 c");
    });
}

#[test]
fn browser_session_changes_only_from_our_own_page() {
    run(async {
        let site = Site::open();
        let act = format!("POST /things/{PROJECT}/3/act");
        let (cookie, host) = ("cookie: x=1; __Host-millrace_session=session-a", "host: localhost:9001");
        let (own, header) = ("origin: http://localhost:9001", "x-millrace-request: dashboard");
        for (name, lines, status) in [
            ("own page", &[act.as_str(), host, cookie, own, header][..], 200),
            ("own page over TLS", &[&act, host, cookie, "origin: https://localhost:9001", header], 200),
            ("no origin", &[&act, host, cookie, header], 403),
            ("no header", &[&act, host, cookie, own], 403),
            ("foreign page", &[&act, host, cookie, "origin: http://evil.example", header], 403),
            ("sandboxed page", &[&act, host, cookie, "origin: null", header], 403),
            ("other port", &[&act, host, cookie, "origin: http://localhost:9000", header], 403),
            ("reading", &["GET /things", host, cookie], 200),
            ("token", &[&act, host, TOKEN], 200),
            ("log in from a foreign page", &["POST /enter", host, "origin: http://evil.example"], 403),
            ("log in from our page", &["POST /enter", host, own], 200),
            ("two cookies", &["GET /things", host, cookie, "cookie: __Host-millrace_session=session-b"], 401),
        ] {
            let seen = site.ask(lines, "").await;
            assert_eq!(seen.status, status, "{name}: {}", seen.text);
            if status == 403 {
                assert_eq!(seen.code(), "origin_refused", "{name}");
            }
        }
    });
}

#[test]
fn pages_follow_their_cursor_which_holds_for_one_list_and_caller() {
    run(async {
        let site = Site::open();
        let mut names = Vec::new();
        let mut target = "GET /things?limit=2&q=n".to_owned();
        loop {
            let page = site.ask(&[&target, TOKEN], "").await.json();
            names.extend(page["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(page["has_more"], false);
                break;
            };
            target = format!("GET /things?limit=2&q=n&cursor={cursor}");
        }
        assert_eq!(names, ["n0", "n1", "n2", "n3", "n4"]);
        let cursor = target.split("cursor=").nth(1).unwrap();
        let changed = cursor.replacen('3', "4", 1);
        for (name, target, token, status) in [
            ("other length", format!("GET /things?limit=3&q=n&cursor={cursor}"), TOKEN, 200),
            ("other filter", format!("GET /things?limit=2&q=m&cursor={cursor}"), TOKEN, 422),
            ("other order", format!("GET /things?limit=2&q=n&order=asc&cursor={cursor}"), TOKEN, 422),
            ("other caller", target.clone(), "authorization: Bearer token-b", 422),
            ("changed", format!("GET /things?limit=2&q=n&cursor={changed}"), TOKEN, 422),
            ("not hex", "GET /things?limit=2&q=n&cursor=zz".to_owned(), TOKEN, 422),
        ] {
            let seen = site.ask(&[&target, token], "").await;
            assert_eq!(seen.status, status, "{name}: {}", seen.text);
        }
    });
}

#[test]
fn repeated_post_gets_the_first_answer() {
    run(async {
        let site = Site::open();
        let key = "idempotency-key: one";
        let first = site.ask(&["POST /things", TOKEN, JSON, key], r#"{"name":"once"}"#).await;
        let again = site.ask(&["POST /things", TOKEN, JSON, key], r#"{"name":"once"}"#).await;
        assert_eq!((first.status, &first.text), (again.status, &again.text));
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        let other_body = site.ask(&["POST /things", TOKEN, JSON, key], r#"{"name":"twice"}"#).await;
        assert_eq!((other_body.status, other_body.code().as_str()), (422, "invalid"));
        let token_b = "authorization: Bearer token-b";
        let other_caller = site.ask(&["POST /things", token_b, JSON, key], r#"{"name":"once"}"#).await;
        assert_ne!(other_caller.text, first.text);
        // A refusal of the handler's argument is an answer, too.
        let key = "idempotency-key: two";
        let refused = site.ask(&["POST /things", TOKEN, JSON, key], "{}").await;
        let again = site.ask(&["POST /things", TOKEN, JSON, key], "{}").await;
        assert_eq!((refused.status, again.status, &refused.text), (422, 422, &again.text));
        assert_eq!(again.header("content-type"), "application/problem+json");
    });
}

#[test]
fn change_whose_answer_is_lost_is_not_made_again() {
    run(async {
        let site = Site::open();
        let lines = ["POST /things", TOKEN, JSON, "idempotency-key: lost"];
        let lost = site.ask(&lines, r#"{"name":"panics"}"#).await;
        assert_eq!(lost.status, 500);
        let again = site.ask(&lines, r#"{"name":"panics"}"#).await;
        assert_eq!((again.status, again.code().as_str()), (409, "idempotency_running"));
        assert!(again.text.contains("`thing.create` of `thing_1`"), "{}", again.text);
    });
}

#[test]
fn change_runs_to_its_end_although_its_caller_has_left() {
    run(async {
        let site = Site::open();
        let key = "idempotency-key: held";
        let lines = ["POST /things", TOKEN, JSON, key];
        let before = CREATED.load(Relaxed);
        let leaves = site.ask(&lines, r#"{"name":"held"}"#);
        let started = async {
            while CREATED.load(Relaxed) == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = leaves => panic!("answered too early"),
            () = started => {}
        }
        let running = site.ask(&lines, r#"{"name":"held"}"#).await;
        assert_eq!((running.status, running.code().as_str()), (409, "idempotency_running"));
        HELD.notify_one();
        while FINISHED.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let mut replay = site.ask(&lines, r#"{"name":"held"}"#).await;
        while replay.status == 409 {
            replay = site.ask(&lines, r#"{"name":"held"}"#).await;
        }
        assert_eq!((replay.status, replay.header("idempotency-replayed")), (201, "true"));
    });
}

#[test]
fn panic_of_a_handler_is_one_failed_request() {
    run(async {
        let site = Site::open();
        let seen = site.ask(&["POST /things", TOKEN, JSON], r#"{"name":"panics"}"#).await;
        assert_eq!((seen.status, seen.code().as_str()), (500, "internal_error"));
        assert_eq!(site.ask(&["GET /things", TOKEN], "").await.status, 200);
    });
}

#[test]
fn caller_that_asks_too_often_is_told_to_wait() {
    run(async {
        let site = Site::new(RateLimits { reads_per_minute: 2, writes_per_minute: 1 });
        let statuses =
            [site.ask(&["GET /things", TOKEN], "").await.status, site.ask(&["GET /things", TOKEN], "").await.status];
        assert_eq!(statuses, [200, 200]);
        let seen = site.ask(&["GET /things", TOKEN], "").await;
        assert_eq!((seen.status, seen.code().as_str()), (429, "rate_limited"));
        assert!(
            (1..=31).contains(&seen.header("retry-after").parse::<u32>().unwrap()),
            "{}",
            seen.header("retry-after")
        );
        assert_eq!(site.ask(&["GET /things", "authorization: Bearer token-b"], "").await.status, 200);
    });
}

#[test]
fn document_tells_what_the_signatures_say() {
    let document: Value = serde_json::from_str(&document(endpoints())).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let delete = &document["paths"]["/things/{project}"]["delete"];
    assert_eq!(delete["operationId"], "site_delete");
    let names: Vec<_> = delete["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["project", "If-Match"]);
    for status in ["204", "400", "401", "403", "404", "406", "412", "421", "422", "428", "429", "500", "503"] {
        assert!(delete["responses"][status].is_object(), "{status}");
    }
    assert_eq!(delete["security"], json!([{"admin_token": []}, {"session": []}]));
    let enter = &document["paths"]["/enter"]["post"];
    assert!(enter["security"].is_null() && enter["responses"]["401"].is_null());
    let list = &document["paths"]["/things"]["get"];
    let names: Vec<_> = list["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["q", "limit", "cursor", "order"]);
    let save = &document["paths"]["/things/{project}"]["put"]["requestBody"]["content"];
    assert!(save["application/yaml"].is_object() && save["application/json"].is_object());
    let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    assert_eq!(codes.len(), Code::ALL.len());
    for schema in ["Thing", "NewThing", "Comment", "Time", "ProblemItem", "ConfigUpload"] {
        assert!(document["components"]["schemas"][schema].is_object(), "{schema}");
    }
}
