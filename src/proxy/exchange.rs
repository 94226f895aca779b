//! One request from its first byte to its settlement.
//!
//! [`Exchange`] collects what the request turns out to be. Dropping it settles: so every request is counted and recorded
//! exactly once, also when its client left or its task panicked.

use std::{sync::Arc, time::Duration};

use crate::{
    base::{Finish, Instant, NanoUsd, RequestId, Tenure, TokenCounts, UnixTime, now},
    http::{Downstream, Method, Part, RequestHead},
    metrics::{Endpoint as CountedEndpoint, Observation},
    snapshot::{Grant, Snapshot, Target},
    usage::{Annotations, Credential, Decided, Laps, Payload, Phase, Phases, PriceMark, Record, RefusedBy},
    wire::Endpoint,
};

use super::{
    admit::Holds, client_address::client_address, context::Context, heard::Heard, told::Agent, trace::Trace,
    tried::Tried,
};

/// What of an answer is on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Not a byte: there may still be another answer.
    Nothing,
    /// Whole events of a stream: another may follow.
    Events,
    /// Bytes that nothing of ours may follow: a whole answer, or some part of one.
    Bytes,
}

/// A request in progress.
pub(super) struct Exchange<'a> {
    /// The worker's state.
    pub context: &'a Context,
    /// The configuration that decides on this request. None once its target is known: a stream that kept it would keep
    /// the keys and projects of its day in memory.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Generation of that configuration.
    pub generation: u64,
    /// Names the request everywhere.
    pub request_id: RequestId,
    /// The trace it belongs to.
    pub trace: Trace,
    /// What its key may do; known after authentication.
    pub grant: Option<Arc<Grant>>,
    /// What serves it; known after the route is found.
    pub target: Option<Arc<Target>>,
    /// What it holds of limits.
    pub holds: Option<Box<Holds>>,
    /// Whether the answer tells what is left of limits.
    pub is_metered: bool,
    /// Whether the provider was told the most that the answer may have.
    pub is_capped: bool,
    /// The file that a transcription hears; none of other requests.
    pub heard: Option<Heard>,
    /// Whether it can have one answer only.
    pub is_single: bool,
    /// Tokens that the text of the answer has at least, as far as it was looked at.
    pub output_least: u64,
    /// Whose credential the last attempt was sent with.
    pub credential: Credential,
    /// What it cost; none without a price.
    pub cost: Option<NanoUsd>,
    /// By whose price.
    pub priced_by: Option<PriceMark>,
    /// Whether the platform's credential had to serve, because the own one was refused.
    pub fallback: bool,
    /// What the gateway takes on top.
    pub fee: NanoUsd,
    /// Whether the provider's figures could not be true.
    pub usage_suspect: bool,
    /// Bytes of the request's body.
    pub body_bytes: u64,
    /// The path that was asked.
    pub endpoint: CountedEndpoint,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Whether the client wants only the head of the answer (`HEAD`).
    pub head_only: bool,
    /// What of the answer is on its way.
    pub sent: Sent,
    /// Status sent to the client; 0 before one is sent.
    pub status: u16,
    /// Label of the error table; empty while there is no error.
    pub error: &'static str,
    /// How many attempts were made.
    pub attempts: u32,
    /// What is known of each.
    pub tried: Tried,
    /// Whether a provider may have received the attempt under way.
    pub is_sent: bool,
    /// Tokens of the answer.
    pub tokens: TokenCounts,
    /// Whether they are an estimate.
    pub estimated: bool,
    /// Whether the client left before the end.
    pub cancelled: bool,
    /// Whether its project keeps what is said.
    pub is_captured: bool,
    /// What was said so far; none where it is not kept.
    pub payload: Option<Box<Payload>>,
    /// What the client put on the request for the log.
    pub annotations: Option<Box<Annotations>>,
    /// Whether it becomes a row of its own whatever happens to it.
    pub is_sampled: bool,
    /// Where its time goes, of a request that is sampled.
    laps: Option<Box<Laps>>,
    /// How it was decided on so far.
    pub decided: Decided,
    /// The rule or limit that refused it.
    pub refused_by: Option<Box<RefusedBy>>,
    /// Why the answer ended, as far as the provider said so.
    pub finish: Finish,
    /// The client's program.
    pub(super) agent: Agent,
    /// What the client wrote as `model`, where no target tells.
    pub unknown_model: Option<Box<str>>,
    /// Whether the client named a route without its project.
    pub names_route_alone: bool,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// Time spent waiting for the provider before the first byte went out.
    pub upstream_wait: Duration,
    /// When the head of the answer came.
    pub(super) answered: Instant,
    at: UnixTime,
    arrived: Instant,
    /// When the request was complete; what came before is the client's time, not ours.
    received: Instant,
    first_sent: Option<Instant>,
    first_content: Option<Instant>,
    /// Where the request comes from; none when a trusted proxy did not say.
    pub client_ip: Option<std::net::IpAddr>,
}

impl<'a> Exchange<'a> {
    /// Starts an exchange when a head has arrived.
    pub(super) fn new(context: &'a Context, head: &RequestHead, down: &Downstream) -> Self {
        let bytes = down.input();
        let part = |part: Option<Part>| part.map(|part| part.of(bytes));
        let (draw, arrived) = (context.random(), down.received_at());
        let at = context.unix_at(arrived);
        let request_id =
            part(head.request_id).and_then(RequestId::from_client).unwrap_or_else(|| RequestId::begun(at, draw));
        let is_sampled = context.shared.settings.rows.samples(&request_id);
        context.block.inflight_requests.inc();
        let snapshot = context.shared.snapshot.load();
        Self {
            context,
            generation: snapshot.generation(),
            snapshot: Some(snapshot),
            trace: Trace::of(part(head.traceparent), draw),
            grant: None,
            target: None,
            holds: None,
            is_metered: false,
            is_capped: false,
            heard: None,
            is_single: false,
            output_least: 0,
            credential: Credential::None,
            cost: None,
            priced_by: None,
            fallback: false,
            fee: NanoUsd::ZERO,
            usage_suspect: false,
            body_bytes: 0,
            endpoint: CountedEndpoint::Other,
            stream: false,
            head_only: head.method == Method::Head,
            sent: Sent::Nothing,
            status: 0,
            error: "",
            attempts: 0,
            tried: Tried::default(),
            is_sent: false,
            tokens: TokenCounts::default(),
            estimated: false,
            cancelled: false,
            is_captured: false,
            payload: None,
            annotations: None,
            is_sampled,
            laps: is_sampled.then(|| Box::new(Laps::since(arrived))),
            decided: Decided::default(),
            refused_by: None,
            finish: Finish::Unknown,
            agent: Agent::of(part(head.user_agent).unwrap_or_default()),
            unknown_model: None,
            names_route_alone: false,
            bytes_in: u64::try_from(head.len).unwrap_or(0),
            bytes_out: 0,
            upstream_wait: Duration::ZERO,
            answered: arrived,
            at,
            arrived,
            received: arrived,
            first_sent: None,
            first_content: None,
            request_id,
            client_ip: client_address(&context.shared.trusted_proxies, down.peer().ip(), head, bytes),
        }
    }

    /// Notes that the whole request is here.
    pub(super) fn body_received(&mut self, body_len: usize, at: Instant) {
        self.body_bytes = u64::try_from(body_len).unwrap_or(0);
        self.bytes_in += self.body_bytes;
        self.received = at;
        if let Some(laps) = &mut self.laps {
            laps.skip(at);
        }
    }

    /// Counts what went by since the last call for a phase, if anybody will read it.
    #[inline]
    pub(super) fn lap(&mut self, phase: Phase) {
        if let Some(laps) = &mut self.laps {
            laps.lap(phase, now());
        }
    }

    /// How long each phase took, once it has ended; none where nobody counted.
    pub(super) fn take_phases(&mut self, ended: Instant) -> Option<Phases> {
        let first_sent = self.first_sent;
        self.laps.take().map(|laps| laps.end(first_sent, ended))
    }

    /// When the whole request was here.
    #[must_use]
    pub(super) fn received_at(&self) -> Instant {
        self.received
    }

    /// Notes that the answer's first byte goes out now and returns our own share of the time so far.
    pub(super) fn first_byte_sent(&mut self) -> Duration {
        let sent = now();
        self.first_sent.get_or_insert(sent);
        sent.saturating_duration_since(self.received).saturating_sub(self.upstream_wait)
    }

    /// Notes that the first byte sent was the first content too, as in an answer that is no stream.
    pub(super) fn content_came_with_it(&mut self) {
        self.first_content = self.first_sent;
    }

    /// A recent time without asking the clock: when the answer went out.
    #[must_use]
    pub(super) fn latest(&self) -> Instant {
        self.first_sent.unwrap_or(self.received)
    }

    /// Notes the first content of the answer.
    pub(super) fn content_seen(&mut self, at: Instant) {
        self.first_content.get_or_insert(at);
    }

    /// Whether too many later configurations of its project are in use, and the time to finish is over.
    #[must_use]
    pub(super) fn is_outdated(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.tenure.is_over())
    }

    /// Whether a wait that has ended before its time means that the request has to end.
    #[must_use]
    pub(super) fn must_end(&self) -> bool {
        self.context.shared.is_stopping() || self.is_outdated()
    }

    /// What the waits of its stream are bound to.
    #[must_use]
    pub(super) fn tenure(&self) -> Option<Arc<Tenure>> {
        self.target.as_ref().map(|target| Arc::clone(&target.tenure))
    }

    /// Hands the record over: that of a request which a provider was sent in any case.
    fn hand_over(&mut self, mut record: Record) {
        if record.is_row() {
            record.details = Some(self.details(self.arrived + record.duration));
        }
        let (block, shared) = (&self.context.block, &self.context.shared);
        if self.attempts > 0 {
            shared.queue.send(record);
        } else if !shared.queue.try_send(record) {
            block.dropped_rows.inc();
        }
    }

    /// From the first byte of the request to the first byte of the answer; none when none was sent.
    #[must_use]
    pub(super) fn first_byte(&self) -> Option<Duration> {
        self.first_sent.map(|at| at.saturating_duration_since(self.arrived))
    }

    fn overhead(&self) -> Duration {
        let sent = self.first_sent.unwrap_or_else(now);
        sent.saturating_duration_since(self.received).saturating_sub(self.upstream_wait)
    }
}

/// Settles: counters, histograms, and the record of the request.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.context.block.inflight_requests.dec();
        if std::thread::panicking() {
            self.error = "internal_error";
            self.may_be_billed();
        }
        self.price();
        self.learn();
        let ended = now();
        let charges = self.settle(ended);
        let tried = self.take_tried(ended);
        let shared = &self.context.shared;
        let duration = ended.saturating_duration_since(self.arrived);
        let ttft = self.first_content.map(|at| at.saturating_duration_since(self.arrived));
        let overhead = self.overhead();
        let series = self.target.as_ref().map_or(&shared.unrouted, |target| &target.series);
        let seen = Observation {
            endpoint: self.endpoint,
            status: self.status,
            stream: self.stream,
            duration,
            overhead,
            ttft,
            tokens: self.tokens,
            cost: self.cost.unwrap_or_default(),
        };
        series.record(self.context.worker, &seen);
        let record = Record {
            at: self.at,
            request_id: self.request_id.clone(),
            trace_id: self.trace.id(),
            labels: self.target.as_ref().map(|target| Arc::clone(&target.labels)),
            generation: self.generation,
            config_version: self.target.as_ref().and_then(|target| target.version),
            caller: self.grant.as_ref().map(|grant| Arc::clone(&grant.caller)),
            endpoint: endpoint_name(self.endpoint),
            status: self.status,
            error_code: self.error,
            duration,
            ttft,
            overhead,
            upstream_time: self.upstream_wait,
            attempts: self.attempts,
            tried,
            tokens: self.tokens,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            client_ip: self.client_ip,
            stream: self.stream,
            cancelled: self.cancelled,
            estimated: self.estimated,
            credential: self.credential,
            cost: self.cost,
            price: self.priced_by,
            fallback: self.fallback,
            fee: self.fee,
            usage_suspect: self.usage_suspect,
            charges,
            finish: self.final_reason(),
            decided: self.decided,
            is_sampled: self.is_sampled,
            details: None,
            annotations: self.annotations.take(),
            payload: self.payload.take().map(Arc::from),
        };
        self.hand_over(record);
    }
}

/// The counted name of an endpoint.
#[must_use]
pub(super) fn counted(endpoint: Endpoint) -> CountedEndpoint {
    match endpoint {
        Endpoint::Chat => CountedEndpoint::Chat,
        Endpoint::Completions => CountedEndpoint::Completions,
        Endpoint::Embeddings => CountedEndpoint::Embeddings,
        Endpoint::Responses => CountedEndpoint::Responses,
        Endpoint::Transcriptions => CountedEndpoint::Transcriptions,
    }
}

fn endpoint_name(endpoint: CountedEndpoint) -> &'static str {
    crate::metrics::ENDPOINTS.get(usize::from(endpoint as u8)).copied().unwrap_or("other")
}
