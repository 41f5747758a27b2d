//! The Request Transaction and the Result Check Transaction (PS3.18 13.4, 13.5).

use super::{Refusal, Standing, payload};
use crate::access::Allowed;
use crate::error::Failure;
use crate::service::Web;
use crate::single::{self, Bounds, Form, Unread};
use crate::stow::described::Notation;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::Caller;
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
    let form = Form::choose(&web, &head.headers, head.uri.query())?;
    let transaction = TransactionUid::parse_legacy(&transaction)
        .map_err(|_| Failure::bad_request("the path names no transaction: that is no UID"))?;
    let notation = single::notation(&head.headers)?;
    let wanted = match read(&web, permit.caller(), notation, body).await {
        Ok(wanted) => wanted,
        Err(unread) => {
            let limits = web.limits();
            let (count, bytes) = (
                limits.commitment_references_max,
                limits.commitment_bytes_max,
            );
            return unread.answer(|| format!("at most {count} references in {bytes} bytes"));
        }
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
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let commitment = web.commitment()?;
    let form = Form::choose(&web, &headers, query.as_deref())?;
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
            Refusal::Full => Self::Unavailable {
                detail: "the disk is full",
            },
            Refusal::TooLarge => Self::TooLarge {
                detail: refusal.to_string(),
            },
            Refusal::Unknown => Self::NotFound {
                what: "commitment request",
            },
        }
    }
}

/// What the body asks about.
async fn read(
    web: &Web,
    caller: &Caller,
    notation: Notation,
    body: Body,
) -> Result<Vec<super::Wanted>, Unread> {
    let references_max = web.limits().commitment_references_max;
    let bounds = Bounds {
        bytes_max: web.limits().commitment_bytes_max,
        nodes_max: references_max.saturating_mul(NODES_PER_REFERENCE),
    };
    let described = single::arrived(web, caller, notation, body, bounds).await?;
    let wanted = payload::read(&described.attributes, references_max);
    wanted.map_err(|error| {
        if error == payload::PayloadError::TooMany {
            Unread::TooLarge
        } else {
            Failure::bad_request(error.to_string()).into()
        }
    })
}
