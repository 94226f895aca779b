//! Pages of a list and where the next one begins.
//!
//! A cursor tells the last row of a page. It is signed together with the path, the filters and the caller, so it cannot be
//! made up or carried to another list or tenant. The key is drawn at the start: cursors do not outlive the process.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ring::hmac;
use serde::Deserialize;
use utoipa::IntoParams;

use super::endpoint::Input;
use super::error::ApiError;
use super::gate::Desk;
use super::operation::Operation;
use super::query;
use crate::control::{Actor, ControlError};
use crate::store::{Order, PageRequest};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 100;
/// Bytes of the signature in a cursor.
const TAG_LEN: usize = 16;
const REFUSED: &str = "not a cursor of this list; leave it out to begin from the start";

/// Signs cursors.
pub(super) struct CursorKey(hmac::Key);

impl CursorKey {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

/// What a list is asked for. Filters of its own are read by [`super::Query`] beside it.
pub struct Listing {
    /// For the store.
    pub page: PageRequest,
    desk: Arc<Desk>,
    bound_to: Vec<u8>,
}

/// The parameters of every list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(max_length = 512, nullable = false)]
    cursor: Option<String>,
    /// `desc` is newest first.
    #[param(schema_with = order_schema)]
    order: Option<String>,
}

fn order_schema() -> utoipa::openapi::schema::Object {
    super::operation::text().enum_values(Some(["asc", "desc"])).default(Some("desc".into())).build()
}

impl Input for Listing {
    fn describe(operation: &mut Operation) {
        operation.query::<PageParams>();
    }
}

impl<S: Sync> FromRequestParts<S> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params: PageParams = query::read(&parts.uri)?;
        let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ApiError::field("limit", "expected 1 to 100"));
        }
        let order = match params.order.as_deref() {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(ApiError::field("order", "expected `asc` or `desc`")),
        };
        let bound_to = binding(parts)?;
        let desk = parts.extensions.get::<Arc<Desk>>().cloned();
        let desk = desk.ok_or_else(|| ControlError::Internal("a list outside of the gate".to_owned()))?;
        let mut listing = Self { page: PageRequest { limit, after: None, order }, desk, bound_to };
        if let Some(cursor) = params.cursor {
            let mark = listing.read(&cursor).ok_or_else(|| ApiError::field("cursor", REFUSED))?;
            listing.page.after = Some(mark);
        }
        Ok(listing)
    }
}

/// What a cursor holds for: the caller, the path, the filters and the order. The page's length may change.
fn binding(parts: &Parts) -> Result<Vec<u8>, ApiError> {
    let mut text = String::new();
    let caller = parts.extensions.get::<Actor>().map(|actor| actor.id.as_str()).unwrap_or_default();
    let mut filters = query::pairs(&parts.uri)?;
    filters.retain(|(name, _)| name != "cursor" && name != "limit");
    filters.sort();
    // Writing to a text cannot fail. Debug quotes the parts, so that none can pass for two.
    let _ = write!(text, "{caller:?} {:?} {filters:?}", parts.uri.path());
    Ok(text.into_bytes())
}

impl Listing {
    /// The cursor of the page behind this row.
    pub(super) fn cursor_behind(&self, (at, id): &(i64, String)) -> String {
        let mut text = format!("{at}.{id}").into_bytes();
        let tag = self.tag(&text);
        text.extend(tag.as_ref().iter().take(TAG_LEN));
        hex(&text)
    }

    fn read(&self, cursor: &str) -> Option<(i64, String)> {
        let bytes = unhex(cursor)?;
        let (text, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_LEN)?)?;
        let expected = self.tag(text);
        let same: bool = subtle::ConstantTimeEq::ct_eq(expected.as_ref().get(..TAG_LEN)?, tag).into();
        let (at, id) = std::str::from_utf8(text).ok().filter(|_| same)?.split_once('.')?;
        Some((at.parse().ok()?, id.to_owned()))
    }

    fn tag(&self, text: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.desk.cursor_key.0);
        context.update(&self.bound_to);
        context.update(&[0]);
        context.update(text);
        context.sign()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
