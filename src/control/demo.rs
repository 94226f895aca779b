//! The demo: one served project, no file.
//!
//! It is written as the same YAML that a user would write and goes through the same checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    base::{Digest, Secret, unix_time},
    config::{Problem, ProjectContext, check_keys, check_project},
    snapshot::{BoundSecret, ProjectSource, Refusal, Sources},
};

/// Slug of the demo's project.
const SLUG: &str = "demo";
const SECRET_NAME: &str = "DEMO_UPSTREAM_KEY";

/// What the demo serves.
pub struct Demo {
    /// The key that clients send.
    pub key: Secret,
    /// A real model server instead of the built-in mock provider.
    pub upstream: Option<DemoUpstream>,
}

/// An OpenAI-compatible server behind the demo's routes.
pub struct DemoUpstream {
    /// Its base URL, such as `http://127.0.0.1:8080/v1`.
    pub url: String,
    /// The model to ask it for.
    pub model: String,
    /// Its key, if it wants one.
    pub key: Option<Secret>,
}

impl Demo {
    /// Builds and checks the demo's configuration.
    ///
    /// # Errors
    /// Problems of the given URL or model.
    pub fn sources(&self) -> Result<Sources, Vec<Refusal>> {
        let mut secrets = BTreeMap::new();
        if let Some(value) = self.upstream.as_ref().and_then(|upstream| upstream.key.clone()) {
            secrets.insert(SECRET_NAME.to_owned(), BoundSecret { value, origins: None, record: None });
        }
        let names: BTreeSet<String> = secrets.keys().cloned().collect();
        let context = ProjectContext { secret_names: Some(&names), provider_keys: &[], ..ProjectContext::default() };
        let text = self.project_yaml();
        let refuse = |problems: Vec<Problem>| {
            problems.into_iter().map(|problem| Refusal { file: "demo".to_owned(), problem }).collect::<Vec<_>>()
        };
        let project = check_project(text.as_bytes(), context).map_err(refuse)?;
        let keys = check_keys(self.keys_yaml().as_bytes()).map_err(refuse)?;
        Ok(Sources {
            projects: vec![ProjectSource {
                id: SLUG.into(),
                slug: SLUG.into(),
                organization: "default".into(),
                version: None,
                file: "demo".to_owned(),
                created: unix_time().seconds(),
                config: project.config,
                secrets: Arc::new(secrets),
                provider_keys: Vec::new(),
                organization_prices: Vec::new(),
                funding: Default::default(),
            }],
            keys: keys.config,
            keys_file: "demo keys".to_owned(),
        })
    }

    fn project_yaml(&self) -> String {
        let routes = "routes:\n  chat: {chat_models: [chat]}\n  embed: {embedding_models: [embed]}\n  \
                      transcribe: {transcription_models: [transcribe]}\n";
        let Some(upstream) = &self.upstream else {
            let chat = "chat_models:\n  - {model_id: chat, model: mock/chat, params: {token_delay_ms: 20}}\n";
            let embed = "embedding_models:\n  - {model_id: embed, model: mock/embed}\n";
            let transcribe = "transcription_models:\n  - {model_id: transcribe, model: mock/transcribe}\n";
            return format!("{chat}{embed}{transcribe}{routes}");
        };
        // JSON strings are YAML strings: nothing in a URL or a model's name can break out of its place.
        let model = Value::from(format!("openai/{}", upstream.model));
        let url = Value::from(upstream.url.as_str());
        let key = upstream.key.as_ref().map_or(String::new(), |_| format!("api_key: !secret {SECRET_NAME}, "));
        let credentials = format!("credentials: {{{key}base_url: {url}}}");
        let entry = |id: &str| format!("  - {{model_id: {id}, model: {model}, {credentials}}}\n");
        let [chat, embed, transcribe] = ["chat", "embed", "transcribe"].map(entry);
        format!("chat_models:\n{chat}embedding_models:\n{embed}transcription_models:\n{transcribe}{routes}")
    }

    fn keys_yaml(&self) -> String {
        let digest = Digest::of(self.key.reveal().as_bytes());
        format!("keys:\n  - {{id: demo, digest: \"{digest}\", projects: [{SLUG}]}}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_is_a_valid_configuration() {
        let upstream = |url: &str| {
            Some(DemoUpstream {
                url: url.to_owned(),
                model: "a\"b: {c}".to_owned(),
                key: Some(Secret::new("k".to_owned())),
            })
        };
        for (name, upstream) in [("mock", None), ("upstream", upstream("http://127.0.0.1:8080/v1"))] {
            let demo = Demo { key: Secret::new("some-key-of-the-demo".to_owned()), upstream };
            let sources = demo.sources().map_err(|refusals| refusals[0].problem.to_string());
            let sources = sources.unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(sources.projects[0].config.routes.len(), 3, "{name}");
        }
    }
}
