//! Text that must never be shown.
//!
//! No `Debug`, `Display` or `Serialize` that tells the value; the memory is overwritten when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, such as a provider key.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a text as secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text itself. Callers write it to a socket and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_tell_the_text() {
        let shown = format!("{:?}", Secret::new("sk-canary".to_owned()));
        assert_eq!(shown, "Secret(..)");
    }
}
