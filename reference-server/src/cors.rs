//! Which web pages from elsewhere may use DICOMweb through a browser (CORS, Fetch standard 3.3).
//!
//! None, but those of the origins that are configured. Credentials of the browser are not for
//! them: a page shows a token of its own.

use crate::direct::{authority_of, is_loopback};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Methods of DICOMweb.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// Headers that a page may send beyond those that it always may.
const HEADERS: &str = "accept, authorization, content-type, if-none-match, range";

/// Headers of an answer that a page may read beyond those that it always may.
const EXPOSED: &str = "content-encoding, content-location, content-range, etag, link, \
                       retry-after, warning, www-authenticate";

/// Seconds for which a browser need not ask again.
const ASKED_FOR_S: &str = "600";

/// Origins, as browsers write them: `https://viewer.example:8443`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Arc<BTreeSet<String>>);

impl Origins {
    /// Those of the configuration; each that is none becomes a fault.
    #[must_use]
    pub fn check(configured: Vec<String>, faults: &mut Vec<String>) -> Self {
        let mut origins = BTreeSet::new();
        for origin in configured {
            if is_origin(&origin) {
                origins.insert(origin.to_ascii_lowercase());
            } else {
                faults.push(format!(
                    "http.cors_origins: {origin:?} is no origin such as https://viewer.example"
                ));
            }
        }
        Self(Arc::new(origins))
    }

    /// One of them that is not on this machine, if there is one.
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        let mut origins = self.0.iter().map(String::as_str);
        origins.find(|origin| !is_loopback(authority_of(origin)))
    }

    /// The origin that a request comes from, where it is one of these.
    fn of<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.0.contains(&text).then_some(origin)
    }
}

fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    })
}

/// Answers what browsers ask before they send something, and allows pages to read answers.
pub async fn allow(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let origin = origins.of(request.headers()).cloned();
    let asks = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&origin, asks) {
        (Some(_), true) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !origins.0.is_empty() {
        // A cache must not give one page what was made for another.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = origin else {
        return response;
    };
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    if asks {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        set(header::ACCESS_CONTROL_MAX_AGE, ASKED_FOR_S);
    } else {
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(configured: &[&str]) -> (Origins, usize) {
        let mut faults = Vec::new();
        let configured = configured.iter().map(|&text| text.to_owned()).collect();
        (Origins::check(configured, &mut faults), faults.len())
    }

    #[test]
    fn only_whole_origins_can_be_configured() {
        let wrong = [
            "*",
            "null",
            "",
            "viewer.example",
            "https://",
            "https://a.example/",
            "https://a b",
            "https://*.example",
            "ftp://a.example",
        ];
        assert_eq!(origins(&wrong).1, wrong.len());
        assert_eq!(origins(&["https://a.example", "http://[::1]:3000"]).1, 0);
    }

    #[test]
    fn an_origin_is_known_as_a_whole() {
        let (origins, _) = origins(&["https://Viewer.example"]);
        for (origin, is_known) in [
            ("https://viewer.example", true),
            ("https://viewer.example:8443", false),
            ("http://viewer.example", false),
            ("https://viewer.example.evil.example", false),
            ("null", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            assert_eq!(origins.of(&headers).is_some(), is_known, "{origin}");
        }
        assert_eq!(origins.of(&HeaderMap::new()), None);
    }
}
