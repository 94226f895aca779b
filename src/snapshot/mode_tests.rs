//! Which credential serves, by mode and by what there is.

use crate::{
    base::Secret,
    config::{Code, Mode, Provider},
    usage::Credential,
    wire::Endpoint,
};

use super::{
    tests::{registries, source},
    *,
};

const OWN_IN_YAML: &str = ", credentials: {api_key: !secret K}";

fn key(value: &str) -> ProviderKey {
    ProviderKey {
        provider: Provider::OpenAi,
        value: Secret::new(value.to_owned()),
        base_url: None,
        record: value.into(),
    }
}

/// Who serves first, with which key, and with which the platform takes over.
type Served = (Credential, Option<String>, Option<String>);

fn served(project: &ProjectSource) -> Result<Served, Code> {
    let part = compile_project(project, &registries()).map_err(|refusals| refusals[0].problem.code)?;
    let target = part.route("r").unwrap().chat.clone().unwrap();
    let sent = |way: &HttpTarget| {
        let head = std::str::from_utf8(way.head(Endpoint::Chat)).unwrap();
        head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).map(str::to_owned)
    };
    let Reach::Http(first) = &target.reach else { panic!("mock") };
    let instead = target.paid.as_ref().and_then(|paid| paid.instead.as_ref()).and_then(sent);
    Ok((target.credential(), sent(first), instead))
}

#[test]
fn mode_and_credentials_decide_who_serves() {
    use Credential::{Own, Platform};
    let own = |key: &str| Ok((Own, Some(key.to_owned()), None));
    let platform = || Ok((Platform, Some("sk-platform".to_owned()), None));
    let both = |key: &str| Ok((Own, Some(key.to_owned()), Some("sk-platform".to_owned())));
    for (name, written, stored, mode, want) in [
        ("own in YAML", OWN_IN_YAML, &[][..], "api-keys", own("sk-yaml")),
        ("own in YAML", OWN_IN_YAML, &[], "credits", Err(Code::Conflict)),
        ("own in YAML", OWN_IN_YAML, &[], "hybrid", both("sk-yaml")),
        ("stored", "", &["sk-project", "sk-organization"], "api-keys", own("sk-project")),
        ("stored", "", &["sk-project", "sk-organization"], "credits", platform()),
        ("stored", "", &["sk-project", "sk-organization"], "hybrid", both("sk-project")),
        ("organization's", "", &["sk-organization"], "hybrid", both("sk-organization")),
        ("none", "", &[], "api-keys", Err(Code::NoCredential)),
        ("none", "", &[], "credits", platform()),
        ("none", "", &[], "hybrid", platform()),
        ("never paid", OWN_IN_YAML, &[], "hybrid\nallow_paid_fallback: false", own("sk-yaml")),
        ("never paid", "", &[], "hybrid\nallow_paid_fallback: false", platform()),
    ] {
        let models = format!("chat_models: [{{model_id: m, model: openai/gpt-4o-mini{written}}}]\n");
        let text = format!("{models}routes: {{r: {{chat_models: [m]}}}}\n");
        let secret = BoundSecret { value: Secret::new("sk-yaml".to_owned()), origins: None, record: None };
        let with = |text: &str, setting| ProjectSource {
            provider_keys: stored.iter().map(|value| key(value)).collect(),
            secrets: std::sync::Arc::new([("K".to_owned(), secret.clone())].into()),
            funding: Funding { mode: setting, platform_keys: vec![key("sk-platform")] },
            ..source("p", "p", text)
        };
        // The check of the document would refuse it before: here the compiler has to find it by itself.
        let setting = match mode.lines().next() {
            Some("api-keys") => Mode::ApiKeys,
            Some("credits") => Mode::Credits,
            _ => Mode::Hybrid,
        };
        let more = mode.split_once('\n').map_or("", |(_, more)| more);
        let by_setting = served(&with(&format!("{text}{more}\n"), setting));
        assert_eq!(by_setting, want, "{name}, {mode}, as a setting");
        let mut by_document = with(&format!("{text}{more}\n"), Mode::Hybrid);
        by_document.config.mode = Some(setting);
        assert_eq!(served(&by_document), want, "{name}, {mode}, in the document");
    }
}

#[test]
fn platform_serves_at_its_price_and_its_address_only() {
    let at = |model: &str, platform: ProviderKey| {
        let text = format!(
            "prices: [{{model: openai/*, input: 0, output: 0}}]\nchat_models: [{{model_id: m, model: {model}}}]\n\
             routes: {{r: {{chat_models: [m]}}}}\n"
        );
        let funding = Funding { mode: Mode::Hybrid, platform_keys: vec![platform] };
        ProjectSource { funding, ..source("p", "p", &text) }
    };
    let part = compile_project(&at("openai/gpt-4o-mini", key("sk-platform")), &registries()).ok().unwrap();
    let target = part.route("r").unwrap().chat.clone().unwrap();
    assert!(!target.price.as_ref().unwrap().is_free(), "a customer sets no price of the platform");
    let unpriced = served(&at("openai/no-such-model", key("sk-platform")));
    assert_eq!(unpriced, Err(Code::UnpricedModel));
    let elsewhere = "openai/gpt-4o-mini, credentials: {base_url: \"https://models.example.com/v1\"}";
    assert_eq!(served(&at(elsewhere, key("sk-platform"))), Ok((Credential::Own, None, None)), "nor where its key goes");
    let bound = ProviderKey { base_url: Some("https://proxy.example/v1".to_owned()), ..key("sk-platform") };
    let part = compile_project(&at("openai/gpt-4o-mini", bound), &registries()).ok().unwrap();
    let Reach::Http(way) = &part.route("r").unwrap().chat.as_ref().unwrap().reach else { panic!("mock") };
    assert_eq!(way.origin.url().host_name(), "proxy.example");
}
