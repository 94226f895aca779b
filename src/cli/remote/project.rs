//! `millrace project`: settings and life of projects.

use serde_json::{Map, Value, json};

use super::apply;
use super::client::{Call, encoded};
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::project_args::{ActArgs, CreateArgs, ListArgs, ProjectCommand, SetArgs, SettingArgs};
use super::table::Column;
use super::version;

const COLUMNS: &[Column] = &[
    ("SLUG", "/slug"),
    ("STATUS", "/status"),
    ("CONFIG", "/config_state"),
    ("SERVED", "/served_version"),
    ("OPEN", "/open_version"),
    ("GENERATION", "/generation"),
    ("ENVIRONMENT", "/environment"),
    ("NAME", "/name"),
    ("ID", "/id"),
];

/// Runs a command about projects.
pub(super) fn run(desk: &Desk, command: ProjectCommand) -> Result<(), Failure> {
    match command {
        ProjectCommand::List(args) => list(desk, &args),
        ProjectCommand::Show(args) => desk.show(&desk.get(&desk.project(&args.project)?)?),
        ProjectCommand::Create(args) => create(desk, &args),
        ProjectCommand::Set(args) => set(desk, &args),
        ProjectCommand::Archive(args) => {
            desk.confirm(&format!("archive {}, which takes it offline at once", args.project))?;
            act(desk, &args, "archive", "is archived")
        }
        ProjectCommand::Restore(args) => act(desk, &args, "restore", "is active; serve a version, or roll back"),
        ProjectCommand::Delete { project, confirm } => delete(desk, &project, &confirm),
        ProjectCommand::Load(args) => version::load(desk, &args),
        ProjectCommand::Validate(args) => version::validate(desk, &args),
        ProjectCommand::Import { file, name } => version::import(desk, &file, name.as_deref()),
        ProjectCommand::Export { project, version, output } => {
            version::export(desk, &project, version, output.as_deref())
        }
        ProjectCommand::Copy(args) => version::copy(desk, &args),
        ProjectCommand::Discard(args) => version::discard(desk, &args.project),
        ProjectCommand::Approve(args) => version::approve(desk, &args),
        ProjectCommand::Withdraw(args) => version::withdraw(desk, &args),
        ProjectCommand::Serve(args) => version::serve(desk, &args),
        ProjectCommand::Unserve(args) => {
            desk.confirm(&format!("take {} offline", args.project))?;
            version::unserve(desk, &args)
        }
        ProjectCommand::Rollback { project, to, comment } => version::roll_back(desk, &project, to, comment.as_deref()),
        ProjectCommand::Diff(args) => version::diff(desk, &args),
        ProjectCommand::History { project, generations } => version::history(desk, &project, generations),
        ProjectCommand::Apply(args) => apply::run(desk, &args),
    }
}

fn list(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let status = args.status.as_deref().map(str::to_uppercase);
    let filters = [
        ("status", status.as_deref()),
        ("lifecycle", args.archived.then_some("archived")),
        ("environment", args.environment.as_deref()),
        ("tag", args.tag.as_deref()),
        ("q", args.query.as_deref()),
    ];
    let rows = desk.all(&format!("{}/projects", desk.organization()?), &filters)?;
    desk.show_rows(&rows, COLUMNS)
}

fn create(desk: &Desk, args: &CreateArgs) -> Result<(), Failure> {
    let mut body = settings(&args.settings)?;
    body.insert("name".to_owned(), json!(args.name));
    if let Some(slug) = &args.slug {
        body.insert("slug".to_owned(), json!(slug));
    }
    let made = desk.post(&format!("{}/projects", desk.organization()?), &Value::Object(body))?;
    let slug = text(&made, "slug");
    desk.done(
        &format!(
            "made project {slug} ({}); load a configuration: millrace project load {slug} FILE",
            text(&made, "id")
        ),
        &made,
    )
}

fn set(desk: &Desk, args: &SetArgs) -> Result<(), Failure> {
    let mut body = settings(&args.settings)?;
    if let Some(name) = &args.name {
        body.insert("name".to_owned(), json!(name));
    }
    if body.is_empty() {
        return Err(Failure::Usage("nothing to change; see `millrace project set --help`".to_owned()));
    }
    let changed = desk.patch(&desk.project(&args.project)?, &Value::Object(body))?;
    desk.show(&changed)
}

/// The settings that were given.
fn settings(args: &SettingArgs) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    let texts = [("description", &args.description), ("environment", &args.environment), ("mode", &args.mode)];
    for (name, value) in texts {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    if !args.tags.is_empty() {
        let mut tags = Map::new();
        for tag in &args.tags {
            let (key, value) =
                tag.split_once('=').ok_or_else(|| Failure::Usage(format!("--tag {tag}: expected KEY=VALUE")))?;
            tags.insert(key.to_owned(), json!(value));
        }
        body.insert("tags".to_owned(), Value::Object(tags));
    }
    Ok(body)
}

fn act(desk: &Desk, args: &ActArgs, verb: &str, said: &str) -> Result<(), Failure> {
    let path = format!("{}/{verb}", desk.project(&args.project)?);
    let answer = desk.post(&path, &object(&[("comment", args.comment.as_deref().map(Value::from))]))?;
    desk.done(&format!("{} {said}", args.project), &answer)
}

fn delete(desk: &Desk, project: &str, confirm: &str) -> Result<(), Failure> {
    let path = desk.project(project)?;
    let seen = desk.client.send(Call::get(&path))?;
    let target = format!("{path}?confirm={}", encoded(confirm));
    desk.client.send(Call::delete(&target).if_match(seen.etag.as_deref()))?;
    desk.done(&format!("{project} is deleted"), &Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sent_as_pairs() {
        let args = |tags: &[&str]| SettingArgs {
            description: None,
            environment: Some("production".to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            mode: None,
        };
        let body = Value::Object(settings(&args(&["team=a", "note=b=c"])).unwrap());
        assert_eq!(body, json!({"environment": "production", "tags": {"team": "a", "note": "b=c"}}));
        assert!(matches!(settings(&args(&["team"])), Err(Failure::Usage(_))));
    }
}
