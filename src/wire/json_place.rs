//! Places, tokens and faults of a JSON document.

/// A range of bytes in a body of at most 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: offset(start), end: offset(end) }
    }

    /// Gives the bytes of the span; empty if it lies outside.
    #[must_use]
    #[inline]
    pub fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Gives the bytes between the first and the last one, such as a string without its quotes.
    #[must_use]
    #[inline]
    pub fn inner_of(self, body: &[u8]) -> &[u8] {
        match self.of(body) {
            [_, inner @ .., _] => inner,
            _ => &[],
        }
    }

    /// Gives the number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        (self.end as usize).saturating_sub(self.start as usize)
    }
}

/// Narrows an offset; callers refuse bodies over 1 GiB first.
#[inline]
pub(super) fn offset(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    u32::try_from(at & 0xFFFF_FFFF).unwrap_or_default()
}

/// What breaks the JSON grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The document ends too early.
    #[error("unexpected end of the body")]
    End,
    /// Another byte was needed here.
    #[error("unexpected character")]
    Unexpected,
    /// A control character stands in a string.
    #[error("control character in a string")]
    Control,
    /// A backslash is followed by something unknown.
    #[error("invalid escape in a string")]
    Escape,
    /// Half of a surrogate pair.
    #[error("lone surrogate in a string")]
    Surrogate,
    /// A number of wrong form or out of range.
    #[error("invalid number")]
    Number,
    /// Nested too deeply.
    #[error("nested too deeply")]
    Depth,
    /// Too many values.
    #[error("too many values")]
    Nodes,
    /// Something stands after the document.
    #[error("characters after the end of the JSON value")]
    Trailing,
    /// A byte order mark.
    #[error("byte order mark")]
    Mark,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
}

/// A string as it stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// With both quotes.
    pub(super) span: Span,
    /// A backslash is in it.
    pub(super) escaped: bool,
}

/// A value that was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) span: Span,
    /// Elements or members of an array or object; 0 for other values.
    pub(super) children: u32,
    /// First byte, which tells the type: `"`, `{`, `[`, `t`, `f`, `n`, `-` or a digit.
    pub(super) first: u8,
    /// A string with a backslash in it.
    pub(super) escaped: bool,
}
