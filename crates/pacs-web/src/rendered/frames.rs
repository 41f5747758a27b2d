//! What an instance is for rendering, which of several stands for all, and which of its frames.

use crate::error::Failure;
use pacs_core::tag::tags;
use pacs_image::render::PresentationKind;
use pacs_store::index::StoredInstance;

/// What an instance shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Pixel data that can be decoded, or might be.
    Image,
    /// Nothing that is rendered.
    Other,
    /// An encapsulated PDF.
    Pdf,
    /// A softcopy presentation state: the image it refers to is shown.
    Presentation,
    /// A structured report, or a selection of key objects.
    Report,
    /// Pixel data that is a video.
    Video,
}

impl Kind {
    pub(crate) fn of(stored: &StoredInstance) -> Self {
        let attributes = &stored.instance.attributes;
        let syntax = &stored.instance.transfer_syntax;
        let is_video = crate::frames::media_type_of(syntax.as_str()).starts_with("video/");
        if attributes.text(tags::ROWS).is_some() {
            return if is_video { Self::Video } else { Self::Image };
        }
        match stored.instance.sop_class.as_str() {
            class if PresentationKind::of(class).is_some() => Self::Presentation,
            "1.2.840.10008.5.1.4.1.1.104.1" => Self::Pdf,
            class if class.starts_with("1.2.840.10008.5.1.4.1.1.88.") => Self::Report,
            _ => Self::Other,
        }
    }
}

/// The instance that stands for all: the middle image of the first series that has some, or else
/// the first instance that shows something, or else the first.
pub(super) fn representative(found: &[StoredInstance]) -> Option<&StoredInstance> {
    let is_image = |stored: &&StoredInstance| Kind::of(stored) == Kind::Image;
    let Some(first) = found.iter().find(is_image) else {
        let shown = found.iter().find(|stored| Kind::of(stored) != Kind::Other);
        return shown.or_else(|| found.first());
    };
    let of_series = |stored: &&StoredInstance| stored.instance.series == first.instance.series;
    let mut images: Vec<_> = found.iter().filter(is_image).filter(of_series).collect();
    images.sort_by_key(|stored| {
        let number = stored.instance.attributes.text(tags::INSTANCE_NUMBER);
        let number = number.and_then(|number| number.trim().parse::<i64>().ok());
        (number, stored.instance.instance.as_str())
    });
    let middle = images.len().saturating_sub(1) / 2;
    images.get(middle).copied().or(Some(first))
}

/// How many frames the index knows of.
fn count(stored: &StoredInstance) -> u32 {
    let count = stored.instance.attributes.text(tags::NUMBER_OF_FRAMES);
    let count = count.and_then(|count| count.trim().parse().ok());
    count.unwrap_or(1).max(1)
}

/// The numbers of all frames, of which there may be more than anybody can hold.
pub(super) fn all(stored: &StoredInstance) -> impl Iterator<Item = u32> + use<> {
    1..=count(stored)
}

/// The numbers that a client asks for, if it does.
pub(super) fn numbers(
    asked: Option<Vec<u64>>,
    stored: &StoredInstance,
) -> Result<Option<Vec<u32>>, Failure> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let count = count(stored);
    let known = asked.into_iter().map(|number| {
        let number = u32::try_from(number).ok().filter(|number| *number <= count);
        number.ok_or(Failure::NotFound { what: "frame" })
    });
    known.collect::<Result<_, _>>().map(Some)
}
