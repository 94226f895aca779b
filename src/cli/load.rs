//! Reads a settings file with everything it names.
//!
//! The one way from files to checked sources, for `serve`, for its reloads and for `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use millrace::base::Secret;
use millrace::config::{
    At, Checked, Code, KeyEntry, Position, Problem, SecretSource, Server, check_keys, check_project, check_server,
    project_slug, secret_text,
};
use millrace::snapshot::{ProjectSource, Refusal, Sources};

/// Most bytes read of any file: one more than a document may have, so that the check can say that it is too large.
const FILE_BYTES_MAX: u64 = (1 << 20) + 1;

/// Settings and everything they name, checked but not compiled.
pub(crate) struct Loaded {
    pub(crate) server: Server,
    pub(crate) sources: Sources,
    pub(crate) warnings: Vec<Refusal>,
}

/// Reads and checks a settings file, its projects, keys and secrets.
///
/// # Errors
/// Every problem of every file. Problems of the settings themselves come alone: they decide which files there are.
pub(crate) fn load(path: &Path) -> Result<Loaded, Vec<Refusal>> {
    let file = path.display().to_string();
    let text = read_document(path).map_err(|error| vec![unreadable(&file, &error)])?;
    load_text(&text, path)
}

/// As [`load`], with the text of the settings file at hand. Its path still decides what is relative to it.
pub(crate) fn load_text(text: &[u8], path: &Path) -> Result<Loaded, Vec<Refusal>> {
    let file = path.display().to_string();
    let checked = check_server(text, &|name| std::env::var(name).ok());
    let Checked { config: mut server, warnings } = checked.map_err(|found| in_file(&file, found))?;
    server.resolve_paths(path.parent().unwrap_or(Path::new("")));
    let mut findings = Findings { refusals: Vec::new(), warnings: in_file(&file, warnings) };
    let secrets = findings.secrets(&server, &file);
    let names: BTreeSet<String> = server.secrets.keys().cloned().collect();
    let projects = findings.projects(&server, &file, &names);
    let (keys, keys_file) = findings.keys(&server, &file);
    if !findings.refusals.is_empty() {
        findings.refusals.append(&mut findings.warnings);
        return Err(findings.refusals);
    }
    let organization = server.organization.as_str().into();
    let sources = Sources { organization, projects, keys, keys_file, secrets };
    Ok(Loaded { server, sources, warnings: findings.warnings })
}

/// Reads a document, or standard input for `-`.
pub(crate) fn read_document(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    } else {
        File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// A file that cannot be read, as a problem of that file.
pub(crate) fn unreadable(file: &str, error: &io::Error) -> Refusal {
    let message = format!("cannot be read: {error}");
    Refusal { file: file.to_owned(), problem: Problem::error("", Position::START, Code::Unreadable, message) }
}

/// Puts the file beside its problems.
pub(crate) fn in_file(file: &str, problems: Vec<Problem>) -> Vec<Refusal> {
    problems.into_iter().map(|problem| Refusal { file: file.to_owned(), problem }).collect()
}

struct Findings {
    refusals: Vec<Refusal>,
    warnings: Vec<Refusal>,
}

impl Findings {
    fn refuse(&mut self, file: &str, problem: Problem) {
        self.refusals.push(Refusal { file: file.to_owned(), problem });
    }

    /// Takes the config out of a check and keeps what it found.
    fn keep<T>(&mut self, file: &str, checked: Result<Checked<T>, Vec<Problem>>) -> Option<T> {
        match checked {
            Ok(checked) => {
                self.warnings.extend(in_file(file, checked.warnings));
                Some(checked.config)
            }
            Err(problems) => {
                self.refusals.extend(in_file(file, problems));
                None
            }
        }
    }

    fn secrets(&mut self, server: &Server, file: &str) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for (name, source) in &server.secrets {
            let secret = match source {
                SecretSource::Value(secret) => Ok(secret.clone()),
                SecretSource::File(path) => self.read_secret(path, file),
            };
            match secret {
                Ok(secret) => {
                    secrets.insert(name.clone(), secret);
                }
                Err(problem) => self.refuse(file, problem),
            }
        }
        secrets
    }

    fn read_secret(&mut self, path: &At<PathBuf>, file: &str) -> Result<Secret, Problem> {
        let cannot = |error: io::Error| path.refuse(Code::Unreadable, format!("cannot be read: {error}"));
        let text = read_document(&path.value).map_err(cannot)?;
        let mode = std::fs::metadata(&path.value).map_err(cannot)?.mode();
        if mode & 0o006 != 0 {
            let message = "everybody on this machine can read or change the secret";
            let problem = path.warn(Code::Suspicious, message).hint("chmod 600");
            self.warnings.push(Refusal { file: file.to_owned(), problem });
        }
        // The bytes are not shown: they may be a secret in another encoding.
        let text = String::from_utf8(text).map_err(|_| path.refuse(Code::BadValue, "the secret is not UTF-8"))?;
        secret_text(&text).map_err(|error| path.refuse(Code::BadValue, error.to_string()))
    }

    fn projects(&mut self, server: &Server, file: &str, secrets: &BTreeSet<String>) -> Vec<ProjectSource> {
        let Some(folder) = &server.projects_dir else {
            return Vec::new();
        };
        let paths = match project_files(&folder.value) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("the folder cannot be read: {error}");
                self.refuse(file, folder.refuse(Code::Unreadable, message));
                return Vec::new();
            }
        };
        if paths.is_empty() {
            let problem = folder.warn(Code::NoEffect, "the folder has no file `SLUG.yaml`");
            self.warnings.push(Refusal { file: file.to_owned(), problem });
        }
        paths.iter().filter_map(|path| self.project(path, secrets)).collect()
    }

    fn project(&mut self, path: &Path, secrets: &BTreeSet<String>) -> Option<ProjectSource> {
        let file = path.display().to_string();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let slug = project_slug(stem)
            .map_err(|message| {
                let message = format!("the name of the file is the slug of the project: {message}");
                self.refuse(&file, Problem::error("", Position::START, Code::BadValue, message));
            })
            .ok();
        let text = match read_document(path) {
            Ok(text) => text,
            Err(error) => {
                self.refusals.push(unreadable(&file, &error));
                return None;
            }
        };
        let config = self.keep(&file, check_project(&text, Some(secrets)))?;
        let changed = std::fs::metadata(path).and_then(|found| found.modified()).ok();
        let created = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_secs());
        Some(ProjectSource { slug: slug?.into(), file, created, config })
    }

    fn keys(&mut self, server: &Server, file: &str) -> (Vec<KeyEntry>, String) {
        let Some(path) = &server.keys_file else {
            return (Vec::new(), String::new());
        };
        let keys_file = path.value.display().to_string();
        let keys = match read_document(&path.value) {
            Ok(text) => self.keep(&keys_file, check_keys(&text)),
            Err(error) => {
                self.refuse(file, path.refuse(Code::Unreadable, format!("the file cannot be read: {error}")));
                None
            }
        };
        (keys.unwrap_or_default(), keys_file)
    }
}

/// The files `*.yaml` of a folder, by name. Hidden files are left out: editors keep copies there.
fn project_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|ending| ending == "yaml") && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use millrace::config::Severity;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("projects")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const SETTINGS: &str = "projects_dir: projects\nkeys_file: keys.yaml\nsecrets: {A: {file: a}}\n";
    const PROJECT: &str = "chat_models:\n- {model_id: m, model: openai/m, credentials: {api_key: !secret A}}\nroutes: {r: {chat_models: [m]}}\n";
    const KEYS: &str = "keys: []\n";

    #[test]
    fn settings_bring_their_projects_keys_and_secrets() {
        let folder = folder(&[
            ("millrace.yaml", SETTINGS),
            ("keys.yaml", KEYS),
            ("a", "sk-canary\n"),
            ("projects/two.yaml", PROJECT),
            ("projects/one.yaml", PROJECT),
            ("projects/.one.yaml.swp", "not a project"),
            ("projects/.hidden.yaml", "not a project"),
            ("projects/README.md", "not a project"),
        ]);
        let loaded = load(&folder.path().join("millrace.yaml")).unwrap_or_else(|found| panic!("{found:?}"));
        let slugs: Vec<&str> = loaded.sources.projects.iter().map(|project| &*project.slug).collect();
        assert_eq!(slugs, ["one", "two"]);
        assert_eq!(loaded.sources.secrets["A"].reveal(), "sk-canary");
        assert!(loaded.sources.projects[0].created > 0);
        assert_eq!(loaded.server.data_dir, folder.path().join("./millrace-data"));
    }

    #[test]
    fn problems_of_every_file_come_together() {
        let folder = folder(&[
            ("millrace.yaml", SETTINGS),
            ("keys.yaml", "keys: [{id: a}]\n"),
            ("a", "two\nlines"),
            ("projects/Not_A_Slug.yaml", PROJECT),
            ("projects/one.yaml", &PROJECT.replace("!secret A", "!secret B")),
        ]);
        let Err(found) = load(&folder.path().join("millrace.yaml")) else { panic!("accepted") };
        let errors = found.iter().filter(|refusal| refusal.problem.severity == Severity::Error);
        let errors: Vec<(&str, Code)> =
            errors.map(|refusal| (refusal.file.rsplit('/').next().unwrap(), refusal.problem.code)).collect();
        assert_eq!(
            errors,
            [
                ("millrace.yaml", Code::BadValue),
                ("Not_A_Slug.yaml", Code::BadValue),
                ("one.yaml", Code::UnknownSecret),
                ("keys.yaml", Code::MissingKey),
                ("keys.yaml", Code::MissingKey),
            ]
        );
    }

    #[test]
    fn absent_files_are_named() {
        let folder = folder(&[("millrace.yaml", SETTINGS)]);
        std::fs::remove_dir(folder.path().join("projects")).unwrap();
        let Err(found) = load(&folder.path().join("millrace.yaml")) else { panic!("accepted") };
        let paths: Vec<&str> = found.iter().map(|refusal| refusal.problem.path.as_str()).collect();
        assert_eq!(paths, ["secrets.A.file", "projects_dir", "keys_file"]);
        assert!(found.iter().all(|refusal| refusal.problem.code == Code::Unreadable));
    }
}
