//! A ZIP archive of random bytes: whatever it declares, no more comes out than its limits allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_media::MediaLimits;
use pacs_media::zip::ZipArchive;
use std::io::Read as _;

fuzz_target!(|input: &[u8]| {
    let limits = MediaLimits {
        inflated_bytes_max: 1 << 20,
        inflate_ratio_from_bytes: 64 << 10,
        zip_entries_max: 100,
        ..MediaLimits::default()
    };
    let Ok(archive) = ZipArchive::open(input.to_vec(), &limits) else {
        return;
    };
    let mut count = 0;
    for entry in archive.entries(&limits) {
        let Ok(entry) = entry else {
            break;
        };
        count += 1;
        let Ok(mut reader) = archive.read(&entry, &limits) else {
            continue;
        };
        assert!(
            !entry
                .name
                .split(|byte| b"/\\".contains(byte))
                .any(|part| part == b"..")
        );
        let mut content = Vec::new();
        reader.read_to_end(&mut content).ok();
        // What was read before the limit was noticed is at most one buffer more.
        assert!(content.len() as u64 <= limits.inflated_bytes_max + (1 << 20));
    }
    assert!(count <= limits.zip_entries_max);
});
