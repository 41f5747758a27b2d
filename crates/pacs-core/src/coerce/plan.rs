//! Decides what is to be changed in a data set: nothing where it says already what is wanted.

use super::edits::{Edits, Parts, Record, write_nonconforming};
use super::head::Found;
use super::overlay::{Overlay, Wanted};
use super::text::{LONG_CHARS_MAX, SHORT_CHARS_MAX};
use super::tree;
use crate::attributes::{Attribute, Attributes, Value};
use crate::charset::{CharacterSets, Undeclared};
use crate::convert::machinery::Machinery;
use crate::convert::{ConvertError, Progress};
use crate::encode::{Layout, Writer};
use crate::limits::CoerceLimits;
use crate::scan::values::unpadded;
use crate::scan::{Encoding, ScanError};
use crate::tag::{Tag, Vr, tags};
use std::collections::{BTreeMap, VecDeque};

/// The character set of what is written: UTF-8.
const WRITTEN_CHARSET: &str = "ISO_IR 192";

/// A data set of which everything is here that may be changed.
pub(super) struct Data<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    pub(super) found: &'a [Found],
    pub(super) to: Layout,
    pub(super) undeclared: Option<Undeclared>,
    pub(super) limits: CoerceLimits,
}

/// What is to be changed.
pub(super) struct Plan {
    pub(super) edits: Edits,
    /// The attributes that change, the character set left out.
    pub(super) changed: Vec<Tag>,
}

/// Tags that have to be known before anything is decided, in order.
pub(super) fn tags_of(overlay: &Overlay) -> Vec<Tag> {
    let charset = std::iter::once(tags::SPECIFIC_CHARACTER_SET);
    charset.chain(overlay.wanted().keys().copied()).collect()
}

/// What an attribute was.
enum Previous<'a> {
    Absent,
    /// Bytes that may stand under its tag.
    Conforming(&'a Found),
    /// Bytes that may not.
    Nonconforming(&'a [u8]),
}

/// `None` where nothing is to be changed.
pub(super) fn plan(data: &Data<'_>, overlay: &Overlay) -> Result<Option<Plan>, ConvertError> {
    let charset = data.charset();
    let mut changes = BTreeMap::new();
    for (tag, wanted) in overlay.wanted() {
        let found = data.found.iter().find(|found| found.tag == *tag);
        if let Some(previous) = data.changed(*tag, wanted, found, charset)? {
            changes.insert(*tag, (wanted, previous));
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let mut due = VecDeque::new();
    let mut record = Record {
        modified: Vec::new(),
        nonconforming: Vec::new(),
        provenance: Vec::new(),
    };
    data.change_charset(charset, &mut due, &mut record)?;
    for (tag, (wanted, previous)) in &changes {
        due.push_back((*tag, data.encoded(*tag, wanted)?));
        let vr = match wanted {
            Wanted::Fill(vr, _) | Wanted::Set(vr, _) => *vr,
            Wanted::Nothing => Vr::SQ,
        };
        data.record(*tag, vr, previous, &mut record)?;
    }
    let mut writer = Writer::new(&mut record.provenance, data.to);
    for attribute in &overlay.change().attributes() {
        writer.attribute(attribute)?;
    }
    let mut watched = tags_of(overlay);
    watched.push(tags::ORIGINAL_ATTRIBUTES_SEQUENCE);
    let edits = Edits::new(Parts {
        layout: data.to,
        due,
        watched,
        record,
        charset,
        undeclared: data.undeclared,
        limits: data.limits,
    });
    let changed = changes.into_keys().collect();
    Ok(Some(Plan { edits, changed }))
}

impl<'a> Data<'a> {
    fn value(&self, found: &Found) -> &'a [u8] {
        self.bytes.get(found.value.clone()).unwrap_or_default()
    }

    fn whole(&self, found: &Found) -> &'a [u8] {
        self.bytes.get(found.whole.clone()).unwrap_or_default()
    }

    fn charset_found(&self) -> Option<&'a Found> {
        let tag = tags::SPECIFIC_CHARACTER_SET;
        self.found.iter().find(|found| found.tag == tag)
    }

    fn charset(&self) -> CharacterSets {
        self.charset_found()
            .map(|found| CharacterSets::decode_term_list(self.value(found)))
            .unwrap_or_default()
    }

    /// Declares the character set that is written.
    fn change_charset(
        &self,
        charset: CharacterSets,
        due: &mut VecDeque<(Tag, Vec<u8>)>,
        record: &mut Record,
    ) -> Result<(), ConvertError> {
        let tag = tags::SPECIFIC_CHARACTER_SET;
        let found = self.charset_found();
        let previous = found.map(|found| self.value(found));
        let is_written = |value: &[u8]| {
            let text = value.trim_ascii();
            text.strip_suffix(&[0]).unwrap_or(text) == WRITTEN_CHARSET.as_bytes()
        };
        if previous.is_some_and(is_written) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Writer::new(&mut bytes, self.to).text(tag, Vr::CS, WRITTEN_CHARSET)?;
        due.push_back((tag, bytes));
        // In the record it declares what previous values are in; absent there, they are ASCII.
        match (found, previous) {
            (Some(_), Some(value)) if charset.has_unknown_term() || !value.is_ascii() => {
                write_nonconforming(&mut record.nonconforming, self.to, tag, value)?;
            }
            (Some(found), Some(_)) if !found.is_sequence => {
                self.record(tag, Vr::CS, &Previous::Conforming(found), record)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What an attribute was, where that is not what is wanted.
    fn changed(
        &self,
        tag: Tag,
        wanted: &Wanted,
        found: Option<&'a Found>,
        charset: CharacterSets,
    ) -> Result<Option<Previous<'a>>, ScanError> {
        let Some(found) = found else {
            let adds = match wanted {
                Wanted::Fill(_, value) | Wanted::Set(_, value) => !is_empty(value),
                Wanted::Nothing => false,
            };
            return Ok(adds.then_some(Previous::Absent));
        };
        let vr = match wanted {
            Wanted::Fill(vr, _) | Wanted::Set(vr, _) => *vr,
            Wanted::Nothing => crate::tag::vr_of(tag),
        };
        let (is_said, previous) = if found.is_sequence {
            self.compare_sequence(wanted, found, charset)?
        } else {
            self.compare_value(vr, wanted, found, charset)
        };
        Ok((!is_said).then_some(previous))
    }

    fn compare_sequence(
        &self,
        wanted: &Wanted,
        found: &'a Found,
        charset: CharacterSets,
    ) -> Result<(bool, Previous<'a>), ScanError> {
        let whole = self.whole(found);
        let (encoding, limits) = (self.encoding, &self.limits.scan);
        let sequence = tree::read(whole, encoding, charset, self.undeclared, limits)?;
        let is_said = match wanted {
            Wanted::Set(_, Value::Items(items)) => {
                !sequence.is_suspect && covers(&sequence.items, items)
            }
            Wanted::Fill(..) => !sequence.items.is_empty(),
            Wanted::Set(..) | Wanted::Nothing => false,
        };
        let previous = if sequence.is_suspect {
            let items = found.value.start..found.whole.end;
            Previous::Nonconforming(self.bytes.get(items).unwrap_or_default())
        } else {
            Previous::Conforming(found)
        };
        Ok((is_said, previous))
    }

    fn compare_value(
        &self,
        vr: Vr,
        wanted: &Wanted,
        found: &'a Found,
        charset: CharacterSets,
    ) -> (bool, Previous<'a>) {
        let value = self.value(found);
        let decoded = charset.decode_as(vr, value, self.undeclared);
        let text = unpadded(vr, &decoded.text);
        let is_said = match wanted {
            Wanted::Fill(..) => !text.is_empty(),
            Wanted::Nothing => false,
            Wanted::Set(_, Value::Items(items)) => value.is_empty() && items.is_empty(),
            Wanted::Set(_, Value::Suspect(new) | Value::Text(new)) => {
                !decoded.is_suspect && is_same(vr, &text, new)
            }
        };
        let is_bytes = vr == Vr::SQ && !value.is_empty();
        let previous = if decoded.is_suspect || is_bytes || !fits(vr, &text) {
            Previous::Nonconforming(value)
        } else {
            Previous::Conforming(found)
        };
        (is_said, previous)
    }

    /// The new element; nothing where there is to be none.
    fn encoded(&self, tag: Tag, wanted: &Wanted) -> Result<Vec<u8>, ConvertError> {
        let mut bytes = Vec::new();
        if let Wanted::Fill(vr, value) | Wanted::Set(vr, value) = wanted {
            let (vr, value) = (*vr, value.clone());
            let attribute = Attribute { tag, vr, value };
            Writer::new(&mut bytes, self.to).attribute(&attribute)?;
        }
        Ok(bytes)
    }

    /// Notes what an attribute was. One that was absent is there without a value: that it was
    /// changed can be read from the record, too.
    fn record(
        &self,
        tag: Tag,
        vr: Vr,
        previous: &Previous<'_>,
        record: &mut Record,
    ) -> Result<(), ConvertError> {
        let mut writer = Writer::new(&mut record.modified, self.to);
        match previous {
            Previous::Absent => writer.encoded_text(tag, vr, &[])?,
            Previous::Conforming(found) if found.is_sequence => {
                let bytes = self.rewritten(found)?;
                writer.elements(&bytes);
            }
            Previous::Conforming(found) => writer.encoded_text(tag, vr, self.value(found))?,
            Previous::Nonconforming(value) => {
                write_nonconforming(&mut record.nonconforming, self.to, tag, value)?;
            }
        }
        Ok(())
    }

    /// A sequence in the new layout, its texts as they are.
    fn rewritten(&self, found: &Found) -> Result<Vec<u8>, ConvertError> {
        // What is deflated is inflated by now.
        let encoding = if self.encoding == Encoding::Deflated {
            Encoding::ExplicitLittleEndian
        } else {
            self.encoding
        };
        let mut work = Machinery::new(encoding, self.to, None, &self.limits.scan);
        work.push(self.whole(found).to_vec());
        work.end();
        let mut out = Vec::new();
        match work.read(&mut out, usize::MAX)? {
            Progress::Done | Progress::Full => Ok(out),
            Progress::NeedsInput => Err(ConvertError::Damaged { offset: 0 }),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Items(items) => items.is_empty(),
        Value::Suspect(text) | Value::Text(text) => text.is_empty(),
    }
}

/// Whether items say what is wanted: as many, and each with at least those attributes.
fn covers(items: &[Attributes], wanted: &[Attributes]) -> bool {
    let mut pairs = items.iter().zip(wanted);
    items.len() == wanted.len() && pairs.all(|(item, wanted)| says(item, wanted))
}

fn says(item: &Attributes, wanted: &Attributes) -> bool {
    wanted.iter().all(|attribute| match &attribute.value {
        // No deeper than what is wanted, which this program made.
        Value::Items(items) => covers(item.items(attribute.tag), items),
        Value::Suspect(new) | Value::Text(new) => item
            .text(attribute.tag)
            .is_some_and(|text| is_same(attribute.vr, text, new)),
    })
}

/// Whether two values mean the same: empty components at the end of a name mean nothing.
fn is_same(vr: Vr, one: &str, other: &str) -> bool {
    if vr != Vr::PN {
        return one == other;
    }
    let groups = |name: &str| -> Vec<String> {
        let mut groups: Vec<String> = name
            .split('=')
            .map(|group| group.trim_end_matches(['^', ' ']).to_owned())
            .collect();
        while groups.last().is_some_and(String::is_empty) {
            groups.pop();
        }
        groups
    };
    groups(one) == groups(other)
}

/// Whether a value is no longer than its VR permits (PS3.5 6.2).
fn fits(vr: Vr, text: &str) -> bool {
    let within = |chars_max: usize| {
        text.split('\\')
            .all(|value| value.chars().count() <= chars_max)
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other VRs are not those of attributes that are changed"
    )]
    match vr {
        Vr::CS | Vr::DS | Vr::SH => within(SHORT_CHARS_MAX),
        Vr::DA => within(8),
        Vr::LO => within(LONG_CHARS_MAX),
        Vr::PN => text
            .split(['\\', '='])
            .all(|group| group.chars().count() <= LONG_CHARS_MAX),
        _ => true,
    }
}
