//! The Change State, Update and Request Cancellation Transactions (PS3.18 11.6 to 11.8).

use super::payload::{self, PayloadError};
use super::{Refusal, refused, task_of};
use crate::access::Allowed;
use crate::compose::Described;
use crate::error::Failure;
use crate::qido::warn;
use crate::query_string;
use crate::service::Web;
use crate::single::{self, Bounds, Unread};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::Caller;
use pacs_core::access::Claim;
use pacs_core::uid::ClaimUid;
use pacs_core::workitem::{Outcome, StateError, Wish};

const MISSING: &str = "The Transaction UID is missing.";
const INCORRECT: &str = "The Transaction UID is incorrect.";
const STATE: &str = "The submitted request is inconsistent with the state of the UPS Instance.";
const UNCLAIMED: &str = "The target URI did not reference a claimed Workitem.";
const UPDATE: &str =
    "The submitted request is inconsistent with the current state of the Workitem.";
const UNSUPPORTED: &str = "Requested optional Attributes are not supported.";
const CANCELED: &str = "The UPS is already in the requested state of CANCELED.";
const COMPLETED: &str = "The UPS is already in the requested state of COMPLETED.";

/// `PUT /workitems/{workitem}/state`
pub(crate) async fn change_state(
    Allowed(permit): Allowed<Claim>,
    State(web): State<Web>,
    Path(workitem): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let workitems = web.workitems()?;
    let task = task_of(&workitem)?;
    let described = match read(&web, permit.caller(), request).await {
        Ok(described) => described,
        Err(unread) => return unread.answer(|| most(&web)),
    };
    let (state, claim) = payload::change(&described.attributes)?;
    let wish = match Wish::try_from(state) {
        Ok(wish) => wish,
        Err(error) => return Ok(refused(Refusal::State(error).into(), STATE)),
    };
    let Some(claim) = claim else {
        let failure = Failure::bad_request("Transaction UID (0008,1195) is missing");
        return Ok(refused(failure, MISSING));
    };
    let outcome = workitems.change(&permit, task, (wish, &claim)).await;
    Ok(match outcome {
        Ok(Outcome::Changes) => done(StatusCode::OK),
        Ok(Outcome::IsSo) => {
            let mut response = done(StatusCode::OK);
            match wish {
                // They have it, as they asked: the answer to the first claim may have been lost.
                Wish::Begin => {}
                Wish::Cancel => warn(&mut response, CANCELED),
                Wish::Complete => warn(&mut response, COMPLETED),
            }
            response
        }
        Err(refusal) => match refusal {
            Refusal::State(StateError::NotOwner) => refused(refusal.into(), INCORRECT),
            Refusal::State(_) | Refusal::NotReady => refused(refusal.into(), STATE),
            Refusal::Busy
            | Refusal::Failed
            | Refusal::Full
            | Refusal::Gone
            | Refusal::NotPermitted
            | Refusal::Unknown => return Err(refusal.into()),
        },
    })
}

/// `POST /workitems/{workitem}`
pub(crate) async fn update(
    Allowed(permit): Allowed<Claim>,
    State(web): State<Web>,
    Path(workitem): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Failure> {
    let workitems = web.workitems()?;
    let task = task_of(&workitem)?;
    let of_query = claim_of(&web, query.as_deref())?;
    let described = match read(&web, permit.caller(), request).await {
        Ok(described) => described,
        Err(unread) => return unread.answer(|| most(&web)),
    };
    let update = payload::update(&described.attributes)?;
    // PS3.18 has it in the query, PS3.4 in the data set.
    let Some(claim) = of_query.or(update.claim) else {
        let failure = Failure::bad_request("no Transaction UID stands in the query or payload");
        return Ok(refused(failure, UNCLAIMED));
    };
    let done_with = workitems.go_on(&permit, task, (&claim, update.progress));
    Ok(match done_with.await {
        Ok(()) => {
            let mut response = done(StatusCode::OK);
            if update.has_more {
                warn(&mut response, UNSUPPORTED);
            }
            response
        }
        Err(refusal) => match refusal {
            // 11.6.2: of what is over, the request is bad.
            Refusal::State(StateError::Over) => {
                let failure = Failure::bad_request(refusal.to_string());
                refused(failure, UPDATE)
            }
            Refusal::State(StateError::NotOwner | StateError::NotInProgress) => {
                refused(refusal.into(), UNCLAIMED)
            }
            Refusal::State(_) | Refusal::NotReady => refused(refusal.into(), UPDATE),
            Refusal::Busy
            | Refusal::Failed
            | Refusal::Full
            | Refusal::Gone
            | Refusal::NotPermitted
            | Refusal::Unknown => return Err(refusal.into()),
        },
    })
}

/// `POST /workitems/{workitem}/cancelrequest`
pub(crate) async fn request_cancellation(
    Allowed(permit): Allowed<Claim>,
    State(web): State<Web>,
    Path(workitem): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let workitems = web.workitems()?;
    let task = task_of(&workitem)?;
    // A reason may come with it, which nobody is there to hear.
    let (head, body) = request.into_parts();
    let reason = single::arrived_if_any(&web, permit.caller(), &head.headers, body, bounds(&web));
    if let Err(unread) = reason.await {
        return unread.answer(|| most(&web));
    }
    Ok(match workitems.request_cancellation(&permit, task).await {
        Ok(Outcome::Changes) => done(StatusCode::ACCEPTED),
        Ok(Outcome::IsSo) => {
            let mut response = done(StatusCode::ACCEPTED);
            warn(&mut response, CANCELED);
            response
        }
        Err(refusal @ Refusal::State(_)) => refused(refusal.into(), STATE),
        Err(refusal) => return Err(refusal.into()),
    })
}

async fn read(web: &Web, caller: &Caller, request: Request) -> Result<Described, Unread> {
    let (head, body) = request.into_parts();
    let notation = single::notation(&head.headers)?;
    single::arrived(web, caller, notation, body, bounds(web)).await
}

fn bounds(web: &Web) -> Bounds {
    Bounds {
        bytes_max: web.limits().workitem_bytes_max,
        nodes_max: web.limits().workitem_nodes_max,
    }
}

fn most(web: &Web) -> String {
    let bytes_max = web.limits().workitem_bytes_max;
    format!("a workitem is told no more than {bytes_max} bytes at once")
}

/// The Transaction UID of a query (11.6.1.2): its name is not settled, and it may have none.
fn claim_of(web: &Web, query: Option<&str>) -> Result<Option<ClaimUid>, Failure> {
    let parameters = query_string::parameters(query, web.limits())?;
    let found = parameters.iter().find_map(|(name, value)| {
        let is_named = ["transaction-uid", "transaction", "TransactionUID"].contains(&&**name);
        match (is_named, value.as_str()) {
            (true, value) => Some(value),
            (false, "") => Some(name.as_str()),
            (false, _) => None,
        }
    });
    Ok(found.map(payload::claim).transpose()?)
}

/// An answer without a body.
fn done(status: StatusCode) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    (status, [(header::CACHE_CONTROL, no_store)]).into_response()
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self::bad_request(error.to_string())
    }
}
