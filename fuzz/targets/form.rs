//! A form is read calmly, and what is read of it is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::base::{Turns, at_once};
use millrace::wire::{FormType, view_form};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (content_type, body) = input;
    let Some(form_type) = FormType::parse(content_type) else { return };
    assert_eq!(FormType::parse(&form_type.pieces().concat()).as_ref(), Some(&form_type), "means another boundary");
    let delimiter = [b"--", form_type.boundary()].concat();
    if let Ok(form) = at_once(view_form(form_type, body, &mut Turns::default())).0 {
        assert!((1..=200).contains(&form.model.of(body).len()));
        assert!(!form.file.of(body).windows(delimiter.len()).any(|part| part == delimiter), "a part within the file");
    }
});
