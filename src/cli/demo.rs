//! `millrace demo`: one project from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use millrace::base::{Digest, KeyKind, Secret, generate_key, key_id, unix_time, verify_key_form};
use millrace::config::{
    Cidr, EgressAllow, Problem, Severity, base_url_port, check_keys, check_project, check_server, secret_text,
};
use millrace::snapshot::{ProjectSource, Sources};
use serde_json::json;

use super::WRONG_USAGE;
use super::args::DemoArgs;
use super::launch::{Launch, start};
use super::print::report;

/// Slug of the demo's project.
const SLUG: &str = "demo";
/// Name of the secret with the upstream's key.
const SECRET: &str = "UPSTREAM_KEY";
/// A demo is for this machine until somebody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

/// `millrace demo`. Whatever is refused here was said by a flag or its variable.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    match launch(args) {
        Ok(launch) => start(launch),
        Err(error) => {
            report(&error);
            Ok(ExitCode::from(WRONG_USAGE))
        }
    }
}

fn launch(args: &DemoArgs) -> anyhow::Result<Launch> {
    let key = match &args.key {
        Some(text) => {
            verify_key_form(text).context("--key")?;
            Secret::new(text.clone())
        }
        None => generate_key(KeyKind::Test).context("the system gave no random bytes")?,
    };
    let mut server = check_server(b"", &|_| None).map_err(first)?.config;
    server.listen = LISTEN;
    args.overrides.apply(&mut server);
    if let Some(port) = args.upstream.as_deref().and_then(base_url_port) {
        // Whoever starts a demo names the upstream, so that its port may be reached wherever it is.
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        server.egress.allow =
            any.map(|address| EgressAllow { network: Cidr { address, prefix: 0 }, ports: vec![port] }).to_vec();
    }
    let sources = sources(args, &key)?;
    Ok(Launch { server, sources, reload: None, demo_key: Some(key) })
}

fn sources(args: &DemoArgs, key: &Secret) -> anyhow::Result<Sources> {
    let mut secrets = BTreeMap::new();
    if let Some(variable) = &args.api_key_env {
        let Ok(text) = std::env::var(variable) else {
            bail!("--api-key-env: the variable `{variable}` is not set");
        };
        let secret = secret_text(&text).with_context(|| format!("--api-key-env: `{variable}`"))?;
        secrets.insert(SECRET.to_owned(), secret);
    }
    let names: BTreeSet<String> = secrets.keys().cloned().collect();
    let project = check_project(project_text(args).as_bytes(), Some(&names)).map_err(first)?;
    let keys = check_keys(keys_text(key)?.as_bytes()).map_err(first)?;
    let project = ProjectSource {
        slug: SLUG.into(),
        file: "demo".to_owned(),
        created: unix_time().seconds(),
        config: project.config,
    };
    Ok(Sources {
        organization: "default".into(),
        projects: vec![project],
        keys: keys.config,
        keys_file: "demo".to_owned(),
        secrets,
    })
}

/// The demo's project. JSON texts are YAML texts, so that no name can leave its place.
fn project_text(args: &DemoArgs) -> String {
    let credentials = args.upstream.as_ref().map_or(String::new(), |url| {
        let key = if args.api_key_env.is_some() { format!(", api_key: !secret {SECRET}") } else { String::new() };
        format!(", credentials: {{base_url: {}{key}}}", json!(url))
    });
    let provider = if args.upstream.is_some() { "openai" } else { "mock" };
    let name = args.model.as_deref().unwrap_or("demo");
    let model = json!(format!("{provider}/{name}"));
    let entry = |id: &str| format!("  - {{model_id: {id}, model: {model}{credentials}}}\n");
    format!(
        "chat_models:\n{}embedding_models:\n{}routes:\n  chat: {{chat_models: [chat]}}\n  embed: {{embedding_models: [embed]}}\n",
        entry("chat"),
        entry("embed"),
    )
}

fn keys_text(key: &Secret) -> anyhow::Result<String> {
    let id = key_id(key.reveal()).context("the key has no id")?;
    let digest = Digest::of(key.reveal().as_bytes());
    Ok(format!("keys:\n  - {{id: {id}, digest: \"{digest}\", projects: [{SLUG}]}}\n"))
}

/// The first error, as the reason why a flag is refused.
fn first(problems: Vec<Problem>) -> anyhow::Error {
    let problem = problems.into_iter().find(|problem| problem.severity == Severity::Error);
    anyhow::anyhow!(problem.map_or_else(String::new, |problem| problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(upstream: Option<&str>, model: Option<&str>) -> DemoArgs {
        DemoArgs {
            overrides: super::super::args::Overrides { listen: None, admin_listen: None, workers: None },
            key: None,
            upstream: upstream.map(str::to_owned),
            model: model.map(str::to_owned),
            api_key_env: None,
        }
    }

    #[test]
    fn demo_project_is_valid_for_every_upstream() {
        let key = generate_key(KeyKind::Test).unwrap();
        for (upstream, model) in [
            (None, None),
            (Some("http://127.0.0.1:8000/v1"), Some("llama")),
            (Some("https://example.com/v1"), Some("a\"b}, x: [\\ é/1")),
        ] {
            let sources = sources(&args(upstream, model), &key).unwrap();
            let config = &sources.projects[0].config;
            assert_eq!(config.routes.len(), 2);
            assert_eq!(config.models[0].name, model.unwrap_or("demo"));
            assert_eq!(sources.keys[0].digest, Digest::of(key.reveal().as_bytes()));
        }
        assert!(sources(&args(Some("ftp://x"), Some("m")), &key).is_err());
    }
}
