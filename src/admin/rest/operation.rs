//! What the document says about one endpoint.
//!
//! Gathered from the handler's signature: each argument and the answer add what they need, so that the document cannot
//! differ from the code.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Header, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, ToSchema};

use super::code::Code;

/// Schemas by name, for the components of the document.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds the schema of a type and those it names. Kept as a function, since only the document needs them made: all of them
/// together are some 2 MiB.
type AddSchemas = fn(&mut Schemas);

/// The description of one endpoint, while it is gathered.
#[derive(Default)]
pub struct Operation {
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) answers: BTreeMap<u16, Response>,
    pub(super) problems: BTreeSet<Code>,
    schemas: Vec<AddSchemas>,
    /// Whether the handler is told who calls.
    pub(super) caller: bool,
}

impl Operation {
    /// Adds a parameter that has to be in the path.
    pub(super) fn path_parameter(&mut self, name: &str, schema: ObjectBuilder) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        self.parameters.push(parameter.schema(Some(schema.build())).build());
        self.problems.insert(Code::NotFound);
    }

    /// Adds a header.
    pub(super) fn header(&mut self, name: &str, required: Required, schema: ObjectBuilder) -> &mut Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(required);
        self.parameters.push(parameter.schema(Some(schema.build())).build());
        self
    }

    /// Whether a header is described.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// Adds the fields of `T` as parameters of the query.
    pub(super) fn query<T: IntoParams>(&mut self) {
        self.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
        self.problems.insert(Code::Invalid);
    }

    /// Says that the endpoint can refuse in these ways.
    pub(super) fn refuses(&mut self, codes: &[Code]) {
        self.problems.extend(codes.iter().copied());
    }

    /// Adds a schema with those it names; returns how to refer to it.
    pub(super) fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas.push(|schemas| {
            T::schemas(schemas);
            schemas.push((T::name().into_owned(), T::schema()));
        });
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name(T::name()))
    }

    /// Makes the schemas that were added.
    pub(super) fn schemas(&self) -> Schemas {
        let mut schemas = Schemas::new();
        self.schemas.iter().for_each(|add| add(&mut schemas));
        schemas
    }

    /// Adds a type of body that the endpoint takes.
    pub(super) fn takes(&mut self, content_type: &str, required: Required, schema: RefOr<Schema>) {
        let body = self.body.take().map_or_else(RequestBodyBuilder::new, RequestBodyBuilder::from);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        self.body = Some(body.required(Some(required)).content(content_type, content).build());
        self.refuses(&[Code::BadRequest, Code::UnsupportedMediaType, Code::TooLarge]);
    }

    /// Adds a successful answer.
    pub(super) fn answers(&mut self, status: u16, description: &str, bodies: Vec<(&str, RefOr<Schema>)>) {
        let mut response = ResponseBuilder::new().description(description);
        for (content_type, schema) in bodies {
            response = response.content(content_type, ContentBuilder::new().schema(Some(schema)).build());
        }
        self.answers.insert(status, response.build());
    }

    /// Adds a header to the answers so far.
    pub(super) fn answer_header(&mut self, name: &str, description: &str) {
        for response in self.answers.values_mut() {
            let mut header = Header::new(text());
            header.description = Some(description.to_owned());
            response.headers.insert(name.to_owned(), header.into());
        }
    }

    /// Types of the bodies that are answered with.
    pub(super) fn produces(&self) -> BTreeSet<String> {
        self.answers.values().flat_map(|response| response.content.keys().cloned()).collect()
    }

    /// Names of the parameters in the query: others are refused.
    pub(super) fn query_names(&self) -> Vec<String> {
        self.names(&ParameterIn::Query).collect()
    }

    /// Names of what varies in the path.
    pub(super) fn path_names(&self) -> BTreeSet<String> {
        self.names(&ParameterIn::Path).collect()
    }

    fn names(&self, place: &ParameterIn) -> impl Iterator<Item = String> {
        let of_place = self.parameters.iter().filter(move |parameter| parameter.parameter_in == *place);
        of_place.map(|parameter| parameter.name.clone())
    }
}

/// The schema of a text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The schema of a whole number between bounds.
pub(super) fn whole(min: i64, max: i64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).maximum(Some(max))
}
