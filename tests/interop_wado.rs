//! Every storable file in by STOW-RS and out by WADO-RS: the same data set, foreign programs read
//! it, and decoded it has the pixels that the manifest has.
//!
//! The Python side is in `dicomweb/json_model.py` and `pynetdicom/weaker.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pacs_tests::corpus::{self, Parts, Sample};
use pacs_tests::peers::{answers, dcmtk, dicomweb_python, has_dcmtk, python, run};
use pacs_tests::server::Server;
use pacs_tests::stow;
use pacs_tests::web::get;
use pacs_tests::web_server::{ask, open_server, values};
use pacs_tests::wire::{digest, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};

/// Columns of the manifest.
const DCMDUMP: usize = 17;
const PIXELS: usize = 20;

/// Files whose digest is that of other pixels than the standard has, and why.
const OTHER_PIXELS: &[(&str, &str)] = &[
    ("modality/mlut_18.dcm", SIGN),
    ("modality/ovly_p01.dcm", OVERLAY),
    (
        BIG_ENDIAN_32,
        "pydicom turns samples of 32 bits around, PS3.5 6.2 words of 16",
    ),
];

const SIGN: &str = "pydicom extends the sign over the bits above Bits Stored";
const OVERLAY: &str = "pydicom leaves an overlay out that stands above Bits Stored";
const BIG_ENDIAN_32: &str = "ts/rtdose_expb.dcm";

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

/// Files of which pydicom makes no model, and why.
const UNREAD_BY_PYDICOM: &[(&str, &str)] = &[(
    "odd/nested-60-levels.dcm",
    "its model is deeper than what is read here",
)];

/// Files that are kept, of all in the manifest: fewer are none of this test data.
const KEPT_MIN: usize = 370;

/// pydicom finds in what was retrieved what it finds in the file that was stored.
fn pydicom_must_read(python: &Path, data: &Path, pairs: &[(PathBuf, PathBuf)]) {
    let (stored, retrieved): (Vec<PathBuf>, Vec<PathBuf>) = pairs.iter().cloned().unzip();
    let stored_models = pydicom_models(python, &stored);
    let retrieved_models = pydicom_models(python, &retrieved);
    assert_eq!(stored_models.len(), stored.len());
    assert_eq!(stored_models.len(), retrieved_models.len());
    let mut unread = BTreeSet::new();
    for ((file, one), other) in stored.iter().zip(&stored_models).zip(&retrieved_models) {
        assert!(one == other, "{}", file.display());
        if one == "null" {
            let name = file.strip_prefix(data).expect("a file of the test data");
            unread.insert(name.display().to_string());
        }
    }
    let known = UNREAD_BY_PYDICOM.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(unread, known.collect());
}

/// DCMTK says that each is a DICOM file, and reads to its end what it reads of the original.
fn dcmtk_must_read(data: &Path, pairs: &[(PathBuf, PathBuf)]) {
    let dumped = column(data, DCMDUMP);
    let all = pairs.iter().map(|(_, retrieved)| retrieved);
    let said = run(dcmtk("dcmftest").args(all)).succeeded();
    let yes = said.text.lines().filter(|line| line.starts_with("yes"));
    assert_eq!(yes.count(), pairs.len());
    let is_read = |stored: &Path| {
        let name = stored.strip_prefix(data).expect("a file of the test data");
        dumped[&name.display().to_string()] == "ok"
    };
    let readable = pairs.iter().filter(|(stored, _)| is_read(stored));
    let readable: Vec<&PathBuf> = readable.map(|(_, retrieved)| retrieved).collect();
    assert!(readable.len() >= READ_BY_DCMTK_MIN, "{}", readable.len());
    let said = run(dcmtk("dcmdump").args(["-q", "-M"]).args(readable)).succeeded();
    assert!(said.text.contains("(0008,0018)"));
}

/// Files that are kept and that DCMTK reads to their end.
const READ_BY_DCMTK_MIN: usize = 368;

#[test]
fn every_file_stored_over_the_web_comes_back_over_it_and_foreign_programs_read_it() {
    let (Some(data), Some(python), true) = (workspace::test_data(), dicomweb_python(), has_dcmtk())
    else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let mut pairs = Vec::new();
    for (number, samples) in corpus::rounds(&data).into_iter().enumerate() {
        let server = open_server();
        fill(&server, &data, &samples);
        let folder = home.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");

        retrieve(&server, &samples, &folder);

        let pair = |sample: &Sample| (data.join(&sample.name), folder.join(&sample.sop_instance));
        pairs.extend(samples.iter().map(pair));
    }
    assert!(pairs.len() >= KEPT_MIN, "{}", pairs.len());
    pydicom_must_read(&python, &data, &pairs);
    dcmtk_must_read(&data, &pairs);
}

/// Files with pixels of which the manifest has a digest.
const PICTURES_MIN: usize = 250;

/// Those files, in rounds; and the digest of each.
fn pictures(data: &Path) -> (Vec<Vec<Sample>>, BTreeMap<String, String>) {
    let mut digests = column(data, PIXELS);
    digests.retain(|_, digest| !digest.is_empty());
    let mut rounds = corpus::rounds(data);
    for samples in &mut rounds {
        samples.retain(|sample| digests.contains_key(&sample.name));
    }
    rounds.retain(|samples| !samples.is_empty());
    let count: usize = rounds.iter().map(Vec::len).sum();
    assert!(count >= PICTURES_MIN, "{count}");
    (rounds, digests)
}

/// What pydicom says of the pixels in these files, each a name, a file and a digest: that they are
/// others in none but those of [`BIG_ENDIAN_32`].
fn compare_pixels(python: &Path, folder: &Path, jobs: &[(String, PathBuf, String)]) {
    let lines = jobs.iter().map(|(name, path, sha256)| {
        json!({"name": name, "path": path, "sha256": sha256}).to_string()
    });
    let list = folder.with_extension("jobs");
    std::fs::write(&list, lines.collect::<Vec<_>>().join("\n")).expect("a file");
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/pynetdicom/weaker.py"));
    let said = run(script.arg("pixels").arg(&list)).succeeded().json();
    let wrong = said["wrong"].as_array().expect("a list").iter();
    let wrong = wrong.filter_map(Value::as_str);
    let unexpected: Vec<&str> = wrong
        .filter(|name| !name.starts_with(BIG_ENDIAN_32))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
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

/// Why pictures are not encoded in one of these, and which.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "pixel data has Bits Allocated that the encoder is not for",
        &[
            "modality/dcmqi24-label.seg",
            "modality/liver.dcm",
            "modality/liver_1frame.dcm",
            "modality/liver_nonbyte_aligned.dcm",
            "modality/rtdose.dcm",
            "modality/seg_image_ct_binary.dcm",
            "modality/seg_image_sm_control.dcm",
            "ts/SC_rgb_32bit.dcm",
            "ts/SC_rgb_rle_32bit.dcm",
            "ts/SC_rgb_rle_32bit_2frame.dcm",
            "ts/liver_expb.dcm",
            "ts/liver_expb_1frame.dcm",
            "ts/liver_j2k.dcm",
            "ts/liver_nonbyte_aligned_j2k.dcm",
            "ts/rtdose_expb.dcm",
            "ts/rtdose_rle.dcm",
        ],
    ),
    (
        "pixel data has single bits",
        &[
            "modality/dcmqi24-label.seg",
            "modality/liver.dcm",
            "modality/liver_1frame.dcm",
            "modality/liver_nonbyte_aligned.dcm",
            "modality/seg_image_ct_binary.dcm",
            "modality/seg_image_sm_control.dcm",
            "ts/liver_expb.dcm",
            "ts/liver_expb_1frame.dcm",
            "ts/liver_j2k.dcm",
            "ts/liver_nonbyte_aligned_j2k.dcm",
        ],
    ),
    (
        "pixel data has subsampled chrominance",
        &["ts/SC_ybr_full_422_uncompressed.dcm"],
    ),
];

/// Pictures that are small enough to be encoded, in all syntaxes together, and how many of them
/// DCMTK decodes.
const ENCODED_MIN: (usize, usize) = (1066, 427);

#[test]
fn every_picture_asked_for_in_a_lossless_compression_has_the_pixels_of_the_manifest() {
    let (Some(data), Some(python), true) = (workspace::test_data(), python(), has_dcmtk()) else {
        return;
    };
    let (rounds, digests) = pictures(&data);
    let home = tempfile::tempdir().expect("a folder");
    let (mut jobs, mut refused) = (Vec::new(), BTreeMap::new());
    for (number, mut samples) in rounds.into_iter().enumerate() {
        samples.retain(|sample| sample.data_set.len() <= ENCODED_BYTES_MAX);
        let server = open_server();
        fill(&server, &data, &samples);
        let folder = home.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        for sample in &samples {
            let digest = &digests[&sample.name];
            for (name, file) in encoded(&server, sample, &folder, &mut refused) {
                jobs.push((name, file, digest.clone()));
            }
        }
    }

    compare_pixels(&python, home.path(), &jobs);

    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = REFUSED
        .iter()
        .map(|(why, files)| ((*why).to_owned(), names(files)));
    assert_eq!(refused, known.collect());
    let by_dcmtk = jobs.iter().filter(|(name, ..)| name.ends_with(" by DCMTK"));
    let counts = (jobs.len(), by_dcmtk.count());
    assert!(
        counts.0 >= ENCODED_MIN.0 && counts.1 >= ENCODED_MIN.1,
        "{counts:?}"
    );
}

/// Asks for `sample` in each lossless compression, and has DCMTK decode what it can: names and
/// files. What is refused is noted by its reason.
fn encoded(
    server: &Server,
    sample: &Sample,
    folder: &Path,
    refused: &mut BTreeMap<String, BTreeSet<String>>,
) -> Vec<(String, PathBuf)> {
    let path = format!("/dicomweb{}", path_of(server, &sample.sop_instance));
    let mut files = Vec::new();
    for (syntax, program) in ENCODED {
        let accept = format!("application/dicom; transfer-syntax={syntax}");
        let reply = get(server.http(), &path, &[("Accept", &accept)]);
        if reply.status == 406 {
            let told = reply.json()["detail"].as_str().expect("a text").to_owned();
            let (_, why) = told.rsplit_once(", since ").unwrap_or(("", &told));
            let names = refused.entry(why.to_owned()).or_default();
            names.insert(sample.name.clone());
            continue;
        }
        let name = format!("{} in {syntax}", sample.name);
        assert!(reply.status == 200 && reply.is_whole, "{name}");
        assert_eq!(Parts::of(&reply.body).transfer_syntax, syntax, "{name}");
        let file = folder.join(format!("{}.{syntax}", sample.sop_instance));
        std::fs::write(&file, reply.body).expect("a file");
        if let Some(program) = program {
            let decoded = folder.join(format!("{}.{syntax}.dcmtk", sample.sop_instance));
            let mut decoding = dcmtk(program);
            let decoding = decoding.arg(&file).arg(&decoded).stderr(Stdio::null());
            if decoding.status().expect("it runs").success() {
                files.push((format!("{name} by DCMTK"), decoded));
            }
        }
        files.push((name, file));
    }
    files
}

#[test]
fn every_picture_asked_for_uncompressed_has_the_pixels_of_the_manifest() {
    let (Some(data), Some(python)) = (workspace::test_data(), python()) else {
        return;
    };
    let (rounds, digests) = pictures(&data);
    let home = tempfile::tempdir().expect("a folder");
    let explicit = uid::EXPLICIT_LITTLE_ENDIAN;
    let accept = format!("application/dicom; transfer-syntax={explicit}");
    let mut jobs = Vec::new();
    for (number, samples) in rounds.iter().enumerate() {
        let server = open_server();
        fill(&server, &data, samples);
        let folder = home.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        for sample in samples {
            let path = format!("/dicomweb{}", path_of(&server, &sample.sop_instance));
            let reply = get(server.http(), &path, &[("Accept", &accept)]);
            assert!(reply.status == 200 && reply.is_whole, "{}", sample.name);
            let syntax = Parts::of(&reply.body).transfer_syntax;
            assert_eq!(syntax, explicit, "{}", sample.name);
            let file = folder.join(&sample.sop_instance);
            std::fs::write(&file, reply.body).expect("a file");
            jobs.push((sample.name.clone(), file, digests[&sample.name].clone()));
        }
    }
    compare_pixels(&python, home.path(), &jobs);
}

/// What metadata says of the pixels of an instance.
struct Form {
    /// Pixels of a frame.
    pixels: usize,
    samples: usize,
    bits: usize,
    is_planar: bool,
    frames: u64,
}

impl Form {
    fn of(server: &Server, path: &str) -> Self {
        let metadata = ask(server, &format!("{path}/metadata")).body;
        let metadata = String::from_utf8(metadata).expect("UTF-8");
        // Read in the text: some is deeper than what reads JSON would follow.
        let value_of = |tag: &str| {
            let (_, rest) = metadata.split_once(&format!("\"{tag}\":{{\"vr\":\""))?;
            let values = rest.get(2..)?.strip_prefix("\",\"Value\":[")?;
            let value = values.split([',', ']']).next()?;
            value.trim_matches('"').trim().parse().ok()
        };
        let number = |tag: &str, default: u64| value_of(tag).unwrap_or(default);
        let size = |tag, default| usize::try_from(number(tag, default)).expect("a size");
        Self {
            pixels: size("00280010", 0) * size("00280011", 0),
            samples: size("00280002", 1),
            bits: size("00280100", 16),
            is_planar: number("00280006", 0) == 1,
            frames: number("00280008", 1),
        }
    }

    /// Samples as the manifest has them: by pixel, and single bits and subsampled ones each for
    /// itself.
    fn by_pixel(&self, frame: &[u8]) -> Vec<u8> {
        let bytes = self.bits.div_ceil(8);
        if self.bits == 1 {
            let bit = |at: usize| frame[at / 8] >> (at % 8) & 1;
            return (0..self.pixels).map(bit).collect();
        }
        if self.samples == 3 && frame.len() == self.pixels * 2 {
            let pairs = frame.as_chunks::<4>().0.iter();
            return pairs
                .flat_map(|[y1, y2, b, r]| [*y1, *b, *r, *y2, *b, *r])
                .collect();
        }
        if self.samples == 1 || !self.is_planar {
            return frame.to_vec();
        }
        let planes: Vec<&[u8]> = frame.chunks(self.pixels * bytes).collect();
        let pixel = |at: usize| {
            planes
                .iter()
                .flat_map(move |plane| &plane[at * bytes..][..bytes])
        };
        (0..self.pixels).flat_map(pixel).copied().collect()
    }
}

/// The digest of all frames of `sample`, each native in a part of its own; or what is told instead.
fn digest_of_frames(server: &Server, sample: &Sample) -> Result<String, String> {
    let path = path_of(server, &sample.sop_instance);
    let form = Form::of(server, &path);
    let numbers: Vec<String> = (1..=form.frames).map(|number| number.to_string()).collect();
    let path = format!("/dicomweb{path}/frames/{}", numbers.join(","));
    let explicit = uid::EXPLICIT_LITTLE_ENDIAN;
    let accept =
        format!("multipart/related; type=\"application/octet-stream\"; transfer-syntax={explicit}");
    let reply = get(server.http(), &path, &[("Accept", &accept)]);
    if reply.status != 200 || !reply.is_whole {
        let told = String::from_utf8_lossy(&reply.body).into_owned();
        return Err(format!("{} {told}", reply.status));
    }
    let frames = reply.parts();
    let frames = frames.iter().flat_map(|frame| form.by_pixel(&frame.body));
    Ok(digest(&frames.collect::<Vec<u8>>()))
}

#[test]
fn all_frames_of_every_picture_have_the_pixels_of_the_manifest() {
    let Some(data) = workspace::test_data() else {
        return;
    };
    let (rounds, digests) = pictures(&data);
    let (mut equal, mut others) = (0, BTreeMap::new());
    for samples in &rounds {
        let server = open_server();
        fill(&server, &data, samples);
        for sample in samples {
            let found = digest_of_frames(&server, sample);
            if found.as_ref() == Ok(&digests[&sample.name]) {
                equal += 1;
            } else {
                let told = found.err().unwrap_or_else(|| "other pixels".to_owned());
                others.insert(sample.name.as_str(), told);
            }
        }
    }
    let known = OTHER_PIXELS.iter();
    let known = known.map(|(name, _why)| (*name, "other pixels".to_owned()));
    assert_eq!(others, known.collect());
    assert!(equal + OTHER_PIXELS.len() >= PICTURES_MIN, "{equal}");
}
