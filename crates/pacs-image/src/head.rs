//! The head of a stored data set as a tree: what is needed to render it, and what reports say.
//!
//! The scanner of pacs-core reads it, with its bounds; values stay where they are. Of the items of
//! Per-frame Functional Groups Sequence only the one of the frame that is rendered is kept.

use crate::limits::RenderLimits;
use pacs_core::TransferSyntaxUid;
use pacs_core::charset::CharacterSets;
use pacs_core::convert::{Photometric, PixelForm};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::values::{numbers, unpadded};
use pacs_core::scan::{Element, Encoding, Event, ScanError, Scanner};
use pacs_core::tag::tags;
use pacs_core::{Tag, Vr};
use std::borrow::Cow;
use std::ops::Range;

/// Numbers of one value that are looked at; tables are read as bytes.
const NUMBERS_MAX: usize = 4096;

/// Bytes of a value that are looked at, but for text without a bound of its own: no other VR that
/// is shown has a longer one in an explicit VR (PS3.5 7.1.2). Whole numbers of any size.
const VALUE_BYTES_MAX: usize = 65_528;

/// A data set up to its pixel data.
pub struct Head {
    bytes: Vec<u8>,
    root: Item,
    end: u64,
    encoding: Encoding,
}

/// Shows no values.
impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Item {
    elements: Vec<(Tag, Content)>,
}

enum Content {
    Items(Vec<Item>),
    Value {
        vr: Vr,
        is_signed: Option<bool>,
        range: Range<u64>,
        big_endian: bool,
    },
}

/// Why a head is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// It is no data set.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// More elements than [`RenderLimits::head_elements_max`].
    #[error("more than {limit} elements")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl Head {
    /// Reads a data set in `transfer_syntax` (inflated, if that is a deflated one) up to its pixel
    /// data; `bytes` may end there. `frame` is the one, from 1 on, of which the functional groups
    /// are kept.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn read(
        bytes: Vec<u8>,
        transfer_syntax: &TransferSyntaxUid,
        frame: u32,
        limits: &RenderLimits,
    ) -> Result<Self, HeadError> {
        let mut encoding = Encoding::of(transfer_syntax);
        if encoding == Encoding::Deflated {
            encoding = Encoding::ExplicitLittleEndian;
        }
        let mut scanner = Scanner::of_head(&bytes, encoding, &ScanLimits::default());
        let mut tree = Tree::new(frame, limits.head_elements_max);
        for event in scanner.by_ref() {
            tree.take(event?)?;
        }
        let end = scanner.head_end().unwrap_or(0);
        let root = tree.finish();
        Ok(Self {
            bytes,
            root,
            end,
            encoding,
        })
    }

    /// Keeps the functional groups of another frame instead.
    ///
    /// # Errors
    /// As [`Self::read`]; it holds nothing then.
    pub fn turn_to(
        &mut self,
        transfer_syntax: &TransferSyntaxUid,
        frame: u32,
        limits: &RenderLimits,
    ) -> Result<(), HeadError> {
        let groups = tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE;
        if self.root.get(groups).is_some() {
            let bytes = std::mem::take(&mut self.bytes);
            self.root = Item::default();
            *self = Self::read(bytes, transfer_syntax, frame, limits)?;
        }
        Ok(())
    }

    /// The data set itself.
    #[must_use]
    pub const fn root(&self) -> DataSet<'_> {
        DataSet {
            head: self,
            item: &self.root,
            outer: None,
        }
    }

    /// The bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the pixel data begins, or the end.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The form of its pixel data (PS3.3 C.7.6.3); `None` where it is not told.
    #[must_use]
    pub fn pixel_form(&self) -> Option<PixelForm> {
        let root = self.root();
        let short = |tag| {
            let number = root.number(tag)?;
            (0.0..=65535.0).contains(&number).then(|| whole(number))
        };
        let bits_allocated = short(tags::BITS_ALLOCATED)?;
        let samples_per_pixel = short(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let stored = short(tags::BITS_STORED).filter(|bits| (1..=bits_allocated).contains(bits));
        let photometric = root.value(tags::PHOTOMETRIC_INTERPRETATION);
        let photometric = Photometric::of(photometric.unwrap_or_default());
        let frames = root.number(tags::NUMBER_OF_FRAMES);
        let frames = frames.filter(|count| (1.0..=4e9).contains(count));
        Some(PixelForm {
            rows: short(tags::ROWS)?,
            columns: short(tags::COLUMNS)?,
            samples_per_pixel,
            bits_allocated,
            bits_stored: stored.unwrap_or(bits_allocated),
            is_signed: short(tags::PIXEL_REPRESENTATION) == Some(1),
            photometric,
            is_planar: samples_per_pixel > 1 && short(tags::PLANAR_CONFIGURATION) == Some(1),
            is_subsampled: samples_per_pixel == 3 && photometric.is_subsampled(),
            frames: frames.map_or(1, frames_of),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the caller has checked the range"
)]
const fn whole(number: f64) -> u16 {
    number as u16
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the caller has checked the range"
)]
const fn frames_of(number: f64) -> u32 {
    number as u32
}

/// What was gathered so far.
struct Tree {
    current: Item,
    open: Vec<(Tag, Vec<Item>)>,
    outer: Vec<Item>,
    /// Sequences and items that are open and not kept.
    passing_over: usize,
    frame: u32,
    left: usize,
    limit: usize,
}

impl Tree {
    fn new(frame: u32, limit: usize) -> Self {
        Self {
            current: Item::default(),
            open: Vec::new(),
            outer: Vec::new(),
            passing_over: 0,
            frame,
            left: limit,
            limit,
        }
    }

    fn take(&mut self, event: Event) -> Result<(), HeadError> {
        if self.passing_over > 0 {
            match event {
                Event::ItemBegin { .. } | Event::SequenceBegin(_) | Event::FragmentsBegin(_) => {
                    self.passing_over = self.passing_over.saturating_add(1);
                }
                Event::ItemEnd { .. } | Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                    self.passing_over = self.passing_over.saturating_sub(1);
                    if self.passing_over == 0
                        && let Event::ItemEnd { .. } = event
                    {
                        self.place_of_item();
                    }
                }
                Event::Element(_) | Event::Fragment { .. } | Event::Trailing { .. } => {}
            }
            return Ok(());
        }
        match event {
            Event::Element(element) => self.value(&element)?,
            Event::SequenceBegin(element) => {
                self.count()?;
                self.open.push((element.tag, Vec::new()));
            }
            Event::ItemBegin { .. } if self.is_of_other_frame() => self.passing_over = 1,
            Event::ItemBegin { .. } => {
                self.count()?;
                self.outer.push(std::mem::take(&mut self.current));
            }
            Event::ItemEnd { .. } => {
                if let Some(outer) = self.outer.pop() {
                    let item = std::mem::replace(&mut self.current, outer);
                    if let Some((_, items)) = self.open.last_mut() {
                        items.push(item);
                    }
                }
            }
            Event::SequenceEnd { .. } => {
                if let Some((tag, items)) = self.open.pop() {
                    self.current.elements.push((tag, Content::Items(items)));
                }
            }
            Event::FragmentsBegin(_) => self.passing_over = 1,
            Event::Fragment { .. } | Event::FragmentsEnd { .. } | Event::Trailing { .. } => {}
        }
        Ok(())
    }

    /// Whether the item that begins holds functional groups of another frame.
    fn is_of_other_frame(&self) -> bool {
        let wanted = usize::try_from(self.frame).unwrap_or(usize::MAX);
        self.outer.is_empty()
            && self.open.last().is_some_and(|(tag, items)| {
                *tag == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
                    && items.len().saturating_add(1) != wanted
            })
    }

    /// An item that is not kept still counts: the next one has the next number. One that was kept
    /// is followed by no other.
    fn place_of_item(&mut self) {
        if let Some((_, items)) = self.open.last_mut() {
            items.push(Item::default());
        }
    }

    fn value(&mut self, element: &Element) -> Result<(), HeadError> {
        self.count()?;
        let written = element.written_vr;
        let is_told = written == Some(Vr::SS) || written == Some(Vr::US);
        let is_signed = is_told.then_some(written == Some(Vr::SS));
        let content = Content::Value {
            vr: element.vr,
            is_signed,
            range: element.value.clone(),
            big_endian: element.big_endian,
        };
        self.current.elements.push((element.tag, content));
        Ok(())
    }

    fn count(&mut self) -> Result<(), HeadError> {
        let limit = self.limit;
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(HeadError::TooLarge { limit })?;
        Ok(())
    }

    /// What is still open is kept as far as it came.
    fn finish(mut self) -> Item {
        while let Some((tag, mut items)) = self.open.pop() {
            if self.outer.len() > self.open.len()
                && let Some(outer) = self.outer.pop()
            {
                items.push(std::mem::replace(&mut self.current, outer));
            }
            self.current.elements.push((tag, Content::Items(items)));
        }
        self.current
    }
}

impl Item {
    fn get(&self, tag: Tag) -> Option<&Content> {
        // The first counts, as everywhere.
        let mut elements = self.elements.iter();
        elements
            .find(|(known, _)| *known == tag)
            .map(|(_, content)| content)
    }
}

/// A data set, or an item of a sequence.
#[derive(Clone, Copy)]
pub struct DataSet<'h> {
    head: &'h Head,
    item: &'h Item,
    /// Specific Character Set of what is around it.
    outer: Option<&'h [u8]>,
}

/// Shows no values.
impl std::fmt::Debug for DataSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataSet")
            .field("elements", &self.item.elements.len())
            .finish_non_exhaustive()
    }
}

impl<'h> DataSet<'h> {
    /// The bytes of the value of `tag`; `None` where it has none, or is a sequence.
    #[must_use]
    pub fn value(&self, tag: Tag) -> Option<&'h [u8]> {
        match self.item.get(tag)? {
            Content::Value { range, .. } => self.slice(range),
            Content::Items(_) => None,
        }
    }

    fn slice(&self, range: &Range<u64>) -> Option<&'h [u8]> {
        let from = usize::try_from(range.start).ok()?;
        let to = usize::try_from(range.end).ok()?;
        self.head.bytes.get(from..to)
    }

    /// The first `words_max` 16-bit words of the value of `tag`, in the order of this machine.
    #[must_use]
    pub fn words(&self, tag: Tag, words_max: usize) -> Option<Vec<u16>> {
        let Content::Value {
            range, big_endian, ..
        } = self.item.get(tag)?
        else {
            return None;
        };
        let words = self.slice(range)?.as_chunks::<2>().0.iter();
        let words = words.take(words_max);
        Some(if *big_endian {
            words.map(|word| u16::from_be_bytes(*word)).collect()
        } else {
            words.map(|word| u16::from_le_bytes(*word)).collect()
        })
    }

    /// Whether the value of `tag` is signed: as its VR says (SS), or else as `assumed`, where it
    /// is not told.
    #[must_use]
    pub fn is_signed(&self, tag: Tag, assumed: bool) -> bool {
        match self.item.get(tag) {
            Some(Content::Value { is_signed, .. }) => is_signed.unwrap_or(assumed),
            _ => assumed,
        }
    }

    /// The text of `tag`, decoded, without padding; several values stand between backslashes.
    /// Numbers of binary VRs stand in decimal. Empty ones are none. Of values longer than their VR
    /// allows the beginning.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<String> {
        let Content::Value {
            vr,
            range,
            big_endian,
            ..
        } = self.item.get(tag)?
        else {
            return None;
        };
        let mut bytes = self.slice(range)?;
        if !matches!(vr, Vr::UC | Vr::UR | Vr::UT) {
            bytes = bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes);
        }
        if let Some(text) = numbers(*vr, bytes, *big_endian) {
            return Some(text).filter(|text| !text.is_empty());
        }
        let charset = self.value(tags::SPECIFIC_CHARACTER_SET).or(self.outer);
        let charset = charset.map_or(CharacterSets::DEFAULT, CharacterSets::decode_term_list);
        let decoded = charset.decode(*vr, bytes);
        let text: Cow<'_, str> = unpadded(*vr, &decoded.text);
        Some(text.into_owned()).filter(|text| !text.is_empty())
    }

    /// The numbers of `tag`, whatever its VR; no more than some thousand of them.
    #[must_use]
    pub fn numbers(&self, tag: Tag) -> Vec<f64> {
        let text = self.text(tag).unwrap_or_default();
        let values = text.split('\\').take(NUMBERS_MAX);
        let numbers = values.map_while(|value| value.trim().parse::<f64>().ok());
        numbers.filter(|number| number.is_finite()).collect()
    }

    /// The first number of `tag`.
    #[must_use]
    pub fn number(&self, tag: Tag) -> Option<f64> {
        self.numbers(tag).first().copied()
    }

    /// The items of a sequence.
    pub fn items(&self, tag: Tag) -> impl Iterator<Item = Self> + use<'h> {
        let items = match self.item.get(tag) {
            Some(Content::Items(items)) => items.as_slice(),
            _ => &[],
        };
        let head = self.head;
        let outer = self.value(tags::SPECIFIC_CHARACTER_SET).or(self.outer);
        items.iter().map(move |item| DataSet { head, item, outer })
    }

    /// The first item of a sequence.
    #[must_use]
    pub fn first(&self, tag: Tag) -> Option<Self> {
        self.items(tag).next()
    }

    /// Whether there is such an element at all.
    #[must_use]
    pub fn has(&self, tag: Tag) -> bool {
        self.item.get(tag).is_some()
    }

    /// How its data set is encoded.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.head.encoding
    }
}
