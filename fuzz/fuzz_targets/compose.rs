//! Files made of random descriptions in JSON or XML.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-web/tests/corpus/checks.rs"]
#[expect(dead_code, reason = "each target uses one of the checks")]
mod checks;

fuzz_target!(|input: &[u8]| {
    checks::composed(input);
});
