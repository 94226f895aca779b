//! Ogg: packets of Opus, and what Vorbis says of itself.

use memchr::memmem;

use crate::base::Turns;

use super::found::{Found, Sum, bytes_at};

/// Opus always counts at this rate.
const OPUS_RATE: u64 = 48_000;
/// Packets before the sound: `OpusHead` and `OpusTags`.
const OPUS_HEADS: u64 = 2;

pub(super) async fn find(file: &[u8], turns: &mut Turns) -> Option<Found> {
    if file.get(..4)? != b"OggS" {
        return None;
    }
    let first = page(file, 0)?;
    let head = file.get(first.content..)?;
    if head.starts_with(b"OpusHead") {
        return Some(Found::Proven(opus(file, turns).await));
    }
    if head.starts_with(b"\x01vorbis") {
        let rate = u64::from(u32::from_le_bytes(bytes_at(head, 12)?));
        let (mut pages, mut last) = (Pages::new(file), None);
        while let Some(page) = pages.next(turns).await {
            last = last.max(Some(page.position).filter(|position| *position != u64::MAX));
        }
        let mut sum = Sum::default();
        sum.add(last?, rate);
        return (rate > 0).then(|| Found::Claimed(sum.millis()));
    }
    None
}

struct Page<'a> {
    /// Samples so far at the end of the page; all bits where no packet ends on it.
    position: u64,
    /// Whether it begins with the rest of a packet.
    is_continued: bool,
    lengths: &'a [u8],
    /// Where its packets begin.
    content: usize,
    end: usize,
}

fn page(file: &[u8], at: usize) -> Option<Page<'_>> {
    let head = bytes_at::<27>(file, at)?;
    let [_, _, _, _, _, flags, ..] = head;
    let count = usize::from(*head.last()?);
    let lengths = file.get(at + 27..)?.get(..count)?;
    let content = at + 27 + count;
    let bytes: usize = lengths.iter().map(|length| usize::from(*length)).sum();
    let position = u64::from_le_bytes(bytes_at(file, at + 6)?);
    Some(Page { position, is_continued: flags & 1 != 0, lengths, content, end: content + bytes })
}

/// Every page; junk between them is stepped over.
struct Pages<'a> {
    file: &'a [u8],
    at: usize,
    finder: memmem::Finder<'static>,
}

impl<'a> Pages<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self { file, at: 0, finder: memmem::Finder::new(b"OggS") }
    }

    async fn next(&mut self, turns: &mut Turns) -> Option<Page<'a>> {
        loop {
            let at = turns.find(&self.finder, self.file, self.at).await?;
            match page(self.file, at) {
                Some(page) => {
                    turns.spend(page.end - at).await;
                    self.at = page.end;
                    return Some(page);
                }
                None => self.at = at + 4,
            }
        }
    }
}

/// Milliseconds of all packets; each says in its first two bytes how long it is.
async fn opus(file: &[u8], turns: &mut Turns) -> u64 {
    let (mut packets, mut samples) = (0_u64, 0_u64);
    let mut pages = Pages::new(file);
    while let Some(page) = pages.next(turns).await {
        let (mut start, mut at) = (page.content, page.content);
        let mut is_rest = page.is_continued;
        for length in page.lengths {
            at += usize::from(*length);
            if *length == 255 {
                continue;
            }
            if !is_rest {
                packets += 1;
                let packet = file.get(start..at.min(file.len())).unwrap_or_default();
                samples += if packets > OPUS_HEADS { packet_samples(packet) } else { 0 };
            }
            (is_rest, start) = (false, at);
        }
        // A packet that goes on over the page is counted where it begins.
        if !is_rest && at > start {
            packets += 1;
            let packet = file.get(start..at.min(file.len())).unwrap_or_default();
            samples += if packets > OPUS_HEADS { packet_samples(packet) } else { 0 };
        }
    }
    let mut sum = Sum::default();
    sum.add(samples, OPUS_RATE);
    sum.millis()
}

/// Samples of one packet (RFC 6716, 3.1).
fn packet_samples(packet: &[u8]) -> u64 {
    let Some(toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        mode @ 0..12 => [480, 960, 1_920, 2_880].get(usize::from(mode & 3)).copied().unwrap_or(2_880),
        mode @ 12..16 => 480 << (mode & 1),
        mode => 120 << (mode & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 0x3f)),
    };
    // No packet is longer than 120 ms.
    (frame * frames).min(5_760)
}
