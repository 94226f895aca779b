//! What one request used, from the worker that served it.
//!
//! A worker fills one [`Record`] a request and puts it into the bounded [`Queue`]; the admin thread takes it out, writes the
//! access log and sums it up for the book. A queue without room refuses requests, not the records of admitted ones. What
//! tokens cost is in `price/`.

mod access_log;
mod annotations;
mod attempt;
mod decided;
mod distribution;
mod payload;
mod phases;
mod price;
mod queue;
mod record;
mod sample;
mod tally;

pub use access_log::append_line;
pub use annotations::{ANNOTATION_BYTES_MAX, AnnotationError, Annotations, Texts};
pub use attempt::Attempt;
pub use decided::{ChosenAs, CredentialAs, Decided, Details, LimitsSaid, RefusedBy, RulesSaid};
pub use distribution::Distribution;
pub use payload::{Excerpt, Payload, PayloadLimits, PayloadRoom};
pub use phases::{Laps, Phase, Phases};
pub use price::{
    Catalogue, CostParts, ListedModel, Price, PriceClass, PriceMark, PriceRow, PriceSource, PriceTable,
    PriceTableError, PriceTableHead, StatedPrices,
};
pub use queue::{QUEUE_ROWS, Queue};
pub use record::{Credential, Record};
pub use sample::RequestRows;
pub use tally::Tally;
