//! Who asks, from where, and whether the browser of somebody asks on behalf of another page.
//!
//! Whatever changes something comes from a page of this server: by `Sec-Fetch-Site` and `Origin`
//! where the browser sends them, and with a session by a token that only such a page can read. The
//! cookie itself is sent to this host alone, over TLS or loopback, and never from other sites.
//!
//! Refusals have one order, so that none tells what it should not: 401 for nobody; 403 for a page
//! of another place; 403 for whoever holds none of the permissions that the operation needs,
//! whatever is asked for ([`Door`]); then what is wrong with the request itself; 404 for what may
//! not be seen, word for word as for what never was; and 403, 409 or 412 for what is seen.

use super::problem::codes;
use super::{Api, Problem};
use crate::accounts::{Refused, Who};
use crate::direct::authority_of;
use crate::limits::{API_BODY_BYTES_MAX, API_BODY_DURATION_MAX};
use axum::Json;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pacs_core::OrganisationCode;
use pacs_core::role::{Agent, AgentKind, Duty, Grant, Grants, Licence, Permission, Reach};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use tokio::time::timeout;

/// The cookie of a session (RFC 6265bis 4.1.3.2: this host alone, over what is secure).
const COOKIE: &str = "__Host-pacs_session";

/// The header with the token of a session.
pub(crate) const CSRF: &str = "x-csrf-token";

/// What the token is made by: from the secret of a session nobody else can.
const CSRF_CONTEXT: &str = "pacs 2026-11 token against requests of other sites";

/// Refuses what comes from pages of other places, and keeps answers out of caches and frames.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if is_safe || is_of_here(&api, request.headers()) {
        next.run(request).await
    } else {
        Problem::CrossSite.into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Whether a request that changes something is of a page of this server, or of no page.
fn is_of_here(api: &Api, headers: &HeaderMap) -> bool {
    is_of(api.public_authority.as_deref(), headers)
}

/// The same, of a server that is reached as `authority`, where that is known.
pub(crate) fn is_of(authority: Option<&str>, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    if headers.get_all(header::ORIGIN).iter().count() > 1 {
        return false;
    }
    let Some(origin) = text("origin") else {
        return true;
    };
    let own = authority.or_else(|| text("host"));
    own.is_some_and(|own| !own.is_empty() && authority_of(origin).eq_ignore_ascii_case(own))
}

/// Whether a browser says that a page of another place has it ask: what somebody typed or has a
/// mark for is of none.
pub(super) fn is_of_other_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| site != "same-origin" && site != "none")
}

/// Where a request comes from. Where a proxy is configured (`http.public_url`), one of this machine
/// says for whom it asks; the last one that it names is the one that it knows. Any other program of
/// this machine could say what it likes.
pub(super) struct From(pub(super) IpAddr);

impl FromRequestParts<Api> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        address(parts, api.public_authority.is_some()).map(Self)
    }
}

fn address(parts: &Parts, has_proxy: bool) -> Result<IpAddr, Problem> {
    Ok(told_address(parts, has_proxy).ok_or(Refused::Internal)?)
}

/// Where a request comes from, as [`From`] has it.
pub(crate) fn told_address(parts: &Parts, has_proxy: bool) -> Option<IpAddr> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer?.0.ip().to_canonical();
    let told = parts.headers.get_all("x-forwarded-for").iter().next_back();
    let told = told.and_then(|told| told.to_str().ok()?.rsplit(',').next());
    let told = told.and_then(|told| told.trim().parse::<IpAddr>().ok());
    Some(match told {
        Some(told) if has_proxy && peer.is_loopback() => told.to_canonical(),
        _ => peer,
    })
}

/// The secret of the session that a request has a cookie of. Of two, an attacker may have set the
/// one that the browser sends first.
pub(crate) fn secret(headers: &HeaderMap) -> Option<String> {
    cookie_named(COOKIE, headers)
}

/// The same of another cookie.
pub(super) fn cookie_named(name: &str, headers: &HeaderMap) -> Option<String> {
    let mut found = None;
    for cookies in headers.get_all(header::COOKIE) {
        for cookie in cookies.to_str().ok()?.split(';') {
            let named = cookie.trim().split_once('=');
            if let Some((of, value)) = named
                && of == name
                && found.replace(value.to_owned()).is_some()
            {
                return None;
            }
        }
    }
    found
}

/// The cookie of a session; an empty secret takes it away.
pub(super) fn cookie(secret: &str) -> (header::HeaderName, String) {
    let ends = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let value = format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict{ends}");
    (header::SET_COOKIE, value)
}

/// The token that pages send with whatever changes something.
pub(crate) fn csrf_token(secret: &str) -> String {
    let token = blake3::derive_key(CSRF_CONTEXT, secret.as_bytes());
    blake3::Hash::from_bytes(token).to_hex().to_string()
}

/// Whether a request has the token of the session with this secret.
pub(crate) fn shows_token(headers: &HeaderMap, secret: &str) -> bool {
    let shown = headers.get(CSRF).map(HeaderValue::as_bytes);
    let expected = csrf_token(secret);
    // In constant time.
    shown.is_some_and(|shown| blake3::hash(shown) == blake3::hash(expected.as_bytes()))
}

/// Somebody who is signed in. What changes something has the token of the session.
pub(super) struct Signed {
    pub(super) who: Who,
    pub(super) secret: String,
    pub(super) from: IpAddr,
}

impl Signed {
    /// Whoever asks, for what the registry keeps: each request is told apart in the audit record.
    pub(super) fn agent(&self, api: &Api) -> Agent {
        agent(api, &self.who, self.from)
    }
}

/// Somebody who is signed in, for what the registry keeps.
pub(super) fn agent(api: &Api, who: &Who, from: IpAddr) -> Agent {
    let user = &who.user.value;
    let mut agent = Agent::new(AgentKind::User, user.name.as_str(), user.grants.clone());
    agent.address = Some(from);
    // A few digits of a hash: enough to tell sessions apart.
    agent.session = who.session.key.get(..8).map(str::to_owned);
    agent.correlation = api.world.correlation();
    agent
}

/// A licence for what `D` stands for: at the organisation that is asked for, else at the only one
/// where `agent` may do it.
pub(super) fn licence<D: Duty>(
    agent: &Agent,
    asked: Option<OrganisationCode>,
) -> Result<Licence<D>, Problem> {
    if let Some(organisation) = asked {
        return Ok(agent.licence(organisation)?);
    }
    if let Ok(licence) = agent.national_licence() {
        return Ok(licence);
    }
    let mut licences = organisations(agent).into_iter();
    let mut licences = licences
        .by_ref()
        .filter_map(|code| agent.licence(code).ok());
    match (licences.next(), licences.next()) {
        (Some(licence), None) => Ok(licence),
        (None, _) => Err((&codes::NOT_PERMITTED).into()),
        (Some(_), Some(_)) => Err((&codes::ORGANISATION_NEEDED).into()),
    }
}

/// The organisations where `agent` holds a role of that organisation.
pub(super) fn organisations(agent: &Agent) -> Vec<OrganisationCode> {
    let grants: Vec<Grant> = agent.grants.clone().into();
    let mut codes: Vec<OrganisationCode> = grants
        .iter()
        .filter_map(|grant| match grant.reach {
            Reach::Organisation(code) => Some(code),
            Reach::National => None,
        })
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

/// As [`Signed`], also where another password has to be chosen first.
pub(super) struct Beginning(pub(super) Signed);

impl FromRequestParts<Api> for Beginning {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let secret = secret(&parts.headers).ok_or(Refused::NotSignedIn)?;
        let who = api.accounts.who(&secret).await?;
        let is_safe = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_safe && !shows_token(&parts.headers, &secret) {
            return Err(Problem::CrossSite);
        }
        let from = address(parts, api.public_authority.is_some())?;
        Ok(Self(Signed { who, secret, from }))
    }
}

/// What an operation needs, as its [`Operation`](super::routes::Operation) says; with each request.
#[derive(Clone, Copy)]
pub(super) struct Door(pub(super) &'static [Permission]);

impl Door {
    fn opens_to(self, grants: &Grants) -> bool {
        let mut needed = self.0.iter();
        self.0.is_empty() || needed.any(|permission| grants.has(*permission))
    }
}

impl FromRequestParts<Api> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Beginning(signed) = Beginning::from_request_parts(parts, api).await?;
        if signed.who.must_change_password() {
            return Err(Refused::PasswordMustChange.into());
        }
        // Every route of the table has a door: one without it lets nobody in.
        let door = parts.extensions.get::<Door>();
        if !door.is_some_and(|door| door.opens_to(&signed.who.user.value.grants)) {
            return Err((&codes::NOT_PERMITTED).into());
        }
        Ok(signed)
    }
}

/// The body of a request.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = bytes_of(request, api).await?;
        let Json(body) = Json::<T>::from_bytes(&bytes)?;
        Ok(Self(body))
    }
}

/// The bytes of a body that says it is JSON.
pub(super) async fn bytes_of(request: Request, api: &Api) -> Result<Bytes, Problem> {
    let headers = request.headers();
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::UnsupportedMediaType);
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > API_BODY_BYTES_MAX) {
        return Err(Problem::TooLarge);
    }
    let read = timeout(API_BODY_DURATION_MAX, Bytes::from_request(request, api)).await;
    let read = read.map_err(|_elapsed| Problem::TooLarge)?;
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
        _ => Problem::BadBody,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_session_is_taken_from_its_cookie_and_from_no_other() {
        let of = |text: &str| secret(&headers(&[("cookie", text)]));
        assert_eq!(of("a=1; __Host-pacs_session=s; b=2").as_deref(), Some("s"));
        assert_eq!(of("pacs_session=s; __host-pacs_session=s"), None);
        assert_eq!(of("__Host-pacs_session=s; __Host-pacs_session=t"), None);
        let twice = [
            ("cookie", "__Host-pacs_session=s"),
            ("cookie", "__Host-pacs_session=t"),
        ];
        assert_eq!(secret(&headers(&twice)), None);
        let (_, set) = cookie("s");
        assert_eq!(
            set,
            "__Host-pacs_session=s; Path=/; Secure; HttpOnly; SameSite=Strict"
        );
        assert!(cookie("").1.ends_with("; Max-Age=0"));
        assert_ne!(csrf_token("s"), csrf_token("t"));
        assert!(!csrf_token("s").contains('s'), "it is none of the secret");
    }

    #[test]
    fn who_asks_is_told_by_a_proxy_of_this_machine_alone() {
        let by = |has_proxy: bool, peer: &str, told: &[(&'static str, &str)]| {
            let mut parts = Request::new(axum::body::Body::empty()).into_parts().0;
            parts.headers = headers(told);
            let peer: SocketAddr = peer.parse().unwrap();
            parts.extensions.insert(ConnectInfo(peer));
            address(&parts, has_proxy).unwrap().to_string()
        };
        let asked = |peer: &str, told: &[_]| by(true, peer, told);
        let told = [("x-forwarded-for", "203.0.113.9, 198.51.100.4")];
        assert_eq!(asked("127.0.0.1:9", &told), "198.51.100.4");
        assert_eq!(asked("192.0.2.1:9", &told), "192.0.2.1");
        assert_eq!(by(false, "127.0.0.1:9", &told), "127.0.0.1", "no proxy");
        assert_eq!(asked("[::ffff:127.0.0.1]:9", &[]), "127.0.0.1");
        assert_eq!(
            asked("127.0.0.1:9", &[("x-forwarded-for", "x")]),
            "127.0.0.1"
        );
    }
}
