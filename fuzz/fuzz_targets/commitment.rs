//! The data sets of storage commitment, of N-ACTION and of N-EVENT-REPORT, under random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-core/tests/commitment_corpus/checks.rs"]
mod checks;

fuzz_target!(|input: &[u8]| {
    checks::commitment(input);
});
