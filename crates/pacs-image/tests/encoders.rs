//! Every decodable frame of the test data, encoded by each encoder and decoded again: equal to the
//! bit, for our own decoders and OpenJPEG as for DCMTK and `OpenJPH`, which others wrote.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "../../pacs-core/tests/scan_support/testdata.rs"]
mod testdata;

use pacs_core::convert::{Photometric, PixelForm, convert, is_native, pixel_form};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file;
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_image::{
    Decoders, ENCODED, FrameMap, ImageLimits, PixelDataPlace, WorkerCommand, WorkerLimits,
    WorkerPool, decoder, encodings, is_decoded, is_encoded, native_form,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use testdata::{Entry, entries, is_required};

/// Larger files take long, and have no other pixels.
const FILE_BYTES_MAX: usize = 600 << 10;

/// Larger frames are not given to the programs of others.
const FRAME_BYTES_MAX: usize = 300 << 10;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn uid(text: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(text).unwrap()
}

fn workers() -> Decoders {
    let command = WorkerCommand::new(env!("CARGO_BIN_EXE_pacs-image-worker").into(), Vec::new());
    let pool = WorkerPool::new(command, WorkerLimits::default());
    Decoders::with_workers(ImageLimits::default(), Arc::new(pool))
}

/// A native image: its data set in explicit VR little endian, form, and where its pixels are.
struct Image {
    name: String,
    data_set: Vec<u8>,
    form: PixelForm,
    pixels: usize,
}

impl Image {
    /// The file, converted; nothing where it has no pixel data that can be.
    fn of(entry: &Entry) -> Option<Self> {
        let bytes = entry.bytes();
        if bytes.len() > FILE_BYTES_MAX {
            return None;
        }
        let file = file::read(&bytes).ok()?;
        let (from, to) = (file.transfer_syntax, uid(EXPLICIT));
        // Decoding JPEG XL takes long without optimisation.
        if from.as_str().starts_with("1.2.840.10008.1.2.4.11") {
            return None;
        }
        let limits = ScanLimits::default();
        let stored = &bytes[file.data_set];
        let data_set = if from == to {
            stored.to_vec()
        } else {
            let decoder = decoder(&from, &ImageLimits::default());
            convert(stored, &from, &to, decoder, &limits).ok()?
        };
        let form = pixel_form(&data_set, &to, &limits).ok()??;
        let place = PixelDataPlace::of_head(&data_set, &to, &limits).ok()??;
        let (source, limits) = (&*data_set, ImageLimits::default());
        let map = FrameMap::locate(&source, &place, &form, &limits);
        let first = map.ok()?.frame(1)?;
        if form.frame_bits() % 8 != 0 {
            // The second frame begins within a byte.
            return None;
        }
        Some(Self {
            name: entry.name.clone(),
            pixels: usize::try_from(first.offset).unwrap(),
            form: native_form(&to, &form),
            data_set,
        })
    }

    /// The first frame.
    fn frame(&self) -> &[u8] {
        let length = usize::try_from(self.form.frame_bits() / 8).unwrap();
        &self.data_set[self.pixels..][..length]
    }

    /// A file with the first frame, encoded.
    fn file(&self, syntax: &TransferSyntaxUid, encoded: &[u8]) -> Vec<u8> {
        let class = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.7").unwrap();
        let instance = SopInstanceUid::parse("2.25.1").unwrap();
        let mut out = file::file_meta(&class, &instance, syntax);
        // Up to the header of the pixel data.
        out.extend_from_slice(&self.data_set[..self.pixels - 12]);
        out.extend_from_slice(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0");
        let length = u32::try_from(encoded.len().next_multiple_of(2)).unwrap();
        out.extend_from_slice(b"\xFE\xFF\0\xE0");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(encoded);
        out.resize(out.len().next_multiple_of(2), 0);
        out.extend_from_slice(b"\xFE\xFF\xDD\xE0\0\0\0\0");
        out
    }
}

/// All that have a first frame; made once for all tests.
fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let stored = entries().iter();
        let stored = stored.filter(|it| matches!(it.expected.as_str(), "valid" | "odd-accept"));
        stored.filter_map(Image::of).collect()
    })
}

#[test]
fn every_frame_of_the_test_data_comes_back_to_the_bit() {
    let workers = workers();
    let mut counts: BTreeMap<&str, (u32, u64, u64)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for image in images() {
        let native = image.frame();
        // The second is encoded as the first.
        for name in [ENCODED[1], ENCODED[2], ENCODED[3]] {
            let syntax = uid(name);
            if !is_encoded(&syntax, &image.form) {
                continue;
            }
            let counts = counts.entry(name).or_default();
            let encoded = match workers.encode_frame(&syntax, &image.form, native) {
                Ok(encoded) => encoded,
                Err(error) => {
                    wrong.push(format!("{} to {name}: {error}", image.name));
                    continue;
                }
            };
            counts.0 += 1;
            counts.1 += native.len() as u64;
            counts.2 += encoded.len() as u64;
            let again = workers.decode_frame(&syntax, &image.form, encoded);
            if again.as_deref() != Ok(native) {
                wrong.push(format!("{} to {name}: other pixels", image.name));
            }
        }
    }
    for (name, (frames, native, encoded)) in &counts {
        eprintln!("{name}: {frames} frames, {native} bytes become {encoded}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let fewest = counts.values().map(|(frames, ..)| *frames).min();
    assert!(entries().is_empty() || fewest > Some(150), "{fewest:?}");
}

fn has(program: &str) -> bool {
    let mut asked = Command::new(program);
    let quiet = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(quiet.is_ok() || !is_required(), "{program} is required");
    if quiet.is_err() {
        eprintln!("SKIPPED: {program} is absent");
    }
    quiet.is_ok()
}

/// Files that DCMTK does not decode: of an odd length of a value, and of seven bits in a byte.
const DCMTK_REFUSES: [&str; 2] = ["odd/odd-length-pn.dcm", "ts/with-uids/JLSL_08_07_0_1F.dcm"];

/// The bits of the first frame that are stored: what is above them DCMTK gives back as zeros.
fn stored_bits(form: &PixelForm, pixels: &[u8]) -> Vec<u32> {
    let length = usize::try_from(form.frame_bits() / 8).unwrap();
    let mask = u32::MAX >> (32 - u32::from(form.bits_stored));
    let bytes = usize::from(form.bits_allocated / 8);
    let samples = pixels[..length.min(pixels.len())].chunks(bytes);
    let value = |sample: &[u8]| sample.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
    samples.map(|sample| value(sample) & mask).collect()
}

/// The pixels that a program of DCMTK makes of a file.
fn by_dcmtk(program: &str, file: &[u8], folder: &Path) -> Option<Vec<u8>> {
    let (from, to) = (folder.join("from.dcm"), folder.join("to.dcm"));
    std::fs::write(&from, file).unwrap();
    let status = Command::new(program).arg(&from).arg(&to).status().unwrap();
    let bytes = status.success().then(|| std::fs::read(&to).unwrap())?;
    let form = file::read(&bytes).unwrap();
    let data_set = &bytes[form.data_set];
    let place = PixelDataPlace::of_head(data_set, &uid(EXPLICIT), &ScanLimits::default());
    let from = usize::try_from(place.unwrap()?.offset).unwrap();
    Some(data_set[from..].to_vec())
}

#[test]
fn dcmtk_decodes_what_is_encoded_to_the_same_bits() {
    let programs = [("dcmdjpls", ENCODED[2]), ("dcmdrle", ENCODED[3])];
    if !programs.iter().all(|(program, _)| has(program)) {
        return;
    }
    let (decoders, folder) = (workers(), tempfile::tempdir().unwrap());
    let mut compared = 0;
    let mut wrong = Vec::new();
    for image in images() {
        let form = &image.form;
        // One frame, in the order and with the bits that DCMTK gives back.
        let is_plain = form.frames == 1 && !form.is_planar && form.bits_allocated != 1;
        let is_ours = |photometric| {
            use Photometric::{Monochrome1, Monochrome2, PaletteColor, Rgb};
            matches!(photometric, Monochrome1 | Monochrome2 | PaletteColor | Rgb)
        };
        if !is_plain || !is_ours(form.photometric) || image.frame().len() > FRAME_BYTES_MAX {
            continue;
        }
        for (program, name) in programs {
            let syntax = uid(name);
            if !is_encoded(&syntax, form) {
                continue;
            }
            let encoded = decoders.encode_frame(&syntax, form, image.frame()).unwrap();
            let file = image.file(&syntax, &encoded);
            match by_dcmtk(program, &file, folder.path()) {
                Some(pixels) if stored_bits(form, &pixels) == stored_bits(form, image.frame()) => {
                    compared += 1;
                }
                None if DCMTK_REFUSES.contains(&&*image.name) => {}
                Some(_) => wrong.push(format!("{}: {program} has other pixels", image.name)),
                None => wrong.push(format!("{}: {program} refuses it", image.name)),
            }
        }
    }
    eprintln!("DCMTK decoded {compared} frames to the same bits");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(entries().is_empty() || compared > 100, "{compared}");
}

/// The samples of a PGM or PPM file, little endian.
fn by_openjph(encoded: &[u8], form: &PixelForm, folder: &Path) -> Option<Vec<u8>> {
    let kind = if form.samples_per_pixel == 1 {
        "pgm"
    } else {
        "ppm"
    };
    let (from, to) = (folder.join("from.jph"), folder.join(format!("to.{kind}")));
    std::fs::write(from.with_extension("j2c"), encoded).unwrap();
    let output = Command::new("ojph_expand")
        .arg("-i")
        .arg(from.with_extension("j2c"))
        .arg("-o")
        .arg(&to)
        .output()
        .unwrap();
    let bytes = output
        .status
        .success()
        .then(|| std::fs::read(&to).unwrap())?;
    let length = usize::try_from(form.frame_bits() / 8).unwrap();
    let samples = bytes.get(bytes.len().checked_sub(length)?..)?;
    let mut samples = samples.to_vec();
    if form.bits_allocated == 16 {
        samples.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
    Some(samples)
}

#[test]
fn openjph_decodes_what_is_encoded_to_the_same_bits() {
    if !has("ojph_expand") {
        return;
    }
    let (decoders, folder) = (workers(), tempfile::tempdir().unwrap());
    let mut compared = 0;
    let mut wrong = Vec::new();
    for image in images() {
        let form = &image.form;
        // What the file formats that it writes can say: unsigned samples, each of whole bytes.
        let whole = if form.bits_allocated == 16 { 9.. } else { 1.. };
        let is_plain = !form.is_signed && !form.is_planar && form.samples_per_pixel != 4;
        let is_simple = is_plain && whole.contains(&form.bits_stored);
        let is_small = image.frame().len() <= FRAME_BYTES_MAX;
        if !is_simple || !is_small || !is_encoded(&uid(ENCODED[0]), form) {
            continue;
        }
        let (syntax, native) = (uid(ENCODED[1]), image.frame());
        let encoded = decoders.encode_frame(&syntax, form, native).unwrap();
        match by_openjph(&encoded, form, folder.path()) {
            Some(pixels) if pixels == native => compared += 1,
            Some(_) => wrong.push(format!("{}: other pixels", image.name)),
            None => wrong.push(format!("{}: refused", image.name)),
        }
    }
    eprintln!("OpenJPH decoded {compared} frames to the same bits");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(entries().is_empty() || compared > 50, "{compared}");
}

/// Pixels that no image has: noise, extremes, runs of all lengths.
fn hostile(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    let mut out = Vec::new();
    while out.len() < bytes {
        let (kind, value, run) = (next() % 4, next(), usize::from(next()));
        match kind {
            0 => out.extend(std::iter::repeat_n(value, run)),
            1 => out.extend(std::iter::repeat_with(&mut next).take(run)),
            2 => out.extend(std::iter::repeat_n(0xFF, run)),
            _ => out.extend((0..run).map(|at| if at & 1 == 0 { 0 } else { 0xFF })),
        }
    }
    out.truncate(bytes);
    out
}

#[test]
fn any_pixels_of_any_form_come_back_to_the_bit() {
    let decoders = Decoders::in_process(ImageLimits::default());
    let sizes = [
        (1, 1),
        (1, 300),
        (300, 1),
        (2, 3),
        (17, 129),
        (64, 64),
        (65, 200),
    ];
    let mut tried = 0;
    for (at, (rows, columns)) in sizes.into_iter().enumerate() {
        for (bits_allocated, bits_stored) in [(8, 8), (8, 7), (8, 1), (16, 16), (16, 12), (16, 9)] {
            for (samples_per_pixel, is_planar) in [(1, false), (3, false), (3, true), (4, false)] {
                for is_signed in [false, true] {
                    let form = PixelForm {
                        rows,
                        columns,
                        samples_per_pixel,
                        bits_allocated,
                        bits_stored,
                        is_signed,
                        photometric: Photometric::Other,
                        is_planar,
                        is_subsampled: false,
                        frames: 1,
                    };
                    let length = usize::try_from(form.frame_bits() / 8).unwrap();
                    let native = hostile(length, at as u64 * 1_000 + u64::from(bits_stored));
                    for name in ENCODED {
                        let syntax = uid(name);
                        let encoded = decoders.encode_frame(&syntax, &form, &native);
                        let encoded = encoded.unwrap_or_else(|e| panic!("{form:?} {name}: {e}"));
                        let again = decoders.decode_frame(&syntax, &form, encoded);
                        assert_eq!(again.as_deref(), Ok(&*native), "{form:?} {name}");
                        tried += 1;
                    }
                }
            }
        }
    }
    assert_eq!(tried, 7 * 6 * 4 * 2 * 4);
}

/// Transfer syntaxes with their own codes, and some that nobody decodes.
const KNOWN: [&str; 24] = [
    "", ".1", ".1.98", ".1.99", ".2", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81",
    ".4.90", ".4.91", ".4.92", ".4.100", ".4.102", ".4.110", ".4.111", ".4.112", ".4.201",
    ".4.202", ".4.203", ".5", ".8.1",
];

#[test]
fn the_conformance_statement_tells_what_is_encoded_and_of_what() {
    let statement = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/conformance-statement.md"
    );
    let statement = std::fs::read_to_string(statement).unwrap();
    let mut lines = statement.lines();
    let line = lines.find(|line| line.contains("encoded without loss: "));
    let (of, to) = line.unwrap().split_once("encoded without loss: ").unwrap();
    for short in KNOWN {
        let syntax = uid(&format!("1.2.840.10008.1.2{short}"));
        let is_named = |text: &str| {
            let ends = [")", ","].map(|end| format!("{short}{end}"));
            !short.is_empty() && ends.iter().any(|named| text.contains(named.as_str()))
        };
        assert_eq!(is_named(to), ENCODED.contains(&syntax.as_str()), "{short}");
        // What is lossy is named, and all else that is decoded can be encoded.
        let can_be = is_native(&syntax) || is_decoded(&syntax) && !is_named(of);
        assert_eq!(!encodings(&syntax).is_empty(), can_be, "{short}");
    }
}

#[test]
fn the_conformance_statement_tells_what_is_decoded() {
    let statement = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/conformance-statement.md"
    );
    let statement = std::fs::read_to_string(statement).unwrap();
    let head = "| compressed transfer syntax | decoded | by |";
    let from = statement.find(head).unwrap() + head.len();
    let table = statement[from..].split("\n\n").next().unwrap();
    let mut named = Vec::new();
    for row in table.lines().filter(|row| row.contains('(')) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (what, decoded) = (cells.next().unwrap(), cells.next().unwrap());
        let of_row = what.split(['(', ')', ',']).map(str::trim);
        let of_row = of_row.filter(|part| part.starts_with('.'));
        named.extend(of_row.map(|short| (short.to_owned(), decoded != "no")));
    }
    assert_eq!(named.len(), 19, "{named:?}");
    for (short, is_told) in &named {
        let syntax = uid(&format!("1.2.840.10008.1.2{short}"));
        assert_eq!(is_decoded(&syntax), *is_told, "{short}");
    }
    let told: Vec<&str> = named.iter().map(|(short, _)| short.as_str()).collect();
    for short in KNOWN.iter().filter(|short| !told.contains(*short)) {
        assert!(
            !is_decoded(&uid(&format!("1.2.840.10008.1.2{short}"))),
            "{short}"
        );
    }
}
