//! Routes and targets as the data path sees them.

use std::{sync::Arc, time::Duration};

use crate::{
    base::{Labels, OnCancel, OnExhausted, Secret, Tenure},
    http::ServerName,
    iam::{TargetFacts, Window},
    limit::{Keyed, LimitSet},
    metrics::Series,
    provider::Mock,
    tokens::Encoding,
    upstream::Origin,
    usage::{Credential, Price},
    wire::{Defaults, Endpoint, Prompt},
};

use super::{credit::Paid, learned::Learned};

/// A named entry of a project, called as `project/route`.
pub struct Route {
    /// The full name, `project/route`.
    pub full_name: Box<str>,
    /// When the route was first published, in seconds since 1970, for `GET /v1/models`.
    pub created: u64,
    /// Serves chat, completions and responses.
    pub chat: Option<Arc<Target>>,
    /// Serves embeddings.
    pub embedding: Option<Arc<Target>>,
    /// Serves transcriptions.
    pub transcription: Option<Arc<Target>>,
    /// What its requests are held to.
    pub bounds: Arc<Bounds>,
    /// Where rules find it; given by the project.
    pub place: RoutePlace,
}

/// What the requests of a route are held to. Its targets share it: a request that has its target needs no route.
#[derive(Default)]
pub struct Bounds {
    /// Limits that all who call the route share.
    pub limits: LimitSet,
    /// Limits of each key or group that calls it.
    pub keyed: Option<Keyed>,
    /// Whether the output cap is written into requests. None: where a limit of money or tokens applies.
    pub enforce_output_cap: Option<bool>,
    /// What happens to a stream that passes its reservation when its limits are used up.
    pub on_exhausted: OnExhausted,
}

/// Numbers of a route and of its targets among those of its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoutePlace {
    /// The route.
    pub route: u32,
    /// The targets of [`Route::chat`].
    pub chat: Window,
    /// The targets of [`Route::embedding`].
    pub embedding: Window,
    /// The targets of [`Route::transcription`].
    pub transcription: Window,
}

impl Route {
    /// The targets of an endpoint, in order.
    #[must_use]
    pub fn targets(&self, endpoint: Endpoint) -> &[Arc<Target>] {
        match endpoint {
            Endpoint::Embeddings => self.embedding.as_slice(),
            Endpoint::Chat | Endpoint::Completions | Endpoint::Responses => self.chat.as_slice(),
            Endpoint::Transcriptions => self.transcription.as_slice(),
        }
    }

    /// Its targets, of every list.
    pub fn all_targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        [&self.chat, &self.embedding, &self.transcription].into_iter().flatten()
    }
}

/// Bounds of an exchange with one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetTimeouts {
    /// TCP and TLS.
    pub connect: Duration,
    /// From the sent request to the first byte of the answer.
    pub first_byte: Duration,
    /// Longest gap between two content events.
    pub idle: Duration,
    /// All attempts together.
    pub total: Duration,
}

/// One address with one credential of one provider model.
pub struct Target {
    /// What its requests are counted under.
    pub labels: Arc<Labels>,
    /// The counters of those labels.
    pub series: Arc<Series>,
    /// Whether streams may still be served by its configuration.
    pub tenure: Arc<Tenure>,
    /// How it is reached.
    pub reach: Reach,
    /// What rules know of it.
    pub facts: TargetFacts,
    /// The provider's name of the model, as a JSON string with quotes.
    pub model_json: Box<[u8]>,
    /// System text that is put first.
    pub prompt: Option<Prompt>,
    /// `params`: members added when the client did not set them.
    pub defaults: Defaults,
    /// Whether streams must be asked for usage.
    pub asks_usage: bool,
    /// Whether it is OpenAI itself and not somebody who speaks its wire.
    pub is_openai: bool,
    /// How its tokens are counted exactly; none where nobody has published that.
    pub encoding: Option<Encoding>,
    /// How long its answers usually are.
    pub learned: Learned,
    /// What the requests of its route are held to.
    pub bounds: Arc<Bounds>,
    /// Bounds of its exchanges.
    pub timeouts: TargetTimeouts,
    /// Whether the provider can keep the state of a Responses conversation.
    pub keeps_state: bool,
    /// How a stream that its client left is billed.
    pub on_cancel: OnCancel,
    /// Whether a resend on a dead reused connection is silent and uncounted.
    pub retry_safe: bool,
    /// The platform's credential, if it may serve; none for own ones alone.
    pub paid: Option<Paid>,
    /// What it costs; none when nobody states it.
    pub price: Option<Arc<Price>>,
    /// Most tokens of one answer, for reservations.
    pub output_max: u64,
    /// Most tokens of a request and its answer together, where the catalogue knows it.
    pub context_window: Option<u64>,
    /// Number of the version of the configuration that it comes from; none in file mode.
    pub version: Option<u64>,
    /// Header lines that tell the client what served: route, provider, model, target, version.
    pub answer_lines: Box<[u8]>,
}

impl Target {
    /// What a request costs that was sent with this credential; none when nobody states it.
    #[must_use]
    pub fn price_for(&self, credential: Credential) -> Option<&Arc<Price>> {
        let paid = self.paid.as_ref().filter(|_| credential == Credential::Platform);
        paid.map(|paid| &paid.price).or(self.price.as_ref())
    }

    /// Whose credential a request is sent with first.
    #[must_use]
    pub fn credential(&self) -> Credential {
        match &self.paid {
            Some(Paid { instead: None, .. }) => Credential::Platform,
            _ => Credential::Own,
        }
    }
}

/// How a target is reached.
pub enum Reach {
    /// The built-in provider: no socket at all.
    Mock(Mock),
    /// A provider over HTTP.
    Http(HttpTarget),
}

/// A provider's address and the fixed parts of requests to it.
pub struct HttpTarget {
    /// Where connections go.
    pub origin: Arc<Origin>,
    /// The name that the provider's certificate must have; none for plain HTTP.
    pub server_name: Option<ServerName>,
    /// Id of the stored secret or provider key in its requests; none in file mode and without one.
    pub credential: Option<Arc<str>>,
    heads: [Secret; Endpoint::ALL.len()],
}

impl HttpTarget {
    /// Builds the request heads with `head`, one an endpoint.
    ///
    /// # Errors
    /// The first error of `head`.
    pub fn new<E>(
        origin: Arc<Origin>,
        server_name: Option<ServerName>,
        mut head: impl FnMut(Endpoint) -> Result<Secret, E>,
    ) -> Result<Self, E> {
        let [first, second, third, fourth, fifth] = Endpoint::ALL;
        let heads = [head(first)?, head(second)?, head(third)?, head(fourth)?, head(fifth)?];
        Ok(Self { origin, server_name, credential: None, heads })
    }

    /// The fixed part of the request head of an endpoint. It holds the credential.
    #[must_use]
    pub fn head(&self, endpoint: Endpoint) -> &[u8] {
        let index = Endpoint::ALL.iter().position(|known| *known == endpoint).unwrap_or(0);
        self.heads.get(index).map_or(&[], |head| head.reveal().as_bytes())
    }
}
