//! What one request used, from the worker that served it.
//!
//! A worker fills one [`Record`] a request and puts it into the bounded [`Queue`]; the admin thread takes it out, writes the
//! access log and, later, the bill. A full queue refuses: the worker counts the loss and never waits.

mod access_log;
mod annotations;
mod queue;
mod record;

pub use access_log::append_line;
pub use annotations::{ANNOTATION_BYTES_MAX, AnnotationError, Annotations, Texts};
pub use queue::{QUEUE_ROWS, Queue};
pub use record::{Credential, Record};
