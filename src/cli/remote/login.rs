//! `millrace login`: from a password to a saved admin token.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use millrace::base::Secret;
use serde_json::{Value, json};

use super::args::LoginArgs;
use super::client::{Call, Client, Proof};
use super::desk::{Desk, saved_token, text};
use super::failure::Failure;
use super::input::secret;
use super::people::from_now;

/// Logs in, makes a token of the own rights, saves it, and ends the session.
pub(super) fn run(args: &LoginArgs) -> Result<(), Failure> {
    let Some(file) = saved_token() else {
        return Err(Failure::Usage(
            "neither `XDG_CONFIG_HOME` nor `HOME` says where the token is to be saved".to_owned(),
        ));
    };
    let expires = from_now(&args.expires)?;
    let client = Client::new(&args.reach.admin_url, Proof::None)?;
    let password = secret(None, "password")?;
    let body = json!({ "email": args.email, "password": password.reveal() });
    let entered = client.send(Call::post("/sessions").json(&body))?;
    let cookie = entered.cookie.as_deref().and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    let desk = Desk::with(client.with_proof(Proof::Cookie(Secret::new(cookie))), &args.reach);
    let made = make_token(&desk, &expires);
    // The session has done its work, whether or not there is a token.
    let ended = desk.client.send(Call::delete("/sessions/current"));
    let made = made?;
    ended?;
    write_private(&file, text(&made, "token"))?;
    let shown = json!({ "token_file": file.display().to_string(), "id": text(&made, "id"), "expires_at": expires });
    desk.done(
        &format!("logged in at {} until {expires}; the token is in {}", desk.client.url(), file.display()),
        &shown,
    )
}

fn make_token(desk: &Desk, expires: &str) -> Result<Value, Failure> {
    let organization = desk.organization()?;
    let me = desk.get(&format!("{organization}/members/me"))?;
    let mut body = json!({
        "description": "millrace login",
        "organization_id": organization.trim_start_matches("/organizations/"),
        "expires_at": expires,
    });
    if let Some(map) = body.as_object_mut() {
        for name in ["role", "project_grants"] {
            map.extend(me.get(name).map(|value| (name.to_owned(), value.clone())));
        }
    }
    desk.post("/admin-tokens", &body)
}

/// Writes a file that only its owner can read, in place of an earlier one.
fn write_private(file: &Path, token: &str) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let fails = || format!("cannot save the token in {}", file.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(fails)?;
    let fresh = file.with_extension("new");
    // What an earlier attempt has left may be readable by others.
    let _ = fs::remove_file(&fresh);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).with_context(fails)?;
    written.set_permissions(Permissions::from_mode(0o600)).with_context(fails)?;
    writeln!(written, "{token}").with_context(fails)?;
    fs::rename(&fresh, file).with_context(fails)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_token_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("millrace").join("admin-token");
        for token in ["mr_admin_1", "mr_admin_2"] {
            write_private(&file, token).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{token}\n"));
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
