//! Rendered pictures of the test data beside those of independent decoders: pydicom, pylibjpeg and
//! numpy, which apply Modality LUT, VOI LUT, palettes and colour spaces on their own.
//!
//! The Python side is `pictures/compare.py`. The table of all pictures is printed.

use std::collections::BTreeSet;
use std::process::Command;

use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::peers::{answers, python};
use pacs_tests::server::Server;
use pacs_tests::web::get;
use pacs_tests::web_server::{open_server, store};
use pacs_tests::workspace;
use serde_json::Value;

/// Where independent decoders see something else, and why.
const MAY_DIFFER: &[(&str, &str)] = &[
    ("dicomdir/98892001/CT2N/6293", NOT_SQUARE),
    ("dicomdir/98892001/CT2N/6924", NOT_SQUARE),
    ("modality/color-pl.dcm", NOT_SQUARE),
];

const NOT_SQUARE: &str = "its pixels are not square: we show them so, pydicom does not";

/// Lossless pictures differ by rounding alone.
const LOSSLESS_MOST: i64 = 1;

/// Lossy ones by what decoders of one code stream may differ by, in levels of 256 on average.
const LOSSY_MEAN: f64 = 1.5;

/// Syntaxes that lose something.
fn is_lossy(syntax: &str) -> bool {
    let short = syntax.trim_start_matches("1.2.840.10008.1.2.4.");
    ["50", "51", "81", "91", "112", "203"].contains(&short)
}

/// What became of the rendering of a file.
enum Outcome {
    /// Where the PNG is.
    Picture(std::path::PathBuf),
    Status(u16),
}

fn rendered(server: &Server, sample: &Sample, folder: &std::path::Path) -> Outcome {
    let instance = &sample.sop_instance;
    let found = format!("/dicomweb/instances?SOPInstanceUID={instance}");
    let found = get(server.http(), &found, &[]).json();
    let url = found[0]["00081190"]["Value"][0].as_str().expect("a URL");
    let path = url.split("/dicomweb").nth(1).expect("a path");
    let path = format!("/dicomweb{path}/rendered");
    let reply = get(server.http(), &path, &[("Accept", "image/png")]);
    if reply.status != 200 {
        return Outcome::Status(reply.status);
    }
    let file = folder.join(format!("{instance}.png"));
    std::fs::write(&file, &reply.body).expect("a file");
    Outcome::Picture(file)
}

/// What the Python side says of each pair.
fn compared(pairs: &[String]) -> Option<Vec<Value>> {
    let mut script = Command::new(python()?);
    script.arg(workspace::root().join("tests/pictures/compare.py"));
    let answers = answers(&mut script, pairs);
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    Some(answers.iter().map(read).collect())
}

#[test]
fn pictures_of_every_file_are_those_of_independent_decoders() {
    let (Some(_), Some(folder)) = (python(), workspace::test_data()) else {
        return;
    };
    let mut samples: Vec<Sample> = corpus::load(&folder);
    samples.retain(|sample| matches!(sample.expected, Expected::Valid | Expected::OddAccept));
    let mut seen = BTreeSet::new();
    samples.retain(|sample| seen.insert(sample.sop_instance.clone()));
    let server = open_server();
    let pictures = workspace::temporary_folder();
    let (mut shown, mut pairs, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for sample in &samples {
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        assert_eq!(store(&server, class, instance, syntax, &sample.data_set), 0);
        match rendered(&server, sample, pictures.path()) {
            Outcome::Picture(file) => {
                let name = folder.join(&sample.name);
                pairs.push(format!("{}\t{}", name.display(), file.display()));
                shown.push(sample);
            }
            Outcome::Status(status) => others.push((sample, status)),
        }
    }
    let answers = compared(&pairs).expect("the same Python");
    assert_eq!(answers.len(), pairs.len());
    let (mut faults, mut count) = (Vec::new(), 0);
    for (sample, answer) in shown.iter().zip(&answers) {
        let is_lossy = is_lossy(&sample.transfer_syntax);
        println!("{}\t{}\t{answer}", sample.name, sample.transfer_syntax);
        if MAY_DIFFER
            .iter()
            .any(|(name, _)| sample.name.ends_with(name))
        {
            continue;
        }
        let (most, mean) = (answer["most"].as_i64(), answer["mean"].as_f64());
        match (most, mean) {
            (Some(most), _) if !is_lossy && most <= LOSSLESS_MOST => count += 1,
            (_, Some(mean)) if is_lossy && mean <= LOSSY_MEAN => count += 1,
            (None, _) if answer.get("cannot").is_some() => {}
            _ => faults.push(format!("{}: {answer}", sample.name)),
        }
    }
    for (sample, status) in &others {
        println!("{}\t{}\t{status}", sample.name, sample.transfer_syntax);
        if ![404, 406, 409].contains(status) {
            faults.push(format!("{}: {status}", sample.name));
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(count > 200, "{count}");
    // Its elements have no VRs, though its transfer syntax has them.
    let odd = "ts/SC_rgb_jpeg.dcm";
    assert!(shown.iter().any(|sample| sample.name.ends_with(odd)));
}
