//! Frames of a data set of random bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pacs-image/tests/corpus/streams.rs"]
#[expect(dead_code, reason = "each target uses one of the checks")]
mod streams;

fuzz_target!(|input: &[u8]| {
    streams::frame_map(input);
});
