//! Several data sets in one answer: an array of the DICOM JSON model, or a part for each in the
//! Native DICOM Model (PS3.18 8.7.3.2).

use crate::accept::{Accept, Offer, describe};
use crate::error::Failure;
use crate::multipart::PartWriter;
use crate::retrieve::part_writer;

const XML: &str = "application/dicom+xml";

/// How data sets are described, and what stands between them.
#[derive(Debug)]
pub(crate) enum Listing {
    /// Objects of one array.
    Json {
        media_type: &'static str,
        has_begun: bool,
    },
    /// Documents of their own.
    Xml(PartWriter),
}

impl Listing {
    /// What the client likes best.
    pub(crate) fn choose(accept: &Accept) -> Result<Self, Failure> {
        let offers = [
            Offer::single("application/dicom+json"),
            Offer::single("application/json"),
            Offer::multipart(XML),
        ];
        let chosen = accept
            .choose(&offers)
            .ok_or_else(|| Failure::NotAcceptable {
                available: describe(&offers),
            })?;
        Ok(if chosen.is_multipart {
            Self::Xml(part_writer())
        } else {
            Self::Json {
                media_type: chosen.media_type,
                has_begun: false,
            }
        })
    }

    /// The media type of the whole.
    pub(crate) fn content_type(&self) -> String {
        match self {
            Self::Json { media_type, .. } => (*media_type).to_owned(),
            Self::Xml(writer) => writer.content_type(XML),
        }
    }

    /// Whether data sets are described in XML.
    pub(crate) const fn is_xml(&self) -> bool {
        matches!(self, Self::Xml(_))
    }

    /// Writes what comes before the next data set.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Json { has_begun, .. } => {
                let is_behind = std::mem::replace(has_begun, true);
                out.push(if is_behind { b',' } else { b'[' });
            }
            Self::Xml(writer) => out.extend_from_slice(&writer.part(&[("Content-Type", XML)])),
        }
    }

    /// Writes what comes behind the last one.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        match self {
            Self::Json { has_begun, .. } => {
                out.extend_from_slice(if has_begun { b"]" } else { b"[]" });
            }
            Self::Xml(writer) => out.extend_from_slice(&writer.end()),
        }
    }
}
