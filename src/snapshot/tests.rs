//! Tests of compiling and of looking up.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    base::{Caller, Digest, KeyHasher, Secret},
    config::{Code, ProjectContext, Provider, check_keys, check_project},
    metrics::Registry,
    upstream::{Guard, Origins, Resolver, Rules},
    wire::Endpoint,
};

use super::*;

pub(super) fn registries() -> Registries {
    let guard = Arc::new(Guard::new(Rules::default(), Vec::new()));
    let resolver = Resolver::with_name_servers(Arc::clone(&guard), Vec::new(), |_| {});
    Registries::new(Arc::new(Registry::new(1)), Arc::new(Origins::new(guard, resolver)))
}

/// A project with this text.
pub(crate) fn source(id: &str, slug: &str, text: &str) -> ProjectSource {
    let every = Provider::ALL;
    let context = ProjectContext { secret_names: None, provider_keys: &every, ..ProjectContext::default() };
    ProjectSource {
        id: id.into(),
        slug: slug.into(),
        organization: "acme".into(),
        version: Some(4),
        file: format!("{slug}.yaml"),
        created: 7,
        config: check_project(text.as_bytes(), context).unwrap().config,
        secrets: Arc::default(),
        provider_keys: Vec::new(),
        organization_prices: Vec::new(),
        funding: Default::default(),
    }
}

/// A project of the mock provider with these routes.
pub(crate) fn mock_project(id: &str, slug: &str, routes: &[&str]) -> ProjectSource {
    let mut text = "chat_models: [{model_id: m, model: mock/m}]\nroutes:\n".to_owned();
    for route in routes {
        text += &format!("  {route}: {{chat_models: [m]}}\n");
    }
    source(id, slug, &text)
}

pub(super) fn compiled(project: &ProjectSource) -> ProjectPart {
    compile_project(project, &registries()).ok().unwrap()
}

fn part(id: &str, slug: &str, routes: &[&str]) -> ProjectPart {
    compile_project(&mock_project(id, slug, routes), &registries()).ok().unwrap()
}

fn grant(scope: Scope, route: Option<&str>) -> Grant {
    Grant {
        caller: Arc::new(Caller::of_key("k")),
        limits: crate::limit::LimitSet::default(),
        scope,
        routes: route.map(|route| [route.into()].into()),
        enabled: true,
        expires: None,
        policy: None,
    }
}

#[test]
fn model_value_leads_to_routes_of_the_keys_own_projects_only() {
    let mut edit = Edit::empty(KeyHasher::Plain);
    edit.put_project("a".into(), part("a", "a", &["chat", "embed"]));
    edit.put_project("b".into(), part("b", "b", &["chat"]));
    edit.put_project("broken".into(), ProjectPart::broken("broken"));
    let snapshot = edit.finish(1);
    for (name, projects, route, model, want) in [
        ("full name", &["a"][..], None, "a/chat", Ok("a/chat")),
        ("bare name", &["a"], None, "chat", Ok("a/chat")),
        ("bare name of the other", &["b"], None, "chat", Ok("b/chat")),
        ("bare name of two projects", &["a", "b"], None, "chat", Err(NoRoute::Unknown)),
        ("full name of two projects", &["b", "a"], None, "b/chat", Ok("b/chat")),
        ("foreign project", &["b"], None, "a/chat", Err(NoRoute::Unknown)),
        ("bare name beyond the key's routes", &["a"], Some("a/embed"), "chat", Err(NoRoute::Unknown)),
        ("bound to it", &["a"], Some("a/embed"), "a/embed", Ok("a/embed")),
        ("unknown route", &["a"], None, "a/other", Err(NoRoute::Unknown)),
        ("two slashes", &["a"], None, "a/chat/x", Err(NoRoute::Unknown)),
        ("empty", &["a"], None, "", Err(NoRoute::Unknown)),
        ("slash alone", &["a"], None, "/", Err(NoRoute::Unknown)),
        ("own broken project", &["broken"], None, "broken/chat", Err(NoRoute::Broken)),
        ("own broken project, bare name", &["broken"], None, "chat", Err(NoRoute::Broken)),
        ("foreign broken project", &["a"], None, "broken/chat", Err(NoRoute::Unknown)),
        ("project without a part", &["c"], None, "c/chat", Err(NoRoute::Unknown)),
    ] {
        let grant = grant(Scope::slugs(projects.iter().copied()), route);
        assert_eq!(snapshot.route(&grant, model).map(|found| &*found.route.full_name), want, "{name}");
    }
    let both = grant(Scope::slugs(["b", "a"]), None);
    let listed: Vec<_> = snapshot.routes_of(&both).map(|found| &*found.route.full_name).collect();
    assert_eq!((listed, snapshot.route_count()), (vec!["a/chat", "a/embed", "b/chat"], 3));
}

/// Slugs are unique in one organization: the key decides which project is meant.
#[test]
fn two_projects_of_one_slug_never_meet() {
    let mut edit = Edit::empty(KeyHasher::Plain);
    edit.put_project("prj_1".into(), part("prj_1", "support", &["chat"]));
    edit.put_project("prj_2".into(), part("prj_2", "support", &["chat", "secret"]));
    edit.put_project("prj_3".into(), ProjectPart::broken("broken"));
    let snapshot = edit.finish(1);
    let own = |id: &str| grant(Scope::Project(id.into()), None);
    let found = |id: &str, model: &str| snapshot.route(&own(id), model).map(|found| Arc::as_ptr(found.route));
    assert_ne!(found("prj_1", "support/chat"), found("prj_2", "support/chat"));
    assert_eq!(found("prj_1", "support/secret"), Err(NoRoute::Unknown));
    assert!(found("prj_2", "support/secret").is_ok());
    assert_eq!(found("prj_2", "prj_2/secret"), Err(NoRoute::Unknown), "an id is no slug");
    assert_eq!(found("prj_3", "support/chat"), Err(NoRoute::Unknown), "a broken project answers for its own slug only");
    assert_eq!(found("prj_3", "broken/chat"), Err(NoRoute::Broken));
}

#[test]
fn edit_changes_what_it_names_and_shares_the_rest() {
    let mut edit = Edit::empty(KeyHasher::keyed(&[1; 32]));
    for id in ["a", "b"] {
        edit.put_project(id.into(), part(id, id, &["chat"]));
    }
    let hasher = KeyHasher::keyed(&[1; 32]);
    for key in ["key-1", "key-2"] {
        edit.put_grant(hasher.digest(key.as_bytes()), grant(Scope::Project("a".into()), None));
    }
    let before = edit.finish(1);
    let mut edit = before.edit();
    edit.put_project("a".into(), ProjectPart::archived("a"));
    edit.remove_grant(&hasher.digest(b"key-1"));
    let after = edit.finish(2);
    assert!(Arc::ptr_eq(&before.projects["b"], &after.projects["b"]));
    assert_eq!((before.grant_count(), after.grant_count(), after.generation()), (2, 1, 2));
    assert!(after.grant(b"key-1").is_none() && before.grant(b"key-1").is_some());
    let (was, is) = (before.grant(b"key-2").unwrap(), after.grant(b"key-2").unwrap());
    assert!(!before.is_archived(was) && after.is_archived(is));
    assert!(after.route(is, "a/chat").is_err() && before.route(was, "a/chat").is_ok());
    let mut edit = after.edit();
    edit.remove_project("a");
    let gone = edit.finish(3);
    assert!(!gone.is_archived(is) && gone.project("a").is_none() && gone.projects().count() == 1);
}

#[test]
fn plain_digest_of_a_key_is_unknown_under_a_pepper() {
    let mut edit = Edit::empty(KeyHasher::keyed(&[9; 32]));
    edit.put_grant(Digest::of(b"key"), grant(Scope::Project("a".into()), None));
    assert!(edit.finish(1).grant(b"key").is_none());
}

const OPENAI: &str = "https://api.openai.com";

fn secrets(name: &str, origins: Option<&[&str]>) -> Arc<BTreeMap<String, BoundSecret>> {
    let origins = origins.map(|origins| origins.iter().map(|text| text.parse().unwrap()).collect());
    let secret = BoundSecret { value: Secret::new("sk-named".to_owned()), origins, record: None };
    Arc::new(BTreeMap::from([(name.to_owned(), secret)]))
}

fn one_model(credentials: &str) -> String {
    format!(
        "chat_models:\n  - model_id: m\n    model: openai/gpt\n    credentials: {{{credentials}}}\n\
         routes:\n  r: {{chat_models: [m]}}\n"
    )
}

#[test]
fn secret_goes_only_where_it_is_bound_to() {
    let other = "api_key: !secret K, base_url: \"https://proxy.example/v1\"";
    for (name, credentials, origins, want) in [
        ("own address", "api_key: !secret K", Some(&[OPENAI][..]), None),
        ("unbound, file mode", other, None, None),
        ("one of two", other, Some(&[OPENAI, "https://proxy.example:443"]), None),
        ("changed host", other, Some(&[OPENAI]), Some(Code::SecretHostMismatch)),
        ("changed port", other, Some(&["https://proxy.example:8443"]), Some(Code::SecretHostMismatch)),
        ("bound to nothing", "api_key: !secret K", Some(&[]), Some(Code::SecretHostMismatch)),
        ("unknown", "api_key: !secret OTHER", None, Some(Code::UnknownSecret)),
    ] {
        let project = ProjectSource { secrets: secrets("K", origins), ..source("p", "p", &one_model(credentials)) };
        match (compile_project(&project, &registries()), want) {
            (Ok(_), None) => {}
            (Err(refusals), Some(code)) => {
                let [Refusal { file, problem }] = &refusals[..] else { panic!("{name}: {refusals:?}") };
                assert_eq!((file.as_str(), problem.code), ("p.yaml", code), "{name}");
                assert!(problem.path.starts_with("chat_models[0]") && problem.at.line > 1, "{name}: {problem:?}");
                assert!(!problem.to_string().contains("sk-named"), "{name}");
            }
            (got, _) => panic!("{name}: {:?}", got.err()),
        }
    }
}

#[test]
fn model_without_a_key_takes_the_first_stored_one_that_fits_its_place() {
    let stored = |provider, value: &str, base_url: Option<&str>| ProviderKey {
        provider,
        value: Secret::new(value.to_owned()),
        base_url: base_url.map(str::to_owned),
        record: value.into(),
    };
    let keys = || {
        vec![
            stored(Provider::Groq, "sk-groq", None),
            stored(Provider::OpenAi, "sk-project", None),
            stored(Provider::OpenAi, "sk-proxy", Some("https://proxy.example/v1")),
            stored(Provider::OpenAi, "sk-organization", None),
        ]
    };
    let proxy_first = || vec![stored(Provider::OpenAi, "sk-proxy", Some("https://proxy.example/v2"))];
    let at = |url: &str| format!("base_url: \"{url}\"");
    for (name, credentials, keys, want) in [
        ("own address", String::new(), keys(), Some(("api.openai.com", Some("sk-project")))),
        ("written key wins", "api_key: !secret K".to_owned(), keys(), Some(("api.openai.com", Some("sk-named")))),
        ("key's address", String::new(), proxy_first(), Some(("proxy.example", Some("sk-proxy")))),
        ("same place", at("https://proxy.example/v1"), keys(), Some(("proxy.example", Some("sk-proxy")))),
        ("provider's place", at("https://api.openai.com/v1"), keys(), Some(("api.openai.com", Some("sk-project")))),
        ("other place", at("https://other.example/v1"), keys(), Some(("other.example", None))),
        ("no key at all", String::new(), Vec::new(), None),
    ] {
        let project = ProjectSource {
            provider_keys: keys,
            secrets: secrets("K", None),
            ..source("p", "p", &one_model(&credentials))
        };
        let got = compile_project(&project, &registries());
        let Some((host, key)) = want else {
            assert_eq!(got.err().map(|refusals| refusals[0].problem.code), Some(Code::NoCredential), "{name}");
            continue;
        };
        let part = got.map_err(|refusals| format!("{name}: {refusals:?}")).unwrap();
        let target = part.route("r").unwrap().chat.clone().unwrap();
        let Reach::Http(http) = &target.reach else { panic!("{name}: no address") };
        let head = std::str::from_utf8(http.head(Endpoint::Chat)).unwrap();
        let sent = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        let host_line = head.lines().find_map(|line| line.strip_prefix("host: "));
        assert_eq!((host_line, sent), (Some(host), key), "{name}");
        assert_eq!((target.version, part.version()), (Some(4), Some(4)), "{name}");
    }
}

#[test]
fn file_mode_reports_every_problem_of_projects_and_keys() {
    let text =
        format!("keys:\n  - {{id: k, digest: \"{}\", projects: [p, gone], routes: [p/r, p/none]}}\n", Digest::of(b"k"));
    let keys = check_keys(text.as_bytes()).unwrap().config;
    let projects = vec![source("p", "p", &one_model("api_key: !secret K"))];
    let sources = Sources { projects, keys, keys_file: "keys.yaml".to_owned() };
    let refusals = compile(sources, &registries(), 1).err().unwrap();
    let seen: Vec<_> = refusals.iter().map(|refusal| (refusal.file.as_str(), refusal.problem.code)).collect();
    let unknown = ("keys.yaml", Code::UnknownReference);
    assert_eq!(seen, [("p.yaml", Code::UnknownSecret), unknown, unknown]);
}
