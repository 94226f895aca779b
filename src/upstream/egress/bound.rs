//! Where a stored key may be sent: scheme, host and port.
//!
//! A key is entered for one place and never sent to another, whatever a configuration says (threat T-30).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::url::{self, BaseUrl, UrlError};

/// A place that a stored key is bound to, such as `https://api.openai.com`. Compared, never connected to: only
/// [`super::Guard::parse`] opens a way out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BoundOrigin(BaseUrl);

/// Why a text is no place to bind a key to. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoundOriginError {
    /// Not a URL of the one accepted form.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// It has a path, which would say more than can be held.
    #[error("a key is bound to a scheme, host and port; leave the path out")]
    Path,
}

impl BoundOrigin {
    /// Takes the scheme, host and port of a base URL, whatever its path.
    ///
    /// # Errors
    /// [`UrlError`] when it is not a URL of the one accepted form.
    pub fn of_url(text: &str) -> Result<Self, UrlError> {
        url::parse(text).map(|url| Self(url.without_path()))
    }

    /// Whether `url` goes to this place.
    #[must_use]
    pub fn covers(&self, url: &BaseUrl) -> bool {
        self.0.same_origin(url)
    }
}

/// Reads `scheme://host` or `scheme://host:port`.
impl FromStr for BoundOrigin {
    type Err = BoundOriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = url::parse(text)?;
        if url.path().is_empty() { Ok(Self(url)) } else { Err(BoundOriginError::Path) }
    }
}

/// The one spelling: without the scheme's own port.
impl fmt::Display for BoundOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_scheme_host_and_port_is_covered() {
        let bound: BoundOrigin = "https://api.example.com:443".parse().unwrap();
        assert_eq!(bound.to_string(), "https://api.example.com");
        for (url, want) in [
            ("https://api.example.com/v1", true),
            ("https://API.example.com:443/other", true),
            ("https://api.example.com:8443/v1", false),
            ("http://api.example.com:443/v1", false),
            ("https://api.example.com.evil.test/v1", false),
            ("https://example.com/v1", false),
        ] {
            assert_eq!(bound.covers(&url::parse(url).unwrap()), want, "{url}");
            assert_eq!(BoundOrigin::of_url(url).unwrap() == bound, want, "{url}");
        }
    }

    #[test]
    fn place_with_a_path_is_refused() {
        assert_eq!("https://a.example/v1".parse::<BoundOrigin>(), Err(BoundOriginError::Path));
        assert_eq!("a.example".parse::<BoundOrigin>(), Err(BoundOriginError::Url(UrlError::Scheme)));
    }
}
