//! Which requests come from a program of this machine, and from nobody behind it.

use axum::http::header;
use axum::http::request::Parts;
use std::net::IpAddr;

/// Whether a program of this machine asks of its own accord. A browser that a page from elsewhere
/// sends here says in Origin where the page is from, or in Host a name that was made to lead here;
/// a proxy on this machine says for whom it asks.
#[must_use]
pub fn is_direct(head: &Parts) -> bool {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| head.uri.authority().map(|at| at.as_str()));
    let origin = text(header::ORIGIN).map(authority_of);
    let is_foreign = head
        .headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    let is_passed_on = head.headers.keys().any(|name| is_of_a_proxy(name.as_str()));
    host.is_some_and(is_loopback) && origin.is_none_or(is_loopback) && !is_foreign && !is_passed_on
}

/// The host of `url`, perhaps with a port; nothing where it is no URL.
#[must_use]
pub fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map(|(_, rest)| rest);
    let mut parts = rest.unwrap_or_default().split(['/', '?', '#']);
    parts.next().unwrap_or_default()
}

/// Whether a header is one by which proxies tell of the client (RFC 7239, RFC 9110 7.6.3, custom).
fn is_of_a_proxy(name: &str) -> bool {
    ["forwarded", "via", "x-real-ip"].contains(&name) || name.starts_with("x-forwarded-")
}

/// Whether `authority` (a host, perhaps with a port) is this machine by an address or by the one
/// name that nobody else can give away.
#[must_use]
pub fn is_loopback(authority: &str) -> bool {
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

    #[test]
    fn whom_a_proxy_of_this_machine_asks_for_is_not_of_this_machine() {
        for name in [
            "Forwarded",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Real-IP",
        ] {
            assert!(!asks(&[("host", "127.0.0.1:8080"), (name, "")]), "{name}");
        }
    }

    #[test]
    fn a_url_is_of_this_machine_by_its_host_alone() {
        let is_here = |url| is_loopback(authority_of(url));
        assert!(is_here("http://127.0.0.1:8080/dicomweb") && is_here("http://[::1]"));
        assert!(!is_here("https://pacs.example/localhost"));
        assert!(!is_here("https://localhost@pacs.example") && !is_here("localhost"));
    }
}
