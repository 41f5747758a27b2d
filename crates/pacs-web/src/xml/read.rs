//! Documents of the Native DICOM Model, read.

use super::value::{COMPONENTS, GROUPS};
use crate::described::{Described, DescribedAttribute, DescribedValue};
use crate::json::base64;
use crate::limits::ModelLimits;
use pacs_core::tag::{tags, vr_of};
use pacs_core::xml::{Broken, Token, Tokens};
use pacs_core::{Tag, Vr};
use std::borrow::Cow;

/// Why a text is no data set in the Native DICOM Model. Shows nothing of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the XML of a data set is refused: {reason}")]
pub struct XmlError {
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("an InlineBinary is no base64")]
    Base64,
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("a value holds what separates values")]
    Delimiter,
    #[error("values or items are not numbered from 1 on")]
    Number,
    #[error("{0} stands twice")]
    Twice(Tag),
    #[error("a DicomAttribute has no tag, or one that no data set has")]
    Tag,
    #[error("it holds too much")]
    TooMuch,
    #[error("an element or a text stands where the model has none")]
    Unexpected,
    #[error("a DicomAttribute has a VR that there is not")]
    Vr,
}

impl XmlError {
    /// Whether the text is no XML (as far as it was read), or holds what of it is never taken.
    #[must_use]
    pub const fn is_no_xml(&self) -> bool {
        matches!(self.reason, Reason::Broken(_))
    }

    /// Whether it holds more than the limits allow.
    #[must_use]
    pub const fn is_too_much(&self) -> bool {
        matches!(self.reason, Reason::TooMuch)
    }
}

impl<R: Into<Reason>> From<R> for XmlError {
    fn from(reason: R) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Reads one document: no recursion, and no more of it than `limits` allow.
///
/// # Errors
/// [`XmlError`].
pub fn read(text: &[u8], limits: &ModelLimits) -> Result<Described, XmlError> {
    if text.len() > limits.bytes_max {
        return Err(Reason::TooMuch.into());
    }
    let text = str::from_utf8(text).map_err(|_| Broken::Malformed)?;
    let mut tokens = Tokens::new(text);
    let mut reader = Reader {
        limits,
        open: Vec::new(),
        depth: 0,
        elements_count: 0,
        whole: None,
    };
    while let Some(token) = tokens.next()? {
        match token {
            Token::Start {
                name,
                attributes,
                is_empty,
            } => {
                reader.start(name, &attributes)?;
                if is_empty {
                    reader.end(name)?;
                }
            }
            Token::End(name) => reader.end(name)?,
            Token::Text(text) => reader.text(&text)?,
        }
    }
    Ok(reader.whole.ok_or(Broken::Malformed)?)
}

/// An element that is open.
#[derive(Debug)]
enum Open {
    Attribute(Attribute),
    BulkData,
    Component(usize, String),
    /// The document, or an item.
    DataSet(Described),
    Group(usize, [String; COMPONENTS.len()]),
    InlineBinary(String),
    PersonName([String; GROUPS.len()]),
    Value(String),
}

#[derive(Debug)]
struct Attribute {
    tag: Tag,
    vr: Vr,
    /// Of a private one whose block is not said.
    creator: Option<String>,
    /// What it holds so far, of one kind.
    value: Option<DescribedValue>,
    count: usize,
}

struct Reader<'l> {
    limits: &'l ModelLimits,
    open: Vec<Open>,
    /// Items that are open.
    depth: usize,
    elements_count: usize,
    whole: Option<Described>,
}

type XmlAttributes<'t> = [(&'t str, Cow<'t, str>)];

fn of<'t>(attributes: &'t XmlAttributes<'_>, name: &str) -> Option<&'t str> {
    let found = attributes.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| &**value)
}

impl Reader<'_> {
    fn start(&mut self, name: &str, attributes: &XmlAttributes<'_>) -> Result<(), Reason> {
        self.elements_count = self.elements_count.saturating_add(1);
        if self.elements_count > self.limits.elements_max {
            return Err(Reason::TooMuch);
        }
        let opened = match self.open.last_mut() {
            None if self.whole.is_none() && name == "NativeDicomModel" => {
                Open::DataSet(Described::new())
            }
            Some(Open::DataSet(_)) if name == "DicomAttribute" => {
                Open::Attribute(Attribute::new(attributes)?)
            }
            Some(Open::Attribute(attribute)) => {
                let opened = attribute.start(name, attributes)?;
                if matches!(opened, Open::DataSet(_)) {
                    self.depth = self.depth.saturating_add(1);
                }
                opened
            }
            Some(Open::PersonName(_)) => {
                let at = GROUPS.iter().position(|group| *group == name);
                Open::Group(at.ok_or(Reason::Unexpected)?, Default::default())
            }
            Some(Open::Group(..)) => {
                let at = COMPONENTS.iter().position(|component| *component == name);
                Open::Component(at.ok_or(Reason::Unexpected)?, String::new())
            }
            _ => return Err(Reason::Unexpected),
        };
        if self.depth > self.limits.depth_max {
            return Err(Reason::TooMuch);
        }
        self.open.push(opened);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Reason> {
        match self.open.last_mut() {
            Some(Open::Component(_, held) | Open::InlineBinary(held) | Open::Value(held)) => {
                held.push_str(text);
                Ok(())
            }
            _ if text.trim_matches([' ', '\t', '\n', '\r']).is_empty() => Ok(()),
            _ => Err(Reason::Unexpected),
        }
    }

    fn end(&mut self, name: &str) -> Result<(), Reason> {
        let ended = self.open.pop().ok_or(Broken::Malformed)?;
        if ended.name(self.open.is_empty()) != name {
            return Err(Broken::Malformed.into());
        }
        match (ended, self.open.last_mut()) {
            (Open::DataSet(data_set), None) => self.whole = Some(data_set),
            (Open::Attribute(attribute), Some(Open::DataSet(data_set))) => {
                attribute.put(data_set)?;
            }
            (Open::Component(at, text), Some(Open::Group(_, components))) => {
                // The last one takes what an ill-formed name has behind it.
                let is_last = at.saturating_add(1) == COMPONENTS.len();
                set(components, at, text, if is_last { "\\=" } else { "\\=^" })?;
            }
            (Open::Group(at, components), Some(Open::PersonName(groups))) => {
                let group = components.join("^");
                set(groups, at, group.trim_end_matches('^').to_owned(), "\\=")?;
            }
            (Open::PersonName(groups), Some(Open::Attribute(attribute))) => {
                attribute.add_text(groups.join("=").trim_end_matches('='))?;
            }
            (Open::Value(text), Some(Open::Attribute(attribute))) => attribute.add_text(&text)?,
            (Open::InlineBinary(text), Some(Open::Attribute(attribute))) => {
                let bytes = base64::read(&text).ok_or(Reason::Base64)?;
                attribute.value = Some(DescribedValue::Inline(bytes));
            }
            (Open::DataSet(item), Some(Open::Attribute(attribute))) => {
                self.depth = self.depth.saturating_sub(1);
                match &mut attribute.value {
                    Some(DescribedValue::Items(items)) => items.push(item),
                    _ => return Err(Reason::Unexpected),
                }
            }
            (Open::BulkData, Some(Open::Attribute(_))) => {}
            _ => return Err(Reason::Unexpected),
        }
        Ok(())
    }
}

impl Open {
    /// The name of the element; `is_outermost` is the document.
    fn name(&self, is_outermost: bool) -> &'static str {
        let one_of = |names: &[&'static str], at: usize| names.get(at).copied().unwrap_or_default();
        match self {
            Self::Attribute(_) => "DicomAttribute",
            Self::BulkData => "BulkData",
            Self::Component(at, _) => one_of(&COMPONENTS, *at),
            Self::DataSet(_) if is_outermost => "NativeDicomModel",
            Self::DataSet(_) => "Item",
            Self::Group(at, _) => one_of(&GROUPS, *at),
            Self::InlineBinary(_) => "InlineBinary",
            Self::PersonName(_) => "PersonName",
            Self::Value(_) => "Value",
        }
    }
}

/// Puts `text` in its place, which must be free; it holds none of `delimiters`.
fn set(places: &mut [String], at: usize, text: String, delimiters: &str) -> Result<(), Reason> {
    if text.contains(|c| delimiters.contains(c)) {
        return Err(Reason::Delimiter);
    }
    let place = places.get_mut(at).ok_or(Reason::Unexpected)?;
    if !place.is_empty() {
        return Err(Reason::Unexpected);
    }
    *place = text;
    Ok(())
}

impl Attribute {
    fn new(attributes: &XmlAttributes<'_>) -> Result<Self, Reason> {
        let text = of(attributes, "tag").ok_or(Reason::Tag)?;
        let is_hex = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| is_hex);
        let [g0, g1, e0, e1] = number.ok_or(Reason::Tag)?.to_be_bytes();
        let tag = Tag(u16::from_be_bytes([g0, g1]), u16::from_be_bytes([e0, e1]));
        if tag.group() == 0xFFFE {
            return Err(Reason::Tag);
        }
        let vr = match of(attributes, "vr") {
            Some(vr) => vr.parse().map_err(|_| Reason::Vr)?,
            None => vr_of(tag),
        };
        let is_without_block = tag.group() % 2 == 1 && tag.element() < 0x100;
        let creator = of(attributes, "privateCreator").filter(|_| is_without_block);
        Ok(Self {
            tag,
            vr,
            creator: creator.map(str::to_owned),
            value: None,
            count: 0,
        })
    }

    /// Begins what it holds: values of one kind, numbered from 1 on.
    fn start(&mut self, name: &str, attributes: &XmlAttributes<'_>) -> Result<Open, Reason> {
        let is_sequence = self.vr == Vr::SQ;
        let is_first = self.value.is_none();
        let opened = match name {
            "BulkData" if is_first && !is_sequence => {
                let uri = of(attributes, "uri").or_else(|| of(attributes, "uuid"));
                let uri = uri.ok_or(Reason::Unexpected)?.to_owned();
                self.value = Some(DescribedValue::Bulk(uri));
                return Ok(Open::BulkData);
            }
            "InlineBinary" if is_first && !is_sequence => {
                return Ok(Open::InlineBinary(String::new()));
            }
            "Item" if is_sequence => {
                self.value
                    .get_or_insert_with(|| DescribedValue::Items(Vec::new()));
                Open::DataSet(Described::new())
            }
            "PersonName" if self.vr == Vr::PN => Open::PersonName(Default::default()),
            "Value" if !is_sequence && self.vr != Vr::PN => Open::Value(String::new()),
            _ => return Err(Reason::Unexpected),
        };
        let is_text = !is_sequence && matches!(self.value, None | Some(DescribedValue::Text(_)));
        self.count = self.count.saturating_add(1);
        let number = of(attributes, "number").map(str::parse);
        if number.is_some_and(|number| number != Ok(self.count)) {
            return Err(Reason::Number);
        }
        if is_text || is_sequence {
            Ok(opened)
        } else {
            Err(Reason::Unexpected)
        }
    }

    fn add_text(&mut self, text: &str) -> Result<(), Reason> {
        let is_multi_valued = crate::json::is_multi_valued(self.vr);
        if is_multi_valued && text.contains('\\') || !is_multi_valued && self.count > 1 {
            return Err(Reason::Delimiter);
        }
        match &mut self.value {
            Some(DescribedValue::Text(held)) => {
                held.push('\\');
                held.push_str(text);
            }
            _ => self.value = Some(DescribedValue::Text(text.to_owned())),
        }
        Ok(())
    }

    /// Puts it into `data_set`; of a private one without a block, into that of its creator.
    fn put(self, data_set: &mut Described) -> Result<(), Reason> {
        // PS3.19 A.1.5.2: lengths of groups and padding are not of the model.
        let is_none_of_it = self.tag.element() == 0 && self.creator.is_none()
            || self.tag == tags::DATA_SET_TRAILING_PADDING;
        if is_none_of_it {
            return Ok(());
        }
        let mut tag = self.tag;
        if let Some(creator) = &self.creator {
            let block = block_of(data_set, tag.group(), creator)?;
            tag = Tag(tag.group(), (block << 8) | tag.element());
        }
        let empty = if self.vr == Vr::SQ {
            DescribedValue::Items(Vec::new())
        } else {
            DescribedValue::Text(String::new())
        };
        let is_new = data_set.insert(DescribedAttribute {
            tag,
            vr: self.vr,
            value: self.value.unwrap_or(empty),
        });
        if is_new {
            Ok(())
        } else {
            Err(Reason::Twice(tag))
        }
    }
}

/// The block that `creator` has in a group, or that it gets (PS3.5 7.8.1).
fn block_of(data_set: &mut Described, group: u16, creator: &str) -> Result<u16, Reason> {
    let mut free = None;
    for block in 0x10..=0xFF_u16 {
        match data_set.text(Tag(group, block)) {
            Some(known) if known == creator => return Ok(block),
            None if free.is_none() && data_set.get(Tag(group, block)).is_none() => {
                free = Some(block);
            }
            _ => {}
        }
    }
    let block = free.ok_or(Reason::TooMuch)?;
    data_set.insert(DescribedAttribute {
        tag: Tag(group, block),
        vr: Vr::LO,
        value: DescribedValue::Text(creator.to_owned()),
    });
    Ok(block)
}
