//! Checked configurations and keys to a snapshot.
//!
//! The outcome is a snapshot, or every problem of every file.
//!
//! The only way to a snapshot, for the demo, for files and for the control plane alike: what passed here is what serves.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    base::{Labels, Secret},
    config::{Code, KeyEntry, Model, Problem, Project, Provider, Route as RouteConfig, Timeouts},
    http::ServerName,
    metrics::Registry,
    provider::{HeadTextError, Mock, asks_usage, request_head},
    upstream::{Origins, Scheme},
    wire::{Defaults, Prompt},
};

use super::{
    grant::Grant,
    route::{HttpTarget, Reach, Route, Target, TargetTimeouts},
    view::{Routes, Snapshot},
};

/// One project to be served.
pub struct ProjectSource {
    /// The slug under which its routes are called.
    pub slug: Box<str>,
    /// Where the text came from, for messages.
    pub file: String,
    /// When it came, in seconds since 1970.
    pub created: u64,
    /// The checked text.
    pub config: Project,
}

/// Everything a snapshot is made of.
pub struct Sources {
    /// Organization that owns the projects.
    pub organization: Box<str>,
    /// The projects to be served.
    pub projects: Vec<ProjectSource>,
    /// The keys.
    pub keys: Vec<KeyEntry>,
    /// Where the keys came from, for messages.
    pub keys_file: String,
    /// Values of `!secret NAME`.
    pub secrets: BTreeMap<String, Secret>,
}

/// What outlives a snapshot: counters, connections and resolved names stay when the configuration changes.
#[derive(Clone)]
pub struct Registries {
    /// Counters by labels.
    pub metrics: Arc<Registry>,
    /// Provider addresses in use.
    pub origins: Arc<Origins>,
}

/// A problem and the file in which it stands.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// File of the problem.
    pub file: String,
    /// The problem.
    pub problem: Problem,
}

/// Compiles a snapshot of this generation.
///
/// # Errors
/// Every problem of every file, in order of file and position.
pub fn compile(sources: Sources, registries: &Registries, generation: u64) -> Result<Snapshot, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut routes = Routes::default();
    for project in &sources.projects {
        let compiler = Compiler { organization: &sources.organization, project, secrets: &sources.secrets, registries };
        let mut problems = Vec::new();
        for route in compiler.routes(&mut problems) {
            routes.insert(route);
        }
        compiler.unused_models(&mut problems);
        problems.sort_by_key(|problem| problem.at);
        refusals.extend(problems.into_iter().map(|problem| Refusal { file: project.file.clone(), problem }));
    }
    let known = |slug: &str| sources.projects.iter().any(|project| *project.slug == *slug);
    for problem in key_problems(&sources.keys, known, &routes) {
        refusals.push(Refusal { file: sources.keys_file.clone(), problem });
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let grants = sources.keys.iter().map(|key| (key.digest, Arc::new(grant(key)))).collect();
    Ok(Snapshot::new(generation, grants, routes))
}

/// A key that names a project or route that is not served could only be a mistake of spelling.
fn key_problems(keys: &[KeyEntry], known_project: impl Fn(&str) -> bool, routes: &Routes) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in keys {
        for slug in key.projects.iter().filter(|slug| !known_project(&slug.value)) {
            problems.push(slug.refuse(Code::UnknownReference, format!("no project `{}` is served", slug.value)));
        }
        for route in key.routes.iter().flatten().filter(|route| routes.find(&route.value).is_none()) {
            problems.push(route.refuse(Code::UnknownReference, format!("no route `{}` is served", route.value)));
        }
    }
    problems
}

fn grant(key: &KeyEntry) -> Grant {
    let texts = |list: &[crate::config::At<String>]| list.iter().map(|text| Box::from(text.value.as_str())).collect();
    Grant {
        key_id: key.id.value.as_str().into(),
        projects: texts(&key.projects),
        routes: key.routes.as_deref().map(texts),
        enabled: key.enabled,
        expires: key.expires,
    }
}

struct Compiler<'a> {
    organization: &'a str,
    project: &'a ProjectSource,
    secrets: &'a BTreeMap<String, Secret>,
    registries: &'a Registries,
}

impl Compiler<'_> {
    fn routes(&self, problems: &mut Vec<Problem>) -> Vec<Route> {
        self.project.config.routes.iter().map(|route| self.route(route, problems)).collect()
    }

    fn route(&self, route: &RouteConfig, problems: &mut Vec<Problem>) -> Route {
        let mut first = |list: &[usize]| {
            let model = list.first().and_then(|index| self.project.config.models.get(*index))?;
            match self.target(route, model) {
                Ok(target) => Some(Arc::new(target)),
                Err(problem) => {
                    // Two routes with one model would report its problem twice.
                    if !problems.contains(&problem) {
                        problems.push(*problem);
                    }
                    None
                }
            }
        };
        Route {
            full_name: format!("{}/{}", self.project.slug, route.name.value).into(),
            project: self.project.slug.clone(),
            created: self.project.created,
            chat: first(&route.chat),
            embedding: first(&route.embedding),
        }
    }

    /// Compiles the models that no route names, to find what would be wrong once one does.
    fn unused_models(&self, problems: &mut Vec<Problem>) {
        let routes = &self.project.config.routes;
        let used: HashSet<usize> =
            routes.iter().flat_map(|route| route.chat.iter().chain(&route.embedding)).copied().collect();
        let models = self.project.config.models.iter().enumerate();
        let unused = models.filter(|(index, _)| !used.contains(index)).map(|(_, model)| model);
        problems.extend(unused.filter_map(|model| self.reach(model).err()).map(|problem| *problem));
    }

    fn target(&self, route: &RouteConfig, model: &Model) -> Result<Target, Box<Problem>> {
        let labels = Arc::new(Labels {
            organization: self.organization.into(),
            project: self.project.slug.clone(),
            route: route.name.value.as_str().into(),
            provider: model.provider.name().into(),
            model: model.name.as_str().into(),
            target: model.id.value.as_str().into(),
        });
        let mut defaults = Defaults::default();
        for (name, value) in &model.params {
            defaults.push(name, &value.to_string());
        }
        let timeouts = Timeouts::resolve(&route.timeouts, &model.timeouts);
        Ok(Target {
            series: self.registries.metrics.series(Arc::clone(&labels)),
            reach: self.reach(model)?,
            model_json: serde_json::Value::from(model.name.as_str()).to_string().into_bytes().into(),
            prompt: model.prompt.as_ref().map(|prompt| Prompt::new(prompt.role.as_str(), &prompt.text)),
            defaults,
            asks_usage: asks_usage(model.provider),
            timeouts: TargetTimeouts {
                connect: timeouts.connect,
                first_byte: timeouts.first_byte,
                idle: timeouts.idle,
                total: timeouts.total,
            },
            keeps_state: model.provider == Provider::OpenAi,
            retry_safe: model.retry_safe,
            answer_lines: answer_lines(&labels),
            labels,
        })
    }

    fn reach(&self, model: &Model) -> Result<Reach, Box<Problem>> {
        if model.provider == Provider::Mock {
            return Ok(Reach::Mock(Mock::new(&model.mock, &model.name)));
        }
        let key = match &model.api_key {
            None => None,
            Some(name) => Some(self.secrets.get(&name.value).ok_or_else(|| {
                let message = format!("no secret `{}` is configured", name.value);
                Box::new(name.refuse(Code::UnknownSecret, message))
            })?),
        };
        let text = match (&model.base_url, model.provider.default_base_url()) {
            (Some(url), _) => url.value.as_str(),
            (None, Some(url)) => url,
            (None, None) => {
                let message = format!("provider `{}` has no address of its own", model.provider.name());
                return Err(Box::new(model.id.refuse(Code::MissingKey, message)));
            }
        };
        let origin = self.registries.origins.track(&self.project.slug, text).map_err(|error| {
            let at = model.base_url.as_ref().unwrap_or(&model.id);
            Box::new(at.refuse(Code::EgressDenied, error.to_string()))
        })?;
        let (authority, path) = (origin.url().authority(), origin.url().path().to_owned());
        let head = |endpoint| request_head(&authority, &path, endpoint, key);
        let refuse_head = |error: HeadTextError| {
            let written = if error == HeadTextError::Key { &model.api_key } else { &model.base_url };
            Box::new(written.as_ref().unwrap_or(&model.id).refuse(Code::BadValue, error.to_string()))
        };
        let server_name = match origin.url().scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(ServerName::parse(&origin.url().host_name()).ok_or_else(|| {
                let at = model.base_url.as_ref().unwrap_or(&model.id);
                Box::new(at.refuse(Code::EgressDenied, "the host cannot be the name of a certificate"))
            })?),
        };
        HttpTarget::new(origin, server_name, head).map(Reach::Http).map_err(refuse_head)
    }
}

/// Names may hold any printable character: what is not plain ASCII is percent-encoded in a header.
fn answer_lines(labels: &Labels) -> Box<[u8]> {
    let mut lines = Vec::new();
    for (name, value) in [
        ("x-millrace-route", &format!("{}/{}", labels.project, labels.route).into_boxed_str()),
        ("x-millrace-provider", &labels.provider),
        ("x-millrace-model", &labels.model),
        ("x-millrace-target", &labels.target),
    ] {
        lines.extend_from_slice(name.as_bytes());
        lines.extend_from_slice(b": ");
        for byte in value.bytes() {
            if byte.is_ascii_graphic() && byte != b'%' || byte == b' ' {
                lines.push(byte);
            } else {
                lines.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        lines.extend_from_slice(b"\r\n");
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::{
        config::check_project,
        upstream::{Guard, Resolver, Rules, TtlBounds},
    };

    fn refusals(project: &str) -> Vec<String> {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
        let guard = Arc::new(Guard::new(Rules::default(), vec![own]));
        let second = Duration::from_secs(1);
        let resolver = Resolver::new(Arc::clone(&guard), Vec::new(), TtlBounds { min: second, max: second }, |_| {});
        let origins = Arc::new(Origins::new(guard, resolver));
        let config = check_project(project.as_bytes(), None).unwrap().config;
        let source = ProjectSource { slug: "p".into(), file: "p.yaml".to_owned(), created: 0, config };
        let sources = Sources {
            organization: "o".into(),
            projects: vec![source],
            keys: Vec::new(),
            keys_file: String::new(),
            secrets: BTreeMap::new(),
        };
        let compiled = compile(sources, &Registries { metrics: Arc::new(Registry::new(1)), origins }, 1);
        let refusals = compiled.err().unwrap_or_default();
        refusals.iter().map(|refusal| format!("{}: {}", refusal.problem.path, refusal.problem.code.as_str())).collect()
    }

    #[test]
    fn every_model_of_every_list_is_compiled_also_when_no_route_names_it() {
        let denied = "{model_id: m, model: openai/m, credentials: {base_url: \"http://169.254.169.254/v1\"}}";
        let secret = "{model_id: m, model: openai/m, credentials: {api_key: !secret NOPE}}";
        let fine = "{model_id: m, model: openai/m, credentials: {base_url: \"https://models.example.com/v1\"}}";
        for list in ["chat_models", "embedding_models", "transcription_models"] {
            for (model, want) in [
                (denied, vec![format!("{list}[0].credentials.base_url: egress_denied")]),
                (secret, vec![format!("{list}[0].credentials.api_key: unknown_secret")]),
                (fine, Vec::new()),
            ] {
                assert_eq!(refusals(&format!("{list}: [{model}]\n")), want, "{list}: {model}");
            }
        }
    }

    #[test]
    fn names_cannot_break_a_header_line() {
        let labels = Labels { model: "a\r\nx: y é%".into(), ..Labels::default() };
        let text = String::from_utf8(answer_lines(&labels).into_vec()).unwrap();
        assert_eq!(text.lines().nth(2), Some("x-millrace-model: a%0D%0Ax: y %C3%A9%25"));
        assert_eq!(text.lines().count(), 4);
    }
}
