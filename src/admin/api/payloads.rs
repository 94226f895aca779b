//! What a request and its answer said.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::rest::{Access::Needs, Api, ApiError, Caller, Code, Endpoint, Plain, ProjectId, RequestName, Time};
use crate::control::Capability;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/projects/{project}/logs/{request_id}/payload",
            Needs(Capability::PayloadsRead),
            "Shows what a request and its answer said, for a project with `log_payloads`. Each reading is an event of the \
             audit log, `payload.read`.",
            show,
        )
        .refuses(&[Code::NotFound]),
    ]
}

/// What a request and its answer said, without secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestPayload)]
struct PayloadView {
    request_id: String,
    /// When the first byte of the request arrived.
    at: Time,
    /// The body of the request, as the client wrote it; the first 64 KiB, unless `usage.payload_bytes` says otherwise. In a form
    /// size and SHA-256 stand in the place of a file.
    request: String,
    /// Length of the whole body; of a form, of what is kept of it.
    request_bytes: u64,
    /// There was more of it.
    request_is_cut: bool,
    /// The body of the answer as the client got it; of a stream its events.
    answer: String,
    /// Length of the whole answer.
    answer_bytes: u64,
    /// There was more of it.
    answer_is_cut: bool,
    /// How many places were taken out as secrets; `[redacted]` stands for each.
    redacted: u32,
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    RequestName(request_id): RequestName,
) -> Result<Plain<PayloadView>, ApiError> {
    let (row, text) = api.control.payload(&actor, &project, &request_id).await?;
    Ok(Plain(PayloadView {
        request_id: row.request_id,
        at: row.at.into(),
        request: text.request,
        request_bytes: text.request_bytes,
        request_is_cut: text.request_is_cut,
        answer: text.answer,
        answer_bytes: text.answer_bytes,
        answer_is_cut: text.answer_is_cut,
        redacted: text.redacted,
    }))
}
