//! Writes the DICOMDIR of a file-set: one record for each patient, study, series and instance.
//!
//! What a record must say and an instance does not have is filled in, in the record alone: a
//! running number, a date of 1900, an identifier that says there is none.

use super::keys::{Keys, write_element, write_head};
use super::kind::{self, Kind, NO_DATE, NO_TIME, Need};
use crate::file_id::FileId;
use crate::inspect::DIRECTORY_CLASS;
use crate::limits::COMPONENT_CHARS_MAX;
use pacs_core::scan::file::file_meta;
use pacs_core::tag::{Tag, Vr, tags, vr_of};
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use std::collections::HashMap;

/// What a private record is (0004,1432), for instances of classes that have no type of record.
const PRIVATE_RECORD: &str = "2.25.294619474918371652850927186321070529371";

/// Longest File-set ID (0004,1130), in characters.
const LABEL_CHARS_MAX: usize = 16;

/// Bytes of the head of an item.
const ITEM_HEAD_BYTES: usize = 8;

/// Why a directory cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It would be longer than its offsets can say (4 GiB).
    #[error("directory is longer than 4 GiB")]
    TooLong,
    /// A UID of our own is not one: a fault of this crate.
    #[error("directory cannot be named")]
    Uid,
}

/// An instance of the file-set.
#[derive(Debug)]
pub struct Member<'a> {
    /// Where its file is.
    pub file_id: &'a FileId,
    /// SOP Class UID.
    pub sop_class: &'a SopClassUid,
    /// SOP Instance UID.
    pub sop_instance: &'a SopInstanceUid,
    /// What its data set is in.
    pub transfer_syntax: &'a TransferSyntaxUid,
    /// What it says.
    pub keys: &'a Keys,
}

/// Gathers the records of a directory.
#[derive(Default)]
pub struct DirectoryWriter {
    root: Record,
    /// Where the record of each patient, study and series is, by what identifies it.
    places: HashMap<Vec<u8>, Place>,
    digest: blake3::Hasher,
}

impl std::fmt::Debug for DirectoryWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectoryWriter").finish_non_exhaustive()
    }
}

/// Patient, study and series by number; those that are not of the level are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    patient: usize,
    study: usize,
    series: usize,
}

/// A record with those below it.
#[derive(Default)]
struct Record {
    /// Its elements behind the offsets and the in-use flag, from (0004,1430) on.
    content: Vec<u8>,
    below: Vec<Self>,
}

impl DirectoryWriter {
    /// Of a file-set without instances.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The File ID that the next instance with `keys` may have: folders for patient, study and
    /// series, numbered (PS3.10 8.2).
    #[must_use]
    pub fn next_file_id(&self, keys: &Keys) -> FileId {
        let [patient_key, study_key, series_key] = identities(keys);
        let of = |key: &Vec<u8>| self.places.get(key).copied();
        let patient = of(&patient_key).map_or(self.root.below.len(), |place| place.patient);
        let below = |record: Option<&Record>| record.map_or(0, |record| record.below.len());
        let patient_record = self.root.below.get(patient);
        let study = of(&study_key).map_or(below(patient_record), |place| place.study);
        let study_record = patient_record.and_then(|record| record.below.get(study));
        let series = of(&series_key).map_or(below(study_record), |place| place.series);
        let series_record = study_record.and_then(|record| record.below.get(series));
        let names = [
            ("PT", patient),
            ("ST", study),
            ("SE", series),
            ("IM", below(series_record)),
        ];
        let named = names.map(|(prefix, number)| component(prefix, number.saturating_add(1)));
        FileId::of([&["DICOM".to_owned()], named.as_slice()].concat())
    }

    /// Adds an instance, with the records above it that are not there yet.
    pub fn add(&mut self, member: &Member<'_>) {
        self.digest.update(member.sop_instance.as_str().as_bytes());
        let keys = member.keys;
        let [patient_key, study_key, series_key] = identities(keys);
        let mut place = Place::default();
        place.patient = match self.places.get(&patient_key) {
            Some(known) => known.patient,
            None => {
                let number = self.root.below.len();
                self.root.below.push(patient(keys, number));
                place.patient = number;
                self.places.insert(patient_key, place);
                number
            }
        };
        let Some(patient_record) = self.root.below.get_mut(place.patient) else {
            return;
        };
        place.study = match self.places.get(&study_key) {
            Some(known) => known.study,
            None => {
                let number = patient_record.below.len();
                patient_record.below.push(study(keys, number));
                place.study = number;
                self.places.insert(study_key, place);
                number
            }
        };
        let Some(study_record) = patient_record.below.get_mut(place.study) else {
            return;
        };
        place.series = match self.places.get(&series_key) {
            Some(known) => known.series,
            None => {
                let number = study_record.below.len();
                study_record.below.push(series(keys, number));
                place.series = number;
                self.places.insert(series_key, place);
                number
            }
        };
        if let Some(series_record) = study_record.below.get_mut(place.series) {
            series_record.below.push(instance(member));
        }
    }

    /// The bytes of the file DICOMDIR; `label` becomes the File-set ID, as far as it can.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(self, label: &str) -> Result<Vec<u8>, WriteError> {
        let digest = self.digest.finalize();
        let half = digest.as_bytes().first_chunk().copied();
        let number = u128::from_be_bytes(half.unwrap_or_default());
        let parse_class = SopClassUid::parse(DIRECTORY_CLASS);
        let parse_instance = SopInstanceUid::parse(&format!("2.25.{number}"));
        let parse_syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1");
        let (Ok(class), Ok(instance), Ok(syntax)) = (parse_class, parse_instance, parse_syntax)
        else {
            return Err(WriteError::Uid);
        };
        let mut out = file_meta(&class, &instance, &syntax);
        write_element(&mut out, tags::FILE_SET_ID, Vr::CS, &label_of(label));
        // Behind two offsets, a flag and the head of the sequence.
        let first = out.len().saturating_add(12 + 12 + 10 + 12);
        let mut layout = Layout { next: first };
        let records = layout.place(&self.root.below)?;
        let offset = |record: Option<&Placed<'_>>| record.map_or(0, |record| record.offset);
        let root_first = offset(records.first());
        let root_last = offset(records.last());
        let tag = tags::OFFSET_OF_THE_FIRST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY;
        write_element(&mut out, tag, Vr::UL, &root_first.to_le_bytes());
        let tag = tags::OFFSET_OF_THE_LAST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY;
        write_element(&mut out, tag, Vr::UL, &root_last.to_le_bytes());
        write_element(&mut out, tags::FILE_SET_CONSISTENCY_FLAG, Vr::US, &[0, 0]);
        let length = layout.next.saturating_sub(first);
        let length = u32::try_from(length).map_err(|_| WriteError::TooLong)?;
        write_head(&mut out, tags::DIRECTORY_RECORD_SEQUENCE, Vr::SQ, length);
        debug_assert_eq!(
            out.len(),
            first,
            "the first record stands where it was said to"
        );
        write_records(&mut out, &records);
        Ok(out)
    }
}

/// A record with the offset of its item.
struct Placed<'a> {
    record: &'a Record,
    offset: u32,
    below: Vec<Self>,
}

/// Lays records out one behind the other, those below right behind each.
struct Layout {
    next: usize,
}

impl Layout {
    /// Four levels deep, as records are.
    fn place<'a>(&mut self, records: &'a [Record]) -> Result<Vec<Placed<'a>>, WriteError> {
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let offset = u32::try_from(self.next).map_err(|_| WriteError::TooLong)?;
            self.next = self.next.saturating_add(ITEM_HEAD_BYTES + LINKS_BYTES);
            self.next = self.next.saturating_add(record.content.len());
            placed.push(Placed {
                record,
                offset,
                below: self.place(&record.below)?,
            });
        }
        Ok(placed)
    }
}

/// Bytes of the two offsets and the in-use flag between them.
const LINKS_BYTES: usize = 12 + 10 + 12;

fn write_records(out: &mut Vec<u8>, records: &[Placed<'_>]) {
    let mut records = records.iter().peekable();
    while let Some(placed) = records.next() {
        let next = records.peek().map_or(0, |next| next.offset);
        let lower = placed.below.first().map_or(0, |below| below.offset);
        let length = LINKS_BYTES.saturating_add(placed.record.content.len());
        // Records were laid out within 4 GiB.
        let length = u32::try_from(length).unwrap_or(0);
        out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        out.extend_from_slice(&length.to_le_bytes());
        let tag = tags::OFFSET_OF_THE_NEXT_DIRECTORY_RECORD;
        write_element(out, tag, Vr::UL, &next.to_le_bytes());
        write_element(out, tags::RECORD_IN_USE_FLAG, Vr::US, &[0xFF, 0xFF]);
        let tag = tags::OFFSET_OF_REFERENCED_LOWER_LEVEL_DIRECTORY_ENTITY;
        write_element(out, tag, Vr::UL, &lower.to_le_bytes());
        out.extend_from_slice(&placed.record.content);
        write_records(out, &placed.below);
    }
}

/// What identifies patient, study and series of an instance, each with those above it.
fn identities(keys: &Keys) -> [Vec<u8>; 3] {
    let mut key = Vec::new();
    let mut level = |tags: &[Tag]| {
        for tag in tags {
            let value = keys.identifier(*tag);
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(value);
        }
        key.clone()
    };
    // Patients without ID are told apart by name.
    let patient = if keys.identifier(tags::PATIENT_ID).is_empty() {
        level(&[tags::PATIENT_ID, tags::PATIENT_NAME])
    } else {
        level(&[tags::PATIENT_ID])
    };
    let study = level(&[tags::STUDY_INSTANCE_UID]);
    let series = level(&[tags::SERIES_INSTANCE_UID]);
    [patient, study, series]
}

/// A component of a File ID: a prefix and a number in as many digits as there is room for.
fn component(prefix: &str, number: usize) -> String {
    let width = COMPONENT_CHARS_MAX.saturating_sub(prefix.len());
    format!("{prefix}{number:0width$}")
}

fn label_of(label: &str) -> Vec<u8> {
    let is_good = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
    let upper = label.to_ascii_uppercase();
    let good = upper.chars().filter(is_good).take(LABEL_CHARS_MAX);
    good.collect::<String>().into_bytes()
}

fn patient(keys: &Keys, number: usize) -> Record {
    let id = format!("NO-ID-{}", number.saturating_add(1));
    let mut record = Content::new("PATIENT", keys);
    record.take(tags::PATIENT_NAME, Need::Present);
    record.take_or(tags::PATIENT_ID, &id);
    record.take(tags::PATIENT_BIRTH_DATE, Need::Optional);
    record.take(tags::PATIENT_SEX, Need::Optional);
    record.finish()
}

fn study(keys: &Keys, number: usize) -> Record {
    let mut record = Content::new("STUDY", keys);
    record.take(tags::STUDY_DATE, Need::Required(NO_DATE));
    record.take(tags::STUDY_TIME, Need::Required(NO_TIME));
    record.take(tags::ACCESSION_NUMBER, Need::Present);
    record.take(tags::STUDY_DESCRIPTION, Need::Present);
    record.take(tags::STUDY_INSTANCE_UID, Need::Present);
    record.take_or(tags::STUDY_ID, &number.saturating_add(1).to_string());
    record.finish()
}

fn series(keys: &Keys, number: usize) -> Record {
    let mut record = Content::new("SERIES", keys);
    record.take(tags::MODALITY, Need::Required("OT"));
    record.take(tags::SERIES_DESCRIPTION, Need::Optional);
    record.take(tags::SERIES_INSTANCE_UID, Need::Present);
    record.take_or(tags::SERIES_NUMBER, &number.saturating_add(1).to_string());
    record.finish()
}

fn instance(member: &Member<'_>) -> Record {
    let is_image = member.keys.get(tags::ROWS).is_some();
    let kind: Kind = kind::of(member.sop_class.as_str(), is_image);
    let mut content = Vec::with_capacity(512);
    write_element(
        &mut content,
        tags::DIRECTORY_RECORD_TYPE,
        Vr::CS,
        kind.name.as_bytes(),
    );
    if kind.name == "PRIVATE" {
        let uid = PRIVATE_RECORD.as_bytes();
        write_element(&mut content, tags::PRIVATE_RECORD_UID, Vr::UI, uid);
    }
    let file_id = member.file_id.components().join("\\");
    write_element(
        &mut content,
        tags::REFERENCED_FILE_ID,
        Vr::CS,
        file_id.as_bytes(),
    );
    let uids = [
        (
            tags::REFERENCED_SOP_CLASS_UID_IN_FILE,
            member.sop_class.as_str(),
        ),
        (
            tags::REFERENCED_SOP_INSTANCE_UID_IN_FILE,
            member.sop_instance.as_str(),
        ),
        (
            tags::REFERENCED_TRANSFER_SYNTAX_UID_IN_FILE,
            member.transfer_syntax.as_str(),
        ),
    ];
    for (tag, uid) in uids {
        write_element(&mut content, tag, Vr::UI, uid.as_bytes());
    }
    let mut record = Content {
        keys: member.keys,
        out: content,
    };
    record.take(tags::SPECIFIC_CHARACTER_SET, Need::Optional);
    for (tag, need) in kind.keys {
        record.take(*tag, *need);
    }
    record.finish()
}

/// The content of a record, as it grows.
struct Content<'a> {
    keys: &'a Keys,
    out: Vec<u8>,
}

impl<'a> Content<'a> {
    fn new(kind: &str, keys: &'a Keys) -> Self {
        let mut out = Vec::with_capacity(256);
        write_element(
            &mut out,
            tags::DIRECTORY_RECORD_TYPE,
            Vr::CS,
            kind.as_bytes(),
        );
        let mut content = Self { keys, out };
        content.take(tags::SPECIFIC_CHARACTER_SET, Need::Optional);
        content
    }

    fn take(&mut self, tag: Tag, need: Need) {
        match (self.keys.get(tag), need) {
            (Some((vr, value)), _) => write_element(&mut self.out, tag, vr, value),
            (None, Need::Optional) => {}
            (None, Need::Present) => write_element(&mut self.out, tag, vr_of(tag), &[]),
            (None, Need::Required(text)) => self.fill_in(tag, text),
        }
    }

    fn take_or(&mut self, tag: Tag, text: &str) {
        match self.keys.get(tag) {
            Some((vr, value)) => write_element(&mut self.out, tag, vr, value),
            None => self.fill_in(tag, text),
        }
    }

    fn fill_in(&mut self, tag: Tag, text: &str) {
        let vr = vr_of(tag);
        let number = |text: &str| text.parse::<u32>().unwrap_or(0);
        if vr == Vr::US {
            let number = u16::try_from(number(text)).unwrap_or(0);
            write_element(&mut self.out, tag, vr, &number.to_le_bytes());
        } else if vr == Vr::UL {
            write_element(&mut self.out, tag, vr, &number(text).to_le_bytes());
        } else {
            write_element(&mut self.out, tag, vr, text.as_bytes());
        }
    }

    fn finish(self) -> Record {
        Record {
            content: self.out,
            below: Vec::new(),
        }
    }
}
