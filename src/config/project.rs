//! Project documents: the checks of meaning.
//!
//! References, exclusions and the rules that need two keys at once. The shape of every key is in `project_tables.rs`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::base::{OnCancel, OnExhausted, PicoUsd};

use super::fields::{Fields, Item};
use super::hint::{did_you_mean, listing};
use super::limits::read_limits;
use super::model::{Costs, Mode, Model, ModelList, PriceEntry, Project, Provider, Route, TimeoutsPatch};
use super::params::read_params;
use super::problem::{At, Checked, Code, Position, Problem, Problems, shown};
use super::project_tables::{MODEL, PRICE, PROJECT, ROUTE};
use super::shape::check_table;
use super::words::{PROVIDERS_LATER, find_provider, shown_provider};
use super::yaml::{self, Content};

/// What stands beside a document: it decides what the document may name and leave out.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectContext<'a> {
    /// The secrets that the project may name; `None` leaves that check to whoever knows them.
    pub secret_names: Option<&'a BTreeSet<String>>,
    /// Providers for which a key of the project or its organization is stored: their models need no `credentials`.
    pub provider_keys: &'a [Provider],
    /// The project's setting, which holds where the document has no `mode`.
    pub mode: Mode,
    /// Providers for which the platform has a credential.
    pub platform: &'a [Provider],
}

/// Checks a project document.
///
/// # Errors
/// Every problem of the document, warnings included, sorted by position. At least one of them is an error.
pub fn check_project(text: &[u8], context: ProjectContext<'_>) -> Result<Checked<Project>, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(root) = yaml::read(text, &mut problems) else {
        return problems.finish(None);
    };
    check_table(&PROJECT, &root, "", &mut problems);
    if !root.is_null() && !matches!(root.content, Content::Map(_)) {
        return problems.finish(None);
    }
    let root = Fields::new(&PROJECT, &root, String::new());
    let mode = written_mode(&root);
    let mut reader = Reader {
        problems: &mut problems,
        context,
        mode: mode.unwrap_or(context.mode),
        models: Vec::new(),
        declared: Vec::new(),
        by_id: HashMap::new(),
    };
    reader.models(&root, ModelList::Chat);
    reader.models(&root, ModelList::Embedding);
    reader.models(&root, ModelList::Transcription);
    let routes = reader.routes(&root);
    let prices = reader.prices(&root);
    let allow_paid_fallback = reader.paid_fallback(&root);
    let project = Project { models: reader.models, routes, prices, mode, allow_paid_fallback };
    problems.finish(Some(project))
}

/// The `mode` of the document.
fn written_mode(root: &Fields<'_>) -> Option<Mode> {
    match root.choice("mode")? {
        "api-keys" => Some(Mode::ApiKeys),
        "credits" => Some(Mode::Credits),
        _ => Some(Mode::Hybrid),
    }
}

/// A `model_id` and where it was first written. Known even when the rest of the model is refused, so that one
/// mistake does not make every route that names the model wrong too.
struct Declared {
    list: ModelList,
    id: String,
    at: Position,
    /// Place among the models that could be read.
    index: usize,
}

struct Reader<'p> {
    problems: &'p mut Problems,
    context: ProjectContext<'p>,
    /// The mode that holds.
    mode: Mode,
    models: Vec<Model>,
    declared: Vec<Declared>,
    by_id: HashMap<String, usize>,
}

impl Reader<'_> {
    fn models(&mut self, root: &Fields<'_>, list: ModelList) {
        for item in root.list(list.key()) {
            if !matches!(item.node.content, Content::Map(_)) {
                continue;
            }
            let fields = Fields::new(&MODEL, item.node, item.path);
            let id = fields.word("model_id");
            if let Some(id) = &id {
                self.declare(id, list);
            }
            let model = self.model(&fields, list, id);
            self.models.extend(model);
        }
    }

    fn paid_fallback(&mut self, root: &Fields<'_>) -> Option<bool> {
        if let Some(item) = root.item("allow_paid_fallback")
            && self.mode != Mode::Hybrid
        {
            self.warn(&item, Code::NoEffect, "only `mode: hybrid` has own keys and credits");
        }
        root.boolean("allow_paid_fallback")
    }

    fn declare(&mut self, id: &At<String>, list: ModelList) {
        if let Some(first) = self.by_id.get(&id.value).and_then(|index| self.declared.get(*index)) {
            let message = format!("`model_id` `{}` is used twice", shown(&id.value, 64));
            let hint = format!("first use in `{}`, line {}", first.list.key(), first.at.line);
            self.problems.push(id.refuse(Code::Duplicate, message).hint(hint));
            return;
        }
        self.by_id.insert(id.value.clone(), self.declared.len());
        self.declared.push(Declared { list, id: id.value.clone(), at: id.at, index: self.models.len() });
    }

    fn model(&mut self, fields: &Fields<'_>, list: ModelList, id: Option<At<String>>) -> Option<Model> {
        let target = fields.word("model");
        let provider = target.as_ref().and_then(|target| self.provider(target));
        let (api_key, base_url) = self.credentials(fields, provider);
        let params = read_params(fields, (list, provider), self.problems);
        let prompt = super::params::read_prompt(fields, list, self.problems);
        let mut timeouts = self.timeouts(fields);
        if let Some(total) = params.total {
            timeouts.total = timeouts.total.or(Some(total));
        }
        Some(Model {
            list,
            id: id?,
            provider: provider?,
            name: target?.value.split_once('/')?.1.trim().to_owned(),
            api_key,
            base_url,
            params: params.body,
            mock: params.mock,
            prompt,
            timeouts,
            retry_safe: fields.boolean("retry_safe").unwrap_or(false),
            max_output_tokens: fields.integer("max_output_tokens"),
            on_cancel: match fields.choice("on_cancel") {
                Some("drain") => OnCancel::Drain,
                Some("free") => OnCancel::Free,
                _ => OnCancel::Estimate,
            },
            costs: model_costs(fields),
        })
    }

    fn provider(&mut self, target: &At<String>) -> Option<Provider> {
        let name = target.value.split_once('/')?.0.trim();
        if let Some(provider) = find_provider(name) {
            return Some(provider);
        }
        let folded = name.to_ascii_lowercase().replace('_', "-");
        if PROVIDERS_LATER.contains(&folded.as_str()) {
            let message = format!("provider `{folded}` is not supported yet");
            self.problems.push(target.refuse(Code::Unsupported, message));
            return None;
        }
        let known = Provider::ALL.map(Provider::name);
        let message = format!("{}; known: {}", shown_provider(name), listing(known));
        let hint = did_you_mean(name, known.into_iter().chain(PROVIDERS_LATER));
        self.problems.push(target.refuse(Code::UnknownReference, message).maybe_hint(hint));
        None
    }

    fn credentials(
        &mut self,
        fields: &Fields<'_>,
        provider: Option<Provider>,
    ) -> (Option<At<String>>, Option<At<String>>) {
        let credentials = fields.table("credentials");
        let api_key = credentials.secret("api_key");
        let base_url = credentials.word("base_url").map(|mut url| {
            url.value.truncate(url.value.trim_end_matches('/').len());
            url
        });
        if let (Some(names), Some(key)) = (self.context.secret_names, &api_key)
            && !names.contains(&key.value)
        {
            let message = format!("no secret `{}` for this project", key.value);
            let hint = self.problems.search(|| did_you_mean(&key.value, names.iter().map(String::as_str)));
            self.problems.push(key.refuse(Code::UnknownSecret, message).maybe_hint(hint));
        }
        match provider {
            Some(Provider::Mock) => {
                for name in ["api_key", "base_url"] {
                    if let Some(item) = credentials.item(name) {
                        self.warn(&item, Code::NoEffect, "the mock provider needs no credentials");
                    }
                }
            }
            Some(provider) => self.check_credentials(fields, &credentials, provider),
            None => {}
        }
        (api_key, base_url)
    }

    fn check_credentials(&mut self, fields: &Fields<'_>, credentials: &Fields<'_>, provider: Provider) {
        if let Some(url) = credentials.word("base_url") {
            let versioned = url.value.trim_end_matches('/').ends_with("/v1");
            if provider == Provider::OpenAi && !versioned {
                let message = "an address for `openai/*` usually ends in `/v1`";
                self.problems.push(url.warn(Code::Suspicious, message));
            }
        }
        let is_written = ["api_key", "base_url", "azure_ad_token"].iter().any(|name| credentials.has(name));
        if is_written {
            if let Some(item) = fields.item("credentials").filter(|_| self.mode == Mode::Credits) {
                let message =
                    "`mode: credits` uses the platform's credential only: remove `credentials`, or change `mode`";
                self.problems.push(Problem::error(item.path, item.node.at, Code::Conflict, message));
            }
            return;
        }
        let has_own = self.mode != Mode::Credits && self.context.provider_keys.contains(&provider);
        let has_platform = self.mode != Mode::ApiKeys && self.context.platform.contains(&provider);
        if has_own || has_platform {
            return;
        }
        let name = provider.name();
        let message = match self.mode {
            Mode::Credits => {
                format!("the platform has no credential for provider `{name}`; its administrator enters it")
            }
            Mode::Hybrid | Mode::ApiKeys => format!("provider `{name}` needs a key: add `credentials.api_key`"),
        };
        let path = fields.path.as_str();
        // Without a word about the mode only `openai` is documented to be refused here; others refuse the requests.
        self.problems.push(if provider == Provider::OpenAi || self.mode != Mode::Hybrid {
            Problem::error(path, fields.at, Code::NoCredential, message)
        } else {
            Problem::warning(path, fields.at, Code::NoCredential, message)
        });
    }

    fn timeouts(&mut self, fields: &Fields<'_>) -> TimeoutsPatch {
        let table = fields.table("timeouts");
        let patch = TimeoutsPatch {
            connect: table.duration("connect"),
            first_byte: table.duration("first_byte"),
            idle: table.duration("idle"),
            total: table.duration("total"),
        };
        for (low_name, low, high_name, high) in [
            ("connect", patch.connect, "first_byte", patch.first_byte),
            ("connect", patch.connect, "total", patch.total),
            ("first_byte", patch.first_byte, "total", patch.total),
            ("idle", patch.idle, "total", patch.total),
        ] {
            if is_above(low, high)
                && let Some(item) = table.item(low_name)
            {
                let message = format!("must be <= `{high_name}`");
                self.problems.push(Problem::error(item.path, item.node.at, Code::OutOfRange, message));
            }
        }
        patch
    }

    fn routes(&mut self, root: &Fields<'_>) -> Vec<Route> {
        let entries = root.map("routes");
        if entries.is_empty() && !root.has("routes") {
            let message = "no routes: the project serves nothing";
            self.problems.push(Problem::warning("routes", root.at, Code::NoEffect, message));
        } else if entries.is_empty()
            && let Some(item) = root.item("routes")
        {
            self.warn(&item, Code::NoEffect, "no routes: the project serves nothing");
        }
        let mut routes = Vec::with_capacity(entries.len());
        for (entry, path) in entries {
            let readable = matches!(entry.value.content, Content::Map(_)) || entry.value.is_null();
            if !readable {
                continue;
            }
            let fields = Fields::new(&ROUTE, &entry.value, path.clone());
            let listed = ["chat_models", "embedding_models", "transcription_models"];
            let written = |name: &&str| match fields.item(name) {
                Some(item) => !matches!(&item.node.content, Content::List(list) if list.is_empty()),
                None => false,
            };
            if !listed.iter().any(written) {
                let message = "a route needs `chat_models`, `embedding_models` or `transcription_models` with an entry";
                self.problems.push(Problem::error(path.as_str(), entry.key_at, Code::MissingKey, message));
            }
            if let Some(item) = fields.item("duration_limiting").filter(|_| !written(&"transcription_models")) {
                let message = "only audio has seconds: the route needs `transcription_models`";
                self.problems.push(Problem::error(item.path, item.node.at, Code::Conflict, message));
            }
            routes.push(Route {
                name: At { value: entry.key.clone(), at: entry.key_at, path: path.into() },
                chat: self.references(&fields, ModelList::Chat),
                embedding: self.references(&fields, ModelList::Embedding),
                transcription: self.references(&fields, ModelList::Transcription),
                timeouts: self.timeouts(&fields),
                limits: read_limits(&fields, self.problems),
                max_output_tokens: fields.integer("max_output_tokens"),
                enforce_output_cap: fields.boolean("enforce_output_cap"),
                on_exhausted: match fields.choice("on_exhausted_midstream") {
                    Some("cut") => OnExhausted::Cut,
                    _ => OnExhausted::Finish,
                },
            });
        }
        routes
    }

    fn prices(&mut self, root: &Fields<'_>) -> Vec<PriceEntry> {
        let mut prices: Vec<PriceEntry> = Vec::new();
        for item in root.list("prices") {
            let fields = Fields::new(&PRICE, item.node, item.path);
            let Some(model) = fields.word("model") else { continue };
            let Some(provider) = self.provider(&model) else { continue };
            let entry = PriceEntry {
                provider,
                costs: listed_costs(&fields),
                per_request: fields.money("per_request").unwrap_or_default(),
                per_image: fields.money("per_image").unwrap_or_default(),
                per_web_search: fields.money("per_web_search").unwrap_or_default(),
                per_audio_minute: fields.money("per_audio_minute").unwrap_or_default(),
                model,
            };
            if entry.name().strip_suffix('*').unwrap_or(entry.name()).contains('*') {
                let message = "`*` stands at the end of a name only";
                self.problems.push(entry.model.refuse(Code::BadValue, message));
                continue;
            }
            let same = |first: &&PriceEntry| first.provider == provider && first.name() == entry.name();
            if let Some(first) = prices.iter().find(same) {
                let message = format!("`{}` is priced twice", shown(&entry.model.value, 64));
                let hint = format!("first use in line {}", first.model.at.line);
                self.problems.push(entry.model.refuse(Code::Duplicate, message).hint(hint));
                continue;
            }
            prices.push(entry);
        }
        prices
    }

    /// Resolves the ids of one list of a route.
    fn references(&mut self, fields: &Fields<'_>, list: ModelList) -> Vec<At<usize>> {
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut found = Vec::new();
        let mut extra_reported = false;
        for id in fields.list(list.key()).iter().filter_map(Item::word) {
            if let Some(line) = seen.get(&id.value) {
                let message = format!("`{}` is listed twice", shown(&id.value, 64));
                let hint = format!("first use in line {line}");
                self.problems.push(id.refuse(Code::Duplicate, message).hint(hint));
                continue;
            }
            if !seen.is_empty() && !extra_reported {
                extra_reported = true;
                let message = "more than one model per list needs `balancing` or `fallback`, not supported yet";
                self.problems.push(id.refuse(Code::Unsupported, message));
            }
            seen.insert(id.value.clone(), id.at.line);
            let index = self.reference(&id, list);
            found.extend(index.map(|index| At { value: index, at: id.at, path: id.path.clone() }));
        }
        found
    }

    fn reference(&mut self, id: &At<String>, list: ModelList) -> Option<usize> {
        let declared = self.by_id.get(&id.value).and_then(|index| self.declared.get(*index));
        if let Some(declared) = declared.filter(|declared| declared.list == list) {
            return Some(declared.index);
        }
        let ids = || self.declared.iter().filter(|declared| declared.list == list).map(|declared| declared.id.as_str());
        let (message, hint) = match declared {
            Some(declared) => (
                format!("`{}` is not in `{}`", shown(&id.value, 64), list.key()),
                Some(format!("it stands in `{}`", declared.list.key())),
            ),
            None => {
                let known = if ids().next().is_none() {
                    format!("`{}` is empty", list.key())
                } else {
                    format!("known: {}", listing(ids()))
                };
                (
                    format!("unknown model `{}`; {known}", shown(&id.value, 64)),
                    self.problems.search(|| did_you_mean(&id.value, ids())),
                )
            }
        };
        self.problems.push(id.refuse(Code::UnknownReference, message).maybe_hint(hint));
        None
    }

    fn warn(&mut self, item: &Item<'_>, code: Code, message: &str) {
        self.problems.push(Problem::warning(item.path.as_str(), item.node.at, code, message));
    }
}

fn model_costs(fields: &Fields<'_>) -> Costs {
    Costs {
        input: per_token(fields, "input_cost_per_million_tokens"),
        output: per_token(fields, "output_cost_per_million_tokens"),
        cached_input: per_token(fields, "input_cached_cost_per_million_tokens"),
        cache_write_5m: per_token(fields, "input_cache_creation_5m_cost_per_million_tokens"),
        cache_write_1h: per_token(fields, "input_cache_creation_1h_cost_per_million_tokens"),
        ..Costs::default()
    }
}

fn listed_costs(fields: &Fields<'_>) -> Costs {
    Costs {
        input: per_token(fields, "input"),
        output: per_token(fields, "output"),
        cached_input: per_token(fields, "cached_input"),
        cache_write_5m: per_token(fields, "cache_write_5m"),
        cache_write_1h: per_token(fields, "cache_write_1h"),
        image_input: per_token(fields, "image_input"),
        image_output: per_token(fields, "image_output"),
    }
}

/// USD for a million tokens as pico-USD for one. Exact: amounts have at most 6 decimals.
fn per_token(fields: &Fields<'_>, name: &str) -> Option<PicoUsd> {
    fields.money(name).map(|per_million| PicoUsd(per_million.units() / 1_000))
}

fn is_above(low: Option<Duration>, high: Option<Duration>) -> bool {
    matches!((low, high), (Some(low), Some(high)) if low > high)
}
