//! One data set in a request, and in an answer: what the server itself says of a request, in the
//! DICOM JSON model or the Native DICOM Model (PS3.18 8.7.3).

use crate::accept::{Offer, describe};
use crate::compose::{Described, DescribedError};
use crate::error::Failure;
use crate::limits::{MultipartLimits, WebLimits};
use crate::media_type::MediaType;
use crate::memory::Share;
use crate::retrieve::accept;
use crate::service::Web;
use crate::stow::body::{Arriving, Stopped};
use crate::stow::described::Notation;
use crate::{json, xml};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::{Attributes, Caller};

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

    /// What the client likes best, as the `accept` of its query says, or else its header.
    ///
    /// # Errors
    /// [`Failure::NotAcceptable`], [`Failure::BadRequest`].
    pub(crate) fn choose(
        web: &Web,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Self, Failure> {
        let offers = Self::ALL.map(|form| Offer::single(form.media_type()));
        let accept = accept(web, headers, query)?;
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

/// How the data set of a request is written.
///
/// # Errors
/// [`Failure::UnsupportedMediaType`], [`Failure::BadRequest`].
pub(crate) fn notation(headers: &HeaderMap) -> Result<Notation, Failure> {
    let unsupported = |what: &str| Failure::UnsupportedMediaType {
        detail: format!("{what}; taken are application/dicom+json and application/dicom+xml"),
    };
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        return Err(unsupported("no Content-Encoding is taken"));
    }
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err(unsupported("not one Content-Type"));
    };
    let kind = MediaType::parse(kind.to_str().unwrap_or_default());
    let kind = kind.map_err(|error| Failure::bad_request(error.to_string()))?;
    Notation::of(&kind).ok_or_else(|| unsupported("this is of another kind"))
}

/// How much a data set of a request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of its text.
    pub(crate) bytes_max: usize,
    /// Attributes, items and values.
    pub(crate) nodes_max: usize,
}

impl Bounds {
    fn limits(self, web: &Web) -> WebLimits {
        let limits = *web.limits();
        WebLimits {
            metadata_bytes_max: self.bytes_max,
            metadata_nodes_max: self.nodes_max,
            multipart: MultipartLimits {
                parts_max: 1,
                ..limits.multipart
            },
            request_bytes_max: u64::try_from(self.bytes_max).unwrap_or(u64::MAX),
            ..limits
        }
    }
}

/// Why a data set was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    Refused(Failure),
    /// There is more of it than [`Bounds`] let.
    TooLarge,
    TooSlow,
}

impl<E: Into<Failure>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Unread {
    /// The answer; `most` says how much there may be.
    pub(crate) fn answer(self, most: impl FnOnce() -> String) -> Result<Response, Failure> {
        match self {
            Self::Refused(failure) => Err(failure),
            Self::TooLarge => Err(Failure::TooLarge { detail: most() }),
            Self::TooSlow => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

/// Reads the one data set of a body that `caller` sends.
pub(crate) async fn arrived(
    web: &Web,
    caller: &Caller,
    notation: Notation,
    body: Body,
    bounds: Bounds,
) -> Result<Described, Unread> {
    let limits = bounds.limits(web);
    let mut memory = web.memory_to_describe(caller);
    let text = text_of(body, &limits, &mut memory).await?;
    let while_found = web.memory_to_describe(caller);
    read(notation, &text, &limits, (while_found, &mut memory))
}

/// Reads the one data set of a body that need not have one: a client may name the kind of a body
/// that it then does not send.
pub(crate) async fn arrived_if_any(
    web: &Web,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds,
) -> Result<Option<Described>, Unread> {
    let limits = bounds.limits(web);
    let mut memory = web.memory_to_describe(caller);
    let text = text_of(body, &limits, &mut memory).await?;
    if text.is_empty() {
        return Ok(None);
    }
    let while_found = web.memory_to_describe(caller);
    read(
        notation(headers)?,
        &text,
        &limits,
        (while_found, &mut memory),
    )
    .map(Some)
}

async fn text_of(body: Body, limits: &WebLimits, memory: &mut Share) -> Result<Vec<u8>, Unread> {
    let mut arriving = Arriving::new(body, limits);
    let mut text = Vec::new();
    loop {
        match arriving.next().await {
            Ok(Some(bytes)) => {
                memory.grow(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
                text.extend_from_slice(&bytes);
            }
            Ok(None) => return Ok(text),
            Err(Stopped::TooSlow) => return Err(Unread::TooSlow),
            Err(Stopped::TooLong) => return Err(Unread::TooLarge),
            Err(Stopped::Broken) => return Err(Failure::bad_request("request broke off").into()),
        }
    }
}

fn read(
    notation: Notation,
    text: &[u8],
    limits: &WebLimits,
    (while_found, memory): (Share, &mut Share),
) -> Result<Described, Unread> {
    let wrong = |error: DescribedError| {
        if error == DescribedError::TooLarge {
            return Unread::TooLarge;
        }
        Failure::bad_request(error.to_string()).into()
    };
    let found = notation.find(text, limits, while_found)?;
    let found = found.map_err(wrong)?;
    let place = found.first();
    let place = place.ok_or_else(|| Failure::bad_request("there is no data set in the request"))?;
    memory.grow(place.memory_bytes)?;
    let data_set = text.get(place.text.clone()).unwrap_or_default();
    notation.read(data_set, limits).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Service;
    use axum::http::HeaderValue;
    use std::net::IpAddr;

    #[tokio::test]
    async fn a_client_that_holds_its_share_of_memory_leaves_the_others_theirs() {
        let service = Service::with(|options| {
            options.limits.metadata_memory_bytes_max = 2 << 20;
            options.limits.metadata_memory_of_client_bytes_max = 1 << 20;
        });
        let web = service.await.web;
        let client = |name: &str| Caller::Client {
            address: IpAddr::from([192, 0, 2, 1]),
            name: Some(name.to_owned()),
        };
        let (one, other) = (client("one"), client("other"));
        let mut held = web.memory_to_describe(&one);
        held.grow(1 << 20).unwrap();
        let bounds = Bounds {
            bytes_max: 1 << 10,
            nodes_max: 100,
        };
        let arrives = async |caller: &Caller| {
            let text = r#"[{"00080018":{"vr":"UI","Value":["2.25.1"]}}]"#;
            arrived(&web, caller, Notation::Json, Body::from(text), bounds).await
        };

        let refused = arrives(&one).await.unwrap_err();

        let is_told_to_wait = matches!(refused, Unread::Refused(Failure::Unavailable { .. }));
        assert!(is_told_to_wait, "{refused:?}");
        assert!(arrives(&other).await.is_ok());
        drop(held);
        assert!(arrives(&one).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_wanted_is_said_by_the_query_or_else_by_the_header() {
        let service = Service::with(|_same| ()).await;
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json);
        for (query, form) in [
            (None, Form::PlainJson),
            (Some("accept=application/dicom%2Bxml"), Form::Xml),
            (Some("accept=application/dicom+json"), Form::Json),
        ] {
            let chosen = Form::choose(&service.web, &headers, query).unwrap();
            assert_eq!(chosen, form, "{query:?}");
        }
        let none = Form::choose(&service.web, &headers, Some("accept=image/png"));
        assert!(matches!(none, Err(Failure::NotAcceptable { .. })));
    }
}
