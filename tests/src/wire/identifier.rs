//! Query identifiers (PS3.4 C.1.1): flat, in Implicit VR Little Endian.

use std::collections::BTreeMap;

/// Keys of a query, written in tag order.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    elements: BTreeMap<u32, Vec<u8>>,
}

/// Tags the tests use.
pub mod tag {
    /// Query/Retrieve Level.
    pub const LEVEL: u32 = 0x0008_0052;
    /// SOP Class UID.
    pub const SOP_CLASS: u32 = 0x0008_0016;
    /// SOP Instance UID.
    pub const SOP_INSTANCE: u32 = 0x0008_0018;
    /// Failed SOP Instance UID List.
    pub const FAILED_INSTANCES: u32 = 0x0008_0058;
    /// Study Date.
    pub const STUDY_DATE: u32 = 0x0008_0020;
    /// Patient's Name.
    pub const PATIENT_NAME: u32 = 0x0010_0010;
    /// Patient ID.
    pub const PATIENT_ID: u32 = 0x0010_0020;
    /// Study Instance UID.
    pub const STUDY: u32 = 0x0020_000D;
    /// Series Instance UID.
    pub const SERIES: u32 = 0x0020_000E;
    /// Image Comments.
    pub const IMAGE_COMMENTS: u32 = 0x0020_4000;
}

impl Keys {
    /// Keys at `level`: PATIENT, STUDY, SERIES or IMAGE.
    #[must_use]
    pub fn at(level: &str) -> Self {
        Self::default().with(tag::LEVEL, level)
    }

    /// One instance, by the unique keys of every level above it.
    #[must_use]
    pub fn instance(study: &str, series: &str, instance: &str) -> Self {
        Self::at("IMAGE")
            .with(tag::STUDY, study)
            .with(tag::SERIES, series)
            .with(tag::SOP_INSTANCE, instance)
    }

    /// Adds a key; an empty value matches everything and asks for the attribute.
    #[must_use]
    pub fn with(mut self, tag: u32, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            let is_uid = matches!(
                tag,
                tag::SOP_CLASS | tag::SOP_INSTANCE | tag::STUDY | tag::SERIES
            );
            bytes.push(if is_uid { 0 } else { b' ' });
        }
        self.elements.insert(tag, bytes);
        self
    }

    /// The identifier as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, value) in &self.elements {
            push(&mut out, *tag, value);
        }
        out
    }
}

/// Appends one element in Implicit VR Little Endian.
pub fn push(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    let [a, b, c, d] = tag.to_be_bytes();
    out.extend_from_slice(&[b, a, d, c]);
    out.extend_from_slice(&u32::try_from(value.len()).expect("short").to_le_bytes());
    out.extend_from_slice(value);
}

/// One identifier of an answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    elements: BTreeMap<u32, Vec<u8>>,
}

impl Answer {
    /// Reads a flat identifier; a sequence of undefined length ends the reading.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Self {
        let mut answer = Self::default();
        while let Some(head) = bytes.get(..8) {
            let group = u32::from(u16::from_le_bytes([head[0], head[1]]));
            let element = u32::from(u16::from_le_bytes([head[2], head[3]]));
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let Some(value) = bytes.get(8..8usize.saturating_add(length)) else {
                break;
            };
            answer
                .elements
                .insert(group << 16 | element, value.to_vec());
            bytes = &bytes[8 + length..];
        }
        answer
    }

    /// A text value without its padding; empty when it is absent.
    #[must_use]
    pub fn text(&self, tag: u32) -> String {
        self.elements.get(&tag).map_or_else(String::new, |value| {
            String::from_utf8_lossy(value)
                .trim_end_matches(['\0', ' '])
                .to_owned()
        })
    }
}
