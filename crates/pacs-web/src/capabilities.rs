//! What the service can do (PS3.18 8.9): a description in WADL, and the methods of its root.

use crate::access::Allowed;
use crate::service::Web;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Find;

/// The resources, each with its methods and what they give.
const RESOURCES: &[(&str, &[(&str, &str)])] = &[
    ("studies", &[("GET", "application/dicom+json")]),
    ("series", &[("GET", "application/dicom+json")]),
    ("instances", &[("GET", "application/dicom+json")]),
    ("studies/{study}", &[("GET", DICOM), ("DELETE", "")]),
    (
        "studies/{study}/metadata",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/series",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/instances",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/series/{series}",
        &[("GET", DICOM), ("DELETE", "")],
    ),
    (
        "studies/{study}/series/{series}/metadata",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/series/{series}/instances",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}",
        &[("GET", DICOM), ("DELETE", "")],
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/metadata",
        &[("GET", "application/dicom+json")],
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
        &[(
            "GET",
            "multipart/related; type=\"application/octet-stream\"",
        )],
    ),
    (
        "wado",
        &[
            ("GET", "application/dicom"),
            ("GET", "image/jpeg"),
            ("GET", "image/png"),
            ("GET", "image/gif"),
        ],
    ),
    ("studies/{study}/rendered", PICTURES),
    ("studies/{study}/thumbnail", PICTURES),
    ("studies/{study}/series/{series}/rendered", PICTURES),
    ("studies/{study}/series/{series}/thumbnail", PICTURES),
    (
        "studies/{study}/series/{series}/instances/{instance}/rendered",
        RENDERED,
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/thumbnail",
        PICTURES,
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
        PICTURES,
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        PICTURES,
    ),
    (
        "studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}",
        &[("GET", "application/octet-stream")],
    ),
];

const PICTURES: &[(&str, &str)] = &[
    ("GET", "image/jpeg"),
    ("GET", "image/png"),
    ("GET", "image/gif"),
];

const RENDERED: &[(&str, &str)] = &[
    ("GET", "image/jpeg"),
    ("GET", "image/png"),
    ("GET", "image/gif"),
    ("GET", "application/pdf"),
    ("GET", "text/html"),
    ("GET", "text/plain"),
    ("GET", "video/mp4"),
];

const DICOM: &str = "multipart/related; type=\"application/dicom\"";

/// `GET /`
pub(crate) async fn get(
    Allowed(_permit): Allowed<Find>,
    State(web): State<Web>,
    headers: HeaderMap,
) -> Response {
    let base = web.base_url_by(&headers);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str("<application xmlns=\"http://wadl.dev.java.net/2009/02\">\n");
    text.push_str(&format!("  <resources base=\"{}/\">\n", escaped(&base)));
    for (path, methods) in RESOURCES {
        text.push_str(&format!("    <resource path=\"{path}\">\n"));
        for (method, gives) in *methods {
            text.push_str(&format!("      <method name=\"{method}\"><response>"));
            if !gives.is_empty() {
                let gives = escaped(gives);
                text.push_str(&format!("<representation mediaType=\"{gives}\"/>"));
            }
            text.push_str("</response></method>\n");
        }
        text.push_str("    </resource>\n");
    }
    text.push_str("  </resources>\n</application>\n");
    (
        [(header::CONTENT_TYPE, "application/vnd.sun.wadl+xml")],
        text,
    )
        .into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// `OPTIONS /`
pub(crate) async fn options(
    permit: Allowed<Find>,
    web: State<Web>,
    headers: HeaderMap,
) -> Response {
    let mut response = get(permit, web, headers).await;
    let allow = axum::http::HeaderValue::from_static("GET, HEAD, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    *response.status_mut() = StatusCode::OK;
    response
}
