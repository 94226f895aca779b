//! The LLM wire: JSON views, SSE framing, usage, error bodies.
//!
//! Bytes to bytes: nothing here knows sockets, routes or keys. The rules of this folder:
//! - a client's body is read once, strictly, and never rebuilt; what must change is spliced by byte range ([`Edits`]);
//! - a provider's answer is looked at, never changed, but for the cost in the usage of a stream ([`tell_cost`]); a relayed
//!   stream event allocates nothing;
//! - no input may panic, recurse without bound or cost more than linear time.

mod answer;
mod body_error;
mod chunk;
mod cost;
mod demand;
mod edit;
mod endpoint;
mod error;
mod event;
mod finish;
mod form;
mod form_head;
mod json;
mod json_place;
mod json_text;
mod made;
mod request;
mod said;
mod searches;
mod sse;
mod stream;
mod transcript;
mod upstream_error;
mod usage;

pub use answer::{AnswerError, AnswerView, view_answer};
pub use body_error::{BodyError, BodyFault, FormFault};
pub use cost::tell_cost;
pub use demand::{CapText, Demand, DemandSpans};
pub use edit::{Defaults, Edits, Pieces, Prompt};
pub use endpoint::Endpoint;
pub use error::{ErrorCase, StreamErrorAt, write_error_body, write_stream_error};
pub use finish::finish_of_answer;
pub use form::{AnswerFormat, Form, tell_form, view_form};
pub use form_head::FormType;
pub use json_place::{JsonFault, Span};
pub use made::images_in_answer;
pub use request::{Limits, RequestView, view_request};
pub use said::said_in_answer;
pub use searches::{Searches, searches_asked};
pub use sse::{Splitter, SseError, SseLimits};
pub use stream::{Action, End, StreamWatch};
pub use transcript::last_cue_millis;
pub use upstream_error::{Meaning, UpstreamError, view_upstream_error};
pub use usage::read_usage;

#[cfg(test)]
mod tests;
