//! The `OpenAPI` document (3.1) of the server's own pages, which names those of what else there is.

use axum::Json;
use serde_json::{Value, json};

/// It is no secret: anybody has the program.
pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PACS: is it alive, is it ready, what has it counted",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
            "description": "DICOMweb is described by /api/openapi.json, the API of the portal by \
                            /api/v1/openapi.json.",
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            "/": {"get": text("pages", "What there is, for whoever looks with a browser")},
            "/healthz": {"get": {
                "operationId": "health",
                "summary": "Whether the server lives, and what is known of its content",
                "responses": {"200": of_json("Alive, whatever is known", "Health")},
            }},
            "/readyz": {"get": {
                "operationId": "readiness",
                "summary": "Whether the server takes requests",
                "responses": {
                    "200": of_json("It does", "Readiness"),
                    "503": of_json("It does not yet, or not any more", "Readiness"),
                },
            }},
            "/metrics": {"get": metrics()},
            "/openapi.json": {"get": described("pagesOpenapi", "This document")},
            "/api/openapi.json": {"get": described("dicomwebOpenapi", "What describes DICOMweb")},
        },
        "components": {"schemas": schemas()},
    })
}

fn text(id: &str, summary: &str) -> Value {
    let content = json!({"text/plain": {"schema": {"type": "string"}}});
    json!({
        "operationId": id,
        "summary": summary,
        "responses": {"200": {"description": "Shown", "content": content}},
    })
}

fn metrics() -> Value {
    let mut operation = text("metrics", "What the server has counted, for Prometheus");
    operation["responses"]["403"] = json!({
        "description": "Only programs of this machine get them, unless a setting says otherwise",
    });
    operation
}

fn described(id: &str, summary: &str) -> Value {
    let content = json!({"application/json": {"schema": {"type": "object"}}});
    json!({
        "operationId": id,
        "summary": summary,
        "responses": {"200": {"description": "Shown", "content": content}},
    })
}

fn of_json(description: &str, schema: &str) -> Value {
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn schemas() -> Value {
    json!({
        "Health": {
            "type": "object",
            "required": [
                "status", "version", "insecure_dicom", "insecure_http", "commitments_open",
                "commitment_reports_given_up", "audit_forwarding",
            ],
            "properties": {
                "status": {
                    "enum": ["ok", "damaged"],
                    "description": "damaged: content that could not be read or is not as it was",
                },
                "version": {"type": "string"},
                "insecure_dicom": {"type": "boolean"},
                "insecure_http": {"type": "boolean"},
                "commitments_open": {"type": "integer", "minimum": 0},
                "commitment_reports_given_up": {"type": "integer", "minimum": 0},
                "audit_forwarding": {
                    "type": ["object", "null"],
                    "description": "null: the audit trail is sent nowhere else",
                    "required": ["waiting", "oldest_seconds", "alarm", "trouble"],
                    "properties": {
                        "waiting": {"type": "integer", "minimum": 0},
                        "oldest_seconds": {"type": "integer", "minimum": 0},
                        "alarm": {"type": "boolean"},
                        "trouble": {"type": ["string", "null"]},
                    },
                },
            },
        },
        "Readiness": {
            "type": "object",
            "required": ["ready"],
            "properties": {"ready": {"type": "boolean"}},
            "additionalProperties": false,
        },
    })
}
