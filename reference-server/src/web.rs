//! DICOMweb, as this server has it: below `/dicomweb`, under the policy of [`Access`].

use crate::access::Access;
use crate::clients::{Clients, Stranger};
use crate::config::Config;
use crate::cors;
use async_trait::async_trait;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header;
use axum::http::request::Parts;
use pacs_core::Caller;
use pacs_store::Archive;
use pacs_web::{Identify, Options, Unidentified, WebLimits};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where it is mounted.
pub const PREFIX: &str = "/dicomweb";

/// The routes; `http` is where the server really listens.
pub fn routes(
    archive: &Archive,
    config: &Config,
    access: &Arc<Access>,
    http: Option<SocketAddr>,
) -> Router {
    let options = Options {
        identify: Arc::new(Door {
            clients: access.clients(),
            open_loopback: config.web.open_loopback,
        }),
        policy: Arc::clone(access) as _,
        prefix: PREFIX.to_owned(),
        public_url: config.web.public_url.clone(),
        local_port: http.map(|http| http.port()),
        limits: WebLimits::default(),
    };
    let routes = pacs_web::router(archive.clone(), options);
    // Around everything: what browsers ask first carries no token.
    let origins = config.web.cors_origins.clone();
    let routes = routes.layer(axum::middleware::from_fn_with_state(origins, cors::allow));
    Router::new().nest(PREFIX, routes)
}

/// What a client may show.
const CHALLENGE: &str = "Bearer realm=\"pacs\", Basic realm=\"pacs\", charset=\"UTF-8\"";

/// Who gets in.
#[derive(Debug)]
struct Door {
    clients: Clients,
    open_loopback: bool,
}

#[async_trait]
impl Identify for Door {
    async fn identify(&self, head: &Parts) -> Result<Caller, Unidentified> {
        let refused = |is_guessing| Unidentified {
            challenge: CHALLENGE,
            is_guessing,
        };
        let client = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = client.map(|client| client.0.ip().to_canonical());
        let address = address.ok_or_else(|| refused(false))?;
        let mut shown = head.headers.get_all(header::AUTHORIZATION).iter();
        let name = match (shown.next(), shown.next()) {
            (Some(authorization), None) => {
                let authorization = authorization.to_str().unwrap_or_default();
                let name = self.clients.name(authorization, address);
                Some(name.map_err(|stranger| refused(stranger == Stranger::Guessing))?)
            }
            (None, _) if self.open_loopback && address.is_loopback() && is_direct(head) => None,
            // Of two, a proxy may have looked at the other one.
            _ => return Err(refused(false)),
        };
        Ok(Caller::Client { address, name })
    }
}

/// Whether a program of this machine asks of its own accord. A browser that a page from elsewhere
/// sends here says in Origin where the page is from, or in Host a name that was made to lead here.
fn is_direct(head: &Parts) -> bool {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| head.uri.authority().map(|at| at.as_str()));
    let origin = text(header::ORIGIN).map(|origin| {
        let rest = origin.split_once("://").map(|(_, rest)| rest);
        rest.unwrap_or_default()
    });
    let is_foreign = head
        .headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    host.is_some_and(is_loopback) && origin.is_none_or(is_loopback) && !is_foreign
}

/// Whether `authority` (a host, perhaps with a port) is this machine by an address or by the one
/// name that nobody else can give away.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn asks(headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri("/dicomweb/studies");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_direct(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_page_from_elsewhere_does_not_get_in_through_the_browser_of_this_machine() {
        assert!(asks(&[("host", "127.0.0.1:8080")]));
        assert!(asks(&[("host", "[::1]:8080")]));
        assert!(asks(&[
            ("host", "localhost:8080"),
            ("origin", "http://localhost:3000")
        ]));
        assert!(!asks(&[]));
        assert!(!asks(&[("host", "rebound.example:8080")]));
        assert!(!asks(&[("host", "127.0.0.1.example")]));
        assert!(!asks(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "https://elsewhere.example")
        ]));
        assert!(!asks(&[("host", "127.0.0.1:8080"), ("origin", "null")]));
        assert!(!asks(&[
            ("host", "127.0.0.1:8080"),
            ("sec-fetch-site", "cross-site")
        ]));
    }
}
