//! Passwords of operators: argon2id, at most two at a time.
//!
//! A hash takes 19 MiB and some ten milliseconds, so it runs off the admin thread, and never more than two at once: a
//! flood of logins costs bounded memory and waits in line.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use super::super::error::ControlError;
use crate::base::Secret;

/// Hashes computed at the same time.
const AT_ONCE_MAX: usize = 2;
/// Bytes of salt, as RFC 9106 recommends.
const SALT_LEN: usize = 16;
/// Shortest password, in characters (NIST SP 800-63B).
const CHARS_MIN: usize = 12;
/// Longest password, in bytes.
const BYTES_MAX: usize = 1_024;
/// Compared with when there is no such user, so that the answer takes as long. Nobody has its password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bWlsbHJhY2Uubm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Computes and compares password hashes.
pub(in crate::control) struct Passwords {
    turns: Semaphore,
}

impl Passwords {
    /// Starts with both turns free.
    pub(in crate::control) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE_MAX) }
    }

    /// Hashes a new password with a random salt, in PHC form.
    ///
    /// # Errors
    /// A field problem when the password is too short or too long.
    pub(in crate::control) async fn hash(&self, password: Secret) -> Result<String, ControlError> {
        let text = password.reveal();
        if text.chars().count() < CHARS_MIN || text.len() > BYTES_MAX {
            let message = format!("a password has at least {CHARS_MIN} characters and at most {BYTES_MAX} bytes");
            return Err(ControlError::field("password", message));
        }
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt)?;
        let hashed = self.off_thread(move || {
            let made = Argon2::default().hash_password_with_salt(password.reveal().as_bytes(), &salt);
            made.map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|error| ControlError::Internal(format!("argon2: {error}")))
    }

    /// Whether a password belongs to a stored hash. Without a hash the same work is done and the answer is no.
    ///
    /// # Errors
    /// [`ControlError::Internal`] when no thread can be had.
    pub(in crate::control) async fn matches(
        &self,
        password: Secret,
        hash: Option<String>,
    ) -> Result<bool, ControlError> {
        if password.reveal().len() > BYTES_MAX {
            return Ok(false);
        }
        self.off_thread(move || {
            let known = hash.is_some();
            let text = hash.unwrap_or_else(|| NOBODY.to_owned());
            let Ok(stored) = PasswordHash::new(&text) else {
                return false;
            };
            let fits = Argon2::default().verify_password(password.reveal().as_bytes(), &stored).is_ok();
            fits && known
        })
        .await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await.ok();
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| ControlError::Internal(format!("a password thread ended: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn password_matches_its_own_hash_only() {
        let passwords = Passwords::new();
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (name, password, hash, want) in [
            ("right", "correct horse battery", Some(&hash), true),
            ("wrong", "correct horse batterz", Some(&hash), false),
            ("no such user", "correct horse battery", None, false),
            ("no such user, and a guess", "", None, false),
        ] {
            assert_eq!(passwords.matches(secret(password), hash.cloned()).await.unwrap(), want, "{name}");
        }
        assert_ne!(passwords.hash(secret("correct horse battery")).await.unwrap(), hash, "salts differ");
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        let passwords = Passwords::new();
        for text in ["", "elevenchars", &"x".repeat(BYTES_MAX + 1)] {
            let refused = passwords.hash(Secret::new(text.to_owned())).await;
            assert!(matches!(refused, Err(ControlError::Invalid(_))), "{} bytes", text.len());
        }
    }

    #[test]
    fn hash_of_nobody_is_as_costly_as_a_new_one() {
        let stored = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(stored.params.to_string(), "m=19456,t=2,p=1");
    }
}
