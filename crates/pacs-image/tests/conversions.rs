//! Every test file that can be converted, converted to every target, encapsulated ones among them:
//! elements and pixels are those that pydicom reads in the original, and the pixels those that
//! DCMTK makes of it.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "../../pacs-core/tests/scan_support/testdata.rs"]
mod testdata;

use pacs_core::convert::{ConvertError, Converter, Progress, convert, pixel_form, targets};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file::{self, FileForm};
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_image::{Decoders, ImageLimits, decoder, encodings, is_decoded, native_form};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use testdata::{Entry, entries, is_required};

/// Files, and what pydicom says of them though it is right. Samples of 32 bits are OW: big endian
/// turns each word of 16 bits (PS3.5 6.2), as DCMTK does; pydicom turns the sample.
const MAY_DIFFER: &[(&str, &str)] = &[
    ("modality/rtdose.dcm", "1_2_2.dcm: the pixels differ"),
    ("ts/rtdose_expb.dcm", ": the pixels differ"),
    ("ts/rtdose_rle.dcm", "1_2_2.dcm: the pixels differ"),
    // Explicit VRs where they should not be, which pydicom cannot read before or after.
    (
        "odd/explicitVRwithinUNsequence.dcm",
        "pydicom: BytesLengthException",
    ),
    (
        "odd/explicit_VR-UN.dcm",
        "pydicom cannot read the original: TypeError",
    ),
];

/// Files that are refused, with what is said: converting would lose part of them.
const REFUSED: &[(&str, &str)] = &[
    (
        "dicomdir/DICOMDIR-nooffset",
        "data set is damaged before offset 10762",
    ),
    (
        "odd/trailing-garbage.dcm",
        "data set ends in the middle, at offset 9596",
    ),
    (
        "odd/JPEG2000-embedded-sequence-delimiter.dcm",
        "pixel data is damaged: a code stream of another size than Rows and Columns",
    ),
];

/// Twenty-seven frames of JPEG XL take long without optimisation; frames.rs has them.
const LEFT_OUT: &str = "ts/will-jxl.dcm";

fn python() -> String {
    let named = std::env::var("PACS_PYTHON").ok();
    let tools = std::env::var("PACS_TOOLS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools").to_owned());
    let environment = format!("{tools}/venv/bin/python");
    named
        .or_else(|| Path::new(&environment).is_file().then_some(environment))
        .unwrap_or_else(|| "python3".to_owned())
}

fn has(what: &str, command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let here = quiet.status().is_ok_and(|status| status.success());
    assert!(here || !is_required(), "{what} is required and absent");
    if !here {
        eprintln!("SKIPPED: {what} is absent");
    }
    here
}

/// The files that can be converted, with where their parts are.
fn convertible() -> Vec<(&'static Entry, Vec<u8>, FileForm)> {
    entries()
        .iter()
        .filter(|entry| matches!(entry.expected.as_str(), "valid" | "odd-accept"))
        .filter(|entry| entry.name != LEFT_OUT)
        .filter_map(|entry| {
            let bytes = entry.bytes();
            let form = file::read(&bytes).ok()?;
            let any = !targets_of(&form.transfer_syntax).is_empty();
            any.then_some((entry, bytes, form))
        })
        .collect()
}

fn targets_of(transfer_syntax: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
    targets(transfer_syntax, is_decoded(transfer_syntax))
}

fn converted(
    data_set: &[u8],
    from: &TransferSyntaxUid,
    to: &TransferSyntaxUid,
) -> Result<Vec<u8>, ConvertError> {
    let decoder = decoder(from, &ImageLimits::default());
    convert(data_set, from, to, decoder, &ScanLimits::default())
}

#[test]
fn only_what_would_lose_something_is_refused() {
    let mut refused = Vec::new();
    for (entry, bytes, form) in convertible() {
        for to in targets_of(&form.transfer_syntax) {
            let result = converted(&bytes[form.data_set.clone()], &form.transfer_syntax, &to);
            let line = (
                entry.name.as_str(),
                result.map(|_| ()).map_err(|e| e.to_string()),
            );
            if let (name, Err(error)) = line
                && !REFUSED.contains(&(name, error.as_str()))
            {
                refused.push(format!("{name} to {to}: {error}"));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

fn as_file(data_set: &[u8], transfer_syntax: &TransferSyntaxUid) -> Vec<u8> {
    // Some of the files lack UIDs; these are for the file format alone.
    let class = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.7").unwrap();
    let instance = SopInstanceUid::parse("2.25.1").unwrap();
    [
        file::file_meta(&class, &instance, transfer_syntax),
        data_set.to_vec(),
    ]
    .concat()
}

#[test]
fn elements_and_pixels_are_those_that_pydicom_reads_in_the_original() {
    let pydicom = ["-c", "import pydicom, numpy"];
    if entries().is_empty() || !has("pydicom", Command::new(python()).args(pydicom)) {
        return;
    }
    let (wrong, files, with_pixels) = compare(convertible(), |data_set, from| {
        let made = targets_of(from).into_iter().filter_map(|to| {
            let out = converted(data_set, from, &to).ok()?;
            Some((to, out))
        });
        made.collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 250 && with_pixels > 300, "{files}, {with_pixels}");
}

/// Has pydicom compare files with what `make` makes of their data sets: what is wrong, and how many
/// files and pictures were compared.
fn compare(
    files: Vec<(&'static Entry, Vec<u8>, FileForm)>,
    make: impl Fn(&[u8], &TransferSyntaxUid) -> Vec<(TransferSyntaxUid, Vec<u8>)>,
) -> (Vec<String>, usize, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = String::new();
    let mut files_count = 0;
    for (at, (entry, bytes, form)) in files.into_iter().enumerate() {
        let made = make(&bytes[form.data_set], &form.transfer_syntax);
        let paths: Vec<PathBuf> = made
            .into_iter()
            .map(|(to, out)| {
                let name = format!("{at}.{to}").replace('.', "_");
                let path = folder.path().join(name + ".dcm");
                std::fs::write(&path, as_file(&out, &to)).unwrap();
                path
            })
            .collect();
        let job = json!({
            "name": entry.name,
            "original": entry.path(),
            "converted": paths,
            "pixel_sha256": entry.pixel_sha256,
        });
        jobs += &format!("{job}\n");
        files_count += 1;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compare.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(jobs.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Json> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut wrong = Vec::new();
    let mut with_pixels = 0;
    for answer in &answers {
        let name = answer["name"].as_str().unwrap();
        with_pixels += answer["pixels"].as_u64().unwrap();
        for problem in answer["problems"].as_array().unwrap() {
            let problem = problem.as_str().unwrap();
            let may = |(file, end): &(&str, &str)| *file == name && problem.ends_with(end);
            if !MAY_DIFFER.iter().any(may) {
                wrong.push(format!("{name}: {problem}"));
            }
        }
    }
    assert_eq!(answers.len(), files_count);
    (wrong, files_count, with_pixels)
}

/// Larger files take long to encode without optimisation, and have no other pixels.
const ENCODED_BYTES_MAX: usize = 200 << 10;

/// The files whose frames can be encoded for other transfer syntaxes.
fn encodable() -> Vec<(&'static Entry, Vec<u8>, FileForm)> {
    let mut files = convertible();
    files.retain(|(_, bytes, form)| {
        let is_small = bytes.len() <= ENCODED_BYTES_MAX;
        is_small && !encodings(&form.transfer_syntax).is_empty()
    });
    files
}

/// The data set with its frames encoded, as a first pass gives it and as a second one does.
fn encoded(
    data_set: &[u8],
    from: &TransferSyntaxUid,
    to: &TransferSyntaxUid,
) -> Result<[Vec<u8>; 2], ConvertError> {
    let decoders = Decoders::in_process(ImageLimits::default());
    let pass = |lengths| {
        let encoder = decoders.encoder(to).unwrap();
        let limits = ScanLimits::default();
        let decoder = decoders.decoder(from);
        let mut converter = Converter::encoding(from, decoder, encoder, lengths, &limits)?;
        converter.push(data_set.to_vec());
        converter.end();
        let mut out = Vec::new();
        // In small pieces, as they are sent.
        loop {
            let room = out.len() + 4000;
            match converter.read(&mut out, room)? {
                Progress::Done => break,
                Progress::Full => {}
                Progress::NeedsInput => panic!("all of it was given"),
            }
        }
        let lengths: Arc<[u64]> = converter.frame_lengths().into();
        Ok::<_, ConvertError>((out, lengths))
    };
    let (first, lengths) = pass(None)?;
    let is_told = lengths.len() > 1;
    let (second, again) = pass(is_told.then(|| Arc::clone(&lengths)))?;
    assert_eq!(again, lengths);
    Ok([first, second])
}

/// Those that encoders are tried with: HTJ2K with one order of resolutions is as with the other.
const ENCODED_FOR: [&str; 3] = [
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
];

#[test]
fn encoded_instances_have_the_elements_and_pixels_that_pydicom_reads_in_the_original() {
    let pydicom = ["-c", "import pydicom, numpy, pylibjpeg, openjpeg"];
    if entries().is_empty() || !has("pydicom", Command::new(python()).args(pydicom)) {
        return;
    }
    let decoders = Decoders::in_process(ImageLimits::default());
    let unexpected = std::cell::RefCell::new(Vec::new());
    let (wrong, files, with_pixels) = compare(encodable(), |data_set, from| {
        let mut made = Vec::new();
        for to in encodings(from) {
            if !ENCODED_FOR.contains(&to.as_str()) {
                continue;
            }
            match encoded(data_set, from, &to) {
                // The first pass is a data set too, without a table.
                Ok([first, second]) if to.as_str() == ENCODED_FOR[1] && first != second => {
                    made.push((to.clone(), first));
                    made.push((to, second));
                }
                Ok([_, second]) => made.push((to, second)),
                Err(error) => {
                    // What cannot be is known beforehand.
                    let form = pixel_form(data_set, from, &ScanLimits::default())
                        .ok()
                        .flatten();
                    let form = form.map(|form| native_form(from, &form));
                    let check = form.map(|form| decoders.check_encoding(&to, &form));
                    let told = error.to_string();
                    let is_refused = REFUSED.iter().any(|(_, known)| told == *known)
                        || told.ends_with("samples of floating point");
                    if !matches!(check, Some(Err(_))) && !is_refused {
                        unexpected
                            .borrow_mut()
                            .push(format!("{from} to {to}: {error}"));
                    }
                }
            }
        }
        made
    });
    let unexpected = unexpected.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    assert!(files > 150 && with_pixels > 250, "{files}, {with_pixels}");
}

#[test]
fn rle_frames_are_those_that_dcmdrle_decodes() {
    if entries().is_empty() || !has("DCMTK", Command::new("dcmdrle").arg("--version")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (entry, bytes, form) in convertible() {
        if form.transfer_syntax.as_str() != "1.2.840.10008.1.2.5" {
            continue;
        }
        let theirs = folder.path().join("theirs.dcm");
        let decoding = Command::new("dcmdrle")
            .arg("+te")
            .args([&entry.path(), &theirs])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !decoding.success() {
            eprintln!("dcmdrle cannot decode {}", entry.name);
            continue;
        }
        let to = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
        let data_set = &bytes[form.data_set.clone()];
        let ours = converted(data_set, &form.transfer_syntax, &to).unwrap();
        let theirs = std::fs::read(&theirs).unwrap();
        let their_form = file::read(&theirs).unwrap();
        let theirs = pixel_data(&theirs[their_form.data_set]);
        assert!(pixel_data(&ours) == theirs, "{}", entry.name);
        compared += 1;
    }
    assert!(compared >= 12, "{compared}");
}

/// The value of (7FE0,0010) in explicit VR little endian.
fn pixel_data(data_set: &[u8]) -> &[u8] {
    let header = [0xE0, 0x7F, 0x10, 0x00, b'O'];
    let at = data_set
        .windows(header.len())
        .position(|bytes| bytes == header)
        .unwrap();
    let length = u32::from_le_bytes(data_set[at + 8..at + 12].try_into().unwrap());
    &data_set[at + 12..][..usize::try_from(length).unwrap()]
}

#[test]
fn whatever_the_pieces_the_result_is_the_same() {
    let mut pieces = 0;
    for (entry, bytes, form) in convertible() {
        let data_set = &bytes[form.data_set.clone()];
        // The decoders of most codecs see a whole frame, whatever the pieces were.
        let name = form.transfer_syntax.as_str();
        let is_whole = name.starts_with("1.2.840.10008.1.2.4.");
        if data_set.len() > if is_whole { 20_000 } else { 300_000 } {
            continue;
        }
        for to in targets_of(&form.transfer_syntax) {
            let Ok(whole) = converted(data_set, &form.transfer_syntax, &to) else {
                continue;
            };
            for (input_bytes, output_bytes) in [(7, 64), (1000, 3), (4096, 4096)] {
                if data_set.len() / input_bytes > 20_000 || whole.len() / output_bytes > 20_000 {
                    continue;
                }
                let decoder = decoder(&form.transfer_syntax, &ImageLimits::default());
                let limits = ScanLimits::default();
                let mut converter =
                    Converter::new(&form.transfer_syntax, &to, decoder, &limits).unwrap();
                if input_bytes == 1000 {
                    converter = converter.with_length(data_set.len() as u64);
                }
                let mut rest = data_set.chunks(input_bytes);
                let mut out = Vec::new();
                let mut piece = Vec::new();
                loop {
                    let progress = converter.read(&mut piece, output_bytes).unwrap();
                    // An element's header or a block of pixels may be more than was wanted.
                    assert!(piece.len() < output_bytes + 300_000, "{}", entry.name);
                    out.append(&mut piece);
                    pieces += 1;
                    match progress {
                        Progress::Done => break,
                        Progress::Full => {}
                        Progress::NeedsInput => match rest.next() {
                            Some(input) => converter.push(input.to_vec()),
                            None => converter.end(),
                        },
                    }
                }
                assert!(out == whole, "{} to {to}", entry.name);
            }
        }
    }
    assert!(pieces > 10_000 || entries().is_empty(), "{pieces}");
}

/// Damage of every kind makes nothing panic and nothing endless.
#[test]
fn malformed_files_are_converted_or_refused() {
    let mut tried = 0;
    for entry in entries()
        .iter()
        .filter(|entry| entry.expected == "malformed")
    {
        let bytes = entry.bytes();
        let Ok(form) = file::read(&bytes) else {
            continue;
        };
        for to in targets_of(&form.transfer_syntax) {
            let decoder = decoder(&form.transfer_syntax, &ImageLimits::default());
            let limits = ScanLimits::default();
            let mut converter =
                Converter::new(&form.transfer_syntax, &to, decoder, &limits).unwrap();
            converter.push(bytes[form.data_set.clone()].to_vec());
            converter.end();
            let mut piece = Vec::new();
            while let Ok(Progress::Full) = converter.read(&mut piece, 1 << 16) {
                piece.clear();
                assert!(converter.bytes_held() < 256 << 20, "{}", entry.name);
            }
            tried += 1;
        }
    }
    assert!(tried > 400 || entries().is_empty(), "{tried}");
}

#[test]
fn hostile_rle_is_refused() {
    let mut refused = 0;
    for entry in entries().iter().filter(|e| e.name.contains("rle_")) {
        let bytes = entry.bytes();
        let form = file::read(&bytes).unwrap();
        if form.transfer_syntax.as_str() != "1.2.840.10008.1.2.5" || entry.expected != "malformed" {
            continue;
        }
        for to in targets_of(&form.transfer_syntax) {
            let decoder = decoder(&form.transfer_syntax, &ImageLimits::default());
            let data_set = &bytes[form.data_set.clone()];
            let limits = ScanLimits::default();
            let result = convert(data_set, &form.transfer_syntax, &to, decoder, &limits);
            assert!(result.is_err(), "{}", entry.name);
            refused += 1;
        }
    }
    assert!(refused > 0 || entries().is_empty());
}
