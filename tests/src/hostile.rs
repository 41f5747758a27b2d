//! Content that means harm: names that want to be paths (T2), lengths that lie (T3), sequences
//! without end (T4). The same bytes come through every door.

use crate::forged_media::{Burst, deflate_bomb};
use crate::samples::{self, Random, Slice, part10};
use crate::wire::uid;

/// Names that must never become a path, and what a strict UID is not.
pub const EVIL_NAMES: [&[u8]; 18] = [
    b"",
    b"..",
    b".",
    b"../../escaped",
    b"/tmp/pacs-escaped",
    b"C:\\escaped",
    b"a\\..\\escaped",
    b"1.2.3/../../escaped",
    b"1.2.3\0escaped",
    b"................................................................",
    b"1.2.\xD1\x83.3",
    b"1.2.3.",
    b"1.2.3 ",
    b"CON",
    b"1.2.3;escaped",
    b"%2e%2e%2fescaped",
    // UTF-8 that is longer than it has to be: `../escaped`, once its slash, once its dots.
    b"..\xC0\xAFescaped",
    b"\xC0\xAE\xC0\xAE/escaped",
];

/// The UIDs that say what an instance is and where it belongs, SOP Instance UID first.
pub const IDENTITY: [u32; 3] = [0x0008_0018, 0x0020_000E, 0x0020_000D];

/// The data set of `slice` with `name` as its UID `tag`, byte for byte.
///
/// # Panics
/// When a slice has no such UID.
#[must_use]
pub fn named(slice: &Slice, tag: u32, name: &[u8]) -> Vec<u8> {
    let data_set = slice.data_set();
    let mut element = Vec::new();
    samples::short(&mut element, tag, "UI", &[]);
    let head = &element[..6];
    let at = data_set.windows(6).position(|window| window == head);
    let at = at.expect("every slice has it");
    let length = usize::from(u16::from_le_bytes([data_set[at + 6], data_set[at + 7]]));
    let mut out = data_set[..at].to_vec();
    samples::text(&mut out, tag, "UI", name);
    out.extend_from_slice(&data_set[at + 8 + length..]);
    out
}

/// The SOP Instance UID that goes before [`named`]: the name, or that of `slice`.
#[must_use]
pub fn announced<'n>(slice: &'n Slice, tag: u32, name: &'n [u8]) -> &'n [u8] {
    if tag == IDENTITY[0] {
        name
    } else {
        slice.instance.as_bytes()
    }
}

/// [`named`] as a Part 10 file, with the name in its File Meta Information, too.
#[must_use]
pub fn named_file(slice: &Slice, tag: u32, name: &[u8]) -> Vec<u8> {
    let of = (uid::CT_IMAGE_STORAGE, announced(slice, tag, name));
    part10(of, uid::EXPLICIT_LITTLE_ENDIAN, &named(slice, tag, name))
}

/// Data sets of `slice` whose lengths lie about what follows; of some there is nothing before the
/// lie.
#[must_use]
pub fn lying_heads(slice: &Slice) -> Vec<(&'static str, Vec<u8>)> {
    let mut heads = Vec::new();
    for (name, vr, length) in [
        ("a value of 4 GiB", "OB", 0xFFFF_FFFE_u32),
        ("a sequence of 4 GiB", "SQ", 0xFFFF_FFFE),
        ("an unknown value of 2 GiB", "UN", 0x7FFF_FFFF),
        ("a text of 1 GiB", "UT", 0x4000_0000),
        ("pixels of 4 GiB", "OW", 0xFFFF_FFF0),
    ] {
        let mut head = slice.head();
        let mut element = vec![0x42, 0x00, 0x11, 0x00];
        element.extend_from_slice(vr.as_bytes());
        element.extend_from_slice(&[0, 0]);
        element.extend_from_slice(&length.to_le_bytes());
        element.extend_from_slice(&[0x41; 64]);
        heads.push((name, element.clone()));
        head.extend_from_slice(&element);
        heads.push((name, head));
    }
    let mut items = slice.head();
    items.extend_from_slice(b"\x40\x00\x30\xA7SQ\0\0\xFF\xFF\xFF\xFF");
    for _ in 0..200_000 {
        items.extend_from_slice(b"\xFE\xFF\x00\xE0\0\0\0\0");
    }
    heads.push(("200,000 empty items", items));
    let mut elements = slice.head();
    for number in 0..=0xFFFE_u16 {
        elements.extend_from_slice(&[0x43, 0x00]);
        elements.extend_from_slice(&number.to_le_bytes());
        elements.extend_from_slice(b"LO\0\0");
    }
    heads.push(("65,535 empty elements", elements));
    heads
}

/// The data set of `slice` with `depth` sequences in one another behind its head.
#[must_use]
pub fn deep(slice: &Slice, depth: usize) -> Vec<u8> {
    let mut data_set = slice.head();
    data_set.extend(samples::nested(depth));
    data_set
}

/// How many [`data_sets`] there are (T3).
pub const DATA_SETS: usize = 64;

/// [`DATA_SETS`] hostile data sets of `slice`, each behind its transfer syntax: lengths that lie,
/// depth, deflate bombs, fragments that are longer than what comes, and slices in which one byte
/// of the head is another.
#[must_use]
pub fn data_sets(slice: &Slice) -> Vec<(&'static str, Vec<u8>)> {
    let explicit = uid::EXPLICIT_LITTLE_ENDIAN;
    let lying = lying_heads(slice).into_iter();
    let mut all: Vec<_> = lying.map(|(_, data_set)| (explicit, data_set)).collect();
    for depth in [64, 65, 1_000, 100_000] {
        all.push((explicit, deep(slice, depth)));
    }
    for burst in [Burst::BeforeStudy, Burst::InPixelData] {
        all.push((uid::DEFLATED_LITTLE_ENDIAN, deflate_bomb(slice, burst)));
    }
    for length in [0xFFFF_FFFE_u32, 0x7FFF_FFFE, 0x0100_0000, 3] {
        let mut data_set = slice.head();
        data_set.extend_from_slice(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF");
        data_set.extend_from_slice(b"\xFE\xFF\x00\xE0\0\0\0\0\xFE\xFF\x00\xE0");
        data_set.extend_from_slice(&length.to_le_bytes());
        data_set.extend_from_slice(&[0xFF; 1_000]);
        all.push((uid::JPEG_BASELINE, data_set));
    }
    let mut random = Random::new(slice.seed);
    while all.len() < DATA_SETS {
        let mut data_set = slice.data_set();
        let at = random.below(slice.head().len() as u64);
        data_set[usize::try_from(at).expect("small")] = random.number().to_le_bytes()[0];
        all.push((explicit, data_set));
    }
    all
}
