//! From components to full size and RGB (ITU-T T.871; PS3.3 C.7.6.3.1.2).

use super::{Component, Tables};
use pacs_core::convert::Photometric;

/// What three components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Rgb,
    Ybr,
}

impl Colour {
    /// What a marker in the code stream says goes before the attribute: it was written by who
    /// encoded it. Without one the attribute is right, unless components are named R, G and B.
    pub(super) fn of(photometric: Photometric, tables: &Tables, ids: &[u8]) -> Self {
        match (tables.adobe_transform, photometric) {
            (Some(0), _) => Self::Rgb,
            (Some(_), _) => Self::Ybr,
            (None, _) if ids == b"RGB" => Self::Rgb,
            (None, Photometric::Rgb) if !tables.is_jfif => Self::Rgb,
            (None, _) => Self::Ybr,
        }
    }
}

/// The samples of a component at the size of the image, without what fills its last blocks.
pub(super) fn full_size(
    component: &Component,
    (most_h, most_v): (usize, usize),
    (rows, columns): (usize, usize),
) -> Vec<i32> {
    let own_columns = (columns * component.horizontal)
        .div_ceil(most_h.max(1))
        .max(1);
    let own_rows = (rows * component.vertical).div_ceil(most_v.max(1)).max(1);
    let stride = component.stride.max(1);
    let lines = component.plane.chunks(stride).take(own_rows);
    let lines = lines.map(|line| line.get(..own_columns).unwrap_or(line));
    let across = most_h / component.horizontal.max(1);
    let down = most_v / component.vertical.max(1);
    let is_whole = across * component.horizontal == most_h && down * component.vertical == most_v;
    let mut plane = Vec::with_capacity(rows * columns);
    if !is_whole {
        // Factors such as 2 to 3: the nearest sample.
        let lines: Vec<&[i32]> = lines.collect();
        for row in 0..rows {
            let line = lines
                .get(row * own_rows / rows.max(1))
                .copied()
                .unwrap_or_default();
            let at = |column| line.get(column * own_columns / columns.max(1)).copied();
            plane.extend((0..columns).map(|column| at(column).unwrap_or(0)));
        }
        return plane;
    }
    if (across, down) == (1, 1) {
        lines.for_each(|line| plane.extend_from_slice(line));
        return plane;
    }
    if (across, down) == (2, 2) {
        let lines: Vec<&[i32]> = lines.collect();
        for row in 0..rows {
            let near = lines.get(row / 2).copied().unwrap_or_default();
            let other = if row & 1 == 1 {
                row / 2 + 1
            } else {
                (row / 2).wrapping_sub(1)
            };
            let far = lines.get(other).copied().unwrap_or(near);
            let sums: Vec<i32> = near.iter().zip(far).map(|(n, f)| 3 * n + f).collect();
            between(&sums, columns, [8, 7, 4], &mut plane);
        }
        return plane;
    }
    for line in lines {
        let mut wide = Vec::with_capacity(columns);
        if across == 2 {
            between(line, columns, [1, 2, 2], &mut wide);
        } else {
            let each = line.iter().flat_map(|s| std::iter::repeat_n(*s, across));
            wide.extend(each.take(columns));
        }
        let left = rows.saturating_sub(plane.len() / columns.max(1));
        (0..down.min(left)).for_each(|_| plane.extend_from_slice(&wide));
    }
    plane
}

/// Twice as many samples: each is three parts of the nearest and one of the next nearest, rounded
/// by `round` to the left and to the right, without `shift` bits.
fn between(line: &[i32], columns: usize, round: [i32; 3], out: &mut Vec<i32>) {
    let [to_left, to_right, shift] = round;
    let end = out.len() + columns;
    let mut before = line.first().copied().unwrap_or(0);
    let mut samples = line.iter().copied().peekable();
    while let Some(here) = samples.next() {
        let after = samples.peek().copied().unwrap_or(here);
        out.push((3 * here + before + to_left) >> shift);
        out.push((3 * here + after + to_right) >> shift);
        before = here;
    }
    out.truncate(end);
}

/// Luminance and chrominance to red, green and blue, in place.
pub(super) fn to_rgb([y, cb, cr]: [&mut Vec<i32>; 3], precision: u32) {
    let (centre, most) = (1 << (precision - 1), (1 << precision) - 1);
    // 1.402, 0.344136, 0.714136 and 1.772 in 16 bits.
    let (half, bits) = (1_i32 << 15, 16);
    for ((y, cb), cr) in y.iter_mut().zip(cb).zip(cr) {
        let (blue, red) = (*cb - centre, *cr - centre);
        let r = *y + ((91_881 * red + half) >> bits);
        let g = *y + ((-22_554 * blue - 46_802 * red + half) >> bits);
        let b = *y + ((116_130 * blue + half) >> bits);
        *y = r.clamp(0, most);
        *cb = g.clamp(0, most);
        *cr = b.clamp(0, most);
    }
}
