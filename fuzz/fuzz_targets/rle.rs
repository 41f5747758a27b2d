//! RLE pixel data under random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-image/tests/corpus/checks.rs"]
#[expect(dead_code, reason = "each target uses one of the checks")]
mod checks;

fuzz_target!(|input: &[u8]| {
    checks::rle(input);
});
