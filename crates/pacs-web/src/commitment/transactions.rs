//! The Request Transaction and the Result Check Transaction (PS3.18 13.4, 13.5).

use super::{Refusal, Standing, payload};
use crate::access::Allowed;
use crate::compose::DescribedError;
use crate::error::Failure;
use crate::limits::{MultipartLimits, WebLimits};
use crate::media_type::MediaType;
use crate::service::Web;
use crate::single::Form;
use crate::stow::body::{Arriving, Stopped};
use crate::stow::described::Notation;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Commit;
use pacs_core::uid::TransactionUid;

/// Attributes, items and values of one reference, and then some.
const NODES_PER_REFERENCE: usize = 32;

/// `POST /commitment-requests/{transaction}`
pub(crate) async fn request(
    Allowed(permit): Allowed<Commit>,
    State(web): State<Web>,
    Path(transaction): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let commitment = web.commitment()?;
    let (head, body) = request.into_parts();
    let form = Form::choose(&head.headers)?;
    let transaction = TransactionUid::parse_legacy(&transaction)
        .map_err(|_| Failure::bad_request("the path names no transaction: that is no UID"))?;
    let notation = notation(&head.headers)?;
    let wanted = match read(&web, notation, body).await {
        Ok(wanted) => wanted,
        Err(Unread::TooSlow) => return Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
        Err(Unread::Refused(failure)) => return Err(failure),
    };
    let patience = web.limits().commitment_wait_max;
    let standing = commitment.request(&permit, transaction, wanted, patience);
    answer(standing.await?, form)
}

/// `GET /commitment-requests/{transaction}`
pub(crate) async fn result(
    Allowed(permit): Allowed<Commit>,
    State(web): State<Web>,
    Path(transaction): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let commitment = web.commitment()?;
    let form = Form::choose(&headers)?;
    let transaction =
        TransactionUid::parse_legacy(&transaction).map_err(|_| Failure::from(Refusal::Unknown))?;
    let patience = web.limits().commitment_wait_max;
    let standing = commitment.result(&permit, &transaction, patience);
    answer(standing.await?, form)
}

/// Tables 13.4.3-1 and 13.4.3-2.
fn answer(standing: Standing, form: Form) -> Result<Response, Failure> {
    let mut response = match standing {
        Standing::Working { again_in } => {
            let mut response = StatusCode::ACCEPTED.into_response();
            let seconds = HeaderValue::from(again_in.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            response
        }
        Standing::Done(outcome) => {
            let kind = [(header::CONTENT_TYPE, form.media_type())];
            (kind, form.write(&payload::write(&outcome))).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::Unavailable {
                detail: "too many requests for storage commitment are kept",
            },
            Refusal::Duplicate => Self::Conflict {
                detail: refusal.to_string(),
            },
            Refusal::Failed => Self::Internal,
            Refusal::TooLarge => Self::TooLarge {
                detail: refusal.to_string(),
            },
            Refusal::Unknown => Self::NotFound {
                what: "commitment request",
            },
        }
    }
}

/// How the request is written.
fn notation(headers: &HeaderMap) -> Result<Notation, Failure> {
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

/// Why a request was not read.
enum Unread {
    Refused(Failure),
    TooSlow,
}

impl<E: Into<Failure>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// What the body asks about.
async fn read(web: &Web, notation: Notation, body: Body) -> Result<Vec<super::Wanted>, Unread> {
    let limits = *web.limits();
    let references_max = limits.commitment_references_max;
    let bytes_max = limits.commitment_bytes_max;
    let too_large = || Failure::TooLarge {
        detail: format!("at most {references_max} references in {bytes_max} bytes"),
    };
    let limits = WebLimits {
        metadata_bytes_max: bytes_max,
        metadata_nodes_max: references_max.saturating_mul(NODES_PER_REFERENCE),
        multipart: MultipartLimits {
            parts_max: 1,
            ..limits.multipart
        },
        request_bytes_max: u64::try_from(bytes_max).unwrap_or(u64::MAX),
        ..limits
    };
    let mut memory = web.memory_to_describe();
    let mut arriving = Arriving::new(body, &limits);
    let mut text = Vec::new();
    loop {
        match arriving.next().await {
            Ok(Some(bytes)) => {
                memory.grow(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
                text.extend_from_slice(&bytes);
            }
            Ok(None) => break,
            Err(Stopped::TooSlow) => return Err(Unread::TooSlow),
            Err(Stopped::TooLong) => return Err(too_large().into()),
            Err(Stopped::Broken) => return Err(Failure::bad_request("request broke off").into()),
        }
    }
    let wrong = |error: DescribedError| {
        if error == DescribedError::TooLarge {
            too_large()
        } else {
            Failure::bad_request(error.to_string())
        }
    };
    let found = notation.find(&text, &limits, web.memory_to_describe())?;
    let found = found.map_err(wrong)?;
    let place = found.first();
    let place = place.ok_or_else(|| Failure::bad_request("there is no data set in the request"))?;
    memory.grow(place.memory_bytes)?;
    let data_set = text.get(place.text.clone()).unwrap_or_default();
    let described = notation.read(data_set, &limits).map_err(wrong)?;
    let wanted = payload::read(&described.attributes, references_max);
    Ok(wanted.map_err(|error| {
        if error == payload::PayloadError::TooMany {
            too_large()
        } else {
            Failure::bad_request(error.to_string())
        }
    })?)
}
