//! The parts of a request that hold bulk data, each found by its `Content-Location`, and used once.

use super::DescribedError;
use super::layout::is_native;
use crate::media_type::MediaType;
use pacs_core::{Tag, TransferSyntaxUid};
use std::collections::HashMap;
use std::ops::Range;

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BulkPart {
    /// Where its bytes are kept.
    pub(crate) range: Range<u64>,
    /// What they are.
    pub(crate) kind: BulkKind,
}

impl BulkPart {
    pub(crate) const fn length_bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

/// What the bytes of a part are, where they are pixel data (PS3.18 8.7.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BulkKind {
    /// One or more frames in this transfer syntax.
    Compressed(TransferSyntaxUid),
    /// A media type that no transfer syntax has.
    Other,
    /// Bytes, whose transfer syntax may stand beside the attributes.
    Plain,
}

impl BulkKind {
    /// Of a part with this `Content-Type` that begins with `start`.
    pub(crate) fn of(content_type: Option<&MediaType>, start: &[u8]) -> Self {
        let Some(kind) = content_type else {
            return Self::Plain;
        };
        let named = kind.parameter("transfer-syntax");
        let syntax = match named {
            Some(uid) if is_native(uid) => return Self::Plain,
            // Other byte orders, and data sets that are compressed as a whole, are no bulk data.
            Some("1.2.840.10008.1.2.2" | "1.2.840.10008.1.2.1.99") => return Self::Other,
            Some(uid) => Some(uid),
            None if kind.is("application/octet-stream") => return Self::Plain,
            None => default_of(kind, start),
        };
        let syntax = syntax.and_then(|uid| TransferSyntaxUid::parse(uid).ok());
        syntax.map_or(Self::Other, Self::Compressed)
    }
}

/// The transfer syntax of a media type that names none (PS3.18 8.7.3.3), by the code stream where
/// that tells more.
fn default_of(kind: &MediaType, start: &[u8]) -> Option<&'static str> {
    let names: [(&[&str], &str); 9] = [
        (&["image/jls", "image/x-jls"], "1.2.840.10008.1.2.4.80"),
        (&["image/jp2"], "1.2.840.10008.1.2.4.90"),
        (&["image/jpx"], "1.2.840.10008.1.2.4.92"),
        (&["image/jphc"], "1.2.840.10008.1.2.4.201"),
        (&["image/jxl"], "1.2.840.10008.1.2.4.110"),
        (
            &["image/dicom-rle", "image/x-dicom-rle"],
            "1.2.840.10008.1.2.5",
        ),
        (&["video/mpeg", "video/mpeg2"], "1.2.840.10008.1.2.4.100"),
        (&["video/mp4"], "1.2.840.10008.1.2.4.102"),
        (&["image/x-dicom-htj2k"], "1.2.840.10008.1.2.4.201"),
    ];
    if kind.is("image/jpeg") {
        return Some(jpeg_syntax(start).unwrap_or("1.2.840.10008.1.2.4.70"));
    }
    let mut names = names.iter();
    let found = names.find(|(names, _)| names.iter().any(|name| kind.is(name)));
    found.map(|(_, uid)| *uid)
}

/// The transfer syntax of a JPEG code stream, by its frame header and the first scan's predictor
/// (ISO/IEC 10918-1 B.2).
fn jpeg_syntax(start: &[u8]) -> Option<&'static str> {
    let mut rest = start.strip_prefix(&[0xFF, 0xD8])?;
    let mut is_lossless = false;
    loop {
        let (&[mark, code, l0, l1], after) = rest.split_first_chunk::<4>()?;
        if mark != 0xFF {
            return None;
        }
        if code == 0xFF {
            // Fill bytes.
            rest = rest.get(1..)?;
            continue;
        }
        match code {
            0xC0 => return Some("1.2.840.10008.1.2.4.50"),
            0xC1 => return Some("1.2.840.10008.1.2.4.51"),
            0xC3 => is_lossless = true,
            0xDA if is_lossless => {
                let components = usize::from(*after.first()?);
                let predictor = *after.get(components.checked_mul(2)?.checked_add(1)?)?;
                return Some(if predictor == 1 {
                    "1.2.840.10008.1.2.4.70"
                } else {
                    "1.2.840.10008.1.2.4.57"
                });
            }
            0xDA => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        rest = rest.get(length.checked_add(2)?..)?;
    }
}

/// Parts by their names.
#[derive(Debug, Default)]
pub(crate) struct BulkParts {
    by_name: HashMap<Box<str>, Held>,
}

#[derive(Debug, Default)]
struct Held {
    parts: Vec<BulkPart>,
    is_taken: bool,
}

impl BulkParts {
    /// One more of `name`: the next frame, where there is one already.
    pub(crate) fn add(&mut self, name: &str, part: BulkPart) {
        self.by_name
            .entry(name.into())
            .or_default()
            .parts
            .push(part);
    }

    /// What is kept under `name`, for the attribute `tag` alone: otherwise a small request could
    /// become as many large instances as it likes.
    pub(crate) fn take(&mut self, tag: Tag, name: &str) -> Result<Vec<BulkPart>, DescribedError> {
        let held = self.by_name.get_mut(name);
        let held = held.ok_or(DescribedError::BulkMissing { tag })?;
        if std::mem::replace(&mut held.is_taken, true) {
            return Err(DescribedError::BulkTwice { tag });
        }
        Ok(std::mem::take(&mut held.parts))
    }

    /// The transfer syntax of the compressed pixel data `name`; `None` where it is not compressed,
    /// or not there. `declared` is that beside the attributes.
    pub(crate) fn transfer_syntax(
        &self,
        name: &str,
        declared: Option<&str>,
    ) -> Result<Option<TransferSyntaxUid>, DescribedError> {
        let parts = self.by_name.get(name).map_or(&[][..], |held| &held.parts);
        let declared = declared.filter(|uid| !is_native(uid));
        let mut found: Option<Option<TransferSyntaxUid>> = None;
        for part in parts {
            let wrong = DescribedError::PixelSyntax;
            let syntax = match (&part.kind, declared) {
                (BulkKind::Compressed(syntax), _) => Some(syntax.clone()),
                (BulkKind::Other, _) => return Err(wrong),
                (BulkKind::Plain, Some(uid)) => {
                    Some(TransferSyntaxUid::parse(uid).map_err(|_| wrong.clone())?)
                }
                (BulkKind::Plain, None) => None,
            };
            if found
                .replace(syntax.clone())
                .is_some_and(|other| other != syntax)
            {
                return Err(wrong);
            }
        }
        Ok(found.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str, start: &[u8]) -> BulkKind {
        BulkKind::of(Some(&MediaType::parse(text).unwrap()), start)
    }

    #[test]
    fn a_media_type_says_the_transfer_syntax() {
        let compressed = |uid: &str| {
            BulkKind::Compressed(
                TransferSyntaxUid::parse(&format!("1.2.840.10008.1.2.{uid}")).unwrap(),
            )
        };
        assert_eq!(BulkKind::of(None, &[]), BulkKind::Plain);
        for (text, expected) in [
            ("application/octet-stream", BulkKind::Plain),
            (
                "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
                BulkKind::Plain,
            ),
            (
                "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2",
                BulkKind::Other,
            ),
            (
                "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5",
                compressed("5"),
            ),
            (
                "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.51",
                compressed("4.51"),
            ),
            ("image/jpeg", compressed("4.70")),
            ("image/jls", compressed("4.80")),
            ("video/mp4", compressed("4.102")),
            ("image/png", BulkKind::Other),
            ("application/pdf", BulkKind::Other),
        ] {
            assert_eq!(kind(text, &[]), expected, "{text}");
        }
    }

    #[test]
    fn a_jpeg_code_stream_says_which_one_it_is() {
        let stream = |sof: u8, predictor: u8| {
            let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, sof, 0, 11];
            bytes.extend([8, 0, 1, 0, 1, 1, 1, 0x11, 0]);
            bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, predictor, 0, 0]);
            bytes
        };
        for (sof, predictor, uid) in [
            (0xC0, 0, Some("1.2.840.10008.1.2.4.50")),
            (0xC1, 0, Some("1.2.840.10008.1.2.4.51")),
            (0xC3, 1, Some("1.2.840.10008.1.2.4.70")),
            (0xC3, 4, Some("1.2.840.10008.1.2.4.57")),
            (0xC2, 0, None),
        ] {
            assert_eq!(jpeg_syntax(&stream(sof, predictor)), uid, "{sof:X}");
        }
        assert_eq!(jpeg_syntax(b"\xFF\xD8\xFF"), None);
        assert_eq!(jpeg_syntax(b"no"), None);
    }

    #[test]
    fn a_part_serves_one_attribute_alone() {
        let mut parts = BulkParts::default();
        let tag = Tag(0x7FE0, 0x0010);
        let kind = BulkKind::Plain;
        parts.add("a", BulkPart { range: 0..4, kind });

        assert_eq!(parts.take(tag, "a").unwrap().len(), 1);

        assert_eq!(parts.take(tag, "a"), Err(DescribedError::BulkTwice { tag }));
        assert_eq!(
            parts.take(tag, "b"),
            Err(DescribedError::BulkMissing { tag })
        );
    }
}
