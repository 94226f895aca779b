//! The roles matrix over every endpoint, own and foreign.
//!
//! What is expected comes from the table of endpoints and the letters of the matrix alone, so that a handler that asks for
//! another capability, or for none, or asks too late, is found.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use self::placed::{key, limit, people, place, request, rule, token};
use super::endpoints;
use crate::admin::rest::{Access, Api, Method, RateLimits, routes};
use crate::base::{Caller, Id, IdKind, RequestId, Secret, UnixTime, unix_time};
use crate::control::tests::{GOOD, Rig, actor, organization_row, person};
use crate::control::{
    Actor, Authenticate, Channel, ControlError, NewAlert, NewKey, NewLimit, NewPlatformCredential, NewProviderKey,
    NewRule, NewSecret, PolicySite, Presented, Proof,
};
use crate::iam::RuleType;
use crate::store::{
    AdminToken, AlertCondition, AlertEvent, ChannelKind, Dimension, EgressRule, Invitation, InvitationStatus,
    LimitKind, LimitMode, OrganizationRole, Owner, ProjectGrant, ProjectRole, RuleStatus, Tx,
};
use crate::usage::{Payload, PayloadLimits, PayloadRoom, Record};

mod placed;

/// In the order of the matrix.
const ROLES: [&str; 8] =
    ["instance_admin", "owner", "admin", "auditor", "project_admin", "editor", "developer", "viewer"];

/// Bodies with which an endpoint gets as far as its permission, by method and end of the path; all others take `{}`.
const BODIES: &[(Method, &str, &str)] = &[
    (Method::Post, "/organizations", r#"{"name":"New"}"#),
    (Method::Post, "/invitations", r#"{"email":"new@example.com","role":"member"}"#),
    (Method::Post, "/admin-tokens", r#"{"description":"ci","role":"member"}"#),
    (Method::Post, "/projects", r#"{"name":"New"}"#),
    (Method::Post, "/projects/import", DOCUMENT),
    (Method::Put, "/config/draft", r#"{"content":"a: 1"}"#),
    (Method::Post, "/config/validate", r#"{"content":"a: 1"}"#),
    (Method::Post, "/keys", r#"{"description":"ci"}"#),
    (
        Method::Post,
        "/secrets",
        r#"{"name":"OTHER","value":"0123456789abcdef","bound_origins":["https://api.openai.com"]}"#,
    ),
    (Method::Post, "/provider-keys", r#"{"provider":"openai","label":"ci","value":"0123456789abcdef"}"#),
    (Method::Post, "/password", r#"{"current_password":"wrong","password":"correct horse battery"}"#),
    (Method::Post, "/second-factor", r#"{"current_password":"wrong"}"#),
    (Method::Post, "/second-factor/confirm", r#"{"code":"123456"}"#),
    (Method::Post, "/second-factor/remove", r#"{"current_password":"wrong"}"#),
    (Method::Post, "/alerts", r#"{"name":"New","event":"serve","channels":[{"type":"dashboard"}]}"#),
    (Method::Post, "/egress-rules", r#"{"network":"10.0.0.0/8","ports":"443"}"#),
    (Method::Put, "/value", r#"{"value":"0123456789abcdef"}"#),
    (Method::Post, "/limits", r#"{"kind":"requests","amount":1000,"window":"1 day"}"#),
    (Method::Put, "/platform-credentials", r#"{"provider":"groq","value":"0123456789abcdef"}"#),
    (Method::Post, "/credits/topup", r#"{"amount":"1"}"#),
    (Method::Post, "/credits/adjust", r#"{"amount":"1","comment":"gift"}"#),
    (Method::Put, "/organizations/{organization}/prices", r#"{"prices":[]}"#),
    (Method::Put, "/credits/fee", r#"{"fee_percent":"5"}"#),
    (Method::Post, "/usage/reprice", r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}"#),
    (Method::Post, "/rules", r#"{"type":"deny_models","value":{"models":["x"]}}"#),
    (Method::Post, "/explain", r#"{"route":"chat"}"#),
];

const DOCUMENT: &str = r#"{"form":"millrace-project/1","name":"Imported","slug":"imported","description":"",
    "environment":"production","tags":{},"mode":"hybrid","caching_enabled":null,"cache_duration_seconds":60,"config":"a: 1"}"#;

/// A stored request of the developer.
const REQUEST: &str = "req-1";

/// Own memberships, whatever the organization's role: for members only.
const OF_MEMBERS: &[&str] =
    &["/organizations/{organization}/members/me", "/organizations/{organization}/prices", "/users/me"];
/// With a token there is no session to end.
const NEEDS_SESSION: &[&str] = &["/sessions/current"];

struct Names(HashMap<&'static str, Actor>);

#[async_trait]
impl Authenticate for Names {
    async fn authenticate(&self, proof: Proof<'_>, _: Presented<'_>) -> Result<Actor, ControlError> {
        match proof {
            Proof::Bearer(name) => self.0.get(name).cloned().ok_or(ControlError::NotAuthenticated),
            Proof::Session(_) => Err(ControlError::NotAuthenticated),
        }
    }
}

/// Two organizations, each with a project, a member, an invitation; eight people of the first.
struct World {
    rig: Rig,
    people: HashMap<&'static str, Actor>,
    /// What stands for `{name}` in a path: of the first organization, then of the second.
    places: [HashMap<&'static str, String>; 2],
    /// A token and a key of each person, and a rule and a limit at that key.
    own: HashMap<&'static str, [String; 4]>,
    service: TowerToHyperService<axum::Router>,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let project = rig.project_id("chat").await;
        rig.serve(&project, GOOD).await;
        rig.save(&project, GOOD).await;
        let foreign = Id::random(IdKind::Organization).unwrap();
        let row = organization_row(&foreign, "foreign");
        rig.control.store().write(move |tx| tx.insert_organization(&row)).await.unwrap();
        let stranger = actor(&foreign, OrganizationRole::Owner, Vec::new());
        let new = crate::control::NewProject { name: "other".to_owned(), ..Default::default() };
        let other = rig.control.create_project(&stranger, &foreign, new).await.unwrap().project.id;

        let people = people(&rig, &project).await;
        request(&rig, &project, &people["developer"].author).await;
        let member = person(&rig, OrganizationRole::Member, Vec::new()).await;
        let mut own = HashMap::new();
        for (name, person) in &people {
            // Who may make no key looks at one of the owner.
            let maker = if *name == "developer" { person } else { &rig.owner };
            let key = key(&rig, maker, &project).await;
            let at_key = PolicySite::Key { project: project.clone(), key: Id::stored(&key) };
            let rule = rule(&rig, &rig.owner, at_key).await;
            let at_key = PolicySite::Key { project: project.clone(), key: Id::stored(&key) };
            let limit = limit(&rig, &rig.owner, at_key).await;
            own.insert(*name, [token(&rig, &rig.organization, &person.author).await, key, rule, limit]);
        }
        let places = [
            place(&rig, &rig.owner, (&rig.organization, &project), &member.id).await,
            place(&rig, &stranger, (&foreign, &other), &stranger.id).await,
        ];
        let limits = RateLimits { reads_per_minute: 1_000_000, writes_per_minute: 1_000_000 };
        let authority = Arc::new(Names(people.clone()));
        let api = Arc::new(Api::new(Arc::clone(&rig.control), authority, limits).unwrap());
        let service = TowerToHyperService::new(routes(&api, endpoints()));
        Self { rig, people, places, own, service }
    }

    /// Status and code of an answer.
    async fn ask(&self, endpoint: &crate::admin::rest::Endpoint, role: &'static str, place: usize) -> (u16, String) {
        let mut path = endpoint.path.to_owned();
        if place == 0 {
            let [token, key, rule, limit] = &self.own[role];
            path = path.replace("/keys/{key}/limits/{limit}", &format!("/keys/{key}/limits/{limit}"));
            path = path.replace("/keys/{key}/rules/{rule}", &format!("/keys/{key}/rules/{rule}"));
            path = path.replace("{token}", token).replace("{key}", key);
        }
        for (root, name) in [
            ("/keys/{key}", "key_rule"),
            ("/members/{user}", "member_rule"),
            ("/organizations/{organization}", "organization_rule"),
            ("/projects/{project}", "project_rule"),
        ] {
            path = path.replace(&format!("{root}/rules/{{rule}}"), &format!("{root}/rules/{{{name}}}"));
            let of_limit = name.replace("rule", "limit");
            path = path.replace(&format!("{root}/limits/{{limit}}"), &format!("{root}/limits/{{{of_limit}}}"));
        }
        if path.starts_with("/organizations") {
            path = path.replace("{secret}", "{organization_secret}");
            path = path.replace("{provider_key}", "{organization_provider_key}");
        }
        if path.starts_with("/instance") {
            path = path.replace("{provider_key}", "{platform_credential}");
        }
        for (name, id) in &self.places[place] {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        let confirm = if path_takes_confirm(endpoint) { "?confirm=x" } else { "" };
        let mut request = Request::builder()
            .method(endpoint.method.as_str())
            .uri(format!("/api/v1{path}{confirm}"))
            .header("authorization", format!("Bearer {role}"));
        if endpoint.takes_revision() {
            request = request.header("if-match", "\"999999\"");
        }
        if endpoint.path.contains("/credits/") || endpoint.path.ends_with("/reprice") {
            request = request.header("idempotency-key", format!("matrix-{place}"));
        }
        let fits =
            |(method, end, _): &&(Method, &str, &str)| *method == endpoint.method && endpoint.path.ends_with(end);
        let body = BODIES.iter().find(fits).map_or("{}", |(_, _, body)| *body);
        let takes_body = !matches!(endpoint.method, Method::Get | Method::Delete);
        let request = if takes_body {
            request.header("content-type", "application/json").body(Body::from(body))
        } else {
            request.body(Body::empty())
        };
        let answer = self.service.call(request.unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        // What is followed has no end.
        let body = if endpoint.path.ends_with("/tail") && head.status == 200 { Body::empty() } else { body };
        let text = to_bytes(body, usize::MAX).await.unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        (head.status.as_u16(), json["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn path_takes_confirm(endpoint: &crate::admin::rest::Endpoint) -> bool {
    endpoint.method == Method::Delete
        && matches!(endpoint.path, "/organizations/{organization}" | "/projects/{project}")
}

/// What the answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// It gets past the permission.
    Allowed,
    /// 403 `not_permitted`.
    Forbidden,
    /// 404, as if there were nothing.
    Unseen,
}

fn want(endpoint: &crate::admin::rest::Endpoint, role: usize, place: usize) -> Want {
    let Access::Needs(capability) = endpoint.access else { panic!("open") };
    if NEEDS_SESSION.contains(&endpoint.path) {
        return Want::Unseen;
    }
    let (is_instance_admin, is_foreign) = (role == 0, place == 1);
    if OF_MEMBERS.contains(&endpoint.path) && endpoint.method == Method::Get {
        return if is_instance_admin || is_foreign { Want::Unseen } else { Want::Allowed };
    }
    let in_project = ["{project}", "{alert}"].iter().any(|scope| endpoint.path.contains(scope));
    // What the instance administrator may do in a project is about the platform's money, whoever has the project.
    let is_hidden = in_project && capability.cells()[0] != b'Y';
    if is_foreign && (!is_instance_admin || is_hidden || endpoint.path.contains("{token}")) {
        return Want::Unseen;
    }
    match capability.cells()[role] {
        b'Y' | b'G' | b'O' => Want::Allowed,
        _ if is_instance_admin && in_project => Want::Unseen,
        _ => Want::Forbidden,
    }
}

#[tokio::test]
async fn every_endpoint_allows_what_the_matrix_says_and_nothing_else() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for endpoint in endpoints() {
        if endpoint.access == Access::Open {
            continue;
        }
        let world = World::new().await;
        let is_scoped =
            ["{organization}", "{project}", "{token}", "{alert}"].iter().any(|scope| endpoint.path.contains(scope));
        for place in 0..=usize::from(is_scoped) {
            for (index, role) in ROLES.into_iter().enumerate() {
                asked += 1;
                let (status, code) = world.ask(&endpoint, role, place).await;
                let refused = matches!(code.as_str(), "not_authenticated" | "not_permitted" | "not_found");
                let fits = match want(&endpoint, index, place) {
                    Want::Allowed => !refused && status < 500,
                    Want::Forbidden => status == 403 && code == "not_permitted",
                    Want::Unseen => status == 404 && code == "not_found",
                };
                if !fits {
                    let (method, path) = (endpoint.method.as_str(), endpoint.path);
                    let want = want(&endpoint, index, place);
                    wrong.push(format!(
                        "{method} {path} {role} {}: {want:?}, not {status} {code}",
                        ["own", "foreign"][place]
                    ));
                }
            }
        }
        drop(world.people);
        drop(world.rig);
    }
    assert!(wrong.is_empty(), "{} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 300, "{asked}");
}

#[tokio::test]
async fn nobody_enters_without_proof() {
    let world = World::new().await;
    for endpoint in endpoints() {
        if endpoint.access == Access::Open {
            continue;
        }
        let path = endpoint.path.to_owned();
        let request = Request::builder().method(endpoint.method.as_str()).uri(format!("/api/v1{path}"));
        let answer = world.service.call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), 401, "{} {}", endpoint.method.as_str(), endpoint.path);
    }
}
