//! Who asks, and the proof that they may: the only way of a handler to the archive.

use crate::error::Failure;
use crate::service::Web;
use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pacs_core::access::{Right, permit};
use pacs_core::{Caller, Permit};

/// Says who sends a request. The host program knows about tokens, passwords and connections.
#[async_trait]
pub trait Identify: std::fmt::Debug + Send + Sync + 'static {
    /// Who sends the request with this head.
    ///
    /// # Errors
    /// [`Unidentified`] where nobody known does.
    async fn identify(&self, head: &Parts) -> Result<Caller, Unidentified>;
}

/// The request carries no credentials, or none that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unidentified {
    /// What WWW-Authenticate says (RFC 9110 11.6.1).
    pub challenge: &'static str,
    /// Whether too many before were wrong, too: the client is told to wait (429).
    pub is_guessing: bool,
}

/// Takes every request as one of the system itself: for a program whose own layers have decided
/// already, and for tests.
#[derive(Debug, Clone, Copy)]
pub struct OpenToAll;

#[async_trait]
impl Identify for OpenToAll {
    async fn identify(&self, _head: &Parts) -> Result<Caller, Unidentified> {
        Ok(Caller::System { task: "web" })
    }
}

/// A permit for the right `R`: whoever sends the request was identified, and the policy agreed.
///
/// To be the first argument of a handler, so that nothing else of a request is looked at before.
#[derive(Debug)]
pub struct Allowed<R: Right>(pub Permit<R>);

impl<R: Right + Send> FromRequestParts<Web> for Allowed<R> {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, web: &Web) -> Result<Self, Failure> {
        let caller = web.identify().identify(head).await.map_err(|refused| {
            if refused.is_guessing {
                return Failure::TooManyRequests;
            }
            let challenge = refused.challenge;
            Failure::Unauthorized { challenge }
        })?;
        permit::<R>(web.policy(), caller)
            .map(Self)
            .map_err(|_denied| Failure::Forbidden)
    }
}
