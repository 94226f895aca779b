//! Content-Length, Transfer-Encoding and the chunked coding.

use super::case::{BODY, Case, REFUSED, SERVED, Want, chunks, framed, request, shown};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(doubled_lengths());
    cases.extend(codings());
    cases.extend(both());
    cases.extend(chunked_bodies());
    cases.extend(trailers());
    cases.extend(cut_short());
    cases
}

fn length_line(value: &[u8]) -> Vec<u8> {
    [b"content-length:", value].concat()
}

/// Lengths that are not 1 to 15 digits; `N` stands for the right number.
const ODD_LENGTHS: &[&str] = &[
    "",
    " ",
    "+N",
    "-N",
    "++N",
    "--1",
    "-0",
    "+0",
    "0xN",
    "0x0",
    "0oN",
    "0bN",
    "N.0",
    "N.",
    ".N",
    "Ne0",
    "1eN",
    "N N",
    "N,N",
    "N, N",
    "N;N",
    "N;",
    "N,",
    ",N",
    "N#",
    "N/N",
    "N&N",
    "N|",
    "NL",
    "NU",
    "$N",
    "'N'",
    "\"N\"",
    "(N)",
    "{N}",
    "N%20",
    "%30",
    "NaN",
    "inf",
    "null",
    "true",
    "1_0",
    "N\tN",
    "\u{b}N",
    "N\u{b}",
    "\u{c}N",
    "N\u{c}",
    "\u{a0}N",
    "N\u{85}",
    "\u{ff11}",
    "\u{0663}",
    "0000000000000000N",
    "9999999999999999",
    "18446744073709551616",
    "18446744073709551615",
    "340282366920938463463374607431768211456",
    "-18446744073709551615",
];

fn lengths() -> Vec<Case> {
    let right = BODY.len().to_string();
    let odd: Vec<Vec<u8>> = ODD_LENGTHS
        .iter()
        .map(|text| format!(" {}", text.replace('N', &right)).into_bytes())
        .chain([b" \xff".to_vec(), b" 1\x00".to_vec(), b" \x001".to_vec(), b" 1\x7f".to_vec()])
        .collect();
    let mut cases: Vec<Case> = odd
        .iter()
        .map(|value| {
            let bytes = framed(&[&length_line(value)], BODY.as_bytes());
            Case::new(format!("length {:?}", shown(value)), bytes, REFUSED)
        })
        .collect();
    let good = [format!(" {right}"), right.clone(), format!("\t{right} \t"), format!(" 000{right}")];
    for value in good {
        let bytes = framed(&[&length_line(value.as_bytes())], BODY.as_bytes());
        cases.push(Case::new(format!("good length {value:?}"), bytes, SERVED));
    }
    for (name, value, want) in [
        // Over the limit of a body; nothing of it is waited for.
        ("over the limit by one", "10485761", Want::Refused(413)),
        ("15 digits", "999999999999999", Want::Refused(413)),
    ] {
        cases.push(Case::new(format!("length {name}"), framed(&[&length_line(value.as_bytes())], b""), want));
    }
    // Shorter than the body: what is left is read as a request and refused as one.
    let short = framed(&[&length_line(b"2")], b"{}{}{}\r\n");
    cases.push(Case::new("length below the body", short, Want::ThenRefused(400)));
    cases
}

fn doubled_lengths() -> Vec<Case> {
    let right = length_line(BODY.len().to_string().as_bytes());
    let mut cases = Vec::new();
    for (name, other) in [
        ("equal", right.clone()),
        ("zero", b"content-length: 0".to_vec()),
        ("shorter", b"content-length: 5".to_vec()),
        ("upper case", right.to_ascii_uppercase()),
        ("empty", b"content-length:".to_vec()),
    ] {
        cases.push(Case::new(
            format!("length twice, {name} second"),
            framed(&[&right, &other], BODY.as_bytes()),
            REFUSED,
        ));
        cases.push(Case::new(
            format!("length twice, {name} first"),
            framed(&[&other, &right], BODY.as_bytes()),
            REFUSED,
        ));
    }
    cases
}

fn coding_line(value: &[u8]) -> Vec<u8> {
    [b"transfer-encoding: ", value].concat()
}

/// Transfer codings that are not exactly one `chunked`.
const ODD_CODINGS: &[&[u8]] = &[
    b"",
    b"identity",
    b"gzip",
    b"deflate",
    b"compress",
    b"br",
    b"trailers",
    b"chunk",
    b"chunkedd",
    b"xchunked",
    b"x-chunked",
    b"chunked, chunked",
    b"chunked,chunked",
    b"chunked,",
    b",chunked",
    b"chunked;",
    b"chunked; q=1",
    b"chunked;ext=1",
    b"chunked chunked",
    b"identity, chunked",
    b"chunked, identity",
    b"gzip, chunked",
    b"chunked, gzip",
    b"x, chunked",
    b"\"chunked\"",
    b"'chunked'",
    b"(chunked)",
    b"{chunked}",
    b"[chunked]",
    b"chun ked",
    b"chun\tked",
    b"chunked/1",
    b"=chunked",
    b":chunked",
    b"chunked%20",
    b"%63hunked",
    b"\x0bchunked",
    b"chunked\x0b",
    b"\x0cchunked",
    b"chunked\x0c",
    b"chunked\x00",
    b"\x00chunked",
    b"chunked\x7f",
    b"chunked\xa0",
    b"\xc2\xa0chunked",
    b"chunke\xc4\x91",
    b"\xef\xbb\xbfchunked",
    b"chunKed\\",
    b"0",
    b"true",
];

fn codings() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in ODD_CODINGS {
        let line = coding_line(value);
        let length = length_line(BODY.len().to_string().as_bytes());
        cases.push(Case::new(format!("coding {:?}", shown(value)), framed(&[&line], &chunks()), REFUSED));
        // A server that ignores the odd coding would read the length: TE.CL and CL.TE by obfuscation.
        cases.push(Case::new(
            format!("coding {:?} and a length", shown(value)),
            framed(&[&line, &length], BODY.as_bytes()),
            REFUSED,
        ));
    }
    for value in ["chunked", "Chunked", "CHUNKED", "cHuNkEd", "  chunked", "chunked \t"] {
        let line = coding_line(value.as_bytes());
        cases.push(Case::new(format!("good coding {value:?}"), framed(&[&line], &chunks()), SERVED));
    }
    cases
}

fn both() -> Vec<Case> {
    let chunked = coding_line(b"chunked");
    let length = length_line(BODY.len().to_string().as_bytes());
    let mut cases = Vec::new();
    let mut add = |name: &str, lines: &[&[u8]], body: &[u8]| {
        cases.push(Case::new(name.to_owned(), framed(lines, body), REFUSED));
    };
    // CL.TE: the length covers only the first bytes, the rest would be the next request.
    add("CL.TE", &[b"content-length: 6", &chunked], b"0\r\n\r\nG");
    add("TE.CL", &[&chunked, b"content-length: 4"], b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n");
    add("CL before TE, body by length", &[&length, &chunked], BODY.as_bytes());
    add("TE before CL, body by length", &[&chunked, &length], BODY.as_bytes());
    add("CL before TE, body in chunks", &[&length, &chunked], &chunks());
    add("TE before CL, body in chunks", &[&chunked, &length], &chunks());
    add("CL 0 before TE", &[b"content-length: 0", &chunked], &chunks());
    add("TE before CL 0", &[&chunked, b"content-length: 0"], &chunks());
    add("TE twice", &[&chunked, &chunked], &chunks());
    add("TE twice, second identity", &[&chunked, b"transfer-encoding: identity"], &chunks());
    add("TE twice, first identity", &[b"transfer-encoding: identity", &chunked], &chunks());
    add("TE twice, second empty", &[&chunked, b"transfer-encoding:"], &chunks());
    add("TE twice, in capitals", &[&chunked, b"TRANSFER-ENCODING: chunked"], &chunks());
    cases
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    framed(&[b"transfer-encoding: chunked"], body)
}

fn chunked_bodies() -> Vec<Case> {
    let size = format!("{:x}", BODY.len());
    let mut cases = Vec::new();
    let mut add = |name: String, body: String, want: Want| {
        cases.push(Case::new(format!("chunks: {name}"), in_chunks(body.as_bytes()), want));
    };
    for odd in [
        "",
        " N",
        "N ",
        "\tN",
        "N\t",
        "+N",
        "-N",
        "0xN",
        "#N",
        "N,",
        "N N",
        "g",
        "N\u{b}",
        "N\0",
        "\0N",
        "N\u{a0}",
        "ffffffffffffffff",
        "10000000000000000",
        "8000000000000000",
        "0000000000000000N",
        "N:",
        "N=1",
        "N\"",
        "'N'",
    ] {
        let line = odd.replace('N', &size);
        add(format!("size {:?}", shown(line.as_bytes())), format!("{line}\r\n{BODY}\r\n0\r\n\r\n"), REFUSED);
    }
    for (name, ending) in [("bare LF", "\n"), ("bare CR", "\r"), ("LF CR", "\n\r"), ("CR CR LF", "\r\r\n")] {
        add(format!("{name} after the size"), format!("{size}{ending}{BODY}\r\n0\r\n\r\n"), REFUSED);
        add(format!("{name} after the content"), format!("{size}\r\n{BODY}{ending}0\r\n\r\n"), REFUSED);
        add(format!("{name} after the last size"), format!("{size}\r\n{BODY}\r\n0{ending}\r\n"), REFUSED);
        add(format!("{name} as the end"), format!("{size}\r\n{BODY}\r\n0\r\n{ending}"), REFUSED);
        add(format!("{name} in an extension"), format!("{size};a{ending}b\r\n{BODY}\r\n0\r\n\r\n"), REFUSED);
    }
    add("content longer than its size".into(), format!("{size}\r\n{BODY}x\r\n0\r\n\r\n"), REFUSED);
    add("content shorter than its size".into(), format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len() + 1), REFUSED);
    add("no end after the content".into(), format!("{size}\r\n{BODY}0\r\n\r\n"), REFUSED);
    let second = format!("{size}\r\n{BODY}\r\n0\r\n\r\n{size}\r\n{BODY}\r\n");
    add("a second body behind the end".into(), second, Want::ThenRefused(200));
    add("NUL in an extension".into(), format!("{size};a\0b\r\n{BODY}\r\n0\r\n\r\n"), REFUSED);
    add("extension of 2 KiB".into(), format!("{size};{}\r\n{BODY}\r\n0\r\n\r\n", "a".repeat(2048)), REFUSED);
    add(
        "one chunk a byte with long extensions".into(),
        {
            let each = |byte: char| format!("1;{}\r\n{byte}\r\n", "x".repeat(900));
            BODY.chars().map(each).collect::<String>() + "0\r\n\r\n"
        },
        SERVED,
    );
    for (name, body) in [
        ("capital digits", format!("{}\r\n{BODY}\r\n0\r\n\r\n", size.to_uppercase())),
        ("leading zeros", format!("00000{size}\r\n{BODY}\r\n000\r\n\r\n")),
        ("an extension", format!("{size};a\r\n{BODY}\r\n0\r\n\r\n")),
        ("an extension with a value", format!("{size};a=b\r\n{BODY}\r\n0;c=\"d;\"\r\n\r\n")),
        ("one chunk a byte", BODY.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>() + "0\r\n\r\n"),
    ] {
        add(format!("good, {name}"), body, SERVED);
    }
    cases
}

fn trailers() -> Vec<Case> {
    let size = format!("{:x}", BODY.len());
    let mut cases = Vec::new();
    let mut add = |name: &str, lines: &str, want: Want| {
        let body = format!("{size}\r\n{BODY}\r\n0\r\n{lines}\r\n");
        cases.push(Case::new(format!("trailer {name}"), in_chunks(body.as_bytes()), want));
    };
    add("dropped", "x-sum: 1\r\n", SERVED);
    add("that frames is dropped", "content-length: 5\r\ntransfer-encoding: chunked\r\n", SERVED);
    add("with a key is dropped", "authorization: Bearer other\r\nhost: other.test\r\n", SERVED);
    add("folded", "x-sum: 1\r\n more\r\n", REFUSED);
    add("starting with a space", " x-sum: 1\r\n", REFUSED);
    add("without a name", ": 1\r\n", REFUSED);
    add("without a value is dropped", "x-sum:\r\n", SERVED);
    add("without a colon", "x-sum\r\n", REFUSED);
    add("with a space before its colon", "x-sum : 1\r\n", REFUSED);
    add("with a separator in its name", "x(sum): 1\r\n", REFUSED);
    add("that is a request line", "GET /livez HTTP/1.1\r\nhost: gateway.test\r\n", REFUSED);
    add("with NUL", "x-sum: \0\r\n", REFUSED);
    add("with a bare LF", "x-sum: 1\nx: 2\r\n", REFUSED);
    add("with a bare CR", "x-sum: 1\rx: 2\r\n", REFUSED);
    add("of 64 KiB", &format!("x-sum: {}\r\n", "1".repeat(64 * 1024)), REFUSED);
    add("lines without end", &"a: b\r\n".repeat(20_000), REFUSED);
    cases
}

/// The client ends its side too early; the canary was swallowed as body and nothing is answered.
fn cut_short() -> Vec<Case> {
    let size = format!("{:x}", BODY.len());
    let long = length_line((BODY.len() + 4096).to_string().as_bytes());
    vec![
        Case::new("length beyond what comes", framed(&[&long], BODY.as_bytes()), Want::Gone).half_closed(),
        Case::new("chunk beyond what comes", in_chunks(format!("fff\r\n{BODY}").as_bytes()), Want::Gone).half_closed(),
        Case::new("canary inside the announced body", canary_as_body(), Want::Answered(400)),
        Case::new("chunks without an end", in_chunks(format!("{size}\r\n{BODY}\r\n").as_bytes()), REFUSED),
        // The canary stands where trailers may stand, and its request line is none.
        Case::new(
            "chunks without their last line",
            in_chunks(format!("{size}\r\n{BODY}\r\n0\r\n").as_bytes()),
            REFUSED,
        ),
    ]
}

/// The announced length reaches over a whole request that stands in the body: it is data.
fn canary_as_body() -> Vec<u8> {
    request(&[], &format!("{BODY}{}", super::canary()))
}
