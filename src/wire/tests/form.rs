//! Forms: what is read, and what is refused.

use proptest::prelude::*;

use crate::base::{Digest, TURN_BYTES, Turns, at_once};
use crate::wire::{AnswerFormat, BodyFault, Edits, Form, FormFault, FormType, tell_form, view_form};

const BOUNDARY: &str = "d3adb33f";

/// A form of these parts, each a head without its last empty line and a value.
fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (head, value) in parts {
        body += &format!("--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n");
    }
    (body + "--" + BOUNDARY + "--\r\n").into_bytes()
}

fn field(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

const FILE: (&str, &str) = (
    "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav",
    "RIFF\r\n--not the boundary\0\u{fffd}",
);

fn form_type() -> FormType {
    FormType::parse(format!("multipart/form-data; boundary={BOUNDARY}").as_bytes()).unwrap()
}

fn view(body: &[u8]) -> Result<Form, BodyFault> {
    at_once(view_form(form_type(), body, &mut Turns::default())).0.map_err(|error| error.fault)
}

#[test]
fn large_form_is_looked_at_in_turns() {
    // What nearly is the boundary, all over: none of it stands behind a line end.
    let content = "--d3adb33".repeat(20 * TURN_BYTES / 9);
    let body = form(&[(&field("model"), "p/r"), (FILE.0, &content), (&field("language"), "de")]);
    let (read, turns) = at_once(view_form(form_type(), &body, &mut Turns::default()));
    assert_eq!(read.unwrap().file.of(&body), content.as_bytes());
    assert!((20..=22).contains(&turns), "{turns} turns");
}

#[test]
fn form_is_told_without_what_its_files_hold() {
    let voice = "Content-Disposition: form-data; name=\"known_speaker_references[]\"";
    let named = "Content-Disposition: form-data; name=\"note\"; filename=\"n.txt\"";
    let typed = "Content-Disposition: form-data; name=\"note\"\r\nContent-Type: audio/x";
    let bare = (field("file"), "canary");
    let mark = |content: &str| format!("[{} bytes, {}]", content.len(), Digest::of(content.as_bytes()));
    let model = field("model");
    for (name, parts, want) in [
        ("file", vec![(&*model, "p/r"), FILE], vec!["p/r".to_owned(), mark(FILE.1)]),
        ("bare", vec![(&*bare.0, bare.1), (&model, "p/r")], vec![mark("canary"), "p/r".to_owned()]),
        (
            "voice",
            vec![FILE, (voice, "data:audio/wav;base64,canary")],
            vec![mark(FILE.1), mark("data:audio/wav;base64,canary")],
        ),
        ("named", vec![(named, "canary"), FILE], vec![mark("canary"), mark(FILE.1)]),
        ("typed", vec![(typed, "canary"), (&model, "")], vec![mark("canary"), String::new()]),
        ("text", vec![(&*model, "p/r")], vec!["p/r".to_owned()]),
    ] {
        let told: Vec<(&str, &str)> =
            parts.iter().map(|(head, _)| *head).zip(want.iter().map(|said| &**said)).collect();
        let (body, want) = (form(&parts), form(&told));
        let mut said = Vec::new();
        let tell = |piece: &[u8]| said.extend_from_slice(piece);
        at_once(tell_form(&form_type(), &body, &mut Turns::default(), tell));
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&want), "{name}");
    }
}

#[test]
fn type_of_a_form_has_one_sound_boundary() {
    for (value, want) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        ("Multipart/Form-Data;boundary=\"a b\"", Some("a b")),
        ("multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundary7MA4", Some("----WebKitFormBoundary7MA4")),
        ("multipart/form-data; BOUNDARY=abc", Some("abc")),
        ("multipart/form-data", None),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=\"\"", None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data; boundary=a; boundary*=b", None),
        ("multipart/form-data; boundary=\"a \"", None),
        ("multipart/form-data; boundary=\"a\\\"b\"", None),
        ("multipart/form-data; boundary=\"a", None),
        ("multipart/form-data; boundary=a b", None),
        ("multipart/form-data; boundary=\"a;b\"", None),
        ("multipart/form-data boundary=abc", None),
    ] {
        let read = FormType::parse(value.as_bytes());
        let boundary = read.as_ref().map(|read| std::str::from_utf8(read.boundary()).unwrap());
        assert_eq!(boundary, want, "{value}");
        // What goes to the provider means the same.
        let sent = read.as_ref().map(|read| FormType::parse(&read.pieces().concat()).unwrap());
        assert_eq!(sent, read, "{value}");
    }
    let longest = "a".repeat(70);
    assert!(FormType::parse(format!("multipart/form-data; boundary={longest}").as_bytes()).is_some());
    assert!(FormType::parse(format!("multipart/form-data; boundary={longest}a").as_bytes()).is_none());
}

#[test]
fn fields_are_found_wherever_they_stand() {
    let (model, stream, format, other) = (field("model"), field("stream"), field("response_format"), field("language"));
    let orders: [&[(&str, &str)]; 3] = [
        &[(&model, "p/r"), (&stream, "true"), (&format, "vtt"), (&other, "de"), FILE],
        &[FILE, (&other, "de"), (&format, "vtt"), (&stream, "true"), (&model, "p/r")],
        &[(&stream, "true"), FILE, (&model, "p/r"), (&other, "de"), (&format, "vtt")],
    ];
    for parts in orders {
        let body = form(parts);
        let form = view(&body).unwrap();
        assert_eq!(form.model.of(&body), b"p/r");
        assert_eq!(form.file.of(&body), FILE.1.as_bytes());
        assert_eq!((form.stream, form.format), (true, AnswerFormat::Text));
        assert_eq!(form.text_bytes, 3 + 4 + 3 + 2);
        // Nothing changes but the model.
        let mut edits = Edits::new();
        edits.set_form_model(&form, b"whisper-1");
        let mut out = Vec::new();
        edits.write(&body, &mut out);
        assert_eq!(out, String::from_utf8(body).unwrap().replace("p/r", "whisper-1").into_bytes());
    }
    let plain = form(&[(&model, "r"), FILE]);
    let form = view(&plain).unwrap();
    assert_eq!((form.stream, form.format), (false, AnswerFormat::Json));
}

#[test]
fn formats_say_what_an_answer_is() {
    for (format, want) in [
        ("json", AnswerFormat::Json),
        ("verbose_json", AnswerFormat::Json),
        ("diarized_json", AnswerFormat::Json),
        ("text", AnswerFormat::Text),
        ("srt", AnswerFormat::Text),
        ("vtt", AnswerFormat::Text),
        ("", AnswerFormat::Text),
    ] {
        let body = form(&[(&field("model"), "r"), (&field("response_format"), format), FILE]);
        assert_eq!(view(&body).unwrap().format, want, "{format}");
    }
}

#[test]
fn heads_may_say_more_than_a_name() {
    for head in [
        "content-disposition:form-data;name=\"model\"",
        "Content-Disposition: form-data; name=model",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: 8bit\r\nX-Other: \u{e9}",
    ] {
        let body = form(&[(head, "r"), FILE]);
        assert_eq!(view(&body).map(|form| form.model.of(&body) == b"r"), Ok(true), "{head}");
    }
    for name in ["a\\\\b.wav", "sound \u{e9}.wav", "a;name=x.wav", "%22.wav"] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"; filename*=utf-8''x");
        assert!(view(&form(&[(&field("model"), "r"), (&head, "x")])).is_ok(), "{name}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    use BodyFault::{Duplicate, FileMissing, ModelForm, ModelMissing, Spelling, Type};
    let (model, file) = (field("model"), FILE);
    let with = |head: &str, value: &str| form(&[(&model, "r"), file, (head, value)]);
    let named = |name: &str| with(&field(name), "x");
    let bad = |fault| Err(BodyFault::Form(fault));
    for (name, body, want) in [
        ("sound", form(&[(&model, "r"), file]), Ok(())),
        ("model twice", with(&model, "r"), Err(Duplicate("model"))),
        (
            "stream twice",
            form(&[(&model, "r"), (&field("stream"), "true"), (&field("stream"), "true"), file]),
            Err(Duplicate("stream")),
        ),
        ("file twice", with(file.0, file.1), Err(Duplicate("file"))),
        (
            "format twice",
            form(&[(&field("response_format"), "json"), (&field("response_format"), "json")]),
            Err(Duplicate("response_format")),
        ),
        ("other letter case", named("Model"), Err(Spelling("model"))),
        ("as a list", named("model[]"), Err(Spelling("model"))),
        ("as a member", named("model.x"), Err(Spelling("model"))),
        ("other case of a format", named("RESPONSE_FORMAT"), Err(Spelling("response_format"))),
        ("escaped name", named("mo%64el"), bad(FormFault::Disposition)),
        ("name with a quote", named("mod\\\"el"), bad(FormFault::Disposition)),
        ("charset of fields", named("_charset_"), bad(FormFault::Charset)),
        ("no model", form(&[file]), Err(ModelMissing)),
        ("no file", form(&[(&model, "r")]), Err(FileMissing)),
        ("no parts", b"--d3adb33f--\r\n".to_vec(), Err(ModelMissing)),
        ("empty model", form(&[(&model, ""), file]), Err(ModelForm)),
        ("model with a line end", form(&[(&model, "r\r\nx"), file]), Err(ModelForm)),
        ("long model", form(&[(&model, &"r".repeat(201)), file]), Err(ModelForm)),
        (
            "model as a file",
            form(&[("Content-Disposition: form-data; name=\"model\"; filename=\"m\"", "r"), file]),
            Err(Type("model", "a field of plain text")),
        ),
        (
            "model in UTF-16",
            form(&[(&format!("{model}\r\nContent-Type: text/plain; charset=utf-16"), "r"), file]),
            Err(Type("model", "a field of plain text")),
        ),
        (
            "model as JSON",
            form(&[(&format!("{model}\r\nContent-Type: application/json"), "r"), file]),
            Err(Type("model", "a field of plain text")),
        ),
        (
            "stream of another word",
            form(&[(&model, "r"), (&field("stream"), "1"), file]),
            Err(Type("stream", "`true` or `false`")),
        ),
    ] {
        assert_eq!(view(&body).map(|_| ()), want, "{name}");
    }
}

#[test]
fn heads_of_parts_are_written_in_one_way() {
    let with = |head: &str, value: &str| form(&[(&field("model"), "r"), FILE, (head, value)]);
    let bad = |fault: FormFault| Err(BodyFault::Form(fault));
    for (name, body, want) in [
        (
            "encoded part",
            with(&format!("{}\r\nContent-Transfer-Encoding: base64", field("x")), "x"),
            bad(FormFault::Encoding),
        ),
        ("no disposition", with("Content-Type: text/plain", "x"), bad(FormFault::Disposition)),
        ("two dispositions", with(&format!("{0}\r\n{0}", field("x")), "x"), bad(FormFault::Disposition)),
        (
            "two names",
            with("Content-Disposition: form-data; name=\"a\"; name=\"model\"", "x"),
            bad(FormFault::Disposition),
        ),
        ("extended name", with("Content-Disposition: form-data; name*=utf-8''model", "x"), bad(FormFault::Disposition)),
        ("no form-data", with("Content-Disposition: attachment; name=\"x\"", "x"), bad(FormFault::Disposition)),
        ("folded line", with("Content-Disposition: form-data; name=\"x\"\r\n ; a=b", "x"), bad(FormFault::Head)),
        ("bare line feed", with("Content-Disposition: form-data; name=\"x\"\nA: b", "x"), bad(FormFault::Head)),
        ("bare carriage return", with("Content-Disposition: form-data; name=\"x\"\rA: b", "x"), bad(FormFault::Head)),
        ("space before the colon", with("Content-Disposition : form-data; name=\"x\"", "x"), bad(FormFault::Head)),
        (
            "control character",
            with("Content-Disposition: form-data; name=\"x\"; filename=\"\u{1}\"", "x"),
            bad(FormFault::Head),
        ),
        ("long head", with(&format!("{}\r\nX: {}", field("x"), "y".repeat(5_000)), "x"), bad(FormFault::HeadBytes)),
        ("many lines", with(&format!("{}{}", field("x"), "\r\nX: y".repeat(20)), "x"), bad(FormFault::HeadBytes)),
        ("much text", with(&field("prompt"), &"x".repeat((1 << 20) + 1)), bad(FormFault::TextBytes)),
        ("many parts", form(&vec![(field("x").as_str(), "y"); 200]), bad(FormFault::Parts)),
    ] {
        assert_eq!(view(&body).map(|_| ()), want, "{name}");
    }
}

#[test]
fn delimiters_stand_where_they_must_and_nowhere_else() {
    let sound = form(&[(&field("model"), "r"), FILE]);
    let text = String::from_utf8(sound.clone()).unwrap();
    let bad = |fault| Err(BodyFault::Form(fault));
    for (name, body, want) in [
        ("sound", text.clone(), Ok(())),
        ("without the last line end", text.trim_end().to_owned(), Ok(())),
        ("preamble", format!("x\r\n{text}"), bad(FormFault::Start)),
        ("line end first", format!("\r\n{text}"), bad(FormFault::Start)),
        ("epilogue", format!("{text}x"), bad(FormFault::Trailing)),
        ("second form", format!("{text}{text}"), bad(FormFault::Trailing)),
        ("blanks behind a delimiter", text.replacen("--d3adb33f\r\n", "--d3adb33f \r\n", 1), bad(FormFault::Delimiter)),
        ("longer boundary", text.replacen("\r\n--d3adb33f\r\n", "\r\n--d3adb33fx\r\n", 1), bad(FormFault::Delimiter)),
        ("line feeds alone", text.replace("\r\n", "\n"), bad(FormFault::Delimiter)),
        ("delimiter in a line", text.replace("not the boundary", "--d3adb33f"), bad(FormFault::Delimiter)),
        ("delimiter behind a line feed", text.replace("not the boundary", "\n--d3adb33f\n"), bad(FormFault::Delimiter)),
        ("part without a line end", text.replace("r\r\n--d3", "r--d3"), bad(FormFault::Delimiter)),
        ("no content at all", text.replace("\r\n\r\nr\r\n--d3", "\r\n\r\n--d3"), bad(FormFault::Delimiter)),
        ("never closed", text.replace("--d3adb33f--\r\n", ""), bad(FormFault::End)),
        ("empty", String::new(), bad(FormFault::Start)),
    ] {
        assert_eq!(view(body.as_bytes()).map(|_| ()), want, "{name}");
    }
    // An empty value has its own line end.
    let empty = form(&[(&field("model"), "r"), (&field("prompt"), ""), FILE]);
    assert!(view(&empty).is_ok());
    // Cut anywhere it is none, but for the line end behind it.
    for end in 0..sound.len() - 2 {
        assert!(view(&sound[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_view_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        kind in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut body = form(&[(&field("model"), "r"), (&field("stream"), "false"), FILE]);
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        let end = cut.index(body.len() + 1);
        if let Ok(form) = view(&body[..end]) {
            // Whatever was changed, what is read is there.
            prop_assert!(!form.model.of(&body).is_empty());
            prop_assert!(form.file.end as usize <= end);
        }
        let _ = FormType::parse(&kind);
    }
}
