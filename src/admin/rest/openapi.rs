//! The document of the API, made from the list of endpoints.

use std::collections::BTreeMap;

use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, ServerBuilder,
};

use super::caller::SESSION_COOKIE;
use super::code::Code;
use super::endpoint::{Access, Endpoint, Method};
use super::error::{PROBLEM_TYPE, ProblemView};
use super::gate::BASE;
use super::operation::Operation;
use crate::base::VERSION;

const TOKEN: &str = "admin_token";
const SESSION: &str = "session";

/// The document, as pretty JSON with a line feed at the end.
pub(crate) fn document<S>(endpoints: Vec<Endpoint<S>>) -> String {
    let mut text = serde_json::to_string_pretty(&openapi(endpoints)).unwrap_or_default();
    text.push('\n');
    text
}

fn openapi<S>(endpoints: Vec<Endpoint<S>>) -> OpenApi {
    let mut of_all = Operation::default();
    let _ = of_all.schema::<ProblemView<'_>>();
    let mut schemas: BTreeMap<_, _> = of_all.schemas().into_iter().collect();
    let mut items: BTreeMap<&'static str, PathItem> = BTreeMap::new();
    for endpoint in endpoints {
        let (path, method) = (endpoint.path, endpoint.method);
        schemas.extend(endpoint.operation.schemas());
        let item = PathItem::new(method_of(method), operation_of(endpoint));
        items.entry(path).or_default().merge_operations(item);
    }
    let paths = items.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(TOKEN, SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()))
        .security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE))));
    let about = InfoBuilder::new()
        .title("Millrace admin API")
        .version(VERSION)
        .description(Some("Projects, configurations, keys and people of a Millrace gateway."));
    OpenApiBuilder::new()
        .info(about.build())
        .servers(Some([ServerBuilder::new().url(BASE).build()]))
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn method_of(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
        Method::Put => HttpMethod::Put,
        Method::Patch => HttpMethod::Patch,
        Method::Delete => HttpMethod::Delete,
    }
}

fn operation_of<S>(endpoint: Endpoint<S>) -> utoipa::openapi::path::Operation {
    let Endpoint { operation, summary, name, file, access, .. } = endpoint;
    let mut built = OperationBuilder::new()
        .operation_id(Some(name))
        .summary(Some(summary))
        .tag(file)
        .parameters(Some(operation.parameters))
        .request_body(operation.body);
    for (status, response) in operation.answers {
        built = built.response(status.to_string(), response);
    }
    let mut refusals: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.problems {
        refusals.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in refusals {
        let codes: Vec<_> = codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
        let content = ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name("Problem")))).build();
        let response = ResponseBuilder::new().description(codes.join(", ")).content(PROBLEM_TYPE, content);
        built = built.response(status.to_string(), response.build());
    }
    if let Access::Needs(_) = access {
        let none: [&str; 0] = [];
        built = built.security(SecurityRequirement::new(TOKEN, none)).security(SecurityRequirement::new(SESSION, none));
    }
    built.build()
}
