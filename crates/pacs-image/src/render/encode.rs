//! Pictures as files: JPEG, PNG, and GIF for several.

use super::RenderError;
use super::geometry;
use super::picture::Picture;
use crate::limits::RenderLimits;
use pacs_jpeg::Samples;

/// What a picture is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// `image/gif`: levels of grey as they are, colour with 256 of them.
    Gif,
    /// `image/jpeg`, with a quality from 1 to 100.
    Jpeg {
        /// As IJG counts it.
        quality: u8,
    },
    /// `image/png`: every sample as it is.
    Png,
}

/// Quality where nobody says another: differences are hard to see.
pub const QUALITY_DEFAULT: u8 = 90;

impl PictureFormat {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Jpeg { .. } => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

impl Picture {
    /// The file of it.
    ///
    /// # Errors
    /// [`RenderError::TooLarge`] where the format has no such size.
    pub fn encode(
        &self,
        format: PictureFormat,
        limits: &RenderLimits,
    ) -> Result<Vec<u8>, RenderError> {
        match format {
            PictureFormat::Jpeg { quality } => self.jpeg(quality),
            PictureFormat::Png => self.png(),
            PictureFormat::Gif => {
                let mut animation = Animation::new(0, *limits);
                animation.add(self)?;
                animation.finish()
            }
        }
    }

    /// The size, where it fits 16 bits.
    fn size(&self) -> Result<(u16, u16), RenderError> {
        let limit = u64::from(u16::MAX);
        let what = "pixels of an edge";
        let short = |edge| u16::try_from(edge).map_err(|_| RenderError::TooLarge { what, limit });
        Ok((short(self.width())?, short(self.height())?))
    }

    fn jpeg(&self, quality: u8) -> Result<Vec<u8>, RenderError> {
        let (width, height) = self.size()?;
        let samples = if self.is_colour() {
            Samples::Rgb(self.samples())
        } else {
            Samples::Grey(self.samples())
        };
        pacs_jpeg::encode(samples, width, height, quality).map_err(|_| RenderError::Encode)
    }

    fn png(&self) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width(), self.height());
        encoder.set_color(if self.is_colour() {
            png::ColorType::Rgb
        } else {
            png::ColorType::Grayscale
        });
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let wrong = |_| RenderError::Encode;
        let mut writer = encoder.write_header().map_err(wrong)?;
        writer.write_image_data(self.samples()).map_err(wrong)?;
        writer.finish().map_err(wrong)?;
        Ok(out)
    }
}

/// Pictures one after the other, as GIF. All get the size of the first.
pub struct Animation {
    encoder: Option<gif::Encoder<Vec<u8>>>,
    frames: u32,
    pixels: u64,
    size: (u16, u16),
    /// In hundredths of a second.
    delay: u16,
    limits: RenderLimits,
}

/// Shows no pixels.
impl std::fmt::Debug for Animation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Animation")
            .field("frames", &self.frames)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Animation {
    /// An animation whose pictures are shown for `delay` hundredths of a second each.
    #[must_use]
    pub const fn new(delay: u16, limits: RenderLimits) -> Self {
        Self {
            encoder: None,
            frames: 0,
            pixels: 0,
            size: (0, 0),
            delay,
            limits,
        }
    }

    /// The next picture.
    ///
    /// # Errors
    /// [`RenderError`]: [`RenderError::TooLarge`] over the limits of animations.
    pub fn add(&mut self, picture: &Picture) -> Result<(), RenderError> {
        self.frames = self.frames.saturating_add(1);
        if self.frames > self.limits.animation_frames_max {
            let (what, limit) = ("frames of an animation", self.limits.animation_frames_max);
            let limit = u64::from(limit);
            return Err(RenderError::TooLarge { what, limit });
        }
        let resized;
        let (mut picture, mut size) = (picture, picture.size()?);
        if self.encoder.is_some() && size != self.size {
            // Frames of other spacing (PS3.3 C.7.6.16.2.1).
            size = self.size;
            resized = geometry::resized(picture, size.0.into(), size.1.into());
            picture = &resized;
        }
        let pixels = u64::from(size.0).saturating_mul(size.1.into());
        self.pixels = self.pixels.saturating_add(pixels);
        let limit = self.limits.animation_pixels_max;
        if self.pixels > limit {
            let what = "pixels of an animation";
            return Err(RenderError::TooLarge { what, limit });
        }
        if self.encoder.is_none() {
            let palette: Vec<u8> = (0..=u8::MAX).flat_map(|level| [level; 3]).collect();
            let encoder = gif::Encoder::new(Vec::new(), size.0, size.1, &palette);
            let mut encoder = encoder.map_err(|_| RenderError::Encode)?;
            if self.delay > 0 {
                let forever = encoder.set_repeat(gif::Repeat::Infinite);
                forever.map_err(|_| RenderError::Encode)?;
            }
            self.encoder = Some(encoder);
            self.size = size;
        }
        let Some(encoder) = &mut self.encoder else {
            return Err(RenderError::Encode);
        };
        let mut frame = if picture.is_colour() {
            gif::Frame::from_rgb_speed(size.0, size.1, picture.samples(), 10)
        } else {
            gif::Frame {
                width: size.0,
                height: size.1,
                buffer: picture.samples().into(),
                ..gif::Frame::default()
            }
        };
        frame.delay = self.delay;
        encoder
            .write_frame(&frame)
            .map_err(|_| RenderError::Encode)?;
        let bytes_max = self.limits.animation_bytes_max;
        if encoder.get_ref().len() > bytes_max {
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
            let what = "bytes of an animation";
            return Err(RenderError::TooLarge { what, limit });
        }
        Ok(())
    }

    /// The file of it.
    ///
    /// # Errors
    /// [`RenderError::Encode`], also where there was no picture.
    pub fn finish(self) -> Result<Vec<u8>, RenderError> {
        let encoder = self.encoder.ok_or(RenderError::Encode)?;
        encoder.into_inner().map_err(|_| RenderError::Encode)
    }
}
