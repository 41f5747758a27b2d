//! Images as consoles make them.

use super::people::below;
use super::plan::Kind;
use crate::samples::Random;
use crate::wire::{Tree, digest};

/// What a console writes of a patient and an order.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Specific Character Set; none is ASCII.
    pub charset: Option<&'static str>,
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name.
    pub name: String,
    /// Patient's Birth Date, such as `19600131`.
    pub birth_date: String,
    /// Patient's Sex.
    pub sex: String,
    /// Patient Comments.
    pub comments: String,
    /// Accession Number.
    pub accession: String,
    /// Study ID.
    pub study_id: String,
    /// Study Date and Study Time.
    pub made_at: (String, String),
    /// Requested Procedure ID and Scheduled Procedure Step ID; nothing where both are empty.
    pub request: (String, String),
}

/// Tags that are named more than once.
pub mod tag {
    /// Accession Number.
    pub const ACCESSION: u32 = 0x0008_0050;
    /// Patient's Name.
    pub const NAME: u32 = 0x0010_0010;
    /// Patient ID.
    pub const PATIENT_ID: u32 = 0x0010_0020;
    /// Study Instance UID.
    pub const STUDY: u32 = 0x0020_000D;
    /// Request Attributes Sequence.
    pub const REQUEST: u32 = 0x0040_0275;
    /// Original Attributes Sequence.
    pub const ORIGINAL: u32 = 0x0400_0561;
    /// Modified Attributes Sequence.
    pub const MODIFIED: u32 = 0x0400_0550;
    /// Pixel Data.
    pub const PIXELS: u32 = 0x7FE0_0010;
}

/// An image, as it is sent.
#[derive(Clone, Debug)]
pub struct Image {
    /// SOP Class UID.
    pub class: &'static str,
    /// SOP Instance UID.
    pub instance: String,
    /// Series Instance UID.
    pub series: String,
    /// The data set in Explicit VR Little Endian.
    pub data_set: Vec<u8>,
    /// Its SHA-256.
    pub digest: String,
}

/// A UID that nobody else has.
pub fn new_uid(random: &mut Random) -> String {
    let number = u128::from(random.number()) << 64 | u128::from(random.number());
    format!("2.25.{number}")
}

/// The `number`th image of a series.
#[must_use]
pub fn image(
    random: &mut Random,
    kind: Kind,
    header: &Header,
    (study, series, number): (&str, &str, usize),
) -> Image {
    let instance = new_uid(random);
    with_uid(random, kind, header, (study, series, number), instance)
}

/// The same under a given UID.
#[must_use]
pub fn with_uid(
    random: &mut Random,
    kind: Kind,
    header: &Header,
    (study, series, number): (&str, &str, usize),
    instance: String,
) -> Image {
    let side = u16::try_from(8 + 8 * below(random, 5)).expect("small");
    let pixels: Vec<u8> = std::iter::repeat_with(|| random.number().to_le_bytes())
        .take(usize::from(side).pow(2) / 4)
        .flatten()
        .collect();
    let mut tree = Tree::default();
    if let Some(charset) = header.charset {
        tree = tree.text(0x0008_0005, "CS", charset);
    }
    if !header.comments.is_empty() {
        tree = tree.text(0x0010_4000, "LT", &header.comments);
    }
    if header.request != Default::default() {
        let item = Tree::default()
            .text(0x0040_1001, "SH", &header.request.0)
            .text(0x0040_0009, "SH", &header.request.1);
        tree = tree.items(tag::REQUEST, vec![item]);
    }
    let tree = tree
        .text(0x0008_0016, "UI", kind.class())
        .text(0x0008_0018, "UI", &instance)
        .text(0x0008_0020, "DA", &header.made_at.0)
        .text(0x0008_0030, "TM", &header.made_at.1)
        .text(tag::ACCESSION, "SH", &header.accession)
        .text(0x0008_0060, "CS", kind.modality())
        .text(0x0008_0070, "LO", "Maker of devices")
        .text(0x0008_0090, "PN", "")
        .text(tag::NAME, "PN", &header.name)
        .text(tag::PATIENT_ID, "LO", &header.patient_id)
        .text(0x0010_0030, "DA", &header.birth_date)
        .text(0x0010_0040, "CS", &header.sex)
        .text(tag::STUDY, "UI", study)
        .text(0x0020_000E, "UI", series)
        .text(0x0020_0010, "SH", &header.study_id)
        .text(0x0020_0011, "IS", "1")
        .text(0x0020_0013, "IS", &number.to_string())
        .number(0x0028_0002, 1)
        .text(0x0028_0004, "CS", "MONOCHROME2")
        .number(0x0028_0010, side)
        .number(0x0028_0011, side)
        .number(0x0028_0100, 16)
        .number(0x0028_0101, 16)
        .number(0x0028_0102, 15)
        .number(0x0028_0103, 0)
        .bytes(tag::PIXELS, "OW", pixels);
    let data_set = tree.encode();
    Image {
        class: kind.class(),
        digest: digest(&data_set),
        series: series.to_owned(),
        instance,
        data_set,
    }
}
