//! The scanner: the gate for every byte from outside.
//!
//! One pass over a data set, without recursion and without copying: every length is checked against
//! the bytes that are there, nesting, elements and bytes are bounded by [`ScanLimits`], and all
//! encodings of PS3.5 are read (implicit, explicit, big endian, deflated, UN of undefined length),
//! with the irregular forms that devices really send.
//!
//! - [`Encoding`]: how a transfer syntax writes its data set.
//! - [`Scanner`]: events with byte ranges over bytes that are all there.
//! - [`WindowedScanner`]: events over bytes of which only a window is here.
//! - [`HeadReader`]: reads the head of an instance from fragments as they arrive.
//! - [`mod@file`]: the DICOM file format around a data set (PS3.10).
//! - [`preamble`]: what may stand before a file and is a program.
//! - [`gate`]: what may be handed to a recursive reader.
//! - [`inflate`]: the deflated data set (PS3.5 A.5), with a cap.

mod collect;
mod dictionary;
mod element;
pub mod file;
pub mod gate;
pub mod head;
mod header;
pub mod inflate;
pub(crate) mod machine;
pub mod preamble;
mod scanner;
pub mod values;
mod windowed;

pub use element::{Element, Event, is_charset_text, is_pixel_data};
pub use head::{HeadReader, HeadState};
pub use scanner::Scanner;
pub use windowed::{Progress, WindowedScanner};

use crate::encode::Layout;
use crate::limits::ScanLimits;
use crate::tag::Tag;
use crate::uid::TransferSyntaxUid;

/// How a transfer syntax writes its data set (PS3.5 annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Explicit VR little endian, deflated as a whole (A.5).
    Deflated,
    /// Explicit VR big endian, retired (A.3).
    ExplicitBigEndian,
    /// Explicit VR little endian (A.2), and every encapsulated syntax (A.4).
    ExplicitLittleEndian,
    /// Implicit VR little endian (A.1).
    ImplicitLittleEndian,
}

impl Encoding {
    /// The encoding that `transfer_syntax` prescribes. Unknown and private ones are taken as
    /// explicit VR little endian, which A.4 demands of every encapsulated syntax.
    #[must_use]
    pub fn of(transfer_syntax: &TransferSyntaxUid) -> Self {
        match transfer_syntax.as_str() {
            // Papyrus 3, retired; the private one is GE's, implicit with big endian pixel data.
            "1.2.840.10008.1.2" | "1.2.840.10008.1.20" | "1.2.840.113619.5.2" => {
                Self::ImplicitLittleEndian
            }
            "1.2.840.10008.1.2.2" => Self::ExplicitBigEndian,
            // Deflated, JPIP Referenced Deflate, JPIP HTJ2K Referenced Deflate.
            "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205" => {
                Self::Deflated
            }
            _ => Self::ExplicitLittleEndian,
        }
    }

    /// How elements are laid out, once a deflated data set is inflated.
    pub(crate) const fn layout(self) -> Layout {
        match self {
            Self::Deflated | Self::ExplicitLittleEndian => Layout::ExplicitLittle,
            Self::ExplicitBigEndian => Layout::ExplicitBig,
            Self::ImplicitLittleEndian => Layout::ImplicitLittle,
        }
    }

    /// How elements are written once a deflated data set is inflated.
    pub(crate) const fn syntax(self) -> Syntax {
        match self {
            Self::Deflated | Self::ExplicitLittleEndian => Syntax::EXPLICIT_LITTLE,
            Self::ExplicitBigEndian => Syntax {
                explicit: true,
                big_endian: true,
            },
            Self::ImplicitLittleEndian => Syntax::IMPLICIT_LITTLE,
        }
    }
}

/// How one level of nesting writes its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) explicit: bool,
    pub(crate) big_endian: bool,
}

impl Syntax {
    pub(crate) const EXPLICIT_LITTLE: Self = Self {
        explicit: true,
        big_endian: false,
    };
    pub(crate) const IMPLICIT_LITTLE: Self = Self {
        explicit: false,
        big_endian: false,
    };

    pub(crate) const fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    pub(crate) const fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    pub(crate) const fn tag(self, [g0, g1, e0, e1]: [u8; 4]) -> Tag {
        Tag(self.u16([g0, g1]), self.u16([e0, e1]))
    }
}

/// Why bytes are not a data set within the limits. Offsets count from the start of the scanned
/// bytes; in a deflated data set, from the start of what it inflates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The deflated stream is broken.
    #[error("deflated data set is broken")]
    Deflate,
    /// More nesting than [`ScanLimits::depth_max`].
    #[error("sequences are nested too deep at offset {offset}")]
    Depth {
        /// Where.
        offset: u64,
    },
    /// More elements than [`ScanLimits::elements_max`].
    #[error("too many elements at offset {offset}")]
    Elements {
        /// Where.
        offset: u64,
    },
    /// More than [`ScanLimits::head_bytes_max`] bytes.
    #[error("attributes are too large at offset {offset}")]
    HeadBytes {
        /// Where.
        offset: u64,
    },
    /// A deflated data set becomes larger than [`ScanLimits`] allow.
    #[error("deflated data set inflates too far")]
    Inflated,
    /// An element, item or fragment claims more bytes than there are.
    #[error("value at offset {offset} is longer than what is left")]
    Overrun {
        /// Where.
        offset: u64,
    },
    /// Something else than an item stands in a sequence, or an item where none may stand.
    #[error("no item or element where one must stand, at offset {offset}")]
    Structure {
        /// Where.
        offset: u64,
    },
    /// The bytes end inside an element's header, or with a sequence that was never closed.
    #[error("data set ends in the middle, at offset {offset}")]
    Truncated {
        /// Where.
        offset: u64,
    },
}

impl ScanError {
    /// Whether the damage can be left behind by going on after the enclosing sequence.
    pub(crate) const fn is_local(self) -> bool {
        matches!(
            self,
            Self::Overrun { .. } | Self::Structure { .. } | Self::Truncated { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding;
    use crate::TransferSyntaxUid;

    #[test]
    fn every_transfer_syntax_of_the_standard_is_read_as_its_name_says() {
        for line in include_str!("../testdata/transfer-syntaxes.tsv")
            .lines()
            .skip(1)
        {
            let mut cells = line.split('\t');
            let (uid, name) = (cells.next().unwrap(), cells.nth(1).unwrap());
            let expected = if name.contains("Implicit") {
                Encoding::ImplicitLittleEndian
            } else if name.contains("Big Endian") {
                Encoding::ExplicitBigEndian
            } else if name.contains("Deflate") && !name.contains("Image Frame") {
                // Of the other one (PS3.5 A.4.13) only frames are deflated.
                Encoding::Deflated
            } else {
                Encoding::ExplicitLittleEndian
            };
            let uid = TransferSyntaxUid::parse(uid).unwrap();
            assert_eq!(Encoding::of(&uid), expected, "{name}");
        }
    }
}
