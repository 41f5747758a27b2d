//! The DICOM JSON model of any bytes: always one whole object of JSON, however it is cut into
//! pieces, and nowhere deeper than data sets may be. The first bytes choose encoding and bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::Encoding;
use pacs_web::model::{Model, ModelOptions};
use pacs_web::walk::Walk;

const ENCODINGS: [Encoding; 3] = [
    Encoding::ExplicitBigEndian,
    Encoding::ExplicitLittleEndian,
    Encoding::ImplicitLittleEndian,
];

fn written(data_set: &[u8], encoding: Encoding, bytes_max: u64, piece_bytes: usize) -> Vec<u8> {
    let limits = ScanLimits {
        depth_max: 32,
        ..ScanLimits::default()
    };
    let options = ModelOptions {
        bulk_url: "http://localhost/bulk\"data".to_owned(),
        inline_bytes_max: bytes_max,
        value_bytes_max: bytes_max,
        fragments_max: 8,
    };
    let mut model = Model::new(Walk::new(data_set, encoding, 0, &limits), options);
    let mut whole = Vec::new();
    loop {
        let mut piece = Vec::new();
        let is_done = model.write(&mut piece, piece_bytes);
        whole.extend(piece);
        if is_done {
            return whole;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [encoding, bytes_max, data_set @ ..] = input else {
        return;
    };
    let encoding = ENCODINGS[usize::from(*encoding) % ENCODINGS.len()];
    let bytes_max = u64::from(*bytes_max);
    let whole = written(data_set, encoding, bytes_max, usize::MAX);
    let read: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
    assert!(read.is_object());
    assert!(written(data_set, encoding, bytes_max, 16) == whole);
});
