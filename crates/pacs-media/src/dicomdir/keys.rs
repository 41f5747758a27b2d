//! What a directory takes from an instance: values as they stand there, in Explicit VR Little
//! Endian.

use super::kind;
use pacs_core::TransferSyntaxUid;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::inflate::Inflater;
use pacs_core::scan::{Element, Encoding, Event, Scanner};
use pacs_core::tag::{Tag, Vr, tags};
use std::collections::BTreeMap;

/// Bytes of a value that a directory takes; longer ones are left out.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// Bytes of a head that is inflated in order to be read.
const HEAD_BYTES_MAX: usize = 64 << 20;

/// What the levels above an instance say.
const LEVELS: [Tag; 15] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
];

/// Values of an instance. `Debug` shows their tags alone: there is a patient in them.
#[derive(Default)]
pub struct Keys {
    values: BTreeMap<Tag, (Vr, Vec<u8>)>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

impl Keys {
    /// Reads what a directory takes from the beginning of a data set, which may end anywhere. What
    /// cannot be read is left out.
    #[must_use]
    pub fn read(head: &[u8], transfer_syntax: &TransferSyntaxUid, limits: &ScanLimits) -> Self {
        let encoding = Encoding::of(transfer_syntax);
        if encoding == Encoding::Deflated {
            return Self::scan(&inflated(head, limits), encoding, limits);
        }
        Self::scan(head, encoding, limits)
    }

    fn scan(head: &[u8], encoding: Encoding, limits: &ScanLimits) -> Self {
        let mut keys = Self::default();
        let mut scanner = Scanner::of_head(head, encoding, limits);
        // The sequence that is being taken: its tag, its bytes, how deep it goes.
        let mut sequence: Option<(Tag, Sequence)> = None;
        let mut depth = 0_usize;
        while let Some(Ok(event)) = scanner.next() {
            if let Some((tag, taken)) = &mut sequence {
                if taken.on(&event, &scanner) {
                    continue;
                }
                if let Some(bytes) = taken.finish() {
                    keys.values.insert(*tag, (Vr::SQ, bytes));
                }
                sequence = None;
                continue;
            }
            match event {
                Event::Element(element) if depth == 0 => keys.element(&element, &scanner),
                Event::SequenceBegin(element) if depth == 0 && is_wanted(element.tag) => {
                    sequence = Some((element.tag, Sequence::default()));
                }
                Event::SequenceBegin(_) | Event::FragmentsBegin(_) => {
                    depth = depth.saturating_add(1);
                }
                Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                    depth = depth.saturating_sub(1);
                }
                Event::Element(_)
                | Event::Fragment { .. }
                | Event::ItemBegin { .. }
                | Event::ItemEnd { .. }
                | Event::Trailing { .. } => {}
            }
        }
        keys
    }

    fn element(&mut self, element: &Element, scanner: &Scanner<'_>) {
        let value = scanner.bytes(&element.value);
        if is_wanted(element.tag) && value.len() <= VALUE_BYTES_MAX {
            let value = little_endian(element, value);
            self.values.insert(element.tag, (element.vr, value));
        }
    }

    /// The bytes of a value, and their VR; `None` where there is none or an empty one.
    pub(super) fn get(&self, tag: Tag) -> Option<(Vr, &[u8])> {
        let (vr, value) = self.values.get(&tag)?;
        let is_empty = value.iter().all(|byte| matches!(byte, b' ' | 0)) && *vr != Vr::US;
        (!is_empty).then_some((*vr, value.as_slice()))
    }

    /// A value as it identifies something: without padding.
    pub(super) fn identifier(&self, tag: Tag) -> &[u8] {
        let value = self.get(tag).map(|(_, value)| value).unwrap_or_default();
        let end = value.iter().rposition(|byte| !matches!(byte, b' ' | 0));
        end.and_then(|end| value.get(..=end)).unwrap_or_default()
    }
}

fn is_wanted(tag: Tag) -> bool {
    LEVELS.contains(&tag) || kind::wanted(tag)
}

fn inflated(head: &[u8], limits: &ScanLimits) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(bytes.len() < HEAD_BYTES_MAX)
    };
    // As much as comes out: the head may have been cut.
    Inflater::new(limits).push(head, &mut sink).ok();
    bytes
}

fn little_endian(element: &Element, value: &[u8]) -> Vec<u8> {
    let width = if matches!(element.vr, Vr::US | Vr::SS | Vr::OW | Vr::AT) {
        2
    } else if matches!(element.vr, Vr::UL | Vr::SL | Vr::FL | Vr::OF | Vr::OL) {
        4
    } else if matches!(element.vr, Vr::FD | Vr::OD | Vr::SV | Vr::UV | Vr::OV) {
        8
    } else {
        1
    };
    if !element.big_endian || width == 1 {
        return value.to_vec();
    }
    value
        .chunks(width)
        .flat_map(|number| number.iter().rev().copied())
        .collect()
}

/// The items of a sequence, as they are written anew.
#[derive(Default)]
struct Sequence {
    out: Vec<u8>,
    depth: usize,
    is_too_long: bool,
}

const ITEM: [u8; 8] = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
const ITEM_END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
const SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

impl Sequence {
    /// Takes an event; `false` once the sequence is over.
    fn on(&mut self, event: &Event, scanner: &Scanner<'_>) -> bool {
        match event {
            Event::Element(element) => {
                let value = little_endian(element, scanner.bytes(&element.value));
                write_element(&mut self.out, element.tag, element.vr, &value);
            }
            Event::SequenceBegin(element) => {
                write_head(&mut self.out, element.tag, Vr::SQ, u32::MAX);
                self.depth = self.depth.saturating_add(1);
            }
            Event::ItemBegin { .. } => self.out.extend_from_slice(&ITEM),
            Event::ItemEnd { .. } => self.out.extend_from_slice(&ITEM_END),
            Event::SequenceEnd { .. } => {
                let Some(depth) = self.depth.checked_sub(1) else {
                    return false;
                };
                self.depth = depth;
                self.out.extend_from_slice(&SEQUENCE_END);
            }
            // No pixel data is wanted.
            Event::FragmentsBegin(_) | Event::FragmentsEnd { .. } | Event::Fragment { .. } => {
                self.is_too_long = true;
            }
            Event::Trailing { .. } => {}
        }
        if self.out.len() > VALUE_BYTES_MAX {
            self.is_too_long = true;
            self.out.clear();
        }
        true
    }

    fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.is_too_long).then(|| std::mem::take(&mut self.out))
    }
}

/// Appends an element with a value of even length.
pub(super) fn write_element(out: &mut Vec<u8>, tag: Tag, vr: Vr, value: &[u8]) {
    let odd = value.len() & 1;
    let length = u32::try_from(value.len().saturating_add(odd)).unwrap_or(u32::MAX);
    write_head(out, tag, vr, length);
    out.extend_from_slice(value);
    if odd == 1 {
        let is_text = !matches!(vr, Vr::UI | Vr::OB | Vr::UN);
        out.push(if is_text { b' ' } else { 0 });
    }
}

/// Appends the head of an element (PS3.5 7.1.2).
pub(super) fn write_head(out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    let is_short = matches!(
        vr,
        Vr::AE
            | Vr::AS
            | Vr::AT
            | Vr::CS
            | Vr::DA
            | Vr::DS
            | Vr::DT
            | Vr::FD
            | Vr::FL
            | Vr::IS
            | Vr::LO
            | Vr::LT
            | Vr::PN
            | Vr::SH
            | Vr::SL
            | Vr::SS
            | Vr::ST
            | Vr::TM
            | Vr::UI
            | Vr::UL
            | Vr::US
    );
    if is_short && let Ok(length) = u16::try_from(length) {
        out.extend_from_slice(&vr.to_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        // What is too long for its VR is of unknown VR (PS3.5 6.2.2).
        let vr = if is_short { Vr::UN } else { vr };
        out.extend_from_slice(&vr.to_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
    }
}
