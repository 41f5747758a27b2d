//! OHIF, a viewer, in a real browser over the real server: it lists studies of the test data, opens
//! them and shows their pictures.
//!
//! The browser's side is in `ohif/`. The page comes from another origin than the images, and shows
//! a token.

use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::corpus;
use pacs_tests::peers::{Ohif, free_port, ohif, python, run};
use pacs_tests::server::{Options, Server};
use pacs_tests::web_server::store;
use pacs_tests::wire::identifier::{Answer, tag};
use pacs_tests::wire::{Context, Keys, uid};
use pacs_tests::workspace;
use serde_json::Value;

/// A study of the test data: what its files are called, and those with the same pictures that
/// pydicom decodes without help.
struct Study {
    /// What the names of its files begin with.
    files: &'static str,
    /// The same of the files to compare with.
    same_as: &'static str,
    /// Something the list of studies must show of it.
    shown: &'static str,
    count: usize,
}

const STUDIES: [Study; 2] = [
    Study {
        files: "series/dcmqi-MR-ADC-20/",
        same_as: "series/dcmqi-MR-ADC-20/",
        shown: "PELVIS W/O CONT",
        count: 20,
    },
    // Decoded by the browser.
    Study {
        files: "ts/WG04-MR1_htj2k_lossless_201",
        same_as: "ts/MR1_RLE",
        shown: "CompressedSamples",
        count: 1,
    },
];

/// Number of Study Related Instances.
const INSTANCES: u32 = 0x0020_1208;

/// The means of the grays differ by no more: the viewer smooths, and rounds.
const DIFFERENCE_MAX: f64 = 8.0;

/// The next slice of a study, and the picture upside down, are below it.
const CORRELATION_MIN: f64 = 0.985;

fn viewer_server(port: u16) -> Server {
    Server::start(Options {
        config: format!("[http]\ncors_origins = [\"http://127.0.0.1:{port}\"]"),
        ..Options::default()
    })
}

/// Stores the files whose names begin so; how many there are.
fn fill(server: &Server, folder: &Path, begin: &str) -> usize {
    let mut samples = corpus::load(folder);
    samples.retain(|sample| sample.name.starts_with(begin));
    for sample in &samples {
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        let status = store(server, class, instance, syntax, &sample.data_set);
        assert_eq!(status, 0, "{}", sample.name);
    }
    samples.len()
}

/// Each study: how many instances it has, and its UID.
fn studies_of(server: &Server) -> Vec<(String, String)> {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let keys = Keys::at("STUDY").with(tag::STUDY, "").with(INSTANCES, "");
    let (answers, _) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("an answer");
    association.release().expect("a release in order");
    let pair = |answer: &Answer| (answer.text(INSTANCES), answer.text(tag::STUDY));
    answers.iter().map(pair).collect()
}

fn token(server: &Server) -> String {
    let mut pacs = Command::new(workspace::binary("pacs"));
    pacs.args(["token", "create", "viewer", "--scope", "find,get"]);
    let said = run(pacs.arg("--data").arg(server.data())).succeeded();
    let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
    secret.expect("a secret").to_owned()
}

/// Has the browser open the studies; what it says. Its pictures stay with what was built.
fn view(ohif: &Ohif, server: &Server, port: u16, studies: &[String]) -> Value {
    let screenshots = workspace::build_folder().join("ohif");
    std::fs::create_dir_all(&screenshots).expect("a folder");
    println!("screenshots: {}", screenshots.display());
    let mut node = Command::new("node");
    node.env("NODE_PATH", &ohif.modules)
        .env("PACS_CHROMIUM", &ohif.chromium)
        .arg(workspace::root().join("tests/ohif/view.cjs"))
        .arg(&ohif.viewer)
        .arg(port.to_string())
        .arg(format!("http://{}/dicomweb", server.http()))
        .arg(token(server))
        .arg(screenshots)
        .args(studies);
    run(&mut node).succeeded().json()
}

/// What pydicom makes of each file, on the same grid.
fn expected(python: &Path, grid: &Value, files: &[PathBuf]) -> Vec<Vec<f64>> {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/ohif/expected.py"))
        .arg(grid.to_string())
        .args(files);
    let said = run(&mut script).succeeded().json();
    let pictures = said["grays"].as_array().expect("pictures");
    pictures.iter().map(numbers).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().expect("grays").iter();
    list.map(|gray| gray.as_f64().expect("a number")).collect()
}

/// The mean difference of two pictures, and how far one follows the other.
fn compare(ours: &[f64], theirs: &[f64]) -> (f64, f64) {
    assert_eq!(ours.len(), theirs.len());
    let count = ours.len() as f64;
    let mean = |picture: &[f64]| picture.iter().sum::<f64>() / count;
    let (a, b) = (mean(ours), mean(theirs));
    let (mut difference, mut both, mut one, mut other) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in ours.iter().zip(theirs) {
        difference += (x - y).abs() / count;
        both += (x - a) * (y - b);
        one += (x - a).powi(2);
        other += (y - b).powi(2);
    }
    (difference, both / (one * other).sqrt())
}

#[test]
fn ohif_in_a_browser_lists_studies_and_shows_their_pictures() {
    let (Some(ohif), Some(python), Some(folder)) = (ohif(), python(), workspace::test_data())
    else {
        return;
    };
    let port = free_port();
    let server = viewer_server(port);
    for study in &STUDIES {
        assert_eq!(fill(&server, &folder, study.files), study.count);
    }
    let known = studies_of(&server);
    let uid_of = |study: &Study| {
        let count = study.count.to_string();
        let found = known.iter().find(|(number, _)| *number == count);
        found.expect("the study is found").1.clone()
    };
    let studies: Vec<String> = STUDIES.iter().map(uid_of).collect();

    let said = view(&ohif, &server, port, &studies);

    let failed = said["failed"].as_array().expect("a list");
    assert!(failed.is_empty(), "{failed:?}: {said}");
    let list = said["list"].as_str().expect("a text");
    for (study, picture) in STUDIES
        .iter()
        .zip(said["shown"].as_array().expect("pictures"))
    {
        assert!(list.contains(study.shown), "{list}");
        let shown = numbers(&picture["grays"]);
        assert!(!shown.is_empty(), "{}: no picture: {said}", study.files);
        let mut files = corpus::load(&folder);
        files.retain(|sample| sample.name.starts_with(study.same_as));
        let files: Vec<PathBuf> = files.iter().map(|file| folder.join(&file.name)).collect();
        let closest = expected(&python, &said["grid"], &files)
            .iter()
            .map(|picture| compare(&shown, picture))
            .min_by(|one, other| one.0.total_cmp(&other.0));
        let (difference, correlation) = closest.expect("files");
        println!("{}: {difference:.1} grays, {correlation:.4}", study.files);
        assert!(
            difference <= DIFFERENCE_MAX,
            "{}: {difference}",
            study.files
        );
        assert!(
            correlation >= CORRELATION_MIN,
            "{}: {correlation}",
            study.files
        );
    }
}
