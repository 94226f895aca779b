//! `millrace secret`, `provider-key`: values that only go in.

use serde_json::{Value, json};

use super::args::{ProviderKeyCommand, SecretCommand, ValueArgs};
use super::client::{Call, encoded};
use super::desk::{Desk, is_id, object, text};
use super::failure::Failure;
use super::input::secret;
use super::table::Column;

const SECRETS: &[Column] = &[
    ("NAME", "/name"),
    ("LAST 4", "/value/last4"),
    ("FINGERPRINT", "/value/fingerprint"),
    ("ORIGINS", "/bound_origins"),
    ("ENTERED", "/value/entered_at"),
    ("ID", "/id"),
];
const PROVIDER_KEYS: &[Column] = &[
    ("PROVIDER", "/provider"),
    ("LABEL", "/label"),
    ("STATUS", "/status"),
    ("LAST 4", "/value/last4"),
    ("BASE URL", "/base_url"),
    ("ENTERED", "/value/entered_at"),
    ("ID", "/id"),
];

/// Runs a command about secrets.
pub(super) fn secrets(desk: &Desk, command: SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::Create { name, owner, origins, value } => {
            let list = format!("{}/secrets", desk.owner(owner.project.as_deref())?);
            let body = json!({ "name": name, "bound_origins": origins, "value": entered(&value, "value")? });
            let made = desk.post(&list, &body)?;
            desk.done(&format!("made secret {name} ({}): `!secret {name}`", text(&made, "id")), &made)
        }
        SecretCommand::List { owner } => {
            let list = format!("{}/secrets", desk.owner(owner.project.as_deref())?);
            desk.show_rows(&desk.whole(&list)?, SECRETS)
        }
        SecretCommand::Rotate { name, owner, value } => {
            let list = format!("{}/secrets", desk.owner(owner.project.as_deref())?);
            let found = find(desk, &list, &name)?;
            rotate(desk, &list, &found, &value)
        }
        SecretCommand::Delete { name, owner, force } => {
            let list = format!("{}/secrets", desk.owner(owner.project.as_deref())?);
            let found = find(desk, &list, &name)?;
            delete(desk, &list, &found, force)
        }
    }
}

/// Runs a command about provider keys.
pub(super) fn provider_keys(desk: &Desk, command: ProviderKeyCommand) -> Result<(), Failure> {
    match command {
        ProviderKeyCommand::Create { provider, label, owner, base_url, value } => {
            let list = format!("{}/provider-keys", desk.owner(owner.project.as_deref())?);
            let body = object(&[
                ("provider", Some(json!(provider))),
                ("label", Some(json!(label))),
                ("base_url", base_url.map(Value::from)),
                ("value", Some(json!(entered(&value, "key of the provider")?))),
            ]);
            let made = desk.post(&list, &body)?;
            desk.done(&format!("made provider key {label} of {provider} ({})", text(&made, "id")), &made)
        }
        ProviderKeyCommand::List { owner } => {
            let list = format!("{}/provider-keys", desk.owner(owner.project.as_deref())?);
            desk.show_rows(&desk.whole(&list)?, PROVIDER_KEYS)
        }
        ProviderKeyCommand::Rotate { id, owner, value } => {
            let list = format!("{}/provider-keys", desk.owner(owner.project.as_deref())?);
            let found = find(desk, &list, &id)?;
            rotate(desk, &list, &found, &value)
        }
        ProviderKeyCommand::Delete { id, owner, force } => {
            let list = format!("{}/provider-keys", desk.owner(owner.project.as_deref())?);
            let found = find(desk, &list, &id)?;
            delete(desk, &list, &found, force)
        }
    }
}

/// A record, as its list shows it.
struct Found {
    id: String,
    name: String,
    etag: Option<String>,
}

fn find(desk: &Desk, list: &str, name: &str) -> Result<Found, Failure> {
    let field = if is_id(name, "sec") || is_id(name, "pk") { "id" } else { "name" };
    let rows = desk.whole(list)?;
    let row = rows.iter().find(|row| text(row, field) == name);
    let row = row.ok_or_else(|| Failure::Missing(format!("there is no `{name}` here; see the `list` command")))?;
    let id = text(row, "id").to_owned();
    // The list has no revisions: the record itself has.
    let etag = desk.client.send(Call::get(&format!("{list}/{}", encoded(&id))))?.etag;
    Ok(Found { id, name: name.to_owned(), etag })
}

fn rotate(desk: &Desk, list: &str, found: &Found, value: &ValueArgs) -> Result<(), Failure> {
    let path = format!("{list}/{}/value", encoded(&found.id));
    let body = json!({ "value": entered(value, "new value")? });
    let answer = desk.client.send(Call::put(&path).json(&body).if_match(found.etag.as_deref()))?.json()?;
    desk.done(&format!("{} has a new value; it is live", found.name), &answer)
}

fn delete(desk: &Desk, list: &str, found: &Found, force: bool) -> Result<(), Failure> {
    desk.confirm(&format!("delete {}", found.name))?;
    let force = if force { "?force=true" } else { "" };
    let path = format!("{list}/{}{force}", encoded(&found.id));
    desk.client.send(Call::delete(&path).if_match(found.etag.as_deref()))?;
    desk.done(&format!("{} is deleted", found.name), &Value::Null)
}

fn entered(args: &ValueArgs, what: &str) -> Result<String, Failure> {
    Ok(secret(args.value_file.as_deref(), what)?.reveal().to_owned())
}
