//! The settings of DICOMweb.

use super::{HttpSection, Options};
use crate::cors::Origins;
use crate::direct::{authority_of, is_loopback};
use std::net::SocketAddr;

/// How DICOMweb is offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// HTTP off loopback was asked for.
    pub insecure: bool,
    /// Nobody on this machine is asked who they are.
    pub open_loopback: bool,
    /// Where web pages come from that may use it through a browser.
    pub cors_origins: Origins,
    /// What URLs in answers begin with, instead of what clients say in Host.
    pub public_url: Option<String>,
}

/// Puts the settings together; `http` is where HTTP listens, once that is known.
pub(super) fn settings(
    options: &Options,
    section: &HttpSection,
    http: Option<SocketAddr>,
    faults: &mut Vec<String>,
) -> WebConfig {
    let insecure = options.insecure_http.or(section.insecure).unwrap_or(false);
    let open_loopback = options.open_loopback.or(section.open_loopback);
    let open_loopback = open_loopback.unwrap_or(false);
    faults.extend(http.and_then(|http| exposed(http, insecure)));
    faults.extend(http.and_then(|http| open_to_all(http, open_loopback)));
    let public_url = section.public_url.as_deref();
    let settings = WebConfig {
        insecure,
        open_loopback,
        cors_origins: Origins::check(section.cors_origins.clone(), faults),
        public_url: public_url.map(|url| own_url(url, faults)),
    };
    faults.extend(open_to_others(&settings));
    settings
}

/// Tokens and patient data in clear beyond this machine are offered on purpose or not at all.
fn exposed(http: SocketAddr, insecure: bool) -> Option<String> {
    (!http.ip().is_loopback() && !insecure).then(|| {
        format!(
            "http.address: {http} is not loopback, and HTTP without TLS there needs \
             http.insecure = true (or --insecure-http); better is a proxy with TLS in front"
        )
    })
}

/// DICOMweb without tokens is for the programs of this machine alone.
fn open_to_all(http: SocketAddr, open_loopback: bool) -> Option<String> {
    (!http.ip().is_loopback() && open_loopback).then(|| {
        format!(
            "http.open_loopback: {http} is not loopback, and beyond this machine nobody gets in \
             without a token"
        )
    })
}

/// Whoever comes through a proxy, or by a page from elsewhere, would be of this machine too.
fn open_to_others(settings: &WebConfig) -> Option<String> {
    let url = settings.public_url.as_deref();
    let url = url.filter(|url| !is_loopback(authority_of(url)));
    let (key, elsewhere) = url
        .map(|url| ("public_url", url))
        .or_else(|| Some(("cors_origins", settings.cors_origins.elsewhere()?)))?;
    settings.open_loopback.then(|| {
        format!(
            "http.open_loopback: it is for programs of this machine alone, and http.{key} names \
             {elsewhere:?}; give clients tokens instead"
        )
    })
}

fn own_url(url: &str, faults: &mut Vec<String>) -> String {
    let is_plain = url.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if !is_plain || !(url.starts_with("https://") || url.starts_with("http://")) {
        faults.push(format!(
            "http.public_url: {url:?} is no URL of http or https"
        ));
    }
    url.trim_end_matches('/').to_owned()
}
