//! Documents of the Native DICOM Model of random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-web/tests/corpus/checks.rs"]
#[expect(dead_code, reason = "each target uses one of the checks")]
mod checks;

fuzz_target!(|input: &[u8]| {
    checks::native_model(input);
});
