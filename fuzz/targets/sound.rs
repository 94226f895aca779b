//! Any file has a length, and none takes long to be measured.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::sound::measure;

fuzz_target!(|file: &[u8]| {
    let length = measure(file);
    assert!(length.millis_max >= length.millis);
});
