//! A made-up API over the shared rules, and who asks it.

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
use serde_json::Value;
use tokio::sync::Notify;
use utoipa::{IntoParams, ToSchema};

use super::super::gate::{Desk, guarded};
use super::super::{
    Access::{Needs, Open},
    ApiError, Body, Caller, Created, Document, Endpoint, IfMatch, Known, Listed, Listing, NoContent, OptionalBody,
    PeerAddress, Plain, ProjectId, Query, RateLimits, Tagged, Time, Upload, VersionNumber, Visitor, Wanted,
};
use crate::base::{Id, RequestId, UnixTime};
use crate::control::{Actor, Answer, Authenticate, Capability, ControlError, KeepAnswers, Kept, Presented, Proof};
use crate::store::{Page, StoreError};

pub(super) const PROJECT: &str = "prj_00000000000000000000";

/// `token-NAME` and `session-NAME` are NAME; everything else is nobody.
pub(super) struct Names;

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
    async fn kept_answer(&self, caller: &str, key: &str, request_digest: &[u8; 32]) -> Result<Kept, ControlError> {
        Ok(match self.0.lock().unwrap().get(&(caller.to_owned(), key.to_owned())) {
            None => Kept::Nothing,
            Some(answer) if answer.request_digest != *request_digest => Kept::OfAnother,
            // What is never answered stands for a process that ended behind a change.
            Some(Answer { status: 0, .. }) => {
                Kept::Done { action: "thing.create".to_owned(), object: "thing_1".to_owned() }
            }
            Some(answer) => Kept::Answer(answer.clone()),
        })
    }

    async fn begin_answer(
        &self,
        caller: &str,
        key: &str,
        request_digest: [u8; 32],
        _: &str,
    ) -> Result<(), ControlError> {
        self.keep_answer(caller, key, Answer { request_digest, status: 0, body: Vec::new() }).await
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

pub(super) static CREATED: AtomicU32 = AtomicU32::new(0);
pub(super) static HELD: Notify = Notify::const_new();
pub(super) static FINISHED: AtomicU32 = AtomicU32::new(0);

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

pub(super) fn endpoints() -> Vec<Endpoint<()>> {
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
pub(super) struct Site(TowerToHyperService<axum::Router>);

pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    pub(super) fn new(limits: RateLimits) -> Self {
        let desk = Arc::new(Desk::new(Arc::new(Names), Arc::new(Memory::default()), limits).unwrap());
        Self(TowerToHyperService::new(guarded(&desk, endpoints()).with_state(())))
    }

    pub(super) fn open() -> Self {
        Self::new(RateLimits { reads_per_minute: 100_000, writes_per_minute: 100_000 })
    }

    /// `lines` are the request line's method and target, then headers.
    pub(super) async fn ask(&self, lines: &[&str], body: impl Into<RawBody>) -> Seen {
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

pub(super) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(super) const TOKEN: &str = "authorization: Bearer token-a";
pub(super) const JSON: &str = "content-type: application/json";
