//! YAML text to a checked config, or every problem at once.
//!
//! Three kinds of document: a project, the settings of the server, and the file of API keys. Each has tables that
//! declare its keys; the same tables read a document, explain what is wrong with it, and print its JSON Schema.
//! Nothing here opens a file or a socket, and no text of any kind makes it panic.

mod address;
mod document;
mod expand;
mod fields;
mod hint;
mod keys;
mod limit_tables;
mod limits;
mod model;
mod params;
mod problem;
mod project;
mod project_tables;
mod schema;
mod server;
mod server_tables;
mod settings;
mod shape;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod words;
mod yaml;

pub use document::{DocumentKind, recognise};
pub use hint::did_you_mean;
pub use keys::check_keys;
pub use limits::{LimitAlgorithm, LimitQueue, LimitScope, LimitUnit, RouteLimit};
pub use model::{
    Costs, MockParams, Mode, Model, ModelList, PriceEntry, Project, Prompt, PromptRole, Provider, Route, Timeouts,
    TimeoutsPatch,
};
pub use problem::{At, Checked, Code, Position, Problem, Severity};
pub use project::{ProjectContext, check_project};
pub use schema::{keys_schema, project_schema, server_schema};
pub use server::{SecretTextError, check_server, secret_text};
pub use settings::{
    Driver, Edge, EdgeCertificate, Egress, EgressAllow, KeyEntry, Limits, ListenerError, Log, LogLevel, MailServer,
    Pin, Runtime, SecretSource, Server, StoredRows, TlsRoots, Upstream, Usage,
};
pub use tree::read_tree;
pub use words::{find_provider, parse_time, project_slug};
