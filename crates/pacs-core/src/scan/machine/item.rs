//! Items of sequences, and fragments of encapsulated pixel data (PS3.5 7.5 and A.4).

use super::{Frame, Kind, Machine, Step};
use crate::scan::ScanError;
use crate::scan::element::Event;
use crate::scan::header::{ITEM, ITEM_END, SEQUENCE_END, UNDEFINED};
use crate::tag::Tag;

impl Machine {
    /// An item, or the end of the sequence.
    pub(super) fn item(&mut self, bytes: &[u8], bound: u64) -> Result<Option<Step>, ScanError> {
        let Some((tag, length)) = self.item_header(bytes) else {
            return self.short(bytes, bound);
        };
        let offset = self.position;
        match tag {
            ITEM => {
                self.count()?;
                let content = offset.saturating_add(8);
                let mut frame = Frame {
                    kind: Kind::Item,
                    defined: length != UNDEFINED,
                    ..self.top
                };
                if frame.defined {
                    frame.bound = content.saturating_add(u64::from(length));
                    if frame.bound > bound {
                        return Err(ScanError::Overrun { offset });
                    }
                }
                self.last_offset = offset;
                self.position = content;
                self.charge(8)?;
                self.open(frame);
                Ok(Some(Step::Event(Event::ItemBegin { offset, content })))
            }
            SEQUENCE_END => {
                let defined = self.top.defined;
                let event = self.close();
                if defined {
                    self.irregular()?;
                    self.position = bound;
                } else {
                    self.skip(8);
                }
                Ok(Some(Step::Event(event)))
            }
            ITEM_END => {
                self.irregular()?;
                self.skip(8);
                Ok(None)
            }
            _ => Err(ScanError::Structure { offset }),
        }
    }

    fn item_header(&self, bytes: &[u8]) -> Option<(Tag, u32)> {
        let [g0, g1, e0, e1, l0, l1, l2, l3] = *bytes.first_chunk::<8>()?;
        let syntax = self.top.syntax;
        Some((syntax.tag([g0, g1, e0, e1]), syntax.u32([l0, l1, l2, l3])))
    }

    /// A fragment, or the end of them.
    pub(super) fn fragment(&mut self, bytes: &[u8], bound: u64) -> Result<Option<Step>, ScanError> {
        let Some((tag, length)) = self.item_header(bytes) else {
            return match self.short(bytes, bound) {
                // The rest is too short to be a fragment: the pixel data was cut.
                Err(_) => {
                    self.irregular()?;
                    let event = self.close();
                    Ok(Some(Step::Event(event)))
                }
                other => other,
            };
        };
        let offset = self.position;
        match tag {
            ITEM if length != UNDEFINED => {
                let start = offset.saturating_add(8);
                let end = start.saturating_add(u64::from(length));
                if end > bound {
                    return Err(ScanError::Overrun { offset });
                }
                self.last_offset = offset;
                self.position = end;
                Ok(Some(Step::Event(Event::Fragment {
                    offset,
                    value: start..end,
                })))
            }
            SEQUENCE_END => {
                let _ = self.close();
                self.skip(8);
                Ok(Some(Step::Event(Event::FragmentsEnd {
                    offset: self.position,
                    closed: true,
                })))
            }
            _ => {
                self.irregular()?;
                let event = self.close();
                Ok(Some(Step::Event(event)))
            }
        }
    }
}
