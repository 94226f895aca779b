//! Checked configurations and keys to parts of a snapshot.
//!
//! The outcome is a part, or every problem of its project.
//!
//! The only way to a snapshot, for the demo, for files and for the control plane alike: what passed here is what serves.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    base::{Caller, KeyHasher, Labels, Tenure},
    config::{At, Code, KeyEntry, LimitUnit, Model, Problem, Provider, Route as RouteConfig, Severity, Timeouts},
    iam::{self, TargetFacts},
    limit::{Keyed, LimitSet, route_limits},
    provider::asks_usage,
    tokens::Encoding,
    upstream::BoundOrigin,
    usage::{Catalogue, Price},
    wire::{Defaults, Prompt},
};

use super::{
    credit::Paid,
    edit::Edit,
    footprint::too_large,
    grant::{Grant, Scope},
    learned::Learned,
    limits::rules,
    part::ProjectPart,
    pricing::{Pricing, pricing, unpriced, unpriced_problem},
    reach::{Ways, ways},
    route::{Bounds, HttpTarget, Reach, Route, RoutePlace, Target, TargetTimeouts},
    source::{ProjectSource, Refusal, Registries, Sources},
    view::Snapshot,
};

/// Compiles everything that file mode serves into a snapshot of this generation; beside it, what deserves attention although
/// it is served.
///
/// # Errors
/// Every problem of every file, in order of file and position.
pub fn compile(
    sources: Sources,
    registries: &Registries,
    generation: u64,
) -> Result<(Snapshot, Vec<Refusal>), Vec<Refusal>> {
    let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
    let mut edit = Edit::empty(KeyHasher::Plain);
    for project in &sources.projects {
        match compile_project(project, registries) {
            Ok(part) => {
                let found = unpriced(project, &part).into_iter();
                warnings.extend(found.map(|problem| Refusal { file: project.file.clone(), problem }));
                edit.put_project(Arc::clone(&project.id), part);
            }
            Err(found) => refusals.extend(found),
        }
    }
    for problem in key_problems(&sources) {
        refusals.push(Refusal { file: sources.keys_file.clone(), problem });
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    for key in &sources.keys {
        edit.put_grant(key.digest, grant(key));
    }
    Ok((edit.finish(generation), warnings))
}

/// Compiles one project.
///
/// # Errors
/// Every problem of the project, by position; one alone when it would take more than [`super::COMPILED_BYTES_MAX`].
pub fn compile_project(project: &ProjectSource, registries: &Registries) -> Result<ProjectPart, Vec<Refusal>> {
    if let Some(problem) = too_large(project) {
        return Err(vec![Refusal { file: project.file.clone(), problem }]);
    }
    let mut problems = Vec::new();
    let tenure = Arc::new(Tenure::default());
    let compiler = Compiler { project, registries, tenure: &tenure };
    let routes = project.config.routes.iter().map(|route| compiler.route(route, &mut problems)).collect();
    compiler.unused_models(&mut problems);
    if problems.is_empty() {
        let organization = Arc::from(&*project.organization);
        let versioned = (project.version, tenure);
        let part = ProjectPart::served(project.slug.clone(), organization, versioned, routes);
        return Ok(part.with_mode(project.config.mode));
    }
    problems.sort_by_key(|problem| problem.at);
    Err(problems.into_iter().map(|problem| Refusal { file: project.file.clone(), problem }).collect())
}

/// A key that names a project or route that is not served could only be a mistake of spelling. A route of a project that
/// is refused itself is no problem of the key.
fn key_problems(sources: &Sources) -> Vec<Problem> {
    let names = |project: &ProjectSource| -> HashSet<Box<str>> {
        project.config.routes.iter().map(|route| route.name.value.as_str().into()).collect()
    };
    let known: HashMap<&str, HashSet<Box<str>>> =
        sources.projects.iter().map(|project| (&*project.slug, names(project))).collect();
    let is_served = |full_name: &str| {
        let served = full_name.split_once('/').and_then(|(slug, name)| Some(known.get(slug)?.contains(name)));
        served == Some(true)
    };
    let mut problems = Vec::new();
    for key in &sources.keys {
        for slug in key.projects.iter().filter(|slug| !known.contains_key(slug.value.as_str())) {
            problems.push(slug.refuse(Code::UnknownReference, format!("no project `{}` is served", slug.value)));
        }
        for route in key.routes.iter().flatten().filter(|route| !is_served(&route.value)) {
            problems.push(route.refuse(Code::UnknownReference, format!("no route `{}` is served", route.value)));
        }
    }
    problems
}

fn grant(key: &KeyEntry) -> Grant {
    let texts = |list: &[At<String>]| list.iter().map(|text| Box::from(text.value.as_str())).collect();
    Grant {
        caller: Arc::new(caller_of(key)),
        limits: LimitSet::default(),
        scope: Scope::slugs(key.projects.iter().map(|slug| slug.value.as_str())),
        routes: key.routes.as_deref().map(texts),
        enabled: key.enabled,
        expires: key.expires,
        policy: None,
    }
}

/// In a file a key has no other id than its public one.
fn caller_of(key: &KeyEntry) -> Caller {
    Caller::of_key(&key.id.value)
}

struct Compiler<'a> {
    project: &'a ProjectSource,
    registries: &'a Registries,
    tenure: &'a Arc<Tenure>,
}

impl Compiler<'_> {
    fn route(&self, route: &RouteConfig, problems: &mut Vec<Problem>) -> Route {
        let bounds = Arc::new(self.bounds(route));
        let mut first = |list: &[At<usize>]| {
            let model = list.first().and_then(|index| self.project.config.models.get(index.value))?;
            match self.target((route, &bounds), model) {
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
        let (chat, embedding) = (first(&route.chat), first(&route.embedding));
        let transcription = first(&route.transcription);
        problems.extend(unpriced_under_budget(
            route,
            &[
                (&route.chat, chat.as_deref()),
                (&route.embedding, embedding.as_deref()),
                (&route.transcription, transcription.as_deref()),
            ],
        ));
        Route {
            full_name: format!("{}/{}", self.project.slug, route.name.value).into(),
            created: self.project.created,
            chat,
            embedding,
            transcription,
            bounds,
            place: RoutePlace::default(),
        }
    }

    fn bounds(&self, route: &RouteConfig) -> Bounds {
        // Counters are those of the project's id: slugs are unique in one organization only.
        let (owner, rules) = (format!("{}/{}", self.project.id, route.name.value), rules(route));
        let meters = &self.registries.meters;
        Bounds {
            limits: route_limits(&owner, &rules, meters),
            keyed: Keyed::new(&owner, &rules, Arc::clone(meters)),
            enforce_output_cap: route.enforce_output_cap,
            on_exhausted: route.on_exhausted,
        }
    }

    /// Compiles the models that no route names, to find what would be wrong once one does.
    fn unused_models(&self, problems: &mut Vec<Problem>) {
        let routes = &self.project.config.routes;
        let used: HashSet<usize> = routes.iter().flat_map(RouteConfig::references).map(|index| index.value).collect();
        let models = self.project.config.models.iter().enumerate();
        let unused = models.filter(|(index, _)| !used.contains(index)).map(|(_, model)| model);
        problems.extend(
            unused
                .filter_map(|model| ways(self.project, model, &self.registries.origins).err())
                .map(|problem| *problem),
        );
    }

    /// Finds what pays for the platform's credential: without a price of the platform it serves nobody.
    fn funded(&self, model: &Model, ways: Ways, catalogue: &Catalogue) -> Result<(Reach, Option<Paid>), Box<Problem>> {
        let price = || catalogue.lookup(model.provider.name(), &model.name).map(|listed| listed.price);
        let place = (&*self.project.organization, &*self.project.id);
        let credit = || self.registries.credits.of_project(place, &self.registries.meters);
        match ways {
            Ways::Own(reach) => Ok((reach, None)),
            Ways::Platform(way) => {
                let Some(price) = price() else {
                    let full_name = format!("{}/{}", model.provider.name(), model.name);
                    let message = format!("`{full_name}` has no price in the catalogue, so credits cannot pay it");
                    let hint = "use an own key, or ask the platform's administrator for a price";
                    return Err(Box::new(model.id.refuse(Code::UnpricedModel, message).hint(hint)));
                };
                Ok((Reach::Http(way), Some(Paid { credit: credit(), price, instead: None })))
            }
            Ways::Both(reach, way) => {
                let paid = price().map(|price| Paid { credit: credit(), price, instead: Some(way) });
                Ok((reach, paid))
            }
        }
    }

    fn target(&self, (route, bounds): (&RouteConfig, &Arc<Bounds>), model: &Model) -> Result<Target, Box<Problem>> {
        let labels = Arc::new(Labels {
            organization: self.project.organization.clone(),
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
        let ways = ways(self.project, model, &self.registries.origins)?;
        let catalogue = self.registries.prices.load();
        let is_own_address =
            model.base_url.is_none() && !matches!(&ways, Ways::Platform(way) if !is_at_home(model, way));
        let (reach, paid) = self.funded(model, ways, &catalogue)?;
        let Pricing { mut price, output_max, context_window } = pricing(self.project, model, &reach, &catalogue);
        if let Some(paid) = paid.as_ref().filter(|paid| paid.instead.is_none()) {
            price = Some(Arc::clone(&paid.price));
        }
        let output_max = model.max_output_tokens.unwrap_or(output_max);
        let timeouts = Timeouts::resolve(&route.timeouts, &model.timeouts);
        Ok(Target {
            tenure: Arc::clone(self.tenure),
            bounds: Arc::clone(bounds),
            facts: facts(model, &reach, price.as_deref()),
            reach,
            price,
            paid,
            output_max: route.max_output_tokens.map_or(output_max, |route| route.min(output_max)),
            context_window,
            on_cancel: model.on_cancel,
            series: self.registries.metrics.series(Arc::clone(&labels)),
            model_json: serde_json::Value::from(model.name.as_str()).to_string().into_bytes().into(),
            prompt: model.prompt.as_ref().map(|prompt| Prompt::new(prompt.role.as_str(), &prompt.text)),
            defaults,
            asks_usage: asks_usage(model.provider),
            is_openai: model.provider == Provider::OpenAi && is_own_address,
            encoding: encoding(model),
            learned: Learned::default(),
            timeouts: TargetTimeouts {
                connect: timeouts.connect,
                first_byte: timeouts.first_byte,
                idle: timeouts.idle,
                total: timeouts.total,
            },
            keeps_state: model.provider == Provider::OpenAi,
            retry_safe: model.retry_safe,
            version: self.project.version,
            answer_lines: answer_lines(&labels, self.project.version),
            labels,
        })
    }
}

/// The table of a model's tokens, by its name. Who speaks OpenAI's wire at another address may pass requests on to it: should
/// the name stand for something else there, a reservation is too small and never a bill.
fn encoding(model: &Model) -> Option<Encoding> {
    let is_named_there = matches!(model.provider, Provider::OpenAi | Provider::Mock);
    is_named_there.then(|| Encoding::of_openai_model(&model.name)).flatten()
}

/// Whether a way leads to the provider's own address.
fn is_at_home(model: &Model, way: &HttpTarget) -> bool {
    let own = model.provider.default_base_url().and_then(|url| url.split('/').nth(2));
    own == Some(&*way.origin.url().host_name())
}

/// Money that is not counted cannot be limited. A limit in shadow mode needs prices as well.
fn unpriced_under_budget(route: &RouteConfig, lists: &[(&[At<usize>], Option<&Target>)]) -> Option<Problem> {
    if !route.limits.iter().any(|limit| limit.unit == LimitUnit::Money) {
        return None;
    }
    lists.iter().find_map(|(references, target)| {
        let target = target.filter(|target| target.price.is_none())?;
        let full_name = format!("{}/{}", target.labels.provider, target.labels.model);
        let warning = unpriced_problem(references.first()?, &full_name);
        Some(Problem { severity: Severity::Error, ..warning })
    })
}

/// What rules are told about a target. The name of a provider stands for the provider's own address only: a rule that allows
/// it must not let a key reach whatever a project has put in its place.
fn facts(model: &Model, reach: &Reach, price: Option<&Price>) -> TargetFacts {
    let own_place = model.provider.default_base_url().and_then(|url| BoundOrigin::of_url(url).ok());
    let provider = match reach {
        Reach::Http(http) if own_place.is_none_or(|place| !place.covers(http.origin.url())) => {
            format!("custom:{}", http.origin.url().host_name())
        }
        Reach::Http(_) | Reach::Mock(_) => model.provider.name().to_owned(),
    };
    let price = price.map(|price| iam::Price {
        input: price.input_per_million(),
        output: price.output_per_million(),
        is_free: price.is_free(),
    });
    TargetFacts { provider: provider.into(), model: model.name.as_str().into(), price }
}

/// Names may hold any printable character: what is not plain ASCII is percent-encoded in a header.
fn answer_lines(labels: &Labels, version: Option<u64>) -> Box<[u8]> {
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
    if let Some(version) = version {
        lines.extend_from_slice(format!("x-millrace-config: {version}\r\n").as_bytes());
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{ProjectContext, check_project},
        metrics::Registry,
        upstream::{Guard, Origins, Resolver, Rules, TtlBounds},
    };

    fn refusals(project: &str) -> Vec<String> {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
        let guard = Arc::new(Guard::new(Rules::default(), vec![own]));
        let second = Duration::from_secs(1);
        let resolver = Resolver::new(Arc::clone(&guard), Vec::new(), TtlBounds { min: second, max: second }, |_| {});
        let origins = Arc::new(Origins::new(guard, resolver));
        let context = ProjectContext { secret_names: None, provider_keys: &[], ..ProjectContext::default() };
        let config = check_project(project.as_bytes(), context).unwrap().config;
        let source = ProjectSource {
            id: "p".into(),
            slug: "p".into(),
            organization: "o".into(),
            version: None,
            file: "p.yaml".to_owned(),
            created: 0,
            config,
            secrets: Arc::default(),
            provider_keys: Vec::new(),
            organization_prices: Vec::new(),
            funding: Default::default(),
        };
        let compiled = compile_project(&source, &Registries::new(Arc::new(Registry::new(1)), origins));
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
        let text = String::from_utf8(answer_lines(&labels, None).into_vec()).unwrap();
        assert_eq!(text.lines().nth(2), Some("x-millrace-model: a%0D%0Ax: y %C3%A9%25"));
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn version_is_told_where_there_is_one() {
        let text = String::from_utf8(answer_lines(&Labels::default(), Some(12)).into_vec()).unwrap();
        assert!(text.ends_with("\r\nx-millrace-config: 12\r\n"), "{text}");
    }
}
