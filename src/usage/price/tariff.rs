//! The price of a model: rates, tiers, source and date.
//!
//! Computed in pico-USD as 128-bit integers and rounded up to nano-USD once, at the end.

use crate::base::{NanoUsd, PicoUsd, TokenCounts};

use super::{
    parts::CostParts,
    rates::{PriceClass, Rates, StatedPrices},
};

/// Who stated a price. The first one in this order wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceSource {
    /// The keys of the model, the rest of another source.
    Model,
    /// `prices` of the project.
    Project,
    /// Prices of the organization.
    Organization,
    /// The operator's own table file.
    File,
    /// The table that is built in.
    Catalogue,
}

impl PriceSource {
    /// The name in messages and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Project => "prices",
            Self::Organization => "organization",
            Self::File => "prices_file",
            Self::Catalogue => "catalogue",
        }
    }
}

/// Who stated the price of a request, and as of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceMark {
    /// Who.
    pub source: PriceSource,
    /// Year, month and day as the digits of one number; 0 for a price without a date.
    day: u32,
}

impl PriceMark {
    /// The date such as `2026-11-01`.
    #[must_use]
    pub fn date(self) -> Option<String> {
        let day = self.day;
        (day > 0).then(|| format!("{:04}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100))
    }
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    stated: StatedPrices,
    base: Rates,
    tiers: Box<[Tier]>,
    per_request: NanoUsd,
    per_search: NanoUsd,
    per_image: NanoUsd,
    per_audio_minute: NanoUsd,
    source: PriceSource,
    date: Option<Box<str>>,
    /// The digits of the date as one number; 0 without one.
    day: u32,
}

/// Other rates for all tokens of a request with a prompt of more than so many tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tier {
    over: u64,
    stated: StatedPrices,
    rates: Rates,
}

impl Price {
    /// Makes a price of what was stated; none while the price of input or output is open.
    #[must_use]
    pub fn new(stated: StatedPrices, source: PriceSource, date: Option<&str>) -> Option<Self> {
        let base = stated.rates()?;
        let digits = date.iter().flat_map(|date| date.bytes()).filter(u8::is_ascii_digit).take(8);
        let day = digits.fold(0, |day, digit| day * 10 + u32::from(digit - b'0'));
        let date = date.map(Box::from);
        Some(Self {
            stated,
            base,
            tiers: Box::default(),
            per_request: NanoUsd::ZERO,
            per_search: NanoUsd::ZERO,
            per_image: NanoUsd::ZERO,
            per_audio_minute: NanoUsd::ZERO,
            source,
            date,
            day,
        })
    }

    /// Adds a fee for each request, whatever its tokens.
    #[must_use]
    pub fn with_request_fee(self, per_request: NanoUsd) -> Self {
        Self { per_request, ..self }
    }

    /// Adds a fee for each search that the provider makes for an answer.
    #[must_use]
    pub fn with_search_fee(self, per_search: NanoUsd) -> Self {
        Self { per_search, ..self }
    }

    /// Adds a fee for each picture that is made for an answer.
    #[must_use]
    pub fn with_image_fee(self, per_image: NanoUsd) -> Self {
        Self { per_image, ..self }
    }

    /// Adds what each minute of audio costs, beside its tokens.
    #[must_use]
    pub fn with_audio_minute(self, per_audio_minute: NanoUsd) -> Self {
        Self { per_audio_minute, ..self }
    }

    /// Adds rates for prompts of more than `over` tokens: they hold for every token of such a request. What the tier
    /// leaves open is as in the base.
    #[must_use]
    pub fn with_tier(self, over: u64, stated: StatedPrices) -> Self {
        let stated = stated.over(&self.stated);
        let Some(rates) = stated.rates() else {
            return self;
        };
        let mut tiers = self.tiers.into_vec();
        tiers.push(Tier { over, stated, rates });
        tiers.sort_by_key(|tier| tier.over);
        Self { tiers: tiers.into(), ..self }
    }

    /// This price with some classes stated anew, in every tier. Free prompts and answers have no fee either.
    #[must_use]
    pub fn patched(&self, patch: &StatedPrices, source: PriceSource) -> Self {
        let stated = patch.over(&self.stated);
        let tiers = self.tiers.iter().map(|tier| {
            let stated = patch.over(&tier.stated);
            Tier { over: tier.over, stated, rates: stated.rates().unwrap_or(tier.rates) }
        });
        let free = [PriceClass::Input, PriceClass::Output].map(|class| patch.get(class)) == [Some(PicoUsd(0)); 2];
        let fee = |fee: NanoUsd| if free { NanoUsd::ZERO } else { fee };
        Self {
            stated,
            base: stated.rates().unwrap_or(self.base),
            tiers: tiers.collect(),
            per_request: fee(self.per_request),
            per_search: fee(self.per_search),
            per_image: fee(self.per_image),
            per_audio_minute: fee(self.per_audio_minute),
            source,
            date: self.date.clone(),
            day: self.day,
        }
    }

    /// What an answer with these tokens costs, rounded up to nano-USD once.
    ///
    /// The largest amount that can be held when it is beyond that, which [`Price::checked_cost`] tells apart.
    #[must_use]
    pub fn cost(&self, tokens: &TokenCounts) -> NanoUsd {
        NanoUsd::from_pico_up(self.pico(tokens))
    }

    /// As [`Price::cost`]; none when the amount cannot be held, which no plausible usage reaches.
    #[must_use]
    pub fn checked_cost(&self, tokens: &TokenCounts) -> Option<NanoUsd> {
        let pico = self.pico(tokens);
        i64::try_from(pico.div_ceil(1_000)).ok().map(NanoUsd)
    }

    /// The same cost by what is paid for; the parts add up to [`Price::cost`].
    #[must_use]
    pub fn parts(&self, tokens: &TokenCounts) -> CostParts {
        CostParts::of_pico(self.pico_parts(tokens))
    }

    fn pico(&self, tokens: &TokenCounts) -> u128 {
        self.pico_parts(tokens).into_iter().fold(0, u128::saturating_add)
    }

    /// In the order of the fields of [`CostParts`].
    fn pico_parts(&self, tokens: &TokenCounts) -> [u128; CostParts::COUNT] {
        let rates = self.rates(tokens.input);
        // Parts that do not fit into their whole are cut: the whole is what the provider bills.
        let mut rest = tokens.input;
        let read = take(&mut rest, tokens.cache_read);
        let hour = take(&mut rest, tokens.cache_write_1h);
        let write = take(&mut rest, tokens.cache_write.saturating_sub(tokens.cache_write_1h));
        let sound = take(&mut rest, tokens.audio_input);
        let plain = rest;
        let mut rest = tokens.output;
        let spoken = take(&mut rest, tokens.audio_output);
        let thought = take(&mut rest, tokens.reasoning);
        let mut parts = [
            rates.input.times(plain),
            rates.cache_read.times(read),
            rates.cache_write_1h.times(hour).saturating_add(rates.cache_write.times(write)),
            rates
                .audio_input
                .times(sound)
                .saturating_add(rates.audio_output.times(spoken))
                .saturating_add(self.audio_pico(tokens.audio_millis)),
            rates.output.times(rest),
            rates.reasoning.times(thought),
            self.fee_pico(),
            0,
            0,
        ];
        // Nearly no answer has any of these.
        if (tokens.image_input | tokens.image_output) != 0 || (tokens.searches | tokens.images) != 0 {
            self.add_beside_text(&mut parts, tokens, (plain, rest));
        }
        parts
    }

    /// Moves tokens of pictures from what is taken for plain text, in and out, to their own part, and adds what is no token.
    #[cold]
    fn add_beside_text(&self, parts: &mut [u128; CostParts::COUNT], tokens: &TokenCounts, (plain, said): (u64, u64)) {
        let rates = self.rates(tokens.input);
        let (seen, drawn) = (tokens.image_input.min(plain), tokens.image_output.min(said));
        let [input, _, _, _, output, _, _, image, search] = parts;
        *input = rates.input.times(plain - seen);
        *output = rates.output.times(said - drawn);
        let made = times_pico(self.per_image, tokens.images);
        *image = rates.image_input.times(seen).saturating_add(rates.image_output.times(drawn)).saturating_add(made);
        *search = times_pico(self.per_search, tokens.searches);
    }

    /// The most that so many searches and pictures, and so much audio, cost beside their tokens.
    #[must_use]
    pub fn beside_bound(&self, searches: u32, images: u32, audio_millis: u64) -> NanoUsd {
        let times = |fee: NanoUsd, count: u32| NanoUsd(fee.0.saturating_mul(i64::from(count)));
        let audio = NanoUsd::from_pico_up(self.audio_pico(audio_millis));
        times(self.per_search, searches).saturating_add(times(self.per_image, images)).saturating_add(audio)
    }

    /// Whether searches or pictures cost anything beside their tokens.
    #[must_use]
    pub fn has_fees_beside(&self) -> bool {
        self.per_search != NanoUsd::ZERO || self.per_image != NanoUsd::ZERO
    }

    /// The most that an answer can cost with at most so many tokens of prompt and of answer, of whatever classes.
    #[must_use]
    pub fn upper_bound(&self, input_tokens: u64, output_tokens: u64) -> NanoUsd {
        let reachable = self.tiers.iter().take_while(|tier| input_tokens > tier.over).map(|tier| &tier.rates);
        let most = |rates: &Rates| {
            rates.prompt_max().times(input_tokens).saturating_add(rates.answer_max().times(output_tokens))
        };
        let most = reachable.map(most).fold(most(&self.base), u128::max);
        NanoUsd::from_pico_up(most.saturating_add(self.fee_pico()))
    }

    /// Whether nothing costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.upper_bound(u64::MAX, u64::MAX) == NanoUsd::ZERO
            && self.per_audio_minute == NanoUsd::ZERO
            && !self.has_fees_beside()
    }

    /// What each minute of audio costs.
    #[must_use]
    pub fn per_audio_minute(&self) -> NanoUsd {
        self.per_audio_minute
    }

    /// The price of a million plain tokens of a short prompt.
    #[must_use]
    pub fn input_per_million(&self) -> NanoUsd {
        NanoUsd::from_pico_up(self.base.input.times(1_000_000))
    }

    /// The price of a million plain tokens of the answer to a short prompt.
    #[must_use]
    pub fn output_per_million(&self) -> NanoUsd {
        NanoUsd::from_pico_up(self.base.output.times(1_000_000))
    }

    /// The price of one token of a class, for a prompt of so many tokens.
    #[must_use]
    pub fn rate(&self, class: PriceClass, input_tokens: u64) -> PicoUsd {
        self.rates(input_tokens).get(class)
    }

    /// The sizes of a prompt above which other rates hold, ascending.
    pub fn thresholds(&self) -> impl Iterator<Item = u64> {
        self.tiers.iter().map(|tier| tier.over)
    }

    /// What each request costs, whatever its tokens.
    #[must_use]
    pub fn per_request(&self) -> NanoUsd {
        self.per_request
    }

    /// What each search of the provider costs.
    #[must_use]
    pub fn per_search(&self) -> NanoUsd {
        self.per_search
    }

    /// What each picture in an answer costs beside its tokens.
    #[must_use]
    pub fn per_image(&self) -> NanoUsd {
        self.per_image
    }

    /// Who stated it.
    #[must_use]
    pub fn source(&self) -> PriceSource {
        self.source
    }

    /// From which day it is, such as `2026-08-21`; none for prices of a configuration, which have its version.
    #[must_use]
    pub fn date(&self) -> Option<&str> {
        self.date.as_deref()
    }

    /// What the record of a request keeps of it.
    #[must_use]
    pub fn mark(&self) -> PriceMark {
        PriceMark { source: self.source, day: self.day }
    }

    fn rates(&self, input_tokens: u64) -> &Rates {
        let reached = self.tiers.iter().take_while(|tier| input_tokens > tier.over);
        reached.last().map_or(&self.base, |tier| &tier.rates)
    }

    /// By the millisecond, in pico-USD rounded up.
    fn audio_pico(&self, millis: u64) -> u128 {
        (u128::from(self.per_audio_minute.units()) * u128::from(millis)).div_ceil(60)
    }

    fn fee_pico(&self) -> u128 {
        u128::from(self.per_request.units()) * 1_000
    }
}

fn times_pico(fee: NanoUsd, count: u32) -> u128 {
    u128::from(fee.units()) * 1_000 * u128::from(count)
}

/// Takes a part out of what is left of the whole.
#[inline]
fn take(rest: &mut u64, part: u64) -> u64 {
    let taken = part.min(*rest);
    *rest -= taken;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stated(prices: &[(PriceClass, u64)]) -> StatedPrices {
        prices.iter().fold(StatedPrices::default(), |all, (class, price)| all.with(*class, Some(PicoUsd(*price))))
    }

    fn price(prices: &[(PriceClass, u64)]) -> Price {
        Price::new(stated(prices), PriceSource::Project, None).unwrap()
    }

    fn tokens(input: u64, output: u64) -> TokenCounts {
        TokenCounts { input, output, ..TokenCounts::default() }
    }

    #[test]
    fn every_class_has_its_price_and_the_sum_is_rounded_once() {
        use PriceClass::{
            AudioInput, AudioOutput, CacheRead, CacheWrite, CacheWrite1h, ImageInput, ImageOutput, Input, Output,
            Reasoning,
        };
        let full = price(&[
            (Input, 1),
            (Output, 10),
            (CacheRead, 100),
            (CacheWrite, 1_000),
            (CacheWrite1h, 10_000),
            (AudioInput, 100_000),
            (AudioOutput, 1_000_000),
            (Reasoning, 10_000_000),
        ]);
        let plain = price(&[(Input, 150_000), (Output, 600_000)]);
        let all = TokenCounts {
            input: 15,
            output: 6,
            cache_read: 2,
            cache_write: 7,
            cache_write_1h: 4,
            audio_input: 5,
            audio_output: 1,
            reasoning: 3,
            ..TokenCounts::default()
        };
        for (name, price, tokens, want) in [
            // 1 x 1 + 2 x 2 x 100 ... in pico: 1 + 200 + 3,000 + 40,000 + 500,000 and 1,000,000 + 30,000,000 + 20.
            ("all classes", &full, all, 31_544),
            ("one token", &plain, tokens(1, 0), 150),
            ("rounded up once, not twice", &price(&[(Input, 1), (Output, 1)]), tokens(1, 1), 1),
            (
                "classes without a price of their own",
                &plain,
                TokenCounts { cache_read: 10, reasoning: 3, ..tokens(10, 3) },
                3_300,
            ),
            ("parts beyond the whole", &full, TokenCounts { cache_read: 9, cache_write: 9, ..tokens(3, 0) }, 1),
            ("nothing", &full, tokens(0, 0), 0),
            (
                "pictures and searches",
                &price(&[(Input, 1_000), (Output, 10_000), (ImageInput, 100_000), (ImageOutput, 1_000_000)])
                    .with_request_fee(NanoUsd(7_000_000))
                    .with_search_fee(NanoUsd(30_000_000))
                    .with_image_fee(NanoUsd(500_000_000)),
                TokenCounts { image_input: 2, image_output: 3, searches: 4, images: 5, ..tokens(6, 8) },
                // 4 + 200 and 50 + 3,000 nano for tokens; then the fees.
                4 + 200 + 50 + 3_000 + 7_000_000 + 4 * 30_000_000 + 5 * 500_000_000,
            ),
            (
                "pictures beyond what is left of the whole",
                &price(&[(Input, 1_000), (Output, 10_000), (ImageInput, 100_000), (ImageOutput, 1_000_000)]),
                TokenCounts { image_input: 9, image_output: 9, cache_read: 2, reasoning: 1, ..tokens(3, 2) },
                2 + 100 + 10 + 1_000,
            ),
            (
                "pictures without a price of their own",
                &plain,
                TokenCounts { image_input: 5, image_output: 5, images: 2, searches: 2, ..tokens(10, 10) },
                7_500,
            ),
            ("fee", &plain.clone().with_request_fee(NanoUsd(5_000_000)), tokens(1, 0), 5_000_150),
        ] {
            assert_eq!(price.cost(&tokens), NanoUsd(want), "{name}");
            assert_eq!(price.checked_cost(&tokens), Some(NanoUsd(want)), "{name}");
            let parts = price.parts(&tokens).list();
            assert_eq!(parts.iter().map(|part| part.0).sum::<i64>(), want, "{name}");
        }
    }

    #[test]
    fn tier_holds_for_all_tokens_once_the_prompt_is_longer() {
        let tier = stated(&[(PriceClass::Input, 2_000), (PriceClass::Output, 3_000)]);
        let price = price(&[(PriceClass::Input, 1_000), (PriceClass::Output, 2_000)]).with_tier(100, tier);
        for (input, want) in [(100, 100 + 20), (101, 202 + 30)] {
            assert_eq!(price.cost(&tokens(input, 10)), NanoUsd(want), "{input}");
        }
        assert_eq!(price.thresholds().collect::<Vec<_>>(), [100]);
        assert_eq!(
            price.rate(PriceClass::CacheRead, 101),
            PicoUsd(2_000),
            "what the tier leaves open follows its input"
        );
    }

    #[test]
    fn what_is_too_much_to_hold_is_told() {
        let price = price(&[(PriceClass::Input, u64::MAX), (PriceClass::Output, u64::MAX)]);
        let tokens = tokens(u64::MAX, u64::MAX);
        assert_eq!(price.cost(&tokens), NanoUsd(i64::MAX));
        assert_eq!(price.checked_cost(&tokens), None);
        assert_eq!(price.upper_bound(u64::MAX, u64::MAX), NanoUsd(i64::MAX));
    }

    #[test]
    fn written_prices_win_and_zero_frees_its_side() {
        use PriceClass::{CacheRead, CacheWrite, CacheWrite1h, Input, Output, Reasoning};
        let listed = price(&[(Input, 10), (Output, 20), (CacheRead, 5), (Reasoning, 30)]);
        let listed = listed.with_request_fee(NanoUsd(7)).with_search_fee(NanoUsd(8)).with_image_fee(NanoUsd(9));
        for (name, patch, want, fee) in [
            ("nothing", &[][..], [10, 20, 5, 10, 30], 7),
            ("input alone", &[(Input, 8)], [8, 20, 5, 8, 30], 7),
            ("cached alone", &[(CacheRead, 1)], [10, 20, 1, 10, 30], 7),
            ("free input", &[(Input, 0)], [0, 20, 0, 0, 30], 7),
            ("free", &[(Input, 0), (Output, 0)], [0, 0, 0, 0, 0], 0),
            ("free but for writes", &[(Input, 0), (Output, 0), (CacheWrite, 3)], [0, 0, 0, 3, 0], 0),
        ] {
            let patched = listed.patched(&stated(patch), PriceSource::Model);
            let got = [Input, Output, CacheRead, CacheWrite, Reasoning].map(|class| patched.rate(class, 0).0);
            assert_eq!((got, patched.per_request().0), (want, fee), "{name}");
            assert_eq!(patched.is_free(), name == "free", "{name}");
            assert_eq!(patched.has_fees_beside(), fee > 0, "{name}");
        }
        let hour = price(&[(Input, 10), (Output, 20), (CacheWrite, 12)]);
        assert_eq!(hour.rate(CacheWrite1h, 0), PicoUsd(12));
    }

    #[test]
    fn price_needs_input_and_output() {
        assert_eq!(Price::new(stated(&[(PriceClass::Input, 1)]), PriceSource::Model, None), None);
        assert_eq!(Price::new(stated(&[(PriceClass::Output, 1)]), PriceSource::Model, None), None);
    }

    fn some_price() -> impl Strategy<Value = Price> {
        let amount = prop_oneof![Just(0), 1..2_000_000_u64, any::<u64>()];
        let classes = proptest::collection::vec(proptest::option::of(amount.clone()), PriceClass::ALL.len());
        let tier = (prop_oneof![0..3_000_u64, any::<u64>()], classes.clone());
        let tiers = proptest::collection::vec(tier, 0..3);
        let fee = || prop_oneof![Just(0), 0..5_000_000_000_i64];
        (amount.clone(), amount, classes, tiers, (fee(), fee(), fee())).prop_map(
            |(input, output, classes, tiers, (fee, search, image))| {
                let of = |classes: Vec<Option<u64>>| {
                    let all = PriceClass::ALL.into_iter().zip(classes);
                    all.fold(StatedPrices::default(), |stated, (class, price)| stated.with(class, price.map(PicoUsd)))
                };
                let base = stated(&[(PriceClass::Input, input), (PriceClass::Output, output)]);
                let price = Price::new(of(classes).over(&base), PriceSource::Catalogue, None).unwrap();
                let price = tiers.into_iter().fold(price, |price, (over, classes)| price.with_tier(over, of(classes)));
                price.with_request_fee(NanoUsd(fee)).with_search_fee(NanoUsd(search)).with_image_fee(NanoUsd(image))
            },
        )
    }

    fn some_tokens() -> impl Strategy<Value = TokenCounts> {
        let count = || prop_oneof![0..4_000_u64, any::<u64>()];
        let few = || prop_oneof![Just(0), 0..2_000_u32, any::<u32>()];
        let parts = (count(), count(), count(), count(), count());
        (count(), count(), count(), count(), count(), parts, (few(), few())).prop_map(
            |(input, output, cache_read, cache_write, cache_write_1h, parts, (searches, images))| {
                let (audio_input, audio_output, reasoning, image_input, image_output) = parts;
                TokenCounts {
                    input,
                    output,
                    cache_read,
                    cache_write,
                    cache_write_1h,
                    audio_input,
                    audio_output,
                    reasoning,
                    image_input,
                    image_output,
                    searches,
                    images,
                    audio_millis: 0,
                }
            },
        )
    }

    #[test]
    fn minutes_of_audio_are_paid_by_the_millisecond() {
        let free = price(&[(PriceClass::Input, 0), (PriceClass::Output, 0)]);
        // 0.006 USD a minute is 100,000 nano-USD a second.
        let whisper = free.clone().with_audio_minute(NanoUsd(6_000_000));
        let heard = |audio_millis| TokenCounts { audio_millis, ..TokenCounts::default() };
        for (name, millis, want) in [
            ("nothing", 0, 0),
            ("a millisecond", 1, 100),
            ("a second", 1_000, 100_000),
            ("a minute", 60_000, 6_000_000),
            ("rounded up", 7, 700),
        ] {
            assert_eq!(whisper.cost(&heard(millis)), NanoUsd(want), "{name}");
            let bound = whisper.upper_bound(9, 9).saturating_add(whisper.beside_bound(0, 0, millis));
            assert_eq!(bound, NanoUsd(want), "{name}");
            assert_eq!(whisper.parts(&heard(millis)).audio, NanoUsd(want), "{name}");
        }
        let odd = free.clone().with_audio_minute(NanoUsd(1));
        assert_eq!((odd.cost(&heard(1)), odd.cost(&heard(60_001))), (NanoUsd(1), NanoUsd(2)), "never rounded down");
        assert!(free.is_free() && !whisper.is_free());
        assert_eq!(whisper.cost(&heard(u64::MAX)), NanoUsd(i64::MAX), "stops at what can be held");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn no_split_costs_more_than_the_upper_bound(
            price in some_price(),
            tokens in some_tokens(),
            spare in (0..9_000_u64, 0..9_000_u64),
        ) {
            let cost = price.cost(&tokens);
            prop_assert!(cost >= NanoUsd::ZERO);
            let beside = price.beside_bound(tokens.searches, tokens.images, tokens.audio_millis);
            prop_assert!(cost <= price.upper_bound(tokens.input, tokens.output).saturating_add(beside));
            prop_assert_eq!(price.parts(&tokens).list().iter().fold(NanoUsd::ZERO, |sum, part| sum.saturating_add(*part)), cost);
            // A reservation is made before the counts are known: more room never means a lower bound.
            let (input, output) = (tokens.input.saturating_add(spare.0), tokens.output.saturating_add(spare.1));
            let beside = price.beside_bound(tokens.searches.saturating_add(1), tokens.images.saturating_add(1), tokens.audio_millis + 1);
            prop_assert!(cost <= price.upper_bound(input, output).saturating_add(beside));
        }

        #[test]
        fn cost_is_the_exact_sum_rounded_up(price in some_price(), input in 0..9_000_u64, output in 0..9_000_u64) {
            let tokens = tokens(input, output);
            let exact = price.rate(PriceClass::Input, input).times(input)
                + price.rate(PriceClass::Output, input).times(output)
                + u128::from(price.per_request().units()) * 1_000;
            if let Some(cost) = price.checked_cost(&tokens) {
                let cost = u128::from(cost.units());
                prop_assert!(cost * 1_000 >= exact && (cost == 0 || (cost - 1) * 1_000 < exact));
            }
        }
    }
}
