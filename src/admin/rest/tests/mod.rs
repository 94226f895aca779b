//! The rules that all endpoints share, over a router.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::{Body as RawBody, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use utoipa::{IntoParams, ToSchema};

use super::gate::{Desk, guarded};
use super::{
    Access::{Needs, Open},
    ApiError, Body, Caller, Code, Created, Document, Endpoint, IfMatch, Known, Listed, Listing, NoContent,
    OptionalBody, PeerAddress, Plain, ProjectId, Query, RateLimits, Tagged, Time, Upload, VersionNumber, Visitor,
    Wanted, document,
};
use crate::base::{Id, RequestId, UnixTime};
use crate::control::{Actor, Answer, Authenticate, Capability, ControlError, KeepAnswers, Presented, Proof};
use crate::store::{Page, StoreError};

const PROJECT: &str = "prj_00000000000000000000";

/// `token-NAME` and `session-NAME` are NAME; everything else is nobody.
struct Names;

#[async_trait]
impl Authenticate for Names {
    async fn authenticate(&self, shown: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError> {
        let name = match shown {
            Proof::Bearer(token) => token.strip_prefix("token-"),
            Proof::Session(value) => value.strip_prefix("session-"),
        };
        let id = Id::stored(name.ok_or(ControlError::NotAuthenticated)?);
        Ok(Actor { id, address: presented.address.to_owned(), ..Actor::system() })
    }
}

#[derive(Default)]
struct Memory(Mutex<HashMap<(String, String), Answer>>);

#[async_trait]
impl KeepAnswers for Memory {
    async fn kept_answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, ControlError> {
        Ok(self.0.lock().unwrap().get(&(caller.to_owned(), key.to_owned())).cloned())
    }

    async fn keep_answer(&self, caller: &str, key: &str, answer: Answer) -> Result<(), ControlError> {
        self.0.lock().unwrap().insert((caller.to_owned(), key.to_owned()), answer);
        Ok(())
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewThing {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Comment {
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Thing {
    name: String,
    at: Time,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    #[param(max_length = 200, nullable = false)]
    q: Option<String>,
}

fn thing(name: impl Into<String>) -> Thing {
    Thing { name: name.into(), at: Time(UnixTime(std::time::Duration::from_millis(1))) }
}

static CREATED: AtomicU32 = AtomicU32::new(0);
static HELD: Notify = Notify::const_new();
static FINISHED: AtomicU32 = AtomicU32::new(0);

async fn create(
    State(()): State<()>,
    Caller(_): Caller,
    Body(body): Body<NewThing>,
) -> Result<Created<Thing>, ApiError> {
    let count = CREATED.fetch_add(1, Relaxed);
    if body.name == "held" {
        HELD.notified().await;
        FINISHED.fetch_add(1, Relaxed);
    }
    if body.name == "panics" {
        panic!("of a handler");
    }
    Ok(Created { body: thing(format!("{} {count}", body.name)), revision: 1, location: format!("/things/{PROJECT}") })
}

async fn list(
    State(()): State<()>,
    Caller(_): Caller,
    Query(filter): Query<Filter>,
    listing: Listing,
) -> Result<Listed<Thing>, ApiError> {
    let from: i64 = listing.page.after.as_ref().map_or(0, |(at, _)| at + 1);
    let rows: Vec<i64> = (from..5).take(listing.page.limit as usize).collect();
    let has_more = rows.last().is_some_and(|last| *last < 4);
    let q = filter.q.unwrap_or_default();
    Ok(Listed::new(
        &listing,
        Page { rows, has_more },
        |row| (*row, format!("id{row}")),
        |row| thing(format!("{q}{row}")),
    ))
}

async fn show(
    State(()): State<()>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    wanted: Wanted,
) -> Result<Document<Thing>, ApiError> {
    if project.as_str() != PROJECT {
        return Err(ControlError::NotFound.into());
    }
    if wanted == Wanted::Yaml {
        return Ok(Document::Yaml(Bytes::from_static(b"a: 1 # exact\n"), 7));
    }
    Ok(Document::Json(Tagged { body: thing(actor.address), revision: 7 }))
}

async fn delete(
    State(()): State<()>,
    Caller(_): Caller,
    ProjectId(_): ProjectId,
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    if revision != 7 {
        return Err(ControlError::Stale { current: 7 }.into());
    }
    Ok(NoContent)
}

async fn save(
    State(()): State<()>,
    Caller(_): Caller,
    ProjectId(_): ProjectId,
    known: Known,
    upload: Upload,
) -> Result<Plain<Thing>, ApiError> {
    Ok(Plain(thing(format!("{known:?} {} {}", upload.content.len(), upload.comment))))
}

async fn act(
    State(()): State<()>,
    Caller(_): Caller,
    (_, VersionNumber(version)): (ProjectId, VersionNumber),
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Plain<Thing>, ApiError> {
    Ok(Plain(thing(format!("{version}{}", body.comment))))
}

async fn enter(State(()): State<()>, visitor: Visitor) -> Result<Plain<Thing>, ApiError> {
    Ok(Plain(thing(visitor.address)))
}

async fn broken(State(()): State<()>, Caller(_): Caller) -> Result<NoContent, ApiError> {
    Err(ControlError::from(StoreError::Unavailable("the disk is full".to_owned())).into())
}

fn endpoints() -> Vec<Endpoint<()>> {
    let needs = Needs(Capability::Self_);
    vec![
        Endpoint::post("/things", needs, "Makes.", create),
        Endpoint::get("/things", needs, "Lists.", list),
        Endpoint::get("/things/{project}", needs, "Shows.", show),
        Endpoint::delete("/things/{project}", needs, "Deletes.", delete),
        Endpoint::put("/things/{project}", needs, "Saves.", save),
        Endpoint::post("/things/{project}/{version}/act", needs, "Acts.", act),
        Endpoint::post("/enter", Open, "Enters.", enter),
        Endpoint::get("/broken", needs, "Fails.", broken),
    ]
}

#[derive(Clone)]
struct Site(TowerToHyperService<axum::Router>);

struct Seen {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    fn new(limits: RateLimits) -> Self {
        let desk = Arc::new(Desk::new(Arc::new(Names), Arc::new(Memory::default()), limits).unwrap());
        Self(TowerToHyperService::new(guarded(&desk, endpoints()).with_state(())))
    }

    fn open() -> Self {
        Self::new(RateLimits { reads_per_minute: 100_000, writes_per_minute: 100_000 })
    }

    /// `lines` are the request line's method and target, then headers.
    async fn ask(&self, lines: &[&str], body: impl Into<RawBody>) -> Seen {
        let (method, target) = lines[0].split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(format!("/api/v1{target}"));
        for line in &lines[1..] {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(RequestId::made(5));
        request.extensions_mut().insert(PeerAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let response = self.0.call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Seen { status: head.status.as_u16(), headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

const TOKEN: &str = "authorization: Bearer token-a";
const JSON: &str = "content-type: application/json";

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
    assert_eq!(delete["operationId"], "tests_delete");
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
