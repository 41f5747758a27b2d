//! RLE Lossless, the other way: native frames become segments (PS3.5 G.3.1). Runs end with a row.

use super::{HEADER_BYTES, SEGMENTS_MAX, sample_bytes, samples};
use pacs_core::convert::{PixelError, PixelForm};

/// Bytes of the longest run.
const RUN_BYTES_MAX: usize = 128;

/// Encodes a native frame.
pub(in crate::codec) fn encode(form: &PixelForm, native: &[u8]) -> Result<Vec<u8>, PixelError> {
    let (sample_bytes, samples) = (sample_bytes(form).max(1), samples(form).max(1));
    let columns = usize::from(form.columns);
    // Single bits are packed, without regard to rows.
    let row = if form.bits_allocated == 1 {
        native.len()
    } else {
        columns
    };
    let mut out = vec![0; HEADER_BYTES];
    let mut offsets = Vec::with_capacity(SEGMENTS_MAX);
    for sample in 0..samples {
        for byte in (0..sample_bytes).rev() {
            offsets.push(out.len());
            let segment = bytes_of(form, native, (sample, samples), (byte, sample_bytes));
            for row in segment.chunks(row.max(1)) {
                pack(row, &mut out);
            }
            if out.len() & 1 == 1 {
                out.push(0);
            }
        }
    }
    let what = "a frame that is too large for RLE";
    let count = offsets.len();
    let numbers = std::iter::once(&count).chain(&offsets);
    for (place, number) in out.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        let number = u32::try_from(*number).map_err(|_large| PixelError::Unsupported { what })?;
        *place = number.to_le_bytes();
    }
    Ok(out)
}

/// One byte of all values of one sample, in the order of the pixels.
fn bytes_of(
    form: &PixelForm,
    native: &[u8],
    (sample, samples): (usize, usize),
    (byte, sample_bytes): (usize, usize),
) -> Vec<u8> {
    let plane_bytes = native.len().checked_div(samples).unwrap_or(0);
    let (from, to, step) = if form.is_planar {
        let from = sample.saturating_mul(plane_bytes);
        (from, from.saturating_add(plane_bytes), sample_bytes)
    } else {
        let from = sample.saturating_mul(sample_bytes);
        (from, native.len(), sample_bytes.saturating_mul(samples))
    };
    let part = native.get(from..to).unwrap_or_default();
    let each = part.iter().skip(byte).step_by(step.max(1));
    each.copied().collect()
}

/// Appends `row` as runs.
fn pack(mut row: &[u8], out: &mut Vec<u8>) {
    while let Some(first) = row.first() {
        let alike = row.iter().take(RUN_BYTES_MAX).take_while(|b| *b == first);
        let alike = alike.count();
        let taken = if alike >= 2 {
            out.extend_from_slice(&[control_of_repeated(alike), *first]);
            alike
        } else {
            let literal = literal(row);
            let length = u8::try_from(literal.saturating_sub(1)).unwrap_or(0);
            out.push(length);
            out.extend_from_slice(row.get(..literal).unwrap_or_default());
            literal
        };
        row = row.get(taken..).unwrap_or_default();
    }
}

fn control_of_repeated(count: usize) -> u8 {
    u8::try_from(257_usize.saturating_sub(count)).unwrap_or(u8::MAX)
}

/// How many bytes go as they are: up to three that are alike, for which a run is worth its control
/// byte in the middle of others.
fn literal(row: &[u8]) -> usize {
    let row = row.get(..RUN_BYTES_MAX).unwrap_or(row);
    let run = row.windows(3).position(|three| {
        let [a, b, c] = three else { return false };
        a == b && b == c
    });
    run.unwrap_or(row.len()).max(1)
}
