//! E-mail of notices, by the server that the settings name.

use std::time::Duration;

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use serde_json::Value;

use crate::base::Secret;

/// How long a server may take for one command.
const COMMAND_MAX: Duration = Duration::from_secs(8);

/// Why e-mail cannot be set up. Holds nothing of the address: it may have a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The sender.
    #[error("`mail.from` is no address such as `Millrace <alerts@example.com>`")]
    From,
    /// The server.
    #[error("`mail.smtp_url` must be `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://HOST:PORT?tls=required`")]
    Url,
    /// A password would travel in clear.
    #[error("`mail.smtp_url` has a password and no TLS; use `smtps://`, or add `?tls=required`")]
    Plain,
}

/// Sends e-mail.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// Takes the server and the sender from the settings. Nothing is sent to try them.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(url: &Secret, from: &str) -> Result<Self, MailError> {
        let from = from.parse().map_err(|_| MailError::From)?;
        let text = url.reveal();
        let rest = text.strip_prefix("smtp://");
        let authority = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        if authority.contains('@') && !text.ends_with("?tls=required") {
            return Err(MailError::Plain);
        }
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(text).map_err(|_| MailError::Url)?;
        Ok(Self { transport: builder.timeout(Some(COMMAND_MAX)).build(), from })
    }

    /// Sends a notice to some addresses.
    ///
    /// # Errors
    /// What failed, without the server's own words.
    pub(super) async fn send(&self, to: &[String], payload: &str) -> Result<(), String> {
        let message = self.message(to, payload).ok_or_else(|| "the message cannot be written".to_owned())?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.status() {
                Some(code) => format!("the mail server refused it with {code}"),
                None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
                None => "the mail server cannot be reached, or broke off".to_owned(),
            }),
        }
    }

    fn message(&self, to: &[String], payload: &str) -> Option<Message> {
        let notice: Value = serde_json::from_str(payload).ok()?;
        let text = |path: &str| notice.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let name: String = text("/alert/name").chars().filter(|letter| !letter.is_control()).collect();
        let subject = format!("[Millrace] {name}: {}", text("/state"));
        let mut body = format!("{}\n\n", text("/detail"));
        for (label, path) in [
            ("Rule", "/alert/name"),
            ("Event", "/alert/event"),
            ("State", "/state"),
            ("Value", "/value"),
            ("Time", "/at"),
            ("Project", "/project_id"),
            ("Rule id", "/alert/id"),
        ] {
            if !text(path).is_empty() {
                body.push_str(&format!("{label}: {}\n", text(path)));
            }
        }
        let mut message = Message::builder().from(self.from.clone()).subject(subject);
        for address in to {
            message = message.to(Mailbox::new(None, address.parse().ok()?));
        }
        message.header(ContentType::TEXT_PLAIN).body(body).ok()
    }
}

/// Whether a text is one e-mail address.
pub(super) fn is_address(text: &str) -> bool {
    text.len() <= 254 && text.parse::<Address>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(url: &str) -> Result<Mail, MailError> {
        Mail::new(&Secret::new(url.to_owned()), "Millrace <alerts@example.com>")
    }

    #[test]
    fn password_never_travels_in_clear() {
        for (url, want) in [
            ("smtps://u:p@mail.example.com", None),
            ("smtp://127.0.0.1:2525", None),
            ("smtp://u:p@mail.example.com:587?tls=required", None),
            ("smtp://u:p@mail.example.com:587", Some(MailError::Plain)),
            ("smtp://u:p@mail.example.com:587?tls=opportunistic", Some(MailError::Plain)),
            ("https://mail.example.com", Some(MailError::Url)),
            ("mail.example.com", Some(MailError::Url)),
        ] {
            assert_eq!(mail(url).err(), want, "{url}");
        }
    }

    #[tokio::test]
    async fn name_of_a_rule_cannot_add_a_header() {
        let mail = mail("smtp://127.0.0.1:2525").unwrap();
        let payload = serde_json::json!({ "alert": { "name": "a\r\nBcc: all@example.com" }, "state": "firing" });
        let message = mail.message(&["ops@example.com".to_owned()], &payload.to_string()).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(is_address("ops@example.com") && !is_address("ops@example.com, x@example.com"));
    }
}
