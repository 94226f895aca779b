//! From a model's address and credential to its target.
//!
//! Here a key meets the place it is sent to: it must be bound to that place, or the configuration is refused (threat T-30).

use std::sync::Arc;

use crate::{
    base::Secret,
    config::{At, Code, Mode, Model, Problem, Provider},
    http::ServerName,
    provider::{HeadTextError, Mock, request_head},
    upstream::{BaseUrl, BoundOrigin, Origin, Origins, Scheme},
};

use super::{
    route::{HttpTarget, Reach},
    source::{BoundSecret, ProjectSource, ProviderKey},
};

/// With whose credentials a model is reached.
pub(super) enum Ways {
    /// With an own one, or with none.
    Own(Reach),
    /// With the platform's.
    Platform(HttpTarget),
    /// With an own one, and with the platform's when that is refused.
    Both(Reach, HttpTarget),
}

/// Finds addresses and credentials of a model, as the mode of its project allows, and builds the heads of its requests.
///
/// # Errors
/// The first problem of the model.
pub(super) fn ways(project: &ProjectSource, model: &Model, origins: &Origins) -> Result<Ways, Box<Problem>> {
    if model.provider == Provider::Mock {
        return Ok(Ways::Own(Reach::Mock(Mock::new(&model.mock, &model.name))));
    }
    let mode = project.mode();
    let written = model.api_key.as_ref().or(model.base_url.as_ref());
    if let Some(written) = written.filter(|_| mode == Mode::Credits) {
        let message = "`mode: credits` uses the platform's credential only: remove `credentials`, or change `mode`";
        return Err(Box::new(written.refuse(Code::Conflict, message)));
    }
    let platform = if mode == Mode::ApiKeys { None } else { platform(project, model, origins)? };
    let has_own = mode != Mode::Credits && (written.is_some() || stored_key(project, model).is_some());
    let name = model.provider.name();
    match (has_own, platform) {
        (false, Some(platform)) => Ok(Ways::Platform(platform)),
        (false, None) if mode == Mode::Credits => {
            let message = format!("the platform has no credential for provider `{name}`; its administrator enters it");
            Err(Box::new(model.id.refuse(Code::NoCredential, message)))
        }
        (false, None) if mode == Mode::ApiKeys => {
            let message = format!("no key for provider `{name}`: add `credentials.api_key`");
            Err(Box::new(model.id.refuse(Code::NoCredential, message)))
        }
        (true, Some(platform)) if project.config.allow_paid_fallback.unwrap_or(true) => {
            Ok(Ways::Both(own(project, model, origins)?, platform))
        }
        _ => Ok(Ways::Own(own(project, model, origins)?)),
    }
}

/// The way with the platform's key, if it has one for the provider, and for the address that the model states.
fn platform(project: &ProjectSource, model: &Model, origins: &Origins) -> Result<Option<HttpTarget>, Box<Problem>> {
    let Some(key) = fitting(&project.funding.platform_keys, model) else { return Ok(None) };
    let Some(text) = key.base_url.as_deref().or(model.provider.default_base_url()) else { return Ok(None) };
    let origin = origins
        .track(&project.id, text)
        .map_err(|error| Box::new(model.id.refuse(Code::EgressDenied, format!("the platform's address: {error}"))))?;
    let mut target = http_target(model, origin, Some(&key.value))?;
    target.credential = Some(Arc::clone(&key.record));
    Ok(Some(target))
}

/// The way with an own credential.
fn own(project: &ProjectSource, model: &Model, origins: &Origins) -> Result<Reach, Box<Problem>> {
    let stored = stored_key(project, model);
    let written = model.base_url.as_ref().map(|url| url.value.as_str());
    let entered_for = stored.and_then(|key| key.base_url.as_deref());
    let Some(text) = written.or(entered_for).or(model.provider.default_base_url()) else {
        let message = format!("provider `{}` has no address of its own", model.provider.name());
        return Err(Box::new(model.id.refuse(Code::MissingKey, message)));
    };
    let address = model.base_url.as_ref().unwrap_or(&model.id);
    let origin = origins
        .track(&project.id, text)
        .map_err(|error| Box::new(address.refuse(Code::EgressDenied, error.to_string())))?;
    let (key, record) = match &model.api_key {
        Some(name) => {
            let secret = named_secret(project, name, (address, origin.url()))?;
            (Some(&secret.value), secret.record.clone())
        }
        None => (stored.map(|key| &key.value), stored.map(|key| Arc::clone(&key.record))),
    };
    if key.is_none() && model.base_url.is_none() && model.provider == Provider::OpenAi {
        let message = format!("no key for provider `{}`: add `credentials.api_key`", model.provider.name());
        return Err(Box::new(model.id.refuse(Code::NoCredential, message)));
    }
    let mut target = http_target(model, origin, key)?;
    target.credential = record;
    Ok(Reach::Http(target))
}

/// The first stored key that a model without a key of its own may use. One with an address of its own takes only a key
/// that was entered for that place.
fn stored_key<'a>(project: &'a ProjectSource, model: &Model) -> Option<&'a ProviderKey> {
    if model.api_key.is_some() {
        return None;
    }
    fitting(&project.provider_keys, model)
}

fn fitting<'a>(keys: &'a [ProviderKey], model: &Model) -> Option<&'a ProviderKey> {
    let place = |text: &str| BoundOrigin::of_url(text).ok();
    let wanted = model.base_url.as_ref().map(|url| place(&url.value));
    keys.iter().filter(|key| key.provider == model.provider).find(|key| match &wanted {
        None => true,
        Some(wanted) => {
            let entered_for = key.base_url.as_deref().or(key.provider.default_base_url());
            wanted.is_some() && *wanted == entered_for.and_then(place)
        }
    })
}

/// The secret of this name, if it may be sent to this place.
fn named_secret<'a>(
    project: &'a ProjectSource,
    name: &At<String>,
    (address, url): (&At<String>, &BaseUrl),
) -> Result<&'a BoundSecret, Box<Problem>> {
    let Some(secret) = project.secrets.get(&name.value) else {
        let message = format!("no secret `{}` is configured", name.value);
        return Err(Box::new(name.refuse(Code::UnknownSecret, message)));
    };
    let Some(origins) = secret.origins.as_ref().filter(|origins| !origins.iter().any(|bound| bound.covers(url))) else {
        return Ok(secret);
    };
    let places = origins.iter().map(|bound| format!("`{bound}`")).collect::<Vec<_>>().join(", ");
    let places = if places.is_empty() { "no place".to_owned() } else { places };
    let message = format!("secret `{}` is bound to {places} and is not sent anywhere else", name.value);
    Err(Box::new(address.refuse(Code::SecretHostMismatch, message).hint("enter the key again for the new address")))
}

fn http_target(model: &Model, origin: Arc<Origin>, key: Option<&Secret>) -> Result<HttpTarget, Box<Problem>> {
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
    HttpTarget::new(origin, server_name, head).map_err(refuse_head)
}
