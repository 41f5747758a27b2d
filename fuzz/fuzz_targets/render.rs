//! Pictures of heads and pixels of random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-image/tests/corpus/pictures.rs"]
mod pictures;

fuzz_target!(|input: &[u8]| {
    pictures::rendered(input);
});
