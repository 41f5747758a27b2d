//! What the scanner yields: elements, the edges of sequences and items, fragments, with byte
//! ranges.

use crate::tag::{Tag, Vr, tags};
use std::ops::Range;

/// One data element, by where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its tag.
    pub tag: Tag,
    /// Its VR: as written, or as the dictionary has it where the encoding does not say or says UN.
    pub vr: Vr,
    /// The VR that was written, if one was.
    pub written_vr: Option<Vr>,
    /// Where its tag begins.
    pub offset: u64,
    /// Its value. For a sequence or fragments of undefined length: an empty range where they begin.
    pub value: Range<u64>,
    /// Whether its length was given; if not, a delimiter ends it.
    pub length_defined: bool,
    /// Whether numbers in its value are big endian.
    pub big_endian: bool,
}

impl Element {
    /// Bytes of its value, as far as it has one of its own.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.value.end.saturating_sub(self.value.start)
    }
}

/// What the scanner came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An element with a value of its own.
    Element(Element),
    /// A fragment of encapsulated pixel data; the first is the offset table (PS3.5 A.4).
    Fragment {
        /// Where its item tag stands.
        offset: u64,
        /// Its bytes.
        value: Range<u64>,
    },
    /// An element whose value is fragments.
    FragmentsBegin(Element),
    /// The fragments are over.
    FragmentsEnd {
        /// Where the next element stands.
        offset: u64,
        /// Whether a delimiter stood there; without one the pixel data is probably cut.
        closed: bool,
    },
    /// An item of the sequence that was begun last.
    ItemBegin {
        /// Where its item tag stands.
        offset: u64,
        /// Where its first element stands.
        content: u64,
    },
    /// The item is over.
    ItemEnd {
        /// Where its content ended; its delimiter, if any, follows.
        offset: u64,
    },
    /// A sequence; its items follow.
    SequenceBegin(Element),
    /// The sequence is over.
    SequenceEnd {
        /// Where its items ended; its delimiter, if any, follows.
        offset: u64,
    },
    /// Bytes at the end that are no elements: padding, or garbage after the pixel data.
    Trailing {
        /// Where they begin.
        offset: u64,
    },
}

/// Whether `tag` holds pixel data: (7FE0,0008), (7FE0,0009) or (7FE0,0010).
#[must_use]
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(
        tag,
        tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA | tags::PIXEL_DATA
    )
}

/// Whether values of `vr` are text in the character set of the data set (PS3.5 6.1.2.3).
#[must_use]
pub fn is_charset_text(vr: Vr) -> bool {
    matches!(
        vr,
        Vr::LO | Vr::LT | Vr::PN | Vr::SH | Vr::ST | Vr::UC | Vr::UT
    )
}
