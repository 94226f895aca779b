//! Who calls: a session cookie or an admin token.
//!
//! Threat T-40: a browser sends its cookies along with what any page asks for. A change with a cookie is done only when the
//! browser says that the page is ours, and with a header that a foreign page cannot set without asking us first.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use super::code::Code;
use super::endpoint::{Input, Method};
use super::error::ApiError;
use super::operation::Operation;
use crate::base::RequestId;
use crate::control::{Actor, Authenticate, ControlError, Presented, Proof};

/// Name of the session cookie. The prefix makes browsers insist on `Secure`, on `Path=/` and on no `Domain`.
pub const SESSION_COOKIE: &str = "__Host-millrace_session";
/// A change with a session cookie needs this header, with any value.
pub const BROWSER_HEADER: HeaderName = HeaderName::from_static("x-millrace-request");
/// Longest token or cookie that is looked up, in bytes.
const PROOF_BYTES_MAX: usize = 512;

/// Address of the other side of the connection, among the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The authenticated caller. Every handler behind [`super::Access::Needs`] takes it and hands it to `control/`.
#[derive(Debug)]
pub struct Caller(pub Actor);

impl Input for Caller {
    fn describe(operation: &mut Operation) {
        operation.caller = true;
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Actor>().cloned().map(Self).ok_or_else(|| ControlError::NotAuthenticated.into())
    }
}

/// Where an unauthenticated request comes from: for endpoints that are [`super::Access::Open`].
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Address, without port; empty if it is not known.
    pub address: String,
    /// Id of the request.
    pub request_id: String,
}

impl Input for Visitor {
    fn describe(_: &mut Operation) {}
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let address = address_of(&parts.extensions);
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
        Ok(Self { address, request_id })
    }
}

/// The value of the session cookie, for ending the session that a request came with; none with a token.
#[derive(Clone)]
pub struct SessionValue(pub Option<String>);

impl Input for SessionValue {
    fn describe(_: &mut Operation) {}
}

impl<S: Sync> FromRequestParts<S> for SessionValue {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let with_token = parts.headers.contains_key(header::AUTHORIZATION);
        Ok(Self(cookie(&parts.headers).filter(|_| !with_token).map(str::to_owned)))
    }
}

/// Asks whose request it is.
pub(super) async fn authenticate(
    authority: &dyn Authenticate,
    parts: &Parts,
    id: &RequestId,
) -> Result<Actor, ApiError> {
    let proof = proof(&parts.headers).ok_or(ControlError::NotAuthenticated)?;
    let address = address_of(&parts.extensions);
    let presented = Presented { address: &address, request_id: id.as_str() };
    Ok(authority.authenticate(proof, presented).await?)
}

pub(super) fn address_of(extensions: &axum::http::Extensions) -> String {
    extensions.get::<PeerAddress>().map(|PeerAddress(address)| address.to_canonical().to_string()).unwrap_or_default()
}

/// The one proof of identity of a request: a token, else the cookie. Two of a kind are none.
pub(super) fn proof(headers: &HeaderMap) -> Option<Proof<'_>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return cookie(headers).map(Proof::Session);
    };
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= PROOF_BYTES_MAX;
    fits.then_some(Proof::Bearer(token))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == SESSION_COOKIE).then(|| value.trim())
    });
    let value = found.next().filter(|value| !value.is_empty() && value.len() <= PROOF_BYTES_MAX)?;
    found.next().is_none().then_some(value)
}

/// Refuses what another page may have made a browser send.
///
/// A caller with a token is no browser that was tricked: a foreign page has no token. Without a token, a change needs to
/// come from our own origin; programs that are not browsers send no `Origin` and no cookie.
pub(super) fn check_origin(headers: &HeaderMap, method: Method) -> Result<(), ApiError> {
    if method == Method::Get || headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let refused = |detail: &str| Err(ApiError::new(Code::OriginRefused, detail));
    if let Some(origin) = headers.get(header::ORIGIN) {
        let host = headers.get(header::HOST).map(|host| host.as_bytes());
        let own = origin.as_bytes();
        let authority = own.strip_prefix(b"https://").or_else(|| own.strip_prefix(b"http://"));
        if authority.is_none() || authority != host || headers.get_all(header::ORIGIN).iter().count() != 1 {
            return refused("a change with a session is only taken from a page of this server");
        }
    }
    if cookie(headers).is_none() {
        return Ok(());
    }
    if !headers.contains_key(header::ORIGIN) {
        return refused("a change with a session needs the `Origin` that a browser sends; programs use an admin token");
    }
    if !headers.contains_key(BROWSER_HEADER) {
        return refused("a change with a session needs the header `x-millrace-request`");
    }
    Ok(())
}
