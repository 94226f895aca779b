//! Each endpoint by each role, in the own and in a foreign tenant.
//!
//! Made from the list of endpoints and the roles matrix: a new endpoint is tested without a word here. Left out are those
//! whose path or body needs an example that is not here: [`has_example`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::endpoints;
use crate::admin::rest::{Access, Api, Endpoint, Method, PeerAddress, RateLimits, routes};
use crate::base::{Id, IdKind, RequestId};
use crate::control::tests::{GOOD, Rig, actor, member};
use crate::control::{Actor, Authenticate, Capability, ControlError, Presented, Proof};
use crate::store::{OrganizationRole, ProjectRole};

/// Roles in the order of the matrix, and somebody without any.
const ROLES: [&str; 9] =
    ["instance_admin", "owner", "admin", "auditor", "project_admin", "editor", "developer", "viewer", "stranger"];
const STRANGER: usize = 8;

/// Whoever the test says it is.
struct Somebody(Mutex<Actor>);

#[async_trait]
impl Authenticate for Somebody {
    async fn authenticate(&self, _: Proof<'_>, _: Presented<'_>) -> Result<Actor, ControlError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// The API over a store with one project that is served and has an open draft.
struct Site {
    rig: Rig,
    project: Id,
    somebody: Arc<Somebody>,
    service: TowerToHyperService<axum::Router>,
}

impl Site {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let project = rig.project_id("support").await;
        rig.serve(&project, GOOD).await;
        rig.save(&project, GOOD).await;
        let somebody = Arc::new(Somebody(Mutex::new(Actor::system())));
        let limits = RateLimits { reads_per_minute: 100_000, writes_per_minute: 100_000 };
        let api = Api::new(Arc::clone(&rig.control), Arc::<Somebody>::clone(&somebody), limits).unwrap();
        let service = TowerToHyperService::new(routes(&Arc::new(api), endpoints()));
        Self { rig, project, somebody, service }
    }

    /// Somebody with this role, in the organization and project that are given.
    fn actor(role: usize, organization: &Id, project: &Id) -> Actor {
        let in_project = |role| member(organization, project, role);
        let in_organization = |role| actor(organization, role, Vec::new());
        match role {
            0 => Actor { instance_admin: true, memberships: Vec::new(), ..Actor::system() },
            1 => in_organization(OrganizationRole::Owner),
            2 => in_organization(OrganizationRole::Admin),
            3 => in_organization(OrganizationRole::Auditor),
            4 => in_project(ProjectRole::ProjectAdmin),
            5 => in_project(ProjectRole::Editor),
            6 => in_project(ProjectRole::Developer),
            7 => in_project(ProjectRole::Viewer),
            _ => Actor { instance_admin: false, memberships: Vec::new(), ..Actor::system() },
        }
    }

    async fn ask(&self, endpoint: &Endpoint, asks: Actor, project: &Id) -> (u16, Value) {
        *self.somebody.0.lock().unwrap() = asks;
        let mut target = format!("/api/v1{}", endpoint.path);
        for name in endpoint.path_parameters() {
            let example = match name.as_str() {
                "organization" => self.rig.organization.as_str(),
                "project" => project.as_str(),
                "version" => "2",
                "route" => "chat",
                other => panic!("{}: the matrix has no example of `{other}`", endpoint.path),
            };
            target = target.replace(&format!("{{{name}}}"), example);
        }
        let mut request = Request::builder().method(endpoint.method.as_str()).uri(target);
        request = request.header("authorization", "Bearer x");
        if endpoint.takes_revision() {
            request = request.header("if-match", "\"999999\"");
        }
        let (kind, body) = example_of_body(endpoint);
        let mut request = request.header("content-type", kind).body(Body::from(body)).unwrap();
        request.extensions_mut().insert(RequestId::made(1));
        request.extensions_mut().insert(PeerAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let response = self.service.call(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

/// Whether an example of everything in the path and of the body is known here.
fn has_example(endpoint: &Endpoint) -> bool {
    let known = ["organization", "project", "version", "route"];
    let with_body = ["projects_create", "projects_change", "config_save", "config_validate"];
    endpoint.path_parameters().iter().all(|name| known.contains(&name.as_str()))
        && (!endpoint.needs_body() || with_body.contains(&endpoint.name.as_str()))
}

/// A body that passes the checks before the permission is asked.
fn example_of_body(endpoint: &Endpoint) -> (&'static str, &'static str) {
    match endpoint.name.as_str() {
        "projects_create" => ("application/json", r#"{"name": "another"}"#),
        "config_save" | "config_validate" => ("application/yaml", GOOD),
        name if endpoint.needs_body() && endpoint.method != Method::Patch => {
            panic!("the matrix has no example of a body for {name}")
        }
        _ => ("application/json", "{}"),
    }
}

/// What the matrix says about a role: allowed, or the status that refuses.
fn expected(capability: Capability, endpoint: &Endpoint, role: usize) -> Result<(), u16> {
    let of_organization = endpoint.path.contains("{organization}");
    let has_scope = of_organization || endpoint.path.contains("{project}");
    if role == STRANGER {
        let own = capability == Capability::Self_ && !has_scope;
        return if own { Ok(()) } else { Err(if has_scope { 404 } else { 403 }) };
    }
    if capability.cells()[role] != b'-' {
        return Ok(());
    }
    // Who runs the machine sees organizations, but no project.
    Err(if role == 0 && has_scope && !of_organization { 404 } else { 403 })
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn every_role_may_do_what_the_matrix_says_and_no_more() {
    run(async {
        let mut wrong = Vec::new();
        let mut count = 0;
        for endpoint in endpoints() {
            let Access::Needs(capability) = endpoint.access else {
                continue;
            };
            if !has_example(&endpoint) {
                continue;
            }
            let site = Site::new().await;
            for (role, name) in ROLES.iter().enumerate().rev() {
                let asks = Site::actor(role, &site.rig.organization, &site.project);
                let (status, body) = site.ask(&endpoint, asks, &site.project).await;
                let refused = matches!(status, 401 | 404) || (status == 403 && body["code"] == "not_permitted");
                // Anything else was allowed, and may still meet a state that forbids it.
                let early = matches!(status, 400 | 405 | 406 | 415) || status >= 500;
                let got = if refused { Err(status) } else { Ok(()) };
                let want = expected(capability, &endpoint, role);
                if got != want || early {
                    let method = endpoint.method.as_str();
                    wrong.push(format!(
                        "{method} {} by {name}: {status} {}, expected {want:?}",
                        endpoint.path, body["code"]
                    ));
                }
                count += 1;
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count >= 9 * 20, "only {count} cases");
    });
}

#[test]
fn foreign_object_is_answered_like_one_that_does_not_exist() {
    run(async {
        let site = Site::new().await;
        let [elsewhere, project] = [IdKind::Organization, IdKind::Project].map(|kind| Id::random(kind).unwrap());
        let absent = Id::random(IdKind::Project).unwrap();
        for endpoint in endpoints() {
            if !endpoint.path.contains("{project}") || endpoint.access == Access::Open || !has_example(&endpoint) {
                continue;
            }
            for (role, name) in ROLES.iter().enumerate().skip(1) {
                let asks = Site::actor(role, &elsewhere, &project);
                let foreign = site.ask(&endpoint, asks.clone(), &site.project).await;
                let missing = site.ask(&endpoint, asks, &absent).await;
                assert_eq!(foreign.0, 404, "{} {} by {name}", endpoint.method.as_str(), endpoint.path);
                assert_eq!(foreign, missing, "{} {}", endpoint.method.as_str(), endpoint.path);
            }
        }
        assert_eq!(site.rig.state(&site.project).await.project.generation, 1, "nothing has changed");
    });
}
