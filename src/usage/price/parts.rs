//! The cost of a request by what was paid for.

use crate::base::NanoUsd;

/// A cost in parts, which add up to it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostParts {
    /// Plain tokens of the prompt.
    pub input: NanoUsd,
    /// Tokens read from the provider's cache.
    pub cache_read: NanoUsd,
    /// Tokens written to it.
    pub cache_write: NanoUsd,
    /// Sound, in and out.
    pub audio: NanoUsd,
    /// Plain tokens of the answer.
    pub output: NanoUsd,
    /// Tokens of the answer that were thought.
    pub reasoning: NanoUsd,
    /// The fee of the request itself.
    pub request: NanoUsd,
    /// Pictures: their tokens, in and out, and the fee for each one made.
    pub image: NanoUsd,
    /// Searches that the provider made.
    pub search: NanoUsd,
}

impl CostParts {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// Makes parts of pico-USD in the order of the fields. The rounding of the sum, up, stands in the parts where it happens.
    pub(super) fn of_pico(pico: [u128; Self::COUNT]) -> Self {
        let mut before = NanoUsd::ZERO;
        let mut sum = 0_u128;
        let parts = pico.map(|part| {
            if part == 0 {
                return NanoUsd::ZERO;
            }
            sum = sum.saturating_add(part);
            let so_far = NanoUsd::from_pico_up(sum);
            let rounded = NanoUsd(so_far.0.saturating_sub(before.0));
            before = so_far;
            rounded
        });
        Self::of_list(parts)
    }

    /// The parts in the order of the fields.
    #[must_use]
    pub fn list(&self) -> [NanoUsd; Self::COUNT] {
        let Self { input, cache_read, cache_write, audio, output, reasoning, request, image, search } = *self;
        [input, cache_read, cache_write, audio, output, reasoning, request, image, search]
    }

    /// From the parts in the order of the fields.
    #[must_use]
    pub fn of_list(
        [input, cache_read, cache_write, audio, output, reasoning, request, image, search]: [NanoUsd; Self::COUNT],
    ) -> Self {
        Self { input, cache_read, cache_write, audio, output, reasoning, request, image, search }
    }
}
