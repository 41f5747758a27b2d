//! A DICOMDIR of random bytes: it is read within its limits, and whatever it names stays below its
//! folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_media::MediaLimits;
use pacs_media::dicomdir;
use pacs_media::file_id::FileId;

fuzz_target!(|input: &[u8]| {
    let limits = MediaLimits {
        dicomdir_records_max: 10_000,
        ..MediaLimits::default()
    };
    if let Ok(directory) = dicomdir::read(input, &limits) {
        assert!(directory.references.len() <= limits.dicomdir_records_max);
        for reference in directory.references {
            if let Ok(file_id) = reference.file_id {
                stays_below(&file_id);
            }
        }
    }
    if let Ok(file_id) = FileId::parse(input) {
        stays_below(&file_id);
    }
});

fn stays_below(file_id: &FileId) {
    assert!(!file_id.components().is_empty());
    for component in file_id.components() {
        assert!(!component.is_empty() && component != "." && component != "..");
        assert!(!component.contains(['/', '\\', ':', '\0']));
    }
}
