//! Numbers as hex text, eight digits at a time.

/// Writes the 16 lower-case hex digits of a number, most significant first.
#[must_use]
pub fn hex16(value: u64) -> [u8; 16] {
    let mut text = [0u8; 16];
    let (high, low) = (spread(value >> 32), spread(value & 0xffff_ffff));
    if let Some(slot) = text.first_chunk_mut::<8>() {
        *slot = high;
    }
    if let Some(slot) = text.last_chunk_mut::<8>() {
        *slot = low;
    }
    text
}

/// Spreads the eight nibbles of a 32-bit number over eight bytes and turns each into its digit.
fn spread(half: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let pairs = (half | half << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & (ONES * 0x0f);
    // A nibble above 9 becomes a letter: 0x27 lies between '9' + 1 and 'a'.
    let letters = (nibbles + ONES * 6) >> 4 & ONES;
    (nibbles + ONES * 0x30 + letters * 0x27).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_formatter() {
        for value in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX, 0xa0b0_c0d0_e0f0_0909] {
            assert_eq!(hex16(value).as_slice(), format!("{value:016x}").as_bytes());
        }
    }
}
