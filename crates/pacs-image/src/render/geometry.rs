//! Which part of a picture is shown, which way round, and how large (PS3.18 8.3.5.1.3).
//!
//! A picture that becomes smaller is averaged over the area of each new pixel, one that becomes
//! larger is interpolated between the centres of the old ones.

use super::picture::Picture;
use super::{Presentation, Region, RenderError, RenderParameters};
use crate::limits::RenderLimits;
use std::ops::Range;

/// What of a picture is shown, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    width: u32,
    height: u32,
    is_flipped_horizontally: bool,
    is_flipped_vertically: bool,
    /// Quarters clockwise, and whether left and right are exchanged behind them.
    turn: (u8, bool),
}

impl Placement {
    /// Of a picture of `width` by `height` pixels, which are `aspect` times as high as wide;
    /// without a viewport all of it, one pixel for each, or more where they are not square.
    pub(super) fn new(
        (width, height): (u32, u32),
        aspect: f64,
        parameters: &RenderParameters,
        presentation: Option<&Presentation<'_>>,
        limits: &RenderLimits,
    ) -> Result<Self, RenderError> {
        let viewport = parameters.viewport.as_ref();
        let (columns, rows) = (f64::from(width), f64::from(height));
        let region = match parameters.part {
            Some([left, top, right, bottom]) => Region {
                x: left * columns,
                y: top * rows,
                width: Some((right - left) * columns),
                height: Some((bottom - top) * rows),
                ..Region::default()
            },
            None => viewport.map_or_else(Region::default, |viewport| viewport.region),
        };
        let area = presentation.and_then(Presentation::area);
        let region = area
            .filter(|_| region == Region::default())
            .unwrap_or(region);
        let turn = presentation.map_or((0, false), Presentation::turn);
        let is_lying = turn.0 % 2 == 1;
        let (left, right) = edges(region.x, region.width, columns)?;
        let (top, bottom) = edges(region.y, region.height, rows)?;
        let (across, down) = ((right - left).max(1.0), (bottom - top).max(1.0));
        // Never fewer pixels than there are, unless a viewport wants that.
        let across_square = across / aspect.min(1.0);
        let down_square = down * aspect.max(1.0);
        let (width, height) = match viewport {
            None => (pixels(across_square), pixels(down_square)),
            Some(viewport) => {
                let mut most = (viewport.width, viewport.height);
                if is_lying {
                    most = (most.1, most.0);
                }
                let (most_across, most_down) = (f64::from(most.0), f64::from(most.1));
                let scale = (most_across / across_square).min(most_down / down_square);
                let width = pixels(across_square * scale).min(most.0.max(1));
                (width, pixels(down_square * scale).min(most.1.max(1)))
            }
        };
        let limit = limits.picture_pixels_max;
        if u64::from(width).saturating_mul(u64::from(height)) > limit {
            let what = "pixels of the picture";
            return Err(RenderError::TooLarge { what, limit });
        }
        // For every pixel of an edge there are weights.
        if width.max(height) > limits.picture_edge_max {
            let (what, limit) = ("pixels of an edge", limits.picture_edge_max.into());
            return Err(RenderError::TooLarge { what, limit });
        }
        Ok(Self {
            left,
            top,
            right,
            bottom,
            width,
            height,
            is_flipped_horizontally: region.is_flipped_horizontally,
            is_flipped_vertically: region.is_flipped_vertically,
            turn,
        })
    }

    /// Pixels of a row, and rows, before it is turned.
    pub(super) const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Where a place of the image, in its pixels from the top left corner, is in what is shown.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (mut width, mut height) = (f64::from(self.width), f64::from(self.height));
        let mut x = (x - self.left) / (self.right - self.left) * width;
        let mut y = (y - self.top) / (self.bottom - self.top) * height;
        if self.is_flipped_horizontally {
            x = width - x;
        }
        if self.is_flipped_vertically {
            y = height - y;
        }
        for _ in 0..self.turn.0 {
            (x, y) = (height - y, x);
            (width, height) = (height, width);
        }
        if self.turn.1 {
            x = width - x;
        }
        (x, y)
    }

    fn is_whole(&self, picture: &Picture) -> bool {
        self.left == 0.0
            && self.top == 0.0
            && self.right == f64::from(picture.width())
            && self.bottom == f64::from(picture.height())
            && self.width == picture.width()
            && self.height == picture.height()
    }

    /// What is shown of `picture`.
    pub(super) fn apply(&self, picture: Picture) -> Picture {
        let mut shown = if self.is_whole(&picture) {
            picture
        } else {
            let across = Weights::new(self.left, self.right, self.width);
            let down = Weights::new(self.top, self.bottom, self.height);
            scale(&picture, across, down)
        };
        if self.is_flipped_horizontally {
            flip_rows(&mut shown);
        }
        if self.is_flipped_vertically {
            flip_columns(&mut shown);
        }
        for _ in 0..self.turn.0 {
            shown = shown.turned();
        }
        if self.turn.1 {
            flip_rows(&mut shown);
        }
        shown
    }
}

/// The edges of a region of `length` pixels from `from` on, within `0..most`.
fn edges(from: f64, length: Option<f64>, most: f64) -> Result<(f64, f64), RenderError> {
    let from = from.max(0.0);
    let to = length.map_or(most, |length| (from + length).min(most));
    if from < to {
        Ok((from, to))
    } else {
        Err(RenderError::OutsideImage)
    }
}

/// The nearest number of pixels, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
fn pixels(length: f64) -> u32 {
    (length.round() as u32).max(1)
}

/// The pixel that holds a place; negative ones and NaN become 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
pub(super) fn place(at: f64) -> usize {
    at as usize
}

/// What a sum of weights is.
const ONE: u32 = 1 << 16;

/// For each new sample the old ones that it is made of: the first, and the weight of each.
struct Weights(Vec<(usize, Vec<u32>)>);

impl Weights {
    /// Of `count` new samples between the edges `from` and `to` of old ones.
    fn new(from: f64, to: f64, count: u32) -> Self {
        let step = (to - from) / f64::from(count);
        let (least, most) = (place(from), place(to.ceil()).saturating_sub(1));
        let each = (0..count).map(|at| {
            let begin = from + step * f64::from(at);
            if step > 1.0 {
                average(begin, begin + step, most)
            } else {
                between(begin + step / 2.0 - 0.5, least, most)
            }
        });
        Self(each.collect())
    }
}

impl Weights {
    /// Which old samples are used.
    fn used(&self) -> Range<usize> {
        let start = self.0.first().map_or(0, |(first, _)| *first);
        let ends = self.0.iter();
        let ends = ends.map(|(first, weights)| first.saturating_add(weights.len()));
        start..ends.max().unwrap_or(start)
    }

    /// The same where the old samples before `start` are not there.
    fn from(mut self, start: usize) -> Self {
        for (first, _) in &mut self.0 {
            *first = first.saturating_sub(start);
        }
        self
    }
}

/// The old samples between `begin` and `end`, each with as much of it as lies there.
fn average(begin: f64, end: f64, most: usize) -> (usize, Vec<u32>) {
    let first = place(begin).min(most);
    let last = place(end.ceil()).saturating_sub(1).clamp(first, most);
    let length = end - begin;
    let weights = (first..=last).map(|at| {
        let edge = float(at);
        let part = (edge + 1.0).min(end) - edge.max(begin);
        u32::from(super::grey::word(part / length * 65_536.0))
    });
    (first, whole(weights.collect()))
}

/// The two old samples around a centre.
fn between(centre: f64, least: usize, most: usize) -> (usize, Vec<u32>) {
    let first = place(centre.max(float(least))).min(most);
    if first == most || centre <= float(least) {
        return (first, vec![ONE]);
    }
    let second = u32::from(super::grey::word((centre - float(first)) * 65_536.0));
    (first, whole(vec![ONE.saturating_sub(second), second]))
}

/// The same weights, whose sum is one.
fn whole(mut weights: Vec<u32>) -> Vec<u32> {
    let sum = weights
        .iter()
        .fold(0_u32, |sum, weight| sum.saturating_add(*weight));
    if let Some(most) = weights.iter_mut().max() {
        *most = most.saturating_add(ONE).saturating_sub(sum);
    }
    weights
}

#[expect(
    clippy::cast_precision_loss,
    reason = "places are below the size of a frame"
)]
const fn float(at: usize) -> f64 {
    at as f64
}

/// Half of one, for rounding.
const HALF: u32 = ONE / 2;

fn rounded(sum: u32) -> u8 {
    u8::try_from(sum.saturating_add(HALF).wrapping_shr(16)).unwrap_or(u8::MAX)
}

/// What is used of `picture`, scaled both ways: first the way that leaves fewer pixels, which are
/// then no more than the greater one of both pictures has.
fn scale(picture: &Picture, across: Weights, down: Weights) -> Picture {
    let (columns, rows) = (across.used(), down.used());
    let rows_first = across.0.len().saturating_mul(rows.len());
    let columns_first = columns.len().saturating_mul(down.0.len());
    if rows_first <= columns_first {
        let narrow = scale_rows(picture, &across, &rows);
        scale_columns(&narrow, &down.from(rows.start), 0..usize::MAX)
    } else {
        let low = scale_columns(picture, &down, columns.clone());
        let height = usize::try_from(low.height()).unwrap_or(0);
        scale_rows(&low, &across.from(columns.start), &(0..height))
    }
}

/// All of `picture` in another size.
pub(super) fn resized(picture: &Picture, width: u32, height: u32) -> Picture {
    let across = Weights::new(0.0, picture.width().into(), width);
    let down = Weights::new(0.0, picture.height().into(), height);
    scale(picture, across, down)
}

/// Scales these rows.
fn scale_rows(picture: &Picture, weights: &Weights, rows: &Range<usize>) -> Picture {
    let channels = picture.channels();
    let width = weights.0.len();
    let mut out = Vec::new();
    out.reserve_exact(width.saturating_mul(channels).saturating_mul(rows.len()));
    let old = picture.samples().chunks_exact(picture.row_samples());
    for row in old.skip(rows.start).take(rows.len()) {
        if channels == 3 {
            let row = row.as_chunks::<3>().0;
            for (first, weights) in &weights.0 {
                let mut sums = [0_u32; 3];
                for (pixel, weight) in row.iter().skip(*first).zip(weights) {
                    for (sum, sample) in sums.iter_mut().zip(pixel) {
                        *sum = sum.wrapping_add(u32::from(*sample).wrapping_mul(*weight));
                    }
                }
                out.extend(sums.map(rounded));
            }
        } else {
            for (first, weights) in &weights.0 {
                let samples = row.iter().skip(*first).zip(weights);
                let sum = samples.fold(0_u32, |sum, (sample, weight)| {
                    sum.wrapping_add(u32::from(*sample).wrapping_mul(*weight))
                });
                out.push(rounded(sum));
            }
        }
    }
    let width = u32::try_from(width).unwrap_or(u32::MAX);
    let height = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    Picture::new(width, height, picture.is_colour(), out)
}

/// Scales these columns, as far as there are any.
fn scale_columns(picture: &Picture, weights: &Weights, columns: Range<usize>) -> Picture {
    let width = usize::try_from(picture.width()).unwrap_or(0);
    let columns = columns.start.min(width)..columns.end.min(width);
    let channels = picture.channels();
    let row_samples = columns.len().saturating_mul(channels);
    let skipped = columns.start.saturating_mul(channels);
    let mut out = Vec::new();
    out.reserve_exact(row_samples.saturating_mul(weights.0.len()));
    let mut sums = vec![0_u32; row_samples];
    for (first, weights) in &weights.0 {
        sums.fill(0);
        let rows = picture.samples().chunks_exact(picture.row_samples());
        for (row, weight) in rows.skip(*first).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(row.iter().skip(skipped)) {
                *sum = sum.wrapping_add(u32::from(*sample).wrapping_mul(*weight));
            }
        }
        out.extend(sums.iter().map(|sum| rounded(*sum)));
    }
    let width = u32::try_from(columns.len()).unwrap_or(u32::MAX);
    let height = u32::try_from(weights.0.len()).unwrap_or(u32::MAX);
    Picture::new(width, height, picture.is_colour(), out)
}

/// Exchanges left and right.
pub(super) fn flip_rows(picture: &mut Picture) {
    let (row_samples, is_colour) = (picture.row_samples(), picture.is_colour());
    for row in picture.samples_mut().chunks_exact_mut(row_samples) {
        if is_colour {
            row.as_chunks_mut::<3>().0.reverse();
        } else {
            row.reverse();
        }
    }
}

/// Exchanges top and bottom.
pub(super) fn flip_columns(picture: &mut Picture) {
    let row_samples = picture.row_samples();
    let mut rows = picture.samples_mut().chunks_exact_mut(row_samples);
    while let (Some(upper), Some(lower)) = (rows.next(), rows.next_back()) {
        upper.swap_with_slice(lower);
    }
}
