//! File mode: projects and keys as files of the administrator.
//!
//! `projects_dir` holds one `<project>.yaml` each, all of them are served; the keys file holds digests. All files are
//! read and checked together: one bad file refuses the whole change.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    base::Secret,
    config::{
        Code, KeyEntry, Position, Problem, Project, ProjectContext, SecretSource, Server, check_keys, check_project,
        project_slug, secret_text,
    },
    snapshot::{BoundSecret, ProjectSource, Refusal, Sources},
    usage::Catalogue,
};

use super::{
    file_mode::{keys_fault, mode, secret_fault},
    file_projects::ProjectText,
    price_file::PriceFile,
};

/// Largest file that is read at all; the checks have smaller limits of their own.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct FileSet {
    organization: String,
    projects_dir: Option<PathBuf>,
    keys_file: Option<PathBuf>,
    prices: PriceFile,
    secrets: BTreeMap<String, SecretSource>,
}

/// What the files hold, checked.
pub struct Loaded {
    /// What a snapshot is made of.
    pub sources: Sources,
    /// Prices of models that no project states.
    pub prices: Catalogue,
    /// The project files as they are.
    pub texts: Vec<ProjectText>,
    /// What deserves attention although it was accepted.
    pub warnings: Vec<Refusal>,
}

/// Names, sizes, times and modes of the files: another stamp means that something changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>, u32)>);

impl FileSet {
    /// Takes the places of the files from the settings.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self {
            organization: server.organization.clone(),
            projects_dir: server.projects_dir.as_ref().map(|path| path.value.clone()),
            keys_file: server.keys_file.as_ref().map(|path| path.value.clone()),
            prices: PriceFile::new(server),
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
        let secrets = Arc::new(self.read_secrets(&mut refusals));
        // A secret whose file cannot be read is reported once, not again at each of its uses.
        let names = self.secret_names();
        let mut projects = Vec::new();
        let mut texts = Vec::new();
        let mut paths = self.project_files(&mut refusals);
        refuse_twins(&mut paths, &mut refusals);
        for path in paths {
            let read = read_project(&path, &names, (&mut refusals, &mut warnings));
            if let Some(mut read) = read {
                let text = std::mem::take(&mut read.text);
                texts.push(ProjectText { slug: read.slug.clone(), changed: read.created, text });
                projects.push(self.source(read, Arc::clone(&secrets)));
            }
        }
        let (keys, keys_file) = self.read_keys(&mut refusals, &mut warnings);
        let prices = self.prices.load().unwrap_or_else(|found| {
            refusals.extend(found);
            Catalogue::default()
        });
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Loaded { sources: Sources { projects, keys, keys_file }, prices, texts, warnings })
    }

    /// A file's name is the slug of its project and identifies it; its content has no version number.
    fn source(&self, read: ReadProject, secrets: Arc<BTreeMap<String, BoundSecret>>) -> ProjectSource {
        ProjectSource {
            id: read.slug.as_str().into(),
            slug: read.slug.into(),
            organization: self.organization.as_str().into(),
            version: None,
            file: read.file,
            created: read.created,
            config: read.config,
            secrets,
            provider_keys: Vec::new(),
            organization_prices: Vec::new(),
            funding: Default::default(),
        }
    }

    /// Names of the secrets in the settings.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.secrets.keys().cloned().collect()
    }

    /// The present stamp of all files. A file that cannot be looked at counts as absent.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut paths = self.project_files(&mut Vec::new());
        paths.extend(self.keys_file.clone());
        paths.extend(self.prices.path().map(Path::to_owned));
        paths.extend(self.secrets.values().filter_map(|source| match source {
            SecretSource::File(path) => Some(path.value.clone()),
            SecretSource::Value(_) => None,
        }));
        let stamped = paths.into_iter().map(|path| {
            let seen = fs::metadata(&path).ok();
            let (size, mode) = seen.as_ref().map_or((0, 0), |seen| (seen.len(), mode(seen)));
            (path, size, seen.and_then(|seen| seen.modified().ok()), mode)
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

    fn read_secrets(&self, refusals: &mut Vec<Refusal>) -> BTreeMap<String, BoundSecret> {
        let mut secrets = BTreeMap::new();
        for (name, source) in &self.secrets {
            let read = match source {
                SecretSource::Value(secret) => Ok(secret.clone()),
                SecretSource::File(path) => read_secret(&path.value),
            };
            match read {
                Ok(value) => {
                    secrets.insert(name.clone(), BoundSecret { value, origins: None, record: None });
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        secrets
    }

    fn read_keys(&self, refusals: &mut Vec<Refusal>, warnings: &mut Vec<Refusal>) -> (Vec<KeyEntry>, String) {
        let Some(path) = &self.keys_file else {
            return (Vec::new(), String::new());
        };
        let file = path.display().to_string();
        let (seen, text) = match read(path) {
            Ok(read) => read,
            Err(error) => {
                refusals.push(unreadable(path, &error));
                return (Vec::new(), file);
            }
        };
        if let Some(fault) = keys_fault(mode(&seen)) {
            warnings.push(refused(path, Problem::warning("", Position::START, Code::LooseMode, fault)));
        }
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

/// What one project file holds.
struct ReadProject {
    slug: String,
    file: String,
    created: u64,
    text: Vec<u8>,
    config: Project,
}

/// Reads one secret that nobody else can open. The file is held to the same rules as a variable: its text goes into a header.
fn read_secret(path: &Path) -> Result<Secret, Refusal> {
    let (seen, text) = read(path).map_err(|error| unreadable(path, &error))?;
    if let Some(fault) = secret_fault(mode(&seen)) {
        return Err(refused(path, Problem::error("", Position::START, Code::LooseMode, fault)));
    }
    // What is no UTF-8 is no ASCII either, and refused as that.
    secret_text(&String::from_utf8_lossy(&text))
        .map_err(|error| refused(path, Problem::error("", Position::START, Code::BadValue, error.to_string())))
}

/// Refuses every file whose project another file has already: `support.yml` beside `support.yaml`. Which of the two
/// is meant cannot be told.
fn refuse_twins(paths: &mut Vec<PathBuf>, refusals: &mut Vec<Refusal>) {
    let mut first: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    paths.retain(|path| {
        let Some(stem) = path.file_stem() else {
            return true;
        };
        match first.entry(stem.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(path.clone());
                true
            }
            Entry::Occupied(earlier) => {
                let stem = stem.to_string_lossy();
                let message =
                    format!("project `{stem}` is in `{}` already; remove one of the two", earlier.get().display());
                refusals.push(refused(path, Problem::error("", Position::START, Code::Duplicate, message)));
                false
            }
        }
    });
}

fn read_project(
    path: &Path,
    secret_names: &BTreeSet<String>,
    (refusals, warnings): (&mut Vec<Refusal>, &mut Vec<Refusal>),
) -> Option<ReadProject> {
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
    let (seen, text) = match read(path) {
        Ok(read) => read,
        Err(error) => {
            refusals.push(unreadable(path, &error));
            return None;
        }
    };
    let context = ProjectContext { secret_names: Some(secret_names), provider_keys: &[], ..ProjectContext::default() };
    match check_project(&text, context) {
        Ok(checked) => {
            warnings.extend(in_file(&file, checked.warnings));
            let created = modified_seconds(&seen);
            Some(ReadProject { slug, file, created, text, config: checked.config })
        }
        Err(problems) => {
            refusals.extend(in_file(&file, problems));
            None
        }
    }
}

fn modified_seconds(seen: &Metadata) -> u64 {
    let modified = seen.modified().ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs())
}

/// Reads a file and says what it is, both of the one that was opened: its name may meanwhile mean another.
fn read(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    let mut file = File::open(path)?;
    let seen = file.metadata()?;
    let size = seen.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("the file has {size} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok((seen, text))
}

fn in_file(file: &str, problems: Vec<Problem>) -> impl Iterator<Item = Refusal> {
    problems.into_iter().map(move |problem| Refusal { file: file.to_owned(), problem })
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let message = format!("cannot be read: {error}");
    refused(path, Problem::error("", Position::START, Code::Unreadable, message))
}

fn refused(path: &Path, problem: Problem) -> Refusal {
    Refusal { file: path.display().to_string(), problem }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use crate::config::check_server;

    use super::*;

    const PROJECT: &str = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {r: {chat_models: [m]}}\n";

    /// Loads a folder with these files, of which `millrace.yaml` is the settings.
    fn load(files: &[(&str, &str)]) -> Result<Loaded, Vec<Refusal>> {
        load_with_mode(files, 0o600)
    }

    fn load_with_mode(files: &[(&str, &str)], mode: u32) -> Result<Loaded, Vec<Refusal>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let text = fs::read(folder.path().join("millrace.yaml")).unwrap();
        let mut server = check_server(&text, &|_| None).unwrap().config;
        server.resolve_paths(folder.path());
        FileSet::new(&server).load()
    }

    #[test]
    fn secret_file_is_refused_unless_it_can_stand_in_a_header() {
        for (name, text, want) in [
            ("line feed at the end", "sk-1\n", Ok("sk-1")),
            ("space around", " sk-1\r\n\r\n", Ok("sk-1")),
            ("line feed inside", "sk-1\r\nx-injected: 1", Err("a character that cannot be sent in a header")),
            ("NUL", "sk\0-1", Err("a character that cannot be sent in a header")),
            ("not ASCII", "sk-é", Err("a character that cannot be sent in a header")),
            ("empty", "\n", Err("the secret is empty")),
        ] {
            let settings = "projects_dir: projects\nsecrets: {K: {file: k}}";
            let loaded = load(&[("millrace.yaml", settings), ("projects/p.yaml", PROJECT), ("k", text)]);
            let got = match &loaded {
                Ok(loaded) => Ok(loaded.sources.projects[0].secrets["K"].value.reveal()),
                Err(refusals) => Err(refusals[0].problem.to_string()),
            };
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{name}"),
                (Err(got), Err(want)) => assert!(got.contains(want) && !got.contains("sk"), "{name}: {got}"),
                (got, want) => panic!("{name}: {got:?}, expected {want:?}"),
            }
        }
    }

    #[test]
    fn secret_that_every_user_can_open_is_refused_and_keys_that_they_can_change_are_reported() {
        let files = [
            ("millrace.yaml", "secrets: {K: {file: k}}\nkeys_file: keys.yaml"),
            ("k", "sk-1"),
            ("keys.yaml", "keys: []\n"),
        ];
        for (mode, refused, warned) in
            [(0o600, false, false), (0o440, false, false), (0o644, true, false), (0o646, true, true)]
        {
            let loaded = load_with_mode(&files, mode);
            let told = match &loaded {
                Ok(loaded) => &loaded.warnings,
                Err(refusals) => refusals,
            };
            assert_eq!(loaded.is_err(), refused, "{mode:o}");
            let secret: Vec<_> = told.iter().filter(|refusal| refusal.problem.code == Code::LooseMode).collect();
            if refused {
                assert_eq!(secret.len(), 1, "{mode:o}");
                let Refusal { file, problem } = secret[0];
                assert!(file.ends_with("/k") && problem.message.contains("chmod 600"), "{file}: {problem}");
            }
            let keys = [("millrace.yaml", "keys_file: keys.yaml"), files[2]];
            let warnings = load_with_mode(&keys, mode).unwrap().warnings;
            assert_eq!(warnings.iter().any(|warning| warning.problem.code == Code::LooseMode), warned, "{mode:o}");
        }
    }

    #[test]
    fn stamp_changes_with_the_mode_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        fs::write(&path, "sk-1").unwrap();
        let mut server = check_server(b"secrets: {K: {file: k}}", &|_| None).unwrap().config;
        server.resolve_paths(folder.path());
        let stamp = |mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            FileSet::new(&server).stamp()
        };
        assert_ne!(stamp(0o644), stamp(0o600));
        assert_eq!(stamp(0o600), stamp(0o600));
    }

    #[test]
    fn two_files_of_one_project_are_refused_by_both_names() {
        let loaded = load(&[
            ("millrace.yaml", "projects_dir: projects"),
            ("projects/support.yaml", PROJECT),
            ("projects/support.yml", PROJECT),
            ("projects/other.yml", PROJECT),
        ]);
        let refusals = loaded.err().unwrap();
        assert_eq!(refusals.len(), 1);
        let Refusal { file, problem } = &refusals[0];
        assert_eq!(problem.code, Code::Duplicate);
        assert!(file.ends_with("support.yml") && problem.message.contains("support.yaml"), "{file}: {problem}");
    }
}
