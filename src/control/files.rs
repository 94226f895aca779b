//! File mode: projects and keys as files of the administrator.
//!
//! `projects_dir` holds one `<project>.yaml` each, all of them are served; the keys file holds digests. All files are
//! read and checked together: one bad file refuses the whole change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    base::Secret,
    config::{Code, KeyEntry, Position, Problem, SecretSource, Server, check_keys, check_project, project_slug},
    snapshot::{ProjectSource, Refusal, Sources},
};

/// Largest file that is read at all; the checks have smaller limits of their own.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct FileSet {
    organization: String,
    projects_dir: Option<PathBuf>,
    keys_file: Option<PathBuf>,
    secrets: BTreeMap<String, SecretSource>,
}

/// What the files hold, checked.
pub struct Loaded {
    /// What a snapshot is made of.
    pub sources: Sources,
    /// What deserves attention although it was accepted.
    pub warnings: Vec<Refusal>,
}

/// Names, sizes and times of the files: another stamp means that something changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl FileSet {
    /// Takes the places of the files from the settings.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self {
            organization: server.organization.clone(),
            projects_dir: server.projects_dir.as_ref().map(|path| path.value.clone()),
            keys_file: server.keys_file.as_ref().map(|path| path.value.clone()),
            secrets: server.secrets.clone(),
        }
    }

    /// Reads and checks all files.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(&self) -> Result<Loaded, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut warnings = Vec::new();
        let secrets = self.read_secrets(&mut refusals);
        // A secret whose file cannot be read is reported once, not again at each of its uses.
        let names: BTreeSet<String> = self.secrets.keys().cloned().collect();
        let mut projects = Vec::new();
        for path in self.project_files(&mut refusals) {
            projects.extend(read_project(&path, &names, (&mut refusals, &mut warnings)));
        }
        let (keys, keys_file) = self.read_keys(&mut refusals, &mut warnings);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let organization = self.organization.as_str().into();
        Ok(Loaded { sources: Sources { organization, projects, keys, keys_file, secrets }, warnings })
    }

    /// The present stamp of all files. A file that cannot be looked at counts as absent.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut paths = self.project_files(&mut Vec::new());
        paths.extend(self.keys_file.clone());
        paths.extend(self.secrets.values().filter_map(|source| match source {
            SecretSource::File(path) => Some(path.value.clone()),
            SecretSource::Value(_) => None,
        }));
        let stamped = paths.into_iter().map(|path| {
            let seen = fs::metadata(&path).ok();
            let size = seen.as_ref().map_or(0, fs::Metadata::len);
            (path, size, seen.and_then(|seen| seen.modified().ok()))
        });
        Stamp(stamped.collect())
    }

    fn project_files(&self, refusals: &mut Vec<Refusal>) -> Vec<PathBuf> {
        let Some(folder) = &self.projects_dir else {
            return Vec::new();
        };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                refusals.push(unreadable(folder, &error));
                return Vec::new();
            }
        };
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"))
            .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
            .collect();
        paths.sort();
        paths
    }

    fn read_secrets(&self, refusals: &mut Vec<Refusal>) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for (name, source) in &self.secrets {
            match source {
                SecretSource::Value(secret) => {
                    secrets.insert(name.clone(), secret.clone());
                }
                SecretSource::File(path) => match read(&path.value).map(String::from_utf8) {
                    Ok(Ok(text)) => {
                        secrets.insert(name.clone(), Secret::new(text.trim_end().to_owned()));
                    }
                    Ok(Err(_)) => {
                        refusals.push(unreadable(&path.value, &io::Error::other("the secret is not UTF-8")));
                    }
                    Err(error) => refusals.push(unreadable(&path.value, &error)),
                },
            }
        }
        secrets
    }

    fn read_keys(&self, refusals: &mut Vec<Refusal>, warnings: &mut Vec<Refusal>) -> (Vec<KeyEntry>, String) {
        let Some(path) = &self.keys_file else {
            return (Vec::new(), String::new());
        };
        let file = path.display().to_string();
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => {
                refusals.push(unreadable(path, &error));
                return (Vec::new(), file);
            }
        };
        match check_keys(&text) {
            Ok(checked) => {
                warnings.extend(in_file(&file, checked.warnings));
                (checked.config, file)
            }
            Err(problems) => {
                refusals.extend(in_file(&file, problems));
                (Vec::new(), file)
            }
        }
    }
}

fn read_project(
    path: &Path,
    secret_names: &BTreeSet<String>,
    (refusals, warnings): (&mut Vec<Refusal>, &mut Vec<Refusal>),
) -> Option<ProjectSource> {
    let file = path.display().to_string();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let slug = match project_slug(&stem) {
        Ok(slug) => slug,
        Err(message) => {
            let problem = Problem::error("", Position::START, Code::BadValue, message);
            refusals.push(Refusal { file, problem });
            return None;
        }
    };
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            refusals.push(unreadable(path, &error));
            return None;
        }
    };
    match check_project(&text, Some(secret_names)) {
        Ok(checked) => {
            warnings.extend(in_file(&file, checked.warnings));
            let created = modified_seconds(path);
            Some(ProjectSource { slug: slug.into(), file, created, config: checked.config })
        }
        Err(problems) => {
            refusals.extend(in_file(&file, problems));
            None
        }
    }
}

fn modified_seconds(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|seen| seen.modified()).ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("the file has {size} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    fs::read(path)
}

fn in_file(file: &str, problems: Vec<Problem>) -> impl Iterator<Item = Refusal> {
    problems.into_iter().map(move |problem| Refusal { file: file.to_owned(), problem })
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let message = format!("cannot be read: {error}");
    let problem = Problem::error("", Position::START, Code::Unreadable, message);
    Refusal { file: path.display().to_string(), problem }
}
