//! Fields of rules: names, targets, channels.

use super::super::{error::FieldProblem, instance::Control};
use super::{mail::is_address, rule::Channel};
use crate::{
    base::{Id, IdKind, Secret},
    config::secret_text,
    store::{AlertChannel, AlertScope, ChannelKind, Owner},
};

const NAME_CHARS_MAX: usize = 255;
const DESCRIPTION_CHARS_MAX: usize = 2_000;
const ADDRESSES_MAX: usize = 10;
/// A shorter key of a signature could be found by trying.
const SECRET_CHARS_MIN: usize = 16;

/// Channels that are in order, and a new secret if one was given.
#[derive(Default)]
pub(super) struct Channels {
    pub(super) channels: Vec<AlertChannel>,
    pub(super) secret: Option<Secret>,
}

/// Checks name and description.
pub(super) fn texts(name: &str, description: &str, problems: &mut Vec<FieldProblem>) {
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        problems.push(FieldProblem::new("name", format!("expected 1 to {NAME_CHARS_MAX} characters")));
    }
    if description.chars().count() > DESCRIPTION_CHARS_MAX || description.chars().any(is_control) {
        problems.push(FieldProblem::new("description", format!("at most {DESCRIPTION_CHARS_MAX} characters")));
    }
}

/// Checks that the scope fits the owner, and that the target is a route's name or a key's id.
pub(super) fn target(owner: &Owner, scope: AlertScope, target: Option<&str>, problems: &mut Vec<FieldProblem>) {
    let is_organization = matches!(owner, Owner::Organization(_));
    if is_organization != (scope == AlertScope::Organization) {
        let said = "rules of an organization have the scope `organization`, those of a project one of the others";
        problems.push(FieldProblem::new("scope", said));
    }
    let problem = match (scope, target) {
        (AlertScope::Organization | AlertScope::Project, None) => None,
        (AlertScope::Organization | AlertScope::Project, Some(_)) => Some("only for the scopes `route` and `key`"),
        (AlertScope::Route, Some(name)) if is_route_name(name) => None,
        (AlertScope::Route, _) => Some("expected the name of a route of the project"),
        (AlertScope::Key, Some(id)) if Id::parse(IdKind::Key, id).is_some() => None,
        (AlertScope::Key, _) => Some("expected the id of a key of the project, `key_...`"),
    };
    problems.extend(problem.map(|said| FieldProblem::new("target", said)));
}

fn is_route_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_letter)
}

impl Control {
    /// Checks channels; addresses of webhooks must pass the egress guard now, and again at each delivery.
    pub(super) fn channels(&self, said: Vec<Channel>, problems: &mut Vec<FieldProblem>) -> Channels {
        let mut checked = Channels::default();
        if said.is_empty() {
            problems.push(FieldProblem::new("channels", "expected at least one channel, such as `dashboard`"));
        }
        for (index, channel) in said.into_iter().enumerate() {
            let kind = channel.kind;
            let path = |field: &str| format!("channels[{index}].{field}");
            if checked.channels.iter().any(|before| before.kind() == kind) {
                problems.push(FieldProblem::new(path("type"), "at most one channel of a type"));
            }
            let foreign = match kind {
                ChannelKind::Dashboard => [
                    ("url", channel.url.is_some()),
                    ("secret", channel.secret.is_some()),
                    ("to", !channel.to.is_empty()),
                ],
                ChannelKind::Webhook => [("to", !channel.to.is_empty()); 3],
                ChannelKind::Email => {
                    [("url", channel.url.is_some()), ("secret", channel.secret.is_some()), ("url", false)]
                }
            };
            if let Some((field, _)) = foreign.iter().find(|(_, given)| *given) {
                problems.push(FieldProblem::new(path(field), format!("not for a channel `{}`", kind.as_str())));
            }
            match kind {
                ChannelKind::Dashboard => checked.channels.push(AlertChannel::Dashboard),
                ChannelKind::Webhook => {
                    let url = channel.url.unwrap_or_default();
                    if let Err(error) = self.registries().origins.check(&url) {
                        problems.push(FieldProblem::new(path("url"), error.to_string()));
                    }
                    if let Some(secret) = channel.secret {
                        match checked_secret(&secret) {
                            Ok(secret) => checked.secret = Some(secret),
                            Err(said) => problems.push(FieldProblem::new(path("secret"), said)),
                        }
                    }
                    checked.channels.push(AlertChannel::Webhook(url));
                }
                ChannelKind::Email => {
                    self.check_addresses(&channel.to, &path("to"), problems);
                    checked.channels.push(AlertChannel::Email(channel.to));
                }
            }
        }
        checked
    }

    fn check_addresses(&self, to: &[String], path: &str, problems: &mut Vec<FieldProblem>) {
        if self.alerting().mail().is_none() {
            let said = "e-mail is not set up; ask whoever runs the gateway to set `mail` in its settings";
            problems.push(FieldProblem::new(path, said));
        }
        if !(1..=ADDRESSES_MAX).contains(&to.len()) || !to.iter().all(|address| is_address(address)) {
            problems.push(FieldProblem::new(
                path,
                format!("expected 1 to {ADDRESSES_MAX} addresses, such as `ops@example.com`"),
            ));
        }
    }
}

fn checked_secret(secret: &Secret) -> Result<Secret, String> {
    let secret = secret_text(secret.reveal()).map_err(|error| error.to_string())?;
    if secret.reveal().len() < SECRET_CHARS_MIN {
        return Err(format!("expected at least {SECRET_CHARS_MIN} characters"));
    }
    Ok(secret)
}
