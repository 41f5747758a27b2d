//! Coercion under random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-core/tests/coerce_corpus/checks.rs"]
mod checks;

fuzz_target!(|input: &[u8]| {
    checks::coerced(input);
});
