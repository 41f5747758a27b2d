//! A picture of eight bits a sample.

use super::ink::Ink;

/// Grey levels, or RGB by pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    is_colour: bool,
    /// `width` × `height` levels, or three times as many.
    samples: Vec<u8>,
}

/// Shows no pixels.
impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("is_colour", &self.is_colour)
            .finish_non_exhaustive()
    }
}

impl Picture {
    /// Of `samples`, which are cut or filled up with black to the size.
    pub(crate) fn new(width: u32, height: u32, is_colour: bool, mut samples: Vec<u8>) -> Self {
        let channels: usize = if is_colour { 3 } else { 1 };
        let width_px = usize::try_from(width).unwrap_or(usize::MAX);
        let height_px = usize::try_from(height).unwrap_or(usize::MAX);
        let length = width_px.saturating_mul(height_px).saturating_mul(channels);
        samples.resize(length, 0);
        Self {
            width,
            height,
            is_colour,
            samples,
        }
    }

    /// Pixels of a row.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Whether there are three samples to a pixel: red, green and blue.
    #[must_use]
    pub const fn is_colour(&self) -> bool {
        self.is_colour
    }

    /// The samples, row by row.
    #[must_use]
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    pub(crate) fn samples_mut(&mut self) -> &mut [u8] {
        &mut self.samples
    }

    /// Gives the pixel at `x` and `y`, if there is one, another colour.
    pub(super) fn put(&mut self, x: i64, y: i64, ink: Ink) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if x >= self.width || y >= self.height {
            return;
        }
        let pixel = u64::from(y).saturating_mul(u64::from(self.width));
        let pixel = usize::try_from(pixel.saturating_add(u64::from(x))).unwrap_or(usize::MAX);
        let from = pixel.saturating_mul(self.channels());
        let to = from.saturating_add(self.channels());
        if let Some(pixel) = self.samples.get_mut(from..to) {
            pixel
                .iter_mut()
                .zip(ink.0)
                .for_each(|(sample, of_ink)| *sample = of_ink);
        }
    }

    /// Gives the pixels of a row from `from` to `to`, both counted from 1 on, another colour.
    pub(super) fn fill_row(&mut self, row: u32, from: f64, to: f64, ink: Ink) {
        let width = f64::from(self.width);
        let first = super::geometry::place(from.clamp(1.0, width + 1.0) - 1.0);
        let end = super::geometry::place(to.clamp(0.0, width));
        let channels = self.channels();
        let row_samples = self.row_samples();
        let begin = usize::try_from(row)
            .unwrap_or(usize::MAX)
            .saturating_mul(row_samples);
        let from = begin.saturating_add(first.saturating_mul(channels));
        let to = begin.saturating_add(end.saturating_mul(channels));
        let pixels = self.samples.get_mut(from..to).unwrap_or_default();
        for pixel in pixels.chunks_exact_mut(channels) {
            pixel
                .iter_mut()
                .zip(ink.0)
                .for_each(|(sample, of_ink)| *sample = of_ink);
        }
    }

    /// The same, turned by a quarter clockwise.
    pub(super) fn turned(self) -> Self {
        let (width, height) = (self.height, self.width);
        let columns = usize::try_from(self.width).unwrap_or(0);
        let channels = self.channels();
        let mut samples = Vec::with_capacity(self.samples.len());
        for column in 0..columns {
            // What was the left column, from the bottom up, is the first row.
            let at = column.saturating_mul(channels);
            let end = at.saturating_add(channels);
            for row in self.samples.chunks_exact(self.row_samples()).rev() {
                samples.extend_from_slice(row.get(at..end).unwrap_or_default());
            }
        }
        Self::new(width, height, self.is_colour, samples)
    }

    /// Samples of a pixel.
    pub(crate) const fn channels(&self) -> usize {
        if self.is_colour { 3 } else { 1 }
    }

    /// Samples of a row.
    pub(crate) fn row_samples(&self) -> usize {
        let width = usize::try_from(self.width).unwrap_or(usize::MAX);
        width.saturating_mul(self.channels()).max(1)
    }
}
