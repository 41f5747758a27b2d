//! Frames among fragments, and among bits.

use super::*;
use pacs_core::convert::Photometric;

const RLE: &str = "1.2.840.10008.1.2.5";
const BASELINE: &str = "1.2.840.10008.1.2.4.50";

fn form(frames: u32, bits_allocated: u16) -> PixelForm {
    PixelForm {
        rows: 1,
        columns: 12,
        samples_per_pixel: 1,
        bits_allocated,
        bits_stored: bits_allocated,
        is_signed: false,
        photometric: Photometric::Monochrome2,
        is_planar: false,
        is_subsampled: false,
        frames,
    }
}

fn item(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[0xFE, 0xFF, 0x00, 0xE0], &length[..], bytes].concat()
}

/// A data set of one extended offset table, if any, and fragments behind `table`.
fn encapsulated(extended: &[(u64, u64)], table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
    let mut data_set = Vec::new();
    if !extended.is_empty() {
        let offsets: Vec<u8> = extended.iter().flat_map(|(o, _)| o.to_le_bytes()).collect();
        let lengths: Vec<u8> = extended.iter().flat_map(|(_, l)| l.to_le_bytes()).collect();
        for (element, value) in [(1, offsets), (2, lengths)] {
            data_set.extend([0xE0, 0x7F, element, 0, b'O', b'V', 0, 0]);
            data_set.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
            data_set.extend(value);
        }
    }
    data_set.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    let table: Vec<u8> = table.iter().flat_map(|o| o.to_le_bytes()).collect();
    data_set.extend(item(&table));
    for fragment in fragments {
        data_set.extend(item(fragment));
    }
    data_set.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    data_set
}

type Found = Result<Vec<Vec<u8>>, FrameMapError<std::convert::Infallible>>;

fn frames(data_set: &[u8], syntax: &str, form: &PixelForm) -> Found {
    let syntax = TransferSyntaxUid::parse(syntax).unwrap();
    let place = PixelDataPlace::of_head(data_set, &syntax, &ScanLimits::default())?;
    let place = place.expect("pixel data");
    let map = FrameMap::locate(&data_set, &place, form, &ImageLimits::default())?;
    assert_eq!(map.frame(0), None);
    assert_eq!(map.frame(form.frames.saturating_add(1)), None);
    let mut frames = Vec::new();
    for number in 1..=form.frames {
        let location = map.frame(number).ok_or(FrameMapError::NoSuchFrame)?;
        let length = usize::try_from(location.length_bytes).unwrap();
        let bytes = data_set.read_at(location.offset, length).unwrap();
        frames.push(location.frame(bytes)?);
    }
    Ok(frames)
}

#[test]
fn a_frame_is_a_fragment_where_nothing_says_otherwise() {
    let data_set = encapsulated(&[], &[], &[b"ab", b"cdef"]);
    let found = frames(&data_set, RLE, &form(2, 8)).unwrap();
    assert_eq!(found, [&b"ab"[..], b"cdef"]);
    let one = frames(&data_set, RLE, &form(1, 8)).unwrap();
    assert_eq!(one, [b"abcdef"]);
    assert!(frames(&data_set, RLE, &form(3, 8)).is_err());
}

#[test]
fn offset_tables_join_fragments() {
    let fragments: [&[u8]; 3] = [b"ab", b"cd", b"efgh"];
    let basic = encapsulated(&[], &[0, 20], &fragments);
    let found = frames(&basic, RLE, &form(2, 8)).unwrap();
    assert_eq!(found, [b"abcd", b"efgh"]);
    let extended = encapsulated(&[(0, 2), (10, 2), (20, 3)], &[], &fragments);
    let found = frames(&extended, RLE, &form(3, 8)).unwrap();
    // Without what makes the length of a fragment even.
    assert_eq!(found, [&b"ab"[..], b"cd", b"efg"]);
}

#[test]
fn a_table_that_leads_elsewhere_is_an_error_and_one_that_does_not_fit_is_not_used() {
    let fragments: [&[u8]; 2] = [b"ab", b"cdef"];
    for table in [[0, 4], [0, 11], [0, 12]] {
        let data_set = encapsulated(&[], &table, &fragments);
        assert!(frames(&data_set, RLE, &form(2, 8)).is_err(), "{table:?}");
    }
    for table in [&[0, 10, 20][..], &[4, 10], &[10, 0]] {
        let data_set = encapsulated(&[], table, &fragments);
        let found = frames(&data_set, RLE, &form(2, 8)).unwrap();
        assert_eq!(found, fragments, "{table:?}");
    }
    for wrong in [(u64::MAX, 2), (5, u64::MAX), (u64::MAX, u64::MAX)] {
        let data_set = encapsulated(&[(0, 2), wrong], &[], &fragments);
        let found = frames(&data_set, RLE, &form(2, 8)).unwrap();
        assert_eq!(found, fragments, "{wrong:?}");
    }
}

#[test]
fn start_markers_join_fragments_without_a_table() {
    let fragments: [&[u8]; 4] = [b"\xFF\xD8\xFF\xC0", b"ab", b"\xFF\xD8\xFF\xC1", b"cd"];
    let data_set = encapsulated(&[], &[], &fragments);
    let found = frames(&data_set, BASELINE, &form(2, 8)).unwrap();
    assert_eq!(found, [b"\xFF\xD8\xFF\xC0ab", b"\xFF\xD8\xFF\xC1cd"]);
    assert!(frames(&data_set, BASELINE, &form(3, 8)).is_err());
}

#[test]
fn fragments_without_an_end_or_with_absurd_lengths_are_errors() {
    let whole = encapsulated(&[], &[], &[b"ab", b"cd"]);
    for length in 12..whole.len() - 8 {
        let cut = &whole[..length];
        assert!(frames(cut, RLE, &form(2, 8)).is_err(), "{length}");
    }
    let mut absurd = whole.clone();
    absurd[24..28].copy_from_slice(&[0xF0, 0xFF, 0xFF, 0xFF]);
    assert!(frames(&absurd, RLE, &form(2, 8)).is_err());
}

#[test]
fn fragments_may_end_with_the_data_set_but_not_beyond_it() {
    let whole = encapsulated(&[], &[], &[b"ab", b"cd"]);
    let without_delimiter = &whole[..whole.len() - 8];
    let found = frames(without_delimiter, RLE, &form(2, 8)).unwrap();
    assert_eq!(found, [b"ab", b"cd"]);
    let cut = &without_delimiter[..without_delimiter.len() - 1];
    assert!(frames(cut, RLE, &form(2, 8)).is_err());
    let none = encapsulated(&[], &[], &[]);
    let found = frames(&none, RLE, &form(1, 8));
    assert_eq!(found, Err(FrameMapError::NoFragments));
}

#[test]
fn native_frames_begin_at_any_bit() {
    let bits = [0b1010_1010, 0b1100_0101, 0b1111_1100];
    let header = [0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 4, 0, 0, 0];
    let data_set = [&header[..], &bits, &[0]].concat();
    let found = frames(&data_set, "1.2.840.10008.1.2.1", &form(2, 1));
    assert_eq!(
        found.unwrap(),
        [[0b1010_1010, 0b0000_0101], [0b1100_1100, 0b0000_1111]]
    );
    // Pixel data that is too short for its frames has none.
    let found = frames(&data_set, "1.2.840.10008.1.2.1", &form(3, 1));
    assert!(found.is_err());
}

#[test]
fn big_endian_words_are_turned_even_across_frames_of_odd_length() {
    let mut odd = form(2, 8);
    odd.columns = 3;
    let header = [0x7F, 0xE0, 0, 0x10, b'O', b'W', 0, 0, 0, 0, 0, 6];
    let data_set = [&header[..], &[2, 1, 4, 3, 6, 5]].concat();
    let found = frames(&data_set, "1.2.840.10008.1.2.2", &odd);
    assert_eq!(found.unwrap(), [[1, 2, 3], [4, 5, 6]]);
}

#[test]
fn big_endian_floating_point_samples_are_turned_whole() {
    for (element, vr, bits, value) in [
        (8, b'F', 32, &1.5_f32.to_be_bytes()[..]),
        (9, b'D', 64, &2.5_f64.to_be_bytes()[..]),
    ] {
        let mut float = form(1, bits);
        float.columns = 1;
        let length = u8::try_from(value.len()).unwrap();
        let header = [0x7F, 0xE0, 0, element, b'O', vr, 0, 0, 0, 0, 0, length];
        let data_set = [&header[..], value].concat();
        let found = frames(&data_set, "1.2.840.10008.1.2.2", &float);
        let little: Vec<u8> = value.iter().rev().copied().collect();
        assert_eq!(found.unwrap(), [little]);
    }
}

#[test]
fn pixel_data_without_a_vr_is_found_where_one_must_stand() {
    let mut data_set = vec![0x28, 0, 0x10, 0, 2, 0, 0, 0, 1, 0];
    data_set.extend([0xE0, 0x7F, 0x10, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    data_set.extend(item(&[]));
    data_set.extend(item(b"frame!"));
    data_set.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);

    let found = frames(&data_set, BASELINE, &form(1, 8));

    assert_eq!(found.unwrap(), [b"frame!"]);
}
