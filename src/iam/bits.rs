//! Sets of numbers below a bound, one bit each.

/// Bits of one word.
const WORD: usize = u64::BITS as usize;

/// Some of the numbers `0..len`. What lies beyond is in no set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bits(Box<[u64]>);

/// Numbers that follow each other: the targets of one list of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    start: u32,
    len: u8,
}

impl Window {
    /// Most numbers of a window.
    pub const LEN_MAX: usize = WORD;

    /// `len` numbers from `start` on; none beyond [`Self::LEN_MAX`].
    #[must_use]
    pub fn new(start: usize, len: usize) -> Option<Self> {
        let len = u8::try_from(len).ok().filter(|len| usize::from(*len) <= Self::LEN_MAX)?;
        Some(Self { start: u32::try_from(start).ok()?, len })
    }

    /// The first number.
    #[must_use]
    pub fn start(self) -> usize {
        usize::try_from(self.start).unwrap_or(usize::MAX)
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// All of it, the first number at bit 0.
    pub(super) fn mask(self) -> u64 {
        u64::MAX.checked_shr(u64::BITS - u32::from(self.len)).unwrap_or(0)
    }
}

impl Bits {
    /// The numbers below `len` that are `wanted`.
    pub(super) fn collect(len: usize, wanted: impl Fn(usize) -> bool) -> Self {
        let word = |index: usize| {
            let first = index * WORD;
            let bits = (first..len.min(first + WORD)).enumerate();
            bits.filter(|(_, number)| wanted(*number)).fold(0, |word, (bit, _)| word | 1 << bit)
        };
        Self((0..len.div_ceil(WORD)).map(word).collect())
    }

    /// Whether a number is in the set.
    pub(super) fn has(&self, number: u32) -> bool {
        let (word, bit) = (number / u64::BITS, number % u64::BITS);
        self.word(usize::try_from(word).unwrap_or(usize::MAX)) >> bit & 1 == 1
    }

    /// Those of a window, its first number at bit 0.
    pub(super) fn window(&self, window: Window) -> u64 {
        let word = usize::try_from(window.start / u64::BITS).unwrap_or(usize::MAX);
        let bit = window.start % u64::BITS;
        let low = self.word(word) >> bit;
        // A window that ends in its first word never looks at the next.
        let high = if bit + u32::from(window.len) > u64::BITS { self.word(word + 1) << (u64::BITS - bit) } else { 0 };
        (low | high) & window.mask()
    }

    fn word(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_has_the_bits_that_the_set_has() {
        for (len, step) in [(1usize, 1usize), (64, 3), (65, 2), (200, 7), (130, 1)] {
            let bits = Bits::collect(len, |number| number % step == 0);
            for start in 0..len + 3 {
                for count in [0, 1, 2, 5, 63, 64] {
                    let window = Window::new(start, count).unwrap();
                    let want = (0..count).filter(|at| start + at < len && (start + at) % step == 0);
                    let want = want.fold(0u64, |word, at| word | 1 << at);
                    assert_eq!(bits.window(window), want, "{len} {step} {start} {count}");
                }
                let number = u32::try_from(start).unwrap();
                assert_eq!(bits.has(number), start < len && start % step == 0, "{len} {step} {start}");
            }
        }
        assert!(Window::new(0, 65).is_none());
    }
}
