//! The register behind a security server of X-Road, over SOAP (message protocol 4.0).

use super::{ANSWER_BOUNDS, CitizenRegister};
use crate::carrier::{CarrierError, Endpoint};
use crate::tool::failure::chain;
use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use pacs_core::register::xroad::{Circumstances, XRoad};
use pacs_core::register::{Outcome, Question, soap};

/// A register that is asked over SOAP.
#[derive(Debug, Clone)]
pub struct TundukSoap {
    endpoint: Endpoint,
    xroad: XRoad,
}

impl TundukSoap {
    /// The one whose services `xroad` names, behind the security server at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Endpoint, xroad: XRoad) -> Self {
        Self { endpoint, xroad }
    }
}

#[async_trait]
impl CitizenRegister for TundukSoap {
    async fn ask(&self, question: &Question, of: &Circumstances) -> Outcome {
        let Some(body) = soap::question(&self.xroad, question, of) else {
            return Outcome::fault("NO_SERVICE");
        };
        let request = Request::post(&self.endpoint.path)
            .header(header::CONTENT_TYPE, "text/xml; charset=UTF-8")
            .header("SOAPAction", "\"\"")
            .body(Body::from(body));
        let Ok(request) = request else {
            return Outcome::fault("NO_REQUEST");
        };
        let reply = match self.endpoint.carry(request, ANSWER_BOUNDS).await {
            Ok(reply) => reply,
            Err(error) => return of_carrier(&error),
        };
        // SOAP 1.1 sends its faults with 500.
        let has_answer = matches!(
            reply.status,
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR
        );
        let kind = reply.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !has_answer || !is_xml(kind) {
            return of_status(reply.status);
        }
        soap::answer(&self.xroad, question, &of.message_id, &reply.body)
    }
}

fn is_xml(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["text/xml", "application/xml", "application/soap+xml"]
        .iter()
        .any(|xml| kind.eq_ignore_ascii_case(xml))
}

/// What it means that nothing came, or not all of it. To whoever asks, a certificate that is not
/// the register's is a register that is not there; the log has which of both it was.
pub(super) fn of_carrier(error: &CarrierError) -> Outcome {
    match error {
        CarrierError::Connect(_) | CarrierError::Dropped(_) => {
            let error = chain(error);
            tracing::warn!(error, "the citizen register cannot be reached");
            Outcome::Unavailable
        }
        CarrierError::TooLong => Outcome::fault("TOO_MUCH"),
    }
}

/// What a status without an answer means.
pub(super) fn of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        401 | 403 => Outcome::Refused(pacs_core::register::FaultCode::of("HTTP")),
        500..=599 => Outcome::Unavailable,
        _ => Outcome::fault("HTTP"),
    }
}
