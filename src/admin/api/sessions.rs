//! Logging in and out, and the first set-up.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::rest::{
    Access::{Needs, Open},
    Api, ApiError, Body, Caller, Code, Endpoint, IdText, Issued, NoContent, SESSION_COOKIE, SessionValue, Time,
    Visitor, WithCookie,
};
use crate::base::Secret;
use crate::control::{Capability, ControlError, Login};

/// Nobody reads the cookie but the browser, and it goes along with requests of our own pages only (threats T-39, T-40).
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/sessions", Open, "Logs in; the answer sets the session cookie.", log_in)
            .refuses(&[Code::NotAuthenticated, Code::RateLimited]),
        Endpoint::delete("/sessions/current", Needs(Capability::Self_), "Logs out.", log_out)
            .refuses(&[Code::NotFound]),
        Endpoint::post(
            "/setup",
            Open,
            "Makes the first instance administrator with the set-up token, and logs in; works once.",
            set_up,
        )
        .refuses(&[Code::NotAuthenticated, Code::NameTaken, Code::RateLimited]),
    ]
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionCreate {
    /// E-mail address.
    #[schema(max_length = 254)]
    email: String,
    /// The password.
    #[schema(max_length = 1_024)]
    password: String,
    /// Six digits of the second factor, for a user who has one.
    #[schema(max_length = 16, nullable = false)]
    code: Option<String>,
}

/// The first instance administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// The token that the first start printed.
    #[schema(max_length = 200)]
    token: String,
    /// E-mail address, which becomes the name to log in with.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// At least 12 characters.
    #[schema(min_length = 12, max_length = 1_024)]
    password: String,
}

/// A session. Its secret is in the cookie.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    user_id: IdText,
    email: String,
    /// Whether the user runs the machine.
    instance_admin: bool,
    /// It ends earlier after half an hour without a request.
    ends_at: Time,
}

async fn log_in(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    Body(body): Body<SessionCreate>,
) -> Result<WithCookie<Issued<SessionView>>, ApiError> {
    let (password, code) = (Secret::new(body.password), body.code.as_deref());
    entered(api.control.log_in(&body.email, password, code, &visitor.address).await?)
}

async fn log_out(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    SessionValue(session): SessionValue,
) -> Result<WithCookie<NoContent>, ApiError> {
    // A caller with a token has no session to end.
    let session = session.ok_or(ControlError::NotFound)?;
    api.control.log_out(&actor, &session).await?;
    Ok(WithCookie { answer: NoContent, cookie: cookie(&format!("{SESSION_COOKIE}=; Max-Age=0; {ATTRIBUTES}"))? })
}

async fn set_up(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    Body(body): Body<Setup>,
) -> Result<WithCookie<Issued<SessionView>>, ApiError> {
    let (token, password) = (Secret::new(body.token), Secret::new(body.password));
    entered(api.control.set_up(&token, &body.email, password, &visitor.address).await?)
}

/// Answers with a new session.
///
/// # Errors
/// Never: the value of the cookie is letters and digits.
pub(super) fn entered(login: Login) -> Result<WithCookie<Issued<SessionView>>, ApiError> {
    // Without `Max-Age` the browser forgets it when it is closed.
    let cookie = cookie(&format!("{SESSION_COOKIE}={}; {ATTRIBUTES}", login.secret.reveal()))?;
    let view = SessionView {
        user_id: login.user.id.into(),
        email: login.user.email,
        instance_admin: login.user.instance_admin,
        ends_at: login.ends_at.into(),
    };
    Ok(WithCookie { answer: Issued(view), cookie })
}

fn cookie(text: &str) -> Result<HeaderValue, ApiError> {
    let mut value = HeaderValue::from_str(text).map_err(|error| ControlError::Internal(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}
