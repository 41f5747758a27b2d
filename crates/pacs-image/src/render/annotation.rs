//! What is written on a picture (PS3.18 8.3.5.1.1): who it is of, and how it was made.
//!
//! Letters are those of ISO 8859-1 and 8859-5; other Cyrillic ones are written in Latin, of other
//! scripts a question mark stands.

use super::graphics::Align;
use super::grey::signed_word;
use super::ink::Ink;
use super::picture::Picture;
use crate::head::DataSet;
use crate::limits::RenderLimits;
use embedded_graphics::Drawable as _;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyleBuilder, iso_8859_1, iso_8859_5};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor as _};
use embedded_graphics::prelude::Pixel;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use pacs_core::Tag;
use pacs_core::fold::transliterate;
use pacs_core::tag::tags;

/// What is written on a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Name, ID, date of birth and sex of the patient.
    pub patient: bool,
    /// Modality, date, descriptions, and the parameters of the acquisition.
    pub technique: bool,
    /// Overlays; they are also drawn where anything is written.
    pub overlay: bool,
}

impl Annotation {
    /// Whether overlays are drawn.
    #[must_use]
    pub const fn draws_overlays(&self) -> bool {
        self.patient || self.technique || self.overlay
    }
}

/// What is said of a patient, at the upper left.
const PATIENT: [(&str, Tag, &str); 4] = [
    ("", tags::PATIENT_NAME, ""),
    ("ID ", tags::PATIENT_ID, ""),
    ("", tags::PATIENT_BIRTH_DATE, ""),
    ("", tags::PATIENT_SEX, ""),
];

/// What is said of the examination, at the upper right.
const EXAMINATION: [(&str, Tag, &str); 5] = [
    ("", tags::MODALITY, ""),
    ("", tags::STUDY_DATE, ""),
    ("", tags::STUDY_DESCRIPTION, ""),
    ("", tags::SERIES_DESCRIPTION, ""),
    ("", tags::INSTITUTION_NAME, ""),
];

/// How the image was made, at the lower left.
const ACQUISITION: [(&str, Tag, &str); 8] = [
    ("Series ", tags::SERIES_NUMBER, ""),
    ("Image ", tags::INSTANCE_NUMBER, ""),
    ("", tags::KVP, " kV"),
    ("", tags::X_RAY_TUBE_CURRENT, " mA"),
    ("TR ", tags::REPETITION_TIME, " ms"),
    ("TE ", tags::ECHO_TIME, " ms"),
    ("Slice ", tags::SLICE_THICKNESS, " mm"),
    ("At ", tags::SLICE_LOCATION, " mm"),
];

/// Narrower pictures have no room for text.
const WIDTH_MIN: u32 = 128;

/// Writes what is wanted.
pub(super) fn write(
    root: &DataSet<'_>,
    wanted: Annotation,
    picture: &mut Picture,
    limits: &RenderLimits,
) {
    if picture.width() < WIDTH_MIN || picture.height() < WIDTH_MIN {
        return;
    }
    let lines = |parts: &[(&str, Tag, &str)]| -> Vec<String> {
        let told = parts.iter().filter_map(|(before, tag, after)| {
            let text = root.text(*tag)?;
            let text = text.split('=').next().unwrap_or_default().replace('^', " ");
            let line = format!("{before}{}{after}", text.trim());
            Some(
                line.chars()
                    .filter(|c| !c.is_control())
                    .take(limits.annotation_chars_max)
                    .collect(),
            )
        });
        told.collect()
    };
    let mut canvas = Canvas(picture);
    if wanted.patient {
        canvas.write(&lines(&PATIENT), Corner::UpperLeft);
    }
    if wanted.technique {
        canvas.write(&lines(&EXAMINATION), Corner::UpperRight);
        canvas.write(&lines(&ACQUISITION), Corner::LowerLeft);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Corner {
    LowerLeft,
    UpperLeft,
    UpperRight,
}

/// A picture that text is drawn on.
pub(super) struct Canvas<'p>(pub(super) &'p mut Picture);

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(point, colour) in pixels {
            let ink = Ink([colour.r(), colour.g(), colour.b()]);
            self.0.put(point.x.into(), point.y.into(), ink);
        }
        Ok(())
    }
}

impl Canvas<'_> {
    fn write(&mut self, lines: &[String], corner: Corner) {
        let (width, height) = (edge(self.0.width()), edge(self.0.height()));
        let count = i32::try_from(lines.len()).unwrap_or(0);
        let (x, align) = match corner {
            Corner::LowerLeft | Corner::UpperLeft => (4, Align::Left),
            Corner::UpperRight => (width.saturating_sub(5), Align::Right),
        };
        let y: i32 = match corner {
            Corner::LowerLeft => {
                let above = count.saturating_mul(self.line_height()).saturating_add(4);
                height.saturating_sub(above)
            }
            Corner::UpperLeft | Corner::UpperRight => 4,
        };
        let style = MonoTextStyleBuilder::new()
            .text_color(Rgb888::WHITE)
            .background_color(Rgb888::BLACK);
        self.draw(lines, (x, y), align, style);
    }

    /// Writes `lines` below `at`, over what is there.
    pub(super) fn lines(&mut self, lines: &[String], at: (f64, f64), align: Align, ink: Ink) {
        let (x, y) = (signed_word(at.0), signed_word(at.1));
        let Ink([red, green, blue]) = ink;
        let style = MonoTextStyleBuilder::new().text_color(Rgb888::new(red, green, blue));
        self.draw(lines, (x.into(), y.into()), align, style);
    }

    fn is_wide(&self) -> bool {
        self.0.width() >= 512
    }

    fn line_height(&self) -> i32 {
        if self.is_wide() { 18 } else { 10 }
    }

    fn draw(
        &mut self,
        lines: &[String],
        (x, mut y): (i32, i32),
        align: Align,
        style: MonoTextStyleBuilder<'_, Rgb888>,
    ) {
        let (is_wide, line_height) = (self.is_wide(), self.line_height());
        let alignment = match align {
            Align::Center => Alignment::Center,
            Align::Left => Alignment::Left,
            Align::Right => Alignment::Right,
        };
        let layout = TextStyleBuilder::new()
            .alignment(alignment)
            .baseline(Baseline::Top)
            .build();
        for line in lines {
            if y > edge(self.0.height()) {
                return;
            }
            let (text, font) = readable(line, is_wide);
            let style = style.font(font).build();
            let text = Text::with_text_style(&text, Point::new(x, y), style, layout);
            // Drawing on a picture cannot fail.
            text.draw(self).ok();
            y = y.saturating_add(line_height);
        }
    }
}

fn edge(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

/// A line in letters that there are, and the font that has them.
fn readable(line: &str, is_wide: bool) -> (String, &'static MonoFont<'static>) {
    let is_latin = |text: &str| text.chars().all(|letter| letter <= '\u{FF}');
    if is_latin(line) {
        let font = if is_wide {
            &iso_8859_1::FONT_9X18
        } else {
            &iso_8859_1::FONT_5X8
        };
        return (line.to_owned(), font);
    }
    let is_known = |letter: char| letter.is_ascii() || ('\u{401}'..='\u{45F}').contains(&letter);
    let text = if line.chars().all(is_known) {
        line.to_owned()
    } else {
        transliterate(line)
    };
    let font = if is_wide {
        &iso_8859_5::FONT_9X18
    } else {
        &iso_8859_5::FONT_5X8
    };
    (text, font)
}
