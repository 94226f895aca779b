//! `millrace project`: versions, and what is live.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use millrace::config::{Severity, project_slug};
use serde_json::{Value, json};

use super::client::{Call, query};
use super::desk::{Desk, object, text};
use super::diff::diff_text;
use super::failure::{Failure, problem_line};
use super::project_args::{ActArgs, DiffArgs, DiffForm, FileArgs, LoadArgs, ServeArgs, VersionArgs};
use super::table::{Column, plain_lines};
use crate::cli::documents::read;

const VERSIONS: &[Column] = &[
    ("VERSION", "/version"),
    ("STATE", "/state"),
    ("CREATED", "/created_at"),
    ("AUTHOR", "/author"),
    ("APPROVER", "/approver"),
    ("FROM", "/copied_from"),
    ("COMMENT", "/comment"),
];
const GENERATIONS: &[Column] = &[
    ("GENERATION", "/generation"),
    ("VERSION", "/version"),
    ("KIND", "/kind"),
    ("AT", "/at"),
    ("ACTOR", "/actor"),
    ("COMMENT", "/comment"),
];

/// What is open in a project.
pub(super) struct OpenVersion {
    pub(super) number: u64,
    pub(super) state: String,
    pub(super) content: String,
    pub(super) etag: Option<String>,
}

/// The open version; none if there is none.
pub(super) fn open_version(desk: &Desk, project: &str) -> Result<Option<OpenVersion>, Failure> {
    let reply = match desk.client.send(Call::get(&format!("{project}/config/draft"))) {
        Err(failure) if failure.is_not_found() => return Ok(None),
        reply => reply?,
    };
    let body = reply.json()?;
    Ok(Some(OpenVersion {
        number: number(&body, "version").unwrap_or_default(),
        state: text(&body, "state").to_owned(),
        content: text(&body, "content").to_owned(),
        etag: reply.etag,
    }))
}

/// Saves a text as the new open version, over the one that was seen.
pub(super) fn save(
    desk: &Desk,
    project: &str,
    seen: Option<&OpenVersion>,
    (file, content): (&str, Vec<u8>),
    comment: Option<&str>,
) -> Result<Value, Failure> {
    let path = format!("{project}/config/draft");
    let call = match (comment, String::from_utf8(content)) {
        (Some(comment), Ok(content)) => Call::put(&path).json(&json!({ "content": content, "comment": comment })),
        (_, Ok(content)) => Call::put(&path).yaml(content.into_bytes()),
        (_, Err(error)) => Call::put(&path).yaml(error.into_bytes()),
    };
    let call = match seen {
        Some(open) => call.if_match(open.etag.as_deref()),
        None => call.header("if-none-match", "*"),
    };
    desk.client.send(call).map_err(|failure| failure.in_file(file))?.json()
}

/// A file's text and its name for messages.
pub(super) fn read_file(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = file.display().to_string();
    match read(file) {
        Ok(text) => Ok((name, text)),
        Err(refusal) => Err(Failure::Usage(refusal.problem.render(&refusal.file))),
    }
}

pub(super) fn load(desk: &Desk, args: &LoadArgs) -> Result<(), Failure> {
    let (file, content) = read_file(&args.place.file)?;
    let project = desk.project(&args.place.project)?;
    let open = open_version(desk, &project)?;
    let saved = save(desk, &project, open.as_ref(), (&file, content), args.comment.as_deref())?;
    told_of_save(desk, &args.place.project, &file, &saved)
}

fn told_of_save(desk: &Desk, project: &str, file: &str, saved: &Value) -> Result<(), Failure> {
    desk.say(&problem_lines(saved, file))?;
    let lost = saved.get("approval_lost").and_then(Value::as_bool).unwrap_or_default();
    let lost = if lost { "; the approval of the version before is lost" } else { "" };
    let version = number(saved, "version").unwrap_or_default();
    let next = if error_count(saved) == 0 {
        format!("approve it: millrace project approve {project}")
    } else {
        "it cannot be approved before its problems are solved".to_owned()
    };
    desk.done(&format!("saved version {version} as the draft{lost}; {next}"), saved)
}

pub(super) fn validate(desk: &Desk, args: &FileArgs) -> Result<(), Failure> {
    let (file, content) = read_file(&args.file)?;
    let found = check(desk, &desk.project(&args.project)?, (&file, content))?;
    if desk.is_json() {
        desk.show(&found)?;
    } else {
        desk.print(&problem_lines(&found, &file))?;
    }
    match error_count(&found) {
        0 => desk.say(&format!("{file}: valid\n")),
        count => Err(Failure::Local(anyhow::anyhow!("{file}: {count} problem(s)"))),
    }
}

/// What the gateway finds in a text.
pub(super) fn check(desk: &Desk, project: &str, (file, content): (&str, Vec<u8>)) -> Result<Value, Failure> {
    let path = format!("{project}/config/validate");
    desk.client.send(Call::ask(&path).yaml(content)).map_err(|failure| failure.in_file(file))?.json()
}

/// The problems of an answer, one a line.
pub(super) fn problem_lines(answer: &Value, file: &str) -> String {
    problems(answer).map(|item| problem_line(item, Some(file)) + "\n").collect()
}

/// How many of them stop the configuration from being used.
pub(super) fn error_count(answer: &Value) -> usize {
    problems(answer).filter(|item| text(item, "severity") != Severity::Warning.as_str()).count()
}

fn problems(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("problems").and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn import(desk: &Desk, file: &Path, name: Option<&str>) -> Result<(), Failure> {
    let (shown, content) = read_file(file)?;
    let name = name.map_or_else(|| slug_of(file), |name| Ok(name.to_owned()))?;
    let made = desk.post(&format!("{}/projects", desk.organization()?), &json!({ "name": name }))?;
    let project = format!("/projects/{}", text(&made, "id"));
    let open = open_version(desk, &project)?;
    let saved = save(desk, &project, open.as_ref(), (&shown, content), None)?;
    desk.say(&format!("made project {} ({})\n", text(&made, "slug"), text(&made, "id")))?;
    told_of_save(desk, text(&made, "slug"), &shown, &saved)
}

/// The slug that a file's name stands for.
pub(super) fn slug_of(file: &Path) -> Result<String, Failure> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    project_slug(stem).map_err(|message| {
        Failure::Usage(format!("{}: the file's name is no slug ({message}); name the project", file.display()))
    })
}

pub(super) fn export(desk: &Desk, project: &str, version: Option<u32>, output: Option<&Path>) -> Result<(), Failure> {
    let path = desk.project(project)?;
    let version = match version {
        Some(version) => u64::from(version),
        None => {
            let state = desk.get(&path)?;
            let present = number(&state, "served_version").or_else(|| number(&state, "open_version"));
            present.ok_or_else(|| Failure::Usage(format!("{project}: nothing is served or open; give `--version`")))?
        }
    };
    let bytes = text_of(desk, &path, version)?;
    let Some(output) = output else {
        return desk.print(&String::from_utf8_lossy(&bytes));
    };
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(output);
    let written = written.and_then(|mut file| file.write_all(&bytes));
    written.with_context(|| format!("cannot write {}", output.display()))?;
    desk.done(&format!("wrote version {version} to {}", output.display()), &json!({ "version": version }))
}

/// The exact text of a version.
pub(super) fn text_of(desk: &Desk, project: &str, version: u64) -> Result<Vec<u8>, Failure> {
    let path = format!("{project}/config/versions/{version}");
    Ok(desk.client.send(Call::get(&path).header("accept", "application/yaml"))?.body)
}

pub(super) fn copy(desk: &Desk, args: &VersionArgs) -> Result<(), Failure> {
    let version = args
        .version
        .ok_or_else(|| Failure::Usage("name the version to copy; see `millrace project history`".to_owned()))?;
    let project = desk.project(&args.project)?;
    let open = open_version(desk, &project)?;
    let path = format!("{project}/config/versions/{version}/copy");
    let call = Call::post(&path).json(&said(args.comment.as_deref()));
    let call = match &open {
        Some(open) => call.if_match(open.etag.as_deref()),
        None => call.header("if-none-match", "*"),
    };
    let saved = desk.client.send(call)?.json()?;
    let made = number(&saved, "version").unwrap_or_default();
    desk.done(&format!("version {version} is copied to the draft {made}"), &saved)
}

pub(super) fn discard(desk: &Desk, project: &str) -> Result<(), Failure> {
    desk.delete(&format!("{}/config/draft", desk.project(project)?), "")?;
    desk.done(&format!("{project}: the draft is dropped"), &Value::Null)
}

pub(super) fn approve(desk: &Desk, args: &VersionArgs) -> Result<(), Failure> {
    let answer = on_version(desk, args, "approve", &said(args.comment.as_deref()))?;
    let version = number(&answer, "version").unwrap_or_default();
    let project = &args.project;
    desk.done(&format!("version {version} is approved; make it live: millrace project serve {project}"), &answer)
}

pub(super) fn withdraw(desk: &Desk, args: &VersionArgs) -> Result<(), Failure> {
    let answer = on_version(desk, args, "withdraw", &said(args.comment.as_deref()))?;
    let version = number(&answer, "version").unwrap_or_default();
    desk.done(&format!("version {version} is a draft again"), &answer)
}

pub(super) fn serve(desk: &Desk, args: &ServeArgs) -> Result<(), Failure> {
    let comment = args.version.comment.as_deref().map(Value::from);
    let body = object(&[("comment", comment), ("expected_generation", args.expected_generation.map(Value::from))]);
    let answer = on_version(desk, &args.version, "serve", &body)?;
    desk.done(&live(&answer), &answer)
}

/// Says what became live.
pub(super) fn live(answer: &Value) -> String {
    let workers = answer.get("workers").and_then(Value::as_array).map_or(0, Vec::len);
    let generation = number(answer, "generation").unwrap_or_default();
    match number(answer, "version") {
        Some(version) => format!("version {version} is live as generation {generation} on {workers} worker(s)"),
        None => format!("nothing is served any more, generation {generation}"),
    }
}

pub(super) fn unserve(desk: &Desk, args: &ActArgs) -> Result<(), Failure> {
    let path = format!("{}/config/unserve", desk.project(&args.project)?);
    let answer = desk.post(&path, &said(args.comment.as_deref()))?;
    desk.done(&live(&answer), &answer)
}

pub(super) fn roll_back(desk: &Desk, project: &str, to: Option<u32>, comment: Option<&str>) -> Result<(), Failure> {
    let path = format!("{}/config/rollback", desk.project(project)?);
    let body = object(&[("to_version", to.map(Value::from)), ("comment", comment.map(Value::from))]);
    let answer = desk.post(&path, &body)?;
    desk.done(&live(&answer), &answer)
}

/// Acts on the version that is named, else on the open one.
fn on_version(desk: &Desk, args: &VersionArgs, verb: &str, body: &Value) -> Result<Value, Failure> {
    let project = desk.project(&args.project)?;
    let version = match args.version {
        Some(version) => u64::from(version),
        None => {
            let open = number(&desk.get(&project)?, "open_version");
            open.ok_or_else(|| Failure::Usage(format!("{}: nothing is open; name a version", args.project)))?
        }
    };
    desk.post(&format!("{project}/config/versions/{version}/{verb}"), body)
}

pub(super) fn diff(desk: &Desk, args: &DiffArgs) -> Result<(), Failure> {
    let path = format!("{}/config/diff", desk.project(&args.project)?);
    let pairs =
        [("from", Some(args.from.as_str())), ("to", Some(args.to.as_str())), ("format", Some(args.form.as_str()))];
    let found = desk.get(&format!("{path}{}", query(&pairs)))?;
    if desk.is_json() {
        return desk.show(&found);
    }
    match args.form {
        DiffForm::Semantic => desk.print(&diff_text(&found)),
        DiffForm::Text => desk.print(&plain_lines(text(&found, "text"))),
    }
}

pub(super) fn history(desk: &Desk, project: &str, generations: bool) -> Result<(), Failure> {
    let path = desk.project(project)?;
    let (list, columns) = if generations { ("generations", GENERATIONS) } else { ("versions", VERSIONS) };
    desk.show_rows(&desk.all(&format!("{path}/config/{list}"), &[])?, columns)
}

fn said(comment: Option<&str>) -> Value {
    object(&[("comment", comment.map(Value::from))])
}

/// A field that is a whole number.
pub(super) fn number(row: &Value, name: &str) -> Option<u64> {
    row.get(name).and_then(Value::as_u64)
}
