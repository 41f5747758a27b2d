//! A picture of eight bits a sample.

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
