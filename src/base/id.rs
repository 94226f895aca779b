//! Ids of the control plane's objects.
//!
//! A prefix that tells the kind, `_`, and 20 random characters of `[0-9A-Za-z]`: 119 bits, so an id cannot be guessed and
//! tells nothing about how many there are.

use std::{fmt, sync::Arc};

/// Random characters of an id.
const RANDOM_LEN: usize = 20;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// `org_`
    Organization,
    /// `usr_`
    User,
    /// `inv_`
    Invitation,
    /// `tok_`
    AdminToken,
    /// `prj_`
    Project,
    /// `key_`
    Key,
    /// `sec_`
    Secret,
    /// `pk_`
    ProviderKey,
    /// `egr_`
    EgressRule,
    /// `lim_`
    Limit,
    /// `rul_`
    Rule,
    /// `alr_`
    Alert,
    /// `rpr_`
    Reprice,
}

impl IdKind {
    /// The text before the `_`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Organization => "org",
            Self::User => "usr",
            Self::Invitation => "inv",
            Self::AdminToken => "tok",
            Self::Project => "prj",
            Self::Key => "key",
            Self::Secret => "sec",
            Self::ProviderKey => "pk",
            Self::EgressRule => "egr",
            Self::Limit => "lim",
            Self::Rule => "rul",
            Self::Alert => "alr",
            Self::Reprice => "rpr",
        }
    }
}

/// An id, such as `prj_0aZ...`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// Makes a new id from the system's random source.
    ///
    /// # Errors
    /// The error of the random source.
    pub fn random(kind: IdKind) -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(kind.prefix().len() + 1 + RANDOM_LEN);
        text.push_str(kind.prefix());
        text.push('_');
        push_random(&mut text, RANDOM_LEN)?;
        Ok(Self(text.into()))
    }

    /// Reads an id of this kind; none when the text cannot be one.
    #[must_use]
    pub fn parse(kind: IdKind, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(kind.prefix())?.strip_prefix('_')?;
        let fits = rest.len() == RANDOM_LEN && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.into()))
    }

    /// Takes over a text that was an id when it was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Appends `count` characters of `[0-9A-Za-z]`, uniformly drawn.
///
/// # Errors
/// The error of the random source.
pub fn push_random(text: &mut String, count: usize) -> Result<(), getrandom::Error> {
    let mut pool = [0u8; 64];
    let mut wanted = count;
    while wanted > 0 {
        getrandom::fill(&mut pool)?;
        for byte in pool {
            // 248 is the largest multiple of 62 in a byte: above it the draw would not be uniform.
            if byte < 248 && wanted > 0 {
                text.push(char::from(ALPHABET.get(usize::from(byte % 62)).copied().unwrap_or(b'0')));
                wanted -= 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_id_is_read_back_as_its_kind_only() {
        let id = Id::random(IdKind::Project).unwrap();
        assert_eq!(Id::parse(IdKind::Project, id.as_str()), Some(id.clone()));
        assert_eq!(Id::parse(IdKind::Key, id.as_str()), None);
        assert_ne!(Id::random(IdKind::Project).unwrap(), id);
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "prj",
            "prj_",
            "prj_short",
            "prj_0123456789012345678/",
            "prj_012345678901234567890",
            "PRJ_01234567890123456789",
        ] {
            assert_eq!(Id::parse(IdKind::Project, text), None, "{text}");
        }
    }
}
