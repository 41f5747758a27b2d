//! Softcopy presentation states (PS3.3 A.33.1 to A.33.3, PS3.4 N.2) and shutters (PS3.3 C.7.6.11).
//!
//! A state says for the images it refers to which values are shown, in which colours, which part,
//! which way round, what is covered, and what is drawn over it (see [`super::graphics`]).

use super::ink::Ink;
use super::picture::Picture;
use super::{Region, RenderError};
use crate::head::{DataSet, Head};
use pacs_core::Tag;
use pacs_core::convert::{Photometric, PixelForm};
use pacs_core::tag::tags;

/// The states that are rendered, by what they do with the values of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresentationKind {
    /// Color Softcopy (PS3.3 A.33.2): an image in colour stays as it is.
    Color,
    /// Grayscale Softcopy (PS3.3 A.33.1): values become levels of grey.
    Grayscale,
    /// Pseudo-Color Softcopy (PS3.3 A.33.3): these become colours of a palette.
    PseudoColor,
}

impl PresentationKind {
    /// Of the SOP class with this UID; `None` where it is no such state (PS3.4 B.5).
    #[must_use]
    pub fn of(sop_class: &str) -> Option<Self> {
        match sop_class.strip_prefix("1.2.840.10008.5.1.4.1.1.11.")? {
            "1" => Some(Self::Grayscale),
            "2" => Some(Self::Color),
            "3" => Some(Self::PseudoColor),
            _ => None,
        }
    }

    /// Whether it is for images of this form.
    pub(super) fn check(self, form: &PixelForm) -> Result<(), RenderError> {
        let is_grey = form.samples_per_pixel == 1 && form.photometric != Photometric::PaletteColor;
        let damaged = |what| Err(RenderError::Damaged { what });
        match self {
            Self::Color if is_grey => damaged("its presentation state is for images in colour"),
            Self::PseudoColor if !is_grey => damaged("its presentation state is for grey images"),
            // Some are for images in colour, which keep theirs.
            Self::Color | Self::Grayscale | Self::PseudoColor => Ok(()),
        }
    }
}

/// A state, and the frame it is applied to.
#[derive(Debug, Clone, Copy)]
pub struct Presentation<'h> {
    /// What it does with the values.
    pub kind: PresentationKind,
    /// The head of the state.
    pub state: &'h Head,
    /// SOP Instance UID of the image.
    pub instance: &'h str,
    /// The frame of it, from 1 on.
    pub frame: u32,
}

impl<'h> Presentation<'h> {
    /// The item of `sequence` that is for the image; one that names no images is for all.
    pub(super) fn item(&self, sequence: Tag) -> Option<DataSet<'h>> {
        let mut items = self.state.root().items(sequence);
        items.find(|item| self.is_for_image(item))
    }

    /// Whether an item is for the image; one that names no images is for all.
    pub(super) fn is_for_image(&self, item: &DataSet<'_>) -> bool {
        let mut images = item.items(tags::REFERENCED_IMAGE_SEQUENCE);
        !item.has(tags::REFERENCED_IMAGE_SEQUENCE) || images.any(|image| self.is_of(&image))
    }

    /// Whether the overlay of the image in `group` is shown.
    pub(super) fn activates(&self, group: u16) -> bool {
        // Overlay Activation Layer.
        self.state.root().text(Tag(group, 0x1001)).is_some()
    }

    fn is_of(&self, image: &DataSet<'_>) -> bool {
        let instance = image.text(tags::REFERENCED_SOP_INSTANCE_UID);
        let frames = image.numbers(tags::REFERENCED_FRAME_NUMBER);
        let is_of_frame = frames.is_empty() || frames.contains(&f64::from(self.frame));
        instance.as_deref() == Some(self.instance) && is_of_frame
    }

    /// Whether black and white are exchanged.
    pub(super) fn inverts(&self) -> bool {
        inverts(&self.state.root())
    }

    /// How often the image is turned by a quarter, clockwise; and whether left and right are
    /// exchanged then.
    pub(super) fn turn(&self) -> (u8, bool) {
        let root = self.state.root();
        let quarters = match root.number(tags::IMAGE_ROTATION) {
            Some(90.0) => 1,
            Some(180.0) => 2,
            Some(270.0) => 3,
            _ => 0,
        };
        let flip = root.text(tags::IMAGE_HORIZONTAL_FLIP);
        (quarters, flip.as_deref() == Some("Y"))
    }

    /// The part of the image that is shown, before it is turned.
    pub(super) fn area(&self) -> Option<Region> {
        let item = self.item(tags::DISPLAYED_AREA_SELECTION_SEQUENCE)?;
        let first = item.numbers(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER);
        let second = item.numbers(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER);
        let ([x1, y1, ..], [x2, y2, ..]) = (&*first, &*second) else {
            return None;
        };
        // Counted from 1 on; which corner is which depends on how it is turned. What lies off the
        // image is not shown.
        let (left, right) = (x1.min(*x2) - 1.0, x1.max(*x2));
        let (top, bottom) = (y1.min(*y2) - 1.0, y1.max(*y2));
        let (x, y) = (left.max(0.0), top.max(0.0));
        let (width, height) = (right - x, bottom - y);
        (width >= 1.0 && height >= 1.0).then_some(Region {
            x,
            y,
            width: Some(width),
            height: Some(height),
            ..Region::default()
        })
    }
}

/// Whether Presentation LUT Shape (PS3.3 C.11.6) exchanges black and white.
pub(super) fn inverts(item: &DataSet<'_>) -> bool {
    item.text(tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE")
}

/// Covers what the shutters of `item`, an image or a state, leave out.
pub(super) fn shutter(item: &DataSet<'_>, picture: &mut Picture) {
    let Some(shapes) = item.text(tags::SHUTTER_SHAPE) else {
        return;
    };
    let (lab, grey) = (
        tags::SHUTTER_PRESENTATION_COLOR_CIE_LAB_VALUE,
        tags::SHUTTER_PRESENTATION_VALUE,
    );
    let ink = Ink::of(item, (lab, grey), picture).unwrap_or(Ink::BLACK);
    for shape in shapes.split('\\').take(3) {
        match shape.trim() {
            "RECTANGULAR" => rectangle(item, picture, ink),
            "CIRCULAR" => circle(item, picture, ink),
            "POLYGONAL" => polygon(item, picture, ink),
            _ => {}
        }
    }
}

/// Covers each row but for the pixels, counted from 1 on, between pairs of edges.
fn cover(picture: &mut Picture, ink: Ink, open: impl Fn(f64) -> Vec<(f64, f64)>) {
    for y in 0..picture.height() {
        let open = open(f64::from(y) + 1.0);
        let mut from = 1.0;
        for (left, right) in open {
            picture.fill_row(y, from, left - 1.0, ink);
            from = f64::max(from, right + 1.0);
        }
        picture.fill_row(y, from, f64::from(picture.width()), ink);
    }
}

fn rectangle(item: &DataSet<'_>, picture: &mut Picture, ink: Ink) {
    let edge = |tag| item.number(tag);
    let (Some(left), Some(right), Some(upper), Some(lower)) = (
        edge(tags::SHUTTER_LEFT_VERTICAL_EDGE),
        edge(tags::SHUTTER_RIGHT_VERTICAL_EDGE),
        edge(tags::SHUTTER_UPPER_HORIZONTAL_EDGE),
        edge(tags::SHUTTER_LOWER_HORIZONTAL_EDGE),
    ) else {
        return;
    };
    cover(picture, ink, |y| {
        let is_open = (upper..=lower).contains(&y) && left <= right;
        if is_open {
            vec![(left, right)]
        } else {
            Vec::new()
        }
    });
}

fn circle(item: &DataSet<'_>, picture: &mut Picture, ink: Ink) {
    let center = item.numbers(tags::CENTER_OF_CIRCULAR_SHUTTER);
    let radius = item.number(tags::RADIUS_OF_CIRCULAR_SHUTTER);
    let ([row, column, ..], Some(radius)) = (&*center, radius) else {
        return;
    };
    cover(picture, ink, |y| {
        let half = radius * radius - (y - row) * (y - row);
        if half < 0.0 {
            return Vec::new();
        }
        let half = half.sqrt();
        vec![((column - half).ceil(), (column + half).floor())]
    });
}

fn polygon(item: &DataSet<'_>, picture: &mut Picture, ink: Ink) {
    let numbers = item.numbers(tags::VERTICES_OF_THE_POLYGONAL_SHUTTER);
    let corners = numbers.as_chunks::<2>().0;
    let Some(last) = corners.last().filter(|_| corners.len() > 2) else {
        return;
    };
    let before = std::iter::once(last).chain(corners);
    let sides: Vec<(&[f64; 2], &[f64; 2])> = before.zip(corners).collect();
    cover(picture, ink, |y| {
        let crossed = sides.iter().filter_map(|([y1, x1], [y2, x2])| {
            let crosses = (*y1 <= y) != (*y2 <= y);
            crosses.then(|| x1 + (y - y1) / (y2 - y1) * (x2 - x1))
        });
        let mut crossed: Vec<f64> = crossed.collect();
        crossed.sort_by(f64::total_cmp);
        let pairs = crossed.as_chunks::<2>().0.iter();
        pairs
            .map(|[left, right]| (left.ceil(), right.floor()))
            .collect()
    });
}
