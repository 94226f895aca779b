//! Answers of handlers, which describe themselves.

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use super::error::entity_tag;
use super::operation::{Operation, text};
use super::page::Listing;
use crate::admin::reply::{json, with_body};

/// The type of most answers.
pub(super) const JSON: &str = "application/json";
/// The type of a configuration.
pub(super) const YAML: &str = "application/yaml";

/// The type of server-sent events.
const EVENTS: &str = "text/event-stream";

/// What a handler returns when it succeeds.
pub trait Answer: IntoResponse {
    /// Adds itself to the description.
    fn describe(operation: &mut Operation);
}

/// 200 with this body, for what has no revision.
#[derive(Debug)]
pub struct Plain<T>(pub T);

/// 200 with an object and its `ETag`.
#[derive(Debug)]
pub struct Tagged<T> {
    /// The body.
    pub body: T,
    /// Revision of the object.
    pub revision: u64,
}

/// 201 with a new object, its `ETag` and its `Location`.
#[derive(Debug)]
pub struct Created<T> {
    /// The body.
    pub body: T,
    /// Revision of the object.
    pub revision: u64,
    /// Path of the object below `/api/v1`.
    pub location: String,
}

/// 201 with something that has no revision and no path of its own.
#[derive(Debug)]
pub struct Issued<T>(pub T);

/// 204.
#[derive(Debug)]
pub struct NoContent;

/// 200 with a page of a list: `{data, next_cursor, has_more}`.
#[derive(Debug, Serialize)]
pub struct Listed<T> {
    pub(super) data: Vec<T>,
    pub(super) next_cursor: Option<String>,
    pub(super) has_more: bool,
}

/// 200 with an object as JSON, or with the exact bytes of a configuration for `Accept: application/yaml`.
#[derive(Debug)]
pub enum Document<T> {
    /// The object.
    Json(Tagged<T>),
    /// The bytes, and the revision of their object.
    Yaml(Bytes, u64),
}

/// 200 with rows that are read while they are sent.
#[derive(Debug)]
pub struct Streamed {
    /// The type of the body.
    pub content_type: &'static str,
    /// The rows.
    pub body: Body,
}

/// 200 with server-sent events, as they happen.
#[derive(Debug)]
pub struct EventStream {
    /// The events.
    pub body: Body,
}

/// Another answer that sets or ends the session cookie; the text is the header's value.
#[derive(Debug)]
pub struct WithCookie<R> {
    /// The answer.
    pub answer: R,
    /// Value of `Set-Cookie`.
    pub cookie: HeaderValue,
}

impl<T> Listed<T> {
    /// Turns a page of rows into an answer; `mark` tells a row's place: its time in milliseconds and its id or number.
    pub fn new<R>(
        listing: &Listing,
        page: crate::store::Page<R>,
        mark: impl Fn(&R) -> (i64, String),
        view: impl Fn(R) -> T,
    ) -> Self {
        let next_cursor = page.rows.last().filter(|_| page.has_more).map(|row| listing.cursor_behind(&mark(row)));
        let data = page.rows.into_iter().map(view).collect();
        Self { data, next_cursor, has_more: page.has_more }
    }

    /// A list that always fits in one page.
    #[must_use]
    pub fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None, has_more: false }
    }
}

fn tagged(mut response: Response<Body>, revision: u64) -> Response<Body> {
    put(&mut response, header::ETAG, &entity_tag(revision));
    response
}

fn put(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

const TAG_SAYS: &str = "Revision of the object, for `If-Match`.";

impl<T: Serialize> IntoResponse for Plain<T> {
    fn into_response(self) -> Response<Body> {
        json(StatusCode::OK, JSON, &self.0)
    }
}

impl<T: Serialize + ToSchema> Answer for Plain<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.answers(200, "Done.", vec![(JSON, schema)]);
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response<Body> {
        tagged(json(StatusCode::OK, JSON, &self.body), self.revision)
    }
}

impl<T: Serialize + ToSchema> Answer for Tagged<T> {
    fn describe(operation: &mut Operation) {
        Plain::<T>::describe(operation);
        operation.answer_header("ETag", TAG_SAYS);
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response<Body> {
        let mut response = tagged(json(StatusCode::CREATED, JSON, &self.body), self.revision);
        put(&mut response, header::LOCATION, &format!("{}{}", super::gate::BASE, self.location));
        response
    }
}

impl<T: Serialize + ToSchema> Answer for Created<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.answers(201, "Made.", vec![(JSON, schema)]);
        operation.answer_header("ETag", TAG_SAYS);
        operation.answer_header("Location", "Path of the new object.");
    }
}

impl<T: Serialize> IntoResponse for Issued<T> {
    fn into_response(self) -> Response<Body> {
        json(StatusCode::CREATED, JSON, &self.0)
    }
}

impl<T: Serialize + ToSchema> Answer for Issued<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.answers(201, "Made.", vec![(JSON, schema)]);
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

impl Answer for NoContent {
    fn describe(operation: &mut Operation) {
        operation.answers(204, "Done.", Vec::new());
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response<Body> {
        json(StatusCode::OK, JSON, &self)
    }
}

impl<T: Serialize + ToSchema> Answer for Listed<T> {
    fn describe(operation: &mut Operation) {
        let items = operation.schema::<T>();
        let cursor = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let schema = ObjectBuilder::new()
            .property("data", ArrayBuilder::new().items(items))
            .property("next_cursor", cursor.description(Some("Goes into `cursor` for the next page.")))
            .property("has_more", ObjectBuilder::new().schema_type(Type::Boolean))
            .required("data")
            .required("next_cursor")
            .required("has_more");
        operation.answers(200, "A page of the list.", vec![(JSON, RefOr::T(Schema::Object(schema.build())))]);
    }
}

impl<T: Serialize> IntoResponse for Document<T> {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Json(object) => object.into_response(),
            Self::Yaml(bytes, revision) => tagged(with_body(StatusCode::OK, YAML, Body::from(bytes)), revision),
        }
    }
}

impl<T: Serialize + ToSchema> Answer for Document<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        let bytes = RefOr::T(Schema::Object(text().build()));
        operation.answers(200, "The object, or its exact bytes.", vec![(JSON, schema), (YAML, bytes)]);
        operation.answer_header("ETag", TAG_SAYS);
    }
}

impl IntoResponse for Streamed {
    fn into_response(self) -> Response<Body> {
        with_body(StatusCode::OK, self.content_type, self.body)
    }
}

impl Answer for Streamed {
    fn describe(operation: &mut Operation) {
        let rows = || RefOr::T(Schema::Object(text().build()));
        operation.answers(200, "The rows.", vec![("application/x-ndjson", rows()), ("text/csv", rows())]);
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response<Body> {
        with_body(StatusCode::OK, EVENTS, self.body)
    }
}

impl Answer for EventStream {
    fn describe(operation: &mut Operation) {
        let events = RefOr::T(Schema::Object(text().build()));
        operation.answers(200, "The events, until one side ends it.", vec![(EVENTS, events)]);
    }
}

impl<R: IntoResponse> IntoResponse for WithCookie<R> {
    fn into_response(self) -> Response<Body> {
        let mut response = self.answer.into_response();
        response.headers_mut().append(header::SET_COOKIE, self.cookie);
        response
    }
}

impl<R: Answer> Answer for WithCookie<R> {
    fn describe(operation: &mut Operation) {
        R::describe(operation);
        operation.answer_header("Set-Cookie", "The session cookie.");
    }
}
