//! `millrace org`, `member` and `token`: who may do what.

use millrace::base::unix_time;
use serde_json::{Value, json};

use super::args::{MemberCommand, OrgCommand, RoleArgs, TokenCommand};
use super::client::{Call, encoded};
use super::desk::{Desk, is_id, object, text};
use super::failure::Failure;
use super::table::Column;

const ORGANIZATIONS: &[Column] =
    &[("NAME", "/name"), ("STATUS", "/status"), ("PROJECTS AT MOST", "/project_limit"), ("ID", "/id")];
const MEMBERS: &[Column] = &[
    ("EMAIL", "/email"),
    ("ROLE", "/role"),
    ("GRANTS", "/project_grants"),
    ("LAST SEEN", "/last_seen_at"),
    ("ID", "/user_id"),
];
const INVITATIONS: &[Column] =
    &[("EMAIL", "/email"), ("ROLE", "/role"), ("STATUS", "/status"), ("EXPIRES", "/expires_at"), ("ID", "/id")];
const TOKENS: &[Column] = &[
    ("DESCRIPTION", "/description"),
    ("ROLE", "/role"),
    ("INSTANCE", "/instance_admin"),
    ("LAST 4", "/last4"),
    ("EXPIRES", "/expires_at"),
    ("LAST USED", "/last_used_at"),
    ("ID", "/id"),
];

/// Runs a command about organizations.
pub(super) fn organizations(desk: &Desk, command: OrgCommand) -> Result<(), Failure> {
    match command {
        OrgCommand::List => desk.show_rows(&desk.all("/organizations", &[])?, ORGANIZATIONS),
        OrgCommand::Show => desk.show(&desk.get(&desk.organization()?)?),
        OrgCommand::Create { name } => {
            let made = desk.post("/organizations", &json!({ "name": name }))?;
            desk.done(&format!("made organization {} ({})", name, text(&made, "id")), &made)
        }
        OrgCommand::Set(args) => {
            let body = object(&[
                ("name", args.name.map(Value::from)),
                ("project_limit", args.project_limit.map(Value::from)),
                ("active_key_limit", args.active_key_limit.map(Value::from)),
                ("require_second_approver", args.require_second_approver.map(Value::from)),
            ]);
            if body == json!({}) {
                return Err(Failure::Usage("nothing to change; see `millrace org set --help`".to_owned()));
            }
            desk.show(&desk.patch(&desk.organization()?, &body)?)
        }
        OrgCommand::Delete { confirm } => {
            desk.delete(&desk.organization()?, &format!("?confirm={}", encoded(&confirm)))?;
            desk.done(&format!("organization {confirm} is deleted"), &Value::Null)
        }
    }
}

/// Runs a command about members and invitations.
pub(super) fn members(desk: &Desk, command: MemberCommand) -> Result<(), Failure> {
    let organization = desk.organization()?;
    match command {
        MemberCommand::List => desk.show_rows(&desk.all(&format!("{organization}/members"), &[])?, MEMBERS),
        MemberCommand::Me => desk.show(&desk.get(&format!("{organization}/members/me"))?),
        MemberCommand::Set { user, role } => {
            let body = role_body(desk, &role)?;
            if body == json!({}) {
                return Err(Failure::Usage("give `--role` or `--grant`".to_owned()));
            }
            desk.show(&change_member(desk, &organization, &user, &body)?)
        }
        MemberCommand::Remove { user } => {
            desk.confirm(&format!("remove {user} and disable the keys of {user}"))?;
            let (path, etag) = member(desk, &organization, &user)?;
            desk.client.send(Call::delete(&path).if_match(etag.as_deref()))?;
            desk.done(&format!("{user} is removed, and the keys of {user} are disabled"), &Value::Null)
        }
        MemberCommand::Invite { email, role } => {
            let mut body = role_body(desk, &role)?;
            if let Some(map) = body.as_object_mut() {
                map.insert("email".to_owned(), json!(email));
                map.entry("role").or_insert_with(|| json!("member"));
            }
            let made = desk.post(&format!("{organization}/invitations"), &body)?;
            desk.show(&made)
        }
        MemberCommand::Invitations => {
            desk.show_rows(&desk.all(&format!("{organization}/invitations"), &[])?, INVITATIONS)
        }
        MemberCommand::Revoke { invitation } => {
            let list = format!("{organization}/invitations");
            let rows = desk.all(&list, &[])?;
            let row = rows.iter().find(|row| text(row, "id") == invitation);
            let row = row.ok_or_else(|| Failure::Missing(format!("there is no invitation `{invitation}`")))?;
            let path = format!("{list}/{}", encoded(&invitation));
            desk.client.send(Call::delete(&path).if_match(tag_of(row).as_deref()))?;
            desk.done(&format!("invitation {invitation} is taken back"), &Value::Null)
        }
    }
}

/// The `ETag` of a row of a list, which tells its revision.
fn tag_of(row: &Value) -> Option<String> {
    row.get("revision").and_then(Value::as_u64).map(|revision| format!("\"{revision}\""))
}

/// Path and revision of a member, by id or e-mail.
/// Path of a member, by id or e-mail, and the tag of its revision.
pub(super) fn member(desk: &Desk, organization: &str, user: &str) -> Result<(String, Option<String>), Failure> {
    let rows = desk.all(&format!("{organization}/members"), &[])?;
    let field = if is_id(user, "usr") { "user_id" } else { "email" };
    let row = rows.iter().find(|row| text(row, field).eq_ignore_ascii_case(user));
    let row =
        row.ok_or_else(|| Failure::Missing(format!("there is no member `{user}`; see `millrace member list`")))?;
    Ok((format!("{organization}/members/{}", encoded(text(row, "user_id"))), tag_of(row)))
}

fn change_member(desk: &Desk, organization: &str, user: &str, body: &Value) -> Result<Value, Failure> {
    let (path, etag) = member(desk, organization, user)?;
    desk.client.send(Call::patch(&path).json(body).if_match(etag.as_deref()))?.json()
}

/// Role and grants as the API takes them.
fn role_body(desk: &Desk, args: &RoleArgs) -> Result<Value, Failure> {
    let mut grants = Vec::new();
    for grant in &args.grants {
        let (project, role) =
            grant.split_once('=').ok_or_else(|| Failure::Usage(format!("--grant {grant}: expected PROJECT=ROLE")))?;
        let path = desk.project(project)?;
        grants.push(json!({ "project_id": path.trim_start_matches("/projects/"), "role": role }));
    }
    let role = args.role.map(|role| role.as_str().into());
    Ok(object(&[("role", role), ("project_grants", (!grants.is_empty()).then_some(grants.into()))]))
}

/// Runs a command about admin tokens.
pub(super) fn tokens(desk: &Desk, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List => desk.show_rows(&desk.all("/admin-tokens", &[])?, TOKENS),
        TokenCommand::Create { description, role, instance, expires } => {
            let mut body = role_body(desk, &role)?;
            let organization = desk.organization()?;
            if let Some(map) = body.as_object_mut() {
                map.insert("description".to_owned(), json!(description));
                map.insert("instance_admin".to_owned(), json!(instance));
                map.insert("expires_at".to_owned(), json!(from_now(&expires)?));
                map.insert("organization_id".to_owned(), json!(organization.trim_start_matches("/organizations/")));
            }
            let made = desk.post("/admin-tokens", &body)?;
            desk.done(&shown_once(text(&made, "token"), "token"), &made)
        }
        TokenCommand::Delete { token } => {
            desk.confirm(&format!("end token {token}"))?;
            desk.client.send(Call::delete(&format!("/admin-tokens/{}", encoded(&token))))?;
            desk.done(&format!("token {token} is ended"), &Value::Null)
        }
    }
}

/// A new secret for people: alone on its line, so that it can be copied or cut off.
pub(super) fn shown_once(secret: &str, what: &str) -> String {
    format!("{secret}\n\nThe {what} is not shown again: give it to its user now.")
}

/// The time at the end of a duration from now.
pub(super) fn from_now(duration: &str) -> Result<String, Failure> {
    let length = millrace::base::parse_duration(duration);
    let length = length.map_err(|error| Failure::Usage(format!("`{duration}`: {error}")))?;
    let mut time = unix_time();
    time.0 += length;
    Ok(time.rfc3339())
}
