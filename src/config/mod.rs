//! YAML text to a checked config, or every problem at once.
//!
//! Three kinds of document: a project, the settings of the server, and the file of API keys. Each has tables that
//! declare its keys; the same tables read a document, explain what is wrong with it, and print its JSON Schema.
//! Nothing here opens a file or a socket, and no text of any kind makes it panic.

mod model;
mod problem;
mod settings;

pub use model::{MockParams, Model, ModelList, Project, Prompt, PromptRole, Provider, Route, Timeouts, TimeoutsPatch};
pub use problem::{At, Checked, Code, Position, Problem, Severity};
pub use settings::{
    Cidr, Driver, Egress, EgressAllow, KeyEntry, Limits, Log, LogLevel, Pin, Runtime, SecretSource, Server, TlsRoots,
    Upstream,
};
