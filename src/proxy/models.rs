//! The lists of models: what this key may use, nothing else.
//!
//! `GET /v1/models` and `GET /v1/models/{id}`.

use std::borrow::Cow;

use serde_json::json;

use crate::{
    http::{Downstream, Gone, RequestHead},
    snapshot::{Grant, NoRoute, Route},
    wire::ErrorCase,
};

use super::{
    exchange::Exchange,
    reply::{After, Local, Refusal, send_local, send_refusal},
};

/// Answers a listing (`id` is none) or the question for one model.
///
/// # Errors
/// [`Gone`].
pub(super) async fn answer_models(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    grant: &Grant,
    id: Option<&str>,
    after: After,
) -> Result<(), Gone> {
    let body = match id {
        None => {
            let snapshot = exchange.snapshot.iter();
            let usable = snapshot.flat_map(|snapshot| snapshot.usable_routes(grant, exchange.client_ip));
            let data: Vec<_> = usable.map(|found| model(found.route)).collect();
            json!({"object": "list", "data": data})
        }
        Some(id) => {
            let name = decode_slash(id);
            let found =
                exchange.snapshot.as_ref().map_or(Err(NoRoute::Unknown), |snapshot| snapshot.route(grant, &name));
            // What rules do not let it use is not listed, so it does not exist here either.
            let usable = found
                .and_then(|found| found.is_usable(grant, exchange.client_ip).then_some(found).ok_or(NoRoute::Unknown));
            match usable.map(|found| model(found.route)) {
                Ok(model) => model,
                Err(none) => return send_refusal(exchange, down, &no_route(none), after).await,
            }
        }
    };
    let body = body.to_string();
    let local = Local { status: 200, content_type: "application/json", body: body.as_bytes(), fields: b"" };
    send_local(exchange, down, &local, after).await
}

/// What a client learns about a `model` that leads to no route. One that it may not use does not exist for it.
#[must_use]
pub(super) fn no_route(none: NoRoute) -> Refusal {
    match none {
        NoRoute::Unknown => {
            let message =
                "the model does not exist or this API key may not use it; `GET /v1/models` lists what it may use";
            Refusal::new(ErrorCase::ModelNotFound, message).param(Some("model"))
        }
        NoRoute::Broken => {
            let message = "the stored configuration of this project cannot be served; its owner must serve another one";
            Refusal::new(ErrorCase::ConfigError, message)
        }
    }
}

/// The part of a path below `/v1/models/`, if the path is one.
#[must_use]
pub(super) fn model_path<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a str> {
    let path = std::str::from_utf8(head.path.of(bytes)).ok()?;
    path.strip_prefix("/v1/models/").filter(|id| !id.is_empty())
}

/// `project%2Froute` is `project/route`; no other escape is decoded, since no name needs one.
fn decode_slash(id: &str) -> Cow<'_, str> {
    match id.split_once("%2F").or_else(|| id.split_once("%2f")) {
        Some((project, route)) => Cow::Owned(format!("{project}/{route}")),
        None => Cow::Borrowed(id),
    }
}

fn model(route: &Route) -> serde_json::Value {
    let organization = route.all_targets().next().map_or("", |target| &*target.labels.organization);
    json!({"id": &*route.full_name, "object": "model", "created": route.created, "owned_by": organization})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_id_may_come_escaped() {
        for (id, want) in [
            ("demo/chat", "demo/chat"),
            ("demo%2Fchat", "demo/chat"),
            ("demo%2fchat", "demo/chat"),
            ("demo%252Fchat", "demo%252Fchat"),
        ] {
            assert_eq!(decode_slash(id), want);
        }
    }
}
