//! `millrace login` and `setup`: to a saved admin token.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use millrace::base::Secret;
use serde_json::{Value, json};

use super::args::{LoginArgs, Reach, SetupArgs};
use super::client::{Call, Client, Proof, Reply};
use super::desk::{Desk, object, saved_token, text};
use super::failure::Failure;
use super::input::{again, secret, secrets};
use super::people::from_now;

/// Logs in, makes a token of the own rights, saves it, and ends the session.
pub(super) fn run(args: &LoginArgs) -> Result<(), Failure> {
    let keep = Keep { rights: rights(args.instance), ..Keep::new(&args.reach, &args.expires)? };
    let password = secret(None, "password")?;
    let mut body = json!({ "email": args.email, "password": password.reveal() });
    if let (Some(map), Some(code)) = (body.as_object_mut(), &args.code) {
        map.insert("code".to_owned(), json!(code));
    }
    keep.enter("/sessions", &body)
}

/// Makes the first operator with the set-up token that the first start printed, and logs in.
pub(super) fn set_up(args: &SetupArgs) -> Result<(), Failure> {
    let keep = Keep { rights: rights(args.instance), ..Keep::new(&args.reach, &args.expires)? };
    let [token, password] = secrets(["set-up token", "new password"])?;
    again(&password)?;
    keep.enter("/setup", &json!({ "token": token.reveal(), "email": args.email, "password": password.reveal() }))
}

/// Where a login leads to. Made before anything is asked for or sent.
struct Keep<'a> {
    reach: &'a Reach,
    file: PathBuf,
    expires: String,
    rights: Rights,
}

/// What the saved token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// What the user may do in the organization.
    Organization,
    /// That, and what the user may do as instance administrator.
    Instance,
}

fn rights(instance: bool) -> Rights {
    if instance { Rights::Instance } else { Rights::Organization }
}

impl<'a> Keep<'a> {
    fn new(reach: &'a Reach, expires: &str) -> Result<Self, Failure> {
        let said = "neither `XDG_CONFIG_HOME` nor `HOME` says where the token is to be saved";
        let file = saved_token().ok_or_else(|| Failure::Usage(said.to_owned()))?;
        Ok(Self { reach, file, expires: from_now(expires)?, rights: Rights::Organization })
    }

    /// Opens a session, which makes and saves a token and is ended again.
    fn enter(self, path: &str, body: &Value) -> Result<(), Failure> {
        let client = Client::new(&self.reach.admin_url, Proof::None)?;
        let entered = client.send(Call::post(path).json(body))?;
        let desk = Desk::with(client.with_proof(Proof::Cookie(session_of(&entered))), self.reach);
        let made = make_token(&desk, &self.expires, self.rights);
        // The session has done its work, whether or not there is a token.
        let ended = desk.client.send(Call::delete("/sessions/current"));
        let made = made?;
        ended?;
        write_private(&self.file, text(&made, "token"))?;
        let (file, expires) = (self.file.display(), &self.expires);
        let shown = json!({ "token_file": file.to_string(), "id": text(&made, "id"), "expires_at": expires });
        desk.done(&format!("logged in at {} until {expires}; the token is in {file}", desk.client.url()), &shown)
    }
}

/// The session cookie of an answer, as `name=value`.
pub(super) fn session_of(entered: &Reply) -> Secret {
    let pair = entered.cookie.as_deref().and_then(|cookie| cookie.split(';').next());
    Secret::new(pair.unwrap_or_default().to_owned())
}

fn make_token(desk: &Desk, expires: &str, rights: Rights) -> Result<Value, Failure> {
    let is_instance = rights == Rights::Instance;
    let mut body = json!({ "description": "millrace login", "instance_admin": is_instance, "expires_at": expires });
    let own = match own_roles(desk) {
        // Who runs the machine may be a member of nothing, or of many and name none.
        Err(_) if is_instance => json!({ "role": "member" }),
        own => own?,
    };
    if let (Some(body), Value::Object(own)) = (body.as_object_mut(), own) {
        body.extend(own);
    }
    desk.post("/admin-tokens", &body)
}

/// The organization, and what the user may do there.
fn own_roles(desk: &Desk) -> Result<Value, Failure> {
    let organization = desk.organization()?;
    let me = desk.get(&format!("{organization}/members/me"))?;
    let id = organization.trim_start_matches("/organizations/");
    let role = |name: &str| me.get(name).cloned();
    Ok(object(&[
        ("organization_id", Some(json!(id))),
        ("role", role("role")),
        ("project_grants", role("project_grants")),
    ]))
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
