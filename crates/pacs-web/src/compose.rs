//! Data sets made of what a client describes: metadata in the DICOM JSON or XML model, and bulk
//! data beside it (PS3.18 10.5.1, F.2; PS3.19 A.1).
//!
//! A description becomes attributes whose values are bytes already, as Explicit VR Little
//! Endian has them; text is UTF-8, and Specific Character Set says so. `layout` puts them and
//! the bulk data in order. Nothing that is named by a URI is ever fetched: a part of the same
//! request holds it, or the instance fails.

mod alone;
pub(crate) mod bulk;
pub(crate) mod json;
pub(crate) mod layout;
pub(crate) mod value;
pub(crate) mod xml;

pub use alone::{ComposeError, file_of_xml, files_of_json};

use crate::json::JsonError;
use crate::xml::XmlError;
use pacs_core::tag::{tags, vr_of};
use pacs_core::{Tag, Vr};
use std::ops::Range;

/// One data set in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it stands.
    pub(crate) text: Range<usize>,
    /// Bytes that it takes in memory to read it, about.
    pub(crate) memory_bytes: u64,
}

/// An attribute that was described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) tag: Tag,
    pub(crate) vr: Vr,
    pub(crate) content: Content,
}

/// What it holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bulk data, by the name of its part.
    Bulk(Box<str>),
    /// The value, little endian and without padding.
    Bytes(Box<[u8]>),
    Items(Vec<Vec<Attribute>>),
}

impl std::fmt::Debug for Content {
    /// Without values: they are of patients.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bulk(_) => f.write_str("Bulk"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Items(items) => f.debug_list().entries(items).finish(),
        }
    }
}

/// A data set that was described, its attributes in the order of their tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) attributes: Vec<Attribute>,
    /// Transfer Syntax UID (0002,0010), where it stands beside them.
    pub(crate) transfer_syntax: Option<String>,
}

/// Why no data set can be made of a description. Values are never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DescribedError {
    #[error("bulk data of {tag} is not among the parts of the request")]
    BulkMissing { tag: Tag },
    #[error("bulk data of {tag} serves another attribute already")]
    BulkTwice { tag: Tag },
    #[error("bulk data of {tag} comes in several parts, and is not compressed pixel data")]
    BulkSeveral { tag: Tag },
    #[error("sequences are nested too deep")]
    Depth,
    #[error("{tag} stands there twice")]
    Double { tag: Tag },
    #[error("there are {parts} frames, and Number of Frames says {frames}")]
    Frames { parts: usize, frames: u64 },
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("{tag} is missing or no UID")]
    Missing { tag: Tag },
    #[error("what stands at byte {offset} is not of the model")]
    Model { offset: usize },
    #[error("pixel data is of a media type or transfer syntax that is not taken")]
    PixelSyntax,
    #[error("no tag stands where one must")]
    Tag,
    #[error("the description is too large")]
    TooLarge,
    #[error("{tag} is too long")]
    TooLong { tag: Tag },
    #[error("the value of {tag} is none of its VR")]
    Value { tag: Tag },
    #[error("{tag} has no VR")]
    Vr { tag: Tag },
    #[error(transparent)]
    Xml(#[from] XmlError),
}

impl Described {
    /// Puts `attributes` in order, and has Specific Character Set say UTF-8 where a text needs it.
    pub(crate) fn new(attributes: Vec<Attribute>) -> Result<Self, DescribedError> {
        let mut described = Self {
            attributes,
            transfer_syntax: None,
        };
        let syntax = described.text(tags::TRANSFER_SYNTAX_UID);
        described.transfer_syntax = syntax.map(str::to_owned);
        // Command and file meta groups are not of the data set.
        described.attributes.retain(|a| a.tag.group() > 0x0003);
        let is_utf_8 = put_in_order(&mut described.attributes, 0)?;
        described.name_character_set(is_utf_8);
        Ok(described)
    }

    fn name_character_set(&mut self, is_utf_8: bool) {
        let tag = tags::SPECIFIC_CHARACTER_SET;
        let at = self.attributes.partition_point(|a| a.tag < tag);
        let named = self.attributes.get_mut(at).filter(|a| a.tag == tag);
        let is_named = named.as_ref().is_some_and(|named| {
            let is_empty = matches!(&named.content, Content::Bytes(bytes) if bytes.is_empty());
            !is_empty
        });
        if !is_utf_8 && !is_named {
            return;
        }
        // JSON and XML are UTF-8, whatever set they say that they came from.
        let utf_8 = Attribute {
            tag,
            vr: Vr::CS,
            content: Content::Bytes(b"ISO_IR 192".as_slice().into()),
        };
        match named {
            Some(named) => *named = utf_8,
            None => self.attributes.insert(at, utf_8),
        }
    }

    /// The attribute `tag` of the data set itself.
    pub(crate) fn get(&self, tag: Tag) -> Option<&Attribute> {
        self.attributes.iter().find(|known| known.tag == tag)
    }

    /// Its text, where it is one.
    pub(crate) fn text(&self, tag: Tag) -> Option<&str> {
        text_of(&self.attributes, tag)
    }
}

/// The text of `tag` among `attributes`, without padding.
pub(crate) fn text_of(attributes: &[Attribute], tag: Tag) -> Option<&str> {
    let found = attributes.iter().find(|known| known.tag == tag)?;
    let Content::Bytes(bytes) = &found.content else {
        return None;
    };
    let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\0']);
    (!text.is_empty()).then_some(text)
}

/// The items of `tag` among `attributes`; none where it is no sequence.
pub(crate) fn items_of(attributes: &[Attribute], tag: Tag) -> &[Vec<Attribute>] {
    let found = attributes.iter().find(|known| known.tag == tag);
    match found.map(|found| &found.content) {
        Some(Content::Items(items)) => items,
        Some(Content::Bulk(_) | Content::Bytes(_)) | None => &[],
    }
}

/// Sorts, and leaves out what a writer makes itself; whether a text is more than ASCII.
fn put_in_order(attributes: &mut Vec<Attribute>, depth: usize) -> Result<bool, DescribedError> {
    let is_item = depth > 0;
    attributes.retain(|a| {
        let is_made = a.tag.element() == 0 || a.tag == tags::DATA_SET_TRAILING_PADDING;
        !(is_made || is_item && a.tag == tags::SPECIFIC_CHARACTER_SET)
    });
    attributes.sort_by_key(|a| a.tag);
    let mut is_utf_8 = false;
    let mut last = None;
    for attribute in attributes {
        let tag = attribute.tag;
        if last.replace(tag) == Some(tag) {
            return Err(DescribedError::Double { tag });
        }
        // Items and their ends are no attributes.
        if tag.group() == 0xFFFE {
            return Err(DescribedError::Tag);
        }
        is_utf_8 |= match &mut attribute.content {
            Content::Items(items) => {
                let mut any = false;
                for item in items {
                    any |= put_in_order(item, depth.saturating_add(1))?;
                }
                any
            }
            Content::Bytes(bytes) => {
                pacs_core::scan::values::is_text(attribute.vr) && !bytes.is_ascii()
            }
            // Long text is UTF-8 like all other, and is not looked at.
            Content::Bulk(_) => pacs_core::scan::is_charset_text(attribute.vr),
        };
    }
    Ok(is_utf_8)
}

/// The VR of `tag`: as it is written, or else as the dictionary has it.
pub(crate) fn vr(tag: Tag, written: Option<&str>) -> Result<Vr, DescribedError> {
    let wrong = DescribedError::Vr { tag };
    if let Some(written) = written {
        let written = written
            .as_bytes()
            .first_chunk::<2>()
            .filter(|_| written.len() == 2);
        return written.and_then(|vr| Vr::from_binary(*vr)).ok_or(wrong);
    }
    let is_private_creator = tag.group() & 1 == 1 && (0x0010..=0x00FF).contains(&tag.element());
    let known = if is_private_creator {
        Vr::LO
    } else {
        vr_of(tag)
    };
    if known == Vr::UN {
        Err(wrong)
    } else {
        Ok(known)
    }
}
