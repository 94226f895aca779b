//! `millrace check`: every problem of every document.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use millrace::config::{
    Code, DocumentKind, Position, Problem, ProjectContext, Server, Severity, check_keys, check_project, recognise,
};
use millrace::control::FileSet;
use millrace::metrics::Registry;
use millrace::server::{ServerError, egress_rules, ttl_bounds};
use millrace::snapshot::{Refusal, Registries, compile};
use millrace::upstream::{Guard, Origins, Resolver};
use serde_json::{Value, json};

use super::args::{CheckArgs, Format};
use super::documents::{Settings, in_file, read, settings};
use super::print::{Paint, REFUSED, WRONG_USAGE, out, report};

/// Checks the documents and prints one report.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    for path in &args.files {
        let file = path.display().to_string();
        let text = match read(path) {
            Ok(text) => text,
            Err(refusal) => {
                found.push(refusal);
                continue;
            }
        };
        let Some(kind) = args.kind.map(DocumentKind::from).or_else(|| recognise(&text)) else {
            report(&anyhow::anyhow!(
                "{file}: no known key tells what this is; say `--kind project`, `server` or `keys`"
            ));
            return Ok(ExitCode::from(WRONG_USAGE));
        };
        found.extend(check_document(kind, &text, path));
    }
    let valid = found.iter().all(|refusal| refusal.problem.severity == Severity::Warning);
    match args.format {
        Format::Json => out(&format!("{}\n", as_json(valid, &found)))?,
        Format::Text => out(&as_text(valid, &found, args.files.len()))?,
    };
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn check_document(kind: DocumentKind, text: &[u8], path: &Path) -> Vec<Refusal> {
    let file = path.display().to_string();
    match kind {
        DocumentKind::Project => {
            let checked = check_project(text, ProjectContext::default());
            in_file(&file, checked.map_or_else(|problems| problems, |checked| checked.warnings))
        }
        DocumentKind::Keys => {
            let checked = check_keys(text);
            in_file(&file, checked.map_or_else(|problems| problems, |checked| checked.warnings))
        }
        DocumentKind::Server => check_settings(text, path),
    }
}

/// Checks settings with everything they name. The serving code itself has the last word; nothing is looked up or
/// connected.
fn check_settings(text: &[u8], path: &Path) -> Vec<Refusal> {
    let Settings { server, mut warnings } = match settings(text, path) {
        Ok(settings) => settings,
        Err(refusals) => return refusals,
    };
    let registries = match registries(&server) {
        Ok(registries) => registries,
        Err(error) => {
            let problem = Problem::error("egress", Position::START, Code::BadValue, error.to_string());
            warnings.extend(in_file(&path.display().to_string(), vec![problem]));
            return warnings;
        }
    };
    let loaded = FileSet::new(&server).load().and_then(|loaded| {
        warnings.extend(loaded.warnings);
        registries.prices.store(loaded.prices);
        compile(loaded.sources, &registries, 1)
    });
    match loaded {
        Ok((_, found)) | Err(found) => warnings.extend(found),
    }
    warnings
}

/// What compiling needs besides the sources, made from the settings as the server makes it.
fn registries(server: &Server) -> Result<Registries, ServerError> {
    let guard = Arc::new(Guard::new(egress_rules(server)?, vec![server.listen, server.admin_listen]));
    let resolver = Resolver::new(Arc::clone(&guard), server.upstream.dns_servers.clone(), ttl_bounds(server), |_| {});
    Ok(Registries::new(Arc::new(Registry::new(1)), Arc::new(Origins::new(guard, resolver))))
}

fn as_json(valid: bool, found: &[Refusal]) -> Value {
    let problems = found.iter().map(|refusal| {
        let mut shown = json!({ "file": refusal.file });
        if let (Value::Object(shown), Value::Object(problem)) = (&mut shown, refusal.problem.to_json()) {
            shown.extend(problem);
        }
        shown
    });
    json!({ "valid": valid, "problems": problems.collect::<Vec<_>>() })
}

fn as_text(valid: bool, found: &[Refusal], documents: usize) -> String {
    let paint = Paint::of_stdout();
    let mut text: String = found.iter().map(|refusal| paint.problem(&refusal.file, &refusal.problem) + "\n").collect();
    let count = |severity| found.iter().filter(|refusal| refusal.problem.severity == severity).count();
    let number = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let errors = number(count(Severity::Error), "error");
    let warnings = number(count(Severity::Warning), "warning");
    let verdict = if valid { "valid" } else { "not valid" };
    text += &format!("{}: {verdict}, {errors}, {warnings}\n", number(documents, "document"));
    text
}
