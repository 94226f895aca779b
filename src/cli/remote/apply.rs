//! `project apply`: a project becomes as its file says.
//!
//! The file is compared with what is served: no difference is no change. A draft of somebody else is never replaced
//! unasked, and a serve by somebody else between the comparison and ours is refused by the gateway.

use std::path::Path;

use serde_json::{Value, json};

use super::client::query;
use super::desk::{Desk, object, text};
use super::diff::{diff_text, line_diff};
use super::failure::Failure;
use super::project_args::ApplyArgs;
use super::table::plain_lines;
use super::version::{
    OpenVersion, check, error_count, live, number, open_version, problem_lines, read_file, save, slug_of, text_of,
};

/// The project as it was when the command began.
struct Target {
    name: String,
    /// Path, if the project exists.
    path: Option<String>,
    served: Option<u64>,
    served_text: Vec<u8>,
    generation: u64,
    open: Option<OpenVersion>,
}

/// What has to be done.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The file is live, or is the draft and nothing more was asked for.
    Nothing,
    /// The file has to be saved first.
    Save,
    /// The file is the open draft already.
    Approve(u64),
    /// The file is the open version, and approved.
    Serve(u64),
    /// Somebody else works on another draft.
    Taken(u64),
}

/// Compares, shows, and does what was asked for.
pub(super) fn run(desk: &Desk, args: &ApplyArgs) -> Result<(), Failure> {
    let (file, content) = read_file(&args.file)?;
    let target = look(desk, args)?;
    if target.path.is_none() && !args.create {
        return Err(Failure::Missing(format!("there is no project `{0}`; `--create` makes it", target.name)));
    }
    let plan = plan(&target, &content, args);
    if plan == Plan::Nothing {
        let said = format!("{}: no change, version {} is as the file says", target.name, current(&target));
        return desk.done(&said, &result(&target, false, None));
    }
    show_plan(desk, &target, (&file, &content))?;
    if let Plan::Taken(version) = plan {
        let said =
            format!("{}: version {version} is open with another text; `--replace-draft` replaces it", target.name);
        return Err(Failure::Conflict(said));
    }
    if let Some(path) = &target.path {
        let found = check(desk, path, (&file, content.clone()))?;
        desk.say(&problem_lines(&found, &file))?;
        let count = error_count(&found);
        if count > 0 {
            return Err(Failure::Local(anyhow::anyhow!("{file}: {count} problem(s); nothing changed")));
        }
    }
    if args.dry_run {
        return desk.done("dry run: nothing changed", &result(&target, true, None));
    }
    carry_out(desk, args, target, (&file, content), plan)
}

fn look(desk: &Desk, args: &ApplyArgs) -> Result<Target, Failure> {
    let name = match &args.project {
        Some(name) => name.clone(),
        None if args.file == Path::new("-") => {
            return Err(Failure::Usage("standard input has no name: give `--project`".to_owned()));
        }
        None => slug_of(&args.file)?,
    };
    let Some(path) = desk.find_project(&name)? else {
        return Ok(Target { name, path: None, served: None, served_text: Vec::new(), generation: 0, open: None });
    };
    let state = desk.get(&path)?;
    let served = number(&state, "served_version");
    let served_text = served.map(|version| text_of(desk, &path, version)).transpose()?.unwrap_or_default();
    let generation = number(&state, "generation").unwrap_or_default();
    let open = open_version(desk, &path)?;
    Ok(Target { name, path: Some(path), served, served_text, generation, open })
}

fn plan(target: &Target, content: &[u8], args: &ApplyArgs) -> Plan {
    let is_served = target.served.is_some() && target.served_text == content;
    if is_served {
        return Plan::Nothing;
    }
    let Some(open) = &target.open else {
        return Plan::Save;
    };
    if open.content.as_bytes() == content {
        return match (args.serve, open.state.as_str()) {
            (false, _) => Plan::Nothing,
            (true, "READY_TO_SERVE") => Plan::Serve(open.number),
            (true, _) => Plan::Approve(open.number),
        };
    }
    // A new project has an empty draft, which is nobody's work.
    if open.content.trim().is_empty() || args.replace_draft { Plan::Save } else { Plan::Taken(open.number) }
}

/// The version that is as the file says.
fn current(target: &Target) -> u64 {
    target
        .open
        .as_ref()
        .map(|open| open.number)
        .filter(|_| target.served.is_none())
        .or(target.served)
        .unwrap_or_default()
}

fn show_plan(desk: &Desk, target: &Target, (file, content): (&str, &[u8])) -> Result<(), Failure> {
    let before = String::from_utf8_lossy(&target.served_text);
    let head = match target.served {
        Some(version) => format!("served version {version}"),
        None => "nothing served".to_owned(),
    };
    let lines = line_diff((&head, &before), (file, &String::from_utf8_lossy(content)));
    let made = if target.path.is_none() { " (new)" } else { "" };
    desk.say(&format!("project {}{made}, generation {}\n{}", target.name, target.generation, plain_lines(&lines)))
}

fn carry_out(
    desk: &Desk,
    args: &ApplyArgs,
    mut target: Target,
    (file, content): (&str, Vec<u8>),
    plan: Plan,
) -> Result<(), Failure> {
    let path = match target.path.take() {
        Some(path) => path,
        None => create(desk, &mut target)?,
    };
    let (version, is_approved) = match plan {
        Plan::Approve(version) => (version, false),
        Plan::Serve(version) => (version, true),
        Plan::Save | Plan::Taken(_) | Plan::Nothing => {
            let saved = save(desk, &path, target.open.as_ref(), (file, content), args.comment.as_deref())?;
            (number(&saved, "version").unwrap_or_default(), false)
        }
    };
    if target.served.is_some() {
        let to = version.to_string();
        let pairs = [("from", Some("served")), ("to", Some(to.as_str())), ("format", Some("semantic"))];
        desk.say(&diff_text(&desk.get(&format!("{path}/config/diff{}", query(&pairs)))?))?;
    }
    if !args.serve {
        let said = format!("saved as draft version {version}; `--serve` makes it live");
        return desk.done(&said, &result(&target, true, Some(&json!({ "version": version }))));
    }
    let comment = ("comment", args.comment.as_deref().map(Value::from));
    let of_version = format!("{path}/config/versions/{version}");
    if !is_approved {
        desk.post(&format!("{of_version}/approve"), &object(std::slice::from_ref(&comment)))
            .map_err(|failure| failure.in_file(file))?;
    }
    let expected = ("expected_generation", Some(target.generation.into()));
    let answer = desk.post(&format!("{of_version}/serve"), &object(&[comment, expected]));
    let answer = answer.map_err(|failure| failure.in_file(file))?;
    confirm(&answer, version)?;
    desk.done(&live(&answer), &result(&target, true, Some(&answer)))
}

fn create(desk: &Desk, target: &mut Target) -> Result<String, Failure> {
    let body = json!({ "name": target.name, "slug": target.name });
    let made = desk.post(&format!("{}/projects", desk.organization()?), &body)?;
    let path = format!("/projects/{}", text(&made, "id"));
    target.open = open_version(desk, &path)?;
    target.generation = number(&made, "generation").unwrap_or_default();
    desk.say(&format!("made project {} ({})\n", target.name, text(&made, "id")))?;
    Ok(path)
}

/// The gateway answers when all workers have confirmed; this believes no other answer.
fn confirm(answer: &Value, version: u64) -> Result<(), Failure> {
    let generation = number(answer, "generation");
    let workers = answer.get("workers").and_then(Value::as_array).into_iter().flatten();
    let behind = workers.filter(|worker| number(worker, "generation") != generation).count();
    if number(answer, "version") == Some(version) && behind == 0 {
        return Ok(());
    }
    Err(Failure::Local(anyhow::anyhow!("{behind} worker(s) do not show generation {}", generation.unwrap_or_default())))
}

fn result(target: &Target, changed: bool, live: Option<&Value>) -> Value {
    let field = |name: &str| live.and_then(|live| live.get(name)).cloned().unwrap_or(Value::Null);
    json!({
        "project": target.name,
        "changed": changed,
        "served_before": target.served,
        "version": field("version"),
        "generation": field("generation"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(serve: bool, replace_draft: bool) -> ApplyArgs {
        ApplyArgs {
            file: "support.yaml".into(),
            project: None,
            serve,
            create: false,
            dry_run: false,
            replace_draft,
            comment: None,
        }
    }

    fn target(served: Option<&str>, open: Option<(&str, &str)>) -> Target {
        let open = open.map(|(state, content)| OpenVersion {
            number: 5,
            state: state.to_owned(),
            content: content.to_owned(),
            etag: None,
        });
        Target {
            name: "support".to_owned(),
            path: Some("/projects/x".to_owned()),
            served: served.map(|_| 4),
            served_text: served.unwrap_or_default().into(),
            generation: 3,
            open,
        }
    }

    #[test]
    fn plan_is_the_least_that_makes_the_file_true() {
        for (name, served, open, replace, want) in [
            ("served as it is", Some("a"), None, false, Plan::Nothing),
            ("served, a draft beside it", Some("a"), Some(("DRAFT", "b")), false, Plan::Nothing),
            ("another served", Some("b"), None, false, Plan::Save),
            ("nothing at all", None, None, false, Plan::Save),
            ("empty first draft", None, Some(("DRAFT", "")), false, Plan::Save),
            ("draft is the file", Some("b"), Some(("DRAFT", "a")), false, Plan::Approve(5)),
            ("approved is the file", Some("b"), Some(("READY_TO_SERVE", "a")), false, Plan::Serve(5)),
            ("somebody's draft", Some("b"), Some(("DRAFT", "c")), false, Plan::Taken(5)),
            ("somebody's draft, replaced", Some("b"), Some(("DRAFT", "c")), true, Plan::Save),
        ] {
            assert_eq!(plan(&target(served, open), b"a", &args(true, replace)), want, "{name}");
        }
        let without_serve = plan(&target(Some("b"), Some(("DRAFT", "a"))), b"a", &args(false, false));
        assert_eq!(without_serve, Plan::Nothing, "the draft is all that was asked for");
    }

    #[test]
    fn worker_that_is_behind_is_no_success() {
        let answer = |second: u64| json!({"version": 5, "generation": 4, "workers": [{"id": 0, "generation": 4}, {"id": 1, "generation": second}]});
        assert!(confirm(&answer(4), 5).is_ok());
        assert!(confirm(&answer(3), 5).is_err());
        assert!(confirm(&answer(4), 6).is_err());
    }
}
