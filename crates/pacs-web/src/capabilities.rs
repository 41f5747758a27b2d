//! What the service can do (PS3.18 8.9): a description in WADL, and the methods of its root.

use crate::access::Allowed;
use crate::routes::{Operation, ROUTES, template};
use crate::service::Web;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Find;

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
    for route in ROUTES {
        let path = template(route.path);
        let path = path.trim_start_matches('/');
        text.push_str(&format!("    <resource path=\"{path}\">\n"));
        for operation in route.operations {
            write_method(&mut text, operation);
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

fn write_method(text: &mut String, operation: &Operation) {
    let (name, id) = (operation.method.to_uppercase(), operation.id);
    text.push_str(&format!("      <method name=\"{name}\" id=\"{id}\">\n"));
    let representation = |kind: &&str| {
        let kind = escaped(kind);
        format!("<representation mediaType=\"{kind}\"/>")
    };
    if !operation.takes.is_empty() {
        let kinds: String = operation.takes.iter().map(representation).collect();
        text.push_str(&format!("        <request>{kinds}</request>\n"));
    }
    for (status, kinds) in operation.gives {
        let kinds: String = kinds.iter().map(representation).collect();
        let response = format!("        <response status=\"{status}\">{kinds}</response>\n");
        text.push_str(&response);
    }
    text.push_str("      </method>\n");
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
