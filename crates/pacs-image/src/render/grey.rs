//! Stored values to grey levels: Modality LUT, VOI LUT, polarity (PS3.4 N.2, PS3.3 C.11); or to
//! the colours of a palette.

use super::colour::Palette;
use super::lookup::Lookup;
use super::picture::Picture;
use super::{
    NativeFrame, Presentation, PresentationKind, RenderError, RenderParameters, Window,
    WindowFunction,
};
use crate::head::DataSet;
use pacs_core::Tag;
use pacs_core::convert::{Photometric, PixelForm};
use pacs_core::tag::tags;

/// A grey image, through its table.
pub(super) fn render(
    root: &DataSet<'_>,
    frame: &NativeFrame<'_>,
    parameters: &RenderParameters,
    presentation: Option<&Presentation<'_>>,
) -> Result<Picture, RenderError> {
    let form = frame.form;
    let state = presentation.map(|presentation| presentation.state.root());
    let modality = Modality::of(state.as_ref().unwrap_or(root), form);
    let padding = Padding::of(root, form, frame.is_float);
    let inverts = match presentation {
        Some(presentation) => presentation.inverts(),
        // Where an image says both, they mean the same (PS3.3 C.8.11.3.1.2).
        None => form.photometric == Photometric::Monochrome1 || super::presentation::inverts(root),
    };
    let table = state.and_then(|state| Lookup::of_presentation(&state));
    let samples = Samples::of(root, frame)?;
    let told = match parameters.window {
        Some(window) => Some(Voi::Window(window)),
        None => Voi::chosen(root, presentation, form, &modality)
            .or_else(|| samples.fixed_range(form, &modality)),
    };
    let voi = told.unwrap_or_else(|| {
        let range = parameters.range;
        let (least, most) = range.unwrap_or_else(|| samples.spread(&modality, &padding));
        Voi::Range { least, most }
    });
    let levels = Levels {
        modality,
        voi,
        padding,
        inverts,
        table,
    };
    let pseudo = presentation.filter(|state| state.kind == PresentationKind::PseudoColor);
    let out = match pseudo {
        Some(presentation) => {
            let what = "its presentation state has no palette";
            let palette = Palette::of(&presentation.state.root(), false);
            let palette = palette.ok_or(RenderError::Damaged { what })?;
            let colours = samples.map(form, &|stored| levels.colour(stored, &palette));
            colours.into_flattened()
        }
        None => samples.map(form, &|stored| levels.of(stored)),
    };
    let (width, height) = (form.columns.into(), form.rows.into());
    Ok(Picture::new(width, height, pseudo.is_some(), out))
}

/// The smallest and the greatest value of a frame, where nothing says what is shown of it.
pub(super) fn spread(
    root: &DataSet<'_>,
    frame: &NativeFrame<'_>,
    presentation: Option<&Presentation<'_>>,
) -> Result<Option<(f64, f64)>, RenderError> {
    let form = frame.form;
    let state = presentation.map(|presentation| presentation.state.root());
    let modality = Modality::of(state.as_ref().unwrap_or(root), form);
    let samples = Samples::of(root, frame)?;
    let is_told = Voi::chosen(root, presentation, form, &modality).is_some()
        || samples.fixed_range(form, &modality).is_some();
    let padding = Padding::of(root, form, frame.is_float);
    Ok((!is_told).then(|| samples.spread(&modality, &padding)))
}

/// The whole way of one value.
struct Levels {
    modality: Modality,
    voi: Voi,
    padding: Padding,
    inverts: bool,
    /// Presentation LUT (PS3.3 C.11.6).
    table: Option<Lookup>,
}

impl Levels {
    /// The level of a stored value.
    fn of(&self, stored: f64) -> u8 {
        if self.padding.has(stored) {
            return 0;
        }
        let mut part = self.voi.part(self.modality.apply(stored));
        if let Some(table) = &self.table {
            part = table.part(part);
        }
        level(if self.inverts { 1.0 - part } else { part })
    }

    /// The colour of a stored value, by a palette instead of a Presentation LUT (PS3.3 A.33.3,
    /// PS3.4 N.2).
    fn colour(&self, stored: f64, palette: &Palette) -> [u8; 3] {
        if self.padding.has(stored) {
            return [0; 3];
        }
        palette.at_part(self.voi.part(self.modality.apply(stored)))
    }
}

/// A part of one, from 0 to 1, as a level.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
pub(super) fn level(part: f64) -> u8 {
    (part * 255.0 + 0.5) as u8
}

/// The nearest word.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
pub(super) fn word(value: f64) -> u16 {
    (value + 0.5) as u16
}

/// The nearest signed word.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
pub(super) fn signed_word(value: f64) -> i16 {
    value.round() as i16
}

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast of a float keeps within the range, and NaN becomes 0"
)]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// Modality LUT (PS3.3 C.11.1).
enum Modality {
    Linear { slope: f64, intercept: f64 },
    Table(Lookup),
}

impl Modality {
    fn of(root: &DataSet<'_>, form: &PixelForm) -> Self {
        let descriptor = tags::LUT_DESCRIPTOR;
        let table = root.first(tags::MODALITY_LUT_SEQUENCE);
        let table =
            table.and_then(|item| Lookup::read(&item, descriptor, tags::LUT_DATA, form.is_signed));
        if let Some(table) = table {
            return Self::Table(table);
        }
        let sequence = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
        let item = functional_group(root, sequence).unwrap_or(*root);
        let slope = item
            .number(tags::RESCALE_SLOPE)
            .filter(|slope| *slope != 0.0);
        Self::Linear {
            slope: slope.unwrap_or(1.0),
            intercept: item.number(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        }
    }

    fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Linear { slope, intercept } => stored * slope + intercept,
            Self::Table(table) => f64::from(table.entry(whole(stored))),
        }
    }

    fn is_identity(&self) -> bool {
        matches!(self, Self::Linear { slope, intercept } if *slope == 1.0 && *intercept == 0.0)
    }

    /// Whether what comes out can be below zero.
    fn is_signed(&self, form: &PixelForm) -> bool {
        match self {
            Self::Linear { slope, intercept } => form.is_signed || *slope < 0.0 || *intercept < 0.0,
            Self::Table(_) => false,
        }
    }
}

/// The item of `sequence` in the functional groups of the frame, or of all frames
/// (PS3.3 C.7.6.16).
pub(super) fn functional_group<'h>(root: &DataSet<'h>, sequence: Tag) -> Option<DataSet<'h>> {
    // The head holds the groups of one frame; items of others are empty.
    let mut own = root.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    own.find_map(|item| item.first(sequence)).or_else(|| {
        let shared = root.first(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?;
        shared.first(sequence)
    })
}

/// Which values are shown, from black to white.
enum Voi {
    Table(Lookup),
    Range { least: f64, most: f64 },
    Window(Window),
}

impl Voi {
    /// What a presentation state says of the image, or else what the image says of itself; a
    /// state that says nothing means everything.
    fn chosen(
        root: &DataSet<'_>,
        presentation: Option<&Presentation<'_>>,
        form: &PixelForm,
        modality: &Modality,
    ) -> Option<Self> {
        let Some(presentation) = presentation else {
            let group = functional_group(root, tags::FRAME_VOILUT_SEQUENCE);
            return Self::of(&group.unwrap_or(*root), form, modality);
        };
        let item = presentation.item(tags::SOFTCOPY_VOILUT_SEQUENCE)?;
        Self::of(&item, form, modality)
    }

    /// What an item says first: a table, or else a window (PS3.3 C.11.2).
    fn of(item: &DataSet<'_>, form: &PixelForm, modality: &Modality) -> Option<Self> {
        let is_signed = modality.is_signed(form);
        let (descriptor, data) = (tags::LUT_DESCRIPTOR, tags::LUT_DATA);
        let table = item.first(tags::VOILUT_SEQUENCE);
        let table = table.and_then(|table| Lookup::read(&table, descriptor, data, is_signed));
        if let Some(table) = table {
            return Some(Self::Table(table));
        }
        let function = item.text(tags::VOILUT_FUNCTION).unwrap_or_default();
        let window = Window::new(
            item.number(tags::WINDOW_CENTER)?,
            item.number(tags::WINDOW_WIDTH)?,
            WindowFunction::of(&function).unwrap_or_default(),
        );
        window.map(Self::Window)
    }

    /// Where a value is between black (0) and white (1).
    fn part(&self, value: f64) -> f64 {
        match self {
            Self::Table(table) => f64::from(table.entry(whole(value))) / f64::from(table.most()),
            Self::Range { least, most } if least < most => (value - least) / (most - least),
            Self::Range { .. } => 0.0,
            Self::Window(window) => windowed(window, value),
        }
        .clamp(0.0, 1.0)
    }
}

fn windowed(window: &Window, value: f64) -> f64 {
    let Window { center, width, .. } = *window;
    match window.function {
        WindowFunction::Linear => {
            let (center, width) = (center - 0.5, width - 1.0);
            if value <= center - width / 2.0 {
                0.0
            } else if value > center + width / 2.0 {
                1.0
            } else {
                (value - center) / width + 0.5
            }
        }
        WindowFunction::LinearExact => (value - center) / width + 0.5,
        WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
    }
}

/// What a single of this value is: decimal text of a single is not the same number as a double.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the number was a single before it was text"
)]
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2): stored values that are
/// no image. They are black, and have no say in what is white.
struct Padding(Option<(f64, f64)>);

impl Padding {
    fn of(root: &DataSet<'_>, form: &PixelForm, is_float: bool) -> Self {
        let number = |tag| {
            let number = root.number(tag)?;
            // Where the VR is not told it was taken for unsigned.
            let is_turned = form.is_signed && number > 32767.0;
            Some(if is_turned { number - 65536.0 } else { number })
        };
        let range = |value: Option<f64>, limit: Option<f64>| {
            let value = value?;
            let limit = limit.unwrap_or(value);
            Some((value.min(limit), value.max(limit)))
        };
        if !is_float {
            let value = number(tags::PIXEL_PADDING_VALUE);
            return Self(range(value, number(tags::PIXEL_PADDING_RANGE_LIMIT)));
        }
        let single = range(
            root.number(tags::FLOAT_PIXEL_PADDING_VALUE).map(single),
            root.number(tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT)
                .map(single),
        );
        Self(single.or_else(|| {
            range(
                root.number(tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE),
                root.number(tags::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT),
            )
        }))
    }

    fn has(&self, stored: f64) -> bool {
        self.0
            .is_some_and(|(least, most)| (least..=most).contains(&stored))
    }
}

/// How a stored value stands in its word (PS3.5 8.1.1).
#[derive(Clone, Copy)]
pub(super) struct Cell {
    shift: u32,
    mask: u32,
    sign: u32,
}

impl Cell {
    pub(super) fn of(root: Option<&DataSet<'_>>, form: &PixelForm) -> Self {
        let bits = u32::from(form.bits_stored).clamp(1, 32);
        let mask = u32::MAX.wrapping_shr(32_u32.saturating_sub(bits));
        let high = root.and_then(|root| root.number(tags::HIGH_BIT)).map(whole);
        let high = high.and_then(|high| u32::try_from(high).ok());
        let allocated = u32::from(form.bits_allocated);
        let shift = high
            .filter(|high| *high < allocated)
            .and_then(|high| high.saturating_add(1).checked_sub(bits))
            .unwrap_or(0);
        let sign = if form.is_signed {
            1_u32.wrapping_shl(bits.saturating_sub(1))
        } else {
            0
        };
        Self { shift, mask, sign }
    }

    const fn bits(self, raw: u32) -> u32 {
        raw.wrapping_shr(self.shift) & self.mask
    }

    /// The value that stands in a word.
    pub(super) fn value(self, raw: u32) -> i64 {
        self.signed(self.bits(raw))
    }

    fn signed(self, bits: u32) -> i64 {
        let sign = i64::from(self.sign);
        (i64::from(bits) ^ sign).saturating_sub(sign)
    }
}

/// The samples of a frame.
enum Samples<'f> {
    /// Of one bit, the lowest first.
    Bits(&'f [u8]),
    Bytes(&'f [u8], Cell),
    Words(&'f [[u8; 2]], Cell),
    Longs(&'f [[u8; 4]], Cell),
    Floats(&'f [[u8; 4]]),
    Doubles(&'f [[u8; 8]]),
}

impl<'f> Samples<'f> {
    fn of(root: &DataSet<'_>, frame: &NativeFrame<'f>) -> Result<Self, RenderError> {
        let bytes = frame.bytes;
        let cell = Cell::of(Some(root), frame.form);
        let what = "pixel data of these Bits Allocated";
        match (frame.form.bits_allocated, frame.is_float) {
            (1, false) => Ok(Self::Bits(bytes)),
            (8, false) => Ok(Self::Bytes(bytes, cell)),
            (16, false) => Ok(Self::Words(bytes.as_chunks().0, cell)),
            (32, false) => Ok(Self::Longs(bytes.as_chunks().0, cell)),
            (32, true) => Ok(Self::Floats(bytes.as_chunks().0)),
            (64, true) => Ok(Self::Doubles(bytes.as_chunks().0)),
            _ => Err(RenderError::Unsupported { what }),
        }
    }

    /// What is shown of images of up to eight bits where nothing says it: all of it.
    fn fixed_range(&self, form: &PixelForm, modality: &Modality) -> Option<Voi> {
        if let (Modality::Table(table), Self::Bytes(..)) = (modality, self)
            && table.most() <= 255
        {
            let (least, most) = (0.0, f64::from(table.most()));
            return Some(Voi::Range { least, most });
        }
        let is_small = form.bits_stored <= 8 && !form.is_signed && modality.is_identity();
        if is_small && !matches!(self, Self::Floats(_) | Self::Doubles(_)) {
            let bits = u32::from(form.bits_stored);
            let most = f64::from(1_u32.wrapping_shl(bits).saturating_sub(1));
            return Some(Voi::Range { least: 0.0, most });
        }
        None
    }

    /// The smallest and the greatest value.
    fn spread(&self, modality: &Modality, padding: &Padding) -> (f64, f64) {
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut note = |stored: f64| {
            if !padding.has(stored) {
                let value = modality.apply(stored);
                range = (range.0.min(value), range.1.max(value));
            }
        };
        match self {
            Self::Bits(_) => [0.0, 1.0].into_iter().for_each(note),
            Self::Bytes(bytes, cell) => {
                let mut seen = vec![false; 256];
                bytes
                    .iter()
                    .for_each(|raw| mark(&mut seen, cell.bits((*raw).into())));
                seen_values(&seen, *cell).for_each(note);
            }
            Self::Words(words, cell) => {
                let mut seen = vec![false; 65_536];
                for raw in *words {
                    mark(&mut seen, cell.bits(u16::from_le_bytes(*raw).into()));
                }
                seen_values(&seen, *cell).for_each(note);
            }
            Self::Longs(longs, cell) => {
                let values = longs.iter().map(|raw| cell.value(u32::from_le_bytes(*raw)));
                values.for_each(|value| note(float(value)));
            }
            Self::Floats(floats) => {
                let values = floats.iter().map(|raw| f64::from(f32::from_le_bytes(*raw)));
                values.filter(|value| value.is_finite()).for_each(note);
            }
            Self::Doubles(doubles) => {
                let values = doubles.iter().map(|raw| f64::from_le_bytes(*raw));
                values.filter(|value| value.is_finite()).for_each(note);
            }
        }
        range
    }

    /// What all samples become, each `of` its stored value.
    fn map<T: Copy + Default>(&self, form: &PixelForm, of: &impl Fn(f64) -> T) -> Vec<T> {
        let pixels = super::pixels(form);
        match self {
            Self::Bits(bytes) => {
                let both = [of(0.0), of(1.0)];
                let bit = |at: usize| {
                    let byte = bytes.get(at >> 3).copied().unwrap_or(0);
                    byte.wrapping_shr(u32::try_from(at & 7).unwrap_or(0)) & 1
                };
                let [black, white] = both;
                (0..pixels)
                    .map(|at| if bit(at) == 1 { white } else { black })
                    .collect()
            }
            Self::Bytes(bytes, cell) => {
                let raw = bytes.iter().take(pixels).map(|raw| u32::from(*raw));
                cell.each(raw, of)
            }
            Self::Words(words, cell) => {
                let raw = words.iter().take(pixels);
                let raw = raw.map(|raw| u32::from(u16::from_le_bytes(*raw)));
                cell.each(raw, of)
            }
            Self::Longs(longs, cell) => {
                let raw = longs
                    .iter()
                    .take(pixels)
                    .map(|raw| u32::from_le_bytes(*raw));
                raw.map(|raw| of(float(cell.value(raw)))).collect()
            }
            Self::Floats(floats) => {
                let raw = floats
                    .iter()
                    .take(pixels)
                    .map(|raw| f32::from_le_bytes(*raw));
                raw.map(|raw| of(raw.into())).collect()
            }
            Self::Doubles(doubles) => {
                let raw = doubles
                    .iter()
                    .take(pixels)
                    .map(|raw| f64::from_le_bytes(*raw));
                raw.map(of).collect()
            }
        }
    }
}

impl Cell {
    /// What words of up to sixteen bits become. Each value that lies between the least and the
    /// greatest one is worked out once: an image has few of those that its words could hold.
    fn each<T: Copy + Default>(
        self,
        raw: impl Iterator<Item = u32> + Clone,
        of: &impl Fn(f64) -> T,
    ) -> Vec<T> {
        // In the order of the values, which two's complement is with its sign turned over.
        let sign = self.sign & 0xFFFF;
        let ordered = raw.map(|raw| self.bits(raw) ^ sign);
        let (least, greatest) = ordered.clone().fold((0xFFFF, 0), |(least, greatest), at| {
            (at.min(least), at.max(greatest))
        });
        let table: Vec<T> = (least..=greatest)
            .map(|at| of(float(self.signed(at ^ sign))))
            .collect();
        ordered
            .map(|at| {
                let at = usize::try_from(at.wrapping_sub(least)).unwrap_or(usize::MAX);
                table.get(at).copied().unwrap_or_default()
            })
            .collect()
    }
}

fn mark(seen: &mut [bool], bits: u32) {
    if let Some(seen) = usize::try_from(bits).ok().and_then(|at| seen.get_mut(at)) {
        *seen = true;
    }
}

fn seen_values(seen: &[bool], cell: Cell) -> impl Iterator<Item = f64> {
    let seen = (0_u32..).zip(seen).filter(|(_, seen)| **seen);
    seen.map(move |(bits, _)| float(cell.signed(bits)))
}

/// Exact: these have no more than 33 bits.
#[expect(clippy::cast_precision_loss, reason = "33 bits fit the mantissa")]
const fn float(value: i64) -> f64 {
    value as f64
}
