//! What is asked of the provider itself: what it says of itself, its keys, and tokens for a code.
//!
//! All of it goes to the place of the issuer and nowhere else, whatever an answer says; no
//! redirection is followed, and each answer has a time and a length. What was read is believed for
//! an hour.

use super::base64;
use super::keys::Keys;
use super::{OidcError, TellApart};
use crate::carrier::{AnswerBounds, Endpoint, encoded};
use crate::config::oidc::OidcConfig;
use crate::config::register::parts_of;
use crate::limits::{
    OIDC_BELIEVED_FOR, OIDC_DISCOVERY_BYTES_MAX, OIDC_HEAD_BYTES_MAX, OIDC_KEYS_ASKED_AGAIN_AFTER,
    OIDC_KEYS_BYTES_MAX, OIDC_PARAMETER_CHARS_MAX, OIDC_PAUSE, OIDC_QUEUE_DURATION_MAX,
    OIDC_TOKENS_BYTES_MAX, OIDC_UNDER_WAY_MAX,
};
use crate::secret_file::Secret;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

/// Where a provider says of itself what it is (OpenID Connect Discovery 1.0, 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A provider that can be asked.
#[derive(Debug)]
pub(super) struct Asking {
    endpoint: Endpoint,
    issuer: String,
    client_id: String,
    secret: Option<Secret>,
    redirect_url: String,
    answer_duration_max: Duration,
    places: Semaphore,
    about: Mutex<Option<Kept<About>>>,
    keys: Mutex<Option<Kept<Keys>>>,
}

/// What was read, or that nothing was.
#[derive(Debug)]
struct Kept<T> {
    at: Instant,
    read: Option<Arc<T>>,
}

/// What a provider says of itself, as far as it is needed here.
#[derive(Debug)]
pub(super) struct About {
    /// Where browsers go.
    pub(super) authorization_endpoint: String,
    token_path: String,
    keys_path: String,
    authenticates: Authenticates,
    /// Its answers name their issuer (RFC 9207).
    pub(super) names_issuer: bool,
    /// Where browsers go to end their session there (OpenID Connect RP-Initiated Logout 1.0, 2.1).
    pub(super) end_session_endpoint: Option<String>,
}

/// How the archive says at the token endpoint who it is (OpenID Connect Core 1.0, 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authenticates {
    Basic,
    None,
    Post,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    end_session_endpoint: Option<String>,
}

/// Tokens; none of them is kept, shown or logged.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) id_token: String,
    token_type: String,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
}

/// Why an answer was of no use, for the log.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("no answer")]
    Carrier(#[source] crate::carrier::CarrierError),
    #[error("{0}")]
    Document(&'static str),
    #[error("no request can be made of it")]
    Request,
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it takes too long")]
    TimedOut,
}

impl Asking {
    pub(super) fn new(config: &OidcConfig, endpoint: Endpoint, secret: Option<Secret>) -> Self {
        Self {
            endpoint,
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            secret,
            redirect_url: config.redirect_url.clone(),
            answer_duration_max: config.answer_duration_max,
            places: Semaphore::new(OIDC_UNDER_WAY_MAX),
            about: Mutex::new(None),
            keys: Mutex::new(None),
        }
    }

    /// What the provider says of itself. Whoever asks meanwhile waits for the same answer; where
    /// none comes it is left in peace for a while.
    pub(super) async fn about(&self) -> Result<Arc<About>, OidcError> {
        let mut kept = self.about.lock().await;
        if let Some(kept) = &*kept
            && let Some(known) = kept.believed()
        {
            return known;
        }
        let read = self.read_about().await;
        let read = read.map(Arc::new);
        *kept = Some(Kept::of(read.as_ref().ok()));
        read
    }

    async fn read_about(&self) -> Result<About, OidcError> {
        let path = self.endpoint.path.trim_end_matches('/');
        let path = format!("{path}{WELL_KNOWN}");
        let text = self.get(&path, OIDC_DISCOVERY_BYTES_MAX).await?;
        let about = self.understood(&text);
        about.map_err(|error| unavailable("discovery", &error))
    }

    fn understood(&self, text: &[u8]) -> Result<About, AskError> {
        let read = serde_json::from_slice(text);
        let document: Document =
            read.map_err(|_| AskError::Document("it is no document of discovery"))?;
        if document.issuer != self.issuer {
            return Err(AskError::Document("it is of another issuer"));
        }
        let methods = document.code_challenge_methods_supported;
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(AskError::Document("the provider takes no S256 (RFC 7636)"));
        }
        let elsewhere = "an endpoint is not at the place of the issuer";
        let token_path = self.path_here(&document.token_endpoint);
        let keys_path = self.path_here(&document.jwks_uri);
        let may_be_plain = self.endpoint.tls.is_none();
        if !is_for_browsers(&document.authorization_endpoint, may_be_plain) {
            return Err(AskError::Document("browsers cannot be sent there"));
        }
        let methods = document.token_endpoint_auth_methods_supported;
        let end = document.end_session_endpoint;
        let is_fit = |end: &String| is_for_browsers(end, may_be_plain);
        if end.as_ref().is_some_and(|end| !is_fit(end)) {
            tracing::warn!("the OpenID provider ends sessions where no browser can be sent");
        }
        Ok(About {
            end_session_endpoint: end.filter(is_fit),
            authorization_endpoint: document.authorization_endpoint,
            token_path: token_path.ok_or(AskError::Document(elsewhere))?,
            keys_path: keys_path.ok_or(AskError::Document(elsewhere))?,
            authenticates: self.authenticates(methods)?,
            names_issuer: document.authorization_response_iss_parameter_supported,
        })
    }

    /// The path of a URL at the place of the issuer, by the same scheme.
    fn path_here(&self, url: &str) -> Option<String> {
        let (is_secure, address, path) = parts_of(url)?;
        let is_here = is_secure == self.endpoint.tls.is_some()
            && address.eq_ignore_ascii_case(&self.endpoint.address);
        is_here.then_some(path)
    }

    fn authenticates(&self, methods: Option<Vec<String>>) -> Result<Authenticates, AskError> {
        if self.secret.is_none() {
            return Ok(Authenticates::None);
        }
        // Where nothing is said it is the first (OpenID Connect Discovery 1.0, 3).
        let Some(methods) = methods else {
            return Ok(Authenticates::Basic);
        };
        let has = |name| methods.iter().any(|method| method == name);
        match (has("client_secret_basic"), has("client_secret_post")) {
            (true, _) => Ok(Authenticates::Basic),
            (false, true) => Ok(Authenticates::Post),
            (false, false) => Err(AskError::Document("it takes no secret of a client")),
        }
    }

    /// Its keys. Where `have_signed` says that none of those known is the right one, they are read
    /// again, unless that was just done.
    pub(super) async fn keys(
        &self,
        about: &About,
        have_signed: impl Fn(&Keys) -> bool,
    ) -> Result<Arc<Keys>, OidcError> {
        let mut kept = self.keys.lock().await;
        if let Some(kept) = &*kept
            && let Some(known) = kept.believed()
        {
            let known = known?;
            if have_signed(&known) || kept.at.elapsed() < OIDC_KEYS_ASKED_AGAIN_AFTER {
                return Ok(known);
            }
        }
        let text = self.get(&about.keys_path, OIDC_KEYS_BYTES_MAX).await;
        let read = text.and_then(|text| {
            let keys = Keys::read(&text).ok_or(AskError::Document("they are no keys"));
            keys.map_err(|error| unavailable("keys", &error))
        });
        let read = read.map(Arc::new);
        *kept = Some(Kept::of(read.as_ref().ok()));
        read
    }

    /// The tokens for a code (RFC 6749 4.1.3, RFC 7636 4.5).
    pub(super) async fn tokens(
        &self,
        about: &About,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &*self.redirect_url),
            ("code_verifier", verifier),
        ];
        let mut request = Request::builder().method(Method::POST);
        match (&self.secret, about.authenticates) {
            (Some(Secret(secret)), Authenticates::Basic) => {
                // RFC 6749 2.3.1: both are encoded before they are put together.
                let both = format!("{}:{}", encoded(&self.client_id), encoded(secret));
                let value = format!("Basic {}", base64::encode_padded(&both));
                request = request.header(header::AUTHORIZATION, value);
            }
            (Some(Secret(secret)), Authenticates::Post) => {
                form.push(("client_id", &*self.client_id));
                form.push(("client_secret", &**secret));
            }
            _ => form.push(("client_id", &*self.client_id)),
        }
        let request = request
            .uri(&about.token_path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(pairs(&form)));
        let (status, text) = self.ask("tokens", request, OIDC_TOKENS_BYTES_MAX).await?;
        if status == StatusCode::OK {
            let tokens: Tokens = serde_json::from_slice(&text)
                .map_err(|_| unavailable("tokens", &AskError::Document("they are no tokens")))?;
            let is_bearer = tokens.token_type.eq_ignore_ascii_case("bearer");
            return if is_bearer {
                Ok(tokens)
            } else {
                let error = AskError::Document("they are of another type");
                Err(unavailable("tokens", &error))
            };
        }
        let failed = serde_json::from_slice::<Failed>(&text);
        match (status, failed) {
            (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, Ok(Failed { error })) => {
                let error = TellApart::of(&error);
                tracing::warn!(%error, "the OpenID provider gives no tokens for a code");
                // RFC 6749 5.2: the code is of another client, another sign-in, or was used.
                if error.is("invalid_grant") {
                    return Err(OidcError::BadCode);
                }
                Err(OidcError::Refused(error))
            }
            _ => Err(unavailable("tokens", &AskError::Status(status))),
        }
    }

    async fn get(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, OidcError> {
        let request = Request::builder()
            .uri(path)
            .header(header::ACCEPT, "application/json")
            .body(Body::empty());
        let (status, text) = self.ask(path, request, bytes_max).await?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        Err(unavailable(path, &AskError::Status(status)))
    }

    async fn ask(
        &self,
        what: &str,
        request: Result<Request<Body>, axum::http::Error>,
        body_bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), OidcError> {
        let request = request.map_err(|_| unavailable(what, &AskError::Request))?;
        let place = timeout(OIDC_QUEUE_DURATION_MAX, self.places.acquire()).await;
        // The semaphore is never closed.
        let Ok(Ok(_place)) = place else {
            return Err(OidcError::Busy);
        };
        let bounds = AnswerBounds {
            head_bytes_max: OIDC_HEAD_BYTES_MAX,
            body_bytes_max,
        };
        let answer = self.endpoint.carry(request, bounds);
        match timeout(self.answer_duration_max, answer).await {
            Err(_elapsed) => Err(unavailable(what, &AskError::TimedOut)),
            Ok(Err(error)) => Err(unavailable(what, &AskError::Carrier(error))),
            Ok(Ok(reply)) => Ok((reply.status, reply.body)),
        }
    }
}

impl<T> Kept<T> {
    fn of(read: Option<&Arc<T>>) -> Self {
        Self {
            at: Instant::now(),
            read: read.cloned(),
        }
    }

    /// What is known without asking again; `None`: that it has to be.
    fn believed(&self) -> Option<Result<Arc<T>, OidcError>> {
        let age = self.at.elapsed();
        match &self.read {
            Some(read) => (age < OIDC_BELIEVED_FOR).then(|| Ok(Arc::clone(read))),
            None => (age < OIDC_PAUSE).then_some(Err(OidcError::Unavailable)),
        }
    }
}

/// Whether a browser may be sent to this URL: by TLS, or where the issuer is on this machine
/// without.
fn is_for_browsers(url: &str, may_be_plain: bool) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte);
    let (place, _) = url.split_once('?').unwrap_or((url, ""));
    url.len() <= OIDC_PARAMETER_CHARS_MAX
        && url.bytes().all(is_plain)
        && parts_of(place).is_some_and(|(is_secure, _, _)| is_secure || may_be_plain)
}

fn unavailable(what: &str, error: &AskError) -> OidcError {
    let error = crate::tool::failure::chain(error);
    tracing::warn!(what, error, "the OpenID provider cannot be asked");
    OidcError::Unavailable
}

/// Names and values as a form, or as what stands behind a question mark.
pub(super) fn pairs(of: &[(&str, &str)]) -> String {
    let pairs = of
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}
