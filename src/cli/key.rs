//! `millrace key new`: a key, and its entry for the keys file.

use std::process::ExitCode;

use anyhow::Context as _;
use millrace::base::{Digest, KeyKind, generate_key, key_id};
use millrace::config::project_slug;
use serde_json::json;

use super::args::{Format, KeyArgs};
use super::print::{WRONG_USAGE, out, report};

/// Makes one key and prints it, once.
pub(crate) fn new(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    for slug in &args.projects {
        if let Err(message) = project_slug(slug) {
            report(&anyhow::anyhow!("--project: {message}"));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    }
    let kind = if args.live { KeyKind::Live } else { KeyKind::Test };
    let key = generate_key(kind).context("the system gave no random bytes")?;
    let id = key_id(key.reveal()).context("the key has no id")?;
    let digest = Digest::of(key.reveal().as_bytes()).to_string();
    match args.format {
        Format::Json => {
            let shown = json!({ "key": key.reveal(), "id": id, "digest": digest, "projects": args.projects });
            out(&format!("{shown}\n"))
        }
        Format::Text => {
            // Capitals are no slug: the entry is refused until somebody puts a project there.
            let projects = if args.projects.is_empty() { "PROJECT".to_owned() } else { args.projects.join(", ") };
            out(&format!(
                "{}\n\nThe key is not shown again: give it to its user now. Entry for the keys file:\n\n  - id: {id}\n    digest: \"{digest}\"\n    projects: [{projects}]\n",
                key.reveal()
            ))
        }
    }
}
