//! Reads the header of one element, whatever its sender thought of the VR (PS3.5 7.1).

use super::Syntax;
use super::dictionary::known_vr;
use crate::tag::{Tag, Vr};

/// The length that stands for "until the delimiter".
pub(crate) const UNDEFINED: u32 = 0xFFFF_FFFF;

/// The group of items and delimiters (PS3.5 7.5).
pub(crate) const DELIMITER_GROUP: u16 = 0xFFFE;
pub(crate) const ITEM: Tag = Tag(DELIMITER_GROUP, 0xE000);
pub(crate) const ITEM_END: Tag = Tag(DELIMITER_GROUP, 0xE00D);
pub(crate) const SEQUENCE_END: Tag = Tag(DELIMITER_GROUP, 0xE0DD);

/// An element's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) tag: Tag,
    /// As written; `None` where none is.
    pub(crate) vr: Option<Vr>,
    pub(crate) length: u32,
    /// Bytes of the header itself.
    pub(crate) size: u8,
    /// Whether it is not as the syntax demands.
    pub(crate) irregular: bool,
}

/// Reads a header at the start of `bytes`; `None` where it needs more of them. `room` is how many
/// bytes the container has from here, which may be more than are here yet.
pub(crate) fn read(bytes: &[u8], syntax: Syntax, room: u64) -> Option<Header> {
    let first: &[u8; 8] = bytes.first_chunk()?;
    let [g0, g1, e0, e1, v0, v1, l0, l1] = *first;
    let tag = syntax.tag([g0, g1, e0, e1]);
    let implicit = Header {
        tag,
        vr: None,
        length: syntax.u32([v0, v1, l0, l1]),
        size: 8,
        irregular: false,
    };
    if tag.group() == DELIMITER_GROUP {
        return Some(implicit);
    }
    let written = written_vr([v0, v1]);
    if syntax.explicit {
        return match written {
            Some((vr, Form::Short)) => Some(short(tag, Some(vr), syntax.u16([l0, l1]))),
            Some((vr, Form::Long)) => long(bytes, tag, vr, syntax),
            None => unknown_vr(bytes, implicit, syntax),
        };
    }
    let Some((vr, form)) = written else {
        return Some(implicit);
    };
    if !is_explicit_after_all(implicit, vr, form, syntax, bytes, room)? {
        return Some(implicit);
    }
    let header = match form {
        Form::Short => short(tag, Some(vr), syntax.u16([l0, l1])),
        Form::Long => long(bytes, tag, vr, syntax)?,
    };
    Some(Header {
        irregular: true,
        ..header
    })
}

fn short(tag: Tag, vr: Option<Vr>, length: u16) -> Header {
    Header {
        tag,
        vr,
        length: u32::from(length),
        size: 8,
        irregular: false,
    }
}

fn long(bytes: &[u8], tag: Tag, vr: Vr, syntax: Syntax) -> Option<Header> {
    let [_, _, _, _, _, _, _, _, a, b, c, d] = *bytes.first_chunk::<12>()?;
    Some(Header {
        tag,
        vr: Some(vr),
        length: syntax.u32([a, b, c, d]),
        size: 12,
        irregular: false,
    })
}

/// An element in an explicit syntax whose VR is none that we know.
fn unknown_vr(bytes: &[u8], implicit: Header, syntax: Syntax) -> Option<Header> {
    let [_, _, _, _, v0, v1, l0, l1] = *bytes.first_chunk::<8>()?;
    let tag = implicit.tag;
    let header = match [v0, v1] {
        // VRs of the future have the long form (PS3.5 7.1.2).
        [b'A'..=b'Z', b'A'..=b'Z'] if [l0, l1] == [0, 0] => long(bytes, tag, Vr::UN, syntax)?,
        // What senders write who do not know the VR, and garbled letters: the short form.
        [b'A'..=b'Z', b'A'..=b'Z'] | [0, 0] | [b' ', b' '] | [b'?', b'?'] | [b'-', b'-'] => {
            short(tag, Some(Vr::UN), syntax.u16([l0, l1]))
        }
        // An implicit element among explicit ones.
        _ => implicit,
    };
    Some(Header {
        irregular: true,
        ..header
    })
}

/// Whether an element in an implicit syntax is an explicit one, because its length would spell a
/// VR: that of the dictionary, or one that makes more sense than the length. `None` where that
/// needs more bytes.
fn is_explicit_after_all(
    implicit: Header,
    vr: Vr,
    form: Form,
    syntax: Syntax,
    bytes: &[u8],
    room: u64,
) -> Option<bool> {
    if syntax.big_endian {
        return Some(false);
    }
    if known_vr(implicit.tag) == Some(vr) {
        return Some(true);
    }
    match form {
        // As a length these would be odd, which none is; and the reserved bytes are zero.
        Form::Long => Some(implicit.length <= 0xFFFF),
        Form::Short => next_is_explicit(implicit, syntax, bytes, room),
    }
}

/// Whether the explicit reading of a short form leads to the end of the container or to another
/// explicit element or delimiter.
fn next_is_explicit(implicit: Header, syntax: Syntax, bytes: &[u8], room: u64) -> Option<bool> {
    let end = usize::try_from(implicit.length.wrapping_shr(16))
        .unwrap_or(usize::MAX)
        .saturating_add(8);
    if u64::try_from(end).is_ok_and(|end| end == room) {
        return Some(true);
    }
    if u64::try_from(end.saturating_add(8)).is_ok_and(|needed| needed > room) {
        return Some(false);
    }
    let [g0, g1, e0, e1, v0, v1, ..] = *bytes.get(end..)?.first_chunk::<8>()?;
    let next = syntax.tag([g0, g1, e0, e1]);
    let is_delimiter = next.group() == DELIMITER_GROUP;
    Some(is_delimiter || (next > implicit.tag && written_vr([v0, v1]).is_some()))
}

/// A header as most are.
pub(crate) struct Plain {
    pub(crate) tag: Tag,
    /// As written; `None` where none is.
    pub(crate) vr: Option<Vr>,
    pub(crate) length: u32,
    pub(crate) size: u8,
}

/// Reads a header that is regular, of known length, and of no sequence. Anything else is `None` and
/// needs [`read`].
#[inline]
pub(crate) fn plain<const EXPLICIT: bool, const BIG_ENDIAN: bool>(
    bytes: &[u8; 12],
) -> Option<Plain> {
    let syntax = Syntax {
        explicit: EXPLICIT,
        big_endian: BIG_ENDIAN,
    };
    let [g0, g1, e0, e1, v0, v1, l0, l1, a, b, c, d] = *bytes;
    let tag = syntax.tag([g0, g1, e0, e1]);
    let (vr, length, size) = if EXPLICIT {
        match written_vr([v0, v1])? {
            (vr, Form::Short) => (Some(vr), u32::from(syntax.u16([l0, l1])), 8),
            (Vr::SQ | Vr::UN, Form::Long) => return None,
            (vr, Form::Long) => (Some(vr), syntax.u32([a, b, c, d]), 12),
        }
    } else {
        // Letters may be an explicit VR, and an item may begin a sequence.
        let may_be_explicit = v0.is_ascii_uppercase() && v1.is_ascii_uppercase();
        if may_be_explicit || is_item([a, b, c, d]) {
            return None;
        }
        (None, syntax.u32([v0, v1, l0, l1]), 8)
    };
    let is_plain = length != UNDEFINED && tag.group() != DELIMITER_GROUP && tag != Tag(0, 0);
    is_plain.then_some(Plain {
        tag,
        vr,
        length,
        size,
    })
}

/// Whether these are the bytes of an item's tag, in either byte order.
const fn is_item(bytes: [u8; 4]) -> bool {
    matches!(bytes, [0xFE, 0xFF, 0x00, 0xE0] | [0xFF, 0xFE, 0xE0, 0x00])
}

/// The two forms of explicit headers (PS3.5 7.1.2).
#[derive(Clone, Copy)]
enum Form {
    Long,
    Short,
}

/// The VR that two letters spell, by one look into a table.
#[inline]
fn written_vr([first, second]: [u8; 2]) -> Option<(Vr, Form)> {
    let row = usize::from(first.wrapping_sub(b'A'));
    let column = usize::from(second.wrapping_sub(b'A'));
    if row >= LETTERS || column >= LETTERS {
        return None;
    }
    let at = row.wrapping_mul(LETTERS).wrapping_add(column);
    VRS.get(at).copied().flatten()
}

const LETTERS: usize = 26;

static VRS: [Option<(Vr, Form)>; LETTERS * LETTERS] = {
    let mut table = [None; LETTERS * LETTERS];
    let mut row = 0;
    while row < LETTERS {
        let mut column = 0;
        while column < LETTERS {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::indexing_slicing,
                reason = "both count to 26 at compile time"
            )]
            {
                table[row * LETTERS + column] = spelt_vr([b'A' + row as u8, b'A' + column as u8]);
            }
            column += 1;
        }
        row += 1;
    }
    table
};

const fn spelt_vr(letters: [u8; 2]) -> Option<(Vr, Form)> {
    use Form::{Long, Short};
    Some(match &letters {
        b"AE" => (Vr::AE, Short),
        b"AS" => (Vr::AS, Short),
        b"AT" => (Vr::AT, Short),
        b"CS" => (Vr::CS, Short),
        b"DA" => (Vr::DA, Short),
        b"DS" => (Vr::DS, Short),
        b"DT" => (Vr::DT, Short),
        b"FD" => (Vr::FD, Short),
        b"FL" => (Vr::FL, Short),
        b"IS" => (Vr::IS, Short),
        b"LO" => (Vr::LO, Short),
        b"LT" => (Vr::LT, Short),
        b"OB" => (Vr::OB, Long),
        b"OD" => (Vr::OD, Long),
        b"OF" => (Vr::OF, Long),
        b"OL" => (Vr::OL, Long),
        b"OV" => (Vr::OV, Long),
        b"OW" => (Vr::OW, Long),
        b"PN" => (Vr::PN, Short),
        b"SH" => (Vr::SH, Short),
        b"SL" => (Vr::SL, Short),
        b"SQ" => (Vr::SQ, Long),
        b"SS" => (Vr::SS, Short),
        b"ST" => (Vr::ST, Short),
        b"SV" => (Vr::SV, Long),
        b"TM" => (Vr::TM, Short),
        b"UC" => (Vr::UC, Long),
        b"UI" => (Vr::UI, Short),
        b"UL" => (Vr::UL, Short),
        b"UN" => (Vr::UN, Long),
        b"UR" => (Vr::UR, Long),
        b"US" => (Vr::US, Short),
        b"UT" => (Vr::UT, Long),
        b"UV" => (Vr::UV, Long),
        _ => return None,
    })
}
