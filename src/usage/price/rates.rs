//! Prices of one token by class, with what an absent one means.

use crate::base::PicoUsd;

/// What kind of token is paid for. Each token of an answer is of exactly one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PriceClass {
    /// Of the prompt, and of none of the other kinds.
    Input = 0,
    /// Of the answer, and of none of the other kinds.
    Output = 1,
    /// Of the prompt, read from the provider's cache.
    CacheRead = 2,
    /// Of the prompt, written to the provider's cache for five minutes, or for whatever time the provider keeps it.
    CacheWrite = 3,
    /// Of the prompt, written to the provider's cache for an hour.
    CacheWrite1h = 4,
    /// Of the prompt, sound.
    AudioInput = 5,
    /// Of the answer, sound.
    AudioOutput = 6,
    /// Of the answer, thought and not said.
    Reasoning = 7,
    /// Of the prompt, pictures.
    ImageInput = 8,
    /// Of the answer, pictures.
    ImageOutput = 9,
}

impl PriceClass {
    /// Every class, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::AudioInput,
        Self::AudioOutput,
        Self::Reasoning,
        Self::ImageInput,
        Self::ImageOutput,
    ];

    /// The classes into which the tokens of a prompt fall.
    const PROMPT: [Self; 6] =
        [Self::Input, Self::CacheRead, Self::CacheWrite, Self::CacheWrite1h, Self::AudioInput, Self::ImageInput];

    /// The classes into which the tokens of an answer fall.
    const ANSWER: [Self; 4] = [Self::Output, Self::AudioOutput, Self::Reasoning, Self::ImageOutput];

    /// The name in a price table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "in",
            Self::Output => "out",
            Self::CacheRead => "read",
            Self::CacheWrite => "write",
            Self::CacheWrite1h => "write1h",
            Self::AudioInput => "audio_in",
            Self::AudioOutput => "audio_out",
            Self::Reasoning => "reasoning",
            Self::ImageInput => "image_in",
            Self::ImageOutput => "image_out",
        }
    }

    /// The class of this name in a price table.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    fn is_of_prompt(self) -> bool {
        Self::PROMPT.contains(&self)
    }

    fn index(self) -> usize {
        usize::from(self as u8)
    }
}

/// The prices that somebody wrote down; the others follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatedPrices([Option<PicoUsd>; PriceClass::ALL.len()]);

impl StatedPrices {
    /// The price of a class, if it was written.
    #[must_use]
    pub fn get(&self, class: PriceClass) -> Option<PicoUsd> {
        self.0.get(class.index()).copied().flatten()
    }

    /// Writes the price of a class; nothing leaves it open.
    #[must_use]
    pub fn with(mut self, class: PriceClass, price: Option<PicoUsd>) -> Self {
        if let Some(place) = self.0.get_mut(class.index()) {
            *place = price.or(*place);
        }
        self
    }

    /// Whether nothing at all was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// These prices, and those of `below` where nothing was written.
    ///
    /// A written 0 means free: beside it, what was not written of the same side costs nothing either.
    pub(super) fn over(&self, below: &Self) -> Self {
        let free = |class: PriceClass| {
            let plain = if class.is_of_prompt() { PriceClass::Input } else { PriceClass::Output };
            self.get(plain) == Some(PicoUsd(0))
        };
        let open = PriceClass::ALL.into_iter().filter(|class| self.get(*class).is_none() && !free(*class));
        open.fold(*self, |merged, class| merged.with(class, below.get(class)))
    }

    /// The price of every class; none while input or output is open.
    pub(super) fn rates(&self) -> Option<Rates> {
        let (input, output) = (self.get(PriceClass::Input)?, self.get(PriceClass::Output)?);
        let write = self.get(PriceClass::CacheWrite).unwrap_or(input);
        Some(Rates {
            input,
            output,
            cache_read: self.get(PriceClass::CacheRead).unwrap_or(input),
            cache_write: write,
            // An hour is never kept for less than five minutes are.
            cache_write_1h: self.get(PriceClass::CacheWrite1h).unwrap_or(write.max(input)),
            audio_input: self.get(PriceClass::AudioInput).unwrap_or(input),
            audio_output: self.get(PriceClass::AudioOutput).unwrap_or(output),
            reasoning: self.get(PriceClass::Reasoning).unwrap_or(output),
            image_input: self.get(PriceClass::ImageInput).unwrap_or(input),
            image_output: self.get(PriceClass::ImageOutput).unwrap_or(output),
        })
    }
}

/// The price of one token of every class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: PicoUsd,
    pub(super) output: PicoUsd,
    pub(super) cache_read: PicoUsd,
    pub(super) cache_write: PicoUsd,
    pub(super) cache_write_1h: PicoUsd,
    pub(super) audio_input: PicoUsd,
    pub(super) audio_output: PicoUsd,
    pub(super) reasoning: PicoUsd,
    pub(super) image_input: PicoUsd,
    pub(super) image_output: PicoUsd,
}

impl Rates {
    pub(super) fn get(&self, class: PriceClass) -> PicoUsd {
        match class {
            PriceClass::Input => self.input,
            PriceClass::Output => self.output,
            PriceClass::CacheRead => self.cache_read,
            PriceClass::CacheWrite => self.cache_write,
            PriceClass::CacheWrite1h => self.cache_write_1h,
            PriceClass::AudioInput => self.audio_input,
            PriceClass::AudioOutput => self.audio_output,
            PriceClass::Reasoning => self.reasoning,
            PriceClass::ImageInput => self.image_input,
            PriceClass::ImageOutput => self.image_output,
        }
    }

    /// The most that a token of a prompt can cost.
    pub(super) fn prompt_max(&self) -> PicoUsd {
        PriceClass::PROMPT.map(|class| self.get(class)).into_iter().max().unwrap_or_default()
    }

    /// The most that a token of an answer can cost.
    pub(super) fn answer_max(&self) -> PicoUsd {
        PriceClass::ANSWER.map(|class| self.get(class)).into_iter().max().unwrap_or_default()
    }
}
