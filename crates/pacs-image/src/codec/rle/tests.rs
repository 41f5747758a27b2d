//! RLE frames, good and hostile. The encoder here is only for these tests.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "frames of these tests are small"
)]

use super::{Frame, check};
use pacs_core::convert::{Photometric, PixelError, PixelForm};
use proptest::prelude::*;

fn form(rows: u16, columns: u16, samples: u16, bits: u16) -> PixelForm {
    PixelForm {
        rows,
        columns,
        samples_per_pixel: samples,
        bits_allocated: bits,
        bits_stored: bits,
        is_signed: false,
        photometric: Photometric::Monochrome2,
        is_planar: false,
        is_subsampled: false,
        frames: 1,
    }
}

/// One segment, as PS3.5 G.3.1 has it: repeats of two bytes and more, literals otherwise.
fn segment(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let same = bytes[at..].iter().take_while(|b| **b == bytes[at]).count();
        if same >= 2 {
            let count = same.min(128);
            out.push((257 - count) as u8);
            out.push(bytes[at]);
            at += count;
            continue;
        }
        let rest = &bytes[at..];
        let pair = rest.windows(2).position(|pair| pair[0] == pair[1]);
        let count = pair.unwrap_or(rest.len()).min(128);
        out.push((count - 1) as u8);
        out.extend_from_slice(&rest[..count]);
        at += count;
    }
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

fn frame(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut out = (segments.len() as u32).to_le_bytes().to_vec();
    let mut offset = 64_u32;
    for segment in segments {
        out.extend(offset.to_le_bytes());
        offset += segment.len() as u32;
    }
    out.resize(64, 0);
    segments.iter().for_each(|s| out.extend_from_slice(s));
    out
}

/// Encodes native pixels by pixel.
fn encode(form: &PixelForm, native: &[u8]) -> Vec<u8> {
    let bytes = usize::from(form.bits_allocated / 8);
    let stride = bytes * usize::from(form.samples_per_pixel);
    let segments: Vec<Vec<u8>> = (0..stride)
        .map(|at| {
            let place = at / bytes * bytes + (bytes - 1 - at % bytes);
            let plane: Vec<u8> = native.iter().skip(place).step_by(stride).copied().collect();
            segment(&plane)
        })
        .collect();
    frame(&segments)
}

fn decode(form: &PixelForm, encoded: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, PixelError> {
    check(form)?;
    let mut frame = Frame::new(form, encoded)?;
    let mut out = Vec::new();
    let mut piece = Vec::new();
    while frame.read(&mut piece, bytes_max)? {
        assert!(!piece.is_empty(), "a piece that is none never ends");
        out.append(&mut piece);
    }
    Ok(out)
}

#[test]
fn the_runs_of_the_standard_are_decoded() {
    // Literal of 2, repeat of 3, nothing, literal of 1, then padding.
    let encoded = frame(&[vec![1, 10, 20, 254, 7, 128, 0, 9, 0, 0]]);
    let decoded = decode(&form(1, 6, 1, 8), encoded, 4).unwrap();
    assert_eq!(decoded, [10, 20, 7, 7, 7, 9]);
}

#[test]
fn the_most_significant_byte_comes_first_and_leaves_last() {
    let encoded = frame(&[segment(&[0x12, 0xAB]), segment(&[0x34, 0xCD])]);
    let decoded = decode(&form(1, 2, 1, 16), encoded, 1).unwrap();
    assert_eq!(decoded, [0x34, 0x12, 0xCD, 0xAB]);
}

#[test]
fn planes_stay_planes_where_planar_configuration_says_so() {
    let encoded = frame(&[segment(b"RSTU"), segment(b"GHIJ"), segment(b"BCDE")]);
    let mut colour = form(2, 2, 3, 8);
    assert_eq!(
        decode(&colour, encoded.clone(), 5).unwrap(),
        b"RGBSHCTIDUJE"
    );
    colour.is_planar = true;
    assert_eq!(decode(&colour, encoded, 3).unwrap(), b"RSTUGHIJBCDE");
}

#[test]
fn single_bits_are_one_segment_of_packed_bytes() {
    let encoded = frame(&[segment(&[0xAA, 0x0F])]);
    assert_eq!(
        decode(&form(3, 4, 1, 1), encoded, 100).unwrap(),
        [0xAA, 0x0F]
    );
}

#[test]
fn forms_that_rle_is_not_for_are_refused() {
    let mut subsampled = form(2, 2, 3, 8);
    subsampled.is_subsampled = true;
    for form in [
        subsampled,
        form(2, 2, 3, 1),
        form(2, 2, 1, 12),
        form(2, 2, 4, 32),
        form(2, 2, 16, 8),
    ] {
        let refused = matches!(check(&form), Err(PixelError::Unsupported { .. }));
        assert!(refused, "{form:?}");
    }
}

#[test]
fn hostile_frames_are_refused() {
    let good = encode(&form(4, 4, 1, 16), &[5; 32]);
    let with = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let cut = |length: usize| good[..length].to_vec();
    for (what, encoded) in [
        ("no bytes", Vec::new()),
        ("half a header", cut(63)),
        ("no segments", with(0, 0)),
        ("too few segments", with(0, 1)),
        ("too many segments", with(0, 15)),
        ("far too many segments", with(0, u32::MAX)),
        ("an offset in the header", with(4, 8)),
        ("an offset behind the end", with(8, 10_000)),
        ("the largest offset", with(8, u32::MAX)),
        ("offsets in the wrong order", with(4, 66)),
        ("a header alone", cut(64)),
        ("a segment that is cut", cut(good.len() - 2)),
    ] {
        let refused = matches!(
            decode(&form(4, 4, 1, 16), encoded, 7),
            Err(PixelError::Damaged { .. })
        );
        assert!(refused, "{what}");
    }
}

#[test]
fn a_frame_that_claims_to_be_huge_allocates_no_more_than_its_runs() {
    let huge = form(u16::MAX, u16::MAX, 3, 32);
    let encoded = frame(&vec![vec![129, 0]; 12]);
    let mut frame = Frame::new(&huge, encoded).unwrap();
    let mut out = Vec::new();
    assert!(frame.read(&mut out, usize::MAX).is_err());
    assert!(out.capacity() < 1 << 20, "{} bytes", out.capacity());
}

fn pixels() -> impl Strategy<Value = (PixelForm, Vec<u8>)> {
    let bits = prop::sample::select(vec![8_u16, 16, 32]);
    (1_u16..12, 1_u16..12, 1_u16..4, bits)
        .prop_map(|(rows, columns, samples, bits)| form(rows, columns, samples, bits))
        .prop_flat_map(|form| {
            let bytes = usize::try_from(form.frame_bits() / 8).unwrap();
            let values = prop::collection::vec(prop::sample::select(vec![0_u8, 0, 1, 255]), bytes);
            (Just(form), values)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_was_encoded_is_decoded_whatever_the_pieces(
        (form, native) in pixels(),
        bytes_max in 1_usize..300,
    ) {
        let encoded = encode(&form, &native);
        prop_assert_eq!(decode(&form, encoded, bytes_max).unwrap(), native);
    }

    #[test]
    fn damage_is_refused_or_decoded_and_never_more(
        (form, native) in pixels(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut encoded = encode(&form, &native);
        for (at, byte) in changes {
            let at = at.index(encoded.len());
            encoded[at] = byte;
        }
        encoded.truncate(cut.index(encoded.len() * 2) + 1);
        if let Ok(decoded) = decode(&form, encoded, 64) {
            prop_assert_eq!(decoded.len(), native.len());
        }
    }
}
