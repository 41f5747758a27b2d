//! From a native frame and the head of its data set to a picture of eight bits, grey or RGB
//! (PS3.18 8.3.5 and 8.7.4, PS3.4 N.2).
//!
//! The steps, each in a module: samples become grey levels by Modality LUT, VOI LUT and polarity
//! (`grey`), which a presentation state may give the colours of a palette, or RGB (`colour`);
//! shutters and overlays are drawn (`overlay`, `shutter`); what is wanted of it is cut out, turned
//! and scaled (`geometry`); what a presentation state has drawn is drawn (`graphics`); text is
//! written (`annotation`); the picture is encoded (`encode`). Frames are decoded elsewhere: see
//! [`crate::Decoders`].
//!
//! All of it is safe code over data that may be hostile: sizes are compared with [`RenderLimits`]
//! before anything is allocated, and nothing panics.

mod annotation;
mod colour;
mod encode;
mod geometry;
mod graphics;
mod grey;
mod ink;
mod lookup;
mod overlay;
mod picture;
mod presentation;

pub use annotation::Annotation;
pub use encode::{Animation, PictureFormat, QUALITY_DEFAULT};
pub use picture::Picture;
pub use presentation::{Presentation, PresentationKind};

use crate::head::{DataSet, Head, HeadError};
use crate::limits::RenderLimits;
use geometry::Placement;
use pacs_core::convert::{Photometric, PixelForm};
use pacs_core::tag::tags;

/// How a window maps values to levels (PS3.3 C.11.2.1.2 and C.11.2.1.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowFunction {
    /// LINEAR.
    #[default]
    Linear,
    /// `LINEAR_EXACT`.
    LinearExact,
    /// SIGMOID.
    Sigmoid,
}

impl WindowFunction {
    /// Of the value of VOI LUT Function (0028,1056), or of the parameter, in any case; `None`
    /// where it is none of them.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().replace('-', "_").as_str() {
            "LINEAR" => Some(Self::Linear),
            "LINEAR_EXACT" => Some(Self::LinearExact),
            "SIGMOID" => Some(Self::Sigmoid),
            _ => None,
        }
    }
}

/// A window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051).
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: WindowFunction,
}

impl Window {
    /// A window that means something: its numbers are finite, and its width is one that PS3.3
    /// C.11.2.1.2 allows.
    #[must_use]
    pub fn new(center: f64, width: f64, function: WindowFunction) -> Option<Self> {
        let least = match function {
            WindowFunction::Linear => width >= 1.0,
            WindowFunction::LinearExact | WindowFunction::Sigmoid => width > 0.0,
        };
        (center.is_finite() && width.is_finite() && least).then_some(Self {
            center,
            width,
            function,
        })
    }
}

/// What a client's screen has room for, and the part of the image to be shown there (PS3.18
/// 8.3.5.1.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Pixels of a row of the picture, at most; at least 1.
    pub width: u32,
    /// Rows of the picture, at most; at least 1.
    pub height: u32,
    /// Which part of the image, in its pixels; all of it where it is not told.
    pub region: Region,
}

/// A part of an image, in its pixels from the top left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Region {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Pixels of a row; up to the right edge where it is not told.
    pub width: Option<f64>,
    /// Rows; up to the lower edge where it is not told.
    pub height: Option<f64>,
    /// Whether left and right are exchanged.
    pub is_flipped_horizontally: bool,
    /// Whether top and bottom are exchanged.
    pub is_flipped_vertically: bool,
}

/// What somebody wants of a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RenderParameters {
    /// Instead of what the data set says. Only for grey images.
    pub window: Option<Window>,
    /// What is shown from black to white where nothing says it, instead of the values of the frame
    /// alone, so that the frames of an animation are alike; see [`spread`].
    pub range: Option<(f64, f64)>,
    /// Size, and part of the image; else every pixel is shown once.
    pub viewport: Option<Viewport>,
    /// Edges of the part that is shown, left, top, right and bottom, in parts of the image from 0
    /// to 1 (PS3.18 9.1.2.2.4.2.3); before the region of the viewport.
    pub part: Option<[f64; 4]>,
    /// What is written and drawn on the picture.
    pub annotation: Annotation,
}

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// Attributes and pixel data do not fit one another.
    #[error("the image cannot be rendered: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The encoder.
    #[error("the picture cannot be encoded")]
    Encode,
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The part that is asked for is not of the image.
    #[error("the viewport shows nothing of the image")]
    OutsideImage,
    /// A limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Pixel data of a kind that is not rendered.
    #[error("{what} cannot be rendered")]
    Unsupported {
        /// Which.
        what: &'static str,
    },
}

/// A native frame: what [`crate::Decoders::decode_frame`] gives, or what is stored uncompressed,
/// little endian.
#[derive(Clone, Copy)]
pub struct NativeFrame<'f> {
    /// Its form, as [`crate::native_form`] gives it.
    pub form: &'f PixelForm,
    /// Which of the instance, from 1 on.
    pub number: u32,
    /// Its bytes.
    pub bytes: &'f [u8],
    /// Whether its samples are floating point numbers (7FE0,0008 or 7FE0,0009).
    pub is_float: bool,
}

/// Shows no pixels.
impl std::fmt::Debug for NativeFrame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeFrame")
            .field("form", &self.form)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Renders a frame of the data set with `head`, which was read for that frame; as `presentation`
/// says, where there is one.
///
/// # Errors
/// [`RenderError`].
pub fn render(
    head: &Head,
    frame: NativeFrame<'_>,
    parameters: &RenderParameters,
    presentation: Option<&Presentation<'_>>,
    limits: &RenderLimits,
) -> Result<Picture, RenderError> {
    check(&frame, limits)?;
    if let Some(presentation) = presentation {
        presentation.kind.check(frame.form)?;
    }
    let root = head.root();
    let mut picture = match frame.form.samples_per_pixel {
        1 if frame.form.photometric == Photometric::PaletteColor => colour::palette(&root, &frame)?,
        1 => grey::render(&root, &frame, parameters, presentation)?,
        3 => colour::render(&frame)?,
        _ => {
            let what = "pixel data of this number of samples";
            return Err(RenderError::Unsupported { what });
        }
    };
    let state = presentation.map(|presentation| presentation.state.root());
    presentation::shutter(&state.unwrap_or(root), &mut picture);
    let shows_all = parameters.annotation.draws_overlays();
    overlay::draw(&root, &frame, &mut picture, limits, |group| {
        // A state activates them one by one (PS3.3 C.11.7).
        shows_all || presentation.is_some_and(|presentation| presentation.activates(group))
    });
    let aspect = aspect(&root);
    let size = (picture.width(), picture.height());
    let placement = Placement::new(size, aspect, parameters, presentation, limits)?;
    let mut picture = placement.apply(picture);
    if let Some(presentation) = presentation {
        graphics::draw(presentation, &placement, &mut picture, limits);
    }
    annotation::write(&root, parameters.annotation, &mut picture, limits);
    Ok(picture)
}

/// The smallest and the greatest value of a grey frame, where nothing says what is shown of it;
/// `None` where something does, or where it is the same for all frames.
///
/// # Errors
/// [`RenderError`].
pub fn spread(
    head: &Head,
    frame: NativeFrame<'_>,
    presentation: Option<&Presentation<'_>>,
    limits: &RenderLimits,
) -> Result<Option<(f64, f64)>, RenderError> {
    check(&frame, limits)?;
    if frame.form.samples_per_pixel != 1 || frame.form.photometric == Photometric::PaletteColor {
        return Ok(None);
    }
    grey::spread(&head.root(), &frame, presentation)
}

/// Pixels of a row, and rows, of the picture that [`render()`] makes of a frame of `form`: less
/// where a presentation state shows a part. To be asked before a frame is decoded.
///
/// # Errors
/// [`RenderError::TooLarge`] and [`RenderError::OutsideImage`]; [`RenderError::Damaged`] of an
/// image without pixels.
pub fn shown_size(
    head: &Head,
    form: &PixelForm,
    parameters: &RenderParameters,
    limits: &RenderLimits,
) -> Result<(u32, u32), RenderError> {
    if form.rows == 0 || form.columns == 0 {
        let what = "it has no pixels";
        return Err(RenderError::Damaged { what });
    }
    let size = (form.columns.into(), form.rows.into());
    let aspect = aspect(&head.root());
    Ok(Placement::new(size, aspect, parameters, None, limits)?.size())
}

/// Whether the frame is as long as it says, and not too long.
fn check(frame: &NativeFrame<'_>, limits: &RenderLimits) -> Result<(), RenderError> {
    let form = frame.form;
    let limit = limits.native_frame_bytes_max;
    let bytes = form.frame_bits().div_ceil(8);
    if bytes > limit {
        let what = "bytes of a frame";
        return Err(RenderError::TooLarge { what, limit });
    }
    let limit = limits.picture_pixels_max;
    if u64::from(form.rows).saturating_mul(u64::from(form.columns)) > limit {
        let what = "pixels of a frame";
        return Err(RenderError::TooLarge { what, limit });
    }
    if bytes == 0 || u64::try_from(frame.bytes.len()).unwrap_or(0) < bytes {
        let what = "the frame is too short";
        return Err(RenderError::Damaged { what });
    }
    Ok(())
}

/// Pixels of a frame.
fn pixels(form: &PixelForm) -> usize {
    usize::from(form.rows).saturating_mul(usize::from(form.columns))
}

/// Height of a pixel by its width, where both are told and differ (PS3.3 C.7.6.3.1.7).
fn aspect(root: &DataSet<'_>) -> f64 {
    let measures = || {
        let measures = grey::functional_group(root, tags::PIXEL_MEASURES_SEQUENCE)?;
        pair(&measures.numbers(tags::PIXEL_SPACING))
    };
    let ratio = pair(&root.numbers(tags::PIXEL_ASPECT_RATIO))
        .or_else(|| pair(&root.numbers(tags::PIXEL_SPACING)))
        .or_else(|| pair(&root.numbers(tags::IMAGER_PIXEL_SPACING)))
        .or_else(|| pair(&root.numbers(tags::NOMINAL_SCANNED_PIXEL_SPACING)))
        .or_else(measures);
    // What is told of thinner pixels is an error.
    ratio
        .filter(|ratio| (0.05..=20.0).contains(ratio))
        .filter(|ratio| (ratio - 1.0).abs() > 0.01)
        .unwrap_or(1.0)
}

fn pair(numbers: &[f64]) -> Option<f64> {
    match numbers {
        [vertical, horizontal, ..] if *vertical > 0.0 && *horizontal > 0.0 => {
            Some(vertical / horizontal)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
