//! Values of elements: leaves, sequences and fragments.

use super::{Frame, Kind, Machine, Step};
use crate::scan::dictionary::known_vr;
use crate::scan::element::{Element, Event, is_pixel_data};
use crate::scan::header::{Header, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED};
use crate::scan::{ScanError, Syntax};
use crate::tag::Vr;

impl Machine {
    /// The value of an element: a leaf, a sequence or fragments.
    pub(super) fn value(
        &mut self,
        header: Header,
        bytes: &[u8],
        bound: u64,
    ) -> Result<Option<Step>, ScanError> {
        let offset = self.position;
        let start = offset.saturating_add(u64::from(header.size));
        let vr = match header.vr {
            Some(vr) if vr != Vr::UN => vr,
            _ => known_vr(header.tag).unwrap_or(Vr::UN),
        };
        let length_defined = header.length != UNDEFINED;
        let end = if length_defined {
            start.saturating_add(u64::from(header.length))
        } else {
            start
        };
        if end > bound {
            return Err(ScanError::Overrun { offset });
        }
        // The value of an UN is implicit VR little endian whatever is around it (PS3.5 6.2.2).
        let syntax = match header.vr {
            Some(Vr::UN) => Syntax::IMPLICIT_LITTLE,
            None => Syntax {
                explicit: false,
                ..self.top.syntax
            },
            Some(_) => Syntax {
                explicit: true,
                ..self.top.syntax
            },
        };
        let element = Element {
            tag: header.tag,
            vr,
            written_vr: header.vr,
            offset,
            value: start..end,
            length_defined,
            big_endian: syntax.big_endian,
        };
        if !length_defined {
            return self.value_until_delimiter(element, syntax, header.irregular);
        }
        if vr == Vr::SQ {
            let after = bytes.get(usize::from(header.size)..).unwrap_or(&[]);
            let content = Content::of(after, header.length, syntax);
            let all_here = self.short(bytes, bound).is_err();
            return self.sequence_of_known_length(element, content, header.irregular, all_here);
        }
        self.leaf(element, header.irregular)
    }

    fn leaf(&mut self, element: Element, irregular: bool) -> Result<Option<Step>, ScanError> {
        self.count()?;
        if irregular {
            self.irregularities = self.irregularities.saturating_add(1);
        }
        self.last_offset = element.offset;
        self.position = element.value.end;
        let length = usize::try_from(element.length()).unwrap_or(usize::MAX);
        if self.top.kind == Kind::Root && is_pixel_data(element.tag) {
            self.passed_pixel_data = true;
        } else if length < self.limits.bulk_bytes_min {
            self.charge(length)?;
        }
        Ok(Some(Step::Event(Event::Element(element))))
    }

    /// Adds to the bytes of the head.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), ScanError> {
        self.head_bytes = self.head_bytes.saturating_add(bytes);
        if self.head_bytes > self.limits.head_bytes_max {
            return Err(ScanError::HeadBytes {
                offset: self.last_offset,
            });
        }
        Ok(())
    }

    fn value_until_delimiter(
        &mut self,
        element: Element,
        syntax: Syntax,
        irregular: bool,
    ) -> Result<Option<Step>, ScanError> {
        let is_fragments = is_pixel_data(element.tag)
            || matches!(
                element.vr,
                Vr::OB | Vr::OD | Vr::OF | Vr::OL | Vr::OV | Vr::OW
            );
        if !is_fragments {
            let may_have_items = matches!(element.vr, Vr::SQ | Vr::UN);
            return self.sequence(element, syntax, irregular || !may_have_items);
        }
        self.count()?;
        // Undefined lengths of bytes are for pixel data alone (PS3.5 7.1.1 and A.4).
        if irregular || !is_pixel_data(element.tag) {
            self.irregularities = self.irregularities.saturating_add(1);
        }
        if self.top.kind == Kind::Root && is_pixel_data(element.tag) {
            self.passed_pixel_data = true;
        }
        self.last_offset = element.offset;
        self.position = element.value.start;
        self.open(Frame {
            kind: Kind::Fragments,
            bound: self.top.bound,
            defined: false,
            syntax: self.top.syntax,
        });
        Ok(Some(Step::Event(Event::FragmentsBegin(element))))
    }

    fn sequence_of_known_length(
        &mut self,
        mut element: Element,
        content: Content,
        irregular: bool,
        all_here: bool,
    ) -> Result<Option<Step>, ScanError> {
        match content {
            Content::Items(syntax) => self.sequence(element, syntax, irregular),
            Content::Other => {
                element.vr = Vr::UN;
                self.leaf(element, true)
            }
            Content::NotHere => {
                if all_here {
                    Err(ScanError::Overrun {
                        offset: element.offset,
                    })
                } else {
                    Ok(Some(Step::NeedMore))
                }
            }
        }
    }

    fn sequence(
        &mut self,
        element: Element,
        syntax: Syntax,
        irregular: bool,
    ) -> Result<Option<Step>, ScanError> {
        self.count()?;
        if irregular {
            self.irregularities = self.irregularities.saturating_add(1);
        }
        if self.sequences_open >= self.limits.depth_max {
            return Err(ScanError::Depth {
                offset: element.offset,
            });
        }
        self.sequences_open = self.sequences_open.saturating_add(1);
        self.last_offset = element.offset;
        self.position = element.value.start;
        let bound = if element.length_defined {
            element.value.end
        } else {
            self.top.bound
        };
        self.open(Frame {
            kind: Kind::Sequence,
            bound,
            defined: element.length_defined,
            syntax,
        });
        Ok(Some(Step::Event(Event::SequenceBegin(element))))
    }
}

/// What stands where a sequence of known length should have its first item.
enum Content {
    Items(Syntax),
    NotHere,
    Other,
}

impl Content {
    fn of(bytes: &[u8], length: u32, syntax: Syntax) -> Self {
        if length == 0 {
            return Self::Items(syntax);
        }
        if length < 8 {
            // No item fits; what stands behind these bytes is not the sequence's.
            return Self::Other;
        }
        let Some(first) = bytes.first_chunk::<4>() else {
            return Self::NotHere;
        };
        let little = Syntax {
            big_endian: false,
            ..syntax
        };
        if matches!(syntax.tag(*first), ITEM | SEQUENCE_END | ITEM_END) {
            Self::Items(syntax)
        } else if little.tag(*first) == ITEM {
            Self::Items(little)
        } else {
            Self::Other
        }
    }
}
