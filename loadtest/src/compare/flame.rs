//! Draws sampled call stacks as an SVG.
//!
//! A renderer of its own, because there is no packaged one: cargo's is a large build and the known script is Perl from
//! the network. Each frame is a rectangle as wide as its share of the samples; titles show on hover.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::bail;

/// Width of the picture, in pixels.
const WIDTH: f64 = 1200.0;
/// Height of a frame, in pixels.
const FRAME_HEIGHT: usize = 16;
/// Narrower frames are left out.
const FRAME_WIDTH_MIN: f64 = 0.4;
/// Deepest frame that is drawn.
const DEPTH_MAX: usize = 120;
/// Width of a letter of the 11 px monospace font, in pixels.
const LETTER_WIDTH: f64 = 6.7;
/// Largest SVG, in bytes.
const SVG_BYTES_MAX: usize = 1 << 20;

/// A frame with its callees.
#[derive(Debug, Default)]
struct Frame {
    samples: u64,
    callees: BTreeMap<String, Frame>,
}

/// Draws the output of `perf script`.
///
/// # Errors
/// There are no samples, or the picture is over 1 MiB.
pub(crate) fn draw(perf_script: &str, title: &str) -> anyhow::Result<String> {
    let root = fold(perf_script);
    if root.samples == 0 {
        bail!("perf recorded no samples");
    }
    let depth = depth_of(&root).min(DEPTH_MAX);
    let height = (depth + 3) * FRAME_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"13\">{} ({} samples)</text>\n",
        escape(title),
        root.samples
    );
    let place = Place { x: 0.0, y: height - FRAME_HEIGHT, per_sample: WIDTH / root.samples as f64, all: root.samples };
    draw_callees(&root, place, 0, &mut svg);
    svg.push_str("</svg>\n");
    if svg.len() > SVG_BYTES_MAX {
        bail!("the picture has {} bytes, over 1 MiB", svg.len());
    }
    Ok(svg)
}

/// Adds up equal stacks. A stack is a header line, then frames from the inside out, then an empty line.
fn fold(perf_script: &str) -> Frame {
    let mut root = Frame::default();
    let mut stack: Vec<&str> = Vec::new();
    let mut program = "";
    for line in perf_script.lines().chain([""]) {
        if line.is_empty() {
            if !program.is_empty() {
                add(&mut root, program, &stack);
            }
            program = "";
            stack.clear();
        } else if line.starts_with([' ', '\t']) && !program.is_empty() {
            stack.push(function_of(line));
        } else {
            program = line.split_whitespace().next().unwrap_or("?");
        }
    }
    root
}

fn add(root: &mut Frame, program: &str, stack: &[&str]) {
    root.samples += 1;
    let mut frame = root;
    for name in [program].into_iter().chain(stack.iter().rev().copied()) {
        frame = frame.callees.entry(name.to_owned()).or_default();
        frame.samples += 1;
    }
}

/// Takes the name out of `ffffffff81 tcp_sendmsg+0x12 ([kernel.kallsyms])`.
fn function_of(line: &str) -> &str {
    let line = line.trim();
    let name = line.split_once(' ').map_or(line, |(_, rest)| rest);
    let name = name.rsplit_once(" (").map_or(name, |(name, _)| name);
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    // The hash of Rust's old mangling says nothing to a reader.
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 => path,
        _ => name,
    }
}

fn depth_of(frame: &Frame) -> usize {
    frame.callees.values().map(|callee| 1 + depth_of(callee)).max().unwrap_or(0)
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: usize,
    per_sample: f64,
    all: u64,
}

fn draw_callees(frame: &Frame, mut place: Place, depth: usize, svg: &mut String) {
    if depth >= DEPTH_MAX {
        return;
    }
    for (name, callee) in &frame.callees {
        let width = callee.samples as f64 * place.per_sample;
        if width >= FRAME_WIDTH_MIN {
            draw_frame(name, callee, place, width, svg);
            let above = Place { y: place.y.saturating_sub(FRAME_HEIGHT), ..place };
            draw_callees(callee, above, depth + 1, svg);
        }
        place.x += width;
    }
}

fn draw_frame(name: &str, frame: &Frame, place: Place, width: f64, svg: &mut String) {
    let share = frame.samples as f64 / place.all as f64 * 100.0;
    // Writing to a string cannot fail.
    let _written = write!(
        svg,
        "<g><title>{} {share:.1} %</title><rect x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" \
         fill=\"{}\" stroke=\"#fff\" stroke-width=\".5\"/>",
        escape(name),
        place.x,
        place.y,
        FRAME_HEIGHT - 1,
        colour(name)
    );
    let letters = (1..=name.chars().count())
        .rev()
        .find(|count| f64::from(u32::try_from(*count).unwrap_or(u32::MAX)) * LETTER_WIDTH < width)
        .unwrap_or(0);
    if letters >= 3 {
        let shown: String = name.chars().take(letters).collect();
        let _written = write!(svg, "<text x=\"{:.1}\" y=\"{}\">{}</text>", place.x + 2.0, place.y + 11, escape(&shown));
    }
    svg.push_str("</g>\n");
}

/// Gives each name the same warm colour in every picture.
fn colour(name: &str) -> String {
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("hsl({},70%,{}%)", 20 + sum % 35, 62 + sum / 64 % 14)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "nginx 12 1.5: 1001001 cpu-clock:\n\
        \tffffffff8100 tcp_sendmsg+0x12 ([kernel.kallsyms])\n\
        \t55aa ngx_<writev>+0x1 (/usr/sbin/nginx)\n\
        \t55ab main+0x1 (/usr/sbin/nginx)\n\n\
        nginx 12 1.6: 1001001 cpu-clock:\n\
        \t55ac a::b::h0123456789abcdef+0x3 (/usr/sbin/nginx)\n\
        \t55ab main+0x1 (/usr/sbin/nginx)\n\n";

    #[test]
    fn equal_stacks_are_added_up() {
        let root = fold(SCRIPT);
        assert_eq!(root.samples, 2);
        let main = &root.callees["nginx"].callees["main"];
        assert_eq!(main.samples, 2);
        let names: Vec<&str> = main.callees.keys().map(String::as_str).collect();
        assert_eq!(names, ["a::b", "ngx_<writev>"]);
        assert_eq!(main.callees["ngx_<writev>"].callees["tcp_sendmsg"].samples, 1);
    }

    #[test]
    fn picture_has_every_frame_and_is_well_formed() {
        let svg = draw(SCRIPT, "json-small & nginx").unwrap();
        for part in [
            "json-small &amp; nginx (2 samples)",
            "<title>main 100.0 %</title>",
            "<title>ngx_&lt;writev&gt; 50.0 %</title>",
            "width=\"600.0\"",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
        assert!(draw("", "x").is_err(), "no samples");
    }
}
