//! The frames of all test files, found one by one at their places and decoded by workers: equal to
//! the digests of the manifest, which pydicom and its codecs gave.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "../../pacs-core/tests/scan_support/testdata.rs"]
mod testdata;

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelForm, convert, pixel_form};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file;
use pacs_image::{
    Decoders, FrameMap, ImageLimits, PixelDataPlace, WorkerCommand, WorkerLimits, WorkerPool,
    native_form,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use testdata::{Entry, entries};

/// Files whose digest is that of something else than their stored samples, with why.
const OTHERWISE: &[(&str, &str)] = &[
    // Bits above Bits Stored are no part of the pixel; these have others there (PS3.5 8.1.1).
    ("modality/mlut_18.dcm", "pydicom extends the sign"),
    ("modality/ovly_p01.dcm", "pydicom leaves an overlay out"),
    // Samples of 32 bits in OW: words of 16 bits are turned around (PS3.5 6.2).
    ("ts/rtdose_expb.dcm", "pydicom turns samples around"),
];

fn decoders() -> Decoders {
    let command = WorkerCommand::new(env!("CARGO_BIN_EXE_pacs-image-worker").into(), Vec::new());
    let pool = WorkerPool::new(command, WorkerLimits::default());
    Decoders::with_workers(ImageLimits::default(), Arc::new(pool))
}

/// The data set of a file, inflated where it is deflated, and its transfer syntax.
fn data_set(entry: &Entry) -> Option<(Vec<u8>, TransferSyntaxUid)> {
    let bytes = entry.bytes();
    let form = file::read(&bytes).ok()?;
    let data_set = bytes[form.data_set].to_vec();
    if form.transfer_syntax.as_str() != "1.2.840.10008.1.2.1.99" {
        return Some((data_set, form.transfer_syntax));
    }
    let to = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
    let limits = ScanLimits::default();
    let inflated = convert(&data_set, &form.transfer_syntax, &to, None, &limits).ok()?;
    Some((inflated, to))
}

/// All frames, native.
fn frames(
    data_set: &[u8],
    syntax: &TransferSyntaxUid,
    decoders: &Decoders,
) -> Result<(Vec<Vec<u8>>, PixelForm), String> {
    let limits = ScanLimits::default();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let place = PixelDataPlace::of_head(data_set, syntax, &limits).map_err(|e| text(&e))?;
    let place = place.ok_or("no pixel data")?;
    let form = pixel_form(data_set, syntax, &limits).map_err(|e| text(&e))?;
    let form = form.ok_or("no form")?;
    let map = FrameMap::locate(&data_set, &place, &form, &ImageLimits::default());
    let map = map.map_err(|e| text(&e))?;
    let mut frames = Vec::new();
    // Decoding JPEG XL takes long without optimisation.
    let is_slow = syntax.as_str().starts_with("1.2.840.10008.1.2.4.11");
    for number in 1..=if is_slow {
        2.min(map.frames())
    } else {
        map.frames()
    } {
        let location = map.frame(number).ok_or("no such frame")?;
        let from = usize::try_from(location.offset).unwrap();
        let length = usize::try_from(location.length_bytes).unwrap();
        let read = data_set[from..].iter().take(length).copied().collect();
        let frame = location.frame(read).map_err(|e| text(&e))?;
        frames.push(if location.is_encoded() {
            let decoded = decoders.decode_frame(syntax, &form, frame);
            decoded.map_err(|e| text(&e))?
        } else {
            frame
        });
    }
    Ok((frames, native_form(syntax, &form)))
}

/// Samples as the manifest has them: by pixel, single bits and subsampled ones each for itself.
fn by_pixel(frame: &[u8], form: &PixelForm) -> Vec<u8> {
    let bytes = usize::from(form.bits_allocated.div_ceil(8));
    let pixels = usize::from(form.rows) * usize::from(form.columns);
    if form.bits_allocated == 1 {
        let bit = |at: usize| frame[at / 8] >> (at % 8) & 1;
        return (0..pixels).map(bit).collect();
    }
    if form.is_subsampled {
        let pairs = frame.as_chunks::<4>().0;
        let pair = |[y1, y2, b, r]: &[u8; 4]| [*y1, *b, *r, *y2, *b, *r];
        return pairs.iter().flat_map(pair).collect();
    }
    if !form.is_planar || form.samples_per_pixel == 1 {
        return frame.to_vec();
    }
    let planes: Vec<&[u8]> = frame.chunks(pixels * bytes).collect();
    let pixel = |at: usize| {
        let sample = move |plane: &&[u8]| plane[at * bytes..][..bytes].to_vec();
        planes.iter().flat_map(sample).collect::<Vec<u8>>()
    };
    (0..pixels).flat_map(pixel).collect()
}

fn digest(frames: &[Vec<u8>], form: &PixelForm) -> String {
    let mut hash = Sha256::new();
    frames
        .iter()
        .for_each(|frame| hash.update(by_pixel(frame, form)));
    let mut hex = String::new();
    for byte in hash.finalize() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[test]
fn frames_are_those_of_the_manifest() {
    let decoders = decoders();
    let mut wrong = Vec::new();
    let mut table: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for entry in entries()
        .iter()
        .filter(|entry| entry.expected != "malformed")
    {
        let Some((data_set, syntax)) = data_set(entry) else {
            continue;
        };
        let has_digest = !entry.pixel_sha256.is_empty();
        let counts = table.entry(syntax.to_string()).or_default();
        let found = frames(&data_set, &syntax, &decoders);
        match found {
            Ok((frames, form)) => {
                counts.0 += 1;
                if !has_digest {
                    continue;
                }
                counts.1 += 1;
                let found = digest(&frames, &form);
                if found != entry.pixel_sha256 {
                    wrong.push(format!("{}: other pixels", entry.name));
                }
            }
            Err(error) if has_digest => wrong.push(format!("{}: {error}", entry.name)),
            Err(error) if error == "no pixel data" => {}
            Err(error) => eprintln!("{} ({syntax}): {error}", entry.name),
        }
    }
    wrong.retain(|line| !OTHERWISE.iter().any(|(name, _)| line.starts_with(name)));
    for (syntax, (decoded, equal)) in &table {
        eprintln!("{syntax}: {decoded} files decoded, {equal} compared with the manifest");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let compared: u32 = table.values().map(|(_, equal)| equal).sum();
    assert!(compared > 200 || entries().is_empty(), "{compared}");
}
