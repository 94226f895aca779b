//! What many requests cost together, told from their sums.
//!
//! A request is rounded up for itself, its tier goes by its own prompt, and its parts are cut to its own whole. So sums tell
//! the exact cost only where none of this can make a difference.

use crate::base::{NanoUsd, PicoUsd, TokenCounts};

use super::{rates::PriceClass, tariff::Price};

/// Pico-USD in a nano-USD.
const PICO_PER_NANO: u64 = 1_000;
/// Prices of a minute that are whole nano-USD for each millisecond.
const MILLIS_PER_MINUTE: u64 = 60_000;

impl Price {
    /// What requests with these tokens together cost; none where that does not follow from the sums. Tokens that were
    /// written for an hour are not known apart in sums.
    ///
    /// It takes for granted that no request has more tokens of a part, such as cached ones, than of its whole.
    #[must_use]
    pub fn cost_of_sums(&self, sums: &TokenCounts) -> Option<NanoUsd> {
        let is_one_tier = self.thresholds().next().is_none_or(|over| sums.input <= over);
        if !is_one_tier || self.per_request() != NanoUsd::ZERO || is_cut_off(sums) {
            return None;
        }
        let rate = |class| self.rate(class, sums.input);
        if sums.cache_write > 0 && rate(PriceClass::CacheWrite) != rate(PriceClass::CacheWrite1h) {
            return None;
        }
        if sums.audio_millis > 0 && !self.per_audio_minute().units().is_multiple_of(MILLIS_PER_MINUTE) {
            return None;
        }
        let is_whole = |(class, count): (PriceClass, u64)| count == 0 || is_whole_nano(rate(class));
        split(sums)?.into_iter().all(is_whole).then(|| self.checked_cost(sums)).flatten()
    }
}

fn is_whole_nano(rate: PicoUsd) -> bool {
    rate.0.is_multiple_of(PICO_PER_NANO)
}

/// Whether a sum may have stopped at the largest number that is stored.
fn is_cut_off(sums: &TokenCounts) -> bool {
    let tokens = [
        sums.input,
        sums.output,
        sums.cache_read,
        sums.cache_write,
        sums.reasoning,
        sums.audio_input,
        sums.audio_output,
        sums.image_input,
        sums.image_output,
        sums.audio_millis,
    ];
    tokens.iter().any(|count| *count >= i64::MAX.unsigned_abs()) || sums.searches.max(sums.images) == u32::MAX
}

/// The tokens by class; none where parts exceed their whole.
fn split(sums: &TokenCounts) -> Option<[(PriceClass, u64); 9]> {
    let rest = |whole: u64, parts: &[u64]| parts.iter().try_fold(whole, |rest, part| rest.checked_sub(*part));
    let input = rest(sums.input, &[sums.cache_read, sums.cache_write, sums.audio_input, sums.image_input])?;
    let output = rest(sums.output, &[sums.audio_output, sums.reasoning, sums.image_output])?;
    Some([
        (PriceClass::Input, input),
        (PriceClass::CacheRead, sums.cache_read),
        (PriceClass::CacheWrite, sums.cache_write),
        (PriceClass::AudioInput, sums.audio_input),
        (PriceClass::ImageInput, sums.image_input),
        (PriceClass::Output, output),
        (PriceClass::AudioOutput, sums.audio_output),
        (PriceClass::Reasoning, sums.reasoning),
        (PriceClass::ImageOutput, sums.image_output),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{PriceSource, StatedPrices};
    use super::*;

    fn price(classes: &[(PriceClass, u64)]) -> Price {
        let stated = classes
            .iter()
            .fold(StatedPrices::default(), |stated, (class, pico)| stated.with(*class, Some(PicoUsd(*pico))));
        Price::new(stated, PriceSource::Project, None).unwrap()
    }

    fn plain() -> Price {
        price(&[(PriceClass::Input, 150_000), (PriceClass::Output, 600_000)])
    }

    #[test]
    fn sums_tell_no_cost_where_single_requests_decide_it() {
        let sums = TokenCounts { input: 1_000, output: 100, ..TokenCounts::default() };
        let tier = StatedPrices::default().with(PriceClass::Input, Some(PicoUsd(300_000)));
        let odd = price(&[(PriceClass::Input, 150_001), (PriceClass::Output, 600_000)]);
        let hour = price(&[(PriceClass::Input, 1_000), (PriceClass::Output, 1_000), (PriceClass::CacheWrite1h, 2_000)]);
        let written = TokenCounts { cache_write: 1, ..sums };
        let heard = TokenCounts { audio_millis: 7, ..sums };
        for (name, price, sums, want) in [
            ("plain", plain(), sums, Some(210_000)),
            ("a fraction of a nano-USD a token", odd.clone(), sums, None),
            ("of a class that nobody used", odd, TokenCounts { input: 0, ..sums }, Some(60_000)),
            ("tier that may be reached", plain().with_tier(999, tier), sums, None),
            ("tier that no prompt of them can reach", plain().with_tier(1_000, tier), sums, Some(210_000)),
            ("fee for each request", plain().with_request_fee(NanoUsd(1)), sums, None),
            ("written for who knows how long", hour.clone(), written, None),
            ("nothing was written", hour, sums, Some(1_100)),
            ("parts beyond their whole", plain(), TokenCounts { cache_read: 1_001, ..sums }, None),
            ("cut off", plain(), TokenCounts { input: i64::MAX.unsigned_abs(), ..sums }, None),
            ("fractions of milliseconds", plain().with_audio_minute(NanoUsd(6_000_001)), heard, None),
            ("whole milliseconds", plain().with_audio_minute(NanoUsd(6_000_000)), heard, Some(210_700)),
            ("searches", plain().with_search_fee(NanoUsd(5)), TokenCounts { searches: 3, ..sums }, Some(210_015)),
        ] {
            assert_eq!(price.cost_of_sums(&sums), want.map(NanoUsd), "{name}");
        }
    }

    fn some_tokens() -> impl Strategy<Value = TokenCounts> {
        let parts = (0..300_u64, 0..300_u64, 0..300_u64, 0..300_u64, 0..300_u64);
        (0..3_000_u64, 0..3_000_u64, parts, 0..3_u32, 0..90_000_u64).prop_map(
            |(input, output, parts, few, audio_millis)| {
                let (cache_read, cache_write, image_input, reasoning, audio_output) = parts;
                TokenCounts {
                    input: input + cache_read + cache_write + image_input,
                    output: output + reasoning + audio_output,
                    cache_read,
                    cache_write,
                    image_input,
                    reasoning,
                    audio_output,
                    searches: few,
                    images: few,
                    audio_millis,
                    ..TokenCounts::default()
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn cost_of_sums_is_the_sum_of_costs(
            rates in proptest::collection::vec(prop_oneof![Just(0), 0..2_000_u64, (0..9_000_u64).prop_map(|nano| nano * 1_000)], 4),
            fees in (0..9_i64, prop_oneof![0..90_000_i64, (0..9_i64).prop_map(|nano| nano * 60_000)]),
            over in proptest::option::of(0..20_000_u64),
            requests in proptest::collection::vec(some_tokens(), 1..6),
        ) {
            let classes = [PriceClass::Input, PriceClass::Output, PriceClass::CacheRead, PriceClass::Reasoning];
            let classes: Vec<_> = classes.into_iter().zip(rates).collect();
            let mut price = price(&classes).with_search_fee(NanoUsd(fees.0)).with_audio_minute(NanoUsd(fees.1));
            if let Some(over) = over {
                price = price.with_tier(over, StatedPrices::default().with(PriceClass::Output, Some(PicoUsd(777_000))));
            }
            let mut sums = TokenCounts::default();
            for tokens in &requests {
                sums.input += tokens.input;
                sums.output += tokens.output;
                sums.cache_read += tokens.cache_read;
                sums.cache_write += tokens.cache_write;
                sums.image_input += tokens.image_input;
                sums.reasoning += tokens.reasoning;
                sums.audio_output += tokens.audio_output;
                sums.searches += tokens.searches;
                sums.images += tokens.images;
                sums.audio_millis += tokens.audio_millis;
            }
            let one_by_one: i64 = requests.iter().map(|tokens| price.cost(tokens).0).sum();
            if let Some(cost) = price.cost_of_sums(&sums) {
                prop_assert_eq!(cost, NanoUsd(one_by_one));
            }
        }
    }
}
