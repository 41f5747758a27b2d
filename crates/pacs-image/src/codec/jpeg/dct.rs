//! The inverse discrete cosine transform of a block (ITU-T T.81 A.3.3), in integers: the
//! factorisation of Loeffler, Ligtenberg and Moschytz with constants of 13 bits.
#![allow(
    clippy::indexing_slicing,
    reason = "arrays of eight are indexed by loops over 0..8"
)]

use std::num::Wrapping;

/// A number that damaged coefficients may make wrong, and nothing worse.
type Number = Wrapping<i32>;

/// Bits behind the point of the constants.
const CONSTANT_BITS: usize = 13;

const fn n(value: i32) -> Number {
    Wrapping(value)
}

/// One row or column of eight, times eight; results have `CONSTANT_BITS` more bits.
fn transform(v: [Number; 8]) -> [Number; 8] {
    let even = (v[2] + v[6]) * n(4433);
    let (a, b) = (even - v[6] * n(15137), even + v[2] * n(6270));
    let (c, d) = (
        (v[0] + v[4]) << CONSTANT_BITS,
        (v[0] - v[4]) << CONSTANT_BITS,
    );
    let evens = [c + b, d + a, d - a, c - b];

    let cross = (v[7] + v[3] + v[5] + v[1]) * n(9633);
    let near = (v[7] + v[1]) * n(-7373);
    let far = (v[5] + v[3]) * n(-20995);
    let left = (v[7] + v[3]) * n(-16069) + cross;
    let right = (v[5] + v[1]) * n(-3196) + cross;
    let odds = [
        v[1] * n(12299) + near + right,
        v[3] * n(25172) + far + left,
        v[5] * n(16819) + far + right,
        v[7] * n(2446) + near + left,
    ];
    [
        evens[0] + odds[0],
        evens[1] + odds[1],
        evens[2] + odds[2],
        evens[3] + odds[3],
        evens[3] - odds[3],
        evens[2] - odds[2],
        evens[1] - odds[1],
        evens[0] - odds[0],
    ]
}

fn round(value: Number, bits: usize) -> Number {
    (value + (n(1) << (bits - 1))) >> bits
}

/// Samples of a block of dequantised coefficients, both by row. `precision` is 8 or 12 bits; in a
/// flat block all coefficients but the first are zero.
pub(super) fn inverse(coefficients: &[i32; 64], precision: u32, is_flat: bool) -> [i32; 64] {
    // Bits behind the point between the two passes: twelve bits leave room for fewer.
    let extra = if precision > 8 { 1 } else { 2 };
    let (most, centre) = ((1 << precision) - 1, 1 << (precision - 1));
    if is_flat {
        let value = round(n(coefficients[0]), 3) + n(centre);
        return [value.0.clamp(0, most); 64];
    }
    let mut between = [n(0); 64];
    for column in 0..8 {
        let values = std::array::from_fn(|row| n(coefficients[row * 8 + column]));
        for (row, value) in transform(values).into_iter().enumerate() {
            between[row * 8 + column] = round(value, CONSTANT_BITS - extra);
        }
    }
    let mut samples = [0; 64];
    for row in 0..8 {
        let values = std::array::from_fn(|column| between[row * 8 + column]);
        for (column, value) in transform(values).into_iter().enumerate() {
            let value = round(value, CONSTANT_BITS + extra + 3) + n(centre);
            samples[row * 8 + column] = value.0.clamp(0, most);
        }
    }
    samples
}
