//! One data set in an answer: what the server itself says of a request, in the DICOM JSON model or
//! the Native DICOM Model (PS3.18 8.7.3).

use crate::accept::{Accept, Offer, describe};
use crate::error::Failure;
use crate::{json, xml};
use axum::http::{HeaderMap, header};
use pacs_core::Attributes;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// The same, for clients that know no more than the general media type.
    PlainJson,
    Xml,
}

impl Form {
    /// The favourite first.
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Xml, Self::PlainJson];

    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/dicom+json",
            Self::PlainJson => "application/json",
            Self::Xml => "application/dicom+xml",
        }
    }

    /// What the client with these headers likes best.
    ///
    /// # Errors
    /// [`Failure::NotAcceptable`], [`Failure::BadRequest`].
    pub(crate) fn choose(headers: &HeaderMap) -> Result<Self, Failure> {
        let offers = Self::ALL.map(|form| Offer::single(form.media_type()));
        let lines = headers.get_all(header::ACCEPT).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let accept = Accept::parse(lines, []);
        let accept = accept.map_err(|error| Failure::bad_request(error.to_string()))?;
        let chosen = accept
            .choose(&offers)
            .ok_or_else(|| Failure::NotAcceptable {
                available: describe(&offers),
            })?;
        let chosen = Self::ALL
            .into_iter()
            .find(|form| form.media_type() == chosen.media_type);
        Ok(chosen.unwrap_or(Self::Json))
    }

    /// Writes it.
    pub(crate) fn write(self, data_set: &Attributes) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Json | Self::PlainJson => json::write_attributes(&mut out, data_set),
            Self::Xml => xml::write_attributes(&mut out, data_set),
        }
        out
    }
}
