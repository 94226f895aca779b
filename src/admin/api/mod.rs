//! The endpoints of the admin API, one file a resource.
//!
//! # How to add an endpoint
//!
//! 1. The file of the resource (`projects.rs`) has `pub(super) fn endpoints() -> Vec<Endpoint>`; [`endpoints`] chains it.
//! 2. A row: `Endpoint::post("/projects/{project}/archive", Needs(Capability::ProjectArchive), "Archives a project.",
//!    archive).refuses(&[Code::IllegalTransition])`. Method, path and capability stand there and nowhere else.
//! 3. The handler: `async fn archive(State(api): State<Arc<Api>>, Caller(actor): Caller, ProjectId(project): ProjectId,
//!    OptionalBody(body): OptionalBody<Comment>) -> Result<Tagged<ProjectView>, ApiError>`. At most five arguments; two
//!    ids go into one as a pair. State first, a body last. It calls one method of `api.control` with `&actor`, with `?`, and
//!    turns records into views. `control/` calls `permit` with the capability of the row: the matrix test compares.
//! 4. Arguments describe themselves: ids of [`super::rest`] (404 when they cannot be one), `IfMatch` for `PUT`, `PATCH`
//!    and `DELETE` (428, 412), `Known` where nothing may exist yet, `Query<T>` (others are 422), `Listing` for lists,
//!    `Body<T>`, `OptionalBody<T>`, `Upload`, `Wanted`; `Visitor` where nobody is logged in yet (`Access::Open`).
//! 5. Answers too: `Tagged` (200 and `ETag`), `Plain` (200), `Created` (201, `ETag`, `Location` below `/api/v1`),
//!    `NoContent`, `Listed::new(&listing, page, |row| (millis, id), view)`, `Document` (JSON or YAML), `WithCookie`.
//! 6. Problems come from `ControlError`; `.refuses(&[Code::...])` names those that arguments do not bring along.
//! 7. A request body derives `Deserialize, ToSchema` with `deny_unknown_fields` and every bound (`max_length`, `minimum`,
//!    `pattern`); a field that may be null in a `PATCH` is `Option<Option<T>>` with `deserialize_with = "present"`.
//! 8. A view derives `Serialize, ToSchema`; times are `Time`, ids `IdText`, words the enums of `store/`. Name it so that
//!    it is unique: it is the schema's name. Never a digest or a secret, except a new key in its one answer.
//! 9. Idempotency, rate, origin, sizes, `Accept`, request ids and the panic net are done before and around the handler.
//! 10. `make openapi` rewrites `openapi.json`; a test fails when it differs.

mod account;
mod alerts;
mod audit;
mod comment;
mod config;
mod config_problem;
mod config_schema;
mod credits;
mod grant;
mod instance;
mod invitations;
mod keys;
mod limit_fields;
mod limits;
mod live_price;
mod log_decisions;
mod log_export;
mod log_tail;
mod logs;
#[cfg(test)]
mod matrix_tests;
mod members;
mod organization_prices;
mod organizations;
mod owner;
mod payloads;
mod platform_credentials;
mod project_documents;
mod projects;
mod provider_keys;
mod reprices;
mod rules;
mod secrets;
mod serving;
mod sessions;
mod site_path;
#[cfg(test)]
mod tests;
mod times;
mod tokens;
mod usage;
mod words;

use super::rest::{Endpoint, document};

/// Every endpoint: the router, the document and the authorization test are made from this list.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let people = [
        sessions::endpoints(),
        account::endpoints(),
        tokens::endpoints(),
        organizations::endpoints(),
        members::endpoints(),
        invitations::endpoints(),
        audit::endpoints(),
    ];
    let resources = [
        projects::endpoints(),
        project_documents::endpoints(),
        config::endpoints(),
        serving::endpoints(),
        keys::endpoints(),
        rules::endpoints(),
        limits::endpoints(),
        secrets::endpoints(),
        provider_keys::endpoints(),
        config_schema::endpoints(),
        instance::endpoints(),
        platform_credentials::endpoints(),
        credits::endpoints(),
        organization_prices::endpoints(),
        alerts::endpoints(),
        logs::endpoints(),
        payloads::endpoints(),
        usage::endpoints(),
        reprices::endpoints(),
    ];
    people.into_iter().chain(resources).flatten().collect()
}

/// The OpenAPI document.
#[must_use]
pub fn openapi_document() -> String {
    document(endpoints())
}
