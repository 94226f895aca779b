//! What one request used, from the worker that served it.
//!
//! A worker fills one [`Record`] a request and puts it into the bounded [`Queue`]; the admin thread takes it out, writes the
//! access log and sums it up for the book. A request that may cost something reserves its place before it is admitted; a
//! full queue refuses the others, and the worker counts the loss and never waits.

mod access_log;
mod annotations;
mod distribution;
mod queue;
mod record;
mod tally;

pub use access_log::append_line;
pub use annotations::{ANNOTATION_BYTES_MAX, AnnotationError, Annotations, Texts};
pub use distribution::Distribution;
pub use queue::{QUEUE_ROWS, Queue, Slot};
pub use record::{Credential, Record};
pub use tally::Tally;
