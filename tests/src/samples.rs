//! Synthetic instances: complete enough for any peer, different in every byte that matters.

use std::path::{Path, PathBuf};

use crate::wire::{Tree, digest, uid};

/// The root below which the tests make UIDs.
const UID_ROOT: &str = "2.25.202611250001";

/// What a synthetic CT slice is made of.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name, in UTF-8.
    pub patient_name: String,
    /// Study Date.
    pub study_date: String,
    /// Study Instance UID.
    pub study: String,
    /// Series Instance UID.
    pub series: String,
    /// SOP Instance UID.
    pub instance: String,
    /// Instance Number.
    pub number: u32,
    /// Image Comments; absent where empty.
    pub comments: String,
    /// Side of the square image in pixels.
    pub side: u16,
    /// Decides the pixels.
    pub seed: u64,
}

impl Slice {
    /// The `number`th slice of the `study`th study, in one series.
    #[must_use]
    pub fn new(study: u32, number: u32) -> Self {
        let study_uid = format!("{UID_ROOT}.{study}");
        Self {
            patient_id: format!("TEST{study:05}"),
            patient_name: format!("Test^Patient{study}"),
            study_date: "20260115".to_owned(),
            series: format!("{study_uid}.1"),
            instance: format!("{study_uid}.1.{number}"),
            study: study_uid,
            number,
            comments: String::new(),
            side: 64,
            seed: u64::from(study) << 32 | u64::from(number),
        }
    }

    /// Whether its pixels are in one of the `packs` of an archive.
    #[must_use]
    pub fn is_in(&self, packs: &[Vec<u8>]) -> bool {
        let data_set = self.data_set();
        let pixels = &data_set[data_set.len() - 256..];
        let mut all = packs.iter().flat_map(|pack| pack.windows(pixels.len()));
        all.any(|window| window == pixels)
    }

    /// Its data set in Explicit VR Little Endian.
    #[must_use]
    pub fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        text(&mut out, 0x0008_0005, "CS", "ISO_IR 192");
        text(&mut out, 0x0008_0016, "UI", uid::CT_IMAGE_STORAGE);
        text(&mut out, 0x0008_0018, "UI", &self.instance);
        text(&mut out, 0x0008_0020, "DA", &self.study_date);
        text(&mut out, 0x0008_0030, "TM", "101112");
        text(&mut out, 0x0008_0050, "SH", "");
        text(&mut out, 0x0008_0060, "CS", "CT");
        text(&mut out, 0x0008_0090, "PN", "");
        text(&mut out, 0x0010_0010, "PN", &self.patient_name);
        text(&mut out, 0x0010_0020, "LO", &self.patient_id);
        text(&mut out, 0x0010_0030, "DA", "19600101");
        text(&mut out, 0x0010_0040, "CS", "O");
        text(&mut out, 0x0020_000D, "UI", &self.study);
        text(&mut out, 0x0020_000E, "UI", &self.series);
        text(&mut out, 0x0020_0010, "SH", "1");
        text(&mut out, 0x0020_0011, "IS", "1");
        text(&mut out, 0x0020_0013, "IS", &self.number.to_string());
        if !self.comments.is_empty() {
            text(&mut out, 0x0020_4000, "LT", &self.comments);
        }
        number(&mut out, 0x0028_0002, 1);
        text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
        number(&mut out, 0x0028_0010, self.side);
        number(&mut out, 0x0028_0011, self.side);
        number(&mut out, 0x0028_0100, 16);
        number(&mut out, 0x0028_0101, 16);
        number(&mut out, 0x0028_0102, 15);
        number(&mut out, 0x0028_0103, 1);
        pixels(&mut out, usize::from(self.side).pow(2) * 2, self.seed);
        out
    }

    /// It as a Part 10 file.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let instance = (uid::CT_IMAGE_STORAGE, self.instance.as_str());
        part10(instance, uid::EXPLICIT_LITTLE_ENDIAN, &self.data_set())
    }
}

/// A Part 10 file around `data_set` (PS3.10 7.1).
#[must_use]
pub fn part10(
    (class, instance): (&str, &(impl AsRef<[u8]> + ?Sized)),
    syntax: &str,
    data_set: &[u8],
) -> Vec<u8> {
    let mut meta = Vec::new();
    long(&mut meta, 0x0002_0001, "OB", &[0, 1]);
    text(&mut meta, 0x0002_0002, "UI", class);
    text(&mut meta, 0x0002_0003, "UI", instance);
    text(&mut meta, 0x0002_0010, "UI", syntax);
    text(&mut meta, 0x0002_0012, "UI", UID_ROOT);
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let length = u32::try_from(meta.len()).expect("short").to_le_bytes();
    short(&mut file, 0x0002_0000, "UL", &length);
    file.extend_from_slice(&meta);
    file.extend_from_slice(data_set);
    file
}

/// Writes the first `count` slices of the `study`th study into `folder` as files.
///
/// # Panics
/// When the folder cannot be written.
#[must_use]
pub fn write_study(folder: &Path, study: u32, count: u32) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).expect("a folder");
    (1..=count)
        .map(|number| {
            let path = folder.join(format!("{study}-{number:04}.dcm"));
            std::fs::write(&path, Slice::new(study, number).file()).expect("a file");
            path
        })
        .collect()
}

/// The SOP Class of rejection notes: Key Object Selection Document Storage.
pub const KEY_OBJECTS: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// A note `instance` by which a device says that CT images of a series are "Rejected for Quality
/// Reasons" (IHE RAD TF-3 4.66, IOCM); of nobody so far.
#[must_use]
pub fn rejection_note(instance: &str, (study, series): (&str, &str), images: &[&str]) -> Tree {
    let title = Tree::default()
        .text(0x0008_0100, "SH", "113001")
        .text(0x0008_0102, "SH", "DCM")
        .text(0x0008_0104, "LO", "Rejected for Quality Reasons");
    let images = images.iter().map(|image| {
        Tree::default()
            .text(0x0008_1150, "UI", uid::CT_IMAGE_STORAGE)
            .text(0x0008_1155, "UI", image)
    });
    let of_series =
        Tree::default()
            .items(0x0008_1199, images.collect())
            .text(0x0020_000E, "UI", series);
    let of_study =
        Tree::default()
            .items(0x0008_1115, vec![of_series])
            .text(0x0020_000D, "UI", study);
    Tree::default()
        .text(0x0008_0016, "UI", KEY_OBJECTS)
        .text(0x0008_0018, "UI", instance)
        .text(0x0008_0060, "CS", "KO")
        .text(0x0020_000D, "UI", study)
        .text(0x0020_000E, "UI", &format!("{study}.77"))
        .items(0x0040_A043, vec![title])
        .items(0x0040_A375, vec![of_study])
}

/// Appends one element with a two byte length.
pub fn short(out: &mut Vec<u8>, tag: u32, vr: &str, value: &[u8]) {
    head(out, tag, vr);
    out.extend_from_slice(&u16::try_from(value.len()).expect("short").to_le_bytes());
    out.extend_from_slice(value);
}

/// Appends one element with a four byte length.
pub fn long(out: &mut Vec<u8>, tag: u32, vr: &str, value: &[u8]) {
    head(out, tag, vr);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&u32::try_from(value.len()).expect("short").to_le_bytes());
    out.extend_from_slice(value);
}

/// Appends one text element, padded to even length.
pub fn text(out: &mut Vec<u8>, tag: u32, vr: &str, value: &(impl AsRef<[u8]> + ?Sized)) {
    let mut bytes = value.as_ref().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if vr == "UI" { 0 } else { b' ' });
    }
    short(out, tag, vr, &bytes);
}

/// Appends one element of one US.
pub fn number(out: &mut Vec<u8>, tag: u32, value: u16) {
    short(out, tag, "US", &value.to_le_bytes());
}

fn pixels(out: &mut Vec<u8>, length: usize, seed: u64) {
    let mut random = Random::new(seed);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.number().to_le_bytes())
        .take(length.div_ceil(8))
        .flatten()
        .take(length)
        .collect();
    long(out, 0x7FE0_0010, "OW", &bytes);
}

fn head(out: &mut Vec<u8>, tag: u32, vr: &str) {
    let [a, b, c, d] = tag.to_be_bytes();
    out.extend_from_slice(&[b, a, d, c]);
    out.extend_from_slice(vr.as_bytes());
}

/// The digests of the data sets of the first `count` slices of `study`, sorted.
#[must_use]
pub fn digests_sent(study: u32, count: u32) -> Vec<String> {
    let mut digests: Vec<String> = (1..=count)
        .map(|number| digest(&Slice::new(study, number).data_set()))
        .collect();
    digests.sort();
    digests
}

/// A small generator of repeatable random numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that gives the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}

/// `depth` sequences of undefined length nested in one another (0040,A730), for the end of a data
/// set.
#[must_use]
pub fn nested(depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..depth {
        head(&mut out, 0x0040_A730, "SQ");
        out.extend_from_slice(&[0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    for _ in 0..depth {
        out.extend_from_slice(&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
        out.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
    out
}
