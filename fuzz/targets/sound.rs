//! Any file has a length, and none takes long to be measured.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::base::{Turns, at_once};
use millrace::sound::measure;

fuzz_target!(|file: &[u8]| {
    let length = at_once(measure(file, &mut Turns::default())).0;
    assert!(length.millis_max >= length.millis);
});
