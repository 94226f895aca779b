//! What becomes of a stream that does not end as it should.

/// How a stream that its client left is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCancel {
    /// What arrived, with a mark that it is an estimate.
    #[default]
    Estimate,
    /// Read to its end and billed exactly.
    Drain,
    /// Not billed.
    Free,
}

/// What happens to a stream that passes its reservation when its limits are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// It goes on.
    #[default]
    Finish,
    /// It ends with an error event.
    Cut,
}
