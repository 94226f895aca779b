//! One endpoint: its place, who may call it, what it does.
//!
//! The router, the document and the test of the roles matrix are all made from a list of these. An endpoint cannot be made
//! without its [`Access`], and nothing else can be routed.

use std::any::type_name;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::Required;

use super::code::Code;
use super::error::ApiError;
use super::gate::Api;
use super::operation::Operation;
use super::reply::Answer;
use crate::control::Capability;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Who holds this capability in the scope that the path names; `control/` checks it where it reads the object.
    Needs(Capability),
    /// Anybody: for what is done before a caller has credentials.
    Open,
}

/// Methods of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or acts.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// The word in the request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// An argument of a handler, which says what it takes from the request.
pub trait Input {
    /// Adds that to the description.
    fn describe(operation: &mut Operation);
}

/// What every handler starts with; takes nothing from the request.
impl<S> Input for State<S> {
    fn describe(_: &mut Operation) {}
}

/// A function whose arguments and answer describe themselves.
pub trait Described<T> {
    /// Adds all of them to the description.
    fn describe(operation: &mut Operation);
}

/// `M` is axum's marker for how the last argument is read.
macro_rules! described {
    ($($argument:ident),+) => {
        impl<F, Fut, R, M, $($argument),+> Described<(M, $($argument),+)> for F
        where
            F: Fn($($argument),+) -> Fut,
            Fut: Future<Output = Result<R, ApiError>>,
            R: Answer,
            $($argument: Input),+
        {
            fn describe(operation: &mut Operation) {
                $($argument::describe(operation);)+
                R::describe(operation);
            }
        }
    };
}

described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, G);
described!(A, B, C, D, E, G, H);
described!(A, B, C, D, E, G, H, I);

/// One endpoint, whose handler works with `S`.
pub struct Endpoint<S = Arc<Api>> {
    /// The method.
    pub method: Method,
    /// The path below `/api/v1`, with `{name}` for what varies.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, as one sentence.
    pub summary: &'static str,
    /// Unique name: file and function of the handler.
    pub name: String,
    /// File of the handler, which groups the operations of the document.
    pub(super) file: String,
    pub(super) operation: Operation,
    pub(super) route: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Endpoint<S> {
    /// An endpoint that reads.
    pub fn get<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        Self::new((Method::Get, path), access, summary, handler)
    }

    /// An endpoint that creates or acts; takes an `Idempotency-Key`.
    pub fn post<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        Self::new((Method::Post, path), access, summary, handler)
    }

    /// An endpoint that replaces.
    pub fn put<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        Self::new((Method::Put, path), access, summary, handler)
    }

    /// An endpoint that changes.
    pub fn patch<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        Self::new((Method::Patch, path), access, summary, handler)
    }

    /// An endpoint that deletes.
    pub fn delete<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        Self::new((Method::Delete, path), access, summary, handler)
    }

    /// Says in which ways the handler refuses, besides those that its arguments bring along.
    #[must_use]
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.operation.refuses(codes);
        self
    }

    /// Whether the handler is told who calls.
    #[must_use]
    pub fn takes_caller(&self) -> bool {
        self.operation.caller
    }

    /// Whether the handler is told which revision the caller has read.
    #[must_use]
    pub fn takes_revision(&self) -> bool {
        self.operation.problems.contains(&Code::IfMatchRequired)
    }

    /// Whether a request without a body is refused.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        let body = self.operation.body.as_ref();
        body.is_some_and(|body| body.required.as_ref().is_some_and(|required| *required == Required::True))
    }

    /// Names of what the handler reads from the path.
    #[must_use]
    pub fn path_parameters(&self) -> BTreeSet<String> {
        self.operation.path_names()
    }

    fn new<H, T>((method, path): (Method, &'static str), access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        let mut operation = Operation::default();
        H::describe(&mut operation);
        operation.refuses(&[Code::BadRequest, Code::NotAcceptable, Code::WrongHost, Code::Invalid]);
        operation.refuses(&[Code::InternalError, Code::StoreUnavailable]);
        if let Access::Needs(_) = access {
            operation.refuses(&[Code::NotAuthenticated, Code::NotPermitted, Code::RateLimited]);
        }
        if method != Method::Get {
            operation.refuses(&[Code::OriginRefused, Code::TooLarge]);
        }
        if method == Method::Post && access != Access::Open {
            super::idempotency::describe(&mut operation);
        }
        Self {
            method,
            path,
            access,
            summary,
            name: name_of(type_name::<H>()),
            file: file_of(type_name::<H>()).to_owned(),
            operation,
            route: on(method.filter(), handler),
        }
    }
}

/// `projects` for `millrace::admin::api::projects::create`.
fn file_of(handler: &str) -> &str {
    let path = handler.split_once('<').map_or(handler, |(path, _)| path);
    path.rsplit("::").nth(1).unwrap_or_default()
}

/// `projects_create` for `millrace::admin::api::projects::create`, `secrets_create_of_project` for
/// `millrace::admin::api::secrets::create<millrace::admin::rest::path::ProjectId>`. Of two ids in a place the last names it.
fn name_of(handler: &str) -> String {
    let (path, scope) = handler.split_once('<').unwrap_or((handler, ""));
    let function = path.rsplit("::").next().unwrap_or_default();
    let name = format!("{}_{function}", file_of(path));
    let scope = scope.trim_end_matches(['>', ')']).rsplit("::").next().unwrap_or_default();
    match scope.strip_suffix("Id") {
        Some(scope) => format!("{name}_of_{}", scope.to_ascii_lowercase()),
        None => name,
    }
}
