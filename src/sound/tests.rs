//! Real files of a tone of 3.3 seconds, and broken ones.

use proptest::prelude::*;

use super::{Length, found::Found};
use crate::base::{TURN_BYTES, Turns, at_once};

const WAV: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.wav");
const FLAC: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.flac");
const MP3: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.mp3");
const OPUS: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.opus.ogg");
const VORBIS: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.vorbis.ogg");
const M4A: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.m4a");
const WEBM: &[u8] = include_bytes!("../../tests/fixtures/audio/tone.webm");
const ALL: [(&str, &[u8]); 7] =
    [("wav", WAV), ("flac", FLAC), ("mp3", MP3), ("opus", OPUS), ("vorbis", VORBIS), ("m4a", M4A), ("webm", WEBM)];

fn find(file: &[u8]) -> Option<Found> {
    at_once(super::find(file, &mut Turns::default())).0
}

fn measure(file: &[u8]) -> Length {
    at_once(super::measure(file, &mut Turns::default())).0
}

#[test]
fn real_files_are_measured() {
    for (name, file) in ALL {
        let found = find(file).unwrap_or_else(|| panic!("{name} is not read"));
        let is_proven = matches!(found, Found::Proven(_));
        assert_eq!(is_proven, matches!(name, "wav" | "flac" | "opus"), "{name}");
        let (Found::Proven(millis) | Found::Claimed(millis)) = found;
        // Never less than the tone; what coders put before and behind it counts as well.
        assert!((3_300..=3_300 + 250).contains(&millis), "{name}: {millis} ms");
        let length = measure(file);
        assert_eq!(length.millis, millis, "{name}");
        assert!(length.likely_max >= millis && length.millis_max >= millis, "{name}");
        // Of what is only claimed a provider may hear far more than stands there.
        assert_eq!(length.millis_max > length.likely_max, !is_proven, "{name}");
    }
}

#[test]
fn tags_and_junk_before_the_sound_do_not_count() {
    let tag = [&b"ID3\x04\x00\x00\x00\x00\x01\x00"[..], &[0xff; 128]].concat();
    for (name, file) in [("mp3", MP3), ("flac", FLAC)] {
        let tagged = [&tag, file].concat();
        assert_eq!(find(&tagged), find(file), "{name}");
    }
    assert_eq!(find(&[&[0; 300], MP3].concat()), find(MP3));
}

/// The header of a file may say anything: what counts is what a decoder would find.
#[test]
fn lies_about_the_length_change_little() {
    // The sizes of both chunks.
    let mut wav = WAV.to_vec();
    wav[4..8].copy_from_slice(&[0; 4]);
    let data = memchr::memmem::find(&wav, b"data").unwrap();
    wav[data + 4..data + 8].copy_from_slice(&[0xff; 4]);
    assert_eq!(find(&wav), find(WAV));
    // The number of all samples.
    let mut flac = FLAC.to_vec();
    flac[22..26].copy_from_slice(&[0; 4]);
    assert_eq!(find(&flac), find(FLAC));
    // Positions of pages.
    let mut opus = OPUS.to_vec();
    for page in memchr::memmem::find_iter(OPUS, b"OggS") {
        opus[page + 6..page + 14].copy_from_slice(&[0; 8]);
    }
    assert_eq!(find(&opus), find(OPUS));
    // A claim counts for no less than the size allows, at 512 kbit/s.
    let mut m4a = M4A.to_vec();
    let head = memchr::memmem::find(&m4a, b"mvhd").unwrap();
    m4a[head + 20..head + 24].copy_from_slice(&[0, 0, 0, 1]);
    assert!(matches!(find(&m4a), Some(Found::Claimed(0..=1))));
    m4a.resize(640_000, 0);
    assert_eq!(measure(&m4a).millis, 10_000);
}

#[test]
fn sample_of_other_coding_is_no_plain_wav() {
    for (name, at, value) in [("ADPCM", 20, 2_u16), ("no channels", 22, 0), ("no bits", 34, 0)] {
        let mut wav = WAV.to_vec();
        wav[at..at + 2].copy_from_slice(&value.to_le_bytes());
        assert_eq!(find(&wav), None, "{name}");
    }
    // Two formats in one file.
    let mut twice = WAV[..12].to_vec();
    twice.extend_from_slice(&WAV[12..38]);
    twice.extend_from_slice(&WAV[12..]);
    assert_eq!(find(&twice), None);
}

#[test]
fn what_nobody_knows_has_the_length_of_its_size() {
    let day = 86_400_000;
    assert_eq!(measure(&vec![7; 60_000]), Length { millis: 60_000, likely_max: 240_000, millis_max: day });
    assert_eq!(measure(b""), Length { millis: 0, likely_max: 1_000, millis_max: day });
}

/// What is worst for each reader, of a size that no worker may look at in one piece.
#[test]
fn large_files_are_looked_at_in_turns() {
    const BYTES: usize = 40 * TURN_BYTES;
    let flac = [&FLAC[..42], &[0xff, 0xf8].repeat(BYTES / 2)].concat();
    let mp3 = [MP3, &vec![0xff; BYTES]].concat();
    let webm =
        [&b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"[..], &[0xec, 0x80].repeat(BYTES / 2)]
            .concat();
    let page = |packets: u8| [&b"OggS\0\0"[..], &[0; 20], &[packets], &vec![0; packets.into()]].concat();
    let opus = [OPUS, &page(255).repeat(BYTES / 282)].concat();
    let vorbis = [VORBIS, &b"OggS".repeat(BYTES / 4)].concat();
    for (name, file) in [("flac", flac), ("mp3", mp3), ("webm", webm), ("opus", opus), ("vorbis", vorbis)] {
        let least = u64::try_from(BYTES / TURN_BYTES * 9 / 10).unwrap();
        let (_, turns) = at_once(super::measure(&file, &mut Turns::default()));
        assert!(turns >= least, "{name}: {turns} turns");
    }
    // What has a head that tells all is not looked through, whatever its size.
    let wav = [WAV, &vec![0; BYTES]].concat();
    assert_eq!(at_once(super::measure(&wav, &mut Turns::default())).1, 1);
}

/// A file that is cut anywhere is never longer than the whole, and never breaks a reader.
#[test]
fn files_cut_at_any_byte_are_read() {
    for (name, file) in ALL {
        let Some(Found::Proven(whole) | Found::Claimed(whole)) = find(file) else { panic!("{name}") };
        for end in 0..file.len() {
            if let Some(Found::Proven(millis) | Found::Claimed(millis)) = find(&file[..end]) {
                assert!(millis <= whole, "{name} cut at {end}: {millis} ms");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_break_a_reader(
        file in 0..ALL.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = ALL[file].1.to_vec();
        for (at, value) in changes {
            // Headers are where it hurts.
            let at = at.index(bytes.len().min(160));
            bytes[at] = value;
        }
        bytes.extend(rest);
        let length = measure(&bytes);
        prop_assert!(length.likely_max >= length.millis && length.millis_max >= length.millis);
    }
}
