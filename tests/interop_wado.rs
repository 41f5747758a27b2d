//! Every storable file in by STOW-RS and out by WADO-RS: the same data set, foreign programs read
//! it, and decoded it has the pixels that the manifest has.
//!
//! The Python side is in `dicomweb/json_model.py` and `pynetdicom/weaker.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pacs_tests::corpus::{self, Expected, Parts, Sample};
use pacs_tests::peers::{answers, dcmtk, dicomweb_python, has_dcmtk, python, run};
use pacs_tests::server::Server;
use pacs_tests::stow;
use pacs_tests::web::get;
use pacs_tests::web_server::{ask, open_server, values};
use pacs_tests::wire::uid;
use pacs_tests::workspace;
use serde_json::json;

/// Columns of the manifest.
const DCMDUMP: usize = 17;
const PIXELS: usize = 20;

/// Twenty-seven frames of JPEG XL, which take too long here; the tests of pacs-image have them.
const SLOW: &str = "ts/will-jxl.dcm";

/// pydicom and the standard differ on big endian samples of 32 bits.
const BIG_ENDIAN_32: &str = "ts/rtdose_expb.dcm";

/// What the server does not decode: video.
const VIDEO: [&str; 2] = ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102"];

/// Each file that is kept, in rounds that have each SOP Instance UID once.
fn rounds(folder: &Path) -> Vec<Vec<Sample>> {
    let mut rounds: Vec<Vec<Sample>> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for sample in corpus::load(folder) {
        if !matches!(sample.expected, Expected::Valid | Expected::OddAccept) {
            continue;
        }
        let round = seen.entry(sample.sop_instance.clone()).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(sample);
        *round += 1;
    }
    rounds
}

/// The column `number` of each file in the manifest.
fn column(folder: &Path, number: usize) -> BTreeMap<String, String> {
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).expect("a manifest");
    let cells = manifest.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        (cells[0].to_owned(), cells[number].to_owned())
    });
    cells.collect()
}

/// Stores the files as they are, in one request.
fn fill(server: &Server, folder: &Path, samples: &[Sample]) {
    let read = |sample: &Sample| std::fs::read(folder.join(&sample.name)).expect("a file");
    let files: Vec<Vec<u8>> = samples.iter().map(read).collect();
    let answer = stow::store(server.http(), "/dicomweb/studies", &files);
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.stored().len(), samples.len());
}

/// The path of an instance, as a search tells it.
fn path_of(server: &Server, instance: &str) -> String {
    let found = ask(server, &format!("/instances?SOPInstanceUID={instance}"));
    let urls = values(&found, "00081190");
    let path = urls[0].split("/dicomweb").nth(1).expect("a path");
    path.to_owned()
}

/// Whether `file` holds what was stored as `sample`.
fn is_same(file: &[u8], sample: &Sample) -> bool {
    let parts = Parts::of(file);
    parts.transfer_syntax == sample.transfer_syntax
        && parts.sop_instance == sample.sop_instance
        && file[parts.data_set_offset..] == sample.data_set
}

/// Retrieves each sample alone into `folder`, and all of each study in one answer.
fn retrieve(server: &Server, samples: &[Sample], folder: &Path) {
    let mut studies: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let path = path_of(server, &sample.sop_instance);
        let study = path.split("/series").next().expect("a study");
        studies.entry(study.to_owned()).or_default().push(sample);
        let accept = [("Accept", "application/dicom; transfer-syntax=*")];
        let reply = get(server.http(), &format!("/dicomweb{path}"), &accept);
        assert!(reply.status == 200 && reply.is_whole, "{}", sample.name);
        assert!(is_same(&reply.body, sample), "{}", sample.name);
        std::fs::write(folder.join(&sample.sop_instance), reply.body).expect("a file");
    }
    for (study, samples) in studies {
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let path = format!("/dicomweb{study}");
        let reply = get(server.http(), &path, &[("Accept", accept)]);
        assert!(reply.status == 200 && reply.is_whole, "{study}");
        let parts = reply.parts();
        assert_eq!(parts.len(), samples.len(), "{study}");
        for sample in samples {
            let is_there = parts.iter().any(|part| is_same(&part.body, sample));
            assert!(is_there, "{}", sample.name);
        }
    }
}

/// What pydicom makes of each file, as a line of JSON.
fn pydicom_models(python: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut script = Command::new(python);
    script
        .arg(workspace::root().join("tests/dicomweb/json_model.py"))
        .stderr(Stdio::null());
    let names = files.iter().map(|file| file.display().to_string());
    answers(&mut script, &names.collect::<Vec<_>>())
}

/// pydicom finds in what was retrieved what it finds in the file that was stored.
fn pydicom_must_read(python: &Path, pairs: &[(PathBuf, PathBuf)]) {
    let (stored, retrieved): (Vec<PathBuf>, Vec<PathBuf>) = pairs.iter().cloned().unzip();
    let stored_models = pydicom_models(python, &stored);
    let retrieved_models = pydicom_models(python, &retrieved);
    assert_eq!(stored_models.len(), stored.len());
    assert_eq!(stored_models.len(), retrieved_models.len());
    let mut read_count = 0;
    for ((file, one), other) in stored.iter().zip(&stored_models).zip(&retrieved_models) {
        assert!(one == other, "{}", file.display());
        read_count += usize::from(one != "null");
    }
    let few = pairs.len() / 50;
    assert!(
        read_count + few >= pairs.len(),
        "{read_count} of {}",
        pairs.len()
    );
}

/// DCMTK says that each is a DICOM file, and reads to its end what it reads of the original.
fn dcmtk_must_read(folder: &Path, samples: &[Sample], data: &Path) {
    let dumped = column(data, DCMDUMP);
    let all: Vec<PathBuf> = samples
        .iter()
        .map(|sample| folder.join(&sample.sop_instance))
        .collect();
    let said = run(dcmtk("dcmftest").args(&all)).succeeded();
    let yes = said.text.lines().filter(|line| line.starts_with("yes"));
    assert_eq!(yes.count(), samples.len());
    let readable: Vec<PathBuf> = samples
        .iter()
        .filter(|sample| dumped[&sample.name] == "ok")
        .map(|sample| folder.join(&sample.sop_instance))
        .collect();
    assert!(readable.len() * 10 > samples.len() * 9);
    let said = run(dcmtk("dcmdump").args(["-q", "-M"]).args(&readable)).succeeded();
    assert!(said.text.contains("(0008,0018)"));
}

#[test]
fn every_file_stored_over_the_web_comes_back_over_it_and_foreign_programs_read_it() {
    let (Some(data), Some(python), true) = (workspace::test_data(), dicomweb_python(), has_dcmtk())
    else {
        return;
    };
    let mut count = 0;
    for samples in rounds(&data) {
        let server = open_server();
        fill(&server, &data, &samples);
        let folder = server.home().join("retrieved");
        std::fs::create_dir(&folder).expect("a folder");

        retrieve(&server, &samples, &folder);

        let pair = |sample: &Sample| (data.join(&sample.name), folder.join(&sample.sop_instance));
        let pairs: Vec<(PathBuf, PathBuf)> = samples.iter().map(pair).collect();
        if samples.len() > 100 {
            pydicom_must_read(&python, &pairs);
            dcmtk_must_read(&folder, &samples, &data);
        }
        count += samples.len();
    }
    assert!(count > 300, "the manifest lists hundreds of files: {count}");
}

/// Files with pixels of which the manifest has a digest.
fn pictures(data: &Path, pixels: &BTreeMap<String, String>) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let mut samples = corpus::load(data);
    samples.retain(|sample| {
        sample.expected == Expected::Valid
            && !pixels[&sample.name].is_empty()
            && ![SLOW, BIG_ENDIAN_32].contains(&sample.name.as_str())
            && !VIDEO.contains(&sample.transfer_syntax.as_str())
            && seen.insert(sample.sop_instance.clone())
    });
    samples
}

/// What pydicom says of the pixels in these files, each a name, a file and a digest.
fn compare_pixels(python: &Path, folder: &Path, jobs: &[(String, PathBuf, String)]) {
    let lines = jobs.iter().map(|(name, path, sha256)| {
        json!({"name": name, "path": path, "sha256": sha256}).to_string()
    });
    let list = folder.with_extension("jobs");
    std::fs::write(&list, lines.collect::<Vec<_>>().join("\n")).expect("a file");
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/pynetdicom/weaker.py"));
    let said = run(script.arg("pixels").arg(&list)).succeeded().json();
    assert_eq!(said["wrong"], json!([]));
    assert_eq!(said["compared"], jobs.len());
}

/// Larger ones take long to encode without optimisation.
const ENCODED_BYTES_MAX: usize = 300 << 10;

/// Lossless syntaxes that are encoded, and the program of DCMTK that decodes them.
const ENCODED: [(&str, Option<&str>); 3] = [
    ("1.2.840.10008.1.2.4.201", None),
    ("1.2.840.10008.1.2.4.80", Some("dcmdjpls")),
    (uid::RLE_LOSSLESS, Some("dcmdrle")),
];

/// Transfer syntaxes with loss: nothing is encoded of them.
const LOSSY: [&str; 5] = ["50", "51", "81", "91", "203"];

#[test]
fn every_picture_asked_for_in_a_lossless_compression_has_the_pixels_of_the_manifest() {
    let (Some(data), Some(python), true) = (workspace::test_data(), python(), has_dcmtk()) else {
        return;
    };
    let pixels = column(&data, PIXELS);
    let mut samples = pictures(&data, &pixels);
    samples.retain(|sample| sample.data_set.len() <= ENCODED_BYTES_MAX);
    let server = open_server();
    fill(&server, &data, &samples);
    let folder = server.home().join("encoded");
    std::fs::create_dir(&folder).expect("a folder");
    let is_lossy = |sample: &Sample| {
        let short = sample.transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.");
        short.is_some_and(|short| LOSSY.contains(&short))
    };

    let (mut jobs, mut refused, mut by_dcmtk) = (Vec::new(), BTreeSet::new(), 0);
    for sample in &samples {
        let path = format!("/dicomweb{}", path_of(&server, &sample.sop_instance));
        for (syntax, program) in ENCODED {
            let accept = format!("application/dicom; transfer-syntax={syntax}");
            let reply = get(server.http(), &path, &[("Accept", &accept)]);
            if reply.status == 406 {
                refused.insert(sample.name.clone());
                continue;
            }
            let name = format!("{} in {syntax}", sample.name);
            assert!(reply.status == 200 && reply.is_whole, "{name}");
            assert!(!is_lossy(sample), "{name}");
            assert_eq!(Parts::of(&reply.body).transfer_syntax, syntax, "{name}");
            let file = folder.join(format!("{}.{syntax}", sample.sop_instance));
            std::fs::write(&file, reply.body).expect("a file");
            let sha256 = &pixels[&sample.name];
            if let Some(program) = program {
                let decoded = folder.join(format!("{}.{syntax}.dcmtk", sample.sop_instance));
                let mut decoding = dcmtk(program);
                let said = decoding
                    .arg(&file)
                    .arg(&decoded)
                    .stderr(Stdio::null())
                    .status();
                if said.expect("it runs").success() {
                    jobs.push((format!("{name} by DCMTK"), decoded, sha256.clone()));
                    by_dcmtk += 1;
                }
            }
            jobs.push((name, file, sha256.clone()));
        }
    }
    compare_pixels(&python, &folder, &jobs);
    let unexpected = samples
        .iter()
        .filter(|s| refused.contains(&s.name) && !is_lossy(s));
    let unexpected: Vec<&str> = unexpected.map(|sample| sample.name.as_str()).collect();
    // Of other bits than the encoders are for, or subsampled.
    assert!(unexpected.len() < 30, "{unexpected:?}");
    assert!(
        jobs.len() > 200 && by_dcmtk > 80,
        "{} {by_dcmtk}",
        jobs.len()
    );
}

#[test]
fn every_picture_asked_for_uncompressed_has_the_pixels_of_the_manifest() {
    let (Some(data), Some(python)) = (workspace::test_data(), python()) else {
        return;
    };
    let pixels = column(&data, PIXELS);
    let samples = pictures(&data, &pixels);
    let server = open_server();
    fill(&server, &data, &samples);
    let folder = server.home().join("decoded");
    std::fs::create_dir(&folder).expect("a folder");
    let accept = format!(
        "application/dicom; transfer-syntax={}",
        uid::EXPLICIT_LITTLE_ENDIAN
    );

    let mut jobs = Vec::new();
    for sample in &samples {
        let path = format!("/dicomweb{}", path_of(&server, &sample.sop_instance));
        let reply = get(server.http(), &path, &[("Accept", &accept)]);
        assert!(reply.status == 200 && reply.is_whole, "{}", sample.name);
        let syntax = Parts::of(&reply.body).transfer_syntax;
        assert_eq!(syntax, uid::EXPLICIT_LITTLE_ENDIAN, "{}", sample.name);
        let file = folder.join(&sample.sop_instance);
        std::fs::write(&file, reply.body).expect("a file");
        let sha256 = &pixels[&sample.name];
        jobs.push((sample.name.clone(), file, sha256.clone()));
    }
    compare_pixels(&python, &folder, &jobs);
    assert!(samples.len() > 100, "{}", samples.len());
}
