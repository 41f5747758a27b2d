//! The parameters of rendering (PS3.18 8.3.5).

use crate::error::Failure;
use pacs_image::render::{
    Annotation, PictureFormat, QUALITY_DEFAULT, Region, RenderParameters, Viewport, Window,
    WindowFunction,
};

/// What a client wants of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) render: RenderParameters,
    pub(crate) quality: u8,
    /// SOP Instance UID and Series Instance UID of the presentation state that is to be applied,
    /// as WADO-URI names it (PS3.18 9.1.2.2.4.2.7).
    pub(crate) presentation: Option<(String, String)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            render: RenderParameters::default(),
            quality: QUALITY_DEFAULT,
            presentation: None,
        }
    }
}

impl Wanted {
    /// Of the parameters of a query. Those that are not of rendering are passed over.
    pub(super) fn read(parameters: &[(String, String)]) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let (mut state, mut series) = (None, None);
        for (name, value) in parameters {
            match name.as_str() {
                "window" => wanted.render.window = Some(window(value)?),
                "viewport" => wanted.render.viewport = Some(viewport(value)?),
                "annotation" => wanted.render.annotation = annotation(value)?,
                "presentationUID" => state = Some(value.clone()),
                "presentationSeriesUID" => series = Some(value.clone()),
                "quality" => wanted.quality = quality(value)?,
                "iccprofile" if value != "no" => {
                    let detail = "iccprofile: pictures are given without a profile (no)";
                    return Err(Failure::bad_request(detail));
                }
                _ => {}
            }
        }
        wanted.presentation = state.clone().zip(series.clone());
        if state.is_some() != series.is_some() {
            let detail = "a presentation state is presentationUID and presentationSeriesUID";
            return Err(Failure::bad_request(detail));
        }
        Ok(wanted)
    }

    /// The format of a media type.
    pub(super) fn format(&self, media_type: &str) -> PictureFormat {
        match media_type {
            "image/png" => PictureFormat::Png,
            "image/gif" => PictureFormat::Gif,
            _ => PictureFormat::Jpeg {
                quality: self.quality,
            },
        }
    }
}

/// `patient`, `technique`, or both (8.3.5.1.1); and `overlay`, an addition of ours.
fn annotation(text: &str) -> Result<Annotation, Failure> {
    let mut annotation = Annotation::default();
    for part in text.split(',') {
        match part.trim() {
            "patient" => annotation.patient = true,
            "technique" => annotation.technique = true,
            "overlay" => annotation.overlay = true,
            _ => {
                let detail = "annotation is patient, technique and overlay, or some of them";
                return Err(Failure::bad_request(detail));
            }
        }
    }
    Ok(annotation)
}

/// A quality from 1 to 100 (8.3.5.1.2).
pub(crate) fn quality(text: &str) -> Result<u8, Failure> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| Failure::bad_request("quality is a number from 1 to 100"))
}

/// Decimal numbers between commas; an empty one is not told.
pub(crate) fn numbers(text: &str) -> Option<Vec<Option<f64>>> {
    let values = text.split(',').map(|value| {
        let value = value.trim();
        if value.is_empty() {
            return Some(None);
        }
        // No infinity, no exponent that makes one.
        let number = value.parse::<f64>().ok()?;
        (number.abs() <= 1e12).then_some(Some(number))
    });
    values.take(8).collect()
}

/// `center,width[,function]` (8.3.5.1.4).
fn window(text: &str) -> Result<Window, Failure> {
    let read = || {
        let mut parts = text.splitn(3, ',');
        let center = parts.next()?.trim();
        let width = parts.next()?.trim();
        let function = parts
            .next()
            .map_or(Some(WindowFunction::Linear), WindowFunction::of)?;
        window_of(center, width, function)
    };
    read().ok_or_else(|| {
        Failure::bad_request(
            "window is center,width[,function]: a width of 1 or more (linear) or above 0 \
             (linear-exact, sigmoid)",
        )
    })
}

/// A window of two decimal numbers.
pub(crate) fn window_of(center: &str, width: &str, function: WindowFunction) -> Option<Window> {
    let number = |text: &str| numbers(text)?.first().copied().flatten();
    Window::new(number(center)?, number(width)?, function)
}

/// `vw,vh[,sx,sy[,sw,sh]]` (8.3.5.1.3).
fn viewport(text: &str) -> Result<Viewport, Failure> {
    let wrong = || {
        Failure::bad_request(
            "viewport is vw,vh[,sx,sy[,sw,sh]] in pixels; vw and vh are whole and above 0",
        )
    };
    let values = numbers(text)
        .filter(|values| values.len() <= 6)
        .ok_or_else(wrong)?;
    let edge = |at: usize| -> Option<u32> {
        let number = values.get(at).copied().flatten()?;
        let text = format!("{number}");
        text.parse().ok().filter(|edge| *edge > 0)
    };
    let number = |at: usize| values.get(at).copied().flatten();
    let (width, height) = (edge(0).ok_or_else(wrong)?, edge(1).ok_or_else(wrong)?);
    let is_negative = |number: Option<f64>| number.is_some_and(f64::is_sign_negative);
    let positive = |number: Option<f64>| number.map(f64::abs).filter(|number| *number > 0.0);
    Ok(Viewport {
        width,
        height,
        region: Region {
            x: number(2).unwrap_or(0.0).abs(),
            y: number(3).unwrap_or(0.0).abs(),
            width: positive(number(4)),
            height: positive(number(5)),
            is_flipped_horizontally: is_negative(number(4)),
            is_flipped_vertically: is_negative(number(5)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Wanted, Failure> {
        Wanted::read(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn windows_and_viewports_are_read_as_the_standard_writes_them() {
        let wanted = read("window", "40,400,linear-exact").unwrap();
        let window = wanted.render.window.unwrap();
        assert_eq!(window.function, WindowFunction::LinearExact);
        assert_eq!((window.center, window.width), (40.0, 400.0));
        assert!(
            read("window", "-600.5,1500")
                .unwrap()
                .render
                .window
                .is_some()
        );

        let wanted = read("viewport", "512,256,10.5,,-100,").unwrap();
        let viewport = wanted.render.viewport.unwrap();
        assert_eq!((viewport.width, viewport.height), (512, 256));
        let region = viewport.region;
        assert_eq!((region.x, region.y, region.width), (10.5, 0.0, Some(100.0)));
        assert!(region.is_flipped_horizontally && !region.is_flipped_vertically);
        assert_eq!(region.height, None);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (name, value) in [
            ("window", ""),
            ("window", "40"),
            ("window", "40,0"),
            ("window", "40,NaN"),
            ("window", "inf,1"),
            ("window", "1e300,1"),
            ("window", "40,400,cubic"),
            ("viewport", "512"),
            ("viewport", "0,512"),
            ("viewport", "-5,512"),
            ("viewport", "1.5,512"),
            ("viewport", "512,512,0,0,1,1,1"),
            ("viewport", "99999999999,1"),
            ("annotation", ""),
            ("annotation", "patient,secrets"),
            ("presentationUID", "1.2"),
            ("quality", "0"),
            ("quality", "101"),
            ("quality", "x"),
            ("iccprofile", "yes"),
        ] {
            let refused = read(name, value);
            let is_refused = matches!(refused, Err(Failure::BadRequest { .. }));
            assert!(is_refused, "{name}={value}");
        }
    }
}
