//! What only the row of a request tells.
//!
//! Words of how it was decided are noted as it goes, which costs nothing. Texts are made at its end, and only for a request that
//! becomes a row of its own.

use std::sync::Arc;

use crate::{
    base::{Finish, Instant},
    iam::Denial,
    limit::Refused,
    usage::{ChosenAs, CostParts, CredentialAs, Details, LimitsSaid, RefusedBy, RulesSaid},
    wire::{Endpoint, ErrorCase, finish_of_answer},
};

use super::exchange::Exchange;

/// Characters of a requested model that are kept.
const MODEL_CHARS_MAX: usize = 128;
/// Bytes of the name of the client's program that are kept.
const AGENT_BYTES_MAX: usize = 64;

/// The beginning of the client's `user-agent`, kept without memory of its own: the head is gone when its row is made.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    bytes: [u8; AGENT_BYTES_MAX],
    len: u8,
}

impl Agent {
    /// Keeps the beginning of a value.
    pub(super) fn of(value: &[u8]) -> Self {
        let kept = value.get(..AGENT_BYTES_MAX).unwrap_or(value);
        let mut bytes = [0; AGENT_BYTES_MAX];
        if let Some(places) = bytes.get_mut(..kept.len()) {
            places.copy_from_slice(kept);
        }
        Self { bytes, len: u8::try_from(kept.len()).unwrap_or(0) }
    }

    fn text(&self) -> Box<str> {
        let kept = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        String::from_utf8_lossy(kept).into()
    }
}

impl Exchange<'_> {
    /// Whether it is known by now that the request becomes a row of its own.
    fn is_told(&self) -> bool {
        self.is_sampled || self.payload.is_some() || self.tried.has_ended()
    }

    /// Looks up why a whole answer ended, for a request whose row tells it.
    #[inline]
    pub(super) fn note_finish(&mut self, endpoint: Endpoint, body: &[u8]) {
        if self.is_told() {
            self.finish = finish_of_answer(endpoint, body);
        }
    }

    /// Keeps what the client wrote as `model`, where nothing else tells it.
    #[cold]
    pub(super) fn note_unknown_model(&mut self, name: &str) {
        self.unknown_model = Some(name.chars().take(MODEL_CHARS_MAX).collect());
    }

    /// Notes the rules that refused.
    #[cold]
    pub(super) fn note_denial(&mut self, (what, denial): (&'static str, &Denial), said: &str) {
        self.decided.rules = RulesSaid::Denied;
        let rules = denial.rules.iter().map(Arc::clone).collect();
        let scope = denial.scope.as_str();
        self.refused_by = Some(Box::new(RefusedBy { scope, what, rules, said: said.into() }));
    }

    /// Notes the limit that refused.
    #[cold]
    pub(super) fn note_refused(&mut self, refused: &Refused, said: &str) {
        self.decided.limits = LimitsSaid::Refused;
        let (scope, what) = (refused.scope.name(), refused.kind.name());
        self.refused_by = Some(Box::new(RefusedBy { scope, what, rules: Box::default(), said: said.into() }));
    }

    /// Why it ended, with what became of it.
    pub(super) fn final_reason(&self) -> Finish {
        if self.cancelled {
            return Finish::Cancelled;
        }
        if self.error.is_empty() {
            return self.finish;
        }
        let case = ErrorCase::ALL.into_iter().find(|case| case.label() == self.error);
        match case {
            Some(ErrorCase::ContentFilter) => Finish::ContentFilter,
            Some(
                ErrorCase::UpstreamError
                | ErrorCase::UpstreamRateLimited
                | ErrorCase::UpstreamTimeout
                | ErrorCase::NoHealthyUpstream,
            ) => Finish::UpstreamError,
            Some(case) if case.status() < 500 => Finish::ClientError,
            Some(_) => Finish::GatewayError,
            // The provider's own refusal, passed on: of the request, unless it is about its rate.
            None if (400..500).contains(&self.status) && self.status != 429 => Finish::ClientError,
            None => Finish::UpstreamError,
        }
    }

    /// The texts of its row, and where its time went until it ended.
    #[cold]
    pub(super) fn details(&mut self, ended: Instant) -> Box<Details> {
        Box::new(Details {
            requested_model: self.requested_model(),
            user_agent: self.agent.text(),
            first_byte: self.first_byte(),
            refused_by: self.refused_by.take().map(|refused| *refused),
            costs: self.cost_parts(),
            phases: self.take_phases(ended),
        })
    }

    fn requested_model(&mut self) -> Box<str> {
        match (self.unknown_model.take(), &self.target) {
            (Some(name), _) => name,
            (None, Some(target)) if self.names_route_alone => target.labels.route.clone(),
            (None, Some(target)) => format!("{}/{}", target.labels.project, target.labels.route).into(),
            (None, None) => Box::default(),
        }
    }

    fn cost_parts(&self) -> Option<CostParts> {
        let parts = self.price_in_force()?.parts(&self.tokens);
        let sum = parts.list().iter().fold(0_i64, |sum, part| sum.saturating_add(part.0));
        // A stream that its client left may be free of charge, whatever it used.
        let is_whole = self.cost?.0 == sum;
        Some(if is_whole { parts } else { CostParts::default() })
    }
}

/// Why the one target was chosen.
pub(super) fn chosen_as(targets: usize) -> ChosenAs {
    if targets == 1 { ChosenAs::Only } else { ChosenAs::FirstAllowed }
}

/// Why a target's first credential is sent.
pub(super) fn credential_as(target: &crate::snapshot::Target) -> CredentialAs {
    match &target.paid {
        None => CredentialAs::OnlyOwn,
        Some(paid) if paid.instead.is_none() => CredentialAs::OnlyPlatform,
        Some(_) => CredentialAs::OwnFirst,
    }
}
